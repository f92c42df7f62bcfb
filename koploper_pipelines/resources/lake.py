"""The lake: Delta tables of all layers, each change carrying the gate's stamp.

Here belong reading with verification of the stamps, and the bare commit. Whether rows may be committed
is decided in `gates/`, the only caller of `commit` and `restore`.

Trust is a chain: every data-changing commit must carry a stamp signed with the installation's key, and
each stamp names the stamped commit before it. A commit without one (or with a copied one) is foreign:
readers refuse the table and name it, also when a stamped commit follows, until it is repaired.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa
    from deltalake import CommitProperties, DeltaTable
    from deltalake.transaction import AddAction, RemoveAction

STAMP = "koploper"
SIGNATURE = "koploper_hmac"
UNKNOWN = "onbekend"
"""Name of the partition of rows whose day cannot be told (NULL in the table)."""
WHOLE = "*"
"""Name of the one partition of a table that has none."""
# The stamps in the log are the work list, so the log outlives Delta's default of 30 days.
CONFIGURATION: Mapping[str, str | None] = {"delta.logRetentionDuration": "interval 36500 days"}
HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"
"""What the folder of the rows without a value for the partition column is called."""


class UntrustedTable(RuntimeError):
    """A table holds a commit that no gate made; the message names it and how to repair it."""


class NoTable(LookupError):
    """The table was never written."""


@dataclass(frozen=True)
class PartitionState:
    """What one partition was made from: the version that wrote it and its provenance then."""

    version: int
    provenance: Mapping[str, Any]


@dataclass(frozen=True)
class Head:
    """The newest version of a table, after its whole chain of stamps was verified."""

    version: int
    stamped_version: int
    stamp: Mapping[str, Any]
    partitions: Mapping[str, PartitionState] = field(repr=False)
    files: frozenset[str] = field(repr=False)
    """Content hashes of the source files whose rows have landed."""


@dataclass(frozen=True)
class DataFile:
    """A Parquet file that is to become part of a table, of which all rows are in one partition."""

    path: Path
    rows: int
    partition: str | None = None
    """Value of the partition column; None for no value, and in a table without partitions."""


@dataclass
class _Chain:
    """Verification so far, kept per process so that each commit is read once."""

    version: int = -1
    stamped_version: int = -1
    stamp: Mapping[str, Any] = field(default_factory=dict)
    partitions: dict[str, PartitionState] = field(default_factory=dict)
    files: set[str] = field(default_factory=set)
    foreign: dict[int, str] = field(default_factory=dict)
    last_good: Head | None = None
    """As it was before the first foreign commit, while there is one; None when no gate wrote before it."""
    beginning: tuple[int, int, int] = (0, 0, 0)
    select: tuple[int, str] | None = None
    """The version that was read last, and the SQL for its rows."""
    opened: DeltaTable | None = None
    """The newest version as it was opened last: to follow the log from there takes less than to read it."""

    def head(self) -> Head:
        """A copy of where the verification stands."""
        return Head(
            self.version, self.stamped_version, self.stamp, dict(self.partitions), frozenset(self.files)
        )


class Lake:
    """All Delta tables under one folder, read and written under one signing key."""

    def __init__(self, root: Path, key: bytes) -> None:
        """Open the lake below `root`; `key` signs the stamps."""
        self.root = root
        self._key = key
        self._chains: dict[str, _Chain] = {}
        # Threads of one process (a web server's) share what is known of a table.
        self._turn = threading.RLock()

    @cached_property
    def staging(self) -> Path:
        """Folder of staged rows that await their audit; nothing in it is ever read as a table."""
        folder = self.root / "_voorportaal"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @cached_property
    def _locks(self) -> Path:
        folder = self.root / "_sloten"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def folder(self, table: str) -> Path:
        """Where a table stands."""
        return self.root / table

    @contextmanager
    def lock(self, table: str) -> Iterator[None]:
        """One writer at a time for a table; freed by the system when the process dies."""
        from filelock import FileLock

        with FileLock(self._locks / f"{table.replace('/', '__')}.lock"):
            yield

    def exists(self, table: str) -> bool:
        """Whether the table was ever written."""
        # The folder of the log may be all that a first write had made when it was cut off.
        return self._stands(table, 0)

    def head(self, table: str) -> Head:
        """The newest version, verified.

        Raises NoTable when there is none, UntrustedTable when a commit in its log carries no good stamp.
        """
        with self._turn:
            chain = self._verify(table)
            if chain.foreign:
                raise UntrustedTable(_foreign(table, chain.foreign))
            return chain.head()

    def stamps(self, table: str) -> list[tuple[int, Mapping[str, Any]]]:
        """Version and stamp of every commit that a gate made, oldest first; raises as `head` does."""
        found = []
        for version in range(self.head(table).version + 1):
            infos = (a["commitInfo"] for a in self._actions(table, version) if "commitInfo" in a)
            if (stamp := self._stamp_of(table, next(infos, {}))) is not None:
                found.append((version, stamp))
        return found

    def repair(self, table: str) -> int:
        """Bring a table back to its last version before a foreign commit, in a new commit; that version.

        Quarantine and landed files are again those of that version, and every partition counts as pending,
        so that what gates wrote since is made again. Raises LookupError when there is nothing to repair or
        no version to go back to.
        """
        chain = self._verify(table)
        if not chain.foreign:
            raise LookupError(f"{table}: nothing to repair, every commit was made by a gate")
        good = chain.last_good
        if good is None:
            raise LookupError(f"{table}: no version was made by a gate; move its folder away and run again")
        stamp = {
            **good.stamp,
            "gang": "herstel",
            "ouder": chain.stamped_version,
            "hersteld": sorted(chain.foreign),
            "bestanden": sorted(good.files),
            "partities": {p: {} for p in chain.partitions},
        }
        self.restore(table, good.version, stamp)
        return good.version

    def schema(self, table: str, version: int) -> pa.Schema:
        """Columns and types of one version, partition columns included."""
        import pyarrow as pa

        with self._opened(table, version) as delta:
            return pa.schema(delta.schema().to_arrow())

    def relation(self, con: duckdb.DuckDBPyConnection, table: str, version: int) -> duckdb.DuckDBPyRelation:
        """Rows of one version (partition columns included), read by DuckDB from the files themselves.

        Not through deltalake's Arrow dataset: its file system is Python code, so that Arrow's reading threads
        wait for the interpreter's lock, which DuckDB may hold while it waits for them: a read without end.
        """
        chain = self._chain(table)
        if (known := chain.select) is None or known[0] != version:
            known = chain.select = version, self._select(con, table, version)
        return con.sql(known[1])

    def _select(self, con: duckdb.DuckDBPyConnection, table: str, version: int) -> str:
        """SQL for the rows of one version."""
        import pyarrow as pa

        with self._opened(table, version) as delta:
            schema = pa.schema(delta.schema().to_arrow())
            partitions = list(delta.metadata().partition_columns)
            actions = pa.table(delta.get_add_actions(flatten=True))
        empty = con.from_arrow(schema.empty_table())
        nulls = {
            name: f'NULL::{kind} AS "{name}"' for name, kind in zip(empty.columns, empty.types, strict=True)
        }
        if actions.num_rows == 0:
            return f"SELECT {', '.join(nulls.values())} WHERE false"
        paths = [unquote(p) for p in actions["path"].to_pylist()]
        for column in partitions:
            _check_folders(table, paths, column, actions[f"partition.{column}"].to_pylist())
        files = ", ".join(_text(str(self.folder(table) / p)) for p in paths)
        kinds = {c: "DATE" if pa.types.is_date(schema.field(c).type) else "VARCHAR" for c in partitions}
        hive = ", ".join(f"{_text(c)}: {kind}" for c, kind in kinds.items())
        options = f", hive_types = {{{hive}}}" if hive else ""
        source = f"read_parquet([{files}], union_by_name = true, hive_partitioning = {bool(hive)}{options})"
        # A column that was added later may have a value in no file yet.
        present = set(con.sql(f"SELECT * FROM {source}").columns)
        columns = ", ".join(f'"{name}"' if name in present else nulls[name] for name in schema.names)
        return f"SELECT {columns} FROM {source}"

    def rows(self, table: str, version: int) -> int:
        """Number of rows of one version, from the log alone."""
        with self._opened(table, version) as delta:
            return _rows(delta)

    def rows_of_partitions(self, table: str, version: int, partition: str) -> dict[str, int]:
        """Number of rows of each value of a partition column in one version."""
        import duckdb

        with duckdb.connect() as con:
            rows = self.relation(con, table, version)
            name = f"""coalesce("{partition}"::VARCHAR, '{UNKNOWN}')"""
            return dict(rows.aggregate(f"{name}, count(*)").fetchall())

    def partition_of(self, table: str) -> str | None:
        """The column by which the table's files are kept apart; None when there is none."""
        with self._opened(table) as delta:
            return next(iter(delta.metadata().partition_columns), None)

    def commit(
        self,
        table: str,
        files: Sequence[DataFile],
        schema: pa.Schema,
        stamp: Mapping[str, Any],
        *,
        partition: str | None,
        replace: Sequence[str] | None,
    ) -> int:
        """Make files the table's own in one transaction with a signed stamp; the new version.

        What was audited is what is read afterwards: the files are moved, not written again. `replace` names
        the partitions to replace (all rows when the table has no partitions), None appends. Columns that the
        table did not have are added first; other partitions have no value in them.
        """
        from deltalake import PostCommitHookProperties, Schema
        from deltalake.transaction import create_table_with_add_actions

        folder = self.folder(table)
        folder.mkdir(parents=True, exist_ok=True)
        if not self.exists(table):
            create_table_with_add_actions(
                str(folder),
                Schema.from_arrow(schema),
                self._take_in(table, files, stamp["gang"], partition),
                partition_by=partition,
                configuration=CONFIGURATION,
                commit_properties=self._signed(table, stamp),
            )
            return 0
        if replace is None or partition is not None:
            stamp = self._add_columns(table, schema, stamp)
            schema = self.schema(table, self._verify(table).version)
        with self._opened(table) as delta:
            replaces_all = replace is not None and partition is None
            removed = _removals(delta, partition, replace or ())
            delta.create_write_transaction(
                [*self._take_in(table, files, stamp["gang"], partition), *removed],
                "overwrite" if replaces_all else "append",
                Schema.from_arrow(schema),
                partition,
                commit_properties=self._signed(table, stamp),
                post_commithook_properties=PostCommitHookProperties(cleanup_expired_logs=False),
            )
        return self._verify(table).version

    def _take_in(
        self, table: str, files: Sequence[DataFile], gang: str, partition: str | None
    ) -> list[AddAction]:
        """Move files into the table's folder, where none reads them before the log names them."""
        from deltalake.transaction import AddAction

        added = []
        for number, file in enumerate(f for f in files if f.rows):
            name = f"{_part(gang)}-{number}.parquet"
            if partition is not None:
                value = HIVE_NULL if file.partition is None else quote(file.partition, safe="")
                name = f"{partition}={value}/{name}"
            target = self.folder(table) / name
            target.parent.mkdir(exist_ok=True)
            os.replace(file.path, target)
            values = {} if partition is None else {partition: file.partition}
            about = target.stat()
            statistics = json.dumps({"numRecords": file.rows})
            moment = int(about.st_mtime * 1000)
            added.append(AddAction(name, about.st_size, values, moment, True, statistics))
        return added

    def forget_files(self, table: str, gang: str) -> None:
        """Delete what a pass that was cut off had moved into the table's folder; no version names it."""
        for left in self.folder(table).rglob(f"{_part(gang)}-*.parquet"):
            left.unlink()

    def _add_columns(self, table: str, schema: pa.Schema, stamp: Mapping[str, Any]) -> Mapping[str, Any]:
        """Add columns that the table lacks, in a commit of its own; the stamp of the commit to follow."""
        from deltalake import Schema

        with self._opened(table) as delta:
            present = {f.name for f in delta.schema().fields}
            if not (new := [f for f in Schema.from_arrow(schema).fields if f.name not in present]):
                return stamp
            # As the newest stamp, since quarantine and outcome are still those: no partition was made again.
            before = self.head(table)
            same = {**before.stamp, "partities": {}, "bestand": None, "ouder": before.stamped_version}
            delta.alter.add_columns(new, commit_properties=self._signed(table, same))
        return {**stamp, "ouder": self.head(table).stamped_version}

    def restore(self, table: str, version: int, stamp: Mapping[str, Any]) -> int:
        """Bring a table back to an earlier version in a new, stamped commit; the new version."""
        with self._opened(table) as delta:
            delta.restore(version, commit_properties=self._signed(table, stamp))
            return int(delta.version())

    def compact(self, table: str, stamp: Mapping[str, Any]) -> None:
        """Merge a table's small files in a stamped commit; the rows stay the same."""
        with self._opened(table) as delta:
            delta.optimize.compact(commit_properties=self._signed(table, stamp))
            # Else each opening reads up to a hundred commits of the log one by one.
            delta.create_checkpoint()

    @contextmanager
    def _opened(self, table: str, version: int | None = None) -> Iterator[DeltaTable]:
        """A version of the table, the newest by default, that no other thread moves on meanwhile."""
        with self._turn:
            yield self._open(table, version)

    def _open(self, table: str, version: int | None) -> DeltaTable:
        from deltalake import DeltaTable

        chain = self._chain(table)
        if chain.opened is None or not self._stands(table, chain.opened.version()):
            chain.opened = DeltaTable(str(self.folder(table)))
        elif self._stands(table, chain.opened.version() + 1):
            chain.opened.update_incremental()
        if version in (None, chain.opened.version()):
            return chain.opened
        return DeltaTable(str(self.folder(table)), version=version)

    def _signed(self, table: str, stamp: Mapping[str, Any]) -> CommitProperties:
        from deltalake import CommitProperties

        text = json.dumps({**stamp, "tabel": table}, sort_keys=True)
        return CommitProperties(custom_metadata={STAMP: text, SIGNATURE: self._signature(text)})

    def _signature(self, text: str) -> str:
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()

    def _stamp_of(self, table: str, commit: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The commit's stamp when it is ours and for this table, else None."""
        text, signature = commit.get(STAMP), commit.get(SIGNATURE)
        if not isinstance(text, str) or not isinstance(signature, str):
            return None
        if not hmac.compare_digest(signature, self._signature(text)):
            return None
        stamp: Mapping[str, Any] = json.loads(text)
        return stamp if stamp.get("tabel") == table else None

    def _verify(self, table: str) -> _Chain:
        """Verify what was committed since the last look, told from the log's files: opening costs more."""
        with self._turn:
            chain = self._chain(table)
            if not self._stands(table, chain.version + 1):
                return chain
            while self._stands(table, chain.version + 1):
                self._extend(table, chain, chain.version + 1)
            folder, following = os.path.split(self._log(table, chain.version + 1))
            commits = (n for n in os.listdir(folder) if n.endswith(".json") and n[0].isdigit())
            if max(commits) > following and not self._stands(table, chain.version + 1):
                # The rows are those of later commits, to which the chain cannot be followed.
                del self._chains[table]
                raise UntrustedTable(f"{table}: its log lacks version {chain.version + 1}")
            return chain

    def _chain(self, table: str) -> _Chain:
        """What is known of the table that stands there now."""
        if not self.exists(table):
            raise NoTable(_never_written(table))
        chain, beginning = self._chains.get(table), self._beginning(table)
        if chain is None or chain.beginning != beginning or not self._stands(table, chain.version):
            # None was seen yet, or another table stands in its place, or one that was set back.
            chain = self._chains[table] = _Chain(beginning=beginning)
        return chain

    def _stands(self, table: str, version: int) -> bool:
        """Whether the log (still) holds a version; before the first there is nothing to hold."""
        return version < 0 or os.path.isfile(self._log(table, version))

    def _log(self, table: str, version: int) -> str:
        # As text: a night asks thousands of times, and a Path takes longer to make than a file to look up.
        return f"{self.root}/{table}/_delta_log/{version:020d}.json"

    def _beginning(self, table: str) -> tuple[int, int, int]:
        """Tells one table from another that took its place."""
        first = os.stat(self._log(table, 0))
        return first.st_ino, first.st_mtime_ns, first.st_size

    def _extend(self, table: str, chain: _Chain, version: int) -> None:
        actions = self._actions(table, version)
        commit: Mapping[str, Any] = next((a["commitInfo"] for a in actions if "commitInfo" in a), {})
        stamp = self._stamp_of(table, commit)
        if stamp is not None and stamp.get("ouder") == chain.stamped_version:
            for partition, provenance in stamp.get("partities", {}).items():
                chain.partitions[partition] = PartitionState(version, provenance)
            if stamp.get("bestand"):
                chain.files.add(stamp["bestand"])
            if "hersteld" in stamp:
                chain.foreign = {v: what for v, what in chain.foreign.items() if v not in stamp["hersteld"]}
                chain.files = set(stamp["bestanden"])
            chain.stamp, chain.stamped_version = stamp, version
        elif self._changes_data(table, version, actions):
            if not chain.foreign:
                chain.last_good = chain.head() if chain.stamped_version >= 0 else None
            chain.foreign[version] = str(commit.get("operation", "unknown operation"))
        chain.version = version

    def _actions(self, table: str, version: int) -> list[dict[str, Any]]:
        """What a commit says it does, from the log itself.

        Not from `DeltaTable.history`: that numbers the newest commits as if the table had been opened after
        them, so that a commit of another process in between gives every commit the wrong version.
        """
        with open(self._log(table, version), encoding="utf-8") as log:
            return [json.loads(line) for line in log if line.strip()]

    def _changes_data(self, table: str, version: int, actions: Sequence[Mapping[str, Any]]) -> bool:
        """Whether a commit changes rows or schema: told from its actions, since its name can say anything."""
        if any("metaData" in a or "protocol" in a for a in actions):
            return True
        files = [a.get("add") or a["remove"] for a in actions if "add" in a or "remove" in a]
        if any(f.get("dataChange", True) or f.get("deletionVector") for f in files):
            return True
        if not files:
            return False
        # A rewrite that says it changes nothing must keep the rows; the number alone once files are cleared.
        if self.rows(table, version) != self.rows(table, version - 1):
            return True
        return not _same_rows(
            self.folder(table),
            [a["remove"] for a in actions if "remove" in a],
            [a["add"] for a in actions if "add" in a],
        )


def _never_written(table: str) -> str:
    return f"{table}: no rows have passed its gate yet"


def _foreign(table: str, versions: Mapping[int, str]) -> str:
    named = "; ".join(f"version {v} ({what}) was not written by a gate" for v, what in versions.items())
    mended = f"run `koploper repair {table}` to go back to the last version before it."
    return f"{table}: {named}. Look at the change, then {mended}"


def _check_folders(table: str, paths: Sequence[str], column: str, values: Sequence[object]) -> None:
    """Raise UntrustedTable for a file that does not lie in the folder of its partition in the log."""
    for path, value in zip(paths, values, strict=True):
        named = HIVE_NULL if value is None else str(value)
        if f"{column}={named}" not in unquote(path).split("/")[:-1]:
            raise UntrustedTable(f"{table}: {path} does not lie in the folder of {column} {named}")


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _rows(delta: DeltaTable) -> int:
    import pyarrow as pa
    import pyarrow.compute as pc

    actions = pa.table(delta.get_add_actions(flatten=True))
    return int(pc.sum(actions["num_records"]).as_py() or 0) if actions.num_rows else 0


def _same_rows(
    folder: Path, removed: Sequence[Mapping[str, Any]], added: Sequence[Mapping[str, Any]]
) -> bool:
    """Whether files hold the rows of those that they took the place of, as far as these are still there."""
    import duckdb

    def by_partition(files: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for file in files:
            partition = json.dumps(file.get("partitionValues") or {}, sort_keys=True)
            found.setdefault(partition, []).append(str(folder / unquote(file["path"])))
        return found

    before, after = by_partition(removed), by_partition(added)
    if before.keys() != after.keys():
        return False
    with duckdb.connect() as con:
        for partition, old in before.items():
            if not all(Path(f).is_file() for f in old):
                continue
            con.read_parquet(old, union_by_name=True).create_view("was", replace=True)
            con.read_parquet(after[partition], union_by_name=True).create_view("now", replace=True)
            if con.table("was").columns != con.table("now").columns:
                return False
            differing = con.sql("(FROM was EXCEPT ALL FROM now) UNION ALL (FROM now EXCEPT ALL FROM was)")
            if differing.limit(1).fetchall():
                return False
    return True


def _part(gang: str) -> str:
    """How the names of the files of one pass begin."""
    return f"part-{gang}"


def _removals(delta: DeltaTable, partition: str | None, replace: Sequence[str]) -> list[RemoveAction]:
    """What takes the files of partitions out of a table; rows without a day are named by a word."""
    import pyarrow as pa
    from deltalake.transaction import RemoveAction

    if partition is None or not replace:
        return []
    actions = pa.table(delta.get_add_actions(flatten=True))
    if not actions.num_rows:
        return []
    moment, named = int(time.time() * 1000), set(replace)
    return [
        RemoveAction(unquote(path), True, moment, size=size, partition_values={partition: value})
        for path, size, value in zip(
            actions["path"].to_pylist(),
            actions["size_bytes"].to_pylist(),
            (None if v is None else str(v) for v in actions[f"partition.{partition}"].to_pylist()),
            strict=True,
        )
        if (UNKNOWN if value is None else value) in named
    ]
