"""What every contract must say, and that one which does not say it is found out.

Each demand is a function that lists what is wrong with a contract. All of them hold for the contracts that
ship; each finds what it is for in a sound contract that was broken on purpose.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

import dagster as dg
import pytest
import yaml
from jsonschema import Draft201909Validator  # type: ignore[import-untyped, unused-ignore]
from open_data_contract_standard.model import OpenDataContractStandard
from pydantic import BaseModel

from koploper_pipelines.contracts import Contract, contract_paths, load_contract
from koploper_pipelines.contracts.model import (
    CONSERVATION_RULE,
    CONTRACTS_FOLDER,
    LAYERS,
    ContractError,
    parse_contract,
)
from koploper_pipelines.gates.measures import needs_controls

Document = dict[str, Any]
Demand = Callable[[Contract, Document], list[str]]

# The package's own function to read it is deprecated.
SCHEMA: Document = json.loads(files("open_data_contract_standard").joinpath("schema.json").read_text("utf-8"))
DIMENSIONS = SCHEMA["$defs"]["DataQuality"]["properties"]["dimension"]["enum"]
MOST_RULES = 12
"""More named checks than this on one table are not read any more, and each costs 20 to 40 ms a run."""
OF_THE_PLATFORM = {
    "document": {"magLeegZijn", "rijbehoud", "redenen", "bron", "evaluatie"},
    "column": {"eenheid", "zonderGrenzen", "soort", "decimalen", "stempel"},
    "rule": {"reikwijdte"},
}
"""Custom properties that the platform acts on: a misspelt one would silently do nothing."""
KINDS_OF_FIGURE = {"persoonscijfer", "procestelling"}
STATUSES = (
    "definitief", "voorlopig", "onderdrukt", "onvoldoende_betrouwbaar", "geen_referentie", "benadering",
    "niet_beschikbaar", "niet_van_toepassing",
)  # fmt: skip
SUFFIX_OF_UNIT = {
    "µg/m³": "_ug_m3", "%": "_pct", "km": "_km", "m": "_m", "uur": "_uur", "min": "_min",
    "minuten": "_minuten", "s": "_s", "km/u": "_km_h", "°C": "_c", "hPa": "_hpa", "°": "_graden",
    "EUR": "_eur",
}  # fmt: skip
WORDS_OF_MACHINES = {
    "expect", "column", "columns", "values", "value", "table", "row", "count", "unique", "null", "between",
    "regex", "string", "integer", "int", "number", "float", "double", "boolean", "bool", "date", "timestamp",
    "varchar", "bigint", "check", "rule", "test", "assert",
}  # fmt: skip


# -- The demands -----------------------------------------------------------------------------------------


def follows_the_standard(contract: Contract, document: Document) -> list[str]:
    """The JSON schema of the Open Data Contract Standard, as its own package ships it."""
    return [f"{e.json_path}: {e.message}" for e in Draft201909Validator(SCHEMA).iter_errors(document)]


def has_no_misspelt_key(contract: Contract, document: Document) -> list[str]:
    """Keys that neither the standard's models nor the platform would act on, and so would be ignored."""
    return [*_unknown_keys(document, OpenDataContractStandard, "$"), *_unknown_of_the_platform(document)]


def _unknown_keys(said: Any, kind: Any, place: str) -> Iterator[str]:
    models = [m for m in _models(kind) if isinstance(said, dict)]
    if isinstance(said, list):
        for number, item in enumerate(said):
            yield from _unknown_keys(item, kind, f"{place}[{number}]")
    elif models:
        fields = {f.alias or n: f.annotation for m in models for n, f in m.model_fields.items()}
        for key, value in said.items():
            if key in fields:
                yield from _unknown_keys(value, fields[key], f"{place}.{key}")
            else:
                yield f"{place}: nothing is done with {key!r}"


