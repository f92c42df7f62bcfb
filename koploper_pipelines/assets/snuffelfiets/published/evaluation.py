"""How good the measurements are and what they reached: calibration, and the evaluation in one table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from koploper_pipelines.assets.snuffelfiets import SnuffelfietsSettings
from koploper_pipelines.assets.snuffelfiets.evaluation import CALIBRATION, REACH
from koploper_pipelines.assets.snuffelfiets.indicators import PROVINCE
from koploper_pipelines.assets.snuffelfiets.published.shared import (
    DEFINITIVE,
    NO_REFERENCE,
    NOT_AVAILABLE,
    TOTAL,
    UNRELIABLE,
    closed,
    disclosure_rules,
)
from koploper_pipelines.gates.staging import Offered
from koploper_pipelines.gates.table import Reads, Step, gated_table

if TYPE_CHECKING:
    import pandas as pd

FIGURES = (
    "aantal_paren",
    "aantal_apparaten",
    "aantal_weken",
    "aandeel_apparaten_geijkt_pct",
    "afwijking_ug_m3",
    "rmse_ug_m3",
    "r2",
    "helling",
    "helling_onder",
    "helling_boven",
    "helling_fouten_in_beide",
    "helling_fouten_in_beide_onder",
    "helling_fouten_in_beide_boven",
)
# Annual means, in µg/m³: WHO global air quality guidelines 2021; Directive (EU) 2024/2881, from 2030.
NORMS = {
    "who_2021": (5.0, "WHO-advieswaarde 2021, jaargemiddelde"),
    "eu_2030": (10.0, "EU-grenswaarde 2030, jaargemiddelde"),
}
LITERATURE = {
    "contrast": (2.0, "Wesseling e.a. 2021: ongeveer 2 µg/m³ bij verkeer"),
    "rmse_bij_station": (7.55, "NILU, Kristiansand: RMSD bij een station"),
    "herhaalritten_variatie": (9.5, "tien apparaten op één rit, 12 november 2024"),
}


@gated_table(
    "snuffelfiets/published/kalibratie",
    reads=[Reads(CALIBRATION)],
    settings=SnuffelfietsSettings,
    closes_months=True,
)
def kalibratie(step: Step) -> Offered:
    """Sensors against stations per closed month and over all of them, suppressed where it must be."""
    from koploper_pipelines.methods import disclosure

    rows = step.read(CALIBRATION).df().sort_values(["periode", "model"], ignore_index=True)
    periods = sorted(p for p in set(rows["periode"]) if p < step.first_open_month or p == TOTAL)
    rows = rows[rows["periode"].isin(periods)].reset_index(drop=True)
    rules = disclosure_rules(step.settings(SnuffelfietsSettings))
    counts = [c for c in FIGURES if c.startswith("aantal")]
    rows[counts] = rows[counts].astype("Int64")
    has_figure = rows["aantal_paren_status"].isin([DEFINITIVE, UNRELIABLE])
    figures = dict.fromkeys(FIGURES, "aantal_paren_status")
    shown = disclosure.suppress(rows, rules, figures=figures, adds_up=None)
    # Where there was nothing to hide, the reason why there is no figure stays.
    shown["aantal_paren_status"] = shown["aantal_paren_status"].where(has_figure, rows["aantal_paren_status"])
    for figure in FIGURES:
        shown[figure] = shown[figure].where(has_figure)
    exposed = disclosure.violations(shown, rules, figures=figures, adds_up=None)
    controls = {
        "gesloten_perioden": periods,
        "rijen": len(step.read(CALIBRATION).df().query("periode in @periods")),
        "rijen_zonder_onthulling": len(rows) - len(exposed),
    }
    return Offered(shown.drop(columns="grootste_aandeel"), controls=controls)


@gated_table(
    "snuffelfiets/published/evaluatie",
    reads=[
        Reads(REACH),
        Reads("snuffelfiets/indicators/herhaalritten"),
        Reads("snuffelfiets/published/overzicht"),
        Reads("snuffelfiets/published/pm25_gemeente"),
        Reads("snuffelfiets/published/pm25_contrast"),
        Reads("snuffelfiets/published/kalibratie"),
    ],
    settings=SnuffelfietsSettings,
    closes_months=True,
)
def evaluatie(step: Step) -> Offered:
    """Reached against intended, exposure against norms, and how good the measurements are: a row a question.

    Made of what other published tables show, so that it shows no more than those.
    """
    import pandas as pd

    rows = [*_reach(step), *_exposure(step), *_quality(step), *_together(step)]
    made = pd.DataFrame(rows)
    compared = _compared(step)
    made["aantal_apparaten"] = made["aantal_apparaten"].where(made["waarde"].notna()).astype("Int64")
    made["waarde"] = made["waarde"].astype("Float64")
    return Offered(made, controls={"som_min": compared - 0.01, "som_max": compared + 0.01})


def _compared(step: Step) -> float:
    """Sum of all that is compared with, counted apart: what was intended, the norms and the literature."""
    intended = step.read(REACH).df()["beoogd"].sum()
    norms = 2 * sum(value for value, _ in NORMS.values())
    # The error at a station is compared for each of four models.
    published = sum(value for value, _ in LITERATURE.values()) + 3 * LITERATURE["rmse_bij_station"][0]
    return float(intended + norms + published)


def _row(
    part: str,
    measure: str,
    value: float | None,
    status: str,
    devices: Any,
    against: tuple[float | None, str],
    unit: str,
    rung: str = "gemonitord",
) -> dict[str, Any]:
    is_absent = value is None or value != value
    return {
        "onderdeel": part,
        "maat": measure,
        "waarde": None if is_absent else float(value or 0),
        "waarde_status": status,
        "eenheid": unit,
        "vergelijking": against[0],
        "vergelijking_status": "niet_van_toepassing" if against[0] is None else DEFINITIVE,
        "vergelijking_met": against[1],
        "aantal_apparaten": devices,
        "bewijstrede": rung,
    }


def _reach(step: Step) -> Iterator[dict[str, Any]]:
    """Intended against reached, over the closed months of which the figures may be shown."""
    months = step.read("snuffelfiets/published/overzicht").df()
    shown = months[months["apparaten"].notna() & months["ritten"].notna()]
    devices = shown["apparaten"].max()
    reached = {
        "apparaten": (devices, "aantal"),
        "metingen_ontvangen": (shown["metingen_ontvangen"].sum(), "aantal"),
        "afstand_km": (shown["afstand_km"].sum(), "km"),
        "meetmaanden": (len(shown), "maanden"),
    }
    for goal in step.read(REACH).order("doel").df().to_dict("records"):
        value, unit = reached[goal["doel"]]
        against = (float(goal["beoogd"]), str(goal["bron"]))
        status = DEFINITIVE if len(shown) else NOT_AVAILABLE
        yield _row("bereik", goal["doel"], value if len(shown) else None, status, devices, against, unit)


def _exposure(step: Step) -> Iterator[dict[str, Any]]:
    """Exposure while riding in the province against the values for a year, calibrated and as measured."""
    province = step.read("snuffelfiets/published/pm25_gemeente").df().query(f"gebied_code == '{PROVINCE}'")
    measured = province[province["pm25_ug_m3"].notna()]
    calibrated = province[province["pm25_verhoging_ug_m3"].notna()]
    level = calibrated["achtergrond_ug_m3"] + calibrated["pm25_verhoging_ug_m3"]
    without = set(province["pm25_verhoging_ug_m3_status"]) <= {NO_REFERENCE}
    absent = NO_REFERENCE if without and len(province) else NOT_AVAILABLE
    for name, norm in NORMS.items():
        yield _row(
            "blootstelling",
            f"pm25_geijkt_en_{name}",
            _weighted(level, calibrated["aantal_metingen"]),
            DEFINITIVE if len(calibrated) else absent,
            calibrated["aantal_apparaten_geijkt"].min(),
            norm,
            "µg/m³",
        )
        yield _row(
            "blootstelling",
            f"pm25_ongeijkt_en_{name}",
            _weighted(measured["pm25_ug_m3"], measured["aantal_metingen"]),
            UNRELIABLE if len(measured) else NOT_AVAILABLE,
            measured["aantal_apparaten"].min(),
            norm,
            "µg/m³",
        )


def _weighted(values: pd.Series, weights: pd.Series) -> float | None:
    """Mean over months by their measurements; None without months."""
    return float((values * weights).sum() / weights.sum()) if len(values) else None


def _quality(step: Step) -> Iterator[dict[str, Any]]:
    """The contrast against the literature, and the error at stations as measured and calibrated."""
    contrast = step.read("snuffelfiets/published/pm25_contrast").filter(f"periode = '{TOTAL}'").df()
    for row in contrast.to_dict("records") or [{}]:
        yield _row(
            "contrast",
            "druk_min_rustig",
            row.get("contrast_ug_m3"),
            row.get("contrast_ug_m3_status", NOT_AVAILABLE),
            row.get("aantal_apparaten"),
            LITERATURE["contrast"],
            "µg/m³",
            "met controle",
        )
    total = (
        step.read("snuffelfiets/published/kalibratie").filter(f"periode = '{TOTAL}'").df().set_index("model")
    )
    for model in ("ongeijkt", "afwijking", "lijn", "lijn_vocht"):
        row = total.loc[model].to_dict() if model in total.index else {}
        yield _row(
            "kalibratie",
            f"rmse_{model}",
            row.get("rmse_ug_m3"),
            row.get("aantal_paren_status", NOT_AVAILABLE),
            row.get("aantal_apparaten"),
            LITERATURE["rmse_bij_station"],
            "µg/m³",
            row.get("bewijstrede", "gemonitord"),
        )


def _together(step: Step) -> Iterator[dict[str, Any]]:
    """How far devices agree that rode together, in closed months and when enough of them did."""
    import pandas as pd

    from koploper_pipelines.methods import disclosure
    from koploper_pipelines.methods.snuffelfiets import replicates

    pairs = closed(step, "snuffelfiets/indicators/herhaalritten").sort_values(["rit_a", "rit_b"])
    per_device = pd.concat([pairs["apparaat_a"], pairs["apparaat_b"]]).value_counts()
    cell = pd.DataFrame(
        {
            "aantal_apparaten": [len(per_device)],
            "grootste_aandeel": [per_device.max() / (2 * len(pairs)) if len(pairs) else 1.0],
        }
    )
    rules = disclosure_rules(step.settings(SnuffelfietsSettings))
    if not len(pairs):
        status = NOT_AVAILABLE
    elif disclosure.may_not_be_shown(cell, rules).item():
        status = disclosure.SUPPRESSED
    else:
        status = DEFINITIVE
    found = replicates.agreement(pairs) | {"paren": len(pairs)} if status == DEFINITIVE else {}
    against = {"variatiecoefficient_pct": LITERATURE["herhaalritten_variatie"]}
    for measure, unit in (
        ("paren", "aantal"),
        ("variatiecoefficient_pct", "%"),
        ("rmsd_ug_m3", "µg/m³"),
        ("correlatie", "-"),
    ):
        yield _row(
            "herhaalritten",
            measure,
            found.get(measure),
            status,
            len(per_device),
            against.get(measure, (None, "geen gepubliceerd cijfer om mee te vergelijken")),
            unit,
        )
