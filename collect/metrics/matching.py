"""Matching: the share of images whose own prompt is nearer, for a dual encoder, than every one of other prompts.

Radford et al. 2021 (arXiv:2103.00020) classify by the nearest caption in the same way. The other prompts are the same
for every image, so that samples are scored alike in any batch; a prompt equal to the image's own is left out.
"""

from pathlib import Path

import torch

from collect.features import fingerprint
from collect.metrics.mean import Mean, required
from collect.models import dual_encoder
from collect.models.pipelines.parts import to_model
from collect.models.tasks import prompts
from scalinglaws.schema import InputError

AMONG = 100  # other prompts


def of_model(model, tokenizer, others):
    """The metric of a loaded CLIP model with its tokenizer, against the prompts `others`."""
    model, device = model.eval().requires_grad_(False), next(model.parameters()).device
    others = list(dict.fromkeys(others))[:AMONG]

    @torch.inference_mode()
    def embed(lines):
        length = model.config.text_config.max_position_embeddings
        words = tokenizer(lines, padding="max_length", max_length=length, truncation=True, return_tensors="pt")
        return dual_encoder.unit(model.get_text_features(input_ids=words["input_ids"].to(device)))

    embedded_others = embed(others)

    @torch.inference_mode()
    def score(batch):
        lines = list(required(batch, "prompts", "matching"))
        images = torch.as_tensor(batch.samples).to(device).expand(-1, 3, -1, -1)
        embedded = dual_encoder.unit(model.get_image_features(pixel_values=to_model(images)))
        own = (embedded * embed(lines)).sum(1)
        same = torch.tensor([[line == other for other in others] for line in lines], device=device)
        nearest_other = (embedded @ embedded_others.T).masked_fill(same, -2.0).amax(1)
        return (own > nearest_other).double().cpu().numpy()

    about = {"weights": fingerprint(model), "others": others}
    return Mean("agreement", "matching-1", score, about)


def open_matching(model, others, device="cpu"):
    """The metric of a folder of a CLIP model; `others` a text file of prompts, the first hundred of which are taken."""
    if not (Path(model) / "config.json").exists():
        raise InputError(f"No CLIP model in '{model}': give its folder, such as judge/ of a family.")
    loaded, tokenizer = dual_encoder.load(model)
    return of_model(loaded.to(device), tokenizer, prompts(others).lines)
