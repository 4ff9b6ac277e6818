"""Decisions are those of the earlier code, to 1e-9: tests/data/decisions/answers.csv holds what it answered.

Intended differences, each a fault mended, are listed in CHANGED and tested elsewhere (test_cost, test_crossover).
"""

import re
from functools import cache

import numpy as np
import pandas as pd
import pytest
import stored

from scalinglaws import studies
from scalinglaws.decide import measured
from scalinglaws.decide.cost import cost_model
from scalinglaws.decide.crossover import crossings, crossover, crossovers, measured_crossings
from scalinglaws.decide.curves import law_curves, measured_cost_curves
from scalinglaws.decide.guidance import optimal_guidance
from scalinglaws.decide.optimum import optimum
from scalinglaws.fitting import Groups

ANSWERS = pd.read_csv(stored.FOLDER / "answers.csv", dtype=str, keep_default_na=False)
CHANGED = {
    "measured points are priced by the cost model, as the curves are: in seconds by the line through a size's runs":
        r"(frontier|winners|measured) .*seconds",
}  # fmt: skip
FIELDS = ("cost", "value", "low", "high", "probability", "below", "above", "decades_beyond")


def expected(case, kind):
    """{question: {key: text}} of one case and kind of question, without what has changed."""
    rows = ANSWERS[(ANSWERS["case"] == case) & ANSWERS["question"].str.match(kind)]
    for pattern in CHANGED.values():
        rows = rows[~rows["question"].str.match(pattern)]
    return {question: dict(zip(part["key"], part["value"], strict=True)) for question, part in rows.groupby("question")}


def cases(kind):
    return list(dict.fromkeys(ANSWERS[ANSWERS["question"].str.match(kind)]["case"]))


def same(answer, text):
    """Whether an answer is the one kept as text."""
    if answer is None or text == "" or isinstance(answer, str):
        return str("" if answer is None else answer) == text
    return float(answer) == pytest.approx(float(text), rel=1e-9, abs=1e-12, nan_ok=True)


def differences(answers, known):
    return {k: (answers[k], v) for k, v in known.items() if not same(answers[k], v)}


@cache
def source(case):
    return stored.source(case)


@cache
def rows_of(case):
    return stored.table(case)


@cache
def priced(case, unit, decode=False):
    """(cost model, measured points) of a case's rows."""
    *_, quality, inputs, _, _ = stored.CASES[case]
    stages = ("denoise", "decode") if decode else ("denoise",)
    cost = cost_model(rows_of(case), unit, stages=stages, size=inputs["N"])
    return cost, measured.points(rows_of(case), quality, cost)


def parts(question):
    """(words before the unit, unit, options) of a question such as 'optimum 1e+08 flops decode=True'."""
    words, unit, options = re.fullmatch(r"\w+ (.*?) ?(flops|seconds|money)((?: \w+=.*)?)", question).groups()
    options = {k: v for k, v in re.findall(r"(\w+)=(\[.*?\]|\S+)", options)}
    return words, unit, options


def pricing(options):
    known = {"stages": ("denoise", "decode")} if options.pop("decode", None) else {}
    return known | ({"price": float(options.pop("price"))} if "price" in options else {})


@pytest.mark.parametrize("case", cases("optimum"))
def test_optima(case):
    for question, known in expected(case, "optimum").items():
        budget, unit, options = parts(question)
        named = pricing(options)
        if "steps" in options:
            named["steps"] = [4, 8, 16]
        if "sizes" in options:
            named["sizes"] = "continuous" if options["sizes"] == "continuous" else ["c8", "c16"]
        found = optimum(source(case), float(budget), unit, **named)
        table = found.candidates
        answers = found.record() | {"flat": "|".join(found.flat)}
        answers |= {f"mean {c}": table[c].mean() for c in table if c != "model"}
        answers |= {f"last {c}": table[c].iloc[-1] for c in table}
        assert differences(answers, known) == {}, question


@pytest.mark.parametrize("case", [c for c in cases("crossover ") if not isinstance(stored.source(c), Groups)])
def test_crossovers_of_sizes_and_of_a_shared_law(case):
    compare_crossovers(case)


