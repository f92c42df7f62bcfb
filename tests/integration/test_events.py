"""What Dagster is told of a run: which checks failed and how, and which days were made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import dagster as dg
import pytest
from services import ROWS_A_DAY, ckan_export

from koploper_pipelines.automation.night import FETCH, PROCESS, RANGE_END, RANGE_START, Next
from koploper_pipelines.automation.run import Ran, execute, open_instance
from koploper_pipelines.build import build_definitions, build_platform
from koploper_pipelines.gates.asset import NIGHT_TAG
from koploper_pipelines.settings import Settings

RAW, CLEANED = (dg.AssetKey(["snuffelfiets", layer, "metingen"]) for layer in ("raw", "cleaned"))
GOOD, SWITCHED, LAST = (date(2024, 11, d) for d in (11, 12, 13))


@dataclass(frozen=True)
class House:
    """An installation with its own Dagster instance."""

    inbox: Path
    defs: dg.Definitions
    instance: dg.DagsterInstance

    def land(self) -> Ran:
        return execute(self.defs, self.instance, Next(FETCH, (RAW,), {}))

    def clean(self, first: date, last: date, **tags: str) -> Ran:
        tags |= {RANGE_START: first.isoformat(), RANGE_END: last.isoformat()}
        return execute(self.defs, self.instance, Next(PROCESS, (CLEANED,), tags))

    def check(self, key: dg.AssetKey, name: str) -> dg.AssetCheckEvaluation:
        (record,) = self.instance.event_log_storage.get_asset_check_execution_history(
            dg.AssetCheckKey(key, name), limit=1
        )
        assert record.event is not None and record.event.dagster_event is not None
        return record.event.dagster_event.asset_check_evaluation_data

    def made(self, key: dg.AssetKey) -> list[dg.AssetMaterialization]:
        records = self.instance.fetch_materializations(key, limit=100).records
        return [r.asset_materialization for r in records if r.asset_materialization is not None]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    settings = Settings(home=tmp_path / "home")
    with open_instance(settings) as instance:
        yield House(settings.inbox / "snuffelfiets", build_definitions(build_platform(settings)), instance)


def test_a_refused_file_fails_its_run_and_not_the_next_one_without_news(house: House) -> None:
    house.inbox.mkdir(parents=True)
    (house.inbox / "geen_export.csv").write_text("_id,entity_id\n1,2\n")
    refused = house.land()
    assert not refused.success
    assert "schema_klopt" in refused.failures[0]
    assert house.check(RAW, "schema_klopt").severity is dg.AssetCheckSeverity.ERROR
    assert not house.made(RAW)

    without_news = house.land()
    assert without_news.success, without_news.failures
    # What was said last is still shown, and that nothing passed since.
    standing = house.check(RAW, "schema_klopt")
    assert not standing.passed
    assert standing.severity is dg.AssetCheckSeverity.WARN
    assert standing.metadata["run"].value == refused.run_id


def test_a_failed_day_keeps_only_itself_out(house: House) -> None:
    ckan_export(house.inbox / "november.csv", (GOOD, LAST), pm25_ug_m3=12)
    # Within what one measurement may be, but no day is so.
    ckan_export(house.inbox / "verwisseld.csv", (SWITCHED,), pm25_ug_m3=120, first_id=1000)
    assert house.land().success
    ran = house.clean(GOOD, LAST)
    assert not ran.success
    assert f"tegengehouden: {SWITCHED}; de rest is vastgelegd" in ran.failures[0]
    made = house.made(CLEANED)
    assert sorted(str(m.partition) for m in made) == [str(GOOD), str(LAST)]
    assert {m.metadata["rijen_van_de_run"].value for m in made} == {2 * ROWS_A_DAY}
    told = house.check(CLEANED, "pm25_dagmediaan_plausibel")
    assert not told.passed
    assert told.severity is dg.AssetCheckSeverity.ERROR
    assert told.metadata["tegengehouden"].value == str(SWITCHED)
    assert house.check(CLEANED, "sleutel_is_uniek").passed


def test_a_run_without_news_keeps_the_explanation_of_the_refusal_in_sight(house: House) -> None:
    ckan_export(house.inbox / "verwisseld.csv", (GOOD, SWITCHED), pm25_ug_m3=120)
    assert house.land().success
    night = {NIGHT_TAG: "2024-12-01"}
    refused = house.clean(GOOD, SWITCHED, **night)
    assert not refused.success
    told = house.check(CLEANED, "pm25_dagmediaan_plausibel")
    # The same inputs in the same night would be refused again, so it is not tried.
    assert house.clean(GOOD, SWITCHED, **night).success
    standing = house.check(CLEANED, "pm25_dagmediaan_plausibel")
    assert (standing.passed, standing.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert standing.metadata["tegengehouden"].value == f"{GOOD}, {SWITCHED}"
    assert told.metadata.items() <= standing.metadata.items()
    assert str(standing.description).startswith("niets nieuw")


def test_a_closed_gate_makes_no_day(house: House) -> None:
    ckan_export(house.inbox / "verwisseld.csv", (SWITCHED,), pm25_ug_m3=120)
    assert house.land().success
    ran = house.clean(SWITCHED, SWITCHED)
    assert not ran.success
    assert "de vorige versie blijft staan" in ran.failures[0]
    assert not house.made(CLEANED)
