"""Samplers on a network whose answer is known in closed form, and one noise stream a sample."""

from dataclasses import replace
from itertools import pairwise

import diffusers
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from collect.families.trained import SAMPLING  # noqa: E402
from collect.models.autoencoder import LATENT  # noqa: E402
from collect.models.model import Model  # noqa: E402
from collect.models.pipelines import parts  # noqa: E402
from collect.models.shapes import NULL_CLASS, tiny  # noqa: E402
from collect.models.tasks import Classes  # noqa: E402
from collect.sampling import loop, samplers, schedulers  # noqa: E402
from collect.sampling.ddim import ExactDDIM  # noqa: E402
from collect.sampling.loop import SamplingConfig  # noqa: E402
from scalinglaws.schema import InputError  # noqa: E402

DEVIATION = 0.5  # of the data, a centred Gaussian
LINEAR = {"num_train_timesteps": 1000, "beta_schedule": "linear", "prediction_type": "v_prediction"}


class GaussianNetwork(torch.nn.Module):
    """The exact v of data N(0, s²): x0 = a s² / (a² s² + b²) x, v = (a x - x0) / b with a² + b² = 1."""

    def __init__(self, schedule):
        super().__init__()
        self.signal2 = diffusers.DDPMScheduler(**schedule).alphas_cumprod.double().numpy()

    def forward(self, x, t):
        a2 = torch.as_tensor(np.interp(t.double().numpy(), np.arange(1000), self.signal2))[:, None, None, None]
        a, b = a2.sqrt(), (1 - a2).sqrt()
        x0 = a * DEVIATION**2 / (a2 * DEVIATION**2 + b**2) * x
        return ((a * x - x0) / b).float()


class GaussianFlow(torch.nn.Module):
    """The exact velocity of the flow x = (1 - s) data + s noise for data N(0, d²): noise - data, given x."""

    def forward(self, x, t):
        s = (t.double() / 1000)[:, None, None, None]
        variance = (1 - s) ** 2 * DEVIATION**2 + s**2
        return ((s - (1 - s) * DEVIATION**2) / variance * x).float()


def gaussian(flow=False, **schedule):
    trained = diffusers.DDPMScheduler(**LINEAR | {"clip_sample": False} | schedule).config  # complete, as if saved
    config = {"num_train_timesteps": 1000} if flow else {k: v for k, v in trained.items() if k[0] != "_"} | schedule
    net = GaussianFlow() if flow else GaussianNetwork({k: v for k, v in config.items() if k in LINEAR})
    plain = lambda net, x, t, condition, guidance: net(x, t)  # noqa: E731
    return Model(
        net, (4, 8, 8), config, lambda conditions: ({}, None), lambda x: x, call=plain, flow=flow, guided="none"
    )


def close(a, b):
    """Equal but for rounding, by the largest value: single numbers near zero carry the rounding of large ones."""
    return float((a - b).abs().max()) <= 1e-4 * float(a.abs().max())


def small(c=8):
    torch.manual_seed(0)
    condition = lambda conditions: parts.classes(NULL_CLASS + 1, NULL_CLASS, conditions)  # noqa: E731
    return Model(tiny(c).eval(), LATENT, SAMPLING, condition, lambda x: x)


def spread(model, name, steps, samples=16):
    """The samples' spread over the exact flow's, which is 1: every sample is s times its own noise."""
    x = loop.latents(model, SamplingConfig(name, steps), range(samples), {})
    start = loop.draw(loop.generators(0, range(samples)), model.shape)
    return float((x * start).sum() / (start * start).sum()) / DEVIATION


def spread_error(model, name, steps):
    return abs(spread(model, name, steps) - 1)


def slope(model, name, steps):
    return np.polyfit(np.log(steps), np.log([spread_error(model, name, s) for s in steps]), 1)[0]


EVEN = {"timestep_spacing": "trailing", "beta_schedule": "squaredcos_cap_v2"}
ORDERS = [  # most by divisors of the 1,000 noise levels, so that the spacing is even
    ("ddim", EVEN, [10, 100]),
    ("ddim", EVEN, [12, 128]),
    ("euler", EVEN, [10, 100]),
    ("dpm++2m", EVEN, [10, 100]),
    ("unipc", EVEN, [10, 40]),
    ("heun", {}, [10, 80]),
]


@pytest.mark.parametrize("name, schedule, steps", ORDERS, ids=[f"{name}-{steps}" for name, _, steps in ORDERS])
def test_deterministic_samplers_converge_at_the_order_of_their_table_row(name, schedule, steps):
    order = samplers.SAMPLERS[name].order
    assert -slope(gaussian(**schedule), name, steps) == pytest.approx(order, abs=0.35)


THRESHOLDED = {"thresholding": True, "sample_max_value": 1.5}


