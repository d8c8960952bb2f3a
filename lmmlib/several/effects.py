r"""Random effects of every grouping, and the errors of whatever is a combination of them and the fixed effects.

The effects of the grouping that is eliminated and of the columns that remain, X among them, have errors with covariance
:math:`\sigma^2` times the inverse of the coefficients of the mixed model equations. Of a combination with weights
:math:`a_1` and :math:`a` this leaves

.. math:: \sigma^2\big(a_1'Ga_1 + v'Hv\big), \qquad v = a - C_1'Ga_1

in the letters of :mod:`lmmlib.several.criterion`. With H less what X adds to it, beta is taken as known.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import sparse

from lmmlib.common.arguments import checked_choice
from lmmlib.common.tails import half_width
from lmmlib.inference.parametrised import Groups
from lmmlib.several.criterion import State
from lmmlib.several.fitted import SeveralFitted
from lmmlib.several.sums import Grouping

ERRORS = ("known", "pev", "corrected")


def predictions(state: State) -> list[np.ndarray]:
    """(A x D)Z'V^-1(y - X beta) of each grouping in its working basis, (n q, 1)."""
    return [g.times(D, v, True) for g, D, v in zip(state.sums.groupings, state.D, state.Zr, strict=True)]


def rest_of(state: State, y: np.ndarray) -> np.ndarray:
    """P_0 y of standard rows (n_obs, B): what is left of y without the fixed and random effects."""
    sums = state.sums
    first, rest, u, _ = state.project(sums.first.columns.T @ y, sums.W.T @ y)
    of = zip(sums.groupings, state.D, sums.all_effects(first, rest), strict=True)
    p = sums.p
    y = y - sum(g.columns @ g.times(D, v, True) for g, D, v in of)
    return y - sums.W[:, sums.W.shape[1] - p :] @ u[len(u) - p :] if p else y


def groups(fit: SeveralFitted) -> list[Groups]:
    r"""The groups of each grouping, and what they say of the fixed effects.

    With :math:`U = V_1^{-1}W` the rows and columns of a group are :math:`V_0^{-1} = V_1^{-1} - UH_0U'`, and
    :math:`V_0^{-1}XR^{-1} = UN`, in the letters of :mod:`lmmlib.several.criterion`.
    """
    state, sums, sigma = fit.state, fit.state.sums, np.sqrt(fit.sigma2)
    G, Z1 = sums.block_diagonal(state.G), sums.first.columns
    GC, e = (G @ sums.C1).tocsr(), rest_of(state, fit.design.standard_rows(fit.design.y[:, None])[0])
    B, found = sigma * sums.cross.basis.x_back @ state.R_inverse, {}
    for g in sums.groupings:
        own, score = np.zeros((g.n, sums.p, sums.p)), np.zeros((g.n, sums.p))
        order = np.argsort(g.codes, kind="stable")
        for i, rows in enumerate(np.split(order, np.cumsum(np.bincount(g.codes, minlength=g.n))[:-1])):
            z = Z1[rows]
            U = sums.W[rows] - z @ GC
            UL, UN = (U[:, : state.n_rest] @ state.Lambda).toarray(), U @ state.N
            V = np.eye(len(rows)) - (z @ G @ z.T).toarray() - UL @ state.B.solve(UL.T)
            both = np.linalg.solve(V, np.column_stack([UN, e[rows] / sigma]))
            own[i], score[i] = UN.T @ both[:, :-1], UN.T @ both[:, -1]
        found[g.name] = Groups(g.name, g.names, g.codes, own, score, B)
    return [found[name] for name in fit.terms.names]


def as_weights(state: State, rows: list[sparse.csr_array], X: np.ndarray) -> tuple[sparse.csr_array, sparse.csr_array]:
    """a_1 (rows, n q) and a (rows, m) from the weights of the effects of each grouping, and of beta (rows, p)."""
    x = sparse.csr_array(state.sums.cross.basis.x_work(X))
    return rows[0].tocsr(), sparse.hstack([*rows[1:], x], format="csr")


def error_variances(state: State, first: sparse.csr_array, rest: sparse.csr_array, known: bool = False) -> np.ndarray:
    """Variances over sigma2 of the errors of combinations (rows,); ``known``: beta is. Equation :eq:`several-error`."""
    aG = first @ state.sums.block_diagonal(state.G)
    v = (rest - aG @ state.sums.C1).tocsr()
    found = np.asarray(aG.multiply(first).sum(axis=1)).ravel()
    return np.maximum(found + state.forms(v, known), 0.0)


