"""Published: what of a conversation may be shown, in Dutch, with a status beside every figure.

Here belong the disclosure rules as they apply to each table. Votes on a statement over a whole conversation
are process counts, exact. Whatever is crossed with group or demography is about people: it rests on at least
ten of them, in a conversation that is closed, with nothing to be had by subtraction. The rules themselves are
in `methods/disclosure.py`.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from koploper_pipelines.assets.slimme_participatie import ParticipatieSettings
from koploper_pipelines.assets.slimme_participatie.cleaned import (
    PARTICIPANTS,
    PROPOSALS,
    STATEMENTS,
    TEXTS,
    VOTES,
)
from koploper_pipelines.assets.slimme_participatie.evaluation import ABOUT_PEOPLE, INDICATORS
from koploper_pipelines.assets.slimme_participatie.indicators import (
    DIVISION,
    FIGURES,
    FOUND,
    GROUPS,
    NONE,
    PER_GROUP,
    TEXT_THEMES,
    typed,
)
from koploper_pipelines.assets.slimme_participatie.raw import CONTRIBUTIONS, POPULATION
from koploper_pipelines.gates.staging import Offered
from koploper_pipelines.gates.table import Reads, SameTotal, Step, gated_table
from koploper_pipelines.relations import count

if TYPE_CHECKING:
    import pandas as pd

    from koploper_pipelines.methods.disclosure import DisclosureRules

DEFINITIVE, NOT_AVAILABLE, SUPPRESSED = "definitief", "niet_beschikbaar", "onderdrukt"
NOT_APPLICABLE, UNRELIABLE = "niet_van_toepassing", "onvoldoende_betrouwbaar"
NOT_CHECKED = "niet_gepubliceerd: niet gecontroleerd"
UNPLACED, WHOLE = "niet_ingedeeld", "totaal"
PEOPLE = "aantal_apparaten"
"""What the disclosure rules call the participants behind a cell."""

VOTES_AGREE = SameTotal(
    ("participatie_gesprekken", "participatie_stellingen"),
    "SELECT sum(stemmen) FROM participatie_gesprekken",
    "SELECT coalesce(sum(stemmen), 0) FROM participatie_stellingen",
    "stemmen",
)


def disclosure_rules(choice: ParticipatieSettings) -> DisclosureRules:
    """The limits of this experiment's figures about people."""
    from koploper_pipelines.methods.disclosure import DisclosureRules

    return DisclosureRules(min_participants=choice.min_deelnemers, max_share=choice.max_aandeel)


def last_months(step: Step) -> pd.DataFrame:
    """Of each conversation in hand the month of its last contribution, and whether that month is closed.

    One without any moment is as old as its delivery.
    """
    from koploper_pipelines.methods.slimme_participatie import contributions

    raw = contributions.newest(step.con, step.read(CONTRIBUTIONS))
    # A moment that cannot be is no last contribution: without this one wrong clock keeps everything hidden.
    found = (
        raw.project(f"gesprek, platform, geland_op, {contributions.MOMENT} AS op")
        .project("* REPLACE (CASE WHEN op <= geland_op THEN op END AS op)")
        .aggregate(
            "gesprek, any_value(platform) AS platform,"
            " strftime(timezone('Europe/Amsterdam', min(op)), '%Y-%m') AS eerste_maand,"
            " strftime(timezone('Europe/Amsterdam', coalesce(max(op), max(geland_op))), '%Y-%m') AS maand",
            "gesprek",
        )
    )
    months: pd.DataFrame = found.df()
    return months.assign(is_afgesloten=months["maand"] < step.first_open_month)


def _status(is_there: pd.Series, otherwise: str) -> pd.Series:
    """`definitief` where a figure is there, else what it is."""
    import pandas as pd

    return pd.Series(DEFINITIVE, index=is_there.index).where(is_there, otherwise)


def hide(rows: pd.DataFrame, figures: dict[str, str], is_hidden: pd.Series, status: str) -> pd.DataFrame:
    """Blank figures where they are hidden, and say why in the status beside each."""
    rows = rows.copy()
    for figure, beside in figures.items():
        rows[figure] = rows[figure].mask(is_hidden)
        rows[beside] = rows[beside].mask(is_hidden, status)
    return rows


