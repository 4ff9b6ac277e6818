"""A small CLIP of one's own: a text and an image tower that are trained together, saved as transformers saves CLIP.

The text tower conditions tiny-t2i's denoisers, frozen for all sizes; a second dual encoder of other seed and width, the
judge, scores how well images and prompts agree, so that nothing judges itself.
"""

import json
from pathlib import Path

import torch
from torch.nn.functional import normalize

from collect.models.networks import with_weights
from collect.models.tiny_t2i import TOKENS

START, END = "<|startoftext|>", "<|endoftext|>"


def learn_tokenizer(captions, size=2048):
    """A CLIPTokenizer whose byte pairs are learned from captions: up to `size` entries, every byte among them, so that
    any text can be encoded. Sennrich et al. 2016, arXiv:1508.07909."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import CLIPTokenizer

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


def tokenize(tokenizer, captions):
    """int64 [caption, TOKENS], padded with the end token and cut as Stable Diffusion's pipeline does."""
    out = tokenizer(list(captions), padding="max_length", max_length=TOKENS, truncation=True, return_tensors="pt")
    return out["input_ids"]


def config(tokenizer, width, layers=3, patch=8):
    """A CLIPConfig for 32x32 images: both towers of one width, heads of 32 (24 where 32 does not divide)."""
    from transformers import CLIPConfig

    heads = width // 32 if width % 32 == 0 else width // 24
    shared = {"hidden_size": width, "intermediate_size": 2 * width, "num_hidden_layers": layers,
              "num_attention_heads": heads, "projection_dim": width}  # fmt: skip
    special = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    text = shared | special | {"vocab_size": len(tokenizer), "max_position_embeddings": TOKENS}
    vision = shared | {"image_size": 32, "patch_size": patch}
    return CLIPConfig(text_config=text, vision_config=vision, projection_dim=width)


def build(settings):
    """The CLIPModel of a CLIPConfig, its weights drawn anew."""
    from transformers import CLIPModel

    return CLIPModel(settings)


def load(folder):
    """(CLIPModel in float32, CLIPTokenizer) of a folder that save() wrote."""
    from transformers import CLIPModel

    model = with_weights(CLIPModel, folder, dtype=torch.float32, local_files_only=True)
    return model, load_tokenizer(folder)


def load_tokenizer(folder):
    """The CLIPTokenizer of a folder."""
    from transformers import CLIPTokenizer

    return CLIPTokenizer.from_pretrained(folder, local_files_only=True)


def processor():
    """How images reach the network: 32x32 pixels as they are, (level / 255 - 0.5) / 0.5."""
    from transformers import CLIPImageProcessorPil

    half, side = [0.5, 0.5, 0.5], {"height": 32, "width": 32}
    return CLIPImageProcessorPil(do_resize=False, do_center_crop=False, do_convert_rgb=False, image_mean=half,
                                 image_std=half, size=side, crop_size=side)  # fmt: skip


def unit(output):
    """A tower's projected embedding [item, projection] at length 1; transformers returns it bare or in an output."""
    return normalize(output if isinstance(output, torch.Tensor) else output.pooler_output, dim=-1)


def save(model, tokenizer, folder):
    """Model, tokenizer and image processor as one folder that transformers and the metric `clip` open.

    Weights are rounded to float16 for good, here, so that a released family has the very numbers it was trained and
    measured with; they are opened as float32.
    """
    folder = Path(folder)
    model.half().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    processor().save_pretrained(folder)
    written = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    for part in (written, written["text_config"], written["vision_config"]):
        part["dtype"] = "float32"
    (folder / "config.json").write_text(json.dumps(written, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    model.float()


def text_tower(model):
    """The CLIPTextModel of a trained CLIPModel, as Stable Diffusion's pipeline wants it."""
    from transformers import CLIPTextModel

    tower = CLIPTextModel(model.config.text_config)
    tower.load_state_dict({k: v for k, v in model.text_model.state_dict().items() if k in tower.state_dict()})
    return tower.eval().requires_grad_(False)


def blank_text_tower(folder):
    """The CLIPTextModel of a folder's configuration, without its weights."""
    from transformers import CLIPConfig, CLIPTextModel

    return CLIPTextModel(CLIPConfig.from_pretrained(folder, local_files_only=True).text_config)


@torch.no_grad()
def hidden(tower, tokens, batch=1000):
    """float32 [caption, TOKENS, width] of tokens int64 [caption, TOKENS]: what the denoisers attend to."""
    return torch.cat([tower(input_ids=part).last_hidden_state for part in tokens.split(batch)])
