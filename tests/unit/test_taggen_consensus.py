"""Majority, Dawid-Skene and one coin: against published figures, known truth and their own promises."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from koploper_pipelines.methods.taggen_en_gamen import consensus, labels
from koploper_pipelines.methods.taggen_en_gamen.consensus import EmRules, Judgements

# Accuracy on the sets of Snow et al. 2008: crowd-kit 1.4.2 for the models, the mean over random ties for the
# majority (docs/taggen_en_gamen.md).
PUBLISHED = {
    "rte": {"meerderheid": 0.897, "een_munt": 0.925, "dawid_skene": 0.928},
    "temp": {"meerderheid": 0.936, "een_munt": 0.939, "dawid_skene": 0.940},
}


def crowd(file: Path) -> tuple[Judgements, np.ndarray]:
    rows = pd.read_csv(file, sep="\t", dtype=str)
    item, items = pd.factorize(rows["orig_id"])
    player, players = pd.factorize(rows["amt_worker_ids"])
    label, names = pd.factorize(rows["response"], sort=True)
    truth = rows.drop_duplicates("orig_id")["gold"]
    judgements = Judgements(item, player, label, len(items), len(players), len(names))
    return judgements, pd.Index(names).get_indexer(pd.Index(truth))


def right(found: consensus.Consensus, truth: np.ndarray) -> float:
    return float((consensus.winners(found.probability)[0] == truth).mean())


def simulated(
    seed: int, items: int = 600, players: int = 40, classes: int = 4, each: int = 7
) -> tuple[Judgements, np.ndarray, np.ndarray]:
    """Judgements of players with confusion matrices of their own, the truth and these matrices."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, items)
    errors = np.stack([rng.dirichlet(0.8 + 3 * np.eye(classes)[t], players) for t in range(classes)], axis=1)
    item = np.repeat(np.arange(items), each)
    player = np.concatenate([rng.choice(players, each, replace=False) for _ in range(items)])
    draw = rng.random(len(item))
    label = (errors[player, truth[item]].cumsum(axis=1) < draw[:, None]).sum(axis=1)
    return Judgements(item, player, np.minimum(label, classes - 1), items, players, classes), truth, errors


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_accuracies_are_reached(name: str, real_data: Callable[[str], Path]) -> None:
    judgements, truth = crowd(real_data(f"crowd/{name}.standardized.tsv"))
    majority = consensus.majority(judgements)
    found = {
        "meerderheid": consensus.expected_accuracy(majority.probability, truth).mean(),
        "een_munt": right(consensus.one_coin(judgements), truth),
        "dawid_skene": right(consensus.dawid_skene(judgements), truth),
    }
    assert found == pytest.approx(PUBLISHED[name], abs=0.002)


def test_wrong_way_round_the_model_is_worse_than_counting(real_data: Callable[[str], Path]) -> None:
    """Counter-test: players and items changed places fit nothing."""
    judgements, truth = crowd(real_data("crowd/rte.standardized.tsv"))
    rng = np.random.default_rng(0)
    mixed = replace(judgements, player=rng.permutation(judgements.player))
    assert right(consensus.dawid_skene(mixed), truth) < 0.91


def test_confusion_matrices_are_found_again() -> None:
    judgements, truth, errors = simulated(1, items=4000)
    found = consensus.dawid_skene(judgements)
    assert found.errors is not None
    assert np.abs(found.errors - errors).mean() < 0.03
    assert right(found, truth) > right(consensus.majority(judgements), truth) + 0.01
    # Transposed they are other matrices: true label first, given label last.
    assert np.abs(found.errors.transpose(0, 2, 1) - errors).mean() > 0.05


def test_one_coin_finds_how_often_players_are_right() -> None:
    rng = np.random.default_rng(3)
    truth, accuracy = rng.integers(0, 3, 3000), rng.uniform(0.4, 0.95, 30)
    item = np.repeat(np.arange(3000), 6)
    player = rng.integers(0, 30, len(item))
    wrong = (truth[item] + rng.integers(1, 3, len(item))) % 3
    label = np.where(rng.random(len(item)) < accuracy[player], truth[item], wrong)
    found = consensus.one_coin(Judgements(item, player, label, 3000, 30, 3))
    assert found.errors is not None
    assert np.abs(found.errors[:, 0, 0] - accuracy).max() < 0.05


@pytest.mark.parametrize("model", [consensus.dawid_skene, consensus.one_coin])
def test_log_posterior_never_falls_and_the_fit_stops_by_its_tolerance(
    model: Callable[..., consensus.Consensus],
) -> None:
    judgements, _, _ = simulated(2)
    found = model(judgements, EmRules(tolerance=1e-9, max_iterations=500))
    rises = np.diff(found.log_posterior)
    assert found.converged and len(rises) > 2
    assert (rises[:-1] >= 1e-9).all() and -1e-12 < rises[-1] < 1e-9
    cut_off = model(judgements, EmRules(tolerance=1e-9, max_iterations=2))
    assert (cut_off.converged, cut_off.iterations) == (False, 2)


def test_weights_of_judgements_count() -> None:
    judgements, _, _ = simulated(4, items=200)
    twice = Judgements(
        np.tile(judgements.item, 2),
        np.tile(judgements.player, 2),
        np.tile(judgements.label, 2),
        200,
        judgements.players,
        4,
        np.full(2 * len(judgements.item), 0.5),
    )
    for model in (consensus.majority, consensus.dawid_skene, consensus.one_coin):
        assert np.allclose(model(twice).probability, model(judgements).probability, atol=1e-8)
    silent = replace(judgements, weight=(judgements.player != 0).astype(float))
    without = judgements.player != 0
    left = Judgements(*(getattr(judgements, c)[without] for c in ("item", "player", "label")), 200, 40, 4)
    assert np.allclose(consensus.votes(silent), consensus.votes(left))


