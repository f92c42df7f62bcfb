"""The inbox: files that people drop for an experiment, read strictly or refused with a reason.

Here belong finding and reading dropped files and what happens to them afterwards. What the columns of an
experiment's files are is said in that experiment's `raw.py`.
"""

from __future__ import annotations

import base64
import codecs
import gzip
import hashlib
import hmac
import os
import re
import shutil
import string
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from koploper_pipelines.gates.staging import SchemaMismatch
from koploper_pipelines.settings import Settings

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from koploper_pipelines.gates.staging import Rows
    from koploper_pipelines.resources.lake import Lake

REFUSED = "afgekeurd"
KEPT = "bewaard"
UNFINISHED = (".part", ".tmp", ".filepart", ".crdownload")
DELIMITERS = (",", ";")
MAX_FIELD = 100_000
MAX_VALUE = 1000
MAX_NAME = 200
"""Bytes of a file's name, so that a number and `.rapport.txt` still fit within a file system's 255."""
CHUNK = 1 << 20
IN_MEMORY = 256 << 20
"""Bytes of a CSV file up to which it is held in memory; a larger one goes through the database's own disk."""
SPACE = list(string.whitespace.encode())
LINE_FEED, RETURN = b"\n\r"
INDEX_COLUMNS = ("", "Unnamed: 0", "index")
"""Headers of the row numbers that a spreadsheet or pandas puts in front."""


@dataclass(frozen=True)
class DroppedFile:
    """One file in an experiment's inbox."""

    path: Path
    settings: Settings

    @property
    def name(self) -> str:
        """Name of the file, for messages and for where it is put: printable, and not too long."""
        return printable_name(self.path)

    @contextmanager
    def opened(self, encoding: str = "utf-8") -> Iterator[tuple[Path, str]]:
        """A plain text file with the contents, and their SHA-256; gz is unpacked.

        `encoding` is what the contents must be in. The hash is of the unpacked contents: the same export
        packed otherwise is the same file.
        """
        with self.unpacked() as plain:
            yield plain, checked(plain, self.name, encoding)

    @contextmanager
    def unpacked(self) -> Iterator[Path]:
        """A plain file with the contents, whatever their encoding; gz is unpacked."""
        with self.path.open("rb") as source:
            head = source.read(4)
        if head.startswith(b"PK"):
            raise SchemaMismatch(
                f"{self.name}: a zip or spreadsheet file, expected CSV (or other text), perhaps gz; unpack it"
            )
        # DuckDB reads meanings into a name: patterns in * and [, packing in .gz. So it gets one of ours.
        own_name = hashlib.sha256(os.fsencode(self.path.name)).hexdigest()[:16]
        plain = self.settings.lake / "_voorportaal" / f"{own_name}.csv"
        plain.parent.mkdir(parents=True, exist_ok=True)
        plain.unlink(missing_ok=True)
        try:
            if head.startswith(b"\x1f\x8b"):
                with gzip.open(self.path) as source, plain.open("wb") as target:
                    shutil.copyfileobj(source, target, CHUNK)
            else:
                plain.symlink_to(self.path.absolute())
            yield plain
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise SchemaMismatch(
                f"{self.name}: the gz file is damaged or cut off, expected one that unpacks to its end"
            ) from error
        finally:
            plain.unlink(missing_ok=True)

    def accept(self) -> None:
        """The rows are in the lake: delete the original, which names devices, or keep it encrypted."""
        if self.settings.keep_originals:
            keep(self.settings, self.name, self.path.read_bytes())
        self.path.unlink()

    def refuse(self, report: str) -> None:
        """Put the file aside with a report beside it; it waits for a person."""
        put_aside(self.settings, self.path, self.name, report)


class FromFile:
    """What a delivery that is one dropped file has in common with others: its name, and how it ends."""

    file: DroppedFile

    @property
    def name(self) -> str:
        """Name of the file."""
        return self.file.name

    def accepted(self) -> None:
        """Delete the original (or keep it encrypted)."""
        self.file.accept()

    def refused(self, report: str) -> None:
        """Put the original aside with the report."""
        self.file.refuse(report)


