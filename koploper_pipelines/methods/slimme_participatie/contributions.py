"""Contributions as platforms export them: votes, statements and ideas, read and judged.

Belongs here: one set-based pass over the rows of the conversations in hand, as DuckDB relations. Does not
belong here: texts (see ``texts``), nor where the rows come from.

Of an event log the last vote of a person on a statement counts. What is set aside has one reason, the first
that holds.
"""

from __future__ import annotations

import duckdb

MODERATION = ("geaccepteerd", "onbeslist", "afgewezen")
VOTE = """
    CASE lower(trim(waarde))
        WHEN '1' THEN 1 WHEN '1.0' THEN 1 WHEN 'eens' THEN 1 WHEN 'agree' THEN 1 WHEN 'ja' THEN 1
        WHEN 'yes' THEN 1
        WHEN 'voor' THEN 1 WHEN '-1' THEN -1 WHEN '-1.0' THEN -1 WHEN 'oneens' THEN -1 WHEN 'disagree' THEN -1
        WHEN 'nee' THEN -1 WHEN 'no' THEN -1 WHEN 'tegen' THEN -1 WHEN '0' THEN 0 WHEN '0.0' THEN 0
        WHEN '-0' THEN 0 WHEN 'neutraal' THEN 0 WHEN 'pass' THEN 0 WHEN 'geen mening' THEN 0
        WHEN 'blanco' THEN 0
    END"""
# Older exports give milliseconds, the server of today gives seconds; spreadsheets give dates.
MOMENT = """
    CASE WHEN TRY_CAST(tijd AS DOUBLE) IS NULL THEN TRY_CAST(TRY_CAST(tijd AS TIMESTAMP) AS TIMESTAMPTZ)
        WHEN TRY_CAST(tijd AS DOUBLE) BETWEEN 1e11 AND 1e14 THEN
            make_timestamptz((TRY_CAST(tijd AS DOUBLE) * 1000)::BIGINT)
        WHEN TRY_CAST(tijd AS DOUBLE) BETWEEN 0 AND 1e11 THEN
            make_timestamptz((TRY_CAST(tijd AS DOUBLE) * 1000000)::BIGINT)
    END"""
_FIRST_MOMENT = "TIMESTAMPTZ '2005-01-01 00:00:00+00'"


