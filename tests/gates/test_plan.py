"""The work list: what is pending and why, in which order, in which ranges; and the fingerprint of code.

Most of it is judged on a lake of which only the heads are known, against the definition written out the
long way round. At the end stands the promise itself, on a real lake: after any nights, what is not pending
equals what the rows that landed so far should give, and in the end a rebuild from raw.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from gatehouse import CLEAN, MONTH, RAW, House, Measured, drop, toy_tables
from gatehouse import column as col
from gatehouse import contract as contract_of
from gatehouse import day as toy_day

from koploper_pipelines.contracts import Contract
from koploper_pipelines.gates import fingerprint as fingerprint_module
from koploper_pipelines.gates.fingerprint import code_fingerprint
from koploper_pipelines.gates.plan import MAX_DAYS_PER_RUN, Pending, Plan, in_order, joined, ranges, shifted
from koploper_pipelines.gates.step import Report
from koploper_pipelines.gates.table import GatedTable, Reads, Step
from koploper_pipelines.resources.lake import UNKNOWN, WHOLE, Head, Lake, NoTable, PartitionState

SOURCE, DAILY, MONTHLY = "proef/raw/bron", "proef/cleaned/dagen", "proef/indicators/maanden"
SHOWN, SUMMED, DAYS_ONCE_MORE = "proef/published/getoond", "proef/evaluation/som", "proef/indicators/dagen"
LIST = "proef/raw/lijst"


# -- A lake of heads -------------------------------------------------------------------------------------


def make(step: Step) -> object:
    return step.partitions


def make_otherwise(step: Step) -> object:
    return list(step.partitions)


def contract(path: str, kind: str | None) -> Contract:
    columns = {
        "dag": {"dag": col("date", key=True)},
        "maand": {"maand": col("string", key=True)},
        None: {"wat": col("string", key=True)},
    }[kind]
    return contract_of(path, columns, partition=kind, empty="er is nog niets gemeten")


class Heads(Lake):
    """A lake of which only the heads are known."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, b"")
        self.known: dict[str, Head] = {}

    def head(self, table: str) -> Head:
        if table not in self.known:
            raise NoTable(table)
        return self.known[table]


@dataclass
class World:
    """Tables, and what stands of them in a lake; each write is a new version."""

    lake: Heads
    tables: dict[str, GatedTable]
    settings: dict[str, str] = field(default_factory=dict)
    also: dict[str, Callable[[], Any]] = field(default_factory=dict)
    first_open_month: str = "2024-02"

    @property
    def plan(self) -> Plan:
        return Plan(self.tables, self.lake, self.settings, self.also, self.first_open_month)

    def write(self, table: str, partitions: Mapping[str, Mapping[str, Any]]) -> None:
        head = self.lake.known.get(table)
        version = head.version + 1 if head else 0
        written = {p: PartitionState(version, made_of) for p, made_of in partitions.items()}
        before = head.partitions if head else {}
        self.lake.known[table] = Head(version, version, {}, {**before, **written}, frozenset())

    def land(self, *partitions: str, table: str = SOURCE) -> None:
        self.write(table, {p: {} for p in partitions})

    def run(self, path: str, only: Sequence[str] | None = None) -> list[str]:
        """Make what is pending of a table; what was made."""
        plan, table = self.plan, self.tables[path]
        made = [p for p in sorted(plan.pending_of(table)) if only is None or p in only]
        if made:
            self.write(path, {p: plan.provenance(table, p) for p in made})
        return made

    def run_all(self) -> None:
        for path, table in self.plan.tables.items():
            if not table.lands:
                self.run(path)

    def pending(self, path: str) -> dict[str, str]:
        return self.plan.pending_of(self.tables[path])

    def pending_with_what_follows(self) -> dict[str, dict[str, str]]:
        found: dict[str, dict[str, str]] = {}
        for item in self.plan.pending():
            found.setdefault(item.table, {})[item.partition] = item.because
        return found

    def change(self, path: str, **changes: Any) -> None:
        self.tables[path] = replace(self.tables[path], **changes)


