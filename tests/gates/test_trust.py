"""Only what a gate wrote is read: foreign commits are refused and named, and repaired.

A stranger is anyone with access to the files and without the installation's key: another tool, a script, or
somebody who writes Delta's log by hand.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import CommitProperties, DeltaTable, Field, write_deltalake
from deltalake.schema import PrimitiveType
from gatehouse import ARROW, CLEAN, NEAR, RAW, House, Row, column, contract, drop, toy_tables

from koploper_pipelines.gates.ledger import TABLE as LEDGER
from koploper_pipelines.gates.step import Report
from koploper_pipelines.resources.lake import DataFile, Lake, UntrustedTable

TABLE, OTHER = "proef/cleaned/dagen", "proef/cleaned/andere"
COLUMNS = {
    "nr": column("integer", key=True),
    "dag": column("date", required=True),
    "waarde": column("number", minimum=0),
}
DAYS = contract(TABLE, COLUMNS, partition="dag")
FIRST, SECOND, THIRD = "2024-03-01", "2024-03-02", "2024-03-03"
SCHEMA = pa.schema([("nr", pa.int64()), ("dag", pa.date32()), ("waarde", pa.float64())])


def rows(*days: str, value: float = 1.0) -> list[Row]:
    return [{"nr": int(d[-2:]) * 10 + i, "dag": d, "waarde": value} for d in days for i in range(20)]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which a table has three versions with a quarantine, and another table one."""
    house = House(tmp_path_factory.mktemp("vertrouwen") / "huis")
    aside = {"nr": 99, "dag": FIRST, "waarde": -1.0}
    assert house.admit(DAYS, [*rows(FIRST), aside]).passed
    assert house.admit(DAYS, rows(SECOND)).passed
    assert house.admit(DAYS, rows(SECOND, value=2.0)).passed
    assert house.admit(replace(DAYS, path=OTHER), rows(FIRST)).passed
    return house.home


@pytest.fixture
def house(written: Path, tmp_path: Path) -> House:
    return House(Path(shutil.copytree(written, tmp_path / "huis")))


# -- What a stranger may do ------------------------------------------------------------------------------


def _stranger(house: House) -> str:
    return str(house.platform.lake.folder(TABLE))


def _extra(value: float = 666.0) -> pa.Table:
    return pa.table({"nr": [666], "dag": pa.array([FIRST]).cast(pa.date32()), "waarde": [value]})


def _signed_as(house: House, version: int, table: str = TABLE) -> CommitProperties:
    """The stamp of an earlier commit, copied."""
    (commit,) = [c for c in house.delta(table).history() if c["version"] == version]
    return CommitProperties(custom_metadata={k: commit[k] for k in ("koploper", "koploper_hmac")})


def _append(house: House) -> None:
    write_deltalake(_stranger(house), _extra(), mode="append")


def _overwrite(house: House) -> None:
    write_deltalake(_stranger(house), _extra(), mode="overwrite")


def _delete(house: House) -> None:
    house.delta(TABLE).delete("nr = 10")


def _update(house: House) -> None:
    house.delta(TABLE).update(new_values={"waarde": 0.0}, predicate="nr = 10")


def _copy_the_last_stamp(house: House) -> None:
    write_deltalake(_stranger(house), _extra(), mode="append", commit_properties=_signed_as(house, 2))


def _copy_an_older_stamp(house: House) -> None:
    write_deltalake(_stranger(house), _extra(), mode="append", commit_properties=_signed_as(house, 0))


def _stamp_of_another_table(house: House) -> None:
    """A stamp that fits in the chain and is signed with the right key, for another table."""
    stamp = {**house.head(TABLE).stamp, "gang": "x", "ouder": 2}
    _commit(house.platform.lake, OTHER, stamp)
    write_deltalake(_stranger(house), _extra(), mode="append", commit_properties=_signed_as(house, 1, OTHER))


