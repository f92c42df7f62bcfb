"""The three jobs of a night, their schedule, and the sensor that goes from one to the next.

Here belong the Dagster definitions; what comes next is decided in `night.py`.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg

from koploper_pipelines.automation.night import (
    FETCH,
    PROCESS,
    PUBLISH,
    RELEASE,
    WORK_TAG,
    job_of,
    next_run,
)
from koploper_pipelines.gates.asset import NIGHT_TAG, asset_key
from koploper_pipelines.gates.step import Platform
from koploper_pipelines.resources.clock import LOCAL

JOB_DESCRIPTIONS = {
    FETCH: "Land wat nieuw is: elk bestand of antwoord van een bron gaat apart door zijn poort.",
    PROCESS: "Verwerk de meetdagen die aan de beurt zijn, van opgeschoond tot gepubliceerde laag.",
    PUBLISH: "Maak een release van de laatste goede versies; start ook als verwerken niet slaagde.",
}


def build_jobs(platform: Platform) -> list[Any]:
    """One asset job for each part of a night."""
    jobs = []
    for name, description in JOB_DESCRIPTIONS.items():
        keys = [asset_key(t.path) for t in platform.tables.values() if job_of(t) == name]
        selection = dg.AssetSelection.groups(RELEASE) if name == PUBLISH else dg.AssetSelection.assets(*keys)
        jobs.append(dg.define_asset_job(name, selection, description=description))
    return jobs


def build_schedule() -> dg.ScheduleDefinition:
    """Every night at 02:30 in the province; on by default."""

    @dg.schedule(
        name="nacht",
        job_name=FETCH,
        cron_schedule="30 2 * * *",
        execution_timezone=str(LOCAL),
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Start de nacht: ophalen, daarna verwerken en publiceren.",
    )
    def nacht(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        night = context.scheduled_execution_time.astimezone(LOCAL).date().isoformat()
        return dg.RunRequest(run_key=night, tags={NIGHT_TAG: night})

    return nacht


def build_night_sensor(platform: Platform, jobs: Sequence[Any]) -> dg.SensorDefinition:
    """Starts the next run of the latest night as soon as the one before has ended, failed or not."""

    @dg.sensor(
        name="nacht_vervolg",
        jobs=[j for j in jobs if j.name != FETCH],
        minimum_interval_seconds=20,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Start na ophalen het verwerken van wat aan de beurt is, en daarna publiceren.",
    )
    def nacht_vervolg(context: dg.SensorEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
        yield from next_requests(platform, context.instance)

    return nacht_vervolg


def next_requests(
    platform: Platform, instance: dg.DagsterInstance
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """The next run of the latest scheduled night, or the reason why there is none now."""
    started = instance.get_runs(
        dg.RunsFilter(job_name=FETCH, tags={"dagster/schedule_name": "nacht"}), limit=1
    )
    if not started:
        yield dg.SkipReason("er is nog geen nacht begonnen")
        return
    night = started[0].tags[NIGHT_TAG]
    runs = instance.get_runs(dg.RunsFilter(tags={NIGHT_TAG: night}))
    if unfinished := [r for r in runs if not r.is_finished]:
        yield dg.SkipReason(f"{unfinished[0].job_name} van nacht {night} loopt nog")
        return
    following = next_run(platform, night, ended(runs))
    if following is None:
        yield dg.SkipReason(f"nacht {night} is klaar")
        return
    work = following.tags.get(WORK_TAG, "")
    yield dg.RunRequest(
        run_key=f"{night}/{following.job}/{work}",
        job_name=following.job,
        tags=dict(following.tags),
        asset_selection=list(following.assets) or None,
    )


def ended(runs: Sequence[dg.DagsterRun]) -> list[tuple[str, str]]:
    """Job and work of the runs of a night."""
    return [(r.job_name, r.tags.get(WORK_TAG, "")) for r in runs]
