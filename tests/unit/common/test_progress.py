"""A bar appears for a person, and not where output is compared."""

import io

import pytest

from lmmlib.common import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_it_is_watched_at_a_terminal_only(monkeypatch):
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    monkeypatch.setattr("sys.stderr", io.StringIO())
    assert not progress.watched()
    monkeypatch.setattr("sys.stderr", Terminal())
    assert progress.watched()
    monkeypatch.setenv("TQDM_DISABLE", "1")
    assert not progress.watched()


@pytest.mark.parametrize("show", [True, False])
def test_the_bar_counts(monkeypatch, capsys, show):
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    with progress.progress_bar(10, "fits", show) as update:
        update(4)
        update(6)
    assert ("fits" in capsys.readouterr().err) is show
