"""A small table, and its text in LIBSVM's format."""

import numpy as np


def small_table(n=40, d=4, n_classes=3, seed=0):
    generator = np.random.default_rng(seed)
    X = np.round(generator.normal(size=(n, d)), 3) * (generator.random((n, d)) < 0.7)
    X[0] = 1.5  # so that every column occurs in LIBSVM's sparse text
    return X, np.arange(n) % n_classes - 1


def libsvm_text(X, y):
    lines = []
    for row, label in zip(X, y, strict=True):
        pairs = [f"{j + 1}:{float(v)!r}" for j, v in enumerate(row) if v != 0]
        lines.append(" ".join([f"{label:+d}", *pairs]))
    return ("\n".join(lines) + "\n").encode()
