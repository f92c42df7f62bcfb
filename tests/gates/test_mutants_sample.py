"""Guards that are taken out are missed: a sample of `make mutants`, and that its list is in step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from mutants import KILLED, MUTANTS, ROOT, Misfit, Mutant, copied_tree, judge, occurrences, require_passing

SAMPLE = ("complementary_suppression", "error_bits_critical", "footprint")
CHOSEN = [m for m in MUTANTS if m.name in SAMPLE]


@pytest.fixture(scope="module")
def tree() -> Iterator[Path]:
    with copied_tree() as tree:
        require_passing(tree, CHOSEN)
        yield tree


@pytest.mark.parametrize("mutant", CHOSEN, ids=lambda m: m.name)
def test_a_guard_that_is_taken_out_is_missed(tree: Path, mutant: Mutant) -> None:
    assert judge(tree, mutant) == KILLED
    # Undone, and never done to the code itself.
    assert occurrences(mutant, tree) == occurrences(mutant) == 1


def test_what_takes_no_guard_out_survives_and_is_said(tree: Path) -> None:
    """The counter-test: a mutant that changes nothing, one that nothing tests, two out of step."""
    sound = CHOSEN[0]
    assert judge(tree, replace(sound, instead=sound.text)) == f"SURVIVES: {sound.test} passes"
    assert judge(tree, replace(sound, test=None)).startswith("SURVIVES: no test")
    assert "stands 0 times" in judge(tree, replace(sound, text="a text of nowhere"))
    gone = replace(sound, test="gates/test_plan.py::test_of_nothing")
    assert judge(tree, gone).startswith("pytest ended with 4")
    with pytest.raises(Misfit, match="do not pass as the code is"):
        require_passing(tree, [gone])


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.name)
def test_list_is_in_step_with_the_code(mutant: Mutant) -> None:
    assert occurrences(mutant) == 1
    assert mutant.text != mutant.instead
    if mutant.test is not None:
        file, *_, function = mutant.test.split("[")[0].split("::")
        assert f"def {function}(" in (ROOT / "tests" / file).read_text(encoding="utf-8")


def test_names_are_unique_and_the_sample_is_among_them() -> None:
    names = [m.name for m in MUTANTS]
    assert len(set(names)) == len(names)
    assert set(SAMPLE) <= set(names)
