"""Explorers: the figures that move. Their scripts are in ``chapters/explorers``, their data are made here by `lmmlib`.

A page gets the scripts of the explorers whose figures it has; Vega, which draws them, is loaded when a reader opens
one. It comes from the wheel ``vl-convert-python`` (Vega, Vega-Lite and vega-embed, BSD licence), so that no network is
needed; its checksum is in the file ``vega.txt`` beside it.
"""

import hashlib
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import vl_convert
from docutils import nodes
from scipy import stats

import lmmlib
from chapters._tools.replacing import replace_text
from lmmlib.glmm.quadrature import rule

SOURCES = Path(__file__).resolve().parents[1] / "explorers"
LEVELS = (0.8, 0.95, 0.99)
FIGURE = re.compile(r'^  figure: "([\w-]+)"', re.M)


def pooling():
    """The means of eight placebo children over four visits, and the variances of the arm."""
    placebo = lmmlib.load("tlc").query("treatment == 'placebo'")
    fit = lmmlib.fit("lead ~ C(week) + (1 | id)", placebo)
    means = placebo.groupby("id", observed=True)["lead"].mean().to_numpy()[:8]
    return {"means": np.round(means, 3), "visits": 4, "tau": fit.D.iloc[0, 0] ** 0.5, "sigma": fit.sigma2**0.5}


def variance():
    """Standard deviations of the placebo arm at its four visits with 95 % limits, and their correlations."""
    wide = lmmlib.load("tlc").query("treatment == 'placebo'").pivot(index="id", columns="week", values="lead")
    df = len(wide) - 1
    sd = wide.std().to_numpy()
    lower, upper = (sd * np.sqrt(df / stats.chi2.ppf(p, df)) for p in (0.975, 0.025))
    return {"weeks": wide.columns.to_numpy(), "sd": sd, "lower": lower, "upper": upper, "correlation": wide.corr()}


def boundary():
    """Means of the batches of the dyestuff, and sums of squares within them."""
    yields = lmmlib.load("dyestuff").groupby("Batch", observed=True)["Yield"]
    return {"means": yields.mean(), "ssw": yields.var() * 4}


def neyman_scott():
    """Four hundred groups of ten observations with variance 1, each about a mean of its own."""
    rng = np.random.default_rng(1948)
    return {"y": np.round(2.5 + 2 * rng.standard_normal((400, 1)) + rng.standard_normal((400, 10)), 3)}


def trials(children):
    """Four hundred trials without a difference of the arms: estimate, standard error and df of each.

    A child has one to four visits, in every trial the same.
    """
    rng, count = np.random.default_rng(children), 400
    visits = 1 + np.arange(2 * children) % 4
    child = np.repeat(np.arange(2 * children), visits)
    frame = pd.DataFrame({"child": child, "arm": child % 2, "lead": 0.0})
    rows = []
    for _ in range(count):
        y = 25 + 5 * rng.standard_normal(2 * children)[child] + 2.5 * rng.standard_normal(len(child))
        fit = lmmlib.fit("lead ~ arm + (1 | child)", frame.assign(lead=np.round(y, 2)))
        rows.append((fit.beta["arm"], fit.se["arm"], float(np.ravel(fit.contrast([0, 1]).df)[0])))
    return np.array(rows)


def coverage():
    """Stored trials of three sizes, and how many standard errors each interval reaches."""
    found = {}
    for children, rows in pd.read_csv(SOURCES / "coverage.csv").groupby("children"):
        reach = {
            "z": {level: stats.norm.ppf((1 + level) / 2) for level in LEVELS},
            "t": {level: stats.t.ppf((1 + level) / 2, 2 * children - 2) for level in LEVELS},
            "satterthwaite": {level: stats.t.ppf((1 + level) / 2, rows["df"].to_numpy()) for level in LEVELS},
        }
        found[str(children)] = {"estimate": rows["estimate"], "se": rows["se"], "reach": reach}
    return found


def gibbs():
    """Means of twenty groups, and the normal numbers of two hundred sweeps."""
    rng = np.random.default_rng(9)
    means = 10 + 2 * rng.standard_normal(20)
    return {"means": np.round(means, 3), "normal": np.round(rng.standard_normal((200, 3)), 4)}


