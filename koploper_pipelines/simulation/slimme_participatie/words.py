"""Words of invented citizens: sentences a theme, examples for a theme list, names, numbers and addresses.

Here belongs what is said; who says it and how people vote is in the package itself. No name belongs to
anybody: first names, surnames and streets are common ones, put together at random.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from stdnum.nl import bsn

THEMES = {
    "verkeer": (
        [
            "de fietspaden",
            "de kruising",
            "het autoverkeer",
            "de bushalte",
            "de parkeerplaatsen",
            "de drempels",
        ],
        [
            "veiliger voor fietsers",
            "rustiger in de spits",
            "beter verlicht",
            "autoluw",
            "breder",
            "goed bereikbaar",
        ],
    ),
    "groen": (
        ["de bomen", "het park", "de bermen", "de geveltuinen", "de vijver", "de plantsoenen"],
        [
            "groener en koeler",
            "vol bloemen voor bijen",
            "beter onderhouden",
            "minder versteend",
            "schaduwrijk",
            "vrij van zwerfvuil",
        ],
    ),
    "wonen": (
        [
            "de huurwoningen",
            "de nieuwbouw",
            "de starterswoningen",
            "de leegstaande panden",
            "de appartementen",
            "de seniorenwoningen",
        ],
        [
            "betaalbaar voor jongeren",
            "geschikt voor ouderen",
            "minder hoog gebouwd",
            "eerlijk verdeeld",
            "sneller gebouwd",
            "beschikbaar voor starters",
        ],
    ),
    "energie": (
        [
            "de zonnepanelen",
            "de windmolens",
            "het warmtenet",
            "de isolatie van huizen",
            "de laadpalen",
            "de stroom uit de buurt",
        ],
        [
            "betaalbaar voor iedereen",
            "van de bewoners samen",
            "op daken in plaats van weilanden",
            "duurzaam opgewekt",
            "zuinig met energie",
            "snel aangesloten",
        ],
    ),
    "veiligheid": (
        [
            "de straatverlichting",
            "de wijkagent",
            "het toezicht",
            "de achterpaden",
            "de camera's",
            "de buurtpreventie",
        ],
        [
            "zichtbaar in de avond",
            "vaker aanwezig",
            "strenger tegen overlast",
            "goed tegen inbraak",
            "prettig voor wie alleen loopt",
            "duidelijk voor jongeren",
        ],
    ),
    "voorzieningen": (
        [
            "de bibliotheek",
            "het buurthuis",
            "de speeltuin",
            "de huisartsenpost",
            "het zwembad",
            "de sporthal",
        ],
        [
            "langer open",
            "gratis voor kinderen",
            "dichtbij voor ouderen",
            "goed toegankelijk",
            "behouden voor het dorp",
            "ruimer opgezet",
        ],
    ),
}
"""Per theme what a sentence is about and what somebody wants of it."""
PATTERNS = (
    "Ik vind dat {zaak} {wens} moet worden.",
    "Maak {zaak} alstublieft {wens}.",
    "Het zou goed zijn als {zaak} {wens} wordt.",
    "Voor onze buurt is het belangrijk dat {zaak} {wens} is.",
    "Graag aandacht voor {zaak}: liever {wens}.",
    "Waarom is {zaak} nog niet {wens}?",
)
EXAMPLES = (
    "Wij willen {zaak} {wens}.",
    "{zaak} kan {wens}.",
    "Zorg dat {zaak} {wens} blijft.",
    "{zaak} hoort {wens} te zijn.",
    "Meer geld om {zaak} {wens} te maken.",
    "Is {zaak} straks {wens}?",
)
CLEAN = (
    "De gemeente Utrecht luistert goed naar de inwoners van Amersfoort en Zeist.",
    "Kap de bomen langs de weg niet.",
    "Bouw meer woningen in Nieuwegein.",
    "Leg een fietspad aan langs het spoor.",
    "In 2024 en 2025 is er te weinig gedaan.",
    "Het kost ongeveer 1500 euro per jaar.",
    "Plant in het najaar 200 bomen in het park.",
    "Wij wachten al 12 weken op een antwoord.",
    "De bus van 8.15 uur rijdt niet meer.",
    "Er wonen 3500 mensen in deze wijk.",
    "Stop met bouwen in de polder.",
    "De hoogte is 12 meter en de breedte 40 meter.",
    "Op 12-03-2024 en van 01-02-2024 12:30 uur af was er een bijeenkomst.",
    "Het kost 250.000.000 euro om de weg te verbreden.",
    "De burgemeester van Utrecht en de wethouder van Mobiliteit moeten luisteren.",
    "Vergadering 12 mei in het buurthuis, verbetering 2025 is nodig.",
    "Ik woon in Zeist sinds 2015 en werk in Woerden.",
)
"""Sentences without personal data, with what looks like it: places, years, amounts, capitals at the start."""
FIRST = [
    "Jan",
    "Piet",
    "Kees",
    "Willem",
    "Hendrik",
    "Johan",
    "Peter",
    "Marco",
    "Erik",
    "Thomas",
    "Daan",
    "Bram",
    "Sem",
    "Lucas",
    "Mohamed",
    "Ahmed",
    "Youssef",
    "Mehmet",
    "Ali",
    "Ruben",
    "Maria",
    "Anna",
    "Johanna",
    "Elisabeth",
    "Petra",
    "Ingrid",
    "Linda",
    "Esther",
    "Sanne",
    "Lotte",
    "Fleur",
    "Julia",
    "Emma",
    "Sophie",
    "Fatima",
    "Aisha",
    "Samira",
    "Zeynep",
    "Marieke",
    "Annemarie",
    "Joost",
    "Maarten",
    "Sjoerd",
    "Wouter",
    "Gerrit",
    "Dirk",
    "Anouk",
    "Femke",
    "Iris",
    "Nienke",
]
LAST = [
    "Jansen",
    "de Vries",
    "van den Berg",
    "Bakker",
    "van Dijk",
    "Visser",
    "Smit",
    "Meijer",
    "de Boer",
    "Mulder",
    "de Groot",
    "Bos",
    "Vos",
    "Peters",
    "Hendriks",
    "van Leeuwen",
    "Dekker",
    "Brouwer",
    "de Wit",
    "Dijkstra",
    "Smits",
    "de Graaf",
    "van der Meer",
    "Kok",
    "Jacobs",
    "van der Linden",
    "de Haan",
    "Vermeulen",
    "van den Heuvel",
    "van der Veen",
    "Yilmaz",
    "El Idrissi",
    "Bouali",
    "Kaya",
    "van der Heijden",
    "Schouten",
    "van Beek",
    "Willems",
    "van Vliet",
    "Hoekstra",
    "Maas",
    "Verhoeven",
    "Koster",
    "van Dam",
    "van der Wal",
    "Prins",
    "Blom",
    "Huisman",
    "Kuipers",
    "van Veen",
]
STREETS = [
    "Kerkstraat",
    "Dorpsstraat",
    "Molenweg",
    "Stationsstraat",
    "Julianalaan",
    "Schoolstraat",
    "Wilhelminalaan",
    "Beatrixlaan",
    "Prinsengracht",
    "Parklaan",
    "Oudegracht",
    "Biltstraat",
    "Nachtegaalstraat",
    "Maliesingel",
    "Wulpendreef",
]
SAYS = {
    "naam": (
        "Mijn naam is {x}.",
        "Groeten van {x}.",
        "Ik ben {x} en woon hier.",
        "Vraag het aan {x}.",
        "Met vriendelijke groet, {x}",
    ),
    "e_mail": ("Mail mij op {x}.", "Mijn adres is {x}", "Reageren kan via {x}!"),
    "telefoon": ("Bel me op {x}.", "Ik ben bereikbaar op {x}", "Mijn nummer: {x}."),
    "postcode": ("Mijn postcode is {x}.", "Het gaat om {x} en omgeving.", "Bij ons op {x} is het druk."),
    "bsn": ("Mijn bsn is {x}.", "Burgerservicenummer {x}", "BSN: {x}."),
    "iban": ("Stort het op {x}.", "Mijn rekening is {x}", "IBAN {x}."),
    "adres": ("Ik woon op {x}.", "Kom eens kijken bij {x}.", "Het gaat om {x}."),
    "achternaam": (
        "De familie {x} is het ermee eens.",
        "Buurman {x} klaagt ook.",
        "Volgens {x} kan het beter.",
    ),
}
KINDS = tuple(SAYS)


def sentence(rng: np.random.Generator, theme: str) -> str:
    """A sentence on a theme."""
    things, wishes = THEMES[theme]
    made = PATTERNS[rng.integers(len(PATTERNS))].format(zaak=_one(rng, things), wens=_one(rng, wishes))
    return made[0].upper() + made[1:]


def examples(theme: str) -> list[str]:
    """Twelve example sentences of a theme, in other patterns than its citizens use."""
    things, wishes = THEMES[theme]
    made = [
        EXAMPLES[i % len(EXAMPLES)].format(zaak=things[i % 6], wens=wishes[(i + i // 6) % 6])
        for i in range(12)
    ]
    return [m[0].upper() + m[1:] for m in made]


def personal(rng: np.random.Generator, kind: str, *, mistyped: bool = False) -> str:
    """Something personal of a kind; `mistyped` spoils the checksum or the length of a number."""
    made = _MAKERS[kind](rng)
    if not mistyped or kind not in ("bsn", "iban", "telefoon"):
        return made
    place = max(i for i, c in enumerate(made) if c.isdigit())
    return made[:place] + str((int(made[place]) + 1) % 10) + made[place + 1 :]


def planted(rng: np.random.Generator, kind: str, *, mistyped: bool = False) -> tuple[str, str]:
    """A sentence that holds something personal, and what it holds."""
    value = personal(rng, kind, mistyped=mistyped)
    return _one(rng, SAYS[kind]).format(x=value), value


def _one(rng: np.random.Generator, choices: list[str] | tuple[str, ...]) -> str:
    return choices[rng.integers(len(choices))]


def _digits(rng: np.random.Generator, number: int) -> str:
    return "".join(str(d) for d in rng.integers(0, 10, number))


def _full_name(rng: np.random.Generator) -> str:
    return f"{_one(rng, FIRST)} {_one(rng, LAST)}"


def _e_mail(rng: np.random.Generator) -> str:
    last = _one(rng, LAST).lower().replace(" ", "")
    provider = _one(rng, ["voorbeeld.nl", "mail.example", "post.example.org"])
    return f"{_one(rng, FIRST).lower()}.{last}{rng.integers(1, 99)}@{provider}"


def _phone(rng: np.random.Generator) -> str:
    patterns = ("06-{}", "06 {}", "+316{}", "+31 6 {}", "0031 6 {}")
    if rng.random() < 0.3:
        return f"0{_one(rng, ['30', '33', '346'])}-{_digits(rng, 7)}"[:11]
    return _one(rng, patterns).format(_digits(rng, 8))


def _postcode(rng: np.random.Generator) -> str:
    letters = "".join("ABCDEGHJKLMNPRTVWXZ"[i] for i in rng.integers(0, 19, 2))
    return f"{rng.integers(3400, 4000)}{_one(rng, ['', ' '])}{letters}"


def _bsn(rng: np.random.Generator) -> str:
    while not bsn.is_valid(made := f"{rng.integers(1, 10)}{_digits(rng, 8)}"):
        pass
    return made


def _iban(rng: np.random.Generator) -> str:
    account = f"{_one(rng, ['ABNA', 'INGB', 'RABO', 'TRIO'])}0{_digits(rng, 9)}"
    as_digits = "".join(str(int(c, 36)) for c in account) + "232100"
    made = f"NL{98 - int(as_digits) % 97:02d}{account}"
    return made if rng.random() < 0.5 else " ".join(made[i : i + 4] for i in range(0, 18, 4))


def _address(rng: np.random.Generator) -> str:
    return f"{_one(rng, STREETS)} {rng.integers(1, 400)}{_one(rng, ['', '', '', 'a', ' bis'])}"


_MAKERS: dict[str, Callable[[np.random.Generator], str]] = {
    "naam": _full_name,
    "e_mail": _e_mail,
    "telefoon": _phone,
    "postcode": _postcode,
    "bsn": _bsn,
    "iban": _iban,
    "adres": _address,
    "achternaam": lambda rng: _one(rng, LAST),
}
