"""The summary: every number in it is an attribute of the fit, rounded."""

import numpy as np

import lmmlib
from lmmlib.several.summary import summary
from tests.several import frame


def test_lines_and_tables():
    fit = lmmlib.fit("y ~ x + (x | h) + (1 | g)", frame(11))
    text = str(summary(fit))
    lines = text.splitlines()
    assert lines[0] == "Linear mixed model fit by REML: y ~ x + (x | h) + (1 | g)"
    assert lines[1] == f"REML criterion {fit.criterion:.4f}, 90 observations, 6 groups of h, 12 groups of g"
    scaled = fit.residuals(kind="scaled")
    assert lines[2].startswith(f"scaled residuals: min {scaled.min():.4f}, quartiles {np.quantile(scaled, 0.25):.4f}")
    random = fit.summary().tables["random"]
    assert random.columns == ("Random effects", "term", "variance", "sd", "corr")
    assert [row[:2] for row in random.rows] == [("h", "(Intercept)"), ("", "x"), ("g", "(Intercept)"), ("Residual", "")]
    D, found = fit.D[0].to_numpy(), [[float(cell) for cell in row[2:4]] for row in random.rows]
    variances = [*np.diag(D), fit.D[1].iloc[0, 0], fit.sigma2]
    assert np.allclose(found, np.column_stack([variances, np.sqrt(variances)]), rtol=1e-4)
    assert np.isclose(float(random.rows[1][4]), D[0, 1] / np.sqrt(D[0, 0] * D[1, 1]), atol=6e-4)
    assert list(fit.summary().tables) == ["random", "fixed", "correlations"]
    assert repr(fit) == text and "lmm-summary" in fit._repr_html_() and r"\toprule" in fit.summary().to_latex()


def test_without_correlations_there_is_no_column():
    fit = lmmlib.fit("y ~ 1 + (x || h) + (1 | g)", frame(11), method="ML")
    assert fit.summary().tables["random"].columns == ("Random effects", "term", "variance", "sd")
    assert "deviance" in str(fit) and "maximum likelihood" in str(fit) and "correlations" not in fit.summary().tables


def test_what_was_left_out_and_what_failed_is_said():
    data = frame(11).assign(x2=lambda d: 2 * d["x"])
    fit = lmmlib.fit("y ~ x + x2 + (1 | h) + (1 | g)", data, drop="dependent")
    assert fit.dropped == ("x2",) and "left out, as they depend on other columns: x2" in str(fit)
    vars(fit).update(converged=False, reason="of a reason")
    assert "not converged, so no standard errors: of a reason" in str(summary(fit))
