"""Forecasts of short series: against brute force, laws with known parameters, and studies the prior has not seen."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import brentq
from scipy.special import logsumexp, ndtri
from scipy.stats import norm, t

from scalinglaws import studies
from scalinglaws.forecasting import prior, series, surfaces
from scalinglaws.forecasting.design import FEATURES, Design, design, evidence, mixture
from scalinglaws.forecasting.forecast import OF, Forecast, forecast, of_series, series_of
from scalinglaws.forecasting.siblings import evidence_of
from scalinglaws.schema import InputError


def rows(x, y, column="params", **more):
    return pd.DataFrame({column: x, "fid": y} | more)


def one_point(a, phi, sigma, tau, bend, law="floor"):
    shape = np.array([1.0])
    return Design(a * shape, phi * shape, sigma * shape, tau * shape, bend * shape, np.zeros((1, 1, len(FEATURES))),
                  np.zeros((1, 1)), np.array([law]))  # fmt: skip


@pytest.mark.parametrize("sigma, tau, bend", [(0.03, 0.0, 0.0), (0.02, 0.2, 0.0), (0.02, 0.0, 0.3)])
def test_the_filter_is_generalised_least_squares(sigma, tau, bend):
    """Against the dense restricted likelihood and universal kriging of the same model."""
    rng = np.random.default_rng(0)
    x = np.array([1.0, 2.0, 5.0, 9.0, 20.0])
    y, se = np.exp(rng.normal(1, 0.3, 5)), np.array([0.01, np.nan, 0.05, 0.0, 0.02])
    a, phi, new = 0.8, 0.4, np.array([35.0, 100.0])
    found = evidence(x, y, new, se, one_point(a, phi, sigma, tau, bend))
    back = np.log(20.0) - np.log(x)  # distance from the last row
    excess = (1 - phi) * (x / 20) ** -a
    log, share = np.log(phi + excess), excess / (phi + excess)
    near, far = np.minimum.outer(back, back), np.maximum.outer(back, back)
    walk = tau**2 * near + bend**2 * near**2 * (3 * far - near) / 6
    cov = share[:, None] * walk * share[None] + np.diag(sigma**2 + np.nan_to_num(se / y) ** 2)
    inverse, one = np.linalg.inv(cov), np.ones(5)
    z = np.log(y) - log
    precision = one @ inverse @ one
    mu = one @ inverse @ z / precision
    rest = z - mu
    expected = -0.5 * (np.linalg.slogdet(cov)[1] + rest @ inverse @ rest + np.log(precision))
    assert found.loglik[0, 0] == pytest.approx(expected, rel=1e-9)
    ahead = (1 - phi) * (new / 20) ** -a
    assert found.mean[:, 0, 0] == pytest.approx(mu + np.log(phi + ahead), rel=1e-9)
    gap = np.log(new / 20)
    extra = (ahead / (phi + ahead)) ** 2 * (tau**2 * gap + bend**2 * gap**3 / 3)
    assert found.variance[:, 0, 0] == pytest.approx(1 / precision + extra, rel=1e-9)


def curve(y, kind="training", sampler="ddim", model="a", x=(1.0, 2.0, 4.0, 8.0)):
    """A Series without standard errors."""
    y, column = np.asarray(y, float), {"training": "train_images", "steps": "steps"}[kind]
    settings = {"sampler": sampler, "model": model, "guidance": 1.0}
    return series.Series("mine", kind, "fid", column, "", np.asarray(x[: len(y)]), y, np.full(len(y), np.nan), settings)


def said_by(one, *siblings):
    """What siblings add to the log likelihood of a curve at the coarse design [shape, noise]."""
    alone, helped = (evidence_of(replace(one, siblings=held), [99.0], design()).loglik for held in ((), siblings))
    possible = np.isfinite(alone)
    return np.where(possible, np.where(possible, helped, 0.0) - np.where(possible, alone, 0.0), 0.0)


def test_siblings_of_one_solver_count_as_one_curve_and_share_no_floor():
    """The mean of their log likelihoods, half for one sibling and whole for more; of floors the mean likelihood."""
    points, one = design(), curve([9.0, 6.0, 5.0])
    held = [curve([9.0, 6.1, 4.4, 3.9]), curve([8.0, 7.2, 6.9, 6.6]), curve([20.0, 11.0, 5.0, 3.1])]

    def likely(sibling):
        logs = evidence(sibling.x, sibling.y, [99.0], None, points).loglik
        logs = np.maximum(logs - logs.max(), -40)
        for a in np.unique(points.a[points.law == "floor"]):
            same = (points.law == "floor") & (points.a == a)
            logs[same] = logsumexp(logs[same], 0) - np.log(same.sum())
        return logs

    first, second, third = map(likely, held)
    stranger = curve([9.0, 3.0, 1.0, 0.3], sampler="heun")
    possible = np.isfinite(evidence(one.x, one.y, [99.0], None, points).loglik)
    for siblings, wanted in (
        (held[:1], 0.5 * first), ([*held[:2], stranger], (first + second) / 2), (held, (first + second + third) / 3),
    ):  # fmt: skip
        assert said_by(one, *siblings)[possible] == pytest.approx(wanted[possible], abs=1e-4)


@pytest.mark.parametrize("y", [3 + 40 * np.arange(1, 9.0) ** -2, [9.0, 6.0, 5.0]])
def test_the_floor_of_a_sibling_is_likely_to_be_the_floor(y):
    """Student t about the floors that the sibling is forecast to have without studies, kept to a tenth of ln E.

    At the law 'the last value again' the floor is the last value, so that many curves scan its density.
    """
    near = curve(y, "steps", "heun", x=np.arange(1, 9.0))
    alone = of_series(near, [99.0], use_prior=False, fine=False)
    values = np.where(alone.law == "floor", alone.floor[:, 2], near.y[-1] * np.where(alone.law == "power", 0.01, 1.0))
    last = np.flatnonzero(design().law == "last")[0]
    for end in (1.0, 2.0, 2.8, 3.0, 3.5, 5.0, 40.0):
        density = alone.weights @ (t.pdf(np.log(end / values) / 0.3, 3) / t.pdf(0, 3))
        one = curve([100.0, 60.0, end], "steps")
        assert said_by(one, near)[last] == pytest.approx(2 * np.log(0.02 + density), abs=0.25)
    assert not said_by(one, replace(near, settings=near.settings | {"model": "b"})).any(), "another model's floor"
    assert not said_by(replace(one, kind="training"), near).any(), "along training no floor is shared"


def test_many_exact_rows_bring_the_law_back():
    x = np.geomspace(1e6, 1e9, 12)
    answer = forecast(rows(x, 2.0 + 40 * (x / 1e6) ** -0.6), "fid", "params", [1e10])
    true = 2.0 + 40 * 1e4**-0.6
    assert answer.value[0] == pytest.approx(true, rel=0.02)
    assert answer.laws()["floor"] > 0.8
    low, high = answer.floor_interval()
    assert low < 2.0 < high


@pytest.mark.parametrize("count", [2, 3, 4])
def test_few_rows_get_an_answer_and_never_an_interval_of_no_width(count):
    x = 2.0 ** np.arange(count) * 1e8
    answer = forecast(rows(x, 6 * (x / 1e8) ** -0.5), "fid", "params", [x[-1] * 2, x[-1] * 100])
    for of in OF:
        low, high = answer.interval(0.9, of).T
        assert (low < answer.value).all() and (answer.value < high).all()
    near, far = np.log(answer.interval()[:, 1] / answer.interval()[:, 0])
    assert far > 1.5 * near > 0.01  # a hundred times beyond is less certain than twice
    assert "alone the floor could be" in answer.summary()


def test_the_three_intervals_are_nested():
    frame = forecast(rows([1e8, 2e8, 4e8, 8e8], [9.0, 6.5, 5.2, 4.3]), "fid", "params", [1.6e9]).to_frame()
    widths = [np.log(frame[f"{of}_high"] / frame[f"{of}_low"])[0] for of in OF]
    assert widths[0] < widths[1] < widths[2]
    assert frame["decades_beyond"][0] == pytest.approx(np.log10(2))


@pytest.mark.parametrize("kind, variances", [
    ("training", {"curve": 0.0004, "owned": 0.0004 + 0.0009 + 0.0025, "new_model": 0.0004 + 0.0009 + 0.0016 + 0.0025}),
    ("size", {"curve": 0.0004, "owned": 0.0004 + 0.0009 / 4 + 0.0025, "new_model": 0.0004 + 0.0009 + 0.0025}),
])  # fmt: skip
def test_intervals_of_one_normal_are_its_own(kind, variances):
    """A curve known to 2 %, rows to 3 %, a quarter of it a cell's, trained models to 4 %, a new measurement to 5 %."""
    floors, many = np.random.default_rng(0).permutation(np.arange(1000.0)), np.ones(1000)
    answer = Forecast(
        replace(curve([3.0, 2.0]), kind=kind), np.array([99.0]), floors / floors.sum(), np.log(2) * many[None],
        0.02**2 * many[None], 0.03 * many, np.outer(floors, np.ones(5)), np.array(["floor"] * 1000), {}, (1.0, 1.0),
        0.04, 0.25, 0.05,
    )  # fmt: skip
    for of, variance in variances.items():
        wanted = 2 * np.exp(norm.ppf([0.1, 0.9]) * np.sqrt(variance))
        assert answer.interval(0.8, of)[0] == pytest.approx(wanted, rel=1e-9)
        wide = replace(answer, width=(1.0, 2.0)).interval(0.9, of)[0]
        assert wide == pytest.approx(2 * np.exp(2 * norm.ppf([0.05, 0.95]) * np.sqrt(variance)), rel=1e-9)
    assert answer.floor_interval(0.8) == pytest.approx(1000 * np.sqrt([0.1, 0.9]), abs=2)  # weights rise with the floor