def tables_reading(daily: Reads) -> dict[str, GatedTable]:
    """A landing, days of it, days of those, months of those, and two tables that have no days."""
    tables = [
        GatedTable(contract(SOURCE, "dag"), make, lands=True),
        GatedTable(contract(LIST, None), make, lands=True),
        GatedTable(contract(DAILY, "dag"), make, (daily,)),
        GatedTable(contract(DAYS_ONCE_MORE, "dag"), make, (Reads(DAILY, before=1), Reads(LIST))),
        GatedTable(contract(MONTHLY, "maand"), make, (Reads(DAILY, spills=True),)),
        GatedTable(contract(SUMMED, None), make, (Reads(MONTHLY),)),
        GatedTable(contract(SHOWN, None), make, (Reads(MONTHLY),), closes_months=True),
    ]
    return {t.path: t for t in tables}


@pytest.fixture
def lake(tmp_path: Path) -> Heads:
    return Heads(tmp_path)


@pytest.fixture
def world(lake: Heads) -> World:
    """Days of which the rows may come from a day before or after; all of January and February are made."""
    world = World(lake, tables_reading(Reads(SOURCE, before=1, after=1, spills=True)))
    world.land(*days("2024-01-01", 60))
    world.land(WHOLE, table=LIST)
    world.run_all()
    assert world.plan.pending() == []
    return world


def days(first: str, number: int) -> list[str]:
    start = date.fromisoformat(first)
    return [(start + timedelta(days=n)).isoformat() for n in range(number)]


# -- Footprints ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(8))
def test_days_that_need_a_changed_day_are_pending_and_no_others(lake: Heads, seed: int) -> None:
    draw = random.Random(seed)
    before, after = draw.randint(0, 3), draw.randint(0, 3)
    world = World(lake, tables_reading(Reads(SOURCE, before, after, spills=draw.random() < 0.5)))
    world.land(*days("2023-12-20", 25))
    world.land(WHOLE, table=LIST)
    world.run_all()
    changed = set(draw.sample(days("2023-12-24", 15), draw.randint(1, 4)))
    world.land(*changed)

    def needs(day: str) -> set[str]:
        own = date.fromisoformat(day)
        return {str(own + timedelta(days=n)) for n in range(-before, after + 1)}

    expected = {d for d in world.lake.known[DAILY].partitions if needs(d) & changed}
    assert set(world.pending(DAILY)) == expected
    assert set(world.pending_with_what_follows()[DAILY]) == expected
    assert set(world.run(DAILY)) == expected
    assert world.pending(DAILY) == {}


def test_footprint_is_on_the_right_side(lake: Heads) -> None:
    world = World(lake, tables_reading(Reads(SOURCE, before=2)))
    world.land(*days("2024-01-01", 10))
    world.run_all()
    world.land("2024-01-05")
    assert sorted(world.pending(DAILY)) == ["2024-01-05", "2024-01-06", "2024-01-07"]


@pytest.mark.parametrize(
    ("spills", "expected"),
    [(True, ["2024-05-09", "2024-05-10", "2024-05-11"]), (False, ["2024-05-10"])],
)
def test_first_rows_of_a_day_make_its_neighbours_only_where_rows_spill(
    lake: Heads, spills: bool, expected: list[str]
) -> None:
    world = World(lake, tables_reading(Reads(SOURCE, before=1, after=1, spills=spills)))
    world.land("2024-05-10")
    assert world.pending(DAILY) == dict.fromkeys(expected, "nog niet gemaakt")


def test_rows_that_spill_into_another_month_make_that_month(lake: Heads) -> None:
    world = World(lake, tables_reading(Reads(SOURCE, before=1, after=1, spills=True)))
    world.land("2023-12-31")
    world.run_all()
    assert sorted(world.lake.known[MONTHLY].partitions) == ["2023-12", "2024-01"]


def test_what_follows_from_a_changed_day_is_foreseen_and_then_so(world: World) -> None:
    world.land("2024-01-31")
    foreseen = world.pending_with_what_follows()
    assert {t: sorted(p) for t, p in foreseen.items()} == {
        DAILY: ["2024-01-30", "2024-01-31", "2024-02-01"],
        DAYS_ONCE_MORE: ["2024-01-30", "2024-01-31", "2024-02-01", "2024-02-02"],
        MONTHLY: ["2024-01", "2024-02"],
        SUMMED: [WHOLE],
        SHOWN: [WHOLE],
    }
    assert foreseen[DAILY]["2024-01-31"] == f"{SOURCE} gewijzigd"
    assert foreseen[MONTHLY]["2024-02"] == f"invoer {DAILY} is aan de beurt"
    made = {t: world.run(t) for t in world.plan.tables if t in foreseen}
    assert made == {t: sorted(p) for t, p in foreseen.items()}
    assert world.plan.pending() == []


