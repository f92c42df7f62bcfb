"""Running a night, or a rebuild, in this process on the installation's own Dagster instance.

Here belongs what the command line does with `night.py`'s answers; a run started here shows in the UI.
"""

from __future__ import annotations

import os
import secrets
import shutil
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import dagster as dg

from koploper_pipelines.automation.jobs import ended
from koploper_pipelines.automation.night import (
    FETCH,
    PROCESS,
    RANGE_END,
    RANGE_START,
    Chosen,
    Next,
    job_of,
    next_run,
    rows_landed,
    spans_of,
)
from koploper_pipelines.gates.asset import AGAIN, NIGHT_TAG, asset_key
from koploper_pipelines.gates.step import Platform
from koploper_pipelines.resources.clock import LOCAL, Clock
from koploper_pipelines.settings import Settings

Watch: TypeAlias = Callable[[str], None]
"""Told the path of each asset whose step has ended."""

PROCESS_TAG = "koploper/proces"
"""Number and start time of the process that works on a run, to tell when it was killed."""
UNFINISHED = (
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)
EVENTS_AT_ONCE = "500"
"""What a run plans, a thousand checks among it, is written in so large parts and not one by one."""
QUIET = {"console": {"config": {"log_level": "CRITICAL"}}}
"""Keeps Dagster's events off the terminal; they are all in the instance."""
STEP_ENDED = (
    dg.DagsterEventType.STEP_SUCCESS,
    dg.DagsterEventType.STEP_FAILURE,
    dg.DagsterEventType.STEP_SKIPPED,
)


@dataclass(frozen=True)
class Ran:
    """One run that ended."""

    next: Next
    run_id: str
    success: bool
    failures: tuple[str, ...]
    """What failed steps said, one line each."""


# -- The home and its instance -------------------------------------------------------------------------------


def prepare_home(settings: Settings) -> None:
    """Make the installation's folders, with Dagster's own configuration in place."""
    for folder in (settings.inbox, settings.lake, settings.dagster):
        folder.mkdir(parents=True, exist_ok=True)
    target = settings.dagster / "dagster.yaml"
    if not target.exists():
        shutil.copyfile(_dagster_yaml(), target)


def open_instance(settings: Settings) -> dg.DagsterInstance:
    """The Dagster instance of an installation, rid of the runs of command lines that were killed."""
    from filelock import FileLock

    prepare_home(settings)
    # Two first starts at the same moment would both lay out Dagster's storage.
    with FileLock(settings.dagster / "start.lock"):
        # dagster.yaml names the folder of its storage by this variable, as the web server and the daemon do.
        os.environ["DAGSTER_HOME"] = str(settings.dagster)
        os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", EVENTS_AT_ONCE)
        instance = dg.DagsterInstance.from_config(str(settings.dagster))
    end_orphans(instance)
    return instance


def end_orphans(instance: dg.DagsterInstance) -> list[str]:
    """End the runs whose process is gone and free what they held; their ids.

    A killed process leaves its run "started" and its place in a pool taken, and the next run would wait for
    that place without end. Only runs that name their process are judged: those of `execute`.
    """
    orphans = [
        run
        for run in instance.get_runs(dg.RunsFilter(statuses=list(UNFINISHED)))
        if PROCESS_TAG in run.tags and not _is_alive(run.tags[PROCESS_TAG])
    ]
    for run in orphans:
        instance.report_run_failed(run, f"its process ({run.tags[PROCESS_TAG]}) is gone: it was killed")
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
    return [run.run_id for run in orphans]


def _this_process() -> str:
    import psutil

    return f"{os.getpid()} {psutil.Process().create_time():.0f}"


def _is_alive(process: str) -> bool:
    import psutil

    number, started = process.split()
    try:
        # Not exact, because the start is told relative to the machine's clock, which may be set meanwhile.
        return abs(psutil.Process(int(number)).create_time() - float(started)) <= 5
    except psutil.NoSuchProcess:
        return False


def _dagster_yaml() -> Path:
    """The instance configuration: beside the package in a checkout, inside it in an installed wheel."""
    package = Path(__file__).parents[1]
    beside = package.parent / "dagster.yaml"
    return beside if beside.is_file() else package / "dagster.yaml"


# -- Nights --------------------------------------------------------------------------------------------------


def night_id(clock: Clock) -> str:
    """A name for a night that a person starts, as `hand-2026-11-23T141500-1f2e3d`."""
    return f"hand-{clock.now().astimezone(LOCAL):%Y-%m-%dT%H%M%S}-{secrets.token_hex(3)}"


