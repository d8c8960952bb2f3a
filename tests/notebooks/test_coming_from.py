"""The tables of "Coming from ...": each right-hand side is run, and has the stored answer of the left-hand call.

Where an answer of another program is stored in tests/reference, the code on the right is evaluated as the page has it.
All other code on the right must at least exist: its functions, methods and attributes, and its arguments.
"""

import ast
import inspect
import json
import re

import numpy as np
import pandas as pd
import pytest

import lmmlib
from tests import tolerances as tol
from tests.notebooks.conftest import CHAPTERS, ROOT

SLEEP = "Reaction ~ Days + (Days | Subject)"


def stored(path):
    return json.loads((ROOT / "tests/reference" / path).read_text())


def tables(text):
    """(heading, left cell, right cell) of the rows of tables whose second column is lmmlib's."""
    head = None
    for line in text.splitlines():
        if not line.startswith("|"):
            head = None
            continue
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if head is None:
            head = cells
        elif set(line) - set("|-: ") and "lmmlib" in head[1]:
            yield head[0], cells[0], cells[1]


def spans(cell):
    return [code.replace("\\|", "|") for code in re.findall(r"`([^`]+)`", cell)]


@pytest.fixture(scope="module")
def page():
    notebook = json.loads((CHAPTERS / "coming-from.ipynb").read_text())
    text = "\n".join("".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "markdown")
    return [(head, spans(left), spans(right)) for head, left, right in tables(text)]


@pytest.fixture(scope="module")
def names():
    """What the letters of the page stand for."""
    sleep = lmmlib.load("sleep")
    f = lmmlib.fit(SLEEP, sleep)
    counts = lmmlib.fit_glmm("count ~ 1 + (1 | site)", lmmlib.load("counts_4x2"))
    pairs = lmmlib.clone("y ~ 1 + (1 | group)", lmmlib.load("neyman_scott"), rng=1)
    new = pd.DataFrame({"Days": [0, 5, 12], "Subject": [308, 308, 309]})
    d = lmmlib.sample(SLEEP, sleep, draws=20, rng=1)
    lead = lmmlib.fit("lead ~ week + (0 | id)", lmmlib.load("tlc"), residual=lmmlib.residual.compound("week"))
    more = {
        "residual": lead,
        "new": new,
        "L": [0, 1],
        "f0": lmmlib.fit("Reaction ~ Days + (1 | Subject)", sleep),
        "m": None,
    }
    return {"np": np, "lmmlib": lmmlib, "f": f, "c": pairs, "d": d, "counts": counts, **more}


# --- answers ---


def lme4_answers():
    one, ml = stored("sleepstudy_slope_reml.json"), stored("sleepstudy_slope_ml.json")
    b, profile = one["ranef"]["Subject"], stored("inference/inference.json")["profile_sleepstudy_slope"]["level95"]
    days = np.tile(np.arange(10.0), 18)
    x = np.column_stack([np.ones(180), days])
    p = stored("inference/inference.json")["predict_sleepstudy"]
    fixef, kr = list(one["fixef"].values()), one["kenward_roger"]
    return {
        ("lme4", "fixef(m)"): [fixef, one["vcov_fixef"]["values"], list(one["se"].values())],
        ("lme4", "VarCorr(m)"): [one["varcorr"]["Subject"]["cov"], None],
        ("lme4", "sigma(m)"): [one["sigma"]],
        ("lme4", 'getME(m, "theta")'): [list(one["theta"].values())],
        ("lme4", "logLik(m)"): [one["loglik"], one["criterion"]],
        ("lme4", "AIC(m)"): [one["AIC"], one["BIC"]],
        ("lme4", "ranef(m)"): [b["values"]],
        ("lme4", 'attr(ranef(m, condVar = TRUE)[[1]], "postVar")'): [b["condvar"], None, None],
        ("lme4", "coef(m)$Subject"): [b["values"], fixef],
        ("lme4", 'getME(m, "X")'): [x, x, None],
        ("lme4", "nobs(m)"): [one["nobs"], one["ngroups"]["Subject"]],
        ("lme4", "isSingular(m)"): [one["is_singular"]],
        ("lme4", "refitML(m)"): [(lambda fit: fit.loglik, ml["loglik"])],
        ("lme4", "confint(m)"): [
            (lambda t: t.loc[["(Intercept)", "Days"], ["lower", "upper"]], profile["values"][-2:])
        ],
        ("lme4", "predict(m, new)"): [p["conditional"][:3]],
        ("lme4", "predict(m, new, re.form = NA)"): [p["population"][:3]],
        ("lme4", "fitted(m)"): [(lambda v: v[:6], one["fitted_head"]), (lambda v: v[:6], one["resid_head"])],
        ("lme4", "residuals(m, scaled = TRUE)"): [
            (lambda v: np.quantile(v, [0, 0.25, 0.5, 0.75, 1]), one["scaled_resid_quantiles"])
        ],
        ("R", "summary(m)"): [(lambda t: t["df"], list(one["satterthwaite_df"].values()))],
        ("R", 'summary(m, ddf = "Kenward-Roger")'): [(lambda t: t["p"], list(kr["p"].values()))],
        ("nlme", "fixef(m)"): [fixef, one["varcorr"]["Subject"]["cov"], one["sigma"]],
        ("statsmodels", "r.fe_params"): [fixef, list(one["se"].values())],
        ("statsmodels", "r.cov_re"): [one["varcorr"]["Subject"]["cov"], one["sigma2"]],
        ("statsmodels", "r.params"): [fixef, one["varcorr"]["Subject"]["cov"], one["sigma2"]],
        ("statsmodels", "r.random_effects"): [b["values"], b["condvar"]],
        ("statsmodels", "r.llf"): [one["loglik"], one["AIC"], one["BIC"]],
        ("statsmodels", "r.fittedvalues"): [
            (lambda v: v[:6], one["fitted_head"]),
            (lambda v: v[:6], one["resid_head"]),
        ],
        ("statsmodels", "r.tvalues"): [(lambda t: t["z"], list(one["t"].values()))],
        ("statsmodels", "r.predict(new)"): [p["population"][:3]],
    }


