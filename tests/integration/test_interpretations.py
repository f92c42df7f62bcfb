"""Interpretations: pinned to a release, marked outdated when their figure moves, and only then.

The quoted table is that of the effects, since it can be moved at will by delivering its series again.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest
from toolbox import KEY, WARNINGS_OF_OTHERS, installation, lake_table, published

from koploper_pipelines.assets.koploperdeals.raw import duiding as landing
from koploper_pipelines.assets.publicatie.published import RELEASES, versions_of_releases
from koploper_pipelines.assets.publicatie.release import publish
from koploper_pipelines.gates.step import Platform, run_table
from koploper_pipelines.simulation import koploperdeals as simulation

pytestmark = WARNINGS_OF_OTHERS
NOW = datetime(2026, 11, 24, 3, tzinfo=UTC)
TABLE = "koploperdeals/published/duidingen"
EFFECTS = "koploperdeals/published/effecten"
NIGHT = (
    "koploperdeals/raw/effectreeksen",
    landing.QUOTES,
    "koploperdeals/cleaned/effectreeksen",
    EFFECTS,
    TABLE,
    RELEASES,
)
EFFECT, TREATED = 3.0, 6


def series(shift: float = 0.0, months: int = 24, outcome: str = "fietsers") -> pd.DataFrame:
    """Series whose effect is that of the first delivery plus a shift, with the same interval around it."""
    random = np.random.default_rng(5)
    periods = [str(p) for p in pd.period_range("2018-01", periods=months, freq="M")]
    made = []
    for area in range(20):
        is_treated = area < TREATED
        value = 20 + area + random.standard_normal(months)
        value[months // 2 :] += (EFFECT + shift) * is_treated
        made += [
            {
                "deal": "FIETS-1",
                "uitkomst": outcome,
                "eenheid": "fietsers per dag",
                "gebied": f"G{area:02d}",
                "is_behandeld": "ja" if is_treated else "nee",
                "ingreep_maand": periods[months // 2],
                "maand": month,
                "waarde": f"{v:.9f}",
            }
            for month, v in zip(periods, value, strict=True)
        ]
    return pd.DataFrame(made)


def document(release: str, column: str = "effect", row: str = "{deal: FIETS-1, uitkomst: fietsers}") -> str:
    sections = "".join(f"\n## {t.capitalize()}\nTekst.\n" for t in landing_sections())
    return (
        f"---\nspreker: burger\ndatum: 2026-11-20\ntabel: effecten\nrelease: {release}\n"
        f"cijfers:\n  - rij: {row}\n    kolom: {column}\n---\n{sections}"
    )


def landing_sections() -> list[str]:
    from koploper_pipelines.methods.koploperdeals.duiding import SECTIONS

    return list(SECTIONS)


class Province:
    """An installation whose days go by."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.day = NOW

    @property
    def platform(self) -> Platform:
        return installation(self.home, self.day)

    def drop(self, folder: str, name: str, content: str) -> None:
        place = self.home / "inbox" / "koploperdeals" / folder
        place.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(content, encoding="utf-8")

    def night(self) -> None:
        """The steps of a night that have to do with interpretations, in its order."""
        self.day += timedelta(days=1)
        platform = self.platform
        for path in NIGHT:
            run_table(platform, platform.tables[path], run_id=f"{self.day:%Y-%m-%d}")
        publish(platform)

    def deliver(self, shift: float) -> None:
        self.drop("effecten", f"reeks-{shift}.csv", series(shift).to_csv(index=False))
        self.night()

    def release(self) -> str:
        return list(versions_of_releases(self.platform))[-1]

    def told(self, name: str) -> pd.Series:
        rows = lake_table(self.platform, TABLE)
        return rows[rows["duiding"] == name].iloc[0]


@pytest.fixture(scope="module")
def province(tmp_path_factory: pytest.TempPathFactory) -> Province:
    province = Province(tmp_path_factory.mktemp("duiding"))
    province.deliver(0.0)
    return province


def test_a_table_of_which_nobody_spoke_is_told(province: Province) -> None:
    rows = lake_table(province.platform, TABLE)
    assert rows.loc[rows["tabel"] == "effecten", "status"].tolist() == ["ontbreekt"]


