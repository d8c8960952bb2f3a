"""The data sets are those of their publications: sizes of arms, totals, means, and units that fit the numbers.

What is known here comes from the publications and textbooks, not from the files; a message begins with the file's name,
because everything that is computed from a changed file differs too.
"""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import lmmlib
from lmmlib.book import datasets

ROOT = Path(__file__).parents[2]


def check(name, what, found, known, digits):
    """Known means are printed to some digits."""
    found = np.asarray(found, float)
    off = np.abs(found - known) > 0.5000001 * 10.0**-digits
    assert not off.any(), (
        f"data/{name}.csv is not what was published: {what} {found[off]}, known {np.array(known)[off]}"
    )


def means(name, response, by):
    return datasets.load(name).groupby(by, observed=True)[response].mean()


# --- who was in it ---

# Groups in each arm, and rows in each group.
ARMS = {
    "tlc": ("id", "treatment", {"placebo": 50, "succimer": 50}, 4),
    "dental": ("Subject", "Sex", {"Male": 16, "Female": 11}, 4),
    "seizures": ("patient", "treatment", {"placebo": 28, "progabide": 31}, 5),
    "sleep": ("Subject", None, 18, 10),
    "dyestuff": ("Batch", None, 6, 5),
    "planting": ("block", None, 10, 8),
    "penicillin": ("plate", None, 24, 6),
    "pastes": ("sample", None, 30, 2),
    "oats": ("block", None, 6, 12),
    "cream": ("centre", None, 8, 2),
}


@pytest.mark.parametrize("name", ARMS)
def test_arms(name):
    group, arm, known, rows = ARMS[name]
    frame = datasets.load(name)
    assert set(frame[group].value_counts()) == {rows}, f"data/{name}.csv: rows of a {group}"
    if arm is None:
        assert frame[group].nunique() == known, f"data/{name}.csv: {group}s"
        return
    each = frame.groupby(group, observed=True)[arm]
    assert (each.nunique() == 1).all(), f"data/{name}.csv: a {group} is in two arms"
    found = each.first().value_counts().to_dict()
    assert found == known, f"data/{name}.csv is not what was published: {found} instead of {known}"


@pytest.mark.parametrize("name", ["dental", "seizures"])
def test_arms_are_in_order(name):
    """Boys M01 to M16 come before the girls, patients 1 to 28 have the placebo: so a patient cannot change places."""
    group, arm, known, rows = ARMS[name]
    frame = datasets.load(name)
    first = frame.groupby(group, observed=True)[arm].first()
    expected = [level for level, count in known.items() for _ in range(count)]
    assert first.tolist() == expected, f"data/{name}.csv: arms by {group}"
    if name == "dental":
        assert all(s[0] == sex[0] for s, sex in zip(frame["Subject"], frame["Sex"], strict=True))


# --- what was measured ---


def test_tlc():
    """Fitzmaurice, Laird and Ware (2011), tables 2.1 and 5.2: means, and standard deviations to a decimal."""
    known = [26.3, 24.7, 24.1, 23.6, 26.5, 13.5, 15.5, 20.8]
    check("tlc", "mean lead", means("tlc", "lead", ["treatment", "week"]), known, 1)
    sd = datasets.load("tlc").groupby(["treatment", "week"], observed=True)["lead"].std()
    check("tlc", "sd of lead", sd, [5.0, 5.5, 5.8, 5.6, 5.0, 7.7, 7.9, 9.2], 1)


def test_dental():
    """Potthoff and Roy (1964), table 1."""
    known = [22.875, 23.8125, 25.71875, 27.46875, 21.1818, 22.2273, 23.0909, 24.0909]
    check("dental", "mean distance", means("dental", "distance", ["Sex", "age"]), known, 4)
    assert (datasets.load("dental")["distance"] * 2 % 1 == 0).all(), "data/dental.csv: read to half a millimetre"


def test_sleep():
    """Bates and others (2015): balanced, so the fixed effects are those of least squares."""
    frame = datasets.load("sleep")
    slope, intercept = np.polyfit(frame["Days"], frame["Reaction"], 1)
    check("sleep", "line through all", [intercept, slope], [251.4051, 10.4673], 4)
    check("sleep", "mean of days 0 and 9", means("sleep", "Reaction", "Days").iloc[[0, 9]], [256.65, 350.85], 2)


def test_dyestuff():
    """Davies and Goldsmith (1972): batch means."""
    check("dyestuff", "mean yield", means("dyestuff", "Yield", "Batch"), [1505, 1528, 1564, 1498, 1600, 1470], 6)


