"""Assembly: the only place where assets, gates, jobs, schedules, sensors and resources meet.

Here belongs finding the experiments and putting the code location together, with overrides for tests.
Avoid putting implementations here.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping

import dagster as dg

from koploper_pipelines import assets
from koploper_pipelines.assets.publicatie.release import release_assets
from koploper_pipelines.automation.jobs import build_jobs, build_night_sensor, build_schedule
from koploper_pipelines.gates.asset import to_asset
from koploper_pipelines.gates.plan import in_order
from koploper_pipelines.gates.step import Platform
from koploper_pipelines.gates.table import GatedTable, SameTotal
from koploper_pipelines.settings import Settings


def find_tables() -> dict[str, GatedTable]:
    """All gated tables below `assets/`, by path, each after its inputs."""
    return {
        t.path: t for t in in_order({v.path: v for v in _declared() if isinstance(v, GatedTable)}.values())
    }


def _declared() -> Iterator[object]:
    for module in pkgutil.walk_packages(assets.__path__, f"{assets.__name__}."):
        yield from vars(importlib.import_module(module.name)).values()


def build_platform(
    settings: Settings | None = None, tables: Mapping[str, GatedTable] | None = None
) -> Platform:
    """One installation; `tables` replaces the ones found, for tests."""
    totals = tuple(v for v in _declared() if isinstance(v, SameTotal))
    return Platform(settings or Settings(), find_tables() if tables is None else tables, totals)


def build_definitions(platform: Platform | None = None) -> dg.Definitions:
    """The code location of an installation."""
    platform = platform or build_platform()
    jobs = build_jobs(platform)
    return dg.Definitions(
        assets=[*(to_asset(t) for t in platform.tables.values()), *release_assets(platform.tables.values())],
        jobs=jobs,
        schedules=[build_schedule()],
        sensors=[build_night_sensor(platform, jobs)],
        resources={"platform": platform},
        executor=dg.in_process_executor,
    )
