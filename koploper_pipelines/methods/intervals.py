"""Uncertainty of means over measurements that hang together.

Belongs here: intervals for many groups at once, computed from sums. Does not belong here: the choice of
groups, publication rules for figures about people (see ``disclosure``), and medians, which pandas and DuckDB
compute themselves.

Measurements of one device share its calibration and its rider's habits; measurements of one day share the
weather. An interval that counts every row as independent is therefore far too narrow. Sources of the method:
Cameron, Gelbach and Miller, "Robust Inference with Multiway Clustering", JBES 29 (2011) 238-249, for the two
ways; Bell and McCaffrey, "Bias Reduction in Standard Errors for Linear Regression with Multi-Stage Samples",
Survey Methodology 28 (2002) 169-181, for few and unequal clusters (CR2 and its degrees of freedom).
"""

from collections.abc import Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class _Sample:
    """Rows of one device and day each: their group, what they add to its estimate, their share of it."""

    member: Integers
    device: Integers
    day: Integers
    residual: Floats
    share: Floats


def clustered_mean(
    sums: pd.DataFrame,
    groups: Sequence[str],
    *,
    minus: pd.DataFrame | None = None,
    min_devices: int = 5,
    min_days: int = 5,
) -> pd.DataFrame:
    """Return each group's mean with a 95% confidence interval clustered by device and by day.

    With e the sum of a cluster's residuals over N rows and h its share of them, each way of clustering gives
    V = sum of (e / N)^2 / (1 - h): CR2, which for clusters of one size is the usual factor G/(G - 1). The
    two-way variance is V_device + V_day - V_device-and-day. It may come out too low in small samples, which
    says nothing about the truth; so the largest of it and the two one-way variances is used, since neither
    kind of dependence may be assumed away. The interval is the mean -/+ t * sqrt(V); the degrees of freedom
    are Bell and McCaffrey's for each way, put together by Satterthwaite's rule with V_device and V_day.

    In simulations with device, day and ride effects the 95% intervals held the truth in 93 to 96% of the
    groups from 5 devices on 5 days up to 40 devices on 30 days, also where one rider rides ten times as much
    as another; G/(G - 1) with min(G) - 1 degrees of freedom held it in 86 to 96%. Clustered by ride alone
    they held it in 48%, without clustering in 20%.

    Args:
        sums: rows with the group columns, ``apparaat``, ``meetdag``, ``n`` (measurements, above 0) and
            ``som`` (sum of the measured values); rows of the same device and day are added up.
        groups: columns that name a group.
        minus: rows of the same shape for a mean that is subtracted, such as the bias found at stations; with
            at least one of the group columns, by which it belongs to groups. The interval is then that of
            the difference: a device that is in both counts as one cluster.
        min_devices: below this number of devices a group gets no interval; at least 2.
        min_days: below this number of days a group gets no interval; at least 2.

    Returns:
        One row a group, sorted by group, with the group columns and ``gemiddelde``, ``n``,
        ``aantal_apparaten``, ``aantal_dagen``, ``standaardfout``, ``ondergrens``, ``bovengrens`` (unit of
        the measured value; missing where there is no interval) and ``status`` (``definitief`` or
        ``onvoldoende_betrouwbaar``). Counts are those of ``sums``.

    Raises:
        ValueError: a key or value is missing, a count is not above 0, a minimum is below 2, or a group has no
            rows in ``minus``.
    """
    if min(min_devices, min_days) < 2:
        raise ValueError("an interval needs at least 2 devices and 2 days")
    cells = _device_days(sums, groups)
    names = cells[list(groups)].drop_duplicates(ignore_index=True)
    member = cells.groupby(list(groups), sort=True, observed=True).ngroup().to_numpy().astype(np.int64)
    others = None if minus is None else _device_days(minus, [g for g in groups if g in minus.columns])
    devices_of, days_of = (_numbered(cells, others, c) for c in (DEVICE, DAY))
    own, mean, n = _sample(cells, member, devices_of[0], days_of[0])
    samples = [own]
    if others is not None:
        subtracted, of_group = _shared(others, names, devices_of[1], days_of[1])
        samples.append(subtracted)
        mean = mean - of_group
    by_device, devices, device_freedom = _cluster_variance(samples, [s.device for s in samples])
    by_day, days, day_freedom = _cluster_variance(samples, [s.day for s in samples])
    width = int(max(s.day.max(initial=0) for s in samples)) + 1
    by_both, _, _ = _cluster_variance(samples, [s.device * width + s.day for s in samples])

    variance = np.maximum(by_device + by_day - by_both, np.maximum(by_device, by_day))
    reliable = (devices >= min_devices) & (days >= min_days)
    error = np.where(reliable, np.sqrt(variance), np.nan)
    margin = error * stdtrit(_satterthwaite(by_device, device_freedom, by_day, day_freedom), _UPPER_TAIL)
    return names.assign(
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


def _numbered(cells: pd.DataFrame, others: pd.DataFrame | None, column: str) -> tuple[Integers, Integers]:
    """Numbers of devices or days, the same in both samples."""
    values = [cells[column]] if others is None else [cells[column], others[column]]
    numbers, _ = pd.factorize(pd.concat(values, ignore_index=True))
    return numbers[: len(cells)].astype(np.int64), numbers[len(cells) :].astype(np.int64)


def _sample(
    cells: pd.DataFrame, member: Integers, device: Integers, day: Integers
) -> tuple[_Sample, Floats, Floats]:
    """Residuals and shares of the rows of each group, with its mean and its number of measurements."""
    count, total = cells["n"].to_numpy(float), cells["som"].to_numpy(float)
    n = np.bincount(member, weights=count).astype(float)
    mean = np.bincount(member, weights=total) / n
    residual = (total - count * mean[member]) / n[member]
    return _Sample(member, device, day, residual, count / n[member]), mean, n


def _shared(
    others: pd.DataFrame, names: pd.DataFrame, device: Integers, day: Integers
) -> tuple[_Sample, Floats]:
    """The subtracted sample as each group sees it, and the mean that each group has subtracted."""
    shared = [g for g in names.columns if g in others.columns]
    kinds = others[shared].drop_duplicates(ignore_index=True)
    kind = others.groupby(shared, sort=True, observed=True).ngroup().to_numpy().astype(np.int64)
    sample, mean, _ = _sample(others, kind, device, day)
    found = names[shared].merge(kinds.assign(kind=np.arange(len(kinds))), on=shared, how="left")["kind"]
    if found.isna().any():
        raise ValueError("a group has no rows in what is subtracted from it")
    of_group = found.to_numpy(np.int64)
    first = np.searchsorted(kind, np.arange(len(kinds)))
    size = np.bincount(kind, minlength=len(kinds))[of_group]
    owner = np.repeat(np.arange(len(names)), size)
    place = np.arange(len(owner)) - np.repeat(np.cumsum(size) - size, size)
    rows = first[of_group][owner] + place
    seen = _Sample(owner, device[rows], day[rows], -sample.residual[rows], sample.share[rows])
    return seen, mean[of_group]


def _cluster_variance(
    samples: Sequence[_Sample], clusters: Sequence[Integers]
) -> tuple[Floats, Integers, Floats]:
    """Variance of each group's estimate for one way of clustering, its clusters and degrees of freedom.

    Clusters and degrees of freedom are those of the first sample. A single cluster shows no variance between
    clusters; such a group gets no interval, so its factor is only kept finite.
    """
    width = int(max(c.max(initial=0) for c in clusters)) + 1
    owners, parts = [], []
    for sample, cluster in zip(samples, clusters, strict=True):
        pairs, place = np.unique(sample.member * width + cluster, return_inverse=True)
        share = np.bincount(place, weights=sample.share).astype(float)
        left = np.where(share < 1 - 1e-9, 1 - share, 1.0)
        owners.append(pairs)
        parts.append(np.bincount(place, weights=sample.residual) / np.sqrt(left))
        if len(owners) == 1:
            count = np.bincount(pairs // width).astype(np.int64)
            freedom = _degrees_of_freedom(pairs // width, share, left)
    together, place = np.unique(np.concatenate(owners), return_inverse=True)
    between = np.bincount(place, weights=np.concatenate(parts))
    return np.bincount(together // width, weights=between**2).astype(float), count, freedom


def _degrees_of_freedom(owner: Integers, share: Floats, left: Floats) -> Floats:
    """Degrees of freedom of the CR2 variance when clusters have independent effects of one size.

    The variance is then the quadratic form sum of q_g (u_g - m)^2 with q = h^2 / (1 - h) and m the mean of u
    weighted by h; two moments of it give the degrees of freedom (trace^2 over the trace of the square).
    """
    q = share**2 / left
    s = np.bincount(owner, weights=share**2)
    q0, q1, q2 = (np.bincount(owner, weights=q * share**k) for k in range(3))
    trace = np.bincount(owner, weights=q * (1 - 2 * share + s[owner]))
    covariance = s[owner] - 2 * share
    diagonal = np.bincount(owner, weights=q**2 * ((1 + covariance) ** 2 - covariance**2))
    squared = diagonal + s**2 * q0**2 + 2 * q0 * q2 - 4 * s * q0 * q1 + 2 * q1**2
    return np.where(squared > 0, trace**2 / np.where(squared > 0, squared, 1.0), 1.0)


def _satterthwaite(first: Floats, first_freedom: Floats, second: Floats, second_freedom: Floats) -> Floats:
    """Degrees of freedom of the sum of two variances."""
    below = first**2 / first_freedom + second**2 / second_freedom
    return np.where(below > 0, (first + second) ** 2 / np.where(below > 0, below, 1.0), 1.0)
