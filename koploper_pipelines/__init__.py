"""Dagster data platform for the front-runner experiments of a Dutch province.

Raw experiment data becomes cleaned datasets, indicators, evaluation tables and published tables,
with a data-quality gate on every step. Start reading at `build.py`.
"""
