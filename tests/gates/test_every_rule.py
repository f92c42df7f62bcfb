"""Every rule of every contract, with rows just inside, just outside, and where it cannot be evaluated.

Generated from the contracts: a rule that nobody knows how to break fails here. Each rule goes through the
whole gate into a real lake, beside the rules that the gate proves itself and without the others, so that it
is this rule that does what its severity and scope say. Before each pass the lake holds an older version of
two partitions.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pytest
from examples import (
    ROWS,
    Case,
    Change,
    Untold,
    Values,
    cases,
    changes,
    controls_of,
    parameters,
    partition_values,
    rows_of,
    unevaluable,
)
from gatehouse import House, arrow, partition_of

from koploper_pipelines.build import find_tables
from koploper_pipelines.contracts import Contract, Rule, contract_paths, load_contract
from koploper_pipelines.contracts.model import CONSERVATION_RULE, MOST_ROWS_RULE, MOST_ROWS_SHARE, SCHEMA_RULE
from koploper_pipelines.gates.audit import Verdict
from koploper_pipelines.gates.gate import Outcome

CONTRACTS = [load_contract(path) for path in contract_paths()]
LANDINGS = {t.path for t in find_tables().values() if t.lands}
RULES = [pytest.param(c, r, id=f"{c.path}:{r.name}") for c in CONTRACTS for r in c.rules]
PER_TABLE = pytest.mark.parametrize("contract", CONTRACTS, ids=[c.path for c in CONTRACTS])
PER_RULE = pytest.mark.parametrize(("contract", "rule"), RULES)


@dataclass
class Bench:
    """A house with an older version of one table, and passes through its gate."""

    house: House
    contract: Contract

    @property
    def appends(self) -> bool:
        return self.contract.path in LANDINGS

    def partition(self, index: int) -> str:
        return partition_of(self.contract, {self.contract.partition: partition_values(self.contract)[index]})

    def prepare(self) -> None:
        """Commit two partitions, under the rules that the gate proves itself alone."""
        number = 2 if self.contract.partition else 1
        self.admit(alone(self.contract, None), [r for p in range(number) for r in rows_of(self.contract, 3, p)])

    def rows(self) -> list[str]:
        return _texts(self.house.rows(self.contract.path))

    def admit(
        self,
        told: Contract,
        rows: Sequence[Values] | pa.Table,
        controls: Values | None = None,
        partitions: Sequence[str] | None = None,
        rows_in: int | None = -1,
    ) -> Outcome:
        number = rows.num_rows if isinstance(rows, pa.Table) else len(rows)
        return self.house.admit(
            told,
            rows,
            partitions=partitions,
            controls=controls,
            rows_in=number if rows_in == -1 else rows_in,
            append=self.appends,
            file="bestand" if self.appends else None,
        )

    def stays(self, outcome: Outcome, before: list[str], version: int | None) -> None:
        """Nothing was committed, and a reader still sees the older version."""
        assert outcome.version is None
        assert not outcome.passed
        assert self.house.version(self.contract.path) == version
        assert self.rows() == before


@pytest.fixture
def bench(contract: Contract, tmp_path_factory: pytest.TempPathFactory, benches: dict[str, Bench]) -> Bench:
    """One house for all rules of a contract: each test looks at what its own pass changes."""
    if contract.path not in benches:
        house = House(tmp_path_factory.mktemp(contract.table))
        benches[contract.path] = Bench(house, contract)
        benches[contract.path].prepare()
    return benches[contract.path]


@pytest.fixture(scope="module")
def benches() -> dict[str, Bench]:
    return {}


def alone(contract: Contract, rule: Rule | None) -> Contract:
    """The contract with no rule but this one and those that the gate proves itself."""
    kept = tuple(r for r in contract.rules if not r.expectations)
    return replace(contract, rules=(*kept, rule) if rule is not None and rule.expectations else kept)


def verdict_on(outcome: Outcome, rule: Rule) -> Verdict:
    (found,) = [v for v in outcome.verdicts if v.rule.name == rule.name]
    return found


def _texts(rows: Sequence[Values]) -> list[str]:
    return sorted(json.dumps(r, default=str, sort_keys=True) for r in rows)


def _in(contract: Contract, rows: Sequence[Values], partitions: Sequence[str]) -> list[Values]:
    return [r for r in rows if partition_of(contract, r) in partitions]


# -- The whole contract ------------------------------------------------------------------------------------


@PER_TABLE
def test_a_sound_table_passes_every_rule(contract: Contract, tmp_path_factory: pytest.TempPathFactory) -> None:
    number = 4 if contract.path == "snuffelfiets/evaluation/bereik" else 6
    rows = [r for p in range(2 if contract.partition else 1) for r in rows_of(contract, number, p)]
    bench = Bench(House(tmp_path_factory.mktemp(contract.table)), contract)
    outcome = bench.admit(contract, rows, controls_of(contract, rows))
    assert outcome.passed, outcome.report
    assert {v.rule.name for v in outcome.verdicts} == {r.name for r in contract.rules}
    assert all(v.passed and v.evaluable for v in outcome.verdicts)
    assert bench.rows() == _texts(rows)
    assert bench.house.quarantine(contract.path) == []


# -- Inside and outside --------------------------------------------------------------------------------------


@PER_RULE
def test_inside_and_outside(contract: Contract, rule: Rule, bench: Bench) -> None:
    try:
        if not rule.expectations:
            PROVEN_BY_THE_GATE[rule.name](bench, rule)
        elif rule.scope == "rij":
            _rows_are_set_aside(bench, rule)
        elif rule.scope == "partitie":
            _partitions_are_held_back(bench, rule)
        else:
            _the_table_waits(bench, rule)
    except Untold as untold:
        pytest.fail(f"{contract.path}: nobody has told how to break {rule.name}: {untold}")


def _rows_are_set_aside(bench: Bench, rule: Rule) -> None:
    """Each row that breaks one expectation goes to quarantine under the rule's name; its neighbours stay."""
    contract, told = bench.contract, alone(bench.contract, rule)
    made = [change for e in rule.expectations for change in changes(contract, e)]
    base = rows_of(contract, 1)[0]
    sound = [{**base, **c.values} for c in made if c.is_inside]
    broken = [{**base, **c.values} for c in made if not c.is_inside]
    # Above this share of broken rows the gate takes the step for broken, and not the rows.
    sound += [base] * (len(broken) * round(1 / MOST_ROWS_SHARE))
    in_hand = sorted({partition_of(contract, r) for r in (*sound, *broken)})
    # A row in a partition of its own is all that its partition has, so that this is held back.
    apart = [
        p for p in in_hand if len(_in(contract, broken, [p])) > MOST_ROWS_SHARE * len(_in(contract, [*sound, *broken], [p]))
    ]
    if bench.appends and apart:
        # A landing is taken whole or not at all.
        broken = [r for r in broken if partition_of(contract, r) not in apart]
        in_hand, apart = [p for p in in_hand if p not in apart], []
    before = bench.house.rows(contract.path)
    outcome = bench.admit(told, [*sound, *broken], partitions=in_hand)
    said = verdict_on(outcome, rule)
    assert said.evaluable
    assert not said.passed
    assert said.unexpected == len(broken)
    if not rule.is_blocking:
        assert outcome.passed
        assert bench.rows() == _texts(_after(bench, before, [*sound, *broken], in_hand))
        return
    promoted = [p for p in in_hand if p not in apart]
    assert sorted(outcome.held_back) == apart
    assert sorted(outcome.promoted) == promoted
    assert bench.rows() == _texts(_after(bench, before, sound, promoted))
    aside = _in(contract, broken, promoted)
    assert outcome.quarantined == len(aside)
    found = [q for q in bench.house.quarantine(contract.path) if q["partitie"] in promoted]
    assert [q["reden"] for q in found[-len(aside) :]] == [rule.name] * len(aside)
    recorded = [json.loads(q["rij"]) for q in found]
    assert all(any(_same(contract, row, r) for r in recorded) for row in aside)


