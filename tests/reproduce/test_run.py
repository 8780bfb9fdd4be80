"""What `make reproduce` is made of: the estimate, the lock, one notebook, the comparison."""

import copy
import json
import math
import os
import re
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from biglearn_core.reproduce import run as reproduce
from biglearn_core.reproduce.compare import (
    compare,
    compare_with_records,
    main as compare_main,
    renew,
)
from biglearn_core.reproduce.run import profile_parameters
from biglearn_core.reproduce.time_left import format_seconds, seconds_left, ticking, typical_seconds
from biglearn_core.system import run_lock as lock_module
from biglearn_core.system.run_lock import LockedError, run_lock
from tests.helpers import ROOT

RECORDS = sorted((ROOT / "results" / "record").glob("*.json"))


# The profile


@pytest.fixture
def notebooks(tmp_path):
    (tmp_path / "params").mkdir()
    (tmp_path / "params" / "mine.yaml").write_text("01_gmm25: {seeds: [1]}")
    name = "01_gmm25.ipynb"
    (tmp_path / name).write_bytes((ROOT / "notebooks" / name).read_bytes())
    return tmp_path


def test_a_profile_is_plain_values_by_notebook_and_parameter(notebooks):
    read = partial(profile_parameters, "mine", folder=notebooks)
    assert read() == {"01_gmm25": {"seeds": [1]}}
    content = "01_gmm25: &same {seeds: &s [1, 2], peers_seeds: *s, profile: null}"
    (notebooks / "params" / "mine.yaml").write_text(content)
    assert read() == {"01_gmm25": {"seeds": [1, 2], "peers_seeds": [1, 2], "profile": None}}


@pytest.mark.parametrize(
    "name", ["../params/mine", "./mine", "{folder}/params/mine", "", ".", "mine.yaml", "mine\0"]
)
def test_a_profile_is_a_name_and_no_path(notebooks, name):
    with pytest.raises(ValueError, match=r"there is no profile .*known are \['mine'\]"):
        profile_parameters(name.format(folder=notebooks), folder=notebooks)


BAD_PROFILES = {
    b"01_gmm25: {seeds: [1": "is damaged (line 1, column 21: expected",
    b"": "a mapping is needed, found None",
    b"- 01_gmm25": "a mapping is needed, found ['01_gmm25']",
    b"01_gmm25": "a mapping is needed, found '01_gmm25'",
    b"{}": "a notebook is needed, found {}",
    b"01_gmm25:": "at 01_gmm25: a mapping is needed, found None",
    b"01_gmm25: [seeds, 1]": "at 01_gmm25: a mapping is needed, found ['seeds', 1]",
    b"1: {}": "a string is needed, found 1",
    b"01_gmm25: {1: 2}": "at 01_gmm25: a string is needed, found 1",
    b"01_gmm25: {seeds: [2024-01-01]}": "at 01_gmm25, seeds, 0: null, a flag, a number",
    b"01_gmm25: {seeds: !!set {1}}": "at 01_gmm25, seeds: null, a flag, a number",
    b"01_gmm25: !!python/object/apply:os.mkdir [x]": "is damaged (line 1, column 11: could not",
    b"01_gmm25: {}\n01_gmm25: {seeds: [1]}": "line 2, column 1: a key stands twice: '01_gmm25'",
    b"01_gmm25: {seeds: [1], seeds: [2]}": "line 1, column 24: a key stands twice: 'seeds'",
    b"01_gmm25: {? [a] : 1}": "is damaged (line 1, column 14: found unhashable key",
    b"01_gmm25: {seeds: !!int ''}": "is damaged (",
    b"01_gmm25: {seeds: !!timestamp x}": "is damaged (",
    b"01_gmm25: {seeds: 2024-13-01}": "is damaged (month must be in 1..12)",
    b"01_gmm25: {seeds: &a [*a]}": "is damaged (nested more than 50 deep)",
    b"01_gmm25: {seeds: " + 400 * b"[" + 400 * b"]" + b"}": "is damaged (",
    b"\xff\xfe\x00": "is damaged ('utf-8' codec",
}


@pytest.mark.parametrize(("content", "found"), BAD_PROFILES.items())
def test_a_bad_profile_is_named_with_what_was_found(notebooks, content, found, monkeypatch, capsys):
    path = notebooks / "params" / "mine.yaml"
    path.write_bytes(content)
    read = partial(profile_parameters, folder=notebooks)
    monkeypatch.setattr(reproduce, "profile_parameters", read)
    assert reproduce.main(["--profile", "mine"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {path} ")
    assert found in line
    assert line.endswith("a profile names notebooks, and under each its parameters, {} where it "
                         "has none")  # fmt: skip
    assert not Path("x").exists()


TOKENS = st.sampled_from([*"[]{}:-&*a!?|>'1\n", "01_gmm25", "seeds", ": "])


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=40) | st.lists(TOKENS).map("".join).map(str.encode))
def test_whatever_a_profile_holds_it_is_read_or_refused_by_name(notebooks, content):
    path = notebooks / "params" / "mine.yaml"
    path.write_bytes(content)
    try:
        found = profile_parameters("mine", folder=notebooks)
    except ValueError as error:
        assert "mine.yaml" in str(error)  # noqa: PT017
        assert "\n" not in str(error)  # noqa: PT017
    else:
        assert set(found) == {"01_gmm25"}


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"cells": 1}', "not a notebook"])
def test_a_damaged_notebook_is_named(notebooks, content):
    (notebooks / "01_gmm25.ipynb").write_text(content)
    with pytest.raises(ValueError, match=r"01_gmm25\.ipynb is no readable notebook .*git checkout"):
        profile_parameters("mine", folder=notebooks)


