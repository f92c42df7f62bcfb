"""A whole night without the reference source, and the night that makes up for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import apis
import dagster as dg
import pandas as pd
import pytest
import toolbox

from koploper_pipelines.automation.run import open_instance
from koploper_pipelines.contracts.model import SOURCE_RULE
from koploper_pipelines.gates.asset import asset_key
from koploper_pipelines.simulation.snuffelfiets import simulate

pytestmark = toolbox.WARNINGS_OF_OTHERS

RAW, CLEANED = "snuffelfiets/raw/referentie", "snuffelfiets/cleaned/referentie"
LAST_DAY = date(2026, 3, 29)
"""The night in which the clock is set forward."""
NOW = datetime(2026, 4, 9, 1, 30, tzinfo=UTC)
PREFIX = "KOPLOPER_SNUFFELFIETS_"


@dataclass(frozen=True)
class Scenario:
    """Everything after a night without source, after the next with it, and where it was never away."""

    down: list[toolbox.Ran]
    check: dg.AssetCheckEvaluation
    quality: pd.DataFrame
    after: dict[str, pd.DataFrame]
    undisturbed: dict[str, pd.DataFrame]
    values: dict[tuple[str, datetime], float | None]


@pytest.fixture(scope="module")
def scenario(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scenario]:
    homes = [tmp_path_factory.mktemp(name) / "home" for name in ("uitval", "ongestoord")]
    for home in homes:
        inbox = home / "inbox" / "snuffelfiets"
        simulate(inbox, home / "waar", last_day=LAST_DAY, days=2, participants=6, seed=8, reference=False)
    truth = pd.read_parquet(homes[0] / "waar" / "referentie.parquet")
    values: dict[tuple[str, datetime], float | None] = {
        (row.station, row.uur_op.to_pydatetime() + timedelta(hours=1)): (
            None if pd.isna(row.gemeten_ug_m3) else float(row.gemeten_ug_m3)
        )
        for row in toolbox.records(truth)
    }
    with pytest.MonkeyPatch.context() as patch, apis.serving(apis.Stations(values).answer) as served:
        for name, value in (("BRON_POGINGEN", "2"), ("BRON_WACHT_S", "0.001"), ("BRON_TIJD_S", "20")):
            patch.setenv(PREFIX + name, value)
        patch.setenv(PREFIX + "LUCHTMEETNET_URL", served.url)
        served.faults = ["http_500"] * 2
        platform = toolbox.installation(homes[0], NOW)
        down = toolbox.night(platform)
        with open_instance(platform.settings) as instance:
            found = instance.event_log_storage.get_latest_asset_check_execution_by_key(
                [dg.AssetCheckKey(asset_key(RAW), SOURCE_RULE)]
            )
        (record,) = found.values()
        assert record.event is not None and record.event.dagster_event is not None
        check = record.event.dagster_event.asset_check_evaluation_data
        quality = toolbox.published(platform)["datakwaliteit"]
        toolbox.direct_night(platform)
        other = toolbox.installation(homes[1], NOW)
        toolbox.direct_night(other)
        yield Scenario(down, check, quality, toolbox.tables(platform), toolbox.tables(other), values)


@pytest.mark.full
def test_a_night_without_the_source_ends_green_with_its_warning(scenario: Scenario) -> None:
    assert [ran.success for ran in scenario.down] == [True] * len(scenario.down)
    assert len(scenario.down) >= 3
    assert (scenario.check.passed, scenario.check.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "HTTP 500; asked 2 times" in str(scenario.check.description)
    told = scenario.quality.query("tabel == @RAW and regel == @SOURCE_RULE")
    assert told["oordeel"].tolist() == ["niet_geslaagd"]
    # What is published names neither the address nor what it answered.
    assert told["toelichting"].tolist() == ["de bron was niet te bereiken; wat er al was blijft staan"]


@pytest.mark.full
def test_when_the_source_is_back_all_tables_are_as_if_it_had_never_been_away(scenario: Scenario) -> None:
    assert toolbox.differing(scenario.after, scenario.undisturbed) == []
    known = sum(v is not None for v in scenario.values.values())
    assert len(scenario.after[CLEANED]) == known > 180
    assert len(scenario.after[RAW]) == len(scenario.values)
