r"""The parametric bootstrap: responses simulated from a fit, and fitted again."""

from __future__ import annotations

from typing import Any

import numpy as np

from lmmlib.common.arguments import checked_count, generator
from lmmlib.common.progress import progress_bar
from lmmlib.fitting.batch import Fits
from lmmlib.fitting.fitted import Fitted, Linear

# Responses that are simulated together.
CHUNK = 250


def parametric_bootstrap(fit: Fitted, size: int, rng, progress: bool | None = None) -> Fits:
    r"""Fits of responses that are simulated from a fit, such as equation :eq:`bootstrap-p` of the book counts.

    Parameters
    ----------
    fit : Fit
    size : int
        Number of responses.
    rng : Generator or int
        A whole number is a seed.
    progress : bool, optional
        Show a bar; by default when a person watches and it takes a while.

    Returns
    -------
    Fits
        Failures, if any, are in it and say why.

    Raises
    ------
    ParameterError
        If size is not a whole number of at least 1, or there is no generator.
    """
    return refits(fit, [fit], size, rng, progress)[0]


def refits(fit: Linear, models: list[Linear], size: int, rng, progress: bool | None = None) -> list[Any]:
    """The fits of several models to the same responses, simulated from the first argument."""
    size, rng = checked_count("size", size), generator(rng)
    parts: list[list[Any]] = [[] for _ in models]
    with progress_bar(size * len(models), "bootstrap", progress) as update:
        for first in range(0, size, CHUNK):
            Y = simulated(fit, min(CHUNK, size - first), rng)
            for part, model in zip(parts, models, strict=True):
                part.append(model.refits(Y, update))
    return [first.join(others) for first, *others in parts]


def simulated(fit: Linear, size: int, rng: np.random.Generator) -> np.ndarray:
    """Responses from a fit, (n_obs, size)."""
    return fit.simulate(size, rng=rng)
