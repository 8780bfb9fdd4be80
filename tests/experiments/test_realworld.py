"""The real-world experiment: settings, one result however computed, scores, faults in the data."""

import dataclasses
import json
import os
import subprocess
import sys
import textwrap
import warnings

import numpy as np
import pytest
import torch
import yaml
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from sklearn.mixture import BayesianGaussianMixture, GaussianMixture

from biglearn_core.datasets import load_dataset
from biglearn_core.datasets.registry import REGISTRY
from biglearn_core.experiments.published import PENDIGITS
from biglearn_core.experiments.realworld import (
    figures as plots,
    run as realworld,
    tables as summary,
)
from biglearn_core.experiments.realworld.peers import PEERS, fit_peer
from biglearn_core.experiments.realworld.run import (
    METHODS,
    MethodRun,
    Scores,
    fit_method,
    load_data,
    run,
    run_sets,
    settings,
)
from biglearn_core.reproduce.records import Record
from tests.experiments.small import OURS, REALWORLD as SMALL, same_realworld as same_runs
from tests.helpers import assert_same_model, parameters as model_parameters
from tests.oracle import naive_log_prob


@pytest.fixture(scope="module")
def small_runs(tmp_path_factory):
    root = tmp_path_factory.mktemp("results")
    return root, run(SMALL, root=root, n_jobs=1)


# Settings


@pytest.mark.parametrize("name", [source.name for source in REGISTRY.values()])
def test_every_registered_set_has_settings_that_the_config_knows(name):
    assert name in yaml.safe_load(realworld._SETTINGS.read_text())
    for protocol in ("fair", "paper"):
        config = settings(name, protocol=protocol)
        assert (config.dataset, config.protocol) == (name, protocol)


def test_settings_are_the_papers_for_pendigits():
    fair, paper = (settings("Pendigits", protocol=protocol) for protocol in ("fair", "paper"))
    for config in (fair, paper):
        assert (config.n_components, config.covariance_floor, config.n_local_steps) == (12, 0.01, 5)
        assert (config.p_joint, config.p_marginal, config.beta) == (0.4, 0.1, (5.0, 1.0))
        assert (config.weight_smoothing, config.start, len(config.seeds)) == (None, "paper", 10)
    assert (paper.biglearn_iterations, paper.evaluate_every) == (10000, 20)


def test_a_wrong_setting_stops_with_its_name():
    with pytest.raises(TypeError, match="did you mean 'n_components'"):
        settings("glass", n_component=3)
    with pytest.raises(TypeError, match="covariance_floor must be of type float"):
        settings("glass", covariance_floor="small")
    for change in ({"start": "here"}, {"protocol": "raw"}, {"dtype": "float16"}):
        with pytest.raises(ValueError, match="must be one of"):
            settings("glass", **change)
    with pytest.raises(ValueError, match="n_components must be at least 1"):
        settings("glass", n_components=0)
    with pytest.raises(ValueError, match="there is no method 'EM'"):
        run(SMALL, methods=("EM",))
    with pytest.raises(FileNotFoundError, match="seismic"):
        run(settings("seismic", seeds=(0,)), n_jobs=1)


# One result, however it is computed


def test_alone_in_parallel_and_resumed_are_the_same(small_runs, tmp_path, monkeypatch):
    _, runs = small_runs
    same_runs(run(SMALL, root=tmp_path / "parallel", n_jobs=2), runs)

    original = realworld._run_one

    def fail_on_second_seed(config, method, seed, data):
        if seed == 1:
            raise KeyboardInterrupt
        return original(config, method, seed, data)

    monkeypatch.setattr(realworld, "_run_one", fail_on_second_seed)
    with pytest.raises(KeyboardInterrupt):
        run(SMALL, root=tmp_path / "broken", n_jobs=1)
    finished = sorted((tmp_path / "broken").rglob("*.json"))
    assert len(finished) == len(METHODS)
    written = [path.stat().st_mtime_ns for path in finished]
    monkeypatch.setattr(realworld, "_run_one", original)
    same_runs(run(SMALL, root=tmp_path / "broken", n_jobs=1), runs)
    assert [path.stat().st_mtime_ns for path in finished] == written


