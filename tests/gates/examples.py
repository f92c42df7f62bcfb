"""Example rows for any contract, and for each of its rules rows just inside and just outside.

Made from what the contract says: types, ranges, sets, patterns and keys of the columns, limits and control
totals of the rules. An expectation that nobody has told how to break is an error (`Untold`): a rule that
cannot be shown to fail is not a rule.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from koploper_pipelines.contracts import Column, Contract, Expectation, Rule

PARAMETER = "$PARAMETER"
EPOCH = {"date": date(2018, 1, 1), "timestamp": datetime(2018, 1, 1, tzinfo=UTC)}
ROWS = 10
"""Rows of a case; a tenth of them is one."""
Values = dict[str, Any]


class Untold(LookupError):
    """Nobody has told how to make rows inside and outside this expectation."""


@dataclass(frozen=True)
class Change:
    """What makes one row lie just inside or just outside an expectation."""

    label: str
    is_inside: bool
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Case:
    """Rows of one partition that together lie just inside or just outside an expectation."""

    label: str
    is_inside: bool
    rows: Sequence[Values]
    controls: Mapping[str, Any] = field(default_factory=dict)


# -- Words -----------------------------------------------------------------------------------------------


@cache
def words(pattern: str) -> tuple[str, ...]:
    """Different texts that match a pattern from end to end; fewer when it allows no more."""
    found: dict[str, None] = {}

    @settings(
        max_examples=4 * ROWS,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.from_regex(pattern, fullmatch=True))
    def collect(word: str) -> None:
        if word.isascii() and word.isprintable():
            found.setdefault(word)

    collect()
    return tuple(found)[:ROWS]


def misspelt(pattern: str) -> list[str]:
    """Texts one step away from a pattern: one more, one less, another case, a line break at the end."""
    word = words(pattern)[0]
    candidates = [word + "x", word[:-1], "x" + word, word.swapcase(), word + "\n", word + "@"]
    wrong = [w for w in dict.fromkeys(candidates) if not re.search(re.sub(r"\$$", r"\\Z", pattern), w)]
    if not wrong:
        raise Untold(f"pattern {pattern!r}: nothing near {word!r} breaks it")
    return wrong


# -- Sound rows ------------------------------------------------------------------------------------------


def domain(column: Column, number: int) -> list[Any]:
    """Up to `number` different values that a column may have, the first the most ordinary."""
    if column.values is not None:
        return list(column.values[:number])
    if column.pattern is not None:
        return list(words(column.pattern)[:number])
    if column.type == "string":
        return [f"tekst {i}" for i in range(number)]
    if column.type == "boolean":
        return [True, False][:number]
    if column.type in EPOCH:
        start = _moment(column.type, column.minimum) if column.minimum is not None else EPOCH[column.type]
        return [start + timedelta(days=i + 1) for i in range(number)]
    low = -1000.0 if column.minimum is None else float(column.minimum)
    high = max(low, 0) + 1000.0 if column.maximum is None else float(column.maximum)
    if column.type == "integer":
        return list(range(int(low), int(high) + 1))[:number]
    return [low + (high - low) * (i + 1) / (number + 1) for i in range(number)]


def rows_of(contract: Contract, number: int, partition: int = 0) -> list[Values]:
    """Rows that satisfy all that the contract says of columns, key and pairs, all of one partition."""
    made: list[Values] = []
    for i in range(number):
        row: Values = {}
        rest = i
        for column in contract.columns:
            if column.name == contract.partition:
                row[column.name] = partition_values(contract)[partition]
            elif column.key:
                choices = domain(column, max(number, 4))
                row[column.name] = choices[rest % len(choices)]
                rest //= len(choices)
            else:
                row[column.name] = _ordinary(contract, column)
        for expectation in _all(contract, "expect_column_pair_values_a_to_be_greater_than_b"):
            a, b = expectation.kwargs["column_A"], expectation.kwargs["column_B"]
            row[b] = min(row[b], _step(contract.column(b), row[a], up=False))
        made.append(row)
    return made


def partition_values(contract: Contract) -> list[Any]:
    """Values of the partition column for some partitions."""
    if contract.partition is None:
        return [None]
    return domain(contract.column(contract.partition), 4)


def _ordinary(contract: Contract, column: Column) -> Any:
    """A value in the middle of what the column and the rules on it, its mean or its median allow."""
    for kind in ("expect_column_mean_to_be_between", "expect_column_median_to_be_between"):
        for expectation in _all(contract, kind):
            if expectation.kwargs["column"] == column.name:
                high = expectation.kwargs.get("max_value", column.maximum)
                low = expectation.kwargs.get("min_value", column.minimum)
                middle = (float(low) + float(high)) / 2
                return round(middle) if column.type == "integer" else middle
    return domain(_narrowed(contract, column), 3)[-1]


def _narrowed(contract: Contract, column: Column) -> Column:
    """The column within the plain limits of the rules on its single values."""
    for expectation in _all(contract, "expect_column_values_to_be_between"):
        if expectation.kwargs["column"] == column.name and not parameters(expectation):
            column = replace(
                column,
                minimum=expectation.kwargs.get("min_value", column.minimum),
                maximum=expectation.kwargs.get("max_value", column.maximum),
            )
    for expectation in _all(contract, "expect_column_values_to_be_in_set"):
        if expectation.kwargs["column"] == column.name and not parameters(expectation):
            column = replace(column, values=tuple(expectation.kwargs["value_set"]))
    return column


def _all(contract: Contract, kind: str) -> Iterator[Expectation]:
    return (e for r in contract.rules for e in r.expectations if e.type == kind)


def controls_of(contract: Contract, rows: Sequence[Values]) -> Values:
    """Control totals with which rows reconcile, for all rules of a contract."""
    found: Values = {}
    for rule in contract.rules:
        for expectation in rule.expectations:
            for name in parameters(expectation).values():
                found[name] = _observed(expectation, rows)
    return found


def _observed(expectation: Expectation, rows: Sequence[Values]) -> Any:
    column = expectation.kwargs.get("column", "")
    if expectation.type == "expect_table_row_count_to_be_between":
        return len(rows)
    if expectation.type == "expect_column_sum_to_be_between":
        return sum(r[column] for r in rows)
    if expectation.type == "expect_column_values_to_be_in_set":
        return sorted({r[column] for r in rows})
    raise Untold(f"{expectation.type} with a control total")


def parameters(expectation: Expectation) -> dict[str, str]:
    """Arguments that are control totals, with the total's name."""
    return {k: v[PARAMETER] for k, v in expectation.kwargs.items() if isinstance(v, dict) and PARAMETER in v}


