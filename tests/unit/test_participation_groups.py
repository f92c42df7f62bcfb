"""Opinion groups against the truth, other implementations, and worlds without groups."""

import tracemalloc
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score, silhouette_score

from koploper_pipelines.methods.slimme_participatie import groups
from koploper_pipelines.methods.slimme_participatie.groups import GroupRules, Votes
from koploper_pipelines.simulation.slimme_participatie import Scenario, conversation

LEAST_LIKE_POLIS = {"canadian-electoral-reform": 0.95, "vtaiwan.uberx": 0.80}
QUICK = GroupRules(starts=20)
RealData = Callable[[str], Path]


def votes_of(matrix: np.ndarray, rejected: np.ndarray) -> Votes:
    kept = matrix[:, ~rejected]
    person, statement = np.nonzero(~np.isnan(kept))
    cast = (~np.isnan(matrix)).sum(axis=1)
    return Votes(person, statement, kept[person, statement], *kept.shape, int(rejected.sum()), cast)


def real(real_data: RealData, name: str) -> tuple[Votes, np.ndarray, np.ndarray]:
    """Votes, matrix with rejected columns zeroed as Polis does, and Polis' own groups."""
    matrix = pd.read_csv(real_data(f"polis/{name}/participants-votes.csv"))
    moderated = pd.read_csv(real_data(f"polis/{name}/comments.csv")).set_index("comment-id")["moderated"]
    columns = [c for c in matrix.columns if c.isdigit()]
    cells = matrix[columns].to_numpy(dtype=float)
    rejected = np.array([moderated.get(int(c), 0) == -1 for c in columns])
    zeroed = cells.copy()
    zeroed[:, rejected] = 0
    return votes_of(cells, rejected), zeroed, matrix["group-id"].to_numpy(dtype=float)


def simulated(folder: Path, seed: int, **said: Any) -> tuple[Votes, np.ndarray]:
    """Votes of a simulated conversation without trolls, and the true group of each voter."""
    scenario = Scenario(participants=200, statements=40, **said)
    made = conversation(
        folder / f"g{seed}",
        folder / f"w{seed}",
        scenario,
        last_day=pd.Timestamp("2026-05-20").date(),
        days=10,
        seed=seed,
    )
    matrix = pd.read_csv(folder / f"g{seed}" / "participants-votes.csv")
    truth = pd.read_csv(made.truth / "deelnemers.csv").set_index("deelnemer")["groep"]
    cells = matrix[[c for c in matrix.columns if c.isdigit()]].to_numpy(dtype=float)
    return votes_of(cells, np.zeros(cells.shape[1], dtype=bool)), truth[matrix["participant"]].to_numpy()


@pytest.mark.parametrize("name", LEAST_LIKE_POLIS)
@pytest.mark.parametrize("seed", [GroupRules.seed, 1])
def test_groups_are_those_of_polis(real_data: RealData, name: str, seed: int) -> None:
    votes, _, theirs = real(real_data, name)
    found = groups.opinion_groups(votes, GroupRules(seed=seed))
    both = (found.label != groups.NO_GROUP) & ~np.isnan(theirs)
    # Polis keeps whoever was once placed.
    assert both.sum() >= 0.99 * (~np.isnan(theirs)).sum()
    assert adjusted_rand_score(theirs[both], found.label[both]) >= LEAST_LIKE_POLIS[name]


def test_rejected_statements_count_as_cast_by_everyone(real_data: RealData) -> None:
    """Left out of the count, the groups of the same conversation are clearly less like those of Polis."""
    votes, _, theirs = real(real_data, "vtaiwan.uberx")
    found = groups.opinion_groups(replace(votes, rejected=0), GroupRules())
    both = (found.label != groups.NO_GROUP) & ~np.isnan(theirs)
    assert adjusted_rand_score(theirs[both], found.label[both]) < LEAST_LIKE_POLIS["vtaiwan.uberx"]


def test_projection_is_pca_of_the_imputed_matrix(real_data: RealData) -> None:
    votes, zeroed, _ = real(real_data, "canadian-electoral-reform")
    imputed = np.where(np.isnan(zeroed), np.nanmean(zeroed, axis=0), zeroed)
    scale = np.sqrt(zeroed.shape[1] / np.maximum((~np.isnan(zeroed)).sum(axis=1), 1))
    expected = PCA(2, svd_solver="full").fit_transform(imputed) * scale[:, None]
    found = groups.projection(votes)
    np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=1e-6)