@pytest.mark.parametrize("case", [c for c in cases("crossover ") if isinstance(stored.source(c), Groups)])
def test_crossovers_of_groups(case):
    compare_crossovers(case)


def compare_crossovers(case):
    names = {str(name): name for name in getattr(source(case), "fits", {})}
    for question, known in expected(case, "crossover ").items():
        words, unit, options = parts(question)
        pair = next(p for p in pairs(words))
        found = crossover(source(case), [names.get(p, p) for p in pair], unit=unit, **pricing(options), **options)
        answers = {k: getattr(found, k) for k in FIELDS} | {"from": found.searched[0], "to": found.searched[1]}
        assert differences(answers, known) == {}, question


def pairs(words):
    """The two labels in 'one two', which may hold blanks themselves: split at the middle blank."""
    blanks = [i for i, letter in enumerate(words) if letter == " "]
    yield from ((words[:i], words[i + 1 :]) for i in [blanks[len(blanks) // 2]])


@pytest.mark.parametrize("case", cases("measured crossover"))
def test_measured_crossings_of_levels(case):
    for question, known in expected(case, "measured crossover").items():
        words, unit, options = parts(question.removeprefix("measured "))
        stages = pricing(options).get("stages", ("denoise",))
        pair = next(pairs(words))
        rows = rows_of(case)
        cost = cost_model(rows, unit, stages=stages) if "flops_per_forward" in rows and "at" in options else None
        names = {str(name): name for name in getattr(source(case), "fits", {})}
        found = measured_crossings(source(case), [names.get(p, p) for p in pair], cost=cost, **options)
        answers = {"count": len(found)} | {str(i): x for i, x in enumerate(found)}
        assert differences(answers, known) == {}, question


@pytest.mark.parametrize("case", cases("frontier"))
def test_measured_rows(case):
    quality = stored.CASES[case][3]
    rows = rows_of(case)
    for kind in ("frontier", "winners", "measured"):
        for question, known in expected(case, kind + " ").items():
            words, unit, options = parts(question + " " if question.endswith(" ") else question)
            cost, points = priced(case, unit, "decode" in options)
            if kind == "frontier":
                table = measured.frontier(rows, quality, cost)
                answers = {f"{i} cost": v for i, v in enumerate(table["cost"])}
                answers |= {f"{i} value": v for i, v in enumerate(table[quality])}
            elif kind == "winners":
                spent = points["cost"]
                table = measured.winners(rows, np.geomspace(spent.min(), spent.max(), 12), quality, cost)
                answers = {f"{i} {c}": row[c] for i, row in table.iterrows() for c in table}
            else:
                curves = measured_cost_curves(points, quality, unit).values()
                one, two = (next(c for c in curves if c.label == name) for name in words.split())
                places = crossings(one, two)
                answers = {"count": len(places)} | {str(i): x for i, x in enumerate(places)}
            assert differences(answers, known) == {}, question


def test_tables_of_crossovers_and_curves():
    table = crossovers(source("samplers"))
    answers = {"rows": len(table), "at": "|".join(table["at"]), "mean": table["cost"].mean()}
    assert differences(answers, expected("samplers", "crossovers")["crossovers"]) == {}
    for case in cases("law curves"):
        table = law_curves(source(case)).rename(columns={"x": "cost"})
        means = {k: table[k].mean() for k in ("cost", "value", "low", "high")}
        assert differences(means, expected(case, "law curves")["law curves"]) == {}


@pytest.mark.parametrize("study", cases("guidance"))
def test_guidance(study):
    quality = "fd" if study == "tiny-ldm" else "fid"
    table = optimal_guidance(studies.read(stored.kept(study)), quality).table
    same = [*table.columns[: list(table).index("guidances")]]
    table = table.sort_values(same, ignore_index=True)  # as they were kept; by rising size since
    answers = {f"{i} {c}": row[c] for i, row in table.iterrows() for c in table}
    assert differences(answers, expected(study, "guidance")["guidance"]) == {}


def test_few_answers_are_left_out():
    left = sum(ANSWERS["question"].str.match(pattern).sum() for pattern in CHANGED.values())
    assert left < 0.2 * len(ANSWERS)
