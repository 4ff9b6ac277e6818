"""The compute surface: real passes of real networks in fresh processes, and the exponent of seconds in FLOPs."""

import nbformat
import numpy as np
import pandas as pd
import pytest

import scalinglaws as sl
from scalinglaws import notebooks, schema, studies
from scalinglaws.decide.seconds import seconds_of_sizes
from scalinglaws.schema import InputError

SIZES = {"c8": 2e6, "c16": 8e6, "c32": 3e7, "c64": 1.2e8}


def passes(exponent=0.8, noise=0.0, dtypes=("float32", "bfloat16"), batches=(1, 4)):
    """Rows of a machine on which seconds are 1e-9 FLOPs^exponent, a quarter less in bfloat16, at half the roofline."""
    rng = np.random.default_rng(0)
    rows = [
        {"model": m, "flops_per_forward": f, "dtype": d, "sampling_batch": b, "device": "made up", "threads": 2,
         "nfe": 1, "seconds_per_image": 1e-9 * f**exponent * (0.75 if d == "bfloat16" else 1)
         * np.exp(noise * rng.normal())}
        for m, f in SIZES.items() for d in dtypes for b in batches
    ]  # fmt: skip
    return pd.DataFrame(rows).assign(roofline_seconds=lambda t: t["seconds_per_image"] / 2)


def test_the_exponent_of_a_known_machine():
    found = seconds_of_sizes(passes())
    assert found.lines["exponent"].to_numpy() == pytest.approx(0.8, abs=1e-9)
    assert found.lines["seconds_ratio"].to_numpy() == pytest.approx(60**0.8)
    assert found.rows["share"].to_numpy() == pytest.approx(0.5)
    assert "a small size saves less in seconds than in FLOPs" in found.answer and "50% to 50%" in found.answer
    assert "(bfloat16, batch 1)" in found.answer
    assert len(found.to_frame()) == 16 and "exponent" in found.summary() and "<table" in found._repr_html_()
    assert found.plot().get_xscale() == "log" and found.plot_share().get_ylim()[0] == 0


def test_the_interval_is_that_of_ordinary_least_squares():
    statsmodels = pytest.importorskip("statsmodels.api")
    table = passes(noise=0.1, dtypes=("float32",), batches=(1,))
    x = statsmodels.add_constant(np.log(table["flops_per_forward"]))
    expected = statsmodels.OLS(np.log(table["seconds_per_image"]), x).fit().conf_int(0.1).iloc[1]
    line = seconds_of_sizes(table).lines.iloc[0]
    assert (line.low, line.high) == pytest.approx(tuple(expected))


def test_repeated_passes_are_no_further_sizes():
    """Sizes lie off the line by 15 %: six passes of each say as little of the exponent as one does."""
    once = passes(noise=0.15, dtypes=("float32",), batches=(1,))
    again = pd.concat([once.assign(seconds_per_image=once["seconds_per_image"] * (1 + k / 1e5)) for k in range(6)])
    ends = [seconds_of_sizes(table).lines.iloc[0][["low", "high"]].tolist() for table in (once, again)]
    assert ends[1] == pytest.approx(ends[0], rel=1e-3)


def test_passes_whose_threads_are_not_known_are_kept():
    assert seconds_of_sizes(passes().assign(threads=np.nan)).lines["sizes"].tolist() == [4] * 4


def test_what_cannot_be_answered_is_refused():
    with pytest.raises(InputError, match="no column dtype"):
        seconds_of_sizes(passes().drop(columns="dtype"))
    with pytest.raises(InputError, match="nfe above 1"):
        seconds_of_sizes(passes().assign(nfe=2))
    with pytest.raises(InputError, match="three sizes"):
        seconds_of_sizes(passes()[lambda t: t["model"].isin(["c8", "c16"])])
    assert "not known" in seconds_of_sizes(passes().drop(columns="roofline_seconds")).answer


def test_the_measured_surface_of_the_paper_s_sizes():
    table = sl.read("mei-compute")
    assert {"39M", "83M", "145M", "223M"} <= set(table["model"]) and {"float32", "bfloat16"} == set(table["dtype"])
    assert table["seconds_per_image"].notna().all() and (table["roofline_seconds"] < table["seconds_per_image"]).all()
    for study in ("mei-compute", "tiny-t2i-compute"):
        found = seconds_of_sizes(study)
        assert (found.lines["seconds_ratio"] < found.lines["flops_ratio"]).all() and found.lines["high"].max() < 1


