"""Samplers on a network whose answer is known in closed form, and one noise stream a sample."""

from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from collect import sampling  # noqa: E402
from collect.train import SCHEDULE  # noqa: E402
from scalinglaws.schema import InputError  # noqa: E402

DEVIATION = 0.5  # of the data, a centred Gaussian


class GaussianNetwork(torch.nn.Module):
    """The exact v of data N(0, s²): x0 = a s² / (a² s² + b²) x, v = (a x - x0) / b with a² + b² = 1."""

    def __init__(self):
        super().__init__()
        from diffusers import DDPMScheduler

        self.signal2 = DDPMScheduler(**SCHEDULE).alphas_cumprod.double()

    def forward(self, x, t, classes):
        a2 = self.signal2[t][:, None, None, None]
        a, b = a2.sqrt(), (1 - a2).sqrt()
        x0 = a * DEVIATION**2 / (a2 * DEVIATION**2 + b**2) * x
        return SimpleNamespace(sample=((a * x - x0) / b).float())


def spread_error(name, steps, samples=16):
    """Relative error of the samples' spread about the exact flow's: every sample is s times its own noise."""
    x = sampling.latents(GaussianNetwork(), name, steps, 1.0, 0, range(samples))
    start = torch.stack([torch.randn(4, 8, 8, generator=g) for g in sampling.generators(0, range(samples))])
    return abs(float((x * start).sum() / (start * start).sum()) / DEVIATION - 1)


def slope(name, steps):
    return np.polyfit(np.log(steps), np.log([spread_error(name, s) for s in steps]), 1)[0]


def test_deterministic_samplers_converge_at_the_order_of_their_table_row():
    for name in ("ddim", "dpm++2m"):  # divisors of the 1,000 noise levels, so that the spacing is even
        assert slope(name, [10, 100]) == pytest.approx(-sampling.SAMPLERS[name].order, abs=0.2)
    assert spread_error("dpm++2m", 40) < spread_error("ddim", 40) / 3


def test_ancestral_sampler_gives_the_right_spread():
    x = sampling.latents(GaussianNetwork(), "ddpm", 250, 1.0, 0, range(64))
    assert float(x.std()) == pytest.approx(DEVIATION, rel=0.05)


@pytest.mark.parametrize("name", sampling.SAMPLERS)
def test_a_sample_is_the_same_whatever_its_batch(name):
    from collect.families import tiny

    torch.manual_seed(0)
    model = tiny(8).eval()
    together = sampling.latents(model, name, 3, 2.0, 5, range(6))
    apart = torch.cat([sampling.latents(model, name, 3, 2.0, 5, part) for part in ([0], [1, 2, 3], [4, 5])])
    assert torch.allclose(together, apart, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(together, sampling.latents(model, name, 3, 2.0, 6, range(6)), atol=0.1)


def test_guidance_is_the_published_combination_and_doubles_the_calls():
    from collect.families import NULL_CLASS, tiny

    torch.manual_seed(0)
    model, x, t = tiny(8).eval(), torch.randn(3, 4, 8, 8), torch.tensor(500)
    classes = torch.tensor([1, 2, 3])
    with torch.no_grad(), sampling.Calls(model) as counted:
        guided = sampling.predict(model, x, t, classes, 3.0)
        v_class = sampling.predict(model, x, t, classes, 1.0)
        v_null = sampling.predict(model, x, t, torch.full((3,), NULL_CLASS), 1.0)
    assert torch.allclose(guided, v_null + 3 * (v_class - v_null), atol=1e-4)
    assert counted.samples == 3 * (2 + 1 + 1)
    assert sampling.calls(3.0) == 2 and sampling.calls(1.0) == 1


def test_unknown_sampler_names_the_known():
    with pytest.raises(InputError, match=r"No sampler named 'eulr'. Known samplers: ddim, dpm\+\+2m, ddpm"):
        sampling.sampler("eulr")
