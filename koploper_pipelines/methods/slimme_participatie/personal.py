"""What personal data looks like in Dutch text: numbers, addresses, and names after certain words.

Belongs here: finding it, with a kind for each find. Does not belong here: what is put in its place (see
``texts``), and names that only a list knows (see ``resources/dutch_names.py``).

A mistyped number is found like a correct one: patterns decide, checksums only say what it is called.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import phonenumbers
from stdnum import iban
from stdnum.nl import bsn

KINDS = ("e_mail", "iban", "bsn", "telefoon", "postcode", "adres", "naam")
"""What is found, in the order in which it is looked for."""

Span = tuple[int, int, str]
"""Start, end and kind of a find."""

# Not in the middle of a word or of a number.
_START = r"(?<!\w)(?<!\d[.,/-])"
_DATE = r"\d{1,2}[-/. ]\d{1,2}[-/. ](?:19|20)\d\d(?:(?![\s.-]?\d)|(?=\s\d{1,2}[:.]\d\d))"
_NOT_MEASURED = (
    r"(?!\w)(?!\s?(?:%|€|euro|procent|inwoners|mensen|bomen|woningen|auto|jaar|jaren|maand|weken|dagen|uur|uren|min"
    r"|keer|maal|x\b|meter|m\b|m2|km|kilometer|kg|kilo|liter|kwh|mwh|januari|februari|maart|april|mei|juni|juli"
    r"|augustus|september|oktober|november|december))"
)
_A_DATE = re.compile(_DATE)
_E_MAIL = re.compile(r"[\w.+'%-]+\s?(?:@+|\(at\)|\[at\])\s?[\w-]+(?:[.,][\w-]+)*", re.I)
_IBAN = re.compile(r"\b[A-Z]{2}[ ]?\d{1,2}[ .-]?[A-Z]{3,5}(?:[ .-]?[\dO]){7,13}\b", re.I)
_FOREIGN_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?:[ ]?[A-Z0-9]{4}){2,7}(?:[ ]?[A-Z0-9]{0,2}\d)?\b")
_PHONE = re.compile(
    rf"{_START}(?!{_DATE})(?:\+\d{{1,3}}|00\s?31|\(?0)[\s.-]?(?:\(0\))?(?:[\s.()/-]{{0,2}}\d){{7,13}}(?!\w)"
)
_BSN = re.compile(
    rf"{_START}(?<!€)(?<!€ )(?!{_DATE})"
    r"(?:\d{3}[ .]?\d{2,3}[ .]?\d{3}|\d{4}[ .]?\d{2}[ .]?\d{3}|\d{8,10})" + _NOT_MEASURED
)
_CALLED_BSN = re.compile(r"\b(?:bsn|burgerservicenummer|sofi-?nummer)\b\D{0,15}?(\d(?:[ .-]?\d){5,11})", re.I)
_POSTCODE = re.compile(rf"{_START}[1-9]\d{{3}}[\s.-]?([A-Za-z]{{2}})(?!\w)")
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
_HOUSE_NUMBER = r"\s+\d{1,5}(?:\s?[a-z](?![a-z])|[\s-]?(?:bis|hs|[IVX]+)\b|-\d+)?" + _NOT_MEASURED
_STREET = re.compile(
    r"\b(?:[A-Z][\w'’.-]*\s+(?:van\s+|de\s+|der\s+|den\s+|het\s+|ter\s+|ten\s+)*){0,3}"
    r"[\w'’-]*(?:straat|laan|weg|plein|kade|gracht|singel|dijk|hof|steeg|pad|dreef|park|plantsoen|markt|wal"
    rf"|haven|burg|veld|baan|erf|kamp|stein|kwartier){_HOUSE_NUMBER}",
    re.I,
)
# Endings that are words or parts of words too: only of a name.
_RARER_STREET = re.compile(
    r"\b[A-ZÀ-Þ][\w'’-]+(?:ring|boulevard|allee|passage|promenade|zoom|rand|meent|brink|heuvel|berg|bos|tuin|werf"
    rf"|waard|oord|hoek|gaarde|horst|hage|hove|poort|vliet|vaart|hoeve|rode|donk)(?!\s(?:19|20)\d\d\b){_HOUSE_NUMBER}"
)
_LIVES = re.compile(
    r"\b(?:[Ww]oon|woont|[Ww]onen|wonend|[Aa]dres)\b:?\s+(?:(?:is|op|aan|de|het)\s+)*"
    rf"([A-ZÀ-Þ][\w'’.-]*(?:\s+(?:van|de|der|den|het|ter|ten|[A-ZÀ-Þ][\w'’.-]*))*{_HOUSE_NUMBER})"
)

_PARTICLES = r"(?:(?:van|de|der|den|ter|ten|het|'t|la|le|du|von|und|zu|el|die)\s+)*"
_CAPITAL = r"(?![\w'’-]*(?:straat|laan|weg|plein|kade|gracht|singel|dijk|school|park)\b)[A-ZÀ-Þ][\w'’-]+"
_MORE_NAMES = rf"(?:(?:\s+|-)(?:en\s+van\s+)?{_PARTICLES}{_CAPITAL})"
# Of an office people also say where it is held: "de burgemeester van Utrecht".
_TITLED = re.compile(
    r"\b(?:[Ff]amilie|[Ff]am\.|[Mm]eneer|[Mm]ijnheer|[Mm]evrouw|[Mm]evr\.?|[Mm]w\.?|[Dd]hr\.?|[Dd]e heer"
    rf"|[Bb]uurman|[Bb]uurvrouw|[Jj]uf|[Tt]ante)\s+({_PARTICLES}{_CAPITAL}{_MORE_NAMES}*)"
    r"|\b(?:[Ww]ethouder|[Bb]urgemeester|[Gg]edeputeerde|[Rr]aadslid|[Ss]tatenlid|[Ww]ijkagent|[Aa]mbtenaar)\s+"
    rf"({_CAPITAL}{_MORE_NAMES}*)"
)
_SIGNED = re.compile(
    r"(?:\b[Gg]roet(?:en|jes)?,?|\b[Mm]\.?[Vv]\.?[Gg]\.?,?|\b[Mm]ijn naam is|\b[Ii]k heet|\b[Nn]aam:)\s+"
    rf"({_PARTICLES}{_CAPITAL}{_MORE_NAMES}*)"
)
_GOES_ON = re.compile(f"{_MORE_NAMES}+")


def by_pattern(text: str) -> Iterator[Span]:
    """Everything that a pattern finds, in no order; finds may overlap."""
    yield from ((*found.span(), "e_mail") for found in _E_MAIL.finditer(text))
    yield from ((*found.span(), "iban") for found in _IBAN.finditer(text))
    for found in _FOREIGN_IBAN.finditer(text):
        # Without the letters of a bank, with few digits, it looks like any code: there the checksum decides.
        if len(re.findall(r"\d", found.group())) >= 10 or iban.is_valid(found.group()):
            yield *found.span(), "iban"
    for found in _BSN.finditer(text):
        digits = re.sub(r"\D", "", found.group())
        if bsn.is_valid(digits) or not digits.startswith("0"):
            yield *found.span(), "bsn"
    yield from ((*found.span(1), "bsn") for found in _CALLED_BSN.finditer(text))
    yield from ((*found.span(), "telefoon") for found in _PHONE.finditer(text))
    for match in phonenumbers.PhoneNumberMatcher(text, "NL", leniency=phonenumbers.Leniency.VALID):
        if not _A_DATE.match(text, match.start):
            yield match.start, match.end, "telefoon"
    for found in _POSTCODE.finditer(text):
        letters = found.group(1)
        if letters.isupper() or letters.lower() not in _WORDS_OF_TWO:
            yield *found.span(), "postcode"
    for pattern in (_STREET, _RARER_STREET):
        yield from ((*found.span(), "adres") for found in pattern.finditer(text))
    yield from ((*found.span(1), "adres") for found in _LIVES.finditer(text))
    for pattern in (_TITLED, _SIGNED):
        for found in pattern.finditer(text):
            yield *found.span(found.lastindex or 0), "naam"


def whole_names(text: str, found: Iterable[Span]) -> Iterator[Span]:
    """The same finds, with names that go on behind them: a list knows "Alexander" and not "Spier"."""
    for start, end, kind in found:
        more = _GOES_ON.match(text, end) if kind == "naam" else None
        yield start, more.end() if more else end, kind