def test_quantiles_of_a_mixture_are_those_of_its_distribution():
    weights, mean, sd = np.array([0.3, 0.7]), np.array([0.0, 2.0]), np.array([1.0, 0.4])
    for level in (0.05, 0.5, 0.9):
        exact = brentq(lambda v: weights @ norm.cdf(v, mean, sd) - level, -9, 9)  # noqa: B023
        assert mixture(weights, mean, sd, np.array([level]))[0] == pytest.approx(exact, abs=1e-9)


def test_the_feature_of_a_rise_is_its_slope_at_the_last_row():
    points, step = design(), 1e-6
    rise = points.law == "rise"
    ahead = np.log(points.phi + (1 - points.phi) * np.exp(-points.a * step))[rise] / step
    slope = points.features[rise, 0, FEATURES.index("rise_ln_slope")] * 1.5 + np.log(0.05)
    assert np.exp(slope) == pytest.approx(ahead, rel=1e-4)
    assert np.ptp(ahead.reshape(5, -1), axis=0) == pytest.approx(0, abs=1e-4), "straight, and towards four ceilings"


@pytest.mark.parametrize("points", [design(), design(fine=True)], ids=["coarse", "fine"])
def test_a_point_of_the_design_stands_for_its_cell_in_the_logs_of_its_parameters(points):
    def gap(values):
        return np.diff(np.unique(values.round(9)))[0]

    floor, (walk, bend) = points.law == "floor", (points.tau > 0, points.kappa > 0)
    phi = points.phi[floor]
    last = points.log_volume[points.law == "last"][0]
    shape = np.log(gap(np.log(points.a[floor])) * gap(np.log(phi / (1 - phi))))
    assert points.log_volume[floor] - last == pytest.approx(shape * np.ones((floor.sum(), len(last))))
    sigma, none = np.log(gap(np.log(points.sigma))), ~walk & ~bend
    assert last[none] == pytest.approx(sigma)
    assert last[walk] == pytest.approx(sigma + np.log(gap(np.log(points.tau[walk]))))
    assert last[bend] == pytest.approx(sigma + np.log(gap(np.log(points.kappa[bend]))))