def run_night(
    defs: dg.Definitions,
    platform: Platform,
    instance: dg.DagsterInstance,
    night: str,
    chosen: Chosen = Chosen(),
    watch: Watch | None = None,
) -> Iterator[Next | Ran]:
    """Run a night from beginning to end; says each run before it starts and after it ended."""
    yield from _until_done(defs, platform, instance, night, chosen, watch, [])


def run_rebuild(
    defs: dg.Definitions,
    platform: Platform,
    instance: dg.DagsterInstance,
    night: str,
    chosen: Chosen = Chosen(),
    watch: Watch | None = None,
) -> Iterator[Next | Ran]:
    """Make every partition of the tables after raw again, and end as a night does, without fetching."""
    for following in _rebuilding(platform, night, chosen):
        yield following
        yield execute(defs, instance, following, again=True, watch=watch)
    yield from _until_done(defs, platform, instance, night, chosen, watch, [(FETCH, "")])


def _until_done(
    defs: dg.Definitions,
    platform: Platform,
    instance: dg.DagsterInstance,
    night: str,
    chosen: Chosen,
    watch: Watch | None,
    before: list[tuple[str, str]],
) -> Iterator[Next | Ran]:
    """What `night.py` says comes next, until it says nothing; `before` counts as run already."""
    ran = before
    while (following := next_run(platform, night, ran, chosen)) is not None:
        yield following
        yield execute(defs, instance, following, watch=watch)
        ran = [*before, *ended(instance.get_runs(dg.RunsFilter(tags={NIGHT_TAG: night})))]


def execute(
    defs: dg.Definitions,
    instance: dg.DagsterInstance,
    following: Next,
    again: bool = False,
    watch: Watch | None = None,
) -> Ran:
    """Execute one run in this process."""
    job = defs.resolve_job_def(following.job)
    run_id = str(uuid.uuid4())
    config: dict[str, Any] = {"loggers": QUIET}
    if again:
        config["ops"] = {"__".join(k.path): {"config": {AGAIN: True}} for k in following.assets}

    def listen(entry: dg.EventLogEntry) -> None:
        event = entry.dagster_event
        if watch is not None and event is not None and event.event_type in STEP_ENDED:
            watch(str(event.step_key).replace("__", "/"))

    instance.add_event_listener(run_id, listen)
    result = job.execute_in_process(
        instance=instance,
        tags={**following.tags, PROCESS_TAG: _this_process()},
        asset_selection=list(following.assets) or None,
        run_config=config,
        run_id=run_id,
        raise_on_error=False,
    )
    return Ran(following, run_id, result.success, tuple(_failures(result)))


def steps_in(defs: dg.Definitions, following: Next) -> int:
    """How many steps a run has."""
    return len(following.assets) or len(defs.resolve_job_def(following.job).nodes)


def _failures(result: dg.ExecuteInProcessResult) -> Iterator[str]:
    for event in result.all_events:
        if event.is_step_failure:
            data = event.step_failure_data
            told = data.user_failure_data.description if data.user_failure_data else None
            yield told or f"{str(event.step_key).replace('__', '/')}: {_cause(data.error)}"
        elif event.is_job_failure and not any(e.is_step_failure for e in result.all_events):
            yield f"{event.job_name}: {_cause(event.job_failure_data.error) or event.message}"


def _cause(error: Any) -> str:
    """What went wrong in the first place; Dagster wraps it in errors of its own."""
    while error is not None and error.cause is not None:
        error = error.cause
    return str(error.message).strip() if error is not None else ""


def _rebuilding(platform: Platform, night: str, chosen: Chosen) -> Iterator[Next]:
    """The runs that make all of it again: one a range of days, and the tables without days with the last."""
    tables = [t for t in platform.tables.values() if job_of(t) == PROCESS]
    tables = [t for t in tables if chosen.experiment in (None, t.contract.experiment)]
    daily = [t for t in tables if t.contract.partition_kind == "dag"]
    plan = platform.plan()
    trusted = [t for t in daily if not plan.distrusted(t)]
    days = {p for t in trusted for p in plan.pending_of(t)}
    days |= {p for t in trusted if (head := plan.head(t.path)) for p in head.partitions}
    spans = spans_of(platform, days, rows_landed(platform))
    for first, last in spans:
        keys = tuple(asset_key(t.path) for t in (tables if (first, last) == spans[-1] else daily))
        tags = {NIGHT_TAG: night, RANGE_START: first, RANGE_END: last}
        yield Next(PROCESS, keys, tags, f"opnieuw: meetdagen {first} t/m {last}")
