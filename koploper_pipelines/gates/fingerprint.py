"""The fingerprint of the code that makes a table: when it changes, what it made is stale.

Here belongs reading our own sources, at the load of the code location: so everything is parsed once. Which
tables are stale is `plan.py`'s.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

PACKAGE = "koploper_pipelines"
REFERENCE = f"{PACKAGE}.resources.reference"
COUNTING = (f"{PACKAGE}.methods", f"{PACKAGE}.relations", REFERENCE)
"""Modules whose code decides rows, besides those in `assets/`."""

Imports = tuple[tuple[str, str], ...]
"""Module and name of each thing imported; the name is empty for a whole module."""


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
    tree = _tree(file.read_text(encoding="utf-8"))
    named, imported = _named(tree), _imported(tree)
    queue = [start]
    while queue:
        name = queue.pop(0)
        if f"{file}:{name}" in seen:
            continue
        seen.add(f"{file}:{name}")
        if name in named:
            digest.update(_normalised(named[name]))
            queue += _names_in(named[name])
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
    tree = _tree(file.read_text(encoding="utf-8"))
    digest.update(_normalised(tree))
    for imported, attribute in _imports(tree):
        _add_import(imported, attribute, digest, seen)
    if module.startswith(REFERENCE):
        for listed in sorted(file.parent.glob("*.csv")):
            digest.update(listed.read_bytes())


def _file_of(module: str) -> Path:
    """Source of a module of ours, by its name."""
    place = Path(__file__).parents[2].joinpath(*module.split("."))
    return place / "__init__.py" if place.is_dir() else place.with_suffix(".py")


# -- What a source says, each looked up once ---------------------------------------------------------------


@cache
def _tree(source: str) -> ast.Module:
    """A source without docstrings; comments and layout are gone by parsing."""
    tree = ast.parse(source)
    for part in ast.walk(tree):
        if (
            isinstance(part, ast.FunctionDef | ast.ClassDef | ast.Module)
            and ast.get_docstring(part) is not None
        ):
            part.body = part.body[1:] or [ast.Pass()]
    return tree


@cache
def _normalised(node: ast.AST) -> bytes:
    """What a piece of code does, however it is laid out."""
    return ast.unparse(node).encode()


@cache
def _named(tree: ast.Module) -> Mapping[str, ast.stmt]:
    """The top-level statements of a module, by the names that they define."""
    return {name: statement for statement in tree.body for name in _defines(statement)}


@cache
def _imported(tree: ast.Module) -> Mapping[str, tuple[str, str]]:
    """Where the names come from that a module imports anywhere."""
    froms = [part for part in ast.walk(tree) if isinstance(part, ast.ImportFrom)]
    return {a.asname or a.name: (part.module or "", a.name) for part in froms for a in part.names}


@cache
def _names_in(node: ast.AST) -> list[str]:
    return sorted({part.id for part in ast.walk(node) if isinstance(part, ast.Name)})


@cache
def _imports(node: ast.AST) -> Imports:
    """Everything that a piece of code imports."""
    return tuple(_each_import(node))


def _each_import(node: ast.AST) -> Iterator[tuple[str, str]]:
    for part in ast.walk(node):
        if isinstance(part, ast.ImportFrom):
            yield from ((part.module or "", a.name) for a in part.names)
        elif isinstance(part, ast.Import):
            yield from ((a.name, "") for a in part.names)


def _defines(statement: ast.stmt) -> Iterator[str]:
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        yield statement.name
    elif isinstance(statement, ast.Assign):
        yield from (t.id for t in statement.targets if isinstance(t, ast.Name))
    elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
        yield statement.target.id
