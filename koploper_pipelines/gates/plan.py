"""The work list: which partitions of which tables are pending, and why.

It is derived from the lake alone: each commit says per partition which versions of its inputs, which code,
rules and settings it was made with; a partition is pending when these differ now. Nothing is computed or
written here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from koploper_pipelines.gates.table import GatedTable, Reads
from koploper_pipelines.resources.lake import UNKNOWN, WHOLE, Head, Lake, NoTable, UntrustedTable

MAX_DAYS_PER_RUN = 92
"""A quarter: Dagster plans every check of a table once a day of a run."""


@dataclass(frozen=True)
class Pending:
    """One partition that must be made again."""

    table: str
    partition: str
    because: str


class Plan:
    """Compares the lake with what the tables would be made of now."""

    def __init__(
        self,
        tables: Mapping[str, GatedTable],
        lake: Lake,
        settings: Mapping[str, str],
        also: Mapping[str, Callable[[], Any]],
        first_open_month: str,
    ) -> None:
        """Take `tables` in any order; `settings`: fingerprints per table, `also`: what else it depends on."""
        self.tables = {t.path: t for t in in_order(tables.values())}
        self._lake = lake
        self._settings = settings
        self._also = also
        self._first_open_month = first_open_month
        self._heads: dict[str, Head | None] = {}

    def head(self, table: str) -> Head | None:
        """The verified head of a table as this plan sees it; None before its first commit."""
        if table not in self._heads:
            try:
                self._heads[table] = self._lake.head(table)
            except NoTable:
                self._heads[table] = None
        return self._heads[table]

    def distrusted(self, table: GatedTable) -> str | None:
        """Why a table cannot be made: it, or what it reads, holds a commit of no gate; None when it can."""
        try:
            for path in (table.path, *(r.table for r in table.reads)):
                self.head(path)
            if table.path in self._also:
                self._also[table.path]()
        except UntrustedTable as error:
            return str(error)
        return None

    def provenance(self, table: GatedTable, partition: str) -> dict[str, Any]:
        """What a partition would be made of now."""
        made_of: dict[str, Any] = {
            "invoer": {r.table: self._version(table, r, partition) for r in table.reads},
            "code": table.code,
            "regels": table.contract.rules_hash,
            "instellingen": self._settings.get(table.path, ""),
        }
        if table.closes_months:
            # Of a table by month each month depends on whether it is closed itself, and on no other.
            is_by_month = self._kind(table.path) == "maand"
            made_of["eerste_open_maand"] = (
                partition < self._first_open_month if is_by_month else self._first_open_month
            )
        if table.path in self._also:
            made_of["verder"] = fingerprint(self._also[table.path]())
        return made_of

    def pending_of(self, table: GatedTable) -> dict[str, str]:
        """Pending partitions of one table, with the reason, given its inputs as they are now."""
        head = self.head(table.path)
        known = dict(head.partitions) if head else {}
        pending: dict[str, str] = {}
        for partition in self._universe(table) | set(known):
            if partition not in known:
                pending[partition] = "nog niet gemaakt"
                continue
            now, then = self.provenance(table, partition), known[partition].provenance
            if differing := [k for k in now if now[k] != then.get(k)]:
                pending[partition] = _reason(differing, now, then)
        return pending

    def pending(self, without: Mapping[str, Collection[str]] | None = None) -> list[Pending]:
        """Everything pending, in the order of the tables, with what follows from inputs that are pending.

        `without` names partitions per table that will not be made now, and so set nothing in motion. A table
        that cannot be made for want of trust is one item, so that whoever runs it is told.
        """
        reasons: dict[str, dict[str, str]] = {}
        distrusted: list[Pending] = []
        for table in self.tables.values():
            if table.lands:
                continue
            if why := self.distrusted(table):
                partition = UNKNOWN if table.contract.partition_kind == "dag" else WHOLE
                distrusted.append(Pending(table.path, partition, why))
                continue
            own = self.pending_of(table)
            for partition in (without or {}).get(table.path, ()):
                own.pop(partition, None)
            for read in table.reads:
                for changed in reasons.get(read.table, {}):
                    touched = set(self._touched(table, read, changed))
                    if read.lookup:
                        touched &= self._universe(table)
                    for partition in sorted(touched):
                        own.setdefault(partition, f"invoer {read.table} is aan de beurt")
            reasons[table.path] = own
        found = [Pending(t, p, why) for t, ps in reasons.items() for p, why in sorted(ps.items())]
        return [*found, *distrusted]

    def inputs(self, table: GatedTable, read: Reads, partitions: Iterable[str]) -> list[str]:
        """The input's partitions that partitions of a table are made of, as far as they exist."""
        head = self.head(read.table)
        if head is None:
            return []
        wanted = [self._needs(table, read, p) for p in partitions]
        return sorted(p for p in head.partitions if any(w(p) for w in wanted))

    def _version(self, table: GatedTable, read: Reads, partition: str) -> int | None:
        head = self.head(read.table)
        if head is None:
            return None
        return max((head.partitions[p].version for p in self.inputs(table, read, [partition])), default=None)

    def _kind(self, path: str) -> str | None:
        return self.tables[path].contract.partition_kind

    def _needs(self, table: GatedTable, read: Reads, partition: str) -> Any:
        """A test of whether an input's partition is needed for one partition of the table."""
        kind, source = table.contract.partition_kind, self._kind(read.table)
        if kind is None or source is None:
            return lambda p: True
        if kind == "dag" and source == "dag":
            if partition == UNKNOWN:
                return lambda p: p == UNKNOWN
            days = set(shifted(partition, -read.before, read.after))
            return lambda p: p in days
        if kind == "maand" and source == "dag":
            return lambda p: p.startswith(partition)
        return lambda p: p == partition

    def _touched(self, table: GatedTable, read: Reads, changed: str) -> list[str]:
        """Partitions of a table that an input's partition is needed for."""
        kind, source = table.contract.partition_kind, self._kind(read.table)
        if kind is None:
            return [WHOLE]
        if source is None:
            return sorted(self._universe(table))
        if kind == "deel":
            return [changed]
        if changed == UNKNOWN:
            return [UNKNOWN] if read.spills else []
        if kind == "maand":
            return [changed[:7]]
        return shifted(changed, -read.after, read.before)

    def _universe(self, table: GatedTable) -> set[str]:
        """Partitions that a table should have, given those of its inputs."""
        kind = table.contract.partition_kind
        if kind is None:
            return {WHOLE} if not table.reads or any(self.head(r.table) for r in table.reads) else set()
        found: set[str] = set()
        for read in table.reads:
            head = self.head(read.table)
            if head is None or self._kind(read.table) is None or read.lookup:
                continue
            for partition in head.partitions:
                if kind == "deel":
                    found.add(partition)
                elif partition == UNKNOWN:
                    found |= {UNKNOWN} if read.spills else set()
                elif kind == "maand":
                    found.add(partition[:7])
                else:
                    found |= set(shifted(partition, -read.after, read.before)) if read.spills else {partition}
        return found


