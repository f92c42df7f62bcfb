"""The simulated exports look like the real one, and the truth beside them is the truth behind them."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pyproj import Geod, Transformer

from koploper_pipelines.resources.knmi import read_hours
from koploper_pipelines.resources.rivm import read_year
from koploper_pipelines.simulation.snuffelfiets import FilesPer, Simulated, demo, simulate

HEADER = (
    "_id,entity_id,recording_timestamp,receive_timestamp,acc_max,error_code,horizontal_accuracy,humidity,"
    "latitude,longitude,no2,pm10,pm1_0,pm2_5,pressure,temperature,version_major,version_minor,"
    "vertical_accuracy,voc,voltage"
)
ROW = (
    r"\d+,\d{15},\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d,\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}000,\d+,\d+,\d+,\d+,"
    r"\d+\.\d{1,7},\d+\.\d{1,7},0,\d+,\d+,\d+,\d+,-?\d+,[12],[3568],\d+,\d+,\d+"
)
CODES = {
    "sensoren_ontbreken": 533,
    "pm_ontbreekt": 512,
    "versnellingsmeter_ontbreekt": 1,
    "bme_ontbreekt": 4,
    "bme_leesfout": 8,
    "gps_ontbreekt": 16,
    "pm_onzeker": 4096,
}
WGS84 = Geod(ellps="WGS84")
CONSTANT = ("uren", "effecten", "stations")
"""Truth in which nothing is drawn."""
STATIONS = ("NL10636", "NL10641", "NL10643", "NL10644")


@dataclass(frozen=True)
class Run:
    """A simulation read back: raw rows as exported, and truth tables by name."""

    simulated: Simulated
    raw: pd.DataFrame
    truth: dict[str, pd.DataFrame]

    def joined(self) -> pd.DataFrame:
        return self.raw.merge(self.truth["rijen"].drop(columns="entity_id"), on="_id", validate="1:1")


def run(folder: Path, **arguments: Any) -> Run:
    simulated = simulate(folder / "inbox", folder / "truth", **arguments)
    return Run(
        simulated,
        pd.concat([read_export(path) for path in simulated.files], ignore_index=True),
        {path.stem: pd.read_parquet(path) for path in simulated.truth.glob("*.parquet")},
    )


def read_export(path: Path) -> pd.DataFrame:
    raw = pd.read_csv(path, dtype={"entity_id": str})
    for column in ("recording_timestamp", "receive_timestamp"):
        raw[column] = pd.to_datetime(raw[column], format="ISO8601").dt.as_unit("us")
    raw["firmware"] = raw["version_major"].astype(str) + "." + raw["version_minor"].astype(str)
    return raw


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A month at the default activity."""
    return run(tmp_path_factory.mktemp("month"), last_day=date(2026, 9, 30), days=30, participants=60, seed=3)


def without_faults(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["fout"].isna()]


def has_fault(rows: pd.DataFrame, name: str) -> "pd.Series[bool]":
    return rows["fout"].isin([label for label in rows["fout"].dropna().unique() if name in label.split("+")])


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --- files ---------------------------------------------------------------------------------------------


def test_same_seed_gives_same_bytes_and_another_seed_does_not(tmp_path: Path) -> None:
    for name, seed in (("one", 5), ("same", 5), ("other", 6)):
        folder = tmp_path / name
        simulate(
            folder / "inbox",
            folder / "truth",
            last_day=date(2026, 3, 31),
            days=20,
            participants=8,
            seed=seed,
            rows=4000,
        )
    one, same, other = (content(tmp_path / name) for name in ("one", "same", "other"))
    assert len(one) >= 7
    assert one == same
    drawn = {name for name in one.keys() & other.keys() if Path(name).stem not in CONSTANT}
    assert len(drawn) >= 5
    assert not [name for name in drawn if one[name] == other[name]]


def test_files_have_the_real_layout(month: Run) -> None:
    for path in month.simulated.files:
        lines = path.read_bytes().decode().split("\r\n")
        assert lines[0] == HEADER
        assert lines[-1] == ""
        body = pd.Series(lines[1:-1])
        assert body.str.fullmatch(ROW).all(), body[~body.str.fullmatch(ROW)].iloc[0]


def test_header_and_notation_are_those_of_the_real_export(real_data: Callable[[str], Path]) -> None:
    lines = real_data("snuffelfiets/ckan_metingen_2024-11.csv").read_bytes().decode().split("\r\n")
    assert lines[0] == HEADER
    assert pd.Series(lines[1:-1]).str.fullmatch(ROW).all()


