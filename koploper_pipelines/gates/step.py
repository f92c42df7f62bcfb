"""One run of one table: choose what is pending, let the step make it, take it through the gate.

Here belong the view that a step gets of the lake (verified, only what it needs, only what passed under
today's rules) and the order of a run. Dagster is not known here; `asset.py` translates.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from koploper_pipelines.contracts import Contract
from koploper_pipelines.gates.audit import Staged, Verdict, in_partitions, judge_rules
from koploper_pipelines.gates.gate import QUARANTINE, Gate, Outcome, Passage
from koploper_pipelines.gates.ledger import Ledger
from koploper_pipelines.gates.measures import literal, needs_controls, quoted
from koploper_pipelines.gates.plan import Plan, fingerprint
from koploper_pipelines.gates.sources import SourceState, judge_source
from koploper_pipelines.gates.staging import SchemaMismatch, arrow_schema
from koploper_pipelines.gates.table import Delivery, GatedTable, Reads, SameTotal
from koploper_pipelines.resources.clock import Clock
from koploper_pipelines.resources.lake import UNKNOWN, WHOLE, Lake, NoTable
from koploper_pipelines.settings import LATE_WINDOW_DAYS, ExperimentSettings, Settings

if TYPE_CHECKING:
    import duckdb

    from koploper_pipelines.resources.warehouse import Warehouse


class RulesFailed(RuntimeError):
    """Rows that passed their gate under older rules do not pass under today's."""


@dataclass(frozen=True)
class Platform:
    """One installation: its settings, its tables, and the lake with its gate."""

    settings: Settings
    tables: Mapping[str, GatedTable]
    totals: tuple[SameTotal, ...] = ()

    @cached_property
    def clock(self) -> Clock:
        """What time it is."""
        return Clock(self.settings.now)

    @cached_property
    def lake(self) -> Lake:
        """The Delta tables."""
        return Lake(self.settings.lake, self.settings.subkey("stempel"))

    @cached_property
    def ledger(self) -> Ledger:
        """The quality ledger."""
        return Ledger(self.lake)

    @cached_property
    def gate(self) -> Gate:
        """The gate of all tables."""
        return Gate(self.lake, self.ledger, self.clock, self.settings.small_table_rows)

    @cached_property
    def database(self) -> duckdb.DuckDBPyConnection:
        """The database of all steps, each with a connection to it; opening one costs ten times that."""
        import duckdb

        return duckdb.connect(
            config={
                "memory_limit": f"{self.settings.query_memory_mb}MB",
                "temp_directory": str(_spill_folder(self.lake.staging)),
            }
        )

    @cached_property
    def warehouse(self) -> Warehouse:
        """The published tables in SQL."""
        from koploper_pipelines.resources.warehouse import Warehouse

        return Warehouse(self.settings.published_url, self.settings.home)

    @property
    def first_open_month(self) -> str:
        """The first measurement month that still may receive rows."""
        return self.clock.first_open_month(LATE_WINDOW_DAYS)

    def plan(self) -> Plan:
        """The work list as of now."""
        chosen = {t.path: t.settings for t in self.tables.values() if t.settings is not None}
        # Read from the environment once an experiment, not once a table.
        said = {kind: fingerprint(kind().fingerprint()) for kind in set(chosen.values())}
        prints = {path: said[kind] for path, kind in chosen.items()}
        also = {t.path: partial(t.also, self) for t in self.tables.values() if t.also is not None}
        return Plan(self.tables, self.lake, prints, also, self.first_open_month)


@dataclass(frozen=True)
class Report:
    """What a run of a table came to."""

    outcomes: tuple[Outcome, ...] = ()
    partitions: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    """Partitions that a gate refused earlier in the same night, with the same inputs."""
    message: str = ""
    notes: Mapping[str, Any] = field(default_factory=dict)
    source: Verdict | None = None
    """Whether the remote source of a landing could be reached; None when it has none, or none is set."""

    @property
    def nothing_new(self) -> bool:
        """Whether there was nothing to do."""
        return not self.outcomes

    @property
    def passed(self) -> bool:
        """Whether everything offered was promoted."""
        return all(o.passed for o in self.outcomes)

    @property
    def failures(self) -> str:
        """In words, what kept the gate closed; empty when everything passed."""
        said = [
            f"{v.rule.name}: {v.message or v.rule.description}"
            + (f" (dagen: {', '.join(v.partitions)})" if v.partitions else "")
            for o in self.outcomes
            if not o.passed
            for v in o.verdicts
            if v.closes_gate or (not v.passed and v.rule.is_blocking and v.partitions)
        ]
        return "; ".join(dict.fromkeys(said))


