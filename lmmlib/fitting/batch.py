r"""Fits of many responses on one design, as one computation: simulation studies and bootstraps."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import pandas as pd

from lmmlib.common.arguments import checked_made, checked_method, numbers, shown, standard_deviations
from lmmlib.common.small import semidefinite_cholesky
from lmmlib.common.summary import Shown, Summary
from lmmlib.design.basis import chunks
from lmmlib.design.cross import CrossProducts, cross_products
from lmmlib.design.design import Design
from lmmlib.design.frames import LARGEST
from lmmlib.design.identify import require_identified
from lmmlib.design.minque import vech
from lmmlib.design.responses import Responses
from lmmlib.equations.names import derived, parameter_names
from lmmlib.equations.weighted import LIMIT
from lmmlib.errors import DataError, ParameterError
from lmmlib.fitting.deviance import Deviance
from lmmlib.fitting.newton import ROUNDING, Optimum
from lmmlib.fitting.search import minimise

# Singular values of L in the working basis, where they are standard deviations of the random part of an observation
# relative to sigma. Below the first D is called singular; below the second the value is zero up to rounding.
SINGULAR, ZERO = 1e-4, 1e-6
# A residual that is rounding alone: its square over that of the response, and over a sum that it is the rest of.
NO_RESIDUAL, LOST = 1e-26, 1e-13
# What Z D Z' is to sigma2 from where on a search that rounding ended, where random effects fit all rows, has no end.
ENDLESS = 1e4
# Numbers in the largest array of one computation.
ROOM = 2_000_000

NOT_FINITE = f"the response has a missing or infinite value, or one beyond {LARGEST:g}"
NO_VARIATION = "the fixed effects fit the response exactly, so there is no variance to estimate"
NO_SIGMA = (
    "sigma2 tends to zero, the edge of its range, or is too small beside D for the digits of a sum, and no estimate is "
    "given: so it is when random effects fit the response within groups exactly, or to ten digits, and may be when "
    "groups have few rows for them"
)


@dataclass(frozen=True, eq=False, repr=False)
class Fits(Shown):
    """Fits of B responses on one design, each with the optimum that :func:`lmmlib.fit` would find.

    Attributes
    ----------
    beta : (B, p) array
        Fixed effects.
    cov_beta : (B, p, p) array
        Their covariances for known D and sigma2.
    D : (B, q, q) array
    sigma2 : (B,) array
    theta : (B, k) array
        Relative Cholesky factors, as in :class:`lmmlib.Fit`.
    loglik : (B,) array
    is_singular, converged : (B,) arrays of bool
    reason : tuple of B str
        Why the optimiser stopped, or why there is no fit; a response without one has NaN everywhere.
    """

    method: str
    design: Design = field(repr=False)
    beta: np.ndarray
    cov_beta: np.ndarray = field(repr=False)
    D: np.ndarray
    sigma2: np.ndarray
    theta: np.ndarray
    loglik: np.ndarray
    is_singular: np.ndarray
    converged: np.ndarray
    reason: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.sigma2)

    @property
    def n_obs(self) -> int:
        """Number of observations N, of each response."""
        return self.design.n_obs

    @property
    def n_groups(self) -> int:
        """Number of groups n."""
        return self.design.n_groups

    @property
    def grouping(self) -> str:
        """Name of the grouping factor."""
        return self.design.grouping

    @property
    def failed(self) -> np.ndarray:
        """Responses whose optimum was not found; ``reason`` says why, (B,)."""
        return ~self.converged

    @property
    def criterion(self) -> np.ndarray:
        """Minus twice ``loglik``, (B,)."""
        return -2 * self.loglik

    @property
    def se(self) -> np.ndarray:
        """Standard errors of the fixed effects, (B, p)."""
        return standard_deviations(self.cov_beta, "the fixed effects")

    def parameters(self) -> pd.DataFrame:
        """One row for each response, with the parameters of :meth:`lmmlib.Fit.parameters` by name."""
        return derived(parameter_names(self.design), self.beta, self.D, self.sigma2)

    def join(self, others: list[Fits]) -> Fits:
        """These fits, and others of the same model after them."""
        parts = [self, *others]
        every = {a.name: np.concatenate([getattr(part, a.name) for part in parts]) for a in fields(Fits)[2:]}
        return Fits(method=self.method, design=self.design, reason=tuple(every.pop("reason")), **every)

    def frame(self) -> pd.DataFrame:
        """One row for each response: fixed effects, entries of D, sigma2, loglik, is_singular, converged."""
        x, z = self.design.x_names, self.design.z_names
        columns = dict(zip(x, self.beta.T, strict=True))
        columns |= {f"D[{z[a]}, {z[b]}]": self.D[:, a, b] for a, b in vech(len(z))}
        rest = {name: getattr(self, name) for name in ("sigma2", "loglik", "is_singular", "converged")}
        return pd.DataFrame(columns | rest)

    def summary(self) -> Summary:
        """How many fits there are, and why some failed."""
        line = f"Fits of {len(self)} responses by {self.method}: {int(self.is_singular.sum())} singular"
        if not self.failed.any():
            return Summary((line,))
        reasons = pd.Series(self.reason)[self.failed].value_counts()
        notes = tuple(f"  {count}: {reason}" for reason, count in reasons.items())
        return Summary((f"{line}, {int(self.failed.sum())} failed",), notes=notes)


def fit_many(design: Design, Y, *, method: str = "REML") -> Fits:
    r"""Fit a linear mixed model to each column of Y, as one batched computation.

    The maximum of :eq:`restricted-loglik` or :eq:`profile-loglik` for every response, to the same tolerance as
    :func:`lmmlib.fit`.

    Parameters
    ----------
    design : Design
        Its own response is not used.
    Y : (n_obs, B) array
        One response a column, such as :meth:`lmmlib.lmm.fit.Fit.simulate` returns.
    method : {"REML", "ML"}

    Returns
    -------
    Fits
        Also for columns that cannot be fitted: they have NaN and the reason.

    Raises
    ------
    DataError
        If Y has not one row for each row of the design.
    DesignError
        If columns of X are dependent, or the rows do not identify D and sigma2.
    """
    checked_made("design", design, Design, "build_design")
    checked_method(method)
    try:
        Y = numbers(Y, "Y")
    except ParameterError:
        raise DataError(f"Y must hold real numbers, one response a column; got {shown(Y)}") from None
    if Y.ndim != 2 or Y.shape[0] != design.n_obs:
        raise DataError(f"Y must be ({design.n_obs}, B), one response a column; got shape {Y.shape}")
    cross = cross_products(design)
    require_identified(cross, design.grouping)
    q, p = len(cross.z_names), len(cross.x_names)
    good = (np.abs(Y) <= LARGEST).all(axis=0)
    every = _nothing(cross, Y.shape[1], NOT_FINITE)
    for chunk in chunks(Y.shape[1], max(1, ROOM // max(cross.n_obs, cross.n_groups * max(q, 1) * (p + q + 1)))):
        columns = chunk.start + np.flatnonzero(good[chunk])
        if len(columns):
            _put(every, columns, solve(cross, Responses.of_columns(cross, design, Y[:, columns]), method)[0])
    return Fits(method=method, design=design, reason=tuple(every.pop("reason")), **every)


def _nothing(cross: CrossProducts, many: int, reason: str = "") -> dict[str, Any]:
    """What :class:`Fits` has of each response, of responses that have no fit."""
    q, p, k = len(cross.z_names), len(cross.x_names), len(cross.theta_coordinates)
    shapes = {"beta": (p,), "cov_beta": (p, p), "D": (q, q), "sigma2": (), "theta": (k,), "loglik": ()}
    nothing = {name: np.full((many, *shape), np.nan) for name, shape in shapes.items()}
    flags = {name: np.zeros(many, bool) for name in ("is_singular", "converged")}
    return {**nothing, **flags, "reason": np.full(many, reason, dtype=object)}


def _put(every: dict[str, Any], rows, some: dict[str, Any]) -> None:
    """Put the estimates of some responses in their places."""
    for name, values in some.items():
        every[name][rows] = values


def solve(cross: CrossProducts, data: Responses, method: str) -> tuple[dict[str, Any], Optimum[Deviance]]:
    """What :class:`Fits` has of each of some responses that are finite, and where the optimiser stopped."""
    optimum = minimise(cross, method, data)
    best, p = optimum.best, len(cross.x_names)
    squares, Xty = data.WtW[:, -1, -1], data.WtW[:, :p, p]
    exact = squares - (Xty**2).sum(axis=1) / cross.n_obs
    exact = exact <= NO_RESIDUAL * (squares + cross.n_obs * (data.beta0**2).sum(axis=1))
    largest = _largest(cross, best)
    endless = ~optimum.converged | (np.array(optimum.reason) == ROUNDING) & (largest > ENDLESS)
    if endless.any():
        endless &= _within(cross, data) <= LOST * squares
    # Near the limit only a search that has converged has the digits.
    endless |= largest > np.where(optimum.converged, LIMIT, LIMIT / 10)
    ok = np.flatnonzero(np.isfinite(best.value) & ~exact & ~endless)
    found = _nothing(cross, len(data))
    if len(ok):
        _put(found, ok, _estimates(cross, data.take(ok), best.take(ok)))
        found["converged"][ok] = optimum.converged[ok]
    found["reason"][:] = optimum.reason
    found["reason"][endless], found["reason"][exact] = NO_SIGMA, NO_VARIATION
    return found, optimum


def _largest(cross: CrossProducts, best: Deviance) -> np.ndarray:
    """Trace of L'Z_i'Z_iL, the largest of all groups: what Z_i D Z_i' is to sigma2, (B,)."""
    L = np.tensordot(best.theta, cross.theta_coordinates, 1)
    return np.einsum("gab,zab->zg", cross.patterns[0], L @ np.swapaxes(L, 1, 2)).max(axis=1, initial=0.0)


