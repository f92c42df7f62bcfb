"""Cleaned: what was delivered, readable and without doubles."""
