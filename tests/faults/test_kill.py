"""A kill between any two writes of the gate: readers never see half of it, and the next start mends it.

The passes die in a process of their own, by `os._exit` just after the n-th commit to the lake, or when the
files of the n-th are in place and its entry in the log is not, so without any cleaning up. What stands in the
end is held against the same passes without a kill, and what readers see at each moment against rows written
out by hand.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import pytest

from koploper_pipelines.contracts import Expectation, Rule
from koploper_pipelines.gates.gate import QUARANTINE, Gate
from koploper_pipelines.resources.lake import Lake

# The toolbox stands with the tests of the gates.
sys.path.append(str(Path(__file__).resolve().parents[1] / "gates"))

from gatehouse import (
    RAW,
    RAW_CONTRACT,
    House,
    Row,
    column,
    contract,
    drop,
    in_process,
    rule,
    toy_tables,
)

KILLED = 9
WRITES = ("begonnen", "quarantine", "table", "gereed")
"""The commits of one pass, in order."""
NOTHING, BEGUN, ASIDE, TABLE, DONE = range(len(WRITES) + 1)
"""Number of commits made when the kill comes."""
DAY, OTHER_DAY = "2024-01-30", "2024-01-31"

VALUES = contract(
    "proef/cleaned/getallen",
    {
        "nr": column("integer", key=True, minimum=0),
        "dag": column("date", required=True, minimum="2020-01-01"),
        "waarde": column("number", required=True),
    },
    partition="dag",
    conserves=True,
    reasons={"dubbel": "tweemaal gemeld"},
    rules=[
        rule(
            "hoogstens_duizend", "rij", "expect_column_values_to_be_between", column="waarde", max_value=1000
        )
    ],
)
NOT_NEGATIVE = Rule(
    name="niet_negatief",
    description="Een waarde is niet negatief.",
    reason="speelgoed",
    severity="critical",
    scope="rij",
    dimension="accuracy",
    expectations=(
        Expectation("expect_column_values_to_match_regex", {"column": "waarde", "regex": "^[0-9.]+$"}),
    ),
)
# A landing that sets rows aside, so that it writes a quarantine too; its count of all landed rows then goes.
LANDING = replace(
    RAW_CONTRACT, rules=(*(r for r in RAW_CONTRACT.rules if r.name != "alle_regels_geland"), NOT_NEGATIVE)
)

Seen = tuple[Sequence[tuple[int, float]], Sequence[tuple[int, str]]]
"""What a reader sees: number and value of each row; number and reason of each row set aside."""
NO_TABLE: Seen = ([], [])


# -- What is done to the table ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Scenario:
    """Passes that precede, the pass that is killed, and what readers see before and after it."""

    table: str
    prepare: Callable[[House], None]
    act: Callable[[House], object]
    old: Seen
    new: Seen

    def house(self, home: Path) -> House:
        """The installation as a process that starts anew sees it."""
        tables = toy_tables()
        return House(home, {**tables, RAW: replace(tables[RAW], contract=LANDING)})


def values(day: str, numbers: range, *, of: float, too_large: int | None = None) -> list[Row]:
    """Rows of one value, of which one may break the row rule."""
    return [{"nr": n, "dag": day, "waarde": 9999.0 if n == too_large else of} for n in numbers]


def twice(day: str, number: int) -> Row:
    """A row that the step itself rejected."""
    return {"nr": number, "dag": day, "waarde": 0.0, "reden": "dubbel", "toelichting": "staat er al"}


def no_pass(house: House) -> None:
    """Nothing precedes."""


def write_both_days(house: House) -> None:
    rows = [
        *values(DAY, range(10), of=1.0, too_large=3),
        *values(OTHER_DAY, range(20, 30), of=2.0, too_large=25),
    ]
    house.admit(VALUES, rows, rejected=[twice(DAY, 4), twice(OTHER_DAY, 21)], rows_in=22)


def write_both_days_whole(house: House) -> None:
    rows = [*values(DAY, range(10), of=1.0), *values(OTHER_DAY, range(20, 30), of=2.0)]
    house.admit(VALUES, rows, rows_in=20)


def replace_a_day(house: House) -> None:
    rows = values(DAY, range(12), of=3.0, too_large=5)
    house.admit(VALUES, rows, rejected=[twice(DAY, 6), twice(DAY, 7)], rows_in=14)


def land_a_file_and_drop_another(house: House) -> None:
    drop(house.home, "een.csv", [(n, DAY, 0, "a", -1.0 if n == 3 else 1.0) for n in range(10)])
    house.run(RAW)
    drop(house.home, "twee.csv", [(n, DAY, 0, "a", -1.0 if n == 15 else 2.0) for n in range(10, 20)])


def land(house: House) -> None:
    house.run(RAW)


def kept(numbers: range, value: float, *, without: int | None = None) -> list[tuple[int, float]]:
    return [(n, value) for n in numbers if n != without]


SET_ASIDE = [(3, "hoogstens_duizend"), (4, "dubbel"), (21, "dubbel"), (25, "hoogstens_duizend")]
BOTH_DAYS: Seen = ([*kept(range(10), 1.0, without=3), *kept(range(20, 30), 2.0, without=25)], SET_ASIDE)
REPLACED = kept(range(12), 3.0, without=5)
REPLACED_ASIDE = [(5, "hoogstens_duizend"), (6, "dubbel"), (7, "dubbel")]
LANDED: Seen = (kept(range(10), 1.0, without=3), [(3, "niet_negatief")])

SCENARIOS: Mapping[str, Scenario] = {
    "first write": Scenario(VALUES.path, no_pass, write_both_days, NO_TABLE, BOTH_DAYS),
    "replacement": Scenario(
        VALUES.path,
        write_both_days,
        replace_a_day,
        BOTH_DAYS,
        ([*REPLACED, *kept(range(20, 30), 2.0, without=25)], [*REPLACED_ASIDE, *SET_ASIDE[2:]]),
    ),
    "first rows set aside": Scenario(
        VALUES.path,
        write_both_days_whole,
        replace_a_day,
        ([*kept(range(10), 1.0), *kept(range(20, 30), 2.0)], []),
        ([*REPLACED, *kept(range(20, 30), 2.0)], REPLACED_ASIDE),
    ),
    "landing": Scenario(
        RAW,
        land_a_file_and_drop_another,
        land,
        LANDED,
        ([*LANDED[0], *kept(range(10, 20), 2.0, without=15)], [*LANDED[1], (15, "niet_negatief")]),
    ),
}


# -- Killing ---------------------------------------------------------------------------------------------


def dies_in(writes: int, what: str, name: str, home: Path) -> None:
    """In the process that dies: make all commits but the last of so many, and of that one move the files."""
    moved = 0
    original = Lake._take_in

    def deadly(*args: Any, **kwargs: Any) -> Any:
        nonlocal moved
        added = original(*args, **kwargs)
        moved += 1
        if moved == writes:
            os._exit(KILLED)
        return added

    Lake._take_in = deadly  # type: ignore[method-assign]
    scenario = SCENARIOS[name]
    assert what == "act"
    scenario.act(scenario.house(home))


def dies_after(writes: int, what: str, name: str, home: Path) -> None:
    """In the process that dies: make so many commits to the lake, and not a step more."""
    made = 0

    def deadly(original: Callable[..., int]) -> Callable[..., int]:
        def wrapped(*args: Any, **kwargs: Any) -> int:
            nonlocal made
            if writes == 0:
                os._exit(KILLED)
            version = original(*args, **kwargs)
            made += 1
            if made == writes:
                os._exit(KILLED)
            return version

        return wrapped

    for method in ("commit", "restore"):
        setattr(Lake, method, deadly(getattr(Lake, method)))
    scenario = SCENARIOS[name]
    house = scenario.house(home)
    if what == "mend":
        house.platform.gate.mend(scenario.table)
    else:
        scenario.act(house)


# -- What stands -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Standing:
    """All that a kill could have spoilt."""

    rows: list[dict[str, Any]]
    set_aside: list[dict[str, Any]]
    """Of the version of the quarantine that the table's stamp names."""
    set_aside_at_head: list[dict[str, Any]]
    ledger: list[str]
    """Passes of which the ledger does not say what came of them; none when all is well."""
    counts: dict[str, float]
    """What the ledger says of the last pass that ended well."""
    verdicts: list[tuple[str, bool, float]]
    staged_files: list[str]
    unnamed_files: list[str]
    """In the folders of the table and its quarantine, named by no version."""
    inbox: list[str]


