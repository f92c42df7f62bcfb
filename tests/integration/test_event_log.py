"""Dagster's event log with its connections kept: the same log, opened a few times instead of thousands."""

import logging
import multiprocessing
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from sqlalchemy import Connection, Engine, event
from sqlalchemy.pool import Pool

from koploper_pipelines.automation.run import open_instance
from koploper_pipelines.resources.event_log import MOST_OPEN, EventLog
from koploper_pipelines.settings import Settings


@dg.asset(check_specs=[dg.AssetCheckSpec(f"regel_{i}", asset="tabel") for i in range(10)])
def tabel() -> Iterator[object]:
    """An asset with ten checks."""
    yield dg.MaterializeResult()
    for i in range(10):
        yield dg.AssetCheckResult(check_name=f"regel_{i}", passed=i != 3, severity=dg.AssetCheckSeverity.WARN)


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    """The instance of a new home, as the command line opens it."""
    monkeypatch.setenv("DAGSTER_HOME", "is set by whoever opens an instance")
    with open_instance(Settings(home=tmp_path)) as opened:
        yield opened


def events_of(run_id: str) -> list[dg.EventLogEntry]:
    """Two events of a run, without Dagster's machinery around them."""
    return [
        dg.EventLogEntry(
            error_info=None,
            level=logging.INFO,
            user_message=f"{run_id} {i}",
            run_id=run_id,
            timestamp=time.time(),
        )
        for i in range(2)
    ]


def test_files_are_opened_once(instance: dg.DagsterInstance) -> None:
    """Of a run with dozens of events, the file of the run and the index are each opened once."""
    opened: list[str] = []

    def note(connection: object, record: object) -> None:
        (row,) = connection.execute("PRAGMA database_list").fetchall()  # type: ignore[attr-defined]
        opened.append(Path(row[2]).name)

    event.listen(Pool, "connect", note)
    try:
        result = dg.materialize([tabel], instance=instance)
    finally:
        event.remove(Pool, "connect", note)
    runs = [name for name in opened if name == f"{result.run_id}.db"]
    assert runs == [f"{result.run_id}.db"]
    # Dagster's own look-up of a table opens the index once for each table that it asks for.
    assert opened.count("index.db") <= 4


def test_dagster_itself_reads_what_is_written(instance: dg.DagsterInstance) -> None:
    """The log is Dagster's: its own storage finds every event, while this one is still open."""
    assert isinstance(instance.event_log_storage, EventLog)
    run_id = dg.materialize([tabel], instance=instance).run_id
    own = SqliteEventLogStorage(str(Path(instance.root_directory) / "history" / "runs"))
    checks = [e for e in own.get_logs_for_run(run_id) if e.dagster_event_type is not None]
    evaluated = [e for e in checks if e.dagster_event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION]
    assert len(evaluated) == 10
    assert [e.message for e in own.get_logs_for_run(run_id)] == [
        e.message for e in instance.event_log_storage.get_logs_for_run(run_id)
    ]


def test_what_dagster_itself_wrote_is_read(tmp_path: Path) -> None:
    """An installation that ran on Dagster's own storage keeps its history."""
    own = SqliteEventLogStorage(str(tmp_path))
    for entry in events_of("eerder"):
        own.store_event(entry)
    log = EventLog(str(tmp_path))
    assert [e.user_message for e in log.get_logs_for_run("eerder")] == ["eerder 0", "eerder 1"]
    log.dispose()


