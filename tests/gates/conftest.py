"""What all tests of the gates need of pytest."""

import pytest


def pytest_configure(config: pytest.Config) -> None:
    for ours in (
        # DuckDB's own conversion to pandas uses it.
        "ignore:The inplace keyword in DataFrame:DeprecationWarning",
        "ignore::DeprecationWarning:great_expectations",
    ):
        config.addinivalue_line("filterwarnings", ours)
