"""The warehouse on both databases: what readers see, also when a publish fails, is killed or goes on."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import random
import resource
import sqlite3
import stat
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg2  # type: ignore[import-untyped]
import pyarrow as pa
import pytest
import sqlalchemy as sa

from koploper_pipelines.contracts import Column, Contract
from koploper_pipelines.gates.staging import arrow_schema
from koploper_pipelines.resources import warehouse as module
from koploper_pipelines.resources.warehouse import (
    KEPT_RELEASES,
    PublishedTable,
    ReleaseInfo,
    Warehouse,
    WarehouseError,
    postgres,
)
from koploper_pipelines.resources.warehouse.release import _arrow_schema, sql_table

ABOUT = {"release", "tabellen", "kolommen"}
PROCESSES = multiprocessing.get_context("forkserver")
# What every process here imports, once for all of them.
PROCESSES.set_forkserver_preload(
    [
        *("pytest", "pandas", "pyarrow.csv", "pyarrow.compute", "psycopg2", "filelock"),
        *("sqlalchemy.dialects.sqlite", "sqlalchemy.dialects.postgresql"),
        *(arrow_schema.__module__, module.__name__),
    ]
)


# -- Releases to publish -------------------------------------------------------------------------------------


def column(
    name: str, type_: Any = "string", *, key: bool = False, required: bool = False, **more: Any
) -> Column:
    return Column(name, type_, f"Betekenis van {name}", key=key, required=required, privacy="geen", **more)


def contract(sql_name: str, *columns: Column, **more: Any) -> Contract:
    said: dict[str, Any] = {
        "path": f"proef/published/{sql_name}",
        "version": "1.2.0",
        "title": f"Titel van {sql_name}",
        "description": f"Wat in {sql_name} staat",
        "owner": "team:proef",
        "sql_name": sql_name,
        "columns": columns,
        "rules": (),
        "partition": None,
        "empty_because": None,
        "conserves_rows": False,
        "freshness_days": None,
    }
    return Contract(**said | more)


def table(of: Contract, rows: Sequence[Mapping[str, Any]]) -> PublishedTable:
    return PublishedTable(of, pa.Table.from_pylist([dict(r) for r in rows], schema=arrow_schema(of)))


def info(release_id: str, made_at: datetime = datetime(2026, 11, 23, 1, 30, tzinfo=UTC)) -> ReleaseInfo:
    return ReleaseInfo(release_id, made_at, "voorlopig")


EVERYTHING = contract(
    "alles",
    column("nummer", "integer", key=True, required=True),
    column("naam", required=True),
    column("toelichting"),
    column("pm25_ug_m3", "number", unit="µg/m³"),
    column("pm25_ug_m3_status"),
    column("aantal", "integer"),
    column("is_geldig", "boolean"),
    column("dag", "date"),
    column("gemeten_op", "timestamp"),
    limitations="Niet voor handhaving",
)
FULL_ROW = {
    "nummer": 1,
    "naam": "één",
    "toelichting": "",
    "pm25_ug_m3": 0.1,
    "pm25_ug_m3_status": "definitief",
    "aantal": 2**63 - 1,
    "is_geldig": True,
    "dag": date(2026, 3, 29),
    "gemeten_op": datetime(2026, 3, 29, 1, 0, 0, 5, tzinfo=UTC),
}
EMPTY_ROW: dict[str, Any] = {**dict.fromkeys(FULL_ROW), "nummer": 2, "naam": "leeg"}

MARKED = ("ritten", "deelnemers", "gemeenten")


def marked(release_id: str, rows: int = 20) -> list[PublishedTable]:
    """Three tables that hold the release's id in every row."""
    columns = (column("nummer", "integer", key=True, required=True), column("uitgave", required=True))
    return [
        table(contract(name, *columns), [{"nummer": n, "uitgave": release_id} for n in range(rows)])
        for name in MARKED
    ]


# -- Reading besides the product -----------------------------------------------------------------------------


@dataclass
class Database:
    url: str
    home: Path

    @property
    def is_sqlite(self) -> bool:
        return self.url.startswith("sqlite")

    @property
    def file(self) -> Path:
        return Path(self.url.removeprefix("sqlite:///"))

    def open(self) -> Warehouse:
        return Warehouse(self.url, self.home)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        return query(self.url, sql)

    def strays(self) -> set[str]:
        """Files and rows that belong to no release."""
        if self.is_sqlite:
            return {f.name for f in self.file.parent.iterdir()} - {self.file.name, f"{self.file.name}.lock"}
        tables = self.query("SELECT tablename FROM pg_tables WHERE schemaname = 'publicatie_data'")
        without = "release_id NOT IN (SELECT release_id FROM publicatie_data.release)"
        return {t for (t,) in tables if self.query(f"SELECT 1 FROM publicatie_data.{t} WHERE {without}")}


def query(url: str, sql: str) -> list[tuple[Any, ...]]:
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(f"file:{url.removeprefix('sqlite:///')}?mode=ro", uri=True)) as con:
            return con.execute(sql).fetchall()
    with closing(psycopg2.connect(url)) as con, con.cursor() as cursor:
        cursor.execute("SET search_path TO published")
        cursor.execute("SET TIME ZONE 'UTC'")
        cursor.execute(sql)
        return list(cursor)


def execute(url: str, *statements: str) -> None:
    with closing(psycopg2.connect(url)) as con, con, con.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


@pytest.fixture
def sqlite_database(tmp_path: Path) -> Database:
    return Database(f"sqlite:///{tmp_path / 'warehouse' / 'published.sqlite'}", tmp_path)


@pytest.fixture
def postgres_database(postgres_url: str, tmp_path: Path) -> Database:
    return Database(postgres_url, tmp_path)


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> Database:
    found: Database = request.getfixturevalue(f"{request.param}_database")
    return found


def assert_whole(database: Database, release_id: str) -> None:
    """The release is current, its three tables hold it alone, and nothing else lies about."""
    assert database.open().current() == release_id
    for name in MARKED:
        assert database.query(f"SELECT uitgave, count(*) FROM {name} GROUP BY 1") == [(release_id, 20)]
    assert database.query("SELECT release_id FROM release") == [(release_id,)]
    assert database.strays() == set()


# -- Values --------------------------------------------------------------------------------------------------


