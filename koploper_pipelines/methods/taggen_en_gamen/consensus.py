"""Consensus: one label an item from the judgements of several players.

Belongs here: the majority, and the error models of Dawid and Skene in full and with one coin, fitted by
expectation-maximisation on sparse arrays; typed tags. Does not belong here: how sure a label really is
(``confidence``), when to stop asking (``stopping``), and places and directions.

Sources: Dawid and Skene, "Maximum Likelihood Estimation of Observer Error-Rates Using the EM Algorithm",
Applied Statistics 28 (1979) 20-28; the one-coin model is that of Zhang, Chen, Zhou and Jordan,
"Spectral Methods Meet EM", JMLR 17 (2016); multi-label as binary relevance after Duan, Oyama, Sato and
Kurihara, "Separate or joint? Estimation of multiple labels from crowdsourced annotations", Expert Systems
with Applications 41 (2014) 5723-5732.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

Floats: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.integer]
Bools: TypeAlias = npt.NDArray[np.bool_]

MIN_MEDIAN_JUDGEMENTS = 3
"""Below this median number of judgements an item Dawid-Skene loses to the majority: on RTE at one judgement
an item .560 against .731, on Dog .287 against .698; at three it is mostly ahead."""
_BLOCK_ITEMS = 10_000


@dataclass(frozen=True)
class Judgements:
    """Judgements as codes, one element a judgement.

    Attributes:
        item: item of each judgement, from 0 up to ``items``, shape (n,).
        player: player of each judgement, from 0 up to ``players``, shape (n,).
        label: label of each judgement, from 0 up to ``labels``, shape (n,).
        items: number of items.
        players: number of players.
        labels: number of labels.
        weight: how much a judgement counts, from 0 up to 1, shape (n,); None when all count fully.
    """

    item: Ints
    player: Ints
    label: Ints
    items: int
    players: int
    labels: int
    weight: Floats | None = None

    def __post_init__(self) -> None:
        """Refuse codes out of range: they would end in another item's row."""
        for name, size in (("item", self.items), ("player", self.players), ("label", self.labels)):
            codes = getattr(self, name)
            if len(codes) and (codes.min() < 0 or codes.max() >= size):
                raise ValueError(f"codes of {name} lie outside 0..{size - 1}")


@dataclass(frozen=True)
class EmRules:
    """How the error models are fitted.

    Attributes:
        smoothing: judgements added to every cell of every player's confusion matrix (a symmetric Dirichlet
            prior of 1 + smoothing), so that one judgement proves nothing.
        tolerance: the fit stops when the log posterior rises by less than this per judgement. Unlike a fall
            in the number of changed labels this cannot stop on a step backwards: EM never lowers it.
        max_iterations: the fit stops after this many iterations in any case, and says so.
    """

    smoothing: float = 0.1
    tolerance: float = 1e-5
    max_iterations: int = 100


@dataclass(frozen=True)
class Consensus:
    """What a method makes of the judgements.

    Attributes:
        probability: of each label for each item, shape (items, labels); rows of items without judgements
            hold the shares of the labels.
        errors: for each player the probability of each label (last axis) given the true one, shape
            (players, labels, labels); None for the majority.
        iterations: iterations of the fit; 0 for the majority.
        converged: whether the fit stopped by its tolerance.
        log_posterior: after each iteration, per judgement.
    """

    probability: Floats
    errors: Floats | None = None
    iterations: int = 0
    converged: bool = True
    log_posterior: tuple[float, ...] = ()


def votes(judgements: Judgements) -> Floats:
    """Sum of the weights per item and label, shape (items, labels)."""
    cell = judgements.item.astype(np.int64) * judgements.labels + judgements.label
    size = judgements.items * judgements.labels
    counted = np.bincount(cell, weights=judgements.weight, minlength=size)
    return counted.astype(np.float64, copy=False).reshape(judgements.items, judgements.labels)


def majority(judgements: Judgements) -> Consensus:
    """Share of the votes per item and label; where nobody voted, the label's share in all votes."""
    counted = votes(judgements)
    total = counted.sum(axis=1, keepdims=True)
    overall = counted.sum(axis=0) / max(counted.sum(), 1.0)
    shares = np.divide(counted, total, out=np.tile(overall, (len(counted), 1)), where=total > 0)
    return Consensus(shares)


def winners(probability: Floats) -> tuple[Ints, Bools]:
    """The most probable label of each item, and whether it had to share that place.

    Of labels in a tie the one with the lowest code is given: the caller decides what a tie comes to.

    Args:
        probability: shape (items, labels).

    Returns:
        Codes of the labels, shape (items,), and booleans for ties, shape (items,).
    """
    best = probability >= probability.max(axis=1, keepdims=True) - 1e-9
    return best.argmax(axis=1), best.sum(axis=1) > 1


