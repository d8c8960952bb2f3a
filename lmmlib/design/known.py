r"""What is known of each row besides its columns: the relative precision (weights) and a part of the mean (offset).

With weights :math:`w_{ij}` and offsets :math:`o_{ij}` the model is

.. math:: y_{ij} = o_{ij} + x_{ij}'\beta + z_{ij}'b_i + \varepsilon_{ij}, \qquad
    \operatorname{Var}(\varepsilon_{ij}) = \sigma^2/w_{ij},

so that :math:`V_i = Z_iDZ_i' + \sigma^2W_i^{-1}`: the model :eq:`lmm` of :math:`\sqrt w(y - o)`, with the rows of X
and Z times :math:`\sqrt w`, whose log-density is less by :math:`\frac12\sum\log w`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd

from lmmlib.design.design import Design
from lmmlib.design.frames import check_frame, checked_known, known_numbers
from lmmlib.errors import DataError


def known_design(build: Callable, formula: str, data: pd.DataFrame, missing: str, weights, offset) -> Design:
    """The design that ``build`` makes of the rows for which weights and offset are known, with these in it.

    Parameters
    ----------
    build : function
        :func:`lmmlib.build_design`.
    formula, data, missing
        As it takes them.
    weights, offset : str, Series or (n_obs,) array, optional

    Returns
    -------
    Design

    Raises
    ------
    DataError
        As ``build``; or if there is no such column, or values are missing, infinite or, weights, not above zero.
    """
    given = {"weights": weights, "offset": offset}
    values = {name: of_rows(name, one, data) for name, one in given.items() if one is not None}
    gaps = np.isnan(np.array(list(values.values()))).any(axis=0)
    if gaps.any() and missing != "drop":
        names = " and ".join(name for name, v in values.items() if np.isnan(v).any())
        raise DataError(
            f"the {names} are missing in {int(gaps.sum())} rows, the first being row {int(np.argmax(gaps))} (rows "
            "count from 0); pass missing='drop' to leave those rows out"
        )
    for name, v in values.items():
        values[name] = checked_known(name, v, len(data), ~gaps)
    data = data[~gaps]
    design = build(formula, data, missing)
    rows = np.flatnonzero(~gaps)
    if design.n_dropped:
        used = [name for name in data.columns if name in design.columns or name == design.grouping]
        rows = rows[data[used].notna().all(axis=1).to_numpy()]
    if len(rows) != design.n_obs:
        raise DataError(f"which {design.n_dropped} rows have missing values is not clear; leave them out of the data")
    columns = {f"{name}_column": one for name, one in given.items() if isinstance(one, str)}
    kept = {name: v[rows] for name, v in values.items()}
    return replace(design, n_dropped=design.n_dropped + int(gaps.sum()), **kept, **columns)


def of_rows(name: str, given, data: pd.DataFrame) -> np.ndarray:
    """Weights or an offset for each row of a data frame, NaN where missing.

    Parameters
    ----------
    name : {"weights", "offset"}
    given : str, Series or (rows,) array
        A column, or values; those of a Series are taken by the labels of its index.
    data : DataFrame

    Returns
    -------
    (rows,) array

    Raises
    ------
    DataError
        If there is no such column, the values are not numbers, or they do not fit the rows.
    """
    check_frame(data)
    if isinstance(given, str):
        if given not in data.columns:
            raise DataError(f"{name}={given!r} is not a column of the data ({', '.join(map(str, data.columns))})")
        given = data[given]
    elif isinstance(given, pd.Series) and not given.index.equals(data.index):
        if not (given.index.is_unique and data.index.is_unique):
            raise DataError(f"the index of the Series {name} has labels twice; pass an array")
        given = given.reindex(data.index)
    return known_numbers(name, given, len(data))


def of_new_rows(design: Design, name: str, given, newdata: pd.DataFrame) -> np.ndarray | None:
    """Weights or offset of rows to predict: as given, or the column that the fit had; None if it had neither.

    Raises
    ------
    DataError
        If the fit had an array, or its column is not in the new data.
    """
    had = getattr(design, name)
    if given is None and had is None:
        return None
    given = getattr(design, f"{name}_column") if given is None else given
    if given is None:
        raise DataError(f"the fit has {name} from an array; pass {name}= with one value for each new row")
    return checked_known(name, of_rows(name, given, newdata), len(newdata))
