"""Rows in chunks, and what a fit of their sums has to agree with."""

from numpy.testing import assert_allclose

from lmmlib.design import coding as design_coding
from lmmlib.lmm import chunked

FORMULA = "lead ~ week * treatment + (week | id)"
LEVELS = {"treatment": ["placebo", "succimer"]}


def chunks(frame, size=37):
    return [frame[first : first + size] for first in range(0, len(frame), size)]


def by_chunks(formula, frame, example, levels=None, method="REML"):
    code = design_coding.coding(formula, example, levels)
    return chunked.fit_sums(
        code, design_coding.merge(design_coding.chunk_sums(code, c) for c in chunks(frame)), method=method
    )


def agree(ours, full, tol=1e-8):
    """Sums in another order differ by rounding, 1e-12 or so; the optimisers' stops by 1e-9 in the estimates."""
    assert_allclose(ours.loglik, full.loglik, rtol=1e-11)
    assert_allclose(ours.beta, full.beta, rtol=tol, atol=tol)
    assert_allclose(ours.cov_beta, full.cov_beta, rtol=1e-6, atol=tol)
    assert_allclose(ours.D, full.D, rtol=1e-5, atol=1e-6)
    assert list(ours.beta.index) == list(full.beta.index) and list(ours.D.index) == list(full.D.index)
