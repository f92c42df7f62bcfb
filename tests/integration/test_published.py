"""The published tables of a simulated autumn, as an analyst reads them, judged from outside.

Thirty devices from 20 September to 4 November: two closed months, one of them with the night of 27 October in
which the clock goes back, and an open one. The figures are computed once more from the usable measurements
with pandas, pyproj's geodesics and statsmodels, without any of the package's methods, and held against the
truth of the simulation. Nothing is known here of the tables in between.
"""

from __future__ import annotations

import hashlib
import itertools
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyproj
import pytest
import toolbox
from scipy import stats

from koploper_pipelines.contracts.model import SOURCE_RULE
from koploper_pipelines.gates.step import Platform, run_table
from koploper_pipelines.resources.reference import municipality_squares
from koploper_pipelines.simulation.snuffelfiets import simulate

pytestmark = toolbox.WARNINGS_OF_OTHERS

LOCAL = ZoneInfo("Europe/Amsterdam")
LAST_DAY, DAYS, DEVICES, SEED = date(2024, 11, 4), 46, 30, 7
DELIVERED = datetime(2024, 11, 17, tzinfo=UTC)
"""After the latest receipt that is simulated."""
LAST_OPEN_SECOND = datetime(2024, 11, 7, 23, 59, 59, tzinfo=LOCAL)
"""October ends with the first second of November and is closed seven days later."""
CLOSED = ["2024-09", "2024-10"]
OPEN = "2024-11"
RAW, CLEANED, RIDES = (
    "snuffelfiets/raw/metingen",
    "snuffelfiets/cleaned/metingen",
    "snuffelfiets/cleaned/ritten",
)
K, LARGEST_SHARE = 5, 0.30
ABSENT = {"onderdrukt", "niet_beschikbaar", "geen_referentie", "niet_van_toepassing"}
PM25 = ("pm25_ug_m3", "pm25_mediaan_ug_m3")
INTERVAL = ("pm25_onder_ug_m3", "pm25_boven_ug_m3")
COUNTS = ("aantal_metingen", "aantal_passages", "aantal_apparaten", "aantal_dagen")
EXCESS = ("pm25_verhoging_ug_m3", "achtergrond_ug_m3", "aantal_apparaten_geijkt")
INTERVAL_OF_EXCESS = ("pm25_verhoging_onder_ug_m3", "pm25_verhoging_boven_ug_m3")
OF_EXCESS = dict.fromkeys(EXCESS, "pm25_verhoging_ug_m3_status")
STATUS_OF = {
    "snuffelfiets_overzicht": {
        f: f"{f}_status" for f in ("apparaten", "ritten", "afstand_km", "rijtijd_uur")
    },
    "snuffelfiets_pm25_cel": {**dict.fromkeys((*PM25, *COUNTS), "pm25_ug_m3_status"), **OF_EXCESS},
    "snuffelfiets_pm25_uur": {**dict.fromkeys((*PM25, *COUNTS), "pm25_ug_m3_status"), **OF_EXCESS},
    "snuffelfiets_fietsnetwerk": {"schokken_pct": "schokken_pct_status"},
    "snuffelfiets_herkomst_bestemming": dict.fromkeys(
        ("aantal_ritten", "aantal_apparaten", "afstand_mediaan_km", "duur_mediaan_minuten"),
        "aantal_ritten_status",
    ),
    "snuffelfiets_pm25_gemeente": {
        **dict.fromkeys((*PM25, *COUNTS), "pm25_ug_m3_status"),
        "pm25_jaar_eerder_ug_m3": "pm25_jaar_eerder_ug_m3_status",
        **OF_EXCESS,
    },
    "snuffelfiets_ritten_verdeling": dict.fromkeys(
        ("aantal_ritten", "aandeel_pct", "aantal_apparaten"), "aantal_ritten_status"
    ),
}
"""Every figure about people, with the column that explains its absence."""
OF_PERIODS = {
    "snuffelfiets_pm25_contrast": {
        f: "contrast_ug_m3_status" for f in ("contrast_ug_m3", "aantal_ritten", "aantal_apparaten")
    },
    "snuffelfiets_kalibratie": {
        f: "aantal_paren_status"
        for f in ("aantal_paren", "aantal_apparaten", "rmse_ug_m3", "helling", "helling_fouten_in_beide")
    },
    "snuffelfiets_evaluatie": {"waarde": "waarde_status", "vergelijking": "vergelijking_status"},
}
"""The same for tables over other periods than one month."""


@dataclass(frozen=True)
class Autumn:
    """An installation, its releases just before and just after October was closed, and the truth."""

    platform: Platform
    before: Mapping[str, pd.DataFrame]
    after: Mapping[str, pd.DataFrame]
    truth: Path
    rows: int

    @cached_property
    def measurements(self) -> pd.DataFrame:
        return toolbox.lake_table(self.platform, CLEANED)

    @cached_property
    def riding(self) -> pd.DataFrame:
        return riding_rows(self.measurements)

    @cached_property
    def rides(self) -> pd.DataFrame:
        return rides_of(self.riding)

    @cached_property
    def outside_zones(self) -> pd.DataFrame:
        return outside_zones(self.riding, self.rides, self.measurements)

    def truth_of(self, what: str) -> pd.DataFrame:
        return pd.read_parquet(self.truth / f"{what}.parquet")


@pytest.fixture(scope="module")
def autumn(tmp_path_factory: pytest.TempPathFactory) -> Autumn:
    folder = tmp_path_factory.mktemp("autumn")
    home, truth = folder / "home", folder / "truth"
    inbox = home / "inbox" / toolbox.EXPERIMENT
    made = simulate(inbox, truth, last_day=LAST_DAY, days=DAYS, participants=DEVICES, seed=SEED)
    platform = toolbox.installation(home, DELIVERED)
    assert run_table(platform, platform.tables[RAW], run_id="delivery").passed
    releases = []
    for now in (LAST_OPEN_SECOND, LAST_OPEN_SECOND + timedelta(seconds=1)):
        platform = toolbox.installation(home, now)
        came_to = toolbox.direct_night(platform)
        assert (came_to.held_back, came_to.refusals) == ({}, [])
        releases.append(toolbox.published(platform))
    before, after = releases
    return Autumn(platform, before, after, truth, made.rows)


# -- What may be shown -----------------------------------------------------------------------------------


def test_a_month_is_published_from_seven_days_after_its_end(autumn: Autumn) -> None:
    for name, figures in STATUS_OF.items():
        shown = {
            n: t[name][t[name][list(figures)].notna().any(axis=1)]
            for n, t in (("before", autumn.before), ("after", autumn.after))
        }
        assert sorted(set(shown["before"]["maand"])) == CLOSED[:1], name
        assert sorted(set(shown["after"]["maand"])) == CLOSED, name


