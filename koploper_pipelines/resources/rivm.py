"""RIVM's yearly file of hourly air quality: its layout, as text.

Here belongs reading the layout strictly. Times and values stay as they are written; what they mean is for
the cleaned layer.

The layout: lines of metadata whose label stands in the fifth column (`StationsCode`, `StationsNaam`,
`Latitude,Longitude`, `StationsType`), then a header that starts with `Component`, then a line an hour with a
value per station. Separated by `;`, in Latin-1.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

from koploper_pipelines.gates.staging import SchemaMismatch

HEADER = ("Component", "Bep.periode", "Eenheid", "Begindatumtijd", "Einddatumtijd")
LABEL = 4
"""Column of the label of a line of metadata; the stations begin after it."""
METADATA = {"stationsnaam": "StationsNaam", "stationstype": "StationsType", "locatie": "Latitude,Longitude"}
PERIOD = "uur"


def read_year(text: str, name: str, stations: Iterable[str], component: str) -> list[dict[str, str | None]]:
    """The values of some stations, one row a line and station, in the order of the lines.

    Columns: rij (1 = first line after the header), station, stationsnaam, stationstype, locatie, component,
    eenheid, begindatumtijd, einddatumtijd, waarde. Raises SchemaMismatch naming file, line and expectation.
    """
    # Not splitlines, which also breaks at characters that stand in names; and quotes mean nothing here.
    lines = list(csv.reader(io.StringIO(text, newline=""), delimiter=";", quoting=csv.QUOTE_NONE))
    at = next((i for i, cells in enumerate(lines) if cells and cells[0].strip() == HEADER[0]), None)
    if at is None:
        raise SchemaMismatch(f"{name}: no line begins with {HEADER[0]!r}, expected RIVM's yearly file")
    header = [c.strip() for c in lines[at]]
    if tuple(header[: len(HEADER)]) != HEADER:
        raise SchemaMismatch(f"{name}: line {at + 1} is {';'.join(header[:5])}, expected {';'.join(HEADER)}")
    wanted = [s for s in stations if s in header]
    if not wanted:
        raise SchemaMismatch(f"{name}: line {at + 1} names none of the stations {', '.join(stations)}")
    if doubled := [s for s in wanted if header.count(s) > 1]:
        raise SchemaMismatch(f"{name}: line {at + 1} names station {doubled[0]} twice, expected once")
    places = {s: header.index(s) for s in wanted}
    about = {s: _about(lines[:at], places[s], name) for s in wanted}
    rows: list[dict[str, str | None]] = []
    for number, cells in enumerate(lines[at + 1 :], start=1):
        where = f"{name}: row {number} (line {at + 1 + number})"
        if len(cells) != len(header):
            raise SchemaMismatch(
                f"{where} has {len(cells)} fields, expected {len(header)}; is the file cut off?"
            )
        if (cells[0].strip(), cells[1].strip()) != (component, PERIOD):
            raise SchemaMismatch(
                f"{where} holds {cells[0].strip()[:20]} per {cells[1].strip()[:20]}, expected {component} per"
                f" {PERIOD}"
            )
        for station in wanted:
            rows.append(
                {
                    "rij": str(number),
                    "station": station,
                    **about[station],
                    "component": component,
                    "eenheid": cells[2].strip(),
                    "begindatumtijd": cells[3].strip(),
                    "einddatumtijd": cells[4].strip(),
                    "waarde": cells[places[station]].strip() or None,
                }
            )
    if not rows:
        raise SchemaMismatch(f"{name}: a header and 0 rows, expected a row an hour")
    return rows


def _about(head: list[list[str]], place: int, name: str) -> dict[str, str | None]:
    """What the lines of metadata say of the station in a column."""
    labelled = {cells[LABEL].strip(): cells for cells in head if len(cells) > LABEL}
    about: dict[str, str | None] = {}
    for column, label in METADATA.items():
        if label not in labelled:
            raise SchemaMismatch(f"{name}: no line of metadata {label!r} above the header")
        if place >= len(labelled[label]):
            raise SchemaMismatch(f"{name}: line {label!r} is shorter than the header; is the file damaged?")
        about[column] = labelled[label][place].strip() or None
    return about
