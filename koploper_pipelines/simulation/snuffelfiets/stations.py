"""Reference stations and the weather station in the simulated air, and their files in their sources' layouts.

Here belong what the institutes measure of the world that the bicycles ride through: the same background and
the same effect of a main road, each under its own clock. The truth of every hour goes beside it.

Layouts: RIVM's yearly file (Latin-1, `;`, lines of metadata, UTC+1 all year, an empty field where a station
gave nothing, negative values where the air is cleaner than the noise) and KNMI's hourly file (UT, the number
of the hour that it ends with, tenths, rain of -1 for a trace).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pandas as pd

from koploper_pipelines.simulation.snuffelfiets.air import ROAD_EFFECT_UG_M3, World
from koploper_pipelines.simulation.snuffelfiets.arrays import Floats


@dataclass(frozen=True)
class Station:
    """A reference station: where RIVM has it, and how its instrument errs."""

    number: str
    name: str
    kind: str
    area: str
    lat: float
    lon: float
    offset_ug_m3: float
    """What its surroundings add to the background, apart from the road."""


STATIONS = (
    Station("NL10636", "Utrecht-Kardinaal de Jongweg", "verkeer", "stad", 52.105031, 5.124464, 0.0),
    Station("NL10641", "Breukelen-Snelweg", "verkeer", "regionaal", 52.20153, 4.987444, -0.4),
    Station("NL10643", "Utrecht-Griftpark", "achtergrond", "stad", 52.101308, 5.128183, 0.2),
    Station("NL10644", "Cabauw-Wielsekade", "achtergrond", "regionaal", 51.974489, 4.923301, -0.2),
)
WEATHER_STATION = "260"
NOISE_UG_M3 = 1.5
"""Of one hour of a beta attenuation monitor; it makes hours below zero in clean air, as in the real files."""
MISSING_SHARE = 0.02
RIVM_ZONE = timezone(timedelta(hours=1))
CALM_M_S = 0.5
HEAD: dict[str, Callable[[Station], str]] = {
    "StationsCode": lambda s: s.number,
    "BeheerderMeetStation": lambda s: "RIVM",
    "StationsNaam": lambda s: s.name,
    "Latitude,Longitude": lambda s: f"({s.lat},{s.lon})",
    "StationsGebied": lambda s: s.area,
    "StationsType": lambda s: s.kind,
    "Meetprincipe": lambda s: "B-straling verzwakking (BETA)",
    "Meetopstelling": lambda s: "MetOne BAM-1020",
    "Accreditatienummer": lambda s: "L224",
}
KNMI_COLUMNS = (
    "STN", "YYYYMMDD", "HH", "DD", "FH", "FF", "FX", "T", "T10N", "TD", "SQ", "Q", "DR", "RH", "P", "VV",
    "N", "U", "WW", "IX", "M", "R", "S", "O", "Y",
)  # fmt: skip


def station_hours(rng: np.random.Generator, world: World) -> pd.DataFrame:
    """One row a station and hour: `uur_op` (UTC start), `station`, `waar_ug_m3` and `gemeten_ug_m3`.

    True is the background, what the surroundings add, and at a traffic station the effect of a main road;
    measured adds the instrument's noise, and is missing where it gave nothing.
    """
    hours = _hours(world)
    parts = []
    for station in STATIONS:
        road = ROAD_EFFECT_UG_M3[1] if station.kind == "verkeer" else 0.0
        true = world.background + road + station.offset_ug_m3
        measured = np.round(true + rng.normal(0, NOISE_UG_M3, len(true)), 3)
        measured[rng.random(len(true)) < MISSING_SHARE] = np.nan
        parts.append(
            pd.DataFrame(
                {"uur_op": hours, "station": station.number, "waar_ug_m3": true, "gemeten_ug_m3": measured}
            )
        )
    return pd.concat(parts, ignore_index=True)


def weather_hours(rng: np.random.Generator, world: World) -> pd.DataFrame:
    """One row an hour: `uur_op` (UTC start) and what the weather is.

    On windy and rainy days the air is cleaner, so that both explain a part of the background.
    """
    n = len(world.background)
    clean = -np.log(world.background / np.median(world.background))
    wind = np.clip(4.0 * np.exp(0.5 * clean + rng.normal(0, 0.35, n)), 0.0, 20.0)
    # Round to the metre, as KNMI writes an hour's mean.
    wind = np.where(wind < CALM_M_S, 0.0, np.round(wind))
    direction = (np.cumsum(rng.normal(0, 12, n)) + 220) % 360
    is_wet = rng.random(n) < np.clip(0.12 + 0.15 * clean, 0.01, 0.5)
    rain = np.where(is_wet, np.round(rng.exponential(0.6, n), 1), 0.0)
    return pd.DataFrame(
        {
            "uur_op": _hours(world),
            "windrichting_graden": np.where(direction < 5, 360.0, np.ceil(direction / 10) * 10),
            "wind_m_s": wind,
            "temperatuur_c": np.round(world.temperature, 1),
            "luchtvochtigheid_pct": np.round(world.humidity),
            "neerslag_mm": rain,
            "is_spoor": is_wet & (rain == 0),
            "luchtdruk_hpa": np.round(world.pressure, 1),
        }
    )


def write_reference(folder: Path, hours: pd.DataFrame, until: datetime | None = None) -> list[Path]:
    """RIVM's file of each calendar year (UTC+1) that the hours touch, up to the hours that end by `until`."""
    known = _known(hours, until)
    local = known["uur_op"].dt.tz_convert(RIVM_ZONE)
    return [
        _write(folder / f"{year}_PM25.csv", _rivm(year, part).encode("latin-1"))
        for year, part in known.groupby(local.dt.year)
    ]