def _models(kind: Any) -> list[type[BaseModel]]:
    """The models that an annotation allows, whether alone, optional or in a list."""
    if get_origin(kind) in (Union, UnionType, list):
        return [m for a in get_args(kind) for m in _models(a)]
    return [kind] if isinstance(kind, type) and issubclass(kind, BaseModel) else []


def _unknown_of_the_platform(document: Document) -> Iterator[str]:
    yield from _unknown_custom("document", document, "document")
    for column in _columns(document):
        yield from _unknown_custom("column", column, f"column {column.get('name')}")
        kind = _custom(column).get("soort")
        if kind is not None and kind not in KINDS_OF_FIGURE:
            yield f"column {column['name']}: soort {kind!r}"
    for rule in _rules(document):
        yield from _unknown_custom("rule", rule, f"rule {rule.get('name')}")
        implementation = rule.get("implementation") or {}
        if set(implementation) not in ({"type", "kwargs"}, {"type"}, {"expectations"}):
            yield f"rule {rule.get('name')}: implementation of {sorted(implementation)}"


def _unknown_custom(level: str, said: Mapping[str, Any], place: str) -> Iterator[str]:
    for name in sorted(set(_custom(said)) - OF_THE_PLATFORM[level]):
        yield f"{place}: nothing is done with custom property {name!r}"


def _custom(said: Mapping[str, Any]) -> dict[str, Any]:
    return {p["property"]: p["value"] for p in said.get("customProperties") or []}


def _columns(document: Document) -> list[Document]:
    return [c for t in document["schema"] for c in t["properties"]]


def _rules(document: Document) -> list[Document]:
    return [q for t in document["schema"] for q in t.get("quality") or []]


def stands_in_its_layer(contract: Contract, document: Document) -> list[str]:
    """A layer that exists, the folder's own experiment as domain and the file's own name as table."""
    said = (contract.layer in LAYERS, document.get("domain"), document["schema"][0]["name"])
    expected = (True, contract.experiment, contract.table)
    return [] if said == expected else [f"(layer exists, domain, table) is {said}, expected {expected}"]


def has_a_key_that_is_never_empty(contract: Contract, document: Document) -> list[str]:
    faults = [] if contract.key else ["no key"]
    return faults + [f"key column {c} may be empty" for c in contract.key if not contract.column(c).required]


def bounds_every_column(contract: Contract, document: Document) -> list[str]:
    """A range, set or pattern that allows something but not anything, or a reason in a few words."""
    faults = []
    for column in contract.columns:
        if not column.is_bounded and len((column.unbounded_because or "").split()) < 3:
            faults.append(f"column {column.name}: no bound and no reason that one can read")
        if column.is_bounded and column.unbounded_because:
            faults.append(f"column {column.name}: a bound, and a reason why there is none")
        if column.pattern is not None and not re.fullmatch(r"\^.+\$", column.pattern):
            faults.append(f"column {column.name}: pattern {column.pattern!r} lets any text around it through")
        if column.minimum is not None and column.maximum is not None and column.minimum > column.maximum:
            faults.append(f"column {column.name}: nothing lies between {column.minimum} and {column.maximum}")
    return faults


def counts_its_rows_or_says_why_it_may_be_empty(contract: Contract, document: Document) -> list[str]:
    if contract.empty_because is not None:
        has_reason = len(contract.empty_because.split()) >= 3
        return [] if has_reason else [f"magLeegZijn is no reason: {contract.empty_because!r}"]
    counted = [
        r
        for r in contract.rules
        if r.is_blocking
        for e in r.expectations
        if e.type == "expect_table_row_count_to_be_between" and e.kwargs.get("min_value")
    ]
    return [] if counted else ["it may not be empty and no rule counts its rows"]


def agrees_with_its_inputs(contract: Contract, document: Document) -> list[str]:
    """A critical rule on a number of rows or a sum, against a total that was counted in the inputs."""
    for rule in contract.rules:
        if not rule.is_blocking or rule.dimension not in ("consistency", "completeness"):
            continue
        against_a_total = needs_controls(rule) and all(
            e.type in ("expect_table_row_count_to_be_between", "expect_column_sum_to_be_between")
            for e in rule.expectations
        )
        if rule.name == CONSERVATION_RULE or against_a_total:
            return []
    return ["no rule compares it with its inputs"]


