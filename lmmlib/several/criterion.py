r"""The criterion of a model with several groupings as a function of theta, with exact derivatives.

With :math:`D_j = \sigma^2L_jL_j'` and :math:`V_0 = V/\sigma^2`, the first grouping is eliminated by its blocks

.. math:: J = (I + D_1C_{11})^{-1}, \qquad S = C - C_1'JD_1C_1, \qquad \log|V_1| = -\log|J|

which leaves :math:`S = W'V_1^{-1}W` for the columns W of the others and of X. With :math:`\Lambda` the factors of the
others, Q the inverse of the covariance of their standardised effects, and indices for blocks of S

.. math:: B = \Lambda'S_{ZZ}\Lambda + Q, \qquad H_0 = \Lambda B^{-1}\Lambda', \qquad
    X'V_0^{-1}X = S_{XX} - S_{XZ}H_0S_{ZX}, \qquad \log|V_0| = \log|V_1| + \log|B| - \log|Q|

H is :math:`H_0` and what X adds, and :math:`u = HW'V_1^{-1}y` are the random effects and beta at once. Derivatives by
the entries of each D are traces of blocks of :math:`Z'PZ`, which is :math:`S - SHS` for those that remain; they ask for
:math:`H_0` only where S has entries, so that S may be sparse.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from scipy import sparse

from lmmlib.common.small import factor
from lmmlib.design.basis import chunks
from lmmlib.equations.likelihood import LOG_2PI
from lmmlib.fitting.newton import Point
from lmmlib.several.sparse import Full, Sparse
from lmmlib.several.sums import SeveralSums

# With so many columns that remain the traces of products cost more than the rest of a step, and the average
# information, which needs vectors only, has their place in the search.
LARGE = 500
# Numbers of an array of one step.
ROOM = 2**22
# A singular value of an L that is raised to this where it must have an inverse.
LEAST = 1e-7
# Changes of D of which traces are differences, as a share of D and of what the rows of a group tell it by.
STEP = 3e-5


@dataclass(frozen=True, eq=False)
class State:
    """A model at its L (q, q) of each grouping, D over sigma2 being LL'; ``reml`` says whether X is taken out.

    Equations :eq:`several-schur`, :eq:`several-elimination`, :eq:`several-logdet` and :eq:`several-blocks` of the book.

    ``exact``: the Hessian, also of a large model.
    """

    sums: SeveralSums
    L: list[np.ndarray]
    reml: bool
    exact: bool = False

    @cached_property
    def D(self) -> list[np.ndarray]:
        """LL' of each grouping."""
        return [L @ L.T for L in self.L]

    @cached_property
    def J(self) -> np.ndarray:
        """(I + D_1 C_11)^-1 of each group of the first grouping, (n, q, q)."""
        return np.linalg.inv(np.eye(self.sums.first.q) + self.D[0] @ self.sums.C11)

    @cached_property
    def K(self) -> np.ndarray:
        """Z_i'V_1^-1 Z_i of each group of the first grouping, (n, q, q)."""
        return self.sums.C11 @ self.J

    @cached_property
    def G(self) -> np.ndarray:
        """J D_1, with V_1^-1 = I - Z_1 G Z_1', of each group of the first grouping, (n, q, q)."""
        return self.J @ self.D[0]

    @cached_property
    def S(self) -> np.ndarray:
        """W'V_1^-1 W, (m, m)."""
        return self.sums.C - self.sums.sandwich(self.G)

    @property
    def n_rest(self) -> int:
        """Random effects that remain; X has the last columns."""
        return len(self.sums.Cy) - self.sums.p

    @cached_property
    def Lambda(self) -> sparse.csr_array:
        """The factors of the effects that remain, (m - p, m - p)."""
        blocks = [sparse.kron(sparse.eye_array(g.n), L) for g, L in zip(self.sums.rest, self.L[1:], strict=True)]
        return sparse.block_diag([sparse.csr_array((0, 0)), *blocks], format="csr")

    @cached_property
    def SL(self) -> np.ndarray | sparse.csr_array:
        """S Lambda of the effects that remain, (m - p, m - p)."""
        return self.S[: self.n_rest, : self.n_rest] @ self.Lambda

    @cached_property
    def B(self) -> Full | Sparse:
        """Lambda' S Lambda + Q of the effects that remain, factorised."""
        B, plan = self.Lambda.T @ self.SL + self.sums.precision, self.sums.plan
        return Full(B) if plan is None else Sparse(plan, B)

    @cached_property
    def H0(self) -> np.ndarray | sparse.csr_array:
        """Lambda B^-1 Lambda', or where S is sparse its entries there, (m - p, m - p)."""
        return self.Lambda @ self.B.inverse @ self.Lambda.T

    @cached_property
    def _of_X(self) -> tuple[np.ndarray, np.ndarray]:
        r = self.n_rest
        S = sparse.csr_array(self.S[:, r:]).toarray()
        U = self.Lambda @ self.B.solve(self.Lambda.T @ S[:r])
        inverse = np.linalg.inv(np.linalg.cholesky(S[r:] - S[:r].T @ U)).T
        return inverse, np.concatenate([-U @ inverse, inverse])

    @property
    def R_inverse(self) -> np.ndarray:
        """The inverse of the upper factor of X'V_0^-1 X, (p, p)."""
        return self._of_X[0]

    @property
    def N(self) -> np.ndarray:
        """What X adds is N N', of as many rows as columns remain: V_0^-1 X R^-1 is V_1^-1 W N."""
        return self._of_X[1]

    @cached_property
    def inner(self) -> np.ndarray:
        """H, or by ML what it is without X, as a full matrix (m, m)."""
        inner = self.reml * self.N @ self.N.T
        inner[: self.n_rest, : self.n_rest] += self.H0
        return inner

    def pieces(self, rows) -> Iterator[slice]:
        """Some of many rows with as many columns as effects remain, one after the other."""
        return chunks(rows.shape[0], max(1, ROOM // (self.n_rest + 1)))

    def forms(self, v: sparse.csr_array, known: bool = False) -> np.ndarray:
        """v'Hv of each row of v (rows, m), (rows,); ``known``: without X."""
        of, X = v[:, : self.n_rest], 0.0 if known else ((v @ self.N) ** 2).sum(axis=1)
        if self.sums.plan is None:
            return np.concatenate([_rows(of[some] @ self.H0, of[some]) for some in self.pieces(of)]) + X
        there, found = (of != 0).astype(float), _rows(of @ self.H0, of)
        # The entries of H0 are those of the pattern, and others are asked for.
        asked = np.flatnonzero(_rows(there @ self.sums.plan.pattern, there) < there.sum(axis=1) ** 2)
        for some in self.pieces(asked):
            a = self.Lambda.T @ of[asked[some]].toarray().T
            found[asked[some]] = (a * self.B.solve(a)).sum(axis=0)
        return found + X

    def first_times(self, blocks: np.ndarray, v: np.ndarray) -> np.ndarray:
        """Blocks (n, q, q), one for each group of the first grouping, times rows v (n q, columns)."""
        return (blocks @ self.sums.first.per_group(v)).reshape(v.shape)

    def project(
        self, c1: np.ndarray, c: np.ndarray, known: bool = False
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Z_1'P v, W'P v, the effects u = H s and s = W'V_1^-1 v of vectors v, of which Z_1'v and W'v are given.

        ``known``: beta is, and V_0^-1 stands for P.
        """
        s = c - self.sums.C1.T @ self.first_times(self.G, c1)
        r, u = self.n_rest, np.zeros_like(s) if known else self.N @ (self.N.T @ s)
        u[:r] += self.Lambda @ self.B.solve(self.Lambda.T @ s[:r])
        return self.first_times(np.swapaxes(self.J, 1, 2), c1 - self.sums.C1 @ u), s - self.S @ u, u, s

    @cached_property
    def of_y(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """:meth:`project` of y."""
        return self.project(self.sums.C1y[:, None], self.sums.Cy[:, None])

    @property
    def beta(self) -> np.ndarray:
        """Fixed effects in the working basis, less those of least squares, (p,)."""
        return self.of_y[2][self.n_rest :, 0]

    @cached_property
    def Zr(self) -> list[np.ndarray]:
        """Z'P y of each grouping, (n q, 1)."""
        return self.sums.all_effects(*self.of_y[:2])

    @cached_property
    def ZX(self) -> list[np.ndarray]:
        """Z'V_0^-1 X R^-1 of each grouping, (n q, p)."""
        first = self.first_times(np.swapaxes(self.J, 1, 2), self.sums.C1 @ self.N)
        return self.sums.all_effects(first, self.S @ self.N)

    @cached_property
    def r2(self) -> float:
        """y'P y, the generalised residual sum of squares."""
        y, c1, (_, _, u, s) = self.sums.y, self.sums.C1y[:, None], self.of_y
        return float(y @ y - (c1 * self.first_times(self.G, c1)).sum() - (s * u).sum())

    @cached_property
    def h(self) -> float:
        """log|V_0|, by REML with log|X'V_0^-1 X|, in the basis of the formula."""
        sums, pivots = self.sums, -2 * np.log(np.diag(self.R_inverse))
        known = sum(g.q * g.known.logdet for g in sums.rest if g.known)
        total = self.B.logdet + known - np.linalg.slogdet(self.J)[1].sum() - sums.cross.log_weights
        return float(total + self.reml * (pivots.sum() + 2 * sums.cross.basis.logdet_x))

    # ---- derivatives by the entries alpha of each D over sigma2

    @cached_property
    def F(self) -> list[np.ndarray]:
        """C_1'J E_r J'C_1 of the entries of the first grouping, (m, m) each: what S loses with them."""
        return [self.sums.sandwich(self.J @ E @ np.swapaxes(self.J, 1, 2)) for E in self.sums.first.E]

    @cached_property
    def M(self) -> np.ndarray:
        """S - S H S: Z'P Z, by ML Z'V_0^-1 Z, of all groups that remain, (m, m)."""
        return self.S - self._SH @ self.S

    def among(self, j: int, l: int) -> np.ndarray:
        """Z_j'P Z_l (A x I) of two groupings that remain, (n_j, q_j, n_l, q_l)."""
        rest, places = self.sums.rest, self.sums.places
        out = self.M[places[j], places[l]].reshape(rest[j].n, rest[j].q, rest[l].n, rest[l].q)
        known = rest[l].known
        return out if known is None else np.einsum("gahb,hk->gakb", out, known.A)

    @cached_property
    def h_slope(self) -> np.ndarray:
        """tr(P Z_j (A x E_r) Z_j'), by ML with V_0^-1 for P, (k,)."""
        sums = self.sums
        K = self.K.sum(axis=0)
        out = [(K * E).sum() - self._against(F) for E, F in zip(sums.first.E, self.F, strict=True)]
        for j, g in enumerate(sums.rest):
            out += list(np.einsum("rab,ab->r", g.E, self.block(j)))
        return np.array(out)

    def _against(self, F: np.ndarray | sparse.csr_array) -> float:
        """The trace of F (m, m) and H, or by ML what it is without X."""
        return _dot(self.H0, F[: self.n_rest, : self.n_rest]) + self.reml * float((self.N * (F @ self.N)).sum())

    def block(self, j: int) -> np.ndarray:
        """Sum over the groups of a grouping that remains of the blocks of Z'P Z (A x I), (q, q).

        Without X this is, times L', that of :math:`B^{-1}\\Lambda'S`, of which a pattern is enough.
        """
        g, place = self.sums.rest[j], self.sums.places[j]
        if not is_large(self.sums):
            return np.einsum("gagb->ab", self.among(j, j))
        U, values, V = np.linalg.svd(self.L[j + 1])
        least = LEAST * max(1.0, values[0])
        if (values < least).any():  # the limit of such as have an inverse
            L = (U * np.maximum(values, 2 * least)) @ V
            return replace(self, L=[*self.L[: j + 1], L, *self.L[j + 2 :]]).block(j)
        inverse, SL = self.B.inverse[place], self.SL[place]
        found = np.array([[_dot(inverse[a :: g.q], SL[b :: g.q]) for b in range(g.q)] for a in range(g.q)])
        X, AX = (g.per_group(v) for v in (self.ZX[j + 1], g.times(np.eye(g.q), self.ZX[j + 1], True)))
        return np.linalg.solve(self.L[j + 1].T, found) - self.reml * np.tensordot(AX, X, ([0, 2], [0, 2]))

    @cached_property
    def _SH(self) -> np.ndarray:
        return self.S @ self.inner

    @cached_property
    def directions(self) -> list[np.ndarray]:
        """(A x E_r) Z_j'P y of each entry, among the effects of its grouping, (n q, k_j) each."""
        return self.along(self.Zr)

    def along(self, effects: list[np.ndarray]) -> list[np.ndarray]:
        """(A x E_r) v of the entries r of each grouping, one after the other, and its v (n q, columns)."""
        pairs = zip(self.sums.groupings, effects, strict=True)
        return [np.concatenate([v[:, :0], *(g.times(E, v, True) for E in g.E)], axis=1) for g, v in pairs]

    @cached_property
    def r2_slope(self) -> np.ndarray:
        """-y'P Z_j (A x E_r) Z_j'P y, (k,)."""
        return -np.concatenate([v[:, 0] @ t for v, t in zip(self.Zr, self.directions, strict=True)])

    @cached_property
    def r2_bend(self) -> np.ndarray:
        """2 y'P V_r P V_s P y with V_r = Z_j (A x E_r) Z_j', (k, k)."""
        return 2 * self.products(self.directions)

    def products(self, effects: list[np.ndarray]) -> np.ndarray:
        """v_r'P v_s of the vectors Z_j t of all columns t of the effects (n_j q_j, columns) of each grouping."""
        sums, ends = self.sums, np.cumsum([0, *(t.shape[1] for t in effects)])
        t1, t = np.zeros((len(sums.C1y), ends[-1])), np.zeros((len(sums.Cy), ends[-1]))
        t1[:, : ends[1]] = effects[0]
        for place, start, part in zip(sums.places, ends[1:-1], effects[1:], strict=True):
            t[place, start : start + part.shape[1]] = part
        Z1, W = self.images(t1, t)
        return t1.T @ Z1 + t.T @ W

    def images(self, t1: np.ndarray, t: np.ndarray, known: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Z_1'P v and W'P v of vectors v = Z_1 t_1 + W t; ``known`` as :meth:`project` takes it."""
        c1 = self.first_times(self.sums.C11, t1) + self.sums.C1 @ t
        return self.project(c1, self.sums.C1.T @ t1 + self.sums.C @ t, known)[:2]

    @cached_property
    def traces(self) -> np.ndarray:
        """tr(P V_r P V_s), by ML with V_0^-1 for P, (k, k)."""
        if self.sums.plan is not None:
            return self._traces_by_differences()
        sums, at = self.sums, self.sums.theta_places
        T = np.zeros((at[-1].stop,) * 2)
        T[at[0], at[0]] = self._traces_first()
        for j, g in enumerate(sums.rest):
            for r, F in enumerate(self.F):  # (I - S H) F (I - H S) is Z'P Z_1 E_r Z_1'P Z
                half = F[sums.places[j]] - self._SH[sums.places[j]] @ F
                own = (half - (half @ self.inner) @ self.S)[:, sums.places[j]].reshape(g.n, g.q, g.n, g.q)
                own = np.einsum("gahb,hg->ab", own, g.known.A) if g.known else np.einsum("gagb->ab", own)
                T[r, at[j + 1]] = T[at[j + 1], r] = np.einsum("sab,ab->s", g.E, own)
            for l, other in enumerate(sums.rest):
                G = np.einsum("gbhc,hdga->bcda", self.among(j, l), self.among(l, j), optimize=True)
                T[at[j + 1], at[l + 1]] = np.einsum("bcda,rab,scd->rs", G, g.E, other.E)
        return T

    def _traces_by_differences(self) -> np.ndarray:
        """How tr(P V_r) falls along positive semidefinite changes of D, of which the E_r are combinations."""
        sums, here = self.sums, self.h_slope
        C, T = np.zeros((len(here),) * 2), list[np.ndarray]()
        for j, (g, D, at) in enumerate(zip(sums.groupings, self.D, sums.theta_places, strict=True)):
            h = STEP * (np.abs(D).max(initial=0.0) + g.n / sums.n_obs)
            for E in g.E:
                F = E if np.diag(E).any() else E + np.diag(np.abs(E).sum(axis=0))
                C[len(T), at] = g.entries(F)
                Ls = ([*self.L[:j], factor(D + t * h * F), *self.L[j + 1 :]] for t in (1, 2))
                one, two = (State(sums, L, self.reml).h_slope for L in Ls)
                T.append((3 * here - 4 * one + two) / (2 * h))
        found = np.linalg.solve(C, np.array(T))
        return (found + found.T) / 2

    def _traces_first(self) -> np.ndarray:
        """The traces of the grouping that is eliminated."""
        E, Jt, HF = self.sums.first.E, np.swapaxes(self.J, 1, 2), [self.inner @ F for F in self.F]
        T = np.zeros((len(E), len(E)))
        for r, s in zip(*np.tril_indices(len(E)), strict=True):
            both = E[r] @ self.K @ E[s]
            beside = self.sums.sandwich(self.J @ (both + np.swapaxes(both, 1, 2)) @ Jt)
            own = np.einsum("gab,gba->", self.K, both)
            T[r, s] = T[s, r] = own + (HF[r] * HF[s].T).sum() - (self.inner * beside).sum()
        return T

    @property
    def _bend(self) -> np.ndarray:
        """The traces, or of a large model what they are on average."""
        return self.traces if self.exact or not is_large(self.sums) else self.r2_bend * self.m / (2 * self.r2)

    @property
    def m(self) -> int:
        """What sigma2 is a mean over: N for ML, N - p for REML."""
        return self.sums.n_obs - (self.sums.p if self.reml else 0)

    def criterion(self) -> tuple[float, np.ndarray, np.ndarray]:
        """The profiled criterion, its gradient (k,) and Hessian (k, k) by the entries of each D over sigma2."""
        m = self.m
        slope = self.r2_slope / self.r2
        bend = m * (self.r2_bend / self.r2 - np.outer(slope, slope)) - self._bend
        return self.h + m * (1 + LOG_2PI + np.log(self.r2 / m)), self.h_slope + m * slope, bend

    def at_sigma2(self, s: float) -> tuple[float, np.ndarray, np.ndarray]:
        """The criterion with sigma2 = s, with derivatives by the entries of each D over sigma2 and by log s."""
        value = self.h + self.m * (LOG_2PI + np.log(s)) + self.r2 / s
        slope = np.append(self.h_slope + self.r2_slope / s, self.m - self.r2 / s)
        side = -self.r2_slope[:, None] / s
        bend = np.block([[self.r2_bend / s - self._bend, side], [side.T, np.array([[self.r2 / s]])]])
        return value, slope, bend


def is_large(sums: SeveralSums) -> bool:
    """Whether the search has the average information."""
    return sums.plan is not None or len(sums.Cy) > LARGE


def _rows(M, v: sparse.csr_array) -> np.ndarray:
    """Products of the rows of M and v, (rows,)."""
    return np.asarray(v.multiply(M).sum(axis=1)).ravel()


def _dot(A, B) -> float:
    """The sum of all products of entries."""
    return float((A.multiply(B) if sparse.issparse(A) else A * B).sum())


def factors(sums: SeveralSums, theta: np.ndarray) -> list[np.ndarray]:
    """L of each grouping at theta (k,)."""
    return [np.tensordot(theta, dL, 1) for dL in sums.dL]


def criterion(sums: SeveralSums, method: str, theta: np.ndarray, exact: bool = False) -> Point:
    """The profiled criterion at theta (1, k) as a point of :func:`lmmlib.fitting.newton.newton`.

    Equations :eq:`several-criterion` and :eq:`several-gradient` of the book.
    """
    state = State(sums, factors(sums, theta[0]), method == "REML", exact)
    return point(theta, state, sums.dL, State.criterion)


def point(theta: np.ndarray, state: Any, dL: list[np.ndarray], function: Callable, bent=None) -> Point:
    r"""Value and derivatives by theta (1, k) of a function of the entries alpha of each D over sigma2.

    As D is quadratic in L, a second derivative adds the first one along :math:`\dot L_k\dot L_l' + \dot L_l\dot L_k'`.

    Parameters
    ----------
    theta, state
        Where: of a state only its sums and L are asked.
    dL : list
        Derivatives of the L of each grouping, (k, q, q) arrays.
    function : callable
        Of the state: value, slope and bend by alpha, and by what else theta has, after them.
    bent : list, optional
        Second derivatives of each L, (k, k, q, q), where it is not linear.
    """
    try:
        with np.errstate(invalid="ignore", divide="ignore"):
            value, slope, bend = function(state)
    except np.linalg.LinAlgError:
        value = np.nan
    k = theta.shape[1]
    if not np.isfinite(value):
        return Point(theta, np.array([np.nan]), np.zeros((1, k)), np.eye(k)[None])
    blocks, second, more = [], np.zeros((k, k)), bent or [np.zeros(d.shape[1:]) for d in dL]
    for g, at, L, d, dd in zip(state.sums.groupings, state.sums.theta_places, state.L, dL, more, strict=True):
        once, twice = d @ L.T, np.einsum("kac,lbc->klab", d, d) + dd @ L.T
        blocks.append(g.entries(once + np.swapaxes(once, 1, 2)).T)
        second += g.entries(twice + np.swapaxes(twice, 2, 3)) @ slope[at]
    extra = len(slope) - state.sums.theta_places[-1].stop
    J = np.concatenate([*blocks, np.eye(k)[k - extra :]])
    return Point(theta, np.array([value]), (J.T @ slope)[None], (J.T @ bend @ J + second)[None])