def test_an_open_month_has_process_counts_and_no_figures(autumn: Autumn) -> None:
    overview = autumn.after["snuffelfiets_overzicht"].set_index("maand")
    month = overview.loc[OPEN]
    assert month["metingen_ontvangen"] > 0
    assert [month[s] for s in STATUS_OF["snuffelfiets_overzicht"].values()] == ["niet_beschikbaar"] * 4
    others = [n for n in STATUS_OF if n != "snuffelfiets_overzicht"]
    assert [n for n in others if OPEN in set(autumn.after[n]["maand"])] == []


@pytest.mark.parametrize("name", [*STATUS_OF, *OF_PERIODS])
def test_a_figure_is_blank_exactly_where_its_status_says_that_it_is_absent(autumn: Autumn, name: str) -> None:
    table = autumn.after[name]
    for figure, status in {**STATUS_OF, **OF_PERIODS}[name].items():
        assert table[status].notna().all()
        assert (table[figure].isna() == table[status].isin(ABSENT)).all(), figure
    without = ABSENT | {"onvoldoende_betrouwbaar"}
    for bounds, status in (
        (INTERVAL, "pm25_ug_m3_status"),
        (INTERVAL_OF_EXCESS, "pm25_verhoging_ug_m3_status"),
    ):
        for bound in set(bounds) & set(table):
            assert (table[bound].isna() == table[status].isin(without)).all()


def test_every_blank_of_a_published_table_has_a_reason(autumn: Autumn) -> None:
    """Columns that may be blank are figures with a status, or have one that says so by its name."""
    explained = {
        "peildatum",
        "limitations",
        "beperkingen",
        "leeg_omdat",
        "eenheid",
        "statuskolom",
        "toelichting",
    }
    explained |= {"rijen_beoordeeld", "rijen_afwijkend", *INTERVAL, *INTERVAL_OF_EXCESS}
    # One status for all figures of a row.
    rows_of_figures = {
        "snuffelfiets_pm25_contrast": ("contrast", "aantal"),
        "snuffelfiets_kalibratie": ("helling", "aantal", "aandeel", "afwijking", "rmse", "r2"),
        "snuffelfiets_evaluatie": ("waarde", "vergelijking", "aantal"),
        "snuffelfiets_pm25_uur": ("stations_ug_m3",),
        # What kind of row it is (keuze, niveau) tells what it holds; the rest has waarde_status.
        "gevoeligheid": (
            "waarde",
            "steekproef",
            "spreiding",
            "aandeel",
            "is_",
            "conclusie_uitkomst",
            "aantal_",
        ),
        # By status: a table of which nobody spoke has no figure, speaker or text.
        "duidingen": (
            "rij",
            "kolom",
            "release",
            "waarde_",
            "onder_",
            "boven_",
            "verouderd_omdat",
            "namens",
            "datum",
            "betekent",
            "tegenlezing",
            "open_vragen",
        ),
        # Fields that the national standard leaves open.
        "algoritmeregister": ("begindatum", "einddatum", "link_", "titel_", "verwerkingsregister"),
    }
    for name, table in autumn.after.items():
        blank = {c for c in table if table[c].isna().any()}
        blank = {c for c in blank if not str(c).startswith(rows_of_figures.get(name, ("?",)))}
        assert blank <= explained | set(STATUS_OF.get(name, {})), name


def test_every_municipality_and_the_province_stand_in_every_closed_month(autumn: Autumn) -> None:
    table = autumn.after["snuffelfiets_pm25_gemeente"]
    for month in CLOSED:
        codes = table.loc[table["maand"] == month, "gebied_code"]
        assert len(codes) == codes.nunique() == 27
        assert codes.str.fullmatch(r"GM\d{4}").sum() == 26
        assert "PV26" in set(codes)


def test_five_devices_and_no_leader_stand_behind_every_cell_and_municipality(autumn: Autumn) -> None:
    rows = autumn.outside_zones
    for name, area in (("snuffelfiets_pm25_cel", "cel_500m"), ("snuffelfiets_pm25_gemeente", "gebied_code")):
        table = autumn.after[name]
        shown = table[table["pm25_ug_m3"].notna()]
        assert len(shown) >= 6
        for row in toolbox.records(shown):
            behind = rows_behind(rows, row.maand, area, getattr(row, area))
            per_device = behind["apparaat"].value_counts()
            assert len(per_device) == row.aantal_apparaten >= K
            assert per_device.max() / len(behind) <= LARGEST_SHARE
    # Counter-test: there is something to hide, since most cells do not rest on five devices.
    devices = rows[rows["maand"].isin(CLOSED)].groupby(["maand", "cel_500m"])["apparaat"].nunique()
    assert (devices < K).sum() > (devices >= K).sum()


def test_all_cells_that_may_be_shown_are(autumn: Autumn) -> None:
    rows = autumn.outside_zones[autumn.outside_zones["maand"].isin(CLOSED)]
    per_device = rows.groupby(["maand", "cel_500m", "apparaat"]).size()
    of_cell = per_device.groupby(["maand", "cel_500m"])
    showable = (of_cell.size() >= K) & (of_cell.max() / of_cell.sum() <= LARGEST_SHARE)
    expected = set(showable.index[showable])
    found = toolbox.pairs(autumn.after["snuffelfiets_pm25_cel"][["maand", "cel_500m"]])
    assert len(found ^ expected) <= 1, (
        "a row on the edge of a cell may be placed otherwise by another projection"
    )
    assert len(found) > 20


def test_no_hidden_municipality_follows_from_the_province(autumn: Autumn) -> None:
    rows, table = autumn.outside_zones, autumn.after["snuffelfiets_pm25_gemeente"]
    for month in CLOSED:
        of_month = table[(table["maand"] == month) & (table["gebied_code"] != "PV26")]
        province = table[(table["maand"] == month) & (table["gebied_code"] == "PV26")]
        assert province["aantal_metingen"].notna().all()
        hidden = set(of_month.loc[of_month["pm25_ug_m3"].isna(), "gebied_code"])
        rest = rows[(rows["maand"] == month) & rows["gebied_code"].isin(hidden)]
        left = int(province["aantal_metingen"].item() - of_month["aantal_metingen"].sum())
        assert left == pytest.approx(len(rest), abs=3)
        assert rest["apparaat"].nunique() >= K
        assert rest["apparaat"].value_counts(normalize=True).iloc[0] <= LARGEST_SHARE