def test_the_answer_does_not_depend_on_how_fine_the_design_is():
    one = curve([9.0, 6.5, 5.4, 4.3], "steps")
    coarse, fine = (of_series(one, [16.0, 64.0], use_prior=False, fine=which) for which in (False, True))
    assert coarse.laws() == pytest.approx(fine.laws(), abs=0.05)
    assert coarse.interval() == pytest.approx(fine.interval(), rel=0.08)
    assert coarse.floor_interval()[1] == pytest.approx(fine.floor_interval()[1], rel=0.08)
    other = of_series(curve([9.0, 8.9, 8.8, 8.7], "steps"), [16.0], use_prior=False)
    assert other.prior_law == fine.prior_law and other.laws() != fine.laws(), "the prior has not seen the rows"


def test_values_of_a_floor_lie_within_its_own_cell_of_the_design():
    answer = of_series(curve([9.0, 6.5, 5.4, 4.3]), [16.0], use_prior=False, fine=False)
    held = np.unique(answer.floor[answer.law == "floor"].round(12), axis=0)
    assert len(held) > 5 and (held[1:, 0] > held[:-1, -1]).all()
    shares = np.unique(design().phi[design().law == "floor"]) * 4.3
    assert np.abs(held[:, 2, None] - shares).min(1) == pytest.approx(0, abs=1e-9)


def test_two_rows_get_intervals_that_are_not_calibrated_on_more(monkeypatch):
    learned, one = replace(prior.load(), width={"training": (1.2, 1.1)}), curve([9.0, 6.5, 5.4])
    monkeypatch.setattr(prior, "load", lambda leave_out: learned)
    assert tuple(of_series(one.first(2), [16.0]).width) == (1, 1)
    assert tuple(of_series(one, [16.0]).width) == (1.2, 1.1)


def test_a_unit_of_either_axis_changes_nothing():
    x, y = np.array([1e8, 3e8, 6e8, 1e9]), np.array([9.0, 6.5, 5.2, 4.3])
    first = forecast(rows(x, y), "fid", "params", [2e9])
    second = forecast(rows(x / 1e6, y), "fid", "params", [2e3])
    third = forecast(rows(x, y * 7), "fid", "params", [2e9])
    assert second.interval() == pytest.approx(first.interval(), rel=1e-9)
    assert third.interval() == pytest.approx(7 * first.interval(), rel=1e-9)


