"""The register of deals as policy officers would keep it, and deals of which the true course is known.

Belongs here: writing a register's workbook, the demo's (`budget.py`, from the public budget texts) or one of
simulated deals, whose phases end by moving on or stopping at known daily chances. The truth (`deals.parquet`)
holds each deal's phases as they go on after the register's last day.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from koploper_pipelines.methods.koploperdeals.cells import FIRST_YEAR
from koploper_pipelines.simulation import Simulated
from koploper_pipelines.simulation.koploperdeals import budget, duiding

FILE_NAME = "register.xlsx"
MOVE_PER_DAY, STOP_PER_DAY = 1 / 150, 1 / 450
"""Chances per day to move on and to stop, the same in every phase: three in four moves on."""
DEALS = 40


def simulate(
    inbox: Path,
    truth: Path,
    *,
    last_day: date,
    days: int,
    participants: int | None,
    rows: int | None,
    seed: int,
) -> Simulated:
    """Write a register of simulated deals to the inbox, and their whole course beside it.

    Args:
        inbox: folder for the workbook.
        truth: folder for the truth.
        last_day: day up to which the register is kept.
        days: how many days before it deals may have started.
        participants: deals; 40 by default, or as many as `rows` ask for.
        rows: number of rows to aim at: a deal has about three.
        seed: the same seed gives the same files.

    Raises:
        ValueError: deals that start before the first year that a register knows.
    """
    if (last_day - timedelta(days=days)).year < FIRST_YEAR:
        raise ValueError(f"deals would start before {FIRST_YEAR}, expected fewer days or a later last day")
    number = participants or max(1, (rows or 3 * DEALS) // 3)
    course = _course(number, last_day, days, seed)
    truth.mkdir(parents=True, exist_ok=True)
    course.to_parquet(truth / "deals.parquet")
    sheets = _register(course, last_day)
    file = write_register(inbox / f"register-{seed}.xlsx", sheets)
    return _with_examples(file, sheets, duiding.examples(inbox, truth, last=last_day, seed=seed))


def demo(inbox: Path, folder: Path, *, first: date, last: date, now: datetime) -> Simulated:
    """Write the register of the public budget texts, and examples of what is said of figures."""
    sheets = budget.sheets()
    folder.mkdir(parents=True, exist_ok=True)
    file = write_register(inbox / FILE_NAME, sheets)
    return _with_examples(file, sheets, duiding.examples(inbox, folder, last=last, seed=1))


def _with_examples(file: Path, sheets: Mapping[str, list[dict[str, Any]]], examples: Simulated) -> Simulated:
    """The register with the example series and interpretations."""
    rows = sum(map(len, sheets.values())) + examples.rows
    return Simulated((file, *examples.files), examples.truth, rows)


def write_register(path: Path, sheets: Mapping[str, list[dict[str, Any]]]) -> Path:
    """Fill the template as a person would; a column that a row lacks stays empty."""
    from koploper_pipelines.assets.koploperdeals import register_template
    from koploper_pipelines.methods.koploperdeals.schema import BY_NAME

    book = register_template.blank()
    for name, rows in sheets.items():
        fields = BY_NAME[name].fields
        sheet = book[name]
        for number, row in enumerate(rows, start=2):
            for column, field in enumerate(fields, start=1):
                if row.get(field.name) is not None:
                    cell = sheet.cell(number, column, row[field.name])
                    cell.number_format = register_template.FORMATS.get(field.kind, "@")
    path.parent.mkdir(parents=True, exist_ok=True)
    # Under another name first: what is half written must not be taken for a register.
    scratch = path.with_suffix(".xlsx.part")
    book.save(scratch)
    return scratch.rename(path)


def _course(number: int, last_day: date, days: int, seed: int) -> Any:
    """Every phase of every deal: begin and end counted from the register's last day, and how it ended."""
    import numpy as np
    import pandas as pd

    from koploper_pipelines.methods.koploperdeals.schema import PHASES

    random = np.random.default_rng(seed)
    begin = random.integers(-days, 1, number)
    alive = np.ones(number, bool)
    parts = []
    for place, phase in enumerate(PHASES):
        rate = MOVE_PER_DAY + STOP_PER_DAY
        end = begin + 1 + np.floor(random.exponential(1 / rate, number)).astype(int)
        moves = random.random(number) < MOVE_PER_DAY / rate
        how = np.where(moves, "afgerond" if place == len(PHASES) - 1 else "volgende_fase", "gestopt")
        deals = np.array([f"D{n + 1}" for n in range(number)])
        parts.append(
            pd.DataFrame({"deal": deals, "fase": phase, "begin": begin, "eind": end, "uitgang": how})[alive]
        )
        alive &= moves
        begin = end
    return pd.concat(parts, ignore_index=True)


def _register(course: Any, last_day: date) -> dict[str, list[dict[str, Any]]]:
    """What a register kept up to the last day says of the course."""
    known = course[course["begin"] <= 0]
    phases = [
        {
            "deal": r.deal,
            "fase": r.fase,
            "begonnen_op": last_day + timedelta(days=int(r.begin)),
            **({"geeindigd_op": last_day + timedelta(days=int(r.eind))} if r.eind <= 0 else {}),
            "uitgang": r.uitgang if r.eind <= 0 else "loopt",
        }
        for r in known.itertuples()
    ]
    deals = []
    for deal, own in known.groupby("deal", sort=False):
        start, last = last_day + timedelta(days=int(own["begin"].min())), own.iloc[-1]
        ended = last["eind"] <= 0 and last["uitgang"] in ("gestopt", "afgerond")
        deals.append(
            {
                "deal": deal,
                "naam": f"gesimuleerde deal {deal}",
                "instrument": "koploperdeal",
                "tranche": f"T{start.year}",
                "vraageigenaar": "gesimuleerd team",
                "doel": "1.1",
                "gestart_op": start,
                **({"geeindigd_op": last_day + timedelta(days=int(last["eind"]))} if ended else {}),
                "uitkomst": ("gestopt" if last["uitgang"] == "gestopt" else "opgeschaald")
                if ended
                else "loopt",
                "is_voorbeeld": "ja",
            }
        )
    years = sorted({d["gestart_op"].year for d in deals})
    nodes = [("1", "programma", None), ("1.1", "beleidsdoel", "1")]
    return {
        "register": [{"peildatum": last_day, "organisatie": "simulatie"}],
        "doelenboom": [
            {
                "code": c,
                "niveau": n,
                "naam": f"gesimuleerd {n}",
                "hoort_bij": above,
                "geldig_van": years[0],
                "is_voorbeeld": "ja",
            }
            for c, n, above in nodes
        ],
        "uitvoeringsplan": [
            {
                "jaar": y,
                "tranche": f"T{y}",
                "afgesproken_deals": len(deals) // len(years),
                "is_voorbeeld": "ja",
            }
            for y in years
        ],
        "deals": deals,
        "fasen": phases,
    }
