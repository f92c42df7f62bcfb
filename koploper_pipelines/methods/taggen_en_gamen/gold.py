"""Gold: labels of experts, of which one part calibrates and the other evaluates.

Belongs here: which label of an expert counts, and the split, which is made once and for all by a hash of
question and item: it does not depend on the installation, the night or the other labels.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

import numpy as np
import pandas as pd

from koploper_pipelines.methods.taggen_en_gamen.answers import FREE, LABELLED, SINGLE, normal_tag

CALIBRATION, EVALUATION = "ijking", "evaluatie"
OF_FILE, OF_EXPORT = "bestand", "export"
COLUMNS = ("vraag", "item", "label", "bron", "deel", "is_zaad")


def part_of(question: str, item: str) -> tuple[str, bool]:
    """The part that an item belongs to, and whether it may seed a model (half of the calibration part)."""
    first = hashlib.sha256(f"{question}|{item}".encode()).digest()[0]
    return (EVALUATION, False) if first % 2 else (CALIBRATION, first % 4 == 0)


def judge(
    files: pd.DataFrame, experts: pd.DataFrame, kinds: Mapping[str, str]
) -> tuple[pd.DataFrame, pd.DataFrame, int]:
    """Judge the experts' labels.

    A later file about the same item replaces what an earlier one said of it, and a file what an export says.
    Of one item with several labels, where the question has one, none is believed.

    Args:
        files: ``bestand``, ``rij``, ``geland_op``, ``vraag``, ``item``, ``label``, ``leesfout``, in the order
            of landing.
        experts: judgements of experts in exports, as cleaned.
        kinds: kind of each question that has judgements; any other is taken for a single choice.

    Returns:
        The labels (``COLUMNS``), the ones set aside (``vraag``, ``item``, ``label``, ``bestand``, ``rij``,
        ``reden``, ``toelichting``), and how many there were.
    """
    told = files[["bestand", "rij", "vraag", "item", "label", "leesfout"]].assign(
        bron=OF_FILE, beurt=files["bestand"]
    )
    rows = pd.concat([_of_exports(experts), told], ignore_index=True) if len(experts) else told
    kind = rows["vraag"].map(kinds).fillna(SINGLE)
    is_free = kind == FREE
    rows["label"] = rows["label"].astype(object).mask(is_free, rows["label"].fillna("").map(normal_tag))
    reason = pd.Series(None, index=rows.index, dtype=object)
    empty = (rows["item"].fillna("") == "") | (rows["label"].fillna("") == "")
    reason = reason.mask(rows["leesfout"].notna(), "regel_onleesbaar")
    reason = reason.mask(reason.isna() & empty, "item_of_label_ontbreekt")
    reason = reason.mask(reason.isna() & ~kind.isin(LABELLED), "vraag_zonder_labels")
    live = rows[reason.isna()]
    last = live.groupby(["vraag", "item"])["beurt"].transform("last")
    reason.loc[live.index[live["beurt"] != last]] = "vervangen"
    live = live[live["beurt"] == last]
    reason.loc[live.index[live.duplicated(["vraag", "item", "label"])]] = "dubbel"
    live = rows[reason.isna()]
    several = live.groupby(["vraag", "item"])["label"].transform("nunique") > 1
    reason.loc[live.index[several & (kind[live.index] == SINGLE)]] = "tegenstrijdig"
    is_kept = reason.isna()
    kept = rows[is_kept].reset_index(drop=True)
    parts = [part_of(q, i) for q, i in zip(kept["vraag"], kept["item"], strict=True)]
    kept["deel"] = pd.Series([p for p, _ in parts], index=kept.index, dtype="str")
    kept["is_zaad"] = np.array([s for _, s in parts], dtype=bool)
    aside = rows.assign(reden=reason, toelichting=rows["leesfout"].fillna(""))[~is_kept]
    columns = ["vraag", "item", "label", "bestand", "rij", "reden", "toelichting"]
    return kept[list(COLUMNS)], aside[columns].reset_index(drop=True), len(rows)


def _of_exports(experts: pd.DataFrame) -> pd.DataFrame:
    """A row a label that an expert gave in an export."""
    labelled = experts[experts["soort"].isin(LABELLED)]
    given = [
        [label] if kind == SINGLE else json.loads(labels or "[]")
        for kind, label, labels in zip(labelled["soort"], labelled["label"], labelled["labels"], strict=True)
    ]
    listed = pd.Series(given, index=labelled.index, dtype=object)
    rows = labelled[["vraag", "item", "beurt"]].assign(label=listed).explode("label", ignore_index=True)
    rows = rows[rows["label"].notna()].reset_index(drop=True)
    return rows.assign(bestand=None, rij=None, leesfout=None, bron=OF_EXPORT)
