"""What the register holds: its sheets and columns, with what each may contain.

Belongs here: the one description from which the template is written, a workbook is read and a typed frame of
a sheet is made. Rules that look at more than one cell are in `checks.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["tekst", "code", "lijst", "getal", "geheel", "pct", "datum", "jaar", "janee", "persoon"]

YES, NO = "ja", "nee"
UNASSIGNED = "niet toegedeeld"
"""Code of the programme under which hangs what the sources give as a total only."""
PROVINCE, TOTAL = "provincie", "totaal"
LEVELS = ("programma", "beleidsdoel", "meerjarendoel", "beoogd_resultaat")
DOCUMENTS = ("begroting", "zomernota", "slotwijziging", "jaarverslag")
QUESTIONS = ("doen", "planning", "geld", "prestatie")
SCOPES = ("zonder overhead", "met overhead")
COLOURS = ("groen", "oranje", "rood")
UNDECIDED = "niet_te_bepalen"
PHASES = ("verkennen", "ontwikkelen", "experimenteren", "evalueren", "opschalen")
EXITS = ("volgende_fase", "afgerond", "gestopt", "herhaald", "loopt")
OUTCOMES = ("niet_gestart", "loopt", "gestopt", "herhaald", "opgeschaald", "afgerond")
DECISIONS = ("geselecteerd", "afgewezen", "aangehouden", "in_behandeling")
REASONS = (
    "relevant",
    "onvoldoende_relevant",
    "geen_vraageigenaar",
    "geen_data",
    "niet_haalbaar",
    "te_duur",
    "dubbel",
    "ingetrokken",
    "overig",
)
COUNTED = ("groen", "oranje", "rood", "totaal", "doelen", "meerjarendoelen")


@dataclass(frozen=True)
class Field:
    """A column of a sheet."""

    name: str
    kind: Kind
    meaning: str
    example: str
    required: bool = True
    values: tuple[str, ...] = ()
    """What a `lijst` may contain."""
    refers: str | None = None
    """The sheet whose first column must have the value."""
    minimum: float | None = None
    maximum: float | None = None

    @property
    def expected(self) -> str:
        """In words, what a cell must hold."""
        if self.kind == "lijst":
            return f"een van: {', '.join(self.values)}"
        if self.kind in ("getal", "geheel"):
            kind = "een getal" if self.kind == "getal" else "een geheel getal"
            if self.minimum is not None and self.maximum is not None:
                return f"{kind} van {self.minimum:g} tot en met {self.maximum:g}"
            return f"{kind} vanaf {self.minimum:g}" if self.minimum is not None else kind
        return {
            "tekst": "tekst",
            "code": "een code: letters, cijfers, spaties en . _ - /",
            "pct": "een getal van 0 tot en met 100, zonder procentopmaak",
            "datum": "een datum zonder tijd, opgemaakt als datum",
            "jaar": "een jaar van 2015 tot en met 2100, als getal",
            "janee": f"{YES} of {NO}",
            "persoon": "een naam",
        }[self.kind]


@dataclass(frozen=True)
class Sheet:
    """A sheet: a table with a header in its first row."""

    name: str
    meaning: str
    key: tuple[str, ...]
    fields: tuple[Field, ...]

    def field(self, name: str) -> Field:
        """The column of that name."""
        return next(f for f in self.fields if f.name == name)


def _code(name: str, meaning: str, example: str, refers: str | None = None, required: bool = True) -> Field:
    return Field(name, "code", meaning, example, required, refers=refers)


def _text(name: str, meaning: str, example: str, required: bool = True) -> Field:
    return Field(name, "tekst", meaning, example, required)


def _list(name: str, meaning: str, values: Sequence[str], required: bool = True) -> Field:
    return Field(name, "lijst", meaning, values[0], required, values=tuple(values))


def _day(name: str, meaning: str, example: str, required: bool = True) -> Field:
    return Field(name, "datum", meaning, example, required)


def _euros(name: str, meaning: str, example: str) -> Field:
    return Field(name, "getal", meaning, example, required=False, minimum=0)


def _counted(name: str, meaning: str, example: str, required: bool = True) -> Field:
    return Field(name, "geheel", meaning, example, required, minimum=0)


def _person(name: str, meaning: str) -> Field:
    return Field(
        name, "persoon", f"{meaning}; komt als onherleidbare code in de gegevens", "A. Voorbeeld", False
    )


_YEAR = Field("jaar", "jaar", "Jaar waarover het gaat", "2022")
_EXAMPLE = Field("is_voorbeeld", "janee", "Of de rij een verzonnen voorbeeld is", NO)
_SOURCE = _text("bron", "Waar het staat: document en pagina", "jaarverslag 2022, p30077", required=False)
_WHY = _text("toelichting", "Toelichting", "vertraagd door levering van sensoren", required=False)
_DOCUMENT = _list("document", "Document van de jaarcyclus", DOCUMENTS)
_QUESTION = _list(
    "vraag", "Welke vraag: doen, planning, geld of (resultaat voor resultaat) prestatie", QUESTIONS
)
_SCOPE = _list("bereik", "Of overhead meetelt", SCOPES)
_DEAL = _code("deal", "Code van de deal", "SF", refers="deals")

SHEETS = (
    Sheet(
        "register",
        "Over het register zelf: één rij.",
        ("peildatum",),
        (
            _day("peildatum", "Tot en met welke dag het register is bijgewerkt", "2022-12-31"),
            _text("organisatie", "Wie het bijhoudt", "team Slimmer met Data"),
            _person("opsteller", "Wie het opstelde"),
        ),
    ),
    Sheet(
        "doelenboom",
        "Programma's, beleidsdoelen, meerjarendoelen en beoogde resultaten, met de jaren waarin zij gelden.",
        ("code", "geldig_van"),
        (
            _code("code", "Code, zoals in de begroting", "9.7.4"),
            _list("niveau", "Niveau", LEVELS),
            _text("naam", "Naam", "Het beleid is beter met data onderbouwd"),
            _code(
                "hoort_bij", "Code van het niveau erboven; leeg bij een programma", "9.7", "doelenboom", False
            ),
            Field("geldig_van", "jaar", "Eerste jaar waarin de code geldt", "2021"),
            Field("geldig_tot", "jaar", "Laatste jaar; leeg: geldt nog", "2022", required=False),
            Field("is_overhead", "janee", "Of het bij overhead hoort", NO, required=False),
            _EXAMPLE,
            _SOURCE,
        ),
    ),
    Sheet(
        "was_wordt",
        "Codes die veranderden, instrumenten die hernoemd zijn, deals die samengingen.",
        ("soort", "was", "wordt", "jaar"),
        (
            _list("soort", "Wat veranderde", ("doel", "instrument", "deal")),
            _code("was", "Oude code of naam", "koploperdeal"),
            _code("wordt", "Nieuwe code of naam", "etalageproject"),
            Field("jaar", "jaar", "Vanaf welk jaar", "2022"),
            _list("wijziging", "Hoe", ("hernoemd", "verplaatst", "samengevoegd", "gesplitst")),
            _SOURCE,
        ),
    ),
    Sheet(
        "uitvoeringsplan",
        "Hoeveel deals zijn afgesproken, per jaar en tranche.",
        ("jaar", "tranche"),
        (
            _code("tranche", "Code van de tranche", "T1"),
            _YEAR,
            _counted("afgesproken_deals", "Afgesproken aantal dat in dit jaar start", "3"),
            _EXAMPLE,
            _SOURCE,
        ),
    ),
    Sheet(
        "criteria",
        "Waarop aanvragen zijn beoordeeld; de gewichten van een versie zijn samen 100.",
        ("versie", "criterium"),
        (
            _code("versie", "Versie van de criteria", "v1"),
            _code("criterium", "Code van het criterium", "relevantie"),
            _text("naam", "Naam", "Relevantie voor het beleid"),
            Field("gewicht_pct", "pct", "Gewicht in procenten", "60"),
            Field("score_min", "getal", "Laagste score", "1"),
            Field("score_max", "getal", "Hoogste score", "5"),
        ),
    ),
    Sheet(
        "organisaties",
        "Partners.",
        ("organisatie",),
        (
            _code("organisatie", "Korte naam", "RIVM"),
            _text("naam", "Volledige naam", "Rijksinstituut voor Volksgezondheid en Milieu"),
            _list(
                "soort",
                "Soort",
                (
                    "gemeente",
                    "provincie",
                    "rijk",
                    "waterschap",
                    "kennisinstelling",
                    "bedrijf",
                    "maatschappelijk",
                    "overig",
                ),
            ),
        ),
    ),
    Sheet(
        "aanvragen",
        "Alle aanvragen met het besluit en de reden, ook de afwijzingen.",
        ("aanvraag",),
        (
            _code("aanvraag", "Code van de aanvraag", "A1"),
            _text("titel", "Titel", "Meten met fietsen"),
            _code("tranche", "Tranche", "T1", refers="uitvoeringsplan"),
            _person("indiener", "Wie de aanvraag deed"),
            _day("ingediend_op", "Dag van indienen", "2021-02-01"),
            _code("criteria_versie", "Versie van de criteria", "v1", refers="criteria", required=False),
            _list("besluit", "Besluit", DECISIONS),
            _day("besluit_op", "Dag van het besluit", "2021-03-15", required=False),
            _list("reden", "Reden van het besluit", REASONS, required=False),
            _WHY,
            _code("deal", "De deal die ervan kwam", "SF", refers="deals", required=False),
            _EXAMPLE,
        ),
    ),
    Sheet(
        "scores",
        "Wat elke beoordelaar elke aanvraag op elk criterium gaf.",
        ("aanvraag", "criterium", "beoordelaar"),
        (
            _code("aanvraag", "Code van de aanvraag", "A1", refers="aanvragen"),
            _code("criterium", "Criterium", "relevantie"),
            Field(
                "beoordelaar",
                "persoon",
                "Wie beoordeelde; komt als onherleidbare code in de gegevens",
                "B. Voorbeeld",
            ),
            Field("score", "getal", "Score, tussen score_min en score_max van het criterium", "4"),
            _day("beoordeeld_op", "Dag van de beoordeling", "2021-03-01", required=False),
        ),
    ),
    Sheet(
        "deals",
        "De deals.",
        ("deal",),
        (
            _code("deal", "Code van de deal", "SF"),
            _text("naam", "Naam", "Meten met fietsen"),
            _code("instrument", "Instrument waaronder de deal liep", "koploperdeal"),
            _code("tranche", "Tranche", "T1", refers="uitvoeringsplan"),
            _text(
                "vraageigenaar", "Team of opgave met de beleidsvraag, geen persoon", "Gezonde leefomgeving"
            ),
            _person("contactpersoon", "Contactpersoon"),
            _code("doel", "Code in de doelenboom", "9.7.4", refers="doelenboom"),
            _code(
                "experiment",
                "Map van het experiment in dit platform, als die er is",
                "naam_van_de_map",
                None,
                False,
            ),
            _day("gestart_op", "Dag van de start; leeg: nog niet", "2021-04-01", required=False),
            _day("gepland_tot", "Geplande laatste dag", "2022-03-31", required=False),
            _day("geeindigd_op", "Laatste dag; leeg: loopt nog", "2022-05-31", required=False),
            _list("uitkomst", "Hoe het staat of afliep", OUTCOMES),
            _euros("begroot_eur", "Begroot bedrag in euro's", "50000"),
            _euros("besteed_eur", "Besteed bedrag in euro's", "47250,5"),
            _WHY,
            _EXAMPLE,
            _SOURCE,
        ),
    ),
    Sheet(
        "partners",
        "Wie aan welke deal meedeed.",
        ("deal", "organisatie"),
        (
            _DEAL,
            _code("organisatie", "Organisatie", "RIVM", refers="organisaties"),
            _list("rol", "Rol", ("trekker", "dataleverancier", "kennispartner", "uitvoerder", "deelnemer")),
        ),
    ),
    Sheet(
        "fasen",
        "Elke fase van elke deal, met begin, eind en hoe zij eindigde.",
        ("deal", "fase", "begonnen_op"),
        (
            _DEAL,
            _list("fase", "Fase", PHASES),
            _day("begonnen_op", "Eerste dag", "2021-04-01"),
            _day("geeindigd_op", "Laatste dag; leeg zolang de fase loopt", "2021-07-01", required=False),
            _list("uitgang", "Hoe de fase eindigde", EXITS),
        ),
    ),
    Sheet(
        "oordelen",
        "Het oordeel van mensen over een programma, doel of resultaat, per document en vraag.",
        ("jaar", "document", "vraag", "bereik", "code"),
        (
            _YEAR,
            _DOCUMENT,
            _QUESTION,
            _SCOPE,
            _code("code", "Code in de doelenboom", "9.7.4", refers="doelenboom"),
            _list("oordeel", "Oordeel", (*COLOURS, UNDECIDED)),
            _WHY,
            _list("oorzaak", "Oorzaak van vertraging", ("corona", "omgevingswet", "overig"), required=False),
            _EXAMPLE,
            _SOURCE,
        ),
    ),
    Sheet(
        "geld",
        "Begroot en gerealiseerd, per doel of deal, ook met de afwijking die gepubliceerd is.",
        ("jaar", "document", "post", "soort"),
        (
            _YEAR,
            _DOCUMENT,
            _code("post", "Naam van de regel", "9.7.4 lasten"),
            _code("code", "Code in de doelenboom", "9.7.4", refers="doelenboom"),
            _code("deal", "Deal, als het bedrag van een deal is", "SF", refers="deals", required=False),
            _list("fase", "Fase, als het bedrag van een fase is", PHASES, required=False),
            _list("soort", "Lasten of baten; alleen lasten krijgen een oordeel", ("lasten", "baten")),
            _euros("begroting_primair_eur", "Begroting zoals vastgesteld", "100000"),
            _euros("begroting_na_wijziging_eur", "Begroting na wijzigingen", "120000"),
            _list("begroting_basis", "Waartegen is vergeleken", ("na_wijziging", "primair")),
            _euros("gerealiseerd_eur", "Gerealiseerd bedrag", "118000"),
            Field(
                "afwijking_gepubliceerd_eur",
                "getal",
                "Afwijking zoals gepubliceerd: begroting min realisatie",
                "2000",
                False,
            ),
            _counted("afgerond_op_eur", "Waarop de bedragen zijn afgerond; 0: niet", "1000"),
            _WHY,
            _EXAMPLE,
            _SOURCE,
        ),
    ),
    Sheet(
        "leerpunten",
        "Wat geleerd is, en tot welke latere deal het leidde.",
        ("leerpunt", "leidde_tot"),
        (
            _code("leerpunt", "Code van het leerpunt", "L1"),
            _DEAL,
            _day("datum", "Dag waarop het is vastgesteld", "2021-12-01"),
            _text("tekst", "Wat geleerd is", "Vrijwilligers blijven als zij hun cijfers zien"),
            _code("leidde_tot", "De latere deal", "SP", refers="deals", required=False),
            _EXAMPLE,
        ),
    ),
    Sheet(
        "afspraken",
        "Afspraken over democratische duiding van data, en wat ervan kwam.",
        ("afspraak",),
        (
            _code("afspraak", "Code van de afspraak", "D1"),
            _text("tekst", "De afspraak", "Bij elke tabel staat een tegenlezing van inwoners"),
            _text("bijeenkomst", "Waar zij is gemaakt", "werkconferentie"),
            _day("gemaakt_op", "Dag", "2019-12-04"),
            _text("eigenaar", "Team dat ervoor zorgt, geen persoon", "Beleidslab"),
            _list(
                "stand",
                "Hoe het ermee staat",
                ("open", "in_uitvoering", "nagekomen", "vervallen", "niet_nagekomen"),
            ),
            _day("stand_op", "Dag waarop dat gold", "2022-06-01"),
            _WHY,
            _EXAMPLE,
            _SOURCE,
        ),
    ),
    Sheet(
        "vragen",
        "Beleidsvraag, datavraag, indicator en tabel; wat nog ontbreekt blijft leeg.",
        ("beleidsvraag", "datavraag", "indicator"),
        (
            _code("beleidsvraag", "Code van de beleidsvraag", "B1"),
            _text("beleidsvraag_tekst", "De beleidsvraag", "Hoe gezond is de lucht op fietsroutes?"),
            _code("doel", "Code in de doelenboom", "9.7.4", refers="doelenboom", required=False),
            _code("deal", "Deal die eraan werkt", "SF", refers="deals", required=False),
            _code("datavraag", "Code van de datavraag", "B1a", None, False),
            _text(
                "datavraag_tekst",
                "De datavraag",
                "Hoeveel fijnstof meten fietsers per gemeente?",
                required=False,
            ),
            _code("indicator", "De indicator", "PM2.5 per gemeente", None, False),
            _code("tabel", "Gepubliceerde tabel", "naam_van_de_tabel", None, False),
            _code("kolom", "Kolom daarin", "pm25_ug_m3", None, False),
            _EXAMPLE,
        ),
    ),
    Sheet(
        "gebruik",
        "Waar een cijfer is gebruikt en wat het veranderde.",
        ("deal", "besluit", "tabel", "kolom"),
        (
            _DEAL,
            _day("gebruikt_op", "Dag van het besluit of document", "2022-05-18"),
            _text("besluit", "Besluit of document", "Statenbrief fietsroutes"),
            _code("tabel", "Tabel van het cijfer", "naam_van_de_tabel"),
            _code("kolom", "Kolom van het cijfer", "pm25_ug_m3", None, False),
            _text("cijfer", "Het cijfer zoals gebruikt", "7,4 µg/m³"),
            _code("release", "Release waaruit het komt", "r20220501-023000", None, False),
            _list("gevolg", "Wat het veranderde", ("niets", "bevestigd", "bijgesteld", "gestopt")),
            _EXAMPLE,
            _text("bron", "Waar het staat", "Statenbrief 2022-118"),
        ),
    ),
    Sheet(
        "controletotalen",
        "Gepubliceerde aantallen waaraan de oordelen en de doelenboom moeten voldoen.",
        ("jaar", "document", "vraag", "bereik", "code", "telt"),
        (
            _YEAR,
            _DOCUMENT,
            _QUESTION,
            _SCOPE,
            _code("code", f"Code in de doelenboom, of {TOTAL}", "9"),
            _list("telt", "Wat geteld is", COUNTED),
            _counted("aantal", "Gepubliceerd aantal", "17"),
            _SOURCE,
        ),
    ),
    Sheet(
        "gepubliceerde_cijfers",
        "Gepubliceerde percentages en aantallen, om na te rekenen.",
        ("jaar", "document", "vraag", "bereik", "code", "maat"),
        (
            _YEAR,
            _DOCUMENT,
            _QUESTION,
            _SCOPE,
            _code("code", f"Code in de doelenboom, of {TOTAL}", TOTAL),
            _list(
                "maat",
                "Wat gepubliceerd is",
                (
                    "groen_pct",
                    "oranje_pct",
                    "rood_pct",
                    "gerealiseerd_pct",
                    "oranje_van_gerealiseerd_pct",
                    "vertraagd",
                    "vertraagd_corona",
                    "vertraagd_omgevingswet",
                    "vertraagd_overig",
                ),
            ),
            Field("waarde", "getal", "De waarde, zoals afgerond", "28"),
            _counted(
                "van", "Van hoeveel, als de aantallen zelf niet gepubliceerd zijn", "45", required=False
            ),
            _text("citaat", "Wat er staat", "28% oranje", required=False),
            _SOURCE,
        ),
    ),
)
BY_NAME = {s.name: s for s in SHEETS}
