"""Phases, selection and portfolio: against published figures, another implementation, and a known truth."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from statsmodels.duration.survfunc import CumIncidenceRight

from koploper_pipelines.methods.koploperdeals import phases, portfolio, selection
from koploper_pipelines.methods.koploperdeals.frames import frame
from koploper_pipelines.simulation.koploperdeals import MOVE_PER_DAY, STOP_PER_DAY, simulate

# -- Phases --------------------------------------------------------------------------------------------------


def durations(number: int, seed: int, censored: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    """Days in a phase with known chances to move and stop, and deals that are still in it."""
    random = np.random.default_rng(seed)
    rate = MOVE_PER_DAY + STOP_PER_DAY
    days = 1 + np.floor(random.exponential(1 / rate, number))
    end = np.where(random.random(number) < MOVE_PER_DAY / rate, "door", "gestopt").astype(object)
    seen = random.uniform(0, 400 / censored if censored else 1e9, number)
    end[seen < days] = "loopt"
    return np.minimum(days, np.floor(seen)), end


@pytest.mark.parametrize(("number", "seed"), [(10, 1), (40, 2), (300, 3)])
def test_incidence_and_its_error_are_those_of_statsmodels(number: int, seed: int) -> None:
    """Days of whole numbers, so with ties."""
    days, end = durations(number, seed)
    status = pd.Series(end).map({"loopt": 0, "door": 1, "gestopt": 2}).to_numpy()
    with np.errstate(divide="ignore", invalid="ignore"):
        # It divides by who is left, also when the last ones end together.
        oracle = CumIncidenceRight(days, status)
    found = phases.cumulative_incidence(days, end)
    on = np.isin(oracle.times, found["dagen"])
    for place, cause in enumerate(phases.CAUSES):
        chance = found[f"kans_{cause}"].to_numpy()
        np.testing.assert_allclose(chance, oracle.cinc[place][on], atol=1e-12)
        # The interval undone: at the same chance its width tells the standard error.
        error, inside = (
            oracle.cinc_se[place][on],
            (chance > 0) & (chance < 1) & np.isfinite(oracle.cinc_se[place][on]),
        )
        width = 1.959963984540054 * error[inside] / np.abs(chance[inside] * np.log(chance[inside]))
        np.testing.assert_allclose(
            found[f"kans_{cause}_onder"].to_numpy()[inside], chance[inside] ** np.exp(width)
        )
        np.testing.assert_allclose(
            found[f"kans_{cause}_boven"].to_numpy()[inside], chance[inside] ** np.exp(-width)
        )


def test_chances_and_who_is_left_are_one_and_at_risk_goes_down() -> None:
    days, end = durations(60, 4)
    found = phases.cumulative_incidence(days, end)
    left = 1 - found["kans_door"] - found["kans_gestopt"]
    assert (left.diff().dropna() <= 1e-12).all()
    assert (left >= -1e-12).all()
    assert (found["onder_risico"].diff().dropna() < 0).all()
    assert found["onder_risico"].iloc[0] == (days >= found["dagen"].iloc[0]).sum()


def _chance_by(day: float, curve: pd.DataFrame, column: str) -> float:
    return float(curve.loc[curve["dagen"] <= day, column].iloc[-1])


def test_interval_holds_the_true_chance_and_a_naive_one_does_not() -> None:
    """400 registers of 60 deals; Kaplan–Meier per cause takes a stopped deal for one that may still move."""
    day, rate = 150.0, MOVE_PER_DAY + STOP_PER_DAY
    true = MOVE_PER_DAY / rate * (1 - np.exp(-rate * day))
    held, naive = [], []
    for seed in range(400):
        days, end = durations(60, 1000 + seed)
        curve = phases.cumulative_incidence(days, end)
        held.append(
            _chance_by(day, curve, "kans_door_onder") <= true <= _chance_by(day, curve, "kans_door_boven")
        )
        alone = np.where(end == "gestopt", "loopt", end)
        naive.append(_chance_by(day, phases.cumulative_incidence(days, alone), "kans_door"))
    assert 0.92 <= np.mean(held) <= 0.98
    assert np.mean(naive) - true > 0.04


def test_no_median_when_fewer_than_half_have_moved_on() -> None:
    half = phases.cumulative_incidence([1, 2, 3, 4], ["door", "door", "gestopt", "gestopt"])
    fewer = phases.cumulative_incidence([1, 2, 3, 4], ["door", "gestopt", "gestopt", "gestopt"])
    assert phases.median_days(half) == 2
    assert phases.median_days(fewer) is None
    # Kaplan–Meier per cause would claim one: the stopped ones are taken for still running.
    alone = phases.cumulative_incidence([4, 1, 2, 3], ["door", "loopt", "loopt", "loopt"])
    assert phases.median_days(alone) == 4


def test_repeated_phase_goes_on_and_a_running_one_lasts_until_the_last_day() -> None:
    rows = frame(
        "fasen",
        [
            dict(zip(("deal", "fase", "begonnen_op", "geeindigd_op", "uitgang"), row, strict=True))
            for row in (
                ("A", "verkennen", date(2022, 1, 1), date(2022, 2, 1), "herhaald"),
                ("A", "verkennen", date(2022, 3, 1), date(2022, 4, 1), "volgende_fase"),
                ("A", "ontwikkelen", date(2022, 4, 1), date(2022, 5, 1), "herhaald"),
                ("A", "ontwikkelen", date(2022, 5, 1), None, "loopt"),
                ("B", "verkennen", date(2022, 6, 1), date(2022, 6, 11), "gestopt"),
            )
        ],
    )
    found = phases.spells(rows, pd.Timestamp(2022, 12, 31))
    told = [(r.deal, r.fase, int(r.dagen), r.einde, r.keren) for r in found.itertuples()]
    assert told == [
        ("B", "verkennen", 10, "gestopt", 1),
        ("A", "verkennen", 90, "door", 2),
        ("A", "ontwikkelen", 274, "loopt", 2),
    ]


def test_simulated_deals_move_on_as_often_as_their_truth_says(tmp_path: Path) -> None:
    made = simulate(
        tmp_path, tmp_path, last_day=date(2024, 1, 1), days=3000, participants=400, rows=None, seed=5
    )
    course = pd.read_parquet(made.truth / "deals.parquet")
    known = course[(course["fase"] == "verkennen") & (course["begin"] <= 0)]
    days = np.minimum(known["eind"], 0) - known["begin"]
    end = (
        known["uitgang"]
        .map({"volgende_fase": "door", "gestopt": "gestopt"})
        .where(known["eind"] <= 0, "loopt")
    )
    curve = phases.cumulative_incidence(days, end)
    ever = MOVE_PER_DAY / (MOVE_PER_DAY + STOP_PER_DAY)
    assert curve["kans_door_onder"].iloc[-1] <= ever <= curve["kans_door_boven"].iloc[-1]


# -- Selection -----------------------------------------------------------------------------------------------

KRIPPENDORFF = np.array(
    [
        # Krippendorff (2011), "Computing Krippendorff's alpha-reliability", section D: interval data, .849.
        [1, 1, np.nan, 1],
        [2, 2, 3, 2],
        [3, 3, 3, 3],
        [3, 3, 3, 3],
        [2, 2, 2, 2],
        [1, 2, 3, 4],
        [4, 4, 4, 4],
        [1, 1, 2, 1],
        [2, 2, 2, 2],
        [np.nan, 5, 5, 5],
        [np.nan, np.nan, 1, 1],
        [np.nan, np.nan, 3, np.nan],
    ]
)


def test_alpha_is_the_published_one() -> None:
    assert selection.interval_alpha(KRIPPENDORFF) == pytest.approx(0.849, abs=5e-4)


def test_alpha_is_that_of_all_pairs_written_out() -> None:
    random = np.random.default_rng(3)
    values = random.integers(1, 6, (20, 4)).astype(float)
    values[random.random((20, 4)) < 0.2] = np.nan
    rows = [r[np.isfinite(r)] for r in values if np.isfinite(r).sum() >= 2]
    every = np.concatenate(rows)
    observed = sum(((r[:, None] - r[None, :]) ** 2).sum() / (len(r) - 1) for r in rows) / len(every)
    expected = ((every[:, None] - every[None, :]) ** 2).sum() / (len(every) * (len(every) - 1))
    assert selection.interval_alpha(values) == pytest.approx(1 - observed / expected)


def test_alpha_cannot_be_told_without_two_scores_or_without_difference() -> None:
    assert np.isnan(selection.interval_alpha(np.array([[1.0, np.nan], [np.nan, 2.0]])))
    assert np.isnan(selection.interval_alpha(np.array([[3.0, 3.0], [3.0, 3.0]])))
    assert np.isnan(selection.interval_alpha_bounds(np.array([[1.0, 2.0]]))[0])


def test_alpha_of_chance_is_nought_and_its_interval_says_so() -> None:
    values = np.random.default_rng(1).integers(1, 6, (300, 3)).astype(float)
    lower, upper = selection.interval_alpha_bounds(values)
    assert lower < 0 < upper
    assert lower < selection.interval_alpha(values) < upper


def test_weights_decide_the_score() -> None:
    criteria = frame(
        "criteria",
        [
            {"versie": "v", "criterium": "a", "gewicht_pct": 75, "score_min": 1, "score_max": 5},
            {"versie": "v", "criterium": "b", "gewicht_pct": 25, "score_min": 0, "score_max": 10},
        ],
    )
    given = [
        ("A", "a", "p", 5),
        ("A", "b", "p", 0),
        ("A", "a", "q", 1),
        ("A", "b", "q", 10),
        ("B", "a", "p", 3),
    ]
    scores = pd.DataFrame(given, columns=["aanvraag", "criterium", "beoordelaar", "score"]).assign(versie="v")
    found = selection.weighted_scores(scores, criteria).set_index(["aanvraag", "beoordelaar"])["score_pct"]
    assert found.to_dict() == {("A", "p"): 75.0, ("A", "q"): 25.0, ("B", "p"): 50.0}


# -- Portfolio -----------------------------------------------------------------------------------------------


def test_plan_and_realisation_per_year_and_tranche() -> None:
    given = [
        ("A", "T1", date(2021, 3, 1), date(2022, 2, 1), "opgeschaald"),
        ("B", "T1", date(2021, 5, 1), None, "loopt"),
        ("C", "T2", date(2022, 1, 1), date(2022, 12, 31), "gestopt"),
        ("D", "T2", None, None, "niet_gestart"),
    ]
    rows = [
        dict(zip(("deal", "tranche", "gestart_op", "geeindigd_op", "uitkomst"), g, strict=True))
        for g in given
    ]
    plan = frame(
        "uitvoeringsplan",
        [
            {"jaar": 2021, "tranche": "T1", "afgesproken_deals": 3},
            {"jaar": 2023, "tranche": "T3", "afgesproken_deals": 1},
        ],
    )
    found = portfolio.plan_and_realisation(frame("deals", rows), plan, pd.Timestamp(2022, 12, 31))
    columns = ["afgesproken", "gestart", "lopend", "gestopt", "opgeschaald"]
    told = {
        (r["jaar"], r["tranche"]): [None if pd.isna(r[c]) else int(r[c]) for c in columns]
        for r in found.to_dict("records")
    }
    assert told == {
        (2021, "T1"): [3, 2, 2, 0, 0],
        (2021, "alle"): [3, 2, 2, 0, 0],
        (2022, "T1"): [None, 0, 1, 0, 1],
        (2022, "T2"): [None, 1, 0, 1, 0],
        (2022, "alle"): [None, 1, 1, 1, 1],
        (2023, "T3"): [1, 0, 0, 0, 0],
        (2023, "alle"): [1, 0, 0, 0, 0],
    }


def test_renamed_deal_counts_once() -> None:
    deals = frame("deals", [{"deal": "oud"}, {"deal": "nieuw"}, {"deal": "los"}])
    changes = frame(
        "was_wordt",
        [
            {"soort": "deal", "was": "oud", "wordt": "nieuw"},
            {"soort": "instrument", "was": "los", "wordt": "nieuw"},
        ],
    )
    assert list(portfolio.counted_once(deals, changes)["deal"]) == ["nieuw", "los"]


def test_snowball_of_a_chain_with_a_short_cut() -> None:
    edges = pd.DataFrame({"deal": ["A", "B", "A", "A", "D"], "leidde_tot": ["B", "C", "C", "C", None]})
    found = portfolio.snowball(["A", "B", "C", "D"], edges).set_index("deal")
    assert found["generatie"].to_dict() == {"A": 0, "B": 1, "C": 2, "D": 0}
    assert found["voortgekomen_uit"].to_dict() == {"A": 0, "B": 1, "C": 2, "D": 0}
    assert found["leidde_tot"].to_dict() == {"A": 2, "B": 1, "C": 0, "D": 0}
    assert found["nakomelingen"].to_dict() == {"A": 2, "B": 1, "C": 0, "D": 0}


def test_coverage_names_the_first_link_that_is_missing() -> None:
    full = {"datavraag": "d", "indicator": "i", "tabel": "t", "kolom": "k"}
    rows = [
        full,
        {**full, "kolom": None},
        {**full, "kolom": "leeg"},
        {**full, "kolom": "weg"},
        {**full, "tabel": "weg"},
        {**full, "tabel": "zonder_rijen", "kolom": None},
        {**full, "tabel": None},
        {**full, "indicator": None, "tabel": None},
        {**full, "datavraag": None},
    ]
    filled = {"t": {"": 3, "k": 2, "leeg": 0}, "zonder_rijen": {"": 0, "k": 0}}
    assert list(portfolio.coverage(frame("vragen", rows), filled)) == [
        "gedekt",
        "gedekt",
        "geen_gegevens",
        "kolom_bestaat_niet",
        "tabel_bestaat_niet",
        "geen_gegevens",
        "geen_tabel",
        "geen_indicator",
        "geen_datavraag",
    ]
