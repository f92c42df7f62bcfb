"""Reference hours and weather, from file or API to cleaned tables: two real years, and nights without."""

from __future__ import annotations

import csv
import logging
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import apis
import pandas as pd
import pytest
import toolbox

from koploper_pipelines.assets.snuffelfiets.raw import referentie, weer
from koploper_pipelines.gates.step import Platform, Report, run_table
from koploper_pipelines.resources.rivm import read_year

pytestmark = toolbox.WARNINGS_OF_OTHERS

NOW = datetime(2025, 1, 10, 1, 30, tzinfo=UTC)
RAW, CLEANED = "snuffelfiets/raw/referentie", "snuffelfiets/cleaned/referentie"
RAW_WEATHER, WEATHER = "snuffelfiets/raw/weer", "snuffelfiets/cleaned/weer"
CHAIN = (RAW, RAW_WEATHER, CLEANED, WEATHER)
LOCAL = ZoneInfo("Europe/Amsterdam")
ANNUAL_MEANS = {
    2020: {"NL10636": 10.4, "NL10643": 9.0, "NL10641": 8.5, "NL10644": 7.9},
    2023: {"NL10636": 9.5, "NL10643": 7.5, "NL10641": 8.8, "NL10644": 7.1},
}
HOURS = {2020: 8784, 2023: 8760}
PREFIX = "KOPLOPER_SNUFFELFIETS_"


def run(platform: Platform, *paths: str) -> dict[str, Report]:
    """Some tables, without Dagster and the rest of the chain."""
    return {p: run_table(platform, platform.tables[p], run_id="proef", night=None) for p in paths}


def put(home: Path, kind: str, source: Path) -> Path:
    folder = home / "inbox" / "snuffelfiets" / kind
    folder.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy(source, folder / source.name))


# -- Two real years --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Years:
    platform: Platform
    files: dict[int, Path]
    weather: dict[int, Path]
    reports: dict[str, Report]
    hours: pd.DataFrame
    aside: pd.DataFrame
    weather_hours: pd.DataFrame