def standing(scenario: Scenario, house: House) -> Standing:
    table = scenario.table
    done = house.entries(table, "gereed")[-1:]
    last = house.platform.ledger.last_verdicts(table)[["regel", "is_geslaagd", "beoordeeld"]]
    inbox = house.home / "inbox"
    return Standing(
        house.rows(table),
        house.quarantine(table),
        house.rows(table + QUARANTINE),
        ledger_faults(house, table),
        {k: e[k] for e in done for k in ("rijen_in", "rijen", "rijen_in_quarantaine") if e[k] == e[k]},
        sorted(last.itertuples(index=False, name=None)),
        house.staged_files(),
        unnamed_files(house, table) + unnamed_files(house, table + QUARANTINE),
        sorted(str(p.relative_to(inbox)) for p in inbox.rglob("*.csv")),
    )


def unnamed_files(house: House, table: str) -> list[str]:
    folder = house.platform.lake.folder(table)
    log = "".join(p.read_text(encoding="utf-8") for p in folder.glob("_delta_log/*.json"))
    return sorted(p.name for p in folder.rglob("*.parquet") if p.name not in log)


def ledger_faults(house: House, table: str) -> list[str]:
    """Passes that the ledger calls otherwise than the table's own log does."""
    committed: dict[str, int] = {}
    if house.version(table) is not None:
        for commit in house.delta(table).history():
            committed[json.loads(commit["koploper"])["gang"]] = commit["version"]
    begun = Counter(e["gang"] for e in house.entries(table, "begonnen"))
    done = [(e["gang"], e["versie"]) for e in house.entries(table, "gereed")]
    ended = Counter([g for g, _ in done] + [e["gang"] for e in house.entries(table, "afgebroken")])
    return [
        *(f"{n} ended {ended[n]} times" for n in begun if ended[n] != 1),
        *(f"{n} ended without a beginning" for n in ended if n not in begun),
        *(f"{n} is called done at {v}" for n, v in done if committed.get(n) != v),
        *(f"{n} is not called done" for n in committed if n not in dict(done)),
    ]