def test_a_known_error_of_a_cell_is_used():
    x, y = np.array([1e8, 3e8, 6e8, 1e9]), np.array([9.0, 6.5, 5.4, 4.3])
    sure = forecast(rows(x, y, fid_se=1e-6), "fid", "params", [2e9])
    loose = forecast(rows(x, y, fid_se=1.0), "fid", "params", [2e9])
    assert np.ptp(np.log(loose.interval(of="curve"))) > np.ptp(np.log(sure.interval(of="curve")))


def test_a_study_is_forecast_by_a_prior_that_has_not_seen_it(published):
    held = prior._file()
    assert set(held["without"]) == {one.group for one in published}
    assert not np.allclose(prior.load("edm2").coefficients, prior.load().coefficients)
    assert prior.load("dit").width == held["width"]["imagenet-transformers"] != prior.load().width
    assert np.array_equal(prior.load("edm2-students").coefficients, prior.load("edm2").coefficients)  # relatives


@pytest.mark.parametrize("asked, wanted", [
    (("size", "fid", "ddpm"), {"size"}), (("training", "fid"), {"training"}), (("steps", "fid"), {"steps"}),
    (("steps", "fid", "DPM-Solver++"), {"steps", "fast_solver"}),
    (("steps", "kd", "DDPM"), {"steps", "stochastic_solver"}),
    (("steps", "fd", "consistency ddpm"), {"steps", "few_step"}), (("size", "is"), {"size", "score"}),
    (("training", "precision"), {"training", "share"}),
])  # fmt: skip
def test_a_question_has_the_coefficients_of_its_kind_and_solver(asked, wanted):
    flags = prior.context(*asked)
    assert {name for name, flag in zip(prior.CONTEXTS, flags, strict=True) if flag} == wanted | {"all"}
    b = np.diag(np.arange(1.0, 10.0)) @ np.ones((9, len(FEATURES)))  # of a context its number, of every feature
    one = replace(curve([3.0, 2.0]), kind=asked[0], quality=asked[1], settings={"sampler": "".join(asked[2:])})
    logs = prior.Prior(b).logs(one, design())
    total = sum(prior.CONTEXTS.index(name) + 1 for name in wanted | {"all"})
    assert logs == pytest.approx(total * design().features.sum(-1) + design().log_volume)


def test_curves_of_a_group_count_as_the_root_of_their_number():
    """Four curves of five rows, each with two metrics: of a metric the last row counts 1 / 4, all before as much."""
    held = [replace(curve([9.0, 7, 6, 5, 4], x=range(1, 6)), study=study, label=label, quality=quality)
            for study in ("dit", "sit") for label in "ab" for quality in ("fid", "is")]  # fmt: skip
    given = prior.tasks(held)
    assert [(task.seen, task.hidden) for task in given[:3]] == [(2, 2), (3, 3), (4, 4)]
    assert [task.weight for task in given] == pytest.approx([1 / 8, 1 / 8, 1 / 4] * 8)
    alone = prior.tasks([curve([9.0, 7, 6, 5, 4, 3, 2], x=range(1, 8))])
    assert [(task.seen, task.hidden) for task in alone if task.hidden == 6] == [(6, 6), (3, 6), (4, 6)]
    assert sum(task.weight for task in alone) == pytest.approx(2)


def test_a_hidden_row_is_as_likely_as_its_normal_density():
    one = replace(curve([9.0, 6.0, 5.0, 4.7]), se=np.array([np.nan, 0.3, np.nan, 0.2]))
    table = prior.tabulate([prior.Task(one, 3, 3, 1.0)], design())
    found = evidence(one.x[:3], one.y[:3], one.x[3:], one.se[:3], design())
    sd = np.sqrt(found.variance[0] + design().sigma ** 2 + (0.2 / 4.7) ** 2)
    assert table.predictive[0] == pytest.approx(norm.logpdf(np.log(4.7), found.mean[0], sd).ravel(), rel=1e-5)
    rows = (found.loglik + design().log_volume).ravel()
    assert table.loglik[0] == pytest.approx(np.maximum(rows - rows.max(), -1e6), rel=1e-5, abs=1e-3)


def test_conformal_factors_give_intervals_their_level():
    """Errors twice as large as the intervals take them for, in twenty groups; one group alone moves little."""
    rng = np.random.default_rng(0)
    error = np.abs(2 * rng.standard_normal(4000))
    rows = [(str(i % 20), (e / 0.6745, e / 1.6449)) for i, e in enumerate(error)]
    assert prior.conformal(rows) == pytest.approx([2 ** (20 / 22)] * 2, rel=0.03)
    assert prior.conformal([("a", ratios) for _, ratios in rows]) == pytest.approx([2 ** (1 / 3)] * 2, rel=0.03)
    assert prior.conformal([]) == (1, 1)
    # groups weigh as the root of their number: 4 + 3 + 2, of which the small ratios are less than half
    uneven = [("a", (0.5, 0.5))] * 16 + [("b", (2.0, 2.0))] * 9 + [("c", (2.0, 2.0))] * 4
    assert prior.conformal(uneven) == pytest.approx([2 ** (3 / 5)] * 2, abs=1e-3)
    assert prior.conformal([("a", (0.5, 1.5))]) == (1, pytest.approx(1.5 ** (1 / 3), abs=1e-3)), "never narrowed"


