"""The audit: Great Expectations judges the staged rows of one table by the rules of its contract.

Here belongs the verdict per rule, with counts. What follows from it (quarantine, holding back, refusing)
is `gate.py`'s. Great Expectations is imported here only, inside the functions that need it, and each
audit has a context of its own: shared contexts mix up results between threads.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import groupby
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from koploper_pipelines.contracts import Contract, Expectation, Rule
from koploper_pipelines.gates.measures import (
    AGGREGATES,
    ROW_CONDITIONS,
    Measure,
    NotEvaluable,
    literal,
    measure,
    quoted,
    resolved,
    violated,
)
from koploper_pipelines.resources.lake import UNKNOWN, WHOLE

if TYPE_CHECKING:
    import duckdb
    import pandas as pd
    from great_expectations.core.batch_definition import BatchDefinition

EXAMPLES = 5
MOST_DIRECT = 3
"""Expectations of a rule up to which Great Expectations sees rows as they are. A rule over all columns has
one or two a column; it is counted in one pass only, since each costs more than twenty thousand rows do.
"""
REDACTED = "•••"
COUNTS: Literal["BASIC"] = "BASIC"
EACH_ROW: Literal["COMPLETE"] = "COMPLETE"
"""What Great Expectations is to say of rows: how many break a rule, or which; the second takes it half as
long again."""
_Limited: TypeAlias = list[tuple[int, float, float]]
"""Row of the measures, value, and what it must reach, for one rule."""


@dataclass(frozen=True)
class Verdict:
    """What became of one rule: passed, failed (for which partitions), or not evaluable."""

    rule: Rule
    passed: bool
    evaluable: bool = True
    judged: int = 0
    """Rows that were looked at."""
    unexpected: int = 0
    """Rows that break a row rule; 0 for other rules."""
    observed: float | None = None
    """What was measured, for a rule on an aggregate of the whole table."""
    partitions: tuple[str, ...] = ()
    """Partitions that break a partition rule."""
    message: str = ""
    examples: tuple[Mapping[str, str], ...] = field(default=())

    @property
    def closes_gate(self) -> bool:
        """Whether nothing at all may pass: a table rule that failed, or any rule that could not be judged."""
        if not self.evaluable:
            return True
        return not self.passed and self.rule.is_blocking and self.rule.scope == "tabel"


@dataclass(frozen=True)
class Staged:
    """Rows under audit: a relation of the connection, its contract, and the control totals of the step."""

    con: duckdb.DuckDBPyConnection
    relation: str
    """Name of the table or view that holds the rows."""
    contract: Contract
    controls: Mapping[str, Any]

    def over(self, relation: str) -> Staged:
        """The same audit over another view of the rows."""
        return replace(self, relation=relation)

    @property
    def partition_sql(self) -> str:
        """The name of a row's partition, as text."""
        return partition_sql(self.contract.partition)


def partition_sql(column: str | None) -> str:
    """SQL for the name of a row's partition: day or month as text, `onbekend` for NULL, `*` without any."""
    return f"coalesce({quoted(column)}::VARCHAR, '{UNKNOWN}')" if column else f"'{WHOLE}'"


def in_partitions(contract: Contract, partitions: Sequence[str]) -> str:
    """SQL for whether a row is in one of the partitions: true or false, and never NULL.

    Of days as such, so that files of other days are passed over and no text is made of each row.
    """
    name = contract.partition
    if name is None or contract.column(name).type != "date":
        return f"{partition_sql(name)} IN ({', '.join(map(literal, partitions)) or 'NULL'})"
    column = quoted(name)
    days = ", ".join(f"DATE {literal(p)}" for p in partitions if p != UNKNOWN)
    inside = f"({column} IS NOT NULL AND {column} IN ({days}))" if days else "FALSE"
    return f"({inside} OR {column} IS NULL)" if UNKNOWN in partitions else inside


