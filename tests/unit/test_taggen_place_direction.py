"""Places and directions on simulated truth: gross misses, junk and flips, and what breaks naive methods."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from koploper_pipelines.methods.taggen_en_gamen import direction, place

ITEMS, PLAYERS = 600, 7


def points(seed: int, players: int = PLAYERS, items: int = ITEMS) -> tuple[pd.DataFrame, np.ndarray]:
    """Spread 60 m, one in five anywhere within 3 km."""
    rng = np.random.default_rng(seed)
    truth = np.column_stack([rng.uniform(115_000, 165_000, items), rng.uniform(435_000, 480_000, items)])
    item = np.repeat(np.arange(items), players)
    xy = truth[item] + rng.normal(0, 60, (len(item), 2))
    gross = rng.random(len(item)) < 0.2
    xy[gross] = truth[item][gross] + rng.uniform(-3000, 3000, (gross.sum(), 2))
    rows = pd.DataFrame({"item": item, "speler": np.tile(np.arange(players), items), "gewicht": 1.0})
    return rows.assign(x_m=xy[:, 0], y_m=xy[:, 1]), truth


def away(found: pd.DataFrame, truth: np.ndarray) -> np.ndarray:
    off: np.ndarray = np.hypot(found["x_m"] - truth[:, 0], found["y_m"] - truth[:, 1]).to_numpy()
    return off


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_place_is_within_40_metres(seed: int) -> None:
    rows, truth = points(seed)
    found = place.centres(rows)
    assert np.median(away(found, truth)) <= 40
    # Counter-test: the mean follows the misses.
    mean = rows.groupby("item")[["x_m", "y_m"]].mean().reset_index()
    assert np.median(away(mean, truth)) > 200


def test_few_players_fall_back_to_the_geometric_median() -> None:
    rows, truth = points(4, players=3)
    found = place.centres(rows)
    assert 0.6 < found["is_cluster"].mean() < 0.95
    alone = ~found["is_cluster"]
    assert (found.loc[alone, "aantal_spelers_eens"] == 0).all()
    assert found["x_m"].notna().all()
    assert np.median(away(found, truth)) < 90


def test_one_player_who_clicks_twice_makes_no_cluster() -> None:
    rows = pd.DataFrame(
        {
            "item": "i",
            "speler": ["a", "a", "a", "b", "c"],
            "x_m": [0.0, 1, 2, 5000, 5050],
            "y_m": 0.0,
            "gewicht": 1.0,
        }
    )
    found = place.centres(rows).iloc[0]
    assert found["x_m"] == pytest.approx(5025, abs=30)
    assert (found["aantal_spelers_eens"], found["aantal_spelers"]) == (2, 3)
    only = place.centres(rows[rows["speler"] == "a"]).iloc[0]
    assert not only["is_cluster"]


def test_items_do_not_mix_and_their_order_does_not_matter() -> None:
    rows, _ = points(5, items=50)
    together = place.centres(rows)
    apart = pd.concat([place.centres(own) for _, own in rows.groupby("item")], ignore_index=True)
    shuffled = place.centres(rows.sample(frac=1, random_state=3))
    for column in ("x_m", "y_m", "aantal_spelers_eens"):
        assert np.allclose(together[column], apart[column], atol=0.05)
        assert np.allclose(together[column], shuffled[column], atol=0.05)
    # All on the same spot: nothing keeps items apart but being items.
    same = rows.assign(x_m=140_000.0 + rows["item"], y_m=450_000.0)
    assert np.allclose(place.centres(same)["x_m"], 140_000 + np.arange(50), atol=0.05)


def test_geometric_median_of_a_triangle_is_its_fermat_point() -> None:
    xy = np.array([[0.0, 0], [100, 0], [50, 300]])
    found = place.geometric_median(np.zeros(3, int), xy, np.ones(3), 1)[0]
    sides = xy - found
    angles = np.degrees(np.arctan2(sides[:, 1], sides[:, 0]))
    apart = direction.apart_deg(angles, np.roll(angles, 1))
    assert apart == pytest.approx([120, 120, 120], abs=0.5)


def angles(seed: int, items: int = ITEMS) -> tuple[pd.DataFrame, np.ndarray]:
    """Von Mises with concentration 8; 15% junk, 10% the wrong way round."""
    rng = np.random.default_rng(seed)
    truth = rng.uniform(0, 360, items)
    item = np.repeat(np.arange(items), PLAYERS)
    seen = truth[item] + np.degrees(rng.vonmises(0, 8, len(item)))
    draw = rng.random(len(item))
    seen = (
        np.where(draw < 0.15, rng.uniform(0, 360, len(item)), np.where(draw < 0.25, seen + 180, seen)) % 360
    )
    rows = pd.DataFrame({"item": item, "speler": np.tile(np.arange(PLAYERS), items)})
    return rows.assign(richting_graden=seen, gewicht=1.0), truth


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_direction_is_within_22_degrees_for_nine_in_ten(seed: int) -> None:
    rows, truth = angles(seed)
    found = direction.modes(rows)
    assert (direction.apart_deg(found["richting_graden"], truth) <= 22.5).mean() >= 0.90
    # Counter-tests: the mean of numbers, and the circular mean, which flips pull aside.
    plain = rows.groupby("item")["richting_graden"].mean()
    assert (direction.apart_deg(plain, truth) <= 22.5).mean() < 0.5
    theta = np.radians(rows["richting_graden"])
    sums = pd.DataFrame({"e": np.sin(theta), "n": np.cos(theta)}).groupby(rows["item"]).sum()
    circular = np.degrees(np.arctan2(sums["e"], sums["n"]))
    assert (direction.apart_deg(circular, truth) <= 22.5).mean() < 0.87


def one(seen: list[float], **columns: object) -> pd.Series:
    rows = pd.DataFrame({"item": "i", "speler": range(len(seen)), "richting_graden": seen, "gewicht": 1.0})
    return direction.modes(rows.assign(**columns)).iloc[0]


def test_north_is_no_border() -> None:
    assert direction.apart_deg(one([350, 355, 5, 10])["richting_graden"], 0) < 1


def test_flips_are_flagged_and_lower_the_resultant_length() -> None:
    sure = one([90, 92, 88, 91, 89])
    assert (bool(sure["is_tegengesteld"]), sure["resultante"] > 0.99) == (False, True)
    torn = one([90, 92, 88, 270, 271, 268])
    assert bool(torn["is_tegengesteld"]) and torn["resultante"] < 0.1
    # A second group aside is no confusion, nor is a wide spread.
    assert not one([90, 92, 88, 180, 181, 179])["is_tegengesteld"]
    assert not one([50, 70, 90, 110, 130])["is_tegengesteld"]


def test_angles_of_one_player_share_a_vote() -> None:
    found = one([10, 10, 10, 100, 101], speler=["a", "a", "a", "b", "c"])
    assert direction.apart_deg(found["richting_graden"], 100.5) < 2
    assert found["aantal_spelers"] == 3


def test_resultant_length_of_known_vectors() -> None:
    theta = np.radians([0, 90, 0, 180])
    length = direction.resultant_length(np.array([0, 0, 1, 1]), theta, np.ones(4), 2)
    assert length == pytest.approx([np.sqrt(0.5), 0])
