"""The gate's promises: nothing bad gets through, nothing gets lost, and what nobody gated is not read.

Each test breaks one thing on purpose. Foreign commits have their own file, `test_trust.py`.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from gatehouse import (
    BROKEN,
    CLEAN,
    CLEAN_CONTRACT,
    MONTH,
    NEAR,
    RAW,
    House,
    Row,
    column,
    contract,
    drop,
    rule,
    toy_tables,
)

from koploper_pipelines.contracts import Contract
from koploper_pipelines.gates.gate import Outcome
from koploper_pipelines.gates.step import Report, RulesFailed

TABLE = "proef/cleaned/dagen"
DAYS = contract(
    TABLE,
    {
        "nr": column("integer", key=True, minimum=0),
        "dag": column("date", required=True, minimum="2020-01-01"),
        "meter": column("string", required=True, privacy="indirect"),
        "waarde": column("number", required=True, minimum=0),
    },
    partition="dag",
    reasons={"negatief": "kleiner dan nul"},
    rules=[
        rule(
            "gemiddelde_mogelijk",
            "partitie",
            "expect_column_mean_to_be_between",
            column="waarde",
            max_value=100,
        ),
        rule("som_klein", "tabel", "expect_column_sum_to_be_between", column="waarde", max_value=1000),
        rule(
            "som_laag", "tabel", "expect_column_sum_to_be_between", "warning", column="waarde", max_value=500
        ),
    ],
)
FIRST, SECOND, THIRD = "2024-03-01", "2024-03-02", "2024-03-03"


def rows(days: Sequence[str], value: float = 1.0, number: int = 3) -> list[Row]:
    return [
        {"nr": i + 100 * d, "dag": day, "meter": "a", "waarde": value}
        for d, day in enumerate(days)
        for i in range(number)
    ]


@pytest.fixture
def house(tmp_path: Path) -> House:
    """A house in which two days have passed the gate."""
    house = House(tmp_path / "huis")
    assert house.admit(DAYS, rows([FIRST, SECOND])).passed
    return house


def bytes_of(house: House, table: str) -> dict[str, str]:
    """Every file of a table and its quarantine, with a hash of its contents."""
    folders = [house.platform.lake.folder(t) for t in (table, table + "__quarantaine")]
    return {
        str(file.relative_to(house.home)): hashlib.sha256(file.read_bytes()).hexdigest()
        for folder in folders
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def failed(outcome: Outcome) -> list[str]:
    return [v.rule.name for v in outcome.verdicts if not v.passed]


# -- Nothing bad gets through --------------------------------------------------------------------------------


def _missing_column() -> pa.Table:
    return pa.table({"nr": [1], "dag": pa.array(["2024-03-01"]).cast(pa.date32()), "meter": ["a"]})


@pytest.mark.parametrize(
    ("offered", "partitions", "why"),
    [
        (rows([FIRST, SECOND], 150.0), [FIRST, SECOND], ["gemiddelde_mogelijk", "som_laag"]),
        (rows([FIRST], 99.0, 20), [FIRST], ["som_klein", "som_laag"]),
        ([], [FIRST, SECOND], ["tabel_is_niet_leeg"]),
        (
            [{**r, "waarde": None} for r in rows([FIRST])],
            [FIRST],
            ["verplichte_kolommen_gevuld", "meeste_rijen_blijven"],
        ),
        (rows([FIRST]) + rows([FIRST]), [FIRST], ["sleutel_is_uniek"]),
        (_missing_column(), [FIRST], ["schema_klopt"]),
    ],
    ids=["partitie", "tabel", "leeg", "rijen", "sleutel", "schema"],
)
def test_a_failed_gate_leaves_every_byte_as_it_was(
    house: House, offered: Any, partitions: list[str], why: list[str]
) -> None:
    files, seen, version = bytes_of(house, TABLE), house.rows(TABLE), house.version(TABLE)
    outcome = house.admit(DAYS, offered, partitions=partitions)
    assert failed(outcome) == why
    assert outcome.version is None
    assert bytes_of(house, TABLE) == files
    assert (house.rows(TABLE), house.version(TABLE)) == (seen, version)
    assert house.staged_files() == []


def test_a_day_that_fails_waits_while_the_others_are_committed(house: House) -> None:
    offered = [*rows([SECOND], 200.0), *rows([THIRD], 2.0)]
    outcome = house.admit(DAYS, offered)
    assert (outcome.promoted, outcome.held_back, outcome.passed) == ((THIRD,), (SECOND,), False)
    seen = {(str(r["dag"]), r["waarde"]) for r in house.rows(TABLE)}
    assert seen == {(FIRST, 1.0), (SECOND, 1.0), (THIRD, 2.0)}


def test_a_warning_that_cannot_be_evaluated_blocks_too(house: House) -> None:
    for severity in ("warning", "critical"):
        total = rule(
            "som",
            "tabel",
            "expect_column_sum_to_be_between",
            severity,
            column="waarde",
            max_value={"$PARAMETER": "x"},
        )
        told = contract(TABLE, {"nr": column("integer", key=True), "waarde": column("number")}, rules=[total])
        fresh = House(house.home / severity)
        outcome = fresh.admit(told, [{"nr": 1, "waarde": 1.0}])
        assert "the step gave no control total 'x'" in outcome.report
        assert fresh.version(TABLE) is None
        assert fresh.admit(told, [{"nr": 1, "waarde": 1.0}], controls={"x": 1.0}).passed


def test_a_warning_that_fails_blocks_nothing(house: House) -> None:
    outcome = house.admit(DAYS, rows([THIRD], 60.0, 10))
    assert failed(outcome) == ["som_laag"]
    assert outcome.passed
    assert len(house.rows(TABLE)) == 16


def test_an_empty_table_passes_only_with_a_reason(tmp_path: Path) -> None:
    columns = {"nr": column("integer", key=True, minimum=0), "waarde": column("number", minimum=0)}
    never = contract("proef/raw/nooit", columns)
    sometimes = contract("proef/raw/soms", columns, empty="er valt niets te meten")
    house = House(tmp_path)
    refused = house.admit(never, [], partitions=["*"])
    assert failed(refused) == ["tabel_is_niet_leeg"]
    assert house.version(never.path) is None
    assert house.admit(sometimes, [], partitions=["*"]).passed
    assert (house.version(sometimes.path), house.rows(sometimes.path)) == (0, [])


# -- The schema ----------------------------------------------------------------------------------------------


def _with(name: str, values: pa.Array) -> pa.Table:
    sound = {
        "nr": pa.array([1]),
        "dag": pa.array(["2024-03-01"]).cast(pa.date32()),
        "meter": pa.array(["a"]),
        "waarde": pa.array([1.0]),
    }
    return pa.table({**sound, name: values})


@pytest.mark.parametrize(
    ("offered", "said"),
    [
        (_with("waarde", pa.array(["1,5"])), "column 'waarde' is VARCHAR, expected number"),
        (_with("waarde", pa.array([True])), "column 'waarde' is BOOLEAN, expected number"),
        (_with("nr", pa.array([1.5])), "column 'nr' is DOUBLE, expected integer"),
        (_with("nr", pa.array([2**63], pa.uint64())), "column 'nr'"),
        (_with("nr", pa.array([Decimal("1.5")])), "column 'nr' is DECIMAL(2,1), expected integer"),
        (_with("waarde", pa.array([float("inf")])), "column 'waarde'"),
        (_with("meter", pa.array([7])), "column 'meter' is BIGINT, expected string"),
        (_with("meter", pa.array([["a"]])), "column 'meter' is VARCHAR[], expected string"),
        (_with("dag", pa.array(["2024-03-01"])), "column 'dag' is VARCHAR, expected date"),
        (_with("dag", pa.array([0], pa.timestamp("us"))), "column 'dag' is TIMESTAMP, expected date"),
        (_with("nogiets", pa.array([1])), "column 'nogiets' is not in the contract"),
        (_with("waarde", pa.array([1.0])).drop_columns(["meter"]), "column 'meter' is missing"),
    ],
    ids=lambda value: value.split("'")[1] if isinstance(value, str) else None,
)
def test_what_does_not_fit_is_refused_and_the_column_named(
    house: House, offered: pa.Table, said: str
) -> None:
    outcome = house.admit(DAYS, offered, partitions=[FIRST])
    assert failed(outcome) == ["schema_klopt"]
    assert said in outcome.report
    assert house.version(TABLE) == 0
    assert house.unfinished(TABLE) == 0


def test_moments_without_a_zone_are_refused(tmp_path: Path) -> None:
    told = contract("proef/raw/tijd", {"nr": column("integer", key=True), "op": column("timestamp")})
    outcome = House(tmp_path).admit(
        told, pa.table({"nr": [1], "op": pa.array([0], pa.timestamp("us"))}), partitions=["*"]
    )
    assert "column 'op' is TIMESTAMP, expected timestamp" in outcome.report


# -- Nothing gets lost ---------------------------------------------------------------------------------------

NEGATIVE: Row = {
    "nr": 9,
    "dag": FIRST,
    "meter": "a",
    "waarde": -1.0,
    "reden": "negatief",
    "toelichting": "-1",
}
CONSERVING = replace(CLEAN_CONTRACT, path=TABLE)


@pytest.mark.parametrize(
    ("rows_in", "said"),
    [
        (5, "5 in = 3 behouden + 1 in quarantaine + 1 zoek"),
        (3, "3 in = 3 behouden + 1 in quarantaine + -1 zoek"),
        (None, "the step gave no rows_in"),
    ],
    ids=["kwijt", "dubbel", "ongeteld"],
)
def test_rows_in_are_rows_kept_and_set_aside(tmp_path: Path, rows_in: int | None, said: str) -> None:
    house = House(tmp_path)
    sound = rows([FIRST])
    outcome = house.admit(CONSERVING, sound, rejected=[NEGATIVE], rows_in=rows_in)
    assert failed(outcome) == ["geen_rij_verloren"]
    assert said in outcome.report
    assert house.version(TABLE) is None
    assert house.admit(CONSERVING, sound, rejected=[NEGATIVE], rows_in=4).passed
    assert (len(house.rows(TABLE)), [q["reden"] for q in house.quarantine(TABLE)]) == (3, ["negatief"])


@pytest.mark.parametrize("reason", ["zomaar", None])
def test_a_row_is_not_set_aside_for_a_reason_nobody_documented(tmp_path: Path, reason: str | None) -> None:
    house = House(tmp_path)
    outcome = house.admit(CONSERVING, rows([FIRST]), rejected=[{**NEGATIVE, "reden": reason}], rows_in=4)
    assert failed(outcome) == ["schema_klopt"]
    assert house.version(TABLE) is None


def test_rows_that_break_a_rule_are_set_aside_with_its_name(house: House) -> None:
    offered = [*rows([THIRD], number=20), {"nr": 99, "dag": THIRD, "meter": "b", "waarde": -0.5}]
    outcome = house.admit(DAYS, offered)
    assert (outcome.passed, outcome.rows, outcome.quarantined) == (True, 20, 1)
    (aside,) = house.quarantine(TABLE)
    assert (aside["partitie"], aside["reden"]) == (THIRD, "waarden_binnen_bereik")
    assert json.loads(aside["rij"]) == {"nr": 99, "dag": THIRD, "meter": "b", "waarde": -0.5}


def test_control_totals_hold_for_the_days_in_hand(house: House) -> None:
    """Of a table with more days: what came before does not count, nor what is set aside or held back."""
    total = rule(
        "telt",
        "tabel",
        "expect_column_sum_to_be_between",
        column="waarde",
        min_value={"$PARAMETER": "som"},
        max_value={"$PARAMETER": "som"},
    )
    named = [
        rule("gemiddelde", "partitie", "expect_column_mean_to_be_between", column="waarde", max_value=100),
        total,
    ]
    told = contract(
        "proef/cleaned/som",
        {
            "nr": column("integer", key=True),
            "dag": column("date", required=True),
            "waarde": column("number", maximum=500),
        },
        partition="dag",
        rules=named,
    )
    fresh = House(house.home / "som")
    first = [{"nr": i, "dag": FIRST, "waarde": 1.0} for i in range(20)]
    assert fresh.admit(told, first, controls={"som": 20.0}).passed
    too_much = {"nr": 99, "dag": SECOND, "waarde": 501.0}
    second = [*({**r, "dag": SECOND} for r in first), too_much]
    assert fresh.admit(told, second, controls={"som": 20.0}).version is None
    assert fresh.admit(told, second, controls={"som": 521.0}).passed
    held = [{"nr": 1, "dag": SECOND, "waarde": 2.0}, {"nr": 2, "dag": THIRD, "waarde": 200.0}]
    assert fresh.admit(told, held, controls={"som": 202.0}).promoted == (SECOND,)


# -- Quarantine and readers ----------------------------------------------------------------------------------


def test_the_quarantine_that_is_read_belongs_to_the_version_that_is_read(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also between the two commits of a pass, and after a pass that did not get to the second."""

    def offer(number: int) -> list[Row]:
        broken = [{"nr": 900 + i, "dag": FIRST, "meter": "a", "waarde": -1.0} for i in range(number)]
        return [*rows([FIRST], number=40), *broken]

    assert house.admit(DAYS, offer(2)).passed
    reader, lake = house.reopened(), house.platform.lake
    between: list[int] = []
    commit = lake.commit

    def watched(table: str, *args: Any, **options: Any) -> int:
        if table == TABLE:
            between.append(len(reader.quarantine(TABLE)))
        return commit(table, *args, **options)

    monkeypatch.setattr(lake, "commit", watched)
    assert house.admit(DAYS, offer(3)).passed
    assert between == [2]
    assert len(reader.quarantine(TABLE)) == 3

    def disk_full(table: str, *args: Any, **options: Any) -> int:
        if table == TABLE:
            raise OSError("disk full")
        return commit(table, *args, **options)

    monkeypatch.setattr(lake, "commit", disk_full)
    with pytest.raises(OSError, match="disk full"):
        house.admit(DAYS, offer(1))
    assert len(reader.quarantine(TABLE)) == 3
    reader.platform.gate.mend(TABLE)
    assert len(reader.quarantine(TABLE)) == 3
    assert reader.unfinished(TABLE) == 0


