"""A house in a temporary folder, contracts in a few words, and a toy experiment from raw to published.

Everything here is real: the lake is Delta Lake, the rules are judged by Great Expectations, the steps run
through `run_table`. Only the experiment is a toy, so that a test sees each row.
"""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import yaml

from koploper_pipelines.contracts import Contract
from koploper_pipelines.contracts.model import parse_contract
from koploper_pipelines.gates.gate import Outcome, Passage
from koploper_pipelines.gates.staging import Offered, relation
from koploper_pipelines.gates.step import Platform, Report, RulesFailed, run_table
from koploper_pipelines.gates.table import GatedTable, Reads, Step
from koploper_pipelines.relations import count, value
from koploper_pipelines.resources.inbox import DroppedFile, dropped_files, read_csv
from koploper_pipelines.resources.lake import UNKNOWN, WHOLE, Head, UntrustedTable
from koploper_pipelines.settings import Settings

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerContext

SECRET = "een geheim van ruim voldoende lengte voor proeven"
NOW = datetime(2024, 3, 20, 3, 0, tzinfo=UTC)
ARROW: Mapping[str, pa.DataType] = {
    "string": pa.string(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", "UTC"),
}
Row = Mapping[str, Any]


# -- Contracts -----------------------------------------------------------------------------------------------


def column(
    kind: str,
    *,
    key: bool = False,
    required: bool = False,
    privacy: str = "geen",
    values: Sequence[str] | None = None,
    **own: Any,
) -> dict[str, Any]:
    """A column; `own` takes minimum, maximum, pattern, stempel, soort, decimalen, zonderGrenzen."""
    options = {k: own.pop(k) for k in ("minimum", "maximum", "pattern") if k in own}
    is_bounded = options or values or kind == "boolean" or "zonderGrenzen" in own
    if not is_bounded:
        own["zonderGrenzen"] = "speelgoed"
    made: dict[str, Any] = {
        "logicalType": kind,
        "description": "speelgoed",
        "classification": privacy,
        "required": required or key,
        "primaryKey": key,
        "logicalTypeOptions": options,
        "customProperties": [{"property": k, "value": v} for k, v in own.items()],
    }
    if values:
        made["enum"] = [{"value": v} for v in values]
    return made


def rule(
    name: str, scope: str, expectation: str, severity: str = "critical", **kwargs: Any
) -> dict[str, Any]:
    """A rule with one expectation."""
    return {
        "name": name,
        "description": f"Regel {name}.",
        "businessImpact": "speelgoed",
        "type": "custom",
        "engine": "greatExpectations",
        "dimension": "consistency",
        "severity": severity,
        "implementation": {"type": expectation, "kwargs": kwargs},
        "customProperties": [{"property": "reikwijdte", "value": scope}],
    }


def contract(
    path: str,
    columns: Mapping[str, Mapping[str, Any]],
    *,
    rules: Sequence[Mapping[str, Any]] = (),
    partition: str | None = None,
    empty: str = "nooit",
    conserves: bool = False,
    reasons: Mapping[str, str] | None = None,
) -> Contract:
    """A contract, by way of the YAML text that a person would write."""
    own = {"magLeegZijn": empty, "rijbehoud": conserves, "redenen": dict(reasons or {})}
    properties = [
        {"name": name, **said, **({"partitioned": True} if name == partition else {})}
        for name, said in columns.items()
    ]
    document = {
        "apiVersion": "v3.1.0",
        "kind": "DataContract",
        "id": path,
        "name": path,
        "version": "1.0.0",
        "status": "active",
        "team": {"name": "team:proef"},
        "customProperties": [{"property": k, "value": v} for k, v in own.items()],
        "schema": [
            {
                "name": path.split("/")[-1],
                "physicalName": path.replace("/", "_"),
                "description": "speelgoed",
                "properties": properties,
                "quality": [dict(r) for r in rules],
            }
        ],
    }
    return parse_contract(path, yaml.safe_dump(document))


def arrow(contract: Contract, rows: Sequence[Row]) -> pa.Table:
    """Rows as an Arrow table of the contract's columns; days and moments may be text, what lacks is NULL."""
    return table_of(pa.schema([pa.field(c.name, ARROW[c.type]) for c in contract.columns]), rows)


def table_of(schema: pa.Schema, rows: Sequence[Row]) -> pa.Table:
    """Rows as an Arrow table of a schema; days and moments may be text, what lacks is NULL."""
    read = {pa.date32(): date.fromisoformat, ARROW["timestamp"]: datetime.fromisoformat}

    def value(row: Row, name: str) -> Any:
        found, kind = row.get(name), schema.field(name).type
        return read[kind](found) if isinstance(found, str) and kind in read else found

    return pa.Table.from_pylist([{n: value(r, n) for n in schema.names} for r in rows], schema=schema)


def partition_of(contract: Contract, row: Row) -> str:
    """The name of a row's partition."""
    if contract.partition is None:
        return WHOLE
    value = row.get(contract.partition)
    return UNKNOWN if value is None else str(value)


# -- A house -------------------------------------------------------------------------------------------------


@dataclass
class House:
    """One installation in a folder, with toy tables or none."""

    home: Path
    tables: Mapping[str, GatedTable] = field(default_factory=dict)
    now: datetime = NOW
    small_table_rows: int = 20_000

    @cached_property
    def settings(self) -> Settings:
        return Settings(home=self.home, key=SECRET, now=self.now, small_table_rows=self.small_table_rows)

    @cached_property
    def platform(self) -> Platform:
        return Platform(self.settings, self.tables)

    def reopened(self, **changes: Any) -> House:
        """The same folder as a process that starts anew sees it."""
        same = {"tables": self.tables, "now": self.now, "small_table_rows": self.small_table_rows}
        return House(self.home, **{**same, **changes})

    def admit(
        self,
        contract: Contract,
        rows: Sequence[Row] | pa.Table,
        *,
        partitions: Iterable[str] | None = None,
        rejected: Sequence[Row] = (),
        rows_in: int | None = None,
        controls: Mapping[str, Any] | None = None,
        append: bool = False,
        file: str | None = None,
        night: str | None = None,
        made_of: Mapping[str, Any] | None = None,
    ) -> Outcome:
        """Take rows through the gate; the partitions in hand are those of the rows unless said otherwise."""
        if partitions is None:
            assert not isinstance(rows, pa.Table)
            partitions = {partition_of(contract, r) for r in (*rows, *rejected)}
        in_hand = sorted(partitions)
        made_of = {"regels": contract.rules_hash} if made_of is None else made_of
        with connection() as con:
            offered = Offered(
                rows if isinstance(rows, pa.Table) else arrow(contract, rows),
                rejected=_rejected(con, contract, rejected) if rejected else None,
                rows_in=rows_in,
                controls=controls or {},
                file=file,
            )
            passage = Passage("run", night, dict.fromkeys(in_hand, made_of), append=append)
            return self.platform.gate.admit(con, contract, offered, passage, in_hand)

    def head(self, table: str) -> Head:
        return self.platform.lake.head(table)

    def version(self, table: str) -> int | None:
        """The table's newest version, verified; None before the first."""
        head = self.platform.gate.head(table)
        return head.version if head else None

    def rows(self, table: str) -> list[dict[str, Any]]:
        """The rows that a reader sees, in a fixed order; none before the first commit."""
        if self.version(table) is None:
            return []
        rows = self.stored(table, self.head(table).version).to_pylist()
        return sorted(rows, key=lambda r: json.dumps(r, default=str, sort_keys=True))

    def quarantine(self, table: str) -> list[dict[str, Any]]:
        """The set-aside rows that belong to the version that a reader sees."""
        found = self.platform.gate.quarantine(table)
        if found is None:
            return []
        rows = self.stored(*found).to_pylist()
        return sorted(rows, key=lambda r: json.dumps(r, default=str, sort_keys=True))

    def stored(self, table: str, version: int) -> pa.Table:
        """The rows of one version."""
        return self.platform.lake.relation(_reader(), table, version).to_arrow_table()

    def entries(self, table: str, event: str) -> list[dict[str, Any]]:
        """The table's entries of one kind in the ledger, oldest first."""
        found = self.platform.ledger.read(f"tabel = '{table}' AND gebeurtenis = '{event}'")
        return [{str(k): v for k, v in r.items()} for r in found.to_dict("records")]

    def unfinished(self, table: str) -> int:
        """Passes that the ledger says have begun and not that they ended."""
        ended = {e["gang"] for kind in ("gereed", "afgebroken") for e in self.entries(table, kind)}
        return len({e["gang"] for e in self.entries(table, "begonnen")} - ended)

    def staged_files(self) -> list[str]:
        """What stands in the folder of staged rows."""
        return sorted(p.name for p in self.platform.lake.staging.iterdir())

    def delta(self, table: str, version: int | None = None) -> Any:
        """The Delta table, as a stranger opens it."""
        from deltalake import DeltaTable

        return DeltaTable(str(self.platform.lake.folder(table)), version=version)

    # -- Nights ----------------------------------------------------------------------------------------

    def run(self, table: str, night: str | None = None, **options: Any) -> Report:
        """Run one table as a night does."""
        return run_table(self.platform, self.tables[table], run_id=f"run {night}", night=night, **options)

    def night(self, night: str) -> dict[str, Report | Exception]:
        """Run every table once, in order; what a table refuses does not stop the others."""
        reports: dict[str, Report | Exception] = {}
        for path in self.platform.plan().tables:
            try:
                reports[path] = self.run(path, night)
            except (UntrustedTable, RulesFailed) as error:
                reports[path] = error
        return reports

    def pending(self) -> dict[str, list[str]]:
        """Pending partitions per table."""
        found: dict[str, list[str]] = {}
        for item in self.platform.plan().pending():
            found.setdefault(item.table, []).append(item.partition)
        return found

    def breaks(self, **tables: Sequence[str]) -> None:
        """Have the toy's steps make partitions that break a rule, until told otherwise."""
        (self.home / "stuk.json").write_text(json.dumps(tables))


@cache
def _reader() -> duckdb.DuckDBPyConnection:
    """One connection for all reading of tests: making one takes longer than reading a small table."""
    con = duckdb.connect()
    con.sql("SET TimeZone = 'UTC'")
    return con


@contextmanager
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection as a step has it."""
    with duckdb.connect() as con:
        con.sql("SET TimeZone = 'UTC'")
        yield con


def _rejected(
    con: duckdb.DuckDBPyConnection, contract: Contract, rows: Sequence[Row]
) -> duckdb.DuckDBPyRelation:
    names = [contract.partition] if contract.partition else []
    others = [n for r in rows for n in r if n not in ("reden", "toelichting", *names)]
    types = {c.name: ARROW[c.type] for c in contract.columns}
    fields = [pa.field(n, types.get(n, pa.string())) for n in dict.fromkeys([*names, *others])]
    schema = pa.schema([*fields, pa.field("reden", pa.string()), pa.field("toelichting", pa.string())])
    return con.from_arrow(table_of(schema, rows))


# -- Processes of their own ----------------------------------------------------------------------------------


def processes() -> ForkServerContext:
    """Starts processes that have the heavy packages loaded, and nothing running yet.

    Plain forks of the test's own process will not do: Delta Lake's threads do not survive them.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["great_expectations.expectations", "pandas", "duckdb", "pyarrow.dataset"])
    return context


