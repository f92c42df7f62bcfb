"""Reading, cleaning and splitting rides as plain scripts would, in pandas and in DuckDB: two yardsticks.

They follow the same rules as `methods/snuffelfiets/cleaning.py` and `rides.py`, written anew and without
gates, lake or secrets, so that speed is compared for the same work; `test_chain.py` checks that all agree.
Run as a script with `pandas` or `duckdb`, a CSV file, a moment of landing and a folder, it prints as JSON the
seconds of starting and importing and of the work, and leaves what it found in that folder as Parquet.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    import pandas as pd

CRITICAL = 1 | 4 | 8 | 16 | 512 | 1024 | 4096
DOCUMENTED = CRITICAL | 32 | 2048
TEXT = ("entity_id", "recording_timestamp", "receive_timestamp")
REQUIRED = ("_id", "error_code", "version_major", "version_minor", "pm1_0", "pm2_5", "pm10")
OPTIONAL = ("latitude", "longitude", "horizontal_accuracy", "vertical_accuracy", "temperature", "humidity",
            "pressure", "voltage", "voc", "acc_max", "no2")  # fmt: skip
MAJOR, SQUARED = 6_378_137.0, 0.00669437999014


def with_pandas(file: Path, landed: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Kept measurements and rides, with pandas and NumPy alone."""
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
    again = sound.index[sound.duplicated(moment)]
    failing = sound.loc[sound["failed"], moment].drop_duplicates().assign(failure=lambda f: f[moment[1]])
    moments = sound[moment].drop_duplicates().merge(failing, on=moment, how="left")
    device = moments["entity_id"]
    before = moments.groupby(device)["failure"].shift(1).groupby(device).ffill(limit=4)
    moments["warming"] = (moments["recording_timestamp"] - before).dt.total_seconds() <= 3600
    sound = sound.reset_index().merge(moments[[*moment, "warming"]], on=moment).set_index("index")

    scale = np.where(rows["version_major"] >= 2, 100, 1)
    pm1, pm25, pm10 = (rows[c] / scale for c in ("pm1_0", "pm2_5", "pm10"))
    accuracy = rows["horizontal_accuracy"] / 1000
    at_zero = (rows["latitude"] == 0) & (rows["longitude"] == 0)
    keep = ~bad & possible & (lag >= -60) & (code & (CRITICAL | 2048 | ~DOCUMENTED) == 0)
    keep &= rows["latitude"].between(50.65, 53.66) & rows["longitude"].between(3.26, 7.33) & ~at_zero
    keep &= (accuracy > 0) & (accuracy <= 50)
    keep &= (pm1 >= 0) & (pm1 <= pm25) & (pm25 <= pm10) & (pm25 <= 150) & (pm10 <= 1000)
    for column, low, high, unit in (
        ("humidity", 0, 100, 1), ("temperature", -25, 60, 10), ("pressure", 900, 1100, 1)
    ):  # fmt: skip
        keep &= rows[column].isna() | (rows[column] / unit).between(low, high)
    keep.loc[again] = False
    keep.loc[sound.index[sound["warming"]]] = False
    one = rows["version_major"] == 1
    kept = pd.DataFrame(
        {
            "_id": rows["_id"],
            "entity_id": rows["entity_id"],
            "moment": recorded,
            "latitude": rows["latitude"],
            "longitude": rows["longitude"],
            "accuracy": accuracy,
            "pm25": pm25.mask(one & (pm25 < 1), 1),
        }
    )[keep].sort_values(["entity_id", "moment", "_id"], ignore_index=True)
    return kept, _rides_with_pandas(kept)


