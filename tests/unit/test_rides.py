"""Rides: distance against the geodesic, riding against standing, and rides that depend on no window."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Geod

from koploper_pipelines.methods.snuffelfiets import cleaning, rides
from koploper_pipelines.methods.snuffelfiets.rides import RideRules

pytestmark = pytest.mark.oracle

AMSTERDAM = ZoneInfo("Europe/Amsterdam")
GEOD = Geod(ellps="WGS84")
HOME = (5.1214, 52.0907)
RULES = RideRules()
SCHEMA = pa.schema(
    [
        ("bron_id", pa.int64()),
        ("apparaat", pa.string()),
        ("opgenomen_op", pa.timestamp("us", "UTC")),
        ("meetdag", pa.date32()),
        ("breedtegraad", pa.float64()),
        ("lengtegraad", pa.float64()),
        ("nauwkeurigheid_m", pa.float64()),
    ]
)
# Seconds and metres of one step along a line, by default with a sharp position.
Step = tuple[float, float]


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("SET threads = 2")
        yield connection


def track(
    start: datetime, steps: list[Step], device: str = "a", accuracy_m: float = 3.0, azimuth: float = 60.0
) -> list[dict[str, Any]]:
    """Measurements on a straight line from home: one at the start and one after each step."""
    seconds = np.cumsum([0.0] + [step[0] for step in steps])
    metres = np.cumsum([0.0] + [step[1] for step in steps])
    n = len(seconds)
    longitude, latitude, _ = GEOD.fwd(np.full(n, HOME[0]), np.full(n, HOME[1]), np.full(n, azimuth), metres)
    moments = [start + timedelta(seconds=float(s)) for s in seconds]
    return [
        {
            "apparaat": device,
            "opgenomen_op": moment,
            "meetdag": moment.astimezone(AMSTERDAM).date(),
            "breedtegraad": float(lat),
            "lengtegraad": float(lon),
            "nauwkeurigheid_m": accuracy_m,
        }
        for moment, lat, lon in zip(moments, latitude, longitude, strict=True)
    ]


def relation(con: duckdb.DuckDBPyConnection, *tracks: list[dict[str, Any]]) -> duckdb.DuckDBPyRelation:
    rows = [row for rows in tracks for row in rows]
    numbered = [row | {"bron_id": i} for i, row in enumerate(rows)]
    return con.from_arrow(pa.Table.from_pylist(numbered, schema=SCHEMA))


def segments(con: duckdb.DuckDBPyConnection, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found = rides.segments(con, relation(con, rows), RULES).order("apparaat, opgenomen_op")
    return list(found.to_arrow_table().to_pylist())


def found_rides(
    con: duckdb.DuckDBPyConnection, *tracks: list[dict[str, Any]], rules: RideRules = RULES
) -> list[dict[str, Any]]:
    return list(rides.rides(con, relation(con, *tracks), rules).to_arrow_table().to_pylist())


def cycling(minutes: float, km_h: float = 15.0) -> list[Step]:
    return [(12.0, km_h / 3.6 * 12.0)] * round(minutes * 5)


def standing(minutes: float) -> list[Step]:
    return [(12.0, 0.0)] * round(minutes * 5)


MORNING = datetime(2024, 11, 12, 7, 30, tzinfo=UTC)


def check_distance(con: duckdb.DuckDBPyConnection) -> None:
    """Over the whole country, from one metre to 100 km, in every direction."""
    rng = np.random.default_rng(11)
    n = 4000
    longitude, latitude = rng.uniform(3.4, 7.2, n), rng.uniform(50.8, 53.5, n)
    metres, azimuth = 10 ** rng.uniform(0, 5, n), rng.uniform(0, 360, n)
    to_longitude, to_latitude, _ = GEOD.fwd(longitude, latitude, azimuth, metres)
    rows = []
    for i in range(n):
        for second, lon, lat in ((0, longitude[i], latitude[i]), (12, to_longitude[i], to_latitude[i])):
            row = track(MORNING + timedelta(seconds=second), [], device=f"d{i:04}")[0]
            rows.append(row | {"breedtegraad": float(lat), "lengtegraad": float(lon)})
    found = [row["afstand_m"] for row in segments(con, rows) if row["afstand_m"] is not None]
    np.testing.assert_allclose(found, metres, rtol=1e-3, atol=1e-6)


def test_distance_is_that_of_the_geodesic(
    con: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_distance(con)
    # A sphere of the radius in circulation is wrong by up to half a percent.
    monkeypatch.setattr(rides, "WGS84_SEMI_MAJOR_M", 6_367_000.0)
    monkeypatch.setattr(rides, "WGS84_ECCENTRICITY_SQUARED", 0.0)
    with pytest.raises(AssertionError):
        check_distance(con)


def test_ellipsoid_is_wgs84() -> None:
    assert GEOD.a == rides.WGS84_SEMI_MAJOR_M
    assert pytest.approx(GEOD.es, abs=1e-14) == rides.WGS84_ECCENTRICITY_SQUARED


def test_first_measurement_of_a_device_has_no_segment(con: duckdb.DuckDBPyConnection) -> None:
    rows = segments(con, track(MORNING, cycling(0.4)) + track(MORNING, cycling(0.2), device="b"))
    assert [(row["apparaat"], row["tussentijd_s"], row["is_rijdend"]) for row in rows] == [
        ("a", None, False),
        ("a", 12.0, True),
        ("a", 12.0, True),
        ("b", None, False),
        ("b", 12.0, True),
    ]
    assert [row["vorige_op"] for row in rows][:2] == [None, MORNING]


@pytest.mark.parametrize(
    ("seconds", "metres", "accuracy_m", "is_riding"),
    [
        (60, 5.05 / 3.6 * 60, 3, True),
        (60, 4.95 / 3.6 * 60, 3, False),
        (60, 44.9 / 3.6 * 60, 3, True),
        (60, 45.1 / 3.6 * 60, 3, False),
        (300, 1000, 3, True),
        (301, 1000, 3, False),
        (12, 0, 3, False),
        # 20 m with an uncertainty of root two times the accuracy: 14 m leaves 19.8, 14.3 leaves 20.2.
        (12, 20, 14.0, True),
        (12, 20, 14.3, False),
    ],
)
def test_riding(
    con: duckdb.DuckDBPyConnection, seconds: float, metres: float, accuracy_m: float, is_riding: bool
) -> None:
    _, row = segments(con, track(MORNING, [(seconds, metres)], accuracy_m=accuracy_m))
    assert row["is_rijdend"] is is_riding


def test_jitter_of_a_parked_bicycle_is_no_riding(
    con: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Positions scattered with their stated accuracy, an error that wanders over a minute or two."""
    rng = np.random.default_rng(4)
    n, accuracy_m = 3000, 25.0
    error = np.zeros((n, 2))
    for i in range(1, n):
        error[i] = 0.9 * error[i - 1] + rng.normal(0, accuracy_m / 2**0.5 * (1 - 0.9**2) ** 0.5, 2)
    rows = track(MORNING, [(12.0, 0.0)] * (n - 1), accuracy_m=accuracy_m)
    for row, (east, north) in zip(rows, error, strict=True):
        row["lengtegraad"] += east / 68_500
        row["breedtegraad"] += north / 111_200
    share = np.mean([row["is_rijdend"] for row in segments(con, rows)])
    assert share < 0.001
    for row in rows:
        row["nauwkeurigheid_m"] = 0.0
    # By speed alone the same track would be ridden for a good part of the time.
    assert np.mean([row["is_rijdend"] for row in segments(con, rows)]) > 0.05