class RunStep:
    """The `Step` of a run: a connection, the partitions in hand, and the inputs as of its start."""

    def __init__(self, platform: Platform, plan: Plan, table: GatedTable, partitions: Sequence[str]) -> None:
        """Open a connection with room of its own, that no other step sees; the caller closes the step."""
        self.con = platform.database.cursor()
        self._room = f"stap_{uuid.uuid4().hex}"
        self.con.sql(f"ATTACH ':memory:' AS {self._room}")
        self.con.sql(f"USE {self._room}")
        # Days and hours are computed with the province's zone by name; nothing may depend on the machine's.
        self.con.sql("SET TimeZone = 'UTC'")
        self.partitions: Sequence[str] = tuple(partitions)
        self.first_open_month = platform.first_open_month
        self._platform = platform
        self._plan = plan
        self._table = table

    def close(self) -> None:
        """Give up the connection and all that was made on it."""
        self.con.sql("USE memory")
        self.con.sql(f"DETACH {self._room}")
        self.con.close()

    def read(self, table: str) -> duckdb.DuckDBPyRelation:
        """The input's rows that the partitions in hand need, of its last version that passed its gate."""
        needed = self._plan.inputs(self._table, self._reads(table), self.partitions)
        return verified_rows(self._platform, self._plan, self.con, table, needed)

    def quarantine(self, table: str) -> duckdb.DuckDBPyRelation:
        """The input's set-aside rows that belong to the version that `read` gives."""
        if not self._reads(table).quarantine:
            raise LookupError(f"{self._table.path} reads the quarantine of {table} without declaring it")
        head = self._plan.head(table)
        version = head.stamp.get("quarantaine") if head else None
        if version is None:
            return self.con.sql(
                "SELECT ''::VARCHAR AS partitie, ''::VARCHAR AS reden, ''::VARCHAR AS toelichting,"
                " ''::VARCHAR AS rij WHERE FALSE"
            )
        self._platform.lake.head(table + QUARANTINE)
        return self._platform.lake.relation(self.con, table + QUARANTINE, int(version))

    def settings(self, kind: type[ExperimentSettings]) -> Any:
        """The experiment's choices."""
        if self._table.settings is not kind:
            raise LookupError(f"{self._table.path} uses {kind.__name__} without declaring it")
        return kind()

    @property
    def platform(self) -> Platform:
        """The installation, for steps of the release and of landings."""
        return self._platform

    def _reads(self, table: str) -> Reads:
        for reads in self._table.reads:
            if reads.table == table:
                return reads
        raise LookupError(f"{self._table.path} reads {table} without declaring it")


def _spill_folder(staging: Path) -> Path:
    """A folder for what queries do not hold in memory; DuckDB makes it when needed, and removes it.

    Those of processes that were killed are removed here.
    """
    import psutil

    for left in staging.glob("duckdb-*"):
        if not psutil.pid_exists(int(left.name.split("-")[1])):
            # Another process that starts now may be removing it too.
            shutil.rmtree(left, ignore_errors=True)
    return staging / f"duckdb-{os.getpid()}-{uuid.uuid4().hex}"


def verified_rows(
    platform: Platform, plan: Plan, con: duckdb.DuckDBPyConnection, table: str, partitions: Sequence[str]
) -> duckdb.DuckDBPyRelation:
    """Rows of some partitions of a table, of its last version that passed its gate; none before the first.

    Partitions that were gated under other rules than today's are audited again first; raises RulesFailed
    when they do not pass, UntrustedTable when something else than a gate wrote to the table.
    """
    contract, head = platform.tables[table].contract, plan.head(table)
    if head is None:
        return con.from_arrow(arrow_schema(contract).empty_table())
    rows = platform.lake.relation(con, table, head.version)
    if contract.partition is not None and set(partitions) != set(head.partitions):
        rows = rows.filter(in_partitions(contract, partitions))
    of_contract = [c.name for c in contract.columns]
    if set(rows.columns) > set(of_contract):
        # The lake keeps a column that the contract lost; no step may know it.
        rows = rows.project(", ".join(map(quoted, of_contract)))
    older = [p for p in partitions if head.partitions[p].provenance.get("regels") != contract.rules_hash]
    if older:
        failed = [v for v in audit(platform, contract, con, rows, older) if not v.passed]
        if blocking := [v for v in failed if v.rule.is_blocking or not v.evaluable]:
            raise RulesFailed(
                f"{table}: {', '.join(older[:5])} passed its gate under older rules and does not pass"
                f" under today's: {', '.join(v.rule.name for v in blocking)}"
            )
    return rows


def audit(
    platform: Platform,
    contract: Contract,
    con: duckdb.DuckDBPyConnection,
    rows: duckdb.DuckDBPyRelation,
    partitions: Sequence[str],
) -> list[Verdict]:
    """Verdicts of today's rules on rows that are in the lake already.

    Rules against control totals are left out: the totals belonged to the run that made the rows.
    """
    name = "opnieuw_" + contract.path.replace("/", "_")
    if contract.partition is not None:
        rows = rows.filter(in_partitions(contract, partitions))
    rows.create_view(name, replace=True)
    rules = [r for r in contract.rules if r.expectations and not needs_controls(r)]
    return judge_rules(Staged(con, name, contract, {}), rules, partitions, rows_as_they_are=False)


