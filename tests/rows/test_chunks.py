"""Rows that are handed out in chunks are those of one array, in every pass, or a clear error."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from biglearn_core.rows.chunks import ChunkRows
from tests.rows.small import assert_same_blocks, table


class Giver:
    """Hands out chunks by a method."""

    def __init__(self, *passes):
        self._passes, self._number = passes, -1

    def chunks(self):
        self._number = min(self._number + 1, len(self._passes) - 1)
        return iter(self._passes[self._number])


def cut(X, *ends):
    return [X[first:end] for first, end in zip((0, *ends), (*ends, len(X)), strict=True)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, ">f4", ">f8", int, bool])
@pytest.mark.parametrize("ends", [(), (0, 5, 5, 22), (1, 2, 3)])
def test_a_list_of_arrays(dtype, ends):
    X = np.arange(69).reshape(23, 3).astype(dtype)
    expected = X.astype(np.float32 if np.dtype(dtype).itemsize == 4 else np.float64)
    assert_same_blocks(ChunkRows(cut(X, *ends)), expected)
    assert_same_blocks(ChunkRows(Giver(cut(np.asfortranarray(X), *ends))), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_data_loader(dtype):
    X = torch.from_numpy(table()).to(dtype)
    assert_same_blocks(ChunkRows(DataLoader(TensorDataset(X), batch_size=7)), X.numpy())
    assert_same_blocks(ChunkRows(DataLoader(X, batch_size=5)), X.numpy())


def test_a_stream_of_tensors():
    X = table()

    class Stream(IterableDataset):
        def __iter__(self):
            return iter(map(torch.from_numpy, cut(X, 4, 9)))

    assert_same_blocks(ChunkRows(DataLoader(Stream(), batch_size=None)), X)


def test_tensors_of_all_kinds():
    X = torch.tensor([[1.0, 2], [3, 4]])
    for tensor in (X.bfloat16(), X.half(), X.int(), X.double().requires_grad_()):
        source = ChunkRows([tensor])
        assert source.dtype == np.float64
        np.testing.assert_array_equal(next(source.blocks(2)).rows, X)
    assert_same_blocks(ChunkRows([X.to_sparse()]), X.numpy())


def test_a_mask_is_a_missing_value():
    X = np.ma.array([[1, 2], [3, 4]], mask=[[0, 1], [0, 0]])
    assert_same_blocks(ChunkRows([X]), np.array([[1, np.nan], [3, 4]]))
    assert ChunkRows([X.astype(np.float32)]).dtype == np.float32


def test_frames_have_names():
    X = table()
    frames = [pd.DataFrame(chunk, columns=["a", "b", "c"]) for chunk in cut(X, 5)]
    source = ChunkRows(frames)
    assert source.feature_names == ("a", "b", "c")
    assert_same_blocks(source, X)
    with pytest.raises(ValueError, match=r"chunk 1 has the columns .*'z'.*, chunk 0 has"):
        ChunkRows([frames[0], frames[1].rename(columns={"a": "z"})])


@pytest.mark.parametrize(
    ("column", "values"),
    [
        (pd.array([1, None, 3], dtype="Int64"), [1, np.nan, 3]),
        (pd.array([True, None, False], dtype="boolean"), [1, np.nan, 0]),
        ([True, False, True], [1, 0, 1]),
        (np.array([1, None, 2.5], dtype=object), [1, np.nan, 2.5]),
    ],
)
def test_columns_of_several_kinds_are_numbers(column, values):
    frame = pd.DataFrame({"a": column, "b": [0.5, 1.5, np.nan]})
    source = ChunkRows([frame, frame])
    assert source.feature_names == ("a", "b")
    assert_same_blocks(source, np.tile(np.stack([values, frame["b"]], axis=1), (2, 1)))


def test_nullable_float32_stays_so():
    frame = pd.DataFrame({"a": pd.array([1, None], dtype="Float32"), "b": np.float32([0.1, 2])})
    assert_same_blocks(ChunkRows([frame]), np.float32([[1, 0.1], [np.nan, 2]]))


def test_an_array_that_is_filled_again_and_again():
    X = table(n=24)

    class Reused:
        def chunks(self):
            place = np.empty((4, 3))
            for first in range(0, 24, 4):
                place[:] = X[first : first + 4]
                yield place

    assert_same_blocks(ChunkRows(Reused()), X)


def test_what_can_be_iterated_only_once_is_refused():
    chunks = cut(table(), 5)
    for once in (iter(chunks), (chunk for chunk in chunks)):
        with pytest.raises(TypeError, match=r"only once, .*; give a list, or .*chunks\(\)"):
            ChunkRows(once)
    with pytest.raises(TypeError, match=r"can be iterated, got .*; give a list"):
        ChunkRows(3)
    exhausted = iter(chunks)

    class Same:
        def chunks(self):
            return exhausted

    with pytest.raises(ValueError, match="0 in this pass, 2 in the first one"):
        list(ChunkRows(Same()).blocks(4))


@pytest.mark.parametrize(
    ("chunk", "error", "text"),
    [
        (np.zeros(3), ValueError, r"chunk 1 has the shape \(3,\), expected \(N, D\)"),
        (np.zeros((3, 2, 2)), ValueError, r"chunk 1 has the shape \(3, 2, 2\)"),
        (np.zeros((3, 2)), ValueError, "chunk 1 has 2 columns, chunk 0 has 3"),
        (np.zeros((3, 3), dtype=np.float32), ValueError, "chunk 1 is read as float32, chunk 0 as"),
        (np.zeros((3, 3), dtype=complex), ValueError, "chunk 1 holds complex"),
        (np.array([["a"] * 3]), ValueError, "chunk 1 holds <U1"),
        (pd.DataFrame({"a": ["x"], "b": [1.0], "c": [2]}), ValueError, "chunk 1 holds Python obj"),
        ((np.zeros((2, 3)), np.zeros(2)), TypeError, "chunk 1 is a tuple of 2 things"),
        ({"x": np.zeros((2, 3))}, TypeError, "chunk 1 is dict, which is no array"),
        (scipy.sparse.eye_array(3), TypeError, "which is no array"),
        (None, TypeError, "which is no array"),
    ],
)
def test_a_chunk_that_does_not_fit(chunk, error, text):
    with pytest.raises(error, match=text):
        ChunkRows([np.zeros((2, 3)), chunk])


def test_no_chunk():
    with pytest.raises(ValueError, match="at least one array"):
        ChunkRows([])
    source = ChunkRows([np.zeros((0, 3))])
    assert (source.n_rows, source.n_features, list(source.blocks(2))) == (0, 3, [])


@pytest.mark.parametrize(
    ("later", "text"),
    [
        (lambda X: cut(X[:-1], 5), r"chunk 1 has other rows \(17\) than in the first pass \(18\)"),
        (lambda X: cut(X), "chunk 0 has other rows"),
        (lambda X: cut(X, 5)[:1], "1 in this pass, 2 in the first one"),
        (lambda X: [*cut(X, 5), X], "more than 2 in this pass"),
        (lambda X: cut(np.where(np.isnan(X), 0, X), 5), r"chunk 0 has other rows.*shuffling"),
    ],
)
def test_a_pass_that_differs_is_an_error(later, text):
    X = table()
    source = ChunkRows(Giver(cut(X, 5), later(X)))
    with pytest.raises(ValueError, match=text):
        list(source.blocks(4))


def test_a_loader_that_shuffles_is_found_out():
    generator = torch.Generator().manual_seed(0)
    data = TensorDataset(torch.from_numpy(table()))
    loader = DataLoader(data, batch_size=7, shuffle=True, generator=generator)
    with pytest.raises(ValueError, match="switch shuffling"):
        list(ChunkRows(loader).blocks(4))
