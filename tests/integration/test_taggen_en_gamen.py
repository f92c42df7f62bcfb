"""Taggen en Gamen from files in the inbox to what an analyst reads, on real label sets and on known truth."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import toolbox

from koploper_pipelines.gates.step import Platform, run_table
from koploper_pipelines.simulation import Simulated
from koploper_pipelines.simulation import taggen_en_gamen as game

pytestmark = toolbox.WARNINGS_OF_OTHERS

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
EXPERIMENT = "taggen_en_gamen"
RAW, CLEAN, GOLD, CONSENSUS = (
    f"{EXPERIMENT}/{t}" for t in ("raw/oordelen", "cleaned/oordelen", "cleaned/goud", "indicators/consensus")
)
LANDINGS = tuple(f"{EXPERIMENT}/raw/{t}" for t in ("goud", "oordelen", "vragen"))
LABEL_COLUMNS = [
    "item", "vraag", "label", "methode", "vertrouwen", "aantal_oordelen", "aantal_spelers", "besluit",
]  # fmt: skip


def drop(platform: Platform, name: str, content: bytes | str) -> Path:
    inbox = platform.settings.inbox / EXPERIMENT
    inbox.mkdir(parents=True, exist_ok=True)
    (inbox / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return inbox / name


def to_labels(platform: Platform, *more: str) -> dict[str, bool]:
    """Land what waits and make labels of it; whether each table passed."""
    return {
        path: run_table(platform, platform.tables[path], run_id="proef").passed
        for path in (*LANDINGS, CLEAN, *more, CONSENSUS)
    }


def labels_of(platform: Platform) -> pd.DataFrame:
    rows = toolbox.lake_table(platform, CONSENSUS)
    return rows.sort_values(["vraag", "item", "volgnummer"], ignore_index=True)


def crowd(file: Path) -> tuple[pd.DataFrame, pd.Series]:
    """A label set as the plain file says it, and the truth by item."""
    rows = pd.read_csv(file, sep="\t", dtype=str)
    named = rows.rename(columns={"orig_id": "task", "amt_worker_ids": "worker", "response": "label"})
    return named[["task", "worker", "label"]], rows.drop_duplicates("orig_id").set_index("orig_id")["gold"]


# -- A whole night -----------------------------------------------------------------------------------------


@dataclass
class Night:
    platform: Platform
    made: Simulated
    published: dict[str, pd.DataFrame]
    came_to: toolbox.DirectNight
    truth: dict[str, pd.Series]


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory, real_data: Callable[[str], Path]) -> Night:
    """The simulated game, two real label sets with gold, and a real export, in one night."""
    home = tmp_path_factory.mktemp("taggen")
    platform = toolbox.installation(home / "home", NOW)
    inbox = platform.settings.inbox / EXPERIMENT
    made = game.demo(inbox, home / "sim", first=date(2026, 9, 1), last=date(2026, 11, 23), now=NOW)
    truth = {}
    for name in ("rte", "temp"):
        rows, truth[name] = crowd(real_data(f"crowd/{name}.standardized.tsv"))
        drop(platform, f"{name}.csv", rows.to_csv(index=False))
        gold = truth[name].rename_axis("task").rename("label").reset_index()
        drop(platform, f"{name}.gold.csv", gold.to_csv(index=False))
    shutil.copy(real_data("zooniverse/chicago_sample_version5.csv"), inbox)
    came_to = toolbox.direct_night(platform)
    return Night(platform, made, toolbox.published(platform), came_to, truth)


def test_everything_passes_its_gate_and_is_released(night: Night) -> None:
    assert (night.came_to.held_back, night.came_to.refusals) == ({}, [])
    assert not list((night.platform.settings.inbox / EXPERIMENT).iterdir())
    wanted = {
        "labels",
        "locaties",
        "kijkrichting",
        "overeenstemming",
        "betrokkenheid",
        "evaluatie",
        "leercurve",
    }
    assert {f"taggen_{t}" for t in wanted} <= night.published.keys()
    assert all(len(night.published[f"taggen_{t}"]) for t in wanted)


def test_labels_of_real_sets_reach_the_published_accuracies(night: Night) -> None:
    labels = night.published["taggen_labels"]
    assert set(LABEL_COLUMNS) <= set(labels.columns)
    for name, accuracy in (("rte", 0.928), ("temp", 0.940)):
        own = labels[labels["vraag"] == name].set_index("item")
        truth = night.truth[name]
        assert own.index.is_unique and set(own.index) == set(truth.index)
        assert (own["label"] == truth.reindex(own.index)).mean() >= accuracy - 0.002
        assert (own["methode"] == "dawid_skene").all()
        assert (own["aantal_oordelen"] == 10).all() and (own["aantal_spelers"] == 10).all()
        assert own["besluit"].isin(["aanvaarden", "meer_spelers", "deskundige"]).all()


def test_evaluation_of_real_sets(night: Night) -> None:
    rows = night.published["taggen_evaluatie"].set_index(["vraag", "methode"])
    expected = {
        ("rte", "dawid_skene"): 0.928, ("rte", "een_munt"): 0.925, ("rte", "meerderheid"): 0.897,
        ("temp", "dawid_skene"): 0.940, ("temp", "een_munt"): 0.939, ("temp", "meerderheid"): 0.936,
    }  # fmt: skip
    for key, accuracy in expected.items():
        assert rows.loc[key, "nauwkeurigheid"] == pytest.approx(accuracy, abs=0.002), key
    rte = rows.loc[("rte", "dawid_skene")]
    assert rte["nauwkeurigheid_onder"] < rte["nauwkeurigheid"] < rte["nauwkeurigheid_boven"]
    # Paired, since the intervals of two methods on the same items say little.
    assert rte["verschil_onder"] > 0 and rte["mcnemar_p"] < 0.01
    assert rte["ece"] < rte["ece_voor_ijking"]
    assert rte["ece_onder"] <= rte["ece"] <= rte["ece_boven"]
    assert (rte["aantal_goud"], rte["goud_als_steekproef"]) == (800, "alle_items")
    assert rte["aantal_goud_evaluatie"] + rte["aantal_goud_ijking"] == 800
    # Without moments nothing can be replayed, and that is said.
    assert (rte["oordelen_bespaard_pct_status"], pd.isna(rte["oordelen_bespaard_pct"])) == (
        "niet_beschikbaar",
        True,
    )
    played = rows.loc[("hoofdonderwerp", "dawid_skene")]
    assert played["oordelen_bespaard_pct_status"] == "definitief" and played["oordelen_bespaard_pct"] > 20
    chicago = rows.loc[("3054.T0", "dawid_skene")]
    assert chicago["nauwkeurigheid_status"] in ("definitief", "geen_referentie")


def test_the_game_s_truth_is_found(night: Night) -> None:
    truth = pd.read_parquet(night.made.truth / "items.parquet").set_index("item")
    labels = night.published["taggen_labels"]
    subject = labels[labels["vraag"] == "hoofdonderwerp"].set_index("item")
    assert (subject["label"] == truth["hoofdonderwerp"].reindex(subject.index)).mean() > 0.92
    places = night.published["taggen_locaties"].set_index("item")
    known = places[places["rd_x_m_status"] == "definitief"]
    off = np.hypot(
        known["rd_x_m"] - truth["rd_x_m"].reindex(known.index),
        known["rd_y_m"] - truth["rd_y_m"].reindex(known.index),
    )
    assert len(known) > 0.8 * len(places) and off.median() <= 45
    looked = night.published["taggen_kijkrichting"].set_index("item")
    turned = (looked["kijkrichting_graden"] - truth["richting_graden"].reindex(looked.index)).abs() % 360
    right = np.minimum(turned, 360 - turned) <= 22.5
    sure = looked["kijkrichting_graden_status"] == "definitief"
    assert right[sure].mean() > right[~sure].mean()
    assert right[sure].mean() > 0.88


def test_planted_faults_are_what_was_set_aside(night: Night) -> None:
    told = pd.read_parquet(night.made.truth / "records.parquet")
    aside = toolbox.quarantine(night.platform, CLEAN)
    raw = toolbox.lake_table(night.platform, RAW)
    of_game = aside[aside["bestand"].isin(raw.loc[raw["groep"] == game.WORKFLOW, "bestand"])]
    found = of_game.groupby("reden")["rij"].agg(lambda rows: {int(r) for r in rows})
    expected = {
        "json_afgebroken": "antwoorden_onleesbaar", "dubbel_id": "dubbel_id",
        "duur_negatief": "duur_negatief",
        "merk_als_tekst": "antwoord_verkeerde_vorm", "taak_onbekend": "taak_onbekend",
    }  # fmt: skip
    for fault, reason in expected.items():
        planted = set(told.loc[told["fout"] == fault, "rij"])
        assert planted, fault
        assert set(found[reason]) == planted, fault
    # Nothing else but judgements of the same player on the same item again.
    assert set(found.index) == {*expected.values(), "herhaling"}
    clean = told[told["fout"].isna()]
    again = set(clean.loc[clean.duplicated(["speler", "item"]), "rij"])
    assert set(found["herhaling"]) <= again
    marked = toolbox.lake_table(night.platform, CLEAN)
    assert marked["is_buiten_beeld"].sum() >= (told["fout"] == "buiten_beeld").sum() * 0.8
    assert marked["is_leeg"].any() and marked["is_eentonig"].any() and marked["is_te_snel"].any()


def test_every_record_ends_kept_or_set_aside(night: Night) -> None:
    raw = toolbox.lake_table(night.platform, RAW)
    kept = toolbox.lake_table(night.platform, CLEAN)
    aside = toolbox.quarantine(night.platform, CLEAN)
    answers = sum(
        1 if f == "csv" or not _is_json(a) else len(json.loads(a))
        for f, a in zip(raw["formaat"], raw["antwoorden"], strict=True)
    )
    # Each task of these files gives one answer; a cut-off record is one row.
    assert len(kept) + len(aside) == answers
    assert len(raw) == night.made.rows + 8000 + 4620 + 1000


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def test_nobody_s_name_is_anywhere_in_the_tables(night: Night) -> None:
    names = ["speler_0", "not-logged-in", "w000", "deskundige_1"]
    ips = pd.read_parquet(night.made.truth / "spelers.parquet")["speler"].tolist()
    for path in night.platform.tables:
        if not (path.startswith(EXPERIMENT) and night.platform.lake.exists(path)):
            continue
        for frame in (toolbox.lake_table(night.platform, path), toolbox.quarantine(night.platform, path)):
            text = frame.astype("str").to_csv()
            assert not [n for n in (*names, *ips[:5]) if n in text], path
    published = "".join(
        t.astype("str").to_csv() for n, t in night.published.items() if n.startswith("taggen")
    )
    players = set(toolbox.lake_table(night.platform, CLEAN)["speler"])
    assert not [p for p in players if p in published]


def test_engagement_is_that_of_the_closed_months(night: Night) -> None:
    rows = night.published["taggen_betrokkenheid"]
    assert set(rows["maand"]) <= {"2026-09", "2026-10"}
    own = rows[rows["spelersgroep"] == "aangemeld"].set_index("indicator")
    kept = toolbox.lake_table(night.platform, CLEAN)
    played = kept[~kept["is_anoniem"] & ~kept["is_deskundige"] & kept["beurt"].str.startswith("zooniverse")]
    month = played["tijd"].dt.tz_convert("Europe/Amsterdam").dt.strftime("%Y-%m")
    played = played[month <= own["maand"].iloc[0]]
    labels = played[played["gewicht"] > 0].groupby("speler").size()
    labels = labels.reindex(played["speler"].unique(), fill_value=0).sort_values().to_numpy(float)
    apart = np.abs(labels[:, None] - labels[None, :]).mean() / (2 * labels.mean())
    assert own.loc["gini", "waarde"] == pytest.approx(apart, abs=0.006)
    assert own.loc["gini", "aantal_spelers"] == len(labels)
    hours = played.drop_duplicates("beurt")["duur_s"].sum() / 3600
    assert own.loc["labels_per_uur", "waarde"] == pytest.approx(labels.sum() / hours, rel=0.03)
    assert own.loc["verwachte_bijdrage", "waarde"] == pytest.approx(labels.mean(), rel=0.01)
    shown = rows[rows["waarde"].notna()]
    assert (shown["aantal_spelers"] >= 5).all()


def test_another_night_without_news_changes_nothing(night: Night) -> None:
    assert not [p for p in night.platform.plan().pending() if p.table.startswith(EXPERIMENT)]


# -- Files -------------------------------------------------------------------------------------------------


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    return toolbox.installation(tmp_path / "home", NOW)


def plain(items: int = 30, players: int = 5, wrong: int = 7) -> str:
    lines = [f"i{i},p{p},{'ja' if (i + p) % wrong else 'nee'}" for i in range(items) for p in range(players)]
    return "\n".join(["task,worker,label", *lines, ""])


def export(rows: int) -> tuple[str, list[str]]:
    """Header and records of a Zooniverse export, from the simulation's own writer."""
    rng = np.random.default_rng(3)
    world = game._game(rng, 20, 12)
    turns = game._turns(rng, world, date(2026, 10, 1), 20, rows)
    records = [game._record(rng, world, t, n, None) for n, t in enumerate(turns.itertuples())]
    import csv
    import io

    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([game.COLUMNS, *records])
    header, *lines = out.getvalue().rstrip("\n").split("\n")
    return header, lines