def test_ride_without_the_standing_before_within_and_after(con: duckdb.DuckDBPyConnection) -> None:
    steps = standing(3) + cycling(10) + standing(4) + cycling(5, km_h=20) + standing(10)
    (ride,) = found_rides(con, track(MORNING, steps))
    start = MORNING + timedelta(minutes=3)
    assert (ride["start_op"], ride["einde_op"]) == (start, start + timedelta(minutes=19))
    assert ride["meetdag"] == date(2024, 11, 12)
    assert ride["duur_s"] == 19 * 60
    assert ride["rijtijd_uur"] == pytest.approx(0.25, abs=1e-12)
    km = 15 / 6 + 20 / 12
    assert ride["afstand_km"] == pytest.approx(km, rel=1e-3)
    assert ride["snelheid_km_h"] == ride["afstand_km"] / ride["rijtijd_uur"]
    assert ride["aantal_metingen"] == 75
    assert ride["rit_id"] == hashlib.sha256(f"a|{int(start.timestamp())}000000".encode()).hexdigest()[:32]


def test_columns_and_types(con: duckdb.DuckDBPyConnection) -> None:
    found = rides.rides(con, relation(con, track(MORNING, cycling(5))), RULES)
    assert dict(zip(found.columns, map(str, found.types), strict=True)) == {
        "rit_id": "VARCHAR",
        "apparaat": "VARCHAR",
        "meetdag": "DATE",
        "start_op": "TIMESTAMP WITH TIME ZONE",
        "einde_op": "TIMESTAMP WITH TIME ZONE",
        "duur_s": "DOUBLE",
        "rijtijd_uur": "DOUBLE",
        "afstand_km": "DOUBLE",
        "snelheid_km_h": "DOUBLE",
        "aantal_metingen": "BIGINT",
    }


