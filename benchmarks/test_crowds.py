"""The methods of Taggen en Gamen against crowd-kit and krippendorff: how much less time.

Speeds are ratios within one run; `pytest -s` shows them. The limits are those of the issue that the figures
in docs/taggen_en_gamen.md answer.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from clock import processor_seconds, seconds
from crowds import ask, crowd, in_a_process_of_its_own

from koploper_pipelines.methods.taggen_en_gamen import agreement, answers, cleaning, consensus, exports
from koploper_pipelines.methods.taggen_en_gamen.consensus import Judgements

NO_QUESTIONS = pd.DataFrame(columns=list(answers.QUESTION_COLUMNS))


def saved(judgements: Judgements, file: Path, **more: np.ndarray) -> Path:
    np.savez(file, item=judgements.item, player=judgements.player, label=judgements.label, **more)
    return file


@pytest.mark.full
def test_dawid_skene_is_four_times_as_fast_as_crowd_kit(tmp_path: Path) -> None:
    judgements, truth = crowd(1_000_000)
    own = min(seconds(lambda: consensus.dawid_skene(judgements)) for _ in range(2))
    fitted = consensus.dawid_skene(judgements)
    theirs = ask("labels", saved(judgements, tmp_path / "codes.npz"), "dawid_skene")["dawid_skene"]["seconds"]
    print(
        f"\n1,000,000 judgements: own {own:.2f} s ({fitted.iterations} iterations), crowd-kit {theirs:.2f} s,"
    )
    right = (consensus.winners(fitted.probability)[0] == truth).mean()
    print(f"  {theirs / own:.1f} times as fast, {right:.4f} right")
    assert fitted.converged
    assert theirs >= 4 * own


@pytest.mark.full
def test_dawid_skene_grows_in_proportion_and_stays_within_two_gigabytes() -> None:
    small, large = (in_a_process_of_its_own(n) for n in (1_000_000, 10_000_000))
    print(f"\n10,000,000 judgements: {large}; 1,000,000: {small}")
    growth = large["seconds_of_five"] / small["seconds_of_five"]
    print(f"  five iterations: {growth:.1f} times the time for 10 times the judgements")
    assert large["gb"] <= 2.0
    # In proportion, but for caches that ten times as much does not fit in.
    assert growth <= 15


@pytest.mark.full
def test_alpha_is_six_times_as_fast_as_krippendorff(tmp_path: Path) -> None:
    judgements, _ = crowd(10_000_000)
    said = ask("alpha", saved(judgements, tmp_path / "codes.npz"))
    values: list[float] = []

    def work() -> None:
        values.append(agreement.nominal_alpha(consensus.votes(judgements)))

    own = min(seconds(work) for _ in range(2))
    theirs = said["seconds"]
    print(f"\n10,000,000 judgements: own {own:.2f} s, krippendorff {theirs:.2f} s, {theirs / own:.1f} times")
    assert values[0] == pytest.approx(said["value"], abs=1e-9)
    assert said["seconds"] >= 6 * own


def export(rows: int) -> bytes:
    """A Zooniverse export with circles on pictures and one question, about 1.7 kB a classification."""
    rng = np.random.default_rng(4)
    metadata = {
        "source": "api", "session": "a" * 64, "viewport": {"width": 1710, "height": 948},
        "started_at": "2026-03-01T10:00:00.000Z", "finished_at": "2026-03-01T10:00:20.000Z",
        "user_agent": "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML)",
        "utc_offset": "18000", "user_language": "nl",
        "subject_dimensions": [{"clientWidth": 653, "naturalWidth": 1000, "naturalHeight": 800}],
    }  # fmt: skip
    lines = [",".join(("classification_id", "user_name", "user_id", "user_ip", "workflow_id", "workflow_name",
                       "workflow_version", "created_at", "gold_standard", "expert", "metadata", "annotations",
                       "subject_data", "subject_ids"))]  # fmt: skip
    for n in range(rows):
        marks = [
            {"x": float(x), "y": float(y), "r": 377.4, "angle": -31.3, "tool": 2, "frame": 0, "details": []}
            for x, y in np.round(rng.uniform(0, 780, (5, 2)), 3)
        ]
        told = [
            {"task": "T0", "task_label": "Is er een **gebouw** te zien?", "value": "ja" if n % 3 else "nee"},
            {"task": "T1", "task_label": "Zet een cirkel", "value": marks},
        ]
        item = 80_000 + n // 7
        subject = {str(item): {"retired": None, "bestand": f"foto_{item}.jpg", "rd_links_m": 130000.0}}
        cells = (metadata, told, subject)
        quoted = ['"' + json.dumps(c).replace('"', '""') + '"' for c in cells]
        about = f"{n},speler_{n % 301},{n % 301},0a1b2c,12,Foto's,3.1,2026-03-01 10:00:20 UTC,,"
        lines.append(",".join([about, *quoted, str(item)]))
    return ("\n".join(lines) + "\n").encode()


def plain_reading(file: Path) -> list[Any]:
    """What anybody would do first: pandas, and json.loads of the columns with JSON."""
    rows = pd.read_csv(file)
    return [[json.loads(v) for v in rows[c]] for c in ("metadata", "annotations", "subject_data")]


def read_and_cleaned(file: Path) -> cleaning.Judged:
    records = exports.read(file.read_bytes(), "naam")
    landed = records.assign(bestand="f", geland_op=pd.Timestamp("2026-03-02", tz="UTC"))
    return cleaning.judge(landed, NO_QUESTIONS)


def _measure_export(file: Path, rows: int) -> float:
    file.write_bytes(export(rows))
    base = min(processor_seconds(lambda: plain_reading(file)) for _ in range(2))
    made: list[cleaning.Judged] = []
    own = min(processor_seconds(lambda: made.append(read_and_cleaned(file))) for _ in range(2))
    size = file.stat().st_size / 1e6
    print(
        f"\n{rows} classifications ({size:.0f} MB): plain reading {base:.2f} s, read and cleaned {own:.2f} s,"
    )
    print(f"  ratio {own / base:.1f}")
    kept, aside = made[0].kept, made[0].set_aside
    # A question and five marks each.
    assert len(kept) + len(aside) == 6 * rows
    return own / base


def test_small_export_against_plain_reading(tmp_path: Path) -> None:
    # On few rows the fixed costs weigh most.
    assert _measure_export(tmp_path / "export.csv", 1_000) <= 15


@pytest.mark.full
def test_export_with_marks_is_read_and_cleaned_in_five_times_plain_reading(tmp_path: Path) -> None:
    assert _measure_export(tmp_path / "export.csv", 21_000) <= 5
