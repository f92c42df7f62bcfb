"""Cleaned: usable measurements with units and local days, and the rides they make.

Here belong the calls; the rules are in `methods/snuffelfiets/cleaning.py` and `rides.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from koploper_pipelines.assets.snuffelfiets import SnuffelfietsSettings
from koploper_pipelines.gates.staging import Offered
from koploper_pipelines.gates.table import Reads, Step, gated_table
from koploper_pipelines.relations import count

if TYPE_CHECKING:
    from koploper_pipelines.methods.snuffelfiets.rides import RideRules


@gated_table(
    "snuffelfiets/cleaned/metingen",
    # The device clock may be in another zone, and a failure before midnight warms up after it.
    reads=[Reads("snuffelfiets/raw/metingen", before=1, after=1, spills=True)],
    settings=SnuffelfietsSettings,
)
def metingen(step: Step) -> Offered:
    """Every raw row of the days in hand, kept or set aside with one reason."""
    from koploper_pipelines.methods.snuffelfiets import cleaning

    choice: SnuffelfietsSettings = step.settings(SnuffelfietsSettings)
    rules = cleaning.CleaningRules(
        device_time_zone=choice.apparaat_tijdzone,
        warm_up_measurements=choice.opwarmen_metingen,
        zero_pm_rule=choice.nul_pm,
        pm25_cap_ug_m3=choice.pm25_maximum_ug_m3,
    )
    raw = step.read("snuffelfiets/raw/metingen")
    cleaning.judge(step.con, raw, rules).create("judged")
    judged = step.con.table("judged")
    # Counted apart from the split in kept and rejected: the raw rows less those of days not in hand.
    days = ", ".join(f"'{p}'" for p in step.partitions)
    elsewhere = f"coalesce(meetdag::VARCHAR, 'onbekend') NOT IN ({days})"
    received = count(raw) - count(judged.filter(elsewhere))
    return Offered(
        cleaning.kept(judged),
        rejected=cleaning.rejected(judged),
        rows_in=received,
        controls={"rijen_voor_de_helft": received // 2},
    )


def ride_rules(choice: SnuffelfietsSettings) -> RideRules:
    """The rules for rides that follow from the experiment's choices."""
    from koploper_pipelines.methods.snuffelfiets import rides

    return rides.RideRules(max_gap_min=choice.rit_pauze_min)


@gated_table(
    "snuffelfiets/cleaned/ritten",
    # A ride starts on its day, after a measurement that may be of the day before, and may end the day after.
    reads=[Reads("snuffelfiets/cleaned/metingen", before=1, after=1)],
    settings=SnuffelfietsSettings,
)
def ritten(step: Step) -> Offered:
    """The rides that start on the days in hand."""
    from koploper_pipelines.methods.snuffelfiets import rides

    measurements = step.read("snuffelfiets/cleaned/metingen")
    made = rides.rides(step.con, measurements, ride_rules(step.settings(SnuffelfietsSettings)))
    return Offered(made, controls={"metingen_in_invoer": count(measurements)})
