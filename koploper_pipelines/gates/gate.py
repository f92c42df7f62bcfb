"""The gate of one table: stage, audit, promote, in that order, so that nothing bad is ever in the lake.

Here belong what follows from the verdicts, the commits and mending after a kill. The rules' verdicts come
from `audit.py`; which partitions to process is decided in `plan.py`; Dagster is not known here.

The writes of one pass, in order: ledger `begonnen` with the verdicts, quarantine, main table (its stamp
names the quarantine's version), ledger `gereed`. After a kill between any two, `mend` finishes or undoes.
"""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from koploper_pipelines.contracts import Contract, Rule
from koploper_pipelines.contracts.model import CONSERVATION_RULE, MOST_ROWS_RULE, MOST_ROWS_SHARE, SCHEMA_RULE
from koploper_pipelines.gates.audit import (
    Measured,
    Staged,
    Verdict,
    in_partitions,
    judge,
    measure_rules,
    partition_sql,
)
from koploper_pipelines.gates.ledger import Ledger
from koploper_pipelines.gates.measures import literal, needs_controls, quoted, violated
from koploper_pipelines.gates.staging import (
    Offered,
    SchemaMismatch,
    arrow_schema,
    cast_sql,
    check_columns,
    check_finite,
    does_not_fit,
    is_as_contracted,
    read_files,
    relation,
    write_files,
    write_table,
)
from koploper_pipelines.resources.clock import Clock
from koploper_pipelines.resources.lake import UNKNOWN, DataFile, Head, Lake, NoTable

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

QUARANTINE = "__quarantaine"
NONE_REJECTED = "(SELECT '' AS partitie, '' AS reden, '' AS toelichting, '' AS rij WHERE false)"
"""What a pass reads where a step rejected no rows itself."""


@dataclass(frozen=True)
class Passage:
    """Who goes through the gate and with what: the provenance of one pass."""

    run_id: str
    night: str | None
    provenance: Mapping[str, Mapping[str, Any]]
    """Per partition: versions of the inputs, code, rules and settings."""
    append: bool = False


@dataclass(frozen=True)
class Outcome:
    """What a pass came to."""

    gang: str
    verdicts: tuple[Verdict, ...]
    version: int | None
    """Version committed; None when the gate stayed closed."""
    promoted: tuple[str, ...] = ()
    held_back: tuple[str, ...] = ()
    rows: int = 0
    quarantined: int = 0
    message: str = ""

    @property
    def passed(self) -> bool:
        """Whether everything offered was promoted."""
        return self.version is not None and not self.held_back

    @property
    def report(self) -> str:
        """Why the gate stayed closed, a line a rule, for a person."""
        return "\n".join(
            f"{v.rule.name}: {v.message or v.rule.description}"
            + (f" ({v.unexpected} van {v.judged} rijen)" if v.unexpected else "")
            for v in self.verdicts
            if not v.passed
        )


