"""Evaluation: how good the labels are, against experts and against a target, and whether players learn.

Here belongs holding the methods against the experts' labels; the labels themselves come from the indicators.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from koploper_pipelines.assets.taggen_en_gamen import TaggenSettings
from koploper_pipelines.assets.taggen_en_gamen.cleaned import CLEAN, CLEAN_GOLD
from koploper_pipelines.assets.taggen_en_gamen.indicators import (
    MONTH,
    calibration,
    empty,
    for_calibration,
    labelled_questions,
    read_gold,
    rules_of,
    seeds,
)
from koploper_pipelines.gates.staging import Offered
from koploper_pipelines.gates.table import Reads, Step, gated_table
from koploper_pipelines.relations import select, value

if TYPE_CHECKING:
    import pandas as pd

    from koploper_pipelines.methods.taggen_en_gamen.confidence import Calibration

METHODS = "taggen_en_gamen/evaluation/methoden"
LEARNING = "taggen_en_gamen/evaluation/leercurve"
_METHODS_OF_QUESTIONS = """
    SELECT coalesce(sum(CASE soort WHEN 'vrij' THEN 1 ELSE 3 END), 0)
    FROM (SELECT DISTINCT vraag, soort FROM o WHERE soort IN ('enkel', 'meerdere', 'vrij'))
