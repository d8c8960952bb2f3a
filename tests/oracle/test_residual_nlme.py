"""Residual covariances against nlme: variances by level, compound symmetry, AR(1), free; visits missing."""

import numpy as np
import pytest

import lmmlib
from lmmlib.residual import ar1, by, compound, independent, unstructured
from tests import tolerances as tol
from tests.oracle.conftest import read
from tests.oracle.leaves import WORDS, Near, agree, relative

CELLS = "lead ~ treatment * C(week)"
MODELS = {
    "by": (f"{CELLS} + (1 | id)", by("week")),
    "by_arm": (f"{CELLS} + (0 | id)", by("treatment", "week")),
    "compound": (f"{CELLS} + (0 | id)", compound("week")),
    "ar1": (f"{CELLS} + (0 | id)", ar1("week")),
    "ar1_slope": ("lead ~ treatment * week + (1 | id)", ar1("week")),
    "unstructured": (f"{CELLS} + (0 | id)", unstructured("week")),
}


@pytest.fixture(scope="module")
def frame():
    tlc = lmmlib.load("tlc")
    return tlc[(7 * tlc["id"].astype(int) + 3 * tlc["week"]) % 5 != 0]


def of_visits(parameters):
    """Standard deviations of the residuals by nlme's names of the levels."""
    sigmas = {name.removeprefix("sigma ").replace(", ", "."): v for name, v in parameters.items() if "sigma " in name}
    return {name: relative(value, tol.NLME) for name, value in sigmas.items()}


@pytest.mark.parametrize("stored", read("residual/nlme.json"), ids=lambda row: f"{row['model']}-{row['method']}")
def test_fits(stored, frame):
    formula, residual = MODELS[stored["model"]]
    fit = lmmlib.fit(formula, frame, residual=residual, method=stored["method"])
    p, order = fit.parameters(), [_our_name(name) for name in stored["names"]]
    rho = p[[name for name in p.index if name.startswith("rho")]]
    first = of_visits(p).get("0") or of_visits(p).get("placebo.0") or relative(p.get("sigma"), tol.NLME)
    answer = {
        **{"model": WORDS, "method": WORDS, "names": [WORDS] * len(order), "loglik": Near(fit.loglik, 2e-7)},
        "fixef": Near(fit.beta[order], tol.NLME * fit.se[order]),
        **{"se": relative(fit.se[order], tol.NLME), "sigma": first, "sigmas": of_visits(p)},
        "rho": Near(rho, tol.NLME * (1 - rho**2)),
        "tau": relative(p[[name for name in p.index if name == "sd (Intercept)"]], tol.NLME),
    }
    agree(stored, answer)
    assert fit.converged and not fit.is_singular and np.isfinite(fit.fixed_effects()).all(axis=None)


def _our_name(name):
    parts = [f"C(week){part[1:]}.0" if part[0] == "w" and part[1:].isdigit() else part for part in name.split(":")]
    return ":".join(parts)


CONSTRAINED = {
    "intercept": (1, independent()),
    "by": (1, by("week")),
    "compound": (0, compound("week")),
    "ar1": (0, ar1("week")),
    "ar1_intercept": (1, ar1("week")),
    "unstructured": (0, unstructured("week")),
}


@pytest.mark.parametrize("stored", read("residual/constrained.json"), ids=lambda row: f"{row['model']}-{row['method']}")
def test_constrained(stored):
    """The whole trial with arms that are equal at week 0."""
    tlc = lmmlib.load("tlc")
    for week in (1, 4, 6):
        tlc[f"after{week}"] = ((tlc["week"] == week) & (tlc["treatment"] == "succimer")) * 1.0
    random, residual = CONSTRAINED[stored["model"]]
    formula = f"lead ~ C(week) + after1 + after4 + after6 + ({random} | id)"
    fit = lmmlib.fit(formula, tlc, residual=residual, method=stored["method"])
    effects, se = fit.beta.iloc[4:], fit.se.iloc[4:]
    answer = {
        **{"model": WORDS, "method": WORDS, "loglik": Near(fit.loglik, 2e-7)},
        **{"effects": Near(effects, tol.NLME * se), "se": relative(se, tol.NLME)},
    }
    agree(stored, answer)