def test_classes_of_rides_rest_on_five_devices_and_hide_no_small_rest(autumn: Autumn) -> None:
    table = autumn.after["snuffelfiets_ritten_verdeling"]
    classified = with_classes(autumn.rides)
    for (month, kind), classes in table.groupby(["maand", "kenmerk"]):
        rides = classified[classified["maand"] == month]
        shown = classes.dropna(subset=["aantal_ritten"])
        for row in toolbox.records(shown):
            behind = rides.loc[rides[kind] == row.klasse, "apparaat"].value_counts()
            assert len(behind) >= K and behind.iloc[0] / behind.sum() <= LARGEST_SHARE
        rest = rides.loc[~rides[kind].isin(set(shown["klasse"])), "apparaat"]
        assert rest.empty or rest.nunique() >= K


def test_no_device_ride_or_place_of_a_person_is_published(autumn: Autumn) -> None:
    secret = {*autumn.rides["apparaat"], *toolbox.lake_table(autumn.platform, RIDES)["rit_id"]}
    secret |= set(autumn.truth_of("apparaten")["entity_id"].astype("str"))
    published = " ".join(t.to_csv() for t in autumn.after.values())
    assert [s for s in secret if s in published] == []
    assert [n for n, t in autumn.after.items() if {"apparaat", "rit_id", "lengtegraad"} & set(t)] == []
    # Counter-test: the search finds what is there.
    assert autumn.after["release"]["release_id"].item() in published


# -- Totals ----------------------------------------------------------------------------------------------


def test_received_is_usable_plus_quarantine_and_quarantine_is_that_of_the_reasons(autumn: Autumn) -> None:
    overview = autumn.after["snuffelfiets_overzicht"]
    assert overview["metingen_ontvangen"].sum() == autumn.rows
    assert (
        overview["metingen_bruikbaar"] + overview["metingen_in_quarantaine"] == overview["metingen_ontvangen"]
    ).all()
    reasons = autumn.after["datakwaliteit_quarantaine"]
    of_rides = reasons[reasons["tabel"] == "snuffelfiets/cleaned/metingen"]
    assert of_rides["aantal_rijen"].sum() == overview["metingen_in_quarantaine"].sum()
    assert set(overview["maand"]) == {*CLOSED, OPEN, "onbekend"}
    # Rows of 1970 and 2106, planted by the simulation.
    faults = autumn.truth_of("rijen")["fout"].fillna("")
    wrong_clock = faults.str.contains("klok_1970|klok_2106").sum()
    assert overview.set_index("maand").loc["onbekend", "metingen_ontvangen"] == wrong_clock > 0


def test_quality_tells_of_every_table_and_counts_no_rides(autumn: Autumn) -> None:
    quality = autumn.after["datakwaliteit"]
    assert set(quality["oordeel"]) == {"geslaagd"}
    # No source on the network is set, so none was judged, and what only comes from one never landed.
    made = [t for t in autumn.platform.tables.values() if autumn.platform.lake.exists(t.path)]
    expected = {(t.path, r.name) for t in made for r in t.contract.rules if r.name != SOURCE_RULE}
    assert toolbox.pairs(quality[["tabel", "regel"]]) == expected
    counted = set(quality.loc[quality["rijen_beoordeeld"].notna(), "tabel"])
    # The number of rides or passages of last night's days would be a figure about people.
    hourly = {"snuffelfiets/cleaned/referentie", "snuffelfiets/cleaned/weer"}
    assert {t for t in counted if "/cleaned/" in t or "/indicators/" in t} == {CLEANED, *hourly}
    # And no verdict is one on no rows, where there were rows in the same night.
    assert (quality.loc[quality["tabel"] == CLEANED, "rijen_beoordeeld"] > 1000).all()


# -- Figures, computed once more --------------------------------------------------------------------------


def test_overview_is_that_of_an_independent_reckoning(autumn: Autumn) -> None:
    overview = autumn.after["snuffelfiets_overzicht"].set_index("maand")
    for month in CLOSED:
        rides = autumn.rides[autumn.rides["maand"] == month]
        assert overview.loc[month, "ritten"] == pytest.approx(len(rides), abs=2)
        assert overview.loc[month, "afstand_km"] == pytest.approx(rides["afstand_m"].sum() / 1000, rel=1e-3)
        assert overview.loc[month, "rijtijd_uur"] == pytest.approx(rides["rijtijd_s"].sum() / 3600, rel=1e-3)
        days = local(autumn.measurements["opgenomen_op"]).dt.strftime("%Y-%m")
        assert overview.loc[month, "metingen_bruikbaar"] == (days == month).sum()
        assert (
            overview.loc[month, "apparaten"] == autumn.measurements.loc[days == month, "apparaat"].nunique()
        )


@pytest.mark.parametrize(
    ("name", "area"), [("snuffelfiets_pm25_cel", "cel_500m"), ("snuffelfiets_pm25_gemeente", "gebied_code")]
)
def test_pm25_and_its_interval_are_those_of_the_definition(autumn: Autumn, name: str, area: str) -> None:
    table = autumn.after[name]
    reliable = table[table["pm25_ug_m3_status"] == "definitief"]
    assert len(reliable) >= 5
    for row in toolbox.records(reliable.nlargest(5, "aantal_apparaten")):
        rows = rows_behind(autumn.outside_zones, row.maand, area, getattr(row, area))
        mean, low, high = two_way_interval(rows)
        assert row.aantal_metingen == pytest.approx(len(rows), rel=0.002)
        assert row.aantal_dagen == rows["meetdag"].nunique()
        assert row.pm25_ug_m3 == pytest.approx(mean, abs=0.03)
        assert row.pm25_onder_ug_m3 == pytest.approx(low, abs=0.05)
        assert row.pm25_boven_ug_m3 == pytest.approx(high, abs=0.05)
        # Counter-test: rows taken for independent give another interval, and a far narrower one.
        naive = stats.sem(rows["pm25_ug_m3"]) * stats.t.ppf(0.975, len(rows) - 1)
        assert (high - low) / 2 > 1.5 * naive


def test_the_municipality_of_most_riding_is_near_the_truth_after_bias(autumn: Autumn) -> None:
    """What the devices should have read on the rows behind the figure, from the true air on each of them."""
    expected = expected_readings(autumn)
    table = autumn.after["snuffelfiets_pm25_gemeente"]
    for row in toolbox.records(table[table["pm25_ug_m3"].notna()]):
        behind = rows_behind(autumn.outside_zones, row.maand, "gebied_code", row.gebied_code)
        truth = expected.loc[behind["bron_id"]].mean()
        assert row.pm25_ug_m3 == pytest.approx(truth, abs=0.15)
        # Counter-test: over all rows of the month, standing ones too, it is another figure.
    busiest = table.nlargest(1, "aantal_metingen").to_dict("records")[0]
    everything = autumn.measurements[
        local(autumn.measurements["opgenomen_op"]).dt.strftime("%Y-%m") == busiest["maand"]
    ]
    assert busiest["pm25_ug_m3"] != pytest.approx(expected.loc[everything["bron_id"]].mean(), abs=0.15)


