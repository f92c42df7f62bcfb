"""The `koploper` command as a person meets it: on small simulated homes, in this process."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake
from services import ckan_export
from typer.testing import CliRunner, Result

from koploper_pipelines import cli, cli_report
from koploper_pipelines.automation.night import Chosen, Next
from koploper_pipelines.automation.run import PROCESS_TAG, Ran, end_orphans, open_instance
from koploper_pipelines.build import build_platform
from koploper_pipelines.contracts.model import CONTRACTS_FOLDER
from koploper_pipelines.gates.audit import REDACTED
from koploper_pipelines.gates.step import Platform
from koploper_pipelines.resources.clock import LOCAL
from koploper_pipelines.settings import Settings
from koploper_pipelines.simulation.snuffelfiets import simulate

NOW = "2026-05-20T02:30:00+02:00"
FIRST, LAST = "2026-03-11", "2026-03-14"
KEY = "a secret of the tests, long enough to be one"
RAW, CLEANED = "snuffelfiets/raw/metingen", "snuffelfiets/cleaned/metingen"
NOT_DELIVERED = {
    "snuffelfiets/raw/gemeentegrenzen",
    "snuffelfiets/raw/wegtypen",
    "snuffelfiets/cleaned/wegtypen",
}
"""Tables of what the simulation does not deliver."""
"""Comes from a source on the network alone, which is not set here."""


def koploper(home: Path, *arguments: str, **env: str) -> Result:
    """Run the command on a home; only what the tests set stands in the environment."""
    env = {"KOPLOPER_NOW": NOW, "KOPLOPER_KEY": KEY, "KOPLOPER_HOME": str(home), **env}
    return CliRunner().invoke(cli.app, arguments, env=env, catch_exceptions=False)


def said(result: Result) -> str:
    """All that was said, as one line: the frame around an error breaks it up."""
    return " ".join(re.sub(r"[│╭╮╰╯─]", " ", result.stdout + result.stderr).split())


def facts(home: Path, *arguments: str, **env: str) -> Any:
    """What a reporting command says as JSON; there must be nothing else on its standard output."""
    result = koploper(home, *arguments, "--json", **env)
    assert result.exit_code == 0, said(result)
    return json.loads(result.stdout)


def platform_of(home: Path) -> Platform:
    return build_platform(Settings(home=home, now=datetime.fromisoformat(NOW), key=KEY))


def published_rows(home: Path) -> dict[str, list[Any]]:
    """Figures of the release, without what tells of the release itself."""
    with closing(sqlite3.connect(f"file:{home / 'warehouse' / 'published.sqlite'}?mode=ro", uri=True)) as con:
        names = [n for (n,) in con.execute("SELECT name FROM sqlite_master WHERE name LIKE 'snuffelfiets%'")]
        return {name: sorted(con.execute(f'SELECT * FROM "{name}"').fetchall(), key=str) for name in names}


@pytest.fixture(scope="module", autouse=True)
def one_experiment() -> Iterator[None]:
    """The demo of one experiment: a command is the same for all, and each takes its time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cli, "_simulators", lambda: ["snuffelfiets"])
        yield


@pytest.fixture(scope="module")
def first_night(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """A home after its first night, on a few days of a closed month, and what the command said."""
    home = tmp_path_factory.mktemp("koploper") / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cli, "_simulators", lambda: ["snuffelfiets"])
        patch.setattr("koploper_pipelines.simulation.snuffelfiets.DEVICES", 12)
        patch.setattr(cli, "_demo_days", lambda platform: {"first": FIRST, "last": LAST})
        return home, koploper(home, "demo")


@pytest.fixture
def home(first_night: tuple[Path, Result], tmp_path: Path) -> Path:
    """A home of its own after its first night."""
    return Path(shutil.copytree(first_night[0], tmp_path / "home"))


# -- A night -------------------------------------------------------------------------------------------------


