r"""Profiles: the deviance as a function of one parameter, at the best values of all others."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lmmlib.common.arguments import numbers
from lmmlib.equations.names import chosen
from lmmlib.errors import ParameterError
from lmmlib.fitting.fitted import Fitted
from lmmlib.inference.held import Held
from lmmlib.inference.held_parameters import HeldCorrelation, HeldEffect, HeldRatio, HeldSd, HeldSigma
from lmmlib.inference.parametrised import Parametrised
from lmmlib.inference.profiled import Profiled

# The default grid: so many values on each side of the estimate, out to this signed root.
SIDE, REACH = 15, 3.0
# The last step to a limit is at most this share of its distance from the estimate; what is left is less still.
RESOLUTION = 1e-10
# A value is nearly a parabola of its root. It is met from outside, so that what follows lies between known points;
# where the root does not rise the distance from the estimate is multiplied, and where it has a corner it is halved.
BEYOND, LEAP = 1.2, 2.0
SMOOTH, TRIALS = 12, 60

MODELS = {"effect": HeldEffect, "sd": HeldSd, "corr": HeldCorrelation, "sigma": HeldSigma, "icc": HeldRatio}


def held(fit: Fitted, kind: tuple) -> Held:
    """The models in which a parameter is held, of a fixed effect by ML; ``kind`` as ``parameter_names`` has it."""
    return MODELS[kind[0]](fit.by_ml if kind[0] == "effect" else fit, *kind[1:])


def zeta(model: Profiled, value: float) -> float:
    r"""Signed root of the rise of the criterion.

    .. math:: \zeta(\psi) = \operatorname{sign}(\psi - \hat\psi)\sqrt{d(\psi) - d(\hat\psi)}

    Equation :eq:`profile-interval` of the book.
    """
    rise = max(model.at(value).criterion - model.fit.criterion, 0.0)
    return float(np.sign(value - model.estimate) * np.sqrt(rise)) if np.isfinite(model.estimate) else 0.0


def reach(model: Profiled, root: float) -> float:
    """Where the signed root has a value; the edge of the parameter space if it is nowhere so large."""
    side = 1 if root > 0 else -1
    estimate, edge, attained = model.estimate, model.edges[side > 0], model.attained[side > 0]
    if not np.isfinite(estimate):
        return edge
    inside, outside, known = estimate, None, {0.0: estimate}
    value = estimate + root * model.step
    for trial in range(TRIALS):
        if side * (value - edge) >= 0:
            value = edge if attained else (inside + edge) / 2
        known[here := abs(zeta(model, value))] = value
        if here >= abs(root):
            outside = value
        elif value == edge:
            return edge
        else:
            inside = value
        last, value = value, _interpolated(known, abs(root))
        if outside is None:
            ahead = BEYOND * (value - last) / (last - estimate)
            value = last + (min(ahead, LEAP) if ahead > 0 else LEAP) * (last - estimate)
        elif (value - inside) * (value - outside) >= 0 or trial > SMOOTH:
            value = (inside + outside) / 2
        if abs(value - last) <= RESOLUTION * abs(last - estimate):
            return value
    return edge if outside is None else value


def _interpolated(known: dict[float, float], root: float) -> float:
    """The value at a root by the parabola, or line, through the three known ones next to it; NaN if there is one."""
    near = sorted(known, key=lambda z: abs(z - root))[:3]
    weights = [float(np.prod([(root - other) / (z - other) for other in near if other != z])) for z in near]
    return sum(w * known[z] for w, z in zip(weights, near, strict=True)) if len(near) > 1 else np.nan


def profile(fit: Parametrised, parameter: str, values=None) -> pd.DataFrame:
    r"""Profile of one parameter: the least criterion among all models in which it has a value.

    .. math:: \zeta(\psi) = \operatorname{sign}(\psi - \hat\psi)\sqrt{d(\psi) - d(\hat\psi)}

    Equation :eq:`profile-interval` of the book. The criterion is the one of the fit, for a fixed effect always that of
    ML: restricted likelihoods of different X do not compare, and a fixed effect at a value is a smaller X.

    Parameters
    ----------
    fit : Fit
    parameter : str
        A name that :meth:`lmmlib.lmm.fit.Fit.parameters` lists.
    values : sequence of float, optional
        Where to hold it; by default 15 steps on each side of the estimate, out to a signed root of 3 or to the edge of
        the parameter space.

    Returns
    -------
    DataFrame
        Columns ``value``, ``criterion``, ``zeta``, in the order of ``values``. A correlation that does not exist,
        because a standard deviation is zero, is free to have any value: its zeta is 0 everywhere.

    Raises
    ------
    ParameterError
        If there is no such parameter, or a value is outside its space.
    DesignError
        If the optimum has not been found, so that there is nothing to compare with.
    """
    if not isinstance(parameter, str):
        raise ParameterError(f"parameter must be one name; got {parameter!r}")
    model = fit._held(chosen(fit.kinds, fit.design, parameter)[parameter])
    model.name = parameter
    values = _grid(model) if values is None else _checked(values, model, parameter)
    estimate, criteria = model.parameter(model.estimate), {}
    for value in sorted(values, key=lambda v: abs(v - np.nan_to_num(estimate))):
        criteria[value] = model.criterion(value)  # neighbours start from one another, whatever the order
    rises = np.array([criteria[value] for value in values]) - model.fit.criterion
    roots = np.sign(values - np.nan_to_num(estimate)) * np.sqrt(np.maximum(rises, 0.0)) * np.isfinite(estimate)
    return pd.DataFrame({"value": values, "criterion": [criteria[value] for value in values], "zeta": roots})


def _grid(model: Profiled) -> np.ndarray:
    if not np.isfinite(model.estimate):
        return np.linspace(*model.space[0], 2 * SIDE + 1)
    low, high = (model.parameter(reach(model, root)) for root in (-REACH, REACH))
    # As far as the root rises, where an edge is infinite.
    known = [model.parameter(point.value) for point in model.points]
    ends = max(low, min(known)), min(high, max(known))
    estimate = model.parameter(model.estimate)
    return np.unique(np.concatenate([np.linspace(end, estimate, SIDE + 1) for end in ends]))


def _checked(values, model: Profiled, parameter: str) -> np.ndarray:
    values = np.atleast_1d(numbers(values, "values"))
    (low, high), attained = model.space
    inside = (values >= low if attained[0] else values > low) & np.isfinite(values)
    inside &= values <= high if attained[1] else values < high
    if values.ndim != 1 or not inside.all():
        bad = values.ravel()[~inside.ravel()]
        what = f"got {bad[0]:g}" if len(bad) else f"got shape {values.shape}"
        raise ParameterError(f"values of {parameter!r} must be finite numbers from {low:g} to {high:g}; {what}")
    return values
