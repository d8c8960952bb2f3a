"""Random inputs for the twins of the book's equations, and its tool that locks them."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.equations.models import Model

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def tool():
    """chapters/_tools/equations.py, which is not part of a package."""
    spec = importlib.util.spec_from_file_location("equations", ROOT / "chapters" / "_tools" / "equations.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["equations"] = module  # its dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(params=[1, 2])
def rng(request):
    return np.random.default_rng(request.param)


@pytest.fixture
def m(rng):
    """Five unbalanced groups, three fixed and two random columns."""
    return Model.draw(rng, [3, 5, 4, 2, 6])


@pytest.fixture
def balanced(rng):
    """Six groups of four rows with one matrix X_i = Z_i for all."""
    return Model.same(rng, n=6, m=4)


@pytest.fixture
def one_way(rng):
    """n, m, tau2, sigma2, mu, and y of shape (n, m)."""
    n, m = rng.integers(4, 8), rng.integers(2, 6)
    tau2, sigma2, mu = rng.uniform(0.5, 2), rng.uniform(0.5, 2), rng.normal()
    y = mu + np.sqrt(tau2) * rng.normal(size=(n, 1)) + np.sqrt(sigma2) * rng.normal(size=(n, m))
    return n, m, tau2, sigma2, mu, y
