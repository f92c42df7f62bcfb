"""What loading the code costs, and whether what is shipped is complete."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ("requirements.lock", "requirements-dev.lock")
DEFINITIONS = "koploper_pipelines.definitions"
AT_MOST = 2.5


def run_python(code: str, cwd: Path, python: str = sys.executable) -> str:
    done = subprocess.run([python, "-c", code], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def import_seconds(module: str, cwd: Path) -> float:
    """Processor time of one import in a process of its own: wall time would measure the neighbours."""
    code = f"import time; start = time.process_time();import {module}; print(time.process_time() - start)"
    return float(run_python(code, cwd))


def ratio(module: str, cwd: Path, rounds: int = 3) -> float:
    """Import time against that of dagster, measured in turn; the best of each, since noise only adds."""
    pairs = [(import_seconds("dagster", cwd), import_seconds(module, cwd)) for _ in range(rounds)]
    return min(b for _, b in pairs) / min(a for a, _ in pairs)


def loaded_with(module: str, cwd: Path) -> set[str]:
    return set(run_python(f"import sys, {module}; print(*sys.modules)", cwd).split())


def test_code_location_loads_fast_enough(tmp_path: Path) -> None:
    assert ratio(DEFINITIONS, tmp_path) <= AT_MOST


def test_import_of_great_expectations_would_be_noticed(tmp_path: Path) -> None:
    (tmp_path / "careless.py").write_text(f"import {DEFINITIONS}\nimport great_expectations\n")
    assert ratio("careless", tmp_path, rounds=1) > AT_MOST
    assert "great_expectations" in loaded_with("careless", tmp_path)


def test_code_location_leaves_great_expectations_alone(tmp_path: Path) -> None:
    assert "great_expectations" not in loaded_with(DEFINITIONS, tmp_path)


def test_command_line_loads_nothing_heavy_before_it_knows_what_is_asked(tmp_path: Path) -> None:
    loaded = loaded_with("koploper_pipelines.cli", tmp_path)
    assert not loaded & {
        "dagster",
        "pandas",
        "numpy",
        "duckdb",
        "pyarrow",
        "sqlalchemy",
        "great_expectations",
    }


def test_wheel_holds_what_an_installation_needs(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, capture_output=True, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    site = tmp_path / "site"
    shutil.unpack_archive(wheel, site, "zip")
    code = (
        f"import sys; sys.path.insert(0, {str(site)!r})\n"
        "import koploper_pipelines.contracts.model as m\n"
        "from koploper_pipelines.automation.run import prepare_home\n"
        "from koploper_pipelines.build import find_tables\n"
        "from koploper_pipelines.resources import reference\n"
        "from koploper_pipelines.settings import Settings\n"
        f"prepare_home(Settings(home={str(tmp_path / 'home')!r}))\n"
        "print(m.__file__, len(find_tables()))\n"
        "from pathlib import Path\n"
        "print(*sorted(p.name for p in Path(reference.__file__).parent.glob('*.csv')))\n"
    )
    first, reference = run_python(code, tmp_path).splitlines()
    assert first.startswith(str(site))
    contracts = list((ROOT / "koploper_pipelines" / "contracts").glob("*/*/*.yaml"))
    assert int(first.split()[-1]) == len(contracts) > 0
    assert reference.split() == sorted(
        p.name for p in (ROOT / "koploper_pipelines" / "resources" / "reference").glob("*.csv")
    )
    yaml = (tmp_path / "home" / "dagster" / "dagster.yaml").read_text()
    assert yaml == (ROOT / "dagster.yaml").read_text()


def requirement_names(requirements: list[str]) -> set[str]:
    return {re.split(r"[^A-Za-z0-9._-]", r)[0].lower().replace("_", "-") for r in requirements}


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_has_a_hash_for_everything_and_names_no_registry(lock: str) -> None:
    text = (ROOT / lock).read_text()
    pinned = re.split(r"(?m)^(?=[A-Za-z0-9])", text)[1:]
    assert len(pinned) > 100
    assert [p.split("==")[0] for p in pinned if "==" not in p or "--hash=sha256:" not in p] == []
    assert not re.search(r"://|--(extra-)?index-url|--find-links|@ ", text)


@pytest.mark.parametrize(("lock", "extras"), [(LOCKS[0], ["build"]), (LOCKS[1], ["build", "dev"])])
def test_lock_covers_what_the_project_asks_for(lock: str, extras: list[str]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = project["dependencies"] + [r for e in extras for r in project["optional-dependencies"][e]]
    locked = re.findall(r"(?m)^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==", (ROOT / lock).read_text())
    assert requirement_names(asked) <= {name.lower().replace("_", "-") for name in locked}


def test_both_locks_agree() -> None:
    pins = [dict(re.findall(r"(?m)^(\S+?)==(\S+?)(?:\s|$)", (ROOT / lock).read_text())) for lock in LOCKS]
    assert {name: pins[1][name] for name in pins[0]} == pins[0]
    assert len(pins[1]) > len(pins[0])


def test_every_dependency_says_why_it_is_there() -> None:
    lines = [line.strip() for line in (ROOT / "pyproject.toml").read_text().splitlines()]
    project = tomllib.loads("\n".join(lines))["project"]
    asked = {f'"{r}",' for r in [*project["dependencies"], *project["optional-dependencies"]["dev"]]}
    found = [number for number, line in enumerate(lines) if line in asked]
    assert len(found) >= len(asked) > 0
    assert [lines[number] for number in found if not lines[number - 1].startswith("# ")] == []
