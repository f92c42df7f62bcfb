"""Busy and quiet cells: which 100 m cells look like main roads.

Here belongs telling cells apart, from a list of road types or from the measurements themselves. How much
more is breathed in busy cells belongs to `contrast`.

Without a list of roads, cells are told apart by the rides: PM2.5 in a passage is taken as the level of that
ride (weather, background, bias of the device) plus that of the cell, and the third of the riding in the cells
of the highest level is called traffic-like. That uses the very measurements of which the contrast is asked,
so whoever compares the two must tell cells apart by other devices in other weeks (`contrast`).
"""

from __future__ import annotations

import duckdb
import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import csr_array  # type: ignore[import-untyped, unused-ignore]

BUSY, QUIET, UNKNOWN = "druk", "rustig", "onbekend"
SWEEPS = 25
MIN_RIDES = 3
"""Rides through a cell before its level says anything: with one or two it is that of the moment."""
PARTS = 1e8
"""Of a unit, in fixed point numbers: finer than passages are, and exact up to 90 million units."""

KIND_OF_ROAD = {"hoofdweg": BUSY, "rustige_weg": QUIET}
READABLE_SQL = (
    "regexp_full_match(trim(cel_100m), 'E[0-9]{4}N[0-9]{4}') AND trim(wegtype) IN ('hoofdweg', 'rustige_weg')"
    " AND length(trim(bron)) BETWEEN 3 AND 200"
)
"""What makes a row of a list of road types usable."""


def judge(con: duckdb.DuckDBPyConnection, raw: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    """Rows of the landed lists with `reden` and `toelichting`; NULL for the cells of the last list.

    `raw` has `levering`, `rij`, `cel_100m`, `wegtype` and `bron` as text. Reasons: `vervangen` (by a later
    list), `onleesbare_cel`, `onbekend_wegtype`, `bron_ontbreekt`, `dubbele_cel` (the first usable row of a
    cell counts).
    """
    __raw = raw
    return con.sql("""
        WITH beoordeeld AS (
            SELECT * REPLACE (trim(cel_100m) AS cel_100m, trim(wegtype) AS wegtype, trim(bron) AS bron),
                CASE
                    WHEN levering < max(levering) OVER () THEN 'vervangen'
                    WHEN NOT coalesce(regexp_full_match(trim(cel_100m), 'E[0-9]{4}N[0-9]{4}'), FALSE)
                        THEN 'onleesbare_cel'
                    WHEN trim(wegtype) IN ('hoofdweg', 'rustige_weg') IS NOT TRUE THEN 'onbekend_wegtype'
                    WHEN length(trim(bron)) BETWEEN 3 AND 200 IS NOT TRUE THEN 'bron_ontbreekt'
                END AS eerste_reden
            FROM __raw
        )
        SELECT * EXCLUDE (eerste_reden),
            CASE WHEN eerste_reden IS NOT NULL THEN eerste_reden
                WHEN row_number() OVER (PARTITION BY cel_100m, eerste_reden ORDER BY rij) > 1
                THEN 'dubbele_cel' END AS reden,
            CASE WHEN reden IS NOT NULL THEN coalesce(cel_100m, '') || ' ' || coalesce(wegtype, '') END
                AS toelichting
        FROM beoordeeld
    """)


def of_list(listed: pd.DataFrame) -> pd.DataFrame:
    """Busy and quiet cells of a list of road types: ``cel_100m`` and ``soort``."""
    return listed[["cel_100m"]].assign(soort=listed["wegtype"].map(KIND_OF_ROAD))


def cell_levels(passages: pd.DataFrame) -> pd.DataFrame:
    """Level of each cell relative to the rides through it, by least squares of ride plus cell.

    Args:
        passages: one row a ride and cell: ``rit_id``, ``cel_100m`` (texts or categories),
            ``aantal_metingen`` (the weight) and ``pm25_gemiddelde_ug_m3``; any order.

    Returns:
        One row a cell, sorted by cell: ``cel_100m``, ``niveau_ug_m3``, ``ritten`` and ``gewicht``.
    """
    ride, rides = pd.factorize(passages["rit_id"], sort=True)
    cell, names = pd.factorize(passages["cel_100m"], sort=True)
    weight = passages["aantal_metingen"].to_numpy(float)
    value = weight * passages["pm25_gemiddelde_ug_m3"].to_numpy(float)
    sum_of_ride, sum_of_cell = summed(ride, value, len(rides)), summed(cell, value, len(names))
    shared = csr_array((weight, (ride, cell)), shape=(len(rides), len(names)))
    weight_of_ride, weight_of_cell = shared.sum(axis=1), shared.sum(axis=0)
    level = np.zeros(len(names))
    # Alternating means (Gauss-Seidel) converge to the least squares of two sets of effects.
    for _ in range(SWEEPS):
        of_ride = (sum_of_ride - shared @ level) / weight_of_ride
        level = (sum_of_cell - shared.T @ of_ride) / weight_of_cell
    return pd.DataFrame(
        {
            "cel_100m": names.astype("str"),
            "niveau_ug_m3": level,
            "ritten": np.bincount(cell, minlength=len(names)),
            "gewicht": weight_of_cell,
        }
    )


def summed(
    group: npt.NDArray[np.int64], values: npt.NDArray[np.float64], groups: int
) -> npt.NDArray[np.float64]:
    """Sums by number of group, in fixed point: those of floating point depend on the order of rows."""
    return np.bincount(group, weights=np.rint(values * PARTS), minlength=groups) / PARTS


def traffic_like(passages: pd.DataFrame) -> pd.DataFrame:
    """Tell busy and quiet cells apart by the measurements: the upper and the lower third of the riding.

    Args:
        passages: as for `cell_levels`.

    Returns:
        One row a cell: ``cel_100m`` and ``soort`` (``druk``, ``rustig``, or ``onbekend`` for the third
        between and for cells of fewer than `MIN_RIDES` rides).
    """
    levels = cell_levels(passages)
    known = levels[levels["ritten"] >= MIN_RIDES].sort_values(["niveau_ug_m3", "cel_100m"])
    below = (known["gewicht"].cumsum() - known["gewicht"] / 2) / known["gewicht"].sum()
    kind = pd.Series(UNKNOWN, index=levels.index)
    kind[known.index[below <= 1 / 3]] = QUIET
    kind[known.index[below >= 2 / 3]] = BUSY
    return pd.DataFrame({"cel_100m": levels["cel_100m"], "soort": kind})
