"""The quickstart's comparison of starts: what is there is read."""

from dataclasses import replace

import pytest

from biglearn_core import BigLearnEM, JointEM
from biglearn_core.experiments.quickstart import run as quickstart

CONFIG = quickstart.Config(seeds=(0, 1), n_digits=300, n_components=4)


def refuse(*_):
    raise AssertionError("computed again")


# Pen coordinates are often exactly 0 or 1, where a component ends on the floor.
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_starts_are_those_of_the_estimators_and_read_when_they_are_there(tmp_path, monkeypatch):
    X = quickstart.pen_strokes(CONFIG)
    table = quickstart.compare_starts(X, CONFIG, root=tmp_path)
    for seed in CONFIG.seeds:
        for name, Estimator in (("plain EM", JointEM), ("BigLearnEM", BigLearnEM)):
            model = Estimator(4, covariance_floor=1e-2, random_state=seed).fit(X)
            assert table.loc[seed, name] == model.lower_bound_
    monkeypatch.setattr(quickstart, "_fit_start", refuse)
    one = quickstart.compare_starts(X, replace(CONFIG, seeds=(1,)), root=tmp_path)
    assert one.equals(table.loc[[1]])
    with pytest.raises(AssertionError, match="computed again"):  # other data
        quickstart.compare_starts(X[1:], replace(CONFIG, seeds=(1,)), root=tmp_path)
