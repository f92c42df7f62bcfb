"""Passages: RD coordinates against control points, privacy zones, and sums that add up to the rides."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from pyproj import Geod, Transformer

from koploper_pipelines.methods.snuffelfiets import cleaning, passages, rides
from koploper_pipelines.methods.snuffelfiets.passages import ZoneRules

pytestmark = pytest.mark.oracle

GEOD = Geod(ellps="WGS84")
HOME = (5.1214, 52.0907)
RIDE_RULES = rides.RideRules()
ZONES = ZoneRules()
MORNING = datetime(2024, 11, 12, 7, 30, tzinfo=UTC)
SCHEMA = pa.schema(
    [
        ("bron_id", pa.int64()),
        ("apparaat", pa.string()),
        ("opgenomen_op", pa.timestamp("us", "UTC")),
        ("breedtegraad", pa.float64()),
        ("lengtegraad", pa.float64()),
        ("nauwkeurigheid_m", pa.float64()),
        ("pm25_ug_m3", pa.float64()),
        ("luchtvochtigheid_pct", pa.float64()),
        ("is_onder_detectie", pa.bool_()),
        ("acc_max", pa.int64()),
    ]
)


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("SET threads = 2")
        yield connection


def ride_from(
    place: tuple[float, float],
    minutes: float = 15,
    azimuth: float = 60.0,
    device: str = "a",
    start: datetime = MORNING,
) -> list[dict[str, Any]]:
    """Away from a place in a straight line at 15 km/h, one measurement in 12 s (50 m)."""
    n = round(minutes * 5) + 1
    longitude, latitude, _ = GEOD.fwd(
        np.full(n, place[0]), np.full(n, place[1]), np.full(n, azimuth), np.arange(n) * 50.0
    )
    return [
        {
            "apparaat": device,
            "opgenomen_op": start + timedelta(seconds=12 * i),
            "breedtegraad": float(latitude[i]),
            "lengtegraad": float(longitude[i]),
            "nauwkeurigheid_m": 3.0,
            "pm25_ug_m3": round(5 + i / 100, 2),
            "luchtvochtigheid_pct": None if i % 7 == 0 else 60.0 + i % 3,
            "is_onder_detectie": i % 5 == 0,
            "acc_max": 5 if i % 9 == 0 else 0,
        }
        for i in range(n)
    ]


def measurements(con: duckdb.DuckDBPyConnection, *parts: list[dict[str, Any]]) -> duckdb.DuckDBPyRelation:
    rows = [row for part in parts for row in part]
    numbered = [row | {"bron_id": i} for i, row in enumerate(rows)]
    return con.from_arrow(pa.Table.from_pylist(numbered, schema=SCHEMA))


def placed(
    con: duckdb.DuckDBPyConnection, metingen: duckdb.DuckDBPyRelation, zones: ZoneRules = ZONES
) -> duckdb.DuckDBPyRelation:
    found = rides.rides(con, metingen, RIDE_RULES)
    return passages.ride_rows(con, rides.segments(con, metingen, RIDE_RULES), found, zones)


def frame(relation: duckdb.DuckDBPyRelation) -> pd.DataFrame:
    made: pd.DataFrame = relation.to_arrow_table().to_pandas()
    return made


# ETRS89 (latitude, longitude) and RD (x, y, metres) of the control points published with RDNAPTRANS 2008.
CONTROL_POINTS = {
    "Amersfoort": (52.155172897, 5.387203657, 155000.0, 463000.0),
    "Texel": (53.160753042, 4.824761912, 117380.12, 575040.34),
    "Noord-Groningen": (53.419482050, 6.776726674, 247380.56, 604580.78),
    "Zeeuws-Vlaanderen": (51.368607152, 3.397588595, 16460.91, 377380.23),
    "Zuid-Limburg": (50.792584916, 5.773795548, 182260.45, 311480.67),
    "Maasvlakte": (51.947393898, 4.072887101, 64640.89, 440700.0101),
}


def check_control_points() -> None:
    latitude, longitude, x, y = np.array(list(CONTROL_POINTS.values())).T
    found_x, found_y = passages.to_rd(longitude, latitude)
    assert np.hypot(found_x - x, found_y - y).max() < 1.0


def test_rd_is_that_of_the_control_points(monkeypatch: pytest.MonkeyPatch) -> None:
    check_control_points()
    # Without the shift between the ellipsoids every point lies some 100 m off: another cell.
    bessel = Transformer.from_pipeline(
        "+proj=pipeline +step +proj=unitconvert +xy_in=deg +xy_out=rad +step +proj=sterea "
        "+lat_0=52.1561605555556 +lon_0=5.38763888888889 +k=0.9999079 +x_0=155000 +y_0=463000 +ellps=bessel"
    )
    monkeypatch.setattr(passages, "to_rd", bessel.transform)
    with pytest.raises(AssertionError):
        check_control_points()


def test_tower_of_amersfoort_is_the_origin() -> None:
    x, y = passages.to_rd(np.array([5.38721]), np.array([52.15517]))
    assert np.hypot(x - 155_000, y - 463_000)[0] < 1.0


def test_cells_are_named_by_their_south_west_corner(con: duckdb.DuckDBPyConnection) -> None:
    made = frame(passages.passages(con, placed(con, measurements(con, ride_from(HOME)))))
    corners = made["cel_100m"].str.extract(r"^E(\d{4})N(\d{4})$").astype(int) * 100
    assert corners.notna().all(axis=None)
    # Of the straight line from home, in RD: the corners follow it at less than a diagonal.
    (x0,), (y0,) = passages.to_rd(np.array([HOME[0]]), np.array([HOME[1]]))
    along = np.radians(60)
    east, north = corners[0] + 50 - x0, corners[1] + 50 - y0
    assert (abs(east * np.cos(along) - north * np.sin(along)) < 100 * 2**0.5).all()
    assert corners[0].min() > x0
    # In the far west x has fewer digits, and the code has not.
    zeeland = ride_from((3.45, 51.40), azimuth=90)
    codes = frame(passages.passages(con, placed(con, measurements(con, zeeland))))["cel_100m"]
    assert codes.str.fullmatch(r"E0[12]\d\dN38\d\d").all()


def passages_by_pandas(rows: pd.DataFrame) -> pd.DataFrame:
    """Group the visible rows of rides once more, by the local wall clock with its offset."""
    rows = rows.sort_values(["rit_id", "opgenomen_op"], ignore_index=True)
    began = rows["opgenomen_op"] - pd.to_timedelta(rows["tussentijd_s"], unit="s")
    stopped = (began.groupby(rows["rit_id"]).shift(-1) - rows["opgenomen_op"]).dt.total_seconds().fillna(0)
    rows = rows.assign(wacht=stopped.where(stopped <= 180, 0), schok=rows["acc_max"] > 3)
    seen = rows[~rows["is_in_zone"]].copy()
    local = seen["opgenomen_op"].dt.tz_convert("Europe/Amsterdam")
    seen["uur"] = [t.replace(minute=0, second=0, microsecond=0).astimezone(UTC) for t in local]
    seen["cel_100m"] = [f"E{x:04}N{y:04}" for x, y in zip(seen["cel_x"], seen["cel_y"], strict=True)]
    made = seen.groupby(["rit_id", "cel_100m", "uur"], as_index=False).agg(
        meetdag=("meetdag", "first"),
        apparaat=("apparaat", "first"),
        aantal_metingen=("pm25_ug_m3", "size"),
        pm25_som_ug_m3=("pm25_ug_m3", "sum"),
        pm25_gemiddelde_ug_m3=("pm25_ug_m3", "mean"),
        rijtijd_s=("tussentijd_s", "sum"),
        afstand_m=("afstand_m", "sum"),
        luchtvochtigheid_gemiddelde_pct=("luchtvochtigheid_pct", "mean"),
        aantal_onder_detectie=("is_onder_detectie", "sum"),
        eerste=("opgenomen_op", "min"),
        wachttijd_s=("wacht", "sum"),
        aantal_schokken=("schok", "sum"),
    )
    made["volgnummer"] = made.groupby("rit_id")["eerste"].rank()
    return made.sort_values(["rit_id", "uur", "cel_100m"], ignore_index=True)


def assert_same_passages(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    found = found.sort_values(["rit_id", "uur", "cel_100m"], ignore_index=True)
    pd.testing.assert_frame_equal(
        found, expected[found.columns], check_dtype=False, check_exact=False, rtol=1e-6
    )


def test_sums_by_ride_cell_and_hour(con: duckdb.DuckDBPyConnection) -> None:
    start = datetime(2024, 11, 12, 7, 53, tzinfo=UTC)
    rows = placed(
        con, measurements(con, ride_from(HOME, start=start), ride_from(HOME, device="b", azimuth=61))
    )
    made = passages.passages(con, rows)
    assert made.columns == [
        "meetdag",
        "rit_id",
        "apparaat",
        "cel_100m",
        "uur",
        "aantal_metingen",
        "pm25_som_ug_m3",
        "pm25_gemiddelde_ug_m3",
        "rijtijd_s",
        "afstand_m",
        "luchtvochtigheid_gemiddelde_pct",
        "aantal_onder_detectie",
        "volgnummer",
        "wachttijd_s",
        "aantal_schokken",
    ]
    assert_same_passages(frame(made), passages_by_pandas(frame(rows)))
    assert frame(made)["uur"].nunique() == 2


def test_waiting_is_a_short_stop_in_the_cell_where_the_riding_stopped(
    con: duckdb.DuckDBPyConnection,
) -> None:
    road = ride_from(HOME, minutes=24)
    # At 2 km a light of 60 s, at 4 km an errand of 5 minutes: the bicycle stands, and goes on measuring.
    for at, stop_s in ((40, 60), (85, 300)):
        standing = [
            road[at] | {"opgenomen_op": road[at]["opgenomen_op"] + timedelta(seconds=12 * (i + 1))}
            for i in range(stop_s // 12)
        ]
        later = [r | {"opgenomen_op": r["opgenomen_op"] + timedelta(seconds=stop_s)} for r in road[at + 1 :]]
        road = [*road[: at + 1], *standing, *later]
    made = frame(passages.passages(con, placed(con, measurements(con, road)))).sort_values("volgnummer")
    assert len(set(made["rit_id"])) == 1
    waited = made[made["wachttijd_s"] > 0]
    assert waited["wachttijd_s"].tolist() == [60]
    x, y = passages.to_rd(np.array([road[40]["lengtegraad"]]), np.array([road[40]["breedtegraad"]]))
    assert waited["cel_100m"].tolist() == [f"E{int(x[0] // 100):04}N{int(y[0] // 100):04}"]
    # The order is that of riding: away from home.
    assert made["cel_100m"].str[1:5].astype(int).is_monotonic_increasing


def test_a_cell_ridden_in_two_hours_is_two_passages(con: duckdb.DuckDBPyConnection) -> None:
    far = ride_from(HOME, minutes=10)
    # Slowly up and down on one spot, 2 km from home, over the full hour.
    spot = [far[40]["lengtegraad"], far[40]["breedtegraad"]]
    last = far[-1]["opgenomen_op"]
    to_and_fro = []
    for i in range(1, 141):
        row = dict(far[40])
        row["lengtegraad"] = spot[0] + (0.0004 if i % 2 else 0.0)
        row["opgenomen_op"] = last + timedelta(seconds=300 + 12 * i)
        to_and_fro.append(row)
    back = ride_from((far[-1]["lengtegraad"], far[-1]["breedtegraad"]), start=to_and_fro[-1]["opgenomen_op"])
    made = frame(passages.passages(con, placed(con, measurements(con, far, to_and_fro, back[30:]))))
    hours = made.groupby(["rit_id", "cel_100m"])["uur"].nunique()
    assert hours.max() == 2


@pytest.mark.parametrize(
    ("start", "day", "hours"),
    [
        # The repeated hour: 02:50 summer time and 02:10 winter time are two hours.
        ((2024, 10, 27, 0, 50), date(2024, 10, 27), ["02:00+02:00", "02:00+01:00"]),
        # The skipped hour: after 01:59 comes 03:00.
        ((2024, 3, 31, 0, 50), date(2024, 3, 31), ["01:00+01:00", "03:00+02:00"]),
        ((2024, 12, 31, 22, 50), date(2024, 12, 31), ["23:00+01:00", "00:00+01:00"]),
    ],
)
def test_hours_of_nights_on_which_the_clock_or_the_year_changes(
    con: duckdb.DuckDBPyConnection, start: tuple[int, int, int, int, int], day: date, hours: list[str]
) -> None:
    con.execute("SET TimeZone = 'Asia/Kolkata'")
    begin = datetime(*start, tzinfo=UTC)
    made = frame(
        passages.passages(con, placed(con, measurements(con, ride_from(HOME, minutes=20, start=begin))))
    )
    local = made["uur"].drop_duplicates().sort_values().dt.tz_convert("Europe/Amsterdam")
    assert [t.isoformat()[11:16] + t.isoformat()[19:] for t in local] == hours
    assert set(made["meetdag"]) == {day}


def test_all_riding_rows_are_in_a_passage_or_in_a_zone(con: duckdb.DuckDBPyConnection) -> None:
    parts = [
        ride_from(HOME, minutes=m, azimuth=17.0 * i, device=f"d{i % 4}", start=MORNING + timedelta(hours=i))
        for i, m in enumerate([3, 6, 12, 20, 30, 8, 15, 2])
    ]
    metingen = measurements(con, *parts)
    found = frame(rides.rides(con, metingen, RIDE_RULES))
    rows = frame(placed(con, metingen))
    made = frame(passages.passages(con, placed(con, metingen)))
    assert len(found) == 8
    assert len(rows) == found["aantal_metingen"].sum()
    assert made["aantal_metingen"].sum() + rows["is_in_zone"].sum() == len(rows)
    per_ride = rows.groupby("rit_id").agg(
        n=("pm25_ug_m3", "size"), m=("afstand_m", "sum"), s=("tussentijd_s", "sum")
    )
    expected = found.set_index("rit_id").loc[per_ride.index]
    assert (per_ride["n"] == expected["aantal_metingen"]).all()
    np.testing.assert_allclose(per_ride["m"], expected["afstand_km"] * 1000, rtol=1e-9)
    np.testing.assert_allclose(per_ride["s"], expected["rijtijd_uur"] * 3600, rtol=1e-9)


def test_rows_of_no_ride_are_left_out(con: duckdb.DuckDBPyConnection) -> None:
    shuffle = ride_from(HOME, minutes=1)[:3]
    later = ride_from(HOME, start=MORNING + timedelta(hours=1))
    alone, both = measurements(con, later), measurements(con, shuffle, later)
    expected = frame(placed(con, alone)).sort_values("opgenomen_op", ignore_index=True)
    pd.testing.assert_frame_equal(
        frame(placed(con, both)).sort_values("opgenomen_op", ignore_index=True), expected
    )


def rd_of(rows: list[dict[Any, Any]]) -> NDArray[np.float64]:
    x, y = passages.to_rd(
        np.array([row["lengtegraad"] for row in rows]), np.array([row["breedtegraad"] for row in rows])
    )
    return np.stack([x, y], axis=1)


def test_both_ends_of_every_ride_are_cut(con: duckdb.DuckDBPyConnection) -> None:
    """No row nearer than the radius less the offset is seen; none farther than their sum is lost."""
    parts = [ride_from(HOME, minutes=20, azimuth=30.0 * i, device=f"d{i:02}") for i in range(12)]
    rows = frame(placed(con, measurements(con, *parts))).sort_values(["apparaat", "opgenomen_op"])
    from_end = np.concatenate(
        [
            np.minimum(np.hypot(*(place[1:] - place[0]).T), np.hypot(*(place[1:] - place[-1]).T))
            for place in map(rd_of, parts)
        ]
    )
    in_zone = rows["is_in_zone"].to_numpy()
    assert from_end[~in_zone].min() > 100
    assert from_end[in_zone].max() <= 400
    # The cut is no fixed distance either.
    nearest = pd.Series(from_end[~in_zone]).groupby(rows["apparaat"].to_numpy()[~in_zone]).min()
    assert np.ptp(nearest) > 100


def centres(con: duckdb.DuckDBPyConnection, ends: list[tuple[str, float, float]]) -> NDArray[np.float64]:
    values = ", ".join(f"({i}, '{device}', {x}, {y})" for i, (device, x, y) in enumerate(ends))
    found = con.sql(
        f"SELECT {passages._shifted_sql(ZONES)} "
        f"FROM (VALUES {values}) AS t (i, apparaat, rd_x, rd_y) ORDER BY i"
    ).fetchall()
    return np.array(found, dtype=np.float64)


def test_offset_follows_from_device_and_neighbourhood_alone(con: duckdb.DuckDBPyConnection) -> None:
    x, y = 136_250.0, 456_250.0
    ends = [("a", x, y), ("a", x + 200, y - 200), ("a", x + 500, y), ("b", x, y)]
    offsets = centres(con, ends) - np.array([end[1:] for end in ends])
    np.testing.assert_allclose(offsets[0], offsets[1], atol=1e-9)
    assert np.hypot(*(offsets[2] - offsets[0])) > 1
    assert np.hypot(*(offsets[3] - offsets[0])) > 1


def test_offsets_are_spread_evenly_over_their_disc(con: duckdb.DuckDBPyConnection) -> None:
    n = 4000
    offsets = centres(con, [(f"d{i}", 136_250.0, 456_250.0) for i in range(n)]) - [136_250.0, 456_250.0]
    distance = np.hypot(*offsets.T)
    assert distance.max() <= 150
    assert np.median(distance) > 100
    # Of an even spread over a disc a quarter lies within half of its radius; four standard errors.
    assert np.mean(distance < 75) == pytest.approx(0.25, abs=4 * (0.25 * 0.75 / n) ** 0.5)
    assert np.abs(offsets.mean(axis=0)).max() < 4 * 75 / n**0.5
    quadrants = np.unique(np.sign(offsets), axis=0, return_counts=True)[1]
    assert np.abs(quadrants / n - 0.25).max() < 4 * (0.25 * 0.75 / n) ** 0.5


def guesses_of_home(
    con: duckdb.DuckDBPyConnection, devices: list[str], zones: ZoneRules
) -> NDArray[np.float64]:
    """What an attacker makes of the visible rows of 24 rides: the centre of the circle that was cut out."""
    parts = [
        ride_from(HOME, 10, azimuth=15.0 * i, device=device, start=MORNING + timedelta(hours=i))
        for device in devices
        for i in range(24)
    ]
    metingen = measurements(con, *parts)
    rows = frame(placed(con, metingen, zones)).merge(frame(metingen), on=["apparaat", "opgenomen_op"])
    first = rows[~rows["is_in_zone"]].sort_values("opgenomen_op").groupby(["apparaat", "rit_id"]).first()
    guesses = []
    for _, borders in first.groupby("apparaat"):
        x, y = rd_of(borders.to_dict("records")).T
        # A circle through the first visible rows, by least squares.
        solution, *_ = np.linalg.lstsq(np.stack([x, y, np.ones_like(x)], axis=1), x**2 + y**2, rcond=None)
        guesses.append(solution[:2] / 2)
    return np.array(guesses)


def test_many_rides_from_one_home_show_the_zone_and_not_the_home(con: duckdb.DuckDBPyConnection) -> None:
    (home,) = rd_of([{"lengtegraad": HOME[0], "breedtegraad": HOME[1]}])
    devices = ["a", "b", "c", "d"]
    offset = centres(con, [(device, *home) for device in devices]) - home
    off = guesses_of_home(con, devices, ZONES) - home
    # One visible row in 50 m leaves the guess some metres from the centre of the zone.
    assert np.hypot(*(off - offset).T).max() < 25
    # Counter-test: of a fixed cut that centre is the front door.
    fixed = guesses_of_home(con, devices, ZoneRules(max_offset_m=0.0)) - home
    assert np.hypot(*fixed.T).max() < 25


def test_a_ride_without_its_ends_is_refused(con: duckdb.DuckDBPyConnection) -> None:
    ride = ride_from(HOME)
    found = rides.rides(con, measurements(con, ride), RIDE_RULES)
    for part in (ride[1:], ride[:-1], []):
        segments = rides.segments(con, measurements(con, part), RIDE_RULES)
        with pytest.raises(ValueError, match="for 1 rides; expected one a ride"):
            passages.ride_rows(con, segments, found, ZONES)


def test_no_rides_make_no_passages(con: duckdb.DuckDBPyConnection) -> None:
    rows = placed(con, measurements(con, ride_from(HOME)[:2]))
    assert rows.fetchall() == []
    assert passages.passages(con, rows).fetchall() == []


def test_passages_follow_from_the_rows_alone(con: duckdb.DuckDBPyConnection) -> None:
    """Not from their order, a second evaluation or what else is in the catalogue."""
    parts = [ride_from(HOME, device=f"d{i}", azimuth=40.0 * i) for i in range(6)]
    metingen = measurements(con, *parts)

    def made(rows: duckdb.DuckDBPyRelation) -> list[tuple[Any, ...]]:
        return passages.passages(con, rows).order("rit_id, uur, cel_100m").fetchall()

    expected = made(placed(con, metingen))
    for name in (
        "metingen",
        "segmenten",
        "ritten",
        "einden",
        "zones",
        "nummers",
        "rijen",
        "rijrijen",
        "s",
        "n",
    ):
        con.execute(f"CREATE TABLE {name} AS SELECT 1 AS rit_id")
    again = placed(con, metingen.order("hash(bron_id)"))
    assert made(again) == made(again) == expected


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_offset_m": 250.0},
        {"max_offset_m": -1.0},
        {"zone_radius_m": float("inf")},
        {"zone_radius_m": 100.0},
    ],
)
def test_rules_refuse_a_zone_that_may_miss_its_end(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected"):
        ZoneRules(**wrong)


def test_real_file(con: duckdb.DuckDBPyConnection, real_data: Callable[[str], Any]) -> None:
    path = str(real_data("snuffelfiets/ckan_metingen_2024-11.csv"))
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
    metingen = cleaning.kept(cleaning.judge(con, con.table("geland"), cleaning.CleaningRules()))
    found = frame(rides.rides(con, metingen, RIDE_RULES))
    rows = frame(placed(con, metingen))
    made = frame(passages.passages(con, placed(con, metingen)))
    assert_same_passages(made, passages_by_pandas(rows))
    assert len(rows) == found["aantal_metingen"].sum()
    # Cells once more, with a transformation of another make: the published polynomial.
    joined = rows.merge(frame(metingen), on=["apparaat", "opgenomen_op"], validate="one_to_one")
    x, y = rd_by_polynomial(joined["breedtegraad"].to_numpy(), joined["lengtegraad"].to_numpy())
    off = np.abs(np.stack([x / 100 - joined["cel_x"] - 0.5, y / 100 - joined["cel_y"] - 0.5]))
    assert off.max() < 0.5 + 0.02
    assert in_zone_by_loops(rows, found, frame(metingen)) == rows["is_in_zone"].tolist()
    assert (len(rows), int(rows["is_in_zone"].sum()), len(made)) == (926, 370, 305)


def in_zone_by_loops(rows: pd.DataFrame, found: pd.DataFrame, metingen: pd.DataFrame) -> list[bool]:
    """The zones once more, for the rows of the rides found among the measurements."""
    records = metingen.to_dict("records")
    place = {
        (row["apparaat"], row["opgenomen_op"]): point
        for row, point in zip(records, rd_of(records), strict=True)
    }
    zones: dict[str, list[NDArray[np.float64]]] = {}
    for ride in found.to_dict("records"):
        for moment in (ride["start_op"], ride["einde_op"]):
            end = place[ride["apparaat"], moment]
            home = f"{ride['apparaat']}|{end[0] // 500}|{end[1] // 500}"
            turn, area = (
                int(hashlib.sha256(f"{home}|{part}".encode()).hexdigest()[:13], 16) / 16**13
                for part in ("hoek", "oppervlak")
            )
            shift = np.array([np.cos(2 * np.pi * turn), np.sin(2 * np.pi * turn)]) * 150 * area**0.5
            zones.setdefault(ride["rit_id"], []).append(end + shift)
    return [
        any(
            np.hypot(*(place[row["apparaat"], row["opgenomen_op"]] - zone)) <= 250
            for zone in zones[row["rit_id"]]
        )
        for row in rows.to_dict("records")
    ]


def rd_by_polynomial(
    latitude: NDArray[np.float64], longitude: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Schreutelkamp and Strang van Hees, Geodesia 2001: within 0.25 to 1 m in the Netherlands."""
    north, east = 0.36 * (latitude - 52.15517440), 0.36 * (longitude - 5.38720621)
    to_x = {
        (0, 1): 190094.945, (1, 1): -11832.228, (2, 1): -114.221, (0, 3): -32.391, (1, 0): -0.705,
        (3, 1): -2.340, (1, 3): -0.608, (0, 2): -0.008, (2, 3): 0.148,
    }  # fmt: skip
    to_y = {
        (1, 0): 309056.544, (0, 2): 3638.893, (2, 0): 73.077, (1, 2): -157.984, (3, 0): 59.788,
        (0, 1): 0.433, (2, 2): -6.439, (1, 1): -0.032, (0, 4): 0.092, (1, 4): -0.054,
    }  # fmt: skip
    x = 155_000 + sum(value * north**p * east**q for (p, q), value in to_x.items())
    y = 463_000 + sum(value * north**p * east**q for (p, q), value in to_y.items())
    return np.asarray(x), np.asarray(y)
