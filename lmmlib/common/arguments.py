"""Checks of the parameters that a user hands in."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from numbers import Integral

import numpy as np

from lmmlib.errors import DesignError, LmmError, ParameterError


def numbers(value, name: str) -> np.ndarray:
    """The value as an array of floats.

    Raises
    ------
    ParameterError
        If it holds text, complex numbers or rows of different lengths.
    """
    try:
        array = np.asarray(value)
        if array.dtype.kind not in "biufO":
            raise TypeError
        return array.astype(float)
    except (TypeError, ValueError, OverflowError):
        raise ParameterError(f"{name} must be real numbers; got {shown(value)}") from None


def shown(value) -> str:
    """The value as it stands in a message, cut where it is long."""
    try:
        text = repr(value)
    except ValueError:  # an integer of thousands of digits
        return f"a {type(value).__name__}"
    return text if len(text) <= 100 else f"{text[:97]}..."


def checked_beta(beta, names) -> np.ndarray:
    """The fixed effects as an array (p,): one finite number for each name."""
    beta = numbers(beta, "beta")
    if beta.shape != (len(names),) or not np.isfinite(beta).all():
        raise ParameterError(f"beta must have {len(names)} finite entries ({', '.join(names)}); got {beta}")
    return beta


def checked_finite(name: str, value, shape: tuple) -> np.ndarray:
    """Finite numbers in an array of the given shape."""
    array = numbers(value, name)
    if array.shape != shape or not np.isfinite(array).all():
        raise ParameterError(f"{name} must be finite and of shape {shape}; got {value!r}")
    return array


def checked_number(name: str, value, must: str, good: Callable[[float], bool]) -> float:
    """One number for which ``good`` holds, which ``must`` puts into words."""
    array = numbers(value, name)
    if array.size != 1 or not good(array.item()):
        raise ParameterError(f"{name} must {must}; got {shown(value)}")
    return array.item()


def checked_at_least_zero(name: str, value: float) -> float:
    """One finite number, zero or above: a variance or a standard deviation."""
    return checked_number(name, value, "be one finite number of at least 0", lambda x: 0 <= x < np.inf)


def checked_count(name: str, value: int, least: int = 1) -> int:
    """A whole number, one or above, or of another least value."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise ParameterError(f"{name} must be a whole number of at least {least}; got {shown(value)}")
    if value > 2**53:
        raise ParameterError(f"{name} must be a whole number that an array can have as its size; got {shown(value)}")
    return int(value)


def checked_sizes(n_groups: int, n_i) -> np.ndarray:
    """Observations in each group, (n_groups,): one whole number for all, or one for each."""
    n_groups = checked_count("n_groups", n_groups)
    sizes = np.asarray(n_i, dtype=object)
    if not sizes.ndim:
        return np.full(n_groups, checked_count("n_i", sizes.item()))
    if len(sizes) != n_groups:
        raise ParameterError(f"n_i has {len(sizes)} entries, n_groups is {n_groups}; give one for each group")
    return np.array([checked_count("n_i", n) for n in sizes])


def checked_level(level: float) -> float:
    """A coverage, between 0 and 1."""
    value = numbers(level, "level")
    if value.ndim or not 0 < value < 1:
        raise ParameterError(f"level must lie between 0 and 1; got {level!r}")
    return value.item()


def checked_df(df, rows: int = 1) -> np.ndarray:
    """Degrees of freedom: one number above 0, or one for each row."""
    value = numbers(df, "df")
    if value.shape not in {(), (rows,)} or not (value > 0).all():
        raise ParameterError(f"df must be above 0, one number{f' or {rows}' if rows > 1 else ''}; got {df!r}")
    return value


def checked_sigma2(sigma2: float) -> float:
    """The residual variance: one finite number above zero."""
    return checked_number("sigma2", sigma2, "be one finite number above 0", lambda x: 0 < x < np.inf)


def checked_choice(name: str, value, allowed: tuple) -> None:
    """Raise ParameterError unless the value is one of those allowed: words, None, True or False."""
    if not isinstance(value, str | bool | np.bool_ | None) or value not in allowed:
        raise ParameterError(f"{name} is {' or '.join(map(repr, allowed))}; got {shown(value)}")


def require_known(what: str, name, known, error: type[LmmError] = ParameterError) -> None:
    """Raise unless the name is among those that are known, with these and the one that may be meant."""
    names = list(map(str, known))
    if not isinstance(name, str) or name not in names:
        hint = perhaps(shown(name).lower().strip("'"), names)
        raise error(f"there is no {what} {shown(name)}; there are {', '.join(names)}{hint}")


