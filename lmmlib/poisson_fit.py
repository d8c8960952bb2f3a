"""Maximum likelihood fits of a Poisson mixed model: from formula and data to a :class:`PoissonFit`."""

from __future__ import annotations

from dataclasses import replace
from numbers import Integral

import numpy as np
import pandas as pd
from scipy.linalg import solve_triangular

from lmmlib.aghq import rule
from lmmlib.batch import ZERO
from lmmlib.design import Design
from lmmlib.deviance import theta_coordinates
from lmmlib.entries import semidefinite_cholesky
from lmmlib.errors import DataError, DesignError, ParameterError
from lmmlib.formula import build_design
from lmmlib.parameters import checked_choice, shown
from lmmlib.poisson import Counts
from lmmlib.poisson_checks import checked_counts, checked_offset, notes, offset_of, require_bounded, require_estimable
from lmmlib.poisson_intervals import FLAT, ROUGH, covariance
from lmmlib.poisson_result import NODES, PoissonFit
from lmmlib.poisson_search import Peak, is_singular, maximise

METHODS = ("laplace", "aghq")


def fit_poisson(
    formula: str,
    data: pd.DataFrame,
    method: str = "laplace",
    n_quadrature: int | None = None,
    offset=None,
    missing: str = "error",
    *,
    drop: str | None = None,
) -> PoissonFit:
    r"""Fit a Poisson mixed model with logarithmic link by maximum likelihood.

    .. math:: y_{ij} \mid b_i \sim \operatorname{Poisson}(\mu_{ij}), \quad
        \log\mu_{ij} = o_{ij} + x_{ij}'\beta + z_{ij}'b_i, \quad b_i \sim N(0, D)

    Equation :eq:`poisson-glmm` of the book. The maximum, over all beta and all positive semidefinite D, of
    :eq:`laplace-marginal` or :eq:`aghq`.

    Parameters
    ----------
    formula : str
        lme4 syntax with one grouping factor; see :func:`lmmlib.build_design`.
    data : DataFrame
    method : {"laplace", "aghq"}
        Laplace's approximation, or adaptive Gauss-Hermite quadrature for one or two random effects a group.
    n_quadrature : int, optional
        Nodes in each direction for "aghq", by default 25 for one random effect and 15 for two.
    offset : str or (n_obs,) array, optional
        A column of the data or an array: a known part of the logarithm of the mean, such as that of the exposure.
    missing : {"error", "drop"}
        What to do with rows in which a column that is used is missing.
    drop : {"dependent"}, optional
        Leave out columns of the fixed effects that are linear combinations of earlier ones, which are an error
        otherwise; the result names them as ``dropped``.

    Returns
    -------
    PoissonFit

    Raises
    ------
    FormulaError, DataError
        As :func:`lmmlib.build_design`; and if the response does not hold counts, or the offset no finite numbers.
    DesignError
        If there is no random term, columns are dependent, all counts are zero, or a coefficient has no finite estimate.
    ParameterError
        If the method is unknown, or quadrature is asked for more than two random effects.
    """
    checked_method(method)
    if offset is None:
        return fit_poisson_design(build_design(formula, data, missing, drop=drop), method, n_quadrature)
    values = offset_of(offset, data)
    gaps = np.isnan(values)
    if gaps.any() and missing != "drop":
        raise DataError(
            f"the offset is missing in {int(gaps.sum())} rows, the first being row {int(np.argmax(gaps))} (rows count "
            "from 0); pass missing='drop' to leave those rows out"
        )
    data, values = data[~gaps], values[~gaps]
    design = build_design(formula, data, missing, drop=drop)
    used = [name for name in data.columns if name in design.columns or name == design.grouping]
    complete = data[used].notna().all(axis=1).to_numpy() if design.n_dropped else np.ones(len(data), bool)
    design = replace(design, n_dropped=design.n_dropped + int(gaps.sum()))
    found = fit_poisson_design(design, method, n_quadrature, values[complete])
    return replace(found, offset=offset if isinstance(offset, str) else values[complete])


def checked_method(method: str) -> None:
    """Raise ParameterError unless the method is one of the two."""
    checked_choice("method", method, METHODS)


def fit_poisson_design(
    design: Design, method: str = "laplace", n_quadrature: int | None = None, offset=None
) -> PoissonFit:
    """:func:`fit_poisson` for a design that is there already: maximum of :eq:`laplace-marginal` or :eq:`aghq`.

    Parameters
    ----------
    design : Design
    method : {"laplace", "aghq"}
    n_quadrature : int, optional
    offset : (n_obs,) array, optional

    Returns
    -------
    PoissonFit
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


def _result(design: Design, counts: Counts, method: str, nodes: int, peak: Peak, offset) -> PoissonFit:
    """From the working basis to the columns of the formula."""
    x, z, p = list(design.x_names), list(design.z_names), len(design.x_names)
    Rx, Rz = counts.basis.Rx, counts.basis.Rz
    L = np.tensordot(peak.psi[p:], theta_coordinates(counts), 1)
    U, s, _ = np.linalg.svd(L)
    half = np.linalg.solve(Rz, U * np.where(s > ZERO, s, 0.0))
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
        else covariance(peak.hessian, p, ROUGH if method == "aghq" and not counts.large else FLAT)
    )
    back = solve_triangular(Rx, np.eye(p)) if p else Rx
    return PoissonFit(
        formula=design.formula,
        method=method,
        n_quadrature=nodes,
        beta=pd.Series(back @ peak.psi[:p], x),
        cov_beta=pd.DataFrame(back @ cov[:p, :p] @ back.T, x, x),
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
