"""Staging: the rows that a step offers, cast to the contract's columns and types and put aside as files.

Here belong what a step may offer, what casting proves, and the files that are audited and then become the
table's own. What the rows are worth is judged in `audit.py`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard

from koploper_pipelines.contracts import Column, Contract
from koploper_pipelines.gates.measures import literal, quoted
from koploper_pipelines.resources.lake import DataFile

if TYPE_CHECKING:
    import duckdb
    import pandas as pd
    import pyarrow as pa

    Rows: TypeAlias = duckdb.DuckDBPyRelation | pd.DataFrame | pa.Table

ROW_GROUP = 40_960
"""Rows of a file that are held in memory at a time while it is written; DuckDB works in blocks of 2,048."""
DICTIONARY = 2_000
"""Different values in a block of rows above which a column gets no dictionary: at the default, a fifth of the
rows, clocks and coordinates as text get one in vain, which costs a fifth of the time of writing."""
DUCKDB_TYPES = {
    "string": "VARCHAR",
    "integer": "BIGINT",
    "number": "DOUBLE",
    "boolean": "BOOLEAN",
    "date": "DATE",
    "timestamp": "TIMESTAMP WITH TIME ZONE",
}
# What may be cast to a column's type without a value changing its meaning.
ACCEPTED = {
    "string": {"VARCHAR", "ENUM"},
    "integer": {
        "BIGINT",
        "INTEGER",
        "SMALLINT",
        "TINYINT",
        "UBIGINT",
        "UINTEGER",
        "USMALLINT",
        "UTINYINT",
        "HUGEINT",
    },
    "boolean": {"BOOLEAN"},
    "date": {"DATE"},
    "timestamp": {"TIMESTAMP WITH TIME ZONE"},
}
ACCEPTED["number"] = ACCEPTED["integer"] | {"DOUBLE", "FLOAT", "DECIMAL"}


class SchemaMismatch(ValueError):
    """Offered rows do not have the contract's columns and types; names each column and what was expected."""


@dataclass(frozen=True)
class Offered:
    """What a step offers its gate."""

    rows: Rows
    """The new rows of the partitions in hand; rows of other partitions are not taken."""
    rejected: duckdb.DuckDBPyRelation | None = None
    """Rows set aside by the step itself: any columns, plus `reden` and `toelichting`."""
    rows_in: int | None = None
    """How many rows the step received for these partitions, counted apart from the split."""
    controls: Mapping[str, Any] = field(default_factory=dict)
    """Control totals of the inputs, for the reconciliation rules."""
    partitions: Sequence[str] | None = None
    """For a landing: the partitions that the rows fall in."""
    file: str | None = None
    """For a landing: the content hash of the file."""
    notes: Mapping[str, Any] = field(default_factory=dict)
    """Further facts for the stamp and the UI."""


def relation(con: duckdb.DuckDBPyConnection, rows: Rows) -> duckdb.DuckDBPyRelation:
    """Rows as a relation of the connection, whatever a step made them with."""
    import duckdb
    import pandas as pd
    import pyarrow as pa

    if isinstance(rows, duckdb.DuckDBPyRelation):
        return rows
    table = pa.Table.from_pandas(rows, preserve_index=False) if isinstance(rows, pd.DataFrame) else rows
    return con.from_arrow(table)


def check_columns(contract: Contract, rows: duckdb.DuckDBPyRelation) -> None:
    """Raise SchemaMismatch unless the rows have exactly the contract's columns, of types that fit."""
    expected = [c.name for c in contract.columns]
    problems = [f"column {n!r} is missing" for n in expected if n not in rows.columns]
    problems += [f"column {n!r} is not in the contract" for n in rows.columns if n not in expected]
    for name, found in zip(rows.columns, map(str, rows.types), strict=True):
        if name not in expected:
            continue
        wanted = contract.column(name).type
        base = found.split("(")[0]
        if base not in ACCEPTED[wanted] and base not in ('"NULL"', "NULL"):
            problems.append(f"column {name!r} is {found}, expected {wanted}")
    if problems:
        raise SchemaMismatch(f"{contract.path}: " + "; ".join(problems))


def cast_sql(column: Column, found: str) -> str:
    """SQL that casts a column, found with a DuckDB type, to what the contract says of it."""
    name = quoted(column.name)
    # pandas writes a missing number as NaN; in the lake a missing value is NULL.
    source = f"CASE WHEN isnan({name}) THEN NULL ELSE {name} END" if found in ("DOUBLE", "FLOAT") else name
    if column.decimals is not None:
        source = f"round({source}, {column.decimals})"
    if found.startswith("ENUM"):
        # Written as the text that it is, which is faster than as a text made of it.
        return f"{source} AS {name}"
    return f"({source})::{DUCKDB_TYPES[column.type]} AS {name}"


def does_not_fit(contract: Contract, rows: duckdb.DuckDBPyRelation) -> str:
    """Which columns hold values that their type in the contract cannot hold; for rows whose cast failed."""
    types = {c.name: DUCKDB_TYPES[c.type] for c in contract.columns}
    counts = (
        f"count(*) FILTER ({quoted(n)} IS NOT NULL AND TRY_CAST({quoted(n)} AS {t}) IS NULL)"
        for n, t in types.items()
    )
    (found,) = rows.aggregate(", ".join(counts)).fetchall()
    named = [
        f"column {n!r} holds {i} values that are no {contract.column(n).type}"
        for n, i in zip(types, found, strict=True)
        if i
    ]
    return "; ".join(named)


