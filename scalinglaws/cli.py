"""The command line: `scalinglaws COMMAND`; the commands are listed in `_add_verbs`.

Ends with 0 if it worked, 1 if it ran but there is no answer, 2 if the words or the input cannot be used, 130 after
Ctrl-C; what went wrong is one sentence on stderr. `--json` prints what `answers.schema.json` describes.

Other packages join by an entry point in the group scalinglaws.commands: a function register(subparsers) that adds
parsers with `run` set to a function of the parsed arguments.
"""

import argparse
import json
import math
import os
import sys
from importlib.metadata import entry_points

import numpy as np

import scalinglaws
from scalinglaws import commands
from scalinglaws.schema import InputError, NoAnswer

GROUP = "scalinglaws.commands"
WORKED, NO_ANSWER, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130


def main(argv=None):
    """Run one command and return its exit code."""
    argv = sys.argv[1:] if argv is None else list(argv)
    try:
        args = build(argv).parse_args(argv)
        answer = args.run(args)
        if not isinstance(answer, commands.Reply):
            return answer or WORKED
        text = json.dumps(_plain(answer.data), indent=2, allow_nan=False) if args.json else answer.text
        print(text, flush=True)
        return WORKED
    except InputError as error:
        print(f"scalinglaws: {error}", file=sys.stderr)
        return NO_ANSWER if isinstance(error, NoAnswer) else BAD_INPUT
    except KeyboardInterrupt:
        print("scalinglaws: interrupted.", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader, such as head, has closed the pipe
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, the interpreter flushes it at exit
        return WORKED
    except OSError as error:
        if error.filename is None or error.strerror is None:  # a fault of ours, not of a place that was named
            raise
        print(
            f"scalinglaws: {error.filename}: {error.strerror}. Name another place, or mend this one.", file=sys.stderr
        )
        return BAD_INPUT


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are one sentence, as all others are."""

    def error(self, message):
        raise InputError(f"{message}. See {self.prog} --help.")


def build(argv):
    """The parser; a package that joins is imported only when its command is the one asked for."""
    parser = Parser("scalinglaws", description="Which size, how many steps, for the budget I have.")
    parser.add_argument("--version", action="version", version=f"scalinglaws {scalinglaws.__version__}")
    verbs = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    law, fit = [_table_options(), _inputs_option(), _law_option()], [_level_option(), _fit_options()]
    _add_decisions(verbs, [*law, *fit, _budget_options()])
    _add_laws(verbs, law, fit)
    _add_plans(verbs, law, fit)
    _add_files(verbs)
    for point in entry_points(group=GROUP):
        _join(verbs, point, wanted=next((a for a in argv if not a.startswith("-")), None) == point.name)
    return parser


def _add_decisions(verbs, priced):
    verb = _verb(verbs, "new", commands.new, [_json_option()])
    verb.add_argument("folder", nargs="?", default=".", metavar="FOLDER", help="where to write (default: here)")
    verb = _verb(verbs, "ask", commands.ask, priced)
    verb.add_argument("--budget", help="per image, such as 500ms, '3e12 FLOPs', 0.2J, '$0.001' (default: the middle)")
    verb = _verb(verbs, "optimum", commands.optimum, priced)
    verb.add_argument("--budget", required=True, help="per image, such as 500ms, '3e12 FLOPs', 0.2J, '$0.001'")
    verb.add_argument("--sizes", nargs="+", help="labels or numbers; 'continuous': any (default: the measured)")
    verb.add_argument("--steps", type=int, nargs="+", help="step counts allowed (default: any)")
    verb = _verb(verbs, "crossover", commands.crossover, priced)
    verb.add_argument("--between", nargs=2, metavar=("ONE", "OTHER"), help="two sizes or levels (default: every pair)")
    verb.add_argument("--by", metavar="COLUMN", help="compare levels of this column, such as sampler, not sizes")
    verb.add_argument("--at", metavar="SIZE", help="with --by: the size at which to compare (default: every size)")
    verb.add_argument("--along", metavar="INPUT", help="with --by: the input to run along (default: cost per image)")
    verb.add_argument("--share", nargs="+", metavar="PARAM", help="with --by: parameters the levels have in common")


def _add_laws(verbs, law, fit):
    verb = _verb(verbs, "fit", commands.fit, [*law, *fit])
    verb.add_argument("--by", nargs="+", metavar="COLUMN", help="one fit for every value of these columns")
    verb.add_argument("--checks", action="store_true", help="add statsmodels' table, line, residuals and lack of fit")
    verb = _verb(verbs, "predict", commands.predict, [*law, *fit])
    new = verb.add_mutually_exclusive_group()
    new.add_argument("--at", nargs="+", action="extend", metavar="INPUT=V[,V]",
                     help="values of the law's inputs, all combinations")  # fmt: skip
    new.add_argument("--new", metavar="FILE", help="a table with the law's inputs (default: the fitted rows)")
    verb = _verb(verbs, "compare", commands.compare, [_table_options(), _inputs_option(), *fit])
    verb.add_argument("--laws", nargs="+", metavar="LAW", help="laws to rank (default: those the inputs allow)")
    verb.add_argument("--along", metavar="SYMBOL", help="the input whose largest values are hidden (default: size)")
    verb.add_argument("--hide", default="largest", help="largest values one by one, or the top decade")


def _add_plans(verbs, law, fit):
    verb = _verb(verbs, "forecast", commands.forecast, [_table_options(), _level_option()])
    verb.add_argument("--at", nargs="+", action="extend", required=True, metavar="COLUMN=V[,V]", help="values beyond "
                      "the rows, such as params=1e9,2e9 or steps=64; model=LABEL: the size of a row without quality",
                      )  # fmt: skip
    verb.add_argument("--kind", choices=("size", "steps", "training"), help="of the column (default: by its name)")
    verb.add_argument("--sampler", metavar="NAME", help="the solver, where steps are forecast (default: the column)")
    verb.add_argument("--no-prior", action="store_true", help="from the rows alone, not from what studies have shown")
    verb = _verb(verbs, "allocate", commands.allocate, [*law, *fit])
    verb.add_argument("--budget", help="of training, such as '1e21 FLOPs'; with --cost a number in its unit")
    verb.add_argument("--cost", metavar="COLUMN|NUMBER", help="of training (default: 6 N D; 3 N D for N in FLOPs)")
    verb.add_argument("--sizes", nargs=2, type=float, metavar=("LOW", "HIGH"), help="sizes to look between")
    verb.add_argument("--serve", metavar="IMAGES", help="images over a lifetime, paid together with the training")
    verb.add_argument("--quality-wanted", type=float, metavar="Q", help="with --serve: the quality to be reached")
    verb.add_argument("--calls", type=float, help="with --serve: forward passes per image (or per step)")
    verb.add_argument("--steps", type=int, nargs="+", help="where the law has steps: those allowed")
    verb = _verb(verbs, "backtest", commands.backtest, [_json_option()])
    verb.add_argument("tables", nargs="*", metavar="TABLE", help="your tables or studies (default: every bundled one)")
    verb.add_argument("--rivals", default="last,power,floor,floor_raw", metavar="NAME,...", help="or all (default: "
                      "%(default)s)")  # fmt: skip
    verb.add_argument("--processes", type=int, default=1, metavar="N", help="that share the work (default: 1)")
    verb.add_argument("--write", metavar="CSV", help="store one row a question and method in this file")
    verb.add_argument("--check", metavar="CSV", help="a stored board that must say the same; ends with 1 if not")
    verb.add_argument("--page", metavar="FILE", help="write every series, drawn, to this HTML file")
    verb.add_argument("--language", metavar="FOLDER", help="a folder of language-model sets to add")
    verb = _verb(verbs, "design", commands.design, law)
    verb.add_argument("--question", default="optimum", help="optimum, crossover or largest (default: optimum)")
    verb.add_argument("--spend", required=True, help="what may be spent, such as '2 GPU-hours', '1e15 FLOPs' or '$3'")
    verb.add_argument("--budget", nargs="+", help="per image, in the unit of the spend (default: all measured)")
    verb.add_argument("--between", nargs=2, metavar=("ONE", "OTHER"), help="two sizes, for --question crossover")
    verb.add_argument("--steps", type=int, nargs="+", help="further step counts to consider")
    verb.add_argument("--samples", type=int, nargs="+", help="images of a cell (default: as in the table)")
    verb.add_argument("--training", nargs="?", const="column", metavar="COST", help="consider trainings, at this cost")
    verb.add_argument("--of", choices=("owned", "new_model"), help="decide among models owned, or sizes to train")
    verb.add_argument("--price", help="money per hour of the machine, such as 2.5 or '$2.50/h'")
    verb.add_argument("--enough", type=float, metavar="LOSS", help="the loss that is not worth reducing")
    verb.add_argument("--most", type=int, default=20, metavar="PICKS", help="picks at most (default: 20)")
    _verb(verbs, "guidance", commands.guidance, [_table_options()])


def _add_files(verbs):
    verb = _verb(verbs, "studies", commands.list_studies, [_json_option()])
    verb.add_argument("name", nargs="*", metavar="NAME", help="one study, with its sources and caveats, or "
                      "words of names and titles")  # fmt: skip
    verb = _verb(verbs, "report", commands.report, [_json_option()])
    verb.add_argument("name", nargs="?", metavar="NAME", help="a notebook, such as sampling_efficiency; with --all a "
                      "table or study (default: tiny-ldm)")  # fmt: skip
    verb.add_argument("--all", action="store_true", help="build one site: index, interactive page, every notebook")
    verb.add_argument("--quality", metavar="COLUMN", help="with --all: what is chosen by (default: fd or fid)")
    verb.add_argument("--where", nargs="+", action="extend", metavar="COLUMN=VALUE", help="with --all: these rows only")
    verb.add_argument("--read-as", nargs="+", action="extend", metavar="COLUMN=MEANING", help="with --all: see ask")
    verb.add_argument("--price", help="with --all: money per hour of the machine, for budgets in money")
    verb.add_argument("--se", metavar="COLUMN", help="with --all: standard errors of the quality, of the page's laws")
    verb.add_argument("--board", action="store_true", help="with --all: add the board of backtests; takes minutes")
    verb.add_argument("-p", "--parameter", action="append", metavar="KEY=VALUE", help="a parameter of the notebook")
    verb.add_argument("--out", default="reports", metavar="FOLDER", help="where the report goes (default: reports)")
    verb = _verb(verbs, "schema", commands.show_schema, [_json_option()])
    verb.add_argument("verb", nargs="?", metavar="COMMAND", help="of this command alone (default: of all)")


def _verb(verbs, name, action, parents):
    parser = verbs.add_parser(name, help=action.__doc__.split("\n")[0].rstrip("."), parents=parents)
    parser.set_defaults(run=action)
    return parser


def _json_option():
    parser = Parser(add_help=False)
    parser.add_argument("--json", action="store_true", help="print JSON; `scalinglaws schema COMMAND` describes it")
    return parser


def _table_options():
    parser = Parser(add_help=False, parents=[_json_option()])
    parser.add_argument("file", metavar="FILE", help="a csv, a parquet, a collect store or a bundled study's name")
    parser.add_argument("--quality", metavar="COLUMN", help="what is predicted or chosen by (default: fd or fid)")
    parser.add_argument("--where", nargs="+", action="extend", metavar="COLUMN=VALUE", help="keep these rows only")
    parser.add_argument("--read-as", nargs="+", action="extend", metavar="COLUMN=MEANING",
                        help="such as t=seconds_per_image:ms or size=params:M; COLUMN=none: as it is")  # fmt: skip
    parser.add_argument(
        "--strict", action="store_true", help="refuse rows without quality or input, not leave them out"
    )
    return parser


def _level_option():
    parser = Parser(add_help=False)
    parser.add_argument("--level", type=float, default=0.9, help="of the intervals (default: 0.9)")
    return parser


def _inputs_option():
    parser = Parser(add_help=False)
    parser.add_argument("--inputs", nargs="+", action="extend", metavar="SYMBOL=COLUMN",
                        help="such as N=flops_per_forward S=steps")  # fmt: skip
    return parser


def _law_option():
    parser = Parser(add_help=False)
    parser.add_argument("--law", help="power, power_floor, chinchilla, size_steps, ... (default: by the columns)")
    return parser


def _fit_options():
    parser = Parser(add_help=False)
    parser.add_argument("--loss", default="huber", choices=("huber", "squares"), help="of residuals (default: huber)")
    parser.add_argument("--delta", type=float, help="where Huber's loss turns linear, in log units (default: by noise)")
    parser.add_argument("--se", metavar="COLUMN", help="standard errors of the quality, where the noise is uneven")
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap (default: 0)")
    return parser


def _budget_options():
    parser = Parser(add_help=False)
    parser.add_argument("--unit", metavar="UNIT", help="flops, seconds, joules or money (default: what is measured)")
    parser.add_argument("--price", help="money per hour of the machine, such as 2.5 or '$2.50/h'")
    parser.add_argument("--decode", action="store_true", help="count the decoding of the latent, too")
    parser.add_argument("--text", action="store_true", help="count the encoding of the text, too")
    return parser


def _join(verbs, point, wanted):
    """Add a package's command: in full if it is the one asked for, else its name only."""
    if not wanted:
        verbs.add_parser(point.name, help=f"(see scalinglaws {point.name} --help)", add_help=False)
        return
    try:
        point.load()(verbs)
    except ImportError as error:
        extra = f"pip install 'scalinglaws[{point.name}]'"
        raise InputError(f"The command {point.name!r} needs a package that is not here ({error}): {extra}.") from error


def _plain(value):
    """Numbers of numpy as JSON's, no number as null, sequences as lists."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(v) for v in value]
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)


if __name__ == "__main__":
    sys.exit(main())
