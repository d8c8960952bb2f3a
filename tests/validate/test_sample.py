"""Six of the faults of `make validate`, and what its runner says of those that nothing notices."""

import pytest

from tests.validate import faults, plant

SAMPLE = (
    "the intraclass correlation upside down",
    "the unit on the data page",
    "a named one loosened",
    "a year",
    "an error that is not the package's",
    "a link of the README",
)


@pytest.mark.slow
def test_six_faults_are_noticed():
    chosen = [fault for fault in faults.FAULTS if fault.name in SAMPLE]
    results, _ = plant.validate(chosen, lambda line: None, baseline=False)
    assert len(results) == 6
    assert {r.fault.name: r.verdict for r in results} == dict.fromkeys((f.name for f in chosen), "caught")
    assert all("::test_" in r.by and r.message for r in results), results


def test_there_are_sixty_with_names_of_their_own():
    names = [(fault.kind, fault.name) for fault in faults.FAULTS]
    assert len(set(names)) == len(names) >= 60


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return plant.Tree(tmp_path_factory.mktemp("copy"))


@pytest.mark.slow
def test_every_fault_finds_its_place_and_its_check(tree, monkeypatch):
    """Without running anything: what `make validate` would find only after ten minutes."""
    monkeypatch.setattr(plant.Tree, "execute", lambda tree, path: None)
    lost = []
    for fault in faults.FAULTS:
        try:
            more = fault.plant(tree)
        except plant.PlaceNotFound as error:
            lost.append(f"{fault.name}: {error}")
        finally:
            tree.restore()
        for check in (*fault.check, *(more if isinstance(more, tuple) else ())):
            path, _, test = check.partition("::")
            there = check.startswith("-") or (plant.ROOT / path).exists()
            named = not test or f"def {test.partition('[')[0]}(" in (plant.ROOT / path).read_text(encoding="utf-8")
            lost += [] if there and named else [f"{fault.name}: there is no {check}"]
    assert lost == []


def harmless(tree):
    tree.text("references.bib", "% Keys are", "% The keys are")


def without_place(tree):
    tree.text("references.bib", "no such text", "")


def test_what_is_not_noticed_is_said(tree):
    before = (tree.folder / "references.bib").read_bytes()
    check = ("tests/project/test_bibliography.py::test_every_entry_is_in_order",)
    assert plant.tried(plant.Fault("none", "harmless", harmless, check), tree).verdict == "SURVIVED"
    assert plant.tried(plant.Fault("none", "nowhere", without_place, check), tree).verdict == "no place"
    assert (tree.folder / "references.bib").read_bytes() == before


def test_a_check_that_fails_anyway_is_said(tree):
    tree.text("references.bib", "year    = {1948}", "year    = {1949}")
    check = ("tests/project/test_bibliography.py::test_every_entry_is_in_order",)
    result = plant.Result(plant.Fault("none", "any", harmless), "caught", "", "", check, 0.0)
    assert "1949" in plant.failing_anyway([result], tree)[0]
    tree.restore()
