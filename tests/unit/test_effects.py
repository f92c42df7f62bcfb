"""Effects against a known truth, against other makes, and with the method broken on purpose."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf

from koploper_pipelines.methods.koploperdeals import effecten

Floats = npt.NDArray[np.float64]
Covers = Callable[[np.random.Generator, float, float], effecten.Estimate]
STEP = 1.0
AUTOCORRELATION = (0.0, 0.3, 0.6)


# -- Worlds with a known effect --------------------------------------------------------------------------


def errors(random: np.random.Generator, rho: float, shape: tuple[int, ...]) -> Floats:
    """AR(1) errors of unit shocks, from their stationary distribution, along the last axis."""
    made = random.standard_normal(shape)
    made[..., 0] /= math.sqrt(1 - rho**2)
    for month in range(1, shape[-1]):
        made[..., month] += rho * made[..., month - 1]
    return made


def series(random: np.random.Generator, rho: float, effect: float, months: int, before: int) -> Floats:
    """One area with a trend and a season."""
    t = np.arange(months)
    base = 10 + 0.03 * t + 2 * np.sin(2 * np.pi * t / 12)
    return base + errors(random, rho, (months,)) + effect * (t >= before)


def areas(
    random: np.random.Generator, rho: float, effect: float, treated: int, controls: int, months: int = 24
) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Areas of different levels that share the shocks of each month."""
    is_treated = np.arange(treated + controls) < treated
    level = 3 * random.standard_normal((treated + controls, 1))
    value = level + errors(random, 0.5, (months,)) + errors(random, rho, (treated + controls, months))
    value[is_treated, months // 2 :] += effect
    return value, is_treated


def rows_of(value: Floats, treated: npt.NDArray[np.bool_], first: str = "2018-01") -> pd.DataFrame:
    months = [str(p) for p in pd.period_range(first, periods=value.shape[1], freq="M")]
    return pd.DataFrame(
        [
            {"gebied": f"G{a:02d}", "maand": m, "is_behandeld": bool(treated[a]), "waarde": value[a, i]}
            for a in range(len(value))
            for i, m in enumerate(months)
        ]
    )


def of_series(months: int, before: int) -> Covers:
    return lambda random, rho, step: effecten.interrupted(series(random, rho, step, months, before), before)[
        0
    ]


def of_areas(treated: int, controls: int) -> Covers:
    def estimate(random: np.random.Generator, rho: float, step: float) -> effecten.Estimate:
        found = effecten.effect(rows_of(*areas(random, rho, step, treated, controls)), "2019-01").estimate
        assert found is not None
        return found

    def fast(random: np.random.Generator, rho: float, step: float) -> effecten.Estimate:
        value, is_treated = areas(random, rho, step, treated, controls)
        half = value.shape[1] // 2
        change = value[:, half:].mean(axis=1) - value[:, :half].mean(axis=1)
        infer = effecten._clustered if treated >= effecten.MIN_TREATED else effecten._placebos
        return infer(change, is_treated)

    # The way from rows costs ten times the estimate, so that the runs take the core of it, checked here.
    one, other = (f(np.random.default_rng(3), 0.3, STEP) for f in (estimate, fast))
    assert one.lower == pytest.approx(other.lower) and one.upper == pytest.approx(other.upper)
    return fast


DESIGNS: dict[str, Callable[[], Covers]] = {
    "tijdreeks van 48 maanden": lambda: of_series(48, 24),
    "tijdreeks van 72 maanden": lambda: of_series(72, 40),
    "5 tegen 20 gebieden": lambda: of_areas(5, 20),
    "8 tegen 18 gebieden": lambda: of_areas(8, 18),
    "1 tegen 25 gebieden": lambda: of_areas(1, 25),
    "3 tegen 12 gebieden": lambda: of_areas(3, 12),
}
PER_DESIGN = pytest.mark.parametrize("design", DESIGNS)
PER_RHO = pytest.mark.parametrize("rho", AUTOCORRELATION)


def share_covered(covers: Covers, rho: float, step: float, runs: int, seed: int = 7) -> float:
    random = np.random.default_rng(seed)
    found = [covers(random, rho, step) for _ in range(runs)]
    return float(np.mean([f.lower <= step <= f.upper for f in found]))


@PER_DESIGN
@PER_RHO
def test_intervals_hold_the_effect_in_a_few_runs(design: str, rho: float) -> None:
    runs = 250
    allowed = 2 * math.sqrt(0.05 * 0.95 / runs)
    assert 0.92 - allowed <= share_covered(DESIGNS[design](), rho, STEP, runs) <= min(0.98 + allowed, 0.996)


@pytest.mark.full
@pytest.mark.oracle
@PER_DESIGN
@PER_RHO
def test_intervals_hold_the_effect_in_92_to_98_percent_of_2000_runs(design: str, rho: float) -> None:
    covered = share_covered(DESIGNS[design](), rho, STEP, 2_000)
    print(f"\n{design}, autocorrelation {rho}: {covered:.3f}")
    assert 0.92 <= covered <= 0.98


@pytest.mark.full
@pytest.mark.oracle
@PER_DESIGN
@PER_RHO
def test_no_effect_gives_at_most_8_percent_false_alarms_in_2000_runs(design: str, rho: float) -> None:
    alarms = 1 - share_covered(DESIGNS[design](), rho, 0.0, 2_000, seed=8)
    print(f"\n{design}, autocorrelation {rho}: {alarms:.3f}")
    assert alarms <= 0.08


# -- Broken on purpose -----------------------------------------------------------------------------------


def test_ordinary_least_squares_with_robust_errors_is_far_too_sure() -> None:
    def hac(random: np.random.Generator, rho: float, step: float) -> effecten.Estimate:
        design = np.array(effecten._segments(48, 24))
        fitted = sm.OLS(series(random, rho, step, 48, 24), design).fit(
            cov_type="HAC", cov_kwds={"maxlags": 3}
        )
        low, high = fitted.conf_int()[-1]
        return effecten.Estimate(float(fitted.params[-1]), low, high, 1.0, 0.0)

    assert share_covered(hac, 0.6, STEP, 250) < 0.85


def test_without_its_own_distribution_of_t_the_series_is_too_sure(monkeypatch: pytest.MonkeyPatch) -> None:
    normal = np.abs(np.random.default_rng(1).standard_normal(4_000))
    monkeypatch.setattr(effecten._Reference, "t", lambda self, rho: normal)
    monkeypatch.setattr(effecten._Reference, "unbiased", lambda self, found: found)
    assert share_covered(of_series(48, 24), 0.6, STEP, 400) < 0.90


def test_months_as_if_independent_are_too_sure() -> None:
    def pooled(random: np.random.Generator, rho: float, step: float) -> effecten.Estimate:
        value, treated = areas(random, rho, step, 5, 20)
        rows = rows_of(value - value.mean(axis=1, keepdims=True), treated)
        rows["na"] = rows["maand"] >= "2019-01"
        rows["d"] = (rows["na"] & rows["is_behandeld"]).astype(float)
        fitted = smf.ols("waarde ~ d + C(maand)", rows).fit()
        low, high = fitted.conf_int().loc["d"]
        return effecten.Estimate(float(fitted.params["d"]), low, high, 1.0, 0.0)

    assert share_covered(pooled, 0.6, STEP, 60) < 0.85


# -- Against other makes ---------------------------------------------------------------------------------


@pytest.mark.oracle
def test_differences_are_those_of_the_two_way_regression_with_clusters() -> None:
    value, treated = areas(np.random.default_rng(4), 0.3, STEP, 6, 14)
    rows = rows_of(value, treated)
    rows["d"] = ((rows["maand"] >= "2019-01") & rows["is_behandeld"]).astype(float)
    fitted = smf.ols("waarde ~ d + C(gebied) + C(maand)", rows).fit(
        cov_type="cluster", cov_kwds={"groups": pd.factorize(rows["gebied"])[0]}
    )
    found = effecten.effect(rows, "2019-01")
    assert found.design == effecten.DIFFERENCES
    assert found.estimate is not None
    assert found.estimate.value == pytest.approx(fitted.params["d"], abs=1e-9)
    # Its clustered error is too small with few clusters, by a known factor at most.
    half = (found.estimate.upper - found.estimate.lower) / 2
    assert 1.0 < half / (1.96 * fitted.bse["d"]) < 1.5


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore")
def test_series_agrees_with_the_likelihood_of_an_arma_model() -> None:
    value = series(np.random.default_rng(5), 0.4, 2.0, 60, 30)
    found, rho = effecten.interrupted(value, 30)
    theirs = sm.tsa.SARIMAX(value, exog=np.array(effecten._segments(60, 30)), order=(1, 0, 0)).fit(disp=False)
    assert found.value == pytest.approx(theirs.params[5], abs=0.15)
    assert rho == pytest.approx(theirs.params[6], abs=0.25)
    assert found.upper - found.lower > 2 * 1.96 * theirs.bse[5]


def test_placebo_interval_is_the_set_of_effects_that_the_test_does_not_reject() -> None:
    value, treated = areas(np.random.default_rng(6), 0.3, STEP, 2, 9)
    change = value[:, 12:].mean(axis=1) - value[:, :12].mean(axis=1)
    found = effecten._placebos(change, treated)
    ways = effecten._assignments(treated)

    def p(supposed: float) -> float:
        put_back = change - supposed * treated
        apart = np.array([put_back[w].mean() - put_back[~w].mean() for w in ways])
        own = put_back[treated].mean() - put_back[~treated].mean()
        return float((np.abs(apart) >= abs(own) - 1e-12).mean())

    grid = np.linspace(found.value - 6, found.value + 6, 2_001)
    kept = [b for b in grid if p(b) > 0.05]
    assert (min(kept), max(kept)) == pytest.approx((found.lower, found.upper), abs=0.01)
    assert found.p == pytest.approx(p(0.0))


# -- What is refused, and what weakens -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("treated", "controls", "months", "said"),
    [
        (1, 1, 48, "Eén gebied tegen één gebied"),
        (1, 0, 47, "47 maanden; zonder controlegebied zijn er ten minste 48"),
        (2, 0, 60, "geen gebied om mee te vergelijken"),
        (1, 18, 24, "19 manieren"),
        (6, 4, 24, "4 controlegebieden; nodig zijn er 5"),
        (0, 8, 24, "niets te schatten"),
    ],
)
def test_what_the_data_cannot_carry_is_refused_in_plain_dutch(
    treated: int, controls: int, months: int, said: str
) -> None:
    value, is_treated = areas(np.random.default_rng(1), 0.3, STEP, treated, controls, months)
    found = effecten.effect(rows_of(value, is_treated), "2019-01" if months < 48 else "2020-01")
    assert found.estimate is None
    assert found.design == effecten.REFUSED
    assert said in found.why
    assert found.rung == (effecten.CONTROLLED if controls else effecten.BEFORE_AFTER)


