"""The optimizer's curse: naive selection is too good by a known amount, the halves are not."""

import json

import numpy as np
import pandas as pd
import pytest

from scalinglaws.decide.guidance import optimal_guidance
from scalinglaws.schema import InputError

GUIDANCES = (1.0, 1.25, 1.5, 2.0, 3.0)
MAXIMUM = 1.16296  # expected maximum of five standard normal numbers


def measured(curve, settings=400, noise=0.5, seed=0, quality="fd") -> pd.DataFrame:
    """Settings at five guidances; each half has the noise, all samples their mean."""
    rng = np.random.default_rng(seed)
    rows = []
    for k in range(settings):
        for w in GUIDANCES:
            one, two = curve(w) + noise * rng.standard_normal(2)
            rows.append({"model": f"c{k:03d}", "sampler": "ddim", "steps": 8, "guidance": w, quality: (one + two) / 2,
                         f"{quality}_half1": one, f"{quality}_half2": two})  # fmt: skip
    return pd.DataFrame(rows)


@pytest.mark.parametrize(("quality", "sign"), [("fd", -1), ("agreement", 1)])
def test_between_equal_guidances_the_report_is_unbiased_and_naive_selection_is_not(quality, sign):
    table = measured(lambda w: 10.0, quality=quality)
    fitted = optimal_guidance(table, quality).table
    naive = optimal_guidance(table.drop(columns=[f"{quality}_half1", f"{quality}_half2"]), quality).table
    error = 0.5 / np.sqrt(2 * 400)
    assert abs(fitted["value"].mean() - 10) < 3 * error
    assert fitted["optimism"].mean() == pytest.approx(sign * 0.5 * MAXIMUM, abs=4 * error)
    assert naive["value"].mean() - 10 == pytest.approx(sign * 0.5 / np.sqrt(2) * MAXIMUM, abs=4 * error)
    assert fitted["cross_fitted"].all() and not naive["cross_fitted"].any()


def test_a_real_optimum_is_found_and_reported_at_its_worth():
    table = measured(lambda w: 10 + 8 * np.log(w / 1.5) ** 2, noise=0.1)
    found = optimal_guidance(table).table
    assert (found["guidance"] == 1.5).mean() > 0.95 and found["agree"].mean() > 0.85
    assert found["value"].mean() == pytest.approx(10, abs=0.04)


def test_tables_without_halves_are_called_optimistic():
    table = measured(lambda w: 10.0, settings=3).drop(columns=["fd_half1", "fd_half2"])
    found = optimal_guidance(table)
    assert "Optimistic: 3 of 3 settings have no halves (columns fd_half1, fd_half2)" in found.summary()
    assert found.table["optimism"].isna().all()
    some = measured(lambda w: 10.0, settings=3)
    some.loc[some["model"] == "c001", "fd_half2"] = np.nan
    mixed = optimal_guidance(some)
    assert mixed.table["cross_fitted"].tolist() == [True, False, True] and len(mixed.notes) == 2


def test_settings_are_kept_apart_and_repeats_averaged():
    one = measured(lambda w: 10 + (w - 1.25) ** 2, settings=2, noise=0.0)
    two = measured(lambda w: 10 + (w - 2) ** 2, settings=2, noise=0.0).assign(steps=32)
    table = pd.concat([one.assign(seed=0), one.assign(seed=1), two], ignore_index=True).assign(nfe=lambda t: t.guidance)
    found = optimal_guidance(table).table
    assert found[["model", "steps", "guidance", "guidances"]].values.tolist() == [
        ["c000", 8, 1.25, 5], ["c000", 32, 2.0, 5], ["c001", 8, 1.25, 5], ["c001", 32, 2.0, 5]]  # fmt: skip
    assert found["value"].tolist() == pytest.approx([10.0] * 4) and (found["optimism"] == 0).all()


