"""The families of :func:`lmmlib.fit_glmm` by name."""

from __future__ import annotations

from lmmlib.common.arguments import checked_choice
from lmmlib.glmm.binomial import Binomial
from lmmlib.glmm.family import Family
from lmmlib.glmm.poisson import Poisson

FAMILIES: dict[str, type[Family]] = {"poisson": Poisson, "binomial": Binomial}


def family_of(name: str) -> type[Family]:
    """The family of this name.

    Raises
    ------
    ParameterError
        If there is none.
    """
    checked_choice("family", name, tuple(FAMILIES))
    return FAMILIES[name]
