"""Published: the account over the doelenboom, and the money beside it.

Here belong the verdicts as they are shown: those of people as recorded, the budget rule's as computed, and
what does not add up in what was published.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from koploper_pipelines.assets.koploperdeals import KoploperSettings
from koploper_pipelines.assets.koploperdeals.cleaned.register import (
    DEALS,
    GOALS,
    JUDGEMENTS,
    MONEY,
    ROWS,
    sheet,
)
from koploper_pipelines.assets.koploperdeals.evaluation.bereikt import REACHED
from koploper_pipelines.assets.koploperdeals.evaluation.bevindingen import FINDINGS
from koploper_pipelines.assets.koploperdeals.indicators.verantwoording import ACCOUNT
from koploper_pipelines.assets.koploperdeals.published.shared import (
    DEFINITIVE,
    NOT_APPLICABLE,
    NOT_AVAILABLE,
    with_status,
)
from koploper_pipelines.assets.koploperdeals.shape import offered
from koploper_pipelines.gates.staging import Offered
from koploper_pipelines.gates.table import Reads, SameTotal, Step, gated_table
from koploper_pipelines.relations import count

if TYPE_CHECKING:
    import pandas as pd

ACCOUNTED = "koploperdeals/published/verantwoording"
PER_GOAL = "koploperdeals/published/geld_per_doel"
RESULTS = "koploperdeals/published/beoogde_resultaten"
LAST_YEAR = 9999
NOT_SAME = ("wijkt_af", "onmogelijk")
REGISTER, EVALUATION = "register", "evaluatie"

RESULTS_AGREE = SameTotal(
    ("verantwoording", "beoogde_resultaten"),
    "SELECT coalesce(sum(totaal), 0) FROM verantwoording"
    " WHERE niveau = 'provincie' AND geteld = 'beoogd_resultaat'",
    "SELECT count(oordeel) FROM beoogde_resultaten",
    "oordelen over beoogde resultaten",
)


def _findings(step: Step) -> pd.DataFrame:
    """What does not add up, in words: jaar, document, vraag, bereik, code, maat, bevinding."""
    every = step.read(FINDINGS).df()
    found: pd.DataFrame = every[every["uitkomst"].isin(NOT_SAME)].copy()
    numbers = [
        f"{maat}: gepubliceerd {p:.12g}" + ("" if b != b else f", berekend {b:.12g}")
        for maat, p, b in zip(
            found["maat"],
            found["gepubliceerd"].astype("float64"),
            found["berekend"].astype("float64"),
            strict=True,
        )
    ]
    found["bevinding"] = [f"{n}; {b}" for n, b in zip(numbers, found["bevinding"], strict=True)]
    return found


def _money(step: Step) -> pd.DataFrame:
    from koploper_pipelines.methods.koploperdeals import accountability

    limit = step.settings(KoploperSettings).ondergrens_verschil_eur
    rows = accountability.money(step.read(MONEY).df(), limit)
    applied = rows["oordeel_zonder_ondergrens"] if limit is None else rows["oordeel_met_ondergrens"]
    judged: pd.DataFrame = rows.assign(oordeel=applied, ondergrens_eur=limit)
    return judged


@gated_table(
    ACCOUNTED,
    reads=[Reads(ACCOUNT), Reads(FINDINGS), Reads(MONEY), Reads(ROWS)],
    settings=KoploperSettings,
)
def verantwoording(step: Step) -> Offered:
    """Counts per colour, the judgement people gave, the budget rule's beside it, and findings."""
    from koploper_pipelines.methods.koploperdeals import accountability

    rows = step.read(ACCOUNT).df()
    total = int(rows["totaal"].sum())
    occasion = ["jaar", "document", "vraag", "bereik", "code"]
    for colour in ("groen", "oranje", "rood"):
        rows[f"{colour}_pct"] = (
            100 * rows[colour].astype("Float64") / rows["totaal"].astype("Float64").mask(rows["totaal"] == 0)
        )
    rows["totaal_status"] = rows["totaal"].notna().map({True: DEFINITIVE, False: NOT_AVAILABLE})
    money = _money(step)
    # One amount a code and document, of the whole code: of several it is not known which one counts.
    whole = money[money["deal"].isna() & money["fase"].isna() & money["oordeel"].notna()]
    whole = whole.drop_duplicates(["jaar", "document", "code"], keep=False).assign(vraag="geld")
    computed = whole[["jaar", "document", "vraag", "code", "oordeel"]].rename(
        columns={"oordeel": "oordeel_berekend"}
    )
    rows = rows.merge(computed, how="left", on=["jaar", "document", "vraag", "code"])
    said = _findings(step).groupby(occasion)["bevinding"].agg("; ".join).reset_index()
    rows = rows.merge(said, how="left", on=occasion)
    rows["eerdere_code"] = accountability.earlier_code(rows, sheet(step, "was_wordt"))
    rows = with_status(rows, {"oordeel": NOT_AVAILABLE, "oordeel_berekend": NOT_AVAILABLE})
    rows["oordeel_berekend_status"] = rows["oordeel_berekend_status"].where(
        rows["vraag"] == "geld", NOT_APPLICABLE
    )
    return offered(step, ACCOUNTED, rows, som_totaal=total)