def test_projection_never_fills_in_the_pairs_without_a_vote() -> None:
    """As large as a conversation can be: 1% of 6,000 x 2,000 pairs, of which the full matrix is 96 MB."""
    rng = np.random.default_rng(1)
    pairs = rng.choice(6_000 * 2_000, 120_000, replace=False)
    person, statement = np.divmod(pairs, 2_000)
    values = rng.choice([-1.0, 0.0, 1.0], len(pairs))
    cast = np.bincount(person, minlength=6_000)
    votes = groups.Votes(person, statement, values, 6_000, 2_000, 0, cast)
    groups.projection(votes)
    tracemalloc.start()
    try:
        groups.projection(votes)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 0.25 * 6_000 * 2_000 * values.itemsize


def test_silhouette_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(3)
    points, labels = rng.standard_normal((60, 2)), rng.integers(0, 4, 60)
    labels[:] = np.where(np.arange(60) == 7, 4, labels)
    assert groups.silhouette(points, labels) == pytest.approx(silhouette_score(points, labels), abs=1e-12)


def test_known_groups_are_found(tmp_path: Path) -> None:
    votes, truth = simulated(tmp_path, 1, groups=3, strength=1.5)
    found = groups.opinion_groups(votes, QUICK)
    placed = found.label != groups.NO_GROUP
    assert found.number == 3
    assert adjusted_rand_score(truth[placed], found.label[placed]) > 0.85
    assert groups.judge(votes, found, QUICK).outcome == "groepen"


def test_too_few_participants_have_no_groups() -> None:
    matrix = np.array([[1.0, -1, 0], [1, np.nan, np.nan]])
    found = groups.opinion_groups(votes_of(matrix, np.zeros(3, dtype=bool)), QUICK)
    assert found.number == 0
    assert (
        groups.judge(votes_of(matrix, np.zeros(3, dtype=bool)), found, QUICK).outcome
        == "te_weinig_deelnemers"
    )


def outcomes(folder: Path, kind: str, number: int) -> tuple[Counter[str], list[float]]:
    found: Counter[str] = Counter()
    stable = []
    for seed in range(number):
        votes, _ = simulated(folder, seed, kind=kind, strength=1.2)
        judged = groups.judge(votes, groups.opinion_groups(votes, QUICK), QUICK)
        found[judged.outcome] += 1
        stable.append(judged.stability)
    return found, stable


@pytest.mark.parametrize("kind", ["as", "toeval"])
def test_worlds_without_groups_yield_none(tmp_path: Path, kind: str) -> None:
    found, _ = outcomes(tmp_path, kind, 10)
    assert found["groepen"] <= 1


@pytest.mark.full
@pytest.mark.parametrize("kind", ["as", "toeval"])
def test_worlds_without_groups_yield_few(tmp_path: Path, kind: str) -> None:
    found, _ = outcomes(tmp_path, kind, 100)
    print(f"100 worlds of {kind}: {dict(found)}")
    assert found["groepen"] <= 10


def test_stability_alone_is_fooled_by_one_axis(tmp_path: Path) -> None:
    """The counter-test: without the null model of an axis, most of these would have been called groups."""
    found, stable = outcomes(tmp_path, "as", 6)
    assert np.mean(np.array(stable) >= GroupRules.min_stability) > 0.5
    assert found["een_doorlopende_as"] >= 3


def test_null_models_keep_who_voted_on_what_and_the_shares(tmp_path: Path) -> None:
    votes, _ = simulated(tmp_path, 1)
    rng = np.random.default_rng(1)
    dealt = next(groups.independent_votes(votes, rng))
    for value in (-1, 0, 1):
        counted = [
            np.bincount(votes.statement[v == value], minlength=votes.statements) for v in (votes.value, dealt)
        ]
        np.testing.assert_array_equal(*counted)
    axis = next(groups.votes_on_one_axis(votes, rng))
    assert set(np.unique(axis)) <= {-1.0, 0.0, 1.0}
    assert abs(axis.mean() - votes.value.mean()) < 0.1