@pytest.mark.parametrize(
    ("files_per", "pattern"),
    [
        ("dag", "metingen_%Y-%m-%d.csv"),
        ("week", "metingen_%G-W%V.csv"),
        ("maand", "metingen_%Y-%m.csv"),
        ("alles", "metingen_alles.csv"),
    ],
)
def test_each_file_holds_its_period_in_order_of_arrival(
    tmp_path: Path, files_per: FilesPer, pattern: str
) -> None:
    got = run(
        tmp_path, last_day=date(2027, 1, 5), days=20, participants=15, seed=1, rows=8000, files_per=files_per
    )
    assert got.simulated.rows == len(got.raw)
    assert sorted(got.raw["_id"]) == list(range(got.raw["_id"].min(), got.raw["_id"].min() + len(got.raw)))
    inbox = tmp_path / "inbox"
    assert {p for p in inbox.iterdir() if p.is_file()} == set(got.simulated.files)
    for path in got.simulated.files:
        rows = read_export(path)
        assert rows["_id"].is_monotonic_increasing
        assert set(rows["receive_timestamp"].dt.strftime(pattern)) == {path.name}


def test_id_is_nearly_but_not_quite_in_order_of_receipt(month: Run) -> None:
    received = month.raw.sort_values("_id")["receive_timestamp"]
    backwards = received.diff().dt.total_seconds() < 0
    assert 0 < backwards.mean() < 0.01


@pytest.mark.parametrize("truth", ["inbox", "inbox/truth", "inbox/../inbox/truth"])
def test_truth_in_the_inbox_is_refused(tmp_path: Path, truth: str) -> None:
    with pytest.raises(ValueError, match="inbox"):
        simulate(
            tmp_path / "inbox", tmp_path / truth, last_day=date(2026, 1, 1), days=1, participants=1, seed=1
        )


@pytest.mark.parametrize(
    ("rows", "days", "devices"),
    [(2_000, 7, 10), (2_000, 92, 60), (20_000, 365, 5), (50_000, 7, 20)],
)
def test_rows_are_met_within_five_percent(tmp_path: Path, rows: int, days: int, devices: int) -> None:
    for seed in range(2):
        got = simulate(
            tmp_path / f"{seed}/inbox",
            tmp_path / f"{seed}/truth",
            last_day=date(2026, 4, 30),
            days=days,
            participants=devices,
            seed=seed,
            rows=rows,
        )
        assert got.rows == pytest.approx(rows, rel=0.05)


def test_rows_are_met_on_average_though_devices_keep_their_last_rows(tmp_path: Path) -> None:
    rows = [
        simulate(
            tmp_path / f"{seed}/inbox",
            tmp_path / f"{seed}/truth",
            last_day=date(2026, 4, 30),
            days=92,
            participants=60,
            seed=seed,
            rows=2_000,
        ).rows
        for seed in range(8)
    ]
    assert np.mean(rows) == pytest.approx(2_000, rel=0.015)


def test_more_rows_than_the_devices_can_make_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at most"):
        simulate(
            tmp_path / "inbox",
            tmp_path / "truth",
            last_day=date(2026, 1, 5),
            days=3,
            participants=2,
            seed=1,
            rows=50_000,
        )


def test_a_single_day_of_a_single_device_is_simulated_too(tmp_path: Path) -> None:
    rows = []
    for seed in range(12):
        folder = tmp_path / str(seed)
        got = simulate(
            folder / "inbox", folder / "truth", last_day=date(2026, 1, 4), days=1, participants=1, seed=seed
        )
        assert len(pd.read_parquet(got.truth / "rijen.parquet")) == got.rows
        assert bool(got.files) == (got.rows > 0)
        rows.append(got.rows)
    assert sorted(rows)[6] > 0


# --- like the real data --------------------------------------------------------------------------------


def shares(raw: pd.DataFrame) -> dict[str, float]:
    """The figures on which simulated and real export are compared."""
    raw = raw[raw["recording_timestamp"].dt.year.between(2000, 2100)]
    raw = raw.sort_values(["entity_id", "recording_timestamp", "_id"])
    gap = raw.groupby("entity_id")["recording_timestamp"].diff().dt.total_seconds()
    lag = (raw["receive_timestamp"] - raw["recording_timestamp"]).dt.total_seconds()
    packet = raw.groupby(["entity_id", "receive_timestamp"]).size()
    error_free = raw[raw["error_code"] == 0]
    has_fix = raw["latitude"] > 0
    return {
        "interval_median": gap.median(),
        "interval_p01": gap.quantile(0.01),
        "packet_median": packet.median(),
        "packet_of_11": (packet == 11).mean(),
        "lag_median": lag.median(),
        "lag_negative": (lag < 0).mean(),
        "lag_min": lag.min(),
        "lag_over_hour": (lag > 3600).mean(),
        "code_32": (raw["error_code"] & 32 > 0).mean(),
        "code_2048": (raw["error_code"] & 2048 > 0).mean(),
        "zero_position": (~has_fix).mean(),
        "zero_v18": (error_free[error_free["firmware"] == "1.8"]["pm2_5"] == 0).mean(),
        "acc_zero": (raw["acc_max"] == 0).mean(),
        "hacc_median": error_free["horizontal_accuracy"].median(),
        "hacc_weak_median": raw[has_fix & (raw["error_code"] & 32 > 0)]["horizontal_accuracy"].median(),
    }