@dataclass(frozen=True)
class Measured:
    """Rules with what was measured for them in one pass over the rows, to be judged by `judge`."""

    staged: Staged
    rules: tuple[Rule, ...]
    measures: Mapping[str, Measure]
    unable: Mapping[str, str]
    """Why a rule could not be measured, by its name."""
    frame: pd.DataFrame
    """A row a partition, or one in all: its name, number of rows, and each measure."""
    rows_as_they_are: bool
    """Whether Great Expectations is to see the rows too."""

    def broken(self) -> list[Rule]:
        """The rules on rows that some row breaks, as the database counts them."""
        return [r for r in self.rules if r.name not in self.unable and _rows_counted(r, self.frame) > 0]


def measure_rules(
    staged: Staged, rules: Sequence[Rule], partitions: Sequence[str] | None, *, rows_as_they_are: bool
) -> Measured:
    """Count and measure what decides each rule, per partition or (None) over the whole.

    `partitions` are those that the rows stand for, also the ones without rows.
    """
    import pandas as pd

    if not rules:
        return Measured(staged, (), {}, {}, pd.DataFrame(), rows_as_they_are)
    able: dict[str, dict[str, Measure]] = {}
    unable: dict[str, str] = {}
    for rule in rules:
        try:
            able[rule.name] = _measures(rule, staged.controls)
        except (NotEvaluable, KeyError, TypeError, ValueError) as error:
            unable[rule.name] = _first_line(error)
    try:
        measured = _measured(staged, _together(able), partitions)
    except _duckdb_error():
        # Asked rule by rule only when they cannot be measured together: each question costs time.
        for name, measures in list(able.items()):
            try:
                _measured(staged, measures, partitions)
            except _duckdb_error() as error:
                unable[name] = _first_line(error)
                del able[name]
        measured = _measured(staged, _together(able), partitions)
    return Measured(staged, tuple(rules), _together(able), unable, measured.df(), rows_as_they_are)


def _together(by_rule: Mapping[str, Mapping[str, Measure]]) -> dict[str, Measure]:
    return {name: one for measures in by_rule.values() for name, one in measures.items()}


def judge(groups: Sequence[Measured]) -> list[list[Verdict]]:
    """For each group a verdict on each of its rules, in order.

    Great Expectations judges all measures at once: it costs by the expectation and not by the row. Where it
    is to see the rows too, what it says of them must be what the database counted.
    """
    validation = _Validation()
    of_rows = _judge_rows(validation, [(g.staged, r) for g in groups for r in g.rules if _is_direct(g, r)])
    following = iter(of_rows)
    return [
        [
            _with_examples(group.staged, _agreed(next(following), v) if _is_direct(group, v.rule) else v)
            for v in counted
        ]
        for group, counted in zip(groups, _judge_measures(validation, groups), strict=True)
    ]


def judge_rules(
    staged: Staged, rules: Sequence[Rule], partitions: Sequence[str], *, rows_as_they_are: bool
) -> list[Verdict]:
    """A verdict for each rule, in order: those on partitions on each of `partitions`, others on all rows."""
    grouped = [r for r in rules if r.scope == "partitie"]
    whole = [r for r in rules if r.scope != "partitie"]
    verdicts = judge(
        [
            measure_rules(staged, grouped, partitions, rows_as_they_are=False),
            measure_rules(staged, whole, None, rows_as_they_are=rows_as_they_are),
        ]
    )
    by_name = {v.rule.name: v for group in verdicts for v in group}
    return [by_name[r.name] for r in rules]


def _is_direct(group: Measured, rule: Rule) -> bool:
    return group.rows_as_they_are and len(rule.expectations) <= MOST_DIRECT


def _agreed(of_rows: Verdict, counted: Verdict) -> Verdict:
    """The verdict on the rows themselves, when the counts say the same: by those, rows are set aside."""
    if not of_rows.evaluable or not counted.evaluable:
        return counted if of_rows.evaluable else of_rows
    differ = of_rows.rule.scope == "rij" and of_rows.unexpected != counted.unexpected
    if differ or of_rows.passed != counted.passed:
        return _unable(
            of_rows.rule,
            f"Great Expectations counts {of_rows.unexpected} rows, the database {counted.unexpected}",
        )
    return of_rows


