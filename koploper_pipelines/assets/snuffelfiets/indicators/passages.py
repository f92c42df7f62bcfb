"""Passages: the one table between cleaned and all indicators, with the air and the weather of their hours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from koploper_pipelines.assets.snuffelfiets import SnuffelfietsSettings
from koploper_pipelines.assets.snuffelfiets.cleaned import ride_rules
from koploper_pipelines.assets.snuffelfiets.indicators import (
    MEASUREMENTS,
    PASSAGES,
    REFERENCE,
    RIDES,
    WEATHER,
)
from koploper_pipelines.gates.staging import Offered
from koploper_pipelines.gates.table import Reads, Step, gated_table
from koploper_pipelines.relations import code_of, count, select, value
from koploper_pipelines.resources.reference import municipality_squares

if TYPE_CHECKING:
    import duckdb
    import pandas as pd


@gated_table(
    PASSAGES,
    reads=[
        Reads(MEASUREMENTS, before=1, after=1),
        Reads(RIDES),
        # A ride may end the day after.
        Reads(REFERENCE, after=1, lookup=True),
        Reads(WEATHER, after=1, lookup=True),
    ],
    settings=SnuffelfietsSettings,
)
def passages(step: Step) -> Offered:
    """The passages of the rides that start on the days in hand, without their first and last stretch."""
    from koploper_pipelines.methods.snuffelfiets import background
    from koploper_pipelines.methods.snuffelfiets import passages as method
    from koploper_pipelines.methods.snuffelfiets import rides as ride_method

    measurements, rode = step.read(MEASUREMENTS), step.read(RIDES)
    devices = measurements.project("apparaat").union(rode.project("apparaat"))
    device, ride = code_of(step.con, devices, "apparaat"), code_of(step.con, rode, "rit_id")
    made = rode.project(
        f"* REPLACE (CAST(apparaat AS {device}) AS apparaat, CAST(rit_id AS {ride}) AS rit_id)"
    )
    # No more than is used, since each column is sorted along.
    measured = measurements.project(
        f"CAST(apparaat AS {device}) AS apparaat, bron_id, opgenomen_op, breedtegraad, lengtegraad,"
        " nauwkeurigheid_m, pm25_ug_m3, is_onder_detectie, luchtvochtigheid_pct, acc_max"
    )
    segments = ride_method.segments(step.con, measured, ride_rules(step.settings(SnuffelfietsSettings)))
    method.ride_rows(step.con, segments, made, method.ZoneRules()).create("rijrijen")
    riding = step.con.table("rijrijen")
    in_zones = count(riding.filter("is_in_zone"))
    hours = background.hours(step.con, in_province(step, step.read(REFERENCE)), step.read(WEATHER))
    hours.create("uren")
    return Offered(
        background.with_hours(step.con, method.passages(step.con, riding), step.con.table("uren")),
        controls={"metingen_na_zones": total(made, "aantal_metingen") - in_zones},
        notes={"metingen_in_zones": in_zones},
    )


def coded(step: Step, passages: duckdb.DuckDBPyRelation) -> pd.DataFrame:
    """Passages by ride, hour and cell for what is computed in memory, with `maand` and the hour as a number.

    Texts are categories: pandas counts and groups by numbers, and hundreds of thousands of texts take longer
    to hand over than the rest takes together. The order of the rows says nothing.
    """
    passages.create_view("alle_passages")
    months = step.con.sql("SELECT strftime(meetdag, '%Y-%m') AS maand FROM alle_passages")
    texts = {c: code_of(step.con, passages, c) for c in ("rit_id", "apparaat", "cel_100m")}
    rows: pd.DataFrame = step.con.sql(f"""
        SELECT CAST(strftime(meetdag, '%Y-%m') AS {code_of(step.con, months, "maand")}) AS maand, meetdag,
            {", ".join(f"CAST({c} AS {code}) AS {c}" for c, code in texts.items())},
            epoch_us(uur) AS uur, aantal_metingen, pm25_gemiddelde_ug_m3
        FROM alle_passages
    """).df()
    return rows


def total(rows: duckdb.DuckDBPyRelation, column: str) -> int:
    """Sum of a column of whole numbers; 0 without rows."""
    return int(value(rows.aggregate(f"coalesce(sum({column}), 0)")))


def in_province(step: Step, reference: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    """Hourly values of the stations in the province: one elsewhere has another background."""
    step.con.register("stations_in_provincie", stations(reference)[["station"]])
    return select(reference, "r", "SELECT * FROM r SEMI JOIN stations_in_provincie USING (station)")


def stations(reference: duckdb.DuckDBPyRelation) -> pd.DataFrame:
    """Stations in the province with their type and their place in RD metres."""
    from koploper_pipelines.methods import geo

    found: pd.DataFrame = reference.aggregate(
        "station, max(stationstype) AS stationstype, max(latitude) AS latitude, max(longitude) AS longitude",
        "station",
    ).df()
    x, y = geo.wgs84_to_rd(found["longitude"], found["latitude"])
    area = geo.assign_municipality(x, y, municipality_squares())
    placed = found[["station", "stationstype"]].assign(rd_x_m=x, rd_y_m=y)
    inside: pd.DataFrame = placed[area != geo.OUTSIDE_PROVINCE]
    return inside.sort_values("station", ignore_index=True)
