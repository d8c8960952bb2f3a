r"""The parameters of a fit with several groupings: their names, estimates and covariance.

They are the fixed effects under their names, ``sd (Intercept) | plate``, ``corr (Intercept), x | subject`` and
``sigma``. The covariance of standard deviations and correlations is by the delta method from the observed information.
"""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pandas as pd
from scipy.linalg import block_diag

from lmmlib.equations.limits import slopes
from lmmlib.errors import DesignError
from lmmlib.several.fitted import SeveralFitted
from lmmlib.several.terms import SeveralDesign


def kinds_of(design: SeveralDesign) -> dict[str, tuple]:
    """Every parameter by name: ("effect", j), ("sd", t, a), ("corr", t, a, b) of the term t, or ("sigma",)."""
    found: dict[str, tuple] = {name: ("effect", j) for j, name in enumerate(design.fixed.x_names)}
    for t, term in enumerate(design.terms):
        z, of = term.design.z_names, term.grouping
        found |= {f"sd {name} | {of}": ("sd", t, a) for a, name in enumerate(z)}
        if not term.design.diagonal:
            pairs = [(a, b) for a in range(len(z)) for b in range(a + 1, len(z))]
            found |= {f"corr {z[a]}, {z[b]} | {of}": ("corr", t, a, b) for a, b in pairs}
    return found | {"sigma": ("sigma",)}


def value_of(fit: SeveralFitted, kind: str, *at: int) -> float:
    """The estimate of a parameter; NaN for a correlation with a standard deviation of zero, which does not exist."""
    if kind == "effect":
        return float(fit.beta.iloc[at[0]])
    if kind == "sigma":
        return float(np.sqrt(fit.sigma2))
    D = fit.D[at[0]].to_numpy()
    if kind == "sd":
        return float(np.sqrt(D[at[1], at[1]]))
    product = D[at[1], at[1]] * D[at[2], at[2]]
    return float(np.clip(D[at[1], at[2]] / np.sqrt(product), -1, 1)) if product > 0 else np.nan


def parameters(fit: SeveralFitted) -> pd.Series:
    """The estimates of all parameters by name."""
    return pd.Series({name: value_of(fit, *kind) for name, kind in kinds_of(fit.terms).items()}, dtype=float)


def cov_parameters(fit: SeveralFitted) -> pd.DataFrame:
    """Covariance of the estimates of all parameters; NaN for those of a D that is singular, and the other variances.

    Parameters
    ----------
    fit : SeveralFit

    Returns
    -------
    DataFrame
    """
    kinds, p, sums = kinds_of(fit.terms), len(fit.beta), fit.state.sums
    others, cov = list(kinds.values())[p:], np.full((len(kinds) - p,) * 2, np.nan)
    with suppress(DesignError):
        if not fit.is_singular:
            A = fit.observed.A
            J = np.zeros((len(others), len(A)))
            J[-1, -1] = 1 / (2 * np.sqrt(fit.sigma2))
            for g, at in zip(sums.groupings, sums.theta_places, strict=True):
                for t, basis, columns, part in zip(g.numbers, g.bases, g.slices, g.parts, strict=True):
                    rows = [k for k, (kind, *of) in enumerate(others) if kind != "sigma" and of[0] == t]
                    E = basis.D_back(g.E[part, columns, columns])
                    of_D = slopes([(others[k][0], *others[k][2:]) for k in rows], fit.D[t].to_numpy())[:, :-1]
                    J[rows, at.start + part.start : at.start + part.stop] = of_D @ E.reshape(len(E), -1).T
            cov = J @ A @ J.T
    return pd.DataFrame(block_diag(fit.cov_beta.to_numpy(), cov), list(kinds), list(kinds))
