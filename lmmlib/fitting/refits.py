"""Fits of many responses one by one, of models that are not fitted as one computation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd

from lmmlib.errors import LmmError


@dataclass(frozen=True, eq=False)
class Refits:
    """Fits of one model to B responses: ``fits``, None where no optimum was found, and each one's ``reason``."""

    fits: tuple
    reason: tuple[str, ...]

    @classmethod
    def of(cls, fit: Any, Y: np.ndarray, done: Callable[[int], object]) -> Self:
        """The model of a fit, which has ``again(y)``, for each column of Y (n_obs, B)."""
        fits, reasons = [], []
        for y in Y.T:
            try:
                again = fit.again(y)
                fits.append(again if again.converged else None)
                reasons.append(again.reason)
            except LmmError as error:
                fits.append(None)
                reasons.append(str(error))
            done(1)
        return cls(tuple(fits), tuple(reasons))

    def join(self, others: list[Self]) -> Self:
        """These fits, and others after them."""
        every = [self, *others]
        return type(self)(sum((one.fits for one in every), ()), sum((one.reason for one in every), ()))

    @property
    def failed(self) -> np.ndarray:
        """Responses whose optimum was not found; ``reason`` says why, (B,)."""
        return np.array([one is None for one in self.fits], bool)

    @property
    def criterion(self) -> np.ndarray:
        """Minus twice ``loglik``, (B,); NaN where the fit failed."""
        return np.array([np.nan if one is None else one.criterion for one in self.fits])

    def parameters(self) -> pd.DataFrame:
        """One row for each response, with the parameters by name; NaN where the fit failed."""
        return pd.DataFrame([{} if one is None else dict(one.parameters()) for one in self.fits])
