"""Two small things that DuckDB's relations lack: a query that surely gives rows, and a single value.

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
