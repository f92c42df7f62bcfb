"""Disclosure control: which figures about people may be shown.

Belongs here: suppression of cells, complementary suppression under a published total, rounding, and the
checker that a release uses. Does not belong here: exact process counts (rows received, quarantined), which
are never suppressed, and the choice of k for a table, which its contract makes.

The checker at the end shares no code with the suppressor: it looks at what a reader would see and reasons
from there, so a mistake in the one is not repeated by the other.

The rules are a milder form of those of CBS for income statistics ("Aanvullende Onderzoeksbeschrijving
Inkomensstatistiek", chapter 5: at least 100 observations, the extreme value at most 30% of the sum, at least
one related cell hidden as well), which are no rule for provinces.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

PARTICIPANTS = "aantal_apparaten"
LARGEST_SHARE = "grootste_aandeel"
SUPPRESSED = "onderdrukt"

_EXTREMES = frozenset({"min", "max", "minimum", "maximum", "laagste", "hoogste"})


@dataclass(frozen=True)
class DisclosureRules:
    """What a figure about people must rest on.

    Attributes:
        min_participants: fewest participants in a cell (k).
        max_share: largest share of a cell's rows that one participant may have, from 0 to 1.
    """

    min_participants: int = 5
    max_share: float = 0.30


@dataclass(frozen=True)
class AddsUp:
    """How the cells of a table add up to a total in the same table.

    Attributes:
        groups: columns that one total and its parts have in common, such as the month.
        part: column that tells the parts apart, such as ``gemeente_code``.
        total: value of ``part`` in the row of the total, such as ``PV26``.
        rows: column with the number of rows of a cell, which adds up exactly.
    """

    groups: Sequence[str]
    part: str
    total: str
    rows: str


def may_not_be_shown(cells: pd.DataFrame, rules: DisclosureRules) -> pd.Series:
    """Tell for each cell on its own whether it breaks a rule; an unknown number breaks it.

    Args:
        cells: one row a cell, with ``aantal_apparaten`` and ``grootste_aandeel`` (from 0 to 1).
        rules: the limits.

    Returns:
        Booleans on the index of ``cells``.
    """
    enough = cells[PARTICIPANTS].ge(rules.min_participants).fillna(False)
    spread = cells[LARGEST_SHARE].le(rules.max_share).fillna(False)
    return ~(enough & spread).astype(bool)


def complementary(
    cells: pd.DataFrame, hidden: pd.Series, rules: DisclosureRules, adds_up: AddsUp
) -> pd.Series:
    """Hide further cells until no hidden figure follows from a shown total minus the shown parts.

    That difference is a figure about the hidden parts together, so it must be showable itself: it rests on
    at least two parts with participants, on at least k participants, and on no participant above the largest
    share. The smallest shown parts (by rows) are hidden first, the total last.

    From cells alone the participants of several parts together are only known within bounds. The number is
    taken as that of the largest part, since all others may be the same people. The largest contribution is
    taken as the largest in any one part; a participant who leads in several hidden parts weighs more.

    One total a group is protected; cells that add up in two directions need both protected by the caller.

    Args:
        cells: as for ``may_not_be_shown``, with the columns that ``adds_up`` names.
        hidden: booleans on the index of ``cells``: the cells hidden already.
        rules: the limits.
        adds_up: totals and parts; in groups without a shown total nothing is hidden.

    Returns:
        Booleans on the index of ``cells``: all cells to hide.
    """
    is_total = cells[adds_up.part].eq(adds_up.total)
    hidden = hidden.copy()
    for _, group in cells.groupby(list(adds_up.groups), sort=False, dropna=False):
        total = group.index[is_total[group.index]]
        if not (hidden[group.index] & ~is_total[group.index]).any() or hidden[total].all():
            continue
        parts = group.drop(total).sort_values([adds_up.rows, PARTICIPANTS], kind="stable")
        for label in parts.index[~hidden[parts.index]]:
            if _difference_is_safe(parts[hidden[parts.index]], rules, adds_up.rows):
                break
            hidden[label] = True
        # When every part is hidden the difference is the total, and a total of one part is that part.
        if hidden[parts.index].all() and _peopled(parts) < 2:
            hidden[total] = True
    return hidden


def suppress(
    cells: pd.DataFrame, rules: DisclosureRules, *, figures: Mapping[str, str], adds_up: AddsUp | None
) -> pd.DataFrame:
    """Blank every figure about people that may not be shown, and say so in its status.

    Args:
        cells: one row a cell, unique index, with ``aantal_apparaten``, ``grootste_aandeel`` and the figures.
        rules: the limits.
        figures: each figure column to blank with the column of its status; figures may share one. List
            ``aantal_apparaten`` and the number of rows too if they are published.
        adds_up: totals in the same table, or None where no total is published.

    Returns:
        A copy with the figures of hidden cells missing and their status ``onderdrukt``; whole numbers
        become nullable whole numbers.

    Raises:
        ValueError: the index has duplicates.
    """
    if not cells.index.is_unique:
        raise ValueError("cells need a unique index")
    hidden = may_not_be_shown(cells, rules)
    if adds_up is not None:
        hidden = complementary(cells, hidden, rules, adds_up)
    result = cells.copy()
    for figure, status in figures.items():
        values = result[figure]
        if pd.api.types.is_integer_dtype(values):
            values = values.astype("Int64")
        result[figure] = values.mask(hidden)
        result[status] = result[status].mask(hidden, SUPPRESSED)
    return result


def round_counts(counts: pd.Series, base: int) -> pd.Series:
    """Round counts to the nearest multiple of the base ("door afronding kunnen totalen afwijken").

    A count halfway goes to the even multiple, so that rounding favours neither side. Totals are rounded by
    themselves and so may differ from the sum of their parts.

    Args:
        counts: whole numbers, missing where suppressed.
        base: multiple to round to, 2 or more.

    Returns:
        Nullable whole numbers on the same index; missing stays missing.

    Raises:
        ValueError: the base is below 2.
    """
    if base < 2:
        raise ValueError("a base below 2 rounds nothing")
    return (counts.astype("Float64") / base).round().mul(base).astype("Int64")


def violations(
    frame: pd.DataFrame, rules: DisclosureRules, *, figures: Mapping[str, str], adds_up: AddsUp | None
) -> pd.DataFrame:
    """List what a reader of a table could learn about too few people.

    Judged from the table as it would be published, so also where the suppressor was never run:

    - ``te_weinig_deelnemers``: a shown figure rests on fewer than k participants, or on an unknown number;
    - ``dominantie``: one participant has more than the largest share of a shown figure, or it is unknown;
    - ``onderdrukt_maar_zichtbaar``: a figure is shown though its status says ``onderdrukt``;
    - ``afleidbaar``: the total of a group is shown and exactly one of its parts is not;
    - ``rest_te_klein``: a total and some of its parts are shown, and the hidden parts, where their
      participants are still in the table, may all rest on the same fewer than k participants;
    - ``uiterste_waarde``: a filled column holds a minimum or maximum, by its name.

    Args:
        frame: the table, one row a cell, with ``aantal_apparaten`` and ``grootste_aandeel``.
        rules: the limits.
        figures: each published figure about people with the column of its status.
        adds_up: totals in the same table, or None where there are none.

    Returns:
        One row a violation with ``regel``, ``kolom`` and ``rij`` (label in the index of ``frame``; of the
        total for a group, missing for a column); empty when the table may be published.
    """
    found: list[tuple[str, str, object]] = []
    participants, share = frame[PARTICIPANTS], frame[LARGEST_SHARE]
    few = (participants.isna() | (participants < rules.min_participants)).astype(bool)
    dominated = (share.isna() | (share > rules.max_share)).astype(bool)
    for figure, status in figures.items():
        shown = frame[figure].notna()
        found += [("te_weinig_deelnemers", figure, row) for row in frame.index[shown & few]]
        found += [("dominantie", figure, row) for row in frame.index[shown & dominated]]
        contradicted = shown & (frame[status] == SUPPRESSED)
        found += [("onderdrukt_maar_zichtbaar", figure, row) for row in frame.index[contradicted]]
        if adds_up is not None:
            found += _derivable(frame, rules, figure, status, adds_up)
    for column in frame.columns:
        if _EXTREMES & set(re.split(r"[^a-z]+", str(column).lower())) and frame[column].notna().any():
            found.append(("uiterste_waarde", str(column), None))
    return pd.DataFrame(found, columns=["regel", "kolom", "rij"])


def _difference_is_safe(hidden_parts: pd.DataFrame, rules: DisclosureRules, rows: str) -> bool:
    participants = hidden_parts[PARTICIPANTS].fillna(0)
    contribution = (hidden_parts[LARGEST_SHARE].fillna(1) * hidden_parts[rows]).max()
    return bool(
        _peopled(hidden_parts) >= 2
        and participants.max() >= rules.min_participants
        and contribution <= rules.max_share * hidden_parts[rows].sum()
    )


def _peopled(parts: pd.DataFrame) -> int:
    """Number of parts with participants: an empty part protects no other."""
    return int(np.count_nonzero(parts[PARTICIPANTS].fillna(0) > 0))


def _derivable(
    frame: pd.DataFrame, rules: DisclosureRules, figure: str, status: str, adds_up: AddsUp
) -> list[tuple[str, str, object]]:
    """Groups whose total gives a hidden part away, seen from the published side."""
    keys = list(adds_up.groups)
    is_total, is_shown = frame[adds_up.part] == adds_up.total, frame[figure].notna()
    is_concealed = ~is_total & ~is_shown & (frame[status] == SUPPRESSED)
    if not is_concealed.any():
        return []
    total, part = frame.loc[is_total & is_shown, keys], frame.loc[~is_total, keys]
    concealed = frame.loc[is_concealed, [*keys, PARTICIPANTS]]
    per_group = concealed.groupby(keys, dropna=False)[PARTICIPANTS].agg(["size", "max"])
    per_group["parts"] = part.groupby(keys, dropna=False).size()
    seen = total.join(per_group, on=keys, how="inner")
    alone = seen.index[seen["size"] == 1]
    # With every part hidden the difference is the total, which is judged as a cell of its own.
    several = (seen["size"] > 1) & (seen["size"] < seen["parts"])
    small = seen.index[several & (seen["max"] < rules.min_participants).fillna(False).astype(bool)]
    return [("afleidbaar", figure, row) for row in alone] + [("rest_te_klein", figure, row) for row in small]
