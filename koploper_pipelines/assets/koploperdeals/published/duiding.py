"""Published: what was said of figures and whether it still holds, and which tables lack any interpretation.

Here belongs holding each quote against the figure of today; the rules are in
`methods/koploperdeals/duiding.py`. All published tables are read, whatever experiment they are of.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from koploper_pipelines.assets.koploperdeals.raw.duiding import QUOTES
from koploper_pipelines.contracts import contract_paths
from koploper_pipelines.gates.staging import Offered
from koploper_pipelines.gates.table import Reads, Step, gated_table
from koploper_pipelines.relations import count, select, value

if TYPE_CHECKING:
    import pandas as pd

    from koploper_pipelines.contracts import Contract
    from koploper_pipelines.gates.step import Platform
    from koploper_pipelines.methods.koploperdeals.duiding import Figure

INTERPRETATIONS = "koploperdeals/published/duidingen"
UP_TO_DATE, OUTDATED, MISSING = "actueel", "verouderd", "ontbreekt"
NOBODY = "niemand"
TEXTS = ("betekent", "betekent_niet", "tegenlezing", "open_vragen")
# The tables about the release come after all others.
QUOTABLE = [
    p
    for p in contract_paths()
    if "/published/" in p and p != INTERPRETATIONS and not p.startswith("publicatie/")
]
NEWEST = """
    SELECT * FROM q
    QUALIFY levering = last_value(levering) OVER (
        PARTITION BY duiding ORDER BY geland_op, levering
        ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING
    )
"""
"""Of a document that was delivered again under its name, the last delivery."""
NUMBER_OF_LAST = """
    SELECT coalesce(sum(n), 0) FROM (
        SELECT arg_max(n, (op, levering)) AS n
        FROM (SELECT duiding, levering, max(geland_op) AS op, count(*) AS n FROM q GROUP BY ALL)
        GROUP BY duiding
    )
"""


@gated_table(INTERPRETATIONS, reads=[Reads(QUOTES), *(Reads(p) for p in QUOTABLE)])
def duidingen(step: Step) -> Offered:
    """A row a quoted figure, and a row a table of which nobody has said anything yet."""
    import pandas as pd

    quotes = select(step.read(QUOTES), "q", NEWEST).order("duiding, rij").df()
    contract = step.platform.tables[INTERPRETATIONS].contract
    silent = [p for p in QUOTABLE if p not in set(quotes["tabel"]) and count(step.read(p))]
    made = [*_quoted(step, quotes), *(_missing(step.platform.tables[p].contract) for p in silent)]
    table = pd.DataFrame(made, columns=[c.name for c in contract.columns])
    kinds = {"number": "float64", "integer": "int64", "string": "str"}
    typed = table.astype({c.name: kinds[c.type] for c in contract.columns if c.type in kinds})
    # As days: pandas holds moments, and numbers where there are none.
    days = [None if pd.isna(day) else pd.Timestamp(day).date() for day in table["datum"]]
    typed["datum"] = pd.Series(days, index=typed.index, dtype="object")
    # Counted apart: the quotes of the last deliveries, by document.
    number = select(step.read(QUOTES), "q", NUMBER_OF_LAST)
    return Offered(typed, controls={"cijfers_en_tabellen_zonder": int(value(number)) + len(silent)})


def _quoted(step: Step, quotes: pd.DataFrame) -> Iterator[dict[str, Any]]:
    from koploper_pipelines.methods.koploperdeals import duiding

    tables = step.platform.tables
    for quote in quotes.to_dict("records"):
        gone = quote["tabel"] not in tables
        now = None if gone else figure_now(step, tables[quote["tabel"]].contract, quote)
        why = "de tabel bestaat niet meer" if gone else duiding.outdated(figure_then(quote), now)
        shown = None if now is None else now.value
        hidden = shown is None
        yield {
            "duiding": quote["duiding"],
            "volgnummer": quote["rij"],
            "tabel": quote["tabel"] if gone else tables[quote["tabel"]].contract.sql_name,
            "rij": ", ".join(f"{c} {v}" for c, v in json.loads(quote["sleutel"]).items()),
            "kolom": quote["kolom"],
            "release": quote["release"],
            # What is no longer shown is not shown here either.
            "waarde_toen": None if hidden else _shown(json.loads(quote["waarde_toen"])),
            "onder_toen": None if hidden else quote["onder_toen"],
            "boven_toen": None if hidden else quote["boven_toen"],
            "waarde_nu": None if hidden else _shown(shown),
            "waarde_nu_status": "niet_beschikbaar" if hidden else "definitief",
            "status": OUTDATED if why else UP_TO_DATE,
            "verouderd_omdat": why or None,
            **{c: quote[c] for c in ("spreker", "namens", "datum", *TEXTS)},
        }


def _missing(contract: Contract) -> dict[str, Any]:
    return {
        "duiding": f"zonder-{contract.sql_name}",
        "volgnummer": 0,
        "tabel": contract.sql_name,
        "waarde_nu_status": "niet_van_toepassing",
        "status": MISSING,
        "spreker": NOBODY,
    }


def figure_then(quote: dict[Any, Any]) -> Figure:
    """The quoted figure as it was in its release."""
    import pandas as pd

    from koploper_pipelines.methods.koploperdeals import duiding

    low, high = quote["onder_toen"], quote["boven_toen"]
    return duiding.Figure(
        json.loads(quote["waarde_toen"]),
        None if pd.isna(low) or pd.isna(high) else (low, high),
        json.loads(quote["periode_toen"]),
        quote["methode_toen"],
    )


def figure_now(step: Step, contract: Contract, quote: dict[Any, Any]) -> Figure | None:
    """The quoted figure as it is; None when its row, or its column, is no longer there."""
    from koploper_pipelines.assets.koploperdeals import figures

    method = _method_now(step.platform, contract.path)
    bounds = (quote["kolom_onder"], quote["kolom_boven"]) if quote["kolom_onder"] else None
    try:
        row = figures.row_of(step.read(contract.path), contract, json.loads(quote["sleutel"]))
        return None if row is None else figures.figure(row, contract, quote["kolom"], bounds, method)
    except figures.NoFigure:
        return None


def _method_now(platform: Platform, table: str) -> str:
    from koploper_pipelines.assets.koploperdeals import figures

    return figures.method_of(platform, table, platform.lake.head(table).stamped_version)


def _shown(figure: float | str | bool | None) -> str:
    """A figure as text, with a Dutch comma."""
    if isinstance(figure, bool):
        return "ja" if figure else "nee"
    if isinstance(figure, float):
        return f"{figure:.10g}".replace(".", ",")
    return str(figure)