@gated_table(
    "slimme_participatie/published/gesprekken",
    reads=[
        Reads(CONTRIBUTIONS),
        Reads(PARTICIPANTS),
        Reads(STATEMENTS),
        Reads(TEXTS),
        Reads(PROPOSALS),
        Reads(GROUPS),
        Reads(FIGURES),
    ],
    settings=ParticipatieSettings,
    closes_months=True,
)
def gesprekken(step: Step) -> Offered:
    """Every conversation: its size, its period, and whether there are groups of opinion."""
    rows = last_months(step)
    people, statements = step.read(PARTICIPANTS).df(), step.read(STATEMENTS).df()
    figures, texts = step.read(FIGURES).df(), step.read(TEXTS).filter("soort = 'gesprek'").df()
    titles = (
        texts.sort_values("tekst_id", ascending=False)
        .drop_duplicates("gesprek")
        .set_index("gesprek")["tekst"]
    )
    rows["titel"] = rows["gesprek"].map(titles).fillna(rows["gesprek"])
    counts = {
        "aantal_deelnemers": people.groupby("gesprek").size(),
        "stellingen": statements.groupby("gesprek").size(),
        "stellingen_afgewezen": statements[statements["moderatie"] == "afgewezen"].groupby("gesprek").size(),
        "stemmen": figures.groupby("gesprek")["stemmen"].sum(),
        "voorstellen": step.read(PROPOSALS).df().groupby("gesprek").size(),
    }
    for column, counted in counts.items():
        rows[column] = rows["gesprek"].map(counted).fillna(0).astype("int64")
    rows["groepen_bron"] = (
        rows["gesprek"].map(figures.groupby("gesprek")["groepen_bron"].first()).fillna(NONE)
    )
    judged = step.read(GROUPS).df().drop(columns="deelnemers_met_stem")
    rows = rows.merge(judged, how="left", on="gesprek")
    is_found = rows["uitkomst"].eq(FOUND) & rows["is_afgesloten"]
    rows["uitkomst"] = (
        rows["uitkomst"].fillna("geen_stemmen").where(rows["is_afgesloten"], "gesprek_loopt_nog")
    )
    rows["aantal_groepen"] = rows["gevonden_groepen"].where(is_found).astype("Int64")
    rows["aantal_groepen_status"] = _status(is_found, NOT_AVAILABLE)
    is_measured = rows["is_afgesloten"] & (
        rows["ingedeeld"].fillna(0) >= step.settings(ParticipatieSettings).min_deelnemers
    )
    for figure in ("stabiliteit", "silhouet", "silhouet_toeval", "silhouet_as"):
        rows[figure] = rows[figure].where(is_measured)
    rows["stabiliteit_status"] = _status(rows["stabiliteit"].notna(), NOT_AVAILABLE)
    contract = step.platform.tables["slimme_participatie/published/gesprekken"].contract
    controls = {"stemmen": int(figures["stemmen"].sum()), "gesprekken": len(rows)}
    return Offered(typed(rows[[c.name for c in contract.columns]], contract), controls=controls)


@gated_table(
    "slimme_participatie/published/stellingen",
    reads=[
        Reads(CONTRIBUTIONS),
        Reads(FIGURES),
        Reads(STATEMENTS),
        Reads(TEXTS),
        Reads(VOTES),
        Reads(PARTICIPANTS),
        Reads(POPULATION),
    ],
    settings=ParticipatieSettings,
    closes_months=True,
)
def stellingen(step: Step) -> Offered:
    """Every statement that no moderator rejected: its votes, and what all groups think of it."""
    import pandas as pd

    choice: ParticipatieSettings = step.settings(ParticipatieSettings)
    rows = (
        step.read(FIGURES).df().merge(last_months(step)[["gesprek", "maand", "is_afgesloten"]], on="gesprek")
    )
    shown = step.read(STATEMENTS).df()[["gesprek", "stelling_id", "mag_tonen"]]
    texts = step.read(TEXTS).filter("soort = 'stelling'").df()
    texts = texts.rename(columns={"tekst_id": "stelling_id", "tekst": "stelling"})[
        ["gesprek", "stelling_id", "stelling"]
    ]
    rows = rows.merge(shown, on=["gesprek", "stelling_id"]).merge(
        texts, how="left", on=["gesprek", "stelling_id"]
    )
    why = pd.Series("getoond", index=rows.index).mask(rows["stelling"].isna(), "onbruikbaar")
    rows["stelling_toelichting"] = why.where(rows["mag_tonen"], "niet_gemodereerd")
    rows["stelling"] = rows["stelling"].where(rows["mag_tonen"])
    rows["stelling_status"] = _status(rows["stelling"].notna(), NOT_AVAILABLE)
    rows["aantal_deelnemers"] = rows["stemmen"]
    rows["eens_pct"] = 100 * rows["eens"] / rows["stemmen"].where(rows["stemmen"] > 0)
    rows["eens_pct_status"] = _status(rows["stemmen"] > 0, NOT_APPLICABLE)
    rows = rows.merge(_weighted(step, choice), how="left", on=["gesprek", "stelling_id"])
    rows["eens_gewogen_pct_status"] = _status(rows["eens_gewogen_pct"].notna(), NOT_AVAILABLE)
    has_groups = rows["groepen_bron"] != NONE
    rows["groepsconsensus_status"] = _status(has_groups, NOT_APPLICABLE)
    rows["is_verdelend_status"] = _status(rows["is_verdelend"].notna(), NOT_APPLICABLE)
    consensus = dict.fromkeys(
        ("groepsconsensus", "consensus_onder", "consensus_boven"), "groepsconsensus_status"
    )
    crossed = consensus | {
        "is_verdelend": "is_verdelend_status",
        "eens_gewogen_pct": "eens_gewogen_pct_status",
    }
    for figure, beside in crossed.items():
        few = rows[beside].eq(DEFINITIVE) | rows[beside].eq(SUPPRESSED)
        behind = rows["ingedeelde_stemmen"] if figure != "eens_gewogen_pct" else rows["stemmen"]
        rows = hide(rows, {figure: beside}, few & (behind < choice.min_deelnemers), SUPPRESSED)
        rows = hide(rows, {figure: beside}, few & ~rows["is_afgesloten"], NOT_AVAILABLE)
    rows["waarschuwing"] = "geen"
    rows["waarschuwing"] = rows["waarschuwing"].mask(rows["stemmen_uit_vloed"] > 0, "vloed")
    rows["waarschuwing"] = rows["waarschuwing"].mask(rows["stemmen_uit_blok"] > 0, "stemblok")
    contract = step.platform.tables["slimme_participatie/published/stellingen"].contract
    return Offered(
        typed(rows[[c.name for c in contract.columns]], contract),
        controls={"stemmen": count(step.read(VOTES)), "stellingen": count(step.read(FIGURES))},
    )


