"""What the published tables of this experiment share: limits, statuses, closed months, suppression."""

from __future__ import annotations

from typing import TYPE_CHECKING

from koploper_pipelines.assets.snuffelfiets import SnuffelfietsSettings
from koploper_pipelines.gates.table import Step

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from koploper_pipelines.methods.disclosure import AddsUp, DisclosureRules

DEFINITIVE, NOT_AVAILABLE, APPROXIMATE = "definitief", "niet_beschikbaar", "benadering"
UNRELIABLE, NO_REFERENCE = "onvoldoende_betrouwbaar", "geen_referentie"
PM25 = ("pm25_ug_m3", "pm25_mediaan_ug_m3", "pm25_onder_ug_m3", "pm25_boven_ug_m3")
COUNTS = ("aantal_metingen", "aantal_passages", "aantal_apparaten", "aantal_dagen")
EXCESS = (
    "achtergrond_ug_m3",
    "pm25_verhoging_ug_m3",
    "pm25_verhoging_onder_ug_m3",
    "pm25_verhoging_boven_ug_m3",
    "aantal_apparaten_geijkt",
)
EXCESS_STATUS = "pm25_verhoging_ug_m3_status"
INTERNAL = ("grootste_aandeel", "grootste_aandeel_geijkt", "metingen_geijkt")
"""Columns of the indicators that decide what is shown and are not shown themselves."""
TOTAL = "totaal"


def disclosure_rules(choice: SnuffelfietsSettings) -> DisclosureRules:
    """The limits of this experiment's figures about people."""
    from koploper_pipelines.methods.disclosure import DisclosureRules

    return DisclosureRules(min_participants=choice.min_apparaten, max_share=choice.max_aandeel)


def closed(step: Step, table: str) -> pd.DataFrame:
    """Rows of an indicator for the months that receive no more rows."""
    rows: pd.DataFrame = step.read(table).df()
    return rows[rows["maand"] < step.first_open_month].reset_index(drop=True)


def months_of(rows: pd.DataFrame) -> list[str]:
    """The months of some rows, in order."""
    return sorted(set(rows["maand"]))


def month_end(rows: pd.DataFrame) -> pd.DataFrame:
    """The reference date of a closed month: its last day, since the last measured day is someone's."""
    import pandas as pd

    ends = pd.to_datetime(rows["maand"], format="%Y-%m", errors="coerce") + pd.offsets.MonthEnd()
    is_shown = rows["peildatum"].notna()
    days = [end.date() if shown else None for end, shown in zip(ends, is_shown, strict=True)]
    return rows.assign(peildatum=pd.Series(days, index=rows.index, dtype="object"))


def with_totals(rows: pd.DataFrame, groups: Sequence[str], part: str) -> pd.DataFrame:
    """Rows and the totals that a reader can make of them: those must give no hidden part away.

    Counts are added up; the devices of a total are at least those of its largest part.
    """
    import pandas as pd

    counts = [c for c in map(str, rows) if c.startswith(("aantal_", "metingen_"))]
    devices = [c for c in counts if c.startswith("aantal_apparaten")]
    how = dict.fromkeys(counts, "sum") | dict.fromkeys(devices, "max")
    totals = rows.groupby(list(groups), as_index=False).agg(how)
    # That a total may be seen is taken for granted, which is the strictest.
    shares = {c: 0.0 for c in INTERNAL if c.startswith("grootste") and c in rows}
    return pd.concat([rows, totals.assign(**{part: TOTAL}, **shares)], ignore_index=True)


def suppress_excess(
    rows: pd.DataFrame, hidden: pd.Series, rules: DisclosureRules, adds_up: AddsUp | None
) -> tuple[pd.DataFrame, int]:
    """Blank the excess where it rests on too few calibrated devices, or where its row is hidden.

    A month without any reference keeps `geen_referentie` in every row, since that is no fact about people.
    Returns the rows and the number of violations that the independent check still finds.
    """
    from dataclasses import replace

    from koploper_pipelines.methods import disclosure

    cells = rows.assign(
        aantal_apparaten=rows["aantal_apparaten_geijkt"].fillna(0),
        grootste_aandeel=rows["grootste_aandeel_geijkt"],
        metingen_geijkt=rows["metingen_geijkt"].fillna(0),
    )
    status = rows[EXCESS_STATUS]
    has_figure = status.isin([DEFINITIVE, UNRELIABLE])
    hide = hidden | (has_figure & disclosure.may_not_be_shown(cells, rules))
    if adds_up is not None:
        adds_up = replace(adds_up, rows="metingen_geijkt")
        hide = disclosure.complementary(cells, hide, rules, adds_up)
    has_reference = status.isin([DEFINITIVE, UNRELIABLE, NOT_AVAILABLE])
    without = ~has_reference.groupby(rows["maand"]).transform("any").astype(bool)
    cells[EXCESS_STATUS] = status.mask(hide, disclosure.SUPPRESSED).mask(without, NO_REFERENCE)
    for figure in EXCESS:
        values = rows[figure].astype("Int64" if figure.startswith("aantal") else "Float64")
        cells[figure] = values.where(cells[EXCESS_STATUS].isin([DEFINITIVE, UNRELIABLE]))
    figures = dict.fromkeys(EXCESS, EXCESS_STATUS)
    found = disclosure.violations(cells, rules, figures=figures, adds_up=adds_up)
    return rows.assign(**{c: cells[c] for c in (*EXCESS, EXCESS_STATUS)}), len(found)
