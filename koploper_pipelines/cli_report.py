"""What an installation has to tell: gathered as plain values, and shown on a terminal.

Here belong the facts behind `koploper status`, `plan`, `quality` and the end of a night, as dictionaries that
are printed as they are for `--json` (their keys are a promise), and their tables for people. Avoid writing
anything, and deciding anything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.table import Table

from koploper_pipelines.contracts.model import LAYERS
from koploper_pipelines.gates.audit import REDACTED
from koploper_pipelines.gates.plan import ranges
from koploper_pipelines.resources.inbox import REFUSED, dropped_files
from koploper_pipelines.resources.lake import NoTable, UntrustedTable

if TYPE_CHECKING:
    import dagster as dg
    import pandas as pd

    from koploper_pipelines.automation.run import Ran
    from koploper_pipelines.contracts import Contract
    from koploper_pipelines.gates.step import Platform
    from koploper_pipelines.gates.table import GatedTable
    from koploper_pipelines.resources.lake import Head

SAMPLE = 5
WIDTH_ELSEWHERE = 140
"""Columns of a table that goes to a file or another program."""
OUTCOMES = {"gereed": "passed", "geweigerd": "refused", "afgebroken": "cut off"}
Said = dict[str, Any]


# -- Gathering -----------------------------------------------------------------------------------------------


def status(platform: Platform, instance: dg.DagsterInstance) -> Said:
    """Every table as it stands, the release that readers see, and the last night."""
    pending = _pending_counts(platform)
    ends = platform.ledger.read("gebeurtenis IN ('gereed', 'geweigerd', 'afgebroken')")
    last = ends.drop_duplicates("tabel", keep="last").set_index("tabel")
    return {
        "home": str(platform.settings.home),
        "published": published_at(platform),
        "release": _release(platform),
        "last_night": _last_night(instance),
        "tables": [
            _table_status(platform, instance, table, last, pending[table.path])
            for table in platform.tables.values()
        ],
    }


def _table_status(
    platform: Platform,
    instance: dg.DagsterInstance,
    table: GatedTable,
    last: pd.DataFrame,
    pending: int,
) -> Said:
    contract = table.contract
    head, problem = _head(platform, table.path)
    updated = _updated(instance, table)
    age = None if updated is None else max(0.0, (platform.clock.now() - updated).total_seconds() / 86_400)
    limit = contract.freshness_days
    judged = last.loc[table.path] if table.path in last.index else None
    return {
        "table": table.path,
        "layer": contract.layer,
        "version": head.version if head else None,
        "rows": platform.lake.rows(table.path, head.version) if head else None,
        "problem": problem,
        "last_gate": None if judged is None else OUTCOMES[str(judged["gebeurtenis"])],
        "last_gate_at": None if judged is None else _iso(judged["tijd"]),
        "updated_at": _iso(updated),
        "fresh_within_days": limit,
        "is_fresh": None if age is None or limit is None else age <= limit,
        "pending": pending,
    }


def _head(platform: Platform, path: str) -> tuple[Head | None, str | None]:
    """The verified head, or what is wrong with the table."""
    try:
        return platform.lake.head(path), None
    except NoTable:
        return None, None
    except UntrustedTable as error:
        return None, str(error)


def _updated(instance: dg.DagsterInstance, table: GatedTable) -> datetime | None:
    """When the table was last found or brought up to date: a night without news counts too."""
    from koploper_pipelines.gates.asset import asset_key

    event = instance.get_latest_materialization_event(asset_key(table.path))
    return None if event is None else datetime.fromtimestamp(event.timestamp, UTC)


def _pending_counts(platform: Platform) -> Counter[str]:
    """Pending partitions per table."""
    return Counter(item.table for item in platform.plan().pending())


def _release(platform: Platform) -> Said | None:
    """The release that readers see, None before the first; or why that cannot be told now."""
    from koploper_pipelines.resources.warehouse import WarehouseError

    try:
        current = platform.warehouse.current()
        made = [r for r in platform.warehouse.releases() if r.release_id == current]
    except WarehouseError as error:
        return {**dict.fromkeys(("id", "made_at", "status")), "problem": str(error)}
    if not made:
        return None
    return {"id": current, "made_at": _iso(made[0].made_at), "status": made[0].status, "problem": None}


def _last_night(instance: dg.DagsterInstance) -> Said | None:
    import dagster as dg

    from koploper_pipelines.automation.jobs import JOB_DESCRIPTIONS
    from koploper_pipelines.gates.asset import NIGHT_TAG

    recent = [
        r for job in JOB_DESCRIPTIONS for r in instance.get_run_records(dg.RunsFilter(job_name=job), limit=20)
    ]
    nights = [r for r in recent if NIGHT_TAG in r.dagster_run.tags]
    if not nights:
        return None
    night = max(nights, key=lambda r: r.create_timestamp).dagster_run.tags[NIGHT_TAG]
    runs = sorted(
        instance.get_run_records(dg.RunsFilter(tags={NIGHT_TAG: night})), key=lambda r: r.create_timestamp
    )
    return {
        "night": night,
        "started_at": _iso(runs[0].create_timestamp),
        "passed": all(r.dagster_run.is_success for r in runs),
        "runs": [
            {
                "job": r.dagster_run.job_name,
                "run_id": r.dagster_run.run_id,
                "status": r.dagster_run.status.value,
            }
            for r in runs
        ],
    }


def plan(platform: Platform) -> Said:
    """What is pending, grouped by table and reason, and what waits in the inbox."""
    groups: dict[tuple[str, str], list[str]] = {}
    for item in platform.plan().pending():
        groups.setdefault((item.table, item.because), []).append(item.partition)
    experiments = {t.contract.experiment for t in platform.tables.values() if t.lands}
    return {
        "pending": [
            {"table": table, "because": because, "number": len(partitions), "partitions": _spans(partitions)}
            for (table, because), partitions in groups.items()
        ],
        "inbox": {e: [f.name for f in dropped_files(platform.settings, e)] for e in sorted(experiments)},
        "refused_files": [_refused_file(f) for f in sorted(refused_files(platform))],
    }


def _spans(partitions: Sequence[str]) -> list[str]:
    """Days as ranges, everything else by name."""
    days = [p for p in partitions if len(p) == len("2026-11-23")]
    spans = [first if first == last else f"{first}..{last}" for first, last in ranges(days)]
    return [*spans, *sorted(set(partitions) - set(days))]


def quality(platform: Platform) -> Said:
    """The latest verdict on every rule of every table."""
    verdicts = _verdicts(platform)
    return {
        "tables": [{"table": t.path, "rules": _rules(t.contract, verdicts)} for t in platform.tables.values()]
    }


def quality_of(platform: Platform, table: GatedTable) -> Said:
    """One table: rules with their verdicts, rows set aside per reason, and rows refused last."""
    contract = table.contract
    return {
        "table": table.path,
        "title": contract.title,
        "rules": _rules(contract, _verdicts(platform)),
        "quarantine": _quarantine(platform, contract),
        "refused": _refused(platform, contract),
    }


def _verdicts(platform: Platform) -> dict[tuple[str, str], pd.Series[Any]]:
    judged = platform.ledger.read("gebeurtenis = 'regel'").drop_duplicates(["tabel", "regel"], keep="last")
    rows = judged.astype(object).where(judged.notna(), None)
    return {(row["tabel"], row["regel"]): row for _, row in rows.iterrows()}


def _rules(contract: Contract, verdicts: Mapping[tuple[str, str], pd.Series[Any]]) -> list[Said]:
    return [
        {
            "rule": rule.name,
            "description": rule.description,
            "severity": rule.severity,
            "scope": rule.scope,
            "dimension": rule.dimension,
            **_verdict(verdicts.get((contract.path, rule.name))),
        }
        for rule in contract.rules
    ]


def _verdict(row: pd.Series[Any] | None) -> Said:
    if row is None:
        return {
            **dict.fromkeys(("judged", "unexpected", "observed", "message", "judged_at", "run_id")),
            "result": "never",
        }
    result = "passed" if row["is_geslaagd"] else "failed"
    return {
        "result": result if row["is_te_beoordelen"] else "not evaluable",
        "judged": row["beoordeeld"],
        "unexpected": row["afwijkend"],
        "observed": row["waarde"],
        "message": row["toelichting"],
        "judged_at": _iso(row["tijd"]),
        "run_id": row["run_id"],
    }


def _quarantine(platform: Platform, contract: Contract) -> list[Said]:
    import duckdb

    found = platform.gate.quarantine(contract.path)
    if found is None:
        return []
    meaning = {r.name: r.description for r in contract.rules} | dict(contract.reasons)
    with duckdb.connect() as con:
        rows = platform.lake.relation(con, *found)
        counts = rows.aggregate("reden, count(*) AS aantal", "reden").order("aantal DESC, reden").fetchall()
    return [{"reason": reason, "meaning": meaning.get(reason), "rows": rows} for reason, rows in counts]


def _refused(platform: Platform, contract: Contract) -> Said | None:
    """A few of the rows that the gate refused last; what could point at a person stays hidden."""
    import duckdb

    file = platform.gate.refused_rows(contract.path)
    if not file.is_file():
        return None
    with duckdb.connect() as con:
        con.sql("SET TimeZone = 'UTC'")
        rows = con.read_parquet(str(file))
        sample = rows.limit(SAMPLE).to_arrow_table().to_pylist()
        number = len(rows)
    shown = {c.name for c in contract.columns if c.privacy == "geen"}
    return {
        "file": str(file),
        "refused_at": _iso(file.stat().st_mtime),
        "rows": number,
        "sample": [{c: (_plain(v) if c in shown else REDACTED) for c, v in row.items()} for row in sample],
    }


def night(platform: Platform, name: str, ran: Sequence[Ran], refused_before: Iterable[Path]) -> Said:
    """What a night came to."""
    from koploper_pipelines.gates.measures import literal

    done = platform.ledger.read(f"gebeurtenis = 'gereed' AND nacht = {literal(name)}")
    made = done.groupby("tabel", sort=False).agg(
        {"rijen": "sum", "rijen_in_quarantaine": "sum", "versie": "max"}
    )
    return {
        "night": name,
        "passed": all(r.success for r in ran),
        "runs": [
            {
                "job": r.next.job,
                "says": r.next.says,
                "run_id": r.run_id,
                "passed": r.success,
                "failures": list(r.failures),
            }
            for r in ran
        ],
        "tables": [
            {
                "table": str(path),
                "version": int(row["versie"]),
                "rows": int(row["rijen"]),
                "quarantined": int(row["rijen_in_quarantaine"]),
            }
            for path, row in made.iterrows()
        ],
        "refused_files": [_refused_file(f) for f in sorted(refused_files(platform) - set(refused_before))],
        "release": _release(platform),
        "published": published_at(platform),
    }


def refused_files(platform: Platform) -> set[Path]:
    """Reports beside the files that wait for a person."""
    folder = platform.settings.inbox / REFUSED
    return set(folder.glob("*.rapport.txt"))


def _refused_file(report: Path) -> Said:
    # The report's first and last lines say what it is about and what to do; the reason stands between.
    _, *reason, _ = report.read_text(encoding="utf-8").strip().split("\n\n")
    return {
        "file": str(report.with_name(report.name.removesuffix(".rapport.txt"))),
        "reason": "\n\n".join(reason),
    }


def published_at(platform: Platform) -> str:
    """Where the published tables are, without a password."""
    import sqlalchemy as sa

    url = sa.make_url(platform.settings.published_url)
    return (
        str(url.database) if url.drivername.startswith("sqlite") else url.render_as_string(hide_password=True)
    )


def published(platform: Platform) -> Said:
    """The published tables of the current release, with a few rows of each."""
    tables = [t.contract for t in platform.tables.values() if t.contract.layer == "published"]
    current = platform.warehouse.current()
    return {
        "published": published_at(platform),
        "release": current,
        "tables": [_published_table(platform, c) for c in tables] if current else [],
    }


def _published_table(platform: Platform, contract: Contract) -> Said:
    try:
        rows = platform.warehouse.read(contract.sql_name)
    except LookupError:
        return {
            "table": contract.sql_name,
            "title": contract.title,
            "rows": None,
            "sample": [],
            "empty": None,
        }
    rows = rows.sort_by([(key, "ascending") for key in contract.key])
    return {
        "table": contract.sql_name,
        "title": contract.title,
        "rows": rows.num_rows,
        "sample": rows.slice(0, SAMPLE).to_pylist(),
        "empty": contract.empty_because,
    }


def _plain(value: Any) -> Any:
    """A value that JSON knows."""
    return value.isoformat() if isinstance(value, date) else value


def _iso(moment: Any) -> str | None:
    """A moment (datetime, or seconds since 1970) as ISO text in UTC, to the second."""
    if moment is None:
        return None
    if isinstance(moment, int | float):
        moment = datetime.fromtimestamp(moment, UTC)
    return str(moment.astimezone(UTC).isoformat(timespec="seconds"))


# -- Showing -------------------------------------------------------------------------------------------------


class Progress:
    """How far a night is, on standard error: bars on a terminal, a line a step elsewhere."""

    def __init__(self) -> None:
        """Look where standard error goes."""
        self._console = Console(stderr=True, soft_wrap=True)
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        self._bars = (
            Bars(*columns, TimeElapsedColumn(), console=self._console) if self._console.is_terminal else None
        )

    def __enter__(self) -> Progress:
        """Start the bars."""
        if self._bars:
            self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the bars as they are."""
        if self._bars:
            self._bars.stop()

    def begin(self, what: str, steps: int) -> None:
        """A run of so many steps begins."""
        if self._bars:
            self._task = self._bars.add_task(what, total=steps)
        else:
            self._console.print(what, markup=False)

    def step(self, path: str) -> None:
        """A step of the run has ended."""
        if self._bars:
            self._bars.advance(self._task)
        else:
            self._console.print(f"  {path}", markup=False)


