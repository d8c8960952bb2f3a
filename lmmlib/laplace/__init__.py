"""Laplace's approximation for any model with random effects."""
