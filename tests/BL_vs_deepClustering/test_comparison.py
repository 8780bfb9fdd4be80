"""The comparison of deep clustering: its runs, keys, tables, figures and command."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import wraps
from pathlib import Path

import numpy as np
import pytest
import torch

from biglearn_core.experiments.published import FASHION_PEERS
from biglearn_core.metrics import score_labels
from biglearn_core.reproduce.records import Record, read_record
from BL_vs_deepClustering.comparison import (
    figures as plots,
    methods,
    run as deep,
    tables as summary,
)
from BL_vs_deepClustering.comparison.methods import METHODS, Method
from BL_vs_deepClustering.peers import autoencoder
from BL_vs_deepClustering.peers.autoencoder import (
    PretrainConfig,
    cluster_code,
    pretrain,
)
from BL_vs_deepClustering.peers.dec import DEC, IDEC, fit_dec
from BL_vs_deepClustering.peers.edesc import EDESCConfig
from BL_vs_deepClustering.peers.features import FeatureMixtureConfig
from BL_vs_deepClustering.peers.shallow import KMeansConfig, cluster_kmeans
from BL_vs_deepClustering.pixels import run as fashion
from BL_vs_deepClustering.pixels.run import Images
from tests.BL_vs_deepClustering.small import (
    PEERS as CONFIG,
    few_components,
    same_peers,
    synthetic,
    synthetic_images,
    with_rows,
)
from tests.helpers import ROOT, Killed, load_script


@pytest.fixture
def images():
    with synthetic_images():
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Every method on synthetic images, run once."""
    root = tmp_path_factory.mktemp("deep")
    with synthetic_images():
        runs = deep.run(CONFIG, root=root, n_jobs=1)
    return root, runs


def test_every_method_is_run_scored_and_saved(finished):
    root, runs = finished
    assert [(r.method, r.seed) for r in runs] == [(m, s) for m in METHODS for s in (0, 1)]
    classes = synthetic(90, 784).classes
    for run in runs:
        assert run.final == score_labels(classes, run.clusters)
        assert run.best.acc >= max(run.final.acc, run.acc.max())
        assert run.n_parameters > 0
    assert len(list(root.glob("autoencoder/*/seed_*.json"))) == 4  # two widths, two seeds
    assert not list(root.glob("**/*.checkpoint.npz"))
    by_method = {run.method: run for run in runs}
    shared = by_method["dec"].curves["reconstruction"]
    np.testing.assert_array_equal(shared, by_method["biglearn-ae"].curves["reconstruction"])
    saved = json.loads(next(root.glob("dec/*/seed_0.json")).read_text())
    assert saved["final"]["acc"] == next(run for run in runs if run.method == "dec").final.acc


def test_a_new_method_is_a_row_and_shows_everywhere(finished, images, monkeypatch, tmp_path):
    """A module of its own beside; here it is one that is there."""
    root, runs = finished
    row = Method(label="N2D", fit=cluster_kmeans, settings=lambda common: KMeansConfig(n_init=1))
    for module in (methods, deep, summary, plots):
        monkeypatch.setattr(module, "METHODS", {**module.METHODS, "n2d": row})
    config = replace(CONFIG, methods=("all",))
    assert config.methods[-1] == "n2d"
    shutil.copytree(root, tmp_path / "copy")
    new = deep.run(config, root=tmp_path / "copy", n_jobs=1)
    same_peers(new[: len(runs)], runs)
    assert [(run.method, run.seed) for run in new[len(runs) :]] == [("n2d", 0), ("n2d", 1)]
    mine = summary.score_table(new).loc["N2D"]
    assert mine["", "seeds"] == "2"
    assert mine["quoted from others", "ACC"] == f"{FASHION_PEERS['N2D'].acc:.3f}"
    assert summary.record(new, config)["labels"]["n2d"] == "N2D"
    assert "N2D" in [t.get_text() for t in plots.plot_comparison(new).axes[0].get_yticklabels()]


def test_finished_runs_are_read(finished, images, monkeypatch):
    root, runs = finished
    monkeypatch.setattr(deep, "load_images", refusing(deep.load_images))
    again = deep.run(CONFIG, root=root, n_jobs=1)
    for run, other in zip(again, runs, strict=True):
        np.testing.assert_array_equal(run.clusters, other.clusters)
        assert run.seconds == other.seconds