@gated_table(PER_GOAL, reads=[Reads(MONEY), Reads(GOALS), Reads(FINDINGS)], settings=KoploperSettings)
def geld_per_doel(step: Step) -> Offered:
    """Each amount with its deviation and verdict, with and without the lower limit."""
    rows = _money(step).merge(_names(step), how="left", on="code")
    rows["bevinding"] = _said_of(rows, _findings(step))
    figures = (
        "begroting_primair_eur",
        "begroting_na_wijziging_eur",
        "begroting_eur",
        "gerealiseerd_eur",
        "afwijking_berekend_eur",
        "afwijking_pct",
        "afwijking_gepubliceerd_eur",
    )
    rows = with_status(rows, dict.fromkeys(figures, NOT_AVAILABLE))
    rows["is_afwijking_gelijk"] = rows["is_afwijking_gelijk"].astype("boolean")
    for verdict in ("oordeel", "oordeel_zonder_ondergrens", "oordeel_met_ondergrens"):
        rows = with_status(rows, {verdict: NOT_AVAILABLE})
        rows[f"{verdict}_status"] = rows[f"{verdict}_status"].where(rows["soort"] == "lasten", NOT_APPLICABLE)
    if step.settings(KoploperSettings).ondergrens_verschil_eur is None:
        rows["oordeel_met_ondergrens_status"] = NOT_APPLICABLE
    return offered(step, PER_GOAL, rows, bedragen=count(step.read(MONEY)))


def _said_of(rows: pd.DataFrame, found: pd.DataFrame) -> pd.Series:
    """Findings on an amount: on its own deviation, and on all of its code and kind in a document."""
    import pandas as pd

    own = found[found["soort"] == "afwijking"].assign(post=lambda f: f["maat"].str.removeprefix("afwijking "))
    both = found[found["soort"] == "tegenspraak"].assign(
        soort=lambda f: f["maat"].str.removeprefix("begroting ")
    )
    told = []
    for findings, of in ((own, "post"), (both, "soort")):
        key = ["jaar", "document", "code", of]
        told.append(rows[key].merge(findings[[*key, "bevinding"]], how="left", on=key)["bevinding"])
    said = ["; ".join(t for t in pair if isinstance(t, str)) for pair in zip(*told, strict=True)]
    return pd.Series([t or None for t in said], index=rows.index, dtype=object)


def _names(step: Step) -> pd.DataFrame:
    """Level and latest name of every code."""
    nodes = step.read(GOALS).df().sort_values("geldig_van").drop_duplicates("code", keep="last")
    named: pd.DataFrame = nodes[["code", "niveau", "naam"]]
    return named


@gated_table(RESULTS, reads=[Reads(GOALS), Reads(JUDGEMENTS), Reads(REACHED), Reads(DEALS), Reads(ROWS)])
def beoogde_resultaten(step: Step) -> Offered:
    """Intended results with the judgement on each, and what experiments intended and reached."""
    import pandas as pd

    nodes = step.read(GOALS).df().query("niveau == 'beoogd_resultaat'")
    judged = step.read(JUDGEMENTS).df()
    judged = judged[judged["code"].isin(nodes["code"])]
    listed, goals = _intended(nodes, judged), _reached(step)
    rows = pd.concat([listed, goals], ignore_index=True)
    for column in ("document", "vraag", "bereik"):
        rows[column] = rows[column].astype(object).fillna("geen")
    intended = rows["beoogd"].astype("Float64")
    rows["aandeel_pct"] = 100 * rows["bereikt"].astype("Float64") / intended.mask(intended == 0)
    rows = with_status(rows, dict.fromkeys(("oordeel", "beoogd", "aandeel_pct"), NOT_AVAILABLE))
    is_goal = rows["herkomst"] == EVALUATION
    rows["oordeel_status"] = rows["oordeel_status"].mask(is_goal, NOT_APPLICABLE)
    for figure in ("beoogd", "aandeel_pct"):
        rows[f"{figure}_status"] = rows[f"{figure}_status"].where(is_goal, NOT_APPLICABLE)
    unjudged = int((~nodes["code"].isin(judged["code"])).sum())
    return offered(
        step, RESULTS, rows, resultaten_en_doelen=len(judged) + unjudged + count(step.read(REACHED))
    )


def _intended(nodes: pd.DataFrame, judged: pd.DataFrame) -> pd.DataFrame:
    """Results of the register, once for each judgement; a code may mean another result in another year."""
    import pandas as pd

    told = judged[["jaar", "document", "vraag", "bereik", "code", "oordeel", "toelichting"]]
    own = nodes.merge(told, on="code")
    own = own[(own["jaar"] >= own["geldig_van"]) & (own["jaar"] <= own["geldig_tot"].fillna(LAST_YEAR))]
    unjudged = nodes[~nodes["code"].isin(judged["code"])]
    listed = pd.concat([own, unjudged.assign(jaar=unjudged["geldig_van"])], ignore_index=True)
    return listed.assign(herkomst=REGISTER, beoogd=None, bereikt=None, bereikt_status=NOT_APPLICABLE)


def _reached(step: Step) -> pd.DataFrame:
    """Goals of experiments, in the year in which their deal began; of one that has not, the register's."""
    import pandas as pd

    deals = step.read(DEALS).df()[["deal", "doel", "gestart_op"]].rename(columns={"doel": "hoort_bij"})
    goals: pd.DataFrame = step.read(REACHED).df().merge(deals, on="deal")
    now = sheet(step, "register")["peildatum"].iloc[0].year
    return goals.assign(
        herkomst=EVALUATION,
        code=goals["deal"] + ": " + goals["doel"],
        naam=goals["doel"],
        jaar=pd.to_datetime(goals["gestart_op"]).dt.year.fillna(now),
        oordeel=None,
        toelichting=None,
        is_voorbeeld=False,
    )
