r"""A joint log-density written with PyTensor, and the compiled derivatives that Laplace's approximation needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lmmlib.equations.likelihood import LOG_2PI
from lmmlib.errors import ParameterError


@dataclass(frozen=True, eq=False)
class Compiled:
    """Functions of b (n, q) and psi (P,): value, gradient and blocks; likelihood; mixed derivatives; a product."""

    inner: Callable
    outer: Callable
    cross: Callable
    along: Callable


def compile_joint(log_joint: Callable, start: dict[str, np.ndarray], n_groups: int, q: int) -> Compiled:
    """The graphs of all derivatives, each compiled for NumPy: no C compiler is needed, and none is waited for."""
    try:
        import pytensor
        import pytensor.tensor as pt
        from pytensor.graph.rewriting.basic import dfs_rewriter
        from pytensor.graph.rewriting.utils import rewrite_graph
        from pytensor.tensor.rewriting.math import local_pow_specialize
    except ImportError:
        raise ImportError("lmmlib.laplace needs PyTensor, which comes with PyMC: pip install pymc") from None
    psi, w, d = pt.dvector("psi"), pt.dmatrix("w"), pt.dvector("d")
    b = pt.tensor("b", dtype="float64", shape=(n_groups, q))  # a fixed shape, so that (n, 1) broadcasts
    parameters, at = {}, 0
    for name, value in start.items():
        part = psi[at : at + value.size]
        parameters[name] = part.reshape(value.shape) if value.ndim else part[0]
        at += value.size
    f = pt.as_tensor_variable(log_joint(b, **parameters))
    if f.ndim:
        raise ParameterError(f"log_joint must return one number, summed over rows and groups; got {f.ndim} dimensions")
    # b**2 as a square: the third derivative of a power is 0 times infinity where b is zero.
    squares = dfs_rewriter(local_pow_specialize)
    f = rewrite_graph(f, include=("canonicalize",), exclude=("constant_folding",), custom_rewrite=squares)

    def by(value, variable):
        return pytensor.grad(value, variable, disconnected_inputs="ignore")

    g = by(f, b)
    H = [-by(g[:, k].sum(), b) for k in range(q)]
    C = _cholesky(pt, [[row[:, l] for l in range(q)] for row in H])
    logdet = 2 * sum(pt.log(C[k][k]).sum() for k in range(q))
    value = f - logdet / 2
    # H^-1 times how the logarithm of the determinant changes with b: the modes' share in the gradient.
    v = pytensor.gradient.disconnected_grad(_solve(pt, C, by(-logdet / 2, b)))
    gradient = by(value, psi) + by((v * g).sum(), psi)
    constant = n_groups * q / 2 * LOG_2PI

    def compiled(inputs, outputs):
        # Each operation by NumPy, the graph as it is: rewriting it takes longer than a fit gains by it.
        mode = pytensor.compile.mode.Mode("py", None)
        return pytensor.function(inputs, outputs, mode=mode, on_unused_input="ignore")

    cross = by((by((w * g).sum(), psi) * d).sum(), w)
    mixed = compiled([b, psi, w, d], cross)
    return Compiled(
        inner=compiled([b, psi], [f, g, pt.stack(H, axis=1)]),
        outer=compiled([b, psi], [value + constant, gradient]),
        cross=lambda b, psi, d: mixed(b, psi, np.zeros_like(b), d),
        along=compiled([b, psi, w], by((g * w).sum(), b)),
    )


def _cholesky(pt, H: list[list]) -> list[list]:
    """Entries of the Cholesky factors of all blocks: each entry a vector over groups."""
    C: list[list] = [[None] * len(H) for _ in H]
    for j in range(len(H)):
        C[j][j] = pt.sqrt(H[j][j] - sum(C[j][m] ** 2 for m in range(j)))
        for i in range(j + 1, len(H)):
            C[i][j] = (H[i][j] - sum(C[i][m] * C[j][m] for m in range(j))) / C[j][j]
    return C


def _solve(pt, C: list[list], g):
    """H^-1 g for all groups, (n, q)."""
    q = len(C)
    half: list = []
    for i in range(q):
        half.append((g[:, i] - sum(C[i][m] * half[m] for m in range(i))) / C[i][i])
    out: list = [None] * q
    for i in reversed(range(q)):
        out[i] = (half[i] - sum(C[m][i] * out[m] for m in range(i + 1, q))) / C[i][i]
    return pt.stack(out, axis=1)
