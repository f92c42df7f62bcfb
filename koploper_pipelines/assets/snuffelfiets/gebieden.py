"""Which municipality a place lies in, for every table that says so alike.

Here belongs the choice between the boundaries that were fetched and the lists that ship.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from koploper_pipelines.gates.table import Step
from koploper_pipelines.relations import count
from koploper_pipelines.resources.reference import (
    MUNICIPALITIES_VINTAGE,
    municipalities,
    municipality_squares,
)

if TYPE_CHECKING:
    import duckdb

    from koploper_pipelines.methods.geo import Texts

BOUNDARIES = "snuffelfiets/raw/gemeentegrenzen"
BY_BOUNDARY, BY_SQUARE = "definitief", "benadering"


def municipality_of(step: Step, x: Any, y: Any) -> tuple[Texts, str]:
    """The municipality of points in RD metres, and the status of that: by boundary, or by shipped square.

    The step declares that it reads the boundaries.
    """
    from koploper_pipelines.methods import geo

    rows = _boundaries(step).df()
    if rows.empty:
        return geo.assign_municipality(x, y, municipality_squares()), BY_SQUARE
    inside = set(municipalities().query("is_in_provincie")["gemeente_code"])
    own = rows[rows["gemeente_code"].isin(inside)]
    by_code = dict(zip(own["gemeente_code"], own["grens_geojson"], strict=True))
    return geo.municipality_within(x, y, by_code), BY_BOUNDARY


def status_of_areas(step: Step) -> str:
    """The status of what `municipality_of` says now."""
    return BY_BOUNDARY if count(_boundaries(step)) else BY_SQUARE


def _boundaries(step: Step) -> duckdb.DuckDBPyRelation:
    return step.read(BOUNDARIES).filter(f"peiljaar = {MUNICIPALITIES_VINTAGE}")
