"""A step whose queries need more memory than they may take goes on on disk, and leaves nothing there."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import duckdb
import pytest
from gatehouse import SECRET

from koploper_pipelines.build import build_platform
from koploper_pipelines.gates.step import Platform, RunStep
from koploper_pipelines.settings import Settings

ROWS = 40_000_000
"""Of eight bytes each: three times what may be taken."""


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    return build_platform(Settings(home=tmp_path, key=SECRET, query_memory_mb=100))


def step_of(platform: Platform) -> RunStep:
    return RunStep(platform, platform.plan(), next(iter(platform.tables.values())), ["*"])


def spilt(platform: Platform) -> Iterator[Path]:
    return platform.lake.staging.glob("duckdb-*/*")


def test_a_large_query_goes_on_on_disk_and_leaves_nothing(platform: Platform) -> None:
    with closing(step_of(platform)) as step:
        con = step.con
        # Hashes, so that they cannot be kept smaller than they are.
        con.sql(f"CREATE TABLE groot AS SELECT hash(i) AS h FROM range({ROWS}) t(i)")
        assert sum(f.stat().st_size for f in spilt(platform)) > 100_000_000
        assert con.sql("SELECT count(*) FROM groot").fetchall() == [(ROWS,)]
    assert sum(f.stat().st_size for f in spilt(platform)) == 0


def test_what_a_step_made_is_gone_with_it_and_no_other_step_sees_it(platform: Platform) -> None:
    def made(step: RunStep) -> list[tuple[str]]:
        return step.con.sql("SELECT table_name FROM duckdb_tables()").fetchall()

    with closing(step_of(platform)) as other:
        with closing(step_of(platform)) as step:
            step.con.sql("CREATE TABLE judged AS SELECT 1 AS x")
            other.con.sql("CREATE TABLE judged AS SELECT 2 AS x")
            assert [s.con.sql("FROM judged").fetchall() for s in (step, other)] == [[(1,)], [(2,)]]
        assert made(other) == [("judged",)]
    with closing(step_of(platform)) as later:
        assert made(later) == []


def test_what_a_killed_process_left_is_removed_and_of_a_living_one_stays(platform: Platform) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    folders = {n: platform.lake.staging / f"duckdb-{n}-0" for n in (gone.pid, 1)}
    for folder in folders.values():
        folder.mkdir()
        (folder / "duckdb_temp_storage").write_bytes(b"rest")
    step_of(platform).close()
    assert [n for n, folder in folders.items() if folder.exists()] == [1]


def test_the_setting_is_what_queries_may_take(platform: Platform) -> None:
    with closing(step_of(platform)) as step, duckdb.connect() as plain:
        con, asked = step.con, "SELECT current_setting('memory_limit')"
        assert con.sql(asked).fetchall() != plain.sql(asked).fetchall()
        assert con.sql(asked).fetchall()[0][0].startswith("95.")
