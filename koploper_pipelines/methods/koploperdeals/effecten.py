"""Effects: what a deal changed, from a before and an after, with or without areas where nothing was changed.

Belongs here: which design the data can carry, its estimate and interval, what must hold for it, and why it is
refused. Does not belong here: reading series, and how often an interval holds the truth (`tests`).

Three designs, chosen by what there is:

* One treated area and no controls: an interrupted time series, with level, slope and season (Bernal, Cummins
  and Gasparrini, Int. J. Epidemiol. 46 (2017) 348-355), generalised least squares with AR(1) errors by
  restricted likelihood. That likelihood puts the autocorrelation of short series too low and the interval
  too narrow; so t is held against its own distribution, simulated under the autocorrelation that by its
  median gives the one found (bias: Andrews, Econometrica 61 (1993) 139-165).
* Five or more treated areas: difference-in-differences on the change of each area, which makes of every
  cluster one row (Bertrand, Duflo and Mullainathan, QJE 119 (2004) 249-275), with variances of their own
  for treated and controls and Satterthwaite's degrees of freedom.
* Fewer treated areas: the same estimate, held against all ways in which as many areas could have been
  chosen (Conley and Taber, Rev. Econ. Stat. 93 (2011) 113-125; MacKinnon and Webb, J. Econometrics 218 (2020)
  435-450). The interval is made of the effects that this test does not reject.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import combinations
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

Floats: TypeAlias = npt.NDArray[np.float64]

SERIES, DIFFERENCES, PLACEBOS, REFUSED = (
    "onderbroken_tijdreeks",
    "verschil_in_verschillen",
    "placebo_over_controles",
    "geen",
)
MONITORED, BEFORE_AFTER, CONTROLLED, ESTIMATED = "gemonitord", "voor/na", "met controle", "geschat effect"
HOLDS, FAILS, UNTESTED = "voldaan", "niet_voldaan", "niet_te_toetsen"

LEVEL = 0.05
POWER = 0.80
MIN_MONTHS = 48
MIN_SIDE = 12
"""Months on either side of the change of a single series: with fewer a season is taken for an effect."""
MIN_TREATED = 5
MIN_CONTROLS = 5
MIN_SIDE_AREAS = 2
"""Months on either side where areas are compared: the pre-trend needs two."""
MAX_ASSIGNMENTS = 9_999
SEED = 20240501
_RHO = np.round(np.arange(-0.40, 0.96, 0.05), 2)
_DRAWS = 1_000


@dataclass(frozen=True)
class Estimate:
    """An estimate with its 95% interval and the p-value of no effect."""

    value: float
    lower: float
    upper: float
    p: float
    detectable: float
    """Smallest true effect that this design would find in 80% of cases."""


@dataclass(frozen=True)
class Effect:
    """What the data say of one effect, or why they cannot.

    Attributes:
        design: one of the designs, or `geen`.
        estimate: None where refused.
        rung: on the evidence ladder.
        why: refusal, or what weakens the estimate, in Dutch; empty when nothing does.
        trend, trend_p: whether treated and controls moved alike before (of a single series: in a straight
            line), with its p-value.
        placebo, placebo_p: whether a change halfway the before shows an effect, which it must not.
        autocorrelation: of the errors of a single series; NaN otherwise.
        before, after, treated, controls: months and areas used.
    """

    design: str
    estimate: Estimate | None
    rung: str
    why: str
    before: int
    after: int
    treated: int
    controls: int
    trend: str = UNTESTED
    trend_p: float = math.nan
    placebo: str = UNTESTED
    placebo_p: float = math.nan
    autocorrelation: float = math.nan


@dataclass(frozen=True)
class Panel:
    """Complete months of all areas.

    Attributes:
        value: shape (areas, months), without gaps.
        treated: which areas were changed, shape (areas,).
        after: which months come after the change, shape (months,).
        month: number of the month (years times 12), shape (months,).
    """

    value: Floats
    treated: npt.NDArray[np.bool_]
    after: npt.NDArray[np.bool_]
    month: npt.NDArray[np.int64]
    dropped: int = field(default=0)
    """Months left out, because an area lacks them."""


def effect(rows: pd.DataFrame, change: str) -> Effect:
    """The effect of a change on one outcome.

    Args:
        rows: a row an area and month: `gebied`, `maand` (``2024-01``), `is_behandeld`, `waarde`.
        change: the first month after the change.

    Returns:
        The effect as the mean difference over the months after, in the unit of `waarde`.
    """
    panel = complete(rows, change)
    treated, controls = int(panel.treated.sum()), int((~panel.treated).sum())
    refused = _refusal(panel, treated, controls)
    if refused:
        before, after = _months(panel)
        rung = MONITORED if not (before and after) else CONTROLLED if controls else BEFORE_AFTER
        return Effect(REFUSED, None, rung, refused, before, after, treated, controls)
    return _single(panel) if controls == 0 else _compared(panel)


def complete(rows: pd.DataFrame, change: str) -> Panel:
    """The panel of the months that every area has, in order."""
    wide = rows.pivot(index="gebied", columns="maand", values="waarde").sort_index(axis=1)
    whole = wide.dropna(axis=1)
    treated = rows.groupby("gebied")["is_behandeld"].first().reindex(whole.index).to_numpy(bool)
    months = np.array([12 * int(m[:4]) + int(m[5:7]) for m in whole.columns], dtype=np.int64)
    after = np.array([m >= change for m in whole.columns], dtype=bool)
    return Panel(whole.to_numpy(float), treated, after, months, wide.shape[1] - whole.shape[1])


def _months(panel: Panel) -> tuple[int, int]:
    return int((~panel.after).sum()), int(panel.after.sum())


def _refusal(panel: Panel, treated: int, controls: int) -> str:
    """Why the data cannot carry an estimate, in Dutch; empty when they can."""
    before, after = _months(panel)
    if not treated:
        return "Geen enkel gebied is aangewezen als plaats waar iets veranderde: er is niets te schatten."
    if not before or not after:
        missing = "vóór" if not before else "na"
        return f"Er zijn geen maanden {missing} de verandering die alle gebieden hebben: alleen volgen kan."
    if controls == 0 and treated > 1:
        return (
            f"Alle {treated} gebieden veranderden op hetzelfde moment en er is geen gebied om mee te"
            " vergelijken: wat overal tegelijk gebeurde is niet van het effect te onderscheiden. Lever de"
            " reeks van het geheel, of gebieden waar niets veranderde."
        )
    if controls == 0:
        return _refused_series(panel, before, after)
    if min(before, after) < MIN_SIDE_AREAS:
        return f"Er zijn {before} maanden vóór en {after} na: aan elke kant zijn er {MIN_SIDE_AREAS} nodig."
    if treated == controls == 1:
        return (
            "Eén gebied tegen één gebied: ieder verschil tussen die twee kan ook iets anders zijn dat maar"
            " in een van beide gebeurde. Er zijn meer controlegebieden nodig."
        )
    if treated >= MIN_TREATED:
        if controls >= MIN_CONTROLS:
            return ""
        return f"Er zijn {controls} controlegebieden; nodig zijn er {MIN_CONTROLS}."
    ways = math.comb(treated + controls, treated)
    if ways < 1 / LEVEL:
        return (
            f"Met {treated} veranderde en {controls} andere gebieden zijn er {ways} manieren om te loten;"
            f" voor een interval van 95% zijn er ten minste {round(1 / LEVEL)} nodig."
        )
    return ""


def _refused_series(panel: Panel, before: int, after: int) -> str:
    if before + after < MIN_MONTHS:
        return (
            f"Er zijn {before + after} maanden; zonder controlegebied zijn er ten minste {MIN_MONTHS} nodig,"
            " omdat toeval en seizoen anders voor een effect worden aangezien."
        )
    if min(before, after) < MIN_SIDE:
        return f"Er zijn {before} maanden vóór en {after} na: aan elke kant zijn er {MIN_SIDE} nodig."
    if np.any(np.diff(panel.month) != 1):
        return "In de reeks ontbreken maanden: dan is niet te zien hoe maanden samenhangen."
    if np.ptp(panel.value) == 0:
        return "Alle maanden hebben dezelfde waarde: er is geen toeval waar een effect tegen af te zetten is."
    return ""


# -- One series --------------------------------------------------------------------------------------------


def _single(panel: Panel) -> Effect:
    before, after = _months(panel)
    value = panel.value[panel.treated][0]
    found, rho = interrupted(value, before)
    bent = _against(value[:before], _bend(before))
    halved = interrupted(value[:before], before // 2)[0] if before >= 2 * MIN_SIDE else None
    trend, trend_p = _verdict(bent[0].p)
    placebo, placebo_p = _verdict(halved.p) if halved else (UNTESTED, math.nan)
    stands = FAILS not in (trend, placebo)
    return Effect(
        SERIES,
        found,
        ESTIMATED if stands else BEFORE_AFTER,
        "; ".join(_doubts(panel, trend, placebo, "in een rechte lijn")),
        before,
        after,
        1,
        0,
        trend,
        trend_p,
        placebo,
        placebo_p,
        rho,
    )


def _verdict(p: float) -> tuple[str, float]:
    return (HOLDS if p >= LEVEL else FAILS), p


def _doubts(panel: Panel, trend: str, placebo: str, alike: str) -> list[str]:
    said = []
    if trend == FAILS:
        said.append(f"vóór de verandering liep het niet {alike}: het effect kan daarvan een vervolg zijn")
    if placebo == FAILS:
        said.append("ook halverwege de periode ervoor, toen er niets veranderde, is een effect te zien")
    if placebo == UNTESTED:
        said.append("de periode ervoor is te kort om een verzonnen verandering te proberen")
    if panel.dropped:
        said.append(f"{panel.dropped} maanden tellen niet mee, omdat een gebied ze mist")
    return said


def interrupted(value: Floats, before: int) -> tuple[Estimate, float]:
    """Effect on one series, as the mean over the months after, and the autocorrelation of its errors.

    Args:
        value: months in order, shape (months,).
        before: number of months before the change.
    """
    return _against(value, _segments(len(value), before))


Design: TypeAlias = tuple[tuple[float, ...], ...]
"""Rows of a design; its last column is the one of which the coefficient is asked."""


@lru_cache(maxsize=64)
def _segments(months: int, before: int) -> Design:
    """Level, trend, season, change of slope around the middle of the after, and its mean level."""
    t = np.arange(months, dtype=float)
    after = (t >= before).astype(float)
    # Centred on the after, the coefficient of the step is the mean effect over it.
    slope = after * (t - (before + months - 1) / 2)
    return _rows([np.ones(months), t - t.mean(), *_season(t), slope, after])


@lru_cache(maxsize=64)
def _bend(months: int) -> Design:
    """Level, trend, season and curvature of the months before."""
    t = np.arange(months, dtype=float)
    centred = (t - t.mean()) / max(months, 1)
    return _rows([np.ones(months), centred, *_season(t), centred**2])


def _season(t: Floats) -> list[Floats]:
    return [np.sin(2 * np.pi * t / 12), np.cos(2 * np.pi * t / 12)]


def _rows(columns: list[Floats]) -> Design:
    return tuple(map(tuple, np.column_stack(columns).tolist()))


def _against(value: Floats, design: Design) -> tuple[Estimate, float]:
    """The last coefficient of a regression with AR(1) errors, and their autocorrelation."""
    from scipy.linalg import toeplitz
    from statsmodels.regression.linear_model import GLS

    reference = _reference(design)
    found = reference.likely(value[:, None])[0]
    rho = reference.unbiased(found)
    months = np.arange(len(value))
    fitted = GLS(value, np.array(design), sigma=toeplitz(rho**months)).fit()
    estimate, error = float(fitted.params[-1]), float(fitted.bse[-1])
    drawn = reference.t(rho)
    limit = float(np.quantile(drawn, 1 - LEVEL))
    # As many as were drawn can be told apart, so that p is never 0.
    p = (1 + float((drawn >= abs(estimate / error)).sum())) / (1 + len(drawn))
    margin = limit * error
    return Estimate(estimate, estimate - margin, estimate + margin, p, _detectable(limit, error)), rho


def _detectable(limit: float, error: float) -> float:
    return (limit + float(stats.norm.ppf(POWER))) * error


@lru_cache(maxsize=16)
def _reference(design: Design) -> _Reference:
    return _Reference(np.array(design))


class _Reference:
    """What a regression with AR(1) errors gives when there is nothing to find, per autocorrelation.

    Neither the estimate of the autocorrelation nor t depends on the coefficients or the size of the errors.
    So both can be drawn beforehand for a design.
    """

    def __init__(self, x: Floats) -> None:
        self.x = x
        self.months = len(x)
        self.whiten = [_whitener(self.months, rho) for rho in _RHO]
        self.basis = [np.linalg.qr(w @ x) for w in self.whiten]
        random = np.random.default_rng(SEED)
        shocks = random.standard_normal((self.months, _DRAWS))
        self.found = np.empty((len(_RHO), _DRAWS))
        self.drawn = np.empty((len(_RHO), _DRAWS))
        for i, whiten in enumerate(self.whiten):
            errors = np.asarray(np.linalg.solve(whiten, shocks), np.float64)
            self.found[i] = self.likely(errors)
        self.median = np.maximum.accumulate(np.median(self.found, axis=1))
        for i, whiten in enumerate(self.whiten):
            errors = np.asarray(np.linalg.solve(whiten, shocks), np.float64)
            self.drawn[i] = np.abs(self._t(errors, self._nearest(self.unbiased_all(self.found[i]))))

    def likely(self, values: Floats) -> Floats:
        """The autocorrelation of each series by restricted likelihood, shape (series,)."""
        free = self.months - self.x.shape[1]
        best = np.full((len(_RHO), values.shape[1]), -np.inf)
        for i, (whiten, (q, r)) in enumerate(zip(self.whiten, self.basis, strict=True)):
            white = whiten @ values
            rest = (white**2).sum(axis=0) - ((q.T @ white) ** 2).sum(axis=0)
            volume = np.log(np.abs(np.diag(r))).sum() - np.log(np.diag(whiten)).sum()
            best[i] = -free / 2 * np.log(np.maximum(rest, 1e-300)) - volume
        return _peak(best)

    def unbiased(self, found: float) -> float:
        """The autocorrelation under which the median of what is found is this."""
        return float(self.unbiased_all(np.array([found]))[0])

    def unbiased_all(self, found: Floats) -> Floats:
        """`unbiased` of many."""
        return np.interp(found, self.median, _RHO)

    def t(self, rho: float) -> Floats:
        """Drawn absolute t-values under an autocorrelation."""
        drawn: Floats = self.drawn[int(np.abs(_RHO - rho).argmin())]
        return drawn

    def _nearest(self, rho: Floats) -> npt.NDArray[np.int64]:
        place: npt.NDArray[np.int64] = np.abs(rho[:, None] - _RHO).argmin(axis=1)
        return place

    def _t(self, values: Floats, place: npt.NDArray[np.int64]) -> Floats:
        """The t-value of the last coefficient of each series, at the autocorrelation of that place."""
        made = np.empty(values.shape[1])
        free = self.months - self.x.shape[1]
        for i in np.unique(place):
            own = place == i
            white = self.whiten[i] @ values[:, own]
            q, r = self.basis[i]
            along = q.T @ white
            rest = (white**2).sum(axis=0) - (along**2).sum(axis=0)
            # The last coefficient of a triangular system is its last row alone.
            made[own] = along[-1] / np.sqrt(rest / free) * np.sign(r[-1, -1])
        return made


def _whitener(months: int, rho: float) -> Floats:
    """The lower triangle that makes AR(1) errors independent (Prais and Winsten)."""
    made = np.eye(months) - rho * np.eye(months, k=-1)
    made[0, 0] = math.sqrt(1 - rho**2)
    return made


def _peak(likelihood: Floats) -> Floats:
    """Where on the grid each column is largest, by a parabola through its three highest points."""
    top = likelihood.argmax(axis=0)
    inner = np.clip(top, 1, len(_RHO) - 2)
    series = np.arange(likelihood.shape[1])
    left, middle, right = (likelihood[inner + k, series] for k in (-1, 0, 1))
    bent = left - 2 * middle + right
    shift = np.where(bent < 0, (left - right) / np.where(bent < 0, 2 * bent, 1.0), 0.0)
    step = _RHO[1] - _RHO[0]
    peak: Floats = np.where(top == inner, _RHO[inner] + np.clip(shift, -0.5, 0.5) * step, _RHO[top])
    return peak


# -- Areas compared ----------------------------------------------------------------------------------------


def _compared(panel: Panel) -> Effect:
    before, after = _months(panel)
    infer = _clustered if panel.treated.sum() >= MIN_TREATED else _placebos
    change = panel.value[:, panel.after].mean(axis=1) - panel.value[:, ~panel.after].mean(axis=1)
    found = infer(change, panel.treated)
    earlier = panel.value[:, ~panel.after]
    trend, trend_p = _verdict(infer(_slopes(earlier), panel.treated).p)
    half = before // 2
    placebo, placebo_p = UNTESTED, math.nan
    if half >= MIN_SIDE_AREAS:
        moved = earlier[:, half:].mean(axis=1) - earlier[:, :half].mean(axis=1)
        placebo, placebo_p = _verdict(infer(moved, panel.treated).p)
    few = infer is _placebos
    stands = FAILS not in (trend, placebo)
    return Effect(
        PLACEBOS if few else DIFFERENCES,
        found,
        ESTIMATED if stands and not few else CONTROLLED,
        "; ".join(_doubts(panel, trend, placebo, "gelijk op")),
        before,
        after,
        int(panel.treated.sum()),
        int((~panel.treated).sum()),
        trend,
        trend_p,
        placebo,
        placebo_p,
    )


def _slopes(value: Floats) -> Floats:
    """Least squares slope of each row."""
    t = np.arange(value.shape[1], dtype=float)
    t -= t.mean()
    return value @ t / (t @ t)


def _clustered(change: Floats, treated: npt.NDArray[np.bool_]) -> Estimate:
    """Difference of the mean change, of which treated and controls each have a variance.

    HC2 of this regression with Satterthwaite's degrees of freedom is Welch's interval.
    """
    # Not `statsmodels.api`: all of it takes four times as long to import.
    from statsmodels.regression.linear_model import OLS
    from statsmodels.tools.tools import add_constant

    design = add_constant(treated.astype(float))
    fitted = OLS(change, design).fit(cov_type="HC2")
    value, error = float(fitted.params[1]), float(fitted.bse[1])
    if error == 0:
        return Estimate(value, value, value, float(value == 0), 0.0)
    freedom = _welch([change[treated], change[~treated]])
    limit = float(stats.t.ppf(1 - LEVEL / 2, freedom))
    p = float(2 * stats.t.sf(abs(value / error), freedom))
    return Estimate(value, value - limit * error, value + limit * error, p, _detectable(limit, error))


def _welch(samples: list[Floats]) -> float:
    parts = [(s.var(ddof=1) / len(s), len(s) - 1) for s in samples]
    return float(sum(v for v, _ in parts) ** 2 / sum(v**2 / n for v, n in parts))


def _placebos(change: Floats, treated: npt.NDArray[np.bool_]) -> Estimate:
    """Difference of the mean change, against all ways of choosing as many areas (or many of them by lot).

    For a supposed effect b the treated areas are put back by b; b is not rejected when at least 5% of the
    ways give a difference at least as large. For one way those b lie between two points, so that the
    interval follows from sorting these.
    """
    chosen = _assignments(treated)
    number = int(treated.sum())
    weight = np.where(chosen, 1 / number, -1 / (len(treated) - number))
    difference, share = weight @ change, weight @ treated.astype(float)
    value = float(change[treated].mean() - change[~treated].mean())
    # The way that was taken itself (share 1) gives no limit: it is as large under every b.
    other = np.abs(share) < 1 - 1e-9
    ends = np.stack(
        [
            (value - difference[other]) / (1 - share[other]),
            (value + difference[other]) / (1 + share[other]),
        ]
    )
    own = len(chosen) - int(other.sum())
    # Ways, of all, that must be at least as large; as many of the others lie outside the interval.
    needed = len(chosen) // round(1 / LEVEL) - own
    lower, upper = np.sort(ends.min(axis=0)), np.sort(ends.max(axis=0))[::-1]
    low, high = float(lower[max(needed, 0)]), float(upper[max(needed, 0)])
    p = float((np.abs(difference) >= abs(value) - 1e-12).mean())
    spread = float(np.std(difference[other], ddof=1))
    return Estimate(value, low, high, p, (high - low) / 2 + float(stats.norm.ppf(POWER)) * spread)


def _assignments(treated: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Ways of choosing as many areas, the one that was taken among them; shape (ways, areas)."""
    areas, number = len(treated), int(treated.sum())
    if math.comb(areas, number) <= MAX_ASSIGNMENTS:
        places = np.array(list(combinations(range(areas), number)))
    else:
        lots = np.random.default_rng(SEED).random((MAX_ASSIGNMENTS, areas))
        places = np.vstack([lots.argsort(axis=1)[:, :number], np.flatnonzero(treated)])
    made = np.zeros((len(places), areas), dtype=bool)
    np.put_along_axis(made, places, True, axis=1)
    return made
