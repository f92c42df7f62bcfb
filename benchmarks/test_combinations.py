"""The level of PM2.5 under 24 combinations of choices, against the same figure under one of them.

Ratios within one run, since machines differ; `pytest -s` shows them. The plain run makes the figure once by
the same methods, with the passages that the chain has: what is left of the 24 is what combinations do not
share.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, date, datetime
from itertools import product
from pathlib import Path

import pytest

from koploper_pipelines.assets.snuffelfiets import SnuffelfietsSettings
from koploper_pipelines.assets.snuffelfiets import varianten as variants
from koploper_pipelines.build import build_platform
from koploper_pipelines.gates.step import Platform, RunStep, run_table
from koploper_pipelines.methods.gevoeligheid import Combination
from koploper_pipelines.settings import Settings
from koploper_pipelines.simulation.snuffelfiets import simulate

LIMIT = 3.0
MONTH = "2026-10"
NEEDED = (
    *(f"snuffelfiets/raw/{t}" for t in ("metingen", "referentie", "weer")),
    *(f"snuffelfiets/cleaned/{t}" for t in ("metingen", "referentie", "weer", "ritten")),
    "snuffelfiets/indicators/passages",
)


def _ratio(home: Path, rows: int) -> float:
    """Seconds of 24 combinations over those of one, the best of three of each."""
    settings = Settings(home=home, now=datetime(2026, 11, 20, 3, tzinfo=UTC))
    inbox = settings.inbox / "snuffelfiets"
    simulate(inbox, home / "w", last_day=date(2026, 10, 31), days=31, participants=60, seed=1, rows=rows)
    platform = build_platform(settings)
    for table in NEEDED:
        assert run_table(platform, platform.tables[table], run_id="meting").passed
    choices = {c.name: c for c in variants.choices(SnuffelfietsSettings())}
    usual = {name: choice.default for name, choice in choices.items()}
    varied = ("rit_pauze", "nul_pm", "ijking")
    asked = [
        usual | dict(zip(varied, levels, strict=True))
        for levels in product(*(choices[name].levels for name in varied))
    ]
    assert len(asked) == 24
    one, all_ = (min(_seconds(platform, a) for _ in range(3)) for a in ([usual], asked))
    print(f"{rows} rows: one {one:.2f} s, 24 combinations {all_:.2f} s, {all_ / one:.2f} times")
    return all_ / one


def _seconds(platform: Platform, asked: Sequence[Combination]) -> float:
    choice = SnuffelfietsSettings()
    with closing(RunStep(platform, platform.plan(), platform.tables[variants.VARIANTS], [MONTH])) as step:
        start = time.process_time()
        rows = variants.figures(step, choice, MONTH, variants.choices(choice), asked)
        assert rows["waarde"].notna().any() and len(rows) == len(asked)
        return time.process_time() - start


@pytest.mark.filterwarnings("ignore")
def test_24_combinations_take_at_most_three_times_one(tmp_path: Path) -> None:
    assert _ratio(tmp_path, 100_000) <= LIMIT * 1.2


@pytest.mark.full
@pytest.mark.filterwarnings("ignore")
def test_24_combinations_of_a_large_month(tmp_path: Path) -> None:
    assert _ratio(tmp_path, 400_000) <= LIMIT
