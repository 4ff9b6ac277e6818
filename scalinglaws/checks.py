"""Checks by statsmodels: a table of the parameters, the straight line in logarithms, the residuals, lack of fit.

Everything here describes the least-squares fit of the same rows, for which the tests are made.
"""

from dataclasses import asdict, dataclass

import numpy as np
import statsmodels.api as sm
from scipy.special import fdtrc, fdtri
from statsmodels.iolib.table import SimpleTable
from statsmodels.stats.diagnostic import het_breuschpagan, linear_reset
from statsmodels.stats.outliers_influence import OLSInfluence

from scalinglaws.fitting import Fit
from scalinglaws.fitting.api import refit
from scalinglaws.schema import InputError

DOUBT = 0.05  # p-value below which a check has failed
MANY = 100_000  # rows beyond which the influence of single rows is not computed
NAMED = 5  # rows named in one sentence


@dataclass(frozen=True)
class Line:
    """Ordinary (or weighted) least squares of ln quality on the logarithms of the inputs."""

    slopes: dict[str, float]  # symbol: d ln quality / d ln input
    errors: dict[str, float]  # their standard errors
    r_squared: float
    reset_p: float  # p-value of Ramsey's RESET (1969): is the line straight?
    exponents: dict[str, float] | None  # the same slopes by the fitted law, if it is one power term


@dataclass(frozen=True)
class Residuals:
    """Of the least-squares fit, in the tangent plane of the law."""

    uneven_p: float  # p-value of Breusch and Pagan (1979), Koenker's form: does the noise change along the curve?
    grows: bool  # with the fitted value; else it falls
    cook: np.ndarray  # [row], Cook's distance (1977)
    limit: float  # median of F(p, n - p), Cook's own measure of a row that decides

    @property
    def decisive(self) -> np.ndarray:
        """Positions of the rows beyond the limit, worst first."""
        order = np.argsort(-self.cook)
        return order[self.cook[order] > self.limit]


@dataclass(frozen=True)
class LackOfFit:
    """Does the curve miss the means of repeated rows by more than they scatter? Draper and Smith 1998, chapter 2."""

    f: float
    p: float
    configurations: int  # different inputs
    repeats: int  # degrees of freedom of the pure error
    pure: float  # standard deviation of repeated rows, on the scale of the residuals


@dataclass(frozen=True)
class Checks:
    """Results of the checks; summary() puts them in sentences."""

    table: SimpleTable
    line: Line | None  # None where quality or inputs have no logarithm
    residuals: Residuals | None
    lack: LackOfFit | None  # None without repeated rows, or without more configurations than parameters
    sentences: tuple[str, ...]

    def summary(self) -> str:
        return "\n".join([self.table.as_text(), *self.sentences])

    def data(self) -> dict:
        """For JSON."""
        numbers = {name: part and asdict(part) for name, part in (("line", self.line), ("lack_of_fit", self.lack))}
        if self.residuals:
            numbers["uneven_noise_p"] = self.residuals.uneven_p
            numbers["decisive_rows"] = self.residuals.decisive.tolist()
        return numbers | {"sentences": list(self.sentences)}


def checks(fit: Fit, level: float = 0.9) -> Checks:
    """Every check of a fit."""
    plain = fit if fit.loss == "squares" else refit(fit, loss="squares")
    line, rest, lack = straight_line(plain), residuals(plain), lack_of_fit(plain)
    head = () if plain is fit else ("The checks are of the least-squares fit of the same rows.",)
    sentences = (*head, *_of_line(plain, line), *_of_residuals(plain, rest), *_of_lack(lack))
    return Checks(summary_table(fit, level), line, rest, lack, sentences)


def summary_table(fit: Fit, level: float = 0.9) -> SimpleTable:
    """Parameter, estimate, standard error (delta method) and bootstrap interval; as_text, as_html, as_latex_tabular.

    InputError for a level that is not between 0 and 1.
    """
    if not 0 < level < 1:
        raise InputError(f"level must lie between 0 and 1; got {level!r}.")
    rows = [[f"{v:.6g}" for v in (row["value"], fit.standard_errors[name], row["low"], row["high"])]
            for name, row in fit.interval(level).iterrows()]  # fmt: skip
    tail = (1 - level) / 2
    title = f"{fit.law.name}: {fit.quality} = {fit.law.equation}, {fit.rows} rows, noise {fit.noise:.3g}"
    return SimpleTable(rows, ["estimate", "std err", f"[{tail:.3g}", f"{1 - tail:.3g}]"], list(fit.law.params), title)


def straight_line(fit: Fit) -> Line | None:
    """The line through the logarithms, and whether it is curved (then a plain power law is not enough)."""
    data, symbols = fit.problem.data, fit.law.measures
    if fit.law.signed or fit.law.groups or (data.y <= 0).any() or len(data.y) < len(symbols) + 3:
        return None
    design = np.column_stack([np.ones(len(data.y)), *(np.log(data.x[s]) for s in symbols)])
    ols = sm.WLS(np.log(data.y), design, weights=_weights(fit)).fit()
    reset_p = linear_reset(ols, power=2, use_f=True).pvalue if ols.df_resid > 1 else np.nan
    slopes, errors = (dict(zip(symbols, map(float, v[1:]), strict=True)) for v in (ols.params, ols.bse))
    exponents = None
    if len(fit.law.terms) == 1:
        exponents = {symbol: sign * fit.values[name] for name, symbol, sign in fit.law.terms[0].powers}
    return Line(slopes, errors, float(ols.rsquared), float(reset_p), exponents)


