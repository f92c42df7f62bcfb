"""Reading dropped files: two readers that must give the same, and counts that must hold for any bytes."""

import random
from collections.abc import Sequence
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from koploper_pipelines.gates.staging import SchemaMismatch, relation
from koploper_pipelines.resources import inbox

COLUMNS = ("nr", "naam", "waarde")
VALUES = ("", "1", "-2.5", "a b", " ", "é", "NULL", "nan", "0001", "x" * 200)


def read(file: Path, ignored: Sequence[str] = ()) -> tuple[type, list[tuple[object, ...]]]:
    """With what a file was read, and its rows in their order."""
    with duckdb.connect() as con:
        rows = inbox.read_csv(con, file, file.name, COLUMNS, ignored)
        return type(rows), relation(con, rows).order("rij").fetchall()


def random_export(rng: random.Random, file: Path) -> None:
    """A plain export: either line end and delimiter, columns in any order, and perhaps a column too many."""
    end, delimiter = rng.choice(["\n", "\r\n"]), rng.choice(inbox.DELIMITERS)
    header = [*rng.sample(COLUMNS, k=3), *rng.choice([[], ["_full_text"]])]
    header = [*rng.choice([[], [""], ["index"]]), *header]
    lines = [
        *([""] if rng.random() < 0.1 else []),
        *(delimiter.join(["1", *rng.choices(VALUES, k=len(header) - 1)]) for _ in range(rng.randint(1, 40))),
    ]
    file.write_bytes("".join(line + end for line in [delimiter.join(header), *lines]).encode())


@pytest.mark.parametrize("seed", range(40))
def test_a_plain_file_reads_the_same_in_memory_and_by_the_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    file = tmp_path / "export.csv"
    random_export(random.Random(seed), file)
    kind, in_memory = read(file, ["_full_text"])
    assert kind is pa.Table
    monkeypatch.setattr(inbox, "IN_MEMORY", 0)
    kind, by_database = read(file, ["_full_text"])
    assert kind is duckdb.DuckDBPyRelation
    assert in_memory == by_database
    assert [row[0] for row in in_memory] == list(range(1, len(in_memory) + 1))
    assert len(in_memory) == inbox.count_lines(file) - 1


@pytest.mark.parametrize("chunk", [7, 1 << 20])
@pytest.mark.parametrize(
    "strange", ['1,"a",2\n', "1,a\rb,2\n", "1,a,2\r\r\n", "1," + "y" * 1200 + ",2\n"], ids=ascii
)
def test_what_readers_could_differ_on_is_left_to_the_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strange: str, chunk: int
) -> None:
    monkeypatch.setattr(inbox, "CHUNK", chunk)
    file = tmp_path / "export.csv"
    file.write_text("nr,naam,waarde\n1,a,2\n" * 3 + strange, newline="")
    assert not inbox._is_plain(file)
    file.write_text("nr,naam,waarde\r\n1,a,2\r\n" * 3, newline="")
    assert inbox._is_plain(file)


@pytest.mark.parametrize("broken", ["1,a\n", "1,a,2,3\n", "   \n"], ids=ascii)
def test_a_broken_line_is_named_whatever_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    file = tmp_path / "export.csv"
    file.write_text("nr,naam,waarde\n1,a,2\n" + broken + "3,b,4\n")
    with pytest.raises(SchemaMismatch, match=r"row 2 \(line 3\)") as in_memory:
        read(file)
    monkeypatch.setattr(inbox, "IN_MEMORY", 0)
    with pytest.raises(SchemaMismatch) as by_database:
        read(file)
    assert str(in_memory.value) == str(by_database.value)


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 1 << 20])
def test_lines_with_anything_on_them_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(inbox, "CHUNK", chunk)
    rng, file = random.Random(chunk), tmp_path / "regels.csv"
    for _ in range(300):
        parts = rng.choices([b"a", b"\n", b"\r\n", b" ", b"\t", b"b,c", b"\r", b"\x0b"], k=rng.randint(0, 30))
        file.write_bytes(b"".join(parts))
        with file.open("rb") as lines:
            assert inbox.count_lines(file) == sum(1 for line in lines if line.strip())


@pytest.mark.parametrize("chunk", [1, 2, 3, 1 << 20])
def test_half_a_character_before_plain_text_is_no_utf8(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(inbox, "CHUNK", chunk)
    file = tmp_path / "tekst.csv"
    file.write_bytes("abc\ndé€f\n".encode())
    assert len(inbox.checked(file, "tekst.csv")) == 64
    file.write_bytes(b"abc\nd\xc3bcdef\ng\n")
    with pytest.raises(SchemaMismatch, match="not UTF-8"):
        inbox.checked(file, "tekst.csv")
