"""Places, streets between and within them, and the way of each trip along them in space and time."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import shortest_path

from koploper_pipelines.simulation.snuffelfiets.arrays import Bools, Floats, Ints
from koploper_pipelines.simulation.snuffelfiets.firmware import MAX_TAIL_S

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


@dataclass(frozen=True)
class Tracks:
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


def weights(column: int) -> Floats:
    """One column of `PLACES`."""
    return np.array([place[column] for place in PLACES], dtype=np.float64)


def metres_per_degree(lat: Floats) -> tuple[Floats, Floats]:
    """Metres per degree of latitude and longitude on the WGS84 ellipsoid (series in the latitude)."""
    phi = np.radians(lat)
    north = 111132.954 - 559.822 * np.cos(2 * phi) + 1.175 * np.cos(4 * phi)
    east = 111412.84 * np.cos(phi) - 93.5 * np.cos(3 * phi) + 0.118 * np.cos(5 * phi)
    return north, east


def distance_m(lat_a: Floats, lon_a: Floats, lat_b: Floats, lon_b: Floats) -> Floats:
    """Distance over some kilometres, with the metres per degree halfway."""
    north, east = metres_per_degree((lat_a + lat_b) / 2)
    return np.asarray(np.hypot((lat_b - lat_a) * north, (lon_b - lon_a) * east), dtype=np.float64)


def _network() -> tuple[Ints, Ints]:
    """The connections between places.

    Returns:
        Places passed from place to place, padded with the last, (n, n, MAX_HOPS), and the road type between
        neighbours, (n, n).
    """
    lat, lon = weights(1), weights(2)
    a, b, road = np.array(CONNECTIONS).T
    n = len(PLACES)
    graph = coo_array((distance_m(lat[a], lon[a], lat[b], lon[b]), (a, b)), shape=(n, n))
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
    lat, lon = weights(1)[place], weights(2)[place]
    north, east = metres_per_degree(lat)
    return lat + y / north, lon + x / east, road


def make_tracks(rng: np.random.Generator, trips: pd.DataFrame, fleet: pd.DataFrame) -> Tracks:
    """The way and the course in time of each trip; a round goes out and back by its own ways."""
    lat, lon, road = _route(rng, trips, "van", "naar")
    back_lat, back_lon, back_road = _route(rng, trips, "naar", "van")
    one_way = ~trips["is_rondje"].to_numpy()
    back_lat[one_way] = lat[one_way, -1:]
    back_lon[one_way] = lon[one_way, -1:]
    lat, lon, road = np.hstack([lat, back_lat]), np.hstack([lon, back_lon]), np.hstack([road, back_road])
    leg_m = distance_m(lat[:, :-1], lon[:, :-1], lat[:, 1:], lon[:, 1:])
    length = leg_m.sum(axis=1)
    rider = trips["apparaat"].to_numpy()
    speed = fleet["snelheid_m_s"].to_numpy()[rider] * np.exp(rng.normal(0, 0.06, len(trips)))

    dt, ds, moving, in_ride, first = _phases(rng, length, speed)
    knot_t, knot_s = (np.concatenate([[0.0], np.cumsum(step)]) for step in (dt, ds))
    track = np.repeat(np.arange(len(trips)), np.diff(np.append(first, len(dt))))

    start_s = knot_s[first]
    is_corner = np.hstack([leg_m > 0, np.ones((len(trips), 1), dtype=bool)])
    along = np.hstack([np.zeros((len(trips), 1)), np.cumsum(leg_m, axis=1)]) + start_s[:, None]
    return Tracks(
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
