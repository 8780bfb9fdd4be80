"""The Fashion-MNIST experiment and its command: scores, resume, kill -9, refusals."""

import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans

from biglearn_core import GMM
from biglearn_core.experiments import store as store_module
from biglearn_core.matching import TASK_KINDS, Schedule
from biglearn_core.metrics import score_labels
from biglearn_core.numerics import lowrank
from biglearn_core.reproduce.records import Record
from biglearn_core.system import devices, persistence
from BL_vs_deepClustering.pixels import figures as plots, run as fashion, tables as summary
from BL_vs_deepClustering.pixels.run import Config, Trace, most_likely, run_seed
from tests.BL_vs_deepClustering.small import (
    PIXELS as CONFIG,
    same_pixels as assert_same_run,
    store_at,
    wide_synthetic as synthetic,
)
from tests.helpers import ROOT, Killed, load_script


@pytest.fixture(autouse=True)
def few_dimensions_are_many(monkeypatch):
    """Take the low-rank form in the few dimensions that a quick test can afford."""
    monkeypatch.setattr(lowrank, "_LEAST_DIMENSION", 8)


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


def test_seeds_in_processes_of_their_own_end_as_one_by_one(tmp_path, monkeypatch):
    images, configs = synthetic(), [replace(CONFIG, seeds=(1, 2)), replace(CONFIG, start="kmeans")]
    begun = []

    def run_here(function, jobs, *, n_jobs, description):
        begun.extend((config.start, seed) for config, seed, _ in jobs)
        for job in jobs:
            function(*job)

    monkeypatch.setattr(fashion, "load_images", lambda n, *, device="cpu": images)
    monkeypatch.setattr(fashion, "run_jobs", run_here)
    one_by_one = fashion.run_configs(configs, root=tmp_path / "one", n_jobs=1)
    assert begun == []
    fashion.run_configs([replace(CONFIG, seeds=(2,))], root=tmp_path / "many")
    assert begun == []  # a single seed takes all threads
    together = fashion.run_configs(configs, root=tmp_path / "many")
    assert begun == [("paper", 1), ("kmeans", CONFIG.seeds[0])]
    assert [[run.seed for run in runs] for runs in together] == [[1, 2], list(CONFIG.seeds)]
    for runs, others in zip(together, one_by_one, strict=True):
        for run, other in zip(runs, others, strict=True):
            assert_same_run(run, other)


def test_configs_of_different_images_are_refused(tmp_path):
    configs = [CONFIG, replace(CONFIG, n_images=91)]
    with pytest.raises(ValueError, match=r"one number of images, got \[90, 91\]"):
        fashion.run_configs(configs, root=tmp_path)


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
    record = Record.of({**json.loads(json.dumps(summary.record(runs, runs[1:]))), "versions": {}})
    for method, group in (("BigLearn-EM", runs), ("BigLearn-EM, k-means start", runs[1:])):
        final, best = (record.find("Fashion-MNIST", p, method, "nmi") for p in ("fair", "paper"))
        assert final.by_seed == {run.seed: run.final.nmi for run in group}
        assert best.by_seed == {run.seed: run.best.nmi for run in group}
    assert record.settings == {"n_images": len(images.X), "n_iterations": CONFIG.n_iterations}
    assert summary.checks(runs)[1].endswith("2/2 seeds")
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


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"seeds": (-1,)}, ValueError, "seeds must be at least 0, got -1"),
        ({"seeds": (True,)}, TypeError, "seeds must be an integer"),
        ({"seeds": (2**32,), "start": "kmeans"}, ValueError, "seeds must be at most 4294967295"),
        ({"n_components": 0}, ValueError, "n_components must be at least 1"),
        ({"n_iterations": 1.5}, TypeError, "n_iterations must be an integer, got 1.5"),
        ({"covariance_floor": float("nan")}, ValueError, "covariance_floor must be finite"),
        ({"p_joint": float("nan")}, ValueError, "p_joint must be finite"),
        ({"beta": (float("nan"), 1.0)}, ValueError, r"beta\[0\] must be finite"),
        ({"transform": "shear"}, ValueError, "transform must be"),
        ({"chunk_size": 0}, ValueError, "chunk_size must be at least 1"),
    ],
)
def test_settings_out_of_range_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        Config(**options)


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
sys.path.insert(0, {root!r})
from biglearn_core.numerics import lowrank
from biglearn_core.system import persistence
lowrank._LEAST_DIMENSION = 8
import os, signal
from dataclasses import replace
from BL_vs_deepClustering.pixels.run import run_seed
from tests.BL_vs_deepClustering.small import PIXELS, store_at, wide_synthetic

