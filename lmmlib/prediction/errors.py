r"""Errors of predictions for new rows: their variance by formula, and draws of them by the parametric bootstrap.

The bootstrap knows the random effects of the data that it simulates, and so the error of every prediction from them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from lmmlib.common.arguments import checked_count, generator
from lmmlib.common.progress import progress_bar
from lmmlib.common.small import semidefinite_cholesky
from lmmlib.design.basis import chunks
from lmmlib.design.cross import CrossProducts
from lmmlib.design.new_rows import NewRows
from lmmlib.design.responses import Responses
from lmmlib.equations.degrees import Curvature
from lmmlib.equations.drawing import lmm
from lmmlib.equations.pieces import woodbury_factor
from lmmlib.equations.weighted import Weighted, weigh
from lmmlib.errors import DesignError
from lmmlib.fitting.batch import ROOM, fit_many
from lmmlib.fitting.fitted import Fitted
from lmmlib.inference.bootstrap import CHUNK


def error_variance(fit: Fitted, rows: NewRows, corrected: bool = False) -> np.ndarray:
    r"""Variance of :math:`x'(\hat\beta - \beta) + z'(\hat b_i - b_i)`, for new groups of the first term, (rows,).

    Equation :eq:`prediction-variance` of the book, as a sum of squares in the working basis, so that no digits are lost
    to a difference; ``corrected`` adds :func:`estimation_variance` twice, as in :eq:`prasad-rao`.
    """
    _, D, sigma2 = fit.estimates
    groups, own = rows.own
    Hz, d = _parts(weigh(fit.cross.take(groups), D, sigma2), own)
    variance = sigma2 * (Hz**2).sum(axis=1) + np.einsum("nx,xy,ny->n", d, fit.Phi, d)
    return variance + 2 * estimation_variance(fit.expected, rows) if corrected else variance


def estimation_variance(at: Curvature, rows: NewRows) -> np.ndarray:
    r"""What estimating D and sigma2 by REML adds to the variance of :func:`error_variance`, to first order, (rows,).

    .. math:: \sum_{r,s} W_{rs}\, m_r'Pm_s, \qquad
        m_r = V\dot S_r'z - \dot V_rV^{-1}X\Phi d, \quad d = x - T_i'z, \quad S = DZ_i'V_i^{-1}

    :math:`m_r'Py` is the derivative of :math:`x'\hat\beta + z'\hat b_i` by an entry of :math:`D/\sigma^2`, on which
    alone it depends, through both of its terms, with the projection P of :func:`lmmlib.equations.information_variance`;
    W is the covariance of the entries (Kackar and Harville 1984). With the letters of
    :class:`lmmlib.equations.degrees.Curvature` m is :math:`-ZE_rC_jR^{-1\prime}d` in the rows of group j, to which
    :math:`Z_iE_ra`, :math:`a = U_i'z`, comes in those of group i itself. Without z, twice this is the correction of
    :eq:`kenward-roger-covariance`; without X it is :func:`lmmlib.equations.estimation_error`.

    Parameters
    ----------
    at : Curvature
        With the expected information; D may be singular.
    rows : NewRows

    Returns
    -------
    (rows,) array
    """
    sigma2, E = at.sigma2, at.cross.D_directions(working=True)
    R_inverse, P = at.directions.R_inverse / np.sqrt(sigma2), sigma2 * at.directions.P[:-1, :-1, :-1]
    groups, rows = rows.own
    some = at.cross.take(groups)
    w, own = weigh(some, at.D, sigma2), some.patterns[1][rows.group]
    A, C = w.A[own], np.einsum("nba,nbx->nax", w.U[own], some.work.ZtX[rows.group] @ R_inverse)
    d = _parts(w, rows)[1] @ R_inverse
    Ea = np.einsum("rab,ncb,nc->rna", E, w.U[own], _known_z(some, rows))
    WEa = np.tensordot(at.W, Ea, 1)
    EaC, WEaC = (np.einsum("rna,nax->rnx", v, C) for v in (Ea, WEa))
    ECd = np.einsum("rab,nbx,nx->rna", E, C, d)
    of_b = np.einsum("rna,nab,rnb->n", WEa, A, Ea) - np.einsum("rnx,rnx->n", WEaC, EaC)
    joint = np.einsum("rna,nab,rnb->n", WEa, A, ECd) - np.einsum("rnx,rxy,ny->n", WEaC, P, d)
    of_beta = np.einsum("nx,xy,ny->n", d, at.adjustment, d)
    return sigma2 * (of_b - 2 * joint + of_beta)


def _known_z(cross: CrossProducts, rows: NewRows) -> np.ndarray:
    """z of each row in the working basis, zero for new groups."""
    return cross.basis.z_work(rows.Z) * (rows.group >= 0)[:, None]


def _parts(w: Weighted, rows: NewRows) -> tuple[np.ndarray, np.ndarray]:
    """H z (rows, q) and d = x - T_i'z (rows, p) of each row in the working basis."""
    cross, H = w.cross, w.H[w.cross.patterns[1][rows.group]]
    Hz = np.einsum("nab,nb->na", H, _known_z(cross, rows))
    Kz = np.einsum("nab,na->nb", H, Hz)  # T_i'z = X_i'Z_iK_iz
    return Hz, cross.basis.x_work(rows.X) - np.einsum("nbx,nb->nx", cross.work.ZtX[rows.group], Kz)


