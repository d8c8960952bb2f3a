"""Settings of all tests: one thread, and the same random inputs on every run."""

import os

# Sums are taken in the same order on every run. Set before numpy is imported.
for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
    os.environ[variable] = "1"

from hypothesis import settings  # noqa: E402

# `HYPOTHESIS_PROFILE=explore make test` draws new inputs instead.
settings.register_profile("book", derandomize=True, deadline=None, database=None)
settings.register_profile("explore", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "book"))
