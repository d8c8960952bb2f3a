"""Checks of arguments, numbers as text, small matrices, progress: no mixed model is in it."""
