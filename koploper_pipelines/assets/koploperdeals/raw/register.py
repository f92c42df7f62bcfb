"""Raw: every register that was accepted, row by row, with persons as keyed hashes.

Here belongs the landing: a workbook is taken whole, or refused whole with all its findings at once. The
newest accepted workbook is the register; earlier ones stay as earlier versions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from koploper_pipelines.assets.koploperdeals.raw import workbook
from koploper_pipelines.gates.staging import Offered, SchemaMismatch
from koploper_pipelines.gates.table import Step, gated_table
from koploper_pipelines.resources.inbox import DroppedFile, FromFile, dropped_files, pseudonym, rows_landed

if TYPE_CHECKING:
    import duckdb

    from koploper_pipelines.gates.step import Platform
    from koploper_pipelines.methods.koploperdeals.checks import Finding, Row

EXPERIMENT = "koploperdeals"
REGISTER = f"{EXPERIMENT}/raw/register"
OPENED_IN_EXCEL = "~$"
"""How a file's name begins that Excel keeps beside a workbook while somebody has it open."""


@dataclass(frozen=True)
class RegisterFile(FromFile):
    """One workbook in the inbox."""

    file: DroppedFile
    platform: Platform

    def offered(self, con: duckdb.DuckDBPyConnection) -> Offered | None:
        """All rows; None when it says what the register says already.

        Raises SchemaMismatch with every finding when it is not wholly in order.
        """
        if self.file.path.suffix.lower() != ".xlsx":
            raise SchemaMismatch(f"{self.name}: verwacht een werkmap (.xlsx), het ingevulde sjabloon")
        read = workbook.read(self.file.path, self.name)
        if findings := [*read.findings, *self._unknown_experiments(read.register["deals"])]:
            listed = "\n".join(f"{n}. {f}" for n, f in enumerate(findings, start=1))
            raise SchemaMismatch(f"{self.name}: {len(findings)} bevindingen\n{listed}")
        rows = list(_plain(read.register, self.platform.settings.subkey("persoon in het register")))
        content = hashlib.sha256("\n".join("\t".join(map(str, r)) for r in rows).encode()).hexdigest()
        number, newest = _newest(self.platform)
        if newest == content:
            return None
        return Offered(
            self._table(con, rows, content, number + 1),
            controls={"rijen_na_landing": rows_landed(self.platform.lake, REGISTER) + len(rows)},
            file=f"{number + 1:06d}/{content}",
            notes={"bestand": self.name, "versie_van_het_register": number + 1},
        )

    def _unknown_experiments(self, deals: list[Row]) -> Iterator[Finding]:
        """Deals that name an experiment that this platform does not have: their results would stay away."""
        from koploper_pipelines.methods.koploperdeals.checks import Finding

        known = sorted({t.contract.experiment for t in self.platform.tables.values()} - {EXPERIMENT})
        for row in deals:
            if row.has("experiment") and row["experiment"] not in known:
                expected = f"de map van een experiment: {', '.join(known)}; of leeg"
                yield Finding("deals", row.number, "experiment", row["experiment"][:40], expected)

    def _table(
        self, con: duckdb.DuckDBPyConnection, rows: list[tuple[str, int, str]], content: str, number: int
    ) -> duckdb.DuckDBPyRelation:
        import pyarrow as pa

        sheets, lines, values = zip(*rows, strict=True)
        landed = self.platform.clock.now().isoformat()
        return con.from_arrow(pa.table({"blad": sheets, "rij": lines, "waarden": values})).project(
            f"{number} AS versie, '{content}' AS levering, TIMESTAMPTZ '{landed}' AS geland_op, *"
        )


@gated_table(REGISTER, lands=True, kinds=("excel", "delta"))
def register(step: Step) -> Iterator[RegisterFile]:
    """Each workbook in the inbox, by name: the last one becomes the register."""
    for file in dropped_files(step.platform.settings, EXPERIMENT):
        if not file.path.name.startswith(OPENED_IN_EXCEL):
            yield RegisterFile(file, step.platform)


def _plain(register: Mapping[str, list[Row]], key: bytes) -> Iterator[tuple[str, int, str]]:
    """Sheet, row and values of all rows, persons replaced."""
    from koploper_pipelines.methods.koploperdeals.frames import as_json
    from koploper_pipelines.methods.koploperdeals.schema import SHEETS

    for sheet in SHEETS:
        persons = [f.name for f in sheet.fields if f.kind == "persoon"]
        for row in register[sheet.name]:
            values: dict[str, Any] = dict(row.values)
            for column in persons:
                if values[column] is not None:
                    values[column] = pseudonym(key, " ".join(values[column].lower().split()))
            yield sheet.name, row.number, as_json(values)


def _newest(platform: Platform) -> tuple[int, str]:
    """Number and contents of the register as it stands; 0 before the first."""
    if not platform.lake.exists(REGISTER):
        return 0, ""
    number, content = max(platform.lake.head(REGISTER).files).split("/")
    return int(number), content
