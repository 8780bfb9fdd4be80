"""Eigenpairs in an interval: those of SciPy, with its own routine called and without."""

import numpy as np
import pytest
import scipy.linalg
from scipy.linalg import cython_blas, cython_lapack

from biglearn_core.numerics import lapack
from biglearn_core.numerics.routines import SYEVX, address

KINDS = {"float32": 1e-5, "float64": 1e-13}


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(params=[True, False], ids=["called directly", "by scipy.linalg.eigh"])
def directly(request, monkeypatch):
    if not request.param:
        monkeypatch.setattr(lapack, "_routine", lambda name: None)
    return request.param


def symmetric(rng, values, kind):
    axes, _ = np.linalg.qr(rng.standard_normal((len(values), len(values))))
    matrix = (axes * values) @ axes.T
    return ((matrix + matrix.T) / 2).astype(kind)


@pytest.mark.parametrize("kind", KINDS)
def test_eigenpairs_are_those_of_the_matrix(rng, kind, directly):
    values = np.array([-2, -1e-3, 0.1, 0.4999, 0.5001, 0.5002, 3, 3, 3, 40])
    matrix = symmetric(rng, values, kind)
    before = matrix.copy()
    found, vectors = lapack.eigenpairs_in(matrix, 0.5)
    np.testing.assert_array_equal(matrix, before)
    assert found.dtype == vectors.dtype == matrix.dtype
    np.testing.assert_allclose(found, values[4:], atol=40 * KINDS[kind])
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(6), atol=KINDS[kind])
    np.testing.assert_allclose(vectors @ matrix, found[:, None] * vectors, atol=40 * KINDS[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_what_scipy_gives_to_the_last_bit(rng, kind):
    assert lapack._routine(np.dtype(kind)) is not None
    matrix = symmetric(rng, rng.standard_normal(150) ** 2, kind)
    found, vectors = lapack.eigenpairs_in(matrix, 0.3, 2.0)
    values, columns = scipy.linalg.eigh(matrix, subset_by_value=(0.3, 2.0), driver="evx")
    np.testing.assert_array_equal(found, values)
    np.testing.assert_array_equal(vectors, columns.T)


def test_none_in_the_interval_is_none(directly):
    found, vectors = lapack.eigenpairs_in(np.eye(4), 2.0)
    assert (found.shape, vectors.shape) == ((0,), (0, 4))


def test_a_routine_of_another_form_is_not_called():
    assert address(cython_lapack, "dsyev", SYEVX) is None
    assert address(cython_lapack, "no such routine", SYEVX) is None
    assert address(cython_blas, "dgemm", SYEVX) is None