def _another_key(house: House) -> None:
    stamp = {**house.head(TABLE).stamp, "gang": "x", "ouder": 2}
    _commit(Lake(house.platform.lake.root, b"another key" * 3), TABLE, stamp)


def _commit(lake: Lake, table: str, stamp: Mapping[str, Any]) -> None:
    """The extra rows as a gate would commit them."""
    file = lake.staging / "extra.parquet"
    pq.write_table(_extra().drop_columns(["dag"]), file)
    (day,) = {str(d) for d in _extra()["dag"].to_pylist()}
    lake.commit(
        table, [DataFile(file, _extra().num_rows, day)], _extra().schema, stamp, partition="dag", replace=None
    )


def _changed_stamp(house: House) -> None:
    """The last stamp with the right parent filled in, under the signature of the one it was."""
    properties = _signed_as(house, 2).custom_metadata
    assert properties is not None
    text = json.dumps({**json.loads(properties["koploper"]), "ouder": 2}, sort_keys=True)
    forged = CommitProperties(custom_metadata={**properties, "koploper": text})
    write_deltalake(_stranger(house), _extra(), mode="append", commit_properties=forged)


def _new_column(house: House) -> None:
    house.delta(TABLE).alter.add_columns([Field("extra", PrimitiveType("string"), nullable=True)])


def _restore(house: House) -> None:
    house.delta(TABLE).restore(0)


def _called_optimize(
    house: House, change: Callable[[pa.Table], pa.Table], says_data_changes: bool, into: str | None = None
) -> None:
    """Swap a file for another one in a commit, written by hand, that calls itself an OPTIMIZE.

    `into`: another folder for the file.
    """
    delta = house.delta(TABLE)
    actions = pa.table(delta.get_add_actions(flatten=True)).to_pylist()
    old = next(a for a in actions if str(a["partition.dag"]) == SECOND)
    folder = Path(_stranger(house))
    new = old["path"].replace(".parquet", "-x.parquet")
    if into is not None:
        (folder / into).mkdir()
        new = f"{into}/{Path(new).name}"
    changed = change(pq.read_table(folder / old["path"], partitioning=None))
    pq.write_table(changed, folder / new)
    said = {"dataChange": says_data_changes, "partitionValues": {"dag": SECOND}}
    stats = json.dumps({"numRecords": changed.num_rows})
    size, now = (folder / new).stat().st_size, 1_710_000_000_000
    lines = [
        {
            "remove": {
                "path": old["path"],
                "deletionTimestamp": now,
                "extendedFileMetadata": True,
                "size": 1,
                **said,
            }
        },
        {"add": {"path": new, "size": size, "modificationTime": now, "stats": stats, **said}},
        {"commitInfo": {"timestamp": now, "operation": "OPTIMIZE", "operationParameters": {}}},
    ]
    log = folder / "_delta_log" / f"{delta.version() + 1:020d}.json"
    log.write_text("\n".join(json.dumps(line) for line in lines) + "\n")


def _other_values(table: pa.Table) -> pa.Table:
    return table.set_column(
        table.schema.get_field_index("waarde"), "waarde", pa.array([7.0] * table.num_rows)
    )


def _optimize_that_says_it_changes(house: House) -> None:
    _called_optimize(house, _other_values, says_data_changes=True)


def _optimize_with_fewer_rows(house: House) -> None:
    _called_optimize(house, lambda t: t.slice(1), says_data_changes=False)


def _optimize_with_other_values(house: House) -> None:
    _called_optimize(house, _other_values, says_data_changes=False)


def _optimize_with_a_row_doubled(house: House) -> None:
    """As many rows, and each of them is one that was there."""
    _called_optimize(house, lambda t: pa.concat_tables([t.slice(0, t.num_rows - 1), t.slice(0, 1)]), False)