def test_every_type_comes_back_as_it_went_in(database: Database) -> None:
    given = table(EVERYTHING, [FULL_ROW, EMPTY_ROW])
    database.open().publish(info("r1"), [given])
    assert database.open().read("alles").sort_by("nummer").equals(given.rows)


def test_texts_come_back_to_the_letter(database: Database) -> None:
    letters = [
        "\\",
        "\\N",
        "\\.",
        "\n",
        "\r",
        "\r\n",
        "\t",
        '"',
        "'",
        ",",
        ";",
        "%",
        "%s",
        ":x",
        "NULL",
        " ",
        "é",
        "🚲",
        "",
    ]
    dice = random.Random(20261123)
    texts = ["", " ", "\\.", "\n\\.\n", "NULL", "\\N", '"', '""', "\r\n"]
    texts += ["".join(dice.choices(letters, k=dice.randint(0, 6))) for _ in range(2_000)]
    notes: list[str | None] = [None if dice.random() < 0.3 else t for t in texts]
    rows = [
        EMPTY_ROW | {"nummer": n, "naam": t, "toelichting": b}
        for n, (t, b) in enumerate(zip(texts, notes, strict=True))
    ]
    database.open().publish(info("r1"), [table(EVERYTHING, rows)])
    found = database.query("SELECT naam, toelichting FROM alles ORDER BY nummer")
    assert found == list(zip(texts, notes, strict=True))


def test_numbers_come_back_to_the_last_bit(database: Database) -> None:
    dice = random.Random(7)
    numbers = [dice.uniform(-1, 1) * 10.0 ** dice.randint(-300, 300) for _ in range(500)] + [
        0.1 + 0.2,
        5.0,
        1e22,
    ]
    rows = [EMPTY_ROW | {"nummer": n, "pm25_ug_m3": x} for n, x in enumerate(numbers)]
    database.open().publish(info("r1"), [table(EVERYTHING, rows)])
    assert [x for (x,) in database.query("SELECT pm25_ug_m3 FROM alles ORDER BY nummer")] == numbers


def test_schema_is_the_one_that_gates_write() -> None:
    assert _arrow_schema(sql_table(EVERYTHING)).equals(arrow_schema(EVERYTHING))


def test_sqlite_stores_dates_and_moments_as_sortable_text(sqlite_database: Database) -> None:
    sqlite_database.open().publish(info("r1"), [table(EVERYTHING, [FULL_ROW])])
    columns = ("dag", "gemeten_op", "is_geldig", "pm25_ug_m3", "aantal")
    found = sqlite_database.query(
        "SELECT {}, {} FROM alles".format(
            *(", ".join(f"{f}({c})" if f else c for c in columns) for f in ("", "typeof"))
        )
    )
    assert found == [
        (
            "2026-03-29",
            "2026-03-29T01:00:00.000005Z",
            1,
            0.1,
            2**63 - 1,
            "text",
            "text",
            "integer",
            "real",
            "integer",
        )
    ]
    # SQLite's own date functions understand them.
    assert sqlite_database.query("SELECT strftime('%H:%M', gemeten_op), date(dag, '+1 day') FROM alles") == [
        ("01:00", "2026-03-30")
    ]


def test_postgres_has_real_types(postgres_database: Database) -> None:
    postgres_database.open().publish(info("r1"), [table(EVERYTHING, [FULL_ROW])])
    sql = (
        "SELECT data_type FROM information_schema.columns"
        " WHERE table_schema = '{}' AND table_name = 'alles' {}"
    )
    expected = ["bigint", "text", "text", "double precision", "text", "bigint", "boolean", "date"]
    expected.append("timestamp with time zone")
    found = postgres_database.query(sql.format("published", "ORDER BY ordinal_position"))
    assert [t for (t,) in found] == expected
    # The view hides the mark; the table behind it has it.
    assert len(postgres_database.query(sql.format("publicatie_data", ""))) == len(expected) + 1


# -- What a release says of itself ---------------------------------------------------------------------------


def test_release_describes_its_tables_and_columns(database: Database) -> None:
    nothing = contract(
        "niets", column("sleutel", key=True, required=True), empty_because="Nog geen deelnemers"
    )
    database.open().publish(info("r1"), [table(EVERYTHING, [FULL_ROW, EMPTY_ROW]), table(nothing, [])])
    sql = "SELECT tabel, titel, omschrijving, beperkingen, contract_versie, rijen, leeg_omdat FROM tabellen"
    found = {row[0]: row[1:] for row in database.query(sql)}
    limits = "Niet voor handhaving"
    assert found["alles"] == ("Titel van alles", "Wat in alles staat", limits, "1.2.0", 2, None)
    assert found["niets"][3:] == ("1.2.0", 0, "Nog geen deelnemers")
    assert found.keys() == {"alles", "niets"} | ABOUT
    for name, said in found.items():
        assert database.query(f"SELECT count(*) FROM {name}") == [(said[4],)]
    columns = database.query(
        "SELECT kolom, type, eenheid, omschrijving, statuskolom, is_sleutel, is_verplicht FROM kolommen"
        " WHERE tabel = 'alles' ORDER BY volgnummer"
    )
    assert [c[:2] for c in columns] == [(c.name, c.type) for c in EVERYTHING.columns]
    assert columns[0] == ("nummer", "integer", None, "Betekenis van nummer", None, 1, 1)
    assert columns[3] == (
        "pm25_ug_m3",
        "number",
        "µg/m³",
        "Betekenis van pm25_ug_m3",
        "pm25_ug_m3_status",
        0,
        0,
    )


def test_documented_columns_are_the_columns_that_are_there(database: Database) -> None:
    database.open().publish(info("r1"), [table(EVERYTHING, [FULL_ROW])])
    documented = {
        name: [c for _, c in found]
        for name, found in itertools.groupby(
            database.query("SELECT tabel, kolom FROM kolommen ORDER BY tabel, volgnummer"),
            key=lambda row: row[0],
        )
    }
    assert documented == {name: database.open().read(name).schema.names for name in {"alles"} | ABOUT}


