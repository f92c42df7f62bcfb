"""Dagster's event log on SQLite, with its connections kept open.

Here belongs the storage that `dagster.yaml` names. Dagster's own opens a database engine for every event
and closes it again: each statement is compiled anew, each table looked up, and SQLite's write-ahead log
folded back into its file. A night of eighty tables writes thousands of events, one for each rule among them;
that was a third of its time. Files, folders and tables stay Dagster's, so that an installation can go back
by leaving this storage out of its `dagster.yaml`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME, SqliteEventLogStorage
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage, _event_logs_directory

if TYPE_CHECKING:
    from dagster import EventLogEntry
    from dagster._serdes import ConfigurableClassData
    from sqlalchemy import Connection, Engine

MOST_OPEN = 8
"""Files of runs that are kept open, the last used; a web server looks into hundreds."""


class EventLog(SqliteEventLogStorage):
    """The events of an installation: a file for each run and an index over them."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        """`base_dir` is the folder of the files."""
        self._engines: dict[str, Engine] = {}
        self._tables: set[str] = set()
        self._begun: dict[str, Connection] = {}
        # One thread at a time, as in Dagster's own; but whoever holds it may ask for it again.
        self._lock = threading.RLock()
        super().__init__(base_dir, inst_data)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        # The connection of a file is shared by all threads.
        with self._lock:
            if shard in self._begun:
                yield self._begun[shard]
                return
            with self._engine(shard).begin() as connection:
                yield connection

    @contextmanager
    def _at_once(self, shard: str) -> Iterator[None]:
        """All that is written to a file meanwhile goes into one transaction."""
        with self._connect(shard) as connection:
            self._begun[shard] = connection
            try:
                yield
            finally:
                del self._begun[shard]

    def _engine(self, shard: str) -> Engine:
        engine = self._engines.pop(shard, None) or self._opened(shard)
        self._engines[shard] = engine
        for oldest in [s for s in self._engines if s != INDEX_SHARD_NAME][:-MOST_OPEN]:
            self._engines.pop(oldest).dispose()
        return engine

    def _opened(self, shard: str) -> Engine:
        from dagster._core.storage.sql import create_engine
        from sqlalchemy import event
        from sqlalchemy.pool import StaticPool

        engine = create_engine(
            self.conn_string_for_shard(shard),
            poolclass=StaticPool,
            connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS, "check_same_thread": False},
        )
        event.listen(engine, "connect", _without_waiting_for_the_disk)
        if shard not in self._initialized_dbs:
            self._initdb(engine)
            self._initialized_dbs.add(shard)
        return engine

    def store_event(self, event: EventLogEntry) -> None:
        """Add an event to the log, and wake who watches the file of its run."""
        self.store_event_batch([event])

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Add events to the log, those of a run all or none, and wake who watches the file of their run."""
        for run_id, of_run in groupby(events, key=attrgetter("run_id")):
            # The index is closed last, as when Dagster writes to the one after the other.
            with self._at_once(INDEX_SHARD_NAME), self._at_once(run_id):
                for event in of_run:
                    super().store_event(event)
            # A page that shows a run waits for its file to change; an open write-ahead log leaves it be.
            os.utime(self.path_for_shard(run_id))

    def has_table(self, table_name: str) -> bool:
        """Whether the index has a table; what was there once stays."""
        if table_name not in self._tables and super().has_table(table_name):
            self._tables.add(table_name)
        return table_name in self._tables

    def wipe(self) -> None:
        """Remove all events, and the files of the runs."""
        self._close()
        super().wipe()

    def dispose(self) -> None:
        """Close what is open."""
        self._close()
        super().dispose()

    def _close(self) -> None:
        with self._lock:
            for engine in self._engines.values():
                engine.dispose()
            self._engines.clear()
            self._tables.clear()


class SqliteStorage(DagsterSqliteStorage):
    """Dagster's SQLite storage with this event log in it."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        """`base_dir` is the folder of the instance."""
        super().__init__(base_dir, inst_data)
        self._event_log_storage = EventLog(_event_logs_directory(base_dir))

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData, config_value: Mapping[str, Any]
    ) -> SqliteStorage:
        """As `dagster.yaml` configures it."""
        return cls.from_local(inst_data=inst_data, **config_value)


def _without_waiting_for_the_disk(connection: Any, _: object) -> None:
    """With a write-ahead log this can lose the last events at a power cut, and never damages the file."""
    connection.execute("PRAGMA synchronous=NORMAL")
