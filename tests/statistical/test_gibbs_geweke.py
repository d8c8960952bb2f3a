"""Geweke's test: a sweep leaves the joint distribution of parameters and data as it is, and a wrong one does not.

False alarms: |z| > 4.2 comes once in 37,000 with other seeds; a case has some 20 values, all cases some 600. The wrong
conditionals are such as are easily written by mistake; they give 5.6 to 170.
"""

import numpy as np
import pytest

from lmmlib.bayes import chains, conditionals, noncentred
from tests.statistical.joint import ALTERNATING, CASES, CENTRED, INTERWOVEN, RUNS, STANDARD, calibration, geweke

right_sigma2, right_D, right_beta = conditionals.sigma2_given_rest, conditionals.D_given_b, chains.beta_given_data
right_gamma, right_effects = chains.beta_given_gamma, conditionals.effects_given_beta
right_lambda = noncentred.lambda_given_u


@pytest.mark.parametrize(("one", "plan"), RUNS)
def test_geweke(one, plan):
    assert geweke(one, plan) < 4.2


def sigma2_with_effects_counted_as_fixed(model, state, residual):
    shape, rate = right_sigma2(model, state, residual)
    return shape - model.data.n_groups * len(state.F) / 2, rate


def D_with_the_df_of_its_mean(model, state, squares):
    df, scale = right_D(model, state, squares)
    return df - len(scale) - 1, scale


def D_with_a_quarter_more(model, state, squares):
    df, scale = right_D(model, state, squares)
    return df, scale + 0.25 * squares


def beta_ignores_groups(model, state, H):
    return right_beta(model, state, np.zeros_like(H))


def beta_with_a_quarter_of_the_variance(model, state, gamma):
    precision, linear = right_gamma(model, state, gamma)
    return 4 * precision, 4 * linear


def effects_not_shrunken(model, state, H):
    mean, H = right_effects(model, state, H)
    return 1.3 * mean, H


def move_with_effects_three_times_too_large(model, state, basis, u, spare):
    return right_lambda(model, state, basis, 3 * u, 9 * spare)


WRONG = [
    (conditionals, "sigma2_given_rest", sigma2_with_effects_counted_as_fixed, "normal-gamma-wishart", STANDARD),
    (conditionals, "sigma2_given_rest", sigma2_with_effects_counted_as_fixed, "zellner", CENTRED),
    (conditionals, "D_given_b", D_with_the_df_of_its_mean, "normal-gamma-wishart", STANDARD),
    (conditionals, "D_given_b", D_with_the_df_of_its_mean, "huang-wand", CENTRED),
    (conditionals, "D_given_b", D_with_a_quarter_more, "normal-gamma-wishart", CENTRED),
    (chains, "beta_given_data", beta_ignores_groups, "normal-gamma-wishart", STANDARD),
    (chains, "beta_given_gamma", beta_with_a_quarter_of_the_variance, "normal-gamma-wishart", CENTRED),
    (conditionals, "effects_given_beta", effects_not_shrunken, "intercept gamma", ALTERNATING),
    (noncentred, "lambda_given_u", move_with_effects_three_times_too_large, "intercept gamma", INTERWOVEN),
    (
        noncentred,
        "lambda_given_u",
        move_with_effects_three_times_too_large,
        "intercept huang-wand, unequal",
        INTERWOVEN,
    ),
]


@pytest.mark.parametrize(("module", "name", "wrong", "case", "plan"), WRONG)
def test_a_wrong_conditional_is_rejected_by_geweke(monkeypatch, module, name, wrong, case, plan):
    monkeypatch.setattr(module, name, wrong)
    assert geweke(CASES[case], plan) > 5


@pytest.mark.parametrize(("module", "name", "wrong", "case", "plan"), WRONG)
def test_a_wrong_conditional_is_rejected_by_calibration(monkeypatch, module, name, wrong, case, plan):
    monkeypatch.setattr(module, name, wrong)
    assert calibration(CASES[case], plan) < 1e-8
