"""The Fashion-MNIST experiment and its command: scores, resume, kill -9, refusals."""

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans

from biglearn_core import GMM, lowrank, persistence
from biglearn_core.experiments import fashion
from biglearn_core.experiments import fashion_summary as summary
from biglearn_core.experiments.fashion import Config, Images, Trace, most_likely, run_seed
from biglearn_core.experiments.store import ResultStore
from biglearn_core.matching import TASK_KINDS, Schedule
from biglearn_core.metrics import score_labels
from biglearn_core.plots import fashion as plots

ROOT = Path(__file__).resolve().parents[1]
CONFIG = Config(n_images=90, n_components=3, n_iterations=4, n_local_steps=2)


@pytest.fixture(autouse=True)
def few_dimensions_are_many(monkeypatch):
    """Take the low-rank form in the few dimensions that a quick test can afford."""
    monkeypatch.setattr(lowrank, "_LEAST_DIMENSION", 8)


def synthetic(n=90, n_pixels=30, seed=0):
    """Images of three classes that spread along few directions."""
    rng = np.random.default_rng(seed)
    classes = np.arange(n) % 3
    centres = rng.uniform(0, 1, (3, n_pixels))
    spread = rng.standard_normal((n, 4)) @ rng.normal(0, 0.3, (4, n_pixels))
    X = centres[classes] + spread + rng.normal(0, 0.05, (n, n_pixels))
    return Images(torch.tensor(X, dtype=torch.float32), classes)


def store_at(folder, config=CONFIG):
    return ResultStore("fashion", config, module=fashion.__name__, root=folder)


def assert_same_run(run, other):
    for name in ("weights", "means", "covariances"):
        assert torch.equal(getattr(run.model, name), getattr(other.model, name)), name
    np.testing.assert_array_equal(run.clusters, other.clusters)
    for name, column in run.trace.arrays().items():
        if "seconds" not in name:
            np.testing.assert_array_equal(column, other.trace.arrays()[name])


def test_trace_says_what_the_run_did(tmp_path):
    images = synthetic()
    traces = []
    run = run_seed(CONFIG, 1, images, store=store_at(tmp_path), report=traces.append)
    assert [len(trace) for trace in traces] == [1, 2, 3, 4]
    schedule = Schedule(n_features=30, seed=1)
    for i in range(4):
        task = schedule.task(i, i / 4)
        assert TASK_KINDS[run.trace.task[i]] == task.kind
        assert run.trace.n_coordinates[i] == (30 if task.index is None else len(task.index))
    log_prob = run.model.log_prob(images.X)
    assert run.log_likelihood == pytest.approx(log_prob.double().mean().item(), abs=1e-4)
    np.testing.assert_array_equal(run.clusters, run.model.predict(images.X))
    assert run.final == score_labels(images.classes, run.clusters)
    assert run.best.acc == run.trace.acc.max() >= run.final.acc
    assert run.best.nmi == run.trace.nmi.max()
    assert run.peak_bytes > 10 * 2**20
    assert (run.trace.fit_seconds > 0).all()


def test_outline_is_that_of_the_task():
    schedule = Schedule(n_features=50, seed=3)
    outlines = [schedule.outline(i) for i in range(60)]
    assert {kind for kind, _ in outlines} == set(TASK_KINDS)
    for i, (kind, size) in enumerate(outlines):
        task = schedule.task(i)
        assert (task.kind, 50 if task.index is None else len(task.index)) == (kind, size)


def test_a_finished_run_is_loaded_not_repeated(tmp_path):
    images = synthetic()
    run = run_seed(CONFIG, 1, images, store=store_at(tmp_path))

    def refuse(trace):
        raise AssertionError("an iteration was run")

    assert_same_run(run, run_seed(CONFIG, 1, images, store=store_at(tmp_path), report=refuse))


