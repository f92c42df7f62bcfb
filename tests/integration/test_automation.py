"""When a night starts, what follows on what, and how it ends when something fails.

The sensor's decisions are judged over a real Dagster instance with runs in every state; whole nights are run
in this process, from the command line's side and from the sensor's.
"""

from __future__ import annotations

import dataclasses
import shutil
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import dagster as dg
import pandas as pd
import pytest
import toolbox
from dagster._utils.schedules import cron_string_iterator
from services import CKAN_COLUMNS, ckan_export

from koploper_pipelines.automation.jobs import next_requests
from koploper_pipelines.automation.night import (
    FETCH,
    PROCESS,
    PUBLISH,
    RANGE_END,
    RANGE_START,
    WORK_TAG,
    job_of,
)
from koploper_pipelines.automation.run import Ran, open_instance
from koploper_pipelines.build import build_definitions, build_platform
from koploper_pipelines.gates.asset import NIGHT_TAG
from koploper_pipelines.gates.staging import Offered
from koploper_pipelines.gates.step import Platform, run_table
from koploper_pipelines.gates.table import GatedTable, Step

pytestmark = [
    *toolbox.WARNINGS_OF_OTHERS,
    pytest.mark.filterwarnings("ignore::dagster.PreviewWarning"),
    pytest.mark.filterwarnings("ignore::dagster.BetaWarning"),
]

LOCAL = ZoneInfo("Europe/Amsterdam")
NOW = datetime(2025, 1, 10, 1, 30, tzinfo=UTC)
SCHEDULED = {"dagster/schedule_name": "nacht"}
RAW, CLEANED = "snuffelfiets/raw/metingen", "snuffelfiets/cleaned/metingen"
MEDIAN = "pm25_dagmediaan_plausibel"
STATUS = dg.DagsterRunStatus
DAYS = [date(2024, 11, d) for d in range(11, 16)]


# -- The definitions -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def defs(tmp_path_factory: pytest.TempPathFactory) -> dg.Definitions:
    return build_definitions(toolbox.installation(tmp_path_factory.mktemp("defs"), NOW))


def ticks(defs: dg.Definitions, day: date, zone: str | None = None) -> list[datetime]:
    """The schedule's ticks from the noon before a day to the noon of it, in local time."""
    schedule = defs.resolve_schedule_def("nacht")
    noon = datetime(day.year, day.month, day.day, 12, tzinfo=LOCAL)
    start = (noon - timedelta(days=1)).timestamp()
    found: list[datetime] = []
    for tick in cron_string_iterator(start, str(schedule.cron_schedule), zone or schedule.execution_timezone):
        if tick.timestamp() >= noon.timestamp():
            return found
        found.append(tick.astimezone(LOCAL))
    return found


@pytest.mark.parametrize(
    ("day", "at"),
    [
        (date(2025, 3, 29), "02:30"),
        # The hour from 2 to 3 does not exist: the night starts as soon as it can.
        (date(2025, 3, 30), "03:00"),
        (date(2025, 3, 31), "02:30"),
        (date(2025, 10, 25), "02:30"),
        # The hour from 2 to 3 comes twice: one of both is the night's.
        (date(2025, 10, 26), "02:30"),
        (date(2025, 10, 27), "02:30"),
    ],
)
def test_each_night_has_one_tick_at_half_past_two(defs: dg.Definitions, day: date, at: str) -> None:
    (tick,) = ticks(defs, day)
    assert (tick.date(), f"{tick:%H:%M}") == (day, at)
    # Counter-test: read in UTC the same schedule is at another hour of the night.
    assert [f"{t:%H:%M}" for t in ticks(defs, day, "UTC")] != [at]


@pytest.mark.parametrize("day", [date(2025, 3, 30), date(2025, 10, 26), date(2025, 1, 1)])
def test_a_tick_asks_for_one_run_that_carries_the_local_date(defs: dg.Definitions, day: date) -> None:
    (tick,) = ticks(defs, day)
    schedule = defs.resolve_schedule_def("nacht")
    with dg.build_schedule_context(
        scheduled_execution_time=tick.astimezone(UTC), repository_def=defs.get_repository_def()
    ) as context:
        (request,) = schedule.evaluate_tick(context).run_requests or ()
    assert schedule.job_name == FETCH
    assert request.run_key == request.tags[NIGHT_TAG] == day.isoformat()


