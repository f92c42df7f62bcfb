"""Answers: what a record says, task by task, and to which question that is an answer.

Belongs here: the notation of answers and metadata, and the questions (as configured, or told from the answers
when nobody configured them). Does not belong here: the layout of files (``exports``) and which answers count
(``cleaning``).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from koploper_pipelines.methods.taggen_en_gamen.exports import PLAIN

SINGLE, MULTIPLE, FREE, POINT, DIRECTION, FAN, IGNORED = (
    "enkel", "meerdere", "vrij", "punt", "richting", "waaier", "negeren",
)  # fmt: skip
KINDS = (SINGLE, MULTIPLE, FREE, POINT, DIRECTION, FAN, IGNORED)
LABELLED = (SINGLE, MULTIPLE, FREE)
PLACED = (POINT, FAN)
DIRECTED = (DIRECTION, FAN)

QUESTION_COLUMNS = (
    "groep", "taak", "vraag", "soort", "keuzes", "taboe", "versie_vanaf", "versie_tot",
    "kaart_links", "kaart_boven", "kaart_m_per_pixel", "richting_nul_graden",
)  # fmt: skip
# Shapes of a value.
_TEXT, _LIST, _MARK, _EMPTY, _OTHER = "tekst", "lijst", "merk", "leeg", "anders"
_FITS = {
    SINGLE: {_TEXT, _LIST},
    MULTIPLE: {_TEXT, _LIST},
    FREE: {_TEXT, _LIST},
    POINT: {_MARK},
    FAN: {_MARK},
    DIRECTION: {_TEXT, _MARK},
}
_TAGS_APART = re.compile(r"[,;\n]+")
_NOT_A_WORD = re.compile(r"[^\w\s'-]+")


def unpack(records: pd.DataFrame) -> pd.DataFrame:
    """One row an answer: a task of a record, or a mark of a drawing task.

    A record of which nothing can be unpacked is one row, with ``reden`` telling why.

    Args:
        records: columns of ``exports.COLUMNS``, unique index.

    Returns:
        ``record`` (label in the index of ``records``), ``taak``, ``nummer`` (of the mark, from 1), ``vorm``,
        ``tekst`` (as it was given), ``waarden`` (JSON list of the labels given), ``x``, ``y`` (pixels),
        ``hoek`` (degrees, as given) and ``reden`` (None, or why there is no answer).
    """
    is_readable = records["leesfout"].isna()
    plain = is_readable & (records["formaat"] == PLAIN)
    rows: list[tuple[Any, ...]] = []
    nested = records[~plain]
    for label, text, problem in zip(nested.index, nested["antwoorden"], nested["leesfout"], strict=True):
        if isinstance(problem, str):
            rows.append((label, "", 1, _OTHER, None, None, None, None, None, "regel_onleesbaar"))
            continue
        try:
            tasks = list(_tasks(json.loads(text)))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            rows.append((label, "", 1, _OTHER, None, None, None, None, None, "antwoorden_onleesbaar"))
            continue
        if not tasks:
            rows.append((label, "", 1, _EMPTY, None, None, None, None, None, "geen_taken"))
        for task, value in tasks:
            rows += [(label, task, *answer, None) for answer in _values(value)]
    columns = ["record", "taak", "nummer", "vorm", "tekst", "waarden", "x", "y", "hoek", "reden"]
    unpacked = pd.DataFrame(rows, columns=columns)
    label = records.loc[plain, "antwoorden"]
    whole = pd.DataFrame(
        {
            "record": label.index,
            "taak": "",
            "nummer": 1,
            "vorm": np.where(label == "", _EMPTY, _TEXT),
            "tekst": label.to_numpy(),
            "waarden": None,
            "x": np.nan,
            "y": np.nan,
            "hoek": np.nan,
            "reden": None,
        }
    )
    both = [f for f in (unpacked, whole) if len(f)]
    made = pd.concat(both, ignore_index=True) if both else unpacked
    return made.astype({"x": "float64", "y": "float64", "hoek": "float64", "nummer": "int64"})


def read_metadata(records: pd.DataFrame) -> pd.DataFrame:
    """What the metadata tell of each record, on the index of ``records``.

    Returns:
        ``begonnen``, ``beeindigd`` (text), ``duur_bekend_s`` (where the source gives a duration itself),
        ``breedte``, ``hoogte`` (pixels of the picture; missing when unknown), ``is_geannuleerd``,
        ``is_training`` and ``is_metadata_leesbaar``.
    """
    rows = [_metadata(text) for text in records["metadata"]]
    columns = ["begonnen", "beeindigd", "duur_bekend_s", "breedte", "hoogte"]
    columns += ["is_geannuleerd", "is_training", "is_metadata_leesbaar"]
    made = pd.DataFrame(rows, columns=columns, index=records.index)
    numbers = dict.fromkeys(("duur_bekend_s", "breedte", "hoogte"), "float64")
    flags = dict.fromkeys(("is_geannuleerd", "is_training", "is_metadata_leesbaar"), "bool")
    return made.astype(numbers | flags)


def with_questions(answers: pd.DataFrame, records: pd.DataFrame, configured: pd.DataFrame) -> pd.DataFrame:
    """Add to each answer its question and that question's settings.

    Args:
        answers: of ``unpack``.
        records: the records they came from, in the order of landing.
        configured: ``QUESTION_COLUMNS``, a row a task. A group (workflow, project, plain file) that is named
            here has these questions and no others; any other group has a question a task, of the kind that
            its answers have.

    Returns:
        The answers with ``groep`` and ``QUESTION_COLUMNS``; ``reden`` is filled where no question is meant.
    """
    about = records[["groep", "bron_id"]].reindex(answers["record"])
    made = answers.assign(groep=about["groep"].to_numpy())
    groups = set(configured["groep"])
    # Of a record that was exported more than once one copy tells the kind.
    copies = made.assign(bron_id=about["bron_id"].to_numpy()).duplicated(
        ["groep", "bron_id", "taak", "nummer"], keep="last"
    ) & (made["taak"] != "")
    inferred = _inferred(made[~made["groep"].isin(groups) & made["reden"].isna() & ~copies])
    known = pd.concat([configured, inferred], ignore_index=True) if len(inferred) else configured
    made = made.merge(known[list(QUESTION_COLUMNS)], how="left", on=["groep", "taak"])
    unknown = made["reden"].isna() & made["vraag"].isna()
    fits = pd.Series(False, index=made.index)
    for kind, shapes in _FITS.items():
        fits |= (made["soort"] == kind) & made["vorm"].isin({*shapes, _EMPTY})
    reason = made["reden"].astype(object)
    reason = reason.mask(unknown, "taak_onbekend")
    reason = reason.mask(reason.isna() & (made["soort"] == IGNORED), "taak_genegeerd")
    reason = reason.mask(reason.isna() & ~fits, "antwoord_verkeerde_vorm")
    return made.assign(reden=reason)


def labels_of(answers: pd.DataFrame) -> pd.DataFrame:
    """Fill ``label`` (single) and ``labels`` (JSON list, for several or typed) of answers with a question.

    Labels of a list keep their spelling; typed tags are normalised (``normal_tag``), the original stays in
    ``tekst``. A single choice given as a list of one is that one; a list of more has the wrong shape.
    """
    made = answers.assign(label=None, labels=None)
    live = made["reden"].isna() & (made["vorm"] != _EMPTY)
    single = live & (made["soort"] == SINGLE)
    lists = made.loc[single & (made["vorm"] == _LIST), "waarden"].map(json.loads)
    label = made.loc[single, "tekst"].astype(object)
    label.loc[lists.index] = [v[0] if len(v) == 1 else None for v in lists]
    made["label"] = made["label"].astype(object)
    made.loc[single, "label"] = label.map(_tidy)
    too_many = lists.index[[len(v) > 1 for v in lists]]
    made.loc[too_many, "reden"] = "antwoord_verkeerde_vorm"
    several = live & (made["soort"] == MULTIPLE)
    made["labels"] = made["labels"].astype(object)
    made.loc[several, "labels"] = [
        _as_json(sorted(set(map(_tidy, _given(w, t)))))
        for w, t in zip(made.loc[several, "waarden"], made.loc[several, "tekst"], strict=True)
    ]
    free = live & (made["soort"] == FREE)
    made.loc[free, "labels"] = [
        _as_json(sorted({n for part in _typed(w, t) if (n := normal_tag(part))}))
        for w, t in zip(made.loc[free, "waarden"], made.loc[free, "tekst"], strict=True)
    ]
    return _only_known_choices(made)


def normal_tag(tag: str) -> str:
    """A typed tag in its dictionary form: without capitals, signs and plural (Dutch).

    By ``simplemma``, word by word. A form that belongs to two words becomes one of them (*sloten* may be
    ditches or locks), which is why the original is kept.
    """
    import simplemma

    words = _NOT_A_WORD.sub(" ", tag.strip().lower()).split()
    return " ".join(simplemma.lemmatize(w, lang="nl").lower() for w in words)


def version(text: str | None) -> tuple[int, ...] | None:
    """A version such as ``16.55`` as numbers; None when it is none."""
    parts = str(text or "").split(".")
    return tuple(map(int, parts)) if all(p.isascii() and p.isdigit() for p in parts) else None


def number(value: Any) -> float:
    """A value as a finite number; NaN for anything else, also for text that looks like one."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) else math.nan