def count_answers():
    one = stored("poisson/poisson_fits.json")["pois_4x2"]
    modes = (lambda t: np.ravel(t), one["glmer_nAGQ1"]["modes"])
    return {
        ("R", "ranef(m)"): [modes, (lambda t: np.ravel(t), one["glmer_nAGQ1"]["mode_se"])],
        ("R", "sdreport"): [(lambda t: np.ravel(t), one["TMB"]["mode_se"])],
    }


def clone_answers():
    """Maximum likelihood, to the Monte Carlo error of the default run and what is left of the prior."""
    ml = stored("cloning/jags.json")["exact_ml"]
    order = ("mu", "sigma_sq", "tau_sq")
    se = np.array([ml["se"][k] for k in order])
    at = ["(Intercept)", "sigma2", "D[(Intercept), (Intercept)]"]
    return {
        ("dclone", "coef(fit)"): [(lambda e: e[at], [ml[k] for k in order])],
        ("dclone", "dcsd(fit)"): [(lambda e: e[at], se), (lambda V: np.sqrt(np.diag(V.loc[at, at])), se)],
        ("dclone", "nclones(fit)"): [[1, 10, 25]],
    }


def check(page, names, answers, rtol):
    rows = {}
    for head, left, right in page:
        rows.setdefault((head.split(",")[0].split(" or")[0], left[0] if left else ""), []).append(right)
    for key, values in answers.items():
        assert key in rows, f"the page has no row {key}"
        codes = next((right for right in rows[key] if len(right) == len(values)), None)
        assert codes, f"{key}: {rows[key]} where {len(values)} answers are known"
        for code, value in zip(codes, values, strict=True):
            if value is None:
                continue
            take, known = value if isinstance(value, tuple) else (lambda v: v, value)
            found = np.asarray(take(eval(code, dict(names))), dtype=float)
            known = np.asarray(known, dtype=float)
            assert found.shape == known.shape, f"{key[1]} is {code} on the page: shape {found.shape}, not {known.shape}"
            off = np.abs(found - known).max() / np.abs(known).max() if known.any() else np.abs(found).max()
            assert off <= rtol, f"{key[1]} is {code} on the page, which is {found}; {key[0]} has {known}"


def test_lme4_and_others(page, names):
    check(page, names, lme4_answers(), 2e-5)


def test_counts(page, names):
    check(page, names | {"f": names["counts"]}, count_answers(), 2e-5)


def test_clones(page, names):
    check(page, names, clone_answers(), 0.05)


def frames():
    """The data of stored fits under the names of the page's tables; a fifth of the lead trial is left out, as in R."""
    lead = lmmlib.load("tlc").rename(columns={"lead": "y", "treatment": "arm"})
    lead = lead[((7 * lead["id"].astype(int) + 3 * lead["week"]) % 5 != 0).to_numpy()]
    return {
        "lead": lead.assign(visit=lead["week"].astype("category")),
        "penicillin": lmmlib.load("penicillin").rename(columns={"diameter": "y"}),
        "pastes": lmmlib.load("pastes").rename(columns={"strength": "y"}),
        "cream": lmmlib.load("cream").rename(columns={"cured": "well", "patients": "n"}),
    }


def nlme(model):
    return next(f for f in stored("residual/nlme.json") if f["model"] == model and f["method"] == "REML")


