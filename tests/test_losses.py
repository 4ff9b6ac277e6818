"""The denoising loss against its own definition, and what a step draws."""

import numpy as np
import pytest
from scipy.stats import norm

torch = pytest.importorskip("torch")

from diffusers import DDPMScheduler  # noqa: E402
from diffusers.models.autoencoders.vae import DecoderOutput, DiagonalGaussianDistribution  # noqa: E402
from diffusers.models.modeling_outputs import AutoencoderKLOutput  # noqa: E402

from collect.models import tiny_t2i  # noqa: E402
from collect.models.shapes import SCHEDULE, forward_cost  # noqa: E402
from collect.training import loop, losses  # noqa: E402

DATA = losses.Captions(torch.randn(50, 8, 8, 8).half(), torch.randn(50, 20, 96).half(), torch.zeros(20, 96))


class Oracle(torch.nn.Module):
    """Knows the data: with one image the velocity is a function of z_t and t alone."""

    def __init__(self, z):
        super().__init__()
        self.z, self.alpha2 = z, DDPMScheduler(**SCHEDULE).alphas_cumprod

    def forward(self, noisy, levels, text, return_dict):
        alpha, sigma = (v.sqrt()[levels].view(-1, 1, 1, 1) for v in (self.alpha2, 1 - self.alpha2))
        noise = (noisy - alpha * self.z) / sigma
        return (alpha * noise - sigma * self.z,)


def test_the_true_velocity_has_no_loss():
    one = losses.Captions(DATA.latents[:1], DATA.text[:1], DATA.empty)
    loss = losses.denoising(one, batch=256)
    assert loss(Oracle(one.latents.float()), loop.step_generator(0, 1)).item() < 1e-8
    assert loss(Oracle(one.latents.float() + 1), loop.step_generator(0, 1)).item() > 0.5


def test_a_step_is_a_function_of_its_key():
    drawn = [losses.draw(DATA, 2000, 0.1, loop.step_generator(3, step)) for step in (7, 7, 8)]
    assert all(torch.equal(a, b) for a, b in zip(drawn[0], drawn[1], strict=True))
    assert not torch.equal(drawn[0][0], drawn[2][0])
    z, y, _, levels = drawn[0]
    assert z.dtype == y.dtype == torch.float32 and levels.min() < 5 and levels.max() > 994
    assert (y == 0).all((1, 2)).float().mean().item() == pytest.approx(0.1, abs=0.025)


class Identity(torch.nn.Module):
    """An autoencoder whose latents are the images, with one standard deviation."""

    def __init__(self, log_variance):
        super().__init__()
        self.log_variance = log_variance

    def encode(self, x):
        moments = torch.cat([x, torch.full_like(x, self.log_variance)], 1)
        return AutoencoderKLOutput(DiagonalGaussianDistribution(moments))

    def decode(self, z):
        return DecoderOutput(z)


@pytest.mark.parametrize("log_variance", [2.0, -30.0])
@pytest.mark.parametrize(
    ("loss", "shape", "weight", "power"),
    [(losses.reconstruction, (3, 32, 32), 3e-7, 1), (losses.grey_reconstruction, (32, 32), 1e-5, 2)],
)
def test_an_autoencoder_pays_for_its_noise_and_its_divergence(loss, shape, weight, power, log_variance):
    """Of latents 1 + s n the error is s E|n| or s², and each costs KL = (1 + s² - 1 - ln s²) / 2."""
    images = torch.full((4, *shape), 255, dtype=torch.uint8)  # 1 to the model
    error = norm.expect(lambda n: abs(n) ** power) * np.exp(log_variance / 2) ** power
    divergence = images[0].numel() * (np.exp(log_variance) - log_variance) / 2
    torch.manual_seed(0)
    found = loss(images)(Identity(log_variance), loop.step_generator(0, 1)).item()
    assert found == pytest.approx(error + weight * divergence, rel=0.1)  # 4,096 squares err by 2 %


def test_the_schedule_ends_in_noise():
    assert DDPMScheduler(**SCHEDULE).alphas_cumprod[-1] < 1e-8


def test_widths_change_only_the_width_and_span_fifty_times():
    small, large = (tiny_t2i.build(c) for c in (8, 64))
    assert [n for n, _ in small.named_parameters()] == [n for n, _ in large.named_parameters()]
    flops = [forward_cost("tiny-t2i", c).flops_per_forward for c in (8, 64)]
    assert flops[1] / flops[0] > 50
