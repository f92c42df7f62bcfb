"""Cleaned: usable measurements with units and local days, the rides they make, reference hours and weather.

Here belong the calls; the rules are in `methods/snuffelfiets/cleaning.py`, `rides.py` and `reference.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from koploper_pipelines.assets.snuffelfiets import SnuffelfietsSettings
from koploper_pipelines.gates.staging import Offered
from koploper_pipelines.gates.table import Reads, Step, gated_table
from koploper_pipelines.relations import as_codes, count, value

if TYPE_CHECKING:
    import duckdb

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
    coded = as_codes(step.con, raw, "bestand", "apparaat")
    cleaning.judge(step.con, coded, rules).create("judged")
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
    coded = as_codes(step.con, measurements, "apparaat")
    made = rides.rides(step.con, coded, ride_rules(step.settings(SnuffelfietsSettings)))
    return Offered(
        made.project("* REPLACE (apparaat::VARCHAR AS apparaat)"),
        controls={"metingen_in_invoer": count(measurements)},
    )


@gated_table(
    "snuffelfiets/cleaned/referentie",
    # Spills only what has no day: the landing gives each row the local day of its hour.
    reads=[Reads("snuffelfiets/raw/referentie", spills=True)],
)
def referentie(step: Step) -> Offered:
    """Every raw hour of a station on the days in hand, kept or set aside with one reason."""
    from koploper_pipelines.methods.snuffelfiets import reference

    raw = step.read("snuffelfiets/raw/referentie")
    reference.judge_reference(step.con, raw).create("judged")
    judged = step.con.table("judged")
    # Counted apart: of each hour, whether what was delivered last is a number.
    hour = reference.reference_hour_sql("begindatumtijd", "einddatumtijd")
    last = _competing(raw, judged, "bestand, rij, station").aggregate(
        f"arg_max(coalesce(waarde, ''), levering * 1000000 + rij) AS waarde, station, {hour} AS uur",
        f"station, {hour}",
    )
    return Offered(
        judged.filter("reden IS NULL").project(", ".join(reference.REFERENCE_COLUMNS)),
        rejected=judged.filter("reden IS NOT NULL"),
        rows_in=count(raw),
        controls={"uren_met_waarde": count(last.filter("waarde <> ''"))},
        notes=_reach(judged),
    )


@gated_table("snuffelfiets/cleaned/weer", reads=[Reads("snuffelfiets/raw/weer", spills=True)])
def weer(step: Step) -> Offered:
    """Every raw hour of the weather on the days in hand, kept or set aside with one reason."""
    from koploper_pipelines.methods.snuffelfiets import reference

    raw = step.read("snuffelfiets/raw/weer")
    reference.judge_weather(step.con, raw).create("judged")
    judged = step.con.table("judged")
    hours = _competing(raw, judged, "bestand, rij").project("stn, yyyymmdd, hh::INTEGER").distinct()
    return Offered(
        judged.filter("reden IS NULL").project(", ".join(reference.WEATHER_COLUMNS)),
        rejected=judged.filter("reden IS NOT NULL"),
        rows_in=count(raw),
        controls={"leesbare_uren": count(hours)},
        notes=_reach(judged),
    )


@gated_table("snuffelfiets/cleaned/wegtypen", reads=[Reads("snuffelfiets/raw/wegtypen")])
def wegtypen(step: Step) -> Offered:
    """The cells of the last list of road types; every other row set aside with one reason."""
    from koploper_pipelines.methods.snuffelfiets import roads

    raw = step.read("snuffelfiets/raw/wegtypen")
    roads.judge(step.con, raw).create("judged")
    judged = step.con.table("judged")
    last = raw.filter("levering = (SELECT max(levering) FROM judged)")
    readable = last.filter(roads.READABLE_SQL).project("trim(cel_100m)").distinct()
    return Offered(
        judged.filter("reden IS NULL").project("cel_100m, wegtype, bron"),
        rejected=judged.filter("reden IS NOT NULL"),
        rows_in=count(raw),
        controls={"leesbare_cellen": count(readable)},
    )


def _reach(judged: duckdb.DuckDBPyRelation) -> dict[str, str]:
    """Until when the hours of the run reach, for the stamp and the UI."""
    last = value(judged.filter("reden IS NULL").aggregate("max(uur_op)"))
    return {"laatste_uur": last.isoformat()} if last is not None else {}


def _competing(
    raw: duckdb.DuckDBPyRelation, judged: duckdb.DuckDBPyRelation, key: str
) -> duckdb.DuckDBPyRelation:
    """The raw rows that can be read, of which the last delivered one counts for its hour."""
    readable = judged.filter("reden IS NULL OR reden IN ('vervangen', 'geen_waarde')")
    return raw.join(readable.project(key), key.replace(" ", ""), how="semi")
