"""The stored chapters keep the rules of checks.py; the folder and the table of contents agree."""

import re

import nbformat
import pytest
import yaml

from tests.notebooks import checks
from tests.notebooks.conftest import CHAPTERS, PATHS, ROOT

EXERCISES = 5  # in a core page

# The cells whose output nbval does not compare, all of them: times, versions, and what PyMC or numerical noise prints.
IGNORED = {
    "04-maximum-likelihood-deeper": {"statsmodels-version"},
    "05-reml-deeper": {"cell-103"},
    "07-blups-deeper": {"cell-114"},
    "09-gibbs-deeper": {"pymc-quantiles", "pymc-divergences"},
    "10-data-cloning": {"cell-127"},
    "10-data-cloning-deeper": {"cell-098", "cell-134"},
    "11-counts-deeper": {"cell-135"},
    "11-yes-or-no": {"cell-yn-035"},
    "big-data": {"cell-042", "cell-045"},
}


@pytest.mark.parametrize("check", checks.CHECKS, ids=lambda check: check.__name__)
def test_rule(chapter, check, notebooks):
    assert check(notebooks[chapter.stem]) == []


def test_no_other_output_is_ignored(chapter, notebooks):
    assert checks.ignored_cells(notebooks[chapter.stem]) == IGNORED.get(chapter.stem, set())


def test_a_newly_ignored_output_is_found(good):
    assert checks.ignored_cells(good) == set()
    good.cells[2].metadata["tags"] = ["nbval-ignore-output"]
    good.cells[3].source = "# NBVAL_IGNORE_OUTPUT\ndraw()"
    assert checks.ignored_cells(good) == {good.cells[2].id, good.cells[3].id}


def test_exercises(chapter, notebooks):
    least = EXERCISES if re.match(r"\d\d-(?!.*-deeper)", chapter.stem) else 0
    assert checks.exercises_have_solutions(notebooks[chapter.stem], least) == []


def test_metadata_is_normalised(chapter, execute):
    stored = chapter.read_text(encoding="utf-8")
    assert execute.as_text(execute.normalise(nbformat.reads(stored, as_version=4))) == stored


def in_contents(text):
    """The names of the pages that a table of contents lists."""
    contents = yaml.safe_load(text)
    pages = [page for part in contents["parts"] for one in part["chapters"] for page in (one, *one.get("sections", []))]
    return [name.removeprefix("chapters/") for name in [contents["root"], *(page["file"] for page in pages)]]


def missing_or_extra(text, folder):
    """Pages that are in the folder or in the contents, but not in both."""
    files = [*folder.iterdir(), *folder.glob("sources/*"), *folder.glob("reference/*")]
    there = {path.relative_to(folder).with_suffix("").as_posix() for path in files if path.suffix in (".ipynb", ".md")}
    return there ^ set(in_contents(text))


def test_contents_list_every_page():
    assert missing_or_extra((ROOT / "_toc.yml").read_text(encoding="utf-8"), CHAPTERS) == set()


def test_contents_miss_a_page(tmp_path):
    text = (ROOT / "_toc.yml").read_text(encoding="utf-8")
    (tmp_path / "sources").mkdir()
    (tmp_path / "reference").mkdir()
    for name in in_contents(text):
        (tmp_path / f"{name}.md").touch()
    assert missing_or_extra(text, tmp_path) == set()
    (tmp_path / "04-new.ipynb").touch()
    (tmp_path / "sources" / "009-new.ipynb").touch()
    (tmp_path / "03-gls.md").unlink()
    assert missing_or_extra(text, tmp_path) == {"04-new", "sources/009-new", "03-gls"}


def test_there_are_chapters():
    assert [path.stem[:2] for path in PATHS if re.match(r"\d\d-(?!.*-deeper)", path.stem)] == [
        "01",
        "02",
        "03",
        "04",
        "05",
        "06",
        "07",
        "08",
        "09",
        "10",
        "11",
        "11",  # counts, and yes or no
        "12",  # several groupings, and relatives
        "12",
    ]


def defined_and_used(notebooks, pattern):
    return [label for notebook in notebooks for cell in notebook.cells for label in re.findall(pattern, cell.source)]


def test_labels_are_unique(notebooks):
    equations = defined_and_used(notebooks.values(), r"\$\$[ \t]*\(([\w-]+)\)")
    boxes = defined_and_used(notebooks.values(), r"^:label:\s*(\S+)")
    headings = defined_and_used(notebooks.values(), r"^\(([\w-]+)\)=")
    labels = equations + boxes + headings
    assert sorted({label for label in labels if labels.count(label) > 1}) == []
