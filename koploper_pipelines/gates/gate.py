"""The gate of one table: stage, audit, promote, in that order, so that nothing bad is ever in the lake.

Here belong staging, what follows from the verdicts, the commits and mending after a kill. The rules'
verdicts come from `audit.py`; which partitions to process is decided in `plan.py`; Dagster is not known
here.

The writes of one pass, in order: ledger `begonnen`, quarantine, main table (its stamp names the
quarantine's version), ledger `gereed`. After a kill between any two, `mend` finishes or undoes.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from koploper_pipelines.contracts import Column, Contract, Rule
from koploper_pipelines.contracts.model import CONSERVATION_RULE, SCHEMA_RULE
from koploper_pipelines.gates.audit import Staged, Verdict, judge_rules, partition_sql
from koploper_pipelines.gates.ledger import Ledger
from koploper_pipelines.gates.measures import literal, quoted, violated
from koploper_pipelines.resources.clock import Clock
from koploper_pipelines.resources.lake import Head, Lake, NoTable

if TYPE_CHECKING:
    import duckdb
    import pandas as pd
    import pyarrow as pa

    Rows: TypeAlias = duckdb.DuckDBPyRelation | pd.DataFrame | pa.Table

QUARANTINE = "__quarantaine"
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
    "integer": {"BIGINT", "INTEGER", "SMALLINT", "TINYINT", "UBIGINT", "UINTEGER", "USMALLINT", "UTINYINT", "HUGEINT"},
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
    """How many rows the step received for these partitions, counted apart from the split in kept and rejected."""
    controls: Mapping[str, Any] = field(default_factory=dict)
    """Control totals of the inputs, for the reconciliation rules."""
    partitions: Sequence[str] | None = None
    """For a landing: the partitions that the rows fall in."""
    file: str | None = None
    """For a landing: the content hash of the file."""
    notes: Mapping[str, Any] = field(default_factory=dict)
    """Further facts for the stamp and the UI."""


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
        self.lake = lake
        self.ledger = ledger
        self.clock = clock
        self.small_table_rows = small_table_rows

    # -- One pass ------------------------------------------------------------------------------------------

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
            self.mend(contract.path)
            gang = uuid.uuid4().hex
            head = self._head(contract.path)
            self._log(contract, gang, passage, [{"gebeurtenis": "begonnen", "bron": offered.file}])
            staged_file = self.lake.staging / f"{gang}.parquet"
            try:
                return self._admit(con, contract, offered, passage, list(partitions), gang, head, staged_file)
            finally:
                staged_file.unlink(missing_ok=True)

    def _admit(
        self,
        con: duckdb.DuckDBPyConnection,
        contract: Contract,
        offered: Offered,
        passage: Passage,
        partitions: list[str],
        gang: str,
        head: Head | None,
        staged_file: Path,
    ) -> Outcome:
        verdicts: list[Verdict] = []
        try:
            staged = self._stage(con, contract, offered, partitions, staged_file)
            verdicts.append(Verdict(_rule(contract, SCHEMA_RULE), True, judged=_count(con, staged.relation)))
        except SchemaMismatch as error:
            verdicts.append(Verdict(_rule(contract, SCHEMA_RULE), False, message=str(error)))
            return self._refuse(contract, gang, passage, offered, verdicts)
        rejected = self._rejected(con, contract, offered, partitions)
        if contract.conserves_rows:
            verdicts.append(self._conserved(con, contract, offered, staged, rejected))
            if not verdicts[-1].passed:
                return self._refuse(contract, gang, passage, offered, verdicts, con, staged)
        small = verdicts[0].judged <= self.small_table_rows

        row_verdicts = judge_rules(staged, _rules(contract, "rij"), partitions, rows_as_they_are=small)
        verdicts += row_verdicts
        kept = self._set_aside(con, staged, row_verdicts)
        on_partitions = judge_rules(kept, _rules(contract, "partitie"), partitions, rows_as_they_are=False)
        verdicts += on_partitions
        held_back = sorted({p for v in on_partitions if v.rule.is_blocking for p in v.partitions})
        promoted = [p for p in partitions if p not in held_back]
        would_be = self._as_it_would_become(con, contract, kept, promoted, head, passage)
        whole = small and contract.partition is None
        verdicts += judge_rules(would_be, _rules(contract, "tabel"), partitions, rows_as_they_are=whole)
        nothing_left = not promoted or (passage.append and bool(held_back))
        if any(v.closes_gate for v in verdicts) or nothing_left:
            return self._refuse(contract, gang, passage, offered, verdicts, con, staged, held_back)
        return self._promote(con, contract, offered, passage, gang, head, verdicts, kept, rejected, promoted, held_back)

    # -- Staging -------------------------------------------------------------------------------------------

    def _stage(
        self,
        con: duckdb.DuckDBPyConnection,
        contract: Contract,
        offered: Offered,
        partitions: Sequence[str],
        file: Path,
    ) -> Staged:
        """Cast the offered rows of the partitions in hand to the contract and put them aside as Parquet."""
        rows = relation(con, offered.rows)
        check_columns(contract, rows)
        casts = ", ".join(_cast(c, str(rows.types[rows.columns.index(c.name)])) for c in contract.columns)
        in_hand = f"{partition_sql(contract.partition)} IN ({', '.join(map(literal, partitions))})"
        rows.query("offered", f"SELECT {casts} FROM offered WHERE {in_hand}").write_parquet(str(file))
        view = f"staged_{file.stem}"
        con.read_parquet(str(file)).create_view(view)
        return Staged(con, view, contract, offered.controls)

    def _rejected(
        self, con: duckdb.DuckDBPyConnection, contract: Contract, offered: Offered, partitions: Sequence[str]
    ) -> str:
        """Name of a view of the step's own rejected rows, as rows of the quarantine."""
        name = f"rejected_{uuid.uuid4().hex}"
        if offered.rejected is None:
            con.sql(f"CREATE TEMP TABLE {name} (partitie VARCHAR, reden VARCHAR, toelichting VARCHAR, rij VARCHAR)")
            return name
        others = ", ".join(quoted(c) for c in offered.rejected.columns if c not in ("reden", "toelichting"))
        offered.rejected.query(
            "afgewezen",
            f"SELECT {partition_sql(contract.partition)} AS partitie, reden, toelichting,"
            f" to_json(struct_pack({_fields(others)}))::VARCHAR AS rij FROM afgewezen"
            f" WHERE {partition_sql(contract.partition)} IN ({', '.join(map(literal, partitions))})",
        ).create(name)
        return name

    def refuse_unread(self, contract: Contract, passage: Passage, source: str, why: str) -> Outcome:
        """Remember that a delivery could not be read as what it should be."""
        gang = uuid.uuid4().hex
        verdict = Verdict(_rule(contract, SCHEMA_RULE), False, message=why)
        entry = {"gebeurtenis": "geweigerd", "bron": source}
        self._log(contract, gang, passage, [entry, *_entries([verdict])])
        return Outcome(gang, (verdict,), None, held_back=(source,))

    def _conserved(
        self,
        con: duckdb.DuckDBPyConnection,
        contract: Contract,
        offered: Offered,
        staged: Staged,
        rejected: str,
    ) -> Verdict:
        rule = _rule(contract, CONSERVATION_RULE)
        if offered.rows_in is None:
            return Verdict(rule, False, evaluable=False, message="could not be evaluated: the step gave no rows_in")
        kept, set_aside = _count(con, staged.relation), _count(con, rejected)
        lost = offered.rows_in - kept - set_aside
        message = f"{offered.rows_in} in = {kept} behouden + {set_aside} in quarantaine" + (f" + {lost} zoek" if lost else "")
        return Verdict(rule, lost == 0, judged=offered.rows_in, unexpected=abs(lost), message=message)

    # -- What follows from the verdicts --------------------------------------------------------------------

    def _set_aside(self, con: duckdb.DuckDBPyConnection, staged: Staged, verdicts: Iterable[Verdict]) -> Staged:
        """The staged rows without those that break a critical row rule; a column tells which rule, else NULL."""
        broken = [v.rule for v in verdicts if v.rule.is_blocking and v.evaluable and not v.passed]
        cases = " ".join(
            f"WHEN {' OR '.join(violated(e) for e in rule.expectations)} THEN {literal(rule.name)}" for rule in broken
        )
        marked = f"{staged.relation}_beoordeeld"
        con.sql(
            f"CREATE VIEW {marked} AS SELECT *, {f'CASE {cases} END' if cases else 'NULL::VARCHAR'} AS __reden"
            f" FROM {staged.relation}"
        )
        kept = f"{staged.relation}_behouden"
        con.sql(f"CREATE VIEW {kept} AS SELECT * EXCLUDE (__reden) FROM {marked} WHERE __reden IS NULL")
        return staged.over(kept)

    def _as_it_would_become(
        self,
        con: duckdb.DuckDBPyConnection,
        contract: Contract,
        kept: Staged,
        promoted: Sequence[str],
        head: Head | None,
        passage: Passage,
    ) -> Staged:
        """The whole table after the commit that is at hand, for rules on the table."""
        in_hand = f"{kept.partition_sql} IN ({', '.join(map(literal, promoted)) or 'NULL'})"
        parts = [f"SELECT * FROM {kept.relation} WHERE {in_hand}"]
        if head is not None and (contract.partition is not None or passage.append):
            current = f"{kept.relation}_nu"
            con.register(current, self.lake.dataset(contract.path, head.version))
            columns = ", ".join(quoted(c.name) for c in contract.columns)
            parts.append(f"SELECT {columns} FROM {current}" + ("" if passage.append else f" WHERE NOT {in_hand}"))
        name = f"{kept.relation}_geheel"
        con.sql(f"CREATE VIEW {name} AS {' UNION ALL BY NAME '.join(parts)}")
        return kept.over(name)

    def _refuse(
        self,
        contract: Contract,
        gang: str,
        passage: Passage,
        offered: Offered,
        verdicts: Sequence[Verdict],
        con: duckdb.DuckDBPyConnection | None = None,
        staged: Staged | None = None,
        held_back: Sequence[str] = (),
    ) -> Outcome:
        """Leave the table as it is; remember why, and keep the refused rows for whoever looks into it."""
        if con is not None and staged is not None:
            file = self.refused_rows(contract.path)
            file.parent.mkdir(parents=True, exist_ok=True)
            con.sql(f"SELECT * FROM {staged.relation}").write_parquet(str(file))
        refused = list(held_back) or list(passage.provenance)
        entry = {"gebeurtenis": "geweigerd", "bron": offered.file, "partities": json.dumps(refused)}
        entry["vingerafdrukken"] = json.dumps({p: passage.provenance.get(p, {}) for p in refused}, sort_keys=True)
        self._log(contract, gang, passage, [entry, *_entries(verdicts)])
        return Outcome(gang, tuple(verdicts), None, held_back=tuple(refused))

    def _promote(
        self,
        con: duckdb.DuckDBPyConnection,
        contract: Contract,
        offered: Offered,
        passage: Passage,
        gang: str,
        head: Head | None,
        verdicts: Sequence[Verdict],
        kept: Staged,
        rejected: str,
        promoted: list[str],
        held_back: list[str],
    ) -> Outcome:
        in_hand = ", ".join(map(literal, promoted))
        rows = con.sql(f"SELECT * FROM {kept.relation} WHERE {kept.partition_sql} IN ({in_hand})")
        number = _count(con, f"({rows.sql_query()})")
        set_aside, quarantined = self._write_quarantine(con, contract, gang, passage, kept, rejected, in_hand, promoted)
        stamp = {
            "gang": gang,
            "run": passage.run_id,
            "tijd": self.clock.now().isoformat(),
            "ouder": head.stamped_version if head else -1,
            "contract": contract.version,
            "regels": contract.rules_hash,
            "partities": {p: passage.provenance[p] for p in promoted},
            "uitkomst": "gedeeltelijk" if held_back else "geslaagd",
            "rijen_in": offered.rows_in,
            "rijen": number,
            "rijen_in_quarantaine": quarantined,
            "quarantaine": set_aside,
            "bestand": offered.file,
            "feiten": dict(offered.notes),
        }
        replace = None if passage.append else promoted
        version = self.lake.commit(
            contract.path, to_arrow(rows, contract), stamp, partition=contract.partition, replace=replace
        )
        self._log(contract, gang, passage, self._closing(offered, passage, verdicts, version, number, quarantined, held_back))
        return Outcome(gang, tuple(verdicts), version, tuple(promoted), tuple(held_back), number, quarantined)

    def _closing(
        self,
        offered: Offered,
        passage: Passage,
        verdicts: Sequence[Verdict],
        version: int,
        rows: int,
        quarantined: int,
        held_back: Sequence[str],
    ) -> list[dict[str, Any]]:
        counts = {"rijen_in": offered.rows_in, "rijen": rows, "rijen_in_quarantaine": quarantined, "versie": version}
        done = [{"gebeurtenis": "gereed", "bron": offered.file, **counts}]
        if held_back:
            prints = {p: passage.provenance[p] for p in held_back}
            done.append(
                {
                    "gebeurtenis": "geweigerd",
                    "partities": json.dumps(list(held_back)),
                    "vingerafdrukken": json.dumps(prints, sort_keys=True),
                }
            )
        return [*done, *_entries(verdicts)]

    def _write_quarantine(
        self,
        con: duckdb.DuckDBPyConnection,
        contract: Contract,
        gang: str,
        passage: Passage,
        kept: Staged,
        rejected: str,
        in_hand: str,
        promoted: Sequence[str],
    ) -> tuple[int | None, int]:
        """Replace the quarantine of the promoted partitions; its version (None: never written) and new rows."""
        marked = kept.relation.removesuffix("_behouden") + "_beoordeeld"
        every = ", ".join(quoted(c.name) for c in contract.columns)
        rows = con.sql(
            f"SELECT partitie, reden, toelichting, rij FROM {rejected} WHERE partitie IN ({in_hand})"
            f" UNION ALL SELECT {kept.partition_sql}, __reden, 'breekt de regel van het contract',"
            f" to_json(struct_pack({_fields(every)}))::VARCHAR FROM {marked}"
            f" WHERE __reden IS NOT NULL AND {kept.partition_sql} IN ({in_hand})"
        ).to_arrow_table()
        table = contract.path + QUARANTINE
        head = self._head(table)
        if head is None and rows.num_rows == 0:
            return None, 0
        if passage.append and rows.num_rows == 0:
            return head.version if head else None, 0
        stamp = {"gang": gang, "run": passage.run_id, "ouder": head.stamped_version if head else -1}
        stamp["partities"] = {p: {} for p in promoted}
        replace = None if passage.append else promoted
        return self.lake.commit(table, rows, stamp, partition="partitie", replace=replace), rows.num_rows

    # -- Mending -------------------------------------------------------------------------------------------

    def mend(self, table: str) -> None:
        """Finish or undo passes over a table that a kill cut off: called before every pass and at each start.

        A pass whose main commit is there only lacks its last entry in the ledger. One whose main commit is
        not there may have left a quarantine that no version of the table names: it goes back to the one named.
        """
        open_passes = self.ledger.read(
            f"tabel = '{table}' AND gebeurtenis IN ('begonnen', 'gereed', 'geweigerd', 'afgebroken')"
        )
        ended = set(open_passes.loc[open_passes["gebeurtenis"] != "begonnen", "gang"])
        for entry in open_passes[~open_passes["gang"].isin(ended)].itertuples():
            (self.lake.staging / f"{entry.gang}.parquet").unlink(missing_ok=True)
            head, quarantine = self._head(table), self._head(table + QUARANTINE)
            if head is not None and head.stamp["gang"] == entry.gang:
                event: dict[str, Any] = {"gebeurtenis": "gereed", "versie": head.version}
                event |= {k: head.stamp[k] for k in ("rijen_in", "rijen", "rijen_in_quarantaine")}
            else:
                if quarantine is not None and quarantine.stamp["gang"] == entry.gang:
                    self._undo_quarantine(table, head, quarantine)
                event = {"gebeurtenis": "afgebroken"}
            event |= {"gang": entry.gang, "tabel": table, "run_id": entry.run_id, "nacht": entry.nacht}
            self.ledger.append(self.clock.now(), [event | {"toelichting": "afgesloten bij een volgende start"}])

    def _undo_quarantine(self, table: str, head: Head | None, quarantine: Head) -> None:
        named = head.stamp["quarantaine"] if head else None
        stamp = {"gang": "herstel", "run": "herstel", "ouder": quarantine.stamped_version, "partities": {}}
        name = table + QUARANTINE
        if named is not None:
            self.lake.restore(name, int(named), stamp)
            return
        empty = self.lake.dataset(name, quarantine.version).schema.empty_table()
        self.lake.commit(name, empty, stamp, partition="partitie", replace=list(quarantine.partitions))

    def repair(self, table: str) -> int:
        """Bring a table with foreign commits back to the last version before them; that version.

        Its partitions count as pending afterwards, so that what gates wrote since is made again.
        """
        with self.lake.lock(table):
            version, foreign = self.lake.foreign_commits(table)
            if not foreign:
                raise LookupError(f"{table}: nothing to repair, every commit was made by a gate")
            if version < 0:
                raise LookupError(f"{table}: no version was made by a gate; move its folder away and run again")
            stamp = self.lake.repair_stamp(table, foreign)
            self.lake.restore(table, version, stamp)
            return version

    # -- Reading -------------------------------------------------------------------------------------------

    def refused_rows(self, table: str) -> Path:
        """Parquet file of the rows that the table's gate refused last."""
        return self.lake.root / "_geweigerd" / f"{table.replace('/', '__')}.parquet"

    def quarantine(self, table: str) -> tuple[str, int] | None:
        """Name and version of the quarantine that belongs to the table's newest version; None when empty."""
        head = self._head(table)
        version = head.stamp.get("quarantaine") if head else None
        return None if version is None else (table + QUARANTINE, int(version))

    def _head(self, table: str) -> Head | None:
        try:
            return self.lake.head(table)
        except NoTable:
            return None

    def _log(
        self, contract: Contract, gang: str, passage: Passage, entries: Sequence[Mapping[str, Any]]
    ) -> None:
        shared = {
            "gang": gang,
            "run_id": passage.run_id,
            "nacht": passage.night,
            "tabel": contract.path,
            "contract_versie": contract.version,
            "regels_hash": contract.rules_hash,
        }
        self.ledger.append(self.clock.now(), [{**shared, **e} for e in entries])