def test_unchanged_days_are_left_alone(world: World) -> None:
    before = dict(world.lake.known[DAILY].partitions)
    world.land("2024-01-15")
    world.run_all()
    after = world.lake.known[DAILY].partitions
    assert {d for d in after if after[d] != before.get(d)} == {"2024-01-14", "2024-01-15", "2024-01-16"}


def test_what_is_not_made_now_sets_nothing_in_motion(world: World) -> None:
    world.land("2024-01-15")
    held_back = {DAILY: ["2024-01-14", "2024-01-15"]}
    left = world.plan.pending(without=held_back)
    assert [(p.table, p.partition) for p in left] == [
        (DAILY, "2024-01-16"),
        (DAYS_ONCE_MORE, "2024-01-16"),
        (DAYS_ONCE_MORE, "2024-01-17"),
        (MONTHLY, "2024-01"),
        (SUMMED, WHOLE),
        (SHOWN, WHOLE),
    ]
    assert world.plan.pending(without={DAILY: sorted(world.pending(DAILY))}) == []


def test_day_that_was_held_back_stays_pending_also_when_others_were_made(world: World) -> None:
    world.land("2024-01-15")
    world.run(DAILY, only=["2024-01-14", "2024-01-16"])
    assert world.pending(DAILY) == {"2024-01-15": f"{SOURCE} gewijzigd"}
    world.land("2024-01-20")
    assert sorted(world.pending(DAILY)) == ["2024-01-15", "2024-01-19", "2024-01-20", "2024-01-21"]


# -- The unknown day, months, whole tables ---------------------------------------------------------------


def test_rows_without_a_day_concern_the_unknown_day_alone(world: World) -> None:
    world.land(UNKNOWN)
    assert world.pending(DAILY) == {UNKNOWN: "nog niet gemaakt"}
    foreseen = world.pending_with_what_follows()
    assert set(foreseen[DAILY]) == set(foreseen[MONTHLY]) == {UNKNOWN}
    assert DAYS_ONCE_MORE not in foreseen
    world.run_all()
    months = {"2023-12", "2024-01", "2024-02", "2024-03"}
    assert set(world.lake.known[MONTHLY].partitions) == months | {UNKNOWN}
    world.land(UNKNOWN)
    assert world.pending(DAILY) == {UNKNOWN: f"{SOURCE} gewijzigd"}


def test_rows_without_a_day_are_nothing_to_a_table_of_days_that_do_not_spill(lake: Heads) -> None:
    world = World(lake, tables_reading(Reads(SOURCE, before=1)))
    world.land("2024-01-05", UNKNOWN)
    assert set(world.pending(DAILY)) == {"2024-01-05"}
    world.run_all()
    world.land(UNKNOWN)
    assert world.pending_with_what_follows() == {}


def test_days_of_what_is_only_looked_up_change_days_and_make_none(lake: Heads) -> None:
    looked_up = Reads(LIST, after=1, lookup=True)
    tables = {
        SOURCE: GatedTable(contract(SOURCE, "dag"), make, lands=True),
        LIST: GatedTable(contract(LIST, "dag"), make, lands=True),
        DAILY: GatedTable(contract(DAILY, "dag"), make, (Reads(SOURCE), looked_up)),
        MONTHLY: GatedTable(contract(MONTHLY, "maand"), make, (Reads(DAILY), Reads(LIST, lookup=True))),
    }
    world = World(lake, tables)
    world.land("2024-01-10")
    world.land("2023-06-01", "2024-01-11", "2024-01-12", table=LIST)
    assert set(world.pending_with_what_follows()[DAILY]) == {"2024-01-10"}
    world.run_all()
    assert world.pending_with_what_follows() == {}
    # The day after is looked up, the one after that is not; the month sees both.
    world.land("2024-01-12", table=LIST)
    assert (set(world.pending(DAILY)), set(world.pending(MONTHLY))) == (set(), {"2024-01"})
    world.land("2024-01-11", table=LIST)
    assert set(world.pending(DAILY)) == {"2024-01-10"}
    assert inputs(world, DAILY, LIST, "2024-01-10") == ["2024-01-11"]
    world.run_all()
    # Counter-test: an input that is not only looked up makes its own days.
    world.change(DAILY, reads=(Reads(SOURCE), replace(looked_up, lookup=False)))
    assert set(world.pending(DAILY)) == {"2023-06-01", "2024-01-11", "2024-01-12"}


