"""Indicators: passages, and per month what follows from them and from the rides.

Here belong the calls and the shape of the tables. These tables are internal: what may be shown of them is
decided in `published.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from koploper_pipelines.assets.snuffelfiets import SnuffelfietsSettings
from koploper_pipelines.assets.snuffelfiets.cleaned import ride_rules
from koploper_pipelines.assets.snuffelfiets.gebieden import BOUNDARIES, municipality_of
from koploper_pipelines.gates.staging import Offered
from koploper_pipelines.gates.table import Reads, Step, gated_table
from koploper_pipelines.relations import count, select, value

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

PASSAGES = "snuffelfiets/indicators/passages"
RIDES = "snuffelfiets/cleaned/ritten"
MEASUREMENTS = "snuffelfiets/cleaned/metingen"
PROVINCE = "PV26"
# Lower bounds of the classes; the last class has no upper bound.
CLASSES = {
    "afstand_km": (0, 1, 2, 5, 10, 15, 25),
    "duur_min": (0, 5, 10, 20, 30, 60, 120),
    "snelheid_km_h": (0, 10, 15, 20, 25),
    "vertrekuur": tuple(range(24)),
}


@gated_table(
    PASSAGES,
    reads=[Reads(MEASUREMENTS, before=1, after=1), Reads(RIDES)],
    settings=SnuffelfietsSettings,
)
def passages(step: Step) -> Offered:
    """The passages of the rides that start on the days in hand, without their first and last stretch."""
    from koploper_pipelines.methods.snuffelfiets import passages as method
    from koploper_pipelines.methods.snuffelfiets import rides as ride_method

    made = step.read(RIDES)
    segments = ride_method.segments(
        step.con, step.read(MEASUREMENTS), ride_rules(step.settings(SnuffelfietsSettings))
    )
    method.ride_rows(step.con, segments, made, method.ZoneRules()).create("rijrijen")
    riding = step.con.table("rijrijen")
    in_zones = count(riding.filter("is_in_zone"))
    return Offered(
        method.passages(step.con, riding),
        controls={"metingen_na_zones": _total(made, "aantal_metingen") - in_zones},
        notes={"metingen_in_zones": in_zones},
    )


@gated_table("snuffelfiets/indicators/pm25_cel", reads=[Reads(PASSAGES)], settings=SnuffelfietsSettings)
def pm25_cel(step: Step) -> Offered:
    """PM2.5 while riding per 500 m cell and month."""
    from koploper_pipelines.methods import geo

    cells = _passages(step)
    cells["cel_500m"] = geo.square_500m_of(cells["cel_100m"])
    made = _pm25(cells, "cel_500m", step.settings(SnuffelfietsSettings))
    return Offered(made, controls={"metingen_in_passages": _riding(step)})


@gated_table(
    "snuffelfiets/indicators/pm25_gemeente",
    reads=[Reads(PASSAGES), Reads(BOUNDARIES)],
    settings=SnuffelfietsSettings,
)
def pm25_gemeente(step: Step) -> Offered:
    """PM2.5 while riding per municipality and month, and for the province as a whole."""
    import pandas as pd

    from koploper_pipelines.methods import geo

    rows = _passages(step)
    x, y = geo.square_centre(rows["cel_100m"], 100)
    rows["gebied_code"], _ = municipality_of(step, x, y)
    inside = rows[rows["gebied_code"] != geo.OUTSIDE_PROVINCE].assign(gebied_code=PROVINCE)
    made = _pm25(pd.concat([rows, inside]), "gebied_code", step.settings(SnuffelfietsSettings))
    total = _riding(step) + int(inside["aantal_metingen"].sum())
    return Offered(made, controls={"metingen_in_passages_en_provincie": total})


@gated_table("snuffelfiets/indicators/ritten_verdeling", reads=[Reads(RIDES)])
def ritten_verdeling(step: Step) -> Offered:
    """Number of rides per class of distance, duration, speed and hour of departure, per month."""
    rides = step.read(RIDES)
    step.con.register("klassen", _classes())
    made = select(
        rides,
        "r",
        """
        WITH waarden AS (
            UNPIVOT (
                SELECT strftime(meetdag, '%Y-%m') AS maand, apparaat, afstand_km, duur_s / 60 AS duur_min,
                    snelheid_km_h,
                    extract(hour FROM timezone('Europe/Amsterdam', start_op))::DOUBLE AS vertrekuur
                FROM r
            ) ON afstand_km, duur_min, snelheid_km_h, vertrekuur INTO NAME kenmerk VALUE waarde
        ),
        geteld AS (
            SELECT maand, kenmerk, klasse, apparaat, count(*) AS n
            FROM waarden JOIN klassen USING (kenmerk)
            WHERE waarde >= vanaf AND waarde < tot
            GROUP BY ALL
        ),
        per_klasse AS (
            SELECT maand, kenmerk, klasse, sum(n)::BIGINT AS aantal_ritten, count(*) AS aantal_apparaten,
                max(n) / sum(n) AS grootste_aandeel
            FROM geteld
            GROUP BY ALL
        )
        SELECT m.maand, k.kenmerk, k.klasse, coalesce(p.aantal_ritten, 0) AS aantal_ritten,
            coalesce(p.aantal_apparaten, 0) AS aantal_apparaten, p.grootste_aandeel
        FROM (SELECT DISTINCT maand FROM waarden) m CROSS JOIN klassen k
        LEFT JOIN per_klasse p USING (maand, kenmerk, klasse)
        """,
    )
    return Offered(made, controls={"vier_maal_ritten": len(CLASSES) * count(rides)})


@gated_table(
    "snuffelfiets/indicators/overzicht",
    reads=[Reads(MEASUREMENTS, quarantine=True), Reads(RIDES), Reads("snuffelfiets/raw/metingen")],
)
def overzicht(step: Step) -> Offered:
    """Received, usable and set-aside measurements per month; devices, rides, distance and riding time."""
    measurements, set_aside = step.read(MEASUREMENTS), step.quarantine(MEASUREMENTS)
    measurements.create_view("metingen")
    set_aside.create_view("terzijde")
    step.read(RIDES).create_view("ritten")
    made = step.con.sql("""
        WITH per_apparaat AS (
            SELECT strftime(meetdag, '%Y-%m') AS maand, apparaat, count(*) AS n, max(meetdag) AS dag
            FROM metingen
            GROUP BY ALL
        ),
        b AS (
            SELECT maand, sum(n)::BIGINT AS n, count(*) AS apparaten, max(n) / sum(n) AS aandeel,
                max(dag) AS peildatum
            FROM per_apparaat
            GROUP BY ALL
        ),
        ritten_per_apparaat AS (
            SELECT strftime(meetdag, '%Y-%m') AS maand, apparaat, count(*) AS n,
                sum(afstand_km ORDER BY rit_id) AS km, sum(rijtijd_uur ORDER BY rit_id) AS uur
            FROM ritten
            GROUP BY ALL
        ),
        g AS (
            SELECT maand, sum(n)::BIGINT AS n, count(*) AS apparaten, max(n) / sum(n) AS aandeel,
                sum(km ORDER BY apparaat) AS km, sum(uur ORDER BY apparaat) AS uur
            FROM ritten_per_apparaat
            GROUP BY ALL
        ),
        t AS (
            SELECT CASE WHEN partitie = 'onbekend' THEN partitie ELSE left(partitie, 7) END AS maand,
                count(*) AS n
            FROM terzijde
            GROUP BY ALL
        )
        SELECT maand, coalesce(b.n, 0) + coalesce(t.n, 0) AS metingen_ontvangen,
            coalesce(b.n, 0) AS metingen_bruikbaar, coalesce(t.n, 0) AS metingen_in_quarantaine,
            coalesce(b.apparaten, 0) AS apparaten, coalesce(g.n, 0) AS ritten,
            coalesce(g.km, 0) AS afstand_km, coalesce(g.uur, 0) AS rijtijd_uur,
            b.aandeel AS grootste_aandeel, g.aandeel AS grootste_aandeel_ritten,
            coalesce(g.apparaten, 0) AS apparaten_met_rit, b.peildatum
        FROM b FULL JOIN t USING (maand) FULL JOIN g USING (maand)
    """)
    return Offered(
        made,
        controls={
            "opgeschoond": count(measurements),
            "in_quarantaine": count(set_aside),
            "geland": count(step.read("snuffelfiets/raw/metingen")),
        },
    )


def _total(rows: duckdb.DuckDBPyRelation, column: str) -> int:
    return int(value(rows.aggregate(f"coalesce(sum({column}), 0)")))


def _riding(step: Step) -> int:
    """Riding rows in the passages of the months in hand, counted apart from the indicator."""
    return _total(step.read(PASSAGES), "aantal_metingen")


def _passages(step: Step) -> pd.DataFrame:
    rows = step.read(PASSAGES).order("rit_id, cel_100m, uur")
    frame: pd.DataFrame = rows.project(
        "strftime(meetdag, '%Y-%m') AS maand, meetdag, apparaat, cel_100m, aantal_metingen, pm25_som_ug_m3,"
        " pm25_gemiddelde_ug_m3"
    ).df()
    return frame


def _pm25(rows: pd.DataFrame, area: str, choice: SnuffelfietsSettings) -> pd.DataFrame:
    """The PM2.5 indicator per month and area, from passages."""
    from koploper_pipelines.methods import intervals

    groups: Any = ["maand", area]
    sums = rows.groupby([*groups, "apparaat", "meetdag"], as_index=False).agg(
        n=("aantal_metingen", "sum"), som=("pm25_som_ug_m3", "sum")
    )
    means = intervals.clustered_mean(sums, groups, min_devices=choice.min_apparaten).set_index(groups)
    per_device = sums.groupby([*groups, "apparaat"])["n"].sum().groupby(groups)
    by_group = rows.groupby(groups)
    return (
        means.rename(
            columns={
                "gemiddelde": "pm25_ug_m3",
                "ondergrens": "pm25_onder_ug_m3",
                "bovengrens": "pm25_boven_ug_m3",
                "status": "pm25_ug_m3_status",
                "n": "aantal_metingen",
            }
        )
        .assign(
            pm25_mediaan_ug_m3=by_group["pm25_gemiddelde_ug_m3"].median(),
            aantal_passages=by_group.size(),
            grootste_aandeel=per_device.max() / per_device.sum(),
            peildatum=by_group["meetdag"].max().dt.date,
        )
        .drop(columns="standaardfout")
        .reset_index()
    )


def _classes() -> pd.DataFrame:
    import pandas as pd

    found = []
    for kind, lower in CLASSES.items():
        for start, end in zip(lower, (*lower[1:], None), strict=True):
            name = (
                f"{start:02d}"
                if kind == "vertrekuur"
                else f"{start:02d}+"
                if end is None
                else f"{start:02d}-{end:02d}"
            )
            found.append((kind, name, float(start), float("inf") if end is None else float(end)))
    return pd.DataFrame(found, columns=["kenmerk", "klasse", "vanaf", "tot"])
