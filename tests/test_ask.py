"""ask() where rows are few: the forecast instead of a refusal, and the next size beside every law."""

import json

import pandas as pd
import pytest
from synthetic import family

from scalinglaws.answer import ask
from scalinglaws.forecasting.forecast import forecast
from scalinglaws.largest import AVERAGE, NAIVE
from scalinglaws.schema import InputError

THREE = pd.DataFrame({"params": [1e8, 2e8, 4e8], "fid": [9.0, 6.5, 5.2]})


@pytest.mark.parametrize("column, kind", [("params", "size"), ("steps", "steps"), ("train_images", "training")])
def test_three_rows_get_an_answer_by_the_forecast(column, kind):
    table = pd.DataFrame({column: [8, 16, 32], "fid": [20.0, 14.0, 12.0]})
    reply = ask(table)
    alone = forecast(table, "fid", column, [64], kind=kind)
    assert reply.fit is None and reply.optimum is None
    assert reply.next_size.interval() == pytest.approx(alone.interval(), rel=1e-9)
    low, high = reply.next_size.interval()[0]
    assert low < reply.next_size.value[0] < high
    assert "No law was fitted: Law 'power_floor' has 3 parameters" in reply.notes[0]
    assert "With your 3 rows alone the floor could be" in reply.summary()
    record = json.loads(json.dumps(reply.record()))
    assert record["law"] is None and record["next_size"]["forecast"][0]["x"] == 64
    assert "<table" in reply._repr_html_() and "no law" in repr(reply)


def test_two_sizes_at_two_steps_are_forecast_at_the_larger():
    table = pd.DataFrame({"params": [1e8, 1e8, 2e8, 2e8], "steps": [8, 16] * 2, "fid": [20.0, 14, 12, 9]})
    reply = ask(table, "1e12 FLOPs")
    assert reply.fit is None and reply.next_at == " at steps = 16" and reply.next_size.rows == 2


def test_wrong_words_are_still_refused():
    with pytest.raises(InputError, match="cubes"):
        ask(THREE, loss="cubes")
    with pytest.raises(InputError, match="Nothing varies"):
        ask(THREE.head(1))
    trained = pd.DataFrame({"train_images": [1e6, 2e6, 4e6, 8e6, 16e6], "fid": [20.0, 14, 12, 11, 10]})
    with pytest.raises(InputError, match="runs along train_images; for a training budget see"):
        ask(trained, "1e12 FLOPs", replicates=20)


def test_the_next_size_and_the_largest_held_out_stand_beside_the_law():
    reply = ask(family(noise=0.02), "1e8", replicates=20)
    assert reply.fit is not None and reply.next_size.new[0] == 2 * reply.rows[reply.next_size.column].max()
    assert {AVERAGE, NAIVE} < set(reply.held_out["way"])
    weak = ask(family(noise=0.02), "1e8", replicates=20, use_prior=False)
    assert not weak.next_size.use_prior and reply.next_size.use_prior


def test_a_law_that_cannot_be_fitted_without_the_largest_size_is_said_and_not_compared():
    rows = pd.DataFrame({"params": [1e7, 3e7, 1e8, 3e8], "fid": [20.0, 14, 11, 9.5]})
    reply = ask(rows, replicates=20, use_prior=False)
    assert reply.held_out["way"].iloc[0] == "power (a plain power law)"
    assert any(n.startswith("The largest params is not predicted by power_floor: Law 'power_floor' has 3 parameters "
                            "but the table has 3 rows") for n in reply.notes)  # fmt: skip
    assert not any("than the law fitted without it" in warning for warning in reply.warnings)


def test_the_largest_size_is_predicted_with_errors_by_the_user_s_own_name():
    rows = pd.DataFrame({"params": [1e7, 3e7, 1e8, 3e8, 1e9], "fid50k": [20.0, 14, 11, 9.5, 9], "fid50k_se": 0.1})
    reply = ask(rows, replicates=20, use_prior=False, se="fid50k_se")
    assert reply.held_out["way"].iloc[0] == reply.fit.law.name


def test_a_bundled_study_is_forecast_by_a_prior_that_has_not_seen_it():
    reply = ask("edm2", where={"family": "EDM2 img512 no guidance"}, replicates=20)
    assert reply.next_size.leave_out == "edm2"
