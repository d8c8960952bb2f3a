r"""Fitted values, residuals, random effects and draws: what is asked of the rows of a fit with a residual covariance.

All is computed group by group for rows times the roots of their weights, of which :math:`V_i = Z_iDZ_i' + R_i`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from lmmlib.common.arguments import checked_choice, checked_count, generator
from lmmlib.equations.effects import Effects, labelled
from lmmlib.equations.residuals import NOTHING
from lmmlib.inference.parametrised import Groups
from lmmlib.residual.corrected import estimation_covariance, slopes_of_D
from lmmlib.residual.fitted import ResidualFitted


class Block(NamedTuple):
    """The groups with ``size`` rows each.

    Their numbers ``group`` (groups,) and ``rows`` (groups, size); standard rows of X in the working basis (groups,
    size, p), of Z (groups, size, q), and residuals ``r`` about the population's mean (groups, size); ``R`` and ``V``
    (groups, size, size).
    """

    group: np.ndarray
    rows: np.ndarray
    X: np.ndarray
    Z: np.ndarray
    r: np.ndarray
    R: np.ndarray
    V: np.ndarray


def blocks(fit: ResidualFitted) -> Iterator[Block]:
    """The rows of all groups, by their number, with their covariances."""
    y, X, Z = fit.design.standard_rows(fit.design.y)
    r, X, model, D = y - X @ fit.beta.to_numpy(), fit.cross.basis.x_work(X), fit.model, fit.D.to_numpy()
    for batch in model.batches:
        rows, R = batch.rows, model.of_patterns(batch, fit.R())[batch.pattern]
        z = Z[rows]
        yield Block(batch.group, rows, X[rows], z, r[rows], R, z @ D @ np.swapaxes(z, 1, 2) + R)


def phi(fit: ResidualFitted) -> np.ndarray:
    """The covariance of beta in the working basis, (p, p)."""
    R_inverse = fit.model.unit * fit.surface.directions.R_inverse
    return R_inverse @ R_inverse.T


@dataclass(frozen=True, eq=False, repr=False)
class ResidualBlups(Effects):
    r"""Predictions :math:`\hat b_i = DZ_i'V_i^{-1}(y_i - X_i\hat\beta)`.

    Equation :eq:`residual-blup` of the book. With three errors as :mod:`lmmlib.prediction.blups`; ``fit``: whose they
    are.
    """

    ERRORS = ("known", "pev", "corrected")
    USUAL = "pev"
    fit: ResidualFitted

    @cached_property
    def known(self) -> np.ndarray:
        """Covariance of the error, all parameters known, (n_groups, q, q)."""
        D, out = self.fit.D.to_numpy(), np.empty((self.fit.n_groups, *self.fit.D.shape))
        for block in blocks(self.fit):
            DZ = D @ np.swapaxes(block.Z, 1, 2)
            out[block.group] = D - DZ @ np.linalg.solve(block.V, np.swapaxes(DZ, 1, 2))
        return out

    @cached_property
    def pev(self) -> np.ndarray:
        """Covariance of the error, beta estimated too, (n_groups, q, q): the prediction error variance."""
        D, out, Phi = self.fit.D.to_numpy(), self.known.copy(), phi(self.fit)
        for block in blocks(self.fit):
            T = D @ np.swapaxes(block.Z, 1, 2) @ np.linalg.solve(block.V, block.X)
            out[block.group] += T @ Phi @ np.swapaxes(T, 1, 2)
        return out

    @cached_property
    def corrected(self) -> np.ndarray:
        """Covariance of the error, D and R estimated too, (n_groups, q, q): :mod:`lmmlib.residual.corrected`.

        As of a :class:`lmmlib.Fit` what D and R do to the error through beta is left out.
        """
        fit, out, dD = self.fit, self.pev.copy(), slopes_of_D(self.fit)
        for b, block in enumerate(blocks(fit)):
            c, dc = block.Z @ fit.D.to_numpy(), np.einsum("nia,kab->knib", block.Z, dD)
            pattern = fit.model.batches[b].pattern
            out[block.group] += 2 * estimation_covariance(fit, b, pattern, block.V, block.X, c, dc)
        return out


def random_effects(fit: ResidualFitted) -> ResidualBlups:
    """The predictions of the random effects of every group."""
    b = np.zeros((fit.n_groups, len(fit.D)))
    for block in blocks(fit):
        u = np.linalg.solve(block.V, block.r[..., None])
        b[block.group] = (fit.D.to_numpy() @ np.swapaxes(block.Z, 1, 2) @ u)[..., 0]
    return ResidualBlups(labelled(fit.design, b), fit)


def fitted(fit: ResidualFitted, *, of: str = "group") -> np.ndarray:
    r"""Fitted values :math:`X_i\hat\beta + Z_i\hat b_i` (group) or :math:`X_i\hat\beta` (population), (n_obs,).

    What the correlation says of a residual is no part of them.
    """
    checked_choice("of", of, ("group", "population"))
    design = fit.design
    mean = design.X @ fit.beta.to_numpy() + (0.0 if design.offset is None else design.offset)
    if of == "population":
        return mean
    return mean + np.einsum("na,na->n", design.Z, random_effects(fit).b.to_numpy()[design.group])


def residuals(fit: ResidualFitted, *, of: str = "group", kind: str = "response") -> np.ndarray:
    r"""Response less fitted value, (n_obs,), as it is, scaled or standardised.

    Scaled residuals about the groups' own values are divided by the roots of the diagonal of R; those about the
    population's are :math:`C_i^{-1}(y_i - X_i\hat\beta)` with :math:`V_i = C_iC_i'`: under the model uncorrelated.
    Standardised ones are divided by the roots of their own variances

    .. math:: V - X\Phi X' \;\text{(population)}, \qquad RPR \;\text{(group)}, \qquad
        P = V^{-1} - V^{-1}X\Phi X'V^{-1}

    equation :eq:`residual-covariances` of the book with R for :math:`\sigma^2I`; NaN where nothing is left of one.
    """
    checked_choice("of", of, ("group", "population"))
    checked_choice("kind", kind, ("response", "scaled", "standardised"))
    if kind == "response":
        return fit.design.y - fitted(fit, of=of)
    if kind == "standardised" and of == "group":
        return standardised(fit, fit.design.y[:, None])[:, 0]
    Phi, out = phi(fit), np.empty(fit.n_obs)
    for block in blocks(fit):
        if kind == "standardised":
            out[block.rows] = block.r / np.sqrt(_left(block.V, block.X, Phi))
        elif of == "population":
            out[block.rows] = np.linalg.solve(np.linalg.cholesky(block.V), block.r[..., None])[..., 0]
        else:
            rest = np.einsum("gij,gj->gi", block.R, np.linalg.solve(block.V, block.r[..., None])[..., 0])
            with np.errstate(divide="ignore", invalid="ignore"):
                out[block.rows] = rest / np.sqrt(np.einsum("gii->gi", block.R))
    return out


def _left(part: np.ndarray, X: np.ndarray, Phi: np.ndarray) -> np.ndarray:
    """The diagonals of matrices (groups, size, size) less X Phi X'; NaN where nothing is left of one."""
    own = np.einsum("gii->gi", part)
    left = own - np.einsum("gix,xy,giy->gi", X, Phi, X)
    return np.where(left > NOTHING * own, left, np.nan)


def standardised(fit: ResidualFitted, Y: np.ndarray) -> np.ndarray:
    """Standardised conditional residuals of responses (n_obs, B), D and R held, beta estimated anew."""
    y, out, Phi, own = fit.design.standard_rows(Y)[0], np.empty_like(Y), phi(fit), list(blocks(fit))
    parts = [np.linalg.solve(block.V, np.concatenate([block.X, y[block.rows]], axis=2)) for block in own]
    p = len(Phi)
    beta = Phi @ sum(np.tensordot(b.X, part[..., p:], ([0, 1], [0, 1])) for b, part in zip(own, parts, strict=True))
    for block, part in zip(own, parts, strict=True):
        RX, rest = block.R @ part[..., :p], block.R @ (part[..., p:] - part[..., :p] @ beta)
        left = _left(block.R @ np.linalg.solve(block.V, block.R), RX, Phi)
        out[block.rows] = rest / np.sqrt(left)[..., None]
    return out


def groups(fit: ResidualFitted) -> list[Groups]:
    """What each group says of the fixed effects."""
    p = len(fit.beta)
    root, design = fit.model.unit * fit.surface.directions.R_inverse, fit.design
    own, score = np.zeros((fit.n_groups, p, p)), np.zeros((fit.n_groups, p))
    for block in blocks(fit):
        X = block.X @ root
        VX = np.linalg.solve(block.V, X)
        own[block.group] = np.swapaxes(VX, 1, 2) @ X
        score[block.group] = np.einsum("gix,gi->gx", VX, block.r)
    B = fit.cross.basis.x_back @ root
    return [Groups(design.grouping, design.group_names, design.group, own, score, B)]


def simulate(fit: ResidualFitted, size: int | None = None, rng=None) -> np.ndarray:
    """New responses from the fitted model, (n_obs,) or (n_obs, size): new random effects, new residuals."""
    count, rng, design = 1 if size is None else checked_count("size", size), generator(rng), fit.design
    normal = rng.standard_normal((design.n_obs, count))
    y = np.empty_like(normal)
    for block in blocks(fit):
        y[block.rows] = np.linalg.cholesky(block.V) @ normal[block.rows]
    y *= np.sqrt(design.residual_variances)[:, None]
    y += fitted(fit, of="population")[:, None]
    return y[:, 0] if size is None else y