def has_few_rules(contract: Contract, document: Document) -> list[str]:
    number = len(contract.rules)
    return [] if number <= MOST_RULES else [f"{number} rules, at most {MOST_RULES} are read"]


def names_rules_in_words(contract: Contract, document: Document) -> list[str]:
    """Two or more words in lower snake case, and none of them a machine's."""
    faults = []
    for rule in contract.rules:
        words = rule.name.split("_")
        if len(words) < 2 or not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)+", rule.name):
            faults.append(f"rule {rule.name}: expected words in lower snake case")
        if foreign := sorted(WORDS_OF_MACHINES & set(words)):
            faults.append(f"rule {rule.name}: {foreign} tells how it works, not what holds")
    names = [r.name for r in contract.rules]
    return faults + [f"rule {n}: twice" for n in sorted({n for n in names if names.count(n) > 1})]


def uses_dimensions_of_the_standard(contract: Contract, document: Document) -> list[str]:
    return [
        f"rule {r.name}: dimension {r.dimension!r}" for r in contract.rules if r.dimension not in DIMENSIONS
    ]


def judges_columns_that_exist(contract: Contract, document: Document) -> list[str]:
    names = {c.name for c in contract.columns}
    faults = []
    for rule in contract.rules:
        for expectation in rule.expectations:
            named = [expectation.kwargs.get(k) for k in ("column", "column_A", "column_B")]
            named += expectation.kwargs.get("column_list") or []
            faults += [
                f"rule {rule.name}: no column {c!r}" for c in named if c is not None and c not in names
            ]
    return faults


def has_an_owner_that_dagster_takes(contract: Contract, document: Document) -> list[str]:
    try:
        dg.AssetSpec("iets", owners=[contract.owner])
    except dg.DagsterInvalidDefinitionError as error:
        return [f"owner {contract.owner!r}: {error}"]
    return []


def has_a_name_in_sql(contract: Contract, document: Document) -> list[str]:
    names = [contract.sql_name, *(c.name for c in contract.columns)]
    return [f"name {n!r}" for n in names if not re.fullmatch(r"_?[a-z][a-z0-9]*(_[a-z0-9]+)*", n)]


def has_a_status_beside_figures_about_people(contract: Contract, document: Document) -> list[str]:
    """Each figure that may be absent has its own status, or shares that of the table's first such figure."""
    figures = [c for c in contract.columns if c.figure_about_people]
    faults = [f"column {c.name}: suppressed it would break its own contract" for c in figures if c.required]
    names = {c.name for c in contract.columns}
    if figures and f"{figures[0].name}_status" not in names:
        faults.append(f"column {figures[0].name}: absent, nothing would say why")
    for column in contract.columns:
        if contract.layer != "published" or not column.name.endswith("_status"):
            continue
        if column.name.removesuffix("_status") not in names:
            faults.append(f"column {column.name}: the status of nothing")
        if column.values != STATUSES or not column.required:
            faults.append(f"column {column.name}: expected one of {', '.join(STATUSES)}, never empty")
    return faults


def exposes_nobody(contract: Contract, document: Document) -> list[str]:
    if contract.layer != "published":
        return []
    return [f"column {c.name}: {c.privacy}" for c in contract.columns if c.privacy != "geen"]


def has_the_unit_in_the_name(contract: Contract, document: Document) -> list[str]:
    """In published tables: of what has a unit, the name says so; and no name speaks of a unit alone."""
    if contract.layer != "published":
        return []
    faults = []
    for column in contract.columns:
        suffix = SUFFIX_OF_UNIT.get(column.unit or "")
        if column.unit is not None and (suffix is None or not column.name.endswith(suffix)):
            faults.append(f"column {column.name}: unit {column.unit!r}, expected its name to end in {suffix}")
        named = [s for s in SUFFIX_OF_UNIT.values() if column.name.endswith(s)]
        if named and column.unit is None and column.type in ("number", "integer"):
            faults.append(f"column {column.name}: no unit (eenheid), but a name that ends in {named[0]}")
    return faults


