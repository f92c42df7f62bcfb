"""Taggen en Gamen: players who tag aerial photographs in a game, from exports to labels that can be trusted.

Here belongs what is particular to this experiment: its tables, and the choices that could have been made
otherwise. The rules themselves are in `methods/taggen_en_gamen/`.
"""

from typing import Literal

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from koploper_pipelines.settings import ExperimentSettings


class TaggenSettings(ExperimentSettings):
    """The experiment's choices, as `KOPLOPER_TAGGEN_EN_GAMEN_*`; reasons in docs/taggen_en_gamen.md."""

    model_config = SettingsConfigDict(frozen=True, env_prefix="KOPLOPER_TAGGEN_EN_GAMEN_")

    methode: Literal["dawid_skene", "een_munt", "meerderheid"] = "dawid_skene"
    """Method of the published labels, for questions with enough judgements."""
    goud_in_model: bool = False
    """Whether half of the calibration labels seed the error model (never the evaluation part)."""
    aanvaarden_vanaf: float = Field(0.90, ge=0.5, lt=1)
    """Calibrated confidence from which a label is accepted."""
    min_oordelen: int = Field(2, ge=1)
    """Fewest judgements to accept a label on."""
    max_oordelen: int = Field(10, ge=1)
    """From this many judgements on an undecided item goes to an expert."""
    doel_nauwkeurigheid: float = Field(0.90, ge=0, le=1)
    """What the labels should reach."""
    prijs_per_oordeel_eur: float | None = Field(None, ge=0)
    """Cost of one judgement; without it the cost is given in judgements alone."""
    min_duur_s: float = Field(1.0, ge=0)
    """A turn that took less was not looked at."""
    bereik_m: float = Field(150.0, gt=0)
    """Largest distance between neighbouring points of one place."""
    sessie_pauze_min: float = Field(30.0, gt=0)
    """A longer pause starts another session."""
    min_spelers: int = Field(5, ge=2)
    """Players behind every figure about people."""
    max_aandeel: float = Field(0.30, gt=0, le=1)
    """Largest share of one player in a figure about people."""
