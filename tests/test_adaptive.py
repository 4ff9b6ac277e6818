"""A sweep measured cell by cell: cells of a known law, a store on disk, the real worker and the real design."""

import json
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("torch")

from collect.commands import sweeps
from collect.config import SweepFile
from collect.families.trained import TrainedFamily
from collect.jobs import Job, Outcome
from collect.run import adaptive
from collect.run.adaptive import Ask
from collect.run.cell import Cell, ExecutionConfig, measure, prepare
from collect.sampling.loop import SamplingConfig
from collect.sampling.verifiers import open_verifier
from collect.store.store import Store, identity
from scalinglaws.schema import InputError

SIZES = {"s": 1e6, "m": 4e6, "l": 1.6e7, "xl": 6.4e7}
STEPS = (2, 4, 8, 16, 32, 64)
SAMPLES = 100


GUIDED = 0.6  # of the quality's floor, at guidance 2; a step costs twice then


def law(size, steps, guidance=1.0):
    """A fid whose best size at a budget is known; calls per step are `guidance`, which is 1 or 2."""
    return 2 * (1 if guidance == 1 else GUIDED) + 4e3 * size**-0.5 + 60 * steps**-1.2


@pytest.fixture
def opener(tmp_path):
    return family(tmp_path)


def family(folder, weights=(1.0,)):
    """() -> (jobs, store, measure) of a family of a known law; `measured` lists the cells in order."""
    jobs = []
    for model, size, steps, w in ((m, n, s, w) for w in weights for m, n in SIZES.items() for s in STEPS):
        config = SimpleNamespace(steps=steps, sampler="ddim", guidance=w)
        cell = SimpleNamespace(model=model, sampling=config, samples=SAMPLES, best_of=1)
        jobs.append(Job(f"{model}-{steps}-{w:g}", identity([model, steps, w]), size * steps * w * SAMPLES, cell))
    measured = []

    def measure(cell, partial=None, checkpoint=None):
        size, steps, w = SIZES[cell.model], cell.sampling.steps, cell.sampling.guidance
        if opening.fails == (cell.model, steps):
            raise Outcome("nan", "all images are NaN")
        measured.append((cell.model, steps) if weights == (1.0,) else (cell.model, steps, w))
        noise = 1 + 0.005 * np.random.default_rng([steps, int(size), int(w)]).standard_normal()
        return {"family": "known", "model": cell.model, "flops_per_forward": size, "steps": steps, "nfe": steps * w,
                "sampler": "ddim", "guidance": w, "fid": law(size, steps, w) * noise, "n_samples_for_metric": SAMPLES,
                "seconds_per_image": 1e-9 * size * steps * w}  # fmt: skip

    def opening():
        return jobs, Store(folder / "store"), measure

    opening.jobs, opening.measured, opening.fails = jobs, measured, None
    opening.sizes = {model: {"flops_per_forward": size} for model, size in SIZES.items()}
    return opening


def total(jobs):
    return sum(job.flops for job in jobs)


def cost_of(measured):
    return sum(SIZES[model] * steps * SAMPLES for model, steps in measured)


def last(events):
    return [event for event in events][-1]


@pytest.mark.parametrize("budget", [3e7, 2e8, 1e9])
def test_it_finds_the_best_size_of_a_known_law_for_a_part_of_the_cost(opener, budget):
    end = last(adaptive.run(opener, Ask(budget=budget, until=0.005), opener.sizes))
    assert end.kind == "enough"
    best = min(SIZES, key=lambda m: law(SIZES[m], budget / SIZES[m]) if budget > SIZES[m] * 2 else np.inf)
    chosen = end.plan.answer.split(" at ")[0]
    lost = law(SIZES[chosen], min(budget / SIZES[chosen], 128)) / law(SIZES[best], budget / SIZES[best]) - 1
    assert lost < 0.02, (end.plan.answer, best)
    assert cost_of(opener.measured) < 0.5 * total(opener.jobs)


@pytest.mark.parametrize("budget, guided", [(3e7, False), (4e9, True)])
def test_it_chooses_between_guidances_too(tmp_path, budget, guided):
    """Guidance lowers the floor and doubles the cost: at a small budget it does not pay, at a large one it does."""
    opener = family(tmp_path, (1.0, 2.0))
    end = last(adaptive.run(opener, Ask(budget=budget, until=0.005), opener.sizes))
    assert end.kind == "enough"
    options = [(law(n, min(budget / n / w, 64), w), m, w) for m, n in SIZES.items() for w in (1.0, 2.0)
               if budget >= 2 * n * w]  # fmt: skip
    assert (min(options)[2] == 2.0) == guided, "the law itself says so"
    model, words = end.plan.answer.split(" ", 1)
    chosen = next(value for value, m, w in options if m == model and f"guidance={w:g}" in words)
    assert chosen / min(options)[0] - 1 < 0.02, (end.plan.answer, min(options))
    assert sum(SIZES[m] * s * w * SAMPLES for m, s, w in opener.measured) < 0.5 * total(opener.jobs)
    first = {(m, s, w) for m, s, w in opener.measured[: 2 * adaptive.FIRST]}
    assert {w for *_, w in first} == {1.0, 2.0}, "each guidance begins with cells of its own"


