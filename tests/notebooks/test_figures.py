"""What a reader sees in a figure: contents as text, locked with the words; units, colours of arms, counted panels."""

import re
from collections import Counter

import numpy as np
import pytest

import lmmlib
from lmmlib import plots
from tests.notebooks.conftest import CHAPTERS, ROOT, load_tool

pictures = load_tool("pictures")
BOOK = pictures.book()
SHOWN = {picture.name: picture.shown for picture in BOOK if picture.shown}
WORDS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")

# The unit of a column in data/README.md, as axes write it; and the words of a label that name the column.
UNITS = {"micrograms per decilitre": "µg/dL", "mm": "mm", "years": "years", "ms": "ms", "grams of standard colour": "g"}
COLUMNS = {
    r"\blead\b|^residual$|succimer less placebo|departure|effect on the change": ("tlc", "lead"),
    r"distance(?! from the mode)|slope of the child|deviation from the mean of all children": ("dental", "distance"),
    r"^age\b": ("dental", "age"),
    r"reaction": ("sleep", "Reaction"),
    r"dyestuff|batch": ("dyestuff", "Yield"),
}


def axes(text):
    """The paragraphs of a figure's text, one for each Axes."""
    return re.split(r"^axes \d+", text, flags=re.M)[1:]


def labels(text):
    """The labels of its axes."""
    return [label for part in axes(text) for label in re.findall(r"; [xy] ['\"](.+?)['\"] -?[\d.]+ to", part)]


def units_of_data():
    """{(data set, column): unit} of data/README.md."""
    found, text = {}, (ROOT / "data" / "README.md").read_text(encoding="utf-8")
    for section in re.split(r"^## ", text, flags=re.M)[1:]:
        for column, unit in re.findall(r"^\| `(\w+)` \| \w+ \| ([^|]*?) ?\| ", section, flags=re.M):
            found[column] = unit.strip()
    return found


def wrong_units(text, units):
    """Labels whose unit is not that of the column that they name."""
    found = []
    for label in labels(text):
        words, _, unit = label.partition(" (")
        unit = unit.rstrip(")")
        for pattern, (_, column) in COLUMNS.items():
            if unit in UNITS.values() and re.search(pattern, words):
                found += [] if unit.removesuffix(" per year") == UNITS[units[column]] else [label]
    return found


def wrong_colours(text):
    """Axes titled by an arm, and legends of arms, in which something else than black is not in the arm's colour."""
    if "progabide" in text:  # another trial, whose arms have a panel each and no colours
        return []
    found = []
    for part in axes(text):
        title = re.match(r": '(?:each of the \d+ )?(\w+)'", part)
        shades = re.findall(r"^  \w+ (blue|vermillion|green|purple|orange|sky)", part, flags=re.M)
        if title and title[1] in plots.LEVELS and set(shades) - {plots.LEVELS[title[1]].colour}:
            found.append(f"{title[1]} in {', '.join(shades)}")
        legend = re.search(r"; legend (.*)", part)
        named = [e for e in (legend[1].split(" | ") if legend else []) if e.split(",")[0] in plots.LEVELS]
        expected = list(dict.fromkeys(plots.LEVELS[e.split(",")[0]].colour for e in named))
        if len(expected) > 1 and list(dict.fromkeys(shades)) != expected:
            found.append(f"legend {', '.join(named)} in {', '.join(dict.fromkeys(shades))}")
    return found


def counted(alt):
    """How many panels an alternative text speaks of; None if it counts none."""
    said = re.match(r"(\w+)(?: \w+)? panels", alt)
    word = said[1].lower() if said else ""
    return WORDS.index(word) + 1 if word in WORDS else None


def test_the_lock_agrees():
    assert pictures.differences(BOOK, pictures.read()) == []


@pytest.mark.parametrize("name", SHOWN)
def test_figures_carry_their_contents(name):
    assert re.match(r"Figure \d+ x \d+\n", SHOWN[name]), f"{name}: call plots.use_style() and execute the chapter"
    assert wrong_units(SHOWN[name], units_of_data()) == []
    assert wrong_colours(SHOWN[name]) == []


@pytest.mark.parametrize("picture", [p for p in BOOK if p.shown and counted(p.alt)], ids=lambda p: p.name)
def test_panels_are_those_of_the_alternative_text(picture):
    # A colour bar is an Axes too, without marks of its own but for its shades.
    panels = [part for part in axes(picture.shown) if "255 colours" not in part]
    assert len(panels) == counted(picture.alt)


