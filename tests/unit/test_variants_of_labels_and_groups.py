"""Variants of labels and of groups of opinion, against counting by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from koploper_pipelines.assets.slimme_participatie import ParticipatieSettings
from koploper_pipelines.assets.slimme_participatie import varianten as of_groups
from koploper_pipelines.assets.slimme_participatie.indicators import Conversation, group_rules
from koploper_pipelines.assets.taggen_en_gamen import TaggenSettings
from koploper_pipelines.assets.taggen_en_gamen import varianten as of_labels
from koploper_pipelines.methods import gevoeligheid
from koploper_pipelines.methods.slimme_participatie import groups
from koploper_pipelines.methods.taggen_en_gamen import labels

# -- Labels ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def game() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Judgements of players of unequal skill on 300 items, and experts on two thirds of them."""
    random = np.random.default_rng(3)
    truth = random.choice(["kerk", "molen", "water"], 300)
    skill = random.uniform(0.4, 0.95, 20)
    rows = []
    for item in range(300):
        for player in random.choice(20, random.integers(1, 8), replace=False):
            right = random.random() < skill[player]
            label = truth[item] if right else random.choice(["kerk", "molen", "water"])
            rows.append({"item": f"i{item:03d}", "speler": f"s{player:02d}", "label": label})
    judged = pd.DataFrame(rows).assign(gewicht=1.0, labels=None)
    part = np.where(np.arange(200) % 2 == 0, "ijking", "evaluatie")
    gold = pd.DataFrame({"item": [f"i{i:03d}" for i in range(200)], "label": truth[:200], "deel": part})
    return judged, gold.assign(is_zaad=False)


def test_labels_are_counted_under_every_combination(game: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    rows, gold = game
    choice = TaggenSettings()
    asked = gevoeligheid.combinations(of_labels.choices(choice, "dawid_skene"))
    told = of_labels.figures(rows, "enkel", gold, choice, asked).set_index("combinatie")
    assert len(told) == 3 * 3 * 3 + 1
    simple = told.loc["methode=meerderheid; min_oordelen=3; aanvaarden_vanaf=0.80"]
    found = labels.claims(rows, "enkel", "meerderheid")
    from koploper_pipelines.assets.taggen_en_gamen.indicators import calibration

    found["zeker"] = calibration(found, "enkel", gold, choice)(found["kans"].to_numpy(float))
    judged = labels.against_gold(found, "enkel", gold)
    accepted = (judged["zeker"] >= 0.80) & (judged["aantal_oordelen"] >= 3)
    assert simple["waarde"] == pytest.approx(100 * (judged["kans_goed"] * accepted).sum() / len(judged))
    assert simple["waarde_onder"] < simple["waarde"] < simple["waarde_boven"]
    # Asking more of a label gives fewer of them.
    by_least = [
        told.loc[f"methode=een_munt; min_oordelen={n}; aanvaarden_vanaf=0.90", "waarde"] for n in (2, 3, 5)
    ]
    assert by_least == sorted(by_least, reverse=True) and by_least[0] > by_least[-1]


def test_labels_of_too_few_players_give_no_figure(game: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    rows, gold = game
    choice = TaggenSettings(min_spelers=21)
    asked = gevoeligheid.combinations(of_labels.choices(choice, "meerderheid"))
    told = of_labels.figures(rows, "enkel", gold, choice, asked)
    assert told["waarde"].isna().all() and (told["aantal_cellen"] == 0).all()


# -- Groups of opinion -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def talk() -> Conversation:
    """Three groups of 60 that vote on 20 statements, the last of which hardly anybody saw."""
    random = np.random.default_rng(4)
    group = np.repeat([0, 1, 2], 60)
    side = random.choice([-1.0, 1.0], (3, 20))
    side[:, :3] = 1.0
    votes = np.where(random.random((180, 20)) < 0.9, side[group], -side[group])
    seen = random.random((180, 20)) < 0.8
    seen[:, 19] = np.arange(180) < 8
    person, statement = np.nonzero(seen)
    people = pd.DataFrame({"deelnemer": [f"d{i:03d}" for i in range(180)]})
    cast = seen.sum(axis=1).astype(np.int64)
    arrays: Any = groups.Votes(person, statement, votes[seen], 180, 20, 0, cast)
    names = np.array([f"s{i:02d}" for i in range(20)], object)
    return Conversation("gesprek", arrays, people, names, np.zeros(len(person), np.int64))


def by_hand(talk: Conversation, label: np.ndarray, statements: list[int]) -> float:
    """Mean over statements of the smallest share over groups that agrees."""
    shares = []
    for statement in statements:
        on = talk.votes.statement == statement
        of = label[talk.votes.participant[on]]
        agree = talk.votes.value[on] > 0
        shares.append(min(agree[of == g].mean() for g in range(label.max() + 1)))
    return 100 * float(np.mean(shares))


def test_support_in_all_groups_is_counted_under_every_combination(talk: Conversation) -> None:
    choice = ParticipatieSettings()
    asked = gevoeligheid.combinations(of_groups.choices(choice, has_weights=True))
    told = of_groups.figures(talk, np.ones(180), choice, asked).set_index("combinatie")
    usual = told.loc["min_stemmen=7; aantal_groepen=beste; weging=nee"]
    found = groups.opinion_groups(talk.votes, group_rules(choice))
    support = [by_hand(talk, found.label, [s]) for s in range(19)]
    top = sorted(np.argsort(support)[-of_groups.TOP :])
    assert usual["waarde"] == pytest.approx(by_hand(talk, found.label, top))
    # Weights that are all alike change nothing, and a number of groups that is forced is the same grouping.
    assert told.loc["min_stemmen=7; aantal_groepen=beste; weging=ja", "waarde"] == usual["waarde"]
    fixed = told.loc[f"min_stemmen=7; aantal_groepen={found.number}; weging=nee"]
    assert fixed["waarde"] == usual["waarde"]
    # The statement that eight people saw is no cell: opinion crossed with group rests on ten in each.
    assert usual["aantal_cellen"] == 19
    assert usual["waarde_onder"] <= usual["waarde"] <= usual["waarde_boven"]


def test_weights_count_people(talk: Conversation) -> None:
    choice = ParticipatieSettings()
    asked = gevoeligheid.combinations(of_groups.choices(choice, has_weights=True))
    weight = np.where(np.arange(180) % 2 == 0, 3.0, 1.0)
    told = of_groups.figures(talk, weight, choice, asked).set_index("combinatie")
    plain, weighted = (
        told.loc[f"min_stemmen=7; aantal_groepen=beste; weging={w}", "waarde"] for w in ("nee", "ja")
    )
    assert weighted != pytest.approx(plain, abs=1e-6)


def test_small_groups_give_no_figure(talk: Conversation) -> None:
    choice = ParticipatieSettings(min_deelnemers=70)
    asked = gevoeligheid.combinations(of_groups.choices(choice, has_weights=False))
    told = of_groups.figures(talk, None, choice, asked).set_index("combinatie")
    assert np.isnan(told.loc["min_stemmen=7; aantal_groepen=3", "waarde"])