def _weighted(step: Step, choice: ParticipatieSettings) -> pd.DataFrame:
    """Share that agrees on each statement, with the voters weighted to the population."""
    import pandas as pd

    people = step.read(PARTICIPANTS).df()
    weights = [own.assign(gewicht=w) for _, own, w, _ in weighted_people(step, people)]
    if not weights:
        return pd.DataFrame(
            {
                "gesprek": pd.Series(dtype="str"),
                "stelling_id": pd.Series(dtype="str"),
                "eens_gewogen_pct": pd.Series(dtype="float64"),
            }
        )
    votes = (
        step.read(VOTES)
        .df()
        .merge(pd.concat(weights)[["gesprek", "deelnemer", "gewicht"]], on=["gesprek", "deelnemer"])
    )
    votes["eens"] = votes["gewicht"] * (votes["stem"] == 1)
    sums = votes.groupby(["gesprek", "stelling_id"])[["eens", "gewicht"]].sum()
    made: pd.DataFrame = (100 * sums["eens"] / sums["gewicht"]).rename("eens_gewogen_pct").reset_index()
    return made


def population(step: Step) -> pd.DataFrame:
    """Inhabitants per feature and category, of the newest list; without rows where there is none."""
    import pandas as pd

    from koploper_pipelines.methods.slimme_participatie import reach

    raw = step.read(POPULATION).df()
    raw = raw[raw["geland_op"] == raw["geland_op"].max()]
    columns = ["kenmerk", "klasse", "bevolking"]
    if raw.empty:
        return pd.DataFrame(columns=columns)
    raw = raw[raw["periode"] == raw["periode"].max()].assign(aantal=pd.to_numeric(raw["aantal"]).fillna(0))
    is_total = {c: raw[c].str.lower().str.startswith("totaal") for c in ("geslacht", "leeftijd")}
    cells = raw[~is_total["geslacht"] & ~is_total["leeftijd"]].assign(
        geslacht=lambda f: f["geslacht"].str.lower().map({"mannen": "man", "vrouwen": "vrouw"}),
        leeftijdsklasse=lambda f: f["leeftijd"].map(reach.age_band),
        gemeente=lambda f: f["gemeente"].str.replace(r"\s*\(gemeente\)$", "", regex=True),
    )
    parts = [
        cells.groupby(feature)["aantal"]
        .sum()
        .rename_axis("klasse")
        .rename("bevolking")
        .reset_index()
        .assign(kenmerk=feature)
        for feature in FEATURES
    ]
    made: pd.DataFrame = pd.concat(parts, ignore_index=True)[columns]
    return made


FEATURES = ("leeftijdsklasse", "geslacht", "gemeente")


