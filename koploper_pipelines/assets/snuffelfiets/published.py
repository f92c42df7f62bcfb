"""Published: what of the indicators may be shown, in Dutch, with a status beside every figure.

Here belong the disclosure rules as they apply to each table: closed months only, at least the set number of
devices behind every figure about people, no dominating device, nothing to be had by subtraction. The rules
themselves are in `methods/disclosure.py`; `assets/publicatie/` takes these tables to the warehouse.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from koploper_pipelines.assets.snuffelfiets import SnuffelfietsSettings
from koploper_pipelines.assets.snuffelfiets.gebieden import BOUNDARIES, municipality_of, status_of_areas
from koploper_pipelines.assets.snuffelfiets.indicators import CLASSES, PROVINCE
from koploper_pipelines.gates.staging import Offered
from koploper_pipelines.gates.table import Reads, SameTotal, Step, gated_table
from koploper_pipelines.relations import count
from koploper_pipelines.resources.reference import (
    MUNICIPALITIES_VINTAGE,
    municipalities,
)

if TYPE_CHECKING:
    import pandas as pd

    from koploper_pipelines.methods.disclosure import DisclosureRules

DEFINITIVE, NOT_AVAILABLE = "definitief", "niet_beschikbaar"
PM25 = ("pm25_ug_m3", "pm25_mediaan_ug_m3", "pm25_onder_ug_m3", "pm25_boven_ug_m3")
COUNTS = ("aantal_metingen", "aantal_passages", "aantal_apparaten", "aantal_dagen")


QUARANTINE_AGREES = SameTotal(
    ("snuffelfiets_overzicht", "datakwaliteit_quarantaine"),
    "SELECT sum(metingen_in_quarantaine) FROM snuffelfiets_overzicht",
    "SELECT coalesce(sum(aantal_rijen), 0) FROM datakwaliteit_quarantaine"
    " WHERE tabel = 'snuffelfiets/cleaned/metingen'",
    "metingen in quarantaine",
)


def disclosure_rules(choice: SnuffelfietsSettings) -> DisclosureRules:
    """The limits of this experiment's figures about people."""
    from koploper_pipelines.methods.disclosure import DisclosureRules

    return DisclosureRules(min_participants=choice.min_apparaten, max_share=choice.max_aandeel)


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
        _month_end(rows.drop(columns=["grootste_aandeel", "grootste_aandeel_ritten", "apparaten_met_rit"])),
        controls={"bruikbaar_plus_quarantaine": total},
    )


@gated_table(
    "snuffelfiets/published/pm25_cel",
    reads=[Reads("snuffelfiets/indicators/pm25_cel"), Reads(BOUNDARIES)],
    settings=SnuffelfietsSettings,
    closes_months=True,
)
def pm25_cel(step: Step) -> Offered:
    """Cells of closed months that may be shown; no others, since a cell alone tells where someone was."""
    from koploper_pipelines.methods import disclosure, geo

    rows = _closed(step, "snuffelfiets/indicators/pm25_cel")
    rules = disclosure_rules(step.settings(SnuffelfietsSettings))
    shown = rows[~disclosure.may_not_be_shown(rows, rules)].sort_values(
        ["maand", "cel_500m"], ignore_index=True
    )
    x, y = geo.square_centre(shown["cel_500m"], 500)
    areas, status = municipality_of(step, x, y)
    made = shown.drop(columns="grootste_aandeel").assign(
        rd_x_m=x,
        rd_y_m=y,
        gebied_code=areas,
        gebied_code_status=status,
    )
    expected = step.read("snuffelfiets/indicators/pm25_cel").filter(
        f"maand < '{step.first_open_month}' AND aantal_apparaten >= {rules.min_participants}"
        f" AND grootste_aandeel <= {rules.max_share}"
    )
    controls = {"toonbare_cellen": count(expected), "gesloten_maanden": _months(rows)}
    return Offered(_month_end(made), controls=controls)


@gated_table(
    "snuffelfiets/published/pm25_gemeente",
    reads=[Reads("snuffelfiets/indicators/pm25_gemeente"), Reads(BOUNDARIES)],
    settings=SnuffelfietsSettings,
    closes_months=True,
)
def pm25_gemeente(step: Step) -> Offered:
    """Every municipality and the province in every closed month, suppressed where it must be."""
    import pandas as pd

    from koploper_pipelines.methods import disclosure

    rows = _closed(step, "snuffelfiets/indicators/pm25_gemeente")
    areas = _areas()
    months = pd.DataFrame({"maand": _months(rows)}, dtype="str")
    full = months.merge(areas, how="cross").merge(rows, how="left", on=["maand", "gebied_code"])
    full[list(COUNTS)] = full[list(COUNTS)].astype("Int64")
    full[["aantal_metingen", "aantal_apparaten"]] = full[["aantal_metingen", "aantal_apparaten"]].fillna(0)
    full["pm25_ug_m3_status"] = full["pm25_ug_m3_status"].fillna(DEFINITIVE)
    figures = dict.fromkeys((*PM25, *COUNTS), "pm25_ug_m3_status")
    adds_up = disclosure.AddsUp(["maand"], "gebied_code", PROVINCE, "aantal_metingen")
    rules = disclosure_rules(step.settings(SnuffelfietsSettings))
    shown = disclosure.suppress(full, rules, figures=figures, adds_up=adds_up)
    shown["peildatum"] = shown["peildatum"].where(shown["pm25_ug_m3"].notna())
    exposed = disclosure.violations(
        shown.assign(grootste_aandeel=full["grootste_aandeel"]), rules, figures=figures, adds_up=adds_up
    )
    controls = {"gesloten_maanden": _months(rows), "gemeenten_maal_maanden": 27 * len(months)}
    controls["rijen_zonder_onthulling"] = len(shown) - len(exposed)
    made = _year_earlier(shown.drop(columns="grootste_aandeel")).assign(
        gebied_code_status=status_of_areas(step), peiljaar_indeling=MUNICIPALITIES_VINTAGE
    )
    return Offered(_month_end(made), controls=controls)


