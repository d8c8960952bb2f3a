"""Modes as labelled tables."""

import pytest
from numpy.testing import assert_allclose

from lmmlib.errors import ParameterError
from lmmlib.glmm.fit import fit_glmm_design
from tests.unit.glmm.designs import design, with_offset


@pytest.fixture(scope="module")
def fit():
    d = design(q=2, n=30)
    return fit_glmm_design(with_offset(d))


def test_labels_and_frame(fit):
    modes = fit.modes()
    assert list(modes.b.columns) == ["z0", "z1"] and modes.b.index.name == "group"
    table = modes.frame(error="known", level=0.9)
    columns = ["group", "term", "estimate", "se_known", "se_estimated", "lower", "upper"]
    assert len(table) == 60 and list(table.columns) == columns
    assert_allclose(table.upper - table.estimate, 1.6448536269514722 * table.se_known)
    assert repr(modes) == "Modes of 30 groups, 2 random effects each: z0, z1"
    with pytest.raises(ParameterError, match="error is 'known' or 'estimated'"):
        modes.se("pev")
