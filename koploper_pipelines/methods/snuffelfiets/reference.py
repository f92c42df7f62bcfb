"""Hourly values of reference stations and of the weather: from text to numbers on one clock.

Here belongs reconciling the clocks of the sources and reading their notations. What follows from the values
(the background, calibration) belongs elsewhere.

Three clocks meet here. RIVM's yearly files are in UTC+1 all year, also in summer: written without a zone
(`20200101 00:00`) or with it (`2023-01-01T00:00:00+01:00`). Luchtmeetnet gives moments with their zone, the
end of the hour (not found in its documentation; reported by a public user of the data). KNMI numbers the
hours of a UT day from 1 to 24, and hour 5 runs from 4 to 5. Each row ends up under the UTC start of its hour
and the Europe/Amsterdam day of that start.

Sources of the notations: the heads of RIVM's and KNMI's own files. KNMI: direction 0 is calm and 990
variable, amounts are tenths, rain of -1 is a trace, less than 0.05 mm.
"""

from __future__ import annotations

import duckdb

TRACE_MM = 0.025
"""Half of the smallest amount that KNMI writes: the middle of what a trace may be."""
FIRST_DAY = "2018-01-01"
"""Before the first devices were built."""
NETHERLANDS = "latitude BETWEEN 50.65 AND 53.66 AND longitude BETWEEN 3.26 AND 7.33"
REFERENCE_COLUMNS = ("meetdag", "uur_op", "station", "stationstype", "latitude", "longitude", "pm25_ug_m3")
WEATHER_COLUMNS = (
    "meetdag", "uur_op", "weerstation", "windrichting_graden", "wind_m_s", "temperatuur_c",
    "luchtvochtigheid_pct", "neerslag_mm", "is_spoor", "luchtdruk_hpa",
)  # fmt: skip
_NAIVE_FORMATS = "['%Y%m%d %H:%M', '%Y-%m-%d %H:%M', '%Y-%m-%d %H:%M:%S', '%Y-%m-%dT%H:%M:%S']"
_NUMBERS = ("dd", "fh", "t", "u", "rh", "p")


def reference_hour_sql(begin: str, end: str) -> str:
    """SQL for the start of the hour between two texts, either of which may be missing; NULL when unreadable.

    Given both, they must lie an hour apart.
    """
    b, e = _moment_sql(begin), _moment_sql(end)
    return (
        f"CASE WHEN nullif(trim({begin}), '') IS NULL THEN {e} - INTERVAL 1 HOUR"
        f" WHEN nullif(trim({end}), '') IS NULL OR {e} - {b} = INTERVAL 1 HOUR THEN {b} END"
    )


def weather_hour_sql(day: str, hour: str) -> str:
    """SQL for the start of KNMI's hour of a day, in UTC; NULL when unreadable."""
    number = f"TRY_CAST(trim({hour}) AS INTEGER)"
    return (
        f"CASE WHEN regexp_full_match(trim({hour}), '[0-9]{{1,2}}') AND {number} BETWEEN 1 AND 24"
        f" THEN timezone('UTC', try_strptime(trim({day}), '%Y%m%d')) + to_hours({number} - 1) END"
    )


def local_day_sql(moment: str) -> str:
    """SQL for the day in the province on which a moment falls."""
    return f"timezone('Europe/Amsterdam', {moment})::DATE"


def possible_sql(moment: str, landed: str) -> str:
    """SQL that tells whether a moment can be that of a measurement which landed then."""
    return f"{local_day_sql(moment)} >= DATE '{FIRST_DAY}' AND {moment} <= {landed} + INTERVAL 1 DAY"


