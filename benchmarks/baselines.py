"""Reading, cleaning and splitting rides as plain scripts would, in pandas and in DuckDB: two yardsticks.

They follow the same rules as `methods/snuffelfiets/cleaning.py` and `rides.py`, written anew and without
gates, lake or secrets: each measurement with all its columns, or the first reason to reject it, and rides. So
speed is compared for the same work; `test_chain.py` checks that all agree.
Run as a script with `pandas` or `duckdb`, a CSV file, a moment of landing and a folder, it prints as JSON the
seconds of starting and importing and of the work, and leaves what it found in that folder as Parquet.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import psutil

if TYPE_CHECKING:
    import pandas as pd

    Cleaned: TypeAlias = tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]

CRITICAL = 1 | 4 | 8 | 16 | 512 | 1024 | 4096
DOCUMENTED = CRITICAL | 32 | 2048
TEXT = ("entity_id", "recording_timestamp", "receive_timestamp")
REQUIRED = ("_id", "error_code", "version_major", "version_minor", "pm1_0", "pm2_5", "pm10")
OPTIONAL = ("latitude", "longitude", "horizontal_accuracy", "vertical_accuracy", "temperature", "humidity",
            "pressure", "voltage", "voc", "acc_max", "no2")  # fmt: skip
FOUND = ("kept", "rides", "rejected")
MAJOR, SQUARED = 6_378_137.0, 0.00669437999014


def with_pandas(file: Path, landed: str) -> Cleaned:
    """Kept measurements, rides, and rejected rows with their reason, with pandas and NumPy alone."""
    import numpy as np
    import pandas as pd

    raw = pd.read_csv(file, dtype={"entity_id": str})
    rows = pd.DataFrame({"entity_id": raw["entity_id"]})
    for clock in TEXT[1:]:
        rows[clock] = pd.to_datetime(raw[clock], format="ISO8601", errors="coerce")
    for column in (*REQUIRED, *OPTIONAL):
        rows[column] = pd.to_numeric(raw[column], errors="coerce")
    bad = rows[[*TEXT, *REQUIRED]].isna().any(axis=1)
    bad |= (rows[list(OPTIONAL)].isna() & raw[list(OPTIONAL)].notna()).any(axis=1)
    recorded, received = rows["recording_timestamp"], rows["receive_timestamp"]
    last = pd.Timestamp(landed) + pd.Timedelta(days=1)
    possible = recorded.between("2018-01-01", last) & received.between("2018-01-01", last)
    possible &= recorded <= received + pd.Timedelta(days=1)
    lag = (received - recorded).dt.total_seconds()
    code = rows["error_code"].fillna(0).astype("int64")
    critical, failed = (code & CRITICAL) != 0, (code & 2048) != 0

    sound = rows[~bad & possible & (lag >= -60)].assign(critical=critical, failed=failed)
    sound = sound.sort_values(
        ["entity_id", "recording_timestamp", "critical", "receive_timestamp", "_id"], kind="stable"
    )
    moment = ["entity_id", "recording_timestamp"]
    failing = sound.loc[sound["failed"], moment].drop_duplicates().assign(failure=lambda f: f[moment[1]])
    moments = sound[moment].drop_duplicates().merge(failing, on=moment, how="left")
    device = moments["entity_id"]
    before = moments.groupby(device)["failure"].shift(1).groupby(device).ffill(limit=4)
    moments["warming"] = (moments["recording_timestamp"] - before).dt.total_seconds() <= 3600
    sound = sound.reset_index().merge(moments[[*moment, "warming"]], on=moment).set_index("index")

    again_at, warming_at = sound.index[sound.duplicated(moment)], sound.index[sound["warming"]]

    scale = np.where(rows["version_major"] >= 2, 100, 1)
    pm1, pm25, pm10 = (rows[c] / scale for c in ("pm1_0", "pm2_5", "pm10"))
    accuracy, temperature = rows["horizontal_accuracy"] / 1000, rows["temperature"] / 10
    latitude, longitude = rows["latitude"], rows["longitude"]
    nowhere = latitude.isna() | longitude.isna() | ((latitude == 0) & (longitude == 0))
    sound_pm = (pm1 >= 0) & (pm1 <= pm25) & (pm25 <= pm10) & (pm25 <= 150) & (pm10 <= 1000)
    outside = False
    for values, low, high in (
        (rows["humidity"], 0, 100),
        (temperature, -25, 60),
        (rows["pressure"], 900, 1100),
    ):
        outside |= values.notna() & ~values.between(low, high)
    applies = {
        "onleesbare_waarde": bad,
        "onmogelijke_klok": ~possible,
        "klok_voor_ontvangst": lag < -60,
        "dubbel": rows.index.isin(again_at),
        "fout_kritiek": critical,
        "fout_onbekend": (code & ~DOCUMENTED) != 0,
        "pm_leesfout": failed,
        "pm_opwarmen": rows.index.isin(warming_at),
        "geen_positie": nowhere,
        "positie_onmogelijk": ~(latitude.between(50.65, 53.66) & longitude.between(3.26, 7.33)),
        "positie_onnauwkeurig": ~((accuracy > 0) & (accuracy <= 50)),
        "pm_onwaarschijnlijk": ~sound_pm,
        "waarde_buiten_bereik": outside,
    }
    first = np.select(list(applies.values()), list(range(len(applies))), -1)
    reasons = pd.Categorical.from_codes(first, list(applies))
    rejected = pd.DataFrame({"_id": rows["_id"], "reden": reasons})[first >= 0].reset_index(drop=True)

    one = rows["version_major"] == 1
    local = recorded.dt.tz_localize("UTC").dt.tz_convert("Europe/Amsterdam")
    kept = pd.DataFrame(
        {
            "_id": rows["_id"],
            "entity_id": rows["entity_id"],
            "day": local.dt.tz_localize(None).dt.floor("D"),
            "moment": recorded,
            "received": received,
            "lag": lag,
            "latitude": latitude,
            "longitude": longitude,
            "accuracy": accuracy,
            "pm1": pm1.mask(one & (pm1 < 1), 1),
            "pm25": pm25.mask(one & (pm25 < 1), 1),
            "pm10": pm10.mask(one & (pm10 < 1), 1),
            "is_below": one & (rows["pm2_5"] == 0),
            "temperature": temperature,
            "humidity": rows["humidity"],
            "pressure": rows["pressure"],
            "voltage": 3 + rows["voltage"] / 100,
            "voc": rows["voc"],
            "acc_max": rows["acc_max"],
            "code": code,
            "major": rows["version_major"],
            "minor": rows["version_minor"],
        }
    )[first < 0].sort_values(["entity_id", "moment", "_id"], ignore_index=True)
    return kept, _rides_with_pandas(kept), rejected


def _rides_with_pandas(kept: pd.DataFrame) -> pd.DataFrame:
    import numpy as np
    import pandas as pd

    before = kept[["entity_id", "moment", "latitude", "longitude", "accuracy"]].shift(1)
    before = before.where(kept["entity_id"] == before["entity_id"])
    seconds = (kept["moment"] - before["moment"]).dt.total_seconds()
    mid = np.radians((kept["latitude"] + before["latitude"]) / 2)
    flat = 1 - SQUARED * np.sin(mid) ** 2
    across = MAJOR / np.sqrt(flat)
    north = across * (1 - SQUARED) / flat * np.radians(kept["latitude"] - before["latitude"])
    east = across * np.cos(mid) * np.radians(kept["longitude"] - before["longitude"])
    metres = np.hypot(north, east)
    riding = (seconds <= 300) & (metres * 3.6 >= 5 * seconds) & (metres * 3.6 <= 45 * seconds)
    riding &= metres > np.hypot(kept["accuracy"], before["accuracy"])
    ridden = kept.assign(since=before["moment"], metres=metres, seconds=seconds)[riding]
    earlier = ridden.groupby("entity_id")["moment"].shift(1)
    starts = ~((ridden["since"] - earlier) <= pd.Timedelta(minutes=10))
    found = ridden.groupby(starts.cumsum()).agg(
        entity_id=("entity_id", "first"),
        start=("since", "first"),
        end=("moment", "last"),
        metres=("metres", "sum"),
        seconds=("seconds", "sum"),
        n=("moment", "size"),
    )
    lasted = (found["end"] - found["start"]).dt.total_seconds()
    return found[(found["metres"] >= 300) & lasted.between(60, 22 * 3600)].reset_index(drop=True)


DUCKDB = """
CREATE TABLE judged AS
WITH raw AS (
    SELECT _id, entity_id, recording_timestamp AS moment, receive_timestamp AS received, error_code AS code,
        latitude, longitude, horizontal_accuracy / 1000 AS accuracy, version_major AS major,
        version_minor AS minor, pm2_5 = 0 AND major = 1 AS is_below,
        pm1_0 / (CASE WHEN version_major >= 2 THEN 100 ELSE 1 END) AS pm1,
        pm2_5 / (CASE WHEN version_major >= 2 THEN 100 ELSE 1 END) AS pm25,
        pm10 / (CASE WHEN version_major >= 2 THEN 100 ELSE 1 END) AS pm10,
        humidity, temperature / 10 AS temperature, pressure, 3 + voltage / 100 AS voltage, voc, acc_max,
        epoch(received - moment) AS lag,
        moment BETWEEN '2018-01-01' AND TIMESTAMP '{landed}' + INTERVAL 1 DAY
            AND received BETWEEN '2018-01-01' AND TIMESTAMP '{landed}' + INTERVAL 1 DAY
            AND moment <= received + INTERVAL 1 DAY AS possible
    FROM read_csv('{file}', header = true, types = {{'entity_id': 'VARCHAR', 'error_code': 'INTEGER'}})
), sound AS (
    SELECT _id, entity_id, moment, code, row_number() OVER (
        PARTITION BY entity_id, moment ORDER BY code & {critical} <> 0, received, _id
    ) AS place
    FROM raw
    WHERE possible AND lag >= -60
), moments AS (
    SELECT entity_id, moment, bool_or(code & 2048 <> 0) AS failed FROM sound GROUP BY ALL
), warming AS (
    SELECT entity_id, moment, true AS is_warming FROM (
        SELECT *, max(CASE WHEN failed THEN moment END) OVER (
            PARTITION BY entity_id ORDER BY moment ROWS BETWEEN 5 PRECEDING AND 1 PRECEDING) AS failure
        FROM moments
    ) WHERE moment - failure <= INTERVAL 1 HOUR
)
SELECT raw.* REPLACE (
        CASE WHEN major = 1 AND pm1 < 1 THEN 1 ELSE pm1 END AS pm1,
        CASE WHEN major = 1 AND pm25 < 1 THEN 1 ELSE pm25 END AS pm25,
        CASE WHEN major = 1 AND pm10 < 1 THEN 1 ELSE pm10 END AS pm10),
    (moment AT TIME ZONE 'UTC' AT TIME ZONE 'Europe/Amsterdam')::DATE AS day,
    CASE
        WHEN NOT possible THEN 'onmogelijke_klok'
        WHEN lag < -60 THEN 'klok_voor_ontvangst'
        WHEN place > 1 THEN 'dubbel'
        WHEN code & {critical} <> 0 THEN 'fout_kritiek'
        WHEN code & ~{documented} <> 0 THEN 'fout_onbekend'
        WHEN code & 2048 <> 0 THEN 'pm_leesfout'
        WHEN is_warming THEN 'pm_opwarmen'
        WHEN latitude IS NULL OR longitude IS NULL OR (latitude = 0 AND longitude = 0) THEN 'geen_positie'
        WHEN latitude NOT BETWEEN 50.65 AND 53.66 OR longitude NOT BETWEEN 3.26 AND 7.33
            THEN 'positie_onmogelijk'
        WHEN coalesce(accuracy, 0) <= 0 OR accuracy > 50 THEN 'positie_onnauwkeurig'
        WHEN NOT (pm1 >= 0 AND pm1 <= pm25 AND pm25 <= pm10 AND pm25 <= 150 AND pm10 <= 1000)
            THEN 'pm_onwaarschijnlijk'
        WHEN humidity NOT BETWEEN 0 AND 100 OR temperature NOT BETWEEN -25 AND 60
            OR pressure NOT BETWEEN 900 AND 1100 THEN 'waarde_buiten_bereik'
    END AS reden