def shifted(day: str, first: int, last: int) -> list[str]:
    """The days from `first` to `last` days after a day."""
    start = date.fromisoformat(day)
    return [(start + timedelta(days=n)).isoformat() for n in range(first, last + 1)]


def in_order(tables: Iterable[GatedTable]) -> list[GatedTable]:
    """Tables such that each comes after its inputs; by path where the order is free."""
    left = {t.path: t for t in tables}
    done: list[GatedTable] = []
    while left:
        ready = sorted(
            p for p, t in left.items() if not any(i in left for i in (*(r.table for r in t.reads), *t.after))
        )
        if not ready:
            raise ValueError(f"tables that read each other in a circle: {sorted(left)}")
        done += [left.pop(p) for p in ready]
    return done


def ranges(days: Iterable[str]) -> list[tuple[str, str]]:
    """Contiguous ranges of days, each within one calendar month.

    Cut at month ends, since month tables read all days of a month: a month is then made once.
    """
    found: list[tuple[str, str]] = []
    for day in sorted(set(days) - {UNKNOWN, WHOLE}):
        last = found[-1][1] if found else ""
        if found and shifted(last, 1, 1) == [day] and last[:7] == day[:7]:
            found[-1] = (found[-1][0], day)
        else:
            found.append((day, day))
    return found


def joined(spans: Sequence[tuple[str, str]], rows: Mapping[str, int], most: int) -> list[tuple[str, str]]:
    """Ranges as `ranges` gives them, put together while they touch and hold at most so many landed rows.

    Every run has its fixed cost, and of several ranges what lies at their borders is made first. What limits
    a run is the memory that rows take: a backlog of years is made a month at a time, one of few rows at once.
    """
    found: list[tuple[str, str]] = []
    held = 0
    for first, last in spans:
        own = sum(rows.get(day, 0) for day in _days(first, last))
        start = found[-1][0] if found else first
        touches = bool(found) and shifted(found[-1][1], 1, 1) == [first]
        if touches and held + own <= most and len(_days(start, last)) <= MAX_DAYS_PER_RUN:
            found[-1], held = (start, last), held + own
        else:
            found.append((first, last))
            held = own
    return found


def _days(first: str, last: str) -> list[str]:
    start, end = date.fromisoformat(first), date.fromisoformat(last)
    return [(start + timedelta(days=n)).isoformat() for n in range((end - start).days + 1)]


def fingerprint(value: Any) -> str:
    """Short hash of plain values."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _reason(differing: Sequence[str], now: Mapping[str, Any], then: Mapping[str, Any]) -> str:
    words = {"code": "code gewijzigd", "regels": "regels gewijzigd", "instellingen": "instellingen gewijzigd"}
    words |= {"eerste_open_maand": "een maand is gesloten", "verder": "kwaliteit of releases gewijzigd"}
    said = [words[k] for k in differing if k in words]
    if "invoer" in differing:
        before = then.get("invoer") or {}
        said += [f"{t} gewijzigd" for t, v in now["invoer"].items() if v != before.get(t)]
    return ", ".join(said)
