"""Figures of published tables, as they are now or as a release showed them.

Here belongs looking a figure up by table, row and column, with its interval, its period and how it was made.
When that no longer fits what somebody said of it is decided in `methods/koploperdeals/duiding.py`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from koploper_pipelines.contracts import Contract
from koploper_pipelines.gates.measures import literal, quoted
from koploper_pipelines.relations import value

if TYPE_CHECKING:
    import duckdb

    from koploper_pipelines.gates.step import Platform
    from koploper_pipelines.methods.koploperdeals.duiding import Figure


class NoFigure(LookupError):
    """There is no such figure; the message says what was expected, in Dutch."""


def published_contract(platform: Platform, name: str) -> Contract | None:
    """The contract of a published table, by its SQL name or its path; None when there is none."""
    contracts = (t.contract for t in platform.tables.values() if t.contract.layer == "published")
    return next((c for c in contracts if name in (c.sql_name, c.path)), None)


def row_of(
    rows: duckdb.DuckDBPyRelation, contract: Contract, key: Mapping[str, str]
) -> dict[str, Any] | None:
    """The row of that key; None when there is none. NoFigure when the key is not that of one row."""
    if set(key) != set(contract.key):
        raise NoFigure(f"rij: heeft {', '.join(sorted(key))}; verwacht de sleutel {', '.join(contract.key)}")
    where = " AND ".join(f"CAST({quoted(c)} AS VARCHAR) = {literal(v)}" for c, v in key.items())
    found = rows.filter(where)
    return next((dict(zip(found.columns, values, strict=True)) for values in found.fetchall()), None)


def newest_key(rows: duckdb.DuckDBPyRelation, key: Mapping[str, str], latest: str) -> dict[str, str]:
    """The key with each part that asks for the latest replaced by the newest value there is."""
    concrete = {c: v for c, v in key.items() if v != latest}
    for column in (c for c in key if c not in concrete):
        if column not in rows.columns:
            raise NoFigure(f"rij: er is geen kolom {column}")
        # The newest among the rows that the rest of the key leaves; a total is no period.
        text = f"CAST({quoted(column)} AS VARCHAR)"
        rest = [
            f"CAST({quoted(c)} AS VARCHAR) = {literal(v)}" for c, v in concrete.items() if c in rows.columns
        ]
        among = rows.filter(" AND ".join([*rest, f"regexp_matches({text}, '^[0-9]')"]))
        newest = value(among.aggregate(f"max({text})"))
        if newest is None:
            raise NoFigure(f"rij.{column}: er is geen {latest} waarde")
        concrete[column] = str(newest)
    return {c: concrete[c] for c in key}


def figure(
    row: Mapping[str, Any], contract: Contract, column: str, bounds: tuple[str, str] | None, method: str
) -> Figure:
    """The figure in a column of a row. NoFigure when that column, or one of its interval, is not there."""
    from koploper_pipelines.methods.koploperdeals import duiding

    names = [c.name for c in contract.columns]
    for name in (column, *(bounds or ())):
        if name not in names:
            raise NoFigure(f"kolom: {contract.sql_name} heeft geen kolom {name}")
    if column in contract.key:
        raise NoFigure(f"kolom: {column} is deel van de sleutel; verwacht een kolom met een cijfer")
    ends = bounds or duiding.bounds_of(column, names)
    low, high = (row[e] for e in ends) if ends else (None, None)
    interval = None if low is None or high is None else (float(low), float(high))
    period = {c: str(row[c]) for c in duiding.PERIOD_COLUMNS if row.get(c) is not None}
    return duiding.Figure(_plain(row[column]), interval, period, method)


def _plain(found: Any) -> float | str | bool | None:
    if found is None or isinstance(found, bool | str):
        return found
    return float(found) if isinstance(found, int | float) else str(found)


def method_of(platform: Platform, table: str, version: int) -> str:
    """Fingerprint of the contract and the choices behind a version of a table and all that it was made of.

    Not of the code: a rewritten function that gives the same figures is the same method.
    """
    return hashlib.sha256(json.dumps(_made_by(platform, table, version, set())).encode()).hexdigest()[:16]


def _made_by(
    platform: Platform, table: str, version: int, seen: set[tuple[str, int]]
) -> list[tuple[str, list[str]]]:
    """Of a table and its inputs, at the versions that were used, the settings of its partitions."""
    if (table, version) in seen:
        return []
    # The contract of the quoted table alone: an inner table may be described otherwise without a change.
    is_quoted = not seen
    seen.add((table, version))
    partitions, contract = _state(platform, table, version)
    choices = sorted({str(p["instellingen"]) for p in partitions.values() if p.get("instellingen")})
    told = [(table, [*choices, *([contract] if is_quoted else [])])]
    inputs: dict[str, int] = {}
    for partition in partitions.values():
        for name, used in (partition.get("invoer") or {}).items():
            if used is not None:
                inputs[name] = max(used, inputs.get(name, 0))
    for name, used in sorted(inputs.items()):
        told += _made_by(platform, name, used, seen)
    return [entry for entry in told if entry[1]]


def _state(platform: Platform, table: str, version: int) -> tuple[dict[str, Mapping[str, Any]], str]:
    """Provenance of each partition of a version, and the version of the contract."""
    head = platform.lake.head(table)
    if head.stamped_version <= version:
        return {p: s.provenance for p, s in head.partitions.items()}, str(head.stamp.get("contract", ""))
    partitions: dict[str, Mapping[str, Any]] = {}
    contract = ""
    for _, stamp in (s for s in platform.lake.stamps(table) if s[0] <= version):
        partitions |= stamp.get("partities", {})
        contract = str(stamp.get("contract", contract))
    return partitions, contract
