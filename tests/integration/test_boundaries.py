"""Municipality boundaries: fetched once, kept in the lake, used for every point; without them the lists."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import apis
import numpy as np
import pytest
import toolbox

from koploper_pipelines.gates.step import Platform, Report, run_table
from koploper_pipelines.methods import geo
from koploper_pipelines.resources.reference import municipalities, municipality_squares

pytestmark = toolbox.WARNINGS_OF_OTHERS

NOW = datetime(2025, 1, 10, 1, 30, tzinfo=UTC)
BOUNDARIES = "snuffelfiets/raw/gemeentegrenzen"
PREFIX = "KOPLOPER_SNUFFELFIETS_"
SIDE_M = 500.0


def square(x: float, y: float) -> list[list[list[float]]]:
    h = SIDE_M / 2
    return [[[x - h, y - h], [x + h, y - h], [x + h, y + h], [x - h, y + h], [x - h, y - h]]]


def features(year: int = 2024, without: str = "") -> list[dict[str, Any]]:
    """Each municipality as the squares of 500 m that the shipped list gives it: then both must agree."""
    squares = municipality_squares()
    names = municipalities().set_index("gemeente_code")["gemeente_naam"]
    inside = squares[squares["is_in_provincie"]]
    made = []
    for code, own in inside.groupby("gemeente_code"):
        polygons = [square(x, y) for x, y in zip(own["rd_x_m"], own["rd_y_m"], strict=True)]
        geometry = {"type": "MultiPolygon", "coordinates": polygons}
        properties = {"statcode": code, "statnaam": names[code], "jaarcode": year}
        if code != without:
            made.append({"type": "Feature", "properties": properties, "geometry": geometry})
    return made


@pytest.fixture
def platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Platform:
    for name, value in (("BRON_POGINGEN", "2"), ("BRON_WACHT_S", "0.001"), ("BRON_TIJD_S", "20")):
        monkeypatch.setenv(PREFIX + name, value)
    return toolbox.installation(tmp_path / "home", NOW)


def landed(platform: Platform) -> Report:
    return run_table(platform, platform.tables[BOUNDARIES], run_id="proef")


def test_boundaries_are_fetched_once_and_kept(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    others = [{**f, "properties": {**f["properties"], "jaarcode": 2023}} for f in features()[:3]]
    answers = apis.Features([*features(), *others])
    with apis.serving(answers.answer) as served:
        answers.url = served.url
        monkeypatch.setenv(PREFIX + "PDOK_URL", served.url)
        report = landed(platform)
        assert report.passed and report.source is not None and report.source.passed
        asked = len(served.requests)
        assert landed(platform).nothing_new
        assert len(served.requests) == asked
    assert landed(platform).nothing_new, "also when the source is gone"
    rows = toolbox.lake_table(platform, BOUNDARIES)
    inside = municipalities().query("is_in_provincie")
    assert set(rows["gemeente_code"]) == set(inside["gemeente_code"])
    assert len(rows) == 26
    assert set(rows["peiljaar"]) == {2024}


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda f: features(without="GM0344"), "lacks GM0344"),
        (lambda f: [*f, f[0]], "holds a municipality twice"),
        (lambda f: [{**f[0], "geometry": {"type": "Point", "coordinates": []}}, *f[1:]], "no list of"),
        (
            lambda f: [{**f[0], "geometry": {"type": "Polygon", "coordinates": [[[5.1, 52.1]]]}}, *f[1:]],
            "expected metres in RD New",
        ),
    ],
)
def test_boundaries_with_a_gap_or_in_degrees_are_refused(
    platform: Platform, monkeypatch: pytest.MonkeyPatch, spoil: Any, why: str
) -> None:
    answers = apis.Features(spoil(features()))
    with apis.serving(answers.answer) as served:
        answers.url = served.url
        monkeypatch.setenv(PREFIX + "PDOK_URL", served.url)
        report = landed(platform)
    assert not report.passed
    assert why in report.failures
    assert not platform.lake.exists(BOUNDARIES)


def test_without_the_source_the_night_is_green(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PREFIX + "PDOK_URL", "http://127.0.0.1:9")
    report = landed(platform)
    assert report.passed and report.source is not None and not report.source.passed
    assert "no connection" in report.source.message


def test_points_get_the_municipality_they_lie_in() -> None:
    """On boundaries made of the shipped squares both ways agree, but at the edges between squares."""
    by_code = {f["properties"]["statcode"]: json.dumps(f["geometry"]) for f in features()}
    squares = municipality_squares()
    rng = np.random.default_rng(1)
    chosen = squares.sample(400, random_state=1)
    x = chosen["rd_x_m"].to_numpy(float) + rng.uniform(-249, 249, 400)
    y = chosen["rd_y_m"].to_numpy(float) + rng.uniform(-249, 249, 400)
    expected = np.where(chosen["is_in_provincie"], chosen["gemeente_code"], geo.OUTSIDE_PROVINCE)
    assert geo.municipality_within(x, y, by_code).tolist() == expected.tolist()
    assert (expected == geo.OUTSIDE_PROVINCE).any()
    with pytest.raises(ValueError, match="1 positions are missing"):
        geo.municipality_within([np.nan], [1.0], by_code)


def test_a_point_on_a_shared_boundary_belongs_to_one() -> None:
    areas = {
        code: json.dumps({"type": "Polygon", "coordinates": square(x, 0.0)})
        for code, x in (("GM0002", 0.0), ("GM0001", SIDE_M))
    }
    found = geo.municipality_within([SIDE_M / 2, 0.0, SIDE_M, 5 * SIDE_M], [0.0] * 4, areas)
    assert found.tolist() == ["GM0001", "GM0002", "GM0001", geo.OUTSIDE_PROVINCE]


def test_published_areas_follow_the_boundaries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, platform: Platform
) -> None:
    """The status says which way was taken; boundaries that put every place elsewhere change the figures."""
    from koploper_pipelines.simulation.snuffelfiets import simulate

    inbox = platform.settings.inbox / "snuffelfiets"
    last = datetime(2024, 11, 8).date()
    simulate(inbox, tmp_path / "waar", last_day=last, days=6, participants=12, seed=3, reference=False)
    before = _made(platform, "raw/metingen", "cleaned/metingen", "cleaned/ritten", "indicators/passages")
    assert before.status == {"benadering"}
    codes = sorted(f["properties"]["statcode"] for f in features())
    shifted = dict(zip(codes, [*codes[1:], codes[0]], strict=True))
    moved = [
        {**f, "properties": {**f["properties"], "statcode": shifted[f["properties"]["statcode"]]}}
        for f in features()
    ]
    answers = apis.Features(moved)
    with apis.serving(answers.answer) as served:
        answers.url = served.url
        monkeypatch.setenv(PREFIX + "PDOK_URL", served.url)
        after = _made(platform, "raw/gemeentegrenzen")
    assert after.status == {"definitief"}
    assert {shifted.get(code, code): n for code, n in before.counts.items()} == after.counts
    assert len(before.counts) > 3


@dataclass(frozen=True)
class Made:
    """Measurements by area, and the status of the published areas."""

    counts: dict[str, int]
    status: set[str]


def _made(platform: Platform, *first: str) -> Made:
    for path in (*first, "indicators/pm25_gemeente", "published/pm25_gemeente"):
        assert run_table(platform, platform.tables[f"snuffelfiets/{path}"], run_id="proef").passed
    rows = toolbox.lake_table(platform, "snuffelfiets/indicators/pm25_gemeente")
    published = toolbox.lake_table(platform, "snuffelfiets/published/pm25_gemeente")
    counts = dict(zip(rows["gebied_code"], rows["aantal_metingen"].astype(int), strict=True))
    return Made(counts, set(published["gebied_code_status"]))
