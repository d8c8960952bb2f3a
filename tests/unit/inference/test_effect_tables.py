"""The tables of a summary are the numbers of the fit, written."""

import numpy as np
import pytest

import lmmlib
from lmmlib.inference.effect_tables import correlation_table, fixed_table, quantile


def test_fixed_effects_and_correlations(frame):
    fit = lmmlib.fit("lead ~ week + (1 | child)", frame)
    table, numbers = fixed_table(fit, 12), fit.fixed_effects()
    assert table.columns == ("Fixed effects", "estimate", "se", "df", "t", "p")
    assert [row[0] for row in table.rows] == list(fit.beta.index)
    assert abs(float(table.rows[1][1]) - numbers["estimate"].iloc[1]) < 1e-4
    assert fixed_table(lmmlib.fit("lead ~ week + (1 | child)", frame, method="ML"), 12).columns[3] == "z"
    ((name, cell),) = correlation_table(fit, 12).rows
    cov = fit.cov_beta.to_numpy()
    assert name == "week" and abs(float(cell) - cov[0, 1] / np.sqrt(cov[0, 0] * cov[1, 1])) < 6e-4


MANY = np.random.default_rng(5).standard_cauchy(200_003)


@pytest.mark.parametrize(
    "x",
    [
        MANY,
        np.sort(MANY),
        np.where(np.arange(len(MANY)) % 20, MANY, -50.0),  # every value that is looked at is the same
        np.round(MANY),
        np.ones(len(MANY)),
    ],
    ids=["any order", "sorted", "periodic", "ties", "constant"],
)
@pytest.mark.parametrize("at", [0, 0.25, 0.5, 0.75, 1])
def test_quantiles_of_many_values_are_those_of_all(x, at, monkeypatch):
    looked_at = []
    whole = np.quantile
    monkeypatch.setattr(np, "quantile", lambda values, at: looked_at.append(len(values)) or whole(values, at))
    assert quantile(x, at) == pytest.approx(whole(x, at), rel=1e-12, abs=1e-15)
    if x is MANY and 0 < at < 1:
        assert looked_at[0] < len(x) / 10
