"""The register of deals as policy officers would keep it, and deals of which the true course is known.

Belongs here: the demo's register, filled from the public budget texts (`budget.py`), and registers of
simulated deals.
"""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path

from koploper_pipelines.simulation import Simulated


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
    """Write nothing yet."""
    return Simulated((), truth, 0)


def demo(inbox: Path, folder: Path, *, first: date, last: date, now: datetime) -> Simulated:
    """Write nothing yet."""
    return Simulated((), folder, 0)
