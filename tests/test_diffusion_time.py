"""Sampling from a share of the noise schedule beside diffusers' own time steps and a closed form; its optimum."""

from dataclasses import asdict

import diffusers
import numpy as np
import pandas as pd
import pytest

torch = pytest.importorskip("torch")

from test_sampling import DEVIATION, EVEN, gaussian, small  # noqa: E402

from collect.config import SweepFile  # noqa: E402
from collect.models.tasks import Classes  # noqa: E402
from collect.run.cell import Cell, described, settings  # noqa: E402
from collect.sampling import loop, schedulers  # noqa: E402
from collect.sampling.loop import SamplingConfig  # noqa: E402
from scalinglaws.decide.diffusion_time import best_diffusion_time  # noqa: E402
from scalinglaws.schema import InputError, NoAnswer  # noqa: E402

TRAILING = [599, 449, 299, 149]  # four steps from 0.6 of a thousand levels


@pytest.mark.parametrize("name", ["ddim", "ddpm", "dpm++2m", "unipc", "euler", "heun", "lcm"])
def test_a_cut_schedule_is_the_first_part_of_the_whole(name):
    model = small()
    whole, cut = schedulers.scheduler(name, model), schedulers.scheduler(name, model, 0.6)
    assert cut.config.num_train_timesteps == 600
    assert torch.equal(cut.alphas_cumprod, whole.alphas_cumprod[:600])


def test_a_share_in_decimals_keeps_that_many_levels():
    """0.29 * 100 is 28.999... in floating point."""
    kept = [schedulers.cut(torch.linspace(1e-4, 0.02, 100), k / 100)["num_train_timesteps"] for k in range(1, 101)]
    assert kept == list(range(1, 101))


@pytest.mark.parametrize("name", ["ddpm", "dpm++2m"])
def test_it_is_diffusers_with_time_steps_given_one_by_one(name):
    model, indices = small(), range(3)
    conditions = Classes(10).conditions(indices)
    ours = loop.latents(model, SamplingConfig(name, 4, diffusion_time=0.6), indices, conditions)
    theirs = schedulers.scheduler(name, model)
    theirs.set_timesteps(timesteps=TRAILING)
    streams = loop.generators(0, indices)
    x, wanted = loop.draw(streams, model.shape), loop.encode(model, conditions)
    for t in theirs.timesteps:
        with torch.no_grad():
            v = loop.predict(model, model.denoiser, x, t, *wanted, 1.0)
        x = theirs.step(v, t, x, generator=streams).prev_sample
    assert torch.allclose(ours, x, rtol=1e-4, atol=1e-5)


def test_ddim_takes_the_stride_of_the_shorter_path():
    """The update of Song et al. 2021 (arXiv:2010.02502, eq. 12) along the four levels, written out."""
    model, indices = small(), range(3)
    conditions = Classes(10).conditions(indices)
    ours = loop.latents(model, SamplingConfig("ddim", 4, diffusion_time=0.6), indices, conditions)
    signal = diffusers.DDIMScheduler.from_config(model.schedule).alphas_cumprod
    x, wanted = loop.draw(loop.generators(0, indices), model.shape), loop.encode(model, conditions)
    for t, end in zip(TRAILING, [*TRAILING[1:], None], strict=True):
        a, b = signal[t].sqrt(), (1 - signal[t]).sqrt()
        last = torch.tensor(1.0) if end is None else signal[end]
        with torch.no_grad():
            v = loop.predict(model, model.denoiser, x, torch.tensor(t), *wanted, 1.0)
        x = last.sqrt() * (a * x - b * v) + (1 - last).sqrt() * (a * v + b * x)
    assert torch.allclose(ours, x, rtol=1e-3, atol=1e-4)


def test_in_the_coordinates_of_euler_it_is_the_same_path_as_ddims():
    model, indices = gaussian(**EVEN), range(4)
    one, two = (loop.latents(model, SamplingConfig(name, 4, diffusion_time=0.6), indices, {})
                for name in ("ddim", "euler"))  # fmt: skip
    assert torch.allclose(one, two, rtol=2e-3, atol=2e-4)