def test_change_of_a_table_without_days_concerns_all_days_of_who_reads_it(world: World) -> None:
    world.land(WHOLE, table=LIST)
    assert set(world.pending(DAYS_ONCE_MORE)) == set(world.lake.known[DAYS_ONCE_MORE].partitions)
    assert set(world.pending(DAYS_ONCE_MORE).values()) == {f"{LIST} gewijzigd"}
    assert set(world.pending_with_what_follows()) == {DAYS_ONCE_MORE}


def test_table_without_days_waits_for_its_first_input(lake: Heads) -> None:
    world = World(lake, tables_reading(Reads(SOURCE)))
    assert world.plan.pending() == []
    world.land("2024-01-05")
    world.run(DAILY)
    assert world.pending(SUMMED) == {}
    world.run(MONTHLY)
    assert world.pending(SUMMED) == {WHOLE: "nog niet gemaakt"}


def test_table_that_reads_no_table_is_made_once(lake: Heads) -> None:
    world = World(lake, {LIST: GatedTable(contract(LIST, None), make)})
    assert world.plan.pending() == [Pending(LIST, WHOLE, "nog niet gemaakt")]
    world.run(LIST)
    assert world.plan.pending() == []


# -- Code, rules, settings, closed months ----------------------------------------------------------------


def with_another_rule(contract: Contract) -> Contract:
    return replace(contract, empty_because=None)


@pytest.mark.parametrize(
    ("change", "because"),
    [
        (lambda w: w.change(DAILY, make=make_otherwise), "code gewijzigd"),
        (lambda w: w.change(DAILY, contract=with_another_rule(w.tables[DAILY].contract)), "regels gewijzigd"),
        (lambda w: w.settings.update({DAILY: "anders"}), "instellingen gewijzigd"),
        (lambda w: w.also.update({DAILY: lambda: ["r1"]}), "kwaliteit of releases gewijzigd"),
        (
            lambda w: (w.change(DAILY, make=make_otherwise), w.settings.update({DAILY: "anders"})),
            "code gewijzigd, instellingen gewijzigd",
        ),
    ],
)
def test_other_code_rules_or_settings_make_every_partition_pending(
    world: World, change: Callable[[World], object], because: str
) -> None:
    change(world)
    assert world.pending(DAILY) == dict.fromkeys(world.lake.known[DAILY].partitions, because)
    others = {t: set(why.values()) for t, why in world.pending_with_what_follows().items() if t != DAILY}
    assert set(others) == {DAYS_ONCE_MORE, MONTHLY, SUMMED, SHOWN}
    assert others[MONTHLY] == {f"invoer {DAILY} is aan de beurt"}
    world.run_all()
    assert world.plan.pending() == []


def test_all_reasons_are_told(world: World) -> None:
    world.change(DAILY, make=make_otherwise)
    world.land("2024-01-15")
    assert world.pending(DAILY)["2024-01-15"] == f"code gewijzigd, {SOURCE} gewijzigd"
    assert world.pending(DAILY)["2024-01-20"] == "code gewijzigd"


def test_month_that_closes_concerns_only_tables_that_close_months(world: World) -> None:
    world.first_open_month = "2024-03"
    assert world.plan.pending() == [Pending(SHOWN, WHOLE, "een maand is gesloten")]
    world.run_all()
    assert world.plan.pending() == []


def test_what_a_table_depends_on_besides_the_lake_counts_by_its_value(world: World) -> None:
    world.also[SUMMED] = lambda: {"releases": 1}
    world.run_all()
    world.also[SUMMED] = lambda: {"releases": 1}
    assert world.plan.pending() == []
    world.also[SUMMED] = lambda: {"releases": 2}
    assert world.plan.pending() == [Pending(SUMMED, WHOLE, "kwaliteit of releases gewijzigd")]


def test_plan_is_of_one_moment(world: World) -> None:
    plan = world.plan
    assert plan.pending_of(world.tables[DAILY]) == {}
    world.land("2024-01-15")
    assert plan.pending_of(world.tables[DAILY]) == {}
    assert len(world.plan.pending_of(world.tables[DAILY])) == 3


# -- Inputs, ranges, order -------------------------------------------------------------------------------


def inputs(world: World, path: str, of: str, *partitions: str) -> list[str]:
    table = world.tables[path]
    (read,) = [r for r in table.reads if r.table == of]
    return world.plan.inputs(table, read, partitions)


