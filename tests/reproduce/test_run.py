"""What `make reproduce` is made of: the profile, the estimate, the lock."""

import errno
import math
import os
import sys
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from biglearn_core.reproduce import run as reproduce
from biglearn_core.reproduce.run import profile_parameters
from biglearn_core.reproduce.time_left import format_seconds, seconds_left, ticking, typical_seconds
from biglearn_core.system.run_lock import LockedError, run_lock
from tests.helpers import ROOT

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


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has locks of its own")
@pytest.mark.parametrize("answer", [errno.ENOLCK, errno.ENOSYS])
def test_without_flock_it_says_so_and_goes_on(tmp_path, monkeypatch, capsys, answer):
    import fcntl

    def refuse(*_):
        raise OSError(answer, os.strerror(answer))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with run_lock(tmp_path / ".lock"), run_lock(tmp_path / ".lock"):
        pass
    assert capsys.readouterr().err.count("start no second run here\n") == 2
