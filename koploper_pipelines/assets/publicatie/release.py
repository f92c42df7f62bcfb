"""The release itself: all published tables at one moment, checked as a whole, made current in one step.

Here belongs what must hold over tables; the switch is `resources/warehouse`'s.
"""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import dagster as dg

from koploper_pipelines.assets.publicatie.published import RELEASES, published_tables
from koploper_pipelines.gates.asset import asset_key
from koploper_pipelines.gates.measures import quoted
from koploper_pipelines.gates.staging import arrow_schema
from koploper_pipelines.gates.step import Platform, RulesFailed, verified_rows
from koploper_pipelines.gates.table import GatedTable
from koploper_pipelines.resources.lake import UntrustedTable

if TYPE_CHECKING:
    from koploper_pipelines.resources.warehouse import PublishedTable

PARTICIPANTS = ("aantal_apparaten", "apparaten", "aantal_deelnemers", "aantal_spelers")
ABSENT = ("onderdrukt", "niet_beschikbaar", "niet_van_toepassing", "geen_referentie")


class ReleaseRefused(RuntimeError):
    """The tables are each in order, but not together; the message says which do not agree."""


def release_assets(tables: Iterable[GatedTable]) -> list[dg.AssetsDefinition]:
    """The assets that make a release current, each after every published table."""
    published = [asset_key(t.path) for t in tables if t.contract.layer == "published"]

    @dg.asset(
        key=["publicatie", "release", "database"],
        deps=published,
        group_name="publicatie",
        owners=["team:data-provincie"],
        kinds={"sql"},
        tags={"laag": "release"},
        required_resource_keys={"platform"},
        pool="warehouse",
        description="Alle gepubliceerde tabellen op één moment, in één stap de geldende release in de"
        " database.",
    )
    def database(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
        return _make_current(context)

    return [database]


def _make_current(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
    """Make the newest release current, unless it is already."""
    from koploper_pipelines.resources.warehouse import WarehouseError

    platform: Platform = context.resources.platform
    try:
        return dg.MaterializeResult(metadata=publish(platform))
    except (UntrustedTable, RulesFailed, ReleaseRefused, WarehouseError) as error:
        raise dg.Failure(
            description=f"geen release gemaakt, de vorige blijft staan: {error}", allow_retries=False
        ) from error


def publish(platform: Platform) -> dict[str, Any]:
    """Publish the newest release that the list of releases names; facts for the UI."""
    from koploper_pipelines.resources.warehouse import ReleaseInfo

    warehouse = platform.warehouse
    warehouse.finish_interrupted()
    tables = list(_tables(platform))
    newest = max(
        next(t for t in tables if t.contract.path == RELEASES).rows.to_pylist(), key=lambda r: r["gemaakt_op"]
    )
    facts = {
        "release": newest["release"],
        "tabellen": len(tables),
        "rijen": sum(t.rows.num_rows for t in tables),
    }
    if warehouse.current() == newest["release"]:
        return facts | {"uitkomst": "niets nieuw"}
    problems = [*_exposures(platform, tables), *_disagreements(platform, tables)]
    if problems:
        raise ReleaseRefused("; ".join(problems))
    warehouse.publish(ReleaseInfo(newest["release"], newest["gemaakt_op"], newest["status"]), tables)
    return facts | {"uitkomst": "gepubliceerd"}


def _tables(platform: Platform) -> Iterator["PublishedTable"]:
    """The last good version of every published table, verified and in order under today's rules."""
    import duckdb

    from koploper_pipelines.resources.warehouse import PublishedTable

    plan = platform.plan()
    with duckdb.connect() as con:
        con.sql("SET TimeZone = 'UTC'")
        for table in published_tables(platform):
            if (head := plan.head(table.path)) is None:
                # Never passed its gate: an experiment without data yet.
                continue
            contract = table.contract
            rows = verified_rows(platform, plan, con, table.path, sorted(head.partitions))
            ordered = rows.order(", ".join(quoted(k) for k in contract.key))
            frame = ordered.project(", ".join(quoted(c.name) for c in contract.columns)).to_arrow_table()
            yield PublishedTable(contract, frame.cast(arrow_schema(contract)))


def _exposures(platform: Platform, tables: list["PublishedTable"]) -> Iterator[str]:
    """Figures about people that nobody should see, judged from the tables as they would be published."""
    for table in tables:
        rows, path = table.rows.to_pylist(), table.contract.path
        figures = [c.name for c in table.contract.columns if c.figure_about_people]
        if not figures:
            continue
        columns = [c.name for c in table.contract.columns]
        participants = next((p for p in PARTICIPANTS if p in columns), None)
        if participants is None:
            yield f"{path}: figures about people without the number of participants"
            continue
        shown = [r for r in rows if any(r[f] is not None for f in figures)]
        least = platform.settings.min_participants
        if few := sum(r[participants] is None or r[participants] < least for r in shown):
            yield f"{path}: {few} rows show figures on fewer than {least} participants"
        months = {r["maand"] for r in shown} if "maand" in columns else set()
        if early := sorted(m for m in months if m >= platform.first_open_month):
            yield f"{path}: figures of months that are still open: {', '.join(early)}"
        for figure in figures:
            status = f"{figure}_status"
            if status in columns and any(r[figure] is not None and r[status] in ABSENT for r in rows):
                yield f"{path}: {figure} is shown where its status says it is absent"


def _disagreements(platform: Platform, tables: list["PublishedTable"]) -> Iterator[str]:
    """Totals that must be the same in two tables and are not.

    A table whose work is pending, because a gate on its way stayed closed, keeps an older version: its totals
    differ from those of newer tables for that reason alone, and are compared when it has caught up.
    """
    import duckdb

    behind = {item.table for item in platform.plan().pending()}
    present = {t.contract.sql_name for t in tables if t.contract.path not in behind}
    with duckdb.connect() as con:
        for table in tables:
            con.register(table.contract.sql_name, table.rows)
        for total in platform.totals:
            if not present.issuperset(total.tables):
                continue
            left, right = (con.sql(q).fetchall()[0][0] for q in (total.left, total.right))
            if left != right:
                yield f"{total.because}: {left} against {right} ({' and '.join(total.tables)})"
