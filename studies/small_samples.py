r"""Coverage of intervals for fixed effects from few groups without balance: how often a 95% interval holds the truth.

Trials like the lead trial, ``lead ~ week + treatment + (1 | id)``, with half of the children in each arm: everybody
comes at week 0, and each of the visits at weeks 1, 4 and 6 takes place with probability one half. The variances are
those of the trial, rounded, and both effects are zero. ``python -m studies.small_samples`` rewrites
``small_samples.csv``.

With a random intercept V has one eigenvalue within groups and one for the means of each size of group, so that Phi, its
adjustment and both informations are sums over at most five eigenspaces, for all responses of a design at once;
``tests/project/test_small_samples_study.py`` compares them with :mod:`lmmlib.dense`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from chapters._tools.replacing import replace_text
from lmmlib.common.progress import progress_bar
from lmmlib.design.design import Design
from lmmlib.fitting.batch import fit_many

TABLE = Path(__file__).with_name("small_samples.csv")
CHILDREN = (6, 10, 16, 24, 40)
PATTERNS, SIZE = 40, 500
TAU2, SIGMA2 = 22.0, 34.0
WEEKS = np.array([0.0, 1.0, 4.0, 6.0])
QUESTIONS = {"slope": 1, "treatment": 2}
BASE_SEED = 20610


@dataclass(frozen=True, eq=False)
class Answers:
    """What the formulas give for each response.

    ``beta``, ``var``, ``var_kr``, ``df_observed`` and ``df_expected`` are (size, p): estimates, their variances and
    those of Kenward and Roger, degrees of freedom by the observed and by the expected information.
    ``cov_variances`` (size, 2, 2) is the inverse of the observed information on tau2 and sigma2.
    ``definite`` (size,) says whether the observed information is positive definite, ``singular`` whether tau2 is zero.
    """

    beta: np.ndarray
    var: np.ndarray
    var_kr: np.ndarray
    df_observed: np.ndarray
    df_expected: np.ndarray
    definite: np.ndarray
    singular: np.ndarray
    residual_df: int
    cov_variances: np.ndarray

    def half_lengths(self) -> dict[str, np.ndarray]:
        """Half of each 95% interval, (size, p), by the name of its method."""
        at_zero = self.singular[:, None]
        df = {
            "satterthwaite": np.where(at_zero, self.df_expected, self.df_observed),
            # what a program finds that differentiates by tau: at zero only the error of sigma2 is left
            "satterthwaite-sd": np.where(at_zero, self.residual_df, self.df_observed),
        }
        half = {"z": stats.norm.ppf(0.975) * np.sqrt(self.var)}
        half |= {name: stats.t.ppf(0.975, value) * np.sqrt(self.var) for name, value in df.items()}
        return half | {"kenward-roger": stats.t.ppf(0.975, self.df_expected) * np.sqrt(self.var_kr)}


METHODS = ("z", "satterthwaite", "satterthwaite-sd", "kenward-roger")


def eigenspaces(X, group, Y):
    """Size of the groups (0 within them) and dimension of each eigenspace of V, and X'EX, (X'EY)', Y'EY of its E."""
    n_i = np.bincount(group)
    J = (group[:, None] == group) / n_i[group]
    spaces = [(0, np.eye(len(X)) - J)] + [(m, J * (n_i[group] == m)) for m in np.unique(n_i)]
    parts = [(m, np.trace(E), X.T @ E @ X, (X.T @ E @ Y).T, np.sum(Y * (E @ Y), axis=0)) for m, E in spaces]
    size, dimension, XEX, XEY, YEY = map(np.array, zip(*parts, strict=True))
    return size, dimension, XEX, XEY.transpose(1, 0, 2), YEY.T


def answers(design: Design, Y: np.ndarray, tau2: np.ndarray, sigma2: np.ndarray) -> Answers:
    """The formulas of chapter 6 for the random-intercept design and each column of Y, at the variances of each."""
    m, dimension, A, Xy, yy = eigenspaces(design.X, design.group, Y)
    value = sigma2[:, None] + tau2[:, None] * m  # eigenvalues of V, (size, spaces)
    d = np.array([m, np.ones(len(m))])  # their derivatives by tau2 and sigma2
    Phi = np.linalg.inv(np.einsum("sc,cpq->spq", 1 / value, A))
    P = np.einsum("kc,sc,cpq->skpq", d, value**-2, A)
    Q = np.einsum("kc,lc,sc,cpq->sklpq", d, d, value**-3, A)
    PPhiP = np.einsum("skpq,sqr,slrt->sklpt", P, Phi, P, optimize=True)
    expected = np.einsum("kc,lc,sc,c->skl", d, d, value**-2, dimension)
    expected = 0.5 * (expected - np.einsum("spq,sklqp->skl", Phi, 2 * Q - PPhiP))
    beta = np.einsum("spq,scq,sc->sp", Phi, Xy, 1 / value)
    Xr = Xy - np.einsum("cpq,sq->scp", A, beta)
    rr = yy - np.einsum("scp,sp->sc", Xy + Xr, beta)
    h = np.einsum("kc,scp,sc->skp", d, Xr, value**-2)
    observed = np.einsum("kc,lc,sc->skl", d, d, rr * value**-3) - expected
    observed -= np.einsum("skp,spq,slq->skl", h, Phi, h, optimize=True)
    W = np.linalg.inv(expected)
    extra = Phi @ np.einsum("skl,sklpq->spq", W, Q - PPhiP) @ Phi
    f = np.einsum("spp->sp", Phi)
    g = np.einsum("skpp->skp", Phi[:, None] @ P @ Phi[:, None])
    of_observed = np.linalg.inv(observed)
    df = [2 * f**2 / np.einsum("skp,skl,slp->sp", g, C, g) for C in (of_observed, W)]
    definite = np.linalg.eigvalsh(observed)[:, 0] > 0
    rest = int(round(dimension.sum())) - A.shape[1]
    return Answers(beta, f, f + 2 * np.einsum("spp->sp", extra), *df, definite, tau2 <= 0, rest, of_observed)


def trial(n_children: int, rng: np.random.Generator) -> Design:
    """A trial with gaps: the children in turn in the two arms, and only the visits that took place."""
    week, child = np.tile(WEEKS, n_children), np.repeat(np.arange(n_children), len(WEEKS))
    came = (week == 0) | (rng.random(len(week)) < 0.5)
    X = np.column_stack([np.ones(len(week)), week, child % 2])[came]
    return Design.from_arrays(np.zeros(len(X)), X, np.ones((len(X), 1)), child[came])


def responses(design: Design, size: int, rng: np.random.Generator) -> np.ndarray:
    """Responses without effects, (n_obs, size)."""
    level = np.sqrt(TAU2) * rng.standard_normal((design.n_groups, size))
    return level[design.group] + np.sqrt(SIGMA2) * rng.standard_normal((design.n_obs, size))


def small_sample_cell(n_children: int, patterns: int = PATTERNS, size: int = SIZE, update=None) -> pd.DataFrame:
    """One cell of the study: a row for each question and method.

    Parameters
    ----------
    n_children : int
        Even; half of them in each arm.
    patterns : int
        Number of patterns of gaps, each with a generator of its own.
    size : int
        Number of responses for each pattern.
    update : function, optional
        Called with the number of responses that are done.

    Returns
    -------
    DataFrame
        Columns n_children, question, method, coverage, coverage_mcse, singular, indefinite, patterns, size, seed. The
        pattern is the unit of the Monte Carlo error. ``singular`` is the share of responses whose estimate of tau2 is
        zero, ``indefinite`` that of those whose observed information is not positive definite.
    """
    covered, at_zero, indefinite = [], [], []
    for pattern in range(patterns):
        rng = np.random.default_rng([BASE_SEED + n_children, pattern])
        design = trial(n_children, rng)
        Y = responses(design, size, rng)
        fits = fit_many(design, Y)
        a = answers(design, Y, np.where(fits.is_singular, 0.0, fits.D[:, 0, 0]), fits.sigma2)
        half = a.half_lengths()
        covered.append([[np.mean(np.abs(a.beta[:, k]) < half[m][:, k]) for m in METHODS] for k in QUESTIONS.values()])
        at_zero.append(a.singular.mean())
        indefinite.append(np.mean(~a.definite))
        if update:
            update(size)
    mean, mcse = np.mean(covered, axis=0), np.std(covered, axis=0, ddof=1) / np.sqrt(patterns)
    end = {"singular": np.mean(at_zero), "indefinite": np.mean(indefinite), "patterns": patterns, "size": size}
    return pd.DataFrame(
        {"n_children": n_children, "question": question, "method": method, "coverage": mean[i, j]}
        | {"coverage_mcse": mcse[i, j], **end, "seed": BASE_SEED + n_children}
        for i, question in enumerate(QUESTIONS)
        for j, method in enumerate(METHODS)
    )


def run(patterns: int = PATTERNS, size: int = SIZE) -> pd.DataFrame:
    """All cells."""
    with progress_bar(patterns * size * len(CHILDREN), "small samples", None) as bar:
        cells = [small_sample_cell(n, patterns, size, update=bar) for n in CHILDREN]
    return pd.concat(cells, ignore_index=True)


def stored() -> pd.DataFrame:
    """The table of the last run."""
    return pd.read_csv(TABLE)


if __name__ == "__main__":
    replace_text(TABLE, run().to_csv(index=False, float_format="%.6f", lineterminator="\n"))
    print(f"wrote {TABLE.name}")