def test_a_file_that_cannot_be_read_is_named(notebooks, monkeypatch, capsys):
    path = notebooks / "params" / "mine.yaml"
    path.unlink()
    path.mkdir()
    read = partial(profile_parameters, folder=notebooks)
    monkeypatch.setattr(reproduce, "profile_parameters", read)
    assert reproduce.main(["--profile", "mine"]) == 1
    assert capsys.readouterr().err == f"error: {path}: Is a directory\n"


# The estimate


@pytest.mark.parametrize(
    "content", ["", "[]", "full: null", "full: {a: x}", "full: {a: .nan}", "a: ["]
)
def test_damaged_typical_times_are_named(tmp_path, content):
    path = tmp_path / "seconds.yaml"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"seconds\.yaml (is damaged|has another).*git check"):
        typical_seconds(path, "full")


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
    for name in ("mine", "absent"):
        (tmp_path / "record").mkdir(exist_ok=True)
        (tmp_path / "record" / f"{name}.json").write_text(json.dumps(gmm25_like()))
    folder = tmp_path / "mine" / "full"
    folder.mkdir(parents=True)
    (folder / "summary.json").write_text(json.dumps(gmm25_like()))
    record = f"{tmp_path.name}/record/mine.json"
    assert compare_with_records("full", root=tmp_path) == [f"mine agrees with {record}"]
    assert compare_with_records("quick", root=tmp_path) == []
    changed = copy.deepcopy(gmm25_like())
    changed["verdicts"] = ["none"]
    (folder / "summary.json").write_text(json.dumps(changed))
    lines = compare_with_records("full", root=tmp_path)
    assert lines[0] == f"mine differs in 1 entries from {record}"
    assert lines[1].startswith("  verdicts: 'none' now")
    assert json.loads(renew("mine", root=tmp_path).read_text()) == changed
    assert compare_with_records("full", root=tmp_path) == [f"mine agrees with {record}"]
    with pytest.raises(ValueError, match=r"there is no .*absent.*`make reproduce` first"):
        renew("absent", root=tmp_path)
    (folder / "summary.json").write_text("{")
    with pytest.raises(ValueError, match=r"summary.json is damaged .*; delete it"):
        compare_with_records("full", root=tmp_path)


@pytest.mark.parametrize("content", ["[]", "null", "3", '"gmm25"', '{"seeds": {"1": {}}}', "{}"])
@pytest.mark.parametrize("place", ["record/gmm25.json", "gmm25/full/summary.json"])
def test_a_summary_of_another_shape_is_named(tmp_path, content, place):
    for name in ("record/gmm25.json", "gmm25/full/summary.json"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes((ROOT / "results" / "record" / "gmm25.json").read_bytes())
    assert compare_with_records("full", root=tmp_path)[0].startswith("gmm25 agrees")
    (tmp_path / place).write_text(content)
    with pytest.raises(ValueError, match=rf"{place} has another shape: .*found .*delete it"):
        compare_with_records("full", root=tmp_path)
    if place.startswith("gmm25"):
        with pytest.raises(ValueError, match="has another shape"):
            renew("gmm25", root=tmp_path)


@pytest.mark.parametrize("name", ["../gmm25", "./gmm25", "{root}/gmm25", "", "record/../gmm25"])
def test_an_experiment_is_a_name_and_no_path(tmp_path, name, capsys):
    folder = tmp_path / "results" / "gmm25" / "full"
    folder.mkdir(parents=True)
    (folder / "summary.json").write_bytes((ROOT / "results/record/gmm25.json").read_bytes())
    root = tmp_path / "results"
    with pytest.raises(ValueError, match=r"there is no full run of .*, only of \['gmm25'\]"):
        renew(name.format(root=root), root=root)
    assert not list(tmp_path.rglob("record"))
    assert compare_main(["--renew", name]) == 1
    assert "there is no full run of" in capsys.readouterr().err


NUMBERS = st.floats(-1e100, 1e100) | st.integers(-(10**400), 10**400)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=3),
    lambda node: (
        st.lists(node, max_size=3)
        | st.dictionaries(st.sampled_from(["seed", "seeds", "mean", "std", "1", "2", "a"]), node)
    ),
    max_leaves=12,
)


@given(JSON, JSON)
def test_any_two_documents_can_be_compared(one, other):
    new, record = {"a": one}, {"a": other}
    assert compare(new, new) == []
    assert all(isinstance(line, str) for line in compare(new, record))


def test_what_only_later_runs_have_is_compared():
    runs = {"1": {"kl": 0.5}, "2": {"kl": 0.5, "more": 0.5}}
    other = {"1": {"kl": 0.5}, "2": {"kl": 0.5, "more": 0.9}}
    (line,) = compare({"seeds": runs}, {"seeds": other})
    assert line.startswith("seeds, more: 0.5000 now, 0.9000")


def test_two_runs_of_one_seed_are_two_runs():
    def summary(*values):
        return {"runs": [{"seed": 0, "acc": value} for value in values]}

    assert compare(summary(0.5, 0.5), summary(0.5, 0.5)) == []
    assert compare(summary(0.9, 0.5), summary(0.5))[0] == "runs, which: ['0', '0'] now, ['0'] in " \
        "the record"  # fmt: skip
