"""The eigenvalue floor: exact on ordinary matrices, positive definite on all."""

import numpy as np
import pytest
import torch

from biglearn_core.numerics.linalg import (
    cholesky,
    floor_eigenvalues,
    haar_orthogonal,
    resolved_floors,
)
from biglearn_core.numerics.lowrank import floor_to_low_rank

FLOORS = {
    "dense": lambda covariances, floor: floor_eigenvalues(covariances, floor)[0],
    "low rank": lambda covariances, floor: floor_to_low_rank(covariances, floor)[0],
}


def with_eigenvalues(values, seed, dtype):
    A = haar_orthogonal(len(values), np.random.default_rng(seed))
    return torch.tensor((A * values) @ A.T, dtype=dtype)[None]


@pytest.mark.parametrize("form", FLOORS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("largest", [1.0, 1e5, 1e9, 1e18])
@pytest.mark.parametrize("D", [2, 5, 40])
def test_what_a_floor_leaves_is_positive_definite(D, largest, dtype, form):
    values = np.concatenate([[largest], np.geomspace(1, 1e-12, D - 1)])
    for seed in range(5):
        floored = FLOORS[form](with_eigenvalues(values, seed, dtype), 1e-8)
        cholesky(floored)
        assert torch.linalg.eigvalsh(floored.double())[0, -1] == pytest.approx(largest, rel=1e-4)
        cholesky(floored.mul(torch.linspace(1, 3, D)[:, None]).mul(torch.linspace(1, 3, D)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_floor_of_an_ordinary_matrix_is_the_floor(dtype):
    matrix = with_eigenvalues(np.array([2.0, 0.5, 1e-9]), 0, dtype)
    assert resolved_floors(matrix, 1e-4).item() == pytest.approx(1e-4)
    floored, n_floored = floor_eigenvalues(matrix, 1e-4)
    assert n_floored == 1
    expected = torch.tensor([1e-4, 0.5, 2.0])
    torch.testing.assert_close(
        torch.linalg.eigvalsh(floored)[0].float(), expected, rtol=1e-3, atol=0
    )
    unchanged, n_floored = floor_eigenvalues(floored, 1e-5)
    assert n_floored == 0
    assert torch.equal(unchanged, floored)
