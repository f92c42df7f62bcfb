"""A gated table as a Dagster asset: key, columns, checks and partitions from its contract.

Here belongs the translation between Dagster's events and a run of a table (`step.py`). One op per asset;
its checks are evaluated before the rows are committed, so what a failed critical one keeps out has no
materialisation.
"""

import json
import math
from collections.abc import Hashable, Iterator, Mapping
from typing import Any

import dagster as dg

from koploper_pipelines.contracts import Column, Contract, Rule
from koploper_pipelines.gates.audit import Verdict
from koploper_pipelines.gates.staging import SchemaMismatch
from koploper_pipelines.gates.step import Platform, Report, RulesFailed, RunStep, audit, run_table
from koploper_pipelines.gates.table import GatedTable
from koploper_pipelines.resources.lake import WHOLE, UntrustedTable

DAYS = dg.DailyPartitionsDefinition(start_date="2018-01-01", timezone="Europe/Amsterdam", end_offset=1)
"""Measurement days; the first bicycle measured in 2018."""
NIGHT_TAG = "koploper/nacht"
POOL = "lake"
AGAIN = "opnieuw"


def asset_key(path: str) -> dg.AssetKey:
    """`experiment/layer/table` as an asset key."""
    return dg.AssetKey(path.split("/"))


def to_asset(table: GatedTable) -> dg.AssetsDefinition:
    """The Dagster asset of a table."""
    contract = table.contract
    key = asset_key(table.path)
    partitions = DAYS if contract.partition_kind == "dag" and not table.lands else None
    spec = dg.AssetSpec(
        key,
        deps=[asset_key(p) for p in dict.fromkeys([*(r.table for r in table.reads), *table.after])],
        description=_description(contract),
        group_name=contract.experiment,
        owners=[contract.owner],
        # The graph shows kinds, not the folders of a key: without the layer its two `metingen` look the same.
        kinds={contract.layer, *table.kinds},
        tags={"laag": contract.layer, "contract": contract.version},
        metadata={
            "dagster/column_schema": _column_schema(contract),
            "dagster/table_name": contract.sql_name,
            "contract": dg.MetadataValue.path(f"koploper_pipelines/contracts/{contract.path}.yaml"),
        },
        partitions_def=partitions,
    )
    checks = [
        dg.AssetCheckSpec(
            rule.name,
            asset=key,
            blocking=rule.is_blocking,
            description=f"{rule.description} {rule.reason} {_consequence(rule)}",
            metadata={"dimensie": rule.dimension, "reikwijdte": rule.scope, "ernst": rule.severity},
        )
        for rule in contract.rules
    ]

    @dg.multi_asset(
        name=table.path.replace("/", "__"),
        specs=[spec],
        check_specs=checks,
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run() if partitions else None,
        # Checks report only when something was judged; a night without news judges nothing.
        can_subset=True,
        pool=POOL,
        required_resource_keys={"platform"},
        config_schema={
            AGAIN: dg.Field(
                bool,
                default_value=False,
                description="Make the chosen partitions again, also when nothing changed.",
            )
        },
    )
    def run(context: dg.AssetExecutionContext) -> Iterator[Any]:
        yield from _run(context, table, key)

    return run


def _run(context: dg.AssetExecutionContext, table: GatedTable, key: dg.AssetKey) -> Iterator[Any]:
    platform: Platform = context.resources.platform
    is_daily = table.contract.partition_kind == "dag" and not table.lands
    # The days of a run hold for all its assets, also those that have none.
    has_days = is_daily and (context.has_partition_key or context.has_partition_key_range)
    try:
        if key not in context.selected_asset_keys:
            yield from _checks(key, _audit_as_it_is(platform, table))
            return
        report = run_table(
            platform,
            table,
            run_id=context.run.run_id,
            night=context.run.tags.get(NIGHT_TAG),
            chosen=list(context.partition_keys) if has_days else None,
            again=bool(context.op_execution_context.op_config[AGAIN]),
        )
    except (UntrustedTable, RulesFailed, SchemaMismatch) as error:
        # Nothing to retry: a person must look.
        raise dg.Failure(description=str(error), allow_retries=False) from error
    if report.nothing_new:
        yield from _standing_checks(platform, table, key, report)
    judged = [v for o in report.outcomes for v in o.verdicts]
    yield from _checks(key, _merged([*judged, *([report.source] if report.source else [])]))
    if not report.passed:
        if has_days:
            yield from _days_that_passed(context, key, report)
        raise dg.Failure(description=_why(table, report), metadata=_facts(report), allow_retries=False)
    yield dg.MaterializeResult(asset_key=key, metadata=_facts(report))