def test_a_change_of_settings_repeats_only_what_it_concerns(small_runs, monkeypatch):
    root, _ = small_runs
    repeated = []
    original = realworld._run_one

    def spy(config, method, seed, data):
        repeated.append(method)
        return original(config, method, seed, data)

    monkeypatch.setattr(realworld, "_run_one", spy)
    for change, concerned in (
        ({"biglearn_iterations": 3}, {"BigLearn-EM"}),
        ({"joint_iterations": 4}, set(OURS)),
        ({"peer_iterations": 4}, set(PEERS)),
        ({"seeds": (1,)}, set()),
        ({"covariance_floor": 0.1}, set(METHODS)),
    ):
        repeated.clear()
        run(dataclasses.replace(SMALL, **change), root=root, n_jobs=1)
        assert set(repeated) == concerned, change


def test_sets_run_together_as_alone(small_runs, tmp_path):
    _, runs = small_runs
    other = dataclasses.replace(SMALL, dataset="vehicle", seeds=(3,))
    both = run_sets([other, SMALL], root=tmp_path, n_jobs=1)
    assert {r.seed for r in both[0]} == {3}
    same_runs(both[1], runs)


def test_neither_labels_nor_test_points_choose_anything():
    data = load_data(SMALL, 0)
    rng = np.random.default_rng(0)
    blind = dataclasses.replace(
        data,
        y_train=rng.permutation(data.y_train),
        X_test=torch.tensor(rng.random((7, data.X_test.shape[1])), dtype=torch.float32),
        y_test=rng.integers(3, size=7),
    )
    for method in OURS:
        a, b = (fit_method(method, d, SMALL, seed=5).model for d in (data, blind))
        assert_same_model(a, b, rtol=0, atol=0)


def test_another_file_of_the_same_name_is_another_result(tmp_path):
    path = tmp_path / "mine.csv"
    config = dataclasses.replace(SMALL, dataset=str(path), seeds=(0,), n_components=3)
    runs = []
    for seed in (0, 1, 0):
        rows = table("", np.random.default_rng(seed))
        np.savetxt(path, rows, delimiter=",", fmt=["%d", "%.6f", "%.6f", "%.6f"])
        runs += run(config, methods=("Joint-EM",), root=tmp_path / "results", n_jobs=1)
    assert runs[0].train.log_likelihood != runs[1].train.log_likelihood
    assert len(list((tmp_path / "results").rglob("*.json"))) == 2
    same_runs(runs[:1], runs[2:])


# Scores


def test_scores_are_those_of_independent_code(small_runs):
    _, runs = small_runs
    for r in runs:
        parts = load_dataset("glass", protocol="fair", seed=r.seed)
        parameters = model_parameters(r.model)
        for X, y, scores in (
            (parts.X_train, parts.y_train, r.train),
            (parts.X_test, parts.y_test, r.test),
        ):
            with np.errstate(divide="ignore"):
                log_prob = naive_log_prob(X, *parameters)
            mean = np.logaddexp.reduce(log_prob, axis=1).mean()
            assert scores.log_likelihood == pytest.approx(mean, abs=1e-3)
            if r.method in OURS:
                clusters = log_prob.argmax(axis=1)
                nmi, ari = (
                    score(y, clusters)
                    for score in (normalized_mutual_info_score, adjusted_rand_score)
                )
                assert (scores.nmi, scores.ari) == pytest.approx((nmi, ari), abs=1e-9)
            assert max(scores.nmi, scores.ari) <= scores.acc + 1 <= 2
        assert r.seconds > 0


def test_fair_fits_end_in_joint_steps_and_curves_are_evaluations(small_runs):
    _, runs = small_runs
    for r in runs:
        if r.method in PEERS:
            assert r.curve.shape == (0, 5)
        elif r.method == "BigLearn-EM":
            assert r.iterations.tolist() == [1, 2, 4, 5, 8, 10, 12]
            assert 12 < r.n_iter <= 12 + SMALL.joint_iterations
            assert r.train.log_likelihood > r.curve[-1, 4]
        else:
            assert (np.diff(r.curve[:, 4]) > -1e-5).all()


