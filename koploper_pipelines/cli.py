"""The `koploper` command: what a person asks, and what came of it.

Here belong the options, the errors that a person can act on, and the order of a command. What is told of an
installation is gathered and shown by `cli_report.py`; nights are run by `automation/run.py`. Avoid deciding
anything about data here. What is heavy is imported in the command that needs it, so that `koploper --help`
answers at once.
"""

from __future__ import annotations

import difflib
import gc
import importlib
import json
import os
import pkgutil
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, cast

import typer

if TYPE_CHECKING:
    from pydantic import ValidationError

    from koploper_pipelines.automation.night import Chosen
    from koploper_pipelines.gates.step import Platform
    from koploper_pipelines.gates.table import GatedTable
    from koploper_pipelines.settings import Settings
    from koploper_pipelines.simulation import Simulator

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Raw data of experiments to tables that can be trusted, with a quality gate on every step.",
)
FIRST_DAY = date(2018, 1, 1)
"""First measurement day that the platform knows."""
SECRET_SETTINGS = ("key", "warehouse_url")


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a day; write it as 2026-11-23") from None


Home = Annotated[
    Path | None,
    typer.Option(
        envvar="KOPLOPER_HOME", help="Folder of the installation.", show_default=".koploper", file_okay=True
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
OneExperiment = Annotated[str | None, typer.Option("--experiment", help="Only this experiment.")]
Table = Annotated[str, typer.Argument(help="experiment/layer/table", metavar="TABLE")]


def _day_option(name: str, meaning: str) -> Any:
    return typer.Option(name, parser=_day, metavar="YYYY-MM-DD", help=meaning)


# -- Commands ------------------------------------------------------------------------------------------------


@app.command()
def demo(home: Home = None) -> None:
    """Run the whole chain on simulated data, and show the published tables."""
    from koploper_pipelines import cli_report

    platform = open_platform(home, make=True)
    _simulate_demo(platform)
    passed = _night(platform, _chosen(platform, None))
    with _explained():
        cli_report.show_published(cli_report.published(platform))
    raise typer.Exit(0 if passed else 1)


@app.command()
def refresh(
    home: Home = None,
    experiment: OneExperiment = None,
    day: Annotated[date | None, _day_option("--day", "Only this measurement day.")] = None,
    first: Annotated[date | None, _day_option("--from", "Only measurement days from here,")] = None,
    last: Annotated[date | None, _day_option("--to", "up to and including this one.")] = None,
) -> None:
    """Run a night now: land what is new, process what is pending, publish a release."""
    platform = open_platform(home, make=True)
    chosen = _chosen(platform, experiment, *_days(platform, day, first, last))
    raise typer.Exit(0 if _night(platform, chosen) else 1)


@app.command()
def rebuild(home: Home = None, experiment: OneExperiment = None) -> None:
    """Make every table after raw again, all partitions of it, and publish."""
    platform = open_platform(home)
    raise typer.Exit(0 if _night(platform, _chosen(platform, experiment), again=True) else 1)


@app.command()
def simulate(
    experiment: Annotated[str, typer.Argument(metavar="EXPERIMENT", help="Whose raw files to write.")],
    days: Annotated[int, typer.Option(min=1, max=3_660, help="Number of measurement days.")] = 30,
    participants: Annotated[
        int | None,
        typer.Option(
            "--participants", "--devices", min=1, max=10_000, help="Number of devices, players or citizens."
        ),
    ] = None,
    rows: Annotated[int | None, typer.Option(min=1, help="Number of raw rows to aim at.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same files.")] = 1,
    last_day: Annotated[
        date | None, _day_option("--last-day", "Last measurement day; yesterday by default.")
    ] = None,
    home: Home = None,
) -> None:
    """Write simulated raw files to the inbox, in the source's own format, and the truth beside it."""
    platform = open_platform(home, make=True)
    _known(experiment, _simulators(), "EXPERIMENT", "experiment that can be simulated")
    last = last_day or platform.clock.today() - timedelta(days=1)
    if last > platform.clock.today():
        _wrong("--last-day", f"{last} is in the future; today is {platform.clock.today()}")
    inbox = platform.settings.inbox / experiment
    truth = _simulated(platform, experiment) / f"seed-{seed}"
    try:
        made = _simulator(experiment).simulate(
            inbox, truth, last_day=last, days=days, participants=participants, rows=rows, seed=seed
        )
    except ValueError as error:
        _wrong("--days, --participants or --rows", str(error))
    typer.echo(f"{made.rows} raw rows in {len(made.files)} files in {inbox}")
    typer.echo(f"the truth behind them in {truth}")
    typer.echo("to make tables of them: koploper refresh")


@app.command()
def plan(home: Home = None, as_json: AsJson = False) -> None:
    """Show what is pending, and why."""
    from koploper_pipelines import cli_report

    with _explained():
        said = cli_report.plan(open_platform(home))
    _tell(said, cli_report.show_plan, as_json)


@app.command()
def status(home: Home = None, as_json: AsJson = False) -> None:
    """Show every table with its version, freshness and pending partitions, the release and the last night."""
    from koploper_pipelines import cli_report
    from koploper_pipelines.automation.run import open_instance

    platform = open_platform(home)
    with _explained(), open_instance(platform.settings) as instance:
        said = cli_report.status(platform, instance)
    _tell(said, cli_report.show_status, as_json)


@app.command()
def quality(
    action: Annotated[str | None, typer.Argument(metavar="[show", help="More about one table.")] = None,
    table: Annotated[str | None, typer.Argument(metavar="TABLE]", help="experiment/layer/table")] = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Show what the rules of every table said last; `show TABLE`: of one, with the rows it kept out."""
    from koploper_pipelines import cli_report

    if action is not None and (action != "show" or table is None):
        _wrong("quality", "expected `koploper quality` or `koploper quality show TABLE`")
    platform = open_platform(home)
    with _explained():
        if table is None:
            _tell(cli_report.quality(platform), cli_report.show_quality, as_json)
        else:
            _tell(
                cli_report.quality_of(platform, _table(platform, table)), cli_report.show_quality_of, as_json
            )


@app.command()
def repair(table: Table, home: Home = None) -> None:
    """Bring a table that something else than a gate wrote to back to its last good version."""
    platform = open_platform(home)
    path = _table(platform, table).path
    try:
        version = platform.gate.repair(path)
    except LookupError as error:
        _wrong("TABLE", str(error))
    typer.echo(f"{path} is back at what version {version} held; its partitions are pending.")
    typer.echo("to make again what gates wrote since: koploper refresh")


def add_commands_of_experiments(to: typer.Typer) -> None:
    """Offer what experiments add to the command: the groups in the module `commands` of their folders."""
    from koploper_pipelines import assets

    # By their files: importing every experiment to look would take longer than most commands.
    for place in sorted(Path(p) for root in assets.__path__ for p in Path(root).glob("*/commands.py")):
        module = importlib.import_module(f"{assets.__name__}.{place.parent.name}.commands")
        for group, commands in module.COMMANDS.items():
            to.add_typer(commands, name=group)


add_commands_of_experiments(app)


def main() -> None:
    """Entry point of the `koploper` script."""
    # A night makes millions of objects and few circles of them; looking for circles took 6% of its time.
    gc.set_threshold(20_000, 20, 20)
    app()


# -- What was asked, checked ---------------------------------------------------------------------------------


def _wrong(what: str, why: str) -> NoReturn:
    """End with an error of the person's, exit code 2."""
    raise typer.BadParameter(why, param_hint=what)


@contextmanager
def _explained() -> Iterator[None]:
    """Tell what a person must look into, without a traceback, exit code 1."""
    from koploper_pipelines.resources.lake import UntrustedTable
    from koploper_pipelines.resources.warehouse import WarehouseError

    try:
        yield
    except (UntrustedTable, WarehouseError) as error:
        typer.echo(f"koploper: {error}", err=True)
        raise typer.Exit(1) from error


def open_platform(home: Path | None, make: bool = False) -> Platform:
    """The installation, after everything that a person configured was found in order."""
    from pydantic import ValidationError
    from pydantic_settings import SettingsError

    from koploper_pipelines.build import build_platform
    from koploper_pipelines.resources.warehouse import WarehouseError
    from koploper_pipelines.settings import Settings

    kind: Any = Settings
    try:
        settings = Settings() if home is None else Settings(home=home)
        _home_in_order(settings, make)
        platform = build_platform(settings)
        for kind in {t.settings for t in platform.tables.values() if t.settings is not None}:
            kind()
    except ValidationError as error:
        _wrong_setting(kind, error)
    except SettingsError as error:
        _wrong(f"{kind.model_config['env_prefix']}*", str(error))
    try:
        settings.subkey("stempel")
    except (ValueError, OSError) as error:
        _wrong("KOPLOPER_KEY", str(error).removeprefix("KOPLOPER_KEY "))
    try:
        platform.warehouse.finish_interrupted()
    except WarehouseError as error:
        _wrong("KOPLOPER_WAREHOUSE_URL", str(error).removeprefix("KOPLOPER_WAREHOUSE_URL "))
    return platform


def _home_in_order(settings: Settings, make: bool) -> None:
    from koploper_pipelines.automation.run import prepare_home

    hint = "name another folder with --home or KOPLOPER_HOME"
    if settings.home.exists() and not settings.home.is_dir():
        _wrong("--home", f"{settings.home} is a file, expected a folder; {hint}")
    if not make and not settings.lake.is_dir():
        _wrong(
            "--home",
            f"no installation in {settings.home}: run `koploper demo` or `koploper refresh`, or {hint}",
        )
    try:
        prepare_home(settings)
    except OSError as error:
        _wrong("--home", f"{settings.home} cannot be used: {error.strerror}; {hint}")
    if locked := [f for f in (settings.inbox, settings.lake, settings.dagster) if not os.access(f, os.W_OK)]:
        _wrong("--home", f"{locked[0]} cannot be written to; {hint}")


def _wrong_setting(kind: Any, error: ValidationError) -> NoReturn:
    """Name each variable that is wrong, what it was (unless secret) and what was expected."""
    said = []
    for problem in error.errors():
        name = str(problem["loc"][0]) if problem["loc"] else "*"
        found = "" if name in SECRET_SETTINGS else f" (found {problem['input']!r})"
        why = problem["msg"].removeprefix("Value error, ")
        said.append(f"{kind.model_config['env_prefix']}{name.upper()}: {why}{found}")
    _wrong("the environment", "; ".join(said))


def _known(name: str, names: Iterable[str], what: str, noun: str) -> None:
    known = sorted(names)
    if name not in known:
        close = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
        hint = f"did you mean {' or '.join(close)}?" if close else f"there is {', '.join(known)}"
        _wrong(what, f"there is no {noun} {name!r}; {hint}")


def _table(platform: Platform, name: str) -> GatedTable:
    """The table of a full path, or of a last part that only one table has."""
    ends = [t for t in platform.tables if t.endswith(f"/{name}")]
    path = ends[0] if len(ends) == 1 else name
    _known(path, platform.tables, "TABLE", "table")
    return platform.tables[path]


def _days(
    platform: Platform, day: date | None, first: date | None, last: date | None
) -> tuple[date | None, date | None]:
    if day is not None and (first or last):
        _wrong("--day", "give either --day or --from with --to, not both")
    if (first is None) != (last is None):
        _wrong("--from" if last is None else "--to", "give --from and --to together, or --day for one day")
    first, last = first or day, last or day
    if first is None or last is None:
        return None, None
    if first > last:
        _wrong("--from", f"{first} is after --to {last}")
    if last > platform.clock.today():
        _wrong("--day" if day else "--to", f"{last} is in the future; today is {platform.clock.today()}")
    if first < FIRST_DAY:
        _wrong("--day" if day else "--from", f"{first} is before the first measurement day, {FIRST_DAY}")
    return first, last


def _chosen(
    platform: Platform, experiment: str | None, first: date | None = None, last: date | None = None
) -> Chosen:
    from koploper_pipelines.automation.night import RELEASE, Chosen

    if experiment is not None:
        _known(
            experiment,
            {t.contract.experiment for t in platform.tables.values()} - {RELEASE},
            "--experiment",
            "experiment",
        )
    days = [None if d is None else d.isoformat() for d in (first, last)]
    return Chosen(experiment, *days)


# -- Nights --------------------------------------------------------------------------------------------------


def _night(platform: Platform, chosen: Chosen, again: bool = False) -> bool:
    """Run a night, or a rebuild, and tell what came of it; whether everything passed."""
    from koploper_pipelines import cli_report
    from koploper_pipelines.automation.run import (
        Ran,
        night_id,
        open_instance,
        run_night,
        run_rebuild,
        steps_in,
    )
    from koploper_pipelines.build import build_definitions

    defs = build_definitions(platform)
    night = night_id(platform.clock)
    refused_before = cli_report.refused_files(platform)
    ran: list[Ran] = []
    with _explained(), open_instance(platform.settings) as instance, cli_report.Progress() as progress:
        runs = run_rebuild if again else run_night
        for event in runs(defs, platform, instance, night, chosen, progress.step):
            if isinstance(event, Ran):
                ran.append(event)
            else:
                progress.begin(f"{event.job}: {event.says}", steps_in(defs, event))
    with _explained():
        said = cli_report.night(platform, night, ran, refused_before)
    cli_report.show_night(said)
    return bool(said["passed"])


def _tell(said: dict[str, Any], show: Callable[[dict[str, Any]], None], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(said, ensure_ascii=False, indent=2))
    else:
        show(said)


# -- Simulation ----------------------------------------------------------------------------------------------


def _simulators() -> list[str]:
    """Experiments whose raw files can be simulated: the modules of `simulation/`."""
    from koploper_pipelines import simulation

    return [module.name for module in pkgutil.iter_modules(simulation.__path__)]


def _simulator(experiment: str) -> Simulator:
    return cast("Simulator", importlib.import_module(f"koploper_pipelines.simulation.{experiment}"))


def _simulated(platform: Platform, experiment: str) -> Path:
    """Folder of what belongs to the simulation and not to the source: the truth, and what the demo made."""
    return platform.settings.home / "simulatie" / experiment


def _simulate_demo(platform: Platform) -> None:
    """Deliver the demo's raw files to the inbox: two closed months and an open one, once in a home."""
    markers = {e: _simulated(platform, e) / "demo.json" for e in _simulators()}
    _refuse_other_data(platform, [e for e, marker in markers.items() if not marker.is_file()])
    for experiment, marker in markers.items():
        if marker.is_file():
            made = json.loads(marker.read_text(encoding="utf-8"))
        else:
            made = {**_demo_days(platform), "delivered": False}
            # Before the files, so that what a kill leaves of them is known to be the demo's.
            marker.parent.mkdir(parents=True, exist_ok=True)
            marker.write_text(json.dumps(made, indent=2), encoding="utf-8")
        said = f"{experiment}: simulated data of {made['first']} to {made['last']}"
        if made["delivered"]:
            typer.echo(f"{said}, were delivered before")
            continue
        inbox = platform.settings.inbox / experiment
        delivered = _simulator(experiment).demo(
            inbox,
            marker.parent,
            first=date.fromisoformat(made["first"]),
            last=date.fromisoformat(made["last"]),
            now=platform.clock.now(),
        )
        marker.write_text(json.dumps({**made, "delivered": True}, indent=2), encoding="utf-8")
        typer.echo(f"{said}: {delivered.rows} rows in {inbox}")


def _refuse_other_data(platform: Platform, without_demo: Collection[str]) -> None:
    """The demo's invented data must never stand among real ones."""
    landed = {
        t.contract.experiment for t in platform.tables.values() if t.lands and platform.lake.exists(t.path)
    }
    inboxes = {e: platform.settings.inbox / e for e in without_demo}
    waiting = {e for e, inbox in inboxes.items() if any(p.is_file() for p in inbox.rglob("*"))}
    if (landed | waiting).intersection(without_demo):
        _wrong("--home", f"{platform.settings.home} holds other data; give the demo a folder of its own")


def _demo_days(platform: Platform) -> dict[str, str]:
    """From two months before the open month to yesterday, or to the end of the open month."""
    opened = date.fromisoformat(f"{platform.first_open_month}-01")
    first = (opened - timedelta(days=32)).replace(day=1)
    ends = (opened + timedelta(days=31)).replace(day=1) - timedelta(days=1)
    last = min(platform.clock.today() - timedelta(days=1), ends)
    return {"first": first.isoformat(), "last": last.isoformat()}