def test_a_broken_export_changes_nothing_else(platform: Platform) -> None:
    header, lines = export(100)
    drop(platform, "spel.csv", "\n".join([header, *lines, ""]))
    assert all(to_labels(platform).values())
    before = labels_of(platform)
    worst = [lines[0][:300], lines[1].replace('""', '"'), lines[2], lines[3].replace(",12.7,", ",nieuw,")]
    drop(platform, "kapot.csv", "\n".join([header, *worst, ""]))
    assert all(to_labels(platform).values())
    assert labels_of(platform).equals(before)
    reasons = toolbox.quarantine(platform, CLEAN)["reden"].value_counts()
    assert reasons["regel_onleesbaar"] == 2
    assert set(reasons.index) <= {
        "regel_onleesbaar", "vervangen_door_latere_export", "dubbel_id", "versie_onleesbaar", "herhaling",
    }  # fmt: skip


def test_a_later_larger_export_gives_what_it_would_have_given_alone(
    platform: Platform, tmp_path: Path
) -> None:
    header, lines = export(120)
    drop(platform, "week1.csv", "\n".join([header, *lines[:60], ""]))
    assert all(to_labels(platform).values())
    drop(platform, "week2.csv", "\n".join([header, *lines, ""]))
    assert all(to_labels(platform).values())
    alone = toolbox.installation(tmp_path / "alone", NOW)
    drop(alone, "week2.csv", "\n".join([header, *lines, ""]))
    to_labels(alone)
    assert labels_of(platform).equals(labels_of(alone))
    counted = labels_of(platform).drop_duplicates(["vraag", "item"])
    assert len(toolbox.lake_table(platform, RAW)) == 180
    assert counted.groupby("vraag")["aantal_oordelen"].sum().max() <= 120


