"""The demo's deals, with what belongs to a portfolio and stands in no public text.

Belongs here: the three experiments as deals. What their sources say (names, partners, the dates of the first)
is as they say it; all else is an example and is marked so, the agreed number of deals above all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

Rows = list[dict[str, Any]]
NUMBER = "voorbeeldaantal: het afgesproken aantal staat in geen bron"
DAYS_AND_EUROS = "data en bedragen zijn een voorbeeld"
FIRST_DEAL = (
    "fase 2 van Fietsend Meetnet; begin en eind uit de bron, tranche en vraageigenaar zijn een voorbeeld"
)


def _rows(columns: str, *values: Iterable[Any], is_example: bool = True) -> Rows:
    """Rows of a sheet from plain values, in the order of the named columns."""
    marked = {"is_voorbeeld": "ja"} if is_example else {}
    return [{**dict(zip(columns.split(), v, strict=True)), **marked} for v in values]


def sheets(goal: str, until: date) -> Mapping[str, Rows]:
    """The sheets about deals.

    Args:
        goal: code of the goal that all of them serve.
        until: day up to which the register is kept.
    """
    return {**_chosen(), **_deals(goal), **_learnt(goal, until)}


def _chosen() -> Mapping[str, Rows]:
    """Plan, applications, and how they were scored: on relevance alone (begroting 2021, p21205)."""
    return {
        "uitvoeringsplan": _rows(
            "jaar tranche afgesproken_deals bron", (2021, "T1", 2, NUMBER), (2022, "T2", 2, NUMBER)
        ),
        "criteria": _rows(
            "versie criterium naam gewicht_pct score_min score_max",
            ("v1", "relevantie", "Relevantie voor het beleid (begroting 2021, p21205)", 100, 1, 5),
            is_example=False,
        ),
        "aanvragen": [
            {**row, "indiener": "C. Voorbeeld", "criteria_versie": "v1"}
            for row in _rows(
                "aanvraag titel tranche ingediend_op besluit besluit_op reden deal",
                ("A1", "Taggen en Gamen", "T1", date(2021, 1, 15), *_selected(date(2021, 3, 1), "TG")),
                (
                    "A2",
                    "voorbeeldaanvraag 2",
                    "T1",
                    date(2021, 1, 20),
                    *_rejected(date(2021, 3, 1), "geen_data"),
                ),
                ("A3", "Slimme Participatie", "T2", date(2022, 1, 10), *_selected(date(2022, 2, 15), "SP")),
                (
                    *("A4", "voorbeeldaanvraag 4", "T2", date(2022, 1, 12)),
                    *_rejected(date(2022, 2, 15), "onvoldoende_relevant"),
                ),
            )
        ],
        "scores": [
            {"aanvraag": a, "criterium": "relevantie", "beoordelaar": f"Beoordelaar {n}", "score": s}
            for a, given in (("A1", (5, 4, 4)), ("A2", (3, 2, 3)), ("A3", (5, 5, 4)), ("A4", (2, 1, 2)))
            for n, s in enumerate(given, start=1)
        ],
    }


def _selected(day: date, deal: str) -> tuple[Any, ...]:
    return "geselecteerd", day, "relevant", deal


def _rejected(day: date, reason: str) -> tuple[Any, ...]:
    return "afgewezen", day, reason, None


def _deals(goal: str) -> Mapping[str, Rows]:
    """Deals, their partners (of the first, from its sources) and phases."""
    deals = _rows(
        "deal naam instrument tranche vraageigenaar experiment gestart_op gepland_tot geeindigd_op uitkomst"
        " begroot_eur besteed_eur toelichting bron",
        (
            *("SF", "Snuffelfiets", "koploperdeal", "T1", "voorbeeld: Gezonde leefomgeving", "snuffelfiets"),
            *(
                date(2019, 5, 17),
                None,
                date(2020, 12, 31),
                "afgerond",
                None,
                None,
                FIRST_DEAL,
                "Stadszaken 3304",
            ),
        ),
        (
            *(
                "TG",
                "Taggen en Gamen",
                "koploperdeal",
                "T1",
                "voorbeeld: Cultuur en erfgoed",
                "taggen_en_gamen",
            ),
            *(date(2021, 4, 1), date(2022, 3, 31), date(2022, 6, 30), "afgerond"),
            *(80_000, 82_400.50, DAYS_AND_EUROS, None),
        ),
        (
            *("SP", "Slimme Participatie", "etalageproject", "T2", "voorbeeld: Participatie"),
            *("slimme_participatie", date(2022, 3, 1), date(2023, 12, 31), None, "loopt"),
            *(50_000, 43_750.25, DAYS_AND_EUROS, None),
        ),
    )
    return {
        "deals": [{**d, "doel": goal} for d in deals],
        "organisaties": _rows(
            "organisatie naam soort",
            ("Civity", "Civity", "bedrijf"),
            ("SODAQ", "SODAQ", "bedrijf"),
            ("RIVM", "Rijksinstituut voor Volksgezondheid en Milieu", "rijk"),
            ("Gelderland", "Provincie Gelderland", "provincie"),
            is_example=False,
        ),
        "partners": _rows(
            "deal organisatie rol",
            ("SF", "Civity", "dataleverancier"),
            ("SF", "SODAQ", "uitvoerder"),
            ("SF", "RIVM", "kennispartner"),
            ("SF", "Gelderland", "deelnemer"),
            is_example=False,
        ),
        "fasen": _rows(
            "deal fase begonnen_op geeindigd_op uitgang",
            ("SF", "experimenteren", date(2019, 5, 17), date(2020, 12, 31), "afgerond"),
            ("TG", "verkennen", date(2021, 4, 1), date(2021, 9, 1), "volgende_fase"),
            ("TG", "experimenteren", date(2021, 9, 1), date(2022, 6, 30), "afgerond"),
            ("SP", "experimenteren", date(2022, 3, 1), None, "loopt"),
            is_example=False,
        ),
    }


def _learnt(goal: str, until: date) -> Mapping[str, Rows]:
    """Lessons, agreements, questions and use."""
    questions = _rows(
        "beleidsvraag beleidsvraag_tekst deal datavraag datavraag_tekst indicator tabel kolom",
        (
            *("B1", "Hoe gezond is de lucht op fietsroutes?", "SF"),
            *("B1a", "Hoeveel fijnstof meten fietsers per gemeente?"),
            *("PM2.5 per gemeente", "snuffelfiets_pm25_gemeente", "pm25_ug_m3"),
        ),
        (
            *("B2", "Wat staat er op luchtfoto's?", "TG", "B2a", "Wat zien spelers, en hoe zeker is dat?"),
            *("Labels met zekerheid", "taggen_labels", None),
        ),
        (
            *(
                "B3",
                "Waarover zijn inwoners het eens?",
                "SP",
                "B3a",
                "Welke stellingen steunen alle groepen?",
            ),
            *("Groepsconsensus", "participatie_stellingen", "groepsconsensus"),
        ),
        ("B4", "Helpt data het beleid?", None, "B4a", "Wat veranderde er door een cijfer?", None, None, None),
        ("B5", "Welke fietsroutes mist men?", None, None, None, None, None, None),
    )
    return {
        "leerpunten": _rows(
            "leerpunt deal datum tekst leidde_tot",
            (
                "L1",
                "SF",
                date(2021, 1, 23),
                "voorbeeld: inwoners willen zelf in de cijfers kunnen kijken",
                "SP",
            ),
            (
                "L2",
                "TG",
                date(2022, 6, 30),
                "voorbeeld: spelers blijven als zij zien wat ermee gebeurt",
                None,
            ),
        ),
        "afspraken": _rows(
            "afspraak tekst bijeenkomst gemaakt_op eigenaar stand stand_op toelichting bron",
            (
                *("D1", "Er komt een kader dat verantwoordelijkheden benoemt en bruikbaar is bij afwegingen"),
                *("Democratische Duiding van Data, Statenzaal", date(2019, 12, 4), "voorbeeld: Beleidslab"),
                *("open", until, "wat ervan kwam staat in geen bron: de stand is een voorbeeld", "waag.org"),
            ),
        ),
        "vragen": [{**q, "doel": goal} for q in questions],
        "gebruik": _rows(
            "deal gebruikt_op besluit tabel kolom cijfer gevolg bron",
            (
                *("SF", date(2021, 1, 23), "voorbeeld: slotbijeenkomst", "snuffelfiets_overzicht"),
                *("metingen_bruikbaar", "20 miljoen metingen", "bevestigd", "voorbeeld"),
            ),
        ),
    }
