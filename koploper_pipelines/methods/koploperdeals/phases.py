"""Phases of deals: how long until a deal moves on or stops, with deals that are still in the phase.

Belongs here: the Aalen–Johansen estimator of the chance to have ended by a cause, for causes that exclude
each other. One minus Kaplan–Meier per cause would count a stopped deal as one that could still move on.

Sources: Aalen and Johansen (1978), "An empirical transition matrix for non-homogeneous Markov chains based on
censored observations", Scand. J. Statist. 5; variance of the cumulative incidence by the delta method, as in
Marubini and Valsecchi (1995), "Analysing Survival Data from Clinical Trials and Observational Studies", 10.4;
interval on the log(-log) scale, which keeps it within 0 and 1 (Choudhury 2002, Statist. Med. 21).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from koploper_pipelines.methods.koploperdeals.schema import PHASES

MOVED, STOPPED = "door", "gestopt"
CAUSES = (MOVED, STOPPED)
RUNS = "loopt"
Z95 = 1.959963984540054
TINY = 1e-9


def spells(phases: pd.DataFrame, until: pd.Timestamp) -> pd.DataFrame:
    """One row per deal and phase: from its first day to how it ended; a repeated phase goes on.

    Args:
        phases: deal, fase, begonnen_op, geeindigd_op (missing while it runs), uitgang.
        until: the last day that is known of.

    Returns:
        deal, fase, begonnen_op, dagen, einde (door, gestopt or loopt), keren, in the order of the phases.
    """
    ordered = phases.sort_values(["deal", "fase", "begonnen_op"])
    grouped = ordered.groupby(["deal", "fase"], as_index=False)
    rows = grouped.agg(
        begonnen_op=("begonnen_op", "first"),
        geeindigd_op=("geeindigd_op", "last"),
        uitgang=("uitgang", "last"),
        keren=("uitgang", "size"),
    )
    # `last` of a group passes over what is missing: a phase that runs again has no end yet.
    rows["geeindigd_op"] = rows["geeindigd_op"].mask(rows["uitgang"] == RUNS)
    ends = {"volgende_fase": MOVED, "afgerond": MOVED, "gestopt": STOPPED}
    # To be repeated and not begun again: it has not ended.
    rows["einde"] = rows["uitgang"].map(ends).fillna(RUNS)
    end = pd.to_datetime(rows["geeindigd_op"].where(rows["einde"] != RUNS, until))
    rows["dagen"] = (end - pd.to_datetime(rows["begonnen_op"])).dt.days
    order = rows["fase"].map(PHASES.index)
    return rows.assign(volgorde=order).sort_values(["volgorde", "dagen", "deal"], ignore_index=True)[
        ["deal", "fase", "begonnen_op", "dagen", "einde", "keren"]
    ]


def cumulative_incidence(days: npt.ArrayLike, end: npt.ArrayLike) -> pd.DataFrame:
    """The chance to have ended by each cause, by day (Aalen–Johansen), with 95% intervals.

    Args:
        days: duration, shape (n,), at least 0; of a deal still in the phase, until the last known day.
        end: door, gestopt or loopt, shape (n,).

    Returns:
        One row per day on which something ended: dagen, onder_risico, and per cause `<cause>` (number),
        `kans_<cause>`, `kans_<cause>_onder`, `kans_<cause>_boven`. A deal that was last seen on a day is at
        risk on that day.
    """
    days, end = np.asarray(days, float), np.asarray(end, object)
    times = np.unique(days[end != RUNS])
    at_risk = (days[None, :] >= times[:, None]).sum(axis=1)
    here = days[None, :] == times[:, None]
    ended = {c: (here & (end == c)[None, :]).sum(axis=1) for c in CAUSES}
    every = np.sum(list(ended.values()), axis=0)
    survival = np.cumprod(1 - every / np.maximum(at_risk, 1))
    before = np.concatenate([[1.0], survival[:-1]])
    table = pd.DataFrame({"dagen": times, "onder_risico": at_risk})
    for cause, number in ended.items():
        chance = np.cumsum(before * number / np.maximum(at_risk, 1))
        error = np.sqrt(_variance(chance, before, number, every, at_risk))
        table[cause] = number
        table[f"kans_{cause}"] = chance
        table[f"kans_{cause}_onder"], table[f"kans_{cause}_boven"] = _bounds(chance, error)
    return table


def _variance(
    chance: npt.NDArray[np.float64],
    before: npt.NDArray[np.float64],
    number: npt.NDArray[np.int_],
    every: npt.NDArray[np.int_],
    at_risk: npt.NDArray[np.int_],
) -> npt.NDArray[np.float64]:
    """Delta-method variance at each time; sums over earlier times, expanded into running sums."""
    n = at_risk.astype(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        # When the last ones end together nothing is left to vary after it.
        a = np.where(n > every, every / (n * (n - every)), 0.0)
    b = before**2 * number * (n - number) / n**3
    c = before * number / n**2
    variance = (
        chance**2 * np.cumsum(a)
        - 2 * chance * np.cumsum(a * chance)
        + np.cumsum(a * chance**2)
        + np.cumsum(b)
        - 2 * (chance * np.cumsum(c) - np.cumsum(c * chance))
    )
    return np.asarray(np.maximum(variance, 0.0))


def _bounds(
    chance: npt.NDArray[np.float64], error: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    # Sums of products end just beside 0 and 1, where the scale has no width.
    inside = (chance > TINY) & (chance < 1 - TINY)
    safe = np.where(inside, chance, 0.5)
    width = Z95 * error / np.abs(safe * np.log(safe))
    lower, upper = safe ** np.exp(width), safe ** np.exp(-width)
    return np.where(inside, lower, chance), np.where(inside, upper, chance)


def median_days(curve: pd.DataFrame) -> float | None:
    """The first day by which at least half has moved on; None when fewer than half ever have."""
    reached = curve.loc[curve[f"kans_{MOVED}"] >= 0.5 - TINY, "dagen"]
    return None if reached.empty else float(reached.iloc[0])