def test_rides_and_kilometres_are_those_that_were_ridden(autumn: Autumn) -> None:
    truth = autumn.truth_of("ritten")
    truth["maand"] = local(truth["vertrek_utc"]).dt.strftime("%Y-%m")
    truth[["afstand_km", "rijtijd_uur"]] = truth[["afstand_m", "rijtijd_s"]] / [1000, 3600]
    ridden = truth.groupby("maand").agg(
        ritten=("rit", "size"), afstand_km=("afstand_km", "sum"), rijtijd_uur=("rijtijd_uur", "sum")
    )
    overview = autumn.after["snuffelfiets_overzicht"].set_index("maand")[list(ridden)]
    share = (overview / ridden).loc[CLOSED]
    # Lost packets, no fix and short rides take away; pauses under ten minutes join two rides.
    assert share["ritten"].between(0.92, 1.02).all()
    assert share["afstand_km"].between(0.88, 1.0).all()
    assert share["rijtijd_uur"].between(0.90, 1.1).all()
    # Counter-test: with the positions of rows without a fix the distance is out of all proportion.
    assert distance_of_all_positions_km(autumn) > 100 * truth["afstand_m"].sum() / 1000


def test_a_ride_over_midnight_is_one_ride_on_the_day_of_departure(autumn: Autumn) -> None:
    truth = autumn.truth_of("ritten")
    leaves, arrives = local(truth["vertrek_utc"]).dt.date, local(truth["aankomst_utc"]).dt.date
    over_midnight = truth[leaves != arrives]
    assert len(over_midnight) >= 3
    rides = toolbox.lake_table(autumn.platform, RIDES)
    found = 0
    devices = device_of(autumn)
    for ride in toolbox.records(over_midnight):
        own = rides[rides["apparaat"] == devices[ride.entity_id]]
        in_time = own[(own["start_op"] < ride.aankomst_utc) & (own["einde_op"] > ride.vertrek_utc)]
        for one in toolbox.records(in_time):
            is_over = local(pd.Series([one.start_op, one.einde_op])).dt.date.nunique() == 2
            found += is_over
            assert one.meetdag == local(pd.Series([one.start_op])).dt.date.item()
            # Nothing of it is counted a second time on the day of arrival.
            others = own[(own["start_op"] > one.start_op) & (own["start_op"] < one.einde_op)]
            assert others.empty
    assert found >= 2
    assert rides["rit_id"].is_unique


def test_days_and_hours_are_local_also_in_the_night_that_the_clock_goes_back(autumn: Autumn) -> None:
    table = autumn.after["snuffelfiets_ritten_verdeling"]
    shown = table[(table["kenmerk"] == "vertrekuur") & table["aantal_ritten"].notna()]
    hours = autumn.rides["start_op"].dt.tz_convert(LOCAL).dt.hour
    for row in toolbox.records(shown):
        own = ((autumn.rides["maand"] == row.maand) & (hours == int(row.klasse))).sum()
        assert row.aantal_ritten == pytest.approx(own, abs=2)
    # Counter-test: in UTC, or with summer time kept on, the hours of the last days of October are others.
    after = autumn.rides["start_op"] > pd.Timestamp("2024-10-27T01:00Z")
    assert after.any()
    assert (autumn.rides["start_op"].dt.tz_convert("Etc/GMT-2").dt.hour != hours)[after].all()
    days = pd.to_datetime(autumn.measurements["meetdag"]).dt.date
    assert (days == local(autumn.measurements["opgenomen_op"]).dt.date).all()
    assert (days != autumn.measurements["opgenomen_op"].dt.date).any()


def test_shares_of_classes_are_those_of_all_rides(autumn: Autumn) -> None:
    table, classified = autumn.after["snuffelfiets_ritten_verdeling"], with_classes(autumn.rides)
    for row in toolbox.records(table.dropna(subset=["aantal_ritten"])):
        rides = classified[classified["maand"] == row.maand]
        number = (rides[row.kenmerk] == row.klasse).sum()
        assert row.aantal_ritten == pytest.approx(number, abs=2)
        assert row.aandeel_pct == pytest.approx(100 * number / len(rides), abs=0.4)


# -- Choices that could have been made otherwise -----------------------------------------------------------

CHOICES = {
    "KOPLOPER_SNUFFELFIETS_NUL_PM": "weglaten",
    "KOPLOPER_SNUFFELFIETS_RIT_PAUZE_MIN": "0.5",
    "KOPLOPER_SNUFFELFIETS_OPWARMEN_METINGEN": "0",
}


# -- Against stations, weather and roads ------------------------------------------------------------------


def background_of(autumn: Autumn) -> pd.Series:
    """Mean of the two background stations as they measured, by the start of the hour in UTC."""
    hours = autumn.truth_of("referentie")
    of_background = hours[hours["station"].isin(["NL10643", "NL10644"])].dropna(subset=["gemeten_ug_m3"])
    return of_background.groupby("uur_op")["gemeten_ug_m3"].mean()


def test_stations_are_shown_over_all_hours_of_the_local_day(autumn: Autumn) -> None:
    background = background_of(autumn)
    at = pd.DatetimeIndex(background.index).tz_convert(LOCAL)
    expected = background.groupby([at.strftime("%Y-%m"), at.strftime("%H")]).agg(["mean", "size"])
    shown = autumn.after["snuffelfiets_pm25_uur"].query("kenmerk == 'uur_van_de_dag'")
    assert len(shown) == 24 * len(CLOSED)
    for row in toolbox.records(shown):
        mean, hours = expected.loc[(row.maand, row.klasse)]
        assert row.stations_ug_m3 == pytest.approx(mean, abs=1e-3)
        assert row.stations_uren == hours
    # Counter-test: by the hour of UTC it is another curve.
    utc = background.groupby(pd.DatetimeIndex(background.index).strftime("%H")).mean()
    october = shown[shown["maand"] == CLOSED[-1]].set_index("klasse")["stations_ug_m3"]
    assert abs(october - utc).max() > 0.1


