"""Losses of students on Gaussian data, whose denoiser is known in closed form, and students of random pipelines."""

from itertools import pairwise

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

import yaml  # noqa: E402
from test_finetune import SAMPLER, cli, folders, opened, settings  # noqa: E402, F401 - a fixture

from collect import weights  # noqa: E402
from collect.families import open_family  # noqa: E402
from collect.models.model import Model, identity  # noqa: E402
from collect.models.shapes import SCHEDULE  # noqa: E402
from collect.sampling import loop as sampling  # noqa: E402
from collect.training import distillation, loop  # noqa: E402
from collect.training.examples import Examples  # noqa: E402
from collect.training.pretrained import Pretrained  # noqa: E402
from collect.training.process import process_of  # noqa: E402


class Gaussian(torch.nn.Module):
    """The optimal v of x ~ N(mean + offset, spread^2): x = m + alpha spread^2 / D (z - alpha m), D = alpha^2 spread^2 +
    sigma^2."""

    def __init__(self, process, spread, offset=0.0):
        super().__init__()
        self.process, self.spread, self.offset = process, spread, torch.nn.Parameter(torch.tensor(offset))

    def x(self, z, t, mean):
        alpha, sigma = self.process.coefficients(t, z)
        mean = mean + self.offset
        return mean + alpha * self.spread**2 * (z - alpha * mean) / (alpha**2 * self.spread**2 + sigma**2)

    def forward(self, z, t, mean):
        (alpha, sigma), x = self.process.coefficients(t, z), self.x(z, t, mean)
        return self.process.target(x, (z - alpha * x) / sigma, t)


def gaussian(spread=0.5, offset=0.0, flow=False):
    """(Pretrained of a Gaussian whose conditions are its mean, Examples of it)."""
    bare = Model(torch.nn.Identity(), (2,), {} if flow else SCHEDULE, None, identity, flow=flow)
    process = process_of(bare)
    net = Gaussian(process, spread, offset)

    def condition(given):
        return {"mean": given["mean"]}, {"mean": torch.zeros_like(given["mean"])}

    call = lambda net, x, t, condition, guidance: net(x, t, condition["mean"])  # noqa: E731
    model = Model(net, (2,), bare.schedule, condition, identity, call=call, flow=flow)
    mean = torch.tensor([[1.0, -2.0]]).repeat(40, 1)
    x = mean + spread * torch.randn(40, 2, generator=torch.Generator().manual_seed(0))
    return Pretrained(None, model, "text", process, {}), Examples(x, {"mean": mean})


def coefficients(process, t):
    return tuple(float(v) for v in process.coefficients(torch.tensor([t]), torch.zeros(1, 1)))


TIMES = [(False, (999, 499, -1)), (False, (749, 624, 499)), (True, (1000.0, 600.0, 0.0)), (True, (800.0, 500.0, 100.0))]


@pytest.mark.parametrize("flow, times", TIMES)
def test_two_steps_of_the_teacher_on_a_gaussian(flow, times):
    """A DDIM step from t to s of N(0, c^2) multiplies by (alpha_s alpha_t c^2 + sigma_s sigma_t) / D_t."""
    base, _ = gaussian(spread=0.7, flow=flow)
    process = base.process
    values, factor = [coefficients(process, t) for t in times], 1.0
    for (a, s), (a_next, s_next) in pairwise(values):
        factor *= (a_next * a * 0.49 + s_next * s) / (a * a * 0.49 + s * s)
    z = torch.randn(5, 2)
    t, mid, end = (torch.tensor([time] * 5) for time in times)
    zero = torch.zeros(5, 2)
    denoise = lambda z, t: process.parts(base.model.denoiser(z, t, zero), z, t)  # noqa: E731
    with torch.no_grad():
        target = distillation.two_step_target(process, denoise, z, t, mid, end)
    (a, s), _, (a_end, s_end) = values
    ratio = s_end / s
    assert torch.allclose(target, (factor - ratio) / (a_end - ratio * a) * z, atol=1e-5)
    noise = (z - a * target) / s  # one step with the target lands where the two do
    assert torch.allclose(process.at(target, noise, end), factor * z, atol=1e-4)


def test_students_learn_the_two_steps_not_the_posterior():
    """The teacher itself is no student of one step; of a point, whose trajectories are straight, it is."""
    for spread, low, high in ((0.7, 1e-2, 10), (0.0, 0, 1e-8)):
        base, data = gaussian(spread)
        loss = distillation.progressive(base, base, data, 1, batch=64, drop=0.0)
        assert low <= loss(base.model.denoiser, loop.step_generator(0, 1)).item() <= high


