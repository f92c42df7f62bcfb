"""SQLite: a release is one complete file, built aside and moved over the old one.

Here belongs nothing that PostgreSQL needs too; that is in `release.py`.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from koploper_pipelines.resources.warehouse.release import (
    RELEASE,
    SETTING,
    Check,
    PublishedTable,
    ReleaseInfo,
    WarehouseError,
    naming,
    read_table,
    release_info,
    same_count,
    sql_table,
)

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_ROWS = 50_000


class SqliteFile:
    """One release in one file."""

    def __init__(self, file: Path) -> None:
        """Take the file's place; nothing is opened yet."""
        self.file = file

    def publish(self, info: ReleaseInfo, tables: Sequence[PublishedTable], check: Check | None) -> None:
        """Write the tables, have `check` judge them, and make them the current release."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self._lock(timeout=-1):
            self._refuse_foreign()
            self._clear()
            build = self.file.with_name(f"{self.file.stem}.{info.release_id}{self.file.suffix}.bouw")
            try:
                _build_sqlite(build, tables)
                self._verify(build, tables, check)
                build.chmod(0o644)
                _sync(build)
                self._move_into_place(build)
            finally:
                build.unlink(missing_ok=True)

    def finish_interrupted(self) -> None:
        """Clear away what a publish left that was cut off."""
        from filelock import Timeout

        if not self.file.parent.is_dir():
            return
        # Whoever holds the lock is alive and building: then nothing was interrupted.
        with suppress(Timeout), self._lock(timeout=0):
            self._clear()

    def current(self) -> str | None:
        """Id of the release that readers see; None before the first."""
        found = self.releases()
        return found[0].release_id if found else None

    def read(self, sql_name: str) -> pa.Table:
        """All rows of a table of the current release; LookupError when it has no such table."""
        if not self.file.exists():
            raise LookupError(f"{sql_name}: no release was published yet")
        with _reading_sqlite(self.file) as conn:
            return read_table(conn, sql_name, None)

    def releases(self) -> list[ReleaseInfo]:
        """Releases that can be made current, last published first."""
        if not self.file.exists():
            return []
        with _reading_sqlite(self.file) as conn:
            if not sa.inspect(conn).has_table(RELEASE.sql_name):
                return []
            return [release_info(row) for row in conn.execute(sa.select(sql_table(RELEASE)))]

    def switch(self, release_id: str) -> None:
        """Make a release that is still there the current one; LookupError when it is not there."""
        if self.current() != release_id:
            raise LookupError(f"release {release_id}: SQLite holds one, {self.current()}; publish it again")

    def _refuse_foreign(self) -> None:
        """Raise WarehouseError when another database stands where the release would go."""
        import sqlite3

        if not self.file.exists():
            return
        try:
            with closing(sqlite3.connect(self.file, timeout=1)) as con:
                names = {name for (name,) in con.execute("SELECT name FROM sqlite_master")}
        except sqlite3.OperationalError as error:
            raise WarehouseError(f"{self.file} of {SETTING}: {error}; readers open it read-only") from error
        except sqlite3.DatabaseError:
            # Damaged: nothing is lost by a whole file in its place.
            return
        if names and RELEASE.sql_name not in names:
            raise WarehouseError(f"{self.file} is another database; choose another file in {SETTING}")

    @contextmanager
    def _lock(self, timeout: float) -> Iterator[None]:
        """One writer at a time; freed by the system when the process dies."""
        from filelock import FileLock

        with FileLock(self.file.with_name(f"{self.file.name}.lock"), timeout=timeout):
            yield

    def _clear(self) -> None:
        stem, suffix = glob.escape(self.file.stem), glob.escape(self.file.suffix)
        for left in self.file.parent.glob(f"{stem}.*{suffix}.bouw"):
            left.unlink()

    def _verify(self, build: Path, tables: Sequence[PublishedTable], check: Check | None) -> None:
        with _reading_sqlite(build) as conn:
            if (verdict := conn.exec_driver_sql("PRAGMA integrity_check").scalar_one()) != "ok":
                raise WarehouseError(f"{build.name}: SQLite finds it damaged: {verdict}")
            for each in tables:
                count = conn.scalar(sa.select(sa.func.count()).select_from(sql_table(each.contract)))
                same_count(each, count)
            if check is not None:
                check(conn)

    def _move_into_place(self, build: Path) -> None:
        """Replace the live file, without what a foreign writer may have left beside it.

        A rollback journal or write-ahead log belongs to a database by its name alone: SQLite would apply
        one that is left of the old file to the new file. So SQLite first ends it in the old file, which
        stays whole should the process be killed here, and what still stands there is removed.
        """
        sides = [self.file.with_name(self.file.name + end) for end in ("-journal", "-wal", "-shm")]
        if any(side.exists() for side in sides):
            _end_foreign_writes(self.file)
        for side in sides:
            side.unlink(missing_ok=True)
        os.replace(build, self.file)
        # A reader that opened the old file just before may have made them once more.
        for side in sides:
            side.unlink(missing_ok=True)
        _sync(self.file.parent)


def _end_foreign_writes(file: Path) -> None:
    import sqlite3

    # A file that another process keeps open, or that is damaged, cannot be mended; it is replaced anyway.
    with suppress(sqlite3.DatabaseError), closing(sqlite3.connect(file, timeout=1)) as con:
        con.execute("PRAGMA journal_mode = DELETE").fetchall()


def _build_sqlite(file: Path, tables: Sequence[PublishedTable]) -> None:
    import sqlite3

    engine = sa.create_engine(
        "sqlite://", creator=lambda: sqlite3.connect(file), poolclass=sa.NullPool, hide_parameters=True
    )
    with engine.connect() as conn:
        # Nobody reads the file yet, and a build that was cut off is thrown away: it needs no journal.
        conn.exec_driver_sql("PRAGMA journal_mode = MEMORY")
        conn.exec_driver_sql("PRAGMA synchronous = OFF")
        for each in tables:
            table = sql_table(each.contract)
            table.create(conn, checkfirst=False)
            insert = str(table.insert().compile(dialect=conn.dialect))
            with naming(conn, each.contract):
                for batch in each.rows.to_batches(BATCH_ROWS):
                    conn.exec_driver_sql(insert, list(zip(*map(_sqlite_values, batch.columns), strict=True)))
        conn.commit()


def _sqlite_values(column: pa.Array) -> list[Any]:
    """Values as SQLite stores them: dates and moments as ISO text of one width, so that they sort in time."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_timestamp(column.type):
        column = pc.strftime(column.cast(pa.timestamp("us")), "%Y-%m-%dT%H:%M:%SZ")
    elif pa.types.is_date(column.type):
        column = column.cast(pa.string())
    values: list[Any] = column.to_pylist()
    return values


@contextmanager
def _reading_sqlite(file: Path) -> Iterator[sa.Connection]:
    import sqlite3

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)

    with sa.create_engine("sqlite://", creator=connect, poolclass=sa.NullPool).connect() as conn:
        yield conn


def _sync(path: Path) -> None:
    """Have the system write a file, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
