"""What a data contract says, as typed values that the rest of the code derives from.

The YAML is read with the models of the `open-data-contract-standard` package; the classes here hold
the part this platform acts on, and add the rules that follow from the columns (key, required,
ranges, row count, conservation), so that no rule is written twice. No frames and no I/O besides
reading the YAML.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Literal

from open_data_contract_standard.model import (
    CustomProperty,
    DataQuality,
    OpenDataContractStandard,
    SchemaProperty,
)

ColumnType = Literal["string", "integer", "number", "boolean", "date", "timestamp"]
Privacy = Literal["geen", "indirect", "direct"]
Severity = Literal["critical", "warning"]
Scope = Literal["rij", "partitie", "tabel"]

COLUMN_TYPES: tuple[ColumnType, ...] = ("string", "integer", "number", "boolean", "date", "timestamp")
SCOPES: tuple[Scope, ...] = ("rij", "partitie", "tabel")
LAYERS = ("raw", "cleaned", "indicators", "evaluation", "published")
CONTRACTS_FOLDER = Path(__file__).parent

MONTH = "maand"
"""Name of a partition column that holds months; one of another name holds parts, equal in all tables."""
SCHEMA_RULE = "schema_klopt"
CONSERVATION_RULE = "geen_rij_verloren"
MOST_ROWS_RULE = "meeste_rijen_blijven"
SOURCE_RULE = "bron_bereikbaar"
EVALUATION_PARTS = ("doel", "beoogd", "bereikt", "status", "bron", "waar")
"""SQL over the table's columns: the goal, what was intended and reached, the status of what was reached,
where the intention comes from, and which rows are meant. NULL for what there is not."""
MOST_ROWS_SHARE = 0.10
"""Above this share of rows that break a row rule the whole partition is held back."""


class ContractError(ValueError):
    """A contract file says something that the platform cannot act on; names file, place and expectation."""


@dataclass(frozen=True)
class Column:
    """One column: type, meaning, privacy and the values that are possible."""

    name: str
    type: ColumnType
    description: str
    required: bool
    key: bool
    privacy: Privacy
    unit: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    pattern: str | None = None
    values: tuple[str, ...] | None = None
    unbounded_because: str | None = None
    """Why the column has no range, set or pattern, where it has none."""
    figure_about_people: bool = False
    """Whether the column is a figure about people (disclosure rules) rather than a process count."""
    decimals: int | None = None
    """To how many decimals the values are rounded when they are cast."""
    stamp: bool = False
    """Whether the column says when or by which run a row came, and so differs between equal tables."""

    @property
    def is_bounded(self) -> bool:
        """Whether the contract limits the column's values."""
        return (
            self.minimum is not None
            or self.maximum is not None
            or self.pattern is not None
            or self.values is not None
            or self.type == "boolean"
        )


@dataclass(frozen=True)
class Expectation:
    """One Great Expectations expectation: its snake_case type and its arguments."""

    type: str
    kwargs: Mapping[str, Any]


@dataclass(frozen=True)
class Rule:
    """A rule of a table: one asset check, one or more expectations, one verdict."""

    name: str
    description: str
    reason: str
    severity: Severity
    scope: Scope
    dimension: str
    expectations: tuple[Expectation, ...]
    """Empty for what is proven otherwise: schema, conservation of rows, share set aside, reach of sources."""

    @property
    def is_blocking(self) -> bool:
        """Whether a failure keeps something out of the table."""
        return self.severity == "critical"


