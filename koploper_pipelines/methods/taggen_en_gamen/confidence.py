"""Confidence: probabilities that mean what they say, and how far they are from that.

Belongs here: calibration on expert labels, the expected calibration error with its uncertainty, and intervals
of shares. Does not belong here: making the probabilities (``consensus``) and acting on them (``stopping``).

Posteriors of an error model are overconfident, since it takes players' mistakes for independent: on RTE mean
.991 against an accuracy of .929. Sources: Kull, Silva Filho and Flach, "Beyond sigmoids: how to obtain
well-calibrated probabilities from binary classifiers with beta calibration", EJS 11 (2017) 5052-5080; Guo,
Pleiss, Sun and Weinberger, "On Calibration of Modern Neural Networks", ICML 2017 (expected calibration error
over equal bins); Wilson, JASA 22 (1927) 209-212; McNemar, Psychometrika 12 (1947) 153-157; Agresti and Min,
Statistics in Medicine 24 (2005) 729-740 (interval for a difference of paired shares).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
Bools: TypeAlias = npt.NDArray[np.bool_]

BINS = 10
MIN_GOLD = 30
"""With fewer labels of experts a calibration follows the noise: the probabilities then stay as they are."""
DRAWS = 500
_EDGE = 1e-6
_Z = 1.959963984540054  # two-sided 95%


@dataclass(frozen=True)
class Calibration:
    """Beta calibration of probabilities p: 1 / (1 + exp(-(intercept + up * ln p - down * ln(1 - p)))).

    ``up`` and ``down`` are not below 0, so the order of the items stays.
    """

    up: float = 1.0
    down: float = 1.0
    intercept: float = 0.0
    is_fitted: bool = False

    def __call__(self, probability: Floats) -> Floats:
        """Calibrated probabilities, same shape; unchanged when nothing was fitted."""
        if not self.is_fitted:
            return probability
        score = _features(probability) @ np.array([self.up, self.down]) + self.intercept
        return _sigmoid(score)


def calibrate(probability: Floats, is_right: Floats) -> Calibration:
    """Fit a calibration on items whose label is known; the identity below ``MIN_GOLD`` items.

    A weak pull (one observation's worth) towards no change keeps the fit finite when all labels are right.

    Args:
        probability: claimed probability that the label is right, shape (n,).
        is_right: whether it is, 0 or 1 (or the chance of it, for ties), shape (n,).
    """
    if len(probability) < MIN_GOLD:
        return Calibration()
    from scipy.optimize import minimize

    features = _features(probability)
    right = np.asarray(is_right, float)

    def loss(theta: Floats) -> tuple[float, Floats]:
        score = features @ theta[:2] + theta[2]
        pull = theta - np.array([1.0, 1.0, 0.0])
        value = float(np.logaddexp(0, score).sum() - right @ score + pull @ pull / 2)
        error = _sigmoid(score) - right
        return value, np.append(features.T @ error, error.sum()) + pull

    bounds = [(0, None), (0, None), (None, None)]
    # Not L-BFGS-B: on three numbers its linear algebra wakes all cores, at thirty times the time.
    found = minimize(loss, np.array([1.0, 1.0, 0.0]), jac=True, method="TNC", bounds=bounds)
    return Calibration(float(found.x[0]), float(found.x[1]), float(found.x[2]), True)


def ece(probability: Floats, is_right: Floats, bins: int = BINS) -> float:
    """Expected calibration error: mean distance of claimed and true share right over equal bins.

    Args:
        probability: claimed probability that the label is right, shape (n,), n above 0.
        is_right: whether it is, 0 or 1, shape (n,).
        bins: number of bins of equal width from 0 to 1.
    """
    return float(_ece(probability, np.asarray(is_right, float)[None, :], bins)[0])


@dataclass(frozen=True)
class CalibrationError:
    """An expected calibration error with its bootstrap interval, and what chance alone would give."""

    value: float
    lower: float
    upper: float
    by_chance: float


def calibration_error(probability: Floats, is_right: Floats, seed: int = 0) -> CalibrationError:
    """The expected calibration error, its 95% interval (percentiles over items) and that of perfect claims.

    The last is the mean over outcomes drawn with exactly the claimed probabilities: an error that small means
    that nothing is wrong.
    """
    rng = np.random.default_rng(seed)
    n, right = len(probability), np.asarray(is_right, float)
    drawn = [
        ece(probability[chosen], right[chosen]) for chosen in (rng.integers(0, n, n) for _ in range(DRAWS))
    ]
    outcomes = (rng.random((DRAWS, n)) < probability).astype(float)
    value = ece(probability, right)
    # A draw with returns adds noise that the error counts as error: the draws are put around the value.
    lower, upper = np.maximum(np.quantile(drawn, [0.025, 0.975]) - np.mean(drawn) + value, 0.0)
    chance = float(_ece(probability, outcomes, BINS).mean())
    return CalibrationError(value, float(lower), float(upper), chance)


def wilson(hits: float, n: int) -> tuple[float, float]:
    """Wilson's 95% interval of a share; (0, 1) when there is nothing to take it of."""
    if n == 0:
        return 0.0, 1.0
    share, z2 = hits / n, _Z**2
    middle = share + z2 / (2 * n)
    half = _Z * np.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    lower, upper = (middle - half) / (1 + z2 / n), (middle + half) / (1 + z2 / n)
    # At a share of 0 or 1 the bound is exact; rounding may miss it by a bit.
    return (0.0 if hits == 0 else float(lower)), (1.0 if hits == n else float(upper))


@dataclass(frozen=True)
class Paired:
    """Two methods on the same items: difference of their shares right, 95% interval, and McNemar's p."""

    difference: float
    lower: float
    upper: float
    p: float


def paired(first: Bools, second: Bools) -> Paired:
    """Compare two methods on the same items: exact McNemar test, and the interval of Agresti and Min.

    Args:
        first: whether the first method is right, shape (n,).
        second: the same for the second method.
    """
    from scipy.stats import binomtest

    b, c = int((first & ~second).sum()), int((~first & second).sum())
    n = len(first)
    p = float(binomtest(b, b + c, 0.5).pvalue) if b + c else 1.0
    # Half an observation more in each of the four cells.
    more_b, more_c, more_n = b + 0.5, c + 0.5, n + 2
    middle = (more_b - more_c) / more_n
    half = _Z * np.sqrt(more_b + more_c - (more_b - more_c) ** 2 / more_n) / more_n
    return Paired((b - c) / max(n, 1), float(middle - half), float(middle + half), p)


def _features(probability: Floats) -> Floats:
    inside = np.clip(probability, _EDGE, 1 - _EDGE)
    return np.column_stack([np.log(inside), -np.log1p(-inside)])


def _sigmoid(score: Floats) -> Floats:
    from scipy.special import expit

    squeezed: Floats = expit(score)
    return squeezed


def _ece(probability: Floats, right: Floats, bins: int) -> Floats:
    """Errors for several sets of outcomes, shape (sets, n), of the same claims."""
    member = np.minimum((probability * bins).astype(int), bins - 1)
    claimed = np.bincount(member, weights=probability, minlength=bins)
    found = np.stack([np.bincount(member, weights=r, minlength=bins) for r in right])
    errors: Floats = np.abs(found - claimed).sum(axis=1) / len(probability)
    return errors
