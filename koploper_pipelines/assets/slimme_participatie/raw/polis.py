"""Polis: the export of a conversation, in the layout of its open data and in that of its server today.

Columns: compdemocracy/openData, and server/src/routes/export.ts of compdemocracy/polis.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
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
from koploper_pipelines.resources.inbox_folders import as_columns, check_header, read_rows

NAME = "polis"
_FILE = re.compile(
    r"(?:^|[-_.])(participants?-votes|comment-groups|stats-history|votes|comments|summary|xids?)\.csv$", re.I
)
VOTES = {"timestamp": "tijd", "comment-id": "item", "voter-id": "deelnemer", "vote": "waarde"}
COMMENTS = {"comment-id": "item", "comment-body": "tekst"}
OFTEN_OF_COMMENTS = {
    "timestamp": "tijd",
    "author-id": "deelnemer",
    "moderated": "moderatie",
    "agrees": "eens",
    "disagrees": "oneens",
    "passes": "neutraal",
    "group-informed-consensus": "consensus",
}
"""What most exports say of a statement; without a judgement of a moderator it is undecided."""
PARTICIPANTS = {"participant": "deelnemer"}
OFTEN_OF_PARTICIPANTS = {"group-id": "groep", "n-agree": "eens", "n-disagree": "oneens"}
IGNORED_OF_VOTES = ("datetime", "important", "importance", "high-priority")
IGNORED_OF_COMMENTS = (
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
IGNORED_OF_PARTICIPANTS = ("xid", "n-comments", "n-votes", "n-pass")
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
    check_header(header, name, [*VOTES], IGNORED_OF_VOTES)
    _add(rows, part, VOTE, as_columns(lines, header), VOTES)


def _comments(file: Path, name: str, part: str, rows: Rows) -> None:
    lines = read_rows(file, name)
    header = _normalised(next(lines))
    check_header(header, name, [*COMMENTS], [*OFTEN_OF_COMMENTS, *IGNORED_OF_COMMENTS])
    said = as_columns(lines, header)
    if not said["comment-id"]:
        raise SchemaMismatch(f"{name}: a header and 0 rows, expected at least one statement")
    _add(rows, part, STATEMENT, said, COMMENTS | OFTEN_OF_COMMENTS)


def _add(
    rows: Rows, part: str, kind: str, said: Mapping[str, Sequence[str]], fields: Mapping[str, str]
) -> None:
    """Add the columns that are fields, with people's numbers as pseudonyms."""
    columns: dict[str, Sequence[str | None]] = {f: said[c] for c, f in fields.items() if c in said}
    if "deelnemer" in columns:
        columns["deelnemer"] = [rows.pseudonym(d) for d in columns["deelnemer"]]
    rows.add(part, kind, columns)


def _participants(file: Path, name: str, part: str, rows: Rows) -> None:
    """Participants with their group, and every filled cell of the matrix of votes."""
    lines = read_rows(file, name)
    header = _normalised(next(lines))
    first = next((i for i, c in enumerate(header) if c.isdigit()), len(header))
    statements = header[first:]
    named = [c for c in header if not c.isdigit()]
    check_header(named, name, [*PARTICIPANTS], [*OFTEN_OF_PARTICIPANTS, *IGNORED_OF_PARTICIPANTS])
    if not all(c.isdigit() for c in statements):
        raise SchemaMismatch(
            f"{name}: a named column stands among those of statements, expected it before them"
        )
    fields = {c: f for c, f in (PARTICIPANTS | OFTEN_OF_PARTICIPANTS).items() if c in header}
    columns: dict[str, list[str | None]] = {f: [] for f in fields.values()}
    cells: dict[str, list[str | None]] = {"deelnemer": [], "item": [], "waarde": []}
    for line in lines:
        for column, target in fields.items():
            columns[target].append(line[header.index(column)])
        who = columns["deelnemer"][-1] = rows.pseudonym(columns["deelnemer"][-1])
        values = [*filter(None, line[first:])]
        cells["deelnemer"] += [who] * len(values)
        cells["item"] += itertools.compress(statements, line[first:])
        cells["waarde"] += values
    rows.add(part, PARTICIPANT, columns)
    rows.add("matrix", CELL, cells)


def _summary(file: Path, name: str, part: str, rows: Rows) -> None:
    # Its first line is no header: what people call a conversation may hold more `;` than `,`.
    lines = read_rows(file, name, ",")
    pairs = [line for line in lines if len(line) == 2 and line[0].strip().lower() in FACTS]
    rows.add(
        part, FACT, {"item": [key.strip().lower() for key, _ in pairs], "tekst": [said for _, said in pairs]}
    )


def _normalised(header: list[str]) -> list[str]:
    return [c.strip().lower().replace("_", "-") for c in header]