def test_labels_change_scores_alone(images, monkeypatch, tmp_path):
    config = replace(CONFIG, seeds=(0,))
    runs = deep.run(config, root=tmp_path / "true", n_jobs=1)
    assert len(runs) == len(METHODS)
    permuted = np.random.default_rng(5).permutation(90)

    def other_labels(n, *, device):
        own = synthetic(n, 784)
        return Images(own.X, own.classes[permuted])

    monkeypatch.setattr(deep, "load_images", other_labels)
    deep._images.cache_clear()
    blind = deep.run(config, root=tmp_path / "permuted", n_jobs=1)
    for run, other in zip(runs, blind, strict=True):
        np.testing.assert_array_equal(run.clusters, other.clusters)
        assert not np.array_equal(run.acc, other.acc)


def refusing(function):
    """Stand for a function that must not be called."""

    @wraps(function)
    def call(*arguments, **options):
        raise AssertionError("something was computed again")

    return call


def test_a_run_killed_between_methods_goes_on(images, monkeypatch, tmp_path):
    config = replace(CONFIG, seeds=(0,), methods=("ae-kmeans", "dec"))

    @wraps(cluster_code)
    def killed(*arguments, **options):
        raise Killed

    with monkeypatch.context() as patch:
        with_rows(patch, {"ae-kmeans": {"fit": killed}})
        with pytest.raises(Killed):
            deep.run(config, root=tmp_path, n_jobs=1)
    assert len(list(tmp_path.glob("*/*/seed_0.json"))) == 2  # the autoencoder and DEC
    monkeypatch.setattr(deep, "pretrain", refusing(pretrain))  # what is finished is not begun again
    with_rows(monkeypatch, {"dec": {"fit": refusing(fit_dec)}})
    assert [run.method for run in deep.run(config, root=tmp_path, n_jobs=1)] == ["ae-kmeans", "dec"]


def test_an_autoencoder_that_two_methods_need_is_trained_once(tmp_path):
    """The second of two processes waits for the first."""
    code = f"""
import sys, time
sys.path.insert(0, {str(ROOT)!r})
from dataclasses import replace
from tests.BL_vs_deepClustering.small import PEERS, synthetic
from BL_vs_deepClustering.comparison import run as deep
from functools import wraps
from pathlib import Path
from biglearn_core.experiments import jobs
method, folder = sys.argv[1], Path({str(tmp_path)!r})
deep.load_images = lambda n, *, device: synthetic(n, 784)
real, lock = deep.pretrain, jobs.run_lock
@wraps(real)
def pretrain(*arguments, **options):
    (folder / f"trained_by_{{method}}").touch()
    deadline = time.monotonic() + 120
    while len(list(folder.glob("at_lock_*"))) < 2:
        assert time.monotonic() < deadline, "the other process has not come"
        time.sleep(0.02)
    return real(*arguments, **options)
def run_lock(path, **options):
    if path.parent.parent.name == "autoencoder":
        (folder / f"at_lock_{{method}}").touch()
    return lock(path, **options)
deep.pretrain, jobs.run_lock = pretrain, run_lock
config = replace(PEERS, seeds=(0,), methods=(method,))
(run,) = deep.run(config, root=folder, n_jobs=1)
print(run.pretrain_seconds)
"""
    started = [
        subprocess.Popen([sys.executable, "-c", code, method], stdout=subprocess.PIPE, text=True)
        for method in ("ae-kmeans", "dec")
    ]
    printed = [process.communicate(timeout=300)[0] for process in started]
    assert printed[0] == printed[1] != ""
    assert len(list(tmp_path.glob("trained_by_*"))) == 1
    assert len(list(tmp_path.glob("autoencoder/*/seed_0.json"))) == 1