@pytest.mark.parametrize("truth", [5.6, 3.9])
def test_widths_are_those_that_a_missed_forecast_would_have_needed(truth):
    one = replace(curve([9.0, 6.0, 5.0, truth]), se=np.array([np.nan, np.nan, np.nan, 0.02 * truth]))
    found = prior.widths([prior.Task(one, 3, 3, 1.0)], {"mine": prior.initial()}, design())
    answer = of_series(one.first(3), one.x[3:], use_prior=False, fine=False)
    low, first, middle, third, high = np.log(answer.quantiles((0.05, 0.25, 0.5, 0.75, 0.95), cell_error=0.02)[0])
    limits = (third, high) if np.log(truth) > middle else (first, low)
    ratios = [(np.log(truth) - middle) / (limit - middle) for limit in limits]
    assert found["all"]["training"] == pytest.approx(np.clip(ratios, 1.0, 2.5) ** (1 / 3), abs=2e-3)
    assert found["mine"]["training"] == (1, 1), "what it has seen itself is left out"


def test_quantiles_are_widened_by_level_and_stay_in_order():
    levels = np.array([0.001, 0.05, 0.25, 0.5, 0.75, 0.95, 0.999])
    assert prior.calibrated(levels, (0.5, 1.2)) == pytest.approx([1.2, 1.2, 0.5, 1, 0.5, 1.2, 1.2])
    fine = np.linspace(0.01, 0.99, 99)
    assert (np.diff(prior.calibrated(fine, (1.3, 0.7)) * ndtri(fine)) >= 0).all()


def test_a_guidance_strength_leans_on_the_last_one_and_stays_at_none_or_above():
    size = 2.0 ** np.arange(6)
    same = forecast(rows(size, [1.4, 1.5, 1.4, 1.45, 1.4, 1.4]).rename(columns={"fid": "guidance"}), "guidance",
                    "params", [64])  # fmt: skip
    assert same.prior_law["last"] == pytest.approx(0.5) and same.value[0] == pytest.approx(1.4, rel=0.02)
    falls = forecast(rows(size, [3.0, 2.2, 1.7, 1.3, 1.1, 1.0]).rename(columns={"fid": "guidance"}), "guidance",
                     "params", [64])  # fmt: skip
    assert falls.value[0] >= 1 and falls.interval()[0, 0] >= 1 and np.ptp(falls.interval()) > 0


def test_the_sixth_size_of_edm2():
    """fitting.md: with a floor a held-out next size is predicted to 0.3 to 4 %; the same again is off by 2.6 %."""
    x, y = [46, 102, 181, 282, 406], [3.53, 2.56, 2.25, 2.06, 1.96]
    answer = forecast(rows(x, y, "gflops_per_forward"), "fid", "gflops_per_forward", [552], leave_out="edm2")
    assert answer.value[0] == pytest.approx(1.91, rel=0.025)
    assert answer.interval(of="new_model")[0, 0] < 1.91 < answer.interval(of="new_model")[0, 1]


def test_what_cannot_be_forecast_is_a_sentence():
    with pytest.raises(InputError, match="2 rows or more"):
        forecast(rows([1e8], [3.0]), "fid", "params", [1e9])
    with pytest.raises(InputError, match="beyond the rows"):
        forecast(rows([1e8, 2e8], [3.0, 2.0]), "fid", "params", [1e7])
    with pytest.raises(InputError, match="repeated values"):
        forecast(rows([1e8, 1e8], [3.0, 2.0]), "fid", "params", [1e9])
    with pytest.raises(InputError, match="A forecast needs a pandas DataFrame; got dict"):
        forecast({"params": [1e8, 2e8], "fid": [3.0, 2.0]}, "fid", "params", [1e9])
    with pytest.raises(InputError, match="No interval named"):
        forecast(rows([1e8, 2e8], [3.0, 2.0]), "fid", "params", [1e9]).interval(of="everything")


def test_repeats_are_averaged_geometrically_and_their_spread_is_the_error():
    x, y = [1e8, 1e8, 2e8, 2e8, 4e8], np.array([9.0, 9.9, 6.0, 6.6, 5.0])
    one = series_of(rows(x, y, seed=[0, 1, 0, 1, 0]), "fid", "params")
    assert one.y == pytest.approx([np.sqrt(9.0 * 9.9), np.sqrt(6.0 * 6.6), 5.0])
    between = np.log(1.1) / np.sqrt(2)  # the standard deviation of each pair, and so of the pool
    assert one.se / one.y == pytest.approx(between / np.sqrt([2, 2, 1]))
    assert forecast(rows(x, y, seed=[0, 1, 0, 1, 0]), "fid", "params", [8e8]).interval()[0, 0] > 3
    with pytest.raises(InputError, match="repeated values, and they differ in guidance"):
        series_of(rows(x, y, seed=[0, 1, 0, 1, 0], guidance=[1, 2, 1, 1, 1]), "fid", "params")