@dataclass(frozen=True)
class Contract:
    """Everything that is said of one table."""

    path: str
    """`experiment/layer/table`, which is also the asset key."""
    version: str
    title: str
    description: str
    owner: str
    sql_name: str
    columns: tuple[Column, ...]
    rules: tuple[Rule, ...]
    partition: str | None
    """Name of the column that partitions the table: a measurement day (date), a month, or another string."""
    empty_because: str | None
    """Why the table may have no rows; None when it may never be empty."""
    conserves_rows: bool
    """Whether each input row must end as a kept or a quarantined row."""
    freshness_days: float | None
    limitations: str | None = None
    reasons: Mapping[str, str] = field(default_factory=dict)
    """Quarantine reasons of the step itself, beside the names of its row rules."""
    remote_source: str | None = None
    """Name of the source on the network that the table is (also) fetched from."""
    evaluation: Mapping[str, str] | None = None
    """Of a published table that tells what its experiment intended and reached: see `EVALUATION_PARTS`."""

    @property
    def experiment(self) -> str:
        """First part of the path."""
        return self.path.split("/")[0]

    @property
    def layer(self) -> str:
        """Second part of the path."""
        return self.path.split("/")[1]

    @property
    def table(self) -> str:
        """Last part of the path."""
        return self.path.split("/")[2]

    @property
    def key(self) -> tuple[str, ...]:
        """Names of the key columns."""
        return tuple(c.name for c in self.columns if c.key)

    def column(self, name: str) -> Column:
        """The column of that name; KeyError when there is none."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(f"{self.path}: no column {name!r}")

    @property
    def partition_kind(self) -> Literal["dag", "maand", "deel"] | None:
        """Whether the table is partitioned by measurement day, by month, by another name, or not at all."""
        if self.partition is None:
            return None
        if self.column(self.partition).type == "date":
            return "dag"
        return "maand" if self.partition == MONTH else "deel"

    @cached_property
    def rules_hash(self) -> str:
        """Fingerprint of columns and rules: what a partition was gated under."""
        said = [
            [(c.name, c.type, c.required, c.key, c.decimals) for c in self.columns],
            [
                (
                    r.name,
                    r.severity,
                    r.scope,
                    [(e.type, sorted(e.kwargs.items(), key=str)) for e in r.expectations],
                )
                for r in self.rules
            ],
            [self.partition, self.empty_because is None, self.conserves_rows],
        ]
        return hashlib.sha256(json.dumps(said, default=str).encode()).hexdigest()[:16]


def contract_paths(folder: Path = CONTRACTS_FOLDER) -> Iterator[str]:
    """Paths (`experiment/layer/table`) of all contracts in a folder, sorted."""
    for file in sorted(folder.glob("*/*/*.yaml")):
        yield file.relative_to(folder).with_suffix("").as_posix()


@cache
def load_contract(path: str, folder: Path = CONTRACTS_FOLDER) -> Contract:
    """The contract of table `experiment/layer/table`.

    Raises ContractError when the file is missing or says something that cannot be acted on.
    """
    file = folder / f"{path}.yaml"
    if not file.is_file():
        raise ContractError(f"{path}: no contract; expected the file contracts/{path}.yaml")
    import yaml

    try:
        return parse_contract(path, file.read_text(encoding="utf-8"))
    except (ValueError, yaml.YAMLError) as error:
        raise ContractError(f"contracts/{path}.yaml: {error}") from error


def parse_contract(path: str, text: str) -> Contract:
    """The contract in a YAML text; ValueError when it says something that cannot be acted on."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    document = OpenDataContractStandard.model_validate(yaml.load(text, Loader=loader))
    if document.id != path:
        raise ValueError(f"id is {document.id!r}, expected the file's own place {path!r}")
    tables = document.schema_ or []
    if len(tables) != 1:
        raise ValueError(f"schema has {len(tables)} tables, expected one")
    table = tables[0]
    own = _custom(document.customProperties)
    columns = tuple(_column(p) for p in table.properties or [])
    partitions = [p.name for p in table.properties or [] if p.partitioned]
    if len(partitions) > 1:
        raise ValueError(f"partitioned by {partitions}, expected at most one column")
    empty = own.get("magLeegZijn")
    if empty is None:
        raise ValueError(
            "customProperties lacks magLeegZijn: 'nooit', or the reason why the table may be empty"
        )
    partition = partitions[0] if partitions else None
    reasons = own.get("redenen") or {}
    if not isinstance(reasons, dict):
        raise ValueError("customProperties redenen: expected a mapping of reason to explanation")
    evaluation = own.get("evaluatie")
    if evaluation is not None and (
        not isinstance(evaluation, dict) or set(evaluation) != set(EVALUATION_PARTS)
    ):
        raise ValueError(f"customProperties evaluatie: expected a mapping with {', '.join(EVALUATION_PARTS)}")
    conserves = bool(own.get("rijbehoud", False))
    explicit = tuple(_rule(q) for q in table.quality or [])
    empty_because = None if empty == "nooit" else str(empty)
    remote_source = own.get("bron")
    generated = (
        *_rules_from_columns(columns, partition, empty_because, conserves),
        *_rules_of_the_source(remote_source),
    )
    names = [r.name for r in (*generated, *explicit)]
    if doubles := {n for n in names if names.count(n) > 1}:
        raise ValueError(f"rules of the same name: {sorted(doubles)}")
    freshness = next((s.value for s in document.slaProperties or [] if s.property == "freshness"), None)
    description = document.description
    return Contract(
        path=path,
        version=_need(document.version, "version"),
        title=_need(document.name, "name"),
        description=" ".join(_need(table.description, "schema description").split()),
        owner=_owner(document),
        sql_name=_need(table.physicalName, "schema physicalName"),
        columns=columns,
        rules=(*generated, *explicit),
        partition=partition,
        empty_because=empty_because,
        conserves_rows=conserves,
        freshness_days=None if freshness is None else float(freshness),
        limitations=description.limitations if description else None,
        reasons={str(k): str(v) for k, v in reasons.items()},
        remote_source=remote_source,
        evaluation=evaluation,
    )


