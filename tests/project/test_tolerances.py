"""No tolerance is loose without a reason: the named ones have these values, the others are listed."""

import pytest

from tests import tolerances, tolerances_scan
from tests.tolerances_scan import BOUND, listed, of_source, of_tests

VALUES = {
    "CLOSED_FORM": 1e-11,
    "LOGLIK": 1e-10,
    "BIG": 1e-8,
    "SUMS": 1e-9,
    "LIKELIHOOD": 1e-8,
    "OPTIMUM": 1e-7,
    "HESSIAN": 1e-6,
    "LME4": 1e-6,
    "LME4_TAIL": 1e-4,
    "LME4_DEFAULT": 3e-3,
    "LME4_DEFAULT_SE": 4e-4,
    "SPLINE": 2e-4,
    "NLME": 1e-4,
    "NLME_HESSIAN": 5e-3,
    "GLMMTMB": 1e-4,
    "SDREPORT": 2e-6,
    "GLMER_HESSIAN": 2e-3,
    "LARGEST_VARIANCE": 5e-3,
}
RENEW = "run `python -m tests.tolerances_scan`, and give the new lines of tests/tolerances.csv their reason"


def test_named_tolerances_have_these_values():
    found = {name: value for name, value in vars(tolerances).items() if isinstance(value, float)}
    assert found == VALUES, "a tolerance was changed: change it here too, and say why beside it"
    assert tolerances.monte_carlo(3.0, 4.0) == 4.5 * 5.0
    assert BOUND == 1e-6


def test_every_loose_tolerance_is_listed_with_its_reason():
    found, known = of_tests(), {test: values for test, (values, _) in listed().items()}
    new = {test: values for test, values in found.items() if known.get(test) != values}
    assert not new, f"looser than {BOUND}, and not as listed: {new}; {RENEW}"
    assert set(known) == set(found), f"gone: {sorted(set(known) - set(found))}; {RENEW}"
    without = [test for test, (_, reason) in listed().items() if reason not in tolerances.REASONS]
    assert not without, f"the reason is none of {', '.join(tolerances.REASONS)}: {without}"


@pytest.mark.parametrize(
    "call, values",
    [
        ("assert_allclose(a, b, rtol=1e-7)", []),
        ("assert_allclose(a, b, rtol=1e-4)", [1e-4]),
        ("assert a == approx(b, abs=0.02 * sd)", [0.02]),
        ("assert_allclose(a, b, rtol=0, atol=4.5 * np.sqrt(2 / n))", []),
        ("assert_allclose(a, b, rtol=tol.LME4_DEFAULT)", []),
        ("assert_allclose(a, b, rtol=MINE)", [1e-3]),
        ("assert_allclose(a, b, **{'rtol': 1e-9 if exact else 1e-3})", [1e-3]),
    ],
)
def test_what_counts_as_loose(call, values):
    found = of_source(f"MINE = 1e-3\n\n\ndef test_it():\n    {call}\n")
    assert found == ({"test_it": values} if values else {})


def test_a_loosened_tolerance_is_noticed(tmp_path, monkeypatch):
    """1e-7 in one of the oracle tests becomes 1e-4."""
    source = (tolerances_scan.FOLDER / "oracle/test_fit_exact.py").read_text()
    assert "rtol=1e-7" in source
    (tmp_path / "oracle").mkdir()
    (tmp_path / "oracle/test_fit_exact.py").write_text(source.replace("rtol=1e-7", "rtol=1e-4"))
    monkeypatch.setattr(tolerances_scan, "FOLDER", tmp_path)
    with pytest.raises(AssertionError, match=r"looser than 1e-06, and not as listed: .*test_fit_exact"):
        test_every_loose_tolerance_is_listed_with_its_reason()
