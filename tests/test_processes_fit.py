"""Several processes, each with some of the rows, end with the model of one that has them all."""

import re
import shutil
from importlib.util import find_spec

import numpy as np
import pytest

from biglearn_core import agreement
from tests import fit_jobs
from tests.ranks import run_ranks

JOBS = (
    "joint",
    "joint_weighted",
    "joint_far",
    "biglearn",
    "biglearn_source",
    "joint_source_weighted",
    "held",
    "held_weighted",
    "held_weightless",
    "held_gaps",
    "held_paper",
    "passes",
    "passes_weighted",
    "passes_weightless",
    "passes_gaps",
    "passes_paper",
    "selection",
)
DRAWN = ("drawn_seed_held", "drawn_seed_passes")
GROUPS = ("alone", "sub_group")
CHECKPOINTS = ("other_checkpoint_joint", "other_checkpoint_passes")
REFUSED = (
    *fit_jobs.WRONG,
    *("wrong_start", "other_start", "no_memory_for_one", "no_path_for_one"),
    *CHECKPOINTS,
)
NAMED = [job for job in fit_jobs.NAMED if find_spec("pandas") or not job.endswith("frame")]
SETTINGS = ("same_in_other_words", "different_criterion", *fit_jobs.DIFFERENT)

pytestmark = pytest.mark.filterwarnings("ignore:EM has not converged", "ignore:components")


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    jobs = [*JOBS, *DRAWN, *REFUSED, *NAMED, *SETTINGS, *GROUPS]
    found = run_ranks(tmp_path_factory.mktemp("ranks"), "tests.fit_jobs", jobs, 3)
    assert [(rank.status, rank.stderr) for rank in found] == [(0, "")] * 3
    return found


@pytest.fixture(scope="module")
def by_one():
    """What one process finds, asked for once."""
    known = {}

    def find(job):
        if job not in known:
            known[job] = getattr(fit_jobs, job)(0, 1)
        return known[job]

    return find


def assert_close(found, expected, tolerance=1e-10):
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        if array.dtype.kind == "U":
            assert found[name] == array
        else:
            np.testing.assert_allclose(found[name], array, rtol=tolerance, atol=tolerance)


def bits(found):
    return {name: array.tobytes() for name, array in found.items()}


@pytest.mark.parametrize("job", JOBS)
def test_the_model_is_that_of_one_process_and_the_same_in_all(ranks, by_one, job):
    assert_close(ranks[0].of(job), by_one(job), 1e-6 if job == "joint_far" else 1e-10)
    assert [bits(rank.of(job)) for rank in ranks] == [bits(ranks[0].of(job))] * len(ranks)


@pytest.mark.parametrize("job", DRAWN)
def test_a_seed_that_is_drawn_is_the_same_in_all(ranks, job):
    assert [bits(rank.of(job)) for rank in ranks] == [bits(ranks[0].of(job))] * len(ranks)


@pytest.mark.parametrize("kind", ["tensor", "source", "held", "passes"])
def test_values_that_one_cannot_take_are_told_by_all(ranks, kind):
    for rank in ranks:
        assert "NaN" in rank.errors[f"nan_{kind}"].splitlines()[0]
    if kind == "held":  # where it is known whose they are
        last = len(ranks) - 1
        assert (
            ranks[0]
            .errors["nan_held"]
            .startswith(
                f"ProcessesError: process {last} of {len(ranks)} has failed: ValueError: Input X"
            )
        )


@pytest.mark.parametrize("kind", ["tensor", "source", "held", "passes"])
def test_rows_that_do_not_go_together_are_told_by_all(ranks, kind):
    first, last = "process 0 has 3 features of 64 bits", f"process {len(ranks) - 1} has"
    for rank in ranks:
        assert f"{first}, {last} 2 features of 64 bits" in rank.errors[f"features_{kind}"]
        assert f"{first}, {last} 3 features of 32 bits" in rank.errors[f"dtype_{kind}"]


@pytest.mark.parametrize("kind", ["source", "held", "passes", "frame"])
def test_features_in_another_order_or_without_names_are_told_by_all(ranks, kind):
    if f"named_order_{kind}" not in NAMED:
        pytest.skip("pandas is not installed")
    last = len(ranks) - 1
    for rank in ranks:
        if kind != "frame":
            assert "nothing" in rank.of(f"named_alike_{kind}")
        assert (
            f"ValueError: the features of process {last} are a, c, b, those of process 0 a, b, c; "
            "feature 1 is 'c' in one, 'b' in the other: give all processes the same columns"
        ) in rank.errors[f"named_order_{kind}"]
        have, lack = "the features of process {} have names (a, b, c)", "those of process {} have"
        none, first = (rank.errors[f"named_{what}_{kind}"] for what in ("none", "first"))
        assert f"{have.format(0)}, {lack.format(last)} none" in none
        assert f"{have.format(last)}, {lack.format(0)} none" in first


