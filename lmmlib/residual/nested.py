r"""Which models with a residual covariance lie within which, and whether a hypothesis is on the boundary."""

from __future__ import annotations

import numpy as np

from lmmlib.common.small import symmetric_units, vech
from lmmlib.errors import ParameterError
from lmmlib.inference.nested import OUTSIDE
from lmmlib.residual.fitted import ResidualFitted

# Groups of each size whose covariances are compared.
FEW = 200


def nested_covariances(fit0, fit1) -> tuple[int, int]:
    r"""New random columns on the boundary of the hypothesis, and parameters of V that it has less.

    V is linear in its parameters, :math:`V = \sum_r\alpha_r\dot V_r`: one model is within another if its
    :math:`\dot V_r` are combinations of those of the other. Where V is not linear, for ``ar1``, they are taken at
    the correlations of the smaller model, zero if it has none. The parameters of the larger model at the estimate of
    the smaller say whether the hypothesis lies on the boundary: the new random columns without variance there.

    Raises
    ------
    ParameterError
        If the models are not nested, or are not of the same groups.
    """
    a, b = fit0.design, fit1.design
    pairs, whole = len(np.unique(a.group * b.n_groups + b.group)), min(a.n_groups, b.n_groups)
    if all(len(one.D) or isinstance(one, ResidualFitted) for one in (fit0, fit1)) and pairs > whole:
        raise ParameterError(f"the fits have different groups, {a.grouping!r} and {b.grouping!r}")
    design, rho = fit1.design, getattr(fit0, "rho", None)
    first = [np.flatnonzero(design.n_i == m)[:FEW] for m in np.unique(design.n_i[design.n_i > 0])]
    rows = [design.rows(i) for i in np.concatenate(first)]
    small, coefficients = _covariances(fit0, rows, None)
    large, _ = _covariances(fit1, rows, np.zeros(1) if rho is None else rho)
    lengths = np.maximum(np.linalg.norm(large, axis=1, keepdims=True), 1e-300)
    weights = np.linalg.lstsq((large / lengths).T, small.T)[0] / lengths
    rest, length = np.linalg.norm(small - weights.T @ large, axis=1), np.linalg.norm(small, axis=1)
    df = (fit1.n_parameters - len(fit1.beta)) - (fit0.n_parameters - len(fit0.beta))
    if (rest > OUTSIDE * length).any() or df < 0:
        raise ParameterError(
            f"the covariances of the first model ({_told(fit0)}) are not within those of the second ({_told(fit1)}), "
            "so the models are not nested; is their order right? aic_table compares any models"
        )
    E = symmetric_units(len(fit1.D), design.diagonal)
    z = np.linalg.norm(design.Z, axis=0) / np.sqrt(fit1.n_obs)
    roots = np.linalg.eigvalsh(np.tensordot((weights @ coefficients)[: len(E)], E, 1) * np.outer(z, z))
    lost = int((roots < OUTSIDE * coefficients @ small[:, 0]).sum())
    return min(lost, max(len(fit1.D) - len(fit0.D), 0)), df


def _told(fit) -> str:
    """Random effects and residuals in words."""
    return (
        f"{', '.join(fit.design.z_names) or 'no random effects'}; residual {getattr(fit, 'residual', 'independent()')}"
    )


def _covariances(fit, rows: list[np.ndarray], rho: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Derivatives of the V of groups, side by side (k, entries), and the sum of them that V is at the estimate (k,)."""
    if isinstance(fit, ResidualFitted):
        return fit.covariances(rows, rho)
    Z, E = fit.design.standard_rows(fit.design.y)[2], symmetric_units(len(fit.D), fit.design.diagonal)
    parts = [np.concatenate([Z[r] @ E @ Z[r].T, np.eye(len(r))[None]]).reshape(len(E) + 1, -1) for r in rows]
    entries = [fit.D.to_numpy()[a, b] for a, b in vech(len(fit.D), fit.design.diagonal)]
    return np.hstack(parts), np.array([*entries, fit.sigma2])