def test_the_papers_protocol_takes_the_last_ten_evaluations(tmp_path):
    config = dataclasses.replace(
        SMALL, protocol="paper", seeds=(4,), biglearn_iterations=24, evaluate_every=2
    )
    (biglearn, joint) = run(config, methods=OURS, root=tmp_path, n_jobs=1)
    assert biglearn.n_iter == 24
    last = biglearn.curve[-10:].mean(axis=0)
    found = dataclasses.astuple(biglearn.test)
    np.testing.assert_allclose(found, last[:4], rtol=1e-12)
    data = load_data(config, 4)
    final = biglearn.model.log_prob(data.X_test).double().mean().item()
    assert biglearn.curve[-1, 3] == pytest.approx(final, rel=1e-6)
    assert found[3] != pytest.approx(final, abs=1e-5)
    final = joint.model.log_prob(data.X_test).double().mean().item()
    assert joint.test.log_likelihood == pytest.approx(final, rel=1e-6)


# Peers


def test_peers_are_scikit_learns():
    X = load_data(dataclasses.replace(SMALL, dtype="float64"), 0).X_train
    options = {"covariance_floor": 1e-2, "n_init": 2, "max_iter": 30, "tol": 1e-4}
    for seed in (0, 1):
        mixture, bayesian, kmeans = (
            fit_peer(method, X, 4, seed=seed, **options)
            for method in ("GaussianMixture", "BayesianGaussianMixture", "K-means")
        )
        common = {"reg_covar": 1e-2, "max_iter": 30, "tol": 1e-4, "random_state": seed}
        peer = GaussianMixture(4, n_init=2, **common).fit(X.numpy())
        np.testing.assert_allclose(mixture.model.log_prob(X), peer.score_samples(X.numpy()))
        np.testing.assert_array_equal(mixture.predict(X.numpy()), peer.predict(X.numpy()))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            peer = BayesianGaussianMixture(n_components=4, **common).fit(X.numpy())
        np.testing.assert_allclose(bayesian.model.means, peer.means_)

        labels = KMeans(4, n_init=2, random_state=seed).fit(X.numpy()).labels_
        np.testing.assert_array_equal(kmeans.predict(X.numpy()), labels)
        for k in range(4):
            members = X.numpy()[labels == k]
            np.testing.assert_allclose(kmeans.model.means[k], members.mean(axis=0))
            values, vectors = np.linalg.eigh(np.cov(members.T, bias=True))
            floored = (vectors * np.maximum(values, 1e-2)) @ vectors.T
            np.testing.assert_allclose(kmeans.model.covariances[k], floored, atol=1e-9)


def test_peers_refuse_what_they_cannot_do():
    options = {"covariance_floor": 1e-2, "n_init": 1, "max_iter": 5, "tol": 1e-3, "seed": 0}
    with pytest.raises(ValueError, match="there is no peer 'DBSCAN'"):
        fit_peer("DBSCAN", torch.eye(9), 2, **options)
    with pytest.raises(ValueError, match="needs as many points, got 3"):
        fit_peer("GaussianMixture", torch.eye(3), 4, **options)


# Faults in the data


def table(kind, rng):
    """Rows with the class first, in the manner of a user's CSV file."""
    centres = 4 * rng.standard_normal((3, 3))
    y = np.repeat(np.arange(3), 20)
    X = centres[y] + rng.standard_normal((60, 3))
    if kind == "constant columns":
        X[:, 1] = 7.0
        X[:, 2] = -0.1
    elif kind == "duplicate rows":
        X = np.repeat(X[::6], 6, axis=0)
    elif kind == "classes with one member":
        y[[0, 59]] = 8, 9
    elif kind == "fewer distinct points than components":
        X = centres[y]
    return np.column_stack([y, X])


@pytest.mark.parametrize(
    "kind",
    [
        "constant columns",
        "duplicate rows",
        "classes with one member",
        "fewer distinct points than components",
    ],
)
def test_awkward_data_give_a_right_result(kind, tmp_path):
    for seed in (0, 1, 2):
        path = tmp_path / f"mine_{seed}.csv"
        rows = table(kind, np.random.default_rng(seed))
        np.savetxt(path, rows, delimiter=",", fmt=["%d", "%.6f", "%.6f", "%.6f"])
        n_components = 5 if kind.startswith("fewer") else None
        config = dataclasses.replace(
            SMALL, dataset=str(path), seeds=(seed,), n_components=n_components
        )
        for r in run(config, root=tmp_path / "results", n_jobs=1):
            assert r.model.n_components == (n_components or len(np.unique(rows[:, 0])))
            assert np.isfinite(dataclasses.astuple(r.train) + dataclasses.astuple(r.test)).all()
            assert torch.isfinite(r.model.means).all()
            least = torch.linalg.eigvalsh(r.model.covariances).min()
            # The prior of BayesianGaussianMixture divides its covariances after the floor.
            assert least > (0 if r.method == "BayesianGaussianMixture" else 0.99e-2)
            if kind.startswith("fewer"):
                assert r.train.acc > 0.6  # no point is torn from its equals
                assert r.train.nmi > 0.5


