"""Counts of rides and measurements per month."""

from __future__ import annotations

from typing import TYPE_CHECKING

from koploper_pipelines.assets.snuffelfiets.indicators import MEASUREMENTS, RIDES
from koploper_pipelines.gates.staging import Offered
from koploper_pipelines.gates.table import Reads, Step, gated_table
from koploper_pipelines.relations import count, select

if TYPE_CHECKING:
    import pandas as pd

# Lower bounds of the classes; the last class has no upper bound.
CLASSES = {
    "afstand_km": (0, 1, 2, 5, 10, 15, 25),
    "duur_min": (0, 5, 10, 20, 30, 60, 120),
    "snelheid_km_h": (0, 10, 15, 20, 25),
    "vertrekuur": tuple(range(24)),
}


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