def _judge_measures(validation: _Validation, groups: Sequence[Measured]) -> list[list[Verdict]]:
    """Have the measures of all groups judged in one validation."""
    limited = [
        [_against_limits(r, g.frame, g.measures) for r in g.rules if r.name not in g.unable] for g in groups
    ]
    outside, problem = _outside(validation, [rows for group in limited for rows in group])
    found = iter(outside)
    return [
        [
            _unable(rule, group.unable[rule.name])
            if rule.name in group.unable
            else _verdict_of_measures(group.staged.contract, rule, group.frame, next(found))
            if problem is None
            else _unable(rule, problem)
            for rule in group.rules
        ]
        for group in groups
    ]


def _against_limits(rule: Rule, frame: pd.DataFrame, measures: Mapping[str, Measure]) -> _Limited:
    """Each measure of a rule for each partition: its row in the frame, and beside it what it must reach.

    A maximum is reached from above, so both are negated. Of a rule's conditions on rows the sum, since no
    row may break any.
    """
    import numpy as np

    if all(_counts_rows(e) for e in rule.expectations):
        counted = np.nansum([frame[name].to_numpy() for name in _names(rule)], axis=0)
        return [(i, -float(v), 0.0) for i, v in enumerate(counted)]
    limited: _Limited = []
    for name in _names(rule):
        low, high = measures[name].minimum, measures[name].maximum
        for i, value in enumerate(frame[name].to_numpy("float64")):
            limited += [(i, value, low)] if low is not None else []
            limited += [(i, -value, -high)] if high is not None else []
    return limited


def _outside(validation: _Validation, limited: Sequence[_Limited]) -> tuple[list[set[int]], str | None]:
    """For each rule the rows of its measures that lie outside its limits; or why nothing could be judged."""
    import pandas as pd

    found: list[set[int]] = [set() for _ in limited]
    places = [(number, row) for number, rows in enumerate(limited) for row, *_ in rows]
    if not places:
        return found, None
    frame = pd.DataFrame(
        [told for rows in limited for _, *told in rows], columns=["waarde", "grens"], dtype="float64"
    )
    reached = Expectation(
        "expect_column_pair_values_a_to_be_greater_than_b",
        {
            "column_A": "waarde",
            "column_B": "grens",
            "or_equal": True,
            "ignore_row_if": "either_value_is_missing",
        },
    )
    result = validation.of(frame, {"binnen_grenzen": reached}, EACH_ROW)["binnen_grenzen"]
    if result.problem:
        return found, result.problem
    for index in result.unexpected_index:
        number, row = places[index]
        found[number].add(row)
    if not result.success and not result.unexpected_index:
        return found, "Great Expectations does not say what lies outside the limits"
    return found, None


def _rows_counted(rule: Rule, frame: pd.DataFrame) -> int:
    """How many rows break a rule's conditions on rows."""
    names = [name for name, e in zip(_names(rule), rule.expectations, strict=True) if _counts_rows(e)]
    # Column by column: pandas takes far longer to choose several than to add them up.
    return int(sum(frame[name].sum() for name in names))


def _counts_rows(expectation: Expectation) -> bool:
    """Whether the measure is a number of rows of which none may be there."""
    return expectation.type in ROW_CONDITIONS and expectation.kwargs.get("mostly") is None


def _names(rule: Rule) -> list[str]:
    return [f"{rule.name}#{i}" for i in range(len(rule.expectations))]


def _measures(rule: Rule, controls: Mapping[str, Any]) -> dict[str, Measure]:
    return {
        name: measure(resolved(expectation, controls))
        for name, expectation in zip(_names(rule), rule.expectations, strict=True)
    }


