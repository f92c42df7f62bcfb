"""The demo's register, filled from the public budget texts of Provincie Utrecht.

Belongs here: what the texts say of goals, judgements and money, and records made to match the totals that
they give, each marked as example. Where a text gives a total only, its records hang under `niet toegedeeld`.
Sources: begroting 2021 p21205, begroting 2022 p23222, begroting 2024 p31904; jaarverslag 2020 p20149, 2021
p24283 and p24286, 2022 p30077; zomernota 2022 p31071, 2023 p31271; Stadszaken 3304 (Snuffelfiets).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import chain, repeat
from typing import Any

from koploper_pipelines.simulation.koploperdeals import portfolio

UNTIL = date(2023, 12, 31)
NONE_KNOWN = "niet toegedeeld"
SCOPED, WITH_OVERHEAD = "zonder overhead", "met overhead"
EXAMPLE_SAYS = "voorbeeldregel: de bron geeft alleen het totaal"
Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Programme:
    """A row of the table of 2022 (jaarverslag 2022, p30077)."""

    code: str
    name: str
    goals: int
    long_term: int
    green: int
    orange: int
    red: int


TABLE_2022 = (
    Programme("1", "Ruimtelijke ontwikkeling", 3, 12, 29, 9, 1),
    Programme("2", "Landelijk gebied", 5, 11, 31, 10, 7),
    Programme("3", "Bodem, water en milieu", 5, 21, 58, 10, 2),
    Programme("4", "Energietransitie", 4, 13, 25, 18, 1),
    Programme("5", "Bereikbaarheid I - Algemeen", 8, 31, 63, 42, 5),
    Programme("6", "Bereikbaarheid II - OV", 1, 5, 8, 3, 0),
    Programme("7", "Cultuur en erfgoed", 3, 9, 11, 3, 0),
    Programme("8", "Economie", 5, 17, 41, 15, 2),
    Programme("9", "Bestuur", 8, 21, 46, 17, 0),
)
CONTROLS_2022 = {
    "totaal": {"doelen": 42, "meerjarendoelen": 140, "groen": 312, "oranje": 127, "rood": 18, "totaal": 457},
    **{
        p.code: {
            "doelen": p.goals,
            "meerjarendoelen": p.long_term,
            "groen": p.green,
            "oranje": p.orange,
            "rood": p.red,
            "totaal": results,
        }
        for p, results in zip(TABLE_2022, (39, 48, 70, 44, 110, 11, 14, 58, 63), strict=True)
    },
}
SUMMER_2023 = {"doen": (37, 9, 0), "planning": (34, 12, 0), "geld": (31, 9, 6)}
REAL_GOAL, REAL_LONG_TERM = "9.7", "9.7.4"


def sheets() -> Mapping[str, Rows]:
    """All sheets of the demo's register."""
    nodes, verdicts = _years()
    return {
        "register": [
            {
                "peildatum": UNTIL,
                "organisatie": "voorbeeld: team Slimmer met Data",
                "opsteller": "A. Voorbeeld",
            }
        ],
        "doelenboom": [*nodes, *_intended_2021()],
        "was_wordt": _changes(),
        "oordelen": verdicts,
        "geld": _money(),
        "controletotalen": list(_controls()),
        "gepubliceerde_cijfers": list(_published()),
        **portfolio.sheets(REAL_LONG_TERM, UNTIL),
    }


# -- Doelenboom and judgements -------------------------------------------------------------------------------


def _node(
    code: str, level: str, name: str, above: str | None, years: tuple[int, int | None], **more: Any
) -> dict[str, Any]:
    return {
        "code": code,
        "niveau": level,
        "naam": name,
        "hoort_bij": above,
        "geldig_van": years[0],
        "geldig_tot": years[1],
        "is_voorbeeld": "ja",
        **more,
    }