def test_one_guidance_is_no_choice():
    table = measured(lambda w: 10.0, settings=2)
    found = optimal_guidance(table[table["guidance"] == 1.0])
    assert found.notes == ("Every setting was measured at one guidance: there was nothing to choose.",)
    assert found.table["cross_fitted"].all()


def test_refusals():
    table = measured(lambda w: 10.0, settings=1)
    for bad, sentence in (
        (table.drop(columns="guidance"), "Column 'guidance' is missing; the table has model"),
        (table.drop(columns="fd"), "Column 'fd' is missing"),
        (table.assign(fd=np.nan), "No row has both guidance and fd"),
        (table.assign(fd_half1="x"), "Column 'fd_half1' must hold numbers"),
        ([1], "A table of measurements is needed; got list"),
    ):
        with pytest.raises(InputError, match=sentence):
            optimal_guidance(bad)


def test_the_result_shows_itself():
    found = optimal_guidance(measured(lambda w: 10 + (w - 1.25) ** 2, settings=2, noise=0.0))
    assert repr(found) == "<OptimalGuidance: 2 settings, 2 with several guidances, by fd>"
    assert "<table" in found._repr_html_() and found.to_frame() is found.table
    assert found.measured.query("best")["guidance"].tolist() == [1.25, 1.25]
    with pytest.raises(InputError, match="got an unexpected keyword argument 'budget'"):
        optimal_guidance(found.measured, budget=1)


def test_an_uneven_grid_of_guidances_is_said_and_ends_are_marked():
    table = measured(lambda w: 10 + (np.log(w / 1.9)) ** 2, settings=4, noise=0.0)
    table = table.assign(params=table["model"].map({"c003": 1e6, "c000": 2e6, "c001": 3e6, "c002": 4e6}))
    even = optimal_guidance(table)
    assert even.table["beyond"].tolist() == [""] * 4 and len(even.notes) == 1
    assert even.table["model"].tolist() == ["c003", "c000", "c001", "c002"]  # by rising size
    cut = {"c000": (1.0, 1.5, 2.0), "c001": (3.0, 2.0), "c002": (2.0,)}
    kept = [row.guidance in cut.get(row.model, GUIDANCES) for row in table.itertuples()]
    found = optimal_guidance(table[kept])
    assert dict(found.table[["model", "beyond"]].values) == {"c003": "", "c000": "above", "c001": "below", "c002": ""}
    assert "settings (1, 1.25, 1.5, 2, 3 in 1; 1, 1.5, 2 in 1; 2, 3 in 1): a best one at an end" in found.notes[-1]
    assert found.notes[-1].endswith("compare settings at the guidances that all share (2).")


def test_evaluations_are_a_setting_where_no_column_of_steps_is():
    """fid = 5 + 100/nfe + (w - 2)^2 at 10 evaluations, (w - 3)^2 at 50: averaged over both the best would be 2 or 3."""
    rows = pd.DataFrame([{"model": "B", "nfe": nfe, "guidance": w, "fid": 5 + 100 / nfe + (w - best) ** 2}
                         for nfe, best in ((10, 2.0), (50, 3.0)) for w in (1.0, 2.0, 3.0, 4.0)])  # fmt: skip
    answer = optimal_guidance(rows, "fid").to_frame()
    assert answer[["nfe", "guidance", "value"]].to_numpy().tolist() == [[10, 2, 15], [50, 3, 7]]


def test_rows_are_chosen_by_the_users_own_column(tmp_path, said):
    rows = pd.DataFrame({"model": "B", "steps": 10, "CFG": [1.0, 2.0, 4.0] * 2, "FID": [9.0, 6, 8, 7, 5, 4]})
    rows.assign(**{"#samples": [5000] * 3 + [50000] * 3}).to_csv(tmp_path / "mine.csv", index=False)
    code, out, err = said("guidance", tmp_path / "mine.csv", "--where", "#samples=5000", "--json")
    assert code == 0, err
    assert [(row["guidance"], row["value"]) for row in json.loads(out)["settings"]] == [(2.0, 6.0)]
