"""Reference lists that ship with the package; their sources and accuracy are in the README beside them."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

MUNICIPALITIES = "gemeenten_utrecht_2024.csv"
MUNICIPALITY_SQUARES = "gemeente_per_vierkant_500m_utrecht_2024.csv"
MUNICIPALITIES_VINTAGE = 2024


def municipalities() -> pd.DataFrame:
    """The 26 municipalities of the province of Utrecht and those around it: code and centre in RD metres."""
    import pandas as pd

    with resources.files(__name__).joinpath(MUNICIPALITIES).open("rb") as file:
        return pd.read_csv(file)


def municipality_squares() -> pd.DataFrame:
    """The municipality of each CBS square of 500 m in and next to the province: right for 96% of its area."""
    import pandas as pd

    with resources.files(__name__).joinpath(MUNICIPALITY_SQUARES).open("rb") as file:
        return pd.read_csv(file)
