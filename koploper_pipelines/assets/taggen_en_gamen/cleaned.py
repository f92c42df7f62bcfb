"""Cleaned: judgements that can be used, with marks and weights, and the labels of experts in two parts.

Here belong the calls; the rules are in `methods/taggen_en_gamen/`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from koploper_pipelines.assets.taggen_en_gamen import TaggenSettings
from koploper_pipelines.assets.taggen_en_gamen.raw import GOLD, JUDGEMENTS, QUESTIONS
from koploper_pipelines.gates.staging import Offered, relation
from koploper_pipelines.gates.table import Reads, Step, gated_table
from koploper_pipelines.relations import count

if TYPE_CHECKING:
    import pandas as pd

CLEAN = "taggen_en_gamen/cleaned/oordelen"
CLEAN_GOLD = "taggen_en_gamen/cleaned/goud"


@gated_table(CLEAN, reads=[Reads(JUDGEMENTS), Reads(QUESTIONS)], settings=TaggenSettings)
def oordelen(step: Step) -> Offered:
    """Every answer of every record, kept or set aside with one reason."""
    from koploper_pipelines.methods.taggen_en_gamen import cleaning

    choice: TaggenSettings = step.settings(TaggenSettings)
    raw = step.read(JUDGEMENTS)
    judged = cleaning.judge(
        raw.order("geland_op, bestand, rij").df().fillna({"antwoorden": "", "metadata": "", "versie": ""}),
        current_questions(step),
        cleaning.CleaningRules(min_duration_s=choice.min_duur_s),
    )
    received = count(raw)
    return Offered(
        judged.kept,
        rejected=relation(step.con, judged.set_aside),
        rows_in=received + judged.more,
        controls={"antwoorden_ontvangen": received + judged.more},
    )


@gated_table(CLEAN_GOLD, reads=[Reads(GOLD), Reads(CLEAN)])
def goud(step: Step) -> Offered:
    """Labels of experts, of files and of exports, split for calibration and evaluation."""
    from koploper_pipelines.methods.taggen_en_gamen import gold

    files = step.read(GOLD).order("geland_op, bestand, rij").df()
    judgements = step.read(CLEAN)
    experts = judgements.filter("is_deskundige AND NOT is_leeg").order("volgorde").df()
    kinds = dict(judgements.project("vraag, soort").distinct().fetchall())
    asked = sorted({*files["vraag"].dropna(), *experts["vraag"]})
    kept, set_aside, received = gold.judge(files, experts, kinds)
    return Offered(
        kept,
        rejected=relation(step.con, set_aside),
        rows_in=received,
        controls={"labels_ontvangen": received, "vragen_met_goud": asked},
    )


def current_questions(step: Step) -> pd.DataFrame:
    """The questions of each group as they were configured last."""
    rows = step.read(QUESTIONS).order("geland_op, bestand, rij").df()
    newest = rows.groupby("groep")["bestand"].transform("last")
    columns = [c for c in rows.columns if c not in ("bestand", "rij", "geland_op")]
    made: pd.DataFrame = rows.loc[rows["bestand"] == newest, columns].reset_index(drop=True)
    return made.astype({"richting_nul_graden": "float64"})
