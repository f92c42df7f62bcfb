"""What this folder adds to the `koploper` command.

Here belong the options; imports that take time stand in the command that needs them.
"""

from pathlib import Path
from typing import Annotated

import typer

duiding = typer.Typer(no_args_is_help=True, help="Interpretations of published figures.")
COMMANDS = {"duiding": duiding}
"""Groups of commands, by the name under which `koploper` offers them."""


@duiding.callback()
def _group() -> None:
    """Interpretations of published figures."""


@duiding.command()
def template(
    table: Annotated[str, typer.Argument(help="Published table, as in SQL.", metavar="TABLE")],
    home: Annotated[
        Path | None,
        typer.Option(envvar="KOPLOPER_HOME", help="Folder of the installation.", show_default=".koploper"),
    ] = None,
) -> None:
    """Write a document to interpret TABLE with, showing which figures still lack a reading."""
    from koploper_pipelines import cli
    from koploper_pipelines.assets.koploperdeals import templates

    platform = cli.open_platform(home)
    try:
        typer.echo(templates.template(platform, table), nl=False)
    except LookupError as error:
        raise typer.BadParameter(str(error.args[0]), param_hint="TABLE") from error
