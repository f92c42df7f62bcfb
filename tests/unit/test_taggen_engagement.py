"""Sessions, contribution, retention and inequality, by hand and against known truth."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from koploper_pipelines.methods.disclosure import DisclosureRules
from koploper_pipelines.methods.taggen_en_gamen import engagement

START = pd.Timestamp("2026-03-01 20:00", tz="UTC")


def turns(player: str, minutes: list[float], seconds: float | None = 60.0) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "speler": player,
            "tijd": [START + pd.Timedelta(minutes=m) for m in minutes],
            "duur_s": seconds,
            "aantal_labels": 2,
        }
    )


def test_a_long_pause_starts_another_session() -> None:
    found = engagement.sessions(pd.concat([turns("a", [0, 5, 36, 37]), turns("b", [0, 30])]))
    assert found[["speler", "sessie", "aantal_beurten"]].values.tolist() == [
        ["a", 1, 2],
        ["a", 2, 2],
        ["b", 1, 2],
    ]
    assert found["speeltijd_min"].tolist() == [2, 2, 2]
    assert found["aantal_labels"].sum() == 12


def test_time_played_counts_no_window_that_stays_open_and_no_turn_twice() -> None:
    rows = turns("a", [0, 1, 2, 3])
    rows["duur_s"] = [60, None, 60, 60]
    assert engagement.sessions(rows)["speeltijd_min"].tolist() == [4]
    overlapping = turns("a", [0, 0.5, 1.0, 1.5], seconds=60)
    assert engagement.sessions(overlapping)["speeltijd_min"].item() == pytest.approx(1 + 3 * 0.5)
    assert engagement.sessions(turns("a", [0, 1], seconds=None)).empty


def test_expected_contribution_is_that_of_the_esp_game() -> None:
    """Von Ahn and Dabbish: 233 labels an hour, 91 minutes a player: 353 labels."""
    players = 1000
    minutes = np.full(players, 91.0)
    found = engagement.contribution(minutes, np.full(players, 233 * 91 / 60))
    assert found["labels_per_uur"] == pytest.approx(233)
    assert found["speelduur_min"] == pytest.approx(91)
    assert found["verwachte_bijdrage"] == pytest.approx(353, abs=1)
    # Per human-hour: who plays long weighs as much as they play.
    mixed = engagement.contribution(np.array([10.0, 110]), np.array([100.0, 110]))
    assert mixed["labels_per_uur"] == pytest.approx(105)


def test_retention_is_over_players_who_could_have_stayed() -> None:
    end = START + pd.Timedelta(days=40)
    first = pd.Series([START, START, START, end - pd.Timedelta(days=3)])
    last = first + pd.to_timedelta([0, 8, 30, 2], unit="D")
    assert engagement.retention(first, last, end, 1) == (0.75, 4)
    assert engagement.retention(first, last, end, 7) == (pytest.approx(2 / 3), 3)
    assert engagement.retention(first, last, end, 30) == (pytest.approx(1 / 3), 3)
    share, number = engagement.retention(first, last, START, 30)
    assert np.isnan(share) and number == 0


def test_inequality() -> None:
    assert engagement.gini(np.ones(10)) == pytest.approx(0)
    assert engagement.gini(np.r_[np.zeros(99), 1]) == pytest.approx(0.99)
    values = np.random.default_rng(1).pareto(2.0, 200_000) + 1
    assert engagement.gini(values) == pytest.approx(1 / 3, abs=0.02)
    assert engagement.top_share(np.r_[np.full(9, 1.0), 11]) == pytest.approx(0.55)
    assert np.isnan(engagement.gini(np.zeros(3))) and np.isnan(engagement.top_share(np.array([])))


def test_a_month_waits_until_enough_players_played_since_the_last_that_is_shown() -> None:
    months = pd.Series(["2026-01"] * 6 + ["2026-02"] * 2 + ["2026-03"] * 3 + ["2026-04"] * 9)
    players = pd.Series([*"abcdef", "a", "g", *"hij", *"abcdefghi"])
    month = engagement.reference_month
    assert month(months, players, "2026-02", 5) == "2026-01"
    # Of February alone two players would follow by subtraction.
    assert month(months, players, "2026-03", 5) == "2026-01"
    assert month(months, players, "2026-04", 5) == "2026-03"
    assert month(months, players, "2026-05", 5) == "2026-04"
    assert month(months, players, "2026-01", 5) is None


def sessions_of(labels: list[int]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "speler": [f"s{i:02d}" for i in range(len(labels))],
            "sessie": 1,
            "begin": START,
            "einde": START + pd.Timedelta(hours=1),
            "speeltijd_min": [float(n) for n in labels],
            "aantal_beurten": 1,
            "aantal_labels": labels,
        }
    )


def test_figures_on_few_or_dominated_players_are_hidden() -> None:
    rules = DisclosureRules(5, 0.30)
    end = START + pd.Timedelta(days=60)
    enough = engagement.figures(sessions_of([10] * 60), end, rules).set_index("indicator")
    assert (enough["waarde_status"] == "definitief").all()
    assert (enough["aantal_spelers"] == 60).all()
    few = engagement.figures(sessions_of([10] * 4), end, rules)
    assert few["waarde"].isna().all() and few["aantal_spelers"].isna().all()
    assert (few["waarde_status"] == "onderdrukt").all()
    dominated = engagement.figures(sessions_of([1000] + [10] * 20), end, rules).set_index("indicator")
    assert dominated.loc[["labels_per_uur", "gini"], "waarde"].isna().all()
    assert dominated.loc["behoud_7_dagen", "waarde"] == 0
    # Ten percent of twenty players are two.
    assert enough.loc["aandeel_top_10_procent", "waarde"] == pytest.approx(10)
    top = engagement.figures(sessions_of([10] * 20), end, rules).set_index("indicator")
    assert np.isnan(top.loc["aandeel_top_10_procent", "waarde"])
