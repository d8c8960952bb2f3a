"""Generalised linear mixed models: counts now, other families next."""