def test_choice_between_runs_ignores_labels(tmp_path):
    images = synthetic()
    runs = [run_seed(CONFIG, seed, images, store=store_at(tmp_path)) for seed in (1, 2, 3)]
    chosen = most_likely(runs)
    assert chosen.log_likelihood == max(run.log_likelihood for run in runs)
    blind = [replace(run, classes=run.classes * 0) for run in runs]
    assert most_likely(blind).seed == chosen.seed


@pytest.mark.parametrize("seed", range(3))
def test_kmeans_start_is_one_m_step_from_its_labels(seed):
    X = synthetic(seed=seed).X
    model = fashion._start(replace(CONFIG, start="kmeans"), seed, X)
    labels = KMeans(3, n_init=1, random_state=seed).fit_predict(X.numpy())
    for k in range(3):
        members = X[torch.from_numpy(labels == k)].double()
        values, vectors = torch.linalg.eigh(torch.cov(members.T, correction=0))
        covariance = vectors * values.clamp_min(0.05) @ vectors.T
        assert model.weights[k].item() == pytest.approx(len(members) / len(X))
        torch.testing.assert_close(model.means[k].double(), members.mean(0), atol=1e-5, rtol=0)
        torch.testing.assert_close(model.covariances[k].double(), covariance, atol=1e-4, rtol=0)
    assert model.low_rank is not None


def test_tables_keep_the_protocols_apart(tmp_path):
    images = synthetic()
    runs = [run_seed(CONFIG, seed, images, store=store_at(tmp_path)) for seed in (1, 2)]
    table = summary.score_table(runs)
    for run in runs:
        row = table.loc[run.seed]
        assert row["final model (fair)"]["ACC"] == score_labels(run.classes, run.clusters).acc
        paper = row["best over iterations, chosen with labels (paper)"]
        assert paper["NMI"] == run.trace.nmi.max()
    assert table["training", "chosen"].sum() == 1
    record = json.loads(json.dumps(summary.record(runs)))
    assert [entry["final"]["nmi"] for entry in record["runs"]] == [r.final.nmi for r in runs]
    assert (summary.cost_table(runs)["minutes"] > 0).all()


def test_figures_show_what_the_run_holds(tmp_path):
    run = run_seed(CONFIG, 1, synthetic(n_pixels=784), store=store_at(tmp_path))
    axes = plots.plot_components(run).axes
    heaviest = int(run.model.weights.argmax())
    shown = axes[0].images[0].get_array().reshape(-1)
    np.testing.assert_allclose(shown, run.model.means[heaviest], atol=1e-6)
    assert axes[0].get_ylabel().startswith(f"{run.model.weights.max():.2f}")
    matrix = plots.plot_confusion(run).axes[0]
    np.testing.assert_allclose(matrix.images[0].get_array().sum(axis=0), 1)
    framed = sum(
        float(matrix.images[0].get_array()[round(p.get_y() + 0.5), round(p.get_x() + 0.5)]) / 3
        for p in matrix.patches
    )  # the three classes are equally large
    assert framed == pytest.approx(run.final.acc)
    curves = plots.plot_scores([run]).axes
    np.testing.assert_array_equal(curves[0].lines[0].get_ydata(), run.trace.acc)
    np.testing.assert_array_equal(curves[3].lines[0].get_ydata(), run.trace.log_likelihood)
    points = [p.get_offsets() for p in plots.plot_seconds(run).axes[0].collections]
    assert sum(map(len, points)) == len(run.trace)


def test_unknown_start_is_refused():
    with pytest.raises(ValueError, match=r"paper.*kmeans.*'random'"):
        Config(start="random")


class Killed(BaseException):
    """Stands for the death of the process."""


def kill_at_save(monkeypatch, number, *, renamed):
    """Die in the given save: before its file is renamed into place, or just after."""
    real, calls = os.replace, [0]

    def replace_or_die(source, target):
        calls[0] += 1
        if calls[0] == number and not renamed:
            raise Killed
        real(source, target)
        if calls[0] == number:
            raise Killed

    monkeypatch.setattr(persistence.os, "replace", replace_or_die)


