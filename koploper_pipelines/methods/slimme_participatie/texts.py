"""Texts of citizens: made readable, judged as input, and masked of personal data.

Belongs here: rules on one text. Does not belong here: finding names, which needs word lists from a file (see
``resources/dutch_names.py``) and is handed in.

A mistyped number is masked like a correct one: patterns decide, checksums only say what it is called.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from html.parser import HTMLParser

import phonenumbers
from stdnum import iban
from stdnum.nl import bsn

MAX_CHARACTERS = 10_000
KINDS = ("e_mail", "iban", "bsn", "telefoon", "postcode", "adres", "naam")
"""What is masked, in the order in which it is looked for."""

Spans = Iterable[tuple[int, int, str]]
"""Start, end and kind (``naam`` or ``adres``) of what a finder of names found."""

_ZERO_WIDTH = re.compile("[\u00ad\u200b\u2060\ufeff]")
_CONTROLS = re.compile("[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]")
# The second is a command to another program, as old spreadsheets carry out.
_FORMULA = re.compile(r"^\s*[=+@-]\s*[A-Za-z][A-Za-z0-9.]*\s*\(|^\s*[+@-]\w+\s*\||^\s*=")
_ACTIVE = re.compile(
    r"<\s*/?\s*(script|style|iframe|object|embed|form|svg|link|meta)\b|\bon\w+\s*=\s*[\"']", re.I
)
_TAG = re.compile(r"<\s*/?\s*[a-z][^<>]*>", re.I)
_BLOCKS = frozenset({"p", "br", "div", "li", "tr", "h1", "h2", "h3", "h4"})

_E_MAIL = re.compile(r"[\w.+-]+\s?(?:@|\(at\)|\[at\])\s?[\w-]+(?:\.[\w-]+)+", re.I)
_IBAN = re.compile(
    r"\b[A-Z]{2}[ ]?\d{2}[ .-]?[A-Z]{4}(?:[ .-]?\d){8,12}\b"
    r"|\b[A-Z]{2}\d{2}(?:[ ]?[A-Z0-9]{4}){3,7}(?:[ ]?[A-Z0-9]{1,3})?\b",
    re.I,
)
_PHONE = re.compile(
    r"(?<![\w.,])(?:(?:\+|00)\s?31[\s.-]?(?:\(0\)[\s.-]?)?|\(?0)[1-9](?:[\s.()-]{0,2}\d){6,9}(?!\w)"
)
_NINE = re.compile(
    r"(?<![\w.,-])\d{3}[ .]?\d{2,3}[ .]?\d{3}(?![\w])|(?<![\w.,-])\d{4}[ .]?\d{2}[ .]?\d{3}(?!\w)"
)
_POSTCODE = re.compile(r"(?<![\w.,-])[1-9]\d{3}\s?([A-Za-z]{2})(?!\w)")
# After a year or an amount these are words or units, when written in small letters.
_WORDS_OF_TWO = frozenset(
    [
        "aan",
        "al",
        "be",
        "bv",
        "cl",
        "cm",
        "da",
        "de",
        "dl",
        "dm",
        "en",
        "er",
        "et",
        "ga",
        "ha",
        "he",
        "ik",
        "im",
        "in",
        "is",
        "je",
        "ka",
        "kg",
        "km",
        "la",
        "le",
        "ma",
        "me",
        "mg",
        "ml",
        "mm",
        "na",
        "nu",
        "of",
        "om",
        "op",
        "pk",
        "pp",
        "re",
        "te",
        "tm",
        "to",
        "uw",
        "va",
        "we",
        "wh",
        "wo",
        "ze",
        "zo",
    ]
)
_STREET = re.compile(
    r"\b(?:[A-Z][\w'’.-]*\s+(?:van\s+|de\s+|der\s+|den\s+|het\s+|ter\s+|ten\s+)*){0,3}"
    r"[\w'’-]*(?:straat|laan|weg|plein|kade|gracht|singel|dijk|hof|steeg|pad|dreef|park|plantsoen|markt|wal"
    r"|haven|burg|veld|baan|erf|kamp|stein|kwartier)\s+\d{1,5}(?:\s?[a-z](?![a-z])|[\s-]?(?:bis|hs|[IVX]+)\b|-\d+)?",
    re.I,
)


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


def mask(text: str, names: Callable[[str], Spans]) -> Masked:
    """Replace personal data by their kind.

    Args:
        text: readable text.
        names: finds names and addresses in a text.
    """
    spans = [*_numbers(text), *((s, e, k, i) for i, (s, e, k) in enumerate(names(text), start=100))]
    found: dict[str, int] = {}
    made, position = [], 0
    for start, end, kind in _without_overlap(spans):
        made += [text[position:start], f"[{kind.upper().replace('E_MAIL', 'E-MAIL')}]"]
        position = end
        found[kind] = found.get(kind, 0) + 1
    return Masked("".join([*made, text[position:]]), found)


def _without_overlap(spans: Iterable[tuple[int, int, str, int]]) -> list[tuple[int, int, str]]:
    """Spans in order, overlapping ones made one: it is called what was looked for first."""
    merged: list[tuple[int, int, str, int]] = []
    for span in sorted(spans):
        if merged and span[0] < merged[-1][1]:
            start, end, kind, rank = merged[-1]
            kind, rank = (kind, rank) if rank <= span[3] else (span[2], span[3])
            merged[-1] = start, max(end, span[1]), kind, rank
        else:
            merged.append(span)
    return [(start, end, kind) for start, end, kind, _ in merged]


def _numbers(text: str) -> Iterator[tuple[int, int, str, int]]:
    """Start, end, kind and rank of everything that a pattern finds."""
    for found in _E_MAIL.finditer(text):
        yield *found.span(), "e_mail", 0
    for found in _IBAN.finditer(text):
        # A foreign number without four letters of a bank looks like any code: there the checksum decides.
        if iban.is_valid(found.group()) or re.match(r"[A-Za-z]{2} ?\d{2}[ .-]?[A-Za-z]{4}", found.group()):
            yield *found.span(), "iban", 1
    for found in _NINE.finditer(text):
        digits = re.sub(r"\D", "", found.group())
        if bsn.is_valid(digits) or not digits.startswith("0"):
            yield *found.span(), "bsn", 2
    for found in _PHONE.finditer(text):
        yield *found.span(), "telefoon", 3
    for match in phonenumbers.PhoneNumberMatcher(text, "NL", leniency=phonenumbers.Leniency.VALID):
        yield match.start, match.end, "telefoon", 3
    for found in _POSTCODE.finditer(text):
        letters = found.group(1)
        if letters.isupper() or letters.lower() not in _WORDS_OF_TWO:
            yield *found.span(), "postcode", 4
    for found in _STREET.finditer(text):
        yield *found.span(), "adres", 5