def test_seizures():
    """Thall and Vail (1990): means of each arm before the treatment and in its periods.

    In period 3 of the placebo 8.71, as in MASS; other copies, with 23 and not 21 seizures of patient 8, have 8.79.
    """
    known = [30.79, 9.36, 8.29, 8.71, 7.96, 31.61, 8.58, 8.42, 8.13, 6.71]
    check("seizures", "mean count", means("seizures", "seizures", ["treatment", "period"]), known, 2)
    frame = datasets.load("seizures")
    most = frame[frame["seizures"] == frame["seizures"].max()].iloc[0]
    assert (most["patient"], most["treatment"], most["period"]) == (49, "progabide", 0), "data/seizures.csv: patient 49"
    rest = frame.loc[(frame["patient"] == 49) & (frame["period"] > 0), "seizures"].tolist()
    assert [most["seizures"], *rest] == [151, 102, 65, 72, 63], "data/seizures.csv: patient 49"
    assert (frame["weeks"] == np.where(frame["period"] == 0, 8, 2)).all(), "data/seizures.csv: lengths of periods"
    age = frame.groupby("patient", observed=True)["age"]
    assert (age.nunique() == 1).all(), "data/seizures.csv: a patient has two ages"
    check("seizures", "mean age", means("seizures", "age", "treatment"), [29.0, 27.7], 1)


def test_ratpup():
    """West, Welch and Galecki (2015), chapter 3: pups of each dose and sex, their means and standard deviations."""
    cells = datasets.load("ratpup").groupby(["treatment", "sex"], observed=True)["weight"]
    check("ratpup", "pups", cells.count(), [77, 54, 61, 65, 33, 32], 0)
    check("ratpup", "mean weight", cells.mean(), [6.47, 6.12, 6.03, 5.84, 5.92, 5.85], 2)
    check("ratpup", "sd of weight", cells.std(), [0.75, 0.69, 0.38, 0.45, 0.69, 0.60], 2)
    litters = datasets.load("ratpup").groupby("litter", observed=True)
    assert (litters["size"].first() == litters.size()).all(), "data/ratpup.csv: the size of a litter is its pups"
    assert litters["treatment"].first().value_counts().tolist() == [10, 10, 7], "data/ratpup.csv: litters of a dose"


def test_schools():
    """Raudenbush and Bryk (2002), chapter 4: table 4.1, and the null model of table 4.2 by REML."""
    frame = datasets.load("schools")
    check("schools", "means of math and ses", frame[["math", "ses"]].mean(), [12.75, 0.00], 2)
    check("schools", "sds of math and ses", frame[["math", "ses"]].std(), [6.88, 0.78], 2)
    sector = frame.groupby("school", observed=True)["sector"]
    assert (sector.nunique() == 1).all(), "data/schools.csv: a school is in two sectors"
    assert sector.first().value_counts().to_dict() == {"public": 90, "catholic": 70}, "data/schools.csv: sectors"
    null = lmmlib.fit("math ~ 1 + (1 | school)", frame)
    found = [null.beta.iloc[0], null.se.iloc[0], null.D.iloc[0, 0], null.sigma2]
    check("schools", "null model", found, [12.64, 0.24, 8.61, 39.15], 2)


def test_chicks():
    """R's own description: 50 chicks, 20 on the first diet and 10 on each other, 12 weights, five chicks with fewer."""
    chick = datasets.load("chicks").groupby("chick", observed=True)
    assert chick["diet"].first().value_counts().sort_index().tolist() == [20, 10, 10, 10], "data/chicks.csv: diets"
    assert (chick.size() < 12).sum() == 5 and chick.size().max() == 12, "data/chicks.csv: days of a chick"
    check("chicks", "mean weight of all", datasets.load("chicks")["weight"].mean(), 121.8183, 4)


def test_ticks():
    """Elston and others (2001): 403 chicks of 118 broods at 63 locations; most ticks in 1996, fewest in 1997."""
    frame = datasets.load("ticks")
    assert [frame[c].nunique() for c in ("chick", "brood", "location")] == [403, 118, 63], "data/ticks.csv"
    assert means("ticks", "ticks", "year").rank().tolist() == [2, 3, 1], "data/ticks.csv: years"
    assert (frame.groupby("brood", observed=True)["location"].nunique() == 1).all(), "data/ticks.csv: a brood moved"


