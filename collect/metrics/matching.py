"""Matching: the share of images whose own prompt is nearer, for a dual encoder, than every one of other prompts.

Radford et al. 2021 (arXiv:2103.00020) classify by the nearest caption in the same way. The other prompts are the same
for every image, so that samples are scored alike in any batch; a prompt equal to the image's own is left out.
"""

from pathlib import Path

import torch

from collect.features import fingerprint
from collect.metrics.mean import Mean, wanted
from collect.models.tasks import prompts
from scalinglaws.schema import InputError

AMONG = 100  # other prompts


def embedding(out):
    """A tower's projected embedding, normalised; transformers returns it bare or inside an output."""
    found = out if isinstance(out, torch.Tensor) else out.pooler_output
    return torch.nn.functional.normalize(found, dim=-1)


def of_model(model, tokenizer, others):
    """The metric of a loaded CLIP model with its tokenizer, against the prompts `others`."""
    model, device = model.eval().requires_grad_(False), next(model.parameters()).device
    others = list(dict.fromkeys(others))[:AMONG]

    @torch.inference_mode()
    def read(lines):
        length = model.config.text_config.max_position_embeddings
        words = tokenizer(lines, padding="max_length", max_length=length, truncation=True, return_tensors="pt")
        return embedding(model.get_text_features(input_ids=words["input_ids"].to(device)))

    known = read(others)

    @torch.inference_mode()
    def score(batch):
        asked = list(wanted(batch, "prompts", "matching"))
        images = torch.as_tensor(batch.samples).to(device).expand(-1, 3, -1, -1)
        seen = embedding(model.get_image_features(pixel_values=images.float() / 127.5 - 1))
        other = seen @ known.T
        same = torch.tensor([[line == own for line in others] for own in asked], device=device)
        own = (seen * read(asked)).sum(1)
        return (own > other.masked_fill(same, -2.0).amax(1)).double().cpu().numpy()

    about = {"weights": fingerprint(model), "others": others}
    return Mean("agreement", "matching-1", score, about)


def open_matching(model, others, device="cpu"):
    """The metric of a folder of a CLIP model; `others` a text file of prompts, the first hundred of which are taken."""
    from transformers import CLIPModel, CLIPTokenizer

    if not (Path(model) / "config.json").exists():
        raise InputError(f"No CLIP model in '{model}': give its folder, such as judge/ of a family.")
    loaded = CLIPModel.from_pretrained(model, dtype=torch.float32, local_files_only=True).to(device)
    return of_model(loaded, CLIPTokenizer.from_pretrained(model), prompts(others).lines)
