"""CLIP score: cosine between an image and its prompt, Hessel et al. 2021 (arXiv:2104.08718) without their weight 2.5.

The mean cosine, as Mei et al. and most papers on text-to-image print it; times 100 it is torchmetrics' CLIPScore,
whose zero floor is not applied here. A prompt that is too long is cut before its end token, which stays: CLIP reads
the sentence there.
"""

from pathlib import Path

import torch

from collect.features import fingerprint
from collect.metrics.mean import Mean, required
from collect.models.networks import with_weights
from scalinglaws.schema import InputError


def prepared(preparation, images, device="cpu"):
    """Pixels of uint8 images [image, channel, h, w] as the model takes them, grey ones repeated to three channels."""
    images = torch.as_tensor(images).expand(-1, 3, -1, -1)
    pixels = preparation(images=list(images.numpy()), input_data_format="channels_first", return_tensors="pt")
    return pixels["pixel_values"].to(device)


@torch.inference_mode()
def cosines(model, tokenizer, preparation, images, prompts):
    """Cosine of each uint8 image [image, channel, h, w] with its prompt, float64 [image]."""
    length = model.config.text_config.max_position_embeddings
    words = tokenizer(list(prompts), padding=True, truncation=True, max_length=length, return_tensors="pt")
    out = model(**words.to(model.device), pixel_values=prepared(preparation, images, model.device))
    return torch.nn.functional.cosine_similarity(out.image_embeds.double(), out.text_embeds.double()).cpu().numpy()


def of_model(model, tokenizer, preparation):
    """The metric of a loaded CLIP model with its tokenizer and image processor."""
    model = model.eval().requires_grad_(False)
    kept = ("size", "crop_size", "resample", "rescale_factor", "image_mean", "image_std")
    resized = {k: v for k, v in preparation.to_dict().items() if k in kept}
    about = {"weights": fingerprint(model), "preparation": resized}

    def score(batch):
        prompts = required(batch, "prompts", "clip")
        return cosines(model, tokenizer, preparation, batch.samples, prompts)

    return Mean("clip", "1", score, about)


def load_clip(model, revision=None, device="cpu"):
    """(CLIPModel, tokenizer, image processor) of a local folder, or of a hub name at a pinned revision (fetched, then
    cached)."""
    try:
        from transformers import CLIPImageProcessorPil, CLIPModel, CLIPTokenizer
    except ImportError as error:
        raise InputError(f"CLIP needs transformers 5 or newer ({error}): pip install 'transformers>=5'.") from error
    if not Path(model).is_dir() and revision is None:
        raise InputError(
            f"'{model}' is no folder here; to fetch it from the hub give its revision, a commit's hash, too."
        )
    options = {"revision": revision} if revision else {"local_files_only": True}
    try:
        loaded = with_weights(CLIPModel, model, **options).to(device)
        parts = [kind.from_pretrained(model, **options) for kind in (CLIPTokenizer, CLIPImageProcessorPil)]
    except InputError:
        raise
    except (OSError, ValueError) as error:
        raise InputError(f"No CLIP model in '{model}' ({str(error).splitlines()[0]}).") from error
    return loaded, *parts


def open_clip(model, revision=None, device="cpu"):
    """The metric of a local folder, or of a hub name at a pinned revision."""
    return of_model(*load_clip(model, revision, device))