def show_status(said: Said) -> None:
    """Print the state of an installation."""
    console = _console()
    console.print(f"home       {said['home']}", soft_wrap=True, markup=False)
    console.print(f"published  {said['published']}", soft_wrap=True, markup=False)
    release, last = said["release"], said["last_night"]
    console.print(f"release    {_release_words(release)}")
    if last is None:
        console.print("last night none yet: `koploper refresh` runs one", markup=False)
    else:
        runs = ", ".join(f"{r['job']} {r['status'].lower()}" for r in last["runs"])
        console.print(f"last night {last['night']}: {runs}", soft_wrap=True, markup=False)
    table = _grid(
        "table", "version", "rows", "last gate", "fresh", "pending", right=("version", "rows", "pending")
    )
    layer = None
    for row in sorted(said["tables"], key=_by_layer):
        if layer not in (None, row["layer"]):
            table.add_section()
        layer = row["layer"]
        fresh = (
            {None: "–", True: "yes", False: f"no: over {row['fresh_within_days']:g} days old"}[
                row["is_fresh"]
            ]
            if row["fresh_within_days"]
            else "–"
        )
        gate = "foreign commit" if row["problem"] else (row["last_gate"] or "never made")
        table.add_row(
            row["table"], _text(row["version"]), _text(row["rows"]), gate, fresh, _text(row["pending"])
        )
    console.print(table)
    for row in said["tables"]:
        if row["problem"]:
            console.print(row["problem"], soft_wrap=True, markup=False, style="red")