def run_table(
    platform: Platform,
    table: GatedTable,
    *,
    run_id: str,
    night: str | None = None,
    chosen: Sequence[str] | None = None,
    again: bool = False,
) -> Report:
    """Make what is pending of a table (of the chosen days, when given) and take it through its gate.

    `again` makes chosen partitions also when they are not pending.
    """
    platform.gate.mend(table.path)
    plan = platform.plan()
    if table.lands:
        return _land(platform, plan, table, run_id, night)
    partitions = _in_hand(plan, table, chosen, again)
    skipped = refused_tonight(platform, plan, table, night, partitions)
    partitions = [p for p in partitions if p not in skipped]
    if not partitions:
        return Report(skipped=tuple(skipped), message="niets nieuw")
    step = RunStep(platform, plan, table, partitions)
    try:
        offered = table.make(step)
        passage = Passage(run_id, night, {p: plan.provenance(table, p) for p in partitions})
        outcome = platform.gate.admit(step.con, table.contract, offered, passage, partitions)
    finally:
        step.close()
    return Report((outcome,), tuple(partitions), tuple(skipped), notes=offered.notes)


def _in_hand(plan: Plan, table: GatedTable, chosen: Sequence[str] | None, again: bool) -> list[str]:
    kind = table.contract.partition_kind
    if kind is None and again and plan.head(table.path) is not None:
        return [WHOLE]
    # What was never made is made when there is something to make it of, and then it is pending.
    pending = set(plan.pending_of(table))
    if kind == "dag" and chosen is not None:
        # Rows without a day belong to no chosen day, so they come along with any.
        pending = set(chosen) | (pending & {UNKNOWN}) if again else pending & {*chosen, UNKNOWN}
    elif again:
        pending |= set(head.partitions) if (head := plan.head(table.path)) else set()
    return sorted(pending)


def refused_tonight(
    platform: Platform, plan: Plan, table: GatedTable, night: str | None, partitions: Sequence[str]
) -> list[str]:
    """Partitions that were refused earlier in this night and would be refused again: nothing changed."""
    if night is None or not partitions or not platform.ledger.was_refused(table.path, night):
        return []
    refusals = platform.ledger.read(
        f"tabel = {literal(table.path)} AND gebeurtenis = 'geweigerd' AND nacht = {literal(night)}"
    )
    before: dict[str, Any] = {}
    for prints in refusals["vingerafdrukken"].dropna():
        before |= json.loads(prints)
    return [p for p in partitions if before.get(p) == json.loads(json.dumps(plan.provenance(table, p)))]


def _land(platform: Platform, plan: Plan, table: GatedTable, run_id: str, night: str | None) -> Report:
    """Gate each delivery of a source on its own: a refused one does not keep the others out."""
    step = RunStep(platform, plan, table, ())
    outcomes: list[Outcome] = []
    source: Verdict | None = None
    notes: dict[str, Any] = {}
    # One process lands at a time: a delivery's control totals count what has landed before it.
    with closing(step), platform.lake.lock(f"{table.path}/landing"):
        yielded: Iterator[Delivery | SourceState] = table.make(step)
        for item in yielded:
            if isinstance(item, SourceState):
                source, nights = judge_source(platform.gate, table.contract, item, Passage(run_id, night, {}))
                notes = {"nachten_zonder_bron": nights, "bron": source.message} if nights else {}
                if item.needs_a_person:
                    outcomes.append(Outcome(run_id, (source,), None, held_back=("de bron",)))
            elif (outcome := _land_one(platform, table, step, item, run_id, night)) is not None:
                outcomes.append(outcome)
    return Report(tuple(outcomes), message="" if outcomes else "niets nieuw", notes=notes, source=source)


def _land_one(
    platform: Platform, table: GatedTable, step: RunStep, delivery: Delivery, run_id: str, night: str | None
) -> Outcome | None:
    try:
        offered = delivery.offered(step.con)
    except SchemaMismatch as error:
        outcome = platform.gate.refuse_unread(
            table.contract, Passage(run_id, night, {}), delivery.name, str(error)
        )
        delivery.refused(outcome.report)
        return outcome
    if offered is None:
        delivery.accepted()
        return None
    partitions = list(offered.partitions or [WHOLE])
    made_of = {"code": table.code, "regels": table.contract.rules_hash, "invoer": {}}
    passage = Passage(run_id, night, {p: made_of for p in partitions}, append=True)
    outcome = platform.gate.admit(step.con, table.contract, offered, passage, partitions)
    if outcome.passed:
        delivery.accepted()
    else:
        delivery.refused(outcome.report)
    return outcome


__all__ = [
    "NoTable",
    "Platform",
    "Report",
    "RulesFailed",
    "RunStep",
    "audit",
    "refused_tonight",
    "run_table",
    "verified_rows",
]
