"""Stored answers of other programs (tests/reference) beside the designs that they are answers to."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import lmmlib

REFERENCE = Path(__file__).parents[1] / "reference"
DATASETS = {"dyestuff": "dyestuff", "orthodont": "dental", "sleepstudy": "sleep", "tlc_long": "tlc"}


@cache
def read(path):
    return json.loads((REFERENCE / path).read_text())


@dataclass(frozen=True)
class Case:
    """One fit: the lme4 file, the 60-digit optimum, and our design of the same formula and data."""

    name: str
    lme4: dict
    exact: dict
    design: lmmlib.Design

    @property
    def method(self):
        return self.lme4["method"]

    @property
    def D(self):
        return np.array(self.exact["varcorr"]["cov"])

    @property
    def sigma2(self):
        return self.exact["sigma2"]

    @property
    def cross(self):
        return lmmlib.cross_products(self.design)


@cache
def case(name):
    lme4, exact = read(f"{name}.json"), read(f"exact/{name}.json")
    frame = lmmlib.load(DATASETS[lme4["dataset"]])
    if "placebo" in name:
        frame = frame[frame["treatment"] == "placebo"].drop(columns="treatment")
    return Case(name, lme4, exact, lmmlib.build_design(lme4["formula"], frame))


NAMES = sorted(path.stem for path in (REFERENCE / "exact").glob("*_*ml.json"))
REML = [name for name in NAMES if name.endswith("_reml")]


def pytest_generate_tests(metafunc):
    """``fit`` runs over all stored fits, ``reml_fit`` over those by REML."""
    for argument, names in (("fit", NAMES), ("reml_fit", REML)):
        if argument in metafunc.fixturenames:
            metafunc.parametrize(argument, names, indirect=True)


@pytest.fixture
def fit(request):
    return case(request.param)


@pytest.fixture
def reml_fit(request):
    return case(request.param)


@pytest.fixture(name="case")
def any_case():
    """Reads one stored fit by name."""
    return case


@pytest.fixture
def stored():
    """Reads a file of tests/reference by name."""
    return read


@pytest.fixture
def reference():
    """The folder tests/reference."""
    return REFERENCE


@pytest.fixture
def exact_names():
    """Names of all fits with a stored 60-digit optimum."""
    return NAMES


@pytest.fixture
def planting():
    """Document 004's model: one quadratic curve for each of ten blocks."""
    frame = lmmlib.load("planting").rename(columns={"yield": "crop"})
    return lmmlib.build_design("crop ~ density + I(density**2) + (density + I(density**2) | block)", frame)