@pytest.fixture(scope="module")
def years(real_data: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Years:
    home = tmp_path_factory.mktemp("jaren") / "home"
    files = {y: real_data(f"reference/{y}_PM25.csv") for y in HOURS}
    weather = {y: real_data(f"reference/{y}_meteo_Utrecht.csv") for y in HOURS}
    for year in HOURS:
        put(home, "referentie", files[year])
        put(home, "weer", weather[year])
    platform = toolbox.installation(home, NOW)
    reports = run(platform, *CHAIN)
    tables = [toolbox.lake_table(platform, CLEANED), toolbox.quarantine(platform, CLEANED)]
    return Years(platform, files, weather, reports, *tables, toolbox.lake_table(platform, WEATHER))


def test_every_hour_of_every_station_lands(years: Years) -> None:
    assert all(r.passed for r in years.reports.values())
    landed = toolbox.lake_table(years.platform, RAW)
    per_year = landed.groupby([landed["begindatumtijd"].str[:4], "station"]).size()
    assert per_year.to_dict() == {(str(y), s): n for y, n in HOURS.items() for s in referentie.STATIONS}
    assert landed["meetdag"].notna().all()


def test_hours_are_kept_or_set_aside_because_the_station_gave_nothing(years: Years) -> None:
    assert len(years.hours) + len(years.aside) == 4 * sum(HOURS.values())
    assert set(years.aside["reden"]) == {"geen_waarde"}
    assert years.aside["pm25_ug_m3"].isna().all()


def test_annual_means_are_the_known_ones(years: Years) -> None:
    # RIVM's years begin and end at midnight UTC+1.
    local = years.hours["uur_op"] + pd.Timedelta(hours=1)
    for (year, station), mean in years.hours.groupby([local.dt.year, "station"])["pm25_ug_m3"].mean().items():
        assert round(mean, 1) == ANNUAL_MEANS[year][station]


def test_all_values_stand_under_the_hour_that_the_file_means(years: Years) -> None:
    """Against the file, read once more with the standard library alone."""
    expected: dict[tuple[str, datetime], float] = {}
    for file in years.files.values():
        lines = list(csv.reader(file.read_text("latin-1").splitlines(), delimiter=";"))
        at = next(i for i, cells in enumerate(lines) if cells[0] == "Component")
        places = {s: lines[at].index(s) for s in referentie.STATIONS}
        for cells in lines[at + 1 :]:
            # Both notations, as digits alone: year to minute.
            moment = datetime.strptime(re.sub(r"\D", "", cells[3])[:12], "%Y%m%d%H%M") - timedelta(hours=1)
            for station, place in places.items():
                if cells[place]:
                    expected[station, moment.replace(tzinfo=UTC)] = float(cells[place])
    keys = zip(years.hours["station"], years.hours["uur_op"].dt.to_pydatetime(), strict=True)
    assert dict(zip(keys, years.hours["pm25_ug_m3"], strict=True)) == expected
    assert (years.hours["pm25_ug_m3"] < 0).sum() == sum(v < 0 for v in expected.values()) > 1000


def test_days_are_local_also_when_the_clock_changes_and_at_new_year(years: Years) -> None:
    counted = pd.concat(
        [years.hours[["meetdag", "uur_op"]], years.aside[["meetdag", "uur_op"]]], ignore_index=True
    )
    counted["uur_op"] = pd.to_datetime(counted["uur_op"], utc=True, format="mixed")
    per_day = counted.drop_duplicates("uur_op").groupby(counted["meetdag"].astype("str")).size()
    odd = per_day[per_day != 24].to_dict()
    assert odd == {"2020-03-29": 23, "2020-10-25": 25, "2023-03-26": 23, "2023-10-29": 25}
    expected = [m.astimezone(LOCAL).date() for m in years.hours["uur_op"].dt.to_pydatetime()]
    assert years.hours["meetdag"].tolist() == expected
    griftpark = years.hours[years.hours["station"] == "NL10643"].set_index("uur_op")["pm25_ug_m3"]
    assert griftpark[pd.Timestamp("2019-12-31T23:00Z")] == 1146.48
    assert griftpark.idxmax() == pd.Timestamp("2019-12-31T23:00Z")


def test_weather_stands_under_the_start_of_its_hour_in_units(years: Years) -> None:
    """Against the files, read once more with pandas."""
    files = [pd.read_csv(f, sep=";", index_col=0, skipinitialspace=True) for f in years.weather.values()]
    raw = pd.concat([f.rename(columns=str.strip) for f in files], ignore_index=True)
    start = pd.to_datetime(raw["YYYYMMDD"].astype(str), utc=True) + pd.to_timedelta(raw["HH"] - 1, unit="h")
    expected = raw.set_index(start.dt.as_unit("us")).sort_index()
    got = years.weather_hours.set_index("uur_op").sort_index()
    assert len(got) == len(expected) == 8736 + 8712
    assert got.index.equals(expected.index)
    for column, source in (("wind_m_s", "FH"), ("temperatuur_c", "T"), ("luchtdruk_hpa", "P")):
        pd.testing.assert_series_equal(got[column], expected[source] / 10, check_names=False)
    is_trace = expected["RH"] == -1
    assert is_trace.sum() > 500
    assert (got["is_spoor"] == is_trace).all()
    assert (got.loc[is_trace, "neerslag_mm"] == 0.025).all()
    rain = expected.loc[~is_trace, "RH"] / 10
    pd.testing.assert_series_equal(got.loc[~is_trace, "neerslag_mm"], rain, check_names=False)
    has_none = expected["DD"].isin([0, 990])
    assert (got["windrichting_graden"].isna() == has_none).all()
    assert got["windrichting_graden"].dropna().between(10, 360).all()
    assert (got["meetdag"] == [m.astimezone(LOCAL).date() for m in got.index.to_pydatetime()]).all()


# -- Again, and wrong ------------------------------------------------------------------------------------

HEAD = (
    "Export;x;;;StationsCode;NL10636\n;;;;StationsNaam;Jongweg\n;;;;Latitude,Longitude;(52.1,5.12)\n"
    ";;;;StationsType;verkeer\nComponent;Bep.periode;Eenheid; Begindatumtijd;Einddatumtijd;NL10636\n"
)


def lines(*values: str, component: str = "PM2.5") -> bytes:
    rows = [
        f"{component};uur;µg/m³;20240701 {h:02d}:00;20240701 {h + 1:02d}:00;{v}\n"
        for h, v in enumerate(values)
    ]
    return (HEAD + "".join(rows)).encode("latin-1")


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    return toolbox.installation(tmp_path / "home", NOW)


def drop(platform: Platform, name: str, content: bytes, kind: str = "referentie") -> None:
    folder = platform.settings.inbox / "snuffelfiets" / kind
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)


def test_of_an_hour_delivered_twice_the_last_counts(platform: Platform) -> None:
    drop(platform, "1.csv", lines("1", "2", "3", "4"))
    run(platform, RAW, CLEANED)
    drop(platform, "2.csv", lines("10", "", "abc", "4"))
    run(platform, RAW, CLEANED)
    kept = toolbox.lake_table(platform, CLEANED).sort_values("uur_op")
    assert kept["pm25_ug_m3"].tolist() == [10, 3, 4]
    # Summer: an hour later on the local clock than in the file, and the day with it.
    assert str(kept["uur_op"].iloc[0]) == "2024-06-30 23:00:00+00:00"
    aside = toolbox.quarantine(platform, CLEANED)
    assert sorted(aside["reden"]) == [
        "geen_waarde",
        "onleesbare_waarde",
        "vervangen",
        "vervangen",
        "vervangen",
    ]
    drop(platform, "nog eens.csv", lines("10", "", "abc", "4"))
    assert run(platform, RAW)[RAW].nothing_new


