"""Series with a known effect, and what three voices say of it: examples, marked as such.

Here belong the worlds of the series and the documents. The truth is the effect that was put in:
`effecten.csv`. A document asks for the latest release, so that it waits in the inbox until there is one with
its table.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np

from koploper_pipelines.simulation import Simulated

COLUMNS = ("deal", "uitkomst", "eenheid", "gebied", "is_behandeld", "ingreep_maand", "maand", "waarde")
AUTOCORRELATION = 0.3


@dataclass(frozen=True)
class Series:
    """One outcome of one deal, in areas where something changed and where nothing did."""

    deal: str
    outcome: str
    unit: str
    treated: int
    controls: int
    months: int
    effect: float
    """Put in from halfway on, in the treated areas."""


EXAMPLES = (
    Series("VOORBEELD-1", "fietsers op de route", "fietsers per dag", 6, 14, 36, 12.0),
    Series("VOORBEELD-2", "klachten over stank", "klachten per maand", 1, 0, 60, -4.0),
    Series("VOORBEELD-3", "bezoekers van het park", "bezoekers per dag", 1, 1, 36, 8.0),
    Series("VOORBEELD-4", "gemelde zwerfafvalplekken", "plekken per maand", 2, 20, 36, 0.0),
)
"""Enough areas, a single long series, too little to compare with, and nothing to be found."""
VOICES = {
    "provincie": (
        "team Fiets (voorbeeld)",
        "Waar de route is verbeterd fietsen meer mensen dan verwacht was zonder verbetering.",
        "Het zegt niet dat mensen de auto laten staan: dat is niet gemeten.",
        "De verbeterde routes waren misschien al in opkomst; de toets op de periode ervoor ziet niet alles.",
        "Blijft het effect als de nieuwheid eraf is?",
    ),
    "partner": (
        "fietsersvereniging (voorbeeld)",
        "De verbetering werkt en is groter dan het toeval.",
        "Het is een gemiddelde: op twee routes is er bijna niets veranderd.",
        "Een deel van de fietsers komt van routes in de buurt en is dus niet nieuw.",
        "Zijn er tellingen van de routes eromheen?",
    ),
    "burger": (
        "bewonersgroep (voorbeeld)",
        "Het is drukker op het fietspad voor onze deur.",
        "Drukker is niet hetzelfde als prettiger.",
        "De telling staat op een plek waar iedereen langs moet.",
        "Wie telt de bijna-ongelukken?",
    ),
}
HEADINGS = ("Wat het betekent", "Wat het niet betekent", "Tegenlezing", "Open vragen")


def examples(inbox: Path, truth: Path, *, last: date, seed: int) -> Simulated:
    """Write the series to `effecten/` and the documents to `duiding/` below `inbox`."""
    random = np.random.default_rng(seed)
    truth.mkdir(parents=True, exist_ok=True)
    files, rows = [], 0
    for series in EXAMPLES:
        file = inbox / "effecten" / f"{series.deal.lower()}.csv"
        made = list(_rows(random, series, last))
        _write(file, COLUMNS, made)
        files.append(file)
        rows += len(made)
    for voice, said in VOICES.items():
        file = inbox / "duiding" / f"voorbeeld-{voice}.md"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(_document(voice, said, last), encoding="utf-8")
        files.append(file)
    _write(
        truth / "effecten.csv",
        ("deal", "uitkomst", "effect"),
        [(s.deal, s.outcome, f"{s.effect:g}") for s in EXAMPLES],
    )
    return Simulated(tuple(files), truth, rows + len(VOICES))


def _rows(random: np.random.Generator, series: Series, last: date) -> Iterator[tuple[str, ...]]:
    """Months of all areas: a level each, a season and shocks that they share, and shocks of their own."""
    months = [_month(last, back) for back in range(series.months, 0, -1)]
    t = np.arange(series.months)
    areas = series.treated + series.controls
    shared = 5 * np.sin(2 * np.pi * t / 12) + 2 * random.standard_normal(series.months)
    own = random.standard_normal((areas, series.months))
    for i in range(1, series.months):
        own[:, i] += AUTOCORRELATION * own[:, i - 1]
    # A single series has no areas to share a shock with: there the season alone.
    if areas == 1:
        shared = 5 * np.sin(2 * np.pi * t / 12)
    value = 60 + 4 * random.standard_normal((areas, 1)) + shared + 2 * own
    half = series.months // 2
    for area in range(areas):
        is_treated = area < series.treated
        value[area, half:] += series.effect * is_treated
        for month, v in zip(months, value[area], strict=True):
            yield (
                series.deal,
                series.outcome,
                series.unit,
                f"gebied {area + 1:02d}",
                "ja" if is_treated else "nee",
                months[half] if is_treated else "",
                month,
                f"{v:.3f}",
            )


def _month(last: date, back: int) -> str:
    """The month a number of months before that of a day."""
    number = 12 * last.year + last.month - 1 - back
    return f"{number // 12}-{number % 12 + 1:02d}"


def _document(voice: str, said: tuple[str, ...], day: date) -> str:
    on_behalf, *texts = said
    first = EXAMPLES[0]
    head = [
        "---",
        f"spreker: {voice}",
        f"namens: {on_behalf}",
        f"datum: {day.isoformat()}",
        "tabel: effecten",
        "release: laatste",
        "cijfers:",
        f"  - rij: {{deal: {first.deal}, uitkomst: {first.outcome}}}",
        "    kolom: effect",
        "---",
    ]
    parts = [f"\n## {title}\n{text}" for title, text in zip(HEADINGS, texts, strict=True)]
    return "\n".join([*head, *parts, ""])


def _write(file: Path, header: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", encoding="utf-8", newline="") as target:
        csv.writer(target, lineterminator="\n").writerows([header, *rows])
