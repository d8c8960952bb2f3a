"""A progress bar for what takes a while, shown only when a person watches."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lmmlib.common.arguments import checked_choice

# Seconds before a bar appears: what is faster needs none.
DELAY = 2.0


def watched() -> bool:
    """True at a terminal and in a live notebook, unless TQDM_DISABLE is set."""
    if os.environ.get("TQDM_DISABLE", "") not in {"", "0"}:
        return False
    return sys.stderr.isatty() or type(sys.stderr).__module__.startswith("ipykernel")


@contextmanager
def progress_bar(total: int, what: str, show: bool | None = None) -> Iterator[Callable[[int], object]]:
    """A bar on the error stream; call what it yields with the number of steps that are done.

    Parameters
    ----------
    total : int
    what : str
        One or two words in front of the bar.
    show : bool, optional
        By default when a person watches and it takes longer than two seconds.
    """
    from tqdm import tqdm

    checked_choice("progress", show, (None, True, False))
    hidden = not watched() if show is None else not show
    with tqdm(total=total, desc=what, disable=hidden, delay=DELAY if show is None else 0, leave=False) as bar:
        yield bar.update
