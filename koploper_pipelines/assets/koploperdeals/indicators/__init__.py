"""Indicators: what the portfolio's records add up to.

Here belong the calls and the shape of the tables: counts over the doelenboom (`verantwoording.py`), phases
and their lead times (`trechter.py`), and how deals were chosen (`selectie.py`). What may be shown is decided
in `published/`.
"""
