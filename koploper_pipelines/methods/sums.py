"""Sums that do not depend on the order of the rows.

Here belongs the SQL of such a sum; what is summed is said where it is.
"""

from __future__ import annotations


def fixed_point_sum(expression: str, which: str = "") -> str:
    """SQL of the sum of a number of at most six decimals, as DOUBLE; `which` is a FILTER.

    Sums of floating point numbers depend on the order in which threads finish. NULL when there is no row.
    """
    return f"CAST(sum(CAST({expression} AS DECIMAL(18, 6))) {which} AS DOUBLE)"
