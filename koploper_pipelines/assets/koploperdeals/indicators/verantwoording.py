"""Indicators: judgements counted over the doelenboom.

Here belongs the call; what counts where is in `methods/koploperdeals/accountability.py`.
"""

from __future__ import annotations

from koploper_pipelines.assets.koploperdeals.cleaned.register import GOALS, JUDGEMENTS, ROWS, sheet
from koploper_pipelines.assets.koploperdeals.shape import offered
from koploper_pipelines.gates.staging import Offered
from koploper_pipelines.gates.table import Reads, Step, gated_table

ACCOUNT = "koploperdeals/indicators/verantwoording"


@gated_table(ACCOUNT, reads=[Reads(GOALS), Reads(JUDGEMENTS), Reads(ROWS)])
def verantwoording(step: Step) -> Offered:
    """Per year, document, question, scope and place: counts, and the judgement that people gave."""
    from koploper_pipelines.methods.koploperdeals import accountability

    judgements = step.read(JUDGEMENTS).df()
    nodes = step.read(GOALS).df()
    rows = accountability.account(nodes, judgements, sheet(step, "gepubliceerde_cijfers"))
    levels = nodes.drop_duplicates("code").set_index("code")["niveau"]
    counted = judgements["code"].map(levels).isin(accountability.COUNTED_LEVELS)
    # Each counts at least for the province; totals per colour are held against the register on landing.
    return offered(step, ACCOUNT, rows, oordelen_alle_plaatsen=int(counted.sum()))
