"""How an experiment declares a table: `@gated_table` on the function that makes its rows.

Here belong the declaration, what the function gets to see (`Step`) and the fingerprint of the code that
makes a table. The Dagster asset is made of it in `asset.py`, the work list in `plan.py`.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from koploper_pipelines.contracts import Contract, load_contract
from koploper_pipelines.settings import ExperimentSettings

if TYPE_CHECKING:
    import duckdb

    from koploper_pipelines.gates.staging import Offered
    from koploper_pipelines.gates.step import Platform

PACKAGE = "koploper_pipelines"
REFERENCE = f"{PACKAGE}.resources.reference"
COUNTING = (f"{PACKAGE}.methods", f"{PACKAGE}.relations", REFERENCE)
"""Modules whose code decides rows, besides those in `assets/`."""


@dataclass(frozen=True)
class Reads:
    """An input of a step and its footprint: which of the input's days one day of the output needs."""

    table: str
    before: int = 0
    """Days before the output's day that are read too."""
    after: int = 0
    """Days after the output's day that are read too."""
    spills: bool = False
    """Whether a row of one day can become a row of a neighbouring day (a clock in another time zone)."""
    quarantine: bool = False
    """Whether the step also reads the rows that the input set aside."""
    lookup: bool = False
    """Whether the input is only looked up: its days change days of the output, and make no new ones."""


class Delivery(Protocol):
    """One file or answer of a source, ready to be offered to the gate on its own."""

    @property
    def name(self) -> str:
        """What it is called, for messages."""

    def offered(self, con: duckdb.DuckDBPyConnection) -> Offered | None:
        """The rows of the file; None when its contents landed before.

        Raises SchemaMismatch when the file cannot be read as what it should be.
        """

    def accepted(self) -> None:
        """Called when the rows are in the lake."""

    def refused(self, report: str) -> None:
        """Called when the gate stayed closed, with the reasons."""


class Step(Protocol):
    """What the function of a table gets to see."""

    con: duckdb.DuckDBPyConnection
    partitions: Sequence[str]
    """Partitions in hand: days (`YYYY-MM-DD`), months (`YYYY-MM`), `onbekend`, or `*` for a whole table."""
    first_open_month: str
    """First measurement month that still may receive rows."""

    def read(self, table: str) -> duckdb.DuckDBPyRelation:
        """The input's rows that the partitions in hand need, of its last version that passed its gate."""

    def quarantine(self, table: str) -> duckdb.DuckDBPyRelation:
        """The input's set-aside rows: partitie, reden, toelichting, rij."""

    def settings(self, kind: type[ExperimentSettings]) -> Any:
        """The experiment's choices."""

    @property
    def platform(self) -> Platform:
        """The installation, for landings and for the release."""


@dataclass(frozen=True)
class GatedTable:
    """A table, its inputs and the function that makes its rows."""

    contract: Contract
    make: Callable[[Step], Any]
    reads: tuple[Reads, ...] = ()
    settings: type[ExperimentSettings] | None = None
    kinds: tuple[str, ...] = ("duckdb", "delta")
    closes_months: bool = False
    """Whether the rows depend on which months are closed, so that they are made again when one closes."""
    also: Callable[[Platform], Any] | None = None
    """Plain values that the rows depend on besides the lake's tables (the ledger, the releases so far)."""
    lands: bool = False
    """Whether the function yields deliveries of a source that are gated one by one and appended."""
    after: tuple[str, ...] = ()
    """Assets that must come first without being read as tables."""

    @property
    def path(self) -> str:
        """`experiment/layer/table`."""
        return self.contract.path

    @cached_property
    def code(self) -> str:
        """Fingerprint of the step's and its methods' code; comments and docstrings do not count."""
        return code_fingerprint(self.make)


@dataclass(frozen=True)
class SameTotal:
    """Two published tables that must give the same total; a release in which they do not is not made."""

    tables: tuple[str, ...]
    """SQL names of the tables that both queries use."""
    left: str
    right: str
    because: str


