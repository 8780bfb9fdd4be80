"""The peers of deep clustering, and mixtures on learned features."""
