"""A real browser on a real installation: web server and daemon of `workspace.yaml`, and Debian's Chromium."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from chromium import CHROMIUM_OPTIONS, PATIENCE_MS, SCREEN, Ui
from playwright.sync_api import Page, sync_playwright
from services import Graphql, new_home, running


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser's path."""
    found = shutil.which("chromium")
    if found is None:
        pytest.skip("no chromium on the PATH; on Debian: apt-get install chromium")
    return found


@pytest.fixture(scope="module")
def ui(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ui]:
    home = new_home(tmp_path_factory.mktemp("browser"))
    server = Graphql()
    workspace = ("--workspace", "workspace.yaml")
    with (
        running(home, "dagster-webserver", *workspace, "--port", server.port) as webserver,
        running(home, "dagster-daemon", "run", *workspace),
    ):
        server.wait_until_loaded(webserver)
        # At half past two it would land the files before the person does.
        server.stop_schedule()
        yield Ui(home, server.url)


@pytest.fixture
def page(chromium: str, ui: Ui) -> Iterator[Page]:
    """A page at the front door."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(CHROMIUM_OPTIONS))
        page = browser.new_page(
            base_url=ui.url,
            viewport=SCREEN,
            locale="nl-NL",
            timezone_id="Europe/Amsterdam",
        )
        page.set_default_timeout(PATIENCE_MS)
        page.goto("/")
        yield page
        browser.close()


@pytest.fixture
def shoot(page: Page, tmp_path: Path) -> Iterator[Callable[[str], None]]:
    """Takes a numbered screenshot, and one of where the test ended; kept where KOPLOPER_SCREENSHOTS says."""
    folder = Path(os.environ.get("KOPLOPER_SCREENSHOTS") or tmp_path / "screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    taken: list[str] = []

    def take(name: str) -> None:
        taken.append(name)
        page.screenshot(path=folder / f"{len(taken):02}-{name}.png")

    yield take
    take("einde")
