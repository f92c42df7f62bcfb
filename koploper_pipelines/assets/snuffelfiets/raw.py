"""Raw: the rows of the inbox as they came, with device numbers replaced by keyed hashes.

Here belong the layout of the CKAN export and what is done on landing. Nothing is judged or converted here:
that is the cleaned layer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from koploper_pipelines.gates.staging import Offered
from koploper_pipelines.gates.table import Step, gated_table
from koploper_pipelines.resources.inbox import (
    DroppedFile,
    count_lines,
    dropped_files,
    has_landed,
    pseudonym,
    read_csv,
    rows_landed,
)
from koploper_pipelines.resources.lake import UNKNOWN

if TYPE_CHECKING:
    import duckdb

    from koploper_pipelines.gates.step import Platform

TABLE = "snuffelfiets/raw/metingen"
CKAN_COLUMNS = (
    "_id", "entity_id", "recording_timestamp", "receive_timestamp", "acc_max", "error_code",
    "horizontal_accuracy", "humidity", "latitude", "longitude", "no2", "pm10", "pm1_0", "pm2_5", "pressure",
    "temperature", "version_major", "version_minor", "vertical_accuracy", "voc", "voltage",
)  # fmt: skip
IGNORED = ("_full_text",)
UNKNOWN_DEVICE = "onbekend"


@dataclass(frozen=True)
class CkanFile:
    """One dropped export, to be landed on its own."""

    file: DroppedFile
    platform: Platform

    @property
    def name(self) -> str:
        """Name of the file."""
        return self.file.name

    def offered(self, con: duckdb.DuckDBPyConnection) -> Offered | None:
        """All rows as text, the device as keyed hash; None when these contents landed before.

        Raises SchemaMismatch when it is no CKAN export.
        """
        with self.file.opened() as (path, content):
            if has_landed(self.platform.lake, TABLE, content):
                return None
            rows = read_csv(con, path, self.name, CKAN_COLUMNS, IGNORED)
            lines = count_lines(path) - 1
        key = self.platform.settings.subkey("apparaat")
        landed = self.platform.clock.now().isoformat()
        rows.create_view("rijen", replace=True)
        _pseudonyms(con, rows, key).create_view("apparaten", replace=True)
        others = ", ".join(f'r."{c}"' for c in CKAN_COLUMNS if c != "entity_id")
        # A day that cannot be: the clock was never set, or jumped. Such rows wait under no day.
        made = con.sql(f"""
            SELECT '{content}' AS bestand, r.rij, TIMESTAMPTZ '{landed}' AS geland_op,
                CASE WHEN opname BETWEEN DATE '2018-01-01' AND ontvangst + INTERVAL 1 DAY
                    AND ontvangst <= TIMESTAMPTZ '{landed}'::TIMESTAMP + INTERVAL 1 DAY
                    THEN opname::DATE END AS opnamedatum,
                coalesce(a.apparaat, '{UNKNOWN_DEVICE}') AS apparaat, {others}
            FROM (
                SELECT *, TRY_CAST(recording_timestamp AS TIMESTAMP) AS opname,
                    TRY_CAST(receive_timestamp AS TIMESTAMP) AS ontvangst
                FROM rijen
            ) r LEFT JOIN apparaten a USING (entity_id)
        """)
        days = made.project(f"coalesce(opnamedatum::VARCHAR, '{UNKNOWN}')").distinct().fetchall()
        return Offered(
            made,
            partitions=sorted(d for (d,) in days),
            controls={"rijen_na_landing": rows_landed(self.platform.lake, TABLE) + lines},
            file=content,
            notes={"bestand": self.name},
        )

    def accepted(self) -> None:
        """Delete the original (or keep it encrypted)."""
        self.file.accept()

    def refused(self, report: str) -> None:
        """Put the original aside with the report."""
        self.file.refuse(report)


@gated_table(TABLE, lands=True, kinds=("csv", "delta"))
def metingen(step: Step) -> Iterator[CkanFile]:
    """Each file in the inbox."""
    platform = step.platform
    for file in dropped_files(platform.settings, "snuffelfiets"):
        yield CkanFile(file, platform)


def _pseudonyms(
    con: duckdb.DuckDBPyConnection, rows: duckdb.DuckDBPyRelation, key: bytes
) -> duckdb.DuckDBPyRelation:
    """A keyed hash for each device number; without the installation's key nobody can make or reverse it."""
    import pyarrow as pa

    devices = [d for (d,) in rows.project("entity_id").distinct().fetchall() if d and d.strip()]
    hashed = [pseudonym(key, d.strip()) for d in devices]
    return con.from_arrow(
        pa.table({"entity_id": pa.array(devices, pa.string()), "apparaat": pa.array(hashed, pa.string())})
    )
