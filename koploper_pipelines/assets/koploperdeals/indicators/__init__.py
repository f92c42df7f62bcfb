"""Indicators of the portfolio."""