def _measured(
    staged: Staged, measures: Mapping[str, Measure], partitions: Sequence[str] | None
) -> duckdb.DuckDBPyRelation:
    """One row a partition (or one row in all): number of rows and each measure.

    Raises a DuckDB error for a measure of a column that is not there, before any row is read.
    """
    if partitions is None:
        columns = _as_columns({name: _over_all(staged, m) for name, m in measures.items()})
        return staged.con.sql(
            f"SELECT '{WHOLE}' AS partitie, count(*) AS rijen{columns} FROM {staged.relation}"
        )
    columns = _as_columns({name: m.sql for name, m in measures.items()})
    names = ", ".join(f"({literal(p)})" for p in partitions)
    # Grouped by the column itself, since a name is a text to be made of each row. A partition without rows
    # is judged too: a rule on its number of rows must see the 0.
    group = quoted(staged.contract.partition) if staged.contract.partition else "ALL"
    return staged.con.sql(
        f"WITH gevuld AS (SELECT {staged.partition_sql} AS partitie, count(*) AS rijen{columns}"
        f" FROM {staged.relation} GROUP BY {group}),"
        f" leeg AS (SELECT count(*) AS rijen{columns} FROM {staged.relation} WHERE FALSE)"
        " SELECT * FROM gevuld UNION ALL BY NAME"
        f" SELECT d.partitie, leeg.* FROM (VALUES {names}) d(partitie) CROSS JOIN leeg"
        " WHERE d.partitie NOT IN (SELECT partitie FROM gevuld) ORDER BY partitie"
    )


def _as_columns(measures: Mapping[str, str]) -> str:
    """SQL of measures as further columns of a SELECT."""
    return "".join(f", ({sql})::DOUBLE AS {quoted(name)}" for name, sql in measures.items())


def _over_all(staged: Staged, measure: Measure) -> str:
    """SQL of a measure over all rows; of a slow one by value, save where each row has a value of its own."""
    if measure.slow is None or staged.contract.key == (measure.slow.column,):
        return measure.sql
    return measure.slow.counted_once_a_value(staged.relation)


def _verdict_of_measures(
    contract: Contract, rule: Rule, frame: pd.DataFrame, outside: Collection[int]
) -> Verdict:
    names = _names(rule)
    for name, expectation in zip(names, rule.expectations, strict=True):
        if expectation.type not in AGGREGATES:
            continue
        has_no_value = frame[name].isna() & (
            (frame["rijen"] > 0) | (rule.scope == "tabel" and not contract.empty_because)
        )
        if has_no_value.any():
            return _unable(rule, _no_value(expectation))
    single = names[0] if len(names) == 1 and len(frame) == 1 else None
    return Verdict(
        rule,
        not outside,
        judged=int(frame["rijen"].sum()),
        unexpected=_rows_counted(rule, frame),
        observed=None if single is None or frame[single].isna().all() else float(frame[single].iloc[0]),
        partitions=tuple(str(frame["partitie"].iloc[i]) for i in sorted(outside)),
    )


def _judge_rows(validation: _Validation, asked: Sequence[tuple[Staged, Rule]]) -> list[Verdict]:
    """Have Great Expectations judge the rows themselves: the rules on the same rows in one validation."""
    verdicts: dict[tuple[str, str], Verdict] = {}
    for relation, rules in groupby(sorted(asked, key=_relation), key=_relation):
        of_relation = list(rules)
        for verdict in _judge_rows_of(validation, of_relation[0][0], [r for _, r in of_relation]):
            verdicts[relation, verdict.rule.name] = verdict
    return [verdicts[staged.relation, rule.name] for staged, rule in asked]


def _relation(asked: tuple[Staged, Rule]) -> str:
    return asked[0].relation


