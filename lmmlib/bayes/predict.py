r"""Predictions for new rows from draws of the parameters."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from lmmlib.bayes.chains import MAX_MEMORY
from lmmlib.bayes.diagnostics import readable
from lmmlib.bayes.random_effects import draws_of_b
from lmmlib.common.arguments import checked_choice, checked_level
from lmmlib.design.cross import CrossProducts
from lmmlib.design.design import Design
from lmmlib.design.known import of_new_rows
from lmmlib.design.new_rows import new_rows
from lmmlib.errors import ParameterError

OPTIONS = {
    "of": ("group", "typical", "population"),
    "new_groups": ("population", "error"),
    "interval": (None, "confidence", "prediction"),
}


def predict(
    design: Design, cross: CrossProducts, at, new: pd.DataFrame, rng, of, new_groups, interval, level, weights, offset
) -> pd.DataFrame:
    """:meth:`lmmlib.bayes.draws.Draws.predict`, ``at`` its beta, D and sigma2."""
    for name, value in (("of", of), ("new_groups", new_groups), ("interval", interval)):
        checked_choice(name, value, OPTIONS[name])
    (beta, D, sigma2), level, rows = at, checked_level(level), new_rows(design, new, of, new_groups)
    seen = rows.group >= 0
    if of != "group":
        rows = replace(rows, group=np.full(len(seen), -1))
    groups, own = rows.own
    names, many = [cross.group_names[i] for i in groups], sigma2.size
    need = 8 * many * (4 * len(seen) + len(names) * rows.Z.shape[1])
    if need > MAX_MEMORY:
        raise ParameterError(
            f"predictions of {len(seen):,} rows from {many:,} draws would take {readable(need)} of memory, more than "
            f"{readable(MAX_MEMORY)}; predict fewer rows at a time"
        )
    b = draws_of_b(cross, beta, D, sigma2, rng, names, np.inf).reshape(many, len(names), -1)
    mean = beta.reshape(many, -1) @ rows.X.T + own.at(b)
    shift = of_new_rows(design, "offset", offset, new)
    mean = mean if shift is None else mean + shift
    noise = np.zeros(mean.shape)  # variance of what the data do not tell of
    if interval == "prediction" or of == "group":
        noise += np.where(rows.group < 0, np.einsum("ra,sab,rb->sr", rows.Z, D.reshape(many, *D.shape[2:]), rows.Z), 0)
    if interval == "prediction":
        known = of_new_rows(design, "weights", weights, new)
        noise += sigma2.reshape(many, 1) / (1 if known is None else known)
    se, limits = np.sqrt(mean.var(axis=0) + noise.mean(axis=0)), {}
    if interval is not None:
        drawn = mean + np.sqrt(noise) * rng.standard_normal(noise.shape)
        lower, upper = np.quantile(drawn, ((1 - level) / 2, (1 + level) / 2), axis=0)
        limits = {"lower": lower, "upper": upper}
    return pd.DataFrame({"estimate": mean.mean(axis=0), "se": se, **limits, "known_group": seen}, new.index)
