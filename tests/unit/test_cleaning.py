"""Cleaning of raw measurements: every reason just inside and just outside its limit, and the real file."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa  # type: ignore[import-untyped, unused-ignore]
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from koploper_pipelines.methods.snuffelfiets import cleaning
from koploper_pipelines.methods.snuffelfiets.cleaning import REASONS, CleaningRules, judge, kept, rejected

RULES = CleaningRules()
LANDED = datetime(2024, 12, 1, 3, 0, tzinfo=UTC)
SOUND: dict[str, Any] = {
    "bestand": "b1",
    "geland_op": LANDED,
    "apparaat": "a1",
    "_id": "41415374",
    "recording_timestamp": "2024-11-11T08:48:51",
    "receive_timestamp": "2024-11-11T08:53:42.931000",
    "acc_max": "1",
    "error_code": "0",
    "horizontal_accuracy": "7054",
    "vertical_accuracy": "9817",
    "humidity": "70",
    "latitude": "52.0981923",
    "longitude": "5.1257414",
    "no2": "0",
    "pm10": "1843",
    "pm1_0": "1212",
    "pm2_5": "1325",
    "pressure": "1011",
    "temperature": "185",
    "version_major": "2",
    "version_minor": "3",
    "voc": "4",
    "voltage": "113",
}
V1 = {"version_major": "1", "version_minor": "6", "pm1_0": "3", "pm2_5": "4", "pm10": "5"}
SCHEMA = pa.schema(
    [(name, pa.timestamp("us", "UTC") if name == "geland_op" else pa.string()) for name in SOUND]
    + [("rij", pa.int64()), ("opnamedatum", pa.date32())]
)
REQUIRED = [
    "apparaat",
    "_id",
    "recording_timestamp",
    "receive_timestamp",
    "error_code",
    "version_major",
    "version_minor",
    "pm1_0",
    "pm2_5",
    "pm10",
]
OPTIONAL = ["temperature", "humidity", "pressure", "voltage", "voc", "acc_max", "no2", "vertical_accuracy"]


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("SET threads = 2")
        yield connection


def raw(con: duckdb.DuckDBPyConnection, *changes: dict[str, Any]) -> duckdb.DuckDBPyRelation:
    """Sound rows with changes, each the only one of its device unless the change says otherwise."""
    rows = []
    for i, change in enumerate(changes, start=1):
        row = SOUND | {"rij": i} | change
        if "opnamedatum" not in row:
            row["opnamedatum"] = landed_date(row["recording_timestamp"])
        rows.append(row)
    return con.from_arrow(pa.Table.from_pylist(rows, schema=SCHEMA))


def landed_date(clock: str | None) -> date | None:
    try:
        return datetime.fromisoformat(clock or "").date()
    except ValueError:
        return None


def judged(
    con: duckdb.DuckDBPyConnection, *changes: dict[str, Any], rules: CleaningRules = RULES
) -> list[dict[str, Any]]:
    relation = judge(con, raw(con, *changes), rules).order("bestand, rij")
    return list(relation.to_arrow_table().to_pylist())


def verdict(con: duckdb.DuckDBPyConnection, **change: Any) -> str | None:
    (row,) = judged(con, change)
    reason: str | None = row["reden"]
    return reason


def at(seconds: float, start: str = "2024-11-11T08:00:00") -> dict[str, str]:
    """The same moment of recording and receipt, so many seconds after the start."""
    moment = (datetime.fromisoformat(start) + timedelta(seconds=seconds)).isoformat()
    return {"recording_timestamp": moment, "receive_timestamp": moment}


def test_typed_values_of_firmware_2(con: duckdb.DuckDBPyConnection) -> None:
    (row,) = judged(con, {})
    assert row == {
        "bestand": "b1",
        "rij": 1,
        "bron_id": 41415374,
        "apparaat": "a1",
        "meetdag": date(2024, 11, 11),
        "opgenomen_op": datetime(2024, 11, 11, 8, 48, 51, tzinfo=UTC),
        "ontvangen_op": datetime(2024, 11, 11, 8, 53, 42, 931000, tzinfo=UTC),
        "vertraging_s": 291.931,
        "breedtegraad": 52.0981923,
        "lengtegraad": 5.1257414,
        "nauwkeurigheid_m": 7.054,
        "pm1_ug_m3": 12.12,
        "pm25_ug_m3": 13.25,
        "pm10_ug_m3": 18.43,
        "is_onder_detectie": False,
        "temperatuur_c": 18.5,
        "luchtvochtigheid_pct": 70.0,
        "luchtdruk_hpa": 1011.0,
        "batterijspanning_v": pytest.approx(4.13, abs=1e-12),
        "voc_kohm": 4.0,
        "acc_max": 1.0,
        "foutcode": 0,
        "firmware": "2.3",
        "reden": None,
        "toelichting": None,
    }


def test_columns_and_types_of_kept_rows(con: duckdb.DuckDBPyConnection) -> None:
    result = kept(judge(con, raw(con, {}), RULES))
    types = dict(zip(result.columns, map(str, result.types), strict=True))
    assert tuple(types) == cleaning.TYPED_COLUMNS
    assert {name: t for name, t in types.items() if t != "DOUBLE"} == {
        "bron_id": "BIGINT",
        "apparaat": "VARCHAR",
        "meetdag": "DATE",
        "opgenomen_op": "TIMESTAMP WITH TIME ZONE",
        "ontvangen_op": "TIMESTAMP WITH TIME ZONE",
        "is_onder_detectie": "BOOLEAN",
        "foutcode": "INTEGER",
        "firmware": "VARCHAR",
    }


def test_pm_of_firmware_1_is_whole_micrograms(con: duckdb.DuckDBPyConnection) -> None:
    (row,) = judged(con, V1)
    assert (row["pm1_ug_m3"], row["pm25_ug_m3"], row["pm10_ug_m3"]) == (3.0, 4.0, 5.0)
    assert row["firmware"] == "1.6"


LIMITS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    # reason, change just inside the limit, change just outside
    ("onleesbare_waarde", {"_id": "0"}, {"_id": "-1"}),
    ("onleesbare_waarde", {"_id": str(2**53)}, {"_id": str(2**53 + 2)}),
    ("onleesbare_waarde", {"error_code": "32.0"}, {"error_code": "32.5"}),
    ("onleesbare_waarde", {"version_minor": "999"}, {"version_minor": "1000"}),
    ("onleesbare_waarde", V1, {"version_major": "0"}),
    ("onleesbare_waarde", {"voc": "2147483647"}, {"voc": "2147483648"}),
    ("onleesbare_waarde", {"receive_timestamp": "2024-11-11 08:53"}, {"receive_timestamp": "2024-11-11"}),
    ("onleesbare_waarde", {}, {"receive_timestamp": "2024-11-11T08:53:42Z"}),
    ("onleesbare_waarde", {}, {"receive_timestamp": "2024-11-31T08:53:42"}),
    ("onmogelijke_klok", at(0, "2018-01-01T00:00:00"), at(-1, "2018-01-01T00:00:00")),
    ("onmogelijke_klok", at(0, "2024-12-02T03:00:00"), at(1, "2024-12-02T03:00:00")),
    (
        "onmogelijke_klok",
        {"receive_timestamp": "2024-12-02T03:00:00"},
        {"receive_timestamp": "2024-12-02T03:00:00.000001"},
    ),
    ("onmogelijke_klok", {}, {"opnamedatum": None}),
    ("onmogelijke_klok", {}, {"recording_timestamp": "1970-01-01T00:10:00"}),
    ("onmogelijke_klok", {}, {"recording_timestamp": "2106-02-07T06:28:15"}),
    (
        "klok_voor_ontvangst",
        {"receive_timestamp": "2024-11-11T08:47:51"},
        {"receive_timestamp": "2024-11-11T08:47:50.999999"},
    ),
    ("geen_positie", {}, {"latitude": "0", "longitude": "0.0"}),
    ("geen_positie", {}, {"latitude": ""}),
    ("geen_positie", {}, {"longitude": None}),
    ("positie_onmogelijk", {}, {"latitude": "0"}),
    ("positie_onmogelijk", {"latitude": "50.65"}, {"latitude": "50.6499"}),
    ("positie_onmogelijk", {"latitude": "53.66"}, {"latitude": "53.6601"}),
    ("positie_onmogelijk", {"longitude": "3.26"}, {"longitude": "3.2599"}),
    ("positie_onmogelijk", {"longitude": "7.33"}, {"longitude": "7.3301"}),
    ("positie_onnauwkeurig", {"horizontal_accuracy": "50000"}, {"horizontal_accuracy": "50001"}),
    ("positie_onnauwkeurig", {"horizontal_accuracy": "1"}, {"horizontal_accuracy": "0"}),
    ("positie_onnauwkeurig", {}, {"horizontal_accuracy": "-7000"}),
    ("positie_onnauwkeurig", {}, {"horizontal_accuracy": ""}),
    ("pm_onwaarschijnlijk", {"pm2_5": "15000", "pm10": "15000"}, {"pm2_5": "15001", "pm10": "15001"}),
    ("pm_onwaarschijnlijk", V1 | {"pm2_5": "150", "pm10": "150"}, V1 | {"pm2_5": "151", "pm10": "151"}),
    ("pm_onwaarschijnlijk", {"pm10": "100000"}, {"pm10": "100001"}),
    ("pm_onwaarschijnlijk", {"pm1_0": "0"}, {"pm1_0": "-1"}),
    ("pm_onwaarschijnlijk", {"pm1_0": "1325"}, {"pm1_0": "1326"}),
    ("pm_onwaarschijnlijk", {"pm10": "1325"}, {"pm10": "1324"}),
    ("waarde_buiten_bereik", {"humidity": "100"}, {"humidity": "101"}),
    ("waarde_buiten_bereik", {"humidity": "0"}, {"humidity": "-1"}),
    ("waarde_buiten_bereik", {"temperature": "600"}, {"temperature": "601"}),
    ("waarde_buiten_bereik", {"temperature": "-250"}, {"temperature": "-251"}),
    ("waarde_buiten_bereik", {"pressure": "900"}, {"pressure": "899"}),
    ("waarde_buiten_bereik", {"pressure": "1100"}, {"pressure": "1101"}),
]


def test_just_inside_each_limit_is_usable(con: duckdb.DuckDBPyConnection) -> None:
    rows = judged(con, *(change | {"apparaat": f"a{i}"} for i, (_, change, _) in enumerate(LIMITS)))
    assert [(row["reden"], row["toelichting"]) for row in rows] == [(None, None)] * len(LIMITS)


def test_just_outside_each_limit_has_its_reason(con: duckdb.DuckDBPyConnection) -> None:
    rows = judged(con, *(change | {"apparaat": f"a{i}"} for i, (_, _, change) in enumerate(LIMITS)))
    assert [row["reden"] for row in rows] == [reason for reason, _, _ in LIMITS]


def test_every_reason_but_those_of_neighbours_has_a_limit_above() -> None:
    by_bits_or_neighbours = {"dubbel", "fout_kritiek", "fout_onbekend", "pm_leesfout", "pm_opwarmen"}
    by_choice = {"pm_onder_detectie"}
    assert {reason for reason, _, _ in LIMITS} | by_bits_or_neighbours | by_choice == set(REASONS)


def test_required_values_may_not_be_empty(con: duckdb.DuckDBPyConnection) -> None:
    day = {"opnamedatum": date(2024, 11, 11)}
    for empty in (None, ""):
        rows = judged(con, *({column: empty} | day for column in REQUIRED))
        assert [row["reden"] for row in rows] == ["onleesbare_waarde"] * len(REQUIRED)
        named = [row["toelichting"].split(":")[0] for row in rows]
        assert named == ["entity_id" if column == "apparaat" else column for column in REQUIRED]


def test_other_values_may_be_empty(con: duckdb.DuckDBPyConnection) -> None:
    for empty in (None, ""):
        rows = judged(con, *({column: empty, "apparaat": column} for column in OPTIONAL))
        assert [row["reden"] for row in rows] == [None] * len(OPTIONAL)


def test_a_row_that_names_no_device_is_not_one_of_a_device(con: duckdb.DuckDBPyConnection) -> None:
    rows = judged(con, {"apparaat": "onbekend"}, {"apparaat": "onbekend"})
    assert [row["reden"] for row in rows] == ["onleesbare_waarde"] * 2
    assert [row["apparaat"] for row in rows] == [None, None]


NO_NUMBERS = [
    "nan",
    "NaN",
    "inf",
    "-inf",
    "infinity",
    "1e400",
    "9" * 40,
    "1_000",
    "0x10",
    "1,5",
    "één",
    " ",
    "-",
]


@pytest.mark.parametrize("column", ["error_code", "pm2_5", "latitude", "voltage", "no2"])
def test_what_is_no_number_is_unreadable_and_no_error(con: duckdb.DuckDBPyConnection, column: str) -> None:
    values = [*NO_NUMBERS, "7" * 100_000, "x" * 100_000, "358637363363281"]
    rows = judged(con, *({column: value, "apparaat": f"a{i}"} for i, value in enumerate(values)))
    assert [row["reden"] for row in rows] == ["onleesbare_waarde"] * len(values)
    # The explanation names the column and holds nothing of the value, which may be a device number.
    (explanation,) = {row["toelichting"] for row in rows}
    assert re.fullmatch(
        rf"{column}: (geheel getal van 0 tot en met 2147483647|getal|getal of leeg) verwacht", explanation
    )


def test_notations_of_one_number(con: duckdb.DuckDBPyConnection) -> None:
    notations = ["70", " 70", "+70", "70.0", "7e1", "700e-1"]
    rows = judged(con, *({"humidity": text, "apparaat": text} for text in notations))
    assert [(row["reden"], row["luchtvochtigheid_pct"]) for row in rows] == [(None, 70.0)] * len(notations)


def test_what_is_no_naive_clock_is_unreadable(con: duckdb.DuckDBPyConnection) -> None:
    clocks = ["epoch", "infinity", "now", "2024-11-11T08:48:51+01:00", "0001-01-01T00:00:00", "2024-11-11"]
    rows = judged(con, *({"recording_timestamp": clock, "opnamedatum": None} for clock in clocks))
    for row in rows:
        assert (row["reden"], row["meetdag"], row["opgenomen_op"]) == ("onleesbare_waarde", None, None)


number_text = st.one_of(
    st.text(alphabet="0123456789.eE+-_ xinfa,", max_size=12),
    st.floats(-1e9, 1e9, allow_nan=False).map(repr),
    st.integers(-(10**12), 10**12).map(str),
)


@settings(max_examples=15, deadline=None)
@given(values=st.lists(number_text, min_size=1, max_size=40))
def test_numbers_are_read_as_by_the_grammar(values: list[str]) -> None:
    grammar = re.compile(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*")

    def expected(text: str) -> float | None:
        number = float(text) if grammar.fullmatch(text) else np.inf
        return number if abs(number) <= 2**31 - 1 else None

    with duckdb.connect() as con:
        rows = judged(con, *({"voc": value, "apparaat": f"a{i}"} for i, value in enumerate(values)))
    assert [row["voc_kohm"] for row in rows] == [expected(value) for value in values]
    assert [row["reden"] is None for row in rows] == [
        value == "" or expected(value) is not None for value in values
    ]


def check_error_bits(con: duckdb.DuckDBPyConnection) -> None:
    """Bit by bit and in combination; the meaning is that of the published list, written out here."""
    critical, unknown = "fout_kritiek", "fout_onbekend"
    expected = {
        0: None,
        1: critical,
        2: unknown,
        4: critical,
        8: critical,
        16: critical,
        32: None,
        64: unknown,
        128: unknown,
        256: unknown,
        512: critical,
        1024: critical,
        2048: "pm_leesfout",
        4096: critical,
        8192: unknown,
        16384: unknown,
        32768: unknown,
        32 + 1: critical,
        32 + 128: unknown,
        128 + 1: critical,
        2048 + 32: "pm_leesfout",
        2048 + 512: critical,
        2048 + 64: unknown,
        1 + 4 + 16 + 512: critical,
    }
    rows = judged(con, *({"error_code": str(code), "apparaat": f"a{code}"} for code in expected))
    assert {row["foutcode"]: row["reden"] for row in rows} == expected


def test_error_code_is_read_bit_by_bit(
    con: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_error_bits(con)
    sound = cleaning._verdicts

    def as_numbers(rules: CleaningRules) -> list[tuple[str, str, str]]:
        wrong = {
            "fout_kritiek": "foutcode IN (1, 4, 8, 16, 512, 1024, 4096)",
            "fout_onbekend": "foutcode = 128",
        }
        return [(reason, wrong.get(reason, condition), text) for reason, condition, text in sound(rules)]

    monkeypatch.setattr(cleaning, "_verdicts", as_numbers)
    with pytest.raises(AssertionError):
        check_error_bits(con)


def test_no_fix_with_a_usable_position_is_kept(con: duckdb.DuckDBPyConnection) -> None:
    assert verdict(con, error_code="32") is None
    assert verdict(con, error_code="32", latitude="0", longitude="0") == "geen_positie"


FOR_EVERY_REASON: dict[str, dict[str, Any]] = {
    "onleesbare_waarde": {"voc": "nan"},
    "onmogelijke_klok": {"recording_timestamp": "1970-01-01T00:00:00", "opnamedatum": None},
    "klok_voor_ontvangst": {"receive_timestamp": "2024-11-11T08:00:00"},
    "fout_kritiek": {"error_code": "512"},
    "fout_onbekend": {"error_code": "128"},
    "pm_leesfout": {"error_code": "2048"},
    "geen_positie": {"latitude": "0", "longitude": "0"},
    "positie_onmogelijk": {"latitude": "60"},
    "positie_onnauwkeurig": {"horizontal_accuracy": "90000"},
    "pm_onder_detectie": V1 | {"pm1_0": "0", "pm2_5": "0"},
    "pm_onwaarschijnlijk": {"pm10": "-1"},
    "waarde_buiten_bereik": {"humidity": "130"},
}


def test_the_first_reason_of_two_is_given(con: duckdb.DuckDBPyConnection) -> None:
    rules = CleaningRules(zero_pm_rule="weglaten")
    order = [reason for reason in REASONS if reason in FOR_EVERY_REASON]
    pairs = [(a, b) for i, a in enumerate(order) for b in order[i + 1 :]]
    changes = []
    for i, (first, second) in enumerate(pairs):
        both = FOR_EVERY_REASON[second] | FOR_EVERY_REASON[first]
        if {first, second} <= {"fout_kritiek", "fout_onbekend", "pm_leesfout"}:
            codes = (int(FOR_EVERY_REASON[r]["error_code"]) for r in (first, second))
            both["error_code"] = str(sum(codes))
        changes.append(both | {"apparaat": f"a{i}"})
    rows = judged(con, *changes, rules=rules)
    assert [row["reden"] for row in rows] == [first for first, _ in pairs]


def duplicates(con: duckdb.DuckDBPyConnection, *changes: dict[str, Any]) -> list[str | None]:
    return [row["reden"] for row in judged(con, *changes)]


def test_of_duplicates_the_first_sound_received_and_numbered_is_kept(con: duckdb.DuckDBPyConnection) -> None:
    later = {"receive_timestamp": "2024-11-11T08:53:43"}
    assert duplicates(con, later | {"_id": "1"}, {"_id": "2"}) == ["dubbel", None]
    # Ten comes after nine, other than in text.
    assert duplicates(con, {"_id": "10"}, {"_id": "9"}) == ["dubbel", None]
    assert duplicates(con, {"error_code": "512"}, later) == ["dubbel", None]
    assert duplicates(con, {"error_code": "512"}, later | {"error_code": "4"}) == ["fout_kritiek", "dubbel"]
    assert duplicates(con, {"bestand": "b2"}, {"bestand": "b1", "rij": 9}) == [None, "dubbel"]
    assert duplicates(con, {}, {}, {}) == [None, "dubbel", "dubbel"]
    assert duplicates(con, {}, {"apparaat": "a2"}) == [None, None]


def test_a_row_rejected_before_is_no_duplicate_and_displaces_none(con: duckdb.DuckDBPyConnection) -> None:
    early = {"receive_timestamp": "2024-11-11T08:48:52"}
    assert duplicates(con, early | {"voc": "nan"}, {}) == ["onleesbare_waarde", None]
    assert duplicates(con, {"receive_timestamp": "2024-11-11T08:40:00"}, {}) == ["klok_voor_ontvangst", None]
    # A position is judged after duplicates: the same measurement twice is one.
    assert duplicates(con, early | {"latitude": "0", "longitude": "0"}, {}) == ["geen_positie", "dubbel"]


def check_warm_up(con: duckdb.DuckDBPyConnection) -> None:
    rows = judged(con, {"error_code": "2048"} | at(0), *(at(12 * i) for i in range(1, 8)))
    assert [row["reden"] for row in rows] == ["pm_leesfout"] + ["pm_opwarmen"] * 5 + [None] * 2


def test_the_five_measurements_after_a_failed_reading_warm_up(
    con: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_warm_up(con)
    sound = cleaning._warming_up_sql
    monkeypatch.setattr(
        cleaning, "_warming_up_sql", lambda rules: sound(rules).replace("5 PRECEDING", "6 PRECEDING")
    )
    with pytest.raises(AssertionError):
        check_warm_up(con)


def test_warming_up_ends_after_an_hour(con: duckdb.DuckDBPyConnection) -> None:
    failed = {"error_code": "2048"} | at(0)
    assert [row["reden"] for row in judged(con, failed, at(3600), at(3601))] == [
        "pm_leesfout",
        "pm_opwarmen",
        None,
    ]


def test_a_new_failure_starts_the_count_again(con: duckdb.DuckDBPyConnection) -> None:
    fails = {0, 4}
    rows = judged(con, *(at(12 * i) | {"error_code": "2048" if i in fails else "0"} for i in range(11)))
    assert [row["reden"] for row in rows] == [
        "pm_leesfout",
        *["pm_opwarmen"] * 3,
        "pm_leesfout",
        *["pm_opwarmen"] * 5,
        None,
    ]


def test_warming_up_counts_measurements_of_that_device_once(con: duckdb.DuckDBPyConnection) -> None:
    failed = {"error_code": "2048"} | at(0)
    other = at(6) | {"apparaat": "a2"}
    twice = at(12) | {"bestand": "b2"}
    lost = at(18) | {"voc": "nan"}
    rows = judged(con, failed, other, twice, lost, *(at(12 * i) for i in range(1, 7)))
    assert Counter(row["reden"] for row in rows if row["apparaat"] == "a1") == {
        "pm_leesfout": 1,
        "dubbel": 1,
        "onleesbare_waarde": 1,
        "pm_opwarmen": 5,
        None: 1,
    }
    assert [row["reden"] for row in rows if row["apparaat"] == "a2"] == [None]


def test_warming_up_goes_on_past_midnight_and_new_year(con: duckdb.DuckDBPyConnection) -> None:
    landed = {"geland_op": datetime(2025, 1, 2, tzinfo=UTC)}
    rows = judged(
        con,
        *(
            at(12 * i, "2024-12-31T22:59:54") | landed | {"error_code": "2048" * (i == 0) or "0"}
            for i in range(3)
        ),
    )
    assert [(row["meetdag"], row["reden"]) for row in rows] == [
        (date(2024, 12, 31), "pm_leesfout"),
        (date(2025, 1, 1), "pm_opwarmen"),
        (date(2025, 1, 1), "pm_opwarmen"),
    ]


def test_zero_of_firmware_1_by_the_three_rules(con: duckdb.DuckDBPyConnection) -> None:
    zero = V1 | {"pm1_0": "0", "pm2_5": "0", "pm10": "2"}
    part = V1 | {"pm1_0": "0", "pm2_5": "5", "pm10": "6", "apparaat": "a2"}
    of_v2 = {"pm1_0": "0", "pm2_5": "0", "pm10": "0", "apparaat": "a3"}

    def outcome(rule: cleaning.ZeroPmRule) -> list[tuple[Any, ...]]:
        columns = ("pm1_ug_m3", "pm25_ug_m3", "pm10_ug_m3", "is_onder_detectie", "reden")
        rows = judged(con, zero, part, of_v2, rules=CleaningRules(zero_pm_rule=rule))
        return [tuple(row[c] for c in columns) for row in rows]

    assert outcome("een") == [(1, 1, 2, True, None), (1, 5, 6, False, None), (0, 0, 0, False, None)]
    assert outcome("laten") == [(0, 0, 2, True, None), (0, 5, 6, False, None), (0, 0, 0, False, None)]
    assert outcome("weglaten") == [
        (0, 0, 2, True, "pm_onder_detectie"),
        (0, 5, 6, False, None),
        (0, 0, 0, False, None),
    ]


LOCAL_DAYS = [
    ("2024-11-11T22:59:59", date(2024, 11, 11)),
    ("2024-11-11T23:00:00", date(2024, 11, 12)),
    ("2024-07-11T21:59:59", date(2024, 7, 11)),
    ("2024-07-11T22:00:00", date(2024, 7, 12)),
    # Summer time begins: the day is 23 hours long.
    ("2024-03-30T22:59:59", date(2024, 3, 30)),
    ("2024-03-30T23:00:00", date(2024, 3, 31)),
    ("2024-03-31T21:59:59", date(2024, 3, 31)),
    ("2024-03-31T22:00:00", date(2024, 4, 1)),
    # Summer time ends: the day is 25 hours long.
    ("2024-10-26T21:59:59", date(2024, 10, 26)),
    ("2024-10-26T22:00:00", date(2024, 10, 27)),
    ("2024-10-27T22:59:59", date(2024, 10, 27)),
    ("2024-10-27T23:00:00", date(2024, 10, 28)),
    ("2023-12-31T22:59:59", date(2023, 12, 31)),
    ("2023-12-31T23:00:00", date(2024, 1, 1)),
]


def test_day_is_the_local_day(con: duckdb.DuckDBPyConnection) -> None:
    rows = judged(con, *(at(0, clock) for clock, _ in LOCAL_DAYS))
    assert [(row["meetdag"], row["reden"]) for row in rows] == [(day, None) for _, day in LOCAL_DAYS]
    recorded = [row["opgenomen_op"].astimezone(UTC).replace(tzinfo=None).isoformat() for row in rows]
    assert recorded == [clock for clock, _ in LOCAL_DAYS]


LOCAL_CLOCKS = [
    ("2024-01-15T12:00:00", "2024-01-15T11:00:00"),
    ("2024-07-15T12:00:00", "2024-07-15T10:00:00"),
    ("2024-03-31T01:59:59", "2024-03-31T00:59:59"),
    ("2024-03-31T02:30:00", "2024-03-31T01:30:00"),
    ("2024-03-31T03:00:00", "2024-03-31T01:00:00"),
    ("2024-10-27T01:59:59", "2024-10-26T23:59:59"),
    ("2024-10-27T02:30:00", "2024-10-27T01:30:00"),
    ("2024-10-27T03:00:00", "2024-10-27T02:00:00"),
]


def test_device_clock_in_local_time(con: duckdb.DuckDBPyConnection) -> None:
    rules = CleaningRules(device_time_zone="Europe/Amsterdam")
    rows = judged(con, *(at(0, local) | {"apparaat": local} for local, _ in LOCAL_CLOCKS), rules=rules)
    for row, (local, utc) in zip(rows, LOCAL_CLOCKS, strict=True):
        assert row["opgenomen_op"] == row["ontvangen_op"] == datetime.fromisoformat(utc).replace(tzinfo=UTC)
        assert (row["meetdag"], row["vertraging_s"]) == (date.fromisoformat(local[:10]), 0)


def test_day_is_unknown_exactly_where_landing_knew_none(con: duckdb.DuckDBPyConnection) -> None:
    day = date(2024, 11, 11)
    rows = judged(
        con,
        {"opnamedatum": None},
        {"opnamedatum": None, "voc": "nan"},
        {"opnamedatum": day, "recording_timestamp": "11 november"},
        {"opnamedatum": day, "recording_timestamp": "1970-01-01T00:00:00"},
        {"opnamedatum": day, "receive_timestamp": ""},
    )
    assert [row["meetdag"] for row in rows] == [None, None, day, day, day]
    assert [row["reden"] for row in rows] == [
        "onmogelijke_klok",
        "onleesbare_waarde",
        "onleesbare_waarde",
        "onmogelijke_klok",
        "onleesbare_waarde",
    ]


def many(days: int = 4, seed: int = 5) -> list[dict[str, Any]]:
    """Rows of three devices over the days around a month's end, with all kinds of trouble."""
    rng = np.random.default_rng(seed)
    trouble = [FOR_EVERY_REASON[r] for r in FOR_EVERY_REASON if not r.startswith("fout_")]
    changes: list[dict[str, Any]] = []
    for device in "abc":
        for second in np.sort(rng.choice(days * 86_400, 250, replace=False)):
            start = datetime(2024, 10, 30) + timedelta(seconds=int(second))
            for i in range(int(rng.integers(1, 8))):
                change = at(12 * i, start.isoformat()) | {"apparaat": device}
                change["error_code"] = str(rng.choice([0, 0, 0, 32, 2048, 512, 128]))
                if rng.random() < 0.2:
                    change |= trouble[int(rng.integers(len(trouble)))]
                changes.append(change)
                if rng.random() < 0.1:
                    changes.append(changes[-1] | {"bestand": "b2"})
    return changes