def test_first_night_tells_what_it_made(first_night: tuple[Path, Result]) -> None:
    home, night = first_night
    rows = pq.read_metadata(home / "simulatie" / "snuffelfiets" / "seed-2026" / "rijen.parquet").num_rows
    assert night.exit_code == 0, said(night)
    assert f"{rows} rows in {home / 'inbox' / 'snuffelfiets'}" in said(night)
    for job in ("ophalen", "verwerken", "publiceren"):
        assert re.search(rf"{job} +passed", night.stdout)
    assert re.search(rf"{RAW} +0 +{rows} +0", night.stdout)
    kept, set_aside = re.findall(rf"{CLEANED} +0 +(\d+) +(\d+)", night.stdout)[0]
    assert int(kept) + int(set_aside) == rows
    # How far it is goes elsewhere, so that what came of it can be kept.
    assert f"  {CLEANED}\n" in night.stderr


def test_demo_shows_the_published_tables(first_night: tuple[Path, Result]) -> None:
    home, night = first_night
    for table, rows in published_rows(home).items():
        assert f"{table}: " in night.stdout
        assert f"({len(rows)} rows)" in night.stdout
    assert f"Published tables: {home / 'warehouse' / 'published.sqlite'}" in said(night)


def test_second_demo_says_that_nothing_is_new(home: Path) -> None:
    before = facts(home, "status")["tables"]
    again = koploper(home, "demo")
    assert again.exit_code == 0, said(again)
    assert "were delivered before" in again.stdout
    assert "Nothing new" in again.stdout
    assert "snuffelfiets_overzicht: " in again.stdout
    after = facts(home, "status")["tables"]
    assert [(t["table"], t["version"], t["rows"]) for t in after] == [
        (t["table"], t["version"], t["rows"]) for t in before
    ]


def test_night_of_the_command_line_is_in_the_instance_of_the_ui(home: Path) -> None:
    with open_instance(Settings(home=home)) as instance:
        runs = {run.job_name: run for run in instance.get_runs()}
        assert set(runs) == {"ophalen", "verwerken", "publiceren"}
        assert {run.tags["koploper/nacht"] for run in runs.values()} == {
            facts(home, "status")["last_night"]["night"]
        }
        assert all(run.tags[PROCESS_TAG].startswith(f"{os.getpid()} ") for run in runs.values())
        checks = instance.get_asset_records([dg.AssetKey(CLEANED.split("/"))])
        assert len(checks) == 1


def test_night_with_failures_says_what_failed_why_and_where_it_waits(home: Path, tmp_path: Path) -> None:
    before = published_rows(home)
    inbox = home / "inbox" / "snuffelfiets"
    (inbox / "half.csv").write_text("_id,entity_id\n1,2\n")
    in_wrong_unit(tmp_path / "unit", inbox / "eenheid.csv", date(2026, 3, 20))
    night = koploper(home, "refresh")
    waits = home / "inbox" / "afgekeurd" / "half.csv"
    assert night.exit_code == 1
    assert "with failures" in night.stdout
    for job, end in (("ophalen", "FAILED"), ("verwerken", "FAILED"), ("publiceren", "passed")):
        assert re.search(rf"{job} +{end}", night.stdout)
    assert f"refused: {waits}" in said(night)
    assert "recording_timestamp" in said(night)
    assert f"{CLEANED}: tegengehouden: 2026-03-20; de rest is vastgelegd" in said(night)
    assert re.search(r"pm25_dagmediaan_plausibel.*2026-03-20", said(night))
    assert waits.is_file()
    for figures in ("snuffelfiets_pm25_gemeente", "snuffelfiets_pm25_cel"):
        assert published_rows(home)[figures] == before[figures]
    plan = facts(home, "plan")
    assert [f["file"] for f in plan["refused_files"]] == [str(waits)]
    assert "recording_timestamp" in plan["refused_files"][0]["reason"]
    assert "2026-03-20" in [
        span for g in plan["pending"] if g["table"] == CLEANED for span in g["partitions"]
    ]
    results = {
        r["rule"]: r for t in facts(home, "quality")["tables"] if t["table"] == CLEANED for r in t["rules"]
    }
    assert results["pm25_dagmediaan_plausibel"]["result"] == "failed"
    assert "pm25_dagmediaan_plausibel [critical] failed" in said(koploper(home, "quality"))


