"""OpenStad: spreadsheets of submissions, votes and comments, with Dutch headers.

Columns: openstad-headless, keyMap.ts, votes-export.tsx and comments-export.tsx. Names, e-mail and IP
addresses, telephone numbers and locations are among the columns; none of them is read.
"""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from koploper_pipelines.assets.slimme_participatie.raw.rows import IDEA, REACTION, STATEMENT, VOTE, Rows
from koploper_pipelines.gates.staging import SchemaMismatch

NAME = "openstad"
KINDS = {"stem id": VOTE, "reactie id": REACTION, "inzending id": IDEA}
"""Kind of a sheet, by the first of these columns that it has: votes name the submission too."""


def recognises(files: Mapping[str, Path]) -> bool:
    """Whether a delivery holds spreadsheets."""
    return any(name.lower().endswith(".xlsx") for name in files)


def read(files: Mapping[str, Path], rows: Rows, where: str) -> list[str]:
    """Add all submissions, votes and comments; names of the files that were read."""
    found = [name for name in files if name.lower().endswith(".xlsx")]
    for name in found:
        lines = _lines(files[name], f"{where}/{name}")
        header = [c.strip().lower() for c in next(lines, [])]
        kind = next((k for column, k in KINDS.items() if column in header), None)
        if kind is None:
            raise SchemaMismatch(
                f"{where}/{name}: row 1 holds none of the columns {', '.join(map(repr, KINDS))}, expected an"
                " export of submissions, votes or comments"
            )
        for number, line in enumerate(lines, start=1):
            _add(rows, name, number, kind, dict(zip(header, line, strict=False)))
    return found


def _add(rows: Rows, part: str, number: int, kind: str, line: Mapping[str, str]) -> None:
    who = rows.pseudonym(line.get("gebruiker id") or line.get("gebruikers id") or line.get("gebruiker"))
    submission = line.get("inzending id")
    if kind == VOTE:
        rows.add(
            part,
            number,
            soort=VOTE,
            deelnemer=who,
            item=submission,
            waarde=line.get("stem"),
            tijd=line.get("datum"),
        )
    elif kind == REACTION:
        text = (line.get("reactie") or "").removeprefix("└ ")
        rows.add(
            part,
            number,
            soort=REACTION,
            deelnemer=who,
            item=line.get("reactie id"),
            ouder=submission,
            tekst=text,
            tijd=line.get("datum"),
        )
    else:
        words = [line.get(c) or "" for c in ("titel", "samenvatting", "beschrijving")]
        text = ". ".join(w.strip() for w in words if w.strip())
        shared = {"deelnemer": who, "item": submission, "tijd": line.get("datum")}
        state = line.get("statussen") or line.get("status")
        support = line.get("likes") or line.get("aantal likes")
        rows.add(part, number, soort=IDEA, tekst=text, status=state, steun=support, **shared)
        # What is voted on here is the submission itself; its title is the statement.
        rows.add(
            f"{part}#stellingen", number, soort=STATEMENT, tekst=line.get("titel"), moderatie="1", **shared
        )


def _lines(file: Path, name: str) -> Iterator[list[str]]:
    """Rows of the first sheet as text."""
    from openpyxl import load_workbook

    try:
        with warnings.catch_warnings():
            # It warns of styles that it does not know; only values are read.
            warnings.simplefilter("ignore")
            book = load_workbook(file, read_only=True, data_only=True)
            for row in book.worksheets[0].iter_rows(values_only=True):
                yield ["" if value is None else str(value) for value in row]
            book.close()
    except (zipfile.BadZipFile, KeyError, ValueError, EOFError) as error:
        raise SchemaMismatch(
            f"{name}: the spreadsheet is damaged or cut off, expected an XLSX file that opens"
        ) from error
