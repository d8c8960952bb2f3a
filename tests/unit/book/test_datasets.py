"""Data sets: what is loaded, what is refused, and that the data page says the truth."""

import csv
import hashlib
import io
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lmmlib.book import datasets
from lmmlib.errors import DatasetError

ROOT = Path(__file__).parents[3]
SHAPES = {
    "tlc": (400, 4),
    "dental": (108, 4),
    "sleep": (180, 3),
    "dyestuff": (30, 2),
    "planting": (80, 4),
    "seizures": (295, 6),
    "ratpup": (322, 5),
    "schools": (7185, 6),
    "chicks": (578, 4),
    "ticks": (403, 6),
    "penicillin": (144, 3),
    "pastes": (60, 4),
    "oats": (72, 4),
    "cbpp": (56, 4),
    "lambs": (62, 4),
    "cream": (16, 4),
    "neyman_scott": (200, 4),
    "neyman_scott_1": (100, 4),
    "counts_4x2": (8, 3),
    "counts_50x10": (500, 3),
    "counts_low": (500, 3),
}
GROUPS = {
    "tlc": ("id", 100),
    "dental": ("Subject", 27),
    "sleep": ("Subject", 18),
    "dyestuff": ("Batch", 6),
    "planting": ("block", 10),
    "seizures": ("patient", 59),
    "ratpup": ("litter", 27),
    "schools": ("school", 160),
    "chicks": ("chick", 50),
    "ticks": ("brood", 118),
    "penicillin": ("plate", 24),
    "pastes": ("sample", 30),
    "oats": ("block", 6),
    "cbpp": ("herd", 15),
    "lambs": ("sire", 23),
    "cream": ("centre", 8),
    "neyman_scott": ("group", 100),
    "neyman_scott_1": ("group", 100),
    "counts_4x2": ("site", 4),
    "counts_50x10": ("site", 50),
    "counts_low": ("site", 50),
}
REFERENCE_LEVEL = {
    "treatment": {"placebo", "control"},
    "Sex": {"Male"},
    "sex": {"male"},
    "source": {"observed"},
    "sector": {"public"},
    "location": {1},
    "batch": {"A"},
    "cask": {"a"},
    "plate": {"a"},
    "sample": {"A", "A:a"},
}


