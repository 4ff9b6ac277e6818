"""Emoji from package archives: painted squares under the packages' own layouts."""

import numpy as np
import pytest
import tiny_text_family

from collect.datasets import emoji
from scalinglaws.schema import InputError


def test_every_name_in_every_style_and_nothing_else(tmp_path, monkeypatch):
    icons = emoji.icons(tiny_text_family.archives(tmp_path, monkeypatch), side=24)
    assert icons.names == ("red apple", "dog face", "cat", "old key", "t shirt", "sun", "fox", "bus", "bell", "ring")
    assert icons.styles == ("twemoji", "noto", "fluent") and icons.pixels.shape == (10, 3, 24, 24, 4)
    assert (icons.pixels[:, :, 12, 12, 3] == 255).all()  # cut to what is drawn and centred
    colours = icons.pixels[:, :, 12, 12, :3].reshape(30, 3)
    assert len(np.unique(colours, axis=0)) == 30  # no picture stands under another's name
    assert icons.hash == emoji.icons(tmp_path, side=24).hash


@pytest.mark.parametrize(
    "label, name",
    [
        ("woman’s hat", "womans hat"),
        ("T-Rex", "t rex"),
        ("piñata", None),
        ("flag: Andorra", None),
        ("grinning face with big eyes", None),  # too long
        ("one-thirty", None),
        ("1st place medal", None),
    ],
)
def test_names_are_words_of_letters(label, name):
    assert emoji.plain(label) == name


def test_a_missing_or_changed_archive_says_how_to_get_it(tmp_path, monkeypatch):
    tiny_text_family.archives(tmp_path, monkeypatch)
    path = tmp_path / emoji.STYLES["noto"][0].file
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"sha256 .*fetch emoji-datasource-google@16.0.0 again"):
        emoji.icons(tmp_path)
    path.unlink()
    with pytest.raises(InputError, match=r"npm pack emoji-datasource-google@16.0.0.*Apache-2.0"):
        emoji.icons(tmp_path)
