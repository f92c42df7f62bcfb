"""Cleaned: the register as it stands now, a typed table for each part that figures are made of.

Here belong types and what takes the place of what: `register.py`. Figures are made in `indicators/`.
"""