def test_postgres_comments_say_what_the_contract_says(postgres_database: Database) -> None:
    def comments() -> dict[str | None, str]:
        return dict(
            postgres_database.query(
                "SELECT a.attname, d.description FROM pg_description d"
                " LEFT JOIN pg_attribute a ON a.attrelid = d.objoid AND a.attnum = d.objsubid AND attnum > 0"
                " WHERE d.objoid = 'published.alles'::regclass AND d.classoid = 'pg_class'::regclass"
            )
        )

    def identity() -> list[tuple[Any, ...]]:
        return postgres_database.query("SELECT 'published.alles'::regclass::oid")

    postgres_database.open().publish(info("r1"), [table(EVERYTHING, [FULL_ROW])])
    assert comments() == {None: "Titel van alles. Wat in alles staat"} | {
        c.name: c.description + (f" ({c.unit})" if c.unit else "") for c in EVERYTHING.columns
    }
    before = identity()
    reworded = replace(
        EVERYTHING,
        title="100% 'anders'",
        columns=(replace(EVERYTHING.columns[0], description="50%"), *EVERYTHING.columns[1:]),
    )
    postgres_database.open().publish(info("r2"), [table(reworded, [FULL_ROW])])
    assert comments()[None] == "100% 'anders'. Wat in alles staat"
    assert comments()["nummer"] == "50%"
    assert identity() == before, "a view of the same columns is not made anew, so rights on it stay"


def test_infos_come_back(database: Database) -> None:
    amsterdam = datetime.fromisoformat("2026-10-25T02:30:00+01:00")
    database.open().publish(ReleaseInfo("r1", amsterdam, "definitief"), marked("r1"))
    (found,) = database.open().releases()
    assert (found.release_id, found.made_at, found.status) == ("r1", amsterdam, "definitief")
    assert found.made_at.utcoffset() == timedelta(0)


@pytest.mark.parametrize("release_id", ["", "../r1", "r/1", ".r1", "r 1", "r'1", "r" * 101])
def test_release_ids_that_are_no_file_name_are_refused(release_id: str) -> None:
    with pytest.raises(ValueError, match="release id"):
        info(release_id)


def test_release_needs_a_moment_with_a_zone() -> None:
    with pytest.raises(ValueError, match="time zone"):
        info("r1", datetime(2026, 11, 23))


# -- One release after another -------------------------------------------------------------------------------


def test_nothing_is_there_before_the_first_release(database: Database) -> None:
    database.open().finish_interrupted()
    assert database.open().current() is None
    assert database.open().releases() == []
    with pytest.raises(LookupError, match="ritten"):
        database.open().read("ritten")


def test_next_release_replaces_the_one_before(database: Database) -> None:
    warehouse = database.open()
    for release_id in ("r1", "r2"):
        warehouse.publish(info(release_id), marked(release_id))
        assert_whole(database, release_id)
    with pytest.raises(LookupError, match="onbekend"):
        warehouse.read("onbekend")


def test_publishing_twice_is_publishing_once(database: Database) -> None:
    warehouse = database.open()
    for _ in range(2):
        warehouse.publish(info("r1"), marked("r1"))
        assert_whole(database, "r1")
    assert [r.release_id for r in warehouse.releases()] == ["r1"]


def test_publishing_an_id_again_replaces_that_release(database: Database) -> None:
    warehouse = database.open()
    warehouse.publish(info("r1"), marked("r1", rows=3))
    warehouse.publish(replace(info("r1"), status="definitief"), marked("r1"))
    assert_whole(database, "r1")
    assert [r.status for r in warehouse.releases()] == ["definitief"]


def test_tables_and_columns_may_come_and_go(database: Database) -> None:
    key = column("nummer", "integer", key=True, required=True)
    first = contract("groei", key, column("oud", required=True), column("waarde", "integer"))
    second = contract("groei", column("waarde", "integer"), key, column("erbij", required=True))
    warehouse = database.open()
    warehouse.publish(info("r1"), [table(first, [{"nummer": 1, "oud": "o", "waarde": 3}]), *marked("r1")])
    given = table(second, [{"nummer": 1, "waarde": 4, "erbij": "e"}])
    warehouse.publish(info("r2"), [given])
    assert warehouse.read("groei").equals(given.rows)
    for name in MARKED:
        with pytest.raises(LookupError, match=name):
            warehouse.read(name)


def test_another_key_does_not_stumble_over_older_releases(database: Database) -> None:
    wide = contract(
        "sleutels", column("code", key=True, required=True), column("maand", key=True, required=True)
    )
    narrow = contract("sleutels", column("code", key=True, required=True))
    other = contract(
        "sleutels", column("code", key=True, required=True), column("groep", key=True, required=True)
    )
    warehouse = database.open()
    warehouse.publish(info("r1"), [table(wide, [{"code": "a", "maand": m} for m in ("1", "2")])])
    warehouse.publish(info("r2"), [table(narrow, [{"code": "a"}])])
    warehouse.publish(info("r3"), [table(other, [{"code": "a", "groep": g} for g in ("x", "y")])])
    assert sorted(database.query("SELECT * FROM sleutels")) == [("a", "x"), ("a", "y")]


# -- Failures before the switch ------------------------------------------------------------------------------


def unfit(case: str) -> list[PublishedTable]:
    row = dict(FULL_ROW)
    if case == "missing required":
        return [table(EVERYTHING, [row | {"naam": None}])]
    if case == "missing key":
        return [table(EVERYTHING, [row | {"nummer": None}])]
    if case == "double key":
        return [table(EVERYTHING, [row, row])]
    if case == "not a number":
        return [table(EVERYTHING, [row | {"pm25_ug_m3": float("nan")}])]
    if case == "infinite":
        return [table(EVERYTHING, [row | {"pm25_ug_m3": float("inf")}])]
    if case == "column missing":
        return [PublishedTable(EVERYTHING, table(EVERYTHING, [row]).rows.drop_columns(["dag"]))]
    if case == "type differs":
        rows = table(EVERYTHING, [row]).rows
        return [PublishedTable(EVERYTHING, rows.set_column(0, "nummer", pa.array(["1"])))]
    if case == "double name":
        return [table(EVERYTHING, [row]), table(EVERYTHING, [row])]
    if case == "own name":
        return [table(contract("kolommen", column("a", key=True)), [])]
    assert case == "own column"
    return [table(contract("eigen", column("release_id", key=True)), [])]


UNFIT = {
    "missing required": "alles: .*naam",
    "missing key": "alles: .*nummer",
    "double key": "alles: .*(?i:unique)",
    "not a number": "alles.pm25_ug_m3: .*not finite",
    "infinite": "alles.pm25_ug_m3: .*not finite",
    "column missing": "alles: rows have",
    "type differs": "alles: rows have",
    "double name": r"\['alles'\]: name used twice",
    "own name": r"\['kolommen'\]: name used twice, or",
    "own column": "eigen: release_id",
}