@pytest.mark.parametrize("precision", ["high", "medium"])
def test_precision_is_of_the_networks_alone_and_is_put_back(
    images, monkeypatch, tmp_path, precision
):
    seen, flushed = {}, {}

    def telling(name, real):
        @wraps(real)
        def call(*arguments, **options):
            seen[name] = torch.get_float32_matmul_precision()
            flushed[name] = bool(torch.tensor(1e-39) * 1 == 0)
            return real(*arguments, **options)

        return call

    chosen = ("ae-kmeans", "dec", "edesc", "biglearn-ae")
    monkeypatch.setattr(deep, "pretrain", telling("pretrain", pretrain))
    with_rows(monkeypatch, {m: {"fit": telling(m, METHODS[m].fit)} for m in chosen})
    config = replace(CONFIG, seeds=(0,), methods=chosen, precision=precision)
    deep.run(config, root=tmp_path, n_jobs=1)
    trained = {"pretrain", "dec", "edesc"}
    assert seen == {name: precision if name in trained else "highest" for name in seen}
    assert flushed == {name: name in trained for name in seen}
    assert len(seen) == 5
    assert torch.tensor(1e-39) * 1 > 0
    assert torch.get_float32_matmul_precision() == "highest"


def test_a_damaged_autoencoder_is_made_anew_and_nothing_else(finished, images, tmp_path):
    root, runs = finished
    shutil.copytree(root, tmp_path / "copy")
    for path in (tmp_path / "copy").glob("autoencoder/*/seed_1.npz"):
        path.write_bytes(path.read_bytes()[:1000])
    with pytest.warns(UserWarning, match="damaged and made anew"):
        again = deep.run(CONFIG, root=tmp_path / "copy", n_jobs=1)
    same_peers(again, runs)


def test_keys_depend_on_settings_and_on_the_networks_code(monkeypatch, tmp_path):
    def keys(config):
        device = torch.device("cpu")
        return {m: deep._peer(m, config, tmp_path, device).store.key for m in config.methods}

    own = keys(CONFIG)
    more_epochs = keys(replace(CONFIG, n_epochs=9))
    assert {m for m in own if own[m] != more_epochs[m]} == {
        *("ae-kmeans", "dec", "idec", "edesc", "biglearn-ae")
    }
    other = keys(replace(CONFIG, precision="medium"))
    assert {m for m in own if own[m] != other[m]} == {
        *("ae-kmeans", "dec", "idec", "edesc", "biglearn-ae")
    }
    assert keys(replace(CONFIG, seeds=(7,), methods=("dec",)))["dec"] == own["dec"]
    with monkeypatch.context() as patch:
        few_components(patch)
        assert {m for m in own if own[m] != keys(CONFIG)[m]} == {"biglearn-pca"}
    real = Path.read_text
    for file, old, new, touched in (
        ("shallow.py", "covariance_eigh", "full", {"kmeans", "pca-gmm", "biglearn-pca"}),
        ("autoencoder.py", "bound = 1 /", "bound = 2 /",
         {"ae-kmeans", "dec", "idec", "edesc", "biglearn-ae"}),
        ("scoring.py", "clustering.clusters)", "clustering.history[-1])", set(METHODS)),
        ("metrics.py", "acc=clustering_accuracy", "acc=1 - clustering_accuracy", set(METHODS)),
        ("gmm.py", "class GMM", "class Mixture", {"biglearn-pca", "biglearn-ae"}),
    ):  # fmt: skip

        def changed(path, *, file=file, old=old, new=new, **options):
            text = real(path, **options)
            assert path.name != file or old in text
            return text.replace(old, new) if path.name == file else text

        with monkeypatch.context() as patch:
            patch.setattr(Path, "read_text", changed)
            assert {m for m in own if own[m] != keys(CONFIG)[m]} == touched