DEMANDS: tuple[Demand, ...] = (
    follows_the_standard,
    has_no_misspelt_key,
    stands_in_its_layer,
    has_a_key_that_is_never_empty,
    bounds_every_column,
    counts_its_rows_or_says_why_it_may_be_empty,
    agrees_with_its_inputs,
    has_few_rules,
    names_rules_in_words,
    uses_dimensions_of_the_standard,
    judges_columns_that_exist,
    has_an_owner_that_dagster_takes,
    has_a_name_in_sql,
    has_a_status_beside_figures_about_people,
    exposes_nobody,
    has_the_unit_in_the_name,
)


# -- The contracts that ship -----------------------------------------------------------------------------


@cache
def document_of(path: str) -> Document:
    document: Document = yaml.safe_load((CONTRACTS_FOLDER / f"{path}.yaml").read_text(encoding="utf-8"))
    return document


@pytest.mark.parametrize("demand", DEMANDS, ids=lambda d: d.__name__)
@pytest.mark.parametrize("path", list(contract_paths()))
def test_contract_meets(path: str, demand: Demand) -> None:
    assert demand(load_contract(path), document_of(path)) == []


def test_tables_have_names_of_their_own_in_sql() -> None:
    names = [load_contract(p).sql_name for p in contract_paths()]
    assert sorted(names) == sorted(set(names))


# -- A sound contract, broken on purpose -----------------------------------------------------------------

PATH = "proef/published/fietsen"
SOUND = """
apiVersion: v3.1.0
kind: DataContract
id: proef/published/fietsen
name: Fietsen per maand
version: 1.0.0
status: active
domain: proef
description: {purpose: Speelgoed}
team: {name: team:proef}
customProperties:
  - {property: magLeegZijn, value: nooit}
schema:
  - name: fietsen
    physicalName: proef_fietsen
    description: Een rij per maand.
    properties:
      - name: maand
        logicalType: string
        description: Maand
        required: true
        primaryKey: true
        classification: geen
        logicalTypeOptions: {pattern: '^[0-9]{4}-[0-9]{2}$'}
      - name: afstand_km
        logicalType: number
        description: Afstand
        classification: geen
        logicalTypeOptions: {minimum: 0, maximum: 100}
        customProperties:
          - {property: eenheid, value: km}
          - {property: soort, value: persoonscijfer}
      - name: afstand_km_status
        logicalType: string
        description: Status van afstand_km
        required: true
        classification: geen
        enum: [{value: definitief}, {value: voorlopig}, {value: onderdrukt}, {value: onvoldoende_betrouwbaar},
          {value: geen_referentie}, {value: benadering}, {value: niet_beschikbaar},
          {value: niet_van_toepassing}]
      - name: toelichting
        logicalType: string
        description: Vrije tekst
        classification: geen
        customProperties:
          - {property: zonderGrenzen, value: vrije tekst van de maker}
    quality:
      - name: alle_maanden_geteld
        description: Iedere maand heeft een rij.
        businessImpact: Een maand die ontbreekt lijkt niet te bestaan.
        type: custom
        engine: greatExpectations
        dimension: completeness
        severity: critical
        implementation:
          type: expect_table_row_count_to_be_between
          kwargs: {min_value: {$PARAMETER: maanden}, max_value: {$PARAMETER: maanden}}
        customProperties:
          - {property: reikwijdte, value: tabel}
"""
PROPERTIES, QUALITY = ("schema", 0, "properties"), ("schema", 0, "quality")
KEY, DISTANCE, STATUS, NOTE = ((*PROPERTIES, i) for i in range(4))
RULE = (*QUALITY, 0)
GONE = object()
Edit = tuple[tuple[Any, ...], Any]


