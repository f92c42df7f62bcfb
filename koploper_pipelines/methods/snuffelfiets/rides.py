"""From measurements to rides: which stretches were ridden, and which of them belong together.

Here belongs the way between the measurements of one device: distance, riding or standing, and the
grouping into rides. Whether a measurement is usable at all is decided in `cleaning`; where the riding
measurements lie on the map, and which of them may be shown, in `passages`.

A device keeps sampling for 10 minutes after its last motion, so that rows are no proof of riding, and
the speed of a ride is its distance over its riding time: the mean of point speeds, as published before,
gives 12.6 instead of 3.9 km/h on the first ride of the reference file.
"""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass

import duckdb

from koploper_pipelines.methods.sums import fixed_point_sum

WGS84_SEMI_MAJOR_M = 6_378_137.0
WGS84_ECCENTRICITY_SQUARED = 0.00669437999014

_SHORTEST_DAY_H = 23
"""The day on which summer time begins."""


@dataclass(frozen=True)
class RideRules:
    """The choices in telling rides that could have been made otherwise.

    Raises ValueError on a limit that is not a finite, positive number, on limits in the wrong order, and
    on a `max_duration_h` that three local days cannot decide.
    """

    max_gap_min: float = 10.0
    """Longest rest within a ride: a traffic light or a parcel, shorter than a visit. Variants 5, 15, 30."""
    max_segment_gap_s: float = 300.0
    """Longest silence bridged by a straight line: two lost packets of 11 measurements (132 s each)."""
    min_speed_km_h: float = 5.0
    """The trough between standing (jitter below 2 km/h) and cycling (10 to 20 km/h) in real data."""
    max_speed_km_h: float = 45.0
    min_distance_m: float = 300.0
    """Shorter ones are moves of a parked bicycle and jumps of the position: 4 of 33 chains in real data, with
    0.5% of the distance."""
    min_duration_s: float = 60.0
    max_duration_h: float = 22.0
    """Longer is no ride of one person, but a device on a vehicle in service or a broken position. Not 24:
    that the riding went on beyond the next day must show within that day, 23 hours in spring."""

    def __post_init__(self) -> None:
        """Refuse values that cannot stand in a query, or that make a ride depend on the days at hand."""
        if not all(math.isfinite(value) and value > 0 for value in astuple(self)):
            raise ValueError(f"{self}: expected finite numbers above 0")
        if self.min_speed_km_h >= self.max_speed_km_h:
            raise ValueError(f"{self}: expected min_speed_km_h below max_speed_km_h")
        if self.max_duration_h + self.max_gap_min / 60 + self.max_segment_gap_s / 3600 > _SHORTEST_DAY_H:
            raise ValueError(
                f"{self}: expected max_duration_h, max_gap_min and max_segment_gap_s together within "
                f"{_SHORTEST_DAY_H} h, so that the day after its start decides whether a ride is one"
            )


def segments(
    con: duckdb.DuckDBPyConnection, metingen: duckdb.DuckDBPyRelation, rules: RideRules
) -> duckdb.DuckDBPyRelation:
    """Add to each kept measurement the segment that leads to it from the device's previous one.

    Returns the columns of `metingen` and `vorige_op`, `tussentijd_s`, `afstand_m` (all NULL on the first
    measurement of a device) and `is_rijdend`: the silence was bridgeable, the speed that of a bicycle,
    and the distance more than the uncertainty of a difference of two positions (the root of the sum of
    their squared accuracies), without which the jitter of a parked bicycle indoors reads as riding.

    Devices are told apart by hash, as in `cleaning`: sorting millions of rows by a long text is slow.
    """
    __metingen = metingen
    return con.sql(f"""
        SELECT * EXCLUDE (vorige_breedtegraad, vorige_lengtegraad, vorige_nauwkeurigheid_m),
            coalesce(
                tussentijd_s <= {rules.max_segment_gap_s}
                AND afstand_m * 3.6 >= {rules.min_speed_km_h} * tussentijd_s
                AND afstand_m * 3.6 <= {rules.max_speed_km_h} * tussentijd_s
                AND afstand_m > sqrt(nauwkeurigheid_m * nauwkeurigheid_m
                    + vorige_nauwkeurigheid_m * vorige_nauwkeurigheid_m),
                false
            ) AS is_rijdend
        FROM (
            SELECT *,
                (epoch_us(opgenomen_op) - epoch_us(vorige_op)) / 1e6 AS tussentijd_s,
                {_distance_sql()} AS afstand_m
            FROM (
                SELECT *,
                    lag(opgenomen_op) OVER volgorde AS vorige_op,
                    lag(breedtegraad) OVER volgorde AS vorige_breedtegraad,
                    lag(lengtegraad) OVER volgorde AS vorige_lengtegraad,
                    lag(nauwkeurigheid_m) OVER volgorde AS vorige_nauwkeurigheid_m
                FROM __metingen
                WINDOW volgorde AS (PARTITION BY hash(apparaat) ORDER BY opgenomen_op, bron_id)
            )
        )
    """)