@pytest.mark.parametrize("time", [0.3, 0.5, 0.8])
@pytest.mark.parametrize("name", ["ddim", "dpm++2m"])
def test_the_mismatch_of_the_start_is_that_of_the_closed_form(name, time):
    """Data N(0, d^2): the exact flow takes N(0, v), v = a^2 d^2 + b^2 at T, to the data, so N(0, 1) to d / sqrt(v)."""
    model = gaussian(**EVEN)
    a2 = float(schedulers.scheduler("ddim", model, time).alphas_cumprod[-1])
    spread = 1 / np.sqrt(a2 * DEVIATION**2 + 1 - a2)
    x = loop.latents(model, SamplingConfig(name, 100, diffusion_time=time), range(8), {})
    start = loop.draw(loop.generators(0, range(8)), model.shape)
    assert float((x * start).sum() / (start * start).sum()) / DEVIATION == pytest.approx(spread, rel=0.015)
    assert spread > 1.02  # of the start alone: far above the tolerance


def test_cells_measured_before_keep_their_names_and_hashes():
    cell = Cell("c8", SamplingConfig("ddpm", 2, 2.0), 100)
    old = {"sampler": "ddpm", "steps": 2, "guidance": 2.0, "interval": None, "seed": 0}
    assert described(cell) == asdict(cell) | {"sampling": old} and "diffusion_time" not in settings(cell)
    assert cell.name == "c8-ddpm-2-w2-n100-s0"
    cut = Cell("c8", SamplingConfig("ddpm", 2, 2.0, diffusion_time=0.5), 100)
    assert cut.name == "c8-ddpm-2-w2-T0.5-n100-s0" and settings(cut)["diffusion_time"] == 0.5
    assert described(cut) == asdict(cut)


def test_a_sampler_that_draws_other_images_than_before_names_other_cells():
    assert described(Cell("c8", SamplingConfig("ddim", 2), 100))["sampling"]["version"] == 2


@pytest.mark.parametrize("time", [0.0, 1.2, -1.0])
def test_a_time_off_the_schedule_is_refused(time):
    with pytest.raises(ValueError, match="diffusion_time"):
        SweepFile(family="f", steps=[2], diffusion_time=[time])
    with pytest.raises(InputError, match="a share of the noise schedule, above 0 and at most 1"):
        schedulers.scheduler("ddim", gaussian(), time)


def test_models_without_discrete_levels_and_too_many_steps_are_refused():
    with pytest.raises(InputError, match=r"cannot start at a diffusion time of 0\.5"):
        schedulers.scheduler("euler", gaussian(flow=True), 0.5)
    with pytest.raises(InputError, match="Sampler 'ddim' cannot make 20 steps"):
        loop.planned(SamplingConfig("ddim", 20, diffusion_time=0.01), gaussian())


SIZES = {"c8": 2e6, "c16": 8e6, "c32": 3e7, "c48": 7e7}
TIMES = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)


def true_time(n, s):
    """T* = 0.7 at 8 MFLOPs and 4 steps."""
    return 0.7 * (n / 8e6) ** 0.02 * (s / 4) ** 0.15


def study(noise=0.003, seed=0, steps=(2, 4, 8)):
    """ln fd is a parabola in T, and the halves are independent."""
    rng, rows = np.random.default_rng(seed), []
    for (model, n), s, time in ((m, s, t) for m in SIZES.items() for s in steps for t in TIMES):
        exact = (10 + 40 / s) * np.exp(3 * (time - true_time(n, s)) ** 2)
        one, two = exact * np.exp(noise * np.sqrt(2) * rng.standard_normal(2))
        rows.append({"model": model, "flops_per_forward": n, "sampler": "ddim", "steps": s, "guidance": 1.0,
                     "diffusion_time": time if time < 1 else None, "fd": (one + two) / 2, "fd_half1": one,
                     "fd_half2": two, "fd_se": noise * exact})  # fmt: skip
    return pd.DataFrame(rows)


