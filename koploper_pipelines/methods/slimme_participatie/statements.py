"""Statements: what all groups agree on, what makes a group, and which differences are more than noise.

Belongs here: figures of statements from votes and groups. Does not belong here: making the groups (see
``groups``).

Sources: group-informed consensus, majority consensus and representative statements are those of Polis
(C. Small et al., Recerca 26 (2021) 1-26); intervals of differences: Newcombe, Stat. Med. 17 (1998) 873-890,
method 10; false discoveries: Benjamini and Hochberg, JRSS B 57 (1995) 289-300; votes held out from the
grouping: cross-fitting, Chernozhukov et al., Econom. J. 21 (2018) C1-C68.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.optimize import linear_sum_assignment
from scipy.special import digamma, gammaln, ndtr, polygamma
from scipy.stats import false_discovery_control

from koploper_pipelines.methods.slimme_participatie.groups import (
    NO_GROUP,
    Bools,
    Floats,
    GroupRules,
    Integers,
    Votes,
    opinion_groups,
)

Z_95 = 1.959963984540054
Z_90_ONE_SIDED = 1.2815515655446004
FOLDS = 4
"""Parts of the statements that are held out in turn."""
FEWEST_PER_SIDE = 10
"""Votes in and outside a group below which no difference is tested."""


@dataclass(frozen=True)
class GroupCounts:
    """Votes of each group on each statement; arrays of shape (groups, statements)."""

    agree: Integers
    disagree: Integers
    seen: Integers


def count_by_group(votes: Votes, label: Integers, number: int) -> GroupCounts:
    """Count the votes of each group; a participant without group (-1) counts nowhere.

    Args:
        votes: the votes.
        label: group of each participant, from 0, shape (participants,).
        number: number of groups.
    """
    group = label[votes.participant]
    inside = group != NO_GROUP
    cell = group[inside] * votes.statements + votes.statement[inside]

    def count(chosen: Bools) -> Integers:
        found = np.bincount(cell[chosen[inside]], minlength=number * votes.statements)
        return found.reshape(number, votes.statements)

    everything = np.ones(len(votes.value), dtype=bool)
    return GroupCounts(count(votes.value > 0), count(votes.value < 0), count(everything))


def group_informed_consensus(agree: npt.ArrayLike, seen: npt.ArrayLike) -> Floats:
    """Product over groups of (agree + 1) / (seen + 2): high only where every group agrees.

    Args:
        agree: votes for, shape (groups, statements).
        seen: all votes, passes too, of the same shape.

    Returns:
        Shape (statements,), from 0 to 1.

    Raises:
        ValueError: the shapes differ, or somewhere more agreed than voted.
    """
    agreed, voted = np.asarray(agree, dtype=float), np.asarray(seen, dtype=float)
    if agreed.shape != voted.shape or agreed.ndim != 2:
        raise ValueError(
            f"agree {agreed.shape} and seen {voted.shape}: expected both as (groups, statements)"
        )
    if (agreed > voted).any():
        raise ValueError("somewhere more participants agreed than voted")
    consensus: Floats = np.prod((agreed + 1) / (voted + 2), axis=0)
    return consensus


def consensus_interval(counts: GroupCounts) -> tuple[Floats, Floats]:
    """95% interval of the group-informed consensus, each of shape (statements,).

    (agree + 1) / (seen + 2) is the mean of a beta distribution, that of a group's share of agreement under a
    flat prior. The logarithm of a product of those has known mean and variance (digamma and trigamma); the
    interval is normal on that scale, and at most 1.
    """
    a, b = counts.agree + 1.0, counts.seen - counts.agree + 1.0
    centre = (digamma(a) - digamma(a + b)).sum(axis=0)
    spread = np.sqrt((polygamma(1, a) - polygamma(1, a + b)).sum(axis=0))
    return np.exp(centre - Z_95 * spread), np.minimum(np.exp(centre + Z_95 * spread), 1.0)


def majority_consensus(agree: Integers, disagree: Integers, seen: Integers, most: int = 5) -> Integers:
    """Statements on which a majority agrees (1) or disagrees (-1), at most `most` of each; 0 for the rest.

    Polis' rule: a share (n + 1) / (N + 2) above one half that differs from it at 90% one-sided, ranked by
    share times test statistic.

    Args:
        agree: votes for, of all participants, shape (statements,).
        disagree: votes against.
        seen: all votes.
        most: statements chosen for each side.
    """
    chosen = np.zeros(len(seen), dtype=np.int64)
    for sign, number in ((1, agree), (-1, disagree)):
        share, test = (number + 1) / (seen + 2), _one_proportion(number, seen)
        fits = (share > 0.5) & (test > Z_90_ONE_SIDED) & (chosen == 0)
        ranked = np.argsort(-np.where(fits, share * test, -np.inf), kind="stable")[:most]
        chosen[ranked[fits[ranked]]] = sign
    return chosen


def _one_proportion(number: Integers, seen: Integers) -> Floats:
    """Polis' test of a share against one half, with one added to both counts."""
    result: Floats = 2 * np.sqrt(seen + 1) * ((number + 1) / (seen + 1) - 0.5)
    return result