def test_series_average_repeats_as_a_forecast_does():
    """Four seeds of sampling a size: their geometric mean, and its error."""
    x, shocks = np.repeat([1e6, 1e7, 1e8], 4), 0.1 * np.random.default_rng(5).standard_normal(12)
    table = rows(x, 20 * x**-0.1 * np.exp(shocks), seed=np.tile(range(4), 3))
    (one,), whole = series.from_table(table.sample(frac=1, random_state=0), "mine"), series_of(table, "fid", "params")
    assert one.y == pytest.approx(whole.y) and one.se == pytest.approx(whole.se)
    assert one.y == pytest.approx(20 * one.x**-0.1 * np.exp(shocks.reshape(3, 4).mean(1)))


def test_guidances_that_were_tried_are_no_strengths_that_were_chosen():
    tried = pd.DataFrame([(n, w, 10 + (w - 2) ** 2) for n, first in ((1e6, 1), (1e7, 2), (1e8, 3)) for w in (first, 4)],
                         columns=["params", "guidance", "fid"])  # fmt: skip
    assert [one for one in series.best_guidance(tried, "mine") if one.asked == "guidance strength"] == []
    chosen = tried.drop_duplicates("params")  # one printed for each model
    strengths = [one for one in series.best_guidance(chosen, "mine") if one.asked == "guidance strength"]
    assert [one.y.tolist() for one in strengths] == [[1.0, 2.0, 3.0]]


def test_a_new_measurement_is_as_uncertain_as_one_repeat_not_as_their_mean():
    """Sixteen trainings a size that scatter by 20 %: the next one scatters by 20 %, not by 20 % / 4."""
    x, shocks = np.geomspace(1e6, 1e8, 5), 0.2 * np.random.default_rng(3).standard_normal((5, 16))
    y = (2 + 3e3 * x**-0.45)[:, None] * np.exp(shocks)
    table = rows(np.repeat(x, 16), y.ravel(), train_seed=np.tile(np.arange(16), 5))
    answer, between = forecast(table, "fid", "params", [3e8]), np.sqrt(shocks.var(axis=1, ddof=1).mean())
    assert answer.cell_error == pytest.approx(between)
    assert np.ptp(np.log(answer.interval(0.9, "new_model"))) > 2 * norm.ppf(0.95) * between


def test_repeats_that_agree_keep_the_standard_errors_of_their_rows():
    """Of two rows with errors of 10 and 20 %: the root mean square over the square root of two."""
    x, se = [1e8, 1e8, 2e8, 2e8, 4e8], [0.9, 1.8, 0.6, 1.2, 0.5]
    one = series_of(rows(x, [9.0, 9.0, 6.0, 6.0, 5.0], seed=[0, 1, 0, 1, 0], fid_se=se), "fid", "params")
    pair = np.sqrt((0.1**2 + 0.2**2) / 2 / 2)
    assert one.se / one.y == pytest.approx([pair, pair, 0.1])


def test_a_new_row_is_as_uncertain_as_the_rows_seen():
    x, y = np.array([1e8, 3e8, 6e8, 1e9]), np.array([9.0, 6.5, 5.4, 4.3])
    answer = forecast(rows(x, y, fid_se=[0.9, 1.3, 1.08, 0.43]), "fid", "params", [2e9])  # 10, 20, 20, 10 %
    assert answer.cell_error == pytest.approx(0.15)
    for of in ("owned", "new_model"):
        exact = answer.quantiles((0.05, 0.95), of, cell_error=0.0)
        assert np.ptp(np.log(answer.interval(of=of))) > 1.2 * np.ptp(np.log(exact))
    assert np.array_equal(answer.interval(of="curve"), answer.quantiles((0.05, 0.95), "curve", cell_error=0.0))


def test_a_quality_that_rises_is_forecast_to_rise_and_a_share_stays_below_one():
    table = pd.DataFrame({"params": [1e8, 2e8, 4e8, 8e8], "precision": [0.5, 0.62, 0.74, 0.86]})
    answer = forecast(table, "precision", "params", [1.6e9, 1.6e10])
    assert answer.value[0] > 0.86 and answer.interval().max() <= 1
    sentence = answer.prior_sentence()
    assert "precision at params = 1.6e+09 could be" in sentence and "floor" not in sentence


