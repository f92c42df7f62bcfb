"""Rows of any platform in one form, with participants as keyed hashes.

Here belongs what all platforms' readers share. Only what is mapped here lands: whatever else a platform
exports (names, e-mail and IP addresses, coordinates, who endorsed what) is dropped with the file.
"""

from __future__ import annotations

import hashlib
import hmac
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
    files: dict[str, dict[str, list[str | None]]] = field(default_factory=dict)
    numbers: dict[str, list[int]] = field(default_factory=dict)
    known: dict[str, str] = field(default_factory=dict)

    def add(self, file: str, number: int, **values: str | None) -> None:
        """Add row `number` of a file."""
        columns = self.files.setdefault(file, {f: [] for f in FIELDS})
        for name, column in columns.items():
            value = values.get(name)
            column.append(value if value != "" else None)
        self.numbers.setdefault(file, []).append(number)

    def pseudonym(self, identity: str | None) -> str | None:
        """A keyed hash for a participant's number or name; nothing for nothing."""
        if identity is None or not identity.strip():
            return None
        if identity not in self.known:
            digest = hmac.new(self.key, identity.strip().encode(), hashlib.sha256)
            self.known[identity] = digest.hexdigest()[:32]
        return self.known[identity]

    def table(self) -> pa.Table:
        """All rows, with `bestand` and `rij`."""
        import pyarrow as pa

        tables = [
            pa.table(
                {
                    "bestand": pa.array([name] * len(self.numbers[name]), pa.string()),
                    "rij": pa.array(self.numbers[name], pa.int64()),
                    **{f: pa.array(values, pa.string()) for f, values in columns.items()},
                }
            )
            for name, columns in self.files.items()
        ]
        return pa.concat_tables(tables)
