"""Progress: unasked where somebody watches, and only when it takes long."""

import io
import sys

import numpy as np

from biglearn_core import BigLearnEM
from biglearn_core.system import progress as module
from biglearn_core.system.progress import is_watched, progress_bar


class Terminal(io.StringIO):
    def isatty(self):
        return True


def watch(monkeypatch):
    """Make standard error a terminal; within a test, since a capture begins anew for each."""
    monkeypatch.delenv("BIGLEARN_QUIET", raising=False)
    monkeypatch.setattr(sys, "stderr", Terminal())
    return sys.stderr


def fit(**options):
    X = np.random.default_rng(0).normal(size=(300, 2))
    BigLearnEM(3, random_state=0, **options).fit(X)


def test_a_fit_that_takes_long_shows_itself(monkeypatch):
    terminal = watch(monkeypatch)
    fit()
    assert terminal.getvalue() == ""
    monkeypatch.setattr(module, "_PATIENCE", 1e-9)
    fit(n_init=30)
    assert "log-likelihood" in terminal.getvalue()


def test_headless_runs_and_quiet_ones_are_silent(capsys, monkeypatch):
    monkeypatch.setattr(module, "_PATIENCE", 1e-9)
    assert not is_watched()
    fit()
    assert capsys.readouterr().err == ""
    fit(verbose=1)
    assert "log-likelihood" in capsys.readouterr().err


def test_the_environment_silences(monkeypatch):
    watch(monkeypatch)
    assert is_watched()
    monkeypatch.setenv("BIGLEARN_QUIET", "1")
    assert not is_watched()
    assert progress_bar(0, unit="step").disable
