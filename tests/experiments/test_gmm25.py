"""The 25-GMM experiment: the published streams, resume, one result however it is computed."""

import dataclasses

import numpy as np
import pytest
import torch
from torch.distributions import Categorical

from biglearn_core.experiments.gmm25 import run as gmm25, tables
from biglearn_core.experiments.gmm25.peers import PeersConfig, run_peers
from biglearn_core.experiments.gmm25.run import Config, draw_data, run
from biglearn_core.experiments.published import GMM25_JOINT_EM_FINAL_KL
from biglearn_core.experiments.store import write_record
from biglearn_core.metrics import KLEvaluator
from biglearn_core.reproduce.records import read_record
from tests.experiments.small import GMM25 as SMALL, same_gmm25 as same_runs
from tests.helpers import assert_same_model


def test_data_replay_the_published_streams():
    """The recipe of the published run, with the global generator, beside ours without it."""
    with torch.random.fork_rng():
        torch.manual_seed(5079)
        grid = torch.tensor([[x, y] for x in range(-4, 5, 2) for y in range(-4, 5, 2)]).float()
        parts = []
        for n in (2000, 5000):
            z = Categorical(torch.full((25,), 1 / 25)).sample((n,))
            parts.append(grid[z] + torch.tensor(0.1).sqrt() * torch.randn([n, 2]))
        start = torch.randn(25, 2)
    data = draw_data(5079)
    torch.testing.assert_close(data.X_train.float(), parts[0])
    torch.testing.assert_close(data.X_test.float(), parts[1])
    torch.testing.assert_close(data.start.means.float(), start)


@pytest.mark.parametrize(("seed", "published"), GMM25_JOINT_EM_FINAL_KL.items())
def test_joint_em_replays_the_published_run(seed, published):
    data = draw_data(seed)
    model = gmm25.fit_method("Joint-EM", data, Config(), seed=seed).model
    assert KLEvaluator(data.truth, data.X_test)(model).joint == pytest.approx(published, abs=5e-5)


def test_biglearn_em_escapes_where_joint_em_is_stuck():
    """A tenth of the published iterations, on seeds that nobody chose; fair: a matching task leaves
    anything, and joint steps end the fit.
    """
    config = Config(biglearn_iterations=200)
    for seed in (101, 102, 103):
        data = draw_data(seed)
        evaluate = KLEvaluator(data.truth, data.X_test)
        kl = {
            method: evaluate(gmm25.optimum(data, config, start=fitted.model).model).joint
            for method in gmm25.METHODS
            for fitted in [gmm25.fit_method(method, data, config, seed=seed)]
        }
        assert kl["BigLearn-EM"] < 0.8 * kl["Joint-EM"]


def test_alone_in_parallel_and_resumed_are_the_same(tmp_path, monkeypatch):
    parallel = run(SMALL, root=tmp_path / "parallel", n_jobs=2)
    alone = [
        run(dataclasses.replace(SMALL, seeds=(s,)), root=tmp_path / "alone")[0] for s in (1, 2)
    ]
    same_runs(parallel, alone)

    def fail_on_second(config, seed):
        if seed == 2:
            raise KeyboardInterrupt
        return original(config, seed)

    original = gmm25._run_seed
    monkeypatch.setattr(gmm25, "_run_seed", fail_on_second)
    with pytest.raises(KeyboardInterrupt):
        run(SMALL, root=tmp_path / "broken", n_jobs=1)
    monkeypatch.setattr(gmm25, "_run_seed", original)
    finished = next((tmp_path / "broken").rglob("seed_1.json"))
    written = finished.stat().st_mtime_ns
    same_runs(run(SMALL, root=tmp_path / "broken", n_jobs=1), parallel)
    assert finished.stat().st_mtime_ns == written

    def never(*_):
        raise AssertionError("a finished run computes nothing")

    monkeypatch.setattr(gmm25, "_run_seed", never)
    same_runs(run(SMALL, root=tmp_path / "parallel"), parallel)


def test_results_tell_what_they_are(tmp_path):
    (first, _) = run(SMALL, root=tmp_path, n_jobs=1)
    biglearn = first.methods["BigLearn-EM"]
    assert biglearn.kl.shape == (8, 5)
    assert biglearn.min_kl == biglearn.kl[:, 0].min()
    np.testing.assert_allclose(biglearn.kl[:, 0] - biglearn.kl[:, 1], biglearn.kl[:, 3], atol=1e-12)
    assert len(biglearn.snapshots) == len(biglearn.snapshot_iterations)
    assert_same_model(biglearn.snapshots[-1], biglearn.final, rtol=0, atol=0)
    data = draw_data(1, n_train=150, n_test=200)
    exact = KLEvaluator(data.truth, data.X_test)(biglearn.final).joint
    assert biglearn.final_kl == exact
    assert abs(biglearn.kl[-1, 0] - exact) < 2e-5


def test_the_record_has_what_the_runs_have(tmp_path):
    runs = run(SMALL, root=tmp_path, n_jobs=1)
    path = tmp_path / "summary.json"
    write_record(path, tables.record(runs))
    record = read_record(path, "gmm25")
    assert record.settings == {"iterations": {"Joint-EM": 6, "BigLearn-EM": 8}}
    for method in gmm25.METHODS:
        found = {
            metric: record.find("25-GMM", protocol, method, metric).by_seed
            for protocol, metric in (
                *(("paper", "min_kl"), ("paper", "final_kl"), ("fair", "fair_kl")),
                *(("fair", "at_optimum"), ("both", "seconds")),
            )
        }
        for r in runs:
            mine = r.methods[method]
            assert found["at_optimum"].pop(r.seed) == r.at_optimum(method)
            for metric in ("min_kl", "final_kl", "fair_kl", "seconds"):
                assert found[metric].pop(r.seed) == getattr(mine, metric)
        assert not any(found.values())
    optima = record.find("25-GMM", "fair", "the truth", "fair_kl")
    assert optima.values == tuple(r.optimum_kl for r in runs)


def test_one_seed_has_a_mean_and_no_deviation(tmp_path):
    runs = run(dataclasses.replace(SMALL, seeds=(1,)), root=tmp_path, n_jobs=1)
    table = tables.paper_versus_ours(runs)
    mean = f"{runs[0].methods['Joint-EM'].min_kl:.4f}"
    assert table.loc["Joint-EM", "ours, least KL (paper)"] == mean
    assert table.loc["Joint-EM", "published, least KL"] == "0.2633 ± 0.0347"


def test_peers_are_reported_beside_the_optimum(tmp_path):
    config = PeersConfig(seeds=(1,), n_train=1500, n_test=100, starts=("kmeans",), n_inits=(1,))
    rows = run_peers(config, root=tmp_path)
    assert [row["method"] for row in rows] == [
        "BigLearnEM, defaults",
        "scikit-learn, kmeans, n_init=1",
    ]
    assert all(row["test_kl"] > 0 and row["seconds"] > 0 for row in rows)
    assert run_peers(config, root=tmp_path) == rows


def test_an_unwritable_root_is_a_clear_error(tmp_path):
    (tmp_path / "results").write_text("a file")
    with pytest.raises(OSError, match="output folder"):
        run(SMALL, root=tmp_path / "results", n_jobs=1)
