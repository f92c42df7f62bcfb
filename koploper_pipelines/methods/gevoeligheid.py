"""Sensitivity: a figure under every combination of choices that could have been made otherwise.

Belongs here: what choices, levels and a conclusion are, which combinations there are, how far a figure
spreads over them, which choice matters most, and whether the conclusion holds. Does not belong here: the
choices of an experiment and how its figure is made under them.

The spread over choices says what other defensible choices would have given; it is no interval, since nobody
drew choices at random. The share of a choice is its sum of squares in the full factorial over defensible
levels (a design in which every level meets every other, so that these sums add up), the rest being that
choices work on each other. Sources: Steegen, Tuerlinckx, Gelman and Vanpaemel, "Increasing transparency
through a multiverse analysis", Perspectives on Psychological Science 11 (2016) 702-712; Saltelli et al.,
"Sensitivity analysis in practice" (2004), for the decomposition.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

Combination: TypeAlias = Mapping[str, "Level"]
"""The level of each choice, by the choice's name."""

HOLDS, DEPENDS, FAILS, UNKNOWN = "houdt_stand", "hangt_af_van_keuzes", "houdt_geen_stand", "niet_te_bepalen"
ALL, INTERPLAY = "alle keuzes", "wisselwerking"
NO_LEVEL = "-"


@dataclass(frozen=True)
class Level:
    """One way in which a choice can be made."""

    name: str
    value: Any
    is_defensible: bool
    """False for what is known to be wrong, and shown to tell how wrong."""
    reason: str
    is_default: bool = False


@dataclass(frozen=True)
class Choice:
    """A choice that could have been made otherwise."""

    name: str
    levels: tuple[Level, ...]

    def with_default(self, value: Any) -> Choice:
        """The choice with the level of that value as its default; added where nobody declared it."""
        levels = tuple(replace(v, is_default=v.value == value) for v in self.levels)
        if not any(v.is_default for v in levels):
            levels = (*levels, Level(str(value), value, True, "ingesteld in deze installatie", True))
        return Choice(self.name, levels)

    @property
    def default(self) -> Level:
        """The level that the published figures are made with."""
        return next(v for v in self.levels if v.is_default)


@dataclass(frozen=True)
class Conclusion:
    """What is concluded from the figure, said beforehand so that it can be tested."""

    sentence: str
    threshold: float
    is_above: bool = True
    """Whether the figure lies above the threshold, rather than below it."""

    def holds(self, value: float, lower: float, upper: float) -> bool:
        """Whether the whole sampling interval lies on the right side; the value alone where there is none."""
        if self.is_above:
            return (value if np.isnan(lower) else lower) > self.threshold
        return (value if np.isnan(upper) else upper) < self.threshold


@dataclass(frozen=True)
class Figure:
    """The figure under one combination, with its sampling interval; NaN where there is none."""

    value: float = float("nan")
    lower: float = float("nan")
    upper: float = float("nan")
    participants: int = 0


NO_FIGURE = Figure()


def combinations(choices: Sequence[Choice]) -> list[dict[str, Level]]:
    """The full factorial over defensible levels, and each known-wrong level with all else at its default."""
    sound = [[v for v in c.levels if v.is_defensible or v.is_default] for c in choices]
    made = [dict(zip((c.name for c in choices), levels, strict=True)) for levels in product(*sound)]
    usual = {c.name: c.default for c in choices}
    return made + [
        usual | {c.name: v} for c in choices for v in c.levels if not v.is_defensible and not v.is_default
    ]


def name_of(combination: Combination) -> str:
    """A combination in words: ``rit_pauze=10 min; ijking=aan``."""
    return "; ".join(f"{choice}={level.name}" for choice, level in combination.items())


def told(combination: Combination) -> str:
    """A combination as JSON, with what is said of each level."""
    levels = [
        {"keuze": c, **{k: v for k, v in asdict(v).items() if k != "value"}} for c, v in combination.items()
    ]
    return json.dumps(levels, ensure_ascii=False)


