"""Who rides, with which device, from where to where and when.

Here belong the devices, the addresses of their riders, and the trips that they want to make.
"""

import numpy as np
import pandas as pd

from koploper_pipelines.simulation.snuffelfiets.air import World
from koploper_pipelines.simulation.snuffelfiets.arrays import Floats, Ints
from koploper_pipelines.simulation.snuffelfiets.firmware import DEVICE_TYPES, FIRMWARE, RESYNC_S
from koploper_pipelines.simulation.snuffelfiets.streets import (
    MAIN_GRID_M,
    PLACES,
    SIDE_GRID_M,
    distance_m,
    weights,
)

# Kind of trip, how many a device can make in a day, and how many it makes on a working day and in a weekend.
# Together about 115 raw rows per device and day, as in Q1 2024.
KINDS = ("boodschap", "woon_werk", "ommetje", "nachtrit", "groepsrit")
SLOTS_PER_DAY = (3, 1, 3, 1, 1)
TRIPS_PER_WORKDAY = (0.030, 0.26, 0.020, 0.012, 0.05)
TRIPS_PER_WEEKEND_DAY = (0.058, 0.03, 0.050, 0.030, 0.25)
GROUP_SIZE = 3
DEVICES_PER_GROUP = 12


def make_fleet(rng: np.random.Generator, devices: int) -> pd.DataFrame:
    """One row a device; places are indices into PLACES, with metres east and north of its centre."""
    n = devices
    firmware = np.resize(np.array(FIRMWARE), (n, 2))
    is_v2 = firmware[:, 0] == 2
    activity = np.exp(rng.normal(0, 0.5, n))
    for version in DEVICE_TYPES:
        # Keeps the firmware mix in rows that of the devices.
        same = (firmware == version).all(axis=1)
        activity[same] /= activity[same].mean() if same.any() else 1.0
    home_place = rng.choice(len(PLACES), n, p=weights(4))
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


def _imeis(rng: np.random.Generator, devices: int) -> Ints:
    """Distinct 15-digit numbers whose last digit is the Luhn check digit."""
    body = 35 * 10**12 + rng.choice(10**12, devices, replace=False)
    digits = body[:, None] // 10 ** np.arange(14) % 10
    doubled = digits[:, ::2] * 2
    total = (doubled // 10 + doubled % 10).sum(axis=1) + digits[:, 1::2].sum(axis=1)
    return np.asarray(body * 10 + -total % 10, dtype=np.int64)


def _destination(rng: np.random.Generator, origin: Ints, *, column: int, reach_m: float) -> Ints:
    """A place for each origin, the likelier the heavier (weight in `column`) and the nearer."""
    lat, lon = weights(1), weights(2)
    away = distance_m(lat[:, None], lon[:, None], lat, lon)
    pull = weights(column) * np.exp(-away / reach_m)
    chance = np.cumsum(pull / pull.sum(axis=1, keepdims=True), axis=1)
    return np.asarray((chance[origin, :-1] < rng.random(len(origin))[:, None]).sum(axis=1), dtype=np.int64)


def _addresses(rng: np.random.Generator, place: Ints) -> Floats:
    """Points on side streets (which run east-west), thickest round the centre; metres, shape (n, 2)."""
    half = weights(3)[place][:, None]
    point = np.clip(rng.normal(0, 0.45, (len(place), 2)) * half, -half, half)
    street = np.floor(point[:, 1] / SIDE_GRID_M)
    street += street % round(MAIN_GRID_M / SIDE_GRID_M) == 0
    return np.column_stack([np.round(point[:, 0]), street * SIDE_GRID_M])


def make_trips(rng: np.random.Generator, fleet: pd.DataFrame, world: World, rows: int | None) -> pd.DataFrame:
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


def _intents(rng: np.random.Generator, fleet: pd.DataFrame, world: World) -> pd.DataFrame:
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


def base_of(fleet: pd.DataFrame, device: Ints, what: str) -> tuple[Ints, Floats]:
    """Place and metres of the devices' `thuis` or `werk`."""
    rows = fleet.iloc[device]
    return rows[f"{what}_plaats"].to_numpy(), rows[[f"{what}_x", f"{what}_y"]].to_numpy()


def _commutes(rng: np.random.Generator, intents: pd.DataFrame, fleet: pd.DataFrame) -> pd.DataFrame:
    device = intents["apparaat"].to_numpy()
    home, work = base_of(fleet, device, "thuis"), base_of(fleet, device, "werk")
    morning, evening = (
        fleet[f"vertrek_{part}_s"].to_numpy()[device] + rng.normal(0, spread, len(device))
        for part, spread in (("ochtend", 400), ("middag", 800))
    )
    there, back = _trip(intents, home, work, morning), _trip(intents, work, home, evening)
    return pd.concat([there, back])


def _errands(rng: np.random.Generator, intents: pd.DataFrame, fleet: pd.DataFrame) -> pd.DataFrame:
    device = intents["apparaat"].to_numpy()
    home = base_of(fleet, device, "thuis")
    shop = (home[0], _addresses(rng, home[0]))
    leave = np.clip(rng.normal(13.5 * 3600, 8000, len(device)), 9.5 * 3600, 20.5 * 3600)
    stay = 900 + rng.exponential(2400, len(device))
    there, back = _trip(intents, home, shop, leave), _trip(intents, shop, home, leave)
    return pd.concat([there, back.assign(na_trip=np.arange(len(device)), verblijf_s=stay)])


def _rounds(rng: np.random.Generator, intents: pd.DataFrame, fleet: pd.DataFrame) -> pd.DataFrame:
    device = intents["apparaat"].to_numpy()
    home = base_of(fleet, device, "thuis")
    place = _destination(rng, home[0], column=6, reach_m=6000.0)
    in_evening = rng.random(len(device)) < 0.35
    leave = np.where(
        in_evening, rng.normal(19.7 * 3600, 2400, len(device)), rng.normal(14 * 3600, 5400, len(device))
    )
    return _trip(intents, home, (place, _addresses(rng, place)), leave, is_round=True)


def _night_rides(rng: np.random.Generator, intents: pd.DataFrame, fleet: pd.DataFrame) -> pd.DataFrame:
    device = intents["apparaat"].to_numpy()
    home = base_of(fleet, device, "thuis")
    place = _destination(rng, home[0], column=6, reach_m=3000.0)
    leave = rng.normal(23.6 * 3600, 2700, len(device))
    return _trip(intents, (place, _addresses(rng, place)), home, leave)


def _group_rides(rng: np.random.Generator, intents: pd.DataFrame, fleet: pd.DataFrame) -> pd.DataFrame:
    """Rounds from the first member's home; a device has no more than one a day, at ten in the morning."""
    device = intents["apparaat"].to_numpy()
    home = base_of(fleet, device, "thuis")
    place = _destination(rng, home[0], column=6, reach_m=9000.0)
    leave = rng.normal(10.2 * 3600, 600, len(device))
    return _trip(intents, home, (place, _addresses(rng, place)), leave, is_round=True)
