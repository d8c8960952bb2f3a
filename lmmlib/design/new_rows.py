"""Rows that were not in the data: their columns, and the groups that they belong to."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

from lmmlib.design.design import Design
from lmmlib.design.formula import fixed_matrix, random_matrix
from lmmlib.errors import DataError


def new_rows(design: Design, new: pd.DataFrame, of: str, new_groups: str) -> NewRows:
    """New data as rows of X and Z with their groups, which ``of="group"`` alone needs: else all may be new."""
    X = fixed_matrix(design, new)
    Z = X if design.z_spec is design.x_spec else random_matrix(design, new)
    grouping = design.grouping
    if grouping in new.columns:
        group = _positions(design, new[grouping], strict=of == "group")
    elif of == "group":
        raise DataError(
            f"the new data have no column {grouping!r}, which says the group of each row; add it, or ask for "
            "of='population'"
        )
    else:
        group = np.full(len(X), -1)
    if of == "group" and new_groups == "error" and (group < 0).any():
        unknown = pd.unique(new[grouping][group < 0])
        named = ", ".join(map(repr, unknown[:5].tolist())) + (", ..." if len(unknown) > 5 else "")
        raise DataError(
            f"{len(unknown)} of the groups in {grouping!r} were not in the data of the fit: {named}; pass "
            "new_groups='population' to predict them as new ones"
        )
    return NewRows(X, Z, group)


def _positions(design: Design, labels: pd.Series, strict: bool) -> np.ndarray:
    """Each row's place among the groups of the fit, -1 for none; strict: every label must make sense."""
    try:
        codes, unique = pd.factorize(labels)
    except TypeError as error:
        raise DataError(f"group labels in {labels.name!r} must be numbers, texts or the like: {error}") from None
    place, unique = design.places, list(unique)
    found = np.array([place.get(label, -1) for label in unique] + [-1])  # a missing label has the code -1
    if strict and (codes < 0).any():
        raise DataError(f"the group is missing in row {int(np.argmin(codes))} of {labels.name!r} (rows count from 0)")
    unknown = [label for label in unique if label not in place] if strict else []
    alike = {_plain(name): name for name in place} if unknown else {}
    for label in unknown:
        known = alike.get(_plain(label))
        if type(known) not in {type(None), type(label)}:
            raise DataError(
                f"{labels.name!r} has the group {label!r} ({type(label).__name__}), which the fit knows as {known!r} "
                f"({type(known).__name__}); convert the column"
            )
    return found[codes]


def _plain(label) -> str:
    """How a label reads when its type is left aside: 3, "3" and "3.0" alike, and a day with or without its midnight."""
    text = str(label).removesuffix(" 00:00:00")
    try:
        return repr(float(text))
    except ValueError:
        return text


@dataclass(frozen=True, eq=False)
class NewRows:
    """Rows to predict: ``X`` (rows, p), ``Z`` (rows, q), and ``group``, each row's group in the fit or -1, (rows,)."""

    X: np.ndarray
    Z: np.ndarray
    group: np.ndarray

    def take(self, rows) -> NewRows:
        """Some of the rows."""
        return NewRows(self.X[rows], self.Z[rows], self.group[rows])

    @cached_property
    def own(self) -> tuple[np.ndarray, NewRows]:
        """The groups that have rows here, at least one, and the rows with their places among these."""
        known = self.group >= 0
        groups, place = np.unique(self.group[known], return_inverse=True)
        group = np.full(len(known), -1)
        group[known] = place
        return groups if len(groups) else np.zeros(1, int), replace(self, group=group)

    def at(self, b: np.ndarray) -> np.ndarray:
        """:math:`z'b_i` of each row from the effects b (..., n_groups, q) of all groups; zero for new groups."""
        known = (self.group >= 0).astype(float)
        return np.einsum("r,rq,...rq->...r", known, self.Z, b[..., self.group, :])