def _two_proportions(n_in: Integers, seen_in: Integers, n_out: Integers, seen_out: Integers) -> Floats:
    """Polis' test of two shares against each other, with one added to all counts."""
    a, b, total_a, total_b = n_in + 1, n_out + 1, seen_in + 1, seen_out + 1
    pooled = (a + b) / (total_a + total_b)
    with np.errstate(divide="ignore", invalid="ignore"):
        test = (a / total_a - b / total_b) / np.sqrt(pooled * (1 - pooled) * (1 / total_a + 1 / total_b))
    return np.where(pooled == 1, 0.0, test)


def representative(counts: GroupCounts, most: int = 5) -> pd.DataFrame:
    """The statements that represent each group by Polis' statistic, at most `most` a group, at least one.

    A side (agree or disagree) represents a group when its share differs from one half and from the share
    outside the group, both at 90% one-sided; ranked by ratio · test of the ratio · share · test of the share.
    In front comes what the group agrees with best, also when that is no difference. Without any of these it
    is the statement whose share differs most from the others'; none where nobody in the group voted.

    The groups were made of the same votes, so this describes them and proves nothing (see ``held_out``).

    Args:
        counts: votes of each group, on statements in the order of their numbers (it decides between equals).
        most: statements chosen for each group.

    Returns:
        Rows ``groep`` (index), ``stelling`` (index), ``kant`` (1 or -1), ``maat`` (the product) and
        ``rang`` (from 1).
    """
    rows: list[tuple[int, int, int, float, int]] = []
    for group in range(len(counts.seen)):
        seen, seen_out = counts.seen[group], counts.seen.sum(axis=0) - counts.seen[group]
        if not seen.any():
            continue
        agree, disagree = (
            _side(n[group], seen, n.sum(axis=0) - n[group], seen_out) for n in (counts.agree, counts.disagree)
        )
        is_agree = agree.ratio_test > disagree.ratio_test
        measure = np.where(is_agree, agree.measure, disagree.measure)
        fits = np.flatnonzero(agree.is_significant | disagree.is_significant)
        best = _best_agreed(agree, counts.agree[group] + counts.disagree[group] > 0)
        if best is None and not len(fits):
            best = int(np.maximum(agree.ratio_test, disagree.ratio_test).argmax())
        ranked = fits[np.argsort(-measure[fits], kind="stable")]
        chosen = [*([] if best is None else [best]), *(int(s) for s in ranked if s != best)][:most]
        rows += [
            (group, s, 1 if is_agree[s] else -1, float(measure[s]), rank)
            for rank, s in enumerate(chosen, start=1)
        ]
    return pd.DataFrame(rows, columns=["groep", "stelling", "kant", "maat", "rang"])


@dataclass(frozen=True)
class _Side:
    """Polis' figures of one side (agree or disagree) of each statement for one group."""

    share: Floats
    share_test: Floats
    ratio: Floats
    ratio_test: Floats

    @property
    def measure(self) -> Floats:
        return self.ratio * self.ratio_test * self.share * self.share_test

    @property
    def is_significant(self) -> Bools:
        return (self.share_test > Z_90_ONE_SIDED) & (self.ratio_test > Z_90_ONE_SIDED)


def _side(n_in: Integers, seen_in: Integers, n_out: Integers, seen_out: Integers) -> _Side:
    share = (n_in + 1) / (seen_in + 2)
    return _Side(
        share,
        _one_proportion(n_in, seen_in),
        share / ((n_out + 1) / (seen_out + 2)),
        _two_proportions(n_in, seen_in, n_out, seen_out),
    )