def _within(cross: CrossProducts, data: Responses) -> np.ndarray:
    """Residual sum of squares when every group has its own coefficients for Z, (B,)."""
    ZtZ, index = cross.patterns
    ZtW, p = data.ZtW, len(cross.x_names)
    inverse = np.linalg.pinv(ZtZ, rcond=1e-10, hermitian=True) if ZtZ.size else ZtZ
    total = data.WtW - np.einsum("zgax,zgay->zxy", ZtW, inverse[index] @ ZtW, optimize=True)
    explained = np.linalg.pinv(total[:, :p, :p], rcond=1e-10, hermitian=True) @ total[:, :p, p, None]
    return total[:, p, p] - np.einsum("zx,zx->z", total[:, :p, p], explained[..., 0])


def _estimates(cross: CrossProducts, data: Responses, best: Deviance) -> dict[str, np.ndarray]:
    """From theta, beta and sigma2 of the working basis to those of the formula."""
    basis, diagonal, sigma2 = cross.basis, cross.diagonal, best.sigma2[:, None, None]
    U, s, _ = np.linalg.svd(np.tensordot(best.theta, cross.theta_coordinates, 1))
    L = basis.L_back(U * np.where(s > ZERO, s, 0.0)[:, None, :])
    relative = L @ np.swapaxes(L, 1, 2)
    if diagonal:
        relative = relative * np.eye(len(basis.Rz))
    Lambda = semidefinite_cholesky(relative)
    root = basis.x_back @ best.R_inverse
    return {
        "beta": data.coefficients(cross, best.beta),
        "cov_beta": sigma2 * (root @ np.swapaxes(root, 1, 2)),
        "D": sigma2 * relative,
        "sigma2": best.sigma2,
        "theta": np.array([Lambda[:, a, b] for a, b in vech(len(basis.Rz), diagonal)]).reshape(-1, len(s)).T,
        "loglik": -best.value / 2,
        "is_singular": s.min(axis=1, initial=np.inf) < SINGULAR,
    }
