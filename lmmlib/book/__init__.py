"""What serves the book and not the method: data, the ledger, reports, plots, recipes."""
