"""Opinion groups: who votes alike, how stable that is, and whether chance or one axis explains it as well.

Belongs here: from votes to groups of participants. Does not belong here: what the groups think of a
statement (see ``statements``).

Sources: the grouping is that of Polis (C. Small et al., "Polis: Scaling deliberation by mapping high
dimensional opinion spaces", Recerca 26 (2021) 1-26) without its memory of earlier nights; silhouette:
Rousseeuw, J. Comput. Appl. Math. 20 (1987) 53-65; agreement of groupings: Hubert and Arabie, J. Classif. 2
(1985) 193-218; the test against simulated data: Hope, JRSS B 30 (1968) 582-598.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.spatial.distance import cdist
from scipy.special import ndtri
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score
from threadpoolctl import threadpool_limits

Floats: TypeAlias = npt.NDArray[np.float64]
Integers: TypeAlias = npt.NDArray[np.int64]
Bools: TypeAlias = npt.NDArray[np.bool_]

NO_GROUP = -1
"""Label of a participant with too few votes to be placed."""
SILHOUETTE_SAMPLE = 1_000
"""Participants on whom a silhouette is taken; all of them when there are no more."""
JUDGED = 1_000
"""Participants on whom groups are judged: a random part of them where there are more."""
STARTS_OF_A_CHECK = 3
DENSE = 100
"""Statements or participants up to which all components at once take less time than the first two."""


@dataclass(frozen=True)
class Votes:
    """Votes of participants on statements, one a pair; what is not listed was not voted on.

    Attributes:
        participant: index of the participant, from 0, shape (votes,).
        statement: index of the statement, from 0, shape (votes,).
        value: 1 agree, 0 pass, -1 disagree, shape (votes,).
        participants: number of participants.
        statements: number of statements that were not rejected.
        rejected: number of statements that a moderator rejected; no votes on them are listed.
        cast: votes really cast by each participant, also on rejected statements, shape (participants,).
    """

    participant: Integers
    statement: Integers
    value: Floats
    participants: int
    statements: int
    rejected: int
    cast: Integers

    @property
    def listed(self) -> Integers:
        """Number of listed votes of each participant."""
        return np.bincount(self.participant, minlength=self.participants)

    def placed(self, min_votes: int) -> Bools:
        """Who voted on ``min_votes`` statements, or on all where there are fewer."""
        enough: Bools = self.cast >= min(min_votes, self.statements + self.rejected)
        return enough

    def of(self, participants: Bools) -> Votes:
        """The votes of some participants, who are numbered anew."""
        number = np.cumsum(participants) - 1
        chosen = participants[self.participant]
        return replace(
            self,
            participant=number[self.participant[chosen]],
            statement=self.statement[chosen],
            value=self.value[chosen],
            participants=int(participants.sum()),
            cast=self.cast[participants],
        )

    def on(self, statements: Bools) -> Votes:
        """The votes on some statements; participants and statements keep their numbers."""
        chosen = statements[self.statement]
        return replace(
            self,
            participant=self.participant[chosen],
            statement=self.statement[chosen],
            value=self.value[chosen],
        )


@dataclass(frozen=True)
class GroupRules:
    """The choices of the grouping.

    Attributes:
        min_votes: fewest votes of a participant who is placed; all statements where there are fewer.
        max_groups: largest number of groups that is tried, from 2.
        starts: starts of k-means for each number of groups.
        min_stability: least stability of groups that are published.
        resamples: resamples for the stability.
        null_runs: simulations of each null model, at most.
        seed: of all random numbers.
    """

    min_votes: int = 7
    max_groups: int = 5
    starts: int = 100
    min_stability: float = 0.6
    resamples: int = 10
    null_runs: int = 39
    seed: int = 20240501


@dataclass(frozen=True)
class Grouping:
    """Groups of the participants.

    Attributes:
        label: group of each participant from 0 (the largest), -1 for who is not placed, shape
            (participants,).
        point: place of each participant on the two components, NaN for who is not placed, shape
            (participants, 2).
        silhouette: mean silhouette, from -1 to 1; NaN where no groups could be made.
        number: number of groups; 0 where none could be made.
    """

    label: Integers
    point: Floats
    silhouette: float
    number: int


@dataclass(frozen=True)
class Judgement:
    """Whether groups are more than chance.

    Attributes:
        silhouette: the silhouette that was judged: of all placed participants, or of the part on whom it was.
        stability: mean agreement (adjusted Rand index) with groups of 80% of the participants.
        null_independent: 95th percentile of the silhouette when votes are independent.
        null_axis: 95th percentile of the silhouette when opinions lie on one continuous axis.
        outcome: ``groepen``, or why there are none: ``te_weinig_deelnemers``, ``instabiel``,
            ``niet_meer_dan_toeval``, ``een_doorlopende_as``.
    """

    silhouette: float
    stability: float
    null_independent: float
    null_axis: float
    outcome: str


def opinion_groups(votes: Votes, rules: GroupRules, *, number: int | None = None) -> Grouping:
    """Place participants on two principal components of their votes and group them by k-means.

    The number of groups is the one with the best silhouette, unless it is given.

    Args:
        votes: votes of all participants; those with too few votes help to find the components.
        rules: the choices.
        number: a number of groups, to describe given groups with.

    Returns:
        The groups, numbered from the largest to the smallest; without any where fewer than three
        participants can be placed or all of them stand in one place.
    """
    placed = votes.placed(rules.min_votes)
    label = np.full(votes.participants, NO_GROUP, dtype=np.int64)
    point = np.full((votes.participants, 2), np.nan)
    found = None
    if placed.sum() >= 3:
        tried = range(2, rules.max_groups + 1) if number is None else [number]
        with _one_thread():
            point[placed] = projection(votes)[placed]
            found = _best_kmeans(point[placed], tried, rules.starts, rules.seed)
    if found is None:
        return Grouping(label, point, float("nan"), 0)
    silhouette, label[placed], made = found
    return Grouping(label, point, silhouette, made)


def projection(votes: Votes) -> Floats:
    """Scores of participants on the first two principal components, scaled for the votes they did not cast.

    A missing vote counts as the statement's mean, so that the centred matrix is zero wherever there is no
    vote: it stays as sparse as the votes are, and the components are its first two singular vectors. Votes
    on rejected statements count as 0 for everyone: they add nothing to the components, and everyone has cast
    them. Each score is multiplied by sqrt(statements / votes cast), since missing votes draw it
    to the middle.

    Args:
        votes: the votes.

    Returns:
        Scores, shape (participants, 2); zeros for a component that does not exist.
    """
    count = np.bincount(votes.statement, minlength=votes.statements)
    total = np.bincount(votes.statement, weights=votes.value, minlength=votes.statements)
    mean = total / np.maximum(count, 1)
    centred = sparse.csr_matrix(
        (votes.value - mean[votes.statement], (votes.participant, votes.statement)),
        shape=(votes.participants, votes.statements),
    )
    statements = votes.statements + votes.rejected
    scale = np.sqrt(statements / np.maximum(votes.listed + votes.rejected, 1))
    return _two_components(centred) * scale[:, None]


def _two_components(centred: sparse.csr_matrix) -> Floats:
    """U·S of the first two singular vectors, with the sign that makes the largest score positive."""
    if min(centred.shape) <= DENSE:
        u, s, _ = np.linalg.svd(centred.toarray(), full_matrices=False)
        scores = np.zeros((centred.shape[0], 2))
        scores[:, : min(2, len(s))] = (u * s)[:, :2]
    else:
        # A fixed start makes the iterations the same on every machine and in every run.
        start = np.random.default_rng(0).standard_normal(min(centred.shape))
        u, s, _ = sparse.linalg.svds(centred, k=2, v0=start)
        order = np.argsort(-s)
        scores = u[:, order] * s[order]
    largest = scores[np.abs(scores).argmax(axis=0), np.arange(2)]
    result: Floats = scores * np.where(largest < 0, -1.0, 1.0)
    return result


def _best_kmeans(
    points: Floats, numbers: Iterable[int], starts: int, seed: int
) -> tuple[float, Integers, int] | None:
    """Silhouette, labels and number of the best grouping; None where there are too few different points."""
    different = len(np.unique(points.round(9), axis=0))
    most = min(different, len(points) - 1)
    sample = _sample(len(points), seed)
    distance = cdist(points[sample], points[sample])
    best: tuple[float, Integers, int] | None = None
    for number in (n for n in numbers if n <= most):
        labels = _kmeans(points, number, starts, seed)
        value = _silhouette(distance, labels[sample])
        if best is None or value > best[0]:
            best = value, labels, number
    return best


def _kmeans(points: Floats, number: int, starts: int, seed: int) -> Integers:
    """Labels from 0, the largest group first."""
    labels = KMeans(number, n_init=starts, random_state=seed).fit_predict(points)
    order = np.argsort(-np.bincount(labels, minlength=number), kind="stable")
    rank = np.empty(number, dtype=np.int64)
    rank[order] = np.arange(number)
    ranked: Integers = rank[labels]
    return ranked


def _sample(size: int, seed: int) -> Integers:
    if size <= SILHOUETTE_SAMPLE:
        return np.arange(size)
    return np.sort(np.random.default_rng(seed).choice(size, SILHOUETTE_SAMPLE, replace=False))


def silhouette(points: Floats, labels: Integers) -> float:
    """Mean silhouette of grouped points; 0 for a point alone in its group, -1 where there is one group.

    Args:
        points: shape (points, 2).
        labels: group of each, shape (points,).
    """
    return _silhouette(cdist(points, points), labels)


def _silhouette(distance: Floats, labels: Integers) -> float:
    groups, own = np.unique(labels, return_inverse=True)
    if len(groups) < 2:
        return -1.0
    member = np.eye(len(groups))[own]
    size = member.sum(axis=0)
    total = distance @ member
    rows = np.arange(len(labels))
    own_size = size[own]
    within = total[rows, own] / np.maximum(own_size - 1, 1)
    other = total / size
    other[rows, own] = np.inf
    nearest = other.min(axis=1)
    widest = np.maximum(within, nearest)
    value = np.where((own_size > 1) & (widest > 0), (nearest - within) / np.where(widest > 0, widest, 1), 0.0)
    return float(value.mean())


def judge(votes: Votes, grouping: Grouping, rules: GroupRules) -> Judgement:
    """Hold groups against resampling and against two worlds without groups.

    Groups count when their stability is at least ``min_stability`` and their silhouette exceeds the 95th
    percentile of both null models. Those keep who voted on what: in the first votes are independent given
    their statement; in the second they follow one continuous axis, which alone makes k-means look stable.

    Args:
        votes: as for ``opinion_groups``.
        grouping: its groups.
        rules: the choices.
    """
    if grouping.number == 0:
        nan = float("nan")
        return Judgement(nan, nan, nan, nan, "te_weinig_deelnemers")
    with _one_thread():
        return _judged(votes, grouping, rules)


def _one_thread() -> threadpool_limits:
    """On so few numbers threads cost more than they bring."""
    return threadpool_limits(1)


def _judged(votes: Votes, grouping: Grouping, rules: GroupRules) -> Judgement:
    steady = stability(votes, grouping, rules)
    part = votes.of(_some(votes.placed(rules.min_votes), rules.seed))
    observed = grouping.silhouette
    if part.participants == JUDGED:
        observed = _best_silhouette(part, rules)
    limits = [
        _null_percentile(part, observed, rules, simulate)
        for simulate in (independent_votes, votes_on_one_axis)
    ]
    outcome = "groepen"
    if steady < rules.min_stability:
        outcome = "instabiel"
    elif not observed > limits[0]:
        outcome = "niet_meer_dan_toeval"
    elif not observed > limits[1]:
        outcome = "een_doorlopende_as"
    return Judgement(observed, steady, limits[0], limits[1], outcome)


def _some(participants: Bools, seed: int) -> Bools:
    """At most ``JUDGED`` of the participants, drawn at random."""
    chosen = np.flatnonzero(participants)
    if len(chosen) > JUDGED:
        chosen = np.random.default_rng(seed).choice(chosen, JUDGED, replace=False)
    some = np.zeros(len(participants), dtype=bool)
    some[chosen] = True
    return some


def _best_silhouette(votes: Votes, rules: GroupRules) -> float:
    """The silhouette of the best grouping of participants who are all placed, with few starts."""
    best = _best_kmeans(projection(votes), range(2, rules.max_groups + 1), STARTS_OF_A_CHECK, rules.seed)
    return best[0] if best is not None else -1.0


def stability(votes: Votes, grouping: Grouping, rules: GroupRules) -> float:
    """Mean adjusted Rand index between the groups and those, as many, made of 80% of the placed participants.

    Args:
        votes: as for ``opinion_groups``.
        grouping: its groups.
        rules: the choices.
    """
    rng = np.random.default_rng(rules.seed)
    placed = np.flatnonzero(grouping.label != NO_GROUP)
    size = min(len(placed), max(grouping.number + 1, round(0.8 * len(placed))))
    found = []
    for _ in range(rules.resamples):
        chosen = np.zeros(votes.participants, dtype=bool)
        chosen[rng.choice(placed, size, replace=False)] = True
        again = _kmeans(projection(votes.of(chosen)), grouping.number, STARTS_OF_A_CHECK, rules.seed)
        found.append(adjusted_rand_score(grouping.label[chosen], again))
    return float(np.mean(found))


def _null_percentile(
    votes: Votes,
    observed: float,
    rules: GroupRules,
    simulate: Callable[[Votes, np.random.Generator], Iterator[Floats]],
) -> float:
    """95th percentile of the silhouette in a world without groups, by at most ``null_runs`` simulations.

    With R simulations it is their 0.95·(R + 1)-th smallest, which makes the test exact. Once so many exceed
    the observed one that it cannot be beaten, the rest is left out (Besag and Clifford, Biometrika 78 (1991)
    301-304).
    """
    allowed = round(0.05 * (rules.null_runs + 1)) - 1
    found: list[float] = []
    for value in _take(simulate(votes, np.random.default_rng(rules.seed)), rules.null_runs):
        found.append(_best_silhouette(replace(votes, value=value), rules))
        if sum(f >= observed for f in found) > allowed:
            break
    return sorted(found, reverse=True)[min(allowed, len(found) - 1)]


def _take(values: Iterator[Floats], number: int) -> Iterator[Floats]:
    for _, value in zip(range(number), values, strict=False):
        yield value


def independent_votes(votes: Votes, rng: np.random.Generator) -> Iterator[Floats]:
    """Without end: the votes on each statement, dealt anew to those who voted on it."""
    order = np.argsort(votes.statement, kind="stable")
    sorted_value = votes.value[order]
    while True:
        shuffled = np.lexsort((rng.random(len(order)), votes.statement))
        value = np.empty_like(votes.value)
        value[shuffled] = sorted_value
        yield value


def votes_on_one_axis(votes: Votes, rng: np.random.Generator) -> Iterator[Floats]:
    """Without end: votes of participants who are spread normally along one axis, and no further structure.

    Each statement has a latent opinion r·t + sqrt(1 - r^2)·e, with t the participant's place; cut points give
    the statement its own shares of disagree, pass and agree. r is the polyserial correlation of its votes
    with the first component of the *other* half of the statements (Olsson, Drasgow and Dorans, Psychometrika
    47 (1982) 337-347), corrected for that component's unreliability by the agreement of the two halves.
    """
    low, high = _cut_points(votes)
    loading = _loadings(votes, low, high, rng)
    residual = np.sqrt(1 - loading**2)
    while True:
        place = rng.standard_normal(votes.participants)
        latent = loading[votes.statement] * place[votes.participant]
        latent += residual[votes.statement] * rng.standard_normal(len(latent))
        yield (latent > high[votes.statement]).astype(float) - (latent < low[votes.statement])


def _cut_points(votes: Votes) -> tuple[Floats, Floats]:
    """Normal quantiles below which a statement is disagreed with, and above which it is agreed with."""
    count = np.maximum(np.bincount(votes.statement, minlength=votes.statements), 1)
    no = np.bincount(votes.statement[votes.value < 0], minlength=votes.statements) / count
    yes = np.bincount(votes.statement[votes.value > 0], minlength=votes.statements) / count
    return ndtri(no), ndtri(1 - yes)


def _loadings(votes: Votes, low: Floats, high: Floats, rng: np.random.Generator) -> Floats:
    """Latent correlation of each statement with the one axis, from -0.99 to 0.99."""
    half = rng.permutation(votes.statements) % 2 == 0
    scores = [_normal_score(votes.on(half)), _normal_score(votes.on(~half))]
    in_both = [votes.on(h).listed > 0 for h in (half, ~half)]
    common = in_both[0] & in_both[1]
    agreement = float(np.corrcoef(scores[0][common], scores[1][common])[0, 1]) if common.sum() > 2 else 0.0
    if not np.isfinite(agreement):
        agreement = 0.0
    # The halves' axes may point opposite ways.
    scores[1] *= np.sign(agreement) or 1.0
    reliability = np.sqrt(max(abs(agreement), 0.05))
    other = np.where(half[votes.statement], scores[1][votes.participant], scores[0][votes.participant])
    correlation, spread = _correlation(votes, other)
    density = np.exp(-(low**2) / 2) + np.exp(-(high**2) / 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        latent = correlation * spread * np.sqrt(2 * np.pi) / density / reliability
    loading: Floats = np.clip(np.nan_to_num(latent, nan=0.0, posinf=0.0, neginf=0.0), -0.99, 0.99)
    return loading


def _normal_score(votes: Votes) -> Floats:
    """Rank of each participant on the first component, as a normal quantile; 0 for who did not vote."""
    has_votes = votes.listed > 0
    score = np.zeros(votes.participants)
    if has_votes.sum() > 2:
        first = projection(votes.of(has_votes))[:, 0]
        rank = first.argsort(kind="stable").argsort(kind="stable")
        score[has_votes] = ndtri((rank + 0.5) / len(rank))
    return score


def _correlation(votes: Votes, score: Floats) -> tuple[Floats, Floats]:
    """Correlation of votes with a score for each statement, and the standard deviation of its votes."""

    def mean(values: Floats) -> Floats:
        sums = np.bincount(votes.statement, weights=values, minlength=votes.statements)
        means: Floats = sums / np.maximum(np.bincount(votes.statement, minlength=votes.statements), 1)
        return means

    v, t = mean(votes.value), mean(score)
    covariance = mean(votes.value * score) - v * t
    spread = np.sqrt(np.maximum(mean(votes.value**2) - v**2, 0))
    spread_t = np.sqrt(np.maximum(mean(score**2) - t**2, 0))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.nan_to_num(covariance / (spread * spread_t), posinf=0.0, neginf=0.0), spread