def estimation_variances(
    fit: SeveralFitted, first: sparse.csr_array, rest: sparse.csr_array, known: bool = False
) -> np.ndarray:
    r"""What estimating the variances by REML adds to :func:`error_variances`, to first order, (rows,).

    .. math:: \sum_{r,s}W_{rs}\,m_r'Pm_s, \qquad m_r = Z_j(A_j \otimes E_r)(a_j - Z_j'\lambda)

    with :math:`\lambda'y` the prediction and W the covariance of the entries of each D over sigma2, by the expected
    information (Kackar and Harville 1984); ``known``: beta is, so that :math:`V^{-1}` is in the place of P.
    """
    state, sums, found = fit.state, fit.state.sums, np.empty(first.shape[0])
    values, vectors = np.linalg.eigh(fit.expected.relative_A[:-1, :-1])
    for some in state.pieces(first):
        left = sums.all_effects(*state.project(first[some].T.toarray(), rest[some].T.toarray(), known)[:2])
        found[some] = 0.0
        for value, vector in zip(values, vectors.T, strict=True):
            mixed = [np.tensordot(vector[at], g.E, 1) for g, at in zip(sums.groupings, sums.theta_places, strict=True)]
            t1, *others = (g.times(E, v, True) for g, E, v in zip(sums.groupings, mixed, left, strict=True))
            t = np.concatenate([*others, np.zeros((sums.p, t1.shape[1]))])
            Z1, W = state.images(t1, t, known)
            found[some] += value * ((t1 * Z1).sum(axis=0) + (t * W).sum(axis=0))
    return found


def effect_rows(g: Grouping, columns: slice, Z: np.ndarray, group: np.ndarray) -> sparse.csr_array:
    """The weights (rows, n q) of rows Z in the working basis of one term; a group of -1 has none."""
    seen = group >= 0
    index = np.where(seen, group, 0)[:, None] * g.q + np.arange(columns.start, columns.stop)
    pointer = np.arange(len(Z) + 1) * Z.shape[1]
    return sparse.csr_array(((Z * seen[:, None]).ravel(), index.ravel(), pointer), (len(Z), g.n * g.q))


def random_effects(fit: SeveralFitted, level: float = 0.95, *, error: str = "pev") -> pd.DataFrame:
    r"""Best linear unbiased predictions of the random effects of every term, with their errors.

    .. math:: \hat b_t = (A_t \otimes D_t)Z_t'V^{-1}(y - X\hat\beta)

    Parameters
    ----------
    fit : SeveralFit
    level : float
        Coverage of each interval by itself.
    error : {"pev", "known", "corrected"}
        By which of the errors the limits are: with beta estimated, with all parameters known, or with the variances
        estimated too, :eq:`prasad-rao`.

    Returns
    -------
    DataFrame
        Columns ``grouping``, ``group``, ``term``, ``estimate``, ``se_known``, ``se_pev``, ``lower``, ``upper``;
        and ``se_corrected``, which takes longer, if it is asked for.
    """
    checked_choice("error", error, ERRORS)
    state, reach = fit.state, half_width(level)
    tables = {}
    for j, (g, b) in enumerate(zip(state.sums.groupings, predictions(state), strict=True)):
        for number, basis, columns in zip(g.numbers, g.bases, g.slices, strict=True):
            names, q = fit.terms.terms[number].design.z_names, columns.stop - columns.start
            group, Z = np.repeat(np.arange(g.n), q), np.tile(basis.z_back, (g.n, 1))
            rows = [sparse.csr_array((len(group), one.n * one.q)) for one in state.sums.groupings]
            rows[j] = effect_rows(g, columns, Z, group)
            first, rest = as_weights(state, rows, np.zeros((len(group), state.sums.p)))
            variances = {name: error_variances(state, first, rest, name == "known") for name in ERRORS[:2]}
            if error == "corrected":
                more = estimation_variances(fit, first, rest, known=True)
                variances["corrected"] = variances["pev"] + 2 * more
            se = {f"se_{name}": fit.sigma2 * variance for name, variance in variances.items()}
            frame = pd.DataFrame({"grouping": g.name, "group": pd.Series(list(g.names), dtype=object).repeat(q).array})
            frame["term"], frame["estimate"] = np.tile(np.array(names, object), g.n), rows[j] @ b[:, 0]
            tables[number] = frame.assign(**{name: np.sqrt(v) for name, v in se.items()})
    table = pd.concat([tables[number] for number in sorted(tables)], ignore_index=True)
    width = reach * table[f"se_{error}"]
    return table.assign(lower=table["estimate"] - width, upper=table["estimate"] + width)