def as_frame(relation: duckdb.DuckDBPyRelation) -> pd.DataFrame:
    frame: pd.DataFrame = relation.order("bestand, rij").to_arrow_table().to_pandas()
    return frame


def test_a_day_is_judged_alike_with_its_neighbours_and_with_all(con: duckdb.DuckDBPyConnection) -> None:
    rows = raw(con, *many())
    day = "meetdag = DATE '2024-11-01'"
    near = rows.filter("opnamedatum BETWEEN DATE '2024-10-31' AND DATE '2024-11-02'")
    with_all = as_frame(judge(con, rows, RULES).filter(day))
    pd.testing.assert_frame_equal(as_frame(judge(con, near, RULES).filter(day)), with_all)
    assert {"pm_opwarmen", "dubbel"} < set(with_all["reden"].dropna())


def test_verdicts_follow_from_the_rows_alone(con: duckdb.DuckDBPyConnection) -> None:
    """Not from their order, the session's time zone, a second evaluation or what else is in the catalogue."""
    rows = raw(con, *many())
    expected = as_frame(judge(con, rows, RULES))
    con.execute("SET TimeZone = 'Asia/Kolkata'")
    for name in ("ruw", "gelezen", "getypeerd", "momenten", "dubbelen", "opwarmend"):
        con.execute(f"CREATE TABLE {name} AS SELECT 1 AS rij")
    again = judge(con, rows.order("hash(rij)"), RULES)
    for _ in range(2):
        found = as_frame(again)
        for column in ("opgenomen_op", "ontvangen_op"):
            found[column] = found[column].dt.tz_convert("UTC")
            expected[column] = expected[column].dt.tz_convert("UTC")
        pd.testing.assert_frame_equal(found, expected)


