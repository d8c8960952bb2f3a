"""The equations of the book, a function each, at given beta, D and sigma2."""
