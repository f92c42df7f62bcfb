"""Fixtures that every kind of test may use."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def real_data() -> Callable[[str], Path]:
    """Finds a file of the shared real data, which is not part of the repository, by its relative path.

    The folder is KOPLOPER_SHARED_DATA or else `shared/data` beside the repository. A test whose file is not
    there skips, or fails if KOPLOPER_NO_SKIP is set.
    """
    shared = Path(os.environ.get("KOPLOPER_SHARED_DATA") or ROOT.parent / "shared" / "data")

    def find(relative: str) -> Path:
        path = shared / relative
        if not path.is_file():
            message = f"real data {relative} not found; set KOPLOPER_SHARED_DATA to the folder that holds it"
            if os.environ.get("KOPLOPER_NO_SKIP"):
                pytest.fail(message)
            pytest.skip(message)
        return path

    return find
