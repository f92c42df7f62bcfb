"""Time from a file in the inbox to passages, all gates on, against plain pandas reading and cleaning.

Ratios within one run, since machines differ; `pytest -s` shows them. The limits are wide: they catch a step
that became quadratic or stages a table row by row, not a few percent.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pandas as pd
import pytest

from koploper_pipelines.build import build_platform
from koploper_pipelines.gates.step import run_table
from koploper_pipelines.settings import Settings
from koploper_pipelines.simulation.snuffelfiets import simulate

CHAIN = (
    "snuffelfiets/raw/metingen",
    "snuffelfiets/cleaned/metingen",
    "snuffelfiets/cleaned/ritten",
    "snuffelfiets/indicators/passages",
)


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _plain_pandas(file: Path) -> pd.DataFrame:
    """What a script would do: read, scale by firmware, drop errors and missing fixes, split by pauses."""
    rows = pd.read_csv(file, parse_dates=["recording_timestamp"], date_format="ISO8601")
    scale = rows["version_major"].ge(2).map({True: 100.0, False: 1.0})
    rows["pm25"] = rows["pm2_5"] / scale
    critical = rows["error_code"] & (1 | 4 | 8 | 16 | 512 | 1024 | 2048 | 4096)
    kept = rows[(critical == 0) & (rows["latitude"] != 0) & rows["pm25"].between(0, 150)]
    kept = kept.sort_values(["entity_id", "recording_timestamp"]).drop_duplicates(
        ["entity_id", "recording_timestamp"]
    )
    pause = kept.groupby("entity_id")["recording_timestamp"].diff().dt.total_seconds()
    return kept.assign(rit=pause.gt(600).groupby(kept["entity_id"]).cumsum())


def _measure(tmp_path: Path, rows: int, days: int) -> tuple[float, float]:
    settings = Settings(home=tmp_path / "home")
    made = simulate(
        settings.inbox / "snuffelfiets",
        tmp_path / "waarheid",
        last_day=date(2026, 9, 30),
        days=days,
        participants=60,
        seed=1,
        rows=rows,
        files_per="alles",
    )
    # Starting Great Expectations is no work on rows.
    import great_expectations  # noqa: F401

    plain = _seconds(lambda: _plain_pandas(made.files[0]))
    platform = build_platform(settings)
    chain = _seconds(lambda: [run_table(platform, platform.tables[t], run_id="bench") for t in CHAIN])
    assert platform.lake.rows(CHAIN[0], platform.lake.head(CHAIN[0]).version) == made.rows
    told = f"plain pandas {plain:.2f} s, chain with gates {chain:.2f} s, ratio {chain / plain:.1f}"
    print(f"\n{made.rows} rows: {told}")
    return plain, chain


def test_small_chain_against_plain_pandas(tmp_path: Path) -> None:
    plain, chain = _measure(tmp_path, rows=50_000, days=10)
    # On few rows the fixed costs of the gates weigh most.
    assert chain <= 60 * plain


@pytest.mark.full
def test_chain_against_plain_pandas(tmp_path: Path) -> None:
    plain, chain = _measure(tmp_path, rows=1_000_000, days=61)
    assert chain <= 8 * plain
