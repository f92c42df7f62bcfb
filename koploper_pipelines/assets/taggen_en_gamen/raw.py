"""Raw: the records of dropped exports as they came, with the players replaced by keyed hashes.

Here belong which dropped file is what, the configuration of questions, and what is done on landing. The
layouts are read in `methods/taggen_en_gamen/exports.py`; nothing is judged here: that is the cleaned layer.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from koploper_pipelines.gates.staging import Offered, SchemaMismatch
from koploper_pipelines.gates.table import Step, gated_table
from koploper_pipelines.resources.inbox import (
    DroppedFile,
    FromFile,
    dropped_files,
    has_landed,
    pseudonym,
    rows_landed,
)

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

    from koploper_pipelines.gates.step import Platform

EXPERIMENT = "taggen_en_gamen"
JUDGEMENTS, GOLD, QUESTIONS = (f"{EXPERIMENT}/raw/{t}" for t in ("oordelen", "goud", "vragen"))
UNKNOWN_PLAYER = "onbekend"
GOLD_SUFFIX, QUESTION_SUFFIXES = ".gold.csv", (".yaml", ".yml")
MAX_BYTES = 2_000_000_000


# -- The configuration of questions --------------------------------------------------------------------------


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", coerce_numbers_to_str=True)


class MapKeys(_Strict):
    """Which data of a subject place its picture, a map with north up: keys of `subject_data`."""

    links: str
    """RD x of the left edge, in metres."""
    boven: str
    """RD y of the top edge, in metres."""
    m_per_pixel: str


class QuestionEntry(_Strict):
    """Which task holds which question."""

    taak: str
    vraag: str = Field(min_length=1, max_length=120, pattern=r"^[^\r\n\t]+$")
    soort: Literal["enkel", "meerdere", "vrij", "punt", "richting", "waaier", "negeren"]
    keuzes: list[str] | None = None
    taboe: list[str] | None = None
    versie_vanaf: str | None = Field(None, pattern=r"^\d+(\.\d+)*$")
    versie_tot: str | None = Field(None, pattern=r"^\d+(\.\d+)*$")
    kaart: MapKeys | None = None
    richting_nul_graden: float = Field(90.0, ge=0, lt=360)
    """Compass direction of a mark with rotation 0: to the right."""


class QuestionFile(_Strict):
    """The questions of one group: a workflow, a project, or a plain file by its name."""

    groep: str = Field(min_length=1)
    vragen: list[QuestionEntry] = Field(min_length=1)


def read_questions(content: bytes) -> pd.DataFrame:
    """The configuration as rows; SchemaMismatch names the place and what was expected."""
    import pandas as pd
    import yaml

    try:
        told = QuestionFile.model_validate(yaml.safe_load(content))
    except yaml.YAMLError as error:
        raise SchemaMismatch(f"not YAML: {' '.join(str(error).split())[:300]}") from error
    except ValidationError as error:
        said = (f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors())
        raise SchemaMismatch("no configuration of questions: " + "; ".join(said)) from error
    tasks = [q.taak for q in told.vragen]
    if doubled := sorted({t for t in tasks if tasks.count(t) > 1}):
        raise SchemaMismatch(f"task {doubled[0]!r} has two questions, expected one")
    rows = [
        {
            "groep": told.groep,
            **q.model_dump(include={"taak", "vraag", "soort", "versie_vanaf", "versie_tot"}),
            "keuzes": None if q.keuzes is None else json.dumps(q.keuzes, ensure_ascii=False),
            "taboe": None if q.taboe is None else json.dumps(q.taboe, ensure_ascii=False),
            "kaart_links": q.kaart and q.kaart.links,
            "kaart_boven": q.kaart and q.kaart.boven,
            "kaart_m_per_pixel": q.kaart and q.kaart.m_per_pixel,
            "richting_nul_graden": q.richting_nul_graden,
        }
        for q in told.vragen
    ]
    return pd.DataFrame(rows).assign(rij=range(1, len(rows) + 1))


# -- Landing -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Landing(FromFile):
    """One dropped file, to be landed on its own."""

    file: DroppedFile
    platform: Platform
    table: str
    read: Callable[[bytes, str, bytes], pd.DataFrame]
    """Contents, name of the question and key of the pseudonyms to rows; SchemaMismatch for anything else."""

    def offered(self, con: duckdb.DuckDBPyConnection) -> Offered | None:
        """All rows; None when these contents landed before under this name of a question."""
        import pandas as pd

        question = question_of(self.file.path.name)
        with self.file.unpacked() as path:
            if path.stat().st_size > MAX_BYTES:
                raise SchemaMismatch(f"{self.name}: larger than {MAX_BYTES} bytes, expected a smaller export")
            content = path.read_bytes()
        # The name of a plain file is the question: the same answers under another name are other answers.
        landed_as = hashlib.sha256(f"{question}\n".encode() + content).hexdigest()
        if has_landed(self.platform.lake, self.table, landed_as):
            return None
        try:
            rows = self.read(content, question, self.platform.settings.subkey("speler"))
        except SchemaMismatch as error:
            raise SchemaMismatch(f"{self.name}: {error}") from error
        moment = pd.Timestamp(self.platform.clock.now())
        made = rows.assign(bestand=landed_as, geland_op=moment)
        made["geland_op"] = made["geland_op"].astype("datetime64[us, UTC]")
        contract = self.platform.tables[self.table].contract
        return Offered(
            made[[c.name for c in contract.columns]],
            controls={"rijen_na_landing": rows_landed(self.platform.lake, self.table) + len(rows)},
            file=landed_as,
            notes={"bestand": self.name},
        )


def question_of(file_name: str) -> str:
    """The question that a plain file is about: its name without what tells its kind."""
    name = file_name.removesuffix(".gz")
    for suffix in (GOLD_SUFFIX, ".csv", ".json"):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)].strip()
    return name


@gated_table(JUDGEMENTS, lands=True, kinds=("csv", "delta"))
def oordelen(step: Step) -> Iterator[Landing]:
    """Each export in the inbox; what is no known export is refused here."""
    for file in _waiting(step, lambda name: not _is_gold(name) and not _is_configuration(name)):
        yield Landing(file, step.platform, JUDGEMENTS, _read_export)


@gated_table(GOLD, lands=True, kinds=("csv", "delta"))
def goud(step: Step) -> Iterator[Landing]:
    """Each file with labels of experts in the inbox."""
    for file in _waiting(step, _is_gold):
        yield Landing(file, step.platform, GOLD, _read_gold)


@gated_table(QUESTIONS, lands=True, kinds=("yaml", "delta"))
def vragen(step: Step) -> Iterator[Landing]:
    """Each configuration of questions in the inbox."""
    for file in _waiting(step, _is_configuration):
        yield Landing(file, step.platform, QUESTIONS, lambda content, question, key: read_questions(content))


def _waiting(step: Step, is_mine: Callable[[str], bool]) -> list[DroppedFile]:
    files = dropped_files(step.platform.settings, EXPERIMENT)
    return [f for f in files if is_mine(f.path.name.lower().removesuffix(".gz"))]


def _is_gold(name: str) -> bool:
    return name.endswith(GOLD_SUFFIX)


def _is_configuration(name: str) -> bool:
    return name.endswith(QUESTION_SUFFIXES)


def _read_export(content: bytes, question: str, key: bytes) -> pd.DataFrame:
    from koploper_pipelines.methods.taggen_en_gamen import exports

    try:
        records = exports.read(content, question)
    except exports.UnknownExport as error:
        raise SchemaMismatch(str(error)) from error
    # A name is somebody in the system that gave it: the same name elsewhere may be somebody else.
    named = records["formaat"] + "|" + records["speler"]
    hashed = {n: pseudonym(key, n) for n in named[records["speler"] != ""].unique()}
    records["speler"] = named.map(hashed).fillna(UNKNOWN_PLAYER)
    return records


def _read_gold(content: bytes, question: str, key: bytes) -> pd.DataFrame:
    from koploper_pipelines.methods.taggen_en_gamen import exports

    try:
        return exports.read_gold(content).assign(vraag=question)
    except exports.UnknownExport as error:
        raise SchemaMismatch(str(error)) from error
