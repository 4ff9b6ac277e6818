"""Losses as values: each function here holds its data and returns loss(model, generator) -> scalar tensor.

A batch is drawn by the generator, on the CPU, and computed where the model is.
"""

from dataclasses import dataclass

import torch
from diffusers import DDPMScheduler
from torch.nn.functional import cross_entropy, l1_loss, mse_loss

from collect.models import autoencoder, dual_encoder
from collect.models.pipelines.parts import to_model
from collect.models.shapes import NULL_CLASS, SCHEDULE

KL_WEIGHT = 3e-7  # of the autoencoder on colour images
KL_WEIGHT_GREY = 1e-5


@dataclass(frozen=True)
class Classes:
    """Latents float32 [image, channel, h, w] and labels int64 [image]."""

    latents: torch.Tensor
    labels: torch.Tensor

    def conditions(self, chosen, dropped):
        """Labels [batch] of the chosen images, the null class where dropped."""
        return self.labels[chosen].masked_fill(dropped, NULL_CLASS)


@dataclass(frozen=True)
class Captions:
    """Latents [image, channel, h, w], encoded captions [image, token, number] and the encoded empty text
    [token, number]; any floating dtype, used as float32."""

    latents: torch.Tensor
    text: torch.Tensor
    empty: torch.Tensor

    def conditions(self, chosen, dropped):
        """Text [batch, token, number] of the chosen images, the empty one where dropped."""
        return torch.where(dropped[:, None, None], self.empty.float(), self.text[chosen].float())


def denoising(data, batch=64, drop=0.1):
    """The loss E |v_theta(z_t, t, y) - v|^2, v = alpha_t noise - sigma_t z (Salimans & Ho 2022, arXiv:2202.00512), with
    z_t = alpha_t z + sigma_t noise, t uniform over 1,000 levels of the cosine schedule (Nichol & Dhariwal 2021,
    arXiv:2102.09672) and the condition y dropped with probability `drop` (Ho & Salimans 2022, arXiv:2207.12598).

    data: Classes or Captions, the z and y of the training set.
    """
    schedule = DDPMScheduler(**SCHEDULE)

    def loss(model, generator):
        device = next((p.device for p in model.parameters()), "cpu")
        z, y, noise, t = (part.to(device) for part in draw(data, batch, drop, generator))
        predicted = model(schedule.add_noise(z, noise, t), t, y, return_dict=False)[0]
        return mse_loss(predicted, schedule.get_velocity(z, noise, t))

    return loss


def draw(data, batch, drop, generator):
    """(z [batch, channel, h, w], y, noise like z, t int64 [batch]) of one step: a function of the generator alone."""
    chosen = torch.randint(len(data.latents), (batch,), generator=generator)
    noise = torch.randn((batch, *data.latents.shape[1:]), generator=generator)
    t = torch.randint(SCHEDULE["num_train_timesteps"], (batch,), generator=generator)
    dropped = torch.rand(batch, generator=generator) < drop
    return data.latents[chosen].float(), data.conditions(chosen, dropped), noise, t


def reconstruction(images, batch=32):
    """The loss |decode(z) - x| + 3e-7 KL(q(z|x) || N(0, 1)), z ~ q(z|x) (Kingma & Welling 2013, arXiv:1312.6114; the
    small weight as in Rombach et al. 2022, arXiv:2112.10752), on uint8 images [image, 3, h, w]."""

    def loss(model, generator):
        x = to_model(images[torch.randint(len(images), (batch,), generator=generator)])
        x = x.contiguous(memory_format=torch.channels_last)
        posterior = model.encode(x).latent_dist
        noise = torch.randn(posterior.mean.shape, generator=generator)
        decoded = model.decode(posterior.mean + posterior.std * noise).sample
        return l1_loss(decoded, x) + KL_WEIGHT * posterior.kl().mean()

    return loss


def grey_reconstruction(images, batch=64):
    """The loss |decode(z) - x|^2 + 1e-5 KL(q(z|x) || N(0, 1)) on uint8 images [image, 32, 32]; z ~ q(z|x) is drawn
    by torch's global generator."""

    def loss(model, generator):
        x = autoencoder.to_model(images[torch.randint(len(images), (batch,), generator=generator)])
        posterior = model.encode(x).latent_dist
        return mse_loss(model.decode(posterior.sample()).sample, x) + KL_WEIGHT_GREY * posterior.kl().mean()

    return loss


def decoding(images, batch=32):
    """The loss |decode(E q(z|x)) - x| of the decoder alone, on uint8 images [image, 3, h, w]: denoisers trained
    on the encoder's latents stay as they are (as Stable Diffusion's decoders were tuned after their denoisers)."""

    def loss(model, generator):
        x = to_model(images[torch.randint(len(images), (batch,), generator=generator)])
        with torch.no_grad():
            z = model.encode(x.contiguous(memory_format=torch.channels_last)).latent_dist.mean
        return l1_loss(model.decode(z).sample, x)

    return loss


def classification(images, labels, batch=256, smoothing=0.05):
    """The cross entropy of labels int64 [image] given uint8 images [image, 32, 32], for a features.Classifier."""

    def loss(model, generator):
        chosen = torch.randint(len(images), (batch,), generator=generator)
        return cross_entropy(model(images[chosen])[1], labels[chosen], label_smoothing=smoothing)

    return loss


def contrastive(images, tokens, batch=256, groups=None):
    """The symmetric cross entropy of matching images and captions in a batch (Radford et al. 2021, arXiv:2103.00020,
    fig. 3) on uint8 images [image, 3, 32, 32] and tokens int64 [image, token].

    With groups int64 [image] every second batch on average is drawn within one group: negatives that share what the
    group shares, so that the rest has to tell them apart (hard negatives, Robinson et al. 2021, arXiv:2010.04592).
    """
    members = None if groups is None else [torch.nonzero(groups == g)[:, 0] for g in groups.unique()]

    def loss(model, generator):
        chosen = draw_grouped(len(images), batch, members, generator)
        image = dual_encoder.unit(model.get_image_features(pixel_values=to_model(images[chosen])))
        text = dual_encoder.unit(model.get_text_features(input_ids=tokens[chosen]))
        logits = image @ text.T * model.logit_scale.exp().clamp(max=100)
        target = torch.arange(len(chosen))
        return (cross_entropy(logits, target) + cross_entropy(logits.T, target)) / 2

    return loss


def draw_grouped(count, batch, members, generator):
    """int64 [batch]: indices of any images; with `members` (indices of each group) half of the time distinct ones of
    one group, `batch` at most."""
    if members and torch.rand((), generator=generator) < 0.5:
        group = members[int(torch.randint(len(members), (), generator=generator))]
        return group[torch.randperm(len(group), generator=generator)[:batch]]
    return torch.randint(count, (batch,), generator=generator)
