"""A small unbalanced design that the tests of one module after another share."""

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import lmmlib
from lmmlib import plots
from lmmlib.design import coding as design_coding
from tests.unit.design.pieces import FORMULA, LEVELS


@pytest.fixture
def frame():
    """Seven children, one to five visits each, rows in a mixed order, a treatment of two levels."""
    rng = np.random.default_rng(20)
    sizes = [4, 1, 5, 3, 4, 2, 5]
    child = np.repeat(np.arange(len(sizes)), sizes)
    week = np.concatenate([np.arange(k) + 0.5 * (k % 2) for k in sizes])
    b = rng.normal(size=(len(sizes), 2)) @ [[1.2, 0.1], [0.0, 0.5]]
    lead = 25 - week + b[child, 0] + b[child, 1] * week + rng.normal(size=len(child))
    drug = pd.Categorical(np.where(child % 2, "succimer", "placebo"), ["placebo", "succimer"])
    data = pd.DataFrame({"lead": lead, "week": week, "drug": drug, "child": [f"c{i}" for i in child]})
    data["age"] = rng.uniform(1, 3, size=len(sizes))[child]
    return data.sample(frac=1, random_state=3).reset_index(drop=True)


@pytest.fixture
def design(frame):
    return lmmlib.build_design("lead ~ week + (week | child)", frame)


@pytest.fixture
def cross(design):
    return lmmlib.cross_products(design)


@pytest.fixture
def D():
    return np.array([[1.5, 0.2], [0.2, 0.4]])


@pytest.fixture(scope="module")
def many():
    """Twenty unbalanced groups, with effects that are well away from the boundary."""
    rng = np.random.default_rng(7)
    sizes = rng.integers(2, 6, 20)
    g = np.repeat(np.arange(20), sizes)
    week, drug = rng.uniform(0, 4, len(g)), g % 2
    b = rng.standard_normal((20, 2)) @ [[2.0, 0.3], [0.0, 1.0]]
    lead = 20 - week + 2 * drug + b[g, 0] + b[g, 1] * week + rng.standard_normal(len(g))
    return pd.DataFrame({"lead": lead, "week": week, "drug": drug, "child": g})


@pytest.fixture(scope="module")
def tlc():
    """Rows in random order, so that every child is in several chunks."""
    frame = lmmlib.load("tlc")
    return frame.iloc[np.random.default_rng(1).permutation(len(frame))].reset_index(drop=True)


@pytest.fixture(scope="module")
def coding(tlc):
    return design_coding.coding(FORMULA, tlc[:50], LEVELS)


@pytest.fixture
def new():
    """Two rows of one known child, one of another, and one of a child that nobody has seen."""
    return pd.DataFrame(
        {"week": [0.0, 7.5, 2.0, 3.0], "drug": ["placebo"] * 2 + ["succimer"] * 2, "child": ["c2", "c2", "c5", "new"]},
        [3, 3, "a", 0],
    )


@pytest.fixture
def ax():
    """Axes in the style of the book, in a figure that nobody sees."""
    with matplotlib.rc_context():
        matplotlib.use("agg")
        plots.use_style()
        figure, axes = plt.subplots()
        yield axes
        plt.close(figure)
