"""Place: one point an item from the points of several players, of whom some are far off.

Belongs here: a centre that gross mistakes do not move, its spread, and the players behind it. Does not belong
here: projections (``methods/geo``) and directions.

Sources: Ester, Kriegel, Sander and Xu, "A Density-Based Algorithm for Discovering Clusters", KDD-96 (DBSCAN);
Weiszfeld, Tohoku Mathematical Journal 43 (1937) 355-386 (geometric median).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.integer]

# Items are put this far apart, so that one search for clusters serves all of them. It leaves a nanometre of
# precision for 10,000 items within the country, and a micrometre for ten million.
_APART_M = 2_000_000.0
_STEPS = 1000
_STILL_M = 0.001
_NEAREST_M = 1.0


@dataclass(frozen=True)
class PlaceRules:
    """When points belong together.

    Attributes:
        reach_m: largest distance between neighbours in a cluster. 2.5 times the spread of careful players
            (about 60 m on a map of the province).
        min_players: players whose points make a cluster.
    """

    reach_m: float = 150.0
    min_players: int = 2


def centres(marks: pd.DataFrame, rules: PlaceRules = PlaceRules()) -> pd.DataFrame:
    """The centre of each item's points: of its largest cluster, or of all its points when there is none.

    A player counts once an item, however many points they set: each point weighs one over their number. The
    cluster of the most players wins, of equals the densest; its centre is the geometric median, which gives
    way to no single point. At three players a cluster is found for four items in five only; the others fall
    back to the geometric median of all points.

    Args:
        marks: ``item``, ``speler``, ``x_m``, ``y_m`` (RD metres) and ``gewicht`` (above 0 up to 1), a row a
            point.
        rules: when points belong together.

    Returns:
        One row an item, sorted: ``item``, ``x_m``, ``y_m``, ``spreiding_m`` (median distance of the points
        used to the centre), ``aantal_spelers`` (with a point), ``aantal_spelers_eens`` (in the cluster; 0
        without one) and ``is_cluster``.
    """
    columns = ["item", "x_m", "y_m", "spreiding_m", "aantal_spelers", "aantal_spelers_eens", "is_cluster"]
    if marks.empty:
        return pd.DataFrame(columns=columns)
    rows = marks.reset_index(drop=True)
    item, names = pd.factorize(rows["item"], sort=True)
    own = rows.groupby([item, "speler"])["item"].transform("size")
    weight = (rows["gewicht"] / own).to_numpy(float)
    xy = rows[["x_m", "y_m"]].to_numpy(float)
    cluster = _clusters(item, xy, weight, rules)
    chosen = _largest(item, cluster, rows["speler"], xy, rules)
    has_cluster = np.zeros(len(names), dtype=bool)
    has_cluster[item[chosen]] = True
    used = chosen | ~has_cluster[item]
    centre = geometric_median(item[used], xy[used], weight[used], len(names))
    away = np.hypot(*(xy - centre[item]).T)
    players = rows.assign(item=item, used=chosen)
    agreeing = players[chosen].groupby("item")["speler"].nunique()
    return pd.DataFrame(
        {
            "item": names,
            "x_m": centre[:, 0],
            "y_m": centre[:, 1],
            "spreiding_m": pd.Series(away[used]).groupby(item[used]).median().to_numpy(),
            "aantal_spelers": players.groupby("item")["speler"].nunique().to_numpy(),
            "aantal_spelers_eens": agreeing.reindex(range(len(names)), fill_value=0).to_numpy(),
            "is_cluster": has_cluster,
        }
    )


def geometric_median(item: Ints, xy: Floats, weight: Floats, items: int) -> Floats:
    """The point of each item with the smallest sum of weighted distances to its points (Weiszfeld).

    Starts at the coordinatewise median; distances are kept above a metre, so that a point near the centre
    does not hold it.

    Args:
        item: item of each point, each item from 0 up to ``items`` at least once, shape (n,).
        xy: shape (n, 2), metres.
        weight: above 0, shape (n,).
        items: number of items.

    Returns:
        Shape (items, 2).
    """
    centre: Floats = pd.DataFrame(xy).groupby(item).median().to_numpy(float).copy()
    moving = np.ones(items, dtype=bool)
    for _ in range(_STEPS):
        # An item stops by itself, so that its centre does not depend on what else is in the table.
        rows = moving[item]
        of, points = item[rows], xy[rows]
        pull = weight[rows] / np.maximum(np.hypot(*(points - centre[of]).T), _NEAREST_M)
        total = np.bincount(of, pull, items)
        sums = np.column_stack([np.bincount(of, pull * points[:, axis], items) for axis in (0, 1)])
        moved = np.where(moving[:, None], sums / np.where(moving, total, 1)[:, None], centre)
        moving = np.hypot(*(moved - centre).T) > _STILL_M
        centre = moved
        if not moving.any():
            break
    return centre


def _clusters(item: Ints, xy: Floats, weight: Floats, rules: PlaceRules) -> Ints:
    """Cluster of each point, -1 for none; one DBSCAN over all items, each moved to a place of its own."""
    from sklearn.cluster import DBSCAN

    apart = np.column_stack([xy[:, 0] - xy[:, 0].min() + item * _APART_M, xy[:, 1] - xy[:, 1].min()])
    # Two marks of one player are half a player each, so that they make no cluster by themselves.
    found = DBSCAN(eps=rules.reach_m, min_samples=rules.min_players, algorithm="kd_tree").fit(
        apart, sample_weight=np.round(weight, 9)
    )
    labels: Ints = found.labels_
    return labels


def _largest(
    item: Ints, cluster: Ints, player: pd.Series, xy: Floats, rules: PlaceRules
) -> npt.NDArray[np.bool_]:
    """Which points lie in the cluster of the most players of their item; of equals, in the densest."""
    points = pd.DataFrame({"item": item, "cluster": cluster, "speler": player.to_numpy()})
    points[["x", "y"]] = xy
    of_cluster = points[points["cluster"] >= 0].groupby(["item", "cluster"])
    found = of_cluster.agg(
        players=("speler", "nunique"), x=("x", "std"), y=("y", "std"), size=("x", "size")
    ).reset_index()
    found["spread"] = np.hypot(found["x"].fillna(0), found["y"].fillna(0))
    found = found[found["players"] >= rules.min_players]
    best = found.sort_values(["item", "players", "spread"], ascending=[True, False, True])
    return np.isin(cluster, best.drop_duplicates("item")["cluster"])
