"""What the integration tests share: an installation, nights in it, and what stands in it afterwards."""

from __future__ import annotations

import csv
import io
import itertools
import json
import random
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

import pandas as pd

from koploper_pipelines.assets.publicatie.release import publish
from koploper_pipelines.automation.night import PROCESS, RANGE_END, RANGE_START, WORK_TAG, Next, next_run
from koploper_pipelines.automation.run import Ran, open_instance, run_night
from koploper_pipelines.build import build_definitions, build_platform
from koploper_pipelines.gates.step import Platform, Report, run_table
from koploper_pipelines.settings import Settings

REAL_FILE = "snuffelfiets/ckan_metingen_2024-11.csv"
EXPERIMENT = "snuffelfiets"
HISTORY = ("publicatie/published/datakwaliteit", "publicatie/published/releases")
"""Tables that tell what happened in which night: they differ by design where the others may not."""
IN_QUARANTINE_OF_RAW = ("bestand", "rij")

KEY = "one secret for all installations, so that their tables can be compared"

_numbers = itertools.count(1)


# -- An installation and what is dropped in it -----------------------------------------------------------


def installation(home: Path, now: datetime | None = None, **settings: object) -> Platform:
    """The platform of an installation, with its clock standing still at `now` if given."""
    return build_platform(Settings(home=home, now=now, key=KEY, **settings))  # type: ignore[arg-type]


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


def cut(text: str, parts: int, seed: int | None) -> list[str]:
    """A CSV file in parts that together hold each row once: contiguous, or at random by row."""
    header, rows = csv_rows(text)
    if seed is None:
        place = [i * parts // len(rows) for i in range(len(rows))]
    else:
        place = random.Random(seed).choices(range(parts), k=len(rows))
    return [csv_text(header, [r for r, p in zip(rows, place, strict=True) if p == part]) for part in range(parts)]


# -- Nights ----------------------------------------------------------------------------------------------


def night(platform: Platform, name: str | None = None) -> list[Ran]:
    """A night as the command line runs it, on the installation's own Dagster instance."""
    name = name or f"hand-{next(_numbers)}"
    with open_instance(platform.settings) as instance:
        said = run_night(build_definitions(platform), platform, instance, name)
        return [s for s in said if isinstance(s, Ran)]


@dataclass
class DirectNight:
    """The runs of a night without Dagster: the same steps in the same order, in a third of the time."""

    platform: Platform
    name: str

    def run(self) -> list[Report]:
        """Run what `next_run` says comes next until it says nothing; what each table came to."""
        reports: list[Report] = []
        ran: list[tuple[str, str]] = []
        while (following := next_run(self.platform, self.name, ran)) is not None:
            reports += self._execute(following)
            ran.append((following.job, following.tags.get(WORK_TAG, "")))
        return reports

    def _execute(self, following: Next) -> Iterator[Report]:
        in_run = {"/".join(k.path) for k in following.assets}
        closed: set[str] = set()
        for path, table in self.platform.tables.items():
            inputs = {*(r.table for r in table.reads), *table.after}
            if path not in (in_run or _release_tables(self.platform)):
                continue
            if inputs & closed:
                # As in Dagster: what depends on a step that failed is skipped in the same run.
                closed.add(path)
                continue
            report = run_table(
                self.platform, table, run_id=self.name, night=self.name, chosen=self._days(following)
            )
            if not report.passed:
                closed.add(path)
            yield report
        if not in_run and not closed:
            publish(self.platform)

    def _days(self, following: Next) -> list[str] | None:
        if following.job != PROCESS or RANGE_START not in following.tags:
            return None
        first, last = (date.fromisoformat(following.tags[t]) for t in (RANGE_START, RANGE_END))
        return [(first + timedelta(days=n)).isoformat() for n in range((last - first).days + 1)]


def direct_night(platform: Platform, name: str | None = None) -> list[Report]:
    """A night without Dagster."""
    return DirectNight(platform, name or f"direct-{next(_numbers)}").run()


def _release_tables(platform: Platform) -> set[str]:
    return {p for p, t in platform.tables.items() if t.contract.experiment == "publicatie"}


# -- What stands in an installation ----------------------------------------------------------------------


def lake_table(platform: Platform, path: str) -> pd.DataFrame:
    """All rows of a table's newest version, verified."""
    head = platform.lake.head(path)
    return platform.lake.dataset(path, head.version).to_table().to_pandas()


def quarantine(platform: Platform, path: str) -> pd.DataFrame:
    """The set-aside rows that belong to a table's newest version, with the values of `rij` as columns."""
    found = platform.gate.quarantine(path)
    if found is None:
        return pd.DataFrame(columns=["partitie", "reden", "toelichting"])
    rows = platform.lake.dataset(*found).to_table().to_pandas()
    values = pd.DataFrame([json.loads(r) for r in rows["rij"]], index=rows.index, dtype=object)
    return rows.drop(columns="rij").join(values)


def tables(platform: Platform) -> dict[str, pd.DataFrame]:
    """Every table and its quarantine, without stamps and in an order of their own: for comparing.

    A row of raw is named by file and row number, so its quarantine after cleaning is compared without them.
    """
    found: dict[str, pd.DataFrame] = {}
    for path, table in platform.tables.items():
        if path in HISTORY or not platform.lake.exists(path):
            continue
        stamps = [c.name for c in table.contract.columns if c.stamp]
        found[path] = _sorted(lake_table(platform, path).drop(columns=stamps))
        aside = quarantine(platform, path).drop(columns=list(IN_QUARANTINE_OF_RAW), errors="ignore")
        found[f"{path} quarantine"] = _sorted(aside)
    return found


def assert_same(left: Mapping[str, pd.DataFrame], right: Mapping[str, pd.DataFrame]) -> None:
    """Every table equal to the bit, in the same columns and rows."""
    assert sorted(left) == sorted(right)
    for path in left:
        pd.testing.assert_frame_equal(left[path], right[path], check_exact=True, obj=path)


def versions(platform: Platform) -> dict[str, int]:
    """Newest version of every table in the lake."""
    return {p: platform.lake.head(p).version for p in platform.tables if platform.lake.exists(p)}


def published(platform: Platform) -> dict[str, pd.DataFrame]:
    """All tables of the current release as an analyst reads them: from the SQLite file."""
    file = platform.settings.home / "warehouse" / "published.sqlite"
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as con:
        names = [n for (n,) in con.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
        return {n: pd.read_sql_query(f'SELECT * FROM "{n}"', con) for n in names}


def figures(platform: Platform) -> dict[str, pd.DataFrame]:
    """The published tables of the experiment."""
    return {n: t for n, t in published(platform).items() if n.startswith(EXPERIMENT)}


def _sorted(rows: pd.DataFrame) -> pd.DataFrame:
    columns = sorted(rows.columns)
    if rows.empty:
        return rows[columns].reset_index(drop=True)
    order = rows[columns].astype("str").sort_values(columns, kind="stable").index
    return rows.loc[order, columns].reset_index(drop=True)
