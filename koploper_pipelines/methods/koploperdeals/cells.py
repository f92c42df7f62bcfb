"""One cell of the register: the value that it holds, or what was expected instead.

Belongs here: what a spreadsheet can do to a single value (text for a date, a percentage for a number, a
formula that failed or that does something to whoever opens it). Rules over cells are in `checks.py`.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any

from koploper_pipelines.methods.koploperdeals.schema import NO, YES, Field

Value = str | int | float | bool | date
MAX_TEXT = 2000
MAX_CODE = 120
FIRST_YEAR, LAST_YEAR = 2015, 2100
_CODE = re.compile(r"[^\W_][\w .,()/+²³&'-]*")
_INJECTED = re.compile(r"[=+@\t\r-]")
_PERSONAL = re.compile(r"[\w.+-]+@[\w-]+\.\w|(?<!\d)(?:\+31|0)[ -]?[1-9](?:[ -]?\d){8}(?!\d)")


@dataclass(frozen=True)
class Cell:
    """A cell as a spreadsheet holds it."""

    value: Any
    """Its value; of a formula the value when it was last computed."""
    formula: str | None = None
    is_error: bool = False
    """Whether the value is an error such as #DIV/0!."""
    is_percent: bool = False
    """Whether the number is shown as a percentage, so that 35% is stored as 0.35."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing in it."""
        blank = self.value is None or (isinstance(self.value, str) and not self.value.strip())
        return blank and self.formula is None


class Unexpected(ValueError):
    """The cell does not hold what its column asks; the message says what was expected."""


def value_of(cell: Cell, field: Field) -> Value | None:
    """The value of a cell; None when it is empty and may be. Raises Unexpected with what was expected."""
    if cell.is_empty:
        if field.required:
            raise Unexpected(f"verplicht: {field.expected}")
        return None
    _formula_in_order(cell, field)
    value = cell.value
    if field.kind in ("tekst", "code", "lijst", "persoon", "janee"):
        return _words(value, field)
    if field.kind == "datum":
        return _day(value, field)
    return _number(cell, field)


def _formula_in_order(cell: Cell, field: Field) -> None:
    if cell.is_error:
        raise Unexpected(f"{field.expected}; er staat een fout ({cell.value})")
    if cell.formula is None:
        return
    if field.kind not in ("getal", "geheel", "pct", "jaar", "datum"):
        raise Unexpected(f"{field.expected}, geen formule")
    if cell.value is None:
        raise Unexpected(f"{field.expected}, of een formule die is uitgerekend (openen en bewaren in Excel)")


def _words(value: Any, field: Field) -> Value:
    if field.kind == "code" and isinstance(value, int) and not isinstance(value, bool):
        # Excel makes a number of the code 9; of 9.10 it makes 9.1, which is another code.
        return str(value)
    if field.kind == "janee" and isinstance(value, bool):
        return value
    if not isinstance(value, str):
        raise Unexpected(f"{field.expected}; de cel is opgemaakt als {_kind_of(value)}, maak er tekst van")
    if _INJECTED.match(value):
        raise Unexpected(f"{field.expected}, die niet begint met = + - @ of een tab")
    if field.kind in ("tekst", "persoon"):
        return _free_text(value, field)
    if value != value.strip().replace("\u00a0", " "):
        raise Unexpected(f"{field.expected}, zonder spaties ervoor of erachter")
    if field.kind == "janee":
        if value not in (YES, NO):
            raise Unexpected(field.expected)
        return value == YES
    if field.kind == "lijst":
        if value not in field.values:
            near = difflib.get_close_matches(value.lower(), field.values, n=1)
            raise Unexpected(field.expected + (f"; bedoeld is misschien {near[0]}" if near else ""))
        return value
    if len(value) > MAX_CODE or not _CODE.fullmatch(value):
        raise Unexpected(field.expected)
    return value


def _free_text(value: str, field: Field) -> str:
    text = " ".join(value.split())
    if len(text) > MAX_TEXT:
        raise Unexpected(f"{field.expected} van ten hoogste {MAX_TEXT} tekens")
    if not text.isprintable():
        raise Unexpected(f"{field.expected} zonder onzichtbare tekens")
    if field.kind == "tekst" and _PERSONAL.search(text):
        raise Unexpected(f"{field.expected} zonder e-mailadres of telefoonnummer")
    return text


def _day(value: Any, field: Field) -> date:
    if not isinstance(value, date):
        raise Unexpected(f"{field.expected}; er staat {_kind_of(value)}")
    if isinstance(value, datetime):
        if value.time() != time():
            raise Unexpected(f"{field.expected}; er staat een tijd bij")
        value = value.date()
    day: date = value
    if not FIRST_YEAR <= day.year <= LAST_YEAR:
        raise Unexpected(f"een datum van {FIRST_YEAR} tot en met {LAST_YEAR}")
    return day


def _number(cell: Cell, field: Field) -> int | float:
    value = cell.value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Unexpected(f"{field.expected}; er staat {_kind_of(value)}")
    if cell.is_percent:
        raise Unexpected(f"{field.expected}; de cel is opgemaakt als percentage")
    if field.kind in ("geheel", "jaar"):
        if value != int(value):
            raise Unexpected(field.expected)
        value = int(value)
    low, high = {"pct": (0.0, 100.0), "jaar": (float(FIRST_YEAR), float(LAST_YEAR))}.get(
        field.kind, (field.minimum, field.maximum)
    )
    if (low is not None and value < low) or (high is not None and value > high):
        raise Unexpected(field.expected)
    number: int | float = value
    return number


def _kind_of(value: Any) -> str:
    if isinstance(value, bool):
        return "waar of onwaar"
    if isinstance(value, date | time):
        return "een datum of tijd"
    return "een getal" if isinstance(value, int | float) else "tekst"
