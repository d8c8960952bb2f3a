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
import vl_convert
from docutils import nodes

import lmmlib

SOURCES = Path(__file__).resolve().parents[1] / "explorers"
FIGURE = re.compile(r'^  figure: "([\w-]+)"', re.M)


def pooling():
    """The means of eight placebo children over four visits, and the variances of the arm."""
    placebo = lmmlib.load("tlc").query("treatment == 'placebo'")
    fit = lmmlib.fit("lead ~ C(week) + (1 | id)", placebo)
    means = placebo.groupby("id", observed=True)["lead"].mean().to_numpy()[:8]
    return {"means": np.round(means, 3), "visits": 4, "tau": fit.D.iloc[0, 0] ** 0.5, "sigma": fit.sigma2**0.5}


DATA = {"pooling": pooling}


def figures():
    """The figure that each explorer brings to life, by the explorer's name."""
    scripts = {path.stem: path.read_text(encoding="utf-8") for path in sorted(SOURCES.glob("*.js"))}
    return {name: FIGURE.search(text)[1] for name, text in scripts.items() if name != "explore"}


def plain(thing):
    """Arrays as lists and numbers as such, for JSON."""
    if isinstance(thing, dict):
        return {key: plain(value) for key, value in thing.items()}
    return np.asarray(thing).tolist() if isinstance(thing, (np.ndarray, np.generic)) else thing


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