def test_schedule_and_sensor_are_on_by_default(defs: dg.Definitions) -> None:
    assert defs.resolve_schedule_def("nacht").default_status == dg.DefaultScheduleStatus.RUNNING
    sensor = defs.resolve_sensor_def("nacht_vervolg")
    assert sensor.default_status == dg.DefaultSensorStatus.RUNNING
    assert {target.job_name for target in sensor.targets} == {PROCESS, PUBLISH}


def test_three_jobs_hold_each_asset_once(defs: dg.Definitions) -> None:
    held = {
        job: {key.to_user_string() for key in defs.resolve_job_def(job).asset_layer.selected_asset_keys}
        for job in (FETCH, PROCESS, PUBLISH)
    }
    keys = {key.to_user_string() for key in defs.resolve_asset_graph().get_all_asset_keys()}
    by_layer: dict[str, set[str]] = {FETCH: set(), PROCESS: set(), PUBLISH: set()}
    for key in keys:
        experiment, layer, _ = key.split("/")
        job = PUBLISH if experiment == "publicatie" else FETCH if layer == "raw" else PROCESS
        by_layer[job].add(key)
    assert held == by_layer
    assert RAW in held[FETCH] and CLEANED in held[PROCESS] and "publicatie/release/database" in held[PUBLISH]


# -- What the sensor asks for ----------------------------------------------------------------------------


@dataclass
class Sensing:
    """An installation with landed, unprocessed rows of two months, and the instance that the sensor reads."""

    platform: Platform
    instance: dg.DagsterInstance

    def asks(self) -> dg.RunRequest | str:
        """The run that is asked for, or why there is none."""
        (said,) = next_requests(self.platform, self.instance)
        return said if isinstance(said, dg.RunRequest) else str(said.skip_message)

    def has_run(
        self, job: str, status: dg.DagsterRunStatus, tags: Mapping[str, str], night: str = "2025-01-10"
    ) -> dg.DagsterRun:
        """A run in the instance."""
        told = {NIGHT_TAG: night, **(SCHEDULED if job == FETCH else {}), **tags}
        run = dg.DagsterRun(job_name=job, run_id=str(uuid.uuid4()), status=status, tags=told)
        self.instance.add_run(run)
        return run


@pytest.fixture(scope="module")
def landed(tmp_path_factory: pytest.TempPathFactory) -> Platform:
    folder = tmp_path_factory.mktemp("landed")
    platform = toolbox.installation(folder / "home", NOW)
    file = folder / "home" / "inbox" / "snuffelfiets" / "twee.csv"
    ckan_export(file, [date(2024, 10, 11), date(2024, 12, 11)], pm25_ug_m3=12)
    assert run_table(platform, platform.tables[RAW], run_id="landing").passed
    return platform


@pytest.fixture
def sensing(landed: Platform, tmp_path: Path) -> Iterator[Sensing]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        yield Sensing(landed, instance)


def test_before_the_first_night_nothing_is_asked(sensing: Sensing) -> None:
    assert sensing.asks() == "er is nog geen nacht begonnen"
    # What a person started is not the schedule's to finish.
    run = dg.DagsterRun(
        job_name=FETCH, run_id=str(uuid.uuid4()), status=STATUS.SUCCESS, tags={NIGHT_TAG: "hand-1"}
    )
    sensing.instance.add_run(run)
    assert sensing.asks() == "er is nog geen nacht begonnen"


@pytest.mark.parametrize("status", [STATUS.NOT_STARTED, STATUS.STARTING, STATUS.STARTED, STATUS.CANCELING])
def test_while_a_run_goes_on_nothing_is_asked(sensing: Sensing, status: dg.DagsterRunStatus) -> None:
    sensing.has_run(FETCH, status, {})
    assert sensing.asks() == "ophalen van nacht 2025-01-10 loopt nog"


