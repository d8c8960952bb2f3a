"""Models with several groupings with full matrices: every formula as it is printed, for tests to compare with."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.linalg import block_diag

from lmmlib.several.criterion import State, factors
from lmmlib.several.fit import fit_several
from lmmlib.several.sums import several_sums
from lmmlib.several.terms import build

FORMULAS = [
    "y ~ x + (1 | g) + (1 | h)",
    "y ~ x + f + (x | g) + (1 | h)",
    "y ~ x + (1 | g) + (x + z | h) + (x || k) + (0 + z | k)",
    "y ~ z + (x | g) + (0 + z | g)",
    "y ~ x + (1 | h/k)",
    "y ~ x + (1 | h:k) + (0 + x | h)",
]


def frame(seed: int, n: int = 90) -> pd.DataFrame:
    """Rows of random groups of three groupings, with weights and an offset."""
    rng = np.random.default_rng(seed)
    data = pd.DataFrame({"g": rng.integers(0, 12, n), "h": rng.integers(0, 6, n), "k": rng.integers(0, 4, n)})
    data["x"], data["z"] = rng.normal(4, 3, n), rng.normal(size=n)
    data["f"] = rng.choice(["a", "b", "c"], n)
    by_h = (2 + 0.8 * (data["x"] - 4)) * rng.normal(size=6)[data["h"]] + 2 * rng.normal(size=6)[data["h"]]
    data["y"] = 0.2 * data["x"] + 2 * rng.normal(size=12)[data["g"]] + by_h + 2 * rng.normal(size=4)[data["k"]]
    data["y"] += rng.normal(size=n)
    data["w"], data["o"] = rng.uniform(0.5, 2, n), rng.normal(size=n)
    return data


class Dense:
    """Everything of a model at its D (by term) and sigma2, from V (n_obs, n_obs)."""

    def __init__(self, design, D: dict, sigma2: float):
        fixed, self.sigma2 = design.fixed, sigma2
        offset = 0.0 if fixed.offset is None else fixed.offset
        self.y, self.X, self.W_inverse = fixed.y - offset, fixed.X, np.diag(fixed.residual_variances)
        self.Z, self.G, self.parts = [], [], []
        for t, term in enumerate(design.terms):
            one, known = term.design, design.known.get(term.grouping)
            names, A = one.group_names, np.eye(one.n_groups)
            if known is not None:
                names, A = known.names, known.A
            place = [names.index(one.group_names[i]) for i in one.group]
            q = one.Z.shape[1]
            Z = np.zeros((len(self.y), len(names) * q))
            for row, (i, z) in enumerate(zip(place, one.Z, strict=True)):
                Z[row, i * q : (i + 1) * q] = z
            self.Z.append(Z)
            self.G.append(np.kron(A, np.asarray(D[t])))
            units = [(a, b) for b in range(q) for a in range(b, q) if a == b or not one.diagonal]
            for a, b in units:
                E = np.zeros((q, q))
                E[a, b] = E[b, a] = 1.0
                self.parts.append(Z @ np.kron(A, E) @ Z.T)
        self.parts.append(self.W_inverse)
        self.V = sigma2 * self.W_inverse + sum(Z @ G @ Z.T for Z, G in zip(self.Z, self.G, strict=True))
        self.Vi = np.linalg.inv(self.V)
        self.Phi = np.linalg.inv(self.X.T @ self.Vi @ self.X)
        self.beta = self.Phi @ self.X.T @ self.Vi @ self.y
        self.P = self.Vi - self.Vi @ self.X @ self.Phi @ self.X.T @ self.Vi

    def criterion(self, method: str) -> float:
        """Minus twice the log-likelihood, or the restricted one."""
        n = len(self.y) - (self.X.shape[1] if method == "REML" else 0)
        value = np.linalg.slogdet(self.V)[1] + self.y @ self.P @ self.y + n * np.log(2 * np.pi)
        return value - (np.linalg.slogdet(self.Phi)[1] if method == "REML" else 0.0)

    def effects(self):
        """Predictions b of all terms, and the covariances of their errors: beta known, and estimated."""
        Z, G = np.concatenate(self.Z, axis=1), block_diag(*self.G)
        T = G @ Z.T
        return T @ self.P @ self.y, G - T @ self.Vi @ T.T, G - T @ self.P @ T.T

    def information(self, kind: str, method: str = "REML") -> np.ndarray:
        """Information on the entries of each D and sigma2."""
        P, y = (self.P if method == "REML" else self.Vi), self.P @ self.y
        traces = np.array([[np.trace(P @ a @ P @ b) for a in self.parts] for b in self.parts])
        bends = np.array([[y @ a @ self.P @ b @ y for a in self.parts] for b in self.parts])
        return traces / 2 if kind == "expected" else bends - traces / 2

    def satterthwaite(self, row: np.ndarray, kind: str) -> float:
        """Satterthwaite's df of one contrast."""
        c = self.Vi @ self.X @ self.Phi @ row
        slope = np.array([c @ part @ c for part in self.parts])
        return 2 * (row @ self.Phi @ row) ** 2 / (slope @ np.linalg.solve(self.information(kind), slope))

    def kenward_roger(self) -> np.ndarray:
        """The adjusted covariance of beta."""
        W, X, Vi = np.linalg.inv(self.information("expected")), self.X, self.Vi
        P = [-X.T @ Vi @ a @ Vi @ X for a in self.parts]
        total = sum(
            W[r, s] * (X.T @ Vi @ a @ Vi @ b @ Vi @ X - P[r] @ self.Phi @ P[s])
            for r, a in enumerate(self.parts)
            for s, b in enumerate(self.parts)
        )
        return self.Phi + 2 * self.Phi @ total @ self.Phi