def weighted_people(step: Step, people: pd.DataFrame) -> list[tuple[str, pd.DataFrame, Any, float]]:
    """Per conversation its participants, their weights and the effective sample size.

    None without population, and none where its shares cannot be met: those figures are then not available.
    """
    from koploper_pipelines.methods.slimme_participatie import reach

    inhabitants = population(step)
    if inhabitants.empty:
        return []
    targets = {
        str(f): dict(zip(own["klasse"], own["bevolking"] / own["bevolking"].sum(), strict=True))
        for f, own in inhabitants.groupby("kenmerk")
    }
    made = []
    for name, own in people.groupby("gesprek"):
        known = {f: t for f, t in targets.items() if own[f].isin(list(t)).any()}
        if not known:
            continue
        with contextlib.suppress(reach.NoConvergence):
            weight = reach.rake(own[list(known)], known)
            made.append((str(name), own, weight, reach.effective_size(weight)))
    return made


@gated_table(
    "slimme_participatie/published/groepen",
    reads=[
        Reads(CONTRIBUTIONS),
        Reads(GROUPS),
        Reads(DIVISION),
        Reads(PER_GROUP),
        Reads(STATEMENTS),
        Reads(TEXTS),
    ],
    settings=ParticipatieSettings,
    closes_months=True,
)
def groepen(step: Step) -> Offered:
    """The groups of each conversation and what makes them, or a row that says why there are none."""
    import pandas as pd

    from koploper_pipelines.methods import disclosure

    rules = disclosure_rules(step.settings(ParticipatieSettings))
    months = last_months(step)[["gesprek", "maand", "is_afgesloten"]]
    verdicts = months.merge(step.read(GROUPS).df(), how="left", on="gesprek")
    is_shown = verdicts["uitkomst"].eq(FOUND) & verdicts["is_afgesloten"]
    verdicts["uitkomst"] = (
        verdicts["uitkomst"].fillna("geen_stemmen").where(verdicts["is_afgesloten"], "gesprek_loopt_nog")
    )
    found = verdicts[is_shown]
    none = verdicts[~is_shown].assign(
        groep="geen", aantal_deelnemers=None, aantal_deelnemers_status=NOT_AVAILABLE, kenmerkend=None
    )
    division = step.read(DIVISION).df().merge(found[["gesprek"]], on="gesprek")
    division["groep"] = division["groep"].astype("str").where(division["groep"].notna(), UNPLACED)
    cells = division.groupby(["gesprek", "groep"]).size().rename(PEOPLE).reset_index()
    whole = division.groupby("gesprek").size().rename(PEOPLE).reset_index().assign(groep=WHOLE)
    cells = pd.concat([cells, whole], ignore_index=True).assign(
        aantal_deelnemers_status=DEFINITIVE, grootste_aandeel=0.0
    )
    cells["aantal_deelnemers"] = cells[PEOPLE]
    adds_up = disclosure.AddsUp(["gesprek"], "groep", WHOLE, "aantal_deelnemers")
    figures = {"aantal_deelnemers": "aantal_deelnemers_status"}
    shown = disclosure.suppress(cells, rules, figures=figures, adds_up=adds_up)
    exposed = disclosure.violations(shown, rules, figures=figures, adds_up=adds_up)
    groups = shown[~shown["groep"].isin([UNPLACED, WHOLE])].merge(
        _typical(step, rules.min_participants), how="left", on=["gesprek", "groep"]
    )
    groups["kenmerkend"] = groups["kenmerkend"].where(groups["aantal_deelnemers"].notna())
    rows = pd.concat([groups.merge(found, on="gesprek"), none], ignore_index=True)
    rows["stabiliteit"] = rows["stabiliteit"].where(rows["uitkomst"] == FOUND)
    contract = step.platform.tables["slimme_participatie/published/groepen"].contract
    return Offered(
        typed(rows[[c.name for c in contract.columns]], contract),
        controls={
            "rijen_zonder_onthulling": len(rows) - len(exposed),
            "groepen_of_geen": int(found["gevonden_groepen"].sum()) + len(none),
        },
    )