def broken(*edits: Edit) -> Document:
    """The sound contract with values put (or, with GONE, taken out) at some places."""
    document: Document = yaml.safe_load(SOUND)
    for (*way, last), value in edits:
        place: Any = document
        for step in way:
            place = place[step]
        if value is GONE:
            del place[last]
        elif isinstance(place, list) and last == len(place):
            place.append(value)
        else:
            place[last] = value
    return document


def text(document: Document) -> str:
    return yaml.safe_dump(document, allow_unicode=True, sort_keys=False)


def custom(name: str, value: Any) -> list[Document]:
    return [{"property": name, "value": value}]


def rules(names: Sequence[str], **changes: Any) -> list[Document]:
    (rule,) = yaml.safe_load(SOUND)["schema"][0]["quality"]
    return [{**copy.deepcopy(rule), "name": name, **changes} for name in names]


def judging(kind: str, **kwargs: Any) -> Edit:
    return ((*RULE, "implementation"), {"type": kind, "kwargs": kwargs})


FOUND_BY_A_DEMAND: list[tuple[Demand, str, list[Edit]]] = [
    (follows_the_standard, "primairKey", [((*KEY, "primairKey"), True)]),
    (follows_the_standard, "'mooi'", [((*RULE, "dimension"), "mooi")]),
    (follows_the_standard, "$.apiVersion: 'v9.0.0'", [(("apiVersion",), "v9.0.0")]),
    (has_no_misspelt_key, "$.description: nothing is done with 'purpos'", [(("description", "purpos"), "x")]),
    (has_no_misspelt_key, "$.schema[0].properties[0]: nothing is done", [((*KEY, "requird"), True)]),
    (has_no_misspelt_key, "column toelichting: nothing is done with custom property 'zonderGrens'",
     [((*NOTE, "customProperties", 1), {"property": "zonderGrens", "value": "x"})]),
    (has_no_misspelt_key, "column afstand_km: soort 'persoonsgetal'",
     [((*DISTANCE, "customProperties"), custom("soort", "persoonsgetal"))]),
    (has_no_misspelt_key, "document: nothing is done with custom property 'rijbehout'",
     [(("customProperties", 1), {"property": "rijbehout", "value": True})]),
    (has_no_misspelt_key, "rule alle_maanden_geteld: implementation of ['kwarg', 'type']",
     [((*RULE, "implementation"), {"type": "expect_table_row_count_to_be_between", "kwarg": {}})]),
    (stands_in_its_layer, "'ander'", [(("domain",), "ander")]),
    (has_a_key_that_is_never_empty, "maand may be empty", [((*KEY, "required"), False)]),
    (bounds_every_column, "column toelichting: no bound and no reason",
     [((*NOTE, "customProperties"), custom("zonderGrenzen", "nvt"))]),
    (bounds_every_column, "column maand: pattern", [((*KEY, "logicalTypeOptions", "pattern"), "[0-9]{4}")]),
    (bounds_every_column, "nothing lies between 200", [((*DISTANCE, "logicalTypeOptions", "minimum"), 200)]),
    (bounds_every_column, "column toelichting: a bound, and",
     [((*NOTE, "logicalTypeOptions"), {"pattern": "^a$"})]),
    (counts_its_rows_or_says_why_it_may_be_empty, "no reason: 'ja'",
     [(("customProperties",), custom("magLeegZijn", "ja"))]),
    (agrees_with_its_inputs, "no rule compares", [(QUALITY, [])]),
    (agrees_with_its_inputs, "no rule compares", [((*RULE, "severity"), "warning")]),
    (agrees_with_its_inputs, "no rule compares",
     [judging("expect_table_row_count_to_be_between", min_value=1)]),
    (has_few_rules, "13 rules", [(QUALITY, rules([f"regel_{i}" for i in range(7)]))]),
    (names_rules_in_words, "expected words", [((*RULE, "name"), "Alle maanden")]),
    (names_rules_in_words, "expected words", [((*RULE, "name"), "geteld")]),
    (names_rules_in_words, "'string'", [((*RULE, "name"), "maand_is_string")]),
    (uses_dimensions_of_the_standard, "dimension 'mooi'", [((*RULE, "dimension"), "mooi")]),
    (judges_columns_that_exist, "no column 'afstand'",
     [judging("expect_column_sum_to_be_between", column="afstand", min_value=0)]),
    (judges_columns_that_exist, "no column 'start'",
     [judging("expect_column_pair_values_a_to_be_greater_than_b", column_A="afstand_km", column_B="start")]),
    (has_an_owner_that_dagster_takes, "owner 'de provincie'", [(("team", "name"), "de provincie")]),
    (has_a_name_in_sql, "name 'Afstand km'", [((*DISTANCE, "name"), "Afstand km")]),
    (has_a_status_beside_figures_about_people, "column afstand_km: absent, nothing would say why",
     [(STATUS, GONE)]),
    (has_a_status_beside_figures_about_people, "column afstand_km: suppressed",
     [((*DISTANCE, "required"), True)]),
    (has_a_status_beside_figures_about_people, "column reis_status: the status of nothing",
     [((*STATUS, "name"), "reis_status")]),
    (has_a_status_beside_figures_about_people, "column afstand_km_status: expected one of",
     [((*STATUS, "enum"), [{"value": "goed"}])]),
    (exposes_nobody, "column toelichting: indirect", [((*NOTE, "classification"), "indirect")]),
    (exposes_nobody, "column maand: direct", [((*KEY, "classification"), "direct")]),
    (has_the_unit_in_the_name, "column afstand_km: unit 'm'",
     [((*DISTANCE, "customProperties"), custom("eenheid", "m"))]),
    (has_the_unit_in_the_name, "unit 'zeemijl'",
     [((*DISTANCE, "customProperties"), custom("eenheid", "zeemijl"))]),
    (has_the_unit_in_the_name, "column afstand_km: no unit", [((*DISTANCE, "customProperties"), [])]),
]  # fmt: skip


