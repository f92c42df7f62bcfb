"""Processes that work on one lake at the same time take turns, and leave each other's passes alone."""

from __future__ import annotations

import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from gatehouse import RAW, House, Row, column, connection, contract, drop, processes, toy_tables

from koploper_pipelines.gates.ledger import TABLE as LEDGER
from koploper_pipelines.resources.lake import Lake

TABLE, DAY = "proef/cleaned/dagen", "2024-03-01"
DAYS = contract(
    TABLE,
    {
        "nr": column("integer", key=True, minimum=0),
        "dag": column("date", required=True),
        "waarde": column("number", minimum=0),
    },
    partition="dag",
)
SHORT_S = 1.5
"""How long a pass stops between its commits: long enough for the other process to come in between."""


def rows(value: float) -> list[Row]:
    """Rows of which one goes to quarantine."""
    sound = [{"nr": i, "dag": DAY, "waarde": value} for i in range(20)]
    return [*sound, {"nr": 99, "dag": DAY, "waarde": -value}]


@pytest.fixture
def house(tmp_path: Path) -> House:
    house = House(tmp_path / "huis")
    assert house.admit(DAYS, rows(1.0)).passed
    return house


def slow_pass(home: str, value: float, between: str, until: str = "") -> None:
    """A pass that stops between its two commits and says so: a while, or until a file appears."""
    commit = Lake.commit

    def slowly(lake: Lake, table: str, *args: Any, **options: Any) -> int:
        if table == TABLE:
            Path(between).touch()
            if until:
                _wait_for(Path(until))
            else:
                time.sleep(SHORT_S)
        return commit(lake, table, *args, **options)

    Lake.commit = slowly  # type: ignore[method-assign, assignment]
    assert House(Path(home)).admit(DAYS, rows(value)).passed


def several_passes(home: str, name: str) -> None:
    """Passes that hesitate before each entry in the ledger: long enough for another process to come first."""
    commit = Lake.commit

    def hesitant(lake: Lake, table: str, *args: Any, **options: Any) -> int:
        if table == LEDGER:
            time.sleep(SHORT_S / 5)
        return commit(lake, table, *args, **options)

    Lake.commit = hesitant  # type: ignore[method-assign, assignment]
    told = contract(f"proef/raw/{name}", {"nr": column("integer", key=True)})
    for i in range(4):
        assert House(Path(home)).admit(told, [{"nr": i}]).passed


def slow_landing(home: str) -> None:
    """Land what waits in the inbox, and stop between counting what has landed before and landing more."""
    commit = Lake.commit

    def slowly(lake: Lake, table: str, *args: Any, **options: Any) -> int:
        if table == RAW:
            time.sleep(SHORT_S)
        return commit(lake, table, *args, **options)

    Lake.commit = slowly  # type: ignore[method-assign, assignment]
    assert House(Path(home), toy_tables()).run(RAW).passed


def _wait_for(file: Path) -> None:
    for _ in range(2400):
        if file.exists():
            return
        time.sleep(0.05)
    pytest.fail(f"{file.name}: the other process did not get that far")


def test_two_processes_at_one_table_take_turns(house: House) -> None:
    """Both build on the version that the other left; on the same one, the later commit would be foreign."""
    context, home = processes(), str(house.home)
    both = [
        context.Process(target=slow_pass, args=(home, v, str(house.home / f"bij {v}"))) for v in (2.0, 3.0)
    ]
    for process in both:
        process.start()
    for process in both:
        process.join(240)
    assert [p.exitcode for p in both] == [0, 0]
    assert house.version(TABLE) == 2
    assert {r["waarde"] for r in house.rows(TABLE)} in ({2.0}, {3.0})
    assert len(house.quarantine(TABLE)) == 1
    assert (house.unfinished(TABLE), house.staged_files()) == (0, [])


def test_two_landings_of_one_inbox_take_turns(tmp_path: Path) -> None:
    """Each file lands once and none is refused, though each is judged by how much landed before it."""
    house = House(tmp_path / "huis", toy_tables())
    for number in range(3):
        drop(house.home, f"{number}.csv", [(number, "2024-02-01", 0, "m", 1.0)])
    context = processes()
    both = [context.Process(target=slow_landing, args=(str(house.home),)) for _ in "ab"]
    for process in both:
        process.start()
    for process in both:
        process.join(240)
    assert [p.exitcode for p in both] == [0, 0]
    assert sorted(row["nr"] for row in house.rows(RAW)) == ["0", "1", "2"]
    assert not (house.home / "inbox" / "afgekeurd").exists()


def test_mending_leaves_a_pass_that_goes_on_alone(house: House) -> None:
    """Seen from another process, a pass between its commits looks like one that was cut off."""
    between = house.home / "tussen quarantaine en tabel"
    process = processes().Process(target=slow_pass, args=(str(house.home), 2.0, str(between)))
    process.start()
    _wait_for(between)
    house.platform.gate.mend(TABLE)
    process.join(240)
    assert process.exitcode == 0
    assert {r["waarde"] for r in house.rows(TABLE)} == {2.0}
    assert len(house.quarantine(TABLE)) == 1
    assert house.entries(TABLE, "afgebroken") == []
    assert [e["versie"] for e in house.entries(TABLE, "gereed")] == [0, 1]


def test_readers_neither_wait_nor_see_half(house: House) -> None:
    """While a pass is between its commits, its table reads as it was, rows and quarantine alike."""
    before = house.rows(TABLE), house.quarantine(TABLE)
    between, further = house.home / "tussen quarantaine en tabel", house.home / "verder"
    arguments = (str(house.home), 2.0, str(between), str(further))
    process = processes().Process(target=slow_pass, args=arguments)
    process.start()
    _wait_for(between)
    assert (house.reopened().rows(TABLE), house.reopened().quarantine(TABLE)) == before
    further.touch()
    process.join(240)
    assert house.rows(TABLE) != before[0]


def test_two_tables_at_once_share_the_ledger(tmp_path: Path) -> None:
    context, house = processes(), House(tmp_path / "huis")
    house.home.mkdir()
    both = [context.Process(target=several_passes, args=(str(house.home), name)) for name in ("een", "twee")]
    for process in both:
        process.start()
    for process in both:
        process.join(240)
    assert [p.exitcode for p in both] == [0, 0]
    assert [len(house.entries(f"proef/raw/{name}", "gereed")) for name in ("een", "twee")] == [4, 4]
    numbers = house.platform.ledger.read("gebeurtenis IN ('begonnen', 'gereed')")["volgnummer"].tolist()
    assert len(set(numbers)) == len(numbers) == 16


def test_threads_of_one_process_read_while_another_writes(house: House) -> None:
    """They share what was verified: two that verify the same commit at once would call it foreign."""
    reader, writer = house.reopened(), house.reopened()
    seen, stop = set[int](), threading.Event()

    def read() -> None:
        with connection() as con:
            while not stop.is_set():
                head = reader.platform.lake.head(TABLE)
                values = reader.platform.lake.relation(con, TABLE, head.version).project("waarde").fetchall()
                assert len(set(values)) == 1
                seen.add(head.version)

    switching = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(4) as pool:
            reads = [pool.submit(read) for _ in range(4)]
            try:
                for value in range(2, 8):
                    assert writer.admit(DAYS, rows(float(value))).passed
            finally:
                stop.set()
            for done in reads:
                done.result()
    finally:
        sys.setswitchinterval(switching)
    assert len(seen) > 1
