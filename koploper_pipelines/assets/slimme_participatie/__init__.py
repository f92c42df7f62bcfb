"""Slimme Participatie: from citizens' votes and words to what people agree on.

Here belongs what is particular to this experiment: its tables, and the choices that could have been made
otherwise. The rules themselves are in `methods/slimme_participatie/`.
"""

from typing import Literal

from pydantic_settings import SettingsConfigDict

from koploper_pipelines.settings import ExperimentSettings


class ParticipatieSettings(ExperimentSettings):
    """The experiment's choices, as `KOPLOPER_SLIMME_PARTICIPATIE_*`; reasons: docs/slimme_participatie.md."""

    model_config = SettingsConfigDict(frozen=True, env_prefix="KOPLOPER_SLIMME_PARTICIPATIE_")

    min_stemmen: int = 7
    """Votes of a participant who is placed in a group; all statements where there are fewer."""
    max_groepen: int = 5
    """Largest number of groups that is tried."""
    min_stabiliteit: float = 0.6
    """Least stability under resampling of groups that are published."""
    nulmodellen: int = 39
    """Simulations of each world without groups."""
    toeval: int = 20240501
    """Seed of all random numbers."""
    min_deelnemers: int = 10
    """Participants behind a figure crossed with group or demography."""
    max_aandeel: float = 0.30
    """Largest share of one participant in a figure about people."""
    indeler: Literal["tekens", "betekenis"] = "tekens"
    """Themes by character n-grams, or by the embedding of the optional extra `themas`."""
    marge_thema: float = 0.10
    """Lead in probability below which a text stays undecided."""
    steekproef: int = 250
    """Texts of a conversation that are drawn to be checked by people."""
