"""Every error is one of lmmlib's, and an argument that a message tells the reader to pass is one that there is.

Both are read off the source: what is raised where, which texts speak of ``argument=value``, and from which public
functions the function that raises can be reached by calls.
"""

import ast
import inspect
import re

import pytest

import lmmlib
from lmmlib import equations, errors
from tests import modules
from tests.modules import SOURCE

# Raised and not an error of lmmlib, each with its reason.
OTHERS = {
    ("common.arguments", "numbers", "TypeError"): "caught in the same function, which raises ParameterError",
    ("common.arguments", "require_known", "error"): "a ParameterError, or another of ours that the caller names",
    ("design.coding", "chunk_sums", "type(error)"): "an LmmError again, with the name of the chunk before its text",
    ("laplace.graph", "compile_joint", "ImportError"): "PyTensor is not installed; says what to install",
    ("design.evaluation", "matrix", "_in_our_words(error, formula)"): "makes a FormulaError or a DataError",
}

# Texts that tell the reader to pass an argument to another function than the one that was called, which they name.
NAMES_ANOTHER = {
    ("design.cross", "CrossProducts.require_full_rank", "drop"): (lmmlib.build_design, "build_design with"),
    ("inference.compare", "aic_table", "method"): (lmmlib.fit, "fit all with"),
    ("inference.nested", "nested_fixed", "method"): (lmmlib.fit, "fit both with"),
    ("inference.contrasts", "checked_df", "method"): (lmmlib.fit, "fit with"),
    ("inference.profiled", "Profiled.lost", "method"): (lmmlib.Fit.confint, "confint("),
    ("equations.degrees", "_variance_of_parameters", "kind"): (equations.satterthwaite, "satterthwaite with"),
    ("equations.degrees", "_variance_of_parameters", "df"): (lmmlib.Fit.contrast, "contrasts of a fit with"),
}

# Public functions that reach a text by calls and never show it, with the reason.
NEVER_SHOWN = {
    ("glmm.quadrature", "rule", "method"): {
        "GlmmFit.laplace_error": "its fit has one or two random columns",
        "GlmmFit.overdispersion": "fits as the fit that it belongs to",
        "GlmmFit.refit": "fits as the fit that it belongs to",
    },
    ("glmm.estimate", "estimate", "method"): {
        "GlmmFit.overdispersion": "fits as the fit that it belongs to",
        "GlmmFit.refit": "fits as the fit that it belongs to",
    },
    ("design.frames", "checked_rows", "missing"): {
        "Draws.predict": "passes missing=None, and the text says dropna()",
        "Fit.marginal_means": "passes missing=None, and the text says dropna()",
        "Fit.predict": "passes missing=None, and the text says dropna()",
        "GlmmFit.predict": "passes missing=None, and the text says dropna()",
        "SeveralFit.marginal_means": "passes missing=None, and the text says dropna()",
        "SeveralFit.predict": "passes missing=None, and the text says dropna()",
        "ResidualFit.marginal_means": "passes missing=None, and the text says dropna()",
        "ResidualFit.predict": "passes missing=None, and the text says dropna()",
    },
    ("bayes.random_effects", "draws_of_b", "thin"): {
        "Draws.predict": "has a text of its own",
        "Draws.random_effects": "draws few groups at a time",
    },
    ("bayes.chains", "require_memory", "thin"): {"Draws.extend": "has a text of its own"},
    ("inference.contrasts", "checked_df", "df"): {
        "Fit.confint": "asks for df only of a REML fit",
        "Fit.variance_components": "asks for no df",
        "Fit.summary": "asks for z where there are no df",
        "SeveralFit.confint": "asks for df only of a REML fit",
        "SeveralFit.summary": "asks for z where there are no df",
        "ResidualFit.confint": "asks for df only of a REML fit",
        "ResidualFit.variance_components": "asks for no df",
        "ResidualFit.summary": "asks for z where there are no df",
    },
}


def functions():
    """(module, qualified name) and node of every function and method at the top of a module or class."""
    for module, tree in SOURCE.items():
        for node in tree.body:
            if isinstance(node, ast.FunctionDef):
                yield (module, node.name), node
            for inner in node.body if isinstance(node, ast.ClassDef) else ():
                if isinstance(inner, ast.FunctionDef):
                    yield (module, f"{node.name}.{inner.name}"), inner