@pytest.mark.parametrize("demand", DEMANDS, ids=lambda d: d.__name__)
def test_sound_contract_meets(demand: Demand) -> None:
    assert demand(parse_contract(PATH, SOUND), yaml.safe_load(SOUND)) == []


@pytest.mark.parametrize(
    ("demand", "said", "edits"), FOUND_BY_A_DEMAND, ids=[f"{d.__name__}-{s}" for d, s, _ in FOUND_BY_A_DEMAND]
)
def test_broken_contract_is_found_out(demand: Demand, said: str, edits: list[Edit]) -> None:
    document = broken(*edits)
    faults = demand(parse_contract(PATH, text(document)), document)
    assert any(said in f for f in faults), faults


def test_every_demand_is_shown_to_find_something() -> None:
    assert {d for d, _, _ in FOUND_BY_A_DEMAND} == set(DEMANDS)


REFUSED: list[tuple[str, list[Edit]]] = [
    ("schema has 0 tables, expected one", [(("schema",), [])]),
    ("version is missing", [(("version",), GONE)]),
    ("name is missing", [(("name",), GONE)]),
    ("team name is missing", [(("team",), GONE)]),
    ("schema physicalName is missing", [(("schema", 0, "physicalName"), GONE)]),
    ("schema description is missing", [(("schema", 0, "description"), GONE)]),
    ("customProperties lacks magLeegZijn", [(("customProperties",), [])]),
    ("no column has primaryKey", [((*KEY, "primaryKey"), False)]),
    ("partitioned by ['maand', 'toelichting'], expected at most one column",
     [((*KEY, "partitioned"), True), ((*NOTE, "partitioned"), True)]),
    ("name of a column is missing", [((*DISTANCE, "name"), GONE)]),
    ("description of column afstand_km is missing", [((*DISTANCE, "description"), GONE)]),
    ("column afstand_km: logicalType 'decimal'", [((*DISTANCE, "logicalType"), "decimal")]),
    ("column afstand_km: classification None", [((*DISTANCE, "classification"), GONE)]),
    ("column afstand_km: classification 'openbaar'", [((*DISTANCE, "classification"), "openbaar")]),
    ("column afstand_km: logicalTypeOptions ['min'] are not acted on",
     [((*DISTANCE, "logicalTypeOptions"), {"min": 0})]),
    ("column afstand_km: no range, set or pattern, and no reason",
     [((*DISTANCE, "logicalTypeOptions"), {})]),
    ("column toelichting: no range, set or pattern, and no reason", [((*NOTE, "customProperties"), [])]),
    ("rules of the same name: ['sleutel_is_uniek']", [((*RULE, "name"), "sleutel_is_uniek")]),
    ("rules of the same name: ['een_regel']", [(QUALITY, rules(["een_regel", "een_regel"]))]),
    ("name of a quality rule is missing", [((*RULE, "name"), GONE)]),
    ("description of rule alle_maanden_geteld is missing", [((*RULE, "description"), GONE)]),
    ("businessImpact (the reason) of rule alle_maanden_geteld is missing",
     [((*RULE, "businessImpact"), GONE)]),
    ("dimension of rule alle_maanden_geteld is missing", [((*RULE, "dimension"), GONE)]),
    ("rule alle_maanden_geteld: reikwijdte 'dag'",
     [((*RULE, "customProperties"), custom("reikwijdte", "dag"))]),
    ("rule alle_maanden_geteld: severity 'error'", [((*RULE, "severity"), "error")]),
    ("rule alle_maanden_geteld: expected engine greatExpectations", [((*RULE, "engine"), "soda")]),
    ("rule alle_maanden_geteld: expected engine greatExpectations",
     [((*RULE, "implementation"), "SELECT 1")]),
    ("customProperties evaluatie: expected a mapping with doel, beoogd, bereikt, status, bron, waar",
     [(("customProperties", 1), {"property": "evaluatie", "value": {"doel": "maat"}})]),
    ("id is 'proef/published/wandelen', expected the file's own place 'proef/published/fietsen'",
     [(("id",), "proef/published/wandelen")]),
    ("Extra inputs are not permitted", [(("vershion",), "1.0.0")]),
]  # fmt: skip


