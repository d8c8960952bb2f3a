"""Linear mixed models with several groupings, crossed or nested, and with known correlations between groups."""