@pytest.mark.parametrize("case", UNFIT)
def test_rows_that_do_not_fit_leave_the_old_release(database: Database, case: str) -> None:
    warehouse = database.open()
    warehouse.publish(info("r1"), marked("r1"))
    with pytest.raises(WarehouseError, match=UNFIT[case]):
        warehouse.publish(info("r2"), [*marked("r2"), *unfit(case)])
    assert_whole(database, "r1")


def test_a_check_that_refuses_leaves_the_old_release(database: Database) -> None:
    def refuse(conn: sa.Connection) -> None:
        raise ZeroDivisionError("totals differ")

    warehouse = database.open()
    with pytest.raises(ZeroDivisionError, match="totals differ"):
        warehouse.publish(info("r0"), marked("r0"), refuse)
    assert warehouse.current() is None
    warehouse.publish(info("r1"), marked("r1"))
    with pytest.raises(ZeroDivisionError, match="totals differ"):
        warehouse.publish(info("r2"), marked("r2"), refuse)
    assert_whole(database, "r1")
    assert [r.release_id for r in warehouse.releases()] == ["r1"]


def test_a_check_reads_the_new_release_while_others_read_the_old(database: Database) -> None:
    seen = []

    def check(conn: sa.Connection) -> None:
        sql = "SELECT uitgave, (SELECT release_id FROM release) FROM ritten GROUP BY 1"
        seen.append((conn.exec_driver_sql(sql).one(), database.query(sql)))

    warehouse = database.open()
    warehouse.publish(info("r1"), marked("r1"))
    warehouse.publish(info("r2"), marked("r2"), check)
    assert seen == [(("r2", "r2"), [("r1", "r1")])]
    assert_whole(database, "r2")


def test_a_check_cannot_change_what_it_judges(database: Database) -> None:
    def meddle(conn: sa.Connection) -> None:
        target = "ritten" if database.is_sqlite else "publicatie_data.ritten"
        conn.exec_driver_sql(f"DELETE FROM {target}")

    with pytest.raises(sa.exc.DBAPIError, match=r"read-?only"):
        database.open().publish(info("r1"), marked("r1"), meddle)
    assert database.open().current() is None


def test_finish_interrupted_leaves_a_publish_that_is_under_way(database: Database) -> None:
    def another_start(conn: sa.Connection) -> None:
        database.open().finish_interrupted()
        if database.is_sqlite:
            assert database.strays() == {"published.r1.sqlite.bouw"}

    database.open().publish(info("r1"), marked("r1"), another_start)
    assert_whole(database, "r1")


def publish_in_turn(url: str, home: Path, release_id: str) -> None:
    for _ in range(3):
        Warehouse(url, home).publish(info(release_id), marked(release_id))


