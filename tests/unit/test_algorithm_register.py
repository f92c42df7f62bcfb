"""The algorithm register: in the national fields, an entry for each method that sorts people or texts."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
import yaml

from koploper_pipelines.assets.koploperdeals.published.algoritmeregister import entries
from koploper_pipelines.methods.koploperdeals import algoritmeregister as register

SORTING = {
    "slimme_participatie/groups": "opinion_groups",
    "slimme_participatie/themes": "corrected_shares",
    "taggen_en_gamen/consensus": "dawid_skene",
}
"""Methods that sort people or what they wrote, with a function of each that must exist."""


def told() -> dict[str, dict[str, Any]]:
    read = [yaml.safe_load(p.read_text(encoding="utf-8")) for p in entries()]
    return {e["bron_id"]: e for e in read}


def test_every_method_that_sorts_has_an_entry_in_form() -> None:
    assert set(told()) == set(SORTING)
    for bron, function in SORTING.items():
        module = importlib.import_module(f"koploper_pipelines.methods.{bron.replace('/', '.')}")
        assert hasattr(module, function)
        made = register.entry(told()[bron])
        assert set(made) == set(register.FIELDS)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("naam", None, "naam: ontbreekt"),
        ("risicobeheer", "", "risicobeheer: ontbreekt"),
        ("status", "Gepland", "status: is 'Gepland'"),
        ("korte_omschrijving", "x" * 350, "heeft 350 tekens, ten hoogste 349"),
        ("afwegingen", "een\ntwee", "afwegingen: bevat een regeleinde"),
        ("link_broncode", "http://voorbeeld.nl", "link_broncode: verwacht een adres"),
        ("kleur", "rood", "kleur: onbekend veld"),
    ],
)
def test_what_deviates_from_the_standard_is_told(field: str, value: str | None, said: str) -> None:
    entry = {**told()["slimme_participatie/groups"], field: value}
    if value is None:
        del entry[field]
    with pytest.raises(ValueError, match=said.split(":")[0]) as caught:
        register.entry(entry)
    assert said in str(caught.value)
