"""Indicators: how applications were scored and decided.

Here belongs the shape of the table: a row an application, and per tranche the spread of scores, the agreement
between assessors and the reasons. Assessors are hashes here; how many there must be is decided in
`published/`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from koploper_pipelines.assets.koploperdeals.cleaned.register import ROWS, sheet
from koploper_pipelines.assets.koploperdeals.shape import offered
from koploper_pipelines.gates.staging import Offered
from koploper_pipelines.gates.table import Reads, Step, gated_table

if TYPE_CHECKING:
    import pandas as pd

SELECTION = "koploperdeals/indicators/selectie"
APPLICATION, TRANCHE, REASON = "aanvraag", "tranche", "reden"
ALL = "alle"


@gated_table(SELECTION, reads=[Reads(ROWS)])
def selectie(step: Step) -> Offered:
    """Every application, and per tranche what they come to together."""
    import pandas as pd

    from koploper_pipelines.methods.koploperdeals import selection

    applications = sheet(step, "aanvragen")
    scores = sheet(step, "scores").merge(
        applications[["aanvraag", "tranche", "criteria_versie"]].rename(
            columns={"criteria_versie": "versie"}
        ),
        on="aanvraag",
    )
    judged = selection.weighted_scores(scores, sheet(step, "criteria"))
    rows = _applications(applications, judged)
    both = pd.concat([rows, rows.assign(tranche=ALL)], ignore_index=True)
    every = pd.concat([scores, scores.assign(tranche=ALL)], ignore_index=True)
    parts = [rows, _tranches(both, every), _reasons(both)]
    columns = [c.name for c in step.platform.tables[SELECTION].contract.columns]
    made = pd.concat([pd.DataFrame(columns=columns), *(p for p in parts if len(p))], ignore_index=True)
    return offered(step, SELECTION, made, aanvragen_plaatsen=5 * len(applications))


def _applications(applications: pd.DataFrame, judged: pd.DataFrame) -> pd.DataFrame:
    per = judged.groupby("aanvraag")["score_pct"].agg(
        score_pct="mean", score_spreiding_pct="std", aantal_beoordelaars="size"
    )
    rows = applications.merge(per.reset_index(), how="left", on="aanvraag")
    rows["rang"] = rows.groupby("tranche")["score_pct"].rank(method="min", ascending=False)
    return rows.assign(
        onderdeel=APPLICATION,
        code=rows["aanvraag"],
        aantal=1,
        geselecteerd=(rows["besluit"] == "geselecteerd").astype(int),
        afgewezen=(rows["besluit"] == "afgewezen").astype(int),
        aantal_beoordelaars=rows["aantal_beoordelaars"].fillna(0),
    )


def _tranches(rows: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    made = []
    for tranche, own in rows.groupby("tranche"):
        given = own["score_pct"].astype("float64")
        made.append(
            {
                "onderdeel": TRANCHE,
                "tranche": tranche,
                "code": "totaal",
                "aantal": len(own),
                "geselecteerd": int(own["geselecteerd"].sum()),
                "afgewezen": int(own["afgewezen"].sum()),
                "aantal_beoordelaars": scores.loc[scores["tranche"] == tranche, "beoordelaar"].nunique(),
                "score_pct": given.median(),
                "score_spreiding_pct": given.std(),
                "score_p25_pct": given.quantile(0.25),
                "score_p75_pct": given.quantile(0.75),
                "is_voorbeeld": bool(own["is_voorbeeld"].any()),
                **_agreement(scores[scores["tranche"] == tranche]),
            }
        )
    return pd.DataFrame(made)


def _agreement(scores: pd.DataFrame) -> dict[str, Any]:
    """Alpha over applications × criteria."""
    from koploper_pipelines.methods.koploperdeals import selection

    if scores.empty:
        return dict.fromkeys(("alpha", "alpha_onder", "alpha_boven"))
    values = scores.pivot_table("score", ["aanvraag", "criterium"], "beoordelaar").to_numpy(
        dtype=float, na_value=float("nan")
    )
    lower, upper = selection.interval_alpha_bounds(values)
    return {"alpha": selection.interval_alpha(values), "alpha_onder": lower, "alpha_boven": upper}


def _reasons(rows: pd.DataFrame) -> pd.DataFrame:
    counted = rows.assign(reden=rows["reden"].fillna("geen_reden")).groupby(
        ["tranche", "reden"], as_index=False
    )
    made = counted.agg(
        aantal=("aantal", "sum"),
        geselecteerd=("geselecteerd", "sum"),
        afgewezen=("afgewezen", "sum"),
        is_voorbeeld=("is_voorbeeld", "any"),
    )
    return made.assign(onderdeel=REASON, code=made["reden"])