def show_plan(said: Said) -> None:
    """Print what is pending and why."""
    console = _console()
    for experiment, files in said["inbox"].items():
        if files:
            console.print(f"inbox/{experiment}: {len(files)} files to land: {', '.join(files)}", markup=False)
    if said["pending"]:
        table = _grid("table", "why", "number", "partitions", right=("number",))
        for row in said["pending"]:
            table.add_row(row["table"], row["because"], str(row["number"]), ", ".join(row["partitions"]))
        console.print(table)
    elif not any(said["inbox"].values()):
        console.print("Nothing is pending.")
    _show_refused_files(console, said["refused_files"])


def show_quality(said: Said) -> None:
    """Print how the rules of each table stand, and those that did not pass."""
    console = _console()
    table = _grid(
        "table",
        "rules",
        "passed",
        "not passed",
        "never judged",
        "last judged",
        right=("rules", "passed", "not passed", "never judged"),
    )
    for row in said["tables"]:
        results = [r["result"] for r in row["rules"]]
        passed, never = results.count("passed"), results.count("never")
        latest = max((r["judged_at"] for r in row["rules"] if r["judged_at"]), default=None)
        counts = (len(results), passed, len(results) - passed - never, never)
        table.add_row(row["table"], *map(str, counts), _text(latest))
    console.print(table)
    for row in said["tables"]:
        for rule in row["rules"]:
            if rule["result"] not in ("passed", "never"):
                console.print(f"{row['table']}: {_rule_words(rule)}", soft_wrap=True, markup=False)