# -- One row ---------------------------------------------------------------------------------------------


def changes(contract: Contract, expectation: Expectation) -> list[Change]:
    """What puts a row just inside and just outside an expectation on single rows."""
    if expectation.type not in ROW_MAKERS:
        raise Untold(f"{expectation.type} on a row")
    made = list(ROW_MAKERS[expectation.type](contract, expectation.kwargs))
    if {c.is_inside for c in made} != {True, False}:
        raise Untold(f"{expectation.type}{dict(expectation.kwargs)}: nothing inside, or nothing outside")
    return made


def _between(contract: Contract, kwargs: Mapping[str, Any]) -> Iterator[Change]:
    column = contract.column(kwargs["column"])
    for side, is_up in (("min_value", False), ("max_value", True)):
        if kwargs.get(side) is not None:
            limit = _moment(column.type, kwargs[side])
            yield Change(f"{column.name} op {side}", True, {column.name: limit})
            yield Change(
                f"{column.name} voorbij {side}", False, {column.name: _step(column, limit, up=is_up)}
            )


def _in_set(contract: Contract, kwargs: Mapping[str, Any]) -> Iterator[Change]:
    name, allowed = kwargs["column"], kwargs["value_set"]
    for value in allowed:
        yield Change(f"{name} is {value}", True, {name: value})
    for wrong in sorted({allowed[0] + "x", allowed[0].upper(), ""} - set(allowed)):
        yield Change(f"{name} is {wrong!r}", False, {name: wrong})


def _regex(contract: Contract, kwargs: Mapping[str, Any]) -> Iterator[Change]:
    name, pattern = kwargs["column"], kwargs["regex"]
    for word in words(pattern)[:4]:
        yield Change(f"{name} is {word!r}", True, {name: word})
    for word in misspelt(pattern):
        yield Change(f"{name} is {word!r}", False, {name: word})


