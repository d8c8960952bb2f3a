"""The optimum: likelihoods and their derivatives from the sums, the search, and what a fit is."""
