r"""The profiled deviance of a mixed model as a function of theta alone, with exact gradient and Hessian.

With :math:`D = \sigma^2 LL'` the best beta and sigma2 for a given L have closed forms, so the optimiser sees only
the entries theta of L (Bates et al. 2015). Everything is computed in the working basis of the cross-products, where L
is scale-free, and for many theta, or many responses, at once: they are the first axis of every array.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, fields, replace
from math import prod

import numpy as np

from lmmlib.design import CrossProducts
from lmmlib.likelihood import LOG_2PI
from lmmlib.responses import Responses

# Numbers in the largest array that is formed for a block of groups: about what a processor's cache holds.
BLOCK = 200_000


def theta_coordinates(cross: CrossProducts) -> np.ndarray:
    """Matrices B_k with L = sum of theta_k B_k, (k, q, q), in the working basis.

    A full D has the lower triangle of L, column by column. A diagonal D is diagonal for the columns of the formula,
    where L is diagonal too; in the working basis that is a column of Rz each, of length one whatever its units.
    """
    q = len(cross.z_names)
    if cross.diagonal:
        B = np.zeros((q, q, q))
        for a in range(q):
            B[a, :, a] = cross.basis.Rz[:, a] / np.linalg.norm(cross.basis.Rz[:, a])
        return B
    pairs = [(a, b) for b in range(q) for a in range(b, q)]
    B = np.zeros((len(pairs), q, q))
    for k, (a, b) in enumerate(pairs):
        B[k, a, b] = 1.0
    return B


def d_coordinates(cross: CrossProducts) -> np.ndarray:
    """Symmetric matrices E_r with D = sum of alpha_r E_r, (k, q, q), in the working basis, in the order of vech D."""
    B = theta_coordinates(cross)
    if cross.diagonal:
        return B @ np.swapaxes(B, 1, 2)
    return np.maximum(B, np.swapaxes(B, 1, 2))


def _t(M: np.ndarray) -> np.ndarray:
    """Each matrix transposed."""
    return np.swapaxes(M, -1, -2)


def _product(subscripts: str, A: np.ndarray, B: np.ndarray) -> np.ndarray:
    """Products of the small matrices of all responses and groups, whose entries are the first two axes."""
    one, other, result = subscripts.replace("->", ",").split(",")
    return np.einsum(f"{one}zg,{other}zg->{result}zg", A, B)


def _inverse_cholesky(S: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Inverse Cholesky factors and log-determinants of many small matrices (q, q, ...), entry by entry over all."""
    q = len(S)
    C, inverse = np.zeros_like(S), np.zeros_like(S)
    logdet = np.zeros(S.shape[2:])
    for j in range(q):
        C[j, j] = np.sqrt(S[j, j] - (C[j, :j] ** 2).sum(axis=0))
        logdet += 2 * np.log(C[j, j])
        for i in range(j + 1, q):
            C[i, j] = (S[i, j] - (C[i, :j] * C[j, :j]).sum(axis=0)) / C[j, j]
        inverse[j, j] = 1 / C[j, j]
        for i in range(j):
            inverse[j, i] = -(C[j, i:j] * inverse[i:j, i]).sum(axis=0) / C[j, j]
    return inverse, logdet


def _cholesky(S: np.ndarray) -> np.ndarray:
    """Cholesky factors; NaN for a matrix that is not positive definite, where an L without bounds left no digits."""
    try:
        return np.linalg.cholesky(S)
    except np.linalg.LinAlgError:
        C = np.full_like(S, np.nan)
        for factor, matrix in zip(C, S, strict=True):
            with suppress(np.linalg.LinAlgError):
                factor[:] = np.linalg.cholesky(matrix)
        return C


def gram(A: np.ndarray, B: np.ndarray) -> np.ndarray:
    """Sum over groups of the products of all entries of A_i with all entries of B_i, for each response.

    A (..., B, n_groups) and B (..., B, n_groups) give (B, ..., ...).
    """
    rows, columns = (M.reshape(prod(M.shape[:-2]), *M.shape[-2:]) for M in (A, B))
    sums = rows.transpose(1, 0, 2) @ columns.transpose(1, 2, 0)
    return sums.reshape(len(sums), *A.shape[:-2], *B.shape[:-2])


