"""What Python packages print at their default settings: ``python printed.py DATA PACKAGE ... > python.txt``.

DATA is the folder of the book's data; the packages are in an environment of their own, no part of the book's.
"""

import sys
import warnings
from importlib.metadata import version
from pathlib import Path

import pandas as pd

warnings.simplefilter("ignore")
DATA = Path(sys.argv[1])


def read(name, *groups):
    return pd.read_csv(DATA / f"{name}.csv", dtype=dict.fromkeys(groups, str))


def show(title, summary):
    print(f"## {title}\n{summary}\n")


sleep, penicillin, cbpp = read("sleep", "Subject"), read("penicillin"), read("cbpp", "herd", "period")
cbpp["proportion"] = cbpp["incidence"] / cbpp["size"]
slope, crossed = "Reaction ~ Days + (Days | Subject)", "diameter ~ 1 + (1 | plate) + (1 | sample)"
for package in sys.argv[2:]:
    print(f"# {package} {version(package)}\n")
    if package == "statsmodels":
        import statsmodels.formula.api as smf

        fit = smf.mixedlm("Reaction ~ Days", sleep, groups="Subject", re_formula="~Days").fit()
        show("sleep-slope-reml", fit.summary())
        print("more digits:", *fit.cov_re.to_numpy().ravel(), fit.scale, "\n")
    if package == "mixedlm-rs":
        import mixedlm_rs

        fit = mixedlm_rs.mixedlm("Reaction ~ Days", sleep, groups="Subject", re_formula="~Days").fit()
        show("sleep-slope-reml", fit.summary())
    if package == "glmm":
        import glmm

        show("sleep-slope-reml", glmm.fit(sleep, slope).summary_object())
        show("penicillin-reml", glmm.fit(penicillin, crossed).summary_object())
        binomial = glmm.fit(cbpp, "proportion ~ period + (1 | herd)", "binomial", weights=cbpp["size"].to_numpy(float))
        show("cbpp-laplace", binomial.summary_object())
    if package == "mixedlm":
        import mixedlm

        show("sleep-slope-reml", mixedlm.lmer(slope, sleep).summary())
        show("penicillin-reml", mixedlm.lmer(crossed, penicillin).summary())
        fit = mixedlm.glmer("incidence / size ~ period + (1 | herd)", cbpp, family=mixedlm.families.Binomial())
        show("cbpp-laplace", fit.summary())
    if package == "lme-python":
        import lme_python
        import polars as pl

        for title, formula, frame in (("sleep-slope-reml", slope, sleep), ("penicillin-reml", crossed, penicillin)):
            fit = lme_python.lmer(formula, data=pl.from_dict(frame.to_dict("list")))
            show(title, fit.summary())
            print("more digits:", *fit.std_errors, fit.theta, fit.sigma2, fit.var_corr, "\n")
        frame = pl.from_dict(cbpp.to_dict("list"))
        size = cbpp["size"].tolist()
        fit = lme_python.glmer_weighted("proportion ~ period + (1 | herd)", frame, "binomial", weights=size)
        show("cbpp-laplace", fit.summary())
        print("more digits:", *fit.var_corr, "\n")
