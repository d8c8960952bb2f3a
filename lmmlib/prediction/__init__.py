"""Questions about groups and new rows: random effects, predictions, and their errors."""