def _after(bench: Bench, before: Sequence[Values], rows: Sequence[Values], promoted: Sequence[str]) -> list[Values]:
    """What the table must hold when these partitions were promoted."""
    new = _in(bench.contract, rows, promoted)
    if bench.appends:
        return [*before, *new]
    return [*(r for r in before if partition_of(bench.contract, r) not in promoted), *new]


def _same(contract: Contract, row: Values, recorded: Values) -> bool:
    """Whether a quarantined row, as JSON, is this row; moments aside, which JSON writes its own way."""

    def text(value: Any) -> Any:
        return value if value is None or isinstance(value, str | bool | int | float) else str(value)

    return all(text(row[c.name]) == recorded[c.name] for c in contract.columns if c.type != "timestamp")


def _partitions_are_held_back(bench: Bench, rule: Rule) -> None:
    """A partition that breaks the rule waits, or is only reported; the others are committed."""
    contract, told = bench.contract, alone(bench.contract, rule)
    (expectation,) = rule.expectations
    outside = [c for c in cases(contract, expectation) if not c.is_inside]
    inside = [c for c in cases(contract, expectation) if c.is_inside]
    assert not parameters(expectation)
    # As many partitions as there are cases, most of them outside the few that the lake has already.
    for index, case in enumerate([*inside, *outside]):
        assert case.controls == {}, index
    placed = list(zip(_places(bench, len(inside) + len(outside)), [*inside, *outside], strict=True))
    rows = {p: [{**r, str(contract.partition): v} for r in c.rows] for (p, v), c in placed}
    wrong = sorted(p for (p, _), c in placed if not c.is_inside)
    before = bench.house.rows(contract.path)
    version = bench.house.version(contract.path)
    outcome = bench.admit(told, [r for rs in rows.values() for r in rs], partitions=sorted(rows))
    said = verdict_on(outcome, rule)
    assert (said.evaluable, said.passed, sorted(said.partitions)) == (True, False, wrong)
    if rule.is_blocking and bench.appends:
        bench.stays(outcome, _texts(before), version)
        return
    promoted = [p for p in rows if p not in wrong] if rule.is_blocking else list(rows)
    assert sorted(outcome.held_back) == (wrong if rule.is_blocking else [])
    assert bench.rows() == _texts(_after(bench, before, [r for rs in rows.values() for r in rs], promoted))