def expected_accuracy(probability: Floats, truth: Ints) -> Floats:
    """Chance that each item's winner is right when ties are decided at random, shape (items,)."""
    best = probability >= probability.max(axis=1, keepdims=True) - 1e-9
    hit: Floats = best[np.arange(len(truth)), truth] / best.sum(axis=1)
    return hit


def dawid_skene(judgements: Judgements, rules: EmRules = EmRules(), known: Ints | None = None) -> Consensus:
    """Fit the model of Dawid and Skene: each player has a confusion matrix of their own.

    The E-step is a product of a sparse matrix (items by player-and-label) with the logarithms of the errors,
    the M-step one of its transpose with the posteriors, so an iteration costs judgements times labels, and
    memory holds no judgements-by-labels array. Both go over the items in blocks that fit in a processor's
    cache: without these, ten times the judgements took twenty times the time.

    Args:
        judgements: the judgements.
        rules: smoothing and when to stop.
        known: code of the true label of items that seed the model, -1 for all others, shape (items,). Never
            of items on which the result is scored.

    Returns:
        Posteriors, the players' errors (posterior means under the smoothing) and how the fit ended.
    """
    seen = _seen(judgements)
    fixed = _fixed(judgements, known)
    posterior = _pinned(majority(judgements).probability, fixed)
    blocks = _blocks(seen, fixed)
    labels, players, weight = judgements.labels, judgements.players, float(seen.sum())
    given = np.zeros((players * labels, labels))
    for block in blocks:
        given += block.seen.T @ posterior[block.items]
    history: list[float] = []
    for iteration in range(1, rules.max_iterations + 1):
        # M-step: judgements by player, true label and given label.
        counts = given.reshape(players, labels, labels).transpose(0, 2, 1) + rules.smoothing
        errors = counts / counts.sum(axis=2, keepdims=True)
        classes = posterior.sum(axis=0) + rules.smoothing
        log_errors, log_classes = np.log(errors), np.log(classes / classes.sum())
        # E-step, and the sums of the next M-step while a block's posteriors are at hand.
        table = np.ascontiguousarray(log_errors.transpose(0, 2, 1)).reshape(players * labels, labels)
        evidence = rules.smoothing * float(log_errors.sum() + log_classes.sum())
        given = np.zeros_like(given)
        for block in blocks:
            joint = block.seen @ table
            joint += log_classes
            posterior[block.items], of_block = _normalised(joint, block.fixed)
            evidence += of_block
            given += block.seen.T @ posterior[block.items]
        history.append(evidence / max(weight, 1.0))
        if _stopped(history, rules):
            return Consensus(posterior, errors, iteration, True, tuple(history))
    return Consensus(posterior, errors, rules.max_iterations, False, tuple(history))


def one_coin(judgements: Judgements, rules: EmRules = EmRules(), known: Ints | None = None) -> Consensus:
    """Fit the one-coin model: each player is right with one probability, and else picks any other label.

    Args:
        judgements: the judgements.
        rules: smoothing (judgements right and wrong added to each player) and when to stop.
        known: as for ``dawid_skene``.

    Returns:
        As for ``dawid_skene``.
    """
    labels, players = judgements.labels, judgements.players
    others = max(labels - 1, 1)
    fixed = _fixed(judgements, known)
    posterior = _pinned(majority(judgements).probability, fixed)
    total = np.bincount(judgements.player, weights=judgements.weight, minlength=players).astype(float)
    cell = judgements.item.astype(np.int64) * labels + judgements.label
    history: list[float] = []
    for iteration in range(1, rules.max_iterations + 1):
        # M-step.
        right = posterior.ravel()[cell]
        right = right if judgements.weight is None else right * judgements.weight
        hits = np.bincount(judgements.player, weights=right, minlength=players)
        accuracy = (hits + rules.smoothing) / (total + 2 * rules.smoothing)
        classes = posterior.sum(axis=0) + rules.smoothing
        log_classes = np.log(classes / classes.sum())
        # E-step: every label as if the judgement were wrong, and the difference for the one that was given.
        log_right, log_wrong = np.log(accuracy), np.log((1 - accuracy) / others)
        joint = _per_item(judgements, log_wrong[judgements.player])[:, None] + log_classes
        gain = (log_right - log_wrong)[judgements.player]
        gain = gain if judgements.weight is None else gain * judgements.weight
        joint = joint + np.bincount(cell, weights=gain, minlength=joint.size).reshape(joint.shape)
        prior = rules.smoothing * (log_right.sum() + np.log1p(-accuracy).sum() + log_classes.sum())
        posterior, evidence = _normalised(joint, fixed)
        history.append((evidence + prior) / max(total.sum(), 1.0))
        if _stopped(history, rules):
            return Consensus(posterior, one_coin_errors(accuracy, labels), iteration, True, tuple(history))
    return Consensus(
        posterior, one_coin_errors(accuracy, labels), rules.max_iterations, False, tuple(history)
    )