def _pair(contract: Contract, kwargs: Mapping[str, Any]) -> Iterator[Change]:
    a, b = contract.column(kwargs["column_A"]), contract.column(kwargs["column_B"])
    base = domain(b, 3)[1]
    below, above = _step(a, base, up=False), _step(a, base, up=True)
    yield Change(f"{a.name} = {b.name}", bool(kwargs.get("or_equal")), {a.name: base, b.name: base})
    yield Change(f"{a.name} < {b.name}", False, {a.name: below, b.name: base})
    yield Change(f"{a.name} > {b.name}", True, {a.name: above, b.name: base})
    yield Change(f"{a.name} ontbreekt", True, {a.name: None, b.name: base})


def _not_null(contract: Contract, kwargs: Mapping[str, Any]) -> Iterator[Change]:
    column = contract.column(kwargs["column"])
    yield Change(f"{column.name} gevuld", True, {column.name: domain(column, 1)[0]})
    yield Change(f"{column.name} leeg", False, {column.name: None})


ROW_MAKERS: Mapping[str, Callable[[Contract, Mapping[str, Any]], Iterator[Change]]] = {
    "expect_column_values_to_be_between": _between,
    "expect_column_values_to_be_in_set": _in_set,
    "expect_column_values_to_match_regex": _regex,
    "expect_column_pair_values_a_to_be_greater_than_b": _pair,
    "expect_column_values_to_not_be_null": _not_null,
}


def _step(column: Column, value: Any, *, up: bool) -> Any:
    """The next value in a direction that is still a different one in the lake."""
    sign = 1 if up else -1
    if column.type == "date":
        return value + timedelta(days=sign)
    if column.type == "timestamp":
        return value + timedelta(microseconds=sign)
    if column.type == "integer":
        return int(value) + sign
    if column.decimals is not None:
        return round(value + sign * 10**-column.decimals, column.decimals)
    return math.nextafter(value, math.inf * sign)


def _moment(kind: str, value: Any) -> Any:
    """A limit as a value of the column: contracts write days and moments as text."""
    if kind == "date":
        return date.fromisoformat(value)
    if kind == "timestamp":
        return datetime.fromisoformat(value)
    return float(value) if kind == "number" else value


# -- A partition or a table --------------------------------------------------------------------------------


def cases(contract: Contract, expectation: Expectation, partition: int = 0) -> list[Case]:
    """Rows of one partition just inside and just outside an expectation, with the control totals."""
    base = rows_of(contract, ROWS, partition)
    if expectation.type in ROW_MAKERS:
        made = list(_cases_of_rows(contract, expectation, base))
    elif expectation.type in GROUP_MAKERS:
        made = list(GROUP_MAKERS[expectation.type](contract, expectation, base))
    else:
        raise Untold(f"{expectation.type} on a partition or table")
    if {c.is_inside for c in made} != {True, False}:
        raise Untold(f"{expectation.type}{dict(expectation.kwargs)}: nothing inside, or nothing outside")
    return made


def _cases_of_rows(contract: Contract, expectation: Expectation, base: list[Values]) -> Iterator[Case]:
    """An expectation on single rows: as many rows outside as it tolerates, and one more."""
    kwargs, controls = dict(expectation.kwargs), {}
    for argument, name in parameters(expectation).items():
        if expectation.type != "expect_column_values_to_be_in_set":
            raise Untold(f"{expectation.type} with a control total")
        kwargs[argument] = controls[name] = sorted({r[kwargs["column"]] for r in base})
    tolerated = round(ROWS * (1 - kwargs.pop("mostly", 1.0)))
    made = changes(contract, Expectation(expectation.type, kwargs))
    inside = [c.values for c in made if c.is_inside]
    yield Case("alles binnen", True, [{**r, **inside[i % len(inside)]} for i, r in enumerate(base)], controls)
    for change in (c for c in made if not c.is_inside):
        for number in sorted({tolerated, tolerated + 1} - {0}):
            rows = [{**r, **change.values} if i < number else r for i, r in enumerate(base)]
            yield Case(f"{number} × {change.label}", number == tolerated, rows, controls)


