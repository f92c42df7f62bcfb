"""The cycling network: how cells of 100 m are ridden, and from which municipality to which rides go.

Here belong the figures of cells and of trips from passages. What may be shown of them is decided elsewhere.
"""

from __future__ import annotations

import duckdb
import pandas as pd


def cells(con: duckdb.DuckDBPyConnection, passages: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    """How each 100 m cell was ridden in each month.

    `passages` has `meetdag`, `apparaat`, `cel_100m`, `aantal_metingen`, `rijtijd_s`, `afstand_m`,
    `wachttijd_s`, `aantal_schokken`. Returns `maand`, `cel_100m`, `aantal_passages`, `aantal_apparaten`,
    `grootste_aandeel` (of one device in the passages), `snelheid_km_h` (distance over riding time),
    `wachttijd_s` (mean per passage), `schokken_pct` (share of the measurements) and `peildatum` (last day).
    """
    __passages = passages
    # Sums of fixed point numbers: those of floating point depend on the order in which threads finish.
    return con.sql("""
        WITH per_apparaat AS (
            SELECT strftime(meetdag, '%Y-%m') AS maand, cel_100m, apparaat, count(*) AS n,
                sum(aantal_metingen) AS metingen, sum(CAST(rijtijd_s AS DECIMAL(18, 6))) AS rijtijd,
                sum(CAST(afstand_m AS DECIMAL(18, 6))) AS afstand,
                sum(CAST(wachttijd_s AS DECIMAL(18, 6))) AS wachten, sum(aantal_schokken) AS schokken,
                max(meetdag) AS dag
            FROM __passages
            GROUP BY ALL
        )
        SELECT maand, cel_100m, sum(n)::BIGINT AS aantal_passages, count(*) AS aantal_apparaten,
            max(n) / sum(n) AS grootste_aandeel,
            3.6 * CAST(sum(afstand) AS DOUBLE) / nullif(CAST(sum(rijtijd) AS DOUBLE), 0) AS snelheid_km_h,
            CAST(sum(wachten) AS DOUBLE) / sum(n) AS wachttijd_s,
            100 * CAST(sum(schokken) AS DOUBLE) / CAST(sum(metingen) AS DOUBLE) AS schokken_pct,
            max(dag) AS peildatum
        FROM per_apparaat
        GROUP BY ALL
    """)


def trips(
    con: duckdb.DuckDBPyConnection,
    passages: duckdb.DuckDBPyRelation,
    ritten: duckdb.DuckDBPyRelation,
    areas: pd.DataFrame,
    all_areas: str,
) -> duckdb.DuckDBPyRelation:
    """Rides from municipality to municipality in each month, and all of them from `all_areas` to `all_areas`.

    A ride goes from the municipality of its first passage to that of its last. The stretches around its ends
    are left out of passages, so that a ride that ends just over a boundary counts on this side of it; and a
    ride that never leaves those stretches is no trip here.

    `passages` has `rit_id`, `cel_100m`, `volgnummer`; `ritten` has `rit_id`, `apparaat`, `meetdag`,
    `afstand_km`, `duur_s`; `areas` has `cel_100m` and `gebied_code`. Returns `maand`, `herkomst_code`,
    `bestemming_code`, `aantal_ritten`, `aantal_apparaten`, `grootste_aandeel` (of one device in the rides),
    `afstand_mediaan_km`, `duur_mediaan_minuten` and `peildatum` (last day).
    """
    __passages, __ritten, __gebieden = passages, ritten, con.from_df(areas)
    return con.sql(
        """
        WITH einden AS (
            SELECT rit_id, arg_min(gebied_code, volgnummer) AS herkomst_code,
                arg_max(gebied_code, volgnummer) AS bestemming_code
            FROM __passages JOIN __gebieden USING (cel_100m)
            GROUP BY rit_id
        ),
        tussen AS (
            SELECT strftime(meetdag, '%Y-%m') AS maand, herkomst_code, bestemming_code, apparaat, meetdag,
                afstand_km, duur_s / 60 AS duur_min
            FROM einden JOIN __ritten USING (rit_id)
        ),
        tochten AS (
            FROM tussen UNION ALL
            SELECT * REPLACE ($alle AS herkomst_code, $alle AS bestemming_code) FROM tussen
        ),
        per_apparaat AS (
            SELECT maand, herkomst_code, bestemming_code, apparaat, count(*) AS n
            FROM tochten
            GROUP BY ALL
        ),
        geteld AS (
            SELECT maand, herkomst_code, bestemming_code, sum(n)::BIGINT AS aantal_ritten,
                count(*) AS aantal_apparaten, max(n) / sum(n) AS grootste_aandeel
            FROM per_apparaat
            GROUP BY ALL
        ),
        midden AS (
            SELECT maand, herkomst_code, bestemming_code, median(afstand_km) AS afstand_mediaan_km,
                median(duur_min) AS duur_mediaan_minuten, max(meetdag) AS peildatum
            FROM tochten
            GROUP BY ALL
        )
        SELECT * FROM geteld JOIN midden USING (maand, herkomst_code, bestemming_code)
    """,
        params={"alle": all_areas},
    )