def _typical(step: Step, least: int) -> pd.DataFrame:
    """What makes each group: its representative statements, in words where these may be shown."""
    rows = step.read(PER_GROUP).df()
    # A statement on which few of the group voted is not shown of it here either.
    rows = rows[rows["rang"].notna() & (rows["stemmen"] >= least)].merge(
        step.read(STATEMENTS).df()[["gesprek", "stelling_id", "mag_tonen"]], on=["gesprek", "stelling_id"]
    )
    texts = step.read(TEXTS).filter("soort = 'stelling'").df().rename(columns={"tekst_id": "stelling_id"})
    rows = rows.merge(
        texts[["gesprek", "stelling_id", "tekst"]], how="left", on=["gesprek", "stelling_id"]
    ).sort_values("rang")
    words = rows["tekst"].where(rows["mag_tonen"] & rows["tekst"].notna(), "stelling " + rows["stelling_id"])
    rows = rows.assign(groep=rows["groep"].astype("str"), kenmerkend=rows["kant"] + ": " + words)
    made: pd.DataFrame = rows.groupby(["gesprek", "groep"])["kenmerkend"].agg(" | ".join).reset_index()
    return made


@gated_table(
    "slimme_participatie/published/stellingen_per_groep",
    reads=[Reads(CONTRIBUTIONS), Reads(PER_GROUP), Reads(FIGURES)],
    settings=ParticipatieSettings,
    closes_months=True,
)
def stellingen_per_groep(step: Step) -> Offered:
    """The votes of each group on each statement, hidden where too few voted or a subtraction would tell."""
    import pandas as pd

    from koploper_pipelines.methods import disclosure

    rules = disclosure_rules(step.settings(ParticipatieSettings))
    months = last_months(step)[["gesprek", "maand", "is_afgesloten"]]
    cells = step.read(PER_GROUP).df().merge(months, on="gesprek")
    cells = cells[cells["is_afgesloten"]].assign(groep=lambda f: f["groep"].astype("str"))
    totals = (
        step.read(FIGURES)
        .df()
        .merge(cells[["gesprek", "stelling_id"]].drop_duplicates(), on=["gesprek", "stelling_id"])
    )
    totals = totals[["gesprek", "stelling_id", "stemmen"]]
    placed = cells.groupby(["gesprek", "stelling_id"])["stemmen"].sum().rename("ingedeeld").reset_index()
    unplaced = totals.merge(placed, on=["gesprek", "stelling_id"])
    unplaced["stemmen"] -= unplaced.pop("ingedeeld")
    # Where everybody who voted is placed, there is nobody to protect.
    unplaced = unplaced[unplaced["stemmen"] > 0]
    everything = pd.concat(
        [cells, unplaced.assign(groep=UNPLACED), totals.assign(groep=WHOLE)], ignore_index=True
    )
    everything = everything.assign(
        status=DEFINITIVE,
        grootste_aandeel=0.0,
        **{PEOPLE: everything["stemmen"]},
        rijen=everything["stemmen"],
    )
    figures = dict.fromkeys(
        (
            "stemmen",
            "eens",
            "oneens",
            "neutraal",
            "verschil",
            "verschil_onder",
            "verschil_boven",
            "is_onderscheidend",
            "kant",
        ),
        "status",
    )
    adds_up = disclosure.AddsUp(["gesprek", "stelling_id"], "groep", WHOLE, "rijen")
    # The total is published exactly: it is known whatever is hidden here.
    shown = disclosure.suppress(everything, rules, figures=figures, adds_up=adds_up)
    judged = {"stemmen": "status"}
    exposed = disclosure.violations(shown, rules, figures=judged, adds_up=adds_up)
    rows = shown[~shown["groep"].isin([UNPLACED, WHOLE])].copy()
    rows["aantal_deelnemers"] = rows["stemmen"]
    rows["stemmen_status"] = rows["status"]
    rows["is_onderscheidend_status"] = rows["status"].mask(
        (rows["status"] == DEFINITIVE) & rows["verschil"].isna(), UNRELIABLE
    )
    rows["is_onderscheidend"] = rows["is_onderscheidend"].where(
        rows["is_onderscheidend_status"] == DEFINITIVE
    )
    contract = step.platform.tables["slimme_participatie/published/stellingen_per_groep"].contract
    return Offered(
        typed(rows[[c.name for c in contract.columns]], contract),
        controls={
            "rijen_zonder_onthulling": len(rows) - len(exposed),
            "cellen_van_gesloten_gesprekken": len(cells),
        },
    )


