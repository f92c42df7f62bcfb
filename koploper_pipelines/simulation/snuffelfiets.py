"""Snuffelfiets: simulated CKAN exports of bicycle sensors, and what really happened on those rides.

Here belongs the world that the sensors ride through (streets, rides, air), the device that measures it
(clock, packets, faults) and the files of both. Here does not belong: any reading or cleaning of the export.

Sources. The export layout, the scalings and the shares of faults are those of the test data of
MilieuCentrumUtrecht/Snuffelfiets (5,704 rows, 10 devices, November 2024) and of its quarterly report of
Q1 2024 (676,664 rows, 64 riders); device behaviour follows the firmware SodaqMoja/Sodaq_Sniffer_Bike; the
road-type effect of about 2 µg/m³ is that of Wesseling et al. 2021 (IJERPH 18(11):6007). Measured on the test
data and kept here: the error code belongs to a packet, not to a row; bit 32 marks a packet in which some row
had no position; a row without a position comes after a search of 120 seconds.

Truth files (Parquet, in `truth`):

* `rijen`: one row a raw row, by `_id`: true UTC time and position, riding or standing, distance ridden since
  departure, PM2.5 exposure, ride, road type and the planted fault (`fout`, several joined by `+`, else null);
* `ritten`: one row a ride: device, departure and arrival, distance (along the streets, and as the chain of
  true positions at the measuring moments), riding and standing time, group ride;
* `apparaten`: one row a device: firmware, bias, clock, home and work place;
* `dagen`, `uren`: level of the shared background by local day, and its factor by local hour of the day;
* `effecten`: the road-type and humidity effects.
"""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from itertools import groupby
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet
from scipy.signal import lfilter
from scipy.sparse import coo_array
from scipy.sparse.csgraph import shortest_path

from koploper_pipelines.simulation import Simulated

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
FilesPer = Literal["dag", "week", "maand", "alles"]

ZONE = ZoneInfo("Europe/Amsterdam")
FIRST_ID = 41_000_000
DEVICES = 60
DEMO_SEED = 2026

# --- the world -----------------------------------------------------------------------------------------

# Name, latitude, longitude, half width (m), weight as home, as work place and as destination of a trip.
# Hilversum and Culemborg lie outside the province.
PLACES = (
    ("Utrecht", 52.090, 5.120, 3000.0, 0.40, 0.50, 0.30),
    ("Amersfoort", 52.156, 5.388, 2000.0, 0.18, 0.20, 0.14),
    ("Zeist", 52.088, 5.233, 1500.0, 0.12, 0.10, 0.12),
    ("Nieuwegein", 52.030, 5.090, 1500.0, 0.12, 0.12, 0.10),
    ("Woerden", 52.086, 4.884, 1200.0, 0.09, 0.08, 0.08),
    ("De Bilt", 52.110, 5.181, 800.0, 0.04, 0.00, 0.07),
    ("Houten", 52.028, 5.168, 1000.0, 0.03, 0.00, 0.06),
    ("Soest", 52.174, 5.291, 1200.0, 0.02, 0.00, 0.07),
    ("Hilversum", 52.224, 5.176, 1500.0, 0.00, 0.00, 0.08),
    ("Culemborg", 51.955, 5.227, 1000.0, 0.00, 0.00, 0.05),
)
# From place, to place, road type; in a straight line from centre to centre.
CONNECTIONS = (
    (0, 2, 1),
    (0, 3, 1),
    (0, 4, 0),
    (0, 5, 0),
    (0, 6, 0),
    (2, 5, 0),
    (5, 7, 1),
    (1, 7, 0),
    (1, 2, 0),
    (3, 6, 0),
    (5, 8, 0),
    (6, 9, 1),
)
MAX_HOPS = 5
MAIN_GRID_M = 500.0
SIDE_GRID_M = 100.0
QUIET_WAY_SHARE = 0.5
STOP_EVERY_M = 800.0

ROAD_TYPES = ("rustige_weg", "hoofdweg")
ROAD_EFFECT_UG_M3 = (0.0, 2.0)
HUMIDITY_FROM_PERCENT = 60.0
HUMIDITY_GROWTH_PER_PERCENT = 0.006
BACKGROUND_MEDIAN_UG_M3 = 9.0
EXPOSURE_STEP_S = 20.0

# Kind of trip, how many a device can make in a day, and how many it makes on a working day and in a weekend.
# Together about 115 raw rows per device and day, as in Q1 2024.
KINDS = ("boodschap", "woon_werk", "ommetje", "nachtrit", "groepsrit")
SLOTS_PER_DAY = (3, 1, 3, 1, 1)
TRIPS_PER_WORKDAY = (0.030, 0.26, 0.020, 0.012, 0.05)
TRIPS_PER_WEEKEND_DAY = (0.058, 0.03, 0.050, 0.030, 0.25)
GROUP_SIZE = 3
DEVICES_PER_GROUP = 12

# --- the device ----------------------------------------------------------------------------------------

FIRMWARE = ((2, 3), (1, 5), (2, 3), (1, 6), (2, 3), (1, 8), (2, 3), (2, 3), (2, 3), (2, 3))
PACKET_ROWS = 11
TAIL_S = 600.0  # sampling goes on after the last motion
MAX_TAIL_S = 3600.0
SEARCH_S = (132.0, 135.0)  # between rows without a position
FORGET_AFTER_S = 7 * 86_400.0
RESYNC_S = 25.0
# Of the rides, such that 5% of all packets hold a row without a position.
COLD_START_SHARE = 0.20
INDOOR_SHARE = 0.36
# Of the rows: gaps of 15-20 and of 20-70 seconds.
SHORT_PAUSE_SHARE = 0.011
LONG_PAUSE_SHARE = 0.018
# Of the packets: missing (a gap of twelve intervals), late, and received as two.
LOST_PACKET_SHARE = 0.015
SLOW_PACKET_SHARE = 0.07
SPLIT_PACKET_SHARE = 0.034
WEAK_FIX_PACKET_SHARE = 0.006
PM_READ_FAILURE_SHARE = 0.145  # of the packets of firmware 1.5 and 1.6, which makes 3.5% of all
DUPLICATE_SHARE = 2e-4
WRONG_CLOCK_SHARE = 5e-5
ZERO_BLOCK_ROWS = 45
MAX_HACC_MM = 98_641.0

NO_FIX_BIT = 32
PM_READ_BIT = 2048
# Error code of a packet with missing parts, its share of all packets, and the fault's name.
MISSING_PARTS = (
    (533, 0.0030, "sensoren_ontbreken"),
    (512, 0.0010, "pm_ontbreekt"),
    (1, 0.0002, "versnellingsmeter_ontbreekt"),
    (4, 0.0002, "bme_ontbreekt"),
    (8, 0.0002, "bme_leesfout"),
    (16, 0.0002, "gps_ontbreekt"),
    (4096, 0.0002, "pm_onzeker"),
)
FAULTS = (
    *(name for _, _, name in MISSING_PARTS),
    "geen_fix",
    "zwakke_fix",
    "pm_leesfout",
    "pm_nul",
    "klok_1970",
    "klok_2106",
    "dubbel",
)
FAULT_BIT = {name: 1 << i for i, name in enumerate(FAULTS)}

COLUMNS = (
    "_id",
    "entity_id",
    "recording_timestamp",
    "receive_timestamp",
    "acc_max",
    "error_code",
    "horizontal_accuracy",
    "humidity",
    "latitude",
    "longitude",
    "no2",
    "pm10",
    "pm1_0",
    "pm2_5",
    "pressure",
    "temperature",
    "version_major",
    "version_minor",
    "vertical_accuracy",
    "voc",
    "voltage",
)


@dataclass(frozen=True)
class _Firmware:
    """What differs by firmware: sampling interval (s), zero runs, ratios and units of PM."""

    interval_s: tuple[float, float]  # mean and spread
    zero_share: float
    pm1_ratio: float
    pm10_ratio: float
    pm_scale: float


DEVICE_TYPES = {
    (1, 5): _Firmware((13.5, 0.25), 0.39, 0.885, 1.07, 1.0),
    (1, 6): _Firmware((13.5, 0.25), 0.01, 0.885, 1.07, 1.0),
    (1, 8): _Firmware((11.9, 0.15), 0.08, 0.79, 1.26, 1.0),
    (2, 3): _Firmware((11.5, 0.25), 0.025, 0.875, 1.133, 100.0),
}