# -- Values ------------------------------------------------------------------------------------------------


def _tasks(annotations: Any) -> Iterator[tuple[str, Any]]:
    """Task and value of each annotation; a combo task holds annotations of its own."""
    if not isinstance(annotations, list):
        raise TypeError("annotations are no list")
    for annotation in annotations:
        task, value = annotation["task"], annotation.get("value")
        if isinstance(value, list) and value and all(isinstance(v, dict) and "task" in v for v in value):
            yield from _tasks(value)
        else:
            yield str(task), value


def _values(value: Any) -> Iterator[tuple[Any, ...]]:
    """Number, shape, text, labels, x, y and angle of each answer in a value; one at least."""
    if value is None or value == "" or value == []:
        yield 1, _EMPTY, None, "[]" if value == [] else None, None, None, None
    elif isinstance(value, str):
        yield 1, _TEXT, value, None, None, None, None
    elif isinstance(value, bool) or not isinstance(value, int | float | list):
        yield 1, _OTHER, None, None, None, None, None
    elif isinstance(value, int | float):
        yield 1, _TEXT, str(value), None, None, None, None
    elif all(isinstance(v, dict) and "choice" in v for v in value):
        yield 1, _LIST, None, _as_json([str(v["choice"]) for v in value]), None, None, None
    elif all(isinstance(v, dict) and "x" in v and "y" in v for v in value):
        for place, mark in enumerate(value, start=1):
            yield _mark(place, mark)
    elif any(isinstance(v, dict) for v in value):
        yield 1, _OTHER, None, None, None, None, None
    else:
        yield 1, _LIST, None, _as_json([str(v) for v in value if v is not None]), None, None, None


