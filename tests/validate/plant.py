"""Plant faults one by one in a copy of the repository and run, for each, the narrowest check that should see it.

``python -m tests.validate.plant [WORDS ...]`` (``make validate``): all faults of :mod:`tests.validate.faults`, or those
whose name or kind holds one of the words. Prints a table and ends with 1 if a fault survives, does not find its place,
or has a check that fails without it. A run of all of them leaves a report for `make checked`.
"""

import json
import os
import queue
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from chapters._tools.replacing import replace_text

ROOT = Path(__file__).resolve().parents[2]
REPORT = ROOT / "_build" / "run" / "validate.json"
PROCESSES = 2
TIMEOUT = 300  # seconds for one check
PYTEST = ("-m", "pytest", "-vv", "--tb=short", "-p", "no:cacheprovider", "--no-header", "-x")
NBVAL = ("--nbval", "--nbval-current-env")
PLAIN = ("-p", "no:nbval", "-p", "no:xdist", "-p", "no:anyio")  # starts sooner


class PlaceNotFound(Exception):
    """A fault of the list does not fit the repository any more."""


class Tree:
    """A copy of the repository's files; what a fault edits or a run writes in it is put back by `restore`."""

    def __init__(self, folder):
        self.folder = Path(folder)
        listed = subprocess.run(
            ["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True
        )
        self.files = sorted(name for name in listed.stdout.decode().split("\0") if name and (ROOT / name).is_file())
        self.stamps = {}
        for name in self.files:
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            self._copy(name)
        # Compiled once; whether a source has changed is asked of its hash, as times of edits may lie within a second.
        self.run("-m", "compileall", "-q", "--invalidation-mode", "checked-hash", "lmmlib")

    def _copy(self, name):
        shutil.copyfile(ROOT / name, self.folder / name)
        os.chmod(self.folder / name, (ROOT / name).stat().st_mode)
        self.stamps[name] = self._stamp(name)

    def _stamp(self, name):
        path = self.folder / name
        return (path.stat().st_mtime_ns, path.stat().st_size) if path.exists() else None

    def restore(self):
        for name in self.files:
            if self._stamp(name) != self.stamps[name]:
                self._copy(name)

    def run(self, *arguments):
        """This Python in the copy, which comes before the repository; nothing compiled is kept."""
        env = os.environ | {"PYTHONPATH": str(self.folder), "PYTHONDONTWRITEBYTECODE": "1"}
        env.pop("PYTEST_CURRENT_TEST", None)
        return subprocess.run(
            [sys.executable, *arguments], cwd=self.folder, env=env, capture_output=True, text=True, timeout=TIMEOUT
        )

    # --- places ---

    def paths(self, pattern):
        """Files of a folder by the end of their names: "lmmlib/*.py" is any Python file anywhere in lmmlib."""
        folder, _, end = pattern.partition("/*")
        return [self.folder / name for name in self.files if name.startswith(f"{folder}/") and name.endswith(end)]

    def text(self, pattern, old, new):
        """Change a piece of text that occurs once in all files of a pattern, or of one name."""
        paths = self.paths(pattern) if "*" in pattern else [self.folder / pattern]
        there = [path for path in paths if old in path.read_text(encoding="utf-8")]
        if len(there) != 1 or there[0].read_text(encoding="utf-8").count(old) != 1:
            raise PlaceNotFound(f"{old!r} is in {[path.name for path in there]}, and must occur once")
        there[0].write_text(there[0].read_text(encoding="utf-8").replace(old, new), encoding="utf-8")

    def cells(self, kind):
        """(path, notebook, cell) of all cells of a kind, as JSON, their sources joined."""
        for path in self.paths("chapters/*.ipynb"):
            notebook = json.loads(path.read_text(encoding="utf-8"))
            for cell in notebook["cells"]:
                cell["source"] = "".join(cell["source"])
                if cell["cell_type"] == kind:
                    yield path, notebook, cell

    def save(self, path, notebook):
        """Write a notebook as the book stores it."""
        for cell in notebook["cells"]:
            cell["source"] = "".join(cell["source"]).splitlines(keepends=True)
        path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    def cell(self, old, new, kind="code"):
        """Change a piece of source that occurs in one cell only; returns its notebook."""
        found = [(path, notebook, cell) for path, notebook, cell in self.cells(kind) if old in cell["source"]]
        if len(found) != 1:
            raise PlaceNotFound(f"{old!r} is in {len(found)} {kind} cells")
        path, notebook, cell = found[0]
        cell["source"] = cell["source"].replace(old, new, 1)
        self.save(path, notebook)
        return path

    def execute(self, path):
        """Execute a changed chapter and store what it prints, as an author does."""
        folder = path.parent.relative_to(self.folder)
        done = self.run("chapters/_tools/execute.py", path.stem)
        if done.returncode or "written" not in done.stdout:
            raise PlaceNotFound(
                f"{folder / path.stem} was not executed and written: {done.stdout} {done.stderr[-300:]}"
            )


def one_of(seed, candidates):
    """A place among many, the same on every run."""
    if not candidates:
        raise PlaceNotFound("no place of this kind is left")
    return random.Random(seed).choice(candidates)


@dataclass(frozen=True)
class Fault:
    """``plant(tree)`` makes it and may return more arguments of pytest; ``check`` are the arguments known before."""

    kind: str
    name: str
    plant: object
    check: tuple = ()


@dataclass(frozen=True)
class Result:
    """What became of a fault: "caught", "SURVIVED", "no place" or "no verdict", by what, and the first message."""

    fault: Fault
    verdict: str
    by: str
    message: str
    arguments: tuple
    seconds: float


def said(output):
    """(test, first line of its message) of a failing run of pytest."""
    test = re.search(r"^(?:FAILED|ERROR) (\S+)", output, re.M)
    message = re.search(r"^E\s+(?!AssertionError: *$)(\S.*)", output, re.M) or re.search(
        r"^(\S+\.ipynb, .*)", output, re.M
    )
    return test[1].rpartition("/")[2] if test else "", message[1] if message else output.strip()[-200:]


def tried(fault, tree):
    """Plant a fault, run its check, and put the tree back."""
    start, arguments = time.perf_counter(), tuple(fault.check)
    try:
        more = fault.plant(tree)
        arguments += more if isinstance(more, tuple) else ()
        done = tree.run(*PYTEST, *(() if NBVAL[0] in arguments else PLAIN), *arguments)
        verdict = {0: "SURVIVED", 1: "caught"}.get(done.returncode, "no verdict")
        by, message = said(done.stdout) if done.returncode else (" ".join(arguments), "")
    except PlaceNotFound as error:
        verdict, by, message = "no place", "", str(error)
    except subprocess.TimeoutExpired:
        verdict, by, message = "no verdict", " ".join(arguments), f"no answer in {TIMEOUT} s"
    finally:
        tree.restore()
    return Result(fault, verdict, by, message, arguments, time.perf_counter() - start)


def failing_anyway(results, tree):
    """Messages of checks that fail in the copy without any fault: they would catch everything."""
    checks = {argument for result in results for argument in result.arguments} - set(NBVAL)
    books = sorted(argument for argument in checks if argument.endswith(".ipynb"))
    found = []
    for arguments in (sorted(checks - set(books)), [*NBVAL, *books] if books else []):
        if arguments and (done := tree.run(*PYTEST, *arguments)).returncode:
            found.append(": ".join(said(done.stdout)))
    return found


def validate(faults, report=print, baseline=True):
    """Try all faults, two at a time; returns the results and the checks that fail without a fault."""
    trees, done = queue.Queue(), Counter()
    with tempfile.TemporaryDirectory(prefix="validate-") as folder:
        for k in range(min(PROCESSES, len(faults))):
            trees.put(Tree(Path(folder) / str(k)))

        def one(fault):
            tree = trees.get()
            try:
                result = tried(fault, tree)
            finally:
                trees.put(tree)
            done[result.verdict] += 1
            report(f"{sum(done.values()):3d}/{len(faults)} {result.seconds:5.1f} s  {result.verdict:9s} {fault.name}")
            return result

        with ThreadPoolExecutor(PROCESSES) as pool:
            results = list(pool.map(one, faults))
        return results, failing_anyway(results, trees.get()) if baseline else []


def table(results):
    """The table of all faults, by kind."""
    rows = [(r.fault.kind, r.fault.name, r.by if r.verdict == "caught" else r.verdict, r.message) for r in results]
    widths = [max(len(row[k]) for row in rows) for k in range(3)]
    return "\n".join("  ".join(f"{row[k]:<{widths[k]}}" for k in range(3)) + f"  {row[3][:120]}" for row in rows)


def summary(results, seconds):
    """What `make checked` stores of a run: how many, and for each kind the first that was caught, and by which test."""
    kinds = {}
    for result in results:
        kind = kinds.setdefault(result.fault.kind, {"planted": 0, "caught": 0, "fault": "", "by": ""})
        kind["planted"] += 1
        if result.verdict == "caught":
            kind["caught"] += 1
            kind["fault"] = kind["fault"] or result.fault.name
            kind["by"] = kind["by"] or result.by.rpartition("::")[2]
    caught = sum(kind["caught"] for kind in kinds.values())
    about = {"date": date.today().isoformat(), "planted": len(results), "caught": caught, "seconds": round(seconds)}
    return about | {"kinds": kinds}


def main(words):
    from tests.validate.faults import FAULTS

    chosen = [f for f in FAULTS if not words or any(word in f"{f.kind} {f.name}" for word in words)]
    start = time.perf_counter()
    results, broken = validate(chosen, lambda line: print(line, flush=True))
    print(f"\n{table(results)}\n")
    count = Counter(result.verdict for result in results)
    print(
        f"{len(results)} faults: {', '.join(f'{n} {v}' for v, n in count.items())}; {time.perf_counter() - start:.0f} s"
    )
    for message in broken:
        print(f"fails without any fault: {message}")
    if not words and not broken:
        REPORT.parent.mkdir(parents=True, exist_ok=True)
        replace_text(REPORT, json.dumps(summary(results, time.perf_counter() - start), indent=1) + "\n")
    return 1 if broken or set(count) != {"caught"} else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
