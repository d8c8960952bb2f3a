"""Tables of variances, and notes, of any fit."""

import numpy as np

import lmmlib
from lmmlib.fitting.summary import notes, variance_rows, variance_table, width_of

D = np.array([[4.0, 1.0, 0.0], [1.0, 1.0, -0.5], [0.0, -0.5, 25.0]])


def test_variances_and_correlations():
    rows = variance_rows("abc", D)
    assert rows[0] == ("a", "4.0000", "2.0000", "") and rows[2] == ("c", "25.000", "5.0000", "0.000 -0.100")
    table = variance_table(("Random effects",), rows, 20)
    assert table.columns == ("Random effects", "variance", "sd", "corr") and table.rows == tuple(rows)
    plain = variance_table(("Random effects", "term"), [("g", *row) for row in variance_rows("abc", D, True)], 20)
    assert plain.columns == ("Random effects", "term", "variance", "sd") and plain.rows[1] == (
        "g",
        "b",
        "1.0000",
        "1.0000",
    )
    assert plain.numeric == (False, False, True, True)
    assert variance_rows([], np.zeros((0, 0))) == []


def test_notes(frame):
    fit = lmmlib.fit("lead ~ week + (1 | child)", frame)
    assert notes(fit, "flat", ["more"]) == ("more",) and width_of(fit, "a name of many words") == 20
    vars(fit).update(is_singular=True, converged=False, reason="slow")
    assert notes(fit, "flat") == ("flat", "not converged, so no standard errors: slow")
