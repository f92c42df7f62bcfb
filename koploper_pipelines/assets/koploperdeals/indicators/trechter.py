"""Indicators: the funnel from application to scaled-up deal, and how long each phase took.

Here belongs the shape of the table: steps, and per phase a curve or, with few deals, a list.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from koploper_pipelines.assets.koploperdeals import KoploperSettings
from koploper_pipelines.assets.koploperdeals.cleaned.register import DEALS, PHASES, ROWS, sheet
from koploper_pipelines.assets.koploperdeals.shape import offered
from koploper_pipelines.gates.staging import Offered
from koploper_pipelines.gates.table import Reads, Step, gated_table

if TYPE_CHECKING:
    import pandas as pd

FUNNEL = "koploperdeals/indicators/trechter"
APPLICATIONS, ALL = "aanvragen", "alle"
STEP, CURVE, LIST = "stap", "curve", "lijst"


@gated_table(FUNNEL, reads=[Reads(ROWS), Reads(DEALS), Reads(PHASES)], settings=KoploperSettings)
def trechter(step: Step) -> Offered:
    """Steps of the funnel per tranche, and lead times per phase over all tranches."""
    import pandas as pd

    from koploper_pipelines.methods.koploperdeals import phases

    least = step.settings(KoploperSettings).min_deals_voor_curve
    until = sheet(step, "register")["peildatum"].iloc[0]
    spells = phases.spells(step.read(PHASES).df(), until)
    spells = spells.merge(step.read(DEALS).df()[["deal", "tranche"]], on="deal")
    applications = sheet(step, "aanvragen")
    parts = [_applications(applications), *_steps(spells, least)]
    parts += [_lead_times(own, str(phase), least) for phase, own in spells.groupby("fase", sort=False)]
    columns = [c.name for c in step.platform.tables[FUNNEL].contract.columns]
    rows = pd.concat([pd.DataFrame(columns=columns), *(p for p in parts if len(p))], ignore_index=True)
    return offered(step, FUNNEL, rows, dubbel_geteld=2 * (len(spells) + len(applications)))


def _applications(applications: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    both = pd.concat([applications, applications.assign(tranche=ALL)], ignore_index=True)
    counted = both.groupby("tranche")["besluit"].agg(
        aantal="size",
        door=lambda b: (b == "geselecteerd").sum(),
        gestopt=lambda b: (b == "afgewezen").sum(),
    )
    counted["lopend"] = counted["aantal"] - counted["door"] - counted["gestopt"]
    return counted.reset_index().assign(onderdeel=STEP, stap=APPLICATIONS, volgnummer=0)


def _steps(spells: pd.DataFrame, least: int) -> list[pd.DataFrame]:
    import pandas as pd

    from koploper_pipelines.methods.koploperdeals import phases
    from koploper_pipelines.methods.koploperdeals.schema import PHASES as ORDER

    both = pd.concat([spells, spells.assign(tranche=ALL)], ignore_index=True)
    rows = []
    for (tranche, phase), own in both.groupby(["tranche", "fase"]):
        ends = own["einde"].value_counts()
        curve = phases.cumulative_incidence(own["dagen"], own["einde"]) if len(own) >= least else None
        rows.append(
            {
                "onderdeel": STEP,
                "tranche": tranche,
                "stap": phase,
                "volgnummer": ORDER.index(str(phase)) + 1,
                "aantal": len(own),
                "door": int(ends.get(phases.MOVED, 0)),
                "gestopt": int(ends.get(phases.STOPPED, 0)),
                "lopend": int(ends.get(phases.RUNS, 0)),
                "mediaan_dagen": None if curve is None else phases.median_days(curve),
            }
        )
    return [pd.DataFrame(rows)]


def _lead_times(spells: pd.DataFrame, phase: str, least: int) -> pd.DataFrame:
    """A curve of a phase, or the deals themselves when they are few."""
    from koploper_pipelines.methods.koploperdeals import phases

    if len(spells) < least:
        rows = spells[["deal", "dagen", "einde"]].assign(onderdeel=LIST)
    else:
        rows = phases.cumulative_incidence(spells["dagen"], spells["einde"]).assign(onderdeel=CURVE)
        # Per day numbers of deals that ended then; what is counted once is counted in the steps.
        rows = rows.drop(columns=list(phases.CAUSES))
    rows = rows.rename(columns={"dagen": "na_dagen"})
    return rows.assign(tranche=ALL, stap=phase, volgnummer=range(1, len(rows) + 1))
