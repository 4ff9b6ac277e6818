"""Run a notebook with parameters and keep the report: an HTML page, code hidden, beside the executed notebook and its
figures as PNG and SVG.

report("sampling_efficiency", {"study": "tiny-ldm", "budget": "300 MFLOPs"})  ->  reports/sampling_efficiency.html
"""

import ast
import base64
import html
import json
import re
from pathlib import Path

import scalinglaws
from scalinglaws import measurements, studies
from scalinglaws.schema import InputError, NoAnswer

HERE = Path(__file__).resolve().parent
QUIET = ["--IPKernelApp.log_level=50"]  # the kernel's own chatter is no part of a report
FIGURES = ["--InlineBackend.figure_formats={'png', 'svg'}"]
TABLES = ("display.float_format", "'{:.4g}'.format", "display.max_colwidth", "200")  # four digits, whole sentences
FORMAT = [f"--IPKernelApp.exec_lines=[\"__import__('pandas').set_option('{TABLES[0]}', {TABLES[1]}, '{TABLES[2]}', "
          f"{TABLES[3]})\"]"]  # fmt: skip
STYLE = "<style>.jp-RenderedText pre { word-break: normal; overflow-wrap: anywhere; }</style>"  # words stay whole
UNDESCRIBED = r'<img[^>]*\balt="No description has been provided for this image"[^>]*>'
SENTENCE = r"(?<=[.?!])(?<!et al\.)\s"  # where one ends
FOLDERS = (HERE / "data" / "notebooks", HERE.parent / "notebooks")  # in the wheel, in the checkout


def names():
    """Notebooks that are there."""
    return sorted({p.stem for folder in FOLDERS for p in folder.glob("*.ipynb")})


def known_parameters(name):
    """{parameter: default} of a notebook's cell tagged `parameters`."""
    _, papermill = _tools()
    described = papermill.inspect_notebook(str(_find(name)))
    return {key: ast.literal_eval(known["default"]) for key, known in described.items()}


def title(name):
    """(title, first sentence) of a notebook, from its first cell."""
    first = json.loads(_find(name).read_text(encoding="utf-8"))["cells"][0]["source"]
    heading, _, text = "".join(first).partition("\n")
    return heading.lstrip("# "), re.split(SENTENCE, text.strip(), maxsplit=1)[0]


def report(name, parameters=None, out="reports", top=""):
    """Run the notebook and return the path of its HTML page in the folder `out`; a typo in a parameter is refused.

    The page needs no network. Its figures lie beside it, as NAME-1.png and NAME-1.svg and so on; in the page each leads
    to its SVG, which can be read at any size. top: HTML put first in its body.
    """
    nbconvert, papermill = _tools()
    from nbformat.v4 import new_markdown_cell

    given = _typed(name, parameters or {})
    values = known_parameters(name) | given
    data = f" · data {measurements.fingerprint(studies.read(values['study']))}" if values.get("study") else ""
    shown = ", ".join(f"{k} = {v!r}" for k, v in values.items())
    stamp = f"*scalinglaws {scalinglaws.__version__}{data} · {shown}*"
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    notebook = _run(papermill, name, given, folder / f"{name}.ipynb")
    headings = figures(notebook, folder / name)
    notebook.cells.insert(1, new_markdown_cell(stamp))
    notebook.metadata |= {"title": title(name)[0], "scalinglaws": {"version": scalinglaws.__version__, "stamp": stamp}}
    plain = {"exclude_input": True, "exclude_input_prompt": True, "exclude_output_prompt": True, "embed_images": True}
    page, _ = nbconvert.HTMLExporter(**plain).from_notebook_node(notebook)
    page = _described(page, headings, name)
    path = folder / f"{name}.html"
    page = _offline(page).replace("</head>", f"{STYLE}</head>", 1)
    path.write_text(re.sub(r"<body[^>]*>", lambda body: body[0] + top, page, count=1), encoding="utf-8")
    return path


def figures(notebook, stem):
    """Write a notebook's figures as STEM-1.png, STEM-1.svg and so on; return the heading above each.

    The SVG is taken out of the notebook, whose page would show it in place of the PNG.
    """
    headings, heading = [], ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            heading = (re.findall(r"^#+ (.+)$", cell.source, re.M) or [heading])[-1]
        for output in cell.get("outputs", ()):
            if "image/png" in output.get("data", {}):
                png, svg = (Path(f"{stem}-{len(headings) + 1}.{kind}") for kind in ("png", "svg"))
                png.write_bytes(base64.b64decode(output["data"]["image/png"]))
                svg.write_text(output["data"].pop("image/svg+xml"), encoding="utf-8")
                headings.append(heading)
    return headings


def _described(page, headings, name):
    """The page with its figures, which nbconvert leaves undescribed, named by their headings and linked to SVG."""
    numbered = iter(enumerate(headings, 1))

    def linked(image):
        number, heading = next(numbered)
        named = re.sub(r'\balt="[^"]*"', lambda _: f'alt="{html.escape(heading)}"', image[0], count=1)
        return f'<a href="{name}-{number}.svg">{named}</a>'

    return re.sub(UNDESCRIBED, linked, page)


def _offline(page):
    """The page without scripts that load from elsewhere: for formulas, diagrams and widgets, which no report has."""
    return re.sub(r"<script\b(?:(?!</script>).)*https?://(?:(?!</script>).)*</script>", "", page, flags=re.S)


def _tools():
    try:
        import nbconvert
        import papermill
    except ImportError as error:
        hint = 'pip install "scalinglaws[notebooks]"'
        raise InputError(f"A report needs papermill and nbconvert, which are not here ({error}): {hint}.") from error
    return nbconvert, papermill


def _find(name):
    places = [folder / f"{name}.ipynb" for folder in FOLDERS]
    path = next((p for p in places if p.exists()), None)
    if path is None:
        raise InputError(f"No notebook named {name!r}. Known notebooks: {', '.join(names())}.")
    return path


def _typed(name, parameters):
    """The parameters with the types of the notebook's defaults; an unknown one is refused."""
    known = known_parameters(name)
    for key in parameters:
        if key not in known:
            listed = ", ".join(f"{k}={v!r}" for k, v in known.items())
            raise InputError(f"Notebook {name!r} has no parameter {key!r}. Known parameters: {listed}.")
    typed = {}
    for key, value in parameters.items():
        default = known[key]
        if isinstance(default, str) or not isinstance(value, str):
            typed[key] = str(value) if isinstance(default, str) else value
            continue
        try:
            typed[key] = type(default)(ast.literal_eval(value) if isinstance(default, bool | list) else value)
        except (ValueError, SyntaxError):
            kind = {int: "a whole number", float: "a number", bool: "True or False"}.get(type(default), "a list")
            raise InputError(f"Parameter {key}={value!r}: give {kind}, such as {default!r}.") from None
    return typed


def _run(papermill, name, given, path):
    """The executed notebook; what went wrong inside it is one sentence."""
    try:
        options = {"kernel_name": "python3", "progress_bar": False, "extra_arguments": QUIET + FIGURES + FORMAT}
        return papermill.execute_notebook(str(_find(name)), str(path), given, **options)
    except papermill.PapermillExecutionError as error:
        if error.ename in ("InputError", "NoAnswer"):
            path.unlink(missing_ok=True)  # executed in part, and nothing in it that the sentence does not say
            raise (NoAnswer if error.ename == "NoAnswer" else InputError)(error.evalue) from None
        raise NoAnswer(f"Notebook {name!r} stopped with {error.ename}: {error.evalue}; see {path}.") from None
