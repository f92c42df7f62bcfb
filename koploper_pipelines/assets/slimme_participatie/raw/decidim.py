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
    read = list(lines)
    columns: dict[str, list[str | None]] = {
        f: [line[i] for line in read] for f, i in at.items() if i is not None
    }
    if withdrawn is not None and "status" in columns:
        gone = [line[withdrawn].lower() == "true" for line in read]
        columns["status"] = ["withdrawn" if g else s for g, s in zip(gone, columns["status"], strict=True)]
    if author is not None:
        columns["deelnemer"] = [rows.pseudonym(line[author]) for line in read]
    columns["item"] = [line[number_at] for line in read]
    columns["tekst"] = [". ".join(line[i] for i in (*title, *body) if line[i].strip()) for line in read]
    rows.add(part, IDEA, columns)


def _comments(file: Path, name: str, part: str, rows: Rows) -> None:
    lines = read_rows(file, name)
    header = [c.strip().lower() for c in next(lines)]
    read = list(lines)
    places = {
        "item": _one(header, name, "id"),
        "tekst": _one(header, name, "body"),
        "tijd": _first(header, ("created_at",)),
        "ouder": _first(header, ("commentable_id", "commentable/id")),
        "deelnemer": _first(header, ("author/id",)),
    }
    columns: dict[str, list[str | None]] = {
        f: [line[i] for line in read] for f, i in places.items() if i is not None
    }
    if "deelnemer" in columns:
        columns["deelnemer"] = [rows.pseudonym(d) for d in columns["deelnemer"]]
    rows.add(part, REACTION, columns)


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
