"""Cleaned: the newest register, with the doelenboom, judgements, money, deals and phases as typed tables.

Here belongs taking the newest version apart. The other sheets stay together in one table, since each is small
and is only shown: `sheet` makes a typed frame of one of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from koploper_pipelines.assets.koploperdeals.raw.register import REGISTER
from koploper_pipelines.assets.koploperdeals.shape import offered
from koploper_pipelines.gates.staging import Offered
from koploper_pipelines.gates.table import Reads, Step, gated_table
from koploper_pipelines.relations import count

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

ROWS = "koploperdeals/cleaned/register"
GOALS = "koploperdeals/cleaned/doelenboom"
JUDGEMENTS = "koploperdeals/cleaned/oordelen"
MONEY = "koploperdeals/cleaned/geld"
DEALS = "koploperdeals/cleaned/deals"
PHASES = "koploperdeals/cleaned/fasen"
APART = {GOALS: "doelenboom", JUDGEMENTS: "oordelen", MONEY: "geld", DEALS: "deals", PHASES: "fasen"}
"""Sheets with a table of their own."""
EXPLAINED, NOT_NEEDED, LACKING = "aanwezig", "niet_nodig", "ontbreekt"


def sheet(step: Step, name: str) -> pd.DataFrame:
    """A sheet without a table of its own, typed."""
    return _typed(step.read(ROWS), name)


def _typed(rows: duckdb.DuckDBPyRelation, name: str) -> pd.DataFrame:
    import json

    from koploper_pipelines.methods.koploperdeals.frames import frame

    listed = rows.filter(f"blad = '{name}'").order("rij").project("waarden").fetchall()
    return frame(name, [json.loads(values) for (values,) in listed])


def _newest(step: Step) -> duckdb.DuckDBPyRelation:
    rows = step.read(REGISTER)
    return rows.filter(f"versie = {rows.aggregate('max(versie)').fetchall()[0][0]}")


def _sheet_now(step: Step, name: str) -> tuple[pd.DataFrame, int]:
    """A sheet of the newest register, and its number of rows counted apart."""
    rows = _newest(step)
    return _typed(rows, name), count(rows.filter(f"blad = '{name}'"))


@gated_table(ROWS, reads=[Reads(REGISTER)])
def register(step: Step) -> Offered:
    """The sheets of the newest register that have no table of their own."""
    rows = _newest(step)
    apart = ", ".join(f"'{s}'" for s in APART.values())
    kept = rows.filter(f"blad NOT IN ({apart})").project("blad, rij, waarden")
    elsewhere = count(rows.filter(f"blad IN ({apart})"))
    return Offered(kept, rows_in=count(kept), controls={"rijen": count(rows) - elsewhere})


@gated_table(GOALS, reads=[Reads(REGISTER)])
def doelenboom(step: Step) -> Offered:
    """Programmes, goals and intended results, with the years in which each code is valid."""
    made, number = _sheet_now(step, "doelenboom")
    made["is_overhead"] = made["is_overhead"].fillna(False)
    return offered(step, GOALS, made, number, rijen=number)


@gated_table(JUDGEMENTS, reads=[Reads(REGISTER)])
def oordelen(step: Step) -> Offered:
    """What people judged; orange and red with an explanation."""
    from koploper_pipelines.methods.koploperdeals.schema import COLOURS

    made, number = _sheet_now(step, "oordelen")
    needs = made["oordeel"].isin(COLOURS[1:])
    said = made["toelichting"].notna().map({True: EXPLAINED, False: LACKING})
    made["toelichting_status"] = said.where(needs | made["toelichting"].notna(), NOT_NEEDED)
    return offered(step, JUDGEMENTS, made, number, rijen=number)


@gated_table(MONEY, reads=[Reads(REGISTER)])
def geld(step: Step) -> Offered:
    """Budgets and realised amounts, in unrounded euros as they were given."""
    made, number = _sheet_now(step, "geld")
    return offered(step, MONEY, made, number, rijen=number)


@gated_table(DEALS, reads=[Reads(REGISTER)])
def deals(step: Step) -> Offered:
    """The deals, without who to call."""
    made, number = _sheet_now(step, "deals")
    return offered(step, DEALS, made.drop(columns="contactpersoon"), number, rijen=number)


@gated_table(PHASES, reads=[Reads(REGISTER)])
def fasen(step: Step) -> Offered:
    """The phases of the deals."""
    made, number = _sheet_now(step, "fasen")
    return offered(step, PHASES, made, number, rijen=number)