def shared_cells(cells: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """The cells that every combination has, of those that have any."""
    found = [c for c in cells.values() if c]
    return frozenset.intersection(*found) if found else frozenset()


def tabulated(
    asked: Sequence[Combination],
    cells: Mapping[str, frozenset[str]],
    make: Callable[[Combination, frozenset[str]], Figure],
    tested: Conclusion,
    on: frozenset[str] | None = None,
) -> pd.DataFrame:
    """A row a combination, each on the cells that all of them share.

    Args:
        asked: the combinations.
        cells: by name of a combination the cells that may be shown under it.
        make: the figure of a combination on some cells.
        tested: what is concluded.
        on: which of the shared cells the figure is about; all of them when not given.
    """
    shared = shared_cells(cells)
    about = shared if on is None else on
    rows = []
    for combination in asked:
        own = cells[name_of(combination)]
        figure = make(combination, about) if own and about else NO_FIGURE
        rows.append(
            {
                "combinatie": name_of(combination),
                "keuzes": told(combination),
                "conclusie": tested.sentence,
                "grens": tested.threshold,
                "is_boven_grens": tested.is_above,
                "waarde": figure.value,
                "waarde_onder": figure.lower,
                "waarde_boven": figure.upper,
                "aantal_cellen": len(own),
                "gedeelde_cellen": len(shared & own),
                "aantal_deelnemers": figure.participants,
            }
        )
    return pd.DataFrame(rows)


# -- What follows from the figures ---------------------------------------------------------------------------


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """What the combinations of one figure come to.

    Args:
        rows: a row a combination: ``keuzes`` (`told`), ``waarde``, ``waarde_onder``, ``waarde_boven`` (NaN
            where there is none), and the conclusion's ``grens`` and ``is_boven_grens``.

    Returns:
        ``keuze`` (`ALL` for the figure itself, a choice, or `INTERPLAY`), ``niveau`` (`NO_LEVEL` unless the
        row is about one level, all else at its default), ``waarde``, ``waarde_onder``, ``waarde_boven``,
        ``spreiding_laagste`` and ``spreiding_hoogste`` over the defensible combinations that the row is
        about, ``aandeel_variantie_pct``, ``is_verdedigbaar``, ``is_standaard``, ``toelichting``,
        and of the figure itself ``conclusie_uitkomst`` with the number of combinations and of those in which
        it holds.
    """
    levels = rows["keuzes"].map(json.loads)
    design = pd.DataFrame([{v["keuze"]: v["name"] for v in told} for told in levels], index=rows.index)
    sound = pd.Series([all(v["is_defensible"] or v["is_default"] for v in t) for t in levels], rows.index)
    away = pd.DataFrame([{v["keuze"]: not v["is_default"] for v in t} for t in levels], index=rows.index)
    figures = rows[["waarde", "waarde_onder", "waarde_boven"]].astype("float64")
    usual = figures[~away.any(axis=1)].iloc[0]
    shares = variance_shares(design[sound], figures.loc[sound, "waarde"])
    made = [_whole(rows, figures, sound, usual)]
    made += [
        _of_choice(figures[sound], away[sound], str(choice), shares[choice], usual)
        for choice in design.columns
    ]
    made.append(_row(INTERPLAY, NO_LEVEL, usual, share=shares[INTERPLAY]))
    made += _of_levels(levels, figures, away)
    return pd.DataFrame(made)


def default_row(rows: pd.DataFrame) -> pd.Series:
    """The row of the combination that the published figures are made with."""
    usual = [all(v["is_default"] for v in json.loads(told)) for told in rows["keuzes"]]
    return rows[np.array(usual)].iloc[0]


def variance_shares(design: pd.DataFrame, value: pd.Series) -> dict[str, float]:
    """Share in percent of each choice, and of their interplay.

    Where combinations have no figure the levels that lack most are left out, until what is left is a full
    factorial again: only in that do the shares add up. A choice of which one level is left has no share.

    Args:
        design: the level of each choice, a column a choice: a full factorial.
        value: the figure of each combination; NaN where there is none.
    """
    kept = _full(design, value)
    away = value[kept] - value[kept].mean()
    own = {str(c): float("nan") for c in design.columns} | {INTERPLAY: float("nan")}
    varied = [str(c) for c in design.columns if design.loc[kept, c].nunique() > 1]
    if not varied:
        return own
    total = float((away**2).sum())
    # Below what a double can tell of such figures there is no variance to share out.
    if total <= 1e-24 * len(away) * max(float(value[kept].abs().max()), 1.0) ** 2:
        return own | dict.fromkeys([*varied, INTERPLAY], 0.0)
    means = {c: away.groupby(design.loc[kept, c]).transform("mean") for c in varied}
    shares = {c: float((m**2).sum()) / total for c, m in means.items()}
    shares[INTERPLAY] = max(0.0, 1 - sum(shares.values()))
    return own | {name: 100 * share for name, share in shares.items()}


def _full(design: pd.DataFrame, value: pd.Series) -> pd.Series:
    """Which combinations make a full factorial in which all have a figure."""
    kept = pd.Series(True, index=design.index)
    while (lacking := value.isna() & kept).any():
        # Of choices whose levels lack as many, the one named last.
        shares = {
            (choice, level): float(lacking[kept & (design[choice] == level)].mean())
            for choice in reversed(design.columns)
            for level in design.loc[kept, choice].unique()
        }
        choice, level = max(shares, key=lambda c: shares[c])
        kept &= design[choice] != level
    return kept


def _row(choice: str, level: str, figure: pd.Series, *, share: float = float("nan")) -> dict[str, Any]:
    return {
        "keuze": choice,
        "niveau": level,
        **{c: float(figure[c]) for c in ("waarde", "waarde_onder", "waarde_boven")},
        "aandeel_variantie_pct": share,
    }


def _spread(values: pd.Series) -> dict[str, float]:
    return {"spreiding_laagste": float(values.min()), "spreiding_hoogste": float(values.max())}


def _whole(rows: pd.DataFrame, figures: pd.DataFrame, sound: pd.Series, usual: pd.Series) -> dict[str, Any]:
    known = sound & figures["waarde"].notna()
    tested = Conclusion("", float(rows["grens"].iloc[0]), bool(rows["is_boven_grens"].iloc[0]))
    held = [tested.holds(*figure) for figure in figures[known].to_numpy(float).tolist()]
    outcome = UNKNOWN if not held else HOLDS if all(held) else DEPENDS if any(held) else FAILS
    return {
        **_row(ALL, NO_LEVEL, usual),
        **_spread(figures.loc[known, "waarde"]),
        "conclusie_uitkomst": outcome,
        "aantal_combinaties": len(held),
        "aantal_houdt_stand": sum(held),
    }


def _of_choice(
    figures: pd.DataFrame, away: pd.DataFrame, choice: str, share: float, usual: pd.Series
) -> dict[str, Any]:
    """One choice alone: the spread over its levels with all others at their default."""
    alone = ~away.drop(columns=choice).any(axis=1)
    return {**_row(choice, NO_LEVEL, usual, share=share), **_spread(figures.loc[alone, "waarde"])}


def _of_levels(levels: pd.Series, figures: pd.DataFrame, away: pd.DataFrame) -> Iterator[dict[str, Any]]:
    for choice in map(str, away.columns):
        alone = ~away.drop(columns=choice).any(axis=1)
        for index in figures.index[alone]:
            level = next(v for v in levels[index] if v["keuze"] == choice)
            yield {
                **_row(choice, level["name"], figures.loc[index]),
                "is_verdedigbaar": level["is_defensible"],
                "is_standaard": level["is_default"],
                "toelichting": level["reason"],
            }
