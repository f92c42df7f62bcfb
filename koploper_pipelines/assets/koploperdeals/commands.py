"""What this folder adds to the `koploper` command.

Here belong the options; imports that take time stand in the command that needs them.
"""

from pathlib import Path
from typing import Annotated

import typer

duiding = typer.Typer(no_args_is_help=True, help="Interpretations of published figures.")
register = typer.Typer(no_args_is_help=True, help="The register of deals that people keep in a workbook.")
COMMANDS = {"duiding": duiding, "register": register}
"""Groups of commands, by the name under which `koploper` offers them."""


@duiding.callback()
def _group() -> None:
    """Interpretations of published figures."""


@register.callback()
def _workbook() -> None:
    """The register of deals that people keep in a workbook."""


@register.command("template")
def register_template(
    to: Annotated[
        Path | None, typer.Option("--to", help="File to write.", show_default="its own name")
    ] = None,
) -> None:
    """Write an empty register (XLSX) with drop-down lists, explanations and examples."""
    from koploper_pipelines.assets.koploperdeals import register_template

    file = to or Path(register_template.FILE_NAME)
    if file.suffix.lower() != ".xlsx":
        raise typer.BadParameter(f"{file} does not end in .xlsx", param_hint="--to")
    if file.exists():
        raise typer.BadParameter(f"{file} exists; a filled register is never overwritten", param_hint="--to")
    if not file.parent.is_dir():
        raise typer.BadParameter(f"{file.parent} is no folder", param_hint="--to")
    register_template.write(file)
    typer.echo(f"{file}: fill it in and put it in KOPLOPER_HOME/inbox/{Path(__file__).parent.name}/")


@duiding.command("template")
def duiding_template(
    table: Annotated[str, typer.Argument(help="Published table, as in SQL.", metavar="TABLE")],
    home: Annotated[
        Path | None,
        typer.Option(envvar="KOPLOPER_HOME", help="Folder of the installation.", show_default=".koploper"),
    ] = None,
) -> None:
    """Write a document to interpret TABLE with, showing which figures still lack a reading."""
    from koploper_pipelines import cli
    from koploper_pipelines.assets.koploperdeals import duiding_template

    platform = cli.open_platform(home)
    try:
        typer.echo(duiding_template.template(platform, table), nl=False)
    except LookupError as error:
        raise typer.BadParameter(str(error.args[0]), param_hint="TABLE") from error
