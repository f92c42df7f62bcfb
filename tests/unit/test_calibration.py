"""Sensors against stations: pairs, slopes against independent implementations, honest judging, the excess."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import duckdb
import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm  # type: ignore[import-untyped, unused-ignore]
from scipy import optimize, stats  # type: ignore[import-untyped, unused-ignore]

from koploper_pipelines.methods.snuffelfiets import calibration, excess
from koploper_pipelines.methods.snuffelfiets.calibration import CalibrationRules, Line, Nearness

pytestmark = pytest.mark.oracle

RULES = CalibrationRules()
FIRST_DAY = pd.Timestamp("2024-10-01")


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


def station_pairs(
    seed: int,
    devices: int = 20,
    days: int = 28,
    *,
    slope: float = 1.3,
    humidity: float = 0.0,
    bias_sd: float = 1.0,
    station_sd: float = 1.0,
) -> pd.DataFrame:
    """Pairs whose sensors read intercept 2, a slope, an effect of humidity, and a bias per device."""
    rng = np.random.default_rng(seed)
    device, day = np.nonzero(rng.random((devices, days)) < 0.4)
    truth = 9 * np.exp(rng.normal(0, 0.5, days))[day] * np.exp(rng.normal(0, 0.1, len(day)))
    rh = np.clip(rng.normal(70, 12, days)[day] + rng.normal(0, 3, len(day)), 30, 100)
    sensor = 2 + slope * truth + humidity * (rh - 60) + rng.normal(0, bias_sd, devices)[device]
    return pd.DataFrame(
        {
            "maand": "2024-10",
            "apparaat": [f"{d:03d}" for d in device],
            "station": "NL10643",
            "uur": FIRST_DAY + pd.to_timedelta(24 * day + 8, unit="h"),
            "meetdag": FIRST_DAY + pd.to_timedelta(day, unit="D"),
            "pm25_ug_m3": sensor + rng.normal(0, 1, len(day)),
            "luchtvochtigheid_pct": rh,
            "station_ug_m3": truth + rng.normal(0, station_sd, len(day)),
        }
    )


class TestPairs:
    STATIONS = pd.DataFrame(
        {
            "station": ["NL10643", "NL10636"],
            "stationstype": ["achtergrond", "verkeer"],
            "rd_x_m": [137_050.0, 136_850.0],
            "rd_y_m": [456_050.0, 456_450.0],
        }
    )
    HOUR = datetime(2024, 10, 1, 7, tzinfo=UTC)

    def found(self, con: duckdb.DuckDBPyConnection, passages: list[tuple[str, str, str]]) -> pd.DataFrame:
        rows = pd.DataFrame(passages, columns=["apparaat", "cel_100m", "soort"])
        cells = rows[["cel_100m", "soort"]].drop_duplicates().assign(maand="2024-10")
        made = rows.drop(columns="soort").assign(
            meetdag=self.HOUR.date(),
            uur=self.HOUR,
            aantal_metingen=2,
            pm25_som_ug_m3=[10.0 + 2 * i for i in range(len(rows))],
            luchtvochtigheid_gemiddelde_pct=70.0,
        )
        reference = pd.DataFrame(
            {
                "station": ["NL10643", "NL10636", "NL10643"],
                "uur_op": [self.HOUR, self.HOUR, self.HOUR + pd.Timedelta(hours=1)],
                "pm25_ug_m3": [6.0, 8.0, 99.0],
            }
        )
        pairs = calibration.pairs(
            con, con.from_df(made), con.from_df(reference), self.STATIONS, cells, Nearness()
        )
        frame: pd.DataFrame = pairs.df()
        return frame

    def test_background_is_compared_with_quiet_cells_and_a_road_with_busy_ones(
        self, con: duckdb.DuckDBPyConnection
    ) -> None:
        found = self.found(
            con,
            [
                ("a", "E1370N4560", "rustig"),
                ("a", "E1371N4560", "rustig"),
                ("b", "E1368N4564", "druk"),
                ("c", "E1372N4560", "druk"),  # near the background station, and no quiet street
                ("d", "E1382N4560", "rustig"),  # 1.2 km away
                ("e", "E1368N4568", "druk"),  # 400 m from the road
                ("f", "E1369N4560", "onbekend"),
            ],
        )
        told = found[["apparaat", "station", "aantal_metingen", "pm25_ug_m3", "station_ug_m3"]]
        assert list(told.itertuples(index=False, name=None)) == [
            ("a", "NL10643", 4, (10 + 12) / 4, 6.0),
            ("b", "NL10636", 2, 14 / 2, 8.0),
        ]

    def test_only_the_same_hour_counts(self, con: duckdb.DuckDBPyConnection) -> None:
        found = self.found(con, [("a", "E1370N4560", "rustig")])
        assert found["uur"].dt.tz_convert("UTC").tolist() == [pd.Timestamp(self.HOUR)]
        assert 99.0 not in set(found["station_ug_m3"])


class TestSlopes:
    def test_ordinary_is_that_of_scipy(self) -> None:
        pairs = station_pairs(1)
        x, y = pairs["station_ug_m3"].to_numpy(), pairs["pm25_ug_m3"].to_numpy()
        assert calibration.ordinary_slope(x, y) == pytest.approx(stats.linregress(x, y).slope, rel=1e-12)

    @pytest.mark.parametrize("ratio", [0.25, 1.0, 4.0])
    def test_deming_minimises_the_weighted_distances(self, ratio: float) -> None:
        pairs = station_pairs(2)
        x, y = pairs["station_ug_m3"].to_numpy(), pairs["pm25_ug_m3"].to_numpy()

        def distance(line: np.ndarray) -> float:
            return float(((y - line[0] - line[1] * x) ** 2).sum() / (ratio + line[1] ** 2))

        best = optimize.minimize(
            distance, [0.0, 1.0], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-9}
        )
        assert calibration.deming_slope(x, y, ratio) == pytest.approx(best.x[1], rel=1e-5)

    def test_errors_in_the_station_flatten_the_ordinary_slope_and_not_demings(self) -> None:
        slopes = []
        for seed in range(60):
            pairs = station_pairs(seed, bias_sd=0.0, slope=1.0, station_sd=1.0)
            x, y = pairs["station_ug_m3"].to_numpy(), pairs["pm25_ug_m3"].to_numpy()
            slopes.append((calibration.ordinary_slope(x, y), calibration.deming_slope(x, y, 1.0)))
        ordinary, deming = np.array(slopes).mean(axis=0)
        assert deming == pytest.approx(1.0, abs=0.01)
        assert ordinary < 0.98

    def test_interval_leaves_out_devices_and_not_rows(self) -> None:
        """Devices with slopes of their own: the interval holds their mean, one by row does not."""
        held = []
        for seed in range(80):
            rng = np.random.default_rng(seed)
            pairs = station_pairs(seed, devices=12, bias_sd=0.0, station_sd=0.0, slope=1.0)
            own = dict(zip(sorted(set(pairs["apparaat"])), rng.normal(0, 0.3, 12), strict=False))
            pairs["pm25_ug_m3"] += pairs["apparaat"].map(own) * (pairs["station_ug_m3"] - 9)
            _, low, high = calibration.slope_interval(pairs, None)
            by_row = pairs.assign(apparaat=[f"{i:05d}" for i in range(len(pairs))])
            _, low_row, high_row = calibration.slope_interval(by_row, None)
            held.append((low <= 1 <= high, low_row <= 1 <= high_row))
        by_device, by_row_share = np.array(held).mean(axis=0)
        assert 0.90 <= by_device <= 1.0
        assert by_row_share < 0.85


class TestFit:
    def test_line_with_humidity_is_that_of_a_regression_on_both_when_stations_do_not_err(self) -> None:
        pairs = station_pairs(3, humidity=0.1, station_sd=0.0)
        line = calibration.fit(calibration.HUMID_LINE, pairs, CalibrationRules(error_ratio=1e9))
        design = sm.add_constant(
            pd.DataFrame({"x": pairs["station_ug_m3"], "rh": pairs["luchtvochtigheid_pct"] - 60})
        )
        fitted = sm.OLS(pairs["pm25_ug_m3"], design).fit().params
        found = (line.intercept, line.slope, line.humidity)
        assert found == pytest.approx((fitted["const"], fitted["x"], fitted["rh"]), rel=1e-5)

    def test_corrected_readings_undo_the_line(self) -> None:
        line = Line(calibration.HUMID_LINE, 2.0, 1.3, 0.1)
        truth, rh = np.array([5.0, 20.0]), np.array([60.0, 90.0])
        reading = 2 + 1.3 * truth + 0.1 * (rh - 60)
        assert line.corrected(reading, rh) == pytest.approx(truth)

    def test_humidity_is_a_covariate_where_it_helps_elsewhere_and_only_there(self) -> None:
        chosen = {
            effect: [
                line.model
                for seed in range(10)
                if (line := calibration.choose(station_pairs(seed, humidity=effect), RULES)) is not None
            ]
            for effect in (0.0, 0.2)
        }
        assert set(chosen[0.2]) == {calibration.HUMID_LINE}
        assert chosen[0.0].count(calibration.HUMID_LINE) <= 5
        assert calibration.BIAS not in chosen[0.0]

    def test_few_devices_or_weeks_give_no_calibration(self) -> None:
        pairs = station_pairs(4)
        few = pairs[pairs["apparaat"].isin(sorted(set(pairs["apparaat"]))[:4])]
        one_week = pairs[pairs["meetdag"] < FIRST_DAY + pd.Timedelta(days=5)]
        assert calibration.choose(pairs, RULES) is not None
        assert calibration.choose(few, RULES) is None
        assert calibration.choose(one_week, RULES) is None
        assert calibration.choose(pairs.assign(luchtvochtigheid_pct=np.nan), RULES) is None

    def test_a_device_seen_too_short_is_not_calibrated(self) -> None:
        pairs = station_pairs(5)
        hours = pairs.groupby("apparaat")["uur"].nunique()
        compared = calibration.compared_devices(pairs, RULES)
        assert set(compared["apparaat"]) == set(hours.index[hours >= 3])
        assert (hours < 12).any()


class TestJudging:
    def test_judged_on_devices_and_weeks_that_the_line_has_not_seen(self) -> None:
        pairs = station_pairs(6)
        judged = calibration.judged_elsewhere(calibration.LINE, pairs, RULES)
        device = sorted(set(pairs["apparaat"]))[0]
        # Whatever is changed in a device or in its weeks changes nothing about the line that judges it.
        own = pairs["apparaat"] == device
        week = pairs.loc[own, "meetdag"].iloc[0]
        changed = pairs.copy()
        changed.loc[own, "station_ug_m3"] += 50
        again = calibration.judged_elsewhere(calibration.LINE, changed, RULES)
        same = own & (pairs["meetdag"] == week)
        assert judged[same].tolist() == again[same].tolist()
        assert (judged[~own] != again[~own]).any()

    def test_splitting_by_row_flatters(self) -> None:
        """A calibration that learned each device by heart: by row it looks good, elsewhere it does not."""
        by_row, elsewhere = [], []
        for seed in range(30):
            pairs = station_pairs(seed, bias_sd=4.0, slope=1.0)
            judged = calibration.judged_elsewhere(calibration.BIAS, pairs, RULES)
            elsewhere.append(float(np.sqrt(((judged - pairs["station_ug_m3"]) ** 2).mean())))
            difference = pairs["pm25_ug_m3"] - pairs["station_ug_m3"]
            half = np.arange(len(pairs)) % 2
            known = difference[half == 0].groupby(pairs["apparaat"]).mean()
            rest = pairs[(half == 1) & pairs["apparaat"].isin(known.index)]
            error = difference[rest.index] - rest["apparaat"].map(known)
            by_row.append(float(np.sqrt((error**2).mean())))
        # The devices' own spread is 4, and stays for whoever has no line of his own.
        assert np.mean(elsewhere) > 3.5
        assert np.mean(by_row) < 2.5

    def test_agreement(self) -> None:
        told = calibration.agreement(np.array([2.0, 4.0, 6.0]), np.array([1.0, 2.0, 3.0]))
        assert told == pytest.approx({"afwijking_ug_m3": 2.0, "rmse_ug_m3": (14 / 3) ** 0.5, "r2": 1.0})
        assert np.isnan(calibration.agreement(np.ones(3), np.array([1.0, 2.0, 3.0]))["r2"])


TRUE_EXCESS = 1.5


def riding(seed: int, pairs: pd.DataFrame, devices: int = 20, days: int = 28) -> pd.DataFrame:
    """Sums by device and day of riding 1.5 µg/m³ above the background, read by the devices of the pairs."""
    rng = np.random.default_rng(seed + 10_000)
    device, day = np.nonzero(rng.random((devices, days)) < 0.5)
    n = rng.integers(20, 200, len(day))
    background = 9 * np.exp(rng.normal(0, 0.4, days))[day]
    rh = np.clip(rng.normal(70, 12, days)[day], 30, 100)
    own = pairs.groupby("apparaat")["bias"].first().reindex([f"{d:03d}" for d in range(devices)]).fillna(0)
    level = background + TRUE_EXCESS + rng.normal(0, 0.8, len(day))
    reading = 2 + 1.3 * level + 0.1 * (rh - 60) + own.to_numpy()[device]
    return pd.DataFrame(
        {
            "maand": "2024-10",
            "gebied": "a",
            "apparaat": [f"{d:03d}" for d in device],
            "meetdag": FIRST_DAY + pd.to_timedelta(day, unit="D"),
            "n_achtergrond": n,
            "pm25_som": n * reading,
            "rv_som": n * rh,
            "achtergrond_som": n * background,
        }
    )


def biased_pairs(seed: int, bias_sd: float = 1.5) -> pd.DataFrame:
    pairs = station_pairs(seed, humidity=0.1, bias_sd=0.0, station_sd=0.5)
    rng = np.random.default_rng(seed + 20_000)
    devices = sorted(set(pairs["apparaat"]))
    bias = dict(zip(devices, rng.normal(0, bias_sd, len(devices)), strict=True))
    own = pairs["apparaat"].map(bias)
    return pairs.assign(bias=own, pm25_ug_m3=pairs["pm25_ug_m3"] + own)


def excess_of(sums: pd.DataFrame, pairs: pd.DataFrame, min_devices: int = 5) -> pd.Series:
    found: pd.Series = excess.over_background(
        sums,
        ["maand", "gebied"],
        calibration.lines(pairs, RULES),
        pairs,
        calibration.compared_devices(pairs, RULES),
        min_devices=min_devices,
    ).iloc[0]
    return found


def covered(months: int) -> tuple[float, float, float]:
    """Coverage, width against the truth's variance, and coverage without the correction."""
    held, uncorrected, width, estimates = [], [], [], []
    for seed in range(months):
        pairs = biased_pairs(seed)
        sums = riding(seed, pairs)
        told = excess_of(sums, pairs)
        low, high = told["pm25_verhoging_onder_ug_m3"], told["pm25_verhoging_boven_ug_m3"]
        held.append(low <= TRUE_EXCESS <= high)
        width.append(high - low)
        estimates.append(told["pm25_verhoging_ug_m3"])
        raw = (sums["pm25_som"].sum() - sums["achtergrond_som"].sum()) / sums["n_achtergrond"].sum()
        uncorrected.append(abs(raw - TRUE_EXCESS) <= (high - low) / 2)
    known = 2 * stats.norm.ppf(0.975) * float(np.std(estimates))
    return float(np.mean(held)), float(np.median(width)) / known, float(np.mean(uncorrected))


