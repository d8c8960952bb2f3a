"""Draws from the mixed model take a generator."""

import numpy as np
import pytest

from lmmlib.equations import drawing
from lmmlib.errors import ParameterError


@pytest.mark.parametrize("rng", [None, -1, "seed", np.random, np.random.RandomState(1)], ids=lambda r: type(r).__name__)
def test_randomness_is_a_generator(rng):
    one = np.ones((4, 1))
    with pytest.raises(ParameterError, match=r"rng must be a numpy Generator, such as numpy\.random\.default_rng\(1\)"):
        drawing.responses(rng, one, one, np.array([0, 0, 1, 1]), 2, [1.0], np.eye(1), 1.0, 3)
