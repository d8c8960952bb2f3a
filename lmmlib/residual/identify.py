"""What the data can tell of D and R, and whether the likelihood has a maximum; if not, why, and what helps."""

from __future__ import annotations

import numpy as np

from lmmlib.common.small import vech
from lmmlib.design.cross import CrossProducts
from lmmlib.equations.information import information_of
from lmmlib.errors import DesignError
from lmmlib.fitting.newton import Optimum
from lmmlib.residual.model import Model
from lmmlib.residual.structures import Compound, Unstructured
from lmmlib.residual.visits import Visits

# An eigenvalue of the information in units of its diagonal that is zero up to rounding; a part of its vector that is.
NO_CHANGE, NAMED = 1e-9, 1e-3
# The smallest standard deviation of V in some direction, beside the residuals of least squares.
NOTHING = 1e-5


def require_enough(cross: CrossProducts, visits: Visits) -> None:
    """Raise if there are as many parameters as rows, before anything is made of them.

    Raises
    ------
    DesignError
        With both numbers.
    """
    p, k, rows = len(cross.x_names), len(cross.theta_coordinates) + len(visits.names()), cross.n_obs
    if k + p >= rows:
        raise DesignError(
            f"{visits.structure!r} and the random effects have {k} parameters, with {p} fixed effects too many for "
            f"{rows} observations; use a structure with fewer, or are the visits no categories?"
        )


def require_identified(model: Model, start: np.ndarray) -> None:
    r"""Raise unless the variance of what the fixed effects leave changes with every parameter of D and R.

    That is, unless the expected information :math:`\frac12\operatorname{tr}(P\dot V_rP\dot V_s)` has full rank, at the
    start: the rank of a linear V is the same at all interior points.

    Raises
    ------
    DesignError
        Names the parameters, what is likely to be the reason, and what helps.
    """
    alpha = model.natural(start)[0]
    s = model.at(alpha, "REML")
    if s is None:
        raise DesignError("V is not positive definite at the start of the search; rescale the columns of the formula")
    information = information_of(s.directions, "REML", "expected")
    size = np.sqrt(np.maximum(np.diag(information), 1e-300))
    unseen = size**2 < NO_CHANGE * np.diag(s.directions.trace2)
    scaled = information / np.outer(size, size)
    scaled[unseen], scaled[:, unseen] = 0.0, 0.0
    values, vectors = np.linalg.eigh(scaled)
    lost = np.abs(vectors[:, values < NO_CHANGE]).max(axis=1, initial=0.0) > NAMED
    if not lost.any():
        return
    names = [name for name, gone in zip(_names(model), lost, strict=True) if gone]
    listed = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    raise DesignError(
        f"the data do not identify {listed}: {'it changes' if len(names) == 1 else 'they change'} without a change in "
        f"the variance of what the fixed effects leave. {_reason(model, lost)}"
    )


def _names(model: Model) -> list[str]:
    """The natural parameters in words."""
    v, z = model.visits, model.cross.z_names
    levels = [v.label(k) for k in range(len(v.levels))]
    if isinstance(v.structure, Unstructured):
        own = [f"R[{levels[a]}, {levels[b]}]" for a, b in vech(len(levels))]
    else:
        own = v.structure.named(levels)
    cells = [f" of {', '.join(map(str, cell))}" if cell else "" for cell in v.cells]
    of_D = [f"D[{z[a]}, {z[b]}]" for a, b in vech(len(z), model.cross.diagonal)]
    return of_D + [f"{name}{cell}" for cell in cells for name in own]


def _reason(model: Model, lost: np.ndarray) -> str:
    """What is likely to be the reason, and what helps."""
    v, z, g = model.visits, model.cross.z_names, model.design.grouping
    both = lost[: model.n_D].any() and lost[model.n_D :].any()
    if both and isinstance(v.structure, Compound):
        return f"Compound symmetry is what a random intercept makes of the visits: keep one, with (0 | {g}) the first"
    if both and isinstance(v.structure, Unstructured):
        return (
            f"A free covariance holds what the random effects {', '.join(z)} add: write (0 | {g}), or choose by(), "
            "compound() or ar1()"
        )
    if v.structure.is_diagonal:
        counts = np.bincount(v.code, minlength=len(v.levels))
        few = int(np.argmin(counts))
        rows = f"{counts[few]} row{'' if counts[few] == 1 else 's'}"
        return (
            f"The level {v.label(few) or 'of all rows'} has {rows}, or the "
            "effects fit all rows of a level exactly; join it to another level, or use fewer fixed or random effects"
        )
    return (
        "Too few groups have two of these visits, or the fixed effects fit them exactly; use a structure with fewer "
        "parameters, such as compound() or ar1(), or leave rare visits out"
    )


def require_maximum(model: Model, w: np.ndarray, method: str, optimum: Optimum) -> None:
    """Raise if the search ran to the edge at which V is singular: there the likelihood has no bound.

    Raises
    ------
    DesignError
        Says so, and what helps.
    """
    alpha = model.natural(w)[0]
    least = min(float(np.linalg.eigvalsh(model.V(batch, alpha)).min()) for batch in model.batches)
    if model.at(alpha, method) is None or (least < NOTHING**2 and not optimum.converged[0]):
        raise DesignError(
            f"the likelihood of {model.visits.structure!r} has no maximum: it grows without bound as the variance of "
            "some combination of the visits of a group tends to zero, because the fixed effects fit it exactly, or "
            "there are fewer groups than visits; use a structure with fewer parameters, or more groups"
        )
