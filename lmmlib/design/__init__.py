"""From a data frame to sums: formulas, columns, groups, and the cross-products of each group."""
