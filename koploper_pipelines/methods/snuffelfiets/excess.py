"""PM2.5 above the background of the hour, of calibrated devices only.

Here belongs the excess per group and its interval. Belongs elsewhere: the calibration (`calibration`), the
background of an hour (`background`), what may be shown (`disclosure`).

On the scale of the stations (`calibration.Line.scaled`) the excess is a difference of two means: that between
the readings and the background while riding, less that between the readings and the stations while near them.
The interval is that of this difference, so that what is not known of the calibration is in it, and a bias
that a device shows in both places is not counted twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from koploper_pipelines.methods import intervals
from koploper_pipelines.methods.snuffelfiets.calibration import HUMIDITY_CENTRE_PCT, Line

NO_REFERENCE, NOT_AVAILABLE = "geen_referentie", "niet_beschikbaar"
FIGURES = (
    "achtergrond_ug_m3",
    "pm25_verhoging_ug_m3",
    "pm25_verhoging_onder_ug_m3",
    "pm25_verhoging_boven_ug_m3",
)
STATUS = "pm25_verhoging_ug_m3_status"
COLUMNS = (*FIGURES, STATUS, "aantal_apparaten_geijkt", "metingen_geijkt", "grootste_aandeel_geijkt")


def over_background(
    sums: pd.DataFrame,
    groups: Sequence[str],
    lines: Mapping[Any, Line],
    found: pd.DataFrame,
    compared: pd.DataFrame,
    *,
    min_devices: int,
) -> pd.DataFrame:
    """The excess over the background per group.

    Args:
        sums: a row a group, device and day: the columns of ``groups`` (with ``maand``), ``apparaat``,
            ``meetdag``, and over the measurements with a background and a humidity ``n_achtergrond``,
            ``pm25_som``, ``rv_som`` and ``achtergrond_som``.
        groups: columns that name a group.
        lines: the calibration of each month that has one, by what ``maand`` calls it.
        found: the pairs at stations (`calibration.pairs`).
        compared: ``maand`` and ``apparaat`` of the calibrated devices.
        min_devices: devices behind an interval.

    Returns:
        One row a group of ``sums``, sorted: the group columns and `COLUMNS`, of which ``achtergrond_ug_m3``
        is the mean background while riding: together with the excess the calibrated level. Without any
        background the status is ``geen_referentie``, without calibrated devices on hours with a background
        ``niet_beschikbaar``; there the figures are missing. From few devices or days it is
        ``onvoldoende_betrouwbaar``, with a figure and no interval.
    """
    keys = list(groups)
    counted = sums.groupby(keys, sort=True)["n_achtergrond"].sum()
    result = counted.index.to_frame(index=False)
    status = np.where(counted > 0, NOT_AVAILABLE, NO_REFERENCE)
    used = sums[(sums["n_achtergrond"] > 0) & sums["maand"].isin(set(lines))]
    used = used.merge(compared, on=["maand", "apparaat"])
    if used.empty:
        empty = {c: np.nan for c in FIGURES} | {STATUS: status}
        return result.assign(
            **empty, aantal_apparaten_geijkt=0, metingen_geijkt=0, grootste_aandeel_geijkt=np.nan
        )
    slope, humidity = (
        used["maand"].map({m: getattr(x, a) for m, x in lines.items()}) for a in ("slope", "humidity")
    )
    wet = humidity * (used["rv_som"] - HUMIDITY_CENTRE_PCT * used["n_achtergrond"])
    own = used.assign(n=used["n_achtergrond"], som=(used["pm25_som"] - wet) / slope - used["achtergrond_som"])
    mean = intervals.clustered_mean(
        own, keys, minus=at_stations(found, lines), min_devices=min_devices
    ).set_index(keys)
    per_device = own.groupby([*keys, "apparaat"])["n"].sum().groupby(keys)
    shared = own.groupby(keys)["achtergrond_som"].sum() / own.groupby(keys)["n"].sum()
    made = pd.DataFrame(
        {
            **dict(
                zip(
                    FIGURES, (shared, mean["gemiddelde"], mean["ondergrens"], mean["bovengrens"]), strict=True
                )
            ),
            STATUS: mean["status"],
            "aantal_apparaten_geijkt": mean["aantal_apparaten"],
            "metingen_geijkt": mean["n"],
            "grootste_aandeel_geijkt": per_device.max() / per_device.sum(),
        }
    )
    joined = result.join(made, on=keys)
    counts = ["aantal_apparaten_geijkt", "metingen_geijkt"]
    joined[counts] = joined[counts].fillna(0).astype("int64")
    joined[STATUS] = joined[STATUS].where(joined[STATUS].notna(), pd.Series(status, index=joined.index))
    return joined


def at_stations(found: pd.DataFrame, lines: Mapping[Any, Line]) -> pd.DataFrame:
    """Difference with the station of each pair on the stations' scale, a row a month, device and day."""
    parts = []
    for month, line in lines.items():
        rows = found[(found["maand"] == month) & found["luchtvochtigheid_pct"].notna()]
        scaled = line.scaled(rows["pm25_ug_m3"].to_numpy(float), rows["luchtvochtigheid_pct"].to_numpy(float))
        parts.append(rows[["maand", "apparaat", "meetdag"]].assign(n=1, som=scaled - rows["station_ug_m3"]))
    summed: pd.DataFrame = pd.concat(parts).groupby(["maand", "apparaat", "meetdag"]).sum().reset_index()
    return summed
