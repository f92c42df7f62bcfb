"""What the devices send of what is there: packets, faults, readings, and the order in which they arrive."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from koploper_pipelines.simulation.snuffelfiets.air import (
    HUMIDITY_FROM_PERCENT,
    HUMIDITY_GROWTH_PER_PERCENT,
    World,
    autoregressive,
)
from koploper_pipelines.simulation.snuffelfiets.arrays import Bools, Floats, Ints
from koploper_pipelines.simulation.snuffelfiets.firmware import (
    DUPLICATE_SHARE,
    FAULT_BIT,
    FORGET_AFTER_S,
    LOST_PACKET_SHARE,
    MAX_HACC_MM,
    MISSING_PARTS,
    NO_FIX_BIT,
    PACKET_ROWS,
    PM_READ_BIT,
    PM_READ_FAILURE_SHARE,
    RESYNC_S,
    SLOW_PACKET_SHARE,
    SPLIT_PACKET_SHARE,
    WEAK_FIX_PACKET_SHARE,
    WRONG_CLOCK_SHARE,
    ZERO_BLOCK_ROWS,
    by_device,
)
from koploper_pipelines.simulation.snuffelfiets.rides import Samples
from koploper_pipelines.simulation.snuffelfiets.streets import metres_per_degree


@dataclass(frozen=True)
class Delivery:
    """How each sample was sent: packet number, moment of receipt, error code, planted faults (bits)."""

    packet: Ints
    receive_s: Floats
    code: Ints
    fault: Ints


def send(rng: np.random.Generator, samples: Samples, fleet: pd.DataFrame) -> tuple[Samples, Delivery]:
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
    return samples, Delivery(packet=packet, receive_s=receive, code=code, fault=fault)


def _packets(samples: Samples) -> tuple[Ints, Bools]:
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
    rng: np.random.Generator, samples: Samples, packet: Ints, n: int, fleet: pd.DataFrame
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


def measure(
    rng: np.random.Generator, samples: Samples, delivery: Delivery, fleet: pd.DataFrame, world: World
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


def _zero_runs(rng: np.random.Generator, samples: Samples, fleet: pd.DataFrame) -> Ints:
    """Runs of rows in which the sensor gives 0, as often as the firmware does."""
    n = len(samples.device)
    block = np.arange(n) // ZERO_BLOCK_ROWS
    is_zero = rng.random(n // ZERO_BLOCK_ROWS + 1)[block] < by_device(fleet, "zero_share")[samples.device]
    return np.where(is_zero, FAULT_BIT["pm_nul"], 0)


def _particles(
    rng: np.random.Generator, samples: Samples, humidity: Floats, fleet: pd.DataFrame
) -> tuple[Floats, Floats, Floats]:
    """PM1, PM2.5 and PM10 as the device counts them: biased, swollen by humidity, in its own unit."""
    device, n = samples.device, len(samples.device)
    swollen = 1 + HUMIDITY_GROWTH_PER_PERCENT * np.maximum(humidity - HUMIDITY_FROM_PERCENT, 0)
    reading = fleet["bias_optellend_ug_m3"].to_numpy()[device]
    reading += fleet["bias_vermenigvuldigend"].to_numpy()[device] * samples.exposure * swollen
    reading += rng.normal(0, 0.2 + 0.05 * samples.exposure)
    pm25 = np.maximum(reading, 0.0)
    pm1 = pm25 * np.clip(rng.normal(by_device(fleet, "pm1_ratio")[device], 0.04, n), 0.3, 1.0)
    pm10 = pm25 * np.clip(rng.normal(by_device(fleet, "pm10_ratio")[device], 0.04, n), 1.0, 2.0)
    scale = by_device(fleet, "pm_scale")[device]
    # Half a unit up, because the columns are rounded down.
    return pm1 * scale + 0.5, pm25 * scale + 0.5, pm10 * scale + 0.5


def _fixes(
    rng: np.random.Generator, samples: Samples, is_weak: Bools
) -> tuple[Floats, Floats, Floats, Floats]:
    """Latitude, longitude (degrees) and their accuracies (mm); errors wander rather than jump."""
    n = len(samples.lat)
    wave = autoregressive(rng, n, 0.91)
    middle = np.where(is_weak, 27_472.0, 7_274.0)
    spread = np.where(is_weak, 0.55, np.where(wave < 0, 0.46, 0.82))
    h_acc = np.clip(middle * np.exp(spread * wave), 2_000, MAX_HACC_MM)
    v_acc = np.clip(h_acc * np.exp(rng.normal(0.2, 0.3, n)), 2_000, MAX_HACC_MM)
    north, east = metres_per_degree(samples.lat)
    error_m = 0.35 * h_acc / 1000
    lat = samples.lat + error_m * autoregressive(rng, n, 0.85) / north
    lon = samples.lon + error_m * autoregressive(rng, n, 0.85) / east
    return lat, lon, h_acc, v_acc


def _recorded(
    rng: np.random.Generator, samples: Samples, fault: Ints, fleet: pd.DataFrame, world: World
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


def order_of_arrival(rng: np.random.Generator, delivery: Delivery, fault: Ints) -> tuple[Ints, Ints]:
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