def test_what_cannot_be_read_waits_beside_its_report(platform: Platform) -> None:
    drop(platform, "pm10.csv", lines("1", component="PM10"))
    drop(platform, "afgekapt.csv", lines("1", "2")[:-1])
    drop(platform, "goed.csv", lines("1", "2", "3"))
    drop(platform, "pagina.csv", b"<html>Not found</html>\n", kind="weer")
    reports = run(platform, RAW, RAW_WEATHER)
    assert not reports[RAW].passed
    assert len(toolbox.lake_table(platform, RAW)) == 3
    assert "een webpagina" not in reports[RAW_WEATHER].failures
    folder = platform.settings.inbox / "afgekeurd"
    told = {f.name: f.read_text() for f in folder.glob("*.rapport.txt")}
    assert "row 1 (line 6) holds PM10 per uur, expected PM2.5 per uur" in told["pm10.csv.rapport.txt"]
    assert "no line end" in told["afgekapt.csv.rapport.txt"]
    assert "a web page, expected a file of values" in told["pagina.csv.rapport.txt"]
    assert "inbox/snuffelfiets/referentie/" in told["pm10.csv.rapport.txt"]
    assert "inbox/snuffelfiets/weer/" in told["pagina.csv.rapport.txt"]


def test_hours_that_cannot_be_are_set_aside_with_their_reason(platform: Platform) -> None:
    text = HEAD + "".join(
        f"PM2.5;uur;µg/m³;{begin};{end};5\n"
        for begin, end in (
            *((f"20240701 {h:02d}:00", f"20240701 {h + 1:02d}:00") for h in range(20)),
            ("20240702 00:00", "20240702 02:00"),
            ("morgen", "20240702 02:00"),
            ("20170101 00:00", "20170101 01:00"),
            ("20260101 00:00", "20260101 01:00"),
        )
    )
    drop(platform, "uren.csv", text.encode("latin-1"))
    assert run(platform, RAW, CLEANED)[CLEANED].passed
    reasons = toolbox.quarantine(platform, CLEANED)["reden"].value_counts().to_dict()
    assert reasons == {"onleesbare_tijd": 2, "onmogelijke_tijd": 2}
    assert len(toolbox.lake_table(platform, CLEANED)) == 20


def test_a_unit_that_was_changed_holds_the_day_back(platform: Platform) -> None:
    drop(platform, "nanogram.csv", lines(*("9000" for _ in range(20))))
    run(platform, RAW)
    report = run(platform, CLEANED)[CLEANED]
    assert not report.passed
    assert not platform.lake.exists(CLEANED)


# -- Nights without source -------------------------------------------------------------------------------


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("BRON_POGINGEN", "2"), ("BRON_WACHT_S", "0.001"), ("BRON_TIJD_S", "20")):
        monkeypatch.setenv(PREFIX + name, value)


@pytest.fixture
def stations(real_data: Callable[[str], Path]) -> apis.Stations:
    """The last real days of March 2023, with the change of the clock."""
    text = real_data("reference/2023_PM25.csv").read_bytes().decode("latin-1")
    values = {}
    for row in read_year(text, "2023", referentie.STATIONS, "PM2.5"):
        end = datetime.fromisoformat(str(row["einddatumtijd"])).astimezone(UTC)
        if datetime(2023, 3, 24, 2, tzinfo=UTC) <= end < datetime(2023, 3, 31, tzinfo=UTC):
            values[str(row["station"]), end] = float(row["waarde"]) if row["waarde"] else None
    return apis.Stations(values)


def nights(home: Path, *faults: list[str], first: int = 27) -> Iterator[tuple[Platform, list[str]]]:
    for n, list_of_faults in enumerate(faults):
        yield toolbox.installation(home, datetime(2023, 3, first + n, 1, 30, tzinfo=UTC)), list_of_faults