def test_a_bundled_study_is_known_by_its_column_and_left_out():
    table = rows([46, 102, 181, 282], [3.53, 2.56, 2.25, 2.06], "gflops_per_forward")
    seen = forecast(table, "fid", "gflops_per_forward", [406])
    unseen = forecast(table.assign(study="edm2-students"), "fid", "gflops_per_forward", [406])
    named = forecast(table, "fid", "gflops_per_forward", [406], leave_out="edm2")
    assert np.array_equal(unseen.interval(), named.interval()) and not np.array_equal(seen.interval(), named.interval())


def test_a_forecast_in_five_views_and_json():
    plt = pytest.importorskip("matplotlib.pyplot")
    answer = forecast(rows([1e8, 2e8, 4e8], [9.0, 6.5, 5.2]), "fid", "params", [8e8])
    assert repr(answer).startswith("<Forecast: fid 4.") and "at params = 8e+08, from 3 rows>" in repr(answer)
    assert "<table" in answer._repr_html_() and "With your 3 rows alone" in answer._repr_html_()
    record = json.loads(json.dumps(answer.record()))
    assert record["forecast"][0]["x"] == 8e8 and sum(record["laws"].values()) == pytest.approx(1)
    ax = answer.plot()
    assert ax.get_xlabel() == "params" and "rows seen" in [t.get_text() for t in ax.get_legend().get_texts()]
    plt.close(ax.figure)


def test_the_learned_gradient_is_right(monkeypatch):
    """The analytic gradient of the prior's score against differences, on a few tasks."""
    from scipy.optimize import check_grad

    points = design()
    given = prior.tasks(series.questions(studies.load("edm2"), "edm2"))[:12]
    table = prior.tabulate(given, points)
    seen = {}

    def spy(function, start, **options):
        seen["f"], seen["x"] = function, start
        return type("Found", (), {"x": start})()

    monkeypatch.setattr("scipy.optimize.minimize", spy)
    prior.learn(table, points)
    start = seen["x"] + 0.1 * np.random.default_rng(0).standard_normal(len(seen["x"]))
    value = seen["f"](start)[1]
    error = check_grad(lambda v: seen["f"](v)[0], lambda v: seen["f"](v)[1], start, epsilon=1e-3)
    assert error < 0.02 * np.linalg.norm(value) + 0.02


def test_why_a_cost_is_missing_parts_no_series():
    sizes = np.geomspace(1e8, 1e9, 5)
    table = pd.DataFrame({"model": list("abcde"), "params": sizes, "fid": 3 + 100 * sizes**-0.2, "sampler": "ddim"})
    whole = series.from_table(table, "mine")
    noted = series.from_table(table.assign(unknown=["joules: no meter", *["seconds: shared machine"] * 4]), "mine")
    assert [len(one) for one in noted] == [len(one) for one in whole] == [5]


def test_steps_of_any_column_are_a_curve():
    for column in ("steps", "nfe", "ar_steps"):
        table = pd.DataFrame({"family": "f", "model": "a", "params": 1e6, column: [4, 8, 16], "fid": [9.0, 7, 6]})
        assert [(s.kind, s.column, len(s)) for s in series.from_table(table, "mine")] == [("steps", column, 3)]


def test_series_of_a_table():
    table = pd.DataFrame({"family": "f", "model": ["a", "b", "c"] * 2, "params": [1e6, 2e6, 4e6] * 2,
                          "steps": [8] * 3 + [16] * 3, "fid": [9.0, 7, 6, 5, 4, 3]})  # fmt: skip
    found = series.from_table(table, "mine")
    assert [(s.kind, len(s), s.label) for s in found] == [("size", 3, "8"), ("size", 3, "16")]
    seen, new, truth = series.hidden_largest(found[1])
    assert (len(seen), new, truth) == (2, 4e6, 3)
    assert of_series(seen, [new]).interval(of="new_model")[0, 0] > 0
    surface = surfaces.from_series(found)[0]
    assert surface.y.tolist() == [[9, 5], [7, 4], [6, 3]]  # [size, step]
    assert surface.cost.tolist() == [[8e6, 16e6], [16e6, 32e6], [32e6, 64e6]]


def grid_of(size, steps, **more):
    """A table of fid = 8 / size + 8 / steps, a row for each of both."""
    cells = [(n, s) for s in steps for n in size]
    return pd.DataFrame({"family": "f", "model": [f"m{n}" for n, _ in cells], "params": [n * 1e6 for n, _ in cells],
                         "steps": [s for _, s in cells], "fid": [8 / n + 8 / s for n, s in cells]} | more)  # fmt: skip


def test_models_trained_for_several_lengths_are_a_surface_for_each():
    """Else steps 4, 4, 8, 8, 16, 16: half of the values are of other models."""
    table = pd.concat([grid_of((1, 2, 4), (4, 8, 16)).assign(train_steps=t, fid=lambda f, t=t: f["fid"] + 3000 / t)
                       for t in (1000, 2000)])  # fmt: skip
    found = surfaces.from_series(series.from_table(table, "mine"))
    assert [one.label for one in found] == ["train_steps=1000", "train_steps=2000"]
    assert all(one.steps.tolist() == [4, 8, 16] for one in found)
    for one, more in zip(found, (3, 1.5), strict=True):
        assert one.y == pytest.approx(more + np.add.outer(8 / np.array([1, 2, 4]), 8 / one.steps))


