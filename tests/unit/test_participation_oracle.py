"""Figures of statements are those of red-dwarf, on real conversations with Polis' groups: `make oracle`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from crowds import ask

from koploper_pipelines.methods.slimme_participatie import statements
from koploper_pipelines.methods.slimme_participatie.groups import Votes


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
