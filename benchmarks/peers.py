"""The same fits by statsmodels, and by lme4 where it is installed."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import warnings
from pathlib import Path

import pandas as pd

from benchmarks.measure import Times, run


def statsmodels(frame: pd.DataFrame, fixed: str, group: str, random: str, repeats: int) -> Times:
    """MixedLM by REML at its default settings, from formula and frame."""
    import statsmodels.formula.api as smf

    def call():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return smf.mixedlm(fixed, frame, groups=frame[group], re_formula=random).fit(reml=True)

    (seconds,), (fitted,) = run([call], repeats)
    return Times(seconds, -2 * fitted.llf)


def lme4_version() -> str | None:
    """Versions of R and lme4; None if there is no Rscript, or it has no lme4."""
    if shutil.which("Rscript") is None:
        return None
    code = 'cat("lme4", as.character(packageVersion("lme4")), "in", R.version.string)'
    done = subprocess.run(["Rscript", "-e", code], capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else None


def lme4(frame: pd.DataFrame, formula: str, group: str, repeats: int) -> Times:
    """lmer by REML at its default settings, wall-clock time."""
    return r(frame, f"lmer({formula}, data)", [group], repeats, clock="wall")


def r(frame: pd.DataFrame, call: str, groups: list[str], repeats: int, *, clock: str = "processor") -> Times:
    """An expression of R in which ``data`` is the frame, its groups factors: a fit by lme4 or nlme."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data.csv"
        frame[[*groups, *frame.columns.drop(groups)]].to_csv(path, index=False)
        script = str(Path(__file__).with_name("lme4.R"))
        command = ["Rscript", script, str(path), call, str(repeats), ",".join(groups), clock]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    return lme4_times(done.stdout)


def data_of_lme4(name: str) -> pd.DataFrame:
    """A data set that comes with lme4."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data.csv"
        code = f"write.csv(lme4::{name}, {str(path)!r}, row.names = FALSE)"
        subprocess.run(["Rscript", "-e", code], capture_output=True, check=True)
        return pd.read_csv(path)


def lme4_times(printed: str) -> Times:
    """What ``lme4.R`` printed: seconds, and last the criterion."""
    *seconds, criterion = map(float, printed.split())
    return Times(tuple(seconds), criterion)
