"""Settings of all tests: one thread, and the same random inputs on every run."""

import os

# Sums are taken in the same order on every run. Set before numpy is imported. `make try WITH=threads` takes more.
for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
    os.environ[variable] = os.environ.get("TEST_THREADS", "1")

from hypothesis import HealthCheck, settings  # noqa: E402

# The only place where profiles are made. `HYPOTHESIS_PROFILE=explore make code` draws new inputs, and more of them.
COMMON = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("book", derandomize=True, database=None, max_examples=40, **COMMON)
settings.register_profile("explore", derandomize=False, max_examples=200, **COMMON)
settings.register_profile("fuzz", derandomize=False, max_examples=20_000, database=None, **COMMON)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "book"))