def test_without_noise_the_optimum_the_law_and_the_gain_are_exact():
    found = best_diffusion_time(study(noise=0.0))
    rows, wanted = found.settings, true_time(found.settings["size"], found.settings["steps"])
    assert np.allclose(rows["time"], wanted, atol=1e-9) and rows["interior"].all()
    assert found.law["value"].tolist()[1:] == pytest.approx([0.02, 0.15], abs=2e-3)
    best = rows.apply(lambda r: 3 * ((1 - true_time(r["size"], r["steps"])) ** 2
                                     - (r["best"] - true_time(r["size"], r["steps"])) ** 2), axis=1)  # fmt: skip
    assert np.allclose(np.log(rows["gain"]), best)


def test_sizes_are_compared_at_the_whole_schedule_and_at_the_best_time():
    rows = best_diffusion_time(study(noise=0.0, steps=(4,))).between_sizes().iloc[0]
    assert rows["best"] == pytest.approx(1.0, abs=0.01)
    whole = np.exp(3 * ((1 - true_time(7e7, 4)) ** 2 - (1 - true_time(2e6, 4)) ** 2))
    assert rows["whole"] == pytest.approx(whole) and rows["whole_low"] == pytest.approx(whole)


def test_intervals_contain_the_optimum_as_often_as_they_say():
    inside = []
    for seed in range(20):
        rows = best_diffusion_time(study(noise=0.01, seed=seed), level=0.8).settings
        wanted = true_time(rows["size"], rows["steps"])
        inside += ((rows["low"] <= wanted) & (wanted <= rows["high"])).tolist()
    assert 0.74 < np.mean(inside) < 0.95


def three_times(one=(8.0, 10.0, 16.0), two=(12.0, 9.0, 20.0), relative=(0.03, 0.02, 0.05), model="c8", size=2e6):
    """One setting at T = 0.5, 0.75 and 1, with what each half of the samples measured."""
    one, two = np.array(one), np.array(two)
    return pd.DataFrame({"model": model, "flops_per_forward": size, "sampler": "ddim", "steps": 4, "guidance": 1.0,
                         "diffusion_time": [0.5, 0.75, 1.0], "fd": (one + two) / 2, "fd_half1": one, "fd_half2": two,
                         "fd_se": np.array(relative) * (one + two) / 2})  # fmt: skip


@pytest.mark.parametrize("two, chosen, error", [
    ((12.0, 9.0, 20.0), (12 + 10) / 2, np.hypot(0.05, 0.025)),  # the halves choose 0.5 and 0.75, each reports the other
    ((12.0, 20.0, 9.0), (12 + 16) / 2, np.hypot(0.05, 0.03)),  # the second half stays at T = 1
])  # fmt: skip
def test_each_half_reports_the_time_that_the_other_chose(two, chosen, error):
    row = best_diffusion_time(three_times(two=two), level=0.9).settings.iloc[0]
    whole, reach = (16 + two[2]) / 2, np.exp(1.6448536 * error)
    wanted = [whole, chosen, whole / chosen, whole / chosen / reach, whole / chosen * reach, 0.05]
    assert row[["whole", "chosen", "gain", "gain_low", "gain_high", "whole_se"]].tolist() == pytest.approx(wanted)


def test_four_repeats_of_a_setting_halve_its_standard_errors():
    one = best_diffusion_time(three_times()).settings.iloc[0]
    four = best_diffusion_time(pd.concat([three_times().assign(seed=k) for k in range(4)])).settings.iloc[0]
    assert [one["whole_se"], one["chosen_se"]] == pytest.approx([0.05, 0.025])
    assert [four["whole_se"], four["chosen_se"]] == pytest.approx([0.05 / 2, 0.025 / 2])


