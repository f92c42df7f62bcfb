"""The layouts of RIVM and KNMI, read strictly, and their services."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import apis
import duckdb
import pytest

from koploper_pipelines.gates.staging import SchemaMismatch
from koploper_pipelines.methods.snuffelfiets.reference import reference_hour_sql
from koploper_pipelines.resources.http import Api, SourceRefused, SourceUnreachable
from koploper_pipelines.resources.knmi import COLUMNS, KnmiHours, read_hours
from koploper_pipelines.resources.luchtmeetnet import Luchtmeetnet
from koploper_pipelines.resources.pdok import Collection
from koploper_pipelines.resources.rivm import read_year

STATIONS = ("NL10636", "NL10643")
RIVM = (
    "Export;x;;;StationsCode;NL10636;NL99999;NL10643\n"
    "Periode;2020;;;StationsNaam;Jongweg;Ver weg;Griftpark\n"
    ";;;;Latitude,Longitude;(52.1,5.12);(50.9,5.9);(52.101,5.128)\n"
    ";;;;StationsType;verkeer;industrie;achtergrond\n"
    "Component;Bep.periode;Eenheid; Begindatumtijd;Einddatumtijd;NL10636;NL99999;NL10643\n"
    "PM2.5;uur;µg/m³;20200101 00:00;20200101 01:00;665.986;1;-4.5\n"
    "PM2.5;uur;µg/m³;20200101 01:00;20200101 02:00;;2;12\n"
)
KNMI_HEADER = "# STN,YYYYMMDD,   HH," + ",".join(f"{c:>5}" for c in COLUMNS[3:])
KNMI_LINE = (
    "  260,20240101,{hour:>5},  230,   50,   50,   90,   71,     ,   50,    0,    0,    3,   -1,10037,"
    "   65,    8,   93,   61,    7,    0,    1,    0,    0,    0"
)


# What both sources say of one station, NL10247: an answer of Luchtmeetnet's API that was published by someone
# who stored it, and the hours around it in RIVM's file 2020_NO2.csv.
ANSWERED = ("2020-05-08T22:00:00+00:00", "11.84")
IN_THE_FILE = {
    ("20200508 21:00", "20200508 22:00"): "9.56",
    ("20200508 22:00", "20200508 23:00"): "11.84",
    ("20200508 23:00", "20200509 00:00"): "11.58",
}


def test_both_sources_give_a_value_the_same_hour() -> None:
    hours = {
        value: duckdb.execute(f"SELECT {reference_hour_sql('$b', '$e')}", {"b": begin, "e": end}).fetchall()[
            0
        ][0]
        for (begin, end), value in IN_THE_FILE.items()
    }
    moment, value = ANSWERED
    ((answered,),) = duckdb.execute(f"SELECT {reference_hour_sql('NULL', '$e')}", {"e": moment}).fetchall()
    assert answered == hours[value] == datetime(2020, 5, 8, 21, tzinfo=UTC)


# -- RIVM ------------------------------------------------------------------------------------------------


def test_chosen_stations_are_read_with_what_the_head_says_of_them() -> None:
    rows = read_year(RIVM, "2020_PM25.csv", (*STATIONS, "NL10644"), "PM2.5")
    assert [(r["rij"], r["station"], r["waarde"]) for r in rows] == [
        ("1", "NL10636", "665.986"),
        ("1", "NL10643", "-4.5"),
        ("2", "NL10636", None),
        ("2", "NL10643", "12"),
    ]
    assert rows[1] == {
        "rij": "1",
        "station": "NL10643",
        "stationsnaam": "Griftpark",
        "stationstype": "achtergrond",
        "locatie": "(52.101,5.128)",
        "component": "PM2.5",
        "eenheid": "µg/m³",
        "begindatumtijd": "20200101 00:00",
        "einddatumtijd": "20200101 01:00",
        "waarde": "-4.5",
    }


@pytest.mark.parametrize(("year", "lines"), [(2020, 8784), (2023, 8760)])
def test_real_years_are_whole(real_data: Callable[[str], Path], year: int, lines: int) -> None:
    text = real_data(f"reference/{year}_PM25.csv").read_bytes().decode("latin-1")
    rows = read_year(text, str(year), ("NL10636", "NL10641", "NL10643", "NL10644"), "PM2.5")
    assert len(rows) == 4 * lines == 4 * (text.count("\n") - 10)
    assert {r["stationstype"] for r in rows} == {"verkeer", "achtergrond"}


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        ("Component;", "Componenten;", "no line begins with 'Component'"),
        ("Einddatumtijd", "Eind", "line 5 is .*expected Component;Bep.periode"),
        ("NL10636", "NL10637", None),
        ("StationsType", "Type", "no line of metadata 'StationsType'"),
        ("PM2.5;uur;µg/m³;20200101 01:00", "PM10;uur;µg/m³;20200101 01:00", "row 2 .line 7. holds PM10"),
        ("PM2.5;uur", "PM2.5;dag", "row 1 .line 6. holds PM2.5 per dag"),
        (";2;12\n", ";2\n", "row 2 .line 7. has 7 fields, expected 8; is the file cut off"),
        ("NL99999;NL10643\nPM", "NL10636;NL10643\nPM", "names station NL10636 twice"),
        (";verkeer;industrie;achtergrond", ";verkeer", "line 'StationsType' is shorter"),
    ],
)
def test_another_layout_is_named_with_its_place(before: str, after: str, why: str | None) -> None:
    spoilt = RIVM.replace(before, after)
    assert spoilt != RIVM
    if why is None:
        assert {r["station"] for r in read_year(spoilt, "f.csv", STATIONS, "PM2.5")} == {"NL10643"}
        return
    with pytest.raises(SchemaMismatch, match=why) as told:
        read_year(spoilt, "f.csv", STATIONS, "PM2.5")
    assert str(told.value).startswith("f.csv: ")


def test_line_ends_quotes_and_odd_characters_change_nothing() -> None:
    expected = read_year(RIVM, "f.csv", STATIONS, "PM2.5")
    assert read_year(RIVM.replace("\n", "\r\n"), "f.csv", STATIONS, "PM2.5") == expected
    odd = read_year(RIVM.replace("Griftpark", '"Grift\x85park'), "f.csv", STATIONS, "PM2.5")
    assert [r["waarde"] for r in odd] == [r["waarde"] for r in expected]
    assert odd[1]["stationsnaam"] == '"Grift\x85park'
    assert read_hours(knmi(1, 2).replace("\n", "\r\n"), "knmi") == read_hours(knmi(1, 2), "knmi")


def test_a_file_without_any_of_the_stations_or_rows_is_refused() -> None:
    with pytest.raises(SchemaMismatch, match="none of the stations NL00001"):
        read_year(RIVM, "f.csv", ("NL00001",), "PM2.5")
    with pytest.raises(SchemaMismatch, match="0 rows"):
        read_year("".join(RIVM.splitlines(keepends=True)[:5]), "f.csv", STATIONS, "PM2.5")


# -- KNMI ------------------------------------------------------------------------------------------------


def knmi(*hours: int) -> str:
    lines = [KNMI_LINE.format(hour=h) for h in hours]
    return "\n".join(["# BRON: KNMI", "# STN = station", KNMI_HEADER, "#", *lines, ""])


def test_hours_are_read_from_the_official_layout_and_from_a_table_with_an_index(
    real_data: Callable[[str], Path],
) -> None:
    (row,) = read_hours(knmi(24), "knmi")
    expected = {"rij": "1", "stn": "260", "yyyymmdd": "20240101", "hh": "24", "rh": "-1", "p": "10037"}
    assert {k: row[k] for k in expected} == expected
    assert row["t10n"] is None
    real = read_hours(real_data("reference/2020_meteo_Utrecht.csv").read_text(), "2020")
    assert len(real) == 8736
    assert {len(r) for r in real} == {len(COLUMNS) + 1}
    first, last = real[0], real[-1]
    assert (first["yyyymmdd"], first["hh"], first["t"], first["p"]) == ("20200102", "1", "19", "10286")
    assert (last["yyyymmdd"], last["hh"]) == ("20201230", "24")


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        ("YYYYMMDD", "DATUM", "comes before a header"),
        ("   RH", "   NN", "lacks column RH"),
        ("    Y", "    ZZ", "unknown column ZZ"),
        ("    O,", "    Y,", "names a column twice"),
        ("10037,", "10037,,", "row 1 .line 5. has 26 fields, expected 25"),
    ],
)
def test_another_layout_of_the_weather_is_named(before: str, after: str, why: str) -> None:
    spoilt = knmi(1).replace(before, after)
    assert spoilt != knmi(1)
    with pytest.raises(SchemaMismatch, match=why):
        read_hours(spoilt, "knmi")


def weather_service(served: apis.Served, fault: str | None = None) -> KnmiHours:
    return KnmiHours(Api("KNMI", served.url + "/uurgegevens", {}, apis.patience(fault)))


def test_the_service_gives_the_hours_of_whole_days() -> None:
    lines = [
        KNMI_LINE.format(hour=h).replace("20240101", f"202401{d:02d}")
        for d in (1, 2, 3)
        for h in range(1, 25)
    ]
    start, end = datetime(2024, 1, 2, 5, tzinfo=UTC), datetime(2024, 1, 3, 1, tzinfo=UTC)
    with apis.serving(apis.Weather(KNMI_HEADER, lines).answer) as served:
        rows = weather_service(served).between(("260",), start, end)
        assert served.requests[0] == {
            "path": "/uurgegevens", "stns": "260", "start": "2024010201", "end": "2024010324",
            "vars": "ALL", "fmt": "csv",
        }  # fmt: skip
    assert len(rows) == 48
    assert {r["yyyymmdd"] for r in rows} == {"20240102", "20240103"}


@pytest.mark.parametrize("fault", [f for f in apis.TRANSIENT if f != "halve_json"])
def test_the_weather_service_s_faults_are_named_or_passed_over(fault: str) -> None:
    moment = datetime(2024, 1, 1, tzinfo=UTC)
    with apis.serving(apis.Weather(KNMI_HEADER, [KNMI_LINE.format(hour=1)]).answer) as served:
        served.faults = [fault, fault]
        assert len(weather_service(served, fault).between(("260",), moment, moment)) == 1
        served.faults = [fault] * 3
        with pytest.raises(SourceUnreachable, match=apis.TRANSIENT[fault]):
            weather_service(served, fault).between(("260",), moment, moment)


def test_an_answer_of_the_weather_service_that_is_cut_off_in_its_last_value_is_not_believed() -> None:
    moment = datetime(2024, 1, 1, tzinfo=UTC)
    whole = knmi(1, 2).encode()
    with (
        apis.serving(lambda path, params, fault: whole[:-2]) as served,
        pytest.raises(SourceUnreachable, match="cut off"),
    ):
        weather_service(served).between(("260",), moment, moment)


def test_another_schema_of_the_weather_service_is_named() -> None:
    moment = datetime(2024, 1, 1, tzinfo=UTC)
    with apis.serving(apis.Weather(KNMI_HEADER, [KNMI_LINE.format(hour=1)]).answer) as served:
        served.faults = ["kolom_weg"]
        with pytest.raises(SchemaMismatch, match="KNMI: line 4"):
            weather_service(served).between(("260",), moment, moment)


# -- Luchtmeetnet ----------------------------------------------------------------------------------------


def station_api(served: apis.Served, fault: str | None = None) -> Luchtmeetnet:
    return Luchtmeetnet(Api("Luchtmeetnet", served.url, {}, apis.patience(fault)))


HOURS = {("NL10636", datetime(2024, 1, 1 + h // 24, h % 24, tzinfo=UTC)): float(h) - 3 for h in range(240)}
WINDOW = (datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 11, tzinfo=UTC))


def test_all_pages_of_a_station_come_once() -> None:
    with apis.serving(apis.Stations(dict(HOURS), page_rows=100).answer) as served:
        values = station_api(served).between(("NL10636",), *WINDOW)
        assert [r["page"] for r in served.requests] == ["1", "2", "3"]
    got = {("NL10636", datetime.fromisoformat(v.moment)): float(str(v.value)) for v in values}
    assert got == HOURS
    assert len(values) == 240
    assert values[0].value == "-3.0"


@pytest.mark.parametrize(
    ("fault", "error", "why"),
    [
        *((f, SourceUnreachable, why) for f, why in apis.TRANSIENT.items()),
        *((f, SourceRefused, why) for f, why in apis.REFUSALS.items()),
        ("andere_pagina", SourceUnreachable, "page 2 instead of page 1"),
        ("ander_station", SourceUnreachable, "not asked for"),
        ("andere_vorm", SchemaMismatch, "lacks pagination or data"),
        ("veld_weg", SchemaMismatch, "lacks timestamp_measured"),
    ],
)
def test_faults_of_the_stations_api_are_named(fault: str, error: type[Exception], why: str) -> None:
    with apis.serving(apis.Stations(dict(HOURS)).answer) as served:
        served.faults = [fault] * 3
        with pytest.raises(error, match=why):
            station_api(served, fault).between(("NL10636",), *WINDOW)


def test_a_paging_that_runs_on_ends() -> None:
    endless = json.dumps({"pagination": {"current_page": 1, "last_page": 10**9}, "data": []}).encode()
    with (
        apis.serving(lambda path, params, fault: endless) as served,
        pytest.raises(SourceUnreachable, match="expected at most 1000"),
    ):
        station_api(served).between(("NL10636",), *WINDOW)


# -- PDOK ------------------------------------------------------------------------------------------------


def feature(number: int) -> dict[str, Any]:
    ring = [[number, 400_000.0], [number + 1.0, 400_000.0], [number, 400_001.0], [number, 400_000.0]]
    properties = {"statcode": f"GM{number:04d}", "statnaam": f"G{number}", "jaarcode": 2024}
    return {
        "type": "Feature", "properties": properties, "geometry": {"type": "Polygon", "coordinates": [ring]},
    }  # fmt: skip


def test_all_pages_of_a_collection_come_once() -> None:
    features = apis.Features([feature(n) for n in range(250)])
    with apis.serving(features.answer) as served:
        features.url = served.url
        found = list(
            Collection(Api("PDOK", served.url, {}, apis.patience()), "gemeenten").features(jaarcode="2024")
        )
    assert [f["properties"]["statcode"] for f in found] == [f"GM{n:04d}" for n in range(250)]
    assert [r.get("cursor") for r in served.requests] == [None, "100", "200"]
    assert {r["jaarcode"] for r in served.requests} == {"2024"}


def test_a_next_page_elsewhere_or_another_shape_is_not_followed() -> None:
    features = apis.Features([feature(n) for n in range(150)])
    with apis.serving(features.answer) as served:
        features.url = served.url + "/anders"
        collection = Collection(Api("PDOK", served.url, {}, apis.patience()), "gemeenten")
        assert len(list(collection.features())) == 150
        served.faults = ["andere_vorm"]
        with pytest.raises(SchemaMismatch, match="expected a FeatureCollection"):
            list(collection.features())
    elsewhere = {"features": [], "links": [{"rel": "next", "href": "http://x/collections/wegen/items"}]}
    with (
        apis.serving(lambda path, params, fault: json.dumps(elsewhere).encode()) as served,
        pytest.raises(SourceUnreachable, match="something else"),
    ):
        list(Collection(Api("PDOK", served.url, {}, apis.patience()), "gemeenten").features())
