r"""Sums over groups that a deviance and its derivatives are made of, for many L or many responses at once.

Matrices of one group are small and groups are many, so arrays have the two indices of the entry first, then the
response, then the group: an operation then runs along all groups.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from math import prod

import numpy as np

from lmmlib.design import CrossProducts
from lmmlib.entries import inverse_cholesky
from lmmlib.responses import Responses

# Numbers in the largest array that is formed for a block of groups: about what a processor's cache holds.
BLOCK = 200_000


def product(subscripts: str, A: np.ndarray, B: np.ndarray) -> np.ndarray:
    """Products of the small matrices of all responses and groups, whose entries are the first two axes."""
    one, other, result = subscripts.replace("->", ",").split(",")
    return np.einsum(f"{one}zg,{other}zg->{result}zg", A, B)


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
    ZtZ, L = patterns.transpose(1, 2, 0)[:, :, None], L.transpose(1, 2, 0)[..., None]
    half, logdet = _half(ZtZ, L)
    ZtH = product("ab,cb->ac", ZtZ, half)
    A = product("ab,cb->ac", ZtH, ZtH)
    np.subtract(ZtZ, A, out=A)
    count = np.bincount(index, minlength=len(patterns)).astype(float)
    blocks = _blocks(cross.n_groups, many * q * (p + q + 1))

    total, HW = np.broadcast_to(data.WtW, (many, p + 1, p + 1)).copy(), []
    for block in blocks:
        HW.append(product("ab,bw->aw", _of(half, index, block), data.entries[..., block]))
        for row in HW[-1]:
            total -= gram(row, row)
    R = np.swapaxes(_cholesky(total[:, :p, :p]), 1, 2)
    R_inverse = np.linalg.inv(R)
    explained = np.einsum("bxy,bx->by", R_inverse, total[:, :p, p])
    beta = np.einsum("bxy,by->bx", R_inverse, explained)

    shapes = [(q, q)] * 2 + [(q, q, q, q)] * 2 + [(q, p, q, p), (q, p, q)]
    G, uu, AG, Auu, CC, Cu = [np.zeros((many, *shape)) for shape in shapes]
    to_Cu = np.zeros((many, p + 1, p + 1))  # from W = [X, y] to [X R^-1, r]
    to_Cu[:, :p, :p], to_Cu[:, :p, p], to_Cu[:, p, p] = R_inverse, -beta, 1.0
    for block, HW_block in zip(blocks, HW, strict=True):
        M = data.entries[..., block] - product("ab,bw->aw", _of(ZtH, index, block), HW_block)
        M = np.einsum("awzg,zwv->avzg", M, to_Cu)
        A_i, C, u = _of(A, index, block), M[:, :p], M[:, p]
        G_i, uu_i = product("ax,bx->ab", C, C), u[:, None] * u
        for total_of_groups, values in ((G, G_i), (uu, uu_i)):
            total_of_groups += values.sum(axis=-1).transpose(2, 0, 1)
        for total_of_groups, one, other in ((AG, A_i, G_i), (Auu, A_i, uu_i), (CC, C, C), (Cu, C, u)):
            total_of_groups += gram(one, other)
    return Pieces(
        beta,
        total[:, p, p] - (explained**2).sum(axis=1),
        R_inverse,
        logdet @ count - cross.log_weights,
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
    S = product("ba,bc->ac", L, product("ab,bc->ac", ZtZ, L))
    S[np.diag_indices(len(L))] += 1
    inverse, logdet = inverse_cholesky(S)
    return product("ab,cb->ac", inverse, L), logdet


def _of(M: np.ndarray, index: np.ndarray, block: slice) -> np.ndarray:
    """The matrices of a block of groups, from those of the patterns."""
    return M[..., block] if M.shape[-1] == len(index) else np.take(M, index[block], axis=-1)


def _blocks(n_groups: int, width: int) -> list[slice]:
    """Groups in blocks of so many that what is formed for one of them stays small."""
    size = max(1, BLOCK // max(width, 1))
    return [slice(first, first + size) for first in range(0, n_groups, size)]
