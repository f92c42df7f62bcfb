"""An entry of the algorithm register in the fields of the national publication standard.

Belongs here: which fields an entry has, which must be filled, and what they may hold. Does not belong here:
the entries, which stand beside the experiment whose method they describe.

Source: Algoritmeregister Publicatiestandaard 1.0.0 (Ministerie van BZK), chapter 2: names, lengths, the
fields without which an entry is not published, and plain text without line breaks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

MANDATORY = {
    "naam": 99,
    "korte_omschrijving": 349,
    "organisatie": 99,
    "status": 99,
    "contactgegevens": 300,
    "publicatiecategorie": 99,
    "taal": 3,
    "schema": 10,
}
"""Fields without which an entry is not published, with the most characters they may have."""
OPTIONAL = {
    "thema": 300,
    "begindatum": 7,
    "einddatum": 7,
    "link_publiekspagina": 300,
    "link_bronregistratie": 300,
    "doel_en_impact": 2_499,
    "afwegingen": 2_499,
    "menselijke_tussenkomst": 2_499,
    "risicobeheer": 2_499,
    "wettelijke_basis": 2_499,
    "link_wettelijke_basis": 300,
    "titel_wettelijke_basis": 99,
    "verwerkingsregister": 300,
    "impacttoetsen": 300,
    "link_impacttoets": 300,
    "toelichting_impacttoetsen": 2_499,
    "gegevens": 2_499,
    "link_gegevensbron": 300,
    "titel_gegevensbron": 499,
    "technische_werking": 4_999,
    "leverancier": 199,
    "link_broncode": 300,
    "bron_id": 99,
    "zoektermen": 2_499,
}
FIELDS = {**MANDATORY, **OPTIONAL}
CHOICES = {
    "status": ("In ontwikkeling", "In gebruik", "Buiten gebruik"),
    "publicatiecategorie": ("Hoog-risico AI-systemen", "Impactvolle algoritmes", "Overige algoritmes"),
    "taal": ("nld",),
    "schema": ("1.0.0",),
}
# Without these a reader cannot judge a method that sorts people or what they wrote.
OURS = (
    "doel_en_impact",
    "afwegingen",
    "menselijke_tussenkomst",
    "risicobeheer",
    "gegevens",
    "technische_werking",
    "bron_id",
)
"""Fields that the standard leaves open and that every entry here fills."""


def entry(told: Mapping[str, Any]) -> dict[str, str | None]:
    """All fields of an entry as plain text; ValueError with all that deviates.

    A list (of themes) is joined with commas.
    """
    texts = {name: _text(value) for name, value in told.items()}
    if problems := list(_problems(texts)):
        raise ValueError("; ".join(problems))
    return {name: texts.get(name) for name in FIELDS}


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value).strip()


def _problems(texts: Mapping[str, str]) -> Iterator[str]:
    for name in texts:
        if name not in FIELDS:
            yield f"{name}: onbekend veld"
    for name in (*MANDATORY, *OURS):
        if not texts.get(name):
            yield f"{name}: ontbreekt"
    for name, text in texts.items():
        most = FIELDS.get(name)
        if most is not None and len(text) > most:
            yield f"{name}: heeft {len(text)} tekens, ten hoogste {most}"
        if "\n" in text:
            yield f"{name}: bevat een regeleinde, verwacht doorlopende tekst"
        if name in CHOICES and text not in CHOICES[name]:
            yield f"{name}: is {text!r}, verwacht een van {', '.join(CHOICES[name])}"
        if name.startswith("link_") and not text.startswith("https://"):
            yield f"{name}: verwacht een adres dat begint met https://"
