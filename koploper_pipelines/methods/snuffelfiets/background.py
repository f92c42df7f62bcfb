"""The air and the weather that all rides of an hour share: background stations and weather stations.

Here belongs what is true of an hour in the whole province. Belongs elsewhere: whether a device agrees with a
station that it rides past (`calibration`), and figures over passages (`excess`).

Only stations of the type "background" make the background: a station beside a road measures that road too.
All clocks are reconciled before: every hour is named by its start, in UTC.
"""

from __future__ import annotations

import duckdb

from koploper_pipelines.methods.sums import fixed_point_sum


def hours(
    con: duckdb.DuckDBPyConnection, referentie: duckdb.DuckDBPyRelation, weer: duckdb.DuckDBPyRelation
) -> duckdb.DuckDBPyRelation:
    """One row an hour that a station reports on.

    `referentie` has `uur_op`, `stationstype` and `pm25_ug_m3`; `weer` has `uur_op`, `wind_m_s`, `neerslag_mm`
    and `luchtvochtigheid_pct`. Returns `uur` (start, UTC), `achtergrond_ug_m3` (mean over the background
    stations that reported, NULL without any), `wind_m_s`, `neerslag_mm` and `luchtvochtigheid_buiten_pct`
    (means over the weather stations, NULL without any).
    """
    __referentie, __weer = referentie, weer
    # Means of fixed point numbers: those of floating point depend on the order in which threads finish.
    return con.sql(f"""
        WITH lucht AS (
            SELECT uur_op AS uur, {_mean("pm25_ug_m3")} AS achtergrond_ug_m3
            FROM __referentie
            WHERE stationstype = 'achtergrond'
            GROUP BY uur_op
        ),
        buiten AS (
            SELECT uur_op AS uur, {_mean("wind_m_s")} AS wind_m_s, {_mean("neerslag_mm")} AS neerslag_mm,
                {_mean("luchtvochtigheid_pct")} AS luchtvochtigheid_buiten_pct
            FROM __weer
            GROUP BY uur_op
        )
        SELECT * FROM lucht FULL JOIN buiten USING (uur)
    """)


def _mean(column: str) -> str:
    return f"{fixed_point_sum(column)} / nullif(count({column}), 0)"


def with_hours(
    con: duckdb.DuckDBPyConnection, passages: duckdb.DuckDBPyRelation, uren: duckdb.DuckDBPyRelation
) -> duckdb.DuckDBPyRelation:
    """Passages with the `hours` in which they were ridden; NULL where no station reports on the hour."""
    __passages, __uren = passages, uren
    return con.sql("SELECT * FROM __passages LEFT JOIN __uren USING (uur)")
