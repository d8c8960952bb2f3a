r"""The full conditional distributions of the Bayesian mixed model, each a function of sums over groups.

In the working basis and for many chains at once. A chain's D is held as a factor F with D = FF', so that a D near zero
or near singular costs no digits. Equations :eq:`full-conditional-beta`, :eq:`full-conditional-b`,
:eq:`full-conditional-sigma2` and :eq:`full-conditional-D` of the book.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from lmmlib.bayes.priors import Flat, HuangWand, Normal, Priors, Zellner
from lmmlib.bayes.rotation import Rotated
from lmmlib.bayes.scales import Scale
from lmmlib.common.small import (
    bartlett,
    gram,
    inverse_wishart_factor,
    product,
    square,
    transposed,
)
from lmmlib.design.cross import CrossProducts
from lmmlib.equations.pieces import woodbury_factor


@dataclass(frozen=True, eq=False)
class Model:
    """Data and priors in the working basis: what a sweep needs besides the state of the chains.

    ``columns`` (q, q) are the columns that a prior of Huang and Wand is about, in the working basis. ``precision``
    (p, p) is the inverse covariance of a normal prior of beta, ``relative`` (p, p) that of Zellner's times sigma2;
    zeros if there is none. ``prior_mean`` (p, B) is one for each response.
    """

    data: Rotated
    Rz: np.ndarray
    columns: np.ndarray
    diagonal: bool
    sigma: Scale
    D: Scale
    prior_mean: np.ndarray
    precision: np.ndarray
    relative: np.ndarray

    @classmethod
    def of(cls, cross: CrossProducts, priors: Priors, data: Rotated) -> Model:
        """The model of cross-products and of resolved priors."""
        p, q, beta, basis = len(cross.x_names), len(cross.z_names), priors.beta, cross.basis
        mean = np.zeros((p, 1)) if isinstance(beta, Flat) else (basis.Rx @ beta.mean)[:, None] - data.beta0.T
        precision, relative = np.zeros((p, p)), np.zeros((p, p))
        if isinstance(beta, Normal):
            half = np.linalg.inv(basis.Rx @ np.linalg.cholesky(beta.cov)) if p else precision
            precision = half.T @ half
        elif isinstance(beta, Zellner):
            relative = beta.delta * cross.work.XtX
        diagonal = cross.diagonal or q == 1
        sigma, D = Scale.of_sigma(priors.sigma), Scale.of_D(priors.D, q, diagonal)
        columns = np.eye(q) if isinstance(priors.D, HuangWand) and priors.D.orthogonal else basis.Rz
        return cls(data, basis.Rz, columns, diagonal, sigma, D, mean, precision, relative)

    @property
    def has_zellner(self) -> bool:
        """Whether the prior of beta depends on sigma2."""
        return bool(self.relative.any())


@dataclass(frozen=True, eq=False)
class State:
    """Where C chains are, in the working basis, chains last: beta (p, C), F (q, q, C), sigma2 (C,).

    ``rates_sigma`` (1, C) and ``rates_D`` (q, C) are 1/a of the scale mixtures, zero without one.
    """

    beta: np.ndarray
    F: np.ndarray
    sigma2: np.ndarray
    rates_sigma: np.ndarray
    rates_D: np.ndarray


@dataclass(frozen=True, eq=False)
class Effects:
    """Rotated random effects b (q, C, n), and of those without data the sum of squares (q, q, C) and its part of the
    residual one (C,).
    """

    b: np.ndarray
    squares: np.ndarray
    residual: np.ndarray

    def sum_of_squares(self) -> np.ndarray:
        """Sum over groups of b_i b_i', (q, q, C)."""
        if len(self.b) == 1:
            return np.einsum("czg,czg->z", self.b, self.b)[None, None] + self.squares
        return gram(self.b).transpose(1, 2, 0) + self.squares


def half(ZtZ: np.ndarray, F: np.ndarray, sigma2: np.ndarray) -> np.ndarray:
    """H (q, q, C, n_patterns) of :func:`lmmlib.equations.pieces.woodbury_factor`; Var(b_i | y) = sigma2 H'H."""
    return woodbury_factor(ZtZ, (F / np.sqrt(sigma2))[..., None])[0]


