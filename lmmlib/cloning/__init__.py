"""Data cloning: maximum likelihood by a sampler, and what it says of estimability."""