@pytest.mark.parametrize(("said", "edits"), REFUSED, ids=[s for s, _ in REFUSED])
def test_contract_that_cannot_be_acted_on_is_refused_with_file_and_place(
    said: str, edits: list[Edit], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        parse_contract(PATH, text(broken(*edits)))
    file = tmp_path / f"{PATH}.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(text(broken(*edits)), encoding="utf-8")
    with pytest.raises(ContractError, match=re.escape(f"contracts/{PATH}.yaml: ")) as error:
        load_contract(PATH, tmp_path)
    assert said in str(error.value)


def test_contract_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=r"expected the file contracts/proef/raw/niets\.yaml"):
        load_contract("proef/raw/niets", tmp_path)


# -- What the platform derives ---------------------------------------------------------------------------


def test_fingerprint_of_the_rules_changes_with_what_they_do_and_not_with_how_they_read() -> None:
    before = parse_contract(PATH, SOUND).rules_hash

    def after(*edits: Edit) -> str:
        return parse_contract(PATH, text(broken(*edits))).rules_hash

    assert after() == before
    assert after(((*RULE, "description"), "Anders gezegd."), ((*DISTANCE, "description"), "Anders")) == before
    for edit in (
        ((*DISTANCE, "logicalTypeOptions", "maximum"), 99),
        ((*DISTANCE, "required"), True),
        ((*RULE, "severity"), "warning"),
        ((*RULE, "customProperties"), custom("reikwijdte", "partitie")),
        (("customProperties",), custom("magLeegZijn", "zolang er niets is gemeten")),
    ):
        assert after(edit) != before, edit
