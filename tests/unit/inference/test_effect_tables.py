"""The tables of a summary are the numbers of the fit, written."""

import numpy as np

import lmmlib
from lmmlib.inference.effect_tables import correlation_table, fixed_table


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
