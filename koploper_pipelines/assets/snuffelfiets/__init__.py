"""Snuffelfiets (Fietsend Meetnet): bicycles that measure the air, from raw rows to published figures.

Here belongs what is particular to this experiment: its tables, and the choices that could have been made
otherwise. The rules themselves are in `methods/snuffelfiets/`.
"""

from typing import Literal

from pydantic import SecretStr
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


class SnuffelfietsSources(ExperimentSettings):
    """Where the experiment's data come from, as `KOPLOPER_SNUFFELFIETS_*`; a source without address is off.

    Apart from the choices, since where rows come from changes nothing about the tables made of them.
    """

    model_config = SettingsConfigDict(frozen=True, env_prefix="KOPLOPER_SNUFFELFIETS_")

    ckan_url: str | None = None
    """Address of the CKAN site, as https://ckan-dataplatform-nl.dataplatform.nl."""
    ckan_tabel: str = "provincie_utrecht_snuffelfiets_measurement_rydruofi"
    """Name or id of the DataStore resource."""
    ckan_sleutel: SecretStr | None = None
    """API key; only ever from the environment, never in a file, a log or a stamp."""
    luchtmeetnet_url: str | None = None
    """Address of the API, as https://api.luchtmeetnet.nl/open_api."""
    knmi_url: str | None = None
    """Address of the service, as https://www.daggegevens.knmi.nl/klimatologie/uurgegevens."""
    pdok_url: str | None = None
    """Address of the OGC API, as https://api.pdok.nl/cbs/gebiedsindelingen/ogc/v1."""
    eerste_dagen: int = 30
    """Days back of the first reference and weather hours asked for; after that, all since the last."""
    bron_pogingen: int = 5
    """Attempts at one answer of a source."""
    bron_wacht_s: float = 1.0
    """First wait between two attempts; doubled each time, with as much again at random."""
    bron_tijd_s: float = 60.0
    """Longest that one answer may take."""
