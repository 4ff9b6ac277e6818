"""One linked static site of a table: an index, the interactive page, every notebook, contact sheets, the board."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from scalinglaws import backtest, infer, measurements, notebooks, roles, studies
from scalinglaws.assignments import stated
from scalinglaws.forecasting import page as board_page
from scalinglaws.forecasting import series
from scalinglaws.schema import InputError
from scalinglaws.site import index, page, pictures
from scalinglaws.site.answers import STOPS, answers

EXPLORER, TABLE, BOARD, INDEX = "explore.html", "table.csv", "board.html", "index.html"
TOP = "font: 15px system-ui, sans-serif; padding: 12px 16px; text-decoration: underline"  # links on a notebook's page
COMPANIONS = {  # notebook: (parameter, end of the name of a bundled study's further table)
    "training_budget": ("training", "-training"),
    "training_compute": ("study", "-training"),
    "guidance": ("interval", "-interval"),
    "which_size": ("passes", "-compute"),
    "compute_surface": ("study", "-compute"),
    "neighbours": ("study", "-diffusion-time"),
    "personalisation": ("study", "-subject"),
    "downstream_scaling": ("study", "-super-resolution"),
    "downstream_efficiency": ("study", "-super-resolution"),
    "distillation": ("study", "-students"),
}
NEEDS = {  # notebook: (columns it cannot do without, a|b is either; what rows these are)
    "compute_surface": (("flops_per_forward", "threads", "dtype"), "passes timed by `scalinglaws collect compute`"),
    "distillation": (("variant",), "students and their teachers"),
    "downstream_efficiency": (("family", "variant"), "fine-tuned models"),
    "downstream_scaling": (("variant", "train_flops"), "fine-tuned models along their training"),
    "guidance": (("guidance",), "several guidances"),
    "neighbours": (("diffusion_time",), "several diffusion times"),
    "personalisation": (("variant", "dataset", "subject_similarity"), "models personalised to subjects"),
    "samplers": (("sampler",), "several samplers"),
    "training_budget": (("train_images|tokens",), "models along their training"),
    "training_compute": (("train_flops",), "models along their training"),
}
RIVALS = ("last", "power", "floor")  # on the board: the quick ones


@dataclass(frozen=True)
class Site:
    """Where a site lies, and what could not be made of it."""

    index: Path
    pages: tuple[Path, ...]
    left_out: tuple[tuple[str, str], ...] = ()  # (what, why)

    def __repr__(self):
        return f"<Site: {self.index}, {len(self.pages)} pages>"

    def summary(self) -> str:
        """The paths, and what was left out."""
        lines = [f"Site: {self.index}", *(f"  {path}" for path in self.pages)]
        return "\n".join(lines + [f"Left out {what}: {why}" for what, why in self.left_out])


def explore(source, path="explore.html", *, title=None, images=None, sheets=(), nav=(), **asked) -> Path:
    """Write the interactive page of a table and return its path.

    source and asked: as for `answers.answers`: quality, law, inputs, where, read_as, price, level, of, stops, options
    of fit(). images: {(model, steps): path}. sheets: paths of contact sheets with a grid (see `pictures`). nav: (href,
    text) of links.
    """
    shown = answers(source, **asked)
    return _explorer(shown, path, title or _name(source), images, sheets, nav)


def build(source="tiny-ldm", out="site", *, names=None, board=False, images=None, sheets=None, claims=None, title=None,
          where=None, read_as=None, quality=None, law=None, inputs=None, level=0.9, price=None, stops=STOPS,
          progress=None, **options) -> Site:  # fmt: skip
    """Build the site of a table in the folder `out`: the function behind `scalinglaws report --all`.

    source, quality, law, inputs, where, read_as: as for `infer.question`. names: notebooks to run (default: all; () for
    none); one that cannot run on the table is listed with the reason. A notebook about training, tasks or students runs
    on that table of a bundled study, where there is one. board: forecast the hidden values of every
    bundled study and of this table, which takes minutes. images: {(model, steps): path}; sheets: paths of contact
    sheets (default: the PNG files beside the table that begin with its name). claims: a csv, see `index.read_claims`
    (default: data/claims.csv, for a bundled study). price: money per hour of the machine. progress: called with the
    name of each page before it is made, since notebooks take seconds each. Where no law can be asked for, such as of
    rows of several trainings, the notebooks about such rows are made all the same. Raises InputError where the table
    cannot be read or gives no page.
    """
    folder, name = Path(out), _name(source)
    asked = {"quality": quality, "law": law, "inputs": inputs}
    table, quality, read, refused = _rows(source, where, read_as, asked)
    folder.mkdir(parents=True, exist_ok=True)
    table.to_csv(folder / TABLE, index=False)
    sheets, begin = pictures.beside(source) if sheets is None else [*map(Path, sheets)], progress or (lambda page: None)
    nav, pages, left_out, shown = [(INDEX, "Index")], [], [], None
    begin("the interactive page")
    try:
        shown = answers(source, where=where, read_as=read_as, price=price, level=level, stops=stops, **asked, **options)
        _explorer(shown, folder / EXPLORER, name, images, sheets, nav)
        pages.append((EXPLORER, "The best choice for a budget", "Interactive: budget in, size and steps out."))
    except InputError as error:
        left_out.append(("the interactive page", str(error)))
    given = {"study": str(folder / TABLE), "quality": quality, "law": law or "", "level": level}
    for notebook in notebooks.names() if names is None else names:
        try:
            companion = _companion(notebook, source)
            if not {"study", "training"} & set(companion):
                _refuse_other_rows(notebook, table, refused)
            begin(f"notebook {notebook}")
            pages.append(_notebook(notebook, given | companion, folder, page.links(nav, TOP)))
        except InputError as error:
            left_out.append((f"notebook {notebook}", str(error)))
    if board:
        begin("the board")
        pages.append(_board(folder, table, name, source in studies.names(), page.links(nav, TOP)))
    if refused and not pages:
        (folder / TABLE).unlink()
        raise refused
    hrefs = [shutil.copy(sheet, folder / sheet.name).name for sheet in sheets]
    scored = _claims(claims, source)
    path = index.write(folder / INDEX, title or name, shown, EXPLORER, pages, left_out, hrefs, scored, TABLE,
                       read)  # fmt: skip
    return Site(path, tuple(folder / href for href, *_ in pages), tuple(left_out))


def _rows(source, where, read_as, asked):
    """(rows as read, quality, sentences on how they were read, the InputError of a law that cannot be asked for)."""
    try:
        question = infer.question(source, where=where, read_as=read_as, choose=True, **asked)
        table, quality, read, refused = question.table, question.quality, question.sentences(), None
    except InputError as error:
        if asked["law"] or asked["inputs"]:  # named, and not to be had
            raise
        table, readings = infer.kept_and_read(studies.read(source), stated(where), stated(read_as))
        called = {reading.column: reading.meaning for reading in readings}
        quality = called.get(asked["quality"], asked["quality"]) or roles.quality_of(table)
        table, refused = measurements.tidy(table, quality=quality), error
        read = [*(reading.sentence() for reading in readings), *measurements.notes(table)]
    return table, quality, [*read, f"{len(table)} measurements, data {measurements.fingerprint(table)}."], refused


def _explorer(shown, path, title, images, sheets, nav):
    labels = [model["label"] for model in shown["models"]]
    grids = [sheet for sheet in map(pictures.read_sheet, sheets) if sheet]
    drawn = pictures.embedded(labels, images, grids)
    return page.write(path, shown, f"{title}: the best choice for a budget", drawn, nav)


def _companion(notebook, source):
    """{parameter: study} of a notebook that needs another table of a bundled study, where that is bundled too."""
    parameter, end = COMPANIONS.get(notebook, ("", ""))
    named = isinstance(source, str) and source in studies.names() and f"{source}{end}" in studies.names()
    return {parameter: f"{source}{end}"} if end and named else {}


def _refuse_other_rows(notebook, table, refused):
    """InputError where a notebook is about rows that the table does not have, by their columns, or about the law that
    was refused."""
    if refused and notebook not in NEEDS:
        raise refused
    columns, rows = NEEDS.get(notebook, ((), ""))
    full = {c for c in table.columns if table[c].notna().any()}
    missing = [needed.replace("|", " or ") for needed in columns if not full & set(needed.split("|"))]
    if missing:
        raise InputError(f"It is about {rows}: the table has no {', '.join(missing)}.")


def _notebook(name, given, folder, top):
    """(href, title, first sentence) of a notebook run on the table."""
    known = notebooks.known_parameters(name)
    if "study" not in known:
        raise InputError(f"It takes no table (no parameter 'study' among {', '.join(known)}).")
    path = notebooks.report(name, {k: v for k, v in given.items() if k in known}, folder, top)
    return path.name, *notebooks.title(name)


def _board(folder, table, name, bundled, top):
    """(href, title, sentence) of the board: bundled studies, and the table where it is not one of them."""
    found = series.published() + ([] if bundled else series.questions(table, name))
    board = backtest.backtest(found, RIVALS)
    board_page.write(folder / BOARD, board, found, backtest.summary(board), top=top)
    return BOARD, "The board of backtests", "The last value of every series hidden and forecast."


def _claims(claims, source):
    """The scoreboard's rows: of the file given, or of data/claims.csv for a bundled study; None without one."""
    if claims is not None:
        return index.read_claims(claims)
    if isinstance(source, str) and source in studies.names():
        return next((index.read_claims(h / "claims.csv") for h in studies.HOMES if (h / "claims.csv").exists()), None)
    return None


def _name(source):
    """What a source is called in titles."""
    return Path(source).stem if isinstance(source, str | Path) else "measurements"
