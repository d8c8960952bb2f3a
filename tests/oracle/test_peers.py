"""What other programs print (data/peers.csv): where it was read, and that lmmlib computes it or the row says why not.

The cells of chapters/peers.ipynb are run here, and what they compute is compared with the printed digits again, by
decimal arithmetic. References come from stored optima, or are computed below without lmmlib.
"""

import json
import re
from decimal import ROUND_HALF_EVEN, Decimal

import nbformat
import numpy as np
import pytest
from scipy.optimize import root

from lmmlib import report
from lmmlib.book import datasets
from tests.oracle.conftest import REFERENCE

PEERS = datasets.peers()
ROWS = PEERS.to_dict("records")
PAGE = REFERENCE.parents[1] / "chapters" / "peers.ipynb"
IDS = list(PEERS["id"])


# --- where the numbers were read ---------------------------------------------------------------------------------


def in_json(file, path):
    """The number at a path such as ``varcorr/sd/0`` of a stored answer."""
    found = json.loads((REFERENCE / file).read_text())
    for step in path.split("/"):
        found = found[int(step) if isinstance(found, list) else step]
    return float(found)


def in_print(file, program, title):
    """The words of one printout: below ``## title``, and below ``# program`` where a file has several."""
    text = (REFERENCE / file).read_text(encoding="utf-8")
    if text.startswith("# "):
        text = next(part for part in re.split(r"^# ", text, flags=re.M) if part.startswith(f"{program}\n"))
    part = next(part for part in re.split(r"^## ", text, flags=re.M) if re.match(rf"{title}\s*\n", part))
    return re.split(r"[\s,()\[\]|]+", part)


def same_digits(printed, value):
    """Whether a value, rounded to the printed digits, is what is printed."""
    digits = Decimal(printed)
    return Decimal(value).quantize(Decimal(1).scaleb(digits.as_tuple().exponent), ROUND_HALF_EVEN) == digits


def is_there(row):
    file, place = row["read"].split("#")
    if file.endswith(".json"):
        return same_digits(row["printed"], in_json(file, place))
    words = in_print(file, row["place"], place)
    stopped = "" if np.isnan(row["stopped"]) else row["stopped"]
    near = (float(word) for word in words if re.fullmatch(r"-?\d+\.\d+", word))
    return row["printed"] in words and (not stopped or any(abs(one - stopped) < 1e-9 * abs(one) for one in near))


@pytest.mark.parametrize("row", ROWS, ids=IDS)
def test_the_number_stands_where_it_was_read(row):
    assert is_there(row)
    assert not is_there(row | {"printed": row["printed"] + "7"})


# --- what they are compared with ---------------------------------------------------------------------------------


def pooled(divisor):
    """Covariance of the four visits of the lead trial about the means of arm and week."""
    frame = datasets.load("tlc")
    wide = frame.pivot(index=["treatment", "id"], columns="week", values="lead").astype(float)
    errors = wide - wide.groupby("treatment", observed=True).transform("mean")
    return errors.to_numpy().T @ errors.to_numpy() / divisor


def intercept_and_variances(S):
    """tau and the four sigmas at which V = tau^2 11' + diag(sigma^2) maximises the likelihood of S."""

    def V(x):
        return x[0] ** 2 + np.diag(x[1:] ** 2)

    def score(x):
        inverse = np.linalg.inv(V(x))
        G = inverse - inverse @ S @ inverse
        return np.array([x[0] * G.sum(), *(x[1:] * np.diag(G))])

    found = root(score, [5.0, 4.0, 4.0, 4.0, 5.0], tol=1e-14).x
    return V(found), found


def of_visits(V):
    """Standard errors of the fixed effects at V, from fifty children in each arm."""
    A = np.array([[1.0, 0, 0, 0], [-1, 1, 0, 0], [-1, 0, 1, 0], [-1, 0, 0, 1]])
    se = np.sqrt(np.diag(A @ V @ A.T) / 50)
    names = ["(Intercept)", "C(week)1.0", "C(week)4.0", "C(week)6.0"]
    treated = ["treatmentsuccimer", *(f"treatmentsuccimer:{name}" for name in names[1:])]
    found = {f"SE, {name}": value for name, value in zip(names, se, strict=True)}
    return found | {f"SE, {name}": value * np.sqrt(2) for name, value in zip(treated, se, strict=True)}


def closed(fit):
    """Answers for the complete lead trial that need no search, or one in five numbers."""
    S = pooled(100 if fit.endswith("-ml") else 98)
    V, (tau, *_) = intercept_and_variances(S) if "-by-" in fit else (S, [0.0])
    sigma, weeks = np.sqrt(np.diag(V) - tau**2), (0, 1, 4, 6)
    found = {f"sigma {week}": value for week, value in zip(weeks, sigma, strict=True)}
    found |= {f"sigma {week} / sigma 0": value / sigma[0] for week, value in zip(weeks, sigma, strict=True)}
    found |= {f"rho {weeks[i]}, {weeks[j]}": V[i, j] / np.sqrt(V[i, i] * V[j, j]) for i in range(4) for j in range(4)}
    found |= of_visits(V) | {"sd (Intercept)": tau}
    scale = np.sqrt(400 / 392)
    return found | {name.replace("SE,", "SE times sqrt(N/(N - p)),"): v * scale for name, v in of_visits(V).items()}


def reference(row):
    if row["reference_read"] == "closed form":
        return closed(row["fit"])[row["quantity"]]
    file, path = row["reference_read"].split("#")
    power = 2 if row["quantity"].startswith("variance") and path.endswith("sd") else 1
    return in_json(file, path) ** power


REFERRED = [row for row in ROWS if row["reference_read"]]


@pytest.mark.parametrize("row", REFERRED, ids=[row["id"] for row in REFERRED])
def test_the_reference_is_what_was_stored_or_follows_from_the_data(row):
    assert abs(row["reference"] - reference(row)) <= 1e-12 * abs(row["reference"])


def test_every_kind_has_what_it_needs():
    for row in ROWS:
        assert (row["kind"] == "exact") == (row["reference_read"] == "") == np.isnan(row["reference"]), row["id"]
        assert (row["kind"] == "early-stop") == (not np.isnan(row["stopped"])), row["id"]
        assert row["kind"] != "other-rule" or row["note"], row["id"]
    assert PEERS["id"].is_unique


# --- lmmlib's numbers --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ours():
    """{id: value} of all cells of the page, run from the top."""
    found, patch = {}, pytest.MonkeyPatch()
    patch.setattr(report, "reproduction_table", lambda values, caption=None: found.update(values))
    names = {}
    for cell in nbformat.read(PAGE, as_version=4).cells:
        if cell.cell_type == "code":
            exec(compile(cell.source, str(PAGE), "exec"), names)
    patch.undo()
    return found


def agrees(row, value):
    """Apart from lmmlib.book.ledger: the digits, or the reference where they are of an early stop or another rule."""
    if row["kind"] == "exact":
        return same_digits(row["printed"], value)
    return abs(value - row["reference"]) <= 1e-6 * abs(row["reference"]) and not same_digits(row["printed"], value)


def test_the_page_computes_every_row(ours):
    assert sorted(ours) == sorted(IDS)


@pytest.mark.parametrize("row", ROWS, ids=IDS)
def test_lmmlib_computes_it(row, ours):
    value = float(ours[row["id"]])
    assert agrees(row, value)
    unit = 10.0 ** Decimal(row["printed"]).as_tuple().exponent
    step = 1.01 * unit if row["kind"] == "exact" else 3e-6 * row["reference"]
    assert not agrees(row, value + step) and not agrees(row, value - step)
