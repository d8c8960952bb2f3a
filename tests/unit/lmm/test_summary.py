"""The summary: every number in it is an attribute of the fit, rounded, and nothing is left out."""

import re

import numpy as np
import pandas as pd
import pytest

import lmmlib
from lmmlib.equations.moments import correlation
from lmmlib.errors import DesignError
from lmmlib.fitting import newton

NUMBER = r"-?(?:\d+(?:\.\d+)?(?:e[-+]\d+)?|NaN|inf)"


def digits(text):
    """Half a unit of the last digit of a printed number."""
    return 0.5 * 10.0 ** -len(text.partition(".")[2]) * (1 + 1e-9)


def agrees(text, value):
    """The text is the value rounded."""
    if not np.isfinite(value):
        return text == ("NaN" if np.isnan(value) else "inf")
    if "e" in text:
        assert not 1e-4 < abs(value) < 1e7  # not where the number is short without
        return abs(float(text) - value) <= 0.5e-4 * 10.0 ** int(text.partition("e")[2]) * (1 + 1e-9)
    whole = len(text.lstrip("-").partition(".")[0]) if "." not in text else 0
    # Five significant digits of a number above 1e5 end before the decimal point.
    unit = digits(text) if "." in text else 0.5 * 10.0 ** max(whole - 5, 0) * (1 + 1e-9)
    return abs(float(text) - value) <= unit


def rows_after(text, head):
    """The rows of a block of the summary: those that follow its head and are indented."""
    lines = text.splitlines()
    start = next(k for k, line in enumerate(lines) if line.strip().startswith(head))
    rows = []
    for line in lines[start + 1 :]:
        if not line.startswith("  ") or re.match(r"  (Random effects|Fixed effects|Correlations) ", line):
            break
        rows.append(line)
    return lines[start], rows


def cells(row, name):
    assert row.startswith(f"  {name}  "), row
    return row[2 + len(name) :].split()


def check(fitted):
    """Every figure of the text, block by block."""
    text = str(fitted.summary())
    head = text.splitlines()
    reml = fitted.method == "REML"
    assert head[0] == f"Linear mixed model fit by {'REML' if reml else 'maximum likelihood'}: {fitted.formula}"
    label, value, N, n = re.fullmatch(
        rf"(REML criterion|deviance) ({NUMBER}), (\d+) observations in (\d+) groups", head[1]
    ).groups()
    assert label == ("REML criterion" if reml else "deviance")
    assert agrees(value, fitted.criterion) and (int(N), int(n)) == (fitted.n_obs, fitted.n_groups)
    shown = re.findall(NUMBER, head[2])
    quantiles = np.quantile(fitted.residuals(kind="scaled"), [0, 0.25, 0.5, 0.75, 1])
    assert len(shown) == 5 and all(map(agrees, shown, quantiles))

    q, line, rows = len(fitted.D), *rows_after(text, "Random effects")
    correlated = q > 1 and not fitted.design.diagonal
    assert ("corr" in line) == correlated and len(rows) == q + 1
    r = np.pad(correlation(fitted.D.to_numpy()), (0, 1))
    for k, (name, v) in enumerate(zip([*fitted.D.index, "Residual"], [*np.diag(fitted.D), fitted.sigma2], strict=True)):
        variance, sd, *rest = cells(rows[k], name)
        assert agrees(variance, v) and agrees(sd, np.sqrt(v))
        assert len(rest) == (k if correlated and k < q else 0) and all(map(agrees, rest, r[k]))

    line, rows = rows_after(text, "Fixed effects")
    columns = line.split()[2:]
    assert columns == (["estimate", "se", "df", "t", "p"] if reml else ["estimate", "se", "z", "p"])
    table = fitted.fixed_effects()
    assert len(rows) == len(fitted.beta)
    for row, name in zip(rows, fitted.beta.index, strict=True):
        values = dict(zip(columns, cells(row, name), strict=True))
        p = values.pop("p")
        assert agrees(values["estimate"], fitted.beta[name]) and agrees(values["se"], fitted.se[name])
        assert all(agrees(values[c], table.loc[name, c]) for c in values)
        assert (p == "<0.001" and table.loc[name, "p"] < 0.001) or agrees(p, table.loc[name, "p"])

    names = list(fitted.beta.index)
    assert ("Correlations" in text) == (fitted.converged and 1 < len(names) <= 8)
    if "Correlations" in text:
        _, rows = rows_after(text, "Correlations")
        r = correlation(fitted.cov_beta.to_numpy())
        assert len(rows) == len(names) - 1
        for k, row in enumerate(rows, start=1):
            shown = cells(row, names[k])
            assert len(shown) == k and all(map(agrees, shown, r[k]))
    assert ("D is singular" in text) == fitted.is_singular
    assert ("not converged" in text) == (not fitted.converged)
    assert text == repr(fitted)
    assert all(len(row) == len(row.rstrip()) for row in text.splitlines())
    return text