@pytest.mark.parametrize(
    "head, left, data, known",
    [
        ("lme4", "lmer(y ~ 1 + (1 | plate) + (1 | sample), d)", "penicillin", "crossed/penicillin_reml.json"),
        ("mmrm", "mmrm(y ~ arm * visit + us(visit | id), d)", "lead", "unstructured"),
        ("R", "glmer(cbind(well, n - well) ~ ..., family = binomial)", "cream", "binomial/cream.json"),
    ],
)
def test_other_families(page, head, left, data, known):
    code = next(r[0] for h, ls, r in page if h.startswith(head) and ls[:1] == [left])
    formula = "well ~ treatment + (1 | centre)"
    fit = eval(code, {"lmmlib": lmmlib, "data": frames()[data], "formula": formula})
    if known == "unstructured":
        expected = nlme(known)
        assert abs(fit.loglik - expected["loglik"]) < 1e-7
        assert np.allclose(fit.se.iloc[0], expected["se"][0], rtol=tol.NLME)
    elif data == "cream":
        expected = stored(known)["cream_glmer"]["nAGQ_1"]
        assert abs(fit.loglik - expected["loglik"]) < 1e-8
        assert np.allclose(fit.beta, expected["beta"], atol=1e-6)
    else:
        assert abs(fit.criterion - stored(known)["criterion"]) < 1e-8


@pytest.mark.parametrize(
    "left, wrong", [("sigma(m)", "f.sigma2"), ('getME(m, "theta")', "f.D"), ("logLik(m)", "f.criterion")]
)
def test_a_wrong_side_is_noticed(page, names, left, wrong):
    answers = {key: values for key, values in lme4_answers().items() if key == ("lme4", left)}
    changed = [(h, ls, [wrong, *rs[1:]] if ls[:1] == [left] else rs) for h, ls, rs in page]
    with pytest.raises(AssertionError, match=re.escape(f"{left} is {wrong} on the page")):
        check(changed, names, answers, 2e-5)


def labelled_checks():
    """(label, code that is compared) of each report.check of the page; a name alone stands for what it was made of."""
    notebook = json.loads((CHAPTERS / "coming-from.ipynb").read_text())
    code = "\n".join("".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "code")
    nodes = list(ast.walk(ast.parse(code)))
    made = {ast.unparse(node.targets[0]): node.value for node in nodes if isinstance(node, ast.Assign)}
    for node in nodes:
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "report.check":
            label, sides = node.args[0], [made.get(ast.unparse(side), side) for side in node.args[1:3]]
            if isinstance(label, ast.Constant):
                yield label.value, ast.unparse(ast.List(elts=sides))


def attributes(code: str) -> set[str]:
    """Names after a dot; none in what is no code by itself, such as the name of an argument."""
    try:
        tree = ast.parse(code)
    except SyntaxError:
        return set()
    return {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


def test_checks_of_the_page_run_what_its_tables_say(page):
    """A check that has a left-hand call as its label uses the attributes of the code on its right."""
    right_of = {}
    for _, left, right in page:
        for call, code in zip(left, right, strict=False):
            right_of.setdefault(call, []).append(attributes(code) - {"blups", "equations"})
    seen = 0
    for label, code in labelled_checks():
        if label in right_of:
            seen += 1
            assert any(names <= attributes(code) for names in right_of[label]), (
                f"{label}: {code} is not {right_of[label]}"
            )
    assert seen >= 15


# --- everything else exists ---


def unknown(code, names) -> str | None:
    """What does not exist in a piece of code; None if all does, or it is no code of ours."""
    try:
        tree = ast.parse(code)
    except SyntaxError:
        return None
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call | ast.Attribute):
            continue
        target = node.func if isinstance(node, ast.Call) else node
        found, problem = resolve(target, names)
        if problem:
            return problem
        if isinstance(node, ast.Call) and found is not None and node.keywords:
            parameters = inspect.signature(found).parameters
            for keyword in node.keywords:
                if keyword.arg and keyword.arg not in parameters:
                    return f"{ast.unparse(target)} has no argument {keyword.arg}"
    return None


def resolve(node, names):
    """The object that a dotted name stands for, as far as no call has to be made."""
    if isinstance(node, ast.Name):
        return (names[node.id], None) if node.id in names else (None, None)
    if not isinstance(node, ast.Attribute):
        return None, None
    owner, problem = resolve(node.value, names)
    if problem or owner is None:
        return None, problem
    if not hasattr(owner, node.attr):
        return None, f"{ast.unparse(node)} does not exist"
    return getattr(owner, node.attr), None


def test_all_other_code_exists(page, names):
    codes = [code for _, _, right in page for code in right]
    assert len(codes) > 120
    for code in codes:
        problems = [unknown(code, names | {"f": names[fit]}) for fit in ("f", "counts", "residual")]
        assert None in problems, f"{code}: {problems[0]}"


@pytest.mark.parametrize("code", ["f.blup()", "lmmlib.fitt(formula)", 'f.confint(parameter="Days")', "f.sigma"])
def test_code_that_does_not_exist_is_noticed(code, names):
    assert unknown(code, names)