def test_inputs_are_the_partitions_needed_as_far_as_they_exist(world: World) -> None:
    assert inputs(world, DAILY, SOURCE, "2024-01-15") == days("2024-01-14", 3)
    assert inputs(world, DAILY, SOURCE, "2024-01-01") == days("2024-01-01", 2)
    assert inputs(world, DAILY, SOURCE, "2024-01-15", "2024-01-20") == days("2024-01-14", 3) + days(
        "2024-01-19", 3
    )
    assert inputs(world, DAILY, SOURCE, UNKNOWN) == []
    assert inputs(world, MONTHLY, DAILY, "2024-02") == days("2024-02-01", 29)
    assert inputs(world, SUMMED, MONTHLY, WHOLE) == sorted(world.lake.known[MONTHLY].partitions)
    assert inputs(world, DAYS_ONCE_MORE, LIST, "2024-01-15") == [WHOLE]
    world.land(UNKNOWN)
    assert inputs(world, DAILY, SOURCE, UNKNOWN) == [UNKNOWN]
    assert inputs(world, DAILY, SOURCE, "2024-01-15") == days("2024-01-14", 3)


def test_inputs_of_a_table_that_was_never_written_are_none(lake: Heads) -> None:
    world = World(lake, tables_reading(Reads(SOURCE)))
    assert inputs(world, DAILY, SOURCE, "2024-01-15") == []
    assert world.plan.provenance(world.tables[DAILY], "2024-01-15")["invoer"] == {SOURCE: None}


@pytest.mark.parametrize(
    ("pending", "expected"),
    [
        ([], []),
        (["2024-01-05"], [("2024-01-05", "2024-01-05")]),
        (["2024-01-07", "2024-01-05", "2024-01-06"], [("2024-01-05", "2024-01-07")]),
        (["2024-01-05", "2024-01-07"], [("2024-01-05", "2024-01-05"), ("2024-01-07", "2024-01-07")]),
        (["2024-01-31", "2024-02-01"], [("2024-01-31", "2024-01-31"), ("2024-02-01", "2024-02-01")]),
        (["2023-12-31", "2024-01-01"], [("2023-12-31", "2023-12-31"), ("2024-01-01", "2024-01-01")]),
        (["2024-02-28", "2024-02-29"], [("2024-02-28", "2024-02-29")]),
        (["2024-01-05", UNKNOWN, WHOLE, "2024-01-05"], [("2024-01-05", "2024-01-05")]),
    ],
)
def test_ranges_are_cut_at_gaps_and_at_month_ends(pending: list[str], expected: list[Any]) -> None:
    assert ranges(pending) == expected


@pytest.mark.parametrize("seed", range(5))
def test_ranges_hold_each_day_once_and_lie_within_a_month(seed: int) -> None:
    draw = random.Random(seed)
    chosen = draw.sample(days("2023-11-01", 150), draw.randint(1, 150))
    found = ranges(chosen)
    spread = [days(a, (date.fromisoformat(b) - date.fromisoformat(a)).days + 1) for a, b in found]
    assert sorted(d for r in spread for d in r) == sorted(chosen)
    assert all(len({d[:7] for d in r}) == 1 for r in spread)
    for (_, last), (first, _) in itertools.pairwise(found):
        assert shifted(last, 1, 1) != [first] or first.endswith("-01"), "two ranges that could be one"


OCTOBER, NOVEMBER, DECEMBER = (
    ("2024-10-30", "2024-10-31"),
    ("2024-11-01", "2024-11-30"),
    ("2024-12-01", "2024-12-01"),
)


@pytest.mark.parametrize(
    ("rows", "most", "expected"),
    [
        ({}, 1, [("2024-10-30", "2024-12-01")]),
        ({"2024-10-31": 5, "2024-11-30": 5}, 10, [("2024-10-30", "2024-12-01")]),
        ({"2024-10-31": 5, "2024-11-30": 6}, 10, [OCTOBER, ("2024-11-01", "2024-12-01")]),
        ({"2024-11-30": 6, "2024-12-01": 5}, 10, [("2024-10-30", "2024-11-30"), DECEMBER]),
        # More than may be is made in one run all the same when it is one month: no run is less.
        ({"2024-10-31": 11, "2024-11-15": 11, "2024-12-01": 11}, 10, [OCTOBER, NOVEMBER, DECEMBER]),
        # Rows of days that are not pending are not made, and limit nothing.
        ({"2024-10-29": 99, "2024-12-02": 99}, 10, [("2024-10-30", "2024-12-01")]),
    ],
)
def test_months_of_few_rows_are_one_range(rows: dict[str, int], most: int, expected: list[Any]) -> None:
    assert joined([OCTOBER, NOVEMBER, DECEMBER], rows, most) == expected


