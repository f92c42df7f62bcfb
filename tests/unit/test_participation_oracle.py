"""Statements judged by red-dwarf, on real conversations; masking by the people of Faker; `make oracle`."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from crowds import ask

from koploper_pipelines.methods.slimme_participatie import statements, texts
from koploper_pipelines.methods.slimme_participatie.groups import Votes
from koploper_pipelines.resources.dutch_names import names_and_addresses
from koploper_pipelines.simulation.slimme_participatie import words


@pytest.mark.oracle
@pytest.mark.full
@pytest.mark.parametrize("name", ["canadian-electoral-reform", "scoop-hivemind.ubi", "vtaiwan.uberx"])
def test_statements_are_those_of_red_dwarf(
    name: str, real_data: Callable[[str], Path], tmp_path: Path
) -> None:
    rows = pd.read_csv(real_data(f"polis/{name}/participants-votes.csv"))
    judged = pd.read_csv(real_data(f"polis/{name}/comments.csv")).set_index("comment-id")["moderated"]
    kept = [c for c in rows.columns if c.isdigit() and judged.get(int(c), 0) != -1]
    matrix, group = rows[kept].to_numpy(dtype=float), rows["group-id"].fillna(-1).to_numpy(dtype=np.int64)
    file = tmp_path / "codes.npz"
    np.savez(file, matrix=matrix, group=group)
    theirs = ask("opinions", file)

    person, statement = np.nonzero(~np.isnan(matrix))
    cast = (~np.isnan(matrix)).sum(axis=1)
    votes = Votes(person, statement, matrix[person, statement], *matrix.shape, 0, cast)
    number = int(group.max()) + 1
    counts = statements.count_by_group(votes, group, number)
    own = statements.group_informed_consensus(counts.agree, counts.seen)
    np.testing.assert_allclose(own, theirs["consensus"], rtol=0, atol=1e-12)

    found = statements.representative(counts)
    for g in range(number):
        mine = set(found.loc[found["groep"] == g, ["stelling", "kant"]].itertuples(index=False, name=None))
        assert mine == {(s, side) for s, side in theirs["representative"][str(g)]}
        assert 1 <= len(mine) <= 5

    whole = statements.count_by_group(votes, np.zeros(len(matrix), dtype=np.int64), 1)
    chosen = statements.majority_consensus(whole.agree[0], whole.disagree[0], whole.seen[0])
    assert set(np.flatnonzero(chosen == 1)) == set(theirs["majority"]["agree"])
    assert set(np.flatnonzero(chosen == -1)) == set(theirs["majority"]["disagree"])
    apart = np.abs(own - theirs["consensus"]).max()
    print(f"\n{name}: consensus within {apart:.0e}, {len(found)} representative statements alike")


SAYS = {
    "naam": ("Mijn naam is {}.", "Vraag het aan {} van de gemeente.", "{} vindt dat ook.",
             "Ik ben {} en woon hier al jaren.", "Dit is een idee van {}, buurtbewoner.", "Groeten, {}"),
    "voornaam": ("Ik heet {}.", "Mijn dochter {} fietst hier elke dag.", "Groetjes, {}"),
    "achternaam": ("De familie {} is het ermee eens.", "Volgens {} kan het beter.",
                   "Buurman {} heeft gelijk.", "Wethouder {} moet luisteren.",
                   "{} heeft dit al eens voorgesteld."),
    "adres": ("Ik woon op {}.", "Op {} is het druk.", "Bij ons aan de {} is het gevaarlijk."),
    "postcode": ("Mijn postcode is {}.", "Wij wonen op {} en zien het elke dag."),
    "telefoon": ("Bel me op {}.", "Mijn nummer: {}"),
    "e_mail": ("Mail naar {}.",), "bsn": ("Mijn bsn is {}.",), "iban": ("IBAN {}.",),
}  # fmt: skip


@pytest.mark.oracle
@pytest.mark.full
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_masking_finds_people_of_another_make(seed: int, tmp_path: Path) -> None:
    file = tmp_path / "codes.npz"
    np.savez(file, seed=seed)
    find, rng = names_and_addresses(), np.random.default_rng(seed)
    hits: dict[str, list[bool]] = defaultdict(list)
    for person in ask("people", file):
        for kind, patterns in SAYS.items():
            value = person[kind]
            said = str(rng.choice(patterns)).format(value)
            theme = list(words.THEMES)[rng.integers(len(words.THEMES))]
            masked = texts.mask(texts.readable(f"{words.sentence(rng, theme)} {said}"), find).text
            # Nothing of it may be left: of a name its last part, of an address street and number.
            left = re.search(rf"(?<!\w){re.escape(value.split()[-1])}(?!\w)", masked)
            hits[kind].append(value not in masked and (left is None or kind in ("telefoon", "postcode")))
            if kind == "adres":
                hits["huisnummer"].append(left is None)
    found = {kind: round(float(np.mean(h)), 3) for kind, h in hits.items()}
    print(f"\n{found}")
    numbers = ("postcode", "telefoon", "e_mail", "bsn", "iban")
    assert {kind: found[kind] for kind in numbers} == dict.fromkeys(numbers, 1.0)
    assert found["naam"] >= 0.93
