"""Rows that are staged as they lie in memory, against the same rows staged by the database."""

from pathlib import Path

import pyarrow as pa
import pytest
from gatehouse import House, arrow, column, connection, contract

from koploper_pipelines.gates.staging import ROW_GROUP, is_as_contracted, read_files, write_table

TEXTS = contract(
    "proef/raw/teksten",
    {
        "nr": column("integer", key=True),
        "dag": column("date"),
        "moment": column("timestamp"),
        "naam": column("string", values=["a", "é", "lang" * 30]),
        "is_waar": column("boolean"),
    },
    partition="dag",
)
ROWS = [
    {
        "nr": n,
        "dag": None if n % 7 == 0 else f"2026-09-0{1 + n % 3}",
        "moment": None if n % 5 == 0 else "2026-10-25T01:30:00.123456+00:00",
        "naam": [None, "a", "é", "lang" * 30][n % 4],
        "is_waar": [None, True, False][n % 3],
    }
    for n in range(50)
]
ALL_DAYS = ["2026-09-01", "2026-09-02", "2026-09-03", "onbekend"]


def coded(rows: pa.Table) -> pa.Table:
    """The same rows with their texts and days as numbers of a dictionary, in another order of columns."""
    made = {n: rows[n].dictionary_encode() if n in ("naam", "dag") else rows[n] for n in rows.column_names}
    return pa.table(dict(reversed(made.items())))


@pytest.mark.parametrize("times", [1, 3 * ROW_GROUP // len(ROWS)], ids=["one file", "a file a processor"])
def test_a_table_in_memory_is_staged_whole(tmp_path: Path, times: int) -> None:
    rows = pa.concat_tables([coded(arrow(TEXTS, ROWS))] * times, promote_options="default")
    assert is_as_contracted(TEXTS, rows)
    files = write_table(TEXTS, rows, tmp_path / "gereed")
    with connection() as con:
        back = read_files(con, TEXTS, files, None).to_arrow_table()
    expected = pa.concat_tables([arrow(TEXTS, ROWS)] * times)
    order = [("nr", "ascending")]
    assert back.sort_by(order).equals(expected.sort_by(order).cast(back.schema))
    assert sum(f.rows for f in files) == len(rows)


def test_what_the_cast_would_change_is_not_staged_as_it_is() -> None:
    rows = arrow(TEXTS, ROWS)
    nr = rows.column_names.index("nr")
    assert not is_as_contracted(TEXTS, rows.set_column(nr, "nr", rows["nr"].cast(pa.int32())))
    assert not is_as_contracted(TEXTS, rows.drop_columns(["naam"]))
    assert not is_as_contracted(TEXTS, rows.append_column("meer", rows["nr"]))
    assert not is_as_contracted(TEXTS, rows.to_pandas())
    with_number = contract(
        "proef/raw/getallen", {"nr": column("integer", key=True), "getal": column("number")}
    )
    # A NaN is a missing value, which only the cast makes of it.
    assert not is_as_contracted(with_number, arrow(with_number, [{"nr": 1, "getal": float("nan")}]))


@pytest.mark.parametrize("in_hand", [ALL_DAYS, ALL_DAYS[1:3], ["onbekend"]])
def test_only_rows_of_the_partitions_in_hand_are_taken(tmp_path: Path, in_hand: list[str]) -> None:
    house = House(tmp_path)
    outcome = house.admit(TEXTS, coded(arrow(TEXTS, ROWS)), partitions=in_hand, append=True)
    wanted = [r["nr"] for r in ROWS if (r["dag"] or "onbekend") in in_hand]
    assert outcome.passed
    assert outcome.rows == len(wanted)
    assert sorted(r["nr"] for r in house.rows(TEXTS.path)) == wanted
