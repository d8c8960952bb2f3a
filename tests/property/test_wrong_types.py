"""Every public function, one argument after another replaced by what it is not: an answer or an error of lmmlib."""

import inspect
import math
import warnings

import numpy as np
import pandas as pd
import pytest

import lmmlib
from lmmlib.errors import LmmError

WRONG = {
    "None": None,
    "list": [],
    "mapping": {},
    "word": "x",
    "nan": math.nan,
    "huge": 10**400,
    "negative": -1,
    "vector": np.array([1.0, 2.0]),
    "ragged": [[1], [1, 2]],
    "frame": pd.DataFrame(),
    "object": object(),
}


def rows():
    rng = np.random.default_rng(3)
    group = np.repeat(np.arange(12), 4)
    x = np.tile(np.arange(4.0), 12)
    b = rng.normal(size=12)[group]
    count = rng.poisson(np.exp(1 + 0.1 * x + 0.5 * b))
    return pd.DataFrame({"y": 1 + x + b + rng.normal(size=48), "x": x, "g": group, "count": count})


@pytest.fixture(scope="module")
def given():
    """What the arguments hold when they are right, by the name of the argument."""
    data = rows()
    design = lmmlib.build_design("y ~ x + (1 | g)", data)
    cross = lmmlib.cross_products(design)
    fitted = lmmlib.fit("y ~ x + (1 | g)", data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        counts = lmmlib.fit_poisson("count ~ x + (1 | g)", data)
    drawn = lmmlib.sample("y ~ x + (1 | g)", data, draws=20, warmup=5, chains=2, seed=1, progress=False)
    return {
        "formula": "y ~ x + (1 | g)", "data": data, "newdata": data.head(5), "design": design, "cross": cross,
        "D": [[1.0]], "sigma2": 1.0, "tau2": 1.0, "beta": [1.0, 1.0], "L": [0, 1], "rows": {"slope": [0, 1]},
        "X": design.X, "Z": design.Z, "y": design.y, "group": design.group, "Y": np.column_stack([design.y] * 2),
        "result": lmmlib.gls(cross, [[1.0]], 1.0), "X_new": [[1.0, 2.0]], "V": np.eye(2), "z": [1.0], "z1": [1.0],
        "z2": [1.0], "fits": {"a": fitted}, "fit0": lmmlib.fit("y ~ x + (0 | g)", data), "fit1": fitted, "name": "tlc",
        "parameter": "x", "mean": 0.0, "cov": 1.0, "df": 3.0, "scale": 1.0, "shape": 1.0, "rate": 1.0, "delta": 1.0,
        "rng": np.random.default_rng(1), "Fit": fitted, "PoissonFit": counts, "Draws": drawn, "later": drawn,
    }  # fmt: skip


def public():
    """(name, the argument's name of its object or None, function) of what is fuzzed."""
    for name in lmmlib.__all__:
        value = getattr(lmmlib, name)
        if inspect.isfunction(value):
            yield name, None, value
        elif name == "moments":
            for inner, function in vars(value).items():
                if inspect.isfunction(function) and function.__module__ == value.__name__ and inner[0] != "_":
                    yield f"{name}.{inner}", None, function
        elif name in (
            "Flat",
            "HalfCauchy",
            "HuangWand",
            "InverseGamma",
            "InverseWishart",
            "Normal",
            "Priors",
            "Zellner",
        ):
            yield name, None, value
        elif name in ("Fit", "PoissonFit", "Draws"):
            for inner, function in vars(value).items():
                if inspect.isfunction(function) and inner[0] != "_":
                    yield f"{name}.{inner}", name, function
    yield "Design.from_arrays", None, lmmlib.Design.from_arrays


# clone_pymc needs a model in PyMC; to_arviz imports it; the functions of lmmlib.dense are the formulas as printed.
SLOW = {"clone_pymc", "Draws.to_arviz"}
PUBLIC = [pytest.param(name, *rest, id=name) for name, *rest in public() if name not in SLOW]
# Right values of arguments that have another default, so that a call takes little time.
QUICK = {"draws": 4, "warmup": 2, "chains": 1, "seed": 1, "progress": False, "n_clones": (1, 2), "size": 2}
METHOD = {"Fit.confint": {"method": "wald"}, "Fit.variance_components": {"method": "wald"}}


def calls(name, owner, function, given):
    """The right arguments, one after another replaced by each of the wrong ones."""
    parameters = [p for p in inspect.signature(function).parameters.values() if p.name != "self"]
    right = {p.name: given[p.name] for p in parameters if p.default is p.empty and p.name not in QUICK}
    right |= {p.name: QUICK[p.name] for p in parameters if p.name in QUICK}
    right |= METHOD.get(name, {})
    if owner:
        right["self"] = given[owner]
    for parameter in parameters:
        for label, wrong in WRONG.items():
            yield f"{parameter.name}={label}", {**right, parameter.name: wrong}


@pytest.mark.parametrize(("name", "owner", "function"), PUBLIC)
def test_a_wrong_argument_gets_an_answer_or_our_error(given, name, owner, function):
    failed = []
    for label, arguments in calls(name, owner, function, given):
        try:
            function(**arguments)
        except LmmError:
            pass
        except Exception as error:
            failed.append(f"{label}: {type(error).__name__}: {error}"[:150])
    assert failed == []
