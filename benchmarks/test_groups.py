"""A large conversation through the whole chain and through the grouping alone, against red-dwarf's grouping.

Ratios within one run, since machines differ; `pytest -s` shows them. Red-dwarf stands in an environment of
its own (`make build/venv-oracle/.ready`), since it is a yardstick and no dependency.
"""

from __future__ import annotations

import json
import resource
import subprocess
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from clock import seconds
from sklearn.decomposition import PCA
from sklearn.impute import SimpleImputer

from koploper_pipelines.build import build_platform
from koploper_pipelines.gates.plan import in_order
from koploper_pipelines.gates.step import run_table
from koploper_pipelines.methods.slimme_participatie import groups
from koploper_pipelines.settings import Settings
from koploper_pipelines.simulation.slimme_participatie import Scenario, conversation

LIMIT_CHAIN = 3.0
LIMIT_GB = 1.5
ORACLE = Path(__file__).parents[1] / "build" / "venv-oracle" / "bin" / "python"
THEIRS = """
import json, sys, time, warnings
warnings.simplefilter("ignore")
import pandas as pd
from reddwarf.implementations.polis import run_pipeline
votes = pd.read_csv(sys.argv[1] + "/votes.csv").sort_values("timestamp", kind="stable")
votes = votes.drop_duplicates(["voter-id", "comment-id"], keep="last")
rows = [dict(participant_id=p, statement_id=s, vote=v, modified=t) for p, s, v, t in zip(
    votes["voter-id"], votes["comment-id"], votes["vote"], votes["timestamp"])]
start = time.perf_counter()
run_pipeline(votes=rows, random_state=1)
print(json.dumps(time.perf_counter() - start))
"""


def _votes(folder: Path) -> groups.Votes:
    log = pd.read_csv(folder / "votes.csv").sort_values("timestamp", kind="stable")
    log = log.drop_duplicates(["voter-id", "comment-id"], keep="last")
    person, people = pd.factorize(log["voter-id"])
    statement, statements = pd.factorize(log["comment-id"])
    cast = np.bincount(person, minlength=len(people))
    return groups.Votes(person, statement, log["vote"].to_numpy(float), len(people), len(statements), 0, cast)


def _measure(home: Path, scenario: Scenario) -> dict[str, float]:
    """Seconds of red-dwarf, of our grouping and of the whole chain, one after the other."""
    import great_expectations  # noqa: F401  # what is loaded once a process is not part of the chain

    settings = Settings(home=home, now=datetime(2026, 11, 24, 3, tzinfo=UTC))
    folder = settings.inbox / "slimme_participatie" / "groot"
    conversation(folder, home / "waarheid", scenario, last_day=date(2026, 9, 1), days=30, seed=1)
    theirs = json.loads(
        subprocess.run([ORACLE, "-c", THEIRS, folder], check=True, capture_output=True, text=True).stdout
    )
    votes = _votes(folder)
    grouping = seconds(lambda: groups.opinion_groups(votes, groups.GroupRules()))
    platform = build_platform(settings)

    def chain() -> None:
        for table in in_order(
            t for t in platform.tables.values() if t.contract.experiment == "slimme_participatie"
        ):
            assert run_table(platform, table, run_id="meting").passed

    return {"red-dwarf": theirs, "indeling": grouping, "keten": seconds(chain)}


@pytest.fixture
def oracle() -> None:
    if not ORACLE.exists():
        pytest.skip("no red-dwarf: run `make build/venv-oracle/.ready`")


@pytest.mark.full
@pytest.mark.filterwarnings("ignore")
def test_large_conversation(tmp_path: Path, oracle: None) -> None:
    scenario = Scenario(participants=6289, statements=2161, density=446_731 / 6289 / 2161)
    found = _measure(tmp_path, scenario)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"{found}, peak {peak:.2f} GB")
    assert found["indeling"] <= 0.5 * found["red-dwarf"]
    assert found["keten"] <= LIMIT_CHAIN * found["red-dwarf"]
    assert peak <= LIMIT_GB


@pytest.mark.full
def test_sparse_projection_beats_dense_components(tmp_path: Path) -> None:
    """Few votes of many pairs: the components of the imputed matrix, without ever filling it in."""
    scenario = Scenario(participants=1500, statements=1000, density=0.03)
    conversation(tmp_path / "g", tmp_path / "w", scenario, last_day=date(2026, 9, 1), days=5, seed=1)
    votes = _votes(tmp_path / "g")
    filled = np.full((votes.participants, votes.statements), np.nan)
    filled[votes.participant, votes.statement] = votes.value

    def components() -> None:
        imputed = SimpleImputer(keep_empty_features=True).fit_transform(filled)
        PCA(2, random_state=1).fit_transform(imputed)

    dense, sparse = (
        min(seconds(work) for _ in range(3)) for work in (components, lambda: groups.projection(votes))
    )
    print(f"projection: {sparse / dense:.2f} of the dense one")
    assert sparse <= dense