@pytest.mark.usefixtures("impatient")
def test_a_night_without_source_ends_green_and_is_made_up_for(
    tmp_path: Path, stations: apis.Stations, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Four nights without, and one with: the touched days are made again, as a rebuild makes them."""
    monkeypatch.setenv(PREFIX + "EERSTE_DAGEN", "3")
    down = ["http_503"] * 2
    said: list[tuple[bool, str]] = []
    with apis.serving(stations.answer) as served, caplog.at_level(logging.WARNING):
        monkeypatch.setenv(PREFIX + "LUCHTMEETNET_URL", served.url)
        for number, (platform, faults) in enumerate(nights(tmp_path / "home", [], down, down, down, [])):
            served.faults = list(faults)
            night = f"2023-03-{27 + number}"
            for path in (RAW, CLEANED):
                report = run_table(platform, platform.tables[path], run_id=night, night=night)
                # Green, and with a warning.
                assert report.passed
                if path == RAW:
                    assert report.source is not None and report.source.evaluable
                    said.append((report.source.passed, report.source.message))
                    assert report.notes.get("nachten_zonder_bron", 0) == (number if 0 < number < 4 else 0)
            if faults:
                last = toolbox.lake_table(platform, CLEANED)["uur_op"].max()
                assert last < datetime(2023, 3, 27, 1, 30, tzinfo=UTC)
    assert [passed for passed, _ in said] == [True, False, False, False, True]
    assert "Luchtmeetnet" in said[1][1] and "HTTP 503; asked 2 times" in said[1][1]
    assert said[3][1].endswith("3 nachten op rij")
    alerts = [r.getMessage() for r in caplog.records if r.name.startswith("koploper_pipelines")]
    assert len(alerts) == 1 and alerts[0].startswith(f"{RAW}: Luchtmeetnet")

    undisturbed = toolbox.installation(tmp_path / "anders", datetime(2023, 3, 31, 1, 30, tzinfo=UTC))
    monkeypatch.setenv(PREFIX + "EERSTE_DAGEN", "7")
    with apis.serving(stations.answer) as served:
        monkeypatch.setenv(PREFIX + "LUCHTMEETNET_URL", served.url)
        run(undisturbed, RAW, CLEANED)
    kept = [toolbox.tables(p)[CLEANED] for p in (platform, undisturbed)]
    assert kept[0].equals(kept[1])
    assert len(kept[0]) == sum(v is not None for v in stations.values.values())
    before = toolbox.tables(platform)
    again = run_table(platform, platform.tables[CLEANED], run_id="opnieuw", again=True)
    assert again.passed and len(again.partitions) >= 7
    assert toolbox.differing(before, toolbox.tables(platform)) == []


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("fault", "why"), [("sleutel", "refuses the key"), ("veld_weg", "lacks .*timestamp")]
)
def test_a_source_that_refuses_or_changed_ends_red_with_nothing_loaded(
    platform: Platform, stations: apis.Stations, monkeypatch: pytest.MonkeyPatch, fault: str, why: str
) -> None:
    with apis.serving(stations.answer) as served:
        monkeypatch.setenv(PREFIX + "LUCHTMEETNET_URL", served.url)
        served.faults = [fault]
        report = run(platform, RAW)[RAW]
    assert not report.passed
    assert re.search(why, report.failures)
    assert not platform.lake.exists(RAW)


@pytest.mark.usefixtures("impatient")
def test_the_weather_comes_from_its_service_and_only_what_changed_lands_again(
    tmp_path: Path, real_data: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    head, *rows = real_data("reference/2023_meteo_Utrecht.csv").read_text().splitlines()
    text = [line.split(";", 1)[1].replace(";", ",") for line in rows if ";202303" in line]
    service = apis.Weather(head.split(";", 1)[1].replace(";", ","), text[: 24 * 26])
    monkeypatch.setenv(PREFIX + "EERSTE_DAGEN", "5")
    with apis.serving(service.answer) as served:
        monkeypatch.setenv(PREFIX + "KNMI_URL", served.url)
        first, second = (platform for platform, _ in nights(tmp_path / "home", [], []))
        run(first, RAW_WEATHER, WEATHER)
        assert len(toolbox.lake_table(first, RAW_WEATHER)) == 5 * 24
        service.lines = text[: 24 * 27]
        service.lines[24 * 26 - 1] = service.lines[24 * 26 - 1][:-1] + "1"
        run(second, RAW_WEATHER, WEATHER)
    landed = toolbox.lake_table(second, RAW_WEATHER)
    # The week before the last hour is asked again: three days more, the new day, and the corrected hour.
    assert len(landed) == 5 * 24 + 3 * 24 + 24 + 1
    kept, aside = toolbox.lake_table(second, WEATHER), toolbox.quarantine(second, WEATHER)
    assert len(kept) == 9 * 24
    assert aside["reden"].tolist() == ["vervangen"]
    assert set(kept["weerstation"]) == set(weer.STATIONS)


def test_nothing_is_called_unless_it_is_configured(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    def called(*args: object, **kwargs: object) -> None:
        raise AssertionError("a source was called")

    monkeypatch.setattr("koploper_pipelines.resources.http.Api._answer", called)
    landings = [p for p, t in platform.tables.items() if t.lands and p.startswith("snuffelfiets/")]
    assert len(landings) >= 4
    reports = run(platform, *landings)
    assert all(r.nothing_new and r.source is None for r in reports.values())
