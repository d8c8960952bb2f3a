"""`make check`: style, types, and the fast tests of what was changed, in about a minute.

What was changed is asked of git: the files that differ from the last commit or, if none does, from main. A module is
tested by the file of its name (lmmlib/design/cross.py by tests/unit/design/test_cross.py) and by those that import
it. Tests that are slow or statistical are left out, and what the time does not allow; both are said at the end.
`make test` checks everything.
"""

import ast
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 40  # for the tests; style and types take about ten
ALWAYS = ("tests/project/test_rooms.py", "tests/project/test_raises.py")  # of any change in lmmlib
CORE = ("tests/equations/test_moments.py", "tests/equations/test_gls.py", "tests/equations/test_reml.py")  # no change
FOLDERS = ("unit", "project", "equations", "property", "oracle", "problems", "notebooks")


def git(*arguments):
    """Lines of what git says, none if it cannot."""
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
    return done.stdout.splitlines() if done.returncode == 0 else []


def changed():
    """Files that differ from the last commit, or from where main was left, and the words for which of the two."""
    files = git("diff", "--name-only", "HEAD") + git("ls-files", "--others", "--exclude-standard")
    if files:
        return sorted(files), "since the last commit"
    return sorted(git("diff", "--name-only", "main...HEAD")), "since main"


def imported(tree):
    """Full names of all that a file imports: "lmmlib.design.cross.Design", "lmmlib.design.cross", "lmmlib"."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def tests_of(path, importing):
    """Test files of a changed file, its own first; `importing` maps each test file to the names that it imports."""
    file = Path(path)
    if file.suffix != ".py" or file.name == "conftest.py":
        return []
    if file.name.startswith("test_"):
        return [path]
    if file.name == "__init__.py":
        return ["tests/project/test_api.py", *ALWAYS] if file.parts[0] == "lmmlib" else []
    full = ".".join(file.with_suffix("").parts)
    users = [test for test, names in importing.items() if any(f"{name}.".startswith(f"{full}.") for name in names)]
    if file.parts[0] != "lmmlib":
        return users
    own = Path("tests/unit", *file.parts[1:-1], f"test_{file.name}")
    near = sorted(users, key=lambda test: (Path(test).parent != own.parent, test))
    return list(dict.fromkeys([own.as_posix(), *ALWAYS, *near]))


def chosen(files, importing):
    """Test files of all changed files, own ones before those of others, and the changed files without any."""
    each = {file: tests_of(file, importing) for file in files}
    own = [tests[0] for tests in each.values() if tests]
    found = dict.fromkeys([*own, *(test for tests in each.values() for test in tests)])
    return [test for test in found if (ROOT / test).exists()], [file for file, tests in each.items() if not tests]


def importing():
    """{test file: names that it imports}."""
    paths = [path for folder in FOLDERS for path in sorted((ROOT / "tests" / folder).rglob("test_*.py"))]
    return {
        path.relative_to(ROOT).as_posix(): set(imported(ast.parse(path.read_text(encoding="utf-8")))) for path in paths
    }


class Budget:
    """A plugin of pytest that starts no test when the time is over, and counts what was not run by file."""

    def __init__(self, seconds):
        self.end = time.monotonic() + seconds
        self.left, self.deselected = Counter(), 0

    def pytest_deselected(self, items):
        self.deselected += len(items)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item):
        if time.monotonic() > self.end:
            self.left[item.nodeid.partition("::")[0]] += 1
            pytest.skip("no time is left")


def step(name, *command):
    """Run a command, print its output only if it fails; whether it succeeds."""
    start = time.monotonic()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    print(f"{name}: {'FAILED' if done.returncode else 'passed'} ({time.monotonic() - start:.0f} s)", flush=True)
    if done.returncode:
        print(done.stdout + done.stderr)
    return done.returncode == 0


def main():
    tool = Path(sys.executable).with_name
    good = [
        step("style", tool("ruff"), "check", "."),
        step("format", tool("ruff"), "format", "--check", "."),
        step("types", tool("mypy")),
    ]
    files, since = changed()
    tests, without = chosen(files, importing())
    print(f"{len(files)} files changed {since}" if files else "nothing is changed: the tests of the core")
    tests = tests or ([] if files else list(CORE))
    budget = Budget(SECONDS)
    if tests:
        print("tests of:", *tests, sep="\n  ")
        arguments = ["-q", "-p", "no:cacheprovider", "-p", "no:nbval", "-m", "not slow and not statistical", "-r", "fE"]
        good.append(pytest.main([*arguments, *(str(ROOT / test) for test in tests)], plugins=[budget]) in (0, 5))
    print("not run:")
    print(f"  {budget.deselected} tests that are slow or statistical, and all tests of other files: make test")
    for file, count in budget.left.items():
        print(f"  {count} tests of {file}, for want of time")
    for file in without:
        print(f"  nothing here looks at {file}: make test")
    print("passed" if all(good) else "FAILED")
    return not all(good)


if __name__ == "__main__":
    sys.exit(main())