def _judge_rows_of(validation: _Validation, staged: Staged, rules: Sequence[Rule]) -> list[Verdict]:
    frame = staged.con.sql(f"SELECT * FROM {staged.relation}").df()
    expectations: dict[str, Expectation] = {}
    unable: dict[str, str] = {}
    for rule in rules:
        try:
            parts = [_for_pandas(resolved(e, staged.controls), staged.contract) for e in rule.expectations]
            expectations.update(zip(_names(rule), parts, strict=True))
        except (NotEvaluable, KeyError, ValueError) as error:
            unable[rule.name] = _first_line(error)
    results = validation.of(frame, expectations, COUNTS)
    return [
        _unable(rule, unable[rule.name])
        if rule.name in unable
        else _verdict_of_rows(staged.contract, rule, len(frame), {k: results[k] for k in _names(rule)})
        for rule in rules
    ]


def _verdict_of_rows(contract: Contract, rule: Rule, judged: int, results: Mapping[str, _Result]) -> Verdict:
    problems = (
        r.problem or (_no_value(e) if e.type in AGGREGATES and r.observed is None else None)
        for r, e in zip(results.values(), rule.expectations, strict=True)
    )
    if problem := next((p for p in problems if p), None):
        if judged == 0 and contract.empty_because and all(e.type in AGGREGATES for e in rule.expectations):
            return Verdict(rule, True, message="no rows: nothing to take it of")
        return _unable(rule, problem)
    only = next(iter(results.values()))
    return Verdict(
        rule,
        all(r.success for r in results.values()),
        judged=judged,
        unexpected=sum(r.unexpected for r in results.values()),
        observed=only.observed if len(results) == 1 else None,
    )


def _for_pandas(expectation: Expectation, contract: Contract) -> Expectation:
    """What means the same on a frame: contracts write dates as text, and patterns as databases read them."""
    import pandas as pd

    if expectation.type == "expect_column_values_to_match_regex":
        # Python's $ also matches before a line break at the end.
        regex = re.sub(r"(?<!\\)\$$", r"\\Z", expectation.kwargs["regex"])
        return Expectation(expectation.type, {**expectation.kwargs, "regex": regex})
    if expectation.type != "expect_column_values_to_be_between":
        return expectation
    if contract.column(expectation.kwargs["column"]).type not in ("date", "timestamp"):
        return expectation
    kwargs = {
        k: pd.Timestamp(v) if k in ("min_value", "max_value") else v for k, v in expectation.kwargs.items()
    }
    return Expectation(expectation.type, kwargs)


# -- Great Expectations --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Result:
    success: bool
    unexpected: int
    unexpected_index: tuple[int, ...]
    observed: float | None
    problem: str | None


class _Validation:
    """The validations of one audit, in a context that is made for it."""

    def of(
        self,
        frame: pd.DataFrame,
        expectations: Mapping[str, Expectation],
        result_format: Literal["BASIC", "COMPLETE"],
    ) -> dict[str, _Result]:
        """Validate a frame; a result for each named expectation."""
        import os
        import warnings

        if not expectations:
            return {}
        results: dict[str, _Result] = {}
        with warnings.catch_warnings():
            # It warns of its own imports, and of patterns with groups; what it finds is in its results.
            warnings.simplefilter("ignore")
            # Read when the package is imported: nothing is ever sent from here.
            os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
            import great_expectations as gx
            import great_expectations.expectations as gxe

            batch = self._frames.get_batch({"dataframe": frame})
            suite = gx.ExpectationSuite(name="contract")
            for name, e in expectations.items():
                try:
                    suite.expectations.append(getattr(gxe, _camel(e.type))(**e.kwargs, meta={"name": name}))
                except (AttributeError, ValueError) as error:
                    # No such expectation, or not with these arguments.
                    results[name] = _Result(False, 0, (), None, f"{e.type}: {_first_line(error)}")
            for outcome in batch.validate(suite, result_format=result_format).results:
                config = outcome.expectation_config
                assert config is not None and config.meta is not None
                results[config.meta["name"]] = _result(outcome)
        return results

    @cached_property
    def _frames(self) -> BatchDefinition[Any]:
        """Where the context takes a frame from."""
        import great_expectations as gx
        from great_expectations.data_context.types.base import (
            DataContextConfig,
            InMemoryStoreBackendDefaults,
            ProgressBarsConfig,
        )
        from great_expectations.datasource.fluent.pandas_datasource import PandasDatasource

        setup = DataContextConfig(
            # In memory, without the folder for a documentation site that every context leaves by default.
            store_backend_defaults=InMemoryStoreBackendDefaults(),
            progress_bars=ProgressBarsConfig(globally=False, metric_calculations=False),
        )
        context = gx.get_context(mode="ephemeral", project_config=setup)
        # Added when it is whole: at each addition the context writes out all that it holds.
        source = PandasDatasource(name="staged")
        source.add_dataframe_asset("rows").add_batch_definition_whole_dataframe("all")
        rows = context.data_sources.add_pandas(source).get_asset("rows")
        frames: BatchDefinition[Any] = rows.get_batch_definition("all")
        return frames


