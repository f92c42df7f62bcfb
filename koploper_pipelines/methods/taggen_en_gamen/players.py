"""Players: how well they judge, for weighing and for looking into; internal, never published.

Belongs here: confusion matrices shrunk to the population, accuracy on experts' labels, agreement with
oneself, and what is learnt by doing. Sources: Gelman et al., "Bayesian Data Analysis" (3rd edition),
chapter 5 (shrinkage); Efron and Morris, Scientific American 236 (1977) 119-127.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from koploper_pipelines.methods.taggen_en_gamen.consensus import Judgements

Floats: TypeAlias = npt.NDArray[np.float64]

PRIOR_JUDGEMENTS = 10.0
STEPS = (1, 11, 26, 51, 101)
"""First item of each step of the learning curve; the last has no end."""


def shrunk_errors(judgements: Judgements, probability: Floats, prior: float = PRIOR_JUDGEMENTS) -> Floats:
    """Confusion matrices of the players, each shrunk to the population's by so many judgements a row.

    Args:
        judgements: the judgements.
        probability: of the true label of each item, shape (items, labels).
        prior: judgements' worth of the population in each row.

    Returns:
        Probability of the given label (last axis) by true one, shape (players, labels, labels).
    """
    players, labels = judgements.players, judgements.labels
    cell = judgements.player.astype(np.int64) * labels + judgements.label
    weight = np.ones(len(cell)) if judgements.weight is None else judgements.weight
    counts = np.stack(
        [
            np.bincount(cell, weight * probability[judgements.item, true], players * labels)
            for true in range(labels)
        ]
    )
    per_player = counts.reshape(labels, players, labels).transpose(1, 0, 2)
    everyone = per_player.sum(axis=0) + 1.0 / labels
    population = everyone / everyone.sum(axis=1, keepdims=True)
    errors: Floats = (per_player + prior * population) / (per_player.sum(axis=2, keepdims=True) + prior)
    return errors


@dataclass(frozen=True)
class GoldAccuracy:
    """Accuracy of each player on experts' labels: posterior mean and 95% interval, and the prior used."""

    mean: Floats
    lower: Floats
    upper: Floats
    prior: tuple[float, float]


def gold_accuracy(hits: Floats, judged: Floats, strength: float = PRIOR_JUDGEMENTS) -> GoldAccuracy:
    """Accuracy with a Beta prior around the population's accuracy, worth ``strength`` judgements.

    A cut-off on a few items passes guessers and stops good players; shrinking does neither.

    Args:
        hits: judgements of each player that agree with an expert, shape (players,).
        judged: judgements of each player on items with an expert's label, shape (players,).
        strength: judgements' worth of the prior.
    """
    from scipy.stats import beta

    overall = (hits.sum() + 1) / (judged.sum() + 2)
    a, b = strength * overall, strength * (1 - overall)
    lower, upper = beta.ppf([[0.025], [0.975]], a + hits, b + judged - hits)
    return GoldAccuracy((a + hits) / (a + b + judged), lower, upper, (float(a), float(b)))


def learning_curve(answers: pd.DataFrame, steps: tuple[int, ...] = STEPS) -> pd.DataFrame:
    """Share right by number of items done, as it was and within players.

    Who goes on is better from the start than who stops, so the plain shares rise even when nobody learns.
    Within players: the share right regressed on the step with a level of its own for each player, put back at
    the level of the first step. Intervals are clustered by player.

    Args:
        answers: ``speler``, ``nummer`` (the how manieth item of that player) and ``is_goed`` (0 or 1), a row
            a judgement with an expert's label.
        steps: first item of each step.

    Returns:
        One row a step that has answers: ``stap``, ``vanaf_item``, ``nauwkeurigheid``,
        ``nauwkeurigheid_binnen_spelers``, ``verschil_onder``, ``verschil_boven`` (95% interval of the
        difference with the first step within players; missing for the first), ``aantal_oordelen``,
        ``aantal_spelers`` and ``grootste_aandeel`` (of one player in the judgements).
    """
    rows = answers.assign(stap=np.searchsorted(steps, answers["nummer"].to_numpy(), side="right") - 1)
    right = rows["is_goed"].astype(float)
    by_step = rows.assign(is_goed=right).groupby("stap")
    found = by_step.agg(
        nauwkeurigheid=("is_goed", "mean"),
        aantal_oordelen=("is_goed", "size"),
        aantal_spelers=("speler", "nunique"),
    )
    per_player = rows.groupby(["stap", "speler"]).size()
    found["grootste_aandeel"] = (per_player.groupby("stap").max() / per_player.groupby("stap").sum()).reindex(
        found.index
    )
    effect, half = _within(
        rows["stap"].to_numpy(), rows["speler"], np.asarray(right, np.float64), found.index.to_numpy()
    )
    level = (
        float((right - effect[np.searchsorted(found.index, rows["stap"])]).mean()) if len(rows) else np.nan
    )
    found["nauwkeurigheid_binnen_spelers"] = np.clip(level + effect, 0, 1)
    found["verschil_onder"], found["verschil_boven"] = effect - half, effect + half
    found.insert(0, "vanaf_item", [steps[s] for s in found.index])
    return found.reset_index()


def _within(
    step: npt.NDArray[np.integer], player: pd.Series, right: Floats, present: npt.NDArray[np.integer]
) -> tuple[Floats, Floats]:
    """Difference of each step with the first within players, and half its 95% interval (cluster-robust)."""
    effect = np.full(len(present), np.nan)
    half = np.full(len(present), np.nan)
    if not len(present):
        return effect, half
    effect[0] = 0.0
    code, names = pd.factorize(player)
    dummies = (step[:, None] == present[None, 1:]).astype(float)
    number = np.bincount(code).astype(float)

    def centred(values: Floats) -> Floats:
        mean = np.stack([np.bincount(code, v) for v in values.T], axis=1) / number[:, None]
        around: Floats = values - mean[code]
        return around

    x, y = centred(dummies), centred(right[:, None])[:, 0]
    # Steps in which no player of another step judged cannot be told from the players themselves.
    linked = (x**2).sum(axis=0) > 1e-9
    x = x[:, linked]
    if not x.shape[1] or len(names) < 2:
        return effect, half
    inverse = np.linalg.pinv(x.T @ x)
    slope = inverse @ x.T @ y
    residual = y - x @ slope
    scores = np.stack([np.bincount(code, column * residual) for column in x.T], axis=1)
    variance = inverse @ (scores.T @ scores) @ inverse * len(names) / (len(names) - 1)
    where = np.flatnonzero(linked) + 1
    effect[where], half[where] = slope, 1.96 * np.sqrt(np.diag(variance))
    return effect, half
