import numpy as np
import pytest
from numpy.testing import assert_allclose

import lmmlib
from lmmlib.errors import ParameterError
from lmmlib.residual import ar1, by, compound, independent, unstructured


def test_a_fit_in_words(trial):
    fit = lmmlib.fit("lead ~ week + arm + (1 | child)", trial, residual=by("week"))
    text = str(fit)
    assert text == repr(fit) == str(fit.summary())
    assert text.startswith("Linear mixed model fit by REML: lead ~ week + arm + (1 | child)\nresidual covariance: by(")
    assert "Random effects" in text and "Residuals" in text and "Fixed effects" in text
    tables = fit.summary().tables
    assert [row[0] for row in tables["residual"].rows] == ["0", "1", "4", "6"]
    assert_allclose([float(row[1]) for row in tables["residual"].rows], np.diag(fit.R()[0]), rtol=1e-4)
    free = lmmlib.fit("lead ~ week + (0 | child)", trial, residual=unstructured("week", by="arm"), method="ML")
    summary = free.summary()
    assert "random" not in summary.tables and "maximum likelihood" in summary.head[0]
    assert summary.tables["residual"].rows[5][0] == "succimer: 1" and len(summary.tables["residual"].rows) == 8
    assert "tabular" in summary.to_latex() and "<table" in free._repr_html_()


def test_what_a_summary_notes(trial):
    data = trial.assign(double=2 * trial["week"])
    fit = lmmlib.fit("lead ~ week + double + (week | child)", data, residual=independent(), drop="dependent")
    notes = " ".join(fit.summary().notes)
    assert "left out, as they depend on other columns: double" in notes
    assert ("singular" in notes) == fit.is_singular


def test_the_covariance_as_a_table(trial):
    fit = lmmlib.fit("lead ~ week + (0 | child)", trial, residual=unstructured("week", by="arm"))
    table = fit.residual_covariance()
    assert table.shape == (8, 4) and list(table.index.names) == ["arm", "week"] and table.columns.name == "week"
    assert_allclose(table.loc["succimer"], fit.R()[1])
    r = fit.residual_covariance(kind="correlation")
    assert_allclose(r.loc[("placebo", 1.0), 4.0], fit.parameters()["rho placebo: 1, 4"])
    plain = lmmlib.fit("lead ~ week + (0 | child)", trial, residual=independent()).residual_covariance()
    assert plain.shape == (1, 1)
    product = lmmlib.fit("lead ~ week + (0 | child)", trial, residual=by("arm", "week")).residual_covariance()
    assert product.shape == (8, 8) and list(product.columns.names) == ["arm", "week"]
    for structure in (ar1("week"), compound("week")):
        other = lmmlib.fit("lead ~ week + (0 | child)", trial, residual=structure)
        assert_allclose(other.residual_covariance(), other.R()[0])
    with pytest.raises(ParameterError, match="kind is 'covariance' or 'correlation'"):
        fit.residual_covariance(kind="sd")
