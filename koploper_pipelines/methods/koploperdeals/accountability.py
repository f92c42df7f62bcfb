"""The account: counts of judgements over the doelenboom, the budget rule, and published figures done again.

Belongs here: the three questions of the annual report of Provincie Utrecht ("1.3 Belangrijkste resultaten van
2021", provincie-utrecht.jaarverslag-2021.nl/p24286) as arithmetic. A judgement on a goal or programme is a
person's, since "niet alle prestaties wegen even zwaar": it is carried along and never computed from counts.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from koploper_pipelines.methods.koploperdeals.schema import (
    COLOURS,
    LEVELS,
    PROVINCE,
    SCOPES,
    TOTAL,
    UNDECIDED,
)

ABOVE = LEVELS[:-1]
COUNTED_LEVELS = LEVELS[1:]
OCCASION = ["jaar", "document", "vraag", "bereik"]
"""What a judgement is about besides its subject."""
GREEN_BELOW, RED_ABOVE = 5, 10
"""Percents of the budget: under 5 is green, over 10 red, both ends of 5 to 10 orange."""
PARTS = ("vertraagd_corona", "vertraagd_omgevingswet", "vertraagd_overig")
WITHOUT_LAST_YEAR = 9999


# -- The doelenboom ------------------------------------------------------------------------------------------


def lineage(nodes: pd.DataFrame, year: int) -> pd.DataFrame:
    """Each code that is valid in a year with the programme, goal and long-term goal that it hangs under.

    Args:
        nodes: code, niveau, hoort_bij, geldig_van, geldig_tot (missing: still valid), is_overhead.
        year: the year.

    Returns:
        One row a code: jaar, code, niveau, is_overhead (its own or one above it), and a column for each level
        above the results with the code there (its own code at its own level), missing where there is none.
    """
    last = nodes["geldig_tot"].astype("Int64").fillna(WITHOUT_LAST_YEAR)
    valid = nodes[(nodes["geldig_van"] <= year) & (last >= year)].set_index("code")
    line = pd.DataFrame(index=valid.index, columns=list(ABOVE), dtype=object)
    at = pd.Series(valid.index, index=valid.index, dtype=object)
    overhead = pd.Series(False, index=valid.index)
    for _ in LEVELS:
        level = at.map(valid["niveau"])
        for name in ABOVE:
            line[name] = line[name].where(level != name, at)
        overhead |= at.map(valid["is_overhead"]).isin([True])
        at = at.map(valid["hoort_bij"])
    return line.assign(jaar=year, niveau=valid["niveau"], is_overhead=overhead).reset_index()


def _lines(nodes: pd.DataFrame, years: pd.Series) -> pd.DataFrame:
    made = [lineage(nodes, int(y)) for y in sorted(set(years))]
    columns = ["code", *ABOVE, "jaar", "niveau", "is_overhead"]
    return pd.concat(made, ignore_index=True) if made else pd.DataFrame(columns=columns)


def _per_place(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows repeated for each place that they count in: every level above them, and the province."""
    placed = [rows.assign(plaats_niveau=PROVINCE, plaats=TOTAL)]
    for level in ABOVE:
        below = rows["niveau"].map(LEVELS.index) > LEVELS.index(level)
        under = rows[below & rows[level].notna()]
        placed.append(under.assign(plaats_niveau=level, plaats=under[level]))
    return pd.concat(placed, ignore_index=True)


def judgement_counts(nodes: pd.DataFrame, judgements: pd.DataFrame) -> pd.DataFrame:
    """How many goals or results were judged green, orange and red, per place in the doelenboom.

    Args:
        nodes: as in `lineage`.
        judgements: jaar, document, vraag, bereik, code, oordeel.

    Returns:
        One row per occasion, place (niveau, code) and level that was counted (geteld): groen, oranje, rood,
        niet_te_bepalen, totaal.
    """
    lines = _lines(nodes, judgements["jaar"])
    rows = judgements[[*OCCASION, "code", "oordeel"]].merge(lines, on=["jaar", "code"])
    placed = _per_place(rows[rows["niveau"].isin(COUNTED_LEVELS)])
    key = [*OCCASION, "plaats_niveau", "plaats", "niveau"]
    found = (
        placed.groupby([*key, "oordeel"], observed=True)
        .size()
        .unstack("oordeel", fill_value=0)
        .reindex(columns=[*COLOURS, UNDECIDED], fill_value=0)
        .reset_index()
        .rename(columns={"niveau": "geteld"})
        .rename(columns={"plaats_niveau": "niveau", "plaats": "code"})
    )
    found["totaal"] = found[[*COLOURS, UNDECIDED]].sum(axis=1)
    found.columns.name = None
    return found


