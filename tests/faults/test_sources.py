"""Nights in which sources misbehave in every way, at random: no row lost, none doubled, each failure named.

The landings themselves, on real rows, with a gate that lets everything through; the gate's own faults are
judged elsewhere. Of a hundred sequences of each source fifteen run always, all with `make faults`.
"""

from __future__ import annotations

import csv
import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import apis
import duckdb
import pyarrow as pa
import pytest

from koploper_pipelines.assets.snuffelfiets import SnuffelfietsSources
from koploper_pipelines.assets.snuffelfiets.raw import metingen, referentie
from koploper_pipelines.assets.snuffelfiets.raw.landing import Landing
from koploper_pipelines.gates.sources import SourceState, from_source
from koploper_pipelines.gates.staging import Offered, SchemaMismatch, relation
from koploper_pipelines.resources.ckan import DataStore
from koploper_pipelines.resources.clock import Clock
from koploper_pipelines.resources.http import Api
from koploper_pipelines.resources.luchtmeetnet import Luchtmeetnet
from koploper_pipelines.resources.rivm import read_year
from koploper_pipelines.settings import Settings

TABLE = "metingen_van_de_fietsen"
NOW = datetime(2025, 1, 10, 1, 30, tzinfo=UTC)
SEQUENCES = [pytest.param(n, marks=[pytest.mark.full] if n >= 15 else []) for n in range(100)]
PATIENT_FAULTS = {k: v for k, v in apis.TRANSIENT.items() if k not in apis.SLOW}
"""The slow ones would make a hundred sequences slow; the clients' own tests have them."""
NAMED = {
    **PATIENT_FAULTS,
    **apis.REFUSALS,
    "kolom_weg": "pm2_5",
    "kolom_erbij": "pm4_0",
    "andere_vorm": "without result|lacks pagination",
    "herhaald": "expected rising numbers|expected at most",
    "verkeerde_volgorde": "expected rising numbers",
    "veld_weg": "lacks .*timestamp_measured",
    "andere_pagina": "page . instead of page",
    "ander_station": "not asked for",
}
CKAN_FAULTS = [*PATIENT_FAULTS, *apis.REFUSALS, *(f for f in apis.Store.CONTENT_FAULTS if f != "te_kort")]
STATION_FAULTS = [*PATIENT_FAULTS, *apis.REFUSALS, *apis.Stations.CONTENT_FAULTS]


@pytest.fixture(scope="module")
def rows(real_data: Callable[[str], Path]) -> list[dict[str, str]]:
    with real_data("snuffelfiets/ckan_metingen_2024-11.csv").open(newline="") as file:
        return [{c: r[c] for c in metingen.CKAN_COLUMNS} for r in csv.DictReader(file)]


def client(url: str, page_rows: int) -> DataStore:
    api = Api("CKAN DataStore", url, {}, apis.patience())
    return DataStore(api, TABLE, metingen.CKAN_COLUMNS, metingen.IGNORED, page_rows)


def store_of(rows: Sequence[dict[str, str]]) -> apis.Store:
    store = apis.Store(TABLE, metingen.CKAN_COLUMNS)
    store.store(rows)
    return store


