"""The training loops: determinism, resume, recovery, errors."""

import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch

from biglearn_core import GMM, fit_biglearn_em, fit_joint_em
from biglearn_core.init import kmeans_plusplus_start
from tests.helpers import ROOT, assert_same_model, random_gmm, random_points

OPTIONS = {"covariance_floor": 1e-3, "weight_smoothing": 0.2, "seed": 7}


def fit(X, start, n_iter=12, **options):
    return fit_biglearn_em(X, start, n_iter=n_iter, n_local_steps=2, **{**OPTIONS, **options})


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_same_seed_same_model_and_dtype_kept(dtype):
    X, start = random_points(0, dtype=dtype), random_gmm(0, dtype=dtype)
    first, again = fit(X, start), fit(X, start)
    assert_same_model(first.model, again.model, rtol=0, atol=0)
    assert first.model.dtype == dtype
    assert not np.allclose(first.model.means, fit(X, start, seed=8).model.means)


def test_history_tells_what_was_done():
    history = fit(random_points(0), random_gmm(0), n_iter=60).history
    assert len(history) == 60
    assert set(history.task) == {0, 1, 2}
    assert (history.n_coordinates[history.task == 0] == 3).all()
    assert (history.n_coordinates[history.task == 1] < 3).all()
    assert np.isfinite(history.log_likelihood).all()


@pytest.mark.parametrize("seed", range(3))
def test_joint_em_recovers_separated_components(seed):
    rng = np.random.default_rng(seed)
    centres = np.array([[0.0, 0.0], [8.0, 0.0], [0.0, 8.0]])
    X = torch.tensor(centres[rng.integers(3, size=3000)] + rng.standard_normal((3000, 2)))
    start = kmeans_plusplus_start(X, 3, seed=seed)
    result = fit_joint_em(X, start, n_iter=200, covariance_floor=1e-6, tol=1e-9)
    assert result.converged
    order = np.lexsort(result.model.means.round().numpy().T)
    np.testing.assert_allclose(result.model.means[order], centres[np.lexsort(centres.T)], atol=0.2)
    np.testing.assert_allclose(result.model.covariances, np.eye(2)[None].repeat(3, 0), atol=0.2)


def test_callback_sees_every_iteration_and_may_stop():
    seen = []

    def stop_at_four(iteration, model):
        seen.append((iteration, model))
        return iteration == 4

    result = fit(random_points(0), random_gmm(0), callback=stop_at_four)
    assert [iteration for iteration, _ in seen] == [0, 1, 2, 3, 4]
    assert result.n_iter == 5


def test_a_snapshot_never_changes_afterwards():
    kept = []

    def keep(iteration, model):
        kept.append((model, model.means.clone(), model.covariances.clone()))

    fit(random_points(0), random_gmm(0), callback=keep)
    for model, means, covariances in kept:
        assert torch.equal(model.means, means)
        assert torch.equal(model.covariances, covariances)
    assert not torch.equal(kept[0][0].means, kept[-1][0].means)


def test_a_resumed_fit_is_the_unbroken_fit(tmp_path):
    X, start = random_points(1), random_gmm(1)
    unbroken = fit(X, start)
    path = tmp_path / "state.npz"
    fit(X, start, callback=lambda iteration, _: iteration == 4, checkpoint=path)
    resumed = fit(X, start, checkpoint=path)
    assert_same_model(resumed.model, unbroken.model, rtol=0, atol=0)
    np.testing.assert_array_equal(resumed.history.log_likelihood, unbroken.history.log_likelihood)
    calls = []
    fit(X, start, checkpoint=path, callback=lambda iteration, _: calls.append(iteration))
    assert calls == []  # finished: returns at once


def test_a_checkpoint_of_another_fit_is_refused(tmp_path):
    X, start = random_points(1), random_gmm(1)
    path = tmp_path / "state.npz"
    fit(X, start, checkpoint=path)
    with pytest.raises(ValueError, match="other settings"):
        fit(X, start, checkpoint=path, weight_smoothing=0.3)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match="delete it"):
        fit(X, start, checkpoint=path)


