"""What the clones of a Gaussian model were made from."""

from __future__ import annotations

from dataclasses import dataclass

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
