"""Known correlations: Henderson's rules are the inverse of the matrix that paths give, whatever the order."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from lmmlib.errors import DesignError, ParameterError
from lmmlib.several.fit import fit_several
from lmmlib.several.relationship import matrix, pedigree, relationship_of

MRODE = pd.DataFrame({"sire": [1, 3, 1, 4, 3], "dam": [None, 2, 2, 5, 6]}, index=[4, 5, 6, 7, 8], dtype=object)


def by_paths(frame, names):
    """A by the definition: parents before children, an animal's row the mean of those of its parents."""
    parents = {
        child: [p for p in pair if not pd.isna(p)] for child, pair in zip(frame.index, frame.to_numpy(), strict=True)
    }

    def related(a, b):
        if a is b or a == b:
            own = parents.get(a, [])
            return 1 + (related(*own) / 2 if len(own) == 2 else 0)
        older, younger = (a, b) if depth(a) <= depth(b) else (b, a)
        return sum(related(older, parent) for parent in parents.get(younger, [])) / 2

    def depth(a):
        return 1 + max((depth(p) for p in parents.get(a, [])), default=0)

    return np.array([[related(a, b) for b in names] for a in names])


def random_pedigree(seed, n=40):
    rng = np.random.default_rng(seed)
    rows = {i: [rng.choice([None, int(rng.integers(0, i))], p=[0.2, 0.8]) for _ in range(2)] for i in range(6, n)}
    return pd.DataFrame.from_dict(rows, orient="index", dtype=object, columns=["sire", "dam"])


@pytest.mark.parametrize("frame", [MRODE, random_pedigree(1), random_pedigree(2)])
def test_a_pedigree(frame):
    found = pedigree(frame)
    A = by_paths(frame, found.names)
    assert_allclose(found.A, A, atol=1e-14)
    assert_allclose(found.Q.toarray() @ A, np.eye(len(A)), atol=1e-12)
    assert_allclose(found.logdet, np.linalg.slogdet(A)[1], atol=1e-12)
    assert (np.diag(A) > 1).any() == (len(frame) > 5)  # inbreeding


def test_the_order_does_not_matter():
    one, other = pedigree(MRODE), pedigree(MRODE.iloc[::-1])
    place = [other.names.index(name) for name in one.names]
    assert_allclose(other.A[np.ix_(place, place)], one.A, atol=1e-14)


def test_a_matrix():
    A = pd.DataFrame(pedigree(MRODE).A, pedigree(MRODE).names, pedigree(MRODE).names)
    found = matrix(A)
    assert found.names == tuple(A.index)
    assert_allclose(found.Q.toarray() @ A, np.eye(8), atol=1e-12)
    assert_allclose(found.logdet, pedigree(MRODE).logdet, atol=1e-12)


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (pd.DataFrame({"s": ["b", "a"], "d": [None, None]}, index=["a", "b"]), "'[ab]' is an ancestor of itself"),
        (pd.DataFrame({"s": [None]}, index=["a"]), "a pedigree has two columns.*got 1 columns"),
        (pd.DataFrame([[1.0, 2.0], [2.0, 1.0]], ["a", "b"], ["a", "b"]), "not positive definite"),
        (
            pd.DataFrame([[1.0, 0.5], [0.4, 1.0]], ["a", "b"], ["a", "b"]),
            "symmetric; got 0.5 for 'a' and 'b', and 0.4 for",
        ),
        (pd.DataFrame([[1.0, np.nan], [np.nan, 1.0]], ["a", "b"], ["a", "b"]), "must be finite; got array"),
        (pd.DataFrame({"s": [None, None], "d": [None, None]}, index=["a", "a"]), "names each group once"),
        (np.eye(2), "must be a DataFrame"),
    ],
)
def test_what_is_none(frame, words):
    with pytest.raises(ParameterError, match=words):
        relationship_of({"animal": frame}, ["animal"])


def test_two_groups_that_are_one():
    """Rounding leaves a Cholesky factor of a matrix that has none."""
    A = pedigree(MRODE).A[[0, 1, 2, 3, 4, 5, 6, 7, 4]][:, [0, 1, 2, 3, 4, 5, 6, 7, 4]]
    with pytest.raises(ParameterError, match="not positive definite, as it is when two groups are one"):
        matrix(pd.DataFrame(A, list("abcdefghi"), list("abcdefghi")))


def test_a_group_without_relationship_is_an_error():
    data = pd.DataFrame({"y": [1.0, 2.0, 4.0, 3.0], "animal": [4, 5, 6, 99]})
    with pytest.raises(DesignError, match="'animal' has the group 99, which its relationship does not name"):
        fit_several("y ~ 1 + (1 | animal)", data, relationship={"animal": MRODE})
