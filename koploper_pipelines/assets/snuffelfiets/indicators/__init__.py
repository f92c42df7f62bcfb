"""Indicators: passages, and per month what follows from them and from the rides.

Here belong the calls and the shape of the tables: `passages.py`; what follows from passages about the air
(`air.py`), about stations and devices (`agreement.py`) and about the network (`network.py`); and what follows
from rides and counts (`rides.py`). These tables are internal: what may be shown is decided in `published/`.
"""

MEASUREMENTS = "snuffelfiets/cleaned/metingen"
RIDES = "snuffelfiets/cleaned/ritten"
REFERENCE = "snuffelfiets/cleaned/referentie"
WEATHER = "snuffelfiets/cleaned/weer"
ROADS = "snuffelfiets/cleaned/wegtypen"
PASSAGES = "snuffelfiets/indicators/passages"
PAIRS = "snuffelfiets/indicators/ijkparen"
PROVINCE = "PV26"
