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

import glob
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import sqlalchemy as sa

from koploper_pipelines.contracts import Column, Contract
from koploper_pipelines.contracts.model import ColumnType

if TYPE_CHECKING:
    import pyarrow as pa

Status = Literal["voorlopig", "definitief"]
Check: TypeAlias = Callable[[sa.Connection], None]

SETTING = "KOPLOPER_WAREHOUSE_URL"
KEPT_RELEASES = 30
"""How many releases PostgreSQL keeps to roll back to."""
DATA, PUBLISHED = "publicatie_data", "published"
CONNECT_SECONDS = 10
LOCK_SECONDS = 60.0
"""How long a change of columns keeps trying while readers have a table open."""
LOCK_ATTEMPT = "100ms"
"""How long one try waits: well below the second after which PostgreSQL looks for deadlocks."""
ADVISORY_LOCK = 5_207_014_611_330_917
"""Any number, the same for all writers: one of them at a time."""
LOCK_NOT_AVAILABLE = "55P03"
BATCH_ROWS = 50_000

SQL_TYPES: Mapping[ColumnType, sa.types.TypeEngine[Any]] = {
    "string": sa.Text(),
    "integer": sa.BigInteger(),
    "number": sa.Double(),
    "boolean": sa.Boolean(),
    "date": sa.Date(),
    "timestamp": sa.DateTime(timezone=True),
}


class WarehouseError(RuntimeError):
    """The warehouse cannot be reached or a release does not fit in it; the message says what to change."""


@dataclass(frozen=True)
class PublishedTable:
    """One table of a release: its contract and its rows, in the contract's Arrow schema."""

    contract: Contract
    rows: pa.Table


@dataclass(frozen=True)
class ReleaseInfo:
    """What a release says of itself; ValueError when the id or the moment cannot be stored."""

    release_id: str
    """Letters, digits, dots, hyphens and underscores: it is also part of a file name."""
    made_at: datetime
    status: Status

    def __post_init__(self) -> None:
        """Refuse what would be read back differently."""
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", self.release_id):
            raise ValueError(
                f"release id {self.release_id!r}: expected up to 100 letters, digits, '.', '-', '_'"
            )
        if self.made_at.tzinfo is None:
            raise ValueError(f"release {self.release_id}: made_at needs a time zone")


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
        _refuse_unfit(tables)
        self._store.publish(info, [*tables, *_about(info, tables)], check)

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


# -- What a release says of itself ---------------------------------------------------------------------------


def _own_table(name: str, title: str, description: str, *columns: Column) -> Contract:
    return Contract(
        path=f"publicatie/published/{name}",
        version="1.0.0",
        title=title,
        description=description,
        owner="koploper_pipelines",
        sql_name=name,
        columns=columns,
        rules=(),
        partition=None,
        empty_because=None,
        conserves_rows=False,
        freshness_days=None,
    )


def _own_column(
    name: str, type_: ColumnType, description: str, *, required: bool = True, key: bool = False
) -> Column:
    return Column(name, type_, description, required=required, key=key, privacy="geen")


RELEASE = _own_table(
    "release",
    "Release",
    "De release waartoe alle andere tabellen behoren; één rij.",
    _own_column("release_id", "string", "Kenmerk van de release", key=True),
    _own_column("gemaakt_op", "timestamp", "Moment waarop de release is gemaakt"),
    _own_column("status", "string", "voorlopig of definitief"),
)
TABELLEN = _own_table(
    "tabellen",
    "Tabellen",
    "De tabellen van deze release.",
    _own_column("tabel", "string", "Naam van de tabel", key=True),
    _own_column("titel", "string", "Titel"),
    _own_column("omschrijving", "string", "Wat er in staat en wat één rij is"),
    _own_column("beperkingen", "string", "Waar de tabel niet voor bedoeld is", required=False),
    _own_column("contract_versie", "string", "Versie van de beschrijving"),
    _own_column("rijen", "integer", "Aantal rijen"),
    _own_column("leeg_omdat", "string", "Waarom er geen rijen zijn, als die er niet zijn", required=False),
)
KOLOMMEN = _own_table(
    "kolommen",
    "Kolommen",
    "De kolommen van de tabellen van deze release.",
    _own_column("tabel", "string", "Naam van de tabel", key=True),
    _own_column("kolom", "string", "Naam van de kolom", key=True),
    _own_column("volgnummer", "integer", "Plaats in de tabel; 1 is de eerste"),
    _own_column("type", "string", "string, integer, number, boolean, date of timestamp (UTC)"),
    _own_column("eenheid", "string", "Eenheid van de waarden, als die er is", required=False),
    _own_column("omschrijving", "string", "Betekenis"),
    _own_column("statuskolom", "string", "Kolom die een zwakke of lege waarde verklaart", required=False),
    _own_column("is_sleutel", "boolean", "Of de kolom deel is van de sleutel"),
    _own_column("is_verplicht", "boolean", "Of de kolom in iedere rij gevuld is"),
)

