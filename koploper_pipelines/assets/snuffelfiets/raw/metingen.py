"""Raw: the rows of the bicycles, with device numbers replaced by keyed hashes.

Here belong the columns of the CKAN resource, what is done to a row on landing, and what is asked of the API.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from koploper_pipelines.assets.snuffelfiets import SnuffelfietsSources
from koploper_pipelines.assets.snuffelfiets.raw.landing import Landing, Records, api, as_text, content_of
from koploper_pipelines.gates.sources import SourceState, from_source
from koploper_pipelines.gates.staging import Offered, relation
from koploper_pipelines.gates.table import Delivery, Step, gated_table
from koploper_pipelines.relations import select
from koploper_pipelines.resources.ckan import DataStore
from koploper_pipelines.resources.inbox import (
    DroppedFile,
    FromFile,
    count_lines,
    dropped_files,
    numbered,
    pseudonym,
    read_csv,
)

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from koploper_pipelines.gates.staging import Rows

TABLE = "snuffelfiets/raw/metingen"
SOURCE = "CKAN DataStore"
CKAN_COLUMNS = (
    "_id", "entity_id", "recording_timestamp", "receive_timestamp", "acc_max", "error_code",
    "horizontal_accuracy", "humidity", "latitude", "longitude", "no2", "pm10", "pm1_0", "pm2_5", "pressure",
    "temperature", "version_major", "version_minor", "vertical_accuracy", "voc", "voltage",
)  # fmt: skip
IGNORED = ("_full_text",)
UNKNOWN_DEVICE = "onbekend"
OVERLAP = timedelta(days=2)
"""Asked again each night: a row may be stored after others that have a higher number."""
BLOCK = 32_000
"""Numbers of which is counted whether all rows have landed: of a row that was stored even later."""


@dataclass(frozen=True)
class CkanFile(FromFile):
    """One dropped export, to be landed on its own."""

    file: DroppedFile
    landing: Landing

    def offered(self, con: duckdb.DuckDBPyConnection) -> Offered | None:
        """All rows as text, the device as keyed hash; None when these contents landed before.

        Raises SchemaMismatch when it is no CKAN export.
        """
        with self.file.opened() as (path, content):
            if content in self.landing.deliveries:
                return None
            rows = read_csv(con, path, self.name, CKAN_COLUMNS, IGNORED)
            lines = count_lines(path) - 1
        made = _landed(con, self.landing, rows, content, "bestand")
        return self.landing.offer(con, made, content, lines, day="opnamedatum", name=self.name)


@dataclass
class CkanPage:
    """One page of the API, to be landed on its own."""

    name: str
    rows: Records
    landing: Landing
    is_refused: bool = field(default=False, init=False)
    """Whether the gate stayed closed: the pages after it then have to wait, or its rows would be lost."""

    def offered(self, con: duckdb.DuckDBPyConnection) -> Offered | None:
        """All rows as text, the device as keyed hash; None when these contents landed before."""
        content = content_of(self.rows)
        if content in self.landing.deliveries:
            return None
        made = _landed(con, self.landing, numbered(as_text(self.rows)), content, "ckan")
        return self.landing.offer(con, made, content, len(self.rows), day="opnamedatum", name=self.name)

    def accepted(self) -> None:
        """Nothing to do: the rows in the lake are what the next page starts from."""

    def refused(self, report: str) -> None:
        """Keep the following pages from landing."""
        self.is_refused = True


@gated_table(TABLE, lands=True, kinds=("csv", "delta"))
def metingen(step: Step) -> Iterator[Delivery | SourceState]:
    """Each file in the inbox, then what the API has since."""
    landing = Landing(step.platform, TABLE)
    for file in dropped_files(step.platform.settings, "snuffelfiets"):
        yield CkanFile(file, landing)
    sources = SnuffelfietsSources()
    if sources.ckan_url is not None:
        yield from from_source(SOURCE, _fetched(step.con, landing, _store(sources)))


def _store(sources: SnuffelfietsSources) -> DataStore:
    key = sources.ckan_sleutel.get_secret_value() if sources.ckan_sleutel is not None else ""
    # Which of the two a site reads depends on its version; the one that it does not know it ignores.
    headers = {"Authorization": key, "X-CKAN-API-Key": key} if key else {}
    address = api(SOURCE, sources.ckan_url or "", sources, **headers)
    return DataStore(address, sources.ckan_tabel, CKAN_COLUMNS, IGNORED)


def _fetched(con: duckdb.DuckDBPyConnection, landing: Landing, store: DataStore) -> Iterator[Delivery]:
    """A delivery a page.

    First the rows received lately whose number is below the last, then all above it, then what the counts by
    block of numbers say is missing still. Where a pull begins is read from the rows that landed and nothing
    else, so that a night that was cut off goes on where the lake stands.
    """
    store.check_columns()
    for rows in _pages(con, landing, store):
        page = CkanPage(f"{SOURCE} {rows[0]['_id']} - {rows[-1]['_id']}", rows, landing)
        yield page
        if page.is_refused:
            return


def _pages(con: duckdb.DuckDBPyConnection, landing: Landing, store: DataStore) -> Iterator[Records]:
    last, since, landed = _watermark(con, landing)
    if since is not None:
        yield from store.received_since(since, up_to=last, without=landed)
    yield from store.after(last)
    for block in _incomplete(con, landing, store):
        first = block * BLOCK
        inside = f"bron = 'ckan' AND _id::BIGINT BETWEEN {first + 1} AND {first + BLOCK}"
        own = landing.relation(con)
        known = own.filter(inside).project("_id").fetchall() if own is not None else []
        yield from store.between(first, first + BLOCK, without={i for (i,) in known})


def _incomplete(con: duckdb.DuckDBPyConnection, landing: Landing, store: DataStore) -> list[int]:
    """Blocks of numbers of which the source has more rows than have landed."""
    rows = landing.relation(con)
    if rows is None:
        return []
    own = rows.filter("bron = 'ckan'")
    (last,) = own.aggregate("coalesce(max(_id::BIGINT), 0)").fetchall()[0]
    there = store.counts(last, BLOCK)
    here = dict(own.aggregate(f"(_id::BIGINT - 1) // {BLOCK} AS blok, count(*)", "blok").fetchall())
    return [block for block, number in sorted(there.items()) if number > here.get(block, 0)]


def _watermark(con: duckdb.DuckDBPyConnection, landing: Landing) -> tuple[int, str | None, frozenset[str]]:
    """The last number landed from the API, from when receipts are asked again, and what landed of those."""
    rows = landing.relation(con)
    if rows is None:
        return 0, None, frozenset()
    own = rows.filter("bron = 'ckan'")
    received = "TRY_CAST(receive_timestamp AS TIMESTAMP)"
    # A receipt in the future is a wrong clock, and would leave out all that comes.
    now = landing.platform.clock.now().replace(tzinfo=None).isoformat()
    (last, arrived) = own.aggregate(
        f"coalesce(max(_id::BIGINT), 0), max({received}) FILTER ({received} <= TIMESTAMP '{now}')"
    ).fetchall()[0]
    if arrived is None:
        return last, None, frozenset()
    since = (arrived - OVERLAP).isoformat()
    landed = own.filter(f"{received} >= TIMESTAMP '{since}'").project("_id").fetchall()
    return last, since, frozenset(i for (i,) in landed)


def _landed(con: duckdb.DuckDBPyConnection, landing: Landing, rows: Rows, content: str, source: str) -> Rows:
    """Rows of a delivery as they land: as text, without device numbers, under the day of their clock."""
    import pyarrow as pa

    now = landing.platform.clock.now()
    whole = relation(con, rows)
    devices = _pseudonyms(whole, landing.platform.settings.subkey("apparaat"))
    if isinstance(rows, pa.Table):
        days = select(whole, "r", f"SELECT {_day_sql(now)} AS opnamedatum FROM r ORDER BY rij")
        same = {"bestand": content, "geland_op": now, "bron": source}
        return _beside(rows, days.to_arrow_table(), devices, same)
    con.from_arrow(devices).create_view("apparaten", replace=True)
    others = ", ".join(f'r."{c}"' for c in CKAN_COLUMNS if c != "entity_id")
    return select(
        whole,
        "r",
        f"""
        SELECT '{content}' AS bestand, TIMESTAMPTZ '{now.isoformat()}' AS geland_op, '{source}' AS bron,
            rij, {_day_sql(now)} AS opnamedatum,
            coalesce(a.apparaat, '{UNKNOWN_DEVICE}') AS apparaat, {others}
        FROM r LEFT JOIN apparaten a USING (entity_id)
        """,
    )


def _day_sql(now: datetime) -> str:
    """The day of the device's clock; none for one that cannot be: it was never set, or jumped."""
    recorded, received = (f"TRY_CAST({c}_timestamp AS TIMESTAMP)" for c in ("recording", "receive"))
    return f"""
        CASE WHEN {recorded} BETWEEN DATE '2018-01-01' AND {received} + INTERVAL 1 DAY
            AND {received} <= TIMESTAMPTZ '{now.isoformat()}'::TIMESTAMP + INTERVAL 1 DAY
            THEN {recorded}::DATE END"""