def test_ranges_that_do_not_touch_stay_apart() -> None:
    apart = [("2024-10-01", "2024-10-02"), ("2024-10-04", "2024-10-04"), ("2024-11-01", "2024-11-01")]
    assert joined(apart, {}, 1_000_000) == apart


def test_joined_ranges_are_no_longer_than_a_quarter() -> None:
    found = joined(ranges(days("2024-01-01", 366)), {}, 1_000_000)
    assert [first for first, _ in found] == ["2024-01-01", "2024-04-01", "2024-07-01", "2024-10-01"]
    assert MAX_DAYS_PER_RUN == 92 and found[-1][1] == "2024-12-31"


def test_tables_come_after_their_inputs_in_any_order_of_declaration() -> None:
    tables = list(tables_reading(Reads(SOURCE)).values())
    orders = []
    for seed in range(5):
        random.Random(seed).shuffle(tables)
        orders.append([t.path for t in in_order(tables)])
    assert all(o == orders[0] for o in orders)
    place = {p: i for i, p in enumerate(orders[0])}
    assert all(place[r.table] < place[t.path] for t in tables for r in t.reads)


def test_table_comes_after_what_it_waits_for_without_reading_it() -> None:
    first, second = (GatedTable(contract(f"proef/raw/{n}", None), make) for n in ("a", "b"))
    assert [t.path for t in in_order([first, second])] == ["proef/raw/a", "proef/raw/b"]
    assert [t.path for t in in_order([replace(first, after=("proef/raw/b",)), second])] == [
        "proef/raw/b",
        "proef/raw/a",
    ]


@pytest.mark.parametrize("way", ["reads", "after"])
def test_circle_of_tables_is_an_error_that_names_them(way: str) -> None:
    def table(name: str, other: str) -> GatedTable:
        other = f"proef/raw/{other}"
        reads, after = ((Reads(other),), ()) if way == "reads" else ((), (other,))
        return GatedTable(contract(f"proef/raw/{name}", None), make, reads, after=after)

    alone = GatedTable(contract("proef/raw/los", None), make)
    with pytest.raises(ValueError, match=r"circle: \['proef/raw/a', 'proef/raw/b'\]"):
        in_order([table("a", "b"), table("b", "a"), alone])


# -- The fingerprint of code -----------------------------------------------------------------------------

