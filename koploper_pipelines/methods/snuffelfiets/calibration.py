"""Sensors against reference stations: pairs, agreement, and a calibration that is judged honestly.

Here belongs what compares devices with stations. Belongs elsewhere: the background of an hour (`background`)
and what is made of a calibrated reading (`excess`).

A pair is a device near a station in one clock hour. A background station speaks for the quiet streets of a
neighbourhood, one beside a road for that road; so the first is compared with quiet cells within
`Nearness.background_m` and the second with busy cells within `Nearness.traffic_m`. Pairs of unlike places
would make the difference between a road and a park into a bias of the sensor, and take it away from every
figure.

A calibration is fitted to all devices together: single devices pass a station too seldom for a line of
their own. It is judged on devices and in weeks that it was not fitted on. Splitting by row would put the same
device, and the same hour, on both sides.

The line has the station on the axis and the sensor above it, since the sensor is what errs; it is then
inverted ("classical calibration"). The station's hourly values err too, which flattens an ordinary slope; so
the slope of an errors-in-variables regression stands beside it and is the one that corrects (Deming, with the
ratio of the two error variances given). Source: Carroll, Ruppert, Stefanski and Crainiceanu, "Measurement
Error in Nonlinear Models" (2006), chapter 3.
"""

from __future__ import annotations

from dataclasses import dataclass

import duckdb
import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import stdtrit  # type: ignore[import-untyped, unused-ignore]

from koploper_pipelines.methods.snuffelfiets.contrast import halves, week_of
from koploper_pipelines.methods.sums import fixed_point_sum

Floats = npt.NDArray[np.float64]

NONE, BIAS, LINE, HUMID_LINE = "ongeijkt", "afwijking", "lijn", "lijn_vocht"
MODELS = (BIAS, LINE, HUMID_LINE)
HUMIDITY_CENTRE_PCT = 60.0
_UPPER_TAIL = 0.975


@dataclass(frozen=True)
class Nearness:
    """How near a device must be to a station, by what the station stands for."""

    background_m: float = 1000.0
    """Urban background hardly differs over a kilometre."""
    traffic_m: float = 200.0
    """The air of a road is that of the road."""


@dataclass(frozen=True)
class CalibrationRules:
    """When devices count as calibrated, and how the line is fitted."""

    min_hours: int = 3
    """Hours near a station before a device counts as compared."""
    min_devices: int = 5
    """Compared devices before there is a calibration at all."""
    error_ratio: float = 1.0
    """Variance of the sensors' error over that of the stations'."""


@dataclass(frozen=True)
class Line:
    """A fitted calibration: sensor = intercept + slope * station + humidity * (RH - 60)."""

    model: str
    intercept: float = 0.0
    slope: float = 1.0
    humidity: float = 0.0

    def scaled(self, value: Floats, rh: Floats) -> Floats:
        """Readings on the stations' scale but for the intercept: the mean difference at stations is."""
        wet = self.humidity * (rh - HUMIDITY_CENTRE_PCT) if self.humidity else 0.0
        return (value - wet) / self.slope

    def corrected(self, value: Floats, rh: Floats) -> Floats:
        """Readings in µg/m³ as a station would have them."""
        return self.scaled(value, rh) - self.intercept / self.slope


