r"""The maximum of a marginal log-likelihood: start, Newton's method, other starts, and the covariance there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lmmlib.common.small import product, transposed
from lmmlib.fitting.batch import SINGULAR
from lmmlib.fitting.newton import Optimum, Step
from lmmlib.fitting.search import LEAST_START
from lmmlib.glmm.checks import LARGEST_LOGARITHM
from lmmlib.glmm.objective import Objective
from lmmlib.glmm.restricted import Restricted
from lmmlib.glmm.rows import Conditional, Rows
from lmmlib.laplace.curvature import FLAT, ROUGH, covariance


@dataclass(frozen=True, eq=False)
class Peak:
    """The optimum: ``psi`` (P,), ``loglik``, its ``hessian`` (P, P), and why and how the optimiser stopped.

    ``cov`` (P, P): covariance of psi, NaN if the search did not end; ``u`` (q, n): a guess of the modes, or None. Of a
    restricted log-likelihood the Hessian is that by theta.
    """

    psi: np.ndarray
    loglik: float
    hessian: np.ndarray
    cov: np.ndarray
    converged: bool
    reason: str
    log: tuple[Step, ...]
    u: np.ndarray | None


def glm(rows: Rows) -> np.ndarray:
    """The model without random effects, (p,): Newton's method from what is best for each row alone."""
    family, (best, weight) = rows.family, rows.family.near()
    beta = np.linalg.lstsq((rows.X * np.sqrt(weight)).T, np.sqrt(weight) * (best - rows.offset))[0]
    value = -np.inf
    for _ in range(100):
        eta = np.minimum(beta @ rows.X + rows.offset, LARGEST_LOGARITHM)
        mu = family.mean(eta)
        gradient, information = rows.X @ (family.y - mu), (family.variance(mu) * rows.X) @ rows.X.T
        step = np.linalg.solve(information, gradient) if len(beta) else gradient
        new = float(family.log_density(eta, mu).sum())
        if not np.isfinite(step).all() or new < value:
            break
        beta, value = beta + np.clip(step, -5, 5), new
        if gradient @ step < 1e-8:
            break
    return beta


def start(rows: Rows, beta: np.ndarray | None = None) -> np.ndarray:
    """Starting (beta, theta): a fit without random effects, and D from how the groups vary about it.

    What is best for a row alone has a variance of one by its information, roughly, so that least squares with a penalty
    of one give each group predictions with E b b' = A D A' + A S^-1, where A = S^-1 W, S = I + W and W is the weighted
    Z'Z; solved for D.
    """
    beta, B, q = glm(rows) if beta is None else beta, rows.coordinates, len(rows.Z)
    if not q:
        return beta
    b, half = Conditional.of(rows, beta, np.eye(q)).start()
    inverse = product(transposed(half), half)
    A = np.eye(q)[:, :, None] - inverse
    excess = b[:, None] * b - product(A, inverse)
    E = B @ B.swapaxes(1, 2) if rows.diagonal else np.maximum(B, B.swapaxes(1, 2))
    AA = product(A, A)
    entries = AA.reshape(q * q, -1)
    fourth = (entries @ entries.T).reshape(q, q, q, q)  # A is symmetric: sum of (AA)_ab (AA)_cd
    expected = np.einsum("rda,abcd,sbc->rs", E, fourth, E, optimize=q > 1)
    alpha = np.linalg.lstsq(expected, np.einsum("rab,ab->r", E, product(product(A, excess), A).sum(axis=-1)))[0]
    if rows.diagonal:
        theta = np.sqrt(np.maximum(alpha, LEAST_START))
    else:
        values, vectors = np.linalg.eigh(np.tensordot(alpha, E, 1))
        theta = np.linalg.cholesky((vectors * np.maximum(values, LEAST_START)) @ vectors.T).T[np.triu_indices(q)]
    # The mean over groups has another linear predictor; the columns of X are orthogonal with mean square one.
    L = np.tensordot(theta, B, 1)
    eta = rows.offset + beta @ rows.X
    shift = rows.family.typical(eta, ((L.T @ rows.Z) ** 2).sum(axis=0)) - eta
    return np.concatenate([beta + rows.X @ shift / len(shift), theta])


def is_singular(L: np.ndarray) -> bool:
    """True if some combination of the random effects has no variance, L being that of the working basis."""
    return bool(np.linalg.svd(L, compute_uv=False).min(initial=np.inf) < SINGULAR)


def _second(objective: Objective, first: Optimum) -> Optimum:
    """A singular optimum may have a higher one beside it: the search again from variances of one half."""
    psi = first.best.theta[0].copy()
    B = objective.rows.coordinates
    psi[len(psi) - len(B) :] = np.sqrt(0.5) * np.einsum("kaa->k", B)
    objective.last = None
    other = objective.newton(psi)
    return other if other.converged[0] and other.best.value[0] < first.best.value[0] - 1e-8 else first


def maximise(rows: Rows, method: str = "laplace", n_quadrature: int = 1, beta: np.ndarray | None = None) -> Peak:
    """Maximum of a marginal log-likelihood by Newton's method; all others start from the optimum of Laplace.

    ``beta`` (p,) is the fit without random effects, if it is there already.
    """
    objective = Objective(rows, "laplace", 1)
    optimum = objective.newton(start(rows, beta))
    if len(rows.Z) > 1 and is_singular(rows.split(optimum.best.theta[0])[1]):
        optimum = _second(objective, optimum)
    beta = optimum.best.theta[0][: len(rows.X)]
    if method != "laplace":
        by_laplace, psi = objective, optimum.best.theta[0]
        objective = Objective(rows, method, n_quadrature) if method == "aghq" else Restricted(rows, beta)
        objective.last = by_laplace.last
        optimum = objective.newton(psi if method == "aghq" else psi[len(beta) :])
    best, hessian, psi = optimum.best, -optimum.best.hessian[0] / 2, optimum.best.theta[0]
    cov, rough = np.full((len(psi),) * 2, np.nan), method == "aghq" and not rows.family.large
    if isinstance(objective, Restricted):
        cov, psi = objective.covariance(psi, hessian), np.append(objective.beta, psi)
    elif optimum.converged[0]:
        cov = covariance(hessian, len(beta), ROUGH if rough else FLAT)
    return Peak(
        psi,
        float(-best.value[0] / 2),
        hessian,
        cov if optimum.converged[0] else np.full_like(cov, np.nan),
        bool(optimum.converged[0]),
        optimum.reason[0],
        optimum.log,
        objective.guess(psi),
    )