def delay_causes(nodes: pd.DataFrame, judgements: pd.DataFrame) -> pd.DataFrame:
    """Judgements with a cause of delay, once for each place that they count in: occasion, code, oorzaak."""
    caused = judgements.loc[judgements["oorzaak"].notna(), [*OCCASION, "code", "oorzaak"]]
    placed = _per_place(caused.merge(_lines(nodes, caused["jaar"]), on=["jaar", "code"]))
    return placed[[*OCCASION, "plaats", "oorzaak"]].rename(columns={"plaats": "code"})


def goal_counts(nodes: pd.DataFrame, years: pd.Series) -> pd.DataFrame:
    """How many goals and long-term goals are valid, per year, scope and place: doelen, meerjarendoelen."""
    lines = _lines(nodes, years)
    scoped = pd.concat(
        [lines[~lines["is_overhead"]].assign(bereik=SCOPES[0]), lines.assign(bereik=SCOPES[1])]
    )
    own = scoped[scoped["niveau"].isin(ABOVE)]
    itself = own.assign(plaats_niveau=own["niveau"], plaats=own["code"])
    placed = pd.concat([_per_place(own), itself], ignore_index=True)
    key = ["jaar", "bereik", "plaats_niveau", "plaats"]
    counted = placed.groupby(key).agg(
        doelen=("niveau", lambda n: int((n == LEVELS[1]).sum())),
        meerjarendoelen=("niveau", lambda n: int((n == LEVELS[2]).sum())),
    )
    return counted.reset_index().rename(columns={"plaats_niveau": "niveau", "plaats": "code"})


def control_values(
    nodes: pd.DataFrame, judgements: pd.DataFrame, controls: pd.DataFrame
) -> npt.NDArray[np.int64]:
    """What a register counts where a control total was published, in the order of `controls`.

    Where goals as well as results were judged on a question, the highest level counts, on `prestatie` the
    results.
    """
    counts = judgement_counts(nodes, judgements)
    order = (
        counts["geteld"]
        .map(LEVELS.index)
        .where(counts["vraag"] != "prestatie", -counts["geteld"].map(LEVELS.index))
    )
    key = [*OCCASION, "code"]
    chosen = counts.assign(volgorde=order).sort_values("volgorde").drop_duplicates(key)
    colours = chosen.melt(key, [*COLOURS, "totaal"], "telt", "gevonden")
    goals = goal_counts(nodes, controls["jaar"]).melt(
        ["jaar", "bereik", "code"], ["doelen", "meerjarendoelen"], "telt", "gevonden"
    )
    rows = controls.reset_index(drop=True).merge(colours, how="left", on=[*key, "telt"])
    rows = rows.merge(goals, how="left", on=["jaar", "bereik", "code", "telt"], suffixes=("", "_doelen"))
    found = rows["gevonden"].fillna(rows["gevonden_doelen"]).fillna(0)
    return found.to_numpy(dtype=np.int64)


# -- Money ---------------------------------------------------------------------------------------------------


def budget_verdict(
    budget_eur: npt.ArrayLike, realised_eur: npt.ArrayLike, lower_limit_eur: float | None = None
) -> npt.NDArray[np.object_]:
    """The budget rule, for over- and underspending alike.

    Args:
        budget_eur: budget that is compared with, euros, shape (n,); NaN when unknown.
        realised_eur: realised amount, euros, shape (n,); NaN when unknown.
        lower_limit_eur: differences smaller than this are green whatever their share; None: no such limit.

    Returns:
        groen, oranje, rood, niet_te_bepalen (a budget of 0), or None where an amount is unknown, shape (n,).
    """
    budget, realised = np.asarray(budget_eur, float), np.asarray(realised_eur, float)
    is_known = np.isfinite(budget) & np.isfinite(realised)
    # In hundredths of a cent, as whole numbers: exactly 5% must not depend on how 0.05 is rounded in binary.
    whole = np.rint(np.where(is_known, [budget, realised], 0.0) * 10_000).astype(np.int64)
    size, gap = np.abs(whole[0]), np.abs(whole[1] - whole[0])
    verdict = np.full(budget.shape, COLOURS[1], dtype=object)
    verdict[gap * 100 < GREEN_BELOW * size] = COLOURS[0]
    verdict[gap * 100 > RED_ABOVE * size] = COLOURS[2]
    if lower_limit_eur is not None:
        verdict[gap < round(lower_limit_eur * 10_000)] = COLOURS[0]
    verdict[size == 0] = UNDECIDED
    verdict[~is_known] = None
    return verdict