@pytest.mark.parametrize("status", [STATUS.SUCCESS, STATUS.FAILURE, STATUS.CANCELED])
def test_after_fetching_comes_processing_also_when_it_failed(
    sensing: Sensing, status: dg.DagsterRunStatus
) -> None:
    sensing.has_run(FETCH, status, {})
    request = sensing.asks()
    assert isinstance(request, dg.RunRequest)
    assert request.job_name == PROCESS
    assert request.tags[NIGHT_TAG] == "2025-01-10"
    # The device clock may be in another zone: the days around it come along. Of several ranges, what is
    # read over their borders comes first.
    assert (request.tags[RANGE_START], request.tags[RANGE_END]) == ("2024-10-10", "2024-10-12")
    selected = request.asset_selection or []
    assert dg.AssetKey(CLEANED.split("/")) in selected
    assert {k.path[1] for k in selected} == {"cleaned"}
    # The same question again gives the same key, so that the daemon starts it once.
    again = sensing.asks()
    assert isinstance(again, dg.RunRequest) and again.run_key == request.run_key


def test_runs_hold_the_tables_that_have_work_and_no_others(sensing: Sensing) -> None:
    sensing.has_run(FETCH, STATUS.SUCCESS, {})
    held: set[str] = set()
    while isinstance(request := sensing.asks(), dg.RunRequest) and request.job_name == PROCESS:
        held |= {"/".join(k.path) for k in request.asset_selection or []}
        sensing.has_run(PROCESS, STATUS.FAILURE, request.tags)
    processed = {p for p, t in sensing.platform.tables.items() if job_of(t) == PROCESS}
    assert held == {p.table for p in sensing.platform.plan().pending()} & processed
    # What waits for a first input has no work: tables of experiments of which nothing has landed.
    assert held < processed


def test_failed_work_is_planned_again_without_it_and_then_published(sensing: Sensing) -> None:
    sensing.has_run(FETCH, STATUS.SUCCESS, {})
    first = sensing.asks()
    assert isinstance(first, dg.RunRequest)
    sensing.has_run(PROCESS, STATUS.STARTED, first.tags)
    assert sensing.asks() == "verwerken van nacht 2025-01-10 loopt nog"
    sensing.instance.report_run_failed(sensing.instance.get_runs(dg.RunsFilter(job_name=PROCESS))[0])
    others: list[dg.RunRequest] = []
    while isinstance(other := sensing.asks(), dg.RunRequest) and other.job_name == PROCESS:
        others.append(other)
        sensing.has_run(PROCESS, STATUS.FAILURE, other.tags)
    # Rides cross midnight, and a day's rides depend on the days around it: those come along.
    spans = [("2024-12-10", "2024-12-12"), ("2024-10-09", "2024-10-13"), ("2024-12-09", "2024-12-13")]
    *of_days, late = others
    assert [(r.tags[RANGE_START], r.tags[RANGE_END]) for r in of_days] == spans
    # What reads the figures of all experiments comes after them, failed or not.
    assert RANGE_START not in late.tags
    assert dg.AssetKey(["koploperdeals", "published", "duidingen"]) in (late.asset_selection or ())
    assert not {k for r in of_days for k in r.asset_selection or ()} & set(late.asset_selection or ())
    assert (
        len({r.run_key for r in (first, *others)}) == len({r.tags[WORK_TAG] for r in (first, *others)}) == 5
    )
    assert isinstance(other, dg.RunRequest)
    assert (other.job_name, other.asset_selection) == (PUBLISH, None)
    sensing.has_run(PUBLISH, STATUS.SUCCESS, other.tags)
    assert sensing.asks() == "nacht 2025-01-10 is klaar"
    # The next night tries the failed work anew.
    sensing.has_run(FETCH, STATUS.SUCCESS, {}, night="2025-01-11")
    anew = sensing.asks()
    assert isinstance(anew, dg.RunRequest)
    assert (anew.job_name, anew.tags[WORK_TAG]) == (PROCESS, first.tags[WORK_TAG])