@gated_table(
    "slimme_participatie/published/themas",
    reads=[Reads(CONTRIBUTIONS), Reads(TEXT_THEMES)],
    settings=ParticipatieSettings,
    closes_months=True,
)
def themas(step: Step) -> Offered:
    """The share of each theme, corrected with what people checked; not published where they did not."""
    import pandas as pd

    from koploper_pipelines.methods.slimme_participatie import themes

    months = last_months(step)
    texts = step.read(TEXT_THEMES).df()
    contract = step.platform.tables["slimme_participatie/published/themas"].contract
    made = []
    for name, month, closed in months[["gesprek", "maand", "is_afgesloten"]].itertuples(index=False):
        own = texts[texts["gesprek"] == name]
        checked = own[own["gecontroleerd_thema"].notna()].rename(
            columns={"thema": "voorspeld", "gecontroleerd_thema": "werkelijk"}
        )
        facts = {
            "gesprek": name,
            "maand": month,
            "aantal_teksten": len(own),
            "aantal_gecontroleerd": len(checked),
        }
        if not (closed and themes.may_be_published(checked)):
            why = NOT_CHECKED if closed else "gesprek loopt nog"
            made.append(
                pd.DataFrame(
                    [facts | {"thema": "alle", "aandeel_pct_status": NOT_AVAILABLE, "toelichting": why}]
                )
            )
            continue
        names = sorted(set(own["thema"]) | set(checked["werkelijk"]) | {themes.REST})
        shares = themes.corrected_shares(list(own["thema"]), checked, names)
        percent = {
            "aandeel_pct": 100 * shares["aandeel"],
            "aandeel_onder_pct": 100 * shares["onder"],
            "aandeel_boven_pct": 100 * shares["boven"],
        }
        accuracy = 100 * float((checked["voorspeld"] == checked["werkelijk"]).mean())
        made.append(
            shares[["thema"]].assign(
                **facts,
                **percent,
                juist_pct=accuracy,
                aandeel_pct_status=DEFINITIVE,
                toelichting="gecorrigeerd met een steekproef",
            )
        )
    frame = pd.concat(made, ignore_index=True).reindex(columns=[c.name for c in contract.columns])
    return Offered(
        typed(frame, contract),
        controls={"gesprekken": sorted(months["gesprek"]), "aantal_gesprekken": len(months)},
    )


@gated_table(
    "slimme_participatie/published/bereik",
    reads=[Reads(CONTRIBUTIONS), Reads(PARTICIPANTS), Reads(TEXTS)],
    settings=ParticipatieSettings,
    closes_months=True,
)
def bereik(step: Step) -> Offered:
    """How many took part and in what way, per conversation."""
    import pandas as pd

    people, texts = step.read(PARTICIPANTS).df(), step.read(TEXTS).df()
    rows = last_months(step)
    groups = people.groupby("gesprek")
    counted = {
        "aantal_deelnemers": groups.size(),
        "deelnemers_met_stem": people[people["aantal_stemmen"] > 0].groupby("gesprek").size(),
        "deelnemers_met_tekst": people[people["aantal_teksten"] > 0].groupby("gesprek").size(),
        "stemmen": groups["aantal_stemmen"].sum(),
        "ideeen": texts[texts["soort"] == "idee"].groupby("gesprek").size(),
        "reacties": texts[texts["soort"] == "reactie"].groupby("gesprek").size(),
    }
    for column, values in counted.items():
        rows[column] = rows["gesprek"].map(values).fillna(0).astype("int64")
    masked = texts[[c for c in texts.columns if c.startswith("aantal_")]].sum(axis=1)
    rows["gemaskeerde_gegevens"] = (
        rows["gesprek"].map(masked.groupby(texts["gesprek"]).sum()).fillna(0).astype("int64")
    )
    median = people[people["aantal_stemmen"] > 0].groupby("gesprek")["aantal_stemmen"].median()
    rows["stemmen_per_deelnemer_mediaan"] = rows["gesprek"].map(median)
    rows["stemmen_per_deelnemer_mediaan_status"] = pd.Series(DEFINITIVE, index=rows.index).mask(
        rows["deelnemers_met_stem"] == 0, NOT_APPLICABLE
    )
    figure = {"stemmen_per_deelnemer_mediaan": "stemmen_per_deelnemer_mediaan_status"}
    few = (rows["deelnemers_met_stem"] > 0) & (
        rows["deelnemers_met_stem"] < step.settings(ParticipatieSettings).min_deelnemers
    )
    rows = hide(hide(rows, figure, few, SUPPRESSED), figure, ~rows["is_afgesloten"], NOT_AVAILABLE)
    contract = step.platform.tables["slimme_participatie/published/bereik"].contract
    return Offered(
        typed(rows[[c.name for c in contract.columns]], contract),
        controls={"stemmen": int(people["aantal_stemmen"].sum())},
    )


