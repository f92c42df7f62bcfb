"""The graph as a whole, in a text that shows a change in review, and the borders between the folders.

After a change of the graph that is meant, KOPLOPER_WRITE_SNAPSHOT=1 writes the text anew.
"""

from __future__ import annotations

import ast
import difflib
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest
from gatehouse import NEAR, House, toy_tables

from koploper_pipelines.build import build_definitions, build_platform, find_tables
from koploper_pipelines.contracts import Contract
from koploper_pipelines.contracts.model import CONTRACTS_FOLDER
from koploper_pipelines.gates.asset import to_asset
from koploper_pipelines.gates.table import GatedTable

SNAPSHOT = Path(__file__).with_name("assets.snapshot.txt")
PACKAGE = CONTRACTS_FOLDER.parent
NAME = PACKAGE.name
HEAVY = {"great_expectations", "pandas", "numpy", "duckdb", "pyarrow", "deltalake", "scipy", "pyproj"}
OF_ALL_EXPERIMENTS = {"publicatie"}
"""Folder of the release, which belongs to no experiment."""

Finder = Callable[[str, str], list[str]]
"""From a file's place in the package and its text to what is wrong with it."""


# -- The graph -------------------------------------------------------------------------------------------


def told(assets: Iterable[dg.AssetsDefinition]) -> str:
    """All assets in words, in the order of their keys."""
    by_key = {key: definition for definition in assets for key in definition.keys}
    return "\n".join(line for key in sorted(by_key) for line in _told(by_key[key], key))


def _told(definition: dg.AssetsDefinition, key: dg.AssetKey) -> list[str]:
    spec = definition.get_asset_spec(key)
    partitions = spec.partitions_def
    lines = [
        key.to_user_string(),
        f"  group    {spec.group_name}",
        f"  owners   {', '.join(spec.owners)}",
        f"  kinds    {', '.join(sorted(spec.kinds))}",
        f"  days     {_days(partitions) if partitions else 'none'}",
        *(f"  dep      {d.asset_key.to_user_string()}" for d in sorted(spec.deps, key=lambda d: d.asset_key)),
    ]
    for check in definition.check_specs:
        said = check.metadata or {}
        blocking = "blocks" if check.blocking else "warns"
        lines.append(f"  check    {check.name} ({blocking}, {said['ernst']}, per {said['reikwijdte']})")
    return [*lines, ""]


def _days(partitions: dg.PartitionsDefinition[str]) -> str:
    assert isinstance(partitions, dg.DailyPartitionsDefinition)
    return f"daily from {partitions.start:%Y-%m-%d}, {partitions.timezone}"


def difference(before: str, now: str) -> str:
    """A unified diff; empty when the texts are the same."""
    lines = difflib.unified_diff(
        before.splitlines(), now.splitlines(), SNAPSHOT.name, "the code", lineterm=""
    )
    return "\n".join(lines)


def shipped_assets(home: Path) -> list[dg.AssetsDefinition]:
    definitions = build_definitions(build_platform(House(home).settings))
    return [a for a in definitions.assets or [] if isinstance(a, dg.AssetsDefinition)]


def test_graph_is_that_of_the_snapshot(tmp_path: Path) -> None:
    now = told(shipped_assets(tmp_path))
    if os.environ.get("KOPLOPER_WRITE_SNAPSHOT"):
        SNAPSHOT.write_text(now, encoding="utf-8")
    change = difference(SNAPSHOT.read_text(encoding="utf-8"), now)
    assert not change, (
        f"the graph changed; is it meant, set KOPLOPER_WRITE_SNAPSHOT=1 and run again\n{change}"
    )


def test_snapshot_holds_every_table_and_every_rule(tmp_path: Path) -> None:
    text = SNAPSHOT.read_text(encoding="utf-8")
    for path, table in find_tables().items():
        (block,) = re.findall(rf"(?ms)^{path}$.*?^$", text)
        assert re.findall(r"check +(\w+)", block) == [r.name for r in table.contract.rules]


def _with_a_warning(contract: Contract) -> Contract:
    *others, last = contract.rules
    return replace(contract, rules=(*others, replace(last, severity="warning")))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: replace(t, reads=()), "-  dep      proef/cleaned/waarden"),
        (lambda t: replace(t, kinds=("python",)), "+  kinds    cleaned, python"),
        (lambda t: replace(t, contract=replace(t.contract, owner="team:ander")), "+  owners   team:ander"),
        (lambda t: replace(t, contract=replace(t.contract, partition=None)), "-  days     daily from 2018-"),
        (
            lambda t: replace(t, contract=_with_a_warning(t.contract)),
            "+  check    telt_de_invoer (warns, warning, per tabel)",
        ),
        (
            lambda t: replace(t, contract=replace(t.contract, rules=t.contract.rules[:-1])),
            "-  check    telt_de_invoer (blocks, critical, per tabel)",
        ),
        (lambda t: replace(t, contract=replace(t.contract, path="ander/cleaned/buren")), "+  group    ander"),
    ],
)
def test_change_of_the_graph_shows_as_a_difference(
    change: Callable[[GatedTable], GatedTable], said: str
) -> None:
    table = toy_tables()[NEAR]
    before, now = told([to_asset(table)]), told([to_asset(change(table))])
    assert difference(before, before) == ""
    assert any(line.startswith(said) for line in difference(before, now).splitlines()), difference(
        before, now
    )