def in_wrong_unit(scratch: Path, target: Path, day: date) -> None:
    """A day on which every PM2.5 is above 100: the unit of another firmware."""
    simulated = simulate(scratch / "inbox", scratch / "truth", last_day=day, days=1, participants=8, seed=5)
    rows = pd.concat(pd.read_csv(file, dtype=str) for file in simulated.files)
    rows[["pm1_0", "pm2_5", "pm10"]] = ["11000", "12000", "13000"]
    rows[["version_major", "version_minor"]] = ["2", "3"]
    rows.to_csv(target, index=False)


@pytest.mark.parametrize(
    ("arguments", "chosen"),
    [
        ((), Chosen()),
        (("--experiment", "snuffelfiets"), Chosen("snuffelfiets")),
        (("--day", "2026-03-12"), Chosen(None, "2026-03-12", "2026-03-12")),
        (("--from", "2026-03-11", "--to", "2026-03-12"), Chosen(None, "2026-03-11", "2026-03-12")),
    ],
)
def test_refresh_runs_the_night_that_was_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: Sequence[str], chosen: Chosen
) -> None:
    asked: list[Any] = []

    def run_night(*given: Any) -> Iterator[Ran]:
        asked.append(given)
        yield Ran(Next("ophalen", (), {}), "run", True, ())

    monkeypatch.setattr("koploper_pipelines.automation.run.run_night", run_night)
    assert koploper(tmp_path, "refresh", *arguments).exit_code == 0
    ((_, _, _, night, taken, _),) = asked
    assert taken == chosen
    assert re.fullmatch(r"hand-2026-05-20T023000-[0-9a-f]{6}", night)


@pytest.mark.full
def test_rebuild_gives_the_same_figures(home: Path) -> None:
    before = published_rows(home)
    versions = {t["table"]: t["version"] for t in facts(home, "status")["tables"] if t["version"] is not None}
    night = koploper(home, "rebuild")
    assert night.exit_code == 0, said(night)
    after = {t["table"]: t["version"] for t in facts(home, "status")["tables"]}
    made_again = [t for t in versions if after[t] > versions[t]]
    assert {t for t in versions if "/raw/" not in t and not t.startswith("publicatie")} <= set(made_again)
    assert RAW not in made_again
    assert len(before) == len(list((CONTRACTS_FOLDER / "snuffelfiets" / "published").iterdir()))
    assert published_rows(home) == before


# -- Reports -------------------------------------------------------------------------------------------------


def test_status_says_how_each_table_stands(home: Path) -> None:
    status = facts(home, "status")
    assert set(status) == {"home", "published", "release", "last_night", "tables"}
    platform = platform_of(home)
    assert {t["table"] for t in status["tables"]} == set(platform.tables)
    for table in status["tables"]:
        assert set(table) == {
            *("table", "layer", "version", "rows", "problem", "last_gate", "last_gate_at", "updated_at"),
            *("fresh_within_days", "is_fresh", "pending"),
        }
        if not platform.lake.exists(table["table"]):
            # Of other experiments nothing has landed, nor of a source that is off.
            assert not table["table"].startswith("snuffelfiets/") or table["table"] in NOT_DELIVERED
            assert (table["version"], table["last_gate"], table["pending"]) == (None, None, 0)
            continue
        delta = DeltaTable(str(home / "lake" / table["table"]))
        assert table["version"] == delta.version()
        assert table["rows"] == delta.to_pyarrow_dataset().count_rows()
        assert (table["last_gate"], table["pending"], table["problem"]) == ("passed", 0, None)
        assert table["is_fresh"] is (None if table["fresh_within_days"] is None else True)
    assert status["release"]["id"] == platform.warehouse.current()
    assert status["last_night"]["passed"] is True
    words = said(koploper(home, "status"))
    assert all(path in words for path in platform.tables)