def printable_name(path: Path) -> str:
    """Name of what was dropped, printable and not too long."""
    printable = "".join(c if c.isprintable() else "?" for c in path.name)
    if len(printable.encode()) <= MAX_NAME:
        return printable
    suffix = "".join(path.suffixes[-2:])[-20:]
    return printable.encode()[: MAX_NAME - len(suffix.encode())].decode(errors="ignore") + suffix


def keep(settings: Settings, name: str, contents: bytes) -> None:
    """Keep an accepted original, encrypted."""
    from cryptography.fernet import Fernet

    folder = settings.inbox / KEPT
    folder.mkdir(parents=True, exist_ok=True)
    key = base64.urlsafe_b64encode(settings.subkey("originelen"))
    free_name(folder / f"{name}.fernet").write_bytes(Fernet(key).encrypt(contents))


def put_aside(settings: Settings, path: Path, name: str, report: str) -> None:
    """Put what was refused aside, with a report beside it."""
    folder = settings.inbox / REFUSED
    folder.mkdir(parents=True, exist_ok=True)
    target = free_name(folder / name)
    # The report first: a kill in between leaves the file where it is, to be refused again.
    target.with_name(target.name + ".rapport.txt").write_text(
        f"{name} is niet geladen.\n\n{report}\n\n"
        "Herstel het bestand en zet het terug in"
        f" inbox/{path.parent.relative_to(settings.inbox).as_posix()}/.\n",
        encoding="utf-8",
    )
    path.rename(target)


def dropped_files(settings: Settings, place: str) -> list[DroppedFile]:
    """Files that wait in a folder of the inbox, by name; unfinished copies are left alone.

    `place` is an experiment, or a folder below it for files of another kind.
    """
    folder = settings.inbox / place
    if not folder.is_dir():
        return []
    found = [p for p in sorted(folder.iterdir()) if p.is_file() and not p.name.startswith(".")]
    return [DroppedFile(p, settings) for p in found if p.suffix.lower() not in UNFINISHED]


def has_landed(lake: Lake, table: str, content: str) -> bool:
    """Whether contents with this hash have landed in a table before."""
    return lake.exists(table) and content in lake.head(table).files


def rows_landed(lake: Lake, table: str) -> int:
    """Number of rows that have landed in a table so far."""
    return lake.rows(table, lake.head(table).version) if lake.exists(table) else 0


def pseudonym(key: bytes, name: str) -> str:
    """A keyed hash for who or what a name stands for; without the installation's key nobody can make it."""
    return hmac.new(key, name.encode(), hashlib.sha256).hexdigest()[:32]


def read_csv(
    con: duckdb.DuckDBPyConnection, file: Path, name: str, columns: Sequence[str], ignored: Sequence[str] = ()
) -> Rows:
    """A CSV file as text columns plus `rij` (1 = first data row), in any column order.

    Delimiter `,` or `;`, UTF-8, a row-number column in front and `ignored` columns are dropped. An Arrow
    table where the file is plain and fits in memory, read three times as fast; else a relation. Raises
    SchemaMismatch naming file, row and expectation for anything else; never quotes the row, which may hold
    device numbers.
    """
    header, delimiter = _header(file, name, columns, ignored)
    is_plain = _is_plain(file)
    if is_plain and file.stat().st_size <= IN_MEMORY:
        table = _in_memory(file, header, delimiter, columns)
        if table is not None and len(table):
            return table
    return _by_database(con, file, name, columns, header, delimiter, is_plain=is_plain)


def _in_memory(file: Path, header: Sequence[str], delimiter: str, columns: Sequence[str]) -> pa.Table | None:
    """A plain CSV file as an Arrow table; None when it is not what it should be, without telling where."""
    import pyarrow as pa
    from pyarrow import csv

    try:
        table = csv.read_csv(
            file,
            csv.ReadOptions(column_names=list(header), skip_rows=1),
            csv.ParseOptions(delimiter=delimiter, quote_char=False),
            csv.ConvertOptions(
                check_utf8=False,
                column_types=dict.fromkeys(header, pa.string()),
                null_values=[""],
                strings_can_be_null=True,
                include_columns=list(columns),
            ),
        )
    except pa.ArrowInvalid:
        return None
    return numbered(table)


def numbered(rows: pa.Table) -> pa.Table:
    """Rows with their number, `rij`, in front; the first is 1."""
    import numpy as np

    return rows.add_column(0, "rij", [np.arange(1, len(rows) + 1)])


