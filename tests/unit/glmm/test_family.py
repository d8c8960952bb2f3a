"""Every family has what the protocol asks for."""

import inspect

import pytest

from lmmlib.glmm.families import FAMILIES
from lmmlib.glmm.family import Family


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_has_all_of_it(name):
    asked = {key for key, value in vars(Family).items() if not key.startswith("_") and value is not None}
    assert asked > {"of", "mean", "cumulants", "population", "side"}
    family = FAMILIES[name]
    assert asked <= set(dir(family)) | set(family.__dataclass_fields__)
    for key in ("check", "check_fixed", "check_variances", "population", "inverse"):
        assert list(inspect.signature(getattr(family, key)).parameters) == list(
            inspect.signature(getattr(Family, key)).parameters
        )