def test_files_of_one_content_and_two_names_are_two_questions_and_the_same_file_twice_is_one(
    platform: Platform,
) -> None:
    for name in ("dak.csv", "toren.csv"):
        drop(platform, name, plain())
    to_labels(platform)
    first = labels_of(platform)
    assert set(first["vraag"]) == {"dak", "toren"}
    drop(platform, "dak.csv", plain())
    to_labels(platform)
    assert labels_of(platform).equals(first)
    assert len(toolbox.lake_table(platform, RAW)) == 300


REFUSED = {
    "iets.csv": ("a,b\n1,2\n", "expected one of: a Zooniverse"),
    "half.json": ('[{"id": 1, "annotations": [', "is it cut off"),
    "dak.gold.csv": ("task,worker,label\n1,a,ja\n", "expected task, label"),
    "vragen.yaml": ("groep: 3\nvragen:\n  - {taak: T0, vraag: x, soort: iets}\n", "vragen.0.soort"),
    "kapot.yaml": ("groep: [", "not YAML"),
    "boek.csv": (b"PK\x03\x04rest", "zip or spreadsheet"),
}


def test_what_cannot_be_read_waits_for_a_person_and_keeps_nothing_else_out(platform: Platform) -> None:
    for name, (content, _) in REFUSED.items():
        drop(platform, name, content)
    drop(platform, "dak.csv", plain())
    passed = to_labels(platform)
    assert not passed[RAW] and passed[CONSENSUS]
    assert set(labels_of(platform)["vraag"]) == {"dak"}
    aside = platform.settings.inbox / "afgekeurd"
    for name, (_, said) in REFUSED.items():
        assert (aside / name).is_file()
        report = (aside / f"{name}.rapport.txt").read_text(encoding="utf-8")
        assert said in report and name in report, report