def test_status_says_when_a_table_is_older_than_promised(home: Path) -> None:
    tables = facts(home, "status", KOPLOPER_NOW="2036-05-20T02:30:00+02:00")["tables"]
    promised = [t for t in tables if t["fresh_within_days"] is not None and t["version"] is not None]
    assert promised
    assert all(t["is_fresh"] is False for t in promised)
    assert "days old" in said(koploper(home, "status", KOPLOPER_NOW="2036-05-20T02:30:00+02:00"))


def test_a_night_gives_back_what_it_took_of_the_database(home: Path) -> None:
    """At the end of a process DuckDB lists what was not given back."""
    code = "from koploper_pipelines.cli import main; main()"
    ended = subprocess.run(
        [sys.executable, "-c", code, "refresh", "--home", str(home)],
        capture_output=True,
        text=True,
        env={**os.environ, "KOPLOPER_KEY": KEY},
        check=False,
    )
    assert ended.returncode == 0, ended.stdout
    assert "leaked" not in ended.stderr


def test_a_night_of_few_days_makes_every_table_once(home: Path) -> None:
    """Also those that read the figures of other experiments, which no edge of the graph says."""
    platform = platform_of(home)
    made = [t.path for t in platform.tables.values() if not t.lands and platform.lake.exists(t.path)]
    assert "koploperdeals/published/duidingen" in made
    assert {t: platform.lake.head(t).version for t in made} == dict.fromkeys(made, 0)


def test_plan_says_what_is_pending_and_why(home: Path) -> None:
    assert "Nothing is pending" in said(koploper(home, "plan"))
    (home / "inbox" / "snuffelfiets" / "nieuw.csv").write_text("_id\n1\n")
    changed = {"KOPLOPER_SNUFFELFIETS_PM25_MAXIMUM_UG_M3": "140"}
    plan = facts(home, "plan", **changed)
    assert {e: files for e, files in plan["inbox"].items() if files} == {"snuffelfiets": ["nieuw.csv"]}
    (group,) = [g for g in plan["pending"] if g["table"] == CLEANED]
    assert group["because"] == "instellingen gewijzigd"
    spans = [span.split("..") for span in group["partitions"] if span[0].isdigit()]
    # The days that were measured, and one on either side for a device whose clock is in another zone.
    assert spans[0][0] <= FIRST
    assert spans[-1][-1] >= LAST
    days = sum((date.fromisoformat(s[-1]) - date.fromisoformat(s[0])).days + 1 for s in spans)
    assert group["number"] == days + len(group["partitions"]) - len(spans)
    downstream = {g["table"]: g["because"] for g in plan["pending"]}
    assert "snuffelfiets/published/overzicht" in downstream
    words = said(koploper(home, "plan", **changed))
    assert "nieuw.csv" in words
    assert "instellingen gewijzigd" in words


def test_quality_holds_every_rule_of_every_table(home: Path) -> None:
    platform = platform_of(home)
    quality = facts(home, "quality")
    assert {t["table"]: [r["rule"] for r in t["rules"]] for t in quality["tables"]} == {
        path: [r.name for r in table.contract.rules] for path, table in platform.tables.items()
    }
    results = {r["result"] for t in quality["tables"] for r in t["rules"]}
    assert "passed" in results
    assert results <= {"passed", "failed", "never", "not evaluable"}
    words = said(koploper(home, "quality"))
    assert all(path in words for path in platform.tables)


def test_quality_of_a_table_counts_what_it_set_aside(home: Path) -> None:
    shown = facts(home, "quality", "show", CLEANED)
    name = CLEANED + "__quarantaine"
    reasons = DeltaTable(str(home / "lake" / name)).to_pyarrow_table(columns=["reden"])["reden"].to_pylist()
    assert {r["reason"]: r["rows"] for r in shown["quarantine"]} == {
        r: reasons.count(r) for r in set(reasons)
    }
    assert all(r["meaning"] for r in shown["quarantine"])
    assert shown["refused"] is None
    words = said(koploper(home, "quality", "show", CLEANED))
    assert all(rule["rule"] in words for rule in shown["rules"])


