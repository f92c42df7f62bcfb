"""The device: what differs by firmware, how often it fails and how, as measured on the real exports."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from koploper_pipelines.simulation.snuffelfiets.arrays import Floats

FIRMWARE = ((2, 3), (1, 5), (2, 3), (1, 6), (2, 3), (1, 8), (2, 3), (2, 3), (2, 3), (2, 3))
PACKET_ROWS = 11
TAIL_S = 600.0  # sampling goes on after the last motion
MAX_TAIL_S = 3600.0
SEARCH_S = (132.0, 135.0)  # between rows without a position
FORGET_AFTER_S = 7 * 86_400.0
RESYNC_S = 25.0
# Of the rides, such that 5% of all packets hold a row without a position.
COLD_START_SHARE = 0.20
INDOOR_SHARE = 0.36
# Of the rows: gaps of 15-20 and of 20-70 seconds.
SHORT_PAUSE_SHARE = 0.011
LONG_PAUSE_SHARE = 0.018
# Of the packets: missing (a gap of twelve intervals), late, and received as two.
LOST_PACKET_SHARE = 0.015
SLOW_PACKET_SHARE = 0.07
SPLIT_PACKET_SHARE = 0.034
WEAK_FIX_PACKET_SHARE = 0.006
PM_READ_FAILURE_SHARE = 0.145  # of the packets of firmware 1.5 and 1.6, which makes 3.5% of all
DUPLICATE_SHARE = 2e-4
WRONG_CLOCK_SHARE = 5e-5
ZERO_BLOCK_ROWS = 45
MAX_HACC_MM = 98_641.0

NO_FIX_BIT = 32
PM_READ_BIT = 2048
# Error code of a packet with missing parts, its share of all packets, and the fault's name.
MISSING_PARTS = (
    (533, 0.0030, "sensoren_ontbreken"),
    (512, 0.0010, "pm_ontbreekt"),
    (1, 0.0002, "versnellingsmeter_ontbreekt"),
    (4, 0.0002, "bme_ontbreekt"),
    (8, 0.0002, "bme_leesfout"),
    (16, 0.0002, "gps_ontbreekt"),
    (4096, 0.0002, "pm_onzeker"),
)
FAULTS = (
    *(name for _, _, name in MISSING_PARTS),
    "geen_fix",
    "zwakke_fix",
    "pm_leesfout",
    "pm_nul",
    "klok_1970",
    "klok_2106",
    "dubbel",
)
FAULT_BIT = {name: 1 << i for i, name in enumerate(FAULTS)}


@dataclass(frozen=True)
class Firmware:
    """What differs by firmware: sampling interval (s), zero runs, ratios and units of PM."""

    interval_s: tuple[float, float]  # mean and spread
    zero_share: float
    pm1_ratio: float
    pm10_ratio: float
    pm_scale: float


DEVICE_TYPES = {
    (1, 5): Firmware((13.5, 0.25), 0.39, 0.885, 1.07, 1.0),
    (1, 6): Firmware((13.5, 0.25), 0.01, 0.885, 1.07, 1.0),
    (1, 8): Firmware((11.9, 0.15), 0.08, 0.79, 1.26, 1.0),
    (2, 3): Firmware((11.5, 0.25), 0.025, 0.875, 1.133, 100.0),
}


def by_device(fleet: pd.DataFrame, field: str) -> Floats:
    """A field of the firmware's `_Firmware`, one row a device."""
    versions = zip(fleet["versie_major"], fleet["versie_minor"], strict=True)
    return np.array([getattr(DEVICE_TYPES[version], field) for version in versions], dtype=np.float64)
