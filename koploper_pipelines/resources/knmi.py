"""KNMI's hourly weather: its layout, and the service that gives it.

Here belongs reading the layout strictly, from a file or from the service's answer, which is the same text.
Values stay as they are written; what they mean is for the cleaned layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from koploper_pipelines.gates.staging import SchemaMismatch
from koploper_pipelines.resources.http import Api, BadAnswer, is_html

COLUMNS = (
    "STN", "YYYYMMDD", "HH", "DD", "FH", "FF", "FX", "T", "T10N", "TD", "SQ", "Q", "DR", "RH", "P", "VV",
    "N", "U", "WW", "IX", "M", "R", "S", "O", "Y",
)  # fmt: skip
NEEDED = ("STN", "YYYYMMDD", "HH", "DD", "FH", "T", "RH", "P", "U")
OTHER_NAMES = {"H": "HH"}
INDEX_COLUMNS = ("", "Unnamed: 0", "index")
Row = dict[str, str | None]


def read_hours(text: str, name: str) -> list[Row]:
    """The rows of a file, one an hour, with all of KNMI's columns in small letters, and `rij`.

    Separated by `,` or `;`, with or without a row number in front; lines with # are remarks, the last of
    which with STN and YYYYMMDD is the header. Raises SchemaMismatch naming file, line and expectation.
    """
    header: list[str] | None = None
    rows: list[Row] = []
    delimiter = ";" if text.count(";") > text.count(",") else ","
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), start=1):
        cells = [c.strip() for c in line.split(delimiter)]
        names = [c.lstrip("# ") for c in cells]
        if "STN" in names and "YYYYMMDD" in names:
            header = _header(names, name, number)
        elif not line.strip() or line.lstrip().startswith("#"):
            continue
        elif header is None:
            raise SchemaMismatch(
                f"{name}: line {number} comes before a header, expected KNMI's with STN,YYYYMMDD"
            )
        else:
            rows.append(_row(cells, header, len(rows) + 1, f"{name}: row {len(rows) + 1} (line {number})"))
    if header is None:
        raise SchemaMismatch(f"{name}: no header with STN and YYYYMMDD, expected KNMI's hourly values")
    return rows


def _header(names: list[str], name: str, number: int) -> list[str]:
    found = [OTHER_NAMES.get(n, n) for n in names]
    known = found[1:] if found[0] in INDEX_COLUMNS else found
    if missing := [c for c in NEEDED if c not in known]:
        raise SchemaMismatch(f"{name}: line {number} lacks column {', '.join(missing)}")
    if unknown := [c for c in known if c not in COLUMNS]:
        raise SchemaMismatch(f"{name}: line {number} has unknown column {', '.join(unknown)[:80]}")
    if len(set(known)) < len(known):
        raise SchemaMismatch(f"{name}: line {number} names a column twice")
    return found


def _row(cells: Sequence[str], header: Sequence[str], number: int, where: str) -> Row:
    if len(cells) != len(header):
        raise SchemaMismatch(f"{where} has {len(cells)} fields, expected {len(header)}; is the file cut off?")
    values = dict(zip(header, cells, strict=True))
    return {"rij": str(number), **{c.lower(): values.get(c) or None for c in COLUMNS}}


@dataclass(frozen=True)
class KnmiHours:
    """The service that gives the hours of some stations between two moments."""

    api: Api

    def between(self, stations: Sequence[str], start: datetime, end: datetime) -> list[Row]:
        """Rows of the whole days (UT) from the one of `start` to the one of `end`."""
        form = {
            "stns": ":".join(stations),
            "start": f"{start:%Y%m%d}01",
            "end": f"{end:%Y%m%d}24",
            "vars": "ALL",
            "fmt": "csv",
        }
        return self.api.post("", form, lambda body: self._read(body, stations, start, end))

    def _read(self, body: bytes, stations: Sequence[str], start: datetime, end: datetime) -> list[Row]:
        if is_html(body):
            raise BadAnswer("HTML instead of hourly values")
        if body.lstrip()[:1] in (b"{", b"["):
            raise SchemaMismatch(f"{self.api.name}: JSON, expected hourly values as CSV")
        if body[-1:] != b"\n":
            # Of an answer that is cut off in its last value the number of fields is right.
            raise BadAnswer(f"cut off after {len(body)} bytes")
        rows = read_hours(body.decode("utf-8", errors="replace"), self.api.name)
        days = {(start + timedelta(days=n)).strftime("%Y%m%d") for n in range((end - start).days + 2)}
        if strange := [r for r in rows if r["stn"] not in stations or r["yyyymmdd"] not in days]:
            raise BadAnswer(f"rows that were not asked for (row {strange[0]['rij']})")
        return rows
