"""The estimates of a Poisson mixed model for a design: maximum likelihood, other data by the fit, and fits to them."""

from __future__ import annotations

from dataclasses import replace
from numbers import Integral

import numpy as np
import pandas as pd

from lmmlib.common.arguments import checked_choice, checked_count, generator, numbers, shown
from lmmlib.common.small import semidefinite_cholesky
from lmmlib.design.design import Design
from lmmlib.errors import DataError, DesignError, ParameterError
from lmmlib.fitting.batch import ZERO
from lmmlib.glmm.checks import checked_counts, checked_offset, notes, require_bounded, require_estimable
from lmmlib.glmm.fitted import FittedGlmm
from lmmlib.glmm.quadrature import NODES, rule
from lmmlib.glmm.rows import Counts
from lmmlib.glmm.search import Peak, is_singular, maximise
from lmmlib.laplace.curvature import FLAT, ROUGH, covariance

METHODS = ("laplace", "aghq")


def checked_method(method: str) -> None:
    """Raise ParameterError unless the method is one of the two."""
    checked_choice("method", method, METHODS)


def estimate(design: Design, method: str = "laplace", n_quadrature: int | None = None, offset=None) -> FittedGlmm:
    """Maximum of :eq:`laplace-marginal` or :eq:`aghq`.

    Parameters
    ----------
    design : Design
    method : {"laplace", "aghq"}
    n_quadrature : int, optional
    offset : (n_obs,) array, optional

    Returns
    -------
    FittedGlmm
    """
    checked_method(method)
    one = n_quadrature is None or isinstance(n_quadrature, Integral) and n_quadrature == 1
    if method == "laplace" and not one:
        raise ParameterError(
            f"n_quadrature={shown(n_quadrature)} is for method='aghq'; Laplace's approximation has one node"
        )
    if design.weights is not None or design.offset is not None:
        raise DesignError("counts take no weights, and their offset is offset= of this function, not of the design")
    checked_counts(design)
    require_estimable(design)
    offset = None if offset is None else checked_offset(offset, design.n_obs)
    nodes = 1
    if method == "aghq":
        nodes = NODES.get(len(design.z_names), 15) if n_quadrature is None else n_quadrature
        rule(nodes, len(design.z_names))
    counts = Counts.of(design, offset)
    return _result(design, counts, method, int(nodes), maximise(counts, method, int(nodes)), offset)


def _result(design: Design, counts: Counts, method: str, nodes: int, peak: Peak, offset) -> FittedGlmm:
    """From the working basis to the columns of the formula."""
    x, z, p, basis = list(design.x_names), list(design.z_names), len(design.x_names), counts.basis
    beta, L = counts.split(peak.psi)
    U, s, _ = np.linalg.svd(L)
    half = basis.L_back(U * np.where(s > ZERO, s, 0.0))
    with np.errstate(over="ignore", invalid="ignore"):
        D = half @ half.T * (np.eye(len(z)) if design.diagonal else 1.0)
    if not np.isfinite(D).all():
        raise DataError(f"the variances of {', '.join(z)} are too large for a number; change the units of the columns")
    require_bounded(design, D)
    factor = semidefinite_cholesky(D[None])[0] if z else D
    upper = np.diag_indices(len(z)) if design.diagonal else np.triu_indices(len(z))
    cov = (
        np.full((len(peak.psi),) * 2, np.nan)
        if not peak.converged
        else covariance(peak.hessian, p, ROUGH if method == "aghq" and not counts.family.large else FLAT)
    )
    return FittedGlmm(
        formula=design.formula,
        method=method,
        n_quadrature=nodes,
        beta=pd.Series(basis.beta_back(beta), x),
        cov_beta=pd.DataFrame(basis.cov_beta_back(cov[:p, :p]), x, x),
        D=pd.DataFrame(D, z, z),
        theta=factor.T[upper],
        loglik=peak.loglik,
        n_obs=design.n_obs,
        n_groups=design.n_groups,
        is_singular=is_singular(L),
        converged=peak.converged,
        reason=peak.reason,
        notes=notes(design),
        offset=offset,
        log=peak.log,
        psi=peak.psi,
        cov_psi=cov,
        design=design,
        counts=counts,
    )


def simulate(fit: FittedGlmm, rng: np.random.Generator, size: int | None = None) -> np.ndarray:
    """New counts from the fitted model, (n_obs,) or (n_obs, size): new random effects, new counts."""
    rng = generator(rng)
    c, many = fit.counts, 1 if size is None else checked_count("size", size)
    b = np.tensordot(fit.L, rng.standard_normal((len(c.Z), many, c.n_groups)), 1)
    mu = c.family.mean(fit.inner.density.fixed + c.along(b))
    y = c.in_data_order(c.family.simulate(rng, mu).astype(float)).T
    return y[:, 0] if size is None else y


def refit(fit: FittedGlmm, y) -> FittedGlmm:
    """The same model and method fitted to other counts (n_obs,)."""
    design = fit.design.with_response(numbers(y, "y"))
    return replace(estimate(design, fit.method, fit.n_quadrature, fit.offsets), offset=fit.offset)
