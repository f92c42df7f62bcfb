"""Raw data in the sources' own formats, with the truth kept beside it.

Here belongs what makes up an experiment's raw input: files that a source could have delivered, with the
faults that the source's real data have, and next to them (never among them) the truth that the faults hide,
so that a method can be judged against what really happened.

Here does not belong: anything that reads, cleans or judges data, anything that the pipelines need in
production, and invented formats; each simulated file has the header and the notation of a real one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class Simulated:
    """What a simulation wrote."""

    files: tuple[Path, ...]
    """Raw files, in the order in which a source delivered them."""
    truth: Path
    """Folder of the truth behind them."""
    rows: int
    """Raw rows in the files."""
    beside: tuple[Path, ...] = ()
    """Files of other sources that the experiment's own are compared with, in folders of the inbox."""


class Simulator(Protocol):
    """What a module here offers the command line; its name is the experiment's."""

    def simulate(
        self,
        inbox: Path,
        truth: Path,
        *,
        last_day: date,
        days: int,
        participants: int | None,
        rows: int | None,
        seed: int,
    ) -> Simulated:
        """Write raw files to `inbox` and the truth to `truth`; ValueError for what cannot be simulated.

        `participants` are devices, players or citizens, None for the experiment's own number; `rows` is the
        number of raw rows to aim at, None for what so many participants make by themselves.
        """

    def demo(self, inbox: Path, folder: Path, *, first: date, last: date, now: datetime) -> Simulated:
        """Write what the demo shows: two closed months and an open one, as far as it is received `now`.

        The truth goes below `folder`, which is the simulation's own.
        """
