"""Modes of random effects by Laplace's approximation, with standard errors that say what they take as known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lmmlib.equations.effects import Effects


@dataclass(frozen=True, eq=False, repr=False)
class Modes(Effects):
    """The most likely random effects of every group given its counts.

    Attributes
    ----------
    b : DataFrame
        Modes, a row for each group and a column for each random effect.
    known, estimated : (n_groups, q, q) arrays
        Covariances of the error: beta and D taken as known, or estimated too.
    """

    ERRORS = ("known", "estimated")
    USUAL = "estimated"
    known: np.ndarray
    estimated: np.ndarray