FROM raw LEFT JOIN (SELECT _id, place FROM sound WHERE place > 1) USING (_id)
LEFT JOIN warming USING (entity_id, moment);

CREATE VIEW kept AS SELECT * EXCLUDE (reden, possible) FROM judged WHERE reden IS NULL;

CREATE TABLE ridden AS
WITH pairs AS (
    SELECT entity_id, moment, _id, latitude, longitude, accuracy,
        lag(moment) OVER w AS since, lag(latitude) OVER w AS latitude_0, lag(longitude) OVER w AS longitude_0,
        lag(accuracy) OVER w AS accuracy_0
    FROM kept WINDOW w AS (PARTITION BY entity_id ORDER BY moment, _id)
), turned AS (
    SELECT *, radians((latitude + latitude_0) / 2) AS mid, 1 - {squared} * sin(mid) * sin(mid) AS flat,
        {major} / sqrt(flat) AS across, epoch(moment - since) AS seconds
    FROM pairs
), measured AS (
    SELECT *, sqrt(pow(across * (1 - {squared}) / flat * radians(latitude - latitude_0), 2)
        + pow(across * cos(mid) * radians(longitude - longitude_0), 2)) AS metres
    FROM turned
)
SELECT entity_id, moment, since, seconds, metres, _id FROM measured
WHERE seconds <= 300 AND metres * 3.6 BETWEEN 5 * seconds AND 45 * seconds
    AND metres > sqrt(accuracy * accuracy + accuracy_0 * accuracy_0);

