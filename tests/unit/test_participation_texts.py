"""Masking, readable text, language, themes and who took part."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from koploper_pipelines.methods.slimme_participatie import reach, texts, themes
from koploper_pipelines.resources.dutch_names import names_and_addresses, without_repeats
from koploper_pipelines.resources.languages import language
from koploper_pipelines.simulation.slimme_participatie import words

Finder = Callable[[str], Any]
COMPLETE = ("e_mail", "postcode", "telefoon", "bsn", "iban")


@pytest.fixture(scope="module")
def find() -> Finder:
    return names_and_addresses()


def recalls(find: Finder, seed: int, number: int = 500) -> dict[str, float]:
    """Share of planted values of each kind of which nothing is left; a quarter of the numbers is mistyped."""
    rng = np.random.default_rng(seed)
    hits: dict[str, list[bool]] = {kind: [] for kind in words.KINDS}
    for i in range(number):
        kind = words.KINDS[i % len(words.KINDS)]
        said, value = words.planted(rng, kind, mistyped=bool(rng.random() < 0.25))
        theme = list(words.THEMES)[i % len(words.THEMES)]
        masked = texts.mask(texts.readable(f"{words.sentence(rng, theme)} {said}"), find).text
        hits[kind].append(value not in masked and value.split()[-1] not in masked)
    return {kind: float(np.mean(found)) for kind, found in hits.items()}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_masking_finds_what_was_planted(find: Finder, seed: int) -> None:
    found = recalls(find, seed)
    assert {kind: found[kind] for kind in COMPLETE} == dict.fromkeys(COMPLETE, 1.0)
    assert found["naam"] >= 0.93
    # Measured, no promise: surnames alone look like words, house numbers stand beside unknown streets.
    print({kind: round(found[kind], 2) for kind in ("naam", "achternaam", "adres")})


@pytest.mark.parametrize(
    "said",
    [
        "tel.0612345678", "06 12 34 56 78", "06/12345678", "(030) 234 56 78", "0031612345678",
        "+32 475 12 34 56", "06-1234567", "+3100-5628098", "0085 509083", "bsn 1234567",
        "123.456.782", "12345678", "1234 56 789",
        "NL91 ABNA 0417 1643 0", "NL9ABNA0417164300", "nl91abna0417164301", "NL91ABN0417164300",
        "BE68 5390 0754 7034", "BE68 5390 0754 7035", "jan@voorbeeld", "jan@voorbeeld,nl",
        "jan @ voorbeeld.nl",
        "jan(at)voorbeeld.nl", "3511AB", "3511-ab", "3511 cx",
    ],
)  # fmt: skip
def test_numbers_and_addresses_are_masked_however_they_are_written(said: str) -> None:
    masked = texts.mask(f"Hallo,{said} en meer.", lambda _: ()).text
    assert not any(c.isdigit() or c == "@" for c in masked)
    assert "voorbeeld" not in masked
    assert masked.endswith(" en meer.")


@pytest.mark.parametrize(
    ("said", "masked"),
    [
        ("De familie van Zwijsen-Loon vraagt het.", "De familie [NAAM] vraagt het."),
        ("Met vriendelijke groet, Lot Zwijsen", "Met vriendelijke groet, [NAAM]"),
        ("Wethouder Wright moet naar de Kerkstraat.", "Wethouder [NAAM] moet naar de Kerkstraat."),
        ("De burgemeester van Utrecht", "De burgemeester van Utrecht"),
        ("Ik woon op Pepijnboulevard 96.", "Ik woon op [ADRES]."),
        ("Aan de Hannahring 17 b is het druk.", "Aan de [ADRES] is het druk."),
        ("De weg 2 meter breder.", "De weg 2 meter breder."),
    ],
)
def test_names_after_certain_words_and_addresses(said: str, masked: str) -> None:
    assert texts.mask(said, lambda _: ()).text == masked


def test_a_name_goes_on_behind_what_the_list_knows() -> None:
    def knows(text: str) -> list[tuple[int, int, str]]:
        return [(text.index("Jayson"), text.index("Jayson") + 6, "naam")]

    masked = texts.mask("Idee van Jayson van den Spier-Moet, bedankt", knows)
    assert masked.text == "Idee van [NAAM], bedankt"
    assert masked.found == {"naam": 1}


def test_loading_the_lists_leaves_logging_and_warnings_as_they_were() -> None:
    """In a fresh process, since modules are imported once."""
    code = (
        "import logging, warnings; before = list(warnings.filters), logging.getLogger().level;"
        "from koploper_pipelines.resources.dutch_names import names_and_addresses;"
        "assert names_and_addresses()('Ik ben Jan Jansen.');"
        "assert (list(warnings.filters), logging.getLogger().level) == before;"
        "assert not logging.getLogger().handlers"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_search_trees_without_repeats_find_the_same() -> None:
    from docdeid.ds import LookupTrie
    from docdeid.str import LowercaseString

    rng = np.random.default_rng(6)
    drawn = ["".join(rng.choice(list("abcde"), rng.integers(1, 6))) for _ in range(600)]
    items, others = set(drawn[:300]), set(drawn[300:]) - set(drawn[:300])

    def tree(entries: Any, pipeline: Any = None) -> Any:
        made = LookupTrie(matching_pipeline=pipeline)
        for entry in entries:
            made.add_item(list(entry))
        return made

    def nodes(node: Any) -> list[Any]:
        return [node, *(n for child in node.children.values() for n in nodes(child))]

    known: dict[Any, Any] = {}
    small, folding = tree(items), tree([("x",)], [LowercaseString()])
    number = len(nodes(small))
    small, folding = (without_repeats(t, known) for t in (small, folding))
    assert len({id(n) for n in nodes(small)}) < number / 2
    assert all(list(i) in small for i in items)
    assert not any(list(i) in small for i in others)
    assert small.longest_matching_prefix([*next(iter(items)), "z"]) is not None
    # One that folds capitals stays another than one that does not.
    assert ["X"] in folding
    assert ["X"] not in without_repeats(tree([("x",)]), known)


def test_clean_sentences_are_left_alone(find: Finder) -> None:
    rng = np.random.default_rng(4)
    clean = [*words.CLEAN, *(words.sentence(rng, t) for t in words.THEMES for _ in range(30))]
    touched = [s for s in clean if texts.mask(s, find).text != s]
    assert len(touched) <= 0.05 * len(clean), touched
    assert [s for s in words.CLEAN if texts.mask(s, find).text != s] == []


def test_without_word_lists_names_stay() -> None:
    """The counter-test: the patterns alone find names after certain words, and no other."""
    assert recalls(lambda _: (), 1, 200)["naam"] < 0.7


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (None, "leeg"),
        ("  \u200b ", "leeg"),
        ("x" * 1_000_000, "te_lang"),
        ("goed \u202eidee", "stuurtekens"),
        ('=HYPERLINK("http://voorbeeld.nl";"klik")', "formule"),
        ("\u200b=1+1", "formule"),
        ("@SUM(A1)", "formule"),
        ("+cmd|' /C calc'!A0", "formule"),
        ("<script>alert(1)</script>", "actieve_html"),
        ('<img src=x onerror="alert(1)">', "actieve_html"),
        ("- meer bomen, minder stenen", None),
        ("<p>Meer <b>bomen</b></p>", None),
        ("مزيد من الأشجار في الحي", None),
        ("minder < 30 en meer > 50", None),
    ],
)
def test_what_cannot_be_used_has_a_reason(said: str | None, reason: str | None) -> None:
    assert texts.unusable(said) == reason


def test_markup_and_invisible_characters_hide_nothing(find: Finder) -> None:
    assert texts.readable("<p>Meer&nbsp;bomen</p><p>en &amp; bloemen</p>") == "Meer bomen en & bloemen"
    hidden = texts.readable("mail j\u200ban@voor<b>beeld</b>.nl")
    assert texts.mask(hidden, find).text == "mail [E-MAIL]"


def test_language_of_short_text_is_undetermined() -> None:
    assert language("Ik wil graag meer bomen in onze straat") == "nl"
    assert language("More trees in our street please") == "en"
    assert language("ok prima") == "onbepaald"


# -- Themes ----------------------------------------------------------------------------------------------


def test_themes_are_learnt_from_the_examples() -> None:
    rng = np.random.default_rng(1)
    examples = [(e, t) for t in words.THEMES for e in words.examples(t)]
    truth = [t for t in words.THEMES for _ in range(20)]
    placed = themes.classify(
        [e for e, _ in examples], [t for _, t in examples], [words.sentence(rng, t) for t in truth]
    )
    right = placed["thema"].to_numpy() == np.array(truth)
    assert right.mean() >= 0.7
    strange = themes.classify([e for e, _ in examples], [t for _, t in examples], ["qqq zzz xxx"], margin=0.2)
    assert strange["thema"].tolist() == [themes.REST]
    with pytest.raises(ValueError, match="at least two themes"):
        themes.classify(["a"], ["x"], ["b"])


def coverage(runs: int) -> tuple[float, float]:
    """How often the corrected and the plain 95% interval hold the true share, with a classifier 75% right."""
    corrected = plain = 0
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        truth = rng.choice(["a", "b", "c"], 1000, p=(0.5, 0.3, 0.2))
        predicted = np.where(rng.random(1000) < 0.75, truth, "c")
        chosen = rng.permutation(1000)[:250]
        checked = pd.DataFrame({"voorspeld": predicted[chosen], "werkelijk": truth[chosen]})
        share = (truth == "a").mean()
        row = themes.corrected_shares(list(predicted), checked, ["a"]).iloc[0]
        corrected += row["onder"] <= share <= row["boven"]
        half = 1.96 * np.sqrt(row["aandeel_voorspeld"] * (1 - row["aandeel_voorspeld"]) / 1000)
        plain += abs(row["aandeel_voorspeld"] - share) <= half
    return corrected / runs, plain / runs


def test_corrected_shares_hold_the_truth_and_plain_ones_do_not() -> None:
    corrected, plain = coverage(300)
    assert corrected >= 0.92
    assert plain < 0.5


@pytest.mark.parametrize(
    ("number", "right", "expected"), [(199, 1.0, False), (200, 0.7, True), (200, 0.69, False)]
)
def test_shares_need_enough_checks(number: int, right: float, expected: bool) -> None:
    good = round(number * right)
    checked = pd.DataFrame({"voorspeld": ["a"] * number, "werkelijk": ["a"] * good + ["b"] * (number - good)})
    assert themes.may_be_published(checked) is expected


def test_the_sample_depends_on_texts_and_seed_alone() -> None:
    ids = [str(i) for i in range(100)]
    assert themes.sample(ids, 10, 1) == themes.sample(ids[::-1], 10, 1)
    assert themes.sample(ids, 10, 1) != themes.sample(ids, 10, 2)
    # What was drawn before stays drawn, but for whom a newcomer takes the place of.
    later = themes.sample([*ids, *(f"nieuw {i}" for i in range(10))], 10, 1)
    assert {d for d in later if not d.startswith("nieuw")} <= set(themes.sample(ids, 10, 1))


def test_every_text_is_as_likely_to_be_drawn() -> None:
    ids = [str(i) for i in range(50)]
    drawn = pd.Series([d for seed in range(2000) for d in themes.sample(ids, 10, seed)]).value_counts()
    # Each is drawn 400 times on average, with a standard deviation of 18.
    assert len(drawn) == 50
    assert drawn.between(400 - 4 * 18, 400 + 4 * 18).all()


# -- Who took part -----------------------------------------------------------------------------------------


def test_raking_meets_the_population() -> None:
    rng = np.random.default_rng(1)
    people = pd.DataFrame(
        {"g": rng.choice(["m", "v"], 400, p=(0.7, 0.3)), "l": rng.choice(["j", "o"], 400, p=(0.2, 0.8))}
    )
    people.loc[:19, "g"] = None
    weight = reach.rake(people, {"g": {"m": 0.5, "v": 0.5}, "l": {"j": 0.4, "o": 0.6}})
    known = people["g"].notna()
    assert weight[people["g"] == "m"].sum() / weight[known].sum() == pytest.approx(0.5, abs=1e-6)
    assert weight[people["l"] == "j"].sum() / weight.sum() == pytest.approx(0.4, abs=1e-6)
    assert weight.mean() == pytest.approx(1)
    assert reach.effective_size(weight) < 400
    assert reach.effective_size(np.ones(400)) == 400


def test_contradicting_targets_do_not_converge() -> None:
    people = pd.DataFrame({"a": ["x"] * 20 + ["y"] * 20, "b": ["x"] * 20 + ["y"] * 20})
    with pytest.raises(reach.NoConvergence):
        reach.rake(people, {"a": {"x": 0.9, "y": 0.1}, "b": {"x": 0.1, "y": 0.9}})


@pytest.mark.parametrize(
    ("said", "band"),
    [
        ("37", "30-44"), ("30 tot 35 jaar", "30-44"), ("95 jaar of ouder", "65+"), ("65+", "65+"),
        ("15-29", "15-29"),
        ("25-40", None), ("", None), ("onbekend", None), ("0 tot 5 jaar", "0-14"), ("130", None),
        ("jonger dan 15", "0-14"),
    ],
)  # fmt: skip
def test_ages_fall_in_bands(said: str, band: str | None) -> None:
    assert reach.age_band(said) == band


def test_inequality() -> None:
    assert reach.gini([5, 5, 5]) == pytest.approx(0)
    assert reach.gini([0, 0, 0, 10]) == pytest.approx(0.75)
    assert reach.share_of_top([1] * 9 + [11]) == pytest.approx(0.55)
    assert reach.smallest_to_largest(np.array([0.5, 2.0])) == 0.25