def test_truncated_snr():
    base, _ = gaussian()
    t = torch.tensor([0, 100, 500, 999])
    signal2 = base.process.signal2[t].float()
    expected = torch.maximum(signal2 / (1 - signal2), torch.ones(4))
    assert torch.allclose(distillation.truncated_snr(base.process, t, torch.zeros(4, 1))[:, 0], expected, rtol=1e-4)
    assert expected[0] > 1000 and expected[2] == expected[3] == 1


def test_guided_distillation_of_points():
    """x(c) = m and x() = 0 for points: x^w = (1 + w) m, and a student that knows m errs by w m at every z."""
    base, data = gaussian(spread=0.0)
    loss = distillation.guided(base, base, data, batch=16, guidance=[3.0], drop=0.0)
    g = loop.step_generator(0, 1)
    _ = torch.randint(40, (16,), generator=g), torch.randn(16, 2, generator=g)
    t = torch.randint(1000, (16,), generator=g)
    weight = distillation.truncated_snr(base.process, t, torch.zeros(16, 1)).mean().item()
    value = loss(base.model.denoiser, loop.step_generator(0, 1)).item()
    assert value == pytest.approx(weight * (2.0**2 * (1 + 4) / 2), rel=1e-3)


def test_codi_on_a_point():
    """The noise along a straight trajectory stays the same; the signal term is the error of x; an average that errs by
    b' where the network errs by b makes the noise term ((b - b') alpha_s / sigma_s)^2."""
    base, data = gaussian(spread=0.0, offset=0.1)
    net, loss = base.model.denoiser, distillation.consistency(base, data, batch=8, drop=0.0)
    assert loss.averaged
    g = loop.step_generator(0, 1)
    _ = torch.randint(40, (8,), generator=g), torch.randn(8, 2, generator=g)
    t = int(torch.randint(1000, (8,), generator=g)[0])
    alpha, sigma = coefficients(base.process, t - 1)
    for offset in (0.1, 0.4):
        value = loss(net, loop.step_generator(0, 1), average={"offset": torch.tensor(offset)})
        expected = (alpha / sigma * (offset - 0.1)) ** 2 + 0.1**2
        assert value.item() == pytest.approx(expected, rel=1e-2)
    (gradient,) = torch.autograd.grad(value, net.offset)
    assert gradient.abs() > 0


@pytest.mark.parametrize(("method", "guidance"), [
    ("consistency", [1.0]), ("guided", [3.0]), ("guided", [0.5, 1.0]), ("progressive", [1.0]), ("progressive", [2.0]),
])  # fmt: skip
def test_forward_passes_are_those_that_are_made(method, guidance):
    """Counted by the samples that go through the network in one loss; the backward pass of the student is two more."""
    base, data = gaussian()
    loss = {
        "consistency": lambda: distillation.consistency(base, data, 8),
        "guided": lambda: distillation.guided(base, base, data, 8, guidance),
        "progressive": lambda: distillation.progressive(base, base, data, 1, 8, guidance),
    }[method]()
    net, samples = base.model.denoiser, []
    net.register_forward_hook(lambda module, given, made: samples.append(len(made)))
    average = {"average": dict(net.named_parameters())} if method == "consistency" else {}
    loss(net, loop.step_generator(0, 1), **average)
    evaluations = max(map(base.model.calls, guidance))
    assert sum(samples) / 8 + 2 == distillation.forward_passes(method, evaluations)


def test_the_boundary_is_that_of_consistency_models():
    from diffusers import LCMScheduler

    assert distillation.boundary(0.0) == (1.0, 0.0)
    skip, out = LCMScheduler().get_scalings_for_boundary_condition_discrete(torch.tensor(37.0))
    assert distillation.boundary(37.0) == pytest.approx((float(skip), float(out)))


def test_students_are_called_at_the_samplers_times():
    for name in ("sd", "ddim"):
        base = opened(name).with_few_steps()
        for steps in (1, 2, 4):
            times = sampling.planned(sampling.SamplingConfig("ddim", steps), base.model).timesteps.tolist()
            assert distillation.sampled_times(base.model, base.process, steps) == [*times, -1]
    flow = opened("sd3")
    times = sampling.planned(sampling.SamplingConfig("euler", 4), flow.model).timesteps.tolist()
    assert distillation.sampled_times(flow.model, flow.process, 4) == pytest.approx([*times, 0])


