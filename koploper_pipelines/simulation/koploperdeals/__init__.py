"""Koploperdeals: example series and interpretations of a portfolio that does not exist.

Here belongs what the demo and `koploper simulate` write; the worlds are in the modules beside this one.
"""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path

from koploper_pipelines.simulation import Simulated
from koploper_pipelines.simulation.koploperdeals import duiding


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
    """Write the examples; their size is fixed, so ValueError when another is asked for."""
    if participants is not None or rows is not None:
        raise ValueError("the examples have a fixed number of areas and months")
    return duiding.examples(inbox, truth, last=last_day, seed=seed)


def demo(inbox: Path, folder: Path, *, first: date, last: date, now: datetime) -> Simulated:
    """Write the examples for the demo."""
    return duiding.examples(inbox, folder, last=last, seed=1)
