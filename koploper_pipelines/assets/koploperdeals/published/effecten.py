"""Published: what each deal changed, or in plain Dutch why that cannot be told.

Here belong the call and the shape of the table; the estimate is that of `methods/koploperdeals/effecten.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from koploper_pipelines.assets.koploperdeals.cleaned.effecten import CLEAN_SERIES
from koploper_pipelines.gates.staging import Offered
from koploper_pipelines.gates.table import Reads, Step, gated_table
from koploper_pipelines.relations import count

if TYPE_CHECKING:
    import pandas as pd

EFFECTS = "koploperdeals/published/effecten"
STAGGERED = (
    "De gebieden veranderden niet in dezelfde maand. Een vergelijking zou dan al veranderde gebieden als"
    " controle gebruiken; lever iedere maand van verandering als een eigen uitkomst."
)


@gated_table(EFFECTS, reads=[Reads(CLEAN_SERIES)])
def effecten(step: Step) -> Offered:
    """Each outcome of each deal with its estimate, or with the reason why there is none."""
    import pandas as pd

    contract = step.platform.tables[EFFECTS].contract
    rows = step.read(CLEAN_SERIES).order("deal, uitkomst, gebied, maand").df()
    made = [
        {"deal": deal, "uitkomst": outcome, "eenheid": own["eenheid"].iloc[0], **_told(own)}
        for (deal, outcome), own in rows.groupby(["deal", "uitkomst"], sort=True)
    ]
    expected = count(step.read(CLEAN_SERIES).project("deal, uitkomst").distinct())
    table = pd.DataFrame(made, columns=[c.name for c in contract.columns])
    kinds = {"number": "float64", "integer": "int64", "string": "str"}
    typed = table.astype({c.name: kinds[c.type] for c in contract.columns})
    return Offered(typed, controls={"uitkomsten_in_invoer": expected})


def _told(rows: pd.DataFrame) -> dict[str, Any]:
    """What is said of one outcome."""
    from koploper_pipelines.methods.koploperdeals import effecten as method

    changes = sorted(rows.loc[rows["is_behandeld"], "ingreep_maand"].unique())
    if len(changes) > 1:
        areas = rows.groupby("gebied")["is_behandeld"].first()
        treated = int(areas.sum())
        found = method.Effect(
            method.REFUSED, None, method.CONTROLLED, STAGGERED, 0, 0, treated, len(areas) - treated
        )
    else:
        # Without any changed area there is no moment either: the method says so.
        found = method.effect(rows, changes[0] if changes else "9999-12")
    estimate = found.estimate
    return {
        "opzet": found.design,
        "effect": estimate and estimate.value,
        "effect_status": _status(found),
        "effect_onder": estimate and estimate.lower,
        "effect_boven": estimate and estimate.upper,
        "p_waarde": estimate and estimate.p,
        "kleinste_aantoonbaar_effect": estimate and estimate.detectable,
        "bewijstrede": found.rung,
        "voortrend": found.trend,
        "voortrend_p": found.trend_p,
        "placebotoets": found.placebo,
        "placebotoets_p": found.placebo_p,
        "autocorrelatie": found.autocorrelation,
        "ingreep_maand": changes[0] if len(changes) == 1 else None,
        "maanden_voor": found.before,
        "maanden_na": found.after,
        "gebieden_behandeld": found.treated,
        "gebieden_controle": found.controls,
        "toelichting": found.why or None,
    }


def _status(found: Any) -> str:
    """Whether the estimate stands, stands on weak feet, or is not there."""
    if found.estimate is None:
        return "niet_beschikbaar"
    return "onvoldoende_betrouwbaar" if "niet_voldaan" in (found.trend, found.placebo) else "definitief"