# Absolute and relative room, as wide as two days of five devices are uncertain.
ROOM = {
    "interval_median": (0, 0),
    "interval_p01": (0, 0),
    "packet_median": (0, 0),
    "packet_of_11": (0.03, 0),
    "lag_median": (8, 0),
    "lag_negative": (0.03, 0),
    "lag_min": (3, 0),
    "lag_over_hour": (0, 0.5),
    "code_32": (0, 0.6),
    "code_2048": (0, 0.6),
    "zero_position": (0, 0.6),
    "zero_v18": (0.06, 0),
    "acc_zero": (0.02, 0),
    "hacc_median": (0, 0.1),
    "hacc_weak_median": (0, 0.1),
}


def unlike(simulated: dict[str, float], real: dict[str, float]) -> set[str]:
    return {
        name
        for name, (absolute, relative) in ROOM.items()
        if not abs(simulated[name] - real[name]) <= absolute + relative * abs(real[name])
    }


def test_shares_are_those_of_the_real_export(month: Run, real_data: Callable[[str], Path]) -> None:
    real = shares(read_export(real_data("snuffelfiets/ckan_metingen_2024-11.csv")))
    assert unlike(shares(month.raw), real) == set()
    # A simulation that sends every row by itself, on time and without a fault is told apart.
    tidy = month.raw[month.raw["error_code"] == 0]
    tidy = tidy.assign(receive_timestamp=tidy["recording_timestamp"] + pd.Timedelta(seconds=2))
    assert {"packet_median", "lag_median", "lag_negative", "code_32", "code_2048"} <= unlike(
        shares(tidy), real
    )


def test_error_code_belongs_to_the_packet_as_in_the_real_export(
    month: Run, real_data: Callable[[str], Path]
) -> None:
    for raw in (read_export(real_data("snuffelfiets/ckan_metingen_2024-11.csv")), month.raw):
        codes = raw.groupby(["entity_id", "receive_timestamp"])["error_code"].nunique()
        assert (codes == 1).all()


def test_error_codes_have_the_shares_of_the_first_quarter_of_2024(month: Run) -> None:
    share = month.raw["error_code"].value_counts(normalize=True)
    published = {32: 0.048, 2048: 0.033, 533: 0.003, 2080: 0.002}
    for code, expected in published.items():
        assert share[code] == pytest.approx(expected, rel=0.5)
    assert share.drop([0, *published]).max() < 0.002


def test_activity_and_firmware_mix_are_those_of_the_network(month: Run) -> None:
    # 676,664 rows of 64 riders in 91 days.
    assert len(month.raw) / (30 * 60) == pytest.approx(676_664 / 64 / 91, rel=0.15)
    firmware = month.truth["apparaten"]["firmware"].value_counts(normalize=True)
    assert firmware.to_dict() == pytest.approx({"2.3": 0.7, "1.5": 0.1, "1.6": 0.1, "1.8": 0.1})


def test_zero_shares_and_units_differ_by_firmware(month: Run) -> None:
    rows = month.raw[month.raw["error_code"] == 0]
    zero = (rows["pm2_5"] == 0).groupby(rows["firmware"]).mean()
    assert zero["1.5"] == pytest.approx(0.39, abs=0.08)
    assert zero[["1.6", "1.8", "2.3"]].max() < 0.15
    median = rows[rows["pm2_5"] > 0].groupby("version_major")["pm2_5"].median()
    assert median[2] / median[1] == pytest.approx(100, rel=0.15)


def test_pm_fractions_are_ordered_and_ranges_physical(month: Run) -> None:
    raw = month.raw
    assert (raw["pm1_0"] <= raw["pm2_5"]).all()
    assert (raw["pm2_5"] <= raw["pm10"]).all()
    has_bme = raw["error_code"] & (4 | 8) == 0
    assert raw[has_bme]["pressure"].between(950, 1070).all()
    assert raw[has_bme]["humidity"].between(10, 99).all()
    assert (3 + raw["voltage"] / 100).between(3.6, 4.25).all()


