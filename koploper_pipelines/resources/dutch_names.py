"""Names and addresses in Dutch texts, found with the word lists of the `deduce` package (LGPL-3.0).

Here belong loading those lists and what of its findings counts in the words of citizens (it was made for
medical records). What becomes of them is up to whoever asks.

Deduce turns its lists into search trees of two million nodes, which takes a minute or two to build and a
gigabyte to hold. Nearly all of those nodes are alike, and half of them are names of hospitals: what is kept
here, once, is each different node of the lists that are used (40 MB, loaded in a tenth of a second).
`python -m koploper_pipelines.resources.dutch_names` makes them at set-up, beside the lists.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import logging
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Groups of annotators; the others look for what stands in medical records alone, or is found by pattern here.
WANTED = ("names", "locations")
OF_HOSPITALS = ("hospital", "hospital_abbr", "healthcare_institution")
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
        "herfst",
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
        "lente",
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
        "winter",
        "wit",
        "zet",
        "zomer",
        "zon",
        "zwart",
    ]
)


def names_and_addresses() -> Callable[[str], list[tuple[int, int, str]]]:
    """A function from text to (start, end, `naam` or `adres`) of what it finds."""
    trees = _trees()
    if not trees.is_dir():
        # In a process of its own: building takes more than a gigabyte.
        subprocess.run([sys.executable, "-m", __name__], check=True)
    with _imports_undone():
        from deduce import Deduce

        deduce = Deduce(load_base_config=False, config=_configuration(), cache_path=trees)

    def find(text: str) -> list[tuple[int, int, str]]:
        return list(_counting(text, deduce.deidentify(text).annotations))

    return find


@contextmanager
def _imports_undone() -> Iterator[None]:
    """For deduce, whose imports, also at its start, take over the logging (at DEBUG) and the warnings."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    try:
        with warnings.catch_warnings():
            yield
    finally:
        root.setLevel(level)
        root.handlers[:] = handlers


def _package() -> Path:
    found = importlib.util.find_spec("deduce")
    assert found is not None and found.origin is not None
    return Path(found.origin).parent


def _trees() -> Path:
    """Where the search trees stand; another version of the lists has others."""
    return _package() / "data" / "lookup" / f"koploper-{importlib.metadata.version('deduce')}"


def _configuration() -> dict[str, Any]:
    """Deduce's own configuration, with the wanted groups alone."""
    said: dict[str, Any] = json.loads((_package() / "base_config.json").read_text(encoding="utf-8"))
    said["annotators"] = {n: a for n, a in said["annotators"].items() if a["group"] in WANTED}
    return said


def build() -> None:
    """Make the search trees; nothing when they stand there."""
    trees = _trees()
    if trees.is_dir():
        return
    with _imports_undone():
        from deduce import Deduce
        from deduce.lookup_structs import cache_lookup_structs
    with tempfile.TemporaryDirectory(dir=trees.parent, prefix=f"{trees.name}.") as scratch:
        whole = Deduce(cache_path=Path(scratch) / "whole").lookup_structs
        known: dict[Any, Any] = {}
        for name in OF_HOSPITALS:
            del whole[name]
        for name, structure in list(whole.items()):
            if hasattr(structure, "children"):
                whole[name] = without_repeats(structure, known)
        cache_lookup_structs(whole, Path(scratch) / "trees", importlib.metadata.version("deduce"))
        # Two who build at once make the same: the second finds the place taken.
        try:
            os.rename(Path(scratch) / "trees", trees)
        except OSError:
            if not trees.is_dir():
                raise


def without_repeats(node: Any, known: dict[Any, Any]) -> Any:
    """A search tree that finds the same, in which equal subtrees are one.

    Args:
        node: root of the tree, which is changed.
        known: each different subtree so far, by what it consists of; trees that share it share their nodes.
    """
    node.children = {sys.intern(word): without_repeats(n, known) for word, n in node.children.items()}
    parts = frozenset((word, id(child)) for word, child in node.children.items())
    return known.setdefault((node.is_terminal, id(node.matching_pipeline), parts), node)


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
    build()
