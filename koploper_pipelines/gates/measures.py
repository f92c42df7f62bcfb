"""What an expectation measures, as SQL: the count or value that decides it, in one pass over all rows.

Here belong the expectation types that contracts may use, each with its DuckDB expression. The verdict on
what was measured is Great Expectations' (`audit.py`). A test holds that for every type here the measured
way and Great Expectations on the rows themselves agree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

from koploper_pipelines.contracts import Expectation, Rule

PARAMETER = "$PARAMETER"


class NotEvaluable(RuntimeError):
    """A rule cannot be evaluated; the message says why. It closes the gate, whatever the rule's severity."""


@dataclass(frozen=True)
class Measure:
    """A SQL aggregate and the limits within which it must lie (None: no limit)."""

    sql: str
    minimum: float | None
    maximum: float | None
    slow: SlowCondition | None = None
    """What the aggregate counts, where that can be told from the values of one column, and slowly."""


@dataclass(frozen=True)
class SlowCondition:
    """A condition on one column that is slow to evaluate."""

    column: str
    sql: str

    def counted_once_a_value(self, relation: str) -> str:
        """SQL for the number of rows for which it is true, evaluated for each different value once."""
        values = f"SELECT {quoted(self.column)}, count(*) AS rijen FROM {relation} GROUP BY ALL"
        return f"(SELECT coalesce(sum(rijen) FILTER (WHERE {self.sql}), 0) FROM ({values}))"


def quoted(name: str) -> str:
    """A column name as SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(value: Any) -> str:
    """A value of a contract as SQL literal; text may name a date or a moment and is compared as such."""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, int | float):
        return repr(value)
    return "'" + str(value).replace("'", "''") + "'"


def resolved(expectation: Expectation, controls: Mapping[str, Any]) -> Expectation:
    """The expectation with each `{$PARAMETER: name}` replaced by the control total of that name."""
    kwargs: dict[str, Any] = {}
    for name, value in expectation.kwargs.items():
        if isinstance(value, dict) and PARAMETER in value:
            control = value[PARAMETER]
            if controls.get(control) is None:
                raise NotEvaluable(f"the step gave no control total {control!r}")
            value = controls[control]
        kwargs[name] = value
    return Expectation(expectation.type, kwargs)


def needs_controls(rule: Rule) -> bool:
    """Whether a rule holds the rows against control totals of the step."""
    values = (v for e in rule.expectations for v in e.kwargs.values())
    return any(isinstance(v, dict) and PARAMETER in v for v in values)


def _between(kwargs: Mapping[str, Any]) -> str:
    column = quoted(kwargs["column"])
    parts = []
    if kwargs.get("min_value") is not None:
        parts.append(f"{column} >= {literal(kwargs['min_value'])}")
    if kwargs.get("max_value") is not None:
        parts.append(f"{column} <= {literal(kwargs['max_value'])}")
    return " AND ".join(parts)


def _in_set(kwargs: Mapping[str, Any]) -> str:
    return f"{quoted(kwargs['column'])} IN ({', '.join(literal(v) for v in kwargs['value_set'])})"


def _matches(kwargs: Mapping[str, Any]) -> str:
    return f"regexp_matches({quoted(kwargs['column'])}, {literal(kwargs['regex'])})"


def _pair(kwargs: Mapping[str, Any]) -> str:
    comparison = ">=" if kwargs.get("or_equal") else ">"
    return f"{quoted(kwargs['column_A'])} {comparison} {quoted(kwargs['column_B'])}"


# What must hold for a row. A missing value breaks no rule but not-null, as in Great Expectations.
ROW_CONDITIONS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "expect_column_values_to_be_between": _between,
    "expect_column_values_to_be_in_set": _in_set,
    "expect_column_values_to_match_regex": _matches,
    "expect_column_pair_values_a_to_be_greater_than_b": _pair,
    "expect_column_values_to_not_be_null": lambda k: f"{quoted(k['column'])} IS NOT NULL",
}
UNIQUENESS: Mapping[str, Callable[[Mapping[str, Any]], list[str]]] = {
    "expect_column_values_to_be_unique": lambda k: [k["column"]],
    "expect_compound_columns_to_be_unique": lambda k: list(k["column_list"]),
}
AGGREGATES: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "expect_table_row_count_to_be_between": lambda k: "count(*)",
    "expect_column_sum_to_be_between": lambda k: f"coalesce(sum({quoted(k['column'])}), 0)",
    "expect_column_mean_to_be_between": lambda k: f"avg({quoted(k['column'])})",
    "expect_column_median_to_be_between": lambda k: f"median({quoted(k['column'])})",
    "expect_column_unique_value_count_to_be_between": lambda k: f"count(DISTINCT {quoted(k['column'])})",
}
EXPECTATION_TYPES = frozenset({*ROW_CONDITIONS, *UNIQUENESS, *AGGREGATES})


def violated(expectation: Expectation) -> str:
    """SQL that is true for a row that breaks a row-wise expectation, and never NULL."""
    if expectation.type not in ROW_CONDITIONS:
        raise NotEvaluable(f"{expectation.type} does not judge single rows")
    return f"coalesce(NOT ({ROW_CONDITIONS[expectation.type](expectation.kwargs)}), FALSE)"


def measure(expectation: Expectation) -> Measure:
    """The aggregate that decides an expectation, to be taken over the table or over each partition."""
    kwargs = expectation.kwargs
    if expectation.type in AGGREGATES:
        return Measure(
            AGGREGATES[expectation.type](kwargs), _limit(kwargs, "min_value"), _limit(kwargs, "max_value")
        )
    if expectation.type in UNIQUENESS:
        columns = UNIQUENESS[expectation.type](kwargs)
        # Rows too many. Great Expectations counts every row of a doubled key; the verdict is the same. As
        # there, a row without any part of the key is left out.
        key = ", ".join(quoted(c) for c in columns)
        has_key = f"FILTER ({' OR '.join(f'{quoted(c)} IS NOT NULL' for c in columns)})"
        return Measure(f"count(*) {has_key} - count(DISTINCT ({key})) {has_key}", None, 0)
    broken = f"count(*) FILTER (WHERE {violated(expectation)})"
    if kwargs.get("mostly") is None:
        is_slow = expectation.type == "expect_column_values_to_match_regex"
        slow = SlowCondition(kwargs["column"], violated(expectation)) if is_slow else None
        return Measure(broken, None, 0, slow)
    judged = "*" if expectation.type == "expect_column_values_to_not_be_null" else quoted(kwargs["column"])
    return Measure(f"1 - {broken} / nullif(count({judged}), 0)", _limit(kwargs, "mostly"), None)


def _limit(kwargs: Mapping[str, Any], name: str) -> float | None:
    value = kwargs.get(name)
    if value is None:
        return None
    # Also NumPy's own numbers, which are no int or float.
    if isinstance(value, bool) or not isinstance(value, Real):
        raise NotEvaluable(f"{name} is {value!r}, expected a number")
    return float(value)
