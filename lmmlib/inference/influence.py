r"""What each group does to the estimates: leave it out, and look at how they move.

With D and sigma2 held, leaving out a group takes its sums away from those of all, and no model is fitted again.
"""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pandas as pd

from lmmlib.common.arguments import checked_choice
from lmmlib.equations.weighted import weigh
from lmmlib.errors import LmmError
from lmmlib.fitting.fitted import Fitted
from lmmlib.inference.parametrised import Groups, Parametrised

# The others do not identify beta if a group has a leverage so near to one in some direction.
ALONE = 1e-10


def influence(fit: Parametrised, *, refit: bool = False) -> pd.DataFrame:
    r"""How the estimates change when one group is left out, and how far that is.

    .. math:: \hat\beta_{(i)} - \hat\beta = -(\Phi^{-1} - X_i'V_i^{-1}X_i)^{-1}X_i'V_i^{-1}(y_i - X_i\hat\beta), \qquad
        C_i = \tfrac1p(\hat\beta_{(i)} - \hat\beta)'\Phi^{-1}(\hat\beta_{(i)} - \hat\beta)

    Equations :eq:`leave-group-out` and :eq:`cook-group` of the book; Christensen, Pearson and Johnson (1992).

    Parameters
    ----------
    fit : Fit
    refit : bool
        Estimate D and sigma2 anew as well, by as many fits as there are groups; by default they are held.

    Returns
    -------
    DataFrame
        A row for each group: its ``leverage`` :math:`\operatorname{tr}(\Phi X_i'V_i^{-1}X_i)`, which sum to p, its
        Cook's distance ``cook``, and the changes of the fixed effects, or of all parameters of a refit, under
        their names. NaN where the other groups do not identify them. With several groupings a row for each group of
        each, the index being ``grouping`` and ``group``; for :math:`X_i'V_i^{-1}` there is
        :math:`X'V^{-1}E(E'V^{-1}E)^{-1}E'`, E having the columns of the unit matrix for the rows of the group.
    """
    checked_choice("refit", refit, (False, True))
    parts, names = fit.groups(), fit.beta.index
    tables = {}
    for g in parts:
        kappa, vectors = np.linalg.eigh(g.own)
        left = np.where(1 - kappa > ALONE, 1 - kappa, np.nan)
        move = -np.einsum("gab,gb->ga", vectors, np.einsum("gba,gb->ga", vectors, g.score) / left)
        changes = pd.DataFrame(move @ g.B.T, columns=names)
        if refit:
            own = fit.parameters()
            changes = pd.DataFrame([_refitted(fit, g.codes == i) for i in range(len(g.names))], columns=own.index) - own
            move = changes[names].to_numpy() @ np.linalg.inv(g.B).T
        found = {"leverage": np.einsum("gaa->g", g.own), "cook": (move**2).sum(axis=1) / len(names)}
        index = pd.Index(g.names, name=g.grouping)
        tables[g.grouping] = pd.concat([pd.DataFrame(found), changes], axis=1).set_axis(index)
    if len(parts) == 1:
        return tables[parts[0].grouping]
    return pd.concat(tables, names=["grouping", "group"])


def groups(fit: Fitted) -> list[Groups]:
    """What each group of a fit with one grouping says of the fixed effects, from one pass over the rows."""
    design, cross, (beta, D, sigma2), root = fit.design, fit.cross, fit.estimates, np.linalg.cholesky(fit.Phi)
    y, X, _ = design.standard_rows(design.y)
    W = np.column_stack([cross.basis.x_work(X) @ root, y - X @ beta])
    sums = np.zeros((design.n_groups, *W.shape[1:], *W.shape[1:]))
    for k, column in enumerate(W.T):
        np.add.at(sums[:, k], design.group, column[:, None] * W)
    w = weigh(cross, D, sigma2)
    Ztr = cross.work.Zty - cross.work.ZtX @ cross.basis.beta_work(beta)
    H = w.HZt(np.concatenate([cross.work.ZtX @ root, Ztr[..., None]], axis=2))
    sums = (sums - np.einsum("gqa,gqb->gab", H, H)) / sigma2
    B = cross.basis.x_back @ root
    return [Groups(design.grouping, design.group_names, design.group, sums[:, :-1, :-1], sums[:, :-1, -1], B)]


def _refitted(fit: Parametrised, rows: np.ndarray) -> pd.Series:
    """The parameters without these rows; NaN if the others do not identify them."""
    with suppress(LmmError):
        if (other := fit.without(rows)).converged:
            return other.parameters()
    return fit.parameters() * np.nan
