"""Running a night, or a rebuild, in this process on the installation's own Dagster instance.

Here belongs what the command line does with `night.py`'s answers; a run started here shows in the UI.
"""

from __future__ import annotations

import logging
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

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
)
from koploper_pipelines.gates.asset import AGAIN, NIGHT_TAG, asset_key
from koploper_pipelines.gates.plan import ranges
from koploper_pipelines.gates.step import Platform
from koploper_pipelines.resources.clock import LOCAL, Clock
from koploper_pipelines.settings import Settings

if TYPE_CHECKING:
    from dagster._core.errors import SerializableErrorInfo

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
    prepare_home(settings)
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


def execute(
    defs: dg.Definitions,
    instance: dg.DagsterInstance,
    following: Next,
    again: bool = False,
    watch: Watch | None = None,
) -> Ran:
    """Execute one run in this process."""
    job = defs.resolve_job_def(following.job)
    run_id = dg.make_new_run_id() if hasattr(dg, "make_new_run_id") else ""
    config = {"ops": {"__".join(k.path): {"config": {AGAIN: True}} for k in following.assets}} if again else None
    result = job.execute_in_process(
        instance=instance,
        tags={**following.tags, PROCESS_TAG: _this_process()},
        asset_selection=list(following.assets) or None,
        run_config=config,
        run_id=run_id,
        raise_on_error=False,
    )
