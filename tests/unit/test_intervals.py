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


class TestOracle:
    def test_agrees_with_statsmodels(self) -> None:
        rows = measurements(seed=1, groups=8, devices=9, days=7)
        result = clustered_mean(summed(rows), GROUP)
        compared = 0
        for (_, group), (_, ours) in zip(rows.groupby(GROUP), result.iterrows(), strict=True):
            fit = sm.OLS(group["w"], np.ones(len(group))).fit(
                # statsmodels multiplies by G/(G - 1) for each way too; its (n - 1)/(n - 1) is 1.
                cov_type="cluster",
                cov_kwds={"groups": group[["apparaat", "meetdag"]].to_numpy()},
            )
            assert ours["gemiddelde"] == pytest.approx(fit.params.iloc[0], rel=1e-12)
            assert ours["n"] == len(group)
            if fit.cov_params().iloc[0, 0] > 0:
                compared += 1
                assert ours["standaardfout"] == pytest.approx(fit.bse.iloc[0], rel=1e-10)
                few = min(group["apparaat"].nunique(), group["meetdag"].nunique())
                low, high = stats.t.interval(0.95, few - 1, fit.params.iloc[0], fit.bse.iloc[0])
                assert ours["ondergrens"] == pytest.approx(low, rel=1e-10)
                assert ours["bovengrens"] == pytest.approx(high, rel=1e-10)
        assert compared >= 6

    def test_one_way_agrees_with_statsmodels(self) -> None:
        # With the same clusters both ways the two-way variance is the one-way variance.
        rows = measurements(seed=2, groups=2, devices=12, days=20)
        rows = rows.assign(meetdag=rows["apparaat"])
        result = clustered_mean(summed(rows), GROUP)
        for (_, group), error in zip(rows.groupby(GROUP), result["standaardfout"], strict=True):
            fit = sm.OLS(group["w"], np.ones(len(group))).fit(
                cov_type="cluster", cov_kwds={"groups": group["apparaat"]}
            )
            assert error == pytest.approx(fit.bse.iloc[0], rel=1e-10)

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


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    """400 months of 30 devices on 30 days, the truth being 10."""
    return measurements(seed=3, groups=400, devices=30, days=30)


class TestCoverage:
    def test_two_ways(self, rows: pd.DataFrame) -> None:
        result = clustered_mean(summed(rows), GROUP)
        assert (result["status"] == "definitief").all()
        assert 0.92 <= coverage(result) <= 0.99

    def test_by_ride_alone_claims_too_much(self, rows: pd.DataFrame) -> None:
        by_ride = rows.assign(apparaat=rows["rit"], meetdag=rows["rit"])
        assert coverage(clustered_mean(summed(by_ride), GROUP)) < 0.75

    def test_by_device_alone_claims_too_much(self, rows: pd.DataFrame) -> None:
        by_device = rows.assign(meetdag=rows["apparaat"])
        assert coverage(clustered_mean(summed(by_device), GROUP)) < 0.85

    def test_rows_as_if_independent_claim_far_too_much(self, rows: pd.DataFrame) -> None:
        independent = rows.assign(apparaat=rows.index, meetdag=rows.index)
        assert coverage(clustered_mean(summed(independent), GROUP)) < 0.5


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
