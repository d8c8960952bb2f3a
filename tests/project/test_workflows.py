"""The workflows for GitHub call commands that the README names, on all versions of Python, and write nowhere else."""

import re
import shutil
import subprocess
import tomllib

import pytest
import yaml

from tests import versions
from tests.notebooks.conftest import ROOT

FILES = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
PLUMBING = ("sudo ", "texlive-", "{", "echo ", "tail ", "}", "cd site", "touch ", "git ", "python -m venv")


def jobs():
    """{name: job} of all workflows."""
    read = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in FILES]
    return {name: job for one in read for name, job in one["jobs"].items()}


def lines():
    """(job, line) of all that is run."""
    scripts = [(name, step["run"]) for name, job in jobs().items() for step in job["steps"] if "run" in step]
    return [(name, line.strip()) for name, script in scripts for line in script.splitlines()]


def test_every_command_of_make_exists():
    named = {target for _, line in lines() for target in re.findall(r"\bmake ([a-z-]+)", line)}
    assert {"lint", "code", "notebooks", "book", "try"} <= named
    assert named <= set(re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.M)[1].split())


def test_other_lines_stand_in_the_readme():
    others = [line for _, line in lines() if not line.startswith(("make ", ".ci/run", *PLUMBING))]
    assert len(others) >= 6
    assert [line for line in others if line not in README] == []


def test_windows_runs_all_that_the_readme_says_of_it():
    said = re.search(r"\*\*Windows\*\*.*?```console\n(.*?)```", README, re.S)[1].splitlines()
    run = [line for name, line in lines() if name == "windows"]
    assert said[1:] == run[1:] and "-m venv .venv" in said[0] and "-m venv .venv" in run[0]


def test_all_versions_of_python_that_are_promised():
    oldest = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["requires-python"]
    for system in ("versions", "windows"):
        assert jobs()[system]["strategy"]["matrix"]["python"][0] == oldest.removeprefix(">=")
    assert jobs()["versions"]["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13", "3.14"]


def test_only_the_pages_may_write_and_only_where_they_are_switched_on():
    for path in FILES:
        assert yaml.safe_load(path.read_text(encoding="utf-8"))["permissions"] == {"contents": "read"}
    writing = {name for name, job in jobs().items() if "permissions" in job}
    assert writing == {"pages"} and "vars.PAGES == 'true'" in jobs()["pages"]["if"]
    for name, job in jobs().items():
        for step in job["steps"]:
            if step.get("uses", "").startswith("actions/checkout"):
                assert step["with"]["persist-credentials"] is False, name


def test_ways_of_the_weekly_run_exist():
    assert set(jobs()["others"]["strategy"]["matrix"]["with"]) == set(versions.WAYS) - {"latest"}


@pytest.mark.skipif(shutil.which("git") is None or shutil.which("bash") is None, reason="there is no git or no bash")
def test_the_step_that_publishes_pushes_the_site(tmp_path):
    """With a folder in the place of GitHub; the address with its token is the only line that is not run."""
    (script,) = [step["run"] for step in jobs()["pages"]["steps"] if "run" in step]
    *before, push = script.strip().splitlines()
    assert push == 'git push --quiet --force "${REPOSITORY/:\\/\\//:\\/\\/x-access-token:$TOKEN@}" gh-pages'
    said = subprocess.run(
        [
            "bash",
            "-c",
            'REPOSITORY=https://github.com/a/b TOKEN=t; echo "${REPOSITORY/:\\/\\//:\\/\\/x-access-token:$TOKEN@}"',
        ],
        capture_output=True,
        text=True,
    )
    assert said.stdout == "https://x-access-token:t@github.com/a/b\n"
    for text in ("one", "two"):
        shutil.rmtree(tmp_path / "site", ignore_errors=True)
        (tmp_path / "site" / "chapters").mkdir(parents=True)
        (tmp_path / "site" / "chapters" / "index.html").write_text(text)
        subprocess.run(["git", "init", "-q", "--bare", tmp_path / "server.git"], check=True)
        here = "\n".join(["set -e", *before, f"git push --quiet --force '{tmp_path}/server.git' gh-pages"])
        subprocess.run(
            ["bash", "-c", here],
            cwd=tmp_path,
            env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)} | {"REVISION": "r"},
            check=True,
        )
        show = ["git", "-C", tmp_path / "server.git", "show", "gh-pages:chapters/index.html"]
        assert subprocess.run(show, capture_output=True, text=True, check=True).stdout == text
    log = subprocess.run(
        ["git", "-C", tmp_path / "server.git", "log", "--oneline", "gh-pages"], capture_output=True, text=True
    )
    assert len(log.stdout.splitlines()) == 1


def test_what_is_said_of_what_could_not_be_tried(capsys):
    assert versions.main("nothing") == 2 and "make try WITH=" in capsys.readouterr().out
    assert versions.could_not("kernel X", "why") and capsys.readouterr().out == "kernel X: NOT TRIED: why\n"
    assert versions.versions(["a==1.0", "b==2 ; python_version < '3.12'"]) == {"a": "1.0", "b": "2"}


def test_a_failing_test_fails_the_try_and_is_named(tmp_path, capsys):
    (tmp_path / "test_bad.py").write_text("def test_a():\n    assert 1 == 2\n")
    (tmp_path / "test_good.py").write_text("def test_a():\n    pass\n")
    assert not versions.tried("bad", [str(tmp_path / "test_bad.py")])
    said = capsys.readouterr().out
    assert said.startswith("bad: 1 failed") and "test_bad.py::test_a" in said
    assert versions.tried("good", [str(tmp_path / "test_good.py")]) and "good: 1 passed" in capsys.readouterr().out
