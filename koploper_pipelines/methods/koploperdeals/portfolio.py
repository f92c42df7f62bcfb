"""The portfolio: plan against what was done, deals that came of earlier deals, and questions without data.

Belongs here: counting deals, edges and links; what is a deal stands in the register.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

EVENTS = ("gestart", "gestopt", "herhaald", "opgeschaald", "afgerond")
ALL = "alle"


def counted_once(deals: pd.DataFrame, changes: pd.DataFrame) -> pd.DataFrame:
    """Deals without those that went on under another code: a renamed or merged deal counts once.

    Args:
        deals: with deal.
        changes: soort, was, wordt.
    """
    gone = changes.loc[(changes["soort"] == "deal") & changes["wordt"].isin(deals["deal"]), "was"]
    return deals[~deals["deal"].isin(gone)]


def plan_and_realisation(deals: pd.DataFrame, plan: pd.DataFrame, until: pd.Timestamp) -> pd.DataFrame:
    """Agreed and realised numbers per year and tranche, and over all tranches (`alle`).

    Args:
        deals: deal, tranche, gestart_op, geeindigd_op, uitkomst; each counted once.
        plan: jaar, tranche, afgesproken_deals.
        until: the last day that is known of.

    Returns:
        jaar, tranche, afgesproken (missing where nothing was agreed), a number per event, and lopend: running
        on the last day of the year, or on `until`.
    """
    started, ended = pd.to_datetime(deals["gestart_op"]), pd.to_datetime(deals["geeindigd_op"])
    first = min([*plan["jaar"], *started.dt.year.dropna().astype(int)], default=until.year)
    years = range(int(first), max([until.year, *plan["jaar"]]) + 1)
    rows = []
    for year in years:
        last = min(pd.Timestamp(year, 12, 31), until)
        runs = started.notna() & (started <= last) & (ended.isna() | (ended > last)) & (last.year == year)
        marks = {"gestart": started.dt.year == year, "lopend": runs}
        marks |= {e: (ended.dt.year == year) & (deals["uitkomst"] == e) for e in EVENTS[1:]}
        counted = pd.DataFrame({"tranche": deals["tranche"], **marks}).groupby("tranche").sum()
        agreed = plan[plan["jaar"] == year].set_index("tranche")["afgesproken_deals"]
        made = counted.join(agreed.rename("afgesproken"), how="outer").fillna({c: 0 for c in marks})
        made = made[(made[list(marks)].sum(axis=1) > 0) | made["afgesproken"].notna()]
        total = made.sum(min_count=1).to_frame().T.assign(tranche=ALL) if len(made) else made.reset_index()
        rows.append(pd.concat([made.reset_index(), total], ignore_index=True).assign(jaar=year))
    found = pd.concat(rows, ignore_index=True)
    return found.astype({c: "Int64" for c in (*EVENTS, "lopend", "afgesproken")})


def snowball(deals: Sequence[str], edges: pd.DataFrame) -> pd.DataFrame:
    """Of each deal how far it stands from the first ones, and what came of it.

    Args:
        deals: codes.
        edges: deal, leidde_tot: which deal led to which later one; without circles.

    Returns:
        deal, generatie (0: came of no earlier deal; else the longest chain to it), voortgekomen_uit and
        leidde_tot (numbers of direct ones), nakomelingen (all that came of it, directly or not).
    """
    pairs = edges[["deal", "leidde_tot"]].dropna().drop_duplicates()
    after: dict[str, set[str]] = {d: set() for d in deals}
    for earlier, later in zip(pairs["deal"], pairs["leidde_tot"], strict=True):
        after.setdefault(earlier, set()).add(later)
    generation = dict.fromkeys(deals, 0)
    reached = {d: set(n) for d, n in after.items()}
    # A chain has at most as many steps as there are deals: after so many rounds nothing changes any more.
    for _ in deals:
        for earlier, nexts in after.items():
            for later in nexts:
                generation[later] = max(generation.get(later, 0), generation.get(earlier, 0) + 1)
                reached[earlier] = reached[earlier] | reached.get(later, set())
    sources = pairs.groupby("leidde_tot").size()
    return pd.DataFrame(
        {
            "deal": list(deals),
            "generatie": [generation[d] for d in deals],
            "voortgekomen_uit": [int(sources.get(d, 0)) for d in deals],
            "leidde_tot": [len(after[d]) for d in deals],
            "nakomelingen": [len(reached[d]) for d in deals],
        }
    ).astype({"deal": "object"})


def coverage(questions: pd.DataFrame, filled: Mapping[str, Mapping[str, int]]) -> pd.Series:
    """How far each policy question is answered by data: the first link that is missing, or `gedekt`.

    Args:
        questions: datavraag, indicator, tabel, kolom, missing where not given.
        filled: per published table the number of values per column, and under "" that of rows.
    """

    def judged(row: pd.Series) -> str:
        for name, status in (
            ("datavraag", "geen_datavraag"),
            ("indicator", "geen_indicator"),
            ("tabel", "geen_tabel"),
        ):
            if pd.isna(row[name]):
                return status
        if row["tabel"] not in filled:
            return "tabel_bestaat_niet"
        columns = filled[row["tabel"]]
        column = "" if pd.isna(row["kolom"]) else str(row["kolom"])
        if column not in columns:
            return "kolom_bestaat_niet"
        return "gedekt" if columns[column] else "geen_gegevens"

    return pd.Series([judged(r) for _, r in questions.iterrows()], index=questions.index, dtype=object)