def test_refused_rows_are_shown_without_what_points_at_a_person(home: Path) -> None:
    platform = platform_of(home)
    contract = platform.tables[RAW].contract
    refused = DeltaTable(str(home / "lake" / RAW)).to_pyarrow_table().slice(0, 7)
    file = platform.gate.refused_rows(RAW)
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(refused, file)
    shown = facts(home, "quality", "show", RAW)["refused"]
    assert (shown["rows"], len(shown["sample"]), shown["file"]) == (7, cli_report.SAMPLE, str(file))
    open_columns = {c.name for c in contract.columns if c.privacy == "geen"}
    assert {"apparaat", "latitude"} & open_columns == set()
    assert open_columns
    for row, original in zip(shown["sample"], refused.to_pylist(), strict=False):
        assert all(row[c] == REDACTED for c in row.keys() - open_columns)
        assert all(
            str(row[c]) == str(original[c]) for c in open_columns if not isinstance(original[c], datetime)
        )
    device = refused["apparaat"][0].as_py()
    assert device not in koploper(home, "quality", "show", RAW).stdout


def test_a_night_goes_on_without_the_warehouse_and_says_so(home: Path) -> None:
    ckan_export(home / "inbox" / "snuffelfiets" / "nieuw.csv", [date(2026, 5, 18)], pm25_ug_m3=9.0)
    nowhere = {"KOPLOPER_WAREHOUSE_URL": "postgresql://iemand:geheim@127.0.0.1:1/nergens"}
    night = koploper(home, "refresh", **nowhere)
    assert night.exit_code == 1
    assert re.search(r"verwerken +passed", night.stdout) and re.search(r"publiceren +FAILED", night.stdout)
    assert "KOPLOPER_WAREHOUSE_URL cannot be reached" in said(night)
    assert "geheim" not in said(night)
    status = facts(home, "status", **nowhere)
    assert "cannot be reached" in status["release"]["problem"]
    assert {t["pending"] for t in status["tables"] if t["layer"] != "published"} == {0}
    # When it is back, the release follows without anything new.
    assert koploper(home, "refresh").exit_code == 0
    assert any("2026-05" in row for row in published_rows(home)["snuffelfiets_overzicht"])


def test_foreign_commit_is_named_repaired_and_made_again(home: Path) -> None:
    before = published_rows(home)
    table = "snuffelfiets/indicators/overzicht"
    folder = str(home / "lake" / table)
    write_deltalake(folder, pa.table(DeltaTable(folder).to_pyarrow_table()), mode="append")
    status = {t["table"]: t for t in facts(home, "status")["tables"]}
    assert "was not written by a gate" in status[table]["problem"]
    assert status[CLEANED]["problem"] is None
    assert "foreign commit" in said(koploper(home, "status"))
    assert f"koploper repair {table}" in said(koploper(home, "plan"))
    # A night names it and fails; what does not depend on the table goes on.
    cleaned = platform_of(home).lake.head(CLEANED).version
    ckan_export(home / "inbox" / "snuffelfiets" / "nieuw.csv", [date(2026, 5, 18)], pm25_ug_m3=9.0)
    night = koploper(home, "refresh")
    assert night.exit_code == 1
    assert f"koploper repair {table}" in said(night)
    assert platform_of(home).lake.head(CLEANED).version > cleaned
    # A lake that somebody wrote to gives no release: the one before stays.
    assert re.search(r"publiceren +FAILED", night.stdout)
    assert published_rows(home) == before
    repaired = koploper(home, "repair", table)
    assert repaired.exit_code == 0, said(repaired)
    night = koploper(home, "refresh")
    assert night.exit_code == 0, said(night)
    after = published_rows(home)
    added = [row for row in after["snuffelfiets_overzicht"] if row not in before["snuffelfiets_overzicht"]]
    assert [row[0] for row in added] == ["2026-05"]
    again = koploper(home, "repair", table)
    assert again.exit_code == 2
    assert "nothing to repair" in said(again)