@pytest.mark.parametrize("name", ["sd", "sdxl"])
def test_guidance_as_a_new_input_changes_nothing_at_first(name):
    base = opened(name)
    student = base.with_denoiser(distillation.with_guidance_input(base.model.denoiser))
    assert student.model.guided == "embedded"
    x, t = torch.randn(2, *base.model.shape), torch.tensor([900, 10])
    cond, _ = sampling.encode(base.model, {"prompts": ["a cat", "a dog"]})
    with torch.no_grad():
        made = [b.model.call(b.model.denoiser, x, t, cond, 5.0) for b in (base, student)]
    assert torch.equal(*made)


CASES = [  # kind, what is distilled how, guidance to sample with
    ("sd", {"method": "consistency"}, 2.0),
    ("dit", {"method": "progressive", "student_steps": [2, 1], "guidance": [2.0]}, 1.0),
    ("sd", {"method": "guided", "guidance": [1.0, 4.0]}, 3.0),
    ("ddim", {"method": "consistency"}, 1.0),
    ("sd3", {"method": "progressive", "student_steps": [1]}, 1.0),
    ("sd3", {"method": "consistency"}, 1.0),
    ("dit", {"method": "guided", "guidance": [3.0]}, 1.0),
]


TRAINED = {  # stages behind the last student, forward passes of its images in all of them: 3 and the teacher's
    ("sd", "consistency"): (1, 3 + 1),
    ("dit", "progressive"): (2, (3 + 2 * 2) + (3 + 2)),  # a student's own guidance is in its weights
    ("sd", "guided"): (1, 3 + 2),
    ("sd3", "progressive"): (1, 3 + 2),
}


@pytest.mark.parametrize(
    "name, how, guidance", [*CASES[:2], *(pytest.param(*case, marks=pytest.mark.slow) for case in CASES[2:])]
)
def test_students_of_random_pipelines_sample_at_few_steps(name, how, guidance, folders, tmp_path, said):  # noqa: F811
    content = settings(folders, name, steps=2, **how)
    code, out, err = cli(tmp_path, said, "distil", content, "--out", tmp_path / "run")
    assert code == 0 and "nan" not in out, err
    family = open_family(tmp_path / "run")
    rows = yaml.safe_load((tmp_path / "run" / "family.yaml").read_text())["models"]
    assert len(family.labels) == len(how.get("student_steps", [1])) and rows[-1]["variant"] == family.labels[-1]
    known, one = family.columns(family.labels[-1]), family.cost_profile(family.labels[-1]).denoiser.flops_per_sample
    stages, passes = TRAINED.get((name, how["method"]), (1, None))
    assert (known["train_steps"], known["train_images"], known["train_dtype"]) == (2 * stages, 8 * stages, "float32")
    assert passes is None or known["train_flops"] == passes * 8 * one
    model = family.model(family.labels[-1])
    assert model.flow or model.schedule["timestep_spacing"] == "trailing"
    for steps in (1, 2, 4):
        config = sampling.SamplingConfig(SAMPLER.get(name, "ddim"), steps, guidance)
        samples, _ = sampling.samples(model, family.task, config, range(2))
        assert samples.dtype == torch.uint8 and len(samples) == 2


def test_a_consistency_student_resumes_to_the_same_weights(folders, tmp_path, said):  # noqa: F811
    kept = {}
    for name, steps in (("straight", [4]), ("resumed", [2, 4])):
        for last in steps:
            content = settings(folders, "ddim", method="consistency", steps=last)
            assert cli(tmp_path, said, "distil", content, "--out", tmp_path / name)[0] == 0
        kept[name] = weights.load(tmp_path / name / "state.safetensors")[0]
    assert all(torch.equal(value, kept["resumed"][k]) for k, value in kept["straight"].items())


@pytest.mark.parametrize("how, sentence", [
    ({"method": "guided"}, "Guided distillation of guidance 1 changes nothing"),
    ({"method": "progressive", "student_steps": [1, 2]}, "student_steps fall, such as"),
    ({"method": "progressive", "guidance": [1.0, 3.0]}, "make one by method: guided first"),
    ({"method": "magic"}, "'method' was 'magic'"),
])  # fmt: skip
def test_what_is_wrong_with_a_student_is_one_sentence(how, sentence, folders, tmp_path, said):  # noqa: F811
    code, _, err = cli(tmp_path, said, "distil", settings(folders, "sd", **how), "--out", tmp_path / "run")
    assert code == 2 and sentence in err and err.count("\n") == 1
