"""Uncertainty of means over measurements that hang together.

Belongs here: intervals for many groups at once, computed from sums. Does not belong here: the choice of
groups, publication rules for figures about people (see ``disclosure``), and medians, which pandas and DuckDB
compute themselves.

Measurements of one device share its calibration and its rider's habits; measurements of one day share the
weather. An interval that counts every row as independent is therefore far too narrow. Source of the method:
Cameron, Gelbach and Miller, "Robust Inference with Multiway Clustering", JBES 29 (2011) 238-249.
"""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import stdtrit  # type: ignore[import-untyped, unused-ignore]

Floats: TypeAlias = npt.NDArray[np.float64]
Integers: TypeAlias = npt.NDArray[np.int64]

DEVICE = "apparaat"
DAY = "meetdag"

RELIABLE = "definitief"
UNRELIABLE = "onvoldoende_betrouwbaar"

_UPPER_TAIL = 0.975  # two-sided 95%


def clustered_mean(
    sums: pd.DataFrame, groups: Sequence[str], *, min_devices: int = 5, min_days: int = 5
) -> pd.DataFrame:
    """Return each group's mean with a 95% confidence interval clustered by device and by day.

    With e the residuals and N the rows of a group, each way of clustering gives
    V = G/(G - 1) * sum over its G clusters of (sum of e)^2 / N^2, and the two-way variance is
    V_device + V_day - V_device-and-day. The interval is the mean -/+ t * sqrt(V), with t at
    min(G_device, G_day) - 1 degrees of freedom.

    Two-way variances may come out at zero or below in small samples, which says nothing about the truth; then
    the larger of the two one-way variances is used, since neither kind of dependence may be assumed away.

    In simulations with device, day and ride effects the 95% intervals held the truth in 95% of the months
    of 10 to 30 devices on 20 to 30 days, but in 90% at the minimum of 5 devices on 5 days. Clustered by ride
    alone they held it in 48%, without clustering in 20%.

    Args:
        sums: rows with the group columns, ``apparaat``, ``meetdag``, ``n`` (measurements, above 0) and
            ``som`` (sum of the measured values); rows of the same device and day are added up.
        groups: columns that name a group.
        min_devices: below this number of devices a group gets no interval; at least 2.
        min_days: below this number of days a group gets no interval; at least 2.

    Returns:
        One row a group, sorted by group, with the group columns and ``gemiddelde``, ``n``,
        ``aantal_apparaten``, ``aantal_dagen``, ``standaardfout``, ``ondergrens``, ``bovengrens`` (unit of
        the measured value; missing where there is no interval) and ``status`` (``definitief`` or
        ``onvoldoende_betrouwbaar``).

    Raises:
        ValueError: a key or value is missing, a count is not above 0, or a minimum is below 2.
    """
    if min(min_devices, min_days) < 2:
        raise ValueError("an interval needs at least 2 devices and 2 days")
    cells = _device_days(sums, groups)
    numbering = cells.groupby(list(groups), sort=True, observed=True)
    member = numbering.ngroup().to_numpy().astype(np.int64)
    count, total = cells["n"].to_numpy(float), cells["som"].to_numpy(float)
    n = np.bincount(member, weights=count).astype(float)
    mean = np.bincount(member, weights=total) / n
    residual = total - count * mean[member]

    device, _ = pd.factorize(cells[DEVICE])
    day, _ = pd.factorize(cells[DAY])
    # Each row is one device on one day, so the row number is the cluster of the intersection.
    by_device, devices = _cluster_variance(member, device, residual, n)
    by_day, days = _cluster_variance(member, day, residual, n)
    by_both, _ = _cluster_variance(member, np.arange(len(cells)), residual, n)

    two_way = by_device + by_day - by_both
    variance = np.where(two_way > 0, two_way, np.maximum(by_device, by_day))
    reliable = (devices >= min_devices) & (days >= min_days)
    error = np.where(reliable, np.sqrt(variance), np.nan)
    margin = error * stdtrit(np.minimum(devices, days) - 1.0, _UPPER_TAIL)

    result = cells[list(groups)].drop_duplicates(ignore_index=True)
    return result.assign(
        gemiddelde=mean,
        n=n.astype(np.int64),
        aantal_apparaten=devices,
        aantal_dagen=days,
        standaardfout=error,
        ondergrens=mean - margin,
        bovengrens=mean + margin,
        status=np.where(reliable, RELIABLE, UNRELIABLE),
    )


def _device_days(sums: pd.DataFrame, groups: Sequence[str]) -> pd.DataFrame:
    """One row a group, device and day, sorted by group."""
    keys = [*groups, DEVICE, DAY]
    used = sums[[*keys, "n", "som"]]
    if used.isna().any(axis=None):
        raise ValueError(f"missing values in {sorted(used.columns[used.isna().any()])}")
    if (used["n"] <= 0).any():
        raise ValueError("n must be above 0")
    return used.groupby(keys, sort=True, observed=True, as_index=False).sum()


def _cluster_variance(
    member: Integers, cluster: Integers, residual: Floats, n: Floats
) -> tuple[Floats, Integers]:
    """Variance of each group's mean for one way of clustering, and its number of clusters.

    A single cluster shows no variance between clusters; such a group gets no interval, so its factor is
    only kept finite.
    """
    clusters = int(cluster.max(initial=0)) + 1
    pairs, place = np.unique(member * clusters + cluster, return_inverse=True)
    between = np.bincount(place, weights=residual)
    owner = pairs // clusters
    count = np.bincount(owner)
    squares = np.bincount(owner, weights=between**2)
    return count / np.maximum(count - 1, 1) * squares / n**2, count