def test_what_is_a_surface():
    """Rising steps and the same sizes, three or more, in one setting and one quality that falls; two slices or more."""
    shuffled = series.from_table(grid_of((1, 2, 4), (16, 4, 8)), "mine")
    (one,) = surfaces.from_series(shuffled)
    assert one.steps.tolist() == [4, 8, 16] and one.y[0] == pytest.approx([10, 9, 8.5]) and one.along == "steps"
    more = grid_of((1, 2, 4), (4, 8, 16)).assign(sampler="heun", guidance=2.0, fid=lambda t: t["fid"] + 1)
    both = pd.concat([grid_of((1, 2, 4), (4, 8)).assign(sampler="ddim"), more])
    both["is"] = 100 - both["fid"]  # rises
    found = surfaces.from_series(series.from_table(both.assign(kd=both["fid"] / 10), "mine"))
    assert {(one.label, one.quality): one.y[0, 0] for one in found} == pytest.approx(
        {("ddim", "fid"): 10, ("ddim", "kd"): 1, ("heun, guidance=2", "fid"): 11, ("heun, guidance=2", "kd"): 1.1}
    )
    assert {surface.name for surface in (one, *found)} == {"steps", "ddim, steps", "heun, guidance=2, steps"}
    alone = pd.concat([grid_of((1, 2, 4), (4,)), grid_of((1, 2), (8,))])
    for table in (grid_of((1, 2), (4, 8)), alone):
        assert surfaces.from_series(series.from_table(table, "mine", least=2)) == []
    ragged = pd.concat([grid_of((1, 2, 4), (4, 8)), grid_of((1, 2), (16,))])
    assert [one.steps.tolist() for one in surfaces.from_series(series.from_table(ragged, "mine", least=2))] == [[4, 8]]
    other = pd.concat([grid_of((1, 2, 4), (4, 8)), grid_of((1, 2, 8), (16,))])
    assert surfaces.from_series(series.from_table(other, "mine")) == []


def test_the_best_of_several_guidances_is_no_surface():
    """Its values are of another guidance at each size: only what was measured at one is."""
    rows = [grid_of((1, 2, 4, 8), (4, 8, 16)).assign(guidance=w, fid=lambda t, w=w: t["fid"] + 4 * np.log(w / 2) ** 2)
            for w in (1.0, 1.5, 2.0, 3.0, 4.5)]  # fmt: skip
    found = series.questions(pd.concat(rows), "mine")
    assert {one.asked for one in found if one.kind == "size"} > {""}
    labels = [one.label for one in surfaces.from_series(found)]
    assert labels == ["guidance=1", "guidance=1.5", "guidance=2", "guidance=3", "guidance=4.5"]


SIDE = np.array([1.0, 2, 4])
SURFACE = surfaces.Surface("mine", "", "fid", "steps", SIDE, SIDE, np.array([[8.0, 4, 2], [7, 3, 1.5], [4, 5, 1]]),
                           np.outer(SIDE, SIDE), ())  # fmt: skip


def test_the_best_affordable_steps_of_a_surface_by_hand():
    """Of size 1 (8 / steps) 3 steps, of size 2 one and a half, of size 4 none; at 8 its 2 steps are worse than 1."""
    half = np.log(7) + np.log(1.5) / np.log(2) * np.log(3 / 7)
    assert surfaces.best_affordable(SURFACE, SURFACE.y, 3.0) == pytest.approx([np.log(8 / 3), half, np.inf])
    assert surfaces.best_affordable(SURFACE, SURFACE.y, 8.0) == pytest.approx(np.log([2, 1.5, 4]))
    assert surfaces.best_affordable(SURFACE, SURFACE.y, 1.0)[0] == np.log(8), "a budget of the cheapest cell buys it"


def test_the_regret_of_decisions_on_a_surface_by_hand():
    """With all of 16 to spend the sizes reach 2, 1.5 and 1; with 1.5 there is size 1 alone."""
    lost = surfaces.regret(SURFACE, {"right": SURFACE.y[-1], "low": np.full(3, 9.0)})
    assert lost.index[[0, -1]].tolist() == pytest.approx([1.5, 16])
    wanted = {"right": 0.0, "low": 0.5, "largest affordable": 0.0, "smallest": 1.0}
    assert lost.iloc[-1].to_dict() == pytest.approx(wanted) and (lost.iloc[0] == 0).all()
    assert lost.loc[lost.index < 8, "largest affordable"].max() > 0.2, "size 4 too early"
