r"""What each group does to the estimates: leave it out, and look at how they move.

With D and sigma2 held, leaving out a group takes its sums away from those of all, and no model is fitted again.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from lmmlib.common.arguments import checked_choice
from lmmlib.design.cross import cross_products
from lmmlib.design.identify import require_identified
from lmmlib.equations.weighted import weigh
from lmmlib.errors import LmmError
from lmmlib.fitting.fitted import Fitted
from lmmlib.inference.intervals import parameters

# The others do not identify beta if a group has a leverage so near to one in some direction.
ALONE = 1e-10


def influence(fit: Fitted, *, refit: bool = False) -> pd.DataFrame:
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
        their names. NaN where the other groups do not identify them.
    """
    checked_choice("refit", refit, (False, True))
    p, n = len(fit.beta), fit.n_groups
    root = np.linalg.cholesky(fit.Phi)  # in the working basis, where S_i = root'X_i'V_i^-1 X_i root
    S, score = _sums(fit, root)
    kappa, vectors = np.linalg.eigh(S)
    left = np.where(1 - kappa > ALONE, 1 - kappa, np.nan)
    move = -np.einsum("gab,gb->ga", vectors, np.einsum("gba,gb->ga", vectors, score) / left)
    changes = pd.DataFrame(move @ (fit.cross.basis.x_back @ root).T, columns=fit.beta.index)
    if refit:
        changes = pd.DataFrame([_refitted(fit, i) for i in range(n)]) - parameters(fit)
        move = changes.to_numpy()[:, :p] @ np.linalg.inv(fit.cross.basis.x_back @ root).T
    found = {"leverage": np.einsum("gaa->g", S), "cook": (move**2).sum(axis=1) / p}
    index = pd.Index(fit.design.group_names, name=fit.design.grouping)
    return pd.concat([pd.DataFrame(found), changes], axis=1).set_axis(index)


def _sums(fit: Fitted, root: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """root'X_i'V_i^-1 X_i root (n_groups, p, p) and root'X_i'V_i^-1 (y_i - X_i beta), from one pass over the rows."""
    design, cross, (beta, D, sigma2) = fit.design, fit.cross, fit.estimates
    y, X, _ = design.standard_rows(design.y)
    W = np.column_stack([cross.basis.x_work(X) @ root, y - X @ beta])
    sums = np.zeros((design.n_groups, *W.shape[1:], *W.shape[1:]))
    for k, column in enumerate(W.T):
        np.add.at(sums[:, k], design.group, column[:, None] * W)
    w = weigh(cross, D, sigma2)
    Ztr = cross.work.Zty - cross.work.ZtX @ cross.basis.beta_work(beta)
    H = w.HZt(np.concatenate([cross.work.ZtX @ root, Ztr[..., None]], axis=2))
    sums = (sums - np.einsum("gqa,gqb->gab", H, H)) / sigma2
    return sums[:, :-1, :-1], sums[:, :-1, -1]


def _refitted(fit: Fitted, i: int) -> pd.Series:
    """The parameters without group i, which stays as one without rows; NaN if the others do not identify them."""
    design = fit.design.take(fit.design.group != i)
    try:
        cross = cross_products(design)
        cross.require_full_rank()
        require_identified(cross, design.grouping)
        other = Fitted.of(design, cross, fit.method)
    except LmmError:
        return parameters(fit) * np.nan
    return parameters(other) if other.converged else parameters(fit) * np.nan