@pytest.mark.parametrize("method", ["REML", "ML"])
@pytest.mark.parametrize(
    ("data", "formula"),
    [
        ("sleep", "Reaction ~ Days + (Days | Subject)"),
        ("sleep", "Reaction ~ Days + (Days || Subject)"),
        ("sleep", "Reaction ~ 1 + (1 | Subject)"),
        ("sleep", "Reaction ~ Days + (0 | Subject)"),
        ("sleep", "Reaction ~ 0 + Days + (0 + Days | Subject)"),
        ("dental", "distance ~ age * Sex + (age | Subject)"),
        ("tlc", "lead ~ C(week) * treatment + (week | id)"),
        ("planting", "`yield` ~ density + I(density**2) + (density + I(density**2) | block)"),
    ],
)
def test_every_figure_is_an_attribute(data, formula, method):
    check(lmmlib.fit(formula, lmmlib.load(data), method=method))


def test_other_figures_do_not_agree():
    """The reading above sees a last digit that is off by one, and a swapped column."""
    assert agrees("612.09", 612.0899) and not agrees("612.09", 612.0951) and not agrees("612.09", 612.10)
    assert agrees("0.066", 0.0655) and not agrees("24.740", 24.741)
    assert agrees("123460", 123456.0) and not agrees("123460", 123466.0)
    assert agrees("NaN", np.nan) and not agrees("1.0", np.nan) and agrees("0.0000", 0.0)


def grouped(scale=1.0, p=1):
    rng = np.random.default_rng(5)
    frame = pd.DataFrame(rng.normal(size=(60, p)), columns=[f"x{k}" for k in range(p)])
    frame["g"] = np.repeat(range(12), 5)
    return frame.assign(y=scale * (rng.normal(size=12)[frame["g"]] + rng.normal(size=60)))


@pytest.mark.parametrize("scale", [1e-30, 1e-9, 1e-3, 1e7, 1e9, 1e30])
@pytest.mark.parametrize("method", ["REML", "ML"])
def test_any_units(scale, method):
    check(lmmlib.fit("y ~ x0 + (1 | g)", grouped(scale), method=method))


@pytest.mark.parametrize("scale", [1e-140, 1e-60, 1e60, 1e140])
def test_units_without_third_powers(scale):
    """The estimates are right; df and Wald limits would not be, and are an error that names the remedy."""
    fitted, plain = (lmmlib.fit("y ~ x0 + (1 | g)", grouped(s)) for s in (scale, 1.0))
    np.testing.assert_allclose(fitted.beta / scale, plain.beta, rtol=1e-6)
    for asked in (
        fitted.fixed_effects,
        lambda: fitted.fixed_effects(df="kenward-roger"),
        lambda: fitted.confint(method="wald"),
    ):
        with pytest.raises(DesignError, match="sigma2 = .*divide the response by .*e[-+]"):
            asked()
    text = str(fitted.summary())
    assert max(map(len, text.splitlines())) < 80
    _, rows = rows_after(text, "Fixed effects")
    for row, name in zip(rows, fitted.beta.index, strict=True):
        estimate, se, df, t, p = cells(row, name)
        assert agrees(estimate, fitted.beta[name]) and agrees(se, fitted.se[name]) and df == p == "NaN"
        assert agrees(t, fitted.beta[name] / fitted.se[name])


