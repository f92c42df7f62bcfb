"""Small things that DuckDB's relations lack: a query that surely gives rows, a single value, texts as codes.

Here belongs nothing that knows a table, a rule or an experiment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import duckdb


def select(rows: duckdb.DuckDBPyRelation, name: str, sql: str) -> duckdb.DuckDBPyRelation:
    """A SELECT over a relation that the SQL calls `name`."""
    found = rows.query(name, sql)
    if found is None:
        raise ValueError(f"not a SELECT: {sql[:80]}")
    return found


def value(rows: duckdb.DuckDBPyRelation) -> Any:
    """The one value of a relation of one row and one column."""
    ((found,),) = rows.fetchall()
    return found


def count(rows: duckdb.DuckDBPyRelation) -> int:
    """The number of rows of a relation."""
    return int(value(rows.count("*")))


def code_of(con: duckdb.DuckDBPyConnection, rows: duckdb.DuckDBPyRelation, text: str) -> str:
    """Make the ENUM `<text>_code` of the texts of a column, in their order, and return its name.

    Sorting, joining and handing over long texts is slow; an ENUM is a number that still is its text.
    """
    __rows = rows
    con.sql(f"CREATE TYPE {text}_code AS ENUM (SELECT DISTINCT {text} FROM __rows ORDER BY {text})")
    return f"{text}_code"


def as_codes(
    con: duckdb.DuckDBPyConnection, rows: duckdb.DuckDBPyRelation, *texts: str
) -> duckdb.DuckDBPyRelation:
    """The rows with the texts of some columns as codes (`code_of`)."""
    codes = (f"CAST({text} AS {code_of(con, rows, text)}) AS {text}" for text in texts)
    return rows.project(f"* REPLACE ({', '.join(codes)})")