def test_only_a_figure_that_leaves_its_interval_makes_a_reading_outdated(province: Province) -> None:
    first = province.release()
    for column in ("effect", "gebieden_controle", "effect_onder"):
        province.drop("duiding", f"over-{column}.md", document(first, column))
    province.night()
    assert {
        province.told(f"over-{c}")["status"] for c in ("effect", "gebieden_controle", "effect_onder")
    } == {"actueel"}
    then = province.told("over-effect")
    width = (then["boven_toen"] - then["onder_toen"]) / 2
    # The same figures delivered anew, then a move within the interval that it had.
    province.deliver(0.4 * width)
    within = province.told("over-effect")
    assert within["status"] == "actueel" and pd.isna(within["verouderd_omdat"])
    assert within["waarde_nu"] != within["waarde_toen"]
    # A figure without an interval is another figure at any change; one that did not change is not.
    assert province.told("over-effect_onder")["verouderd_omdat"] == "het cijfer is veranderd"
    assert province.told("over-gebieden_controle")["status"] == "actueel"
    province.deliver(1.1 * width)
    beyond = province.told("over-effect")
    assert beyond["status"] == "verouderd"
    assert beyond["verouderd_omdat"] == "het cijfer ligt buiten het interval dat het had"
    assert beyond["release"] == first and beyond["waarde_toen"] == then["waarde_toen"]
    # Its analyst reads the same.
    told = published(province.platform)["duidingen"].set_index("duiding")["status"]
    assert (told["over-effect"], told["over-gebieden_controle"]) == ("verouderd", "actueel")
    # And back within it is up to date again.
    province.deliver(0.2 * width)
    assert province.told("over-effect")["status"] == "actueel"


def test_the_pinned_figure_is_that_of_its_release_and_not_of_the_day_it_lands(province: Province) -> None:
    (first, held), *_ = versions_of_releases(province.platform).items()
    with duckdb.connect() as con:
        rows = province.platform.lake.relation(con, EFFECTS, held[EFFECTS])
        ((then,),) = rows.project("effect").fetchall()
    province.deliver(0.5)
    province.drop("duiding", "terugblik.md", document(first))
    province.night()
    told = province.told("terugblik")
    assert told["waarde_toen"] == f"{then:.10g}".replace(".", ",") != told["waarde_nu"]


def test_what_is_not_in_the_release_is_refused_with_file_line_and_expectation(province: Province) -> None:
    release = province.release()
    bad = {
        "kolom.md": (document(release, "effectje"), "regel 7, kolom: effecten heeft geen kolom effectje"),
        "rij.md": (
            document(release, row="{deal: FIETS-9, uitkomst: fietsers}"),
            f"regel 7, rij: release {release} heeft geen rij deal FIETS-9",
        ),
        "sleutel.md": (document(release, row="{deal: FIETS-1}"), "verwacht de sleutel deal, uitkomst"),
        "release.md": (document("r20200101-000000"), "regel 5, release: er is geen release r20200101-000000"),
        "tabel.md": (
            document(release).replace("tabel: effecten", "tabel: geheimen"),
            "regel 4, tabel: er is geen gepubliceerde tabel geheimen",
        ),
        "waarde.md": (
            document(release).replace("kolom: effect", "kolom: effect\n    waarde: 99"),
            "waarde: is 99; in release",
        ),
        "leeg.md": (document(release, "autocorrelatie"), "autocorrelatie is in release"),
        "spreker.md": (document(release).replace("burger", "buurman"), "regel 2, spreker: is 'buurman'"),
        "brief.txt": (document(release), "regel 1, bestand: verwacht Markdown"),
    }
    for name, (text, _) in bad.items():
        province.drop("duiding", name, text)
    before = len(lake_table(province.platform, landing.QUOTES))
    run_table(province.platform, province.platform.tables[landing.QUOTES], run_id="alleen landen")
    aside = province.home / "inbox" / "afgekeurd"
    for name, (_, said) in bad.items():
        report = (aside / f"{name}.rapport.txt").read_text(encoding="utf-8")
        assert said in report and name in report
    assert len(lake_table(province.platform, landing.QUOTES)) == before