@pytest.mark.parametrize("name", ["pm25_cel", "pm25_gemeente", "pm25_uur", "kalibratie"])
def test_tables_say_how_far_their_reference_reaches(autumn: Autumn, name: str) -> None:
    hours = autumn.truth_of("referentie").dropna(subset="gemeten_ug_m3")["uur_op"]
    last = hours.groupby(local(hours).dt.strftime("%Y-%m")).max()
    rows = autumn.after[f"snuffelfiets_{name}"].rename(columns={"periode": "maand"})
    shown = pd.to_datetime(rows["laatste_referentie_uur"], utc=True).groupby(rows["maand"]).unique()
    closed = shown.drop("totaal", errors="ignore")
    assert len(closed) > 0
    for month, told in closed.items():
        assert list(told) == [last[month]]
    if name == "kalibratie":
        assert list(shown["totaal"]) == [last[closed.index].max()]


def test_hours_of_a_weather_class_are_those_that_knmi_wrote(autumn: Autumn) -> None:
    weather = autumn.truth_of("lucht").set_index("uur_op")
    background = background_of(autumn)
    month = pd.DatetimeIndex(background.index).tz_convert(LOCAL).strftime("%Y-%m") == CLOSED[-1]
    of_month = weather.loc[background.index[month]]
    shown = autumn.after["snuffelfiets_pm25_uur"]
    hours = shown[shown["maand"] == CLOSED[-1]].set_index(["kenmerk", "klasse"])["stations_uren"]
    assert hours["wind_m_s", "9+"] == (of_month["wind_m_s"] >= 9).sum()
    wet = of_month["luchtvochtigheid_pct"].between(80, 90, inclusive="left")
    assert hours["luchtvochtigheid_pct", "80-90"] == wet.sum() > 0
    dry = of_month["neerslag_mm"] < 0.1
    # A trace is less than the least amount that is measured.
    assert of_month["is_spoor"].any()
    assert hours["neerslag_mm", "0-0.1"] == dry.sum()
    assert hours["wind_m_s", "onbekend"] == 0


def test_excess_is_near_the_truth_and_rests_on_calibrated_devices(autumn: Autumn) -> None:
    truth = autumn.truth_of("rijen").set_index("_id")["pm25_ug_m3"]
    background = autumn.truth_of("lucht").set_index("uur_op")["achtergrond_ug_m3"]
    rows = autumn.outside_zones
    inside = rows[rows["gebied_code"] != "buiten provincie"]
    pairs = toolbox.lake_table(autumn.platform, "snuffelfiets/indicators/ijkparen")
    hours = pairs.groupby(["maand", "apparaat"])["uur"].nunique()
    table = toolbox.lake_table(autumn.platform, "snuffelfiets/indicators/pm25_gemeente")
    province = table[(table["gebied_code"] == "PV26") & table["pm25_verhoging_ug_m3"].notna()]
    assert len(province) >= 1
    for row in toolbox.records(province):
        calibrated = set(hours[row.maand].index[hours[row.maand] >= 3])
        behind = inside[(inside["maand"] == row.maand) & inside["apparaat"].isin(calibrated)]
        assert row.aantal_apparaten_geijkt == behind["apparaat"].nunique() >= K
        hour = behind["opgenomen_op"].dt.floor("h")
        expected = (truth.loc[behind["bron_id"]].to_numpy() - background.loc[hour].to_numpy()).mean()
        width = row.pm25_verhoging_boven_ug_m3 - row.pm25_verhoging_onder_ug_m3
        assert abs(row.pm25_verhoging_ug_m3 - expected) <= width
        assert row.achtergrond_ug_m3 == pytest.approx(background.loc[hour].mean(), abs=0.3)


def test_excess_is_shown_only_where_enough_calibrated_devices_are_behind_it(autumn: Autumn) -> None:
    indicator = toolbox.lake_table(autumn.platform, "snuffelfiets/indicators/pm25_uur")
    key = ["maand", "kenmerk", "klasse"]
    both = autumn.after["snuffelfiets_pm25_uur"].merge(indicator, on=key, suffixes=("", "_intern"))
    shown = both[both["pm25_verhoging_ug_m3"].notna()]
    assert (shown["aantal_apparaten_geijkt"] >= K).all()
    assert (shown["grootste_aandeel_geijkt"] <= LARGEST_SHARE).all()
    # Counter-test: there is something to hide.
    hidden = both[both["pm25_verhoging_ug_m3"].isna() & both["pm25_verhoging_ug_m3_intern"].notna()]
    assert len(hidden) > 0
    assert set(hidden["pm25_verhoging_ug_m3_status"]) == {"onderdrukt"}


def test_calibration_is_judged_and_says_what_was_used(autumn: Autumn) -> None:
    table = toolbox.lake_table(autumn.platform, "snuffelfiets/evaluation/kalibratie")
    pairs = toolbox.lake_table(autumn.platform, "snuffelfiets/indicators/ijkparen")
    pairs = pairs[pairs["maand"].isin(CLOSED)]
    raw = table[(table["periode"] == "totaal") & (table["model"] == "ongeijkt")].iloc[0]
    difference = pairs["pm25_ug_m3"] - pairs["station_ug_m3"]
    assert raw["aantal_paren"] == len(pairs) > 50
    assert raw["afwijking_ug_m3"] == pytest.approx(difference.mean(), abs=0.001)
    assert raw["rmse_ug_m3"] == pytest.approx((difference**2).mean() ** 0.5, abs=0.001)
    fitted = stats.linregress(pairs["station_ug_m3"], pairs["pm25_ug_m3"])
    assert raw["r2"] == pytest.approx(fitted.rvalue**2, abs=0.001)
    assert raw["helling"] == pytest.approx(fitted.slope, abs=0.001)
    # Stations err too, which flattens the ordinary slope.
    assert raw["helling_fouten_in_beide"] > raw["helling"]
    assert raw["helling_onder"] < raw["helling"] < raw["helling_boven"]
    used = table[table["is_toegepast"]]
    assert (used.groupby("periode").size() == 1).all() and "totaal" not in set(used["periode"])
    for row in toolbox.records(used):
        tried = table[(table["periode"] == row.periode) & (table["model"] != "ongeijkt")]
        assert row.rmse_ug_m3 <= tried["rmse_ug_m3"].min() + 0.01
    assert set(table.loc[table["model"] != "ongeijkt", "oordeel_over"]) == {
        "andere apparaten in andere weken"
    }
    shown = autumn.after["snuffelfiets_kalibratie"]
    assert set(shown["periode"]) == {*CLOSED, "totaal"}
    leader = pairs["apparaat"].value_counts(normalize=True).iloc[0]
    is_shown = shown.loc[shown["periode"] == "totaal", "rmse_ug_m3"].notna().any()
    assert is_shown == (leader <= LARGEST_SHARE and pairs["apparaat"].nunique() >= K)