def _years() -> tuple[Rows, Rows]:
    nodes = [
        _node(NONE_KNOWN, "programma", "Niet toegedeeld: de bron geeft alleen een totaal", None, (2020, None))
    ]
    nodes += [_node(p.code, "programma", p.name, None, (2021, None), is_voorbeeld="nee") for p in TABLE_2022]
    nodes += [
        _node(
            REAL_GOAL,
            "beleidsdoel",
            "Concernbrede aansturing op brede thema's",
            "9",
            (2021, 2022),
            is_voorbeeld="nee",
        ),
        _node(
            REAL_LONG_TERM,
            "meerjarendoel",
            "Het beleid is beter met data onderbouwd",
            REAL_GOAL,
            (2021, 2022),
            is_voorbeeld="nee",
            bron="begroting 2021, p21205",
        ),
        _node(
            "7.4",
            "beleidsdoel",
            "voorbeeldnaam: verplaatst uit 8.5",
            "7",
            (2024, None),
            bron="begroting 2024, p31904",
        ),
    ]
    verdicts: Rows = []
    for year, goals, long_term, colours, causes in (
        (2020, 45, 0, (223, 80, 28), {"corona": 28, "omgevingswet": 7, "overig": 73}),
        (2021, 41, 139, (333, 146, 18), {"corona": 27, "omgevingswet": 13, "overig": 124}),
    ):
        nodes += _goals(year, NONE_KNOWN, f"NT-{year}", goals, long_term)
        made = _results(year, [NONE_KNOWN], f"NT-{year}", colours, causes)
        nodes += made[0]
        verdicts += made[1]
    for programme in TABLE_2022:
        made = _programme_2022(programme)
        nodes += made[0]
        verdicts += made[1]
    nodes += [_node("OVH", "programma", "Overhead", None, (2022, 2022), is_overhead="ja", is_voorbeeld="nee")]
    nodes += _goals(2022, "OVH", "OVH", 4, 15)
    nodes += _goals(2023, NONE_KNOWN, "NT-2023", 46, 157)
    return nodes, verdicts + _summer_2023()


def _goals(year: int, programme: str, prefix: str, goals: int, long_term: int, first: int = 1) -> Rows:
    """Example goals under a programme, with long-term goals spread over them."""
    codes = [f"{prefix}.{n}" for n in range(first, first + goals)]
    made = [_node(c, "beleidsdoel", f"voorbeelddoel {c}", programme, (year, year)) for c in codes]
    for n in range(long_term):
        above = codes[n % goals]
        code = f"{above}.{n // goals + 1}"
        made.append(_node(code, "meerjarendoel", f"voorbeeld-meerjarendoel {code}", above, (year, year)))
    return made


def _results(
    year: int, above: Sequence[str], prefix: str, colours: tuple[int, int, int], causes: Mapping[str, int]
) -> tuple[Rows, Rows]:
    """Example results with their judgements, spread over the codes above them."""
    nodes: Rows = []
    verdicts: Rows = []
    why = chain(chain.from_iterable(repeat(c, n) for c, n in causes.items()), repeat(None))
    all_colours = chain.from_iterable(
        repeat(c, n) for c, n in zip(("groen", "oranje", "rood"), colours, strict=True)
    )
    for number, colour in enumerate(all_colours):
        code = f"{prefix}-r{number + 1}"
        nodes.append(
            _node(
                code,
                "beoogd_resultaat",
                f"voorbeeldresultaat {code}",
                above[number % len(above)],
                (year, year),
            )
        )
        verdicts.append(_verdict(year, "jaarverslag", "prestatie", SCOPED, code, colour))
        if colour != "groen":
            verdicts[-1]["oorzaak"] = next(why)
    return nodes, verdicts


def _verdict(year: int, document: str, question: str, scope: str, code: str, colour: str) -> dict[str, Any]:
    return {
        "jaar": year,
        "document": document,
        "vraag": question,
        "bereik": scope,
        "code": code,
        "oordeel": colour,
        "toelichting": None if colour == "groen" else EXAMPLE_SAYS,
        "is_voorbeeld": "ja",
    }


def _programme_2022(programme: Programme) -> tuple[Rows, Rows]:
    """Goals and results of a programme in 2022, that of data for policy among them."""
    code = programme.code
    if code == "9":
        # 9.7 and 9.7.4 are the real ones: examples make up the rest.
        nodes = _goals(2022, code, code, 6, 18) + _goals(2022, code, code, 1, 2, first=8)
    else:
        nodes = _goals(2022, code, code, programme.goals, programme.long_term)
    long_term = [n["code"] for n in nodes if n["niveau"] == "meerjarendoel"]
    colours = (programme.green, programme.orange, programme.red)
    made = _results(2022, long_term, f"{code}-2022", colours, {})
    return nodes + made[0], made[1]


