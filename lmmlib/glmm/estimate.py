"""The estimates of a mixed model for a design: maximum likelihood, other data by the fit, and fits to them."""

from __future__ import annotations

from numbers import Integral
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from lmmlib.common.arguments import checked_choice, checked_count, generator, numbers, shown
from lmmlib.common.small import semidefinite_cholesky
from lmmlib.common.table import labels
from lmmlib.design.design import Design
from lmmlib.errors import DataError, ParameterError
from lmmlib.fitting.batch import ZERO
from lmmlib.glmm.checks import checked_basis, overlap
from lmmlib.glmm.families import family_of
from lmmlib.glmm.fitted import FittedGlmm
from lmmlib.glmm.quadrature import NODES, rule
from lmmlib.glmm.rows import Rows
from lmmlib.glmm.search import Peak, glm, is_singular, maximise

METHODS = ("laplace", "aghq", "REML")


F = TypeVar("F", bound=FittedGlmm)


def estimate(design: Design, family: str, method: str, n_quadrature: int | None, into: type[F]) -> F:
    """Maximum of :eq:`laplace-marginal` or :eq:`aghq`, made an ``into``; the others as :func:`lmmlib.fit_glmm`."""
    kind = family_of(family)
    checked_choice("method", method, METHODS)
    one = n_quadrature is None or isinstance(n_quadrature, Integral) and n_quadrature == 1
    if method != "aghq" and not one:
        raise ParameterError(
            f"n_quadrature={shown(n_quadrature)} is for method='aghq'; Laplace's approximation has one node"
        )
    kind.check(design)
    kind.check_offset(design.offset)
    basis = checked_basis(design)
    nodes = 1
    if method == "aghq":
        nodes = NODES.get(len(design.z_names), 15) if n_quadrature is None else n_quadrature
        rule(nodes, len(design.z_names))
    rows = Rows.of(design, kind, basis)
    beta = glm(rows)
    if not overlap(rows.X, rows.family.y - rows.family.mean(rows.offset + beta @ rows.X), rows.family.side):
        kind.check_fixed(design, basis)
    peak = maximise(rows, method, int(nodes), beta)
    return into(family=family, method=method, n_quadrature=int(nodes), **_found(design, rows, peak))


def _found(design: Design, rows: Rows, peak: Peak) -> dict[str, Any]:
    """From the working basis to the columns of the formula."""
    x, z, p, basis = labels(design.x_names), labels(design.z_names), len(design.x_names), rows.basis
    beta, L = rows.split(peak.psi)
    U, s, _ = np.linalg.svd(L)
    half = basis.L_back(U * np.where(s > ZERO, s, 0.0))
    with np.errstate(over="ignore", invalid="ignore"):
        D = half @ half.T * (np.eye(len(z)) if design.diagonal else 1.0)
    if not np.isfinite(D).all():
        raise DataError(f"the variances of {', '.join(z)} are too large for a number; change the units of the columns")
    rows.family.check_variances(design, D)
    factor = semidefinite_cholesky(D[None])[0] if len(z) else D
    upper = np.diag_indices(len(z)) if design.diagonal else np.triu_indices(len(z))
    return dict(
        formula=design.formula,
        beta=pd.Series(basis.beta_back(beta), x),
        cov_beta=pd.DataFrame(basis.cov_beta_back(peak.cov[:p, :p]), x, x),
        D=pd.DataFrame(D, z, z),
        theta=factor.T[upper],
        n_obs=design.n_obs,
        n_groups=design.n_groups,
        is_singular=is_singular(L),
        notes=rows.family.notes(design),
        cov_psi=peak.cov,
        design=design,
        rows=rows,
        **{name: getattr(peak, name) for name in ("loglik", "converged", "reason", "log", "psi", "u")},
    )


def simulate(fit: FittedGlmm, size: int | None, rng: np.random.Generator | int | None) -> np.ndarray:
    """New responses from the fitted model, (n_obs,) or (n_obs, size): new random effects, new responses."""
    rng = generator(rng)
    c, many = fit.rows, 1 if size is None else checked_count("size", size)
    b = np.tensordot(fit.L, rng.standard_normal((len(c.Z), many, c.n_groups)), 1)
    mu = c.family.mean(fit.inner.density.fixed + c.along(b))
    y = c.in_data_order(c.family.simulate(rng, mu).astype(float)).T
    return y[:, 0] if size is None else y


def refit(fit: F, y) -> F:
    """The same model and method fitted to other responses (n_obs,)."""
    design = fit.design.with_response(numbers(y, "y"))
    return estimate(design, fit.family, fit.method, fit.n_quadrature, type(fit))
