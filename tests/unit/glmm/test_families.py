"""Families by name."""

import pytest

from lmmlib.errors import ParameterError
from lmmlib.glmm.binomial import Binomial
from lmmlib.glmm.families import family_of
from lmmlib.glmm.poisson import Poisson


def test_families_have_names():
    assert family_of("poisson") is Poisson and family_of("binomial") is Binomial
    with pytest.raises(ParameterError, match="family is 'poisson' or 'binomial'; got 'gamma'"):
        family_of("gamma")
