"""The denoising loss against its own definition, and what a step draws."""

import pytest

torch = pytest.importorskip("torch")

from diffusers import DDPMScheduler  # noqa: E402

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


def test_the_schedule_ends_in_noise():
    assert DDPMScheduler(**SCHEDULE).alphas_cumprod[-1] < 1e-8


def test_widths_change_only_the_width_and_span_fifty_times():
    small, large = (tiny_t2i.build(c) for c in (8, 64))
    assert [n for n, _ in small.named_parameters()] == [n for n, _ in large.named_parameters()]
    flops = [forward_cost("tiny-t2i", c).flops_per_forward for c in (8, 64)]
    assert flops[1] / flops[0] > 50
