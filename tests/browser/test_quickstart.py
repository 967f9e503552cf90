"""The quickstart in real JupyterLab in real Chromium, in light and dark, as a newcomer sees it."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.up import SCRIPTS, Home, home

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PICTURES = SCRIPTS.parent / "test-results"
NOTEBOOK = "footplate-quickstart/quickstart.ipynb"
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium: make setup-browser"),
    pytest.mark.timeout(300),
]


@pytest.fixture(scope="module")
def lab() -> Iterator[Home]:
    """A platform whose person has the quickstart in a folder."""
    with home() as found:
        folder = found.path / "footplate-quickstart"
        folder.mkdir()
        for name in ("quickstart.ipynb", "train.py"):
            shutil.copy(SCRIPTS.parent / "examples" / name, folder)
        found.up()
        yield found


@pytest.fixture
def page(lab: Home) -> Iterator[playwright.Page]:
    """A browser that has never been here."""
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox"] if os.geteuid() == 0 else [],
            env={"HOME": str(lab.path), "PATH": os.environ["PATH"]},
        )
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(60_000)
        yield page
        browser.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_newcomer_opens_the_link_and_runs_every_cell(lab: Home, page: playwright.Page, theme: str) -> None:
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    _choose(lab, theme)

    page.goto(lab.link(NOTEBOOK))
    page.locator(".jp-NotebookPanel .jp-Cell").first.wait_for(timeout=120_000)
    _no_questions(page)
    playwright.expect(page.locator("body")).to_have_attribute(
        "data-jp-theme-light", str(theme == "light").lower()
    )
    page.get_by_text("Python 3 (ipykernel) | Idle").first.wait_for()
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    page.get_by_text("my turn", exact=True).first.wait_for(timeout=120_000)

    _picture(page, f"quickstart-{theme}", "accuracy: ")
    _picture(page, f"quickstart-why-{theme}", "in line")
    accuracy = re.search(r"accuracy: ([\d.]+)%", page.locator(".jp-Notebook").inner_text())
    assert accuracy is not None
    assert float(accuracy[1]) > 88
    assert page.locator("[data-mime-type='application/vnd.jupyter.stderr']").count() == 0
    assert wrong == []


def test_a_used_link_shows_one_clear_page(lab: Home, page: playwright.Page) -> None:
    link = lab.link()
    page.goto(link)
    page.context.clear_cookies()

    page.goto(link)

    assert "was used already" in page.locator("body").inner_text()
    page.screenshot(path=PICTURES / "used-link.png")


def _choose(lab: Home, theme: str) -> None:
    """The person's own setting, in the file that JupyterLab keeps it in."""
    name = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}[theme]
    settings = lab.path / ".jupyter" / "lab" / "user-settings" / "@jupyterlab"
    _write(settings / "apputils-extension" / "themes.jupyterlab-settings", f'{{"theme": "{name}"}}')
    _write(
        settings / "apputils-extension" / "notification.jupyterlab-settings",
        '{"fetchNews": "false", "checkForUpdates": false}',
    )


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def _no_questions(page: playwright.Page) -> None:
    """A notebook that was open before is asked about; keep what is there."""
    for name in ("Select", "Accept"):
        button = page.get_by_role("button", name=name, exact=True)
        if button.count():
            button.first.click()


def _picture(page: playwright.Page, name: str, text: str) -> None:
    """What a person sees around a text."""
    PICTURES.mkdir(exist_ok=True)
    page.get_by_text(text).last.scroll_into_view_if_needed()
    page.wait_for_timeout(500)
    page.screenshot(path=PICTURES / f"{name}.png")
