"""One vocabulary: the table of the reference says what each result can be asked, and the results keep to it."""

import inspect
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

import lmmlib
from lmmlib.common.summary import Summary
from lmmlib.residual import by
from tests import modules

PAGE = (Path(__file__).parents[2] / "chapters" / "reference" / "vocabulary.md").read_text(encoding="utf-8")
KINDS = {"frame": pd.DataFrame, "series": pd.Series, "array": np.ndarray, "summary": Summary, "figure": Figure}
# One thing has one name, in every function that takes it.
OTHER_NAMES = {"coverage": "level", "seed": "rng", "random_state": "rng", "newdata": "new"}
# What a method may take by position though the table does not say so: which of its data are meant.
BY_POSITION = {"level", "n_clones"}
DEFAULTS = {"level": 0.95, "of": "group"}


def table(page):
    """The results of the table of a page, and {verb: (its signature, what it gives, the results that have it)}."""
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("| ")]
    results = [name.strip("`") for name in rows[0][2:]]
    verbs = {}
    for verb, gives, *marks in rows[1:]:
        assert set(marks) <= {"yes", "-"}
        space = {}
        exec(f"def {verb.strip('`')}: ...", space)  # Python reads the signature
        name = verb.strip("`").partition("(")[0]
        verbs[name] = (
            inspect.signature(space[name]),
            gives,
            {r for r, m in zip(results, marks, strict=True) if m == "yes"},
        )
    return results, verbs


RESULTS, VERBS = table(PAGE)
PAIRS = [pytest.param(result, verb, id=f"{result}-{verb}") for verb in VERBS for result in RESULTS]


def differences(promised, function):
    """Where a method is not as promised: an argument that it lacks, another default, an option by position."""
    own = dict(list(inspect.signature(function).parameters.items())[1:])  # without self
    found = []
    for name, said in promised.parameters.items():
        if name not in own:
            found.append(f"no argument {name}")
        elif (own[name].default, own[name].kind) != (said.default, said.kind):
            found.append(f"not {said} but {own[name]}")
    free = {*promised.parameters, *BY_POSITION}
    options = [p for name, p in own.items() if name not in free and p.kind is not p.VAR_KEYWORD]
    return found + [f"{option.name} by position" for option in options if option.kind is not option.KEYWORD_ONLY]


def lacking(answer, gives):
    """What of the promise an answer is not: the kind, or columns in their order. Empty if nothing."""
    kind, _, columns = (part.strip() for part in gives.partition(":"))
    if kind in KINDS and not isinstance(answer, KINDS[kind]):
        return f"a {type(answer).__name__}"
    names = re.findall(r"`([^`]+)`", columns)
    return "" if [c for c in getattr(answer, "columns", ()) if c in names] == names else f"{list(answer.columns)}"


def marginal():
    """Four groups of three normal observations with unit variance, and normal random effects."""
    pt = pytest.importorskip("pytensor.tensor")
    y = np.array([[1.0, 2.0, 1.5], [3.0, 4.0, 4.5], [0.0, 1.0, -0.5], [2.0, 2.5, 3.0]])

    def log_joint(b, mu, log_sd):
        return -0.5 * (((y - mu - b) ** 2).sum() + ((b * pt.exp(-log_sd)) ** 2).sum()) - len(y) * log_sd

    return lmmlib.laplace.marginal(log_joint, {"mu": 2.0, "log_sd": 0.0}, len(y)).fit()


MADE = {}


@pytest.fixture
def made(many):
    """A small real result of each kind, made when it is first asked for."""
    counts = lmmlib.simulate.recipe("counts-50x10")
    brief = {"draws": 20, "chains": 4, "rng": 1, "progress": False}
    clones = {"draws": 40, "chains": 10, "rng": 1, "progress": False}
    make = {
        "Fit": lambda: lmmlib.fit("lead ~ week + C(drug) + (week | child)", many),
        "SeveralFit": lambda: lmmlib.fit("lead ~ week + C(drug) + (1 | child) + (0 + week | drug)", many),
        "ResidualFit": lambda: lmmlib.fit("lead ~ week + C(drug) + (1 | child)", many, residual=by("drug")),
        "GlmmFit": lambda: lmmlib.fit_glmm("count ~ 1 + (1 | site)", counts),
        "Draws": lambda: lmmlib.sample("lead ~ week + (week | child)", many, warmup=10, **brief),
        "Cloned": lambda: lmmlib.clone("lead ~ week + (1 | child)", many, (1, 400), warmup=100, **clones),
        "MarginalFit": marginal,
    }

    def of(result):
        if result not in MADE:
            MADE[result] = make[result]()
        return MADE[result], {"GlmmFit": counts}.get(result, many)

    return of


