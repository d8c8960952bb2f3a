"""Each comparison goes to the room that knows the models."""

import lmmlib
from lmmlib.inference.compare import compare as compare_one
from lmmlib.several.compare import compare_several


def test_each_by_its_room():
    data = lmmlib.load("penicillin")
    one, two = (
        lmmlib.fit(f"diameter ~ 1 + {random}", data) for random in ("(1 | plate)", "(1 | plate) + (1 | sample)")
    )
    assert (
        lmmlib.compare(one, two) == compare_several(one, two)
        or lmmlib.compare(one, two).p == compare_several(one, two).p
    )
    none = lmmlib.fit("diameter ~ 1 + (0 | plate)", data)
    found, theirs = lmmlib.compare(none, one), compare_one(none, one)
    assert (found.p, found.reference, found.note) == (theirs.p, theirs.reference, theirs.note)
    options = {"method": "bootstrap", "size": 5, "rng": 1}
    assert list(lmmlib.compare(none, one, **options).draws) == list(compare_one(none, one, **options).draws)
