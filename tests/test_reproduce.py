"""What `make reproduce` is made of: the estimate, the lock, one notebook, the comparison."""

import copy
import json
import math
import os
import re
from pathlib import Path

import pytest

from biglearn_core import run_lock as lock_module
from biglearn_core.compare import compare, compare_with_records, renew
from biglearn_core.reproduce import profile_parameters
from biglearn_core.run_lock import LockedError, run_lock
from biglearn_core.time_left import format_seconds, seconds_left, ticking, typical_seconds

ROOT = Path(__file__).resolve().parents[1]
RECORDS = sorted((ROOT / "results" / "record").glob("*.json"))


# The estimate


@pytest.mark.parametrize("profile", ["quick", "full"])
def test_every_notebook_has_a_typical_time(profile):
    typical = typical_seconds(ROOT / "notebooks" / "seconds.yaml", profile)
    assert set(profile_parameters(profile)) <= set(typical)
    assert all(seconds > 0 for seconds in typical.values())
    assert typical_seconds(ROOT / "notebooks" / "seconds.yaml", "mine") == {}


def test_the_estimate_follows_the_speed_of_this_machine():
    typical = {"a": 100, "b": 40, "c": 200}
    assert seconds_left(typical, {}) == 340
    assert seconds_left(typical, {"a": 200}) == 2 * 240
    assert seconds_left(typical, {"a": 200, "b": 10.5}) == pytest.approx(210.5 / 140 * 200)
    assert seconds_left(typical, {"a": 5}) == 240  # it was read from disk
    assert seconds_left(typical, dict.fromkeys(typical, 1)) == 0
    assert math.isnan(seconds_left({"a": 100, "own": None}, {"a": 100}))
    assert seconds_left({"own": None, "a": 100}, {"own": 3}) == 100


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(3.4, "3 s"), (99, "99 s"), (100, "2 min"), (3569, "59 min"), (3571, "1 h 00 min"),
     (7500, "2 h 05 min")],
)  # fmt: skip
def test_durations_are_readable(seconds, text):
    assert format_seconds(seconds) == text


def test_the_line_ticks_on_terminals_only(capsys, monkeypatch):
    with ticking(lambda: "never"):
        pass
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    told = []

    def line():
        told.append(1)
        return f"line {len(told)}"

    with ticking(line, interval=0.001):
        while len(told) < 3:
            pass
    printed = capsys.readouterr().err
    assert "\r\033[Kline 1\r\033[Kline 2" in printed
    assert printed.endswith("\r\033[K")


# The lock


def test_a_lock_is_free_again_and_names_its_holder(tmp_path):
    path = tmp_path / "results" / ".lock"
    for _ in range(2):
        taken = pytest.raises(LockedError, match=rf"\(process {os.getpid()}, started 20")
        with run_lock(path), taken, run_lock(path):
            pass