def killed_at(step: int, function: Any, *args: Any) -> None:
    """Call a function, and kill the process just before its n-th step that changes a file (0: never).

    Steps are the commits to the lake, the ledger's among them, and what happens to a landed file.
    """
    from koploper_pipelines.resources.lake import Lake

    count = 0

    def counted(original: Any) -> Any:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            nonlocal count
            count += 1
            if count == step:
                os._exit(9)
            return original(*arguments, **options)

        return wrapped

    for owner, name in ((Lake, "commit"), (Lake, "restore"), (DroppedFile, "accept")):
        setattr(owner, name, counted(getattr(owner, name)))
    function(*args)


def in_process(function: Any, *args: Any) -> int:
    """Run a function in a process of its own; its exit code."""
    process = processes().Process(target=function, args=args)
    process.start()
    process.join(120)
    assert process.exitcode is not None, "the process hangs"
    return process.exitcode


# -- The toy experiment: raw → cleaned → neighbours → months → total, and closed months ----------------------

RAW, CLEAN, NEAR = "proef/raw/waarden", "proef/cleaned/waarden", "proef/cleaned/buren"
MONTH, TOTAL, CLOSED = "proef/indicators/maand", "proef/evaluation/totaal", "proef/published/maanden"
FILE_COLUMNS = ("nr", "dag", "schuif", "meter", "waarde")
BROKEN = 1_000_000.0

