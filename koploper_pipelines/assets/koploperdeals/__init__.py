"""Koploperdeals: the portfolio of deals itself, and what is said, doubted and claimed of their figures.

Here belongs what is particular to the portfolio: its tables. The rules themselves are in
`methods/koploperdeals/`.
"""
