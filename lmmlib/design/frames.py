"""Checks of the columns that a formula uses: what may be wrong with a data frame, said by name and row."""

from __future__ import annotations

import datetime
from numbers import Number

import numpy as np
import pandas as pd

from lmmlib.common.arguments import checked_choice
from lmmlib.errors import DataError

# Sums of products of larger values overflow.
LARGEST = 1e150
NO_CATEGORIES = (datetime.date, datetime.time, datetime.timedelta, pd.Period, pd.Interval, complex)
CONVERT = {"to_pandas": "to_pandas()", "collect": "collect().to_pandas()", "compute": "compute()"}
REMEDY = "convert it to numbers, such as years or days, or to text"
# Of what is known of the rows: the least, and what errors say of the others.
KNOWN_MUST = {
    "weights": (1 / LARGEST, "a weight is a finite number above zero: leave rows of no weight out"),
    "offset": (
        -LARGEST,
        "an offset is a finite number (of counts the logarithm of an exposure above zero, such as np.log(hours))",
    ),
    "trials": (1.0, "a number of trials is a whole number above zero: leave rows without trials out"),
}


def is_text(column: pd.Series) -> bool:
    """True for categories, strings and objects; False for numbers and booleans."""
    return not (pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column))


def check_frame(data) -> None:
    """Raise unless the data are a pandas DataFrame with one name for each column."""
    if not isinstance(data, pd.DataFrame):
        library = type(data).__module__.partition(".")[0]
        hint = next(
            (f"; convert it first, with its .{call}" for name, call in CONVERT.items() if hasattr(data, name)), ""
        )
        of = f" of {library}" if library != "builtins" else ""
        raise DataError(f"the data must be a pandas DataFrame; got {type(data).__name__}{of}{hint}")
    if isinstance(data.columns, pd.MultiIndex):
        raise DataError("the columns of the data have names of several levels; give each one name")
    if not data.columns.is_unique:
        twice = data.columns[data.columns.duplicated()][0]
        raise DataError(f"the data have two columns named {twice!r}; rename one")


def checked_rows(
    data, used, numeric, missing: str | None, group: str | None = None, new: bool = False
) -> tuple[pd.DataFrame, np.ndarray]:
    """The columns ``used`` of the data, rows numbered anew, after all checks; and which rows are complete, (rows,).

    Parameters
    ----------
    data : DataFrame
    used : list of str
        Columns that the formula uses.
    numeric : set of str
        Those of them that may be numbers: text among numbers in them is an error.
    missing : {"error", "drop"}, optional
        None for callers without such an argument.
    group : str, optional
        The grouping column, whose labels may be of any type.
    new : bool
        True for rows to predict, in which a factor may show one category only.

    Raises
    ------
    DataError
        No rows; missing values (counted by column); an infinity; text among numbers; a factor of one level.
    ParameterError
        If ``missing`` is another word.
    """
    if not (new and missing is None):
        checked_choice("missing", missing, ("error", "drop"))
    if not len(data):
        raise DataError("the data have no rows")
    frame = numbered({name: data[name] for name in used}, data.index)
    gaps = frame.isna().to_numpy()
    complete = ~gaps.any(axis=1)
    if not complete.all():
        if missing != "drop":
            counts = ", ".join(f"{name} {n}" for name, n in zip(used, gaps.sum(axis=0), strict=True) if n)
            raise DataError(
                f"missing values: {counts} ({(~complete).sum()} of {len(frame)} rows are incomplete); "
                + ("pass missing='drop' to leave" if missing else "fill them in, or let the frame's dropna() leave")
                + " those rows out"
            )
        frame = frame[complete].reset_index(drop=True)
    if not len(frame):
        raise DataError(f"no row is complete in the columns {', '.join(used)}")
    given = dict(frame.items())
    columns = {n: one if n == group else _checked_column(one, n in numeric, new) for n, one in given.items()}
    same = all(columns[name] is one for name, one in given.items())
    return frame if same else numbered(columns, frame.index), complete


def numbered(columns: dict[str, pd.Series], index: pd.Index) -> pd.DataFrame:
    """A frame of columns that have this index, its rows numbered anew."""
    frame = pd.DataFrame(columns, index=index, copy=False)
    frame.index = pd.RangeIndex(len(index))
    return frame


def _checked_column(column: pd.Series, numeric: bool, new: bool) -> pd.Series:
    name, given = column.name, column.dtype
    column = _plain(column)
    if not is_text(column):
        values = column.to_numpy(float)
        if not np.isfinite(values).all():
            row = int(np.flatnonzero(~np.isfinite(values))[0])
            what = "not a number" if np.isnan(values[row]) else "infinite"
            raise DataError(f"column {name!r} is {what} in row {row} (rows count from 0)")
        return column
    try:
        categories = list(pd.unique(column))
    except TypeError:
        raise DataError(f"column {name!r} holds {type(column[0]).__name__} values, neither numbers nor text") from None
    if isinstance(given, pd.CategoricalDtype):
        if len(categories) < len(column.cat.categories):
            column = column.cat.remove_unused_categories()
    else:
        if numeric:
            _check_no_numbers(column)
        odd = next((c for c in categories if isinstance(c, NO_CATEGORIES)), None)
        if odd is not None:
            raise DataError(f"column {name!r} holds {type(odd).__name__} values; {REMEDY}")
    if len(set(map(str, categories))) < len(categories):
        texts = [str(c) for c in categories]
        first = next(k for k, text in enumerate(texts) if text in texts[:k])
        pair = categories[texts.index(texts[first])], categories[first]
        raise DataError(
            f"column {name!r} has the categories {pair[0]!r} ({type(pair[0]).__name__}) and {pair[1]!r} "
            f"({type(pair[1]).__name__}), which read alike; convert it to one type"
        )
    if len(categories) == 1 and not new:
        raise DataError(
            f"column {name!r} has the single category {categories[0]!r}, so it cannot have an effect; leave it out"
        )
    return column