@gated_table(
    "slimme_participatie/published/representativiteit",
    reads=[Reads(CONTRIBUTIONS), Reads(PARTICIPANTS), Reads(POPULATION)],
    settings=ParticipatieSettings,
    closes_months=True,
)
def representativiteit(step: Step) -> Offered:
    """Participants against the population, by age, sex and municipality; never called representative."""
    import pandas as pd

    from koploper_pipelines.methods import disclosure

    choice: ParticipatieSettings = step.settings(ParticipatieSettings)
    rules = disclosure_rules(choice)
    people, inhabitants = step.read(PARTICIPANTS).df(), population(step)
    months = last_months(step)[["gesprek", "maand", "is_afgesloten"]]
    effective = {name: size for name, _, _, size in weighted_people(step, people)}
    cells = []
    for feature in FEATURES:
        known = people.assign(klasse=people[feature].astype("object").fillna("onbekend"))
        counted = (
            known.groupby(["gesprek", "klasse"])
            .size()
            .rename("aantal_deelnemers")
            .reset_index()
            .assign(kenmerk=feature)
        )
        classes = inhabitants.loc[inhabitants["kenmerk"] == feature, ["klasse"]]
        all_cells = (
            months[["gesprek"]]
            .merge(pd.concat([classes, pd.DataFrame({"klasse": ["onbekend"]})]), how="cross")
            .assign(kenmerk=feature)
        )
        cells.append(all_cells.merge(counted, how="outer", on=["gesprek", "kenmerk", "klasse"]))
    rows = (
        pd.concat(cells, ignore_index=True)
        .merge(inhabitants, how="left", on=["kenmerk", "klasse"])
        .merge(months, on="gesprek")
    )
    rows["aantal_deelnemers"] = rows["aantal_deelnemers"].fillna(0).astype("Int64")
    by = ["gesprek", "kenmerk"]
    everyone = rows.groupby(by)["aantal_deelnemers"].transform("sum")
    is_known = rows["klasse"] != "onbekend"
    known = rows["aantal_deelnemers"].where(is_known, 0).groupby([rows[c] for c in by]).transform("sum")
    rows["aandeel_pct"] = (100 * rows["aantal_deelnemers"] / everyone.where(everyone > 0)).astype("float64")
    rows["aandeel_bevolking_pct"] = (
        100
        * rows["bevolking"].astype("float64")
        / rows.groupby(by)["bevolking"].transform("sum").astype("float64").replace(0, float("nan"))
    )
    share = (100 * rows["aantal_deelnemers"] / known.where(known > 0)).astype("float64")
    rows["index_bevolking"] = (share / rows["aandeel_bevolking_pct"]).where(is_known)
    rows["aantal_deelnemers_status"] = DEFINITIVE
    rows["index_bevolking_status"] = _status(rows["index_bevolking"].notna(), NOT_AVAILABLE)
    rows["index_bevolking_status"] = rows["index_bevolking_status"].where(is_known, NOT_APPLICABLE)
    rows = _suppressed(rows, everyone, rules)
    extremes = rows.groupby(by)["index_bevolking"].agg(["min", "max"]).reset_index()
    extremes["verhouding_uitersten"] = extremes["min"] / extremes["max"].replace(0, float("nan"))
    hidden = rows[is_known & rows["aantal_deelnemers"].isna()][by].drop_duplicates()
    rows = rows.merge(extremes[[*by, "verhouding_uitersten"]], how="left", on=by)
    incomplete = pd.MultiIndex.from_frame(rows[by]).isin(pd.MultiIndex.from_frame(hidden))
    rows["verhouding_uitersten_status"] = _status(rows["verhouding_uitersten"].notna(), NOT_AVAILABLE)
    # The ratio of the shown categories alone would hide the very smallest.
    rows["verhouding_uitersten"] = rows["verhouding_uitersten"].mask(incomplete)
    rows["verhouding_uitersten_status"] = rows["verhouding_uitersten_status"].mask(incomplete, SUPPRESSED)
    rows["effectieve_omvang"] = (
        rows["gesprek"]
        .map(effective)
        .where(rows["is_afgesloten"] & (everyone.to_numpy() >= rules.min_participants))
    )
    rows["effectieve_omvang_status"] = _status(rows["effectieve_omvang"].notna(), NOT_AVAILABLE)
    rows["toelichting"] = "deelnemers hebben zichzelf aangemeld: geen afspiegeling van de bevolking"
    exposed = disclosure.violations(
        _for_rules(rows), rules, figures={"aantal_deelnemers": "aantal_deelnemers_status"}, adds_up=None
    )
    contract = step.platform.tables["slimme_participatie/published/representativiteit"].contract
    return Offered(
        typed(rows[[c.name for c in contract.columns]], contract),
        controls={
            "rijen_zonder_onthulling": len(rows) - len(exposed),
            "gesprekken": sorted(months["gesprek"]),
            "klassen_van_gesprekken": len(months) * (len(inhabitants) + len(FEATURES))
            + _elsewhere(people, inhabitants),
        },
    )


