"""The template of the register: an XLSX file with drop-down lists, explanations and examples.

Here belongs what the command line offers as a template of this experiment: its file name, and writing it. The
columns are those of `methods/koploperdeals/schema.py`, from which the workbook is read too.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from koploper_pipelines.assets.koploperdeals.raw.workbook import EXPLANATION, LISTS

if TYPE_CHECKING:
    from openpyxl.workbook import Workbook
    from openpyxl.worksheet.worksheet import Worksheet

    from koploper_pipelines.methods.koploperdeals.schema import Field, Sheet

FILE_NAME = "register.xlsx"
LAST_ROW = 5000
"""Drop-down lists reach this far."""
FORMATS = {
    "datum": "yyyy-mm-dd",
    "getal": "#,##0.00",
    "geheel": "0",
    "jaar": "0",
    "pct": "0.##",
}
"""Number formats per kind; all else is text, so that Excel makes no date of 9-7."""


def write(path: Path) -> None:
    """Write the empty template."""
    blank().save(path)


def blank() -> Workbook:
    """The empty template."""
    from openpyxl import Workbook

    from koploper_pipelines.methods.koploperdeals.schema import SHEETS

    book = Workbook()
    explanation = book.active
    explanation.title = EXPLANATION
    _explain(explanation)
    lists = book.create_sheet(LISTS)
    for sheet in SHEETS:
        _add(book, sheet, lists)
    book.move_sheet(LISTS, len(SHEETS))
    return book


def _explain(sheet: Worksheet) -> None:
    from openpyxl.styles import Font

    from koploper_pipelines.methods.koploperdeals.schema import SHEETS

    for line in (
        "Register van de deals. Vul de bladen in, bewaar als .xlsx en zet het in de map inbox/koploperdeals.",
        "Staat er een fout in, dan wordt niets geladen; in inbox/afgekeurd staat wat er fout is.",
        "Een nieuw bestand komt in de plaats van het vorige. Geen formules in tekst, geen samengevoegde of"
        " verborgen cellen; bedragen in hele of gebroken euro's, procenten als gewoon getal.",
    ):
        sheet.append([line])
    sheet.append([])
    sheet.append(["blad", "kolom", "betekenis", "verwacht", "verplicht", "voorbeeld"])
    for cell in sheet[sheet.max_row]:
        cell.font = Font(bold=True)
    for described in SHEETS:
        sheet.append([described.name, None, described.meaning])
        for field in described.fields:
            sheet.append(
                [
                    described.name,
                    field.name,
                    field.meaning,
                    _expected(field),
                    "ja" if field.required else "nee",
                    field.example,
                ]
            )
    for letter, width in zip("ABCDEF", (22, 28, 70, 70, 10, 40), strict=True):
        sheet.column_dimensions[letter].width = width
    sheet.freeze_panes = "A6"


def _expected(field: Field) -> str:
    return field.expected + (f", die op blad {field.refers} staat" if field.refers else "")


def _add(book: Workbook, sheet: Sheet, lists: Worksheet) -> None:
    from openpyxl.comments import Comment
    from openpyxl.styles import Font

    added = book.create_sheet(sheet.name)
    for number, field in enumerate(sheet.fields, start=1):
        header = added.cell(1, number, field.name)
        header.font = Font(bold=field.required, italic=not field.required)
        text = f"{field.meaning}.\nVerwacht: {_expected(field)}.\nVoorbeeld: {field.example}"
        header.comment = Comment(text, "sjabloon", width=360, height=140)
        column = added.column_dimensions[header.column_letter]
        column.width = max(14, len(field.name) + 4)
        column.number_format = FORMATS.get(field.kind, "@")
        _offer(added, header.column_letter, field, lists)
    added.freeze_panes = "A2"


def _offer(sheet: Worksheet, letter: str, field: Field, lists: Worksheet) -> None:
    """A drop-down list where a column has one: of its own values, or of the codes on another sheet."""
    from openpyxl.worksheet.datavalidation import DataValidation

    from koploper_pipelines.methods.koploperdeals.schema import NO, YES

    values = (YES, NO) if field.kind == "janee" else field.values
    if values:
        column = lists.max_column + (1 if lists.cell(1, 1).value else 0)
        for row, value in enumerate((f"{sheet.title}.{field.name}", *values), start=1):
            lists.cell(row, column, value)
        at = lists.cell(1, column).column_letter
        source = f"{LISTS}!${at}$2:${at}${len(values) + 1}"
    elif field.refers:
        source = f"{field.refers}!$A$2:$A${LAST_ROW}"
    else:
        return
    offered = DataValidation(
        type="list", formula1=source, allow_blank=not field.required, showErrorMessage=True
    )
    offered.showInputMessage = True
    offered.error = f"Verwacht: {_expected(field)}"[:255]
    offered.prompt = field.meaning[:255]
    offered.add(f"{letter}2:{letter}{LAST_ROW}")
    sheet.add_data_validation(offered)
