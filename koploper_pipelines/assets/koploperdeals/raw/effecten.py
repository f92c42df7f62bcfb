"""Raw: series with a before and an after, as they were dropped in `inbox/koploperdeals/effecten/`.

Here belongs what is done on landing; nothing is judged or converted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from koploper_pipelines.gates.staging import Offered, relation
from koploper_pipelines.gates.table import Step, gated_table
from koploper_pipelines.relations import count
from koploper_pipelines.resources.inbox import (
    DroppedFile,
    FromFile,
    dropped_files,
    has_landed,
    read_csv,
    rows_landed,
)

if TYPE_CHECKING:
    import duckdb

    from koploper_pipelines.gates.step import Platform

SERIES = "koploperdeals/raw/effectreeksen"
FOLDER = "koploperdeals/effecten"
COLUMNS = ("deal", "uitkomst", "eenheid", "gebied", "is_behandeld", "ingreep_maand", "maand", "waarde")


@dataclass(frozen=True)
class SeriesFile(FromFile):
    """One dropped CSV file, to be landed on its own."""

    file: DroppedFile
    platform: Platform

    def offered(self, con: duckdb.DuckDBPyConnection) -> Offered | None:
        """All rows as text; None when these contents landed before. SchemaMismatch when it is no such CSV."""
        lake = self.platform.lake
        with self.file.opened() as (path, content):
            if has_landed(lake, SERIES, content):
                return None
            landed = self.platform.clock.now().isoformat()
            rows = relation(con, read_csv(con, path, self.name, COLUMNS)).project(
                f"'{content}' AS levering, rij, TIMESTAMPTZ '{landed}' AS geland_op, {', '.join(COLUMNS)}"
            )
            total = rows_landed(lake, SERIES) + count(rows)
        return Offered(rows, controls={"rijen_na_landing": total}, file=content, notes={"bestand": self.name})


@gated_table(SERIES, lands=True, kinds=("csv", "delta"))
def effectreeksen(step: Step) -> Iterator[SeriesFile]:
    """Each file with series in the inbox."""
    for file in dropped_files(step.platform.settings, FOLDER):
        yield SeriesFile(file, step.platform)
