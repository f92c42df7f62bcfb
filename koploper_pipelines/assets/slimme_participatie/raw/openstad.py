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
        _add(rows, name, kind, [dict(zip(header, line, strict=False)) for line in lines])
    return found


def _add(rows: Rows, part: str, kind: str, lines: list[dict[str, str]]) -> None:
    def column(*names: str) -> list[str | None]:
        return [next((line[n] for n in names if line.get(n)), None) for line in lines]

    people = [rows.pseudonym(d) for d in column("gebruiker id", "gebruikers id", "gebruiker")]
    shared = {"deelnemer": people, "tijd": column("datum")}
    submission = column("inzending id")
    if kind == VOTE:
        rows.add(part, VOTE, shared | {"item": submission, "waarde": column("stem")})
    elif kind == REACTION:
        texts: list[str | None] = [(t or "").removeprefix("└ ") for t in column("reactie")]
        rows.add(part, REACTION, shared | {"item": column("reactie id"), "ouder": submission, "tekst": texts})
    else:
        parts = zip(column("titel"), column("samenvatting"), column("beschrijving"), strict=True)
        words: list[str | None] = [". ".join(w.strip() for w in p if w and w.strip()) for p in parts]
        more = {
            "tekst": words,
            "status": column("statussen", "status"),
            "steun": column("likes", "aantal likes"),
        }
        rows.add(part, IDEA, shared | {"item": submission} | more)
        # What is voted on here is the submission itself; its title is the statement.
        accepted: list[str | None] = ["1"] * len(lines)
        rows.add(
            f"{part}#stellingen",
            STATEMENT,
            shared | {"item": submission, "tekst": column("titel"), "moderatie": accepted},
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