def test_contrast_without_a_list_of_roads_is_an_approximation(autumn: Autumn) -> None:
    rows = autumn.after["snuffelfiets_pm25_contrast"].set_index("periode")
    assert list(rows.index) == [*CLOSED, "totaal"]
    assert rows.loc["totaal", "contrast_ug_m3_status"] == "benadering"
    assert set(rows["wegtype_bron"]) == {"verkeersachtige cellen in de metingen"}
    # Cells that are told apart wrongly make it too small; noise alone does not make it too large.
    assert rows.loc["totaal", "contrast_onder_ug_m3"] < 2.0


def test_passages_of_the_network_are_those_ridden_and_hide_small_cells(autumn: Autumn) -> None:
    rows = autumn.outside_zones[autumn.outside_zones["maand"] == CLOSED[-1]]
    hour = rows["opgenomen_op"].dt.floor("h")
    passages = rows.assign(uur=hour).drop_duplicates(["apparaat", "start_op", "cel_100m", "uur"])
    per_device = passages.groupby(["cel_100m", "apparaat"]).size().groupby("cel_100m")
    showable = per_device.size().index[
        (per_device.size() >= K) & (per_device.max() / per_device.sum() <= LARGEST_SHARE)
    ]
    shown = autumn.after["snuffelfiets_fietsnetwerk"].query(f"maand == '{CLOSED[-1]}'").set_index("cel_100m")
    assert len(set(shown.index) ^ set(showable)) <= 2
    both = shown.index.intersection(showable)
    assert len(both) > 20
    assert (abs(shown.loc[both, "aantal_passages"] - per_device.sum()[both]) <= 3.5).all()


def test_trips_add_up_to_rides_and_leave_no_small_rest(autumn: Autumn) -> None:
    for month in CLOSED:
        rows = autumn.outside_zones[autumn.outside_zones["maand"] == month].sort_values("opgenomen_op")
        ride = rows.groupby(["apparaat", "start_op"])["gebied_code"]
        trips = pd.DataFrame({"van": ride.first(), "naar": ride.last()}).reset_index()
        shown = autumn.after["snuffelfiets_herkomst_bestemming"].query(f"maand == '{month}'")
        whole = shown[shown["herkomst_code"] == "PV26"]
        assert whole["aantal_ritten"].item() == pytest.approx(len(trips), abs=2)
        relations = shown[shown["herkomst_code"] != "PV26"]
        counted = trips.groupby(["van", "naar"])["apparaat"].agg(["size", "nunique"])
        for row in toolbox.records(relations):
            size, devices = counted.loc[(row.herkomst_code, row.bestemming_code)]
            assert row.aantal_ritten == pytest.approx(size, abs=2)
            assert row.aantal_apparaten == pytest.approx(devices, abs=1) and devices >= K
        shown_pairs = toolbox.pairs(relations[["herkomst_code", "bestemming_code"]])
        is_shown = pd.Series(list(zip(trips["van"], trips["naar"], strict=True))).isin(shown_pairs)
        rest = trips.loc[~is_shown.to_numpy(), "apparaat"]
        assert rest.nunique() >= K


def test_contrast_with_a_list_of_roads_is_that_of_the_true_roads(autumn: Autumn) -> None:
    """Last of the tests on these nights: it lands a list of roads in the installation."""
    truth = autumn.truth_of("rijen").set_index("_id")
    rows = autumn.outside_zones[autumn.outside_zones["maand"].isin(CLOSED)].copy()
    rows["is_hoofdweg"] = (truth.loc[rows["bron_id"], "wegtype"] == "hoofdweg").to_numpy()
    share = rows.groupby("cel_100m")["is_hoofdweg"].mean()
    lines = [f"{c},{'hoofdweg' if s > 0.5 else 'rustige_weg'},kaart van de proef" for c, s in share.items()]
    place = autumn.platform.settings.home / "inbox" / "snuffelfiets" / "wegtypen"
    place.mkdir(parents=True, exist_ok=True)
    (place / "wegen.csv").write_text(
        "\n".join(["cel_100m,wegtype,bron", *lines, "fout,snelweg,kaart"]) + "\n"
    )
    for table in (
        "snuffelfiets/raw/wegtypen",
        "snuffelfiets/cleaned/wegtypen",
        "snuffelfiets/indicators/pm25_contrast",
        "snuffelfiets/published/pm25_contrast",
    ):
        assert run_table(autumn.platform, autumn.platform.tables[table], run_id="wegen").passed, table
    assert toolbox.quarantine(autumn.platform, "snuffelfiets/cleaned/wegtypen")["reden"].tolist() == [
        "onleesbare_cel"
    ]
    found = toolbox.lake_table(autumn.platform, "snuffelfiets/published/pm25_contrast").set_index("periode")
    row = found.loc["totaal"]
    assert (row["wegtype_bron"], row["contrast_ug_m3_status"]) == ("kaart van de proef", "definitief")
    # The same contrast of the true air, as a regression with an effect for each ride and hour.
    stretch = [rows["apparaat"], rows["start_op"], rows["opgenomen_op"].dt.floor("h")]
    air = pd.Series(truth.loc[rows["bron_id"], "pm25_ug_m3"].to_numpy(), index=rows.index)
    busy = (rows["cel_100m"].map(share) > 0.5).astype(float)
    within = [v - v.groupby(stretch).transform("mean") for v in (air, busy)]
    expected = float((within[0] * within[1]).sum() / (within[1] ** 2).sum())
    assert expected == pytest.approx(1.6, abs=0.4)
    assert row["contrast_onder_ug_m3"] <= expected * 1.1 and expected * 0.9 <= row["contrast_boven_ug_m3"]
    assert row["contrast_onder_ug_m3"] > 0.5