def _mark(place: int, mark: dict[str, Any]) -> tuple[Any, ...]:
    """A mark; one whose position is text or missing has another shape than a mark has."""
    x, y = number(mark["x"]), number(mark["y"])
    angle = number(mark.get("rotation", mark.get("angle")))
    if math.isnan(x) or math.isnan(y):
        return place, _OTHER, None, None, None, None, None
    return place, _MARK, None, None, x, y, angle


def _metadata(text: str) -> tuple[Any, ...]:
    if not text:
        return None, None, None, None, None, False, False, True
    try:
        told = json.loads(text)
        sizes = told.get("subject_dimensions") or []
        size = next((s for s in sizes if isinstance(s, dict)), {})
        cancelled = bool(told.get("cancelled"))
        training = bool(told.get("training"))
    except (ValueError, AttributeError, TypeError, RecursionError):
        return None, None, None, None, None, False, False, False
    return (
        told.get("started_at"),
        told.get("finished_at"),
        number(told.get("lead_time")),
        number(size.get("naturalWidth")),
        number(size.get("naturalHeight")),
        cancelled,
        training,
        True,
    )


# -- Questions ---------------------------------------------------------------------------------------------


def _inferred(answers: pd.DataFrame) -> pd.DataFrame:
    """A question for each task that nobody configured, of the kind that most of its answers have."""
    told = answers[answers["vorm"].isin([_TEXT, _LIST, _MARK])]
    if told.empty:
        # All answers are empty: a question nonetheless.
        told = answers
    shapes = told.groupby(["groep", "taak"])["vorm"].agg(lambda v: v.value_counts().index[0])
    every = answers.drop_duplicates(["groep", "taak"])[["groep", "taak"]]
    rows = [
        _question(group, task, _kind(told, group, task, shapes.get((group, task), _EMPTY)))
        for group, task in every.itertuples(index=False)
    ]
    return pd.DataFrame(rows, columns=list(QUESTION_COLUMNS)).astype({"richting_nul_graden": "float64"})


