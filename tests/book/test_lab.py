"""`make lab` in a browser: a page of the book in JupyterLab, with the numbers of the book, folded, and not modified."""

import os
import re
import subprocess
import sys
import time

import pytest

from chapters._tools import lab

PAGE = "03-gls.ipynb"
SECONDS = 120  # JupyterLab starts in five, on a machine that has nothing else to do
STATE = """() => ({
    modified: document.querySelectorAll('.jp-mod-dirty').length,
    formulas: document.querySelectorAll('.jp-Notebook mjx-container').length,
    mistaken: document.querySelectorAll('.jp-Notebook mjx-merror, .jp-Notebook [data-mjx-error]').length,
    folded: document.querySelectorAll('.jp-Notebook .jp-Placeholder').length,
    answers: [...document.querySelectorAll('.jp-Notebook .jp-RenderedMarkdown details')].map(e => e.open),
    text: document.querySelector('.jp-Notebook').innerText,
    links: [...document.querySelectorAll('.jp-RenderedMarkdown a[href*="static/chapters"]')].map(e => e.href),
})"""


@pytest.fixture(scope="module")
def address(built, tmp_path_factory):
    """The address of a server of JupyterLab that runs as `make lab` starts it."""
    folder = tmp_path_factory.mktemp("lab")
    lab.bring(built, folder / "mine")
    tools = built.parents[1] / "chapters" / "_tools"
    environment = os.environ | {
        "JUPYTER_CONFIG_PATH": str(tools / "jupyter" / "lab"),
        **{f"JUPYTER_{kind}_DIR": str(folder / kind) for kind in ("CONFIG", "DATA", "RUNTIME")},
        **{f"JUPYTERLAB_{kind}_DIR": str(folder / kind) for kind in ("SETTINGS", "WORKSPACES")},
    }
    options = [
        "--no-browser", "--allow-root", "--port=0", f"--notebook-dir={folder / 'mine'}",
        f"--ServerApp.extra_static_paths=['{built}']",
        "--LabApp.check_for_updates_class=jupyterlab.handlers.announcements.NeverCheckForUpdate",
    ]  # fmt: skip
    command = [sys.executable, "-m", "jupyter", "lab", *options]
    log = folder / "log"
    with log.open("w") as file:
        server = subprocess.Popen(command, env=environment, stderr=file)
    try:
        yield wait_for(lambda: re.search(r"http://127\.0\.0\.1:\d+/lab\?token=\w+", log.read_text()))[0]
    finally:
        server.terminate()
        server.wait(timeout=30)


def wait_for(found):
    """What ``found()`` gives as soon as it is true."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        if answer := found():
            return answer
        time.sleep(0.2)
    raise AssertionError(f"it took more than {SECONDS} seconds")


@pytest.fixture(scope="module")
def opened(browser, address):
    """The page with its kernel at work, and the tab."""
    context = browser.new_context(viewport={"width": 1280, "height": 6000})
    tab = context.new_page()
    tab.goto(address.replace("/lab?", f"/lab/tree/{PAGE}?"))
    tab.wait_for_selector(".jp-Notebook mjx-container", timeout=1000 * SECONDS)
    tab.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status=idle]", timeout=1000 * SECONDS)
    wait_for(lambda: tab.evaluate(STATE)["formulas"] > 100)
    tab.wait_for_timeout(1000)
    yield tab
    context.close()


def test_a_page_in_jupyterlab_is_that_of_the_book(opened):
    seen = opened.evaluate(STATE)
    assert seen["modified"] == 0 and seen["mistaken"] == 0
    assert seen["folded"] > 0 and seen["answers"] and not any(seen["answers"])
    for words in ("3.2. Which value of", "Theorem 3.1 (GLS maximises", "Figure 3.1. Every child of the trial"):
        assert words in seen["text"]
    assert not re.search(r":::|\{\w+\}|\$", seen["text"].replace("{}", ""))


def test_its_links_open_the_page_of_the_book(opened):
    link = next(link for link in opened.evaluate(STATE)["links"] if "glossary" in link)
    tab = opened.context.new_page()
    assert tab.goto(link).ok and "Glossary" in tab.title()
    tab.close()


def test_a_changed_page_is_seen_to_be_modified(opened):
    """The mark that the first test does not find is there when something was changed."""
    opened.locator(".jp-Notebook .jp-MarkdownCell").first.click()
    opened.keyboard.press("b")
    wait_for(lambda: opened.evaluate(STATE)["modified"])
