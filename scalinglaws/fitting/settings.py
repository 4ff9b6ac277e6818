"""Every numeric constant of the fitting core, one frozen table a stage: name, value, unit and why it has that value.

"Relative" means relative to the objective; "e-folds" are natural logarithms; "internal" is explained in coordinates.py.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Solver:
    """Damped Newton steps (solver.py). mu is the damping: 0 is Newton, 1 Gauss-Newton, above 1 Marquardt's."""

    iterations: int = 300  # trial steps of one member; a warm fit takes about 14
    stall_tolerance: float = 1e-11  # relative; an accepted step that gains less has stalled
    max_stalls: int = 4  # stalled steps in a row; flat valleys often stall once or twice and then move on
    gain_tolerance: float = 1e-2  # of a stalled step's gain; a Newton step that promises less has converged
    smallest_gain: float = 1e-30  # objective; an exact fit has no relative scale
    max_rejections: int = 40  # steps in a row; 0.25^40 is below rounding
    backtrack: float = 0.25  # factor on the step's length after a rejection
    extend: float = 2.0  # factor on the step's length after a success along negative curvature
    max_extension: float = 256.0  # times the Newton step, the longest such step
    mu_start: float = 1.0  # far from the minimum Gauss-Newton of the majoriser never rises to second order
    mu_restart: float = 0.1  # for members that already came near
    mu_accept: float = 0.1  # factor after a full step that was accepted
    mu_zero: float = 1e-3  # below this mu is 0: exact Newton, quadratic convergence
    mu_reject: float = 3.0  # factor after a rejection
    mu_reject_least: float = 0.5  # mu after the first rejection of an exact Newton step
    mu_most: float = 1e8  # more damping than this moves nothing
    mu_indefinite: float = 4.0  # factor where the damped Hessian is not positive definite
    mu_recompute: float = 1e3  # above this an indefinite Hessian is not computed again: the diagonal rules it
    polish_step: float = 1e-3  # internal units; a last Newton step this short is taken without a trial
    pivot: float = 1e-14  # of a matrix with unit diagonal; smaller pivots count as negative curvature
    lapack_pivot: float = 1e-7  # square root of that: the Cholesky factor's diagonal
    lapack_members: int = 32  # members up to which LAPACK is quicker than loops over parameters


@dataclass(frozen=True)
class Batch:
    """Cutting work into batches that live in the cache (batching.py)."""

    numbers: int = 65_536  # members x rows of one array: 0.5 MB, several of which fit a core's second-level cache
    least: int = 8  # members of a batch, however many rows
    alone: int = 16_384  # members x rows from which a group of its own makes a batch that is large enough
    slice_power: int = 32_768  # rows of one slice of a sum of powers: a million rows never become one Jacobian
    slice_autodiff: int = 8_192  # rows of one slice of a law given as a function: more intermediate arrays


@dataclass(frozen=True)
class Box:
    """Bounds and longest steps in internal coordinates (coordinates.py)."""

    floor: float = 18.0  # e-folds below the smallest value (1.5e-8 of it): a floor there counts as zero
    coefficient: float = 200.0  # e-folds beyond the data's range, where exp() is still finite
    logarithm: float = 600.0  # e-folds, the largest logarithm of a positive parameter
    step_logarithm: float = 5.0  # e-folds, the longest step of a positive parameter
    step_bounded: float = 2.0  # the longest step of a parameter with two bounds, such as an exponent


@dataclass(frozen=True)
class Multistart:
    """Initial guesses, iteration budgets and the choice of Huber's delta (multistart.py, guesses.py)."""

    huber: float = 1.345  # delta in robust standard deviations: 95 % efficient for normal noise (Huber 1981)
    smallest_delta: float = 1e-7  # residual; below this the noise is rounding
    budget: int = 50  # iterations of every start, and of each further round
    total: int = 200  # further iterations of starts that are slow but near the best
    stall: float = 1e-7  # relative gain of a round below which a start moves too slowly along a flat valley and ends
    near: float = 2.0  # times the best objective: which starts go on
    single_iterations: int = 2_000  # where the user gives the one start
    single_damping: tuple = (1e-2, 0.3, 1.0, 5.0, 30.0, 1e3, 1e5, 1e7)  # mu of its copies, which take different ways
    subsample: int = 2_048  # rows from which guesses are made
    thin: int = 8  # with more than thin x subsample rows, starts first converge on that many of them
    thin_near: float = 1.5  # times the best objective on those rows: which minima go on with all rows
    grid: tuple = (1, 64, 24, 11, 6)  # points of each exponent's axis, by number of exponents: 64 to 1,331 in all
    draws: int = 2_000  # random points beyond four exponents, and of a law given as a function
    least_draws: int = 200
    draw_numbers: int = 400_000  # draws x rows
    lowest_exponent: float = 0.03  # of falling terms: slower ones look constant over six decades
    highest_exponent: float = 6.0
    free_exponent: float = 1.5  # exponents of either sign: from minus to plus this
    distance: float = 0.04  # of the grid's range, between two initial guesses
    shortlist: int = 40  # best grid points looked at for each guess
    sweeps: int = 30  # of coordinate descent for coefficients that are not negative
    ridge: float = 1e-12  # of a Gram matrix with unit diagonal
    smallest_coefficient: float = 1e-3  # of the smallest value, where a coefficient would be zero


