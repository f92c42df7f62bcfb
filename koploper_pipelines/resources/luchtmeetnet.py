"""Luchtmeetnet's API: hourly values of the official stations.

Here belongs the API's paging and the shape of its answers. Values and moments stay as they are written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from koploper_pipelines.gates.staging import SchemaMismatch
from koploper_pipelines.resources.http import Api, BadAnswer

FORMULA = "PM25"
FIELDS = ("station_number", "value", "timestamp_measured", "formula")
MOST_PAGES = 1000
"""More than a window of any length asked for here can have: a paging that runs on."""


@dataclass(frozen=True)
class Value:
    """One hourly value, as text."""

    station: str
    moment: str
    value: str | None


@dataclass(frozen=True)
class Page:
    """One page of an answer, and how many there are."""

    values: tuple[Value, ...]
    last: int


@dataclass(frozen=True)
class Luchtmeetnet:
    """The measurements of the API."""

    api: Api

    def between(self, stations: Sequence[str], start: datetime, end: datetime) -> list[Value]:
        """PM2.5 of some stations between two UTC moments, all pages, by station and moment.

        Every value once: a value that stands on two pages, because the list grew in between, counts once.
        Raises SourceUnreachable, SourceRefused, and SchemaMismatch when the answer has another shape.
        """
        return [v for s in stations for v in self._of_station(s, start, end)]

    def _of_station(self, station: str, start: datetime, end: datetime) -> list[Value]:
        found: dict[str, Value] = {}
        number, last = 1, 1
        while number <= last:
            page = self._page(station, start, end, number)
            found |= {v.moment: v for v in page.values}
            number, last = number + 1, page.last
        return [found[m] for m in sorted(found)]

    def _page(self, station: str, start: datetime, end: datetime, number: int) -> Page:
        params = {
            "station_number": station,
            "formula": FORMULA,
            "start": f"{start:%Y-%m-%dT%H:%M:%SZ}",
            "end": f"{end:%Y-%m-%dT%H:%M:%SZ}",
            "order_by": "timestamp_measured",
            # Oldest first, so that an hour that arrives meanwhile comes at the end and moves no other.
            "order_direction": "asc",
            "page": str(number),
        }
        return self.api.json("/measurements", params, lambda said: self._read(said, station, number))

    def _read(self, said: Any, station: str, number: int) -> Page:
        pagination = said.get("pagination") if isinstance(said, dict) else None
        data = said.get("data") if isinstance(said, dict) else None
        if not isinstance(pagination, dict) or not isinstance(data, list):
            raise SchemaMismatch(f"{self.api.name}: the answer lacks pagination or data")
        current, last = (str(pagination.get(k)) for k in ("current_page", "last_page"))
        if not last.isdigit() or not current.isdigit():
            raise SchemaMismatch(f"{self.api.name}: pagination without current_page and last_page")
        if int(current) != number:
            raise BadAnswer(f"page {current} instead of page {number}")
        if int(last) > MOST_PAGES:
            raise BadAnswer(f"{last} pages, expected at most {MOST_PAGES}")
        return Page(tuple(self._value(item, station) for item in data), int(last))

    def _value(self, item: Any, station: str) -> Value:
        if not isinstance(item, dict) or (missing := [f for f in FIELDS if f not in item]):
            what = f"lacks {', '.join(missing)}" if isinstance(item, dict) else "is no object"
            raise SchemaMismatch(f"{self.api.name}: a measurement {what}; expected {', '.join(FIELDS)}")
        moment, value = item["timestamp_measured"], item["value"]
        if not isinstance(moment, str) or not (value is None or isinstance(value, str)):
            raise SchemaMismatch(f"{self.api.name}: a measurement whose moment or value is no plain value")
        if (item["station_number"], item["formula"]) != (station, FORMULA):
            raise BadAnswer(f"a measurement that was not asked for ({str(item['station_number'])[:10]})")
        return Value(station, moment, value)
