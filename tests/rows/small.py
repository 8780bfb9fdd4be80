"""Comparisons of sources with the array that they hold."""

import numpy as np

from biglearn_core.rows.arrays import ArrayRows

MEANS = np.array([[0.0, 0, 0], [6, 0, 3], [0, 9, -6]])


def blocks_of(source, size, start=0, stop=None):
    return list(source.blocks(size, start, stop))


def assert_same_blocks(source, X, weights=None):
    """The same division and the same bits as of the array in memory."""
    array = ArrayRows(X)
    N = len(X)
    assert (source.n_rows, source.n_features) == X.shape
    assert source.dtype == array.dtype
    wanted = ((0, None), (0, N), (0, N + 5), (1, N - 1), (N // 3, N // 2), (N - 1, None), (N, None))
    for size in (1, 3, 7, max(N // 2, 1), N + 1):
        for start, stop in wanted:
            found = blocks_of(source, size, start, stop)
            expected = blocks_of(array, size, start, stop)
            assert [len(block) for block in found] == [len(block) for block in expected]
            for block, other in zip(found, expected, strict=True):
                assert block.rows.dtype == source.dtype
                assert block.rows.flags.c_contiguous
                assert block.rows.tobytes() == other.rows.tobytes()
            if weights is None:
                assert all(block.weights is None for block in found)
            else:
                together = [block.weights for block in found]
                np.testing.assert_array_equal(np.concatenate([*together, []]), weights[start:stop])
    for count in (1, 2, 5):
        parts = [source.part(i, count) for i in range(count)]
        rows = [block.rows for part in parts for block in part.blocks(4)]
        assert np.concatenate(rows).tobytes() == X.astype(array.dtype).tobytes()
        assert sum(part.n_rows for part in parts) == N


def table(seed=0, *, n=23, D=3, dtype=np.float64):
    X = np.random.default_rng(seed).normal(size=(n, D)).astype(dtype)
    X[::5, 1] = np.nan
    return X


def clusters(n=600, seed=0):
    """Rows of three Gaussians."""
    rng = np.random.default_rng(seed)
    return MEANS[rng.integers(3, size=n)] + rng.normal(size=(n, 3))
