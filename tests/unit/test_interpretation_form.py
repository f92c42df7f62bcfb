"""The form of an interpretation, every deviation with its line; and when a figure has moved away from it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from koploper_pipelines.methods.koploperdeals import duiding
from koploper_pipelines.methods.koploperdeals.duiding import Figure

SOUND = """---
spreker: burger
namens: bewonersgroep Kanaalzone
datum: 2026-11-20
tabel: effecten
release: r20261124-030000
cijfers:
  - rij: {deal: FIETS-1, uitkomst: fietsers}
    kolom: effect
    waarde: "3,1"
---
Inleiding die niemand hoeft te lezen.

## Wat het betekent
Er fietsen meer mensen.

## Wat het niet betekent
Niet dat iedereen fietst.

## Tegenlezing
Het was ook mooi weer.

## Open vragen
geen
"""


def findings(text: str) -> list[str]:
    with pytest.raises(duiding.NotInForm) as caught:
        duiding.read(text)
    return [str(f) for f in caught.value.findings]


def test_a_document_in_form_is_read_whole() -> None:
    said = duiding.read(SOUND)
    assert (said.speaker, said.on_behalf, said.release) == (
        "burger",
        "bewonersgroep Kanaalzone",
        "r20261124-030000",
    )
    (quote,) = said.quotes
    assert dict(quote.row) == {"deal": "FIETS-1", "uitkomst": "fietsers"}
    assert (quote.column, quote.value, quote.line) == ("effect", "3,1", 8)
    assert said.texts["tegenlezing"] == "Het was ook mooi weer."


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("spreker: burger", "spreker: buurman", "regel 2, spreker: is 'buurman'; verwacht een van provincie"),
        ("datum: 2026-11-20", "datum: 20-11-2026", "regel 4, datum: is '20-11-2026'; verwacht een dag"),
        ("release: r20261124-030000", "release: vorige", "regel 6, release: is 'vorige'"),
        ("tabel: effecten", "tabel: Effecten!", "regel 5, tabel: is 'Effecten!'"),
        ("namens: bewonersgroep Kanaalzone", "namens: jan@voorbeeld.nl", "regel 3, namens: is"),
        ("datum: 2026-11-20", "datum: 2026-11-20\nkleur: rood", "regel 5, kleur: onbekend veld"),
        ("datum: 2026-11-20\n", "", "regel 2, datum: ontbreekt in kop"),
        ("spreker: burger", "spreker: burger\nspreker: partner", "regel 3, spreker: staat er twee keer"),
        ("    kolom: effect\n", "", "regel 8, kolom: ontbreekt in het cijfer"),
        ("rij: {deal: FIETS-1, uitkomst: fietsers}", "rij: alles", "regel 8, rij: verwacht de sleutel"),
        ("    kolom: effect", "    kolom: effect\n    onder: effect_onder", "onder, boven: verwacht beide"),
        ("## Tegenlezing", "## Tegenspraak", "regel 20, ## Tegenspraak: onbekend kopje"),
        ("## Tegenlezing\nHet was ook mooi weer.\n", "", "## Tegenlezing: ontbreekt"),
        ("Het was ook mooi weer.", "", "regel 20, ## Tegenlezing: is leeg"),
        ("Het was ook mooi weer.", "Bel 06-12345678.", "regel 20, ## Tegenlezing: bevat een e-mailadres"),
        ("geen\n", "x" * 4_001, "regel 23, ## Open vragen: heeft 4001 tekens"),
        ("cijfers:", "cijfers: [", "kop: verwacht leesbare YAML"),
        ("---\nspreker", "spreker", "regel 1, bestand: verwacht een kop"),
    ],
)
def test_each_deviation_is_told_with_its_line(old: str, new: str, said: str) -> None:
    assert old in SOUND
    assert any(said in f for f in findings(SOUND.replace(old, new, 1)))


def test_all_deviations_come_at_once_in_order() -> None:
    broken = (
        SOUND.replace("burger", "buurman", 1)
        .replace("2026-11-20", "morgen")
        .replace("## Open", "## Gesloten")
    )
    found = findings(broken)
    assert [f.split(",")[0] for f in found] == ["regel 2", "regel 4", "regel 23", "regel 25"]


# -- The figure, then and now ----------------------------------------------------------------------------

WITH = Figure(10.0, (9.0, 11.0), {"maand": "2026-09"}, "a")
WITHOUT = Figure(10.0, None, {"maand": "2026-09"}, "a")


@pytest.mark.parametrize("now", [9.0, 10.0, 10.99, 11.0])
def test_a_figure_within_the_interval_that_it_had_has_not_moved(now: float) -> None:
    # Its new interval does not matter.
    assert duiding.outdated(WITH, replace(WITH, value=now, bounds=(now, now))) == ""


@pytest.mark.parametrize("now", [8.99, 11.01])
def test_a_figure_that_left_its_interval_has_moved(now: float) -> None:
    assert "buiten het interval" in duiding.outdated(WITH, replace(WITH, value=now))


def test_a_figure_without_interval_moves_with_any_change_and_only_then() -> None:
    assert duiding.outdated(WITHOUT, replace(WITHOUT, value=10.0)) == ""
    assert duiding.outdated(WITHOUT, replace(WITHOUT, value=10.01)) == "het cijfer is veranderd"
    assert duiding.outdated(replace(WITHOUT, value="groepen"), replace(WITHOUT, value="instabiel"))
    assert duiding.outdated(replace(WITHOUT, value=True), replace(WITHOUT, value=True)) == ""


def test_another_period_method_or_no_figure_at_all_is_told() -> None:
    assert "andere periode (maand 2026-10)" in duiding.outdated(
        WITH, replace(WITH, period={"maand": "2026-10"})
    )
    assert "andere manier" in duiding.outdated(WITH, replace(WITH, method="b"))
    assert "niet meer getoond" in duiding.outdated(WITH, replace(WITH, value=None))
    assert "niet meer in de tabel" in duiding.outdated(WITH, None)


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ("pm25_ug_m3", ("pm25_onder_ug_m3", "pm25_boven_ug_m3")),
        ("effect", ("effect_onder", "effect_boven")),
        ("aantal", None),
        ("half", None),
    ],
)
def test_columns_of_an_interval_follow_from_their_names(
    column: str, expected: tuple[str, str] | None
) -> None:
    columns = ["pm25_onder_ug_m3", "pm25_boven_ug_m3", "effect_onder", "effect_boven", "half_onder", "aantal"]
    assert duiding.bounds_of(column, columns) == expected
