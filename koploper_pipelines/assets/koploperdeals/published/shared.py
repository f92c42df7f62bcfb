"""What the published tables of the portfolio share: the status beside a figure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

DEFINITIVE, NOT_AVAILABLE = "definitief", "niet_beschikbaar"
NOT_APPLICABLE, SUPPRESSED = "niet_van_toepassing", "onderdrukt"


def with_status(rows: pd.DataFrame, figures: Mapping[str, str]) -> pd.DataFrame:
    """A status beside each figure: `definitief` where it is there, else what it is."""
    for figure, otherwise in figures.items():
        rows[f"{figure}_status"] = rows[figure].notna().map({True: DEFINITIVE, False: otherwise})
    return rows