def test_definitions_are_loadable(tmp_path: Path) -> None:
    dg.Definitions.validate_loadable(build_definitions(build_platform(House(tmp_path).settings)))


def test_code_location_loads_nothing_heavy(tmp_path: Path) -> None:
    code = f"import sys, {NAME}.definitions; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    assert f"{NAME}.build" in loaded
    assert loaded & HEAVY == set()


# -- The borders between the folders ---------------------------------------------------------------------


def prints(place: str, text: str) -> list[str]:
    """Calls of `print`: what there is to say goes to the log, the ledger or the command line's console."""
    if place in ("cli.py", "cli_report.py"):
        return []
    return [
        f"line {n.lineno}: print"
        for n in ast.walk(ast.parse(text))
        if isinstance(n, ast.Call) and isinstance(n.func, ast.Name) and n.func.id == "print"
    ]


def imported(text: str) -> list[tuple[int, str]]:
    """Modules that a text imports anywhere, also for its types alone; a relative one starts with a dot."""
    found: list[tuple[int, str]] = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found += [(node.lineno, a.name) for a in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            found += [(node.lineno, module)]
            # `from package import module`: the border may run between the two.
            found += [(node.lineno, f"{module}.{a.name}") for a in node.names if module == NAME]
    return found


def _is_below(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def impure_methods(place: str, text: str) -> list[str]:
    """What `methods/` may not import: Dagster, what stores or judges, and anything of ours but each other.

    Nor a relative import, which the fingerprint of a step's code does not follow.
    """
    if not place.startswith("methods/"):
        return []
    outside = ("dagster", "great_expectations", "deltalake", "sqlalchemy", "pydantic_settings", NAME)
    return [
        f"line {line}: imports {module}"
        for line, module in imported(text)
        if module != NAME
        and not _is_below(module, f"{NAME}.methods")
        and (module.startswith(".") or any(_is_below(module, m) for m in outside))
    ]


def writes_to_the_lake(place: str, text: str) -> list[str]:
    """Writes to a Delta table outside `gates/`; only the lake itself calls Delta's own functions."""
    if place == "resources/lake.py":
        return []
    faults = [f"line {n}: imports {m}" for n, m in imported(text) if _is_below(m, "deltalake")]
    if place.startswith("gates/"):
        return faults
    for node in ast.walk(ast.parse(text)):
        # A commit of SQL is one without arguments.
        is_sql = isinstance(node, ast.Call) and not node.args and not node.keywords
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and not is_sql:
            receiver = ast.unparse(node.func.value)
            if node.func.attr in ("commit", "restore", "compact") or (
                node.func.attr == "repair" and receiver.endswith("lake")
            ):
                faults.append(f"line {node.lineno}: {receiver}.{node.func.attr}")
    return faults


def names_an_experiment(place: str, text: str, experiments: Iterable[str] = ()) -> list[str]:
    """Names of experiments outside the folders that are theirs."""
    parts = Path(place).with_suffix("").parts
    return [
        f"line {number}: names {experiment}"
        for experiment in experiments or EXPERIMENTS
        if not (len(parts) > 1 and parts[0] in OWN_FOLDERS and parts[1] == experiment)
        and parts[:2] != ABOUT_ALL_EXPERIMENTS
        for number, line in enumerate(text.splitlines(), start=1)
        if re.search(experiment.replace("_", "[-_ ]?"), line, re.IGNORECASE)
    ]


def methods_imported_early(place: str, text: str) -> list[str]:
    """Methods that a module of assets imports at its top: the fingerprint of a step does not see these."""
    if not place.startswith("assets/"):
        return []
    return [
        f"line {line}: imports {module}"
        for statement in ast.parse(text).body
        if isinstance(statement, ast.Import | ast.ImportFrom)
        for line, module in imported(ast.unparse(statement))
        if _is_below(module, f"{NAME}.methods") or module.startswith(".")
    ]


ABOUT_ALL_EXPERIMENTS = ("simulation", "koploperdeals")
"""The demo's register of deals: the deals are the experiments, so it is data about them."""
OWN_FOLDERS = ("assets", "contracts", "methods", "simulation")
EXPERIMENTS = sorted(
    {p.name for p in (PACKAGE / "assets").iterdir() if (p / "__init__.py").is_file()} - OF_ALL_EXPERIMENTS
)
BORDERS: tuple[Finder, ...] = (
    prints,
    impure_methods,
    writes_to_the_lake,
    names_an_experiment,
    methods_imported_early,
)


def faults_in(files: Iterable[Path], finder: Finder) -> list[str]:
    return [
        f"{file.relative_to(PACKAGE)} {fault}"
        for file in files
        for fault in finder(file.relative_to(PACKAGE).as_posix(), file.read_text(encoding="utf-8"))
    ]


@pytest.mark.parametrize("finder", BORDERS, ids=lambda f: f.__name__)
def test_border_is_kept(finder: Finder) -> None:
    files = sorted(PACKAGE.rglob("*.py"))
    assert len(files) > 30
    assert faults_in(files, finder) == []


def test_no_experiment_is_named_in_what_is_shipped_besides_code() -> None:
    assert "snuffelfiets" in EXPERIMENTS
    others = [f for f in sorted(PACKAGE.rglob("*")) if f.suffix in (".yaml", ".csv", ".sql", ".toml", ".md")]
    assert len(others) > len(EXPERIMENTS)
    assert faults_in(others, names_an_experiment) == []


CROSSINGS: list[tuple[Finder, str, str, bool]] = [
    (prints, "gates/plan.py", "def f():\n    print('hier')", True),
    (prints, "cli_report.py", "print('hier')", False),
    (prints, "gates/plan.py", "console.print('hier')", False),
    (impure_methods, "methods/geo.py", "import dagster as dg", True),
    (impure_methods, "methods/geo.py", "def f():\n    from dagster._core import x", True),
    (impure_methods, "methods/geo.py", f"from {NAME}.settings import Settings", True),
    (impure_methods, "methods/geo.py", f"from {NAME} import settings", True),
    (impure_methods, "methods/proef/a.py", "from . import b", True),
    (impure_methods, "methods/proef/a.py", f"from {NAME}.methods.proef import b", False),
    (impure_methods, "methods/proef/a.py", f"from {NAME} import methods", False),
    (impure_methods, "methods/proef/a.py", "import dagsterlike, numpy", False),
    (impure_methods, "gates/asset.py", "import dagster", False),
    (writes_to_the_lake, "assets/proef/raw.py", "platform.lake.commit(t, rows, stamp)", True),
    (writes_to_the_lake, "cli.py", "self.lake.restore(t, 3, stamp={})", True),
    (writes_to_the_lake, "cli.py", "platform.lake.repair(t)", True),
    (writes_to_the_lake, "cli.py", "platform.gate.repair(t)", False),
    (writes_to_the_lake, "gates/gate.py", "self.lake.commit(t, rows, stamp)", False),
    (writes_to_the_lake, "gates/gate.py", "from deltalake import write_deltalake", True),
    (writes_to_the_lake, "assets/proef/raw.py", "def f():\n    import deltalake.writer", True),
    (writes_to_the_lake, "resources/warehouse/sqlite.py", "conn.commit()", False),
    (names_an_experiment, "gates/plan.py", "A = 'snuffelfiets/raw/metingen'", True),
    (names_an_experiment, "gates/plan.py", "# as for Snuffelfiets", True),
    (names_an_experiment, "assets/snuffelfiets/raw.py", "A = 'snuffelfiets/raw/metingen'", False),
    (names_an_experiment, "simulation/snuffelfiets.py", "A = 'snuffelfiets/raw/metingen'", False),
    (names_an_experiment, "simulation/koploperdeals/budget.py", "A = 'snuffelfiets'", False),
    (names_an_experiment, "assets/koploperdeals/evaluation/bereikt.py", "A = 'snuffelfiets'", True),
    (names_an_experiment, "assets/publicatie/release.py", "A = 'snuffelfiets'", True),
    (names_an_experiment, "gates/plan.py", "A = 'publicatie'", False),
    (methods_imported_early, "assets/proef/cleaned.py", f"from {NAME}.methods import geo", True),
    (
        methods_imported_early,
        "assets/proef/cleaned.py",
        f"def f():\n    from {NAME}.methods import geo",
        False,
    ),
    (methods_imported_early, "automation/run.py", f"from {NAME}.methods import geo", False),
]


@pytest.mark.parametrize(("finder", "place", "text", "is_fault"), CROSSINGS)
def test_crossing_of_a_border_is_found(finder: Finder, place: str, text: str, is_fault: bool) -> None:
    assert bool(finder(place, text)) == is_fault


def test_names_of_two_words_are_found_however_they_are_written() -> None:
    for text in ("taggen_en_gamen", "Taggen en Gamen", "TaggenEnGamen", "taggen-en-gamen"):
        assert names_an_experiment("cli.py", text, ["taggen_en_gamen"]) == ["line 1: names taggen_en_gamen"]