def write_weather(folder: Path, hours: pd.DataFrame, until: datetime | None = None) -> list[Path]:
    """KNMI's file of the hours, up to those that end by `until`."""
    known = _known(hours, until)
    if known.empty:
        return []
    first, last = known["uur_op"].min(), known["uur_op"].max()
    name = f"uurgegevens_{WEATHER_STATION}_{first:%Y%m%d}-{last:%Y%m%d}.csv"
    return [_write(folder / name, _knmi(known).encode())]


def _hours(world: World) -> pd.DatetimeIndex:
    start = datetime.fromtimestamp(world.first_hour * 3600, tz=UTC)
    return pd.date_range(start, periods=len(world.background), freq="h")


def _known(hours: pd.DataFrame, until: datetime | None) -> pd.DataFrame:
    if until is None:
        return hours
    return hours[hours["uur_op"] + pd.Timedelta(hours=1) <= pd.Timestamp(until)]


def _rivm(year: object, hours: pd.DataFrame) -> str:
    start = ["Export;gesimuleerd;;", f"Periode;{year};;"]
    head = [
        ";".join([start[i] if i < len(start) else ";;;", label, *(of(s) for s in STATIONS)])
        for i, (label, of) in enumerate(HEAD.items())
    ]
    header = "Component;Bep.periode;Eenheid; Begindatumtijd;Einddatumtijd;"
    wide = hours.pivot(index="uur_op", columns="station", values="gemeten_ug_m3")
    lines = [
        ";".join(
            [
                "PM2.5;uur;µg/m³",
                begin.isoformat(),
                (begin + timedelta(hours=1)).isoformat(),
                *("" if np.isnan(v) else f"{v:g}" for v in values),
            ]
        )
        for begin, values in zip(
            pd.DatetimeIndex(wide.index).tz_convert(RIVM_ZONE),
            wide[[s.number for s in STATIONS]].to_numpy(),
            strict=True,
        )
    ]
    return "\n".join([*head, header + ";".join(s.number for s in STATIONS), *lines]) + "\n"


def _knmi(hours: pd.DataFrame) -> str:
    start = hours["uur_op"]
    wind = hours["wind_m_s"].to_numpy()
    values = {
        "STN": [WEATHER_STATION] * len(hours),
        "YYYYMMDD": start.dt.strftime("%Y%m%d").tolist(),
        "HH": (start.dt.hour + 1).tolist(),
        "DD": _whole(np.where(wind == 0, 0.0, hours["windrichting_graden"].to_numpy())),
        "FH": _whole(10 * wind),
        "FF": _whole(10 * wind),
        "FX": _whole(np.ceil(1.6 * wind) * 10),
        "T": _whole(10 * hours["temperatuur_c"].to_numpy()),
        "RH": _whole(np.where(hours["is_spoor"], -1.0, 10 * hours["neerslag_mm"].to_numpy())),
        "P": _whole(10 * hours["luchtdruk_hpa"].to_numpy()),
        "U": _whole(hours["luchtvochtigheid_pct"].to_numpy()),
    }
    table = pd.DataFrame({c: values.get(c, [""] * len(hours)) for c in KNMI_COLUMNS})
    head = "# BRON: gesimuleerd, in de indeling van het KNMI\n# STN,YYYYMMDD,   HH,"
    header = head + ",".join(f"{c:>5}" for c in KNMI_COLUMNS[3:]) + "\n#\n"
    return header + table.to_csv(index=False, header=False, lineterminator="\n")


def _whole(values: Floats) -> list[int]:
    return [int(v) for v in np.round(values)]


def _write(path: Path, content: bytes) -> Path:
    """The file under its final name only when complete, so that no reader sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.deel")
    unfinished.write_bytes(content)
    os.replace(unfinished, path)
    return path
