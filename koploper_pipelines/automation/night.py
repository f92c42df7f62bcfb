"""A night: `ophalen`, then `verwerken` until nothing is pending, then `publiceren`.

Here belongs deciding what comes next in a night, from the lake and from what ran already; it is the same for
the schedule (through a sensor) and the command line. Nothing is run here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import dagster as dg

from koploper_pipelines.gates.asset import NIGHT_TAG, asset_key
from koploper_pipelines.gates.plan import Pending, fingerprint, joined, ranges
from koploper_pipelines.gates.step import Platform, refused_tonight
from koploper_pipelines.gates.table import GatedTable

FETCH, PROCESS, PUBLISH = "ophalen", "verwerken", "publiceren"
WORK_TAG = "koploper/werk"
RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
RELEASE = "publicatie"
"""The folder below `assets/` that holds the release; every other one is an experiment."""


@dataclass(frozen=True)
class Next:
    """One run to start: a job, the assets of it and the days."""

    job: str
    assets: tuple[dg.AssetKey, ...]
    """The job's assets to make; all of them when there are none here."""
    tags: Mapping[str, str]
    says: str = field(compare=False, default="")
    """In words, for whoever watches."""


@dataclass(frozen=True)
class Chosen:
    """What a person limited a refresh to; everything by default."""

    experiment: str | None = None
    first: str | None = None
    last: str | None = None

    def takes(self, item: Pending, daily: bool) -> bool:
        """Whether a pending partition belongs to the choice."""
        if self.experiment not in (None, item.table.split("/")[0]):
            return False
        if not daily or self.first is None or self.last is None:
            return True
        return self.first <= item.partition <= self.last


def job_of(table: GatedTable) -> str:
    """The job that a table belongs to."""
    if table.contract.experiment == RELEASE:
        return PUBLISH
    return FETCH if table.contract.layer == "raw" else PROCESS


def next_run(
    platform: Platform, night: str, ran: Sequence[tuple[str, str]], chosen: Chosen = Chosen()
) -> Next | None:
    """What to run now, given (job, work tag) of the runs of this night that have ended; None at its end."""
    jobs = [job for job, _ in ran]
    if FETCH not in jobs:
        tables = [t for t in platform.tables.values() if job_of(t) == FETCH and _in(chosen, t)]
        return Next(FETCH, _keys(tables), {NIGHT_TAG: night}, "ophalen wat nieuw is")
    if PUBLISH in jobs:
        return None
    work = _work(platform, night, chosen)
    done = {tag for _, tag in ran}
    for candidate in _candidates(platform, night, work, chosen):
        # The same work twice in a night would only fail the same way.
        if candidate.tags[WORK_TAG] not in done:
            return candidate
    return Next(PUBLISH, (), {NIGHT_TAG: night}, "een release maken")


def _work(platform: Platform, night: str, chosen: Chosen) -> list[Pending]:
    """What is pending and may be done: not what a gate refused tonight with the same inputs."""
    plan = platform.plan()
    tables = [t for t in platform.tables.values() if job_of(t) == PROCESS]
    refused = {
        t.path: refused_tonight(platform, plan, t, night, sorted(plan.pending_of(t)))
        for t in tables
        if not plan.distrusted(t)
    }
    return [
        p
        for p in plan.pending(without=refused)
        if job_of(platform.tables[p.table]) == PROCESS and chosen.takes(p, _is_daily(platform, p.table))
    ]


def _candidates(platform: Platform, night: str, work: Sequence[Pending], chosen: Chosen) -> list[Next]:
    """The runs for pending work: one a contiguous range of days, the tables without days with the last.

    Tables that read what no edge of the graph says (figures of any experiment) have a run of their own after
    all others: in one with the rest they might be made before what they read, and then once more.
    """
    last = _made_last(platform)
    late = [p for p in work if p.table in last]
    work = [p for p in work if p.table not in last]
    daily = [p for p in work if _is_daily(platform, p.table)]
    # A table without work is left out: its step would only say so, check by check.
    busy = {p.table for p in work}
    tables = [t for t in platform.tables.values() if t.path in busy]
    with_days = [t for t in tables if _is_daily(platform, t.path)]
    spans = _spans(platform, daily, chosen)
    found: list[Next] = []
    if len(spans) > 1:
        # What is read over the border of a range comes first for all ranges: else the days at each border
        # would be made twice.
        across = _read_across_days(with_days)
        ahead = [p for p in daily if p.table in across]
        first_keys = _keys([t for t in with_days if t.path in across])
        for span in _spans(platform, ahead, chosen):
            tags = _tags(night, span, _within(span, ahead))
            found.append(Next(PROCESS, first_keys, tags, f"{_days(*span)}, eerst wat buurdagen lezen"))
    for span in spans:
        is_last = span == spans[-1]
        extra = [p for p in work if p not in daily] if is_last else []
        keys = _keys(tables if is_last else with_days)
        found.append(Next(PROCESS, keys, _tags(night, span, [*_within(span, daily), *extra]), _days(*span)))
    if not spans and work:
        without = [t for t in tables if not _is_daily(platform, t.path)]
        found.append(
            Next(PROCESS, _keys(without), {NIGHT_TAG: night, WORK_TAG: _tag(work)}, "tabellen zonder dagen")
        )
    if late:
        keys = _keys([platform.tables[t] for t in dict.fromkeys(p.table for p in late)])
        tags = {NIGHT_TAG: night, WORK_TAG: _tag(late)}
        found.append(Next(PROCESS, keys, tags, "wat over alle experimenten gaat"))
    return found