def test_more_components_than_points(tmp_path):
    path = tmp_path / "few.csv"
    rng = np.random.default_rng(0)
    np.savetxt(
        path, np.column_stack([np.repeat([0, 1], 5), rng.random((10, 2))]), delimiter=",", fmt="%g"
    )
    config = dataclasses.replace(SMALL, dataset=str(path), seeds=(0,), n_components=20)
    for r in run(config, methods=OURS, root=tmp_path, n_jobs=1):
        assert np.isfinite(r.train.log_likelihood)
    for method in PEERS:
        with pytest.raises(ValueError, match="needs as many points, got 8"):
            run(config, methods=(method,), root=tmp_path, n_jobs=1)


# Memory


@pytest.mark.parametrize("dims", [(100_000, 8, 40), (100_000, 32, 8)])
def test_memory_of_a_step_does_not_grow_with_points_times_components_times_features(dims):
    """Two sizes, one four times the other, in a process of their own: the peak beyond the data."""
    code = textwrap.dedent(
        """
        import sys, torch
        from biglearn_core.em import em_step
        from biglearn_core.init import paper_start
        from biglearn_core.numerics.points import Points

        def status(field):
            lines = open("/proc/self/status").read().splitlines()
            return int(next(l for l in lines if l.startswith(field)).split()[1]) * 1024

        N, D, K = map(int, sys.argv[1:])
        torch.set_num_threads(1)
        generator = torch.Generator().manual_seed(0)
        model = paper_start(K, D, generator=generator, dtype=torch.float64)
        with torch.inference_mode():
            points = Points.of(torch.randn(N, D, generator=generator, dtype=torch.float64))
            em_step(points, model, covariance_floor=1e-2)  # libraries allocate on first use
            before = status("VmRSS")
            open("/proc/self/clear_refs", "w").write("5")
            em_step(points, model, covariance_floor=1e-2)
        print(status("VmHWM") - before)
        """
    )
    N, D, K = dims
    command = [sys.executable, "-c", code, *map(str, dims)]
    # What is freed goes back to the system at once: kept, it hides what the second step takes.
    returned = dict.fromkeys(("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"), "65536")
    done = subprocess.run(
        command, env=os.environ | returned, capture_output=True, text=True, check=True
    )
    beyond = int(done.stdout)
    assert beyond < 48 * 2**20
    assert N * K * D * 8 > 4 * 48 * 2**20


# Summary and figures


def made_up(method, seed, value, log_likelihood):
    scores = Scores(value, value, value, log_likelihood)
    model = fit_method("Joint-EM", load_data(SMALL, 0), SMALL, seed=0).model
    curve = np.full((3, 5), value)
    return MethodRun(
        method, seed, scores, scores, np.array([1, 2, 4]), curve, model, 4, True, 0, 1.5
    )


def test_differences_are_paired_and_have_students_interval():
    base, ours = (0.1, 0.5, 0.9), (0.2, 0.7, 0.95)
    runs = [made_up("Joint-EM", s, v, 1.0) for s, v in enumerate(base)]
    runs += [made_up("BigLearn-EM", s, v, 2.0) for s, v in enumerate(ours)][::-1]
    frame = summary.differences({"glass": runs}).set_index("score")
    row = frame.loc["NMI"]
    pairs = np.subtract(ours, base)
    half = 4.302653 * pairs.std(ddof=1) / np.sqrt(3)
    assert row["mean"] == pytest.approx(pairs.mean())
    assert (row["low"], row["high"]) == pytest.approx(
        (pairs.mean() - half, pairs.mean() + half), rel=1e-5
    )
    assert frame.loc["log-likelihood", "mean"] == 1.0
    assert row["p"] == 0.25  # three differences of one sign
    single = summary.differences({"glass": [r for r in runs if r.seed == 0]})
    assert single[["low", "p"]].isna().all(axis=None)


