"""What the level of PM2.5 would be had other choices been made: the variants of this experiment.

Here belong the choices, the conclusion that is tested on them, and the figure under every combination, made
with the methods of the chain. What combinations share is made once: the measurements are cleaned once, and
rides that a choice does not touch keep the passages that the chain has of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from koploper_pipelines.assets.snuffelfiets import SnuffelfietsSettings
from koploper_pipelines.assets.snuffelfiets.gebieden import BOUNDARIES
from koploper_pipelines.assets.snuffelfiets.indicators import (
    MEASUREMENTS,
    PASSAGES,
    REFERENCE,
    RIDES,
    ROADS,
    WEATHER,
)
from koploper_pipelines.assets.snuffelfiets.indicators.air import areas_ridden, calibration_rules, sums_sql
from koploper_pipelines.assets.snuffelfiets.indicators.passages import in_province, stations
from koploper_pipelines.gates.staging import Offered
from koploper_pipelines.gates.table import Reads, Step, gated_table
from koploper_pipelines.relations import code_of, count, select

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

    from koploper_pipelines.methods.gevoeligheid import Choice, Combination, Conclusion, Figure
    from koploper_pipelines.methods.snuffelfiets.calibration import Line

RAW = "snuffelfiets/raw/metingen"
VARIANTS = "snuffelfiets/evaluation/gevoeligheid"
INDICATOR = "pm25_tijdens_het_fietsen"
WIDEST_CAP_UG_M3 = 1000.0
"""Upper end of what the sensor can measure at all."""
WHO_YEAR_UG_M3 = 5.0
OWN = "variant_"
"""What the names of the tables begin with that variants are made of."""
ALL, APART, SERIES, SEGMENTS, STRETCHES, RODE, PARTS, PASSED, SUMS = (
    f"{OWN}{name}"
    for name in ("alle", "anders", "reeksen", "segmenten", "stukken", "ritten", "delen", "passages", "sommen")
)
BASE = 0
"""The selection of measurements that the published figures are made with."""
Selection: TypeAlias = tuple[float, bool]
"""Which measurements are kept: up to what PM2.5, and whether those below detection are left out."""


def choices(choice: SnuffelfietsSettings) -> tuple[Choice, ...]:
    """The choices, with the ones of this installation as default; reasons: docs/duiding.md."""
    from koploper_pipelines.methods.gevoeligheid import Choice, Level

    gaps = {
        5: "ieder bezoek aan een winkel breekt een rit",
        10: "een stoplicht of pakje, korter dan een bezoek",
        15: "ook een kort bezoek hoort bij de rit",
        30: "zoals eerdere publicaties van deze metingen",
    }
    caps = {
        100.0: "zoals eerdere publicaties van deze metingen",
        150.0: "advies van het RIVM",
        WIDEST_CAP_UG_M3: "alles wat de sensor kan aanwijzen, ook storingen",
    }
    zeros = {
        "een": "advies van het RIVM: onder de detectiegrens is niet nul",
        "laten": "zoals het apparaat het stuurt",
        "weglaten": "schone lucht telt niet mee: het gemiddelde wordt te hoog",
    }
    return (
        Choice(
            "rit_pauze", tuple(Level(f"{g} min", float(g), True, why) for g, why in gaps.items())
        ).with_default(choice.rit_pauze_min),
        Choice(
            "pm25_maximum",
            tuple(Level(f"{c:g} µg/m³", c, c < WIDEST_CAP_UG_M3, why) for c, why in caps.items()),
        ).with_default(choice.pm25_maximum_ug_m3),
        Choice("nul_pm", tuple(Level(z, z, z != "weglaten", why) for z, why in zeros.items())).with_default(
            choice.nul_pm
        ),
        Choice(
            "ijking",
            (
                Level("uit", False, True, "zoals het apparaat het meet", is_default=True),
                Level("aan", True, True, "op de schaal van de officiële stations"),
            ),
        ),
        Choice(
            "min_apparaten",
            (
                Level("5", 5, True, "zoals alle cijfers over mensen"),
                Level("10", 10, True, "zoals cijfers naar groep of demografie"),
            ),
        ).with_default(choice.min_apparaten),
    )


def conclusion() -> Conclusion:
    """What is concluded from the level, said beforehand."""
    from koploper_pipelines.methods.gevoeligheid import Conclusion

    return Conclusion(
        "Tijdens het fietsen is er gemiddeld meer PM2,5 dan 5 µg/m³, de jaaradvieswaarde van de WHO (ter"
        " vergelijking: die geldt voor een jaargemiddelde op een vaste plek)",
        WHO_YEAR_UG_M3,
    )


@gated_table(
    VARIANTS,
    reads=[
        Reads(RAW),
        Reads(MEASUREMENTS, quarantine=True),
        Reads(RIDES),
        Reads(PASSAGES),
        Reads(REFERENCE, lookup=True),
        Reads(WEATHER, lookup=True),
        Reads(ROADS),
        Reads(BOUNDARIES),
    ],
    settings=SnuffelfietsSettings,
    closes_months=True,
)
def gevoeligheid(step: Step) -> Offered:
    """The level under every combination, of each closed month in hand; an open month has no rows yet."""
    import pandas as pd

    from koploper_pipelines.methods import gevoeligheid as method

    choice: SnuffelfietsSettings = step.settings(SnuffelfietsSettings)
    made_otherwise = choices(choice)
    asked = method.combinations(made_otherwise)
    contract = step.platform.tables[VARIANTS].contract
    closed = sorted(m for m in step.partitions if m < step.first_open_month)
    measured = [m for m in closed if count(_of_month(step.read(MEASUREMENTS), m))]
    made = [figures(step, choice, month, made_otherwise, asked) for month in measured]
    columns = [c.name for c in contract.columns]
    rows = pd.concat(made, ignore_index=True) if made else pd.DataFrame(columns=columns)
    kinds = {"number": "float64", "integer": "int64", "string": "str", "boolean": "bool"}
    typed = rows[columns].astype({c.name: kinds[c.type] for c in contract.columns})
    return Offered(typed, controls={"combinaties_maal_maanden": len(asked) * len(measured)})


def _of_month(rows: duckdb.DuckDBPyRelation, month: str) -> duckdb.DuckDBPyRelation:
    return rows.filter(f"strftime(meetdag, '%Y-%m') = '{month}'")


def figures(
    step: Step,
    choice: SnuffelfietsSettings,
    month: str,
    made_otherwise: Sequence[Choice],
    asked: Sequence[Combination],
) -> pd.DataFrame:
    """The level of one month under the combinations that are asked for, a row each."""
    from koploper_pipelines.methods import gevoeligheid as method

    world = _world(step, choice, month, made_otherwise, asked)
    cells = {method.name_of(c): world.cells(c) for c in asked}
    rows = method.tabulated(asked, cells, world.level, conclusion())
    return rows.assign(maand=month, onderdeel=month, kerncijfer=INDICATOR, eenheid="µg/m³")


# -- The levels of all combinations --------------------------------------------------------------------------


class Version(NamedTuple):
    """A way of making a month: which measurements, the longest rest within a ride, the value of a zero."""

    selection: Selection
    gap_min: float
    zero: str


@dataclass(frozen=True)
class _Calibration:
    """The line, None where too little was compared, with the pairs and the compared devices."""

    line: Line | None
    pairs: pd.DataFrame
    compared: pd.DataFrame


class _World:
    """What combinations make of the versions of one month.

    In its frames `maand` is the number of a version: each counts as a month of its own, so that one call
    makes the figures of all.
    """

    def __init__(
        self,
        choice: SnuffelfietsSettings,
        sums: pd.DataFrame,
        numbers: Mapping[Version, int],
        calibrations: Mapping[Version, _Calibration],
    ) -> None:
        import pandas as pd

        self._choice, self._sums, self._numbers = choice, sums, numbers
        of_number = {numbers[v]: c for v, c in calibrations.items()}
        self._lines = {n: c.line for n, c in of_number.items() if c.line is not None}
        self._pairs = pd.concat([c.pairs.assign(maand=n) for n, c in of_number.items()])
        self._compared = pd.concat([c.compared.assign(maand=n) for n, c in of_number.items()])
        used = sums[(sums["n_achtergrond"] > 0) & sums["maand"].isin(set(self._lines))]
        counting = used.merge(self._compared, on=["maand", "apparaat"])
        self._reach = {
            False: _reach(sums),
            True: _reach(counting.assign(n=counting["n_achtergrond"])),
        }
        self._levels: dict[frozenset[str], dict[tuple[int, bool], Figure]] = {}

    def cells(self, combination: Combination) -> frozenset[str]:
        """The municipalities whose figure may be shown under a combination."""
        from koploper_pipelines.methods import disclosure

        rules = disclosure.DisclosureRules(
            # Never fewer than this installation shows.
            min_participants=max(combination["min_apparaten"].value, self._choice.min_apparaten),
            max_share=self._choice.max_aandeel,
        )
        number, is_calibrated = self._place(combination)
        reach = self._reach[is_calibrated]
        found = reach[reach["maand"] == number]
        return frozenset(found.loc[~disclosure.may_not_be_shown(found, rules), "gebied_code"])

    def level(self, combination: Combination, cells: frozenset[str]) -> Figure:
        """The level over some cells together."""
        if cells not in self._levels:
            own = self._sums[self._sums["gebied_code"].isin(cells)]
            self._levels[cells] = self._plain(own) | self._calibrated(own)
        return self._levels[cells][self._place(combination)]

    def _place(self, combination: Combination) -> tuple[int, bool]:
        return self._numbers[_version(combination)], bool(combination["ijking"].value)

    def _plain(self, own: pd.DataFrame) -> dict[tuple[int, bool], Figure]:
        from koploper_pipelines.methods import intervals
        from koploper_pipelines.methods.gevoeligheid import Figure

        found = intervals.clustered_mean(own, ["maand"], min_devices=self._choice.min_apparaten)
        columns = [found[c] for c in ("maand", "gemiddelde", "ondergrens", "bovengrens", "aantal_apparaten")]
        return {(n, False): Figure(*figure) for n, *figure in zip(*columns, strict=True)}

    def _calibrated(self, own: pd.DataFrame) -> dict[tuple[int, bool], Figure]:
        """The background while riding and the excess over it; the interval is that of the excess."""
        from koploper_pipelines.methods.gevoeligheid import Figure
        from koploper_pipelines.methods.snuffelfiets import excess

        found = excess.over_background(
            own,
            ["maand"],
            self._lines,
            self._pairs,
            self._compared,
            min_devices=self._choice.min_apparaten,
        )
        background, *over = (found[c].astype("float64") for c in excess.FIGURES)
        columns = [found["maand"], *(background + e for e in over), found["aantal_apparaten_geijkt"]]
        return {(n, True): Figure(*figure) for n, *figure in zip(*columns, strict=True)}


def _reach(sums: pd.DataFrame) -> pd.DataFrame:
    """Devices in each municipality of each version, and the share of the one that measured most."""
    import pandas as pd

    area = ["maand", "gebied_code"]
    per_device = sums.groupby([*area, "apparaat"])["n"].sum().groupby(area)
    largest = per_device.max() / per_device.sum()
    return pd.DataFrame({"aantal_apparaten": per_device.size(), "grootste_aandeel": largest}).reset_index()


def _version(combination: Combination) -> Version:
    zero = combination["nul_pm"].value
    selection = (combination["pm25_maximum"].value, zero == "weglaten")
    return Version(selection, combination["rit_pauze"].value, zero)


# -- What combinations share -----------------------------------------------------------------------------


def _world(
    step: Step,
    choice: SnuffelfietsSettings,
    month: str,
    made_otherwise: Sequence[Choice],
    asked: Sequence[Combination],
) -> _World:
    usual = _version({c.name: c.default for c in made_otherwise})
    versions = sorted({_version(c) for c in asked})
    _measurements(step, choice, month)
    selections = _series(step.con, [usual.selection, *(v.selection for v in versions)])
    # A calibration follows from the usual rides.
    rode = [(selections[v.selection], gap) for v in versions for gap in (v.gap_min, usual.gap_min)]
    parts = {key: number for number, key in enumerate(dict.fromkeys(rode))}
    _rides(step.con, parts)
    _passages(step, choice)
    areas = areas_ridden(step, step.con.table(PASSED))

    def with_zero(version: Version, gap: float) -> tuple[int, int]:
        return parts[selections[version.selection], gap], _lift(version.zero)

    summed = {v: with_zero(v, v.gap_min) for v in versions}
    numbers = {key: number for number, key in enumerate(dict.fromkeys(summed.values()))}
    sums = _sums(step, areas, numbers)
    calibrated = {v: with_zero(v, usual.gap_min) for v in versions}
    calibrations = _calibrations(step, choice, month, areas, dict.fromkeys(calibrated.values()))
    _clear(step.con)
    return _World(
        choice,
        sums,
        {v: numbers[key] for v, key in summed.items()},
        {v: calibrations[key] for v, key in calibrated.items()},
    )


def _clear(con: duckdb.DuckDBPyConnection) -> None:
    """Drop the tables of a month, and its codes: the next one makes its own, and they are large."""
    names = con.sql(
        "SELECT table_name FROM duckdb_tables()"
        f" WHERE starts_with(table_name, '{OWN}') AND database_name IN (current_database(), 'temp')"
    )
    for (name,) in names.fetchall():
        con.sql(f"DROP TABLE {name}")
    con.sql("DROP TYPE apparaat_code")


def _measurements(step: Step, choice: SnuffelfietsSettings, month: str) -> None:
    """Table `ALL`: every measurement that any variant keeps, with a zero as it was sent.

    To what cleaning kept comes what it set aside for its PM alone, judged again by the widest rules: reasons
    before that one are decided already, and do not depend on these choices.
    """
    from koploper_pipelines.methods.snuffelfiets import cleaning

    aside = step.quarantine(MEASUREMENTS).filter(
        f"partitie LIKE '{month}-%' AND reden IN ('pm_onwaarschijnlijk', 'pm_onder_detectie')"
    )
    place = aside.project("rij->>'bestand' AS bestand, CAST(rij->>'rij' AS BIGINT) AS rij")
    rules = cleaning.CleaningRules(
        device_time_zone=choice.apparaat_tijdzone,
        warm_up_measurements=choice.opwarmen_metingen,
        zero_pm_rule="laten",
        pm25_cap_ug_m3=WIDEST_CAP_UG_M3,
    )
    device = code_of(step.con, step.read(RAW), "apparaat")
    # No more than rides and passages are made of, since each column is sorted along.
    sent = f"""
        SELECT CAST(apparaat AS {device}) AS apparaat, bron_id, opgenomen_op, breedtegraad, lengtegraad,
            nauwkeurigheid_m,
            CASE WHEN is_onder_detectie THEN 0 ELSE pm25_ug_m3 END AS pm25_ug_m3,
            is_onder_detectie, luchtvochtigheid_pct, acc_max
        FROM m
    """
    select(_of_month(step.read(MEASUREMENTS), month), "m", sent).create(ALL)
    if count(place):
        again = cleaning.judge(step.con, step.read(RAW).join(place, "bestand, rij", how="semi"), rules)
        select(_of_month(cleaning.kept(again), month), "m", sent).insert_into(ALL)


def _kept(selection: Selection) -> str:
    """Condition of the measurements of a selection."""
    cap, drops = selection
    return f"pm25_ug_m3 <= {cap}" + (" AND NOT is_onder_detectie" if drops else "")


def _series(con: duckdb.DuckDBPyConnection, selections: Iterable[Selection]) -> dict[Selection, int]:
    """Table `SEGMENTS` of the series of each device, and the number of each selection.

    A device has a series as the first selection, `BASE`, keeps its measurements, and another for each
    selection that keeps others of them (`APART`). A selection that keeps the same of all devices, as most
    do in most months, has the number of the base. `SERIES` tells which series is whose.
    """
    from koploper_pipelines.methods.snuffelfiets import rides

    numbers = {s: n for n, s in enumerate(dict.fromkeys(selections), start=BASE)}
    (base, *_) = numbers
    apart = " UNION ALL ".join(
        f"SELECT apparaat, opgenomen_op, {n} AS selectie FROM {ALL} WHERE ({_kept(s)}) <> ({_kept(base)})"
        for s, n in numbers.items()
    )
    con.sql(f"CREATE TEMP TABLE {APART} AS {apart}")
    con.sql(f"""
        CREATE TEMP TABLE {SERIES} AS
        SELECT row_number() OVER (ORDER BY selectie, apparaat) AS reeks,
            dense_rank() OVER (ORDER BY apparaat) AS apparaat_nr, *
        FROM (
            SELECT DISTINCT apparaat, {BASE} AS selectie FROM {ALL}
            UNION ALL
            SELECT DISTINCT apparaat, selectie FROM {APART}
        )
    """)
    kept = " ".join(f"WHEN {n} THEN {_kept(s)}" for s, n in numbers.items())
    # Numbers in the place of devices: sorting by a long text is slow.
    measured = con.sql(f"""
        SELECT reeks AS apparaat, m.* EXCLUDE (apparaat)
        FROM {ALL} AS m JOIN {SERIES} USING (apparaat)
        WHERE CASE selectie {kept} END
    """)
    rides.segments(con, measured, rides.RideRules()).create(SEGMENTS)
    own = {n for (n,) in con.table(SERIES).project("selectie").distinct().fetchall()}
    return {s: n if n in own else BASE for s, n in numbers.items()}


def _rides(con: duckdb.DuckDBPyConnection, parts: Mapping[tuple[int, float], int]) -> None:
    """Tables `RODE`, every ride of any version, and `PARTS`: the rides of each selection and gap.

    Rides of two gaps that are the same have one number, `rit`.
    """
    from koploper_pipelines.methods.snuffelfiets import rides

    gaps = sorted({gap for _, gap in parts})
    _stretches(con, gaps[0]).create(STRETCHES)
    made = [
        rides.rides_of_segments(con, con.table(STRETCHES), rides.RideRules(max_gap_min=gap)).project(
            f"{gap}::DOUBLE AS pauze_min, apparaat AS reeks, meetdag, start_op, einde_op"
        )
        for gap in gaps
    ]
    reduce(lambda one, other: one.union(other), made).create(f"{OWN}ritten_per_pauze")
    wanted = ", ".join(f"({part}, {selection}, {gap}::DOUBLE)" for (selection, gap), part in parts.items())
    con.sql(f"""
        CREATE TEMP TABLE {PARTS} AS
        WITH genummerd AS (
            SELECT *, dense_rank() OVER (ORDER BY reeks, start_op, einde_op) AS rit
            FROM {OWN}ritten_per_pauze
        ),
        -- A device without a series of its own in a selection has there that of the base.
        reeksen AS (
            SELECT deel, pauze_min, apparaat_nr, arg_max(reeks, s.selectie) AS reeks
            FROM (VALUES {wanted}) AS d(deel, selectie, pauze_min)
                JOIN {SERIES} AS s ON s.selectie IN ({BASE}, d.selectie)
            GROUP BY deel, pauze_min, apparaat_nr
        )
        SELECT deel, apparaat_nr, genummerd.*
        FROM reeksen JOIN genummerd USING (reeks, pauze_min)
    """)
    con.sql(f"""
        CREATE TEMP TABLE {RODE} AS
        SELECT DISTINCT rit, reeks, selectie, apparaat, meetdag, start_op, einde_op
        FROM {PARTS} JOIN {SERIES} USING (reeks)
    """)


def _stretches(con: duckdb.DuckDBPyConnection, gap_min: float) -> duckdb.DuckDBPyRelation:
    """Riding without a rest longer than the shortest gap, as segments: all rides are made of those."""
    from koploper_pipelines.methods.sums import fixed_point_sum

    return con.sql(f"""
        WITH begonnen AS (
            SELECT apparaat, opgenomen_op AS begin_op, lead(opgenomen_op, 1, 'infinity') OVER (
                PARTITION BY apparaat ORDER BY opgenomen_op
            ) AS volgend_begin_op
            FROM (
                SELECT apparaat, opgenomen_op, epoch_us(vorige_op) - epoch_us(lag(opgenomen_op) OVER (
                    PARTITION BY apparaat ORDER BY opgenomen_op
                )) <= {round(gap_min * 60e6)} AS is_vervolg
                FROM {SEGMENTS}
                WHERE is_rijdend
            )
            WHERE is_vervolg IS NOT TRUE
        )
        SELECT apparaat, min(bron_id) AS bron_id, min(vorige_op) AS vorige_op,
            max(opgenomen_op) AS opgenomen_op, true AS is_rijdend,
            {fixed_point_sum("afstand_m")} AS afstand_m, {fixed_point_sum("tussentijd_s")} AS tussentijd_s
        FROM {SEGMENTS} JOIN begonnen USING (apparaat)
        WHERE is_rijdend AND opgenomen_op >= begin_op AND opgenomen_op < volgend_begin_op
        GROUP BY apparaat, begin_op
    """)


def _passages(step: Step, choice: SnuffelfietsSettings) -> None:
    """Table `PASSED`: the passages of every ride, with a zero as it was sent.

    Of rides that the chain has too, of the same measurements, its own; others are made by the same methods.
    """
    con = step.con
    known = f"""
        SELECT rit, rit_id FROM r JOIN {RODE} USING (apparaat, start_op, einde_op)
        WHERE rit NOT IN (
            SELECT rit FROM {RODE} JOIN {APART} USING (apparaat, selectie)
            WHERE opgenomen_op BETWEEN start_op AND einde_op
        )
    """
    select(step.read(RIDES), "r", known).create(f"{OWN}bekend")
    columns = (
        "cel_100m, uur, aantal_metingen, {som} AS pm25_som_ug_m3, aantal_onder_detectie,"
        " luchtvochtigheid_gemiddelde_pct"
    )
    sent = f"pm25_som_ug_m3 - {_lift(choice.nul_pm)} * aantal_onder_detectie"
    made = select(
        step.read(PASSAGES),
        "p",
        f"SELECT rit, {columns.format(som=sent)} FROM p JOIN {OWN}bekend USING (rit_id)",
    )
    fresh = con.sql(f"SELECT * FROM {RODE} ANTI JOIN {OWN}bekend USING (rit)")
    fresh.create(f"{OWN}verse_ritten")
    for (selection,) in con.table(f"{OWN}verse_ritten").project("selectie").distinct().fetchall():
        own = _fresh_passages(con, selection)
        made = made.union(own.project(f"rit_id AS rit, {columns.format(som='pm25_som_ug_m3')}"))
    place = f"SELECT rit, meetdag, apparaat_nr AS apparaat FROM {RODE} JOIN {SERIES} USING (reeks)"
    select(made, "p", f"SELECT * FROM p JOIN ({place}) USING (rit)").create(PASSED)


def _fresh_passages(con: duckdb.DuckDBPyConnection, selection: int) -> duckdb.DuckDBPyRelation:
    """Passages of the rides of one selection that the chain has not."""
    from koploper_pipelines.methods.snuffelfiets import passages as method

    rode = con.sql(f"""
        SELECT rit AS rit_id, reeks, apparaat, meetdag, start_op, einde_op
        FROM {OWN}verse_ritten WHERE selectie = {selection}
    """)
    # By their own names again: the privacy zones follow from them. As a table, or DuckDB joins rides first.
    segments = f"{OWN}verse_segmenten_{selection}"
    con.sql(f"""
        CREATE TEMP TABLE {segments} AS
        SELECT s.* REPLACE (v.apparaat AS apparaat)
        FROM {SEGMENTS} AS s
            JOIN (SELECT DISTINCT reeks, apparaat FROM {OWN}verse_ritten WHERE selectie = {selection}) AS v
            ON s.apparaat = v.reeks
    """)
    return method.passages(con, method.ride_rows(con, con.table(segments), rode, method.ZoneRules()))


def _lift(zero: str) -> int:
    """What a measurement below detection counts for, in µg/m³."""
    return 1 if zero == "een" else 0


def _sums(step: Step, areas: pd.DataFrame, versions: Mapping[tuple[int, int], int]) -> pd.DataFrame:
    """Sums of each version by municipality, device and day; the number of the version is `maand`.

    Passages are summed by ride first, since versions share rides.
    """
    from koploper_pipelines.methods.snuffelfiets import background
    from koploper_pipelines.methods.sums import fixed_point_sum

    con = step.con
    hours = f"{OWN}uren"
    background.hours(con, in_province(step, step.read(REFERENCE)), step.read(WEATHER)).create(hours)
    con.register("gebieden_in_beeld", areas[areas["gebied_code"].str.startswith("GM")])
    rows = background.with_hours(con, con.table(PASSED), con.table(hours))
    inside = select(rows, "p", "SELECT * FROM p JOIN gebieden_in_beeld USING (cel_100m)")
    inside.create_view("gebiedspassages", replace=True)
    con.sql(sums_sql("gebied_code, rit")).create(SUMS)
    con.sql(f"""
        CREATE TEMP TABLE {OWN}onder_detectie AS
        SELECT gebied_code, rit, sum(aantal_onder_detectie) AS onder,
            coalesce(sum(aantal_onder_detectie) FILTER (
                achtergrond_ug_m3 IS NOT NULL AND luchtvochtigheid_gemiddelde_pct IS NOT NULL
            ), 0) AS onder_achtergrond
        FROM gebiedspassages WHERE aantal_onder_detectie > 0 GROUP BY ALL
    """)
    wanted = ", ".join(f"({number}, {part}, {lift})" for (part, lift), number in versions.items())
    found: pd.DataFrame = con.sql(f"""
        SELECT versie AS maand, gebied_code, apparaat, meetdag,
            sum(n)::BIGINT AS n, {fixed_point_sum("som + lift * coalesce(onder, 0)")} AS som,
            sum(n_achtergrond)::BIGINT AS n_achtergrond,
            {fixed_point_sum("pm25_som + lift * coalesce(onder_achtergrond, 0)")} AS pm25_som,
            {fixed_point_sum("rv_som")} AS rv_som, {fixed_point_sum("achtergrond_som")} AS achtergrond_som
        FROM (VALUES {wanted}) AS v(versie, deel, lift)
            JOIN (SELECT deel, rit FROM {PARTS}) USING (deel)
            JOIN (SELECT * EXCLUDE (maand) FROM {SUMS}) USING (rit)
            LEFT JOIN {OWN}onder_detectie USING (gebied_code, rit)
        GROUP BY ALL
        ORDER BY ALL
    """).df()
    return found


def _calibrations(
    step: Step,
    choice: SnuffelfietsSettings,
    month: str,
    areas: pd.DataFrame,
    asked: Iterable[tuple[int, int]],
) -> dict[tuple[int, int], _Calibration]:
    """The calibration that follows from the rides of a part and the value of a zero, for each asked."""
    from koploper_pipelines.methods.snuffelfiets import calibration, roads

    con = step.con
    reference = step.read(REFERENCE)
    places = stations(reference)
    rules = calibration_rules(choice)
    near = calibration.Nearness(choice.ijking_straal_achtergrond_m, choice.ijking_straal_verkeer_m)
    names = con.sql(
        f"SELECT apparaat::VARCHAR AS apparaat FROM {SERIES} WHERE selectie = {BASE} ORDER BY apparaat_nr"
    ).df()
    listed = roads.of_list(step.read(ROADS).df())
    rode = {} if len(listed) else {part: _cells_of_rides(con, part, areas) for part, _ in asked}
    found: dict[tuple[int, int], _Calibration] = {}
    for part, lift in asked:
        passages = con.sql(f"""
            SELECT * REPLACE (pm25_som_ug_m3 + {lift} * aantal_onder_detectie AS pm25_som_ug_m3)
            FROM {PASSED} SEMI JOIN (FROM {PARTS} WHERE deel = {part}) USING (rit)
        """)
        cells = listed if len(listed) else _traffic_like(rode[part], lift)
        pairs = (
            calibration.pairs(con, passages, reference, places, cells.assign(maand=month), near)
            .order("maand, apparaat, station, uur")
            .df()
        )
        named = pairs.assign(apparaat=names["apparaat"].to_numpy()[pairs["apparaat"] - 1])
        line = calibration.lines(named, rules).get(month)
        found[part, lift] = _Calibration(line, pairs, calibration.compared_devices(pairs, rules))
    return found


def _cells_of_rides(con: duckdb.DuckDBPyConnection, part: int, areas: pd.DataFrame) -> pd.DataFrame:
    """The passages of a part in a fixed order, with categories for the texts of cells."""
    import pandas as pd

    con.register("cellen_in_beeld", areas[["cel_100m"]].assign(cel=areas.index))
    found: pd.DataFrame = con.sql(f"""
        SELECT rit AS rit_id, cel, aantal_metingen, pm25_som_ug_m3, aantal_onder_detectie
        FROM {PASSED} JOIN cellen_in_beeld USING (cel_100m)
        SEMI JOIN (FROM {PARTS} WHERE deel = {part}) USING (rit)
        ORDER BY rit, uur, cel
    """).df()
    return found.assign(
        cel_100m=pd.Categorical.from_codes(found.pop("cel").to_numpy(), pd.Index(areas["cel_100m"]))
    )


def _traffic_like(rode: pd.DataFrame, lift: int) -> pd.DataFrame:
    """Busy and quiet cells by the measurements."""
    from koploper_pipelines.methods.snuffelfiets import roads

    total = rode["pm25_som_ug_m3"] + lift * rode["aantal_onder_detectie"]
    found = roads.traffic_like(rode.assign(pm25_gemiddelde_ug_m3=total / rode["aantal_metingen"]))
    return found.astype({"cel_100m": "str"})