def money(records: pd.DataFrame, lower_limit_eur: float | None) -> pd.DataFrame:
    """Deviation and verdict beside each amount: the computed one, and whether the published one is the same.

    Args:
        records: soort (lasten, baten), begroting_basis, begroting_primair_eur, begroting_na_wijziging_eur,
            gerealiseerd_eur, afwijking_gepubliceerd_eur, afgerond_op_eur.
        lower_limit_eur: as in `budget_verdict`.

    Returns:
        The records with begroting_eur, afwijking_berekend_eur (budget minus realised), afwijking_pct,
        is_afwijking_gelijk (missing when nothing was published), oordeel_zonder_ondergrens,
        oordeel_met_ondergrens. Only expenditure (lasten) gets a verdict.
    """
    after = records["begroting_basis"] == "na_wijziging"
    budget = records["begroting_na_wijziging_eur"].where(after, records["begroting_primair_eur"])
    realised = records["gerealiseerd_eur"]
    gap = budget - realised
    # Two rounded amounts subtracted may be a unit off the rounded difference; more than that is an error.
    differs = (gap - records["afwijking_gepubliceerd_eur"]).abs() > records["afgerond_op_eur"]
    is_judged = records["soort"] == "lasten"

    def verdict(limit: float | None) -> pd.Series:
        judged = budget_verdict(
            budget.to_numpy(float, na_value=np.nan), realised.to_numpy(float, na_value=np.nan), limit
        )
        return pd.Series(judged, index=records.index, dtype=object).where(is_judged, None)

    return records.assign(
        begroting_eur=budget,
        afwijking_berekend_eur=gap,
        afwijking_pct=100 * gap.abs() / budget.abs().where(budget != 0),
        is_afwijking_gelijk=(~differs)
        .astype("boolean")
        .mask(gap.isna() | records["afwijking_gepubliceerd_eur"].isna()),
        oordeel_zonder_ondergrens=verdict(None),
        oordeel_met_ondergrens=verdict(lower_limit_eur) if lower_limit_eur is not None else None,
    )


# -- Published figures done again ----------------------------------------------------------------------------

FINDING = [
    "soort",
    "jaar",
    "document",
    "vraag",
    "bereik",
    "code",
    "maat",
    "gepubliceerd",
    "berekend",
    "uitkomst",
    "bevinding",
]
SAME, DIFFERS, IMPOSSIBLE, NOT_KNOWN = "klopt", "wijkt_af", "onmogelijk", "niet_na_te_rekenen"
NO_SCOPE = "niet van toepassing"


def recomputed(published: pd.DataFrame, counts: pd.DataFrame, causes: pd.DataFrame) -> pd.DataFrame:
    """Published percentages and numbers against the records' own.

    A percentage of which only the total is known is held against all whole numbers of that total (the GRIM
    test, Brown and Heathers 2017, doi:10.1177/1948550616673876).

    Args:
        published: jaar, document, vraag, bereik, code, maat, waarde, van (missing when the counts are known).
        counts: of `judgement_counts`.
        causes: jaar, document, vraag, bereik, code, oorzaak: delayed records with a cause, per place.

    Returns:
        A row per published figure, with columns `FINDING`.
    """
    key = [*OCCASION, "code"]
    finest = counts.sort_values("geteld", key=lambda s: s.map(LEVELS.index)).drop_duplicates(key, keep="last")
    rows = published.astype({"waarde": "float64"}).merge(
        finest[[*key, *COLOURS, "totaal"]], how="left", on=key
    )
    per_cause = causes.groupby([*key, "oorzaak"]).size().rename("met_oorzaak").reset_index()
    per_cause["maat"] = "vertraagd_" + per_cause["oorzaak"]
    rows = rows.merge(per_cause.drop(columns="oorzaak"), how="left", on=[*key, "maat"])
    rows["berekend"] = _computed(rows)
    step = np.where(rows["waarde"] == rows["waarde"].round(), 1.0, 0.1)
    within = (rows["berekend"] - rows["waarde"]).abs() <= step / 2 + 1e-9
    is_share = rows["maat"].str.endswith("_pct")
    alone = rows["berekend"].isna() & rows["van"].notna() & is_share
    rows["uitkomst"] = np.where(within, SAME, DIFFERS)
    rows.loc[rows["berekend"].isna(), "uitkomst"] = NOT_KNOWN
    possible = _is_possible(
        rows["waarde"].to_numpy(float), rows["van"].to_numpy(float, na_value=np.nan), step
    )
    rows.loc[alone & ~possible, "uitkomst"] = IMPOSSIBLE
    said = {
        SAME: "",
        NOT_KNOWN: "",
        DIFFERS: "het gepubliceerde cijfer volgt niet uit de aantallen",
        IMPOSSIBLE: "geen heel aantal van het totaal geeft dit percentage",
    }
    return rows.assign(soort="cijfer", gepubliceerd=rows["waarde"], bevinding=rows["uitkomst"].map(said))[
        FINDING
    ]