def test_methods_are_judged_once_over_all_sets():
    sets = {}
    for n, gap in enumerate((0.1, 0.2, 0.3, 0.05, 0.15, -0.02)):
        runs = [made_up("Joint-EM", s, 0.5 + 0.01 * s, 1.0) for s in range(6)]
        runs += [made_up("BigLearn-EM", s, 0.5 + gap + 0.02 * s, 2.0 - n) for s in range(6)]
        sets[f"set {n}"] = runs
    judged = summary.over_sets(summary.differences(sets)).loc["BigLearn-EM"]
    assert judged.loc["NMI", "sets above"] == "6/6"
    assert judged.loc["NMI", "p over sets"] == "0.031"
    assert judged.loc["NMI", "median of sets"] == "+0.150"
    assert judged.loc["log-likelihood", "above, below at 5%"] == "1, 4"


def test_the_published_seed_is_counted_among_ours():
    published = PENDIGITS["BigLearn-EM"]["nmi"]
    joint = [made_up("Joint-EM", s, 0.5, 9.0) for s in range(10)]
    inside = [made_up("BigLearn-EM", s, published + 0.01 * (s - 5), 9.0 + s) for s in range(10)]
    (line,) = summary.checks({"pendigits": inside + joint})
    assert line == (
        "mean training log-likelihood of BigLearn-EM above Joint-EM's: 1/1 sets (pendigits)"
    )
    frame = summary.paper_versus_ours(inside + joint, joint + inside)
    cell = frame.loc[("BigLearn-EM", "NMI"), "seeds below published (paper)"]
    assert cell == "5/10"
    single = summary.paper_versus_ours([inside[0], joint[0]], [inside[0], joint[0]])
    assert single.loc[("Joint-EM", "NMI"), "ours (fair)"] == "0.500"


def test_record_condenses_every_method(small_runs):
    _, runs = small_runs
    written = summary.record({"glass": runs}, [r for r in runs if r.method in OURS])
    record = Record.of({**json.loads(json.dumps(written)), "versions": {}})
    values = {r.seed: r.test.nmi for r in runs if r.method == "BigLearn-EM"}
    entry = record.find("glass", "fair", "BigLearn-EM", "test_nmi")
    assert entry.by_seed == values
    assert entry.mean == pytest.approx(np.mean(list(values.values())))
    assert entry.std == pytest.approx(np.std(list(values.values()), ddof=1))
    joint = {r.seed: r.test.nmi for r in runs if r.method == "Joint-EM"}
    above = record.find("glass", "fair", "BigLearn-EM", "test_nmi_above_joint_em")
    assert above.by_seed == {seed: values[seed] - joint[seed] for seed in values}
    assert record.find("glass", "fair", "Joint-EM", "test_nmi_above_joint_em") is None
    found = {(a.dataset, a.protocol, a.method) for a in record.scores}
    assert found == {("glass", "fair", m) for m in METHODS} | {
        ("pendigits", "paper", m) for m in OURS
    }
    table = summary.score_table({"glass": runs})
    assert table.loc[("glass", "K-means"), ("", "seeds")] == "2"


def test_figures_show_what_they_are_given(small_runs):
    _, runs = small_runs
    curves = plots.plot_curves(runs)
    assert [axes.get_ylabel().split()[0] for axes in curves.axes] == [
        *("NMI", "log-likelihood", "ARI", "log-likelihood")
    ]
    line = next(line for line in curves.axes[0].lines if line.get_label() == "BigLearn-EM")
    group = [r for r in runs if r.method == "BigLearn-EM"]
    np.testing.assert_allclose(line.get_ydata(), np.mean([r.curve[:, 0] for r in group], axis=0))
    figure = plots.plot_differences(summary.differences({"glass": runs, "again": runs}))
    assert len(figure.axes) == 4
    figure = plots.plot_clusters(runs, load_data(SMALL, 1), seed=1)
    assert len(figure.axes[2].patches) == 6
    figure = plots.plot_published(runs, runs)
    marks = [line.get_xdata()[0] for line in figure.axes[0].lines]
    assert sorted(set(marks)) == sorted(PENDIGITS[m]["nmi"] for m in OURS)