def test_table_and_record_keep_protocols_and_sources_apart(finished):
    _, runs = finished
    table = summary.score_table(runs)
    mine = [run for run in runs if run.method == "dec"]
    values = np.array([run.final.acc for run in mine])
    row = table.loc["DEC"]
    wanted = f"{values.mean():.3f} ± {values.std(ddof=1):.3f}"
    assert row["final model (fair)", "ACC"] == wanted
    best = np.mean([run.best.nmi for run in mine])
    assert row["best on the way, chosen with labels", "NMI"].startswith(f"{best:.3f}")
    assert row["quoted from others", "ACC"] == f"{FASHION_PEERS['DEC'].acc:.3f}"
    assert row["quoted from others", "source"] == "DEC-keras"
    assert table.loc["N2D"]["final model (fair)", "ACC"] == ""
    assert set(table.index) >= {"ClusterGAN", "EDESC", "BigLearn-EM on AE code"}
    document = json.loads(json.dumps(summary.record(runs, CONFIG)))
    record = Record.of({**document, "versions": {}})
    final, best, steps = (
        record.find("Fashion-MNIST", *address)
        for address in (("fair", "dec", "acc"), ("paper", "dec", "acc"), ("both", "dec", "n_steps"))
    )
    assert final.by_seed == {run.seed: run.final.acc for run in mine}
    assert final.mean == pytest.approx(values.mean())
    assert best.by_seed == {run.seed: run.best.acc for run in mine}
    assert steps.by_seed == {run.seed: run.n_steps for run in mine}
    errors = [run.curves["reconstruction"] for run in mine]
    shared, edesc = document["curves"]
    assert shared["seeds"] == edesc["seeds"] == [0, 1]
    assert shared["values"] == [curve.tolist() for curve in errors]
    last = record.find("Fashion-MNIST", "both", "pretraining, shared", "final_error")
    assert last.values == tuple(curve[-1] for curve in errors)
    one_seed = [run for run in runs if run.seed == 0]
    assert "±" not in summary.score_table(one_seed).loc["DEC"]["final model (fair)", "ACC"]
    assert summary.checks(runs)[0].endswith("8/8")


def test_pixels_stand_beside_the_others(finished, tmp_path):
    _, runs = finished
    config = fashion.Config(n_images=90, n_components=3, n_iterations=1, n_local_steps=1)
    store = deep.ResultStore("fashion", config, module=fashion.__name__, root=tmp_path)
    raw = [fashion.run_seed(config, 0, synthetic(90, 784), store=store)]
    row = summary.score_table(runs, raw).loc["BigLearn-EM on pixels"]
    assert row["final model (fair)", "ACC"] == f"{raw[0].final.acc:.3f}"
    assert row["cost", "parameters"] == f"{2 + 3 * 784 + 3 * 784 * 785 // 2:,}"
    axes = plots.plot_comparison(runs, raw).axes
    assert [t.get_text() for t in axes[0].get_yticklabels()][-1] == "BigLearn-EM on pixels"


def test_figures_show_what_the_runs_hold(finished):
    _, runs = finished
    axes = plots.plot_comparison(runs).axes
    assert [axis.get_xlabel() for axis in axes] == ["ACC", "NMI", "ARI"]
    crosses = [
        line.get_xdata()[0]
        for line in axes[0].lines
        if line.get_marker() == "x" and len(line.get_xdata())
    ]
    wanted = [FASHION_PEERS[name].acc for name in ("K-means", "AE + K-means", "DEC", "IDEC")]
    assert sorted(crosses) == sorted(wanted)
    losses, changes, scores = plots.plot_training(runs).axes
    assert len(losses.lines) == 4  # two autoencoders, two seeds
    assert len(changes.lines) == 5  # DEC and IDEC, two seeds, and the stop rule
    assert len(scores.lines) == 6


@pytest.fixture
def command(monkeypatch, images):
    monkeypatch.setattr(sys, "path", list(sys.path))
    return load_script("BL_vs_deepClustering/main_deep_clustering.py").main


def arguments(folder, *more):
    return [
        *("--data_size", "200", "--epochs", "1", "--updates", "2", "--steps", "1"),
        *("--device", "cpu", "--jobs", "1", "--out_dir", str(folder), *more),
    ]


