"""Published: whether policy is better supported by data: questions with and without data, use, agreements.

Here belongs the link from a policy question to the table that answers it, judged by what is in that table.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from koploper_pipelines.assets.koploperdeals.cleaned.register import DEALS, ROWS, sheet
from koploper_pipelines.assets.koploperdeals.published.shared import NOT_APPLICABLE, with_status
from koploper_pipelines.assets.koploperdeals.shape import offered
from koploper_pipelines.gates.measures import quoted
from koploper_pipelines.gates.staging import Offered
from koploper_pipelines.gates.table import GatedTable, Reads, Step, gated_table

if TYPE_CHECKING:
    from koploper_pipelines.gates.step import Platform

QUESTIONS = "koploperdeals/published/beleidsvragen"
USE = "koploperdeals/published/gebruik_in_beleid"
AGREEMENTS = "koploperdeals/published/afspraken_duiding"
UNUSED, USED = "geen gebruik bekend", "gebruikt"


def _answering(platform: Platform) -> Iterator[GatedTable]:
    """Published tables of the experiments, as far as they were made; not those of the portfolio itself."""
    # Of the release itself nothing either: it comes after all of these.
    without = (QUESTIONS.split("/")[0], "publicatie")
    published = (t for t in platform.tables.values() if t.contract.layer == "published")
    yield from (t for t in published if t.contract.experiment not in without and platform.lake.exists(t.path))


def _versions(platform: Platform) -> dict[str, int]:
    return {t.path: platform.lake.head(t.path).stamped_version for t in _answering(platform)}


@gated_table(QUESTIONS, reads=[Reads(ROWS)], also=_versions)
def beleidsvragen(step: Step) -> Offered:
    """Every policy question with its data question, indicator and table, and the first link missing."""
    from koploper_pipelines.methods.koploperdeals import portfolio

    rows = sheet(step, "vragen")
    asked = set(rows["tabel"].dropna())
    filled = {
        t.contract.sql_name: _filled(step, t)
        for t in _answering(step.platform)
        if t.contract.sql_name in asked
    }
    rows["dekking"] = portfolio.coverage(rows, filled)
    rows["rijen_in_tabel"] = rows["tabel"].map({name: n[""] for name, n in filled.items()})
    rows = with_status(rows, {"rijen_in_tabel": "niet_beschikbaar"})
    for column in ("datavraag", "indicator"):
        rows[column] = rows[column].fillna("geen")
    return offered(step, QUESTIONS, rows, vragen=len(sheet(step, "vragen")))


def _filled(step: Step, table: GatedTable) -> dict[str, int]:
    """Number of values per column of a published table, and under "" that of its rows."""
    lake = step.platform.lake
    rows = lake.relation(step.con, table.path, lake.head(table.path).version)
    names = [c.name for c in table.contract.columns]
    (counts,) = rows.aggregate(f"count(*), {', '.join(f'count({quoted(n)})' for n in names)}").fetchall()
    return dict(zip(["", *names], counts, strict=True))


@gated_table(USE, reads=[Reads(DEALS), Reads(ROWS)])
def gebruik_in_beleid(step: Step) -> Offered:
    """Per deal and year, from its start, where figures were used and what that changed."""
    import pandas as pd

    until = sheet(step, "register")["peildatum"].iloc[0]
    used = sheet(step, "gebruik")
    used["jaar"] = used["gebruikt_op"].dt.year
    started = step.read(DEALS).df().dropna(subset=["gestart_op"])
    years = [
        {"deal": deal, "deal_naam": name, "jaar": year}
        for deal, name, start in zip(started["deal"], started["naam"], started["gestart_op"], strict=True)
        for year in range(start.year, until.year + 1)
    ]
    every = pd.DataFrame(years, columns=["deal", "deal_naam", "jaar"]).astype({"jaar": "Int64"})
    names = step.read(DEALS).df().set_index("deal")["naam"]
    rows = every.merge(used.astype({"jaar": "Int64"}), how="outer", on=["deal", "jaar"])
    rows["deal_naam"] = rows["deal_naam"].fillna(rows["deal"].map(names))
    rows["gebruik"] = rows["gevolg"].notna().map({True: USED, False: UNUSED})
    rows = rows.sort_values(["deal", "jaar", "gebruikt_op", "besluit", "tabel", "kolom"], ignore_index=True)
    rows["volgnummer"] = rows.groupby(["deal", "jaar"]).cumcount() + 1
    rows["is_voorbeeld"] = rows["is_voorbeeld"].isin([True])
    rows = with_status(rows, {"gevolg": NOT_APPLICABLE})
    return offered(step, USE, rows, keren_gebruikt=len(used))


@gated_table(AGREEMENTS, reads=[Reads(ROWS)])
def afspraken_duiding(step: Step) -> Offered:
    """Agreements on the democratic interpretation of data, and what became of them."""
    rows = sheet(step, "afspraken")
    is_open = rows["stand"].isin(["open", "in_uitvoering"])
    rows["open_dagen"] = (rows["stand_op"] - rows["gemaakt_op"]).dt.days.where(is_open)
    rows = with_status(rows, {"open_dagen": NOT_APPLICABLE})
    return offered(step, AGREEMENTS, rows, afspraken=len(sheet(step, "afspraken")))
