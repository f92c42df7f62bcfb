"""What the web server tells: the catalogue before any run, and a night of the command line.

Two servers look at one home: `dg dev`, as `make dev` starts it, and the read-only web server of
`workspace.yaml`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from services import ROOT, ROWS_A_DAY, Graphql, ckan_export, koploper, new_home, running

from koploper_pipelines.contracts.model import SOURCE_RULE

CONTRACTS = ROOT / "koploper_pipelines" / "contracts"
DAYS = (date(2024, 11, 11), date(2024, 11, 12))
FOOTPRINT = timedelta(days=2)
"""Rides cross midnight, and a day's rides depend on the day before: the days around are made too."""
CLEANED = ["snuffelfiets", "cleaned", "metingen"]

CATALOGUE = """
{ assetNodes {
    assetKey { path } groupName kinds description isPartitioned jobNames
    owners { ... on TeamAssetOwner { team } }
    metadataEntries { ... on TableSchemaMetadataEntry { schema { columns { name type description } } } }
    assetChecksOrError { ... on AssetChecks { checks { name description blocking } } }
    assetMaterializations(limit: 1) { runId }
} }
"""
RUNS = """
{ runsOrError { ... on Runs { results { runId jobName status creationTime tags { key value } } } } }
"""
CHECK = """
query Check($asset: AssetKeyInput!, $name: String!) {
  assetCheckExecutions(assetKey: $asset, checkName: $name, limit: 5) {
    runId status
    evaluation { success metadataEntries {
      label ... on TextMetadataEntry { text } ... on IntMetadataEntry { intValue }
    } }
  }
}
"""
ASSET = """
query Asset($asset: AssetKeyInput!) {
  assetNodeOrError(assetKey: $asset) { ... on AssetNode {
    assetPartitionStatuses { ... on TimePartitionStatuses { ranges { status startKey endKey } } }
    assetMaterializations(limit: 1) { runId metadataEntries { label ... on IntMetadataEntry { intValue } } }
  } }
}
"""


@dataclass(frozen=True)
class Looked:
    """One home, the two servers on it, and the catalogue as it was before anything had run."""

    home: Path
    dev: Graphql
    read_only: Graphql
    listening: frozenset[str]
    """The addresses that the processes of `dg dev` listen on."""
    catalogue: Mapping[str, Mapping[str, Any]]


@pytest.fixture(scope="module")
def looked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Looked]:
    home = new_home(tmp_path_factory.mktemp("graphql"))
    dev, read_only = Graphql(), Graphql()
    with (
        running(home, "dg", "dev", "--use-active-venv", "--port", dev.port) as dg_dev,
        running(
            home,
            "dagster-webserver",
            "--read-only",
            "--workspace",
            "workspace.yaml",
            "--port",
            read_only.port,
        ) as webserver,
    ):
        dev.wait_until_loaded(dg_dev)
        read_only.wait_until_loaded(webserver)
        catalogue = {"/".join(n["assetKey"]["path"]): n for n in dev.ask(CATALOGUE)["assetNodes"]}
        yield Looked(home, dev, read_only, _listening(dg_dev.pid), catalogue)


@pytest.fixture(scope="module")
def night(looked: Looked) -> list[Mapping[str, Any]]:
    """The runs of a night started with `koploper refresh`, oldest first."""
    ckan_export(looked.home / "inbox" / "snuffelfiets" / "november.csv", DAYS, pm25_ug_m3=12)
    said = koploper(looked.home, "refresh")
    assert said.returncode == 0, said.stdout + said.stderr
    runs = looked.dev.ask(RUNS)["runsOrError"]["results"]
    return [
        r | {"tags": _by("key", r["tags"], "value")} for r in sorted(runs, key=lambda r: r["creationTime"])
    ]


def _listening(pid: int) -> frozenset[str]:
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    connections = [c for process in family for c in process.net_connections("inet")]
    return frozenset(c.laddr.ip for c in connections if c.status == psutil.CONN_LISTEN)