# -- Wrong input ---------------------------------------------------------------------------------------------

WRONG: Sequence[tuple[Sequence[str], Mapping[str, str], str]] = (
    (("refresh", "--experiment", "snufelfiets"), {}, "did you mean snuffelfiets?"),
    (("refresh", "--experiment", "publicatie"), {}, "there is no experiment 'publicatie'"),
    (("refresh", "--day", "2026-13-01"), {}, "'2026-13-01' is not a day"),
    (("refresh", "--day", "12 maart"), {}, "write it as 2026-11-23"),
    (("refresh", "--day", "2026-05-21"), {}, "2026-05-21 is in the future"),
    (("refresh", "--day", "2017-12-31"), {}, "before the first measurement day"),
    (("refresh", "--day", "2026-03-12", "--from", "2026-03-11"), {}, "not both"),
    (("refresh", "--from", "2026-03-12", "--to", "2026-03-11"), {}, "2026-03-12 is after --to 2026-03-11"),
    (("refresh", "--from", "2026-03-12"), {}, "give --from and --to together"),
    (("rebuild", "--experiment", "iets"), {}, "there is no experiment 'iets'"),
    (("simulate", "tellen"), {}, "no experiment that can be simulated 'tellen'"),
    (("simulate", "snuffelfiets", "--days", "0"), {}, "should be greater than or equal to 1"),
    (("simulate", "snuffelfiets", "--devices", "veel"), {}, "should be a valid integer"),
    (("simulate", "snuffelfiets", "--rows", "9999999", "--days", "1", "--devices", "1"), {}, "rows"),
    (("simulate", "snuffelfiets", "--last-day", "2026-06-01"), {}, "in the future"),
    (("quality", "show", "snuffelfiets/raw/meting"), {}, f"did you mean {RAW}"),
    (("quality", "show"), {}, "koploper quality show TABLE"),
    (("quality", "toon", RAW), {}, "koploper quality show TABLE"),
    (("repair", "metingen"), {}, "did you mean"),
    (("status",), {"KOPLOPER_SMALL_TABLE_ROWS": "abc"}, "KOPLOPER_SMALL_TABLE_ROWS"),
    (("status",), {"KOPLOPER_NOW": "gisteren"}, "KOPLOPER_NOW"),
    (("status",), {"KOPLOPER_NOW": "2026-05-20T02:30:00"}, "needs a time zone"),
    (("status",), {"KOPLOPER_KEY": "geheim-te-kort"}, "fewer than 32 characters"),
    (("status",), {"KOPLOPER_WAREHOUSE_URL": "mysql://u:geheim@server/db"}, "KOPLOPER_WAREHOUSE_URL"),
    (("status",), {"KOPLOPER_WAREHOUSE_URL": "geheim"}, "is not a database URL"),
    (("status",), {"KOPLOPER_SNUFFELFIETS_MIN_APPARATEN": "veel"}, "KOPLOPER_SNUFFELFIETS_MIN_APPARATEN"),
    (("status",), {"KOPLOPER_SNUFFELFIETS_NUL_PM": "twee"}, "found 'twee'"),
)


@pytest.mark.parametrize(
    ("arguments", "env", "expected"), WRONG, ids=[f"{' '.join(a)} {' '.join(e)}".strip() for a, e, _ in WRONG]
)
def test_wrong_input_is_an_error_to_act_on(
    first_night: tuple[Path, Result], arguments: Sequence[str], env: Mapping[str, str], expected: str
) -> None:
    result = koploper(first_night[0], *arguments, **env)
    assert result.exit_code == 2, said(result)
    assert expected in said(result)
    assert "Traceback" not in said(result)
    assert "geheim" not in said(result)
    assert result.stdout == ""


