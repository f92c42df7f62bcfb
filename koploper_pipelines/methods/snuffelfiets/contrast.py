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
        passages: ``rit_id``, ``uur`` (of any type), ``apparaat``, ``meetdag``, ``cel_100m`` (texts or
            categories), ``aantal_metingen``, ``pm25_gemiddelde_ug_m3``.
        cells: ``cel_100m`` and ``soort`` (`roads.BUSY`, `roads.QUIET`, others are left out).

    Returns:
        One row a ride with both kinds: ``rit_id``, ``apparaat``, ``meetdag``, ``n`` (weight), ``som`` (weight
        times difference in µg/m³), ``metingen_druk`` and ``metingen_rustig``; sorted by ride.
    """
    kind = passages["cel_100m"].map(cells.set_index("cel_100m")["soort"])
    is_known = kind.isin([roads.BUSY, roads.QUIET]).to_numpy()
    known, busy = passages[is_known], (kind == roads.BUSY).to_numpy()[is_known]
    ride, _ = pd.factorize(known["rit_id"], sort=True)
    hour, hours = pd.factorize(known["uur"], sort=True)
    stretch, names = pd.factorize(ride.astype(np.int64) * len(hours) + hour, sort=True)
    measured = known["aantal_metingen"].to_numpy(float)
    value = measured * known["pm25_gemiddelde_ug_m3"].to_numpy(float)
    b, q, sum_b, sum_q = (
        roads.summed(stretch, np.where(which, values, 0.0), len(names))
        for values in (measured, value)
        for which in (busy, ~busy)
    )
    both = (b > 0) & (q > 0)
    b, q = b[both], q[both]
    weight = b * q / (b + q)
    difference = sum_b[both] / b - sum_q[both] / q
    made = pd.DataFrame({"n": weight, "som": weight * difference, "metingen_druk": b, "metingen_rustig": q})
    per_ride = made.groupby(names[both] // len(hours)).sum()
    rode = known[[*COLUMNS[:3]]].drop_duplicates("rit_id").sort_values("rit_id").iloc[per_ride.index]
    found = pd.concat([rode.reset_index(drop=True), per_ride.reset_index(drop=True)], axis=1)
    return found.astype({"metingen_druk": "int64", "metingen_rustig": "int64"})


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