def test_speed_is_no_mean_of_point_speeds(con: duckdb.DuckDBPyConnection) -> None:
    # Ten short fast steps and one long slow one: the mean of the speeds would be 28.8 km/h.
    steps: list[Step] = [(12.0, 30 / 3.6 * 12)] * 10 + [(280.0, 17 / 3.6 * 280)]
    (ride,) = found_rides(con, track(MORNING, steps))
    assert ride["snelheid_km_h"] == pytest.approx((120 * 30 + 280 * 17) / 400, rel=1e-3)


@pytest.mark.parametrize(
    ("rest_min", "gap_min", "expected"), [(10, 10, 1), (10.2, 10, 2), (10.2, 15, 1), (4, 3, 2)]
)
def test_rest_within_a_ride(
    con: duckdb.DuckDBPyConnection, rest_min: float, gap_min: float, expected: int
) -> None:
    steps = cycling(5) + standing(rest_min) + cycling(5)
    assert len(found_rides(con, track(MORNING, steps), rules=RideRules(max_gap_min=gap_min))) == expected


def test_silence_longer_than_a_bridge_counts_as_rest(con: duckdb.DuckDBPyConnection) -> None:
    silence: Step = (400.0, 1500.0)
    (ride,) = found_rides(con, track(MORNING, [*cycling(5), silence, *cycling(5)]))
    assert ride["rijtijd_uur"] == pytest.approx(10 / 60)
    assert ride["afstand_km"] == pytest.approx(2.5, rel=1e-3)
    assert ride["duur_s"] == 1000


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([(30.0, 151.0)] * 2, 1),
        ([(30.0, 149.0)] * 2, 0),
        ([(29.5, 160.0)] * 2, 0),
        (cycling(22 * 60), 1),
        (cycling(22 * 60 + 0.2), 0),
    ],
)
def test_limits_of_a_ride(con: duckdb.DuckDBPyConnection, steps: list[Step], expected: int) -> None:
    assert len(found_rides(con, track(MORNING, steps))) == expected


@pytest.mark.parametrize(
    ("start", "day"),
    [
        (datetime(2024, 11, 12, 22, 50, tzinfo=UTC), date(2024, 11, 12)),
        (datetime(2024, 11, 30, 22, 55, tzinfo=UTC), date(2024, 11, 30)),
        (datetime(2024, 12, 31, 22, 55, tzinfo=UTC), date(2024, 12, 31)),
        (datetime(2024, 12, 31, 23, 0, tzinfo=UTC), date(2025, 1, 1)),
        # Both nights on which the clock changes, across the change.
        (datetime(2024, 3, 31, 0, 50, tzinfo=UTC), date(2024, 3, 31)),
        (datetime(2024, 10, 27, 0, 50, tzinfo=UTC), date(2024, 10, 27)),
        (datetime(2024, 10, 26, 21, 55, tzinfo=UTC), date(2024, 10, 26)),
        (datetime(2024, 10, 27, 22, 55, tzinfo=UTC), date(2024, 10, 27)),
    ],
)
def test_ride_over_a_change_of_day_or_clock_is_one(
    con: duckdb.DuckDBPyConnection, start: datetime, day: date
) -> None:
    con.execute("SET TimeZone = 'Asia/Kolkata'")
    (ride,) = found_rides(con, track(start, cycling(20)))
    assert (ride["meetdag"], ride["duur_s"]) == (day, 1200)
    assert ride["rijtijd_uur"] == pytest.approx(1 / 3)
    assert ride["afstand_km"] == pytest.approx(5, rel=1e-3)


def test_devices_do_not_mix(con: duckdb.DuckDBPyConnection) -> None:
    away = track(MORNING + timedelta(seconds=6), cycling(10), device="b", azimuth=250)
    alone = found_rides(con, track(MORNING, cycling(10)))
    both = found_rides(con, track(MORNING, cycling(10)), away)
    assert [ride["apparaat"] for ride in both] == ["a", "b"]
    assert both[:1] == alone


