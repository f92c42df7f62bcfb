"""Krippendorff's alpha: against a published example, a computation by pairs, and known truth."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from koploper_pipelines.methods.taggen_en_gamen import agreement

# Three coders, fifteen units (Wikipedia, "Krippendorff's alpha"): nominal alpha .691.
CODERS = (
    "* * * * * 3 4 1 2 1 1 3 3 * 3",
    "1 * 2 1 3 3 4 3 * * * * * * *",
    "* * 2 1 3 4 4 * 2 1 1 3 3 * 4",
)


def by_pairs(items: list[list[float]], distance) -> float:  # type: ignore[no-untyped-def]
    """Alpha as it is defined: mean distance of pairs within items over that of all pairs."""
    several = [v for v in items if len(v) >= 2]
    values = [v for own in several for v in own]
    n = len(values)
    within = sum(
        sum(distance(a, b) for a, b in itertools.permutations(own, 2)) / (len(own) - 1) for own in several
    )
    overall = sum(distance(a, b) for a, b in itertools.permutations(values, 2)) / (n - 1)
    return 1 - within / overall


def counts_of(items: list[list[float]], labels: int) -> np.ndarray:
    return np.array([np.bincount(np.array(own, int), minlength=labels) for own in items])


def test_published_example() -> None:
    units = list(zip(*(c.split() for c in CODERS), strict=True))
    items = [[float(v) for v in unit if v != "*"] for unit in units]
    assert agreement.nominal_alpha(counts_of(items, 5)) == pytest.approx(0.691, abs=0.0005)


@pytest.mark.parametrize("seed", range(4))
def test_nominal_alpha_is_that_of_the_definition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    items = [list(rng.integers(0, 4, rng.integers(0, 6)).astype(float)) for _ in range(30)]
    expected = by_pairs(items, lambda a, b: float(a != b))
    assert agreement.nominal_alpha(counts_of(items, 4)) == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(4))
def test_circular_alpha_is_that_of_the_definition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    centre = rng.uniform(0, 2 * np.pi, 20)
    items = [list(c + rng.vonmises(0, 3, rng.integers(0, 6))) for c in centre]
    expected = by_pairs(items, lambda a, b: float(np.sin((a - b) / 2) ** 2))
    item = np.repeat(np.arange(20), [len(own) for own in items])
    theta = np.concatenate(items)
    assert agreement.circular_alpha(item, theta, 20) == pytest.approx(expected)
    # Angles are no numbers: a turn further nothing changes; as numbers much would.
    turned = theta + 2 * np.pi * rng.integers(-1, 2, len(theta))
    assert agreement.circular_alpha(item, turned, 20) == pytest.approx(expected)


def test_nothing_to_agree_on() -> None:
    assert np.isnan(agreement.nominal_alpha(np.array([[1, 0], [0, 1]])))
    assert np.isnan(agreement.nominal_alpha(np.array([[3, 0], [2, 0]])))
    assert np.isnan(agreement.nominal_alpha_interval(np.array([[1, 0]])).lower)
    assert np.isnan(agreement.circular_alpha(np.array([0]), np.array([1.0]), 1))
    assert agreement.nominal_alpha(np.array([[3, 0], [0, 2]])) == 1


def test_interval_over_items_holds_the_truth() -> None:
    rng = np.random.default_rng(11)

    def draw(items: int) -> np.ndarray:
        truth = rng.integers(0, 3, items)
        shared = rng.random((items, 4)) < 0.7
        return np.stack([np.where(s, truth, rng.integers(0, 3, items)) for s in shared.T], axis=1)

    def counts(judged: np.ndarray) -> np.ndarray:
        return np.stack([(judged == k).sum(axis=1) for k in range(3)], axis=1)

    truth = agreement.nominal_alpha(counts(draw(200_000)))
    assert truth == pytest.approx(0.49, abs=0.01)
    held = 0
    for seed in range(100):
        found = agreement.nominal_alpha_interval(counts(draw(60)), seed)
        held += found.lower <= truth <= found.upper
    assert 88 <= held <= 99


def test_circular_interval_holds_the_value() -> None:
    rng = np.random.default_rng(12)
    item = np.repeat(np.arange(80), 5)
    theta = rng.uniform(0, 6, 80)[item] + rng.vonmises(0, 4, 400)
    found = agreement.circular_alpha_interval(item, theta, 80)
    assert found.lower < found.value < found.upper
    assert (found.items, found.judgements) == (80, 400)
    assert found.upper - found.lower < 0.15
