"""A checkpoint is continued by the fit that wrote it, and refused by every other."""

import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch

from biglearn_core import GMM, fit_biglearn_em
from biglearn_core.init import paper_start
from biglearn_core.numerics import lowrank
from biglearn_core.system.digest import differences, digest
from biglearn_core.system.persistence import load_arrays, save_arrays
from tests.helpers import ROOT, assert_same_model, random_gmm, random_points

OPTIONS = {
    "n_iter": 8,
    "n_local_steps": 2,
    "covariance_floor": 1e-3,
    "weight_smoothing": 0.2,
    "seed": 7,
}


def fit(path, X=None, start=None, **options):
    X = random_points(1) if X is None else X
    start = random_gmm(1) if start is None else start
    return fit_biglearn_em(X, start, checkpoint=path, **{**OPTIONS, **options})


def begin(path, after=4, **options):
    """Leave the state of a fit that was stopped on its way."""
    fit(path, callback=lambda iteration, _: iteration + 1 == after, **options)
    return path.read_bytes()


def nudged(model):
    """Move one mean by a rounding error."""
    means = model.means.clone()
    means[0, 0] = torch.nextafter(means[0, 0], means[0, 0] + 1)
    return GMM(model.weights, means, model.covariances)


def with_low_rank(model):
    return GMM.unchecked(
        model.weights,
        model.means,
        model.covariances,
        lowrank.LowRankCovariances.spherical(model.means, 1.0),
    )


OTHERS = [
    ({"X": random_points(1) * 3 + 100}, r"data: float64 \(200, 3\) \w+ there, .* now"),
    ({"X": random_points(1)[:-1]}, r"data: float64 \(200, 3\) .*\(199, 3\)"),
    ({"X": random_points(1).nextafter(torch.tensor(torch.inf).double())}, "data: "),
    ({"start": random_gmm(2)}, "start: "),
    ({"start": nudged(random_gmm(1))}, "start: "),
    ({"start": with_low_rank(random_gmm(1))}, "start: "),
    ({"sample_weight": torch.arange(200)}, "sample_weight: none there"),
    ({"n_local_steps": 3}, "n_local_steps: 2 there, 3 now"),
    ({"seed": 8}, "seed: 7 there, 8 now"),
    ({"seed": (7, 0)}, r"seed: 7 there, \(7, 0\) now"),
    ({"beta": (5.0, 2.0)}, r"beta: \(5.0, 1.0\) there, \(5.0, 2.0\) now"),
    ({"transform": "rotation"}, "transform: orthogonal there, rotation now"),
    ({"covariance_floor": 2e-3}, "covariance_floor: 0.001 there, 0.002 now"),
    ({"weight_smoothing": 0.0}, "weight_smoothing: 0.2 there, 0.0 now"),
    ({"p_joint": 0.5}, "p_joint: 0.4 there, 0.5 now"),
    ({"p_marginal": 0.2}, "p_marginal: 0.1 there, 0.2 now"),
    (
        {"p_joint": lambda progress: 0.4 + progress / 10},
        r"p_joint: 0.4 there, 0.4125\d* now, in iter",
    ),
]


@pytest.mark.parametrize(("other", "message"), OTHERS)
@pytest.mark.parametrize("finished", [False, True])
def test_a_state_of_another_fit_is_refused_and_told_in_what_it_differs(
    tmp_path, other, message, finished
):
    path = tmp_path / "state.npz"
    before = begin(path, after=OPTIONS["n_iter"] if finished else 4)
    with pytest.raises(ValueError, match=rf"state\.npz.*{message}.*delete it, or name another"):
        fit(path, **other)
    assert path.read_bytes() == before
    assert_same_model(fit(path).model, fit(None).model, rtol=0, atol=0)


def test_weights_of_another_fit_are_told_and_their_scale_does_not_matter(tmp_path):
    path, weights = tmp_path / "state.npz", torch.arange(200.0)
    begin(path, sample_weight=weights)
    fit(path, sample_weight=weights * 2**10)
    with pytest.raises(ValueError, match="sample_weight: "):
        fit(path, sample_weight=weights.flip(0))


def test_a_fit_is_never_longer_than_asked_for_and_may_be_extended(tmp_path):
    path = tmp_path / "state.npz"
    fit(path)
    with pytest.raises(ValueError, match="holds 8 iterations, more than n_iter=5"):
        fit(path, n_iter=5)
    longer = fit(path, n_iter=13)
    assert longer.n_iter == 13
    assert_same_model(longer.model, fit(None, n_iter=13).model, rtol=0, atol=0)


def rising(progress):
    return progress / 2


def test_functions_count_by_what_they_give(tmp_path):
    path = tmp_path / "state.npz"
    begin(path, p_joint=lambda progress: progress / 2)
    resumed = fit(path, p_joint=lambda progress: 0.5 * progress)
    assert_same_model(resumed.model, fit(None, p_joint=rising).model, rtol=0, atol=0)
    with pytest.raises(ValueError, match=r"p_joint: 0\.0625 there, 0\.075 now, in iteration 1"):
        fit(path, p_joint=lambda progress: 0.6 * progress)
    with pytest.raises(ValueError, match=r"in iteration 1 of n_iter=9"):
        fit(path, p_joint=rising, n_iter=9)  # other tasks would have been drawn


def test_a_constant_function_is_the_constant(tmp_path):
    path = tmp_path / "state.npz"
    begin(path, p_joint=lambda progress: 0.4)
    resumed = fit(path, p_joint=0.4, n_iter=10)
    assert_same_model(resumed.model, fit(None, n_iter=10).model, rtol=0, atol=0)


