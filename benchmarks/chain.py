"""One night of Snuffelfiets in a process of its own: from the inbox to its published tables, in Dagster.

Run as a script with `vol` it does the work; with `leeg` every step's body offers no rows, while the graph,
the gates and the checks are the same: what a night costs before there is any row. It prints as JSON the
seconds of starting and importing, of the night, and of that in the gates.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from koploper_pipelines.build import build_definitions, build_platform
from koploper_pipelines.contracts import Contract
from koploper_pipelines.gates.table import GatedTable, Step

if TYPE_CHECKING:
    import duckdb

    from koploper_pipelines.gates.staging import Offered

EXPERIMENT = "snuffelfiets"
FIRST_DAY, DAYS = date(2026, 9, 3), 26
"""Within a month, with the days that border on it: so that it is one run, as a night's work is."""
LAST_DAY = FIRST_DAY + timedelta(days=DAYS - 1)
NOW = datetime(2026, 11, 1, 3, tzinfo=UTC)
LANDED = ("raw/metingen", "raw/referentie", "raw/weer")


# -- Empty bodies --------------------------------------------------------------------------------------------


def _nothing(contract: Contract, partitions: list[str] | None = None) -> Offered:
    """No rows, and 0 for each control total that a rule asks for."""
    from koploper_pipelines.gates.measures import PARAMETER
    from koploper_pipelines.gates.staging import Offered, arrow_schema

    asked = [i for r in contract.rules for e in r.expectations for i in e.kwargs.items()]
    controls = {
        v[PARAMETER]: [] if name == "value_set" else 0
        for name, v in asked
        if isinstance(v, dict) and PARAMETER in v
    }
    rows = arrow_schema(contract).empty_table()
    return Offered(rows, rows_in=0, controls=controls, partitions=partitions, file="0" * 64)


@dataclass
class _EmptyFile:
    name: str
    contract: Contract

    def offered(self, con: duckdb.DuckDBPyConnection) -> Offered:
        days = [(FIRST_DAY + timedelta(days=n)).isoformat() for n in range(DAYS)]
        return _nothing(self.contract, days if self.contract.partition else None)

    def accepted(self) -> None:
        pass

    def refused(self, report: str) -> None:
        raise RuntimeError(report)


def _emptied(table: GatedTable) -> GatedTable:
    """The same table and checks with an empty body; its rules warn, since many ask for at least one row."""
    rules = tuple(replace(r, severity="warning") for r in table.contract.rules)
    contract = replace(table.contract, rules=rules, empty_because="nothing is measured of it")

    def lands(step: Step) -> Iterator[_EmptyFile]:
        if table.path.removeprefix(f"{EXPERIMENT}/") in LANDED:
            yield _EmptyFile("leeg", contract)

    def makes(step: Step) -> Offered:
        return _nothing(contract)

    return replace(table, contract=contract, make=lands if table.lands else makes)


# -- A night, timed ------------------------------------------------------------------------------------------


def _timed(owner: Any, name: str, spent: dict[str, float]) -> None:
    """Add up the seconds in a method."""
    work: Callable[..., Any] = getattr(owner, name)

    def run(*args: Any, **kwargs: Any) -> Any:
        start = time.perf_counter()
        try:
            return work(*args, **kwargs)
        finally:
            spent[name] = spent.get(name, 0.0) + time.perf_counter() - start

    setattr(owner, name, run)


def _import_all() -> None:
    """Everything that steps and gates import when they are run, so that it is counted as starting."""
    import deltalake  # noqa: F401
    import great_expectations.expectations  # noqa: F401

    from koploper_pipelines import methods

    for module in pkgutil.walk_packages(methods.__path__, f"{methods.__name__}."):
        if EXPERIMENT in module.name or module.name.count(".") == 2:
            importlib.import_module(module.name)


def main(home: Path, kind: str) -> None:
    """Run the night and say what it took."""
    _import_all()
    from koploper_pipelines.automation.night import PUBLISH, WORK_TAG, Chosen, next_run
    from koploper_pipelines.automation.run import execute, open_instance
    from koploper_pipelines.gates import gate
    from koploper_pipelines.settings import Settings

    platform = build_platform(Settings(home=home, now=NOW))
    if kind == "leeg":
        tables = {p: _emptied(t) for p, t in platform.tables.items() if t.contract.experiment == EXPERIMENT}
        platform = replace(platform, tables={**platform.tables, **tables})
    defs = build_definitions(platform)
    spent: dict[str, float] = {}
    _timed(gate.Gate, "admit", spent)
    _timed(gate._Pass, "_stage", spent)
    ran: list[tuple[str, str]] = []
    started = time.time() - psutil.Process().create_time()
    with open_instance(platform.settings) as instance:
        start, cpu = time.perf_counter(), time.process_time()
        while (following := next_run(platform, "bench", ran, Chosen(EXPERIMENT))) is not None:
            if following.job == PUBLISH:
                break
            done = execute(defs, instance, following)
            if not done.success:
                raise RuntimeError("; ".join(done.failures))
            ran.append((following.job, following.tags.get(WORK_TAG, "")))
        seconds, cpu_s = time.perf_counter() - start, time.process_time() - cpu
    rows = {
        t: platform.lake.rows(t, platform.lake.head(t).version)
        for t in platform.tables
        if platform.lake.exists(t)
    }
    print(
        json.dumps(
            {
                "start_s": started,
                "seconds": seconds,
                "cpu_s": cpu_s,
                "gates_s": spent["admit"],
                "staging_s": spent["_stage"],
                "runs": len(ran),
                "rows": rows,
            }
        )
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
