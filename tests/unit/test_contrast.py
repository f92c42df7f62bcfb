"""Busy against quiet within rides: the least squares of ride effects, and intervals that hold the truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm  # type: ignore[import-untyped, unused-ignore]
from scipy import stats  # type: ignore[import-untyped, unused-ignore]

from koploper_pipelines.methods.intervals import clustered_mean
from koploper_pipelines.methods.snuffelfiets import contrast, roads

pytestmark = pytest.mark.oracle

TRUE_CONTRAST = 2.0
CELLS = pd.DataFrame({"cel_100m": [f"E{1300 + i:04d}N4500" for i in range(60)]})
CELLS["is_druk"] = CELLS.index % 2 == 0
LISTED = CELLS.assign(soort=CELLS["is_druk"].map({True: roads.BUSY, False: roads.QUIET}))
FIRST_DAY = pd.Timestamp("2024-10-01")


@dataclass(frozen=True)
class Stratum:
    """A month: clusters, how the contrast differs by device and day, bias of devices, daily background."""

    devices: int
    days: int
    device_sd: float = 0.6
    day_sd: float = 0.6
    bias_sd: float = 1.0
    background_sd: float = 3.0
    rides_a_day: float = 0.5


STRATA = {
    "few clusters": Stratum(6, 12, rides_a_day=0.7),
    "many clusters": Stratum(40, 30),
    "biased devices": Stratum(15, 30, device_sd=0.8, bias_sd=4.0),
    "shared sky": Stratum(25, 20, day_sd=0.8, background_sd=8.0),
}
PASSAGES_A_RIDE = 8


def months(
    stratum: Stratum, seed: int, number: int = 1, *, true_contrast: float = TRUE_CONTRAST
) -> pd.DataFrame:
    """Passages of some months; within a ride only the road and noise differ."""
    rng = np.random.default_rng(seed)
    s = stratum
    maand, device, day = np.nonzero(rng.random((number, s.devices, s.days)) < s.rides_a_day)
    level = 9 + rng.normal(0, s.bias_sd, (number, s.devices))[maand, device]
    level = level + rng.normal(0, s.background_sd, (number, s.days))[maand, day]
    effect = true_contrast + rng.normal(0, s.device_sd, (number, s.devices))[maand, device]
    effect = effect + rng.normal(0, s.day_sd, (number, s.days))[maand, day]
    ride = np.repeat(np.arange(len(day)), PASSAGES_A_RIDE)
    along = np.tile(np.arange(PASSAGES_A_RIDE), len(day))
    cell = (rng.integers(0, 60, len(day))[ride] + along * rng.integers(1, 4, len(day))[ride]) % 60
    busy = CELLS["is_druk"].to_numpy()[cell]
    value = level[ride] + effect[ride] * busy + rng.normal(0, 1.2, len(ride))
    return pd.DataFrame(
        {
            "maand": maand[ride],
            "rit_id": ride,
            "apparaat": device[ride],
            "meetdag": FIRST_DAY + pd.to_timedelta(day[ride], unit="D"),
            "uur": FIRST_DAY + pd.to_timedelta(24 * day[ride] + 8, unit="h"),
            "cel_100m": CELLS["cel_100m"].to_numpy()[cell],
            "aantal_metingen": rng.integers(1, 4, len(ride)),
            "pm25_gemiddelde_ug_m3": value,
        }
    )


def intervals_of(passages: pd.DataFrame, found: pd.DataFrame, **broken: str) -> pd.DataFrame:
    """The interval of each month; `broken` puts another column in the place of a cluster."""
    of_ride = passages.groupby("rit_id")["maand"].first()
    changed = found.assign(**{k: found[v] for k, v in broken.items()})
    return clustered_mean(changed.assign(maand=found["rit_id"].map(of_ride)), ["maand"])


def coverage(intervals: pd.DataFrame, truth: float = TRUE_CONTRAST) -> float:
    return float(((intervals["ondergrens"] <= truth) & (intervals["bovengrens"] >= truth)).mean())


def check_stratum(stratum: Stratum, number: int, slack: float) -> None:
    passages = months(stratum, seed=40, number=number)
    found = contrast.within_rides(passages, LISTED)
    intervals = intervals_of(passages, found)
    assert len(intervals) == number
    assert 0.92 - slack <= coverage(intervals) <= 0.99 + slack
    mean = intervals["gemiddelde"]
    known = 2 * stats.norm.ppf(0.975) * mean.std()
    assert (intervals["bovengrens"] - intervals["ondergrens"]).median() <= 1.3 * known
    assert mean.mean() == pytest.approx(TRUE_CONTRAST, abs=4 * mean.sem())
    # Broken: rides taken for independent, though devices and days differ in their contrast.
    assert coverage(intervals_of(passages, found, apparaat="rit_id", meetdag="rit_id")) < 0.92 - slack
    # Broken: over all riding and not within rides, the level of each ride is noise in the contrast.
    weighted = passages.merge(LISTED, on="cel_100m")
    weighted["som"] = weighted["aantal_metingen"] * weighted["pm25_gemiddelde_ug_m3"]
    sums = weighted.groupby(["maand", "is_druk"])[["som", "aantal_metingen"]].sum()
    pooled = (sums["som"] / sums["aantal_metingen"]).unstack()
    assert (pooled[True] - pooled[False]).std() > 1.15 * mean.std()


class TestWithinRides:
    def test_is_least_squares_with_an_effect_for_each_ride_and_hour(self) -> None:
        passages = months(Stratum(6, 8), seed=1)
        # A ride over the full hour has two levels.
        late = passages.index % PASSAGES_A_RIDE > 4
        passages.loc[late, "uur"] += pd.Timedelta(hours=1)
        passages.loc[late, "pm25_gemiddelde_ug_m3"] += 3
        found = contrast.within_rides(passages, LISTED)
        known = passages.merge(LISTED, on="cel_100m")
        stretch = known["rit_id"].astype(str) + known["uur"].astype(str)
        design = pd.get_dummies(stretch, dtype=float).assign(
            druk=(known["soort"] == roads.BUSY).astype(float)
        )
        fit = sm.WLS(known["pm25_gemiddelde_ug_m3"], design, weights=known["aantal_metingen"]).fit()
        assert found["som"].sum() / found["n"].sum() == pytest.approx(fit.params["druk"], rel=1e-9)

    def test_what_all_passages_of_a_ride_share_makes_no_difference(self) -> None:
        passages = months(Stratum(6, 8), seed=2)
        biased = passages.assign(
            pm25_gemiddelde_ug_m3=passages["pm25_gemiddelde_ug_m3"] + 10 * (passages["apparaat"] % 3)
        )
        pd.testing.assert_frame_equal(
            contrast.within_rides(passages, LISTED), contrast.within_rides(biased, LISTED), rtol=1e-9
        )

    def test_rides_of_one_kind_of_cell_say_nothing(self) -> None:
        passages = months(Stratum(6, 8), seed=3)
        only_busy = passages.merge(LISTED[LISTED["is_druk"]][["cel_100m"]], on="cel_100m")
        assert contrast.within_rides(only_busy, LISTED).empty
        assert contrast.within_rides(passages, LISTED.assign(soort=roads.UNKNOWN)).empty

    @pytest.mark.parametrize("name", STRATA)
    def test_interval_holds_the_truth(self, name: str) -> None:
        # Of 150 months 95% is known to 1.8 percentage points.
        check_stratum(STRATA[name], number=150, slack=0.025)

    @pytest.mark.full
    @pytest.mark.parametrize("name", STRATA)
    def test_interval_holds_the_truth_in_many_months(self, name: str) -> None:
        check_stratum(STRATA[name], number=2000, slack=0.005)


class TestTrafficLike:
    def test_levels_are_least_squares_of_ride_and_cell(self) -> None:
        passages = months(Stratum(20, 20), seed=4)
        levels = roads.cell_levels(passages).set_index("cel_100m")["niveau_ug_m3"]
        design = pd.concat(
            [pd.get_dummies(passages[c], prefix=c, dtype=float) for c in ("rit_id", "cel_100m")], axis=1
        )
        # Levels are known up to a constant: that of the first cell is put at 0.
        design = design.drop(columns=f"cel_100m_{levels.index[0]}")
        fit = sm.WLS(passages["pm25_gemiddelde_ug_m3"], design, weights=passages["aantal_metingen"]).fit()
        expected = fit.params.reindex([f"cel_100m_{c}" for c in levels.index], fill_value=0.0)
        difference = levels.to_numpy() - expected.to_numpy()
        assert np.ptp(difference) < 0.02

    def test_main_roads_are_found(self) -> None:
        found = roads.traffic_like(months(STRATA["many clusters"], seed=5)).merge(CELLS, on="cel_100m")
        by_kind = found.groupby("soort")["is_druk"].mean()
        assert by_kind[roads.BUSY] == 1
        assert by_kind[roads.QUIET] == 0
        assert set(by_kind.index) == {roads.BUSY, roads.QUIET, roads.UNKNOWN}

    def test_cells_of_few_rides_stay_unknown(self) -> None:
        passages = months(Stratum(6, 8), seed=6)
        two_rides = passages["rit_id"].unique()[:2]
        found = roads.traffic_like(passages[passages["rit_id"].isin(two_rides)])
        assert set(found["soort"]) == {roads.UNKNOWN}

    def test_crossed_finds_the_contrast_without_a_list(self) -> None:
        found = [contrast.crossed(months(STRATA["many clusters"], seed)) for seed in range(10)]
        means = [f["som"].sum() / f["n"].sum() for f in found]
        # A few cells are told apart wrongly: what is found is rather too little than too much.
        assert 0.9 * TRUE_CONTRAST <= np.mean(means) <= TRUE_CONTRAST + 0.25

    def test_without_a_contrast_none_is_found(self) -> None:
        """Where all cells are alike, cells told apart by the same measurements show a contrast of noise."""
        stratum = Stratum(15, 28, device_sd=0, day_sd=0)
        rows = [months(stratum, seed, true_contrast=0.0) for seed in range(20)]
        crossed = pd.concat([intervals_of(m, contrast.crossed(m)) for m in rows])
        assert coverage(crossed, truth=0.0) >= 0.8
        assert crossed["gemiddelde"].mean() == pytest.approx(0, abs=4 * crossed["gemiddelde"].sem())
        # Counter-test: told apart and compared in the same measurements.
        circular = pd.concat([intervals_of(m, contrast.within_rides(m, roads.traffic_like(m))) for m in rows])
        assert coverage(circular, truth=0.0) < 0.05
        assert circular["gemiddelde"].mean() > 0.3

    def test_quarters_share_no_device_and_no_week(self) -> None:
        passages = months(Stratum(9, 30), seed=7)
        device = contrast.halves(passages["apparaat"])
        week = contrast.halves(contrast.week_of(passages["meetdag"]))
        for own in range(4):
            mine, other = (passages[2 * device + week == q] for q in (own, 3 - own))
            assert not set(mine["apparaat"]) & set(other["apparaat"])
            assert not set(contrast.week_of(mine["meetdag"])) & set(contrast.week_of(other["meetdag"]))

    def test_neither_the_order_of_rows_nor_codes_for_texts_make_a_difference(self) -> None:
        passages = months(STRATA["many clusters"], seed=9)
        expected = contrast.crossed(passages)
        shuffled = passages.sample(frac=1, random_state=1)
        coded = shuffled.astype({"rit_id": "category", "cel_100m": "category"})
        assert len(expected) > 100
        pd.testing.assert_frame_equal(contrast.crossed(shuffled), expected, check_exact=True)
        found = contrast.crossed(coded).astype({"rit_id": expected["rit_id"].dtype})
        pd.testing.assert_frame_equal(found, expected, check_exact=True)

    def test_one_week_or_one_device_gives_nothing(self) -> None:
        passages = months(Stratum(6, 30), seed=8)
        one_week = passages[passages["meetdag"] < FIRST_DAY + pd.Timedelta(days=5)]
        assert contrast.crossed(one_week).empty
        assert contrast.crossed(passages[passages["apparaat"] == 0]).empty
        assert list(contrast.crossed(one_week)) == list(contrast.crossed(passages))
