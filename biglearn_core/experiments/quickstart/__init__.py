"""The first ten minutes: a digit drawn, a gap filled, a row out of line."""
