"""How an experiment declares a table: `@gated_table` on the function that makes its rows.

Here belong the declaration and what the function gets to see (`Step`). The Dagster asset is made of it in
`asset.py`, the work list in `plan.py`, the fingerprint of its code in `fingerprint.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from koploper_pipelines.contracts import Contract, load_contract
from koploper_pipelines.gates.fingerprint import code_fingerprint
from koploper_pipelines.settings import ExperimentSettings

if TYPE_CHECKING:
    import duckdb

    from koploper_pipelines.gates.staging import Offered
    from koploper_pipelines.gates.step import Platform


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
