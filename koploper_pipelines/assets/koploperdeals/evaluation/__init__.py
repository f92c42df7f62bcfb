"""Evaluation of the portfolio."""
