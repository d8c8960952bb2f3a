"""Refits one by one: those that fail keep their place and their reason."""

from types import SimpleNamespace

import numpy as np

from lmmlib.errors import DesignError
from lmmlib.fitting.refits import Refits


class Mean:
    """A fit that does not converge for a mean above 5, and is none below 0."""

    def again(self, y):
        if (mean := y.mean()) < 0:
            raise DesignError("below zero")
        found = {"criterion": mean, "converged": mean <= 5, "reason": "large" if mean > 5 else "found"}
        return SimpleNamespace(**found, parameters=lambda: {"mean": mean})


def test_failures_keep_their_place():
    done = []
    refits = Refits.of(Mean(), np.array([[1.0, -1.0, 9.0, 3.0]]), done.append)
    assert list(refits.failed) == [False, True, True, False] and done == [1] * 4
    assert refits.reason == ("found", "below zero", "large", "found")
    np.testing.assert_array_equal(refits.criterion, [1, np.nan, np.nan, 3])
    np.testing.assert_array_equal(refits.parameters()["mean"], [1, np.nan, np.nan, 3])
    joined = refits.join([refits])
    assert len(joined.fits) == len(joined.reason) == 8 and joined.failed.sum() == 4