def cloning():
    """Sums of squares of the dyestuff between and within batches, whole and of the first sample of each batch."""
    yields = lmmlib.load("dyestuff")["Yield"].to_numpy(float).reshape(6, 5)
    one = yields[:, 0]
    total = float(((one - one.mean()) ** 2).mean())
    six = {"n": 6, "m": 5, "B": 5 * 6 * yields.mean(axis=1).var(), "W": 5 * yields.var(axis=1).sum(), "total": None}
    return {"six": six, "one": {"n": 6, "m": 1, "B": 6 * total, "W": 0, "total": total}}


def laplace():
    """Nodes and weights of Gauss-Hermite quadrature for the standard normal, for 1 to 15 nodes."""
    rules = [rule(k, 1) for k in range(1, 16)]
    return {"nodes": [r.nodes[:, 0] for r in rules], "weights": [r.weights for r in rules]}


DATA = {
    "boundary": boundary,
    "cloning": cloning,
    "coverage": coverage,
    "gibbs": gibbs,
    "laplace": laplace,
    "neyman-scott": neyman_scott,
    "pooling": pooling,
    "variance": variance,
}


def figures():
    """The figure that each explorer brings to life, by the explorer's name."""
    scripts = {path.stem: path.read_text(encoding="utf-8") for path in sorted(SOURCES.glob("*.js"))}
    return {name: FIGURE.search(text)[1] for name, text in scripts.items() if name != "explore"}


def plain(thing):
    """Arrays as lists and numbers as such, for JSON."""
    if isinstance(thing, dict):
        return {str(key): plain(value) for key, value in thing.items()}
    if isinstance(thing, list):
        return [plain(one) for one in thing]
    kinds = (np.ndarray, np.generic, pd.Series, pd.DataFrame)
    return np.asarray(thing).tolist() if isinstance(thing, kinds) else thing


def write_scripts(app):
    """The scripts, their data and Vega, where the pages look for them."""
    if app.builder.format != "html":
        return
    folder = Path(app.outdir, "_static", "explorers")
    folder.mkdir(parents=True, exist_ok=True)
    for path in SOURCES.glob("*.js"):
        shutil.copyfile(path, folder / path.name)
    for name, make in DATA.items():
        text = f"explorers[{json.dumps(name)}].data = {json.dumps(plain(make()))};\n"
        (folder / f"{name}.data.js").write_text(text, encoding="utf-8")
    bundle = vl_convert.javascript_bundle()
    # A scope of its own: the bundle names its parts "n", "t" and "_".
    (folder / "vega.js").write_text(f"(() => {{{bundle}}})();\n", encoding="utf-8")
    digest = hashlib.sha256(bundle.encode()).hexdigest()
    about = f"Vega, Vega-Lite and vega-embed (BSD 3-clause), from vl-convert-python {vl_convert.__version__}"
    (folder / "vega.txt").write_text(f"{about}\nsha256 {digest}\n", encoding="utf-8")


def add_scripts(app, pagename, templatename, context, doctree):
    """The scripts of the explorers whose figures a page has."""
    if doctree is None:
        return
    named = {name for figure in doctree.findall(nodes.figure) for name in figure["ids"] + figure["names"]}
    wanted = [name for name, figure in figures().items() if figure in named]
    if wanted:
        app.add_css_file("explorers.css")
    for name in (["explore"] if wanted else []) + wanted:
        app.add_js_file(f"explorers/{name}.js", priority=600)


def setup(app):
    app.connect("builder-inited", write_scripts)
    app.connect("html-page-context", add_scripts)


if __name__ == "__main__":  # write the stored trials anew
    from replacing import replace_text

    found = {children: trials(children) for children in (3, 5, 10)}
    frames = [pd.DataFrame(rows, columns=["estimate", "se", "df"]).assign(children=n) for n, rows in found.items()]
    text = pd.concat(frames).to_csv(index=False, float_format="%.6f", lineterminator="\n")
    replace_text(SOURCES / "coverage.csv", text)
