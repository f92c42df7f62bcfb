"""Each rule of the register on its own: a register that is in order, one thing changed, one finding."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from datetime import date, datetime
from typing import Any

import pytest

from koploper_pipelines.methods.koploperdeals import checks
from koploper_pipelines.methods.koploperdeals.cells import Cell, Unexpected, value_of
from koploper_pipelines.methods.koploperdeals.schema import BY_NAME, SHEETS, Field

Sheets = dict[str, list[dict[str, Any]]]
SPRING, SUMMER, AUTUMN = date(2022, 4, 1), date(2022, 7, 1), date(2022, 10, 1)


def in_order() -> Sheets:
    """A small register with something on every sheet that has rules."""
    example = {"is_voorbeeld": "nee"}
    deal = {"instrument": "koploperdeal", "tranche": "T1", "vraageigenaar": "team", "doel": "1.1", **example}
    occasion = {"jaar": 2022, "document": "jaarverslag"}
    return {
        "register": [{"peildatum": date(2022, 12, 31), "organisatie": "team"}],
        "doelenboom": [
            {"code": "1", "niveau": "programma", "naam": "een", "geldig_van": 2021, **example},
            {
                "code": "1.1",
                "niveau": "beleidsdoel",
                "naam": "b",
                "hoort_bij": "1",
                "geldig_van": 2022,
                **example,
            },
            {
                "code": "r",
                "niveau": "beoogd_resultaat",
                "naam": "r",
                "hoort_bij": "1.1",
                "geldig_van": 2022,
                "geldig_tot": 2022,
                **example,
            },
        ],
        "uitvoeringsplan": [
            {"jaar": 2022, "tranche": t, "afgesproken_deals": 2, **example} for t in ("T1", "T2")
        ],
        "criteria": [
            {
                "versie": "v",
                "criterium": "a",
                "naam": "a",
                "gewicht_pct": 60.5,
                "score_min": 1,
                "score_max": 5,
            },
            {
                "versie": "v",
                "criterium": "b",
                "naam": "b",
                "gewicht_pct": 39.5,
                "score_min": 1,
                "score_max": 5,
            },
        ],
        "aanvragen": [
            {
                "aanvraag": "A",
                "titel": "a",
                "tranche": "T1",
                "ingediend_op": SPRING,
                "criteria_versie": "v",
                "besluit": "geselecteerd",
                "besluit_op": SUMMER,
                "reden": "relevant",
                "deal": "D",
                **example,
            },
            {
                "aanvraag": "B",
                "titel": "b",
                "tranche": "T1",
                "ingediend_op": SPRING,
                "besluit": "in_behandeling",
                **example,
            },
        ],
        "scores": [{"aanvraag": "A", "criterium": "a", "beoordelaar": "P. Persoon", "score": 3}],
        "deals": [
            {
                "deal": "D",
                "naam": "d",
                "gestart_op": SPRING,
                "geeindigd_op": AUTUMN,
                "uitkomst": "gestopt",
                **deal,
            },
            {"deal": "E", "naam": "e", "gestart_op": AUTUMN, "uitkomst": "loopt", **deal},
        ],
        "fasen": [
            {
                "deal": "D",
                "fase": "verkennen",
                "begonnen_op": SPRING,
                "geeindigd_op": SUMMER,
                "uitgang": "volgende_fase",
            },
            {
                "deal": "D",
                "fase": "evalueren",
                "begonnen_op": SUMMER,
                "geeindigd_op": AUTUMN,
                "uitgang": "gestopt",
            },
        ],
        "oordelen": [
            {
                **occasion,
                "vraag": "prestatie",
                "bereik": "zonder overhead",
                "code": "r",
                "oordeel": "rood",
                "toelichting": "uitleg",
                **example,
            }
        ],
        "geld": [
            {
                **occasion,
                "post": "p",
                "code": "1.1",
                "soort": "lasten",
                "begroting_na_wijziging_eur": 9.5,
                "begroting_basis": "na_wijziging",
                "gerealiseerd_eur": 9.1,
                "afgerond_op_eur": 0,
                **example,
            }
        ],
        "leerpunten": [
            {"leerpunt": "L", "deal": "D", "datum": SUMMER, "tekst": "t", "leidde_tot": "E", **example}
        ],
    }


def findings(sheets: Sheets) -> list[checks.Finding]:
    register, found = {}, []
    for sheet in SHEETS:
        rows = [
            (n, {f.name: Cell(row.get(f.name)) for f in sheet.fields})
            for n, row in enumerate(sheets.get(sheet.name, []), start=2)
        ]
        register[sheet.name], wrong = checks.read_sheet(sheet, rows)
        found += wrong
    return found + checks.check(register)


def test_register_in_order_has_no_findings() -> None:
    assert findings(in_order()) == []


def to(sheet: str, row: int, **values: Any) -> Callable[[Sheets], None]:
    return lambda sheets: sheets[sheet][row].update(values)


def more(sheet: str, like: int = 0, **values: Any) -> Callable[[Sheets], None]:
    return lambda sheets: sheets[sheet].append({**sheets[sheet][like], **values})


@pytest.mark.parametrize(
    ("change", "place", "expected"),
    [
        (more("doelenboom", 0, geldig_van=2023), ("doelenboom", 5, "geldig_van"), "niet al geldt; rij 2"),
        (to("doelenboom", 2, geldig_tot=2021), ("doelenboom", 4, "geldig_tot"), "vanaf geldig_van"),
        (to("doelenboom", 1, hoort_bij=None), ("doelenboom", 3, "hoort_bij"), "niveau erboven"),
        (to("doelenboom", 2, niveau="beleidsdoel"), ("doelenboom", 4, "hoort_bij"), "hoger niveau"),
        (to("doelenboom", 2, hoort_bij="weg"), ("doelenboom", 4, "hoort_bij"), "op blad 'doelenboom'"),
        (to("doelenboom", 0, geldig_van=2023), ("doelenboom", 3, "hoort_bij"), "die geldt in 2022-"),
        (to("doelenboom", 2, geldig_van=2021), ("doelenboom", 4, "hoort_bij"), "die geldt in 2021-2022"),
        (to("criteria", 0, gewicht_pct=60), ("criteria", 3, "gewicht_pct"), "samen 100"),
        (to("criteria", 1, score_max=1), ("criteria", 3, "score_max"), "meer dan score_min"),
        (to("scores", 0, score=5.5), ("scores", 2, "score"), "van 1 tot en met 5"),
        (to("scores", 0, criterium="c"), ("scores", 2, "criterium"), "van versie v"),
        (more("scores", 0, score=4), ("scores", 3, "aanvraag"), "één keer; staat al op rij 2"),
        (to("aanvragen", 0, reden=None), ("aanvragen", 2, "reden"), "is geselecteerd"),
        (to("aanvragen", 0, besluit_op=None), ("aanvragen", 2, "besluit_op"), "is geselecteerd"),
        (
            to("aanvragen", 0, besluit_op=date(2022, 3, 1)),
            ("aanvragen", 2, "besluit_op"),
            "vanaf ingediend_op",
        ),
        (to("aanvragen", 1, deal="E"), ("aanvragen", 3, "deal"), "leeg"),
        (to("deals", 0, geeindigd_op=date(2022, 3, 1)), ("deals", 2, "geeindigd_op"), "vanaf gestart_op"),
        (to("deals", 0, geeindigd_op=None), ("deals", 2, "geeindigd_op"), "de deal is gestopt"),
        (to("deals", 1, geeindigd_op=AUTUMN), ("deals", 3, "uitkomst"), "hoe de deal afliep"),
        (to("deals", 1, gestart_op=None), ("deals", 3, "gestart_op"), "gevuld"),
        (to("deals", 1, uitkomst="niet_gestart"), ("deals", 3, "gestart_op"), "leeg"),
        (more("deals", 1, tranche="T2"), ("deals", 4, "tranche"), "in één tranche; rij 3 zegt T1"),
        (to("fasen", 1, geeindigd_op=None), ("fasen", 3, "geeindigd_op"), "de uitgang is gestopt"),
        (to("fasen", 1, uitgang="loopt"), ("fasen", 3, "geeindigd_op"), "de fase loopt"),
        (to("fasen", 1, geeindigd_op=SPRING), ("fasen", 3, "geeindigd_op"), "vanaf begonnen_op"),
        (
            to("fasen", 1, begonnen_op=date(2022, 6, 1)),
            ("fasen", 3, "begonnen_op"),
            "na het eind van de fase op rij 2",
        ),
        (to("fasen", 0, uitgang="loopt", geeindigd_op=None), ("fasen", 3, "begonnen_op"), "na het eind"),
        (to("fasen", 0, uitgang="gestopt"), ("fasen", 3, "fase"), "geen fase meer"),
        (to("fasen", 0, uitgang="herhaald"), ("fasen", 3, "fase"), "verkennen, die op rij 2 herhaald wordt"),
        (to("fasen", 0, fase="opschalen"), ("fasen", 3, "fase"), "een fase na opschalen"),
        (to("oordelen", 0, toelichting=None), ("oordelen", 2, "toelichting"), "het oordeel is rood"),
        (to("oordelen", 0, jaar=2023), ("oordelen", 2, "code"), "die in 2023 geldt"),
        (
            to("geld", 0, begroting_na_wijziging_eur=None),
            ("geld", 2, "begroting_na_wijziging_eur"),
            "begroting_basis",
        ),
        (to("geld", 0, gerealiseerd_eur=8), ("geld", 2, "toelichting"), "wijkt rood af"),
        (to("geld", 0, gerealiseerd_eur=10), ("geld", 2, "toelichting"), "wijkt oranje af"),
        (to("geld", 0, jaar=2021), ("geld", 2, "code"), "die in 2021 geldt"),
        (to("leerpunten", 0, leidde_tot="D"), ("leerpunten", 2, "leidde_tot"), "een andere deal"),
        (
            to("leerpunten", 0, datum=date(2022, 3, 1)),
            ("leerpunten", 2, "datum"),
            "vanaf de start van de deal",
        ),
        (to("leerpunten", 0, datum=AUTUMN), ("leerpunten", 2, "leidde_tot"), "na 2022-10-01"),
        (to("leerpunten", 0, datum=date(2022, 11, 1)), ("leerpunten", 2, "leidde_tot"), "na 2022-11-01"),
        (
            to("leerpunten", 0, datum=date(2023, 1, 1), leidde_tot=None),
            ("leerpunten", 2, "datum"),
            "peildatum",
        ),
        (
            lambda s: s["register"].append(dict(s["register"][0])),
            ("register", 3, "peildatum"),
            "staat al op rij 2",
        ),
        (lambda s: s["register"].clear(), ("register", None, None), "één rij"),
    ],
)
def test_one_thing_wrong_is_one_finding(
    change: Callable[[Sheets], None], place: tuple[str, int | None, str | None], expected: str
) -> None:
    sheets = deepcopy(in_order())
    change(sheets)
    (found,) = findings(sheets)
    assert (found.sheet, found.row, found.column) == place
    assert expected in found.expected


def test_wrong_code_is_one_finding_and_not_one_for_each_that_refers_to_it() -> None:
    sheets = in_order()
    sheets["deals"][0]["deal"] = "D "
    (found,) = findings(sheets)
    assert (found.sheet, found.column) == ("deals", "deal")


def test_missing_sheet_is_no_finding_for_each_that_refers_to_it() -> None:
    sheets = in_order()
    register = {
        s.name: checks.read_sheet(
            s,
            [
                (n, {f.name: Cell(row.get(f.name)) for f in s.fields})
                for n, row in enumerate(sheets.get(s.name, []), start=2)
            ],
        )[0]
        for s in SHEETS
    }
    register["uitvoeringsplan"] = []
    assert len(checks.check(register)) == 4
    assert checks.check(register, ["uitvoeringsplan"]) == []


def test_finding_never_quotes_a_person() -> None:
    sheets = in_order()
    sheets["scores"][0]["beoordelaar"] = "=P. Persoon"
    (found,) = findings(sheets)
    assert (found.column, found.found) == ("beoordelaar", None)
    assert "Persoon" not in str(found)


FIELDS = {
    kind: BY_NAME[sheet].field(column)
    for kind, sheet, column in (
        ("datum", "fasen", "begonnen_op"),
        ("geheel", "uitvoeringsplan", "afgesproken_deals"),
        ("bedrag", "deals", "begroot_eur"),
        ("pct", "criteria", "gewicht_pct"),
        ("jaar", "oordelen", "jaar"),
        ("lijst", "fasen", "fase"),
        ("code", "deals", "deal"),
        ("tekst", "deals", "naam"),
        ("janee", "deals", "is_voorbeeld"),
    )
}


@pytest.mark.parametrize(
    ("kind", "cell", "value"),
    [
        ("datum", Cell(datetime(2022, 1, 2)), date(2022, 1, 2)),
        ("datum", Cell(date(2022, 1, 2), formula="="), date(2022, 1, 2)),
        ("geheel", Cell(3.0), 3),
        ("bedrag", Cell(12.5, formula="="), 12.5),
        ("bedrag", Cell(None), None),
        ("pct", Cell(100), 100),
        ("code", Cell(9), "9"),
        ("code", Cell("PM2.5 per gemeente"), "PM2.5 per gemeente"),
        ("tekst", Cell("  twee\n woorden "), "twee woorden"),
        ("janee", Cell("ja"), True),
        ("janee", Cell(False), False),
    ],
)
def test_cell_that_is_right(kind: str, cell: Cell, value: Any) -> None:
    found = value_of(cell, FIELDS[kind])
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("kind", "cell", "said"),
    [
        ("datum", Cell("2022-01-02"), "er staat tekst"),
        ("datum", Cell(44563), "er staat een getal"),
        ("datum", Cell(datetime(2022, 1, 2, 3)), "een tijd bij"),
        ("datum", Cell(date(1922, 1, 2)), "2015"),
        ("datum", Cell(None), "verplicht"),
        ("geheel", Cell(2.5), "geheel getal"),
        ("geheel", Cell("2"), "er staat tekst"),
        ("geheel", Cell(True), "waar of onwaar"),
        ("geheel", Cell(-1), "vanaf 0"),
        ("bedrag", Cell(None, formula="="), "die is uitgerekend"),
        ("bedrag", Cell("#DIV/0!", formula="=", is_error=True), "een fout (#DIV/0!)"),
        ("bedrag", Cell("#N/A", is_error=True), "een fout (#N/A)"),
        ("bedrag", Cell("1.234,50"), "er staat tekst"),
        ("pct", Cell(0.35, is_percent=True), "opgemaakt als percentage"),
        ("pct", Cell(101), "0 tot en met 100"),
        ("jaar", Cell(22), "2015"),
        ("lijst", Cell("Verkennen"), "misschien verkennen"),
        ("lijst", Cell("verkennen "), "zonder spaties"),
        ("code", Cell(9.1), "maak er tekst van"),
        ("code", Cell("x" * 200), "een code"),
        ("code", Cell(date(2022, 9, 7)), "maak er tekst van"),
        ("tekst", Cell("=1+1", formula="="), "geen formule"),
        ("tekst", Cell("@SUM(A1)"), "niet begint met"),
        ("tekst", Cell("+31 6 12345678"), "niet begint met"),
        ("tekst", Cell("-2+3"), "niet begint met"),
        ("tekst", Cell("x" * 3000), "2000 tekens"),
        ("tekst", Cell("naam\u202egnp"), "onzichtbare"),
        ("tekst", Cell("mail naam@voorbeeld.nl"), "e-mailadres"),
        ("tekst", Cell("bel 030-1234567"), "telefoonnummer"),
        ("janee", Cell("Ja"), "ja of nee"),
    ],
)
def test_cell_that_is_wrong_says_what_was_expected(kind: str, cell: Cell, said: str) -> None:
    with pytest.raises(Unexpected) as caught:
        value_of(cell, FIELDS[kind])
    assert said in str(caught.value)


def test_amounts_and_sources_are_no_telephone_numbers() -> None:
    field: Field = FIELDS["tekst"]
    for text in ("begroting 2021, p21205", "€ 528.359.000 tegen 460.812.000", "15 april 2021 - 1 mei 2022"):
        assert value_of(Cell(text), field) == text
