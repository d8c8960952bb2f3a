"""A small trial with visits missing, its rows in a mixed order."""

import numpy as np
import pandas as pd
import pytest

from lmmlib.design.cross import cross_products
from lmmlib.design.formula import build_design
from lmmlib.residual.model import Model
from lmmlib.residual.visits import Visits
from tests.unit.residual.dense import TIMES


@pytest.fixture(scope="module")
def trial():
    """Thirty children in two arms, two to four visits each."""
    rng = np.random.default_rng(5)
    n = 30
    child, week = np.repeat(np.arange(n), 4), np.tile(TIMES, n)
    arm = np.where(child % 2, "succimer", "placebo")
    age = rng.uniform(1, 3, n)[child]
    sd = np.array([1.0, 1.4, 1.8, 1.2])[np.tile(np.arange(4), n)] * np.where(child % 2, 1.5, 1.0)
    own = np.linalg.cholesky(0.6 ** np.abs(np.subtract.outer(TIMES, TIMES) / 2)) @ rng.standard_normal((4, n))
    lead = 25 - week + 2 * (child % 2) + age + sd * own.T.ravel() + rng.standard_normal(n)[child]
    data = pd.DataFrame({"lead": lead, "week": week, "arm": arm, "age": age, "child": [f"c{i:02d}" for i in child]})
    data["w"] = rng.uniform(0.5, 2.0, len(data))
    data["o"] = rng.normal(size=len(data))
    kept = rng.uniform(size=len(data)) > 0.2
    kept[:24] = True
    return data[kept].sample(frac=1, random_state=1).reset_index(drop=True)


@pytest.fixture(scope="module")
def model():
    """The model of a formula, a frame and a structure."""

    def make(formula, data, structure, **known):
        design = build_design(formula, data, **known)
        return Model.of(design, cross_products(design), Visits.of(structure, design, data, "error", known))

    return make
