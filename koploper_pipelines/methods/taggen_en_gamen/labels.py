"""Labels: what each item shows according to its players, by each method, as claims that can be judged.

Belongs here: from judgements with names to codes and back, the choice of a method, several labels as as many
yes-or-no questions, and holding claims against experts. Does not belong here: the methods (``consensus``) and
their calibration (``confidence``).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from koploper_pipelines.methods.taggen_en_gamen import consensus
from koploper_pipelines.methods.taggen_en_gamen.answers import FREE, MULTIPLE, SINGLE
from koploper_pipelines.methods.taggen_en_gamen.consensus import Consensus, EmRules, Judgements

Floats: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.integer]

MAJORITY, DAWID_SKENE, ONE_COIN, TYPED = "meerderheid", "dawid_skene", "een_munt", "vrije_tags"
METHODS: Mapping[str, tuple[str, ...]] = {
    SINGLE: (MAJORITY, ONE_COIN, DAWID_SKENE),
    MULTIPLE: (MAJORITY, ONE_COIN, DAWID_SKENE),
    FREE: (TYPED,),
}
CLAIM_COLUMNS = (
    "item", "label", "is_aanwezig", "kans", "is_gelijk", "gelijken", "aantal_stemmen", "aantal_oordelen",
    "aantal_spelers",
)  # fmt: skip

Fit: TypeAlias = Callable[[Judgements, Ints | None], Consensus]


def fit_with(method: str) -> Fit:
    """The method of that name, as a function of judgements and known labels."""
    if method == MAJORITY:
        return lambda judgements, known: consensus.majority(judgements)
    model = {DAWID_SKENE: consensus.dawid_skene, ONE_COIN: consensus.one_coin}[method]
    return lambda judgements, known: model(judgements, EmRules(), known)


def chosen_method(rows: pd.DataFrame, kind: str, preferred: str = DAWID_SKENE) -> str:
    """The method for a question: the preferred one, or the majority when there are too few judgements.

    Judged for the question as a whole: an item with few judgements in a rich question gains from what the
    other items tell of its players.
    """
    if kind == FREE:
        return TYPED
    per_item = rows[rows["gewicht"] > 0].groupby("item")["speler"].nunique()
    enough = len(per_item) > 0 and per_item.median() >= consensus.MIN_MEDIAN_JUDGEMENTS
    return preferred if enough else MAJORITY


def claims(rows: pd.DataFrame, kind: str, method: str, known: pd.DataFrame | None = None) -> pd.DataFrame:
    """What a method says of each item of a question.

    Args:
        rows: the judgements of one question: ``item``, ``speler``, ``label`` or ``labels`` (JSON), and
            ``gewicht``; those of weight 0 do not count.
        kind: ``enkel``, ``meerdere`` or ``vrij``.
        method: one of ``METHODS`` of that kind.
        known: ``item`` and ``label`` of experts, to seed the error model.

    Returns:
        ``CLAIM_COLUMNS``: of a single choice one claim an item, of the others one for each label that anybody
        gave the item. ``kans`` is the method's own probability that the claim is right, not calibrated;
        ``gelijken`` is a JSON list of the labels in a tie, among which the lot of a stable hash decided.
    """
    counting = rows[rows["gewicht"] > 0]
    if counting.empty:
        return pd.DataFrame(columns=list(CLAIM_COLUMNS))
    if kind == SINGLE:
        return _single(counting, method, known)
    if kind == MULTIPLE:
        return _several(counting, method, known)
    return _typed(counting)


def coded(rows: pd.DataFrame) -> tuple[Judgements, npt.NDArray[np.object_], npt.NDArray[np.object_]]:
    """Judgements of single labels as codes, with the names of items and labels, both in order."""
    item, items = pd.factorize(rows["item"], sort=True)
    player, players = pd.factorize(rows["speler"], sort=True)
    label, names = pd.factorize(rows["label"], sort=True)
    weight = rows["gewicht"].to_numpy(float)
    judgements = Judgements(item, player, label, len(items), len(players), len(names), weight)
    return judgements, np.asarray(items, object), np.asarray(names, object)


def counted(rows: pd.DataFrame) -> Floats:
    """Judgements per item and label, for agreement: all full ones alike, shape (items, labels)."""
    judgements, _, names = coded(rows)
    plain = Judgements(
        judgements.item, judgements.player, judgements.label, judgements.items, judgements.players, len(names)
    )
    return consensus.votes(plain)


def exploded(rows: pd.DataFrame) -> pd.DataFrame:
    """A row for each label of judgements of several labels, with the label in ``label``."""
    made = rows.assign(label=rows["labels"].map(json.loads)).explode("label", ignore_index=True)
    return made[made["label"].notna()].reset_index(drop=True)


def yes_or_no(rows: pd.DataFrame, label: str) -> pd.DataFrame:
    """Judgements of several labels as judgements on one of them; what was not chosen is a no."""
    chosen = rows["labels"].map(lambda labels: label in json.loads(labels))
    return rows.assign(label=np.where(chosen, "ja", "nee"))


def against_gold(found: pd.DataFrame, kind: str, gold: pd.DataFrame) -> pd.DataFrame:
    """Claims on items that experts labelled, with whether they are right.

    A claim about one of several labels is right when the expert's labels of the item bear it out.

    Args:
        found: of ``claims``.
        kind: of the question.
        gold: ``item`` and ``label``.

    Returns:
        The claims with ``is_goed`` (the label that the lot chose) and ``kans_goed`` (expected over random
        ties).
    """
    truth = gold.groupby("item")["label"].agg(set)
    judged = found[found["item"].isin(truth.index)]
    pairs = list(zip(judged["item"], judged["label"], strict=True))
    has = np.array([label in truth[item] for item, label in pairs], dtype=bool)
    right = has if kind == SINGLE else has == judged["is_aanwezig"].to_numpy(bool)
    expected = right.astype(float)
    for place in np.flatnonzero(judged["is_gelijk"].to_numpy(bool)):
        tied = json.loads(judged["gelijken"].iloc[place])
        item = judged["item"].iloc[place]
        expected[place] = len(truth[item].intersection(tied)) / len(tied) if kind == SINGLE else 0.5
    return judged.assign(is_goed=right, kans_goed=expected)


def by_lot(item: str, label: str) -> float:
    """A number from 0 to 1 that belongs to an item and a label, for deciding ties the same way every time."""
    return int(hashlib.sha256(f"{item}|{label}".encode()).hexdigest()[:13], 16) / 2**52


def _single(rows: pd.DataFrame, method: str, known: pd.DataFrame | None) -> pd.DataFrame:
    judgements, items, names = coded(rows)
    fitted = fit_with(method)(judgements, _codes_of(known, items, names))
    best, tied = consensus.winners(fitted.probability)
    ties: dict[int, list[str]] = {}
    for i in np.flatnonzero(tied):
        top = fitted.probability[i] >= fitted.probability[i].max() - 1e-9
        ties[int(i)] = [str(n) for n in names[top]]
        lots = [by_lot(str(items[i]), str(names[code])) for code in np.flatnonzero(top)]
        best[i] = np.flatnonzero(top)[np.argmax(lots)]
    rows_of = np.arange(len(items))
    chance = fitted.probability[rows_of, best]
    if method == MAJORITY:
        # One vote is no certainty: as if one more judgement was spread over the labels.
        weight = np.bincount(judgements.item, judgements.weight, len(items))
        chance = (chance * weight + 1 / len(names)) / (weight + 1)
    number = consensus.judgements_per_item(judgements)
    plain = Judgements(
        judgements.item, judgements.player, judgements.label, len(items), judgements.players, len(names)
    )
    return pd.DataFrame(
        {
            "item": items,
            "label": names[best],
            "is_aanwezig": True,
            "kans": chance,
            "is_gelijk": tied,
            "gelijken": [_as_json(ties.get(i, [])) for i in range(len(items))],
            "aantal_stemmen": consensus.votes(plain)[rows_of, best].astype(int),
            "aantal_oordelen": number,
            "aantal_spelers": rows.groupby("item")["speler"].nunique().reindex(items).to_numpy(),
        }
    )


def _several(rows: pd.DataFrame, method: str, known: pd.DataFrame | None) -> pd.DataFrame:
    """Binary relevance: a yes-or-no question for each label, about the items that anybody gave it."""
    given = exploded(rows)
    pieces = []
    for label in sorted(given["label"].unique()):
        binary = yes_or_no(rows, label)
        truth = None
        if known is not None:
            has = known.assign(heeft=known["label"] == label).groupby("item")["heeft"].any()
            truth = pd.DataFrame({"item": has.index, "label": np.where(has, "ja", "nee")})
        found = _single(binary, method, truth)
        votes = given[given["label"] == label].groupby("item").size()
        found = found[found["item"].isin(votes.index)]
        pieces.append(
            found.assign(
                is_aanwezig=found["label"] == "ja",
                label=label,
                aantal_stemmen=votes.reindex(found["item"]).to_numpy(),
            )
        )
    if not pieces:
        return pd.DataFrame(columns=list(CLAIM_COLUMNS))
    return pd.concat(pieces, ignore_index=True)


def _typed(rows: pd.DataFrame) -> pd.DataFrame:
    given = exploded(rows)
    if given.empty:
        return pd.DataFrame(columns=list(CLAIM_COLUMNS))
    judgements, items, names = coded(given)
    probability, _ = consensus.typed_tags(judgements)
    found = given.groupby(["item", "label"], as_index=False).agg(aantal_stemmen=("speler", "nunique"))
    looked = rows.groupby("item")["speler"].nunique()
    place = np.searchsorted(items, found["item"]), np.searchsorted(names, found["label"])
    number = looked.reindex(found["item"]).to_numpy()
    kans = probability[place]
    return found.assign(
        is_aanwezig=True,
        kans=kans,
        is_gelijk=False,
        gelijken="[]",
        aantal_oordelen=number,
        aantal_spelers=number,
    )[list(CLAIM_COLUMNS)]


def _codes_of(
    known: pd.DataFrame | None, items: npt.NDArray[np.object_], names: npt.NDArray[np.object_]
) -> Ints | None:
    if known is None or known.empty:
        return None
    label = known.drop_duplicates("item").set_index("item")["label"].reindex(items)
    return pd.Index(names).get_indexer(pd.Index(label))


def _as_json(values: list[str]) -> str:
    return json.dumps(values, ensure_ascii=False)
