r"""Data cloning of any model that PyMC can express: K copies along a leading axis, sampled by NUTS.

The cost grows with K here; for Gaussian models :func:`lmmlib.cloning.clone.clone` has no such cost.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from lmmlib.bayes.chains import LONG, checked_run
from lmmlib.cloning.clone import checked_clones
from lmmlib.cloning.cloned import Cloned
from lmmlib.common.arguments import checked_count, generator, require_known, several
from lmmlib.common.progress import progress_bar
from lmmlib.errors import ParameterError


def clone_pymc(
    build_model: Callable,
    data: Mapping,
    n_clones: int | Sequence[int] = (1, 4, 16),
    *,
    unchanged: Sequence[str] = (),
    parameters: str | Sequence[str] | None = None,
    draws: int = 1000,
    chains: int = 4,
    warmup: int = 1000,
    rng: int | np.random.Generator | None = None,
    title: str | None = None,
    progress: bool | None = None,
) -> Cloned:
    r"""Maximum likelihood by data cloning of a model in PyMC.

    .. math:: p(\theta \mid y^{(K)}) \propto L(\theta; y)^K\,p(\theta)

    Equation :eq:`cloned-posterior` of the book. ``build_model(data, n_clones)`` writes the model for K copies: each
    array of ``data`` comes with a leading axis of length K, and every latent variable must have one too, so that each
    copy has latent variables of its own; parameters have none.

    Parameters
    ----------
    build_model : callable
        From the cloned data (dict) and K to a ``pymc.Model``.
    data : mapping
        Arrays and numbers of the original data.
    n_clones : int or sequence of int
    unchanged : sequence of str
        Entries of ``data`` that are not cloned: sizes, group numbers, covariates that all copies share.
    parameters : sequence of str, optional
        Scalar or vector variables of the model; by default free variables and deterministic ones whose shape does not
        depend on K.
    draws, chains, warmup : int
        Draws that are kept of each chain, two chains or more, and steps before the first draw, for each K.
    rng : int or Generator, optional
        A whole number is the seed that the sampler gets for each K; of a generator, one that it draws.
    title : str, optional
        By default the name of ``build_model``.
    progress : bool, optional

    Returns
    -------
    Cloned

    Raises
    ------
    ParameterError
        If PyMC or nutpie is not installed, the model does not follow the rule above, or a name is unknown; says which.
    """
    K_all = checked_clones(n_clones)
    length = checked_run(LONG, draws, chains, checked_count("warmup", warmup), several=True)
    draws, chains, warmup = length.draws, length.chains, length.warmup
    if not callable(build_model):
        raise ParameterError(f"build_model must be a function of (data, n_clones); got {build_model!r}")
    data = checked_data(data, unchanged)
    if isinstance(rng, np.random.Generator):
        rng = int(rng.integers(2**31))
    elif rng is not None:
        generator(rng)  # for its checks
    pm, nutpie = _pymc()
    # What compilers and samplers warn of, R-hat says.
    with warnings.catch_warnings(action="ignore"):
        names = chosen_parameters(pm, build_model, data, unchanged, parameters)
        frames = {}
        with progress_bar(len(K_all), "cloning", progress) as update:
            for K in K_all:
                model = built(pm, build_model, data, unchanged, K)
                compiled = nutpie.compile_pymc_model(model)
                found = nutpie.sample(
                    compiled, draws=draws, tune=warmup, chains=chains, cores=1, seed=rng, progress_bar=False
                )
                frames[K] = as_frame(found.posterior, names)
                update(1)
    columns = {name: name for name in frames[K_all[0]]}
    return Cloned(title or str(getattr(build_model, "__name__", "a model in PyMC")), frames, columns, chains)


def cloned_data(data: Mapping, unchanged, n_clones: int) -> dict:
    """The data with a leading axis of length K, but for the entries that are not cloned."""
    return {
        name: value if name in unchanged else np.repeat(np.asarray(value)[None], n_clones, axis=0)
        for name, value in data.items()
    }


def checked_data(data, unchanged) -> dict:
    """The data as a dict, or an error that names what is wrong."""
    if not isinstance(data, Mapping) or not data:
        raise ParameterError(f"data must be a mapping from names to arrays, such as {{'y': y}}; got {data!r}")
    if isinstance(unchanged, str):
        raise ParameterError(f"unchanged must be a sequence of names, such as [{unchanged!r}]; got a string")
    unknown = [name for name in unchanged if name not in data]
    if unknown:
        raise ParameterError(f"unchanged names {unknown[0]!r}, which is not in data; there are {', '.join(data)}")
    if set(unchanged) >= set(data):
        raise ParameterError("unchanged names all of data, so that nothing would be cloned")
    return dict(data)


def built(pm, build_model: Callable, data: dict, unchanged, n_clones: int):
    """The model of K clones, with observations that have the clone axis."""
    model = build_model(cloned_data(data, unchanged, n_clones), n_clones)
    if not isinstance(model, pm.Model):
        raise ParameterError(f"build_model must return a pymc.Model; it returned {type(model).__name__}")
    if not model.observed_RVs:
        raise ParameterError("the model has no observed variable; pass the cloned data as observed=...")
    for variable in model.observed_RVs:
        shape = tuple(map(int, variable.shape.eval()))
        if not shape or shape[0] != n_clones:
            raise ParameterError(
                f"the observed variable {variable.name!r} has shape {shape} for {n_clones} clones; its first axis must "
                "be that of the clones"
            )
    return model


def chosen_parameters(pm, build_model: Callable, data: dict, unchanged, parameters) -> list[str]:
    """Names of the variables that are parameters: their shape is the same for two clones and for three."""
    shapes = []
    for K in (2, 3):
        model = built(pm, build_model, data, unchanged, K)
        known = [*model.free_RVs, *model.deterministics]
        shapes.append({v.name: tuple(map(int, v.shape.eval())) for v in known})
    two, three = shapes
    fixed = [name for name in two if two[name] == three.get(name)]
    if parameters is None:
        if len(fixed) == len(two) and any(np.size(v) > 1 for k, v in data.items() if k not in unchanged):
            latent = [name for name in fixed if np.prod(two[name], dtype=int) > 20]
            if latent:
                raise ParameterError(
                    f"{latent[0]!r} has shape {two[latent[0]]} whatever the number of clones; if it is a latent "
                    "variable it needs a leading axis of the clones, if it is a parameter name it in parameters="
                )
        parameters = fixed
    else:
        parameters = several("parameters", parameters)
    for name in parameters:
        require_known("variable", name, two)
        if name not in fixed:
            raise ParameterError(f"{name!r} has a clone axis, shape {two[name]} for 2 clones, so it is no parameter")
    if not parameters:
        raise ParameterError(f"all variables ({', '.join(two)}) have a clone axis; parameters must not")
    return parameters


def as_frame(posterior, names: list[str]) -> pd.DataFrame:
    """Draws as rows for each chain and draw; an entry of a vector or matrix is a column, such as ``beta[0]``."""
    columns = {}
    for name in names:
        values = posterior[name].to_numpy()
        many = values.reshape(values.shape[0] * values.shape[1], -1)
        for k, place in enumerate(np.ndindex(values.shape[2:])):
            columns[f"{name}[{', '.join(map(str, place))}]" if place else name] = many[:, k]
    chains, draws = values.shape[:2]
    index = pd.MultiIndex.from_product([range(chains), range(draws)], names=["chain", "draw"])
    return pd.DataFrame(columns, index)


def _pymc():
    """PyMC and nutpie, imported when they are needed."""
    try:
        with warnings.catch_warnings(action="ignore"):
            import nutpie
            import pymc as pm
    except ImportError as error:
        raise ParameterError(
            f"clone_pymc needs PyMC and nutpie, and {error.name} is not installed: pip install pymc nutpie"
        ) from None
    logging.getLogger("pymc").setLevel(logging.WARNING)
    return pm, nutpie
