r"""Structures of the residual covariance R of a group's visits, each by natural and by working parameters.

Equation :eq:`residual-structures` of the book, where R is E.

The *natural* parameters :math:`\alpha` are variances, covariances and, for ``ar1``, a correlation: tests and standard
errors are made with them. The *working* parameters w are those of the search. They have no bounds, and an edge of the
space is an ordinary point: a variance is :math:`w^2`, a free covariance :math:`AA'` with A lower triangular.

======================  ===========================================  =========================  ========================
structure               R                                            natural                    working
======================  ===========================================  =========================  ========================
``independent()``       :math:`\sigma^2I`                            :math:`\sigma^2`           :math:`\sigma`
``by("week")``          :math:`\sigma_v^2` at visit v                :math:`\sigma_v^2`         :math:`\sigma_v`
``compound("week")``    :math:`\sigma^2` and :math:`\kappa` beside   :math:`\sigma^2, \kappa`   roots of the eigenvalues
``ar1("week")``         :math:`\sigma^2\rho^{|s-t|}`                 :math:`\sigma^2, \rho`     :math:`\sigma`, Fisher z
``unstructured(...)``   any                                          its entries                A
======================  ===========================================  =========================  ========================

All but ``ar1`` are linear in the natural parameters: the second derivatives of V vanish.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.special import expit

from lmmlib.common.arguments import shown
from lmmlib.common.small import symmetric_units, vech
from lmmlib.errors import ParameterError

# Correlations of neighbouring visits from which a search starts, as there may be several maxima.
CORRELATIONS = (0.3, 0.8, -0.3)


def entries_of_square(B: np.ndarray, w: np.ndarray, diagonal: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Entries of LL', as vech has them, with their derivatives by w (k, k), for L = sum of w_k B_k.

    With ``diagonal`` LL' is the sum of w_k^2 B_k B_k', of which the entries are w^2.
    """
    if diagonal:
        return w**2, np.diag(2 * w)
    L, pairs = np.tensordot(w, B, 1), _pairs(B)
    first = B @ L.T
    return (L @ L.T)[pairs], (first + np.swapaxes(first, 1, 2))[:, *pairs].T


def curvature_of_square(B: np.ndarray, g: np.ndarray, diagonal: bool = False) -> np.ndarray:
    """Second derivatives (k, k) by w of the sum of these entries times g (k,)."""
    if diagonal:
        return np.diag(2 * g)
    G = np.zeros(B.shape[1:])
    G[_pairs(B)] = g
    return np.einsum("kac,ab,lbc->kl", B, G + G.T, B)


def _pairs(B: np.ndarray) -> tuple[np.ndarray, ...]:
    return tuple(np.array(vech(B.shape[1]), int).reshape(-1, 2).T)


