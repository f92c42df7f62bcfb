"""The warehouse: the published tables in SQL, as one release that readers see whole or not at all.

Here belongs how a release is written, checked, made current, rolled back and read. Which tables make up
a release and whether they may be published is decided in `assets/publicatie`; columns, types and
comments come from the contracts.

A release is all tables at one moment. Beside the contracts' tables each release carries three about
itself: `release`, `tabellen` and `kolommen`.

- SQLite: a release is one complete file, built aside and moved over the old one. A reader sees one
  release for as long as it keeps the file open, so open it anew to see the next. Only this module writes
  to it: readers open it read-only.
- PostgreSQL: rows of the last `KEPT_RELEASES` releases lie in `publicatie_data.<table>`, marked with
  their `release_id`; `published.<table>` are views joined with the one pointer row, so one statement
  sees one release. Several statements see one release in a REPEATABLE READ transaction. Columns may be
  added and left out from one release to the next, but not change type. A view of which the columns
  change is made anew, so give readers their rights with `ALTER DEFAULT PRIVILEGES IN SCHEMA published
  GRANT SELECT ON TABLES TO …`; they need none on `publicatie_data`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from koploper_pipelines.resources.warehouse.postgres import KEPT_RELEASES, PostgresSchemas
from koploper_pipelines.resources.warehouse.release import (
    SETTING,
    Check,
    PublishedTable,
    ReleaseInfo,
    WarehouseError,
    about,
    refuse_unfit,
)
from koploper_pipelines.resources.warehouse.sqlite import SqliteFile

if TYPE_CHECKING:
    import pyarrow as pa


class Warehouse:
    """The published tables of one installation."""

    def __init__(self, url: str, home: Path) -> None:
        """Choose the database by its URL; nothing is opened yet.

        A relative SQLite path stands under `home`. WarehouseError when the URL is not one of SQLite or
        PostgreSQL.
        """
        self._store = _store(url, home)

    def publish(
        self, info: ReleaseInfo, tables: Sequence[PublishedTable], check: Check | None = None
    ) -> None:
        """Make these tables the current release, all at one moment.

        `check` judges the release as a whole before anybody else can read it: its connection reads the new
        tables by their bare names, on both databases, and whatever it raises keeps the old release
        current. It must not commit. Publishing a release id again replaces that release.

        Raises WarehouseError when rows do not fit their contract (types, NOT NULL, key, numbers that are
        not finite).
        """
        refuse_unfit(tables)
        self._store.publish(info, [*tables, *about(info, tables)], check)

    def finish_interrupted(self) -> None:
        """Clear away what a publish left that was cut off; a publish that is under way is left alone."""
        self._store.finish_interrupted()

    def current(self) -> str | None:
        """Id of the release that readers see; None before the first."""
        return self._store.current()

    def read(self, sql_name: str) -> pa.Table:
        """All rows of a table of the current release, in no particular order.

        Raises LookupError when the release has no such table.
        """
        return self._store.read(sql_name)

    def releases(self) -> list[ReleaseInfo]:
        """Releases that can be made current, last published first; SQLite holds one."""
        return self._store.releases()

    def switch(self, release_id: str) -> None:
        """Make a release that is still there the current one; LookupError when it is not there."""
        self._store.switch(release_id)


def _store(url: str, home: Path) -> SqliteFile | PostgresSchemas:
    expected = "expected sqlite:///file.sqlite or postgresql://user:password@host/database"
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        # The cause quotes parts of the URL, so it is not chained: they may be the password's.
        raise WarehouseError(f"{SETTING} is not a database URL; {expected}") from None
    if parsed.drivername in ("sqlite", "sqlite+pysqlite"):
        if parsed.database in (None, "", ":memory:") or parsed.query:
            raise WarehouseError(f"{SETTING} names no SQLite file that can be replaced; {expected}")
        return SqliteFile(home / str(parsed.database))
    if parsed.drivername not in ("postgresql", "postgresql+psycopg2"):
        raise WarehouseError(f"{SETTING} asks for {parsed.drivername!r}; {expected}")
    if "@" in f"{parsed.host}{parsed.database}":
        raise WarehouseError(f"{SETTING}: write '/', ':' and '@' in the password as %2F, %3A and %40")
    # SQLAlchemy would choose psycopg 3, which has another COPY.
    return PostgresSchemas(parsed.set(drivername="postgresql+psycopg2"))


__all__ = ["KEPT_RELEASES", "PublishedTable", "ReleaseInfo", "Warehouse", "WarehouseError"]
