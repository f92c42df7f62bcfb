"""Polis exports in every layout that is known, with what real ones hold: exact in every cell and count."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import toolbox

from koploper_pipelines.gates.plan import in_order
from koploper_pipelines.gates.step import Platform, run_table

pytestmark = toolbox.WARNINGS_OF_OTHERS
NOW = datetime(2026, 11, 24, 3, tzinfo=UTC)
START = 1_726_860_583_813
EXPERIMENT = "slimme_participatie"
UNTIL_EVALUATION = (f"{EXPERIMENT}/raw/bijdragen", f"{EXPERIMENT}/cleaned/", f"{EXPERIMENT}/evaluation/")
INDICATORS = tuple(f"{EXPERIMENT}/indicators/{t}" for t in ("indeling", "groepen", "stellingen"))
PEOPLE, STATEMENTS = 48, 14
NO_COLUMN, NO_BODY, UNKNOWN = 12, 11, 99
"""A statement that nobody voted on, one without words, and one that is not listed any more."""


@dataclass(frozen=True)
class Log:
    """A conversation as its platform knows it.

    Attributes:
        events: every vote in the order of the file, which is not that of time.
        matrix: last vote of each person (row) on each statement (column), NaN for none.
        group: number of each person's group, NaN for who voted little.
        moderated: judgement on each listed statement.
    """

    events: pd.DataFrame
    matrix: pd.DataFrame
    group: pd.Series
    moderated: pd.Series

    @property
    def agrees(self) -> pd.Series:
        """All events of agreement, repeats and exact doubles too, as Polis counts."""
        return self.events[self.events["vote"] == 1].groupby("comment-id").size()

    def consensus(self, statement: int) -> float:
        """Polis' formula, written out for one statement."""
        product = 1.0
        for number in sorted(self.group.dropna().unique()):
            cast = self.matrix.loc[self.group == number, statement].dropna()
            product *= ((cast == 1).sum() + 1) / (len(cast) + 2)
        return product


def log(seed: int) -> Log:
    """Two camps and light voters; votes repeated, changed, doubled, and on a statement that was deleted."""
    rng = np.random.default_rng(seed)
    group = pd.Series(rng.integers(0, 2, PEOPLE), dtype="float64")
    group[40:] = np.nan
    number = np.where(group.isna(), 3, 11)
    rows = []
    for person in range(PEOPLE):
        listed = [s for s in range(STATEMENTS) if s != NO_COLUMN]
        for statement in [*rng.choice(listed, number[person], replace=False), *[UNKNOWN][: person % 5 == 0]]:
            side = 1 if group[person] == statement % 2 else -1
            vote = int(rng.choice([side, side, side, 0, -side]))
            moment = START + int(rng.integers(0, 10**9))
            rows.append((moment, statement, person, vote))
            if rng.random() < 0.2:
                again = -vote if rng.random() < 0.5 else vote
                rows.append((moment + int(rng.integers(2_000, 90_000)), statement, person, again))
    rows += rows[:3]
    events = pd.DataFrame(rows, columns=["timestamp", "comment-id", "voter-id", "vote"])
    last = events.sort_values("timestamp").drop_duplicates(["voter-id", "comment-id"], keep="last")
    matrix = last.pivot(index="voter-id", columns="comment-id", values="vote")
    moderated = pd.Series(np.tile([1, 1, 0, -1], 4)[:STATEMENTS])
    shuffled = events.sample(frac=1, random_state=seed, ignore_index=True)
    return Log(shuffled, matrix, group, moderated)


def comments(made: Log) -> pd.DataFrame:
    bodies = [f"Bomen {s}; ook \"deze\",\nen 'die'" for s in range(STATEMENTS)]
    bodies[NO_BODY] = ""
    said = pd.DataFrame({"timestamp": START, "comment-id": range(STATEMENTS), "author-id": 0})
    against = made.events[made.events["vote"] == -1].groupby("comment-id").size()
    said["agrees"] = made.agrees.reindex(said["comment-id"]).fillna(0).astype(int)
    said["disagrees"] = against.reindex(said["comment-id"]).fillna(0).astype(int)
    return said.assign(moderated=made.moderated, **{"comment-body": bodies})


def participants(made: Log) -> pd.DataFrame:
    cells = made.matrix.astype("Int64")
    facts = pd.DataFrame({"participant": cells.index, "group-id": made.group.astype("Int64")[cells.index]})
    facts["n-comments"], facts["n-votes"] = 0, cells.notna().sum(axis=1)
    facts["n-agree"], facts["n-disagree"] = (cells == 1).sum(axis=1), (cells == -1).sum(axis=1)
    return pd.concat([facts, cells.rename(columns=str)], axis=1)


def write(folder: Path, files: dict[str, pd.DataFrame], line_end: str = "\n") -> None:
    folder.mkdir(parents=True)
    for name, rows in files.items():
        rows.to_csv(folder / name, index=False, lineterminator=line_end)


def old(made: Log, folder: Path) -> None:
    """Open data of 2017: dates in words, a summary whose topic holds semicolons."""
    votes = made.events.assign(datetime="Fri Sep 20 14:29:43 CDT 2024")
    write(
        folder,
        {"votes.csv": votes, "comments.csv": comments(made), "participants-votes.csv": participants(made)},
        "\r\n",
    )
    with (folder / "summary.csv").open("w", encoding="utf-8", newline="") as target:
        csv.writer(target).writerows(
            [["topic", "Bomen; struiken; gras"], ["views", "9"], ["conversation-description", "a\n\nb, c"]]
        )
    (folder / "stats-history.csv").write_text("n-votes,n-comments\n1,1\n", encoding="utf-8")