def show_quality_of(said: Said) -> None:
    """Print the rules of one table and what they set aside."""
    console = _console()
    console.print(f"{said['table']}: {said['title']}", markup=False, style="bold")
    rules = _grid(
        "rule",
        "severity",
        "scope",
        "result",
        "judged",
        "unexpected",
        "what it says",
        right=("judged", "unexpected"),
    )
    for rule in said["rules"]:
        values = (rule[k] for k in ("rule", "severity", "scope", "result", "judged", "unexpected"))
        rules.add_row(*map(_text, values), rule["message"] or rule["description"])
    console.print(rules)
    if said["quarantine"]:
        reasons = _grid("set aside because", "rows", "meaning", right=("rows",))
        for row in said["quarantine"]:
            reasons.add_row(row["reason"], str(row["rows"]), _text(row["meaning"]))
        console.print(reasons)
    if refused := said["refused"]:
        console.print(
            f"refused last, {refused['refused_at']}: {refused['rows']} rows, in {refused['file']}",
            soft_wrap=True,
            markup=False,
        )
        console.print(_rows(refused["sample"], console.width))


def show_night(said: Said) -> None:
    """Print what a night came to."""
    console = _console()
    console.print(f"Night {said['night']}: {'passed' if said['passed'] else 'with failures'}", style="bold")
    for run in said["runs"]:
        console.print(
            f"  {run['job']:<10} {'passed' if run['passed'] else 'FAILED'}  {run['says']}", markup=False
        )
    if said["tables"]:
        table = _grid(
            "table made", "version", "rows", "in quarantine", right=("version", "rows", "in quarantine")
        )
        for row in said["tables"]:
            table.add_row(row["table"], *(str(row[k]) for k in ("version", "rows", "quarantined")))
        console.print(table)
    elif said["passed"]:
        console.print("Nothing new: every table stands as it was.")
    for run in said["runs"]:
        for failure in run["failures"]:
            console.print(f"{run['job']}: {failure}", soft_wrap=True, markup=False, style="red")
    if not said["passed"]:
        console.print("What failed keeps its last good version; `koploper quality` tells more.", markup=False)
    _show_refused_files(console, said["refused_files"])
    console.print(
        f"Release {_release_words(said['release'])}, in {said['published']}", soft_wrap=True, markup=False
    )


