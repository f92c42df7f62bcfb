"""Cleaned: the votes that count, statements, participants, masked texts and what became of ideas.

Here belong the calls and the shape of the tables; the rules are in `methods/slimme_participatie/`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from koploper_pipelines.assets.slimme_participatie.raw import CONTRIBUTIONS
from koploper_pipelines.gates.staging import Offered
from koploper_pipelines.gates.table import Reads, Step, gated_table
from koploper_pipelines.relations import count, select

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

VOTES = "slimme_participatie/cleaned/stemmen"
STATEMENTS = "slimme_participatie/cleaned/stellingen"
PARTICIPANTS = "slimme_participatie/cleaned/deelnemers"
TEXTS = "slimme_participatie/cleaned/teksten"
PROPOSALS = "slimme_participatie/cleaned/voorstellen"
FROM_RAW = [Reads(CONTRIBUTIONS)]
SOURCE = ("gesprek", "bestand", "rij")
IS_TEXT = "(soort IN ('stelling', 'idee', 'reactie') OR (soort = 'gesprek' AND item IN ('topic', 'titel')))"


@gated_table(VOTES, reads=FROM_RAW)
def stemmen(step: Step) -> Offered:
    """The last vote of each person on each statement that was not rejected."""
    from koploper_pipelines.methods.slimme_participatie import contributions

    # Once: it is gone through several times, and only these columns are needed.
    _newest(step).project(
        "gesprek, bestand, rij, geland_op, soort, deelnemer, item, tijd, waarde, moderatie, eens, tekst"
    ).create("nieuwste")
    raw = step.con.table("nieuwste")
    contributions.votes(step.con, raw).create("beoordeelde_stemmen")
    judged = step.con.table("beoordeelde_stemmen")
    made = judged.filter("reden IS NULL").project(
        "gesprek, deelnemer, trim(item) AS stelling_id, stem, op AS gestemd_op"
    )
    columns = ", ".join((*SOURCE, "deelnemer", "item", "tijd", "waarde", "stem", "reden", "toelichting"))
    return Offered(
        made,
        rejected=judged.filter("reden IS NOT NULL").project(columns),
        # Counted in the raw rows, apart from how they were judged.
        rows_in=count(contributions.events(step.con, raw)),
        controls={"paren_van_persoon_en_stelling": _pairs(step, raw)},
    )


@gated_table(STATEMENTS, reads=FROM_RAW)
def stellingen(step: Step) -> Offered:
    """Every statement with its moderation and what the platform itself counted."""
    from koploper_pipelines.methods.slimme_participatie import contributions

    raw = _newest(step)
    contributions.statements(step.con, raw).create("beoordeelde_stellingen")
    judged = step.con.table("beoordeelde_stellingen")
    counted = ", ".join(f"TRY_CAST({c} AS BIGINT) AS platform_{c}" for c in ("eens", "oneens", "neutraal"))
    made = judged.filter("reden IS NULL").project(
        f"gesprek, stelling_id, oordeel AS moderatie, ingediend_op, {counted},"
        " TRY_CAST(consensus AS DOUBLE) AS platform_groepsconsensus,"
        " oordeel = 'geaccepteerd' OR (oordeel = 'onbeslist' AND is_open) AS mag_tonen"
    )
    columns = ", ".join((*SOURCE, "item", "moderatie", "reden", "toelichting"))
    return Offered(
        made,
        rejected=judged.filter("reden IS NOT NULL").project(columns),
        rows_in=count(raw.filter("soort = 'stelling'")),
    )


@gated_table(PARTICIPANTS, reads=[*FROM_RAW, Reads(VOTES, quarantine=True)])
def deelnemers(step: Step) -> Offered:
    """Everybody who contributed anything, with what the platform and the organisation know of them."""
    from koploper_pipelines.methods.slimme_participatie import reach

    raw = _newest(step)
    raw.create_view("bron")
    step.read(VOTES).create_view("geteld")
    step.quarantine(VOTES).create_view("terzijde")
    known = step.con.sql("""
        WITH iedereen AS (
            SELECT DISTINCT gesprek, deelnemer FROM bron
            WHERE deelnemer IS NOT NULL AND soort IN ('stem', 'matrixcel', 'deelnemer', 'idee', 'reactie')
        ),
        stemmen AS (SELECT gesprek, deelnemer, count(*) AS n FROM geteld GROUP BY ALL),
        afgewezen AS (
            SELECT partitie AS gesprek, rij ->> '$.deelnemer' AS deelnemer, count(*) AS n
            FROM terzijde WHERE reden = 'stelling_afgewezen' GROUP BY ALL
        ),
        teksten AS (
            SELECT gesprek, deelnemer, count(*) AS n FROM bron WHERE soort IN ('idee', 'reactie') GROUP BY ALL
        ),
        kenmerken AS (
            SELECT gesprek, deelnemer, max(nullif(trim(groep), '')) AS groep, max(leeftijd) AS leeftijd,
                max(lower(trim(geslacht))) AS geslacht, max(trim(gemeente)) AS gemeente
            FROM bron WHERE soort = 'deelnemer' GROUP BY ALL
        )
        SELECT i.gesprek, i.deelnemer, coalesce(s.n, 0) AS aantal_stemmen,
            coalesce(a.n, 0) AS aantal_stemmen_op_afgewezen, coalesce(t.n, 0) AS aantal_teksten,
            TRY_CAST(TRY_CAST(k.groep AS DOUBLE) AS BIGINT) AS platform_groep,
            k.leeftijd, k.geslacht, k.gemeente
        FROM iedereen i LEFT JOIN stemmen s USING (gesprek, deelnemer)
        LEFT JOIN afgewezen a USING (gesprek, deelnemer) LEFT JOIN teksten t USING (gesprek, deelnemer)
        LEFT JOIN kenmerken k USING (gesprek, deelnemer)
    """).df()
    ages = {said: reach.age_band(said) for said in known["leeftijd"].dropna().unique()}
    sexes = {"m": "man", "man": "man", "mannen": "man", "v": "vrouw", "vrouw": "vrouw", "vrouwen": "vrouw"}
    made = known.assign(
        leeftijd=known["leeftijd"].map(ages).astype("str"),
        geslacht=known["geslacht"].map(
            lambda said: sexes.get(said, "anders") if isinstance(said, str) else None
        ),
        platform_groep=known["platform_groep"].astype("Int64"),
    ).rename(columns={"leeftijd": "leeftijdsklasse"})
    made["leeftijdsklasse"] = made["leeftijdsklasse"].where(
        made["leeftijdsklasse"].isin([b[2] for b in reach.AGE_BANDS])
    )
    return Offered(made, controls={"stemmen": count(step.read(VOTES))})


@gated_table(TEXTS, reads=FROM_RAW)
def teksten(step: Step) -> Offered:
    """Every text, readable, masked and with its language; unusable ones are set aside."""
    import pandas as pd

    from koploper_pipelines.methods.slimme_participatie import texts

    raw = _newest(step).filter(IS_TEXT)
    rows = (
        raw.project("gesprek, soort, trim(item) AS tekst_id, bestand, rij, tekst")
        .order("gesprek, soort, bestand, rij")
        .df()
    )
    reason = rows["tekst"].map(lambda t: texts.unusable(t if isinstance(t, str) else None)).astype(object)
    reason = reason.mask(rows["tekst_id"].isna() | (rows["tekst_id"] == ""), "zonder_nummer")
    reason = reason.mask(reason.isna() & rows.duplicated(["gesprek", "soort", "tekst_id"]), "dubbel")
    kept = rows[reason.isna()].reset_index(drop=True)
    made = pd.concat(
        [kept[["gesprek", "soort", "tekst_id"]], _masked(kept["tekst"], kept["soort"] == "gesprek")], axis=1
    )
    aside = rows[reason.notna()].assign(
        reden=reason[reason.notna()], toelichting="de tekst zelf wordt niet bewaard"
    )
    step.con.register(
        "terzijde", aside[[*SOURCE, "soort", "tekst_id", "reden", "toelichting"]].astype({"reden": "str"})
    )
    return Offered(made, rejected=step.con.table("terzijde"), rows_in=count(raw))


def _masked(said: pd.Series, is_title: pd.Series) -> pd.DataFrame:
    """Text, language, and the number of masked items of each kind; titles keep their names."""
    import pandas as pd

    from koploper_pipelines.methods.slimme_participatie import texts
    from koploper_pipelines.methods.slimme_participatie.personal import KINDS

    made: list[dict[str, object]] = []
    if len(said):
        # Only where there is text: without it the lists of names are not loaded.
        from koploper_pipelines.resources.dutch_names import names_and_addresses
        from koploper_pipelines.resources.languages import language

        find = names_and_addresses()
        for text, keeps_names in zip(said, is_title, strict=True):
            readable = texts.readable(text)
            masked = texts.mask(readable, (lambda _: ()) if keeps_names else find)
            made.append({"tekst": masked.text, "taal": language(readable), **masked.found})
    columns = ["tekst", "taal", *KINDS]
    frame = pd.DataFrame(made, columns=columns)
    counts = {k: frame[k].fillna(0).astype("int64") for k in KINDS}
    return (
        frame.assign(**counts)
        .astype({"tekst": "str", "taal": "str"})
        .rename(columns={k: f"aantal_{k}" for k in KINDS})
    )


@gated_table(PROPOSALS, reads=FROM_RAW)
def voorstellen(step: Step) -> Offered:
    """Every idea with what was done with it, and how long the answer took."""
    from koploper_pipelines.methods.slimme_participatie.contributions import MOMENT

    raw = _newest(step).filter("soort = 'idee'")
    judged = select(
        raw,
        "r",
        f"""
        WITH gelezen AS (
            SELECT *, trim(item) AS voorstel_id, {MOMENT} AS ingediend_op,
                {MOMENT.replace("tijd", "beantwoord_op")} AS antwoord_op,
                CASE WHEN status IS NULL OR lower(trim(status)) IN ('', 'not_answered', 'open', 'published')
                    THEN 'niet_beantwoord' ELSE CASE lower(trim(status))
                    WHEN 'accepted' THEN 'overgenomen' WHEN 'overgenomen' THEN 'overgenomen'
                    WHEN 'deels overgenomen' THEN 'deels_overgenomen'
                    WHEN 'deels_overgenomen' THEN 'deels_overgenomen'
                    WHEN 'rejected' THEN 'afgewezen' WHEN 'afgewezen' THEN 'afgewezen'
                    WHEN 'uitgevoerd' THEN 'uitgevoerd' WHEN 'executed' THEN 'uitgevoerd'
                    WHEN 'evaluating' THEN 'in_behandeling' WHEN 'in behandeling' THEN 'in_behandeling'
                    WHEN 'in_behandeling' THEN 'in_behandeling' WHEN 'withdrawn' THEN 'ingetrokken'
                    WHEN 'ingetrokken' THEN 'ingetrokken' ELSE 'onbekend' END END AS uitkomst
            FROM r
        )
        SELECT *, CASE WHEN voorstel_id IS NULL OR voorstel_id = '' THEN 'zonder_nummer'
            WHEN row_number() OVER (PARTITION BY gesprek, voorstel_id ORDER BY bestand, rij) > 1 THEN 'dubbel'
            WHEN antwoord_op < ingediend_op THEN 'antwoord_voor_indiening' END AS reden,
            'rij ' || rij || ' van ' || bestand AS toelichting
        FROM gelezen
        """,
    )
    made = judged.filter("reden IS NULL").project(
        "gesprek, voorstel_id, uitkomst, ingediend_op, antwoord_op AS beantwoord_op,"
        " date_diff('second', ingediend_op, antwoord_op) / 86400.0 AS antwoord_dagen,"
        " TRY_CAST(TRY_CAST(steun AS DOUBLE) AS BIGINT) AS steun"
    )
    columns = ", ".join((*SOURCE, "item", "reden", "toelichting"))
    return Offered(made, rejected=judged.filter("reden IS NOT NULL").project(columns), rows_in=count(raw))


def _newest(step: Step) -> duckdb.DuckDBPyRelation:
    from koploper_pipelines.methods.slimme_participatie import contributions

    return contributions.newest(step.con, step.read(CONTRIBUTIONS))


def _pairs(step: Step, raw: duckdb.DuckDBPyRelation) -> int:
    """Different pairs of person and statement: no more votes than these can count."""
    from koploper_pipelines.methods.slimme_participatie import contributions

    return count(contributions.events(step.con, raw).project("gesprek, deelnemer, trim(item)").distinct())
