"""A small CLIP of one's own: a text and an image tower trained contrastively, saved as transformers saves CLIP.

The text tower conditions tiny-t2i's denoisers, frozen for all sizes; a second dual encoder of other seed and width
scores how well pictures and prompts agree, so that nothing judges itself.
"""

import json
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy, normalize
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPTextModel, CLIPTokenizer

TOKENS = 20  # of a prompt, start and end included
START, END = "<|startoftext|>", "<|endoftext|>"


def tokenizer(captions, size=2048):
    """A CLIPTokenizer whose byte pairs are learned from captions: up to `size` entries, every byte among them, so that
    any text can be encoded. Sennrich et al. 2016, arXiv:1508.07909."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    plain = CLIPTokenizer().backend_tokenizer
    learner = Tokenizer(models.BPE(end_of_word_suffix="</w>", continuing_subword_prefix=""))
    learner.normalizer, learner.pre_tokenizer = plain.normalizer, plain.pre_tokenizer
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    base = [*letters, *(f"{letter}</w>" for letter in letters)]
    learner.train_from_iterator(
        captions,
        trainers.BpeTrainer(
            vocab_size=size, initial_alphabet=letters, end_of_word_suffix="</w>", show_progress=False,
            special_tokens=[START, END],
        ),
    )  # fmt: skip
    merges = [tuple(pair) for pair in json.loads(learner.to_str())["model"]["merges"]]
    merges = merges[: size - len(base) - 2]
    entries = dict.fromkeys([*base, *("".join(pair) for pair in merges), START, END])
    vocabulary = {entry: i for i, entry in enumerate(entries)}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=TOKENS)


def encode(words, captions):
    """int64 [caption, TOKENS], padded with the end token and cut as Stable Diffusion's pipeline does."""
    out = words(list(captions), padding="max_length", max_length=TOKENS, truncation=True, return_tensors="pt")
    return out["input_ids"]


def config(words, width, layers=3, patch=8, projection=None):
    """A CLIPConfig for 32x32 images: both towers of one width, heads of 32 (24 where 32 does not divide)."""
    heads = width // 32 if width % 32 == 0 else width // 24
    shared = {"hidden_size": width, "intermediate_size": 2 * width, "num_hidden_layers": layers,
              "num_attention_heads": heads, "projection_dim": projection or width}  # fmt: skip
    special = {"bos_token_id": words.bos_token_id, "eos_token_id": words.eos_token_id}
    text = shared | special | {"vocab_size": len(words), "max_position_embeddings": TOKENS,
                               "pad_token_id": words.pad_token_id}  # fmt: skip
    vision = shared | {"image_size": 32, "patch_size": patch}
    return CLIPConfig(text_config=text, vision_config=vision, projection_dim=projection or width)


def build(settings):
    """The CLIPModel of a config."""
    return CLIPModel(settings)


def processor():
    """How images reach the network: 32x32 pixels as they are, (level / 255 - 0.5) / 0.5."""
    half = [0.5, 0.5, 0.5]
    return CLIPImageProcessorPil(do_resize=False, do_center_crop=False, do_convert_rgb=False, image_mean=half,
                                 image_std=half, size={"height": 32, "width": 32},
                                 crop_size={"height": 32, "width": 32})  # fmt: skip


def contrastive(images, tokens, batch=256, groups=None):
    """The symmetric cross entropy of matching images and captions in a batch (Radford et al. 2021, arXiv:2103.00020,
    fig. 3) on uint8 images [image, 3, 32, 32] and tokens int64 [image, TOKENS].

    With groups int64 [image] every second batch on average is drawn within one group: negatives that share what the
    group shares, so that the rest has to tell them apart (hard negatives, Robinson et al. 2021, arXiv:2010.04592).
    """
    members = None if groups is None else [torch.nonzero(groups == g)[:, 0] for g in groups.unique()]

    def loss(model, generator):
        chosen = _chosen(len(images), batch, members, generator)
        seen = model.get_image_features(pixel_values=to_model(images[chosen]))
        read = model.get_text_features(input_ids=tokens[chosen])
        logits = _cosines(seen, read) * model.logit_scale.exp().clamp(max=100)
        target = torch.arange(len(chosen))
        return (cross_entropy(logits, target) + cross_entropy(logits.T, target)) / 2

    return loss


def _chosen(count, batch, members, generator):
    """Numbers of a batch's images: any, or in half of the cases distinct ones of one group."""
    if members and torch.rand((), generator=generator) < 0.5:
        group = members[int(torch.randint(len(members), (), generator=generator))]
        return group[torch.randperm(len(group), generator=generator)[:batch]]
    return torch.randint(count, (batch,), generator=generator)


def _embedding(out):
    return out if isinstance(out, torch.Tensor) else out.pooler_output


def _cosines(seen, read):
    return normalize(_embedding(seen), dim=-1) @ normalize(_embedding(read), dim=-1).T


def to_model(images):
    """uint8 -> float32 in -1..1, as processor() has it."""
    return images.float() / 127.5 - 1


@torch.no_grad()
def matches(model, images, tokens, among=100):
    """Share of images whose own caption is the nearest of `among` consecutive captions."""
    hits = []
    for start in range(0, len(images) - among + 1, among):
        part = slice(start, start + among)
        seen = model.get_image_features(pixel_values=to_model(images[part]))
        hits.append(_cosines(seen, model.get_text_features(input_ids=tokens[part])).argmax(1) == torch.arange(among))
    return torch.cat(hits).float().mean().item()


def save(model, words, folder):
    """Model, tokenizer and image processor as one folder that transformers and the metric `clip` open.

    Weights are rounded to float16 for good, here, so that a released family has the very numbers it was trained and
    measured with; they are opened as float32.
    """
    folder = Path(folder)
    model.half().save_pretrained(folder)
    words.save_pretrained(folder)
    processor().save_pretrained(folder)
    told = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    for part in (told, told["text_config"], told["vision_config"]):
        part["dtype"] = "float32"
    (folder / "config.json").write_text(json.dumps(told, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    model.float()


def text_tower(model):
    """The CLIPTextModel of a trained CLIPModel, as Stable Diffusion's pipeline wants it."""
    tower = CLIPTextModel(model.config.text_config)
    tower.load_state_dict({k: v for k, v in model.text_model.state_dict().items() if k in tower.state_dict()})
    return tower.eval().requires_grad_(False)


@torch.no_grad()
def hidden(tower, tokens, batch=1000):
    """float32 [caption, TOKENS, width]: what the denoisers attend to."""
    return torch.cat([tower(input_ids=part).last_hidden_state for part in tokens.split(batch)])