def test_real_passes_and_a_run_that_goes_on(tmp_path, capsys):
    pytest.importorskip("torch")
    from collect.profile.latency import Protocol
    from collect.run import compute_surface
    from scalinglaws.cli import main

    quick = Protocol(warmup=0, calls=1, seconds=0.0)
    (row,) = compute_surface.surface("tiny-ldm", ["c8"], [3], ["float32"], "cpu", protocol=quick)
    assert not schema.check(pd.DataFrame([row]), used=["seconds_per_image", "flops_per_forward", "roofline_seconds"])
    assert row["sampling_batch"] == 3 and row["nfe"] == 1 and row["params"] > 0
    row["seconds_per_image"] = 12.5  # as if measured earlier: it must stay
    out = tmp_path / "surface.csv"
    pd.DataFrame([row]).to_csv(out, index=False)
    again = ["collect", "compute", "tiny-ldm", str(out), "--models", "c8", "--batches", "3"]
    assert main(again) == 0
    assert pd.read_csv(out)["seconds_per_image"].tolist() == [12.5] and "1 row" in capsys.readouterr().out
    assert main(["collect", "compute", "mei", str(out), "--models", "40M"]) == 2
    assert "39M, 83M" in capsys.readouterr().err
    assert main(["collect", "compute", "mei", str(out), "--batches", "0"]) == 2
    assert main(["collect", "compute", "tiny-ldm", str(tmp_path / "a.txt"), "--models", "c8"]) == 2
    assert "neither .csv nor .parquet" in capsys.readouterr().err


def test_a_pass_without_memory_is_a_row_with_the_reason(monkeypatch):
    pytest.importorskip("torch")
    from collect.jobs import Outcome
    from collect.run import compute_surface

    def fails(*args, **kwargs):
        raise Outcome("oom", "no room for 9 bytes")

    monkeypatch.setattr(compute_surface, "measure_latency", fails)
    (row,) = compute_surface.surface("tiny-ldm", ["c8"], [1], ["float32"], "cpu")
    assert row.get("seconds_per_image") is None and row["unknown"] == "seconds_per_image: oom: no room for 9 bytes"
    with pytest.raises(InputError, match="'c7' of the family tiny-ldm can be built"):
        list(compute_surface.surface("tiny-ldm", ["c7"], [1], ["float32"], "cpu"))
    with pytest.raises(InputError, match="names no sizes"):
        list(compute_surface.surface("tiny-t2i", None, [1], ["float32"], "cpu"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_the_notebook_closes_with_the_answer(tmp_path):
    pytest.importorskip("papermill")
    passes().to_csv(tmp_path / "runs.csv", index=False)
    notebooks.report("compute_surface", {"study": str(tmp_path / "runs.csv")}, tmp_path)
    code = [c for c in nbformat.read(tmp_path / "compute_surface.ipynb", 4).cells if c.cell_type == "code"]
    assert code[-1].outputs[0].data["text/markdown"] == seconds_of_sizes(tmp_path / "runs.csv").answer


def test_readme_shows_the_measured_seconds():
    """One row a size: GFLOPs, and milliseconds, share of the roofline and gigabytes of both formats in batches of 1."""
    readme = (studies.HERE.parent / "README.md").read_text(encoding="utf-8")
    table = sl.read("mei-compute").query("sampling_batch == 1")
    for model, rows in table.groupby("model"):
        line = next(line for line in readme.splitlines() if line.startswith(f"| {model} | "))
        shown = [cell.strip() for cell in line.strip("|").split("|")]
        assert shown[1] == f"{rows['flops_per_forward'].iloc[0] / 1e9:.1f}"
        for first, dtype in ((2, "float32"), (5, "bfloat16")):
            for row in rows[rows["dtype"] == dtype].itertuples():
                share = f"{row.roofline_seconds / row.seconds_per_image:.0%}"
                memory = f"{row.peak_memory_bytes / 1e9:.1f}"
                assert shown[first : first + 3] == [f"{row.seconds_per_image * 1e3:.0f}", share, memory]
