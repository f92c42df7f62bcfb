"""The truth beside the files: what really happened, for judging methods by."""

from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from koploper_pipelines.simulation.snuffelfiets.air import (
    HUMIDITY_FROM_PERCENT,
    HUMIDITY_GROWTH_PER_PERCENT,
    ROAD_EFFECT_UG_M3,
    ROAD_TYPES,
    World,
)
from koploper_pipelines.simulation.snuffelfiets.arrays import Ints
from koploper_pipelines.simulation.snuffelfiets.exports import as_moment
from koploper_pipelines.simulation.snuffelfiets.firmware import FAULT_BIT
from koploper_pipelines.simulation.snuffelfiets.riders import KINDS, base_of
from koploper_pipelines.simulation.snuffelfiets.rides import Samples
from koploper_pipelines.simulation.snuffelfiets.stations import STATIONS
from koploper_pipelines.simulation.snuffelfiets.streets import metres_per_degree, weights


def write_truth(
    truth: Path,
    ids: Ints,
    samples: Samples,
    fault: Ints,
    rides: pd.DataFrame,
    fleet: pd.DataFrame,
    world: World,
) -> None:
    """Write each table of the truth as Parquet."""
    entities = fleet["entity_id"].astype(str)
    frames = {
        "ritten": _ride_truth(rides, entities, samples.ride),
        "apparaten": _device_truth(fleet, entities),
        "dagen": pd.DataFrame(
            {
                "dag": [world.first_day + timedelta(days=day) for day in range(world.days)],
                "achtergrond_ug_m3": world.level,
            }
        ),
        "uren": pd.DataFrame({"uur": np.arange(24), "factor": world.hour_factor}),
        "effecten": _effects(),
    }
    tables = {name: pa.Table.from_pandas(frame, preserve_index=False) for name, frame in frames.items()}
    tables["rijen"] = _row_truth(ids, samples, fault, entities)
    for name, table in tables.items():
        pa.parquet.write_table(table, truth / f"{name}.parquet", compression="zstd")


def write_official_truth(truth: Path, stations: pd.DataFrame, weather: pd.DataFrame, world: World) -> None:
    """Write what the official stations and the weather really were, hour by hour."""
    frames = {
        "referentie": stations,
        "stations": pd.DataFrame(
            [(s.number, s.kind, s.lat, s.lon, s.offset_ug_m3) for s in STATIONS],
            columns=["station", "stationstype", "latitude", "longitude", "afwijking_ug_m3"],
        ),
        "lucht": weather.assign(achtergrond_ug_m3=world.background),
    }
    for name, frame in frames.items():
        table = pa.Table.from_pandas(frame, preserve_index=False)
        pa.parquet.write_table(table, truth / f"{name}.parquet", compression="zstd")


def _row_truth(ids: Ints, samples: Samples, fault: Ints, entities: "pd.Series[str]") -> pa.Table:
    masks, which = np.unique(fault, return_inverse=True)
    labels = ["+".join(name for name, bit in FAULT_BIT.items() if mask & bit) or None for mask in masks]
    return pa.table(
        {
            "_id": ids,
            "entity_id": pa.DictionaryArray.from_arrays(samples.device, entities.tolist()).cast(pa.string()),
            "tijd_utc": pa.array(as_moment(samples.time_s), pa.timestamp("us", "UTC")),
            "breedtegraad": samples.lat,
            "lengtegraad": samples.lon,
            "is_rijdend": samples.is_moving,
            "gereden_m": samples.ridden_m,
            "pm25_ug_m3": samples.exposure,
            "rit": samples.ride,
            "wegtype": pa.DictionaryArray.from_arrays(samples.road, list(ROAD_TYPES)).cast(pa.string()),
            "fout": pa.array(labels, pa.string()).take(pa.array(which)),
        }
    )


def _ride_truth(rides: pd.DataFrame, entities: "pd.Series[str]", ride_of_row: Ints) -> pd.DataFrame:
    start = rides["vertrek_s"].to_numpy()
    duration = rides["duur_s"].to_numpy()
    return pd.DataFrame(
        {
            "rit": rides.index,
            "entity_id": entities.to_numpy()[rides["apparaat"]],
            "soort": np.array(KINDS)[rides["soort"]],
            "vertrek_utc": pd.to_datetime(as_moment(start), utc=True),
            "aankomst_utc": pd.to_datetime(as_moment(start + duration), utc=True),
            "afstand_m": rides["afstand_m"],
            "afstand_meetpunten_m": rides["meetpunten_m"],
            "rijtijd_s": rides["rijtijd_s"],
            "stilstand_s": duration - rides["rijtijd_s"],
            "samen": rides["samen"].astype("Int64").where(rides["samen"] >= 0),
            "meetmomenten": rides["meetmomenten"],
            "rijen": np.bincount(ride_of_row, minlength=len(rides)),
        }
    )


def _device_truth(fleet: pd.DataFrame, entities: "pd.Series[str]") -> pd.DataFrame:
    places = {}
    for what in ("thuis", "werk"):
        place, at = base_of(fleet, np.arange(len(fleet)), what)
        lat = weights(1)[place]
        north, east = metres_per_degree(lat)
        places[f"{what}_breedtegraad"] = lat + at[:, 1] / north
        places[f"{what}_lengtegraad"] = weights(2)[place] + at[:, 0] / east
    return pd.DataFrame(
        {
            "entity_id": entities,
            "firmware": fleet["versie_major"].astype(str) + "." + fleet["versie_minor"].astype(str),
            "bias_optellend_ug_m3": fleet["bias_optellend_ug_m3"],
            "bias_vermenigvuldigend": fleet["bias_vermenigvuldigend"],
            "klok_voor_s": fleet["klok_voor_s"],
            "klokdrift_s_per_uur": fleet["klokdrift_s_per_uur"],
            "druk_afwijking_hpa": fleet["druk_afwijking_hpa"],
            "groep": fleet["groep"].astype("Int64").where(fleet["groep"] >= 0),
            **places,
        }
    )


def _effects() -> pd.DataFrame:
    roads = {
        f"wegtype_{name}": (value, "ug/m3") for name, value in zip(ROAD_TYPES, ROAD_EFFECT_UG_M3, strict=True)
    }
    effects = roads | {
        "luchtvochtigheid_vanaf": (HUMIDITY_FROM_PERCENT, "%"),
        "luchtvochtigheid_groei": (HUMIDITY_GROWTH_PER_PERCENT, "per %"),
    }
    return pd.DataFrame(
        [(name, *effect) for name, effect in effects.items()], columns=["effect", "waarde", "eenheid"]
    )
