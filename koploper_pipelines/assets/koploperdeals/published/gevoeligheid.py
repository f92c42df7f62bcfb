"""Published: how far each key figure spreads over the choices behind it, and whether its conclusion holds.

Here belongs summing up what the experiments' variants gave, whatever experiment they are of: each has a table
`evaluation/gevoeligheid` with a row a combination. The sums are in `methods/gevoeligheid.py`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from koploper_pipelines.contracts import contract_paths
from koploper_pipelines.gates.staging import Offered
from koploper_pipelines.gates.table import Reads, Step, gated_table

if TYPE_CHECKING:
    import pandas as pd

SENSITIVITY = "koploperdeals/published/gevoeligheid"
VARIANTS = [p for p in contract_paths() if p.endswith("/evaluation/gevoeligheid")]
ABSENT = "geen cel mag onder alle combinaties getoond worden"


@gated_table(SENSITIVITY, reads=[Reads(p) for p in VARIANTS], closes_months=True)
def gevoeligheid(step: Step) -> Offered:
    """The key figures of closed periods: as a whole, per choice, and per level of a choice."""
    import pandas as pd

    contract = step.platform.tables[SENSITIVITY].contract
    made, expected = [], 0
    for path in VARIANTS:
        rows = step.read(path).df()
        closed = rows[rows["maand"].isna() | (rows["maand"] < step.first_open_month)]
        for (part, figure), own in closed.groupby(["onderdeel", "kerncijfer"], sort=True):
            told = _summed_up(own.reset_index(drop=True), step.platform.settings.min_participants)
            names = {"experiment": path.split("/")[0], "onderdeel": part, "kerncijfer": figure}
            made.append(told.assign(**names))
            expected += _expected(own)
    columns = [c.name for c in contract.columns]
    table = pd.concat(made, ignore_index=True) if made else pd.DataFrame(columns=columns)
    kinds = {"number": "float64", "integer": "Int64", "string": "str", "boolean": "boolean"}
    typed = table.reindex(columns=columns).astype({c.name: kinds[c.type] for c in contract.columns})
    return Offered(typed, controls={"verwachte_rijen": expected})


def _expected(rows: pd.DataFrame) -> int:
    """Rows of one key figure: itself, each choice, their interplay, and each level of each choice."""
    levels = {(v["keuze"], v["name"]) for told in rows["keuzes"].map(json.loads) for v in told}
    return 2 + len({choice for choice, _ in levels}) + len(levels)


def _summed_up(rows: pd.DataFrame, least: int) -> pd.DataFrame:
    """One key figure, with statuses."""
    import numpy as np
    import pandas as pd

    from koploper_pipelines.methods import gevoeligheid as method

    told = method.summary(rows).rename(
        columns={
            "waarde_onder": "steekproef_onder",
            "waarde_boven": "steekproef_boven",
            "spreiding_laagste": "spreiding_over_keuzes_laagste",
            "spreiding_hoogste": "spreiding_over_keuzes_hoogste",
        }
    )
    shown = rows["waarde"].notna()
    people = int(rows.loc[shown, "aantal_deelnemers"].min()) if shown.any() else 0
    figures = [c for c in map(str, told) if c == "waarde" or c.startswith(("steekproef_", "spreiding_"))]
    is_hidden = bool(shown.any()) and people < least
    if is_hidden:
        told[figures] = np.nan
    status = np.select(
        [told["waarde"].isna(), told["steekproef_onder"].isna()],
        ["onderdrukt" if is_hidden else "niet_beschikbaar", "onvoldoende_betrouwbaar"],
        "definitief",
    )
    of_choice = (
        told["aandeel_variantie_pct"].notna()
        & (told["niveau"] == method.NO_LEVEL)
        & ~told["keuze"].isin([method.ALL, method.INTERPLAY])
    )
    share = told["aandeel_variantie_pct"]
    most = share.where(of_choice).max()
    usual = method.default_row(rows)
    return told.assign(
        waarde_status=status,
        is_belangrijkste_keuze=((share == most) & (share > 0)).where(of_choice),
        conclusie=rows["conclusie"].iloc[0],
        eenheid=rows["eenheid"].iloc[0],
        gedeelde_cellen=int(rows["gedeelde_cellen"].max()),
        verloren_cellen=int(usual["aantal_cellen"] - usual["gedeelde_cellen"]),
        aantal_deelnemers=people if shown.any() else None,
        toelichting=told["toelichting"].where(
            told["waarde"].notna() | pd.Series(is_hidden, told.index), ABSENT
        ),
    )