def _weights(fit) -> np.ndarray:
    """[row] of squared residuals."""
    data, one = fit.problem.data, np.ones(len(fit.problem.data.y))
    return (one if data.weight is None else data.weight) / (one if data.sigma is None else data.sigma) ** 2


def residuals(fit: Fit) -> Residuals | None:
    """Uneven noise and rows that decide, from the law's tangent plane at the least-squares fit."""
    count, spare = len(fit.law.params), fit.rows - len(fit.law.params)
    if spare < 2 or fit.rows > MANY:
        return None
    weight = fit.problem.data.weight
    z = fit.residuals if weight is None else fit.residuals * np.sqrt(weight)
    if (z**2).sum() <= 1e-24 * fit.rows:  # no noise to look at
        return None
    curve = fit.curve(fit.problem.data.x)
    along = np.log(curve) if (curve > 0).all() else curve
    with np.errstate(all="ignore"):
        jacobian = fit.problem.jacobian(fit.minima.theta[0])
        cook = OLSInfluence(sm.OLS(z, jacobian / np.linalg.norm(jacobian, axis=0)).fit()).cooks_distance[0]
    uneven_p = het_breuschpagan(z, sm.add_constant(along))[1] if np.ptp(along) > 0 else np.nan
    grows = bool(np.corrcoef(along, z**2)[0, 1] > 0) if np.ptp(along) > 0 else False
    return Residuals(float(uneven_p), grows, np.nan_to_num(cook), float(fdtri(count, spare, 0.5)))


def lack_of_fit(fit: Fit) -> LackOfFit | None:
    """F test of the law against the means of rows with equal inputs, whose scatter is the pure error."""
    weight, z = _weights(fit), fit.problem.objective.residuals(fit.minima.theta[0][None])[0]
    inputs = np.column_stack(list(fit.problem.data.x.values()))
    group = np.unique(inputs, axis=0, return_inverse=True)[1].reshape(-1)
    many = int(group.max()) + 1
    spare, repeats = many - len(fit.law.params), len(z) - many
    if spare < 1 or repeats < 1:
        return None
    mean = np.bincount(group, weight * z) / np.bincount(group, weight)
    pure, total = (weight * (z - mean[group]) ** 2).sum() / repeats, (weight * z**2).sum()
    f = (total - pure * repeats) / spare / max(pure, 1e-300)
    return LackOfFit(float(f), float(fdtrc(spare, repeats, max(f, 0.0))), many, repeats, float(np.sqrt(pure)))


def _of_line(fit, line):
    if line is None:
        return
    slopes = ", ".join(f"{s} {line.slopes[s]:.4g} (se {line.errors[s]:.2g})" for s in line.slopes)
    yield f"Straight line in logarithms: slopes {slopes}; R² {line.r_squared:.4f}."
    if line.exponents and fit.residual_scale == "log":
        gap = max(abs(line.slopes[s] - line.exponents[s]) for s in line.slopes)
        word = "the same as" if gap <= 1e-6 * max(1.0, *map(abs, line.slopes.values())) else "not"
        yield f"Its slopes are {word} the fitted exponents (largest difference {gap:.1e})."
    if line.reset_p < DOUBT:
        yield f"The line is curved (RESET, p = {line.reset_p:.2g}): a plain power law is not enough for these rows."
    elif np.isfinite(line.reset_p):
        yield f"No curvature is seen (RESET, p = {line.reset_p:.2g}): a plain power law describes these rows as well."


def _of_residuals(fit, rest):
    if rest is None:
        return
    if rest.uneven_p < DOUBT:
        way = "grows" if rest.grows else "falls"
        yield (f"The noise is uneven: it {way} with the fitted value (Breusch-Pagan, p = {rest.uneven_p:.2g}); give "
               "standard errors (se=) or weights.")  # fmt: skip
    elif np.isfinite(rest.uneven_p):
        yield f"The noise is even along the curve (Breusch-Pagan, p = {rest.uneven_p:.2g})."
    rows = rest.decisive
    for k in rows[:NAMED]:
        at = ", ".join(f"{column} = {fit.table[column].iloc[k]}" for column in fit.inputs.values())
        yield (f"Row {k + 1} ({at}) decides the fit: Cook's distance {rest.cook[k]:.3g} (limit {rest.limit:.2g}); "
               "measure it again.")  # fmt: skip
    if len(rows) > NAMED:
        yield f"{len(rows) - NAMED} more rows decide."
    if not len(rows):
        yield f"No single row decides: the largest Cook's distance is {rest.cook.max():.2g} (limit {rest.limit:.2g})."


def _of_lack(lack):
    if lack is None:
        yield "Lack of fit cannot be tested: it needs repeated rows and more configurations than parameters."
        return
    numbers = (f"F = {lack.f:.3g}, p = {lack.p:.2g}, pure error {lack.pure:.3g} from {lack.repeats} repeats of "
            f"{lack.configurations} configurations")  # fmt: skip
    if lack.p < DOUBT:
        yield f"Lack of fit: the law misses repeated rows by more than they scatter ({numbers})."
    else:
        yield f"No lack of fit is seen ({numbers})."