def test_one_more_control_is_enough() -> None:
    value, treated = areas(np.random.default_rng(1), 0.3, STEP, 1, 19)
    assert effecten.effect(rows_of(value, treated), "2019-01").design == effecten.PLACEBOS


def test_a_series_with_a_hole_or_without_an_after_is_refused() -> None:
    rows = rows_of(series(np.random.default_rng(2), 0.0, STEP, 60, 30)[None], np.array([True]))
    assert "ontbreken maanden" in effecten.effect(rows[rows["maand"] != "2019-05"], "2020-07").why
    only_before = effecten.effect(rows, "2030-01")
    assert only_before.rung == effecten.MONITORED and only_before.estimate is None


def test_treated_areas_that_were_already_rising_are_told() -> None:
    value, treated = areas(np.random.default_rng(3), 0.0, 0.0, 6, 14)
    value[treated] += 0.5 * np.arange(24)
    found = effecten.effect(rows_of(value, treated), "2019-01")
    assert found.trend == effecten.FAILS and found.placebo == effecten.FAILS
    assert found.rung == effecten.CONTROLLED and "gelijk op" in found.why


def test_alike_before_is_an_estimated_effect() -> None:
    value, treated = areas(np.random.default_rng(4), 0.0, STEP, 6, 14)
    found = effecten.effect(rows_of(value, treated), "2019-01")
    assert (found.trend, found.placebo, found.why) == (effecten.HOLDS, effecten.HOLDS, "")
    assert found.rung == effecten.ESTIMATED


def test_a_series_that_already_broke_before_is_told() -> None:
    value = series(np.random.default_rng(5), 0.0, 0.0, 72, 36)
    value[18:] += 8.0
    found = effecten.effect(rows_of(value[None], np.array([True])), "2021-01")
    assert found.placebo == effecten.FAILS and found.rung == effecten.BEFORE_AFTER


@pytest.mark.parametrize("design", ["tijdreeks van 48 maanden", "5 tegen 20 gebieden"])
def test_an_effect_of_the_detectable_size_is_found_in_about_four_of_five(design: str) -> None:
    covers = DESIGNS[design]()
    random = np.random.default_rng(9)
    size = float(np.median([covers(random, 0.3, 0.0).detectable for _ in range(60)]))
    found = [covers(random, 0.3, size) for _ in range(200)]
    assert 0.70 <= np.mean([f.lower > 0 for f in found]) <= 0.90


def test_months_that_one_area_lacks_count_for_none() -> None:
    value, treated = areas(np.random.default_rng(4), 0.0, STEP, 6, 14)
    rows = rows_of(value, treated)
    found = effecten.effect(rows.drop(index=rows.index[3]), "2019-01")
    assert (found.before, found.after) == (11, 12)
    assert "1 maanden tellen niet mee" in found.why
