"""A night: `ophalen`, then `verwerken` until nothing is pending, then `publiceren`.

Here belongs deciding what comes next in a night, from the lake and from what ran already; it is the same for
the schedule (through a sensor) and the command line. Nothing is run here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import dagster as dg

from koploper_pipelines.gates.asset import NIGHT_TAG, asset_key
from koploper_pipelines.gates.plan import Pending, fingerprint, ranges
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
    refused = {t.path: refused_tonight(platform, plan, t, night, sorted(plan.pending_of(t))) for t in tables}
    return [
        p
        for p in plan.pending(without=refused)
        if job_of(platform.tables[p.table]) == PROCESS and chosen.takes(p, _is_daily(platform, p.table))
    ]


def _candidates(platform: Platform, night: str, work: Sequence[Pending], chosen: Chosen) -> list[Next]:
    """The runs for pending work: one a contiguous range of days, the tables without days with the last."""
    daily = [p for p in work if _is_daily(platform, p.table)]
    tables = [t for t in platform.tables.values() if job_of(t) == PROCESS and _in(chosen, t)]
    with_days = [t for t in tables if _is_daily(platform, t.path)]
    # Rows without a day come along with any day; when they are all there is, an idle day carries them.
    carrier = chosen.first or platform.clock.today().isoformat()
    spans = ranges(p.partition for p in daily) or ([(carrier, carrier)] if daily else [])
    # Last the days that only border on landed ones: they are empty, and not every table may begin empty.
    spans.sort(key=lambda span: not any(span[0] <= day <= span[1] for day in _landed(platform)))
    found: list[Next] = []
    for first, last in spans:
        within = [p for p in daily if first <= p.partition <= last or not p.partition[0].isdigit()]
        is_last = (first, last) == spans[-1]
        extra = [p for p in work if p not in daily] if is_last else []
        tags = {NIGHT_TAG: night, RANGE_START: first, RANGE_END: last, WORK_TAG: _tag([*within, *extra])}
        found.append(Next(PROCESS, _keys(tables if is_last else with_days), tags, _days(first, last)))
    if not spans and work:
        without = [t for t in tables if not _is_daily(platform, t.path)]
        found.append(
            Next(PROCESS, _keys(without), {NIGHT_TAG: night, WORK_TAG: _tag(work)}, "tabellen zonder dagen")
        )
    return found


def _landed(platform: Platform) -> set[str]:
    """Days of which rows have landed."""
    landings = [t.path for t in platform.tables.values() if t.lands and platform.lake.exists(t.path)]
    return {day for path in landings for day in platform.lake.head(path).partitions}


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