def days_apart(seed: int) -> list[dict[str, Any]]:
    """Nine days of two devices, riding and resting for random times, also at night and for very long."""
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    for device in "ab":
        moment = datetime(2024, 3, 27, tzinfo=UTC) + timedelta(seconds=int(rng.integers(0, 80_000)))
        while moment < datetime(2024, 4, 4, 12, tzinfo=UTC):
            minutes = float(
                rng.choice(
                    [2, 8, 30, 60 * 5, 60 * 21, 60 * 23, 60 * 30], p=[0.3, 0.2, 0.2, 0.1, 0.1, 0.05, 0.05]
                )
            )
            # One measurement in 4 minutes keeps the test small; that is a bridgeable silence.
            steps: list[Step] = [(240.0, 900.0)] * max(1, round(minutes / 4))
            rows += track(moment, steps, device=device)
            ridden = timedelta(seconds=240 * len(steps))
            rest_s = float(rng.choice([500, 599, 601, 2400, 20_000, 50_000]))
            moment += ridden + timedelta(seconds=rest_s)
    return rows


def of_day(
    con: duckdb.DuckDBPyConnection, rows: list[dict[str, Any]], day: date, rules: RideRules = RULES
) -> list[dict[str, Any]]:
    """The rides of a day, as seen from that day and its neighbours alone."""
    near = [row for row in rows if abs((row["meetdag"] - day).days) <= 1]
    return [ride for ride in found_rides(con, near, rules=rules) if ride["meetdag"] == day]


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_rides_of_a_day_follow_from_three_days(seed: int) -> None:
    rows = days_apart(seed)
    with duckdb.connect() as con:
        everything = found_rides(con, rows)
        for day in sorted({row["meetdag"] for row in rows}):
            with_all = [ride for ride in everything if ride["meetdag"] == day]
            assert of_day(con, rows, day) == with_all