def newer(made: Log, folder: Path) -> None:
    """Open data of 2024: an empty xid, no datetime of statements, and the consensus of Polis itself."""
    said = comments(made).assign(**{"is-meta": "false", "is-seed": "true"})
    said["group-informed-consensus"] = [
        made.consensus(s) if s in made.matrix else 0.25 for s in said["comment-id"]
    ]
    people = participants(made)
    people.insert(1, "xid", "")
    write(folder, {"votes.csv": made.events, "comments.csv": said, "participants-votes.csv": people})


def server(made: Log, folder: Path) -> None:
    """The server of today: seconds, names in front, one more of a kind, agreement as -1."""
    votes = made.events.sort_values("timestamp", kind="stable").assign(important=0)
    votes["timestamp"], votes["vote"] = votes["timestamp"] // 1000, -votes["vote"]
    said = comments(made)
    said["timestamp"] //= 1000
    write(
        folder,
        {
            "bomen-votes.csv": votes,
            "bomen-comments.csv": said,
            "bomen-participant-votes.csv": participants(made),
            "bomen-comment-groups.csv": pd.DataFrame({"comment-id": [0], "total-votes": [1]}),
        },
    )


def bare(made: Log, folder: Path) -> None:
    """As little as may be: no groups, no counts of people, no authors; agreement as -1."""
    said = comments(made).drop(columns=["timestamp", "author-id", "disagrees"])
    people = participants(made).drop(columns=["group-id", "n-agree", "n-disagree", "n-comments", "n-votes"])
    votes = made.events.assign(vote=-made.events["vote"])
    write(folder, {"votes.csv": votes, "comments.csv": said, "participants-votes.csv": people})


def matrix_alone(made: Log, folder: Path) -> None:
    """No log of votes: what was repeated or changed is not known."""
    write(folder, {"comments.csv": comments(made), "participants-votes.csv": participants(made)})


LAYOUTS = {"oud": old, "nieuw": newer, "server": server, "kaal": bare, "matrix": matrix_alone}


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> tuple[Platform, dict[str, Log], pd.DataFrame]:
    platform = toolbox.installation(tmp_path_factory.mktemp("exports"), NOW)
    logs = {name: log(seed) for seed, name in enumerate(LAYOUTS)}
    for name, layout in LAYOUTS.items():
        layout(logs[name], platform.settings.inbox / EXPERIMENT / name)
    chosen = [t for p, t in platform.tables.items() if p.startswith(UNTIL_EVALUATION) or p in INDICATORS]
    for table in in_order(chosen):
        assert run_table(platform, table, run_id="proef").passed, table.contract.path
    rows = toolbox.lake_table(platform, f"{EXPERIMENT}/evaluation/indicatoren")
    return platform, logs, rows.pivot(index="gesprek", columns="indicator", values="waarde")


@pytest.mark.parametrize("name", LAYOUTS)
def test_votes_are_the_matrix_in_every_cell(exports: Any, name: str) -> None:
    platform, logs, _ = exports
    path, columns = f"{EXPERIMENT}/cleaned/stemmen", ["gesprek", "deelnemer", "stelling_id", "stem"]
    aside = toolbox.quarantine(platform, path).rename(columns={"item": "stelling_id"})
    last = aside[aside["reden"].isin(["stelling_afgewezen", "stelling_onbekend"])]
    both = pd.concat([toolbox.lake_table(platform, path)[columns], last[columns]])
    own = both[both["gesprek"] == name].astype({"stem": int, "stelling_id": int})
    found = own.pivot(index="deelnemer", columns="stelling_id", values="stem")
    expected = logs[name].matrix
    assert found.columns.tolist() == expected.columns.tolist()
    # People are pseudonyms: the rows are compared as a whole, whoever they are of.
    assert sorted(map(str, found.fillna(9).to_numpy().astype(int).tolist())) == sorted(
        map(str, expected.fillna(9).to_numpy().astype(int).tolist())
    )


@pytest.mark.parametrize("name", LAYOUTS)
def test_controls_agree_with_the_export(exports: Any, name: str) -> None:
    _, logs, indicators = exports
    assert indicators.loc[name, "afwijkende_matrixcellen"] == 0
    of_events = ["afwijkende_eens_tellingen", "herhaalde_stemmen", "gewijzigde_stemmen"]
    if name == "matrix":
        assert indicators.loc[name, of_events].isna().all()
        return
    assert indicators.loc[name, "afwijkende_eens_tellingen"] == 0
    assert (indicators.loc[name, of_events[1:]] > 0).all()
    assert len(logs[name].events) > logs[name].matrix.notna().sum().sum() + 10


@pytest.mark.parametrize("name", [n for n in LAYOUTS if n != "kaal"])
def test_consensus_follows_the_formula_of_polis(exports: Any, name: str) -> None:
    platform, logs, indicators = exports
    rows = toolbox.lake_table(platform, f"{EXPERIMENT}/indicators/stellingen")
    own = rows[rows["gesprek"] == name].set_index("stelling_id")["groepsconsensus"]
    listed = logs[name].moderated
    assert set(own.index) == set(listed.index[listed != -1].astype(str))
    for statement in own.index.astype(int):
        expected = logs[name].consensus(statement) if statement != NO_COLUMN else 0.25
        assert own[str(statement)] == pytest.approx(expected, abs=1e-12)
    if name == "nieuw":
        assert indicators.loc[name, "afwijking_groepsconsensus_platform"] <= 1e-12


def test_without_groups_of_the_platform_its_consensus_is_not_repeated(exports: Any) -> None:
    platform, _, indicators = exports
    rows = toolbox.lake_table(platform, f"{EXPERIMENT}/indicators/stellingen")
    assert "platform" not in set(rows.loc[rows["gesprek"] == "kaal", "groepen_bron"])
    assert np.isnan(indicators.loc["kaal", "overeenkomst_groepen_platform"])