@dataclass(frozen=True, eq=False)
class Pieces:
    r"""What value and derivatives are made of at one L for each response, with :math:`V_0 = I + ZLL'Z'`.

    With :math:`A_i = Z_i'V_0^{-1}Z_i`, :math:`C_i = Z_i'V_0^{-1}X_iR^{-1}`, :math:`R'R = X'V_0^{-1}X`, :math:`G_i =
    C_iC_i'`, and :math:`u_i = Z_i'V_0^{-1}r_i`, r the residual at ``beta`` (B, p): the sums over groups ``A``, ``G``
    and ``uu`` (B, q, q), and of the products of all their entries ``AA``, ``AG``, ``Auu``, ``CC`` and ``Cu``. ``r2``
    (B,): :math:`r'V_0^{-1}r`; ``half`` (B, p, p): :math:`R^{-1}`; ``logdet_V``, ``logdet_X`` (B,): logarithms of
    :math:`|V_0|` and :math:`|X'V_0^{-1}X|`, X being that of the formula there.
    """

    beta: np.ndarray
    r2: np.ndarray
    half: np.ndarray
    logdet_V: np.ndarray
    logdet_X: np.ndarray
    A: np.ndarray
    G: np.ndarray
    uu: np.ndarray
    AA: np.ndarray
    AG: np.ndarray
    Auu: np.ndarray
    CC: np.ndarray
    Cu: np.ndarray


@np.errstate(divide="ignore", invalid="ignore")  # an L without bounds: NaN
def pieces(cross: CrossProducts, data: Responses, L: np.ndarray) -> Pieces:
    """Weighted sums from the cross-products, in two passes over the groups: beta first, then what needs it.

    Parameters
    ----------
    cross : CrossProducts
    data : Responses
        As many as there are L, or one for all.
    L : (B, q, q) array
        In the working basis; may be singular.

    Returns
    -------
    Pieces
    """
    q, p, many = len(cross.z_names), len(cross.x_names), max(len(L), len(data))
    patterns, index = cross.patterns
    # Entries come first: an operation then runs along all groups, which are many, and not along a matrix of few.
    ZtZ, L = patterns.transpose(1, 2, 0)[:, :, None], L.transpose(1, 2, 0)[..., None]
    half, logdet = _half(ZtZ, L)
    ZtH = _product("ab,cb->ac", ZtZ, half)
    A = _product("ab,cb->ac", ZtH, ZtH)
    np.subtract(ZtZ, A, out=A)
    count = np.bincount(index, minlength=len(patterns)).astype(float)
    blocks = _blocks(cross.n_groups, many * q * (p + q + 1))

    total, HW = np.broadcast_to(data.WtW, (many, p + 1, p + 1)).copy(), []
    for block in blocks:
        HW.append(_product("ab,bw->aw", _of(half, index, block), data.entries[..., block]))
        for row in HW[-1]:
            total -= gram(row, row)
    R = _t(_cholesky(total[:, :p, :p]))
    R_inverse = np.linalg.inv(R)
    explained = np.einsum("bxy,bx->by", R_inverse, total[:, :p, p])
    beta = np.einsum("bxy,by->bx", R_inverse, explained)

    shapes = [(q, q)] * 2 + [(q, q, q, q)] * 2 + [(q, p, q, p), (q, p, q)]
    G, uu, AG, Auu, CC, Cu = [np.zeros((many, *shape)) for shape in shapes]
    to_Cu = np.zeros((many, p + 1, p + 1))  # from W = [X, y] to [X R^-1, r]
    to_Cu[:, :p, :p], to_Cu[:, :p, p], to_Cu[:, p, p] = R_inverse, -beta, 1.0
    for block, HW_block in zip(blocks, HW, strict=True):
        M = data.entries[..., block] - _product("ab,bw->aw", _of(ZtH, index, block), HW_block)
        M = np.einsum("awzg,zwv->avzg", M, to_Cu)
        A_i, C, u = _of(A, index, block), M[:, :p], M[:, p]
        G_i, uu_i = _product("ax,bx->ab", C, C), u[:, None] * u
        for total_of_groups, values in ((G, G_i), (uu, uu_i)):
            total_of_groups += values.sum(axis=-1).transpose(2, 0, 1)
        for total_of_groups, one, other in ((AG, A_i, G_i), (Auu, A_i, uu_i), (CC, C, C), (Cu, C, u)):
            total_of_groups += gram(one, other)
    return Pieces(
        beta,
        total[:, p, p] - (explained**2).sum(axis=1),
        R_inverse,
        logdet @ count,
        2 * np.log(np.diagonal(R, axis1=1, axis2=2)).sum(axis=1) + 2 * np.log(np.abs(np.diag(cross.basis.Rx))).sum(),
        (A @ count).transpose(2, 0, 1),
        G,
        uu,
        gram(A * count, A),
        AG,
        Auu,
        CC,
        Cu,
    )


