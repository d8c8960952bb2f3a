"""`make book`: whatever happens to a build, the last good book stays, and builds at once do not meet."""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

TOOL = Path(__file__).resolve().parents[2] / "chapters" / "_tools" / "build.py"
# Stands for jupyter-book: writes a book that says what it was told, after a first page and a wait.
BUILDER = """
import sys, time
from pathlib import Path
text, seconds, code, _, out = sys.argv[1:]
html = Path(out, "_build", "html")
html.mkdir(parents=True)
(html / "index.html").write_text(text)
print("writing", text, flush=True)
time.sleep(float(seconds))
(html / "last.html").write_text(text)
sys.exit(int(code))
"""
ONE_BUILD = f"""
import importlib.util, sys
from pathlib import Path
spec = importlib.util.spec_from_file_location("build", {str(TOOL)!r})
build = importlib.util.module_from_spec(spec)
spec.loader.exec_module(build)
build.main.__globals__.update(BUILD=Path(sys.argv[1]))
build.build.__defaults__ = (Path(sys.argv[1]), [sys.executable, "-c", {BUILDER!r}, *sys.argv[2:]])
sys.exit(build.main())
"""

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="make and its locks are not on Windows")


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("build", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def make(tool, tmp_path):
    """Build in this process: the text of the book, and the exit code of its builder."""

    def of(text, code=0):
        return tool.build(tmp_path / "_build", [sys.executable, "-c", BUILDER, text, "0", str(code)])

    return of


def heard():
    """An interrupt reaches the process, though a shell that started the tests in the background has it ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
def start(tmp_path):
    """Start `make book` as a process of its own, in its own process group."""
    started = []

    def of(text, seconds, code=0):
        command = [sys.executable, "-c", ONE_BUILD, str(tmp_path / "_build"), text, str(seconds), str(code)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=heard)
        started.append(process)
        return process

    yield of
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def folders(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def book(folder):
    return {path.name: path.read_text() for path in sorted((folder / "html").iterdir())}


def whole(text):
    return {"index.html": text, "last.html": text}


def wait_for_page(folder, text):
    """Until a build that runs has written its first page."""
    for _ in range(400):
        if any(path.read_text() == text for path in folder.glob("new-*/_build/html/index.html")):
            return
        time.sleep(0.05)
    raise AssertionError(f"the build {text!r} never began")


def test_a_build_replaces_the_book_and_leaves_nothing_else(make, tmp_path):
    for text in ("one", "two"):
        assert make(text) == 0
        assert book(tmp_path / "_build") == whole(text)
        assert folders(tmp_path / "_build") == ["html", "log.txt"]
    assert (tmp_path / "_build" / "log.txt").read_text() == "writing two\n"


def test_a_failing_build_leaves_the_last_good_book_and_its_own_log(make, tmp_path):
    make("good")
    assert make("bad", code=3) == 3
    assert book(tmp_path / "_build") == whole("good")
    assert (tmp_path / "_build" / "log.txt").read_text() == "writing bad\n"
    assert folders(tmp_path / "_build") == ["html", "log.txt"]


def test_a_failing_first_build_leaves_no_book(make, tmp_path):
    assert make("bad", code=1) == 1
    assert folders(tmp_path / "_build") == ["log.txt"]


@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_build_leaves_the_last_good_book(make, start, tmp_path, kill):
    make("good")
    process = start("half", 60)
    wait_for_page(tmp_path / "_build", "half")
    os.killpg(process.pid, kill)
    assert process.wait(timeout=20) != 0
    assert book(tmp_path / "_build") == whole("good")
    if kill != signal.SIGKILL:  # the others give time to tidy up
        assert folders(tmp_path / "_build") == ["html", "log.txt"]
    for _ in range(100):  # the system may take a moment to end a killed builder
        make("next")
        if folders(tmp_path / "_build") == ["html", "log.txt"]:
            break
    assert book(tmp_path / "_build") == whole("next")
    assert folders(tmp_path / "_build") == ["html", "log.txt"]


def test_two_builds_at_once_do_not_meet(start, tmp_path):
    folder = tmp_path / "_build"
    slow, quick = start("slow", 4), start("quick", 0)
    wait_for_page(folder, "slow")
    assert quick.wait(timeout=30) == 0
    assert book(folder) == whole("quick")
    assert slow.wait(timeout=30) == 0
    assert book(folder) == whole("slow")
    assert folders(folder) == ["html", "log.txt"]
    assert slow.stdout.read().endswith(f"open file://{folder}/html/index.html\n")


def refuse(*_):
    raise OSError("not here")


def test_where_folders_cannot_change_places_two_steps_do(tool, make, tmp_path, monkeypatch):
    monkeypatch.setattr(tool, "exchange", refuse)
    for text in ("one", "two"):
        make(text)
        assert book(tmp_path / "_build") == whole(text)
        assert folders(tmp_path / "_build") == ["html", "log.txt"]


def test_a_kill_between_the_two_steps_loses_no_book(tool, make, tmp_path, monkeypatch):
    make("good")
    left = tmp_path / "_build" / "new-killed" / "_build"
    left.mkdir(parents=True)
    (tmp_path / "_build" / "html").rename(left / "before")
    assert make("bad", code=1) == 1
    assert book(tmp_path / "_build") == whole("good")


def test_the_folders_change_places_in_one_step(tool, tmp_path):
    one, other = tmp_path / "a", tmp_path / "b"
    one.mkdir()
    (other / "c").mkdir(parents=True)
    try:
        tool.exchange(one, other)
    except OSError:
        pytest.skip("this file system cannot")
    assert (one / "c").exists() and not (other / "c").exists()
    with pytest.raises(OSError, match="in one step"):
        tool.exchange(one, tmp_path / "missing")
