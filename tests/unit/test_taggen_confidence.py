"""Calibration and intervals: against known truth and against statsmodels."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import proportion_confint

from koploper_pipelines.methods.taggen_en_gamen import confidence, gold, players, sample, stopping
from koploper_pipelines.methods.taggen_en_gamen.consensus import Judgements, dawid_skene, winners


def overconfident(seed: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Claims that say more than they know, and whether they are right."""
    rng = np.random.default_rng(seed)
    true = rng.beta(4, 1, n)
    claimed = 1 / (1 + np.exp(-3 * np.log(true / (1 - true)) - 0.5))
    return claimed, (rng.random(n) < true).astype(float)


def correlated(seed: int, items: int) -> tuple[np.ndarray, np.ndarray]:
    """Posteriors of Dawid-Skene where hard items mislead everybody at once, and whether they are right."""
    rng = np.random.default_rng(seed)
    truth, hard = rng.integers(0, 4, items), rng.beta(2, 5, items)
    item = np.repeat(np.arange(items), 7)
    player, skill = rng.integers(0, 150, len(item)), rng.beta(7, 2, 150)
    lure = (truth + rng.integers(1, 4, items)) % 4
    wrong = np.where(rng.random(len(item)) < 0.7, lure[item], rng.integers(0, 4, len(item)))
    label = np.where(rng.random(len(item)) < skill[player] * (1 - hard[item]), truth[item], wrong)
    found = dawid_skene(Judgements(item, player, label, items, 150, 4))
    best, _ = winners(found.probability)
    return found.probability.max(axis=1), (best == truth).astype(float)


@pytest.mark.parametrize("make", [overconfident, correlated])
@pytest.mark.parametrize("seed", [1, 2])
def test_calibrated_confidence_means_what_it_says(make, seed: int) -> None:  # type: ignore[no-untyped-def]
    claimed, right = make(seed, 5000)
    fit = confidence.calibrate(claimed[:2500], right[:2500])
    after = confidence.ece(fit(claimed[2500:]), right[2500:])
    assert fit.is_fitted
    assert after <= 0.03
    # Counter-test: as the method said it.
    assert confidence.ece(claimed[2500:], right[2500:]) > 2 * after
    # And the order stays.
    assert (np.diff(fit(np.linspace(0.01, 0.99, 99))) >= 0).all()


def test_too_little_gold_leaves_the_probabilities_alone() -> None:
    claimed, right = overconfident(3, confidence.MIN_GOLD - 1)
    fit = confidence.calibrate(claimed, right)
    assert not fit.is_fitted and (fit(claimed) == claimed).all()


def test_calibration_stands_all_labels_right() -> None:
    fit = confidence.calibrate(np.full(50, 0.99), np.ones(50))
    assert 0.9 < fit(np.array([0.99]))[0] < 1


def test_chance_and_interval_of_the_calibration_error() -> None:
    rng = np.random.default_rng(3)
    claimed = rng.uniform(0.5, 1, 2000)
    honest = confidence.calibration_error(claimed, (rng.random(2000) < claimed).astype(float))
    assert honest.value < 2 * honest.by_chance
    lying = confidence.calibration_error(claimed, (rng.random(2000) < claimed - 0.2).astype(float))
    assert lying.lower > 5 * lying.by_chance
    assert lying.lower < lying.value < lying.upper
    assert lying.value == pytest.approx(0.2, abs=0.03)


def test_ece_by_hand() -> None:
    claimed = np.array([0.95, 0.95, 0.65, 0.65])
    assert confidence.ece(claimed, np.array([1, 1, 1, 0])) == pytest.approx((2 * 0.05 + 2 * 0.15) / 4)


@pytest.mark.parametrize(("hits", "n"), [(0, 10), (10, 10), (45, 50), (180, 200), (1, 3)])
def test_wilson_is_that_of_statsmodels(hits: int, n: int) -> None:
    assert confidence.wilson(hits, n) == pytest.approx(
        proportion_confint(hits, n, method="wilson"), abs=1e-12
    )
    assert confidence.wilson(0, 0) == (0.0, 1.0)


def test_paired_comparison_is_that_of_statsmodels() -> None:
    rng = np.random.default_rng(5)
    first = rng.random(300) < 0.9
    second = np.where(rng.random(300) < 0.85, first, rng.random(300) < 0.7)
    found = confidence.paired(first, second)
    table = pd.crosstab(first, second)
    assert found.p == pytest.approx(mcnemar(table, exact=True).pvalue)
    assert found.difference == pytest.approx(first.mean() - second.mean())
    assert found.lower < found.difference < found.upper
    same = confidence.paired(first, first)
    assert (same.p, same.difference) == (1.0, 0.0)


def test_interval_of_a_paired_difference_holds_the_truth() -> None:
    rng = np.random.default_rng(6)
    held = {"paired": 0, "as if apart": 0}
    for _ in range(400):
        both = rng.random(150) < 0.8
        first = both | (rng.random(150) < 0.4)
        second = both | (rng.random(150) < 0.2)
        truth = 0.2 * 0.2
        found = confidence.paired(first, second)
        held["paired"] += found.lower <= truth <= found.upper
        half = 1.96 * np.sqrt(first.var() / 150 + second.var() / 150)
        held["as if apart"] += abs(first.mean() - second.mean() - truth) <= half
    assert 0.93 <= held["paired"] / 400 <= 0.98
    # Counter-test: without pairing the interval is far too wide.
    assert held["as if apart"] / 400 > 0.99