def _half(ZtZ: np.ndarray, L: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """H with V0^-1 = I - Z H'H Z', entries first, and the logarithm of the determinant of V0."""
    S = _product("ba,bc->ac", L, _product("ab,bc->ac", ZtZ, L))
    S[np.diag_indices(len(L))] += 1
    inverse, logdet = _inverse_cholesky(S)
    return _product("ab,cb->ac", inverse, L), logdet


def _of(M: np.ndarray, index: np.ndarray, block: slice) -> np.ndarray:
    """The matrices of a block of groups, from those of the patterns."""
    return M[..., block] if M.shape[-1] == len(index) else np.take(M, index[block], axis=-1)


def _blocks(n_groups: int, width: int) -> list[slice]:
    """Groups in blocks of so many that what is formed for one of them stays small."""
    size = max(1, BLOCK // max(width, 1))
    return [slice(first, first + size) for first in range(0, n_groups, size)]


def _along(E: np.ndarray, sums: np.ndarray) -> np.ndarray:
    """Sum over i of tr(E_r P_i E_s Q_i) from the sums of P_i Q_i entry by entry, (B, k, k)."""
    many, k, q, _ = E.shape
    flat = E.reshape(many, k, q * q)
    return flat @ sums.transpose(0, 4, 1, 2, 3).reshape(len(sums), q * q, q * q) @ _t(flat)


@dataclass(frozen=True, eq=False)
class Surface:
    """The two parts of a deviance at theta, each with gradient (B, k) and Hessian (B, k, k).

    ``h`` (B,): :math:`\\log|V_0|`, for REML with :math:`\\log|X'V_0^{-1}X|`; ``r2`` (B,): the generalised residual sum
    of squares.
    """

    h: np.ndarray
    h_gradient: np.ndarray
    h_hessian: np.ndarray
    r2: np.ndarray
    r2_gradient: np.ndarray
    r2_hessian: np.ndarray
    beta: np.ndarray
    half: np.ndarray


def surface(cross: CrossProducts, data: Responses, theta: np.ndarray, B: np.ndarray, reml: bool) -> Surface:
    """Log-determinants and residual sum of squares at theta (B, k), with their derivatives."""
    L = np.tensordot(theta, B, 1)
    s = pieces(cross, data, L)
    Gamma = s.A - s.G if reml else s.A

    # Derivatives by LL' along E_k = dLL'/dtheta_k, and by the chain rule what comes from the change of E_k itself.
    E = B @ _t(L)[:, None]
    E = E + _t(E)
    h_hessian = 2 * np.einsum("kab,zac,lcb->zkl", B, Gamma, B)
    h_hessian -= _along(E, s.AA - 2 * s.AG if reml else s.AA)
    if reml:
        P = np.einsum("zrab,zaxby->zrxy", E, s.CC)
        h_hessian -= np.einsum("zrxy,zsxy->zrs", P, P)
    c = np.einsum("zrab,zaxb->zrx", E, s.Cu)
    r2_hessian = 2 * _along(E, s.Auu)
    r2_hessian -= 2 * c @ _t(c) + 2 * np.einsum("kab,zac,lcb->zkl", B, s.uu, B)
    return Surface(
        h=s.logdet_V + (s.logdet_X if reml else 0.0),
        h_gradient=2 * np.einsum("kab,zab->zk", B, Gamma @ L),
        h_hessian=(h_hessian + _t(h_hessian)) / 2,
        r2=s.r2,
        r2_gradient=-2 * np.einsum("kab,zab->zk", B, s.uu @ L),
        r2_hessian=(r2_hessian + _t(r2_hessian)) / 2,
        beta=s.beta,
        half=s.half,
    )


@dataclass(frozen=True, eq=False)
class Deviance:
    """Minus twice a log-likelihood at theta, with what the estimates are made of.

    ``gradient`` (B, k) and ``hessian`` (B, k, k) are exact derivatives; ``beta`` (B, p) in the working basis and
    ``sigma2`` (B,) are the best for theta (B, k); ``half`` (B, p, p): half half' is the covariance of beta over sigma2.
    """

    theta: np.ndarray
    value: np.ndarray
    gradient: np.ndarray
    hessian: np.ndarray
    beta: np.ndarray
    sigma2: np.ndarray
    half: np.ndarray

    def take(self, rows) -> Deviance:
        """Some of the responses."""
        return Deviance(*(getattr(self, f.name)[rows] for f in fields(self)))

    def put(self, rows, other: Deviance) -> Deviance:
        """The same with others in the place of some."""
        changed = {f.name: getattr(self, f.name).copy() for f in fields(self)}
        for name, values in changed.items():
            values[rows] = getattr(other, name)
        return replace(self, **changed)


def degrees(cross: CrossProducts, method: str) -> int:
    """m, what sigma2 is a mean over: N for ML, N - p for REML."""
    return cross.n_obs - (len(cross.x_names) if method == "REML" else 0)


def deviance(
    cross: CrossProducts, theta: np.ndarray, coordinates: np.ndarray, method: str, data: Responses | None = None
) -> Deviance:
    r"""Profiled deviance, its gradient and its Hessian.

    .. math:: d(\theta) = \log|V_0| + [\log|X'V_0^{-1}X|] + m\Big(1 + \log\frac{2\pi\,r^2}{m}\Big),
        \qquad V_0 = I + ZLL'Z'

    with :math:`r^2` the generalised residual sum of squares, m = N for ML, and for REML m = N - p and the term in
    brackets: equations :eq:`profile-loglik` and :eq:`restricted-loglik` of the book with sigma2 at its best too; Bates
    et al. (2015).

    Parameters
    ----------
    cross : CrossProducts
    theta : (k,) or (B, k) array
        Coordinates of L, in the working basis; with (B, k) every part of the answer has the axis B in front.
    coordinates : (k, q, q) array
        The B_k of :func:`theta_coordinates`.
    method : {"REML", "ML"}
    data : Responses, optional
        One for each theta, or one for all; by default the response of the cross-products.

    Returns
    -------
    Deviance
    """
    if theta.ndim == 1:
        return deviance(cross, theta[None], coordinates, method, data).take(0)
    m, data = degrees(cross, method), data or Responses.of_cross(cross)
    s = surface(cross, data, theta, coordinates, method == "REML")
    with np.errstate(invalid="ignore", divide="ignore"):  # a response without residual has no deviance: NaN
        value = s.h + m * (1 + LOG_2PI + np.log(s.r2 / m))
        slope = s.r2_gradient / s.r2[:, None]
        bend = s.r2_hessian / s.r2[:, None, None] - slope[:, :, None] * slope[:, None, :]
    return Deviance(theta, value, s.h_gradient + m * slope, s.h_hessian + m * bend, s.beta, s.r2 / m, s.half)
