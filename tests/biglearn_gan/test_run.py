"""The comparison: kept, taken up after a kill, read again, and told."""

import importlib.util
import os
import signal
import subprocess
import sys
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

from biglearn_core.experiments.store import write_record
from biglearn_core.reproduce.records import read_record
from biglearn_core.system import persistence
from biglearn_gan import figures, tables
from biglearn_gan.__main__ import main
from biglearn_gan.data import load_data
from biglearn_gan.methods import METHODS, settings_of
from biglearn_gan.run import Comparison, Run, run
from tests.faults.surroundings import environment
from tests.helpers import ROOT

SMALL = Comparison(data=("ring8",), methods=("big", "exact"), seeds=(0, 1), iterations=12)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="module")
def runs(root):
    return run(SMALL, root=root, n_jobs=1)


def same(a, b):
    assert [(r.data, r.method, r.seed) for r in a] == [(r.data, r.method, r.seed) for r in b]
    for left, right in zip(a, b, strict=True):
        assert left.scores == right.scores
        for part in ("draws", "curves"):
            mine, theirs = getattr(left, part), getattr(right, part)
            assert mine.keys() == theirs.keys()
            for name in mine:
                np.testing.assert_array_equal(mine[name], theirs[name])


def test_every_method_and_seed_is_there_in_order(runs):
    places = [(r.method, r.seed) for r in runs]
    assert places == [("big", 0), ("big", 1), ("exact", 0), ("exact", 1)]
    assert runs[0].draws["joint"].shape == (2000, 2)
    assert runs[0].curves["iterations"].tolist() == [12]
    assert runs[0].scores != runs[1].scores


def test_what_is_finished_is_only_read(runs, root, monkeypatch):
    def never(*arguments, **options):
        raise AssertionError("computed anew")

    monkeypatch.setattr("biglearn_gan.run.score", never)
    monkeypatch.setattr("biglearn_gan.methods.train", never)
    same(run(SMALL, root=root, n_jobs=1), runs)


def test_in_parallel_as_alone(runs, tmp_path):
    same(run(SMALL, root=tmp_path, n_jobs=2), runs)


def test_a_method_may_use_the_model_of_another(tmp_path, monkeypatch):
    images = replace(SMALL, data=("digits",), methods=("energy",), seeds=(0,), iterations=2)
    (first,) = run(images, root=tmp_path, n_jobs=1)
    monkeypatch.setattr("biglearn_gan.methods.train", None)
    (second,) = run(replace(images, methods=("pasted",)), root=tmp_path, n_jobs=1)
    assert second.seconds == first.seconds
    given = first.draws["given/top"]
    pasted, completed = (r.draws["completed/top"] for r in (second, first))
    np.testing.assert_array_equal(pasted[:, given], completed[:, given])
    assert not np.array_equal(pasted, completed)
    assert second.scores.keys() == first.scores.keys()
    drawn = [
        figures.plot_images([first, second], load_data("digits"), methods=["energy", "pasted"]),
        figures.plot_completions(
            [first, second], load_data("digits"), question="2of16", methods=["energy", "pasted"]
        ),
        figures.plot_diversity([first, second], "digits", methods=["energy", "pasted"]),
    ]
    for i, figure in enumerate(drawn):
        figure.savefig(tmp_path / f"{i}.png")
    table = tables.completion_table([first, second], "digits", measure="vote")
    assert table.shape == (2, 8)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_has_settings_and_code(name):
    method = METHODS[name]
    assert importlib.util.find_spec(method.code) is not None
    for data in method.data:
        settings = settings_of(name, data, iterations=3)
        with pytest.raises(FrozenInstanceError):
            settings.anything = 1
        assert getattr(settings, "iterations", 3) == 3


def run_until_killed(root, number):
    """Run in a process that kills itself in the given save, whose temporary file stays behind."""
    calls, real = [0], os.replace

    def dying(*arguments):
        calls[0] += 1
        if calls[0] == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments)

    persistence.os.replace = dying
    run(SMALL, root=root, n_jobs=1)