def _audit_as_it_is(platform: Platform, table: GatedTable) -> list[Verdict]:
    """Today's rules on the table as it stands, for a run of the checks alone."""
    step = RunStep(platform, platform.plan(), table, ())
    try:
        head = platform.lake.head(table.path)
        rows = platform.lake.relation(step.con, table.path, head.version)
        return audit(platform, table.contract, step.con, rows, sorted(head.partitions))
    finally:
        step.close()


def _merged(verdicts: list[Verdict]) -> list[Verdict]:
    """One verdict a rule: of several files, the first that did not pass, else the last."""
    chosen: dict[str, Verdict] = {}
    for verdict in verdicts:
        earlier = chosen.get(verdict.rule.name)
        if earlier is None or earlier.passed:
            chosen[verdict.rule.name] = verdict
    return list(chosen.values())


def _checks(key: dg.AssetKey, verdicts: list[Verdict]) -> Iterator[dg.AssetCheckResult]:
    for verdict in verdicts:
        is_error = _is_error(verdict)
        yield dg.AssetCheckResult(
            asset_key=key,
            check_name=verdict.rule.name,
            passed=verdict.passed,
            severity=dg.AssetCheckSeverity.ERROR if is_error else dg.AssetCheckSeverity.WARN,
            description=_in_short(verdict),
            metadata=_explanation(verdict),
        )


def _is_error(verdict: Verdict) -> bool:
    # Rows of a critical row rule are set aside and the table goes on without them: a warning.
    sets_aside = verdict.rule.scope == "rij" and verdict.evaluable
    return not verdict.evaluable or (verdict.rule.is_blocking and not sets_aside)


def _explanation(verdict: Verdict) -> dict[str, Any]:
    rule = verdict.rule
    said: dict[str, Any] = {
        "regel": rule.description,
        "waarom": rule.reason,
        "dimensie": rule.dimension,
        "beoordeelde_rijen": verdict.judged,
    }
    if rule.scope == "rij":
        said["afwijkende_rijen"] = verdict.unexpected
    if verdict.observed is not None:
        said["gemeten"] = verdict.observed
    if verdict.partitions:
        said["tegengehouden" if _is_error(verdict) else "betreft"] = ", ".join(verdict.partitions)
    if verdict.examples:
        columns = list(dict.fromkeys(c for e in verdict.examples for c in e))
        said["voorbeelden"] = dg.MetadataValue.table(
            records=[dg.TableRecord({c: e.get(c, "") for c in columns}) for e in verdict.examples]
        )
    return said


def _in_short(verdict: Verdict) -> str | None:
    """One line for the history of a check."""
    if verdict.message or verdict.passed:
        return verdict.message or None
    if verdict.partitions:
        return f"wijkt af: {', '.join(verdict.partitions)}"
    return f"{verdict.unexpected} van {verdict.judged} rijen wijken af" if verdict.unexpected else None


def _days_that_passed(
    context: dg.AssetExecutionContext, key: dg.AssetKey, report: Report
) -> Iterator[dg.AssetMaterialization]:
    """The days of a failed run that stand: without an event of their own they would show as failed."""
    held_back = {*report.skipped, *(p for o in report.outcomes for p in o.held_back)}
    for day in context.partition_keys:
        if day not in held_back:
            yield dg.AssetMaterialization(
                key, partition=day, metadata=_facts(report) | {"uitkomst": "gereed"}
            )


def _standing_checks(
    platform: Platform, table: GatedTable, key: dg.AssetKey, report: Report
) -> Iterator[dg.AssetCheckResult]:
    """What the rules said last, when a run found nothing to do: it still holds.

    As a warning when it was no: the run that was refused has failed already, one without news is in order.
    """
    rules = {r.name: r for r in table.contract.rules if report.source is None or r != report.source.rule}
    for entry in platform.ledger.last_verdicts(table.path).to_dict("records"):
        if entry["regel"] not in rules:
            continue
        verdict = _recalled(rules[entry["regel"]], entry)
        yield dg.AssetCheckResult(
            asset_key=key,
            check_name=verdict.rule.name,
            passed=verdict.passed,
            severity=dg.AssetCheckSeverity.WARN,
            description="; ".join(
                filter(None, ["niets nieuw, het laatste oordeel geldt nog", _in_short(verdict)])
            ),
            metadata={
                **_explanation(verdict),
                "beoordeeld_op": entry["tijd"].isoformat(),
                "run": dg.MetadataValue.dagster_run(entry["run_id"]),
            },
        )


