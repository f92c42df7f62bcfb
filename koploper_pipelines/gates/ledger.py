"""The quality ledger: what every gate did and what every rule said, kept for good.

Here belongs appending and reading the ledger, a Delta table beside the lake's tables and stamped as they
are. It decides nothing about their rows: the trust of readers lies in the tables' own stamps.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from koploper_pipelines.resources.lake import DataFile, Lake

if TYPE_CHECKING:
    import pandas as pd

TABLE = "_kwaliteit/grootboek"
COMPACT_EVERY = 20
"""Commits after which the small files are merged: each pass reads the ledger, at a cost a file."""

Event = Literal["begonnen", "regel", "gereed", "geweigerd", "afgebroken"]
ENDS: tuple[Event, ...] = ("gereed", "geweigerd", "afgebroken")
PASS = ("gang", "tabel", "run_id", "nacht")
"""What identifies a pass."""

FIELDS: Mapping[str, str] = {
    # The order of the entries: moments do not give it, since a clock may stand still or be set back.
    "volgnummer": "int64",
    "gang": "string",
    "tijd": "timestamp",
    "run_id": "string",
    "nacht": "string",
    "tabel": "string",
    "gebeurtenis": "string",
    "bron": "string",
    "contract_versie": "string",
    "regels_hash": "string",
    "regel": "string",
    "omschrijving": "string",
    "ernst": "string",
    "dimensie": "string",
    "reikwijdte": "string",
    "is_geslaagd": "bool",
    "is_te_beoordelen": "bool",
    "beoordeeld": "int64",
    "afwijkend": "int64",
    "waarde": "float64",
    "partities": "string",
    "toelichting": "string",
    "voorbeelden": "string",
    "rijen_in": "int64",
    "rijen": "int64",
    "rijen_in_quarantaine": "int64",
    "versie": "int64",
    "vingerafdrukken": "string",
}


class Ledger:
    """Appends to and reads the quality ledger of one lake."""

    def __init__(self, lake: Lake) -> None:
        """Take the lake that the ledger stands in."""
        self._lake = lake
        self._verdicts: tuple[int, pd.DataFrame] | None = None

    def append(self, moment: datetime, entries: Sequence[Mapping[str, Any]]) -> None:
        """Add entries (fields of `FIELDS`; what is left out is NULL) in one commit."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        types = {"string": pa.string(), "timestamp": pa.timestamp("us", "UTC"), "bool": pa.bool_()}
        types |= {"int64": pa.int64(), "float64": pa.float64()}
        schema = pa.schema([(name, types[kind]) for name, kind in FIELDS.items()])
        with self._lake.lock(TABLE):
            before = self._lake.head(TABLE).stamped_version if self._lake.exists(TABLE) else -1
            gang = uuid.uuid4().hex
            stamp = {"gang": gang, "ouder": before, "partities": {}}
            stamp |= self._in_short(before + 1, entries)
            shared = {**dict.fromkeys(FIELDS), "volgnummer": before + 1, "tijd": moment}
            rows = [{**shared, **e} for e in entries]
            # Always the same, so that what a kill leaves of it is written over.
            file = self._lake.folder(TABLE) / "nieuw.parquet"
            file.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.Table.from_pylist(rows, schema=schema), file)
            files = [DataFile(file, len(rows))]
            version = self._lake.commit(TABLE, files, schema, stamp, partition=None, replace=None)
            if version and version % COMPACT_EVERY == 0:
                self._lake.compact(TABLE, stamp | {"ouder": version})

    def open_passes(self, table: str) -> list[dict[str, Any]]:
        """Passes over a table that began and did not end: gang, tabel, run_id and nacht of each.

        Asked at every pass, so told by the stamp of the newest commit and not by reading the entries.
        Raises UntrustedTable when something else wrote to the ledger.
        """
        return [p for p in self._stamp()["open"] if p["tabel"] == table]

    def last_judged(self) -> dict[str, int]:
        """Per table the number of the commit in which its rules were judged last."""
        return dict(self._stamp().get("beoordeeld", {}))

    def was_refused(self, table: str, night: str) -> bool:
        """Whether anything of a table was refused in a night, if that is the last in which it was refused."""
        return bool(self._stamp().get("geweigerd", {}).get(table) == night)

    def _stamp(self) -> Mapping[str, Any]:
        """What the newest commit says in short of all before it."""
        return self._lake.head(TABLE).stamp if self._lake.exists(TABLE) else {"open": []}

    def _in_short(self, number: int, entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """What every pass asks of the ledger, carried from stamp to stamp so that nobody reads it all."""
        before = self._stamp()
        ended = {e["gang"] for e in entries if e["gebeurtenis"] in ENDS}
        begun = [{k: e[k] for k in PASS} for e in entries if e["gebeurtenis"] == "begonnen"]
        judged = {e["tabel"]: number for e in entries if e["gebeurtenis"] == "regel"}
        refused = {e["tabel"]: e["nacht"] for e in entries if e["gebeurtenis"] == "geweigerd"}
        return {
            "open": [p for p in [*before["open"], *begun] if p["gang"] not in ended],
            "beoordeeld": {**before.get("beoordeeld", {}), **judged},
            "geweigerd": {**before.get("geweigerd", {}), **refused},
        }

    def last_verdicts(self, table: str) -> pd.DataFrame:
        """The newest entry of each rule of a table.

        Read once for all tables while the ledger stays as it is: a run in which many have nothing to do asks
        for each of them.
        """
        version = self._lake.head(TABLE).version if self._lake.exists(TABLE) else -1
        if self._verdicts is None or self._verdicts[0] != version:
            entries = self.read("gebeurtenis = 'regel'")
            self._verdicts = version, entries.drop_duplicates(["tabel", "regel"], keep="last")
        newest = self._verdicts[1]
        return newest[newest["tabel"] == table]

    def read(self, where: str = "TRUE") -> pd.DataFrame:
        """Entries for which a SQL condition over `FIELDS` holds, oldest first; no rows before the first gate.

        Raises UntrustedTable when something else wrote to the ledger.
        """
        import duckdb
        import pandas as pd

        if not self._lake.exists(TABLE):
            return pd.DataFrame(columns=list(FIELDS))
        with duckdb.connect() as con:
            con.sql("SET TimeZone = 'UTC'")
            rows = self._lake.relation(con, TABLE, self._lake.head(TABLE).version)
            entries: pd.DataFrame = rows.filter(where).order("volgnummer, regel").df()
            return entries