def _best_agreed(agree: _Side, has_votes: Bools) -> int | None:
    """Polis' best statement to agree with, or None (`beats-best-agr?` in repness.clj of compdemocracy/polis).

    One pass over the statements, in which the best so far decides how the next is compared.
    """
    share_measure, measure = agree.share * agree.share_test, agree.measure
    is_good = (agree.share_test > Z_90_ONE_SIDED) | ((agree.ratio > 1) & (agree.share > 0.5))
    best: int | None = None
    for s in np.flatnonzero(has_votes):
        if best is None:
            is_better = is_good[s]
        elif agree.ratio[best] > 1:
            is_better = measure[s] > measure[best]
        else:
            is_better = share_measure[s] > share_measure[best]
        best = int(s) if is_better else best
    return best


@dataclass(frozen=True)
class HeldOut:
    """Differences between a group and the others on votes that did not make the groups.

    Arrays of shape (groups, statements); NaN (False) where too few voted to test.

    Attributes:
        difference: share that agrees in the group minus the share outside it.
        low: lower bound of its 95% interval.
        high: upper bound of its 95% interval.
        p_value: of no difference, two-sided.
        distinctive: whether the difference stays after Benjamini-Hochberg over the whole conversation.
    """

    difference: Floats
    low: Floats
    high: Floats
    p_value: Floats
    distinctive: Bools


def held_out(
    votes: Votes, label: Integers, number: int, rules: GroupRules, *, level: float = 0.05
) -> HeldOut:
    """Test where a group differs, on votes held out from the grouping.

    The statements are divided in parts. For each part participants are grouped again by their votes on the
    *other* statements, the new groups are matched to the given ones, and the part's statements are compared
    between those. Tested on the votes that made the groups, pure noise looks different too: k-means puts
    those together who voted alike by chance.

    Args:
        votes: the votes.
        label: the groups that are to be described, shape (participants,).
        number: their number.
        rules: the choices of the grouping.
        level: false discovery rate.
    """
    shape = (number, votes.statements)
    counts = GroupCounts(*(np.zeros(shape, dtype=np.int64) for _ in range(3)))
    part = np.random.default_rng(rules.seed).permutation(votes.statements) % FOLDS
    for fold in range(FOLDS):
        inside = part == fold
        again = opinion_groups(votes.on(~inside), rules, number=number)
        matched = _matched(again.label, label, number)
        found = count_by_group(votes.on(inside), matched, number)
        counts.agree[:, inside] = found.agree[:, inside]
        counts.disagree[:, inside] = found.disagree[:, inside]
        counts.seen[:, inside] = found.seen[:, inside]
    return differences(counts, level=level)


def _matched(found: Integers, wanted: Integers, number: int) -> Integers:
    """Groups renumbered so that they overlap most with the wanted ones."""
    both = (found != NO_GROUP) & (wanted != NO_GROUP)
    overlap = np.zeros((number, number))
    np.add.at(overlap, (found[both], wanted[both]), 1)
    old, new = linear_sum_assignment(-overlap)
    renumbered = np.full(number, NO_GROUP, dtype=np.int64)
    renumbered[old] = new
    return np.where(found == NO_GROUP, NO_GROUP, renumbered[found])


def differences(counts: GroupCounts, *, level: float = 0.05) -> HeldOut:
    """Each group's share of agreement against that of all others, with interval and test.

    Score test with pooled variance; interval by Newcombe's method 10 (from two Wilson intervals).

    Args:
        counts: votes of each group.
        level: false discovery rate.
    """
    agree_out = counts.agree.sum(axis=0) - counts.agree
    seen_out = counts.seen.sum(axis=0) - counts.seen
    tested = (counts.seen >= FEWEST_PER_SIDE) & (seen_out >= FEWEST_PER_SIDE)
    n, m = np.maximum(counts.seen, 1), np.maximum(seen_out, 1)
    p, q = counts.agree / n, agree_out / m
    pooled = (counts.agree + agree_out) / (n + m)
    error = np.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.where(error > 0, (p - q) / error, 0.0)
    p_value = np.where(tested, 2 * ndtr(-np.abs(z)), np.nan)
    (low_p, high_p), (low_q, high_q) = wilson(counts.agree, n), wilson(agree_out, m)
    low = p - q - np.sqrt((p - low_p) ** 2 + (high_q - q) ** 2)
    high = p - q + np.sqrt((high_p - p) ** 2 + (q - low_q) ** 2)
    # Two groups are each other's opposite: their tests are one.
    rows = slice(0, 1) if len(counts.seen) == 2 else slice(None)
    distinctive = np.zeros(tested.shape, dtype=bool)
    if tested[rows].any():
        adjusted = false_discovery_control(p_value[rows][tested[rows]], method="bh")
        distinctive[rows][tested[rows]] = adjusted <= level
    if len(counts.seen) == 2:
        distinctive[1] = distinctive[0]
    nan = np.where(tested, 0.0, np.nan)
    return HeldOut(p - q + nan, low + nan, high + nan, p_value, distinctive)


