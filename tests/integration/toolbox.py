"""What the integration tests share: an installation, nights in it, and what stands in it afterwards."""

from __future__ import annotations

import csv
import io
import itertools
import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest

from koploper_pipelines.assets.publicatie.release import ReleaseRefused, publish
from koploper_pipelines.automation.night import PROCESS, RANGE_END, RANGE_START, WORK_TAG, Next, next_run
from koploper_pipelines.automation.run import Ran, open_instance, run_night
from koploper_pipelines.build import build_definitions, build_platform
from koploper_pipelines.gates.step import Platform, Report, RulesFailed, run_table
from koploper_pipelines.settings import Settings

REAL_FILE = "snuffelfiets/ckan_metingen_2024-11.csv"
EXPERIMENT = "snuffelfiets"
HISTORY = ("publicatie/published/datakwaliteit", "publicatie/published/releases")
"""Tables that tell what happened in which night: those differ where all others may not."""
PLACE_IN_FILE = ["bestand", "rij"]
KEY = "one secret for all installations, so that their tables can be compared"

WARNINGS_OF_OTHERS = [
    # DuckDB's own conversion to pandas uses it.
    pytest.mark.filterwarnings("ignore:The inplace keyword in DataFrame:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:great_expectations"),
]
"""For `pytestmark`: what a night under test may say, which is not ours to mend."""

_numbers = itertools.count(1)


# -- An installation and what is dropped in it -----------------------------------------------------------


def installation(home: Path, now: datetime | None = None, **settings: Any) -> Platform:
    """The platform of an installation, with its clock standing still at `now` if given."""
    return build_platform(Settings(home=home, now=now, key=KEY, **settings))


def drop(home: Path, name: str, content: bytes | str) -> Path:
    """Put a file in the experiment's inbox."""
    inbox = home / "inbox" / EXPERIMENT
    inbox.mkdir(parents=True, exist_ok=True)
    (inbox / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return inbox / name


def csv_text(header: Sequence[str], rows: Iterable[Sequence[str]], delimiter: str = ",") -> str:
    """A CSV file as CKAN writes it."""
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, lineterminator="\n").writerows([header, *rows])
    return text.getvalue()


def csv_rows(text: str) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a CSV file."""
    header, *rows = csv.reader(io.StringIO(text))
    return header, rows


# -- Nights ----------------------------------------------------------------------------------------------


def night(platform: Platform, name: str | None = None) -> list[Ran]:
    """A night as the command line runs it, on the installation's own Dagster instance."""
    name = name or f"hand-{next(_numbers)}"
    with open_instance(platform.settings) as instance:
        said = run_night(build_definitions(platform), platform, instance, name)
        return [s for s in said if isinstance(s, Ran)]


@dataclass
class DirectNight:
    """What a night without Dagster came to."""

    reports: dict[str, list[Report]] = field(default_factory=dict)
    """Per table."""
    refusals: list[str] = field(default_factory=list)
    """What in Dagster would be the failure of a step."""

    @property
    def held_back(self) -> dict[str, set[str]]:
        """Partitions, or files, that a gate did not let through, per table."""
        found = {
            t: {p for r in rs for o in r.outcomes for p in o.held_back} for t, rs in self.reports.items()
        }
        return {table: partitions for table, partitions in found.items() if partitions}


def direct_night(platform: Platform, name: str | None = None) -> DirectNight:
    """A night without Dagster: the same steps in the same order at half the cost."""
    name = name or f"direct-{next(_numbers)}"
    result = DirectNight()
    ran: list[tuple[str, str]] = []
    while (following := next_run(platform, name, ran)) is not None:
        _execute(platform, name, following, result)
        ran.append((following.job, following.tags.get(WORK_TAG, "")))
    return result


def _execute(platform: Platform, name: str, following: Next, result: DirectNight) -> None:
    own = {"/".join(k.path) for k in following.assets}
    in_run = own or {p for p, t in platform.tables.items() if t.contract.experiment == "publicatie"}
    closed: set[str] = set()
    for path, table in platform.tables.items():
        if path not in in_run:
            continue
        if closed & {*(r.table for r in table.reads), *table.after}:
            # As in Dagster: what depends on a step that failed is skipped for the rest of the run.
            closed.add(path)
            continue
        try:
            report = run_table(platform, table, run_id=name, night=name, chosen=_days(following))
        except RulesFailed as error:
            result.refusals.append(str(error))
            closed.add(path)
            continue
        result.reports.setdefault(path, []).append(report)
        closed |= set() if report.passed else {path}
    if not own and not closed:
        try:
            publish(platform)
        except ReleaseRefused as error:
            result.refusals.append(str(error))


