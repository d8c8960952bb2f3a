"""What intervals, profiles and influence ask of a fit is there, whatever its random part is."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import lmmlib
from lmmlib.inference.parametrised import Parametrised
from lmmlib.residual import ar1

FITS = {
    "Fit": ("y ~ x + (1 | h)", None),
    "SeveralFit": ("y ~ x + (1 | h) + (1 | k)", None),
    "ResidualFit": ("y ~ x + (1 | h)", ar1("v")),
}


@pytest.mark.parametrize("name", FITS)
def test_what_is_asked_is_there(name):
    rng = np.random.default_rng(4)
    data = pd.DataFrame({"h": np.repeat(np.arange(12), 6), "v": np.tile(np.arange(6), 12), "k": rng.integers(0, 5, 72)})
    data["x"] = rng.normal(size=72)
    data["y"] = rng.normal(size=12)[data["h"]] + rng.normal(size=5)[data["k"]] + rng.normal(size=72)
    formula, residual = FITS[name]
    fit = lmmlib.fit(formula, data, **({"residual": residual} if residual else {}))
    kind = getattr(lmmlib, name)
    assert type(fit) is kind and issubclass(kind, Parametrised) and not kind.__abstractmethods__
    assert list(fit.kinds) == list(fit.parameters().index) == list(fit.cov_parameters().index)
    for g in fit.groups():
        assert_allclose(g.B @ g.B.T, fit.cov_beta, rtol=1e-8)
        assert g.own.shape == (len(g.names), 2, 2) and g.score.shape == (len(g.names), 2)
        assert set(g.codes) <= set(range(len(g.names)))
    for own, at in fit.kinds.items():
        if at[0] != "effect":  # which are held by maximum likelihood
            model = fit._held(at)
            assert_allclose(model.parameter(model.estimate), fit.parameters()[own], rtol=1e-9)
    some = fit.without(data["h"].to_numpy() == 3)
    assert type(some) is type(fit) and some.n_obs == 66
