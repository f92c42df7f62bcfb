"""Snuffelfiets (Fietsend Meetnet): bicycles that measure the air, from raw rows to published figures.

Here belongs what is particular to this experiment: its tables, and the choices that could have been made
otherwise. The rules themselves are in `methods/snuffelfiets/`.
"""

from typing import Literal

from pydantic_settings import SettingsConfigDict

from koploper_pipelines.settings import ExperimentSettings


class SnuffelfietsSettings(ExperimentSettings):
    """The experiment's choices, as `KOPLOPER_SNUFFELFIETS_*`; the reasons are in docs/snuffelfiets.md."""

    model_config = SettingsConfigDict(frozen=True, env_prefix="KOPLOPER_SNUFFELFIETS_")

    apparaat_tijdzone: str = "UTC"
    """Zone of the device clock: the firmware writes GPS time."""
    opwarmen_metingen: int = 5
    """Measurements after a PM read failure that do not count yet."""
    nul_pm: Literal["een", "laten", "weglaten"] = "een"
    """A zero of firmware 1.x is below detection: becomes 1 µg/m³ (RIVM's rule), stays 0, or is set aside."""
    pm25_maximum_ug_m3: float = 150.0
    """Above this a measurement is not believed."""
    rit_pauze_min: float = 10.0
    """A longer pause between riding stretches starts another ride."""
    ijking_straal_achtergrond_m: float = 1000.0
    """Within this distance of a background station a device in a quiet street is compared with it."""
    ijking_straal_verkeer_m: float = 200.0
    """The same for a station beside a road, and busy cells."""
    ijking_min_uren: int = 3
    """Hours near a station in a month before a device counts as calibrated."""
    ijking_foutverhouding: float = 1.0
    """Variance of the sensors' error over that of the stations', for the errors-in-variables slope."""
    min_apparaten: int = 5
    """Devices behind every figure about people."""
    max_aandeel: float = 0.30
    """Largest share of one device in a figure about people."""
