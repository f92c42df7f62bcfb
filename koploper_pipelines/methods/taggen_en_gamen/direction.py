"""Direction: one angle an item from the angles of several players, some of whom look the wrong way round.

Belongs here: circular statistics. An angle has no mean like a number's: that of 350° and 10° is 0°.

Sources: Mardia and Jupp, "Directional Statistics" (2000), chapters 2 and 3 (resultant length, von Mises);
Hall, Watson and Cabrera, "Kernel density estimation with spherical data", Biometrika 74 (1987) 751-762.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.integer]

_GRID = 360
_ITEMS_AT_ONCE = 20_000


@dataclass(frozen=True)
class DirectionRules:
    """How the density is taken, and when a second mode is a confusion.

    Attributes:
        concentration: kappa of the von Mises kernel; 8 is that of careful players (a spread of about 20°).
        opposite_within_deg: how far from exactly opposite a second mode may lie.
        opposite_share: density of the second mode, as a share of that of the first, from which an item is
            flagged.
    """

    concentration: float = 8.0
    opposite_within_deg: float = 30.0
    opposite_share: float = 0.5


def modes(angles: pd.DataFrame, rules: DirectionRules = DirectionRules()) -> pd.DataFrame:
    """The direction that most players see, per item.

    Args:
        angles: ``item``, ``speler``, ``richting_graden`` (compass degrees) and ``gewicht`` (above 0), a row
            an angle; several angles of a player share their weight.
        rules: how the density is taken.

    Returns:
        One row an item, sorted: ``item``, ``richting_graden`` (0 up to 360), ``resultante`` (length of the
        mean of unit vectors: 1 when all agree, near 0 when they do not, or look in opposite directions),
        ``aantal_spelers`` and ``is_tegengesteld`` (a second mode lies opposite: perhaps the wrong way round).
    """
    if angles.empty:
        return pd.DataFrame(
            columns=["item", "richting_graden", "resultante", "aantal_spelers", "is_tegengesteld"]
        )
    rows = angles.sort_values("item", kind="stable", ignore_index=True)
    item, names = pd.factorize(rows["item"], sort=True)
    own = rows.groupby([item, "speler"])["item"].transform("size")
    weight = (rows["gewicht"] / own).to_numpy(float)
    theta = np.radians(rows["richting_graden"].to_numpy(float))
    pieces = []
    for start in range(0, len(names), _ITEMS_AT_ONCE):
        stop = min(start + _ITEMS_AT_ONCE, len(names))
        here = slice(*np.searchsorted(item, [start, stop]))
        pieces.append(_modes(item[here] - start, theta[here], weight[here], stop - start, rules))
    mode, opposite = (np.concatenate(found) for found in zip(*pieces, strict=True))
    return pd.DataFrame(
        {
            "item": names,
            "richting_graden": np.degrees(mode) % 360,
            "resultante": resultant_length(item, theta, weight, len(names)),
            "aantal_spelers": rows.groupby(item)["speler"].nunique().to_numpy(),
            "is_tegengesteld": opposite,
        }
    )


def resultant_length(item: Ints, theta: Floats, weight: Floats, items: int) -> Floats:
    """Length of the weighted mean of the unit vectors of each item, from 0 to 1, shape (items,)."""
    east = np.bincount(item, weight * np.sin(theta), items)
    north = np.bincount(item, weight * np.cos(theta), items)
    length: Floats = np.hypot(east, north) / np.bincount(item, weight, items)
    return np.minimum(length, 1.0)


def apart_deg(first: npt.ArrayLike, second: npt.ArrayLike) -> Floats:
    """The smaller angle between directions in degrees, from 0 to 180."""
    difference = np.abs(np.asarray(first, float) - np.asarray(second, float)) % 360
    smaller: Floats = np.minimum(difference, 360 - difference)
    return smaller


def _modes(
    item: Ints, theta: Floats, weight: Floats, items: int, rules: DirectionRules
) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Mode of the density of each item in radians, and whether a strong second one lies opposite."""
    grid = 2 * np.pi * np.arange(_GRID) / _GRID
    kernel = weight[:, None] * np.exp(rules.concentration * (np.cos(theta[:, None] - grid) - 1))
    density = np.zeros((items, _GRID))
    np.add.at(density, item, kernel)
    top = density.argmax(axis=1)
    rows = np.arange(items)
    # Between the steps of the grid, by the parabola through the top and its neighbours.
    left, middle, right = (density[rows, (top + s) % _GRID] for s in (-1, 0, 1))
    bend = left - 2 * middle + right
    shift = np.divide(left - right, 2 * bend, out=np.zeros(items), where=bend < 0)
    mode = grid[top] + np.clip(shift, -0.5, 0.5) * grid[1]
    reach = round(rules.opposite_within_deg * _GRID / 360)
    around = (top[:, None] + _GRID // 2 + np.arange(-reach - 1, reach + 2)) % _GRID
    behind = density[rows[:, None], around]
    # A top of its own, not the flank of the first mode.
    inner = behind[:, 1:-1]
    is_top = (inner >= behind[:, :-2]) & (inner >= behind[:, 2:])
    second = np.where(is_top, inner, 0).max(axis=1)
    return mode % (2 * np.pi), second >= rules.opposite_share * middle
