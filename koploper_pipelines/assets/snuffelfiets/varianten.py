"""What the level of PM2.5 would be had other choices been made: the variants of this experiment.

Here belong the choices, the conclusion that is tested on them, and the figure under every combination, made
with the methods of the chain. What combinations share is made once: the measurements are cleaned once, and
devices and rides that a choice does not touch keep their passages.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from koploper_pipelines.assets.snuffelfiets import SnuffelfietsSettings
from koploper_pipelines.assets.snuffelfiets.gebieden import BOUNDARIES
from koploper_pipelines.assets.snuffelfiets.indicators import MEASUREMENTS, REFERENCE, ROADS, WEATHER
from koploper_pipelines.assets.snuffelfiets.indicators.air import areas_ridden, calibration_rules, sums_sql
from koploper_pipelines.assets.snuffelfiets.indicators.passages import in_province, stations
from koploper_pipelines.gates.staging import Offered
from koploper_pipelines.gates.table import Reads, Step, gated_table
from koploper_pipelines.relations import count, select

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

    from koploper_pipelines.methods.gevoeligheid import Choice, Combination, Conclusion, Figure

RAW = "snuffelfiets/raw/metingen"
VARIANTS = "snuffelfiets/evaluation/gevoeligheid"
INDICATOR = "pm25_tijdens_het_fietsen"
WIDEST_CAP_UG_M3 = 1000.0
"""Upper end of what the sensor can measure at all."""
WHO_YEAR_UG_M3 = 5.0
OWN = "variant_"
"""What the names of the tables begin with that variants are made of."""
ALL = f"{OWN}alle"


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


# -- What combinations share -----------------------------------------------------------------------------


@dataclass(frozen=True)
class _Part:
    """Sums of one way of making passages, by municipality, device and day, with its calibration."""

    sums: pd.DataFrame
    lines: Mapping[str, Any]
    pairs: pd.DataFrame
    compared: pd.DataFrame


class _World:
    """The parts of one month, and what combinations make of them."""

    def __init__(self, choice: SnuffelfietsSettings, parts: Mapping[tuple[float, float, str], _Part]) -> None:
        self._choice = choice
        self._parts = parts
        self._levels: dict[Any, Figure] = {}

    def cells(self, combination: Combination) -> frozenset[str]:
        """The municipalities whose figure may be shown under a combination."""
        import pandas as pd

        from koploper_pipelines.methods import disclosure

        rules = disclosure.DisclosureRules(
            # Never fewer than this installation shows.
            min_participants=max(combination["min_apparaten"].value, self._choice.min_apparaten),
            max_share=self._choice.max_aandeel,
        )
        rows = self._counting(combination)
        per_device = rows.groupby(["gebied_code", "apparaat"])["n"].sum().groupby("gebied_code")
        largest = per_device.max() / per_device.sum()
        found = pd.DataFrame({"aantal_apparaten": per_device.size(), "grootste_aandeel": largest})
        return frozenset(found.index[~disclosure.may_not_be_shown(found, rules)])

    def _part(self, combination: Combination) -> _Part:
        return self._parts[_key(combination)]

    def _counting(self, combination: Combination) -> pd.DataFrame:
        """The sums that count: of calibrated devices in hours with a background when calibrated."""
        part = self._part(combination)
        if not combination["ijking"].value:
            return part.sums
        used = part.sums[part.sums["n_achtergrond"] > 0].merge(part.compared, on=["maand", "apparaat"])
        used = used[used["maand"].isin(set(part.lines))]
        return used.assign(n=used["n_achtergrond"])

    def level(self, combination: Combination, cells: frozenset[str]) -> Figure:
        """The level over some cells together."""
        is_calibrated = bool(combination["ijking"].value)
        key = (id(self._part(combination)), is_calibrated, cells)
        if key not in self._levels:
            make = self._calibrated if is_calibrated else self._plain
            self._levels[key] = make(combination, cells)
        return self._levels[key]

    def _plain(self, combination: Combination, cells: frozenset[str]) -> Figure:
        from koploper_pipelines.methods import intervals
        from koploper_pipelines.methods.gevoeligheid import Figure

        rows = self._counting(combination)
        own = rows[rows["gebied_code"].isin(cells)]
        (found,) = intervals.clustered_mean(own, ["maand"], min_devices=self._choice.min_apparaten).to_dict(
            "records"
        )
        return Figure(
            found["gemiddelde"], found["ondergrens"], found["bovengrens"], int(found["aantal_apparaten"])
        )

    def _calibrated(self, combination: Combination, cells: frozenset[str]) -> Figure:
        """The background while riding and the excess over it; the interval is that of the excess."""
        from koploper_pipelines.methods.gevoeligheid import Figure
        from koploper_pipelines.methods.snuffelfiets import excess

        part = self._part(combination)
        own = part.sums[part.sums["gebied_code"].isin(cells)]
        (found,) = excess.over_background(
            own, ["maand"], part.lines, part.pairs, part.compared, min_devices=self._choice.min_apparaten
        ).to_dict("records")
        level, low, high = (
            float(found["achtergrond_ug_m3"]) + float(found[f"pm25_verhoging_{end}ug_m3"])
            for end in ("", "onder_", "boven_")
        )
        return Figure(level, low, high, int(found["aantal_apparaten_geijkt"]))


def _key(combination: Combination) -> tuple[float, float, str]:
    return combination["pm25_maximum"].value, combination["rit_pauze"].value, combination["nul_pm"].value


def _world(
    step: Step,
    choice: SnuffelfietsSettings,
    month: str,
    made_otherwise: Sequence[Choice],
    asked: Sequence[Combination],
) -> _World:
    _measurements(step, choice, month)
    usual = {c.name: c.default.value for c in made_otherwise}
    # The default first: the others take over what they share with it.
    base = (usual["pm25_maximum"], usual["nul_pm"] == "weglaten")
    kinds = {(c["pm25_maximum"].value, c["nul_pm"].value == "weglaten") for c in asked} | {base}
    gaps = {c["rit_pauze"].value for c in asked} | {usual["rit_pauze"]}
    made: dict[tuple[float, bool, float], str] = {}
    for cap, drops in sorted(kinds, key=lambda kind: kind != base):
        wanted = {
            c["rit_pauze"].value
            for c in asked
            if (c["pm25_maximum"].value, c["nul_pm"].value == "weglaten") == (cap, drops)
        }
        wanted = gaps if (cap, drops) == base else wanted | {usual["rit_pauze"]}
        tables = _passages(step.con, (cap, drops), base, usual["rit_pauze"], wanted, made)
        made |= {(cap, drops, gap): table for gap, table in tables.items()}
    parts = _parts(step, choice, usual["rit_pauze"], {_key(c) for c in asked}, made)
    _clear(step.con)
    return _World(choice, parts)


def _clear(con: duckdb.DuckDBPyConnection) -> None:
    """Drop the tables of a month: the next one makes its own, and they are large."""
    names = con.sql(f"SELECT table_name FROM duckdb_tables() WHERE starts_with(table_name, '{OWN}')")
    for (name,) in names.fetchall():
        con.sql(f"DROP TABLE {name}")


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
    again = cleaning.judge(step.con, step.read(RAW).join(place, "bestand, rij", how="semi"), rules)
    columns = ", ".join(cleaning.TYPED_COLUMNS)
    sent = (
        "SELECT * REPLACE (CASE WHEN is_onder_detectie THEN 0 ELSE pm25_ug_m3 END AS pm25_ug_m3)"
        f" FROM (SELECT {columns} FROM m)"
    )
    kept = select(_of_month(step.read(MEASUREMENTS), month), "m", sent)
    kept.union(_of_month(select(cleaning.kept(again), "m", sent), month)).create(ALL)


def _kept(cap: float, drops: bool) -> str:
    """Condition of the measurements that a variant keeps."""
    return f"pm25_ug_m3 <= {cap}" + (" AND NOT is_onder_detectie" if drops else "")


def _passages(
    con: duckdb.DuckDBPyConnection,
    kind: tuple[float, bool],
    base: tuple[float, bool],
    usual_gap: float,
    gaps: Iterable[float],
    made: Mapping[tuple[float, bool, float], str],
) -> dict[float, str]:
    """Tables of the passages of one selection of measurements, by gap.

    Devices whose measurements are those of the base selection keep its passages; rides that are the same
    under another gap keep those of the usual one.
    """
    from koploper_pipelines.methods.snuffelfiets import rides

    name = f"{OWN}{len({m[:2] for m in made})}"
    rows = con.sql(f"SELECT * FROM {ALL} WHERE {_kept(*kind)}")
    if kind != base:
        con.sql(f"""
            CREATE TEMP TABLE {name}_anders AS
            SELECT DISTINCT apparaat FROM {ALL} WHERE ({_kept(*kind)}) <> ({_kept(*base)})
        """)
        if not count(con.table(f"{name}_anders")):
            # Nobody measured what the two selections judge differently, as in most months.
            return {gap: made[*base, gap] for gap in gaps}
        rows = rows.join(con.table(f"{name}_anders"), "apparaat", how="semi")
    rides.segments(con, rows, rides.RideRules()).create(f"{name}_segmenten")
    found: dict[float, str] = {}
    for gap in sorted(gaps, key=lambda g: g != usual_gap):
        table = f"{name}_{len(found)}"
        rules = rides.RideRules(max_gap_min=gap)
        rides.rides_of_segments(con, con.table(f"{name}_segmenten"), rules).create(f"{table}_ritten")
        parts = [_new_passages(con, name, table, f"{name}_0" if found else None)]
        if kind != base:
            parts.append(f"SELECT * FROM {made[*base, gap]} ANTI JOIN {name}_anders USING (apparaat)")
        con.sql(f"CREATE TEMP TABLE {table}_passages AS {' UNION ALL '.join(parts)}")
        found[gap] = f"{table}_passages"
    return found


def _new_passages(con: duckdb.DuckDBPyConnection, name: str, table: str, usual: str | None) -> str:
    """SQL of the passages of a table of rides; of rides that the usual gap gives too, those made already."""
    from koploper_pipelines.methods.snuffelfiets import passages as method

    fresh = f"SELECT * FROM {table}_ritten"
    if usual is not None:
        fresh += f" ANTI JOIN {usual}_ritten USING (rit_id, einde_op)"
    con.sql(f"CREATE TEMP TABLE {table}_nieuw AS {fresh}")
    segments = con.sql(f"SELECT * FROM {name}_segmenten SEMI JOIN {table}_nieuw USING (apparaat)")
    riding = method.ride_rows(con, segments, con.table(f"{table}_nieuw"), method.ZoneRules())
    method.passages(con, riding).create(f"{table}_verse_passages")
    made = f"(SELECT * FROM {table}_verse_passages)"
    if usual is None:
        return made
    same = f"SELECT rit_id FROM {table}_ritten SEMI JOIN {usual}_ritten USING (rit_id, einde_op)"
    return f"{made} UNION ALL (SELECT * FROM {usual}_verse_passages SEMI JOIN ({same}) USING (rit_id))"


def _parts(
    step: Step,
    choice: SnuffelfietsSettings,
    usual_gap: float,
    keys: Iterable[tuple[float, float, str]],
    made: Mapping[tuple[float, bool, float], str],
) -> dict[tuple[float, float, str], _Part]:
    """Sums and calibration of each way of making passages. The calibration follows from the usual gap."""
    from koploper_pipelines.methods.snuffelfiets import background

    con = step.con
    reference = step.read(REFERENCE)
    hours = f"{OWN}uren"
    background.hours(con, in_province(step, reference), step.read(WEATHER)).create(hours)
    union = " UNION ".join(f"SELECT cel_100m FROM {table}" for table in made.values())
    areas = areas_ridden(step, con.sql(union))
    con.register("gebieden_in_beeld", areas[areas["gebied_code"].str.startswith("GM")])
    places = stations(reference)
    lines: dict[tuple[str, str], tuple[Any, pd.DataFrame, pd.DataFrame]] = {}
    sums: dict[str, tuple[pd.DataFrame, pd.DataFrame]] = {}
    parts: dict[tuple[str, str], _Part] = {}
    found: dict[tuple[float, float, str], _Part] = {}
    for cap, gap, zero in sorted(keys):
        drops = zero == "weglaten"
        usual, table = made[cap, drops, usual_gap], made[cap, drops, gap]
        if (usual, zero) not in lines:
            lines[usual, zero] = _calibration(step, choice, _lifted(con, usual, zero), places)
        if table not in sums:
            sums[table] = _sums(con, background.with_hours(con, con.table(table), con.table(hours)))
        if (table, zero) not in parts:
            own, below = sums[table]
            raised = _raised(own, below) if zero == "een" else own
            parts[table, zero] = _Part(raised, *lines[usual, zero])
        found[cap, gap, zero] = parts[table, zero]
    return found


def _sums(con: duckdb.DuckDBPyConnection, rows: duckdb.DuckDBPyRelation) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Sums of passages by municipality, device and day, and of the measurements below detection in them."""
    inside = select(rows, "p", "SELECT * FROM p JOIN gebieden_in_beeld USING (cel_100m)")
    inside.create_view("gebiedspassages", replace=True)
    below = con.sql("""
        SELECT strftime(meetdag, '%Y-%m') AS maand, gebied_code, apparaat, meetdag,
            sum(aantal_onder_detectie)::DOUBLE AS onder,
            coalesce(sum(aantal_onder_detectie) FILTER (
                achtergrond_ug_m3 IS NOT NULL AND luchtvochtigheid_gemiddelde_pct IS NOT NULL
            ), 0)::DOUBLE AS onder_achtergrond
        FROM gebiedspassages WHERE aantal_onder_detectie > 0 GROUP BY ALL
    """)
    return con.sql(sums_sql("gebied_code")).df(), below.df()