class Gate:
    """Stages, audits and promotes rows of any table of one lake."""

    def __init__(self, lake: Lake, ledger: Ledger, clock: Clock, small_table_rows: int) -> None:
        """Guard one lake; up to `small_table_rows` rows Great Expectations sees the rows themselves."""
        self.lake = lake
        self.ledger = ledger
        self.clock = clock
        self.small_table_rows = small_table_rows

    def admit(
        self,
        con: duckdb.DuckDBPyConnection,
        contract: Contract,
        offered: Offered,
        passage: Passage,
        partitions: Sequence[str],
    ) -> Outcome:
        """Stage the offered rows, audit them and promote what may pass.

        Raises UntrustedTable when the table, or its quarantine, holds a foreign commit.
        """
        with self.lake.lock(contract.path):
            self._mend(contract.path)
            run = _Pass(self, con, contract, offered, passage, list(partitions))
            try:
                return run.go()
            finally:
                if run.folder.exists():
                    shutil.rmtree(run.folder)

    def refuse_unread(self, contract: Contract, passage: Passage, source: str, why: str) -> Outcome:
        """Remember that a delivery could not be read as what it should be."""
        gang = uuid.uuid4().hex
        verdict = Verdict(_rule(contract, SCHEMA_RULE), False, message=why)
        self.log(
            contract, gang, passage, [{"gebeurtenis": "geweigerd", "bron": source}, *_entries([verdict])]
        )
        return Outcome(gang, (verdict,), None, held_back=(source,))

    def remember(self, contract: Contract, gang: str, passage: Passage, verdicts: Sequence[Verdict]) -> None:
        """Add verdicts that belong to no pass of rows to the ledger."""
        self.log(contract, gang, passage, _entries(verdicts))

    # -- Mending -------------------------------------------------------------------------------------------

    def mend(self, table: str) -> None:
        """Finish or undo passes over a table that a kill cut off: called before every pass and at each start.

        A pass whose main commit is there only lacks its last entry in the ledger. One whose main commit is
        not there may have left a quarantine that no version of the table names; it goes back to the named.
        """
        # Under the lock: without it the pass that another process is making right now looks cut off.
        with self.lake.lock(table):
            self._mend(table)

    def _mend(self, table: str) -> None:
        for left in self.lake.staging.glob(f"{_file_name(table)}.*"):
            # A file is of before rows were staged in folders.
            left.unlink() if left.is_file() else shutil.rmtree(left)
        for begun in self.ledger.open_passes(table):
            head, quarantine = self.head(table), self.head(table + QUARANTINE)
            if head is not None and head.stamp["gang"] == begun["gang"]:
                event: dict[str, Any] = {"gebeurtenis": "gereed", "versie": head.version}
                event |= {k: head.stamp[k] for k in ("rijen_in", "rijen", "rijen_in_quarantaine")}
            else:
                if quarantine is not None and quarantine.stamp["gang"] == begun["gang"]:
                    self._undo_quarantine(table, head, quarantine)
                else:
                    self.lake.forget_files(table + QUARANTINE, begun["gang"])
                self.lake.forget_files(table, begun["gang"])
                event = {"gebeurtenis": "afgebroken"}
            event |= {**begun, "toelichting": "afgesloten bij een volgende start"}
            self.ledger.append(self.clock.now(), [event])

    def _undo_quarantine(self, table: str, head: Head | None, quarantine: Head) -> None:
        named = head.stamp["quarantaine"] if head else None
        stamp = {"gang": "herstel", "run": "herstel", "ouder": quarantine.stamped_version, "partities": {}}
        name = table + QUARANTINE
        if named is not None:
            self.lake.restore(name, int(named), stamp)
            return
        schema = self.lake.schema(name, quarantine.version)
        self.lake.commit(name, [], schema, stamp, partition="partitie", replace=list(quarantine.partitions))

    def repair(self, table: str) -> int:
        """Bring a table with foreign commits back to the last version before them; that version.

        Its partitions count as pending afterwards, so that what gates wrote since is made again.
        """
        with self.lake.lock(table):
            return self.lake.repair(table)

    # -- Reading -------------------------------------------------------------------------------------------

    def refused_rows(self, table: str) -> Path:
        """Parquet file of the rows that the table's gate refused last."""
        return self.lake.root / "_geweigerd" / f"{_file_name(table)}.parquet"

    def quarantine(self, table: str) -> tuple[str, int] | None:
        """Name and version of the quarantine that belongs to the table's newest version; None when empty.

        Raises UntrustedTable when the quarantine, or the table, holds a foreign commit.
        """
        head = self.head(table)
        version = head.stamp.get("quarantaine") if head else None
        if version is None:
            return None
        self.lake.head(table + QUARANTINE)
        return table + QUARANTINE, int(version)

    def head(self, table: str) -> Head | None:
        """The verified head of a table; None before its first commit."""
        try:
            return self.lake.head(table)
        except NoTable:
            return None

    def log(
        self, contract: Contract, gang: str, passage: Passage, entries: Sequence[Mapping[str, Any]]
    ) -> None:
        """Add entries of one pass to the ledger."""
        shared = {
            "gang": gang,
            "run_id": passage.run_id,
            "nacht": passage.night,
            "tabel": contract.path,
            "contract_versie": contract.version,
            "regels_hash": contract.rules_hash,
        }
        self.ledger.append(self.clock.now(), [{**shared, **e} for e in entries])


