"""Indicators: groups of opinion, what they think of each statement, and the theme of each text.

Here belong the calls and the shape of the tables. These tables are internal: what may be shown of them is
decided in `published.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from koploper_pipelines.assets.slimme_participatie import ParticipatieSettings
from koploper_pipelines.assets.slimme_participatie.cleaned import PARTICIPANTS, STATEMENTS, TEXTS, VOTES
from koploper_pipelines.assets.slimme_participatie.raw import CHECKS, EXPERIMENT, THEMES
from koploper_pipelines.gates.staging import Offered
from koploper_pipelines.gates.table import Reads, Step, gated_table
from koploper_pipelines.relations import count, select

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from koploper_pipelines.methods.slimme_participatie.groups import GroupRules, Votes

DIVISION = "slimme_participatie/indicators/indeling"
GROUPS = "slimme_participatie/indicators/groepen"
FIGURES = "slimme_participatie/indicators/stellingen"
PER_GROUP = "slimme_participatie/indicators/stellingen_per_groep"
TEXT_THEMES = "slimme_participatie/indicators/themas"
FROM_VOTES = [Reads(VOTES), Reads(STATEMENTS), Reads(PARTICIPANTS)]
FOUND = "groepen"
PLATFORM, OWN, NONE = "platform", "eigen", "geen"


@dataclass(frozen=True)
class Conversation:
    """The votes of one conversation as arrays, with the names of their rows and columns."""

    name: str
    votes: Votes
    people: pd.DataFrame
    """A row a participant, in the order of the arrays."""
    statements: npt.NDArray[Any]
    """Ids of the statements that were not rejected, in the order of the arrays."""
    seconds: npt.NDArray[np.int64]
    """Moment of each vote in seconds; 0 where none was exported."""


def conversations(step: Step) -> Iterator[Conversation]:
    """The conversations in hand that have votes, one by one."""
    import numpy as np

    from koploper_pipelines.methods.slimme_participatie.groups import Votes

    for name, table in (("gestemd", VOTES), ("mensen", PARTICIPANTS), ("gesteld", STATEMENTS)):
        step.read(table).create_view(name)
    # Numbered where the votes are: half a million names as text take longer than the grouping itself.
    place = "row_number() OVER (PARTITION BY gesprek ORDER BY {}) - 1 AS plaats"
    # Statements in the order of their numbers, as Polis goes through them; any other name after those.
    in_order = "TRY_CAST(stelling_id AS BIGINT) NULLS LAST, stelling_id"
    people = step.con.sql(f"""
        SELECT *, aantal_stemmen + aantal_stemmen_op_afgewezen AS uitgebracht, {place.format("deelnemer")}
        FROM mensen WHERE uitgebracht > 0 ORDER BY gesprek, deelnemer
    """)
    kept = step.con.sql(f"""
        SELECT gesprek, stelling_id, {place.format(in_order)}
        FROM gesteld WHERE moderatie <> 'afgewezen' ORDER BY gesprek, {in_order}
    """)
    # One after the other, lest all pairs of person and statement are made first.
    votes = step.con.sql("""
        WITH van_wie AS MATERIALIZED (
            SELECT gesprek, plaats AS wie, stelling_id, stem, coalesce(epoch(gestemd_op), 0)::BIGINT AS s
            FROM gestemd JOIN people USING (gesprek, deelnemer)
        )
        SELECT gesprek, wie, plaats AS wat, stem, s FROM van_wie JOIN kept USING (gesprek, stelling_id)
        ORDER BY gesprek, wie, wat
    """).df()
    rejected = step.con.sql(
        "SELECT gesprek, count(*) FILTER (WHERE moderatie = 'afgewezen') FROM gesteld GROUP BY gesprek"
    )
    rejections = dict(rejected.fetchall())
    everyone, listed = people.df(), kept.df()
    for name, cast in votes.groupby("gesprek", sort=True):
        own = everyone[everyone["gesprek"] == name].reset_index(drop=True)
        statements = listed.loc[listed["gesprek"] == name, "stelling_id"].to_numpy(dtype=object)
        yield Conversation(
            str(name),
            Votes(
                cast["wie"].to_numpy(dtype=np.int64),
                cast["wat"].to_numpy(dtype=np.int64),
                cast["stem"].to_numpy(dtype=float),
                len(own),
                len(statements),
                rejections[name],
                own["uitgebracht"].to_numpy(dtype=np.int64),
            ),
            own,
            statements,
            cast["s"].to_numpy(dtype=np.int64),
        )


def group_rules(choice: ParticipatieSettings) -> GroupRules:
    """The rules of the grouping that follow from the experiment's choices."""
    from koploper_pipelines.methods.slimme_participatie.groups import GroupRules

    return GroupRules(
        min_votes=choice.min_stemmen,
        max_groups=choice.max_groepen,
        min_stability=choice.min_stabiliteit,
        null_runs=choice.nulmodellen,
        seed=choice.toeval,
    )


