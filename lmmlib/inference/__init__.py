"""Questions about the parameters of a fit: tests, intervals, comparisons."""
