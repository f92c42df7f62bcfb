"""Seconds of a piece of work, for the ratios of this folder; what is measured stands in its own module.

By the clock only in the long benchmarks, which run alone; in processor seconds where other tests run beside.
"""

from __future__ import annotations

import time
from collections.abc import Callable


def seconds(work: Callable[[], object]) -> float:
    """Seconds by the clock."""
    return _between(time.perf_counter, work)


def processor_seconds(work: Callable[[], object]) -> float:
    """Seconds of processor of this process, all threads together."""
    return _between(time.process_time, work)


def _between(clock: Callable[[], float], work: Callable[[], object]) -> float:
    start = clock()
    work()
    return clock() - start
