"""The named profile draws: the same inputs on every run with "book", new ones with "explore"."""

import os
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

DRAWN = []


@given(st.integers(0, 10**12))
def test_inputs(number):
    DRAWN.append(number)


def test_the_inputs_were_shown():
    print(f"drawn: {DRAWN}")


def test_no_other_profile_was_loaded():
    assert settings.get_current_profile_name() == os.environ.get("HYPOTHESIS_PROFILE", "book")


def drawn(profile, ci):
    """The inputs that a new process draws with a profile, on a machine that says it is one of CI or not.

    There Hypothesis draws the same inputs unless it is told otherwise.
    """
    tests = [f"{__file__}::{name}" for name in ("test_inputs", "test_the_inputs_were_shown")]
    command = [sys.executable, "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", *tests]
    # The plug-ins of notebooks and browsers take seconds to load.
    env = {**os.environ, "HYPOTHESIS_PROFILE": profile, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    env.pop("CI", None)
    env |= {"CI": "true"} if ci else {}
    out = subprocess.run(command, env=env, capture_output=True, text=True)
    (line,) = (line for line in out.stdout.splitlines() if "drawn: " in line)
    return line.partition("drawn: ")[2].count(","), line


@pytest.mark.parametrize("ci", [True, False])
@pytest.mark.parametrize(("profile", "same"), [("book", True), ("explore", False)])
def test_a_profile_draws_what_it_says(profile, same, ci):
    (first, line), (_, again) = drawn(profile, ci), drawn(profile, ci)
    assert (line == again) is same
    assert first > (30 if same else 150)