def _by_database(
    con: duckdb.DuckDBPyConnection,
    file: Path,
    name: str,
    columns: Sequence[str],
    header: Sequence[str],
    delimiter: str,
    *,
    is_plain: bool,
) -> duckdb.DuckDBPyRelation:
    """A CSV file as a table of the connection, which need not fit in memory; says where it is wrong."""
    internal = [f"c{i}" for i in range(len(header))]
    import duckdb

    try:
        rows = con.read_csv(
            str(file),
            header=False,
            skiprows=1,
            delimiter=delimiter,
            quotechar='"',
            escapechar='"',
            columns={c: "VARCHAR" for c in internal},
            auto_detect=False,
            strict_mode=True,
            null_padding=False,
            max_line_size=MAX_FIELD * 4,
        )
        chosen = ", ".join(f'{internal[header.index(c)]} AS "{c}"' for c in columns)
        table = f"bestand_{hashlib.sha256(str(file).encode()).hexdigest()[:12]}"
        rows.project(chosen).create(table)
    except duckdb.Error as error:
        raise SchemaMismatch(_csv_problem(name, str(error), len(header))) from error
    if not is_plain:
        _check_values(con, table, name, columns)
    if con.sql(f"SELECT count(*) FROM {table}").fetchall()[0][0] == 0:
        raise SchemaMismatch(f"{name}: a header and 0 rows, expected at least one row")
    return con.sql(f"SELECT rowid + 1 AS rij, * FROM {table}")


def count_lines(file: Path) -> int:
    """Number of lines with anything on them, header included: what a landing must account for."""
    import numpy as np

    number, has_begun = 0, False
    with file.open("rb") as source:
        while chunk := source.read(CHUNK):
            read = np.frombuffer(chunk, np.uint8)
            ends = np.flatnonzero(read == LINE_FEED)
            if not len(ends):
                has_begun |= bool(chunk.strip())
                continue
            number += has_begun or bool(chunk[: ends[0]].strip())
            # A line that begins with something has something on it; only the others are looked at.
            starts = ends[:-1] + 1
            strange = np.isin(read[starts], SPACE)
            bounds = zip(starts[strange], ends[1:][strange], strict=True)
            number += int((~strange).sum()) + sum(bool(chunk[i:j].strip()) for i, j in bounds)
            has_begun = bool(chunk[ends[-1] + 1 :].strip())
    return number + has_begun


def checked(file: Path, name: str, encoding: str = "utf-8") -> str:
    """SHA-256 of a file that is text in an encoding throughout; SchemaMismatch names where it is not."""
    if file.stat().st_size == 0:
        raise SchemaMismatch(f"{name}: the file is empty (0 bytes), expected a CSV file with a header")
    digest = hashlib.sha256()
    decoder = codecs.getincrementaldecoder(encoding)()
    shown = encoding.upper()
    line, last = 1, b""
    with file.open("rb") as source:
        while chunk := source.read(CHUNK):
            digest.update(chunk)
            last = chunk[-1:]
            if (place := chunk.find(b"\x00")) >= 0:
                line += chunk[:place].count(b"\n")
                raise SchemaMismatch(
                    f"{name}: zero bytes in line {line}: not {shown} text (UTF-16?), expected {shown} CSV"
                )
            try:
                # In every encoding that is asked for, unless a character of several bytes has begun.
                if not chunk.isascii() or decoder.getstate()[0]:
                    decoder.decode(chunk)
            except UnicodeDecodeError as error:
                line += chunk[: error.start].count(b"\n")
                raise SchemaMismatch(
                    f"{name}: line {line} is not {shown}, expected a CSV file in {shown}"
                ) from error
            line += chunk.count(b"\n")
    # Of a row that is cut off in its last value the number of fields is right and the value is not.
    if last != b"\n":
        raise SchemaMismatch(
            f"{name}: {_where(line)} is the last and has no line end, expected LF or CRLF after every line;"
            " is the file cut off?"
        )
    return digest.hexdigest()


