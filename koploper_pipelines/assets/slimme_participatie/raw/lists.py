"""Lists beside the conversations: the population of CBS, the province's themes, and what people checked.

Here belong their layouts, as columns of text.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from koploper_pipelines.gates.staging import SchemaMismatch
from koploper_pipelines.resources.inbox_folders import check_header, read_rows

if TYPE_CHECKING:
    import pyarrow as pa

PATTERNS = ("bevolking*.csv", "themas*.yaml", "controle*.csv")
REGION = ("regios", "regio's", "regio", "gemeente")
MIN_EXAMPLES = 10


def matches(pattern: str, name: str) -> bool:
    """Whether a file's name is of a kind of list."""
    return fnmatch.fnmatch(name.lower(), pattern)


def population(file: Path, name: str) -> pa.Table:
    """CBS' population by municipality, age and sex, in the layout of a StatLine download with labels."""
    import pyarrow as pa

    from koploper_pipelines.methods.slimme_participatie.reach import age_band

    lines = read_rows(file, name)
    header = [c.strip().lower() for c in next(lines)]
    region = next((c for c in REGION if c in header), REGION[0])
    check_header(
        header,
        name,
        ("geslacht", "leeftijd", region, "perioden"),
        [c for c in header if c.startswith("bevolking")] + ["id"],
    )
    figures = [c for c in header if c.startswith("bevolking")]
    if len(figures) != 1:
        raise SchemaMismatch(f"{name}: {len(figures)} columns that start with 'Bevolking', expected one")
    at = [header.index(c) for c in ("geslacht", "leeftijd", region, "perioden", figures[0])]
    rows = [[line[i].strip() for i in at] for line in lines]
    for number, (_, age, _, _, figure) in enumerate(rows, start=1):
        if not age.lower().startswith("totaal") and age_band(age) is None:
            raise SchemaMismatch(
                f"{name}: row {number}, column 'Leeftijd' is {age[:20]!r}, expected a label as"
                " '20 tot 25 jaar'"
            )
        if figure and not figure.isdigit():
            raise SchemaMismatch(f"{name}: row {number}, column {figures[0]!r} is no whole number")
    columns = list(zip(*rows, strict=True)) or [()] * 5
    names = ("geslacht", "leeftijd", "gemeente", "periode", "aantal")
    return pa.table({n: pa.array(c, pa.string()) for n, c in zip(names, columns, strict=True)})


def themes(file: Path, name: str) -> pa.Table:
    """The province's themes, each with at least ten example sentences: `themas: {naam: [zin, …]}`."""
    import pyarrow as pa
    import yaml

    try:
        said = yaml.safe_load(file.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise SchemaMismatch(f"{name}: cannot be read as YAML") from error
    listed = said.get("themas") if isinstance(said, dict) else None
    if not isinstance(listed, dict) or len(listed) < 2:
        raise SchemaMismatch(
            f"{name}: expected 'themas' with at least two themes and their example sentences"
        )
    rows = [(str(theme), str(sentence)) for theme, sentence in _examples(listed, name)]
    return pa.table(
        {
            "thema": pa.array([t for t, _ in rows], pa.string()),
            "voorbeeld": pa.array([s for _, s in rows], pa.string()),
        }
    )


def _examples(listed: dict[object, object], name: str) -> Iterator[tuple[object, object]]:
    for theme, sentences in listed.items():
        if not isinstance(sentences, list) or len(sentences) < MIN_EXAMPLES:
            raise SchemaMismatch(f"{name}: theme {theme!r} has fewer than {MIN_EXAMPLES} example sentences")
        yield from ((theme, sentence) for sentence in sentences)


def checks(file: Path, name: str) -> pa.Table:
    """A drawn sample with the theme that a person gave each text; a text without one is left out."""
    import pyarrow as pa

    lines = read_rows(file, name)
    header = [c.strip().lower() for c in next(lines)]
    check_header(header, name, ("gesprek", "soort", "tekst_id", "thema"), ("tekst",))
    at = [header.index(c) for c in ("gesprek", "soort", "tekst_id", "thema")]
    rows = [[line[i].strip() for i in at] for line in lines]
    filled = [row for row in rows if row[3]]
    if not filled:
        raise SchemaMismatch(f"{name}: column 'thema' is empty in every row, expected the theme of each text")
    columns = zip(*filled, strict=True)
    names = ("gesprek", "soort", "tekst_id", "thema")
    return pa.table({n: pa.array(c, pa.string()) for n, c in zip(names, columns, strict=True)})
