"""Exports: the files of four systems, recognised by what they hold, as records of one kind.

Belongs here: telling the layouts apart, decoding, and taking a file apart into records, as text. Does not
belong here: what the answers mean (``answers``), what of them can be used (``cleaning``), and replacing the
players' names, which is done on landing.

Sources: the layout of Zooniverse's classification export (panoptes ``lib/formatter/csv/classification.rb``
and help.zooniverse.org, "Data exports"); PyBossa's ``task_run`` (its model and CSV exporter); Label Studio's
JSON export (labelstud.io/guide/task_format).
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

ZOONIVERSE, PYBOSSA, LABEL_STUDIO, PLAIN = "zooniverse", "pybossa", "label_studio", "csv"
COLUMNS = (
    "rij", "formaat", "groep", "versie", "bron_id", "item", "speler", "is_anoniem", "tijd", "is_deskundige",
    "metadata", "antwoorden", "onderwerp", "leesfout",
)  # fmt: skip
"""Of a record; all text (empty when the source has none) but ``rij`` (1 is the first), ``is_anoniem`` and
``is_deskundige``."""
PLAIN_COLUMNS = ("task", "worker", "label", "timestamp")
GOLD_COLUMNS = ("task", "label")
_ZOONIVERSE_NEEDS = (
    "classification_id", "user_name", "workflow_id", "created_at", "metadata", "annotations", "subject_ids",
)  # fmt: skip
_PYBOSSA_NEEDS = ("task_id", "project_id", "info")
_INDEX = ("", "Unnamed: 0", "index")
_MAX_LINES = 50  # of one record: further on a quote is missing
EXPECTED = (
    "expected one of: a Zooniverse classification export (CSV with classification_id, annotations, …),"
    " PyBossa task runs (CSV or JSON with task_id, project_id, info, …), a Label Studio JSON export, or a CSV"
    " file with the columns task, worker, label and perhaps timestamp"
)


class UnknownExport(ValueError):
    """The contents are none of the layouts; says what was found and what was expected."""


@dataclass(frozen=True)
class Lines:
    """The lines of a text file, and which of them (from 0) are in another encoding than the rest."""

    lines: Sequence[str]
    strange: frozenset[int] = frozenset()


def read(content: bytes, name: str) -> pd.DataFrame:
    """The records of an export with the columns ``COLUMNS``.

    A record that cannot be taken apart is there too, with ``leesfout`` telling why and without any of its
    text: a name may stand where nobody looks for one.

    Args:
        content: the whole file.
        name: name of the question when the file is a plain CSV.

    Raises:
        UnknownExport: none of the layouts.
    """
    if content.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"[", b"{"):
        return _from_json(content)
    text = decoded(content)
    header, delimiter = _header(text)
    columns = set(header)
    if columns.issuperset(_ZOONIVERSE_NEEDS):
        return _zooniverse(text, header, delimiter)
    if columns.issuperset(_PYBOSSA_NEEDS):
        return _pybossa_csv(text, header, delimiter)
    if columns.issuperset(PLAIN_COLUMNS[:3]):
        return _plain(text, header, delimiter, name)
    near = [c for c in _ZOONIVERSE_NEEDS if c in columns]
    if len(near) > len(_ZOONIVERSE_NEEDS) / 2:
        missing = ", ".join(c for c in _ZOONIVERSE_NEEDS if c not in columns)
        raise UnknownExport(f"a Zooniverse export without the column {missing}; {EXPECTED}")
    raise UnknownExport(f"line 1 is no header of a known layout; {EXPECTED}")


def read_gold(content: bytes) -> pd.DataFrame:
    """The expert labels of a file with ``task`` and ``label``: ``rij``, ``item``, ``label``, ``leesfout``.

    Raises:
        UnknownExport: other columns.
    """
    text = decoded(content)
    header, delimiter = _header(text)
    _only(header, GOLD_COLUMNS, GOLD_COLUMNS)
    found = _records(text, header, delimiter)
    return pd.DataFrame(
        {
            "rij": found["rij"],
            "item": found["task"].str.strip(),
            "label": found["label"].str.strip(),
            "leesfout": found["leesfout"],
        }
    )


def decoded(content: bytes) -> Lines:
    """The lines of a text file in UTF-8 or, when nothing in it is UTF-8 beyond ASCII, Windows Latin-1.

    Where both occur the file is UTF-8 and the other lines are told apart: read as Latin-1 they would pass for
    good text, and so would the rest of the file.

    Raises:
        UnknownExport: empty, or with zero bytes (UTF-16, a spreadsheet).
    """
    if not content.strip():
        raise UnknownExport(f"the file is empty; {EXPECTED}")
    if b"\x00" in content:
        raise UnknownExport(f"zero bytes: not text in UTF-8 or Latin-1 (UTF-16, a spreadsheet?); {EXPECTED}")
    content = content.removeprefix(b"\xef\xbb\xbf")
    try:
        return Lines(_split(content.decode()))
    except UnicodeDecodeError:
        pass
    lines: list[str] = []
    strange: set[int] = set()
    has_utf8 = False
    for number, line in enumerate(content.replace(b"\r\n", b"\n").split(b"\n")):
        try:
            lines.append(line.decode())
            has_utf8 |= not line.isascii()
        except UnicodeDecodeError:
            lines.append(_latin(line))
            strange.add(number)
    return Lines(lines, frozenset(strange) if has_utf8 else frozenset())


def _split(text: str) -> list[str]:
    # Not splitlines, which also splits on characters that occur within texts of people.
    return text.replace("\r\n", "\n").split("\n")


def _latin(line: bytes) -> str:
    try:
        return line.decode("cp1252")
    except UnicodeDecodeError:
        return line.decode("latin-1")


# -- CSV -------------------------------------------------------------------------------------------------


def _header(text: Lines) -> tuple[list[str], str]:
    first = text.lines[0]
    found = {d: next(csv.reader([first], delimiter=d), []) for d in (",", ";", "\t")}
    known = {*_ZOONIVERSE_NEEDS, *_PYBOSSA_NEEDS, *PLAIN_COLUMNS}
    delimiter = max(found, key=lambda d: len({c.strip() for c in found[d]} & known))
    header = [c.strip().removeprefix("task_run__") for c in found[delimiter]]
    if doubled := sorted({c for c in header if header.count(c) > 1 and c not in _INDEX}):
        raise UnknownExport(f"column {doubled[0]!r} stands twice in the header; {EXPECTED}")
    return header, delimiter


def _only(header: Sequence[str], needed: Sequence[str], allowed: Sequence[str]) -> None:
    extra = header[1:] if header and header[0] in _INDEX else header
    missing = [c for c in needed if c not in extra]
    unknown = [c for c in extra if c not in allowed]
    if missing or unknown:
        said = [f"column {c!r} is missing" for c in missing] + [f"column {c!r} is not known" for c in unknown]
        raise UnknownExport(f"{'; '.join(said)}; expected {', '.join(allowed)}")


def _records(text: Lines, header: Sequence[str], delimiter: str) -> pd.DataFrame:
    """The records after the header: the columns as text, ``rij`` and ``leesfout`` (None when readable)."""
    lines = list(text.lines[1:])
    while lines and not lines[-1].strip():
        lines.pop()
    strange = {n - 1 for n in text.strange}
    rows = _in_one_go(lines, len(header), delimiter) if not strange else None
    if rows is None:
        rows, problems = _one_by_one(lines, strange, len(header), delimiter)
    else:
        problems = [None] * len(rows)
    if not rows:
        raise UnknownExport(f"a header and no rows; {EXPECTED}")
    made = pd.DataFrame(dict(zip(header, zip(*rows, strict=True), strict=True)), dtype="str")
    return made.assign(rij=range(1, len(rows) + 1), leesfout=pd.Series(problems, dtype=object))


def _in_one_go(lines: Sequence[str], width: int, delimiter: str) -> list[list[str]] | None:
    """All records when each line holds exactly one in order; None when some do not."""
    _allow_large_fields()
    try:
        rows = list(csv.reader(lines, delimiter=delimiter, strict=True))
    except csv.Error:
        return None
    return rows if len(rows) == len(lines) and all(len(r) == width for r in rows) else None


def _one_by_one(
    lines: Sequence[str], strange: set[int], width: int, delimiter: str
) -> tuple[list[list[str]], list[str | None]]:
    """Records of a file in which some are broken: a broken one must not swallow the ones after it.

    A line that is a record by itself is one. Other lines are joined while that makes one (a value with a line
    break) and until a line follows that is one by itself.
    """
    rows: list[list[str]] = []
    problems: list[str | None] = []
    at = 0
    while at < len(lines):
        if not lines[at].strip():
            at += 1
            continue
        until = at + 1
        fields, why = _record(lines[at], width, delimiter)
        while fields is None and until < min(len(lines), at + _MAX_LINES):
            if _record(lines[until], width, delimiter)[0] is not None:
                break
            until += 1
            fields, _ = _record("\n".join(lines[at:until]), width, delimiter)
        if fields is None:
            # What followed may be broken records of their own; each line is one.
            until = at + 1
        elif strange.intersection(range(at, until)):
            fields, why = None, "andere tekencodering dan de rest van het bestand (UTF-8)"
        rows.append(fields if fields is not None else [""] * width)
        problems.append(None if fields is not None else f"regel {at + 2}: {why}")
        at = until
    return rows, problems


def _record(text: str, width: int, delimiter: str) -> tuple[list[str] | None, str]:
    """The fields of one record, or why there are not as many as there should be."""
    try:
        found = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    except csv.Error:
        return None, "een aanhalingsteken dat niet sluit of midden in een waarde staat"
    if len(found) != 1 or len(found[0]) != width:
        return None, f"{len(found[0])} velden, verwacht {width}"
    return found[0], ""


def _allow_large_fields() -> None:
    # Marks and polygons make values that are longer than the csv module's own limit.
    csv.field_size_limit(max(csv.field_size_limit(), 10_000_000))


def _column(found: pd.DataFrame, name: str) -> pd.Series:
    return found[name] if name in found else pd.Series("", index=found.index, dtype="str")


def _zooniverse(text: Lines, header: Sequence[str], delimiter: str) -> pd.DataFrame:
    found = _records(text, header, delimiter)
    name, user = found["user_name"], _column(found, "user_id")
    address = _column(found, "user_ip")
    player = name.where(name != "", user.where(user != "", address))
    gold = _column(found, "gold_standard").str.strip().str.lower() == "true"
    return _made(
        found,
        formaat=ZOONIVERSE,
        groep=found["workflow_id"].str.strip(),
        versie=_column(found, "workflow_version").str.strip(),
        bron_id=found["classification_id"].str.strip(),
        item=found["subject_ids"].str.strip(),
        speler=player.str.strip(),
        is_anoniem=(user == "") | name.str.startswith("not-logged-in"),
        tijd=found["created_at"],
        is_deskundige=gold | (_column(found, "expert").str.strip() != ""),
        metadata=found["metadata"],
        antwoorden=found["annotations"],
        onderwerp=_column(found, "subject_data"),
    )


def _plain(text: Lines, header: Sequence[str], delimiter: str, name: str) -> pd.DataFrame:
    _only(header, PLAIN_COLUMNS[:3], PLAIN_COLUMNS)
    found = _records(text, header, delimiter)
    label = found["label"].str.strip()
    ends_in_label = text.lines[-1] != "" and header[-1] == "label"
    # Without a line end the last value may be cut off, unless others gave it too.
    if ends_in_label and len(found) > 1 and label.iloc[-1] not in set(label.iloc[:-1]):
        found.loc[found.index[-1], "leesfout"] = "laatste regel zonder regeleinde, misschien afgebroken"
    return _made(
        found,
        formaat=PLAIN,
        groep=name,
        versie="",
        bron_id="",
        item=found["task"].str.strip(),
        speler=found["worker"].str.strip(),
        is_anoniem=False,
        tijd=_column(found, "timestamp"),
        is_deskundige=False,
        metadata="",
        antwoorden=label,
        onderwerp="",
    )


def _pybossa_csv(text: Lines, header: Sequence[str], delimiter: str) -> pd.DataFrame:
    found = _records(text, header, delimiter)
    runs = [
        {
            **{str(name): value for name, value in row.items()},
            "info": _loads_or_text(row["info"]),
            "calibration": str(row.get("calibration", "")).strip().lower() in ("1", "t", "true"),
        }
        for row in found.to_dict("records")
    ]
    made = _pybossa(runs)
    return made.assign(leesfout=found["leesfout"])


def _made(found: pd.DataFrame, **columns: Any) -> pd.DataFrame:
    made = pd.DataFrame({"rij": found["rij"], **columns, "leesfout": found["leesfout"]})
    return made[list(COLUMNS)]


# -- JSON ------------------------------------------------------------------------------------------------


def _from_json(content: bytes) -> pd.DataFrame:
    try:
        document = json.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise UnknownExport(f"JSON that is not UTF-8; {EXPECTED}") from error
    except json.JSONDecodeError as error:
        raise UnknownExport(
            f"line {error.lineno}: not JSON ({error.msg}); is it cut off? {EXPECTED}"
        ) from error
    rows = document if isinstance(document, list) else [document]
    if not rows or not all(isinstance(r, dict) for r in rows):
        raise UnknownExport(f"JSON without a list of objects; {EXPECTED}")
    if all({"task_id", "info"} <= r.keys() for r in rows):
        return _pybossa(rows)
    if all("annotations" in r or "completions" in r for r in rows):
        return _label_studio(rows)
    raise UnknownExport(f"JSON objects of no known layout; {EXPECTED}")


def _pybossa(runs: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    made: list[dict[str, Any]] = []
    for number, run in enumerate(runs, start=1):
        user = _text(run.get("user_id"))
        info = run["info"]
        answers = [{"task": k, "value": v} for k, v in info.items()] if isinstance(info, dict) else None
        made.append(
            {
                "rij": number,
                "formaat": PYBOSSA,
                "groep": _text(run.get("project_id")),
                "versie": "",
                "bron_id": _text(run.get("id")),
                "item": _text(run.get("task_id")),
                "speler": user or _text(run.get("external_uid")) or _text(run.get("user_ip")),
                "is_anoniem": not user,
                "tijd": _text(run.get("finish_time")),
                "is_deskundige": False,
                "metadata": json.dumps(
                    {
                        "started_at": _text(run.get("created")),
                        "finished_at": _text(run.get("finish_time")),
                        "training": bool(run.get("calibration")),
                    }
                ),
                "antwoorden": json.dumps(
                    answers or [{"task": "antwoord", "value": info}], ensure_ascii=False
                ),
                "onderwerp": "",
                "leesfout": None,
            }
        )
    return pd.DataFrame(made, columns=list(COLUMNS))


def _label_studio(tasks: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    made = list(_annotations(tasks))
    if not made:
        raise UnknownExport(f"Label Studio tasks without any annotation; {EXPECTED}")
    frame = pd.DataFrame(made, columns=list(COLUMNS[1:]))
    frame.insert(0, "rij", range(1, len(frame) + 1))
    return frame


def _annotations(tasks: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    for task in tasks:
        for annotation in task.get("annotations") or task.get("completions") or []:
            yield {
                "formaat": LABEL_STUDIO,
                "groep": _text(task.get("project") or annotation.get("project") or LABEL_STUDIO),
                "versie": "",
                "bron_id": _text(annotation.get("id")),
                "item": _text(task.get("id")),
                "speler": _who(annotation.get("completed_by")),
                "is_anoniem": False,
                "tijd": _text(annotation.get("created_at")),
                "is_deskundige": bool(annotation.get("ground_truth")),
                "metadata": json.dumps(
                    {
                        "lead_time": annotation.get("lead_time"),
                        "cancelled": bool(annotation.get("was_cancelled")),
                        "subject_dimensions": _dimensions(annotation),
                    }
                ),
                "antwoorden": json.dumps(_regions(annotation), ensure_ascii=False),
                "onderwerp": "",
                "leesfout": None,
            }


def _who(completed_by: Any) -> str:
    """An annotator: a number, or an object with an e-mail address."""
    if isinstance(completed_by, dict):
        return _text(completed_by.get("id") or completed_by.get("email"))
    return _text(completed_by)


def _dimensions(annotation: Mapping[str, Any]) -> list[dict[str, Any]]:
    for region in annotation.get("result") or []:
        if region.get("original_width") and region.get("original_height"):
            return [{"naturalWidth": region["original_width"], "naturalHeight": region["original_height"]}]
    return []


def _regions(annotation: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The regions as answers; positions, which are percentages, in pixels of the picture."""
    answers: dict[str, dict[str, Any]] = {}
    for region in annotation.get("result") or []:
        value = region.get("value") or {}
        name = _text(region.get("from_name"))
        if "choices" in value:
            answers.setdefault(name, {"task": name, "value": []})["value"] += list(value["choices"])
        elif "text" in value:
            texts = value["text"] if isinstance(value["text"], list) else [value["text"]]
            answers.setdefault(name, {"task": name, "value": ", ".join(map(str, texts))})
        elif "x" in value and "y" in value:
            width, height = region.get("original_width") or 100, region.get("original_height") or 100
            mark = {"x": value["x"] * width / 100, "y": value["y"] * height / 100}
            answers.setdefault(name, {"task": name, "value": []})["value"].append(mark)
        else:
            answers.setdefault(name, {"task": name, "value": value.get("number", value.get("rating"))})
    return list(answers.values())


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _loads_or_text(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value