@dataclass(frozen=True)
class _World:
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


@dataclass(frozen=True)
class _Tracks:
    """Where each track is at each moment, as broken lines laid end to end.

    Time runs over all tracks without a break (`knot_t`, with `knot_s` the distance then and `moving` for the
    piece after it); so does distance (`leg_s`, with position and road type of the piece after it).
    """

    start_t: Floats
    start_s: Floats
    duration_s: Floats
    riding_s: Floats
    length_m: Floats
    knot_t: Floats
    knot_s: Floats
    moving: Bools
    leg_s: Floats
    leg_lat: Floats
    leg_lon: Floats
    leg_road: Ints


@dataclass(frozen=True)
class _Samples:
    """One element a measuring moment, by device and time; `ride` indexes the rides."""

    ride: Ints
    device: Ints
    time_s: Floats
    elapsed_s: Floats
    lat: Floats
    lon: Floats
    is_moving: Bools
    ridden_m: Floats
    road: Ints
    exposure: Floats
    has_fix: Bools

    def take(self, which: Ints) -> "_Samples":
        """The samples at the indices `which`."""
        return _Samples(*(getattr(self, name)[which] for name in self.__dataclass_fields__))


@dataclass(frozen=True)
class _Delivery:
    """How each sample was sent: packet number, moment of receipt, error code, planted faults (bits)."""

    packet: Ints
    receive_s: Floats
    code: Ints
    fault: Ints


def simulate(
    inbox: Path,
    truth: Path,
    *,
    last_day: date,
    days: int,
    participants: int | None = None,
    seed: int,
    rows: int | None = None,
    files_per: FilesPer = "maand",
) -> Simulated:
    """Write simulated CKAN exports to `inbox` and the truth behind them to `truth`.

    The same arguments give the same bytes. Packets arrive up to seven days late, so the files may run on
    past `last_day`; nothing is measured after it.

    Args:
        inbox: folder for the CSV files; they appear under their final name only when complete.
        truth: folder for the Parquet files, outside `inbox`.
        last_day: last measurement day (Europe/Amsterdam).
        days: number of measurement days.
        participants: number of devices.
        seed: seed of all randomness.
        rows: number of raw rows to aim at (within 5% from 2,000 rows up); without it, the activity of Q1
            2024, about 115 rows per device and day.
        files_per: the period of receipt (UTC) that one file holds.

    Returns:
        The files written, by name, which is the order of receipt, and their number of rows.

    Raises:
        ValueError: if `truth` lies inside `inbox`, a number is not positive, or these devices cannot make
            `rows` rows in these days.
    """
    if truth.resolve().is_relative_to(inbox.resolve()):
        raise ValueError("the truth must not lie in the inbox")
    devices = DEVICES if participants is None else participants
    if min(days, devices, 1 if rows is None else rows) < 1:
        raise ValueError("days, participants and rows must be positive")
    rng = np.random.default_rng(seed)
    world = _world(rng, last_day, days)
    fleet = _fleet(rng, devices)
    trips = _trips(rng, fleet, world, rows)
    tracks = _tracks(rng, trips, fleet)
    rides = _rides(rng, trips, tracks, fleet, world, rows)
    samples = _samples(rng, rides, tracks, fleet, world)
    rides = _with_sampled_distance(rides, samples)
    samples, delivery = _send(rng, samples, fleet)
    raw, fault = _measure(rng, samples, delivery, fleet, world)
    order, fault = _order_of_arrival(rng, delivery, fault)
    ids = FIRST_ID + np.arange(len(order), dtype=np.int64)

    truth.mkdir(parents=True, exist_ok=True)
    inbox.mkdir(parents=True, exist_ok=True)
    _write_truth(truth, ids, samples.take(order), fault, rides, fleet, world)
    files = tuple(_write_files(inbox, ids, raw, delivery.receive_s, order, files_per))
    return Simulated(files=files, truth=truth, rows=len(order))


def demo(inbox: Path, folder: Path, *, first: date, last: date, now: datetime) -> Simulated:
    """Write to `inbox`, one file a month, what was received before the day of `now`.

    What arrives late is on its way still: days of receipt to come are not in the files. The truth goes below
    `folder`.
    """
    scratch = folder / "per_dag"
    shutil.rmtree(scratch, ignore_errors=True)
    made = simulate(
        scratch,
        folder / f"seed-{DEMO_SEED}",
        last_day=last,
        days=(last - first).days + 1,
        participants=DEVICES,
        seed=DEMO_SEED,
        files_per="dag",
    )
    received = [file for file in made.files if file.stem[-10:] < now.date().isoformat()]
    inbox.mkdir(parents=True, exist_ok=True)
    months = [list(files) for _, files in groupby(received, key=lambda f: f.stem[:-3])]
    joined = [_joined(files, inbox) for files in months]
    shutil.rmtree(scratch)
    return Simulated(tuple(f for f, _ in joined), made.truth, sum(rows for _, rows in joined))


def _joined(files: list[Path], folder: Path) -> tuple[Path, int]:
    """One CSV file of several with the same header, and its number of data rows."""
    unfinished = folder / f"{files[0].stem[:-3]}.csv.part"
    rows = 0
    with unfinished.open("wb") as joined:
        for number, file in enumerate(files):
            header, *lines = file.read_bytes().splitlines(keepends=True)
            joined.writelines(lines if number else [header, *lines])
            rows += len(lines)
    return unfinished.rename(unfinished.with_suffix("")), rows


# --- air and weather -----------------------------------------------------------------------------------


