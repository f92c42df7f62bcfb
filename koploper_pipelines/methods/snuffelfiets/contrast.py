"""Does the route matter: busy against quiet cells within one ride and hour.

Here belongs the comparison within rides. Within a ride the device, the rider, the weather and the background
are the same, so that what is left is the road. Belongs elsewhere: which cells are busy (`roads`).

Cells that were told apart by the measurements are compared in other measurements: devices and weeks are each
split in two, cells are told apart in one quarter (half of the devices in half of the weeks) and compared in
the quarter opposite, which shares neither a device nor a week with it. Else the noise that put a cell among
the busy ones would be counted as contrast. Sample splitting of this kind: Athey and Imbens, "Recursive
partitioning for heterogeneous causal effects", PNAS 113 (2016) 7353-7360.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from koploper_pipelines.methods.snuffelfiets import roads

COLUMNS = ("rit_id", "apparaat", "meetdag", "n", "som", "metingen_druk", "metingen_rustig")


def halves(values: pd.Series) -> npt.NDArray[np.int64]:
    """0 or 1 for each value: every second one in sorted order, so that both halves are equally large."""
    numbers, _ = pd.factorize(values, sort=True)
    return numbers.astype(np.int64) % 2


def week_of(days: pd.Series) -> pd.Series:
    """Monday of the ISO week of each day: weeks of one weather and one habit stay together."""
    moments = pd.to_datetime(days)
    return moments - pd.to_timedelta(moments.dt.day_of_week, unit="D")


def within_rides(passages: pd.DataFrame, cells: pd.DataFrame) -> pd.DataFrame:
    """Busy minus quiet within each ride and hour, weighted as a regression with ride effects weighs it.

    A ride of b busy and q quiet measurements gets the weight b q / (b + q); the weighted mean of the
    differences is then the least squares estimate of the contrast with an effect for each ride and hour.

    Args:
        passages: ``rit_id``, ``uur`` (of any type), ``apparaat``, ``meetdag``, ``cel_100m``,
            ``aantal_metingen``, ``pm25_gemiddelde_ug_m3``.
        cells: ``cel_100m`` and ``soort`` (`roads.BUSY`, `roads.QUIET`, others are left out).

    Returns:
        One row a ride with both kinds: ``rit_id``, ``apparaat``, ``meetdag``, ``n`` (weight), ``som`` (weight
        times difference in µg/m³), ``metingen_druk`` and ``metingen_rustig``; sorted by ride.
    """
    kinds = cells[cells["soort"].isin([roads.BUSY, roads.QUIET])]
    known = passages.merge(kinds, on="cel_100m")
    busy = (known["soort"] == roads.BUSY).to_numpy()
    stretch = ["rit_id", "uur", "apparaat", "meetdag"]
    weighed = known.assign(
        b=known["aantal_metingen"].where(busy, 0),
        q=known["aantal_metingen"].where(~busy, 0),
        som=known["aantal_metingen"] * known["pm25_gemiddelde_ug_m3"],
    )
    weighed = weighed.assign(som_b=weighed["som"].where(busy, 0), som_q=weighed["som"].where(~busy, 0))
    sums = weighed.groupby(stretch, as_index=False)[["b", "q", "som_b", "som_q"]].sum()
    both = sums[(sums["b"] > 0) & (sums["q"] > 0)]
    weight = both["b"] * both["q"] / (both["b"] + both["q"])
    difference = both["som_b"] / both["b"] - both["som_q"] / both["q"]
    made = both.assign(n=weight, som=weight * difference, metingen_druk=both["b"], metingen_rustig=both["q"])
    summed = made.groupby(["rit_id", "apparaat", "meetdag"], as_index=False)[list(COLUMNS[3:])].sum()
    return summed.astype({"metingen_druk": "int64", "metingen_rustig": "int64"})


def crossed(passages: pd.DataFrame) -> pd.DataFrame:
    """Busy minus quiet within rides, in cells told apart by other devices in other weeks.

    Args:
        passages: as for `within_rides`.

    Returns:
        As `within_rides`; without rows where there are no two devices or no two weeks.
    """
    device, week = halves(passages["apparaat"]), halves(week_of(passages["meetdag"]))
    quarter = 2 * device + week
    found = [
        within_rides(passages[quarter == own], roads.traffic_like(passages[quarter == 3 - own]))
        for own in range(4)
        if (quarter == own).any() and (quarter == 3 - own).any()
    ]
    if not found:
        return within_rides(passages, roads.traffic_like(passages.iloc[:0]))
    return pd.concat(found).sort_values("rit_id", ignore_index=True)
