"""Evaluation: what each experiment intended against what it reached, by its own published evaluation.

Here belongs the link from a deal to its experiment's folder. Which columns of an experiment's evaluation are
its goals is said in that table's own contract (`evaluatie`), so nothing here knows an experiment. Only
published tables are read: what their disclosure rules hide is hidden here too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from koploper_pipelines.assets.koploperdeals.cleaned.register import DEALS
from koploper_pipelines.assets.koploperdeals.shape import offered
from koploper_pipelines.gates.measures import literal
from koploper_pipelines.gates.staging import Offered
from koploper_pipelines.gates.table import GatedTable, Reads, Step, gated_table

if TYPE_CHECKING:
    import pandas as pd

    from koploper_pipelines.gates.step import Platform

REACHED = "koploperdeals/evaluation/bereikt"
NO_EVALUATION = "het experiment heeft geen evaluatie met doelen"


def _evaluations(platform: Platform) -> Iterator[GatedTable]:
    """Published tables that tell what their experiment intended and reached, as far as they were made."""
    for table in platform.tables.values():
        if table.contract.evaluation and platform.lake.exists(table.path):
            yield table


def _versions(platform: Platform) -> dict[str, int]:
    return {t.path: platform.lake.head(t.path).stamped_version for t in _evaluations(platform)}


@gated_table(REACHED, reads=[Reads(DEALS)], also=_versions)
def bereikt(step: Step) -> Offered:
    """A row per deal and goal of its experiment; one without a goal where that has no evaluation."""
    import pandas as pd

    deals = step.read(DEALS).df().query("experiment.notna()")[["deal", "experiment"]]
    told = [_goals(step, table) for table in _evaluations(step.platform)]
    columns = ["experiment", "doel", "beoogd", "bereikt", "bereikt_status", "bron"]
    goals = pd.concat(told, ignore_index=True) if told else pd.DataFrame(columns=columns)
    rows = deals.merge(goals, how="left", on="experiment")
    without = rows["doel"].isna()
    rows["doel"] = rows["doel"].fillna("geen")
    rows["bereikt_status"] = rows["bereikt_status"].fillna("niet_beschikbaar")
    rows["bron"] = rows["bron"].astype(object).fillna("niet bekend").mask(without, NO_EVALUATION)
    per_experiment = {str(t["experiment"].iloc[0]): len(t) for t in told if len(t)}
    expected = sum(per_experiment.get(e, 1) for e in deals["experiment"])
    return offered(step, REACHED, rows, doelen_van_deals=expected)


def _goals(step: Step, table: GatedTable) -> pd.DataFrame:
    """Goals of one experiment, by what its contract says of its evaluation."""
    lake = step.platform.lake
    said = table.contract.evaluation or {}
    rows = lake.relation(step.con, table.path, lake.head(table.path).version)
    chosen: pd.DataFrame = (
        rows.filter(said["waar"])
        .project(
            f"{literal(table.contract.experiment)} AS experiment, ({said['doel']})::VARCHAR AS doel,"
            f" ({said['beoogd']})::DOUBLE AS beoogd, ({said['bereikt']})::DOUBLE AS bereikt,"
            f" ({said['status']})::VARCHAR AS bereikt_status, ({said['bron']})::VARCHAR AS bron"
        )
        .df()
    )
    return chosen
