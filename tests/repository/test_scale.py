"""The cost model of benchmarks/scale.py finds what made its measurements; its rows are the same."""

import itertools

import numpy as np
import pytest

from biglearn_core import fit_joint_em
from biglearn_core.rows.arrays import ArrayRows
from biglearn_core.system.processes import Processes
from tests.helpers import ROOT, load_script, random_gmm, random_points

# Seconds a row, a feature, a product and a component.
COST = {"row": 3e-8, "feature": 2e-9, "product": 1e-10, "component": 4e-9}


@pytest.fixture
def scale():
    return load_script("benchmarks/scale.py")


@pytest.fixture
def scale_model():
    return load_script("benchmarks/scale_model.py")


@pytest.fixture
def worker(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return load_script("benchmarks/scale_worker.py")


def measured(scale, folder):
    """Rows as the script writes them, on a machine of known speed."""
    rows = []
    for group in ("passes", "ranks", "disk"):
        for case in scale.cases(group, small=False, folder=folder, out=folder):
            row = {"group": group, "case": scale.key_of(case)}
            if case["task"] in ("pass", "rank"):
                D, K = case["D"], case["K"]
                F = 1 + D + D * (D + 1) // 2
                a_row = np.dot(list(COST.values()), [1, F, F * K, K])
                row["seconds"] = case["N"] * a_row / case.get("size", 1)
                row["seconds_to_compute"] = case["N"] * a_row / case["threads"]
                row["form"] = "QuadraticDensity"
            elif case["task"] == "reduce":
                sizes = (8_000, 800_000, 80_000_000)
                row["seconds_of_bytes"] = {str(n): 1e-4 + 5e-10 * n for n in sizes}
            else:
                row["bytes_a_second"] = {"cold": 1e9, "warm": 4e9}
            rows.append(row)
    return rows


def test_the_model_finds_the_costs_that_made_the_measurements(scale, scale_model, tmp_path):
    rows = measured(scale, tmp_path)
    # Of another form, at another speed.
    other = {**rows[0], "form": "WhitenedDensity", "seconds_to_compute": 1e3}
    model = scale_model.model_of([*rows, other])
    assert model["seconds_a_row"] == pytest.approx(COST, rel=1e-6)
    assert model["two_threads_gain"] == pytest.approx(2)
    for row in model["ranks"]:
        assert row["by_the_model"] == pytest.approx(row["measured"])
    far = model["far"]
    a_row = 3e-8 + 1326 * 2e-9 + 1326 * 64 * 1e-10 + 64 * 4e-9
    expected = 1e10 / 64 * a_row
    seconds = far["seconds_to_compute"]
    assert seconds == pytest.approx({"2 cores": expected / 2, "16 cores": expected / 16})
    assert far["seconds_to_read"] == pytest.approx(8 * 50 * 1e10 / 64 / 1e9)
    sent = 8 * 64 * (1 + 50 + 50**2) + 8
    reduced = 2 * 6 * 1e-4 + 2 * 63 / 64 * sent / 1.25e9
    assert far["seconds_to_reduce"] == pytest.approx(reduced)
    slower = max(expected / 16, far["seconds_to_read"]) + reduced
    assert far["seconds_a_pass"]["16 cores"] == pytest.approx(slower)


def test_too_few_passes_give_no_model(scale, scale_model, tmp_path):
    rows = measured(scale, tmp_path)
    assert scale_model.model_of(rows[:3]) == {}


@pytest.mark.parametrize(("D", "K"), [(3, 2), (16, 5)])
def test_the_model_counts_the_bytes_that_a_step_sends(scale_model, monkeypatch, D, K):
    sent = []

    def count(self, parts):
        sent.append(sum(8 * part.numel() for part in parts))
        return list(parts)

    monkeypatch.setattr(Processes, "sum", count)
    X = np.random.default_rng(0).normal(size=(200, D))
    fit_joint_em(ArrayRows(X), random_gmm(0, K=K, D=D), n_iter=1, covariance_floor=1e-4)
    assert sent[-1] == scale_model.bytes_of_sums(D, K)


def test_rows_that_are_made_on_the_fly_do_not_depend_on_their_division(worker):
    source = worker.GeneratedRows(worker.truth_of(3, 4), 20_000)
    whole = next(source.blocks(20_000)).rows
    parts = [block.rows for block in source.blocks(3001)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    (middle,) = source.blocks(9000, 8190, 16_400)
    np.testing.assert_array_equal(middle.rows, whole[8190:16_400])
    assert len(np.unique(whole, axis=0)) == 20_000
    assert len(source.begun) == 3


def test_every_measurement_is_one_of_its_own(scale, tmp_path):
    for small in (False, True):
        keys = [
            scale.key_of(case)
            for group in scale.GROUPS
            for case in scale.cases(group, small=small, folder=tmp_path, out=tmp_path)
        ]
        assert all(a != b for a, b in itertools.combinations(keys, 2))


def test_the_form_of_the_model_is_the_form_of_every_shape(scale, scale_model, worker):
    for D, K, _ in scale.SHAPES:
        truth = worker.truth_of(D, K)
        points = worker.Points.of(random_points(0, N=50, D=D))
        form = worker.choose_density(points, truth.weights, truth.means, truth.covariances)
        assert type(form).__name__ == scale_model.FORM


def test_files_that_have_no_room_are_not_begun(scale, tmp_path):
    cases = [
        {"path": "a", "N": 10, "D": 4},
        {"path": "b", "N": 2**60, "D": 16},
    ]
    scale.check_room(cases[:1], tmp_path)
    with pytest.raises(SystemExit, match=r"MiB free.*--data-dir"):
        scale.check_room(cases, tmp_path)
