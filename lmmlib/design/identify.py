r"""What the data can tell of D and sigma2, decided by rank, before anything is estimated.

The variance is linear in its parameters, :math:`V = \sum_r\alpha_r\dot V_r` with :math:`\alpha = (\mathrm{vech}\,D,
\sigma^2)`, and the restricted likelihood is that of :math:`K'y`, where the columns of K span all that is orthogonal to
X. Its variance :math:`K'VK` stays as it is along a direction c exactly if

.. math:: \sum_rc_rK'\dot V_rK = 0 \iff \sum_{r,s}c_rc_s\operatorname{tr}(P\dot V_rP\dot V_s) = 0,

which is twice the quadratic form of the expected information. The left side does not know where P is taken, so the
information has one rank at all interior values, and one look, at V = I, decides. Nor does it depend on the response,
the units, or the basis of X and Z.

The rule is the same for maximum likelihood. Along such a direction its profile likelihood does change, by
:math:`-\frac12\log|X'V^{-1}X|`, but not through the data: wherever they lie, the estimate is at an edge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lmmlib.common.arguments import checked_choice
from lmmlib.common.small import vech
from lmmlib.design.cross import CrossProducts
from lmmlib.design.minque import Grams, coordinates
from lmmlib.errors import DesignError

# An eigenvalue of the inner products, each direction scaled to length one before the fixed effects are taken out, that
# is zero up to rounding: sums of squares keep 15 digits, patterns of groups 12. A direction that is left by this rule
# is found from its length, not from the square of it, and so with half of the digits.
NO_CHANGE, NO_LENGTH = 1e-11, 1e-8
# Where one row outweighs all others their share is lost in the sums at V = I; a second look, at random effects that
# have so many times the weight of the residuals of a group, gives all groups a say.
SECOND_LOOK = 100.0
# A square that is the rounding of a column of zeros, or of one that depends on others, beside that of the longest.
NOTHING = 1e-25
# Share of its length that a column must keep to count as seen, and a coefficient to be named.
SEEN, NAMED = 1e-8, 1e-9


def unseen(cross: CrossProducts, fixed: bool = True, sigma2: bool = True) -> np.ndarray:
    r"""Directions in which D and sigma2 change and the variance of the data does not.

    Parameters
    ----------
    cross : CrossProducts
    fixed : bool
        True: the variance of what the fixed effects leave. False: that of the data themselves.
    sigma2 : bool
        False for models that have none.

    Returns
    -------
    (d, k) array
        Along the matrices of :meth:`lmmlib.design.cross.CrossProducts.D_directions` in the working basis, and sigma2.
    """
    to_E = coordinates(cross.D_directions(working=True))
    to_E = to_E if sigma2 else to_E[:, :-1]
    found = _null(cross.grams, to_E, fixed)
    if not len(found) or not cross.z_names:
        return found
    ratio, again = SECOND_LOOK * cross.n_groups / cross.n_obs, to_E.copy()
    if sigma2:  # there the last direction is V = I + ratio ZZ'
        again[:-1, -1] = [-ratio * (a == b) for a, b in vech(len(cross.z_names))]
    return min(found, _null(cross.grams.at(ratio), again, fixed), key=len)


def _null(grams: Grams, to_E: np.ndarray, fixed: bool) -> np.ndarray:
    """Null directions (d, k) of the inner products of the columns of ``to_E``."""
    plain, gram = grams.plain, grams.taken if fixed else grams.plain
    squares = np.diag(plain)
    unit = np.sqrt(np.where(squares > NOTHING * squares.max(), squares, np.inf))
    values, vectors = np.linalg.eigh(gram / np.outer(unit, unit))
    root = np.sqrt(np.where(values > NO_CHANGE * len(values), values, 0.0))[:, None] * vectors.T
    unit = np.where(np.isfinite(unit), unit, 1.0)
    length = np.linalg.norm(unit[:, None] * to_E, axis=0)
    _, left, rows = np.linalg.svd(root @ (unit[:, None] * to_E / length))
    return rows[left < NO_LENGTH] / length


def require_identified(cross: CrossProducts, grouping: str = "", sigma2: bool = True) -> None:
    """Raise unless the columns of X are independent, and what they leave of the data tells D and sigma2 apart.

    Parameters
    ----------
    cross : CrossProducts
    grouping : str, optional
        Name of the grouping factor, for the message.
    sigma2 : bool
        False for models that have none.

    Raises
    ------
    DesignError
        Names the column, or the entries of D, with what is likely to be the reason and what helps.
    """
    cross.require_full_rank()
    require_seen(cross, grouping, sigma2)


def require_allowed(cross: CrossProducts, grouping: str, unidentified: str) -> None:
    """:func:`require_seen` for samplers, which can do without: what the data do not say, the priors do.

    Raises
    ------
    ParameterError
        If ``unidentified`` is not "error" or "allow".
    DesignError
        If it is "error", as :func:`require_seen`.
    """
    checked_choice("unidentified", unidentified, ("error", "allow"))
    if unidentified == "error":
        try:
            require_seen(cross, grouping)
        except DesignError as error:
            raise DesignError(f"{error}. To see what the priors alone make of it, pass unidentified='allow'") from None


def require_seen(cross: CrossProducts, grouping: str = "", sigma2: bool = True) -> None:
    """The half of :func:`require_identified` that concerns D and sigma2."""
    found = unseen(cross, sigma2=sigma2)
    if not len(found):
        return
    names, said = _in_words(cross, found)
    raise DesignError(f"the data do not identify {_listed(names)}: {said}. {_reason(cross, grouping, sigma2)}")


def _in_words(cross: CrossProducts, found: np.ndarray) -> tuple[list[str], str]:
    """Names of the parameters that are not identified, and how they change without being seen."""
    names, E = cross.variance_names, cross.D_directions(working=True)
    if not cross.diagonal:  # from entries of D in the working basis to those of the formula
        D = cross.basis.D_back(np.einsum("de,eab->dab", found[:, : len(E)], E))
        found = np.column_stack([*(D[:, a, b] for a, b in vech(len(cross.z_names))), found[:, len(E) :]])
    size = cross.basis.z_size
    length = np.array([size[a] * size[b] or 1.0 for a, b in vech(len(size), cross.diagonal)] + [1.0])[: found.shape[1]]
    rows = _reduced(found * length)
    rows = np.where(np.abs(rows) > NAMED * np.abs(rows).max(axis=1, keepdims=True), rows / length, 0.0)
    alone, together = [], []
    for row in rows:
        (first, *others) = np.flatnonzero(row)
        parts = [f"{names[first]} changes by 1", *(f"{names[r]} by {row[r] / row[first]:.4g}" for r in others)]
        together += [_listed(parts)] if others else []
        alone += [] if others else [names[first]]
    of = "what the fixed effects leave of the data"
    said = [f"{of} does not depend on {'it' if rows.any(axis=0).sum() == 1 else _listed(alone)}"] if alone else []
    said += [f"{of} has the same variance when {', or when '.join(together)}"] if together else []
    return [names[r] for r in np.flatnonzero(rows.any(axis=0))], "; and ".join(said)


def _reduced(rows: np.ndarray) -> np.ndarray:
    """Reduced row echelon form: of all directions those in which the fewest parameters change."""
    rows, done = rows.copy(), 0
    for column in range(rows.shape[1]):
        if done == len(rows):
            break
        best = done + int(np.argmax(np.abs(rows[done:, column])))
        if abs(rows[best, column]) <= NAMED * np.abs(rows).max():
            continue
        rows[[done, best]] = rows[[best, done]]
        rows[done] /= rows[done, column]
        others = np.arange(len(rows)) != done
        rows[others] -= np.outer(rows[others, column], rows[done])
        done += 1
    return rows


def _reason(cross: CrossProducts, grouping: str, sigma2: bool) -> str:
    """What is likely to be the reason, and what helps."""
    z, of = cross.z_names, f"of {grouping!r} " if grouping else ""
    alone = f"the model without random effects is (0 | {grouping or 'g'})"
    if cross.n_obs <= len(cross.x_names):
        return (
            f"{cross.n_obs} rows are too few for {len(cross.x_names)} fixed effects and a variance; leave columns out"
        )
    if cross.n_groups == 1:
        return f"There is a single group {of}({cross.group_names[0]!r}), which says nothing of how groups vary; {alone}"
    if sigma2 and (cross.n_i <= 1).all():
        return f"Each group {of}has one row, so that random effects and residuals are one thing; {alone}"
    Rz = cross.basis.Rz
    if not cross.diagonal and np.linalg.eigvalsh(cross.work.ZtZ.sum(axis=0)).min() < SEEN * cross.n_obs:
        return f"The random columns {_listed(z)} are linearly dependent over all rows; leave one out"
    lost = [name for name, share in zip(z, _left(cross, Rz), strict=True) if share < SEEN]
    if lost:
        return (
            f"The fixed effects fit {_listed(lost)} of each of the {cross.n_groups} groups {of}exactly, as they do if "
            "the grouping factor, or as many columns as there are groups, is among them; leave those fixed effects "
            f"out, or {_listed(lost)} out of the random term"
        )
    follows = [name for a, name in enumerate(z) if _follows(cross, a)]
    if follows and cross.n_i.max() >= len(z):
        return (
            f"In each group {of}{follows[-1]} is a combination of the other random columns, as a covariate is that "
            f"does not vary within groups; leave {follows[-1]} out of the random term"
        )
    few, many = cross.n_i[cross.n_i > 0].min(), cross.n_i.max()
    other = "" if cross.diagonal or len(unseen(replace(cross, diagonal=True))) else ", or make D diagonal with ||"
    return (
        f"Groups {of}with n_i = {few if few == many else f'{few} to {many}'} are too small, or too much alike, for "
        f"{len(z)} random columns; leave one out{other}"
    )


def _left(cross: CrossProducts, columns: np.ndarray) -> np.ndarray:
    """Share of the squares of columns Z_i c of all groups that the fixed effects leave, for the c (q, columns)."""
    to_E = coordinates(np.einsum("am,bm->mab", columns, columns))[:, :-1]
    plain = cross.grams.plain[-1] @ to_E
    return (cross.grams.taken[-1] @ to_E) / np.where(plain > 0, plain, 1.0)


def _follows(cross: CrossProducts, a: int) -> bool:
    """True if in each group the random column ``a`` is a combination of the others."""
    Rz, A = cross.basis.Rz, cross.patterns[0]
    others = np.linalg.qr(np.delete(Rz, a, axis=1))[0]
    along, square = others.T @ A @ Rz[:, a], A @ Rz[:, a] @ Rz[:, a]
    weights = np.linalg.pinv(others.T @ A @ others, rcond=NO_CHANGE, hermitian=True) @ along[..., None]
    left = square - np.einsum("po,po->p", along, weights[..., 0])
    return bool((left <= SEEN * square + NO_CHANGE * square.max()).all())


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