def _plain(column: pd.Series) -> pd.Series:
    """The column in numpy's types, whatever its backend: numbers, or categories, as which text comes too.

    Values that are neither, or of which some are text, stay objects.
    """
    name, dtype = column.name, column.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        categories = dtype.categories
        return column if isinstance(categories.dtype, np.dtype) else column.cat.rename_categories(list(categories))
    if dtype.kind in "cmM" or isinstance(dtype, (pd.DatetimeTZDtype, pd.PeriodDtype, pd.IntervalDtype)):
        raise DataError(f"column {name!r} holds {dtype} values; {REMEDY}")
    if is_text(column) and (categories := _categories(column)) is not None:
        return categories
    if pd.api.types.is_extension_array_dtype(dtype):
        values = column.to_numpy()
        column = pd.Series(values, dtype=values.dtype, name=name)
    if column.dtype == object:
        # What a None that was dropped leaves behind; then Decimal and Fraction.
        inferred = column.infer_objects()
        if inferred.dtype.kind in "biuf":
            return inferred
        if all(isinstance(value, Number) for value in column):
            try:
                return column.astype(float)
            except (TypeError, ValueError, OverflowError):
                raise DataError(f"column {name!r} holds numbers that are complex, or too large; {REMEDY}") from None
    return column


def _categories(column: pd.Series) -> pd.Series | None:
    """A column of text as categories, found among its distinct values; None if there is anything else in it."""
    try:
        codes, values = pd.factorize(column)
    except TypeError:
        return None
    if (codes < 0).any() or not all(isinstance(value, str) for value in values):
        return None
    own = pd.Categorical(np.array(values, object))
    return pd.Series(pd.Categorical.from_codes(own.codes[codes], own.categories), name=column.name)


def _check_no_numbers(column: pd.Series) -> None:
    """Raise if most texts of a column are numbers, perhaps with a decimal comma."""
    name, (codes, values) = column.name, pd.factorize(column)
    texts = pd.Series(values).astype(str)
    commas = texts.str.fullmatch(r"\s*[-+]?\d*,\d+\s*").to_numpy(bool)[codes]
    if commas.mean() >= 0.5:
        row = int(np.argmax(commas))
        raise DataError(
            f"column {name!r} holds numbers with commas, stored as text: row {row} has {column[row]!r} (rows count "
            f"from 0); read them with pandas.read_csv(..., decimal=','), or write C({name}) if they are categories"
        )
    parsed = pd.to_numeric(texts, errors="coerce").notna().to_numpy()[codes]
    if parsed.mean() >= 0.5:
        row = int(np.argmin(parsed)) if not parsed.all() else 0
        what = "numbers stored as text" if parsed.all() else f"text among its numbers: row {row} has {column[row]!r}"
        raise DataError(
            f"column {name!r} holds {what} (rows count from 0); convert it with pandas.to_numeric, "
            f"or write C({name}) if its values are categories"
        )


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
    if isinstance(labels.dtype, pd.CategoricalDtype) and not labels.isna().any():
        there = labels.array.remove_unused_categories()
        return there.codes.astype(np.intp), tuple(there.categories.tolist())
    if isinstance(labels.dtype, np.dtype) and labels.dtype.kind in "iu":
        values = np.asarray(labels)
        if (values[1:] >= values[:-1]).all():  # there is nothing to sort
            first = np.concatenate([[True], values[1:] != values[:-1]])[: len(values)]
            return np.cumsum(first) - 1, tuple(values[first].tolist())
    try:
        codes, names = pd.factorize(labels, sort=True)
    except TypeError as error:
        raise DataError(f"group labels must be numbers, texts or the like: {error}") from None
    if (codes < 0).any():
        raise DataError(f"the group is missing in row {int(np.argmin(codes))} (rows count from 0)")
    return codes, tuple(names.tolist())


def known_numbers(name: str, given, n_rows: int) -> np.ndarray:
    """Weights, an offset or trials as (n_rows,) floats, NaN where missing."""
    try:
        if np.shape(given) != (n_rows,):
            raise DataError(f"{name} must have one value for each of the {n_rows} rows; got shape {np.shape(given)}")
        # Through a Series, which knows pandas' missing values.
        return pd.Series(given).to_numpy(float, na_value=np.nan)
    except DataError:
        raise
    except (TypeError, ValueError, OverflowError):
        raise DataError(f"{name} must be real numbers, one for each row") from None


def checked_known(name: str, given, n_rows: int, rows=slice(None)) -> np.ndarray:
    """The same, after a check that these rows are what ``KNOWN_MUST`` says."""
    values, (low, must) = known_numbers(name, given, n_rows), KNOWN_MUST[name]
    wrong = np.zeros(n_rows, bool)
    wrong[rows] = ~((values >= low) & (values <= LARGEST))[rows]
    if name == "trials":
        wrong[rows] |= (values != np.round(values))[rows]
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DataError(f"{name} is {values[row]:g} in row {row} (rows count from 0), and {must}")
    return values