def pairs(
    con: duckdb.DuckDBPyConnection,
    passages: duckdb.DuckDBPyRelation,
    referentie: duckdb.DuckDBPyRelation,
    stations: pd.DataFrame,
    cells: pd.DataFrame,
    near: Nearness,
) -> duckdb.DuckDBPyRelation:
    """One row a device, station and clock hour in which the device was near the station.

    Args:
        con: connection.
        passages: ``meetdag``, ``apparaat``, ``cel_100m``, ``uur``, ``aantal_metingen``, ``pm25_som_ug_m3``
        and
            ``luchtvochtigheid_gemiddelde_pct``.
        referentie: ``station``, ``uur_op`` (start, UTC), ``pm25_ug_m3``.
        stations: ``station``, ``stationstype``, ``rd_x_m``, ``rd_y_m``.
        cells: ``maand``, ``cel_100m`` and ``soort`` (``druk``, ``rustig``).
        near: greatest distances of the middle of a cell.

    Returns:
        ``maand``, ``apparaat``, ``station``, ``stationstype``, ``uur``, ``meetdag``, ``aantal_metingen``,
        ``pm25_ug_m3`` (mean of the device), ``luchtvochtigheid_pct`` (inside the device, NULL when unknown)
        and ``station_ug_m3``.
    """
    __passages, __referentie = passages, referentie
    __stations, __cellen = con.from_df(stations), con.from_df(cells)
    return con.sql(f"""
        WITH dichtbij AS (
            SELECT maand, cel_100m, station, stationstype
            FROM __cellen CROSS JOIN __stations
            WHERE (stationstype = 'achtergrond' AND soort = 'rustig' AND {_within(near.background_m)})
                OR (stationstype = 'verkeer' AND soort = 'druk' AND {_within(near.traffic_m)})
        ),
        gereden AS (
            SELECT strftime(p.meetdag, '%Y-%m') AS maand, apparaat, station, stationstype, uur,
                min(p.meetdag) AS meetdag,
                sum(aantal_metingen)::BIGINT AS aantal_metingen,
                {fixed_point_sum("pm25_som_ug_m3")} AS som,
                {fixed_point_sum("luchtvochtigheid_gemiddelde_pct * aantal_metingen")}
                    / nullif(sum(aantal_metingen) FILTER (luchtvochtigheid_gemiddelde_pct IS NOT NULL), 0)
                    AS luchtvochtigheid_pct
            -- Most passages are near no station: those go before anything is computed of them.
            FROM (SELECT * FROM __passages SEMI JOIN dichtbij USING (cel_100m)) AS p JOIN dichtbij AS d
                ON d.maand = strftime(p.meetdag, '%Y-%m') AND d.cel_100m = p.cel_100m
            GROUP BY ALL
        )
        SELECT maand, apparaat, g.station, g.stationstype, uur, g.meetdag, aantal_metingen,
            som / aantal_metingen AS pm25_ug_m3, luchtvochtigheid_pct, r.pm25_ug_m3 AS station_ug_m3
        FROM gereden AS g JOIN __referentie AS r ON r.station = g.station AND r.uur_op = g.uur
        ORDER BY maand, apparaat, g.station, uur
    """)


def _within(distance_m: float) -> str:
    x = "CAST(substr(cel_100m, 2, 4) AS INTEGER) * 100 + 50 - rd_x_m"
    y = "CAST(substr(cel_100m, 7, 4) AS INTEGER) * 100 + 50 - rd_y_m"
    return f"({x}) * ({x}) + ({y}) * ({y}) <= {distance_m * distance_m}"


def compared_devices(found: pd.DataFrame, rules: CalibrationRules) -> pd.DataFrame:
    """Devices that were near a station for long enough: ``maand`` and ``apparaat``, a row each."""
    hours = found.groupby(["maand", "apparaat"])["uur"].nunique()
    return hours[hours >= rules.min_hours].reset_index()[["maand", "apparaat"]]


def ordinary_slope(station: Floats, sensor: Floats) -> float:
    """Slope of the sensor on the station by ordinary least squares."""
    x = station - station.mean()
    return float(x @ (sensor - sensor.mean()) / (x @ x))


def deming_slope(station: Floats, sensor: Floats, error_ratio: float) -> float:
    """Slope when both err, with the variance of the sensor's error over the station's known (Deming 1943)."""
    x, y = station - station.mean(), sensor - sensor.mean()
    xx, yy, xy = x @ x, y @ y, x @ y
    half = yy - error_ratio * xx
    return float((half + np.sqrt(half * half + 4 * error_ratio * xy * xy)) / (2 * xy))


def fit(model: str, found: pd.DataFrame, rules: CalibrationRules) -> Line:
    """A calibration of all pairs together.

    Args:
        model: ``afwijking`` (the mean difference alone), ``lijn`` or ``lijn_vocht``.
        found: pairs with ``pm25_ug_m3``, ``station_ug_m3`` and, for ``lijn_vocht``, ``luchtvochtigheid_pct``.
        rules: for the ratio of the errors.

    Returns:
        The line. With humidity, slope and humidity effect are those of the regression on both; the slope is
        that of what humidity leaves of sensor and station (Frisch and Waugh).
    """
    x, y = found["station_ug_m3"].to_numpy(float), found["pm25_ug_m3"].to_numpy(float)
    if model == BIAS:
        return Line(BIAS, float((y - x).mean()))
    if model == LINE:
        slope = deming_slope(x, y, rules.error_ratio)
        return Line(LINE, float(y.mean() - slope * x.mean()), slope)
    wet = found["luchtvochtigheid_pct"].to_numpy(float) - HUMIDITY_CENTRE_PCT
    spread = wet - wet.mean()
    of_x, of_y = (float(spread @ (v - v.mean()) / (spread @ spread)) for v in (x, y))
    slope = deming_slope(x - of_x * spread, y - of_y * spread, rules.error_ratio)
    humidity = of_y - slope * of_x
    return Line(HUMID_LINE, float((y - slope * x - humidity * wet).mean()), slope, humidity)