RAW_CONTRACT = contract(
    RAW,
    {
        "bestand": column("string", key=True, pattern="^[0-9a-f]{64}$", stempel=True),
        "rij": column("integer", key=True, minimum=1, stempel=True),
        "dag": column("date", minimum="2020-01-01"),
        "nr": column("string"),
        "schuif": column("string"),
        "meter": column("string", privacy="indirect"),
        "waarde": column("string"),
    },
    partition="dag",
    rules=[
        rule(
            "alle_regels_geland",
            "tabel",
            "expect_table_row_count_to_be_between",
            min_value={"$PARAMETER": "rijen_na_landing"},
            max_value={"$PARAMETER": "rijen_na_landing"},
        )
    ],
)
CLEAN_CONTRACT = contract(
    CLEAN,
    {
        "nr": column("integer", key=True, minimum=0),
        "dag": column("date", required=True, minimum="2020-01-01"),
        "meter": column("string", required=True, pattern="^[a-z]$", privacy="indirect"),
        "waarde": column("number", required=True, minimum=0),
    },
    partition="dag",
    conserves=True,
    reasons={"negatief": "kleiner dan nul", "dag_onbekend": "zonder dag"},
    rules=[
        rule(
            "gemiddelde_mogelijk",
            "partitie",
            "expect_column_mean_to_be_between",
            column="waarde",
            max_value=1000,
        )
    ],
)
NEAR_CONTRACT = contract(
    NEAR,
    {
        "dag": column("date", key=True, minimum="2020-01-01"),
        "meter": column("string", key=True, pattern="^[a-z]$", privacy="indirect"),
        "som_buren": column("number", required=True, minimum=0),
        "n": column("integer", required=True, minimum=1),
    },
    partition="dag",
    empty="zonder metingen",
    rules=[
        rule(
            "som_mogelijk", "partitie", "expect_column_sum_to_be_between", column="som_buren", max_value=9e5
        ),
        rule(
            "telt_de_invoer",
            "tabel",
            "expect_column_sum_to_be_between",
            column="n",
            min_value={"$PARAMETER": "metingen"},
            max_value={"$PARAMETER": "metingen"},
        ),
    ],
)
MONTH_CONTRACT = contract(
    MONTH,
    {
        "maand": column("string", key=True, pattern="^[0-9]{4}-[0-9]{2}$"),
        "n": column("integer", required=True, minimum=0),
        "som": column("number", required=True, minimum=0),
        "terzijde": column("integer", required=True, minimum=0),
    },
    partition="maand",
    empty="zonder metingen",
    rules=[rule("som_mogelijk", "partitie", "expect_column_sum_to_be_between", column="som", max_value=9e5)],
)
TOTAL_CONTRACT = contract(
    TOTAL,
    {
        "wat": column("string", key=True, values=["alles"]),
        "n": column("integer", required=True, minimum=0),
        "terzijde": column("integer", required=True, minimum=0),
        "geland": column("integer", required=True, minimum=0),
    },
    rules=[
        rule(
            "telt_de_maanden",
            "tabel",
            "expect_column_sum_to_be_between",
            column="n",
            min_value={"$PARAMETER": "opgeschoond"},
            max_value={"$PARAMETER": "opgeschoond"},
        )
    ],
)
CLOSED_CONTRACT = contract(
    CLOSED,
    {
        "maand": column("string", key=True, pattern="^[0-9]{4}-[0-9]{2}$"),
        "som": column("number", required=True, minimum=0),
    },
    empty="er is nog geen gesloten maand",
)