def test_the_ratio_of_two_sizes_has_the_errors_of_both():
    large = three_times((4.0, 5.0, 8.0), (6.0, 4.5, 10.0), (0.04, 0.04, 0.12), "c16", 8e6)  # all of it halved
    table = pd.concat([three_times(), large])
    row = best_diffusion_time(table, level=0.9).between_sizes().iloc[0]
    whole, best = np.exp(1.6448536 * np.hypot(0.05, 0.12)), np.exp(1.6448536 * np.hypot(0.025, 0.04))
    assert row[["whole", "whole_low", "whole_high"]].tolist() == pytest.approx([0.5, 0.5 / whole, 0.5 * whole])
    assert row[["best", "best_low", "best_high"]].tolist() == pytest.approx([0.5, 0.5 / best, 0.5 * best])


@pytest.mark.parametrize("one, best", [((20.0, 10.0, 10.2), [0, 1, 0]), ((10.2, 10.0, 20.0), [0, 1, 0])])
def test_a_time_is_interior_only_where_neither_end_may_be_the_best(one, best):
    found = best_diffusion_time(three_times(one, one, (0.05, 0.05, 0.05)))
    assert found.measured["best"].tolist() == best and not found.settings["interior"].any()
    assert best_diffusion_time(three_times(one, one, (1e-4, 1e-4, 1e-4))).settings["interior"].all()


def test_the_answer_has_the_geometric_mean_of_the_gains_and_counts_the_sure_ones():
    gains = [18 / 11, 12.5 / 14, 18 / 11]  # of the third the error hides the gain
    table = pd.concat([three_times(), three_times(two=(12.0, 20.0, 9.0), model="c16", size=8e6),
                       three_times(relative=(0.4, 0.4, 0.4), model="c32", size=3e7)])  # fmt: skip
    answer = best_diffusion_time(table).answer
    assert f"cross-fitted: 4 steps {np.prod(gains) ** (1 / 3):.3g}; in 1 of 3 settings" in answer


def test_an_optimum_at_the_end_of_the_schedule_is_not_interior():
    table = study(steps=(2, 4, 8, 64))
    found = best_diffusion_time(table)
    last = found.settings[found.settings["steps"] == 64]
    assert (last["beyond"] == "above").all() and not last["interior"].any() and (last["time"] == 1).all()
    assert last["gain"].tolist() == pytest.approx([1.0] * 4, abs=0.02)
    assert "the whole schedule is best" in repr(found) and found.law["value"].iloc[2] > 0.05


def test_a_rising_quality_has_its_optimum_where_it_is_highest():
    table = study(noise=0.0).drop(columns=["fd_half1", "fd_half2"]).assign(clip=lambda t: 1 / t["fd"])
    found = best_diffusion_time(table, "clip")
    assert np.allclose(found.settings["time"], true_time(found.settings["size"], found.settings["steps"]), atol=1e-9)
    assert (found.settings["gain"] >= 1).all() and any("Optimistic" in note for note in found.notes)


def test_it_shows_itself_in_five_ways():
    found = best_diffusion_time(study())
    assert "interior in 12 of 12" in repr(found) and "\n" not in repr(found)
    assert found.answer in found.summary() and found.answer.count(". ") == 1
    assert len(found.to_frame()) == 12 and "<table" in found._repr_html_()
    assert found.plot().get_xlabel() == "sampling steps"
    assert [ax.get_title(loc="left") for ax in found.plot_curves()] == list(SIZES)


def test_what_it_cannot_use_is_said():
    table = study()
    with pytest.raises(InputError, match="Column 'diffusion_time' is missing"):
        best_diffusion_time(table[table["diffusion_time"] == 0.5].drop(columns="diffusion_time"))
    with pytest.raises(NoAnswer, match="three diffusion times with T = 1"):
        best_diffusion_time(table[table["diffusion_time"] < 0.6])
    with pytest.raises(InputError, match="The table has no column width"):
        best_diffusion_time(table, size="width")
    with pytest.raises(InputError, match="must be above 0"):
        best_diffusion_time(table.assign(kd=-1.0), "kd")
