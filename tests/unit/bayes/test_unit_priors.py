"""Priors from least squares in each group, against least squares by NumPy."""

import numpy as np
import pytest

import lmmlib
from lmmlib.bayes.unit_priors import unit_information
from lmmlib.errors import DesignError


def test_unit_information_of_the_planting_data():
    """Least squares in each block, by NumPy; the numbers that the source document prints."""
    planting = lmmlib.load("planting").rename(columns={"yield": "y"})
    priors = unit_information("y ~ density + I(density**2) + (density + I(density**2) | block)", planting)
    blocks = [
        (np.vander(g.density, 3, increasing=True), g.y.to_numpy()) for _, g in planting.groupby("block", observed=True)
    ]
    own = [np.linalg.lstsq(X, y, rcond=None) for X, y in blocks]
    coefficients = np.array([fit[0] for fit in own])
    np.testing.assert_allclose(priors.beta.mean, coefficients.mean(axis=0), rtol=1e-8)
    np.testing.assert_allclose(priors.beta.cov, np.cov(coefficients.T), rtol=1e-7)
    np.testing.assert_allclose(priors.D.scale, np.cov(coefficients.T), rtol=1e-7)
    assert (priors.D.df, priors.sigma.shape) == (4.0, 1.0)
    assert priors.sigma.rate == pytest.approx(sum(fit[1][0] for fit in own) / 50)
    np.testing.assert_allclose(priors.beta.mean.round(3), [2.869, 1.855, -0.159])


@pytest.mark.parametrize(
    "formula", ["lead ~ week + (1 | child)", "lead ~ week + (week || child)", "lead ~ week + (week | child)"]
)
def test_unit_information_needs_groups_that_tell(frame, formula):
    with pytest.raises(DesignError, match="unit information"):
        unit_information(formula, frame)
