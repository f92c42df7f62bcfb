"""The code location that Dagster loads; see `build.py`."""

from koploper_pipelines.build import build_definitions

defs = build_definitions()
