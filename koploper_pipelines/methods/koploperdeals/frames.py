"""Sheets of the register as typed frames, and as the plain values in which they are kept.

Belongs here: the one translation between a cell's value, JSON and a column's type.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

import pandas as pd

from koploper_pipelines.methods.koploperdeals.schema import BY_NAME, Kind

DTYPES: Mapping[Kind, Any] = {
    "tekst": "object",
    "code": "object",
    "lijst": "object",
    "persoon": "object",
    "getal": "Float64",
    "pct": "Float64",
    "geheel": "Int64",
    "jaar": "Int64",
    "janee": "boolean",
    "datum": "datetime64[us]",
}


def as_json(values: Mapping[str, Any]) -> str:
    """A row's filled values as JSON, in the order of its columns."""
    filled = {k: v.isoformat() if isinstance(v, date) else v for k, v in values.items() if v is not None}
    return json.dumps(filled, ensure_ascii=False)


def frame(sheet: str, rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """A typed frame of a sheet, all its columns in order, from values as they are or as in `as_json`."""
    listed = list(rows)
    columns = {}
    for field in BY_NAME[sheet].fields:
        values = [r.get(field.name) for r in listed]
        columns[field.name] = pd.Series(values, dtype="object")
        if field.kind == "datum":
            columns[field.name] = pd.to_datetime(columns[field.name])
        columns[field.name] = columns[field.name].astype(DTYPES[field.kind])
    return pd.DataFrame(columns)
