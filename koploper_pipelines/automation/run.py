"""Running a night, or a rebuild, in this process on the installation's own Dagster instance.

Here belongs what the command line does with `night.py`'s answers; a run started here shows in the UI.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg

from koploper_pipelines.automation.night import FETCH, PROCESS, PUBLISH, Chosen, Next, next_run
from koploper_pipelines.automation.jobs import ended
from koploper_pipelines.gates.asset import AGAIN, NIGHT_TAG
from koploper_pipelines.gates.step import Platform
from koploper_pipelines.settings import Settings


@dataclass(frozen=True)
class Ran:
    """One run that ended."""

    next: Next
    run_id: str
    success: bool
    failures: tuple[str, ...]
    """What failed steps said, one line each."""


def prepare_home(settings: Settings) -> None:
    """Make the installation's folders, with Dagster's own configuration in place."""
    for folder in (settings.inbox, settings.lake, settings.dagster):
        folder.mkdir(parents=True, exist_ok=True)
    source, target = _dagster_yaml(), settings.dagster / "dagster.yaml"
    if not target.exists():
        shutil.copyfile(source, target)


def open_instance(settings: Settings) -> dg.DagsterInstance:
    """The Dagster instance of an installation."""
    prepare_home(settings)
    return dg.DagsterInstance.from_config(str(settings.dagster))


def run_night(
    defs: dg.Definitions, platform: Platform, instance: dg.DagsterInstance, night: str, chosen: Chosen = Chosen()
) -> Iterator[Next | Ran]:
    """Run a night from beginning to end; says each run before it starts and after it ended."""
    ran: list[tuple[str, str]] = []
    while (following := next_run(platform, night, ran, chosen)) is not None:
        yield following
        yield execute(defs, instance, following)
        ran = ended(instance.get_runs(dg.RunsFilter(tags={NIGHT_TAG: night})))


def execute(defs: dg.Definitions, instance: dg.DagsterInstance, following: Next, again: bool = False) -> Ran:
    """Execute one run in this process."""
    job = defs.resolve_job_def(following.job)
    config = {"ops": {"__".join(k.path): {"config": {AGAIN: True}} for k in following.assets}} if again else None
    result = job.execute_in_process(
        instance=instance,
        tags=dict(following.tags),
        asset_selection=list(following.assets) or None,
        run_config=config,
        raise_on_error=False,
    )
    failures = []
    for event in result.all_events:
        if event.is_step_failure and event.step_failure_data.error is not None:
            data = event.step_failure_data
            told = data.user_failure_data.description if data.user_failure_data else None
            failures.append(told or f"{event.step_key}: {data.error.message.strip() if data.error else 'failed'}")
    return Ran(following, result.run_id, result.success, tuple(failures))


def quiet_logs() -> None:
    """Keep Dagster's event stream off the terminal; it is all in the instance."""
    logging.getLogger("dagster").setLevel(logging.CRITICAL)


def _dagster_yaml() -> Path:
    """The instance configuration: beside the package in a checkout, inside it in an installed wheel."""
    package = Path(__file__).parents[1]
    beside = package.parent / "dagster.yaml"
    return beside if beside.is_file() else package / "dagster.yaml"


__all__ = ["FETCH", "PROCESS", "PUBLISH", "Ran", "execute", "open_instance", "prepare_home", "quiet_logs", "run_night"]
