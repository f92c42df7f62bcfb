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
METHODS = f"{PACKAGE}.methods"


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


class Delivery(Protocol):
    """One file of a source, read and ready to be offered to the gate on its own."""

    name: str

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
    """Hash of a function, of what it calls in its own module and of all methods modules it imports."""
    source = Path(inspect.getsourcefile(make) or "")
    module = ast.parse(source.read_text(encoding="utf-8"))
    digest = hashlib.sha256()
    seen: set[str] = set()
    for node in _reachable(module, make.__name__):
        digest.update(_normalised(node))
        for name in sorted(_imports(node)):
            _add_module(name, digest, seen)
    return digest.hexdigest()[:16]


def _reachable(module: ast.Module, start: str) -> list[ast.stmt]:
    """The top-level statements of a module that a function depends on, the function itself first."""
    named = {n: s for s in module.body for n in _defines(s)}
    found: dict[str, ast.stmt] = {}
    queue = [start]
    while queue:
        name = queue.pop()
        if name in found or name not in named:
            continue
        found[name] = named[name]
        queue += sorted({n.id for n in ast.walk(named[name]) if isinstance(n, ast.Name)} - set(found))
    return [found[n] for n in sorted(found, key=lambda n: (n != start, n))]


def _defines(statement: ast.stmt) -> Iterator[str]:
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        yield statement.name
    elif isinstance(statement, ast.Assign):
        yield from (t.id for t in statement.targets if isinstance(t, ast.Name))
    elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
        yield statement.target.id


def _imports(node: ast.AST) -> set[str]:
    """Names of methods modules that a piece of code imports."""
    names: set[str] = set()
    for part in ast.walk(node):
        if isinstance(part, ast.ImportFrom) and (part.module or "").startswith(METHODS):
            names |= {part.module or "", *(f"{part.module}.{a.name}" for a in part.names)}
        elif isinstance(part, ast.Import):
            names |= {a.name for a in part.names if a.name.startswith(METHODS)}
    return names


def _add_module(name: str, digest: Any, seen: set[str]) -> None:
    """Add a methods module, and those that it imports, to the hash; a name that is no module adds nothing."""
    file = Path(__file__).parents[2].joinpath(*name.split(".")).with_suffix(".py")
    if name in seen or not file.is_file():
        return
    seen.add(name)
    tree = ast.parse(file.read_text(encoding="utf-8"))
    digest.update(_normalised(tree))
    for imported in sorted(_imports(tree)):
        _add_module(imported, digest, seen)


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