class Slow:
    calls = 0

def replace_or_die(source, target, real=os.replace):
    Slow.calls += 1
    if Slow.calls == {die_in_save}:
        os.kill(os.getpid(), signal.SIGKILL)  # the temporary file stays behind
    real(source, target)

persistence.os.replace = replace_or_die
config = replace(PIXELS, n_iterations=30)
report = lambda trace: print(len(trace), flush=True)
run_seed(config, 1, wide_synthetic(), store=store_at({folder!r}, config), report=report)
"""


def start_process(folder, die_in_save=0):
    code = PROCESS.format(root=str(ROOT), folder=str(folder), die_in_save=die_in_save)
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
    unbroken = run_seed(config, 1, synthetic(), store=store_at(tmp_path / "unbroken", config))
    assert_same_run(run_seed(config, 1, synthetic(), store=store_at(tmp_path, config)), unbroken)


@pytest.fixture
def command(monkeypatch):
    """The script, on sixty synthetic images of 784 pixels."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    module = load_script("BL_vs_deepClustering/main_BigLearnEM.py")
    monkeypatch.setattr(fashion, "load_images", lambda n, *, device: synthetic(60, 784))
    monkeypatch.setattr(devices, "available_bytes", lambda device: 64 * 10**9)
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


OTHER_SETTINGS = [
    (["--kmeans_init"], "start: paper there, kmeans now"),
    (["--num_component", "4"], "n_components: 3 there, 4 now"),
    (["--data_size", "60"], "n_images: 70000 there, 60 now"),
    (["--eps", "0.1"], "covariance_floor: 0.05 there, 0.1 now"),
    (["--Niter", "3"], "n_iterations: 2 there, 3 now"),
    (["--P2", "0.6"], r"p_marginal: 0.09\d* there, 0.19\d* now"),
    (["--a_beta", "4"], r"beta: \[5.0, 1.0\] there, \[4.0, 1.0\] now"),
]


@pytest.fixture(params=["finished", "killed", "killed before the first task"])
def left(request, command, tmp_path, monkeypatch):
    """A folder where a run has ended, or was killed."""
    if request.param == "finished":
        assert command(arguments(tmp_path)) == 0
    else:
        number = 3 if request.param == "killed" else 1  # saves: start, scores, checkpoint
        with monkeypatch.context() as patch:
            kill_at_save(patch, number, renamed=True)
            with pytest.raises(Killed):
                command(arguments(tmp_path))
    return tmp_path


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(("other", "message"), OTHER_SETTINGS)
def test_command_refuses_to_resume_under_other_settings(command, left, capsys, other, message):
    before = contents(left)
    with pytest.raises(SystemExit) as refused:
        command(arguments(left, "--resume", *other))
    assert refused.value.code == 2
    told = capsys.readouterr()
    assert re.search(message, told.err)
    assert "seed_30." in told.err
    assert contents(left) == before
    assert command(arguments(left, "--resume")) == 0


def test_command_refuses_to_resume_with_other_code(command, left, capsys, monkeypatch):
    before = contents(left)
    with monkeypatch.context() as patch:
        patch.setattr(store_module, "code_digest", lambda module, **_: "0123456789ab")
        with pytest.raises(SystemExit) as refused:
            command(arguments(left, "--resume"))
    assert refused.value.code == 2
    assert re.search(r"code: \w{12} there, 0123456789ab now", capsys.readouterr().err)
    assert contents(left) == before


def test_command_refuses_to_resume_with_other_images(command, left, capsys, monkeypatch):
    before = contents(left)
    with monkeypatch.context() as patch:
        patch.setattr(fashion, "load_images", lambda n, *, device: synthetic(60, 784, seed=1))
        with pytest.raises(SystemExit) as refused:
            command(arguments(left, "--resume"))
    assert refused.value.code == 2
    assert re.search(r"data: .* there, .* now", capsys.readouterr().err)
    assert contents(left) == before


def test_a_refused_seed_leaves_the_others_untouched(command, tmp_path, capsys):
    assert command(arguments(tmp_path, "--seeds", "4")) == 0
    before = contents(tmp_path)
    with pytest.raises(SystemExit):
        command(arguments(tmp_path, "--seeds", "3", "4", "--resume", "--kmeans_init"))
    assert "seed_4.json" in capsys.readouterr().err
    assert contents(tmp_path) == before  # nothing of seed 3 was begun