def check_finite(contract: Contract, rows: duckdb.DuckDBPyRelation) -> None:
    """Raise SchemaMismatch when a number is infinite: a division by zero, and within any one-sided range."""
    numbers = [c.name for c in contract.columns if c.type == "number"]
    if not numbers:
        return
    (found,) = rows.aggregate(", ".join(f"count(*) FILTER (isinf({quoted(n)}))" for n in numbers)).fetchall()
    if infinite := [n for n, count in zip(numbers, found, strict=True) if count]:
        raise SchemaMismatch(
            f"{contract.path}: " + "; ".join(f"column {n!r} holds an infinite number" for n in infinite)
        )


def write_files(
    con: duckdb.DuckDBPyConnection, select: str, folder: Path, partition: str | None
) -> list[DataFile]:
    """Put the rows of a SELECT aside as Parquet files, as they are to stand in the lake.

    `partition` names the column by whose values the files are kept apart. Without rows there may be no file.
    """
    folder.mkdir(parents=True)
    # Their order says nothing, and to keep it DuckDB holds most rows in memory until they are written.
    options = "FORMAT parquet, PRESERVE_ORDER false, RETURN_STATS"
    options += f", ROW_GROUP_SIZE {ROW_GROUP}, DICTIONARY_SIZE_LIMIT {DICTIONARY}"
    target = folder
    if partition is None:
        target = folder / "rijen.parquet"
    else:
        options += f", PARTITION_BY ({quoted(partition)})"
    written = con.execute(f"COPY ({select}) TO {literal(str(target))} ({options})").fetchall()
    return [
        DataFile(Path(name), int(rows), dict(keys or {}).get(partition) if partition else None)
        for name, rows, _, _, _, keys, *_ in written
    ]


def is_as_contracted(contract: Contract, rows: Rows) -> TypeGuard[pa.Table]:
    """Whether rows are an Arrow table of which no value is changed by the cast to the contract.

    Numbers are never taken so: what pandas writes as NaN is a missing value, and they may be rounded.
    """
    import pyarrow as pa

    if not isinstance(rows, pa.Table) or any(c.type == "number" for c in contract.columns):
        return False
    found = {f.name: getattr(f.type, "value_type", f.type) for f in rows.schema}
    return found == {f.name: f.type for f in arrow_schema(contract)}


def write_table(contract: Contract, rows: pa.Table, folder: Path) -> list[DataFile]:
    """Put the rows of a table that is as contracted aside as Parquet files, in one partition.

    By Arrow, which writes texts in half the time that DuckDB takes, one file a processor.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    folder.mkdir(parents=True)
    table = rows.select([c.name for c in contract.columns])
    # By those a reader passes over what it does not ask for; nobody asks for a range of texts.
    ranged = [f.name for f in table.schema if pa.types.is_primitive(f.type)]
    first = table.slice(0, ROW_GROUP)
    repeated = [n for n in table.column_names if len(pc.unique(first[n])) <= DICTIONARY]
    parts = max(1, min(os.cpu_count() or 1, -(-len(table) // ROW_GROUP)))
    bounds = [number * len(table) // parts for number in range(parts + 1)]

    def write(number: int) -> DataFile:
        start, end = bounds[number : number + 2]
        file = folder / f"rijen-{number}.parquet"
        # Without the types of this table, which may be a dictionary where the contract says text.
        pq.write_table(
            table.slice(start, end - start),
            file,
            row_group_size=ROW_GROUP,
            use_dictionary=repeated,
            write_statistics=ranged,
            store_schema=False,
        )
        return DataFile(file, end - start)

    with ThreadPoolExecutor(parts) as pool:
        return list(pool.map(write, range(parts)))


def read_files(
    con: duckdb.DuckDBPyConnection, contract: Contract, files: Sequence[DataFile], partition: str | None
) -> duckdb.DuckDBPyRelation:
    """The rows of files that `write_files` made, in the contract's columns and types."""
    columns = ", ".join(quoted(c.name) for c in contract.columns)
    if not files:
        nothing = ", ".join(f"NULL::{DUCKDB_TYPES[c.type]} AS {quoted(c.name)}" for c in contract.columns)
        return con.sql(f"SELECT {nothing} WHERE false")
    names = ", ".join(literal(str(f.path)) for f in files)
    options = "hive_partitioning = false"
    if partition is not None:
        kind = DUCKDB_TYPES[contract.column(partition).type]
        options = f"hive_partitioning = true, hive_types = {{{literal(partition)}: {kind}}}"
    return con.sql(f"SELECT {columns} FROM read_parquet([{names}], {options})")


def arrow_schema(contract: Contract) -> pa.Schema:
    """The physical schema of a table."""
    import pyarrow as pa

    types = {
        "string": pa.string(),
        "integer": pa.int64(),
        "number": pa.float64(),
        "boolean": pa.bool_(),
        "date": pa.date32(),
        "timestamp": pa.timestamp("us", "UTC"),
    }
    return pa.schema([pa.field(c.name, types[c.type]) for c in contract.columns])