def test_read_failures_are_whole_packets_of_old_firmware(month: Run) -> None:
    failed = month.raw[month.raw["error_code"] & 2048 > 0]
    assert set(failed["firmware"]) == {"1.5", "1.6"}


def test_identifiers_pass_luhn(month: Run) -> None:
    for imei in month.truth["apparaten"]["entity_id"]:
        digits = [int(digit) for digit in imei]
        total = sum(sum(divmod(2 * digit, 10)) if i % 2 else digit for i, digit in enumerate(digits))
        assert len(imei) == 15
        assert total % 10 == 0


def test_town_cells_are_shared_and_many_others_are_not(month: Run) -> None:
    rows = month.truth["rijen"]
    to_rd = Transformer.from_crs(4326, 28992, always_xy=True)
    x, y = to_rd.transform(rows["lengtegraad"].to_numpy(), rows["breedtegraad"].to_numpy())
    cells = pd.DataFrame({"x": x // 500, "y": y // 500, "device": rows["entity_id"]})
    devices = cells.groupby(["x", "y"])["device"].nunique()
    assert (devices >= 5).sum() > 100
    assert (devices >= 10).sum() > 40
    assert (devices < 5).sum() > 100
    outside = (rows["breedtegraad"] > 52.21) | (rows["breedtegraad"] < 51.965)
    assert 0 < outside.mean() < 0.03


# --- the truth -----------------------------------------------------------------------------------------


def test_every_raw_row_has_one_truth_row(month: Run) -> None:
    truth = month.truth["rijen"].sort_values("_id")
    raw = month.raw.sort_values("_id")
    assert truth["_id"].tolist() == raw["_id"].tolist()
    assert truth["entity_id"].tolist() == raw["entity_id"].tolist()
    rides = truth.groupby("rit").agg(rows=("_id", "size"), device=("entity_id", "first"))
    published = month.truth["ritten"].set_index("rit")
    assert (published["rijen"].sum(), published.loc[rides.index, "rijen"].tolist()) == (
        len(raw),
        rides["rows"].tolist(),
    )
    assert published.loc[rides.index, "entity_id"].tolist() == rides["device"].tolist()


def clock_error_s(rows: pd.DataFrame) -> "pd.Series[float]":
    recorded = rows["recording_timestamp"].dt.tz_localize("UTC")
    error: pd.Series[float] = (recorded - rows["tijd_utc"]).dt.total_seconds()
    return error


def test_device_clock_is_utc_and_off_by_its_own_error(month: Run) -> None:
    rows = without_faults(month.joined()).merge(month.truth["apparaten"], on="entity_id")
    hours = (rows["tijd_utc"] - pd.Timestamp("2026-09-01", tz="Europe/Amsterdam")) / pd.Timedelta(hours=1)
    ahead = rows["klok_voor_s"] + rows["klokdrift_s_per_uur"] * hours
    ahead = ahead.where(rows["klokdrift_s_per_uur"] == 0, ahead % 25)
    # Recorded in whole seconds, rounded down.
    assert (ahead - clock_error_s(rows)).between(-1e-3, 1 + 1e-3).all()
    assert clock_error_s(rows).abs().max() <= 30
    assert set(rows[clock_error_s(rows) > 3]["firmware_x"]) == {"2.3"}


def test_lateness_reaches_days_but_not_more_than_a_week_and_a_ride(month: Run) -> None:
    rows = month.joined()
    late = (rows["receive_timestamp"].dt.tz_localize("UTC") - rows["tijd_utc"]).dt.total_seconds()
    assert late.min() > 0
    assert 2 * 86_400 < late.max() < 7.3 * 86_400


def test_nothing_is_measured_outside_the_window(month: Run) -> None:
    rows = month.joined()
    rows = rows[~has_fault(rows, "klok_1970") & ~has_fault(rows, "klok_2106")]
    days = rows["recording_timestamp"].dt.tz_localize("UTC").dt.tz_convert("Europe/Amsterdam").dt.date
    assert (days.min(), days.max()) == (date(2026, 9, 1), date(2026, 9, 30))
    assert days.nunique() == 30


def chain_m(rows: pd.DataFrame, geod: Geod = WGS84) -> "pd.Series[float]":
    """Length of the chain of true positions of each ride."""
    rows = rows.sort_values(["rit", "tijd_utc"])
    lat, lon = rows["breedtegraad"].to_numpy(), rows["lengtegraad"].to_numpy()
    _, _, step = geod.inv(lon[:-1], lat[:-1], lon[1:], lat[1:])
    same = rows["rit"].to_numpy()[1:] == rows["rit"].to_numpy()[:-1]
    return pd.Series(np.where(same, step, 0.0)).groupby(rows["rit"].to_numpy()[1:]).sum()


def test_distance_between_true_positions_is_the_ride_s_true_distance(month: Run) -> None:
    rows = month.truth["rijen"]
    rows = rows[~has_fault(rows, "dubbel")]
    rides = month.truth["ritten"].set_index("rit")
    complete = rides[rides["meetmomenten"] == rows.groupby("rit").size().reindex(rides.index, fill_value=0)]
    assert len(complete) > 200
    rows = rows[rows["rit"].isin(complete.index)]
    chain, published = chain_m(rows), complete["afstand_meetpunten_m"]
    np.testing.assert_allclose(chain, published.loc[chain.index], rtol=1e-3)
    sphere = Geod(a=6_300_000, b=6_300_000)
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(chain_m(rows, sphere), published.loc[chain.index], rtol=1e-3)
    # Along the streets it is as far or a little farther, and as far as the last row says.
    ridden = rows.groupby("rit")["gereden_m"].max()
    np.testing.assert_allclose(ridden, complete.loc[ridden.index, "afstand_m"], rtol=1e-6)
    assert (published <= complete["afstand_m"] * 1.001).all()
    assert published.sum() / complete["afstand_m"].sum() > 0.95


def test_riding_and_standing_time_agree_with_rows_and_speed(month: Run) -> None:
    rides = month.truth["ritten"]
    whole = (rides["aankomst_utc"] - rides["vertrek_utc"]).dt.total_seconds()
    np.testing.assert_allclose(rides["rijtijd_s"] + rides["stilstand_s"], whole, atol=1e-3)
    assert (rides["afstand_m"] / rides["rijtijd_s"]).between(2.2, 8).all()
    rows = month.truth["rijen"].merge(rides, on="rit").sort_values(["rit", "tijd_utc"])
    step = rows.groupby("rit")["gereden_m"].diff()
    stands = ~rows["is_rijdend"] & ~rows["is_rijdend"].shift(fill_value=True)
    in_tail = rows["tijd_utc"] > rows["aankomst_utc"]
    assert not rows[in_tail]["is_rijdend"].any()
    assert (step[stands & in_tail & in_tail.shift(fill_value=False)].dropna() == 0).all()
    # Waiting at lights is standing too.
    assert (~rows[~in_tail]["is_rijdend"]).mean() > 0.05


def test_a_tail_of_ten_minutes_follows_each_ride(month: Run) -> None:
    rides = month.truth["ritten"]
    rows = month.truth["rijen"].merge(rides, on="rit")
    stay = (rows["tijd_utc"] - rows["aankomst_utc"]).dt.total_seconds().groupby(rows["rit"]).max()
    assert stay.quantile(0.5) == pytest.approx(600, abs=40)
    assert stay.max() <= 3600


def test_a_device_makes_one_ride_at_a_time_and_some_cross_midnight(month: Run) -> None:
    rides = month.truth["ritten"].sort_values(["entity_id", "vertrek_utc"])
    free = rides.groupby("entity_id")["vertrek_utc"].shift(-1) - rides["aankomst_utc"]
    assert free.min() > pd.Timedelta(seconds=600)
    left, arrived = (
        rides[at].dt.tz_convert("Europe/Amsterdam").dt.date for at in ("vertrek_utc", "aankomst_utc")
    )
    assert (left != arrived).any()


def test_rides_start_at_home_or_work_and_peak_when_people_commute(month: Run) -> None:
    rides = month.truth["ritten"].merge(month.truth["apparaten"], on="entity_id")
    recorded = month.truth["rijen"]["tijd_utc"].dt.tz_convert("Europe/Amsterdam").dt.hour.value_counts()
    assert set(recorded.index[:2]) == {8, 17}
    commutes = rides[rides["soort"] == "woon_werk"]
    first = month.truth["rijen"].sort_values("tijd_utc").groupby("rit").first()
    commutes = commutes.join(first[["breedtegraad", "lengtegraad", "gereden_m"]], on="rit")
    commutes = commutes[commutes["gereden_m"] == 0]
    away = [
        WGS84.inv(
            commutes["lengtegraad"].to_numpy(),
            commutes["breedtegraad"].to_numpy(),
            commutes[f"{what}_lengtegraad"].to_numpy(),
            commutes[f"{what}_breedtegraad"].to_numpy(),
        )[2]
        for what in ("thuis", "werk")
    ]
    assert np.minimum(*away).max() < 1


def test_some_devices_ride_together(month: Run) -> None:
    together = month.truth["ritten"].dropna(subset="samen").groupby("samen")
    assert (together["entity_id"].nunique() >= 2).sum() > 5
    assert (together["afstand_m"].nunique() == 1).all()
    assert (together["vertrek_utc"].nunique() == 1).all()


# --- planted faults ------------------------------------------------------------------------------------


def test_planted_faults_are_those_in_the_files(month: Run) -> None:
    rows = month.joined()
    for name, code in CODES.items():
        assert (rows["error_code"] == code).equals(has_fault(rows, name)), name
    assert (rows["error_code"] & 2048 > 0).equals(has_fault(rows, "pm_leesfout"))
    flagged = rows["error_code"] & 32 > 0
    at_zero = (rows["latitude"] == 0) & (rows["longitude"] == 0)
    assert (flagged & at_zero).equals(has_fault(rows, "geen_fix"))
    assert (flagged & ~at_zero).equals(has_fault(rows, "zwakke_fix"))
    assert at_zero.equals((rows["horizontal_accuracy"] == 0) & (rows["vertical_accuracy"] == 0))
    year = rows["recording_timestamp"].dt.year
    assert (year == 1970).equals(has_fault(rows, "klok_1970"))
    assert (year == 2106).equals(has_fault(rows, "klok_2106"))
    assert min(has_fault(rows, "klok_1970").sum(), has_fault(rows, "klok_2106").sum()) >= 1
    repeated = rows.sort_values("_id").duplicated([column for column in month.raw.columns if column != "_id"])
    assert repeated.sort_index().equals(has_fault(rows, "dubbel"))
    assert 2 <= repeated.sum() < 0.001 * len(rows)


def test_zero_pm_is_planted_where_it_is_read(month: Run) -> None:
    rows = month.joined()
    assert (rows[has_fault(rows, "pm_nul")][["pm1_0", "pm2_5", "pm10"]] == 0).all(axis=None)
    accounted = has_fault(rows, "pm_nul") | (rows["error_code"] & 512 > 0)
    # A clean hour may read 0 by itself, but rarely.
    assert (rows[~accounted]["pm2_5"] == 0).mean() < 1e-3


def test_position_error_is_within_the_stated_accuracy(month: Run) -> None:
    rows = month.joined()
    rows = rows[rows["latitude"] > 0]
    _, _, error = WGS84.inv(
        rows["longitude"].to_numpy(),
        rows["latitude"].to_numpy(),
        rows["lengtegraad"].to_numpy(),
        rows["breedtegraad"].to_numpy(),
    )
    ratio = pd.Series(error / (rows["horizontal_accuracy"].to_numpy() / 1000), index=rows.index)
    assert 0.25 < ratio.median() < 0.6
    assert (ratio < 1).mean() > 0.9
    weak = has_fault(rows, "zwakke_fix")
    assert np.median(error[weak.to_numpy()]) > 2.5 * np.median(error[~weak.to_numpy()])


# --- air -----------------------------------------------------------------------------------------------


def background(month: Run, rows: pd.DataFrame, zone: str = "Europe/Amsterdam") -> "pd.Series[float]":
    local = rows["tijd_utc"].dt.tz_convert(zone)
    level = month.truth["dagen"].set_index("dag")["achtergrond_ug_m3"]
    factor = month.truth["uren"].set_index("uur")["factor"]
    shared: pd.Series[float] = local.dt.date.map(level) * local.dt.hour.map(factor)
    return shared


def test_exposure_is_shared_background_plus_road_effect(month: Run) -> None:
    effect = month.truth["effecten"].set_index("effect")["waarde"]
    assert effect["wegtype_hoofdweg"] - effect["wegtype_rustige_weg"] == pytest.approx(2.0)
    rows = month.truth["rijen"]
    road = rows["wegtype"].map(lambda name: effect[f"wegtype_{name}"])
    local = np.log((rows["pm25_ug_m3"] - road) / background(month, rows))
    assert abs(local.mean()) < 0.01
    assert local.std() == pytest.approx(0.12, abs=0.02)
    # With the hours of another zone, or without the road, the background does not explain the exposure.
    astray = np.log((rows["pm25_ug_m3"] - road) / background(month, rows, "UTC"))
    assert astray.std() > local.std() * 1.2
    excess = (rows["pm25_ug_m3"] - background(month, rows)).groupby(rows["wegtype"]).mean()
    assert excess["hoofdweg"] - excess["rustige_weg"] == pytest.approx(2.0, abs=0.15)


def test_readings_are_the_exposure_through_the_device(month: Run) -> None:
    effect = month.truth["effecten"].set_index("effect")["waarde"]
    rows = without_faults(month.joined()).merge(month.truth["apparaten"], on="entity_id")
    damp = (rows["humidity"] + 0.5 - effect["luchtvochtigheid_vanaf"]).clip(lower=0)
    swollen = rows["pm25_ug_m3"] * (1 + effect["luchtvochtigheid_groei"] * damp)
    expected = rows["bias_optellend_ug_m3"] + rows["bias_vermenigvuldigend"] * swollen
    reading: pd.Series[float] = rows["pm2_5"] / np.where(rows["version_major"] == 2, 100, 1)
    busy = rows.groupby("entity_id")["_id"].transform("size") > 1000
    assert rows[busy]["entity_id"].nunique() > 40
    assert (reading - expected)[busy].groupby(rows["entity_id"]).mean().abs().max() < 0.1
    assert (reading - swollen)[busy].groupby(rows["entity_id"]).mean().abs().max() > 0.5
    assert (reading - expected)[damp > 15].mean() == pytest.approx(0, abs=0.1)
    dry = rows["bias_optellend_ug_m3"] + rows["bias_vermenigvuldigend"] * rows["pm25_ug_m3"]
    assert (reading - dry)[damp > 15].mean() > 0.5


# --- the clock changes ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("sunday", "shift_h"), [(date(2026, 3, 29), -1), (date(2026, 10, 25), 1)])
def test_people_keep_local_time_and_devices_utc_when_the_clock_changes(
    tmp_path: Path, sunday: date, shift_h: int
) -> None:
    last_day = sunday + timedelta(days=2)
    got = run(tmp_path, last_day=last_day, days=10, participants=40, seed=2, rows=70_000)
    rides = got.truth["ritten"]
    local = rides["vertrek_utc"].dt.tz_convert("Europe/Amsterdam")
    morning = rides[(rides["soort"] == "woon_werk") & (local.dt.hour < 12) & (local.dt.day_of_week < 5)]
    after = morning["vertrek_utc"].dt.date > sunday
    seconds = morning["vertrek_utc"].dt.hour * 3600 + morning["vertrek_utc"].dt.minute * 60
    assert min(after.sum(), (~after).sum()) > 20
    moved_h = (seconds[after].mean() - seconds[~after].mean()) / 3600
    assert moved_h == pytest.approx(shift_h, abs=0.25)
    rows = without_faults(got.joined())
    assert clock_error_s(rows).abs().max() <= 30
    night = rides[
        local.dt.date.between(sunday - timedelta(days=1), sunday) & (local.dt.hour.isin([23, 0, 1, 2]))
    ]
    assert len(night) >= 1
    whole = (rides["aankomst_utc"] - rides["vertrek_utc"]).dt.total_seconds()
    np.testing.assert_allclose(whole, rides["rijtijd_s"] + rides["stilstand_s"], atol=1e-3)


# --- official stations and weather ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Weeks around the end of summer time, with the turn of the year left out."""
    return run(
        tmp_path_factory.mktemp("officieel"), last_day=date(2026, 11, 5), days=20, participants=12, seed=4
    )


def test_reference_files_are_read_by_the_reader_of_the_real_ones_and_hold_what_was_measured(
    official: Run,
) -> None:
    (file,) = [f for f in official.simulated.beside if f.parent.name == "referentie"]
    rows = pd.DataFrame(read_year(file.read_bytes().decode("latin-1"), file.name, STATIONS, "PM2.5"))
    assert b"\xb5g/m\xb3" in file.read_bytes()
    begin = pd.to_datetime(rows["begindatumtijd"], utc=True)
    # The file's clock stands still when the local one is set back.
    assert rows["begindatumtijd"].str.endswith("+01:00").all()
    truth = official.truth["referentie"].set_index(["uur_op", "station"])["gemeten_ug_m3"]
    got = pd.Series(
        pd.to_numeric(rows["waarde"]).to_numpy(), pd.MultiIndex.from_arrays([begin, rows["station"]])
    )
    assert len(got) == len(truth) == 4 * (20 * 24 + 1)
    assert np.allclose(got.sort_index(), truth.sort_index(), equal_nan=True)
    assert 0 < got.isna().mean() < 0.05


def test_stations_measure_the_air_of_the_riders(official: Run) -> None:
    """Background stations the shared background, traffic stations the effect of a main road on top."""
    hours = official.truth["referentie"].merge(official.truth["lucht"], on="uur_op")
    hours = hours.merge(official.truth["stations"], on="station")
    effects = official.truth["effecten"].set_index("effect")["waarde"]
    road = hours["stationstype"].map({"verkeer": effects["wegtype_hoofdweg"], "achtergrond": 0.0})
    expected = hours["achtergrond_ug_m3"] + road + hours["afwijking_ug_m3"]
    assert np.allclose(hours["waar_ug_m3"], expected)
    error = (hours["gemeten_ug_m3"] - hours["waar_ug_m3"]).dropna()
    assert abs(error.mean()) < 0.1
    assert 1.3 < error.std() < 1.7
    riders = official.truth["rijen"]
    riders = riders[riders["is_rijdend"] & (riders["wegtype"] == "rustige_weg")]
    local = riders["pm25_ug_m3"].to_numpy()
    background = official.truth["lucht"].set_index("uur_op")["achtergrond_ug_m3"]
    shared = background.reindex(riders["tijd_utc"].dt.floor("h")).to_numpy()
    assert abs(float(np.mean(local / shared)) - 1) < 0.05


def test_some_bicycles_pass_near_a_station(official: Run) -> None:
    riding = official.truth["rijen"].query("is_rijdend")
    near = np.zeros(len(riding), dtype=bool)
    for station in official.truth["stations"].itertuples():
        _, _, metres = WGS84.inv(
            riding["lengtegraad"], riding["breedtegraad"],
            np.full(len(riding), station.longitude), np.full(len(riding), station.latitude),
        )  # fmt: skip
        near |= np.asarray(metres) < 300
    devices = riding.loc[near, "entity_id"].nunique()
    assert devices >= 3
    assert 0.001 < near.mean() < 0.2


def test_weather_file_is_read_by_the_reader_of_the_real_ones_and_holds_the_weather(official: Run) -> None:
    (file,) = [f for f in official.simulated.beside if f.parent.name == "weer"]
    rows = pd.DataFrame(read_hours(file.read_text(), file.name))
    start = pd.to_datetime(rows["yyyymmdd"], utc=True) + pd.to_timedelta(rows["hh"].astype(int) - 1, unit="h")
    truth = official.truth["lucht"].set_index("uur_op")
    assert sorted(start) == sorted(truth.index)
    assert rows["hh"].astype(int).between(1, 24).all()
    numbers = rows[["fh", "t", "p", "u", "rh", "dd"]].apply(pd.to_numeric).set_axis(pd.DatetimeIndex(start))
    numbers = numbers.reindex(truth.index)
    assert np.allclose(numbers["fh"] / 10, truth["wind_m_s"])
    assert np.allclose(numbers["t"] / 10, truth["temperatuur_c"])
    assert ((numbers["rh"] == -1) == truth["is_spoor"]).all()
    assert truth["is_spoor"].any()
    assert ((numbers["dd"] == 0) == (truth["wind_m_s"] == 0)).all()


def test_clean_days_are_windy_and_wet(official: Run) -> None:
    air = official.truth["lucht"]
    assert np.corrcoef(np.log(air["achtergrond_ug_m3"]), air["wind_m_s"])[0, 1] < -0.2


def test_rides_are_the_same_without_the_official_files(tmp_path: Path) -> None:
    arguments: dict[str, Any] = {"last_day": date(2026, 3, 3), "days": 3, "participants": 4, "seed": 9}
    for name, reference in (("met", True), ("zonder", False)):
        folder = tmp_path / name
        made = simulate(folder / "inbox", folder / "truth", reference=reference, **arguments)
        assert bool(made.beside) == reference
    with_files, without = (content(tmp_path / name) for name in ("met", "zonder"))
    others = {name for name in with_files if Path(name).parent.name in ("referentie", "weer")}
    assert {n: b for n, b in with_files.items() if n not in others} == without
    assert len(others) == 2


def test_demo_delivers_the_official_hours_that_are_known(tmp_path: Path) -> None:
    now = datetime(2026, 1, 3, 9, tzinfo=UTC)
    made = demo(
        tmp_path / "inbox", tmp_path / "sim", first=date(2025, 12, 28), last=date(2026, 1, 2), now=now
    )
    names = sorted(f"{f.parent.name}/{f.name}" for f in made.beside)
    assert names == [
        "referentie/2025_PM25.csv",
        "referentie/2026_PM25.csv",
        "weer/uurgegevens_260_20251227-20260102.csv",
    ]
    lines = (tmp_path / "inbox" / "referentie" / "2026_PM25.csv").read_text("latin-1").splitlines()
    assert lines[-1].split(";")[4] <= "2026-01-03T01:00:00+01:00"