def test_many_names_are_not_all_told():
    names = [f"x{i}" for i in range(784)]
    told = agreement._other_names(names, [*names[:-1], "y"], 3)
    assert "x19 and 764 more" in told
    assert "feature 783 is 'y' in one, 'x783' in the other" in told


SHOWN = {
    "n_components": ("3", "4"),
    "covariance_type": ("full", "diag"),
    "covariance_prior": ("None", "conjugate"),
    "covariance_floor": ("None", "0.01"),
    "max_iter": ("2", "9"),
    "tol": ("0.01", "1e-09"),
    "n_init": ("1", "2"),
    "random_state": ("0", "1"),
    "init": (r"float64 \(3, 3\) \w{32}", r"float64 \(3, 3\) \w{32}"),
    "mixture": (r"a mixture \w{32}", r"a mixture \w{32}"),
    "start": (r"a mixture \w{32}", "kmeans"),
    "estimator": ("JointEM", "BigLearnEM"),
}


@pytest.mark.parametrize("kind", ["held", "passes"])
def test_parameters_that_differ_are_told_by_all(ranks, kind):
    last = len(ranks) - 1
    for what, (first, other) in SHOWN.items():
        name = "init" if what in ("mixture", "start") else what
        for rank in ranks:
            told = rank.errors[f"different_{kind}_{what}"].splitlines()[0]
            wanted = rf"\({name}: {first} in process 0, {other} in process {last}[,)]"
            assert told.startswith("ValueError: the processes fit with different parameters")
            assert re.search(wanted, told), told
    for rank in ranks:  # each differs from the first, and the second is told
        told = rank.errors[f"different_{kind}_warm"].splitlines()[0]
        assert re.search(r"\(the last fit: a mixture \w+ in process 0, a mixture \w+ in", told)
        assert (
            "criterion: bic in process 0, different_criterion.<locals>.<lambda> in process"
            in (rank.errors["different_criterion"])
        )


def test_checkpoints_of_some_processes_alone_are_told_by_all(ranks):
    for rank in ranks:
        for job in CHECKPOINTS:
            assert "checkpoint must be given in all processes, or in none" in rank.errors[job]
        assert "checkpoint must be a path, got int" in rank.errors["no_path_for_one"]


def test_parameters_that_are_the_same_in_other_words_are_taken(ranks):
    found = [bits(rank.of("same_in_other_words")) for rank in ranks]
    assert found == [found[0]] * len(ranks)


def test_starts_that_do_not_go_together_are_told_by_all(ranks):
    for rank in ranks:
        assert "the start torch.float32" in rank.errors["wrong_start"]
        assert "the start of process 2 is not that of process 0" in rank.errors["other_start"]
        assert "memory lacks" in rank.errors["no_memory_for_one"]
    last = f"ProcessesError: process {len(ranks) - 1} of {len(ranks)} has failed"
    assert ranks[0].errors["wrong_start"].startswith(last)


def test_groups_of_some_and_of_one_fit_by_themselves(ranks, by_one):
    means = [rank.of("alone")["means"].tobytes() for rank in ranks]
    assert len(set(means)) == 3
    for number, rank in enumerate(ranks):
        part = fit_jobs.table()[number * 300 : (number + 1) * 300]
        own = fit_jobs.JointEM(fit_jobs.K, random_state=0).fit(part)
        np.testing.assert_allclose(rank.of("alone")["means"], own.means_, rtol=1e-10)
    found = ranks[1].of("sub_group")
    assert bits(found) == bits(ranks[2].of("sub_group"))
    np.testing.assert_allclose(found.pop("passes"), by_one("passes")["means"], rtol=1e-6)
    assert_close(found, by_one("joint"))


@pytest.mark.parametrize(("kind", "victim"), [("joint", 1), ("passes", 0)])
def test_where_one_is_killed_the_others_end_and_any_number_goes_on(
    tmp_path, monkeypatch, by_one, kind, victim
):
    """Unless the others noticed, they would wait for half an hour, and be killed after a minute."""
    folder = tmp_path / "killed"
    found = run_ranks(folder, "tests.fit_jobs", [f"killed_{kind}"], 2, timeout=60)
    assert found[victim].status == -9
    other = found[1 - victim]
    assert other.errors[f"killed_{kind}"].startswith(
        f"ProcessesError: process {1 - victim} of 2 has lost the others: one of them has ended"
    )
    assert (
        "Start all processes again; with a checkpoint the fit goes on from its last pass"
        in (other.errors[f"killed_{kind}"])
    )
    state = folder / f"{kind}.npz"
    assert state.exists()
    with np.load(state) as archive:
        assert 0 < len(archive["log_likelihood"]) <= 8
    if kind == "passes":
        again = tmp_path / "again"
        again.mkdir()
        shutil.copy(state, again)
        for rank in run_ranks(again, "tests.fit_jobs", [f"resumed_{kind}"], 3):
            assert_close(rank.of(f"resumed_{kind}"), by_one(kind))
    monkeypatch.setenv("FOLDER", str(folder))
    assert_close(getattr(fit_jobs, f"resumed_{kind}")(0, 1), by_one(kind))
