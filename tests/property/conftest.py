"""Settings of the property tests: reproducible, no time limit for a single example."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "book", derandomize=True, deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("book")
