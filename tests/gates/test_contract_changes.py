"""A contract that changes while its table holds rows: what stands stays, and nothing is mixed unseen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from gatehouse import House, column, connection, contract, rule

from koploper_pipelines.contracts import Contract
from koploper_pipelines.gates.staging import Offered
from koploper_pipelines.gates.step import RulesFailed, verified_rows
from koploper_pipelines.gates.table import GatedTable

TABLE = "proef/cleaned/dagen"
DAY_1, DAY_2 = "2024-03-01", "2024-03-02"
FIRST: Mapping[str, Any] = {
    "dag": column("date", key=True, minimum="2020-01-01"),
    "nr": column("integer", key=True, minimum=0),
}
GAINED: Mapping[str, Any] = {**FIRST, "hoogte": column("number", required=True, minimum=0)}


def _contract(columns: Mapping[str, Any], partition: str | None = "dag", rules: Any = ()) -> Contract:
    return contract(TABLE, columns, partition=partition, empty="proef", rules=rules)


def _house(home: Path, kept: Contract) -> House:
    """A house with rows of two days under an older contract, as one with today's contract opens it."""
    before = House(home)
    assert before.admit(kept, _rows((DAY_1, 1), (DAY_2, 2))).passed
    return before.reopened()


def _rows(*rows: tuple[str, int]) -> list[dict[str, Any]]:
    return [{"dag": day, "nr": nr, "hoogte": float(nr), "breedte": 1.0} for day, nr in rows]


def _read(house: House, contract: Contract, days: Sequence[str]) -> list[dict[str, Any]]:
    """What a step that reads some days of the table gets."""
    tables = {TABLE: GatedTable(contract, lambda step: Offered([]))}
    platform = replace(house.platform, tables=tables)
    with connection() as con:
        rows = verified_rows(platform, platform.plan(), con, TABLE, days).to_arrow_table().to_pylist()
    return sorted(rows, key=lambda r: int(r["nr"]))


def test_one_day_is_made_again_under_a_contract_that_gained_a_column(tmp_path: Path) -> None:
    gained = _contract(GAINED)
    house = _house(tmp_path, _contract(FIRST))

    assert house.admit(gained, _rows((DAY_1, 1))).passed

    assert _read(house, gained, [DAY_1]) == [{"dag": date(2024, 3, 1), "nr": 1, "hoogte": 1.0}]


def test_a_day_without_the_column_is_not_read_until_it_is_made_again(tmp_path: Path) -> None:
    gained = _contract(GAINED)
    house = _house(tmp_path, _contract(FIRST))
    house.admit(gained, _rows((DAY_1, 1)))

    with pytest.raises(RulesFailed, match=f"{TABLE}: {DAY_2} .*verplichte_kolommen_gevuld"):
        _read(house, gained, [DAY_1, DAY_2])

    house.admit(gained, _rows((DAY_2, 2)))
    assert [r["hoogte"] for r in _read(house, gained, [DAY_1, DAY_2])] == [1.0, 2.0]


def test_a_day_that_becomes_empty_may_be_the_first_under_the_new_contract(tmp_path: Path) -> None:
    gained = _contract(GAINED)
    house = _house(tmp_path, _contract(FIRST))

    assert house.admit(gained, [], partitions=[DAY_1]).passed
    assert house.admit(gained, _rows((DAY_2, 2))).passed

    assert [r["hoogte"] for r in _read(house, gained, [DAY_1, DAY_2])] == [2.0]


def test_rules_on_the_whole_table_still_see_the_days_of_before(tmp_path: Path) -> None:
    house = _house(tmp_path, _contract(FIRST))
    once = rule("nr_eenmaal", "tabel", "expect_column_values_to_be_unique", column="nr")

    # Number 2 is of the other day, which has no height yet.
    outcome = house.admit(_contract(GAINED, rules=[once]), _rows((DAY_1, 2)))

    assert not outcome.passed
    assert "nr_eenmaal" in outcome.report


def test_a_column_that_the_contract_lost_is_read_no_more(tmp_path: Path) -> None:
    lost = _contract(FIRST)
    house = _house(tmp_path, _contract(GAINED))

    assert house.admit(lost, _rows((DAY_1, 1))).passed

    assert [list(r) for r in _read(house, lost, [DAY_1])] == [["dag", "nr"]]


def test_a_table_without_days_takes_the_columns_of_its_contract(tmp_path: Path) -> None:
    house = _house(tmp_path, _contract(GAINED, partition=None))
    other = _contract({**FIRST, "breedte": column("number", required=True, minimum=0)}, partition=None)

    assert house.admit(other, _rows((DAY_1, 1))).passed

    assert house.delta(TABLE).schema().to_arrow().names == ["dag", "nr", "breedte"]


def test_a_column_of_another_type_than_the_rows_that_stay_is_refused(tmp_path: Path) -> None:
    """A day of other types among the rest would leave a table that nothing can read whole."""
    house = _house(tmp_path, _contract(GAINED))
    other = _contract({**FIRST, "hoogte": column("integer", required=True, minimum=0)})
    rows = [{"dag": DAY_1, "nr": 1, "hoogte": 1}]

    outcome = house.admit(other, rows)

    assert not outcome.passed
    assert "column 'hoogte' is double in the lake, expected int64" in outcome.report
    assert house.version(TABLE) == 0


def test_columns_of_before_may_come_in_another_order(tmp_path: Path) -> None:
    turned = _contract(dict(reversed(GAINED.items())))
    house = _house(tmp_path, _contract(FIRST))

    assert house.admit(turned, _rows((DAY_1, 1))).passed
    assert house.admit(turned, _rows((DAY_2, 2))).passed

    assert _read(house, turned, [DAY_1, DAY_2])[1] == {"hoogte": 2.0, "nr": 2, "dag": date(2024, 3, 2)}
