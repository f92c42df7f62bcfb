"""Plain CSV: one file each for votes, statements, ideas, comments and participants, with Dutch headers.

Also beside a platform's own files, for what the platform does not export (demography, answers to ideas), and
`gesprek.yaml` with what only the organisation knows of a conversation.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from koploper_pipelines.assets.slimme_participatie.raw.rows import (
    FACT,
    IDEA,
    PARTICIPANT,
    REACTION,
    STATEMENT,
    VOTE,
    Rows,
)
from koploper_pipelines.gates.staging import SchemaMismatch
from koploper_pipelines.resources.inbox_folders import check_header, read_rows

NAME = "csv"
FILES: Mapping[str, tuple[str, tuple[str, ...], Mapping[str, str]]] = {
    "stemmen": (
        VOTE,
        ("deelnemer", "stelling", "stem"),
        {"stelling": "item", "stem": "waarde", "tijd": "tijd"},
    ),
    "stellingen": (
        STATEMENT,
        ("stelling", "tekst"),
        {"stelling": "item", "moderatie": "moderatie", "tijd": "tijd"},
    ),
    "ideeen": (
        IDEA,
        ("idee", "tekst"),
        {
            "idee": "item",
            "status": "status",
            "beantwoord_op": "beantwoord_op",
            "steun": "steun",
            "tijd": "tijd",
        },
    ),
    "reacties": (REACTION, ("reactie", "tekst"), {"reactie": "item", "idee": "ouder", "tijd": "tijd"}),
    "deelnemers": (
        PARTICIPANT,
        ("deelnemer",),
        {"leeftijd": "leeftijd", "geslacht": "geslacht", "gemeente": "gemeente", "groep": "groep"},
    ),
}
"""Per file: kind of row, columns that must be there, and the field that other columns become."""
SETTINGS = ("titel", "moderatie")
SETTINGS_FILE = "gesprek.yaml"


def recognises(files: Mapping[str, Path]) -> bool:
    """Whether a delivery holds any plain CSV."""
    return any(_part(name) for name in files)


def read(files: Mapping[str, Path], rows: Rows, where: str) -> list[str]:
    """Add all rows of the plain files; names of the files that were read."""
    found = [name for name in files if _part(name)]
    for name in found:
        _file(files[name], f"{where}/{name}", name, rows)
    if SETTINGS_FILE in files:
        _settings(files[SETTINGS_FILE], f"{where}/{SETTINGS_FILE}", rows)
        found.append(SETTINGS_FILE)
    return found


def _part(name: str) -> str | None:
    stem = Path(name).stem.lower().replace("ë", "e")
    return stem if name.lower().endswith(".csv") and stem in FILES else None


def _file(file: Path, name: str, own_name: str, rows: Rows) -> None:
    part = _part(own_name) or ""
    kind, needed, fields = FILES[part]
    lines = read_rows(file, name)
    header = [c.strip().lower() for c in next(lines)]
    check_header(header, name, needed, [*(c for c in fields if c not in needed), "deelnemer", "tekst"])
    read = list(lines)
    said = {c: [line[i] for line in read] for i, c in enumerate(header)}
    columns: dict[str, list[str | None]] = {fields[c]: list(v) for c, v in said.items() if c in fields}
    if "tekst" in said:
        columns["tekst"] = list(said["tekst"])
    if "deelnemer" in said:
        columns["deelnemer"] = [rows.pseudonym(d) for d in said["deelnemer"]]
    rows.add(part, kind, columns)


def _settings(file: Path, name: str, rows: Rows) -> None:
    import yaml

    try:
        said = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SchemaMismatch(f"{name}: cannot be read as YAML in UTF-8") from error
    if not isinstance(said, dict) or (set(said) - set(SETTINGS)):
        raise SchemaMismatch(f"{name}: expected a mapping with {' and '.join(SETTINGS)}")
    if said.get("moderatie", "streng") not in ("open", "streng"):
        raise SchemaMismatch(f"{name}: moderatie is {said['moderatie']!r}, expected 'open' or 'streng'")
    names = sorted(said)
    rows.add("gesprek", FACT, {"item": list(names), "tekst": [str(said[n]) for n in names]})
