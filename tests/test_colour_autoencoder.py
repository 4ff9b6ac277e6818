"""The shared autoencoder of a text-to-image family: what is learned, and what stays when its decoder is tuned."""

import pytest

torch = pytest.importorskip("torch")

from collect import weights  # noqa: E402
from collect.models import autoencoder, colour_autoencoder, tiny_t2i  # noqa: E402
from collect.training import loop, losses  # noqa: E402
from collect.training import text_parts as parts  # noqa: E402

IMAGES = (
    (torch.rand(20, 3, 4, 4, generator=loop.step_generator(0, 0)) * 255)
    .byte()
    .repeat_interleave(8, 2)
    .repeat_interleave(8, 3)
)


def test_only_the_decoder_learns_when_the_encoder_is_frozen():
    model = colour_autoencoder.freeze_encoder(colour_autoencoder.build())
    losses.decoding(IMAGES, batch=2)(model, loop.step_generator(0, 1)).backward()
    with_gradients = {name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None}
    assert with_gradients == {"decoder", "post_quant_conv"}


def test_a_round_trip_has_the_shapes_of_latents_and_images():
    model = colour_autoencoder.build(scaling_factor=2.0).eval()
    latents = autoencoder.encode(model, IMAGES[:3])
    assert latents.shape == (3, *tiny_t2i.LATENT)
    assert torch.equal(latents, 2 * autoencoder.encode(rescaled(model, 1.0), IMAGES[:3]))
    assert autoencoder.decode(model, latents).shape == (3, 3, 32, 32)


def rescaled(model, scaling_factor):
    other = colour_autoencoder.build(scaling_factor).eval()
    other.load_state_dict(model.state_dict())
    return other


@pytest.mark.slow
def test_latents_have_unit_deviation_and_the_loss_falls(tmp_path):
    found = list(parts.make_autoencoder(tmp_path, IMAGES, 30))
    assert sum(v for _, v in found[-5:]) < 0.8 * sum(v for _, v in found[:5])
    tensors, about = weights.load(tmp_path / "autoencoder.safetensors")
    model = colour_autoencoder.build(float(about["scaling_factor"]))
    model.load_state_dict(tensors)
    latents = autoencoder.encode(model.eval(), IMAGES)
    assert latents.shape == (20, *tiny_t2i.LATENT) and latents.std().item() == pytest.approx(1, rel=0.05)
    assert autoencoder.decode(model, latents).shape == IMAGES.shape
    assert list(parts.make_autoencoder(tmp_path, IMAGES, 30)) == []


@pytest.mark.slow
def test_a_tuned_decoder_leaves_latents_as_they_are(tmp_path):
    list(parts.make_autoencoder(tmp_path, IMAGES, 10))
    before, about = weights.load(tmp_path / "autoencoder.safetensors")
    found = list(parts.tune_decoder(tmp_path, IMAGES, 20))
    after, later = weights.load(tmp_path / "autoencoder.safetensors")
    kept = [k for k in before if k.startswith(("encoder.", "quant_conv."))]
    assert kept and all(torch.equal(before[k], after[k]) for k in kept)
    assert not torch.equal(before["decoder.conv_in.weight"], after["decoder.conv_in.weight"])
    assert later["scaling_factor"] == about["scaling_factor"] and found[-1][1] < found[0][1]
    assert list(parts.tune_decoder(tmp_path, IMAGES, 20)) == []
