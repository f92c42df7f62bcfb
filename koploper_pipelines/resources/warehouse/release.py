"""A release as the databases are to hold it: its tables, their SQL form, and the three tables about itself.

Here belongs what both databases share. How a release is written and made current is `sqlite.py`'s and
`postgres.py`'s.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import sqlalchemy as sa

from koploper_pipelines.contracts import Column, Contract
from koploper_pipelines.contracts.model import ColumnType

if TYPE_CHECKING:
    import pyarrow as pa

Status = Literal["voorlopig", "definitief"]
Check: TypeAlias = Callable[[sa.Connection], None]

SETTING = "KOPLOPER_WAREHOUSE_URL"
POINTER_NAME = "huidige_release"

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


def about(info: ReleaseInfo, tables: Sequence[PublishedTable]) -> list[PublishedTable]:
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
    return [PublishedTable(c, pa.Table.from_pylist(r, schema=_arrow_schema(sql_table(c)))) for c, r in rows]


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


# -- Tables in SQL -------------------------------------------------------------------------------------------


def refuse_unfit(tables: Sequence[PublishedTable]) -> None:
    """Raise WarehouseError for what a database would take but change, or would only refuse after loading."""
    import pyarrow as pa
    import pyarrow.compute as pc

    names = [t.contract.sql_name for t in tables]
    taken = {*(c.sql_name for c in (RELEASE, TABELLEN, KOLOMMEN)), POINTER_NAME}
    if wrong := {n for n in names if names.count(n) > 1 or n in taken}:
        raise WarehouseError(f"tables {sorted(wrong)}: name used twice, or one of the warehouse's own")
    for each in tables:
        name, expected = each.contract.sql_name, _arrow_schema(sql_table(each.contract))
        if "release_id" in expected.names:
            raise WarehouseError(f"{name}: release_id is the warehouse's own column, name it otherwise")
        if not each.rows.schema.equals(expected):
            raise WarehouseError(f"{name}: rows have\n{each.rows.schema}\nexpected\n{expected}")
        for field, column in zip(expected, each.rows.columns, strict=True):
            # SQLite stores NaN as NULL.
            if pa.types.is_floating(field.type) and pc.any(pc.invert(pc.is_finite(column))).as_py():
                raise WarehouseError(f"{name}.{field.name}: a number is not finite; a missing value is NULL")


@contextmanager
def naming(conn: sa.Connection, contract: Contract) -> Iterator[None]:
    """Say which table a refused row belongs to, in the same way for both databases."""
    try:
        yield
    except (sa.exc.DBAPIError, conn.dialect.loaded_dbapi.Error) as error:
        cause = error.orig if isinstance(error, sa.exc.DBAPIError) else error
        raise WarehouseError(f"{contract.sql_name}: {str(cause).strip()}") from error


def same_count(each: PublishedTable, count: int | None) -> None:
    """Raise WarehouseError unless as many rows arrived as were sent."""
    if count != each.rows.num_rows:
        raise WarehouseError(f"{each.contract.sql_name}: {count} rows arrived of {each.rows.num_rows}")


def sql_table(contract: Contract) -> sa.Table:
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


def read_table(conn: sa.Connection, sql_name: str, schema: str | None) -> pa.Table:
    """All rows of a table, typed as its columns are."""
    import pyarrow as pa

    try:
        table = sa.Table(sql_name, sa.MetaData(), schema=schema, autoload_with=conn)
    except sa.exc.NoSuchTableError:
        raise LookupError(f"{sql_name}: the current release has no such table") from None
    rows = conn.execute(sa.select(table)).mappings()
    return pa.Table.from_pylist([dict(r) for r in rows], schema=_arrow_schema(table))


def release_info(row: sa.Row[Any]) -> ReleaseInfo:
    """A row of the table of releases."""
    return ReleaseInfo(row.release_id, row.gemaakt_op.astimezone(UTC), row.status)
