"""Rules of the register over more than one cell: keys, references, order in time, weights, control totals.

Belongs here: what makes a register as a whole wrong, each finding with its place and what was expected. A
cell that was found wrong already sets off nothing here, so that one mistake is one finding.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import pairwise
from typing import Any

from koploper_pipelines.methods.koploperdeals.accountability import budget_verdict
from koploper_pipelines.methods.koploperdeals.cells import Cell, Unexpected, Value, value_of
from koploper_pipelines.methods.koploperdeals.schema import (
    BY_NAME,
    COLOURS,
    LEVELS,
    PHASES,
    SHEETS,
    TOTAL,
    Sheet,
)


@dataclass(frozen=True)
class Finding:
    """One mistake: where it is, what is there and what was expected."""

    sheet: str
    row: int | None
    """Row in the spreadsheet; None when it is about the whole sheet."""
    column: str | None
    found: str | None
    """What is there, cut short; None where it may name a person or where nothing is."""
    expected: str

    def __str__(self) -> str:
        """One line for the report."""
        place = [f"blad {self.sheet!r}"]
        place += [f"rij {self.row}"] if self.row is not None else []
        place += [f"kolom {self.column!r}"] if self.column else []
        found = f" gevonden {self.found!r}," if self.found is not None else ""
        return f"{', '.join(place)}:{found} verwacht {self.expected}"


@dataclass
class Row:
    """One row of a sheet, as far as it could be read."""

    number: int
    values: dict[str, Value | None] = field(default_factory=dict)
    """Value per column, without the columns whose cell is wrong."""
    wrong: dict[str, str] = field(default_factory=dict)
    """Columns whose cell is wrong, with what is there as text."""

    def has(self, *names: str) -> bool:
        """Whether these columns are all filled and right."""
        return all(self.values.get(n) is not None for n in names)

    def __getitem__(self, name: str) -> Any:
        """The value in a column; None when it is empty or wrong."""
        return self.values.get(name)


Register = Mapping[str, Sequence[Row]]


def read_sheet(
    sheet: Sheet, rows: Iterable[tuple[int, Mapping[str, Cell]]]
) -> tuple[list[Row], list[Finding]]:
    """The rows of a sheet, and every cell that does not hold what its column asks.

    Args:
        sheet: what the sheet may hold.
        rows: number in the spreadsheet, and the cell per column; one without cell was found wrong before.
    """
    made: list[Row] = []
    findings: list[Finding] = []
    for number, cells in rows:
        row = Row(number)
        for column in sheet.fields:
            cell = cells.get(column.name)
            if cell is None:
                # The column is not there, or the cell is merged into another: that is the finding.
                row.wrong[column.name] = ""
                continue
            try:
                row.values[column.name] = value_of(cell, column)
            except Unexpected as problem:
                text = "" if cell.value is None else str(cell.value)
                row.wrong[column.name] = text.strip()
                found = None if column.kind == "persoon" or not text else text[:40]
                findings.append(Finding(sheet.name, number, column.name, found, str(problem)))
        made.append(row)
    return made, findings


def check(register: Register, missing: Collection[str] = ()) -> list[Finding]:
    """All findings over more than one cell.

    Args:
        register: the rows of every sheet.
        missing: sheets that are not there at all, which is a finding of its own.
    """
    doubled = list(_keys(register))
    twice = {(f.sheet, f.row) for f in doubled}
    # A row that stands twice is judged once.
    single = {name: [r for r in rows if (name, r.number) not in twice] for name, rows in register.items()}
    found = [
        *doubled,
        *_references(register, missing),
        *(() if "register" in missing else _one_row(single)),
        *_years_of_codes(single),
        *_tree(single),
        *_weights(single),
        *_scores(single),
        *_applications(single),
        *_deals(single),
        *_phases(single),
        *_explanations(single),
        *_lessons(single),
        *_money(single),
        *_in_the_future(single),
    ]
    return sorted(found, key=lambda f: ([s.name for s in SHEETS].index(f.sheet), f.row or 0))


def _finding(sheet: str, row: Row, column: str, expected: str) -> Finding:
    value = row[column]
    is_person = BY_NAME[sheet].field(column).kind == "persoon"
    return Finding(
        sheet, row.number, column, None if is_person or value is None else str(value)[:40], expected
    )


# -- Keys and references -----------------------------------------------------------------------------------


def _keys(register: Register) -> Iterator[Finding]:
    for sheet in SHEETS:
        first: dict[tuple[Any, ...], Row] = {}
        for row in register[sheet.name]:
            if set(sheet.key) & set(row.wrong):
                continue
            key = tuple(row[k] for k in sheet.key)
            before = first.setdefault(key, row)
            if before is row:
                continue
            column = sheet.key[0]
            expected = (
                f"iedere combinatie van {', '.join(sheet.key)} één keer; staat al op rij {before.number}"
            )
            if sheet.name == "deals" and row.has("tranche") and row["tranche"] != before["tranche"]:
                column = "tranche"
                expected = f"een deal in één tranche; rij {before.number} zegt {before['tranche']}"
            yield _finding(sheet.name, row, column, expected)


def _references(register: Register, missing: Collection[str]) -> Iterator[Finding]:
    for sheet in SHEETS:
        for column in sheet.fields:
            if column.refers is None:
                continue
            target = BY_NAME[column.refers].fields[0].name
            known = {r.values.get(target, r.wrong.get(target)) for r in register[column.refers]}
            if column.refers in missing or "" in known:
                # The sheet or its column is not there: that is the finding, not each reference to it.
                continue
            for row in register[sheet.name]:
                if row.has(column.name) and row[column.name] not in known:
                    yield _finding(
                        sheet.name, row, column.name, f"een {target} die op blad {column.refers!r} staat"
                    )


def _one_row(register: Register) -> Iterator[Finding]:
    if len(register["register"]) != 1:
        yield Finding(
            "register", None, None, f"{len(register['register'])} rijen", "één rij, met de peildatum"
        )


# -- The doelenboom ------------------------------------------------------------------------------------------


def _span(row: Row) -> tuple[int, int]:
    return row["geldig_van"], row["geldig_tot"] or 9999


def _tree(register: Register) -> Iterator[Finding]:
    by_code: dict[str, list[Row]] = defaultdict(list)
    for row in register["doelenboom"]:
        if row.has("code", "geldig_van") and "geldig_tot" not in row.wrong:
            by_code[row["code"]].append(row)
    for row in register["doelenboom"]:
        yield from _validity(row, by_code)
        yield from _parent(row, by_code)


def _validity(row: Row, by_code: Mapping[str, list[Row]]) -> Iterator[Finding]:
    if row not in by_code.get(row["code"], ()):
        return
    first, last = _span(row)
    if first > last:
        yield _finding("doelenboom", row, "geldig_tot", f"een jaar vanaf geldig_van ({first})")
        return
    for other in by_code[row["code"]]:
        if other.number < row.number and _span(other)[0] <= last and first <= _span(other)[1]:
            expected = f"jaren waarin {row['code']} niet al geldt; rij {other.number} zegt {_years(other)}"
            yield Finding("doelenboom", row.number, "geldig_van", _years(row), expected)
            return


def _years(row: Row) -> str:
    return f"{row['geldig_van']}-{row['geldig_tot'] or ''}"


def _parent(row: Row, by_code: Mapping[str, list[Row]]) -> Iterator[Finding]:
    if not row.has("niveau") or "hoort_bij" in row.wrong:
        return
    if not row["hoort_bij"]:
        if row["niveau"] != LEVELS[0]:
            yield _finding("doelenboom", row, "hoort_bij", "de code van het niveau erboven")
        return
    above = by_code.get(row["hoort_bij"], [])
    if not above or row not in by_code.get(row["code"], ()):
        return
    if any(a.has("niveau") and LEVELS.index(a["niveau"]) >= LEVELS.index(row["niveau"]) for a in above):
        yield _finding("doelenboom", row, "hoort_bij", f"een code van een hoger niveau dan {row['niveau']}")
        return
    first, last = _span(row)
    if first <= last and not any(a <= first and last <= b for a, b in map(_span, above)):
        yield _finding("doelenboom", row, "hoort_bij", f"een code die geldt in {_years(row)}")


def _years_of_codes(register: Register) -> Iterator[Finding]:
    """Judgements and money hang under a code that is valid in their year."""
    spans: dict[str, list[tuple[int, int]]] = defaultdict(list)
    unclear: set[str] = set()
    for row in register["doelenboom"]:
        is_clear = row.has("code", "geldig_van") and "geldig_tot" not in row.wrong
        if is_clear and _span(row)[0] <= _span(row)[1]:
            spans[row["code"]].append(_span(row))
        else:
            unclear.add(str(row["code"]))
    for sheet in ("oordelen", "geld"):
        for row in register[sheet]:
            code = row["code"]
            if not row.has("jaar", "code") or code in unclear or code not in spans:
                continue
            if not any(first <= row["jaar"] <= last for first, last in spans[code]):
                yield _finding(sheet, row, "code", f"een code die in {row['jaar']} geldt")


# -- Choosing ------------------------------------------------------------------------------------------------


def _weights(register: Register) -> Iterator[Finding]:
    versions: dict[str, list[Row]] = defaultdict(list)
    for row in register["criteria"]:
        versions[row["versie"]].append(row)
        if row.has("score_min", "score_max") and row["score_min"] >= row["score_max"]:
            yield _finding("criteria", row, "score_max", f"meer dan score_min ({row['score_min']:g})")
    for version, rows in versions.items():
        if all(r.has("versie", "gewicht_pct") for r in rows):
            total = sum(r["gewicht_pct"] for r in rows)
            if abs(total - 100) > 1e-6:
                expected = f"gewichten van versie {version} die samen 100 zijn"
                yield Finding("criteria", rows[-1].number, "gewicht_pct", f"samen {total:g}", expected)


def _scores(register: Register) -> Iterator[Finding]:
    version = {r["aanvraag"]: r["criteria_versie"] for r in register["aanvragen"]}
    criteria = {(r["versie"], r["criterium"]): r for r in register["criteria"]}
    for row in register["scores"]:
        if not row.has("aanvraag", "criterium") or version.get(row["aanvraag"]) is None:
            continue
        criterion = criteria.get((version[row["aanvraag"]], row["criterium"]))
        if criterion is None:
            yield _finding("scores", row, "criterium", f"een criterium van versie {version[row['aanvraag']]}")
        elif criterion.has("score_min", "score_max") and row.has("score"):
            low, high = criterion["score_min"], criterion["score_max"]
            if low < high and not low <= row["score"] <= high:
                yield _finding("scores", row, "score", f"een score van {low:g} tot en met {high:g}")


def _applications(register: Register) -> Iterator[Finding]:
    for row in register["aanvragen"]:
        is_decided = row["besluit"] in ("geselecteerd", "afgewezen")
        for column in ("reden", "besluit_op"):
            if is_decided and not row.has(column) and column not in row.wrong:
                yield _finding("aanvragen", row, column, f"gevuld: de aanvraag is {row['besluit']}")
        if row["besluit"] not in (None, "geselecteerd") and row.has("deal"):
            yield _finding("aanvragen", row, "deal", f"leeg: de aanvraag is {row['besluit']}")
        yield from _in_order("aanvragen", row, "ingediend_op", "besluit_op")


# -- Deals ---------------------------------------------------------------------------------------------------


def _in_order(sheet: str, row: Row, first: str, last: str) -> Iterator[Finding]:
    if row.has(first, last) and row[last] < row[first]:
        yield _finding(sheet, row, last, f"een datum vanaf {first} ({row[first]})")


def _deals(register: Register) -> Iterator[Finding]:
    for row in register["deals"]:
        yield from _in_order("deals", row, "gestart_op", "geeindigd_op")
        if row["uitkomst"] in ("gestopt", "opgeschaald", "afgerond", "herhaald"):
            if not row.has("geeindigd_op") and "geeindigd_op" not in row.wrong:
                yield _finding("deals", row, "geeindigd_op", f"gevuld: de deal is {row['uitkomst']}")
        elif row.has("uitkomst", "geeindigd_op"):
            yield _finding("deals", row, "uitkomst", "hoe de deal afliep: geeindigd_op is gevuld")
        if row.has("uitkomst") and "gestart_op" not in row.wrong:
            is_started = row["uitkomst"] != "niet_gestart"
            if is_started != row.has("gestart_op"):
                expected = f"{'gevuld' if is_started else 'leeg'}: de uitkomst is {row['uitkomst']}"
                yield _finding("deals", row, "gestart_op", expected)


def _phases(register: Register) -> Iterator[Finding]:
    by_deal: dict[str, list[Row]] = defaultdict(list)
    for row in register["fasen"]:
        if row.has("uitgang") and "geeindigd_op" not in row.wrong:
            runs = row["uitgang"] == "loopt"
            if runs == row.has("geeindigd_op"):
                expected = "leeg: de fase loopt" if runs else f"gevuld: de uitgang is {row['uitgang']}"
                yield _finding("fasen", row, "geeindigd_op", expected)
                continue
        yield from _in_order("fasen", row, "begonnen_op", "geeindigd_op")
        if row.has("deal", "fase", "begonnen_op", "uitgang"):
            by_deal[row["deal"]].append(row)
    for rows in by_deal.values():
        ordered = sorted(rows, key=lambda r: (r["begonnen_op"], PHASES.index(r["fase"])))
        for before, row in pairwise(ordered):
            yield from _follows(before, row)


def _follows(before: Row, row: Row) -> Iterator[Finding]:
    if before["geeindigd_op"] is None or before["geeindigd_op"] > row["begonnen_op"]:
        expected = f"een dag na het eind van de fase op rij {before.number}"
        yield _finding("fasen", row, "begonnen_op", expected)
    elif before["uitgang"] in ("gestopt", "afgerond"):
        expected = f"geen fase meer: op rij {before.number} is de deal {before['uitgang']}"
        yield _finding("fasen", row, "fase", expected)
    elif before["uitgang"] == "herhaald" and row["fase"] != before["fase"]:
        yield _finding("fasen", row, "fase", f"{before['fase']}, die op rij {before.number} herhaald wordt")
    elif before["uitgang"] == "volgende_fase" and PHASES.index(row["fase"]) <= PHASES.index(before["fase"]):
        yield _finding("fasen", row, "fase", f"een fase na {before['fase']} (rij {before.number})")


def _lessons(register: Register) -> Iterator[Finding]:
    """A lesson is of a deal that has begun and leads to one that had not: so no deal comes of itself."""
    started = {r["deal"]: r["gestart_op"] for r in register["deals"]}
    for row in register["leerpunten"]:
        own, later, day = started.get(row["deal"]), started.get(row["leidde_tot"]), row["datum"]
        if row.has("leidde_tot") and row["leidde_tot"] == row["deal"]:
            yield _finding("leerpunten", row, "leidde_tot", "een andere deal dan die van het leerpunt")
        elif own is not None and day is not None and day < own:
            yield _finding("leerpunten", row, "datum", f"een dag vanaf de start van de deal ({own})")
        elif later is not None and day is not None and later <= day:
            yield _finding("leerpunten", row, "leidde_tot", f"een deal die na {day} is gestart ({later})")


# -- Accountability ------------------------------------------------------------------------------------------


def _explanations(register: Register) -> Iterator[Finding]:
    """Orange and red need an explanation."""
    for row in register["oordelen"]:
        if row["oordeel"] in COLOURS[1:] and not row.has("toelichting") and "toelichting" not in row.wrong:
            yield _finding("oordelen", row, "toelichting", f"gevuld: het oordeel is {row['oordeel']}")


def _money(register: Register) -> Iterator[Finding]:
    """Amounts have what they are compared with, and an explanation where that is orange or red."""
    for row in register["geld"]:
        column = f"begroting_{row['begroting_basis']}_eur"
        if not row.has("begroting_basis", "gerealiseerd_eur", "soort") or column in row.wrong:
            continue
        if not row.has(column):
            yield _finding("geld", row, column, "gevuld: begroting_basis verwijst ernaar")
            continue
        verdict = budget_verdict([row[column]], [row["gerealiseerd_eur"]])[0]
        is_silent = not row.has("toelichting") and "toelichting" not in row.wrong
        if row["soort"] == "lasten" and verdict in COLOURS[1:] and is_silent:
            yield _finding("geld", row, "toelichting", f"gevuld: het bedrag wijkt {verdict} af")


HAPPENED = {
    "aanvragen": ("ingediend_op", "besluit_op"),
    "scores": ("beoordeeld_op",),
    "deals": ("gestart_op", "geeindigd_op"),
    "fasen": ("begonnen_op", "geeindigd_op"),
    "leerpunten": ("datum",),
    "afspraken": ("gemaakt_op", "stand_op"),
    "gebruik": ("gebruikt_op",),
}
"""Dates of what has happened, so not after the day up to which the register is kept."""


def _in_the_future(register: Register) -> Iterator[Finding]:
    until: date | None = next((r["peildatum"] for r in register["register"]), None)
    if until is None:
        return
    for sheet, columns in HAPPENED.items():
        for row in register[sheet]:
            for column in columns:
                if row.has(column) and row[column] > until:
                    yield _finding(sheet, row, column, f"een datum tot en met de peildatum ({until})")


def totals_that_differ(
    controls: Sequence[Row], counted: Sequence[int], names: Mapping[str, str]
) -> Iterator[Finding]:
    """Control totals that the register does not reach, with programme, colour, expected and found.

    Args:
        controls: rows of the sheet of control totals.
        counted: what the register counts, for each of them.
        names: name of each code.
    """
    for row, found in zip(controls, counted, strict=True):
        if found != row["aantal"]:
            name = (
                "alle programma's" if row["code"] == TOTAL else f"{row['code']} {names.get(row['code'], '')}"
            )
            occasion = " ".join(str(row[c]) for c in ("vraag", "document", "jaar", "bereik"))
            what = f"{name.strip()}: {row['telt']}, {occasion}"
            yield Finding(
                "controletotalen",
                row.number,
                "aantal",
                f"{found} in dit register",
                f"{row['aantal']} ({what})",
            )