def _world(rng: np.random.Generator, last_day: date, days: int) -> _World:
    first_day = last_day - timedelta(days=days - 1)
    start_s, end_s = (_midnight_s(day) for day in (first_day, last_day + timedelta(days=1)))
    first_hour = int(start_s // 3600)
    utc = pd.date_range(
        datetime.fromtimestamp(start_s, tz=ZoneInfo("UTC")), periods=int((end_s - start_s) // 3600), freq="h"
    )
    local = utc.tz_convert(ZONE)
    hour = local.hour.to_numpy()
    day = ((local.tz_localize(None).normalize() - pd.Timestamp(first_day)).days).to_numpy()
    level = BACKGROUND_MEDIAN_UG_M3 * np.exp(0.4 * _autoregressive(rng, days, 0.6))
    hours = np.arange(24)
    hour_factor = 1 + 0.15 * np.cos(np.pi * (hours - 21) / 12) + 0.12 * np.cos(np.pi * (hours - 8) / 6)
    season = 7.5 * np.sin(2 * np.pi * (local.day_of_year.to_numpy() - 110) / 365.25)
    afternoon = np.cos(np.pi * (hour - 15) / 12)
    return _World(
        first_day=first_day,
        days=days,
        start_s=start_s,
        end_s=end_s,
        first_hour=first_hour,
        level=level,
        hour_factor=hour_factor,
        background=level[day] * hour_factor[hour],
        temperature=10.5 + season + 4 * afternoon + 3 * _autoregressive(rng, days, 0.8)[day],
        humidity=np.clip(78 - 12 * afternoon + 8 * _autoregressive(rng, days, 0.6)[day], 35, 99),
        pressure=1014 + 8 * _autoregressive(rng, days, 0.8)[day],
    )


def _midnight_s(day: date) -> float:
    return datetime.combine(day, time(), tzinfo=ZONE).timestamp()


def _autoregressive(rng: np.random.Generator, size: int, rho: float) -> Floats:
    """Standard normal series whose neighbours correlate by `rho`."""
    noise = rng.standard_normal(size)
    noise[:1] /= np.sqrt(1 - rho**2)
    series: Floats = lfilter([np.sqrt(1 - rho**2)], [1.0, -rho], noise)
    return series


# --- devices and riders --------------------------------------------------------------------------------


def _fleet(rng: np.random.Generator, devices: int) -> pd.DataFrame:
    """One row a device; places are indices into PLACES, with metres east and north of its centre."""
    n = devices
    firmware = np.resize(np.array(FIRMWARE), (n, 2))
    is_v2 = firmware[:, 0] == 2
    activity = np.exp(rng.normal(0, 0.5, n))
    for version in DEVICE_TYPES:
        # Keeps the firmware mix in rows that of the devices.
        same = (firmware == version).all(axis=1)
        activity[same] /= activity[same].mean() if same.any() else 1.0
    home_place = rng.choice(len(PLACES), n, p=_weights(4))
    work_place = _destination(rng, home_place, column=5, reach_m=7000.0)
    home, work = (_addresses(rng, place) for place in (home_place, work_place))
    groups = n // DEVICES_PER_GROUP if n >= DEVICES_PER_GROUP else n // GROUP_SIZE // 2
    index = np.arange(n)
    return pd.DataFrame(
        {
            "entity_id": _imeis(rng, n),
            "versie_major": firmware[:, 0],
            "versie_minor": firmware[:, 1],
            "thuis_plaats": home_place,
            "thuis_x": home[:, 0],
            "thuis_y": home[:, 1],
            "werk_plaats": work_place,
            "werk_x": work[:, 0],
            "werk_y": work[:, 1],
            "groep": np.where(index < groups * GROUP_SIZE, index // GROUP_SIZE, -1),
            "activiteit": activity,
            "snelheid_m_s": np.clip(rng.normal(4.4, 0.5, n), 3.4, 6.0),
            "vertrek_ochtend_s": rng.normal(7.9 * 3600, 900, n),
            "vertrek_middag_s": rng.normal(17.05 * 3600, 900, n),
            "bias_optellend_ug_m3": rng.normal(0, 0.5, n),
            "bias_vermenigvuldigend": np.clip(rng.normal(1.0, 0.09, n), 0.7, 1.3),
            # Only v2.3 runs ahead of the server, and drifts until it resyncs.
            "klok_voor_s": np.where(is_v2, rng.uniform(0, RESYNC_S, n), rng.uniform(-3, 1, n)),
            "klokdrift_s_per_uur": np.where(is_v2, rng.uniform(0, 0.3, n), 0.0),
            # Two batches of pressure sensors, one reading low and one reading high.
            "druk_afwijking_hpa": np.where(
                rng.random(n) < 0.5, rng.uniform(-25, -12, n), rng.uniform(17, 21, n)
            ),
            "voc_kohm": np.exp(rng.normal(np.log(100), 0.6, n)),
            "spanning": rng.uniform(100, 116, n),
        }
    )


def _weights(column: int) -> Floats:
    return np.array([place[column] for place in PLACES], dtype=np.float64)


def _imeis(rng: np.random.Generator, devices: int) -> Ints:
    """Distinct 15-digit numbers whose last digit is the Luhn check digit."""
    body = 35 * 10**12 + rng.choice(10**12, devices, replace=False)
    digits = body[:, None] // 10 ** np.arange(14) % 10
    doubled = digits[:, ::2] * 2
    total = (doubled // 10 + doubled % 10).sum(axis=1) + digits[:, 1::2].sum(axis=1)
    return np.asarray(body * 10 + -total % 10, dtype=np.int64)


def _destination(rng: np.random.Generator, origin: Ints, *, column: int, reach_m: float) -> Ints:
    """A place for each origin, the likelier the heavier (weight in `column`) and the nearer."""
    lat, lon = _weights(1), _weights(2)
    away = _distance_m(lat[:, None], lon[:, None], lat, lon)
    pull = _weights(column) * np.exp(-away / reach_m)
    chance = np.cumsum(pull / pull.sum(axis=1, keepdims=True), axis=1)
    return np.asarray((chance[origin, :-1] < rng.random(len(origin))[:, None]).sum(axis=1), dtype=np.int64)


def _addresses(rng: np.random.Generator, place: Ints) -> Floats:
    """Points on side streets (which run east-west), thickest round the centre; metres, shape (n, 2)."""
    half = _weights(3)[place][:, None]
    point = np.clip(rng.normal(0, 0.45, (len(place), 2)) * half, -half, half)
    street = np.floor(point[:, 1] / SIDE_GRID_M)
    street += street % round(MAIN_GRID_M / SIDE_GRID_M) == 0
    return np.column_stack([np.round(point[:, 0]), street * SIDE_GRID_M])


# --- trips ---------------------------------------------------------------------------------------------


def _trips(rng: np.random.Generator, fleet: pd.DataFrame, world: _World, rows: int | None) -> pd.DataFrame:
    """All trips that may be ridden, each with its way and its local time of departure."""
    intents = _intents(rng, fleet, world)
    if rows is None:
        # However few the devices and days, somebody sets out.
        intents = intents[intents["urgentie"] <= max(1.0, intents["urgentie"].min())]
    else:
        # A ride makes at least 60 rows, so that this is several times what will be needed.
        intents = intents.nsmallest(rows // 30 + 200, "urgentie")
    # Errands first, so that the indices by which their ways back point to the ways there stay true.
    makers = (_errands, _commutes, _rounds, _night_rides, _group_rides)
    parts = [
        maker(rng, intents[intents["soort"] == kind].reset_index(drop=True), fleet)
        for kind, maker in enumerate(makers)
    ]
    return pd.concat(parts, ignore_index=True)


def _intents(rng: np.random.Generator, fleet: pd.DataFrame, world: _World) -> pd.DataFrame:
    """Every trip that a device could make on a day, with an urgency: the lower, the sooner ridden."""
    day = np.arange(world.days)
    is_weekend = (world.first_day.weekday() + day) % 7 >= 5
    leaders = np.flatnonzero(fleet["groep"].to_numpy() >= 0)[::GROUP_SIZE]
    parts = []
    for kind, slots in enumerate(SLOTS_PER_DAY):
        riders = leaders if KINDS[kind] == "groepsrit" else np.arange(len(fleet))
        device, at = (grid.ravel() for grid in np.meshgrid(riders, np.repeat(day, slots)))
        wish = np.where(is_weekend, TRIPS_PER_WEEKEND_DAY[kind], TRIPS_PER_WORKDAY[kind])
        wish = wish[at] * fleet["activiteit"].to_numpy()[device]
        urgency = rng.exponential(size=len(at)) / wish
        parts.append(pd.DataFrame({"soort": kind, "apparaat": device, "dag": at, "urgentie": urgency}))
    return pd.concat(parts, ignore_index=True)


def _trip(
    intents: pd.DataFrame,
    origin: tuple[Ints, Floats],
    destination: tuple[Ints, Floats],
    wall_s: Floats,
    *,
    is_round: bool = False,
) -> pd.DataFrame:
    """Trips from origin to destination (place, metres) leaving at local `wall_s`, in seconds of the day."""
    return intents.assign(
        van_plaats=origin[0],
        van_x=origin[1][:, 0],
        van_y=origin[1][:, 1],
        naar_plaats=destination[0],
        naar_x=destination[1][:, 0],
        naar_y=destination[1][:, 1],
        wand_s=wall_s,
        is_rondje=is_round,
        na_trip=-1,
        verblijf_s=0.0,
    )


def _base(fleet: pd.DataFrame, device: Ints, what: str) -> tuple[Ints, Floats]:
    """Place and metres of the devices' `thuis` or `werk`."""
    rows = fleet.iloc[device]
    return rows[f"{what}_plaats"].to_numpy(), rows[[f"{what}_x", f"{what}_y"]].to_numpy()


def _commutes(rng: np.random.Generator, intents: pd.DataFrame, fleet: pd.DataFrame) -> pd.DataFrame:
    device = intents["apparaat"].to_numpy()
    home, work = _base(fleet, device, "thuis"), _base(fleet, device, "werk")
    morning, evening = (
        fleet[f"vertrek_{part}_s"].to_numpy()[device] + rng.normal(0, spread, len(device))
        for part, spread in (("ochtend", 400), ("middag", 800))
    )
    there, back = _trip(intents, home, work, morning), _trip(intents, work, home, evening)
    return pd.concat([there, back])


def _errands(rng: np.random.Generator, intents: pd.DataFrame, fleet: pd.DataFrame) -> pd.DataFrame:
    device = intents["apparaat"].to_numpy()
    home = _base(fleet, device, "thuis")
    shop = (home[0], _addresses(rng, home[0]))
    leave = np.clip(rng.normal(13.5 * 3600, 8000, len(device)), 9.5 * 3600, 20.5 * 3600)
    stay = 900 + rng.exponential(2400, len(device))
    there, back = _trip(intents, home, shop, leave), _trip(intents, shop, home, leave)
    return pd.concat([there, back.assign(na_trip=np.arange(len(device)), verblijf_s=stay)])


def _rounds(rng: np.random.Generator, intents: pd.DataFrame, fleet: pd.DataFrame) -> pd.DataFrame:
    device = intents["apparaat"].to_numpy()
    home = _base(fleet, device, "thuis")
    place = _destination(rng, home[0], column=6, reach_m=6000.0)
    in_evening = rng.random(len(device)) < 0.35
    leave = np.where(
        in_evening, rng.normal(19.7 * 3600, 2400, len(device)), rng.normal(14 * 3600, 5400, len(device))
    )
    return _trip(intents, home, (place, _addresses(rng, place)), leave, is_round=True)


def _night_rides(rng: np.random.Generator, intents: pd.DataFrame, fleet: pd.DataFrame) -> pd.DataFrame:
    device = intents["apparaat"].to_numpy()
    home = _base(fleet, device, "thuis")
    place = _destination(rng, home[0], column=6, reach_m=3000.0)
    leave = rng.normal(23.6 * 3600, 2700, len(device))
    return _trip(intents, (place, _addresses(rng, place)), home, leave)


def _group_rides(rng: np.random.Generator, intents: pd.DataFrame, fleet: pd.DataFrame) -> pd.DataFrame:
    """Rounds from the first member's home; a device has no more than one a day, at ten in the morning."""
    device = intents["apparaat"].to_numpy()
    home = _base(fleet, device, "thuis")
    place = _destination(rng, home[0], column=6, reach_m=9000.0)
    leave = rng.normal(10.2 * 3600, 600, len(device))
    return _trip(intents, home, (place, _addresses(rng, place)), leave, is_round=True)


# --- streets -------------------------------------------------------------------------------------------


def _metres_per_degree(lat: Floats) -> tuple[Floats, Floats]:
    """Metres per degree of latitude and longitude on the WGS84 ellipsoid (series in the latitude)."""
    phi = np.radians(lat)
    north = 111132.954 - 559.822 * np.cos(2 * phi) + 1.175 * np.cos(4 * phi)
    east = 111412.84 * np.cos(phi) - 93.5 * np.cos(3 * phi) + 0.118 * np.cos(5 * phi)
    return north, east


def _distance_m(lat_a: Floats, lon_a: Floats, lat_b: Floats, lon_b: Floats) -> Floats:
    """Distance over some kilometres, with the metres per degree halfway."""
    north, east = _metres_per_degree((lat_a + lat_b) / 2)
    return np.asarray(np.hypot((lat_b - lat_a) * north, (lon_b - lon_a) * east), dtype=np.float64)


def _network() -> tuple[Ints, Ints]:
    """The connections between places.

    Returns:
        Places passed from place to place, padded with the last, (n, n, MAX_HOPS), and the road type between
        neighbours, (n, n).
    """
    lat, lon = _weights(1), _weights(2)
    a, b, road = np.array(CONNECTIONS).T
    n = len(PLACES)
    graph = coo_array((_distance_m(lat[a], lon[a], lat[b], lon[b]), (a, b)), shape=(n, n))
    _, before = shortest_path(graph, directed=False, return_predecessors=True)
    origin, at = np.indices((n, n))
    # Backwards from the destination; before the origin there is nothing, and the walk stays there.
    walk = [at]
    for _ in range(MAX_HOPS - 1):
        walk.append(np.where(walk[-1] == origin, origin, before[origin, walk[-1]]))
    between = np.zeros((n, n), dtype=np.int64)
    between[a, b] = between[b, a] = road
    return np.asarray(np.stack(walk[::-1], axis=2), dtype=np.int64), between


def _route(rng: np.random.Generator, trips: pd.DataFrame, a: str, b: str) -> tuple[Floats, Floats, Ints]:
    """Corner points of the way from `a` to `b` (`van`, `naar`): latitude, longitude, road type after each.

    A side street, a street across, a street along, a street across and a side street; to another place,
    through the centres. Streets that are a multiple of 500 m off the centre are main roads; half of the
    rides take the nearest street and half the nearest main road, on either side.
    """
    n = len(trips)
    place_a, place_b = trips[f"{a}_plaats"].to_numpy(), trips[f"{b}_plaats"].to_numpy()
    xa, ya, xb, yb = (trips[name].to_numpy() for name in (f"{a}_x", f"{a}_y", f"{b}_x", f"{b}_y"))
    in_town = place_a == place_b
    grid = np.where(rng.random(n) < QUIET_WAY_SHARE, SIDE_GRID_M, MAIN_GRID_M)
    column_a, column_b = (grid * (np.floor(end / grid) + rng.integers(0, 2, n)) for end in (xa, xb))
    row = np.where(in_town, grid * np.round((ya + (yb - ya) * rng.random(n)) / grid), 0.0)
    centre = np.where(in_town, column_b, 0.0)
    hops_of, between = _network()
    hops = hops_of[place_a, place_b]
    x = np.column_stack([xa, column_a, column_a, *[centre] * MAX_HOPS, column_b, column_b, xb])
    y = np.column_stack([ya, ya, row, *[row] * MAX_HOPS, row, yb, yb])
    place = np.column_stack([place_a, place_a, place_a, hops, place_b, place_b, place_b])

    quiet = np.zeros(n, dtype=np.int64)
    across_a, along, across_b = (np.where(at % MAIN_GRID_M == 0, 1, 0) for at in (column_a, row, column_b))
    road = np.column_stack(
        [quiet, across_a, along, between[hops[:, :-1], hops[:, 1:]], along, across_b, quiet, quiet]
    )
    lat, lon = _weights(1)[place], _weights(2)[place]
    north, east = _metres_per_degree(lat)
    return lat + y / north, lon + x / east, road


def _tracks(rng: np.random.Generator, trips: pd.DataFrame, fleet: pd.DataFrame) -> _Tracks:
    """The way and the course in time of each trip; a round goes out and back by its own ways."""
    lat, lon, road = _route(rng, trips, "van", "naar")
    back_lat, back_lon, back_road = _route(rng, trips, "naar", "van")
    one_way = ~trips["is_rondje"].to_numpy()
    back_lat[one_way] = lat[one_way, -1:]
    back_lon[one_way] = lon[one_way, -1:]
    lat, lon, road = np.hstack([lat, back_lat]), np.hstack([lon, back_lon]), np.hstack([road, back_road])
    leg_m = _distance_m(lat[:, :-1], lon[:, :-1], lat[:, 1:], lon[:, 1:])
    length = leg_m.sum(axis=1)
    rider = trips["apparaat"].to_numpy()
    speed = fleet["snelheid_m_s"].to_numpy()[rider] * np.exp(rng.normal(0, 0.06, len(trips)))

    dt, ds, moving, in_ride, first = _phases(rng, length, speed)
    knot_t, knot_s = (np.concatenate([[0.0], np.cumsum(step)]) for step in (dt, ds))
    track = np.repeat(np.arange(len(trips)), np.diff(np.append(first, len(dt))))

    start_s = knot_s[first]
    is_corner = np.hstack([leg_m > 0, np.ones((len(trips), 1), dtype=bool)])
    along = np.hstack([np.zeros((len(trips), 1)), np.cumsum(leg_m, axis=1)]) + start_s[:, None]
    return _Tracks(
        start_t=knot_t[first],
        start_s=start_s,
        duration_s=np.asarray(np.bincount(track[in_ride], dt[in_ride], len(trips)), dtype=np.float64),
        riding_s=np.asarray(np.bincount(track[moving], dt[moving], len(trips)), dtype=np.float64),
        length_m=length,
        knot_t=knot_t,
        knot_s=knot_s,
        moving=moving,
        leg_s=along[is_corner],
        leg_lat=lat[is_corner],
        leg_lon=lon[is_corner],
        leg_road=road[is_corner],
    )


def _phases(
    rng: np.random.Generator, length: Floats, speed: Floats
) -> tuple[Floats, Floats, Bools, Bools, Ints]:
    """Riding, waiting at lights, ..., riding, tail and a joint of 1 m, for all tracks end to end.

    Returns:
        Seconds and metres of each phase, whether it is riding, whether it is riding or waiting, and the
        index of each track's first phase.
    """
    tracks = len(length)
    stops = rng.poisson(length / STOP_EVERY_M)
    owner = np.repeat(np.arange(tracks), stops)
    at = rng.random(len(owner)) * length[owner]
    at = at[np.lexsort((at, owner))]

    pieces = stops + 1
    piece_owner = np.repeat(np.arange(tracks), pieces)
    last_piece = np.cumsum(pieces) - 1
    end = np.empty(len(piece_owner))
    is_last = np.zeros(len(end), dtype=bool)
    is_last[last_piece] = True
    end[is_last], end[~is_last] = length, at
    begin = np.concatenate([[0.0], end[:-1]])
    begin[last_piece - stops] = 0.0

    phases = 2 * stops + 3
    first = np.cumsum(phases) - phases
    within = np.arange(phases.sum()) - np.repeat(first, phases)
    is_tail = within == np.repeat(phases - 2, phases)
    is_joint = within == np.repeat(phases - 1, phases)
    in_ride = ~is_tail & ~is_joint
    is_riding = (within % 2 == 0) & in_ride
    dt, ds = np.ones(len(within)), np.zeros(len(within))
    ds[is_riding], ds[is_joint] = end - begin, 1.0
    pace = speed[piece_owner] * np.exp(rng.normal(0, 0.08, len(end)))
    dt[is_riding] = (end - begin) / pace
    dt[in_ride & ~is_riding] = np.clip(rng.exponential(25, len(at)), 4, 120)
    dt[is_tail] = MAX_TAIL_S
    return dt, ds, is_riding, in_ride, first


# --- rides ---------------------------------------------------------------------------------------------


def _rides(
    rng: np.random.Generator,
    trips: pd.DataFrame,
    tracks: _Tracks,
    fleet: pd.DataFrame,
    world: _World,
    rows: int | None,
) -> pd.DataFrame:
    """The rides that are made, by device and time: one a trip, and one a member for a group's trip."""
    members = np.where(trips["soort"] == KINDS.index("groepsrit"), GROUP_SIZE, 1)
    track = np.repeat(np.arange(len(trips)), members)
    member = np.arange(len(track)) - np.repeat(np.cumsum(members) - members, members)
    n = len(track)
    duration = tracks.duration_s[track]
    searches = np.where(rng.random(n) < COLD_START_SHARE, rng.integers(1, 4, n), 0)
    is_indoor = rng.random(n) < INDOOR_SHARE
    tail = np.where(is_indoor, np.minimum(TAIL_S + rng.exponential(900, n), MAX_TAIL_S), TAIL_S)
    rides = pd.DataFrame(
        {
            "track": track,
            "apparaat": trips["apparaat"].to_numpy()[track] + member,
            "soort": trips["soort"].to_numpy()[track],
            "samen": np.where(members[track] > 1, track, -1),
            "urgentie": trips["urgentie"].to_numpy()[track],
            "vertrek_s": _departures(rng, trips, tracks, world)[track],
            "duur_s": duration,
            "rijtijd_s": tracks.riding_s[track],
            "afstand_m": tracks.length_m[track],
            "zoekt": searches,
            # Indoors the last fix is soon after arrival.
            "fix_tot_s": duration + np.where(is_indoor, rng.uniform(5, 60, n), tail),
            "einde_s": duration + tail,
        }
    )
    first, last = rides["vertrek_s"], rides["vertrek_s"] + rides["einde_s"]
    # A minute on either side, so that a clock that is off does not leave the window.
    rides = _without_overlap(rides[(first > world.start_s + 60) & (last < world.end_s - 60)])
    if rows is not None:
        rides = _closest_to(rides, rows, fleet)
    return rides.sort_values(["apparaat", "vertrek_s"]).reset_index(drop=True)


def _departures(rng: np.random.Generator, trips: pd.DataFrame, tracks: _Tracks, world: _World) -> Floats:
    """UTC seconds of departure; a way back starts after the way there and the stay."""
    wall = trips["wand_s"].to_numpy(copy=True)
    after = trips["na_trip"].to_numpy()
    is_back = after >= 0
    there = after[is_back]
    wall[is_back] = wall[there] + tracks.duration_s[there] + trips["verblijf_s"].to_numpy()[is_back]
    local = pd.Timestamp(world.first_day) + pd.to_timedelta(trips["dag"], unit="D")
    local += pd.to_timedelta(np.round(wall, 3), unit="s")
    # In autumn, 02:00-03:00 comes twice: the ride is in either one.
    utc = pd.DatetimeIndex(local).tz_localize(
        ZONE, ambiguous=rng.random(len(trips)) < 0.5, nonexistent="shift_forward"
    )
    return np.asarray((utc - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(seconds=1), dtype=np.float64)


def _without_overlap(rides: pd.DataFrame) -> pd.DataFrame:
    """Rides of which a device has one at a time: of two that overlap, the less urgent is not made."""
    rides = rides.sort_values(["apparaat", "vertrek_s"])
    while True:
        device, urgency = rides["apparaat"].to_numpy(), rides["urgentie"].to_numpy()
        start = rides["vertrek_s"].to_numpy()
        end = start + rides["einde_s"].to_numpy()
        clash = (device[1:] == device[:-1]) & (end[:-1] + 60 > start[1:])
        if not clash.any():
            return rides
        drop = np.zeros(len(rides), dtype=bool)
        drop[1:] |= clash & (urgency[1:] >= urgency[:-1])
        drop[:-1] |= clash & (urgency[1:] < urgency[:-1])
        rides = rides[~drop]


def _closest_to(rides: pd.DataFrame, rows: int, fleet: pd.DataFrame) -> pd.DataFrame:
    """The most urgent rides that make about `rows` raw rows."""
    rides = rides.sort_values("urgentie", kind="stable")
    expected = _expected_rows(rides, fleet) * (1 - LOST_PACKET_SHARE)
    total = np.cumsum(expected)
    unsent = 0.0
    for _ in range(2):
        count = int(np.searchsorted(total, rows + unsent))
        if count == len(rides):
            most = int(total[-1]) if count else 0
            raise ValueError(
                f"{rows} rows are more than {len(fleet)} devices can make in these days: {most} at most"
            )
        unsent = _expected_unsent(rides.iloc[:count])
    chosen = np.arange(count)
    missing = rows + unsent - (total[count - 1] if count else 0.0)
    filler = count + int(np.argmin(np.abs(expected[count:] - missing)))
    if abs(expected[filler] - missing) < abs(missing):
        chosen = np.append(chosen, filler)
    return rides.iloc[chosen]


def _expected_rows(rides: pd.DataFrame, fleet: pd.DataFrame) -> Floats:
    pause = SHORT_PAUSE_SHARE * 6 + LONG_PAUSE_SHARE * 34
    gap = _by_device(fleet, "interval_s")[rides["apparaat"].to_numpy(), 0] + pause
    search = sum(SEARCH_S) / 2
    searches = rides["zoekt"].to_numpy()
    fix_from = np.where(searches > 0, search * (searches - 1) + 70, 0.0)
    fix_to, end = rides["fix_tot_s"].to_numpy(), rides["einde_s"].to_numpy()
    with_fix = np.maximum(fix_to - fix_from, 0.0) / gap + 0.5
    return np.asarray(searches + with_fix + np.maximum((end - fix_to) / search - 0.5, 0.0), dtype=np.float64)


def _expected_unsent(rides: pd.DataFrame) -> float:
    """Rows left in the devices: on average half a packet each time a device falls silent."""
    rides = rides.sort_values(["apparaat", "vertrek_s"])
    device, start = rides["apparaat"].to_numpy(), rides["vertrek_s"].to_numpy()
    end = start + rides["einde_s"].to_numpy()
    falls_silent = (device[1:] != device[:-1]) | (start[1:] - end[:-1] > FORGET_AFTER_S)
    return (PACKET_ROWS - 1) / 2 * (1 + float(falls_silent.sum()))


def _by_device(fleet: pd.DataFrame, field: str) -> Floats:
    """A field of the firmware's `_Firmware`, one row a device."""
    versions = zip(fleet["versie_major"], fleet["versie_minor"], strict=True)
    return np.array([getattr(DEVICE_TYPES[version], field) for version in versions], dtype=np.float64)


# --- measuring moments ---------------------------------------------------------------------------------


def _samples(
    rng: np.random.Generator, rides: pd.DataFrame, tracks: _Tracks, fleet: pd.DataFrame, world: _World
) -> _Samples:
    ride, elapsed, has_fix = _moments(rng, rides, fleet)
    track = rides["track"].to_numpy()[ride]
    clock = tracks.start_t[track] + elapsed
    along = np.interp(clock, tracks.knot_t, tracks.knot_s)
    piece = np.searchsorted(tracks.knot_t, clock, side="right") - 1
    leg = np.searchsorted(tracks.leg_s, along, side="right") - 1
    time_s = rides["vertrek_s"].to_numpy()[ride] + elapsed
    road = tracks.leg_road[leg]
    local = world.background[world.hour(time_s)] * _local_air(rng, rides, ride, elapsed)
    return _Samples(
        ride=ride,
        device=rides["apparaat"].to_numpy()[ride],
        time_s=time_s,
        elapsed_s=elapsed,
        lat=np.interp(along, tracks.leg_s, tracks.leg_lat),
        lon=np.interp(along, tracks.leg_s, tracks.leg_lon),
        is_moving=tracks.moving[piece],
        ridden_m=np.minimum(along - tracks.start_s[track], tracks.length_m[track]),
        road=road,
        exposure=local + np.array(ROAD_EFFECT_UG_M3)[road],
        has_fix=has_fix,
    )


def _moments(
    rng: np.random.Generator, rides: pd.DataFrame, fleet: pd.DataFrame
) -> tuple[Ints, Floats, Bools]:
    """Ride, seconds since departure and whether there is a fix, for each measuring moment, in order.

    Without a fix the device first searches for 120 seconds, so such rows lie 132 to 135 seconds apart: up
    to three at a cold start, and the whole tail when the bicycle stands indoors.
    """
    searches = rides["zoekt"].to_numpy()
    fix_to, end = rides["fix_tot_s"].to_numpy(), rides["einde_s"].to_numpy()

    cold, cold_step = _repeat_steps(rng, searches, SEARCH_S)
    cold_s = _since_first(cold, cold_step)
    fix_from = np.zeros(len(rides))
    np.maximum.at(fix_from, cold, cold_s)
    fix_from += np.where(searches > 0, rng.uniform(20, 125, len(rides)), 0.0)
    fix_to = np.maximum(fix_to, fix_from)

    interval = _by_device(fleet, "interval_s")[rides["apparaat"].to_numpy()]
    most = np.ceil((fix_to - fix_from) / 11.0).astype(np.int64) + 1
    warm = np.repeat(np.arange(len(rides)), most)
    step = rng.normal(interval[warm, 0], interval[warm, 1])
    # Recorded in whole seconds, this gives 11 to 14.
    step = np.clip(step, 11.02, 13.98)
    pause = rng.random(len(warm))
    is_short, is_long = pause < SHORT_PAUSE_SHARE, pause > 1 - LONG_PAUSE_SHARE
    step[is_short] += rng.uniform(4, 8, is_short.sum())
    step[is_long] += rng.uniform(10, 58, is_long.sum())
    warm_s = fix_from[warm] + _since_first(warm, step)
    kept = warm_s <= fix_to[warm]
    warm, warm_s = warm[kept], warm_s[kept]

    most = np.maximum((end - fix_to) / SEARCH_S[0], 0).astype(np.int64)
    dark, dark_step = _repeat_steps(rng, most, SEARCH_S)
    dark_s = fix_to[dark] + SEARCH_S[0] + _since_first(dark, dark_step)
    kept = dark_s <= end[dark]
    dark, dark_s = dark[kept], dark_s[kept]

    ride, elapsed = np.concatenate([cold, warm, dark]), np.concatenate([cold_s, warm_s, dark_s])
    has_fix = np.repeat([False, True, False], [len(cold), len(warm), len(dark)])
    order = np.lexsort((elapsed, ride))
    return ride[order], elapsed[order], has_fix[order]


def _repeat_steps(
    rng: np.random.Generator, counts: Ints, between: tuple[float, float]
) -> tuple[Ints, Floats]:
    """Each index `counts` times, with a step drawn between two bounds for each."""
    index = np.repeat(np.arange(len(counts)), counts)
    return index, rng.uniform(*between, len(index))


def _since_first(group: Ints, steps: Floats) -> Floats:
    """Total of `steps` since the first element of each run of equal `group` (sorted)."""
    total = np.cumsum(steps)
    return np.asarray(total - total[np.searchsorted(group, group)], dtype=np.float64)


def _local_air(rng: np.random.Generator, rides: pd.DataFrame, ride: Ints, elapsed: Floats) -> Floats:
    """Factor of the local air, the same for all who ride together."""
    track = rides["track"].to_numpy()
    steps = np.zeros(track.max(initial=-1) + 1, dtype=np.int64)
    np.maximum.at(steps, track, (rides["einde_s"].to_numpy() / EXPOSURE_STEP_S).astype(np.int64) + 1)
    first = np.cumsum(steps) - steps
    wave = _autoregressive(rng, int(steps.sum()), 0.8)
    at = first[track[ride]] + (elapsed / EXPOSURE_STEP_S).astype(np.int64)
    return np.asarray(np.exp(0.12 * wave[at]), dtype=np.float64)


def _with_sampled_distance(rides: pd.DataFrame, samples: _Samples) -> pd.DataFrame:
    """The rides with the length of the chain of true positions at their measuring moments."""
    step = _distance_m(samples.lat[:-1], samples.lon[:-1], samples.lat[1:], samples.lon[1:])
    same = samples.ride[1:] == samples.ride[:-1]
    return rides.assign(
        meetmomenten=np.bincount(samples.ride, minlength=len(rides)),
        meetpunten_m=np.bincount(samples.ride[1:][same], step[same], len(rides)),
    )


# --- packets -------------------------------------------------------------------------------------------


def _send(rng: np.random.Generator, samples: _Samples, fleet: pd.DataFrame) -> tuple[_Samples, _Delivery]:
    """The samples that reach the server, and how.

    A device sends when it has 11 rows and keeps what is left for its next ride, for a week at most. A packet
    that does not arrive is gone (UDP). The error code is the packet's: each row bears what befell any.
    """
    packet, is_full = _packets(samples)
    n = int(packet.max(initial=-1)) + 1
    arrives = rng.random(n) >= LOST_PACKET_SHARE
    sent = np.flatnonzero(is_full & arrives[packet])
    samples, packet = samples.take(sent), packet[sent]

    last_row = np.zeros(n)
    np.maximum.at(last_row, packet, samples.time_s)
    delay = 2.4 + rng.exponential(0.3, n)
    delay += np.where(rng.random(n) < SLOW_PACKET_SHARE, rng.uniform(5, 120, n), 0.0)
    receive = np.round((last_row + delay)[packet], 3)
    # The server takes some packets in as two, a millisecond apart.
    cut = np.where(rng.random(n) < SPLIT_PACKET_SHARE, rng.integers(1, PACKET_ROWS, n), PACKET_ROWS)
    row = np.arange(len(packet)) % PACKET_ROWS
    receive += np.where(row >= cut[packet], 0.001, 0.0)

    code, fault = _errors(rng, samples, packet, n, fleet)
    return samples, _Delivery(packet=packet, receive_s=receive, code=code, fault=fault)


def _packets(samples: _Samples) -> tuple[Ints, Bools]:
    """Packet number of each sample, and whether that packet was filled."""
    n = len(samples.device)
    new = np.ones(n, dtype=bool)
    new[1:] = (np.diff(samples.device) != 0) | (np.diff(samples.time_s) > FORGET_AFTER_S)
    first = np.flatnonzero(new)
    size = np.diff(np.append(first, n))
    within = np.arange(n) - np.repeat(first, size)
    packets = -(-size // PACKET_ROWS)
    packet = np.repeat(np.cumsum(packets) - packets, size) + within // PACKET_ROWS
    is_full = within // PACKET_ROWS < np.repeat(size // PACKET_ROWS, size)
    return packet, is_full


def _errors(
    rng: np.random.Generator, samples: _Samples, packet: Ints, n: int, fleet: pd.DataFrame
) -> tuple[Ints, Ints]:
    """Error code and planted faults (bits) of each row, from its packet's."""
    device = np.zeros(n, dtype=np.int64)
    device[packet] = samples.device
    version = fleet["versie_major"].to_numpy() * 10 + fleet["versie_minor"].to_numpy()
    has_gap = np.zeros(n, dtype=bool)
    has_gap[packet[~samples.has_fix]] = True
    has_gap |= rng.random(n) < WEAK_FIX_PACKET_SHARE
    cannot_read = np.isin(version[device], (15, 16)) & (rng.random(n) < PM_READ_FAILURE_SHARE)
    code = NO_FIX_BIT * has_gap + PM_READ_BIT * cannot_read
    fault = np.where(cannot_read, FAULT_BIT["pm_leesfout"], 0)[packet]
    fault[has_gap[packet]] |= FAULT_BIT["zwakke_fix"]
    fault[~samples.has_fix] ^= FAULT_BIT["zwakke_fix"] | FAULT_BIT["geen_fix"]

    draw = rng.random(n)
    edge = 0.0
    for missing, share, name in MISSING_PARTS:
        # More often, because only packets without another fault can get it.
        hit = (draw >= edge) & (draw < edge + 1.1 * share) & (code == 0)
        edge += 1.1 * share
        code[hit] = missing
        fault[hit[packet]] |= FAULT_BIT[name]
    return code[packet], fault


# --- readings ------------------------------------------------------------------------------------------


def _measure(
    rng: np.random.Generator, samples: _Samples, delivery: _Delivery, fleet: pd.DataFrame, world: _World
) -> tuple[dict[str, Any], Ints]:
    """The raw columns but `_id` and `receive_timestamp`, and all planted faults."""
    device, code = samples.device, delivery.code
    fault = delivery.fault | np.where(code & 512 > 0, 0, _zero_runs(rng, samples, fleet))
    hour = world.hour(samples.time_s)
    n = len(device)
    cooling = np.exp(-samples.elapsed_s / 600)
    outside = world.temperature[hour] + 4
    temperature = outside + (np.maximum(outside, 20.0) - outside) * cooling + rng.normal(0, 0.2, n)
    humidity = np.clip(world.humidity[hour] - 8 + rng.normal(0, 1.5, n), 15, 99)
    pressure = world.pressure[hour] + fleet["druk_afwijking_hpa"].to_numpy()[device] + rng.normal(0, 0.7, n)
    voc = fleet["voc_kohm"].to_numpy()[device] * (1 - 0.97 * np.exp(-samples.elapsed_s / 400))
    voltage = fleet["spanning"].to_numpy()[device] - samples.elapsed_s / 1200 + rng.normal(0, 0.6, n)
    shaken = rng.random(n) / np.where(samples.is_moving, 0.045, 0.006)
    acc_max = np.where(shaken < 1, np.minimum(1 - np.log(shaken) / 1.5, 14), 0)
    has_no_bme = code & (4 | 8) > 0
    has_no_gps = (fault & FAULT_BIT["geen_fix"] > 0) | (code & 16 > 0)
    pm1, pm25, pm10 = _particles(rng, samples, humidity, fleet)
    has_no_pm = (code & 512 > 0) | (fault & FAULT_BIT["pm_nul"] > 0)
    lat, lon, h_acc, v_acc = _fixes(rng, samples, code & NO_FIX_BIT > 0)
    recorded, fault = _recorded(rng, samples, fault, fleet, world)
    raw = {
        "entity_id": fleet["entity_id"].to_numpy()[device],
        "recording_timestamp": recorded.astype("datetime64[s]"),
        "acc_max": _whole(acc_max, code & 1 > 0),
        "error_code": code,
        "horizontal_accuracy": _whole(h_acc, has_no_gps),
        "humidity": _whole(humidity, has_no_bme),
        "latitude": np.where(has_no_gps, 0.0, np.round(lat, 7)),
        "longitude": np.where(has_no_gps, 0.0, np.round(lon, 7)),
        "no2": np.zeros(n, dtype=np.int64),
        "pm10": _whole(pm10, has_no_pm),
        "pm1_0": _whole(pm1, has_no_pm),
        "pm2_5": _whole(pm25, has_no_pm),
        "pressure": _whole(pressure, has_no_bme),
        "temperature": _whole(temperature * 10, has_no_bme),
        "version_major": fleet["versie_major"].to_numpy()[device],
        "version_minor": fleet["versie_minor"].to_numpy()[device],
        "vertical_accuracy": _whole(v_acc, has_no_gps),
        "voc": _whole(voc, has_no_bme),
        "voltage": _whole(voltage, np.zeros(n, dtype=bool)),
    }
    return raw, fault


def _whole(values: Floats, is_missing: Bools) -> Ints:
    """Values rounded down, and 0 where the part is missing."""
    return np.where(is_missing, 0, np.floor(values)).astype(np.int64)


def _zero_runs(rng: np.random.Generator, samples: _Samples, fleet: pd.DataFrame) -> Ints:
    """Runs of rows in which the sensor gives 0, as often as the firmware does."""
    n = len(samples.device)
    block = np.arange(n) // ZERO_BLOCK_ROWS
    is_zero = rng.random(n // ZERO_BLOCK_ROWS + 1)[block] < _by_device(fleet, "zero_share")[samples.device]
    return np.where(is_zero, FAULT_BIT["pm_nul"], 0)


def _particles(
    rng: np.random.Generator, samples: _Samples, humidity: Floats, fleet: pd.DataFrame
) -> tuple[Floats, Floats, Floats]:
    """PM1, PM2.5 and PM10 as the device counts them: biased, swollen by humidity, in its own unit."""
    device, n = samples.device, len(samples.device)
    swollen = 1 + HUMIDITY_GROWTH_PER_PERCENT * np.maximum(humidity - HUMIDITY_FROM_PERCENT, 0)
    reading = fleet["bias_optellend_ug_m3"].to_numpy()[device]
    reading += fleet["bias_vermenigvuldigend"].to_numpy()[device] * samples.exposure * swollen
    reading += rng.normal(0, 0.2 + 0.05 * samples.exposure)
    pm25 = np.maximum(reading, 0.0)
    pm1 = pm25 * np.clip(rng.normal(_by_device(fleet, "pm1_ratio")[device], 0.04, n), 0.3, 1.0)
    pm10 = pm25 * np.clip(rng.normal(_by_device(fleet, "pm10_ratio")[device], 0.04, n), 1.0, 2.0)
    scale = _by_device(fleet, "pm_scale")[device]
    # Half a unit up, because the columns are rounded down.
    return pm1 * scale + 0.5, pm25 * scale + 0.5, pm10 * scale + 0.5


def _fixes(
    rng: np.random.Generator, samples: _Samples, is_weak: Bools
) -> tuple[Floats, Floats, Floats, Floats]:
    """Latitude, longitude (degrees) and their accuracies (mm); errors wander rather than jump."""
    n = len(samples.lat)
    wave = _autoregressive(rng, n, 0.91)
    middle = np.where(is_weak, 27_472.0, 7_274.0)
    spread = np.where(is_weak, 0.55, np.where(wave < 0, 0.46, 0.82))
    h_acc = np.clip(middle * np.exp(spread * wave), 2_000, MAX_HACC_MM)
    v_acc = np.clip(h_acc * np.exp(rng.normal(0.2, 0.3, n)), 2_000, MAX_HACC_MM)
    north, east = _metres_per_degree(samples.lat)
    error_m = 0.35 * h_acc / 1000
    lat = samples.lat + error_m * _autoregressive(rng, n, 0.85) / north
    lon = samples.lon + error_m * _autoregressive(rng, n, 0.85) / east
    return lat, lon, h_acc, v_acc


def _recorded(
    rng: np.random.Generator, samples: _Samples, fault: Ints, fleet: pd.DataFrame, world: _World
) -> tuple[Floats, Ints]:
    """The device clock (UTC seconds), and the faults with those of a clock gone astray."""
    ahead = fleet["klok_voor_s"].to_numpy()[samples.device]
    drift = fleet["klokdrift_s_per_uur"].to_numpy()[samples.device]
    # Beyond 25 seconds the device takes over GPS time.
    ahead = np.where(drift > 0, (ahead + drift * (samples.time_s - world.start_s) / 3600) % RESYNC_S, ahead)
    recorded = np.floor(samples.time_s + ahead)
    fault = fault.copy()
    sound = np.flatnonzero(fault == 0)
    astray = rng.choice(sound, min(max(2, round(WRONG_CLOCK_SHARE * len(fault))), len(sound)), replace=False)
    half = len(astray) // 2
    recorded[astray[:half]] = np.floor(samples.elapsed_s[astray[:half]])
    recorded[astray[half:]] = 2.0**32 - 1 - np.floor(samples.elapsed_s[astray[half:]])
    fault[astray[:half]] |= FAULT_BIT["klok_1970"]
    fault[astray[half:]] |= FAULT_BIT["klok_2106"]
    return recorded, fault


def _order_of_arrival(rng: np.random.Generator, delivery: _Delivery, fault: Ints) -> tuple[Ints, Ints]:
    """Indices of the rows in the order in which they were stored, some twice, and their faults.

    Storing takes a moment, so that the order is not quite that of receipt.
    """
    n = len(delivery.packet)
    first = np.arange(0, n, PACKET_ROWS)
    stored = np.repeat(delivery.receive_s[first] + rng.exponential(0.3, len(first)), PACKET_ROWS)
    order = np.argsort(stored, kind="stable")
    sound = np.flatnonzero(fault[order] == 0)
    twice = rng.choice(sound, min(max(2, round(DUPLICATE_SHARE * n)), len(sound)), replace=False)
    times = np.ones(n, dtype=np.int64)
    times[twice] = 2
    order, last_of = np.repeat(order, times), np.cumsum(times) - 1
    fault = fault[order]
    fault[last_of[twice]] |= FAULT_BIT["dubbel"]
    return order, fault


# --- files ---------------------------------------------------------------------------------------------


def _write_files(
    inbox: Path, ids: Ints, raw: dict[str, Any], receive_s: Floats, order: Ints, files_per: FilesPer
) -> Iterator[Path]:
    """One CSV file a period of receipt, its rows by `_id`."""
    receive = _moment(receive_s[order])
    days, day = np.unique(receive.astype("datetime64[D]"), return_inverse=True)
    names, period = np.unique([_period(item, files_per) for item in days.tolist()], return_inverse=True)
    for index, name in enumerate(names):
        inside = np.flatnonzero(period[day] == index)
        columns = {name: values[order[inside]] for name, values in raw.items()}
        columns |= {"_id": ids[inside], "receive_timestamp": receive[inside]}
        table = pa.table([_as_text(columns[name]) for name in COLUMNS], names=list(COLUMNS))
        yield _write_csv(table, inbox / f"metingen_{name}.csv")


def _period(day: date, files_per: FilesPer) -> str:
    names = {"dag": "%Y-%m-%d", "week": "%G-W%V", "maand": "%Y-%m", "alles": "alles"}
    return day.strftime(names[files_per])


def _as_text(values: npt.NDArray[Any]) -> pa.Array:
    """Values as the export writes them: ISO timestamps with a T, floats with at least one decimal."""
    array = pa.array(values)
    if values.dtype.kind == "M":
        return pc.binary_replace_slice(array.cast(pa.string()), 10, 11, "T")
    if values.dtype.kind == "f":
        text = array.cast(pa.string())
        return pc.if_else(pc.match_substring(text, "."), text, pc.binary_join_element_wise(text, "0", "."))
    return array


def _write_csv(table: pa.Table, path: Path) -> Path:
    """The file under its final name only when complete, so that no reader sees half of it."""
    unfinished = path.with_name(f".{path.name}.deel")
    with unfinished.open("wb") as file:
        file.write((",".join(table.column_names) + "\r\n").encode())
        options = pa.csv.WriteOptions(
            include_header=False, quoting_style="none", eol="\r\n", batch_size=65_536
        )
        pa.csv.write_csv(table, file, options)
    os.replace(unfinished, path)
    return path


def _moment(seconds: Floats) -> npt.NDArray[np.datetime64]:
    """UTC seconds since 1970 as timestamps in microseconds."""
    return np.round(seconds * 1e6).astype("datetime64[us]")


def _write_truth(
    truth: Path,
    ids: Ints,
    samples: _Samples,
    fault: Ints,
    rides: pd.DataFrame,
    fleet: pd.DataFrame,
    world: _World,
) -> None:
    entities = fleet["entity_id"].astype(str)
    frames = {
        "ritten": _ride_truth(rides, entities, samples.ride),
        "apparaten": _device_truth(fleet, entities),
        "dagen": pd.DataFrame(
            {
                "dag": [world.first_day + timedelta(days=day) for day in range(world.days)],
                "achtergrond_ug_m3": world.level,
            }
        ),
        "uren": pd.DataFrame({"uur": np.arange(24), "factor": world.hour_factor}),
        "effecten": _effects(),
    }
    tables = {name: pa.Table.from_pandas(frame, preserve_index=False) for name, frame in frames.items()}
    tables["rijen"] = _row_truth(ids, samples, fault, entities)
    for name, table in tables.items():
        pa.parquet.write_table(table, truth / f"{name}.parquet", compression="zstd")


def _row_truth(ids: Ints, samples: _Samples, fault: Ints, entities: "pd.Series[str]") -> pa.Table:
    masks, which = np.unique(fault, return_inverse=True)
    labels = ["+".join(name for name, bit in FAULT_BIT.items() if mask & bit) or None for mask in masks]
    return pa.table(
        {
            "_id": ids,
            "entity_id": pa.DictionaryArray.from_arrays(samples.device, entities.tolist()).cast(pa.string()),
            "tijd_utc": pa.array(_moment(samples.time_s), pa.timestamp("us", "UTC")),
            "breedtegraad": samples.lat,
            "lengtegraad": samples.lon,
            "is_rijdend": samples.is_moving,
            "gereden_m": samples.ridden_m,
            "pm25_ug_m3": samples.exposure,
            "rit": samples.ride,
            "wegtype": pa.DictionaryArray.from_arrays(samples.road, list(ROAD_TYPES)).cast(pa.string()),
            "fout": pa.array(labels, pa.string()).take(pa.array(which)),
        }
    )


def _ride_truth(rides: pd.DataFrame, entities: "pd.Series[str]", ride_of_row: Ints) -> pd.DataFrame:
    start = rides["vertrek_s"].to_numpy()
    duration = rides["duur_s"].to_numpy()
    return pd.DataFrame(
        {
            "rit": rides.index,
            "entity_id": entities.to_numpy()[rides["apparaat"]],
            "soort": np.array(KINDS)[rides["soort"]],
            "vertrek_utc": pd.to_datetime(_moment(start), utc=True),
            "aankomst_utc": pd.to_datetime(_moment(start + duration), utc=True),
            "afstand_m": rides["afstand_m"],
            "afstand_meetpunten_m": rides["meetpunten_m"],
            "rijtijd_s": rides["rijtijd_s"],
            "stilstand_s": duration - rides["rijtijd_s"],
            "samen": rides["samen"].astype("Int64").where(rides["samen"] >= 0),
            "meetmomenten": rides["meetmomenten"],
            "rijen": np.bincount(ride_of_row, minlength=len(rides)),
        }
    )


def _device_truth(fleet: pd.DataFrame, entities: "pd.Series[str]") -> pd.DataFrame:
    places = {}
    for what in ("thuis", "werk"):
        place, at = _base(fleet, np.arange(len(fleet)), what)
        lat = _weights(1)[place]
        north, east = _metres_per_degree(lat)
        places[f"{what}_breedtegraad"] = lat + at[:, 1] / north
        places[f"{what}_lengtegraad"] = _weights(2)[place] + at[:, 0] / east
    return pd.DataFrame(
        {
            "entity_id": entities,
            "firmware": fleet["versie_major"].astype(str) + "." + fleet["versie_minor"].astype(str),
            "bias_optellend_ug_m3": fleet["bias_optellend_ug_m3"],
            "bias_vermenigvuldigend": fleet["bias_vermenigvuldigend"],
            "klok_voor_s": fleet["klok_voor_s"],
            "klokdrift_s_per_uur": fleet["klokdrift_s_per_uur"],
            "druk_afwijking_hpa": fleet["druk_afwijking_hpa"],
            "groep": fleet["groep"].astype("Int64").where(fleet["groep"] >= 0),
            **places,
        }
    )


def _effects() -> pd.DataFrame:
    roads = {
        f"wegtype_{name}": (value, "ug/m3") for name, value in zip(ROAD_TYPES, ROAD_EFFECT_UG_M3, strict=True)
    }
    effects = roads | {
        "luchtvochtigheid_vanaf": (HUMIDITY_FROM_PERCENT, "%"),
        "luchtvochtigheid_groei": (HUMIDITY_GROWTH_PER_PERCENT, "per %"),
    }
    return pd.DataFrame(
        [(name, *effect) for name, effect in effects.items()], columns=["effect", "waarde", "eenheid"]
    )