def one_coin_errors(accuracy: Floats, labels: int) -> Floats:
    """Confusion matrices of players who are right this often, shape (players, labels, labels)."""
    wrong = (1 - accuracy) / max(labels - 1, 1)
    errors = np.repeat(wrong[:, None, None], labels, axis=1).repeat(labels, axis=2)
    errors[:, np.arange(labels), np.arange(labels)] = accuracy[:, None]
    return errors


def judgements_per_item(judgements: Judgements) -> Ints:
    """Number of judgements that count at all, shape (items,)."""
    counting = judgements.item if judgements.weight is None else judgements.item[judgements.weight > 0]
    return np.bincount(counting, minlength=judgements.items)


def typed_tags(judgements: Judgements) -> tuple[Floats, Floats]:
    """How likely each typed tag applies: at least one of the players who typed it was right.

    A free tag that was not typed is no "no": players name what strikes them. So there is no vote against, as
    in the output agreement of the ESP game (von Ahn and Dabbish, 2004). A player's tag is right with the
    share of their tags that another player typed too for the same item, shrunk to that of all players by
    five tags of theirs; the chances combine as one minus the product of the chances to be wrong.

    Args:
        judgements: one judgement a typed tag; a player types a tag for an item at most once.

    Returns:
        Probability per item and tag, shape (items, labels), 0 where nobody typed it; and the share of
        confirmed tags of each player, shape (players,).
    """
    cell = judgements.item.astype(np.int64) * judgements.labels + judgements.label
    typed, place = np.unique(cell, return_inverse=True)
    confirmed = (np.bincount(place)[place] > 1).astype(float)
    weight = np.ones(len(cell)) if judgements.weight is None else judgements.weight
    number = np.bincount(judgements.player, weights=weight, minlength=judgements.players)
    shared = np.bincount(judgements.player, weights=weight * confirmed, minlength=judgements.players)
    overall = shared.sum() / max(number.sum(), 1.0)
    rate = np.clip((shared + 5 * overall) / (number + 5), 0.0, 0.999)
    wrong = np.bincount(place, weights=weight * np.log1p(-rate[judgements.player]), minlength=len(typed))
    probability = np.zeros(judgements.items * judgements.labels)
    probability[typed] = -np.expm1(wrong)
    return probability.reshape(judgements.items, judgements.labels), rate


def _seen(judgements: Judgements) -> csr_array:
    """Weights as a sparse matrix of items by (player and label)."""
    rows = judgements.item.astype(np.int32, copy=False)
    columns = judgements.player.astype(np.int64) * judgements.labels + judgements.label
    small = judgements.players * judgements.labels < np.iinfo(np.int32).max
    weight = np.ones(len(rows)) if judgements.weight is None else judgements.weight
    shape = (judgements.items, judgements.players * judgements.labels)
    return csr_array((weight, (rows, columns.astype(np.int32) if small else columns)), shape=shape)


@dataclass(frozen=True)
class _Block:
    """Some items in a row: which, their part of the sparse matrix, and those of a known label among them."""

    items: slice
    seen: csr_array
    fixed: tuple[Ints, Ints]


def _blocks(seen: csr_array, fixed: tuple[Ints, Ints]) -> list[_Block]:
    items, label = fixed
    found = []
    for start in range(0, seen.shape[0], _BLOCK_ITEMS):
        stop = min(start + _BLOCK_ITEMS, seen.shape[0])
        own = (items >= start) & (items < stop)
        found.append(_Block(slice(start, stop), seen[start:stop], (items[own] - start, label[own])))
    return found


def _per_item(judgements: Judgements, values: Floats) -> Floats:
    weighted = values if judgements.weight is None else values * judgements.weight
    return np.bincount(judgements.item, weights=weighted, minlength=judgements.items).astype(np.float64)


def _fixed(judgements: Judgements, known: Ints | None) -> tuple[Ints, Ints]:
    """Items whose label is known, and their labels."""
    if known is None:
        return np.empty(0, int), np.empty(0, int)
    (items,) = np.nonzero(known >= 0)
    return items, known[items]


def _pinned(probability: Floats, fixed: tuple[Ints, Ints]) -> Floats:
    items, label = fixed
    if len(items):
        probability[items] = 0.0
        probability[items, label] = 1.0
    return probability


def _normalised(joint: Floats, fixed: tuple[Ints, Ints]) -> tuple[Floats, float]:
    """Posteriors of the logarithms of joint probabilities, in place, and the log evidence."""
    items, label = fixed
    of_known = float(joint[items, label].sum())
    top = joint.max(axis=1, keepdims=True)
    joint -= top
    np.exp(joint, out=joint)
    total = joint.sum(axis=1, keepdims=True)
    evidence = np.log(total) + top
    joint /= total
    free = float(evidence.sum() - evidence[items].sum())
    return _pinned(joint, fixed), free + of_known


def _stopped(history: list[float], rules: EmRules) -> bool:
    return len(history) > 1 and history[-1] - history[-2] < rules.tolerance
