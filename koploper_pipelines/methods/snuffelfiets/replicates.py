"""Replicate rides: devices that rode together, found in the data, and how far they agree.

Here belongs finding and comparing them. Two devices on one ride breathe the same air, so that their
difference is the error of the devices and not of the place; nobody has to note down who rode with whom.
"""

from __future__ import annotations

import duckdb
import numpy as np
import pandas as pd

from koploper_pipelines.methods.sums import fixed_point_sum

MIN_SHARED_CELLS = 10
MIN_SHARED = 0.6
"""Share of the passages of the shorter ride that both made in the same cell and hour."""
MIN_TOGETHER = 0.6
"""Share of the shorter ride's time that both were on their way."""


def replicate_rides(
    con: duckdb.DuckDBPyConnection, passages: duckdb.DuckDBPyRelation, ritten: duckdb.DuckDBPyRelation
) -> duckdb.DuckDBPyRelation:
    """Pairs of rides of two devices through the same cells in the same hours at the same time.

    `passages` has `rit_id`, `cel_100m`, `uur` and `pm25_gemiddelde_ug_m3`; `ritten` has `rit_id`, `apparaat`,
    `meetdag`, `start_op` and `einde_op`. Returns `maand`, `rit_a`, `rit_b` (`rit_a` < `rit_b`), `apparaat_a`,
    `apparaat_b`, `meetdag` (of the first), `gedeelde_cellen`, `pm25_a_ug_m3` and `pm25_b_ug_m3` (means over
    the shared cells), `rmsd_ug_m3` and `correlatie` (over shared cells; NULL when one of them stands still).
    """
    __passages = passages
    # Numbers and hashes in the place of rides and of cells in an hour: joining by long texts is slow.
    __nummers = ritten.project("*, row_number() OVER (ORDER BY rit_id) AS nr")
    # Sums of fixed point numbers: those of floating point depend on the order in which threads finish.
    return con.sql(f"""
        WITH genummerd AS (
            SELECT nr, hash(cel_100m, uur) AS plaats, pm25_gemiddelde_ug_m3 AS v
            FROM __passages JOIN __nummers USING (rit_id)
        ),
        lengte AS (SELECT nr, count(*) AS cellen FROM genummerd GROUP BY nr),
        gedeeld AS (
            SELECT a.nr AS nr_a, b.nr AS nr_b, count(*) AS n,
                {fixed_point_sum("a.v")} AS sa, {fixed_point_sum("b.v")} AS sb,
                {fixed_point_sum("a.v * a.v")} AS saa, {fixed_point_sum("b.v * b.v")} AS sbb,
                {fixed_point_sum("a.v * b.v")} AS sab
            FROM genummerd a JOIN genummerd b ON a.plaats = b.plaats AND a.nr < b.nr
            GROUP BY ALL
            HAVING n >= {MIN_SHARED_CELLS}
        )
        SELECT strftime(a.meetdag, '%Y-%m') AS maand, a.rit_id AS rit_a, b.rit_id AS rit_b,
            a.apparaat AS apparaat_a, b.apparaat AS apparaat_b, a.meetdag,
            n AS gedeelde_cellen, sa / n AS pm25_a_ug_m3, sb / n AS pm25_b_ug_m3,
            sqrt(greatest(saa - 2 * sab + sbb, 0) / n) AS rmsd_ug_m3,
            greatest(-1, least(1, (n * sab - sa * sb) / nullif(
                sqrt(greatest(n * saa - sa * sa, 0) * greatest(n * sbb - sb * sb, 0)), 0))) AS correlatie
        FROM gedeeld
        JOIN __nummers a ON a.nr = nr_a JOIN __nummers b ON b.nr = nr_b
        JOIN lengte la ON la.nr = nr_a JOIN lengte lb ON lb.nr = nr_b
        WHERE a.apparaat <> b.apparaat
            AND n >= {MIN_SHARED} * least(la.cellen, lb.cellen)
            AND epoch_us(least(a.einde_op, b.einde_op)) - epoch_us(greatest(a.start_op, b.start_op))
                >= {MIN_TOGETHER} * 1e6 * least(a.duur_s, b.duur_s)
        ORDER BY maand, rit_a, rit_b
    """)


def agreement(pairs: pd.DataFrame) -> dict[str, float]:
    """How far devices that rode together agree.

    Args:
        pairs: `replicate_rides`, at least one.

    Returns:
        ``variatiecoefficient_pct``: standard deviation of one device around what devices on one ride have in
        common (from pairs: the root mean square of a - b over the square root of two), over the mean of all;
        ``rmsd_ug_m3``: median over pairs of the difference per cell; ``correlatie``: median over pairs.
    """
    a, b = pairs["pm25_a_ug_m3"].to_numpy(float), pairs["pm25_b_ug_m3"].to_numpy(float)
    spread = np.sqrt(((a - b) ** 2).mean() / 2)
    return {
        "variatiecoefficient_pct": float(100 * spread / ((a + b) / 2).mean()),
        "rmsd_ug_m3": float(pairs["rmsd_ug_m3"].median()),
        "correlatie": float(pairs["correlatie"].median()),
    }
