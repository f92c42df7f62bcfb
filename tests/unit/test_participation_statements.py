"""Consensus, representative statements, held-out differences, blocs and floods."""

import numpy as np
import pytest
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from koploper_pipelines.methods.slimme_participatie import groups, statements
from koploper_pipelines.methods.slimme_participatie.groups import GroupRules, Votes
from koploper_pipelines.methods.slimme_participatie.statements import GroupCounts

QUICK = GroupRules(starts=5)


def noise(seed: int, people: int = 200, number: int = 40) -> Votes:
    """Votes without any structure; a share of all pairs that differs between people."""
    rng = np.random.default_rng(seed)
    person, statement = np.nonzero(rng.random((people, number)) < rng.uniform(0.2, 0.8, people)[:, None])
    shares = rng.dirichlet((3, 2, 3), number)
    value = np.array([rng.choice([-1.0, 0.0, 1.0], p=shares[s]) for s in statement])
    return Votes(person, statement, value, people, number, 0, np.bincount(person, minlength=people))


def grouped(seed: int) -> tuple[Votes, np.ndarray]:
    """Two groups that differ on the first half of the statements and on none of the others."""
    rng = np.random.default_rng(seed)
    label = np.repeat([0, 1], 100)
    person, statement = np.nonzero(rng.random((200, 40)) < 0.6)
    agrees = np.where(statement < 20, np.where(label[person] == statement % 2, 0.85, 0.15), 0.5)
    value = np.where(rng.random(len(person)) < agrees, 1.0, -1.0)
    return Votes(person, statement, value, 200, 40, 0, np.bincount(person, minlength=200)), label


def test_group_informed_consensus_is_polis_formula() -> None:
    found = statements.group_informed_consensus([[3, 0], [5, 2]], [[4, 0], [10, 2]])
    np.testing.assert_allclose(found, [4 / 6 * 6 / 12, 1 / 2 * 3 / 4], rtol=0, atol=1e-15)


def test_consensus_of_impossible_counts_is_an_error() -> None:
    with pytest.raises(ValueError, match="more participants agreed than voted"):
        statements.group_informed_consensus([[5]], [[4]])
    with pytest.raises(ValueError, match="expected both as"):
        statements.group_informed_consensus([[5]], [[4, 3]])


def test_counts_leave_out_who_has_no_group() -> None:
    votes = Votes(
        np.array([0, 1, 2, 2]),
        np.array([0, 0, 0, 1]),
        np.array([1.0, -1, 1, 0]),
        3,
        2,
        0,
        np.array([1, 1, 2]),
    )
    counts = statements.count_by_group(votes, np.array([0, -1, 1]), 2)
    np.testing.assert_array_equal(counts.agree, [[1, 0], [1, 0]])
    np.testing.assert_array_equal(counts.seen, [[1, 0], [1, 1]])
    assert counts.disagree.sum() == 0


def test_interval_of_the_consensus_holds_the_truth() -> None:
    """Coverage over flat truths, and the counter-test: one group's share alone is far off."""
    rng = np.random.default_rng(5)
    share = rng.random((3, 4000))
    seen = np.full((3, 4000), 25)
    agree = rng.binomial(seen, share)
    low, high = statements.consensus_interval(GroupCounts(agree, seen - agree, seen))
    truth = share.prod(axis=0)
    assert 0.93 <= np.mean((low <= truth) & (truth <= high)) <= 0.98
    alone = statements.consensus_interval(GroupCounts(agree[:1], (seen - agree)[:1], seen[:1]))
    assert np.mean((alone[0] <= truth) & (truth <= alone[1])) < 0.6


def test_intervals_are_those_of_statsmodels() -> None:
    counts = GroupCounts(
        np.array([[30, 3], [12, 25]]), np.array([[5, 20], [30, 1]]), np.array([[40, 30], [50, 30]])
    )
    found = statements.differences(counts)
    for s in range(2):
        expected = confint_proportions_2indep(
            counts.agree[0, s], counts.seen[0, s], counts.agree[1, s], counts.seen[1, s], method="newcomb"
        )
        assert (found.low[0, s], found.high[0, s]) == pytest.approx(expected, abs=1e-9)
    low, high = statements.wilson([7, 0, 20], [20, 20, 20])
    expected_low, expected_high = proportion_confint([7, 0, 20], [20, 20, 20], method="wilson")
    np.testing.assert_allclose([low, high], [expected_low, expected_high], atol=1e-12)