class _Pass:
    """One pass of one table through its gate."""

    def __init__(
        self,
        gate: Gate,
        con: duckdb.DuckDBPyConnection,
        contract: Contract,
        offered: Offered,
        passage: Passage,
        partitions: list[str],
    ) -> None:
        self.gate = gate
        self.con = con
        self.contract = contract
        self.offered = offered
        self.passage = passage
        self.partitions = partitions
        self.gang = uuid.uuid4().hex
        self.head = gate.head(contract.path)
        self.folder = gate.lake.staging / f"{_file_name(contract.path)}.{self.gang}"
        self.physical = self._physical()
        self.files: list[DataFile] = []
        self.is_staged = False
        self.staged = Staged(con, f"staged_{self.gang}", contract, offered.controls)
        self.rejected = NONE_REJECTED
        self.marked = self.staged.over(f"marked_{self.gang}")
        self.kept = self.staged.over(f"kept_{self.gang}")
        self.verdicts: list[Verdict] = []

    def go(self) -> Outcome:
        """Stage, audit, and promote or refuse."""
        try:
            self._stage()
            self._take_rejected()
        except SchemaMismatch as error:
            self.verdicts.append(Verdict(_rule(self.contract, SCHEMA_RULE), False, message=str(error)))
            return self._refuse()
        number = _number(self.files)
        self.verdicts.append(Verdict(_rule(self.contract, SCHEMA_RULE), True, judged=number))
        if self.contract.conserves_rows:
            self.verdicts.append(self._conserved())
            if not self.verdicts[-1].passed:
                return self._refuse()
        is_small = number <= self.gate.small_table_rows
        rows = measure_rules(self.staged, self._rules("rij"), None, rows_as_they_are=is_small)
        self._set_aside(rows.broken())
        groups = measure_rules(self.kept, self._rules("partitie"), self.partitions, rows_as_they_are=False)
        whole = self._measure_table(self.partitions, is_small)
        (of_rows, of_groups, *of_table), most = judge([rows, groups, *whole]), self._most_rows_stay()
        held_back = sorted({p for v in (most, *of_groups) if v.rule.is_blocking for p in v.partitions})
        promoted = [p for p in self.partitions if p not in held_back]
        if held_back and promoted:
            of_table = judge(self._measure_table(promoted, is_small))
        self.verdicts += [*of_rows, most, *of_groups, *(v for group in of_table for v in group)]
        nothing_left = not promoted or (self.passage.append and bool(held_back))
        if nothing_left or any(v.closes_gate for v in self.verdicts):
            return self._refuse(held_back)
        return self._promote(promoted, held_back)

    # -- Staging -------------------------------------------------------------------------------------------

    def _physical(self) -> str | None:
        """The column by which the table's files are kept apart: none where rows are only ever added.

        A delivery holds rows of many days, and a file for each of them in each delivery would soon be many.
        """
        if self.head is not None:
            return self.gate.lake.partition_of(self.contract.path)
        return None if self.passage.append else self.contract.partition

    def _stage(self) -> None:
        """Cast the offered rows of the partitions in hand to the contract and put them aside as files."""
        rows = relation(self.con, self.offered.rows)
        check_columns(self.contract, rows)
        self._check_stored_types()
        try:
            self.files = self._write(rows)
        except _conversion_error() as error:
            raise SchemaMismatch(f"{self.contract.path}: {does_not_fit(self.contract, rows)}") from error
        staged = read_files(self.con, self.contract, self.files, self.physical)
        if _number(self.files) <= self.gate.small_table_rows:
            # Each rule's question to a file costs more than all of them to a table in memory.
            staged.create(self.staged.relation)
        else:
            staged.create_view(self.staged.relation)
        check_finite(self.contract, self.con.table(self.staged.relation))
        self.is_staged = True

    def _write(self, rows: duckdb.DuckDBPyRelation) -> list[DataFile]:
        """The offered rows of the partitions in hand as files, cast to the contract."""
        folder, wanted = self.folder / "aangeboden", self._of(self.partitions)
        offered = self.offered.rows
        if self.physical is None and is_as_contracted(self.contract, offered):
            ((others,),) = rows.aggregate(f"count(*) FILTER (NOT {wanted})").fetchall()
            if not others:
                return write_table(self.contract, offered, folder)
        types = dict(zip(rows.columns, map(str, rows.types), strict=True))
        casts = ", ".join(cast_sql(c, types[c.name]) for c in self.contract.columns)
        view = f"offered_{self.gang}"
        rows.create_view(view)
        cast = f"SELECT * FROM (SELECT {casts} FROM {view}) WHERE {wanted}"
        return write_files(self.con, cast, folder, self.physical)

    def _check_stored_types(self) -> None:
        """Raise SchemaMismatch when rows that stay are of another type than the contract has today."""
        if self.head is None or (self.physical is None and not self.passage.append):
            return
        stored = self.gate.lake.schema(self.contract.path, self.head.version)
        if other := [
            f"column {f.name!r} is {stored.field(f.name).type} in the lake, expected {f.type}"
            for f in arrow_schema(self.contract)
            if f.name in stored.names and stored.field(f.name).type != f.type
        ]:
            raise SchemaMismatch(f"{self.contract.path}: " + "; ".join(other))

    def _of(self, partitions: Sequence[str]) -> str:
        """SQL for whether a row is in one of the partitions."""
        return in_partitions(self.contract, partitions)

    def _take_rejected(self) -> None:
        """Make the step's own rejected rows into rows of the quarantine."""
        if self.offered.rejected is None:
            return
        columns = "partitie VARCHAR, reden VARCHAR, toelichting VARCHAR, rij VARCHAR"
        self.rejected = f"rejected_{self.gang}"
        self.con.sql(f"CREATE TEMP TABLE {self.rejected} ({columns})")
        name = partition_sql(self.contract.partition)
        others = [c for c in self.offered.rejected.columns if c not in ("reden", "toelichting")]
        in_hand = self.offered.rejected.filter(f"{name} IN ({_list(self.partitions)})")
        in_hand.project(f"{name}, reden, toelichting, {_as_json(others)}").insert_into(self.rejected)
        known = set(self.contract.reasons)
        used = {r for (r,) in self.con.sql(f"SELECT DISTINCT reden FROM {self.rejected}").fetchall()}
        if unknown := used - known:
            raise SchemaMismatch(
                f"{self.contract.path}: rows rejected for {sorted(map(str, unknown))}, no reasons of the"
                " contract"
            )

    def _conserved(self) -> Verdict:
        rule = _rule(self.contract, CONSERVATION_RULE)
        rows_in = self.offered.rows_in
        if rows_in is None:
            return Verdict(
                rule, False, evaluable=False, message="could not be evaluated: the step gave no rows_in"
            )
        kept, set_aside = _number(self.files), self._count(self.rejected)
        lost = rows_in - kept - set_aside
        message = f"{rows_in} in = {kept} behouden + {set_aside} in quarantaine" + (
            f" + {lost} zoek" if lost else ""
        )
        return Verdict(rule, lost == 0, judged=rows_in, unexpected=abs(lost), message=message)

    # -- What follows from the verdicts --------------------------------------------------------------------

    def _set_aside(self, broken: Sequence[Rule]) -> None:
        """Mark the rows that break a critical row rule with its name, and keep the others."""
        cases = " ".join(
            f"WHEN {' OR '.join(violated(e) for e in rule.expectations)} THEN {literal(rule.name)}"
            for rule in broken
            if rule.is_blocking
        )
        reason = f"CASE {cases} END" if cases else "NULL::VARCHAR"
        self.con.sql(
            f"CREATE VIEW {self.marked.relation} AS SELECT *, {reason} AS __reden FROM {self.staged.relation}"
        )
        if not cases:
            self.kept = self.staged
            return
        self.con.sql(
            f"CREATE VIEW {self.kept.relation} AS SELECT * EXCLUDE (__reden) FROM {self.marked.relation}"
            " WHERE __reden IS NULL"
        )

    def _most_rows_stay(self) -> Verdict:
        """Hold back a partition of which many rows break a rule: then the step is wrong, not the rows."""
        rule = _rule(self.contract, MOST_ROWS_RULE)
        if self.kept is self.staged:
            return Verdict(rule, True, judged=_number(self.files))
        counts = self.con.sql(
            f"SELECT {self.marked.partition_sql}, count(*), count(__reden)"
            f" FROM {self.marked.relation} GROUP BY ALL"
        ).fetchall()
        over = sorted(p for p, number, broken in counts if broken > MOST_ROWS_SHARE * number)
        total, broken = sum(n for _, n, _ in counts), sum(b for _, _, b in counts)
        return Verdict(rule, not over, judged=total, unexpected=broken, partitions=tuple(over))

    def _measure_table(self, promoted: Sequence[str], is_small: bool) -> list[Measured]:
        """The rules on the table, measured.

        Control totals are those of the partitions in hand. In a table with more partitions they are held
        against what the step made for these, before anything is set aside or held back; every other rule
        is judged on the table as it would become.
        """
        rules, whole = self._rules("tabel"), self._as_it_would_become(promoted)
        if self.contract.partition is None or self.passage.append:
            as_they_are = is_small and not self.passage.append
            return [measure_rules(whole, rules, None, rows_as_they_are=as_they_are)]
        with_controls = [r for r in rules if needs_controls(r)]
        others = [r for r in rules if not needs_controls(r)]
        return [
            measure_rules(self.staged, with_controls, None, rows_as_they_are=is_small),
            measure_rules(whole, others, None, rows_as_they_are=False),
        ]

    def _as_it_would_become(self, promoted: Sequence[str]) -> Staged:
        """The whole table after the commit that is at hand, for rules on the table."""
        if self.contract.partition is None and not self.passage.append:
            return self.kept
        in_hand = self._of(promoted)
        parts = [f"SELECT * FROM {self.kept.relation} WHERE {in_hand}"]
        if self.head is not None:
            current = f"current_{self.gang}"
            stored = self.gate.lake.relation(self.con, self.contract.path, self.head.version)
            stored.create_view(current, replace=True)
            # A column that the contract gained is empty in the partitions that are still to be made again.
            columns = ", ".join(quoted(c.name) for c in self.contract.columns if c.name in stored.columns)
            others = "" if self.passage.append else f" WHERE NOT {in_hand}"
            parts.append(f"SELECT {columns} FROM {current}{others}")
        whole = self.staged.over(f"whole_{self.gang}")
        self.con.sql(f"CREATE OR REPLACE VIEW {whole.relation} AS {' UNION ALL BY NAME '.join(parts)}")
        return whole

    def _refuse(self, held_back: Sequence[str] = ()) -> Outcome:
        """Leave the table as it is; remember why, and keep the refused rows for whoever looks into it."""
        if self.is_staged:
            file = self.gate.refused_rows(self.contract.path)
            file.parent.mkdir(parents=True, exist_ok=True)
            aside = self.folder / file.name
            self.con.table(self.staged.relation).write_parquet(str(aside))
            aside.replace(file)
        refused = list(held_back) or list(self.partitions)
        self.log([self._refusal(refused) | {"bron": self.offered.file}, *_entries(self.verdicts)])
        return Outcome(self.gang, tuple(self.verdicts), None, held_back=tuple(refused))

    def _refusal(self, partitions: Sequence[str]) -> dict[str, Any]:
        prints = {p: self.passage.provenance.get(p, {}) for p in partitions}
        return {
            "gebeurtenis": "geweigerd",
            "partities": json.dumps(list(partitions)),
            "vingerafdrukken": json.dumps(prints, sort_keys=True),
        }

    def _promote(self, promoted: list[str], held_back: list[str]) -> Outcome:
        """Commit the quarantine, then the rows with a stamp naming it, then close the pass in the ledger."""
        files = self._files_of(promoted)
        number = _number(files)
        # With the verdicts, and before any row: a kill must not leave rows of which nobody knows the quality.
        self.log([{"gebeurtenis": "begonnen", "bron": self.offered.file}, *_entries(self.verdicts)])
        set_aside, quarantined = self._write_quarantine(promoted)
        counts = {"rijen_in": self.offered.rows_in, "rijen": number, "rijen_in_quarantaine": quarantined}
        stamp = {
            "gang": self.gang,
            "run": self.passage.run_id,
            "tijd": self.gate.clock.now().isoformat(),
            "ouder": self.head.stamped_version if self.head else -1,
            "contract": self.contract.version,
            "regels": self.contract.rules_hash,
            "partities": {p: self.passage.provenance[p] for p in promoted},
            "uitkomst": "gedeeltelijk" if held_back else "geslaagd",
            **counts,
            "quarantaine": set_aside,
            "bestand": self.offered.file,
            "feiten": dict(self.offered.notes),
        }
        version = self.gate.lake.commit(
            self.contract.path,
            files,
            arrow_schema(self.contract),
            stamp,
            partition=self.physical,
            replace=None if self.passage.append else promoted,
        )
        done = [{"gebeurtenis": "gereed", "bron": self.offered.file, "versie": version, **counts}]
        done += [self._refusal(held_back)] if held_back else []
        self.log(done)
        return Outcome(
            self.gang, tuple(self.verdicts), version, tuple(promoted), tuple(held_back), number, quarantined
        )

    def _files_of(self, promoted: Sequence[str]) -> list[DataFile]:
        """The audited files of the promoted partitions; written anew where rows of them were set aside."""
        if self.kept is not self.staged:
            kept = f"SELECT * FROM {self.kept.relation} WHERE {self._of(promoted)}"
            return write_files(self.con, kept, self.folder / "behouden", self.physical)
        if self.physical is None:
            return self.files
        return [f for f in self.files if (UNKNOWN if f.partition is None else f.partition) in promoted]

    def _write_quarantine(self, promoted: Sequence[str]) -> tuple[int | None, int]:
        """Replace the quarantine of the promoted partitions; its version (None: none) and new rows."""
        name = self.marked.partition_sql
        rows = (
            f"SELECT partitie, reden, toelichting, rij FROM {self.rejected}"
            f" WHERE partitie IN ({_list(promoted)})"
            f" UNION ALL SELECT {name}, __reden, 'breekt de regel van het contract',"
            f" {_as_json([c.name for c in self.contract.columns])} FROM {self.marked.relation}"
            f" WHERE __reden IS NOT NULL AND {name} IN ({_list(promoted)})"
        )
        table = self.contract.path + QUARANTINE
        head = self.gate.head(table)
        files: list[DataFile] = []
        if self.offered.rejected is not None or self.kept is not self.staged:
            files = write_files(self.con, rows, self.folder / "quarantaine", "partitie")
        if not files and (head is None or self.passage.append):
            return head.version if head else None, 0
        stamp = {"gang": self.gang, "run": self.passage.run_id, "ouder": head.stamped_version if head else -1}
        replace = None if self.passage.append else promoted
        version = self.gate.lake.commit(
            table,
            files,
            _quarantine_schema(),
            stamp | {"partities": {p: {} for p in promoted}},
            partition="partitie",
            replace=replace,
        )
        return version, _number(files)

    # -- Small things --------------------------------------------------------------------------------------

    def log(self, entries: Sequence[Mapping[str, Any]]) -> None:
        """Add entries of this pass to the ledger."""
        self.gate.log(self.contract, self.gang, self.passage, entries)

    def _rules(self, scope: str) -> list[Rule]:
        """Rules of one scope that Great Expectations judges."""
        return [r for r in self.contract.rules if r.scope == scope and r.expectations]

    def _count(self, relation: str) -> int:
        return int(self.con.sql(f"SELECT count(*) FROM {relation}").fetchall()[0][0])