def _limited(
    expectation: Expectation, at: Callable[[Any], tuple[list[Values], Any]], step: Callable[[Any, bool], Any]
) -> Iterator[Case]:
    """Cases at and past each limit; `at` makes rows for which a value is observed, `step` is the next value.

    A limit that is a control total is put where the rows are; a plain one has the rows put there.
    """
    named = parameters(expectation)
    for side, is_up in (("min_value", False), ("max_value", True)):
        limit = expectation.kwargs.get(side)
        if limit is None:
            continue
        if side not in named:
            yield Case(f"op {side}", True, at(limit)[0])
            yield Case(f"voorbij {side}", False, at(step(limit, is_up))[0])
            continue
        rows, observed = at(None)
        yield Case(f"op {named[side]}", True, rows, {named[side]: observed})
        yield Case(f"voorbij {named[side]}", False, rows, {named[side]: step(observed, not is_up)})


def _row_count(contract: Contract, expectation: Expectation, base: list[Values]) -> Iterator[Case]:
    def at(number: int | None) -> tuple[list[Values], int]:
        rows = base if number is None else (base * (number // len(base) + 1))[:number]
        return rows, len(rows)

    yield from _limited(expectation, at, lambda n, up: n + 1 if up else n - 1)


def _aggregate(spread: Callable[[Any], list[Any]]) -> Callable[..., Iterator[Case]]:
    """Cases for an aggregate of a column; `spread` gives values of four rows with that aggregate."""

    def make(contract: Contract, expectation: Expectation, base: list[Values]) -> Iterator[Case]:
        column = contract.column(expectation.kwargs["column"])

        def at(wanted: Any) -> tuple[list[Values], Any]:
            target = domain(column, 5)[-1] if wanted is None else wanted
            values = [int(v) if column.type == "integer" else float(v) for v in spread(target)]
            return [{**r, column.name: v} for r, v in zip(base, values, strict=False)], target

        yield from _limited(expectation, at, lambda v, up: _step(column, v, up=up))

    return make


def _unique(contract: Contract, expectation: Expectation, base: list[Values]) -> Iterator[Case]:
    distinct = rows_of(contract, min(ROWS, _different(contract)), 0)
    part = {contract.partition: base[0][contract.partition]} if contract.partition else {}
    distinct = [{**r, **part} for r in distinct]
    yield Case("alle sleutels verschillen", True, distinct)
    yield Case("een sleutel dubbel", False, [*distinct, distinct[0]])


def _different(contract: Contract) -> int:
    sizes = [len(domain(c, ROWS)) for c in contract.columns if c.key and c.name != contract.partition]
    return math.prod(sizes)


def _distinct_values(contract: Contract, expectation: Expectation, base: list[Values]) -> Iterator[Case]:
    column = contract.column(expectation.kwargs["column"])

    def at(number: int | None) -> tuple[list[Values], int]:
        values = domain(column, number or 3)
        return [{**base[0], column.name: v} for v in values], len(values)

    yield from _limited(expectation, at, lambda n, up: n + 1 if up else n - 1)


GROUP_MAKERS: Mapping[str, Callable[..., Iterator[Case]]] = {
    "expect_table_row_count_to_be_between": _row_count,
    "expect_column_sum_to_be_between": _aggregate(lambda v: [v, 0, 0, 0]),
    "expect_column_mean_to_be_between": _aggregate(lambda v: [v, v, v, v]),
    "expect_column_median_to_be_between": _aggregate(lambda v: [v / 2, v, v, v * 2]),
    "expect_column_unique_value_count_to_be_between": _distinct_values,
    "expect_column_values_to_be_unique": _unique,
    "expect_compound_columns_to_be_unique": _unique,
}


# -- Rules that cannot be evaluated ------------------------------------------------------------------------


def unevaluable(rule: Rule) -> tuple[Expectation, ...]:
    """The rule's expectations, the last of which asks for a column or a control total that is not there."""
    last = rule.expectations[-1]
    gone = {PARAMETER: "controletotaal_dat_er_niet_is"}
    columns = [k for k in ("column", "column_A") if k in last.kwargs]
    if columns:
        spoilt: Values = dict.fromkeys(columns, "kolom_die_er_niet_is")
    elif "column_list" in last.kwargs:
        spoilt = {"column_list": ["kolom_die_er_niet_is", *last.kwargs["column_list"][1:]]}
    else:
        spoilt = {k: gone for k in ("min_value", "max_value") if k in last.kwargs}
    return (*rule.expectations[:-1], Expectation(last.type, {**last.kwargs, **spoilt}))