def any_distinctive(runs: int) -> tuple[float, float, float]:
    """Share of noise conversations with any distinctive statement, held out and not; naive share of all."""
    held = naive = 0
    shares = []
    for seed in range(runs):
        votes = noise(seed)
        found = groups.opinion_groups(votes, QUICK)
        counts = statements.count_by_group(votes, found.label, found.number)
        held += statements.held_out(votes, found.label, found.number, QUICK).distinctive.any()
        same_votes = statements.differences(counts).distinctive
        naive += same_votes.any()
        shares.append(same_votes.any(axis=0).mean())
    return held / runs, naive / runs, float(np.mean(shares))


def test_noise_shows_nothing_distinctive_on_held_out_votes() -> None:
    """And on the votes that made the groups it nearly always does: what cross-fitting is for."""
    held, naive, share = any_distinctive(20)
    assert held <= 0.15
    assert naive > 0.9
    assert share > 0.2


@pytest.mark.full
def test_noise_shows_little_distinctive_in_many_conversations() -> None:
    held, naive, share = any_distinctive(300)
    print(f"300 conversations of noise: {held:.3f} with anything distinctive, {naive:.3f} on the same votes,")
    print(f"  where {share:.2f} of the statements are")
    assert held <= 0.10
    assert naive > 0.9


def test_real_differences_are_found_on_held_out_votes() -> None:
    votes, label = grouped(1)
    found = statements.held_out(votes, label, 2, QUICK)
    assert found.distinctive[0, :20].mean() > 0.9
    assert found.distinctive[0, 20:].mean() < 0.2
    assert (np.sign(found.difference[0, :20]) == np.where(np.arange(20) % 2 == 0, 1, -1)).all()


def test_representative_statements_are_those_that_make_the_group() -> None:
    votes, label = grouped(2)
    found = statements.representative(statements.count_by_group(votes, label, 2))
    assert found.groupby("groep").size().tolist() == [5, 5]
    assert (found["stelling"] < 20).all()
    own_side = (found["stelling"] % 2 == found["groep"]).map({True: 1, False: -1})
    assert found["kant"].tolist() == own_side.tolist()


def test_a_group_without_a_qualifying_statement_has_one() -> None:
    even = np.full((2, 3), 10)
    found = statements.representative(GroupCounts(even // 2, even // 2, even))
    assert found.groupby("groep").size().tolist() == [1, 1]


def test_majority_consensus_needs_a_significant_majority() -> None:
    agree, disagree, seen = np.array([90, 52, 5, 3]), np.array([5, 45, 90, 0]), np.array([100, 100, 100, 3])
    assert statements.majority_consensus(agree, disagree, seen).tolist() == [1, 0, -1, 1]
    assert statements.majority_consensus(agree, disagree, seen, most=1).tolist() == [1, 0, -1, 0]


def test_a_bloc_is_found_and_like_minded_people_are_not() -> None:
    votes, _ = grouped(3)
    assert (statements.voting_blocs(votes) == -1).all()
    trolls = np.arange(200, 208)
    chosen = np.arange(0, 40, 2)
    voted = Votes(
        np.concatenate([votes.participant, np.repeat(trolls, len(chosen))]),
        np.concatenate([votes.statement, np.tile(chosen, len(trolls))]),
        np.concatenate([votes.value, np.tile(np.where(chosen % 4 == 0, 1.0, -1.0), len(trolls))]),
        208,
        40,
        0,
        np.concatenate([votes.cast, np.full(8, len(chosen))]),
    )
    found = statements.voting_blocs(voted)
    assert set(np.flatnonzero(found >= 0)) == set(trolls)


def test_a_flood_is_one_sided_and_sudden() -> None:
    rng = np.random.default_rng(2)
    time = np.concatenate(
        [rng.integers(0, 100 * 3600, 500), np.full(80, 50 * 3600 + 5), np.full(80, 70 * 3600 + 5)]
    )
    statement = np.concatenate([rng.integers(0, 5, 500), np.zeros(80, int), np.ones(80, int)])
    value = np.concatenate([rng.choice([-1.0, 1.0], 500), np.ones(80), rng.choice([-1.0, 1.0], 80)])
    found = statements.floods(time, statement, value)
    assert found[500:580].all()
    assert not found[580:].any()
    assert found[:500].sum() <= 5
