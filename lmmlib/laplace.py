r"""Laplace's approximation for any model with random effects, from its joint log-density written with PyTensor.

Hand in the joint log-density of data and random effects; automatic differentiation gives the modes, the marginal
log-likelihood and its exact gradient. Groups are independent given the parameters, so the Hessian by the random effects
is block diagonal: q products with it, each along one random effect of all groups at once, give all its blocks.

PyTensor is imported when :func:`marginal` is called; it comes with PyMC.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from lmmlib.errors import DesignError, ParameterError
from lmmlib.laplace_graph import Compiled, compile_joint
from lmmlib.optimise import newton
from lmmlib.parameters import checked_count, checked_finite, numbers
from lmmlib.poisson import CLOSE
from lmmlib.poisson_intervals import covariance, without_curvature
from lmmlib.poisson_laplace import Point
from lmmlib.poisson_modes import Modes
from lmmlib.rounding import fixed, significant

MAX_STEPS = 200
# Step of the central differences of the gradient, relative to the parameter or one, whichever is larger.
DIFFERENCE = 1e-4


@dataclass(frozen=True, eq=False)
class MarginalFit:
    """Maximum of a Laplace marginal likelihood.

    Attributes
    ----------
    parameters : dict
        Estimates, shaped as the start.
    se : dict
        Standard errors of the same shapes, from the Hessian of the marginal log-likelihood. NaN for a parameter along
        which it has no curvature, such as the logarithm of a standard deviation that tends to zero.
    cov : DataFrame
        Covariance of all parameters, labelled ``name`` or ``name[0]``.
    loglik : float
        With all constants that the joint log-density has.
    modes : Modes
        Of the random effects, with the errors for known and for estimated parameters.
    converged : bool
    reason : str
    """

    parameters: dict[str, Any]
    se: dict[str, Any]
    cov: pd.DataFrame
    loglik: float
    modes: Modes
    converged: bool
    reason: str
    hessian: np.ndarray = field(repr=False)

    def __repr__(self) -> str:
        values, se = (np.concatenate([np.ravel(v) for v in d.values()]) for d in (self.parameters, self.se))
        width = max(map(len, [*self.cov.index, "Parameters"]))
        lines = [
            f"Laplace marginal fit: log-likelihood {fixed(self.loglik, 4)}, {self.modes!r}",
            f"  {'Parameters':<{width}}  {'estimate':>12}  {'se':>10}",
        ]
        for name, value, s in zip(self.cov.index, values, se, strict=True):
            error = "-" if np.isnan(s) else significant(s, 5)
            lines.append(f"  {name:<{width}}  {significant(value, 5):>12}  {error:>10}")
        for name in self.cov.index[np.isnan(se)]:
            lines.append(f"the likelihood is flat along {name}, which may run to infinity: it has no standard error")
        return "\n".join(lines if self.converged else [*lines, f"not converged: {self.reason}"])


class Marginal:
    """A marginal likelihood by Laplace's approximation; made by :func:`marginal`.

    The parameters are keyword arguments of the methods, shaped as the start, which is their default.
    """

    def __init__(self, compiled: Compiled, start: dict[str, np.ndarray], n_groups: int, q: int):
        self._compiled, self._start, self.n_groups, self.q = compiled, start, n_groups, q
        self._b = np.zeros((n_groups, q))

    def loglik(self, **parameters) -> float:
        """The marginal log-likelihood."""
        return self._value(self._flat(parameters))[0]

    def gradient(self, **parameters) -> dict[str, Any]:
        """Its exact gradient, shaped as the parameters."""
        return self._shaped(self._value(self._flat(parameters))[1])

    def modes(self, **parameters) -> np.ndarray:
        """The most likely random effects, (n_groups, q)."""
        return self._modes(self._flat(parameters))[0]

    def fit(self) -> MarginalFit:
        r"""Maximise the marginal likelihood, from the start.

        Newton's method with differences of the exact gradient as Hessian; the covariance is :math:`(-H)^{-1}`, and the
        errors of the modes are those of equation :eq:`mode-variance`.

        Returns
        -------
        MarginalFit
        """
        optimum = newton(self._objective, self._flat({})[None])
        psi, hessian = optimum.best.theta[0], -optimum.best.hessian[0] / 2
        cov, (b, H) = covariance(hessian), self._modes(psi)
        slopes = np.stack([self._compiled.cross(b, psi, e) for e in np.eye(len(psi))], axis=-1)
        known, db = np.linalg.inv(H), np.linalg.solve(H, slopes)
        table = pd.DataFrame(b, pd.RangeIndex(self.n_groups, name="group"), [f"b{k}" for k in range(self.q)])
        names, flat = self._names(), without_curvature(hessian)
        reported = np.where(flat[:, None] | flat, np.nan, cov)
        return MarginalFit(
            parameters=self._shaped(psi),
            se=self._shaped(np.sqrt(np.diag(reported))),
            cov=pd.DataFrame(reported, names, names),
            loglik=float(-optimum.best.value[0] / 2),
            modes=Modes(table, known, known + db @ cov @ np.swapaxes(db, 1, 2)),
            converged=bool(optimum.converged[0]),
            reason=optimum.reason[0],
            hessian=hessian,
        )

    def _names(self) -> list[str]:
        names = []
        for name, value in self._start.items():
            places = [",".join(map(str, at)) for at in np.ndindex(value.shape)]
            names += [f"{name}[{at}]" for at in places] if value.ndim else [name]
        return names

    def _flat(self, parameters: dict) -> np.ndarray:
        unknown = sorted(set(parameters) - set(self._start))
        if unknown:
            raise ParameterError(f"there is no parameter {unknown[0]!r}; there are {', '.join(self._start)}")
        values = (checked_finite(n, parameters.get(n, v), v.shape) for n, v in self._start.items())
        return np.concatenate([v.ravel() for v in values])

    def _shaped(self, flat: np.ndarray) -> dict[str, Any]:
        ends = np.cumsum([v.size for v in self._start.values()])
        parts = np.split(flat, ends[:-1])
        return {
            n: p.reshape(v.shape) if v.ndim else float(p[0])
            for (n, v), p in zip(self._start.items(), parts, strict=True)
        }

    def _modes(self, psi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Modes (n, q) and the blocks of minus the Hessian there (n, q, q), by Newton's method for all groups."""
        inner, b = self._compiled.inner, self._b
        value, g, H = inner(b, psi)
        if not np.isfinite(value):
            b = np.zeros_like(b)
            value, g, H = inner(b, psi)
        if not np.isfinite(value):
            raise DesignError(
                f"the joint log-density is {value} where all random effects are zero, at {self._said(psi)}"
            )
        done = last = False
        for _ in range(MAX_STEPS):
            values, vectors = np.linalg.eigh(H)
            size = np.maximum(np.abs(values), 1e-10 * np.abs(values).max(axis=1, keepdims=True) + 1e-300)
            along = np.einsum("nab,na->nb", vectors, g)
            step = np.einsum("nab,nb->na", vectors, along / size)
            decrement = (along**2 / size).sum(axis=1)
            done, last = last or decrement.max() == 0, decrement.max() < CLOSE
            if done:
                break
            length, rise = 1.0, decrement.sum()
            new = inner(b + step, psi)
            while decrement.max() > 1e-6 and not new[0] >= value + 1e-4 * length * rise and length > 1e-12:
                length /= 2
                new = inner(b + length * step, psi)
            b, (value, g, H) = b + length * step, new
        if not done or (values <= 0).any():
            raise DesignError(
                f"the random effects have no mode at {self._said(psi)}: the joint log-density must have a maximum with "
                "a definite Hessian in the random effects of every group"
            )
        self._b = b
        return b, H

    def _said(self, psi: np.ndarray) -> str:
        return ", ".join(f"{name} = {v:.4g}" for name, v in zip(self._names(), psi, strict=True))

    def _value(self, psi: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = self._compiled.outer(self._modes(psi)[0], psi)
        return float(value), gradient

    @np.errstate(all="ignore")
    def _objective(self, theta: np.ndarray, rows: np.ndarray) -> Point:
        k = theta.shape[1]
        if not len(theta):
            return Point(theta, np.zeros(0), theta, np.zeros((0, k, k)))
        psi = theta[0]
        try:
            value, gradient = self._value(psi)
            H = np.empty((k, k))
            for a, h in enumerate(DIFFERENCE * np.maximum(np.abs(psi), 1.0)):
                e = h * np.eye(k)[a]
                H[a] = (self._value(psi + e)[1] - self._value(psi - e)[1]) / (2 * h)
        except DesignError:
            if self._start_is(psi):
                raise
            value, gradient, H = -np.inf, np.zeros(k), np.zeros((k, k))
        return Point(theta, np.array([-2 * value]), -2 * gradient[None], -(H + H.T)[None])

    def _start_is(self, psi: np.ndarray) -> bool:
        return bool((psi == self._flat({})).all())

    def __repr__(self) -> str:
        names = ", ".join(self._names())
        return f"Marginal: {self.n_groups} groups, {self.q} random effect{'s' * (self.q != 1)} each; parameters {names}"


def marginal(log_joint: Callable, start: dict, n_groups: int, q: int = 1) -> Marginal:
    r"""Laplace marginal likelihood of a model from its joint log-density.

    .. math:: \log \int \exp f(b, \psi)\, db \approx f(\hat b, \psi) + \frac{nq}{2}\log 2\pi
        - \frac12 \sum_i \log|H_i|, \qquad H_i = -\frac{\partial^2 f}{\partial b_i\,\partial b_i'}

    Equation :eq:`laplace-constant` of the book for n groups; exact if f is quadratic in b, as in a linear mixed model.
    The gradient, equation :eq:`implicit-gradient`, follows the modes by the implicit function theorem.

    Parameters
    ----------
    log_joint : function
        Of ``b``, a PyTensor matrix (n_groups, q), and the parameters as keyword arguments; returns the joint
        log-density of data and random effects as one number, a PyTensor scalar. Data are NumPy arrays that it refers
        to. Given the parameters the groups must be independent: no term may hold random effects of two groups.
    start : dict
        Name and starting value, number or array, of each parameter; unbounded, so a logarithm for what is positive.
    n_groups : int
    q : int
        Random effects of each group.

    Returns
    -------
    Marginal
        With ``loglik``, ``gradient``, ``modes`` and ``fit``.

    Raises
    ------
    DesignError
        If terms hold random effects of two groups, or the density has no mode at the start.
    ParameterError
        If log_joint does not return a scalar, or the start is not made of finite numbers.
    ImportError
        If PyTensor is not installed.
    """
    n_groups, q = checked_count("n_groups", n_groups), checked_count("q", q)
    if not isinstance(start, dict) or not start:
        raise ParameterError(f"start must be a dict of parameters and their starting values; got {start!r}")
    values = {name: numbers(value, name) for name, value in start.items()}
    for name, value in values.items():
        checked_finite(name, value, value.shape)
    model = Marginal(compile_joint(log_joint, values, n_groups, q), values, n_groups, q)
    _require_blocks(model)
    return model


def _require_blocks(model: Marginal) -> None:
    """Raise unless the Hessian times a random vector is that of its blocks."""
    psi, rng = model._flat({}), np.random.default_rng(0)
    b, w = 0.1 * rng.standard_normal((2, model.n_groups, model.q))
    blocks = model._compiled.inner(b, psi)[2]
    by_blocks, whole = -np.einsum("nab,nb->na", blocks, w), model._compiled.along(b, psi, w)
    if not np.allclose(by_blocks, whole, rtol=1e-6, atol=1e-8 * np.abs(whole).max(initial=0.0)):
        raise DesignError(
            "the joint log-density has terms with random effects of two groups; this approximation is for groups that "
            "are independent given the parameters"
        )