def bootstrap_interval(fit: Fitted, rows: NewRows, noise, level: float, size: int, rng) -> tuple:
    """What the errors of ``size`` simulated data sets say of each row.

    Root mean squares of the errors (rows,), what the limits add to the prediction (2, rows), and how many refits
    failed; ``noise`` (rows,) is the variance of the part of each error that is independent of the data.
    """
    rng = generator(rng)
    groups, rows = rows.own
    of_beta, of_b, failed = bootstrap_errors(fit, groups, checked_count("size", size), rng)
    ends, square = np.empty((2, len(noise))), np.empty(len(noise))
    for part in chunks(len(noise), max(1, ROOM // len(of_beta))):
        some = rows.take(part)
        errors = of_beta @ some.X.T + some.at(of_b)
        errors += np.sqrt(noise[part]) * rng.standard_normal(errors.shape)
        # An error of prediction less target: the target lies as far below the prediction as the error is large.
        ends[:, part] = -np.quantile(errors, [(1 + level) / 2, (1 - level) / 2], axis=0)
        square[part] = (errors**2).mean(axis=0)
    return np.sqrt(square), ends, failed


def bootstrap_errors(fit: Fitted, groups, size: int, rng) -> tuple[np.ndarray, np.ndarray, int]:
    """Errors of beta (S, p) and of b (S, groups, q) in refits of simulated data, and how many of ``size`` failed.

    S is ``size`` less these.

    Raises
    ------
    DesignError
        If all failed.
    """
    of_beta, of_b, reasons = [], [], []
    with progress_bar(size, "bootstrap") as update:
        for b, Y in _simulated(fit, size, rng):
            fits = fit_many(fit.design, Y, method=fit.method)
            good = np.flatnonzero(~fits.failed)
            reasons += [reason for reason, bad in zip(fits.reason, fits.failed, strict=True) if bad]
            data = Responses.of_columns(fit.cross, fit.design, Y[:, good])
            found, _ = batched_effects(fit.cross, data, fits.beta[good], fits.D[good], fits.sigma2[good])
            of_beta.append(fits.beta[good] - fit.beta.to_numpy())
            of_b.append((found - b[good])[:, groups])
            update(Y.shape[1])
    if len(reasons) == size:
        raise DesignError(f"all {size} refits failed, the first with: {reasons[0]}; look at the model first")
    return np.concatenate(of_beta), np.concatenate(of_b), len(reasons)


def _simulated(fit: Fitted, size: int, rng) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Chunks of random effects (many, n_groups, q) and responses (n_obs, many) that have them."""
    design, q = fit.design, len(fit.D)
    L, none = semidefinite_cholesky(fit.D.to_numpy()), np.zeros((0, 0))
    no_effects = replace(design, Z=design.Z[:, :0])
    for part in chunks(size, max(1, min(CHUNK, ROOM // (design.n_obs + design.n_groups * q * q)))):
        many = len(range(*part.indices(size)))
        b = rng.standard_normal((many, design.n_groups, q)) @ L.T
        Y = lmm(no_effects, fit.beta, none, fit.sigma2, rng, many)
        for k in range(q):
            Y += design.Z[:, k, None] * b[:, design.group, k].T
        yield b, Y


def batched_effects(
    cross: CrossProducts, data: Responses, beta: np.ndarray, D: np.ndarray, sigma2: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Conditional means (S, n_groups, q) and covariances (S, n_patterns, q, q) of b at many values of the parameters.

    As :func:`lmmlib.equations.random_effects` and :func:`lmmlib.equations.conditional_covariance` of each beta (S, p),
    D (S, q, q) and sigma2 (S,), the latter for each distinct Z_i'Z_i; ``data`` are S responses, or one for all.
    """
    basis, scale, (ZtZ, index) = cross.basis, sigma2[:, None, None], cross.patterns
    L = basis.Rz @ semidefinite_cholesky(D / scale)
    H, _ = woodbury_factor(ZtZ.transpose(1, 2, 0)[:, :, None], L.transpose(1, 2, 0)[..., None])
    K = basis.D_back(np.einsum("cazg,cbzg->zgab", H, H))  # D Z'V^-1 = K Z'
    # The response is held as y - X beta0.
    work = beta @ basis.Rx.T - data.beta0
    Ztr = data.ZtW[..., -1] - np.einsum("gqx,zx->zgq", cross.work.ZtX, work)
    return np.einsum("zgab,zgb->zga", K[:, index], Ztr @ basis.Rz), scale[..., None] * K