@pytest.mark.parametrize("number", [1, 3, 5])
def test_killed_it_goes_on_to_the_same_result(runs, tmp_path, number):
    code = f"from {__name__} import run_until_killed as r; r({str(tmp_path)!r}, {number})"
    killed = subprocess.run(
        [sys.executable, "-c", code], env=environment(ROOT), capture_output=True, text=True
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    same(run(SMALL, root=tmp_path, n_jobs=1), runs)


def test_the_command_trains_and_prints_the_table(runs, root, tmp_path, capsys):
    record = tmp_path / "record.json"
    status = main(
        f"train --data ring8 --methods big exact --seeds 0 1 --iterations 12 --device cpu "
        f"--jobs 1 --out_dir {root} --record {record}".split()
    )
    assert status == 0
    printed = capsys.readouterr().out
    assert "conditional KS, mean" in printed
    assert "BigLearn-GAN" in printed
    kept = read_record(record, "biglearn_gan")
    entry = kept.scores["ring8", "fair", "big", "conditional_ks_mean"]
    assert entry.values == tuple(r.scores["conditional_ks_mean"] for r in runs[:2])
    assert kept.settings["iterations"] == {"ring8": {"big": 12}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": ("mnist",)}, "data has no 'mnist'"),
        ({"methods": ("gan",)}, "methods has no 'gan'"),
        ({"seeds": (1, 1)}, "seeds must differ"),
        ({"seeds": (-1,)}, "must not be negative"),
    ],
)
def test_what_cannot_be_compared_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(SMALL, **changes)


def made_up(method, values, *, data="ring8", name="conditional_ks_mean"):
    return [
        Run(data=data, method=method, seed=seed, scores={name: value}, draws={}, curves={},
            seconds=1.0, device="cpu")
        for seed, value in enumerate(values)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("gaps", "reading"),
    [([-0.1, -0.11, -0.09], "better"), ([0.1, 0.11, 0.09], "worse"), ([-0.1, 0.1, 0.0], "–")],
)
def test_a_gain_is_claimed_where_its_interval_bears_it(gaps, reading):
    base = [0.3, 0.1, 0.2]
    runs = made_up("big", base)
    runs += made_up("communication", [b + gap for b, gap in zip(base, gaps, strict=True)])
    pairs = [("communication", "big"), ("energy", "big")]
    table = tables.difference_table(runs, pairs, measures=tables.MEASURES)
    assert table["reading"].tolist() == [reading]
    assert table["difference"].iloc[0].startswith(f"{np.mean(gaps):+.3f} [")


def test_more_is_better_where_it_is():
    runs = made_up("big", [0.5, 0.6, 0.5], name="within")
    runs += made_up("energy", [0.8, 0.9, 0.8], name="within")
    table = tables.difference_table(runs, [("energy", "big")], measures=tables.MEASURES)
    assert table["reading"].tolist() == ["better"]


def test_one_seed_bears_nothing():
    runs = made_up("big", [0.5]) + made_up("energy", [0.1])
    assert tables.difference_table(runs, [("energy", "big")], measures=tables.MEASURES).empty


def test_figures_of_laws_that_are_known(runs, root, tmp_path):
    drawn = [
        figures.plot_plane(runs, load_data("ring8")),
        figures.plot_conditionals(runs, ["ring8"]),
        figures.plot_losses(runs, "ring8"),
    ]
    for i, figure in enumerate(drawn):
        figure.savefig(tmp_path / f"{i}.png")
    assert len(drawn[0].axes) == 2  # the data, and the one method that is trained


def test_the_record_is_read_back(runs, tmp_path):
    path = tmp_path / "summary.json"
    write_record(path, tables.record(runs, iterations=SMALL.iterations))
    kept = read_record(path, "biglearn_gan")
    assert kept.labels["exact"] == "exact"
    assert set(kept.costs) == {("ring8", "both", m, "seconds") for m in ("big", "exact")}


def test_checks_say_what_holds(runs):
    ends = made_up("ignoring", [0.34, 0.35]) + made_up("exact", [0.012, 0.013])
    lines = tables.checks(ends + made_up("big", [0.1, 0.2]))
    assert [line.rsplit(" ", 1)[1] for line in lines] == ["yes", "yes"]
    lines = tables.checks(ends + made_up("big", [0.4, 0.5]))
    assert [line.rsplit(" ", 1)[1] for line in lines] == ["yes", "no"]
