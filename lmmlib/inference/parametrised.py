"""What intervals, profiles and influence ask of a fit of a linear model, whatever its random part is."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lmmlib.fitting.fitted import Linear
from lmmlib.inference.profiled import Profiled


@dataclass(frozen=True, eq=False)
class Groups:
    r"""The groups of one grouping, and what each adds to the information on the fixed effects at the estimates.

    ``grouping``, ``names`` and ``codes`` (n_obs,), each row's group. With :math:`\Phi = BB'` the covariance of beta, E
    the columns of the unit matrix of the rows of a group and :math:`M = V^{-1}E(E'V^{-1}E)^{-1}E'V^{-1}`: ``own``
    (groups, p, p), :math:`B'X'MXB`, and ``score`` (groups, p), :math:`B'X'M(y - X\hat\beta)`. ``B`` (p, p).
    """

    grouping: str
    names: tuple
    codes: np.ndarray
    own: np.ndarray
    score: np.ndarray
    B: np.ndarray


class Parametrised(Linear):
    """A fit whose parameters have names, a covariance, and models in which one of them is held."""

    @property
    @abstractmethod
    def kinds(self) -> dict[str, tuple]:
        """Every parameter by name: its kind, "effect", "sd", "corr", "sigma" or "rho", and which of these it is."""

    @abstractmethod
    def parameters(self) -> pd.Series:
        """Fixed effects and the parameters of the covariances by name; NaN for a correlation that does not exist."""

    @abstractmethod
    def cov_parameters(self) -> pd.DataFrame:
        """The covariance of their estimates; NaN where there is none."""

    @abstractmethod
    def _held(self, kind: tuple) -> Profiled:
        """The models in which a parameter of this kind is held, of a fixed effect by ML."""

    @abstractmethod
    def groups(self) -> list[Groups]:
        """The groups of each grouping, and what each of them says of the fixed effects."""

    @abstractmethod
    def fitted(self, *, of: str = "group") -> np.ndarray:
        """Fitted values, (n_obs,)."""

    @abstractmethod
    def residuals(self, *, of: str = "group", kind: str = "response") -> np.ndarray:
        """Response less fitted value, (n_obs,), as it is, scaled or standardised."""

    @abstractmethod
    def _standardised(self, Y: np.ndarray) -> np.ndarray:
        """Standardised conditional residuals of other responses (n_obs, B), the variances held, beta estimated anew."""