def _summer_2023() -> Rows:
    verdicts: Rows = []
    for question, colours in SUMMER_2023.items():
        spread = chain.from_iterable(
            repeat(c, n) for c, n in zip(("groen", "oranje", "rood"), colours, strict=True)
        )
        verdicts += [
            _verdict(2023, "zomernota", question, WITH_OVERHEAD, f"NT-2023.{n}", colour)
            for n, colour in enumerate(spread, start=1)
        ]
    return verdicts


def _intended_2021() -> Rows:
    """The five results that the budget of 2021 intends for 9.7.4; of the last two the text is cut off."""
    texts = (
        "Innovatieproces Digitale Innovatie vastgesteld, met een vervolg dat koploperdeals ondersteunt",
        "Het uitvoeringsplan 2021-2022 is vastgesteld, met hoeveel koploperdeals er per jaar komen",
        "Het plan en het afgesproken aantal koploperdeals zijn uitgevoerd",
        "De vo… (in de bron afgebroken)",
        "(tekst ontbreekt in de bron)",
    )
    return [
        _node(
            f"{REAL_LONG_TERM}-2021-{n}",
            "beoogd_resultaat",
            text,
            REAL_LONG_TERM,
            (2021, 2021),
            is_voorbeeld="nee",
            bron="begroting 2021, p21205",
        )
        for n, text in enumerate(texts, start=1)
    ]


def _changes() -> Rows:
    return [
        {
            "soort": "instrument",
            "was": "koploperdeal",
            "wordt": "etalageproject",
            "jaar": 2022,
            "wijziging": "hernoemd",
            "bron": "begroting 2022, p23222",
        },
        {
            "soort": "doel",
            "was": "8.5",
            "wordt": "7.4",
            "jaar": 2024,
            "wijziging": "verplaatst",
            "bron": "begroting 2024, p31904",
        },
        {
            "soort": "deal",
            "was": "Fietsend Meetnet",
            "wordt": "SF",
            "jaar": 2019,
            "wijziging": "hernoemd",
            "bron": "Stadszaken 3304",
        },
    ]


# -- What was published --------------------------------------------------------------------------------------


def _controls() -> Iterator[dict[str, Any]]:
    def told(
        year: int,
        document: str,
        question: str,
        scope: str,
        code: str,
        numbers: Mapping[str, int],
        source: str,
    ) -> Iterator[dict[str, Any]]:
        for counted, number in numbers.items():
            yield {
                "jaar": year,
                "document": document,
                "vraag": question,
                "bereik": scope,
                "code": code,
                "telt": counted,
                "aantal": number,
                "bron": source,
            }

    for code, numbers in CONTROLS_2022.items():
        yield from told(2022, "jaarverslag", "prestatie", SCOPED, code, numbers, "jaarverslag 2022, p30077")
    yield from told(
        2020,
        "jaarverslag",
        "prestatie",
        SCOPED,
        "totaal",
        {"doelen": 45, "totaal": 331, "rood": 28},
        "jaarverslag 2020, p20149",
    )
    yield from told(
        2021,
        "jaarverslag",
        "prestatie",
        SCOPED,
        "totaal",
        {"doelen": 42, "meerjarendoelen": 140, "totaal": 497, "rood": 18},
        "jaarverslag 2021, p24286",
    )
    yield from told(
        2022,
        "zomernota",
        "doen",
        WITH_OVERHEAD,
        "totaal",
        {"doelen": 46, "meerjarendoelen": 155},
        "zomernota 2022, p31071",
    )
    for question, colours in SUMMER_2023.items():
        numbers = dict(zip(("groen", "oranje", "rood"), colours, strict=True)) | {
            "totaal": 46,
            "doelen": 46,
            "meerjarendoelen": 157,
        }
        yield from told(
            2023, "zomernota", question, WITH_OVERHEAD, "totaal", numbers, "zomernota 2023, p31271"
        )