def test_command_runs_methods_and_writes_the_record(command, tmp_path, capsys):
    record = tmp_path / "record.json"
    options = arguments(tmp_path, "--method", "ae-kmeans", "dec", "--seeds", "3", "4")
    assert command([*options, "--record", str(record)]) == 0
    printed = capsys.readouterr().out
    written = read_record(record, "deep_clustering_seeds")
    accuracies = {a.method: e for a, e in written.scores.items() if a[1::2] == ("fair", "acc")}
    assert set(accuracies) == {"ae-kmeans", "dec"}
    assert accuracies["dec"].seeds == (3, 4)
    assert re.search(rf"DEC .*{accuracies['dec'].with_std()} ", printed)
    assert written.settings["n_images"] == 200
    assert written.versions["torch"]
    assert len(list(tmp_path.glob("dec/*/seed_*.npz"))) == 2
    assert command(options) == 0  # reads what is there
    assert capsys.readouterr().out == printed


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (["--method", "dce"], r"invalid choice: 'dce'.*edesc"),
        (["--device", "cuda:7"], r"'cuda:7' is not there; there are: cpu"),
        (["--device", "tpu"], r"'tpu' is not there"),
        (["--epochs", "0"], r"at least 1, got 0"),
        (["--epochs", "two"], r"--epochs: must be a whole number, got two"),
        (["--seeds", "-1"], r"--seeds: must be a whole number from 0 to 4294967295, got -1"),
        (["--seeds", "0", str(2**64)], r"from 0 to 4294967295, got 18446744073709551616"),
        (["--seeds", str(2**32)], r"from 0 to 4294967295, got 4294967296"),
        (["--seeds", "nan"], r"--seeds: must be a whole number, got nan"),
    ],
)
def test_command_refuses(command, tmp_path, capsys, option, message):
    with pytest.raises(SystemExit) as refused:
        command([*arguments(tmp_path), *option])
    assert refused.value.code == 2
    assert re.search(message, capsys.readouterr().err)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: deep.Config(methods=("dce",)), r"no method 'dce'; there are: kmeans, .*edesc"),
        (lambda: replace(DEC, optimizer="lion"), r"sgd.*adam.*'lion'"),
        (lambda: deep.Config(seeds=(0, 1, 0)), r"seeds must differ .*\(0, 1, 0\)"),
        (lambda: deep.Config(methods=("dec", "dec")), r"methods must differ"),
        (lambda: deep.Config(seeds=(-1,)), r"must not be negative, got \(-1,\)"),
        (lambda: deep.Config(n_epochs=0), r"n_epochs must be at least 1, got 0"),
        (lambda: deep.Config(precision="low"), r"highest, high, medium; got 'low'"),
        (lambda: PretrainConfig(optimizer="lion"), r"sgd.*adam.*'lion'"),
        (lambda: replace(DEC, max_updates=0), r"max_updates must be at least 1, got 0"),
        (lambda: EDESCConfig(n_steps=0), r"n_steps must be at least 1, got 0"),
        (lambda: PretrainConfig(n_epochs=0), r"n_epochs must be at least 1, got 0"),
        (lambda: FeatureMixtureConfig(n_init=0), r"n_init must be at least 1, got 0"),
        (lambda: replace(DEC, max_updates=2**64), r"max_updates must be at most"),
        (lambda: replace(DEC, learning_rate=np.nan), r"learning_rate must be finite"),
        (lambda: replace(IDEC, tol=-1.0), r"tol must be finite and non-negative"),
        (lambda: PretrainConfig(momentum=np.inf), r"momentum must be finite"),
        (lambda: PretrainConfig(batch_size=0), r"batch_size must be at least 1, got 0"),
        (lambda: EDESCConfig(smoothing=np.nan), r"smoothing must be finite"),
    ],
)
def test_settings_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_published_settings():
    assert (DEC.optimizer, DEC.learning_rate, DEC.momentum) == ("sgd", 0.01, 0.9)
    assert (IDEC.optimizer, IDEC.learning_rate, IDEC.clustering_weight) == ("adam", 1e-3, 0.1)
    for config in (DEC, IDEC):
        assert (config.batch_size, config.update_interval) == (256, 140)
        assert (config.tol, config.n_init) == (1e-3, 20)
    assert PretrainConfig().hidden == (500, 500, 2000)
    assert PretrainConfig().n_code == 10
    shared = PretrainConfig()
    assert (shared.optimizer, shared.learning_rate, shared.momentum) == ("sgd", 1.0, 0.9)
    own = EDESCConfig().pretraining(10)
    assert (own.hidden, own.n_code, own.n_epochs, own.batch_size) == ((500, 500, 1000), 50, 50, 512)
    assert (own.optimizer, own.learning_rate) == ("adam", 1e-3)
    assert METHODS["edesc"].pretraining(deep.Config()).n_epochs == 50
    assert METHODS["edesc"].pretraining(deep.Config(n_epochs=3)).n_epochs == 3
    assert autoencoder.CodeKMeansConfig().n_init == 20
