"""The real CKAN export from inbox to published tables: five devices, 11 and 12 November 2024.

Everything is judged by the file itself, read with the csv module, and by what the tables say of each other.
"""

from __future__ import annotations

import gzip
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pyarrow.parquet
import pytest
import toolbox

pytestmark = toolbox.WARNINGS_OF_OTHERS

NOW = datetime(2025, 1, 10, 1, 30, tzinfo=UTC)
MONTH = "2024-11"
PEOPLE = ("apparaten", "ritten", "afstand_km", "rijtijd_uur")


@dataclass(frozen=True)
class Scenario:
    """One installation after three nights with the same rows."""

    home: Path
    raw: pd.DataFrame
    """The file as text."""
    first: toolbox.Standing
    same_bytes: toolbox.Standing
    other_bytes: toolbox.Standing
    left_in_inbox: list[str]


@pytest.fixture(scope="module")
def scenario(real_data: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Scenario:
    text = real_data(toolbox.REAL_FILE).read_text()
    header, rows = toolbox.csv_rows(text)
    home = tmp_path_factory.mktemp("real") / "home"
    platform = toolbox.installation(home, NOW)

    toolbox.drop(home, "metingen.csv", text)
    assert all(run.success for run in toolbox.night(platform))
    first = toolbox.standing(platform)

    toolbox.drop(home, "nog eens.csv", text)
    toolbox.drop(home, "nog eens.csv.gz", gzip.compress(text.encode()))
    toolbox.direct_night(platform)
    same_bytes = toolbox.standing(platform)

    toolbox.drop(home, "puntkomma.csv", toolbox.csv_text(header, rows, delimiter=";"))
    indexed = [[str(i), *row] for i, row in enumerate(rows)]
    toolbox.drop(home, "index.csv", toolbox.csv_text(["", *header], indexed))
    searched = [[*row, f"'{row[1]}':2 '{row[0]}':1"] for row in rows]
    toolbox.drop(
        home, "full_text.csv.gz", gzip.compress(toolbox.csv_text([*header, "_full_text"], searched).encode())
    )
    toolbox.direct_night(platform)
    raw = pd.DataFrame(rows, columns=header, dtype="str")
    left = [p.name for p in (home / "inbox").rglob("*") if p.is_file()]
    return Scenario(home, raw, first, same_bytes, toolbox.standing(platform), left)


# -- Nothing gets lost -----------------------------------------------------------------------------------


def test_every_received_row_is_usable_or_in_quarantine(scenario: Scenario) -> None:
    (month,) = scenario.first.published["snuffelfiets_overzicht"].to_dict("records")
    assert month["maand"] == MONTH
    assert month["metingen_ontvangen"] == len(scenario.raw) == 2863
    assert month["metingen_bruikbaar"] + month["metingen_in_quarantaine"] == month["metingen_ontvangen"]
    usable = set(scenario.first.tables["snuffelfiets/cleaned/metingen"]["bron_id"])
    aside = set(scenario.first.tables["snuffelfiets/cleaned/metingen (quarantine)"]["bron_id"])
    assert not usable & aside
    assert usable | aside == set(scenario.raw["_id"].astype("int64"))


def test_each_reason_is_the_one_that_the_file_gives(scenario: Scenario) -> None:
    expected = own_verdicts(scenario.raw).value_counts().drop("bruikbaar")
    assert scenario.first.reasons == expected.to_dict()
    shown = scenario.first.published["datakwaliteit_quarantaine"].set_index("reden")
    assert shown["aantal_rijen"].to_dict() == scenario.first.reasons
    assert (shown["tabel"] == "snuffelfiets/cleaned/metingen").all()
    # Counter-test: without the rows that follow a failed reading the counts would not agree.
    assert (
        own_verdicts(scenario.raw, warm_up=0).value_counts().drop("bruikbaar").to_dict()
        != scenario.first.reasons
    )


def own_verdicts(raw: pd.DataFrame, warm_up: int = 5) -> pd.Series:
    """The rules of cleaning as far as this file meets them, written down once more, row by row."""
    rows = raw.assign(moment=pd.to_datetime(raw["recording_timestamp"])).sort_values(["entity_id", "moment"])
    verdicts, device, since_failure, failed_at = {}, None, 0, pd.Timestamp(0)
    for row in toolbox.records(rows):
        if row.entity_id != device:
            device, since_failure = row.entity_id, warm_up
        since_failure += 1
        accuracy_m = float(row.horizontal_accuracy) / 1000
        if int(row.error_code) & 2048:
            verdict, since_failure, failed_at = "pm_leesfout", 0, row.moment
        elif since_failure <= warm_up and row.moment - failed_at <= pd.Timedelta(hours=1):
            verdict = "pm_opwarmen"
        elif float(row.latitude) == 0 and float(row.longitude) == 0:
            verdict = "geen_positie"
        elif not 0 < accuracy_m <= 50:
            verdict = "positie_onnauwkeurig"
        else:
            verdict = "bruikbaar"
        verdicts[row.Index] = verdict
    return pd.Series(verdicts)


# -- A rerun ---------------------------------------------------------------------------------------------


def test_the_same_bytes_under_another_name_or_packed_change_nothing(scenario: Scenario) -> None:
    assert scenario.same_bytes.versions == scenario.first.versions
    assert scenario.same_bytes.release == scenario.first.release


def test_the_same_rows_in_other_bytes_are_landed_and_all_set_aside_as_double(scenario: Scenario) -> None:
    number = len(scenario.raw)
    assert len(scenario.other_bytes.tables["snuffelfiets/raw/metingen"]) == 4 * number
    added = {r: n - scenario.first.reasons.get(r, 0) for r, n in scenario.other_bytes.reasons.items()}
    assert {r: n for r, n in added.items() if n} == {"dubbel": 3 * number}


def test_the_same_rows_in_other_bytes_leave_every_figure_as_it_was(scenario: Scenario) -> None:
    counted_raw = {
        "snuffelfiets/raw/metingen",
        "snuffelfiets/cleaned/metingen (quarantine)",
        "snuffelfiets/indicators/overzicht",
        "snuffelfiets/published/overzicht",
        "snuffelfiets/evaluation/bereik",
        "snuffelfiets/published/evaluatie",
        "publicatie/published/datakwaliteit_quarantaine",
    }
    assert set(toolbox.differing(scenario.first.tables, scenario.other_bytes.tables)) == counted_raw
    before, after = (s.published["snuffelfiets_overzicht"] for s in (scenario.first, scenario.other_bytes))
    process = ["metingen_ontvangen", "metingen_in_quarantaine"]
    pd.testing.assert_frame_equal(before.drop(columns=process), after.drop(columns=process))
    assert (after[process] - before[process] == 3 * len(scenario.raw)).all(axis=None)


def test_accepted_files_are_gone_from_the_inbox(scenario: Scenario) -> None:
    assert scenario.left_in_inbox == []


# -- What may be shown of five devices on two days ---------------------------------------------------------


def test_overzicht_shows_the_month_since_it_rests_on_five_devices(scenario: Scenario) -> None:
    (month,) = scenario.first.published["snuffelfiets_overzicht"].to_dict("records")
    rides = scenario.first.tables["snuffelfiets/cleaned/ritten"]
    per_device = rides["apparaat"].value_counts()
    assert len(per_device) == month["apparaten"] == scenario.raw["entity_id"].nunique() == 5
    assert per_device.max() / len(rides) <= 0.30
    assert [month[f"{figure}_status"] for figure in PEOPLE] == ["definitief"] * 4
    assert month["ritten"] == len(rides)
    assert month["afstand_km"] == pytest.approx(rides["afstand_km"].sum(), abs=0.005)
    assert month["rijtijd_uur"] == pytest.approx(rides["rijtijd_uur"].sum(), abs=0.005)
    assert month["peildatum"] == "2024-11-30"


def test_pm25_cel_shows_cells_of_five_devices_without_a_leader_and_says_that_the_days_are_too_few(
    scenario: Scenario,
) -> None:
    passages = scenario.first.tables["snuffelfiets/indicators/passages"]
    squares = passages["cel_100m"].map(lambda c: f"E{int(c[1:5]) // 5 * 5:04d}N{int(c[6:]) // 5 * 5:04d}")
    rows = passages.assign(cel=squares).pivot_table(
        index="cel", columns="apparaat", values="aantal_metingen", aggfunc="sum", fill_value=0
    )
    devices, leader = (rows > 0).sum(axis=1), rows.max(axis=1) / rows.sum(axis=1)
    expected = sorted(rows.index[(devices >= 5) & (leader <= 0.30)])
    shown = scenario.first.published["snuffelfiets_pm25_cel"]
    assert sorted(shown["cel_500m"]) == expected
    assert len(expected) == 4
    # The rule on the largest device matters: without it three more would be shown.
    assert (devices >= 5).sum() == 7
    assert (shown["pm25_ug_m3_status"] == "onvoldoende_betrouwbaar").all()
    assert shown[["pm25_onder_ug_m3", "pm25_boven_ug_m3"]].isna().all(axis=None)
    assert shown["pm25_ug_m3"].notna().all()
    assert shown["aantal_dagen"].max() < 5


def test_pm25_gemeente_is_suppressed_whole_since_all_riding_was_in_one_municipality(
    scenario: Scenario,
) -> None:
    indicator = scenario.first.tables["snuffelfiets/indicators/pm25_gemeente"].set_index("gebied_code")
    assert set(indicator.index) == {"GM0344", "PV26"}
    # Both rest on five devices; but each tells of the other that nobody rode anywhere else.
    assert (indicator["aantal_apparaten"] == 5).all()
    shown = scenario.first.published["snuffelfiets_pm25_gemeente"]
    assert len(shown) == 27
    assert (shown["pm25_ug_m3_status"] == "onderdrukt").all()
    blank = [c for c in map(str, shown) if c.startswith(("pm25", "aantal")) and not c.endswith("_status")]
    assert shown[blank].isna().all(axis=None)


def test_ritten_verdeling_shows_only_classes_that_leave_no_small_rest(scenario: Scenario) -> None:
    shown = scenario.first.published["snuffelfiets_ritten_verdeling"]
    visible = shown[shown["aantal_ritten"].notna()]
    assert set(zip(visible["kenmerk"], visible["klasse"], strict=True)) == {
        ("afstand_km", "01-02"),
        ("duur_min", "05-10"),
        ("vertrekuur", "15"),
        ("vertrekuur", "16"),
    }
    assert (shown.loc[shown["aantal_ritten"].isna(), "aantal_ritten_status"] == "onderdrukt").all()
    # Nothing of the speeds: all other rides than those of one class are of two devices.
    indicator = scenario.first.tables["snuffelfiets/indicators/ritten_verdeling"]
    speeds = indicator[(indicator["kenmerk"] == "snelheid_km_h") & (indicator["aantal_ritten"] > 0)]
    assert speeds.set_index("klasse")["aantal_apparaten"].to_dict() == {"10-15": 5, "15-20": 2}


# -- Two days without any reference station, in one week --------------------------------------------------


def test_what_needs_a_reference_has_none_and_says_so(scenario: Scenario) -> None:
    tables, shown = scenario.first.tables, scenario.first.published
    assert tables["snuffelfiets/indicators/passages"]["achtergrond_ug_m3"].isna().all()
    for name in ("pm25_cel", "pm25_gemeente", "pm25_uur"):
        table = shown[f"snuffelfiets_{name}"]
        assert len(table) and set(table["pm25_verhoging_ug_m3_status"]) == {"geen_referentie"}, name
        excess = ["achtergrond_ug_m3", *(c for c in table if "verhoging" in c and not c.endswith("status"))]
        assert table[excess].isna().all(axis=None)
        assert table["aantal_apparaten_geijkt"].isna().all()
    hours = shown["snuffelfiets_pm25_uur"]
    assert set(hours["stations_ug_m3_status"]) == {"geen_referentie"}
    assert hours["stations_ug_m3"].isna().all() and (hours["stations_uren"] == 0).all()
    indicator = tables["snuffelfiets/indicators/pm25_uur"]
    weather = indicator[(indicator["kenmerk"] != "uur_van_de_dag") & (indicator["aantal_metingen"] > 0)]
    assert set(weather["klasse"]) == {"onbekend"} and len(weather) == 3
    calibration = shown["snuffelfiets_kalibratie"]
    assert set(calibration["aantal_paren_status"]) == {"geen_referentie"}
    assert set(calibration["periode"]) == {MONTH, "totaal"}
    figures = ["aantal_paren", "rmse_ug_m3", "afwijking_ug_m3", "r2", "helling", "helling_fouten_in_beide"]
    assert calibration[figures].isna().all(axis=None)
    assert not calibration["is_toegepast"].any()


def test_one_week_has_no_contrast_in_cells_told_apart_by_other_weeks(scenario: Scenario) -> None:
    rows = scenario.first.published["snuffelfiets_pm25_contrast"]
    assert rows["periode"].tolist() == [MONTH, "totaal"]
    assert set(rows["contrast_ug_m3_status"]) == {"niet_beschikbaar"}
    assert rows["contrast_ug_m3"].isna().all()


def test_devices_that_rode_together_are_found_and_compared(scenario: Scenario) -> None:
    pairs = scenario.first.tables["snuffelfiets/indicators/herhaalritten"]
    assert len({*pairs["apparaat_a"], *pairs["apparaat_b"]}) == 5
    told = scenario.first.published["snuffelfiets_evaluatie"].set_index("maat")
    # Facts of the same ride with ten devices: their means differ by 9.5%.
    assert 5 <= told.loc["variatiecoefficient_pct", "waarde"] <= 20
    assert told.loc["paren", "waarde"] == len(pairs)
    assert told.loc["pm25_geijkt_en_who_2021", "waarde_status"] == "geen_referentie"
    assert told.loc["rmse_lijn", "waarde_status"] == "geen_referentie"


def test_cells_of_the_network_are_those_of_five_devices(scenario: Scenario) -> None:
    passages = scenario.first.tables["snuffelfiets/indicators/passages"]
    rows = passages.pivot_table(
        index="cel_100m", columns="apparaat", values="aantal_metingen", aggfunc="size", fill_value=0
    )
    expected = rows[((rows > 0).sum(axis=1) >= 5) & (rows.max(axis=1) / rows.sum(axis=1) <= 0.30)]
    shown = scenario.first.published["snuffelfiets_fietsnetwerk"]
    assert sorted(shown["cel_100m"]) == sorted(expected.index)
    assert (shown["aantal_passages"] % 5 == 0).all()
    # 97% of the accelerometer's readings are 0: whatever is shown is weak.
    assert set(shown["schokken_pct_status"]) == {"onvoldoende_betrouwbaar"}


# -- Nobody is exposed -----------------------------------------------------------------------------------


def test_device_numbers_stand_nowhere_in_clear(scenario: Scenario) -> None:
    devices = {d.encode() for d in scenario.raw["entity_id"]}
    found = [
        name for name, content in everything_written(scenario.home) if any(d in content for d in devices)
    ]
    assert found == []


def test_the_search_for_device_numbers_finds_what_is_there(scenario: Scenario) -> None:
    contents = list(everything_written(scenario.home))
    kinds = {Path(name).suffix for name, _ in contents}
    assert {".parquet", ".json", ".db", ".sqlite"} <= kinds
    pseudonym = scenario.first.tables["snuffelfiets/cleaned/ritten"]["apparaat"].iloc[0].encode()
    assert any(name.endswith(".parquet") and pseudonym in content for name, content in contents)
    release = scenario.first.release.encode()
    assert any(name.endswith(".sqlite") and release in content for name, content in contents)
    assert any(name.endswith(".db") and b"geen_rij_verloren" in content for name, content in contents)


def everything_written(home: Path) -> Iterator[tuple[str, bytes]]:
    """Every file of an installation as it is, and what its Parquet files and databases hold unpacked."""
    for file in sorted(p for p in home.rglob("*") if p.is_file()):
        name = str(file.relative_to(home))
        yield name, file.read_bytes()
        if file.suffix == ".parquet":
            rows = pyarrow.parquet.ParquetFile(file).read()
            yield name, repr(rows.to_pydict()).encode()
        elif file.suffix in (".db", ".sqlite"):
            with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as con:
                named = con.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
                for (table,) in named:
                    yield name, repr(con.execute(f'SELECT * FROM "{table}"').fetchall()).encode()
