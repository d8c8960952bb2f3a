"""lme4's formulas taken apart: every legal form for one grouping factor, and what is said about the others."""

import pytest

from lmmlib.design.syntax import parse, several_terms
from lmmlib.errors import FormulaError


def squeeze(text):
    return text and "".join(text.split())


# formula: (response, fixed, random, group, diagonal), without blanks
FORMS = {
    "y ~ x": ("y", "x", None, None, False),
    "y ~ 1": ("y", "1", None, None, False),
    "y ~ x + (1 | g)": ("y", "x", "1", "g", False),
    "y~x+(1|g)": ("y", "x", "1", "g", False),
    "y ~\n  x +\n  (1 + x\n   | g)\n": ("y", "x", "1+x", "g", False),
    "y ~ x +\t(1 |\tg)": ("y", "x", "1", "g", False),
    "y ~ (1 | g)": ("y", "1", "1", "g", False),
    "y ~ (x | g)": ("y", "1", "x", "g", False),
    "y ~ 1 + (1 | g)": ("y", "1", "1", "g", False),
    "y ~ x + (x | g)": ("y", "x", "x", "g", False),
    "y ~ x + (0 + x | g)": ("y", "x", "0+x", "g", False),
    "y ~ x + (x - 1 | g)": ("y", "x", "x-1", "g", False),
    "y ~ x + (-1 + x | g)": ("y", "x", "-1+x", "g", False),
    "y ~ x + (1 + x + I(x**2) | g)": ("y", "x", "1+x+I(x**2)", "g", False),
    "y ~ x + (x || g)": ("y", "x", "x", "g", True),
    "y ~ x + (1 || g)": ("y", "x", "1", "g", True),
    "y ~ x + (1 | g) + (0 + x | g)": ("y", "x", "1+x", "g", True),
    "y ~ x + (0 + x | g) + (1 | g)": ("y", "x", "1+x", "g", True),
    "y ~ x + (1 | g) + (x - 1 | g)": ("y", "x", "1+x", "g", True),
    "y ~ x + (1 | g) + (x + 0 | g)": ("y", "x", "1+x", "g", True),
    "y ~ x + (1 | g) + (0 + I(x**2) | g)": ("y", "x", "1+I(x**2)", "g", True),
    "y ~ x + (1 | g) + (0 + x | g) + (0 + u | g)": ("y", "x", "1+x+u", "g", True),
    "y ~ x + (0 + x | g) + (0 + u | g)": ("y", "x", "0+x+u", "g", True),
    # the random term first, in the middle, and beside subtractions
    "y ~ (1 | g) + x": ("y", "x", "1", "g", False),
    "y ~ x + (1 | g) + u": ("y", "x+u", "1", "g", False),
    "y ~ (1 | g) + 0 + x": ("y", "0+x", "1", "g", False),
    "y ~ (1 | g) - 1 + x": ("y", "-1+x", "1", "g", False),
    "y ~ 0 + x + (1 | g)": ("y", "0+x", "1", "g", False),
    "y ~ x - 1 + (1 | g)": ("y", "x-1", "1", "g", False),
    "y ~ x + u + (1 | g) - u": ("y", "x+u-u", "1", "g", False),
    # parentheses of the fixed part
    "y ~ (x + u)**2 + (1 | g)": ("y", "(x+u)**2", "1", "g", False),
    "y ~ (x + u)^2 + (1 | g)": ("y", "(x+u)^2", "1", "g", False),
    "y ~ (x + u) * t + (x | g)": ("y", "(x+u)*t", "x", "g", False),
    "y ~ t * (x + u) + (x | g)": ("y", "t*(x+u)", "x", "g", False),
    "y ~ poly(x, 2) + ((x) | g)": ("y", "poly(x,2)", "(x)", "g", False),
    "log(y + 10) ~ log(x) + (log(x) | g)": ("log(y+10)", "log(x)", "log(x)", "g", False),
    # names
    "y ~ `a b` + (`a b` | `g h`)": ("y", "`ab`", "`ab`", "g h", False),
    "`y (cm)` ~ `a|b` + (1 | g)": ("`y(cm)`", "`a|b`", "1", "g", False),
    "`y~z` ~ `a(b` + (1 | `g/h`)": ("`y~z`", "`a(b`", "1", "g/h", False),
    "größe ~ straße + (1 | schüler)": ("größe", "straße", "1", "schüler", False),
}


@pytest.mark.parametrize("formula", FORMS)
def test_forms(formula):
    parts = parse(formula)
    found = squeeze(parts.response), squeeze(parts.fixed), squeeze(parts.random), parts.group, parts.diagonal
    assert found == FORMS[formula]


