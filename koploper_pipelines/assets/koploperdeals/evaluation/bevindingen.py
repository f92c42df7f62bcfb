"""Evaluation: figures that were published against the records, with every difference as a finding.

Here belongs gathering them; how each is done again is in `methods/koploperdeals/accountability.py`.
"""

from __future__ import annotations

from koploper_pipelines.assets.koploperdeals import KoploperSettings
from koploper_pipelines.assets.koploperdeals.cleaned.register import GOALS, JUDGEMENTS, MONEY, ROWS, sheet
from koploper_pipelines.assets.koploperdeals.shape import offered
from koploper_pipelines.gates.staging import Offered
from koploper_pipelines.gates.table import Reads, Step, gated_table

FINDINGS = "koploperdeals/evaluation/bevindingen"


@gated_table(
    FINDINGS,
    reads=[Reads(GOALS), Reads(JUDGEMENTS), Reads(MONEY), Reads(ROWS)],
    settings=KoploperSettings,
)
def bevindingen(step: Step) -> Offered:
    """Each published figure beside what the records give."""
    import pandas as pd

    from koploper_pipelines.methods.koploperdeals import accountability

    nodes, judgements = step.read(GOALS).df(), step.read(JUDGEMENTS).df()
    published = sheet(step, "gepubliceerde_cijfers")
    counts = accountability.judgement_counts(nodes, judgements)
    causes = accountability.delay_causes(nodes, judgements)
    records = accountability.money(
        step.read(MONEY).df(), step.settings(KoploperSettings).ondergrens_verschil_eur
    )
    parts = [
        accountability.recomputed(published, counts, causes),
        accountability.parts_that_do_not_add_up(published),
        accountability.money_findings(records),
    ]
    rows = pd.concat(
        [pd.DataFrame(columns=accountability.FINDING), *(p for p in parts if len(p))], ignore_index=True
    )
    told = len(published) + int(records["is_afwijking_gelijk"].notna().sum())
    return offered(step, FINDINGS, rows, gepubliceerde_cijfers=told)