def test_three_days_would_not_decide_on_rides_of_24_hours(
    con: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Riding on from before the shortest day to after it, which the window does not show."""
    day = date(2024, 3, 30)
    start = datetime(2024, 3, 30, 23, 50, tzinfo=AMSTERDAM).astimezone(UTC)
    rows = track(start, [(240.0, 900.0)] * (24 * 15 + 5))
    assert of_day(con, rows, day) == found_rides(con, rows) == []
    with pytest.raises(ValueError, match="within 23 h"):
        RideRules(max_duration_h=24)
    monkeypatch.setattr(rides, "_SHORTEST_DAY_H", 30)
    too_long = RideRules(max_duration_h=24)
    assert found_rides(con, rows, rules=too_long) == []
    assert len(of_day(con, rows, day, too_long)) == 1


def test_identity_of_a_ride_is_not_its_place_in_a_run(con: duckdb.DuckDBPyConnection) -> None:
    first, second = track(MORNING, cycling(5)), track(MORNING + timedelta(hours=2), cycling(5))
    both = found_rides(con, first, second)
    (alone,) = found_rides(con, second)
    assert alone == both[1]
    # Counter-test: numbered by row, the same ride is the second in one run and the first in the other.
    number = "rit_id, row_number() OVER (ORDER BY apparaat, start_op) AS nummer"
    in_both = rides.rides(con, relation(con, first, second), RULES).project(number).fetchall()
    in_one = rides.rides(con, relation(con, second), RULES).project(number).fetchall()
    assert [identity for identity, _ in in_one] == [in_both[1][0]]
    assert [place for _, place in in_one] != [in_both[1][1]]


def test_rides_follow_from_the_rows_alone(con: duckdb.DuckDBPyConnection) -> None:
    """Not from their order, a second evaluation or what else is in the catalogue."""
    rows = days_apart(1)
    expected = found_rides(con, rows)
    assert expected
    for name in ("metingen", "segmenten", "rijdend", "begonnen", "ritten"):
        con.execute(f"CREATE TABLE {name} AS SELECT 1 AS apparaat")
    shuffled = relation(con, rows).order("hash(bron_id)")
    again = rides.rides(con, shuffled, RULES)
    for _ in range(2):
        assert again.to_arrow_table().to_pylist() == expected


def test_no_measurements_make_no_rides(con: duckdb.DuckDBPyConnection) -> None:
    assert found_rides(con, []) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_gap_min": 0},
        {"min_distance_m": float("nan")},
        {"max_speed_km_h": float("inf")},
        {"min_speed_km_h": 50},
        {"max_duration_h": 22, "max_gap_min": 56},
    ],
)
def test_rules_refuse_what_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected"):
        RideRules(**wrong)


def test_every_published_variant_of_the_rest_is_possible() -> None:
    assert [RideRules(max_gap_min=gap).max_gap_min for gap in (5, 10, 15, 30)] == [5, 10, 15, 30]


def rides_by_pandas(rows: pd.DataFrame, gap_min: float) -> pd.DataFrame:
    """The same rules once more with loops and the geodesic."""
    found = []
    for device, group in rows.groupby("apparaat"):
        ride: dict[str, Any] | None = None
        points = group.sort_values("opgenomen_op").to_dict("records")
        for before, now in itertools.pairwise(points):
            seconds = (now["opgenomen_op"] - before["opgenomen_op"]).total_seconds()
            _, _, metres = GEOD.inv(
                before["lengtegraad"], before["breedtegraad"], now["lengtegraad"], now["breedtegraad"]
            )
            sharp = metres > (before["nauwkeurigheid_m"] ** 2 + now["nauwkeurigheid_m"] ** 2) ** 0.5
            if not (sharp and seconds <= 300 and 5 <= metres / seconds * 3.6 <= 45):
                continue
            if ride is None or (before["opgenomen_op"] - ride["einde_op"]).total_seconds() > gap_min * 60:
                ride = {"apparaat": device, "start_op": before["opgenomen_op"], "s": 0.0, "m": 0.0, "n": 0}
                found.append(ride)
            ride["einde_op"] = now["opgenomen_op"]
            ride["s"] += seconds
            ride["m"] += metres
            ride["n"] += 1
    frame = pd.DataFrame(found)
    long_enough = (frame["einde_op"] - frame["start_op"]).dt.total_seconds() >= 60
    return frame[long_enough & (frame["m"] >= 300)].sort_values(["apparaat", "start_op"])


def real_measurements(con: duckdb.DuckDBPyConnection, path: str) -> duckdb.DuckDBPyRelation:
    con.execute(
        """
        CREATE TABLE geland AS
        SELECT 'echt' AS bestand, row_number() OVER () AS rij,
            TIMESTAMPTZ '2024-12-01 03:00:00+00' AS geland_op,
            CAST(left(recording_timestamp, 10) AS DATE) AS opnamedatum, sha256(entity_id) AS apparaat,
            * EXCLUDE (entity_id)
        FROM read_csv(?, all_varchar = true)
        """,
        [path],
    )
    return cleaning.judge(con, con.table("geland"), cleaning.CleaningRules())


@pytest.mark.parametrize(
    ("gap_min", "count", "km"), [(5, 29, 42.67), (10, 29, 42.69), (15, 19, 42.69), (30, 11, 42.74)]
)
def test_real_file(
    con: duckdb.DuckDBPyConnection, real_data: Callable[[str], Any], gap_min: float, count: int, km: float
) -> None:
    path = str(real_data("snuffelfiets/ckan_metingen_2024-11.csv"))
    measurements = cleaning.kept(real_measurements(con, path))
    frame = rides.rides(con, measurements, RideRules(max_gap_min=gap_min)).to_arrow_table().to_pandas()
    expected = rides_by_pandas(measurements.to_arrow_table().to_pandas(), gap_min)
    assert frame["start_op"].tolist() == expected["start_op"].tolist()
    assert frame["einde_op"].tolist() == expected["einde_op"].tolist()
    assert frame["aantal_metingen"].tolist() == expected["n"].tolist()
    np.testing.assert_allclose(frame["afstand_km"] * 1000, expected["m"], rtol=1e-3)
    np.testing.assert_allclose(frame["rijtijd_uur"] * 3600, expected["s"], rtol=1e-9)
    assert len(frame) == count
    assert frame["afstand_km"].sum() == pytest.approx(km, abs=0.005)


def test_positions_without_a_fix_would_make_hundreds_of_thousands_of_kilometres(
    con: duckdb.DuckDBPyConnection, real_data: Callable[[str], Any]
) -> None:
    judged = real_measurements(con, str(real_data("snuffelfiets/ckan_metingen_2024-11.csv")))
    total = "sum(afstand_m) / 1000"
    (clean,) = rides.segments(con, cleaning.kept(judged), RULES).aggregate(total).fetchall()[0]
    (uncleaned,) = rides.segments(con, judged, RULES).aggregate(total).fetchall()[0]
    assert clean < 100
    assert uncleaned > 100_000
