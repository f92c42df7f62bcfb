"""The browser of these tests, the UI that it looks at, and how long it waits for it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import ViewportSize

CHROMIUM_OPTIONS = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
SCREEN: ViewportSize = {"width": 1500, "height": 950}
PATIENCE_MS = 120_000
"""A run starts a process that imports everything; with both cores taken that lasts most of a minute."""


@dataclass(frozen=True)
class Ui:
    """An installation and the address of its UI."""

    home: Path
    url: str