CREATE TABLE rides AS
WITH pauses AS (
    SELECT *, lag(moment) OVER (PARTITION BY entity_id ORDER BY moment, _id) AS earlier FROM ridden
), numbered AS (
    SELECT *, count(*) FILTER (earlier IS NULL OR since - earlier > INTERVAL 10 MINUTE)
        OVER (PARTITION BY entity_id ORDER BY moment, _id ROWS UNBOUNDED PRECEDING) AS number
    FROM pauses
)
SELECT entity_id, min(since) AS start, max(moment) AS "end", sum(metres) AS metres, sum(seconds) AS seconds,
    count(*) AS n
FROM numbered GROUP BY entity_id, number
HAVING sum(metres) >= 300 AND epoch(max(moment) - min(since)) BETWEEN 60 AND 22 * 3600;
"""


def with_duckdb(file: Path, landed: str) -> Cleaned:
    """Kept measurements, rides, and rejected rows with their reason, with DuckDB alone."""
    import duckdb

    with duckdb.connect() as con:
        con.execute(
            DUCKDB.format(
                file=file, landed=landed, critical=CRITICAL, documented=DOCUMENTED, squared=SQUARED,
                major=MAJOR,
            )
        )  # fmt: skip
        kept = con.sql("FROM kept ORDER BY entity_id, moment, _id").df()
        rejected = con.sql("SELECT _id, reden FROM judged WHERE reden IS NOT NULL").df()
        return kept, con.sql("FROM rides ORDER BY entity_id, start").df(), rejected


def main(kind: str, file: Path, landed: str, found: Path) -> None:
    """Do the work once, timed apart from starting Python and importing."""
    import duckdb  # noqa: F401
    import numpy  # noqa: F401
    import pandas  # noqa: F401
    import pyarrow.parquet  # noqa: F401  # type: ignore[import-untyped, unused-ignore]

    me = psutil.Process()
    started = time.time() - me.create_time()
    start, cpu = time.perf_counter(), time.process_time()
    cleaned = {"pandas": with_pandas, "duckdb": with_duckdb}[kind](file, landed)
    told = {
        "start_s": started,
        "seconds": time.perf_counter() - start,
        "cpu_s": time.process_time() - cpu,
    }
    for name, frame in zip(FOUND, cleaned, strict=True):
        frame.to_parquet(found / f"{kind}_{name}.parquet")
    print(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3], Path(sys.argv[4]))
