"""Hourly weather of KNMI: files in the inbox, and the service that gives the hours since.

Here belongs which station, and what is asked of the service. The layout stands in `resources/knmi.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from koploper_pipelines.assets.snuffelfiets import SnuffelfietsSources
from koploper_pipelines.assets.snuffelfiets.raw.landing import (
    Hours,
    Landing,
    Records,
    answers_of_hours,
    api,
    files_of_hours,
    periods,
    table_text,
)
from koploper_pipelines.gates.sources import SourceState, from_source
from koploper_pipelines.gates.staging import SchemaMismatch
from koploper_pipelines.gates.table import Delivery, Step, gated_table
from koploper_pipelines.resources.knmi import COLUMNS, KnmiHours, read_hours

if TYPE_CHECKING:
    import duckdb

TABLE = "snuffelfiets/raw/weer"
SOURCE = "KNMI"
STATIONS = ("260",)
"""De Bilt, in the middle of the province."""
WINDOW = timedelta(days=30)
OVERLAP = timedelta(days=7)
"""Asked again each night: KNMI validates the values of the last days on working days."""
TEXT_COLUMNS = tuple(c.lower() for c in COLUMNS)


@gated_table(TABLE, lands=True, kinds=("csv", "delta"))
def weer(step: Step) -> Iterator[Delivery | SourceState]:
    """Each file in the inbox, then what the service has since."""
    landing = Landing(step.platform, TABLE)
    yield from files_of_hours(landing, "snuffelfiets/weer", "knmi_bestand", _hour, _parsed)
    sources = SnuffelfietsSources()
    if sources.knmi_url is not None:
        client = KnmiHours(api(SOURCE, sources.knmi_url, sources))
        yield from from_source(SOURCE, _fetched(step.con, landing, client, sources))


def _hour() -> str:
    from koploper_pipelines.methods.snuffelfiets.reference import weather_hour_sql

    return weather_hour_sql("yyyymmdd", "hh")


def _parsed(body: bytes, name: str) -> Records:
    rows = read_hours(table_text(body, name), name)
    if not rows:
        raise SchemaMismatch(f"{name}: a header and 0 rows, expected a row an hour")
    return rows


def _fetched(
    con: duckdb.DuckDBPyConnection, landing: Landing, client: KnmiHours, sources: SnuffelfietsSources
) -> Iterator[Delivery]:
    """What the service has and the table has not, a delivery a window, oldest first."""
    now = landing.platform.clock.now()
    known, last = _known(con, landing)
    start = now - timedelta(days=sources.eerste_dagen) if last is None else min(last, now) - OVERLAP

    def new(start: datetime, end: datetime) -> Records:
        given = client.between(STATIONS, start, end)
        return [r for r in given if known.get((r["stn"], r["yyyymmdd"], r["hh"])) != _values(r)]

    # The days of the end are whole days in the answer.
    asked = periods(start, now, WINDOW, between=timedelta(days=1))
    yield from answers_of_hours(Hours(landing, "knmi", _hour), SOURCE, asked, new)


def _values(row: dict[str, str | None]) -> tuple[str | None, ...]:
    return tuple(row[c] for c in TEXT_COLUMNS)


def _known(
    con: duckdb.DuckDBPyConnection, landing: Landing
) -> tuple[dict[tuple[str | None, ...], tuple[str | None, ...]], datetime | None]:
    """The row that the service gave last per station, day and hour, and the last hour of all."""
    landed = landing.relation(con)
    if landed is None:
        return {}, None
    own = landed.filter("bron = 'knmi' AND meetdag IS NOT NULL").order("levering")
    rows = own.project(", ".join(TEXT_COLUMNS)).fetchall()
    (last,) = own.aggregate(f"max({_hour()})").fetchall()[0]
    return {r[:3]: r for r in rows}, last
