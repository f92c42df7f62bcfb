"""Evaluation: the portfolio against what was intended, and what was published against its own records.

Here belongs comparing: published figures with recomputed ones (`bevindingen.py`), and what each experiment
intended with what it reached (`bereikt.py`).
"""
