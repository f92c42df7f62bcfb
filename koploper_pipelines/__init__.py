"""Dagster data platform for a Dutch province's front-runner experiments with data for policy.

Raw experiment data becomes cleaned datasets, indicators, evaluation tables and published tables,
with a data-quality gate on every step. Start reading at `build.py`.
"""
