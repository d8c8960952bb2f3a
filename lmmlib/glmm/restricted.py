r"""A restricted likelihood of a generalised linear mixed model: the fixed effects are integrated out by a flat prior.

Laplace's approximation takes them as random effects without a density of their own, so that the Hessian of all groups
and of beta has the determinant :math:`|C|\prod_i|S_i|`, C being that of beta once the u are at their modes.
"""

from __future__ import annotations

import numpy as np

from lmmlib.glmm import laplace
from lmmlib.glmm.laplace import Slopes, of_joint
from lmmlib.glmm.objective import Objective
from lmmlib.glmm.rows import Rows
from lmmlib.laplace.curvature import DIFFERENCE, ROUGH, covariance, differences

# Twice what a last step for beta would gain in the joint density.
STILL = 1e-12


class Restricted(Objective):
    """The restricted log-likelihood of theta; each evaluation starts from the mode of the one before."""

    def __init__(self, rows: Rows, beta: np.ndarray):
        super().__init__(rows, "laplace", 1)
        self.beta = beta

    def mode(self, theta: np.ndarray) -> Slopes:
        """The groups at the joint mode of beta and u, by Newton's method, and the slopes there."""
        p, beta = len(self.beta), self.beta
        s = self.slopes(np.append(beta, theta))
        for _ in range(100):
            step, length = np.linalg.solve(-of_joint(s)[:p, :p], s.joint[:p]), 1.0
            gain, before = float(s.joint[:p] @ step), s.inner.joint.sum()
            s = self.slopes(np.append(beta + step, theta))
            # The joint density is concave, so that a shorter step goes up; the last one is far below rounding.
            while gain > STILL and not s.inner.joint.sum() > before + 1e-4 * length * gain and length > 1e-9:
                length /= 2
                s = self.slopes(np.append(beta + length * step, theta))
            beta = beta + length * step
            if not gain > STILL:
                break
        self.beta = beta
        return s

    def value(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        r"""The restricted log-likelihood, with all constants, and its gradient by theta.

        .. math:: \ell_R(\theta) \approx \log\int p(y, \hat u \mid \beta)\,d\beta = \sum_i\Big\{h_i -
            \tfrac12\log|S_i|\Big\} - \tfrac12\log|C| + \tfrac p2\log 2\pi

        Equation :eq:`count-restricted` of the book, for any number of fixed effects, those of the formula. Modes and
        beta move along with theta; what log C changes by along them is a difference.
        """
        s, p = self.mode(theta), len(self.beta)
        psi, H = np.append(self.beta, theta), of_joint(s)
        along = np.concatenate([np.linalg.solve(-H[:p, :p], H[:p, p:]), np.eye(len(theta))])

        def logdet(at: np.ndarray) -> float:
            return float(np.linalg.slogdet(-of_joint(self.slopes(at))[:p, :p])[1])

        change = [logdet(psi + e) - logdet(psi - e) for e in DIFFERENCE * along.T]
        units = np.log(np.abs(np.diag(self.rows.basis.Rx))).sum()
        value = laplace.loglik(s.inner) - np.linalg.slogdet(-H[:p, :p])[1] / 2 + p / 2 * np.log(2 * np.pi) - units
        return float(value), laplace.gradient(s) @ along - np.reshape(change, len(theta)) / (4 * DIFFERENCE)

    def derivatives(self, psi: np.ndarray, A: np.ndarray | None = None) -> tuple[float, np.ndarray, np.ndarray]:
        """The value, its gradient and its Hessian by theta, along the columns of A if one is given."""
        A = np.eye(len(psi)) if A is None else A
        value, gradient = self.value(psi)
        return value, gradient @ A, differences(lambda at: self.value(at)[1], psi, A)

    def covariance(self, theta: np.ndarray, hessian: np.ndarray) -> np.ndarray:
        """Of beta and theta, (P, P): that of beta for known theta, and what estimating theta adds."""
        p = len(self.beta)
        H = of_joint(self.mode(theta))
        of_theta = covariance(hessian, 0, ROUGH)
        along = np.concatenate([np.linalg.solve(-H[:p, :p], H[:p, p:]), np.eye(len(theta))])
        cov = along @ of_theta @ along.T
        cov[:p, :p] += np.linalg.inv(-H[:p, :p])
        return cov