def test_publishing_that_failed_is_not_tried_again_in_the_same_night(sensing: Sensing) -> None:
    sensing.has_run(FETCH, STATUS.SUCCESS, {})
    sensing.has_run(PUBLISH, STATUS.FAILURE, {})
    assert sensing.asks() == "nacht 2025-01-10 is klaar"


def test_with_nothing_pending_publishing_follows_on_fetching(tmp_path: Path) -> None:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        platform = toolbox.installation(tmp_path / "home", NOW)
        # What needs no delivery, as a register that ships with the code, is made before.
        toolbox.direct_night(platform)
        sensing = Sensing(platform, instance)
        sensing.has_run(FETCH, STATUS.SUCCESS, {})
        request = sensing.asks()
    assert isinstance(request, dg.RunRequest) and request.job_name == PUBLISH


# -- Whole nights ----------------------------------------------------------------------------------------


def november(folder: Path, days: list[date], pm25_ug_m3: float = 12, first_id: int = 1) -> str:
    """An export of six devices that take the same streets: enough of them to show figures."""
    file = folder / "export.csv"
    ckan_export(file, days, pm25_ug_m3=pm25_ug_m3, first_id=first_id)
    _, rows = toolbox.csv_rows(file.read_text())
    others = [[str(int(r[0]) + 50_000), r[1].replace("3580", "3581", 1), *r[2:]] for r in rows]
    file.unlink()
    return toolbox.csv_text(CKAN_COLUMNS, [*rows, *others])


@pytest.fixture(scope="module")
def by_command(tmp_path_factory: pytest.TempPathFactory) -> tuple[Platform, list[Ran]]:
    """An installation after a night as the command line runs it."""
    folder = tmp_path_factory.mktemp("command")
    platform = toolbox.installation(folder / "home", NOW)
    toolbox.drop(folder / "home", "november.csv", november(folder, DAYS))
    return platform, toolbox.night(platform)


def by_sensor(platform: Platform, night: date, most: int = 10) -> list[tuple[str, bool]]:
    """A night as the daemon runs it: the schedule's request, then what the sensor asks, until it skips."""
    defs = build_definitions(platform)
    ended: list[tuple[str, bool]] = []
    with open_instance(platform.settings) as instance:
        schedule, sensor = defs.resolve_schedule_def("nacht"), defs.resolve_sensor_def("nacht_vervolg")
        moment = datetime(night.year, night.month, night.day, 2, 30, tzinfo=LOCAL)
        with dg.build_schedule_context(
            instance=instance,
            scheduled_execution_time=moment.astimezone(UTC),
            repository_def=defs.get_repository_def(),
        ) as at_night:
            requests = list(schedule.evaluate_tick(at_night).run_requests or [])
        ended.append((FETCH, _executed(defs, instance, FETCH, requests[0], SCHEDULED)))
        while len(ended) < most:
            with dg.build_sensor_context(instance=instance, definitions=defs) as context:
                tick = sensor.evaluate_tick(context)
            if not tick.run_requests:
                assert tick.skip_message == f"nacht {night.isoformat()} is klaar"
                return ended
            (request,) = tick.run_requests
            ended.append((str(request.job_name), _executed(defs, instance, str(request.job_name), request)))
    raise AssertionError(f"the night did not end in {most} runs: {ended}")


def _executed(
    defs: dg.Definitions,
    instance: dg.DagsterInstance,
    job: str,
    request: dg.RunRequest,
    tags: Mapping[str, str] | None = None,
) -> bool:
    result = defs.resolve_job_def(job).execute_in_process(
        instance=instance,
        tags={**request.tags, **(tags or {})},
        asset_selection=list(request.asset_selection) if request.asset_selection else None,
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        raise_on_error=False,
    )
    return bool(result.success)


def figures(platform: Platform) -> dict[str, pd.DataFrame]:
    """The published tables of the experiment."""
    return {n: t for n, t in toolbox.published(platform).items() if n.startswith("snuffelfiets_")}


