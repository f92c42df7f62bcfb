"""Deals linked to their experiments: intended against reached, and questions against tables, by themselves.

Experiments' published tables are put in the lake by its gate, without their own nights.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pytest
from toolbox import WARNINGS_OF_OTHERS, installation, lake_table

from koploper_pipelines.assets.koploperdeals.cleaned.register import DEALS, GOALS, JUDGEMENTS, ROWS
from koploper_pipelines.assets.koploperdeals.evaluation.bereikt import NO_EVALUATION, REACHED
from koploper_pipelines.assets.koploperdeals.published.gebruik import QUESTIONS
from koploper_pipelines.assets.koploperdeals.published.verantwoording import RESULTS
from koploper_pipelines.assets.koploperdeals.raw.register import REGISTER
from koploper_pipelines.contracts import Column, Contract
from koploper_pipelines.contracts.model import EVALUATION_PARTS
from koploper_pipelines.gates.gate import Passage
from koploper_pipelines.gates.staging import Offered, arrow_schema
from koploper_pipelines.gates.step import Platform, run_table
from koploper_pipelines.resources.lake import WHOLE
from koploper_pipelines.simulation.koploperdeals import demo

pytestmark = WARNINGS_OF_OTHERS
BICYCLES, GAME = "snuffelfiets/published/evaluatie", "taggen_en_gamen/published/evaluatie"


def _value(column: Column) -> Any:
    """Something that a required column may hold."""
    if not column.required:
        return None
    if column.values is not None:
        return column.values[0]
    return {"string": "x", "integer": 0, "number": 0.0, "boolean": True}.get(column.type)


def put(platform: Platform, path: str, *rows: dict[str, Any]) -> None:
    """Have the gate commit rows of a published table, under none of its rules but its columns."""
    contract = platform.tables[path].contract
    bare = replace(contract, rules=tuple(r for r in contract.rules if not r.expectations))
    filled = [{**{c.name: _value(c) for c in contract.columns}, **row} for row in rows]
    with duckdb.connect() as con:
        offered = Offered(pa.Table.from_pylist(filled, schema=arrow_schema(contract)))
        partitions = (
            [WHOLE] if contract.partition is None else sorted({r[contract.partition] for r in filled})
        )
        outcome = platform.gate.admit(
            con, bare, offered, Passage("hand", None, {p: {} for p in partitions}), partitions
        )
    assert outcome.passed, outcome.report


def made(platform: Platform, *paths: str) -> pd.DataFrame:
    """The last of these tables, after a run of each."""
    for path in paths:
        report = run_table(platform, platform.tables[path], run_id="hand")
        assert report.passed, report.failures
    return lake_table(platform, paths[-1])


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Platform:
    """The demo's register, and what two of its experiments say of themselves."""
    home: Path = tmp_path_factory.mktemp("home")
    platform = installation(home)
    now = platform.clock.now()
    demo(platform.settings.inbox / "koploperdeals", home / "t", first=now.date(), last=now.date(), now=now)
    put(
        platform,
        BICYCLES,
        {"onderdeel": "bereik", "maat": "afstand_km", "waarde": 600_000.0, "vergelijking": 750_000.0},
        {"onderdeel": "bereik", "maat": "apparaten", "waarde_status": "onderdrukt", "vergelijking": 500.0},
        {"onderdeel": "kalibratie", "maat": "rmse_lijn", "waarde": 3.0},
    )
    put(
        platform,
        GAME,
        {"vraag": "dak", "nauwkeurigheid": 0.87, "doel_nauwkeurigheid": 0.9, "is_gekozen": True},
        {
            "vraag": "dak",
            "methode": "een_munt",
            "nauwkeurigheid": 0.5,
            "doel_nauwkeurigheid": 0.9,
            "is_gekozen": False,
        },
    )
    put(platform, "taggen_en_gamen/published/labels", {})
    put(platform, "snuffelfiets/published/pm25_gemeente", {"maand": "2020-01", "pm25_ug_m3": None})
    for path in (REGISTER, ROWS, GOALS, JUDGEMENTS, DEALS):
        made(platform, path)
    return platform


def test_each_experiment_tells_what_it_intended_and_reached(platform: Platform) -> None:
    made(platform, REACHED)
    rows = made(platform, RESULTS).query("herkomst == 'evaluatie'").set_index("code")
    told = rows[["beoogd", "bereikt", "bereikt_status", "aandeel_pct"]]
    assert told.loc["SF: afstand_km"].tolist() == [750_000, 600_000, "definitief", 80.0]
    # What disclosure hides there is hidden here.
    assert told.loc["SF: apparaten", ["beoogd", "bereikt_status"]].tolist() == [500, "onderdrukt"]
    assert pd.isna(told.loc["SF: apparaten", "bereikt"])
    # Only the chosen method is what the experiment reached.
    assert told.loc["TG: nauwkeurigheid: dak"].tolist() == [0.9, 0.87, "definitief", 96.7]
    assert rows.loc["SP: geen", "bron"] == NO_EVALUATION
    assert sorted(rows.index) == ["SF: afstand_km", "SF: apparaten", "SP: geen", "TG: nauwkeurigheid: dak"]


def test_link_is_made_anew_only_when_an_evaluation_changed(platform: Platform) -> None:
    made(platform, REACHED)
    table = platform.tables[REACHED]
    assert platform.plan().pending_of(table) == {}
    put(platform, "snuffelfiets/published/pm25_gemeente", {"maand": "2020-01", "pm25_ug_m3": None})
    assert platform.plan().pending_of(table) == {}
    put(
        platform,
        GAME,
        {"vraag": "dak", "nauwkeurigheid": 0.95, "doel_nauwkeurigheid": 0.9, "is_gekozen": True},
    )
    assert list(platform.plan().pending_of(table)) == [WHOLE]
    rows = made(platform, REACHED).set_index("doel")
    assert rows.loc["nauwkeurigheid: dak", "bereikt"] == 0.95


def test_questions_are_held_against_what_is_in_the_tables(platform: Platform) -> None:
    rows = made(platform, QUESTIONS).set_index("beleidsvraag")
    assert rows["dekking"].to_dict() == {
        "B1": "geen_gegevens",
        "B2": "gedekt",
        "B3": "tabel_bestaat_niet",
        "B4": "geen_indicator",
        "B5": "geen_datavraag",
    }
    assert rows.loc["B1", "rijen_in_tabel"] == 1
    put(platform, "snuffelfiets/published/pm25_gemeente", {"maand": "2020-01", "pm25_ug_m3": 9.0})
    assert made(platform, QUESTIONS).set_index("beleidsvraag").loc["B1", "dekking"] == "gedekt"


def _declaring() -> list[Contract]:
    from koploper_pipelines.build import find_tables

    return [t.contract for t in find_tables().values() if t.contract.evaluation]


def test_every_experiment_declares_an_evaluation_that_can_be_read() -> None:
    declared = _declaring()
    assert len(declared) == 3
    for contract in declared:
        said = contract.evaluation or {}
        assert set(said) == set(EVALUATION_PARTS)
        assert contract.layer == "published"
        with duckdb.connect() as con:
            rows = con.from_arrow(arrow_schema(contract).empty_table()).filter(said["waar"])
            rows.project(
                ", ".join(f"({v})::VARCHAR AS {k}" for k, v in said.items() if k != "waar")
            ).fetchall()
