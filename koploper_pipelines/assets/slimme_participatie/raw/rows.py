"""Rows of any platform in one form, with participants as keyed hashes.

Here belongs what all platforms' readers share. Only what is mapped here lands: whatever else a platform
exports (names, e-mail and IP addresses, coordinates, who endorsed what) is dropped with the file.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

FIELDS = (
    "soort",
    "deelnemer",
    "item",
    "tijd",
    "waarde",
    "tekst",
    "eens",
    "oneens",
    "neutraal",
    "moderatie",
    "groep",
    "consensus",
    "ouder",
    "status",
    "beantwoord_op",
    "steun",
    "leeftijd",
    "geslacht",
    "gemeente",
)
"""Columns of a row beside its place in the delivery; all text as the platform wrote it."""
VOTE, STATEMENT, CELL, PARTICIPANT = "stem", "stelling", "matrixcel", "deelnemer"
IDEA, REACTION, FACT = "idee", "reactie", "gesprek"


@dataclass
class Rows:
    """Rows of one delivery, gathered column by column."""

    key: bytes
    """Key of the hashes, of this conversation alone: the same person cannot be followed to another."""
    files: dict[str, dict[str, Sequence[str | None]]] = field(default_factory=dict)
    """Per file the columns that it fills, all of one length."""
    kinds: set[str] = field(default_factory=set)
    known: dict[str, str] = field(default_factory=dict)

    def add(self, file: str, kind: str, columns: Mapping[str, Sequence[str | None]]) -> None:
        """Add all rows of a file, of one kind, as columns."""
        length = len(next(iter(columns.values())))
        if length:
            self.kinds.add(kind)
            self.files[file] = {"soort": [kind] * length, **columns}

    @property
    def number(self) -> int:
        """Number of rows."""
        return sum(len(columns["soort"]) for columns in self.files.values())

    def pseudonym(self, identity: str | None) -> str | None:
        """A keyed hash for a participant's number or name; nothing for nothing."""
        if identity is None or not identity.strip():
            return None
        if identity not in self.known:
            digest = hmac.new(self.key, identity.strip().encode(), hashlib.sha256)
            self.known[identity] = digest.hexdigest()[:32]
        return self.known[identity]

    def table(self) -> pa.Table:
        """All rows, with `bestand` and `rij`; what is empty is missing."""
        import pyarrow as pa
        import pyarrow.compute as pc

        tables, missing = [], pa.scalar(None, pa.string())
        for name, columns in self.files.items():
            length = len(columns["soort"])
            said = {f: pa.array(columns[f], pa.string()) for f in columns}
            filled = {f: pc.if_else(pc.equal(v, ""), missing, v) for f, v in said.items()}
            nothing = pa.nulls(length, pa.string())
            tables.append(
                pa.table(
                    {
                        "bestand": pa.array([name] * length, pa.string()),
                        "rij": pa.array(range(1, length + 1), pa.int64()),
                        **{f: filled.get(f, nothing) for f in FIELDS},
                    }
                )
            )
        return pa.concat_tables(tables)
