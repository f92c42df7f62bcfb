"""The gate through Dagster: a selection cannot go round it, and no event in Dagster's log can open it.

Real runs on a real instance, with the toy experiment. How verdicts show as checks is tested with the events.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import dagster as dg
import pytest
from gatehouse import CLEAN, NEAR, RAW, House, drop, toy_tables
from services import running

from koploper_pipelines.automation.run import open_instance
from koploper_pipelines.gates.asset import asset_key, to_asset

DAY = "2024-02-01"
RULE = "gemiddelde_mogelijk"


@dataclass
class Installation:
    """A house with its Dagster instance."""

    house: House
    instance: dg.DagsterInstance

    def run(self, *tables: str) -> dg.ExecuteInProcessResult:
        """A run that selects only these tables, and the day at stake where they have days."""
        first_last = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
        defs = dg.Definitions(
            assets=[to_asset(t) for t in self.house.tables.values()],
            jobs=[dg.define_asset_job("alles")],
            resources={"platform": self.house.platform},
            executor=dg.in_process_executor,
        )
        return defs.resolve_job_def("alles").execute_in_process(
            instance=self.instance,
            asset_selection=[asset_key(t) for t in tables],
            tags={} if RAW in tables else dict.fromkeys(first_last, DAY),
            raise_on_error=False,
        )

    def checks(self, result: dg.ExecuteInProcessResult) -> dict[str, bool]:
        """What a run's checks said."""
        return {c.check_name: c.passed for c in result.get_asset_check_evaluations()}

    def is_passed(self, check: str) -> bool:
        """What Dagster's own log says of a check of the cleaned table."""
        key = dg.AssetCheckKey(asset_key(CLEAN), check)
        record = self.instance.event_log_storage.get_latest_asset_check_execution_by_key([key])[key]
        assert record.evaluation is not None
        return record.evaluation.passed


@pytest.fixture(scope="module")
def after_a_failed_gate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose cleaned table has one good version, and then failed its gate with other rows."""
    home = tmp_path_factory.mktemp("dagster") / "huis"
    house = House(home, toy_tables())
    with open_instance(house.settings) as instance:
        here = Installation(house, instance)
        drop(home, "een.csv", [(1, DAY, 0, "a", 3.0)])
        assert here.run(RAW).success
        assert here.run(CLEAN, NEAR).success
        drop(home, "twee.csv", [(2, DAY, 0, "a", 4.0)])
        assert here.run(RAW).success
        house.breaks(waarden=[DAY])
        failed = here.run(CLEAN, NEAR)
        assert not failed.success
        assert here.checks(failed)[RULE] is False
        # The run stops there: no materialisation of the table, and none of what reads it.
        assert failed.get_asset_materialization_events() == []
        assert not here.is_passed(RULE)
    return home


@pytest.fixture
def installation(after_a_failed_gate: Path, tmp_path: Path) -> Iterator[Installation]:
    house = House(Path(shutil.copytree(after_a_failed_gate, tmp_path / "huis")), toy_tables())
    with open_instance(house.settings) as instance:
        yield Installation(house, instance)


def _reads_the_last_good_version(here: Installation) -> None:
    """A run that selects only what comes after the refused table."""
    before = here.house.rows(CLEAN)
    again = here.run(NEAR)
    assert again.success
    assert here.house.rows(CLEAN) == before
    assert [r["waarde"] for r in before] == [3.0]
    assert [r["som_buren"] for r in here.house.rows(NEAR)] == [3.0]
    assert DAY in here.house.pending()[CLEAN]


def test_a_run_of_only_what_comes_after_reads_the_last_good_version(installation: Installation) -> None:
    _reads_the_last_good_version(installation)


def test_rows_that_are_committed_do_show(installation: Installation) -> None:
    """The counter-test: what a gate lets through is what the next table reads."""
    cleaned = installation.house.tables[CLEAN]
    rules = tuple(r for r in cleaned.contract.rules if r.name != RULE)
    unguarded = replace(cleaned, contract=replace(cleaned.contract, rules=rules))
    house = installation.house.reopened(tables={**installation.house.tables, CLEAN: unguarded})
    row = {"nr": 1, "dag": DAY, "meter": "a", "waarde": 5000.0}
    assert house.admit(unguarded.contract, [row], rows_in=1).passed
    assert Installation(house, installation.instance).run(NEAR).success
    assert [r["som_buren"] for r in house.rows(NEAR)] == [5000.0]


def test_a_forged_check_does_not_open_the_gate(installation: Installation) -> None:
    """Anyone with the instance may report that the check passed and that the table was made."""
    key = asset_key(CLEAN)
    for check in installation.house.tables[CLEAN].contract.rules:
        forged = dg.AssetCheckEvaluation(asset_key=key, check_name=check.name, passed=True, metadata={})
        installation.instance.report_runless_asset_event(forged)
    installation.instance.report_runless_asset_event(dg.AssetMaterialization(key, partition=DAY))
    assert installation.is_passed(RULE)
    _reads_the_last_good_version(installation)


def test_nor_does_one_that_is_posted_to_the_web_server(installation: Installation) -> None:
    """The web server has no login: whoever reaches it may post what they like."""
    home, port = installation.house.home, _free_port()
    with running(home, "dagster-webserver", "--empty-workspace", "-p", str(port)) as process:
        _wait_until_it_answers(port, process)
        path = "/".join(asset_key(CLEAN).path)
        said = json.dumps({"check_name": RULE, "passed": True}).encode()
        for kind, body in (("report_asset_check", said), ("report_asset_materialization", b"{}")):
            url = f"http://127.0.0.1:{port}/{kind}/{path}"
            headers = {"Content-Type": "application/json"}
            with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=60) as answer:
                assert answer.status == 200
    assert installation.is_passed(RULE)
    _reads_the_last_good_version(installation)


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def _wait_until_it_answers(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(1200):
        assert process.poll() is None, "the web server ended"
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/server_info", timeout=10):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.2)
    pytest.fail("the web server does not answer")