FUNCTIONS = dict(functions())
IMPORTED = {
    module: {
        alias.asname or alias.name: (modules.short(node.module), alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("lmmlib")
        for alias in node.names
    }
    for module, tree in SOURCE.items()
}


def called(key):
    """The functions of lmmlib that a function names, as far as their module or their own class tells."""
    module, name = key
    for node in ast.walk(FUNCTIONS[key]):
        found = None
        if isinstance(node, ast.Name):
            found = IMPORTED[module].get(node.id, (module, node.id))
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            owner = node.value.id
            found = (module, f"{name.partition('.')[0]}.{node.attr}") if owner == "self" else None
            named = modules.short(".".join(IMPORTED[module].get(owner, ())))
            if named in SOURCE:  # a module
                found = (named, node.attr)
        if found in FUNCTIONS:
            yield found
        elif found:
            yield from ((found[0], f"{found[1]}.{made}") for made in ("__init__", "__post_init__"))


def reached(key):
    """All functions that calls lead to, the first included."""
    found, left = {key}, [key]
    while left:
        new = {other for other in called(left.pop()) if other in FUNCTIONS} - found
        found |= new
        left += new
    return found


def public():
    """Name and key of every public function and method."""
    for name in lmmlib.__all__:
        value = getattr(lmmlib, name)
        members = [("", value)]
        if inspect.ismodule(value):
            members = list(vars(value).items())
        elif inspect.isclass(value):  # with what it inherits
            members = inspect.getmembers(value, inspect.isfunction)
        for inner, member in members:
            if inspect.isfunction(member) and not re.match("_[^_]", inner):
                yield f"{name}.{inner}".rstrip("."), (modules.short(member.__module__), member.__qualname__)


REACHED = {name: reached(key) for name, key in public() if key in FUNCTIONS}


def raised(tree):
    """(what is raised, whether it is our class, or an error that was caught as ours) of every raise."""
    for node in ast.walk(tree):
        for inner in ast.walk(node) if isinstance(node, ast.ExceptHandler) else ():
            if isinstance(inner, ast.Raise) and inner.exc is None:
                yield ast.unparse(node.type or ast.Name("BaseException"))
        if isinstance(node, ast.Raise) and node.exc is not None:
            is_call = isinstance(node.exc, ast.Call) and not ast.unparse(node.exc.func).startswith("_")
            yield ast.unparse(node.exc.func if is_call else node.exc)


def is_ours(name):
    return issubclass(getattr(errors, name.rpartition(".")[2], int), errors.LmmError)


def foreign(sources):
    """What is raised and is no error of lmmlib, with its place."""
    return {(*key, name) for key, node in sources.items() for name in raised(node) if not is_ours(name)}


def test_every_error_is_ours():
    assert foreign(FUNCTIONS) == set(OTHERS)
    outside = sum(isinstance(n, ast.Raise) for tree in SOURCE.values() for n in ast.walk(tree))
    assert outside == sum(isinstance(n, ast.Raise) for tree in FUNCTIONS.values() for n in ast.walk(tree))


def test_nothing_is_asserted():
    """An assertion says nothing about a variable, and is left out when Python optimises."""
    assert not [module for module, tree in SOURCE.items() if any(isinstance(n, ast.Assert) for n in ast.walk(tree))]


@pytest.mark.parametrize("line", ["raise ValueError('no')", "raise KeyError", "try:\n  f()\nexcept OSError:\n  raise"])
def test_a_foreign_error_is_found(line):
    assert len(foreign({("m", "f"): ast.parse(line)})) == 1


WORDS = {n.value for tree in SOURCE.values() for n in ast.walk(tree) if isinstance(n, ast.Constant)}
ARGUMENT = re.compile(r"\b([a-z_]\w*)=['\"]?(\w[\w.-]*)")


def told():
    """(module, function, argument), value and text of every ``argument=value`` in a text, docstrings left out."""
    for key, node in FUNCTIONS.items():
        if key[1].endswith("._repr_html_"):  # attributes of HTML
            continue
        documentation = ast.get_docstring(node, clean=False)
        for text in ast.walk(node):
            if isinstance(text, ast.Constant) and isinstance(text.value, str) and text.value != documentation:
                for argument, value in ARGUMENT.findall(text.value):
                    yield pytest.param((*key, argument), value, text.value, id=f"{'.'.join(key)}-{argument}")


def resolve(key):
    """The function of a key."""
    value = modules.load(key[0])
    for part in key[1].split("."):
        value = getattr(value, part)
    return value


@pytest.mark.parametrize(("site", "value", "text"), told())
def test_the_argument_to_pass_is_one_that_there_is(site, value, text):
    *key, argument = site
    assert value.isdigit() or value in WORDS, f"nothing in lmmlib knows the word {value!r}"
    if site in NAMES_ANOTHER:
        function, words = NAMES_ANOTHER[site]
        assert words in text
        assert argument in inspect.signature(function).parameters
        return
    shown = {name for name, found in REACHED.items() if tuple(key) in found} - set(NEVER_SHOWN.get(site, ()))
    callers = {name: resolve(dict(public())[name]) for name in shown} or {key[1]: resolve(key)}
    lacking = [name for name, f in callers.items() if argument not in inspect.signature(f).parameters]
    assert not lacking, f"{text!r} is shown by {lacking}, which have no argument {argument}"


def test_the_tables_name_texts_that_there_are():
    sites = {param.values[0] for param in told()}
    assert set(NAMES_ANOTHER) | set(NEVER_SHOWN) <= sites
    for (module, name, _), shown in NEVER_SHOWN.items():
        assert all((module, name) in REACHED[who] for who in shown)


def test_a_message_about_an_argument_shows_it():
    """Where something must be so, the message holds what was given; texts without a value are about no value."""
    silent = []
    for name, tree in SOURCE.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args:
                text = node.exc.args[0]
                if isinstance(text, ast.Constant) and re.search(r"\bmust (be|hold|map|name)\b", text.value):
                    silent += [] if "got none" in text.value else [(name, text.value)]
    # Of a covariance only that it is not positive definite is wrong, of a name that it is taken.
    assert {text for _, text in silent} <= {
        "cov must be positive definite: a fixed effect without variance is known",
        "this design was made from arrays, so new rows must be given as an array too",
    }