class TestExcess:
    def test_interval_holds_the_truth(self) -> None:
        held, width, uncorrected = covered(80)
        assert 0.88 <= held <= 1.0
        assert width <= 1.4
        assert uncorrected < 0.1

    @pytest.mark.full
    def test_interval_holds_the_truth_in_many_months(self) -> None:
        held, width, _ = covered(1500)
        assert 0.92 <= held <= 0.99
        assert width <= 1.3

    def test_uncalibrated_devices_are_not_pooled(self) -> None:
        pairs = biased_pairs(1)
        sums = riding(1, pairs)
        stranger = sums.iloc[:9].assign(apparaat="vreemd", pm25_som=lambda s: s["pm25_som"] * 10)
        told, alone = excess_of(pd.concat([sums, stranger]), pairs), excess_of(sums, pairs)
        assert told["pm25_verhoging_ug_m3"] == alone["pm25_verhoging_ug_m3"]
        assert told["aantal_apparaten_geijkt"] == alone["aantal_apparaten_geijkt"] > 5

    def test_without_reference_the_status_says_so_and_the_figure_is_missing(self) -> None:
        pairs = biased_pairs(2)
        sums = riding(2, pairs)
        nothing = sums.assign(n_achtergrond=0, pm25_som=0.0, rv_som=0.0, achtergrond_som=0.0)
        told = excess_of(nothing, pairs.iloc[:0])
        assert told[excess.STATUS] == "geen_referentie"
        assert told[list(excess.FIGURES)].isna().all()
        assert told["aantal_apparaten_geijkt"] == 0
        # With a background and no device that was ever compared it is another reason.
        assert excess_of(sums, pairs.iloc[:0])[excess.STATUS] == "niet_beschikbaar"

    def test_groups_with_and_without_reference_stand_beside_each_other(self) -> None:
        pairs = biased_pairs(3)
        sums = riding(3, pairs)
        nothing = sums.assign(gebied="b", n_achtergrond=0, pm25_som=0.0, rv_som=0.0, achtergrond_som=0.0)
        found = excess.over_background(
            pd.concat([sums, nothing]),
            ["maand", "gebied"],
            calibration.lines(pairs, RULES),
            pairs,
            calibration.compared_devices(pairs, RULES),
            min_devices=5,
        )
        assert found["gebied"].tolist() == ["a", "b"]
        assert found[excess.STATUS].tolist() == ["definitief", "geen_referentie"]
        assert found["pm25_verhoging_ug_m3"].notna().tolist() == [True, False]

    def test_background_and_excess_make_the_calibrated_level(self) -> None:
        pairs = biased_pairs(4)
        sums = riding(4, pairs)
        told = excess_of(sums, pairs)
        used = sums.merge(calibration.compared_devices(pairs, RULES), on=["maand", "apparaat"])
        line = calibration.lines(pairs, RULES)["2024-10"]
        reading = (used["pm25_som"] / used["n_achtergrond"]).to_numpy()
        rh = (used["rv_som"] / used["n_achtergrond"]).to_numpy()
        level = np.average(line.corrected(reading, rh), weights=used["n_achtergrond"])
        assert told["achtergrond_ug_m3"] + told["pm25_verhoging_ug_m3"] == pytest.approx(level, rel=1e-9)
