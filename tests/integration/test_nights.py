"""The real file in ten parts on ten nights, in any order, with failures among them: always the same tables.

The tables of ten nights are compared with those of one night that got the file whole, in all columns but the
stamps. Great Expectations judges counts here (`small_table_rows=0`), which changes no verdict and halves the
time; the nights run without Dagster, which test_automation.py shows to make the same tables.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import random
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import duckdb
import pandas as pd
import pytest
import toolbox

from koploper_pipelines.automation.night import FETCH, RANGE_START, next_run
from koploper_pipelines.contracts import Expectation, Rule
from koploper_pipelines.gates.step import Platform, run_table
from koploper_pipelines.methods.snuffelfiets import cleaning

pytestmark = toolbox.WARNINGS_OF_OTHERS

Cut = Literal["contiguous", "at random"]
TEN = range(10)
FIRST_NIGHT = datetime(2024, 11, 20, 1, 30, tzinfo=UTC)
"""After the last receipt in the file: no row can be delivered before it was received."""
NIGHTS_LATER = (0, 1, 2, 3, 4, 6, 9, 12, 17, 20)
"""The month closes between the ninth night and the tenth."""
ADVANCING = tuple(FIRST_NIGHT + timedelta(days=n) for n in NIGHTS_LATER)
STANDING_STILL = (ADVANCING[-1],) * 10
RAW, CLEANED = "snuffelfiets/raw/metingen", "snuffelfiets/cleaned/metingen"
KILLED = 9
WRITES_A_NIGHT, TRUNK_WRITES = 45, 22
"""A night in which every table changes makes a few more commits than this."""


FIGURES = ("overzicht", "pm25_cel", "pm25_gemeente", "ritten_verdeling")
"""Published tables of the trunk."""


A_MONTH_A_RUN = 1
"""Rows, more than which are never made in one run together: what lies at the borders must be right too."""


def platform_at(home: Path, now: datetime, *, trunk: bool, run_rows: int = A_MONTH_A_RUN) -> Platform:
    """The installation; of the trunk alone: the first published tables, and what these are made of."""
    platform = toolbox.installation(home, now, small_table_rows=0, run_rows=run_rows)
    if not trunk:
        return platform
    kept = {f"{toolbox.EXPERIMENT}/published/{name}" for name in FIGURES}
    kept |= {p for p in platform.tables if p.startswith("publicatie/")}
    for path in reversed(platform.tables):
        # What a table is made of comes before it, so that one look from behind finds all.
        if path in kept and not path.startswith("publicatie/"):
            kept |= {r.table for r in platform.tables[path].reads}
    assert len(kept) < len(platform.tables) / 2
    return dataclasses.replace(platform, tables={p: t for p, t in platform.tables.items() if p in kept})


@pytest.fixture(scope="module")
def real_text(real_data: Callable[[str], Path]) -> str:
    return real_data(toolbox.REAL_FILE).read_text()


def one_night(home: Path, real_text: str, *, trunk: bool) -> toolbox.Standing:
    toolbox.drop(home, "metingen.csv", real_text)
    # All days at once, so that months apart are held against that.
    platform = platform_at(home, ADVANCING[-1], trunk=trunk, run_rows=1_000_000)
    toolbox.direct_night(platform)
    return toolbox.standing(platform)


@pytest.fixture(scope="module")
def in_one_night(real_text: str, tmp_path_factory: pytest.TempPathFactory) -> toolbox.Standing:
    return one_night(tmp_path_factory.mktemp("whole") / "home", real_text, trunk=False)


@pytest.fixture(scope="module")
def trunk_in_one_night(real_text: str, tmp_path_factory: pytest.TempPathFactory) -> toolbox.Standing:
    return one_night(tmp_path_factory.mktemp("trunk") / "home", real_text, trunk=True)


def test_ten_nights_with_a_failed_gate_and_a_kill_make_the_tables_of_one(
    trunk_in_one_night: toolbox.Standing, real_text: str, tmp_path: Path
) -> None:
    """The tables that all others are made of; these come with `make nights`."""
    parts = shuffled(cut(real_text, "at random", seed=2), seed=2)
    after = ten_nights(tmp_path / "home", parts, ADVANCING, with_failures=2, trunk=True)
    assert set(figures(after)) == {f"{toolbox.EXPERIMENT}_{name}" for name in FIGURES}
    assert toolbox.differing(trunk_in_one_night.tables, after.tables) == []
    assert toolbox.differing(figures(trunk_in_one_night), figures(after)) == []


@pytest.mark.full
@pytest.mark.parametrize("with_failures", [None, 11, 12, 13])
@pytest.mark.parametrize("clock", [ADVANCING, STANDING_STILL], ids=["advancing", "standing still"])
@pytest.mark.parametrize(("how", "seed"), [("contiguous", 4), ("at random", 4), ("at random", 5)])
def test_ten_nights_in_any_order_make_the_tables_of_one(
    in_one_night: toolbox.Standing,
    real_text: str,
    tmp_path: Path,
    how: Cut,
    seed: int,
    clock: Sequence[datetime],
    with_failures: int | None,
) -> None:
    parts = shuffled(cut(real_text, how, seed), seed)
    after = ten_nights(tmp_path / "home", parts, clock, with_failures, trunk=False)
    assert toolbox.differing(in_one_night.tables, after.tables) == []
    assert toolbox.differing(figures(in_one_night), figures(after)) == []


def test_days_that_only_border_on_landed_ones_come_last_since_no_table_may_begin_empty(
    real_text: str, tmp_path: Path
) -> None:
    header, rows = toolbox.csv_rows(real_text)
    platform = platform_at(tmp_path / "home", ADVANCING[-1], trunk=True)
    cleaned = platform.tables[CLEANED]
    toolbox.drop(
        tmp_path / "home", "1.csv", toolbox.csv_text(header, on_day("2024-11-01", header, rows[:100]))
    )
    run_table(platform, platform.tables[RAW], run_id="landing")
    assert "2024-10-31" in platform.plan().pending_of(cleaned)
    following = next_run(platform, "n", [(FETCH, "")])
    assert following is not None and following.tags[RANGE_START] == "2024-11-01"
    assert run_table(platform, cleaned, run_id="n", chosen=["2024-11-01"]).passed
    assert run_table(platform, cleaned, run_id="n", chosen=["2024-10-31"]).passed
    # Counter-test: a month of errors alone is refused as a beginning, and taken once other months are in.
    broken = on_day("2024-09-11", header, rows[:50])
    for row in broken:
        row[header.index("error_code")] = "512"
    other = platform_at(tmp_path / "other", ADVANCING[-1], trunk=True)
    toolbox.drop(tmp_path / "other", "2.csv", toolbox.csv_text(header, broken))
    toolbox.drop(tmp_path / "other", "3.csv", toolbox.csv_text(header, rows[:100]))
    run_table(other, other.tables[RAW], run_id="landing")
    assert not run_table(other, cleaned, run_id="n", chosen=["2024-09-11"]).passed
    assert run_table(other, cleaned, run_id="n", chosen=["2024-11-11"]).passed
    assert run_table(other, cleaned, run_id="n", chosen=["2024-09-11"]).passed
    assert len(toolbox.quarantine(other, CLEANED).query("partitie == '2024-09-11'")) == len(broken)


def on_day(day: str, header: Sequence[str], rows: Sequence[list[str]]) -> list[list[str]]:
    """The rows, with both clocks on another day."""
    clocks = [header.index(f"{clock}_timestamp") for clock in ("recording", "receive")]
    return [[f"{day}{v[10:]}" if i in clocks else v for i, v in enumerate(row)] for row in rows]


def test_the_comparison_sees_the_smallest_difference(trunk_in_one_night: toolbox.Standing) -> None:
    rides = trunk_in_one_night.tables["snuffelfiets/cleaned/ritten"]
    altered = rides.assign(
        afstand_km=rides["afstand_km"].where(rides.index > 0, rides["afstand_km"] * (1 + 1e-15))
    )
    for other in (
        altered,
        rides.iloc[1:].reset_index(drop=True),
        rides.astype({"aantal_metingen": "float64"}),
    ):
        changed = {**trunk_in_one_night.tables, "snuffelfiets/cleaned/ritten": other}
        assert toolbox.differing(trunk_in_one_night.tables, changed) == ["snuffelfiets/cleaned/ritten"]


def test_the_cut_separates_rows_that_are_judged_together(real_text: str) -> None:
    """A platform that judged each delivery on its own would not keep the rows of the whole file."""
    whole = len(usable([real_text]))
    assert whole == 2567
    for how in ("contiguous", "at random"):
        parts = cut(real_text, how, seed=2)
        assert len(usable(parts)) != whole


# -- The file in ten -------------------------------------------------------------------------------------


def cut(text: str, how: Cut, seed: int) -> list[str]:
    """The file in ten parts that together hold each row once."""
    header, rows = toolbox.csv_rows(text)
    if how == "contiguous":
        place = [i * 10 // len(rows) for i in range(len(rows))]
    else:
        place = random.Random(seed).choices(TEN, k=len(rows))
    return [
        toolbox.csv_text(header, [r for r, p in zip(rows, place, strict=True) if p == part]) for part in TEN
    ]


def shuffled(parts: Sequence[str], seed: int) -> list[str]:
    return random.Random(seed).sample(parts, k=len(parts))


def usable(deliveries: Sequence[str]) -> list[int]:
    """Numbers of the rows that cleaning keeps when it sees each delivery alone."""
    kept: list[int] = []
    for text in deliveries:
        header, rows = toolbox.csv_rows(text)
        with duckdb.connect() as con:
            columns = ", ".join(f'"{c}" VARCHAR' for c in header)
            con.execute(f"CREATE TABLE csv ({columns})")
            con.executemany(f"INSERT INTO csv VALUES ({', '.join('?' * len(header))})", rows)
            raw = con.sql(
                "SELECT 'f' AS bestand, row_number() OVER () AS rij, TIMESTAMPTZ '2024-12-01' AS geland_op,"
                " recording_timestamp::TIMESTAMP::DATE AS opnamedatum, entity_id AS apparaat,"
                " * EXCLUDE (entity_id) FROM csv"
            )
            judged = cleaning.judge(con, raw, cleaning.CleaningRules())
            kept += [n for (n,) in cleaning.kept(judged).project("bron_id").fetchall()]
    return kept


# -- Ten nights ------------------------------------------------------------------------------------------


def ten_nights(
    home: Path, parts: Sequence[str], clock: Sequence[datetime], with_failures: int | None, *, trunk: bool
) -> toolbox.Standing:
    """Deliver a part a night; with failures the gate fails on the third night and a kill ends the seventh."""
    for number, (part, now) in enumerate(zip(parts, clock, strict=True), start=1):
        toolbox.drop(home, f"nacht {number}.csv", part)
        platform = platform_at(home, now, trunk=trunk)
        if with_failures is not None and number == 3:
            a_night_with_a_failing_gate(platform)
        elif with_failures is not None and number == 7:
            number_of_writes = TRUNK_WRITES if trunk else WRITES_A_NIGHT
            write = random.Random(with_failures).randint(1, number_of_writes)
            a_killed_night(home, now, write, trunk=trunk)
        else:
            came_to = toolbox.direct_night(platform)
            assert came_to.held_back == {}
            assert came_to.refusals == []
            assert platform.plan().pending() == []
    return toolbox.standing(platform_at(home, clock[-1], trunk=trunk))


def a_night_with_a_failing_gate(platform: Platform) -> None:
    """A rule that was made too strict by mistake holds back the larger of the two days."""
    before = toolbox.lake_table(platform, CLEANED)
    per_day = before["meetdag"].astype("str").value_counts()
    assert per_day.index[0] == "2024-11-12"
    of_the_other = per_day.get("2024-11-11", 0)
    assert of_the_other < 250 < per_day.iloc[0]
    table = platform.tables[CLEANED]
    strict = Rule(
        name="te_streng",
        description="Ten hoogste 250 rijen op een dag.",
        reason="Een vergissing.",
        severity="critical",
        scope="partitie",
        dimension="accuracy",
        expectations=(Expectation("expect_table_row_count_to_be_between", {"max_value": 250}),),
    )
    contract = dataclasses.replace(table.contract, rules=(*table.contract.rules, strict))
    mistaken = dataclasses.replace(
        platform, tables={**platform.tables, CLEANED: dataclasses.replace(table, contract=contract)}
    )
    came_to = toolbox.direct_night(mistaken)
    assert came_to.held_back[CLEANED] == {"2024-11-12"}
    # Other tables do not take yesterday's rows of a day that breaks today's rules.
    assert any("te_streng" in r for r in came_to.refusals)
    after = toolbox.lake_table(platform, CLEANED)["meetdag"].astype("str").value_counts()
    assert after["2024-11-12"] == per_day["2024-11-12"]
    assert after["2024-11-11"] > of_the_other
    assert "2024-11-12" in platform.plan().pending_of(platform.tables[CLEANED])


def a_killed_night(home: Path, now: datetime, write: int, *, trunk: bool) -> None:
    """A night in a process of its own that dies, without any cleaning up, just before or after a commit."""
    code = f"import test_nights; test_nights.die_at({str(home)!r}, {now.isoformat()!r}, {write}, {trunk})"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == KILLED, done.stderr


def die_at(home: str, now: str, write: int, trunk: bool) -> None:
    """In the process that dies: odd writes are not made any more, even ones just are."""
    platform = platform_at(Path(home), datetime.fromisoformat(now), trunk=trunk)
    commit, so_far = platform.lake.commit, iter(range(1, 10_000))

    @functools.wraps(commit)
    def deadly(*args: object, **kwargs: object) -> int:
        number = next(so_far)
        if number == write and write % 2:
            os._exit(KILLED)
        version = commit(*args, **kwargs)  # type: ignore[arg-type]
        if number == write:
            os._exit(KILLED)
        return version

    platform.lake.commit = deadly  # type: ignore[method-assign]
    toolbox.direct_night(platform)


def figures(standing: toolbox.Standing) -> dict[str, pd.DataFrame]:
    """The published tables of the experiment."""
    return {n: t for n, t in standing.published.items() if n.startswith(toolbox.EXPERIMENT)}