def test_without_flock_it_says_so_and_goes_on(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(lock_module, "fcntl", None)
    with run_lock(tmp_path / ".lock"), run_lock(tmp_path / ".lock"):
        pass
    assert capsys.readouterr().err.count("start no second run here\n") == 2


# The comparison


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_a_record_agrees_with_itself_and_timings_do_not_count(path):
    record = json.loads(path.read_text())
    assert compare(record, record) == []
    text = re.sub(r'("(?:seconds|minutes)": )[\d.]+', r"\g<1>1e9", path.read_text())
    text = re.sub(r'"torch": "[^"]*"', '"torch": "9"', text)
    assert compare(json.loads(text), record) == []
    assert text != path.read_text()


def gmm25_like(shift=0.0, spread=0.01):
    return {
        "seeds": {
            str(seed): {"BigLearn-EM": {"fair_kl": 0.03 + shift + spread * (seed % 2)}, "kl": 0.5}
            for seed in range(100, 110)
        },
        "verdicts": ["all: 10/10 seeds"],
    }


def test_means_agree_within_three_standard_errors():
    std = 0.01 * math.sqrt(10 / 36)  # of five zeros and five hundredths
    error = math.sqrt(2 * std**2 / 10)
    assert compare(gmm25_like(2.9 * error), gmm25_like()) == []
    (line,) = compare(gmm25_like(3.1 * error), gmm25_like())
    assert line.startswith("seeds, BigLearn-EM, fair_kl: 0.0423 now, 0.0350 in the record")
    assert f"allowed ±{3 * error:.4f}" in line
    assert compare(gmm25_like(0.0009, 0), gmm25_like(0, 0)) == []  # rounding
    assert len(compare(gmm25_like(0.0012, 0), gmm25_like(0, 0))) == 1


def test_condensed_samples_are_compared_alike():
    def summary(mean, std=0.1, seeds=(0, 1, 2, 3, 4)):
        entry = {"mean": mean, "std": std, "min": mean - 1, "max": mean + 1}
        return {"fair": {"glass": {"seeds": list(seeds), "test_nmi": entry, "converged": 3}}}

    allowed = 3 * math.sqrt(2 * 0.1**2 / 5)
    assert compare(summary(0.5 + 0.99 * allowed), summary(0.5)) == []
    (line,) = compare(summary(0.5 - 1.01 * allowed), summary(0.5))
    assert line.startswith("fair, glass, test_nmi: 0.3084 now, 0.5000 in the record")
    lines = compare(summary(0.5, seeds=(0, 1)), summary(0.5))
    assert lines == ["fair, glass, seeds: [0, 1] now, [0, 1, 2, 3, 4] in the record"]
    assert len(compare(summary(math.nan), summary(0.5))) == 1
    assert compare(summary(0.52, None, (0,)), summary(0.5, None, (0,))) == []
    assert len(compare(summary(0.53, None, (0,)), summary(0.5, None, (0,)))) == 1


def test_means_deeper_in_are_of_the_seeds_above_them():
    def summary(acc):
        return {"dec": {"seeds": [0, 1, 2], "final": {"acc": {"mean": acc, "std": 0.02}}}}

    allowed = 3 * math.sqrt(2 * 0.02**2 / 3)
    assert compare(summary(0.5 + 0.99 * allowed), summary(0.5)) == []
    (line,) = compare(summary(0.5 + 1.01 * allowed), summary(0.5))
    assert f"allowed ±{allowed:.4f}" in line


def test_lists_of_runs_are_samples_and_settings_must_be_equal():
    def summary(acc, n_iterations=70):
        runs = [
            {"seed": seed, "final": {"acc": acc + 0.01 * seed}, "n_iterations": n_iterations}
            for seed in range(3)
        ]
        return {"runs": runs, "chosen_by_log_likelihood": 1}

    assert compare(summary(0.6), summary(0.61)) == []
    assert compare(summary(0.5), summary(0.6))[0].startswith("runs, final, acc: 0.5100 now")
    assert (
        compare(summary(0.6, 6), summary(0.6))
        == ["runs, n_iterations: 6 now, 70 in the record"] * 3
    )


def test_verdicts_and_absent_entries_are_told():
    other = gmm25_like()
    other["verdicts"] = ["all: 9/10 seeds"]
    other["more"] = 1
    for run in other["seeds"].values():
        del run["kl"]
    assert compare(other, gmm25_like()) == [
        "seeds, kl: only in the record",
        "verdicts: 'all: 9/10 seeds' now, 'all: 10/10 seeds' in the record",
        "more: only in the new run",
    ]


def test_a_run_is_held_against_its_records(tmp_path):
    for name in ("gmm25", "absent"):
        (tmp_path / "record").mkdir(exist_ok=True)
        (tmp_path / "record" / f"{name}.json").write_text(json.dumps(gmm25_like()))
    folder = tmp_path / "gmm25" / "full"
    folder.mkdir(parents=True)
    (folder / "summary.json").write_text(json.dumps(gmm25_like()))
    record = f"{tmp_path.name}/record/gmm25.json"
    assert compare_with_records("full", root=tmp_path) == [f"gmm25 agrees with {record}"]
    assert compare_with_records("quick", root=tmp_path) == []
    changed = copy.deepcopy(gmm25_like())
    changed["verdicts"] = ["none"]
    (folder / "summary.json").write_text(json.dumps(changed))
    lines = compare_with_records("full", root=tmp_path)
    assert lines[0] == f"gmm25 differs in 1 entries from {record}"
    assert lines[1].startswith("  verdicts: 'none' now")
    assert json.loads(renew("gmm25", root=tmp_path).read_text()) == changed
    assert compare_with_records("full", root=tmp_path) == [f"gmm25 agrees with {record}"]
    with pytest.raises(ValueError, match=r"there is no .*absent.*`make reproduce` first"):
        renew("absent", root=tmp_path)
    (folder / "summary.json").write_text("{")
    with pytest.raises(ValueError, match=r"summary.json is damaged .*; delete it"):
        compare_with_records("full", root=tmp_path)