def test_another_way_of_making_the_figure_makes_it_outdated(
    province: Province, monkeypatch: pytest.MonkeyPatch
) -> None:
    from koploper_pipelines.assets.koploperdeals import figures

    monkeypatch.setattr(figures, "method_of", lambda platform, table, version: "0" * 16)
    province.deliver(0.21)
    assert (
        province.told("over-gebieden_controle")["verouderd_omdat"]
        == "het cijfer is op een andere manier berekend"
    )
    monkeypatch.undo()
    province.deliver(0.22)
    assert province.told("over-gebieden_controle")["status"] == "actueel"


def test_a_reading_of_the_latest_release_waits_until_there_is_one(tmp_path: Path) -> None:
    province = Province(tmp_path)
    province.drop("duiding", "vroeg.md", document("laatste"))
    province.night()
    assert (tmp_path / "inbox" / "koploperdeals" / "duiding" / "vroeg.md").is_file()
    province.deliver(0.0)
    province.night()
    told = province.told("vroeg")
    assert (told["status"], told["release"]) == ("actueel", list(versions_of_releases(province.platform))[1])


def test_documents_beside_an_experiment_are_read_and_stay(
    province: Province, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "proef" / "duiding" / "naast-de-code.md"
    own.parent.mkdir(parents=True)
    own.write_text(document(province.release()), encoding="utf-8")
    monkeypatch.setattr(landing, "EXPERIMENTS", tmp_path)
    province.night()
    assert province.told("naast-de-code")["status"] == "actueel"
    assert own.is_file()


def test_the_template_shows_what_lacks_a_reading_and_lands_when_filled_in(
    province: Province, monkeypatch: pytest.MonkeyPatch
) -> None:
    from typer.testing import CliRunner

    from koploper_pipelines.cli import app

    monkeypatch.setenv("KOPLOPER_KEY", KEY)
    # Read before: the effect is up to date, its lower bound is no figure of its own.
    made = CliRunner().invoke(app, ["duiding", "template", "effecten", "--home", str(province.home)])
    assert made.exit_code == 0, made.output
    assert "Actueel: effect, gebieden_controle." in made.output
    assert "kolom: gebieden_behandeld    # nog zonder duiding" in made.output
    assert "kolom: effect    #" not in made.output
    filled = made.output.replace("spreker:  ", "spreker: partner  ")
    filled = filled.replace("namens:  ", "namens: Fietsersbond  ")
    head, *entries, last = filled.replace("\n---\n\n## ", "\n  - rij: ---\n\n## ").split("  - rij: ")
    # What the row does not show is left out, as the template asks.
    shown = [entry for entry in entries if "niet getoond" not in entry]
    filled = "  - rij: ".join([head, *shown]) + last
    province.drop("duiding", "van-het-sjabloon.md", filled)
    province.night()
    assert province.told("van-het-sjabloon")["status"] == "actueel"
    wrong = CliRunner().invoke(app, ["duiding", "template", "effectjes", "--home", str(province.home)])
    assert wrong.exit_code == 2 and "no published table" in wrong.output


def test_the_demo_is_read_on_its_second_night_and_its_effects_hold_the_truth(tmp_path: Path) -> None:
    province = Province(tmp_path)
    inbox, truth = tmp_path / "inbox" / "koploperdeals", tmp_path / "waarheid"
    simulation.demo(inbox, truth, first=NOW.date(), last=NOW.date(), now=NOW)
    province.night()
    known = pd.read_csv(truth / "effecten.csv").set_index("deal")["effect"]
    found = lake_table(province.platform, EFFECTS).set_index("deal")
    for deal in ("VOORBEELD-1", "VOORBEELD-2", "VOORBEELD-4"):
        assert found.loc[deal, "effect_onder"] < known[deal] < found.loc[deal, "effect_boven"]
    assert found.loc["VOORBEELD-3", "opzet"] == "geen"
    province.night()
    rows = lake_table(province.platform, TABLE)
    assert set(rows.loc[rows["status"] == "actueel", "spreker"]) == {"provincie", "partner", "burger"}