def _by(key: str, entries: list[dict[str, Any]], value: str) -> dict[str, Any]:
    return {e[key]: e.get(value) for e in entries}


def _around(days: Sequence[date]) -> tuple[str, str]:
    return (min(days) - FOOTPRINT).isoformat(), (max(days) + FOOTPRINT).isoformat()


def _contracts() -> dict[str, dict[str, Any]]:
    """The contracts as they are written, not as the package reads them."""
    return {
        str(file.relative_to(CONTRACTS).with_suffix("")): yaml.safe_load(file.read_text("utf-8"))
        for file in CONTRACTS.glob("*/*/*.yaml")
    }


# -- Before any run ------------------------------------------------------------------------------------------


def test_the_catalogue_is_complete_before_any_run(looked: Looked) -> None:
    contracts = _contracts()
    assert len(contracts) >= 16
    # The release is no table, so it has no contract.
    assert looked.catalogue.keys() - contracts.keys() == {"publicatie/release/database"}
    for path, contract in contracts.items():
        node, schema = looked.catalogue[path], contract["schema"][0]
        experiment, layer, _ = path.split("/")
        assert node["groupName"] == experiment, path
        assert layer in node["kinds"], path
        assert [o["team"] for o in node["owners"]] == [contract["team"]["name"].removeprefix("team:")], path
        assert contract["name"] in node["description"], path
        assert schema["description"] in node["description"], path
        columns = [c for e in node["metadataEntries"] if "schema" in e for c in e["schema"]["columns"]]
        written = [(p["name"], p["logicalType"]) for p in schema["properties"]]
        assert [(c["name"], c["type"]) for c in columns] == written, path
        for column, prop in zip(columns, schema["properties"], strict=True):
            assert column["description"].startswith(prop["description"]), (path, column)


def test_every_rule_of_a_contract_is_a_check_that_says_why(looked: Looked) -> None:
    for path, contract in _contracts().items():
        checks = {c["name"]: c for c in looked.catalogue[path]["assetChecksOrError"]["checks"]}
        rules = contract["schema"][0]["quality"]
        assert rules, path
        for rule in rules:
            check = checks[rule["name"]]
            assert rule["description"] in check["description"], (path, rule["name"])
            assert rule["businessImpact"] in check["description"], (path, rule["name"])
            assert check["blocking"] is (rule["severity"] == "critical"), (path, rule["name"])


def test_nothing_is_shown_as_made_before_it_is(looked: Looked) -> None:
    assert not [path for path, node in looked.catalogue.items() if node["assetMaterializations"]]


def test_each_table_belongs_to_one_of_the_jobs_of_a_night(looked: Looked) -> None:
    jobs = {
        path: set(node["jobNames"]) & {"ophalen", "verwerken", "publiceren"}
        for path, node in looked.catalogue.items()
    }
    assert jobs["snuffelfiets/raw/metingen"] == {"ophalen"}
    assert jobs["snuffelfiets/published/overzicht"] == {"verwerken"}
    assert jobs["publicatie/release/database"] == {"publiceren"}
    assert all(len(found) == 1 for found in jobs.values()), jobs


def test_it_listens_on_this_machine_only_and_asks_for_no_sign_up(looked: Looked) -> None:
    assert looked.listening and looked.listening <= {"127.0.0.1", "::1"}
    for server in (looked.dev, looked.read_only):
        assert server.ask("{ shouldShowNux }") == {"shouldShowNux": False}


# -- A night of the command line -----------------------------------------------------------------------------


def test_a_night_of_the_command_line_shows_with_its_jobs_and_days(night: list[Mapping[str, Any]]) -> None:
    # The second is of the tables that read the figures of all experiments.
    assert [r["jobName"] for r in night] == ["ophalen", "verwerken", "verwerken", "publiceren"]
    assert {r["status"] for r in night} == {"SUCCESS"}
    (name,) = {r["tags"]["koploper/nacht"] for r in night}
    assert name.startswith("hand-")
    first, last = (night[1]["tags"][f"dagster/asset_partition_range_{end}"] for end in ("start", "end"))
    assert (first, last) == _around(DAYS)


