"""Raw: what the platforms exported, as text, with participants replaced by keyed hashes; and lists beside it.

Here belong what is a delivery and what is done on landing; the layouts are in `polis.py`, `decidim.py`,
`openstad.py` and `plain.py`. Nothing is judged or converted here: that is the cleaned layer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from koploper_pipelines.assets.slimme_participatie.raw import decidim, lists, openstad, plain, polis
from koploper_pipelines.assets.slimme_participatie.raw.rows import STATEMENT, VOTE, Rows
from koploper_pipelines.gates.staging import Offered, SchemaMismatch
from koploper_pipelines.gates.table import Step, gated_table
from koploper_pipelines.resources.inbox import DroppedFile, FromFile, dropped_files, has_landed, rows_landed
from koploper_pipelines.resources.inbox_folders import DroppedFolder, dropped_folders
from koploper_pipelines.resources.lake import UNKNOWN

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from koploper_pipelines.gates.step import Platform

EXPERIMENT = "slimme_participatie"
CONTRIBUTIONS = f"{EXPERIMENT}/raw/bijdragen"
POPULATION = f"{EXPERIMENT}/raw/bevolking"
THEMES = f"{EXPERIMENT}/raw/themas"
CHECKS = f"{EXPERIMENT}/raw/controles"
PLATFORMS = (polis, decidim, openstad)
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,99}")


@dataclass(frozen=True)
class Conversation:
    """One dropped folder, to be landed on its own; its name is the conversation's id."""

    folder: DroppedFolder
    platform: Platform

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.folder.name

    def offered(self, con: duckdb.DuckDBPyConnection) -> Offered | None:
        """All rows as text, participants as keyed hashes; None when these contents landed before.

        Raises SchemaMismatch when it is no export of a known platform.
        """
        if not _ID.fullmatch(self.name) or self.name == UNKNOWN:
            raise SchemaMismatch(
                f"{self.name}: expected a folder's name of letters, digits, spaces and . _ - that starts"
                " with a letter or digit, since it becomes the conversation's id"
            )
        with self.folder.opened() as (files, content, passed_over):
            # The same contents under another name are another conversation.
            delivery = f"{self.name}/{content}"
            if has_landed(self.platform.lake, CONTRIBUTIONS, delivery):
                return None
            rows = Rows(self.platform.settings.subkey(f"deelnemer {self.name}"))
            source, unknown = self._read(files, rows)
        landed = self.platform.clock.now().isoformat()
        made = con.from_arrow(rows.table()).project(
            f"'{self.name}' AS gesprek, '{content}' AS levering, bestand, rij,"
            f" TIMESTAMPTZ '{landed}' AS geland_op, '{source}' AS platform, * EXCLUDE (bestand, rij)"
        )
        number = rows.number
        return Offered(
            made,
            partitions=[self.name],
            controls={"rijen_na_landing": rows_landed(self.platform.lake, CONTRIBUTIONS) + number},
            file=delivery,
            notes={"gesprek": self.name, "overgeslagen": ", ".join([*passed_over, *unknown]) or None},
        )

    def _read(self, files: Mapping[str, Path], rows: Rows) -> tuple[str, list[str]]:
        """Read all files; the platform's name, and files that are none of its own."""
        source = next((p for p in PLATFORMS if p.recognises(files)), None)
        if source is None and not plain.recognises(files):
            raise SchemaMismatch(
                f"{self.name}: no platform recognised in {', '.join(sorted(files))}; expected Polis"
                " (comments.csv and votes.csv), Decidim (a ZIP of open data), OpenStad (XLSX) or"
                f" {', '.join(f'{f}.csv' for f in plain.FILES)}"
            )
        read = plain.read(files, rows, self.name)
        if source is not None:
            read += source.read({n: f for n, f in files.items() if n not in read}, rows, self.name)
        unknown = sorted(set(files) - set(read))
        if unknown and source is None:
            raise SchemaMismatch(
                f"{self.name}/{unknown[0]}: not one of {', '.join(f'{f}.csv' for f in plain.FILES)} and"
                f" {plain.SETTINGS_FILE}"
            )
        if not rows.files:
            raise SchemaMismatch(f"{self.name}: files without any row, expected votes, statements or ideas")
        if VOTE in rows.kinds and STATEMENT not in rows.kinds:
            raise SchemaMismatch(
                f"{self.name}: votes without the statements that they are on; expected stellingen.csv beside"
                " stemmen.csv"
            )
        return (source.NAME if source else plain.NAME), unknown

    def accepted(self) -> None:
        """Delete the originals (or keep them encrypted)."""
        self.folder.accept()

    def refused(self, report: str) -> None:
        """Put the folder aside with the report."""
        self.folder.refuse(report)


