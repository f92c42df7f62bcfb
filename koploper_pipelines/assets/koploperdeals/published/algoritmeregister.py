"""Published: the algorithm register, an entry for each method that sorts people or texts.

The entries stand as YAML in a folder `algoritmes/` beside the experiment whose method they describe; here
belongs gathering them.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from koploper_pipelines.gates.staging import Offered, SchemaMismatch
from koploper_pipelines.gates.table import Step, gated_table

if TYPE_CHECKING:
    from koploper_pipelines.gates.step import Platform

REGISTER = "koploperdeals/published/algoritmeregister"
EXPERIMENTS = Path(__file__).parents[2]


def entries() -> list[Path]:
    """The files of all entries."""
    return sorted(EXPERIMENTS.glob("*/algoritmes/*.yaml"))


def _contents(platform: Platform) -> dict[str, str]:
    return {
        p.relative_to(EXPERIMENTS).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in entries()
    }


@gated_table(REGISTER, also=_contents, kinds=("yaml", "delta"))
def algoritmeregister(step: Step) -> Offered:
    """A row an algorithm, in the fields of the national register."""
    import pandas as pd

    contract = step.platform.tables[REGISTER].contract
    made = [{"experiment": p.parents[1].name, **_read(p)} for p in entries()]
    table = pd.DataFrame(made, columns=[c.name for c in contract.columns]).astype("str")
    return Offered(table, controls={"beschreven_algoritmes": len(_contents(step.platform))})


def _read(file: Path) -> dict[str, Any]:
    """One entry; SchemaMismatch names the file and all that deviates."""
    import yaml

    from koploper_pipelines.methods.koploperdeals import algoritmeregister as method

    name = file.relative_to(EXPERIMENTS).as_posix()
    try:
        told = yaml.safe_load(file.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise SchemaMismatch(f"{name}: cannot be read as YAML") from error
    if not isinstance(told, dict):
        raise SchemaMismatch(f"{name}: expected the fields {', '.join(method.FIELDS)}")
    try:
        return dict(method.entry(told))
    except ValueError as error:
        raise SchemaMismatch(f"{name}: {error}") from error
