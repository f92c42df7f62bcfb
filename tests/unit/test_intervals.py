from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm  # type: ignore[import-untyped, unused-ignore]
from scipy import stats  # type: ignore[import-untyped, unused-ignore]

from koploper_pipelines.methods.intervals import clustered_mean

pytestmark = pytest.mark.oracle

GROUP = ["gebied", "maand"]


def measurements(seed: int, groups: int, devices: int, days: int) -> pd.DataFrame:
    """Rows of PM2.5 with mean 10: device effects, a day effect that all devices share, rides and noise."""
    rng = np.random.default_rng(seed)
    rode = rng.random((groups, devices, days)) < 0.4
    group, device, day = np.nonzero(rode)
    repeats = rng.integers(1, 12, len(group))
    device_effect = rng.normal(0, 2, (groups, devices))
    day_effect = rng.normal(0, 3, (groups, days))
    ride_effect = rng.normal(0, 1, len(group))
    value = 10 + device_effect[group, device] + day_effect[group, day] + ride_effect
    rit = np.arange(len(group))
    frame = pd.DataFrame(
        {"gebied": group // 2, "maand": group % 2, "apparaat": device, "meetdag": day, "rit": rit, "w": value}
    ).loc[np.repeat(rit, repeats)]
    return frame.assign(w=frame["w"] + rng.normal(0, 2, len(frame))).reset_index(drop=True)


def summed(rows: pd.DataFrame) -> pd.DataFrame:
    keys = [*GROUP, "apparaat", "meetdag"]
    return rows.groupby(keys)["w"].agg(["size", "sum"]).set_axis(["n", "som"], axis=1).reset_index()


def coverage(result: pd.DataFrame) -> float:
    return float(((result["ondergrens"] <= 10) & (result["bovengrens"] >= 10)).mean())


def bell_mccaffrey(rows: pd.DataFrame, cluster: pd.Series) -> tuple[float, float]:
    """CR2 variance of the mean and its degrees of freedom, from the matrices of the definition."""
    n = len(rows)
    hat = np.full((n, n), 1 / n)
    residual = (np.eye(n) - hat) @ rows["w"].to_numpy()
    variance, columns = 0.0, []
    for _, place in pd.Series(np.arange(n)).groupby(cluster.to_numpy()):
        own = place.to_numpy()
        values, vectors = np.linalg.eigh(np.eye(len(own)) - hat[np.ix_(own, own)])
        adjusted = (vectors / np.sqrt(values)) @ vectors.T @ np.ones(len(own)) / n
        variance += float(residual[own] @ adjusted) ** 2
        columns.append((np.eye(n) - hat)[:, own] @ adjusted)
    g = np.column_stack(columns)
    same = cluster.to_numpy()[:, None] == cluster.to_numpy()[None, :]
    spread = np.linalg.eigvalsh(g.T @ same @ g)
    return variance, float(spread.sum() ** 2 / (spread**2).sum())


class TestOracle:
    def test_agrees_with_the_definition(self) -> None:
        rows = measurements(seed=1, groups=8, devices=9, days=7)
        result = clustered_mean(summed(rows), GROUP)
        used = set()
        for (_, group), (_, ours) in zip(rows.groupby(GROUP), result.iterrows(), strict=True):
            device, device_freedom = bell_mccaffrey(group, group["apparaat"])
            day, day_freedom = bell_mccaffrey(group, group["meetdag"])
            both, _ = bell_mccaffrey(group, group["apparaat"] * 100 + group["meetdag"])
            candidates = {"two ways": device + day - both, "device": device, "day": day}
            used.add(max(candidates, key=lambda k: candidates[k]))
            error = max(candidates.values()) ** 0.5
            freedom = (device + day) ** 2 / (device**2 / device_freedom + day**2 / day_freedom)
            assert ours["gemiddelde"] == pytest.approx(group["w"].mean(), rel=1e-12)
            assert ours["n"] == len(group)
            assert ours["standaardfout"] == pytest.approx(error, rel=1e-9)
            low, high = stats.t.interval(0.95, freedom, group["w"].mean(), error)
            assert ours["ondergrens"] == pytest.approx(low, rel=1e-9)
            assert ours["bovengrens"] == pytest.approx(high, rel=1e-9)
        assert {"two ways", "day"} <= used

    def test_equal_clusters_agree_with_statsmodels(self) -> None:
        device, day = (n.ravel() for n in np.indices((12, 20)))
        rng = np.random.default_rng(2)
        value = rng.normal(0, 2, 12)[device] + rng.normal(0, 3, 20)[day] + rng.normal(0, 1, 240)
        rows = pd.DataFrame({"gebied": 0, "maand": 0, "apparaat": device, "meetdag": day, "w": value})
        ours = clustered_mean(summed(rows), GROUP).iloc[0]
        fit = sm.OLS(value, np.ones(240)).fit(
            # statsmodels multiplies by G/(G - 1) for each way too; its (n - 1)/(n - 1) is 1.
            cov_type="cluster",
            cov_kwds={"groups": rows[["apparaat", "meetdag"]].to_numpy()},
        )
        assert ours["gemiddelde"] == pytest.approx(fit.params[0], rel=1e-12)
        assert ours["standaardfout"] == pytest.approx(fit.bse[0], rel=1e-10)

    def test_variance_that_is_not_positive_becomes_the_larger_one_way_variance(self) -> None:
        # Residuals +1 and -1 in a chequerboard cancel out by device and nearly so by day.
        device, day = np.divmod(np.arange(36), 6)
        value = np.where((device + day) % 2 == 0, 1.0, -1.0) + np.where(day == 0, 0.1, 0.0)
        rows = pd.DataFrame({"gebied": 0, "maand": 0, "apparaat": device, "meetdag": day, "w": value})
        sums = summed(rows)
        residual = value - value.mean()
        by_day = pd.Series(residual).groupby(day).sum()
        by_device = pd.Series(residual).groupby(device).sum()
        day_variance = 6 / 5 * (by_day**2).sum() / 36**2
        device_variance = 6 / 5 * (by_device**2).sum() / 36**2
        assert day_variance + device_variance - 36 / 35 * (residual**2).sum() / 36**2 < 0
        assert day_variance > device_variance
        error = clustered_mean(sums, GROUP)["standaardfout"].iloc[0]
        assert error == pytest.approx(np.sqrt(day_variance), rel=1e-10)


@dataclass(frozen=True)
class Stratum:
    """One kind of months: clusters, and how far devices, days and rides differ."""

    devices: int
    days: int
    device_sd: float
    day_sd: float
    riding: float = 0.4
    unequal: float = 0.5


STRATA = {
    "few of both": Stratum(5, 5, 2.0, 3.0, riding=0.9),
    "few devices that are biased": Stratum(6, 20, 2.0, 0.5),
    "few devices under one sky": Stratum(6, 20, 0.5, 3.0),
    "few days": Stratum(30, 6, 1.0, 3.0),
    "some, some ride far more": Stratum(10, 20, 2.0, 0.5, unequal=0.9),
    "many": Stratum(40, 30, 1.0, 3.0),
    "many that are biased": Stratum(40, 30, 2.0, 0.3),
}


def months_of(stratum: Stratum, seed: int, months: int) -> pd.DataFrame:
    """Sums by device and day of many months whose true mean is 10; riders ride at very unequal rates."""
    rng = np.random.default_rng(seed)
    s = stratum
    group, device, day = np.nonzero(rng.random((months, s.devices, s.days)) < s.riding)
    rate = np.exp(rng.normal(0, s.unequal, (months, s.devices)))[group, device]
    n = np.ceil(40 * rate * np.exp(rng.normal(0, 0.5, len(group))))
    value = 10 + rng.normal(0, s.device_sd, (months, s.devices))[group, device]
    value += rng.normal(0, s.day_sd, (months, s.days))[group, day] + rng.normal(0, 1, len(group))
    return pd.DataFrame({"maand": group, "apparaat": device, "meetdag": day, "n": n, "som": n * value})


def judged(stratum: Stratum, months: int, **method: str) -> tuple[float, float]:
    """Coverage, and median width against an interval that knows the variance; `method` breaks it."""
    sums = months_of(stratum, seed=20, months=months)
    broken = {column: sums.get(source, sums.index) for column, source in method.items()}
    result = clustered_mean(sums.assign(**broken), ["maand"])
    result = result[result["status"] == "definitief"]
    assert len(result) > 0.9 * months
    known = 2 * stats.norm.ppf(0.975) * result["gemiddelde"].std()
    return coverage(result), float((result["bovengrens"] - result["ondergrens"]).median() / known)


def check_stratum(stratum: Stratum, months: int, slack: float) -> None:
    held, width = judged(stratum, months)
    assert 0.92 - slack <= held <= 0.99 + slack
    assert width <= 1.3
    # Rows of one device and day taken for independent.
    assert judged(stratum, months, apparaat="rij", meetdag="rij")[0] < 0.92 - 2 * slack
    if stratum.device_sd >= 2 and stratum.day_sd < stratum.device_sd:
        # Wrong cluster: days alone do not see that devices are biased.
        assert judged(stratum, months, apparaat="meetdag")[0] < 0.92 - 2 * slack
    elif stratum.devices > stratum.days / 2:
        # Wrong cluster: devices alone do not see the sky that they share.
        assert judged(stratum, months, meetdag="apparaat")[0] < 0.92 - 2 * slack


class TestCoverage:
    @pytest.mark.parametrize("name", STRATA)
    def test_interval_holds_the_truth(self, name: str) -> None:
        # Of 400 months 95% is known to 1.1 percentage points.
        check_stratum(STRATA[name], months=400, slack=0.01)

    @pytest.mark.full
    @pytest.mark.parametrize("name", STRATA)
    def test_interval_holds_the_truth_in_many_months(self, name: str) -> None:
        check_stratum(STRATA[name], months=10_000, slack=0.0)


def calibrated_months(seed: int, months: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Riding and station pairs of the same biased devices: of the difference 2 is true."""
    rng = np.random.default_rng(seed)
    shape = (months, 12, 20)
    bias = rng.normal(0, 2, shape[:2])
    parts = []
    for level, share in ((2.0, 0.4), (0.0, 0.3)):
        group, device, day = np.nonzero(rng.random(shape) < share)
        n = np.ceil(30 * np.exp(rng.normal(0, 0.7, shape[:2]))[group, device])
        value = level + bias[group, device] + rng.normal(0, 1.5, len(group))
        parts.append(
            pd.DataFrame({"maand": group, "apparaat": device, "meetdag": day, "n": n, "som": n * value})
        )
    return parts[0], parts[1]


class TestMinus:
    def test_difference_of_two_means(self) -> None:
        riding, pairs = calibrated_months(seed=30, months=3)
        result = clustered_mean(riding, ["maand"], minus=pairs)
        for month, value in zip(result["maand"], result["gemiddelde"], strict=True):
            a, b = (x[x["maand"] == month] for x in (riding, pairs))
            assert value == pytest.approx(a["som"].sum() / a["n"].sum() - b["som"].sum() / b["n"].sum())
        alone = clustered_mean(riding, ["maand"])
        counts = ["n", "aantal_apparaten", "aantal_dagen", "status"]
        pd.testing.assert_frame_equal(result[counts], alone[counts])

    def test_a_device_in_both_is_one_cluster(self) -> None:
        riding, pairs = calibrated_months(seed=31, months=800)
        result = clustered_mean(riding, ["maand"], minus=pairs)
        width = (result["bovengrens"] - result["ondergrens"]).median()
        known = 2 * stats.norm.ppf(0.975) * result["gemiddelde"].std()
        held = ((result["ondergrens"] <= 2) & (result["bovengrens"] >= 2)).mean()
        assert 0.92 <= held <= 0.99
        assert width / known <= 1.3
        # Counter-test: as if other devices had been at the stations.
        strangers = clustered_mean(riding, ["maand"], minus=pairs.assign(apparaat=pairs["apparaat"] + 100))
        assert (strangers["bovengrens"] - strangers["ondergrens"]).median() / known > 1.3

    def test_minus_of_several_kinds_goes_to_the_groups_that_share_it(self) -> None:
        riding, pairs = calibrated_months(seed=32, months=2)
        both = pd.concat([riding.assign(gebied="b"), riding.assign(gebied="a", som=riding["som"] + 1)])
        result = clustered_mean(both, ["gebied", "maand"], minus=pairs)
        alone = clustered_mean(riding, ["maand"], minus=pairs)
        pd.testing.assert_frame_equal(
            result[result["gebied"] == "b"].drop(columns="gebied").reset_index(drop=True), alone
        )

    def test_a_group_without_anything_to_subtract_is_an_error(self) -> None:
        riding, pairs = calibrated_months(seed=33, months=2)
        with pytest.raises(ValueError, match="no rows"):
            clustered_mean(riding, ["maand"], minus=pairs[pairs["maand"] == 1])


class TestReliability:
    @pytest.mark.parametrize(
        ("devices", "days", "status"),
        [
            (5, 5, "definitief"),
            (4, 30, "onvoldoende_betrouwbaar"),
            (30, 4, "onvoldoende_betrouwbaar"),
            (1, 1, "onvoldoende_betrouwbaar"),
        ],
    )
    def test_few_devices_or_days_give_no_interval(self, devices: int, days: int, status: str) -> None:
        device, day = np.divmod(np.arange(devices * days), days)
        rng = np.random.default_rng(4)
        sums = pd.DataFrame(
            {
                "gebied": "a",
                "maand": 1,
                "apparaat": device,
                "meetdag": day,
                "n": 3,
                "som": rng.random(len(day)),
            }
        )
        result = clustered_mean(sums, GROUP).iloc[0]
        assert result["status"] == status
        assert (result["aantal_apparaten"], result["aantal_dagen"]) == (devices, days)
        assert result["gemiddelde"] == pytest.approx(sums["som"].sum() / sums["n"].sum())
        interval = result[["standaardfout", "ondergrens", "bovengrens"]].astype(float)
        assert interval.notna().all() == (status == "definitief")
        assert interval.isna().all() == (status != "definitief")

    def test_minima_are_parameters_but_never_below_two(self) -> None:
        sums = summed(measurements(seed=5, groups=1, devices=3, days=9))
        assert clustered_mean(sums, GROUP)["status"].tolist() == ["onvoldoende_betrouwbaar"]
        assert clustered_mean(sums, GROUP, min_devices=3)["status"].tolist() == ["definitief"]
        with pytest.raises(ValueError, match="at least 2"):
            clustered_mean(sums, GROUP, min_days=1)

    def test_equal_values_have_no_width(self) -> None:
        device, day = np.divmod(np.arange(36), 6)
        sums = pd.DataFrame(
            {"gebied": 0, "maand": 0, "apparaat": device, "meetdag": day, "n": 2, "som": 14.0}
        )
        result = clustered_mean(sums, GROUP).iloc[0]
        assert (result["ondergrens"], result["gemiddelde"], result["bovengrens"]) == (7, 7, 7)


class TestInput:
    def test_order_of_rows_and_splitting_a_day_change_nothing(self) -> None:
        sums = summed(measurements(seed=6, groups=6, devices=8, days=8))
        halves = sums.assign(n=sums["n"] / 2, som=sums["som"] / 2)
        split = pd.concat([halves, halves]).sample(frac=1, random_state=1)
        pd.testing.assert_frame_equal(clustered_mean(sums, GROUP), clustered_mean(split, GROUP), rtol=1e-12)

    def test_groups_do_not_touch_each_other(self) -> None:
        sums = summed(measurements(seed=7, groups=4, devices=8, days=8))
        together = clustered_mean(sums, GROUP)
        alone = pd.concat([clustered_mean(group, GROUP) for _, group in sums.groupby(GROUP)])
        pd.testing.assert_frame_equal(together, alone.reset_index(drop=True), rtol=1e-12)

    def test_no_rows(self) -> None:
        empty = summed(measurements(seed=8, groups=1, devices=2, days=2)).iloc[:0]
        result = clustered_mean(empty, GROUP)
        assert len(result) == 0
        assert "bovengrens" in result.columns

    @pytest.mark.parametrize("column", ["apparaat", "maand", "som"])
    def test_missing_values_are_an_error(self, column: str) -> None:
        sums = summed(measurements(seed=9, groups=1, devices=6, days=6)).astype({column: float})
        sums.loc[0, column] = np.nan
        with pytest.raises(ValueError, match=column):
            clustered_mean(sums, GROUP)

    def test_counts_must_be_above_zero(self) -> None:
        sums = summed(measurements(seed=10, groups=1, devices=6, days=6))
        sums.loc[0, "n"] = 0
        with pytest.raises(ValueError, match="above 0"):
            clustered_mean(sums, GROUP)
