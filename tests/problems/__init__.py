"""Solutions of the problems: a module for each chapter, a function for each answer, named as its problem.

``pr_05_2`` computes the number that problem pr-05-2 asks for; where a problem asks for several, ``pr_05_2a`` and so on.
``DECIMALS`` says to how many decimals. ``python -m tests.problems.lock`` writes the digests, ``data/answers.csv``.
"""

import importlib
import pkgutil
from collections.abc import Callable


def solutions() -> dict[str, tuple[Callable[[], float], int]]:
    """{problem: (the function that solves it, decimals)}, in the order of the chapters."""
    found = {}
    for module in sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name.startswith("chapter_")):
        of = importlib.import_module(f"{__name__}.{module}")
        for name, decimals in of.DECIMALS.items():
            found[name] = (getattr(of, name.replace("-", "_")), decimals)
    return found
