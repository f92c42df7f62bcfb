"""Cleaned: the months of the last delivery of each outcome, with one reason for every row that is left out.

Here belongs what makes a row usable. Whether the series can carry an estimate is the evaluation's.
"""

from __future__ import annotations

from koploper_pipelines.assets.koploperdeals.raw.effecten import SERIES
from koploper_pipelines.gates.staging import Offered
from koploper_pipelines.gates.table import Reads, Step, gated_table
from koploper_pipelines.relations import count

CLEAN_SERIES = "koploperdeals/cleaned/effectreeksen"
KEPT = "deal, uitkomst, gebied, maand, eenheid, is_behandeld, ingreep_maand, waarde"
MONTH = "[0-9]{4}-(0[1-9]|1[0-2])"
# Texts are compared without their edges; an empty one is missing.
_READ = f"""
    SELECT levering, rij, geland_op,
        CASE WHEN regexp_full_match(trim(deal), '[A-Za-z0-9][A-Za-z0-9._-]{{0,39}}') THEN trim(deal) END
            AS deal,
        CASE WHEN length(trim(uitkomst)) BETWEEN 1 AND 80 THEN trim(uitkomst) END AS uitkomst,
        CASE WHEN length(trim(eenheid)) BETWEEN 1 AND 30 THEN trim(eenheid) END AS eenheid,
        CASE WHEN length(trim(gebied)) BETWEEN 1 AND 60 THEN trim(gebied) END AS gebied,
        CASE WHEN lower(trim(is_behandeld)) IN ('ja', 'nee') THEN lower(trim(is_behandeld)) = 'ja' END
            AS is_behandeld,
        CASE WHEN regexp_full_match(trim(ingreep_maand), '{MONTH}') THEN trim(ingreep_maand) END
            AS ingreep_maand,
        coalesce(trim(ingreep_maand), '') = '' AS zonder_ingreep,
        CASE WHEN regexp_full_match(trim(maand), '{MONTH}') THEN trim(maand) END AS maand,
        CASE WHEN regexp_full_match(trim(waarde), '-?[0-9]+([.][0-9]+)?') THEN trim(waarde)::DOUBLE END
            AS waarde
    FROM ruw
"""
_UNREADABLE = """
    CASE WHEN deal IS NULL THEN 'deal: letters, cijfers en . _ -, ten hoogste 40'
        WHEN uitkomst IS NULL THEN 'uitkomst: tekst van 1 tot 80 tekens'
        WHEN eenheid IS NULL THEN 'eenheid: tekst van 1 tot 30 tekens'
        WHEN gebied IS NULL THEN 'gebied: tekst van 1 tot 60 tekens'
        WHEN is_behandeld IS NULL THEN 'is_behandeld: ja of nee'
        WHEN ingreep_maand IS NULL AND (is_behandeld OR NOT zonder_ingreep)
            THEN 'ingreep_maand: JJJJ-MM, leeg alleen in een gebied waar niets veranderde'
        WHEN maand IS NULL THEN 'maand: JJJJ-MM'
        WHEN waarde IS NULL THEN 'waarde: getal met een punt'
    END
"""


@gated_table(CLEAN_SERIES, reads=[Reads(SERIES)])
def effectreeksen(step: Step) -> Offered:
    """Every landed row, kept or set aside with one reason."""
    raw = step.read(SERIES)
    raw.create_view("ruw")
    step.con.sql(f"CREATE TEMP TABLE gelezen AS SELECT *, {_UNREADABLE} AS onleesbaar FROM ({_READ})")
    step.con.sql("""
        CREATE TEMP TABLE beoordeeld AS
        SELECT *, CASE
                WHEN onleesbaar IS NOT NULL THEN 'onleesbare_waarde'
                WHEN levering <> laatste THEN 'vervangen'
                WHEN soorten > 1 OR eenheden > 1 THEN 'tegenstrijdig'
                WHEN volgnummer > 1 THEN 'dubbel'
            END AS reden,
            CASE WHEN onleesbaar IS NOT NULL THEN onleesbaar || ' verwacht' END AS toelichting
        FROM (
            SELECT *,
                arg_max(levering, geland_op) OVER reeks AS laatste,
                count(DISTINCT (is_behandeld, ingreep_maand)) OVER gebied AS soorten,
                count(DISTINCT eenheid) OVER van_levering AS eenheden,
                row_number() OVER (
                    PARTITION BY deal, uitkomst, levering, gebied, maand, onleesbaar IS NULL ORDER BY rij
                ) AS volgnummer
            FROM gelezen
            WINDOW reeks AS (PARTITION BY deal, uitkomst, onleesbaar IS NULL),
                gebied AS (PARTITION BY deal, uitkomst, levering, gebied, onleesbaar IS NULL),
                van_levering AS (PARTITION BY deal, uitkomst, levering, onleesbaar IS NULL)
        )
    """)
    judged = step.con.table("beoordeeld")
    months = [m for (m,) in raw.project("trim(maand)").distinct().fetchall() if m]
    return Offered(
        judged.filter("reden IS NULL").project(KEPT),
        rejected=judged.filter("reden IS NOT NULL"),
        rows_in=count(raw),
        controls={"maanden_geleverd": sorted(months)},
    )