@pytest.fixture(scope="module")
def spring(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of a few devices in the days around 30 March 2025, when the clock goes forward."""
    folder = tmp_path_factory.mktemp("spring")
    inbox = folder / "home" / "inbox" / toolbox.EXPERIMENT
    simulate(inbox, folder / "truth", last_day=date(2025, 4, 1), days=5, participants=8, seed=3)
    platform = spring_platform(folder / "home")
    came_to = toolbox.direct_night(platform)
    assert (came_to.held_back, came_to.refusals) == ({}, [])
    return folder / "home"


def spring_platform(home: Path) -> Platform:
    return toolbox.installation(home, datetime(2025, 4, 10, tzinfo=UTC), small_table_rows=0)


def test_days_and_hours_are_local_also_in_the_night_that_the_clock_goes_forward(spring: Path) -> None:
    platform = spring_platform(spring)
    measurements = toolbox.lake_table(platform, CLEANED)
    assert (
        pd.to_datetime(measurements["meetdag"]).dt.date == local(measurements["opgenomen_op"]).dt.date
    ).all()
    rides = rides_of(riding_rows(measurements))
    counted = toolbox.lake_table(platform, "snuffelfiets/indicators/ritten_verdeling")
    hours = counted[counted["kenmerk"] == "vertrekuur"].groupby("klasse")["aantal_ritten"].sum()
    own = local(rides["start_op"]).dt.strftime("%H").value_counts()
    assert (hours - own.reindex(hours.index, fill_value=0)).abs().sum() <= 2
    # Counter-test: with winter time kept on, half of the rides would be at another hour.
    kept_on = rides["start_op"].dt.tz_convert("Etc/GMT-1").dt.strftime("%H").value_counts()
    assert (hours - kept_on.reindex(hours.index, fill_value=0)).abs().sum() > 10


@pytest.mark.parametrize("choice", CHOICES)
def test_another_choice_makes_all_days_pending_and_says_why(
    spring: Path, choice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert spring_platform(spring).plan().pending() == []
    monkeypatch.setenv(choice, CHOICES[choice])
    platform = spring_platform(spring)
    for path in (CLEANED, RIDES):
        pending = platform.plan().pending_of(platform.tables[path])
        assert set(pending) == set(platform.lake.head(path).partitions)
        assert set(pending.values()) == {"instellingen gewijzigd"}


def test_other_choices_change_what_they_are_about(
    spring: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = spring_platform(spring)
    before, rides_before = toolbox.lake_table(base, CLEANED), toolbox.lake_table(base, RIDES)
    assert (toolbox.quarantine(base, CLEANED)["reden"] == "pm_opwarmen").any()
    assert before["is_onder_detectie"].any()
    home = Path(shutil.copytree(spring, tmp_path / "home"))
    for name, value in CHOICES.items():
        monkeypatch.setenv(name, value)
    platform = spring_platform(home)
    toolbox.direct_night(platform)
    assert platform.plan().pending() == []
    after, aside = toolbox.lake_table(platform, CLEANED), toolbox.quarantine(platform, CLEANED)
    # No warming up: those rows are used, unless something else is the matter with them.
    assert not (aside["reden"] == "pm_opwarmen").any()
    # Zeros of firmware 1 are set aside, where they were 1 µg/m³ before.
    zeros = set(before.loc[before["is_onder_detectie"], "bron_id"])
    assert zeros <= set(aside.loc[aside["reden"] == "pm_onder_detectie", "bron_id"])
    assert not after["is_onder_detectie"].any()
    # A wait at a traffic light ends a ride.
    rides = toolbox.lake_table(platform, RIDES)
    assert len(rides) == pytest.approx(len(rides_of(riding_rows(after, pause_min=0.5))), abs=2)
    assert len(rides) > len(rides_of(riding_rows(after))) + 5
    assert len(rides_before) == pytest.approx(len(rides_of(riding_rows(before))), abs=2)


# -- The reckoning ---------------------------------------------------------------------------------------


def local(moments: pd.Series) -> pd.Series:
    in_local: pd.Series = moments.dt.tz_convert(LOCAL)
    return in_local


def riding_rows(measurements: pd.DataFrame, pause_min: float = 10) -> pd.DataFrame:
    """Measurements that a device rode to, with distance and time, and the start of their ride."""
    rows = measurements.sort_values(["apparaat", "opgenomen_op", "bron_id"], ignore_index=True)
    same = rows["apparaat"] == rows["apparaat"].shift()
    before = rows[["opgenomen_op", "breedtegraad", "lengtegraad", "nauwkeurigheid_m"]].shift()
    geodesic = pyproj.Geod(ellps="WGS84")
    _, _, metres = geodesic.inv(
        before["lengtegraad"].fillna(5.0),
        before["breedtegraad"].fillna(52.0),
        rows["lengtegraad"],
        rows["breedtegraad"],
    )
    seconds = (rows["opgenomen_op"] - before["opgenomen_op"]).dt.total_seconds()
    speed = 3.6 * metres / seconds
    jitter = np.hypot(rows["nauwkeurigheid_m"], before["nauwkeurigheid_m"])
    is_riding = same & (seconds <= 300) & (speed >= 5) & (speed <= 45) & (metres > jitter)
    rows = rows.assign(vorige_op=before["opgenomen_op"], afstand_m=metres, tussentijd_s=seconds)
    rows = rows[is_riding.to_numpy(bool)]
    pause = rows["vorige_op"] - rows.groupby("apparaat")["opgenomen_op"].shift()
    starts = rows["vorige_op"].where(~(pause <= pd.Timedelta(minutes=pause_min)))
    made: pd.DataFrame = rows.assign(start_op=starts.ffill())
    return made


def rides_of(riding: pd.DataFrame) -> pd.DataFrame:
    """Rides of at least 300 m and a minute."""
    rides = riding.groupby(["apparaat", "start_op"], as_index=False).agg(
        einde_op=("opgenomen_op", "max"), afstand_m=("afstand_m", "sum"), rijtijd_s=("tussentijd_s", "sum")
    )
    lasted = (rides["einde_op"] - rides["start_op"]).dt.total_seconds()
    rides = rides[(rides["afstand_m"] >= 300) & (lasted >= 60)].reset_index(drop=True)
    departure = local(rides["start_op"])
    return rides.assign(maand=departure.dt.strftime("%Y-%m"), meetdag=departure.dt.date)


def with_classes(rides: pd.DataFrame) -> pd.DataFrame:
    """The classes that each ride belongs to."""

    def classes(values: pd.Series, edges: list[int]) -> pd.Series:
        names = [f"{a:02d}-{b:02d}" for a, b in itertools.pairwise(edges)] + [f"{edges[-1]:02d}+"]
        return pd.cut(values, [*edges, np.inf], right=False, labels=names).astype("str")

    lasted = (rides["einde_op"] - rides["start_op"]).dt.total_seconds()
    return rides.assign(
        afstand_km=classes(rides["afstand_m"] / 1000, [0, 1, 2, 5, 10, 15, 25]),
        duur_min=classes(lasted / 60, [0, 5, 10, 20, 30, 60, 120]),
        snelheid_km_h=classes(3.6 * rides["afstand_m"] / rides["rijtijd_s"], [0, 10, 15, 20, 25]),
        vertrekuur=local(rides["start_op"]).dt.strftime("%H"),
    )


def outside_zones(riding: pd.DataFrame, rides: pd.DataFrame, measurements: pd.DataFrame) -> pd.DataFrame:
    """Riding rows outside the shifted circles round the ends of rides, with cell, municipality and month."""
    rows = riding.merge(
        rides[["apparaat", "start_op", "einde_op", "maand", "meetdag"]].rename(columns={"meetdag": "ritdag"}),
        on=["apparaat", "start_op"],
    )
    to_rd = pyproj.Transformer.from_crs("EPSG:4326", "EPSG:28992", always_xy=True)
    places = measurements[["apparaat", "opgenomen_op", "lengtegraad", "breedtegraad"]].drop_duplicates(
        ["apparaat", "opgenomen_op"]
    )
    x, y = to_rd.transform(rows["lengtegraad"], rows["breedtegraad"])
    is_near = np.zeros(len(rows), dtype=bool)
    for end in ("start_op", "einde_op"):
        ends = (
            rides[["apparaat", "start_op", end]].drop_duplicates()
            if end != "start_op"
            else rides[["apparaat", "start_op"]]
        )
        found = ends.merge(places, left_on=["apparaat", end], right_on=["apparaat", "opgenomen_op"])
        centre = [
            zone_centre(a, *to_rd.transform(lon, lat))
            for a, lon, lat in zip(
                found["apparaat"], found["lengtegraad"], found["breedtegraad"], strict=True
            )
        ]
        found[["zone_x", "zone_y"]] = centre
        zones = rows[["apparaat", "start_op"]].merge(
            found[["apparaat", "start_op", "zone_x", "zone_y"]], how="left"
        )
        is_near |= np.hypot(x - zones["zone_x"].to_numpy(), y - zones["zone_y"].to_numpy()) <= 250
    squares = municipality_squares()
    named = {
        (a // 500, b // 500): c
        for a, b, c in zip(squares["rd_x_m"], squares["rd_y_m"], squares["gemeente_code"], strict=True)
    }
    east, north = (x // 500).astype(int), (y // 500).astype(int)
    made = rows.assign(
        cel_500m=[f"E{5 * a:04d}N{5 * b:04d}" for a, b in zip(east, north, strict=True)],
        gebied_code=[named.get(key, "buiten provincie") for key in zip(east, north, strict=True)],
        meetdag=rows["ritdag"],
        cel_100m=[
            f"E{int(a):04d}N{int(b):04d}" for a, b in zip(np.floor(x / 100), np.floor(y / 100), strict=True)
        ],
    )
    return made[~is_near].reset_index(drop=True)


def zone_centre(device: str, x: float, y: float) -> tuple[float, float]:
    """The end of a ride, shifted as its device and 500 m square say."""
    home = f"{device}|{np.floor(x / 500)}|{np.floor(y / 500)}"
    angle, area = (
        int(hashlib.sha256(f"{home}|{part}".encode()).hexdigest()[:13], 16) / 2**52
        for part in ("hoek", "oppervlak")
    )
    away, turn = 150 * np.sqrt(area), 2 * np.pi * angle
    return x + away * np.cos(turn), y + away * np.sin(turn)


def rows_behind(rows: pd.DataFrame, month: str, area: str, code: str) -> pd.DataFrame:
    """The rows that a figure rests on; those of the province are those of its municipalities."""
    is_there = rows[area] != "buiten provincie" if code == "PV26" else rows[area] == code
    return rows[(rows["maand"] == month) & is_there]


def two_way_interval(rows: pd.DataFrame) -> tuple[float, float, float]:
    """Mean and 95% interval clustered by device and day (CR2, Bell and McCaffrey), from the definition."""
    values = rows["pm25_ug_m3"]
    mean = float(values.mean())
    found = {}
    for keys in (("apparaat",), ("meetdag",), ("apparaat", "meetdag")):
        clusters = (values - mean).groupby([rows[k] for k in keys])
        share = clusters.size().to_numpy() / len(rows)
        variance = float(((clusters.sum() / len(rows)) ** 2 / (1 - share)).sum())
        centre = np.eye(len(share)) - share[None, :]
        spread = np.linalg.eigvals(centre.T @ np.diag(share**2 / (1 - share)) @ centre).real
        found[keys] = (variance, spread.sum() ** 2 / (spread**2).sum())
    (device, device_freedom), (day, day_freedom), (both, _) = found.values()
    freedom = (device + day) ** 2 / (device**2 / device_freedom + day**2 / day_freedom)
    margin = np.sqrt(max(device + day - both, device, day)) * stats.t.ppf(0.975, freedom)
    return mean, mean - margin, mean + margin


# -- The truth -------------------------------------------------------------------------------------------


def device_of(autumn: Autumn) -> dict[str, str]:
    """The keyed hash of each device number, from rows that both sides know by their number."""
    known = autumn.truth_of("rijen")[["_id", "entity_id"]].merge(
        autumn.measurements[["bron_id", "apparaat"]], left_on="_id", right_on="bron_id"
    )
    pairs = known[["entity_id", "apparaat"]].drop_duplicates()
    assert pairs["entity_id"].is_unique and pairs["apparaat"].is_unique
    return dict(toolbox.pairs(pairs))


def expected_readings(autumn: Autumn) -> pd.Series:
    """PM2.5 that the device of each usable row should have shown, from the true air and its own bias."""
    rows = autumn.truth_of("rijen").merge(
        autumn.truth_of("apparaten")[
            ["entity_id", "bias_optellend_ug_m3", "bias_vermenigvuldigend", "firmware"]
        ]
    )
    rows = rows.merge(
        autumn.measurements[["bron_id", "luchtvochtigheid_pct"]], left_on="_id", right_on="bron_id"
    )
    effects = autumn.truth_of("effecten").set_index("effect")["waarde"]
    growth = effects[effects.index.str.startswith("luchtvochtigheid")]
    swollen = 1 + growth.iloc[1] * (rows["luchtvochtigheid_pct"] + 0.5 - growth.iloc[0]).clip(lower=0)
    reading = rows["bias_optellend_ug_m3"] + rows["bias_vermenigvuldigend"] * rows["pm25_ug_m3"] * swollen
    is_first = rows["firmware"].str.startswith("1.")
    reading = reading.clip(lower=0).mask(is_first & (reading < 1), 1.0)
    is_zero = rows["fout"].fillna("").str.contains("pm_nul")
    shown: pd.Series = reading.mask(is_zero, is_first.astype("float64")).set_axis(rows["_id"])
    return shown


def distance_of_all_positions_km(autumn: Autumn) -> float:
    """The distance between all received positions, a lack of one included."""
    raw = toolbox.lake_table(autumn.platform, RAW).sort_values(["apparaat", "recording_timestamp"])
    lat, lon = raw["latitude"].astype("float64"), raw["longitude"].astype("float64")
    _, _, metres = pyproj.Geod(ellps="WGS84").inv(lon.shift().fillna(5), lat.shift().fillna(52), lon, lat)
    return float(metres.sum() / 1000)