@dataclass(frozen=True)
class ToyFile:
    """One dropped file of the toy experiment."""

    file: DroppedFile
    platform: Platform

    @property
    def name(self) -> str:
        return self.file.name

    def offered(self, con: duckdb.DuckDBPyConnection) -> Offered | None:
        lake = self.platform.lake
        with self.file.opened() as (path, content):
            if lake.exists(RAW) and content in lake.head(RAW).files:
                return None
            rows = relation(con, read_csv(con, path, self.name, FILE_COLUMNS))
        landed = rows.project(
            f"'{content}' AS bestand, rij, try_cast(dag AS DATE) AS dag, nr, schuif, meter, waarde"
        )
        days = landed.project(f"coalesce(dag::VARCHAR, '{UNKNOWN}')").distinct().fetchall()
        number = count(landed)
        before = lake.rows(RAW, lake.head(RAW).version) if lake.exists(RAW) else 0
        controls = {"rijen_na_landing": before + number}
        return Offered(landed, partitions=sorted(d for (d,) in days), controls=controls, file=content)

    def accepted(self) -> None:
        self.file.accept()

    def refused(self, report: str) -> None:
        self.file.refuse(report)


def land(step: Step) -> Iterator[ToyFile]:
    for file in dropped_files(step.platform.settings, "proef"):
        yield ToyFile(file, step.platform)


