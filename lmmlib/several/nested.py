r"""Which models with several groupings lie within which: a term dropped, columns of a term."""

from __future__ import annotations

import numpy as np

from lmmlib.design.design import Design
from lmmlib.errors import ParameterError
from lmmlib.fitting.fitted import Fitted
from lmmlib.several.fitted import SeveralFitted


def random_parts(fit) -> list[Design]:
    """The designs of the random terms of a fit, of one grouping or of several."""
    if isinstance(fit, SeveralFitted):
        return [term.design for term in fit.terms.terms]
    return [fit.design] if fit.design.z_names else []


def _within(small: Design, large: Design) -> bool:
    """Whether a term is part of another: the same groups of rows, its columns among those of the other."""
    pairs = len(np.unique(small.group * large.n_groups + large.group))
    if not pairs == len(np.unique(small.group)) == len(np.unique(large.group)):
        return False
    if large.diagonal and large.Z.shape[1] > 1:
        return all(any(np.array_equal(a, b) for b in large.Z.T) for a in small.Z.T) and (
            small.diagonal or small.Z.shape[1] == 1
        )
    rest = small.Z - large.Z @ np.linalg.lstsq(large.Z, small.Z, rcond=None)[0]
    return bool((np.linalg.norm(rest, axis=0) <= 1e-8 * np.linalg.norm(small.Z, axis=0)).all())


def nested_terms(fit0, fit1) -> tuple[int, int]:
    """How many variances, and how many parameters of the random terms, the larger model has more.

    Raises
    ------
    ParameterError
        If a term of the first model is not within one of the second, or one is no fit of such a model.
    """
    for one in (fit0, fit1):
        if not isinstance(one, Fitted | SeveralFitted):
            raise ParameterError(
                f"a fit with several groupings is compared with such a fit, or one of one grouping; got a "
                f"{type(one).__name__}"
            )
    small, large = random_parts(fit0), random_parts(fit1)
    free = list(large)
    for part in small:
        home = next((one for one in free if _within(part, one)), None)
        if home is None:
            raise ParameterError(
                f"the random effects ({', '.join(part.z_names)} | {part.grouping}) of the first model are not within a "
                "term of the second, so the models are not nested; is their order right?"
            )
        free = [one for one in free if one is not home]
    variances = sum(len(one.z_names) for one in large) - sum(len(one.z_names) for one in small)
    return variances, len(fit1.theta) - len(fit0.theta)