FOREIGN = [
    _append,
    _overwrite,
    _delete,
    _update,
    _copy_the_last_stamp,
    _copy_an_older_stamp,
    _stamp_of_another_table,
    _another_key,
    _changed_stamp,
    _new_column,
    _restore,
    _optimize_that_says_it_changes,
    _optimize_with_fewer_rows,
    _optimize_with_other_values,
    _optimize_with_a_row_doubled,
]


@pytest.mark.parametrize("attack", FOREIGN, ids=lambda f: f.__name__.strip("_"))
def test_a_foreign_commit_is_refused_and_named(house: House, attack: Callable[[House], None]) -> None:
    expected, aside = house.rows(TABLE), house.quarantine(TABLE)
    attack(house)
    # A process that had verified the table before, and one that starts anew.
    for reader in (house, house.reopened()):
        with pytest.raises(UntrustedTable, match=rf"{TABLE}: version 3 .* was not written by a gate"):
            reader.head(TABLE)
    # Nor does a gate build on it.
    with pytest.raises(UntrustedTable, match="version 3"):
        house.admit(DAYS, rows(THIRD))
    assert house.delta(TABLE).version() == 3

    assert house.platform.gate.repair(TABLE) == 2
    fresh = house.reopened()
    assert (fresh.rows(TABLE), fresh.quarantine(TABLE)) == (expected, aside)
    assert {p: s.provenance for p, s in fresh.head(TABLE).partitions.items()} == {FIRST: {}, SECOND: {}}
    assert fresh.admit(DAYS, rows(THIRD)).passed


def test_a_file_in_the_folder_of_another_partition_is_not_read(house: House) -> None:
    """Readers take the day from the folder: one that does not agree with the log would change it."""
    _called_optimize(house, lambda t: t, says_data_changes=False, into="dag=2020-01-01")
    head = house.head(TABLE)
    with pytest.raises(UntrustedTable, match=f"does not lie in the folder of dag {SECOND}"):
        house.stored(TABLE, head.version)


def test_a_swapped_file_really_is_what_readers_would_have_seen(house: House) -> None:
    """The counter-test to the attacks by hand: Delta itself takes such a commit for an ordinary one."""
    _optimize_with_other_values(house)
    seen = house.delta(TABLE).to_pyarrow_table()
    assert seen.num_rows == 40
    assert 7.0 in seen["waarde"].to_pylist()


def test_a_table_that_no_gate_ever_wrote_is_refused(house: House) -> None:
    shutil.rmtree(house.platform.lake.folder(TABLE))
    write_deltalake(_stranger(house), _extra(), partition_by=["dag"])
    with pytest.raises(UntrustedTable, match="version 0"):
        house.head(TABLE)
    with pytest.raises(LookupError, match="no version was made by a gate"):
        house.platform.gate.repair(TABLE)