@pytest.mark.parametrize(("result", "verb"), PAIRS)
def test_a_result_is_asked_as_the_table_says(result, verb, made):
    promised, _, having = VERBS[verb]
    assert isinstance(made(result)[0], getattr(lmmlib, result))
    method = getattr(type(made(result)[0]), verb, None)
    assert inspect.isfunction(method) == (result in having)
    assert method is None or differences(promised, method) == []


@pytest.mark.parametrize(("result", "verb"), [p for p in PAIRS if p.values[0] in VERBS[p.values[1]][2]])
def test_a_result_answers_as_the_table_says(result, verb, made):
    asked, frame = made(result)
    promised, gives, _ = VERBS[verb]
    values = {"new": frame.head(3), "rng": 1, "factors": "drug", "parameter": "week"}
    if "y" in promised.parameters:
        values["y"] = asked.design.y
    needed = [p.name for p in inspect.signature(getattr(asked, verb)).parameters.values() if p.default is p.empty]
    told = {name: values[name] for name in [*promised.parameters, *needed] if name in values}
    answer = getattr(asked, verb)(**told)
    assert isinstance(answer, type(asked)) if gives == "the same" else lacking(answer, gives) == ""


@pytest.mark.parametrize(
    ("result", "options"),
    [
        ("Fit", {"interval": "prediction"}),
        ("SeveralFit", {"interval": "prediction"}),
        ("ResidualFit", {"interval": "prediction"}),
        ("Draws", {"interval": "prediction"}),
        ("GlmmFit", {}),
    ],
)
def test_predictions_have_limits(result, options, made):
    asked, frame = made(result)
    assert lacking(asked.predict(frame.head(3), **options), "frame: `estimate`, `se`, `lower`, `upper`") == ""


@pytest.mark.parametrize("result", RESULTS)
def test_names_are_those_of_the_parameters(result, made):
    """The tables name the parameters as the series does."""
    asked, _ = made(result)
    names = list(asked.parameters().index)
    cov, limits = asked.cov_parameters(), asked.confint()
    assert list(cov.index) == list(cov.columns) and set(cov.index) <= set(names)
    assert set(limits.index) <= set(names)
    if "fixed_effects" in VERBS and result in VERBS["fixed_effects"][2]:
        assert list(asked.fixed_effects().index) == names[: len(asked.fixed_effects())]


def public():
    """(name, function) of all functions and methods of lmmlib that are not private."""
    for module in modules.NAMES:
        for name, thing in vars(modules.load(module)).items():
            if name.startswith("_") or getattr(thing, "__module__", "") != f"lmmlib.{module}":
                continue
            parts = {name: thing} if inspect.isfunction(thing) else vars(thing) if inspect.isclass(thing) else {}
            for inner, function in parts.items():
                if inspect.isfunction(function) and not inner.startswith("_"):
                    yield f"{module}.{name}.{inner}", function


def test_one_thing_has_one_name():
    found = {
        f"{name}: {argument.name}"
        for name, function in public()
        for argument in inspect.signature(function).parameters.values()
        if argument.name in OTHER_NAMES
        or argument.default not in (argument.empty, DEFAULTS.get(argument.name, argument.default))
    }
    assert found == set()


def by_position(function):
    """The options of a function, those with a default, that it takes by position too."""
    arguments = inspect.signature(function).parameters.values()
    return [a.name for a in arguments if a.default is not a.empty and a.kind is not a.KEYWORD_ONLY]


@pytest.mark.parametrize("room", [lmmlib.equations, lmmlib.dense, lmmlib.laplace])
def test_options_after_the_data_are_named(room):
    own = {name: thing for name, thing in vars(room).items() if inspect.isfunction(thing) and name[0] != "_"}
    assert len(own) > 1 - (room is lmmlib.laplace)
    assert {name: by_position(function) for name, function in own.items() if by_position(function)} == {}
    assert by_position(lambda cross, kind="expected", *, level=0.95: None) == ["kind"]


def method(self, level=0.95, *, df=None, **more): ...


def positional(self, new, interval=None): ...


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("f(level=0.95)", []),
        ("f(level=0.9)", ["not level=0.9 but level=0.95"]),
        ("f(new)", ["no argument new"]),
        ("f(*, level=0.95)", ["not level=0.95 but level=0.95"]),
    ],
)
def test_differences_are_found(text, found):
    space = {}
    exec(f"def {text}: ...", space)
    assert differences(inspect.signature(space["f"]), method) == found


def test_an_option_by_position_is_found():
    assert differences(inspect.signature(lambda new: None), positional) == ["interval by position"]


def test_wrong_answers_are_found():
    frame = pd.DataFrame({"se": [1.0], "estimate": [2.0]})
    assert lacking(frame, "frame: `se`, `estimate`") == "" == lacking(frame, "frame")
    assert lacking(frame, "frame: `estimate`, `se`") and lacking(frame, "frame: `mean`") and lacking(frame, "series")
