"""The training loops on rows in passes, and the state of joint EM on disk."""

import numpy as np
import pytest
import torch

from biglearn_core import fit_biglearn_em, fit_joint_em
from biglearn_core.rows import source as rows_source
from biglearn_core.rows.arrays import ArrayRows
from biglearn_core.rows.weighted import WeightedRows
from biglearn_core.system.persistence import load_arrays, save_arrays
from tests.helpers import assert_same_model, random_gmm, random_points

LOOPS = {
    fit_joint_em: {"n_iter": 7, "covariance_floor": 1e-3},
    fit_biglearn_em: {
        "n_iter": 12,
        "covariance_floor": 1e-3,
        "weight_smoothing": 0.1,
        "n_local_steps": 2,
        "seed": 3,
    },
}


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    monkeypatch.setattr(rows_source, "_BLOCK_NUMBERS", 60)


def table(dtype=torch.float64, N=200):
    return random_points(1, N=N, dtype=dtype)


def weights_of(N=200):
    return np.random.default_rng(2).integers(0, 4, N) * 0.7


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("weighted", [False, True])
def test_a_source_is_fitted_as_a_tensor(loop, dtype, weighted):
    X, start = table(dtype), random_gmm(1, dtype=dtype)
    source, weights = ArrayRows(X.numpy()), weights_of() if weighted else None
    if weighted:
        source = WeightedRows(source, weights)
    held = loop(
        X,
        start,
        sample_weight=None if weights is None else torch.from_numpy(weights),
        **LOOPS[loop],
    )
    passed = loop(source, start, **LOOPS[loop])
    # Log-densities of float32 may be off by 1e-3 nats (`density.TOLERANCE`), and differently.
    close = (
        {"rtol": 1e-10, "atol": 1e-10} if dtype == torch.float64 else {"rtol": 1e-2, "atol": 1e-4}
    )
    assert_same_model(held.model, passed.model, **close)
    np.testing.assert_allclose(
        passed.history.log_likelihood, held.history.log_likelihood, rtol=close["rtol"]
    )
    assert (passed.n_iter, passed.model.dtype) == (held.n_iter, dtype)


@pytest.mark.parametrize("loop", LOOPS)
def test_data_far_from_zero_are_fitted_as_a_tensor(loop):
    X, start = table() + 1e6, random_gmm(1)
    start = start.with_parameters(start.weights, start.means + 1e6, start.covariances)
    held, passed = (loop(D, start, **LOOPS[loop]) for D in (X, ArrayRows(X.numpy())))
    assert_same_model(held.model, passed.model, rtol=1e-9, atol=1e-8)