def _published() -> Iterator[dict[str, Any]]:
    def told(
        year: int,
        document: str,
        question: str,
        scope: str,
        numbers: Mapping[str, float],
        source: str,
        of: int | None = None,
    ) -> Iterator[dict[str, Any]]:
        for measure, value in numbers.items():
            yield {
                "jaar": year,
                "document": document,
                "vraag": question,
                "bereik": scope,
                "code": "totaal",
                "maat": measure,
                "waarde": value,
                "van": of,
                "bron": source,
            }

    delayed = ("vertraagd", "vertraagd_corona", "vertraagd_omgevingswet", "vertraagd_overig")
    for year, numbers, shares, source in (
        (2020, (108, 28, 7, 73), {"rood_pct": 8}, "jaarverslag 2020, p20149"),
        (
            2021,
            (164, 27, 13, 124),
            {"rood_pct": 4, "gerealiseerd_pct": 96, "oranje_van_gerealiseerd_pct": 30},
            "jaarverslag 2021, p24286; nieuwsbericht 2021",
        ),
        (2022, (145, 6, 6, 133), {"oranje_pct": 28, "rood_pct": 4}, "jaarverslag 2022, p30077"),
    ):
        measures: dict[str, float] = {**dict(zip(delayed, numbers, strict=True)), **shares}
        yield from told(year, "jaarverslag", "prestatie", SCOPED, measures, source)
    yield from told(
        2020,
        "jaarverslag",
        "planning",
        SCOPED,
        {"groen_pct": 47, "oranje_pct": 47, "rood_pct": 6},
        "jaarverslag 2020, p20149",
        45,
    )
    yield from told(2022, "zomernota", "geld", WITH_OVERHEAD, {"groen_pct": 72}, "zomernota 2022, p31071", 46)
    for question, shares_2023 in (("doen", (80, 20, 0)), ("planning", (74, 26, 0)), ("geld", (67, 20, 13))):
        of_goals = dict(zip(("groen_pct", "oranje_pct", "rood_pct"), shares_2023, strict=True))
        yield from told(2023, "zomernota", question, WITH_OVERHEAD, of_goals, "zomernota 2023, p31271")


def _money() -> Rows:
    """Programme 9 in the annual report of 2021: a block that looks province-wide, and the page's own text."""
    same = {
        "jaar": 2021,
        "document": "jaarverslag",
        "code": "9",
        "is_voorbeeld": "nee",
        "bron": "jaarverslag 2021, p24283",
    }
    return [
        {
            **same,
            "post": "lasten, tabel",
            "soort": "lasten",
            "begroting_na_wijziging_eur": 528_359_000,
            "begroting_basis": "na_wijziging",
            "gerealiseerd_eur": 460_812_000,
            "afwijking_gepubliceerd_eur": 65_212_000,
            "afgerond_op_eur": 1000,
            "toelichting": "de tabel lijkt over de hele provincie te gaan; de tekst noemt 14,12 miljoen",
        },
        {
            **same,
            "post": "lasten, tekst",
            "soort": "lasten",
            "begroting_na_wijziging_eur": 14_120_000,
            "begroting_basis": "na_wijziging",
            "afgerond_op_eur": 1000,
        },
        {
            **same,
            "post": "baten, tekst",
            "soort": "baten",
            "begroting_na_wijziging_eur": 765_000,
            "begroting_basis": "na_wijziging",
            "afgerond_op_eur": 1000,
        },
        *(
            {
                "jaar": year,
                "document": "jaarverslag",
                "post": f"deal {deal}, {phase}",
                "code": REAL_LONG_TERM,
                "deal": deal,
                "fase": phase,
                "soort": "lasten",
                "begroting_na_wijziging_eur": budget,
                "begroting_basis": "na_wijziging",
                "gerealiseerd_eur": spent,
                "afgerond_op_eur": 0,
                "toelichting": "voorbeeldbedrag",
                "is_voorbeeld": "ja",
            }
            for year, deal, phase, budget, spent in (
                (2021, "TG", "verkennen", 20_000, 19_400.50),
                (2021, "TG", "experimenteren", 60_000, 63_000),
                (2022, "SP", "experimenteren", 50_000, 43_750.25),
            )
        ),
    ]
