"""Checks of the columns that a formula uses: what may be wrong with a data frame, said by name and row."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lmmlib.errors import DataError


def is_text(column: pd.Series) -> bool:
    """True for categories, strings and objects; False for numbers and booleans."""
    return not (pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column))


def checked_rows(data, used, numeric, missing: str) -> tuple[pd.DataFrame, int]:
    """The columns ``used`` of the data, rows numbered anew, after all checks; and how many rows were dropped.

    Parameters
    ----------
    data : DataFrame
    used : list of str
        Columns that the formula uses.
    numeric : list of str
        Those of them that may be numbers: text among numbers in them is an error.
    missing : {"error", "drop"}

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
    gaps = frame.isna()
    incomplete = gaps.any(axis=1)
    if incomplete.any() and missing == "error":
        counts = ", ".join(f"{name} {n}" for name, n in gaps.sum().items() if n)
        raise DataError(
            f"missing values: {counts} ({int(incomplete.sum())} of {len(frame)} rows are incomplete); "
            "pass missing='drop' to leave those rows out"
        )
    frame = frame[~incomplete].reset_index(drop=True)
    if not len(frame):
        raise DataError(f"no row is complete in the columns {', '.join(used)}")
    for name in used:
        frame[name] = _checked_column(frame[name], name in numeric)
    return frame, int(incomplete.sum())


def _checked_column(column: pd.Series, numeric: bool) -> pd.Series:
    name = column.name
    if pd.api.types.is_complex_dtype(column) or pd.api.types.is_datetime64_any_dtype(column):
        raise DataError(f"column {name!r} holds {column.dtype} values; convert it to numbers, such as years or days")
    if not is_text(column):
        values = column.to_numpy(float)
        if not np.isfinite(values).all():
            row = int(np.flatnonzero(~np.isfinite(values))[0])
            raise DataError(f"column {name!r} is infinite in row {row} (rows count from 0)")
        # pandas' nullable types reach numpy as objects; plain floats mean the same here.
        return column.astype(float) if pd.api.types.is_extension_array_dtype(column) else column
    if not numeric:
        return column
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
    if column.nunique() == 1:
        raise DataError(
            f"column {name!r} has the single category {column.iloc[0]!r}, so it cannot have an effect; leave it out"
        )
    return column
