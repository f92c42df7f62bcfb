"""Boundaries of the municipalities, from PDOK, fetched once for the year of the shipped lists.

Here belongs which collection and which municipalities. Which municipality a place is given is said in
`assets/snuffelfiets/gebieden.py`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from koploper_pipelines.assets.snuffelfiets import SnuffelfietsSources
from koploper_pipelines.assets.snuffelfiets.raw.landing import Landing, Records, api, as_text, content_of
from koploper_pipelines.gates.sources import SourceState, from_source
from koploper_pipelines.gates.staging import Offered, SchemaMismatch
from koploper_pipelines.gates.table import Delivery, Step, gated_table
from koploper_pipelines.relations import select
from koploper_pipelines.resources.pdok import Collection
from koploper_pipelines.resources.reference import MUNICIPALITIES_VINTAGE, municipalities

if TYPE_CHECKING:
    import duckdb

TABLE = "snuffelfiets/raw/gemeentegrenzen"
SOURCE = "PDOK"
COLLECTION = "gemeente_gegeneraliseerd"
RD_RANGE = (0.0, 300_000.0, 300_000.0, 630_000.0)
"""Of x, and of y, in RD New: degrees are far outside."""


@dataclass(frozen=True)
class Boundaries:
    """The boundaries of one year, to be landed together."""

    name: str
    rows: Records
    landing: Landing

    def offered(self, con: duckdb.DuckDBPyConnection) -> Offered:
        """A row a municipality."""
        moment, content = self.landing.platform.clock.now().isoformat(), content_of(self.rows)
        made = select(
            con.from_arrow(as_text(self.rows)),
            "gemeenten",
            f"""
            SELECT '{content}' AS bestand, row_number() OVER () AS rij, TIMESTAMPTZ '{moment}' AS geland_op,
                peiljaar::BIGINT AS peiljaar, gemeente_code, gemeente_naam, grens_geojson
            FROM gemeenten
            """,
        )
        return self.landing.offer(con, made, content, len(self.rows), day=None, name=self.name)

    def accepted(self) -> None:
        """Nothing to do: the lake is where they are kept."""

    def refused(self, report: str) -> None:
        """Nothing to put aside: the source still has them."""


@gated_table(TABLE, lands=True, kinds=("geojson", "delta"))
def gemeentegrenzen(step: Step) -> Iterator[Delivery | SourceState]:
    """The boundaries of the year of the shipped lists, once."""
    landing = Landing(step.platform, TABLE)
    sources = SnuffelfietsSources()
    if sources.pdok_url is None or _has_year(step.con, landing):
        return
    collection = Collection(api(SOURCE, sources.pdok_url, sources), COLLECTION)
    yield from from_source(SOURCE, _fetched(landing, collection))


def _has_year(con: duckdb.DuckDBPyConnection, landing: Landing) -> bool:
    rows = landing.relation(con)
    return rows is not None and bool(rows.filter(f"peiljaar = {MUNICIPALITIES_VINTAGE}").limit(1).fetchall())


def _fetched(landing: Landing, collection: Collection) -> Iterator[Delivery]:
    listed = municipalities()
    year, wanted = str(MUNICIPALITIES_VINTAGE), set(listed["gemeente_code"])
    found = [
        _row(f, year)
        for f in collection.features(jaarcode=year)
        if str(f["properties"].get("jaarcode")) == year and f["properties"].get("statcode") in wanted
    ]
    have = [str(r["gemeente_code"]) for r in found]
    if missing := sorted(set(listed.query("is_in_provincie")["gemeente_code"]) - set(have)):
        raise SchemaMismatch(f"{SOURCE}: {COLLECTION} of {year} lacks {', '.join(missing)}")
    if len(have) > len(set(have)):
        raise SchemaMismatch(f"{SOURCE}: {COLLECTION} of {year} holds a municipality twice")
    yield Boundaries(f"{SOURCE} {COLLECTION} {year}", found, landing)


def _row(feature: Mapping[str, Any], year: str) -> dict[str, str | None]:
    code, geometry = feature["properties"]["statcode"], feature["geometry"]
    coordinates = _as_numbers(geometry.get("coordinates") if isinstance(geometry, dict) else None, code)
    return {
        "peiljaar": year,
        "gemeente_code": code,
        "gemeente_naam": feature["properties"].get("statnaam"),
        "grens_geojson": json.dumps({"type": geometry["type"], "coordinates": coordinates}),
    }


def _as_numbers(said: Any, code: str) -> Any:
    """Coordinates as numbers, each pair in the range of RD New."""
    if isinstance(said, list) and len(said) >= 2 and all(isinstance(v, str) for v in said):
        x, y = float(said[0]), float(said[1])
        low_x, high_x, low_y, high_y = RD_RANGE
        if not (low_x <= x <= high_x and low_y <= y <= high_y):
            raise SchemaMismatch(f"{SOURCE}: {code} at {x:g}, {y:g}, expected metres in RD New")
        return [x, y]
    if not isinstance(said, list) or not said:
        raise SchemaMismatch(f"{SOURCE}: the boundary of {code} is no list of coordinates")
    return [_as_numbers(part, code) for part in said]
