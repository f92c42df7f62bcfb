"""The CKAN client against a server that runs the SQL over real rows, and the patience of all clients."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import apis
import pytest

from koploper_pipelines.assets.snuffelfiets.raw import metingen
from koploper_pipelines.gates.staging import SchemaMismatch
from koploper_pipelines.resources.ckan import DataStore
from koploper_pipelines.resources.http import Api, Patience, SourceRefused, SourceUnreachable

TABLE = "metingen_van_de_fietsen"
KEY = "een-geheime-sleutel"
SCHEMA_FAULTS = {"kolom_weg": "pm2_5", "kolom_erbij": "pm4_0", "andere_vorm": "without result"}
BAD_PAGES = {
    "herhaald": "expected rising numbers|expected at most",
    "verkeerde_volgorde": "expected rising numbers",
}
NAMED = {**apis.TRANSIENT, **apis.REFUSALS, **SCHEMA_FAULTS, **BAD_PAGES}


@pytest.fixture(scope="module")
def rows(real_data: Callable[[str], Path]) -> list[dict[str, str]]:
    import csv

    with real_data("snuffelfiets/ckan_metingen_2024-11.csv").open(newline="") as file:
        return [{c: r[c] for c in metingen.CKAN_COLUMNS} for r in csv.DictReader(file)]


def client(url: str, key: str = KEY, page_rows: int = 500, fault: str | None = None) -> DataStore:
    api = Api("CKAN DataStore", url, {"Authorization": key}, apis.patience(fault))
    return DataStore(api, TABLE, metingen.CKAN_COLUMNS, metingen.IGNORED, page_rows)


def store_of(rows: Sequence[dict[str, str]], most_rows: int = 32_000) -> apis.Store:
    store = apis.Store(TABLE, metingen.CKAN_COLUMNS, most_rows)
    store.store(rows)
    return store


# -- One answer ------------------------------------------------------------------------------------------


def test_all_rows_come_once_in_order_and_as_they_are_written(rows: list[dict[str, str]]) -> None:
    with apis.serving(store_of(rows[:700]).answer, KEY) as served:
        pages = list(client(served.url, page_rows=300).after(0))
    assert [len(p) for p in pages] == [300, 300, 100]
    got = [r for page in pages for r in page]
    expected = sorted(rows[:700], key=lambda r: int(r["_id"]))
    assert [r["_id"] for r in got] == [r["_id"] for r in expected]
    for column in ("entity_id", "recording_timestamp", "pm2_5", "error_code"):
        assert [r[column] for r in got] == [r[column] for r in expected], column
    assert {float(cast("str", r["latitude"])) for r in got} == {float(r["latitude"]) for r in expected}


def test_a_site_that_cuts_its_answers_off_loses_no_row(rows: list[dict[str, str]]) -> None:
    with apis.serving(store_of(rows[:500], most_rows=64).answer) as served:
        pages = list(client(served.url, page_rows=32_000).after(0))
    assert [len(p) for p in pages] == [64] * 7 + [52]
    assert len({r["_id"] for p in pages for r in p}) == 500


def test_rows_are_asked_for_by_key_and_never_by_offset(rows: list[dict[str, str]]) -> None:
    with apis.serving(store_of(rows[:100]).answer) as served:
        list(client(served.url, page_rows=40).after(0))
    asked = [r["sql"] for r in served.requests]
    assert all('ORDER BY "_id" LIMIT 40' in sql and "OFFSET" not in sql for sql in asked)
    assert len(asked) == len(set(asked)) == 4


@pytest.mark.parametrize("fault", apis.TRANSIENT)
def test_what_passes_by_itself_is_tried_again(rows: list[dict[str, str]], fault: str) -> None:
    with apis.serving(store_of(rows[:60]).answer) as served:
        served.faults = [fault, fault]
        assert sum(len(p) for p in client(served.url, fault=fault).after(0)) == 60


@pytest.mark.parametrize("fault", [*apis.TRANSIENT, *BAD_PAGES])
def test_what_does_not_pass_is_named(rows: list[dict[str, str]], fault: str) -> None:
    with apis.serving(store_of(rows[:60]).answer) as served:
        served.faults = [fault] * 3
        with pytest.raises(SourceUnreachable, match=NAMED[fault]) as told:
            list(client(served.url, fault=fault).after(0))
    assert "asked 3 times" in str(told.value)
    assert KEY not in str(told.value)


@pytest.mark.parametrize("fault", apis.REFUSALS)
def test_a_refusal_is_not_tried_again(rows: list[dict[str, str]], fault: str) -> None:
    with apis.serving(store_of(rows[:60]).answer) as served:
        served.faults = [fault]
        with pytest.raises(SourceRefused, match=NAMED[fault]) as told:
            list(client(served.url).after(0))
        assert len(served.requests) == 1
    assert KEY not in str(told.value)


def test_a_wrong_key_is_named_and_never_shown(rows: list[dict[str, str]]) -> None:
    with apis.serving(store_of(rows[:60]).answer, KEY) as served:
        assert sum(len(p) for p in client(served.url).after(0)) == 60
        with pytest.raises(SourceRefused, match="refuses the key") as told:
            client(served.url, key="verkeerde-sleutel").check_columns()
    assert "verkeerde-sleutel" not in str(told.value)
    assert "verkeerde-sleutel" not in repr(client(served.url, key="verkeerde-sleutel"))


@pytest.mark.parametrize("fault", SCHEMA_FAULTS)
def test_another_schema_names_the_columns(rows: list[dict[str, str]], fault: str) -> None:
    with apis.serving(store_of(rows[:60]).answer) as served:
        for call in (lambda c: c.check_columns(), lambda c: list(c.after(0))):
            served.faults = [fault]
            with pytest.raises(SchemaMismatch, match=SCHEMA_FAULTS[fault]):
                call(client(served.url))


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ([], "without success"),
        ({"success": True, "result": None}, "without result"),
        ({"success": True, "result": {"records": []}}, "without fields"),
        ({"success": True, "result": {"records": [1], "fields": []}}, "came or went"),
    ],
)
def test_another_shape_is_named(said: Any, why: str) -> None:
    with (
        apis.serving(lambda path, params, fault: json.dumps(said).encode()) as served,
        pytest.raises(SchemaMismatch, match=why),
    ):
        list(client(served.url).after(0))


def test_an_answer_that_says_no_success_is_a_refusal() -> None:
    said = json.dumps({"success": False, "error": {"__type": "Validation Error"}}).encode()
    with (
        apis.serving(lambda path, params, fault: said) as served,
        pytest.raises(SourceRefused, match="Validation Error"),
    ):
        list(client(served.url).after(0))


def test_a_server_that_is_not_there_is_out_of_reach() -> None:
    with pytest.raises(SourceUnreachable, match="no connection"):
        client("http://127.0.0.1:9").check_columns()


@pytest.mark.parametrize("name", ['x"; DROP TABLE x', "", "a b"])
def test_a_name_that_cannot_stand_in_a_query_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="expected letters"):
        DataStore(Api("CKAN", "https://x"), name, ("_id",))


@pytest.mark.parametrize("address", ["ckan.example", "ftp://ckan.example", "https://", "http://ckan.example"])
def test_an_address_that_is_none_or_would_show_the_key_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match=r"expected .* with https://") as told:
        Api("CKAN", address, {"Authorization": KEY})
    assert KEY not in str(told.value)


def test_waits_grow_differ_and_obey_the_source() -> None:
    import tenacity

    api = Api("x", "https://x", {}, Patience(first_wait_s=1.0, longest_wait_s=8.0))

    def wait(attempt: int, retry_after_s: float = 0.0) -> float:
        from koploper_pipelines.resources.http import BadAnswer

        state = tenacity.RetryCallState(tenacity.Retrying(), None, (), {})
        state.attempt_number = attempt
        state.set_exception((BadAnswer, BadAnswer("x", retry_after_s), None))  # type: ignore[arg-type]
        return api._wait(state)

    for attempt, least in ((1, 1.0), (2, 2.0), (3, 4.0)):
        waits = [wait(attempt) for _ in range(50)]
        assert least <= min(waits) < max(waits) <= least + 1.0
        assert len(set(waits)) > 40
    assert wait(30) == 8.0
    assert wait(1, retry_after_s=5.0) == 5.0
    assert wait(1, retry_after_s=3600.0) == 8.0
