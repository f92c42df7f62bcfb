"""What the landings share: what has landed already, and a delivery whose rows are in memory.

Here belongs nothing that knows a layout.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from koploper_pipelines.assets.snuffelfiets import SnuffelfietsSources
from koploper_pipelines.gates.staging import Offered, SchemaMismatch, relation
from koploper_pipelines.relations import select
from koploper_pipelines.resources.http import Api, Patience
from koploper_pipelines.resources.inbox import FromFile, dropped_files, rows_landed
from koploper_pipelines.resources.lake import UNKNOWN, WHOLE

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from koploper_pipelines.gates.staging import Rows
    from koploper_pipelines.gates.step import Platform
    from koploper_pipelines.gates.table import Delivery
    from koploper_pipelines.resources.inbox import DroppedFile

Records = Sequence[Mapping[str, str | None]]
"""Rows of a delivery as text by column; the keys of the first are the columns."""


@dataclass(frozen=True)
class Landing:
    """The table that a landing appends to, as it is now."""

    platform: Platform
    table: str

    @property
    def rows(self) -> int:
        """Rows that have landed."""
        return rows_landed(self.platform.lake, self.table)

    @property
    def deliveries(self) -> frozenset[str]:
        """Content hashes of the deliveries that have landed."""
        lake = self.platform.lake
        return lake.head(self.table).files if lake.exists(self.table) else frozenset()

    def relation(self, con: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyRelation | None:
        """The rows that have landed; None before the first."""
        lake = self.platform.lake
        if not lake.exists(self.table):
            return None
        return lake.relation(con, self.table, lake.head(self.table).version)

    def offer(
        self,
        con: duckdb.DuckDBPyConnection,
        made: Rows,
        content: str,
        received: int,
        *,
        day: str | None,
        name: str,
    ) -> Offered:
        """Rows for the gate: `received` of them were in the delivery, counted apart; `day` partitions."""
        days = [WHOLE]
        if day is not None:
            found = (
                relation(con, made).project(f"coalesce({day}::VARCHAR, '{UNKNOWN}')").distinct().fetchall()
            )
            days = sorted(d for (d,) in found)
        return Offered(
            made,
            partitions=days,
            controls={"rijen_na_landing": self.rows + received},
            file=content,
            notes={"bestand": name},
        )


@dataclass(frozen=True)
class Hours:
    """What the hourly values of one source have in common."""

    landing: Landing
    source: str
    hour: Callable[[], str]
    """SQL for the start of a row's hour."""

    def offered(self, con: duckdb.DuckDBPyConnection, rows: Records, content: str, name: str) -> Offered:
        """Rows as they land: as text, under the local day on which their hour begins."""
        from koploper_pipelines.methods.snuffelfiets import reference

        moment = f"TIMESTAMPTZ '{self.landing.platform.clock.now().isoformat()}'"
        columns = ", ".join(f'"{c}"' for c in rows[0] if c != "rij")
        made = select(
            con.from_arrow(as_text(rows)),
            "regels",
            f"""
            SELECT '{content}' AS bestand, rij::BIGINT AS rij,
                {len(self.landing.deliveries) + 1} AS levering, {moment} AS geland_op,
                '{self.source}' AS bron, {columns},
                CASE WHEN {reference.possible_sql("uur_op", moment)}
                    THEN {reference.local_day_sql("uur_op")} END AS meetdag
            FROM (SELECT *, {self.hour()} AS uur_op FROM regels)
            """,
        )
        return self.landing.offer(con, made, content, len(rows), day="meetdag", name=name)


@dataclass(frozen=True)
class HoursFile(FromFile):
    """One dropped file of hourly values, to be landed on its own."""

    file: DroppedFile
    hours: Hours
    parse: Callable[[bytes, str], Records]
    """From the contents and the file's name to rows; SchemaMismatch when it is in another layout."""

    def offered(self, con: duckdb.DuckDBPyConnection) -> Offered | None:
        """All rows as text; None when these contents landed before."""
        with self.file.opened("latin-1") as (path, content):
            if content in self.hours.landing.deliveries:
                return None
            rows = self.parse(path.read_bytes(), self.name)
        return self.hours.offered(con, rows, content, self.name)


@dataclass
class HoursAnswer:
    """Hourly values of one period from an API, to be landed on their own."""

    name: str
    rows: Records
    hours: Hours
    is_refused: bool = field(default=False, init=False)
    """Whether the gate stayed closed: the periods after it then have to wait."""

    def offered(self, con: duckdb.DuckDBPyConnection) -> Offered | None:
        """All rows as text; None when the same answer landed before."""
        content = content_of([{"levering": self.name}, *self.rows])
        if content in self.hours.landing.deliveries:
            return None
        return self.hours.offered(con, self.rows, content, self.name)

    def accepted(self) -> None:
        """Nothing to do: the rows in the lake are what the next period starts from."""

    def refused(self, report: str) -> None:
        """Keep the following periods from landing."""
        self.is_refused = True


def files_of_hours(
    landing: Landing, place: str, source: str, hour: Callable[[], str], parse: Callable[[bytes, str], Records]
) -> Iterator[Delivery]:
    """The files of hourly values in a folder of the inbox, each a delivery; `source` is their `bron`."""
    for file in dropped_files(landing.platform.settings, place):
        yield HoursFile(file, Hours(landing, source, hour), parse)


def answers_of_hours(
    hours: Hours,
    name: str,
    periods: Iterable[tuple[datetime, datetime]],
    new: Callable[[datetime, datetime], Records],
) -> Iterator[Delivery]:
    """What an API has and the table has not, a delivery a period, until the gate refuses one.

    `new` gives the rows of a period that have not landed as they are now; their numbers are given here.
    """
    for start, end in periods:
        if rows := new(start, end):
            numbered = [{**r, "rij": str(number)} for number, r in enumerate(rows, start=1)]
            answer = HoursAnswer(f"{name} {start:%Y-%m-%d %H:%M} - {end:%Y-%m-%d %H:%M}", numbered, hours)
            yield answer
            if answer.is_refused:
                return


def periods(
    start: datetime, now: datetime, longest: timedelta, between: timedelta = timedelta()
) -> Iterator[tuple[datetime, datetime]]:
    """Periods of at most `longest` from `start` to now, the next `between` after the end of the last."""
    while start < now:
        end = min(start + longest, now)
        yield start, end
        start = end + between


def as_text(rows: Records) -> pa.Table:
    """Rows as an Arrow table of text."""
    import pyarrow as pa

    return pa.table({c: pa.array([r[c] for r in rows], pa.string()) for c in rows[0]} if rows else {})


def content_of(rows: Records) -> str:
    """SHA-256 of rows: the same answer again is the same delivery."""
    text = json.dumps([list(r.items()) for r in rows], ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def api(name: str, address: str, sources: SnuffelfietsSources, **headers: Any) -> Api:
    """A source's API, with the patience of the settings."""
    patience = Patience(
        attempts=sources.bron_pogingen,
        first_wait_s=sources.bron_wacht_s,
        timeout_s=sources.bron_tijd_s,
    )
    return Api(name, address, headers, patience)


def table_text(body: bytes, name: str) -> str:
    """The text of a file of an institute: Latin-1, or UTF-8 when someone saved it anew."""
    if body.lstrip()[:1] == b"<":
        raise SchemaMismatch(f"{name}: a web page, expected a file of values")
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError:
        return body.decode("latin-1")