@pytest.mark.parametrize("scale", [1e-140, 1e-90, 1e-60, 1e60, 1e90, 1e140])
def test_units_of_a_random_column(scale):
    """Any for a full D; beside a diagonal D an error that names the column where its fourth power is no number."""
    wide, plain = grouped().assign(x0=lambda d: d["x0"] * scale), grouped()
    for bar in ("|", "||"):
        formula = f"y ~ x0 + (x0 {bar} g)"
        if bar == "||" and not 1e-70 < scale < 1e70:
            with pytest.raises(DesignError, match="the random column x0 has values around .*; divide it by .*e[-+]"):
                lmmlib.fit(formula, wide)
            continue
        ours, other = lmmlib.fit(formula, wide).fixed_effects(), lmmlib.fit(formula, plain).fixed_effects()
        np.testing.assert_allclose(ours[["t", "df", "p"]], other[["t", "df", "p"]], rtol=1e-6)


def test_a_singular_fit_says_so():
    frame = grouped()
    frame["y"] -= frame.groupby("g")["y"].transform("mean")
    one = check(lmmlib.fit("y ~ x0 + (1 | g)", frame))
    assert one.endswith("D is singular: some combination of the random effects has variance zero")
    check(lmmlib.fit("y ~ x0 + (x0 | g)", frame))
    assert "singular" not in check(lmmlib.fit("y ~ x0 + (1 | g)", grouped()))


def test_a_fit_that_did_not_converge_says_so(monkeypatch):
    monkeypatch.setattr(newton, "MAX_STEPS", 2)
    fitted = lmmlib.fit("y ~ x0 + (x0 | g)", grouped(), method="ML")
    assert not fitted.converged
    assert check(fitted).endswith("not converged, so no standard errors: 2 steps were not enough")


@pytest.mark.parametrize(("p", "shown"), [(7, True), (8, False)])
def test_correlations_of_up_to_eight_fixed_effects(p, shown):
    terms = " + ".join(f"x{k}" for k in range(p))
    text = check(lmmlib.fit(f"y ~ {terms} + (1 | g)", grouped(p=p)))
    assert ("Correlations" in text) == shown


def test_long_names_keep_the_columns():
    frame = grouped().rename(columns={"x0": "concentration_of_lead_in_the_blood_of_the_mother"})
    name = frame.columns[0]
    text = check(lmmlib.fit(f"y ~ {name} + ({name} | g)", frame))
    line, rows = rows_after(text, "Fixed effects")
    assert {len(row) for row in rows} == {len(line)}
    # Numbers stand under their heads: those of the shorter name where those of the longer are.
    assert {
        row.index(cells(row, n)[0]) + len(cells(row, n)[0]) for row, n in zip(rows, ["(Intercept)", name], strict=True)
    } == {line.index("estimate") + len("estimate")}


@pytest.mark.parametrize("of", ["fit", "test", "several", "comparison", "refits", "kenward-roger"])
def test_results_are_shown_as_html_too(of):
    """The same lines: a notebook shows HTML, print the text."""
    frame = grouped()
    fitted, null = (lmmlib.fit(f"y ~ x0 + ({k} | g)", frame) for k in "10")
    shown = {
        "fit": lambda: fitted,
        "test": lambda: fitted.contrast([0, 1]),
        "several": lambda: fitted.contrast(np.eye(2)),
        "comparison": lambda: lmmlib.compare(null, fitted),
        "refits": lambda: lmmlib.fit_many(fitted.design, np.c_[frame["y"], np.full(60, np.nan)]),
        "kenward-roger": lambda: lmmlib.equations.kenward_roger(fitted.cross, [0, 1], fitted.D, fitted.sigma2),
    }[of]()
    html, text = shown._repr_html_(), repr(shown)
    assert html.startswith('<div class="lmm-summary">') and str(shown.summary()) == text
    first = text.splitlines()[0].replace("<", "&lt;")
    assert first in html
