"""Agreement: Krippendorff's alpha, for labels and for directions, in closed form.

Belongs here: alpha with its bootstrap interval over items. It says whether players see the same, never by
itself whether the consensus is right: on RTE alpha is .24 and the consensus right in 93%.

Source: Krippendorff, "Content Analysis" (4th edition, 2018), chapter 12; the circular metric is the squared
sine of half the angle between two directions. Both disagreements are sums over pairs within items, and over
all pairs, which need counts (labels) or vector sums (directions) alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.integer]

DRAWS = 1000
_CELLS = 40_000_000  # of an array of draws by items; above it fewer draws are made at a time


@dataclass(frozen=True)
class Alpha:
    """Alpha (1: full agreement, 0: as by chance) with its 95% bootstrap interval, and what it rests on."""

    value: float
    lower: float
    upper: float
    items: int
    """Items with at least two judgements."""
    judgements: int
    """Judgements of those items."""


def nominal_alpha(counts: Floats | Ints) -> float:
    """Alpha of labels; NaN when no item has two judgements or all judgements are the same.

    Args:
        counts: judgements per item and label, shape (items, labels).
    """
    size = counts.sum(axis=1)
    several = counts if (size >= 2).all() else counts[size >= 2]
    size = size[size >= 2]
    per_label = several.sum(axis=0, dtype=float)
    if not len(size):
        return float("nan")
    agreeing = np.einsum("ij,ij->i", several, several)
    within = float(((size * size - agreeing) / (size - 1.0)).sum())
    return float(_alpha(within, _all_pairs(per_label)))


def nominal_alpha_interval(counts: Floats | Ints, seed: int = 0) -> Alpha:
    """Alpha of labels with its bootstrap interval over items.

    Items with the same counts are drawn together, which is the same draw: with few labels and judgements an
    item there are few different ones, however many items there are.
    """
    several = np.asarray(counts)[counts.sum(axis=1) >= 2]
    value = nominal_alpha(several)
    if np.isnan(value):
        return Alpha(value, value, value, len(several), int(several.sum()))
    kinds, number = np.unique(several, axis=0, return_counts=True)
    size = kinds.sum(axis=1)
    within = (size**2 - (kinds**2).sum(axis=1)) / (size - 1.0)
    drawn = [
        _alpha(times @ within, _all_pairs(times @ kinds.astype(float))) for times in _draws(number, seed)
    ]
    lower, upper = _percentiles(np.concatenate(drawn))
    return Alpha(value, lower, upper, len(several), int(several.sum()))


def circular_alpha(item: Ints, direction_rad: Floats, items: int) -> float:
    """Alpha of directions; NaN when no item has two judgements.

    Args:
        item: item of each judgement, shape (n,).
        direction_rad: direction in radians, shape (n,).
        items: number of items.
    """
    size, vector = _vectors(item, direction_rad, items)
    return float(_circular(np.ones((1, len(size))), size, vector)[0]) if len(size) else float("nan")


def circular_alpha_interval(item: Ints, direction_rad: Floats, items: int, seed: int = 0) -> Alpha:
    """Alpha of directions with its bootstrap interval over items."""
    size, vector = _vectors(item, direction_rad, items)
    if not len(size):
        return Alpha(float("nan"), float("nan"), float("nan"), 0, 0)
    drawn = [_circular(times, size, vector) for times in _draws(np.ones(len(size), int), seed)]
    lower, upper = _percentiles(np.concatenate(drawn))
    value = float(_circular(np.ones((1, len(size))), size, vector)[0])
    return Alpha(value, lower, upper, len(size), int(size.sum()))


def _alpha(within: Floats | float, overall: Floats | float) -> Floats:
    """One minus observed over expected disagreement; both are sums over pairs, scaled the same."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(1 - np.asarray(within) / overall)


def _all_pairs(per_label: Floats) -> Floats:
    """Disagreeing pairs of all judgements, over their number less one; 0 becomes NaN."""
    total = per_label.sum(axis=-1)
    pairs = (total**2 - (per_label**2).sum(axis=-1)) / (total - 1)
    return np.where(pairs > 0, pairs, np.nan)


def _vectors(item: Ints, direction: Floats, items: int) -> tuple[Floats, npt.NDArray[np.complex128]]:
    size = np.bincount(item, minlength=items)
    vector = np.bincount(item, np.cos(direction), items) + 1j * np.bincount(item, np.sin(direction), items)
    return size[size >= 2].astype(float), vector[size >= 2]


def _circular(times: Floats, size: Floats, vector: npt.NDArray[np.complex128]) -> Floats:
    within = times @ ((size**2 - np.abs(vector) ** 2) / (size - 1))
    total = times @ size
    overall = (total**2 - np.abs(times @ vector) ** 2) / (total - 1)
    return _alpha(within, np.where(overall > 0, overall, np.nan))


def _draws(number: Ints, seed: int) -> list[Floats]:
    """How often each kind of item is drawn, shape (draws, kinds), in pieces that fit in memory."""
    rng = np.random.default_rng(seed)
    total = int(number.sum())
    piece = max(1, min(DRAWS, _CELLS // len(number)))
    left, found = DRAWS, []
    while left > 0:
        found.append(rng.multinomial(total, number / total, size=min(piece, left)).astype(float))
        left -= piece
    return found


def _percentiles(drawn: Floats) -> tuple[float, float]:
    known = drawn[~np.isnan(drawn)]
    if not len(known):
        return float("nan"), float("nan")
    lower, upper = np.quantile(known, [0.025, 0.975])
    return float(lower), float(upper)
