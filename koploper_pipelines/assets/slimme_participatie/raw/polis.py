"""Polis: the export of a conversation, in the layout of its open data and in that of its server today.

Columns: compdemocracy/openData, and server/src/routes/export.ts of compdemocracy/polis.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from koploper_pipelines.assets.slimme_participatie.raw.rows import (
    CELL,
    FACT,
    PARTICIPANT,
    STATEMENT,
    VOTE,
    Rows,
)
from koploper_pipelines.gates.staging import SchemaMismatch
from koploper_pipelines.resources.inbox_folders import check_header, read_rows

NAME = "polis"
_FILE = re.compile(
    r"(?:^|[-_.])(participants?-votes|comment-groups|stats-history|votes|comments|summary|xids?)\.csv$", re.I
)
VOTES = ("timestamp", "comment-id", "voter-id", "vote")
COMMENTS = ("timestamp", "comment-id", "author-id", "moderated", "comment-body")
COUNTS = ("agrees", "disagrees", "passes", "group-informed-consensus")
PARTICIPANTS = ("participant", "group-id")
IGNORED_OF_COMMENTS = (
    *COUNTS,
    "datetime",
    "is-meta",
    "is-seed",
    "importance",
    "important",
    "total-votes",
    "votes",
    "priority",
    "divisiveness",
    "extremity",
    "pass",
    "skips",
    "lang",
    "language",
    "velocity",
    "created",
    "modified",
    "active",
)
IGNORED_OF_PARTICIPANTS = ("xid", "n-comments", "n-votes", "n-agree", "n-disagree", "n-pass")
FACTS = ("topic", "url", "views", "voters", "voters-in-conv", "commenters", "comments", "groups")


def parts(files: Mapping[str, Path]) -> dict[str, str]:
    """Which file is which, by the end of its name: votes, comments, participants-votes and so on."""
    found: dict[str, str] = {}
    for name in files:
        if match := _FILE.search(name):
            part = match.group(1).lower().replace("participant-votes", "participants-votes")
            if part in found:
                raise SchemaMismatch(f"{name}: a second file of {part}, beside {found[part]}; expected one")
            found[part] = name
    return found


def recognises(files: Mapping[str, Path]) -> bool:
    """Whether a delivery is a Polis export."""
    found = parts(files)
    return "comments" in found and bool({"votes", "participants-votes"} & set(found))


def read(files: Mapping[str, Path], rows: Rows, where: str) -> list[str]:
    """Add all rows of an export; names of the files that were read."""
    found = parts(files)
    readers = {
        "comments": _comments,
        "votes": _votes,
        "participants-votes": _participants,
        "summary": _summary,
    }
    for part, name in found.items():
        if part in readers:
            readers[part](files[name], f"{where}/{name}", part, rows)
    # Counts that follow from the votes, and the organisation's own numbers of people: not needed.
    return list(found.values())


def _votes(file: Path, name: str, part: str, rows: Rows) -> None:
    lines = read_rows(file, name)
    header = _normalised(next(lines))
    check_header(header, name, VOTES, ("datetime", "important", "importance", "high-priority"))
    time, comment, voter, vote = (header.index(c) for c in VOTES)
    for number, line in enumerate(lines, start=1):
        who = rows.pseudonym(line[voter])
        rows.add(
            part,
            number,
            soort=VOTE,
            deelnemer=who,
            item=line[comment].strip(),
            tijd=line[time],
            waarde=line[vote],
        )


def _comments(file: Path, name: str, part: str, rows: Rows) -> None:
    lines = read_rows(file, name)
    header = _normalised(next(lines))
    check_header(header, name, COMMENTS, IGNORED_OF_COMMENTS)
    at = {c: header.index(c) for c in header}
    number = 0
    for number, line in enumerate(lines, start=1):
        agrees, disagrees, passes, consensus = (line[at[c]] if c in at else None for c in COUNTS)
        rows.add(
            part,
            number,
            soort=STATEMENT,
            deelnemer=rows.pseudonym(line[at["author-id"]]),
            item=line[at["comment-id"]].strip(),
            tijd=line[at["timestamp"]],
            tekst=line[at["comment-body"]],
            moderatie=line[at["moderated"]],
            eens=agrees,
            oneens=disagrees,
            neutraal=passes,
            consensus=consensus,
        )
    if number == 0:
        raise SchemaMismatch(f"{name}: a header and 0 rows, expected at least one statement")


def _participants(file: Path, name: str, part: str, rows: Rows) -> None:
    """Participants with their group, and every filled cell of the matrix of votes."""
    lines = read_rows(file, name)
    header = _normalised(next(lines))
    statements = [(i, c) for i, c in enumerate(header) if c.isdigit()]
    check_header([c for c in header if not c.isdigit()], name, PARTICIPANTS, IGNORED_OF_PARTICIPANTS)
    at = {c: header.index(c) for c in header if not c.isdigit()}
    cell = 0
    for number, line in enumerate(lines, start=1):
        who = rows.pseudonym(line[at["participant"]])
        agrees, disagrees = (line[at[c]] if c in at else None for c in ("n-agree", "n-disagree"))
        rows.add(
            part,
            number,
            soort=PARTICIPANT,
            deelnemer=who,
            groep=line[at["group-id"]],
            eens=agrees,
            oneens=disagrees,
        )
        for index, statement in statements:
            if line[index] != "":
                cell += 1
                rows.add("matrix", cell, soort=CELL, deelnemer=who, item=statement, waarde=line[index])


def _summary(file: Path, name: str, part: str, rows: Rows) -> None:
    for number, line in enumerate(read_rows(file, name), start=1):
        if len(line) == 2 and line[0].strip().lower() in FACTS:
            rows.add(part, number, soort=FACT, item=line[0].strip().lower(), tekst=line[1])


def _normalised(header: list[str]) -> list[str]:
    return [c.strip().lower().replace("_", "-") for c in header]