def test_it_stops_when_the_spend_is_used(opener):
    spend = 0.05 * total(opener.jobs)
    end = last(adaptive.run(opener, Ask("largest", spend, until=1e-9), opener.sizes))
    assert end.kind == "enough"
    assert cost_of(opener.measured) <= spend


def test_a_stopped_run_goes_on_where_it_was(opener):
    events = adaptive.run(opener, Ask("largest", until=0.02), opener.sizes)
    for event in events:
        if event.kind == "chosen":
            break
    events.close()
    before = list(opener.measured)
    assert len(before) >= adaptive.FIRST
    end = last(adaptive.run(opener, Ask("largest", until=0.02), opener.sizes))
    assert end.kind == "enough" and end.plan.loss <= 0.02
    assert len(opener.measured) == len(set(opener.measured)), "no cell is measured twice"
    again = last(adaptive.run(opener, Ask("largest", until=0.02), opener.sizes))
    assert again.plan.loss <= 0.02 and len(opener.measured) == len(set(opener.measured))


def test_a_failed_cell_is_passed_over(opener):
    picked = next(e for e in adaptive.run(opener, Ask("largest", until=0.02), opener.sizes) if e.kind == "chosen")
    opener.fails = (picked.job.cell.model, picked.job.cell.sampling.steps)
    end = last(adaptive.run(opener, Ask("largest", until=0.02), opener.sizes))
    assert end.kind == "enough"
    assert opener.fails not in opener.measured


def test_a_crossover_in_seconds(opener):
    ask = Ask("crossover", 10.0, "seconds", between=("s", "m"), until=0.05)
    events = list(adaptive.run(opener, ask, opener.sizes))
    assert events[-1].kind == "enough"
    spent = 1e-9 * cost_of(opener.measured)
    assert spent <= 10.0
    at = [event.job.cell.model for event in events if event.kind == "chosen"]
    assert set(at) <= {"s", "m"}


def test_the_first_cells_differ_in_size_and_steps(opener):
    jobs = {job.name: job for job in opener.jobs}
    first = [jobs[name].cell for name in adaptive.first_cells(jobs)]
    assert len({cell.model for cell in first}) > 1 and len({cell.sampling.steps for cell in first}) > 1
    assert total([job for job in opener.jobs if job.cell in first]) < 0.02 * total(opener.jobs)


def swept(metrics=("fid",), **values):
    """A sweep as `check` sees it: its axes, its models, what it measures."""
    one = {"samplers": ["ddim"], "guidance": [1.0], "guidance_interval": [None], "diffusion_time": [1.0],
           "seeds": [0], "best_of": [1]}  # fmt: skip
    scores = [SimpleNamespace(columns=(name, f"{name}_se")) for name in metrics]
    return SimpleNamespace(file=SimpleNamespace(**one | values), labels=list(SIZES), scores=scores,
                           execution=SimpleNamespace(device="cpu"))  # fmt: skip


def test_every_axis_of_a_sweep_but_models_and_steps_has_one_value():
    axes = {name for name, field in SweepFile.model_fields.items() if "list" in str(field.annotation)}
    axes = {"seeds" if name == "seed" else name for name in axes}
    assert axes - {"sizes", "models", "steps", "quality"} == {*adaptive.SETTINGS, *adaptive.ONE}


def test_a_sweep_that_mixes_more_than_sizes_and_steps_is_refused():
    adaptive.check(swept(samplers=["ddim", "euler"]), Ask())
    with pytest.raises(InputError, match="2 samplers"):
        adaptive.check(swept(samplers=["ddim", "euler"]), Ask("largest"))
    with pytest.raises(InputError, match="2 diffusion_time"):
        adaptive.check(swept(diffusion_time=[0.5, 1.0]), Ask())
    with pytest.raises(InputError, match="no model xs"):
        adaptive.check(swept(), Ask("crossover", between=("s", "xs")))


@pytest.mark.parametrize("ask, metrics, message", [
    ({"quality": "fd"}, ("fid", "clip"), "The quality 'fd' is not measured here; what is: fid, clip"),
    ({}, ("kd", "clip"), "Which column is the quality\\? Name one of kd, clip"),
    ({"budget": "500ms"}, ("fid",), "'500ms' is in seconds, but the unit asked for is flops"),
    ({"budget": "2 J", "unit": "seconds"}, ("fid",), "'2 J' is in joules"),
    ({"budget": "0 FLOPs"}, ("fid",), "give a number above 0"),
    ({"budget": "3 bananas"}, ("fid",), "no unit 'bananas'"),
    ({"unit": "joules", "spend": 10.0}, ("fid",), "needs an energy meter. No counter here. Give it in FLOPs"),
])  # fmt: skip
def test_what_no_row_could_answer_is_refused_before_a_cell_is_measured(ask, metrics, message, monkeypatch):
    monkeypatch.setattr(adaptive.energy, "find", lambda device: (None, "No counter here."))
    with pytest.raises(InputError, match=message):
        adaptive.check(swept(metrics), Ask(**ask))


