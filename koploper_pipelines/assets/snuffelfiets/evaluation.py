"""Evaluation: what was intended with Snuffelfiets against what this installation's data reach.

Here belongs comparing; the figures themselves come from the indicators.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from koploper_pipelines.assets.snuffelfiets import SnuffelfietsSettings
from koploper_pipelines.assets.snuffelfiets.indicators import PAIRS, REFERENCE
from koploper_pipelines.assets.snuffelfiets.indicators.air import calibration_rules, reach
from koploper_pipelines.gates.staging import Offered
from koploper_pipelines.gates.table import Reads, Step, gated_table

if TYPE_CHECKING:
    import pandas as pd

    from koploper_pipelines.methods.snuffelfiets.calibration import CalibrationRules

OVERVIEW = "snuffelfiets/indicators/overzicht"
REACH = "snuffelfiets/evaluation/bereik"
CALIBRATION = "snuffelfiets/evaluation/kalibratie"
TOTAL = "totaal"
MIN_DEVICES_FOR_SLOPE = 3
# The ordinary slope, and the one that knows that stations err too.
SLOPES = {"helling": None, "helling_fouten_in_beide": "fouten"}
# Intended or claimed at the project's start and end; Stadszaken 3304 and the municipality's press release.
INTENDED = {
    "apparaten": (500.0, "start van fase 2, 17 mei 2019: 500 inwoners met een kastje"),
    "metingen_ontvangen": (20_000_000.0, "Stadszaken 3304: 20 miljoen metingen"),
    "afstand_km": (750_000.0, "Stadszaken 3304: ongeveer 750.000 km"),
    "meetmaanden": (20.0, "fase 2: mei 2019 tot en met december 2020"),
}


@gated_table(REACH, reads=[Reads(OVERVIEW)])
def bereik(step: Step) -> Offered:
    """Intended against reached, a row a goal."""
    import pandas as pd

    months = step.read(OVERVIEW).df().query("metingen_bruikbaar > 0")
    reached = {
        # Devices are known per month only: the largest month, so that no device counts twice.
        "apparaten": float(months["apparaten"].max()),
        "metingen_ontvangen": float(months["metingen_ontvangen"].sum()),
        "afstand_km": float(months["afstand_km"].sum()),
        "meetmaanden": float(len(months)),
    }
    rows = [
        {
            "doel": goal,
            "beoogd": intended,
            "bereikt": reached[goal],
            "aandeel": reached[goal] / intended,
            "bron": source,
            "bewijstrede": "gemonitord",
        }
        for goal, (intended, source) in INTENDED.items()
    ]
    return Offered(pd.DataFrame(rows), controls={"som_bereikt": sum(reached.values())})


@gated_table(
    CALIBRATION,
    reads=[Reads(PAIRS), Reads(OVERVIEW), Reads(REFERENCE)],
    settings=SnuffelfietsSettings,
    closes_months=True,
)
def kalibratie(step: Step) -> Offered:
    """How far sensors and stations agree, as they are and calibrated, per month and over closed months."""
    import pandas as pd

    from koploper_pipelines.methods.snuffelfiets import calibration

    rules = calibration_rules(step.settings(SnuffelfietsSettings))
    found = step.read(PAIRS).filter("luchtvochtigheid_pct IS NOT NULL").df()
    found = found.sort_values(["maand", "apparaat", "station", "uur"], ignore_index=True)
    riders = step.read(OVERVIEW).df().query("ritten > 0").set_index("maand")["apparaten_met_rit"]
    reaches = reach(step).set_index("maand")["laatste_referentie_uur"]
    reference = set(reaches.index)
    compared = calibration.compared_devices(found, rules).groupby("maand")["apparaat"].size()
    periods = {month: [month] for month in sorted(riders.index)}
    periods[TOTAL] = [month for month in periods if month < step.first_open_month]
    applied = {m: line.model for m, line in calibration.lines(found, rules).items()}
    rows = []
    for period, months in periods.items():
        pairs = found[found["maand"].isin(months)]
        calibrated = int(compared.reindex(months).fillna(0).sum())
        of_period = {
            "periode": period,
            "laatste_referentie_uur": reaches[reaches.index.isin(months)].max(),
            "aantal_stations": pairs["station"].nunique(),
            "aandeel_apparaten_geijkt_pct": 100 * calibrated / max(int(riders.reindex(months).sum()), 1),
        }
        rows += [
            of_period
            | {"model": model, "is_toegepast": applied.get(period) == model}
            | _agreement(model, pairs, rules, has_reference=bool(reference & set(months)))
            for model in (calibration.NONE, *calibration.MODELS)
        ]
    return Offered(_typed(pd.DataFrame(rows)), controls={"modellen_maal_perioden": 4 * len(periods)})


def _typed(rows: pd.DataFrame) -> pd.DataFrame:
    """Numbers stay numbers, and moments moments, where a whole column is missing."""
    import pandas as pd

    hour = "laatste_referentie_uur"
    others = ("periode", "model", "is_toegepast", "oordeel_over", "aantal_paren_status", "bewijstrede", hour)
    numbers = {c: "Float64" for c in map(str, rows) if c not in others and not c.startswith("aantal_")}
    hours = pd.to_datetime(rows[hour], utc=True).astype("datetime64[us, UTC]")
    return rows.astype(numbers).assign(**{hour: hours})


def _agreement(
    model: str, pairs: pd.DataFrame, rules: CalibrationRules, *, has_reference: bool
) -> dict[str, Any]:
    """Agreement of one model in one period, or why there is none."""
    from koploper_pipelines.methods.snuffelfiets import calibration, contrast

    per_device = pairs["apparaat"].value_counts()
    told: dict[str, Any] = {
        "oordeel_over": "alle paren" if model == calibration.NONE else "andere apparaten in andere weken",
        "bewijstrede": "gemonitord" if model == calibration.NONE else "met controle",
        "aantal_paren": len(pairs),
        "aantal_apparaten": len(per_device),
        "aantal_weken": contrast.week_of(pairs["meetdag"]).nunique(),
        "grootste_aandeel": per_device.max() / len(pairs) if len(pairs) else None,
        **dict.fromkeys(("afwijking_ug_m3", "rmse_ug_m3", "r2")),
        **{f"{slope}{bound}": None for slope in SLOPES for bound in ("", "_onder", "_boven")},
    }
    if not has_reference:
        return told | {"aantal_paren_status": "geen_referentie"}
    if len(per_device) < MIN_DEVICES_FOR_SLOPE:
        return told | {"aantal_paren_status": "niet_beschikbaar"}
    if model == calibration.NONE:
        estimate = pairs["pm25_ug_m3"]
    else:
        estimate = calibration.judged_elsewhere(model, pairs, rules)
    if estimate.isna().any():
        return told | {"aantal_paren_status": "niet_beschikbaar"}
    told |= calibration.agreement(estimate.to_numpy(float), pairs["station_ug_m3"].to_numpy(float))
    for slope, ratio in SLOPES.items():
        with_bounds = calibration.slope_interval(
            pairs.assign(pm25_ug_m3=estimate), None if ratio is None else rules.error_ratio
        )
        told |= zip((slope, f"{slope}_onder", f"{slope}_boven"), with_bounds, strict=True)
    enough = len(per_device) >= rules.min_devices
    return told | {"aantal_paren_status": "definitief" if enough else "onvoldoende_betrouwbaar"}
