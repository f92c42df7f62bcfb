"""Large simulated crowds as codes, and the independent implementations that are asked about them.

Run as a script it fits Dawid-Skene on so many judgements in a process of its own and prints, as JSON, the
seconds and iterations to the default tolerance, the seconds of five iterations, and the peak memory.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from koploper_pipelines.methods.taggen_en_gamen.consensus import EmRules, Judgements, dawid_skene, winners

ROOT = Path(__file__).resolve().parents[1]
ORACLE = ROOT / "build" / "venv-oracle" / "bin" / "python"


def crowd(judgements: int, seed: int = 1) -> tuple[Judgements, np.ndarray]:
    """Six classes, five judgements an item, players of unequal zeal; and the truth."""
    rng = np.random.default_rng(seed)
    items, players = judgements // 5, 3000
    truth = rng.integers(0, 6, items, dtype=np.int8)
    skill = rng.beta(7, 2, players)
    item = np.repeat(np.arange(items, dtype=np.int32), 5)
    # Each item by players who differ, or it would be no five judgements.
    zeal = np.minimum((rng.pareto(1.2, len(item)) * 60).astype(np.int32), players // 5 - 1)
    player = zeal * 5 + np.tile(np.arange(5, dtype=np.int32), items)
    right = rng.random(len(item), dtype=np.float32) < skill[player]
    other = rng.integers(0, 6, len(item), dtype=np.int8)
    label = np.where(right, truth[item], other)
    return Judgements(item, player, label, items, players, 6), truth


def ask(task: str, file: Path, *names: str) -> dict[str, Any]:
    """What the oracle says; a failure when its environment is not there."""
    if not ORACLE.is_file():
        pytest.fail(f"no {ORACLE.relative_to(ROOT)}: `make oracle` and `make bench-full` set it up")
    script = str(Path(__file__).with_name("oracle.py"))
    # Its own packages alone.
    env = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    done = subprocess.run(
        [str(ORACLE), script, task, str(file), *names], capture_output=True, text=True, env=env, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    said: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return said


def in_a_process_of_its_own(judgements: int) -> dict[str, float]:
    """What this module says of Dawid-Skene on so many judgements when it is run as a script."""
    done = subprocess.run(
        [sys.executable, __file__, str(judgements)], capture_output=True, text=True, check=True, cwd=ROOT
    )
    said: dict[str, float] = json.loads(done.stdout)
    return said


if __name__ == "__main__":
    given, real = crowd(int(sys.argv[1]))
    start = time.perf_counter()
    found = dawid_skene(given)
    seconds = time.perf_counter() - start
    start = time.perf_counter()
    dawid_skene(given, EmRules(tolerance=-np.inf, max_iterations=5))
    five = time.perf_counter() - start
    print(
        json.dumps(
            {
                "seconds": seconds,
                "seconds_of_five": five,
                "iterations": found.iterations,
                "right": float((winners(found.probability)[0] == real).mean()),
                "gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
            }
        )
    )