# What an alternative text counts is in the figure's text; else it is said here why not.
NUMBERS = dict(zip(WORDS, range(1, 11), strict=True)) | {"twenty": 20, "fifty": 50, "hundred": 100}
THINGS = (
    "children|patients|drivers|subjects|sites|groups|batches|blocks|boys|girls|chains|curves|lines|points|dots|bars"
)
COUNTED = re.compile(rf"\b(\d+|{'|'.join(NUMBERS)}) ((?:(?:dashed|solid) )?(?:{THINGS})|data sets)\b", re.I)
NOT_DRAWN = {
    "fig-blups-errors": "groups are a position on the axis",
    "fig-coverage": "children are a position on the axis",
    "fig-coverage-gaps": "children are a position on the axis",
    "fig-eb-factor-two": "groups are a position on the axis",
    "fig-ml-bias": "groups are a position on the axis",
    "fig-reml-bias": "children are a position on the axis",
    "fig-counts-shrinkage": "six of the fifty sites, by their place",
    "fig-eb-js-dental": "16 boys and 11 girls",
    "fig-ml-question": "30 points of six batches",
    "fig-one-integral": "one line of each kind",
    "fig-stacked-v": "24 rows and columns of six children",
}


def counts_not_shown(picture):
    """Phrases of an alternative text whose number is not in the figure's text."""
    there = set(re.findall(r"(?<![\d.])\d+(?![\d.])", picture.shown))
    return [m[0] for m in COUNTED.finditer(picture.alt) if str(NUMBERS.get(m[1].lower(), m[1])) not in there]


@pytest.mark.parametrize("picture", [p for p in BOOK if p.shown and COUNTED.search(p.alt)], ids=lambda p: p.name)
def test_what_an_alternative_text_counts_is_drawn(picture):
    assert bool(counts_not_shown(picture)) == (picture.name in NOT_DRAWN), counts_not_shown(picture)


def test_a_wrong_count_is_noticed():
    assert counts_not_shown(one(alt="Lines of 50 children.")) == []
    assert counts_not_shown(one(alt="Lines of 40 children.")) == ["40 children"]


def test_children_are_in_the_panel_of_their_arm():
    """Lines of all children of an arm: as many as the arm has, around the mean of the arm."""
    tlc, seen = lmmlib.load("tlc"), Counter()
    for name, text in SHOWN.items():
        for part in axes(text):
            title = re.match(r": '(placebo|succimer)'", part)
            lines = re.search(r"^  lines \w+: (\d+) of 200 points, .*mean \(([\d.]+), ([\d.]+)\)", part, flags=re.M)
            if title and lines:
                arm = tlc[tlc["treatment"] == title[1]]
                assert int(lines[1]) == arm["id"].nunique(), name
                assert np.abs(arm["lead"].mean() - float(lines[3])) <= 0.05 + 1e-9, name
                seen[title[1]] += 1
    assert set(seen) == {"placebo", "succimer"}


SMALL = (
    "Figure 400 x 300\naxes 1: 'placebo'; x 'week' 0 to 6; y 'blood lead (µg/dL)' 0 to 60\n"
    "  lines blue: 50 of 200 points, first (0.00, 30.8), last (6.00, 20.1), mean (2.75, 24.7)"
)


def test_a_wrong_unit_is_noticed():
    assert wrong_units(SMALL, units_of_data()) == []
    assert wrong_units(SMALL.replace("µg/dL", "mm"), units_of_data()) == ["blood lead (mm)"]


def test_a_wrong_colour_is_noticed():
    assert wrong_colours(SMALL) == []
    assert wrong_colours(SMALL.replace("blue", "vermillion")) == ["placebo in vermillion"]
    both = "Figure 1 x 1\naxes 1; x 'a' 0 to 1; legend boys | girls\n  line blue -: 1\n  line vermillion --: 1"
    assert wrong_colours(both) == []
    assert wrong_colours(both.replace("boys | girls", "girls | boys")) != []


def one(**changes):
    return pictures.Picture(**({"name": "fig-x", "shown": SMALL, "caption": "Rises.", "alt": "A line."} | changes))


@pytest.mark.parametrize("change", [{"shown": SMALL.replace("50 of", "49 of")}, {"caption": "Falls."}, {"alt": "Two."}])
def test_a_changed_figure_or_word_is_noticed(change):
    assert pictures.differences([one()], [one().line]) == []
    (problem,) = pictures.differences([one(**change)], [one().line])
    assert "make lock-figure FIGURE=fig-x" in problem


def test_new_and_lost_figures_are_noticed():
    assert "new figure" in pictures.differences([one()], [])[0]
    assert "no longer" in pictures.differences([], [one().line])[0]


def test_locking(tmp_path, good, capsys):
    import nbformat

    good.cells[3].outputs[0].data["text/plain"] = SMALL
    nbformat.write(good, tmp_path / "99-x.ipynb")
    path = tmp_path / "figures.csv"
    assert pictures.lock("fig-rise", path, tmp_path)
    assert "Do the words say" in capsys.readouterr().out
    assert pictures.differences(pictures.book(tmp_path), pictures.read(path)) == []
    assert not pictures.lock("fig-none", path, tmp_path)
    assert CHAPTERS.is_dir()
