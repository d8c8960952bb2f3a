"""A mixed model with random numbers, in the notation of the book: nothing here comes from lmmlib but the Design."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

import lmmlib


@dataclass(frozen=True)
class Model:
    """Rows of the groups one after the other; N, n, p, q and the matrices as in chapters/notation.csv."""

    X: np.ndarray
    Z: np.ndarray
    y: np.ndarray
    group: np.ndarray
    beta: np.ndarray
    D: np.ndarray
    sigma2: float

    @classmethod
    def draw(cls, rng, sizes, p=3, q=2, same=None):
        group = np.repeat(np.arange(len(sizes)), sizes)
        N = len(group)
        X = np.column_stack([np.ones(N), rng.normal(size=(N, p - 1))])
        Z = np.column_stack([np.ones(N), rng.normal(size=(N, q - 1))])
        if same is not None:
            X = Z = np.tile(same, (len(sizes), 1))
            p = q = same.shape[1]
        A, beta, sigma2 = rng.normal(size=(q, q)), rng.normal(size=p), rng.uniform(0.5, 2)
        D = A @ A.T + 0.2 * np.eye(q)
        b = rng.multivariate_normal(np.zeros(q), D, size=len(sizes))
        y = X @ beta + np.einsum("nq,nq->n", Z, b[group]) + np.sqrt(sigma2) * rng.normal(size=N)
        return cls(X, Z, y, group, beta, D, sigma2)

    @classmethod
    def same(cls, rng, n, m, q=2):
        one = np.column_stack([np.ones(m), rng.normal(size=(m, q - 1))])
        return cls.draw(rng, [m] * n, q=q, same=one)

    @property
    def N(self):
        return len(self.y)

    @property
    def n(self):
        return self.group[-1] + 1

    @property
    def p(self):
        return self.X.shape[1]

    @property
    def q(self):
        return self.Z.shape[1]

    @property
    def args(self):
        return self.D, self.sigma2

    @cached_property
    def design(self):
        labels = np.array([f"g{i:02d}" for i in self.group])
        return lmmlib.Design.from_arrays(self.y, self.X, self.Z, labels)

    @cached_property
    def cross(self):
        return lmmlib.cross_products(self.design)

    def of(self, i):
        """X_i, Z_i, y_i, V_i of group i."""
        rows = self.group == i
        Z = self.Z[rows]
        return self.X[rows], Z, self.y[rows], Z @ self.D @ Z.T + self.sigma2 * np.eye(len(Z))

    @property
    def groups(self):
        return [self.of(i) for i in range(self.n)]

    @property
    def Zbig(self):
        """Block-diagonal Z, (N, n q)."""
        return (np.eye(self.n)[self.group][:, :, None] * self.Z[:, None, :]).reshape(self.N, -1)

    def V_at(self, D, sigma2):
        return self.Zbig @ np.kron(np.eye(self.n), D) @ self.Zbig.T + sigma2 * np.eye(self.N)

    @property
    def V(self):
        return self.V_at(self.D, self.sigma2)

    @property
    def W(self):
        return np.linalg.inv(self.V)

    @property
    def Phi(self):
        return np.linalg.inv(self.X.T @ self.W @ self.X)

    @property
    def betahat(self):
        return self.Phi @ self.X.T @ self.W @ self.y

    @property
    def P(self):
        return self.W - self.W @ self.X @ self.Phi @ self.X.T @ self.W

    @property
    def alpha(self):
        """(vech D, sigma2)."""
        return np.array([*(self.D[a, b] for a, b in cells(self.q)), self.sigma2])

    def split(self, alpha):
        D = np.zeros((self.q, self.q))
        for value, (a, b) in zip(alpha[:-1], cells(self.q), strict=True):
            D[a, b] = D[b, a] = value
        return D, alpha[-1]

    @property
    def Vdot(self):
        """The derivatives of V with respect to alpha."""
        unit = np.eye(len(self.alpha))
        return [self.V_at(*self.split(e)) for e in unit]

    def loglik(self, beta, V):
        """log N(y; X beta, V)."""
        return log_normal(self.y, self.X @ beta, V)


def cells(q):
    return [(a, b) for b in range(q) for a in range(b, q)]


def log_normal(y, mean, V):
    r = np.atleast_1d(y - mean)
    V = np.atleast_2d(V)
    return -0.5 * (len(r) * np.log(2 * np.pi) + np.linalg.slogdet(V)[1] + r @ np.linalg.solve(V, r))


def derivative(f, x, h=1e-3):
    """Derivatives of f along each coordinate of x, last axis; central differences of order six."""
    x = np.asarray(x, float)
    columns = []
    for e in np.eye(len(x)):
        d = [(np.asarray(f(x + k * h * e)) - np.asarray(f(x - k * h * e))) / 2 for k in (1, 2, 3)]
        columns.append((45 * d[0] - 9 * d[1] + d[2]) / (30 * h))
    return np.stack(columns, axis=-1)


def second_derivative(f, x, h=2e-3):
    """Second derivatives of a number by the coordinates of x, from four points each."""
    steps, k, signs = h * np.eye(len(x)), range(len(x)), [(1, 1), (1, -1), (-1, 1), (-1, -1)]
    half = [[sum(i * j * f(x + i * steps[a] + j * steps[b]) for i, j in signs) if a <= b else 0 for b in k] for a in k]
    return (np.array(half) + np.triu(half, 1).T) / (4 * h**2)


def least_eigenvalue(A):
    return np.linalg.eigvalsh((A + A.T) / 2).min()


def one_way_covariance(n, m, tau2, sigma2):
    return np.kron(np.eye(n), tau2 * np.ones((m, m)) + sigma2 * np.eye(m))


def within(n, m):
    """The matrix of sum_ij (y_ij - mean_i)^2."""
    return np.kron(np.eye(n), np.eye(m) - 1 / m)


def between(n, m):
    """The matrix of m sum_i (mean_i - mean)^2."""
    return np.eye(n * m) - 1 / (n * m) - within(n, m)


def error_covariance(m, C, C0):
    """Covariance of the error C y - X_0 beta - C0 b for CX = X_0: a linear map of the independent b and epsilon."""
    G = np.kron(np.eye(m.n), m.D)
    of_b = C @ m.Zbig - C0
    return of_b @ G @ of_b.T + m.sigma2 * C @ C.T


def blup_matrix(m, X0, Z0):
    """The matrix of X_0 betahat + Z_0 bhat."""
    GZW = np.kron(np.eye(m.n), m.D) @ m.Zbig.T @ m.W
    K = m.Phi @ m.X.T @ m.W
    return X0 @ K + Z0 @ GZW @ (np.eye(m.N) - m.X @ K)


def effects(m, i):
    """The matrix that picks b_i from all b."""
    return np.eye(m.n * m.q)[i * m.q : (i + 1) * m.q]


def at_estimates(m, method="REML"):
    """(lmmlib's fit, the model with the estimates as its D and sigma2)."""
    fitted = lmmlib.fit_design(m.design, method=method)
    assert fitted.converged and not fitted.is_singular
    return fitted, replace(m, D=fitted.D.to_numpy(), sigma2=fitted.sigma2)
