"""Raw: what people say of published figures, each document checked against its form and pinned to a release.

Documents are Markdown with front matter: in `inbox/koploperdeals/duiding/`, or in a folder `duiding/` beside
an experiment's code. What a quoted figure was in its release is looked up here, once: the lake does not keep
old versions for ever. Whether it still holds is the published layer's.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from koploper_pipelines.gates.staging import Offered, SchemaMismatch
from koploper_pipelines.gates.table import Step, gated_table
from koploper_pipelines.resources.inbox import DroppedFile, dropped_files, has_landed, rows_landed

if TYPE_CHECKING:
    import duckdb

    from koploper_pipelines.contracts import Contract
    from koploper_pipelines.gates.step import Platform
    from koploper_pipelines.methods.koploperdeals.duiding import Interpretation, Quote

QUOTES = "koploperdeals/raw/duidingen"
FOLDER = "koploperdeals/duiding"
SUFFIX = ".md"
EXPERIMENTS = Path(__file__).parents[2]


@dataclass(frozen=True)
class Document:
    """One document, to be landed on its own."""

    path: Path
    platform: Platform
    dropped: DroppedFile | None
    """None for a document that stands beside an experiment: it stays where it is."""

    @property
    def name(self) -> str:
        """Name of the file, or its place in the package."""
        return self.dropped.name if self.dropped else self.path.relative_to(EXPERIMENTS).as_posix()

    def offered(self, con: duckdb.DuckDBPyConnection) -> Offered | None:
        """A row a quoted figure; None when this document landed before.

        Raises SchemaMismatch with every deviation, each with its line.
        """
        from koploper_pipelines.methods.koploperdeals import duiding

        content = self.path.read_bytes()
        landed_as = hashlib.sha256(f"{self.name}\n".encode() + content).hexdigest()
        lake = self.platform.lake
        if has_landed(lake, QUOTES, landed_as):
            return None
        try:
            said = duiding.read(_text(content, self.path))
        except duiding.NotInForm as error:
            raise SchemaMismatch(f"{self.name}:\n{error}") from error
        rows = self._pinned(con, said)
        landed = self.platform.clock.now()
        contract = self.platform.tables[QUOTES].contract
        made = con.from_arrow(_table(rows)).project(
            f"'{landed_as}' AS levering, * EXCLUDE (datum), CAST(datum AS DATE) AS datum,"
            f" TIMESTAMPTZ '{landed.isoformat()}' AS geland_op"
        )
        return Offered(
            made.project(", ".join(c.name for c in contract.columns)),
            controls={"rijen_na_landing": rows_landed(lake, QUOTES) + len(rows)},
            file=landed_as,
            notes={"bestand": self.name, "release": rows[0]["release"]},
        )

    def _pinned(self, con: duckdb.DuckDBPyConnection, said: Interpretation) -> list[dict[str, Any]]:
        """The quotes with what they were in their release; SchemaMismatch with all that is not there."""
        from koploper_pipelines.methods.koploperdeals import duiding

        place = _place(self.platform, said)
        if isinstance(place, duiding.Finding):
            raise SchemaMismatch(f"{self.name}:\n{place}")
        rows, problems = [], []
        for number, quote in enumerate(said.quotes, start=1):
            try:
                pinned = place.pinned(con, quote)
            except LookupError as error:
                problems.append(f"regel {quote.line}, {error.args[0]}")
                continue
            rows.append({"duiding": self.path.stem, "rij": number, **_facts(said), **pinned})
        if problems:
            raise SchemaMismatch(f"{self.name}:\n" + "\n".join(problems))
        return rows

    def accepted(self) -> None:
        """Delete the original (or keep it encrypted), when it was dropped."""
        if self.dropped:
            self.dropped.accept()

    def refused(self, report: str) -> None:
        """Put the original aside with the report, when it was dropped."""
        if self.dropped:
            self.dropped.refuse(report)


@dataclass(frozen=True)
class Place:
    """A table as a release held it."""

    platform: Platform
    contract: Contract
    release: str
    version: int

    def pinned(self, con: duckdb.DuckDBPyConnection, quote: Quote) -> dict[str, Any]:
        """The quoted figure as it was; NoFigure when it was not shown, or was another."""
        from koploper_pipelines.assets.koploperdeals import figures
        from koploper_pipelines.methods.koploperdeals import duiding

        rows = self.platform.lake.relation(con, self.contract.path, self.version)
        key = figures.newest_key(rows, quote.row, duiding.LATEST)
        row = figures.row_of(rows, self.contract, key)
        if row is None:
            raise figures.NoFigure(f"rij: release {self.release} heeft geen rij {_said(key)}")
        method = figures.method_of(self.platform, self.contract.path, self.version)
        found = figures.figure(row, self.contract, quote.column, quote.bounds, method)
        if found.value is None:
            status = row.get(f"{quote.column}_status", "leeg")
            raise figures.NoFigure(
                f"kolom: {quote.column} is in release {self.release} niet getoond ({status})"
            )
        if quote.value is not None and not _reads_as(quote.value, found.value):
            raise figures.NoFigure(f"waarde: is {quote.value}; in release {self.release} staat {found.value}")
        lower, upper = found.bounds or (None, None)
        return {
            "tabel": self.contract.path,
            "release": self.release,
            "sleutel": json.dumps(key, ensure_ascii=False),
            "kolom": quote.column,
            "kolom_onder": quote.bounds and quote.bounds[0],
            "kolom_boven": quote.bounds and quote.bounds[1],
            "waarde_toen": json.dumps(found.value, ensure_ascii=False),
            "onder_toen": lower,
            "boven_toen": upper,
            "periode_toen": json.dumps(found.period, sort_keys=True),
            "methode_toen": method,
        }


def _place(platform: Platform, said: Interpretation) -> Any:
    """Where the quotes stand, or the finding that they stand nowhere."""
    from koploper_pipelines.assets.koploperdeals.figures import published_contract
    from koploper_pipelines.assets.publicatie.published import versions_of_releases
    from koploper_pipelines.methods.koploperdeals import duiding

    contract = published_contract(platform, said.table)
    if contract is None:
        return duiding.Finding(
            said.lines["tabel"],
            "tabel",
            f"er is geen gepubliceerde tabel {said.table}; zie de tabel tabellen",
        )
    releases = versions_of_releases(platform)
    release = list(releases)[-1] if said.release == duiding.LATEST and releases else said.release
    if release not in releases:
        return duiding.Finding(said.lines["release"], "release", f"er is geen release {release}")
    if contract.path not in releases[release]:
        return duiding.Finding(said.lines["release"], "release", f"{release} heeft geen tabel {said.table}")
    return Place(platform, contract, release, releases[release][contract.path])


def _text(content: bytes, path: Path) -> str:
    from koploper_pipelines.methods.koploperdeals import duiding

    if path.suffix.lower() != SUFFIX:
        raise duiding.NotInForm(
            [duiding.Finding(1, "bestand", f"verwacht Markdown met een naam op {SUFFIX}")]
        )
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise duiding.NotInForm([duiding.Finding(line, "bestand", "verwacht tekst in UTF-8")]) from error


def _facts(said: Interpretation) -> dict[str, Any]:
    return {
        "spreker": said.speaker,
        "namens": said.on_behalf,
        "datum": said.day.isoformat(),
        **said.texts,
    }


def _table(rows: list[dict[str, Any]]) -> Any:
    import pyarrow as pa

    kinds = {"rij": pa.int64(), "onder_toen": pa.float64(), "boven_toen": pa.float64()}
    fields = [pa.field(name, kinds.get(name, pa.string())) for name in rows[0]]
    return pa.Table.from_pylist(rows, schema=pa.schema(fields))


def _said(key: dict[str, str]) -> str:
    return ", ".join(f"{c} {v}" for c, v in key.items())


def _reads_as(written: str, value: float | str | bool) -> bool:
    """Whether what a writer copied is the figure, with a point or a comma, as far as it was written out."""
    if not isinstance(value, float):
        return written == str(value)
    try:
        number = float(written.replace(",", "."))
    except ValueError:
        return False
    digits = len(written.replace(",", ".").partition(".")[2])
    return bool(abs(number - value) <= 0.5 / 10**digits + 1e-9)


@gated_table(QUOTES, lands=True, kinds=("markdown", "delta"))
def duidingen(step: Step) -> Iterator[Document]:
    """Each document in the inbox and beside the experiments; one that asks for a release to come waits."""
    platform = step.platform
    beside = [Document(p, platform, None) for p in sorted(EXPERIMENTS.glob(f"*/duiding/*{SUFFIX}"))]
    dropped = [Document(f.path, platform, f) for f in dropped_files(platform.settings, FOLDER)]
    yield from (d for d in (*dropped, *beside) if not _waits(platform, d.path))


def _waits(platform: Platform, path: Path) -> bool:
    """Whether a document speaks of the latest release of a table that no release holds yet."""
    from koploper_pipelines.assets.koploperdeals.figures import published_contract
    from koploper_pipelines.assets.publicatie.published import versions_of_releases
    from koploper_pipelines.methods.koploperdeals import duiding

    try:
        said = duiding.read(_text(path.read_bytes(), path))
    except duiding.NotInForm:
        return False
    contract = published_contract(platform, said.table)
    if contract is None or said.release != duiding.LATEST:
        return False
    releases = list(versions_of_releases(platform).values())
    return not releases or contract.path not in releases[-1]
