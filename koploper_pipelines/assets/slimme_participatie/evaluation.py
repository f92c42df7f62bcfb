"""Evaluation: how well a conversation was held and measured, an indicator a row.

Here belongs comparing: with the platform's own counts, and with what taking part should be.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from koploper_pipelines.assets.slimme_participatie.cleaned import PARTICIPANTS, PROPOSALS, STATEMENTS, VOTES
from koploper_pipelines.assets.slimme_participatie.indicators import FIGURES, GROUPS
from koploper_pipelines.assets.slimme_participatie.raw import CONTRIBUTIONS
from koploper_pipelines.gates.staging import Offered
from koploper_pipelines.gates.table import Reads, Step, gated_table

if TYPE_CHECKING:
    import pandas as pd

INDICATORS = "slimme_participatie/evaluation/indicatoren"
ANSWERED = ("overgenomen", "deels_overgenomen", "afgewezen", "uitgevoerd")
ABOUT_PEOPLE = ("gini_stemmen", "aandeel_top10_pct")


@gated_table(
    INDICATORS,
    reads=[
        Reads(CONTRIBUTIONS),
        Reads(VOTES, quarantine=True),
        Reads(STATEMENTS),
        Reads(PARTICIPANTS),
        Reads(PROPOSALS),
        Reads(GROUPS),
        Reads(FIGURES),
    ],
)
def indicatoren(step: Step) -> Offered:
    """The indicators of each conversation; one that it has no data for is left without a value."""
    import pandas as pd

    controls = _controls(step)
    people, proposals = step.read(PARTICIPANTS).df(), step.read(PROPOSALS).df()
    statements, groups, figures = step.read(STATEMENTS).df(), step.read(GROUPS).df(), step.read(FIGURES).df()
    rows: list[dict[str, Any]] = []
    for name in step.partitions:
        own = [f[f["gesprek"] == name] for f in (people, statements, proposals, groups, figures)]
        found = {**dict(_of_conversation(*own)), **controls.get(name, {})}
        persons = int((own[0]["aantal_stemmen"] > 0).sum())
        rows += [
            {
                "gesprek": name,
                "indicator": i,
                "waarde": value,
                "eenheid": UNITS[i],
                "aantal_deelnemers": persons,
            }
            for i, value in found.items()
        ]
    columns = ["gesprek", "indicator", "waarde", "eenheid", "aantal_deelnemers"]
    made = pd.DataFrame(rows, columns=columns).astype({"waarde": "float64", "aantal_deelnemers": "Int64"})
    return Offered(made, controls={"gesprekken_maal_indicatoren": len(UNITS) * len(step.partitions)})


UNITS = {
    "afwijkende_matrixcellen": "aantal",
    "afwijkende_eens_tellingen": "aantal",
    "herhaalde_stemmen": "aantal",
    "gewijzigde_stemmen": "aantal",
    "overeenkomst_groepen_platform": "ari",
    "afwijking_groepsconsensus_platform": "verschil",
    "gini_stemmen": "gini",
    "aandeel_top10_pct": "pct",
    "aandeel_stellingen_afgewezen_pct": "pct",
    "aandeel_voorstellen_beantwoord_pct": "pct",
    "stellingen_met_stemblok": "aantal",
    "stellingen_met_vloed": "aantal",
}
"""Unit of each indicator."""


def _of_conversation(
    people: pd.DataFrame,
    statements: pd.DataFrame,
    proposals: pd.DataFrame,
    groups: pd.DataFrame,
    figures: pd.DataFrame,
) -> Iterator[tuple[str, float | None]]:
    from koploper_pipelines.methods.slimme_participatie import reach

    voters = people.loc[people["aantal_stemmen"] > 0, "aantal_stemmen"]
    yield "gini_stemmen", reach.gini(voters) if len(voters) else None
    yield "aandeel_top10_pct", 100 * reach.share_of_top(voters) if len(voters) else None
    rejected = (statements["moderatie"] == "afgewezen").mean()
    yield "aandeel_stellingen_afgewezen_pct", 100 * rejected if len(statements) else None
    answered = proposals["uitkomst"].isin(ANSWERED).mean()
    yield "aandeel_voorstellen_beantwoord_pct", 100 * answered if len(proposals) else None
    yield "overeenkomst_groepen_platform", None if groups.empty else groups["overeenkomst_platform"].iloc[0]
    both = statements.merge(figures, on="stelling_id")
    both = both[(both["groepen_bron"] == "platform") & both["platform_groepsconsensus"].notna()]
    gap = (both["groepsconsensus"] - both["platform_groepsconsensus"]).abs().max()
    yield "afwijking_groepsconsensus_platform", gap if len(both) else None
    yield "stellingen_met_stemblok", None if figures.empty else float((figures["stemmen_uit_blok"] > 0).sum())
    yield "stellingen_met_vloed", None if figures.empty else float((figures["stemmen_uit_vloed"] > 0).sum())


def _controls(step: Step) -> dict[str, dict[str, float | None]]:
    """Per conversation how the votes compare with the platform's own matrix and counts of agreement.

    Polis counts every event, repeats too, where this chain counts the last vote: so all readable events are
    counted here, also those that were set aside. Where only the matrix was exported no event is known.
    """
    from koploper_pipelines.methods.slimme_participatie import contributions

    raw = contributions.newest(step.con, step.read(CONTRIBUTIONS))
    raw.filter("soort = 'matrixcel'").project(
        f"gesprek, deelnemer, item AS stelling_id, {contributions.VOTE} AS cel"
    ).create("cellen")
    raw.filter("soort = 'stem'").project("gesprek").distinct().create("met_logboek")
    step.read(STATEMENTS).create_view("bekende")
    step.read(VOTES).create_view("geteld")
    step.quarantine(VOTES).project(
        "partitie AS gesprek, reden, rij ->> '$.deelnemer' AS deelnemer,"
        " trim(rij ->> '$.item') AS stelling_id, TRY_CAST(rij ->> '$.stem' AS INTEGER) AS stem"
    ).create("terzijde")
    found = step.con.sql("""
        WITH laatste AS (
            SELECT gesprek, deelnemer, stelling_id, stem FROM geteld UNION ALL
            SELECT gesprek, deelnemer, stelling_id, stem FROM terzijde
            WHERE reden IN ('stelling_afgewezen', 'stelling_onbekend')
        ),
        tekens AS (
            SELECT c.gesprek,
                CASE WHEN sum(b.stem = c.cel) >= sum(b.stem = -c.cel) THEN 1 ELSE -1 END AS teken
            FROM cellen c JOIN laatste b USING (gesprek, deelnemer, stelling_id)
            WHERE c.cel <> 0 GROUP BY c.gesprek
        ),
        kolommen AS (SELECT DISTINCT gesprek, stelling_id FROM cellen),
        matrix AS (
            SELECT gesprek, count(*) FILTER (WHERE b.stem IS DISTINCT FROM c.cel * coalesce(teken, 1)) AS n
            FROM cellen c
            FULL JOIN (SELECT l.* FROM laatste l JOIN kolommen USING (gesprek, stelling_id)) b
                USING (gesprek, deelnemer, stelling_id)
            LEFT JOIN tekens USING (gesprek) GROUP BY gesprek
        ),
        gebeurtenissen AS (
            SELECT gesprek, stelling_id, stem FROM geteld UNION ALL
            SELECT gesprek, stelling_id, stem FROM terzijde
        ),
        eens AS (
            SELECT gesprek, count(*) FILTER (WHERE s.platform_eens <> coalesce(e.n, 0)) AS n
            FROM bekende s LEFT JOIN (
                SELECT gesprek, stelling_id, count(*) AS n FROM gebeurtenissen WHERE stem = 1 GROUP BY ALL
            ) e USING (gesprek, stelling_id)
            WHERE s.platform_eens IS NOT NULL GROUP BY gesprek
        ),
        redenen AS (
            SELECT l.gesprek, count(*) FILTER (WHERE reden = 'herhaald') AS herhaald,
                count(*) FILTER (WHERE reden = 'gewijzigd') AS gewijzigd
            FROM met_logboek l LEFT JOIN terzijde USING (gesprek) GROUP BY l.gesprek
        )
        SELECT g.gesprek, m.n, e.n, r.herhaald, r.gewijzigd
        FROM (SELECT DISTINCT gesprek FROM gebeurtenissen) g LEFT JOIN matrix m USING (gesprek)
        LEFT JOIN eens e ON e.gesprek = g.gesprek AND g.gesprek IN (FROM met_logboek)
        LEFT JOIN redenen r ON r.gesprek = g.gesprek
    """).fetchall()
    names = (
        "afwijkende_matrixcellen",
        "afwijkende_eens_tellingen",
        "herhaalde_stemmen",
        "gewijzigde_stemmen",
    )
    made = {g: dict(zip(names, values, strict=True)) for g, *values in found}
    return {name: made.get(name, dict.fromkeys(names)) for name in step.partitions}
