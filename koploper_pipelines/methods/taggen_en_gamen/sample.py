"""Sample: whether the items with an expert's label look like a random draw from all items.

Belongs here: a test of that on what is known of every item. Experts who label what is easy, or what players
disagreed on, give an accuracy that says nothing about the rest.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

MIN_ITEMS = 20
WHOLE, YES, NO, UNKNOWN = "alle_items", "niet_weerlegd", "nee", "onbekend"
_LEVEL = 0.01


def resembles(claims: pd.DataFrame, has_gold: npt.NDArray[np.bool_]) -> float | None:
    """Chance of a difference as large as found, were the gold a random sample; Bonferroni over three tests.

    Of the number of judgements and of the share that agrees (Mann-Whitney), and of the consensus label
    (chi-square). None when either side has fewer than ``MIN_ITEMS`` items.

    Args:
        claims: a claim an item (the first of each counts), with ``label``, ``aantal_oordelen``,
            ``aantal_stemmen`` and ``item``.
        has_gold: whether the claim's item has an expert's label.
    """
    from scipy.stats import chi2_contingency, mannwhitneyu

    first = ~claims["item"].duplicated().to_numpy()
    items, gold = claims[first], has_gold[first]
    if min(gold.sum(), (~gold).sum()) < MIN_ITEMS:
        return None
    number = items["aantal_oordelen"].to_numpy(float)
    agreeing = items["aantal_stemmen"].to_numpy(float) / np.maximum(number, 1)
    found = [mannwhitneyu(v[gold], v[~gold]).pvalue for v in (number, agreeing) if np.ptp(v) > 0]
    table = pd.crosstab(items["label"].to_numpy(), gold)
    frequent = table[table.sum(axis=1) >= 10]
    if len(frequent) > 1:
        found.append(chi2_contingency(frequent).pvalue)
    return float(min(1.0, len(found) * min(found))) if found else None


def verdict(p: float | None, items: pd.Series, gold: pd.Series) -> str:
    """In a word: gold of all items, not contradicted, no, or too few items to tell."""
    if len(items) and set(items) <= set(gold):
        return WHOLE
    if p is None:
        return UNKNOWN
    return NO if p < _LEVEL else YES
