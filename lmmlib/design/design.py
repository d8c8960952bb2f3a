r"""The design of a mixed model with one grouping factor, and the per-group cross-products.

The likelihoods and estimates of the Gaussian model depend on the rows of the data only through

.. math:: Z_i'Z_i,\; Z_i'X_i,\; Z_i'y_i \quad (i = 1, \dots, n), \qquad X'X,\; X'y,\; y'y.

They are formed in one pass, add up over chunks of rows, and are all that later modules see.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from lmmlib.common.arguments import shown
from lmmlib.design.frames import check_size, checked_known, group_codes
from lmmlib.errors import DataError, DesignError

# What may be known of each row besides its columns.
KNOWN = ("weights", "offset", "trials")

# Of a column of Z beside a diagonal D, whose directions are not scaled.
LARGEST_Z = 1e70


@dataclass(frozen=True, eq=False)
class Design:
    """Response and design matrices of :math:`Y_i = X_i\\beta + Z_i b_i + \\varepsilon_i`, rows in any order.

    Equation :eq:`lmm` of the book. Usually made by :func:`lmmlib.build_design` from a formula, or from
    plain arrays by :meth:`from_arrays`.

    Attributes
    ----------
    y : (n_obs,) array
        Response.
    X : (n_obs, p) array
        Fixed-effects design, its columns named by ``x_names``.
    Z : (n_obs, q) array
        Random-effects design, its columns named by ``z_names``.
    group : (n_obs,) array of int
        Position of each row's group in ``group_names``.
    diagonal : bool
        True if D is diagonal (``||`` in the formula).
    n_dropped : int
        Rows left out because of missing values (``missing="drop"``).
    columns : dict
        The data frame's columns behind ``y``, ``X`` and ``Z``, each with its categories, or None for numbers.
    weights : (n_obs,) array or None
        Known precisions: the residual variance of a row is sigma2 over its weight. See :mod:`lmmlib.design.known`.
    offset : (n_obs,) array or None
        A known part of the mean.
    trials : (n_obs,) array or None
        Of how many trials the response counts the successes.
    weights_column, offset_column, trials_column : str or None
        The columns that they come from, if they are columns.
    dropped : tuple of str
        Columns of the formula that ``X`` has not, because they depend on others (``drop="dependent"``).
    combinations : (p, len(dropped)) array or None
        What they are: ``X @ combinations``.
    """

    y: np.ndarray
    X: np.ndarray
    Z: np.ndarray
    group: np.ndarray
    group_names: tuple
    x_names: tuple[str, ...]
    z_names: tuple[str, ...]
    response: str = "y"
    grouping: str = "group"
    formula: str = ""
    diagonal: bool = False
    n_dropped: int = 0
    columns: dict = field(default_factory=dict, repr=False)
    x_spec: object = field(default=None, repr=False)
    z_spec: object = field(default=None, repr=False)
    weights: np.ndarray | None = None
    offset: np.ndarray | None = None
    trials: np.ndarray | None = None
    weights_column: str | None = None
    offset_column: str | None = None
    trials_column: str | None = None
    dropped: tuple[str, ...] = ()
    combinations: np.ndarray | None = field(default=None, repr=False)

    @classmethod
    def from_arrays(
        cls, y, X, Z, group, *, x_names=None, z_names=None, diagonal=False, weights=None, offset=None, trials=None
    ) -> Design:
        """Design from arrays; ``group`` may hold any labels, in any order; what is known of the rows are (N,) arrays.

        Raises
        ------
        DataError
            If the lengths differ, there are no rows, a value is not finite, or a weight or a number of trials is not
            above zero.
        DesignError
            If two columns have one name.
        """
        try:
            y, X, Z = np.asarray(y, float), np.asarray(X, float), np.asarray(Z, float)
        except (TypeError, ValueError, OverflowError):
            given = ", ".join(map(shown, (y, X, Z)))
            raise DataError(f"y, X and Z must be arrays of real numbers; got {given}") from None
        if not isinstance(group, np.ndarray):
            group = np.array([*_labels("group", group), None], dtype=object)[:-1]
        shapes = y.shape, X.shape, Z.shape, group.shape
        if [len(s) for s in shapes] != [1, 2, 2, 1] or len({s[0] for s in shapes}) > 1:
            raise DataError(f"y, X, Z and group must be (N,), (N, p), (N, q), (N,); got {', '.join(map(str, shapes))}")
        if len(y) == 0:
            raise DataError("the data have no rows")
        for name, values in (("y", y), ("X", X), ("Z", Z)):
            check_size(values, name)
        known = {"weights": weights, "offset": offset, "trials": trials}
        known = {name: checked_known(name, v, len(y)) for name, v in known.items() if v is not None}
        for name, given, columns in (("x_names", x_names, X.shape[1]), ("z_names", z_names, Z.shape[1])):
            labels = [f"{name[0]}{j}" for j in range(columns)] if given is None else _labels(name, given)
            if len(labels) != columns:
                raise DataError(f"{name} must name {columns} columns; got {', '.join(map(str, labels))}")
            check_names(labels)
            known[name] = tuple(labels)
        codes, names = group_codes(group)
        return cls(
            y=y,
            X=X,
            Z=Z,
            group=codes,
            group_names=names,
            diagonal=diagonal,
            **known,
        )

    @property
    def n_obs(self) -> int:
        """Number of observations N."""
        return len(self.y)

    @property
    def n_groups(self) -> int:
        """Number of groups n."""
        return len(self.group_names)

    @cached_property
    def n_i(self) -> np.ndarray:
        """Observations in each group, (n_groups,)."""
        return np.bincount(self.group, minlength=self.n_groups)

    @cached_property
    def by_group(self) -> tuple[np.ndarray, np.ndarray]:
        """Row numbers sorted by group, and where each group begins in them, (n_groups + 1,)."""
        return np.argsort(self.group, kind="stable"), np.concatenate([[0], np.cumsum(self.n_i)])

    def rows(self, i: int) -> np.ndarray:
        """Row numbers of group ``i``, in the order of the data."""
        order, start = self.by_group
        return order[start[i] : start[i + 1]]

    @cached_property
    def places(self) -> dict:
        """The number of each group by its name."""
        return dict(zip(self.group_names, range(self.n_groups), strict=True))

    def group_rows(self, i: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """``(y_i, X_i, Z_i)`` of group ``i``."""
        rows = self.rows(i)
        return self.y[rows], self.X[rows], self.Z[rows]

    def with_response(self, y) -> Design:
        """The same design with another response of the same length."""
        y = np.asarray(y, float)
        if y.shape != self.y.shape or not np.isfinite(y).all():
            raise DataError(f"the new response must be {self.y.shape} finite numbers; got shape {y.shape}")
        return replace(self, y=y)

    def take(self, rows) -> Design:
        """The design of some rows only; groups without rows remain, with ``n_i`` = 0."""
        known = {k: v[rows] for k in KNOWN if (v := getattr(self, k)) is not None}
        return replace(self, y=self.y[rows], X=self.X[rows], Z=self.Z[rows], group=self.group[rows], **known)

    @property
    def residual_variances(self) -> np.ndarray:
        """Of each row in units of sigma2, (n_obs,): one over its weight, or one."""
        return np.ones(self.n_obs) if self.weights is None else 1 / self.weights

    def centred(self, y) -> np.ndarray:
        """Responses (n_obs,) or (n_obs, B) less the offset."""
        return y if self.offset is None else (y.T - self.offset).T

    def standard_rows(self, y) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """y less the offset, X and Z with rows times the root of the weight, so that all have the variance sigma2."""
        y = self.centred(y)
        if self.weights is None:
            return y, self.X, self.Z
        root = np.sqrt(self.weights)
        X = self.X * root[:, None]
        return (y.T * root).T, X, X if self.Z is self.X else self.Z * root[:, None]

    def __repr__(self) -> str:
        dropped = f", {self.n_dropped} rows dropped" if self.n_dropped else ""
        lost = ", ".join(self.dropped)
        return (
            f"Design: {self.formula or self.response}\n"
            f"  {self.n_obs} observations in {self.n_groups} groups{dropped}\n"
            f"  fixed:  {', '.join(self.x_names)}{f' (without {lost})' if lost else ''}\n"
            f"  random: {', '.join(self.z_names) or 'none'}{' (uncorrelated)' if self.diagonal else ''}"
        )


def check_names(names: list[str], origins: list[str] | None = None) -> None:
    """Raise if two coefficients have one name; ``origins`` says where each name comes from."""
    for j, name in enumerate(names):
        k = names.index(name)
        if k < j:
            first, second = (origins[k], origins[j]) if origins else (f"column {k}", f"column {j}")
            raise DesignError(
                f"two coefficients have the name {name!r}: {first} and {second} (columns count from 0); rename a "
                "column or a category, so that each can be told by its name"
            )


def _labels(name: str, given) -> list:
    """Labels as a list."""
    if not np.iterable(given):
        raise DataError(f"{name} must be a sequence of labels; got {shown(given)}")
    return list(given)
