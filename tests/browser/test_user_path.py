"""A new user's path through the Dagster UI: look around, make something, and meet a closed gate.

What is looked for is what a person sees: texts, buttons and links.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from typing import Any

import pytest
import yaml
from chromium import PATIENCE_MS, SCREEN, Ui
from playwright.sync_api import Locator, Page, expect
from services import ROOT, ROWS_A_DAY, ckan_export

CONTRACTS = ROOT / "koploper_pipelines" / "contracts" / "snuffelfiets"
RAW, CLEANED = "/assets/snuffelfiets/raw/metingen", "/assets/snuffelfiets/cleaned/metingen"
FIRST, SECOND, SWITCHED = (date(2024, 11, d) for d in (11, 12, 13))
RULE = "pm25_dagmediaan_plausibel"
Shoot = Callable[[str], None]


@pytest.fixture(autouse=True)
def _patience() -> Iterator[None]:
    expect.set_options(timeout=PATIENCE_MS)
    yield
    expect.set_options(timeout=5_000)


def test_a_new_user_finds_the_way(ui: Ui, page: Page, shoot: Shoot) -> None:
    inbox = ui.home / "inbox" / "snuffelfiets"
    nobody_asks_to_sign_up(page, shoot)
    the_graph_shows_five_layers(page, shoot)
    an_asset_explains_itself(page, shoot)

    ckan_export(inbox / "november.csv", (FIRST, SECOND), pm25_ug_m3=12)
    landing_succeeds(page, shoot)
    assert not list(inbox.iterdir())
    a_day_is_made(page, shoot)

    # Within what one measurement may be, but no day is so: as if a unit were switched.
    ckan_export(inbox / "eenheid_verwisseld.csv", (SWITCHED,), pm25_ug_m3=120, first_id=1000)
    the_job_ophalen_lands_it(page, shoot)
    a_failed_gate_explains_itself(page, shoot)
    the_other_day_stands(page, shoot)


def nobody_asks_to_sign_up(page: Page, shoot: Shoot) -> None:
    expect(page.get_by_text("No runs or scheduled ticks")).to_be_visible()
    expect(page.get_by_role("dialog")).to_have_count(0)
    shoot("overview")


def the_graph_shows_five_layers(page: Page, shoot: Shoot) -> None:
    # In a smaller window a person zooms in: a small graph shows names only, and no layers.
    page.set_viewport_size({"width": 6000, "height": 5000})
    page.goto('/asset-groups~group:"snuffelfiets"')
    layers = Counter(file.parent.name for file in CONTRACTS.glob("*/*.yaml"))
    assert len(layers) == 5
    for layer, tables in layers.items():
        expect(page.get_by_text(layer, exact=True)).to_have_count(tables)
    for table in ("passages", "bereik", "pm25_gemeente"):
        expect(page.get_by_text(table, exact=True).first).to_be_visible()
    # Each asset asks for its state by itself.
    expect(page.get_by_text("Loading...")).to_have_count(0)
    expect(page.get_by_text("Never materialized").first).to_be_visible()
    shoot("graph")
    page.set_viewport_size(SCREEN)


def an_asset_explains_itself(page: Page, shoot: Shoot) -> None:
    schema = _schema("cleaned/metingen")
    page.goto(CLEANED)
    expect(page.get_by_text("Opgeschoonde metingen van de Snuffelfiets")).to_be_visible()
    expect(page.get_by_text(schema["description"])).to_be_visible()
    for column in schema["properties"]:
        row = page.get_by_role("row").filter(has=page.get_by_text(column["name"], exact=True))
        expect(row).to_contain_text(column["logicalType"])
        expect(row).to_contain_text(column["description"])
    expect(page.get_by_text("PM2,5, niet gekalibreerd [µg/m³]")).to_be_visible()
    shoot("asset")
    _open_checks(page)
    for rule in schema["quality"]:
        expect(_check(page, rule["name"])).to_contain_text("Not evaluated")
    _check(page, RULE).click()
    for text in (_rule(schema)["description"], _rule(schema)["businessImpact"], "wordt tegengehouden"):
        expect(page.get_by_text(text)).to_be_visible()
    shoot("checks-before")


def landing_succeeds(page: Page, shoot: Shoot) -> None:
    page.goto(RAW)
    with _launched(page):
        page.get_by_role("button", name="Materialize").first.click()
    _ends(page, "Success")
    shoot("landed")
    page.goto(RAW)
    expect(page.get_by_text("Row count").locator("..")).to_contain_text(str(2 * ROWS_A_DAY))
    shoot("raw")


def a_day_is_made(page: Page, shoot: Shoot) -> None:
    page.goto(CLEANED)
    _choose_days(page, str(FIRST))
    with _launched(page):
        page.get_by_role("button", name="Launch 1 run").click()
    _ends(page, "Success")
    page.goto(CLEANED)
    _open_checks(page)
    for rule in _schema("cleaned/metingen")["quality"]:
        expect(_check(page, rule["name"])).to_contain_text("Succeeded")
    shoot("checks-passed")


def the_job_ophalen_lands_it(page: Page, shoot: Shoot) -> None:
    page.get_by_role("link", name="Jobs").first.click()
    page.get_by_role("link", name="ophalen").click()
    expect(page.get_by_text("Land wat nieuw is")).to_be_visible()
    shoot("job")
    with _launched(page):
        page.get_by_role("button", name="Materialize").first.click()
    _ends(page, "Success")


def a_failed_gate_explains_itself(page: Page, shoot: Shoot) -> None:
    page.goto(CLEANED)
    _choose_days(page, f"[{SECOND}...{SWITCHED}]")
    shoot("days")
    page.get_by_role("button", name="Launch backfill").click()
    backfill = _said(page, r"Created backfill (\w{8})")
    _open_only_run(page, backfill)
    _ends(page, "Failure")
    reason = page.get_by_text(f"tegengehouden: {SWITCHED}; de rest is vastgelegd").last
    expect(reason).to_contain_text(f"{RULE}: {_rule(_schema('cleaned/metingen'))['description']}")
    shoot("run-failed")

    page.goto(CLEANED)
    _open_checks(page)
    expect(_check(page, RULE)).to_contain_text("Failed")
    expect(_check(page, "schema_klopt")).to_contain_text("Succeeded")
    _check(page, RULE).click()
    expect(page.get_by_text("blocking", exact=True)).to_be_visible()
    for label, value in (
        ("regel", "ligt onder 100 µg/m³"),
        ("waarom", "dan is een eenheid verwisseld"),
        ("tegengehouden", str(SWITCHED)),
    ):
        row = page.get_by_role("row").filter(has=page.get_by_text(label, exact=True))
        expect(row).to_contain_text(value)
    shoot("checks-failed")


def the_other_day_stands(page: Page, shoot: Shoot) -> None:
    page.goto(f"{CLEANED}?view=partitions")
    expect(page.get_by_text("Failed (1)")).to_be_visible()
    expect(page.get_by_text("Materialized (2)")).to_be_visible()
    page.get_by_placeholder("Filter by name…").fill("2024-11")
    expect(page.get_by_text(str(SWITCHED), exact=True).first).to_be_visible()
    page.get_by_text(str(SECOND), exact=True).first.click()
    expect(page.get_by_text("rijen_van_de_run")).to_be_visible()
    shoot("partitions")


# -- What a person does --------------------------------------------------------------------------------------


def _open_checks(page: Page) -> None:
    page.get_by_role("tab", name="Checks").click()


def _check(page: Page, name: str) -> Locator:
    """The line of a check in the list: what stands around its name up to and with its status."""
    status = " or ".join(f"contains(., '{said}')" for said in ("Not evaluated", "Succeeded", "Failed"))
    return page.get_by_text(name, exact=True).first.locator(f"xpath=ancestor::div[{status}][1]")


def _choose_days(page: Page, days: str) -> None:
    page.get_by_role("button", name="Materialize").first.click()
    dialog = page.get_by_role("dialog")
    # It offers the last 90 days.
    dialog.get_by_text("Show all partitions").click()
    dialog.get_by_role("textbox").first.fill(days)
    dialog.get_by_role("textbox").first.press("Enter")


@contextmanager
def _launched(page: Page) -> Iterator[None]:
    """Go to the page of the run that is launched."""
    yield
    run = _said(page, r"Launched run ([0-9a-f]{8})")
    page.get_by_role("link", name="Runs").first.click()
    page.get_by_role("link", name=run).first.click()


def _said(page: Page, pattern: str) -> str:
    text = page.get_by_text(re.compile(pattern)).first.inner_text()
    found = re.search(pattern, text)
    assert found is not None
    return found[1]


def _open_only_run(page: Page, backfill: str) -> None:
    """Go to the run of a backfill; the daemon starts it within half a minute."""
    page.goto(f"/runs/b/{backfill}?tab=runs")
    run = page.get_by_role("link", name=re.compile(r"\b[0-9a-f]{8}$"))
    expect(run).to_have_count(1)
    run.click()


def _ends(page: Page, how: str) -> None:
    expect(page.get_by_text(re.compile("^(Success|Failure)$")).first).to_have_text(how)


def _schema(table: str) -> dict[str, Any]:
    contract = yaml.safe_load((CONTRACTS / f"{table}.yaml").read_text("utf-8"))
    return dict(contract["schema"][0])


def _rule(schema: dict[str, Any]) -> dict[str, Any]:
    return next(r for r in schema["quality"] if r["name"] == RULE)