def _question(group: str, task: str, kind: str) -> dict[str, Any]:
    blank: dict[str, Any] = dict.fromkeys(QUESTION_COLUMNS)
    # Workflows number their tasks alike, so the task alone would mix them up.
    name = f"{group}.{task}" if task else group
    return blank | {"groep": group, "taak": task, "vraag": name, "soort": kind, "richting_nul_graden": 90.0}


def _kind(told: pd.DataFrame, group: str, task: str, shape: str) -> str:
    if not task or shape == _EMPTY:
        return SINGLE
    own = told[(told["groep"] == group) & (told["taak"] == task) & (told["vorm"] == shape)]
    if shape == _MARK:
        return FAN if own["hoek"].notna().mean() > 0.5 else POINT
    if shape == _LIST:
        return MULTIPLE if own["waarden"].map(lambda v: len(json.loads(v))).max() > 1 else SINGLE
    texts = own["tekst"].astype("str").str.lower()
    # Hardly any answer twice: nobody chose these from a list.
    return FREE if len(texts) >= 20 and texts.nunique() > len(texts) / 2 else SINGLE


# -- Labels ------------------------------------------------------------------------------------------------


def _only_known_choices(made: pd.DataFrame) -> pd.DataFrame:
    """Set answers aside that name a label which the question does not have."""
    limited = made["keuzes"].notna() & made["reden"].isna() & (made["vorm"] != _EMPTY)
    if not limited.any():
        return made
    choices = {c: set(json.loads(c)) for c in made.loc[limited, "keuzes"].unique()}
    rows = made[limited]
    is_unknown = [
        not ({label} if isinstance(label, str) else set(json.loads(labels or "[]"))) <= choices[c]
        for label, labels, c in zip(rows["label"], rows["labels"], rows["keuzes"], strict=True)
    ]
    reason = made["reden"].copy()
    reason.loc[rows.index[is_unknown]] = "label_onbekend"
    return made.assign(reden=reason)


def _given(values: Any, text: Any) -> list[str]:
    return json.loads(values) if isinstance(values, str) else [text]


def _typed(values: Any, text: Any) -> list[str]:
    return [part for given in _given(values, text) for part in _TAGS_APART.split(str(given))]


def _tidy(label: Any) -> Any:
    return " ".join(label.split()) if isinstance(label, str) else label


def _as_json(values: Sequence[str]) -> str:
    return json.dumps(values, ensure_ascii=False)
