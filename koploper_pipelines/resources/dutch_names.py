"""Names and addresses in Dutch texts, found with the word lists of the `deduce` package (LGPL-3.0).

Here belong loading those lists and what of its findings counts in the words of citizens (it was made for
medical records). What becomes of them is up to whoever asks.

The first load on a machine builds search trees out of the lists, which takes a minute or two; they are kept
beside the lists. `python -m koploper_pipelines.resources.dutch_names` does it at set-up.
"""

from __future__ import annotations

import gc
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

# Annotators of medical records that have nothing to find here.
NOT_WANTED = frozenset(
    {"institutions", "dates", "ages", "urls", "identifiers", "phone_numbers", "email_addresses"}
)
# Words that start many proposals and are surnames too.
WORDS = frozenset(
    [
        "bank",
        "bank-",
        "berg",
        "bos",
        "bouw",
        "brug",
        "dam",
        "dijk",
        "fiets",
        "geef",
        "groen",
        "haal",
        "hal",
        "help",
        "hof",
        "hoge",
        "hou",
        "huis",
        "kap",
        "kerk",
        "koop",
        "kies",
        "laat",
        "leg",
        "lage",
        "maak",
        "markt",
        "meer",
        "minder",
        "molen",
        "nieuw",
        "oude",
        "park",
        "pas",
        "plant",
        "plaats",
        "poort",
        "put",
        "ring",
        "ruim",
        "schaf",
        "school",
        "schoon",
        "sloop",
        "sloot",
        "sluit",
        "start",
        "stop",
        "straat",
        "toren",
        "trek",
        "veel",
        "verbeter",
        "verbied",
        "vis",
        "vries",
        "water",
        "weg",
        "wit",
        "zet",
        "zon",
        "zwart",
    ]
)


@contextmanager
def names_and_addresses() -> Iterator[Callable[[str], list[tuple[int, int, str]]]]:
    """A function from text to (start, end, `naam` or `adres`) of what it finds; for as long as it is needed.

    Its search trees take a gigabyte: they are let go of afterwards.
    """
    deduce = _loaded()

    def find(text: str) -> list[tuple[int, int, str]]:
        document = deduce.deidentify(text, disabled=set(NOT_WANTED))
        return list(_counting(text, document.annotations))

    try:
        yield find
    finally:
        gc.unfreeze()


def _loaded() -> Any:
    root, level, handlers = logging.getLogger(), logging.getLogger().level, list(logging.getLogger().handlers)
    was_on = gc.isenabled()
    # Its import takes over the whole program's logging, at level DEBUG, and its filters of warnings; and it
    # unpickles millions of small objects, in which the collector looks for garbage again and again (26 s
    # against 1.5 s).
    gc.disable()
    try:
        with warnings.catch_warnings():
            from deduce import Deduce

            return Deduce()
    finally:
        root.setLevel(level)
        root.handlers[:] = handlers
        # While it is used no collection needs to look at it.
        gc.freeze()
        if was_on:
            gc.enable()


def _counting(text: str, annotations: Any) -> Iterator[tuple[int, int, str]]:
    """What of the annotations is a person or an address; place names alone expose nobody."""
    for found in annotations:
        start, end, tag = found.start_char, found.end_char, found.tag
        if tag == "locatie":
            if any(c.isdigit() for c in found.text):
                yield start, end, "adres"
        elif tag in ("persoon", "patient") and not _is_a_word(text, start, end):
            yield start, end, "naam"


def _is_a_word(text: str, start: int, end: int) -> bool:
    """Whether a "name" is one ordinary word, with its capital from the start of a sentence."""
    starts_sentence = not text[:start].rstrip() or text[:start].rstrip()[-1] in ".!?:;\"'"
    return starts_sentence and text[start:end].lower() in WORDS


if __name__ == "__main__":
    _loaded()