@dataclass(frozen=True)
class Bootstrap:
    """Replicates (bootstrap.py)."""

    few: int = 100  # configurations below which auto pools residuals or draws pairs
    iterations: int = 60  # of a refit, which starts at the fit
    stall_tolerance: float = 1e-9  # relative; a hundredth of a standard error at most
    student_most: float = 12.0  # cap of sqrt(dof / chi²), reached with one or two degrees of freedom
    block: int = 4_000_000  # numbers of resampled rows held at once: 32 MB
    redraws: int = 100  # times a draw of too few different configurations is repeated
    stream: int = 7_919  # second seed, so that replicates are independent of the initial guesses
    noise_stream: int = 104_729  # and of the noise of new measurements


@dataclass(frozen=True)
class Profile:
    """Profile intervals (profile.py)."""

    iterations: int = 100  # of a refit with one parameter held, from nearby
    rounds: int = 40  # of widening and of narrowing
    flat: float = 1e-24  # variance of a parameter that the tangent plane does not see
    unknown: float = 0.1  # internal units, where such a parameter's search begins
    farthest: float = 1e3  # internal units, beyond which an end is not looked for
    basins: int = 3  # other minima tried
    same: float = 1e-6  # relative rise that makes one another
    narrow: float = 1e-4  # of the interval's half width: when an end is found


@dataclass(frozen=True)
class Diagnostics:
    """Tests of a finished fit and the thresholds of its warnings (diagnostics.py, messages.py, selection.py)."""

    mad: float = 1.4826  # normal standard deviation over median absolute deviation
    dense: int = 100_000  # rows up to which leverages and covariance come from the Jacobian itself
    same: float = 1e-6  # relative difference of objectives below which two starts agree
    basins: int = 4  # minima from which the fit without its floor is tried
    iterations: int = 80  # of that fit
    pattern: float = 0.01  # p-value below which a pattern in the residuals is reported
    far_noise: float = 10.0  # robust standard deviations from the law beyond which a row is named
    far_least: float = 0.2  # ln quality, the least such distance: 22 %
    far_share: float = 0.1  # of the rows; more of them are no outliers
    uneven: float = 3.0  # times by which the noise differs between the ends of an input before it is reported
    floor: float = 0.05  # p-value above which the floor is not identified
    zero: float = 0.01  # of the floor: an interval that starts below this holds 0
    constant: float = 0.05  # p-value above which the rows do not exclude a constant
    enough: int = 8  # degrees of freedom from which a large p-value is evidence for a constant
    inactive: float = 1e-3  # change of ln quality over the data's range below which an input is inactive
    gap: float = 0.01  # relative rise of the next basin below which parameters are ambiguous
    condition: float = 1e4  # of the scaled Jacobian, from which parameters trade against each other
    few_values: int = 8  # different values of an input below which extrapolation leans on the law
    few_spare: int = 3  # configurations more than parameters, below which residuals hardly measure the noise
    clusters: int = 5  # configurations that can be resampled
    turn_noise: float = 3.0  # robust standard deviations, a rise that counts
    turn_least: float = 0.01  # ln quality, the smallest such rise
    turn_twice: float = 0.03  # ln quality, a rise that counts if it comes in two steps
    turn_share: float = 0.3  # of the curves, that must turn
    turn_points: int = 4  # of a curve, to be looked at
    aicc: float = 2.0  # difference of AICc that counts
    aicc_decisive: float = 10.0  # and that leaves the simpler law no support (Burnham and Anderson 2004)
    held_out: float = 1.05  # times the simpler law's error on hidden rows, what the richer law may have


SOLVER, BATCH, BOX, MULTISTART = Solver(), Batch(), Box(), Multistart()
BOOTSTRAP, PROFILE, DIAGNOSTICS = Bootstrap(), Profile(), Diagnostics()
DAMPINGS = np.array(MULTISTART.single_damping)