def _need(value: str | None, what: str) -> str:
    if not value:
        raise ValueError(f"{what} is missing")
    return value


def _custom(properties: list[CustomProperty] | None) -> dict[str, Any]:
    return {p.property: p.value for p in properties or [] if p.property}


def _owner(document: OpenDataContractStandard) -> str:
    team = document.team
    if team is None or isinstance(team, list) or not team.name:
        raise ValueError("team name is missing: the owner, as an e-mail address or 'team:name'")
    return team.name


def _column(source: SchemaProperty) -> Column:
    name = _need(source.name, "name of a column")
    if source.logicalType not in COLUMN_TYPES:
        raise ValueError(f"column {name}: logicalType {source.logicalType!r}, expected one of {COLUMN_TYPES}")
    if source.classification not in ("geen", "indirect", "direct"):
        raise ValueError(
            f"column {name}: classification {source.classification!r}, expected geen, indirect or direct"
        )
    own = _custom(source.customProperties)
    options = source.logicalTypeOptions or {}
    if unknown := set(options) - {"minimum", "maximum", "pattern"}:
        raise ValueError(f"column {name}: logicalTypeOptions {sorted(unknown)} are not acted on")
    column = Column(
        name=name,
        type=source.logicalType,
        description=" ".join(_need(source.description, f"description of column {name}").split()),
        required=bool(source.required),
        key=bool(source.primaryKey),
        privacy=source.classification,  # type: ignore[arg-type]  # checked above
        unit=own.get("eenheid"),
        minimum=options.get("minimum"),
        maximum=options.get("maximum"),
        pattern=options.get("pattern"),
        values=tuple(str(v.value) for v in source.enum) if source.enum else None,
        unbounded_because=own.get("zonderGrenzen"),
        figure_about_people=own.get("soort") == "persoonscijfer",
        decimals=own.get("decimalen"),
        stamp=bool(own.get("stempel", False)),
    )
    if not column.is_bounded and not column.unbounded_because:
        raise ValueError(f"column {name}: no range, set or pattern, and no reason (zonderGrenzen) why not")
    return column


def _rule(source: DataQuality) -> Rule:
    name = _need(source.name, "name of a quality rule")
    own = _custom(source.customProperties)
    scope = own.get("reikwijdte")
    if scope not in SCOPES:
        raise ValueError(f"rule {name}: reikwijdte {scope!r}, expected one of {SCOPES}")
    if source.severity not in ("critical", "warning"):
        raise ValueError(f"rule {name}: severity {source.severity!r}, expected critical or warning")
    if source.engine != "greatExpectations" or not isinstance(source.implementation, dict):
        raise ValueError(f"rule {name}: expected engine greatExpectations with an implementation")
    parts = source.implementation.get("expectations") or [source.implementation]
    if not all(isinstance(p, dict) and p.get("type") for p in parts):
        raise ValueError(f"rule {name}: an expectation without type")
    return Rule(
        name=name,
        description=" ".join(_need(source.description, f"description of rule {name}").split()),
        reason=" ".join(_need(source.businessImpact, f"businessImpact (the reason) of rule {name}").split()),
        severity=source.severity,  # type: ignore[arg-type]  # checked above
        scope=scope,
        dimension=_need(source.dimension, f"dimension of rule {name}"),
        expectations=tuple(Expectation(p["type"], p.get("kwargs") or {}) for p in parts),
    )