def test_every_raw_row_is_kept_or_rejected_once(con: duckdb.DuckDBPyConnection) -> None:
    rows = raw(con, *many())
    result = judge(con, rows, RULES)
    keys = result.project("bestand, rij").fetchall()
    assert sorted(keys) == sorted(rows.project("bestand, rij").fetchall())
    assert len(kept(result).fetchall()) + len(rejected(result).fetchall()) == len(keys)
    for reason, explanation in result.project("reden, toelichting").fetchall():
        assert (reason is None and explanation is None) or (
            reason in REASONS and explanation.endswith(" verwacht")
        )


anything = st.one_of(st.none(), st.text(max_size=8), st.sampled_from([*NO_NUMBERS, "0", "1", "2048", "-5"]))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.fixed_dictionaries(
            {}, optional={name: anything for name in SOUND if name not in ("bestand", "geland_op")}
        ),
        min_size=1,
        max_size=15,
    )
)
def test_no_text_breaks_the_cleaning(changes: list[dict[str, Any]]) -> None:
    with duckdb.connect() as con:
        rows = judged(con, *({k: v for k, v in c.items() if v is None or "\0" not in v} for c in changes))
    assert [row["rij"] for row in rows] == list(range(1, len(changes) + 1))
    for row in rows:
        assert row["reden"] is None or row["reden"] in REASONS
        if row["reden"] is None:
            assert 0 <= row["pm1_ug_m3"] <= row["pm25_ug_m3"] <= min(row["pm10_ug_m3"], 150)


