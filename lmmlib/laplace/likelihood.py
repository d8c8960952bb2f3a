r"""Laplace's approximation for any model with random effects, from its joint log-density written with PyTensor.

Hand in the joint log-density of data and random effects; automatic differentiation gives the modes, the marginal
log-likelihood and its exact gradient. Groups are independent given the parameters, so the Hessian by the random effects
is block diagonal: q products with it, each along one random effect of all groups at once, give all its blocks.

PyTensor is imported when :func:`marginal` is called; it comes with PyMC.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from lmmlib.common.arguments import checked_count, checked_finite, numbers, require_known, several
from lmmlib.common.summary import Shown, Summary
from lmmlib.common.table import Table
from lmmlib.common.text import brief, fixed
from lmmlib.equations.limits import normal_limits
from lmmlib.errors import DesignError, ParameterError
from lmmlib.fitting.newton import Step, newton
from lmmlib.laplace.curvature import ROUGH, covariance, differences, whitening, without_curvature
from lmmlib.laplace.graph import Compiled, compile_joint
from lmmlib.laplace.modes import Modes
from lmmlib.laplace.point import CLOSE, Ascent

MAX_STEPS = 200
# A column of the working basis, in which parameters are of order one, grows by no more than LONGEST; and rounds of the
# search end when curvatures there are within ALIKE of one.
LONGEST, ALIKE, ROUNDS = 1e3, 10.0, 4
# One standard error away the log-likelihood falls by one half; a fall below this is none.
NO_FALL = 0.01


@dataclass(frozen=True, eq=False, repr=False)
class MarginalFit(Shown):
    """Maximum of a Laplace marginal likelihood.

    Attributes
    ----------
    estimates : dict
        Of the parameters, shaped as the start.
    cov : DataFrame
        Covariance of all parameters, labelled ``name`` or ``name[0]``, from the Hessian of the marginal log-likelihood.
        NaN for a parameter along which it has no curvature, such as the logarithm of a standard deviation that tends to
        zero; of all parameters if the fit has not converged.
    loglik : float
        With all constants that the joint log-density has.
    effects : Modes
        Of the random effects, with the errors for known and for estimated parameters.
    converged : bool
    reason : str
    log : tuple of Step
        Every point of the last round of the optimiser.
    flat : tuple of str
        Parameters along which the likelihood has no curvature.
    hessian : (P, P) array
    """

    estimates: dict[str, Any]
    cov: pd.DataFrame
    loglik: float
    effects: Modes
    converged: bool
    reason: str
    log: tuple[Step, ...]
    flat: tuple[str, ...]
    hessian: np.ndarray

    @property
    def n_groups(self) -> int:
        """Number of groups."""
        return len(self.effects.b)

    @property
    def se(self) -> pd.Series:
        """Standard errors of all parameters."""
        return pd.Series(np.sqrt(np.diag(self.cov)), self.cov.index)

    def parameters(self) -> pd.Series:
        """All parameters, labelled as ``cov``."""
        return pd.Series(np.concatenate([np.ravel(v) for v in self.estimates.values()]), self.cov.index)

    def cov_parameters(self) -> pd.DataFrame:
        """Their covariance, ``cov``."""
        return self.cov

    def confint(self, level: float = 0.95, *, parameters=None) -> pd.DataFrame:
        """Normal limits of all parameters, or of those named: estimate, se, lower, upper."""
        table = normal_limits(self.parameters(), self.se, level)
        wanted = list(table.index) if parameters is None else several("parameters", parameters)
        for name in wanted:
            require_known("parameter", name, table.index)
        return table.loc[wanted]

    def modes(self) -> Modes:
        """``effects``: the most likely random effects, with two errors."""
        return self.effects

    def random_effects(self, level: float = 0.95, *, error: str = "estimated") -> pd.DataFrame:
        """:meth:`lmmlib.laplace.modes.Modes.frame`: modes with errors and limits, a row for each."""
        return self.effects.frame(level, error=error)

    def summary(self) -> Summary:
        """The estimates as text, HTML and LaTeX."""
        width = max(map(len, [*self.cov.index, "Parameters"]))
        errors = ["-" if np.isnan(s) else brief(s) for s in self.se]
        rows = zip(self.cov.index, map(brief, self.parameters()), errors, strict=True)
        table = Table(("Parameters", "estimate", "se"), tuple(rows), (False, True, True), widths=(width, 12, 10))
        notes = [
            f"the likelihood is flat along {name}, which may run to infinity: it has no standard error"
            for name in self.flat
        ]
        if not self.converged:
            notes.append(f"not converged, so no standard errors: {self.reason}")
        head = f"Laplace marginal fit: log-likelihood {fixed(self.loglik, 4)}, {self.effects!r}"
        return Summary((head,), {"parameters": table}, tuple(notes))


class Marginal:
    """A marginal likelihood by Laplace's approximation; made by :func:`marginal`.

    The parameters are keyword arguments of the methods, shaped as the start, which is their default.
    """

    def __init__(self, compiled: Compiled, start: dict[str, np.ndarray], n_groups: int, q: int):
        self._compiled, self._start, self.n_groups, self.q = compiled, start, n_groups, q
        self._b, self._undefined = np.zeros((n_groups, q)), ""

    def loglik(self, **parameters) -> float:
        """The marginal log-likelihood."""
        psi = self._flat(parameters)
        return float(self._compiled.outer(self._modes(psi)[0], psi)[0])

    def gradient(self, **parameters) -> dict[str, Any]:
        """Its exact gradient, shaped as the parameters."""
        return self._shaped(self._value(self._flat(parameters))[1])

    def modes(self, **parameters) -> np.ndarray:
        """The most likely random effects, (n_groups, q)."""
        return self._modes(self._flat(parameters))[0]

    def fit(self) -> MarginalFit:
        r"""Maximise the marginal likelihood, from the start.

        Newton's method with differences of the exact gradient as Hessian, in a working basis in which all curvatures
        are alike, so that the units of the parameters and an origin far from the data do not matter. The covariance is
        :math:`(-H)^{-1}`, and the errors of the modes are those of equation :eq:`mode-variance`.

        Returns
        -------
        MarginalFit
        """
        psi, self._undefined = self._flat({}), ""
        A = np.diag(np.maximum(np.abs(psi), 1.0))
        for _ in range(ROUNDS):
            A = self._basis(psi, A)
            self._value(psi)  # an error here is the reader's
            ascent = Ascent(self._derivatives, A, psi, DesignError)
            optimum = newton(ascent, np.zeros((1, len(psi))))
            H, optimum = -optimum.best.hessian[0] / 2, ascent.back(optimum)
            psi = optimum.best.theta[0]
            if optimum.converged[0] and _alike(H, self.n_groups):
                break
        converged = bool(optimum.converged[0])
        if not converged and self._undefined:
            raise DesignError(self._undefined)
        cov, (b, blocks) = A @ covariance(H, flat=ROUGH) @ A.T, self._modes(psi)
        slopes = np.stack([self._compiled.cross(b, psi, e) for e in np.eye(len(psi))], axis=-1)
        known, db = np.linalg.inv(blocks), np.linalg.solve(blocks, slopes)
        table = pd.DataFrame(b, pd.RangeIndex(self.n_groups, name="group"), [f"b{k}" for k in range(self.q)])
        loglik = float(-optimum.best.value[0] / 2)
        names, flat = self._names(), self._flat_along(psi, cov, loglik) | without_curvature(H, A)
        reported = np.where(flat[:, None] | flat | (not converged), np.nan, cov)
        return MarginalFit(
            estimates=self._shaped(psi),
            cov=pd.DataFrame(reported, names, names),
            loglik=loglik,
            effects=Modes(table, known, known + db @ (cov if converged else reported) @ np.swapaxes(db, 1, 2)),
            converged=converged,
            reason=optimum.reason[0],
            log=optimum.log,
            flat=tuple(np.array(names)[flat & converged]),
            hessian=-optimum.best.hessian[0] / 2,
        )

    def _basis(self, psi: np.ndarray, A: np.ndarray) -> np.ndarray:
        """Columns (P, P), made of those of A, along which the log-likelihood at psi has curvatures alike, n_groups.

        Differences along columns that are far from that are wrong by their length or by rounding; so they are taken
        anew along the columns that they give, until those stay.
        """
        longest = LONGEST * np.maximum(np.abs(psi), 1.0)
        for _ in range(8):
            with np.errstate(all="ignore"):
                H = self._hessian(psi, A)
            lost = ~np.isfinite(H).all(axis=1)
            if lost.all() or not np.isfinite(H[~lost][:, ~lost]).all():
                A = A / LONGEST
                continue
            if lost.any():
                A = A * np.where(lost, 1 / LONGEST, 1.0)
                continue
            if _alike(H, self.n_groups):
                break
            A = A @ np.clip(whitening(H, self.n_groups), -LONGEST, LONGEST)
            A = A / np.maximum((np.abs(A) / longest[:, None]).max(axis=0), 1.0)
        return A

    def _hessian(self, psi: np.ndarray, A: np.ndarray) -> np.ndarray:
        """By the parameters of the working basis, from differences of the gradient; NaN where it has none."""

        def gradient(psi):
            with suppress(DesignError):
                return self._value(psi)[1]
            return np.full(len(psi), np.nan)

        return differences(gradient, psi, A)

    def _derivatives(self, psi: np.ndarray, A: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        value, gradient = self._value(psi)
        return value, gradient @ A, self._hessian(psi, A)

    @np.errstate(all="ignore")
    def _flat_along(self, psi: np.ndarray, cov: np.ndarray, loglik: float) -> np.ndarray:
        """Which parameters (P,) move by a standard error, the others following, without a fall of the likelihood."""
        flat = ~(np.diag(cov) > 0)
        for a in np.flatnonzero(~flat):
            move = cov[:, a] / np.sqrt(cov[a, a])
            flat[a] = any(self._fall(psi, side * move, loglik) < NO_FALL for side in (-1, 1))
        return flat

    def _fall(self, psi: np.ndarray, move: np.ndarray, loglik: float) -> float:
        """By how much the log-likelihood falls with a move; from a shorter one where it is no number so far away."""
        for share in 0.1 ** np.arange(8):
            with suppress(DesignError):
                fall = (loglik - self._value(psi + share * move)[0]) / share**2
                if not np.isnan(fall):
                    return fall
        return np.inf

    def _names(self) -> list[str]:
        names = []
        for name, value in self._start.items():
            places = [",".join(map(str, at)) for at in np.ndindex(value.shape)]
            names += [f"{name}[{at}]" for at in places] if value.ndim else [name]
        return names

    def _flat(self, parameters: dict) -> np.ndarray:
        for name in parameters:
            require_known("parameter", name, self._start)
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
        if np.isfinite(value) and np.isnan(gradient).any():
            self._undefined = (
                f"the marginal log-likelihood is {value:.4g} at {self._said(psi)}, but its gradient is not a number: "
                "some derivative of the joint log-density does not exist at the modes of the random effects, such as "
                "that of a power or a root at zero; write it in functions that are smooth there"
            )
            raise DesignError(self._undefined)
        return float(value), gradient

    def __repr__(self) -> str:
        names = ", ".join(self._names())
        return f"Marginal: {self.n_groups} groups, {self.q} random effect{'s' * (self.q != 1)} each; parameters {names}"


def _alike(H: np.ndarray, size: float) -> bool:
    """Whether all curvatures are within a factor of ``size``."""
    values = np.abs(np.linalg.eigvalsh(H)) / size
    return bool((values < ALIKE).all() and (values > 1 / ALIKE).all())


def marginal(log_joint: Callable, start: dict, n_groups: int, *, q: int = 1) -> Marginal:
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