# -- Casting -------------------------------------------------------------------------------------------------


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


def _cast(column: Column, found: str) -> str:
    name = quoted(column.name)
    # pandas writes a missing number as NaN; in the lake a missing value is NULL.
    source = f"CASE WHEN isnan({name}) THEN NULL ELSE {name} END" if found in ("DOUBLE", "FLOAT") else name
    return f"({source})::{DUCKDB_TYPES[column.type]} AS {name}"


def to_arrow(rows: duckdb.DuckDBPyRelation, contract: Contract) -> pa.RecordBatchReader:
    """Rows as a stream of Arrow batches in the contract's physical schema."""
    import pyarrow as pa

    schema = arrow_schema(contract)
    reader = rows.to_arrow_reader(100_000)
    return pa.RecordBatchReader.from_batches(schema, (batch.cast(schema) for batch in reader))


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


def _fields(names: str) -> str:
    return ", ".join(f"{n} := {n}" for n in names.split(", "))


def _count(con: duckdb.DuckDBPyConnection, relation: str) -> int:
    return int(con.sql(f"SELECT count(*) FROM {relation}").fetchall()[0][0])


# -- Rules and entries ---------------------------------------------------------------------------------------


def _rules(contract: Contract, scope: str) -> list[Rule]:
    """Rules of one scope that Great Expectations judges."""
    return [r for r in contract.rules if r.scope == scope and r.expectations]


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