def test_what_a_row_will_hold_is_asked_for():
    adaptive.check(swept(("clip", "kd")), Ask(quality="kd", budget="500ms", unit="seconds"))
    adaptive.check(swept(("clip", "fid")), Ask(budget=3e8))


@pytest.mark.parametrize("values, message", [
    ({"question": "best"}, "No question 'best'"),
    ({"question": "crossover"}, "between two models"),
    ({"between": ("s", "m")}, "between two models"),
    ({"question": "crossover", "between": ("s", "s")}, "two different models"),
    ({"question": "largest", "budget": 1e9}, "for the optimum, not for largest"),
    ({"unit": "money"}, "no cost in money"),
    ({"until": 0.0}, "a loss above 0, such as 0.002"),
])  # fmt: skip
def test_a_question_that_cannot_be_asked_is_refused_before_a_cell_is_measured(values, message):
    with pytest.raises(InputError, match=message):
        Ask(**values)


def test_what_the_best_of_n_spent_is_no_more_than_the_clock_says(small_family):
    """A row's seconds are those of all candidates; counting them n times ends a run at 1/n of its spend."""
    known = TrainedFamily(Path(small_family))
    cell = Cell("c8", SamplingConfig("ddim", 2), 40, best_of=8, verifier="class-likelihood")
    verifier = open_verifier(cell.verifier, known)
    held, start = prepare(known.model("c8"), ExecutionConfig(batch=20)), time.perf_counter()
    row = measure(cell, known, held, known.metrics(), verifier=verifier)
    seconds = time.perf_counter() - start
    job = Job(cell.name, "0" * 16, 1.0, cell)
    assert 0 < adaptive.spent({"one": row}, {"one": job}, "seconds") < seconds


def test_a_spend_below_the_first_cells_measures_nothing(opener):
    with pytest.raises(InputError, match="The first cells"):
        list(adaptive.run(opener, Ask("largest", 1.0), opener.sizes))
    assert not opener.measured


def test_other_cells_come_first_where_the_cheapest_fail(opener):
    opener.fails = ("s", 2)
    assert last(adaptive.run(opener, Ask("largest", until=0.05), opener.sizes)).plan.loss <= 0.05
    opener.fails = None
    events = adaptive.run(opener, Ask("largest", until=1e-9), opener.sizes, retry=True)
    assert next(event for event in events if event.kind == "chosen")
    assert ("s", 2) in opener.measured, "--retry measures it after all"


def test_the_command_line_measures_a_simulated_sweep(opener, said, monkeypatch, tmp_path):
    def profile(label):
        return SimpleNamespace(columns=lambda guidance: opener.sizes[label] | {"params": SIZES[label]})

    def missing(retry):
        return [job for job in opener.jobs if not store.has(job.name, job.key)]

    store = Store(tmp_path / "store")
    opener.sweep = SimpleNamespace(**vars(swept()), family=SimpleNamespace(cost_profile=profile), store=store,
                                   jobs=opener.jobs, doubts=[], missing=missing)  # fmt: skip
    monkeypatch.setattr(sweeps, "Opener", lambda *place: opener)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.yaml").write_text("family: .\nsteps: [4]\n")  # both are read before the sweep is opened
    (tmp_path / "family.yaml").write_text("family: simulated\nwidths: [8]\nsteps: 1\n")
    code, out, err = said("collect", "run", "x.yaml", "--spend", "1e9 FLOPs")
    assert code == 2 and "--spend: only for a run with --adaptive" in err
    words = ["collect", "run", "x.yaml", "--adaptive", "--budget", "2e8 FLOPs", "--until", "0.005"]
    code, out, err = said(*words, "--spend", "1e9 FLOPs")
    assert code == 2 and "raise it" in err and not opener.measured
    code, out, err = said(*words, "--spend", "1e12 FLOPs", "--quality", "luck")
    assert code == 2 and "'luck' is not measured here" in err and not opener.measured
    code, out, err = said(*words, "--spend", "1e12 FLOPs", "--json")
    assert code == 0 and json.loads(out)["done"] == len(opener.measured), "nothing but JSON on the output"
    assert "cells, " in err, "progress is on the error stream"
    assert "Stopped: " in err and "below 0.005" in err
    assert cost_of(opener.measured) < 0.5 * total(opener.jobs)


@pytest.mark.slow
def test_the_command_line_measures_a_small_family(small_family, tmp_path, said):
    sweep = tmp_path / "sweep.yaml"
    sweep.write_text(f"family: {small_family}\nsteps: [1, 2, 3, 4]\nsamples: 80\nbatch: 80\n")
    words = ["collect", "run", sweep, "--store", tmp_path / "store", "--adaptive", "--question", "largest"]
    code, out, err = said(*words, "--spend", "1e12 FLOPs", "--until", "0.2")
    assert code == 0, err
    assert "Stopped: " in err
    code, out, err = said("collect", "status", sweep, "--store", tmp_path / "store", "--json")
    assert 4 <= json.loads(out)["done"] <= 8
    code, _, err = said(*words, "--spend", "3 bananas")
    assert code == 2 and "bananas" in err
