"""A document to interpret a table with: which figures still lack a reading, ready to be filled in.

Here belong finding these figures and writing the document; its form is in `methods/koploperdeals/duiding.py`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from koploper_pipelines.contracts import Contract
    from koploper_pipelines.gates.step import Platform

PROMPTS = {
    "wat het betekent": "Wat zegt het cijfer over de vraag waarvoor het gemaakt is?",
    "wat het niet betekent": "Wat zou een lezer er ten onrechte uit kunnen opmaken?",
    "tegenlezing": "Hoe zou iemand die het er niet mee eens is dit cijfer lezen?",
    "open vragen": "Wat blijft open, en wie zou het kunnen beantwoorden?",
}
NOT_A_FIGURE = ("_onder", "_boven", "_status", "onder_", "boven_")


def template(platform: Platform, name: str) -> str:
    """The document for a published table, with an entry for each figure that lacks an up-to-date reading.

    LookupError when there is no such table, or no release holds it yet.
    """
    from koploper_pipelines.assets.koploperdeals.figures import published_contract
    from koploper_pipelines.assets.publicatie.published import versions_of_releases

    contract = published_contract(platform, name)
    if contract is None:
        known = sorted(
            t.contract.sql_name for t in platform.tables.values() if t.contract.layer == "published"
        )
        raise LookupError(f"there is no published table {name!r}; there is {', '.join(known)}")
    holding = [(r, v[contract.path]) for r, v in versions_of_releases(platform).items() if contract.path in v]
    if not holding:
        raise LookupError(f"no release holds {contract.sql_name} yet; run `koploper refresh` first")
    release, version = holding[-1]
    read = _read_before(platform, contract)
    row = _newest_row(platform, contract, version)
    columns = [c for c in _figures(contract) if read.get(c) != "actueel"]
    return "\n".join(
        [
            "---",
            "spreker:            # provincie, partner of burger",
            "namens:             # organisatie, groep of rol; geen naam van een persoon",
            f"datum: {platform.clock.today().isoformat()}",
            f"tabel: {contract.sql_name}",
            f"release: {release}",
            f"# {contract.title}. {_standing(contract, read)}",
            "# Laat weg waarover u niets zegt, en kies per cijfer de rij.",
            "cijfers:",
            *(line for c in columns for line in _entry(contract, c, row, read)),
            "---",
            *(line for title, prompt in PROMPTS.items() for line in ("", f"## {title.capitalize()}", prompt)),
            "",
        ]
    )


def _figures(contract: Contract) -> list[str]:
    """Columns that hold a figure: no part of the key, no bound or status, and not when it was made."""
    from koploper_pipelines.methods.koploperdeals.duiding import PERIOD_COLUMNS

    return [
        c.name
        for c in contract.columns
        if c.type in ("number", "integer")
        and not c.key
        and c.name not in PERIOD_COLUMNS
        and not any(part in c.name for part in NOT_A_FIGURE)
    ]


def _read_before(platform: Platform, contract: Contract) -> dict[str, str]:
    """Status of the readings of each column; up to date when one is."""
    import duckdb

    from koploper_pipelines.assets.koploperdeals.published.duiding import INTERPRETATIONS

    if not platform.lake.exists(INTERPRETATIONS):
        return {}
    with duckdb.connect() as con:
        rows = platform.lake.relation(con, INTERPRETATIONS, platform.lake.head(INTERPRETATIONS).version)
        own = rows.filter(f"tabel = '{contract.sql_name}' AND kolom IS NOT NULL")
        # The alphabet puts actueel before verouderd.
        return dict(own.aggregate("kolom, min(status)", "kolom").fetchall())


def _newest_row(platform: Platform, contract: Contract, version: int) -> Mapping[str, Any]:
    """The last row by key, as an example; empty when the table has none."""
    import duckdb

    with duckdb.connect() as con:
        con.sql("SET TimeZone = 'UTC'")
        rows = platform.lake.relation(con, contract.path, version)
        last = rows.order(", ".join(f'"{k}" DESC' for k in contract.key)).limit(1)
        return next((dict(zip(last.columns, v, strict=True)) for v in last.fetchall()), {})


def _standing(contract: Contract, read: Mapping[str, str]) -> str:
    figures = _figures(contract)
    without = [c for c in figures if c not in read]
    old = [c for c in figures if read.get(c) == "verouderd"]
    return (
        f"Nog zonder duiding: {', '.join(without) or 'geen'}. Verouderd: {', '.join(old) or 'geen'}."
        f" Actueel: {', '.join(c for c in figures if read.get(c) == 'actueel') or 'geen'}."
    )


def _entry(contract: Contract, column: str, row: Mapping[str, Any], read: Mapping[str, str]) -> Sequence[str]:
    key = ", ".join(f"{k}: {json.dumps(str(row.get(k, '')), ensure_ascii=False)}" for k in contract.key)
    value = row.get(column)
    shown = (
        [f"    waarde: {value}"] if value is not None else ["    # in deze rij niet getoond: kies een andere"]
    )
    return [
        f"  - rij: {{{key}}}",
        f"    kolom: {column}    # {'verouderd' if column in read else 'nog zonder duiding'}",
        *shown,
    ]
