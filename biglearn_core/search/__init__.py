"""The search for a better optimum: splits, merges, and rows with missing values."""
