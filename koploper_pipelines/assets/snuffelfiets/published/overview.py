"""What was received and ridden: process counts, and figures about people of closed months."""

from __future__ import annotations

from koploper_pipelines.assets.snuffelfiets import SnuffelfietsSettings
from koploper_pipelines.assets.snuffelfiets.indicators.rides import CLASSES
from koploper_pipelines.assets.snuffelfiets.published.shared import (
    DEFINITIVE,
    NOT_AVAILABLE,
    TOTAL,
    closed,
    disclosure_rules,
    month_end,
    months_of,
    with_totals,
)
from koploper_pipelines.gates.staging import Offered
from koploper_pipelines.gates.table import Reads, SameTotal, Step, gated_table

QUARANTINE_AGREES = SameTotal(
    ("snuffelfiets_overzicht", "datakwaliteit_quarantaine"),
    "SELECT sum(metingen_in_quarantaine) FROM snuffelfiets_overzicht",
    "SELECT coalesce(sum(aantal_rijen), 0) FROM datakwaliteit_quarantaine"
    " WHERE tabel = 'snuffelfiets/cleaned/metingen'",
    "metingen in quarantaine",
)


@gated_table(
    "snuffelfiets/published/overzicht",
    reads=[Reads("snuffelfiets/indicators/overzicht")],
    settings=SnuffelfietsSettings,
    closes_months=True,
)
def overzicht(step: Step) -> Offered:
    """Process counts of every month, and figures about people of the closed ones."""
    import pandas as pd

    from koploper_pipelines.methods import disclosure

    rows = step.read("snuffelfiets/indicators/overzicht").df().sort_values("maand", ignore_index=True)
    rules = disclosure_rules(step.settings(SnuffelfietsSettings))
    is_closed = rows["maand"] < step.first_open_month
    on_devices = rows.rename(columns={"apparaten": "aantal_apparaten"})
    on_rides = rows.drop(columns=["grootste_aandeel"]).rename(
        columns={"apparaten_met_rit": "aantal_apparaten", "grootste_aandeel_ritten": "grootste_aandeel"}
    )
    few_devices = disclosure.may_not_be_shown(on_devices, rules)
    # Rides stand beside the number of devices, so they are hidden with it.
    few_riders = few_devices | disclosure.may_not_be_shown(on_rides, rules)
    hidden = {"apparaten": few_devices}
    hidden |= dict.fromkeys(("ritten", "afstand_km", "rijtijd_uur"), few_riders)
    for figure, is_hidden in hidden.items():
        status = pd.Series(DEFINITIVE, index=rows.index).mask(is_hidden, disclosure.SUPPRESSED)
        rows[f"{figure}_status"] = status.where(is_closed, NOT_AVAILABLE)
        shown = rows[figure].astype("Float64" if figure.endswith(("km", "uur")) else "Int64")
        rows[figure] = shown.where(rows[f"{figure}_status"] == DEFINITIVE)
    rows["peildatum"] = rows["peildatum"].where(rows["apparaten_status"] == DEFINITIVE)
    total = int(rows["metingen_bruikbaar"].sum() + rows["metingen_in_quarantaine"].sum())
    return Offered(
        month_end(rows.drop(columns=["grootste_aandeel", "grootste_aandeel_ritten", "apparaten_met_rit"])),
        controls={"bruikbaar_plus_quarantaine": total},
    )


@gated_table(
    "snuffelfiets/published/ritten_verdeling",
    reads=[Reads("snuffelfiets/indicators/ritten_verdeling")],
    settings=SnuffelfietsSettings,
    closes_months=True,
)
def ritten_verdeling(step: Step) -> Offered:
    """Share of the rides per class in every closed month; the classes of one kind add up to all rides."""
    from koploper_pipelines.methods import disclosure

    rows = closed(step, "snuffelfiets/indicators/ritten_verdeling")
    rules = disclosure_rules(step.settings(SnuffelfietsSettings))
    rows["aandeel_pct"] = (
        100 * rows["aantal_ritten"] / rows.groupby(["maand", "kenmerk"])["aantal_ritten"].transform("sum")
    )
    rows["aantal_ritten_status"] = DEFINITIVE
    # A share of the whole and the number of rides in a class give the total: as good as published.
    cells = with_totals(rows, ["maand", "kenmerk"], "klasse")
    figures = dict.fromkeys(("aantal_ritten", "aandeel_pct", "aantal_apparaten"), "aantal_ritten_status")
    adds_up = disclosure.AddsUp(["maand", "kenmerk"], "klasse", TOTAL, "aantal_ritten")
    shown = disclosure.suppress(cells, rules, figures=figures, adds_up=adds_up)
    made = shown[shown["klasse"] != TOTAL].drop(columns="grootste_aandeel")
    months = months_of(rows)
    exposed = disclosure.violations(
        shown.assign(grootste_aandeel=cells["grootste_aandeel"]), rules, figures=figures, adds_up=adds_up
    )
    controls = {
        "gesloten_maanden": months,
        "klassen_maal_maanden": sum(len(c) for c in CLASSES.values()) * len(months),
        "rijen_zonder_onthulling": len(made) - len(exposed),
    }
    return Offered(made, controls=controls)
