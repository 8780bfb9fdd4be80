"""Results are computed once, by whoever comes first, and their keys say what they depend on."""

import os
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from biglearn_core.experiments import code_digest as digest_module, config as config_module
from biglearn_core.experiments.config import ScheduleConfig
from biglearn_core.experiments.gmm25 import run as gmm25
from biglearn_core.experiments.jobs import Job, load_or_run, run_missing
from biglearn_core.experiments.realworld import run as realworld
from biglearn_core.experiments.recording import Recorder
from biglearn_core.experiments.store import ResultStore
from biglearn_core.fit import fit_biglearn_em
from biglearn_core.matching import Schedule
from biglearn_core.system import stopwatch
from biglearn_core.system.stopwatch import Stopwatch
from BL_vs_deepClustering.pixels import run as pixels
from tests.helpers import ROOT, assert_same_model, random_gmm, random_points


@dataclass(frozen=True)
class Settings:
    rate: float = 0.5


def store_at(root):
    return ResultStore("toy", Settings(), module="biglearn_core.gmm", root=root)


def square(log, x):
    (log / f"{x}_by_{os.getpid()}").touch()
    if x < 0:
        raise RuntimeError("there is no such square")
    return {"square": x * x}, {"x": np.array([x])}


def jobs_at(root, numbers):
    log = root / "log"
    log.mkdir(exist_ok=True)
    store = store_at(root)
    return [Job(store, f"number_{abs(x)}", (log, x)) for x in numbers], log


def test_what_is_there_is_loaded_and_the_rest_computed_in_order(tmp_path):
    jobs, log = jobs_at(tmp_path, [3, 1, 2])
    jobs[1].store.save("number_1", {"square": "of another time"}, {})
    results = run_missing(square, jobs, n_jobs=1, description="")
    assert [result.summary["square"] for result in results] == [9, "of another time", 4]
    assert {path.name.partition("_")[0] for path in log.iterdir()} == {"2", "3"}
    for path in log.iterdir():
        path.unlink()
    again = run_missing(square, jobs, n_jobs=1, description="")
    assert [result.summary for result in again] == [result.summary for result in results]
    np.testing.assert_array_equal(again[0].arrays["x"], [3])
    assert not list(log.iterdir())


def test_what_was_done_before_a_failure_is_kept(tmp_path):
    jobs, _ = jobs_at(tmp_path, [1, -2, 3])
    with pytest.raises(RuntimeError, match="no such square"):
        run_missing(square, jobs, n_jobs=1, description="")
    assert [job.store.load(job.name) is None for job in jobs] == [False, True, True]


def test_processes_that_need_the_same_result_wait_for_the_first(tmp_path):
    jobs, log = jobs_at(tmp_path, [5] * 4)
    results = run_missing(square, jobs, n_jobs=2, description="")
    assert [result.summary["square"] for result in results] == [25] * 4
    assert len(list(log.iterdir())) == 1


def test_the_state_of_a_computation_goes_once_its_result_is_saved(tmp_path):
    store = store_at(tmp_path)

    def compute():
        store.checkpoint("one").write_bytes(b"half")
        return {}, {}

    load_or_run(store, "one", compute)
    assert not store.checkpoint("one").exists()
    store.checkpoint("one").touch()
    load_or_run(store, "one", compute)  # what is there is only read
    assert store.checkpoint("one").exists()


# Keys


def keys(module, config, monkeypatch):
    """Keys of the results that an experiment would compute."""
    seen = []

    def stop(compute, jobs, **_):
        seen.extend(job.store.key for job in jobs)
        raise InterruptedError

    with monkeypatch.context() as patch:
        patch.setattr(module, "run_missing", stop)
        with pytest.raises(InterruptedError):
            module.run(config)
    return seen


def touch(monkeypatch, tmp_path, name):
    """Let a source of the core look changed."""
    source = ROOT / "biglearn_core" / name
    changed = tmp_path / "changed.py"
    changed.write_text(source.read_text(encoding="utf-8") + "\nchanged = True\n", encoding="utf-8")
    original = digest_module.code_files

    def files(*arguments, **options):
        found = original(*arguments, **options)
        return {name: changed if path == source else path for name, path in found.items()}

    monkeypatch.setattr(digest_module, "code_files", files)


GLASS = realworld.Config(dataset="glass", seeds=(0, 1))


