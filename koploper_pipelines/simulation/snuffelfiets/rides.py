"""The rides that are made of the trips, and each moment at which a device measures on them."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from koploper_pipelines.simulation.snuffelfiets.air import ROAD_EFFECT_UG_M3, ZONE, World, autoregressive
from koploper_pipelines.simulation.snuffelfiets.arrays import Bools, Floats, Ints
from koploper_pipelines.simulation.snuffelfiets.firmware import (
    COLD_START_SHARE,
    FORGET_AFTER_S,
    INDOOR_SHARE,
    LONG_PAUSE_SHARE,
    LOST_PACKET_SHARE,
    MAX_TAIL_S,
    PACKET_ROWS,
    SEARCH_S,
    SHORT_PAUSE_SHARE,
    TAIL_S,
    by_device,
)
from koploper_pipelines.simulation.snuffelfiets.riders import GROUP_SIZE, KINDS
from koploper_pipelines.simulation.snuffelfiets.streets import Tracks, distance_m

EXPOSURE_STEP_S = 20.0


@dataclass(frozen=True)
class Samples:
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

    def take(self, which: Ints) -> "Samples":
        """The samples at the indices `which`."""
        return Samples(*(getattr(self, name)[which] for name in self.__dataclass_fields__))


def make_rides(
    rng: np.random.Generator,
    trips: pd.DataFrame,
    tracks: Tracks,
    fleet: pd.DataFrame,
    world: World,
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


def _departures(rng: np.random.Generator, trips: pd.DataFrame, tracks: Tracks, world: World) -> Floats:
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
    gap = by_device(fleet, "interval_s")[rides["apparaat"].to_numpy(), 0] + pause
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


def make_samples(
    rng: np.random.Generator, rides: pd.DataFrame, tracks: Tracks, fleet: pd.DataFrame, world: World
) -> Samples:
    """Every moment at which a device measures, with where the bicycle is and what its rider breathes."""
    ride, elapsed, has_fix = _moments(rng, rides, fleet)
    track = rides["track"].to_numpy()[ride]
    clock = tracks.start_t[track] + elapsed
    along = np.interp(clock, tracks.knot_t, tracks.knot_s)
    piece = np.searchsorted(tracks.knot_t, clock, side="right") - 1
    leg = np.searchsorted(tracks.leg_s, along, side="right") - 1
    time_s = rides["vertrek_s"].to_numpy()[ride] + elapsed
    road = tracks.leg_road[leg]
    local = world.background[world.hour(time_s)] * _local_air(rng, rides, ride, elapsed)
    return Samples(
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

    interval = by_device(fleet, "interval_s")[rides["apparaat"].to_numpy()]
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
    wave = autoregressive(rng, int(steps.sum()), 0.8)
    at = first[track[ride]] + (elapsed / EXPOSURE_STEP_S).astype(np.int64)
    return np.asarray(np.exp(0.12 * wave[at]), dtype=np.float64)


def with_sampled_distance(rides: pd.DataFrame, samples: Samples) -> pd.DataFrame:
    """The rides with the length of the chain of true positions at their measuring moments."""
    step = distance_m(samples.lat[:-1], samples.lon[:-1], samples.lat[1:], samples.lon[1:])
    same = samples.ride[1:] == samples.ride[:-1]
    return rides.assign(
        meetmomenten=np.bincount(samples.ride, minlength=len(rides)),
        meetpunten_m=np.bincount(samples.ride[1:][same], step[same], len(rides)),
    )