def _computed(rows: pd.DataFrame) -> pd.Series:
    number = rows.astype({c: "Float64" for c in (*COLOURS, "totaal", "met_oorzaak")})
    realised = number["groen"] + number["oranje"]
    of_all = 100 / number["totaal"].mask(number["totaal"] == 0)
    by_measure = {
        **{f"{c}_pct": number[c] * of_all for c in COLOURS},
        "gerealiseerd_pct": realised * of_all,
        "oranje_van_gerealiseerd_pct": 100 * number["oranje"] / realised.mask(realised == 0),
        "vertraagd": number["oranje"] + number["rood"],
        **dict.fromkeys(PARTS, number["met_oorzaak"]),
    }
    found = pd.Series(pd.NA, index=rows.index, dtype="Float64")
    for measure, values in by_measure.items():
        found = found.mask(rows["maat"] == measure, values)
    return found.astype("float64")


def _is_possible(
    percent: npt.NDArray[np.float64], total: npt.NDArray[np.float64], step: npt.NDArray[np.float64]
) -> npt.NDArray[np.bool_]:
    """Whether some whole number of a total rounds to a percentage."""
    around = np.floor(np.nan_to_num(percent * total / 100))[:, None] + np.array([0.0, 1.0])
    with np.errstate(divide="ignore", invalid="ignore"):
        near = np.abs(100 * around / total[:, None] - percent[:, None])
    return np.asarray((near <= step[:, None] / 2 + 1e-9).any(axis=1))


def parts_that_do_not_add_up(published: pd.DataFrame) -> pd.DataFrame:
    """Published causes of delay whose sum is not the published number of delays; columns `FINDING`."""
    key = [*OCCASION, "code"]
    wide = published.pivot_table("waarde", key, "maat", "sum").reindex(columns=["vertraagd", *PARTS])
    wide = wide.dropna().reset_index()
    total = wide[list(PARTS)].sum(axis=1)
    is_same = total == wide["vertraagd"]
    return wide.assign(
        soort="som",
        maat="vertraagd: som van de oorzaken",
        gepubliceerd=wide["vertraagd"],
        berekend=total,
        uitkomst=np.where(is_same, SAME, DIFFERS),
        bevinding=np.where(is_same, "", "de oorzaken zijn samen niet het totaal"),
    )[FINDING]


def money_findings(records: pd.DataFrame) -> pd.DataFrame:
    """Published deviations that are not budget minus realised, and amounts that contradict each other.

    Args:
        records: of `money`, with jaar, document, code, post.

    Returns:
        Columns `FINDING`; amounts in euros.
    """
    told = records[records["is_afwijking_gelijk"].notna()]
    is_same = told["is_afwijking_gelijk"].astype(bool)
    deviations = told.assign(
        soort="afwijking",
        vraag="geld",
        bereik=NO_SCOPE,
        maat="afwijking " + told["post"],
        gepubliceerd=told["afwijking_gepubliceerd_eur"],
        berekend=told["afwijking_berekend_eur"],
        uitkomst=np.where(is_same, SAME, DIFFERS),
        bevinding=np.where(is_same, "", "de gepubliceerde afwijking is niet begroting min realisatie"),
    )
    whole = records[records["deal"].isna() & records["fase"].isna() & records["begroting_eur"].notna()]
    spread = (
        whole.groupby(["jaar", "document", "code", "soort"])["begroting_eur"]
        .agg(["min", "max"])
        .reset_index()
    )
    opposed = spread[spread["min"] < spread["max"]]
    contradictions = opposed.assign(
        vraag="geld",
        bereik=NO_SCOPE,
        maat="begroting " + opposed["soort"],
        soort="tegenspraak",
        gepubliceerd=opposed["max"],
        berekend=opposed["min"],
        uitkomst=DIFFERS,
        bevinding="hetzelfde document noemt voor deze code twee begrotingen",
    )
    return pd.concat([deviations[FINDING], contradictions[FINDING]], ignore_index=True)


