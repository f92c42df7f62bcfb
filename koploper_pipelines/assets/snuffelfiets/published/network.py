"""The cycling network: cells of 100 m and trips between municipalities that enough devices rode."""

from __future__ import annotations

from koploper_pipelines.assets.snuffelfiets import SnuffelfietsSettings
from koploper_pipelines.assets.snuffelfiets.indicators import PROVINCE
from koploper_pipelines.assets.snuffelfiets.published.shared import (
    APPROXIMATE,
    DEFINITIVE,
    UNRELIABLE,
    closed,
    disclosure_rules,
    month_end,
    months_of,
)
from koploper_pipelines.gates.staging import Offered
from koploper_pipelines.gates.table import Reads, Step, gated_table
from koploper_pipelines.relations import count
from koploper_pipelines.resources.reference import MUNICIPALITIES_VINTAGE

ROUNDING = 5
"""Passages are rounded to this: those of the 500 m cell around are published exactly, so that a hidden cell
of 100 m could else be had by subtraction."""


@gated_table(
    "snuffelfiets/published/fietsnetwerk",
    reads=[Reads("snuffelfiets/indicators/fietsnetwerk")],
    settings=SnuffelfietsSettings,
    closes_months=True,
)
def fietsnetwerk(step: Step) -> Offered:
    """Cells of closed months that may be shown; no others, since a cell alone tells where someone was."""
    from koploper_pipelines.methods import disclosure, geo

    rows = closed(step, "snuffelfiets/indicators/fietsnetwerk")
    rules = disclosure_rules(step.settings(SnuffelfietsSettings))
    shown = rows[~disclosure.may_not_be_shown(rows, rules)].sort_values(
        ["maand", "cel_100m"], ignore_index=True
    )
    x, y = geo.square_centre(shown["cel_100m"], 100)
    made = shown.drop(columns="grootste_aandeel").assign(
        aantal_passages=disclosure.round_counts(shown["aantal_passages"], ROUNDING),
        aantal_passages_status=DEFINITIVE,
        schokken_pct_status=UNRELIABLE,
        rd_x_m=x,
        rd_y_m=y,
    )
    expected = step.read("snuffelfiets/indicators/fietsnetwerk").filter(
        f"maand < '{step.first_open_month}' AND aantal_apparaten >= {rules.min_participants}"
        f" AND grootste_aandeel <= {rules.max_share}"
    )
    controls = {"toonbare_cellen": count(expected), "gesloten_maanden": months_of(rows)}
    return Offered(month_end(made), controls=controls)


@gated_table(
    "snuffelfiets/published/herkomst_bestemming",
    reads=[Reads("snuffelfiets/indicators/herkomst_bestemming")],
    settings=SnuffelfietsSettings,
    closes_months=True,
)
def herkomst_bestemming(step: Step) -> Offered:
    """Trips between municipalities that may be shown, and all trips of the month."""
    import pandas as pd

    from koploper_pipelines.methods import disclosure

    rows = closed(step, "snuffelfiets/indicators/herkomst_bestemming")
    per_month = rows[rows["herkomst_code"] == PROVINCE]
    figures = dict.fromkeys(
        ("aantal_ritten", "aantal_apparaten", "afstand_mediaan_km", "duur_mediaan_minuten"),
        "aantal_ritten_status",
    )
    cells = rows.assign(
        aantal_ritten_status=APPROXIMATE, relatie=rows["herkomst_code"] + "-" + rows["bestemming_code"]
    )
    adds_up = disclosure.AddsUp(["maand"], "relatie", f"{PROVINCE}-{PROVINCE}", "aantal_ritten")
    rules = disclosure_rules(step.settings(SnuffelfietsSettings))
    judged = disclosure.suppress(cells, rules, figures=figures, adds_up=adds_up)
    exposed = disclosure.violations(judged, rules, figures=figures, adds_up=adds_up)
    # That a trip was made at all, by few, is not to be seen either: only the totals stay when hidden.
    is_total = judged["relatie"] == adds_up.total
    made = judged[is_total | judged["aantal_ritten"].notna()].drop(columns=["relatie", "grootste_aandeel"])
    made["peildatum"] = made["peildatum"].where(made["aantal_ritten"].notna())
    shared = made[made["herkomst_code"] != PROVINCE].groupby("maand")["aantal_ritten"].sum()
    totals = per_month.set_index("maand")["aantal_ritten"]
    overdone = int((shared.reindex(totals.index).fillna(0) > totals).sum())
    controls = {
        "gesloten_maanden": months_of(rows),
        "rijen_zonder_onthulling": len(made) - len(exposed) - overdone,
        "maanden": len(per_month),
        "ritten_hoogstens": 2 * int(totals.sum()),
    }
    sorted_made = made.sort_values(["maand", "herkomst_code", "bestemming_code"], ignore_index=True)
    named = sorted_made.assign(peiljaar_indeling=MUNICIPALITIES_VINTAGE)
    return Offered(month_end(pd.DataFrame(named)), controls=controls)
