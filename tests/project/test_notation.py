"""The notation page and lmmlib use the same names."""

import csv
import inspect
import re
from pathlib import Path

import pytest
from numpydoc.docscrape import ClassDoc, FunctionDoc

from tests import modules

ROOT = Path(__file__).resolve().parents[2]
# Subscripts of the text, and names that belong to chapters that are not written yet.
INDICES = {"i", "j"}
TO_COME = set()
# Arrays whose name is a word, not a symbol of the book.
PLAIN_WORDS = {
    "coordinates",
    "cov",
    "covariance",
    "covariances",
    "dL",
    "data",
    "df",
    "draws",
    "formula",
    "given",
    "level",
    "means",
    "null",
    "rng",
    "times",
    "toward",
}


def table():
    """name in the code -> symbol, of every row of the notation table."""
    with (ROOT / "chapters" / "notation.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {name: row["symbol"] for row in rows for name in re.findall(r"`([^`]+)`", row["name"])}


def public():
    """The public functions and classes of lmmlib, by full name."""
    found = {}
    for module in modules.NAMES:
        for name, thing in vars(modules.load(module)).items():
            own = getattr(thing, "__module__", "") == f"lmmlib.{module}"
            if own and not name.startswith("_") and (inspect.isfunction(thing) or inspect.isclass(thing)):
                found[f"{module}.{name}"] = thing
    return found


def names(thing):
    """What the user of a function or class can write: its name, parameters, attributes."""
    found = {thing.__name__}
    if inspect.isclass(thing):
        found |= {name for name in dir(thing) if not name.startswith("_")}
        found |= set(getattr(thing, "__annotations__", {}))
        return found
    return found | set(inspect.signature(thing).parameters)


def array_parameters(thing):
    """Documented parameters whose type is a shape such as (q, q), or says array."""
    doc = (ClassDoc if inspect.isclass(thing) else FunctionDoc)(thing)
    listed = doc["Parameters"]
    return {p.name.lstrip("*") for p in listed if re.search(r"\(\w*[, ].*\)|array", p.type)}


PUBLIC = public()


def test_every_name_of_the_table_is_used():
    used = set().union(*map(names, PUBLIC.values()))
    assert set(table()) - INDICES - TO_COME - used == set()


def test_names_to_come_are_not_there_yet():
    used = set().union(*map(names, PUBLIC.values()))
    assert used & TO_COME == set()
    assert TO_COME <= set(table())


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_every_array_is_in_the_table(name):
    parts = {part for parameter in array_parameters(PUBLIC[name]) for part in parameter.split(", ")}
    assert parts - set(table()) - PLAIN_WORDS == set()


def test_the_table_names_each_thing_once():
    with (ROOT / "chapters" / "notation.csv").open(newline="", encoding="utf-8") as file:
        listed = [name for row in csv.DictReader(file) for name in re.findall(r"`([^`]+)`", row["name"])]
    assert len(listed) == len(set(listed))


def test_array_parameters_are_recognised():
    def function(D, sigma2, labels):
        """Do it.

        Parameters
        ----------
        D : (q, q) array
        sigma2 : float
        labels : list of str
        """

    assert array_parameters(function) == {"D"}


def test_the_reference_lists_every_module():
    pages = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "chapters" / "reference").glob("*.md")}
    listed = {room: re.findall(r"automodule:: lmmlib\.([\w.]+)", page) for room, page in pages.items()}
    assert sorted(name for names in listed.values() for name in names) == sorted(modules.NAMES)
    assert all(name.partition(".")[0] == room for room, names in listed.items() for name in names)