def test_gold_accuracy_shrinks_to_all_players() -> None:
    hits, judged = np.array([2.0, 90, 40, 0]), np.array([2.0, 100, 100, 0])
    found = players.gold_accuracy(hits, judged)
    overall = (hits.sum() + 1) / (judged.sum() + 2)
    assert found.mean[3] == pytest.approx(overall)
    assert overall < found.mean[0] < 0.8
    assert found.mean[1] == pytest.approx(0.88, abs=0.02)
    assert (found.lower < found.mean).all() and (found.mean < found.upper).all()
    rng = np.random.default_rng(7)
    true = rng.beta(7, 2, 3000)
    n = rng.integers(1, 12, 3000)
    made = players.gold_accuracy(rng.binomial(n, true).astype(float), n.astype(float))
    raw = rng.binomial(n, true) / n
    assert np.abs(made.mean - true).mean() < 0.7 * np.abs(raw - true).mean()
    assert ((made.lower <= true) & (true <= made.upper)).mean() == pytest.approx(0.95, abs=0.02)


def test_confusion_matrices_of_players_are_shrunk_to_the_population() -> None:
    rng = np.random.default_rng(8)
    truth = rng.integers(0, 2, 500)
    player = np.r_[np.zeros(490, int), np.ones(10, int)]
    label = np.where(rng.random(500) < 0.9, truth, 1 - truth)
    label[490:] = 1 - truth[490:]
    judgements = Judgements(np.arange(500), player, label, 500, 2, 2)
    found = players.shrunk_errors(judgements, np.eye(2)[truth])
    assert np.allclose(found.sum(axis=2), 1)
    assert found[0, 0, 0] == pytest.approx((label[:490] == truth[:490])[truth[:490] == 0].mean(), abs=0.02)
    # Ten judgements, all wrong: half way.
    assert 0.3 < np.diagonal(found[1]).mean() < 0.7


def test_learning_within_players_is_told_from_good_players_staying() -> None:
    rng = np.random.default_rng(9)

    def answers(learns: float) -> pd.DataFrame:
        rows = []
        for player in range(400):
            skill = rng.uniform(0.4, 0.9)
            # Who is good goes on.
            number = 8 if skill < 0.65 else 60
            done = np.arange(1, number + 1)
            right = rng.random(number) < np.clip(skill + learns * (done > 10), 0, 1)
            rows.append(pd.DataFrame({"speler": f"s{player}", "nummer": done, "is_goed": right.astype(int)}))
        return pd.concat(rows)

    still = players.learning_curve(answers(0.0)).set_index("vanaf_item")
    plain = still["nauwkeurigheid"]
    assert plain[26] - plain[1] > 0.05
    within = still["nauwkeurigheid_binnen_spelers"]
    assert abs(within[26] - within[1]) < 0.03
    assert still.loc[26, "verschil_onder"] < 0 < still.loc[26, "verschil_boven"]
    better = players.learning_curve(answers(0.1)).set_index("vanaf_item")
    assert better.loc[26, "verschil_onder"] > 0.05


def test_gold_is_split_once_and_in_equal_parts() -> None:
    parts = [gold.part_of("vraag", f"item {i}") for i in range(4000)]
    share = np.mean([p == gold.CALIBRATION for p, _ in parts])
    assert share == pytest.approx(0.5, abs=0.03)
    assert not any(seeds for p, seeds in parts if p == gold.EVALUATION)
    assert [gold.part_of("vraag", f"item {i}") for i in range(4000)] == parts
    # Fixed for ever: another split would let calibration see what evaluates.
    assert [gold.part_of("vraag", f"item {i}")[0] for i in range(4)] == [
        "ijking",
        "ijking",
        "evaluatie",
        "ijking",
    ]


def test_gold_of_easy_items_is_no_random_sample() -> None:
    rng = np.random.default_rng(10)
    claims = pd.DataFrame({"item": [f"i{i}" for i in range(600)], "aantal_oordelen": 7})
    claims["aantal_stemmen"] = rng.integers(3, 8, 600)
    claims["label"] = rng.choice(["a", "b"], 600)
    at_random = rng.random(600) < 0.3
    easy = (claims["aantal_stemmen"] >= 5).to_numpy() & (rng.random(600) < 0.5)
    one_label = (claims["label"] == "a").to_numpy() & (rng.random(600) < 0.5)
    for chosen, verdict in ((at_random, sample.YES), (easy, sample.NO), (one_label, sample.NO)):
        p = sample.resembles(claims, chosen)
        assert sample.verdict(p, claims["item"], claims["item"][chosen]) == verdict
    assert sample.verdict(None, claims["item"], claims["item"]) == sample.WHOLE
    assert sample.resembles(claims, np.arange(600) < 10) is None


def test_decisions_follow_the_calibrated_confidence() -> None:
    rules = stopping.StoppingRules(accept_from=0.9, min_judgements=2, max_judgements=6)
    found = stopping.decide(np.array([0.95, 0.95, 0.5, 0.5, 0.9]), np.array([3, 1, 3, 6, 2]), rules)
    assert found.tolist() == ["aanvaarden", "meer_spelers", "meer_spelers", "deskundige", "aanvaarden"]