def test_the_log_of_another_run_is_not_overwritten(command, tmp_path, capsys):
    assert command(arguments(tmp_path / "one", "--txt_dir", str(tmp_path))) == 0
    before = contents(tmp_path)
    with pytest.raises(SystemExit):
        command(arguments(tmp_path / "two", "--txt_dir", str(tmp_path), "--kmeans_init"))
    assert re.search(r"seed30\.txt is the log of .*name another --txt_dir", capsys.readouterr().err)
    assert contents(tmp_path) == before


def test_a_state_of_other_data_is_refused(tmp_path):
    store = store_at(tmp_path)

    def stop(trace):
        if len(trace) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_seed(CONFIG, 1, synthetic(), store=store, report=stop)
    with pytest.raises(ValueError, match=r"seed_1\.checkpoint\.npz .*data: float32 \(90, 30\)"):
        run_seed(CONFIG, 1, synthetic(seed=1), store=store)
    run_seed(CONFIG, 1, synthetic(), store=store)


def test_a_kmeans_start_is_drawn_once(tmp_path, monkeypatch):
    """Another time it may round otherwise, which would make the state that of another run."""
    config = replace(CONFIG, start="kmeans")
    store, images = store_at(tmp_path, config), synthetic()

    def stop(trace):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_seed(config, 1, images, store=store, report=stop)
    with monkeypatch.context() as patch:
        patch.setattr(fashion, "kmeans_start", None)
        run = run_seed(config, 1, images, store=store)
    assert_same_run(run, run_seed(config, 1, images, store=store_at(tmp_path / "other", config)))


@pytest.mark.parametrize("kind", ["start", "scores"])
@pytest.mark.parametrize("damage", ["another file", "a column less", "shorter"])
def test_foreign_or_incomplete_states_are_named(tmp_path, kind, damage):
    store = store_at(tmp_path)

    def stop(trace):
        if len(trace) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_seed(CONFIG, 1, synthetic(), store=store, report=stop)
    path = store.folder / f"seed_1.{kind}.npz"
    arrays = persistence.load_arrays(path)
    if damage == "another file":
        arrays = {"x": np.arange(3)}
    elif damage == "a column less":
        del arrays["origin" if kind == "start" else "acc"]
    else:
        arrays = {n: a[:1] if a.ndim else np.array("{}") for n, a in arrays.items()}
    persistence.save_arrays(path, arrays)
    with pytest.raises(ValueError, match=rf"seed_1\.{kind}\.npz .*delete"):
        run_seed(CONFIG, 1, synthetic(), store=store)


def test_a_state_without_its_start_is_not_taken_on_trust(tmp_path):
    store = store_at(tmp_path)

    def stop(trace):
        if len(trace) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_seed(CONFIG, 1, synthetic(), store=store, report=stop)
    (store.folder / "seed_1.start.npz").unlink()
    with pytest.raises(ValueError, match=r"checkpoint\.npz lacks seed_1\.start\.npz .*delete it"):
        run_seed(CONFIG, 1, synthetic(), store=store)
    (store.folder / "seed_1.checkpoint.npz").unlink()
    run_seed(CONFIG, 1, synthetic(), store=store)


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
        (["--seeds", "-1"], r"from 0 to 18446744073709551615, got -1"),
        (["--seeds", "1", str(2**64)], r"from 0 to 18446744073709551615, got 18446744073709551616"),
        (["--seeds", str(2**32), "--kmeans_init"], r"seeds must be at most 4294967295"),
        (["--seeds", "1.5"], r"--seeds: must be a whole number, got 1.5"),
        (["--a_beta", "nan"], r"--a_beta: must be finite, got nan"),
        (["--b_beta", "inf"], r"--b_beta: must be finite, got inf"),
        (["--b_beta", "0"], r"beta\[1\] must be finite and positive, got 0"),
        (["--P1", "nan"], r"--P1: must be finite, got nan"),
        (["--P2", "NaN"], r"--P2: must be finite, got NaN"),
        (["--eps", "nan"], r"--eps: must be finite, got nan"),
        (["--eps", "1e400"], r"--eps: must be finite, got 1e400"),
        (["--eps", "-0.1"], r"covariance_floor must be finite and non-negative, got -0.1"),
        (["--eps", "1e300"], r"covariance_floor must be 0, or from .*float32.*got 1e\+300"),
        (["--eps", "1e300", "--kmeans_init"], r"covariance_floor must be 0, or from .*float32"),
        (["--num_component", "100000"], r"n_components=100000 in 784 dimensions needs 737\.6 GB"),
        (["--num_component", "many"], r"--num_component: must be a whole number, got many"),
        (["--chunk_size", str(2**63)], r"chunk_size must be at most 9223372036854775807"),
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
