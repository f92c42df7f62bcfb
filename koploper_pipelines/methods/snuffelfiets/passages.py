"""From riding measurements to passages: a ride through a cell of 100 m in a clock hour.

Here belongs where riding measurements lie (RD New, the CBS grid), which of them lie so near the ends of
their ride that they would tell where a rider lives, and their sums. Means over riders, corrections and
minimum counts belong to the indicators made from passages.

A passage is the smallest unit kept after cleaning: medians, distinct counts and clustered intervals do
not add up over days, but all of them follow from passages.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa  # type: ignore[import-untyped, unused-ignore]
import pyarrow.compute as pc  # type: ignore[import-untyped, unused-ignore]
from numpy.typing import NDArray

from koploper_pipelines.methods import geo
from koploper_pipelines.methods.sums import fixed_point_sum

CELL_M = 100
HOME_CELL_M = 500
"""Ends of rides within one such cell are taken for the same place."""
LONGEST_WAIT_S = 180.0
"""A longer stop within a ride is an errand and no waiting: no traffic light keeps a cyclist for 3 minutes."""
ROUGH_ACC_MAX = 3
"""Above this the accelerometer's largest reading counts as a bump (the lowest class of max-i36's tool). The
unit is not documented, and in the real file 97% of the readings are 0: weak evidence of rough roads."""


@dataclass(frozen=True)
class ZoneRules:
    """Size of the zones around the ends of rides.

    Raises ValueError unless the end of a ride always lies in its own zone.
    """

    zone_radius_m: float = 250.0
    max_offset_m: float = 150.0
    """The zone covers at least `zone_radius_m - max_offset_m` in every direction from the end."""

    def __post_init__(self) -> None:
        """Refuse a zone that can leave the end of the ride outside."""
        if not (math.isfinite(self.zone_radius_m) and 0 <= self.max_offset_m < self.zone_radius_m):
            raise ValueError(f"{self}: expected finite numbers with 0 <= max_offset_m < zone_radius_m")


def to_rd(
    longitude: NDArray[np.float64], latitude: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """WGS84 degrees to RD New metres (EPSG:28992), x and y of the same shape; accurate to 1 m."""
    x, y = geo.rd_transformer().transform(longitude, latitude)
    return x, y


def ride_rows(
    con: duckdb.DuckDBPyConnection,
    segmenten: duckdb.DuckDBPyRelation,
    ritten: duckdb.DuckDBPyRelation,
    zones: ZoneRules,
) -> duckdb.DuckDBPyRelation:
    """The riding measurements of rides with their place, and whether they lie in a privacy zone.

    `segmenten` is what `rides.segments` gives and must hold each of the `ritten` (of `rides.rides`)
    whole, from the measurement at its start to that at its end; otherwise ValueError, since a ride with
    an unknown end cannot be protected. Returns `rit_id`, `apparaat`, `meetdag` (of the ride's start),
    `opgenomen_op`, `pm25_ug_m3`, `is_onder_detectie`, `luchtvochtigheid_pct`, `acc_max`,
    `tussentijd_s`, `afstand_m`, `stilstand_s` (until the next riding segment of the ride), `cel_x`, `cel_y`
    (hundreds of metres, south-west corner) and `is_in_zone`: per ride `aantal_metingen` rows.

    A zone is a circle around the end of a ride, shifted by an offset that follows from the device and
    the 500 m cell of the end alone. A fixed cut would be undone by intersecting many rides from one home;
    rides cut by one and the same shifted circle show that circle, and not where in it the home is. The
    offset is as secret as `apparaat`, which must be a keyed hash.

    The coordinates are evaluated now and held in memory; the rest is lazy.
    """
    __segmenten, __ritten = segmenten, ritten
    numbered = con.sql("""
        SELECT rit_id, apparaat, meetdag, start_op, einde_op, row_number() OVER (ORDER BY rit_id) AS rit_nr
        FROM __ritten
    """).to_arrow_table()
    __nummers = con.from_arrow(numbered)
    rows = con.sql("""
        SELECT rit_nr, opgenomen_op, opgenomen_op = start_op AS is_start, opgenomen_op = einde_op AS is_einde,
            breedtegraad, lengtegraad, pm25_ug_m3, is_onder_detectie, luchtvochtigheid_pct, acc_max,
            tussentijd_s, afstand_m,
            coalesce(epoch_us(lead(vorige_op) OVER (PARTITION BY rit_nr ORDER BY opgenomen_op))
                - epoch_us(opgenomen_op), 0) / 1e6 AS stilstand_s
        FROM __segmenten AS s JOIN __nummers AS n
            ON hash(s.apparaat::VARCHAR) = hash(n.apparaat::VARCHAR)
                AND s.opgenomen_op BETWEEN n.start_op AND n.einde_op
        WHERE is_rijdend OR opgenomen_op = start_op
    """).to_arrow_table()
    _require_ends(rows, numbered.num_rows)
    x, y = to_rd(rows["lengtegraad"].to_numpy(), rows["breedtegraad"].to_numpy())
    __rijen = con.from_arrow(
        rows.drop_columns(["lengtegraad", "breedtegraad"])
        .append_column("rd_x", pa.array(x))
        .append_column("rd_y", pa.array(y))
    )
    return con.sql(f"""
        WITH einden AS (
            SELECT rit_nr, is_start, {_shifted_sql(zones)}
            FROM __rijen JOIN __nummers USING (rit_nr)
            WHERE is_start OR is_einde
        ),
        zones AS (
            SELECT rit_nr,
                max(zone_x) FILTER (is_start) AS start_x, max(zone_y) FILTER (is_start) AS start_y,
                max(zone_x) FILTER (NOT is_start) AS einde_x, max(zone_y) FILTER (NOT is_start) AS einde_y
            FROM einden
            GROUP BY rit_nr
        )
        SELECT rit_id, apparaat, meetdag, opgenomen_op, pm25_ug_m3, is_onder_detectie, luchtvochtigheid_pct,
            acc_max, tussentijd_s, afstand_m, stilstand_s,
            CAST(floor(rd_x / {CELL_M}) AS INTEGER) AS cel_x,
            CAST(floor(rd_y / {CELL_M}) AS INTEGER) AS cel_y,
            least(
                (rd_x - start_x) * (rd_x - start_x) + (rd_y - start_y) * (rd_y - start_y),
                (rd_x - einde_x) * (rd_x - einde_x) + (rd_y - einde_y) * (rd_y - einde_y)
            ) <= {zones.zone_radius_m} * {zones.zone_radius_m} AS is_in_zone
        FROM __rijen JOIN zones USING (rit_nr) JOIN __nummers USING (rit_nr)
        WHERE NOT is_start
    """)


def _require_ends(rows: pa.Table, rides: int) -> None:
    for end in ("is_start", "is_einde"):
        found = pc.sum(rows[end]).as_py() or 0
        if found != rides:
            raise ValueError(f"{found} measurements with {end} for {rides} rides; expected one a ride")


def _shifted_sql(zones: ZoneRules) -> str:
    """Centre of the zone: the end of the ride, shifted uniformly over a disc of `max_offset_m`."""
    home = f"apparaat || '|' || floor(rd_x / {HOME_CELL_M}) || '|' || floor(rd_y / {HOME_CELL_M})"
    # 52 bits of the digest make a fraction that a double holds exactly.
    angle, area = (
        f"(CAST('0x' || left(sha256({home} || '|{part}'), 13) AS UBIGINT) / {2**52})"
        for part in ("hoek", "oppervlak")
    )
    shift, turn = f"({zones.max_offset_m} * sqrt({area}))", f"(2 * pi() * {angle})"
    return f"rd_x + {shift} * cos({turn}) AS zone_x, rd_y + {shift} * sin({turn}) AS zone_y"


def passages(con: duckdb.DuckDBPyConnection, rijrijen: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    """Sum the `ride_rows` outside privacy zones by ride, 100 m cell and clock hour.

    Returns `meetdag` (of the ride's start), `rit_id`, `apparaat`, `cel_100m` (CBS code of the RD square:
    `E1364N4561`), `uur` (its start; the same hours in UTC and in Europe/Amsterdam),
    `aantal_metingen`, `pm25_som_ug_m3`, `pm25_gemiddelde_ug_m3`, `rijtijd_s`, `afstand_m`,
    `luchtvochtigheid_gemiddelde_pct`, `aantal_onder_detectie`, `volgnummer` (order of the passages of a
    ride, from 1), `wachttijd_s` (stops of at most `LONGEST_WAIT_S`, in the cell where the riding stopped;
    known to a sampling interval of 12 s) and `aantal_schokken` (measurements above `ROUGH_ACC_MAX`). A
    segment counts whole in the cell and the hour of the measurement at its end.

    The sum of `aantal_metingen` and the number of rows with `is_in_zone` is the number of `ride_rows`.
    """
    __rijrijen = rijrijen
    # Sums of fixed point numbers: those of floating point depend on the order in which threads finish.
    return con.sql(f"""
        SELECT meetdag, rit_id, apparaat, format('E{{:04d}}N{{:04d}}', cel_x, cel_y) AS cel_100m,
            make_timestamptz(uur_us) AS uur,
            aantal_metingen,
            pm25_som_ug_m3,
            pm25_som_ug_m3 / aantal_metingen AS pm25_gemiddelde_ug_m3,
            rijtijd_s,
            afstand_m,
            luchtvochtigheid_gemiddelde_pct,
            aantal_onder_detectie,
            row_number() OVER (PARTITION BY rit_id ORDER BY eerste_op, cel_x, cel_y) AS volgnummer,
            wachttijd_s,
            aantal_schokken
        FROM (
            SELECT meetdag, rit_id, apparaat, cel_x, cel_y,
                epoch_us(opgenomen_op) // 3600000000 * 3600000000 AS uur_us,
                count(*) AS aantal_metingen,
                {fixed_point_sum("pm25_ug_m3")} AS pm25_som_ug_m3,
                {fixed_point_sum("tussentijd_s")} AS rijtijd_s,
                {fixed_point_sum("afstand_m")} AS afstand_m,
                {fixed_point_sum("luchtvochtigheid_pct")}
                    / nullif(count(luchtvochtigheid_pct), 0) AS luchtvochtigheid_gemiddelde_pct,
                count(*) FILTER (is_onder_detectie) AS aantal_onder_detectie,
                min(opgenomen_op) AS eerste_op,
                coalesce({fixed_point_sum("stilstand_s", f"FILTER (stilstand_s <= {LONGEST_WAIT_S})")}, 0)
                    AS wachttijd_s,
                count(*) FILTER (acc_max > {ROUGH_ACC_MAX}) AS aantal_schokken
            FROM __rijrijen
            WHERE NOT is_in_zone
            GROUP BY ALL
        )
    """)
