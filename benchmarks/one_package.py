"""One Python package fits one model again and again: ``python one_package.py PACKAGE FIT DATA.csv REPEATS``.

Run by the interpreter of an environment that has the package; it needs neither lmmlib nor the book's environment. It
prints the package's version, then the processor seconds of each fit, the first one left out, then minus twice the
log-likelihood (of a fit by REML the criterion). The frame in memory is of the kind that the package works with.
"""

import sys
import time
import warnings
from importlib.metadata import version

import pandas as pd

#: Of each fit: formula, family, and the columns that are groups.
FITS = {
    "sleep": ("Reaction ~ Days + (Days | Subject)", "gaussian", ["Subject"]),
    "slope": ("y ~ x + (x | g)", "gaussian", ["g"]),
    "crossed": ("diameter ~ 1 + (1 | plate) + (1 | sample)", "gaussian", ["plate", "sample"]),
    "counts": ("count ~ 1 + (1 | site)", "poisson", ["site"]),
}


def glmm(frame, formula, family):
    import glmm

    return lambda: glmm.fit(frame, formula, family), lambda fit: -2 * fit.loglik


def mixedlm(frame, formula, family):
    import mixedlm

    if family == "gaussian":
        return lambda: mixedlm.lmer(formula, frame), lambda fit: -2 * float(fit.logLik())
    poisson = mixedlm.families.Poisson()
    return lambda: mixedlm.glmer(formula, frame, family=poisson), lambda fit: -2 * float(fit.logLik())


def mixedlm_rs(frame, formula, family):
    import mixedlm_rs

    fixed, group, random = parts(formula)
    return lambda: mixedlm_rs.mixedlm(fixed, frame, groups=group, re_formula=random).fit(), lambda fit: -2 * fit.llf


def statsmodels(frame, formula, family):
    import statsmodels.formula.api as smf

    fixed, group, random = parts(formula)
    return lambda: smf.mixedlm(fixed, frame, groups=group, re_formula=random).fit(), lambda fit: -2 * fit.llf


def lme_python(frame, formula, family):
    import lme_python
    import polars as pl

    own = pl.from_dict(frame.to_dict("list"))
    if family == "gaussian":
        return lambda: lme_python.lmer(formula, data=own), lambda fit: -2 * fit.log_likelihood
    # Its log-likelihood of counts lacks a constant, and is another function: beta is maximised with the modes.
    return lambda: lme_python.glmer(formula, own, family), lambda fit: float("nan")


def parts(formula):
    """Fixed part, group and random columns of a formula with one random term."""
    fixed, _, term = formula.partition(" + (")
    random, _, group = term.rstrip(")").partition(" | ")
    return fixed, group, f"~{random}"


def main(package, fit, path, repeats):
    warnings.simplefilter("ignore")
    formula, family, _ = FITS[fit]
    frame = pd.read_csv(path)
    call, criterion = globals()[package.replace("-", "_")](frame, formula, family)
    fitted = call()
    print(version(package))
    for _ in range(int(repeats)):
        begin = time.process_time()
        fitted = call()
        print(f"{time.process_time() - begin:.9f}")
    print(f"{criterion(fitted):.15g}")


if __name__ == "__main__":
    sys.path.pop(0)  # This folder has a module glmm of its own.
    main(*sys.argv[1:])
