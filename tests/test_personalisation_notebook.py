"""The notebook of personalised models on a user's csv whose law is known, and on the bundled study."""

import pandas as pd
import pytest
from test_tiers import line, step, table
from test_tuning_notebooks import last_output

from scalinglaws import notebooks

pytest.importorskip("papermill")
pytestmark = [
    pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning"),
]  # fmt: skip
ORIGINAL = {"variant": lambda t: t["variant"].fillna("pretrained")}


def test_on_a_users_csv(tmp_path):
    rows = table(step, own_noise=0.01, before=line).assign(**ORIGINAL)
    smooth = table(line, own_noise=0.003, before=line, seed=1).assign(**ORIGINAL)
    smooth = smooth.rename(columns={"subject_similarity": "agreement"})
    kept = smooth.rename(columns={"agreement": "diversity"}).assign(dataset=lambda t: t["dataset"] + "-class")
    pd.concat([rows, smooth, kept], ignore_index=True).to_csv(tmp_path / "runs.csv", index=False)
    notebooks.report("personalisation", {"study": str(tmp_path / "runs.csv")}, tmp_path)
    said = last_output(tmp_path, "personalisation").split("\n\n")
    assert [name in text for name, text in zip(("subject_sim", "agreement", "diversity"), said, strict=True)] == [
        True
    ] * 3
    assert "shows two tiers:" in said[0] and all("shows a smooth trend:" in text for text in said[1:])
    assert len(list(tmp_path.glob("personalisation-*.svg"))) == 6


def test_on_the_bundled_study(tmp_path):
    notebooks.report("personalisation", {}, tmp_path)
    assert "subject_similarity of 7 sizes" in last_output(tmp_path, "personalisation")