def wilson(number: npt.ArrayLike, total: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Wilson's 95% interval of a share (JASA 22 (1927) 209-212), elementwise.

    Args:
        number: successes.
        total: trials, above 0.
    """
    n, x = np.asarray(total, dtype=float), np.asarray(number, dtype=float)
    share, z2 = x / n, Z_95**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z_95 / (1 + z2 / n) * np.sqrt(share * (1 - share) / n + z2 / (4 * n**2))
    return np.maximum(centre - half, 0.0), np.minimum(centre + half, 1.0)


# -- Whether somebody steers ---------------------------------------------------------------------------------


def voting_blocs(
    votes: Votes, *, least_votes: int = 10, least_members: int = 5, chance: float = 1e-6
) -> Integers:
    """Participants who vote the same on the same statements, far more often than opinions can explain.

    Participants with exactly the same votes (statements and values, at least `least_votes` of them) form a
    bloc of at least `least_members` when people who each vote by the statement's own shares would be expected
    to form fewer than `chance` such blocs.

    Args:
        votes: the votes.
        least_votes: fewest votes of a member.
        least_members: fewest members.
        chance: expected number of such blocs among all participants.

    Returns:
        Number of the bloc of each participant, from 0; -1 for who is in none. Shape (participants,).
    """
    shares = np.stack(
        [np.bincount(votes.statement[votes.value == v], minlength=votes.statements) for v in (-1, 0, 1)]
    ) / np.maximum(np.bincount(votes.statement, minlength=votes.statements), 1)
    log_same = np.log(np.maximum((shares**2).sum(axis=0), 1e-300))
    order = np.lexsort((votes.statement, votes.participant))
    frame = pd.DataFrame(
        {
            "p": votes.participant[order],
            "code": votes.statement[order] * 3 + votes.value[order].astype(np.int64) + 1,
            "log": log_same[votes.statement[order]],
        }
    )
    by_person = frame.groupby("p").agg(n=("code", "size"), log=("log", "sum"))
    rng = np.random.default_rng(0)
    key = rng.integers(0, 2**63, size=(votes.statements * 3,), dtype=np.uint64)
    # The same set of votes has the same sum of random 64-bit numbers, and another set practically never.
    by_person["hash"] = (
        pd.Series(key[frame["code"]]).groupby(frame["p"].to_numpy()).sum().reindex(by_person.index)
    )
    frequent = by_person[by_person["n"] >= least_votes]
    size = frequent.groupby("hash")["n"].transform("size")
    # Expected number of such blocs: ways to choose the members, times all agreeing with the first.
    ways = size * np.log(votes.participants) - gammaln(size + 1)
    expected = ways + (size - 1) * frequent["log"]
    members = frequent[(size >= least_members) & (expected < np.log(chance))]
    bloc = np.full(votes.participants, -1, dtype=np.int64)
    bloc[members.index.to_numpy()] = members.groupby("hash", sort=False).ngroup().to_numpy()
    return bloc


def floods(
    time: npt.NDArray[np.int64], statement: Integers, value: Floats, *, least: int = 50, ratio: float = 10.0
) -> Bools:
    """Votes of a flood: within an hour at least `least` on one statement, nearly all the same way.

    Nearly all is 95%; the hour must also hold `ratio` times the votes of the statement's usual hour, the
    median over all hours of the conversation in which anybody voted on it.

    Args:
        time: moments in seconds, shape (votes,).
        statement: statement of each vote.
        value: 1, 0 or -1 for each vote.
        least: fewest votes of a flood.
        ratio: how many times the usual number is a flood.

    Returns:
        Whether each vote belongs to a flood, shape (votes,).
    """
    rows = pd.DataFrame({"s": statement, "h": time // 3600, "v": value})
    per_value = rows.groupby(["s", "h", "v"]).size()
    hours = per_value.groupby(["s", "h"]).agg(n="sum", alike="max")
    usual = hours.groupby("s")["n"].transform("median")
    flooded = (hours["n"] >= least) & (hours["n"] > ratio * usual) & (hours["alike"] >= 0.95 * hours["n"])
    found = hours.index[flooded]
    result: Bools = pd.MultiIndex.from_frame(rows[["s", "h"]]).isin(found)
    return result
