"""The methods of Taggen en Gamen give the answers of crowd-kit and krippendorff; long, by `make oracle`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from crowds import ask, crowd

from koploper_pipelines.methods.taggen_en_gamen import agreement, consensus
from koploper_pipelines.methods.taggen_en_gamen.consensus import Judgements


def saved(judgements: Judgements, file: Path, **more: np.ndarray) -> Path:
    np.savez(file, item=judgements.item, player=judgements.player, label=judgements.label, **more)
    return file


@pytest.mark.oracle
@pytest.mark.full
@pytest.mark.parametrize("name", ["rte", "temp"])
def test_labels_are_those_of_crowd_kit(name: str, real_data: Callable[[str], Path], tmp_path: Path) -> None:
    rows = pd.read_csv(real_data(f"crowd/{name}.standardized.tsv"), sep="\t", dtype=str)
    item, items = pd.factorize(rows["orig_id"])
    player, players = pd.factorize(rows["amt_worker_ids"])
    label, names = pd.factorize(rows["response"], sort=True)
    truth = pd.Index(names).get_indexer(pd.Index(rows.drop_duplicates("orig_id")["gold"]))
    judgements = Judgements(item, player, label, len(items), len(players), len(names))
    said = ask("labels", saved(judgements, tmp_path / "codes.npz"), "dawid_skene", "een_munt")
    own = {"dawid_skene": consensus.dawid_skene, "een_munt": consensus.one_coin}
    for method, fit in own.items():
        mine = consensus.winners(fit(judgements).probability)[0]
        theirs = np.array(said[method]["labels"])
        print(
            f"\n{name} {method}: own {(mine == truth).mean():.4f}, crowd-kit {(theirs == truth).mean():.4f}"
        )
        assert (mine == theirs).mean() >= 0.985
        assert (mine == truth).mean() >= (theirs == truth).mean() - 0.002


@pytest.mark.oracle
@pytest.mark.full
def test_alpha_is_that_of_krippendorff(tmp_path: Path) -> None:
    # Few, since it makes a table of all pairs of different directions.
    judgements, _ = crowd(400)
    rng = np.random.default_rng(2)
    theta = rng.uniform(0, 2 * np.pi, judgements.items)[judgements.item] + rng.vonmises(0, 3, 400)
    place = np.arange(400) % 5
    file = tmp_path / "codes.npz"
    np.savez(file, item=judgements.item, player=place, label=judgements.label, theta=theta)
    nominal = agreement.nominal_alpha(consensus.votes(judgements))
    assert nominal == pytest.approx(ask("alpha", file)["value"], abs=1e-9)
    circular = agreement.circular_alpha(judgements.item, theta, judgements.items)
    assert circular == pytest.approx(ask("circular", file)["value"], abs=1e-9)