ERRORS = {
    # several grouping factors: says which, that one is fitted, and what to use instead
    "y ~ x + (1 | g) + (1 | h)": r"several grouping factors \(g, h\).*lmmlib.fit takes several.*here.*one column",
    "y ~ x + (1 | g/h)": r"several grouping factors \(g/h\)",
    "y ~ x + (1 | g:h)": r"several grouping factors \(g:h\)",
    "y ~ x + (1 | g*h)": r"several grouping factors \(g\*h\)",
    "y ~ x + (1 | g + h)": r"several grouping factors \(g \+ h\)",
    # bars and parentheses
    "y ~ x | g": r"needs parentheses of its own: \+ \(x \| g\)",
    "y ~ x + 1 | g": "needs parentheses",
    "y ~ x * (1 | g)": "needs parentheses|can only be added",
    "y ~ x : (1 | g)": "needs parentheses|can only be added",
    "y ~ x - (1 | g)": "needs parentheses|can only be added",
    "y ~ (1 | g) * x": "can only be added",
    "y ~ x + (1 | g) : u": "can only be added",
    "y ~ u + (x | g) / u": "can only be added",
    "y ~ u + (x | g) ^ 2": "can only be added",
    "y ~ x + (1 | g) u": "can only be added",
    "y ~ x + (1 | g": "opening parenthesis without its closing one",
    "y ~ x + 1 | g)": "closing parenthesis too many",
    "y ~ (x + (1 | g": "opening parenthesis",
    "y ~ x + (| g)": r"\(terms \| group\)",
    "y ~ x + (1 |)": r"\(terms \| group\)",
    "y ~ x + (1 ||| g)": r"\(terms \| group\)",
    "y ~ x + (1 | g | h)": r"\(terms \| group\)",
    "y ~ x + (1 | 1)": "must be the name of a column; got '1'",
    "y ~ x + (1 | log(g))": "must be the name of a column",
    "y ~ x + (1 | `g)": "backtick",
    # tildes and sides
    "y x": "must have the form 'response ~ terms', with one ~",
    "y ~ x ~ u": "one ~",
    "~ x + (1 | g)": "something on both sides",
    "y ~": "something on both sides",
    "y ~  ": "something on both sides",
    "": "one ~",
    # several random terms that are not lmmlib's D
    "y ~ x + (1 | g) + (1 | g)": r"one full D, \(x \| g\), or one diagonal D, \(x \|\| g\)",
    "y ~ x + (1 | g) + (x | g)": "one full D",
    "y ~ x + (1 | g) + (x + u || g)": "one full D",
    "y ~ x + (1 | g) + (0 + x * u | g)": "one full D",
    "y ~ x + (1 | g) + (0 + (x + u)^2 | g)": "one full D",
    "y ~ x + (1 | g) + (0 + x / u | g)": "one full D",
}


@pytest.mark.parametrize("formula", ERRORS)
def test_errors_name_the_formula_and_the_remedy(formula):
    with pytest.raises(FormulaError, match=ERRORS[formula]) as caught:
        parse(formula)
    assert repr(formula) in str(caught.value)


@pytest.mark.parametrize("formula", [None, 3, ["y ~ x"], b"y ~ x"], ids=repr)
def test_a_formula_is_text(formula):
    with pytest.raises(FormulaError, match=f"must be text.*got {type(formula).__name__}"):
        parse(formula)


SEVERAL = {
    "y ~ x + (1 | g) + (1 | h)": [("1", ("g",), False), ("1", ("h",), False)],
    "y ~ x + (1 | g/h)": [("1", ("g",), False), ("1", ("g", "h"), False)],
    "y ~ x + (x | a/b/c)": [("x", ("a",), False), ("x", ("a", "b"), False), ("x", ("a", "b", "c"), False)],
    "y ~ x + (x || g:h)": [("x", ("g", "h"), True)],
    "y ~ (x | g) + (0 + z | g)": [("x", ("g",), False), ("0 + z", ("g",), False)],
    "y ~ x + (1 | g) + (1 | g)": [("1", ("g",), False), ("1", ("g",), False)],
    "y ~ x + (1 | `g/h`) + (`a b` | `p|q`:r)": [("1", ("g/h",), False), ("`a b`", ("p|q", "r"), False)],
}


@pytest.mark.parametrize("formula", SEVERAL)
def test_several_terms(formula):
    assert list(several_terms(formula).bars) == SEVERAL[formula]
    assert several_terms(formula).response == "y"


@pytest.mark.parametrize(
    "formula",
    ["y ~ x", "y ~ x + (1 | g)", "y ~ (x || g)", "y ~ (1 | g) + (0 + x | g)", 3, "y (1 | g) + (1 | h)", "y ~ `a"],
)
def test_one_grouping_is_for_parse(formula):
    assert several_terms(formula) is None


def test_one_term_taken_apart_if_asked():
    assert several_terms("y ~ x + (1 | g)", always=True).bars == (("1", ("g",), False),)
    assert several_terms("y ~ x", always=True) is None


@pytest.mark.parametrize("formula", ["y ~ (1 | g/h*k)", "y ~ (1 | g:)", "y ~ (1 | /g)", "y ~ (1 | g) + (1 | h + k)"])
def test_groups_are_cells_of_columns(formula):
    with pytest.raises(FormulaError, match="must be columns, joined by"):
        several_terms(formula)


def test_parentheses_are_checked():
    with pytest.raises(FormulaError, match="closing one"):
        several_terms("y ~ (1 | `g h`) + (1 | h")
