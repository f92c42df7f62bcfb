"""Hourly PM2.5 of the official stations: RIVM's yearly files in the inbox, and Luchtmeetnet's API.

Here belongs which stations, and what is asked of the API. The layouts stand in `resources/`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
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
from koploper_pipelines.gates.table import Delivery, Step, gated_table
from koploper_pipelines.resources.luchtmeetnet import FORMULA, Luchtmeetnet, Value
from koploper_pipelines.resources.rivm import read_year

if TYPE_CHECKING:
    import duckdb

TABLE = "snuffelfiets/raw/referentie"
SOURCE = "Luchtmeetnet"
COMPONENT = "PM2.5"
WINDOW = timedelta(days=4)
"""Longest period that users of the API ask for at once."""
OVERLAP = timedelta(days=2)
"""Asked again each night: recent hours come late and are corrected."""


@dataclass(frozen=True)
class Station:
    """A station in the heads of RIVM's files."""

    name: str
    kind: str
    place: str


# The stations of the province that measure PM2.5, as the heads of RIVM's files of 2020 and 2023 give them.
STATIONS = {
    "NL10636": Station("Utrecht-Kardinaal de Jongweg", "verkeer", "(52.105031,5.124464)"),
    "NL10641": Station("Breukelen-Snelweg", "verkeer", "(52.20153,4.987444)"),
    "NL10643": Station("Utrecht-Griftpark", "achtergrond", "(52.101308,5.128183)"),
    "NL10644": Station("Cabauw-Wielsekade", "achtergrond", "(51.974489,4.923301)"),
}


@gated_table(TABLE, lands=True, kinds=("csv", "delta"))
def referentie(step: Step) -> Iterator[Delivery | SourceState]:
    """Each yearly file in the inbox, then what the API has since."""
    landing = Landing(step.platform, TABLE)
    yield from files_of_hours(landing, "snuffelfiets/referentie", "rivm_jaarbestand", _hour, _parsed)
    sources = SnuffelfietsSources()
    if sources.luchtmeetnet_url is not None:
        client = Luchtmeetnet(api(SOURCE, sources.luchtmeetnet_url, sources))
        yield from from_source(SOURCE, _fetched(step.con, landing, client, sources))


def _hour() -> str:
    from koploper_pipelines.methods.snuffelfiets.reference import reference_hour_sql

    return reference_hour_sql("begindatumtijd", "einddatumtijd")


def _parsed(body: bytes, name: str) -> Records:
    return read_year(table_text(body, name), name, STATIONS, COMPONENT)


def _fetched(
    con: duckdb.DuckDBPyConnection, landing: Landing, client: Luchtmeetnet, sources: SnuffelfietsSources
) -> Iterator[Delivery]:
    """What the API has and the table has not, a delivery a window, oldest first."""
    now = landing.platform.clock.now()
    known = _known(con, landing)
    start = _start(now, {key: hour for key, (hour, _) in known.items()}, sources)
    said = {key: value for key, (_, value) in known.items()}

    def new(start: datetime, end: datetime) -> Records:
        values = client.between(list(STATIONS), start, end)
        return [_row(v) for v in values if said.get((v.station, v.moment), "") != (v.value or None)]

    asked = periods(start, now, WINDOW)
    yield from answers_of_hours(Hours(landing, "luchtmeetnet", _hour), SOURCE, asked, new)


def _start(
    now: datetime, landed: Mapping[tuple[str, str], datetime], sources: SnuffelfietsSources
) -> datetime:
    """Since when to ask: the last hour of the station furthest behind, but not of one that stopped."""
    last = {s: max((h for (t, _), h in landed.items() if t == s), default=None) for s in STATIONS}
    newest = min(max((h for h in last.values() if h is not None), default=now), now)
    horizon = newest - timedelta(days=sources.eerste_dagen)
    return max(min((h or horizon) for h in last.values()) - OVERLAP, horizon)


def _known(
    con: duckdb.DuckDBPyConnection, landing: Landing
) -> dict[tuple[str, str], tuple[datetime, str | None]]:
    """Per station and moment, as the API writes it, the hour and the value that the API gave last."""
    landed = landing.relation(con)
    if landed is None:
        return {}
    newest = landed.filter("bron = 'luchtmeetnet' AND meetdag IS NOT NULL").aggregate(
        f"station, einddatumtijd, any_value({_hour()}) AS uur, arg_max(struct_pack(w := waarde), levering)",
        "station, einddatumtijd",
    )
    return {(s, m): (hour, kept["w"]) for s, m, hour, kept in newest.fetchall()}


def _row(value: Value) -> dict[str, str | None]:
    station = STATIONS[value.station]
    return {
        "station": value.station,
        "stationsnaam": station.name,
        "stationstype": station.kind,
        "locatie": station.place,
        "component": FORMULA,
        "eenheid": "µg/m³",
        "begindatumtijd": None,
        "einddatumtijd": value.moment,
        "waarde": value.value,
    }
