"""Whether one fitted model is within another, and both are of the same data: what a comparison needs."""

from __future__ import annotations

import numpy as np

from lmmlib.design.design import KNOWN, Design
from lmmlib.errors import ParameterError
from lmmlib.fitting.fitted import Criteria, Maximum

# A column is in the span of others when this share of its length, or less, is outside.
OUTSIDE = 1e-8
CONTRASTS = (
    "REML criteria of models with different fixed effects are likelihoods of different contrasts of the data "
    "and do not compare"
)


def same_data(fit0: Criteria, fit1: Criteria) -> None:
    """Raise unless both are fits of one response by one method, in the same groups."""
    for model in (fit0, fit1):
        if not hasattr(model, "criterion") or not hasattr(model, "design"):
            raise ParameterError(
                f"models are compared as fits, from lmmlib.fit or lmmlib.fit_glmm; got {type(model).__name__}"
            )
    if fit0.method != fit1.method:
        raise ParameterError(f"one fit is by {fit0.method}, the other by {fit1.method}; fit both by the same method")
    _same_counts(fit0, fit1)
    a, b = fit0.design, fit1.design
    if fit0.n_obs != fit1.n_obs or not np.array_equal(a.y, b.y):
        raise ParameterError(
            f"the fits are not of the same responses ({a.response!r}, {a.n_obs} rows, and {b.response!r}, {b.n_obs} "
            "rows, or in another order); fit both on one frame"
        )
    if getattr(fit0, "family", None) != getattr(fit1, "family", None):
        raise ParameterError("the fits have different families of responses; use one for both")
    for name in KNOWN:
        one, other = getattr(a, name), getattr(b, name)
        if (one is None) != (other is None) or one is not None and not np.array_equal(one, other):
            raise ParameterError(f"the fits have different {name}; use the same in both")
    if len(a.z_names) and len(b.z_names) and not (_within(a, b) and _within(b, a)):
        raise ParameterError(f"the fits have different groups, {a.grouping!r} and {b.grouping!r}")


def _within(a: Design, b: Design) -> bool:
    """Whether all rows of a group of the first design are in one group of the second, whatever their numbers."""
    group_of = np.zeros(a.n_groups, int)
    group_of[a.group] = b.group
    return np.array_equal(group_of[a.group], b.group)


def _same_counts(fit0: Criteria, fit1: Criteria) -> None:
    """Of fits of counts: raise unless they have one offset and as many nodes of quadrature."""
    nodes = [getattr(fit, "n_quadrature", None) for fit in (fit0, fit1)]
    if not np.array_equal(getattr(fit0, "offsets", 0.0), getattr(fit1, "offsets", 0.0)):
        raise ParameterError("the fits have different offsets, so their counts are not compared; use one for both")
    if nodes[0] != nodes[1] and len(fit0.D) == len(fit1.D):
        raise ParameterError(
            f"one fit has {nodes[0]} nodes of quadrature, the other {nodes[1]}; use n_quadrature= "
            "with one number for both"
        )


def nested_fixed(fit0: Criteria, fit1: Criteria) -> int:
    """Fixed effects that the larger model has more."""
    X0, X1 = fit0.design.X, fit1.design.X
    if not _inside(X0, X1):
        swapped = "; the first model is the larger one: exchange them" if _inside(X1, X0) else ""
        raise ParameterError(
            f"the fixed effects of the first model ({', '.join(fit0.beta.index)}) are not within those of the second "
            f"({', '.join(fit1.beta.index)}), so the models are not nested{swapped}"
        )
    more = X1.shape[1] - X0.shape[1]
    if more and fit0.method == "REML":
        if hasattr(fit0, "family"):
            raise ParameterError(f"{CONTRASTS}; fit both with method='laplace'")
        raise ParameterError(f"{CONTRASTS}; fit both with method='ML'")
    return more


def nested_random(fit0: Maximum, fit1: Maximum) -> tuple[int, int]:
    """How many variances are tested, so that the hypothesis is on the boundary, and how many parameters of D."""
    q0, q1 = len(fit0.D), len(fit1.D)
    nested = q0 <= q1 and _inside(fit0.design.Z, fit1.design.Z)
    if is_diagonal(fit1):
        # Uncorrelated in one basis is correlated in another: the columns themselves must be there.
        found = matches(fit0.design.Z, fit1.design.Z)
        nested = nested and (q0 <= 1 or is_diagonal(fit0)) and len(found) == q0
    if not nested:
        raise ParameterError(
            f"the random effects of the first model ({', '.join(fit0.design.z_names)}) are not within those of the "
            f"second ({', '.join(fit1.design.z_names)}), so the models are not nested; is their order right?"
        )
    return q1 - q0, len(fit1.theta) - len(fit0.theta)


def is_diagonal(fit: Criteria) -> bool:
    """One variance alone is as good as full."""
    return fit.design.diagonal and len(fit.D) > 1


def matches(small: np.ndarray, large: np.ndarray) -> list[tuple[int, float]]:
    """For each column of the first matrix the column of the second that it is a multiple of, and the factor."""
    pairs = [(c, k, large[:, k]) for c in small.T for k in range(large.shape[1])]
    return [(k, float(c @ d / (d @ d))) for c, k, d in pairs if _inside(c[:, None], d[:, None])]


def _inside(small: np.ndarray, large: np.ndarray) -> bool:
    """True if the columns of the first matrix are combinations of those of the second."""
    if all(any(c[0] == d[0] and np.array_equal(c, d) for d in large.T) for c in small.T):
        return True
    if not large.shape[1]:
        return False
    Q = np.linalg.qr(large / np.linalg.norm(large, axis=0))[0]
    rest = small - Q @ (Q.T @ small)
    return bool((np.linalg.norm(rest, axis=0) <= OUTSIDE * np.linalg.norm(small, axis=0)).all())
