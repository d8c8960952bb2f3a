"""data/planting.csv: nine of its ten blocks are reconstructed, and no analysis in the book can tell.

Public are the eight raw yields of block 1 and, for every block, the least-squares coefficients of
yield on 1, density, density squared with the residual mean square on 5 df (`tests/reference/
planting_blocks.csv`). Written in hundredths, these are whole numbers: the published yields have two
decimals. `reconstruct` finds yields with two decimals that have exactly these values, and the tests
prove, with dense formulas of their own, that every quantity of the book depends on nothing else.

Re-create the file:  python tests/oracle/test_planting_sufficiency.py > data/planting.csv
"""

import csv
import io
import itertools
import math
from fractions import Fraction
from functools import cache
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pandas as pd
import pytest
from scipy.linalg import block_diag
from scipy.stats import multivariate_normal

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "tests" / "reference"
DENSITIES = (2, 4, 6, 8)
LINEAR, QUADRATIC, CUBIC = (-3, -1, 1, 3), (1, -1, -1, 1), (-1, 3, -3, 1)
GOLDEN = (math.sqrt(5) - 1) / 2
SEARCH = 12  # half-width of the search for a difference, in hundredths


def read(name):
    with open(REFERENCE / name, newline="") as file:
        return list(csv.DictReader(file))


def dot(a, b):
    return sum(p * q for p, q in zip(a, b, strict=True))


def contrasts(block):
    """Whole-number statistics of a block, in hundredths: total, linear, quadratic contrast, RSS."""
    a, b, c = (Fraction(block[k]) for k in ("ls_intercept", "ls_density", "ls_density_squared"))
    sums = [2 * 100 * (a + b * x + c * x * x) for x in DENSITIES]
    rss = 5 * Fraction(block["residual_mean_square"]) * 100**2
    return sum(sums), dot(LINEAR, sums), dot(QUADRATIC, sums), rss


def target(number, shift=0):
    """Direction of the five residual degrees of freedom of a block, of unit length.

    Standard normal quantiles at five successive points of the golden-ratio sequence: evenly
    spread, so that the sizes of the residuals look like those of a sample. Another `shift`
    gives another direction.
    """
    points = [(5 * number + k + shift) * GOLDEN % 1 for k in range(5)]
    scores = [NormalDist().inv_cdf(u) for u in points]
    return [s / math.hypot(*scores) for s in scores]


