"""PM2.5 while riding, the excess over the background, and busy against quiet cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

from koploper_pipelines.assets.snuffelfiets import SnuffelfietsSettings
from koploper_pipelines.assets.snuffelfiets.gebieden import BOUNDARIES, municipality_of, status_of_areas
from koploper_pipelines.assets.snuffelfiets.indicators import PROVINCE, ROADS
from koploper_pipelines.assets.snuffelfiets.indicators.air import classes
from koploper_pipelines.assets.snuffelfiets.published.shared import (
    APPROXIMATE,
    COUNTS,
    DEFINITIVE,
    INTERNAL,
    NO_REFERENCE,
    NOT_AVAILABLE,
    PM25,
    TOTAL,
    closed,
    disclosure_rules,
    month_end,
    months_of,
    suppress_excess,
    with_totals,
)
from koploper_pipelines.gates.staging import Offered
from koploper_pipelines.gates.table import Reads, Step, gated_table
from koploper_pipelines.relations import count
from koploper_pipelines.resources.reference import (
    MUNICIPALITIES_VINTAGE,
    municipalities,
)

if TYPE_CHECKING:
    import pandas as pd

TRAFFIC_LIKE = "verkeersachtige cellen in de metingen"
CONTRAST = ("contrast_ug_m3", "contrast_onder_ug_m3", "contrast_boven_ug_m3")


@gated_table(
    "snuffelfiets/published/pm25_cel",
    reads=[Reads("snuffelfiets/indicators/pm25_cel"), Reads(BOUNDARIES)],
    settings=SnuffelfietsSettings,
    closes_months=True,
)
def pm25_cel(step: Step) -> Offered:
    """Cells of closed months that may be shown; no others, since a cell alone tells where someone was."""
    import pandas as pd

    from koploper_pipelines.methods import disclosure, geo

    rows = closed(step, "snuffelfiets/indicators/pm25_cel")
    rules = disclosure_rules(step.settings(SnuffelfietsSettings))
    shown = rows[~disclosure.may_not_be_shown(rows, rules)].sort_values(
        ["maand", "cel_500m"], ignore_index=True
    )
    x, y = geo.square_centre(shown["cel_500m"], 500)
    areas, status = municipality_of(step, x, y)
    nothing = pd.Series(False, index=shown.index)
    shown, exposed = suppress_excess(shown, nothing, rules, None)
    made = shown.drop(columns=[*INTERNAL]).assign(
        rd_x_m=x,
        rd_y_m=y,
        gebied_code=areas,
        gebied_code_status=status,
    )
    expected = step.read("snuffelfiets/indicators/pm25_cel").filter(
        f"maand < '{step.first_open_month}' AND aantal_apparaten >= {rules.min_participants}"
        f" AND grootste_aandeel <= {rules.max_share}"
    )
    controls = {"toonbare_cellen": count(expected), "gesloten_maanden": months_of(rows)}
    controls["rijen_zonder_onthulling"] = len(made) - exposed
    return Offered(month_end(made), controls=controls)


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

    rows = closed(step, "snuffelfiets/indicators/pm25_gemeente")
    areas = _areas()
    months = pd.DataFrame({"maand": months_of(rows)}, dtype="str")
    full = months.merge(areas, how="cross").merge(rows, how="left", on=["maand", "gebied_code"])
    full[list(COUNTS)] = full[list(COUNTS)].astype("Int64")
    of_month = full.groupby("maand")["laatste_referentie_uur"]
    full["laatste_referentie_uur"] = of_month.transform("max")
    full[["aantal_metingen", "aantal_apparaten"]] = full[["aantal_metingen", "aantal_apparaten"]].fillna(0)
    full["pm25_ug_m3_status"] = full["pm25_ug_m3_status"].fillna(DEFINITIVE)
    figures = dict.fromkeys((*PM25, *COUNTS), "pm25_ug_m3_status")
    adds_up = disclosure.AddsUp(["maand"], "gebied_code", PROVINCE, "aantal_metingen")
    rules = disclosure_rules(step.settings(SnuffelfietsSettings))
    shown = disclosure.suppress(full, rules, figures=figures, adds_up=adds_up)
    shown["peildatum"] = shown["peildatum"].where(shown["pm25_ug_m3"].notna())
    shown, of_excess = suppress_excess(shown, shown["pm25_ug_m3"].isna(), rules, adds_up)
    exposed = disclosure.violations(
        shown.assign(grootste_aandeel=full["grootste_aandeel"]), rules, figures=figures, adds_up=adds_up
    )
    controls = {"gesloten_maanden": months_of(rows), "gemeenten_maal_maanden": 27 * len(months)}
    controls["rijen_zonder_onthulling"] = len(shown) - len(exposed) - of_excess
    made = _year_earlier(shown.drop(columns=[*INTERNAL])).assign(
        gebied_code_status=status_of_areas(step), peiljaar_indeling=MUNICIPALITIES_VINTAGE
    )
    return Offered(month_end(made), controls=controls)


@gated_table(
    "snuffelfiets/published/pm25_uur",
    reads=[Reads("snuffelfiets/indicators/pm25_uur")],
    settings=SnuffelfietsSettings,
    closes_months=True,
)
def pm25_uur(step: Step) -> Offered:
    """Sensors against stations by hour of the day and weather of the hour, in every closed month."""
    from koploper_pipelines.methods import disclosure

    rows = closed(step, "snuffelfiets/indicators/pm25_uur")
    rows["pm25_ug_m3_status"] = rows["pm25_ug_m3_status"].fillna(NOT_AVAILABLE)
    # The classes of one kind add up to the province, which is published elsewhere.
    cells = with_totals(rows, ["maand", "kenmerk"], "klasse")
    figures = dict.fromkeys((*PM25, *COUNTS), "pm25_ug_m3_status")
    adds_up = disclosure.AddsUp(["maand", "kenmerk"], "klasse", TOTAL, "aantal_metingen")
    rules = disclosure_rules(step.settings(SnuffelfietsSettings))
    is_total = cells["klasse"] == TOTAL
    cells["pm25_ug_m3"] = cells["pm25_ug_m3"].mask(is_total, 0.0)
    cells["pm25_ug_m3_status"] = cells["pm25_ug_m3_status"].mask(is_total, DEFINITIVE)
    cells["pm25_verhoging_ug_m3_status"] = cells["pm25_verhoging_ug_m3_status"].mask(
        is_total & (cells["metingen_geijkt"] > 0), DEFINITIVE
    )
    shown = disclosure.suppress(cells, rules, figures=figures, adds_up=adds_up)
    shown, of_excess = suppress_excess(shown, shown["pm25_ug_m3"].isna(), rules, adds_up)
    exposed = disclosure.violations(
        shown.assign(grootste_aandeel=cells["grootste_aandeel"]), rules, figures=figures, adds_up=adds_up
    )
    parts = shown[~is_total].drop(columns=[*INTERNAL])
    parts["stations_ug_m3_status"] = (
        parts["stations_ug_m3"].notna().map({True: DEFINITIVE, False: NO_REFERENCE})
    )
    parts["stations_uren"] = parts["stations_uren"].astype("int64")
    parts["peildatum"] = parts["maand"]
    controls = {
        "gesloten_maanden": months_of(rows),
        "klassen_maal_maanden": sum(len(c) for c in classes().values()) * len(months_of(rows)),
        "rijen_zonder_onthulling": len(parts) - len(exposed) - of_excess,
    }
    return Offered(month_end(parts), controls=controls)


@gated_table(
    "snuffelfiets/published/pm25_contrast",
    reads=[
        Reads("snuffelfiets/indicators/pm25_contrast"),
        Reads("snuffelfiets/indicators/overzicht"),
        Reads(ROADS),
    ],
    settings=SnuffelfietsSettings,
    closes_months=True,
)
def pm25_contrast(step: Step) -> Offered:
    """Busy minus quiet cells within rides, per closed month with rides and over all of them."""
    import pandas as pd

    from koploper_pipelines.methods import disclosure

    rows = closed(step, "snuffelfiets/indicators/pm25_contrast").sort_values("rit_id")
    months = months_of(closed(step, "snuffelfiets/indicators/overzicht").query("ritten > 0"))
    choice: SnuffelfietsSettings = step.settings(SnuffelfietsSettings)
    sources = [s for (s,) in step.read(ROADS).project("bron").distinct().fetchall()]
    per_period = _contrast(rows, choice.min_apparaten)
    if not sources:
        # Cells are told apart by the measurements: main roads only as far as they stand out.
        per_period = per_period.replace({"contrast_ug_m3_status": {DEFINITIVE: APPROXIMATE}})
    periods = pd.DataFrame({"periode": [*months, TOTAL] if months else []}, dtype="str")
    cells = periods.merge(per_period, how="left", on="periode").assign(reeks="alle maanden")
    counts = [c for c in map(str, cells) if c.startswith("aantal")]
    cells[counts] = cells[counts].astype("Int64")
    status = "contrast_ug_m3_status"
    nothing = cells[status].isna()
    figures = dict.fromkeys((*CONTRAST, *counts), status)
    adds_up = disclosure.AddsUp(["reeks"], "periode", TOTAL, "aantal_ritten")
    rules = disclosure_rules(choice)
    some = cells[~nothing]
    shown = disclosure.suppress(some, rules, figures=figures, adds_up=adds_up)
    exposed = disclosure.violations(shown, rules, figures=figures, adds_up=adds_up)
    every = pd.concat([shown, cells[nothing].assign(**{status: NOT_AVAILABLE})]).sort_index()
    last = dict(zip([*months, TOTAL], [*months, *months[-1:]], strict=False))
    made = every.drop(columns=["grootste_aandeel", "reeks"]).assign(
        wegtype_bron=next(iter(sources), TRAFFIC_LIKE),
        maand=every["periode"].map(last),
        peildatum=every["contrast_ug_m3"],
    )
    controls = {
        "gesloten_maanden_en_totaal": [*months, TOTAL],
        "perioden": len(periods),
        "rijen_zonder_onthulling": len(made) - len(exposed),
    }
    return Offered(month_end(made).drop(columns="maand"), controls=controls)


def _contrast(rows: pd.DataFrame, min_devices: int) -> pd.DataFrame:
    """The contrast per month and over all months, with what the disclosure rules ask for."""
    import pandas as pd

    from koploper_pipelines.methods import intervals

    renamed = rows.rename(columns={"maand": "periode", "gewicht": "n", "gewogen_verschil_ug_m3": "som"})
    every = pd.concat([renamed, renamed.assign(periode=TOTAL)])
    means = intervals.clustered_mean(every, ["periode"], min_devices=min_devices).set_index("periode")
    per_device = every.groupby(["periode", "apparaat"])["n"].sum().groupby("periode")
    figures = means[["gemiddelde", "ondergrens", "bovengrens"]].set_axis([*CONTRAST], axis=1)
    return figures.assign(
        contrast_ug_m3_status=means["status"],
        aantal_ritten=every.groupby("periode")["rit_id"].nunique(),
        aantal_apparaten=means["aantal_apparaten"],
        aantal_dagen=means["aantal_dagen"],
        grootste_aandeel=per_device.max() / per_device.sum(),
    ).reset_index()


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
