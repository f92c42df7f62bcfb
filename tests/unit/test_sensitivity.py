"""Sensitivity: every combination, shares in worlds where they are known, and the conclusion."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from koploper_pipelines.assets.koploperdeals.published.gevoeligheid import _summed_up
from koploper_pipelines.methods import gevoeligheid
from koploper_pipelines.methods.gevoeligheid import Choice, Combination, Conclusion, Figure, Level

CHOICES = (
    Choice("pauze", tuple(Level(f"{n} min", n, True, "x") for n in (5, 10, 15))).with_default(10),
    Choice("ijking", tuple(Level(n, n, True, "x") for n in ("uit", "aan"))).with_default("uit"),
    Choice("nul", (Level("een", 1, True, "x"), Level("weg", 0, False, "te hoog"))).with_default(1),
)
TESTED = Conclusion("Het is meer dan 5", 5.0)
ASKED = gevoeligheid.combinations(CHOICES)


def table(
    value: Callable[[Combination], float], width: float = 1.0, tested: Conclusion = TESTED
) -> pd.DataFrame:
    def make(combination: Combination, cells: frozenset[str]) -> Figure:
        v = value(combination)
        return Figure(v, v - width, v + width, 20)

    cells = {gevoeligheid.name_of(c): frozenset("ab") for c in ASKED}
    return gevoeligheid.tabulated(ASKED, cells, make, tested)


def summed(value: Callable[[Combination], float], **kwargs: float) -> pd.DataFrame:
    return gevoeligheid.summary(table(value, **kwargs)).set_index(["keuze", "niveau"])


def test_combinations_are_the_full_factorial_and_each_wrong_level_alone() -> None:
    names = [gevoeligheid.name_of(c) for c in ASKED]
    assert len(names) == len(set(names)) == 3 * 2 + 1
    assert names[-1] == "pauze=10 min; ijking=uit; nul=weg"


def test_a_setting_that_nobody_declared_becomes_a_level() -> None:
    own = Choice("pauze", (Level("5", 5, True, "x"),)).with_default(12)
    assert own.default.value == 12 and len(own.levels) == 2


def test_shares_are_those_of_a_world_where_they_are_known() -> None:
    # Pause adds 0, 1, 2 (variance 2/3), calibration 0 or 3 (variance 9/4): nothing works on each other.
    def value(c: Combination) -> float:
        return 10 + (c["pauze"].value - 5) / 5 + 3 * (c["ijking"].value == "aan")

    told = summed(value)["aandeel_variantie_pct"]
    total = 2 / 3 + 9 / 4
    assert told["pauze", "-"] == pytest.approx(100 * (2 / 3) / total)
    assert told["ijking", "-"] == pytest.approx(100 * (9 / 4) / total)
    assert told["wisselwerking", "-"] == pytest.approx(0, abs=1e-9)


def test_what_only_works_together_is_interplay() -> None:
    def value(c: Combination) -> float:
        return 10 + (c["pauze"].value - 10) * (1 if c["ijking"].value == "aan" else -1)

    told = summed(value)["aandeel_variantie_pct"]
    assert told["wisselwerking", "-"] == pytest.approx(100)


def test_a_wrong_level_is_shown_and_neither_spreads_nor_counts() -> None:
    told = summed(lambda c: 10.0 if c["nul"].value else 99.0)
    assert told.loc[("nul", "weg"), "waarde"] == 99.0 and not told.loc[("nul", "weg"), "is_verdedigbaar"]
    whole = told.loc[("alle keuzes", "-")]
    assert (whole["spreiding_laagste"], whole["spreiding_hoogste"]) == (10.0, 10.0)
    assert whole["aantal_combinaties"] == 6


@pytest.mark.parametrize(
    ("value", "outcome", "held"),
    [
        (lambda c: 7.0, "houdt_stand", 6),
        (lambda c: 5.5, "houdt_geen_stand", 0),
        (lambda c: 7.0 if c["ijking"].value == "uit" else 5.5, "hangt_af_van_keuzes", 3),
        (lambda c: float("nan"), "niet_te_bepalen", 0),
    ],
)
def test_the_conclusion_is_tested_with_the_sampling_interval(
    value: Callable[[Combination], float], outcome: str, held: int
) -> None:
    whole = summed(value).loc[("alle keuzes", "-")]
    assert (whole["conclusie_uitkomst"], whole["aantal_houdt_stand"]) == (outcome, held)


def test_a_conclusion_of_below_and_without_interval() -> None:
    below = Conclusion("Het is minder dan 5", 5.0, is_above=False)
    assert below.holds(4.0, float("nan"), float("nan")) and not below.holds(4.0, 3.0, 5.5)


def test_figures_are_on_the_cells_that_all_combinations_have() -> None:
    seen = []

    def make(combination: Combination, cells: frozenset[str]) -> Figure:
        seen.append(cells)
        return Figure(1.0)

    cells = {gevoeligheid.name_of(c): frozenset("abc") for c in ASKED}
    cells[gevoeligheid.name_of(ASKED[0])] = frozenset("bcd")
    # One that may show nothing has no figure, and does not leave the others without.
    cells[gevoeligheid.name_of(ASKED[1])] = frozenset()
    rows = gevoeligheid.tabulated(ASKED, cells, make, TESTED)
    assert set(seen) == {frozenset("bc")}
    assert np.isnan(rows["waarde"].iloc[1]) and rows["waarde"].notna().sum() == len(ASKED) - 1
    assert rows["aantal_cellen"].tolist()[:3] == [3, 0, 3] and rows["gedeelde_cellen"].tolist()[:3] == [
        2,
        0,
        2,
    ]


def test_levels_without_a_figure_are_left_out_of_the_shares() -> None:
    rows = table(lambda c: 10 + c["pauze"].value + 3 * (c["ijking"].value == "aan"))
    # Calibrated there is no figure at the longest pause: that pause cannot be compared in full.
    rows.loc[rows["combinatie"] == "pauze=15 min; ijking=aan; nul=een", "waarde"] = np.nan
    told = gevoeligheid.summary(rows).set_index(["keuze", "niveau"])["aandeel_variantie_pct"]
    left = (5**2 / 4, 3**2 / 4)
    assert told["pauze", "-"] == pytest.approx(100 * left[0] / sum(left))
    assert told["ijking", "-"] == pytest.approx(100 * left[1] / sum(left))


def test_a_choice_of_which_one_level_is_left_has_no_share() -> None:
    rows = table(lambda c: float("nan") if c["ijking"].value == "aan" else float(c["pauze"].value))
    told = gevoeligheid.summary(rows).set_index(["keuze", "niveau"])["aandeel_variantie_pct"]
    assert np.isnan(told["ijking", "-"]) and told["pauze", "-"] == pytest.approx(100)
    nothing = gevoeligheid.summary(table(lambda c: float("nan")))
    assert nothing["aandeel_variantie_pct"].isna().all()


def test_known_wrong_levels_in_the_spread_would_be_seen() -> None:
    """Broken on purpose: were every level defensible, the spread would hold what is known to be wrong."""
    rows = table(lambda c: 10.0 if c["nul"].value else 99.0)
    told = [json.loads(t) for t in rows["keuzes"]]
    rows["keuzes"] = [json.dumps([{**v, "is_defensible": True} for v in t]) for t in told]
    whole = gevoeligheid.summary(rows).iloc[0]
    assert whole["spreiding_hoogste"] == 99.0


# -- As published ----------------------------------------------------------------------------------------


def published(rows: pd.DataFrame, least: int = 5) -> pd.DataFrame:
    told = rows.assign(eenheid="x", aantal_cellen=3, gedeelde_cellen=2)
    return _summed_up(told, least).set_index(["keuze", "niveau"])


def test_figures_of_too_few_participants_are_hidden_in_every_row() -> None:
    rows = table(lambda c: 7.0)
    assert (published(rows)["waarde_status"] == "definitief").all()
    # One combination with few is enough: its difference with the others would be about them.
    rows.loc[3, "aantal_deelnemers"] = 4
    hidden = published(rows)
    figures = ["waarde", "steekproef_onder", "spreiding_over_keuzes_laagste", "spreiding_over_keuzes_hoogste"]
    assert hidden[figures].isna().all(axis=None)
    assert (hidden["waarde_status"] == "onderdrukt").all()


def test_what_is_absent_or_weak_is_said() -> None:
    nothing = published(table(lambda c: float("nan")))
    assert (nothing["waarde_status"] == "niet_beschikbaar").all()
    assert "geen cel" in nothing.loc[("alle keuzes", "-"), "toelichting"]
    weak = table(lambda c: 7.0).assign(waarde_onder=np.nan, waarde_boven=np.nan)
    assert (published(weak)["waarde_status"] == "onvoldoende_betrouwbaar").all()


def test_the_choice_that_matters_most_is_one_choice() -> None:
    told = published(table(lambda c: 10 + c["pauze"].value + (c["ijking"].value == "aan")))
    most = told[told["is_belangrijkste_keuze"] == True]  # noqa: E712  # nullable
    assert list(most.index) == [("pauze", "-")]
    assert told.loc[("alle keuzes", "-"), "verloren_cellen"] == 1