def reconstruct(block, shift=0):
    """Eight yields in hundredths, two at each density, with exactly the given statistics.

    The residual sum of squares is T^2 / 40 + sum of d_k^2 / 2, where T is the cubic contrast of
    the four density totals and d_k is the difference of the two yields at density k. T and three
    differences are searched near the target direction; the fourth must then be a whole number.
    Of all exact solutions the one nearest to the target is taken.
    """
    total, linear, quadratic, rss = contrasts(block)
    direction = target(int(block["block"]), shift)
    aim = [float(math.sqrt(rss)) * d for d in direction]
    t_aim, d_aim = aim[0] * math.sqrt(40), [a * math.sqrt(2) for a in aim[1:]]
    best = None
    for t in range(round(t_aim) - 40, round(t_aim) + 41):
        sums = [
            total / 4 + Fraction(lin * linear + cub * t, 20) + Fraction(quad * quadratic, 4)
            for lin, quad, cub in zip(LINEAR, QUADRATIC, CUBIC, strict=True)
        ]
        left = 2 * rss - Fraction(t * t, 20)
        if left.denominator > 1 or any(s.denominator > 1 for s in sums):
            continue
        windows = [range(round(a) - SEARCH, round(a) + SEARCH + 1) for a in d_aim[:3]]
        for d in itertools.product(*windows):
            square = int(left) - dot(d, d)
            last = math.isqrt(max(square, 0))
            if last * last != square:
                continue
            d = (*d, int(math.copysign(last, d_aim[3])))
            if any((s - k) % 2 for s, k in zip(sums, d, strict=True)):
                continue
            distance = (t - t_aim) ** 2 / 40 + sum((k - a) ** 2 for k, a in zip(d, d_aim, strict=True)) / 2
            if best is None or distance < best[0]:
                best = (distance, [(int(s) + sign * k) // 2 for s, k in zip(sums, d, strict=True) for sign in (1, -1)])
    return best[1]


@cache
def planting(shift=0):
    """The text of data/planting.csv."""
    lines = ["block,density,yield,source"]
    for row in read("planting_block_1.csv"):
        lines.append(f"1,{row['density']},{row['yield']},observed")
    for block in read("planting_blocks.csv")[1:]:
        yields = reconstruct(block, shift)
        for density, y in zip(np.repeat(DENSITIES, 2), yields, strict=True):
            lines.append(f"{block['block']},{density},{y / 100:.2f},reconstructed")
    return "\n".join(lines) + "\n"


def yields(shift=0):
    return pd.read_csv(io.StringIO(planting(shift)))["yield"].to_numpy()


# --- the file -----------------------------------------------------------------------------------


def test_the_file_is_what_the_construction_makes():
    assert (ROOT / "data" / "planting.csv").read_text() == planting()


@pytest.mark.parametrize("shift", [0, 1, 2])
def test_every_block_has_the_published_values_exactly(shift):
    rows = list(csv.DictReader(io.StringIO(planting(shift))))
    for block in read("planting_blocks.csv"):
        own = [row for row in rows if row["block"] == block["block"]]
        y = [Fraction(row["yield"]) for row in own]
        x = [Fraction(row["density"]) for row in own]
        coefficients = [Fraction(block[k]) for k in ("ls_intercept", "ls_density", "ls_density_squared")]
        residuals = [b - dot(coefficients, (1, a, a * a)) for a, b in zip(x, y, strict=True)]
        # The normal equations hold, so these are the least-squares coefficients: no tolerance anywhere.
        assert [dot(residuals, [a**k for a in x]) for k in (0, 1, 2)] == [0, 0, 0]
        assert dot(residuals, residuals) == 5 * Fraction(block["residual_mean_square"])
        assert [int(a) for a in x] == [2, 2, 4, 4, 6, 6, 8, 8]


def test_block_1_is_observed_and_the_others_are_marked():
    frame = pd.read_csv(io.StringIO(planting()))
    observed = frame[frame["source"] == "observed"]
    assert set(observed["block"]) == {1} and len(observed) == 8
    assert observed["yield"].tolist() == [float(row["yield"]) for row in read("planting_block_1.csv")]


def test_the_two_residual_variances():
    y, X = yields().reshape(10, 8), quadratic()[:8]
    rss = sum(np.linalg.lstsq(X, block, rcond=None)[1].item() for block in y)
    assert rss / 80 == pytest.approx(0.4923811875, abs=1e-10)  # printed as 0.4924
    assert rss / 50 == pytest.approx(0.7878099, abs=1e-10)


# --- the sufficiency ----------------------------------------------------------------------------

PARAMETERS = [
    (np.diag([2.0, 0.3, 0.002]), 0.8),
    (np.array([[2.0, -0.7, 0.044], [-0.7, 0.28, -0.0205], [0.044, -0.0205, 0.002]]), 0.5),
    (np.outer([1.0, 0.4, -0.05], [1.0, 0.4, -0.05]), 0.7),  # singular
    (np.zeros((3, 3)), 1.3),
]


def quadratic():
    x = np.tile(np.repeat(DENSITIES, 2), 10).astype(float)
    return np.column_stack([np.ones(80), x, x**2])


def answers(y, D, sigma2):
    """Everything that the book computes from the 80 yields, by N x N formulas."""
    X = quadratic()
    Z = block_diag(*np.split(X, 10))
    G = np.kron(np.eye(10), D)
    V = Z @ G @ Z.T + sigma2 * np.eye(80)
    W = np.linalg.inv(V)
    A = X.T @ W @ X
    beta = np.linalg.solve(A, X.T @ W @ y)
    r = y - X @ beta
    ml = multivariate_normal(np.zeros(80), V).logpdf(r)
    reml = ml + 3 / 2 * np.log(2 * np.pi) - np.linalg.slogdet(A)[1] / 2
    elsewhere = multivariate_normal(X @ [3.0, 1.5, -0.1], V).logpdf(y)
    posterior = G @ Z.T @ W @ r  # mean of all b_i with a flat prior on beta; its covariance has no y in it
    return np.concatenate([[ml, reml, elsewhere], beta, posterior])


@pytest.mark.parametrize("D, sigma2", PARAMETERS)
@pytest.mark.parametrize("shift", [1, 2])
def test_other_residuals_give_the_same_answers(D, sigma2, shift):
    y, other = yields(), yields(shift)
    assert np.abs(y - other)[8:].mean() > 0.1, "the two reconstructions must differ"
    np.testing.assert_allclose(answers(other, D, sigma2), answers(y, D, sigma2), rtol=0, atol=1e-10)


@pytest.mark.parametrize("D, sigma2", PARAMETERS)
def test_other_least_squares_estimates_do_not(D, sigma2):
    y, fifth = yields(), np.repeat(np.arange(10), 8) == 4
    x = quadratic()[:, 1]
    steeper = y + np.where(fifth, 0.01 * (x - 5), 0)  # slope of block 5 up by 0.01, residuals as they were
    assert np.abs(answers(steeper, D, sigma2) - answers(y, D, sigma2))[:3].min() > 1e-6
    X = quadratic()[fifth]
    residual = y[fifth] - X @ np.linalg.lstsq(X, y[fifth], rcond=None)[0]
    noisier = y.copy()
    noisier[fifth] += 0.01 * residual  # coefficients as they were, residual mean square up by 2 %
    assert np.abs(answers(noisier, D, sigma2) - answers(y, D, sigma2))[:3].min() > 1e-6


if __name__ == "__main__":
    print(planting(), end="")