def test_few_judgements_are_decided_by_the_majority_and_ask_for_more(platform: Platform) -> None:
    drop(platform, "dak.csv", plain(items=40, players=2, wrong=1000))
    to_labels(platform)
    found = labels_of(platform)
    assert (found["methode"] == "meerderheid").all()
    assert (found["besluit"] == "meer_spelers").all()
    assert not found["is_geijkt"].any()
    # Nobody's judgement counts: still there, and asked again.
    drop(platform, "leeg.csv", "task,worker,label\ni1,a,\n")
    to_labels(platform)
    blank = labels_of(platform).set_index("vraag").loc["leeg"]
    assert blank[["besluit", "aantal_oordelen"]].tolist() == ["meer_spelers", 0]
    assert pd.isna(blank["label"])


def test_gold_in_the_model_is_never_of_the_evaluation_part(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gold that lies turns its own items round and nothing that is evaluated."""
    drop(platform, "dak.csv", plain(items=200, wrong=1000))
    drop(platform, "dak.gold.csv", "task,label\n" + "".join(f"i{i},nee\n" for i in range(200)))
    to_labels(platform, GOLD)
    assert (labels_of(platform)["label"] == "ja").all()
    monkeypatch.setenv("KOPLOPER_TAGGEN_EN_GAMEN_GOUD_IN_MODEL", "true")
    to_labels(platform)
    gold = toolbox.lake_table(platform, GOLD).set_index("item")
    turned = labels_of(platform).set_index("item")["label"] == "nee"
    seeds = gold["is_zaad"].reindex(turned.index)
    assert (gold.loc[gold["is_zaad"], "deel"] == "ijking").all() and seeds.sum() > 30
    assert turned[seeds].all()