def test_a_commit_that_slips_in_while_a_gate_works_is_found(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the moment that the gate verified the table and its own commit, which itself is sound."""
    expected, aside = house.rows(TABLE), house.quarantine(TABLE)
    lake = house.platform.lake
    commit = lake.commit

    def slipped_in(table: str, *args: Any, **options: Any) -> int:
        if table == TABLE:
            _append(house)
        return commit(table, *args, **options)

    monkeypatch.setattr(lake, "commit", slipped_in)
    aside_too = {"nr": 98, "dag": THIRD, "waarde": -1.0}
    house.admit(DAYS, [*rows(THIRD), aside_too], file="bestand")
    monkeypatch.undo()
    assert house.delta(TABLE).version() == 4
    for reader in (house, house.reopened()):
        with pytest.raises(UntrustedTable, match="version 3"):
            reader.head(TABLE)

    assert house.platform.gate.repair(TABLE) == 2
    fresh = house.reopened()
    assert fresh.rows(TABLE) == expected
    # The quarantine and the landed files are those of the version that is read again.
    assert fresh.quarantine(TABLE) == aside
    assert fresh.head(TABLE).files == frozenset()
    # And a second repair has nothing to do.
    with pytest.raises(LookupError, match="nothing to repair"):
        fresh.platform.gate.repair(TABLE)


def test_a_foreign_commit_in_the_quarantine_is_refused(house: House) -> None:
    name, aside = TABLE + "__quarantaine", house.quarantine(TABLE)
    stranger = str(house.platform.lake.folder(name))
    write_deltalake(stranger, DeltaTable(stranger).to_pyarrow_table().slice(0, 0), mode="overwrite")
    with pytest.raises(UntrustedTable, match=f"{name}: version 3"):
        house.quarantine(TABLE)
    with pytest.raises(UntrustedTable, match=f"{name}: version 3"):
        house.admit(DAYS, [*rows(THIRD), {"nr": 98, "dag": THIRD, "waarde": -1.0}])
    assert house.version(TABLE) == 2
    house.platform.gate.repair(name)
    assert house.quarantine(TABLE) == aside
    assert house.admit(DAYS, rows(THIRD)).passed


def test_a_foreign_entry_in_the_ledger_is_refused(house: House) -> None:
    """It would say that a pass ended which did not, or that a refused day was never refused."""
    ledger = str(house.platform.lake.folder(LEDGER))
    forged = DeltaTable(ledger).to_pyarrow_table().slice(0, 1)
    write_deltalake(ledger, forged, mode="append")
    with pytest.raises(UntrustedTable, match="grootboek"):
        house.admit(DAYS, rows(THIRD))


# -- What is passed over ---------------------------------------------------------------------------------


def test_real_maintenance_is_passed_over(tmp_path: Path) -> None:
    """Merging, sorting and clearing files, by whatever tool, leaves the rows as they are."""
    columns = {"nr": column("integer", key=True), "dag": column("date"), "naam": column("string")}
    told = contract("proef/raw/rijen", columns, partition="dag")
    house = House(tmp_path)
    for i in range(4):
        made = [{"nr": i, "dag": FIRST, "naam": None}, {"nr": 10 + i, "dag": None, "naam": "x y"}]
        # The first makes the table's files be kept apart by day; those that are added follow it.
        assert house.admit(told, made, append=i > 0).passed
    expected = house.rows(told.path)
    delta = house.delta(told.path)
    assert delta.optimize.compact()["numFilesRemoved"] == 8
    assert house.rows(told.path) == expected
    house.delta(told.path).optimize.z_order(["nr"])
    assert house.reopened().rows(told.path) == expected
    cleared = house.delta(told.path).vacuum(0, dry_run=False, enforce_retention_duration=False)
    assert len(cleared) >= 8
    for reader in (house, house.reopened()):
        assert reader.rows(told.path) == expected
    assert house.admit(told, [{"nr": 9, "dag": FIRST, "naam": None}], append=True).passed
    assert len(house.reopened().rows(told.path)) == 9


def test_the_ledger_merges_its_own_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("koploper_pipelines.gates.ledger.COMPACT_EVERY", 2)
    house = House(tmp_path)
    told = contract("proef/raw/klein", {"nr": column("integer", key=True)})
    for i in range(3):
        assert house.admit(told, [{"nr": i}]).passed
    assert any(c["operation"] == "OPTIMIZE" for c in house.delta(LEDGER).history())
    fresh = house.reopened()
    assert len(fresh.entries(told.path, "gereed")) == 3
    numbers = fresh.platform.ledger.read()["volgnummer"].tolist()
    assert numbers == sorted(numbers)


def test_a_first_write_cut_off_inside_leaves_no_table(tmp_path: Path) -> None:
    """Delta makes the folder of the log and the data files before the commit that makes them a table."""
    house = House(tmp_path)
    folder = house.platform.lake.folder(TABLE)
    (folder / "_delta_log").mkdir(parents=True)
    (folder / "part-00000.parquet").write_bytes(b"half a file")
    assert house.version(TABLE) is None
    assert house.admit(DAYS, rows(FIRST)).passed
    assert len(house.rows(TABLE)) == 20


def test_a_gated_commit_while_the_table_is_being_verified_is_no_foreign_one(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader that is still verifying when another process commits reads that commit too."""
    reader, extend, others = house.reopened(), Lake._extend, [rows(THIRD)]

    def overtaken(lake: Lake, table: str, *args: Any) -> None:
        extend(lake, table, *args)
        if others and lake is reader.platform.lake:
            assert house.admit(DAYS, others.pop()).passed

    monkeypatch.setattr(Lake, "_extend", overtaken)
    head = reader.head(TABLE)
    assert (head.version, set(head.partitions)) == (3, {FIRST, SECOND, THIRD})
    assert others == []
    assert len(reader.rows(TABLE)) == 60


def test_a_log_with_a_hole_is_refused(house: House) -> None:
    assert house.admit(DAYS, rows(THIRD)).passed
    log = house.platform.lake.folder(TABLE) / "_delta_log"
    (log / f"{2:020d}.json").unlink()
    with pytest.raises(UntrustedTable, match="its log lacks version 2"):
        house.reopened().head(TABLE)


# -- Repair and the work list ----------------------------------------------------------------------------


def test_after_a_repair_everything_is_made_again(tmp_path: Path) -> None:
    house = House(tmp_path / "huis", toy_tables())
    drop(house.home, "een.csv", [(1, "2024-01-30", 0, "a", 3.0), (2, "2024-02-01", 0, "a", 4.0)])
    for table in (RAW, CLEAN, NEAR):
        assert house.run(table).passed
    expected = house.rows(NEAR)
    foreign = house.delta(CLEAN)
    foreign.update(new_values={"waarde": "99.0"}, predicate="nr = 1")
    with pytest.raises(UntrustedTable):
        house.run(NEAR, again=True)
    # What cannot be made for want of trust is work all the same, so that a night says so.
    told = {p.table: p.because for p in house.platform.plan().pending()}
    assert all("was not written by a gate" in told[t] for t in (CLEAN, NEAR))
    house.platform.gate.repair(CLEAN)
    assert set(house.pending()[CLEAN]) == set(house.head(CLEAN).partitions)
    assert house.run(CLEAN).passed
    assert house.run(NEAR).passed
    assert house.rows(NEAR) == expected
    assert not {CLEAN, NEAR} & set(house.pending())


def test_a_file_that_a_repair_took_away_can_be_delivered_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = House(tmp_path / "huis", toy_tables())
    first, second = [(1, "2024-01-30", 0, "a", 3.0)], [(2, "2024-02-01", 0, "a", 4.0)]
    drop(house.home, "een.csv", first)
    assert house.run(RAW).passed
    lake = house.platform.lake
    commit = lake.commit

    def slipped_in(table: str, *args: Any, **options: Any) -> int:
        if table == RAW:
            names = [c.name for c in house.tables[RAW].contract.columns]
            schema = pa.schema([(c.name, ARROW[c.type]) for c in house.tables[RAW].contract.columns])
            assert names == schema.names
            write_deltalake(str(lake.folder(RAW)), schema.empty_table(), mode="append")
            stranger = {"bestand": "0" * 64, "rij": 1}
            row = pa.Table.from_pylist([{n: stranger.get(n) for n in names}], schema=schema)
            write_deltalake(str(lake.folder(RAW)), row, mode="append")
        return commit(table, *args, **options)

    monkeypatch.setattr(lake, "commit", slipped_in)
    drop(house.home, "twee.csv", second)
    assert house.run(RAW).passed
    monkeypatch.undo()
    house.platform.gate.repair(RAW)
    assert [r["nr"] for r in house.rows(RAW)] == ["1"]
    drop(house.home, "twee.csv", second)
    report = house.run(RAW)
    assert isinstance(report, Report)
    assert report.passed
    assert sorted(r["nr"] for r in house.rows(RAW)) == ["1", "2"]
    # The first file is still known.
    drop(house.home, "een.csv", first)
    assert house.run(RAW).nothing_new