def _distance_sql() -> str:
    """Metres on the WGS84 ellipsoid, with its radii of curvature at the mid latitude.

    Within 0.1% of the geodesic up to 100 km; segments are shorter than 4 km.
    """
    mid = "radians((breedtegraad + vorige_breedtegraad) / 2)"
    flattened = f"(1 - {WGS84_ECCENTRICITY_SQUARED} * sin({mid}) * sin({mid}))"
    prime_vertical = f"({WGS84_SEMI_MAJOR_M} / sqrt({flattened}))"
    meridian = f"({prime_vertical} * (1 - {WGS84_ECCENTRICITY_SQUARED}) / {flattened})"
    north = f"({meridian} * radians(breedtegraad - vorige_breedtegraad))"
    east = f"({prime_vertical} * cos({mid}) * radians(lengtegraad - vorige_lengtegraad))"
    return f"sqrt({north} * {north} + {east} * {east})"


def rides(
    con: duckdb.DuckDBPyConnection, metingen: duckdb.DuckDBPyRelation, rules: RideRules
) -> duckdb.DuckDBPyRelation:
    """One row a ride, ordered by device and start.

    Columns: `rit_id` (of device and start alone, so the same in every run), `apparaat`, `meetdag`
    (Europe/Amsterdam day of the start), `start_op`, `einde_op`, `duur_s`, and over the riding segments
    only `rijtijd_uur`, `afstand_km`, `snelheid_km_h` (their quotient) and `aantal_metingen`.

    The rides that start on a day follow from the measurements of that day, the day before and the day
    after. A longer chain of riding is dropped whole: cut up, its parts would depend on where one looks.
    """
    return rides_of_segments(con, segments(con, metingen, rules), rules)


def rides_of_segments(
    con: duckdb.DuckDBPyConnection, segmenten: duckdb.DuckDBPyRelation, rules: RideRules
) -> duckdb.DuckDBPyRelation:
    """The `rides` of `segments` that are there already: of the rules those of segments must be the same."""
    __segmenten = segmenten
    # Sums of fixed point numbers: those of floating point depend on the order in which threads finish.
    return con.sql(f"""
        WITH rijdend AS (
            SELECT apparaat, hash(apparaat) AS apparaat_hash, bron_id, vorige_op, opgenomen_op, afstand_m,
                tussentijd_s,
                lag(opgenomen_op) OVER (
                    PARTITION BY apparaat_hash ORDER BY opgenomen_op, bron_id
                ) AS vorig_einde_op
            FROM __segmenten
            WHERE is_rijdend
        ),
        begonnen AS (
            SELECT *, last_value(CASE
                WHEN epoch_us(vorige_op) - epoch_us(vorig_einde_op) <= {round(rules.max_gap_min * 60e6)}
                THEN NULL ELSE vorige_op
            END IGNORE NULLS) OVER (
                PARTITION BY apparaat_hash ORDER BY opgenomen_op, bron_id ROWS UNBOUNDED PRECEDING
            ) AS start_op
            FROM rijdend
        ),
        ritten AS (
            SELECT apparaat_hash, start_op,
                any_value(apparaat) AS apparaat,
                max(opgenomen_op) AS einde_op,
                (epoch_us(max(opgenomen_op)) - epoch_us(start_op)) / 1e6 AS duur_s,
                {fixed_point_sum("tussentijd_s")} / 3600 AS rijtijd_uur,
                {fixed_point_sum("afstand_m")} / 1000 AS afstand_km,
                count(*) AS aantal_metingen
            FROM begonnen
            GROUP BY apparaat_hash, start_op
        )
        SELECT left(sha256(apparaat || '|' || epoch_us(start_op)), 32) AS rit_id,
            apparaat,
            CAST(timezone('Europe/Amsterdam', start_op) AS DATE) AS meetdag,
            start_op, einde_op, duur_s, rijtijd_uur, afstand_km,
            afstand_km / rijtijd_uur AS snelheid_km_h,
            aantal_metingen
        FROM ritten
        WHERE afstand_km * 1000 >= {rules.min_distance_m}
            AND duur_s >= {rules.min_duration_s}
            AND duur_s <= {rules.max_duration_h} * 3600
        ORDER BY apparaat, start_op
    """)