@pytest.mark.parametrize("prediction", ["epsilon", "sample", "v_prediction"])
@pytest.mark.parametrize("spacing, steps", [("leading", 64), ("leading", 7), ("trailing", 50), ("trailing", 8)])
@pytest.mark.parametrize("clip", [{"clip_sample": True}, {"clip_sample": False}, THRESHOLDED])
def test_ddim_is_diffusers_own_to_the_bit_where_its_strides_meet(prediction, spacing, steps, clip):
    options = {"beta_schedule": "scaled_linear", "steps_offset": 1} | clip
    options |= {"prediction_type": prediction, "timestep_spacing": spacing}
    stock, ours = diffusers.DDIMScheduler(**options), ExactDDIM(**options)
    stock.set_timesteps(steps)
    ours.set_timesteps(steps)
    x = y = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    for t in stock.timesteps:
        x, y = stock.step(torch.tanh(x), t, x).prev_sample, ours.step(torch.tanh(y), t, y).prev_sample
    assert torch.equal(x, y)


def test_ddim_leaves_no_noise_where_diffusers_strides_fall_short():
    """At 128 steps diffusers moves by 7 levels where the next call is 7.8 away; the spread of the data is known."""
    model = gaussian(**EVEN)
    ours, stock = ([spread(model, name, steps) for steps in (50, 64, 128)] for name in ("ddim", "DDIMScheduler"))
    assert 0.96 < ours[0] < ours[1] < ours[2] < 1  # too few steps leave out spread, first order
    assert stock[0] == pytest.approx(ours[0], abs=1e-6) and stock[1] - ours[1] > 0.02 and stock[2] > 1.05


@pytest.mark.parametrize("name", ["euler", "heun", "dpm++2m", "unipc"])
def test_flow_matching_samplers_reach_the_exact_flow(name):
    errors = [spread_error(gaussian(flow=True), name, steps) for steps in (8, 64)]
    assert errors[1] < 0.025 and errors[1] < errors[0] / 4


def test_ancestral_sampler_gives_the_right_spread():
    x = loop.latents(gaussian(**EVEN), SamplingConfig("ddpm", 250), range(64), {})
    assert float(x.std()) == pytest.approx(DEVIATION, rel=0.05)


SCHEDULERS = sorted(n for n in dir(diffusers) if n.endswith("Scheduler") and not n.startswith("Flax"))
DRIVEN = [n for n in SCHEDULERS if n not in samplers.REFUSED and n != "SchedulerMixin"]


@pytest.mark.filterwarnings("ignore:__array_wrap__ must accept:DeprecationWarning")  # in diffusers
@pytest.mark.parametrize("name", DRIVEN)
def test_every_diffusers_scheduler_runs_by_name_and_keys_its_noise_by_sample(name):
    model = gaussian(flow=name in samplers.FOR_FLOW, **(EVEN if name == "UnCLIPScheduler" else {}))
    if name == "UnCLIPScheduler":  # it knows no v-prediction
        with pytest.raises(ValueError, match="must be one of `epsilon` or `sample`"):
            loop.latents(model, SamplingConfig(name, 4), range(2), {})
        return
    together = loop.latents(model, SamplingConfig(name, 4), range(4), {})
    apart = torch.cat([loop.latents(model, SamplingConfig(name, 4), part, {}) for part in ([0], [1, 2, 3])])
    assert torch.allclose(together, apart, rtol=1e-4, atol=1e-5, equal_nan=True)
    assert together.std() > 0


@pytest.mark.parametrize("name", samplers.REFUSED)
def test_refused_schedulers_say_why(name):
    assert name in SCHEDULERS
    with pytest.raises(InputError, match=f"The scheduler {name} cannot be used: it(s step)? "):
        samplers.sampler(name)


@pytest.mark.parametrize("name", ["ddim", "ddpm", "dpm++2m", "heun"])
def test_a_sample_is_the_same_whatever_its_batch(name):
    model, sampling = small(), SamplingConfig(name, 3, 2.0, seed=5)

    def run(indices, sampling=sampling):
        return loop.latents(model, sampling, indices, Classes(10).conditions(indices))

    apart = torch.cat([run(part) for part in ([0], [1, 2, 3], [4, 5])])
    assert close(run(range(6)), apart)
    assert not torch.allclose(run(range(6)), run(range(6), SamplingConfig(name, 3, 2.0, seed=6)), atol=0.1)


def test_guidance_is_the_published_combination_and_doubles_the_calls():
    model, x, t = small(), torch.randn(3, 4, 8, 8), torch.tensor(500)
    wanted, nothing = model.condition({"classes": [1, 2, 3]})
    with torch.no_grad(), loop.counting(model.denoiser) as counted:
        guided = loop.predict(model, model.denoiser, x, t, wanted, nothing, 3.0)
        v_class = loop.predict(model, model.denoiser, x, t, wanted, nothing, 1.0)
        v_null = loop.predict(model, model.denoiser, x, t, nothing, nothing, 1.0)
    assert torch.allclose(guided, v_null + 3 * (v_class - v_null), atol=1e-4)
    assert sum(counted) == 3 * (2 + 1 + 1)
    assert model.calls(3.0) == 2 and model.calls(1.0) == 1