@gated_table(DIVISION, reads=FROM_VOTES, settings=ParticipatieSettings)
def indeling(step: Step) -> Offered:
    """The group of every participant with votes; none for who voted too little."""
    import pandas as pd

    from koploper_pipelines.methods.slimme_participatie import groups

    rules = group_rules(step.settings(ParticipatieSettings))
    made, people = [], 0
    for talk in conversations(step):
        found = groups.opinion_groups(talk.votes, rules)
        label = pd.Series(found.label, dtype="Int64").mask(found.label == groups.NO_GROUP)
        made.append(
            pd.DataFrame(
                {
                    "gesprek": talk.name,
                    "deelnemer": talk.people["deelnemer"],
                    "groep": label + 1,
                    "silhouet": found.silhouette,
                }
            )
        )
        people += talk.votes.participants
    columns = {"gesprek": "str", "deelnemer": "str", "groep": "Int64", "silhouet": "float64"}
    rows = pd.concat(made) if made else pd.DataFrame(columns=list(columns))
    return Offered(rows.astype(columns), controls={"deelnemers_met_stem": people})


def _label(talk: Conversation, rows: pd.DataFrame) -> npt.NDArray[np.int64]:
    """Group of each participant from 0, -1 for none, in the order of the arrays."""
    own = rows[rows["gesprek"] == talk.name].set_index("deelnemer")["groep"]
    return _from_one(own.reindex(talk.people["deelnemer"]))


def _platform_label(talk: Conversation) -> npt.NDArray[np.int64]:
    """The platform's own groups, numbered from 0 by their number there; -1 for none."""
    return _from_one(talk.people["platform_groep"].rank(method="dense"))


def _from_one(group: pd.Series) -> npt.NDArray[np.int64]:
    """Labels from 0 for groups from 1; -1 for a missing one."""
    return group.fillna(0).to_numpy(dtype="int64") - 1


@gated_table(GROUPS, reads=[*FROM_VOTES, Reads(DIVISION)], settings=ParticipatieSettings)
def groepen(step: Step) -> Offered:
    """Of each conversation whether its groups are more than chance, and how like the platform's they are."""
    import numpy as np
    import pandas as pd
    from sklearn.metrics import adjusted_rand_score

    from koploper_pipelines.methods.slimme_participatie import groups

    rules = group_rules(step.settings(ParticipatieSettings))
    division = step.read(DIVISION).df()
    made = []
    for talk in conversations(step):
        label, theirs = _label(talk, division), _platform_label(talk)
        number = int(label.max(initial=-1)) + 1
        silhouette = float(division.loc[division["gesprek"] == talk.name, "silhouet"].iloc[0])
        grouping = groups.Grouping(label, np.empty((0, 2)), silhouette, number)
        judged = groups.judge(talk.votes, grouping, rules)
        both = (label >= 0) & (theirs >= 0)
        made.append(
            {
                "gesprek": talk.name,
                "toeval": rules.seed,
                "deelnemers_met_stem": talk.votes.participants,
                "ingedeeld": int((label >= 0).sum()),
                "gevonden_groepen": number,
                "silhouet": judged.silhouette,
                "stabiliteit": judged.stability,
                "silhouet_toeval": judged.null_independent,
                "silhouet_as": judged.null_axis,
                "uitkomst": judged.outcome,
                "platform_groepen": int(theirs.max(initial=-1)) + 1,
                "overeenkomst_platform": adjusted_rand_score(theirs[both], label[both])
                if both.sum() > 1
                else None,
            }
        )
    contract = step.platform.tables[GROUPS].contract
    rows = pd.DataFrame(made, columns=[c.name for c in contract.columns])
    placed = count(step.read(DIVISION).filter("groep IS NOT NULL"))
    return Offered(typed(rows, contract), controls={"ingedeelden": placed})


