"""Folders that people drop in the inbox: all files in one are one delivery, landed or refused together.

Here belong finding them, what is in them (also in a ZIP), and reading one file of them as rows of text. What
the files of an experiment mean is said in that experiment's raw layer.
"""

from __future__ import annotations

import csv
import hashlib
import io
import itertools
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from koploper_pipelines.gates.staging import SchemaMismatch
from koploper_pipelines.resources.inbox import UNFINISHED, checked, keep, printable_name, put_aside
from koploper_pipelines.settings import Settings

READABLE = (".csv", ".xlsx", ".yaml", ".yml")
MAX_UNPACKED = 2 << 30
"""Bytes that a ZIP may hold unpacked."""
ROWS_AT_ONCE = 500
MAX_FIELD = 16 << 20
"""Characters of one value; longer ones are a quote that is missing."""


@dataclass(frozen=True)
class DroppedFolder:
    """One folder in an experiment's inbox."""

    path: Path
    settings: Settings

    @property
    def name(self) -> str:
        """Name of the folder, for messages and for where it is put."""
        return printable_name(self.path)

    @contextmanager
    def opened(self) -> Iterator[tuple[dict[str, Path], str, list[str]]]:
        """Its readable files by name, a SHA-256 over their names and contents, and what was passed over.

        Files in folders below it are passed over, those in a ZIP beside the others are not. Raises
        SchemaMismatch when there is nothing to read, or a ZIP that cannot be unpacked.
        """
        unpacked = self.settings.lake / "_voorportaal" / hashlib.sha256(self.name.encode()).hexdigest()[:16]
        shutil.rmtree(unpacked, ignore_errors=True)
        try:
            found, passed_over = self._files(unpacked)
            if not found:
                raise SchemaMismatch(
                    f"{self.name}: no file to read, expected {', '.join(READABLE)} or a .zip with those"
                )
            digest = hashlib.sha256()
            for name, file in sorted(found.items()):
                contents = (
                    checked(file, f"{self.name}/{name}") if file.suffix.lower() == ".csv" else _hash(file)
                )
                digest.update(f"{name}\0{contents}\0".encode())
            yield found, digest.hexdigest(), passed_over
        finally:
            shutil.rmtree(unpacked, ignore_errors=True)

    def accept(self) -> None:
        """The rows are in the lake: delete the originals, which name people, or keep them encrypted."""
        if self.settings.keep_originals:
            packed = io.BytesIO()
            with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target:
                for file in sorted(p for p in self.path.rglob("*") if p.is_file()):
                    target.write(file, file.relative_to(self.path))
            keep(self.settings, f"{self.name}.zip", packed.getvalue())
        shutil.rmtree(self.path)

    def refuse(self, report: str) -> None:
        """Put the folder aside with a report beside it; it waits for a person."""
        put_aside(self.settings, self.path, self.name, report)

    def _files(self, unpacked: Path) -> tuple[dict[str, Path], list[str]]:
        found: dict[str, Path] = {}
        passed_over: list[str] = []
        for path in sorted(self.path.iterdir()):
            if path.is_file() and path.suffix.lower() == ".zip":
                inside = self._unpack(path, unpacked)
            elif path.is_file() and path.suffix.lower() in READABLE and not path.name.startswith("."):
                inside = {path.name: path}
            else:
                passed_over.append(path.name)
                continue
            if doubled := sorted(set(inside) & set(found)):
                raise SchemaMismatch(f"{self.name}: {doubled[0]} stands in it twice, expected once")
            found |= inside
        return found, passed_over

    def _unpack(self, file: Path, target: Path) -> dict[str, Path]:
        target.mkdir(parents=True, exist_ok=True)
        found: dict[str, Path] = {}
        try:
            with zipfile.ZipFile(file) as packed:
                if sum(i.file_size for i in packed.infolist()) > MAX_UNPACKED:
                    raise SchemaMismatch(
                        f"{self.name}/{file.name}: more than {MAX_UNPACKED >> 30} GB unpacked,"
                        " expected an export"
                    )
                for number, info in enumerate(packed.infolist()):
                    # Only the last part of a name: one with `..` in it must not lead anywhere.
                    name = Path(info.filename).name
                    if info.is_dir() or name.startswith(".") or Path(name).suffix.lower() not in READABLE:
                        continue
                    found[name] = target / f"{number}{Path(name).suffix.lower()}"
                    with packed.open(info) as source, found[name].open("wb") as plain:
                        shutil.copyfileobj(source, plain)
        except (zipfile.BadZipFile, EOFError, RuntimeError) as error:
            raise SchemaMismatch(
                f"{self.name}/{file.name}: the zip file is damaged, cut off or locked, expected one that"
                " unpacks"
            ) from error
        return found


