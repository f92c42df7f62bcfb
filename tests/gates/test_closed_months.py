"""Figures about people are published for closed months only, whatever the indicators hold already."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from gatehouse import House, Row

from koploper_pipelines.build import find_tables
from koploper_pipelines.contracts import Contract, load_contract

CLOSED, OPEN = "2024-02", "2024-03"
PM25: Row = {
    "pm25_ug_m3": 9.0,
    "pm25_mediaan_ug_m3": 8.0,
    "pm25_onder_ug_m3": 7.0,
    "pm25_boven_ug_m3": 11.0,
    "pm25_ug_m3_status": "definitief",
    "aantal_metingen": 500,
    "aantal_passages": 60,
    "aantal_apparaten": 20,
    "aantal_dagen": 20,
    "grootste_aandeel": 0.1,
}


EXCESS: Row = {
    "achtergrond_ug_m3": 7.0,
    "pm25_verhoging_ug_m3": 1.5,
    "pm25_verhoging_onder_ug_m3": 1.0,
    "pm25_verhoging_boven_ug_m3": 2.0,
    "pm25_verhoging_ug_m3_status": "definitief",
    "aantal_apparaten_geijkt": 10,
    "metingen_geijkt": 50,
    "grootste_aandeel_geijkt": 0.2,
}


def _cells(month: str) -> list[Row]:
    return [{**PM25, **EXCESS, "maand": month, "cel_500m": "E1365N4560", "peildatum": f"{month}-05"}]


def _areas(month: str) -> list[Row]:
    codes = ("GM0344", "GM0307", "PV26")
    return [{**PM25, **EXCESS, "maand": month, "gebied_code": c, "peildatum": f"{month}-05"} for c in codes]


def _hours(month: str) -> list[Row]:
    from koploper_pipelines.assets.snuffelfiets.indicators.air import classes

    own = {**PM25, **EXCESS, "maand": month, "stations_ug_m3": 7.0, "stations_uren": 30}
    own["peildatum"] = f"{month}-05"
    return [{**own, "kenmerk": k, "klasse": c} for k, named in classes().items() for c in named]


def _network(month: str) -> list[Row]:
    ridden = {"aantal_passages": 40, "aantal_apparaten": 20, "grootste_aandeel": 0.1, "snelheid_km_h": 15.0}
    own = {**ridden, "wachttijd_s": 2.0, "schokken_pct": 0.0, "peildatum": f"{month}-05"}
    return [{**own, "maand": month, "cel_100m": "E1365N4560"}]


def _trips(month: str) -> list[Row]:
    ridden = {"aantal_ritten": 40, "aantal_apparaten": 20, "grootste_aandeel": 0.1}
    own = {**ridden, "afstand_mediaan_km": 3.0, "duur_mediaan_minuten": 12.0, "peildatum": f"{month}-05"}
    ends = ("GM0344", "PV26")
    return [{**own, "maand": month, "herkomst_code": c, "bestemming_code": c} for c in ends]


def _classes(month: str) -> list[Row]:
    from koploper_pipelines.assets.snuffelfiets.indicators.rides import _classes as all_classes

    shown = {"aantal_ritten": 40, "aantal_apparaten": 20, "grootste_aandeel": 0.1}
    pairs = all_classes()[["kenmerk", "klasse"]].itertuples(index=False)
    return [{"maand": month, "kenmerk": k, "klasse": c, **shown} for k, c in pairs]


def _overview(month: str) -> list[Row]:
    counts = {"metingen_ontvangen": 110, "metingen_bruikbaar": 100, "metingen_in_quarantaine": 10}
    people = {"apparaten": 20, "apparaten_met_rit": 20, "ritten": 40, "afstand_km": 90.0, "rijtijd_uur": 6.0}
    shares = {"grootste_aandeel": 0.1, "grootste_aandeel_ritten": 0.1}
    return [{"maand": month, **counts, **people, **shares, "peildatum": f"{month}-05"}]


TABLES = {
    "pm25_cel": _cells,
    "pm25_gemeente": _areas,
    "pm25_uur": _hours,
    "fietsnetwerk": _network,
    "herkomst_bestemming": _trips,
    "ritten_verdeling": _classes,
    "overzicht": _overview,
}


def _totals(told: Contract, rows: list[Row]) -> dict[str, Any]:
    """Control totals that these rows agree with."""
    names = {
        v["$PARAMETER"]: e.kwargs.get("column")
        for r in told.rules
        for e in r.expectations
        for v in e.kwargs.values()
        if isinstance(v, dict)
    }
    return {name: sum(r[column] for r in rows) if column else len(rows) for name, column in names.items()}


def _published(house: House, name: str) -> list[dict[str, Any]]:
    """The published table that follows from an indicator with a closed and an open month."""
    told = load_contract(f"snuffelfiets/indicators/{name}")
    rows = [*TABLES[name](CLOSED), *TABLES[name](OPEN)]
    outcome = house.admit(told, rows, controls=_totals(told, rows))
    assert outcome.passed, outcome.report
    report = house.run(f"snuffelfiets/published/{name}")
    assert report.passed, report.failures
    return house.rows(f"snuffelfiets/published/{name}")


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path / "huis", find_tables(), now=datetime(2024, 3, 20, tzinfo=UTC))


@pytest.mark.parametrize("name", [n for n in TABLES if n != "overzicht"])
def test_open_months_are_not_published(house: House, name: str) -> None:
    assert {r["maand"] for r in _published(house, name)} == {CLOSED}
    # Once the late window of a week is over the month is there.
    later = house.reopened(now=datetime(2024, 4, 8, tzinfo=UTC))
    assert later.pending() != {}
    assert later.run(f"snuffelfiets/published/{name}").passed
    assert {r["maand"] for r in later.rows(f"snuffelfiets/published/{name}")} == {CLOSED, OPEN}


def test_the_overview_shows_process_counts_of_open_months_and_no_figures(house: House) -> None:
    rows = {r["maand"]: r for r in _published(house, "overzicht")}
    figures = ("apparaten", "ritten", "afstand_km", "rijtijd_uur")
    assert [rows[CLOSED][f] for f in figures] == [20, 40, 90.0, 6.0]
    assert {rows[CLOSED][f"{f}_status"] for f in figures} == {"definitief"}
    assert [rows[OPEN][f] for f in figures] == [None] * 4
    assert {rows[OPEN][f"{f}_status"] for f in figures} == {"niet_beschikbaar"}
    assert rows[OPEN]["peildatum"] is None
    assert rows[OPEN]["metingen_ontvangen"] == 110