def test_the_verdicts_on_committed_rows_are_known_whatever_happens_next(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pass that is cut off right after its rows were committed has told what every rule said of them."""
    append = house.platform.ledger.append

    def cut_off(moment: Any, entries: Any) -> None:
        if any(e["gebeurtenis"] == "gereed" for e in entries):
            raise OSError("disk full")
        append(moment, entries)

    monkeypatch.setattr(house.platform.ledger, "append", cut_off)
    with pytest.raises(OSError, match="disk full"):
        house.admit(DAYS, rows([THIRD], 60.0, 10))
    fresh = house.reopened()
    fresh.platform.gate.mend(TABLE)
    assert (fresh.version(TABLE), fresh.unfinished(TABLE)) == (1, 0)
    said = {
        e["regel"]: e["is_geslaagd"] for e in fresh.platform.ledger.last_verdicts(TABLE).to_dict("records")
    }
    assert said == {r.name: r.name != "som_laag" for r in DAYS.rules}


# -- Privacy -------------------------------------------------------------------------------------------------


def test_examples_of_broken_rows_do_not_name_who(house: House) -> None:
    secret = "0123456789abcdef"
    offered = [*rows([THIRD], number=20), {"nr": 99, "dag": THIRD, "meter": secret, "waarde": -0.5}]
    meter = replace(DAYS.column("meter"), pattern="^a$")
    told = replace(DAYS, columns=tuple(meter if c.name == "meter" else c for c in DAYS.columns))
    told = _with_bounds(told)
    outcome = house.admit(told, offered)
    (bounds,) = [v for v in outcome.verdicts if v.rule.name == "waarden_binnen_bereik"]
    assert {"nr": "99", "waarde": "-0.5"} in bounds.examples
    assert {"nr": "99", "meter": "•••"} in bounds.examples
    ledger = house.platform.ledger.read()
    assert secret not in ledger.to_csv()
    assert secret not in outcome.report


def _with_bounds(told: Contract) -> Contract:
    """The contract again, with its rule on ranges made from the columns as they are now."""
    from koploper_pipelines.contracts import Expectation

    extra = Expectation("expect_column_values_to_match_regex", {"column": "meter", "regex": "^a$"})
    rules = [
        replace(r, expectations=(*r.expectations, extra)) if r.name == "waarden_binnen_bereik" else r
        for r in told.rules
    ]
    return replace(told, rules=tuple(rules))


# -- Nights --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def first_night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy experiment after a first night with three days in January and February."""
    house = House(tmp_path_factory.mktemp("toy") / "huis", toy_tables())
    drop(
        house.home,
        "eerste.csv",
        [(1, "2024-01-30", 0, "a", 3.0), (2, "2024-02-01", 0, "a", 4.0), (3, "2024-02-02", 0, "b", 5.0)],
    )
    reports = house.night("nacht 1")
    assert all(isinstance(r, Report) and r.passed for r in reports.values())
    assert house.pending() == {}
    return house.home


@pytest.fixture
def toy(first_night: Path, tmp_path: Path) -> House:
    """A copy of that house."""
    return House(Path(shutil.copytree(first_night, tmp_path / "huis")), toy_tables())


def _promoted(report: Report | Exception) -> list[str]:
    assert isinstance(report, Report)
    return [p for o in report.outcomes for p in o.promoted]


def test_a_held_back_day_stays_pending_and_is_tried_again_when_something_changed(toy: House) -> None:
    drop(toy.home, "tweede.csv", [(4, "2024-02-05", 0, "a", 6.0), (5, "2024-02-09", 0, "a", 7.0)])
    toy.breaks(buren=["2024-02-05"])
    report = toy.night("nacht 2")[NEAR]
    assert isinstance(report, Report)
    assert not report.passed
    assert "2024-02-09" in _promoted(report)
    assert toy.pending() == {NEAR: ["2024-02-05"]}

    toy.breaks()
    same_night = toy.run(NEAR, "nacht 2")
    assert (same_night.skipped, same_night.outcomes) == (("2024-02-05",), ())
    assert toy.pending() == {NEAR: ["2024-02-05"]}
    # Another row of the day before is another input, so there is reason to try again.
    drop(toy.home, "derde.csv", [(6, "2024-02-04", 0, "a", 8.0)])
    again = [toy.run(table, "nacht 2") for table in (RAW, CLEAN, NEAR)][-1]
    assert {"2024-02-04", "2024-02-05"} <= set(_promoted(again))
    assert NEAR not in toy.pending()


def test_a_held_back_day_is_tried_again_on_another_night(toy: House) -> None:
    drop(toy.home, "tweede.csv", [(4, "2024-02-05", 0, "a", 6.0)])
    toy.breaks(buren=["2024-02-05"])
    for table in (RAW, CLEAN, NEAR):
        toy.run(table, "nacht 2")
    still = toy.run(NEAR, "nacht 3")
    assert still.partitions == ("2024-02-05",)
    assert not still.passed
    toy.breaks()
    assert toy.run(NEAR, "nacht 4").passed
    assert NEAR not in toy.pending()


def test_what_depends_on_a_refused_table_keeps_its_last_good_version(toy: House) -> None:
    before = toy.rows(NEAR), toy.rows(MONTH)
    drop(toy.home, "tweede.csv", [(4, "2024-02-01", 0, "a", 100.0)])
    toy.breaks(waarden=["2024-02-01"])
    reports = [toy.run(table, "nacht 2") for table in (RAW, CLEAN, NEAR, MONTH)]
    assert [r.passed for r in reports] == [True, False, True, True]
    assert BROKEN not in {r["waarde"] for r in toy.rows(CLEAN)}
    assert (toy.rows(NEAR), toy.rows(MONTH)) == before
    toy.breaks()
    for table in (RAW, CLEAN, NEAR, MONTH):
        toy.run(table, "nacht 3")
    assert {r["som_buren"] for r in toy.rows(NEAR) if str(r["dag"]) == "2024-02-01"} == {104.0}


# -- Other rules than a partition was gated under ------------------------------------------------------------


def _under(toy: House, highest: float) -> House:
    """The house in which today's contract of the cleaned values has a lower maximum."""
    stricter = rule(
        "niet_te_hoog", "rij", "expect_column_values_to_be_between", column="waarde", max_value=highest
    )
    columns: dict[str, Any] = {
        "nr": column("integer", key=True, minimum=0),
        "dag": column("date", required=True, minimum="2020-01-01"),
        "meter": column("string", required=True, pattern="^[a-z]$", privacy="indirect"),
        "waarde": column("number", required=True, minimum=0),
    }
    told = contract(
        CLEAN, columns, partition="dag", conserves=True, reasons=CLEAN_CONTRACT.reasons, rules=[stricter]
    )
    return toy.reopened(tables={**toy.tables, CLEAN: replace(toy.tables[CLEAN], contract=told)})


def test_days_gated_under_other_rules_are_judged_again_before_they_are_used(toy: House) -> None:
    passing = _under(toy, highest=5.0)
    assert passing.run(NEAR, chosen=["2024-02-01"], again=True).passed
    failing = _under(toy, highest=4.5)
    before = failing.version(NEAR), failing.version(MONTH)
    with pytest.raises(RulesFailed, match=r"2024-02-02.* passed its gate under older rules.*niet_te_hoog"):
        failing.run(NEAR, chosen=["2024-02-02"], again=True)
    with pytest.raises(RulesFailed):
        failing.run(MONTH, again=True)
    assert (failing.version(NEAR), failing.version(MONTH)) == before
    # Days that hold no such row may be used.
    assert failing.run(NEAR, chosen=["2024-01-30"], again=True).passed


def test_other_rules_make_all_days_pending(toy: House) -> None:
    stricter = _under(toy, highest=5.0)
    assert set(stricter.pending()[CLEAN]) == set(toy.head(CLEAN).partitions)
    reports = stricter.night("nacht 2")
    assert all(isinstance(r, Report) and r.passed for r in reports.values())
    assert stricter.pending() == {}
    assert RAW in stricter.tables