"""


@gated_table(METHODS, reads=[Reads(CLEAN), Reads(CLEAN_GOLD)], settings=TaggenSettings)
def methoden(step: Step) -> Offered:
    """Each method on each question: right how often, how well calibrated, at what cost."""
    import pandas as pd

    from koploper_pipelines.methods.taggen_en_gamen import labels

    choice: TaggenSettings = step.settings(TaggenSettings)
    gold = read_gold(step)
    rows: list[dict[str, Any]] = []
    for question, kind, judgements in labelled_questions(step):
        own = gold[gold["vraag"] == question]
        chosen = labels.chosen_method(judgements, kind, choice.methode)
        found = {m: labels.claims(judgements, kind, m, seeds(own, choice)) for m in labels.METHODS[kind]}
        saved = _saved(judgements, kind, own, choice)
        random = _random_sample(found[chosen], own)
        for method, made in found.items():
            row = {"vraag": question, "soort": kind, "methode": method, "is_gekozen": method == chosen}
            row |= _accuracy(made, found, kind, own, choice)
            fit = calibration(made, kind, own, choice)
            row |= _calibration(made, kind, own, choice, fit) | _cost(made, kind, own, choice, fit)
            rows.append(row | saved | random)
    expected = int(value(select(step.read(CLEAN), "o", _METHODS_OF_QUESTIONS)))
    controls = {"vragen_maal_methoden": expected}
    if not rows:
        return Offered(empty(step, METHODS), controls=controls)
    columns = [c.name for c in step.platform.tables[METHODS].contract.columns]
    table = pd.DataFrame(rows)
    for column in step.platform.tables[METHODS].contract.columns:
        if column.type == "number":
            table[column.name] = table[column.name].astype("float64")
    return Offered(table[columns], controls=controls)


@gated_table(LEARNING, reads=[Reads(CLEAN), Reads(CLEAN_GOLD)], settings=TaggenSettings, closes_months=True)
def leercurve(step: Step) -> Offered:
    """Share right by number of items done, of judgements in closed months that are dated.

    On the calibration part of the gold: the evaluation part is for the methods alone.
    """
    import pandas as pd

    from koploper_pipelines.methods.taggen_en_gamen import engagement, gold, players

    choice: TaggenSettings = step.settings(TaggenSettings)
    experts = read_gold(step)
    pieces = []
    judged = 0
    for question, kind, judgements in labelled_questions(step):
        if kind != "enkel":
            continue
        # Of players, not of the labels' worth: also what was too fast teaches, nothing empty does.
        dated = judgements[judgements["tijd"].notna() & (judgements["gewicht"] > 0)]
        if dated.empty:
            continue
        months = dated["tijd"].dt.tz_convert("Europe/Amsterdam").dt.strftime(MONTH)
        until = engagement.reference_month(months, dated["speler"], step.first_open_month, choice.min_spelers)
        if until is None:
            continue
        dated = dated.assign(nummer=dated.groupby("speler").cumcount() + 1)[months <= until]
        own = experts[(experts["vraag"] == question) & (experts["deel"] == gold.CALIBRATION)]
        on_gold = dated.merge(own[["item", "label"]], on="item", suffixes=("", "_goud"))
        if on_gold.empty:
            continue
        on_gold["is_goed"] = (on_gold["label"] == on_gold["label_goud"]).astype("int64")
        judged += len(on_gold)
        pieces.append(players.learning_curve(on_gold).assign(vraag=question, maand=until))
    if not pieces:
        return Offered(empty(step, LEARNING), controls={"oordelen_op_goud": 0})
    made = pd.concat(pieces, ignore_index=True)
    columns = [c.name for c in step.platform.tables[LEARNING].contract.columns]
    made["stap"] = made["stap"] + 1
    return Offered(made[columns], controls={"oordelen_op_goud": judged})


def unused_gold(gold: pd.DataFrame, choice: TaggenSettings) -> pd.DataFrame:
    """Gold that had no part in the labels: all of it, or without seeds the evaluation part alone."""
    return gold[gold["deel"] == "evaluatie"] if choice.goud_in_model else gold


def _accuracy(
    made: pd.DataFrame, found: dict[str, pd.DataFrame], kind: str, gold: pd.DataFrame, choice: TaggenSettings
) -> dict[str, Any]:
    """Accuracy with Wilson's interval, and compared with the majority on the same items."""
    from koploper_pipelines.methods.taggen_en_gamen import confidence, labels

    judged = labels.against_gold(made, kind, unused_gold(gold, choice))
    evaluated = labels.against_gold(made, kind, gold[gold["deel"] == "evaluatie"])
    n = len(judged)
    told: dict[str, Any] = {
        "aantal_goud": n,
        "aantal_goud_evaluatie": len(evaluated),
        "nauwkeurigheid": None,
        "nauwkeurigheid_onder": None,
        "nauwkeurigheid_boven": None,
        "nauwkeurigheid_evaluatiedeel": float(evaluated["kans_goed"].mean()) if len(evaluated) else None,
        "verschil_met_meerderheid": None,
        "verschil_onder": None,
        "verschil_boven": None,
        "mcnemar_p": None,
    }
    if not n:
        return told
    hits = float(judged["kans_goed"].sum())
    told["nauwkeurigheid"] = hits / n
    told["nauwkeurigheid_onder"], told["nauwkeurigheid_boven"] = confidence.wilson(hits, n)
    base = found.get(labels.MAJORITY)
    if base is None or base is made:
        return told
    other = labels.against_gold(base, kind, unused_gold(gold, choice))
    both = judged.merge(other, on=["item"] if kind == "enkel" else ["item", "label"], suffixes=("", "_m"))
    compared = confidence.paired(both["is_goed"].to_numpy(bool), both["is_goed_m"].to_numpy(bool))
    told["verschil_met_meerderheid"], told["mcnemar_p"] = compared.difference, compared.p
    told["verschil_onder"], told["verschil_boven"] = compared.lower, compared.upper
    return told