def judged_elsewhere(model: str, found: pd.DataFrame, rules: CalibrationRules) -> pd.Series:
    """Corrected readings of each pair by a line fitted to other devices in other weeks.

    Args:
        model: as for `fit`.
        found: pairs with ``apparaat``, ``meetdag`` and the columns of `fit`.
        rules: as for `fit`.

    Returns:
        µg/m³ on the index of ``found``; missing where the opposite quarter has fewer than 2 devices or fewer
        than 10 pairs.
    """
    device, week = halves(found["apparaat"]), halves(week_of(found["meetdag"]))
    quarter = 2 * device + week
    result = pd.Series(np.nan, index=found.index)
    for own in range(4):
        fitted, judged = found[quarter == 3 - own], found[quarter == own]
        if len(fitted) < 10 or fitted["apparaat"].nunique() < 2:
            continue
        line = fit(model, fitted, rules)
        result[judged.index] = line.corrected(
            judged["pm25_ug_m3"].to_numpy(float), judged["luchtvochtigheid_pct"].to_numpy(float)
        )
    return result


def choose(found: pd.DataFrame, rules: CalibrationRules) -> Line | None:
    """The calibration that errs least on other devices in other weeks; the simpler one when it is a draw.

    Args:
        found: pairs of one month.
        rules: the rules.

    Returns:
        The line fitted to all pairs; None when fewer than `min_devices` devices were compared, or too few of
        them in too few weeks to judge.
    """
    found = found[found["luchtvochtigheid_pct"].notna()]
    if len(compared_devices(found, rules)) < rules.min_devices:
        return None
    errors = {}
    for model in MODELS:
        difference = judged_elsewhere(model, found, rules) - found["station_ug_m3"]
        if difference.isna().any():
            return None
        errors[model] = float(np.sqrt((difference**2).mean()))
    best = min(MODELS, key=lambda m: (round(errors[m], 2), MODELS.index(m)))
    return fit(best, found, rules)


def lines(found: pd.DataFrame, rules: CalibrationRules) -> dict[str, Line]:
    """The calibration of each month that has one, from pairs with ``maand``."""
    chosen = {str(month): choose(rows, rules) for month, rows in found.groupby("maand")}
    return {month: line for month, line in chosen.items() if line is not None}


def agreement(estimate: Floats, station: Floats) -> dict[str, float]:
    """Bias (mean of estimate minus station), RMSE, and R² as the squared correlation."""
    difference = estimate - station
    flat = min(estimate.std(), station.std()) == 0
    return {
        "afwijking_ug_m3": float(difference.mean()),
        "rmse_ug_m3": float(np.sqrt((difference**2).mean())),
        "r2": float("nan") if flat else float(np.corrcoef(estimate, station)[0, 1] ** 2),
    }


def slope_interval(found: pd.DataFrame, error_ratio: float | None) -> tuple[float, float, float]:
    """Slope of sensor on station with a 95% interval, by leaving out one device at a time.

    Pairs of one device hang together, so that the device is what is left out (the delete-a-group jackknife,
    which for a slope is CR3). Ordinary with `error_ratio` None, Deming else.

    Args:
        found: pairs with ``apparaat``, ``pm25_ug_m3``, ``station_ug_m3``; at least 3 devices.
        error_ratio: as in `CalibrationRules`, or None.

    Returns:
        Slope, lower and upper bound.
    """
    x, y = found["station_ug_m3"].to_numpy(float), found["pm25_ug_m3"].to_numpy(float)

    def slope(kept: npt.NDArray[np.bool_]) -> float:
        if error_ratio is None:
            return ordinary_slope(x[kept], y[kept])
        return deming_slope(x[kept], y[kept], error_ratio)

    device, names = pd.factorize(found["apparaat"], sort=True)
    number = len(names)
    whole = slope(np.full(len(x), True))
    without = np.array([slope(device != left_out) for left_out in range(number)])
    error = np.sqrt((number - 1) / number * ((without - whole) ** 2).sum())
    margin = float(error * stdtrit(number - 1, _UPPER_TAIL))
    return whole, whole - margin, whole + margin
