"""How broad the support in all groups would be had other choices been made: the variants of this experiment.

Here belong the choices, the conclusion that is tested on them, and the figure under every combination. Groups
are made once for each number of groups and least number of votes; weights count people, they make no groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from koploper_pipelines.assets.slimme_participatie import ParticipatieSettings
from koploper_pipelines.assets.slimme_participatie.indicators import (
    FOUND,
    FROM_VOTES,
    GROUPS,
    Conversation,
    conversations,
    group_rules,
    typed,
)
from koploper_pipelines.assets.slimme_participatie.published import last_months, weighted_people
from koploper_pipelines.assets.slimme_participatie.raw import CONTRIBUTIONS, POPULATION
from koploper_pipelines.gates.staging import Offered
from koploper_pipelines.gates.table import Reads, Step, gated_table

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from koploper_pipelines.methods.gevoeligheid import Choice, Combination, Conclusion, Figure

VARIANTS = "slimme_participatie/evaluation/gevoeligheid"
INDICATOR = "steun_in_minst_steunende_groep"
BEST = "beste"
TOP = 5
"""Statements with the broadest support, by the published choices."""
RESAMPLES = 200


def choices(choice: ParticipatieSettings, *, has_weights: bool) -> tuple[Choice, ...]:
    """The choices for a conversation; without known demography nobody can be weighted."""
    from koploper_pipelines.methods.gevoeligheid import Choice, Level

    votes = {
        1: "wie één keer stemde is niet in te delen",
        5: "ook wie korter meedeed",
        7: "zoals Polis",
        10: "alleen wie langer meedeed",
    }
    numbers = [Level(BEST, BEST, True, "het aantal met de duidelijkste scheiding", is_default=True)]
    numbers += [Level(str(k), k, True, f"vast op {k} groepen") for k in range(2, choice.max_groepen)]
    made = [
        Choice("min_stemmen", tuple(Level(str(n), n, n > 1, why) for n, why in votes.items())).with_default(
            choice.min_stemmen
        ),
        Choice("aantal_groepen", tuple(numbers)),
    ]
    if has_weights:
        weighting = (
            Level("nee", False, True, "iedere deelnemer telt even zwaar", is_default=True),
            Level("ja", True, True, "naar leeftijd, geslacht en gemeente van de bevolking"),
        )
        made.append(Choice("weging", weighting))
    return tuple(made)


def conclusion() -> Conclusion:
    """What is concluded from the figure, said beforehand."""
    from koploper_pipelines.methods.gevoeligheid import Conclusion

    return Conclusion(
        f"Bij de {TOP} stellingen met de breedste steun is in iedere groep een meerderheid het eens", 50.0
    )


@gated_table(
    VARIANTS,
    reads=[*FROM_VOTES, Reads(GROUPS), Reads(CONTRIBUTIONS), Reads(POPULATION)],
    settings=ParticipatieSettings,
)
def gevoeligheid(step: Step) -> Offered:
    """The figure under every combination, of each conversation in which groups were found."""
    import pandas as pd

    from koploper_pipelines.methods import gevoeligheid as method

    choice: ParticipatieSettings = step.settings(ParticipatieSettings)
    verdicts = step.read(GROUPS).df().set_index("gesprek")["uitkomst"]
    months = last_months(step).set_index("gesprek")["maand"]
    contract = step.platform.tables[VARIANTS].contract
    made, expected = [], 0
    for talk in conversations(step):
        if verdicts.get(talk.name) != FOUND:
            continue
        weight = _weights(step, talk)
        asked = method.combinations(choices(choice, has_weights=weight is not None))
        expected += len(asked)
        found = figures(talk, weight, choice, asked)
        own = {"gesprek": talk.name, "onderdeel": talk.name, "maand": months[talk.name]}
        made.append(found.assign(**own, kerncijfer=INDICATOR, eenheid="%"))
    columns = [c.name for c in contract.columns]
    table = pd.concat(made, ignore_index=True) if made else pd.DataFrame(columns=columns)
    return Offered(typed(table[columns], contract), controls={"combinaties_maal_gesprekken": expected})


def _weights(step: Step, talk: Conversation) -> npt.NDArray[np.float64] | None:
    """Weight of each participant in the order of the arrays; None where it cannot be told."""
    import numpy as np

    for _, people, weight, _ in weighted_people(step, talk.people):
        by_person = dict(zip(people["deelnemer"], weight, strict=True))
        return np.array([by_person[p] for p in talk.people["deelnemer"]])
    return None


@dataclass(frozen=True)
class _Support:
    """Of one grouping the votes of those who are placed, for counting with any weights."""

    label: npt.NDArray[np.int64]
    number: int


def figures(
    talk: Conversation,
    weight: npt.NDArray[np.float64] | None,
    choice: ParticipatieSettings,
    asked: Sequence[Combination],
) -> pd.DataFrame:
    """The figure of one conversation under the combinations that are asked for, a row each."""
    import numpy as np

    from koploper_pipelines.methods import gevoeligheid as method
    from koploper_pipelines.methods.gevoeligheid import Figure

    made = _groupings(talk, choice, {c["min_stemmen"].value for c in asked})
    even = np.ones(talk.votes.participants)

    def grouping(combination: Combination) -> _Support | None:
        return made[combination["min_stemmen"].value, combination["aantal_groepen"].value]

    cells = {}
    for combination in asked:
        own = grouping(combination)
        enough = np.zeros(talk.votes.statements, bool)
        if own is not None:
            # Opinion crossed with group: at least so many people in each group behind each statement.
            enough |= (_share(talk, own, even)[1] >= choice.min_deelnemers).all(axis=0)
        cells[method.name_of(combination)] = frozenset(map(str, np.flatnonzero(enough)))
    usual = grouping(next(c for c in asked if all(level.is_default for level in c.values())))
    shared = np.array(sorted(map(int, method.shared_cells(cells))), dtype=np.int64)
    top = shared
    if usual is not None and len(shared):
        support = _share(talk, usual, even)[0].min(axis=0)
        top = shared[np.argsort(-support[shared], kind="stable")[:TOP]]

    def make(combination: Combination, statements: frozenset[str]) -> Figure:
        own = grouping(combination)
        assert own is not None
        places = np.array(sorted(map(int, statements)))
        base = weight if weight is not None and _is_weighted(combination) else even
        value, low, high = _broadest(talk, own, base, places, choice.toeval)
        return Figure(value, low, high, int((own.label >= 0).sum()))

    # Few statements, chosen by the published choices, and the same under all.
    return method.tabulated(asked, cells, make, conclusion(), on=frozenset(map(str, top)))


def _is_weighted(combination: Combination) -> bool:
    return "weging" in combination and bool(combination["weging"].value)


def _groupings(
    talk: Conversation, choice: ParticipatieSettings, least: set[int]
) -> dict[tuple[int, Any], _Support | None]:
    """Groups for each least number of votes and each number of groups, the best number among them."""
    from koploper_pipelines.methods.slimme_participatie import groups

    made: dict[tuple[int, Any], _Support | None] = {}
    for votes in sorted(least):
        rules = replace(group_rules(choice), min_votes=votes)
        found = [groups.opinion_groups(talk.votes, rules, number=k) for k in range(2, choice.max_groepen + 1)]
        made |= {(votes, g.number): _Support(g.label, g.number) for g in found if g.number}
        for number in range(2, choice.max_groepen):
            made.setdefault((votes, number), None)
        best = max((g for g in found if g.number), key=lambda g: g.silhouette, default=None)
        made[votes, BEST] = None if best is None else _Support(best.label, best.number)
    return made


def _share(
    talk: Conversation, own: _Support, weight: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Per group and statement the weighted share that agrees, and the number of voters."""
    import numpy as np

    votes = talk.votes
    placed = own.label[votes.participant] >= 0
    person, statement = votes.participant[placed], votes.statement[placed]
    cell = own.label[person] * votes.statements + statement
    size = own.number * votes.statements

    def counted(values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        total: npt.NDArray[np.float64] = np.bincount(cell, values, size).astype(np.float64)
        return total.reshape(own.number, votes.statements)

    seen, agree = counted(weight[person]), counted(weight[person] * (votes.value[placed] > 0))
    number = np.bincount(cell, minlength=size).reshape(own.number, votes.statements).astype(np.int64)
    return np.asarray(np.divide(agree, seen, out=np.zeros_like(agree), where=seen > 0)), number


def _broadest(
    talk: Conversation,
    own: _Support,
    weight: npt.NDArray[np.float64],
    statements: npt.NDArray[np.int64],
    seed: int,
) -> tuple[float, float, float]:
    """Mean over statements of the support in the least supporting group, in percent, with its interval.

    Percentiles over resamples of participants within groups that stay as they are.
    """
    import numpy as np

    chosen = replace(talk, votes=talk.votes.on(np.isin(np.arange(talk.votes.statements), statements)))
    value = float(_share(chosen, own, weight)[0][:, statements].min(axis=0).mean())
    random = np.random.default_rng(seed)
    drawn = []
    for _ in range(RESAMPLES):
        again = weight * random.poisson(1.0, len(weight))
        drawn.append(_share(chosen, own, again)[0][:, statements].min(axis=0).mean())
    low, high = np.quantile(drawn, [0.025, 0.975])
    # A minimum of resampled shares lies lower than that of the shares: the interval holds the figure anyway.
    return 100 * value, 100 * min(float(low), value), 100 * max(float(high), value)