def test_no_rows_give_no_rows(con: duckdb.DuckDBPyConnection) -> None:
    assert judged(con) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"clock_ahead_s": -1},
        {"pm25_cap_ug_m3": float("nan")},
        {"max_horizontal_accuracy_m": float("inf")},
        {"zero_pm_rule": "nul"},
    ],
)
def test_rules_refuse_what_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        CleaningRules(**wrong)


def test_rules_refuse_an_unknown_zone() -> None:
    with pytest.raises(KeyError, match="Mars"):
        CleaningRules(device_time_zone="Mars/Olympus")


REAL_COUNTS = {
    "bruikbaar": 2567,
    "geen_positie": 120,
    "pm_leesfout": 77,
    "positie_onnauwkeurig": 74,
    "pm_opwarmen": 25,
}


def verdicts_by_pandas(rows: pd.DataFrame) -> pd.Series[str]:
    """The rules once more, row by row, for the real file; numbers instead of text, loops instead of sets."""
    rows = rows.copy()
    rows["recorded"] = pd.to_datetime(rows["recording_timestamp"], format="ISO8601")
    rows["received"] = pd.to_datetime(rows["receive_timestamp"], format="ISO8601")
    found: dict[int, str] = {}
    for _, track in rows.groupby("entity_id"):
        since_failure, failed_at, seen = 99, pd.Timestamp(0), set()
        ordered = track.sort_values(["recorded", "received", "_id"]).reset_index(names="plaats")
        for row in ordered.to_dict("records"):
            bits = {1 << b for b in range(16) if row["error_code"] >> b & 1}
            unit = 100 if row["version_major"] >= 2 else 1
            pm1, pm25, pm10 = row["pm1_0"] / unit, row["pm2_5"] / unit, row["pm10"] / unit
            since_failure += 1
            if (row["recorded"] - row["received"]).total_seconds() > 60:
                reason = "klok_voor_ontvangst"
            elif row["recorded"] in seen:
                reason = "dubbel"
            elif bits & {1, 4, 8, 16, 512, 1024, 4096}:
                reason = "fout_kritiek"
            elif bits - {32, 2048}:
                reason = "fout_onbekend"
            elif 2048 in bits:
                reason, since_failure, failed_at = "pm_leesfout", 0, row["recorded"]
            elif since_failure <= 5 and (row["recorded"] - failed_at).total_seconds() <= 3600:
                reason = "pm_opwarmen"
            elif row["latitude"] == 0 and row["longitude"] == 0:
                reason = "geen_positie"
            elif not 0 < row["horizontal_accuracy"] <= 50_000:
                reason = "positie_onnauwkeurig"
            elif pm25 > 150 or not 0 <= pm1 <= pm25 <= pm10:
                reason = "pm_onwaarschijnlijk"
            elif not (0 <= row["humidity"] <= 100 and 900 <= row["pressure"] <= 1100):
                reason = "waarde_buiten_bereik"
            else:
                reason = "bruikbaar"
            seen.add(row["recorded"])
            found[row["plaats"]] = reason
    return pd.Series(found).sort_index()


