"""Snuffelfiets: simulated CKAN exports of bicycle sensors, and what really happened on those rides.

Here belongs the world that the sensors ride through (streets, rides, air), the device that measures it
(clock, packets, faults), the official stations that measure the same air, and the files of all, a module
each. Here does not belong: any reading or cleaning of the files.

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
* `effecten`: the road-type and humidity effects;
* `referentie`: one row a station and UTC hour, true and measured PM2.5; `stations`: what each adds;
* `lucht`: one row a UTC hour: shared background and the weather as it is.
"""

import shutil
from datetime import UTC, date, datetime, time
from itertools import groupby
from pathlib import Path

import numpy as np
import pandas as pd

from koploper_pipelines.simulation import Simulated
from koploper_pipelines.simulation.snuffelfiets.air import World, make_world
from koploper_pipelines.simulation.snuffelfiets.device import measure, order_of_arrival, send
from koploper_pipelines.simulation.snuffelfiets.exports import FilesPer, write_exports
from koploper_pipelines.simulation.snuffelfiets.riders import make_fleet, make_trips
from koploper_pipelines.simulation.snuffelfiets.rides import make_rides, make_samples, with_sampled_distance
from koploper_pipelines.simulation.snuffelfiets.stations import (
    station_hours,
    weather_hours,
    write_reference,
    write_weather,
)
from koploper_pipelines.simulation.snuffelfiets.streets import make_tracks
from koploper_pipelines.simulation.snuffelfiets.truth import write_official_truth, write_truth

FIRST_ID = 41_000_000
DEVICES = 60
DEMO_SEED = 2026
DEMO_ROWS_PER_DAY = 40
"""Of a device: a third of the activity of Q1 2024, which shows the same in less time."""


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
    reference: bool = True,
) -> Simulated:
    """Write simulated CKAN exports to `inbox` and the truth behind them to `truth`.

    Hourly values of the official stations and the weather go to `inbox/referentie` and `inbox/weer`.

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
        reference: whether to write the files of the official stations and the weather too.

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
    world = make_world(rng, last_day, days)
    fleet = make_fleet(rng, devices)
    trips = make_trips(rng, fleet, world, rows)
    tracks = make_tracks(rng, trips, fleet)
    rides = make_rides(rng, trips, tracks, fleet, world, rows)
    samples = make_samples(rng, rides, tracks, fleet, world)
    rides = with_sampled_distance(rides, samples)
    samples, delivery = send(rng, samples, fleet)
    raw, fault = measure(rng, samples, delivery, fleet, world)
    order, fault = order_of_arrival(rng, delivery, fault)
    ids = FIRST_ID + np.arange(len(order), dtype=np.int64)

    truth.mkdir(parents=True, exist_ok=True)
    inbox.mkdir(parents=True, exist_ok=True)
    write_truth(truth, ids, samples.take(order), fault, rides, fleet, world)
    files = tuple(write_exports(inbox, ids, raw, delivery.receive_s, order, files_per))
    stations, weather = _official(truth, world, seed)
    beside = _write_beside(inbox, stations, weather) if reference else ()
    return Simulated(files=files, truth=truth, rows=len(order), beside=beside)


def _official(truth: Path, world: World, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What the official stations measure and the weather is, with the truth of both written."""
    # Draws of their own, so that the rides are the same with or without them.
    rng = np.random.default_rng([seed, 1])
    stations, weather = station_hours(rng, world), weather_hours(rng, world)
    write_official_truth(truth, stations, weather, world)
    return stations, weather


def _write_beside(
    inbox: Path, stations: pd.DataFrame, weather: pd.DataFrame, until: datetime | None = None
) -> tuple[Path, ...]:
    reference = write_reference(inbox / "referentie", stations, until)
    return (*reference, *write_weather(inbox / "weer", weather, until))


def demo(inbox: Path, folder: Path, *, first: date, last: date, now: datetime) -> Simulated:
    """Write to `inbox`, one file a month, what was received before the day of `now`.

    What arrives late is on its way still: days of receipt to come are not in the files. The truth goes below
    `folder`.
    """
    scratch = folder / "per_dag"
    shutil.rmtree(scratch, ignore_errors=True)
    days = (last - first).days + 1
    made = simulate(
        scratch,
        folder / f"seed-{DEMO_SEED}",
        last_day=last,
        days=days,
        participants=DEVICES,
        seed=DEMO_SEED,
        rows=DEMO_ROWS_PER_DAY * DEVICES * days,
        files_per="dag",
        reference=False,
    )
    stations, weather = (pd.read_parquet(made.truth / f"{name}.parquet") for name in ("referentie", "lucht"))
    received = [file for file in made.files if file.stem[-10:] < now.date().isoformat()]
    inbox.mkdir(parents=True, exist_ok=True)
    months = [list(files) for _, files in groupby(received, key=lambda f: f.stem[:-3])]
    joined = [_joined(files, inbox) for files in months]
    shutil.rmtree(scratch)
    midnight = datetime.combine(now.astimezone(UTC).date(), time(), tzinfo=UTC)
    return Simulated(
        tuple(f for f, _ in joined),
        made.truth,
        sum(rows for _, rows in joined),
        _write_beside(inbox, stations, weather, midnight),
    )


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