def clean(step: Step) -> Offered:
    step.read(RAW).create_view("raw")
    days = ", ".join(f"'{p}'" for p in step.partitions)
    judged = step.con.sql(
        "SELECT nr::BIGINT AS nr, (dag + schuif::INTEGER * INTERVAL 1 DAY)::DATE AS dag, meter,"
        f" CASE WHEN {_broken(step, 'dag')} THEN {BROKEN} ELSE waarde::DOUBLE END AS waarde,"
        " CASE WHEN dag IS NULL THEN 'dag_onbekend' WHEN waarde::DOUBLE < 0 THEN 'negatief' END AS reden,"
        " 'zie de reden' AS toelichting FROM raw"
    )
    received = count(judged.filter(f"coalesce(dag::VARCHAR, 'onbekend') IN ({days})"))
    return Offered(
        judged.filter("reden IS NULL").project("nr, dag, meter, waarde"),
        rejected=judged.filter("reden IS NOT NULL"),
        rows_in=received,
    )


def near(step: Step) -> Offered:
    rows = step.read(CLEAN)
    rows.create_view("metingen")
    days = ", ".join(f"'{p}'" for p in step.partitions)
    made = step.con.sql(
        "SELECT a.dag, a.meter, count(*) FILTER (b.dag = a.dag) AS n,"
        f" CASE WHEN {_broken(step, 'a.dag')} THEN {BROKEN} ELSE sum(b.waarde) END AS som_buren"
        " FROM (SELECT DISTINCT dag, meter FROM metingen) a JOIN metingen b ON a.meter = b.meter"
        " AND b.dag BETWEEN a.dag - INTERVAL 1 DAY AND a.dag + INTERVAL 1 DAY GROUP BY a.dag, a.meter"
    )
    return Offered(made, controls={"metingen": count(rows.filter(f"dag::VARCHAR IN ({days})"))})