@dataclass(frozen=True)
class Structure(ABC):
    """What R is made of: ``visits``, the columns whose levels are the visits, and ``by``, those with an R for each.

    The methods are about one R, that of M visits at ``positions`` (levels,): for ``ar1`` times in steps, else numbers.
    """

    visits: tuple[str, ...] = ()
    by: tuple[str, ...] = ()
    # Whether R is diagonal, so that a visit may be seen twice in a group.
    is_diagonal: ClassVar[bool] = False
    is_linear: ClassVar[bool] = True
    # Whether R of a visit that the fit has not seen is known.
    extends: ClassVar[bool] = False

    @abstractmethod
    def natural(self, w: np.ndarray, positions: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
        """alpha (k,) at w, with its derivatives by w (k, k); ``most`` visits has a group."""

    @abstractmethod
    def curvature(self, w: np.ndarray, g: np.ndarray, positions: np.ndarray, most: int) -> np.ndarray:
        """Second derivatives by w of the sum of alpha times g (k,), (k, k)."""

    @abstractmethod
    def slopes(self, alpha: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """Derivatives of R by alpha, (k, levels, levels)."""

    @abstractmethod
    def named(self, levels: list[str]) -> list[str]:
        """Names of what ``reported`` has."""

    @abstractmethod
    def starts(self, square: np.ndarray, positions: np.ndarray) -> list[np.ndarray]:
        """Working parameters to start from, given mean squares of the residuals at each visit (levels,)."""

    def matrix(self, alpha: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """R, (levels, levels)."""
        return np.tensordot(alpha, self.slopes(alpha, positions), 1)

    def bends(self, alpha: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """Second derivatives of R by alpha, (k, k, levels, levels)."""
        return np.zeros((len(alpha), len(alpha), len(positions), len(positions)))

    def reported(self, M: int) -> list[tuple[int, ...]]:
        """Variances and correlations as entries of alpha: one, or a covariance and its two variances."""
        return [(k,) for k in range(M)]

    def __repr__(self) -> str:
        name = type(self).__name__.lower()
        if self.is_diagonal:
            name = "by" if self.visits else "independent"
        columns = [repr(column) for column in self.visits]
        by = repr(self.by[0] if len(self.by) == 1 else list(self.by))
        return f"{name}({', '.join([*columns, f'by={by}'] if self.by else columns)})"


class Diagonal(Structure):
    """A variance for each level."""

    is_diagonal = True

    def natural(self, w, positions, most):
        return w**2, np.diag(2 * w)

    def curvature(self, w, g, positions, most):
        return np.diag(2 * g)

    def slopes(self, alpha, positions):
        return symmetric_units(len(positions), diagonal=True)

    def named(self, levels):
        return [f"sigma {level}" for level in levels] if self.visits else ["sigma"]

    def starts(self, square, positions):
        return [np.sqrt(square)]


class Compound(Structure):
    r"""One variance and one covariance, of eigenvalues :math:`\sigma^2 - \kappa` and :math:`\sigma^2 + (m-1)\kappa`.

    m is the most visits that a group has, so that :math:`\kappa` may be as far below zero as the groups allow.
    """

    extends = True

    def natural(self, w, positions, most):
        return self._shares(most) @ w**2, self._shares(most) * 2 * w

    def curvature(self, w, g, positions, most):
        return np.diag(2 * g @ self._shares(most))

    def slopes(self, alpha, positions):
        one = np.eye(len(positions))
        return np.stack([one, 1 - one])

    @staticmethod
    def _shares(most: int) -> np.ndarray:
        """Variance and covariance as sums of the two eigenvalues."""
        return np.array([[most - 1.0, 1.0], [-1.0, 1.0]]) / most

    def named(self, levels):
        return ["sigma", "rho"]

    def starts(self, square, positions):
        return [np.sqrt(square.mean()) * np.array([0.9, 1.1])]

    def reported(self, M):
        return [(0,), (1, 0, 0)]


class Ar1(Structure):
    r"""Correlations :math:`\rho^h` at h steps; below zero only if all h are whole numbers."""

    is_linear = False
    extends = True

    def natural(self, w, positions, most):
        rho, slope, _ = _correlation(w[1], positions)
        return np.array([w[0] ** 2, rho]), np.diag([2 * w[0], slope])

    def curvature(self, w, g, positions, most):
        return np.diag(g * [2.0, _correlation(w[1], positions)[2]])

    def matrix(self, alpha, positions):
        return alpha[0] * _powers(alpha[1], positions)[0]

    def slopes(self, alpha, positions):
        power, slope, _ = _powers(alpha[1], positions)
        return np.stack([power, alpha[0] * slope])

    def bends(self, alpha, positions):
        _, slope, bend = _powers(alpha[1], positions)
        return np.array([[0 * slope, slope], [slope, alpha[0] * bend]])

    def named(self, levels):
        return ["sigma", "rho"]

    def reported(self, M):
        return [(0,), (1,)]

    def starts(self, square, positions):
        sigma, whole = np.sqrt(square.mean()), is_whole(positions)
        return [
            np.array([sigma, np.arctanh(rho) if whole else np.log(rho / (1 - rho))])
            for rho in CORRELATIONS
            if whole or rho > 0
        ]


class Unstructured(Structure):
    """Any covariance matrix."""

    def natural(self, w, positions, most):
        return entries_of_square(np.tril(symmetric_units(len(positions))), w)

    def curvature(self, w, g, positions, most):
        return curvature_of_square(np.tril(symmetric_units(len(positions))), g)

    def slopes(self, alpha, positions):
        return symmetric_units(len(positions))

    def named(self, levels):
        pairs = [(a, b) for a in range(len(levels)) for b in range(a + 1, len(levels))]
        return [f"sigma {level}" for level in levels] + [f"rho {levels[a]}, {levels[b]}" for a, b in pairs]

    def starts(self, square, positions):
        return [np.array([np.sqrt(square[a]) * (a == b) for a, b in vech(len(square))])]

    def reported(self, M):
        place = {pair: k for k, pair in enumerate(vech(M))}
        own = [place[a, a] for a in range(M)]
        return [(k,) for k in own] + [(place[b, a], own[a], own[b]) for a in range(M) for b in range(a + 1, M)]


def is_whole(positions: np.ndarray) -> bool:
    """Whether all distances are whole numbers of steps."""
    apart = positions - positions[0]
    return bool((apart == np.round(apart)).all())


def _correlation(z: float, positions: np.ndarray) -> tuple[float, float, float]:
    """rho at its working parameter, with first and second derivative: Fisher's scale, or that of logits."""
    if is_whole(positions):
        rho = np.tanh(z)
        return rho, 1 - rho**2, -2 * rho * (1 - rho**2)
    rho = expit(z)
    return rho, rho * (1 - rho), rho * (1 - rho) * (1 - 2 * rho)


def _powers(rho: float, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """rho^h at all distances h, with its first and second derivatives by rho."""
    h = np.abs(positions[:, None] - positions)
    # What the factors 0 take out may not be computed: a negative power of 0.
    first = h * rho ** np.where(h > 0, h - 1, 1.0)
    second = h * (h - 1) * rho ** np.where(h * (h - 1) != 0, h - 2, 1.0)
    return rho**h, first, second


def independent() -> Structure:
    """Residuals without correlation and with one variance: the plain mixed model."""
    return Diagonal()


def by(*columns: str) -> Structure:
    """Residuals without correlation, with a variance for each level of a column, or of several together.

    Parameters
    ----------
    *columns : str
        Such as ``by("week")`` or, for each week of each arm, ``by("treatment", "week")``.
    """
    if not columns:
        raise ParameterError("by() needs the name of a column; one variance for all is independent()")
    return Diagonal(_names("by", columns))


def compound(visit: str, *, by=None) -> Structure:
    """Compound symmetry: one variance, and one correlation of any two visits of a group, which may be below zero.

    Parameters
    ----------
    visit : str
        The column that tells the visits of a group apart.
    by : str or list of str, optional
        Columns whose levels have a covariance each; they do not change within a group.
    """
    return Compound(_names("visit", [visit]), _names("by", by))


def ar1(visit: str, *, by=None) -> Structure:
    r"""Autoregression of first order: the correlation :math:`\rho^h` of two visits that are h steps apart.

    Parameters
    ----------
    visit : str
        Numbers are times: the step is their largest common measure, such as one week for weeks 0, 1, 4 and 6, or if
        there is none the shortest distance, and then :math:`\rho > 0`. Other levels are a step apart, in their order.
    by : str or list of str, optional
        Columns whose levels have a covariance each; they do not change within a group.
    """
    return Ar1(_names("visit", [visit]), _names("by", by))


def unstructured(visit: str, *, by=None) -> Structure:
    """Any covariance of the visits, with ``(0 | g)`` the mixed model for repeated measures (MMRM).

    Parameters
    ----------
    visit : str
        The column whose levels are the visits.
    by : str or list of str, optional
        Columns whose levels have a covariance each; they do not change within a group.
    """
    return Unstructured(_names("visit", [visit]), _names("by", by))


def _names(argument: str, given) -> tuple[str, ...]:
    """Names of columns as a tuple."""
    given = () if given is None else (given,) if isinstance(given, str) else given
    if not np.iterable(given) or not all(isinstance(name, str) for name in given):
        raise ParameterError(f"{argument} must name columns of the data; got {shown(given)}")
    return tuple(given)