def _result(outcome: Any) -> _Result:
    detail = outcome.result or {}
    observed = detail.get("observed_value")
    problem = _problem(outcome.exception_info)
    return _Result(
        success=bool(outcome.success),
        unexpected=int(detail.get("unexpected_count") or 0),
        unexpected_index=tuple(int(i) for i in detail.get("unexpected_index_list") or ()),
        observed=_number(observed),
        problem=problem or (None if outcome.success or detail else "Great Expectations gave no result"),
    )


def _number(observed: object) -> float | None:
    """An observed value as a number; None when there is none (a list, NaN of an empty column)."""
    # Also NumPy's own numbers, which are no int or float.
    if isinstance(observed, bool) or not isinstance(observed, Real) or math.isnan(observed):
        return None
    return float(observed)


def _problem(info: Any) -> str | None:
    """The exception in a result, however deep it is nested; None when the rule could be evaluated."""
    if not isinstance(info, dict):
        return None
    if info.get("raised_exception"):
        return _first_line(str(info.get("exception_message") or "an exception"))
    return next((p for nested in info.values() if (p := _problem(nested))), None)


def _camel(snake: str) -> str:
    return "".join(part.capitalize() for part in snake.split("_"))


# -- Shared --------------------------------------------------------------------------------------------------


def _unable(rule: Rule, why: str | None) -> Verdict:
    return Verdict(rule, False, evaluable=False, message=f"could not be evaluated: {why}")


def _no_value(expectation: Expectation) -> str:
    return f"{expectation.type} has no value: there is nothing to take it of"


def _first_line(error: object) -> str:
    return (str(error).strip().splitlines() or ["no message"])[0][:300]


def _duckdb_error() -> type[Exception]:
    import duckdb

    return duckdb.Error


def _with_examples(staged: Staged, verdict: Verdict) -> Verdict:
    """A few of the rows that break a row rule: key and value, with what could identify a person redacted."""
    if verdict.passed or not verdict.evaluable or verdict.rule.scope != "rij":
        return verdict
    contract = staged.contract
    examples: list[Mapping[str, str]] = []
    for expectation in verdict.rule.expectations:
        shown = list(dict.fromkeys([*contract.key, *_columns(expectation)]))
        found = staged.con.sql(
            f"SELECT {', '.join(quoted(c) + '::VARCHAR' for c in shown)} FROM {staged.relation}"
            f" WHERE {violated(expectation)} LIMIT {EXAMPLES - len(examples)}"
        ).fetchall()
        hidden = {c for c in shown if contract.column(c).privacy != "geen"}
        examples += [
            {c: REDACTED if c in hidden else str(v)[:60] for c, v in zip(shown, row, strict=True)}
            for row in found
        ]
        if len(examples) >= EXAMPLES:
            break
    return replace(verdict, examples=tuple(examples))


def _columns(expectation: Expectation) -> list[str]:
    kwargs = expectation.kwargs
    return [kwargs[k] for k in ("column", "column_A", "column_B") if k in kwargs]