def _rules_from_columns(
    columns: tuple[Column, ...], partition: str | None, empty_because: str | None, conserves: bool
) -> Iterator[Rule]:
    yield Rule(
        SCHEMA_RULE,
        "De kolommen en hun typen zijn die van het contract, zonder onleesbare waarden.",
        "Een ontbrekende of andere kolom maakt elke volgende regel betekenisloos.",
        "critical",
        "tabel",
        "conformity",
        (),
    )
    if conserves:
        yield Rule(
            CONSERVATION_RULE,
            "Rijen in = rijen behouden + rijen in quarantaine.",
            "Niets raakt kwijt: iedere ontvangen rij is terug te vinden.",
            "critical",
            "tabel",
            "consistency",
            (),
        )
    key = [c.name for c in columns if c.key]
    if not key:
        raise ValueError("no column has primaryKey: a table needs a key")
    yield Rule(
        "sleutel_is_uniek",
        f"Iedere combinatie van {', '.join(key)} komt één keer voor.",
        "Een dubbele sleutel telt een waarneming twee keer mee in elk cijfer dat volgt.",
        "critical",
        "partitie" if partition else "tabel",
        "uniqueness",
        (Expectation("expect_compound_columns_to_be_unique", {"column_list": key}),)
        if len(key) > 1
        else (Expectation("expect_column_values_to_be_unique", {"column": key[0]}),),
    )
    required = [c.name for c in columns if c.required]
    yield Rule(
        "verplichte_kolommen_gevuld",
        f"Nooit leeg: {', '.join(required)}.",
        "Zonder deze waarden is een rij niet te gebruiken of niet te herleiden.",
        "critical",
        "rij",
        "completeness",
        tuple(Expectation("expect_column_values_to_not_be_null", {"column": c}) for c in required),
    )
    bounds = tuple(e for c in columns for e in _bounds(c))
    if bounds:
        yield Rule(
            "waarden_binnen_bereik",
            "Iedere waarde valt binnen het bereik, de lijst of het patroon van haar kolom.",
            "Een waarde daarbuiten kan niet gemeten zijn en trekt elk gemiddelde scheef.",
            "critical",
            "rij",
            "conformity",
            bounds,
        )
    yield Rule(
        MOST_ROWS_RULE,
        f"Ten hoogste {MOST_ROWS_SHARE:.0%} van de rijen breekt een regel per rij.",
        "Breken veel rijen een regel, dan is de stap fout en niet de rij: alles wacht op een mens.",
        "critical",
        "partitie" if partition else "tabel",
        "completeness",
        (),
    )
    if empty_because is None:
        yield Rule(
            "tabel_is_niet_leeg",
            "De tabel heeft ten minste één rij.",
            "Een lege tabel doorstaat veel regels zonder iets te bewijzen.",
            "critical",
            "tabel",
            "completeness",
            (Expectation("expect_table_row_count_to_be_between", {"min_value": 1}),),
        )


def _rules_of_the_source(name: str | None) -> Iterator[Rule]:
    if name is not None:
        yield Rule(
            SOURCE_RULE,
            f"De bron {name} was te bereiken.",
            "Onbereikbaar zegt niets over de rijen: wat er is blijft staan, een volgende nacht haalt het in.",
            "warning",
            "tabel",
            "timeliness",
            (),
        )


def _bounds(column: Column) -> Iterator[Expectation]:
    if column.minimum is not None or column.maximum is not None:
        limits = {"min_value": column.minimum, "max_value": column.maximum}
        yield Expectation(
            "expect_column_values_to_be_between",
            {"column": column.name, **{k: v for k, v in limits.items() if v is not None}},
        )
    if column.values is not None:
        yield Expectation(
            "expect_column_values_to_be_in_set", {"column": column.name, "value_set": list(column.values)}
        )
    if column.pattern is not None:
        yield Expectation(
            "expect_column_values_to_match_regex", {"column": column.name, "regex": column.pattern}
        )
