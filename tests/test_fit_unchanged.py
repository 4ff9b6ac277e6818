"""The numbers of every fit are those of tests/data/fits.json, to 1e-9 relative; see fit_cases.py.

Where the table says `flat` (a perturbation of 1e-14 of the data moves the number by more than 1e-10: a floor at its
bound, a flat valley) that number is not compared; the objective is, to 1e-6 there, and so are all the others.
"""

import json

import pytest
from fit_cases import PATH, PROFILES, cases, grouped, measured, moved, profile_ends, rankings

SAME = 1e-9
OLD = json.loads(PATH.read_text())
CASES = {
    name: case for name, case in cases().items() if name in OLD["fits"]
}  # studies bundled since then have no entry
QUICK = [name for k, name in enumerate(CASES) if k % 10 == 0 and "bnsl_3" not in name]


def agree(new, old):
    flat = old.get("flat", [])
    assert set(new) | {"flat"} == set(old) | {"flat"}
    for key, value in old.items():
        if key == "flat" or key in flat:
            continue
        if isinstance(value, list):
            assert moved(value, new[key]) < SAME, (key, value, new[key])
        else:
            assert new[key] == value, key
    if "objective" in flat:
        assert moved(old["objective"], new["objective"]) < 1e-6 or old["objective"][0] < 1e-12


def test_every_stored_fit_is_still_tried():
    language = {name for name in OLD["fits"] if name.startswith(("chinchilla points", "4-digit"))}  # not shipped
    assert set(CASES) - language == set(OLD["fits"]) - language


@pytest.mark.parametrize("name", QUICK)
def test_fits_are_unchanged(name):
    agree(measured(name, CASES[name]), OLD["fits"][name])


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in CASES if name not in QUICK])
def test_every_fit_is_unchanged(name):
    agree(measured(name, CASES[name]), OLD["fits"][name])


@pytest.mark.parametrize("name", PROFILES[:3])
def test_profile_intervals_are_unchanged(name):
    assert moved(OLD["profiles"][name], profile_ends(CASES[name])) < SAME


@pytest.mark.slow
@pytest.mark.parametrize("name", PROFILES[3:])
def test_more_profile_intervals_are_unchanged(name):
    assert moved(OLD["profiles"][name], profile_ends(CASES[name])) < SAME


def test_groups_are_unchanged():
    new = grouped()
    assert set(new) == set(OLD["groups"])
    for label, old in OLD["groups"].items():
        agree(new[label], old)


def test_rankings_are_unchanged():
    new = rankings()
    assert {k: list(v) for k, v in new.items()} == {k: list(v) for k, v in OLD["rankings"].items()}  # their order
    for name, old in OLD["rankings"].items():
        for law, scores in old.items():
            assert moved(scores, new[name][law]) < SAME, (name, law)
