r"""What the data can tell of the variances of several groupings, and where the search for them starts.

The inner products :math:`\operatorname{tr}(P_0V_rP_0V_s)`, with :math:`P_0` the projection that takes out X at V = I
and :math:`V_r` the derivatives of V by its parameters, have full rank exactly if the parameters are identified, as
:mod:`lmmlib.design.identify` explains. With :math:`e'V_re` of the residuals e of least squares they also give
MINQUE(0), from which the search starts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from lmmlib.common.small import vech
from lmmlib.errors import DesignError
from lmmlib.several.sums import SeveralSums

# An eigenvalue of the inner products of directions of length one that is zero up to rounding.
NO_CHANGE = 1e-11
# A square that is the rounding of a column that depends on others, beside the largest.
NOTHING = 1e-25
# Variances of the start are at least this share of sigma2; at zero the gradient vanishes and nothing moves.
LEAST_START = 0.01
# Share of a direction that changes unseen from which a parameter is named.
NAMED = 1e-6


@dataclass(frozen=True, eq=False)
class Inner:
    """``plain`` tr(V_r V_s) and ``taken`` tr(P0 V_r P0 V_s), (k, k) with sigma2 last; ``square``, e'V_r e, (k,)."""

    plain: np.ndarray
    taken: np.ndarray
    square: np.ndarray


def inner(sums: SeveralSums) -> Inner:
    """The inner products of the derivatives of V by the entries of each D, and by sigma2."""
    Z = sparse.hstack([g.columns for g in sums.groupings], format="csr")
    Q = sums.W[:, [*range(sums.W.shape[1] - sums.p, sums.W.shape[1])]] / np.sqrt(sums.n_obs)
    C, c, e = (Z.T @ Z).tocsr(), (Z.T @ Q).toarray(), Z.T @ sums.y
    ends = np.cumsum([0, *(g.n * g.q for g in sums.groupings)])
    E = []
    for g, start, end in zip(sums.groupings, ends[:-1], ends[1:], strict=True):
        A = sparse.csr_array(g.known.A) if g.known else sparse.eye_array(g.n, format="csr")
        before, after = (sparse.csr_array((rows, rows)) for rows in (start, ends[-1] - end))
        E += [sparse.block_diag([before, sparse.kron(A, one), after], format="csr") for one in g.E]
    EC, Ec = [M @ C for M in E], [M @ c for M in E]
    turned, k = [M.T.tocsr() for M in EC], len(E) + 1
    plain, taken = np.full((k, k), float(sums.n_obs)), np.full((k, k), float(sums.n_obs - sums.p))
    for r in range(k - 1):
        plain[r, -1] = plain[-1, r] = EC[r].trace()
        taken[r, -1] = taken[-1, r] = plain[r, -1] - (c * Ec[r]).sum()
        for s in range(r + 1):
            plain[r, s] = plain[s, r] = EC[r].multiply(turned[s]).sum()
            both = ((c.T @ Ec[r]) * (c.T @ Ec[s])).sum()
            taken[r, s] = taken[s, r] = plain[r, s] - 2 * (Ec[r] * (C @ Ec[s])).sum() + both
    return Inner(plain, taken, np.array([*(e @ (M @ e) for M in E), sums.y @ sums.y]))


def start(sums: SeveralSums, found: Inner) -> np.ndarray:
    """Theta (k,) from MINQUE(0), each D at least ``LEAST_START``."""
    alpha = np.linalg.lstsq(found.taken, found.square, rcond=None)[0]
    sigma2 = max(alpha[-1], 0.05 * found.square[-1] / sums.n_obs) or 1.0
    theta = np.zeros(len(alpha) - 1)
    for g, at in zip(sums.groupings, sums.theta_places, strict=True):
        own = theta[at]
        for part, columns, number in zip(g.parts, g.slices, g.numbers, strict=True):
            B, E, entries = g.B[part, columns, columns], g.E[part, columns, columns], alpha[at][part] / sigma2
            if sums.design.terms[number].design.diagonal:
                own[part] = np.sqrt(np.maximum(entries, LEAST_START))
                continue
            values, vectors = np.linalg.eigh(np.tensordot(entries, E, 1))
            L = np.linalg.cholesky((vectors * np.maximum(values, LEAST_START)) @ vectors.T)
            own[part] = np.einsum("kab,ab->k", B, L)
    return theta


def names(sums: SeveralSums) -> list[str]:
    """Names of the entries of theta and D in the order of the groupings, such as ``D[x, (Intercept)] | subject``."""
    found = []
    for g in sums.groupings:
        for number in g.numbers:
            z, diagonal = sums.design.terms[number].design.z_names, sums.design.terms[number].design.diagonal
            found += [f"D[{z[a]}, {z[b]}] | {g.name}" for a, b in vech(len(z), diagonal)]
    return [*found, "sigma2"]


def require_seen(sums: SeveralSums, found: Inner) -> None:
    """Raise unless what the fixed effects leave of the data tells all variance parameters apart.

    Raises
    ------
    DesignError
        Names the parameters, with what is likely to be the reason and what helps.
    """
    for g in sums.groupings:
        if g.n == 1 and g.q:
            raise DesignError(
                f"there is a single group of {g.name!r} ({g.names[0]!r}), which says nothing of how groups vary; leave "
                "its random term out"
            )
    squares = np.diag(found.plain)
    unit = np.sqrt(np.where(squares > NOTHING * squares.max(), squares, np.inf))
    values, vectors = np.linalg.eigh(found.taken / np.outer(unit, unit))
    lost = vectors[:, values < NO_CHANGE * len(values)]
    if not lost.shape[1]:
        return
    which = [name for name, row in zip(names(sums), lost, strict=True) if np.abs(row).max() > NAMED]
    raise DesignError(f"the data do not identify {', '.join(which)}: {_reason(sums, which)}")


def _reason(sums: SeveralSums, which: list[str]) -> str:
    """What is likely to be the reason, and what helps."""
    own = [g for g in sums.groupings if any(name.endswith(f"| {g.name}") for name in which)]
    for g in own:
        if "sigma2" in which and g.known is None and np.bincount(g.codes).max() <= g.q:
            return (
                f"each group of {g.name!r} has no more than {g.q} row{'s' * (g.q > 1)}, so that its random effects and "
                "the residuals are one thing; leave its random term out"
            )
        for other in own:
            pairs = len(np.unique(g.codes * other.n + other.codes))
            if other is not g and pairs == len(np.unique(g.codes)) == len(np.unique(other.codes)):
                return (
                    f"{g.name!r} and {other.name!r} divide the rows into the same groups, so that their random effects "
                    "are one thing; leave one of the terms out"
                )
    return (
        "what the fixed effects leave of the data has the same variance when they change together, as it has when a "
        "grouping is also a fixed effect, when two terms have the same column, or when its groups are too small; "
        "leave one of the terms out"
    )