STEP = "assets/proef/cleaned.py"
CODE = {
    STEP: '''
"""A module of steps."""

from dataclasses import dataclass

LIMIT = 5
OTHER_LIMIT: int = 7


@dataclass
class Choice:
    """A choice."""

    limit: int = LIMIT


def step(rows):
    """Make the rows."""
    from koploper_pipelines.methods import near

    # A comment.
    return near.method(helper(rows), OTHER_LIMIT)


def helper(rows):
    """Help."""
    return deeper(rows)


def deeper(rows):
    from koploper_pipelines.methods.proef.own import method as own

    return own(rows, Choice())


def unrelated(rows):
    from koploper_pipelines.methods import unrelated

    return unrelated.method(rows)
''',
    "methods/near.py": '''
"""A method."""

from koploper_pipelines.methods import far


def method(rows, limit):
    """Do."""
    return far.method(rows)
''',
    "methods/far.py": """
import koploper_pipelines.methods.farthest as f


def method(rows):
    return f.x(rows)
""",
    "methods/farthest.py": "def x(rows):\n    # Why.\n    return rows\n",
    "methods/proef/own.py": "def method(rows, choice):\n    return rows + 1\n",
    "methods/unrelated.py": "def method(rows):\n    return rows\n",
}


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Fingerprint of a step in a package of its own, after an edit of one of its files."""
    package = tmp_path / "koploper_pipelines"
    monkeypatch.setattr(fingerprint_module, "__file__", str(package / "gates" / "fingerprint.py"))

    def fingerprint(file: str | None = None, old: str = "", new: str = "") -> str:
        for name, text in CODE.items():
            place = package / name
            place.parent.mkdir(parents=True, exist_ok=True)
            if name == file:
                assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {name}"
                text = text.replace(old, new)
            place.write_text(text, encoding="utf-8")
        file_of_step = package / STEP
        module: dict[str, Any] = {"__name__": "cleaned"}
        exec(compile(file_of_step.read_text(), str(file_of_step), "exec", dont_inherit=True), module)
        return code_fingerprint(module["step"])

    return fingerprint


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        (STEP, "near.method(helper(rows), OTHER_LIMIT)", "near.method(helper(rows), 8)"),
        (STEP, "return deeper(rows)", "return deeper(rows) or 0"),
        (STEP, "return own(rows, Choice())", "return own(rows, None)"),
        (STEP, "LIMIT = 5", "LIMIT = 6"),
        (STEP, "OTHER_LIMIT: int = 7", "OTHER_LIMIT: int = 8"),
        (STEP, "limit: int = LIMIT", "limit: int = 3"),
        (STEP, "def step(rows):", "def step(rows, more=1):"),
        (STEP, "import method as own", "import other as own"),
        ("methods/near.py", "return far.method(rows)", "return far.method(rows, limit)"),
        ("methods/far.py", "return f.x(rows)", "return f.x(rows) * 2"),
        ("methods/farthest.py", "return rows", "return rows * 2"),
        ("methods/proef/own.py", "rows + 1", "rows + 2"),
    ],
)
def test_code_that_a_step_uses_changes_its_fingerprint(
    code: Callable[..., str], file: str, old: str, new: str
) -> None:
    assert code(file, old, new) != code()


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        (STEP, "# A comment.", "# Another comment."),
        (STEP, '"""Make the rows."""', '"""Make all\n    the rows."""'),
        (STEP, '    """Help."""\n', ""),
        (STEP, '"""A choice."""', '"""A choice of limits."""'),
        (STEP, "helper(rows), OTHER_LIMIT)", "\n        helper(rows),\n        OTHER_LIMIT,\n    )"),
        (STEP, "return unrelated.method(rows)", "return 3"),
        (STEP, '"""A module of steps."""', ""),
        ("methods/near.py", '"""A method."""', '"""Another text."""'),
        ("methods/near.py", '    """Do."""\n', ""),
        ("methods/farthest.py", "# Why.", "# Why not."),
        ("methods/unrelated.py", "return rows", "return 3"),
    ],
)
def test_words_and_other_code_do_not_change_the_fingerprint(
    code: Callable[..., str], file: str, old: str, new: str
) -> None:
    assert code(file, old, new) == code()


# -- The promise -----------------------------------------------------------------------------------------

CHAIN = (RAW, CLEAN, MONTH)
STAMPS = {RAW: {"bestand", "rij"}}
METERS = "abc"


@dataclass
class Nights:
    """A house that lives through nights of landings and failures, and all that was ever dropped in it."""

    house: House
    draw: random.Random
    landed: list[Measured] = field(default_factory=list)
    number: int = 0
    refused: int = 0
    """Runs of a table that its gate refused, in whole or for some days."""

    def drop(self, rows: Sequence[Measured]) -> None:
        drop(self.house.home, f"bestand {self.number}.csv", rows)
        self.landed += rows

    def drop_some(self) -> None:
        first = len(self.landed)
        self.drop(
            [
                (
                    first + i,
                    None if self.draw.random() < 0.1 else str(toy_day(self.draw.randint(0, 5))),
                    self.draw.choice((-1, 0, 0, 1)),
                    self.draw.choice(METERS),
                    self.draw.choice((-5, 0, 3, 8, 40)),
                )
                for i in range(self.draw.randint(1, 6))
            ]
        )

    def night(self) -> None:
        self.house = self.house.reopened()
        reports = self.house.night(f"nacht {self.number}")
        ran = [r for r in reports.values() if isinstance(r, Report)]
        assert len(ran) == len(self.house.tables), reports
        self.refused += sum(not r.passed for r in ran)
        self.number += 1


def expected_clean(landed: Sequence[Measured]) -> dict[str, list[tuple[Any, ...]]]:
    """Kept rows per day, told without a database: the day is shifted, rows below zero are set aside."""
    found: dict[str, list[tuple[Any, ...]]] = {}
    for nr, day, shift, meter, value in landed:
        if day is not None and value >= 0:
            own = date.fromisoformat(day) + timedelta(days=shift)
            found.setdefault(str(own), []).append((nr, meter, float(value)))
    return {d: sorted(rows) for d, rows in found.items()}


def expected_month(landed: Sequence[Measured], month: str) -> tuple[int, float, int]:
    """Kept rows, their sum, and rows set aside of one month."""
    kept = [v for d, rows in expected_clean(landed).items() if d[:7] == month for *_, v in rows]
    aside = [
        1
        for _, day, shift, _, value in landed
        if day is not None and value < 0 and str(date.fromisoformat(day) + timedelta(days=shift))[:7] == month
    ]
    return len(kept), float(sum(kept)), len(aside)


def assert_what_is_not_pending_is_right(house: House, landed: Sequence[Measured]) -> None:
    pending = house.pending()
    clean: dict[str, list[tuple[Any, ...]]] = {}
    for row in house.rows(CLEAN):
        clean.setdefault(str(row["dag"]), []).append((row["nr"], row["meter"], row["waarde"]))
    expected = expected_clean(landed)
    settled = (clean.keys() | expected.keys()) - set(pending.get(CLEAN, []))
    assert {d: sorted(clean.get(d, [])) for d in settled} == {d: expected.get(d, []) for d in settled}
    months = {r["maand"]: (r["n"], r["som"], r["terzijde"]) for r in house.rows(MONTH)}
    settled = (months.keys() | {d[:7] for d in expected}) - set(pending.get(MONTH, [])) - {UNKNOWN}
    assert {m: months.get(m) for m in settled} == {m: expected_month(landed, m) for m in settled}


def all_but_stamps(house: House) -> dict[str, Counter[str]]:
    found = {
        t: Counter(str({k: v for k, v in r.items() if k not in STAMPS.get(t, set())}) for r in house.rows(t))
        for t in CHAIN
    }
    aside = Counter(str({k: r[k] for k in ("partitie", "reden", "rij")}) for r in house.quarantine(CLEAN))
    return {**found, "quarantine": aside}


def chain(**changes: Any) -> dict[str, GatedTable]:
    """Landing, days with a footprint of one day to either side, months; the days changed if so told."""
    tables = {p: t for p, t in toy_tables().items() if p in CHAIN}
    return {**tables, CLEAN: replace(tables[CLEAN], **changes)}


@pytest.mark.parametrize("seed", [1, 2])
def test_after_any_nights_tables_equal_a_rebuild_from_raw(tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    nights = Nights(House(tmp_path / "nights", chain()), draw)
    nights.house.home.mkdir()
    for _ in range(5):
        if draw.random() < 0.8:
            nights.drop_some()
        broken_days = [str(toy_day(draw.randint(-1, 6))) for _ in range(draw.randint(0, 2))]
        broken_months = ["2024-01"] if draw.random() < 0.3 else []
        nights.house.breaks(waarden=broken_days, maand=broken_months)
        nights.night()
        assert_what_is_not_pending_is_right(nights.house, nights.landed)
        if draw.random() < 0.3:
            again = [str(toy_day(draw.randint(0, 5)))]
            nights.house.run(CLEAN, f"hand {nights.number}", chosen=again, again=True)
            assert_what_is_not_pending_is_right(nights.house, nights.landed)
    assert nights.refused > 0
    nights.house.breaks()
    nights.night()
    assert nights.house.pending() == {}
    assert_what_is_not_pending_is_right(nights.house, nights.landed)

    rebuilt = Nights(House(tmp_path / "rebuilt", chain()), draw)
    rebuilt.drop(nights.landed)
    rebuilt.night()
    assert rebuilt.house.pending() == {}
    assert all_but_stamps(rebuilt.house) == all_but_stamps(nights.house)


def late_row(home: Path, tables: Mapping[str, GatedTable]) -> Nights:
    """A night, and one on which a row of another day lands that spills into a day already made."""
    nights = Nights(House(home, tables), random.Random(0))
    home.mkdir()
    nights.drop([(0, str(toy_day(0)), 0, "a", 3.0), (1, str(toy_day(1)), 0, "a", 8.0)])
    nights.night()
    nights.drop([(2, str(toy_day(0)), 1, "a", 40.0)])
    nights.night()
    return nights


def test_forgotten_footprint_would_be_noticed(tmp_path: Path) -> None:
    right = late_row(tmp_path / "right", chain())
    assert_what_is_not_pending_is_right(right.house, right.landed)
    wrong = late_row(tmp_path / "wrong", chain(reads=(Reads(RAW, spills=True),)))
    with pytest.raises(AssertionError):
        assert_what_is_not_pending_is_right(wrong.house, wrong.landed)