def landed_real_file(con: duckdb.DuckDBPyConnection, path: Path) -> duckdb.DuckDBPyRelation:
    con.execute(
        """
        CREATE TABLE geland AS
        SELECT 'echt' AS bestand, row_number() OVER () AS rij,
            TIMESTAMPTZ '2024-12-01 03:00:00+00' AS geland_op,
            CAST(left(recording_timestamp, 10) AS DATE) AS opnamedatum, sha256(entity_id) AS apparaat,
            * EXCLUDE (entity_id)
        FROM read_csv(?, all_varchar = true)
        """,
        [str(path)],
    )
    return con.table("geland")


def test_real_file(con: duckdb.DuckDBPyConnection, real_data: Callable[[str], Path]) -> None:
    path = real_data("snuffelfiets/ckan_metingen_2024-11.csv")
    result = as_frame(judge(con, landed_real_file(con, path), RULES))
    expected = verdicts_by_pandas(pd.read_csv(path, dtype={"entity_id": str}))
    assert result["reden"].fillna("bruikbaar").tolist() == expected.tolist()
    assert Counter(expected) == REAL_COUNTS
    usable = result[result["reden"].isna()]
    # The published maximum of the whole file, of which this is half of the devices.
    assert usable["pm25_ug_m3"].max() <= 62
    assert usable["batterijspanning_v"].between(3.9, 4.2).all()
    assert result["vertraging_s"].min() == pytest.approx(-23.488, abs=1e-3)