@gated_table(FIGURES, reads=[*FROM_VOTES, Reads(DIVISION), Reads(GROUPS)], settings=ParticipatieSettings)
def stellingen(step: Step) -> Offered:
    """Of each statement its votes, the consensus over groups, and whether somebody steered."""
    import numpy as np
    import pandas as pd

    from koploper_pipelines.methods.slimme_participatie import statements

    rules = group_rules(step.settings(ParticipatieSettings))
    division, verdicts = step.read(DIVISION).df(), step.read(GROUPS).df().set_index("gesprek")
    made = []
    for talk in conversations(step):
        votes = talk.votes
        whole = statements.count_by_group(votes, np.zeros(votes.participants, dtype=np.int64), 1)
        agree, disagree, seen = whole.agree[0], whole.disagree[0], whole.seen[0]
        is_found = verdicts.loc[talk.name, "uitkomst"] == FOUND
        own, theirs = _label(talk, division), _platform_label(talk)
        # The platform's own groups where it exported them: then anyone can repeat the figure from the export.
        source = PLATFORM if theirs.max(initial=-1) >= 0 else OWN if is_found else NONE
        label = theirs if source == PLATFORM else own
        number = int(label.max(initial=-1)) + 1
        rows = pd.DataFrame(
            {
                "gesprek": talk.name,
                "stelling_id": talk.statements,
                "stemmen": seen,
                "eens": agree,
                "oneens": disagree,
                "neutraal": seen - agree - disagree,
                "meerderheid": statements.majority_consensus(agree, disagree, seen),
                "groepen_bron": source,
            }
        )
        by_group = statements.count_by_group(votes, label, number)
        if source == NONE:
            rows = rows.assign(
                groepsconsensus=np.nan, consensus_onder=np.nan, consensus_boven=np.nan, ingedeelde_stemmen=0
            )
        else:
            low, high = statements.consensus_interval(by_group)
            rows["groepsconsensus"] = statements.group_informed_consensus(by_group.agree, by_group.seen)
            rows = rows.assign(
                consensus_onder=low, consensus_boven=high, ingedeelde_stemmen=by_group.seen.sum(axis=0)
            )
        rows["is_verdelend"] = pd.Series(pd.NA, index=rows.index, dtype="boolean")
        if is_found:
            held = statements.held_out(votes, own, int(own.max()) + 1, rules)
            rows["is_verdelend"] = pd.Series(np.any(held.distinctive, axis=0), index=rows.index)
        made.append(rows.assign(**_steering(talk)))
    contract = step.platform.tables[FIGURES].contract
    columns = [c.name for c in contract.columns]
    frame = pd.concat(made, ignore_index=True)[columns] if made else pd.DataFrame(columns=columns)
    return Offered(typed(frame, contract), controls={"getelde_stemmen": count(step.read(VOTES))})


def _steering(talk: Conversation) -> dict[str, Any]:
    """Votes on each statement that come from a bloc or a flood."""
    import numpy as np

    from koploper_pipelines.methods.slimme_participatie import statements

    votes = talk.votes
    bloc = statements.voting_blocs(votes)[votes.participant] >= 0
    flood = statements.floods(talk.seconds, votes.statement, votes.value) & (talk.seconds > 0)
    return {
        "stemmen_uit_blok": np.bincount(votes.statement[bloc], minlength=votes.statements),
        "stemmen_uit_vloed": np.bincount(votes.statement[flood], minlength=votes.statements),
    }


def typed(frame: pd.DataFrame, contract: Any) -> pd.DataFrame:
    """Nullable columns of the contract's types, so that a frame without rows has types too."""
    kinds = {"string": "str", "integer": "Int64", "number": "float64", "boolean": "boolean"}
    return frame.astype({c.name: kinds[c.type] for c in contract.columns if c.type in kinds})


@gated_table(PER_GROUP, reads=[*FROM_VOTES, Reads(DIVISION), Reads(GROUPS)], settings=ParticipatieSettings)
def stellingen_per_groep(step: Step) -> Offered:
    """Votes of each found group on each statement, what represents it, and where it differs."""
    import numpy as np
    import pandas as pd

    from koploper_pipelines.methods.slimme_participatie import statements

    rules = group_rules(step.settings(ParticipatieSettings))
    division, verdicts = step.read(DIVISION).df(), step.read(GROUPS).df().set_index("gesprek")
    contract = step.platform.tables[PER_GROUP].contract
    made, total = [], 0
    for talk in conversations(step):
        if verdicts.loc[talk.name, "uitkomst"] != FOUND:
            continue
        label = _label(talk, division)
        number = int(label.max()) + 1
        counts = statements.count_by_group(talk.votes, label, number)
        held = statements.held_out(talk.votes, label, number, rules)
        cells = pd.DataFrame(
            {
                "gesprek": talk.name,
                "stelling_id": np.tile(talk.statements, number),
                "groep": np.repeat(np.arange(1, number + 1), len(talk.statements)),
                "stemmen": counts.seen.ravel(),
                "eens": counts.agree.ravel(),
                "oneens": counts.disagree.ravel(),
                "neutraal": (counts.seen - counts.agree - counts.disagree).ravel(),
                "verschil": held.difference.ravel(),
                "verschil_onder": held.low.ravel(),
                "verschil_boven": held.high.ravel(),
                "is_onderscheidend": held.distinctive.ravel(),
            }
        )
        typical = statements.representative(counts)
        typical["groep"] += 1
        typical["stelling_id"] = talk.statements[typical["stelling"]]
        typical["kant"] = typical["kant"].map({1: "eens", -1: "oneens"})
        cells = cells.merge(
            typical[["groep", "stelling_id", "kant", "rang"]], how="left", on=["groep", "stelling_id"]
        )
        made.append(cells)
        total += int((label[talk.votes.participant] >= 0).sum())
    columns = [c.name for c in contract.columns]
    frame = pd.concat(made, ignore_index=True)[columns] if made else pd.DataFrame(columns=columns)
    return Offered(typed(frame, contract), controls={"stemmen_van_ingedeelden": total})


