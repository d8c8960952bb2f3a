r"""Sums over groups that a deviance and its derivatives are made of, for many L or many responses at once.

Matrices of one group are small and groups are many, so arrays have the two indices of the entry first, then the
response, then the group: an operation then runs along all groups.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from math import prod

import numpy as np

from lmmlib.common import small
from lmmlib.design.cross import CrossProducts
from lmmlib.design.responses import Responses

# Numbers in the largest array that is formed for a block of groups: about what a processor's cache holds.
BLOCK = 200_000


def product(subscripts: str, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Products of the small matrices of all responses and groups, whose entries are the first two axes."""
    one, other, result = subscripts.replace("->", ",").split(",")
    return np.einsum(f"{one}zg,{other}zg->{result}zg", left, right)


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


def along(E: np.ndarray, sums: np.ndarray) -> np.ndarray:
    """Sum over i of tr(E_r P_i E_s Q_i) from the sums of P_i Q_i entry by entry, (B, k, k); E (B, k, q, q)."""
    many, k, q, _ = E.shape
    flat = E.reshape(many, k, q * q)
    return flat @ sums.transpose(0, 4, 1, 2, 3).reshape(len(sums), q * q, q * q) @ flat.transpose(0, 2, 1)


def gram(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Sum over groups of the products of all entries of two matrices, for each response.

    Matrices (..., B, n_groups) and others (..., B, n_groups) give (B, ..., ...).
    """
    rows, columns = (M.reshape(prod(M.shape[:-2]), *M.shape[-2:]) for M in (left, right))
    sums = rows.transpose(1, 0, 2) @ columns.transpose(1, 2, 0)
    return sums.reshape(len(sums), *left.shape[:-2], *right.shape[:-2])


@dataclass(frozen=True, eq=False)
class Pieces:
    r"""What value and derivatives are made of at one L for each response, with :math:`V_0 = I + ZLL'Z'`.

    ``beta`` (B, p): the GLS estimate or another, r the residual at it; ``gap`` (B, p): :math:`R'^{-1}X'V_0^{-1}r`, zero
    at the GLS estimate; ``r2`` (B,): :math:`r'V_0^{-1}r`; ``R_inverse`` (B, p, p):
    :math:`R^{-1}` with :math:`R'R = X'V_0^{-1}X`; ``logdet_V``, ``logdet_X`` (B,): logarithms of :math:`|V_0|` and
    :math:`|X'V_0^{-1}X|`, X being that of the formula there.

    The others are sums over the groups of products of entries of :math:`A_i = Z_i'V_0^{-1}Z_i`, :math:`C_i =
    Z_i'V_0^{-1}X_iR^{-1}` and :math:`u_i = Z_i'V_0^{-1}r_i`, with :math:`G_i = C_iC_i'`: ``A``, ``G`` and ``uu`` (B, q,
    q), ``AA``, ``AG`` and ``Auu`` (B, q, q, q, q), ``CC`` (B, q, p, q, p) and ``Cu`` (B, q, p, q).
    """

    beta: np.ndarray
    gap: np.ndarray
    r2: np.ndarray
    R_inverse: np.ndarray
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
def pieces(
    cross: CrossProducts, data: Responses, L: np.ndarray, beta: np.ndarray | None = None, factors: tuple | None = None
) -> Pieces:
    r"""Weighted sums from the cross-products, in two passes over the groups: beta first, then what needs it.

    .. math:: W'V_0^{-1}W = W'W - \sum_i (H_iZ_i'W_i)'H_iZ_i'W_i, \qquad
        Z_i'V_0^{-1}W_i = Z_i'W_i - (Z_i'Z_iH_i')H_iZ_i'W_i, \qquad W = [X, y]

    Parameters
    ----------
    cross : CrossProducts
    data : Responses
        As many as there are L, or one for all.
    L : (B, q, q) array
        In the working basis; may be singular.
    beta : (B, p) array, optional
        Where the residuals are taken; by default the GLS estimate.
    factors : tuple, optional
        :func:`woodbury_factor` of all patterns, if it is known and there is one L.

    Returns
    -------
    Pieces
    """
    p, many = len(cross.x_names), max(len(L), len(data))
    patterns, index = cross.patterns
    ZtZ = patterns.transpose(1, 2, 0)[:, :, None]
    H, chol = (M[:, :, None] for M in factors) if factors else woodbury_factor(ZtZ, L.transpose(1, 2, 0)[..., None])
    ZtH = product("ab,cb->ac", ZtZ, H)
    A = ZtZ - product("ab,cb->ac", ZtH, ZtH)
    count = np.bincount(index, minlength=len(patterns)).astype(float)
    blocks = _blocks(cross.n_groups, many * len(cross.z_names) * (p + len(cross.z_names) + 1))

    total, HW = np.broadcast_to(data.WtW, (many, p + 1, p + 1)).copy(), []
    for block in blocks:
        HW.append(product("ab,bw->aw", _of(H, index, block), data.entries[..., block]))
        for row in HW[-1]:
            total -= gram(row, row)
    # R'R = X'V^-1 X, R beta = R'^-1 X'V^-1 y.
    R = np.swapaxes(_cholesky(total[:, :p, :p]), 1, 2)
    R_inverse = np.linalg.inv(R)
    explained = np.einsum("bxy,bx->by", R_inverse, total[:, :p, p])
    best = np.einsum("bxy,by->bx", R_inverse, explained)
    beta = best if beta is None else beta
    gap = np.einsum("bxy,by->bx", R, best - beta)

    to_Cu = np.zeros((many, p + 1, p + 1))  # from W = [X, y] to [X R^-1, r]
    to_Cu[:, :p, :p], to_Cu[:, :p, p], to_Cu[:, p, p] = R_inverse, -beta, 1.0
    sums: dict[str, np.ndarray] = {}
    for block, HW_block in zip(blocks, HW, strict=True):
        M = data.entries[..., block] - product("ab,bw->aw", _of(ZtH, index, block), HW_block)
        M = np.einsum("awzg,zwv->avzg", M, to_Cu)
        A_i, C, u = _of(A, index, block), M[:, :p], M[:, p]
        G, uu = product("ax,bx->ab", C, C), u[:, None] * u
        of_block = {
            "G": G.sum(axis=-1).transpose(2, 0, 1),
            "uu": uu.sum(axis=-1).transpose(2, 0, 1),
            "AG": gram(A_i, G),
            "Auu": gram(A_i, uu),
            "CC": gram(C, C),
            "Cu": gram(C, u),
        }
        sums = {name: sums.get(name, 0.0) + values for name, values in of_block.items()}
    return Pieces(
        beta=beta,
        gap=gap,
        r2=total[:, p, p] - (explained**2).sum(axis=1) + (gap**2).sum(axis=1),
        R_inverse=R_inverse,
        logdet_V=small.logdet(chol) @ count - cross.log_weights,
        logdet_X=2 * np.log(np.diagonal(R, axis1=1, axis2=2)).sum(axis=1) + 2 * cross.basis.logdet_x,
        A=(A @ count).transpose(2, 0, 1),
        AA=gram(A * count, A),
        **sums,
    )


def woodbury_factor(ZtZ: np.ndarray, L: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    r"""H with :math:`V_{0i}^{-1} = I - Z_iH'HZ_i'` at :math:`V_0 = I + ZLL'Z'`, and C, entries first.

    .. math:: H = C^{-1}L', \qquad CC' = I + L'Z_i'Z_iL, \qquad |CC'| = |V_{0i}|
    """
    S = small.product(small.transposed(L), small.product(ZtZ, L))
    np.einsum("aa...->a...", S)[...] += 1
    C = small.cholesky(S)
    return small.product(small.inverse_lower(C), small.transposed(L)), C


def _of(M: np.ndarray, index: np.ndarray, block: slice) -> np.ndarray:
    """The matrices of a block of groups, from those of the patterns."""
    return M[..., block] if M.shape[-1] == len(index) else np.take(M, index[block], axis=-1)


def _blocks(n_groups: int, width: int) -> list[slice]:
    """Groups in blocks of so many that what is formed for one of them stays small."""
    size = max(1, BLOCK // max(width, 1))
    return [slice(first, first + size) for first in range(0, n_groups, size)]
