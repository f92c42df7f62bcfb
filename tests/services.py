"""An installation from the outside: the commands and servers a person starts on it, and a raw file for it.

Each command is a process of its own, on a home of its own; a server is gone, with everything it started, when
its test is done.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from datetime import time as clock_time
from pathlib import Path
from typing import Any

from koploper_pipelines.automation.run import open_instance
from koploper_pipelines.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
START_S = 240
"""A server imports Dagster in up to four processes; with both cores taken that lasts a minute and more."""
CKAN_COLUMNS = (
    "_id", "entity_id", "recording_timestamp", "receive_timestamp", "acc_max", "error_code",
    "horizontal_accuracy", "humidity", "latitude", "longitude", "no2", "pm10", "pm1_0", "pm2_5", "pressure",
    "temperature", "version_major", "version_minor", "vertical_accuracy", "voc", "voltage",
)  # fmt: skip
ROWS_A_DAY = 60
SCHEDULES = """
{ workspaceOrError { ... on Workspace { locationEntries { locationOrLoadError {
    ... on RepositoryLocation { repositories { schedules {
        name cronSchedule executionTimezone scheduleState { id status }
    } } }
} } } } }
"""
STOP = """
mutation Stop($id: String!) {
  stopRunningSchedule(id: $id) { __typename }
}
"""


def new_home(folder: Path) -> Path:
    """An installation in a folder, before anything has run."""
    home = folder / "home"
    # Two servers that start on a home without Dagster's storage both make its tables, and one fails.
    with open_instance(Settings(home=home)):
        return home


def environment(home: Path) -> dict[str, str]:
    """The environment of a command on an installation, with none of the caller's own settings."""
    own = {k: v for k, v in os.environ.items() if not k.startswith(("KOPLOPER_", "DAGSTER_"))}
    path = f"{BIN}{os.pathsep}{own.get('PATH', '')}"
    return own | {"KOPLOPER_HOME": str(home), "DAGSTER_HOME": str(home / "dagster"), "PATH": path}


def koploper(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """What the `koploper` command says."""
    return subprocess.run(
        [BIN / "koploper", *arguments],
        env=environment(home),
        cwd=home,
        capture_output=True,
        text=True,
        timeout=START_S,
        check=False,
    )


@contextmanager
def running(home: Path, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    """A long-running command; its output goes to a log beside the home."""
    # What a killed process leaves behind, sockets among it, whose paths may not be long.
    scratch = tempfile.mkdtemp(prefix="koploper-")
    log = home.parent / f"{command[0]}-{home.name}.log"
    try:
        with (
            log.open("ab") as output,
            subprocess.Popen(
                [BIN / command[0], *command[1:]],
                env=environment(home) | {"TMPDIR": scratch},
                cwd=ROOT,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            ) as process,
        ):
            try:
                yield process
            finally:
                # All of its group at once: asked to end, some of these servers take longer than a test.
                os.killpg(process.pid, signal.SIGKILL)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


class Graphql:
    """The GraphQL of a web server on this machine, on a port that was free."""

    def __init__(self) -> None:
        self.port = str(_free_port())
        self.url = f"http://127.0.0.1:{self.port}"
        # Whatever proxy the machine has, it is not for the machine itself.
        self._open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """The answer's data; errors are a failure."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(
            f"{self.url}/graphql", data=body, headers={"Content-Type": "application/json"}
        )
        with self._open(request, timeout=START_S) as answer:
            said = json.load(answer)
        assert not said.get("errors"), said["errors"]
        return dict(said["data"])

    def schedule(self) -> dict[str, Any]:
        """The nightly schedule."""
        (entry,) = self.ask(SCHEDULES)["workspaceOrError"]["locationEntries"]
        (schedule,) = entry["locationOrLoadError"]["repositories"][0]["schedules"]
        return dict(schedule)

    def stop_schedule(self) -> dict[str, Any]:
        """Ask to stop the nightly schedule; what came of it."""
        return dict(self.ask(STOP, id=self.schedule()["scheduleState"]["id"])["stopRunningSchedule"])

    def wait_until_loaded(self, process: subprocess.Popen[bytes]) -> None:
        """Return when the server answers and has the code location."""
        deadline = time.monotonic() + START_S
        while True:
            try:
                found = self.ask("{ repositoriesOrError { __typename } }")["repositoriesOrError"]
            except (urllib.error.URLError, ConnectionError) as error:
                assert not _has_ended(process), "the server ended by itself; see its log beside the home"
                assert time.monotonic() < deadline, f"no answer within {START_S} s: {error}"
                time.sleep(0.3)
            else:
                assert found["__typename"] == "RepositoryConnection", found
                return


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    # Without collecting it: until then nothing else can get its number, which is that of its group.
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def ckan_export(path: Path, days: Sequence[date], *, pm25_ug_m3: float, first_id: int = 1) -> None:
    """A CKAN export: on each day three devices measure every 30 s for ten minutes, all rows usable."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(CKAN_COLUMNS)
        number = first_id
        for day in days:
            for device in range(3):
                start = datetime.combine(day, clock_time(8, 10 * device))
                for n in range(ROWS_A_DAY // 3):
                    rows.writerow(_row(number, device, start + timedelta(seconds=30 * n), n, pm25_ug_m3))
                    number += 1


def _row(number: int, device: int, moment: datetime, n: int, pm25_ug_m3: float) -> list[object]:
    received = moment + timedelta(minutes=1)
    position = (f"{52.09 + 0.001 * n:.6f}", f"{5.12 + 0.002 * device:.6f}")
    # Firmware 2 sends hundredths of µg/m³, tenths of °C and millimetres.
    pm10, pm1, pm25 = (round(pm25_ug_m3 * share * 100) for share in (1.3, 0.6, 1))
    return [
        number, 358_000_000_000_000 + device, moment.isoformat(), received.isoformat(), 40, 0, 3000, 70,
        *position, 0, pm10, pm1, pm25, 1011, 185, 2, 3, 4000, 40, 113,
    ]  # fmt: skip
