"""Names of the parameters of a mixed model, and those that are derived from beta, D and sigma2."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from lmmlib.common.arguments import several, shown
from lmmlib.design.dependent import require_kept
from lmmlib.design.design import Design
from lmmlib.errors import ParameterError


def parameter_names(design: Design, sigma: bool = True) -> dict[str, tuple]:
    """Every parameter of a model by name: ``("effect", j)``, ``("sd", a)``, ``("corr", a, b)`` or ``("sigma",)``.

    Raises
    ------
    ParameterError
        If a column has a name that makes two parameters the same.
    """
    x, z = design.x_names, design.z_names
    named: list[tuple[str, tuple]] = [(name, ("effect", j)) for j, name in enumerate(x)]
    named += [(f"sd {name}", ("sd", a)) for a, name in enumerate(z)]
    if not design.diagonal:
        named += [(f"corr {z[a]}, {z[b]}", ("corr", a, b)) for a in range(len(z)) for b in range(a + 1, len(z))]
    if sigma:
        named.append(("sigma", ("sigma",)))
    names = dict(named)
    if len(names) < len(named):
        twice = next(name for k, (name, _) in enumerate(named) if name in dict(named[:k]))
        raise ParameterError(f"two parameters are called {twice!r}; rename the column of the data")
    return names


def chosen(names: dict[str, tuple], design: Design, parameters=None) -> dict[str, tuple]:
    """The named parameters among those that there are, all by default, in their order.

    Raises
    ------
    ParameterError
        If there is no parameter of a name.
    """
    if parameters is None:
        return names
    wanted = several("parameters", parameters)
    for name in wanted:
        if isinstance(name, str):
            require_kept(design, name)
        if not isinstance(name, str) or name not in names:
            raise ParameterError(f"{shown(name)} is no parameter of this fit; they are {'; '.join(names)}")
    return {name: kind for name, kind in names.items() if name in wanted}


def derived(kinds: dict[str, tuple], beta: np.ndarray, D: np.ndarray, sigma2: np.ndarray) -> pd.DataFrame:
    """Parameters as functions of beta (B, p), D (B, q, q) and sigma2 (B,): one column each."""

    def sd(a):
        return np.sqrt(D[:, a, a])

    def correlation(a, b):
        product = sd(a) * sd(b)
        return np.clip(D[:, a, b] / np.where(product > 0, product, np.nan), -1, 1)

    of: dict[str, Callable[..., np.ndarray]] = {
        "effect": lambda j: beta[:, j],
        "sd": sd,
        "corr": correlation,
        "sigma": lambda: np.sqrt(sigma2),
    }
    return pd.DataFrame({name: of[kind](*at) for name, (kind, *at) in kinds.items()})
