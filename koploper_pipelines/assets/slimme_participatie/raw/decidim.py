"""Decidim: the ZIP of open data, with the column names of today and of older versions.

Columns: decidim/decidim, open_data_exporter.rb and proposal_serializer.rb. Names of authors and endorsers,
addresses and coordinates are among the columns; none of them is read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from koploper_pipelines.assets.slimme_participatie.raw.rows import IDEA, REACTION, Rows
from koploper_pipelines.gates.staging import SchemaMismatch
from koploper_pipelines.resources.inbox_folders import read_rows

NAME = "decidim"
_FILE = re.compile(
    r"open-data-(proposals|proposal_comments|comments)\.csv$|^(proposals|proposal_comments)\.csv$", re.I
)
_ANY = re.compile(r"open-data-[a-z_]+\.csv$", re.I)


def recognises(files: Mapping[str, Path]) -> bool:
    """Whether a delivery is Decidim's open data."""
    return any(_FILE.search(name) for name in files)


def read(files: Mapping[str, Path], rows: Rows, where: str) -> list[str]:
    """Add proposals and comments; names of the files that were read or are known and not needed."""
    for name, file in files.items():
        if match := _FILE.search(name):
            is_proposals = (match.group(1) or match.group(2)).lower() == "proposals"
            (_proposals if is_proposals else _comments)(file, f"{where}/{name}", name, rows)
    return [name for name in files if _FILE.search(name) or _ANY.search(name)]


def _proposals(file: Path, name: str, part: str, rows: Rows) -> None:
    lines = read_rows(file, name)
    header = [c.strip().lower() for c in next(lines)]
    number_at = _one(header, name, "id")
    title, body = _texts(header, "title"), _texts(header, "body")
    if not body:
        raise SchemaMismatch(
            f"{name}: column 'body' is missing in the header; expected id, title, body, state"
        )
    optional = {
        "tijd": ("published_at", "created_at"),
        "status": ("state",),
        "beantwoord_op": ("answered_at",),
        "steun": ("votes", "supports", "likes/total", "endorsements/total_count", "endorsements"),
    }
    at = {f: _first(header, names) for f, names in optional.items()}
    author, withdrawn = _first(header, ("author/id", "author/ids")), _first(header, ("withdrawn",))
    for number, line in enumerate(lines, start=1):
        values = {f: line[i] for f, i in at.items() if i is not None}
        if withdrawn is not None and line[withdrawn].lower() == "true":
            values["status"] = "withdrawn"
        words = [line[i] for i in (*title[:1], *body) if line[i].strip()]
        who = rows.pseudonym(line[author]) if author is not None else None
        rows.add(
            part,
            number,
            soort=IDEA,
            item=line[number_at].strip(),
            tekst=". ".join(words),
            deelnemer=who,
            **values,
        )


def _comments(file: Path, name: str, part: str, rows: Rows) -> None:
    lines = read_rows(file, name)
    header = [c.strip().lower() for c in next(lines)]
    number_at, body = _one(header, name, "id"), _one(header, name, "body")
    time = _first(header, ("created_at",))
    author, parent = _first(header, ("author/id",)), _first(header, ("commentable_id", "commentable/id"))
    for number, line in enumerate(lines, start=1):
        rows.add(
            part,
            number,
            soort=REACTION,
            item=line[number_at].strip(),
            tekst=line[body],
            tijd=None if time is None else line[time],
            ouder=None if parent is None else line[parent],
            deelnemer=None if author is None else rows.pseudonym(line[author]),
        )


def _texts(header: Sequence[str], name: str) -> list[int]:
    """Columns of a text that may be exported per language, Dutch first."""
    found = [i for i, c in enumerate(header) if c == name or c.startswith(f"{name}/")]
    return sorted(found, key=lambda i: (header[i] != f"{name}/nl", i))[:1]


def _first(header: Sequence[str], names: Sequence[str]) -> int | None:
    return next((header.index(n) for n in names if n in header), None)


def _one(header: Sequence[str], name: str, column: str) -> int:
    if column not in header:
        raise SchemaMismatch(f"{name}: column {column!r} is missing in the header; expected id and body")
    return header.index(column)
