r"""Parameters of a fit with a residual covariance, and the covariance of their estimates.

They are the fixed effects, ``sd`` and ``corr`` of the random effects as in :mod:`lmmlib.inference.intervals`, and of
the residuals ``sigma``, standard deviations, and ``rho``, correlations, with visit and covariance after them. But for
the fixed effects each is the root of a variance, or a correlation

.. math:: \psi = l'\alpha, \qquad \psi = \frac{l'\alpha}{\sqrt{a'\alpha\; b'\alpha}}

of linear forms of the natural parameters.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from lmmlib.equations.information import inverse
from lmmlib.equations.names import parameter_names
from lmmlib.errors import ParameterError
from lmmlib.residual.fitted import ResidualFitted


@dataclass(frozen=True, eq=False)
class Form:
    """A variance, ``top`` times alpha; or a correlation, that over the root of the product of ``of`` times alpha.

    ``top`` (k,); ``of`` (2, k), or without rows; ``kind`` is "sd", "corr", "sigma" or "rho"; ``size``: what it is seen
    beside, of a variance that of all residuals of least squares; ``columns``: of Z that it is about.
    """

    kind: str
    top: np.ndarray
    of: np.ndarray
    size: float = 1.0
    columns: tuple[int, ...] = ()

    @property
    def is_sd(self) -> bool:
        """Whether the parameter is the root of the form."""
        return self.kind in ("sd", "sigma")

    def at(self, alpha: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """The form at alpha (k,), its first (k,) and second (k, k) derivatives; NaN if a variance is zero."""
        if not len(self.of):
            return float(self.top @ alpha), self.top, np.zeros((len(alpha),) * 2)
        with np.errstate(divide="ignore", invalid="ignore"):
            variances = self.of @ alpha
            root, share = np.sqrt(variances.prod()), self.of / variances[:, None]
            value, m = float(self.top @ alpha / root), share.sum(axis=0)
            cross = np.outer(self.top, m) / root
            bend = value * (np.outer(m, m) / 4 + share.T @ share / 2) - (cross + cross.T) / 2
            return value, self.top / root - value * m / 2, bend


def forms(fit: ResidualFitted) -> dict[str, Form]:
    """The parameters of D and R by name, in their order.

    Raises
    ------
    ParameterError
        If two parameters have one name.
    """
    model, k, q = fit.model, len(fit.working), len(fit.D)
    unit2, visits, cross = model.unit**2, model.visits, fit.cross
    D = np.zeros((k, q, q))
    D[: model.n_D] = unit2 * cross.basis.D_back(cross.D_coordinates)
    named: list[tuple[str, Form]] = []
    for name, (kind, *at) in parameter_names(fit.design, sigma=False).items():
        if kind != "effect":
            (a, *b) = at
            pair, size = np.array([D[:, c, c] for c in (a, *b) if b]), unit2 / cross.basis.z_size[a] ** 2
            named.append((name, Form(kind, D[:, a, b[0] if b else a], pair, size, tuple(at))))
    own, unit = model.parts(np.arange(k))[1], np.eye(k)
    entries = [(cell, entry) for cell in own for entry in visits.structure.reported(len(visits.levels))]
    for name, (cell, (top, *of)) in zip(visits.names(), entries, strict=True):
        kind = name.partition(" ")[0]
        scale = unit2 if kind == "sigma" else 1.0
        named.append((name, Form(kind, scale * unit[cell[top]], unit[[cell[c] for c in of]], unit2)))
    found = dict(named)
    if len({*found, *fit.beta.index}) < len(named) + len(fit.beta):
        raise ParameterError("two parameters have one name; rename a column or a level of the data")
    return found


def parameters(fit: ResidualFitted) -> pd.Series:
    """All parameters; a correlation with a standard deviation of zero does not exist: NaN."""
    values = {}
    for name, form in forms(fit).items():
        value = form.at(fit.alpha)[0]
        values[name] = np.sqrt(max(value, 0.0)) if form.is_sd else np.clip(value, -1, 1)
    return pd.concat([fit.beta, pd.Series(values, dtype=float)])


def cov_parameters(fit: ResidualFitted) -> pd.DataFrame:
    r"""Covariance of the estimates of all parameters, by the delta method from the observed information.

    As :func:`lmmlib.inference.intervals.cov_parameters`; NaN for the parameters of D and R if one of them is singular.
    """
    p, own = len(fit.beta), forms(fit)
    cov = np.full((p + len(own),) * 2, 0.0)
    cov[:p, :p], cov[p:, p:] = fit.cov_beta, np.nan
    A = None if fit.is_singular or not fit.converged else inverse(fit.surface.hessian / 2)
    if A is not None:
        slopes = []
        for form in own.values():
            value, slope, _ = form.at(fit.alpha)
            slopes.append(slope / (2 * np.sqrt(value)) if form.is_sd else slope)
        J = np.array(slopes)
        cov[p:, p:] = J @ A @ J.T
    names = [*fit.beta.index, *own]
    return pd.DataFrame(cov, names, names)
