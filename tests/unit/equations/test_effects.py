"""Random effects and their errors by name, of a class with two of them."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from lmmlib.equations.effects import Effects
from lmmlib.errors import DesignError, ParameterError


@dataclass(frozen=True, eq=False, repr=False)
class Two(Effects):
    ERRORS = ("small", "large")
    USUAL = "large"
    small: np.ndarray
    large: np.ndarray


@dataclass(frozen=True, eq=False, repr=False)
class One(Effects):
    ERRORS = ("cov",)
    USUAL = "cov"
    cov: np.ndarray


B = pd.DataFrame([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], pd.Index(list("xyz"), name="child"), ["level", "slope"])
SMALL = np.array([np.diag([k, 4.0 * k]) for k in (1.0, 4.0, 9.0)])


def test_errors_by_name():
    effects = Two(B, SMALL, 4 * SMALL)
    assert effects.covariance() is effects.large and effects.covariance("small") is SMALL
    assert_allclose(effects.se("small"), [[1, 2], [2, 4], [3, 6]])
    assert effects.se().index.equals(B.index) and list(effects.se().columns) == ["level", "slope"]
    for call in (effects.covariance, effects.se, lambda name: effects.frame(error=name)):
        with pytest.raises(ParameterError, match="error is 'small' or 'large'; got 'middle'"):
            call("middle")


def test_a_frame_has_all_errors_and_limits_by_one():
    effects = Two(B, SMALL, 4 * SMALL)
    frame = effects.frame(0.9, error="small")
    assert list(frame) == ["group", "term", "estimate", "se_small", "se_large", "lower", "upper"]
    assert list(frame["group"]) == list("xxyyzz") and list(frame["term"][:2]) == ["level", "slope"]
    assert_allclose(frame["estimate"], [1, 2, 3, 4, 5, 6])
    assert_allclose(frame["se_large"], 2 * frame["se_small"])
    # 1.6448536 is the 95 % quantile of the normal distribution.
    assert_allclose(frame["upper"] - frame["estimate"], 1.6448536269514722 * frame["se_small"])
    assert_allclose(frame["estimate"] - frame["lower"], 1.6448536269514722 * frame["se_small"])
    assert_allclose(effects.limits()[1] - B, 1.959963984540054 * effects.se())
    assert list(One(B, SMALL).frame()) == ["group", "term", "estimate", "se", "lower", "upper"]
    with pytest.raises(ParameterError, match="level must lie between 0 and 1"):
        effects.frame(95)


def test_it_shows_itself():
    effects = Two(B, SMALL, 4 * SMALL)
    assert repr(effects) == "Two of 3 groups, 2 random effects each: level, slope"
    assert repr(One(B[["level"]], SMALL[:, :1, :1])) == "One of 3 groups, 1 random effect each: level"
    html = effects._repr_html_()
    assert html.count("<tr") == 7 and all(f"<th>{name}</th>" in html for name in ("estimate", "se", "lower", "upper"))


def test_no_random_effects():
    none = Two(B[[]], np.zeros((3, 0, 0)), np.zeros((3, 0, 0)))
    assert len(none.frame()) == 0 and none.se().shape == (3, 0) and "Two of 3 groups, 0 random" in repr(none)


def test_a_variance_below_zero_is_no_standard_error():
    with pytest.raises(DesignError, match="a variance of the random effects comes out as -1, below zero"):
        One(B, -SMALL).se()
