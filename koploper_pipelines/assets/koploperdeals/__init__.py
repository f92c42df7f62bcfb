"""Koploperdeals: the portfolio of deals itself, from the register that people keep to the account given.

Here belongs what is particular to the portfolio: its tables, and the choices that could have been made
otherwise. The rules themselves are in `methods/koploperdeals/`.
"""

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from koploper_pipelines.settings import ExperimentSettings


class KoploperSettings(ExperimentSettings):
    """The portfolio's choices, as `KOPLOPER_KOPLOPERDEALS_*`; the reasons are in docs/koploperdeals.md."""

    model_config = SettingsConfigDict(frozen=True, env_prefix="KOPLOPER_KOPLOPERDEALS_")

    ondergrens_verschil_eur: float | None = Field(None, gt=0)
    """Differences from the budget below this count as green; off by default: the rule's text is cut off."""
    min_deals_voor_curve: int = Field(10, ge=2)
    """Deals in a phase from which lead times are shown as a curve; below it as a list."""