def test_oats():
    """Yates (1935), as in Pinheiro and Bates (2000) and MASS: mean squares of blocks, plots and subplots; means."""
    cube = datasets.load("oats").set_index(["block", "variety", "nitrogen"])["grain"].unstack().to_numpy()
    cube = cube.reshape(6, 3, 4)
    plot = cube.mean(axis=2)
    rest = plot - plot.mean(axis=1, keepdims=True) - plot.mean(axis=0) + plot.mean()
    within = cube - plot[:, :, None] - cube.mean(axis=0) + plot.mean(axis=0)[:, None]
    found = [12 * plot.mean(axis=1).var(ddof=1), 4 * (rest**2).sum() / 10, (within**2).sum() / 45]
    check("oats", "mean squares", found, [3175.1, 601.3, 177.1], 1)
    check("oats", "mean by nitrogen", means("oats", "grain", "nitrogen"), [79.4, 98.9, 114.2, 123.4], 1)
    check("oats", "mean by variety", means("oats", "grain", "variety"), [97.6, 104.5, 109.8], 1)


def test_cream():
    """Agresti (2002), table 6.9: patients and cures of both arms, and Mantel and Haenszel's odds ratio and test."""
    frame = datasets.load("cream")
    sums = frame.groupby("treatment", observed=True)[["cured", "patients"]].sum()
    check("cream", "cured and patients", sums, [[47, 143], [55, 130]], 0)
    (c, n0), (d, n1) = (rows[["cured", "patients"]].to_numpy().T for _, rows in frame.groupby("treatment"))
    n, well = n0 + n1, c + d
    check("cream", "common odds ratio", (d * (n0 - c) / n).sum() / (c * (n1 - d) / n).sum(), 2.13, 2)
    variance = (n0 * n1 * well * (n - well) / (n**2 * (n - 1))).sum()
    check("cream", "Cochran, Mantel and Haenszel", (d - n1 * well / n).sum() ** 2 / variance, 6.38, 2)


def test_planting():
    frame = datasets.load("planting")
    assert set(frame.groupby(["block", "density"], observed=True).size()) == {2}, "data/planting.csv: two of a density"
    assert (frame["source"] == "observed").equals(frame["block"] == 1), "data/planting.csv: block 1 was observed"


UNBALANCED = {"ratpup", "schools", "chicks", "ticks", "lambs"}
COPIES = {
    "cbpp": ("binomial/cbpp.csv", {}),
    "neyman_scott": ("cloning/y_n100_m2.csv", {"i": "group", "alpha_true": "alpha"}),
    "neyman_scott_1": ("cloning/y_n100_m1.csv", {"i": "group", "alpha_true": "alpha"}),
    "counts_4x2": ("poisson/pois_4x2.csv", {}),
    "counts_50x10": ("poisson/pois_50x10.csv", {}),
    "counts_low": ("poisson/pois_50x10_low.csv", {}),
}


@pytest.mark.parametrize("name", COPIES)
def test_sets_are_those_that_other_programs_had(name):
    path, names = COPIES[name]
    theirs = pd.read_csv(ROOT / "tests/reference" / path).rename(columns=names).astype(float)
    ours = datasets.load(name).astype(float)
    assert ours.equals(theirs[list(ours)]), f"data/{name}.csv is not tests/reference/{path}"


def test_every_set_is_here():
    assert set(ARMS) | UNBALANCED | set(COPIES) == set(datasets.names())


# --- units ---

