"""Sensitivity against the chain itself: what is shared between variants changes nothing about them."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, date, datetime

import pandas as pd
import pytest
from toolbox import WARNINGS_OF_OTHERS, installation, lake_table

from koploper_pipelines.assets.koploperdeals.figures import method_of
from koploper_pipelines.assets.snuffelfiets import SnuffelfietsSettings
from koploper_pipelines.assets.snuffelfiets import varianten as variants
from koploper_pipelines.gates.step import Platform, RunStep, run_table
from koploper_pipelines.methods import geo, gevoeligheid
from koploper_pipelines.methods.gevoeligheid import Combination
from koploper_pipelines.resources.reference import municipality_squares
from koploper_pipelines.simulation.snuffelfiets import simulate

pytestmark = WARNINGS_OF_OTHERS
MONTH = "2026-10"
AFTER = datetime(2026, 11, 20, 3, tzinfo=UTC)
PASSAGES, PUBLISHED = "snuffelfiets/indicators/passages", "koploperdeals/published/gevoeligheid"
CHAIN = (
    "snuffelfiets/cleaned/metingen",
    "snuffelfiets/cleaned/referentie",
    "snuffelfiets/cleaned/weer",
    "snuffelfiets/cleaned/ritten",
    PASSAGES,
    "snuffelfiets/indicators/ijkparen",
    "snuffelfiets/indicators/pm25_gemeente",
)


def run(platform: Platform, *tables: str) -> None:
    for table in tables:
        report = run_table(platform, platform.tables[table], run_id="proef")
        assert report.passed, report.failures


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Platform:
    home = tmp_path_factory.mktemp("gevoeligheid")
    platform = installation(home, AFTER)
    inbox = platform.settings.inbox / "snuffelfiets"
    simulate(inbox, home / "w", last_day=date(2026, 10, 20), days=16, participants=70, seed=2, rows=90_000)
    run(platform, *(f"snuffelfiets/raw/{t}" for t in ("metingen", "referentie", "weer")), *CHAIN)
    return platform


def world(platform: Platform, asked: list[Combination]) -> variants._World:
    choice = SnuffelfietsSettings()
    with closing(RunStep(platform, platform.plan(), platform.tables[variants.VARIANTS], [MONTH])) as step:
        return variants._world(step, choice, MONTH, variants.choices(SnuffelfietsSettings()), asked)


def usual() -> dict[str, gevoeligheid.Level]:
    return {c.name: c.default for c in variants.choices(SnuffelfietsSettings())}


def chosen(**names: str) -> dict[str, gevoeligheid.Level]:
    levels = {c.name: {v.name: v for v in c.levels} for c in variants.choices(SnuffelfietsSettings())}
    return usual() | {choice: levels[choice][name] for choice, name in names.items()}


def of_chain(platform: Platform, cells: frozenset[str]) -> float:
    """The mean of the passages in the lake, in some municipalities."""
    rows = lake_table(platform, PASSAGES)
    squares = pd.Series(sorted(rows["cel_100m"].unique()))
    areas = geo.assign_municipality(*geo.square_centre(squares, 100), municipality_squares())
    own = rows[rows["cel_100m"].isin(set(squares[pd.Series(areas).isin(cells)]))]
    return float(own["pm25_som_ug_m3"].sum() / own["aantal_metingen"].sum())


def test_the_default_is_the_figure_of_the_chain(platform: Platform) -> None:
    made = world(platform, [usual(), chosen(rit_pauze="30 min")])
    cells = made.cells(usual())
    assert len(cells) >= 3
    assert made.level(usual(), cells).value == pytest.approx(of_chain(platform, cells), abs=1e-9)
    calibrated = chosen(ijking="aan")
    (area, *_) = sorted(made.cells(calibrated))
    rows = lake_table(platform, "snuffelfiets/indicators/pm25_gemeente").set_index("gebied_code")
    expected = rows.loc[area, "achtergrond_ug_m3"] + rows.loc[area, "pm25_verhoging_ug_m3"]
    assert made.level(calibrated, frozenset([area])).value == pytest.approx(expected, abs=1e-9)


def test_a_variant_is_what_the_whole_chain_gives_under_that_choice(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = chosen(rit_pauze="30 min", pm25_maximum="100 µg/m³", nul_pm="weglaten")
    made = world(platform, [usual(), other])
    cells = made.cells(other)
    for name, value in (("RIT_PAUZE_MIN", "30"), ("PM25_MAXIMUM_UG_M3", "100"), ("NUL_PM", "weglaten")):
        monkeypatch.setenv(f"KOPLOPER_SNUFFELFIETS_{name}", value)
    before = of_chain(platform, cells)
    version = platform.lake.head(PASSAGES).stamped_version
    method = method_of(platform, PASSAGES, version)
    run(platform, *CHAIN[:5])
    after = of_chain(platform, cells)
    # A reading of the older figure is of another method, and of the older version still of its own.
    assert method_of(platform, PASSAGES, platform.lake.head(PASSAGES).stamped_version) != method
    assert method_of(platform, PASSAGES, version) == method
    assert after != pytest.approx(before, abs=1e-3)
    assert made.level(other, cells).value == pytest.approx(after, abs=1e-9)
    # And back, from tables that lack what the first defaults kept.
    first = chosen(rit_pauze="10 min", pm25_maximum="150 µg/m³", nul_pm="een")
    assert world(platform, [first]).level(first, cells).value == pytest.approx(before, abs=1e-9)
    monkeypatch.undo()
    run(platform, *CHAIN)
    assert method_of(platform, PASSAGES, platform.lake.head(PASSAGES).stamped_version) == method


def test_closed_months_alone_are_published_with_all_rows(platform: Platform) -> None:
    early = installation(platform.settings.home, datetime(2026, 10, 25, 3, tzinfo=UTC))
    run(early, variants.VARIANTS, PUBLISHED)
    assert lake_table(early, PUBLISHED).empty and lake_table(early, variants.VARIANTS).empty
    run(platform, variants.VARIANTS, PUBLISHED)
    rows = lake_table(platform, PUBLISHED)
    whole = rows[rows["keuze"] == gevoeligheid.ALL].iloc[0]
    assert whole["spreiding_over_keuzes_laagste"] <= whole["waarde"] <= whole["spreiding_over_keuzes_hoogste"]
    assert whole["steekproef_onder"] < whole["waarde"] < whole["steekproef_boven"]
    assert whole["conclusie_uitkomst"] == gevoeligheid.HOLDS
    # Ten devices in no municipality have been near a station: those combinations have no figure.
    assert whole["aantal_combinaties"] == 4 * 2 * 2 * 3
    assert whole["verloren_cellen"] > 0
    shares = rows.loc[rows["niveau"] == gevoeligheid.NO_LEVEL, "aandeel_variantie_pct"].dropna()
    assert shares.sum() == pytest.approx(100, abs=0.5)
    assert (rows["is_belangrijkste_keuze"] == True).sum() == 1  # noqa: E712  # nullable
    wrong = rows[rows["is_verdedigbaar"] == False]  # noqa: E712  # nullable
    assert set(zip(wrong["keuze"], wrong["niveau"], strict=True)) == {
        ("pm25_maximum", "1000 µg/m³"),
        ("nul_pm", "weglaten"),
    }


def test_a_month_that_stays_as_it_is_is_not_made_again(platform: Platform) -> None:
    later = installation(platform.settings.home, datetime(2027, 1, 20, 3, tzinfo=UTC))
    assert later.plan().pending_of(later.tables[variants.VARIANTS]) == {}


def test_months_in_one_step_do_not_meet(platform: Platform) -> None:
    choice = SnuffelfietsSettings()
    with closing(RunStep(platform, platform.plan(), platform.tables[variants.VARIANTS], [MONTH])) as step:
        made = [variants.figures(step, choice, MONTH, variants.choices(choice), [usual()]) for _ in range(2)]
    pd.testing.assert_frame_equal(*made)


def test_nothing_is_shown_of_too_few_devices(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    assert world(platform, [usual()]).cells(usual())
    monkeypatch.setenv("KOPLOPER_SNUFFELFIETS_MIN_APPARATEN", "90")
    assert world(platform, [usual()]).cells(usual()) == frozenset()
