"""Every public function, one argument after another replaced by what it is not: an answer or an error of lmmlib."""

import inspect
import math
import warnings

import numpy as np
import pandas as pd
import pytest

import lmmlib
from lmmlib import equations, simulate
from lmmlib.design import coding
from lmmlib.equations import mixed_model_equations, moments
from lmmlib.errors import LmmError
from lmmlib.lmm import chunked
from lmmlib.prediction import empirical_bayes

FORMULA = "y ~ x + (1 | g)"
# Right values of arguments, required or not, with which a call takes little time.
QUICK = {"draws": 4, "warmup": 2, "chains": 2, "rng": 1, "progress": False, "n_clones": (1, 2), "size": 2}
WALD = {"Fit.confint": {"method": "wald"}, "Fit.variance_components": {"method": "wald"}}


@pytest.fixture(scope="module")
def right():
    """What the arguments hold when they are right, by the name of the argument, and objects by their class."""
    rng = np.random.default_rng(3)
    group, x = np.repeat(np.arange(12), 4), np.tile(np.arange(4.0), 12)
    b = rng.normal(size=12)[group]
    data = pd.DataFrame({"y": 1 + x + b + rng.normal(size=48), "x": x, "g": group})
    data["arm"] = np.where(group % 2, "a", "b")
    data["count"] = rng.poisson(np.exp(1 + 0.1 * x + 0.5 * b))
    design, fit = lmmlib.build_design(FORMULA, data), lmmlib.fit(FORMULA, data)
    cross, run = lmmlib.cross_products(design), {k: v for k, v in QUICK.items() if k not in ("n_clones", "size")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        counts = lmmlib.fit_glmm("count ~ x + (1 | g)", data)
    drawn, cloned = lmmlib.sample(FORMULA, data, **run), lmmlib.clone(FORMULA, data, (1, 2), **run)
    return {
        "formula": FORMULA, "data": data, "new": data[:5], "newdata": data[:5], "example": data, "name": "tlc",
        "design": design, "cross": cross, "coding": coding.coding(FORMULA, data), "parts": [cross],
        "D": [[1.0]], "sigma2": 1.0, "tau2": 1.0, "beta": [1.0, 1.0], "L": [0, 1], "V": np.eye(2), "sigma": 1.0,
        "mu": 1.0, "rows": {"x": [0, 1]},
        "X": design.X, "Z": design.Z, "y": design.y, "group": design.group, "Y": np.column_stack([design.y] * 2),
        "result": equations.gls(cross, [[1.0]], 1.0), "X_new": [[1.0, 2.0]], "z": [1.0], "z1": [1.0], "z2": [1.0],
        "fit": fit, "fit0": lmmlib.fit("y ~ x + (0 | g)", data), "fit1": fit, "fits": {"a": fit}, "parameter": "x",
        "mean": 0.0, "cov": 1.0, "df": 3.0, "scale": 1.0, "shape": 1.0, "rate": 1.0, "delta": 1.0, "later": drawn,
        "n_groups": 3, "n_i": 2, "times": (0, 1, 2), "rng": np.random.default_rng(1),
        "factors": "arm", "Fit.marginal_means": lmmlib.fit("y ~ x + arm + (1 | g)", data),
        "Fit": fit, "GlmmFit": counts, "Draws": drawn, "Cloned": cloned, "Blups": fit.blups(),
    }  # fmt: skip


@pytest.fixture(scope="module")
def wrong(right):
    """What is handed in instead."""
    return {
        "None": None, "list": [], "mapping": {}, "word": "x", "nan": math.nan, "huge": 10**400, "negative": -1,
        "vector": np.array([1.0, 2.0]), "ragged": [[1], [1, 2]], "frame": pd.DataFrame(), "object": object(),
        "fit": right["Fit"], "counts": right["GlmmFit"], "estimate": right["result"],
    }  # fmt: skip


def public():
    """Name, class of the object or None, and function of what is called."""
    for module in (moments, simulate, chunked, empirical_bayes, mixed_model_equations):
        for name, value in vars(module).items():
            if inspect.isfunction(value) and value.__module__ == module.__name__ and name[0] != "_":
                yield f"{module.__name__[7:]}.{name}", None, value
    for name in lmmlib.__all__:
        value = getattr(lmmlib, name)
        if inspect.isfunction(value) or getattr(value, "__module__", "") == "lmmlib.bayes.priors":
            yield name, None, value
    for kind in (lmmlib.Fit, lmmlib.GlmmFit, lmmlib.Draws, lmmlib.Cloned, lmmlib.prediction.blups.Blups):
        for name, value in vars(kind).items():
            if inspect.isfunction(value) and name[0] != "_":
                yield f"{kind.__name__}.{name}", kind.__name__, value
    yield "Design.from_arrays", None, lmmlib.Design.from_arrays


# A model in PyMC, and ArviZ, take long to import.
SLOW = {"clone_pymc", "Draws.to_arviz"}
PUBLIC = [pytest.param(*each, id=each[0]) for each in public() if each[0] not in SLOW]


def calls(name, owner, function, right, wrong):
    """The right arguments, one after another replaced by each of the wrong ones."""
    parameters = [
        p for p in inspect.signature(function).parameters.values()
        if p.name != "self" and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]  # fmt: skip
    known = {**right, **QUICK}
    given = {p.name: known[p.name] for p in parameters if p.default is p.empty or p.name in QUICK}
    given |= WALD.get(name, {}) | ({"self": right.get(name, right[owner])} if owner else {})
    for parameter in parameters:
        for label, value in wrong.items():
            yield f"{parameter.name}={label}", {**given, parameter.name: value}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "owner", "function"), PUBLIC)
def test_a_wrong_argument_gets_an_answer_or_our_error(right, wrong, name, owner, function):
    failed = []
    for label, arguments in calls(name, owner, function, right, wrong):
        try:
            function(**arguments)
        except LmmError:
            pass
        except Exception as error:
            failed.append(f"{label}: {type(error).__name__}: {error}"[:150])
    assert failed == []
