r"""Known correlations between the groups of one grouping: a matrix, or a pedigree by Henderson's rules.

With :math:`b \sim N(0, A \otimes D)` only :math:`A^{-1}` and :math:`\log|A|` are needed to estimate. In a pedigree

.. math:: a_i = \tfrac12a_{s(i)} + \tfrac12a_{d(i)} + m_i, \qquad
    \operatorname{Var}(m_i) = \delta_i = 1 - \tfrac14\sum_{\text{known parents}}(1 + F)

with the inbreeding :math:`F_i = A_{ii} - 1`, half the relationship of the parents of i. So
:math:`A^{-1} = T'\Delta^{-1}T`, where a row of T has 1 at i and :math:`-\frac12` at its parents (Henderson 1976).

Equations :eq:`breeding-value`, :eq:`mendelian-variance`, :eq:`tabular-method` and :eq:`pedigree-inverse` of the book.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

import numpy as np
import pandas as pd
from scipy import sparse

from lmmlib.common.arguments import require_known, shown
from lmmlib.errors import ParameterError

# What the groups before it leave of a group, as a share of the largest variance, below which two groups are one.
SINGULAR_A = 1e-12


@dataclass(frozen=True, eq=False)
class Relationship:
    """``names`` of all groups; ``A`` (n, n); ``Q``, its inverse, sparse (n, n); ``logdet``, log-determinant of A."""

    names: tuple
    A: np.ndarray
    Q: sparse.csr_array
    logdet: float


def relationship_of(given, groupings: list[str]) -> dict[str, Relationship]:
    """The relationships that are given, by grouping.

    Parameters
    ----------
    given : mapping or None
        From a grouping to a DataFrame: a pedigree, with the names of the groups as index and two columns of their
        parents' names, missing if unknown; or a matrix A, with the names as index and as columns.
    groupings : list of str

    Raises
    ------
    ParameterError
        If there is no such grouping, or the DataFrame is neither.
    """
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise ParameterError(
            "relationship is a mapping of groupings to pedigrees or matrices, such as {'animal': pedigree}; "
            f"got a {type(given).__name__}"
        )
    for name, frame in given.items():
        require_known("grouping", name, groupings)
        if not isinstance(frame, pd.DataFrame) or not frame.index.is_unique:
            raise ParameterError(f"the relationship of {name!r} must be a DataFrame whose index names each group once")
    return {name: matrix(f) if f.columns.equals(f.index) else pedigree(f) for name, f in given.items()}


def matrix(frame: pd.DataFrame) -> Relationship:
    """A relationship given as its matrix A, symmetric and positive definite, named on both sides."""
    A = frame.to_numpy(float)
    if not np.isfinite(A).all():
        raise ParameterError(f"the relationship matrix must be finite; got {shown(frame.to_numpy())}")
    i, j = np.unravel_index(np.abs(A - A.T).argmax(), A.shape)
    if abs(A[i, j] - A[j, i]) > 1e-8 * np.abs(A).max():
        raise ParameterError(
            f"the relationship matrix must be symmetric; got {A[i, j]:g} for {frame.index[i]!r} and "
            f"{frame.index[j]!r}, and {A[j, i]:g} for the two the other way round"
        )
    try:
        root = np.linalg.cholesky((A + A.T) / 2)
        singular = np.diag(root).min() ** 2 < SINGULAR_A * np.diag(A).max()
    except np.linalg.LinAlgError:
        singular = True
    if singular:
        raise ParameterError(
            "the relationship matrix is not positive definite, as it is when two groups are one; name them alike"
        )
    half = np.linalg.inv(root)
    logdet = -2 * float(np.log(np.diag(half)).sum())
    return Relationship(tuple(frame.index), A, sparse.csr_array(half.T @ half), logdet)


def pedigree(frame: pd.DataFrame) -> Relationship:
    """The relationship of a pedigree, in any order; parents without a line of their own are founders.

    Parameters
    ----------
    frame : DataFrame
        Index of names; the first two columns hold the parents, such as sire and dam, missing if unknown.

    Raises
    ------
    ParameterError
        If there are not two columns, or somebody is an ancestor of itself.
    """
    if frame.shape[1] != 2:
        raise ParameterError(
            f"a pedigree has two columns, of sires and dams, and a matrix the names of its index as columns; got "
            f"{frame.shape[1]} columns"
        )
    parents = {
        child: [parent for parent in pair if not pd.isna(parent)]
        for child, pair in zip(frame.index, frame.itertuples(index=False), strict=True)
    }
    try:
        order = list(TopologicalSorter(parents).static_order())
    except CycleError as error:
        raise ParameterError(f"in the pedigree {error.args[1][0]!r} is an ancestor of itself") from None
    place = {name: i for i, name in enumerate(order)}
    A, T, own = np.zeros((len(order),) * 2), sparse.eye_array(len(order), format="lil"), np.ones(len(order))
    for i, name in enumerate(order):
        known = [place[parent] for parent in parents.get(name, [])]
        for parent in known:
            A[i, :i] += A[parent, :i] / 2
            T[i, parent] -= 0.5
            own[i] -= A[parent, parent] / 4
        A[:i, i] = A[i, :i]
        A[i, i] = 1 + (A[known[0], known[1]] / 2 if len(known) == 2 else 0.0)
    T = T.tocsr()
    return Relationship(tuple(order), A, sparse.csr_array(T.T @ sparse.diags_array(1 / own) @ T), np.log(own).sum())
