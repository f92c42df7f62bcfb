"""Air and weather of the simulated world, by UTC hour, the same for everyone.

Here belong what all riders and stations share: the background, the effects of road and humidity, the weather.
"""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
from scipy.signal import lfilter

from koploper_pipelines.simulation.snuffelfiets.arrays import Floats, Ints

ZONE = ZoneInfo("Europe/Amsterdam")
ROAD_TYPES = ("rustige_weg", "hoofdweg")
ROAD_EFFECT_UG_M3 = (0.0, 2.0)
HUMIDITY_FROM_PERCENT = 60.0
HUMIDITY_GROWTH_PER_PERCENT = 0.006
BACKGROUND_MEDIAN_UG_M3 = 9.0


@dataclass(frozen=True)
class World:
    """Hours of the window (UTC) with the shared air and weather; `level` is by local day."""

    first_day: date
    days: int
    start_s: float
    end_s: float
    first_hour: int
    level: Floats
    hour_factor: Floats
    background: Floats
    temperature: Floats
    humidity: Floats
    pressure: Floats

    def hour(self, seconds: Floats) -> Ints:
        """Index into the hourly arrays of UTC `seconds` since 1970."""
        return np.floor(seconds / 3600.0).astype(np.int64) - self.first_hour


def make_world(rng: np.random.Generator, last_day: date, days: int) -> World:
    """Draw the shared air and weather of some local days."""
    first_day = last_day - timedelta(days=days - 1)
    start_s, end_s = (midnight_s(day) for day in (first_day, last_day + timedelta(days=1)))
    first_hour = int(start_s // 3600)
    utc = pd.date_range(
        datetime.fromtimestamp(start_s, tz=ZoneInfo("UTC")), periods=int((end_s - start_s) // 3600), freq="h"
    )
    local = utc.tz_convert(ZONE)
    hour = local.hour.to_numpy()
    day = ((local.tz_localize(None).normalize() - pd.Timestamp(first_day)).days).to_numpy()
    level = BACKGROUND_MEDIAN_UG_M3 * np.exp(0.4 * autoregressive(rng, days, 0.6))
    hours = np.arange(24)
    hour_factor = 1 + 0.15 * np.cos(np.pi * (hours - 21) / 12) + 0.12 * np.cos(np.pi * (hours - 8) / 6)
    season = 7.5 * np.sin(2 * np.pi * (local.day_of_year.to_numpy() - 110) / 365.25)
    afternoon = np.cos(np.pi * (hour - 15) / 12)
    return World(
        first_day=first_day,
        days=days,
        start_s=start_s,
        end_s=end_s,
        first_hour=first_hour,
        level=level,
        hour_factor=hour_factor,
        background=level[day] * hour_factor[hour],
        temperature=10.5 + season + 4 * afternoon + 3 * autoregressive(rng, days, 0.8)[day],
        humidity=np.clip(78 - 12 * afternoon + 8 * autoregressive(rng, days, 0.6)[day], 35, 99),
        pressure=1014 + 8 * autoregressive(rng, days, 0.8)[day],
    )


def midnight_s(day: date) -> float:
    """UTC seconds since 1970 of the start of a local day."""
    return datetime.combine(day, time(), tzinfo=ZONE).timestamp()


def autoregressive(rng: np.random.Generator, size: int, rho: float) -> Floats:
    """Standard normal series whose neighbours correlate by `rho`."""
    noise = rng.standard_normal(size)
    noise[:1] /= np.sqrt(1 - rho**2)
    series: Floats = lfilter([np.sqrt(1 - rho**2)], [1.0, -rho], noise)
    return series
