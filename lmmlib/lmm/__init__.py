"""The verbs for linear mixed models: fit, what a fit can be asked, its summary, fits from sums."""