_ADMINISTRATION = sa.MetaData(schema=DATA)
REGISTRY = sa.Table(
    RELEASE.sql_name,
    _ADMINISTRATION,
    sa.Column("release_id", sa.Text, primary_key=True),
    sa.Column("gemaakt_op", sa.DateTime(timezone=True), nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("volgnummer", sa.BigInteger, nullable=False, comment="Order of publishing"),
)
"""PostgreSQL: the releases whose rows are there."""
POINTER = sa.Table(
    "huidige_release",
    _ADMINISTRATION,
    sa.Column(
        "is_de_enige",
        sa.Boolean,
        sa.CheckConstraint("is_de_enige"),
        primary_key=True,
        server_default=sa.true(),
    ),
    sa.Column("release_id", sa.ForeignKey(REGISTRY.c.release_id), nullable=False),
)
"""PostgreSQL: the one row that says which release readers see."""


def _about(info: ReleaseInfo, tables: Sequence[PublishedTable]) -> list[PublishedTable]:
    """The three tables about a release; they describe themselves too."""
    import pyarrow as pa

    contracts = [*(t.contract for t in tables), RELEASE, TABELLEN, KOLOMMEN]
    counts = {t.contract.sql_name: t.rows.num_rows for t in tables}
    counts |= {RELEASE.sql_name: 1, TABELLEN.sql_name: len(contracts)}
    counts[KOLOMMEN.sql_name] = sum(len(c.columns) for c in contracts)
    rows: list[tuple[Contract, list[dict[str, Any]]]] = [
        (RELEASE, [{"release_id": info.release_id, "gemaakt_op": info.made_at, "status": info.status}]),
        (TABELLEN, [_described(c, counts[c.sql_name]) for c in contracts]),
        (KOLOMMEN, [row for c in contracts for row in _described_columns(c)]),
    ]
    return [PublishedTable(c, pa.Table.from_pylist(r, schema=_arrow_schema(_sql_table(c)))) for c, r in rows]


def _described(contract: Contract, count: int) -> dict[str, Any]:
    return {
        "tabel": contract.sql_name,
        "titel": contract.title,
        "omschrijving": contract.description,
        "beperkingen": contract.limitations,
        "contract_versie": contract.version,
        "rijen": count,
        "leeg_omdat": contract.empty_because if count == 0 else None,
    }


def _described_columns(contract: Contract) -> Iterator[dict[str, Any]]:
    names = {c.name for c in contract.columns}
    for number, column in enumerate(contract.columns, start=1):
        status = f"{column.name}_status"
        yield {
            "tabel": contract.sql_name,
            "kolom": column.name,
            "volgnummer": number,
            "type": column.type,
            "eenheid": column.unit,
            "omschrijving": column.description,
            "statuskolom": status if status in names else None,
            "is_sleutel": column.key,
            "is_verplicht": column.required or column.key,
        }


# -- SQLite --------------------------------------------------------------------------------------------------


class _SqliteFile:
    """One release in one file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def publish(self, info: ReleaseInfo, tables: Sequence[PublishedTable], check: Check | None) -> None:
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
        from filelock import Timeout

        if not self.file.parent.is_dir():
            return
        # Whoever holds the lock is alive and building: then nothing was interrupted.
        with suppress(Timeout), self._lock(timeout=0):
            self._clear()

    def current(self) -> str | None:
        found = self.releases()
        return found[0].release_id if found else None

    def read(self, sql_name: str) -> pa.Table:
        if not self.file.exists():
            raise LookupError(f"{sql_name}: no release was published yet")
        with _reading_sqlite(self.file) as conn:
            return _read(conn, sql_name, None)

    def releases(self) -> list[ReleaseInfo]:
        if not self.file.exists():
            return []
        with _reading_sqlite(self.file) as conn:
            if not sa.inspect(conn).has_table(RELEASE.sql_name):
                return []
            return [_info(row) for row in conn.execute(sa.select(_sql_table(RELEASE)))]

    def switch(self, release_id: str) -> None:
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
                count = conn.scalar(sa.select(sa.func.count()).select_from(_sql_table(each.contract)))
                _same_count(each, count)
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
            table = _sql_table(each.contract)
            table.create(conn, checkfirst=False)
            insert = str(table.insert().compile(dialect=conn.dialect))
            with _naming(conn, each.contract):
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


# -- PostgreSQL ----------------------------------------------------------------------------------------------


class _PostgresSchemas:
    """The last releases in one schema, the current one as views in another.

    A publish is one transaction, so a failure or a kill leaves nothing. Rows are first loaded in a
    temporary table with the contract's NOT NULL and key: the table of all releases cannot have them,
    since older releases may lack a column or have another key.
    """

    def __init__(self, url: sa.URL) -> None:
        self._url = url

    def publish(self, info: ReleaseInfo, tables: Sequence[PublishedTable], check: Check | None) -> None:
        with self._writing() as conn:
            _lay_foundation(conn)
            _register(conn, info)
            loaded = [t for t in tables if t.contract is not RELEASE]
            for each in loaded:
                _load(conn, each)
            rows = {t.contract.sql_name: t.rows for t in tables}
            described = _shapes(rows[TABELLEN.sql_name].to_pylist(), rows[KOLOMMEN.sql_name].to_pylist())
            _change_shapes(conn, described, [t.contract for t in loaded])
            for each in loaded:
                _keep(conn, info.release_id, each)
            _point_at(conn, info.release_id)
            _forget_old(conn)
            if check is not None:
                conn.exec_driver_sql(f"SET LOCAL search_path TO {PUBLISHED}")
                conn.exec_driver_sql("SET TRANSACTION READ ONLY")
                check(conn)

    def finish_interrupted(self) -> None:
        """Nothing is left to do: the server rolls back a transaction that was cut off."""

    def current(self) -> str | None:
        with self._connect() as conn:
            return conn.scalar(sa.select(POINTER.c.release_id)) if _is_founded(conn) else None

    def read(self, sql_name: str) -> pa.Table:
        with self._connect() as conn:
            return _read(conn, sql_name, PUBLISHED)

    def releases(self) -> list[ReleaseInfo]:
        with self._connect() as conn:
            return _releases(conn)

    def switch(self, release_id: str) -> None:
        with self._writing() as conn:
            known = [r.release_id for r in _releases(conn)]
            if release_id not in known:
                raise LookupError(
                    f"release {release_id} is not there; there are {', '.join(known) or 'none'}"
                )
            _change_shapes(conn, _shapes(*(_kept(conn, release_id, c) for c in (TABELLEN, KOLOMMEN))), [])
            _point_at(conn, release_id)

    @cached_property
    def _engine(self) -> sa.Engine:
        return sa.create_engine(
            self._url,
            poolclass=sa.NullPool,
            hide_parameters=True,
            connect_args={"connect_timeout": CONNECT_SECONDS},
        )

    def _connect(self) -> sa.Connection:
        try:
            return self._engine.connect()
        except sa.exc.OperationalError as error:
            raise WarehouseError(
                f"the PostgreSQL server of {SETTING} cannot be reached or refuses: {str(error.orig).strip()}"
            ) from error

    @contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        """A transaction of the only writer; everything in it becomes visible at once, or not at all."""
        with self._connect() as conn, conn.begin():
            conn.execute(sa.select(sa.func.pg_advisory_xact_lock(ADVISORY_LOCK)))
            yield conn


def _is_founded(conn: sa.Connection) -> bool:
    return sa.inspect(conn).has_table(POINTER.name, schema=DATA)


def _releases(conn: sa.Connection) -> list[ReleaseInfo]:
    if not _is_founded(conn):
        return []
    return [_info(row) for row in conn.execute(sa.select(REGISTRY).order_by(REGISTRY.c.volgnummer.desc()))]


def _lay_foundation(conn: sa.Connection) -> None:
    for schema in (DATA, PUBLISHED):
        # Not IF NOT EXISTS: that asks for the right to create schemas even when they are there.
        if not sa.inspect(conn).has_schema(schema):
            conn.execute(sa.schema.CreateSchema(schema))
    REGISTRY.metadata.create_all(conn)


def _register(conn: sa.Connection, info: ReleaseInfo) -> None:
    """Note the release as the last one published, without rows of an earlier publish of the same id."""
    from sqlalchemy.dialects.postgresql import insert

    last = conn.scalar(sa.select(sa.func.coalesce(sa.func.max(REGISTRY.c.volgnummer), 0))) or 0
    said = {"gemaakt_op": info.made_at, "status": info.status, "volgnummer": last + 1}
    _delete_rows(conn, [info.release_id])
    conn.execute(
        insert(REGISTRY)
        .values(release_id=info.release_id, **said)
        .on_conflict_do_update(index_elements=["release_id"], set_=said)
    )


def _load(conn: sa.Connection, each: PublishedTable) -> None:
    """Bring the rows to the server, where the contract's types, NOT NULL and key judge them."""
    import pyarrow as pa
    import pyarrow.csv as csv

    loading = _loading(each.contract)
    conn.execute(sa.schema.CreateTable(loading))
    # Arrow quotes each string and no NULL, which is how COPY tells an empty text from none.
    text = pa.BufferOutputStream()
    csv.write_csv(each.rows, text, csv.WriteOptions(include_header=False, quoting_style="needed"))
    copy = f"COPY {_quoted(conn, 'pg_temp', loading.name)} FROM STDIN (FORMAT csv, ENCODING 'UTF8')"
    with _naming(conn, each.contract), closing(conn.connection.cursor()) as cursor:
        cursor.copy_expert(copy, pa.BufferReader(text.getvalue()))


def _keep(conn: sa.Connection, release_id: str, each: PublishedTable) -> None:
    """Move the loaded rows to the table of all releases."""
    loading = _loading(each.contract)
    names = [c.name for c in loading.columns]
    data = sa.table(loading.name, sa.column("release_id"), *map(sa.column, names), schema=DATA)
    rows = sa.select(sa.literal(release_id), *loading.columns)
    _same_count(each, conn.execute(data.insert().from_select(["release_id", *names], rows)).rowcount)
    conn.execute(sa.schema.DropTable(loading))


def _loading(contract: Contract) -> sa.Table:
    return _sql_table(contract).to_metadata(sa.MetaData(), schema="pg_temp")


def _kept(conn: sa.Connection, release_id: str, contract: Contract) -> list[dict[str, Any]]:
    """Rows of a release, whether readers see it or not."""
    table = _sql_table(contract).to_metadata(sa.MetaData(), schema=DATA)
    of_release = sa.select(table).where(sa.column("release_id") == release_id)
    return [dict(row) for row in conn.execute(of_release).mappings()]


@dataclass(frozen=True)
class _Shape:
    """What readers see of a table besides its rows."""

    comment: str
    columns: dict[str, str]
    """Comment by column, in order."""


def _shapes(tabellen: list[dict[str, Any]], kolommen: list[dict[str, Any]]) -> dict[str, _Shape]:
    """Shapes by table, from what a release says of itself."""
    shapes = {t["tabel"]: _Shape(f"{t['titel']}. {t['omschrijving']}", {}) for t in tabellen}
    for column in sorted(kolommen, key=lambda c: c["volgnummer"]):
        unit = f" ({column['eenheid']})" if column["eenheid"] else ""
        shapes[column["tabel"]].columns[column["kolom"]] = column["omschrijving"] + unit
    return shapes


def _change_shapes(conn: sa.Connection, shapes: Mapping[str, _Shape], contracts: Sequence[Contract]) -> None:
    """Fit tables and views to a release where they differ from it; they become visible with the pointer.

    A change of columns needs a table or view for itself. Waiting for one while holding another makes a
    deadlock with a reader who has them the other way round, in which PostgreSQL ends one of the two. So a
    try that does not get all at once gives back what it has, which readers then go on with.
    """
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            with conn.begin_nested():
                conn.exec_driver_sql(f"SET LOCAL lock_timeout = '{LOCK_ATTEMPT}'")
                # Readers come to a table through its view, so the views are closed first.
                kept = _drop_views(conn, shapes)
                present = sa.inspect(conn).get_multi_columns(schema=DATA)
                for contract in contracts:
                    _fit_table(conn, contract, present.get((DATA, contract.sql_name)))
                _make_views(conn, shapes, kept)
            return
        except sa.exc.OperationalError as error:
            if getattr(error.orig, "pgcode", None) != LOCK_NOT_AVAILABLE:
                raise
            if time.monotonic() > deadline:
                raise WarehouseError(
                    f"a reader keeps a table open of which the columns change ({error.statement});"
                    " end its transaction and publish again"
                ) from error
            time.sleep(0.1)


def _fit_table(conn: sa.Connection, contract: Contract, present: Sequence[Any] | None) -> None:
    """Let the table of all releases hold what the contract says now, keeping what older releases have."""
    name, wanted = contract.sql_name, _sql_table(contract).columns
    if present is None:
        columns = [sa.Column(c.name, c.type) for c in wanted]
        mark = sa.Column("release_id", sa.Text, nullable=False, index=True)
        sa.Table(name, sa.MetaData(), mark, *columns, schema=DATA).create(conn, checkfirst=False)
        return
    types = {c["name"]: c["type"].compile(conn.dialect) for c in present}
    for column in wanted:
        type_ = column.type.compile(conn.dialect)
        if column.name not in types:
            target = _quoted(conn, DATA, name)
            conn.exec_driver_sql(f"ALTER TABLE {target} ADD COLUMN {_quoted(conn, column.name)} {type_}")
        elif types[column.name] != type_:
            # Rewriting the column would empty the table for readers who began before.
            raise WarehouseError(
                f"{name}.{column.name} was {types[column.name]} in earlier releases and is {type_} now;"
                " give the column another name"
            )


def _drop_views(conn: sa.Connection, shapes: Mapping[str, _Shape]) -> dict[str, _Shape]:
    """Drop the views over our tables that the release does not have in this form; the others, as they are."""
    inspector = sa.inspect(conn)
    kind = sa.engine.reflection.ObjectKind.VIEW
    comments = inspector.get_multi_table_comment(schema=PUBLISHED, kind=kind)
    present = {
        name: _Shape(
            comments[PUBLISHED, name]["text"] or "", {c["name"]: c["comment"] or "" for c in columns}
        )
        for (_, name), columns in inspector.get_multi_columns(schema=PUBLISHED, kind=kind).items()
        if name in inspector.get_table_names(schema=DATA)
    }
    for name in list(present):
        if name not in shapes or list(present[name].columns) != list(shapes[name].columns):
            conn.exec_driver_sql(f"DROP VIEW {_quoted(conn, PUBLISHED, name)}")
            del present[name]
    return present


def _make_views(conn: sa.Connection, shapes: Mapping[str, _Shape], present: Mapping[str, _Shape]) -> None:
    for name, shape in shapes.items():
        view, found = _quoted(conn, PUBLISHED, name), present.get(name)
        if found is None:
            conn.execute(_view(name, list(shape.columns)))
            found = _Shape("", {})
        if found.comment != shape.comment:
            conn.exec_driver_sql(f"COMMENT ON VIEW {view} IS %s", (shape.comment,))
        for column, comment in shape.columns.items():
            if found.columns.get(column) != comment:
                conn.exec_driver_sql(f"COMMENT ON COLUMN {view}.{_quoted(conn, column)} IS %s", (comment,))


def _view(name: str, columns: Sequence[str]) -> sa.sql.ddl.CreateView:
    data = sa.table(name, *map(sa.column, {"release_id": None} | dict.fromkeys(columns)), schema=DATA)
    rows = sa.select(*(data.c[c] for c in columns)).join_from(
        data, POINTER, data.c.release_id == POINTER.c.release_id
    )
    return sa.sql.ddl.CreateView(rows, name, schema=PUBLISHED)


def _point_at(conn: sa.Connection, release_id: str) -> None:
    from sqlalchemy.dialects.postgresql import insert

    conn.execute(
        insert(POINTER)
        .values(release_id=release_id)
        .on_conflict_do_update(index_elements=["is_de_enige"], set_={"release_id": release_id})
    )


def _forget_old(conn: sa.Connection) -> None:
    """Delete all but the last releases published; the current one is the last."""
    old = conn.scalars(
        sa.select(REGISTRY.c.release_id).order_by(REGISTRY.c.volgnummer.desc()).offset(KEPT_RELEASES)
    ).all()
    if old:
        _delete_rows(conn, old)
        conn.execute(sa.delete(REGISTRY).where(REGISTRY.c.release_id.in_(old)))


def _delete_rows(conn: sa.Connection, releases: Sequence[str]) -> None:
    for name in set(sa.inspect(conn).get_table_names(schema=DATA)) - {REGISTRY.name, POINTER.name}:
        data = sa.table(name, sa.column("release_id"), schema=DATA)
        conn.execute(sa.delete(data).where(data.c.release_id.in_(releases)))


def _quoted(conn: sa.Connection, *names: str) -> str:
    return ".".join(map(conn.dialect.identifier_preparer.quote, names))


# -- Both ----------------------------------------------------------------------------------------------------


def _store(url: str, home: Path) -> _SqliteFile | _PostgresSchemas:
    expected = "expected sqlite:///file.sqlite or postgresql://user:password@host/database"
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        # The cause quotes parts of the URL, so it is not chained: they may be the password's.
        raise WarehouseError(f"{SETTING} is not a database URL; {expected}") from None
    if parsed.drivername in ("sqlite", "sqlite+pysqlite"):
        if parsed.database in (None, "", ":memory:") or parsed.query:
            raise WarehouseError(f"{SETTING} names no SQLite file that can be replaced; {expected}")
        return _SqliteFile(home / str(parsed.database))
    if parsed.drivername not in ("postgresql", "postgresql+psycopg2"):
        raise WarehouseError(f"{SETTING} asks for {parsed.drivername!r}; {expected}")
    if "@" in f"{parsed.host}{parsed.database}":
        raise WarehouseError(f"{SETTING}: write '/', ':' and '@' in the password as %2F, %3A and %40")
    # SQLAlchemy would choose psycopg 3, which has another COPY.
    return _PostgresSchemas(parsed.set(drivername="postgresql+psycopg2"))


def _refuse_unfit(tables: Sequence[PublishedTable]) -> None:
    """Raise WarehouseError for what a database would take but change, or would only refuse after loading."""
    import pyarrow as pa
    import pyarrow.compute as pc

    names = [t.contract.sql_name for t in tables]
    taken = {*(c.sql_name for c in (RELEASE, TABELLEN, KOLOMMEN)), POINTER.name}
    if wrong := {n for n in names if names.count(n) > 1 or n in taken}:
        raise WarehouseError(f"tables {sorted(wrong)}: name used twice, or one of the warehouse's own")
    for each in tables:
        name, expected = each.contract.sql_name, _arrow_schema(_sql_table(each.contract))
        if "release_id" in expected.names:
            raise WarehouseError(f"{name}: release_id is the warehouse's own column, name it otherwise")
        if not each.rows.schema.equals(expected):
            raise WarehouseError(f"{name}: rows have\n{each.rows.schema}\nexpected\n{expected}")
        for field, column in zip(expected, each.rows.columns, strict=True):
            # SQLite stores NaN as NULL.
            if pa.types.is_floating(field.type) and pc.any(pc.invert(pc.is_finite(column))).as_py():
                raise WarehouseError(f"{name}.{field.name}: a number is not finite; a missing value is NULL")


@contextmanager
def _naming(conn: sa.Connection, contract: Contract) -> Iterator[None]:
    """Say which table a refused row belongs to, in the same way for both databases."""
    try:
        yield
    except (sa.exc.DBAPIError, conn.dialect.loaded_dbapi.Error) as error:
        cause = error.orig if isinstance(error, sa.exc.DBAPIError) else error
        raise WarehouseError(f"{contract.sql_name}: {str(cause).strip()}") from error


def _same_count(each: PublishedTable, count: int | None) -> None:
    if count != each.rows.num_rows:
        raise WarehouseError(f"{each.contract.sql_name}: {count} rows arrived of {each.rows.num_rows}")


def _sql_table(contract: Contract) -> sa.Table:
    """The table of a contract, outside any schema."""
    return sa.Table(
        contract.sql_name,
        sa.MetaData(),
        *(
            sa.Column(
                c.name,
                SQL_TYPES[c.type],
                primary_key=c.key,
                nullable=not (c.required or c.key),
                autoincrement=False,
            )
            for c in contract.columns
        ),
    )


def _arrow_schema(table: sa.Table) -> pa.Schema:
    import pyarrow as pa

    types = {
        str: pa.string(),
        int: pa.int64(),
        float: pa.float64(),
        bool: pa.bool_(),
        date: pa.date32(),
        datetime: pa.timestamp("us", "UTC"),
    }
    return pa.schema([pa.field(c.name, types[c.type.python_type]) for c in table.columns])


def _read(conn: sa.Connection, sql_name: str, schema: str | None) -> pa.Table:
    import pyarrow as pa

    try:
        table = sa.Table(sql_name, sa.MetaData(), schema=schema, autoload_with=conn)
    except sa.exc.NoSuchTableError:
        raise LookupError(f"{sql_name}: the current release has no such table") from None
    rows = conn.execute(sa.select(table)).mappings()
    return pa.Table.from_pylist([dict(r) for r in rows], schema=_arrow_schema(table))


def _info(row: sa.Row[Any]) -> ReleaseInfo:
    return ReleaseInfo(row.release_id, row.gemaakt_op.astimezone(UTC), row.status)
