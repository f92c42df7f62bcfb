"""Fixtures that every kind of test may use, and what a skip means."""

import os
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
OF_THE_TESTS = (
    "KOPLOPER_NO_SKIP",
    "KOPLOPER_SCREENSHOTS",
    "KOPLOPER_SHARED_DATA",
    "KOPLOPER_WRITE_SNAPSHOT",
)


def pytest_configure() -> None:
    """No test meets the installation or the choices of whoever runs it."""
    for name in [n for n in os.environ if n.startswith("KOPLOPER_") and n not in OF_THE_TESTS]:
        del os.environ[name]
    os.environ.pop("DAGSTER_HOME", None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[Any]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With KOPLOPER_NO_SKIP set, a test that skips has failed: something that it needs is missing."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("KOPLOPER_NO_SKIP"):
        report.outcome = "failed"
        report.longrepr = f"skipped, with KOPLOPER_NO_SKIP set: {call.excinfo and call.excinfo.value}"
    return report


@pytest.fixture(scope="session")
def real_data() -> Callable[[str], Path]:
    """Finds a file of the shared real data, which is not part of the repository, by its relative path.

    The folder is KOPLOPER_SHARED_DATA or else `shared/data` beside the repository. A test whose file is not
    there skips.
    """
    shared = Path(os.environ.get("KOPLOPER_SHARED_DATA") or ROOT.parent / "shared" / "data")

    def find(relative: str) -> Path:
        path = shared / relative
        if not path.is_file():
            pytest.skip(
                f"real data {relative} not found; set KOPLOPER_SHARED_DATA to the folder that holds it"
            )
        return path

    return find
