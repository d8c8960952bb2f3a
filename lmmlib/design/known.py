r"""What is known of each row besides its columns: the relative precision (weights) and a part of the mean (offset).

With weights :math:`w_{ij}` and offsets :math:`o_{ij}` the model is

.. math:: y_{ij} = o_{ij} + x_{ij}'\beta + z_{ij}'b_i + \varepsilon_{ij}, \qquad
    \operatorname{Var}(\varepsilon_{ij}) = \sigma^2/w_{ij},

so that :math:`V_i = Z_iDZ_i' + \sigma^2W_i^{-1}`: the model :eq:`lmm` of :math:`\sqrt w(y - o)`, with the rows of X
and Z times :math:`\sqrt w`, whose log-density is less by :math:`\frac12\sum\log w`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from lmmlib.design.design import Design
from lmmlib.design.frames import check_frame, checked_known, known_numbers
from lmmlib.errors import DataError


def known_values(given: Mapping, data: pd.DataFrame, missing: str) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Weights and offset of the rows for which they are known, and which rows these are, (rows,) of bool.

    Parameters
    ----------
    given : mapping
        From "weights", "offset" and "trials" to a column's name, a Series or a (rows,) array.
    data, missing
        As :func:`lmmlib.build_design` takes them.

    Raises
    ------
    DataError
        If there is no such column, or values are missing, infinite or, weights, not above zero.
    """
    values = {name: of_rows(name, one, data) for name, one in given.items()}
    gaps = np.any([np.isnan(v) for v in values.values()], axis=0)
    if gaps.any() and missing != "drop":
        names = " and ".join(name for name, v in values.items() if np.isnan(v).any())
        raise DataError(
            f"the {names} {'is' if names == 'offset' else 'are'} missing in {int(gaps.sum())} rows, the first being "
            f"row {int(np.argmax(gaps))} (rows count from 0); pass missing='drop' to leave those rows out, or of a "
            "Series with another index than the data its .to_numpy()"
        )
    return {name: checked_known(name, v, len(data), ~gaps)[~gaps] for name, v in values.items()}, ~gaps


def of_rows(name: str, given, data: pd.DataFrame) -> np.ndarray:
    """Weights, an offset or trials for each row of a data frame, NaN where missing.

    Parameters
    ----------
    name : {"weights", "offset", "trials"}
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


def of_new_rows(design: Design, name: str, given, new: pd.DataFrame) -> np.ndarray | None:
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
    return checked_known(name, of_rows(name, given, new), len(new))
