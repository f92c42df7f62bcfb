"""The raw rows as files: the header and the notation of the CKAN export."""

import os
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from koploper_pipelines.simulation.snuffelfiets.arrays import Floats, Ints

FilesPer = Literal["dag", "week", "maand", "alles"]
COLUMNS = (
    "_id",
    "entity_id",
    "recording_timestamp",
    "receive_timestamp",
    "acc_max",
    "error_code",
    "horizontal_accuracy",
    "humidity",
    "latitude",
    "longitude",
    "no2",
    "pm10",
    "pm1_0",
    "pm2_5",
    "pressure",
    "temperature",
    "version_major",
    "version_minor",
    "vertical_accuracy",
    "voc",
    "voltage",
)


def write_exports(
    inbox: Path, ids: Ints, raw: dict[str, Any], receive_s: Floats, order: Ints, files_per: FilesPer
) -> Iterator[Path]:
    """One CSV file a period of receipt, its rows by `_id`."""
    receive = as_moment(receive_s[order])
    days, day = np.unique(receive.astype("datetime64[D]"), return_inverse=True)
    names, period = np.unique([_period(item, files_per) for item in days.tolist()], return_inverse=True)
    for index, name in enumerate(names):
        inside = np.flatnonzero(period[day] == index)
        columns = {name: values[order[inside]] for name, values in raw.items()}
        columns |= {"_id": ids[inside], "receive_timestamp": receive[inside]}
        table = pa.table([_as_text(columns[name]) for name in COLUMNS], names=list(COLUMNS))
        yield write_csv(table, inbox / f"metingen_{name}.csv")


def _period(day: date, files_per: FilesPer) -> str:
    names = {"dag": "%Y-%m-%d", "week": "%G-W%V", "maand": "%Y-%m", "alles": "alles"}
    return day.strftime(names[files_per])


def _as_text(values: npt.NDArray[Any]) -> pa.Array:
    """Values as the export writes them: ISO timestamps with a T, floats with at least one decimal."""
    array = pa.array(values)
    if values.dtype.kind == "M":
        return pc.binary_replace_slice(array.cast(pa.string()), 10, 11, "T")
    if values.dtype.kind == "f":
        text = array.cast(pa.string())
        return pc.if_else(pc.match_substring(text, "."), text, pc.binary_join_element_wise(text, "0", "."))
    return array


def write_csv(table: pa.Table, path: Path) -> Path:
    """The file under its final name only when complete, so that no reader sees half of it."""
    unfinished = path.with_name(f".{path.name}.deel")
    with unfinished.open("wb") as file:
        file.write((",".join(table.column_names) + "\r\n").encode())
        options = pa.csv.WriteOptions(
            include_header=False, quoting_style="none", eol="\r\n", batch_size=65_536
        )
        pa.csv.write_csv(table, file, options)
    os.replace(unfinished, path)
    return path


def as_moment(seconds: Floats) -> npt.NDArray[np.datetime64]:
    """UTC seconds since 1970 as timestamps in microseconds."""
    return np.round(seconds * 1e6).astype("datetime64[us]")
