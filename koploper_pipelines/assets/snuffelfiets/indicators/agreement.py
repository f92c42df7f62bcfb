"""Devices near stations, and devices that rode together: what the evaluation and the calibration rest on."""

from __future__ import annotations

from koploper_pipelines.assets.snuffelfiets import SnuffelfietsSettings
from koploper_pipelines.assets.snuffelfiets.indicators import PAIRS, PASSAGES, REFERENCE, RIDES, ROADS
from koploper_pipelines.assets.snuffelfiets.indicators.passages import coded, stations
from koploper_pipelines.gates.staging import Offered
from koploper_pipelines.gates.table import Reads, Step, gated_table
from koploper_pipelines.relations import count, select, value


@gated_table(
    PAIRS,
    reads=[Reads(PASSAGES), Reads(REFERENCE, lookup=True), Reads(ROADS)],
    settings=SnuffelfietsSettings,
)
def ijkparen(step: Step) -> Offered:
    """Each device in each hour in which it was near a station of its kind of street."""
    import pandas as pd

    from koploper_pipelines.methods.snuffelfiets import calibration, roads

    choice: SnuffelfietsSettings = step.settings(SnuffelfietsSettings)
    near = calibration.Nearness(choice.ijking_straal_achtergrond_m, choice.ijking_straal_verkeer_m)
    passages, reference = step.read(PASSAGES), step.read(REFERENCE)
    places = stations(reference)
    cells = pd.DataFrame({c: pd.Series(dtype="str") for c in ("maand", "cel_100m", "soort")})
    if len(places):
        listed = roads.of_list(step.read(ROADS).df())
        known = [
            (listed if len(listed) else roads.traffic_like(month)).assign(maand=name)
            for name, month in coded(step, passages).groupby("maand")
        ]
        cells = pd.concat([cells, *known])
    found = calibration.pairs(step.con, passages, reference, places, cells, near)
    hours = count(passages.project("apparaat, uur").distinct())
    return Offered(found, controls={"apparaaturen_maal_stations": hours * len(places)})


@gated_table("snuffelfiets/indicators/herhaalritten", reads=[Reads(PASSAGES), Reads(RIDES)])
def herhaalritten(step: Step) -> Offered:
    """Pairs of rides of two devices that rode together."""
    from koploper_pipelines.methods.snuffelfiets import replicates

    passages = step.read(PASSAGES)
    # Counted apart: how often two passages at all share a cell and an hour.
    meetings = select(
        passages,
        "p",
        "SELECT coalesce(sum(n * (n - 1) // 2), 0)::BIGINT"
        " FROM (SELECT count(*) AS n FROM p GROUP BY cel_100m, uur)",
    )
    made = replicates.replicate_rides(step.con, passages, step.read(RIDES))
    return Offered(made, controls={"ontmoetingen": int(value(meetings))})