def test_killed_fit_goes_on_to_the_same_model(tmp_path):
    """kill -9 at some moment of a fit that saves after every iteration."""
    program = textwrap.dedent("""
        import sys, torch
        from tests.helpers import random_gmm, random_points
        from biglearn_core import fit_biglearn_em
        result = fit_biglearn_em(
            random_points(2), random_gmm(2), n_iter=80, n_local_steps=2, covariance_floor=1e-3,
            weight_smoothing=0.2, seed=7, checkpoint=sys.argv[1],
            callback=lambda i, model: print(i, flush=True),
        )
        result.model.save(sys.argv[2])
    """)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    def start_run(name):
        command = [
            sys.executable,
            "-c",
            program,
            str(tmp_path / name),
            str(tmp_path / f"{name}.out"),
        ]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)

    broken = start_run("broken")
    while int(broken.stdout.readline()) < 10:
        pass
    broken.send_signal(signal.SIGKILL)
    broken.communicate()
    resumed, unbroken = start_run("broken"), start_run("unbroken")
    first_resumed = int(resumed.stdout.readline())
    for process in (resumed, unbroken):
        process.communicate()
        assert process.returncode == 0
    assert 10 <= first_resumed < 80
    a, b = (GMM.load(tmp_path / f"{name}.out") for name in ("broken", "unbroken"))
    assert_same_model(a, b, rtol=0, atol=0)


def test_start_is_not_written_to():
    start = random_gmm(3)
    means = start.means.clone()
    fit(random_points(3), start)
    assert torch.equal(start.means, means)


@pytest.mark.parametrize(
    ("X", "error", "text"),
    [
        (torch.full((5, 3), float("nan"), dtype=torch.float64), ValueError, "15 values"),
        (torch.full((5, 3), float("inf"), dtype=torch.float64), ValueError, "NaN or infinite"),
        (torch.zeros(5, 2, dtype=torch.float64), ValueError, "X has 2 columns, the start 3"),
        (torch.zeros(5, dtype=torch.float64), ValueError, r"shape \(N, D\)"),
        (torch.zeros(0, 3, dtype=torch.float64), ValueError, "N >= 1"),
        (torch.zeros(5, 3), TypeError, r"convert one of them with \.to"),
        (torch.zeros(5, 3, dtype=torch.int64), TypeError, "int64"),
        (np.zeros((5, 3)), TypeError, "ndarray"),
    ],
)
def test_bad_data_are_refused(X, error, text):
    with pytest.raises(error, match=text):
        fit(X, random_gmm(0))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"covariance_floor": -1.0}, "covariance_floor"),
        ({"weight_smoothing": float("inf")}, "weight_smoothing"),
        ({"n_iter": -1}, "n_iter"),
        ({"chunk_size": 0}, "chunk_size"),
        ({"p_joint": 2.0}, "p_joint"),
        ({"checkpoint_every": 0}, "checkpoint_every"),
        ({"sample_weight": torch.ones(3)}, r"shape \(200,\)"),
        ({"sample_weight": -torch.ones(200)}, "non-negative"),
        ({"sample_weight": torch.zeros(200)}, "zero everywhere"),
    ],
)
def test_bad_options_are_refused(options, text):
    with pytest.raises(ValueError, match=text):
        fit(random_points(0), random_gmm(0), **options)


def test_negative_tolerance_is_refused():
    with pytest.raises(ValueError, match="tol"):
        fit_joint_em(random_points(0), random_gmm(0), n_iter=1, covariance_floor=0.1, tol=-1)


def test_no_floor_and_collapsing_data_give_a_clear_error():
    X = torch.zeros(20, 3, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"raise\s+covariance_floor"):
        fit_joint_em(X, random_gmm(0), n_iter=5, covariance_floor=0.0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_agrees_with_the_cpu():
    X, start = random_points(5), random_gmm(5)
    on_cpu = fit(X, start).model
    on_gpu = fit(X.cuda(), start.to(device="cuda")).model
    assert on_gpu.device.type == "cuda"
    assert_same_model(on_gpu.to(device="cpu"), on_cpu, rtol=1e-6, atol=1e-6)