# -- The table of the account --------------------------------------------------------------------------------


def account(nodes: pd.DataFrame, judgements: pd.DataFrame, published: pd.DataFrame) -> pd.DataFrame:
    """Every place and occasion that was judged or published about: counts, and the judgement people gave.

    Args:
        nodes: as in `lineage`, with naam and is_voorbeeld.
        judgements: as in `judgement_counts`, with toelichting and is_voorbeeld.
        published: jaar, document, vraag, bereik, code of published figures.

    Returns:
        One row per occasion, place and counted level (geteld; `geen` where nothing below was judged), with
        doelen, meerjarendoelen, colours, totaal, oordeel, toelichting, is_voorbeeld. Counts are missing where
        there are none.
    """
    key = [*OCCASION, "code"]
    counts = judgement_counts(nodes, judgements)
    lines = _lines(nodes, pd.concat([judgements["jaar"], published["jaar"]]))
    own = judgements.merge(lines[["jaar", "code", "niveau"]], on=["jaar", "code"])
    own = own[own["niveau"].isin(ABOVE)][[*key, "niveau", "oordeel", "toelichting"]]
    about = (
        published[key]
        .drop_duplicates()
        .merge(lines[["jaar", "code", "niveau"]], how="left", on=["jaar", "code"])
    )
    about["niveau"] = about["niveau"].where(about["code"] != TOTAL, PROVINCE)
    places = pd.concat([own[[*key, "niveau"]], about], ignore_index=True).drop_duplicates()
    places = places.merge(counts[key].drop_duplicates(), how="left", on=key, indicator=True)
    alone = places[places["_merge"] == "left_only"].drop(columns="_merge").assign(geteld="geen")
    rows = pd.concat([counts, alone], ignore_index=True).merge(own.drop(columns="niveau"), how="left", on=key)
    goals = goal_counts(nodes, rows["jaar"])
    rows = rows.merge(goals, how="left", on=["jaar", "bereik", "niveau", "code"])
    rows = rows.fillna({"doelen": 0, "meerjarendoelen": 0})
    return _named(rows, nodes, judgements)


def earlier_code(places: pd.DataFrame, changes: pd.DataFrame) -> pd.Series:
    """The code that each place had before it last changed, in the years since; missing where it did not.

    Args:
        places: jaar, code.
        changes: soort, was, wordt, jaar (the first year of the new code).
    """
    goals = changes[changes["soort"] == "doel"].sort_values("jaar")
    both = places.reset_index()[["index", "jaar", "code"]].merge(
        goals[["was", "wordt", "jaar"]], left_on="code", right_on="wordt", suffixes=("", "_anders")
    )
    since = both[both["jaar_anders"] <= both["jaar"]].drop_duplicates("index", keep="last")
    return since.set_index("index")["was"].reindex(places.index)


def _named(rows: pd.DataFrame, nodes: pd.DataFrame, judgements: pd.DataFrame) -> pd.DataFrame:
    """Names of the year, and whether what is counted are examples."""
    last = nodes["geldig_tot"].astype("Int64").fillna(WITHOUT_LAST_YEAR)
    names: dict[tuple[int, Any], str] = {}
    for year in sorted(set(rows["jaar"])):
        valid = nodes[(nodes["geldig_van"] <= year) & (last >= year)]
        names |= {(year, c): n for c, n in zip(valid["code"], valid["naam"], strict=True)}
    rows["naam"] = [
        names.get((y, c), TOTAL.capitalize()) for y, c in zip(rows["jaar"], rows["code"], strict=True)
    ]
    examples = judgements.groupby(OCCASION)["is_voorbeeld"].any().rename("is_voorbeeld").reset_index()
    rows = rows.merge(examples, how="left", on=OCCASION)
    rows["is_voorbeeld"] = rows["is_voorbeeld"].isin([True])
    return rows
