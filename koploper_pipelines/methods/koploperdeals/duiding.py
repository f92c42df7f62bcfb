"""Interpretation (duiding): reading what somebody says of a figure, and telling when that no longer holds.

Belongs here: the form of a document (front matter and four sections) with every deviation as a finding, and
when the figure has moved away from what was said of it. Does not belong here: which tables and releases there
are, and looking figures up.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import TypeAlias

import yaml

Value: TypeAlias = float | str | bool | None

SPEAKERS = ("provincie", "partner", "burger")
SECTIONS = {
    "wat het betekent": "betekent",
    "wat het niet betekent": "betekent_niet",
    "tegenlezing": "tegenlezing",
    "open vragen": "open_vragen",
}
LATEST = "laatste"
"""As a release, or as a period in the key of a row: the newest there is when the document lands."""
MAX_TEXT = 4_000

_FIELDS = {"spreker": True, "namens": False, "datum": True, "tabel": True, "release": True, "cijfers": True}
"""Fields of the front matter, and whether each must be there."""
_OF_QUOTE = {"rij": True, "kolom": True, "waarde": False, "onder": False, "boven": False}
_RELEASE = re.compile(r"r\d{8}-\d{6}")
_TABLE = re.compile(r"[a-z][a-z0-9_]*(/[a-z0-9_]+){0,2}")
_E_MAIL = re.compile(r"[^\s@]+@[^\s@]+\.[a-z]{2,}", re.IGNORECASE)
_TELEPHONE = re.compile(r"(?<![\w-])(?:\+31|0)[\s-]?\d(?:[\s-]?\d){8}(?!\d)")


@dataclass(frozen=True)
class Finding:
    """One deviation from the form."""

    line: int
    """Line in the file, from 1."""
    field: str
    expected: str

    def __str__(self) -> str:
        """In words, for the report beside a refused file."""
        return f"regel {self.line}, {self.field}: {self.expected}"


@dataclass(frozen=True)
class Quote:
    """One figure that a document quotes."""

    row: Mapping[str, str]
    """Key of the row."""
    column: str
    value: str | None
    """What the writer read, to be held against the release; None when not given."""
    bounds: tuple[str, str] | None
    """Columns of its interval, where their names do not follow from that of the figure."""
    line: int


@dataclass(frozen=True)
class Interpretation:
    """One document."""

    speaker: str
    on_behalf: str | None
    day: date
    table: str
    release: str
    quotes: tuple[Quote, ...]
    texts: Mapping[str, str]
    """By name of the published column: what it means, what not, a counter-reading, questions left."""
    lines: Mapping[str, int]
    """Line of each field, for findings that need the tables."""


class NotInForm(ValueError):
    """A document that is not in the form; `findings` holds all that deviates."""

    def __init__(self, findings: list[Finding]) -> None:
        """Keep all findings; the message is a line each."""
        super().__init__("\n".join(map(str, findings)))
        self.findings = findings


def read(text: str) -> Interpretation:
    """A document; NotInForm with every deviation at once."""
    front, body, first = _split(text)
    findings: list[Finding] = []
    fields = _front_matter(front, findings)
    quotes = _quotes(fields.get("cijfers"), findings)
    texts = _sections(body, first, findings)
    said = {name: _scalar(name, node, findings) for name, node in fields.items() if name != "cijfers"}
    day = _checked(said, fields, findings)
    if findings or day is None:
        raise NotInForm(sorted(findings, key=lambda f: f.line))
    return Interpretation(
        speaker=said["spreker"],
        on_behalf=said.get("namens"),
        day=day,
        table=said["tabel"],
        release=said["release"],
        quotes=quotes,
        texts=texts,
        lines={name: _line(node) for name, node in fields.items()},
    )


def _split(text: str) -> tuple[str, list[str], int]:
    """Front matter, the lines of the body, and the number of the first of these."""
    lines = text.removeprefix("\ufeff").splitlines()
    closing = next((i for i, line in enumerate(lines[1:], start=1) if line.rstrip() == "---"), None)
    if not lines or lines[0].rstrip() != "---" or closing is None:
        raise NotInForm([Finding(1, "bestand", "verwacht een kop tussen twee regels ---, daarna de tekst")])
    # An empty first line keeps the line numbers of the YAML those of the file.
    return "\n".join(["", *lines[1:closing]]), lines[closing + 1 :], closing + 2


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _front_matter(front: str, findings: list[Finding]) -> dict[str, yaml.Node]:
    try:
        node = yaml.compose(front, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        raise NotInForm([Finding(line, "kop", "verwacht leesbare YAML (veld: waarde)")]) from error
    if not isinstance(node, yaml.MappingNode):
        raise NotInForm([Finding(1, "kop", f"verwacht de velden {', '.join(_FIELDS)}")])
    return _mapping(node, _FIELDS, "kop", findings)


def _mapping(
    node: yaml.MappingNode, known: Mapping[str, bool], what: str, findings: list[Finding]
) -> dict[str, yaml.Node]:
    """The fields of a mapping; unknown, doubled and missing ones are findings."""
    found: dict[str, yaml.Node] = {}
    for key, value in node.value:
        name = str(key.value)
        if name not in known:
            findings.append(Finding(_line(key), name, f"onbekend veld; verwacht {', '.join(known)}"))
        elif name in found:
            findings.append(Finding(_line(key), name, "staat er twee keer; verwacht één keer"))
        else:
            found[name] = value
    findings += [
        Finding(_line(node), name, f"ontbreekt in {what}")
        for name, must in known.items()
        if must and name not in found
    ]
    return found


def _scalar(name: str, node: yaml.Node, findings: list[Finding]) -> str:
    if isinstance(node, yaml.ScalarNode) and str(node.value).strip():
        return str(node.value).strip()
    findings.append(Finding(_line(node), name, "verwacht één waarde"))
    return ""


def _checked(
    said: Mapping[str, str], fields: Mapping[str, yaml.Node], findings: list[Finding]
) -> date | None:
    """Hold the single fields against what they may be; the date, where it is one."""

    def expect(name: str, holds: bool, expected: str) -> None:
        if said.get(name) and not holds:
            findings.append(Finding(_line(fields[name]), name, f"is {said[name]!r}; verwacht {expected}"))

    expect("spreker", said.get("spreker") in SPEAKERS, f"een van {', '.join(SPEAKERS)}")
    expect("tabel", bool(_TABLE.fullmatch(said.get("tabel", ""))), "de naam van een gepubliceerde tabel")
    release = said.get("release", "")
    expect(
        "release",
        release == LATEST or bool(_RELEASE.fullmatch(release)),
        f"een kenmerk als r20261124-013000, of {LATEST}",
    )
    on_behalf = said.get("namens", "")
    expect(
        "namens",
        len(on_behalf) <= 120 and not _personal(on_behalf),
        "een organisatie, groep of rol van ten hoogste 120 tekens, zonder e-mailadres of telefoonnummer",
    )
    try:
        return date.fromisoformat(said.get("datum", ""))
    except ValueError:
        expect("datum", False, "een dag als 2026-11-24")
        return None


def _quotes(node: yaml.Node | None, findings: list[Finding]) -> tuple[Quote, ...]:
    if node is None:
        return ()
    if not isinstance(node, yaml.SequenceNode) or not node.value:
        findings.append(Finding(_line(node), "cijfers", "verwacht een lijst met ten minste één cijfer"))
        return ()
    return tuple(q for entry in node.value if (q := _quote(entry, findings)) is not None)


def _quote(node: yaml.Node, findings: list[Finding]) -> Quote | None:
    if not isinstance(node, yaml.MappingNode):
        findings.append(Finding(_line(node), "cijfers", f"verwacht per cijfer {', '.join(_OF_QUOTE)}"))
        return None
    fields = _mapping(node, _OF_QUOTE, "het cijfer", findings)
    key = fields.get("rij")
    row: dict[str, str] = {}
    if key is not None and not (isinstance(key, yaml.MappingNode) and key.value):
        findings.append(Finding(_line(key), "rij", "verwacht de sleutel van één rij, als {maand: 2026-09}"))
    elif isinstance(key, yaml.MappingNode):
        row = {str(k.value): _scalar(f"rij.{k.value}", v, findings) for k, v in key.value}
    said = {n: _scalar(n, v, findings) for n, v in fields.items() if n != "rij"}
    if ("onder" in said) != ("boven" in said):
        findings.append(Finding(_line(node), "onder, boven", "verwacht beide kolommen of geen van beide"))
        return None
    bounds = (said["onder"], said["boven"]) if "onder" in said else None
    return Quote(row, said.get("kolom", ""), said.get("waarde"), bounds, _line(node))


def _sections(body: list[str], first: int, findings: list[Finding]) -> dict[str, str]:
    """The four texts; what is missing, unknown, too long or personal is a finding."""
    parts = list(_headed(body, first))
    texts: dict[str, str] = {}
    for title, line, text in parts:
        column = SECTIONS.get(title.lower())
        if column is None:
            findings.append(
                Finding(line, f"## {title}", f"onbekend kopje; verwacht {', '.join(map(repr, SECTIONS))}")
            )
        elif column in texts:
            findings.append(Finding(line, f"## {title}", "staat er twee keer; verwacht één keer"))
        else:
            texts[column] = text
            findings += _of_text(title, line, text)
    last = first + len(body)
    missing = [t for t, c in SECTIONS.items() if c not in texts]
    findings += [Finding(last, f"## {t.capitalize()}", "ontbreekt") for t in missing]
    return texts


def _headed(body: list[str], first: int) -> Iterator[tuple[str, int, str]]:
    """Title, line and text of each part under a heading of the second level."""
    starts = [i for i, line in enumerate(body) if line.startswith("## ")]
    for start, end in zip(starts, [*starts[1:], len(body)], strict=True):
        yield body[start][3:].strip(), first + start, "\n".join(body[start + 1 : end]).strip()


def _of_text(title: str, line: int, text: str) -> Iterator[Finding]:
    if not text:
        yield Finding(line, f"## {title}", "is leeg; verwacht een tekst (of: geen)")
    if len(text) > MAX_TEXT:
        yield Finding(line, f"## {title}", f"heeft {len(text)} tekens; verwacht ten hoogste {MAX_TEXT}")
    if _personal(text):
        yield Finding(line, f"## {title}", "bevat een e-mailadres of telefoonnummer; de tekst wordt openbaar")


def _personal(text: str) -> bool:
    return bool(_E_MAIL.search(text) or _TELEPHONE.search(text))


# -- The figure, then and now ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Figure:
    """A figure as a release shows it.

    Attributes:
        value: None where it is not shown.
        bounds: its interval; None for a figure without one.
        period: columns that say of which time it is, with their values.
        method: fingerprint of how it was made.
    """

    value: Value
    bounds: tuple[float, float] | None
    period: Mapping[str, str]
    method: str


PERIOD_COLUMNS = ("jaar", "maand", "periode", "peildatum", "eerste_maand", "laatste_maand", "peiljaar")


def bounds_of(column: str, columns: list[str]) -> tuple[str, str] | None:
    """The columns of a figure's interval by the names that tables give them; None when there are none.

    ``pm25_ug_m3`` has ``pm25_onder_ug_m3`` and ``pm25_boven_ug_m3``.
    """
    for lower in columns:
        words = lower.split("_")
        if "onder" not in words:
            continue
        upper = "_".join("boven" if w == "onder" else w for w in words)
        if upper in columns and "_".join(w for w in words if w != "onder") == column:
            return lower, upper
    return None


def outdated(then: Figure, now: Figure | None) -> str:
    """Why what was said no longer speaks of the figure, in Dutch; empty as long as it does.

    A figure with an interval has moved when it leaves the interval that it had; one without at any change.
    """
    if now is None:
        return "de rij staat niet meer in de tabel"
    if now.value is None:
        return "het cijfer wordt niet meer getoond"
    if then.period != now.period:
        return f"het cijfer gaat over een andere periode ({_listed(now.period)})"
    if then.method != now.method:
        return "het cijfer is op een andere manier berekend"
    if then.bounds is not None and isinstance(now.value, float):
        low, high = then.bounds
        return "" if low <= now.value <= high else "het cijfer ligt buiten het interval dat het had"
    return "" if _same(then.value, now.value) else "het cijfer is veranderd"


def _same(then: Value, now: Value) -> bool:
    if isinstance(then, float) and isinstance(now, float):
        # Tables without rounding differ in their last bits between machines.
        return math.isclose(then, now, rel_tol=1e-9, abs_tol=1e-12)
    return then == now


def _listed(period: Mapping[str, str]) -> str:
    return ", ".join(f"{k} {v}" for k, v in sorted(period.items()))
