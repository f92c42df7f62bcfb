"""PostgreSQL: rows of the last releases beside each other, and views over one pointer row.

Here belongs nothing that SQLite needs too; that is in `release.py`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from koploper_pipelines.contracts import Contract
from koploper_pipelines.resources.warehouse.release import (
    KOLOMMEN,
    POINTER_NAME,
    RELEASE,
    SETTING,
    TABELLEN,
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
    POINTER_NAME,
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


class PostgresSchemas:
    """The last releases in one schema, the current one as views in another.

    A publish is one transaction, so a failure or a kill leaves nothing. Rows are first loaded in a
    temporary table with the contract's NOT NULL and key: the table of all releases cannot have them,
    since older releases may lack a column or have another key.
    """

    def __init__(self, url: sa.URL) -> None:
        """Take the server's URL; nothing is opened yet."""
        self._url = url

    def publish(self, info: ReleaseInfo, tables: Sequence[PublishedTable], check: Check | None) -> None:
        """Write the tables, have `check` judge them, and make them the current release."""
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
        """Id of the release that readers see; None before the first."""
        with self._connect() as conn:
            return conn.scalar(sa.select(POINTER.c.release_id)) if _is_founded(conn) else None

    def read(self, sql_name: str) -> pa.Table:
        """All rows of a table of the current release; LookupError when it has no such table."""
        with self._connect() as conn:
            return read_table(conn, sql_name, PUBLISHED)

    def releases(self) -> list[ReleaseInfo]:
        """Releases that can be made current, last published first."""
        with self._connect() as conn:
            return _releases(conn)

    def switch(self, release_id: str) -> None:
        """Make a release that is still there the current one; LookupError when it is not there."""
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
    return [
        release_info(row) for row in conn.execute(sa.select(REGISTRY).order_by(REGISTRY.c.volgnummer.desc()))
    ]


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
    with naming(conn, each.contract), closing(conn.connection.cursor()) as cursor:
        cursor.copy_expert(copy, pa.BufferReader(text.getvalue()))


def _keep(conn: sa.Connection, release_id: str, each: PublishedTable) -> None:
    """Move the loaded rows to the table of all releases."""
    loading = _loading(each.contract)
    names = [c.name for c in loading.columns]
    data = sa.table(loading.name, sa.column("release_id"), *map(sa.column, names), schema=DATA)
    rows = sa.select(sa.literal(release_id), *loading.columns)
    same_count(each, conn.execute(data.insert().from_select(["release_id", *names], rows)).rowcount)
    conn.execute(sa.schema.DropTable(loading))


def _loading(contract: Contract) -> sa.Table:
    return sql_table(contract).to_metadata(sa.MetaData(), schema="pg_temp")


def _kept(conn: sa.Connection, release_id: str, contract: Contract) -> list[dict[str, Any]]:
    """Rows of a release, whether readers see it or not."""
    table = sql_table(contract).to_metadata(sa.MetaData(), schema=DATA)
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
    name, wanted = contract.sql_name, sql_table(contract).columns
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