def _beside(rows: pa.Table, days: pa.Table, devices: pa.Table, same: Mapping[str, object]) -> pa.Table:
    """Rows with their days and pseudonyms in the place of device numbers; the texts are not touched."""
    import pyarrow as pa
    from pyarrow import compute

    numbers, hashed = (devices[c].combine_chunks() for c in ("entity_id", "apparaat"))
    place = compute.index_in(rows["entity_id"], value_set=numbers).combine_chunks()
    names = pa.concat_arrays([hashed, pa.array([UNKNOWN_DEVICE])])
    own = {
        "apparaat": pa.DictionaryArray.from_arrays(place.fill_null(len(hashed)), names),
        "opnamedatum": days["opnamedatum"],
    }
    first = pa.repeat(pa.scalar(0, pa.int8()), len(rows))
    own |= {n: pa.DictionaryArray.from_arrays(first, pa.array([v])) for n, v in same.items()}
    kept = rows.drop_columns(["entity_id"])
    return pa.table({**dict(zip(kept.column_names, kept.columns, strict=True)), **own})


def _pseudonyms(rows: duckdb.DuckDBPyRelation, key: bytes) -> pa.Table:
    """A keyed hash for each device number; without the installation's key nobody can make or reverse it."""
    import pyarrow as pa

    devices = [d for (d,) in rows.project("entity_id").distinct().fetchall() if d and d.strip()]
    hashed = [pseudonym(key, d.strip()) for d in devices]
    return pa.table({"entity_id": pa.array(devices, pa.string()), "apparaat": pa.array(hashed, pa.string())})