@gated_table(
    "snuffelfiets/published/ritten_verdeling",
    reads=[Reads("snuffelfiets/indicators/ritten_verdeling")],
    settings=SnuffelfietsSettings,
    closes_months=True,
)
def ritten_verdeling(step: Step) -> Offered:
    """Share of the rides per class in every closed month; the classes of one kind add up to all rides."""
    import pandas as pd

    from koploper_pipelines.methods import disclosure

    rows = _closed(step, "snuffelfiets/indicators/ritten_verdeling")
    rules = disclosure_rules(step.settings(SnuffelfietsSettings))
    rows["aandeel_pct"] = (
        100 * rows["aantal_ritten"] / rows.groupby(["maand", "kenmerk"])["aantal_ritten"].transform("sum")
    )
    rows["aantal_ritten_status"] = DEFINITIVE
    # A share of the whole and the number of rides in a class give the total: as good as published.
    totals = rows.groupby(["maand", "kenmerk"], as_index=False).agg(
        aantal_ritten=("aantal_ritten", "sum"), aantal_apparaten=("aantal_apparaten", "max")
    )
    cells = pd.concat([rows, totals.assign(klasse="totaal", grootste_aandeel=0.0)], ignore_index=True)
    figures = dict.fromkeys(("aantal_ritten", "aandeel_pct", "aantal_apparaten"), "aantal_ritten_status")
    adds_up = disclosure.AddsUp(["maand", "kenmerk"], "klasse", "totaal", "aantal_ritten")
    shown = disclosure.suppress(cells, rules, figures=figures, adds_up=adds_up)
    made = shown[shown["klasse"] != "totaal"].drop(columns="grootste_aandeel")
    months = _months(rows)
    exposed = disclosure.violations(
        shown.assign(grootste_aandeel=cells["grootste_aandeel"]), rules, figures=figures, adds_up=adds_up
    )
    controls = {
        "gesloten_maanden": months,
        "klassen_maal_maanden": sum(len(c) for c in CLASSES.values()) * len(months),
        "rijen_zonder_onthulling": len(made) - len(exposed),
    }
    return Offered(made, controls=controls)


def _closed(step: Step, table: str) -> pd.DataFrame:
    """Rows of an indicator for the months that receive no more rows."""
    rows: pd.DataFrame = step.read(table).df()
    return rows[rows["maand"] < step.first_open_month].reset_index(drop=True)


def _months(rows: pd.DataFrame) -> list[str]:
    return sorted(set(rows["maand"]))


def _areas() -> pd.DataFrame:
    """The 26 municipalities and the province."""
    import pandas as pd

    inside = municipalities().query("is_in_provincie")
    named = inside[["gemeente_code", "gemeente_naam"]].set_axis(["gebied_code", "gebied_naam"], axis=1)
    province = pd.DataFrame([{"gebied_code": PROVINCE, "gebied_naam": "Provincie Utrecht"}])
    return pd.concat([named.sort_values("gebied_code"), province], ignore_index=True)


def _year_earlier(shown: pd.DataFrame) -> pd.DataFrame:
    """Add the same month a year earlier as it is shown there, or why it is not."""
    import pandas as pd

    figure = "pm25_jaar_eerder_ug_m3"
    earlier = shown[["maand", "gebied_code", "pm25_ug_m3", "pm25_ug_m3_status"]].copy()
    # Typed, since before the first closed month there is nothing to tell the type from.
    next_year = [f"{int(m[:4]) + 1}{m[4:]}" for m in earlier["maand"]]
    earlier["maand"] = pd.Series(next_year, index=earlier.index, dtype="str")
    earlier.columns = ["maand", "gebied_code", figure, f"{figure}_status"]
    joined = shown.merge(earlier, how="left", on=["maand", "gebied_code"])
    joined[f"{figure}_status"] = joined[f"{figure}_status"].fillna(NOT_AVAILABLE)
    return joined


def _month_end(rows: pd.DataFrame) -> pd.DataFrame:
    """The reference date of a closed month: its last day, since the last measured day is someone's."""
    import pandas as pd

    ends = pd.to_datetime(rows["maand"], format="%Y-%m", errors="coerce") + pd.offsets.MonthEnd()
    is_shown = rows["peildatum"].notna()
    days = [end.date() if shown else None for end, shown in zip(ends, is_shown, strict=True)]
    return rows.assign(peildatum=pd.Series(days, index=rows.index, dtype="object"))
