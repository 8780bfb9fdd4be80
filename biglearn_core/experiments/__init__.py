"""The paper's experiments: a frozen config in, saved results out."""