def seen(scenario: Scenario, house: House) -> Seen:
    """What a reader sees, in few words."""
    rows = [(int(r["nr"]), float(r["waarde"])) for r in house.rows(scenario.table)]
    aside = [(int(json.loads(r["rij"])["nr"]), r["reden"]) for r in house.quarantine(scenario.table)]
    return sorted(rows), sorted(aside)


def differing(one: Standing, other: Standing) -> set[str]:
    return {f.name for f in fields(Standing) if getattr(one, f.name) != getattr(other, f.name)}


class Undisturbed:
    """What stands without a kill, made once for each scenario."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.made: dict[str, Standing] = {}

    def of(self, name: str) -> Standing:
        if name not in self.made:
            scenario, home = SCENARIOS[name], self.folder / name.replace(" ", "_")
            scenario.prepare(scenario.house(home))
            # In the same way as the killed one; that it ends by itself shows that WRITES are all there are.
            assert in_process(dies_after, len(WRITES) + 1, "act", name, home) == 0
            house = scenario.house(home)
            assert seen(scenario, house) == scenario.new
            self.made[name] = standing(scenario, house)
        return self.made[name]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Undisturbed]:
    yield Undisturbed(tmp_path_factory.mktemp("undisturbed"))


def kill(name: str, writes: int, home: Path, dies: Callable[..., None] = dies_after) -> Seen:
    """Let the scenario's pass die after (or in) so many writes; what readers must see from then on."""
    scenario = SCENARIOS[name]
    scenario.prepare(scenario.house(home))
    assert in_process(dies, writes, "act", name, home) == KILLED
    made = writes if dies is dies_after else writes - 1
    return scenario.new if made >= TABLE else scenario.old