def _places(bench: Bench, number: int) -> list[tuple[str, Any]]:
    """Partitions to put cases in, those that the lake has already last: they get the rows that break the rule."""
    contract = bench.contract
    from examples import domain

    values = domain(contract.column(str(contract.partition)), number + 2)
    values = [*values[2:], *values[:2]][-number:]
    return [(partition_of(contract, {contract.partition: v}), v) for v in values]


def _the_table_waits(bench: Bench, rule: Rule) -> None:
    """Rows inside are committed; with rows outside nothing is, or all of it when the rule only warns."""
    contract, told = bench.contract, alone(bench.contract, rule)
    (expectation, *others) = rule.expectations
    fixed = _fixed(bench, others)
    for case in [*_one_inside(cases(contract, expectation)), *_outside(contract, rule)]:
        given = _on_the_bench(bench, rule, case)
        before, version = bench.house.rows(contract.path), bench.house.version(contract.path)
        partitions = sorted({*(partition_of(contract, r) for r in case.rows), *_existing(bench, given)})
        outcome = bench.admit(told, case.rows, {**fixed, **given.controls}, partitions)
        said = verdict_on(outcome, rule)
        assert (said.evaluable, said.passed) == (True, case.is_inside), (case.label, said)
        if case.is_inside or not rule.is_blocking:
            assert outcome.passed, case.label
            assert bench.rows() == _texts(_after(bench, before, case.rows, partitions))
        else:
            bench.stays(outcome, _texts(before), version)
