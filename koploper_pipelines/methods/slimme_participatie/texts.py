"""Texts of citizens: made readable, judged as input, and masked of personal data.

Belongs here: rules on one text. Does not belong here: what personal data looks like (see ``personal``), and
finding names, which needs word lists from a file (see ``resources/dutch_names.py``) and is handed in.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from html.parser import HTMLParser

from koploper_pipelines.methods.slimme_participatie.personal import KINDS, Span, by_pattern, whole_names

MAX_CHARACTERS = 10_000
_ZERO_WIDTH = re.compile("[\u00ad\u200b\u2060\ufeff]")
_CONTROLS = re.compile("[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]")
# The second is a command to another program, as old spreadsheets carry out.
_FORMULA = re.compile(r"^\s*[=+@-]\s*[A-Za-z][A-Za-z0-9.]*\s*\(|^\s*[+@-]\w+\s*\||^\s*=")
_ACTIVE = re.compile(
    r"<\s*/?\s*(script|style|iframe|object|embed|form|svg|link|meta)\b|\bon\w+\s*=\s*[\"']", re.I
)
_TAG = re.compile(r"<\s*/?\s*[a-z][^<>]*>", re.I)
_BLOCKS = frozenset({"p", "br", "div", "li", "tr", "h1", "h2", "h3", "h4"})


@dataclass(frozen=True)
class Masked:
    """A text without personal data.

    Attributes:
        text: the text, with ``[NAAM]``, ``[POSTCODE]`` and so on in place of what was found.
        found: how many of each kind were masked; kinds of ``KINDS`` that were not found are left out.
    """

    text: str
    found: dict[str, int]


def unusable(text: str | None) -> str | None:
    """Why a text cannot be used as it came; None when it can.

    ``leeg``, ``te_lang`` (over 10,000 characters), ``stuurtekens`` (controls that turn the reading direction
    or hide), ``formule`` (what a spreadsheet would carry out) or ``actieve_html``.
    """
    if text is None or not _ZERO_WIDTH.sub("", text).strip():
        return "leeg"
    if len(text) > MAX_CHARACTERS:
        return "te_lang"
    if _CONTROLS.search(text):
        return "stuurtekens"
    if _FORMULA.search(_ZERO_WIDTH.sub("", text)):
        return "formule"
    return "actieve_html" if _ACTIVE.search(text) else None


def readable(text: str) -> str:
    """Plain text on single spaces: without markup, and without characters that nobody sees."""
    text = _ZERO_WIDTH.sub("", text)
    if _TAG.search(text):
        text = _without_markup(text)
    return " ".join(html.unescape(text).split())


def _without_markup(text: str) -> str:
    parts: list[str] = []

    class Reader(HTMLParser):
        def handle_data(self, data: str) -> None:
            parts.append(data)

        def handle_starttag(self, tag: str, attrs: object) -> None:
            parts.extend([" "] if tag in _BLOCKS else [])

        def handle_endtag(self, tag: str) -> None:
            parts.extend([" "] if tag in _BLOCKS else [])

    reader = Reader(convert_charrefs=True)
    reader.feed(text)
    reader.close()
    return "".join(parts)


def mask(text: str, names: Callable[[str], Iterable[Span]]) -> Masked:
    """Replace personal data by their kind.

    Args:
        text: readable text.
        names: finds names and addresses in a text.
    """
    spans = whole_names(text, [*by_pattern(text), *names(text)])
    found: dict[str, int] = {}
    made, position = [], 0
    for start, end, kind in _without_overlap(spans):
        made += [text[position:start], f"[{kind.upper().replace('E_MAIL', 'E-MAIL')}]"]
        position = end
        found[kind] = found.get(kind, 0) + 1
    return Masked("".join([*made, text[position:]]), found)


def _without_overlap(spans: Iterable[Span]) -> list[Span]:
    """Spans in order, overlapping ones made one: it is called what was looked for first."""
    merged: list[Span] = []
    for start, end, kind in sorted(spans):
        if merged and start < merged[-1][1]:
            first, last, other = merged[-1]
            merged[-1] = first, max(last, end), min(other, kind, key=KINDS.index)
        else:
            merged.append((start, end, kind))
    return merged