def test_two_writers_take_turns(database: Database) -> None:
    writers = [
        PROCESSES.Process(target=publish_in_turn, args=(database.url, database.home, f"r{n}")) for n in (1, 2)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    current = database.open().current()
    assert current in ("r1", "r2")
    assert_whole(database, str(current))


def publish_on_a_full_disk(url: str, home: Path, results: Any) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
    try:
        Warehouse(url, home).publish(info("r2"), marked("r2", rows=50_000))
    except WarehouseError as error:
        results.put(str(error))


def test_a_full_disk_leaves_the_old_release(sqlite_database: Database) -> None:
    sqlite_database.open().publish(info("r1"), marked("r1"))
    results = PROCESSES.Queue()
    process = PROCESSES.Process(
        target=publish_on_a_full_disk, args=(sqlite_database.url, sqlite_database.home, results)
    )
    process.start()
    assert "disk" in results.get(timeout=30)
    process.join()
    assert_whole(sqlite_database, "r1")


# -- Kills ---------------------------------------------------------------------------------------------------


def publish_and_die(url: str, home: Path, release_id: str, at: int) -> None:
    """Publish, but end the process without any farewell at one of the moments on the way."""
    moments = itertools.count(1)

    def moment(*_: Any, **__: Any) -> None:
        if next(moments) == at:
            os._exit(9)

    def around(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            moment()
            result = call(*args, **kwargs)
            moment()
            return result

        return wrapped

    warehouse = Warehouse(url, home)
    for event in ("before_cursor_execute", "commit"):
        sa.event.listen(sa.Engine, event, moment)
    for owner, name in ((os, "replace"), (os, "fsync"), (Path, "chmod"), (Path, "unlink")):
        setattr(owner, name, around(getattr(owner, name)))
    warehouse.publish(info(release_id), marked(release_id))


def test_a_kill_at_any_moment_leaves_a_whole_release(database: Database) -> None:
    database.open().publish(info("r0"), marked("r0"))
    current, outcomes = "r0", Counter[str]()
    # PostgreSQL gets many statements, so every second one there.
    for at in itertools.count(1, 1 if database.is_sqlite else 2):
        process = PROCESSES.Process(target=publish_and_die, args=(database.url, database.home, f"r{at}", at))
        process.start()
        process.join()
        seen = database.open().current()
        assert seen in (current, f"r{at}")
        for name in MARKED:
            assert database.query(f"SELECT uitgave, count(*) FROM {name} GROUP BY 1") == [(seen, 20)]
        database.open().finish_interrupted()
        assert_whole(database, str(seen))
        outcomes["old" if seen == current else "new"] += process.exitcode == 9
        current = str(seen)
        if process.exitcode == 0:
            break
        assert process.exitcode == 9
    assert current == f"r{at}"
    assert outcomes["old"] >= 15
    if database.is_sqlite:
        # After os.replace come the removal of side files and the writing of the folder's names.
        assert outcomes["new"] >= 3


def test_a_kill_in_sqlite_leaves_a_build_until_the_next_start_or_publish(sqlite_database: Database) -> None:
    """Shows too that the kills above do interrupt: without the clearing, a build is left."""
    warehouse = sqlite_database.open()
    warehouse.publish(info("r1"), marked("r1"))
    for clear, expected in (
        (warehouse.finish_interrupted, "r1"),
        (lambda: warehouse.publish(info("r3"), marked("r3")), "r3"),
    ):
        process = PROCESSES.Process(
            target=publish_and_die, args=(sqlite_database.url, sqlite_database.home, "r2", 12)
        )
        process.start()
        process.join()
        assert sqlite_database.strays() == {"published.r2.sqlite.bouw"}
        clear()
        assert_whole(sqlite_database, expected)


# -- Readers while releases follow each other ----------------------------------------------------------------


def read_once(url: str, turn: int) -> set[str]:
    """Releases that one reader sees over three tables between opening and closing."""
    tables = [f"SELECT uitgave FROM {name}" for name in MARKED]
    joined = " UNION ".join(tables)
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(f"file:{url.removeprefix('sqlite:///')}?mode=ro", uri=True)) as con:
            return {u for sql in tables for (u,) in con.execute(sql)}
    with closing(psycopg2.connect(url, options="-c search_path=published")) as con, con.cursor() as cursor:
        if turn % 2:
            con.set_session(isolation_level="REPEATABLE READ")
            found = set()
            for sql in tables:
                cursor.execute(sql)
                found |= {u for (u,) in cursor}
            return found
        cursor.execute(joined)
        return {u for (u,) in cursor}


def keep_reading(url: str, reads: Any, stop: Any, results: Any) -> None:
    mixtures, seen = 0, set()
    for turn in itertools.count():
        if stop.is_set():
            break
        found = read_once(url, turn)
        mixtures += len(found) != 1
        seen |= found
        with reads.get_lock():
            reads.value += 1
    results.put((mixtures, seen))


def watched(url: str, publish: Callable[[str], None], releases: int = 20) -> tuple[int, set[str]]:
    """Mixtures and releases seen by two readers while releases are published."""
    reads, stop, results = PROCESSES.Value("i"), PROCESSES.Event(), PROCESSES.Queue()
    readers = [PROCESSES.Process(target=keep_reading, args=(url, reads, stop, results)) for _ in range(2)]
    for reader in readers:
        reader.start()
    for n in range(1, releases + 1):
        # On a busy machine too, at least two reads lie between two releases.
        deadline, enough = time.monotonic() + 30, reads.value + 2
        while reads.value < enough:
            assert time.monotonic() < deadline
            time.sleep(0.002)
        publish(f"r{n}")
    stop.set()
    found = [results.get(timeout=30) for _ in readers]
    for reader in readers:
        reader.join()
        assert reader.exitcode == 0
    return sum(mixtures for mixtures, _ in found), set().union(*(seen for _, seen in found))


def test_readers_see_one_release_at_a_time(database: Database) -> None:
    warehouse = database.open()
    warehouse.publish(info("r0"), marked("r0"))
    mixtures, seen = watched(database.url, lambda r: warehouse.publish(info(r), marked(r)))
    assert mixtures == 0
    assert len(seen) >= 10


def test_readers_would_notice_a_release_table_by_table(database: Database) -> None:
    """The same readers, with releases written in autocommit in tables that are being read."""
    if database.is_sqlite:
        database.file.parent.mkdir()
        connection: Any = sqlite3.connect(database.file, isolation_level=None)
    else:
        connection = psycopg2.connect(database.url)
        connection.autocommit = True
    with closing(connection), closing(connection.cursor()) as cursor:
        if not database.is_sqlite:
            cursor.execute("CREATE SCHEMA published")
            cursor.execute("SET search_path TO published")
        for name in MARKED:
            cursor.execute(f"CREATE TABLE {name} (uitgave text)")
            cursor.execute(f"INSERT INTO {name} VALUES ('r0')")

        def publish_table_by_table(release_id: str) -> None:
            for name in MARKED:
                cursor.execute(f"UPDATE {name} SET uitgave = '{release_id}'")
                time.sleep(0.01)

        mixtures, _ = watched(database.url, publish_table_by_table)
    assert mixtures > 0


# -- SQLite: one whole file ----------------------------------------------------------------------------------


def test_sqlite_release_is_one_readable_file(sqlite_database: Database) -> None:
    mask = os.umask(0o077)
    try:
        sqlite_database.open().publish(info("r1"), marked("r1"))
    finally:
        os.umask(mask)
    assert stat.S_IMODE(sqlite_database.file.stat().st_mode) == 0o644
    assert sqlite_database.strays() == set()
    header = sqlite_database.file.read_bytes()[:20]
    assert (header[18], header[19]) == (1, 1), "no write-ahead log"
    assert sqlite_database.query("PRAGMA integrity_check") == [("ok",)]


def test_sqlite_file_holds_to_not_null_and_key(sqlite_database: Database) -> None:
    sqlite_database.open().publish(info("r1"), [table(EVERYTHING, [FULL_ROW])])
    with closing(sqlite3.connect(sqlite_database.file)) as con:
        for nummer, naam in ((None, "a"), (3, None), (1, "a")):
            with pytest.raises(sqlite3.IntegrityError, match="constraint failed"):
                con.execute("INSERT INTO alles (nummer, naam) VALUES (?, ?)", (nummer, naam))
        # The trap: as INTEGER, even NOT NULL, SQLite makes up a number.
        con.execute("CREATE TABLE val (nummer INTEGER NOT NULL PRIMARY KEY)")
        con.execute("INSERT INTO val VALUES (NULL)")


def test_a_relative_sqlite_path_stands_under_home(tmp_path: Path) -> None:
    Warehouse("sqlite:///warehouse/p.sqlite", tmp_path).publish(info("r1"), marked("r1"))
    assert (tmp_path / "warehouse" / "p.sqlite").is_file()


def test_sqlite_file_can_be_read_through_sqlalchemy(sqlite_database: Database) -> None:
    sqlite_database.open().publish(info("r1"), [table(EVERYTHING, [FULL_ROW])])
    engine = sa.create_engine(sqlite_database.url, poolclass=sa.NullPool)
    with engine.connect() as conn:
        reflected = sa.Table("alles", sa.MetaData(), autoload_with=conn)
        assert dict(conn.execute(sa.select(reflected)).mappings().one()) == FULL_ROW
    assert [c.name for c in reflected.primary_key] == ["nummer"]
    assert not reflected.c.naam.nullable


def test_an_open_reader_keeps_its_release(sqlite_database: Database) -> None:
    warehouse = sqlite_database.open()
    warehouse.publish(info("r1"), marked("r1"))
    with closing(sqlite3.connect(f"{sqlite_database.file.as_uri()}?mode=ro", uri=True)) as reader:
        assert reader.execute("SELECT DISTINCT uitgave FROM ritten").fetchall() == [("r1",)]
        warehouse.publish(info("r2"), marked("r2"))
        assert reader.execute("SELECT DISTINCT uitgave FROM gemeenten").fetchall() == [("r1",)]
    assert_whole(sqlite_database, "r2")


def test_sqlite_holds_one_release_to_switch_to(sqlite_database: Database) -> None:
    warehouse = sqlite_database.open()
    for release_id in ("r1", "r2"):
        warehouse.publish(info(release_id), marked(release_id))
    warehouse.switch("r2")
    with pytest.raises(LookupError, match="SQLite holds one, r2"):
        warehouse.switch("r1")


def test_another_database_is_not_replaced(sqlite_database: Database) -> None:
    sqlite_database.file.parent.mkdir()
    with closing(sqlite3.connect(sqlite_database.file)) as con:
        con.execute("CREATE TABLE eigen_werk (a)")
    before = sqlite_database.file.read_bytes()
    with pytest.raises(WarehouseError, match=r"another database.*KOPLOPER_WAREHOUSE_URL"):
        sqlite_database.open().publish(info("r1"), marked("r1"))
    assert sqlite_database.file.read_bytes() == before


def test_a_file_that_another_process_locks_is_not_replaced(sqlite_database: Database) -> None:
    warehouse = sqlite_database.open()
    warehouse.publish(info("r1"), marked("r1"))
    with closing(sqlite3.connect(sqlite_database.file, isolation_level=None)) as meddler:
        meddler.execute("BEGIN EXCLUSIVE")
        with pytest.raises(WarehouseError, match=r"KOPLOPER_WAREHOUSE_URL: database is locked"):
            warehouse.publish(info("r2"), marked("r2"))
    assert_whole(sqlite_database, "r1")


def test_a_file_is_on_the_disk_before_it_gets_its_name(
    sqlite_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[tuple[str, int]] = []
    fsync, move = os.fsync, os.replace

    def noted_fsync(descriptor: int) -> None:
        steps.append(("fsync", os.fstat(descriptor).st_ino))
        fsync(descriptor)

    def noted_replace(source: Path, target: Path) -> None:
        steps.append(("replace", source.stat().st_ino))
        move(source, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", noted_replace)
    sqlite_database.open().publish(info("r1"), marked("r1"))
    file, folder = (p.stat().st_ino for p in (sqlite_database.file, sqlite_database.file.parent))
    assert steps == [("fsync", file), ("replace", file), ("fsync", folder)]


@pytest.mark.parametrize("content", [b"", b"SQLite format 3\0" + b"\xff" * 4096])
def test_an_empty_or_damaged_file_is_replaced(sqlite_database: Database, content: bytes) -> None:
    sqlite_database.file.parent.mkdir()
    sqlite_database.file.write_bytes(content)
    sqlite_database.open().publish(info("r1"), marked("r1"))
    assert_whole(sqlite_database, "r1")


def leave_write_ahead_log(file: Path) -> None:
    con = sqlite3.connect(file)
    con.execute("PRAGMA journal_mode = WAL")
    con.execute("PRAGMA wal_autocheckpoint = 0")
    con.execute("UPDATE ritten SET uitgave = 'vreemd'")
    con.commit()
    os._exit(9)


def leave_rollback_journal(file: Path) -> None:
    con = sqlite3.connect(file)
    con.execute("PRAGMA cache_size = 1")
    for name in MARKED:
        con.execute(f"UPDATE {name} SET uitgave = 'vreemd' || nummer")
    os._exit(9)


LEFT = {"-wal": leave_write_ahead_log, "-journal": leave_rollback_journal}
BIG = 3_000


def leave(database: Database, side: str) -> None:
    """Let a foreign writer die over the live file, with its journal beside it."""
    process = PROCESSES.Process(target=LEFT[side], args=(database.file,))
    process.start()
    process.join()
    assert (database.file.parent / f"{database.file.name}{side}").stat().st_size > 0


def uitgaven(database: Database) -> list[tuple[Any, ...]]:
    return [row for n in MARKED for row in database.query(f"SELECT uitgave, count(*) FROM {n} GROUP BY 1")]


@pytest.mark.parametrize("side", LEFT)
def test_a_journal_left_beside_the_old_file_is_not_applied_to_the_new(
    sqlite_database: Database, side: str
) -> None:
    warehouse = sqlite_database.open()
    warehouse.publish(info("r1"), marked("r1", rows=BIG))
    leave(sqlite_database, side)
    warehouse.publish(info("r2"), marked("r2", rows=BIG))
    assert sqlite_database.strays() == set()
    assert sqlite_database.query("PRAGMA integrity_check") == [("ok",)]
    assert uitgaven(sqlite_database) == [("r2", BIG)] * 3


@pytest.mark.parametrize("side", LEFT)
def test_a_journal_left_beside_it_would_ruin_a_file_merely_moved_into_place(
    sqlite_database: Database, tmp_path: Path, side: str
) -> None:
    """The danger is real: the same, with nothing but os.replace."""
    sqlite_database.open().publish(info("r1"), marked("r1", rows=BIG))
    Warehouse(f"sqlite:///{tmp_path / 'next.sqlite'}", tmp_path).publish(info("r2"), marked("r2", rows=BIG))
    leave(sqlite_database, side)
    os.replace(tmp_path / "next.sqlite", sqlite_database.file)
    with closing(sqlite3.connect(sqlite_database.file)) as con:
        try:
            found = con.execute("SELECT uitgave, count(*) FROM ritten GROUP BY 1").fetchall()
        except sqlite3.DatabaseError:
            found = []
    assert found != [("r2", BIG)]


def test_the_old_file_is_whole_until_it_is_replaced(
    sqlite_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill just before the move, with a torn foreign write in the old file, leaves the old release."""

    def die(*_: Any) -> None:
        raise KeyboardInterrupt

    warehouse = sqlite_database.open()
    warehouse.publish(info("r1"), marked("r1", rows=BIG))
    monkeypatch.setattr(os, "replace", die)
    with pytest.raises(KeyboardInterrupt):
        warehouse.publish(info("r2"), marked("r2", rows=BIG), lambda _: leave(sqlite_database, "-journal"))
    assert sqlite_database.query("PRAGMA integrity_check") == [("ok",)]
    assert uitgaven(sqlite_database) == [("r1", BIG)] * 3


def test_a_journal_made_in_the_last_moment_is_not_applied_either(
    sqlite_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    move = os.replace

    def write_and_move(source: Path, target: Path) -> None:
        leave(sqlite_database, "-wal")
        move(source, target)

    warehouse = sqlite_database.open()
    warehouse.publish(info("r1"), marked("r1", rows=BIG))
    monkeypatch.setattr(os, "replace", write_and_move)
    warehouse.publish(info("r2"), marked("r2", rows=BIG))
    assert sqlite_database.strays() == set()
    assert uitgaven(sqlite_database) == [("r2", BIG)] * 3


def test_a_process_that_keeps_a_write_ahead_log_open_does_not_spoil_the_next_release(
    sqlite_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    move, at_once = os.replace, []

    def move_and_read(source: Path, target: Path) -> None:
        move(source, target)
        at_once.append(uitgaven(sqlite_database))

    warehouse = sqlite_database.open()
    warehouse.publish(info("r1"), marked("r1"))
    monkeypatch.setattr(os, "replace", move_and_read)
    with closing(sqlite3.connect(sqlite_database.file)) as meddler:
        meddler.execute("PRAGMA journal_mode = WAL")
        meddler.execute("UPDATE ritten SET uitgave = 'vreemd'")
        meddler.commit()
        meddler.execute("BEGIN")
        meddler.execute("SELECT * FROM ritten").fetchall()
        warehouse.publish(info("r2"), marked("r2"))
        assert_whole(sqlite_database, "r2")
    assert at_once == [[("r2", 20)] * 3]
    assert_whole(sqlite_database, "r2")
    assert sqlite_database.query("PRAGMA integrity_check") == [("ok",)]


# -- PostgreSQL: releases side by side -----------------------------------------------------------------------


def test_rolling_back_is_switching_the_pointer(postgres_database: Database) -> None:
    warehouse = postgres_database.open()
    for release_id in ("r1", "r2", "r3"):
        warehouse.publish(info(release_id), marked(release_id))
    assert [r.release_id for r in warehouse.releases()] == ["r3", "r2", "r1"]
    for release_id in ("r1", "r3", "r2"):
        warehouse.switch(release_id)
        assert_whole(postgres_database, release_id)
    with pytest.raises(LookupError, match="r9 is not there; there are r3, r2, r1"):
        warehouse.switch("r9")
    assert_whole(postgres_database, "r2")
    warehouse.publish(info("r4"), marked("r4"))
    assert_whole(postgres_database, "r4")


def test_rolling_back_brings_the_old_tables_and_columns(postgres_database: Database) -> None:
    key = column("nummer", "integer", key=True, required=True)
    old = [
        table(contract("groei", key, column("oud")), [{"nummer": 1, "oud": "o"}]),
        table(contract("weg", key), [{"nummer": 7}]),
    ]
    new = [table(contract("groei", column("nieuw"), key), [{"nummer": 1, "nieuw": "n"}])]
    warehouse = postgres_database.open()
    warehouse.publish(info("r1"), old)
    warehouse.publish(info("r2"), new)
    warehouse.switch("r1")
    for given in old:
        assert warehouse.read(given.contract.sql_name).equals(given.rows)
    warehouse.switch("r2")
    assert warehouse.read("groei").equals(new[0].rows)
    with pytest.raises(LookupError, match="weg"):
        warehouse.read("weg")


def test_switching_before_the_first_release_says_that_there_is_none(postgres_database: Database) -> None:
    with pytest.raises(LookupError, match="there are none"):
        postgres_database.open().switch("r1")


def test_the_last_releases_are_kept(postgres_database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    assert KEPT_RELEASES == 30
    monkeypatch.setattr(postgres, "KEPT_RELEASES", 3)
    warehouse = postgres_database.open()
    # The order of publishing counts, not the clock: an older night that is run again is the newest release.
    for n in range(1, 6):
        warehouse.publish(info(f"r{n}", datetime(2026, 12, 10 - n, tzinfo=UTC)), marked(f"r{n}"))
    warehouse.publish(info("r3"), marked("r3"))
    assert [r.release_id for r in warehouse.releases()] == ["r3", "r5", "r4"]
    for name in (*MARKED, *ABOUT):
        found = postgres_database.query(f"SELECT DISTINCT release_id FROM publicatie_data.{name} ORDER BY 1")
        assert found == [("r3",), ("r4",), ("r5",)]
    assert_whole(postgres_database, "r3")


@pytest.fixture
def roles(postgres_database: Database) -> Iterator[dict[str, str]]:
    """URLs of a writer that owns the two schemas and no more, and of a reader of the published one."""
    execute(
        postgres_database.url,
        "CREATE ROLE schrijver LOGIN",
        "CREATE ROLE lezer LOGIN",
        "CREATE SCHEMA publicatie_data AUTHORIZATION schrijver",
        "CREATE SCHEMA published AUTHORIZATION schrijver",
        "GRANT USAGE ON SCHEMA published TO lezer",
        "ALTER DEFAULT PRIVILEGES FOR ROLE schrijver IN SCHEMA published GRANT SELECT ON TABLES TO lezer",
    )
    url = sa.make_url(postgres_database.url)
    yield {r: url.set(username=r).render_as_string(hide_password=False) for r in ("schrijver", "lezer")}
    execute(postgres_database.url, "DROP OWNED BY lezer, schrijver CASCADE", "DROP ROLE lezer, schrijver")


def test_writer_and_readers_need_few_rights(postgres_database: Database, roles: dict[str, str]) -> None:
    warehouse = Warehouse(roles["schrijver"], postgres_database.home)
    warehouse.publish(info("r1"), [table(EVERYTHING, [FULL_ROW])])
    more = replace(EVERYTHING, columns=(*EVERYTHING.columns, column("erbij")))
    warehouse.publish(info("r2"), [table(more, [FULL_ROW])])
    assert query(roles["lezer"], "SELECT naam, erbij FROM alles") == [("één", None)]
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        query(roles["lezer"], "SELECT * FROM publicatie_data.alles")
    for url, change in itertools.product(roles.values(), ("DELETE FROM {}", "UPDATE {} SET naam = ''")):
        with pytest.raises(psycopg2.Error):
            execute(url, change.format("published.alles"))


def reshaped(release_id: str) -> list[PublishedTable]:
    """The marked tables, with more or fewer columns from one release to the next."""
    more = [column(f"extra_{n}") for n in range(int(release_id[1:]) % 4)]
    return [
        table(replace(t.contract, columns=(*t.contract.columns, *more)), t.rows.to_pylist())
        for t in marked(release_id)
    ]


def test_readers_see_one_release_also_when_columns_change(postgres_database: Database) -> None:
    warehouse = postgres_database.open()
    warehouse.publish(info("r0"), reshaped("r0"))
    mixtures, seen = watched(postgres_database.url, lambda r: warehouse.publish(info(r), reshaped(r)), 8)
    assert mixtures == 0
    assert len(seen) >= 4


def test_a_change_of_columns_does_not_wait_holding_what_a_reader_needs(postgres_database: Database) -> None:
    warehouse = postgres_database.open()
    warehouse.publish(info("r0"), reshaped("r0"))
    # Each order of the two tables: one of them is the wrong way round.
    for release_id, order in (("r1", ("ritten", "deelnemers")), ("r2", ("deelnemers", "ritten"))):
        with closing(psycopg2.connect(postgres_database.url)) as con, con.cursor() as cursor:
            cursor.execute(f"SELECT * FROM published.{order[0]}")
            with ThreadPoolExecutor(1) as pool:
                publishing = pool.submit(warehouse.publish, info(release_id), reshaped(release_id))
                time.sleep(1.5)
                cursor.execute(f"SELECT * FROM published.{order[1]}")
                assert not publishing.done()
                con.rollback()
                publishing.result(timeout=30)
        assert_whole(postgres_database, release_id)


def test_a_reader_that_holds_a_view_makes_its_change_fail_not_hang(
    postgres_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "LOCK_SECONDS", 0.3)
    warehouse = postgres_database.open()
    warehouse.publish(info("r0"), reshaped("r0"))
    with closing(psycopg2.connect(postgres_database.url)) as con, con.cursor() as cursor:
        cursor.execute("SELECT * FROM published.ritten")
        # Rows alone can always be followed up.
        warehouse.publish(info("r4"), reshaped("r4"))
        with pytest.raises(WarehouseError, match=r"a reader keeps a table open.*ritten"):
            warehouse.publish(info("r5"), reshaped("r5"))
        assert_whole(postgres_database, "r4")
    warehouse.publish(info("r5"), reshaped("r5"))
    assert_whole(postgres_database, "r5")


def test_a_column_that_changes_type_is_refused(postgres_database: Database) -> None:
    warehouse = postgres_database.open()
    warehouse.publish(info("r1"), [*marked("r1"), table(EVERYTHING, [FULL_ROW])])
    columns = tuple(replace(c, type="number") if c.name == "aantal" else c for c in EVERYTHING.columns)
    other = table(replace(EVERYTHING, columns=columns), [FULL_ROW | {"aantal": 1.5}])
    with pytest.raises(
        WarehouseError, match=r"alles\.aantal was BIGINT .* is DOUBLE PRECISION now.*another name"
    ):
        warehouse.publish(info("r2"), [*marked("r2"), other])
    assert_whole(postgres_database, "r1")


def test_views_of_others_are_left_alone(postgres_database: Database) -> None:
    warehouse = postgres_database.open()
    warehouse.publish(info("r1"), marked("r1"))
    execute(postgres_database.url, "CREATE VIEW published.van_een_ander AS SELECT 1 AS a")
    warehouse.publish(info("r2"), marked("r2"))
    assert postgres_database.query("SELECT a FROM van_een_ander") == [(1,)]


# -- The setting ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "geheim",
        "mysql://u:geheim@host/db",
        "postgresql+asyncpg://u:geheim@host/db",
        "postgres://u:geheim@host/db",
        "postgresql://u:1@geheim@host/db",
        "postgresql://u:1@2/geheim@host/db",
        "postgresql://u:1@2:geheim@host/db",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite+aiosqlite:///x.sqlite",
        "sqlite:///x.sqlite?geheim=1",
        "nosuch://u:geheim@host/db",
    ],
)
def test_a_wrong_url_names_the_setting_and_not_the_password(url: str, tmp_path: Path) -> None:
    with pytest.raises(WarehouseError, match="KOPLOPER_WAREHOUSE_URL") as caught:
        Warehouse(url, tmp_path)
    assert "heim" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("query_part", ["", "?password=geheim"])
def test_an_unreachable_server_names_the_setting_and_not_the_password(
    tmp_path: Path, query_part: str
) -> None:
    # Port 1 is reserved and has no server.
    warehouse = Warehouse(f"postgresql://u:geheim@127.0.0.1:1/db{query_part}", tmp_path)
    calls: list[Callable[[], Any]] = [
        warehouse.current,
        warehouse.releases,
        lambda: warehouse.read("ritten"),
        lambda: warehouse.switch("r1"),
        lambda: warehouse.publish(info("r1"), marked("r1")),
    ]
    for call in calls:
        with pytest.raises(WarehouseError, match=r"KOPLOPER_WAREHOUSE_URL.*127\.0\.0\.1.*refused") as caught:
            call()
        assert "geheim" not in f"{caught.value!r} {caught.value.__cause__!r}"


def test_a_missing_postgres_database_names_the_setting(postgres_database: Database) -> None:
    url = (
        sa.make_url(postgres_database.url).set(database="bestaat_niet").render_as_string(hide_password=False)
    )
    with pytest.raises(WarehouseError, match=r'KOPLOPER_WAREHOUSE_URL.*"bestaat_niet" does not exist'):
        Warehouse(url, postgres_database.home).current()


def test_opening_connects_to_nothing(tmp_path: Path) -> None:
    Warehouse("postgresql://u@127.0.0.1:1/db", tmp_path)
    Warehouse("sqlite:///warehouse/p.sqlite", tmp_path).finish_interrupted()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+psycopg2"])
def test_postgres_is_reached_through_psycopg2(postgres_database: Database, scheme: str) -> None:
    url = sa.make_url(postgres_database.url).set(drivername=scheme).render_as_string(hide_password=False)
    Warehouse(url, postgres_database.home).publish(info("r1"), marked("r1"))
    assert_whole(postgres_database, "r1")


def test_importing_the_module_loads_no_frames() -> None:
    heavy = ("pyarrow", "pandas", "duckdb", "psycopg2")
    code = f"import sys, {module.__name__}; print([m for m in {heavy} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
