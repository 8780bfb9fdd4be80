"""Histories of fits: every move or iteration where it belongs."""

import io

import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure
from sklearn.exceptions import NotFittedError

from biglearn_core import BigLearnEM, HistoryDisplay, JointEM
from biglearn_core.search.search import SearchHistory
from tests.helpers import random_points

X = random_points(0, N=150, D=2).numpy()


def offsets(points):
    return points.get_offsets().filled(np.nan).tolist()


def render(display):
    display.figure_.savefig(io.BytesIO(), format="png")


def search():
    """Two basins: start, a swap that is kept, one that is refused; start, nothing; joint."""
    return SearchHistory.of(
        [
            (0, 0, -3.0, True, 10, 0, 0),
            (0, 1, -2.5, True, 5, 0, 0),
            (0, 1, -2.6, False, 7, 0, 0),
            (0, 1, np.nan, False, 1, 0, 0),
            (1, 0, -2.8, True, 4, 0, 0),
            (1, 2, -2.4, True, 3, 0, 0),
        ],
        "returned",
    )


def test_moves_stand_at_the_steps_taken_until_then():
    display = HistoryDisplay(history=search()).plot()
    assert offsets(display.points_["start"]) == [[10, -3.0], [27, -2.8]]
    assert offsets(display.points_["swap"]) == [[15, -2.5]]
    assert offsets(display.points_["refused swap"]) == [[22, -2.6]]
    assert offsets(display.points_["joint"]) == [[30, -2.4]]
    assert [line.get_xydata().tolist() for line in display.lines_] == [
        [[10, -3.0], [15, -2.5]],
        [[27, -2.8]],
    ]
    assert display.ax_.get_xlabel() == "EM steps"
    assert display.ax_.get_ylabel() == "log-likelihood (nats)"
    assert display.note_.get_text() == (
        "mean over rows\nsearch ended: other starts led to the same optimum"
    )
    assert display.ax_.get_xlim()[0] == 0
    render(display)


def test_the_default_fit_shows_all_its_moves():
    model = BigLearnEM(5, random_state=0).fit(X)
    history = model.history_
    display = HistoryDisplay.from_estimator(model)
    shown = sum(len(points.get_offsets()) for points in display.points_.values())
    assert shown == np.isfinite(history.log_likelihood).sum()
    (last,) = offsets(display.points_["joint"])
    assert last == [history.n_steps.sum(), history.log_likelihood[-1]]
    assert last[0] == model.n_iter_
    assert len(display.lines_) == history.start.max() + 1
    assert "standardised features" in display.note_.get_text()
    render(display)


def test_joint_em_is_one_line():
    model = JointEM(3, random_state=0).fit(X)
    figure = Figure()
    display = HistoryDisplay.from_estimator(model, ax=figure.subplots())
    (line,) = display.lines_
    np.testing.assert_array_equal(line.get_ydata(), model.history_.log_likelihood)
    np.testing.assert_array_equal(line.get_xdata(), 1 + np.arange(model.n_iter_))
    assert (display.points_, display.legend_, display.figure_) == ({}, None, figure)
    assert pyplot.get_fignums() == []
    render(display)


def test_tasks_of_the_paper_are_told_apart_and_drawn_per_coordinate():
    model = BigLearnEM(2, preset="paper", max_iter=60, random_state=1).fit(X)
    history = model.history_
    display = HistoryDisplay.from_estimator(model)
    for kind, name in enumerate(("joint", "marginal", "transformed")):
        chosen = history.task == kind
        expected = np.c_[
            1 + np.flatnonzero(chosen), (history.log_likelihood / history.n_coordinates)[chosen]
        ]
        np.testing.assert_allclose(display.points_[name].get_offsets(), expected)
    colours = {tuple(points.get_facecolor()[0]) for points in display.points_.values()}
    assert len(colours) == 3
    assert display.ax_.get_xlabel() == "iteration"
    assert display.note_.get_text() == "mean over rows, per coordinate"
    names = {t.get_text() for t in display.legend_.get_texts()}
    assert names == {"joint", "marginal", "transformed"}
    render(display)


def test_an_unfitted_estimator_is_refused():
    with pytest.raises(NotFittedError):
        HistoryDisplay.from_estimator(BigLearnEM(2))
    assert pyplot.get_fignums() == []