def _list(values: Iterable[str]) -> str:
    """Values as the inside of a SQL IN; an empty list is in nothing."""
    return ", ".join(map(literal, values)) or "NULL"


def _as_json(columns: Iterable[str]) -> str:
    """SQL for a row as JSON text."""
    fields = ", ".join(f"{quoted(c)} := {quoted(c)}" for c in columns)
    return f"to_json(struct_pack({fields}))::VARCHAR"


def _conversion_error() -> type[Exception]:
    import duckdb

    return duckdb.ConversionException


def _number(files: Iterable[DataFile]) -> int:
    """Rows in all of the files."""
    return sum(f.rows for f in files)


def _quarantine_schema() -> pa.Schema:
    import pyarrow as pa

    return pa.schema([(name, pa.string()) for name in ("partitie", "reden", "toelichting", "rij")])


def _file_name(table: str) -> str:
    return table.replace("/", "__")


def _rule(contract: Contract, name: str) -> Rule:
    return next(r for r in contract.rules if r.name == name)


def _entries(verdicts: Iterable[Verdict]) -> list[dict[str, Any]]:
    return [
        {
            "gebeurtenis": "regel",
            "regel": v.rule.name,
            "omschrijving": v.rule.description,
            "ernst": v.rule.severity,
            "dimensie": v.rule.dimension,
            "reikwijdte": v.rule.scope,
            "is_geslaagd": v.passed,
            "is_te_beoordelen": v.evaluable,
            "beoordeeld": v.judged,
            "afwijkend": v.unexpected,
            "waarde": v.observed,
            "partities": json.dumps(list(v.partitions)) if v.partitions else None,
            "toelichting": v.message or None,
            "voorbeelden": json.dumps(v.examples, ensure_ascii=False) if v.examples else None,
        }
        for v in verdicts
    ]
