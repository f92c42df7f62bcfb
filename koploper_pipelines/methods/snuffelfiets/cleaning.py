"""From raw rows of text to typed measurements, each with at most one reason not to use it.

Here belongs what makes a single measurement usable: reading it, its unit by firmware, its clock, its
error bits, its position and the plausibility of its values. What is learnt from the way between
measurements (riding, rides) belongs in `rides`; correction of the PM level belongs in neither.

Sources of the rules: the scaling and the meaning of the error bits come from the firmware
(SodaqMoja/Sodaq_Sniffer_Bike) and from `opschonen.py` of MilieuCentrumUtrecht/Snuffelfiets; the
substitution of zeros by 1 µg/m³ and the cap of 150 µg/m³ are those suggested by RIVM to users of these
data; the battery voltage is 3 + v/100 (the v/10 in circulation gives 12 to 15 V).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date
from typing import Literal, get_args
from zoneinfo import ZoneInfo

import duckdb

ZeroPmRule = Literal["een", "laten", "weglaten"]

ERROR_BITS_CRITICAL = 1 | 4 | 8 | 16 | 512 | 1024 | 4096
"""Accelerometer missing, BME missing, BME read, GPS missing, PM missing, PM start, PM uncertain."""
ERROR_BIT_NO_FIX = 32
ERROR_BIT_PM_READ = 2048
ERROR_BITS_DOCUMENTED = ERROR_BITS_CRITICAL | ERROR_BIT_NO_FIX | ERROR_BIT_PM_READ

UNKNOWN_DEVICE = "onbekend"
"""What stands in `apparaat` when a row names no device; such rows are not those of one device."""

LATITUDE_RANGE = (50.65, 53.66)
LONGITUDE_RANGE = (3.26, 7.33)
"""The European Netherlands (50.75 to 53.56 north, 3.36 to 7.23 east) with a margin of 0.1 degree."""

HUMIDITY_RANGE_PCT = (0.0, 100.0)
TEMPERATURE_RANGE_C = (-25.0, 60.0)
"""Wider than any air temperature measured in the Netherlands: the box stands in the sun."""
PRESSURE_RANGE_HPA = (900.0, 1100.0)
"""Dutch extremes are 954 and 1050 hPa; devices have offsets of some 40 hPa."""
PM10_MAX_UG_M3 = 1000.0
"""Upper end of the measuring range of the Sensirion SPS30."""

REASONS: dict[str, str] = {
    "onleesbare_waarde": "Een waarde ontbreekt, of is niet het getal of tijdstip dat er hoort te staan.",
    "onmogelijke_klok": "Opname of ontvangst ligt voor het begin van het meetnet of ver na de landing.",
    "klok_voor_ontvangst": "De opname ligt later dan de ontvangst, meer dan klokverschil kan verklaren.",
    "dubbel": "Van dit apparaat en dit opnametijdstip is al een andere rij gekozen.",
    "fout_kritiek": "Het apparaat meldt een kritieke fout van een van zijn sensoren of van de gps.",
    "fout_onbekend": "Het apparaat meldt een foutbit zonder gedocumenteerde betekenis.",
    "pm_leesfout": "Het apparaat kon de fijnstofsensor niet uitlezen.",
    "pm_opwarmen": "De fijnstofsensor herstelt nog van een leesfout.",
    "geen_positie": "Er is geen gps-positie.",
    "positie_onmogelijk": "De positie ligt buiten Nederland.",
    "positie_onnauwkeurig": "De gps-positie is te onnauwkeurig, of haar nauwkeurigheid is onbekend.",
    "pm_onder_detectie": "De fijnstofwaarde ligt onder wat het apparaat kan meten.",
    "pm_onwaarschijnlijk": "Een fijnstofwaarde is negatief of te hoog, of hoger dan een grovere fractie.",
    "waarde_buiten_bereik": "Luchtvochtigheid, temperatuur of luchtdruk kan in Nederland niet voorkomen.",
}
"""Every reason for rejection, in order of precedence, with its explanation."""

TYPED_COLUMNS = (
    "bron_id",
    "apparaat",
    "meetdag",
    "opgenomen_op",
    "ontvangen_op",
    "vertraging_s",
    "breedtegraad",
    "lengtegraad",
    "nauwkeurigheid_m",
    "pm1_ug_m3",
    "pm25_ug_m3",
    "pm10_ug_m3",
    "is_onder_detectie",
    "temperatuur_c",
    "luchtvochtigheid_pct",
    "luchtdruk_hpa",
    "batterijspanning_v",
    "voc_kohm",
    "acc_max",
    "foutcode",
    "firmware",
)

_INT32_MAX = 2**31 - 1
"""No field of the device is wider than 32 bits: a larger number cannot be its."""
_EXACT_DOUBLE_MAX = 2**53
_WHOLE_NUMBERS = {
    "_id": (0, _EXACT_DOUBLE_MAX),
    "error_code": (0, _INT32_MAX),
    "version_major": (1, 999),
    "version_minor": (0, 999),
}
_CLOCKS = ("recording_timestamp", "receive_timestamp")
_PM = ("pm1_0", "pm2_5", "pm10")
_MAY_BE_EMPTY = (
    "latitude",
    "longitude",
    "horizontal_accuracy",
    "vertical_accuracy",
    "temperature",
    "humidity",
    "pressure",
    "voltage",
    "voc",
    "acc_max",
    "no2",
)
_CLOCK_PATTERN = r"[1-9]\d{3}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?"


@dataclass(frozen=True)
class CleaningRules:
    """The choices in cleaning that could have been made otherwise.

    Raises ValueError on a limit that is not a finite, non-negative number, an unknown `zero_pm_rule`
    or an unknown time zone (`zoneinfo.ZoneInfoNotFoundError`, a KeyError).
    """

    device_time_zone: str = "UTC"
    """Zone of both naive clocks; the measured lag between them (median 1 minute) shows they share it."""
    clock_ahead_s: float = 60.0
    """Device clocks resynchronise at 25 s and differ by up to 30 s; more is a wrong clock."""
    warm_up_measurements: int = 5
    """What the list of error codes asks for after a failed reading of the PM sensor."""
    warm_up_window_s: float = 3600.0
    """After this long the failed reading belongs to an earlier use of the device."""
    max_horizontal_accuracy_m: float = 50.0
    pm25_cap_ug_m3: float = 150.0
    zero_pm_rule: ZeroPmRule = "een"
    """What to do with a PM of 0 from firmware 1, which sends whole µg/m³: 1 instead, keep, leave out."""
    earliest_date: date = date(2018, 1, 1)
    """Before the first devices were built."""

    def __post_init__(self) -> None:
        """Refuse values that cannot stand in a query."""
        for name in (
            "clock_ahead_s",
            "warm_up_measurements",
            "warm_up_window_s",
            "max_horizontal_accuracy_m",
            "pm25_cap_ug_m3",
        ):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} is {value}; expected a finite number of 0 or more")
        if self.zero_pm_rule not in get_args(ZeroPmRule):
            raise ValueError(f"zero_pm_rule is {self.zero_pm_rule!r}; expected one of {get_args(ZeroPmRule)}")
        ZoneInfo(self.device_time_zone)


def judge(
    con: duckdb.DuckDBPyConnection, ruw: duckdb.DuckDBPyRelation, rules: CleaningRules
) -> duckdb.DuckDBPyRelation:
    """Type every raw row and give it at most one reason for rejection.

    `ruw` holds `bestand`, `rij`, `geland_op`, `opnamedatum`, `apparaat` and the columns of the CKAN
    resource as text. Returns every row of it once: `bestand`, `rij`, the `TYPED_COLUMNS` (NULL where a
    value is unreadable), `reden` (a key of `REASONS`; NULL: usable) and `toelichting` (the column and
    what was expected; never a value, since a shifted row may hold a device number anywhere).

    `meetdag` is the Europe/Amsterdam day of the recording; it is NULL exactly where `opnamedatum` is.
    Verdicts on a day need the raw rows of that day and of the day before (`warm_up_window_s`).
    `is_onder_detectie` speaks of PM2.5. In a device zone with summer time, the repeated hour is read as
    winter time and the missing hour as the hour after it.

    The relation is lazy: materialise it before taking both `kept` and `rejected` from it.
    """
    # A local name that no table in the caller's catalogue will have: a table would silently win.
    __ruw = ruw
    verdicts = _verdicts(rules)
    reasons = " ".join(f"WHEN {i} THEN '{reason}'" for i, (reason, _, _) in enumerate(verdicts))
    expected = " ".join(f"WHEN {i} THEN {text}" for i, (_, _, text) in enumerate(verdicts))
    return con.sql(f"""
        WITH gelezen AS ({_read_sql(rules)}),
        getypeerd AS MATERIALIZED ({_typed_sql(rules)}),
        momenten AS MATERIALIZED ({_moments_sql(rules)}),
        dubbelen AS ({_duplicates_sql(rules)}),
        opwarmend AS ({_warming_up_sql(rules)})
        SELECT bestand, rij, {", ".join(TYPED_COLUMNS)},
            CASE oordeel {reasons} END AS reden,
            CASE oordeel {expected} END || ' verwacht' AS toelichting
        FROM ({_final_sql(rules)})
    """)


def kept(judged: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    """The usable measurements of `judge`, with the `TYPED_COLUMNS`."""
    return judged.filter("reden IS NULL").project(", ".join(TYPED_COLUMNS))


def rejected(judged: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    """The rows of `judge` with a reason, in all its columns."""
    return judged.filter("reden IS NOT NULL")


def _read_sql(rules: CleaningRules) -> str:
    """Text to numbers and instants (naive UTC); NULL where it is not one."""
    numbers = (*_WHOLE_NUMBERS, *_PM, *_MAY_BE_EMPTY)
    # DuckDB reads '1_000' as a number; the device does not write it.
    doubles = [f"CASE WHEN NOT contains({c}, '_') THEN TRY_CAST({c} AS DOUBLE) END AS {c}" for c in numbers]
    filled = [f"coalesce({c}, '') <> '' AS heeft_{c}" for c in _MAY_BE_EMPTY]
    clocks = [
        f"CASE WHEN regexp_full_match({c}, '{_CLOCK_PATTERN}') THEN TRY_CAST({c} AS TIMESTAMP) END AS {c}"
        for c in _CLOCKS
    ]
    whole = [
        f"CASE WHEN {c} BETWEEN {low} AND {high} AND {c} = trunc({c}) THEN {c} END AS {c}"
        for c, (low, high) in _WHOLE_NUMBERS.items()
    ]
    decimal = [f"CASE WHEN abs({c}) <= {_INT32_MAX} THEN {c} END AS {c}" for c in (*_PM, *_MAY_BE_EMPTY)]
    utc = [f"{_to_utc(c, rules.device_time_zone)} AS {c}" for c in _CLOCKS]
    return f"""
        SELECT * REPLACE ({", ".join(whole + decimal + utc)})
        FROM (
            SELECT bestand, rij, opnamedatum, nullif(nullif(apparaat, ''), '{UNKNOWN_DEVICE}') AS apparaat,
                make_timestamp(epoch_us(geland_op)) AS geland_op, {", ".join(doubles + filled + clocks)}
            FROM __ruw
        )"""


def _to_utc(column: str, zone: str) -> str:
    # A conversion by the time zone library costs some 0.1 s per million rows, also from UTC to UTC.
    return column if zone == "UTC" else f"make_timestamp(epoch_us(timezone('{zone}', {column})))"


def _typed_sql(rules: CleaningRules) -> str:
    """Units by firmware, and what can be seen in the text of a row alone."""
    pm_unit = "CASE WHEN version_major >= 2 THEN 100 ELSE 1 END"
    earliest = f"TIMESTAMP '{rules.earliest_date.isoformat()}'"
    impossible = " OR ".join(
        f"{column} < {earliest} OR {column} > geland_op + INTERVAL 1 DAY" for column in _CLOCKS
    )
    return f"""
        SELECT bestand, rij, apparaat, hash(apparaat) AS apparaat_hash, opnamedatum,
            CAST(_id AS BIGINT) AS bron_id,
            recording_timestamp AS opgenomen_utc,
            receive_timestamp AS ontvangen_utc,
            (epoch_us(receive_timestamp) - epoch_us(recording_timestamp)) / 1e6 AS vertraging_s,
            latitude AS breedtegraad,
            longitude AS lengtegraad,
            horizontal_accuracy / 1000 AS nauwkeurigheid_m,
            pm1_0 / ({pm_unit}) AS pm1_gemeten,
            pm2_5 / ({pm_unit}) AS pm25_gemeten,
            pm10 / ({pm_unit}) AS pm10_gemeten,
            pm1_0 > pm2_5 OR pm2_5 > pm10 AS is_pm_volgorde_fout,
            version_major = 1 AND pm2_5 = 0 AS is_onder_detectie,
            temperature / 10 AS temperatuur_c,
            humidity AS luchtvochtigheid_pct,
            pressure AS luchtdruk_hpa,
            3 + voltage / 100 AS batterijspanning_v,
            voc AS voc_kohm,
            acc_max,
            CAST(error_code AS INTEGER) AS foutcode,
            CAST(version_major AS INTEGER) AS hoofdversie,
            hoofdversie || '.' || CAST(version_minor AS INTEGER) AS firmware,
            {_unreadable_sql()} AS onleesbaar,
            opnamedatum IS NULL OR {impossible} AS is_onmogelijke_klok,
        FROM gelezen"""


def _unreadable_sql() -> str:
    """The first column that is not what it should be and what was expected there, or NULL."""
    bad: list[tuple[str, str]] = [("apparaat", "entity_id: apparaatnummer")]
    bad += [(column, f"{column}: tijdstip als 2024-11-11T08:48:51") for column in _CLOCKS]
    bad += [
        (column, f"{column}: geheel getal van {low} tot en met {high}")
        for column, (low, high) in _WHOLE_NUMBERS.items()
    ]
    bad += [(column, f"{column}: getal") for column in _PM]
    required = " ".join(f"WHEN {column} IS NULL THEN '{expected}'" for column, expected in bad)
    optional = " ".join(
        f"WHEN {column} IS NULL AND heeft_{column} THEN '{column}: getal of leeg'" for column in _MAY_BE_EMPTY
    )
    return f"CASE {required} {optional} END"


def _moments_sql(rules: CleaningRules) -> str:
    """The instants at which a device with a sound clock recorded: how many rows, and any failed reading.

    The device counts by its hash here, since grouping and sorting millions of rows by a long text costs
    more than the rest of the cleaning; that two devices share one is a chance of 1 in 10^12.
    """
    return f"""
        SELECT apparaat_hash, opgenomen_utc, count(*) > 1 AS is_meervoudig,
            bool_or(foutcode & {ERROR_BIT_PM_READ} <> 0) AS is_leesfout
        FROM getypeerd
        WHERE {_sound_clock(rules)}
        GROUP BY apparaat_hash, opgenomen_utc"""


def _sound_clock(rules: CleaningRules) -> str:
    return f"onleesbaar IS NULL AND NOT is_onmogelijke_klok AND vertraging_s >= -{rules.clock_ahead_s}"


def _duplicates_sql(rules: CleaningRules) -> str:
    """Of the rows of one device at one instant, all but the first: without critical fault, then received."""
    return f"""
        SELECT bestand, rij, true AS is_dubbel
        FROM (
            SELECT *, row_number() OVER (
                PARTITION BY apparaat_hash, opgenomen_utc
                ORDER BY foutcode & {ERROR_BITS_CRITICAL} <> 0, ontvangen_utc, bron_id, bestand, rij
            ) AS volgorde
            FROM getypeerd
            SEMI JOIN (FROM momenten WHERE is_meervoudig) USING (apparaat_hash, opgenomen_utc)
            WHERE {_sound_clock(rules)}
        )
        WHERE volgorde > 1"""


def _warming_up_sql(rules: CleaningRules) -> str:
    """The instants shortly after a failed reading of the PM sensor."""
    return f"""
        SELECT apparaat_hash, opgenomen_utc, true AS is_opwarmend
        FROM (
            SELECT apparaat_hash, opgenomen_utc, max(CASE WHEN is_leesfout THEN opgenomen_utc END) OVER (
                PARTITION BY apparaat_hash ORDER BY opgenomen_utc
                ROWS BETWEEN {rules.warm_up_measurements} PRECEDING AND 1 PRECEDING
            ) AS leesfout_utc
            FROM momenten
        )
        WHERE epoch_us(opgenomen_utc) - epoch_us(leesfout_utc) <= {round(rules.warm_up_window_s * 1e6)}"""


def _verdicts(rules: CleaningRules) -> list[tuple[str, str, str]]:
    """Reason, condition and what was expected (both SQL), in order of precedence."""
    clock_limits = f"van {rules.earliest_date.isoformat()} tot een dag na de landing"
    cap = rules.pm25_cap_ug_m3
    checks = [
        ("onleesbare_waarde", "onleesbaar IS NOT NULL", "onleesbaar"),
        ("onmogelijke_klok", "is_onmogelijke_klok", f"'{' en '.join(_CLOCKS)}: {clock_limits}'"),
        (
            "klok_voor_ontvangst",
            f"vertraging_s < -{rules.clock_ahead_s}",
            f"'recording_timestamp: ten hoogste {rules.clock_ahead_s:g} s na receive_timestamp'",
        ),
        ("dubbel", "is_dubbel", "'recording_timestamp: één rij per apparaat en tijdstip'"),
        ("fout_kritiek", f"foutcode & {ERROR_BITS_CRITICAL} <> 0", "'error_code: geen kritieke foutbit'"),
        (
            "fout_onbekend",
            f"foutcode & ~{ERROR_BITS_DOCUMENTED} <> 0",
            "'error_code: alleen gedocumenteerde foutbits'",
        ),
        (
            "pm_leesfout",
            f"foutcode & {ERROR_BIT_PM_READ} <> 0",
            f"'error_code: geen foutbit {ERROR_BIT_PM_READ}'",
        ),
        (
            "pm_opwarmen",
            "is_opwarmend",
            f"'error_code: {rules.warm_up_measurements} metingen of {rules.warm_up_window_s:g} s "
            f"na foutbit {ERROR_BIT_PM_READ}'",
        ),
        (
            "geen_positie",
            "breedtegraad IS NULL OR lengtegraad IS NULL OR (breedtegraad = 0 AND lengtegraad = 0)",
            "'latitude en longitude: een positie'",
        ),
        (
            "positie_onmogelijk",
            f"breedtegraad NOT BETWEEN {LATITUDE_RANGE[0]} AND {LATITUDE_RANGE[1]} "
            f"OR lengtegraad NOT BETWEEN {LONGITUDE_RANGE[0]} AND {LONGITUDE_RANGE[1]}",
            "'latitude en longitude: een positie in Nederland'",
        ),
        (
            "positie_onnauwkeurig",
            f"coalesce(nauwkeurigheid_m, 0) <= 0 OR nauwkeurigheid_m > {rules.max_horizontal_accuracy_m}",
            f"'horizontal_accuracy: meer dan 0 en ten hoogste {rules.max_horizontal_accuracy_m:g} m'",
        ),
        ("pm_onwaarschijnlijk", "pm1_gemeten < 0 OR pm25_gemeten < 0", "'pm1_0 en pm2_5: 0 of meer'"),
        ("pm_onwaarschijnlijk", f"pm25_gemeten > {cap}", f"'pm2_5: ten hoogste {cap:g} µg/m³'"),
        (
            "pm_onwaarschijnlijk",
            f"pm10_gemeten NOT BETWEEN 0 AND {PM10_MAX_UG_M3}",
            f"'pm10: van 0 tot en met {PM10_MAX_UG_M3:g} µg/m³'",
        ),
        # Rounding keeps the order, so that the fractions are compared as sent, without tolerance.
        ("pm_onwaarschijnlijk", "is_pm_volgorde_fout", "'pm1_0, pm2_5 en pm10: oplopend'"),
        ("waarde_buiten_bereik", *_outside("luchtvochtigheid_pct", "humidity", HUMIDITY_RANGE_PCT, "%")),
        ("waarde_buiten_bereik", *_outside("temperatuur_c", "temperature", TEMPERATURE_RANGE_C, "°C")),
        ("waarde_buiten_bereik", *_outside("luchtdruk_hpa", "pressure", PRESSURE_RANGE_HPA, "hPa")),
    ]
    if rules.zero_pm_rule == "weglaten":
        checks.append(("pm_onder_detectie", "is_onder_detectie", "'pm2_5: meer dan 0 µg/m³ bij firmware 1'"))
    order = list(REASONS)
    return sorted(checks, key=lambda check: order.index(check[0]))


def _outside(column: str, source: str, limits: tuple[float, float], unit: str) -> tuple[str, str]:
    low, high = limits
    return f"{column} NOT BETWEEN {low} AND {high}", f"'{source}: van {low:g} tot en met {high:g} {unit}'"


def _final_sql(rules: CleaningRules) -> str:
    """The typed columns under their own names, and the number of the first verdict that applies."""
    verdict = " ".join(f"WHEN {condition} THEN {i}" for i, (_, condition, _) in enumerate(_verdicts(rules)))
    # Firmware 1 sends whole numbers, so that lifting what is below 1 keeps PM1 <= PM2.5 <= PM10.
    lifted = "hoofdversie = 1 AND {0} BETWEEN 0 AND 1" if rules.zero_pm_rule == "een" else "false"
    pm = f"CASE WHEN {lifted} THEN 1 ELSE {{0}} END"
    fractions = [f"{pm.format(f'{name}_gemeten')} AS {name}_ug_m3" for name in ("pm1", "pm25", "pm10")]
    return f"""
        SELECT getypeerd.*, {", ".join(fractions)}, CASE {verdict} END AS oordeel,
            make_timestamptz(epoch_us(opgenomen_utc)) AS opgenomen_op,
            make_timestamptz(epoch_us(ontvangen_utc)) AS ontvangen_op,
            CASE WHEN is_onmogelijke_klok OR opgenomen_utc IS NULL THEN opnamedatum
                ELSE CAST(timezone('Europe/Amsterdam', make_timestamptz(epoch_us(opgenomen_utc))) AS DATE)
            END AS meetdag
        FROM getypeerd
        LEFT JOIN dubbelen USING (bestand, rij)
        LEFT JOIN opwarmend USING (apparaat_hash, opgenomen_utc)"""