def month(step: Step) -> Offered:
    step.read(CLEAN).create_view("metingen")
    step.quarantine(CLEAN).create_view("aside")
    step.con.sql(f"SELECT unnest({list(step.partitions)}) AS maand").create_view("maanden")
    made = step.con.sql(
        "SELECT maand, (SELECT count(*) FROM metingen WHERE strftime(dag, '%Y-%m') = maand) AS n,"
        f" CASE WHEN {_broken(step, 'maand')} THEN {BROKEN} ELSE"
        " (SELECT coalesce(sum(waarde), 0) FROM metingen WHERE strftime(dag, '%Y-%m') = maand) END AS som,"
        " (SELECT count(*) FROM aside WHERE left(partitie, 7) = maand) AS terzijde FROM maanden"
    )
    return Offered(made)


def total(step: Step) -> Offered:
    counted = {
        "n": value(step.read(MONTH).sum("n")) or 0,
        "terzijde": count(step.quarantine(CLEAN)),
        "geland": count(step.read(RAW)),
    }
    row = {"wat": "alles", **counted, "n": int(counted["n"]) + ("*" in _flags(step, "totaal"))}
    return Offered(arrow(TOTAL_CONTRACT, [row]), controls={"opgeschoond": count(step.read(CLEAN))})


def closed(step: Step) -> Offered:
    rows = step.read(MONTH)
    return Offered(rows.filter(f"maand < '{step.first_open_month}'").project("maand, som"))


def _flags(step: Step, table: str) -> list[str]:
    file = step.platform.settings.home / "stuk.json"
    said: dict[str, list[str]] = json.loads(file.read_text()) if file.exists() else {}
    return said.get(table, [])


def _broken(step: Step, what: str) -> str:
    """SQL for whether a row is of a partition that the step is told to break."""
    table = {"dag": "waarden", "a.dag": "buren", "maand": "maand"}[what]
    flags = ", ".join(f"'{f}'" for f in _flags(step, table))
    return f"{what}::VARCHAR IN ({flags})" if flags else "FALSE"


def toy_tables() -> dict[str, GatedTable]:
    """The tables of the toy experiment, by path."""
    tables = [
        GatedTable(RAW_CONTRACT, land, lands=True),
        GatedTable(CLEAN_CONTRACT, clean, (Reads(RAW, before=1, after=1, spills=True),)),
        GatedTable(NEAR_CONTRACT, near, (Reads(CLEAN, before=1, after=1),)),
        GatedTable(MONTH_CONTRACT, month, (Reads(CLEAN, quarantine=True),)),
        GatedTable(TOTAL_CONTRACT, total, (Reads(CLEAN, quarantine=True), Reads(MONTH), Reads(RAW))),
        GatedTable(CLOSED_CONTRACT, closed, (Reads(MONTH),), closes_months=True),
    ]
    return {t.path: t for t in tables}


Measured = tuple[int, str | None, int, str, float]
"""Number, day, days that the clock is off, meter and value."""


def drop(home: Path, name: str, rows: Sequence[Measured]) -> None:
    """Put a file of the toy experiment in the inbox."""
    inbox = home / "inbox" / "proef"
    inbox.mkdir(parents=True, exist_ok=True)
    lines = [f"{nr},{day or ''},{shift},{meter},{value}" for nr, day, shift, meter, value in rows]
    (inbox / name).write_text("\n".join([",".join(FILE_COLUMNS), *lines, ""]))


def day(number: int) -> date:
    """The n-th day of the toy's time; 0 is 30 January 2024, so that a month ends soon."""
    return date.fromordinal(date(2024, 1, 30).toordinal() + number)
