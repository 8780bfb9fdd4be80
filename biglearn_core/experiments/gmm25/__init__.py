"""The 25-component mixture of the paper."""