def _days(following: Next) -> list[str] | None:
    if following.job != PROCESS or RANGE_START not in following.tags:
        return None
    first, last = (date.fromisoformat(following.tags[t]) for t in (RANGE_START, RANGE_END))
    return [(first + timedelta(days=n)).isoformat() for n in range((last - first).days + 1)]


# -- What stands in an installation ----------------------------------------------------------------------


def lake_table(platform: Platform, path: str) -> pd.DataFrame:
    """All rows of a table's newest version, verified."""
    head = platform.lake.head(path)
    return _stored(platform, path, head.version)


def _stored(platform: Platform, path: str, version: int) -> pd.DataFrame:
    with duckdb.connect() as con:
        con.sql("SET TimeZone = 'UTC'")
        rows: pd.DataFrame = platform.lake.relation(con, path, version).to_arrow_table().to_pandas()
        return rows


def quarantine(platform: Platform, path: str) -> pd.DataFrame:
    """The set-aside rows that belong to a table's newest version, with the values of `rij` as columns."""
    found = platform.gate.quarantine(path)
    if found is None:
        return pd.DataFrame(columns=["partitie", "reden", "toelichting"])
    rows = _stored(platform, *found)
    values = pd.DataFrame([json.loads(r) for r in rows["rij"]], index=rows.index, dtype=object)
    return rows.drop(columns="rij").join(values)


def tables(platform: Platform) -> dict[str, pd.DataFrame]:
    """Every table and its quarantine, without stamps and in an order of their own: for comparing.

    A row set aside in cleaning tells in which file it came, which is a stamp in the contract of raw.
    """
    found: dict[str, pd.DataFrame] = {}
    for path, table in platform.tables.items():
        if path in HISTORY or not platform.lake.exists(path):
            continue
        stamps = [c.name for c in table.contract.columns if c.stamp]
        found[path] = _sorted(lake_table(platform, path).drop(columns=stamps))
        aside = quarantine(platform, path)
        found[f"{path} (quarantine)"] = _sorted(aside.drop(columns=PLACE_IN_FILE, errors="ignore"))
    return found


def differing(left: Mapping[str, pd.DataFrame], right: Mapping[str, pd.DataFrame]) -> list[str]:
    """Tables that are not equal to the bit, in the same columns and rows, or that only one side has."""
    both = left.keys() & right.keys()
    return sorted(left.keys() ^ right.keys()) + sorted(t for t in both if not left[t].equals(right[t]))


def records(rows: pd.DataFrame) -> list[Any]:
    """The rows, with the columns as attributes."""
    return list(rows.itertuples())


def pairs(rows: pd.DataFrame) -> set[Any]:
    """The rows as plain tuples."""
    return set(rows.itertuples(index=False, name=None))


def versions(platform: Platform) -> dict[str, int]:
    """Newest version of every table in the lake."""
    return {p: platform.lake.head(p).version for p in platform.tables if platform.lake.exists(p)}


def published(platform: Platform) -> dict[str, pd.DataFrame]:
    """All tables of the current release as an analyst reads them: from the SQLite file."""
    file = platform.settings.home / "warehouse" / "published.sqlite"
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as con:
        named = con.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall()
        return {name: pd.read_sql_query(f'SELECT * FROM "{name}"', con) for (name,) in named}


@dataclass(frozen=True)
class Standing:
    """All that stands in an installation at one moment."""

    tables: Mapping[str, pd.DataFrame]
    versions: Mapping[str, int]
    published: Mapping[str, pd.DataFrame]

    @property
    def release(self) -> str:
        """Id of the current release."""
        return str(self.published["release"]["release_id"].item())

    @property
    def reasons(self) -> dict[str, int]:
        """Rows that cleaning set aside, by reason."""
        counts = self.tables["snuffelfiets/cleaned/metingen (quarantine)"]["reden"].value_counts()
        return {str(reason): int(n) for reason, n in counts.items()}


def standing(platform: Platform) -> Standing:
    """What stands in an installation now."""
    return Standing(tables(platform), versions(platform), published(platform))


def _sorted(rows: pd.DataFrame) -> pd.DataFrame:
    columns = sorted(rows.columns)
    if rows.empty:
        return rows[columns].reset_index(drop=True)
    order = rows[columns].astype("str").sort_values(columns, kind="stable").index
    return rows.loc[order, columns].reset_index(drop=True)