def check_mended(name: str, expected: Seen, home: Path, undisturbed: Undisturbed) -> None:
    """After a kill, and before anything is made again: whole to readers, and after a mend without a trace."""
    scenario = SCENARIOS[name]
    assert seen(scenario, scenario.house(home)) == expected
    house = scenario.house(home)
    house.platform.gate.mend(scenario.table)
    assert seen(scenario, house) == expected
    mended = standing(scenario, house)
    assert mended.set_aside_at_head == mended.set_aside
    assert mended.ledger == []
    assert mended.staged_files == []
    assert mended.unnamed_files == []
    scenario.act(scenario.house(home))
    assert differing(standing(scenario, scenario.house(home)), undisturbed.of(name)) == set()


# -- The tests -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "writes"), [("first write", ASIDE), ("replacement", TABLE), ("landing", ASIDE)]
)
def test_the_next_start_mends_a_kill(
    name: str, writes: int, tmp_path: Path, undisturbed: Undisturbed
) -> None:
    check_mended(name, kill(name, writes, tmp_path), tmp_path, undisturbed)


@pytest.mark.full
@pytest.mark.parametrize("writes", [NOTHING, BEGUN, ASIDE, TABLE, DONE])
@pytest.mark.parametrize("name", SCENARIOS)
def test_the_next_start_mends_a_kill_after_any_write(
    name: str, writes: int, tmp_path: Path, undisturbed: Undisturbed
) -> None:
    check_mended(name, kill(name, writes, tmp_path), tmp_path, undisturbed)


@pytest.mark.parametrize(("name", "writes"), [("replacement", ASIDE), ("landing", TABLE)])
def test_the_next_start_clears_files_that_no_version_names(
    name: str, writes: int, tmp_path: Path, undisturbed: Undisturbed
) -> None:
    check_mended(name, kill(name, writes, tmp_path, dies_in), tmp_path, undisturbed)


@pytest.mark.full
@pytest.mark.parametrize("writes", [BEGUN, ASIDE, TABLE, DONE])
@pytest.mark.parametrize("name", SCENARIOS)
def test_the_next_start_mends_a_kill_in_any_write(
    name: str, writes: int, tmp_path: Path, undisturbed: Undisturbed
) -> None:
    check_mended(name, kill(name, writes, tmp_path, dies_in), tmp_path, undisturbed)


@pytest.mark.full
@pytest.mark.parametrize(
    ("writes", "writes_of_mend"), [(ASIDE, 0), (ASIDE, 1), (ASIDE, 2), (TABLE, 0), (TABLE, 1)]
)
@pytest.mark.parametrize("name", SCENARIOS)
def test_a_kill_while_mending_is_mended_too(
    name: str, writes: int, writes_of_mend: int, tmp_path: Path, undisturbed: Undisturbed
) -> None:
    expected = kill(name, writes, tmp_path)
    assert in_process(dies_after, writes_of_mend, "mend", name, tmp_path) == KILLED
    check_mended(name, expected, tmp_path, undisturbed)


def test_what_was_staged_in_one_file_before_is_cleared_too(tmp_path: Path) -> None:
    house = SCENARIOS["landing"].house(tmp_path)
    (house.platform.lake.staging / f"{RAW.replace('/', '__')}.abc.parquet").touch()
    house.platform.gate.mend(RAW)
    assert house.staged_files() == []


def test_without_mending_the_kill_shows(
    tmp_path: Path, undisturbed: Undisturbed, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "landing"
    kill(name, ASIDE, tmp_path)
    scenario = SCENARIOS[name]
    monkeypatch.setattr(Gate, "_mend", lambda gate, table: None)
    with pytest.raises(AssertionError):
        check_mended(name, scenario.old, tmp_path, undisturbed)
    # Landed again on top of what the killed pass had set aside.
    scenario.act(scenario.house(tmp_path))
    found = standing(scenario, scenario.house(tmp_path))
    spoilt = {"set_aside", "set_aside_at_head", "ledger", "staged_files"}
    assert differing(found, undisturbed.of(name)) == spoilt
    assert seen(scenario, scenario.house(tmp_path))[1].count((15, "niet_negatief")) == 2
