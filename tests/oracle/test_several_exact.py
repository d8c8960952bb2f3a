"""Fits with several groupings at the optima that 60-digit arithmetic found; every number that is stored.

Tolerances: those of fits with one grouping, ``tests/oracle/test_leaves.py``. By ML lmmlib has no degrees of freedom;
the stored ones are Satterthwaite's with the information of ML.
"""

import numpy as np
import pytest

import lmmlib
from lmmlib.several.fitted import Variances, entries
from tests import tolerances as tol
from tests.oracle.conftest import read
from tests.oracle.leaves import WORDS, Near, agree, covariance, relative

FITS = {
    "penicillin_ml": ("penicillin", "diameter ~ 1 + (1 | plate) + (1 | sample)", ("plate", "sample")),
    "penicillin_reml": ("penicillin", "diameter ~ 1 + (1 | plate) + (1 | sample)", ("plate", "sample")),
    "pastes_reml": ("pastes", "strength ~ 1 + (1 | batch/cask)", ("batch:cask", "batch")),
}


def theta_covariance(fit, order):
    """Of theta in the stored order and sigma, from that of D over sigma2 and sigma2 by the observed information."""
    shared = Variances(fit.state, fit.sigma2, "observed")
    alpha = entries(fit.state)
    J = np.diag(1 / (2 * np.sqrt([*alpha, fit.sigma2])))
    names = [g.name for g in fit.state.sums.groupings]
    place = [*(names.index(name) for name in order), len(alpha)]
    return (J @ shared.relative_A @ J)[np.ix_(place, place)]


def answer(name):
    data, formula, order = FITS[name]
    method = "REML" if name.endswith("reml") else "ML"
    fit, stored = lmmlib.fit(formula, lmmlib.load(data), method=method), read(f"crossed/{name}.json")
    names = [term.grouping for term in fit.terms.terms]
    place = [names.index(one) for one in order]
    theta = relative(fit.theta[place], tol.OPTIMUM)
    beta, sigma2 = Near(fit.beta, tol.OPTIMUM * fit.se), relative(fit.sigma2, tol.OPTIMUM)
    loglik, criterion = Near(fit.loglik, 1e-8), Near(fit.criterion, 1e-8)
    varcorr, ranef, effects = {}, {}, fit.random_effects()
    for one, label in zip(order, stored["varcorr"], strict=True):
        D = fit.D[names.index(one)].iloc[0, 0]
        near = relative(D, tol.HESSIAN)
        varcorr[label] = {"variance": near, "variance_25": near, "sd": relative(np.sqrt(D), tol.HESSIAN)}
        mine = effects[effects["grouping"] == one]
        values = Near(mine["estimate"], tol.OPTIMUM * mine["estimate"].abs().max())
        ranef[label] = {"levels": list(mine["group"]), "values": values}
        ranef[label] |= {"condvar": relative(mine["se_known"] ** 2, tol.HESSIAN)}
        ranef[label] |= {"pev": relative(mine["se_pev"] ** 2, tol.HESSIAN)}
    df = Variances(fit.state, fit.sigma2, "observed").satterthwaite(np.eye(1))
    return {
        **{"id": name, "method": method, "arithmetic": WORDS, "hessian_eigen_positive": True},
        **{"newton_iterations": 3, "last_step": WORDS, "coef_names": list(fit.beta.index)},
        **{"fixef": beta, "fixef_25": beta, "se": relative(fit.se, tol.OPTIMUM)},
        **{"vcov_fixef": covariance(fit.cov_beta, tol.OPTIMUM), "theta": theta, "theta_25": theta},
        **{"sigma2": sigma2, "sigma2_25": sigma2, "sigma": relative(np.sqrt(fit.sigma2), tol.OPTIMUM)},
        **{"criterion": criterion, "criterion_25": criterion, "loglik": loglik, "loglik_25": loglik},
        **{"varcorr": varcorr, "ranef": ranef, "satterthwaite_df": relative([df], tol.HESSIAN)},
        "vcov_theta_sigma": covariance(theta_covariance(fit, order), 1e-5),
    }


@pytest.mark.parametrize("name", FITS)
def test_exact(name):
    agree(read(f"crossed/{name}.json"), answer(name))
