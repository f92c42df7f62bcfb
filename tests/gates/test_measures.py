"""Counting a rule in the database and having Great Expectations judge the rows say the same.

The rows are random, from few values, so that limits, doubles and missing values are hit often; the two ways
share no code but the names of the expectations.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from gatehouse import House, Row, arrow, column, connection, contract, rule

from koploper_pipelines.contracts import Contract, Expectation, Rule
from koploper_pipelines.contracts.model import Scope
from koploper_pipelines.gates.audit import Staged, Verdict, judge_rules
from koploper_pipelines.gates.measures import EXPECTATION_TYPES, ROW_CONDITIONS

NUMBERS = (None, -1.5, 0.0, 0.5, 1.0, 1.0, 2.0, 1e9)
WHOLES = (None, -1, 0, 1, 1, 2, 2**53)
WORDS = (None, "a", "b", "ab", "ab\n", "", "A'b", "é")
DAYS = (None, "2024-02-29", "2024-03-01", "2023-12-31")
MOMENTS = (None, "2024-03-31T00:59:59+00:00", "2024-03-31T01:00:00+00:00", "2018-01-01T00:00:00+00:00")
CHOICES: Mapping[str, tuple[Any, ...]] = {
    "getal": NUMBERS,
    "ander": NUMBERS,
    "heel": WHOLES,
    "woord": WORDS,
    "dag": DAYS,
    "moment": MOMENTS,
}
CONTRACT = contract(
    "proef/raw/maten",
    {
        "nr": column("integer", key=True),
        "getal": column("number"),
        "ander": column("number"),
        "heel": column("integer"),
        "woord": column("string"),
        "dag": column("date"),
        "moment": column("timestamp"),
    },
    empty="proef",
)
Draw = Callable[[random.Random], dict[str, Any]]


def _limits(rng: random.Random, values: tuple[Any, ...]) -> dict[str, Any]:
    low, high = sorted(rng.choices([v for v in values if v is not None], k=2))
    return rng.choice([{"min_value": low}, {"max_value": high}, {"min_value": low, "max_value": high}])


def _between(rng: random.Random) -> dict[str, Any]:
    name = rng.choice(["getal", "heel", "dag", "moment"])
    return {"column": name, **_limits(rng, CHOICES[name]), **_mostly(rng)}


def _mostly(rng: random.Random) -> dict[str, Any]:
    return rng.choice([{}, {"mostly": 0.5}, {"mostly": 0.9}])


def _in_set(rng: random.Random) -> dict[str, Any]:
    name = rng.choice(["woord", "heel"])
    chosen = rng.sample([v for v in dict.fromkeys(CHOICES[name]) if v is not None], k=3)
    return {"column": name, "value_set": chosen, **_mostly(rng)}


def _aggregate(rng: random.Random) -> dict[str, Any]:
    return {"column": rng.choice(["getal", "heel"]), **_limits(rng, (-3.0, 0.0, 0.25, 0.5, 1.0, 2.0, 5.0))}


# How to draw arguments for each type that a contract may use.
ARGUMENTS: Mapping[str, Draw] = {
    "expect_column_values_to_be_between": _between,
    "expect_column_values_to_be_in_set": _in_set,
    "expect_column_values_to_match_regex": lambda rng: {
        "column": "woord",
        "regex": rng.choice(["^[a-z]$", "^[a-z]+$", "b", "^$", "^(a|é)$"]),
        **_mostly(rng),
    },
    "expect_column_pair_values_a_to_be_greater_than_b": lambda rng: {
        "column_A": "getal",
        "column_B": "ander",
        "or_equal": rng.random() < 0.5,
        "ignore_row_if": "either_value_is_missing",
    },
    "expect_column_values_to_not_be_null": lambda rng: {"column": rng.choice(list(CHOICES)), **_mostly(rng)},
    "expect_column_values_to_be_unique": lambda rng: {"column": rng.choice(list(CHOICES))},
    "expect_compound_columns_to_be_unique": lambda rng: {
        "column_list": rng.sample(list(CHOICES), k=rng.choice([2, 3]))
    },
    "expect_table_row_count_to_be_between": lambda rng: _limits(rng, (0, 1, 2, 5, 12)),
    "expect_column_sum_to_be_between": _aggregate,
    "expect_column_mean_to_be_between": _aggregate,
    "expect_column_median_to_be_between": _aggregate,
    "expect_column_unique_value_count_to_be_between": lambda rng: {
        "column": rng.choice(list(CHOICES)),
        **_limits(rng, (0, 1, 2, 3, 5)),
    },
}


def test_every_type_is_compared() -> None:
    assert set(ARGUMENTS) == EXPECTATION_TYPES


def _rule(name: str, kind: str, kwargs: Mapping[str, Any]) -> Rule:
    scope: Scope = "rij" if kind in ROW_CONDITIONS and "mostly" not in kwargs else "tabel"
    return Rule(name, "", "", "critical", scope, "accuracy", (Expectation(kind, kwargs),))


def _rows(rng: random.Random, number: int, share_missing: float) -> list[Row]:
    def value(name: str) -> Any:
        return None if rng.random() < share_missing else rng.choice(CHOICES[name])

    return [{"nr": i, **{c: value(c) for c in CHOICES}} for i in range(number)]


def _said(verdict: Verdict) -> tuple[bool, bool, int]:
    """What both ways must agree on; the number of rows for row rules only, by which rows are set aside."""
    return verdict.evaluable, verdict.passed, verdict.unexpected if verdict.rule.scope == "rij" else 0


def _judged(rows: list[Row], rules: list[Rule], contract: Contract, *, direct: bool) -> list[Verdict]:
    with connection() as con:
        con.from_arrow(arrow(contract, rows)).create("maten")
        staged = Staged(con, "maten", contract, {})
        return judge_rules(staged, rules, ["*"], rows_as_they_are=direct)


def _random_rules(rng: random.Random, number: int) -> list[Rule]:
    return [_rule(f"{kind}_{i}", kind, draw(rng)) for kind, draw in ARGUMENTS.items() for i in range(number)]


@pytest.mark.parametrize(
    ("number", "missing", "may_be_empty"),
    [
        (0, 0.0, True),
        (0, 0.0, False),
        (1, 0.0, True),
        (3, 0.5, True),
        (6, 1.0, True),
        (6, 1.0, False),
        (12, 0.0, False),
        (30, 0.3, True),
    ],
)
def test_both_ways_agree(number: int, missing: float, may_be_empty: bool) -> None:
    rng = random.Random(number + round(10 * missing))
    rows, rules = _rows(rng, number, missing), _random_rules(rng, 4)
    told = replace(CONTRACT, empty_because="proef" if may_be_empty else None)
    direct = _judged(rows, rules, told, direct=True)
    counted = _judged(rows, rules, told, direct=False)
    assert [(v.rule, _said(v)) for v in direct] == [(v.rule, _said(v)) for v in counted]
    if number >= 12:
        # The comparison is worth something: rules pass and fail, and all could be judged.
        assert {v.passed for v in direct} == {True, False}
        assert all(v.evaluable for v in direct)


def test_a_partition_is_judged_as_if_it_were_alone() -> None:
    rng = random.Random(7)
    rules = _random_rules(rng, 3)
    split = replace(CONTRACT, partition="dag")
    rows = _rows(rng, 30, 0.1)
    names = [*(d for d in DAYS if d), "onbekend", "2025-01-01"]
    with connection() as con:
        con.from_arrow(arrow(split, rows)).create("maten")
        staged = Staged(con, "maten", split, {})
        per_day = judge_rules(
            staged, [replace(r, scope="partitie") for r in rules], names, rows_as_they_are=False
        )
    broken: dict[str, set[str]] = {r.name: set() for r in rules}
    unable: set[str] = set()
    for name in names:
        alone = [r for r in rows if (r["dag"] or "onbekend") == name]
        for verdict in _judged(alone, rules, CONTRACT, direct=True):
            if not verdict.evaluable:
                unable.add(verdict.rule.name)
            elif not verdict.passed:
                broken[verdict.rule.name].add(name)
    assert {v.rule.name for v in per_day if not v.evaluable} == unable
    judged = {v.rule.name: set(v.partitions) for v in per_day if v.evaluable}
    assert judged == {name: days for name, days in broken.items() if name not in unable}
    assert any(judged.values())


def test_a_missing_number_is_the_same_as_none(tmp_path: Path) -> None:
    """pandas writes NaN: it breaks not-null as NULL does, and counts in no mean, both ways."""
    told = contract(
        "proef/raw/nan",
        {"nr": column("integer", key=True), "getal": column("number", required=True, minimum=0)},
        rules=[rule("gemiddelde", "tabel", "expect_column_mean_to_be_between", column="getal", max_value=2)],
    )
    rows = pa.table({"nr": list(range(20)), "getal": pa.array([float("nan"), *[2.0] * 19], pa.float64())})
    for small in (20_000, 0):
        house = House(tmp_path / str(small), small_table_rows=small)
        outcome = house.admit(told, rows, partitions=["*"])
        assert outcome.passed, outcome.report
        assert [r["reden"] for r in house.quarantine(told.path)] == ["verplichte_kolommen_gevuld"]
        assert len(house.rows(told.path)) == 19
        seen = {v.rule.name: (v.passed, v.observed) for v in outcome.verdicts}
        assert seen["gemiddelde"] == (True, 2.0)


def test_what_great_expectations_cannot_make_is_not_evaluable() -> None:
    """A rule with a limit, a column or a name that does not exist is no error in the rows."""
    wrong = [
        _rule("onzin_limiet", "expect_table_row_count_to_be_between", {"min_value": "een"}),
        _rule("geen_getal", "expect_column_sum_to_be_between", {"column": "woord", "max_value": 1}),
        _rule("geen_kolom", "expect_column_values_to_not_be_null", {"column": "weg"}),
        _rule("geen_argument", "expect_column_values_to_not_be_null", {}),
        _rule("geen_regel", "expect_column_values_to_be_nice", {"column": "woord"}),
    ]
    sound = _rule("goed", "expect_table_row_count_to_be_between", {"min_value": 1})
    rows = _rows(random.Random(1), 12, 0.0)
    for direct in (True, False):
        verdicts = _judged(rows, [*wrong, sound], CONTRACT, direct=direct)
        assert [v.evaluable for v in verdicts] == [False] * len(wrong) + [True], direct
        assert all(v.message.startswith("could not be evaluated: ") for v in verdicts[:-1])
        assert all(v.closes_gate for v in verdicts[:-1])


def test_counts_that_differ_close_the_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows to set aside are found in the database: it must see the rows that Great Expectations saw."""
    bounds = _rule("bereik", "expect_column_values_to_be_between", {"column": "getal", "min_value": 0})
    rows = [{"nr": 1, "getal": -1.0}, {"nr": 2, "getal": 1.0}]
    (sound,) = _judged(rows, [bounds], CONTRACT, direct=True)
    assert (sound.evaluable, sound.unexpected) == (True, 1)
    monkeypatch.setattr("koploper_pipelines.gates.measures.violated", lambda expectation: "getal < -5")
    (doubtful,) = _judged(rows, [bounds], CONTRACT, direct=True)
    assert (doubtful.evaluable, doubtful.closes_gate) == (False, True)
    assert "Great Expectations counts 1 rows, the database 0" in doubtful.message