@pytest.fixture(scope="module")
def page():
    """The data page: {name: text of its section}."""
    text = (ROOT / "data" / "README.md").read_text()
    titles = {
        "tlc": "TLC",
        "dental": "Dental",
        "sleep": "Sleep",
        "dyestuff": "Dyestuff",
        "planting": "Planting",
        "seizures": "Seizures",
        "ratpup": "Rat pups",
        "schools": "Schools",
        "chicks": "Chicks",
        "ticks": "Ticks",
        "penicillin": "Penicillin",
        "pastes": "Pastes",
        "oats": "Oats",
        "cbpp": "Cattle",
        "lambs": "Lambs",
        "cream": "Cream",
        "neyman_scott": "Pairs, simulated",
        "neyman_scott_1": "Single observations",
        "counts_4x2": "Counts at four",
        "counts_50x10": "Counts at fifty",
        "counts_low": "Low counts",
        "published": "The ledger",
        "peers": "What other programs print",
    }
    sections = re.split(r"^## ", text, flags=re.MULTILINE)
    return {name: next(s for s in sections if s.startswith(title)) for name, title in titles.items()}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A copy of the data folder, next to a pretended package: free to be damaged."""
    for file in (ROOT / "data").glob("*.csv"):
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / "data" / file.name).write_bytes(file.read_bytes())
    monkeypatch.setattr(datasets, "__file__", str(tmp_path / "lmmlib" / "book" / "datasets.py"))
    return tmp_path / "data"


@pytest.mark.parametrize("name", datasets.names())
def test_frames_are_typed_and_complete(name):
    frame = datasets.load(name)
    group, count = GROUPS[name]
    assert frame.shape == SHAPES[name]
    assert frame[group].nunique() == len(frame[group].cat.categories) == count
    assert not frame.isna().any(axis=None)
    for column in frame:
        if isinstance(frame[column].dtype, pd.CategoricalDtype):
            assert frame[column].cat.categories[0] in REFERENCE_LEVEL.get(column, {frame[column].iloc[0]})
            assert set(frame[column]) == set(frame[column].cat.categories)
        else:
            assert frame[column].dtype == np.float64


def test_tlc_cell_means():
    means = datasets.load("tlc").groupby(["treatment", "week"], observed=True)["lead"].mean()
    placebo, succimer = [26.272, 24.66, 24.07, 23.646], [26.54, 13.522, 15.514, 20.762]
    np.testing.assert_allclose(means, placebo + succimer, atol=1e-12)


def test_unknown_names_are_refused_with_the_known_ones():
    with pytest.raises(DatasetError, match=r"no data set 'dentl'; there are tlc, .*; perhaps you want 'dental'"):
        datasets.load("dentl")
    with pytest.raises(DatasetError, match="there are tlc, "):
        datasets.load("published")


def test_an_altered_file_is_refused(folder):
    path = folder / "sleep.csv"
    path.write_bytes(path.read_bytes().replace(b"249.56", b"249.57"))
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(DatasetError) as error:
        datasets.load("sleep")
    expected = datasets._SHA256["sleep"]
    for part in (str(path), found, expected, "altered", "git checkout -- data/sleep.csv"):
        assert part in str(error.value)
    assert datasets.load("tlc").shape == (400, 4), "the others still load"


def test_an_altered_ledger_is_refused(folder):
    path = folder / "published.csv"
    path.write_bytes(path.read_bytes().replace(b"22.9760", b"22.9761"))
    with pytest.raises(DatasetError, match="published.csv has been altered"):
        datasets.published()


def test_a_missing_file_is_named(folder):
    (folder / "tlc.csv").unlink()
    with pytest.raises(DatasetError, match="tlc.csv is missing"):
        datasets.load("tlc")


def test_windows_line_ends_are_the_same_data(folder):
    path = folder / "tlc.csv"
    expected = datasets.load("tlc")
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    pd.testing.assert_frame_equal(datasets.load("tlc"), expected)


def test_data_inside_an_installed_package_is_found(folder):
    (folder.parent / "lmmlib").mkdir()
    folder.rename(folder.parent / "lmmlib" / "data")
    assert datasets.load("dental").shape == (108, 4)


def test_nothing_is_printed(capsys):
    datasets.load("tlc")
    datasets.published()
    assert capsys.readouterr() == ("", "")


# --- the ledger -----------------------------------------------------------------------------------


def test_the_ledger_keeps_what_is_printed():
    ledger = datasets.published().set_index("id")
    assert ledger.loc["003-lm-lead-week-estimate-of-intercept", "printed"] == "22.9760"
    assert ledger.loc["003-lead-week-treatment-1-id-p-value-of-treatmentsuccimer", "printed"] == "2.1e-06"
    bound = ledger.loc["003-lm-lead-week-p-value-of-intercept"]
    assert (bound["printed"], bound["kind"]) == ("<2e-16", "bound")
    assert ledger.index.is_unique and len(ledger) >= 163
    assert set(ledger["kind"]) == {"exact", "bound", "early-stop", "source-error", "monte-carlo"}
    assert (ledger["kind"] == "early-stop").sum() == 17
    assert ledger.loc[ledger["kind"] == "early-stop", "stopped"].notna().all()
    assert ledger["reference"].notna().all()


def test_printed_numbers_of_programs_keep_their_digits(folder):
    peers = datasets.peers().set_index("id")
    assert peers.loc["sleep-slope-reml-lme4-se-days", ["place", "printed", "kind"]].tolist() == [
        *("lme4 1.1-31", "1.546", "exact"),
    ]
    assert peers.loc["sleep-slope-reml-nlme-df-days", "reference"] == 17
    assert set(peers["kind"]) == {"exact", "early-stop", "other-rule"}
    (folder / "peers.csv").write_text("id\n")
    with pytest.raises(DatasetError, match="peers.csv has been altered"):
        datasets.peers()


#: Rows that the source table does not have.
ADDED = {
    f"003-lm-lead-week-{quantity}"
    for quantity in (
        "residual-degrees-of-freedom",
        "numerator-df-of-f",
        "denominator-df-of-f",
        "p-value-of-intercept",
    )
}
#: What the source table says of the degrees of freedom of the random-slope fit. It was not noise: exact derivatives
#: at the stop give the same digits (tests/oracle/test_ledger_optima.py).
NOISE = "exact value 49: the data are balanced; the printed digits are numerical noise of a finite-difference gradient"


def as_in_the_source_table(row):
    """A row of the ledger with the fields of the source table: there the stop is the reference, or in the note."""
    reference, kind, note = row["reference"], row["kind"], row["note"]
    if row["id"].startswith("004-beta-block-"):
        reference, note = "", "average of 10,000 Gibbs draws"
    elif "-placebo-only-satterthwaite-df-" in row["id"]:
        note = NOISE
    elif row["stopped"] and row["document"] == "003":
        reference, kind = row["stopped"], "exact"
    elif kind == "early-stop":
        note = f"printed by an optimiser that stopped early (it gave {float(row['stopped']):.12g})"
    text = io.StringIO()
    fields = [row[name] for name in ("id", "document", "place", "quantity", "printed")]
    csv.writer(text, lineterminator="\n").writerow([*fields, reference, kind, note])
    return text.getvalue()


def test_rows_of_the_source_table_are_unchanged():
    """Without the optima, the rows and the references that were added, the file is the source table, byte for byte."""
    with (ROOT / "data" / "published.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    kept = [as_in_the_source_table(row) for row in rows if row["id"] not in ADDED]
    assert len(kept) == 159
    head = "id,document,place,quantity,printed,reference,kind,note\n"
    digest = hashlib.sha256((head + "".join(kept)).encode()).hexdigest()
    assert digest == "246fd32592fbf64fe3d3d6ff596888ee0756458cb47c1f8d62d3595c0595e757"


# --- the data page ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*datasets.names(), "published", "peers"])
def test_the_page_gives_the_checksum(page, name):
    digest = hashlib.sha256((ROOT / "data" / f"{name}.csv").read_bytes()).hexdigest()
    assert f"**SHA-256.** `{digest}`" in page[name]


@pytest.mark.parametrize("name", datasets.names())
def test_the_page_gives_sizes(name):
    frame, (group, groups) = datasets.load(name), GROUPS[name]
    line = re.search(rf"^\| `{name}` .*$", (ROOT / "data" / "README.md").read_text(), re.M)[0]
    assert line.startswith(f"| `{name}` | {len(frame)} | {groups} ")
    assert ("unbalanced" in line) == (frame[group].value_counts().nunique() > 1)


@pytest.mark.parametrize("name", datasets.names())
def test_the_dictionary_is_true(page, name):
    """Every column in order, with its type and its range as the file has it."""
    frame = datasets.load(name)
    lines = [line for line in page[name].splitlines() if line.startswith("| `")]
    rows = [[cell.strip(" `") for cell in line[1:-1].split("|")] for line in lines]
    assert [row[0] for row in rows] == list(frame.columns)
    for column, kind, unit, meaning, extent in rows:
        categorical = isinstance(frame[column].dtype, pd.CategoricalDtype)
        assert kind == ("category" if categorical else "float")
        assert meaning and (unit or categorical), "a number has a unit"
        assert extent in _extents(frame[column])


def _extents(column):
    """The ways in which the page may state a range: levels, their number, or from - to."""
    values = list(column.cat.categories) if hasattr(column, "cat") else sorted(set(column))
    texts = [v if isinstance(v, str) else f"{v:.10g}" for v in values]
    return {", ".join(texts), f"{texts[0]} to {texts[-1]}", f"{len(texts)} levels"}


def test_files_are_plain_csv():
    for path in (ROOT / "data").glob("*.csv"):
        content = path.read_bytes()
        assert b"\r" not in content and content.endswith(b"\n")
        with open(path, newline="", encoding="utf-8") as file:
            assert len({len(row) for row in csv.reader(file)}) == 1