@pytest.mark.parametrize(
    ("module", "config", "name", "counts"),
    [
        (gmm25, gmm25.Config(seeds=(1,)), "em.py", True),
        (gmm25, gmm25.Config(seeds=(1,)), "search/missing.py", False),
        (gmm25, gmm25.Config(seeds=(1,)), "search/search.py", False),
        (gmm25, gmm25.Config(seeds=(1,)), "estimators/biglearn.py", False),
        (realworld, GLASS, "em.py", True),
        (realworld, GLASS, "experiments/realworld/peers.py", True),
        (realworld, GLASS, "datasets/downloads.py", False),
        (realworld, GLASS, "datasets/load.py", False),
        (realworld, GLASS, "datasets/readers/table.py", False),
    ],
)
def test_a_key_depends_on_the_code_that_computes(
    module, config, name, counts, monkeypatch, tmp_path
):
    before = keys(module, config, monkeypatch)
    touch(monkeypatch, tmp_path, name)
    after = keys(module, config, monkeypatch)
    assert [a != b for a, b in zip(before, after, strict=True)] == [counts] * len(before)


@pytest.mark.parametrize(
    ("name", "counts"),
    [("em.py", True), ("datasets/downloads.py", False), ("datasets/fashion_mnist.py", False)],
)
def test_the_key_of_the_pixels_depends_on_images_and_not_on_their_readers(
    name, counts, monkeypatch, tmp_path
):
    images = pixels.Images(torch.zeros(3, 4), np.arange(3))
    other = pixels.Images(torch.ones(3, 4), np.arange(3))
    before = pixels.open_store(pixels.Config(), images).key
    assert pixels.open_store(pixels.Config(), other).key != before
    assert pixels.open_store(pixels.Config(), replace(images, classes=np.zeros(3))).key != before
    touch(monkeypatch, tmp_path, name)
    assert (pixels.open_store(pixels.Config(), images).key != before) == counts


def test_the_code_of_a_reader_is_left_out_only_for_what_it_read(tmp_path):
    def store(module, **read):
        return ResultStore("toy", Settings(), module=module, root=tmp_path, **read)

    module, readers = realworld.__name__, "biglearn_core.datasets"
    stores = [store(module), store(module, read={readers: "a"}), store(module, read={readers: "b"})]
    assert len({s.key for s in stores}) == 3
    assert stores[0].code != stores[1].code == stores[2].code
    with pytest.raises(ValueError, match=r"does not import 'biglearn_core\.nothing', which was to"):
        store(module, read={"biglearn_core.nothing": "a"})


# What is measured on the way


def test_seconds_are_those_of_the_fit_alone(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(stopwatch.time, "perf_counter", lambda: now[0])

    def evaluate(model):
        now[0] += 50
        return model.n_components

    recorder = Recorder(size=({0, 2}, evaluate), model=({1}, lambda model: model))
    models = [random_gmm(seed, K=seed + 1) for seed in range(4)]
    for iteration, model in enumerate(models):
        now[0] += 1
        recorder(iteration, model)
    assert recorder.iterations == {"size": [0, 2], "model": [1]}
    assert recorder.values == {"size": [1, 3], "model": [models[1]]}
    assert recorder.clock.read() == 4
    assert Stopwatch(30.0).read() == 30


# Settings


def test_every_setting_of_the_schedule_reaches_the_fit(monkeypatch):
    settings = {
        "n_local_steps": 2,
        "p_joint": 0.2,
        "p_marginal": 0.3,
        "beta": (2.0, 3.0),
        "transform": "rotation",
        "covariance_floor": 0.3,
    }
    own = {"n_iter": 6, "weight_smoothing": 0.1, "seed": 3, "chunk_size": 70}
    X, start, given = random_points(0), random_gmm(0), []

    def spy(*arguments, **options):
        given.append((arguments, options))
        return fit_biglearn_em(*arguments, **options)

    monkeypatch.setattr(config_module, "fit_biglearn_em", spy)
    found = ScheduleConfig(**settings).fit(X, start, **own).model
    assert given == [((X, start), settings | own)]
    assert_same_model(found, fit_biglearn_em(X, start, **settings, **own).model, rtol=0, atol=0)
    schedule = Schedule(
        n_features=3,
        seed=3,
        **{name: settings[name] for name in ("p_joint", "p_marginal", "beta", "transform")},
    )
    assert ScheduleConfig(**settings).schedule(3, seed=3) == schedule


@pytest.mark.parametrize("experiment", [gmm25, realworld, pixels])
def test_a_schedule_that_is_none_is_refused_at_once(experiment):
    with pytest.raises(ValueError, match="p_joint and p_marginal must be"):
        experiment.Config(p_joint=0.7, p_marginal=0.5)
    with pytest.raises(ValueError, match="beta must be two positive numbers"):
        experiment.Config(beta=(1.0,))