def newest(con: duckdb.DuckDBPyConnection, raw: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    """Of each conversation the rows of its newest delivery: an export repeats all that went before.

    As a plain filter on (conversation, delivery), which what follows can push down to the files.
    """
    found = con.sql(
        "SELECT gesprek, arg_max(levering, (geland_op, levering)) FROM raw GROUP BY gesprek"
    ).fetchall()
    chosen = " OR ".join(
        f"(gesprek = '{name}' AND levering = '{delivery}')" for name, delivery in sorted(found)
    )
    return raw.filter(chosen or "FALSE")


def statements(con: duckdb.DuckDBPyConnection, raw: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    """Every statement with its moderation, and the reason why it is set aside (NULL: it is kept).

    Args:
        con: the connection of the rows.
        raw: raw rows of the newest deliveries.

    Returns:
        The raw columns plus ``stelling_id``, ``oordeel`` (one of ``MODERATION``), ``ingediend_op``,
        ``is_open`` (whether the conversation says that moderation was open), ``reden``, ``toelichting``.
    """
    return con.sql(
        f"""
        WITH gelezen AS (
            SELECT *, trim(item) AS stelling_id,
                CASE lower(trim(coalesce(moderatie, '0')))
                    WHEN '1' THEN 'geaccepteerd' WHEN '0' THEN 'onbeslist'
                    WHEN '-1' THEN 'afgewezen' WHEN 'geaccepteerd' THEN 'geaccepteerd'
                    WHEN 'onbeslist' THEN 'onbeslist' WHEN 'afgewezen' THEN 'afgewezen' END AS oordeel,
                {MOMENT} AS ingediend_op
            FROM raw WHERE soort = 'stelling'
        ),
        gesprekken AS (
            SELECT gesprek, bool_or(item = 'moderatie' AND tekst = 'open') AS is_open
            FROM raw WHERE soort = 'gesprek' GROUP BY gesprek
        )
        SELECT g.*, coalesce(gesprekken.is_open, FALSE) AS is_open,
            CASE WHEN stelling_id IS NULL OR stelling_id = '' THEN 'zonder_nummer'
                WHEN oordeel IS NULL THEN 'moderatie_onleesbaar'
                WHEN row_number() OVER (PARTITION BY g.gesprek, stelling_id ORDER BY bestand, rij) > 1
                    THEN 'dubbel'
            END AS reden,
            'rij ' || rij || ' van ' || bestand AS toelichting
        FROM gelezen g LEFT JOIN gesprekken USING (gesprek)
        """,
    )


def votes(con: duckdb.DuckDBPyConnection, raw: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    """Every vote with the reason why it is set aside (NULL: it is the last of its person on its statement).

    Where an export has no log of votes, the cells of its matrix are the votes. Some versions of Polis export
    agreement as -1: when the counts of agreement that the platform gives (of each participant and of each
    statement) fit the -1 better than the 1, the conversation is turned around.

    Args:
        con: the connection of the rows.
        raw: raw rows of the newest deliveries.

    Returns:
        Place, participant, ``item``, ``tijd`` and ``waarde`` of raw, plus
        ``stem`` (1, 0, -1), ``op`` (moment, NULL where none was exported),
        ``oordeel`` of the statement, ``reden`` and ``toelichting``.
    """
    statements(con, raw).filter("reden IS NULL").project("gesprek, stelling_id, oordeel").create(
        "bekende_stellingen"
    )
    events(con, raw).create("gebeurtenissen")
    raw.filter("soort IN ('deelnemer', 'stelling') AND TRY_CAST(eens AS BIGINT) IS NOT NULL").project(
        "gesprek, soort, coalesce(CASE soort WHEN 'stelling' THEN trim(item) END, deelnemer) AS van,"
        " eens::BIGINT AS eens"
    ).create("gegeven_tellingen")
    return con.sql(f"""
        WITH tellingen AS (
            SELECT gesprek, 'deelnemer' AS soort, deelnemer AS van,
                sum(stem = 1) AS plus, sum(stem = -1) AS min
            FROM (SELECT DISTINCT gesprek, deelnemer, item, stem FROM gebeurtenissen) GROUP BY ALL
            UNION ALL
            SELECT gesprek, 'stelling', trim(item) AS van, sum(stem = 1), sum(stem = -1)
            FROM gebeurtenissen GROUP BY ALL
        ),
        tekens AS (
            SELECT gesprek, CASE WHEN sum(abs(eens - plus)) > sum(abs(eens - min)) THEN -1 ELSE 1 END AS teken
            FROM gegeven_tellingen JOIN tellingen USING (gesprek, soort, van) GROUP BY gesprek
        ),
        gelezen AS (
            SELECT g.* REPLACE (stem * coalesce(teken, 1) AS stem), b.oordeel,
                b.stelling_id IS NOT NULL AS is_bekend
            FROM gebeurtenissen g LEFT JOIN tekens USING (gesprek)
            LEFT JOIN bekende_stellingen b ON g.gesprek = b.gesprek AND trim(g.item) = b.stelling_id
        ),
        beoordeeld AS (
            SELECT *, CASE WHEN stem IS NULL THEN 'stem_onleesbaar'
                WHEN deelnemer IS NULL THEN 'deelnemer_onbekend'
                WHEN tijd IS NOT NULL AND NOT coalesce(
                    op BETWEEN {_FIRST_MOMENT} AND geland_op + INTERVAL 1 DAY, FALSE) THEN 'tijd_onmogelijk'
                WHEN row_number() OVER (PARTITION BY gesprek, deelnemer, item, tijd, stem ORDER BY rij) > 1
                    THEN 'dubbel'
            END AS eerste_reden
            FROM gelezen
        ),
        op_volgorde AS (
            SELECT *, lead(stem) OVER (
                PARTITION BY gesprek, deelnemer, item, eerste_reden IS NULL ORDER BY op NULLS FIRST, rij
            ) AS volgende
            FROM beoordeeld
        )
        SELECT * EXCLUDE (eerste_reden, volgende, is_bekend),
            CASE WHEN eerste_reden IS NOT NULL THEN eerste_reden
                WHEN volgende = stem THEN 'herhaald'
                WHEN volgende IS NOT NULL THEN 'gewijzigd'
                WHEN NOT is_bekend THEN 'stelling_onbekend'
                WHEN oordeel = 'afgewezen' THEN 'stelling_afgewezen'
            END AS reden,
            'rij ' || rij || ' van ' || bestand AS toelichting
        FROM op_volgorde
    """)


def events(con: duckdb.DuckDBPyConnection, raw: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    """The log of votes of each conversation, or the cells of its matrix where it has no log."""
    return con.sql(
        f"""
        SELECT gesprek, bestand, rij, geland_op, deelnemer, item, tijd, waarde, {VOTE} AS stem, {MOMENT} AS op
        FROM raw JOIN (
            SELECT gesprek, max(CASE WHEN soort = 'stem' THEN 'stem' END) AS log FROM raw GROUP BY gesprek
        ) l USING (gesprek)
        WHERE soort = coalesce(log, 'matrixcel')
        """,
    )
