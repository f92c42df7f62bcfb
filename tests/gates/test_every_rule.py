"""Every rule of every contract, with rows just inside, just outside, and where it cannot be evaluated.

Generated from the contracts: a rule that nobody knows how to break fails here. Each rule goes through the
whole gate into a real lake, beside the rules that the gate proves itself and without the others, so that it
is this rule that does what its severity and scope say. Before each pass the lake holds an older version of
two partitions.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import cache
from typing import Any
from zlib import crc32

import pyarrow as pa
import pytest
from _pytest.mark import ParameterSet
from examples import (
    ROWS,
    Case,
    Untold,
    Values,
    cases,
    changes,
    controls_of,
    domain,
    rows_of,
    unevaluable,
)
from gatehouse import House, arrow, connection, partition_of

from koploper_pipelines.build import find_tables
from koploper_pipelines.contracts import Contract, Rule, contract_paths, load_contract
from koploper_pipelines.contracts.model import (
    CONSERVATION_RULE,
    MOST_ROWS_RULE,
    MOST_ROWS_SHARE,
    SCHEMA_RULE,
    SOURCE_RULE,
)
from koploper_pipelines.gates.audit import Staged, Verdict, judge_rules
from koploper_pipelines.gates.gate import Outcome, Passage
from koploper_pipelines.gates.measures import needs_controls
from koploper_pipelines.gates.sources import SourceState, judge_source

CONTRACTS = [load_contract(path) for path in contract_paths()]
LANDINGS = {t.path for t in find_tables().values() if t.lands}
RULES = [pytest.param(c, r, id=f"{c.path}:{r.name}") for c in CONTRACTS for r in c.rules]
WITH_EXPECTATIONS = [p for p in RULES if isinstance(p.values[1], Rule) and p.values[1].expectations]
PER_TABLE = pytest.mark.parametrize("contract", CONTRACTS, ids=[c.path for c in CONTRACTS])
# Rules that follow from the columns are the same code for every contract: of those a fixed part is taken in
# each run, and all of them in `make rules`. The limits of columns are each contract's own, so all are taken.
SAME_FOR_ALL = {
    SCHEMA_RULE,
    CONSERVATION_RULE,
    MOST_ROWS_RULE,
    "sleutel_is_uniek",
    "verplichte_kolommen_gevuld",
    "tabel_is_niet_leeg",
}
ONE_OF = 5


def _is_left_for_later(contract: Contract, rule: Rule) -> bool:
    return rule.name in SAME_FOR_ALL and crc32(f"{contract.path}:{rule.name}".encode()) % ONE_OF != 0


TAKEN = [
    pytest.param(c, r, id=f"{c.path}:{r.name}", marks=[pytest.mark.full] if _is_left_for_later(c, r) else [])
    for c in CONTRACTS
    for r in c.rules
]
PER_RULE = pytest.mark.parametrize(("contract", "rule"), TAKEN)


@dataclass
class Bench:
    """A house with an older version of one table, and passes through its gate."""

    house: House
    contract: Contract

    @property
    def appends(self) -> bool:
        return self.contract.path in LANDINGS

    def partition(self, index: int) -> str:
        return partition_of(self.contract, rows_of(self.contract, 1, index)[0])

    def prepare(self) -> None:
        """Commit two partitions, under the rules that the gate proves itself alone."""
        number = 2 if self.contract.partition else 1
        self.admit(
            alone(self.contract, None), [r for p in range(number) for r in rows_of(self.contract, 3, p)]
        )

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

    def anew(self) -> Bench:
        """The same table in a house of its own, where nothing was written."""
        number = len(list(self.house.home.glob("anders-*")))
        return Bench(House(self.house.home / f"anders-{number}"), self.contract)

    def partitions(self) -> list[str]:
        """Partitions that a pass can replace: all of the table, so that its rows are the whole table."""
        head = self.house.platform.gate.head(self.contract.path)
        return [] if head is None or self.appends else list(head.partitions)

    def reasons(self) -> Counter[tuple[str, str]]:
        """Quarantined rows per partition and reason."""
        return Counter((q["partitie"], q["reden"]) for q in self.house.quarantine(self.contract.path))

    def after(
        self, before: Sequence[Values], rows: Sequence[Values], promoted: Sequence[str]
    ) -> list[Values]:
        """What the table must hold once these partitions of the rows were promoted."""
        new = _in(self.contract, rows, promoted)
        replaced = [] if self.appends else promoted
        return [*(r for r in before if partition_of(self.contract, r) not in replaced), *new]

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
def test_a_sound_table_passes_every_rule(
    contract: Contract, tmp_path_factory: pytest.TempPathFactory
) -> None:
    number = _enough(contract)
    rows = [r for p in range(2 if contract.partition else 1) for r in rows_of(contract, number, p)]
    bench = Bench(House(tmp_path_factory.mktemp(contract.table)), contract)
    outcome = bench.admit(contract, rows, controls_of(contract, rows))
    assert outcome.passed, outcome.report
    # Whether its source can be reached is judged by a landing, not of rows.
    assert {v.rule.name for v in outcome.verdicts} == {r.name for r in contract.rules} - {SOURCE_RULE}
    assert all(v.passed and v.evaluable for v in outcome.verdicts)
    assert bench.rows() == _texts(rows)
    assert bench.house.quarantine(contract.path) == []


def _enough(contract: Contract) -> int:
    """Six rows, or as many as a rule on their number wants."""
    wanted = [
        e.kwargs
        for r in contract.rules
        for e in r.expectations
        if e.type == "expect_table_row_count_to_be_between" and not needs_controls(r)
    ]
    low = max((k.get("min_value", 0) for k in wanted), default=0)
    return int(max(low, min((k.get("max_value", 6) for k in wanted), default=6)))


@pytest.mark.parametrize(("contract", "rule"), WITH_EXPECTATIONS)
def test_how_to_break_a_rule_is_known(contract: Contract, rule: Rule) -> None:
    """Also for the rules whose passes are left for `make rules`: there is a case inside and one outside."""
    for expectation in rule.expectations:
        made = changes(contract, expectation) if rule.scope == "rij" else cases(contract, expectation)
        assert {c.is_inside for c in made} >= {False}, expectation
        assert rule.scope == "rij" or any(c.is_inside for c in made), expectation


def test_the_fixed_part_holds_every_kind_of_rule() -> None:
    taken = [p.values for p in TAKEN if not p.marks]
    names = {r.name for _, r in taken if isinstance(r, Rule)}
    assert names == {r.name for c in CONTRACTS for r in c.rules}
    assert len(taken) > len(TAKEN) / 3


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
    held_back = _mostly_broken(contract, sound, broken)
    if bench.appends:
        # A landing is taken whole or not at all.
        broken = [r for r in broken if partition_of(contract, r) not in held_back]
        held_back = []
    in_hand = sorted({partition_of(contract, r) for r in (*sound, *broken)})
    before, aside_before = bench.house.rows(contract.path), bench.reasons()
    outcome = bench.admit(told, [*sound, *broken], partitions=in_hand)
    said = verdict_on(outcome, rule)
    assert (said.evaluable, said.passed, said.unexpected) == (True, False, len(broken))
    if not rule.is_blocking:
        assert outcome.passed
        assert bench.rows() == _texts(bench.after(before, [*sound, *broken], in_hand))
        return
    promoted = [p for p in in_hand if p not in held_back]
    assert (sorted(outcome.held_back), sorted(outcome.promoted)) == (held_back, promoted)
    assert bench.rows() == _texts(bench.after(before, sound, promoted))
    aside = _in(contract, broken, promoted)
    if not bench.appends:
        aside_before = Counter({k: n for k, n in aside_before.items() if k[0] not in promoted})
    assert bench.reasons() - aside_before == Counter((partition_of(contract, r), rule.name) for r in aside)
    recorded = [json.loads(q["rij"]) for q in bench.house.quarantine(contract.path)]
    assert all(any(_same(contract, row, r) for r in recorded) for row in aside)


def _mostly_broken(contract: Contract, sound: Sequence[Values], broken: Sequence[Values]) -> list[str]:
    """Partitions of which so many rows are broken that they are held back whole."""
    wrong = Counter(partition_of(contract, r) for r in broken)
    every = wrong + Counter(partition_of(contract, r) for r in sound)
    return sorted(p for p, number in wrong.items() if number > MOST_ROWS_SHARE * every[p])


def _same(contract: Contract, row: Values, recorded: Values) -> bool:
    """Whether a quarantined row, as JSON, is this row; moments aside, which JSON writes its own way."""

    def text(value: Any) -> Any:
        return str(value) if isinstance(value, date) else value

    return all(text(row[c.name]) == recorded[c.name] for c in contract.columns if c.type != "timestamp")


def _partitions_are_held_back(bench: Bench, rule: Rule) -> None:
    """A partition that breaks the rule waits, or is only reported; the others are committed."""
    contract, told = bench.contract, alone(bench.contract, rule)
    (expectation,) = rule.expectations
    made = sorted(cases(contract, expectation), key=lambda c: not c.is_inside)
    # The lake has the last of these partitions already: a case outside meets older rows there.
    values = domain(contract.column(str(contract.partition)), len(made) + 1)
    placed = list(zip([*values[2:], *values[:2]][-len(made) :], made, strict=True))
    rows = [{**r, str(contract.partition): value} for value, case in placed for r in case.rows]
    wrong = sorted(str(v) for v, c in placed if not c.is_inside)
    in_hand = sorted({partition_of(contract, r) for r in rows})
    before, version = bench.house.rows(contract.path), bench.house.version(contract.path)
    assert not bench.appends or version is not None
    outcome = bench.admit(told, rows, partitions=in_hand)
    said = verdict_on(outcome, rule)
    assert (said.evaluable, said.passed, sorted(said.partitions)) == (True, False, wrong)
    if rule.is_blocking and bench.appends:
        bench.stays(outcome, _texts(before), version)
        return
    held_back = wrong if rule.is_blocking else []
    promoted = [p for p in in_hand if p not in held_back]
    assert (sorted(outcome.held_back), sorted(outcome.promoted)) == (held_back, promoted)
    assert bench.rows() == _texts(bench.after(before, rows, promoted))


def _the_table_waits(bench: Bench, rule: Rule) -> None:
    """Rows inside are committed; with rows outside nothing is, or all of it when the rule only warns."""
    contract, told = bench.contract, alone(bench.contract, rule)
    for case in _of_the_table(contract, rule):
        # A rule on the whole table meets in a landing what landed before: then each case gets a new house.
        place = bench.anew() if bench.appends and not needs_controls(rule) else bench
        before, version = place.house.rows(contract.path), place.house.version(contract.path)
        controls = {**controls_of(told, case.rows), **case.controls}
        if bench.appends:
            controls = {name: total + len(before) for name, total in controls.items()}
        in_hand = sorted({partition_of(contract, r) for r in case.rows} | set(place.partitions()))
        outcome = place.admit(told, case.rows, controls, in_hand)
        said = verdict_on(outcome, rule)
        assert (said.evaluable, said.passed) == (True, case.is_inside), (case.label, said)
        if case.is_inside or not rule.is_blocking:
            assert outcome.passed, case.label
            assert place.rows() == _texts(place.after(before, case.rows, in_hand))
        else:
            place.stays(outcome, _texts(before), version)


def _of_the_table(contract: Contract, rule: Rule) -> list[Case]:
    """The cases of a rule, each once: limits that are one and the same total have one case inside."""
    found: list[Case] = []
    for expectation in rule.expectations:
        for case in cases(contract, expectation):
            if not any((c.rows, c.controls) == (case.rows, case.controls) for c in found):
                found.append(case)
    return found


# -- What the gate proves itself -----------------------------------------------------------------------------


def _schema(bench: Bench, rule: Rule) -> None:
    """Rows without a column, with an unknown one or of other types are refused, and the columns named."""
    contract, told = bench.contract, alone(bench.contract, None)
    table = arrow(contract, rows_of(contract, ROWS))
    last = contract.columns[-1].name
    other = [pa.array([1] * ROWS) if f.type == pa.string() else pa.array(["1"] * ROWS) for f in table.schema]
    spoilt = {
        "ontbreekt": (table.drop_columns([last]), [last]),
        "onbekend": (table.append_column("extra", pa.array([1] * ROWS)), ["extra"]),
        "ander type": (pa.table(other, names=table.schema.names), table.schema.names),
    }
    before, version = bench.rows(), bench.house.version(contract.path)
    for label, (rows, columns) in spoilt.items():
        outcome = bench.admit(told, rows, partitions=[bench.partition(0)])
        said = verdict_on(outcome, rule)
        assert not said.passed, label
        assert all(f"'{c}'" in said.message for c in columns), said.message
        bench.stays(outcome, before, version)


def _conservation(bench: Bench, rule: Rule) -> None:
    """One row lost, or one too many, and nothing is committed; nor when nobody counted what came in."""
    contract, told = bench.contract, alone(bench.contract, None)
    rows = rows_of(contract, ROWS)
    before, version = bench.rows(), bench.house.version(contract.path)
    for rows_in in (ROWS + 1, ROWS - 1, None):
        outcome = bench.admit(told, rows, rows_in=rows_in)
        said = verdict_on(outcome, rule)
        assert (said.evaluable, said.passed) == (rows_in is not None, False)
        bench.stays(outcome, before, version)
    assert bench.admit(told, rows, rows_in=ROWS).passed


def _most_rows(bench: Bench, rule: Rule) -> None:
    """One row of ten may break a rule on rows; with two the whole partition, or the table, waits."""
    contract = bench.contract
    filled = next(r for r in contract.rules if r.name == "verplichte_kolommen_gevuld")
    told = alone(contract, filled)
    required = next(c.name for c in contract.columns if c.required and c.name != contract.partition)
    few = [{**r, **({required: None} if i < 1 else {})} for i, r in enumerate(rows_of(contract, ROWS, 0))]
    many = [
        {**r, **({required: None} if i < 2 else {})}
        for i, r in enumerate(rows_of(contract, ROWS, 1 if contract.partition else 0))
    ]
    before, version = bench.house.rows(contract.path), bench.house.version(contract.path)
    outcome = bench.admit(told, many)
    said = verdict_on(outcome, rule)
    assert (said.passed, said.unexpected, said.judged) == (False, 2, ROWS)
    assert list(said.partitions) == [partition_of(contract, many[-1])]
    bench.stays(outcome, _texts(before), version)
    together = [*few, *many] if contract.partition and not bench.appends else few
    outcome = bench.admit(told, together)
    promoted = [partition_of(contract, few[-1])]
    assert list(outcome.promoted) == promoted
    assert outcome.quarantined == 1
    assert bench.rows() == _texts(bench.after(before, few[1:], promoted))


def _source(bench: Bench, rule: Rule) -> None:
    """Out of reach is a warning, a refusal an error; the way back is remembered, and no row is touched."""
    gate, before = bench.house.platform.gate, bench.rows()
    passage = Passage("run", "nacht", {})
    for state, passed, evaluable in (
        (SourceState("HTTP 503"), False, True),
        (SourceState("HTTP 403", needs_a_person=True), False, False),
        (SourceState(), True, True),
    ):
        said, _ = judge_source(gate, bench.contract, state, passage)
        assert (said.rule, said.passed, said.evaluable) == (rule, passed, evaluable)
        assert said.closes_gate == (not evaluable)
        last = gate.ledger.last_verdicts(bench.contract.path).set_index("regel").loc[rule.name]
        assert (bool(last["is_geslaagd"]), bool(last["is_te_beoordelen"])) == (passed, evaluable)
    assert bench.rows() == before


PROVEN_BY_THE_GATE: dict[str, Callable[[Bench, Rule], None]] = {
    SCHEMA_RULE: _schema,
    CONSERVATION_RULE: _conservation,
    MOST_ROWS_RULE: _most_rows,
    SOURCE_RULE: _source,
}


# -- Not evaluable -------------------------------------------------------------------------------------------


def _spoilt(rule: Rule) -> Rule:
    """The rule, asking for a column that is not there; a rule with control totals as it is, without them."""
    return rule if needs_controls(rule) else replace(rule, expectations=unevaluable(rule))


@pytest.fixture(scope="module")
def unable() -> Callable[[str], list[dict[str, Verdict]]]:
    """The verdicts on all spoilt rules of a contract: on the rows themselves, and counted first."""

    @cache
    def judged(path: str) -> list[dict[str, Verdict]]:
        contract = load_contract(path)
        rules = [_spoilt(r) for r in contract.rules if r.expectations]
        rows = rows_of(contract, ROWS)
        with connection() as con:
            con.from_arrow(arrow(contract, rows)).create("rijen")
            staged = Staged(con, "rijen", contract, {})
            names = [partition_of(contract, rows[0])]
            both = [judge_rules(staged, rules, names, rows_as_they_are=direct) for direct in (True, False)]
        return [{v.rule.name: v for v in verdicts} for verdicts in both]

    return judged


@pytest.mark.parametrize(("contract", "rule"), WITH_EXPECTATIONS)
def test_a_rule_that_cannot_be_evaluated_closes_the_gate(
    contract: Contract, rule: Rule, unable: Callable[[str], list[dict[str, Verdict]]]
) -> None:
    """Whatever its severity and scope; that a closed gate commits nothing is seen for each kind below."""
    for verdicts in unable(contract.path):
        said = verdicts[rule.name]
        assert (said.evaluable, said.passed, said.closes_gate) == (False, False, True)
        assert said.message.startswith("could not be evaluated: ")


def _each_kind() -> list[ParameterSet]:
    """One rule for each severity, scope and type of expectation."""
    kinds: dict[tuple[str, ...], ParameterSet] = {}
    for param in WITH_EXPECTATIONS:
        _, rule = param.values
        assert isinstance(rule, Rule)
        last = rule.expectations[-1].type
        kinds.setdefault((rule.severity, rule.scope, last, str(needs_controls(rule))), param)
    return list(kinds.values())


@pytest.mark.parametrize(("contract", "rule"), _each_kind())
def test_nothing_is_committed_when_a_rule_cannot_be_evaluated(
    contract: Contract, rule: Rule, bench: Bench
) -> None:
    before, version = bench.rows(), bench.house.version(contract.path)
    outcome = bench.admit(alone(contract, _spoilt(rule)), rows_of(contract, ROWS))
    assert not verdict_on(outcome, rule).evaluable
    bench.stays(outcome, before, version)