def test_a_few_files_stay_open(tmp_path: Path) -> None:
    """However many runs are looked into, as a web server does, the number of open files stays small."""
    log = EventLog(str(tmp_path))
    runs = [f"run{i}" for i in range(3 * MOST_OPEN)]
    for run in runs:
        for entry in events_of(run):
            log.store_event(entry)
    files = [os.path.realpath(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd")]
    mine = {f for f in files if f.startswith(str(tmp_path.resolve())) and f.endswith(".db")}
    assert 0 < len(mine) <= MOST_OPEN + 1
    # A file that was closed meanwhile is opened again.
    assert [len(log.get_logs_for_run(run)) for run in runs] == [2] * len(runs)
    log.dispose()


def test_who_watches_a_run_sees_its_events_as_they_come(tmp_path: Path) -> None:
    """The page of a run in a web server is told of an event while the run goes on writing."""
    log, page = EventLog(str(tmp_path)), SqliteEventLogStorage(str(tmp_path))
    first, second = events_of("nu")
    log.store_event(first)
    seen: list[str] = []
    came = threading.Event()

    def note(entry: dg.EventLogEntry, cursor: str) -> None:
        seen.append(entry.user_message)
        came.set()

    cursor = page.get_records_for_run("nu").cursor
    page.watch("nu", cursor, note)
    log.store_event(second)
    assert came.wait(60)
    assert seen == ["nu 1"]
    page.end_watch("nu", note)
    page.dispose()
    log.dispose()


def test_what_a_run_plans_is_written_at_once(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plans of a run's checks are one transaction a file, and each is told as when written alone."""
    commits: list[str] = []

    def note(connection: Connection) -> None:
        commits.append(Path(str(connection.engine.url.database)).name)

    def planned(run: dg.DagsterRun) -> list[str]:
        kind = dg.DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED
        return [e.message for e in instance.all_logs(run.run_id, kind)]

    def plan() -> dg.DagsterRun:
        job = dg.Definitions([tabel]).resolve_implicit_global_asset_job_def()
        return instance.create_run_for_job(job, asset_selection=frozenset({tabel.key}))

    event.listen(Engine, "commit", note)
    try:
        together, of_together = plan(), Counter(commits)
        commits.clear()
        monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "0")
        alone, of_alone = plan(), Counter(commits)
    finally:
        event.remove(Engine, "commit", note)
    assert planned(together) == planned(alone)
    assert len(planned(together)) == 10
    # The eleventh is of the materialization.
    assert of_alone[f"{alone.run_id}.db"] - of_together[f"{together.run_id}.db"] == 10


def test_events_of_a_run_are_written_all_or_none(tmp_path: Path) -> None:
    """Of a batch in which one event cannot be written, none stays behind."""
    log = EventLog(str(tmp_path))
    first, second = events_of("half")
    with pytest.raises(ValueError, match="out of range"):
        # No moment that a calendar has.
        log.store_event_batch([first, second._replace(timestamp=1e13)])
    assert list(log.get_logs_for_run("half")) == []
    log.store_event_batch([first, second])
    assert len(log.get_logs_for_run("half")) == 2
    log.dispose()


def test_wiped_log_takes_new_events(tmp_path: Path) -> None:
    """After a wipe nothing is left, and nothing is written to files that are gone."""
    log = EventLog(str(tmp_path))
    for run in ("een", "een"):
        log.store_event(events_of(run)[0])
    log.wipe()
    assert list(log.get_logs_for_run("een")) == []
    log.store_event(events_of("een")[0])
    assert len(SqliteEventLogStorage(str(tmp_path)).get_logs_for_run("een")) == 1
    log.dispose()


def write_and_die(folder: str, run_id: str, times: int) -> None:
    """In a process of its own: write events and end without closing anything."""
    log = EventLog(folder)
    for _ in range(times):
        for entry in events_of(run_id):
            log.store_event(entry)
    os.kill(os.getpid(), 9)


def test_processes_write_together_and_a_kill_loses_nothing(tmp_path: Path) -> None:
    """Two processes write to one run and are killed after their last event: all events are there."""
    EventLog(str(tmp_path)).dispose()
    processes = [
        multiprocessing.get_context("spawn").Process(target=write_and_die, args=(str(tmp_path), "samen", 25))
        for _ in range(2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == -9
    log = EventLog(str(tmp_path))
    assert len(log.get_logs_for_run("samen")) == 100
    log.dispose()