@gated_table(TEXT_THEMES, reads=[Reads(TEXTS), Reads(THEMES), Reads(CHECKS)], settings=ParticipatieSettings)
def themas(step: Step) -> Offered:
    """The theme of every text of a citizen; a sample of each conversation is put ready to be checked."""
    import pandas as pd

    from koploper_pipelines.methods.slimme_participatie import themes

    choice: ParticipatieSettings = step.settings(ParticipatieSettings)
    texts = step.read(TEXTS).filter("soort <> 'gesprek'").order("gesprek, soort, tekst_id").df()
    listed = select(
        step.read(THEMES), "t", "SELECT * FROM t QUALIFY geland_op = max(geland_op) OVER () ORDER BY rij"
    ).df()
    contract = step.platform.tables[TEXT_THEMES].contract
    if listed.empty:
        return Offered(
            typed(pd.DataFrame(columns=[c.name for c in contract.columns]), contract), controls={"teksten": 0}
        )
    placed = themes.classify(
        list(listed["voorbeeld"]),
        list(listed["thema"]),
        list(texts["tekst"]),
        margin=choice.marge_thema,
        embedding=_embedding(choice),
    )
    rows = pd.concat([texts[["gesprek", "soort", "tekst_id", "tekst"]], placed], axis=1)
    # The examples are Dutch: what a text in another language looks like says nothing.
    rows["thema"] = rows["thema"].where(texts["taal"].isin(["nl", "onbepaald"]), themes.REST)
    drawn = {
        (str(name), ident)
        for name, own in rows.groupby("gesprek")
        for ident in themes.sample(
            [f"{s}/{i}" for s, i in zip(own["soort"], own["tekst_id"], strict=True)],
            choice.steekproef,
            choice.toeval,
        )
    }
    ident = rows["soort"] + "/" + rows["tekst_id"]
    rows["is_steekproef"] = [pair in drawn for pair in zip(rows["gesprek"], ident, strict=True)]
    checked = (
        step.read(CHECKS)
        .df()
        .sort_values(["geland_op", "levering", "rij"])
        .drop_duplicates(["gesprek", "soort", "tekst_id"], keep="last")
    )
    rows = rows.merge(
        checked[["gesprek", "soort", "tekst_id", "thema"]].rename(columns={"thema": "gecontroleerd_thema"}),
        how="left",
        on=["gesprek", "soort", "tekst_id"],
    )
    # Only the drawn texts count as checked: others were chosen by somebody.
    rows["gecontroleerd_thema"] = rows["gecontroleerd_thema"].where(rows["is_steekproef"])
    _put_ready(step, rows)
    return Offered(
        typed(rows[[c.name for c in contract.columns]], contract), controls={"teksten": len(texts)}
    )


def _embedding(choice: ParticipatieSettings) -> Any:
    """The embedding of the optional extra, where it is chosen."""
    if choice.indeler == "tekens":
        return None
    from koploper_pipelines.resources.embedding import embed

    return embed


def _put_ready(step: Step, rows: pd.DataFrame) -> None:
    """Write the drawn texts that nobody checked yet, without the classifier's answer."""
    import os

    folder = step.platform.settings.home / "controle" / EXPERIMENT
    folder.mkdir(parents=True, exist_ok=True)
    for name, own in rows[rows["is_steekproef"]].groupby("gesprek"):
        file = folder / f"controle_{name}.csv"
        left = own[own["gecontroleerd_thema"].isna()]
        if left.empty:
            file.unlink(missing_ok=True)
            continue
        scratch = file.with_suffix(".tmp")
        left.assign(thema="")[["gesprek", "soort", "tekst_id", "tekst", "thema"]].to_csv(scratch, index=False)
        os.replace(scratch, file)