def _header(file: Path, name: str, columns: Sequence[str], ignored: Sequence[str]) -> tuple[list[str], str]:
    with file.open("rb") as source:
        first = source.readline(MAX_FIELD).decode("utf-8-sig").rstrip("\r\n")
    found = {d: [part.strip().strip('"') for part in first.split(d)] for d in DELIMITERS}
    delimiter = max(DELIMITERS, key=lambda d: len(set(found[d]) & set(columns)))
    header = found[delimiter]
    if not set(header) & set(columns):
        raise SchemaMismatch(
            f"{name}: line 1 holds none of the expected column names; expected a header with"
            f" {', '.join(columns[:3])} … separated by , or ;"
        )
    if doubled := sorted({c for c in header if header.count(c) > 1}):
        raise SchemaMismatch(f"{name}: column {_shown(doubled[0])} stands twice in the header, expected once")
    if missing := [c for c in columns if c not in header]:
        raise SchemaMismatch(
            f"{name}: column {', '.join(map(repr, missing))} is missing in the header; expected"
            f" {', '.join(columns)}"
        )
    extra = header[1:] if header[0] in INDEX_COLUMNS else header
    if unknown := [c for c in extra if c not in columns and c not in ignored]:
        raise SchemaMismatch(
            f"{name}: column {', '.join(map(_shown, unknown))} is not known; expected {', '.join(columns)}"
        )
    return header, delimiter


def _shown(column: str) -> str:
    """A column's name for a message; a header may hold values when its line end is missing."""
    return repr(column) if re.fullmatch(r"[^\W\d]\w{0,40}", column) else "without a proper name"


def _is_plain(file: Path) -> bool:
    """Whether nothing is quoted and no line is longer than a value may be: then no value is strange.

    A carriage return that ends no line counts as strange, since readers differ on what it is.
    """
    import numpy as np

    rest = b""
    with file.open("rb") as source:
        while chunk := source.read(CHUNK):
            if b'"' in chunk:
                return False
            text = rest + chunk
            read = np.frombuffer(text, np.uint8)
            ends = np.flatnonzero(read == LINE_FEED)
            bounds = np.concatenate(([-1], ends, [len(read)]))
            if np.diff(bounds).max() > MAX_VALUE:
                return False
            last = int(bounds[-2]) + 1
            # All but those in the line that is not whole yet.
            returns = np.count_nonzero(read[:last] == RETURN)
            if returns != np.count_nonzero(read[ends[ends > 0] - 1] == RETURN):
                return False
            rest = text[last:]
    return True


def _check_values(con: duckdb.DuckDBPyConnection, table: str, name: str, columns: Sequence[str]) -> None:
    """Raise SchemaMismatch, with the row, for a value that no export holds: very long, or over two lines."""
    strange = [f'length("{c}") > {MAX_VALUE} OR contains("{c}", chr(10))' for c in columns]
    found = con.sql(f"SELECT {', '.join(f'bool_or({s})' for s in strange)} FROM {table}").fetchall()[0]
    for column, sql, is_strange in zip(columns, strange, found, strict=True):
        if is_strange:
            row = con.sql(f"SELECT min(rowid) + 1 FROM {table} WHERE {sql}").fetchall()[0][0]
            raise SchemaMismatch(
                f"{name}: row {row}, column {column!r} holds a value of more than {MAX_VALUE} characters or a"
                " line break, expected a short value; is a quote missing?"
            )


def _where(line: int) -> str:
    return f"row {line - 1} (line {line})" if line > 1 else "line 1"


def _csv_problem(name: str, error: str, expected: int) -> str:
    line = re.search(r"Line: (\d+)", error)
    where = _where(int(line.group(1))) if line else "a row"
    if found := re.search(r"Expected Number of Columns: (\d+) Found: (\d+)", error):
        # DuckDB counts no further than the first field too many.
        if int(found.group(2)) > expected:
            return f"{name}: {where} has more than {expected} fields, expected {expected}"
        return f"{name}: {where} has {found.group(2)} fields, expected {expected}; is the file cut off?"
    if "unterminated quote" in error:
        return f"{name}: {where} has a quote that is not closed, expected {expected} fields"
    if "Maximum line size" in error:
        return f"{name}: {where} is longer than {MAX_FIELD * 4} characters, expected {expected} short fields"
    return f"{name}: {where} cannot be read as CSV with {expected} fields"


def free_name(path: Path) -> Path:
    """The path, or with a number when it is taken."""
    candidate, n = path, 1
    while candidate.exists():
        n += 1
        candidate = path.with_name(f"{path.stem}-{n}{path.suffix}")
    return candidate
