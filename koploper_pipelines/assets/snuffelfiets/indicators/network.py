"""The cycling network per month: cells of 100 m, and trips between municipalities."""

from __future__ import annotations

from koploper_pipelines.assets.snuffelfiets.gebieden import BOUNDARIES
from koploper_pipelines.assets.snuffelfiets.indicators import PASSAGES, PROVINCE, RIDES
from koploper_pipelines.assets.snuffelfiets.indicators.air import areas_ridden
from koploper_pipelines.gates.staging import Offered
from koploper_pipelines.gates.table import Reads, Step, gated_table
from koploper_pipelines.relations import count


@gated_table("snuffelfiets/indicators/fietsnetwerk", reads=[Reads(PASSAGES)])
def fietsnetwerk(step: Step) -> Offered:
    """How each 100 m cell was ridden."""
    from koploper_pipelines.methods.snuffelfiets import network

    passages = step.read(PASSAGES)
    return Offered(network.cells(step.con, passages), controls={"passages": count(passages)})


@gated_table(
    "snuffelfiets/indicators/herkomst_bestemming", reads=[Reads(PASSAGES), Reads(RIDES), Reads(BOUNDARIES)]
)
def herkomst_bestemming(step: Step) -> Offered:
    """Rides from municipality to municipality."""
    from koploper_pipelines.methods.snuffelfiets import network

    passages = step.read(PASSAGES)
    made = network.trips(step.con, passages, step.read(RIDES), areas_ridden(step, passages), PROVINCE)
    return Offered(
        made, controls={"tweemaal_ritten_met_passages": 2 * count(passages.project("rit_id").distinct())}
    )
