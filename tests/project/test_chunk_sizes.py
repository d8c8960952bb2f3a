"""Work that is done in pieces: the size of a piece changes nothing, also where it does not divide what there is.

Sums, moments and refits are the same numbers. Draws come from the generator in another order, so of them the count is
checked and that no piece is repeated; their law has tests of its own.
"""

import ast
from dataclasses import fields

import numpy as np
import pytest
from numpy.testing import assert_allclose

import lmmlib
from lmmlib.bayes import random_effects
from lmmlib.design import basis, minque
from lmmlib.design.basis import Basis, Sums, triangle
from lmmlib.design.responses import Responses
from lmmlib.equations import pieces
from lmmlib.fitting import batch
from lmmlib.inference import bootstrap, boundary
from lmmlib.prediction import empirical_bayes
from lmmlib.prediction import errors as prediction_errors
from lmmlib.prediction import mixture as prediction_mixture
from lmmlib.several import criterion as several_criterion
from tests import modules

FORMULA = "lead ~ week + (week | child)"
# A constant of such a name that is something else.
OTHER = {("cloning.prediction", "ROOM")}


def rng(seed=1):
    return np.random.default_rng(seed)


def numbers_of(result) -> dict:
    return {f.name: v for f in fields(result) if isinstance(v := getattr(result, f.name), np.ndarray | float)}


def sums(many):
    design = lmmlib.build_design(FORMULA, many)
    of = Sums.of(design.y, design.X, design.Z, design.group, design.n_groups)
    beta0 = Basis.of(design.y, design.X, design.Z).beta0
    return numbers_of(of) | {"Rx": np.abs(triangle(design.X)), "beta0": beta0}


def many_fits(many):
    design = lmmlib.build_design(FORMULA, many)
    return numbers_of(lmmlib.fit_many(design, lmmlib.fit_design(design).simulate(7, rng=rng()), method="REML"))


def sums_of_groups(many):
    cross = lmmlib.cross_products(lmmlib.build_design(FORMULA, many))
    return numbers_of(pieces.pieces(cross, Responses.of_cross(cross), np.array([[[0.8, 0], [0.1, 0.5]]])))


def inner_products(many):
    cross = lmmlib.cross_products(lmmlib.build_design("lead ~ week + (week | child)", many))
    return {"taken": cross.grams.at(0.5).taken}


def moments(many):
    drawn = lmmlib.sample(FORMULA, many, draws=11, chains=2, warmup=5, rng=1)
    return {"moments": drawn.random_effects()[["estimate", "se"]].to_numpy()}


def effects(many):
    b = lmmlib.sample(FORMULA, many, draws=11, chains=1, warmup=5, rng=1).b()
    return b[0, :, 0, 0]


def mixture(many):
    return {"b": empirical_bayes.laird_louis(lmmlib.fit(FORMULA, many), 11, rng()).b.to_numpy()}


def clone_mixture(many):
    cloned = lmmlib.clone("lead ~ week + (1 | child)", many, (1, 400), draws=40, chains=10, warmup=100, rng=1)
    found = cloned.posterior_of_b(11, rng())
    return {"b": found.b.to_numpy(), "cov": found.cov}


def refitted(many):
    fits = bootstrap.parametric_bootstrap(lmmlib.fit(FORMULA, many), 11, rng())
    return fits.loglik


def null_draws(many):
    cross = lmmlib.fit("lead ~ week + (1 | child)", many).cross
    return boundary.exact_null(cross, "REML", 2011, rng())


def errors(many):
    of_beta, of_b, failed = prediction_errors.bootstrap_errors(lmmlib.fit(FORMULA, many), [0, 3], 11, rng())
    assert (of_b.shape[:2], failed) == ((11, 2), 0)
    return of_beta[:, 0]


def limits(many):
    fit, new = lmmlib.fit(FORMULA, many), many.iloc[:5]
    return fit.predict(new, interval="prediction", method="bootstrap", size=11, rng=rng())["estimate"].to_numpy()


def crossed(many):
    return lmmlib.fit("lead ~ week + (1 | child) + (1 | week)", many.assign(week=many["week"].round()))


def crossed_effects(many):
    return {"se": crossed(many).random_effects()["se_pev"].to_numpy()}


