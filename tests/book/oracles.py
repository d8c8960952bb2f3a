"""What the explorers of the book should show: settings of each, and their numbers by `lmmlib`.

An oracle takes the state of an explorer's controls and its stored data, and returns the numbers of its ``compute`` that
are compared, by name. The mathematics of an explorer is written in JavaScript; here the same numbers come from the
functions of the chapters, or from SciPy.
"""

import numpy as np
import pandas as pd

import lmmlib
from lmmlib import equations


def grid(**values):
    """Twenty-four settings: every value of a control is met, together with different ones of the others."""
    steps = (1, 5, 7, 11, 13, 17)[: len(values)]
    return [
        {name: options[i * step % len(options)] for step, (name, options) in zip(steps, values.items(), strict=True)}
        for i in range(24)
    ]


def pooling(state, data):
    """Predictions of eight children with the variances of the sliders, and their errors with the mean estimated."""
    n = np.array([state["visits"], *[data["visits"]] * 7])
    means = np.array([state["own"], *data["means"][1:]])
    frame = pd.DataFrame({"child": np.repeat(range(8), n), "lead": np.repeat(means, n)})
    cross = lmmlib.cross_products(lmmlib.build_design("lead ~ 1 + (1 | child)", frame))
    solved = equations.henderson(cross, np.array([[state["tau"] ** 2]]), state["sigma"] ** 2)
    variance = solved.cov_b[:, 0, 0] + solved.cov_beta[0, 0] + 2 * solved.cov_beta_b[:, 0, 0]
    return {"mu": solved.beta[0], "predicted": solved.beta[0] + solved.b[:, 0], "se": np.sqrt(variance), "n": n}


ORACLES = {"pooling": pooling}
SETTINGS = {
    "pooling": grid(tau=[5.4, 0, 0.1, 2, 12], sigma=[5.8, 0.5, 3.3, 12], visits=[4, 1, 12], own=[38, 10, 21.3, 45]),
}