def _elsewhere(people: pd.DataFrame, inhabitants: pd.DataFrame) -> int:
    """Number of classes of participants, over all conversations and features, that the population lacks."""
    return sum(
        len(
            own.loc[
                own[f].notna() & ~own[f].isin(list(inhabitants.loc[inhabitants["kenmerk"] == f, "klasse"])),
                ["gesprek", f],
            ].drop_duplicates()
        )
        for f, own in ((f, people) for f in FEATURES)
    )


def _for_rules(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(**{PEOPLE: rows["aantal_deelnemers"]}, grootste_aandeel=0.0)


def _suppressed(rows: pd.DataFrame, everyone: pd.Series, rules: DisclosureRules) -> pd.DataFrame:
    """Hide categories of too few, and of open conversations; the total is published elsewhere."""
    import pandas as pd

    from koploper_pipelines.methods import disclosure

    by = ["gesprek", "kenmerk"]
    whole = (
        rows[by]
        .assign(klasse=WHOLE, aantal_deelnemers=everyone)
        .drop_duplicates()
        .assign(aantal_deelnemers_status=DEFINITIVE)
    )
    cells = _for_rules(pd.concat([rows, whole], ignore_index=True)).assign(
        rijen=lambda f: f["aantal_deelnemers"]
    )
    adds_up = disclosure.AddsUp(by, "klasse", WHOLE, "rijen")
    hidden = disclosure.complementary(cells, disclosure.may_not_be_shown(cells, rules), rules, adds_up)
    is_hidden = hidden.iloc[: len(rows)].set_axis(rows.index)
    figures = {
        "aantal_deelnemers": "aantal_deelnemers_status",
        "aandeel_pct": "aantal_deelnemers_status",
        "index_bevolking": "index_bevolking_status",
    }
    closed = hide(rows, figures, is_hidden, SUPPRESSED)
    return hide(closed, figures, ~rows["is_afgesloten"], NOT_AVAILABLE)


@gated_table(
    "slimme_participatie/published/doorwerking",
    reads=[Reads(CONTRIBUTIONS), Reads(PROPOSALS)],
)
def doorwerking(step: Step) -> Offered:
    """What was done with the ideas: how many were answered in what way, and how long that took."""
    import pandas as pd

    proposals = step.read(PROPOSALS).df()
    both = pd.concat([proposals, proposals.assign(uitkomst="alle")], ignore_index=True)
    made = (
        both.groupby(["gesprek", "uitkomst"])
        .agg(
            aantal_voorstellen=("voorstel_id", "size"),
            beantwoord_na_dagen_mediaan=("antwoord_dagen", "median"),
        )
        .reset_index()
    )
    total = made["gesprek"].map(proposals.groupby("gesprek").size())
    made["aandeel_pct"] = 100 * made["aantal_voorstellen"] / total
    is_known = made["beantwoord_na_dagen_mediaan"].notna()
    made["beantwoord_na_dagen_mediaan_status"] = pd.Series(DEFINITIVE, index=made.index).where(
        is_known, NOT_AVAILABLE
    )
    contract = step.platform.tables["slimme_participatie/published/doorwerking"].contract
    return Offered(
        typed(made[[c.name for c in contract.columns]], contract),
        controls={"voorstellen_dubbel": 2 * len(proposals)},
    )


@gated_table(
    "slimme_participatie/published/evaluatie",
    reads=[Reads(CONTRIBUTIONS), Reads(INDICATORS)],
    settings=ParticipatieSettings,
    closes_months=True,
)
def evaluatie(step: Step) -> Offered:
    """The indicators of each conversation, with a status where one is absent."""
    months = last_months(step)[["gesprek", "maand", "is_afgesloten"]]
    rows = step.read(INDICATORS).df().merge(months, on="gesprek")
    rows["waarde_status"] = _status(rows["waarde"].notna(), NOT_AVAILABLE)
    personal = rows["indicator"].isin(ABOUT_PEOPLE) & rows["waarde"].notna()
    few = personal & (rows["aantal_deelnemers"] < step.settings(ParticipatieSettings).min_deelnemers)
    rows = hide(
        hide(rows, {"waarde": "waarde_status"}, few, SUPPRESSED),
        {"waarde": "waarde_status"},
        personal & ~rows["is_afgesloten"],
        NOT_AVAILABLE,
    )
    contract = step.platform.tables["slimme_participatie/published/evaluatie"].contract
    return Offered(
        typed(rows[[c.name for c in contract.columns]], contract),
        controls={"indicatoren": count(step.read(INDICATORS))},
    )
