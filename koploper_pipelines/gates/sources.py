"""Remote sources of a landing: one that cannot be reached is a warning, not a failure.

Here belongs what a landing says of its source beside the deliveries it yields, and the verdict that follows.
How a source is called stands in `resources/`.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from koploper_pipelines.contracts import Contract
from koploper_pipelines.contracts.model import SOURCE_RULE
from koploper_pipelines.gates.audit import Verdict
from koploper_pipelines.gates.gate import Passage
from koploper_pipelines.gates.measures import literal
from koploper_pipelines.gates.staging import SchemaMismatch
from koploper_pipelines.resources.http import SourceRefused, SourceUnreachable

if TYPE_CHECKING:
    import duckdb

    from koploper_pipelines.gates.gate import Gate
    from koploper_pipelines.gates.staging import Offered
    from koploper_pipelines.gates.table import Delivery

ALERT_AFTER_NIGHTS = 3
"""Nights in a row without the source after which someone is told: one or two mend themselves."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SourceState:
    """Whether a landing reached its source: yielded by the landing's function after its deliveries."""

    problem: str | None = None
    """Why the source could not be reached; None when it was."""
    needs_a_person: bool = False
    """Whether it answered that it will not (a wrong key): waiting does not help."""


@dataclass
class Unreadable:
    """A delivery that is not what the source should give; offered to the gate it says why."""

    name: str
    why: SchemaMismatch

    def offered(self, con: duckdb.DuckDBPyConnection) -> Offered | None:
        """Raises what is wrong with it."""
        raise self.why

    def accepted(self) -> None:
        """Never called: it is never accepted."""

    def refused(self, report: str) -> None:
        """Nothing to put aside: the source still has it."""


def from_source(name: str, deliveries: Iterable[Delivery]) -> Iterator[Delivery | SourceState]:
    """The deliveries of a remote source, and at their end whether it could be reached.

    What was delivered before the source failed counts; the next night goes on from there.
    """
    try:
        yield from deliveries
    except SourceUnreachable as error:
        yield SourceState(str(error))
    except SourceRefused as error:
        yield SourceState(str(error), needs_a_person=True)
    except SchemaMismatch as error:
        yield Unreadable(name, error)
        yield SourceState()
    else:
        yield SourceState()


def judge_source(gate: Gate, contract: Contract, state: SourceState, passage: Passage) -> tuple[Verdict, int]:
    """The verdict on a table's source, and how many nights in a row it has not been reached.

    Remembered in the ledger when it could not be reached, and when that is over.
    """
    rule = next(r for r in contract.rules if r.name == SOURCE_RULE)
    before = gate.ledger.read(
        f"tabel = {literal(contract.path)} AND gebeurtenis = 'regel' AND regel = {literal(SOURCE_RULE)}"
    )
    if state.problem is None:
        verdict = Verdict(rule, True, judged=1)
        if before.empty or not before["is_geslaagd"].iloc[-1]:
            gate.remember(contract, uuid.uuid4().hex, passage, [verdict])
        return verdict, 0
    since = before[before["is_geslaagd"].cumsum() == before["is_geslaagd"].sum()]
    failed = since[~since["is_geslaagd"].astype(bool)]
    nights = len({*failed["nacht"].fillna(failed["run_id"]), passage.night or passage.run_id})
    verdict = Verdict(
        rule,
        False,
        evaluable=not state.needs_a_person,
        judged=1,
        message=f"{state.problem}" + (f"; {nights} nachten op rij" if nights > 1 else ""),
    )
    gate.remember(contract, uuid.uuid4().hex, passage, [verdict])
    if nights >= ALERT_AFTER_NIGHTS:
        log.warning("%s: %s", contract.path, verdict.message)
    return verdict, nights