@pytest.mark.parametrize("renamed", [False, True])
def test_killed_in_any_save_it_goes_on_to_the_same_model(tmp_path, monkeypatch, renamed):
    images = synthetic()
    unbroken = run_seed(CONFIG, 1, images, store=store_at(tmp_path / "unbroken"))
    n_saves = 2 * CONFIG.n_iterations + 4  # start, scores and checkpoint each, model, two results
    for number in range(1, n_saves + 1):
        store = store_at(tmp_path / f"{number}")
        with monkeypatch.context() as patch:
            kill_at_save(patch, number, renamed=renamed)
            with pytest.raises(Killed):
                run_seed(CONFIG, 1, images, store=store)
        assert_same_run(run_seed(CONFIG, 1, images, store=store), unbroken)


PROCESS = """
import sys
import torch
torch.set_num_threads(1)
sys.path[:0] = [{root!r}, {tests!r}]
from biglearn_core import lowrank, persistence
lowrank._LEAST_DIMENSION = 8
import os, signal
from dataclasses import replace
import test_fashion as t

class Slow:
    calls = 0

def replace_or_die(source, target, real=os.replace):
    Slow.calls += 1
    if Slow.calls == {die_in_save}:
        os.kill(os.getpid(), signal.SIGKILL)  # the temporary file stays behind
    real(source, target)

persistence.os.replace = replace_or_die
config = replace(t.CONFIG, n_iterations=30)
report = lambda trace: print(len(trace), flush=True)
t.run_seed(config, 1, t.synthetic(), store=t.store_at({folder!r}, config), report=report)
"""


def start_process(folder, die_in_save=0):
    code = PROCESS.format(
        root=str(ROOT), tests=str(ROOT / "tests"), folder=str(folder), die_in_save=die_in_save
    )
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


def test_kill_9_of_a_real_process(tmp_path):
    config = replace(CONFIG, n_iterations=30)
    with start_process(tmp_path, die_in_save=10) as process:
        first = process.stdout.read().split()
    assert process.returncode == -signal.SIGKILL
    assert 0 < len(first) < 30
    with start_process(tmp_path) as process:
        process.stdout.readline()
        process.kill()  # wherever it is
        process.stdout.read()
    assert process.returncode == -signal.SIGKILL
    with start_process(tmp_path) as process:
        rest = [int(line) for line in process.stdout.read().split()]
    assert process.returncode == 0
    assert rest[0] > len(first)  # it did not begin anew
    assert rest[-1] == 30
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in the processes: sums in another order round otherwise
    try:
        unbroken = run_seed(config, 1, synthetic(), store=store_at(tmp_path / "unbroken", config))
    finally:
        torch.set_num_threads(threads)
    assert_same_run(run_seed(config, 1, synthetic(), store=store_at(tmp_path, config)), unbroken)


@pytest.fixture
def command(monkeypatch):
    """The script, on sixty synthetic images of 784 pixels."""
    path = ROOT / "BL_vs_deepClustering" / "main_BigLearnEM.py"
    spec = importlib.util.spec_from_file_location("main_BigLearnEM", path)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setattr(sys, "path", list(sys.path))
    spec.loader.exec_module(module)
    monkeypatch.setattr(fashion, "load_images", lambda n, *, device: synthetic(60, 784))
    return module.main


def arguments(folder, *more):
    return [
        *("--Niter", "2", "--NITnei", "1", "--eps", "0.05", "--P1", "0.4", "--P2", "0.5"),
        *("--num_component", "3", "--device", "cpu"),
        *("--out_dir", str(folder), "--txt_dir", str(folder / "txt")),
        *more,
    ]


