"""biglearn predict, score, sample and info, against independent densities."""

import json

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from tests.command.small import failure, rows_file, run
from tests.helpers import random_gmm


def log_shares(model, X):
    """log π_k + log N(x_O | k) over what is known of every row, shape (N, K)."""
    shares = np.empty((len(X), model.n_components))
    for n, row in enumerate(X):
        known = ~np.isnan(row)
        for k, parameters in enumerate(zip(model.means, model.covariances, strict=True)):
            mean, covariance = (p.numpy() for p in parameters)
            law = multivariate_normal(mean[known], covariance[np.ix_(known, known)])
            shares[n, k] = np.log(model.weights[k].item()) + law.logpdf(row[known])
    return shares


@pytest.fixture
def model(tmp_path):
    model = random_gmm(0)
    model.save(tmp_path / "model.npz")
    return model


@pytest.mark.parametrize("gaps", [False, True])
def test_every_row_is_answered_in_its_place(tmp_path, capsys, model, monkeypatch, gaps):
    monkeypatch.setattr("biglearn_core.estimators.blocks._ANSWERED", 28)  # seven rows at a time
    X = rows_file(tmp_path, gaps=gaps)
    shares = log_shares(model, X)
    density = logsumexp(shares, axis=1)
    files = tmp_path / "model.npz", tmp_path / "rows.npy"
    out = tmp_path / "answers.npy"

    assert run(capsys, "predict", *files, "--out", out) == f"written to {out}\n"
    labels = np.load(out)
    assert labels.dtype == np.int64
    assert np.array_equal(labels, shares.argmax(axis=1))

    run(capsys, "predict", *files, "--proba", "--out", out)
    np.testing.assert_allclose(np.load(out), np.exp(shares - density[:, None]), atol=1e-12)

    mean = run(capsys, "score", *files, "--samples", out)
    np.testing.assert_allclose(np.load(out), density, rtol=1e-10)
    assert float(mean) == pytest.approx(density.mean(), rel=1e-12)


def test_scores_take_weights(tmp_path, capsys, model):
    X = rows_file(tmp_path)
    np.save(tmp_path / "w.npy", weights := np.arange(120.0) % 3)
    told = run(
        *(capsys, "score", tmp_path / "model.npz", tmp_path / "rows.npy", "--json"),
        *("--sample-weight", tmp_path / "w.npy"),
    )  # fmt: skip
    density = logsumexp(log_shares(model, X), axis=1)
    facts = json.loads(told)
    assert facts["rows"] == weights.sum()
    assert facts["log_density"] == pytest.approx(np.average(density, weights=weights), rel=1e-12)


@pytest.mark.parametrize("unit", [1e307, 1e-320])
def test_weights_of_any_size_are_averaged(tmp_path, capsys, model, monkeypatch, unit):
    monkeypatch.setattr("biglearn_core.estimators.blocks._ANSWERED", 28)  # seven rows at a time
    X = rows_file(tmp_path)
    np.save(tmp_path / "w.npy", unit * (weights := np.arange(120.0) % 3))
    told = run(
        *(capsys, "score", tmp_path / "model.npz", tmp_path / "rows.npy", "--json"),
        *("--sample-weight", tmp_path / "w.npy"),
    )  # fmt: skip
    density = logsumexp(log_shares(model, X), axis=1)
    facts = json.loads(told)
    assert facts["log_density"] == pytest.approx(np.average(density, weights=weights), rel=1e-9)
    assert facts["rows"] == (None if unit > 1 else pytest.approx(120 * unit, rel=1e-3))


def test_json_has_null_for_what_is_infinite(tmp_path, capsys, model):
    np.save(tmp_path / "rows.npy", np.full((2, 3), 1e200))
    command = ["score", tmp_path / "model.npz", tmp_path / "rows.npy"]
    assert run(capsys, *command) == "-inf\n"
    assert run(capsys, *command, "--json") == '{"log_density": null, "rows": 2.0}\n'


def test_no_line_is_printed_where_none_is_wanted(tmp_path, capsys, model):
    rows_file(tmp_path)
    files = tmp_path / "model.npz", tmp_path / "rows.npy"
    assert run(capsys, "predict", *files, "--out", tmp_path / "l.npy", "--quiet") == ""
    command = ["sample", files[0], "-n", 3, "--out", tmp_path / "s.npy", "--quiet"]
    assert run(capsys, *command) == ""