def test_a_guidance_that_the_network_takes_as_input_is_one_call_with_the_weight():
    called = []
    model = replace(
        small(), guided="embedded", call=lambda net, x, t, condition, weight: called.append((len(x), weight)) or x
    )
    x = torch.randn(3, 4, 8, 8)
    assert torch.equal(loop.predict(model, None, x, torch.tensor(500), {}, None, 3.0), x) and called == [(3, 3.0)]
    assert loop.evaluations(SamplingConfig("ddim", 5, 3.0), model.traits) == 5


def test_an_interval_guides_only_there_and_is_paid_only_there():
    model = small()
    schedule = schedulers.scheduler("ddim", model)
    schedule.set_timesteps(10)
    ratios = [loop.noise_ratio(schedule, False, t) for t in schedule.timesteps]
    assert all(a > b for a, b in pairwise(ratios))  # the noise falls
    low, high = ratios[6], ratios[2]
    conditions = Classes(10).conditions(range(2))
    with loop.counting(model.denoiser) as counted:
        between = loop.latents(model, SamplingConfig("ddim", 10, 3.0, (low, high)), range(2), conditions)
    assert sum(counted) == 2 * (10 + 5)  # five of ten steps are guided
    whole = loop.latents(model, SamplingConfig("ddim", 10, 3.0, (0, np.inf)), range(2), conditions)
    always = loop.latents(model, SamplingConfig("ddim", 10, 3.0), range(2), conditions)
    none = loop.latents(model, SamplingConfig("ddim", 10, 1.0), range(2), conditions)
    assert torch.equal(whole, always)
    assert not torch.allclose(between, always, atol=1e-3) and not torch.allclose(between, none, atol=1e-3)


@pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning")  # within diffusers
@pytest.mark.parametrize("name", [*samplers.SAMPLERS, "KDPM2Discrete", "DPMSolverSinglestep", "DEISMultistep", "PNDM"])
@pytest.mark.parametrize("guidance, interval", [(1.0, None), (3.0, None), (3.0, (0.3, 5.0))])
def test_evaluations_predicted_are_those_counted(name, guidance, interval):
    model, sampling = small(), SamplingConfig(name, 5, guidance, interval)
    with loop.counting(model.denoiser) as counted:
        loop.latents(model, sampling, range(2), Classes(10).conditions(range(2)))
    assert sum(counted) == 2 * loop.evaluations(sampling, model.traits)


def test_more_steps_than_a_sampler_can_make_are_refused_before_a_network_runs():
    with pytest.raises(InputError, match="Sampler 'lcm' cannot make 60 steps: "):
        loop.evaluations(SamplingConfig("lcm", 60), small().traits)


def test_noise_ratio_is_the_schedulers_own_sigma():
    schedule = diffusers.EulerDiscreteScheduler(**LINEAR)
    schedule.set_timesteps(7)
    ours = [loop.noise_ratio(schedule, False, t) for t in schedule.timesteps]
    assert np.allclose(ours, schedule.sigmas[:-1].numpy(), rtol=1e-3)
    flow = diffusers.FlowMatchEulerDiscreteScheduler()
    flow.set_timesteps(5)
    s = flow.sigmas[1:-1].double().numpy()
    assert np.allclose([loop.noise_ratio(flow, True, t) for t in flow.timesteps[1:]], s / (1 - s), rtol=1e-6)


def test_best_of_n_keeps_the_highest_score_sample_by_sample():
    model, sampling, conditions = small(), SamplingConfig("ddim", 2), Classes(10).conditions(range(5))
    draws = [loop.latents(model, sampling, range(5), conditions, candidate=j) for j in range(3)]
    assert not torch.allclose(draws[0], draws[1], atol=0.1)
    score = lambda x, conditions: x.flatten(1).mean(1).numpy()  # noqa: E731
    kept = loop.best_of(3, score, lambda j: draws[j], conditions)
    scores = np.stack([score(d, conditions) for d in draws])
    assert torch.equal(kept, torch.stack([draws[j][i] for i, j in enumerate(scores.argmax(0))]))
    assert np.array_equal(score(kept, conditions), scores.max(0))


def test_models_that_cannot_be_guided_or_sampled_so_refuse():
    with pytest.raises(InputError, match="cannot be guided: guidance was 2, allowed is 1"):
        loop.latents(gaussian(), SamplingConfig("ddim", 2, 2.0), range(2), {})
    with pytest.raises(InputError, match="'ddim' is not for flow-matching models; use euler, heun"):
        loop.latents(gaussian(flow=True), SamplingConfig("ddim", 2), range(2), {})
    with pytest.raises(InputError, match="'FlowMatchEulerDiscrete' is for flow-matching models; this one is not"):
        loop.latents(gaussian(), SamplingConfig("FlowMatchEulerDiscrete", 2), range(2), {})
    with pytest.raises(InputError, match=r"No sampler named 'eulr'. Known samplers: ddim, ddpm, euler, heun"):
        samplers.sampler("eulr")