def _recalled(rule: Rule, entry: Mapping[Hashable, Any]) -> Verdict:
    """A verdict as the ledger keeps it."""

    def listed(field: str) -> tuple[Any, ...]:
        return tuple(json.loads(entry[field])) if isinstance(entry[field], str) else ()

    return Verdict(
        rule,
        bool(entry["is_geslaagd"]),
        evaluable=bool(entry["is_te_beoordelen"]),
        judged=int(entry["beoordeeld"]),
        unexpected=int(entry["afwijkend"]),
        observed=None if math.isnan(entry["waarde"]) else float(entry["waarde"]),
        partitions=listed("partities"),
        message=entry["toelichting"] if isinstance(entry["toelichting"], str) else "",
        examples=listed("voorbeelden"),
    )


def _why(table: GatedTable, report: Report) -> str:
    held_back = ", ".join(p for o in report.outcomes for p in o.held_back)
    committed = any(o.version is not None for o in report.outcomes)
    rest = "de rest is vastgelegd" if committed else "de vorige versie blijft staan"
    return f"{table.path}: tegengehouden: {held_back}; {rest}. {report.failures}"


def _facts(report: Report) -> dict[str, Any]:
    if report.nothing_new:
        return {
            "uitkomst": report.message,
            **({"overgeslagen": ", ".join(report.skipped)} if report.skipped else {}),
            **report.notes,
        }
    facts: dict[str, Any] = {
        _row_count_key(report): sum(o.rows for o in report.outcomes),
        "rijen_in_quarantaine": sum(o.quarantined for o in report.outcomes),
        "uitkomst": "gereed" if report.passed else "tegengehouden",
    }
    if report.partitions and report.partitions != (WHOLE,):
        facts["partities_van_de_run"] = (
            f"{len(report.partitions)}: {report.partitions[0]} … {report.partitions[-1]}"
        )
    if versions := [o.version for o in report.outcomes if o.version is not None]:
        facts["versie"] = versions[-1]
    return facts | {k: v for k, v in report.notes.items() if v is not None}


def _row_count_key(report: Report) -> str:
    """Dagster's own key where the number is of the table or of one partition; of several there is none."""
    if report.partitions in ((), (WHOLE,)):
        return "dagster/row_count"
    return "dagster/partition_row_count" if len(report.partitions) == 1 else "rijen_van_de_run"


def _consequence(rule: Rule) -> str:
    if not rule.is_blocking:
        return "Een afwijking geeft een waarschuwing en houdt niets tegen."
    return {
        "rij": "Een afwijkende rij gaat naar de quarantaine; de andere gaan door.",
        "partitie": "Een afwijkende dag of maand wordt tegengehouden; de andere gaan door.",
        "tabel": "Bij een afwijking gaat niets door en blijft de vorige versie staan.",
    }[rule.scope]


def _description(contract: Contract) -> str:
    empty = f"\n\nMag leeg zijn: {contract.empty_because}" if contract.empty_because else ""
    limits = f"\n\n{contract.limitations}" if contract.limitations else ""
    return f"{contract.title}\n\n{contract.description}{limits}{empty}"


def _column_schema(contract: Contract) -> dg.TableSchema:
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=c.name,
                type=c.type,
                description=f"{c.description} [{c.unit}]" if c.unit else c.description,
                constraints=dg.TableColumnConstraints(
                    nullable=not c.required,
                    unique=contract.key == (c.name,),
                    other=_constraints(c),
                ),
                tags={"privacy": c.privacy},
            )
            for c in contract.columns
        ]
    )


def _constraints(column: Column) -> list[str]:
    said = []
    if column.minimum is not None:
        said.append(f"≥ {column.minimum}")
    if column.maximum is not None:
        said.append(f"≤ {column.maximum}")
    if column.pattern:
        said.append(f"patroon {column.pattern}")
    if column.values:
        said.append(f"een van {', '.join(column.values)}")
    return said


__all__ = ["AGAIN", "DAYS", "NIGHT_TAG", "Rule", "asset_key", "to_asset"]