def test_float32_rows_are_answered_in_float32(tmp_path, capsys, model):
    X = rows_file(tmp_path).astype(np.float32)
    np.save(tmp_path / "rows.npy", X)
    files = tmp_path / "model.npz", tmp_path / "rows.npy"
    run(capsys, "score", *files, "--samples", tmp_path / "d.npy")
    found = np.load(tmp_path / "d.npy")
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, logsumexp(log_shares(model, X), axis=1), rtol=1e-6)


def test_columns_are_those_of_the_model(tmp_path, capsys, model):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    X = rows_file(tmp_path)
    model.with_feature_names(["b", "a", "c"]).save(tmp_path / "named.npz")
    frame = pandas.DataFrame(X, columns=["b", "a", "c"]).assign(id="x")
    frame[["id", "c", "a", "b"]].to_parquet(tmp_path / "rows.parquet")
    plain = run(capsys, "score", tmp_path / "model.npz", tmp_path / "rows.npy")
    named = run(capsys, "score", tmp_path / "named.npz", tmp_path / "rows.parquet")
    assert float(named) == pytest.approx(float(plain), rel=1e-12)
    other = frame.rename(columns={"a": "z"})
    other.to_parquet(tmp_path / "other.parquet")
    message = failure(capsys, "score", tmp_path / "named.npz", tmp_path / "other.parquet")
    assert "has no column 'a'" in message
    assert "was fitted to the columns b, a, c" in message
    command = ["score", tmp_path / "named.npz", tmp_path / "other.parquet", "--columns", "b,z,c"]
    assert float(run(capsys, *command)) == pytest.approx(float(plain), rel=1e-12)


def test_draws_are_of_the_mixture_and_of_the_seed(tmp_path, capsys, model, monkeypatch):
    monkeypatch.setattr("biglearn_core.rows.source._BLOCK_NUMBERS", 9000)
    out = tmp_path / "rows.npy"
    command = ["sample", tmp_path / "model.npz", "-n", 20000, "--out", out]
    assert run(capsys, *command) == f"written to {out}\n"
    X = np.load(out)
    assert X.shape == (20000, 3)
    mean = (model.weights @ model.means).numpy()
    spread = X.std(axis=0) / np.sqrt(len(X))
    assert (np.abs(X.mean(axis=0) - mean) < 5 * spread).all()
    labels = model.predict(X)
    expected = (
        model.predict(model.sample(20000, torch.Generator().manual_seed(5))[0]).bincount(
            minlength=4
        )
        / 20000
    )
    np.testing.assert_allclose(np.bincount(labels, minlength=4) / 20000, expected, atol=0.03)
    run(capsys, *command)
    assert np.array_equal(np.load(out), X)
    run(capsys, *command, "--seed", 1)
    assert not np.isin(np.load(out), X).any()


def test_what_a_file_holds_is_told(tmp_path, capsys):
    model = random_gmm(1, K=12, D=2).with_feature_names(["height", "width"])
    model.save(tmp_path / "model.npz")
    told = run(capsys, "info", tmp_path / "model.npz")
    lines = dict(line.split(maxsplit=1) for line in told.splitlines())
    assert lines["components"] == "12"
    assert lines["features"] == "2: height, width"
    assert lines["covariances"] == "full"
    assert lines["parameters"] == f"{11 + 12 * 2 + 12 * 3} free, float64"
    assert lines["weights"].endswith(" and 2 more")
    shown = [float(text) for text in lines["weights"].split(" and ")[0].split(", ")]
    np.testing.assert_allclose(shown, np.sort(model.weights)[:1:-1], rtol=1e-3)


def test_a_model_in_float32_answers_in_full(tmp_path, capsys):
    X = rows_file(tmp_path)
    single = random_gmm(2, dtype=torch.float32)
    single.save(tmp_path / "model.npz")
    mean = run(capsys, "score", tmp_path / "model.npz", tmp_path / "rows.npy")
    density = logsumexp(log_shares(single.to(dtype=torch.float64), X), axis=1)
    assert float(mean) == pytest.approx(density.mean(), rel=1e-9)
