"""Lists of road types per cell of 100 m, from a source that the list names.

Here belong the layout and the landing. Such a list is made once from a map of roads (the NWB, OpenStreetMap);
the last one holds as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from koploper_pipelines.assets.snuffelfiets.raw.landing import Landing
from koploper_pipelines.gates.staging import Offered, relation
from koploper_pipelines.gates.table import Delivery, Step, gated_table
from koploper_pipelines.relations import select
from koploper_pipelines.resources.inbox import DroppedFile, FromFile, count_lines, dropped_files, read_csv

if TYPE_CHECKING:
    import duckdb

TABLE = "snuffelfiets/raw/wegtypen"
COLUMNS = ("cel_100m", "wegtype", "bron")


@dataclass(frozen=True)
class RoadList(FromFile):
    """One dropped list, to be landed on its own."""

    landing: Landing
    file: DroppedFile

    def offered(self, con: duckdb.DuckDBPyConnection) -> Offered | None:
        """All rows as text; None when these contents landed before.

        Raises SchemaMismatch when the file has other columns.
        """
        with self.file.opened() as (path, content):
            if content in self.landing.deliveries:
                return None
            rows = relation(con, read_csv(con, path, self.name, COLUMNS))
            lines = count_lines(path) - 1
        made = select(
            rows,
            "regels",
            f"""
            SELECT '{content}' AS bestand, rij, {len(self.landing.deliveries) + 1} AS levering,
                TIMESTAMPTZ '{self.landing.platform.clock.now().isoformat()}' AS geland_op,
                {", ".join(COLUMNS)}
            FROM regels
            """,
        )
        return self.landing.offer(con, made, content, lines, day=None, name=self.name)


@gated_table(TABLE, lands=True, kinds=("csv", "delta"))
def wegtypen(step: Step) -> Iterator[Delivery]:
    """Each list in the inbox."""
    landing = Landing(step.platform, TABLE)
    for file in dropped_files(step.platform.settings, "snuffelfiets/wegtypen"):
        yield RoadList(landing, file)