def test_known_labels_seed_the_model_and_stay() -> None:
    """With three labels mixed up by nearly everybody, a few known items set the model right."""
    rng = np.random.default_rng(5)
    truth = rng.integers(0, 2, 400)
    item = np.repeat(np.arange(400), 5)
    player = rng.integers(0, 20, len(item))
    label = np.where(rng.random(len(item)) < 0.35, truth[item], 1 - truth[item])
    judgements = Judgements(item, player, label, 400, 20, 2)
    known = np.where(np.arange(400) < 80, truth, -1)
    alone = consensus.dawid_skene(judgements)
    seeded = consensus.dawid_skene(judgements, known=known)
    assert right(alone, truth) < 0.5
    others = np.arange(400) >= 80
    assert (consensus.winners(seeded.probability)[0] == truth)[others].mean() > 0.6
    assert (seeded.probability[np.arange(80), truth[:80]] == 1).all()


def test_ties_are_expected_over_and_decided_by_a_lot_that_favours_no_label() -> None:
    item = np.repeat(np.arange(400), 2)
    label = np.tile([0, 1], 400)
    found = consensus.majority(Judgements(item, np.tile([0, 1], 400), label, 400, 2, 2))
    assert consensus.winners(found.probability)[1].all()
    assert (consensus.expected_accuracy(found.probability, np.zeros(400, int)) == 0.5).all()
    rows = pd.DataFrame(
        {
            "item": [f"i{i}" for i in item],
            "speler": np.tile(["a", "b"], 400),
            "label": np.tile(["ja", "nee"], 400),
        }
    ).assign(gewicht=1.0)
    claims = labels.claims(rows, "enkel", "meerderheid")
    assert claims["is_gelijk"].all()
    assert 150 < (claims["label"] == "ja").sum() < 250
    again = labels.claims(rows.sample(frac=1, random_state=1), "enkel", "meerderheid")
    assert again["label"].tolist() == claims["label"].tolist()


def test_codes_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="codes of player"):
        Judgements(np.array([0]), np.array([3]), np.array([0]), 1, 2, 1)


@pytest.mark.parametrize(("each", "method"), [(1, "meerderheid"), (2, "meerderheid"), (3, "dawid_skene")])
def test_few_judgements_an_item_fall_back_to_the_majority(each: int, method: str) -> None:
    judgements, _, _ = simulated(6, items=50, each=each)
    rows = pd.DataFrame({"item": judgements.item, "speler": judgements.player, "gewicht": 1.0})
    assert labels.chosen_method(rows, "enkel") == method
    # Judgements without weight are none.
    assert labels.chosen_method(rows.assign(gewicht=0.0), "enkel") == "meerderheid"


def test_one_rich_question_keeps_its_method_for_poor_items() -> None:
    judgements, _, _ = simulated(7, items=50, each=5)
    rows = pd.DataFrame({"item": judgements.item, "speler": judgements.player, "gewicht": 1.0})
    rows = rows[(rows["item"] > 5) | ~rows.duplicated("item")]
    assert labels.chosen_method(rows, "enkel") == "dawid_skene"


def test_several_labels_are_questions_of_their_own() -> None:
    rng = np.random.default_rng(8)
    truth = rng.random((300, 3)) < [0.6, 0.3, 0.1]
    rows = []
    for item in range(300):
        for player in rng.choice(25, 6, replace=False):
            said = np.where(rng.random(3) < 0.85, truth[item], ~truth[item])
            given = [n for n, s in zip("abc", said, strict=True) if s]
            rows.append((f"i{item:03d}", f"s{player}", str(given).replace("'", '"'), 1.0))
    frame = pd.DataFrame(rows, columns=["item", "speler", "labels", "gewicht"])
    claims = labels.claims(frame, "meerdere", "dawid_skene")
    gold = pd.DataFrame(
        [(f"i{i:03d}", n) for i in range(300) for n, t in zip("abc", truth[i], strict=True) if t],
        columns=["item", "label"],
    )
    judged = labels.against_gold(claims, "meerdere", gold)
    assert judged["is_goed"].mean() > 0.96
    # Of a label that nobody gave there is no claim.
    assert (claims["aantal_stemmen"] > 0).all()
    assert not claims.duplicated(["item", "label"]).any()


def test_a_tag_that_was_not_typed_is_no_vote_against() -> None:
    rows = pd.DataFrame(
        [("i1", "a", '["kerk"]'), ("i1", "b", '["kerk"]'), *(("i1", f"s{n}", '["huis"]') for n in range(8))],
        columns=["item", "speler", "labels"],
    ).assign(gewicht=1.0)
    many = labels.claims(rows, "vrij", "vrije_tags").set_index("label")
    few = labels.claims(rows[rows["speler"].isin(["a", "b"])], "vrij", "vrije_tags").set_index("label")
    assert many.loc["kerk", "is_aanwezig"] and many.loc["kerk", "kans"] > 0.8
    assert many.loc["kerk", "kans"] == pytest.approx(few.loc["kerk", "kans"], abs=0.15)
    assert many.loc["kerk", ["aantal_stemmen", "aantal_oordelen"]].tolist() == [2, 10]
    # As a vote it would lose: two of ten.
    as_votes = labels.claims(rows, "meerdere", "meerderheid").set_index("label")
    assert not as_votes.loc["kerk", "is_aanwezig"]
