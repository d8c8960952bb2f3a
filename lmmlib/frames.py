"""Checks of the columns that a formula uses: what may be wrong with a data frame, said by name and row."""

from __future__ import annotations

from numbers import Number

import numpy as np
import pandas as pd

from lmmlib.errors import DataError

# Sums of products of larger values overflow.
LARGEST = 1e150


def is_text(column: pd.Series) -> bool:
    """True for categories, strings and objects; False for numbers and booleans."""
    return not (pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column))


def checked_rows(
    data, used, numeric, missing: str, group: str | None = None, new: bool = False
) -> tuple[pd.DataFrame, int]:
    """The columns ``used`` of the data, rows numbered anew, after all checks; and how many rows were dropped.

    Parameters
    ----------
    data : DataFrame
    used : list of str
        Columns that the formula uses.
    numeric : list of str
        Those of them that may be numbers: text among numbers in them is an error.
    missing : {"error", "drop"}
    group : str, optional
        The grouping column, whose labels may be of any type.
    new : bool
        True for rows to predict, in which a factor may show one category only.

    Raises
    ------
    DataError
        No rows; missing values (counted by column); an infinity; text among numbers; a factor of one level.
    """
    if missing not in {"error", "drop"}:
        raise DataError(f"missing must be 'error' or 'drop'; got {missing!r}")
    if not len(data):
        raise DataError("the data have no rows")
    frame = data[used].reset_index(drop=True)
    gaps = frame.isna().to_numpy()
    n_incomplete = 0
    if gaps.any():
        incomplete = gaps.any(axis=1)
        n_incomplete = int(incomplete.sum())
        if missing == "error":
            counts = ", ".join(f"{name} {n}" for name, n in zip(used, gaps.sum(axis=0), strict=True) if n)
            raise DataError(
                f"missing values: {counts} ({n_incomplete} of {len(frame)} rows are incomplete); "
                "pass missing='drop' to leave those rows out"
            )
        frame = frame[~incomplete].reset_index(drop=True)
    if not len(frame):
        raise DataError(f"no row is complete in the columns {', '.join(used)}")
    for name in used:
        column = frame[name]
        checked = column if name == group else _checked_column(column, name in numeric, new)
        if checked is not column:
            frame[name] = checked
    return frame, n_incomplete


def _checked_column(column: pd.Series, numeric: bool, new: bool) -> pd.Series:
    name = column.name
    if column.dtype == object:
        # What a None that was dropped leaves behind; then Decimal and Fraction.
        column = column.infer_objects()
        if column.dtype == object and all(isinstance(value, Number) for value in column):
            column = column.astype(float)
    if column.dtype.kind in "cmM" or isinstance(column.dtype, (pd.DatetimeTZDtype, pd.PeriodDtype)):
        raise DataError(f"column {name!r} holds {column.dtype} values; convert it to numbers, such as years or days")
    if not is_text(column):
        values = column.to_numpy(float)
        if not np.isfinite(values).all():
            row = int(np.flatnonzero(~np.isfinite(values))[0])
            raise DataError(f"column {name!r} is infinite in row {row} (rows count from 0)")
        # pandas' nullable types reach numpy as objects; plain floats mean the same here.
        return column.astype(float) if pd.api.types.is_extension_array_dtype(column) else column
    if isinstance(column.dtype, pd.StringDtype):
        column = column.astype(object)  # formulaic does not know pandas' nullable text
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.cat.remove_unused_categories()
    elif numeric:
        parsed = pd.to_numeric(column.astype(str), errors="coerce").notna()
        if parsed.mean() >= 0.5:
            row = int(np.argmin(parsed)) if not parsed.all() else 0
            what = (
                "numbers stored as text" if parsed.all() else f"text among its numbers: row {row} has {column[row]!r}"
            )
            raise DataError(
                f"column {name!r} holds {what} (rows count from 0); convert it with pandas.to_numeric, "
                f"or write C({name}) if its values are categories"
            )
    try:
        single = column.nunique() == 1
    except TypeError:
        raise DataError(f"column {name!r} holds {type(column[0]).__name__} values, neither numbers nor text") from None
    if single and not new:
        raise DataError(
            f"column {name!r} has the single category {column.iloc[0]!r}, so it cannot have an effect; leave it out"
        )
    return column


def check_size(values: np.ndarray, name: str) -> None:
    """Raise unless all values are finite and their products representable."""
    # A missing value makes both extremes missing; no copy of the values is needed to find that there is none.
    largest = max(-values.min(initial=0), values.max(initial=0))
    if not np.isfinite(largest):
        row = int(np.argwhere(~np.isfinite(values))[0][0])
        raise DataError(f"{name} has a missing or infinite value in row {row}")
    if largest > LARGEST:
        raise DataError(f"{name} has values beyond {LARGEST:g}, whose squares overflow; change its units")


def group_codes(labels) -> tuple[np.ndarray, tuple]:
    """Position of each label among the sorted names, and the names; labels may be of any hashable types."""
    try:
        codes, names = pd.factorize(labels, sort=True)
    except TypeError as error:
        raise DataError(f"group labels must be numbers, texts or the like: {error}") from None
    if (codes < 0).any():
        raise DataError(f"the group is missing in row {int(np.argmin(codes))} (rows count from 0)")
    return codes, tuple(names.tolist())