def _calibration(
    made: pd.DataFrame, kind: str, gold: pd.DataFrame, choice: TaggenSettings, fit: Calibration
) -> dict[str, Any]:
    """Calibration error before and after, on the evaluation part; fitted on the calibration part."""
    from koploper_pipelines.methods.taggen_en_gamen import confidence, labels

    told: dict[str, Any] = dict.fromkeys(
        ("ece_voor_ijking", "ece", "ece_onder", "ece_boven", "ece_door_toeval", "aantal_goud_ijking")
    )
    told["aantal_goud_ijking"] = len(labels.against_gold(made, kind, for_calibration(gold, choice)))
    judged = labels.against_gold(made, kind, gold[gold["deel"] == "evaluatie"])
    if len(judged) < confidence.MIN_GOLD:
        return told
    claimed, right = judged["kans"].to_numpy(float), judged["is_goed"].to_numpy(float)
    told["ece_voor_ijking"] = confidence.ece(claimed, right)
    if fit.is_fitted:
        error = confidence.calibration_error(fit(claimed), right)
        told |= {"ece": error.value, "ece_onder": error.lower, "ece_boven": error.upper}
        told["ece_door_toeval"] = error.by_chance
    return told


def _cost(
    made: pd.DataFrame, kind: str, gold: pd.DataFrame, choice: TaggenSettings, fit: Calibration
) -> dict[str, Any]:
    """Which share is accepted, how right that is, and what an accepted label costs."""
    from koploper_pipelines.methods.taggen_en_gamen import labels, stopping

    told: dict[str, Any] = dict.fromkeys(
        (
            "dekking_pct",
            "nauwkeurigheid_aanvaard",
            "oordelen_per_aanvaard_label",
            "kosten_per_aanvaard_label_eur",
        )
    )
    if made.empty:
        return told
    sure = fit(made["kans"].to_numpy(float))
    number = made["aantal_oordelen"].to_numpy(int)
    accepted = stopping.decide(sure, number, rules_of(choice)) == stopping.ACCEPT
    told["dekking_pct"] = 100 * float(accepted.mean())
    judged = labels.against_gold(made[accepted], kind, gold[gold["deel"] == "evaluatie"])
    if len(judged):
        told["nauwkeurigheid_aanvaard"] = float(judged["is_goed"].mean())
    if accepted.any():
        asked = made.drop_duplicates("item")["aantal_oordelen"].sum()
        told["oordelen_per_aanvaard_label"] = float(asked / accepted.sum())
        if choice.prijs_per_oordeel_eur is not None:
            told["kosten_per_aanvaard_label_eur"] = (
                choice.prijs_per_oordeel_eur * told["oordelen_per_aanvaard_label"]
            )
    return told


def _saved(judgements: pd.DataFrame, kind: str, gold: pd.DataFrame, choice: TaggenSettings) -> dict[str, Any]:
    """What deciding along the way would have saved, of single choices with dated judgements."""
    from koploper_pipelines.methods.taggen_en_gamen import labels, stopping

    told: dict[str, Any] = {"oordelen_bespaard_pct": None, "nauwkeurigheid_bij_besparing": None}
    counting = judgements[judgements["gewicht"] > 0]
    # Without moments there is no before and after.
    if kind != "enkel" or counting.empty or counting["tijd"].isna().mean() > 0.05:
        return told
    import pandas as pd

    coded, items, names = labels.coded(counting)
    truth = for_calibration(gold, choice).drop_duplicates("item").set_index("item")["label"].reindex(items)
    known = pd.Index(names).get_indexer(pd.Index(truth))
    replayed = stopping.replay(coded, rules_of(choice), known)
    told["oordelen_bespaard_pct"] = 100 * replayed.saved
    evaluated = (
        gold[gold["deel"] == "evaluatie"].drop_duplicates("item").set_index("item")["label"].reindex(items)
    )
    has = evaluated.notna().to_numpy()
    if has.any():
        right = names[replayed.label[has]] == evaluated.to_numpy(object)[has]
        told["nauwkeurigheid_bij_besparing"] = float(right.mean())
    return told


def _random_sample(made: pd.DataFrame, gold: pd.DataFrame) -> dict[str, Any]:
    """Whether the gold looks like a random sample of the items: number of judgements, agreement, label."""
    from koploper_pipelines.methods.taggen_en_gamen import sample

    p = sample.resembles(made, made["item"].isin(gold["item"]).to_numpy(bool))
    return {"goud_steekproef_p": p, "goud_als_steekproef": sample.verdict(p, made["item"], gold["item"])}