def test_every_check_of_every_table_was_judged_in_the_night(
    looked: Looked, night: list[Mapping[str, Any]]
) -> None:
    runs = {r["runId"] for r in night}
    rules = {(p, r["name"]): r for p, c in _contracts().items() for r in c["schema"][0]["quality"]}
    # An experiment of which nothing has landed has nothing to judge.
    made = {p for p in looked.catalogue if (looked.home / "lake" / p / "_delta_log").is_dir()}
    assert any(p.startswith("snuffelfiets/") for p in made)
    judged = 0
    for path, node in looked.catalogue.items():
        for check in node["assetChecksOrError"].get("checks", ()):
            name = check["name"]
            found = looked.dev.ask(CHECK, asset={"path": path.split("/")}, name=name)["assetCheckExecutions"]
            # Nothing was delivered for it, and no source on the network is set.
            if name == SOURCE_RULE or not (looked.home / "lake" / path).is_dir():
                assert {e["status"] for e in found} <= {"SKIPPED"}, (path, name)
                continue
            assert found, (path, name)
            assert {e["runId"] for e in found} <= runs, (path, name)
            assert {e["status"] for e in found} == {"SUCCEEDED" if path in made else "SKIPPED"}, (path, name)
            if path not in made:
                continue
            says = _by("label", found[0]["evaluation"]["metadataEntries"], "text")
            if (path, name) in rules:
                assert says["regel"] == rules[path, name]["description"], (path, name)
            judged += 1
    assert judged >= sum(path in made for path, _ in rules)


def test_rows_are_counted_and_only_the_days_near_them_are_materialised(
    looked: Looked, night: list[Mapping[str, Any]]
) -> None:
    check = {"asset": {"path": CLEANED}, "name": "pm25_dagmediaan_plausibel"}
    (found,) = looked.dev.ask(CHECK, **check)["assetCheckExecutions"]
    rows = ROWS_A_DAY * len(DAYS)
    assert _by("label", found["evaluation"]["metadataEntries"], "intValue")["beoordeelde_rijen"] == rows
    node = looked.dev.ask(ASSET, asset={"path": CLEANED})["assetNodeOrError"]
    made = [(r["status"], r["startKey"], r["endKey"]) for r in node["assetPartitionStatuses"]["ranges"]]
    assert made == [("MATERIALIZED", *_around(DAYS))]
    counts = _by("label", node["assetMaterializations"][0]["metadataEntries"], "intValue")
    # A number of the run may not stand as that of each of its days.
    assert counts["rijen_van_de_run"] == rows
    assert "dagster/partition_row_count" not in counts
    raw = looked.dev.ask(ASSET, asset={"path": ["snuffelfiets", "raw", "metingen"]})["assetNodeOrError"]
    (landed,) = raw["assetMaterializations"]
    assert landed["runId"] == night[0]["runId"]
    assert _by("label", landed["metadataEntries"], "intValue")["dagster/row_count"] == rows


def test_both_servers_tell_the_same_of_a_night(looked: Looked, night: list[Mapping[str, Any]]) -> None:
    assert looked.read_only.ask(RUNS) == looked.dev.ask(RUNS)


# -- Read only -----------------------------------------------------------------------------------------------


def test_the_schedule_is_on_and_only_the_open_server_can_stop_it(looked: Looked) -> None:
    schedule = looked.dev.schedule()
    assert (schedule["name"], schedule["cronSchedule"]) == ("nacht", "30 2 * * *")
    assert schedule["executionTimezone"] == "Europe/Amsterdam"
    assert schedule["scheduleState"]["status"] == "RUNNING"
    assert looked.read_only.stop_schedule()["__typename"] == "UnauthorizedError"
    assert looked.dev.schedule()["scheduleState"]["status"] == "RUNNING"
    # The same question to the other server is granted, so it is the mode that refused.
    assert looked.dev.stop_schedule()["__typename"] == "ScheduleStateResult"
    assert looked.dev.schedule()["scheduleState"]["status"] == "STOPPED"
