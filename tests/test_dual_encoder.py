"""A small CLIP of one's own: its tokenizer, its loss, and its folder as others open it."""

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

import tiny_text_family  # noqa: E402

from collect.datasets import scenes  # noqa: E402
from collect.jobs import Batch  # noqa: E402
from collect.metrics import open_metric  # noqa: E402
from collect.models import dual_encoder, tiny_t2i  # noqa: E402
from collect.models.pipelines.parts import to_model  # noqa: E402
from collect.training import loop, losses  # noqa: E402

IMAGES, CAPTIONS = scenes.draw(tiny_text_family.icons(6), "all", 64)
IMAGES = torch.from_numpy(IMAGES)
TOKENIZER = dual_encoder.learn_tokenizer(CAPTIONS, size=700)


def settings(width=32):
    return dual_encoder.config(TOKENIZER, width, layers=1)


def test_known_words_are_one_token_and_any_text_comes_back():
    assert TOKENIZER.tokenize("noto style on teal") == ["noto</w>", "style</w>", "on</w>", "teal</w>"]
    for text in ("zebra 7 ß!", "a large thing aa in noto style"):
        assert TOKENIZER.decode(TOKENIZER(text)["input_ids"], skip_special_tokens=True).replace(
            " ", ""
        ) == text.replace(" ", "")
    tokens = dual_encoder.tokenize(TOKENIZER, ["", "word " * 50, "teal"])
    assert tokens.shape == (3, tiny_t2i.TOKENS)
    assert tokens[0, 0] == TOKENIZER.bos_token_id and (tokens[0, 1:] == TOKENIZER.eos_token_id).all()
    assert tokens[1, -1] == TOKENIZER.eos_token_id  # the end stays when a caption is cut


def test_the_loss_is_clips_own():
    model = dual_encoder.build(settings()).eval()
    tokens = dual_encoder.tokenize(TOKENIZER, CAPTIONS)
    ours = losses.contrastive(IMAGES, tokens, batch=8)(model, loop.step_generator(0, 1))
    chosen = torch.randint(len(IMAGES), (8,), generator=loop.step_generator(0, 1))
    pixels = to_model(IMAGES[chosen])
    theirs = model(input_ids=tokens[chosen], pixel_values=pixels, return_loss=True).loss
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-5)


def test_training_matches_pictures_and_captions(tmp_path):
    tokens = dual_encoder.tokenize(TOKENIZER, CAPTIONS)
    loss, config = losses.contrastive(IMAGES, tokens, batch=32), loop.OptimizerConfig(3e-3, warmup=5)
    found = [v for _, v in loop.train(lambda: dual_encoder.build(settings()), loss, config, 40, tmp_path)]
    assert sum(found[-5:]) < 0.6 * sum(found[:5])


def test_the_folder_opens_as_clip_and_its_text_tower_alone(tmp_path):
    model = dual_encoder.build(settings()).eval()
    dual_encoder.save(model, TOKENIZER, tmp_path)
    assert not list(tmp_path.rglob("*.bin")) and next(model.parameters()).dtype == torch.float32
    tokens = dual_encoder.tokenize(TOKENIZER, CAPTIONS[:3])
    alone = dual_encoder.text_tower(transformers.CLIPModel.from_pretrained(tmp_path))
    with torch.no_grad():
        whole = model.text_model(input_ids=tokens).last_hidden_state
    assert torch.equal(dual_encoder.hidden(alone, tokens), whole)
    again = transformers.CLIPTokenizer.from_pretrained(tmp_path)
    assert torch.equal(dual_encoder.tokenize(again, CAPTIONS), dual_encoder.tokenize(TOKENIZER, CAPTIONS))


def test_matching_counts_whose_own_prompt_is_nearest(tmp_path):
    dual_encoder.save(dual_encoder.build(settings()).eval(), TOKENIZER, tmp_path)
    lines = list(dict.fromkeys(CAPTIONS))[:20]
    (tmp_path / "prompts.txt").write_text("\n".join(lines))
    metric = open_metric("matching", base=tmp_path, model=str(tmp_path), others="prompts.txt")
    batch = Batch(range(12), IMAGES[:12].numpy(), {"prompts": CAPTIONS[:12]})
    model = transformers.CLIPModel.from_pretrained(tmp_path)
    with torch.no_grad():
        out = model(input_ids=dual_encoder.tokenize(TOKENIZER, lines), pixel_values=to_model(IMAGES[:12]))
    nearest = [lines[i] == own for i, own in zip(out.logits_per_image.argmax(1), CAPTIONS, strict=False)]
    row = metric.finish(metric.add(metric.start(), batch))
    assert row["agreement"] == pytest.approx(sum(nearest) / 12)
    parts = [Batch(range(i, i + 4), IMAGES[i : i + 4].numpy(), {"prompts": CAPTIONS[i : i + 4]}) for i in (0, 4, 8)]
    merged = metric.start()
    for part in parts:
        merged = metric.add(merged, part)
    assert metric.finish(merged) == row


def test_hard_batches_stay_within_a_group():
    groups = torch.arange(64) % 4
    members = [torch.nonzero(groups == g)[:, 0] for g in range(4)]
    drawn = [losses.draw_grouped(64, 12, members, loop.step_generator(0, step)) for step in range(200)]
    inside = [len(set(groups[chosen].tolist())) == 1 for chosen in drawn]
    assert 70 < sum(inside) < 130
    assert all(len(set(chosen.tolist())) == 12 for chosen, one in zip(drawn, inside, strict=True) if one)