# (unit, smallest, largest): what a column of that unit can be at all. A value in another unit lies outside.
UNITS = {
    ("tlc", "week"): ("weeks", 0, 6),
    ("tlc", "lead"): ("micrograms per decilitre", 1, 100),
    ("dental", "distance"): ("mm", 10, 40),
    ("dental", "age"): ("years", 8, 14),
    ("sleep", "Reaction"): ("ms", 150, 600),
    ("sleep", "Days"): ("days", 0, 9),
    ("dyestuff", "Yield"): ("grams of standard colour", 1400, 1700),
    ("planting", "density"): ("plants per square metre", 2, 8),
    ("planting", "yield"): ("tonnes per hectare", 1, 15),
    ("seizures", "age"): ("years", 15, 60),
    ("seizures", "period"): ("1", 0, 4),
    ("seizures", "weeks"): ("weeks", 2, 8),
    ("seizures", "seizures"): ("count", 0, 200),
    ("ratpup", "size"): ("pups", 1, 20),
    ("ratpup", "weight"): ("grams", 3, 9),
    ("schools", "ses"): ("1", -4, 3),
    ("schools", "math"): ("points", -3, 25),
    ("chicks", "day"): ("days", 0, 21),
    ("chicks", "weight"): ("grams", 30, 400),
    ("ticks", "height"): ("metres", 400, 540),
    ("ticks", "ticks"): ("ticks", 0, 100),
    ("penicillin", "diameter"): ("mm", 10, 40),
    ("pastes", "strength"): ("1", 50, 70),
    ("oats", "grain"): ("1/4 lb", 30, 200),
    ("oats", "nitrogen"): ("cwt/acre", 0, 0.6),
    ("cbpp", "incidence"): ("animals", 0, 15),
    ("cbpp", "size"): ("animals", 1, 40),
    ("lambs", "weight"): ("pounds", 5, 16),
    ("cream", "cured"): ("patients", 0, 37),
    ("cream", "patients"): ("patients", 5, 37),
    ("neyman_scott", "j"): ("1", 1, 2),
    ("neyman_scott", "y"): ("1", -1, 6),
    ("neyman_scott", "alpha"): ("1", -2.5, 2.5),
    ("neyman_scott_1", "j"): ("1", 1, 1),
    ("neyman_scott_1", "y"): ("1", -1, 6),
    ("neyman_scott_1", "alpha"): ("1", -2.5, 2.5),
    ("counts_4x2", "rep"): ("1", 1, 2),
    ("counts_4x2", "count"): ("individuals", 0, 100),
    ("counts_50x10", "rep"): ("1", 1, 10),
    ("counts_50x10", "count"): ("individuals", 0, 200),
    ("counts_low", "rep"): ("1", 1, 10),
    ("counts_low", "count"): ("individuals", 0, 20),
}


def page_units() -> dict:
    """(name, column): unit, of the tables of the data page; sections come in the order of the overview."""
    text = (ROOT / "data/README.md").read_text()
    sections = [s for s in re.split(r"^## ", text, flags=re.M)[1:] if "| column |" in s]
    assert len(sections) == len(datasets.names())
    rows = re.compile(r"^\| `(\w+)` \| (\w+) \| ([^|]*) \|", re.M)
    return {
        (name, column): unit.strip()
        for name, section in zip(datasets.names(), sections, strict=True)
        for column, kind, unit in rows.findall(section)
        if kind == "float"
    }


def test_units_are_those_of_the_page_and_fit_the_numbers():
    page = page_units()
    columns = {(name, c) for name in datasets.names() for c, v in datasets.load(name).items() if v.dtype == float}
    assert columns == set(UNITS) == set(page)
    for (name, column), (unit, low, high) in UNITS.items():
        assert page[name, column] == unit, (
            f"data/README.md gives {column} of {name} in {page[name, column]}, not {unit}"
        )
        values = datasets.load(name)[column]
        assert values.between(low, high).all(), (
            f"data/{name}.csv: {column} is not in {unit}: {values.min()} to {values.max()}"
        )


def test_a_changed_file_is_named_before_anything_is_computed(tmp_path, monkeypatch):
    """A patient moves to the other arm: the error of a fit is that of its file."""
    (tmp_path / "data").mkdir()
    text = (ROOT / "data/seizures.csv").read_text()
    (tmp_path / "data/seizures.csv").write_text(text.replace("59,progabide", "59,placebo"))
    monkeypatch.setattr(datasets, "__file__", str(tmp_path / "lmmlib" / "book" / "datasets.py"))
    with pytest.raises(lmmlib.errors.DatasetError, match=r"^The data file .*seizures\.csv has been altered"):
        lmmlib.fit_glmm("seizures ~ treatment + (1 | patient)", lmmlib.load("seizures"))


def test_facts_notice_a_changed_file_whose_checksum_was_renewed(monkeypatch):
    """Negative controls: a patient relabelled, one measurement, and seconds for milliseconds."""
    plain = datasets.load
    changes = {
        test_arms: ("seizures", lambda f: f.assign(treatment=f["treatment"].where(f["patient"] != 59, "placebo"))),
        test_sleep: ("sleep", lambda f: f.assign(Reaction=f["Reaction"].where(f.index != 7, f["Reaction"] + 1))),
        test_units_are_those_of_the_page_and_fit_the_numbers: (
            "sleep",
            lambda f: f.assign(Reaction=f["Reaction"] / 1000),
        ),
    }
    for test, (changed, change) in changes.items():
        with monkeypatch.context() as patch:
            load = lambda name, changed=changed, change=change: change(plain(name)) if name == changed else plain(name)  # noqa: E731
            patch.setattr(datasets, "load", load)
            with pytest.raises(AssertionError, match=rf"^data/{changed}\.csv"):
                test(*([changed] if test is test_arms else []))
