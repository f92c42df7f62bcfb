"""Published: the deals, plan against realisation, the funnel, the choosing and what led to what.

Here belongs the shape of those tables. A score of a single assessor is that person's opinion: a mean is shown
from two assessors, a spread from three.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from koploper_pipelines.assets.koploperdeals.cleaned.register import DEALS, GOALS, PHASES, ROWS, sheet
from koploper_pipelines.assets.koploperdeals.indicators.selectie import SELECTION
from koploper_pipelines.assets.koploperdeals.indicators.trechter import CURVE, FUNNEL, STEP
from koploper_pipelines.assets.koploperdeals.published.shared import (
    NOT_APPLICABLE,
    NOT_AVAILABLE,
    SUPPRESSED,
    with_status,
)
from koploper_pipelines.assets.koploperdeals.shape import offered
from koploper_pipelines.gates.staging import Offered
from koploper_pipelines.gates.table import Reads, Step, gated_table
from koploper_pipelines.relations import count

if TYPE_CHECKING:
    import pandas as pd

PORTFOLIO = "koploperdeals/published/deals"
PLAN = "koploperdeals/published/plan_en_realisatie"
SHOWN_FUNNEL = "koploperdeals/published/trechter"
SHOWN_SELECTION = "koploperdeals/published/selectie"
SNOWBALL = "koploperdeals/published/sneeuwbal"
FOR_A_MEAN, FOR_A_SPREAD = 2, 3


@gated_table(PORTFOLIO, reads=[Reads(DEALS), Reads(PHASES), Reads(GOALS), Reads(ROWS)])
def deals(step: Step) -> Offered:
    """Every deal: what it is for, where it stands, what it cost, what came of it."""
    from koploper_pipelines.methods.koploperdeals import accountability, portfolio

    rows = _with_names(step, step.read(DEALS).df())
    rows = rows.merge(portfolio.snowball(list(rows["deal"]), sheet(step, "leerpunten")), on="deal")
    used = sheet(step, "gebruik")
    changed = used[used["gevolg"].isin(["bijgesteld", "gestopt"])]
    rows["keren_gebruikt"] = rows["deal"].map(used.groupby("deal").size()).fillna(0)
    rows["keren_beleid_gewijzigd"] = rows["deal"].map(changed.groupby("deal").size()).fillna(0)
    rows = _with_time(rows, sheet(step, "register")["peildatum"].iloc[0])
    budget, spent = (rows[c].to_numpy(float, na_value=float("nan")) for c in ("begroot_eur", "besteed_eur"))
    rows["budget_oordeel"] = accountability.budget_verdict(budget, spent)
    figures = ("is_op_tijd", "begroot_eur", "besteed_eur", "budget_oordeel", "doorlooptijd_dagen", "fase")
    rows = with_status(rows, dict.fromkeys(figures, NOT_AVAILABLE))
    return offered(step, PORTFOLIO, rows, deals=count(step.read(DEALS)))


def _with_names(step: Step, rows: pd.DataFrame) -> pd.DataFrame:
    """What the codes of a deal stand for: its instrument now, earlier names, goal, phase and partners."""
    changes = sheet(step, "was_wordt")
    rows["instrument_nu"] = rows["instrument"].map(_renamed(changes, "instrument")).fillna(rows["instrument"])
    earlier = changes[changes["soort"] == "deal"].groupby("wordt")["was"].agg(", ".join)
    rows["eerdere_naam"] = rows["deal"].map(earlier)
    names = step.read(GOALS).df().sort_values("geldig_van").drop_duplicates("code", keep="last")
    rows["doel_naam"] = rows["doel"].map(names.set_index("code")["naam"])
    phases = step.read(PHASES).df().sort_values("begonnen_op").drop_duplicates("deal", keep="last")
    rows["fase"] = rows["deal"].map(phases.set_index("deal")["fase"])
    partners = sheet(step, "partners").merge(sheet(step, "organisaties"), on="organisatie")
    rows["partners"] = rows["deal"].map(partners.sort_values("naam").groupby("deal")["naam"].agg(", ".join))
    rows["aantal_partners"] = rows["deal"].map(partners.groupby("deal").size()).fillna(0)
    return rows


def _with_time(rows: pd.DataFrame, until: pd.Timestamp) -> pd.DataFrame:
    """How long each deal took, and whether it ended within its planning."""
    import pandas as pd

    started, ended = pd.to_datetime(rows["gestart_op"]), pd.to_datetime(rows["geeindigd_op"])
    planned = pd.to_datetime(rows["gepland_tot"])
    rows["doorlooptijd_dagen"] = (ended.fillna(until) - started).dt.days
    late = ended.fillna(until) > planned
    # A deal that still runs within its planning has not met it yet.
    rows["is_op_tijd"] = (~late).astype("boolean").mask(planned.isna() | (ended.isna() & ~late))
    return rows


def _renamed(changes: pd.DataFrame, kind: str) -> dict[str, str]:
    """What each old name is called now, also when it was renamed more than once."""
    now = dict(changes.loc[changes["soort"] == kind].sort_values("jaar")[["was", "wordt"]].to_numpy())
    for _ in range(len(now)):
        now = {was: now.get(name, name) for was, name in now.items()}
    return now


@gated_table(PLAN, reads=[Reads(DEALS), Reads(ROWS)])
def plan_en_realisatie(step: Step) -> Offered:
    """Agreed, started, running and ended, per year and tranche."""
    from koploper_pipelines.methods.koploperdeals import portfolio

    plan, until = sheet(step, "uitvoeringsplan"), sheet(step, "register")["peildatum"].iloc[0]
    own = portfolio.counted_once(step.read(DEALS).df(), sheet(step, "was_wordt"))
    rows = portfolio.plan_and_realisation(own, plan, until)
    rows["verschil"] = rows["gestart"] - rows["afgesproken"]
    examples = plan.groupby("jaar")["is_voorbeeld"].any()
    rows["is_voorbeeld"] = rows["jaar"].map(examples).isin([True])
    rows["bron"] = rows["jaar"].map(plan.dropna(subset=["bron"]).groupby("jaar")["bron"].first())
    rows = with_status(rows, {"afgesproken": NOT_AVAILABLE, "verschil": NOT_AVAILABLE})
    return offered(step, PLAN, rows, gestarte_deals_dubbel=2 * int(own["gestart_op"].notna().sum()))


@gated_table(SHOWN_FUNNEL, reads=[Reads(FUNNEL)])
def trechter(step: Step) -> Offered:
    """The funnel and the lead times, with a status beside each figure."""
    rows = step.read(FUNNEL).df()
    rows = with_status(
        rows, {"mediaan_dagen": NOT_AVAILABLE, "kans_door": NOT_AVAILABLE, "kans_gestopt": NOT_AVAILABLE}
    )
    is_phase = (rows["onderdeel"] == STEP) & (rows["stap"] != "aanvragen")
    rows["mediaan_dagen_status"] = rows["mediaan_dagen_status"].where(is_phase, NOT_APPLICABLE)
    for chance in ("kans_door", "kans_gestopt"):
        rows[f"{chance}_status"] = rows[f"{chance}_status"].where(rows["onderdeel"] == CURVE, NOT_APPLICABLE)
    return offered(step, SHOWN_FUNNEL, rows, rijen=len(rows), aantal=int(rows["aantal"].fillna(0).sum()))


@gated_table(SHOWN_SELECTION, reads=[Reads(SELECTION)])
def selectie(step: Step) -> Offered:
    """How applications were chosen, without who scored them."""
    rows = step.read(SELECTION).df()
    total = int(rows["aantal"].sum())
    rows = with_status(
        rows, {"score_pct": NOT_AVAILABLE, "score_spreiding_pct": NOT_AVAILABLE, "alpha": NOT_AVAILABLE}
    )
    few = rows["aantal_beoordelaars"].fillna(0)
    for figures, least in (
        (["score_pct", "rang", "score_p25_pct", "score_p75_pct"], FOR_A_MEAN),
        (["score_spreiding_pct"], FOR_A_SPREAD),
    ):
        hidden = (few < least) & rows[figures[0]].notna()
        rows[figures] = rows[figures].mask(few < least)
        rows[f"{figures[0]}_status"] = rows[f"{figures[0]}_status"].mask(hidden, SUPPRESSED)
    rows["alpha_status"] = rows["alpha_status"].where(rows["onderdeel"] == "tranche", NOT_APPLICABLE)
    for figure in ("score_pct", "score_spreiding_pct"):
        rows[f"{figure}_status"] = rows[f"{figure}_status"].mask(rows["onderdeel"] == "reden", NOT_APPLICABLE)
    return offered(step, SHOWN_SELECTION, rows, aantal=total)


@gated_table(SNOWBALL, reads=[Reads(DEALS), Reads(ROWS)])
def sneeuwbal(step: Step) -> Offered:
    """What was learnt, and the later deal it led to."""
    from koploper_pipelines.methods.koploperdeals import portfolio

    rows = sheet(step, "leerpunten")
    known = step.read(DEALS).df()
    names = known.set_index("deal")["naam"]
    place = portfolio.snowball(list(known["deal"]), rows).set_index("deal")
    rows["deal_naam"] = rows["deal"].map(names)
    rows["leidde_tot_naam"] = rows["leidde_tot"].map(names)
    rows["generatie_latere_deal"] = rows["leidde_tot"].map(place["generatie"])
    rows["heeft_vervolg"] = rows["leidde_tot"].notna()
    rows = with_status(rows, {"generatie_latere_deal": NOT_APPLICABLE})
    rows["leidde_tot"] = rows["leidde_tot"].fillna("geen")
    return offered(step, SNOWBALL, rows, leerpunten=len(sheet(step, "leerpunten")))
