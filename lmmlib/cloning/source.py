"""What the clones of a Gaussian model were made from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

from lmmlib.bayes.draws import Draws
from lmmlib.bayes.priors import Priors
from lmmlib.cloning.ridge import Ridge
from lmmlib.design.cross import CrossProducts
from lmmlib.design.design import Design


@dataclass(frozen=True, eq=False)
class Gaussian:
    """What the clones of a Gaussian model were made from: design, cross-products, priors, draws for each K."""

    design: Design
    cross: CrossProducts
    priors: Priors
    draws: dict[int, Draws]
    flat: list[Ridge]

    @property
    def rank(self) -> int:
        """Number of random columns q."""
        return len(self.cross.z_names)

    @cached_property
    def center(self) -> tuple[np.ndarray, np.ndarray, float]:
        """Posterior means of beta (p,), D (q, q) and sigma2 for the most clones."""
        drawn = self.draws[max(self.draws)]
        return drawn.beta.mean(axis=(0, 1)), drawn.D.mean(axis=(0, 1)), float(drawn.sigma2.mean())

    def points(self, beta: np.ndarray, D: np.ndarray, sigma2: np.ndarray | float) -> pd.DataFrame:
        """Two points as rows of a frame of draws; what they share need not be given twice."""
        (p, q), drawn = (len(self.cross.x_names), self.rank), self.draws[max(self.draws)]
        return replace(
            drawn,
            beta=np.broadcast_to(beta, (1, 2, p)),
            D=np.broadcast_to(D, (1, 2, q, q)),
            sigma2=np.broadcast_to(sigma2, (1, 2)),
        ).frame()
