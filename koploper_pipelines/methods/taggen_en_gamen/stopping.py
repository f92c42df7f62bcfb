"""Stopping: accept an item, ask more players, or send it to an expert.

Belongs here: the decision from a calibrated confidence, and the replay that tells what deciding along the way
would have saved. Source: Salk, Moltchanova, See, Sturn, McCallum and Fritz, "How many people need to classify
the same image?", PLOS ONE 17(5) (2022) e0267114 (59% of the ratings saved).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from koploper_pipelines.methods.taggen_en_gamen import confidence
from koploper_pipelines.methods.taggen_en_gamen.consensus import EmRules, Judgements, one_coin

Floats: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.integer]
Bools: TypeAlias = npt.NDArray[np.bool_]

ACCEPT, MORE_PLAYERS, EXPERT = "aanvaarden", "meer_spelers", "deskundige"
BLOCKS = 25
"""How often in a replay the players are estimated anew."""


@dataclass(frozen=True)
class StoppingRules:
    """When to stop asking.

    Attributes:
        accept_from: calibrated confidence from which a label is accepted.
        min_judgements: fewest judgements to accept on.
        max_judgements: from this many on an undecided item goes to an expert.
    """

    accept_from: float = 0.90
    min_judgements: int = 2
    max_judgements: int = 10


def decide(
    confidence: Floats, judgements: Ints, rules: StoppingRules = StoppingRules()
) -> npt.NDArray[np.str_]:
    """The decision for each item: ``aanvaarden``, ``meer_spelers`` or ``deskundige``.

    Args:
        confidence: calibrated probability that the label is right, shape (n,).
        judgements: judgements behind it, shape (n,).
        rules: when to stop.
    """
    is_sure = (confidence >= rules.accept_from) & (judgements >= rules.min_judgements)
    undecided = np.where(judgements >= rules.max_judgements, EXPERT, MORE_PLAYERS)
    return np.where(is_sure, ACCEPT, undecided)


@dataclass(frozen=True)
class Replay:
    """What deciding along the way would have come to.

    Attributes:
        label: label of each item on the judgements used, shape (items,).
        used: judgements used for each item, shape (items,).
        is_stopped: whether the item was accepted along the way, shape (items,).
        saved: share of all judgements that would not have been asked.
    """

    label: Ints
    used: Ints
    is_stopped: Bools
    saved: float


def replay(
    judgements: Judgements,
    rules: StoppingRules = StoppingRules(),
    known: Ints | None = None,
    blocks: int = BLOCKS,
) -> Replay:
    """Go through the judgements in order and stop an item as soon as it would have been accepted.

    Time is cut in blocks. At the start of each the players are estimated (one coin, shrunk to the population)
    from the judgements that were asked before it, and a calibration is fitted on the experts' labels of items
    with judgements until then. Within the block these estimates stand, and each judgement of an item that is
    still open moves its posterior. So every decision uses the past alone, and a judgement that would not have
    been asked teaches nothing.

    Args:
        judgements: in the order of time.
        rules: when to stop.
        known: labels of the experts for calibration, -1 elsewhere, shape (items,); None for none.
        blocks: number of times that the players are estimated.
    """
    n, items, labels = len(judgements.item), judgements.items, judgements.labels
    weight = np.ones(n) if judgements.weight is None else judgements.weight
    asked = np.zeros(n, dtype=bool)
    stopped = np.zeros(items, dtype=bool)
    used = np.zeros(items, dtype=int)
    edges = np.linspace(0, n, min(blocks, max(n, 1)) + 1).astype(int)
    for start, stop in itertools.pairwise(edges):
        past = _only(judgements, weight, np.flatnonzero(asked[:start]))
        right = _accuracy(past)
        scores = _scores(past, right)
        calibration = _calibration(scores, used, known)
        block = np.arange(start, stop)
        block = block[~stopped[judgements.item[block]]]
        for now in _rounds(judgements.item, block):
            now = now[~stopped[judgements.item[now]]]
            item = judgements.item[now]
            asked[now] = True
            used[item] += 1
            gain = weight[now] * _gain(right[judgements.player[now]], labels)
            scores[item, judgements.label[now]] += gain
            sure = calibration(_top(scores[item]))
            stopped[item[(sure >= rules.accept_from) & (used[item] >= rules.min_judgements)]] = True
    past = _only(judgements, weight, np.flatnonzero(asked))
    final = _scores(past, _accuracy(past))
    saved = 1 - asked.sum() / n if n else 0.0
    return Replay(final.argmax(axis=1), used, stopped, float(saved))


def _only(judgements: Judgements, weight: Floats, rows: Ints) -> Judgements:
    return Judgements(
        judgements.item[rows],
        judgements.player[rows],
        judgements.label[rows],
        judgements.items,
        judgements.players,
        judgements.labels,
        weight[rows],
    )


def _accuracy(past: Judgements) -> Floats:
    """Chance that each player is right: one coin, shrunk to all players by ten judgements of theirs.

    Players of whom nothing is known yet count as the population; before anybody judged that is .7.
    """
    if not len(past.item):
        return np.full(past.players, 0.7)
    fitted = one_coin(past, EmRules(smoothing=0.5))
    right = past.weight * fitted.probability[past.item, past.label]  # type: ignore[operator]
    hits = np.bincount(past.player, right, past.players)
    number = np.bincount(past.player, past.weight, past.players)
    overall = (hits.sum() + 7) / (number.sum() + 10)
    accuracy: Floats = (hits + 10 * overall) / (number + 10)
    return np.clip(accuracy, 1 / past.labels, 0.995)


def _gain(right: Floats, labels: int) -> Floats:
    """What one judgement adds to the log odds of its label."""
    gain: Floats = np.log(right) - np.log((1 - right) / max(labels - 1, 1))
    return gain


def _scores(past: Judgements, right: Floats) -> Floats:
    """Log odds of each label of each item, up to a constant an item."""
    cell = past.item.astype(np.int64) * past.labels + past.label
    gain = past.weight * _gain(right[past.player], past.labels)  # type: ignore[operator]
    # Without any judgement bincount counts in whole numbers.
    scores = np.bincount(cell, gain, past.items * past.labels).astype(np.float64)
    return scores.reshape(past.items, past.labels)


def _top(scores: Floats) -> Floats:
    """Probability of the best label."""
    odds = np.exp(scores - scores.max(axis=1, keepdims=True))
    top: Floats = 1 / odds.sum(axis=1)
    return top


def _calibration(scores: Floats, used: Ints, known: Ints | None) -> confidence.Calibration:
    if known is None:
        return confidence.Calibration()
    (gold,) = np.nonzero((known >= 0) & (used > 0))
    return confidence.calibrate(_top(scores[gold]), scores[gold].argmax(axis=1) == known[gold])


def _rounds(item: Ints, block: Ints) -> list[Ints]:
    """The judgements of a block in rounds, in each of which an item occurs once, in order."""
    order = np.argsort(item[block], kind="stable")
    in_order = item[block][order]
    first = np.r_[True, in_order[1:] != in_order[:-1]] if len(block) else np.empty(0, bool)
    place = np.arange(len(block)) - np.maximum.accumulate(np.where(first, np.arange(len(block)), 0))
    number = np.empty(len(block), dtype=int)
    number[order] = place
    return [block[number == k] for k in range(int(number.max(initial=-1)) + 1)]