# (module, constant): what is done in pieces of that size, and a size that does not divide it.
SAME = {
    ("design.basis", "CHUNK"): (sums, 9),
    ("fitting.batch", "ROOM"): (many_fits, 500),
    ("equations.pieces", "BLOCK"): (sums_of_groups, 37),
    ("design.minque", "BLOCK"): (inner_products, 7 * 6),
    ("bayes.random_effects", "BLOCK"): (moments, 4 * 20 * 3),
    ("several.criterion", "ROOM"): (crossed_effects, 40),
    ("prediction.mixture", "CHUNK"): (lambda many: mixture(many) | clone_mixture(many), 4),
}
# The same for draws: how many there are.
COUNTED = {
    ("inference.bootstrap", "CHUNK"): (refitted, 4, 11),
    ("inference.boundary", "CHUNK"): (null_draws, 500, 2011),
    ("bayes.random_effects", "BLOCK"): (effects, 4 * 20 * 3, 11),
    ("prediction.errors", "CHUNK"): (errors, 4, 11),
    ("prediction.errors", "ROOM"): (errors, 4 * 170, 11),
}


def test_every_size_of_pieces_is_here():
    found = set()
    for module in modules.NAMES:
        names = vars(modules.load(module))
        found |= {(module, name) for name in ("CHUNK", "BLOCK", "ROOM") if name in names}
    assert found - OTHER == set(SAME) | set(COUNTED)


def test_a_range_with_a_step_is_one_of_these():
    """Work in pieces is a range with a step; one that is new belongs into the tables above."""
    found = set()
    for module, tree in modules.SOURCE.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "range" and len(node.args) == 3:
                found.add((module, ast.unparse(node.args[2])))
    pieces_of_work = {
        ("design.basis", "size"),
        ("inference.bootstrap", "CHUNK"),
        ("inference.boundary", "CHUNK"),
    }
    pieces_of_work |= {("equations.pieces", "size"), ("bayes.random_effects", "size")}
    assert found == pieces_of_work


def with_size(monkeypatch, key, size):
    module, name = key
    monkeypatch.setattr(modules.load(module), name, size)
    if module == "design.basis":
        monkeypatch.setattr(basis.chunks, "__defaults__", (size,))


@pytest.mark.parametrize("key", SAME, ids=".".join)
def test_the_same_numbers_in_pieces(key, many, monkeypatch):
    work, size = SAME[key]
    calls = counted(monkeypatch, key)
    whole, once = work(many), calls()
    with_size(monkeypatch, key, size)
    apart = work(many)
    assert calls() > 2 * once, "it was done in one piece"
    for name, value in whole.items():
        scale = np.abs(value).max(initial=0)
        assert_allclose(
            apart[name], value, rtol=1e-6 if key[0] == "fitting.batch" else 1e-9, atol=1e-9 * scale, err_msg=name
        )


@pytest.mark.parametrize("key", COUNTED, ids=".".join)
def test_as_many_draws_as_were_asked_for(key, many, monkeypatch):
    work, size, count = COUNTED[key]
    calls = counted(monkeypatch, key)
    with_size(monkeypatch, key, size)
    drawn = work(many)
    assert calls() > 1, "it was done in one piece"
    assert len(drawn) == count and np.isfinite(drawn).all()
    positive = drawn[drawn != 0]
    assert len(np.unique(positive)) == len(positive), "a piece is repeated"


def counted(monkeypatch, key):
    """Counts the calls of the function that does one piece."""
    inner = {
        "design.basis": (basis.np, "flatnonzero"),
        "fitting.batch": (batch, "solve"),
        "equations.pieces": (pieces, "_of"),
        "design.minque": (minque.np, "einsum"),  # of which this one is of a piece
        "bayes.random_effects": (random_effects, "half"),
        "prediction.mixture": (prediction_mixture, "batched_effects"),
        "inference.bootstrap": (bootstrap, "simulated"),
        "inference.boundary": (boundary, "_suprema"),
        "prediction.errors": (prediction_errors, "batched_effects"),
        "several.criterion": (several_criterion, "_rows"),
    }
    module, name = inner[key[0]]
    plain, calls = getattr(module, name), []

    def counting(*args, **kwargs):
        if name != "einsum" or args[0] == "axg,bxg->abg":
            calls.append(1)
        return plain(*args, **kwargs)

    monkeypatch.setattr(module, name, counting)
    return lambda: len(calls)


def test_rows_of_a_prediction_in_pieces(many, monkeypatch):
    whole = limits(many)
    monkeypatch.setattr(prediction_errors, "ROOM", 2 * 11)  # two of five rows at a time
    assert_allclose(limits(many), whole, rtol=1e-12)
