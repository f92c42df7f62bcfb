"""How many items get a sure and right label, had other choices been made: the variants of this experiment.

Here belong the choices, the conclusion that is tested on them, and the figure under every combination. A
method is fitted and calibrated once for all combinations that use it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from koploper_pipelines.assets.taggen_en_gamen import TaggenSettings
from koploper_pipelines.assets.taggen_en_gamen.cleaned import CLEAN, CLEAN_GOLD
from koploper_pipelines.assets.taggen_en_gamen.evaluation import unused_gold
from koploper_pipelines.assets.taggen_en_gamen.indicators import (
    calibration,
    labelled_questions,
    read_gold,
    seeds,
)
from koploper_pipelines.gates.staging import Offered
from koploper_pipelines.gates.table import Reads, Step, gated_table

if TYPE_CHECKING:
    import pandas as pd

    from koploper_pipelines.methods.gevoeligheid import Choice, Combination, Conclusion, Figure

VARIANTS = "taggen_en_gamen/evaluation/gevoeligheid"
INDICATOR = "aandeel_aanvaard_en_goed"
THRESHOLD_PCT = 50.0


def choices(choice: TaggenSettings, method: str) -> tuple[Choice, ...]:
    """The choices for a question whose labels are published by a method; reasons: docs/duiding.md."""
    from koploper_pipelines.methods.gevoeligheid import Choice, Level

    methods = {
        "meerderheid": "iedere speler telt even zwaar",
        "een_munt": "een speler is even vaak goed bij ieder label",
        "dawid_skene": "een speler vergist zich per label anders",
    }
    least = {1: "een oordeel van één speler is geen overeenstemming", 2: "twee spelers", 3: "drie", 5: "vijf"}
    return (
        Choice("methode", tuple(Level(m, m, True, why) for m, why in methods.items())).with_default(method),
        Choice("min_oordelen", tuple(Level(str(n), n, n > 1, why) for n, why in least.items())).with_default(
            choice.min_oordelen
        ),
        Choice(
            "aanvaarden_vanaf",
            tuple(Level(f"{c:.2f}", c, True, "geijkt vertrouwen") for c in (0.80, 0.90, 0.95)),
        ).with_default(choice.aanvaarden_vanaf),
    )


def conclusion() -> Conclusion:
    """What is concluded from the figure, said beforehand."""
    from koploper_pipelines.methods.gevoeligheid import Conclusion

    return Conclusion(
        "Meer dan de helft van wat deskundigen beoordeelden krijgt een label dat zeker genoeg en goed is",
        THRESHOLD_PCT,
    )


@gated_table(VARIANTS, reads=[Reads(CLEAN), Reads(CLEAN_GOLD)], settings=TaggenSettings)
def gevoeligheid(step: Step) -> Offered:
    """The figure under every combination, of each question with labels of experts."""
    import pandas as pd

    from koploper_pipelines.methods import gevoeligheid as method
    from koploper_pipelines.methods.taggen_en_gamen import labels

    choice: TaggenSettings = step.settings(TaggenSettings)
    gold = read_gold(step)
    contract = step.platform.tables[VARIANTS].contract
    made, expected = [], 0
    for question, kind, rows in labelled_questions(step):
        own = gold[gold["vraag"] == question]
        if len(labels.METHODS[kind]) == 1 or own.empty or not (rows["gewicht"] > 0).any():
            continue
        asked = method.combinations(choices(choice, labels.chosen_method(rows, kind, choice.methode)))
        expected += len(asked)
        found = figures(rows, kind, own, choice, asked)
        made.append(found.assign(onderdeel=question, kerncijfer=INDICATOR, eenheid="%", maand=None))
    columns = [c.name for c in contract.columns]
    table = pd.concat(made, ignore_index=True) if made else pd.DataFrame(columns=columns)
    kinds = {"number": "float64", "integer": "int64", "string": "str", "boolean": "bool"}
    typed = table[columns].astype({c.name: kinds[c.type] for c in contract.columns})
    return Offered(typed, controls={"combinaties_maal_vragen": expected})


def figures(
    rows: pd.DataFrame, kind: str, gold: pd.DataFrame, choice: TaggenSettings, asked: Sequence[Combination]
) -> pd.DataFrame:
    """The figure of one question under the combinations that are asked for, a row each."""
    from koploper_pipelines.methods import gevoeligheid as method
    from koploper_pipelines.methods.gevoeligheid import Figure
    from koploper_pipelines.methods.taggen_en_gamen import confidence

    judged = {m: _judged(rows, kind, gold, choice, m) for m in sorted({c["methode"].value for c in asked})}
    players = int(rows.loc[rows["gewicht"] > 0, "speler"].nunique())

    def make(combination: Combination, claims: frozenset[str]) -> Figure:
        found = judged[combination["methode"].value]
        own = found[found["claim"].isin(claims)]
        accepted = (own["vertrouwen"] >= combination["aanvaarden_vanaf"].value) & (
            own["aantal_oordelen"] >= combination["min_oordelen"].value
        )
        hits = float((own["kans_goed"] * accepted).sum())
        low, high = confidence.wilson(hits, len(own))
        return Figure(100 * hits / len(own), 100 * low, 100 * high, players)

    # Too few players: nothing of this question may be shown.
    enough = players >= choice.min_spelers
    cells = {
        method.name_of(c): frozenset(judged[c["methode"].value]["claim"]) if enough else frozenset()
        for c in asked
    }
    return method.tabulated(asked, cells, make, conclusion())


def _judged(
    rows: pd.DataFrame, kind: str, gold: pd.DataFrame, choice: TaggenSettings, method: str
) -> pd.DataFrame:
    """The claims of a method on items that experts labelled, with their calibrated confidence."""
    from koploper_pipelines.methods.taggen_en_gamen import labels

    found = labels.claims(rows, kind, method, seeds(gold, choice))
    fit = calibration(found, kind, gold, choice)
    found = found.assign(vertrouwen=fit(found["kans"].to_numpy(float)))
    judged = labels.against_gold(found, kind, unused_gold(gold, choice))
    # One claim an item; of several labels an item has a claim a label, which all methods make.
    claim: Any = judged["item"] if kind == "enkel" else judged["item"] + "|" + judged["label"]
    return judged.assign(claim=claim)
