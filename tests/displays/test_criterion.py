"""Criteria over the number of components: curves, the chosen one, and tables of users' own."""

import io
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError

from biglearn_core import (
    BigLearnEM,
    CriterionDisplay,
    HistoryDisplay,
    MixtureDisplay,
    MixtureSelection,
)
from biglearn_core.displays.criterion import Chosen
from tests.helpers import random_points

TYPES = (
    *("EII", "VII", "EEI", "VEI", "EVI", "VVI", "EEE"),
    *("VEE", "EVE", "VVE", "EEV", "VEV", "EVV", "VVV"),
)


def table(types=("full", "diag"), numbers=(1, 2, 3, 5, 9)):
    """A table of fits as MixtureSelection leaves it, in no order, the least at (3, first type)."""
    rows = [
        (name, K, -5.0 + K / 10, 7 * K, 100.0 + 4 * (K - 3) ** 2 + 10 * position)
        for position, name in enumerate(types)
        for K in numbers
    ]
    columns = ["covariance_type", "n_components", "log_likelihood", "n_parameters", "bic"]
    results = pd.DataFrame(rows, columns=columns)
    results["criterion"] = results["bic"]
    results["icl"] = results["bic"] + 30 * (results["n_components"] > 2)
    return results.sample(frac=1, random_state=0)


class Selection(BaseEstimator):
    """As much of MixtureSelection as a display looks at."""

    def __init__(self, criterion="icl"):
        self.criterion = criterion

    def fit(self):
        self.results_ = table()
        self.n_components_, self.covariance_type_, self.criterion_ = 3, "full", 100.0
        return self


def render(display):
    display.figure_.savefig(io.BytesIO(), format="png")


def test_every_type_is_a_curve_in_the_order_of_the_numbers():
    display = CriterionDisplay.from_results(table())
    assert set(display.lines_) == {"full", "diag"}
    x, y = display.lines_["diag"].get_data()
    assert x.tolist() == [1, 2, 3, 5, 9]
    np.testing.assert_allclose(y, 110 + 4 * (x - 3.0) ** 2)
    assert display.chosen == (3, "full")
    np.testing.assert_array_equal(display.chosen_.get_offsets(), [[3, 100.0]])
    assert display.ax_.get_xlabel() == "number of components"
    assert display.ax_.get_ylabel() == "criterion, smaller is better"
    assert display.note_.get_text().startswith("chosen: 3 components, full (100.0)")
    widths = {name: line.get_linewidth() for name, line in display.lines_.items()}
    assert widths["full"] > widths["diag"]
    render(display)


def test_another_column_has_its_name_and_its_own_minimum():
    display = CriterionDisplay.from_results(table(), criterion="icl")
    assert display.chosen == Chosen(2, "full")
    assert display.ax_.get_ylabel() == "ICL (nats), smaller is better"


def test_a_mapping_of_lists_does_as_well_as_a_frame():
    results = {name: column.tolist() for name, column in table().items()}
    assert CriterionDisplay.from_results(results).chosen == (3, "full")


def test_a_selection_says_itself_what_it_has_chosen():
    selection = Selection().fit()
    selection.n_components_, selection.covariance_type_ = 2, "diag"
    display = CriterionDisplay.from_estimator(selection)
    np.testing.assert_array_equal(display.chosen_.get_offsets(), [[2, 114.0]])
    assert display.ax_.get_ylabel() == "ICL (nats), smaller is better"
    selection.n_components_ = 9  # by a rule of one's own
    display = CriterionDisplay.from_estimator(selection)
    assert display.ax_.get_ylim()[1] >= 254
    own = Selection(criterion=lambda estimator, X, sample_weight: 0.0).fit()
    display = CriterionDisplay.from_estimator(own)
    assert display.ax_.get_ylabel() == "criterion, smaller is better"


def test_a_real_selection_its_mixture_and_its_history():
    X = random_points(0, N=120, D=2).numpy()
    selection = MixtureSelection(
        max_components=4, covariance_type=("full", "spherical"), random_state=0
    ).fit(X)
    display = CriterionDisplay.from_estimator(selection)
    assert display.chosen == (selection.n_components_, selection.covariance_type_)
    (place,) = display.chosen_.get_offsets()
    np.testing.assert_allclose(place, [selection.n_components_, selection.criterion_])
    assert display.ax_.get_ylabel() == "BIC (nats), smaller is better"
    mixture = MixtureDisplay.from_estimator(selection, X)
    assert len(mixture.ellipses_[0]) == selection.n_components_
    assert "start" in HistoryDisplay.from_estimator(selection).points_


def test_fourteen_types_differ_in_look_and_are_named():
    figure = Figure(figsize=(3.3, 2.6), layout="constrained")
    display = CriterionDisplay.from_results(table(TYPES), ax=figure.subplots())
    looks = {
        (line.get_color(), line.get_linestyle(), line.get_marker())
        for line in display.lines_.values()
    }
    assert len(looks) == 14
    assert [t.get_text() for t in display.legend_.get_texts()] == list(display.lines_)
    render(display)
    assert display.legend_.get_window_extent().y0 >= 0
    assert pyplot.get_fignums() == []


def test_bad_fits_do_not_squeeze_the_good_ones_and_are_counted():
    results = table()
    results.loc[results["n_components"] == 1, "criterion"] = 1e6
    results.loc[results["n_components"] == 9, "criterion"] = np.inf
    display = CriterionDisplay.from_results(results)
    low, top = display.ax_.get_ylim()
    assert low < 100
    assert top >= 110
    assert len(display.lines_["full"].get_xdata()) == 4
    assert "2 of 10 fits lie above" in display.note_.get_text()


def test_types_that_are_far_worse_are_named_and_out_of_view():
    results = table((*TYPES[:6], "spherical"))
    worse = results["covariance_type"] == "spherical"
    results.loc[worse, "criterion"] += 1e4
    results.loc[worse, "n_components"] *= 10
    display = CriterionDisplay.from_results(results)
    assert display.ax_.get_ylim()[1] < 500
    assert display.ax_.get_xlim()[1] < 12
    assert "spherical ↑" in {t.get_text() for t in display.legend_.get_texts()}
    assert "↑ all of a type" in display.note_.get_text()
    render(display)


def test_a_single_fit_is_a_picture():
    display = CriterionDisplay.from_results(table(("full",), (1,)))
    assert display.note_.get_text() == "chosen: 1 component, full (116.0)"
    render(display)


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(ValueError, match=r"lack \['aic'\]; there are \['covariance_type'"):
        CriterionDisplay.from_results(table(), criterion="aic")
    with pytest.raises(ValueError, match="no value of 'criterion' is finite"):
        CriterionDisplay.from_results(table().assign(criterion=np.nan))
    with pytest.raises(ValueError, match="is finite"):
        CriterionDisplay.from_results(table()[:0])
    with pytest.raises(NotFittedError):
        CriterionDisplay.from_estimator(Selection())
    fitted = BigLearnEM(1).fit(np.arange(20.0)[:, None])
    with pytest.raises(TypeError, match="BigLearnEM compares no numbers of components"):
        CriterionDisplay.from_estimator(fitted)
    with pytest.raises(TypeError):
        CriterionDisplay.from_estimator(SimpleNamespace())
    assert pyplot.get_fignums() == []