@dataclass(frozen=True)
class ListFile(FromFile):
    """A file beside the conversations: population, themes or checks."""

    file: DroppedFile
    platform: Platform
    table: str
    read: Callable[[Path, str], pa.Table]

    def offered(self, con: duckdb.DuckDBPyConnection) -> Offered | None:
        """The list; None when these contents landed before. SchemaMismatch when it is no such list."""
        with self.file.opened() as (path, content):
            if has_landed(self.platform.lake, self.table, content):
                return None
            read = self.read(path, self.name)
        landed = self.platform.clock.now().isoformat()
        made = con.from_arrow(read).project(
            f"'{content}' AS levering, row_number() OVER () AS rij, TIMESTAMPTZ '{landed}' AS geland_op, *"
        )
        total = rows_landed(self.platform.lake, self.table) + read.num_rows
        return Offered(made, controls={"rijen_na_landing": total}, file=content, notes={"bestand": self.name})


@dataclass(frozen=True)
class Stray(FromFile):
    """A file that is neither a list nor in a conversation's folder."""

    file: DroppedFile

    def offered(self, con: duckdb.DuckDBPyConnection) -> Offered | None:
        """Never: it belongs nowhere."""
        raise SchemaMismatch(
            f"{self.name}: a file outside a conversation's folder; expected a folder a conversation, or"
            f" {', '.join(lists.PATTERNS)}"
        )

    def accepted(self) -> None:
        """Nothing: it is never accepted."""


@gated_table(CONTRIBUTIONS, lands=True, kinds=("csv", "delta"))
def bijdragen(step: Step) -> Iterator[Conversation | Stray]:
    """Each folder in the inbox."""
    platform = step.platform
    for folder in dropped_folders(platform.settings, EXPERIMENT):
        yield Conversation(folder, platform)
    for file in dropped_files(platform.settings, EXPERIMENT):
        if not any(lists.matches(pattern, file.name) for pattern in lists.PATTERNS):
            yield Stray(file)


@gated_table(POPULATION, lands=True, kinds=("csv", "delta"))
def bevolking(step: Step) -> Iterator[ListFile]:
    """Each population table in the inbox."""
    return _lists(step, "bevolking*.csv", POPULATION, lists.population)


@gated_table(THEMES, lands=True, kinds=("yaml", "delta"))
def themas(step: Step) -> Iterator[ListFile]:
    """Each theme list in the inbox."""
    return _lists(step, "themas*.yaml", THEMES, lists.themes)


@gated_table(CHECKS, lands=True, kinds=("csv", "delta"))
def controles(step: Step) -> Iterator[ListFile]:
    """Each sample that people checked."""
    return _lists(step, "controle*.csv", CHECKS, lists.checks)


def _lists(step: Step, pattern: str, table: str, read: Callable[[Path, str], pa.Table]) -> Iterator[ListFile]:
    for file in dropped_files(step.platform.settings, EXPERIMENT):
        if lists.matches(pattern, file.name):
            yield ListFile(file, step.platform, table, read)
