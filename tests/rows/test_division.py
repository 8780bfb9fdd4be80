import numpy as np
from hypothesis import given, strategies as st

from biglearn_core.rows.division import divided, spans
from biglearn_core.rows.source import Block


@given(st.lists(st.integers(0, 9), max_size=8), st.integers(1, 12))
def test_blocks_do_not_depend_on_the_chunks(lengths, size):
    n = sum(lengths)
    X, weights = np.arange(2.0 * n).reshape(n, 2), np.arange(float(n))
    ends = np.cumsum(lengths)
    chunks = [Block(X[e - k : e], weights[e - k : e]) for e, k in zip(ends, lengths, strict=True)]
    found = list(divided(chunks, size))
    assert [len(block) for block in found] == [min(size, n - first) for first in range(0, n, size)]
    for i, block in enumerate(found):
        np.testing.assert_array_equal(block.rows, X[i * size : (i + 1) * size])
        np.testing.assert_array_equal(block.weights, weights[i * size : (i + 1) * size])


@given(st.lists(st.integers(0, 9), max_size=8), st.integers(0, 40), st.integers(0, 40))
def test_spans_are_the_rows_from_start_to_stop(lengths, start, stop):
    rows = [(index, row) for index, length in enumerate(lengths) for row in range(length)]
    found = [
        (index, row)
        for index, first, end in spans(lengths, start, stop)
        for row in range(first, end)
    ]
    assert found == rows[start:stop]
