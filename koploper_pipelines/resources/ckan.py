"""The DataStore of a CKAN site: rows of one table, by `datastore_search_sql`.

Here belongs paging such that no row is lost or doubled, and the shape of the answers. Values stay as they
are written.

Pages follow each other by key (`_id > the last one`), never by offset: rows that are stored meanwhile move
no other. A page that is shorter than asked for says nothing (a site may cut answers off, and says so in
`records_truncated`): a table ends where a page is empty.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from koploper_pipelines.gates.staging import SchemaMismatch
from koploper_pipelines.resources.http import Api, BadAnswer, SourceRefused

PATH = "/api/3/action/datastore_search_sql"
MOST_ROWS = 32_000
"""What CKAN gives at most in one answer."""
LONGEST_VALUE = 1000
KEY = "_id"
RECEIVED = "receive_timestamp"
Row = Mapping[str, str | None]


@dataclass(frozen=True)
class DataStore:
    """One table of a DataStore, with the columns that it must have and those that may be there unread."""

    api: Api
    table: str
    columns: Sequence[str]
    ignored: Collection[str] = ()
    page_rows: int = MOST_ROWS

    def __post_init__(self) -> None:
        """Refuse a name that cannot stand in a query."""
        if not re.fullmatch(r"[A-Za-z0-9_-]+", self.table):
            raise ValueError(f"{self.api.name}: table {self.table!r}, expected letters, digits, _ and -")

    def check_columns(self) -> None:
        """Raise SchemaMismatch unless the table has the columns that it must have, and no unknown ones."""
        found = self._ask(f'SELECT * FROM "{self.table}" LIMIT 0', lambda result: _fields(self.api, result))
        problems = [f"column {c!r} is missing" for c in self.columns if c not in found]
        problems += [f"column {c!r} is not known" for c in found if c not in (*self.columns, *self.ignored)]
        if problems:
            raise SchemaMismatch(f"{self.api.name}: {self.table}: {'; '.join(problems)}")

    def after(self, last: int) -> Iterator[list[Row]]:
        """Pages of the rows with a number above `last`, in the order of the numbers."""
        yield from self._pages(last, "")

    def received_since(self, moment: str, *, up_to: int, without: Collection[str]) -> Iterator[list[Row]]:
        """Pages of the rows up to a number that were received since a moment, without those of some numbers.

        Numbers are given out before rows are stored, so that a row may turn up below one seen already.
        """
        since = datetime.fromisoformat(moment).isoformat()
        recent = f"\"{RECEIVED}\" >= '{since}'"
        yield from self._others(0, f' AND {recent} AND "{KEY}" <= {int(up_to)}', without)

    def between(self, after: int, up_to: int, without: Collection[str]) -> Iterator[list[Row]]:
        """Pages of the rows with a number above `after` up to `up_to`, without those of some numbers."""
        yield from self._others(after, f' AND "{KEY}" <= {int(up_to)}', without)

    def counts(self, up_to: int, block: int) -> dict[int, int]:
        """How many rows there are of each block of `block` numbers (0 is 1 to `block`), up to a number."""
        blocks = f'("{KEY}" - 1) / {int(block)}'
        sql = (
            f'SELECT {blocks} AS "blok", count(*) AS "rijen" FROM "{self.table}"'
            f' WHERE "{KEY}" <= {int(up_to)}'
            f" GROUP BY {blocks} ORDER BY {blocks} LIMIT {MOST_ROWS}"
        )
        return cast("dict[int, int]", self._ask(sql, self._counts))

    def _others(self, last: int, condition: str, without: Collection[str]) -> Iterator[list[Row]]:
        for page in self._pages(last, condition):
            if others := [row for row in page if row[KEY] not in without]:
                yield others

    def _pages(self, last: int, condition: str) -> Iterator[list[Row]]:
        chosen = ", ".join(f'"{c}"' for c in self.columns)
        while True:
            sql = (
                f'SELECT {chosen} FROM "{self.table}" WHERE "{KEY}" > {int(last)}{condition}'
                f' ORDER BY "{KEY}" LIMIT {int(self.page_rows)}'
            )
            page = self._ask(sql, lambda result, after=last: self._rows(result, after))
            if not page:
                return
            yield page
            last = int(page[-1][KEY] or 0)

    def _ask(self, sql: str, read: Any) -> Any:
        return self.api.json(PATH, {"sql": sql}, lambda said: read(self._result(said)))

    def _result(self, said: Any) -> Mapping[str, Any]:
        if not isinstance(said, dict) or "success" not in said:
            raise SchemaMismatch(f"{self.api.name}: an answer without success, expected a CKAN action's")
        if said["success"] is not True:
            error = said.get("error")
            kind = error.get("__type") if isinstance(error, dict) else None
            raise SourceRefused(f"{self.api.name} ({self.api.address}) answers {kind or 'success: false'}")
        result = said.get("result")
        if not isinstance(result, dict) or not isinstance(result.get("records"), list):
            raise SchemaMismatch(f"{self.api.name}: an answer without result and records")
        return result

    def _rows(self, result: Mapping[str, Any], after: int) -> list[Row]:
        """The rows of a page; SchemaMismatch for another shape, BadAnswer for rows not asked for."""
        if (found := _fields(self.api, result)) and set(found) != set(self.columns):
            different = sorted(set(found) ^ set(self.columns))
            raise SchemaMismatch(f"{self.api.name}: columns {', '.join(different)} came or went")
        rows = [self._row(record) for record in result["records"]]
        if len(rows) > self.page_rows:
            raise BadAnswer(f"{len(rows)} rows, expected at most {self.page_rows}")
        previous = after
        for row in rows:
            number = int(row[KEY] or 0)
            if number <= previous:
                raise BadAnswer(f"row {number} after row {previous}, expected rising numbers")
            previous = number
        return rows

    def _counts(self, result: Mapping[str, Any]) -> dict[int, int]:
        """Numbers of rows by block; SchemaMismatch when it is anything else."""
        counted: dict[int, int] = {}
        for record in result["records"]:
            block, number = (record.get(k) if isinstance(record, dict) else None for k in ("blok", "rijen"))
            if not (isinstance(block, str) and isinstance(number, str) and (block + number).isdigit()):
                raise SchemaMismatch(f"{self.api.name}: no numbers of rows, expected blok and rijen")
            counted[int(block)] = int(number)
        return counted

    def _row(self, record: Any) -> Row:
        if not isinstance(record, dict) or set(record) != set(self.columns):
            known = record if isinstance(record, dict) else {}
            different = sorted(set(known) ^ set(self.columns))
            raise SchemaMismatch(f"{self.api.name}: a row where columns {', '.join(different)} came or went")
        for column, value in record.items():
            if value is not None and (not isinstance(value, str) or len(value) > LONGEST_VALUE):
                raise SchemaMismatch(f"{self.api.name}: column {column!r} holds no short plain value")
        if not (record[KEY] or "").isdigit():
            raise SchemaMismatch(f"{self.api.name}: column {KEY!r} holds no whole number")
        return {column: record[column] for column in self.columns}


def _fields(api: Api, result: Mapping[str, Any]) -> list[str]:
    fields = result.get("fields")
    if not isinstance(fields, list) or not all(isinstance(f, dict) and "id" in f for f in fields):
        raise SchemaMismatch(f"{api.name}: an answer without fields")
    return [str(f["id"]) for f in fields]