def gated_table(
    path: str,
    *,
    reads: Sequence[Reads] = (),
    settings: type[ExperimentSettings] | None = None,
    closes_months: bool = False,
    also: Callable[[Platform], Any] | None = None,
    lands: bool = False,
    kinds: tuple[str, ...] = ("duckdb", "delta"),
    after: tuple[str, ...] = (),
) -> Callable[[Callable[[Step], Any]], GatedTable]:
    """Declare that a function makes the table of contract `path`.

    The function gets a `Step` and returns what it offers the gate (`Offered`); with `lands` it yields
    deliveries. It imports the methods it needs inside its body: so that a code location loads fast, and so
    that the fingerprint of the step's code knows which methods count.
    """

    def declare(make: Callable[[Step], Any]) -> GatedTable:
        return GatedTable(
            load_contract(path), make, tuple(reads), settings, kinds, closes_months, also, lands, after
        )

    return declare


def code_fingerprint(make: Callable[..., Any]) -> str:
    """Hash of a function and of all code of ours that it uses to make rows.

    Of the modules in `assets/` only the parts that are reached count; of `methods/`, `relations` and the
    reference lists whole modules, and of the lists their files too.
    """
    digest = hashlib.sha256()
    _add_names(Path(inspect.getsourcefile(make) or ""), make.__name__, digest, set())
    return digest.hexdigest()[:16]


def _add_names(file: Path, start: str, digest: Any, seen: set[str]) -> None:
    """Add the top-level statement of a module that defines a name, and all that it depends on."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    named = {n: s for s in tree.body for n in _defines(s)}
    imported = {
        a.asname or a.name: (s.module or "", a.name)
        for s in ast.walk(tree)
        if isinstance(s, ast.ImportFrom)
        for a in s.names
    }
    queue = [start]
    while queue:
        name = queue.pop(0)
        if f"{file}:{name}" in seen:
            continue
        seen.add(f"{file}:{name}")
        if name in named:
            digest.update(_normalised(named[name]))
            queue += sorted({n.id for n in ast.walk(named[name]) if isinstance(n, ast.Name)})
            for imported_module, attribute in _imports(named[name]):
                _add_import(imported_module, attribute, digest, seen)
        elif name in imported:
            _add_import(*imported[name], digest, seen)


def _add_import(module: str, name: str, digest: Any, seen: set[str]) -> None:
    """Add what an import brings, when it is code or a list that decides rows."""
    if module.startswith(f"{PACKAGE}.assets"):
        _add_names(_file_of(module), name, digest, seen)
    elif module.startswith(COUNTING):
        for candidate in (module, f"{module}.{name}"):
            _add_module(candidate, digest, seen)


def _add_module(module: str, digest: Any, seen: set[str]) -> None:
    """Add a whole module and the ones it imports; a name that is no module adds nothing."""
    file = _file_of(module)
    if module in seen or not file.is_file():
        return
    seen.add(module)
    tree = ast.parse(file.read_text(encoding="utf-8"))
    digest.update(_normalised(tree))
    for imported, attribute in _imports(tree):
        _add_import(imported, attribute, digest, seen)
    if module.startswith(REFERENCE):
        for listed in sorted(file.parent.glob("*.csv")):
            digest.update(listed.read_bytes())


def _imports(node: ast.AST) -> Iterator[tuple[str, str]]:
    """Module and name of everything that a piece of code imports; the name is empty for a whole module."""
    for part in ast.walk(node):
        if isinstance(part, ast.ImportFrom):
            yield from ((part.module or "", a.name) for a in part.names)
        elif isinstance(part, ast.Import):
            yield from ((a.name, "") for a in part.names)


def _file_of(module: str) -> Path:
    """Source of a module of ours, by its name."""
    place = Path(__file__).parents[2].joinpath(*module.split("."))
    return place / "__init__.py" if place.is_dir() else place.with_suffix(".py")


def _defines(statement: ast.stmt) -> Iterator[str]:
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        yield statement.name
    elif isinstance(statement, ast.Assign):
        yield from (t.id for t in statement.targets if isinstance(t, ast.Name))
    elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
        yield statement.target.id


def _normalised(node: ast.AST) -> bytes:
    """Source without comments, layout and docstrings: what it does, not how it reads."""
    copy = ast.parse(ast.unparse(node))
    for part in ast.walk(copy):
        if isinstance(part, ast.FunctionDef | ast.ClassDef | ast.Module):
            first = part.body[0] if part.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                part.body = part.body[1:] or [ast.Pass()]
    return ast.unparse(copy).encode()