def times(M: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Products (q, C, n) of matrices (q, q, C, n) with vectors (q, C, n); last axes may have length one."""
    return product(M, v[:, None])[:, 0]


def draw_normal(rng, precision: np.ndarray, linear: np.ndarray) -> np.ndarray:
    """Draws (p, C) from N(P^-1 l, P^-1): precision (C, p, p), linear (C, p)."""
    if linear.shape[1] == 1:
        inverse = precision[:, 0] ** -0.5
        return (inverse * (inverse * linear + rng.standard_normal(linear.shape))).T
    inverse = np.linalg.inv(np.linalg.cholesky(precision))
    z = np.einsum("cxy,cy->cx", inverse, linear) + rng.standard_normal(linear.shape)
    return np.einsum("cxy,cx->yc", inverse, z)


def beta_given_data(model: Model, state: State, H: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    r"""Precision (C, p, p) and its product with the mean (C, p) of beta given y, D and sigma2, b integrated out.

    .. math:: \beta \mid y, D, \sigma^2 \sim N(P^{-1}l, P^{-1}), \quad
        P = \sum_i X_i'V_i^{-1}X_i + P_0, \quad l = \sum_i X_i'V_i^{-1}y_i + P_0\beta_0
    """
    WtVW = model.data.WtW
    for row in product(model.data.of_groups(H), model.data.ZtW):
        WtVW = WtVW - gram(row)
    return _with_prior(model, state, WtVW / state.sigma2[:, None, None])


def beta_given_b(model: Model, state: State, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    r"""The same given y, b and sigma2.

    .. math:: P = X'X/\sigma^2 + P_0, \quad l = \sum_i X_i'(y_i - Z_ib_i)/\sigma^2 + P_0\beta_0
    """
    p = len(state.beta)
    WtW = np.broadcast_to(model.data.WtW, (len(state.sigma2), p + 1, p + 1)).copy()
    WtW[:, :p, p] -= np.einsum("axzg,azg->zx", model.data.ZtW[:, :p], b)  # X'(y - Zb)
    return _with_prior(model, state, WtW / state.sigma2[:, None, None])


def beta_given_gamma(model: Model, state: State, gamma: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    r"""The same given the centred random effects and D; the data say nothing more.

    .. math:: P = \sum_i A_i'D^{-1}A_i + P_0, \quad l = \sum_i A_i'D^{-1}\gamma_i + P_0\beta_0

    Equation :eq:`centred-model` of the book, with :math:`X_i = Z_iA_i` and :math:`\gamma_i = A_i\beta + b_i`.
    """
    p = len(state.beta)
    A = model.data.own[:, :p]
    inverse = np.linalg.inv(state.F.transpose(2, 0, 1)).transpose(1, 2, 0)[..., None]
    W = np.concatenate([np.broadcast_to(A, (*A.shape[:2], *gamma.shape[1:])), gamma[:, None]], axis=1)  # [A, gamma]
    total = np.zeros((len(state.sigma2), p + 1, p + 1))
    for row in product(inverse, W):
        total = total + gram(row)
    return _with_prior(model, state, total)


def _with_prior(model: Model, state: State, total: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Precision and linear part of beta from [X, y]'M[X, y] (C, p+1, p+1) and the prior."""
    p = len(state.beta)
    prior = model.precision + model.relative / state.sigma2[:, None, None]
    return total[:, :p, :p] + prior, total[:, :p, p] + np.einsum("cxy,yc->cx", prior, model.prior_mean)


def at_beta(W: np.ndarray, beta: np.ndarray) -> np.ndarray:
    """Columns of [X, y] (q, p+1, B, n) turned into those of the residual y - X beta, (q, C, n)."""
    residual = W[:, -1] - np.zeros((len(beta.T), 1))
    for x, coefficient in enumerate(beta):
        residual -= W[:, x] * coefficient[:, None]
    return residual


def effects_given_beta(model: Model, state: State, H: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    r"""Means (q, C, n) of the rotated random effects given y, beta, D and sigma2; covariances are sigma2 H'H.

    .. math:: b_i \mid y_i, \beta, D, \sigma^2 \sim N(H_i'H_iZ_i'(y_i - X_i\beta),\; \sigma^2H_i'H_i)

    Returns H too, one for each rotated group.
    """
    H = model.data.of_groups(H)
    return times(transposed(H), times(H, at_beta(model.data.ZtW, state.beta))), H


def draw_effects(rng, model: Model, state: State, H: np.ndarray) -> Effects:
    """Random effects given y, beta, D and sigma2: those with data one by one, the other ones through their sums."""
    data, (mean, of_group) = model.data, effects_given_beta(model, state, H)
    sd = np.sqrt(state.sigma2)
    b = mean + times(transposed(of_group), rng.standard_normal(mean.shape) * sd[:, None])
    spare = np.flatnonzero(data.spare)
    if not len(spare):
        return Effects(b, np.zeros(state.F.shape), np.zeros(sd.shape))
    few = spare if len(spare) < len(data.spare) else slice(None)
    root = bartlett(rng, len(H), data.spare[spare], (len(sd), len(spare)))
    squares = square(product(transposed(H[..., few]), root)) * state.sigma2[:, None]
    residual = (data.ZtZ[..., few] * squares).sum(axis=(0, 1, 3))
    return Effects(b, squares.sum(axis=-1), residual)


def residual_squares(model: Model, beta: np.ndarray, effects: Effects) -> np.ndarray:
    r"""Sum of squares of y - X beta - Zb, (C,): what Z leaves of y - X beta, and what b leaves of the rest."""
    data = model.data
    c = np.concatenate([-beta, np.ones((1, beta.shape[1]))])
    within = np.maximum(np.einsum("vc,cvw,wc->c", c, data.within, c), 0)
    off = effects.b - at_beta(data.own, beta)
    ZtZ = data.of_groups(data.ZtZ)
    if len(off) == 1:
        return within + np.einsum("zg,zg,zg->z", off[0], off[0], ZtZ[0, 0]) + effects.residual
    return within + np.einsum("azg,azg->z", off, times(ZtZ, off)) + effects.residual


def sigma2_given_rest(model: Model, state: State, residual: np.ndarray) -> tuple[float, np.ndarray]:
    r"""Shape and rates (C,) of the inverse gamma distribution of sigma2 given y, beta, b (and a).

    .. math:: \sigma^2 \mid y, \beta, b \sim IG\Big(a_0 + \frac N2,\; b_0 + \frac12\|y - X\beta - Zb\|^2\Big)

    Zellner's prior adds p/2 and half of :math:`\delta(\beta - \beta_0)'X'X(\beta - \beta_0)`.
    """
    prior, shape = model.sigma, (model.sigma.df + model.data.n_obs) / 2
    rate = (prior.scale[0, 0] + 2 * prior.nu * state.rates_sigma[0] + residual) / 2
    if model.has_zellner:
        away = state.beta - model.prior_mean
        shape += len(away) / 2
        rate = rate + np.einsum("xc,xy,yc->c", away, model.relative, away) / 2
    return shape, rate


def D_given_b(model: Model, state: State, squares: np.ndarray) -> tuple[float, np.ndarray]:
    r"""Degrees of freedom and scale (q, q, C) of the inverse Wishart distribution of D given b (and a).

    .. math:: D \mid b \sim IW\Big(\nu_0 + n,\; S_0 + \sum_i b_ib_i'\Big)

    A diagonal D: scale (q, C), in the formula's basis, of a variance each.
    """
    prior = model.D
    df = prior.df + model.data.n_groups
    if model.diagonal:
        inverse = np.linalg.inv(model.Rz)
        own = np.einsum("ka,kb,abc->kc", inverse, inverse, squares)
        return df, np.diag(prior.scale)[:, None] + 2 * prior.nu * state.rates_D + own
    scale = (model.Rz @ prior.scale @ model.Rz.T)[..., None] + squares
    if prior.nu:
        scale = scale + 2 * prior.nu * np.einsum("ak,bk,kc->abc", model.columns, model.columns, state.rates_D)
    return df, scale


def draw_sigma2(rng, model: Model, state: State, residual: np.ndarray) -> State:
    """The state with a new sigma2, and a new scale of its prior."""
    shape, rate = sigma2_given_rest(model, state, residual)
    sigma2 = rate / rng.standard_gamma(shape, len(rate))
    return replace(state, sigma2=sigma2, rates_sigma=model.sigma.draw_rates(rng, 1 / sigma2[None], 1))


def draw_D(rng, model: Model, state: State, squares: np.ndarray) -> State:
    """The state with a new D, and new scales of its prior."""
    df, scale = D_given_b(model, state, squares)
    if model.diagonal:
        d = scale / (2 * rng.standard_gamma(df / 2, scale.shape))
        rates = model.D.draw_rates(rng, 1 / d, 1)
        return replace(state, F=model.Rz[..., None] * np.sqrt(d), rates_D=rates)
    F = inverse_wishart_factor(rng, df, scale)
    return replace(state, F=F, rates_D=draw_rates_D(rng, model, F))


def draw_rates_D(rng, model: Model, F: np.ndarray) -> np.ndarray:
    """Scales (q, C) of the prior given D, zero without any."""
    if model.diagonal:
        return model.D.draw_rates(rng, entries_of(model, F) ** -2.0, 1)
    return model.D.draw_rates(rng, precisions(model, F), len(F)) if model.D.nu else np.zeros(F.shape[1:])


def precisions(model: Model, F: np.ndarray) -> np.ndarray:
    """Diagonal (q, C) of D^-1 for the columns that a prior of Huang and Wand is about."""
    root = np.linalg.solve(F.transpose(2, 0, 1), model.columns)  # D^-1 = root'root
    return (root**2).sum(axis=1).T


def entries_of(model: Model, F: np.ndarray) -> np.ndarray:
    """Standard deviations (q, C) of a diagonal D, those of the formula, or the lower triangle (k, C) of a full one."""
    if model.diagonal:
        return np.einsum("aac->ac", F) / np.diag(model.Rz)[:, None]
    return F[triangle(len(F))]


@cache
def triangle(q: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the entries of a lower triangle (q, q)."""
    return np.tril_indices(q)


def draw_beta(rng, conditional: tuple[np.ndarray, np.ndarray], state: State) -> State:
    """The state with a new beta from its precision and linear part."""
    return replace(state, beta=draw_normal(rng, *conditional)) if len(state.beta) else state
