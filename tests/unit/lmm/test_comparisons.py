"""Each comparison knows from the room of its models how they lie within each other."""

import lmmlib
from lmmlib.inference.compare import compare as compare_one
from lmmlib.lmm import comparisons
from lmmlib.residual import by


def test_each_by_its_room(monkeypatch):
    data = lmmlib.load("penicillin")
    formulas = {"none": "(0 | plate)", "one": "(1 | plate)", "two": "(1 | plate) + (1 | sample)"}
    fits = {name: lmmlib.fit(f"diameter ~ 1 + {random}", data) for name, random in formulas.items()}
    fits["by"] = lmmlib.fit("diameter ~ 1 + (1 | plate)", data, residual=by("sample"))
    asked = []
    for name in ("nested_random", "nested_terms", "nested_covariances"):
        monkeypatch.setattr(
            comparisons, name, lambda *fits, of=getattr(comparisons, name): asked.append(of) or of(*fits)
        )
    for small, large in (("none", "one"), ("one", "two"), ("one", "by")):
        lmmlib.compare(fits[small], fits[large])
    assert [one.__name__ for one in asked] == ["nested_random", "nested_terms", "nested_covariances"]
    found, theirs = lmmlib.compare(fits["none"], fits["one"]), compare_one(fits["none"], fits["one"])
    assert (found.p, found.reference, found.note) == (theirs.p, theirs.reference, theirs.note)
    options = {"method": "bootstrap", "size": 5, "rng": 1}
    draws = compare_one(fits["none"], fits["one"], **options).draws
    assert list(lmmlib.compare(fits["none"], fits["one"], **options).draws) == list(draws)