def _rides_with_pandas(kept: pd.DataFrame) -> pd.DataFrame:
    import numpy as np
    import pandas as pd

    before = kept.shift(1)
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
        latitude, longitude, horizontal_accuracy / 1000 AS accuracy, version_major,
        pm1_0 / (CASE WHEN version_major >= 2 THEN 100 ELSE 1 END) AS pm1,
        pm2_5 / (CASE WHEN version_major >= 2 THEN 100 ELSE 1 END) AS pm25,
        pm10 / (CASE WHEN version_major >= 2 THEN 100 ELSE 1 END) AS pm10,
        humidity, temperature / 10 AS temperature, pressure
    FROM read_csv('{file}', header = true, types = {{'entity_id': 'VARCHAR', 'error_code': 'INTEGER'}})
), sound AS (
    SELECT *, row_number() OVER (
        PARTITION BY entity_id, moment ORDER BY code & {critical} <> 0, received, _id
    ) AS place
    FROM raw
    WHERE moment BETWEEN '2018-01-01' AND TIMESTAMP '{landed}' + INTERVAL 1 DAY
        AND received BETWEEN '2018-01-01' AND TIMESTAMP '{landed}' + INTERVAL 1 DAY
        AND moment <= received + INTERVAL 60 SECOND
), moments AS (
    SELECT entity_id, moment, bool_or(code & 2048 <> 0) AS failed FROM sound GROUP BY ALL
), warming AS (
    SELECT entity_id, moment FROM (
        SELECT *, max(CASE WHEN failed THEN moment END) OVER (
            PARTITION BY entity_id ORDER BY moment ROWS BETWEEN 5 PRECEDING AND 1 PRECEDING) AS failure
        FROM moments
    ) WHERE moment - failure <= INTERVAL 1 HOUR
)
SELECT _id, entity_id, moment, latitude, longitude, accuracy,
    CASE WHEN version_major = 1 AND pm25 < 1 THEN 1 ELSE pm25 END AS pm25
FROM sound ANTI JOIN warming USING (entity_id, moment)
WHERE place = 1 AND code & ({critical} | 2048) = 0 AND code & ~{documented} = 0
    AND NOT (latitude = 0 AND longitude = 0)
    AND latitude BETWEEN 50.65 AND 53.66 AND longitude BETWEEN 3.26 AND 7.33
    AND accuracy > 0 AND accuracy <= 50
    AND pm1 >= 0 AND pm1 <= pm25 AND pm25 <= pm10 AND pm25 <= 150 AND pm10 <= 1000
    AND coalesce(humidity BETWEEN 0 AND 100, true) AND coalesce(temperature BETWEEN -25 AND 60, true)
    AND coalesce(pressure BETWEEN 900 AND 1100, true);

CREATE TABLE ridden AS
WITH pairs AS (
    SELECT entity_id, moment, _id, latitude, longitude, accuracy,
        lag(moment) OVER w AS since, lag(latitude) OVER w AS latitude_0, lag(longitude) OVER w AS longitude_0,
        lag(accuracy) OVER w AS accuracy_0
    FROM judged WINDOW w AS (PARTITION BY entity_id ORDER BY moment, _id)
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


def with_duckdb(file: Path, landed: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Kept measurements and rides, with DuckDB alone."""
    import duckdb

    with duckdb.connect() as con:
        con.execute(
            DUCKDB.format(
                file=file, landed=landed, critical=CRITICAL, documented=DOCUMENTED, squared=SQUARED,
                major=MAJOR,
            )
        )  # fmt: skip
        kept = con.sql("FROM judged ORDER BY entity_id, moment, _id").df()
        return kept, con.sql("FROM rides ORDER BY entity_id, start").df()


def main(kind: str, file: Path, landed: str, found: Path) -> None:
    """Do the work once, timed apart from starting Python and importing."""
    import duckdb  # noqa: F401
    import numpy  # noqa: F401
    import pandas  # noqa: F401
    import pyarrow.parquet  # noqa: F401  # type: ignore[import-untyped, unused-ignore]

    me = psutil.Process()
    started = time.time() - me.create_time()
    start, cpu = time.perf_counter(), time.process_time()
    kept, rides = {"pandas": with_pandas, "duckdb": with_duckdb}[kind](file, landed)
    told = {
        "start_s": started,
        "seconds": time.perf_counter() - start,
        "cpu_s": time.process_time() - cpu,
    }
    kept[["_id", "pm25"]].to_parquet(found / f"{kind}_kept.parquet")
    rides.to_parquet(found / f"{kind}_rides.parquet")
    print(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3], Path(sys.argv[4]))