def test_home_that_cannot_be_is_named(tmp_path: Path) -> None:
    file = tmp_path / "bestand"
    file.touch()
    for home, expected in (
        (file, "is a file, expected a folder"),
        (file / "home", "cannot be used"),
        (Path("/proc/koploper"), "cannot be used"),
    ):
        result = koploper(home, "refresh")
        assert result.exit_code == 2, said(result)
        assert str(home) in said(result).replace(" ", "").replace("--home:", "--home: ") or str(home) in said(
            result
        )
        assert expected in said(result)
    for command in ("status", "plan", "quality", "rebuild"):
        result = koploper(tmp_path / "nergens", command)
        assert result.exit_code == 2
        assert "no installation in" in said(result)
        assert not (tmp_path / "nergens").exists()


def test_help_is_plain_for_every_command(tmp_path: Path) -> None:
    for command in ("demo", "refresh", "rebuild", "simulate", "plan", "status", "quality", "repair"):
        result = koploper(tmp_path, command, "--help")
        assert result.exit_code == 0
        assert "--home" in result.stdout


# -- Simulation ---------------------------------------------------------------------------------------------


def test_simulate_writes_what_the_truth_holds(tmp_path: Path) -> None:
    result = koploper(tmp_path, "simulate", "snuffelfiets", "--days", "2", "--devices", "5", "--seed", "7")
    assert result.exit_code == 0, said(result)
    truth = pq.read_table(tmp_path / "simulatie" / "snuffelfiets" / "seed-7" / "rijen.parquet")
    lines = [
        x for f in (tmp_path / "inbox" / "snuffelfiets").glob("*.csv") for x in f.read_text().splitlines()[1:]
    ]
    assert len(lines) == truth.num_rows
    assert f"{truth.num_rows} raw rows in" in said(result)
    days = {moment.astimezone(LOCAL).date() for moment in truth["tijd_utc"].to_pylist()}
    # Yesterday is the last whole day.
    assert days <= {date(2026, 5, 18), date(2026, 5, 19)}
    assert len(days) == 2


# -- Demo ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("now", "first", "last"),
    [
        # Month ends are closed seven days later: on the eighth, October is.
        ("2026-11-07T12:00:00+01:00", "2026-08-01", "2026-10-31"),
        ("2026-11-08T12:00:00+01:00", "2026-09-01", "2026-11-07"),
        ("2026-11-23T12:00:00+01:00", "2026-09-01", "2026-11-22"),
        ("2026-01-05T12:00:00+01:00", "2025-10-01", "2025-12-31"),
        ("2026-03-01T12:00:00+01:00", "2025-12-01", "2026-02-28"),
    ],
)
def test_demo_covers_two_closed_months_and_an_open_one(
    tmp_path: Path, now: str, first: str, last: str
) -> None:
    platform = build_platform(Settings(home=tmp_path, now=datetime.fromisoformat(now), key=KEY))
    assert cli._demo_days(platform) == {"first": first, "last": last}


@pytest.fixture
def short_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "_simulators", lambda: ["snuffelfiets"])
    monkeypatch.setattr("koploper_pipelines.simulation.snuffelfiets.DEVICES", 4)
    monkeypatch.setattr(cli, "_demo_days", lambda platform: {"first": FIRST, "last": LAST})


@pytest.mark.usefixtures("short_demo")
def test_demo_delivers_what_has_been_received_and_no_more(tmp_path: Path) -> None:
    platform = build_platform(Settings(home=tmp_path, now=datetime(2026, 3, 13, 12, tzinfo=UTC), key=KEY))
    cli._simulate_demo(platform)
    inbox = platform.settings.inbox / "snuffelfiets"
    lines = [line.split(",") for file in inbox.glob("*.csv") for line in file.read_text().splitlines()[1:]]
    truth = pq.read_metadata(tmp_path / "simulatie" / "snuffelfiets" / "seed-2026" / "rijen.parquet").num_rows
    assert 0 < len(lines) < truth
    assert max(line[3] for line in lines) < "2026-03-13"
    assert [int(line[0]) for line in lines] == list(range(int(lines[0][0]), int(lines[0][0]) + len(lines)))
    assert not list(tmp_path.glob("simulatie/*/per_dag"))