def _raised(sums: pd.DataFrame, below: pd.DataFrame) -> pd.DataFrame:
    """Sums in which each measurement below detection counts as 1 µg/m³ instead of 0."""
    joined = sums.merge(below, how="left", on=["maand", "gebied_code", "apparaat", "meetdag"])
    lift, usable = joined["onder"].fillna(0), joined["onder_achtergrond"].fillna(0)
    raised = joined.assign(som=joined["som"] + lift, pm25_som=joined["pm25_som"] + usable)
    return raised.drop(columns=["onder", "onder_achtergrond"])


def _lifted(con: duckdb.DuckDBPyConnection, table: str, zero: str) -> duckdb.DuckDBPyRelation:
    """Passages in which each measurement below detection counts as 1 µg/m³, where that is the rule."""
    lift = 1 if zero == "een" else 0
    return con.sql(f"""
        SELECT * REPLACE (
            pm25_som_ug_m3 + {lift} * aantal_onder_detectie AS pm25_som_ug_m3,
            (pm25_som_ug_m3 + {lift} * aantal_onder_detectie) / aantal_metingen AS pm25_gemiddelde_ug_m3
        )
        FROM {table}
    """)


def _calibration(
    step: Step, choice: SnuffelfietsSettings, passages: duckdb.DuckDBPyRelation, places: pd.DataFrame
) -> tuple[Any, pd.DataFrame, pd.DataFrame]:
    """Lines, pairs and compared devices of a month."""
    from koploper_pipelines.methods.snuffelfiets import calibration, roads

    rules = calibration_rules(choice)
    listed = roads.of_list(step.read(ROADS).df())
    rows = (
        passages.project("rit_id, cel_100m, uur, aantal_metingen, pm25_gemiddelde_ug_m3")
        .order("rit_id, uur, cel_100m")
        .df()
    )
    cells = listed if len(listed) else roads.traffic_like(rows)
    month = passages.aggregate("max(strftime(meetdag, '%Y-%m'))").fetchall()[0][0]
    near = calibration.Nearness(choice.ijking_straal_achtergrond_m, choice.ijking_straal_verkeer_m)
    found = (
        calibration.pairs(
            step.con, passages, step.read(REFERENCE), places, cells.assign(maand=month or ""), near
        )
        .order("maand, apparaat, station, uur")
        .df()
    )
    return calibration.lines(found, rules), found, calibration.compared_devices(found, rules)