def dropped_folders(settings: Settings, experiment: str) -> list[DroppedFolder]:
    """Folders that wait in an experiment's inbox, by name; copies that are not finished are left alone."""
    inbox = settings.inbox / experiment
    if not inbox.is_dir():
        return []
    found = [p for p in sorted(inbox.iterdir()) if p.is_dir() and not p.name.startswith(".")]
    return [DroppedFolder(p, settings) for p in found if not _is_unfinished(p)]


def _is_unfinished(folder: Path) -> bool:
    return folder.suffix.lower() in UNFINISHED or any(
        p.suffix.lower() in UNFINISHED for p in folder.iterdir() if p.is_file()
    )


def _hash(file: Path) -> str:
    with file.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def read_rows(file: Path, name: str, delimiter: str | None = None) -> Iterator[list[str]]:
    """Rows of a CSV file as text, the header first; `,` or `;`, quoted values may hold line breaks.

    Which of the two is told by the header, unless it is given.

    Raises SchemaMismatch with the row when it is no proper CSV or a row has another number of fields than
    the header; never quotes a row.
    """
    csv.field_size_limit(MAX_FIELD)
    with file.open(encoding="utf-8-sig", newline="") as source:
        first = source.readline()
        source.seek(0)
        delimiter = delimiter or (";" if first.count(";") > first.count(",") else ",")
        rows = csv.reader(source, delimiter=delimiter, strict=True)
        number = 0
        try:
            header = next(rows, None)
            if header is None:
                raise SchemaMismatch(f"{name}: the file is empty, expected a header")
            yield header
            for number, row in enumerate(rows, start=1):  # the error below names it
                if len(row) != len(header) and row:
                    raise SchemaMismatch(
                        f"{name}: row {number} (line {rows.line_num}) has {len(row)} fields, expected"
                        f" {len(header)}; is the file cut off?"
                    )
                if row:
                    yield row
        except csv.Error as error:
            raise SchemaMismatch(
                f"{name}: row {number + 1} (line {rows.line_num}) cannot be read as CSV ({error}), expected"
                " quotes that are closed"
            ) from error


def as_columns(rows: Iterator[list[str]], header: Sequence[str]) -> dict[str, list[str]]:
    """The columns of rows by the names in a header, in which each stands once."""
    columns: dict[str, list[str]] = {name: [] for name in header}
    # Some at a time: short lists that live by the million keep the garbage collector busier than the reader.
    while some := list(itertools.islice(rows, ROWS_AT_ONCE)):
        for column, values in zip(columns.values(), zip(*some, strict=True), strict=True):
            column.extend(values)
    return columns


def check_header(header: Sequence[str], name: str, needed: Sequence[str], known: Sequence[str]) -> None:
    """Raise SchemaMismatch unless a header has the needed columns, once, and none but known ones."""
    if doubled := sorted({c for c in header if header.count(c) > 1}):
        raise SchemaMismatch(f"{name}: column {doubled[0]!r} stands twice in the header, expected once")
    if missing := [c for c in needed if c not in header]:
        raise SchemaMismatch(
            f"{name}: column {', '.join(map(repr, missing))} is missing in the header; expected"
            f" {', '.join(needed)}"
        )
    if unknown := [c for c in header if c not in needed and c not in known]:
        raise SchemaMismatch(
            f"{name}: column {', '.join(repr(c[:40]) for c in unknown)} is not known; expected"
            f" {', '.join([*needed, *known])}"
        )