@dataclass
class InMemory:
    """A landing whose gate lets everything through, whole deliveries at a time, without a lake."""

    platform: Any
    con: duckdb.DuckDBPyConnection
    landed: list[pa.Table] = field(default_factory=list)
    contents: set[str] = field(default_factory=set)
    offer = Landing.offer

    @property
    def rows(self) -> int:
        return sum(t.num_rows for t in self.landed)

    @property
    def deliveries(self) -> frozenset[str]:
        return frozenset(self.contents)

    def relation(self, con: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyRelation | None:
        return con.from_arrow(pa.concat_tables(self.landed)) if self.landed else None

    def night(self, deliveries: Iterator[Any]) -> str | None:
        """Land what comes; the problem of the source or of a delivery, if there was one."""
        problem = None
        for item in from_source("CKAN DataStore", deliveries):
            if isinstance(item, SourceState):
                problem = problem or item.problem
                continue
            try:
                offered = item.offered(self.con)
            except SchemaMismatch as error:
                problem = str(error)
                continue
            if offered is not None:
                self._admit(offered)
            item.accepted()
        return problem

    def _admit(self, offered: Offered) -> None:
        table = relation(self.con, offered.rows).to_arrow_table()
        assert offered.controls["rijen_na_landing"] == self.rows + table.num_rows
        assert offered.file is not None and offered.file not in self.contents
        self.landed.append(table)
        self.contents.add(offered.file)

    @property
    def ids(self) -> list[int]:
        return sorted(int(i) for t in self.landed for i in t["_id"].to_pylist())


@dataclass(frozen=True)
class Told:
    """As much of a platform as a landing asks for."""

    settings: Settings
    clock: Clock


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    return Told(Settings(home=tmp_path_factory.mktemp("home"), key="k" * 32), Clock(NOW))


def connection() -> duckdb.DuckDBPyConnection:
    con = duckdb.connect()
    con.sql("SET TimeZone = 'UTC'")
    return con


@pytest.mark.parametrize("sequence", SEQUENCES)
def test_ckan_loses_no_row_and_doubles_none(sequence: int, rows: list[dict[str, str]], told: Told) -> None:
    """Rows are stored between nights, also below numbers seen before; each night things go wrong."""
    rng = random.Random(sequence)
    left = rng.sample(rows, 120)
    left.sort(key=lambda r: int(r["_id"]))
    store = store_of([])
    landing = InMemory(told, connection())
    with apis.serving(store.answer) as served:
        for _ in range(rng.randint(2, 4)):
            # Some numbers that were given out are stored only later.
            batch, late = left[:40], rng.sample(left[:40], min(rng.randint(0, 10), len(left[:40])))
            store.store([r for r in batch if r not in late])
            left = [*late, *left[40:]]
            served.faults = [
                rng.choice(CKAN_FAULTS) if rng.random() < 0.6 else "goed" for _ in range(rng.randint(0, 12))
            ]
            served.last_fault = None
            problem = landing.night(_fetched(landing, served, rng.randint(7, 60)))
            seen = landing.ids
            assert len(seen) == len(set(seen)), "a row was doubled"
            assert set(seen) <= set(store.ids)
            if problem is not None:
                assert re.search(NAMED[str(served.last_fault)], problem), (served.last_fault, problem)
            else:
                assert seen == store.ids, "a night without a problem has all that is stored"
        store.store(left)
        served.faults = []
        assert landing.night(_fetched(landing, served, 50)) is None
    assert landing.ids == store.ids
    assert len(landing.ids) == 120


def _fetched(landing: InMemory, served: apis.Served, page_rows: int) -> Iterator[Any]:
    return metingen._fetched(landing.con, cast("Landing", landing), client(served.url, page_rows=page_rows))


@pytest.mark.parametrize(
    ("without", "lost"),
    [((), 0), (("counts",), 1), (("counts", "received_since"), 2), (("received_since",), 0)],
)
def test_counter_test_rows_stored_late_are_lost_without_watermark_and_counts(
    rows: list[dict[str, str]],
    told: Told,
    monkeypatch: pytest.MonkeyPatch,
    without: tuple[str, ...],
    lost: int,
) -> None:
    """One row is stored a moment late, one days late: the first is seen by its receipt, both by counting."""
    replacements: dict[str, Any] = {
        "received_since": lambda *args, **kwargs: iter(()),
        "counts": lambda *args: {},
    }
    for name in without:
        monkeypatch.setattr(DataStore, name, replacements[name])
    ordered = sorted(rows, key=lambda r: int(r["_id"]))
    monkeypatch.setattr(metingen, "OVERLAP", timedelta(hours=12))
    ordered = [*ordered[:50], *ordered[-250:-50]]
    early, soon = ordered[10], ordered[-10]
    store = store_of([r for r in ordered if r not in (early, soon)])
    landing = InMemory(told, connection())
    with apis.serving(store.answer) as served:
        assert landing.night(_fetched(landing, served, 60)) is None
        store.store([early, soon])
        assert landing.night(_fetched(landing, served, 60)) is None
    assert len(store.ids) - len(landing.ids) == lost


def test_a_refused_page_keeps_those_after_it_from_landing(rows: list[dict[str, str]], told: Told) -> None:
    landing = InMemory(told, connection())
    with apis.serving(store_of(rows[:100]).answer) as served:
        pages = _fetched(landing, served, 30)
        first = next(pages)
        first.refused("een regel sluit de poort")
        assert list(pages) == []


def test_device_numbers_never_land(rows: list[dict[str, str]], told: Told) -> None:
    landing = InMemory(told, connection())
    with apis.serving(store_of(rows[:50]).answer) as served:
        landing.night(_fetched(landing, served, 50))
    text = "\n".join(str(t.to_pydict()) for t in landing.landed)
    assert not [r["entity_id"] for r in rows[:50] if r["entity_id"] in text]
    assert set(landing.landed[0]["bron"].to_pylist()) == {"ckan"}


# -- Luchtmeetnet ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hours(real_data: Callable[[str], Path]) -> dict[tuple[str, datetime], float | None]:
    """The real hours of the first two weeks of 2023, by station and end of the hour."""
    text = real_data("reference/2023_PM25.csv").read_bytes().decode("latin-1")
    found: dict[tuple[str, datetime], float | None] = {}
    for row in read_year(text, "2023", referentie.STATIONS, "PM2.5")[: 4 * 24 * 14]:
        end = datetime.fromisoformat(str(row["einddatumtijd"])).astimezone(UTC)
        found[str(row["station"]), end] = float(row["waarde"]) if row["waarde"] else None
    return found


@pytest.mark.parametrize("sequence", SEQUENCES)
def test_luchtmeetnet_loses_no_hour_and_doubles_none(
    sequence: int, hours: dict[tuple[str, datetime], float | None], tmp_path: Path
) -> None:
    """Hours arrive between nights, some are corrected later; each night things go wrong."""
    rng = random.Random(sequence)
    moment = datetime(2023, 1, 1, 2, tzinfo=UTC)
    served_hours = apis.Stations({}, page_rows=rng.choice((24, 50, 100)))
    landing = InMemory(Told(Settings(home=tmp_path, key="k" * 32), Clock(moment)), connection())
    with apis.serving(served_hours.answer) as served:
        for _ in range(rng.randint(2, 4)):
            moment += timedelta(days=rng.choice((1, 1, 1, 2, 3)))
            _arrive(rng, served_hours, hours, moment)
            served.faults = [
                rng.choice(STATION_FAULTS) if rng.random() < 0.5 else "goed" for _ in range(rng.randint(0, 9))
            ]
            served.last_fault = None
            problem = _night_of_hours(landing, served, moment)
            if problem is not None:
                assert re.search(NAMED[str(served.last_fault)], problem), (served.last_fault, problem)
            else:
                assert _latest(landing) == served_hours.values
        served.faults = []
        assert _night_of_hours(landing, served, moment) is None
        landed = landing.rows
        assert _night_of_hours(landing, served, moment) is None
    assert _latest(landing) == served_hours.values
    assert landing.rows == landed, "an hour that did not change landed again"


def _arrive(
    rng: random.Random,
    served: apis.Stations,
    hours: dict[tuple[str, datetime], float | None],
    moment: datetime,
) -> None:
    """Let the hours until a moment be seen, and correct one of the last day."""
    late = rng.choice([None, *referentie.STATIONS])
    arrived = {k: v for k, v in hours.items() if k[1] <= moment and k[0] != late}
    served.values |= {k: v for k, v in arrived.items() if k not in served.values}
    recent = [k for k in served.values if k[1] > moment - timedelta(hours=20)]
    served.values[rng.choice(recent)] = round(rng.uniform(-2, 40), 3)


def _night_of_hours(landing: InMemory, served: apis.Served, moment: datetime) -> str | None:
    landing.platform = Told(landing.platform.settings, Clock(moment))
    store = Luchtmeetnet(Api("Luchtmeetnet", served.url, {}, apis.patience()))
    own = cast("Landing", landing)
    return landing.night(referentie._fetched(landing.con, own, store, SnuffelfietsSources(eerste_dagen=30)))


def _latest(landing: InMemory) -> dict[tuple[str, datetime], float | None]:
    """What was delivered last of each hour; each hour once in a delivery."""
    latest: dict[tuple[str, datetime], float | None] = {}
    for table in landing.landed:
        delivered = table.to_pylist()
        keys = [(r["station"], datetime.fromisoformat(r["einddatumtijd"])) for r in delivered]
        assert len(keys) == len(set(keys))
        latest |= {
            k: None if r["waarde"] is None else float(r["waarde"])
            for k, r in zip(keys, delivered, strict=True)
        }
    return latest