def test_a_function_resumes_in_another_process(tmp_path):
    program = textwrap.dedent("""
        import sys
        from pathlib import Path
        from tests.test_checkpoint import begin
        begin(Path(sys.argv[1]), p_joint=lambda share: share / 2)
    """)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    path = tmp_path / "state.npz"
    subprocess.run([sys.executable, "-c", program, path], env=environment, check=True)
    calls = []
    resumed = fit(path, p_joint=rising, callback=lambda iteration, _: calls.append(iteration))
    assert calls == [4, 5, 6, 7]
    assert_same_model(resumed.model, fit(None, p_joint=rising).model, rtol=0, atol=0)


def spoiled(name, value):
    def spoil(arrays):
        arrays[name] = value(arrays[name]) if callable(value) else value

    return spoil


def without(name):
    return lambda arrays: arrays.pop(name)


def asymmetric(covariances):
    return covariances + np.triu(np.ones(covariances.shape[1:]))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        *((without(n), f"lacks.*{n}") for n in ("weights", "means", "covariances", "task")),
        *((without(n), f"lacks.*{n}") for n in ("n_empty", "p_joint", "p_marginal")),
        (without("condition/data"), "data: not given there"),
        (spoiled("means", lambda a: a * np.nan), "means must be finite"),
        (spoiled("means", lambda a: a[:, :2]), "shape"),
        (spoiled("means", lambda a: a.astype(np.int64)), "no valid mixture"),
        (spoiled("means", np.array("word")), "no valid mixture"),
        (spoiled("weights", lambda a: -a), "non-negative"),
        (spoiled("weights", lambda a: a / 2), "sum"),
        (spoiled("covariances", asymmetric), "symmetric"),
        (spoiled("covariances", lambda a: -a), "positive definite"),
        (spoiled("covariances", lambda a: a * np.inf), "finite"),
        (spoiled("task", lambda a: a[:2]), "do not make a table"),
        (spoiled("p_joint", lambda a: a[:, None]), "do not make a table"),
        (spoiled("p_joint", lambda a: a * np.nan), "p_joint: nan there"),
        (spoiled("log_likelihood", lambda a: a.astype(str)), "do not make a table"),
    ],
)
def test_a_damaged_state_is_named_with_the_remedy(tmp_path, spoil, message):
    path = tmp_path / "state.npz"
    begin(path)
    arrays = load_arrays(path)
    spoil(arrays)
    save_arrays(path, arrays)
    with pytest.raises(ValueError, match=rf"(?s)state\.npz .*{message}.*delete"):
        fit(path)
    path.unlink()
    fit(path)


def test_a_state_of_another_shape_or_dtype_is_damaged(tmp_path):
    path = tmp_path / "state.npz"
    begin(path)
    arrays = load_arrays(path)
    for model in (random_gmm(0, K=3), random_gmm(1).to(dtype=torch.float32)):
        save_arrays(path, arrays | model.arrays())
        with pytest.raises(ValueError, match=r"state\.npz is damaged: it holds means .*delete it"):
            fit(path)


@pytest.mark.parametrize("name", ["backgrounds", "directions", "excesses", "ranks"])
def test_a_damaged_low_rank_state_is_named(tmp_path, monkeypatch, name):
    monkeypatch.setattr(lowrank, "_LEAST_DIMENSION", 8)
    X = random_points(0, N=60, D=12)
    start = paper_start(3, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    path, options = tmp_path / "state.npz", {"X": X, "start": start, "covariance_floor": 2.0}
    begin(path, **options)
    arrays = load_arrays(path)
    assert "covariances" not in arrays
    assert_same_model(fit(path, **options).model, fit(None, **options).model, rtol=0, atol=0)
    wrong = -1 - arrays[name] if name == "ranks" else arrays[name] * np.nan
    for value in (None, wrong, arrays[name][:-1]):
        spoilt = {n: a for n, a in arrays.items() if n != name}
        save_arrays(path, spoilt if value is None else spoilt | {name: value})
        with pytest.raises(ValueError, match=r"state\.npz .*delete"):
            fit(path, **options)


def test_a_file_of_something_else_is_no_checkpoint(tmp_path):
    path = tmp_path / "state.npz"
    random_gmm(1).save(path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="does not tell which fit"):
        fit(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("checkpoint", [True, 3, b"state.npz"])
def test_what_is_no_path_is_refused(checkpoint):
    with pytest.raises(TypeError, match="checkpoint must be a path"):
        fit(checkpoint)


def test_a_digest_depends_on_values_shape_and_dtype_alone():
    X = random_points(0)
    assert digest(X) == digest(X.clone()) == digest(X.T.contiguous().T) == digest(X.numpy())
    others = [X.T, X.float(), X.reshape(-1), X + 0.0 * X.sign(), -X, X[:0], X[0, 0]]
    assert len({digest(X), *map(digest, others)}) == 1 + len(others) - 1  # X + 0 is X
    assert digest(X[:1], X[1:]) != digest(X[:2], X[2:])
    assert digest(None) == "none"
    assert len({digest(X, None), digest(None, X), digest(X)}) == 3


def test_differences_name_both_sides():
    assert differences({"a": "1", "b": "2"}, {"a": "1", "b": "2"}) == ""
    text = differences({"a": "1", "b": "2"}, {"a": "3", "c": "4"})
    assert text == "a: 1 there, 3 now, c: not given there, 4 now, b: 2 there, not given now"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_digest_is_the_same_on_every_device():
    X = random_points(0)
    assert digest(X) == digest(X.cuda())
