"""Evaluation: what was intended with Snuffelfiets against what this installation's data reach.

Here belongs comparing; the figures themselves come from the indicators.
"""

from __future__ import annotations

from koploper_pipelines.gates.staging import Offered
from koploper_pipelines.gates.table import Reads, Step, gated_table

OVERVIEW = "snuffelfiets/indicators/overzicht"
# Intended or claimed at the project's start and end; Stadszaken 3304 and the municipality's press release.
INTENDED = {
    "apparaten": (500.0, "start van fase 2, 17 mei 2019: 500 inwoners met een kastje"),
    "metingen_ontvangen": (20_000_000.0, "Stadszaken 3304: 20 miljoen metingen"),
    "afstand_km": (750_000.0, "Stadszaken 3304: ongeveer 750.000 km"),
    "meetmaanden": (20.0, "fase 2: mei 2019 tot en met december 2020"),
}


@gated_table("snuffelfiets/evaluation/bereik", reads=[Reads(OVERVIEW)])
def bereik(step: Step) -> Offered:
    """Intended against reached, a row a goal."""
    import pandas as pd

    months = step.read(OVERVIEW).df().query("metingen_bruikbaar > 0")
    reached = {
        # Devices are known per month only: the largest month, so that no device counts twice.
        "apparaten": float(months["apparaten"].max()),
        "metingen_ontvangen": float(months["metingen_ontvangen"].sum()),
        "afstand_km": float(months["afstand_km"].sum()),
        "meetmaanden": float(len(months)),
    }
    rows = [
        {
            "doel": goal,
            "beoogd": intended,
            "bereikt": reached[goal],
            "aandeel": reached[goal] / intended,
            "bron": source,
            "bewijstrede": "gemonitord",
        }
        for goal, (intended, source) in INTENDED.items()
    ]
    return Offered(pd.DataFrame(rows), controls={"som_bereikt": sum(reached.values())})
