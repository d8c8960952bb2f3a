"""Mutants of the package, one changed line each: does a test of the module notice?

``make mutate ROOM=equations`` (``python -m tests.validate.mutants equations``): all of a room, one by one; what is done
is kept in ``_build/mutants``, and an interrupted run goes on where it was. ``--sample 60 --seed 1``: so many of all the
rooms that are named. cosmic-ray draws them, in an environment of its own in ``_build/mutants/env``.

``make validate`` plants sixty of those of ``mutants.csv`` again that were killed, and runs the test that killed each.
"""

import argparse
import csv
import io
import json
import random
import re
import subprocess
import sys
import tempfile
import venv
from collections import Counter
from pathlib import Path

from chapters._tools.replacing import replace_text
from tests.validate import plant
from tests.validate.plant import PLAIN, PYTEST, ROOT, Fault, PlaceNotFound, Tree

ROOMS = ("equations", "fitting", "inference", "prediction", "bayes", "cloning", "glmm")
COSMIC_RAY = "cosmic-ray==8.7.0"
FOLDER = ROOT / "_build" / "mutants"
TABLE = Path(__file__).with_name("mutants.csv")
KEY = ("path", "operator", "line", "old", "new", "place")
COLUMNS = (*KEY, "verdict", "by")
AGAIN = 60


def drawn(rooms, sample=0, seed=1):
    """All mutants of some rooms, or a sample, as :mod:`tests.validate.draw_mutants` lists them."""
    python = FOLDER / "env" / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    if not python.exists():
        venv.create(FOLDER / "env", with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "--only-binary", ":all:", COSMIC_RAY], check=True)
    paths = [
        path.relative_to(ROOT).as_posix() for room in rooms for path in sorted((ROOT / "lmmlib" / room).glob("*.py"))
    ]
    done = subprocess.run(
        [python, Path(__file__).with_name("draw_mutants.py"), str(sample), str(seed), *paths],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def checks(path):
    """Tests that concern a module: its own, then those of equations and properties that name it or what it defines."""
    _, room, name = Path(path).with_suffix("").parts
    own = ROOT / "tests" / "unit" / room / f"test_{name}.py"
    public = re.findall(r"^(?:def|class) ([A-Za-z]\w*)", (ROOT / path).read_text(encoding="utf-8"), re.M)
    words = re.compile(
        rf"lmmlib\.{room}\.{name}\b|lmmlib\.{room} import .*\b{name}\b|\b(?:{'|'.join(public) or name})\("
    )
    others = [
        test
        for folder in ("equations", "property")
        for test in sorted((ROOT / "tests" / folder).glob("test_*.py"))
        if words.search(test.read_text(encoding="utf-8"))
    ]
    return [[test.relative_to(ROOT).as_posix() for test in some if test.exists()] for some in ([own], others)]


def changed(tree, mutant):
    """Plant a mutant in a copy of the repository."""
    path = tree.folder / mutant["path"]
    lines = path.read_text(encoding="utf-8").split("\n") if path.exists() else []
    places = [k for k, line in enumerate(lines) if line == mutant["old"]]
    if int(mutant["place"]) >= len(places):
        raise PlaceNotFound(f"{mutant['path']} has no line {mutant['old'].strip()!r} any more")
    lines[places[int(mutant["place"])]] = mutant["new"]
    path.write_text("\n".join(lines), encoding="utf-8")


def tried(tree, mutant):
    """(verdict, test): "killed" by a test, or because none ends in time; "survived" all that concern the module."""
    try:
        changed(tree, mutant)
        for tests in filter(None, checks(mutant["path"])):
            try:
                done = tree.run(*PYTEST, *PLAIN, "-m", "not slow", *tests)
            except subprocess.TimeoutExpired:
                return "killed", "no answer in time"
            named = re.findall(r"^(?:FAILED|ERROR) ([^\s\[]+)", done.stdout, re.M)
            if done.returncode not in (0, 5):  # 5: no test is left
                # Without a test that is named nothing was tried: the copy is broken, or the mutant stops pytest itself.
                return ("killed", named[0]) if named else ("no verdict", done.stderr.strip()[-200:])
        return "survived", ""
    finally:
        tree.restore()


def read(path):
    """The rows of a table, or none."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write(path, rows):
    """The table of some rows."""
    text = io.StringIO()
    table = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_text(path, text.getvalue())


def key(row):
    """What makes a mutant the same one."""
    return tuple(str(row[name]) for name in KEY)


def mutate(rooms, sample=0, seed=1, report=print):
    """Try the mutants of some rooms, or a sample of them; returns all rows that are done."""
    mutants = drawn(rooms, sample, seed)
    path = FOLDER / f"{'-'.join(rooms) if len(rooms) < len(ROOMS) else 'all'}{f'-{seed}' if sample else ''}.csv"
    rows = read(path)
    done = set(map(key, rows))
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        tree = Tree(folder)
        for count, mutant in enumerate(mutants, 1):
            if key(mutant) in done:
                continue
            verdict, by = tried(tree, mutant)
            rows.append(mutant | {"verdict": verdict, "by": by})
            write(path, rows)
            report(f"{count:5d}/{len(mutants)} {verdict:8s} {mutant['path']}:{mutant['line']} {mutant['new'].strip()}")
    return rows


def again(size=AGAIN):
    """Faults for :func:`tests.validate.plant.validate`: a seeded choice of the killed mutants of the table."""
    killed = [row for row in read(TABLE) if row["verdict"] == "killed" and "::" in row["by"]]
    chosen = random.Random(len(killed)).sample(killed, min(size, len(killed)))
    return [
        Fault(
            "mutant",
            f"{row['path']}:{row['line']} {row['operator']}",
            lambda tree, row=row: changed(tree, row),
            (row["by"],),
        )
        for row in chosen
    ]


def main(arguments):
    parser = argparse.ArgumentParser(prog="python -m tests.validate.mutants")
    parser.add_argument("rooms", nargs="*", help="by default all")
    parser.add_argument("--sample", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--again", action="store_true", help="plant a choice of the stored ones that were killed")
    chosen = parser.parse_args(arguments)
    if chosen.again:
        results, broken = plant.validate(again(), lambda line: print(line, flush=True))
        count = Counter(result.verdict for result in results)
        print(f"{len(results)} mutants: {', '.join(f'{n} {verdict}' for verdict, n in count.items())}")
        for message in broken:
            print(f"fails without any mutant: {message}")
        # Lines change: a mutant without a place is one to draw anew, not a hole in the net, unless most are so.
        lost = count["no place"] * 2 > len(results)
        return 1 if broken or lost or set(count) - {"caught", "no place"} else 0
    if wrong := set(chosen.rooms) - set(ROOMS):
        parser.error(f"no room of the table: {', '.join(sorted(wrong))}; there are {', '.join(ROOMS)}")
    rows = mutate(chosen.rooms or ROOMS, chosen.sample, chosen.seed, lambda line: print(line, flush=True))
    print(", ".join(f"{n} {verdict}" for verdict, n in Counter(row["verdict"] for row in rows).items()))
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        killers = sorted({row["by"] for row in rows if "::" in row["by"]})
        done = Tree(folder).run(*PYTEST, *PLAIN, *killers) if killers else None
    if done and done.returncode:
        print(f"fails without any mutant: {': '.join(plant.said(done.stdout))}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
