"""The replay of decisions: what it saves at which price, and that it never looks ahead."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from koploper_pipelines.methods.taggen_en_gamen import consensus, stopping
from koploper_pipelines.methods.taggen_en_gamen.consensus import Judgements

EACH = 7


def game(seed: int, items: int = 1500, players: int = 150, classes: int = 4) -> tuple[Judgements, np.ndarray]:
    """Seven judgements an item, in rounds; accuracies of players Beta(7, 2)."""
    rng = np.random.default_rng(seed)
    truth, skill = rng.integers(0, classes, items), rng.beta(7, 2, players)
    item = np.concatenate([rng.permutation(items) for _ in range(EACH)])
    player = rng.integers(0, players, len(item))
    wrong = (truth[item] + rng.integers(1, classes, len(item))) % classes
    label = np.where(rng.random(len(item)) < skill[player], truth[item], wrong)
    return Judgements(item, player, label, items, players, classes), truth


RULES = stopping.StoppingRules(accept_from=0.985)


@pytest.mark.parametrize("seed", [1, 2])
def test_four_in_ten_judgements_are_saved_for_a_point_of_accuracy(seed: int) -> None:
    judgements, truth = game(seed)
    known = np.where(np.random.default_rng(seed).random(len(truth)) < 0.1, truth, -1)
    found = stopping.replay(judgements, RULES, known)
    full = consensus.winners(consensus.dawid_skene(judgements).probability)[0]
    # On items that calibrated nothing.
    others = known < 0
    assert found.saved >= 0.40
    assert (found.label == truth)[others].mean() >= (full == truth)[others].mean() - 0.01
    # Counter-test: as many judgements an item without choosing.
    few = round(EACH * (1 - found.saved))
    first = judgements.item[: few * len(truth)]
    blunt = Judgements(
        first, judgements.player[: len(first)], judgements.label[: len(first)], len(truth), 150, 4
    )
    plain = consensus.winners(consensus.dawid_skene(blunt).probability)[0]
    assert (plain == truth).mean() < (found.label == truth).mean() - 0.005


def test_what_is_used_and_saved_adds_up() -> None:
    judgements, _ = game(3, items=300)
    found = stopping.replay(judgements, RULES)
    assert found.used.max() <= EACH and found.used.min() >= 1
    assert found.saved == pytest.approx(1 - found.used.sum() / len(judgements.item))
    # Who was not stopped was asked everything.
    assert (found.used[~found.is_stopped] == EACH).all()
    assert (found.used[found.is_stopped] >= RULES.min_judgements).all()


def test_decisions_do_not_depend_on_what_comes_later() -> None:
    """Judgements after an item was stopped, and everything in later blocks, may be anything."""
    judgements, _ = game(4, items=300)
    found = stopping.replay(judgements, RULES, blocks=20)
    half = len(judgements.item) // 2
    rng = np.random.default_rng(0)
    label = judgements.label.copy()
    label[half:] = rng.integers(0, 4, len(label) - half)
    other = stopping.replay(replace(judgements, label=label), RULES, blocks=20)
    asked = np.bincount(judgements.item[:half], minlength=300)
    before = found.is_stopped & (found.used < asked)
    assert before.sum() > 50
    assert (other.used[before] == found.used[before]).all()
    assert other.is_stopped[before].all()
    # Labels of the unasked judgements are never looked at.
    order = np.argsort(judgements.item, kind="stable")
    place = np.empty(len(order), int)
    place[order] = np.arange(len(order)) - np.searchsorted(judgements.item[order], judgements.item[order])
    unasked = place >= found.used[judgements.item]
    garbled = np.where(unasked, rng.integers(0, 4, len(label)), judgements.label)
    same = stopping.replay(replace(judgements, label=garbled), RULES)
    first = stopping.replay(judgements, RULES)
    mine = place < first.used[judgements.item]
    garbled = np.where(mine, judgements.label, rng.integers(0, 4, len(label)))
    same = stopping.replay(replace(judgements, label=garbled), RULES)
    assert (same.label == first.label).all() and same.saved == first.saved


def test_a_higher_bar_saves_less() -> None:
    judgements, _ = game(5, items=300)
    saved = [
        stopping.replay(judgements, stopping.StoppingRules(accept_from=bar)).saved
        for bar in (0.8, 0.95, 0.999)
    ]
    assert saved == sorted(saved, reverse=True) and saved[0] > saved[2]


def test_no_judgements() -> None:
    nothing = np.empty(0, int)
    found = stopping.replay(Judgements(nothing, nothing, nothing, 3, 2, 2))
    assert (found.saved, found.used.tolist()) == (0.0, [0, 0, 0])
