"""The bicycles' rows from the API through the real gate, beside the same rows from a file."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import apis
import pytest
import toolbox

from koploper_pipelines.assets.snuffelfiets.raw import metingen
from koploper_pipelines.gates.step import Platform, Report, run_table

pytestmark = toolbox.WARNINGS_OF_OTHERS

NOW = datetime(2025, 1, 10, 1, 30, tzinfo=UTC)
RAW, CLEANED = metingen.TABLE, "snuffelfiets/cleaned/metingen"
PREFIX = "KOPLOPER_SNUFFELFIETS_"
KEY = "een-geheime-sleutel"
PAGE = 1000


@pytest.fixture
def export(real_data: Callable[[str], Path]) -> str:
    return real_data(toolbox.REAL_FILE).read_text()


@pytest.fixture
def store(export: str) -> apis.Store:
    """The rows of the real export, of which the site gives a thousand at a time."""
    header, rows = toolbox.csv_rows(export)
    made = apis.Store(metingen.SOURCE.split()[0], metingen.CKAN_COLUMNS, most_rows=PAGE)
    made.store([{c: dict(zip(header, r, strict=True))[c] for c in metingen.CKAN_COLUMNS} for r in rows])
    return made


@pytest.fixture
def platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: apis.Store) -> Platform:
    settings = {"BRON_POGINGEN": "2", "BRON_WACHT_S": "0.001", "BRON_TIJD_S": "20"}
    for name, value in {**settings, "CKAN_TABEL": store.table, "CKAN_SLEUTEL": KEY}.items():
        monkeypatch.setenv(PREFIX + name, value)
    return toolbox.installation(tmp_path / "home", NOW)


def landed(platform: Platform) -> Report:
    return run_table(platform, platform.tables[RAW], run_id="proef", night=None)


def test_api_and_file_together_give_what_the_file_alone_gives(
    platform: Platform, store: apis.Store, export: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with apis.serving(store.answer, KEY) as served:
        monkeypatch.setenv(PREFIX + "CKAN_URL", served.url)
        # The columns and the first page are well; the second page does not come.
        served.faults = ["goed", "goed", "http_500", "halve_json"]
        first = landed(platform)
        assert first.passed and first.source is not None and not first.source.passed
        assert "cut off after" in first.source.message
        assert len(toolbox.lake_table(platform, RAW)) == PAGE
        second = landed(platform)
        assert second.passed and second.source is not None and second.source.passed
        assert [o.rows for o in second.outcomes] == [PAGE, 2863 - 2 * PAGE]
        assert landed(platform).nothing_new
    rows = toolbox.lake_table(platform, RAW)
    assert sorted(rows["_id"].astype(int)) == store.ids
    assert set(rows["bron"]) == {"ckan"}

    monkeypatch.delenv(PREFIX + "CKAN_URL")
    toolbox.drop(platform.settings.home, "export.csv", export)
    assert landed(platform).passed
    other = toolbox.installation(tmp_path / "bestand", NOW)
    toolbox.drop(other.settings.home, "export.csv", export)
    for each in (platform, other):
        for path in (RAW, CLEANED):
            assert run_table(each, each.tables[path], run_id="proef").passed
    both, alone = toolbox.tables(platform), toolbox.tables(other)
    assert both[CLEANED].equals(alone[CLEANED])
    twice, once = (t[f"{CLEANED} (quarantine)"]["reden"].value_counts() for t in (both, alone))
    assert twice["dubbel"] == 2863
    assert twice.drop("dubbel").to_dict() == once.to_dict()


@pytest.mark.parametrize(
    ("key", "faults", "why"),
    [
        ("verkeerd", [], "refuses the key"),
        (KEY, ["kolom_weg"], "column 'pm2_5' is missing"),
        (KEY, ["goed", "kolom_erbij"], "columns pm4_0 came or went"),
    ],
)
def test_a_wrong_key_or_another_schema_ends_red_with_nothing_loaded(
    platform: Platform,
    store: apis.Store,
    monkeypatch: pytest.MonkeyPatch,
    key: str,
    faults: list[str],
    why: str,
) -> None:
    monkeypatch.setenv(PREFIX + "CKAN_SLEUTEL", key)
    with apis.serving(store.answer, KEY) as served:
        monkeypatch.setenv(PREFIX + "CKAN_URL", served.url)
        served.faults = list(faults)
        report = landed(platform)
        assert not report.passed
        assert why in report.failures
        assert not platform.lake.exists(RAW)
        monkeypatch.setenv(PREFIX + "CKAN_SLEUTEL", KEY)
        assert landed(platform).passed
    assert len(toolbox.lake_table(platform, RAW)) == 2863


def test_the_key_stands_nowhere_in_the_home(
    platform: Platform, store: apis.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with apis.serving(store.answer, "een andere sleutel") as served:
        monkeypatch.setenv(PREFIX + "CKAN_URL", served.url)
        assert not landed(platform).passed
    with apis.serving(store.answer, KEY) as served:
        monkeypatch.setenv(PREFIX + "CKAN_URL", served.url)
        assert landed(platform).passed
    files = [f for f in platform.settings.home.rglob("*") if f.is_file()]
    assert len(files) > 5
    assert not [f for f in files if KEY.encode() in f.read_bytes()]
