"""biglearn fit: what it writes is what the estimators find."""

import json
import os
import signal

import numpy as np
import pytest

from biglearn_core import GMM, BigLearnEM, MixtureSelection
from biglearn_core.command.main import main
from tests.command.small import failure, rows_file, run
from tests.helpers import assert_same_model


@pytest.fixture
def in_passes(monkeypatch):
    """Take a hundred rows for more than can be held."""
    monkeypatch.setattr("biglearn_core.estimators.given.HELD_NUMBERS", 100)


def test_the_mixture_is_that_of_the_estimator(tmp_path, capsys):
    X = rows_file(tmp_path, gaps=True)
    out = tmp_path / "new" / "model.npz"
    told = run(capsys, "fit", tmp_path / "rows.npy", "--components", 2, "--out", out)
    own = BigLearnEM(2, random_state=0).fit(X)
    assert_same_model(GMM.load(out), own.mixture_)
    assert "rows            120\n" in told
    assert f"log-likelihood  {own.lower_bound_:.6f} nats a row\n" in told
    assert os.listdir(out.parent) == ["model.npz"]


def test_options_reach_the_estimator(tmp_path, capsys):
    X = rows_file(tmp_path)
    np.save(tmp_path / "w.npy", w := np.arange(120.0))
    out = tmp_path / "model.npz"
    out.write_text("an older one")
    told = run(
        *(capsys, "fit", tmp_path / "rows.npy", "--sample-weight", tmp_path / "w.npy"),
        *("--components", 2, "--covariance-type", "diag", "--covariance-prior", "conjugate"),
        *("--covariance-floor", "1e-3", "--seed", 7, "--n-init", 2, "--max-iter", 400),
        *("--tol", "1e-6", "--device", "cpu", "--out", out, "--json"),
    )  # fmt: skip
    own = BigLearnEM(
        2,
        covariance_type="diag",
        covariance_prior="conjugate",
        covariance_floor=1e-3,
        random_state=7,
        n_init=2,
        max_iter=400,
        tol=1e-6,
    ).fit(X, sample_weight=w)
    assert_same_model(GMM.load(out), own.mixture_)
    facts = json.loads(told)
    assert facts.pop("seconds") > 0
    assert facts.pop("rows_per_second") > 0
    assert facts == {
        "rows": 120,
        "features": 3,
        "components": 2,
        "covariance_type": "diag",
        "log_likelihood": pytest.approx(own.lower_bound_, rel=1e-12),
        "steps": own.n_iter_,
        "converged": True,
        "processes": 1,
        "out": str(out),
    }


def test_columns_of_parquet_are_chosen_and_named(tmp_path, capsys):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    X = rows_file(tmp_path)
    frame = pandas.DataFrame(X, columns=["a", "b", "c"]).assign(id="x", copies=2)
    frame.to_parquet(tmp_path / "rows.parquet")
    out = tmp_path / "model.npz"
    columns = ["--columns", "c,a", "--weight", "copies"]
    run(capsys, "fit", tmp_path / "rows.parquet", "--components", 2, *columns, "--out", out)
    own = BigLearnEM(2, random_state=0).fit(frame[["c", "a"]], sample_weight=frame["copies"])
    assert GMM.load(out).feature_names == ("c", "a")
    assert_same_model(GMM.load(out), own.mixture_)


def test_auto_chooses(tmp_path, capsys):
    X = rows_file(tmp_path)
    out = tmp_path / "model.npz"
    choice = ["--components", "auto", "--covariance-type", "full,EII", "--max-components", 3]
    run(capsys, "fit", tmp_path / "rows.npy", *choice, "--out", out)
    own = MixtureSelection(
        covariance_type=["full", "EII"], max_components=3, random_state=0
    ).fit(X)  # fmt: skip
    assert_same_model(GMM.load(out), own.mixture_)
    assert GMM.load(out).covariance_type == own.mixture_.covariance_type != "full"


def test_an_interrupted_fit_goes_on_from_its_state(tmp_path, capsys, monkeypatch, in_passes):
    rows_file(tmp_path, gaps=True)
    command = ["fit", str(tmp_path / "rows.npy"), "--components", "2", "--tol", "1e-9", "--out"]
    run(capsys, *command, tmp_path / "whole.npz")

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    out, state = tmp_path / "model.npz", tmp_path / "model.checkpoint.npz"
    with monkeypatch.context() as patch:
        patch.setattr("biglearn_core.estimators.passes.joint_em", interrupted)
        assert main([*command, str(out)]) == 130
    assert f"interrupted; the same command goes on from {state}" in capsys.readouterr().err
    assert state.exists()
    assert not out.exists()
    message = failure(capsys, *command, out, "--seed", 1)
    assert f"{state} is the checkpoint of a fit with other settings" in message
    with monkeypatch.context() as patch:
        patch.setattr(BigLearnEM, "_fit_default", interrupted)  # the search is not made again
        run(capsys, *command, out)
    assert_same_model(GMM.load(out), GMM.load(tmp_path / "whole.npz"))
    assert not state.exists()


def test_a_fit_of_few_rows_leaves_the_state_of_another_one(tmp_path, capsys):
    rows_file(tmp_path)
    out, state = tmp_path / "model.npz", tmp_path / "model.checkpoint.npz"
    state.write_text("of a long fit")
    run(capsys, "fit", tmp_path / "rows.npy", "--components", 2, "--out", out)
    assert state.read_text() == "of a long fit"


def test_a_state_that_is_named_is_kept(tmp_path, capsys, in_passes):
    rows_file(tmp_path)
    out, state = tmp_path / "model.npz", tmp_path / "state.npz"
    command = ["fit", tmp_path / "rows.npy", "--components", 2, "--out", out]
    run(capsys, *command, "--checkpoint", state)
    assert state.exists()
    state.unlink()
    run(capsys, *command, "--no-checkpoint")
    assert sorted(os.listdir(tmp_path)) == ["model.npz", "rows.npy"]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_end_a_fit_with_one_line(tmp_path, capsys, monkeypatch, number, status):
    rows_file(tmp_path)
    interrupt = signal.signal(signal.SIGINT, signal.default_int_handler)  # off in a background job
    before = signal.getsignal(signal.SIGTERM)

    def fit(*_, **__):
        os.kill(os.getpid(), number)

    monkeypatch.setattr(BigLearnEM, "fit", fit)
    out = str(tmp_path / "model.npz")
    assert main(["fit", str(tmp_path / "rows.npy"), "--components", "2", "--out", out]) == status
    (line,) = capsys.readouterr().err.split("\n")[1:-1]
    assert line.startswith("biglearn fit: ")
    assert line.endswith("ed; nothing was written")
    assert signal.getsignal(signal.SIGTERM) is before
    signal.signal(signal.SIGINT, interrupt)


def test_warnings_are_lines(tmp_path, capsys):
    np.save(tmp_path / "rows.npy", np.repeat(np.eye(3), 20, axis=0))
    command = ["fit", tmp_path / "rows.npy", "--components", 3, "--out", tmp_path / "model.npz"]
    assert main(list(map(str, command))) == 0
    err = capsys.readouterr().err
    assert err.startswith("biglearn fit: warning: components [")
    assert err.count("\n") == 1