def perhaps(name: str, known: Iterable[str]) -> str:
    """The end of a message that names the one that may be meant, empty if none is near."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; perhaps you want {near[0]!r}" if near else ""


def several(name: str, given) -> list:
    """What is given as a list: one thing, or several."""
    things = [given] if isinstance(given, str) or not np.iterable(given) else list(given)
    if not things:
        raise ParameterError(f"{name} must name one at least; got {shown(given)}")
    return things


def checked_made(name: str, value, kind: type, maker: str) -> None:
    """Raise ParameterError unless the value is an object of the class, which a function of this package makes."""
    if not isinstance(value, kind):
        raise ParameterError(f"{name} must be made by lmmlib.{maker}; got a {type(value).__name__}")


def checked_limit(name: str, value: float) -> float:
    """A number above zero, which may be infinite."""
    return checked_number(name, value, "be one number above 0", lambda x: x > 0)


def generator(rng) -> np.random.Generator:
    """The generator, or a new one of which this whole number is the seed.

    Raises
    ------
    ParameterError
        If it is neither; says how to give one.
    """
    if isinstance(rng, np.random.Generator):
        return rng
    if not isinstance(rng, Integral) or isinstance(rng, bool) or rng < 0:
        raise ParameterError(
            "rng must be a numpy Generator, such as numpy.random.default_rng(1), or a whole number of at least 0, its "
            f"seed; got {shown(rng)}"
        )
    return np.random.default_rng(int(rng))


def checked_D(D, q: int, name: str = "D") -> np.ndarray:
    """The covariance of the random effects as a symmetric (q, q) array; a number will do when q is 1.

    Raises
    ------
    ParameterError
        If the shape is wrong, an entry is not finite, or D is not symmetric and positive semidefinite.
    """
    D = numbers(D, name)
    if q == 1 and D.size == 1:
        D = D.reshape(1, 1)
    if D.shape != (q, q):
        raise ParameterError(f"{name} must be ({q}, {q}), one row per random column; got shape {D.shape}")
    if not np.isfinite(D).all():
        raise ParameterError(f"{name} has a missing or infinite entry")
    if np.abs(D - D.T).max(initial=0) > 1e-8 * np.abs(D).max(initial=0):
        raise ParameterError(f"{name} must be symmetric; use ({name} + {name}.T) / 2 if the difference is rounding")
    D = (D + D.T) / 2
    # Positive semidefinite is judged on correlations, so that the units of z do not matter.
    sd = np.sqrt(np.abs(np.diag(D)))
    unit = D / np.outer(np.where(sd > 0, sd, 1), np.where(sd > 0, sd, 1))
    lowest = np.linalg.eigvalsh(unit).min(initial=0)
    if lowest < -1e-8:
        raise ParameterError(
            f"{name} must be positive semidefinite; its correlation matrix has the eigenvalue {lowest:.3g}. "
            "A variance below zero, or a correlation beyond 1, cannot be one of random effects"
        )
    return D


def standard_deviations(covariance, of: str) -> np.ndarray:
    """Roots of the diagonals of covariance matrices.

    Parameters
    ----------
    covariance : (..., k, k) array
        NaN where there is none.
    of : str
        Whose they are, for the error.

    Returns
    -------
    (..., k) array
        Zero where rounding has left less than that.

    Raises
    ------
    DesignError
        If a variance is negative beyond rounding beside those of the same kind.
    """
    variance = np.diagonal(np.asarray(covariance, dtype=float), axis1=-2, axis2=-1)
    known = np.where(np.isnan(variance), 0.0, variance)
    size = np.abs(known).max(axis=tuple(range(variance.ndim - 1)), initial=0.0)
    # With a singular D all of a kind are zero but for rounding.
    negative = known < -np.maximum(1e-8 * size, 1e-14)
    if negative.any():
        raise DesignError(
            f"a variance of {of} comes out as {variance[negative][0]:.6g}, below zero: either columns lie so far from "
            "zero, or differ so much in size, that their sums have lost their digits (centre and rescale them), or it "
            "is a fault of lmmlib"
        )
    return np.sqrt(np.maximum(variance, 0.0))


def checked_method(method: str) -> None:
    """Raise ParameterError unless the method is "REML" or "ML"."""
    checked_choice("method", method, ("REML", "ML"))