def show_published(said: Said) -> None:
    """Print the published tables, a few rows of each."""
    console = _console()
    for table in said["tables"]:
        if table["rows"] is None:
            continue
        console.print(
            f"\n{table['table']}: {table['title']} ({table['rows']} rows)", style="bold", markup=False
        )
        if table["rows"]:
            console.print(_rows(table["sample"], console.width))
        else:
            console.print(f"  empty: {table['empty']}", soft_wrap=True, markup=False)
    console.print(f"\nPublished tables: {said['published']}", soft_wrap=True, markup=False)


def _show_refused_files(console: Console, files: Sequence[Said]) -> None:
    for file in files:
        console.print(f"refused: {file['file']}", soft_wrap=True, markup=False, style="yellow")
        console.print(f"  {file['reason']}", soft_wrap=True, markup=False)


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=WIDTH_ELSEWHERE)


def _grid(*columns: str, right: Sequence[str] = ()) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return table


def _rows(rows: Sequence[Said], width: int) -> Table:
    """Rows as a table, with as many columns as fit; the last heading says how many do not."""
    cells = {name: [_text(row[name]) for row in rows] for name in rows[0]}
    shown, used = [], 0
    for name, texts in cells.items():
        used += min(40, max(map(len, [name, *texts]))) + 2
        if used > width - 15:
            break
        shown.append(name)
    left = len(cells) - len(shown)
    table = _grid(*shown, *([f"and {left} more"] if left else []))
    for index in range(len(rows)):
        table.add_row(*(cells[name][index][:40] for name in shown))
    return table


def _text(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _by_layer(row: Said) -> tuple[int, str]:
    return LAYERS.index(row["layer"]), row["table"]


def _release_words(release: Said | None) -> str:
    if release is None:
        return "none yet"
    return (
        f"unknown: {release['problem']}" if release["problem"] else f"{release['id']} ({release['status']})"
    )


def _rule_words(rule: Said) -> str:
    counts = f" ({rule['unexpected']} of {rule['judged']} rows)" if rule["unexpected"] else ""
    said = rule["message"] or rule["description"]
    return f"{rule['rule']} [{rule['severity']}] {rule['result']}: {said}{counts}"
