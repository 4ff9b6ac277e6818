"""Scenes: functions of (seed, split, index), captions that say what is drawn, splits that hold out what they say."""

import numpy as np
import pytest
import tiny_text_family

from collect.datasets import scenes
from scalinglaws.schema import InputError

ICONS = tiny_text_family.icons()


def some(split, count=300, seed=0, first=0):
    pool = scenes.pool(split, len(ICONS.names), len(ICONS.styles))
    return [scenes.scene(ICONS, pool, seed, split, i) for i in range(first, first + count)]


def test_a_scene_depends_on_its_seed_and_index_alone():
    assert some("train", 20)[13:] == some("train", 7, first=13)
    assert some("train", 20) != some("train", 20, seed=1) and some("train", 20) != some("test", 20)
    images, captions = scenes.draw(ICONS, "train", 5, first=2)
    assert captions == [s.caption for s in some("train", 5, first=2)]
    np.testing.assert_array_equal(images[3:], scenes.draw(ICONS, "train", 2, first=5)[0])


def test_captions_say_what_is_drawn():
    for scene in some("all"):
        for thing in scene.objects:
            assert ICONS.names[thing.name] in scene.caption
        said = [style for style in ICONS.styles if f"{style} style" in scene.caption]
        assert said in ([], [ICONS.styles[scene.objects[0].style]])
        colours = [colour for colour in scenes.COLOURS if f" {colour}" in scene.caption]
        assert colours in ([], [scene.colour])
        if " left of " in scene.caption:
            first, second = scene.objects
            assert first.x < second.x and scene.caption.index(ICONS.names[first.name]) < scene.caption.index(" left")
    shares = [np.mean([s.caption.count(word) > 0 for s in some("all", 2000)]) for word in (" style", " on ")]
    assert shares == pytest.approx([0.9, 0.9], abs=0.03)


def test_objects_stay_in_the_picture():
    for scene in some("all", 1000):
        for thing in scene.objects:
            left, top = thing.x - thing.side // 2, thing.y - thing.side // 2
            assert min(left, top) >= 0 and max(left, top) + thing.side <= scenes.SIDE


def test_splits_hold_out_names_and_pairs():
    name, pair = scenes.held_out(len(ICONS.names), len(ICONS.styles))
    assert name.sum() == 2 and 3 < pair.sum() < 20 and not (pair & name[:, None]).any()
    drawn = {split: {(o.name, o.style) for s in some(split, 1000) for o in s.objects} for split in scenes.SPLITS}
    for split in ("train", "test"):
        assert not any(name[n] or pair[n, s] for n, s in drawn[split])
    assert all(name[n] for n, _ in drawn["names"]) and all(pair[n, s] for n, s in drawn["pairs"])
    assert drawn["all"] > drawn["train"]
    with pytest.raises(InputError, match=r"No split 'val'.*train, test, names, pairs, all"):
        scenes.pool("val", 40, 3)


def test_an_icon_is_composed_by_its_alpha():
    pixels = np.zeros((64, 64, 4), np.uint8)
    pixels[:, :32] = (255, 0, 0, 255)
    pixels[:, 32:, 3] = 0
    icons = type(ICONS)(("half",), ("noto",), pixels[None, None])
    thing = scenes.Object(0, 0, scenes.LARGE, 16, 16)
    drawn = scenes.Canvas(icons).draw(scenes.Scene("", "blue", (thing,)))
    assert tuple(drawn[:, 16, 4]) == (255, 0, 0) and tuple(drawn[:, 16, 28]) == scenes.COLOURS["blue"]


def test_a_setting_is_the_kind_of_scene_and_the_colour():
    same = [("a large fox in noto style on teal", "large bell twemoji style on a teal background"),
            ("fox above a bell on red", "an ox above kite fluent style on a red background"),
            ("small fox at the top left", "a small bell at the top left noto style")]  # fmt: skip
    numbers = [{scenes.setting(caption) for caption in pair} for pair in same]
    assert all(len(n) == 1 for n in numbers) and len(set.union(*numbers)) == 3
    every = {scenes.setting(s.caption) for s in some("all", 4000)}
    assert len(every) == 9 * 13
