"""Who took part: shares against the population, weights, and how unequal taking part was.

Belongs here: figures of participants' demography. Self-selected participation is never representative, also
not after weighting: weights repair what is known of people, not why they came.

Sources: raking: Deming and Stephan, Ann. Math. Stat. 11 (1940) 427-444; effective sample size: Kish, Survey
Sampling (1965), section 11.7; smallest to largest ratio as in Go Vocal's R-score; Gini: Gini (1912).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]


class NoConvergence(ValueError):
    """The population's shares of the features cannot be met together by these people."""


def rake(
    people: pd.DataFrame,
    targets: Mapping[str, Mapping[str, float]],
    *,
    fewest: int = 10,
    tolerance: float = 1e-9,
    rounds: int = 500,
) -> Floats:
    """Weights with which the people have the population's share of each category, one feature at a time.

    Categories of fewer than `fewest` people are left out, since one person would stand for many thousands,
    and the others' targets scaled up. People of an unknown or left-out category keep
    their weight in that round.

    Args:
        people: one row a person, a column a feature.
        targets: for each feature the population's share of each category.
        fewest: people that a category needs.
        tolerance: largest relative change of a weight at which it has converged.
        rounds: most rounds.

    Returns:
        Weights with mean 1, shape (people,).

    Raises:
        NoConvergence: the targets contradict each other.
    """
    weight = np.ones(len(people))
    features = [
        [
            ((people[f] == c).to_numpy(), share)
            for c, share in shares.items()
            if (people[f] == c).sum() >= fewest
        ]
        for f, shares in targets.items()
    ]
    for _ in range(rounds):
        before = weight.copy()
        for categories in features:
            total = sum(share for _, share in categories)
            known = sum(weight[mask].sum() for mask, _ in categories)
            for mask, share in categories:
                weight[mask] *= share / total * known / weight[mask].sum()
        if np.abs(weight / before - 1).max(initial=0) < tolerance:
            break
    # Contradicting targets stand still too, each round ending with the last feature's.
    for categories in features:
        total = sum(share for _, share in categories)
        known = sum(weight[mask].sum() for mask, _ in categories)
        if any(abs(weight[mask].sum() / known - share / total) > 1e-6 for mask, share in categories):
            raise NoConvergence(f"raking did not meet the population's shares in {rounds} rounds")
    scaled: Floats = weight / weight.mean()
    return scaled


def effective_size(weight: Floats) -> float:
    """Kish's effective sample size: (sum of weights)^2 / sum of squared weights."""
    return float(weight.sum() ** 2 / (weight**2).sum())


def ratios(number: Floats, population: Floats) -> Floats:
    """Index of each category: share of the participants with a known value ÷ of the population."""
    share: Floats = number / number.sum() / (population / population.sum())
    return share


def smallest_to_largest(index: Floats) -> float:
    """The lowest index ÷ the highest: 1 where all categories took part equally often, 0 where one did not."""
    return float(index.min() / index.max())


def gini(number: npt.ArrayLike) -> float:
    """Gini coefficient of contributions per participant: 0 all equal, towards 1 all from one."""
    ordered = np.sort(np.asarray(number, dtype=float))
    n = len(ordered)
    return float((2 * np.arange(1, n + 1) - n - 1) @ ordered / (n * ordered.sum()))


def share_of_top(number: npt.ArrayLike, top: float = 0.10) -> float:
    """Share of all contributions that came from the most active part (rounded up) of the participants."""
    ordered = np.sort(np.asarray(number, dtype=float))[::-1]
    return float(ordered[: int(np.ceil(top * len(ordered)))].sum() / ordered.sum())


AGE_BANDS = ((0, 15, "0-14"), (15, 30, "15-29"), (30, 45, "30-44"), (45, 65, "45-64"), (65, 200, "65+"))
"""Lower bound, upper bound (not in it) and name; the bounds are those of CBS' five-year classes."""


def age_band(said: str | None) -> str | None:
    """Band of an age or class of ages (``37``, ``35-44``, ``35 tot 45 jaar``, ``95 jaar of ouder``).

    None when unknown, as is a class that lies in no one band.
    """
    text = (said or "").lower()
    numbers = [int(n) for n in re.findall(r"\d+", text)]
    if not numbers or numbers[0] > 120:
        return None
    low = numbers[0]
    if re.search(r"jonger|onder", text):
        low, high = 0, low - 1
    elif "ouder" in text or "+" in text:
        high = 119
    else:
        high = numbers[1] - (1 if " tot " in text else 0) if len(numbers) > 1 else low
    return next((name for start, end, name in AGE_BANDS if start <= low and high < end), None)
