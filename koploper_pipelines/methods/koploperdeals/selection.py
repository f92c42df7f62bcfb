"""How applications were chosen: weighted scores, their spread, and how far assessors agree.

Belongs here: what follows from the scores alone. Which of it may be shown is decided in the published layer.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

DRAWS = 1000


def weighted_scores(scores: pd.DataFrame, criteria: pd.DataFrame) -> pd.DataFrame:
    """The score of each application by each assessor, in percents of the scale.

    Args:
        scores: aanvraag, versie, criterium, beoordelaar, score.
        criteria: versie, criterium, gewicht_pct, score_min, score_max.

    Returns:
        aanvraag, beoordelaar, score_pct: the weighted mean over the criteria that the assessor scored.
    """
    rows = scores.merge(criteria, on=["versie", "criterium"])
    share = (rows["score"] - rows["score_min"]) / (rows["score_max"] - rows["score_min"])
    rows = rows.assign(deel=100 * share * rows["gewicht_pct"])
    sums = rows.groupby(["aanvraag", "beoordelaar"], as_index=False)[["deel", "gewicht_pct"]].sum()
    made = sums.assign(score_pct=sums["deel"] / sums["gewicht_pct"])
    return made[["aanvraag", "beoordelaar", "score_pct"]]


def interval_alpha(values: npt.NDArray[np.float64]) -> float:
    """Krippendorff's alpha of scores on an interval scale; NaN when it cannot be told.

    Source: Krippendorff, "Content Analysis" (4th edition, 2018), chapter 12. Squared differences over pairs
    are twice the number times the variance, so that no pair need be made.

    Args:
        values: score per unit and assessor, NaN where not scored, shape (units, assessors).
    """
    rows = values[np.isfinite(values).sum(axis=1) >= 2]
    within, across = _disagreement(rows)
    return _alpha(within.sum(), across)


def interval_alpha_bounds(values: npt.NDArray[np.float64], seed: int = 0) -> tuple[float, float]:
    """95% bootstrap interval of alpha over units; NaN when there are fewer than two with two scores."""
    rows = values[np.isfinite(values).sum(axis=1) >= 2]
    if len(rows) < 2:
        return float("nan"), float("nan")
    chosen = np.random.default_rng(seed).integers(0, len(rows), (DRAWS, len(rows)))
    within, _ = _disagreement(rows)
    drawn = np.array([_alpha(within[c].sum(), _disagreement(rows[c])[1]) for c in chosen])
    drawn = drawn[np.isfinite(drawn)]
    if not len(drawn):
        return float("nan"), float("nan")
    lower, upper = np.percentile(drawn, [2.5, 97.5])
    return float(lower), float(upper)


def _disagreement(rows: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], tuple[float, int]]:
    """Squared differences within each unit, and over all pairs with the number of scores."""
    known = np.isfinite(rows)
    size = known.sum(axis=1)
    filled = np.where(known, rows, 0.0)
    squares, sums = (filled**2).sum(axis=1), filled.sum(axis=1)
    within = 2 * (size * squares - sums**2) / np.maximum(size - 1, 1)
    number = int(size.sum())
    return within, (float(2 * (number * squares.sum() - sums.sum() ** 2)), number)


def _alpha(within: float, across: tuple[float, int]) -> float:
    pairs, number = across
    if number < 2 or pairs <= 1e-9:
        return float("nan")
    return float(1 - (number - 1) * within / pairs)