def _made_last(platform: Platform) -> set[str]:
    """Tables without days that read more than the graph says, and those without days that read them."""
    found: set[str] = set()
    tables = [t for t in platform.tables.values() if job_of(t) == PROCESS]
    without_days = [t for t in tables if not _is_daily(platform, t.path)]
    more = {t.path for t in without_days if t.also is not None}
    while more:
        found |= more
        readers = (t for t in without_days if found.intersection(r.table for r in t.reads))
        more = {t.path for t in readers} - found
    return found


def spans_of(platform: Platform, days: Iterable[str], landed: Mapping[str, int]) -> list[tuple[str, str]]:
    """The ranges of days that runs are made of: a month each, or more months of few landed rows."""
    return joined(ranges(days), landed, platform.settings.run_rows)


def _spans(platform: Platform, daily: Sequence[Pending], chosen: Chosen) -> list[tuple[str, str]]:
    """The contiguous ranges of pending days, in the order in which they are to be made."""
    # Rows without a day come along with any day; when they are all there is, an idle day carries them.
    carrier = chosen.first or platform.clock.today().isoformat()
    landed = rows_landed(platform)
    days = (p.partition for p in daily)
    spans = spans_of(platform, days, landed) or ([(carrier, carrier)] if daily else [])
    # Last the days that only border on landed ones: they are empty, and not every table may begin empty.
    return sorted(spans, key=lambda span: not any(span[0] <= day <= span[1] for day in landed))


def _read_across_days(daily: Sequence[GatedTable]) -> set[str]:
    """Tables of which others read neighbouring days, and that read no such table themselves."""
    own = {t.path for t in daily}
    across = {r.table for t in daily for r in t.reads if r.before or r.after} & own
    return {t.path for t in daily if t.path in across and not across.intersection(r.table for r in t.reads)}


def _within(span: tuple[str, str], daily: Sequence[Pending]) -> list[Pending]:
    """What is pending in a range, with what has no day."""
    return [p for p in daily if span[0] <= p.partition <= span[1] or not p.partition[0].isdigit()]


def _tags(night: str, span: tuple[str, str], work: Collection[Pending]) -> dict[str, str]:
    return {NIGHT_TAG: night, RANGE_START: span[0], RANGE_END: span[1], WORK_TAG: _tag(work)}


def rows_landed(platform: Platform) -> Counter[str]:
    """Days of which rows have landed, in the tables that can be trusted, with their number of rows."""
    plan = platform.plan()
    found: Counter[str] = Counter()
    for table in platform.tables.values():
        if not table.lands or plan.distrusted(table) or (head := plan.head(table.path)) is None:
            continue
        day = table.contract.partition
        if table.contract.partition_kind == "dag" and day is not None:
            found.update(platform.lake.rows_of_partitions(table.path, head.version, day))
    return found


def _tag(work: Collection[Pending]) -> str:
    return fingerprint(sorted((p.table, p.partition, p.because) for p in work))


def _days(first: str, last: str) -> str:
    return f"meetdag {first}" if first == last else f"meetdagen {first} t/m {last}"


def _in(chosen: Chosen, table: GatedTable) -> bool:
    return chosen.experiment in (None, table.contract.experiment)


def _is_daily(platform: Platform, table: str) -> bool:
    return platform.tables[table].contract.partition_kind == "dag"


def _keys(tables: Sequence[GatedTable]) -> tuple[dg.AssetKey, ...]:
    return tuple(asset_key(t.path) for t in tables)