def test_command_writes_models_scores_and_text(command, tmp_path, capsys):
    assert command(arguments(tmp_path, "--seeds", "5", "6")) == 0
    printed = capsys.readouterr().out
    for seed in (5, 6):
        model = GMM.load(tmp_path / f"seed_{seed}.model.npz")
        assert model.means.shape == (3, 784)
        assert model.low_rank is not None
        summary = json.loads((tmp_path / f"seed_{seed}.json").read_text())
        text = (tmp_path / "txt" / f"BigLearnEM_FashionMNIST_seed{seed}.txt").read_text()
        lines = [line for line in text.splitlines() if re.match(r" +\d+  ", line)]
        assert len(lines) == 2
        assert all(line in printed for line in lines)
        kind, size, acc, nmi, ari, log_likelihood, _ = lines[-1].split()[1:]
        assert kind in TASK_KINDS
        assert 1 <= int(size) <= 784
        final = summary["final"]
        assert [float(acc), float(nmi), float(ari)] == pytest.approx(
            [final["acc"], final["nmi"], final["ari"]], abs=1e-4
        )
        assert float(log_likelihood) == pytest.approx(summary["log_likelihood"], abs=1e-3)
        assert f"final model (fair): ACC {final['acc']:.4f}" in text
        assert "chosen with labels" in text
    assert "highest training log-likelihood: seed" in printed


def test_command_does_not_overwrite(command, tmp_path, capsys):
    assert command(arguments(tmp_path)) == 0
    with pytest.raises(SystemExit) as refused:
        command(arguments(tmp_path))
    assert refused.value.code == 2
    assert "--resume" in capsys.readouterr().err
    assert command(arguments(tmp_path, "--resume")) == 0


def test_command_refuses_to_resume_under_other_settings(command, tmp_path, capsys):
    assert command(arguments(tmp_path)) == 0
    with pytest.raises(SystemExit):
        command(arguments(tmp_path, "--resume", "--eps", "0.1"))
    assert "covariance_floor: 0.05 there, 0.1 now" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (["--device", "cuda:7"], r"'cuda:7' is not there; there are: cpu"),
        (["--device", "tpu"], r"'tpu' is not there"),
        (["--x_dim", "100"], r"784; got 100"),
        (["--P1", "0.6"], r"0 <= P1 <= P2 <= 1; got 0.6 and 0.5"),
        (["--Niter", "0"], r"at least 1, got 0"),
        (["--dataset", "MNIST"], r"invalid choice: 'MNIST'"),
        (["--kmeans_init", "perhaps"], r"true or false, got perhaps"),
    ],
)
def test_command_refuses(command, tmp_path, capsys, option, message):
    with pytest.raises(SystemExit) as refused:
        command(arguments(tmp_path, *option))
    assert refused.value.code == 2
    assert re.search(message, capsys.readouterr().err)
    assert not list(tmp_path.iterdir())


def test_defaults_are_the_published_settings(command, monkeypatch, tmp_path):
    seen = []

    def record(config, seed, images, *, store, report):
        seen.append((config, seed))
        raise KeyboardInterrupt

    monkeypatch.setattr(fashion, "run_seed", record)
    assert command(["--device", "cpu", "--out_dir", str(tmp_path)]) == 130
    ((config, seed),) = seen
    assert (config, seed) == (Config(p_marginal=config.p_marginal), 30)
    assert config.p_marginal == pytest.approx(0.1)
    assert (config.n_iterations, config.covariance_floor, config.start) == (70, 0.05, "paper")


def test_line_stands_under_its_header():
    trace = Trace(
        **{
            name: np.array([value])
            for name, value in {
                "task": 2, "n_coordinates": 650, "acc": 0.65, "nmi": 0.62, "ari": 0.5,
                "log_likelihood": 340.1234, "fit_seconds": 6.0, "score_seconds": 1.5,
            }.items()
        }
    )  # fmt: skip
    line, header = trace.line(0), Trace.header()
    assert len(line) == len(header)
    assert line.split() == [
        "1", "transformed", "650", "0.6500", "0.6200", "0.5000", "340.1234", "7.5"
    ]  # fmt: skip
