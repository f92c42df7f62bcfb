"""Frames in the shape of a table's contract.

Here belongs what every layer of the portfolio does before it offers rows: the contract's columns in its order
and types, also where a whole column is missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from koploper_pipelines.gates.staging import Offered

if TYPE_CHECKING:
    import pandas as pd

    from koploper_pipelines.gates.table import Step

TYPES: dict[str, Any] = {
    "string": "object",
    "integer": "Int64",
    "number": "Float64",
    "boolean": "boolean",
    "date": "date32[day][pyarrow]",
}


def offered(
    step: Step, path: str, rows: pd.DataFrame, rows_in: int | None = None, **controls: Any
) -> Offered:
    """The rows as the contract of `path` has them, with control totals; columns it does not have are left."""
    import pandas as pd

    contract = step.platform.tables[path].contract
    made = {}
    for column in contract.columns:
        values = rows[column.name].reset_index(drop=True).astype(TYPES[column.type])
        made[column.name] = values.where(values.notna(), None) if column.type == "string" else values
    return Offered(pd.DataFrame(made), rows_in=rows_in, controls=controls)
