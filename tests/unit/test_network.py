"""Network, trips, replicate rides and the hours that all rides share, against pandas and by construction."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest

from koploper_pipelines.methods.snuffelfiets import (
    background,
    cleaning,
    network,
    passages,
    replicates,
    rides,
    roads,
)

HOUR = pd.Timestamp("2024-10-05 07:00", tz="UTC")


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


def some_passages(seed: int, number: int = 600) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    ride = rng.integers(0, 60, number)
    cell = rng.integers(0, 12, number)
    made = pd.DataFrame(
        {
            "rit_id": [f"{r:04x}" for r in ride],
            "apparaat": [f"a{r % 9}" for r in ride],
            "meetdag": [date(2024, 9 + r % 2, 1 + r % 28) for r in ride],
            "cel_100m": [f"E{1300 + c:04d}N4500" for c in cell],
            "uur": HOUR + pd.to_timedelta(ride, unit="h"),
            "aantal_metingen": rng.integers(1, 5, number),
            "rijtijd_s": rng.integers(5, 60, number).astype(float),
            "afstand_m": rng.uniform(20, 200, number).round(3),
            "wachttijd_s": rng.choice([0.0, 0.0, 24.0], number),
            "aantal_schokken": rng.integers(0, 2, number),
            "pm25_gemiddelde_ug_m3": rng.uniform(5, 15, number).round(3),
        }
    ).drop_duplicates(["rit_id", "cel_100m"])
    made["volgnummer"] = made.groupby("rit_id").cumcount() + 1
    return made


class TestCells:
    def test_figures_are_those_of_pandas(self, con: duckdb.DuckDBPyConnection) -> None:
        rows = some_passages(1)
        found = network.cells(con, con.from_df(rows)).df().set_index(["maand", "cel_100m"]).sort_index()
        maand = pd.to_datetime(rows["meetdag"]).dt.strftime("%Y-%m")
        grouped = rows.assign(maand=maand).groupby(["maand", "cel_100m"])
        assert found["aantal_passages"].tolist() == grouped.size().tolist()
        assert found["aantal_apparaten"].tolist() == grouped["apparaat"].nunique().tolist()
        leader = grouped["apparaat"].agg(lambda a: a.value_counts(normalize=True).iloc[0])
        assert found["grootste_aandeel"].tolist() == pytest.approx(leader.tolist())
        speed = 3.6 * grouped["afstand_m"].sum() / grouped["rijtijd_s"].sum()
        assert found["snelheid_km_h"].tolist() == pytest.approx(speed.tolist())
        assert found["wachttijd_s"].tolist() == pytest.approx(grouped["wachttijd_s"].mean().tolist())
        bumps = 100 * grouped["aantal_schokken"].sum() / grouped["aantal_metingen"].sum()
        assert found["schokken_pct"].tolist() == pytest.approx(bumps.tolist())
        # Distance over time, and not the mean of speeds, as was published before.
        assert speed.tolist() != pytest.approx(
            (3.6 * rows["afstand_m"] / rows["rijtijd_s"]).groupby([maand, rows["cel_100m"]]).mean().tolist()
        )


class TestTrips:
    def test_a_ride_goes_from_the_first_to_the_last_passage(self, con: duckdb.DuckDBPyConnection) -> None:
        rows = some_passages(2)
        cells = rows[["cel_100m"]].drop_duplicates()
        areas = cells.assign(
            gebied_code=["GM0344" if int(c[1:5]) < 1305 else "GM0355" for c in cells["cel_100m"]]
        )
        of_ride = rows.groupby("rit_id", as_index=False).agg(
            apparaat=("apparaat", "first"), meetdag=("meetdag", "first")
        )
        of_ride["afstand_km"] = np.arange(len(of_ride), dtype=float)
        of_ride["duur_s"] = 600.0
        found = network.trips(con, con.from_df(rows), con.from_df(of_ride), areas, "PV26").df()
        placed = rows.merge(areas, on="cel_100m").sort_values(["rit_id", "volgnummer"]).groupby("rit_id")
        ends = pd.DataFrame({"van": placed["gebied_code"].first(), "naar": placed["gebied_code"].last()})
        ends = ends.join(of_ride.set_index("rit_id"))
        ends["maand"] = pd.to_datetime(ends["meetdag"]).dt.strftime("%Y-%m")
        expected = ends.groupby(["maand", "van", "naar"]).agg(
            n=("apparaat", "size"), apparaten=("apparaat", "nunique"), km=("afstand_km", "median")
        )
        own = found[found["herkomst_code"] != "PV26"].sort_values(
            ["maand", "herkomst_code", "bestemming_code"]
        )
        assert own["aantal_ritten"].tolist() == expected["n"].tolist()
        assert own["aantal_apparaten"].tolist() == expected["apparaten"].tolist()
        assert own["afstand_mediaan_km"].tolist() == pytest.approx(expected["km"].tolist())
        whole = found[found["herkomst_code"] == "PV26"].sort_values("maand")
        assert whole["aantal_ritten"].tolist() == ends.groupby("maand").size().tolist()
        assert set(whole["bestemming_code"]) == {"PV26"}


class TestHours:
    def test_only_background_stations_make_the_background(self, con: duckdb.DuckDBPyConnection) -> None:
        reference = pd.DataFrame(
            {
                "uur_op": [HOUR] * 4 + [HOUR + pd.Timedelta(hours=1)],
                "stationstype": ["achtergrond", "achtergrond", "verkeer", "overig", "verkeer"],
                "pm25_ug_m3": [4.0, -1.0, 30.0, 50.0, 30.0],
            }
        )
        weather = pd.DataFrame(
            {
                "uur_op": [HOUR + pd.Timedelta(hours=1)],
                "wind_m_s": [3.0],
                "neerslag_mm": [0.025],
                "luchtvochtigheid_pct": [81.0],
            }
        )
        hours = background.hours(con, con.from_df(reference), con.from_df(weather))
        rows = con.from_df(
            pd.DataFrame({"uur": [HOUR, HOUR + pd.Timedelta(hours=1), HOUR - pd.Timedelta(hours=1)]})
        )
        found = background.with_hours(con, rows, hours).order("uur").df()
        assert found["achtergrond_ug_m3"].isna().tolist() == [True, False, True]
        assert found["achtergrond_ug_m3"][1] == 1.5
        assert found["wind_m_s"].isna().tolist() == [True, True, False]
        assert found["luchtvochtigheid_buiten_pct"][2] == 81.0
        assert len(found) == 3


def ride_along(ride: str, device: str, cells: range, value: float, start_s: float = 0) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "rit_id": ride,
            "apparaat": device,
            "cel_100m": [f"E{1300 + c:04d}N4500" for c in cells],
            "uur": HOUR,
            "pm25_gemiddelde_ug_m3": [value + (c % 4) for c in cells],
            "meetdag": date(2024, 10, 5),
            "start_op": HOUR + pd.Timedelta(seconds=start_s),
            "einde_op": HOUR + pd.Timedelta(seconds=start_s + 600),
            "duur_s": 600.0,
        }
    )


def replicates_in(con: duckdb.DuckDBPyConnection, *parts: pd.DataFrame) -> pd.DataFrame:
    rows = pd.concat(parts)
    of_ride = rows.drop_duplicates("rit_id").drop(columns=["cel_100m", "uur", "pm25_gemiddelde_ug_m3"])
    found: pd.DataFrame = replicates.replicate_rides(con, con.from_df(rows), con.from_df(of_ride)).df()
    return found


class TestReplicates:
    def test_devices_that_ride_together_are_found(self, con: duckdb.DuckDBPyConnection) -> None:
        found = replicates_in(
            con,
            ride_along("01", "a", range(0, 20), 10),
            ride_along("02", "b", range(2, 22), 12, start_s=20),
            # Another time, another way, the same device, and a short meeting: no replicates.
            ride_along("03", "c", range(0, 20), 10, start_s=1200),
            ride_along("04", "d", range(30, 50), 10),
            ride_along("05", "a", range(0, 20), 10, start_s=40),
            ride_along("06", "e", range(14, 40), 10),
        )
        assert list(zip(found["rit_a"], found["rit_b"], strict=True)) == [("01", "02"), ("02", "05")]
        first = found.iloc[0]
        assert first["gedeelde_cellen"] == 18
        assert first["pm25_b_ug_m3"] - first["pm25_a_ug_m3"] == pytest.approx(2)
        assert first["rmsd_ug_m3"] == pytest.approx(2)
        assert first["correlatie"] == pytest.approx(1)

    def test_spread_of_devices_comes_back_from_pairs(self, con: duckdb.DuckDBPyConnection) -> None:
        rng = np.random.default_rng(5)
        levels = 100 * np.exp(rng.normal(0, 0.1, 40))
        pairs = pd.DataFrame([(a, b) for i, a in enumerate(levels) for b in levels[:i]], columns=["a", "b"])
        told = replicates.agreement(
            pd.DataFrame(
                {"pm25_a_ug_m3": pairs["a"], "pm25_b_ug_m3": pairs["b"], "rmsd_ug_m3": 1.0, "correlatie": 0.5}
            )
        )
        assert told["variatiecoefficient_pct"] == pytest.approx(100 * np.log(levels).std(ddof=1), rel=0.05)

    def test_the_real_ride_of_five_devices_is_found(
        self, con: duckdb.DuckDBPyConnection, real_data: Callable[[str], Path]
    ) -> None:
        """12 November 2024, 14:02 to 16:37: the test ride on which all devices of the file rode."""
        raw = con.read_csv(str(real_data("snuffelfiets/ckan_metingen_2024-11.csv")), all_varchar=True)
        raw = raw.project(
            "*, row_number() OVER () AS rij, 'x' AS bestand, now() AS geland_op, entity_id AS apparaat,"
            " recording_timestamp::TIMESTAMP::DATE AS opnamedatum"
        )
        cleaning.judge(con, raw, cleaning.CleaningRules()).create("judged")
        kept = cleaning.kept(con.table("judged"))
        found_rides = rides.rides(con, kept, rides.RideRules())
        rows = passages.ride_rows(
            con, rides.segments(con, kept, rides.RideRules()), found_rides, passages.ZoneRules()
        )
        pairs = replicates.replicate_rides(con, passages.passages(con, rows), found_rides).df()
        together = pairs[pairs["meetdag"].astype(str).str[:10] == "2024-11-12"]
        assert len({*together["apparaat_a"], *together["apparaat_b"]}) == 5
        assert len(together) >= 0.8 * len(pairs)
        told = replicates.agreement(together)
        # Of all ten devices of that ride the means differ by 9.5%, and by 13% in a minute.
        assert 5 <= told["variatiecoefficient_pct"] <= 20


class TestRoadList:
    def test_each_row_is_kept_or_has_one_reason(self, con: duckdb.DuckDBPyConnection) -> None:
        told = [
            (1, 1, "E1300N4500", "hoofdweg", "NWB 2023", "vervangen"),
            (2, 1, " E1300N4500 ", "rustige_weg", "NWB 2024", None),
            (2, 2, "E1301N4500", "hoofdweg", "NWB 2024", None),
            (2, 3, "E1301N4500", "rustige_weg", "NWB 2024", "dubbele_cel"),
            (2, 4, "1302-4500", "hoofdweg", "NWB 2024", "onleesbare_cel"),
            (2, 5, None, "hoofdweg", "NWB 2024", "onleesbare_cel"),
            (2, 6, "E1303N4500", "snelweg", "NWB 2024", "onbekend_wegtype"),
            (2, 7, "E1304N4500", "hoofdweg", None, "bron_ontbreekt"),
            # The first usable row of a cell counts.
            (2, 8, "E1303N4500", "hoofdweg", "NWB 2024", None),
        ]
        columns = ["levering", "rij", "cel_100m", "wegtype", "bron", "verwacht"]
        raw = con.from_df(pd.DataFrame(told, columns=columns))
        judged = roads.judge(con, raw).order("levering, rij").fetchall()
        assert [row[6] for row in judged] == [row[5] for row in told]
        kept = roads.judge(con, raw).filter("reden IS NULL").order("cel_100m").df()
        assert roads.of_list(kept).to_dict("records") == [
            {"cel_100m": "E1300N4500", "soort": roads.QUIET},
            {"cel_100m": "E1301N4500", "soort": roads.BUSY},
            {"cel_100m": "E1303N4500", "soort": roads.BUSY},
        ]