@pytest.mark.usefixtures("short_demo")
def test_demo_that_was_killed_delivers_the_same_files(tmp_path: Path) -> None:
    whole, killed = platform_of(tmp_path / "whole"), platform_of(tmp_path / "killed")
    for platform in (whole, killed):
        cli._simulate_demo(platform)
    marker = killed.settings.home / "simulatie" / "snuffelfiets" / "demo.json"
    marker.write_text(json.dumps({**json.loads(marker.read_text()), "delivered": False}))
    for file in (killed.settings.inbox / "snuffelfiets").rglob("*.csv"):
        file.unlink()
    cli._simulate_demo(killed)
    files = [sorted((p.settings.inbox / "snuffelfiets").rglob("*.csv")) for p in (whole, killed)]
    assert files[0]
    assert [(f.name, f.read_bytes()) for f in files[0]] == [(f.name, f.read_bytes()) for f in files[1]]


def test_demo_keeps_out_of_a_home_with_other_data(tmp_path: Path) -> None:
    inbox = tmp_path / "home" / "inbox" / "snuffelfiets"
    inbox.mkdir(parents=True)
    (inbox / "echt.csv").write_text("_id\n")
    result = koploper(tmp_path / "home", "demo")
    assert result.exit_code == 2
    assert "holds other data" in said(result)
    assert [f.name for f in inbox.iterdir()] == ["echt.csv"]


# -- A command line that was killed --------------------------------------------------------------------------


def test_runs_of_killed_processes_are_ended_and_what_they_held_is_free(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", "pass"])
    dead.wait()
    settings = Settings(home=tmp_path, key=KEY)
    with open_instance(settings) as instance:
        own = f"{os.getpid()} {_started(os.getpid()):.0f}"
        # The number of a process is given out again, so the start counts too.
        processes = {"killed": f"{dead.pid} 1000", "reused": f"{os.getpid()} 1000", "working": own}
        runs = {
            name: instance.create_run_for_job(
                _job(), tags={PROCESS_TAG: process}, status=dg.DagsterRunStatus.STARTED
            ).run_id
            for name, process in processes.items()
        }
        runs["ui"] = instance.create_run_for_job(_job(), status=dg.DagsterRunStatus.STARTED).run_id
        storage = instance.event_log_storage
        storage.set_concurrency_slots("lake", 1)
        assert storage.claim_concurrency_slot("lake", runs["killed"], "step").is_claimed
        assert not storage.claim_concurrency_slot("lake", runs["working"], "step").is_claimed
        assert set(end_orphans(instance)) == {runs["killed"], runs["reused"]}
        assert storage.claim_concurrency_slot("lake", runs["working"], "step").is_claimed
        status = {name: instance.get_run_by_id(run).status for name, run in runs.items()}  # type: ignore[union-attr]
    assert status == {
        "killed": dg.DagsterRunStatus.FAILURE,
        "reused": dg.DagsterRunStatus.FAILURE,
        "working": dg.DagsterRunStatus.STARTED,
        "ui": dg.DagsterRunStatus.STARTED,
    }


def test_first_starts_at_the_same_moment_agree(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path\n"
        "from koploper_pipelines.automation.run import open_instance\n"
        "from koploper_pipelines.settings import Settings\n"
        f"with open_instance(Settings(home=Path({str(tmp_path / 'home')!r}))) as instance:\n"
        "    print(len(instance.get_runs()))\n"
    )
    starts = [
        subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    ends = [start.communicate() for start in starts]
    assert [(start.returncode, out) for start, (out, _) in zip(starts, ends, strict=True)] == [
        (0, "0\n")
    ] * 4, ends


def _job() -> dg.JobDefinition:
    @dg.op
    def nothing() -> None: ...

    @dg.job
    def job() -> None:
        nothing()

    return job


def _started(process: int) -> float:
    import psutil

    return float(psutil.Process(process).create_time())
