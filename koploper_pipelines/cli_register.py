"""`koploper register`: the empty form of a register that people keep and drop in the inbox.

Here belongs finding the experiments that have one and writing it. An experiment has a register when its
folder below `assets/` has a module `template`; what stands in the form is said there.
"""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from pathlib import Path
from pkgutil import iter_modules
from typing import Annotated, Protocol, cast

import typer

register = typer.Typer(no_args_is_help=True, help="The register that people keep in a workbook.")


class Template(Protocol):
    """What a module `template` in an experiment's folder offers."""

    FILE_NAME: str

    def write(self, path: Path) -> None:
        """Write the empty form."""


def templates() -> list[str]:
    """Experiments with a register."""
    from koploper_pipelines import assets

    names = [m.name for m in iter_modules(assets.__path__)]
    return [n for n in names if find_spec(f"{assets.__name__}.{n}.template") is not None]


@register.callback()
def _several() -> None:
    """Keeps `template` a command by name, also while it is the only one."""


@register.command()
def template(
    experiment: Annotated[
        str | None, typer.Argument(metavar="[EXPERIMENT]", help="Whose form, when several have one.")
    ] = None,
    to: Annotated[
        Path | None, typer.Option("--to", help="File to write.", show_default="its own name")
    ] = None,
) -> None:
    """Write an empty register (XLSX) with drop-down lists, explanations and examples."""
    known = templates()
    if experiment is None and len(known) == 1:
        experiment = known[0]
    if experiment not in known:
        found = "none was named" if experiment is None else f"there is none for {experiment!r}"
        raise typer.BadParameter(f"{found}; there is {', '.join(known)}", param_hint="EXPERIMENT")
    made = cast("Template", importlib.import_module(f"koploper_pipelines.assets.{experiment}.template"))
    file = to or Path(made.FILE_NAME)
    if file.suffix.lower() != ".xlsx":
        raise typer.BadParameter(f"{file} does not end in .xlsx", param_hint="--to")
    if file.exists():
        raise typer.BadParameter(f"{file} exists; a filled register is never overwritten", param_hint="--to")
    if not file.parent.is_dir():
        raise typer.BadParameter(f"{file.parent} is no folder", param_hint="--to")
    made.write(file)
    typer.echo(f"{file}: fill it in and put it in KOPLOPER_HOME/inbox/{experiment}/")
