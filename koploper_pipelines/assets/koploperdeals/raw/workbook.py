"""The register's workbook: an XLSX file as cells, and what is wrong with it as a file.

Here belongs what a spreadsheet can hide: merged cells, hidden rows, headers that are not the template's. What
a cell and the register as a whole must hold is said in `methods/koploperdeals/`.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from koploper_pipelines.gates.staging import SchemaMismatch

if TYPE_CHECKING:
    from openpyxl.workbook import Workbook
    from openpyxl.worksheet.worksheet import Worksheet

    from koploper_pipelines.methods.koploperdeals.cells import Cell
    from koploper_pipelines.methods.koploperdeals.checks import Finding, Row
    from koploper_pipelines.methods.koploperdeals.schema import Sheet

EXPLANATION, LISTS = "uitleg", "lijsten"
"""Sheets of the template that hold no data."""
MAX_UNPACKED = 256 << 20
"""Bytes that a workbook may hold unpacked."""
MAX_ROWS = 50_000


@dataclass(frozen=True)
class Read:
    """What a workbook holds: rows per sheet, and everything that is wrong."""

    register: Mapping[str, list[Row]]
    findings: list[Finding]


def read(path: Path, name: str) -> Read:
    """Read and check a workbook. Raises SchemaMismatch when it is no XLSX file that can be opened."""
    from koploper_pipelines.methods.koploperdeals import checks
    from koploper_pipelines.methods.koploperdeals.schema import SHEETS

    formulas = _open(path, name, computed=False)
    has_formulas = any(c.data_type == "f" for s in formulas for row in s.iter_rows() for c in row)
    computed = _open(path, name, computed=True) if has_formulas else formulas
    findings = list(_unknown_sheets(formulas))
    missing = [s.name for s in SHEETS if s.name not in formulas.sheetnames]
    findings += [checks.Finding(s, None, None, None, "dit blad, zoals in het sjabloon") for s in missing]
    register: dict[str, list[Row]] = {}
    for sheet in SHEETS:
        rows: list[Row] = []
        if sheet.name not in missing:
            there = _Sheet(sheet, formulas[sheet.name], computed[sheet.name])
            findings += there.findings()
            rows, wrong = checks.read_sheet(sheet, there.rows())
            findings += wrong
        register[sheet.name] = rows
    over_cells = checks.check(register, missing)
    findings += over_cells
    if not any(f.sheet in ("doelenboom", "oordelen") for f in findings):
        # Counts of rows that could not be read would be one more finding for each of their programmes.
        findings += _totals(register)
    return Read(register, findings)


def _open(path: Path, name: str, *, computed: bool) -> Workbook:
    from xml.etree.ElementTree import ParseError

    from openpyxl import load_workbook

    unreadable = SchemaMismatch(f"{name}: geen leesbare werkmap (.xlsx), verwacht het ingevulde sjabloon")
    try:
        with zipfile.ZipFile(path) as packed:
            parts = packed.infolist()
    except zipfile.BadZipFile as error:
        raise unreadable from error
    if sum(i.file_size for i in parts) > MAX_UNPACKED:
        raise SchemaMismatch(f"{name}: meer dan {MAX_UNPACKED >> 20} MB uitgepakt, verwacht een register")
    if any(i.filename.endswith("vbaProject.bin") for i in parts):
        raise SchemaMismatch(f"{name}: een werkmap met macro's, verwacht een gewone werkmap (.xlsx)")
    try:
        # A file of ours, since openpyxl leaves its own open when it fails.
        with path.open("rb") as source:
            return load_workbook(source, data_only=computed)
    except (zipfile.BadZipFile, zlib.error, EOFError, ParseError, KeyError, ValueError) as error:
        # What openpyxl raises when a part is cut off, missing, or not what its name says.
        raise unreadable from error


def _unknown_sheets(book: Workbook) -> Iterator[Finding]:
    from koploper_pipelines.methods.koploperdeals.checks import Finding
    from koploper_pipelines.methods.koploperdeals.schema import BY_NAME

    for name in book.sheetnames:
        if name not in BY_NAME and name not in (EXPLANATION, LISTS):
            yield Finding(
                name[:31], None, None, None, f"alleen de bladen van het sjabloon: {', '.join(BY_NAME)}"
            )


class _Sheet:
    """One sheet as it stands in the file."""

    def __init__(self, sheet: Sheet, formulas: Worksheet, computed: Worksheet) -> None:
        self.sheet = sheet
        self._formulas = formulas
        self._computed = computed
        self._at = {
            str(c.value).strip(): c.column
            for c in formulas[1]
            if c.value is not None and str(c.value).strip()
        }
        self._merged = {
            (row, column)
            for area in formulas.merged_cells.ranges
            for row in range(area.min_row, area.max_row + 1)
            for column in range(area.min_col, area.max_col + 1)
        }

    def rows(self) -> Iterator[tuple[int, dict[str, Cell]]]:
        """Every row that is not empty: its number, and the cell of each known column."""
        known = {f.name: self._at[f.name] for f in self.sheet.fields if f.name in self._at}
        last = min(self._formulas.max_row, MAX_ROWS + 1)
        for number in range(2, last + 1):
            cells: dict[str, Cell] = {
                name: self._cell(number, column)
                for name, column in known.items()
                if (number, column) not in self._merged
            }
            if not all(c.is_empty for c in cells.values()):
                yield number, cells

    def findings(self) -> Iterator[Finding]:
        """What is wrong with the sheet whatever its cells hold."""
        from koploper_pipelines.methods.koploperdeals.checks import Finding

        name, there = self.sheet.name, self._formulas
        if there.sheet_state != "visible":
            yield Finding(name, None, None, "verborgen blad", "een zichtbaar blad")
        if there.max_row > MAX_ROWS + 1:
            yield Finding(name, None, None, f"{there.max_row} rijen", f"ten hoogste {MAX_ROWS} rijen")
        headers = [str(c.value).strip() for c in there[1] if c.value is not None and str(c.value).strip()]
        wanted = [f.name for f in self.sheet.fields]
        for header in dict.fromkeys(headers):
            if header not in wanted:
                yield Finding(name, 1, None, header[:40], f"een kolom van het sjabloon: {', '.join(wanted)}")
            elif headers.count(header) > 1:
                yield Finding(name, 1, header, f"{headers.count(header)} keer", "deze kolom één keer")
        for column in wanted:
            if column not in headers:
                yield Finding(name, 1, column, None, "deze kolom")
        for area in there.merged_cells.ranges:
            yield Finding(
                name, area.min_row, None, f"samengevoegd: {area.coord}", "cellen die niet zijn samengevoegd"
            )
        yield from self._hidden()

    def _hidden(self) -> Iterator[Finding]:
        from koploper_pipelines.methods.koploperdeals.checks import Finding

        there = self._formulas
        hidden = sorted(r for r, d in there.row_dimensions.items() if d.hidden and 1 < r <= there.max_row)
        for row in hidden:
            yield Finding(self.sheet.name, row, None, "verborgen rij", "een zichtbare rij")
        letters = {there.cell(1, column).column_letter: name for name, column in self._at.items()}
        for letter, dimension in there.column_dimensions.items():
            if dimension.hidden:
                column = letters.get(letter)
                yield Finding(self.sheet.name, None, column, "verborgen kolom", "een zichtbare kolom")

    def _cell(self, row: int, column: int) -> Cell:
        from koploper_pipelines.methods.koploperdeals.cells import Cell

        source = self._formulas.cell(row, column)
        shown: Any = self._computed.cell(row, column)
        return Cell(
            shown.value,
            formula="=" if source.data_type == "f" else None,
            is_error=shown.data_type == "e",
            is_percent="%" in str(source.number_format or ""),
        )


def _totals(register: Mapping[str, list[Row]]) -> Iterator[Finding]:
    """Control totals that are not reached."""
    from koploper_pipelines.methods.koploperdeals import accountability, checks, frames

    rows = [r for r in register["controletotalen"] if not r.wrong]
    if not rows:
        return
    frame = {n: frames.frame(n, [r.values for r in register[n]]) for n in ("doelenboom", "oordelen")}
    controls = frames.frame("controletotalen", [r.values for r in rows])
    found = accountability.control_values(frame["doelenboom"], frame["oordelen"], controls)
    names = dict(zip(frame["doelenboom"]["code"], frame["doelenboom"]["naam"], strict=True))
    yield from checks.totals_that_differ(rows, [int(n) for n in found], names)
