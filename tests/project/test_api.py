"""The public names are frozen here, and every one of them is documented."""

import inspect
import re

import pytest

import lmmlib
from lmmlib import equations
from lmmlib.equations import moments
from tests import modules

PUBLIC = [
    "Cloned",
    "Comparison",
    "CrossProducts",
    "Design",
    "Draws",
    "Fit",
    "Fits",
    "GlmmFit",
    "MarginalFit",
    "ResidualFit",
    "SeveralFit",
    "aic_table",
    "build_design",
    "clone",
    "clone_pymc",
    "compare",
    "cross_products",
    "dense",
    "equations",
    "errors",
    "fit",
    "fit_design",
    "fit_glmm",
    "fit_many",
    "laplace",
    "load",
    "plots",
    "priors",
    "report",
    "residual",
    "sample",
    "simulate",
    "unit_information",
]

# Bookkeeping of data and designs, and steps between formulas of the book.
NO_EQUATION = {"load", "fixed_matrix"}


def functions():
    """(module, name, function) of every public function that a module defines itself."""
    for module in map(modules.load, modules.NAMES):
        for name, value in vars(module).items():
            if inspect.isfunction(value) and value.__module__ == module.__name__ and not name.startswith("_"):
                yield pytest.param(value, id=f"{modules.short(module.__name__)}.{name}")


def test_the_public_names_are_these():
    assert sorted(lmmlib.__all__) == PUBLIC
    assert all(hasattr(lmmlib, name) for name in PUBLIC)
    assert re.fullmatch(r"\d+\.\d+\.\d+", lmmlib.__version__)


def test_every_module_says_what_it_holds():
    rooms = [path.parent.name for path in modules.FOLDER.glob("*/__init__.py")]
    for name in [*modules.NAMES, *rooms]:
        assert len(modules.load(name).__doc__ or "") > 30, name


@pytest.mark.parametrize("function", functions())
def test_every_function_is_documented(function):
    assert function.__doc__ and len(function.__doc__) > 20


@pytest.mark.parametrize("name", [n for n in PUBLIC if inspect.isfunction(getattr(lmmlib, n))])
def test_exported_functions_have_parameters_returns_and_an_equation(name):
    function = getattr(lmmlib, name)
    doc = inspect.getdoc(function)
    assert name in NO_EQUATION or ":eq:`" in doc
    if name == "fixed_matrix":
        return
    section = re.search(r"Parameters\n-+\n(.*?)(?=\n\n[A-Z]\w+\n-+|\Z)", doc, re.S)
    assert section, "no section Parameters"
    described = {n for line in re.findall(r"^(\w[\w, ]*) :", section[1], re.M) for n in line.split(", ")}
    assert described == set(inspect.signature(function).parameters)
    assert re.search(r"^Returns\n-+", doc, re.M)


def test_moments_refer_to_their_equations():
    for name, function in inspect.getmembers(moments, inspect.isfunction):
        if function.__module__ == "lmmlib.equations.moments" and name != "correlation" and not name.startswith("_"):
            assert ":eq:`" in function.__doc__, name


def test_dense_has_the_equations_of_the_fast_functions():
    """A formula is the same formula in both places: the labels in dense occur in the fast module too."""
    pairs = ["loglik", "profile_loglik", "restricted_loglik", "gls", "information_variance", "ols_covariance"]
    pairs += ["sandwich", "satterthwaite"]
    for name in pairs:
        of = (lmmlib.equations, lmmlib.dense)
        fast, slow = (set(re.findall(r":eq:`([\w-]+)`", getattr(m, name).__doc__)) for m in of)
        assert slow and slow <= fast, name


def test_results_show_themselves_in_rounded_numbers(cross, design, D):
    shown = [design, cross, equations.gls(cross, D, 1.0), equations.ols(cross)]
    shown += [equations.wald(shown[-1], [0, 1]), equations.wald(shown[-1], [[1, 0], [0, 1]])]
    shown += [equations.kenward_roger(cross, [0, 1], D, 1.0)]
    intercept = lmmlib.Design.from_arrays(design.y, design.X, design.Z[:, :1], design.group)
    shown += [equations.anova_estimates(intercept)]
    for item in shown:
        assert not re.search(r"\d\.\d{5,}|0x[0-9a-f]+|-0\.0+\b(?!\d)", repr(item)), repr(item)
        assert max(map(len, repr(item).splitlines())) <= 110


def test_results_are_frozen(cross, D):
    results = {
        "n_i": cross,
        "beta": equations.gls(cross, D, 1.0),
        "p": equations.wald(equations.ols(cross), [0, 1]),
    }
    for field, result in results.items():
        with pytest.raises(AttributeError, match=field):
            setattr(result, field, 1)


def test_importing_lmmlib_needs_no_heavy_package():
    """PyMC, numba and statsmodels are imported only where a function needs them: the core runs in a browser kernel.

    Matplotlib and scipy.stats would take as long as all the rest, so figures wait until they are asked for.
    """
    import subprocess
    import sys

    heavy = ("statsmodels", "pymc", "numba", "arviz", "matplotlib", "scipy.stats", "scipy.optimize")
    code = f"import sys, lmmlib; print([m for m in {heavy} if m in sys.modules]); lmmlib.plots.COLOURS"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"