@pytest.mark.full
def test_command_and_sensor_make_the_same_tables(
    by_command: tuple[Platform, list[Ran]], tmp_path: Path
) -> None:
    command, ran = by_command
    # The second run of the work is of the tables that read the figures of all experiments.
    expected = [(FETCH, True), (PROCESS, True), (PROCESS, True), (PUBLISH, True)]
    assert [(r.next.job, r.success) for r in ran] == expected
    sensor = toolbox.installation(tmp_path / "home", NOW)
    toolbox.drop(tmp_path / "home", "november.csv", november(tmp_path, DAYS))
    assert by_sensor(sensor, date(2025, 1, 10)) == expected
    made = toolbox.tables(command)
    assert toolbox.differing(made, toolbox.tables(sensor)) == []
    assert toolbox.differing(figures(command), figures(sensor)) == []
    assert figures(command)["snuffelfiets_pm25_cel"]["pm25_ug_m3"].notna().any()
    # Counter-test: one figure of one table is enough to differ.
    other = made | {"snuffelfiets/indicators/pm25_cel": made["snuffelfiets/indicators/pm25_cel"].iloc[1:]}
    assert toolbox.differing(made, other) == ["snuffelfiets/indicators/pm25_cel"]


@pytest.mark.full
def test_publishing_goes_on_with_the_last_good_versions(
    by_command: tuple[Platform, list[Ran]], tmp_path: Path
) -> None:
    home = Path(shutil.copytree(by_command[0].settings.home, tmp_path / "home"))
    platform = toolbox.installation(home, NOW)
    before = toolbox.published(platform)
    # A whole day with a median that no day has: the unit of another firmware.
    toolbox.drop(home, "eenheid.csv", november(tmp_path, [date(2024, 11, 20)], 140, first_id=9001))
    ran = by_sensor(platform, date(2025, 1, 11))
    assert ran[0] == (FETCH, True) and ran[-1] == (PUBLISH, True)
    assert (PROCESS, False) in ran
    after = toolbox.published(platform)
    for table in figures(platform):
        pd.testing.assert_frame_equal(after[table], before[table])
    assert after["release"]["release_id"].item() != before["release"]["release_id"].item()
    assert (verdict_on_median(before), verdict_on_median(after)) == ("geslaagd", "niet_geslaagd")
    # The day that was refused stays pending: a next night tries it again.
    pending = {p.partition for p in platform.plan().pending() if p.table == CLEANED}
    assert "2024-11-20" in pending


def verdict_on_median(published: Mapping[str, pd.DataFrame]) -> str:
    """What the table of data quality says of the rule on a day's median."""
    rules = published["datakwaliteit"]
    return str(rules.loc[(rules["tabel"] == CLEANED) & (rules["regel"] == MEDIAN), "oordeel"].item())


# -- No night without end --------------------------------------------------------------------------------


def always_raises(step: Step) -> Offered:
    raise OSError("the disk is full")


@pytest.mark.parametrize(
    ("path", "table"), [("command", CLEANED), ("sensor", "snuffelfiets/indicators/pm25_cel")]
)
def test_a_step_that_always_raises_ends_the_night(
    by_command: tuple[Platform, list[Ran]], tmp_path: Path, path: str, table: str
) -> None:
    home = Path(shutil.copytree(by_command[0].settings.home, tmp_path / "home"))
    tables: dict[str, GatedTable] = dict(by_command[0].tables)
    tables[table] = dataclasses.replace(tables[table], make=always_raises)
    platform = build_platform(toolbox.installation(home, NOW).settings, tables)
    before = figures(platform)
    if path == "command":
        ran = [(r.next.job, r.success) for r in toolbox.night(platform)]
    else:
        ran = by_sensor(platform, date(2025, 1, 11))
    counted = Counter(ran)
    assert ran[0] == (FETCH, True) and ran[-1] == (PUBLISH, True)
    # All days of the table are pending since its code changed: once all together, and not once more.
    assert counted[(PROCESS, False)] == 1 and len(ran) <= 4
    assert toolbox.differing(before, figures(platform)) == []
    with open_instance(platform.settings) as instance:
        works = [r.tags[WORK_TAG] for r in instance.get_runs(dg.RunsFilter(job_name=PROCESS))]
    assert len(works) == len(set(works))