def judge_reference(con: duckdb.DuckDBPyConnection, raw: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    """Type every raw hour of a station and give it at most one reason for rejection.

    `raw` holds the columns of the raw table. Returns every row of it once: `bestand`, `rij`, the
    `REFERENCE_COLUMNS`, `reden` (NULL: usable) and `toelichting`. Of the readable rows of one station and
    hour the last delivery counts, also when it has no value: the station took it back.
    """
    __raw = raw
    return con.sql(f"""
        WITH gelezen AS (
            SELECT bestand, rij, station, levering, geland_op, meetdag,
                {reference_hour_sql("begindatumtijd", "einddatumtijd")} AS uur_op,
                CASE lower(trim(stationstype)) WHEN 'achtergrond' THEN 'achtergrond'
                    WHEN 'verkeer' THEN 'verkeer' ELSE 'overig' END AS stationstype,
                TRY_CAST(regexp_extract(locatie, '^\\(([0-9.]+),', 1) AS DOUBLE) AS latitude,
                TRY_CAST(regexp_extract(locatie, ',\\s*([0-9.]+)\\)$', 1) AS DOUBLE) AS longitude,
                nullif(trim(waarde), '') IS NOT NULL AS heeft_waarde,
                {_number_sql("waarde")} AS pm25_ug_m3
            FROM __raw
        ),
        beoordeeld AS (
            SELECT *, CASE WHEN uur_op IS NULL THEN 'onleesbare_tijd'
                WHEN NOT ({possible_sql("uur_op", "geland_op")}) THEN 'onmogelijke_tijd'
                WHEN heeft_waarde AND pm25_ug_m3 IS NULL THEN 'onleesbare_waarde'
                WHEN NOT coalesce({NETHERLANDS}, FALSE) THEN 'onbekend_station' END AS bezwaar
            FROM gelezen
        )
        SELECT bestand, rij, {", ".join(REFERENCE_COLUMNS)},
            CASE WHEN bezwaar IS NOT NULL THEN bezwaar WHEN volgorde > 1 THEN 'vervangen'
                WHEN NOT heeft_waarde THEN 'geen_waarde' END AS reden,
            CASE coalesce(bezwaar, '') WHEN 'onleesbare_tijd' THEN 'tijden een uur uit elkaar verwacht'
                WHEN 'onmogelijke_tijd' THEN 'van {FIRST_DAY} tot een dag na de landing verwacht'
                WHEN 'onleesbare_waarde' THEN 'waarde: getal of leeg verwacht'
                WHEN 'onbekend_station' THEN 'locatie: (breedtegraad,lengtegraad) in Nederland verwacht'
                ELSE '' END AS toelichting
        FROM (
            SELECT *, row_number() OVER (
                PARTITION BY station, uur_op, bezwaar IS NULL ORDER BY levering DESC, rij DESC, bestand
            ) AS volgorde
            FROM beoordeeld
        )
    """)


def judge_weather(con: duckdb.DuckDBPyConnection, raw: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    """Type every raw hour of the weather and give it at most one reason for rejection.

    As `judge_reference`, with the `WEATHER_COLUMNS`. A missing value stays NULL: stations do not measure all.
    """
    __raw = raw
    numbers = ", ".join(f"{_number_sql(n)} AS {n}_getal" for n in _NUMBERS)
    unreadable = " OR ".join(f"(nullif(trim({n}), '') IS NOT NULL AND {n}_getal IS NULL)" for n in _NUMBERS)
    return con.sql(f"""
        WITH gelezen AS (
            SELECT *, {weather_hour_sql("yyyymmdd", "hh")} AS uur_op, nullif(trim(stn), '') AS weerstation,
                {numbers}
            FROM __raw
        ),
        beoordeeld AS (
            SELECT *, CASE WHEN NOT coalesce(regexp_full_match(weerstation, '[0-9]{{3}}'), FALSE)
                    THEN 'onbekend_station'
                WHEN uur_op IS NULL THEN 'onleesbare_tijd'
                WHEN NOT ({possible_sql("uur_op", "geland_op")}) THEN 'onmogelijke_tijd'
                WHEN {unreadable} THEN 'onleesbare_waarde' END AS bezwaar
            FROM gelezen
        )
        SELECT bestand, rij, meetdag, uur_op, weerstation,
            CASE WHEN dd_getal NOT IN (0, 990) THEN dd_getal END AS windrichting_graden,
            fh_getal / 10 AS wind_m_s, t_getal / 10 AS temperatuur_c, u_getal AS luchtvochtigheid_pct,
            CASE WHEN rh_getal = -1 THEN {TRACE_MM} ELSE rh_getal / 10 END AS neerslag_mm,
            coalesce(rh_getal = -1, FALSE) AS is_spoor, p_getal / 10 AS luchtdruk_hpa,
            CASE WHEN bezwaar IS NOT NULL THEN bezwaar WHEN volgorde > 1 THEN 'vervangen' END AS reden,
            CASE coalesce(bezwaar, '') WHEN 'onbekend_station' THEN 'STN: drie cijfers verwacht'
                WHEN 'onleesbare_tijd' THEN 'YYYYMMDD en HH: datum en uurvak 1 tot en met 24 verwacht'
                WHEN 'onmogelijke_tijd' THEN 'van {FIRST_DAY} tot een dag na de landing verwacht'
                WHEN 'onleesbare_waarde' THEN '{", ".join(_NUMBERS).upper()}: getal of leeg verwacht'
                ELSE '' END AS toelichting
        FROM (
            SELECT *, row_number() OVER (
                PARTITION BY weerstation, uur_op, bezwaar IS NULL ORDER BY levering DESC, rij DESC, bestand
            ) AS volgorde
            FROM beoordeeld
        )
    """)


def _moment_sql(text: str) -> str:
    """SQL for the moment that a text names; without a zone it is in UTC+1, RIVM's clock all year."""
    return (
        f"CASE WHEN regexp_full_match(trim({text}), '.*(Z|[+-][0-9]{{2}}:?[0-9]{{2}})')"
        f" THEN TRY_CAST(trim({text}) AS TIMESTAMPTZ)"
        f" ELSE timezone('UTC', try_strptime(trim({text}), {_NAIVE_FORMATS}) - INTERVAL 1 HOUR) END"
    )


def _number_sql(text: str) -> str:
    """SQL for a number; DuckDB also reads '1_000', 'nan' and 'inf' as one, which no source writes."""
    return f"CASE WHEN regexp_full_match(trim({text}), '-?[0-9]+([.][0-9]+)?') THEN trim({text})::DOUBLE END"