def test_rows_far_out_are_fitted_as_a_tensor():
    X = table()
    X[7] = 3e5
    held, passed = (
        fit_joint_em(D, random_gmm(1), n_iter=3, covariance_floor=1e-3)
        for D in (X, ArrayRows(X.numpy()))
    )
    # Its square takes eleven digits of the covariance that it is in.
    assert_same_model(held.model, passed.model, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("power", [-1070, -140, 0, 100, 1020])
def test_the_scale_of_weights_does_not_matter(dtype, power):
    X, start = table(dtype), random_gmm(1, dtype=dtype)
    weights = np.random.default_rng(2).integers(0, 4, 200).astype(float)
    one = fit_joint_em(WeightedRows(ArrayRows(X.numpy()), weights), start, **LOOPS[fit_joint_em])
    if power == 1020:
        weights = weights / 4  # their sum is a number of float64
    other = WeightedRows(ArrayRows(X.numpy()), np.ldexp(weights, power - 8 * (power == 1020)))
    other = fit_joint_em(other, start, **LOOPS[fit_joint_em])
    # No power of two is large enough for the least: shares times those leave float32's digits.
    rounding = 1e-3 if power == -1070 else 0
    assert_same_model(one.model, other.model, rtol=rounding, atol=0)


@pytest.mark.parametrize("loop", LOOPS)
def test_what_cannot_be_fitted_is_refused(loop):
    X, start, options = table().numpy(), random_gmm(1), LOOPS[loop]
    for bad, n in ((np.nan, 2), (np.inf, 1)):
        wrong = X.copy()
        wrong[3 : 3 + n, 0] = bad
        with pytest.raises(ValueError, match=f"X holds {n} .* NaN or infinite; drop or impute"):
            loop(ArrayRows(wrong), start, **options)
    with pytest.raises(ValueError, match=r"reaches 9\.95e\+199 from its mean, but squares"):
        loop(ArrayRows(np.where(np.arange(200)[:, None] == 3, 1e200, X)), start, **options)
    with pytest.raises(ValueError, match="holds no row of positive weight"):
        loop(ArrayRows(X[:0]), start, **options)
    with pytest.raises(ValueError, match="holds no row of positive weight"):
        loop(WeightedRows(ArrayRows(X), np.zeros(200)), start, **options)
    with pytest.raises(TypeError, match="a source of rows has its weights in itself"):
        loop(ArrayRows(X), start, sample_weight=torch.ones(200), **options)
    with pytest.raises(TypeError, match=r"X is torch\.float32 on cpu, the start torch\.float64"):
        loop(ArrayRows(X.astype(np.float32)), start, **options)
    with pytest.raises(ValueError, match="X has 2 columns, the start 3"):
        loop(ArrayRows(X[:, :2]), start, **options)
    for no_start in (None, X, "kmeans"):
        with pytest.raises(TypeError, match="init must be a GMM"):
            loop(ArrayRows(X), no_start, **options)


def test_rows_without_weight_may_be_anything():
    X, weights = table().numpy().copy(), np.ones(200)
    weights[[3, 50, 199]] = 0
    kept = fit_joint_em(ArrayRows(X[weights > 0]), random_gmm(1), **LOOPS[fit_joint_em])
    X[3], X[50], X[199] = np.nan, np.inf, 1e300
    passed = fit_joint_em(WeightedRows(ArrayRows(X), weights), random_gmm(1), **LOOPS[fit_joint_em])
    assert_same_model(kept.model, passed.model, rtol=1e-10, atol=1e-10)


def test_weights_are_not_given_twice():
    once = WeightedRows(ArrayRows(table().numpy()), np.ones(200))
    with pytest.raises(ValueError, match="has weights already"):
        WeightedRows(once, np.ones(200))


class Stopped(Exception):
    pass


def stop_after(n):
    def callback(iteration, model):
        if iteration + 1 == n:
            raise Stopped

    return callback


def as_data(kind, X, weights):
    if kind == "tensor":
        return X, {"sample_weight": torch.from_numpy(weights)}
    return WeightedRows(ArrayRows(X.numpy()), weights), {}


@pytest.mark.parametrize("kind", ["tensor", "source"])
@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("every", [1, 3])
def test_wherever_a_fit_was_broken_off_it_ends_as_the_unbroken_one(tmp_path, kind, loop, every):
    data, more = as_data(kind, table(), weights_of())
    more |= LOOPS[loop]
    whole = loop(data, random_gmm(1), **more)
    for n in range(1, more["n_iter"] + 1):
        path = tmp_path / f"{n}.npz"
        with pytest.raises(Stopped):
            loop(
                data, random_gmm(1), checkpoint=path, checkpoint_every=every,
                callback=stop_after(n), **more,
            )  # fmt: skip
        assert path.exists() == (n > every)
        taken = []
        resumed = loop(
            data, random_gmm(1), checkpoint=path, checkpoint_every=every,
            callback=lambda i, _, taken=taken: taken.append(i), **more,
        )  # fmt: skip
        assert taken == list(range((n - 1) // every * every, more["n_iter"]))
        assert_same_model(resumed.model, whole.model, rtol=0, atol=0)
        np.testing.assert_array_equal(resumed.history.log_likelihood, whole.history.log_likelihood)


@pytest.mark.parametrize("at", [1, 2, None])
def test_a_fit_that_has_come_to_rest_stays_there(tmp_path, at):
    options = {"n_iter": 300, "covariance_floor": 1e-3, "tol": 1e-4}
    whole = fit_joint_em(table(), random_gmm(1), **options)
    assert whole.converged
    assert whole.n_iter < 300
    path = tmp_path / "state.npz"
    if at is None:
        fit_joint_em(table(), random_gmm(1), checkpoint=path, **options)
    else:
        with pytest.raises(Stopped):
            fit_joint_em(
                table(), random_gmm(1), checkpoint=path, callback=stop_after(at + 1), **options
            )
    again = fit_joint_em(table(), random_gmm(1), checkpoint=path, **options)
    assert (again.converged, again.n_iter) == (True, whole.n_iter)
    assert_same_model(again.model, whole.model, rtol=0, atol=0)


OTHERS = [
    ({"X": table() + 1}, r"data: float64 \(199, 3\) \w+ there, .* now"),
    ({"X": table()[1:], "sample_weight": torch.arange(199.0)}, r"data: .*\(198, 3\)"),
    ({"sample_weight": None}, "sample_weight: .* none now"),
    ({"sample_weight": torch.arange(1.0, 201.0)}, "sample_weight: "),
    ({"init": random_gmm(2)}, "start: "),
    ({"covariance_floor": 2e-3}, "covariance_floor: 0.001 there, 0.002 now"),
    ({"weight_smoothing": 0.1}, "weight_smoothing: 0.0 there, 0.1 now"),
    ({"tol": 1e-9}, "tol: 0.0 there, 1e-09 now"),
]


@pytest.mark.parametrize(("other", "message"), OTHERS)
def test_the_state_of_another_joint_fit_is_refused(tmp_path, other, message):
    path = tmp_path / "state.npz"
    known = {
        "X": table(),
        "init": random_gmm(1),
        "sample_weight": torch.arange(200.0).flip(0),
        "checkpoint": path,
    } | LOOPS[fit_joint_em]
    fit_joint_em(**known)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=rf"state\.npz.*{message}.*delete it, or name another"):
        fit_joint_em(**known | other)
    assert path.read_bytes() == before
    with pytest.raises(ValueError, match="holds 7 iterations, more than n_iter=6"):
        fit_joint_em(**known | {"n_iter": 6})
    with pytest.raises(ValueError, match="seed"):
        fit_biglearn_em(
            **{k: v for k, v in known.items() if k != "tol"}, weight_smoothing=0.0, seed=0
        )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_order_holder_and_scale_of_weights_are_free(tmp_path, dtype):
    path, X, start = tmp_path / "state.npz", table(dtype), random_gmm(1, dtype=dtype)
    weights, order = (
        torch.arange(200.0),
        torch.randperm(200, generator=torch.Generator().manual_seed(0)),
    )
    options = LOOPS[fit_joint_em]
    whole = fit_joint_em(X, start, sample_weight=weights, **options).model
    for n in range(1, 5):
        path.unlink(missing_ok=True)
        with pytest.raises(Stopped):
            fit_joint_em(
                X, start, sample_weight=weights, checkpoint=path, callback=stop_after(4), **options
            )
        rows = X[order].contiguous()
        if n % 2:
            found = fit_joint_em(
                rows, start, sample_weight=weights[order] * 2**n, checkpoint=path, **options
            )
        else:
            scaled = (weights[order] * 2**n).double().numpy()
            found = fit_joint_em(
                WeightedRows(ArrayRows(rows.numpy()), scaled), start, checkpoint=path, **options
            )
        rounding = 1e-10 if dtype == torch.float64 else 1e-3
        assert_same_model(found.model, whole, rtol=rounding, atol=rounding)


def test_a_damaged_state_is_refused(tmp_path):
    path = tmp_path / "state.npz"
    options = LOOPS[fit_joint_em] | {"checkpoint": path}
    fit_joint_em(table(), random_gmm(1), **options)
    content = path.read_bytes()
    for damaged in (b"", content[: len(content) // 2], b"no archive"):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"state\.npz"):
            fit_joint_em(table(), random_gmm(1), **options)
    path.write_bytes(content)
    arrays = load_arrays(path)
    save_arrays(path, arrays | {"means": arrays["means"][:2]})
    with pytest.raises(ValueError, match=r"state\.npz"):
        fit_joint_em(table(), random_gmm(1), **options)
    with pytest.raises(TypeError, match="checkpoint must be a path, got int"):
        fit_joint_em(table(), random_gmm(1), **LOOPS[fit_joint_em], checkpoint=3)