def state_at(design, method: str, seed: int) -> tuple[State, dict, np.ndarray]:
    """A model at a random theta: its state, D over sigma2 by term in the columns of the formula, and theta."""
    sums = several_sums(design)
    theta = np.random.default_rng(seed).normal(size=sums.theta_places[-1].stop)
    state, D = State(sums, factors(sums, theta), method == "REML"), {}
    for g, full in zip(sums.groupings, state.D, strict=True):
        for number, basis, columns in zip(g.numbers, g.bases, g.slices, strict=True):
            D[number] = basis.D_back(full[columns, columns])
    return state, D, theta


def design_of(formula: str, seed: int, **known):
    return build(formula, frame(seed), **known)


def animals(seed: int, method: str = "REML", n: int = 24, herd: bool = False):
    """A fit to one record of each of n animals of six sires, with or without a second grouping."""
    rng = np.random.default_rng(seed)
    sire, names = rng.integers(0, 6, n), [f"calf {k}" for k in range(n)]
    data = pd.DataFrame({"calf": names, "x": rng.normal(size=n), "h": rng.integers(0, 4, n)})
    own = 0.6 * rng.normal(size=6)[sire] + 0.5 * rng.normal(size=n) + 0.7 * rng.normal(size=n)
    data["y"] = 1 + data["x"] / 2 + own + herd * rng.normal(size=4)[data["h"]]
    pedigree = pd.DataFrame({"sire": [f"sire {k}" for k in sire], "dam": None}, names)
    formula = "y ~ x + (1 | calf)" + (" + (1 | h)" if herd else "")
    return fit_several(formula, data, method=method, relationship={"calf": pedigree})


def pairs(seed: int, n: int = 12) -> pd.DataFrame:
    """Two rows of each group, whose intercept and slope fit them exactly."""
    rng = np.random.default_rng(seed)
    g, x = np.repeat(np.arange(n), 2), np.tile([0.0, 1.0], n) + rng.uniform(0, 0.4, 2 * n)
    b = rng.normal(size=(n, 2)) @ np.array([[1.0, 0.0], [0.3, 0.6]])
    return pd.DataFrame({"g": g, "x": x, "y": 1 + x / 2 + b[g, 0] + b[g, 1] * x + 0.4 * rng.normal(size=2 * n)})
