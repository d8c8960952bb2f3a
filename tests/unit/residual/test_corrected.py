"""Errors corrected for estimated variances with a residual covariance, against full matrices."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import lmmlib
from lmmlib.residual import ar1, by, compound, independent, unstructured
from tests.unit.residual import dense

STRUCTURES = {
    "independent": independent(),
    "by": by("v"),
    "compound": compound("v"),
    "ar1": ar1("v"),
    "ar1 by arm": ar1("v", by="arm"),
    "unstructured": unstructured("v"),
}
RANDOM = {"independent": "(x | g)", "by": "(1 | g)", "ar1": "(1 | g)"}


def visits(seed, n=24):
    """Up to four visits, at uneven times, of each of n groups in two arms."""
    rng, times = np.random.default_rng(seed), np.array([0.0, 1.0, 2.0, 4.0])
    own = np.linalg.cholesky(0.5 ** np.abs(np.subtract.outer(times, times))) @ rng.standard_normal((4, n))
    data = pd.DataFrame({"g": np.repeat(np.arange(n), 4), "v": np.tile(times, n), "x": rng.normal(size=4 * n)})
    data["arm"] = np.where(data["g"] % 2, "a", "b")
    noise = own.T.ravel() * np.where(data["arm"] == "a", 1.5, 1.0)
    between = rng.standard_normal((2, n))[:, data["g"]]
    data["y"] = data["v"] + 2 * between[0] + data["x"] * between[1] + noise
    data["w"] = rng.uniform(0.5, 2.0, len(data))
    kept = rng.uniform(size=len(data)) < 0.8
    kept[:8] = True
    return data[kept].sample(frac=1, random_state=2).reset_index(drop=True), data[~kept].reset_index(drop=True)


class Full:
    """A fit with a residual covariance as functions of its natural parameters, by full matrices."""

    def __init__(self, fit):
        self.fit, self.model, self.visits = fit, fit.model, fit.model.visits
        y, self.X, Z = fit.design.standard_rows(fit.design.y)
        self.design = type(fit.design).from_arrays(y, self.X, Z, fit.design.group)

    def D(self, alpha):
        return self.model.unit**2 * self.model.cross.basis.D_back(self.model.D(alpha))

    def R(self, alpha):
        return self.model.unit**2 * self.model.R(alpha)

    def R_of(self, alpha, rows):
        own = self.R(alpha)[self.visits.cell[self.design.group[rows[0]]]]
        own = own[np.ix_(self.visits.code[rows], self.visits.code[rows])]
        return own * np.eye(len(rows)) if self.visits.structure.is_diagonal else own

    def V(self, alpha):
        return dense.V(self.design, self.D(alpha), lambda rows: self.R_of(alpha, rows))

    def of_row(self, alpha, group, x, z, visit):
        """The covariance of a row's target with the responses."""
        rows, c = self.design.rows(group), np.zeros(len(self.X))
        c[rows] = self.design.Z[rows] @ self.D(alpha) @ z
        if not self.visits.structure.is_diagonal and visit not in self.visits.code[rows]:
            c[rows] += self.R(alpha)[self.visits.cell[group]][self.visits.code[rows], visit]
        return c

    def weights(self, alpha, *row):
        c = self.of_row(alpha, *row)
        P, (_, Phi) = dense.projection(self.V(alpha), self.X), dense.gls(self.V(alpha), self.X, self.X[:, 0])
        return P @ c + np.linalg.solve(self.V(alpha), self.X @ Phi @ row[1])

    def information(self, alpha):
        P, k = dense.projection(self.V(alpha), self.X), len(alpha)
        slopes = dense.differences(self.V, alpha)
        return np.array([[np.trace(P @ slopes[r] @ P @ slopes[s]) / 2 for r in range(k)] for s in range(k)])


@pytest.mark.parametrize("name", STRUCTURES)
@pytest.mark.parametrize("seed", [1, 2])
def test_predictions(name, seed):
    data, others = visits(seed)
    weights = {"weights": "w"} if seed == 2 and name in ("by", "ar1") else {}
    fit = lmmlib.fit(f"y ~ v + arm + {RANDOM.get(name, '(0 | g)')}", data, residual=STRUCTURES[name], **weights)
    full, A = Full(fit), fit.expected.A
    assert_allclose(A, np.linalg.inv(full.information(fit.alpha)), rtol=1e-4, atol=1e-6 * np.abs(A).max())
    new, V = pd.concat([others.head(3), data.head(2)], ignore_index=True).assign(w=1.0), full.V(fit.alpha)
    pairs = {method: fit.predict(new, method=method)["se"] ** 2 for method in ("plugin", "corrected")}
    for i, line in new.iterrows():
        x = np.array([1.0, line["v"], float(line["arm"] == "b")])
        z = np.array({"(x | g)": [1.0, line["x"]], "(1 | g)": [1.0]}.get(RANDOM.get(name), []))
        visit = full.visits.levels.index((line["v"],)) if full.visits.structure.visits else 0
        row = fit.design.group_names.index(line["g"]), x, z, visit
        slopes = dense.differences(lambda at, row=row: full.weights(at, *row), fit.alpha)
        added = 2 * np.einsum("rs,ri,ij,sj->", A, slopes, V, slopes)
        assert_allclose(pairs["corrected"][i] - pairs["plugin"][i], added, rtol=1e-5, err_msg=f"row {i}")
    ahead = fit.predict(new, method="corrected", interval="prediction")["se"] ** 2
    gap = fit.predict(new, method="plugin", interval="prediction")["se"] ** 2
    assert_allclose(ahead - gap, pairs["corrected"] - pairs["plugin"], rtol=1e-8)


@pytest.mark.parametrize("name", ["by", "ar1", "ar1 by arm"])
def test_random_effects(name):
    data, _ = visits(3)
    fit = lmmlib.fit("y ~ v + arm + (1 | g)", data, residual=STRUCTURES[name])
    full, A = Full(fit), fit.expected.A
    blups = fit.blups()
    for i in (0, 5):
        rows = full.design.rows(i)

        def c_of(alpha, rows=rows):
            c = np.zeros(len(full.X))
            c[rows] = (full.design.Z[rows] @ full.D(alpha))[:, 0]
            return c

        def S(alpha, c_of=c_of):
            return np.linalg.solve(full.V(alpha), c_of(alpha))

        slopes = dense.differences(S, fit.alpha)
        added = 2 * np.einsum("rs,ri,ij,sj->", A, slopes, full.V(fit.alpha), slopes)
        assert_allclose(blups.corrected[i, 0, 0] - blups.pev[i, 0, 0], added, rtol=1e-6)
