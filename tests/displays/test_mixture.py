"""Pictures of mixtures: what is drawn, where, in which colours, and what is refused."""

import io

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib import pyplot
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from biglearn_core import GMM, BigLearnEM, JointEM, MixtureDisplay
from biglearn_core.displays.mixture import KINDS
from biglearn_core.displays.style import COLOURS

PETAL = ["petal length (cm)", "petal width (cm)"]


@pytest.fixture(scope="module")
def iris():
    return load_iris(as_frame=True).data


@pytest.fixture(scope="module")
def fitted(iris):
    return BigLearnEM(3, random_state=0).fit(iris)


def many(K, rows=20):
    """Rows and estimator of K components on a ring."""
    rng = np.random.default_rng(0)
    angles = 2 * np.pi * np.arange(K) / K
    means = 10 * np.c_[np.cos(angles), np.sin(angles)]
    truth = GMM(
        torch.full((K,), 1 / K, dtype=torch.float64),
        torch.from_numpy(means),
        0.04 * torch.eye(2, dtype=torch.float64).repeat(K, 1, 1),
    )
    X = rng.normal(means.repeat(rows, axis=0), 0.2)
    return X, JointEM(K, init=truth, tol=0.1).fit(X)


def drawn(display):
    """Rows drawn, from all collections, in order of their first coordinate."""
    offsets = np.concatenate([points.get_offsets().filled() for points in display.points_])
    return offsets[np.lexsort(offsets.T)]


def render(display):
    display.figure_.savefig(io.BytesIO(), format="png")


def test_classes_have_colours_markers_and_ellipses_of_their_own(fitted, iris):
    display = MixtureDisplay.from_estimator(fitted, iris, features=PETAL)
    labels = fitted.predict(iris)
    assert [len(p.get_offsets()) for p in display.points_] == np.bincount(labels).tolist()
    for k, points in enumerate(display.points_):
        assert to_hex(points.get_facecolor()[0]).upper() == COLOURS[k]
        np.testing.assert_array_equal(points.get_offsets(), iris.loc[labels == k, PETAL])
    ((*ellipses,),) = display.ellipses_
    for k, ellipse in enumerate(ellipses):
        np.testing.assert_allclose(ellipse.get_center(), fitted.means_[k, 2:])
    assert (display.ax_.get_xlabel(), display.ax_.get_ylabel()) == tuple(PETAL)
    assert display.legend_.get_title().get_text() == "component"
    assert [t.get_text()[0] for t in display.legend_.get_texts()] == ["0", "1", "2"]
    assert "(33 %)" in {t.get_text().split("  ")[1] for t in display.legend_.get_texts()}
    assert display.note_.get_text() == "ellipses: 90 % of each component"
    assert display.ax_.get_title() == ""
    render(display)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_draws_all_rows_once(fitted, iris, kind):
    display = MixtureDisplay.from_estimator(fitted, iris, features=(3, 0), kind=kind)
    expected = iris.to_numpy()[:, [3, 0]]
    np.testing.assert_array_equal(drawn(display), expected[np.lexsort(expected.T)])
    assert (display.colorbar_ is None) == (kind == "classification")
    assert (display.density_ is not None) == (kind == "density")
    assert (display.legend_ is None) == (kind != "classification")
    assert len(display.numbers_) == (0 if kind == "classification" else 3)
    render(display)


def test_uncertainty_is_of_all_features_and_the_uncertain_lie_on_top(fitted, iris):
    display = MixtureDisplay.from_estimator(fitted, iris, features=PETAL, kind="uncertainty")
    (points,) = display.points_
    uncertainty = 1 - fitted.predict_proba(iris).max(axis=1)
    order = uncertainty.argsort(kind="stable")
    np.testing.assert_allclose(points.get_array(), uncertainty[order], atol=1e-12)
    np.testing.assert_array_equal(points.get_offsets(), iris[PETAL].to_numpy()[order])
    assert (np.diff(points.get_sizes()) >= 0).all()
    assert points.get_sizes()[-1] > 2 * points.get_sizes()[0]
    assert display.colorbar_.ax.get_ylabel() == "uncertainty"


def test_coverages_nest_and_are_stated(fitted, iris):
    display = MixtureDisplay.from_estimator(fitted, iris, coverage=(0.95, 0.5, 0.75))
    assert display.note_.get_text() == "ellipses: 50, 75 and 95 % of each component"
    widths = np.array([[e.get_width() for e in ellipses] for ellipses in display.ellipses_])
    assert widths.shape == (3, 3)
    radii = np.sqrt(-2 * np.log(1 - np.array([0.5, 0.75, 0.95])))
    np.testing.assert_allclose(widths / widths[0], (radii / radii[0])[:, None].repeat(3, 1))
    nothing = display.plot(coverage=None)
    assert (nothing.ellipses_, nothing.note_.get_text()) == ([], "")


def test_rows_without_the_values_shown_are_left_out_and_counted(fitted, iris):
    gaps = iris.copy()
    gaps.iloc[:7, 2] = np.nan
    gaps.iloc[5:9, 3] = np.nan
    gaps.iloc[20:60, 0] = np.nan
    display = MixtureDisplay.from_estimator(fitted, gaps, features=PETAL)
    assert display.n_left_out == 9
    assert display.note_.get_text().endswith("\n9 rows without these values left out")
    assert len(drawn(display)) == 141
    labels = fitted.predict(gaps)[9:]
    assert [len(p.get_offsets()) for p in display.points_] == np.bincount(labels).tolist()
    one = MixtureDisplay.from_estimator(fitted, gaps[5:20], features=3)
    assert one.note_.get_text() == "4 rows without these values left out"
    with pytest.raises(ValueError, match=r"no row has a value in petal width \(cm\)"):
        MixtureDisplay.from_estimator(fitted, gaps[5:9], features=PETAL[1])
    with pytest.raises(ValueError, match="contains NaN in 49 rows"):
        MixtureDisplay.from_estimator(JointEM(2, random_state=0).fit(iris), gaps)


def test_many_rows_are_thinned_the_same_way_every_time(fitted, iris):
    one, two = (MixtureDisplay.from_estimator(fitted, iris, max_points=40) for _ in range(2))
    assert len(drawn(one)) == 40
    np.testing.assert_array_equal(drawn(one), drawn(two))
    assert "40 of 150 rows drawn" in one.note_.get_text()
    expected = fitted.predict(iris)[one.shown]
    np.testing.assert_array_equal(one.responsibilities.argmax(axis=1), expected)
    histogram = MixtureDisplay.from_estimator(fitted, iris, features=0, max_points=40)
    assert histogram.note_.get_text() == ""
    assert not one.points_[0].get_rasterized()
    rows = pd.concat([iris] * 14)
    assert MixtureDisplay.from_estimator(fitted, rows).points_[0].get_rasterized()


@pytest.mark.parametrize("feature", [2, "petal length (cm)", ["petal length (cm)"]])
def test_one_feature_has_a_histogram_and_curves_that_add_up(fitted, iris, feature):
    display = MixtureDisplay.from_estimator(fitted, iris, features=feature)
    heights, edges, _ = display.histogram_.get_data()
    assert (heights * np.diff(edges)).sum() == pytest.approx(1.0)
    whole, *parts = display.curves_
    assert len(parts) == 3
    x = whole.get_xdata()
    np.testing.assert_allclose(sum(p.get_ydata() for p in parts), whole.get_ydata(), rtol=1e-9)
    for k, part in enumerate(parts):
        mean, variance = fitted.means_[k, 2], fitted.covariances_[k, 2, 2]
        density = np.exp(-((x - mean) ** 2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)
        np.testing.assert_allclose(part.get_ydata(), fitted.weights_[k] * density, rtol=1e-6)
    assert np.trapezoid(whole.get_ydata(), x) == pytest.approx(1.0, abs=0.02)
    assert display.ax_.get_xlabel() == "petal length (cm)"
    assert display.ax_.get_ylabel() == "density"
    assert display.ellipses_ == []
    texts = [t.get_text() for t in display.legend_.get_texts()]
    assert texts[:2] == ["rows", "density"]
    assert len(texts) == 5
    render(display)


def test_one_feature_alone_and_other_kinds(fitted, iris):
    display = MixtureDisplay.from_estimator(fitted, iris, features=1, kind="density")
    assert len(display.curves_) == 1
    display.plot(kind="uncertainty")
    assert display.ax_.get_ylabel() == "uncertainty"
    assert display.histogram_ is None
    x = iris.iloc[:, [0]].to_numpy()
    single = MixtureDisplay.from_estimator(BigLearnEM(2, random_state=0).fit(x), x)
    assert single.ax_.get_xlabel() == "feature 0"
    assert len(single.curves_) == 3


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("features", [(0, 1), 0])
def test_fifty_components_stay_apart(kind, features):
    X, model = many(50)
    display = MixtureDisplay.from_estimator(model, X, features=features, kind=kind)
    render(display)
    if features == (0, 1):
        written = ", ".join(t.get_text().replace("\n", ", ") for t in display.numbers_)
        assert sorted(map(int, written.split(", "))) == list(range(50))
        assert len(display.numbers_) > 25
    if features == (0, 1) and kind == "classification":
        assert display.legend_ is None
        looks = {
            (to_hex(p.get_facecolor()[0]), p.get_paths()[0].vertices.tobytes())
            for p in display.points_
        }
        assert len(looks) == 50
        # Neighbours on the ring differ in colour.
        colours = np.array([to_hex(p.get_facecolor()[0]) for p in display.points_])
        order = np.arctan2(model.means_[:, 1], model.means_[:, 0]).argsort()
        assert (colours[order] != colours[np.roll(order, 1)]).all()


@pytest.mark.parametrize("units", [1e-9, 1e9])
def test_units_change_the_numbers_on_the_axes_alone(fitted, iris, units):
    X = iris.to_numpy()
    scaled = BigLearnEM(3, random_state=0).fit(X * units)
    one = MixtureDisplay.from_estimator(BigLearnEM(3, random_state=0).fit(X), X)
    other = MixtureDisplay.from_estimator(scaled, X * units)
    np.testing.assert_allclose(drawn(other), units * drawn(one))
    for axis in ("x", "y"):
        limits = (getattr(d.ax_, f"get_{axis}lim")() for d in (one, other))
        np.testing.assert_allclose(units * np.array(next(limits)), next(limits), rtol=1e-5)
    other.plot(kind="density")
    render(other)


def test_axes_that_are_given_are_drawn_on_and_nothing_else(fitted, iris):
    figure = Figure()
    left, right = figure.subplots(1, 2)
    display = MixtureDisplay.from_estimator(fitted, iris, ax=right)
    assert (display.ax_, display.figure_) == (right, figure)
    assert not left.has_data()
    assert pyplot.get_fignums() == []
    right.plot([-5, 20], [-5, 20])
    right.set(xlim=(-5, 20), ylim=(-5, 20))
    display.plot(right)
    assert right.get_xlim() == (-5, 20)
    render(display)


def test_a_part_of_a_figure_keeps_its_colour_bar(fitted, iris):
    figure = Figure(layout="constrained")
    left, right = figure.subfigures(1, 2)
    display = MixtureDisplay.from_estimator(fitted, iris, kind="density", ax=right.subplots())
    assert display.figure_ is figure
    assert (len(left.axes), len(right.axes)) == (0, 2)
    render(display)


def test_own_figures_are_those_of_pyplot(fitted, iris):
    display = MixtureDisplay.from_estimator(fitted, iris)
    assert pyplot.get_fignums() == [display.figure_.number]
    pyplot.close(display.figure_)
    again = display.plot()
    assert again is display
    assert len(pyplot.get_fignums()) == 1


def test_rows_that_are_all_the_same_are_shown(fitted, iris):
    render(MixtureDisplay.from_estimator(fitted, iris[:1]))
    render(MixtureDisplay.from_estimator(fitted, iris[:1], features=0))


def test_a_row_far_out_is_counted_and_does_not_squeeze_the_others(fitted, iris):
    X = iris.copy()
    X.iloc[3] = 1e6
    for features in ((0, 1), 0):
        for kind in KINDS:
            far = MixtureDisplay.from_estimator(fitted, X, features=features, kind=kind)
            near = MixtureDisplay.from_estimator(
                fitted, X.drop(index=3), features=features, kind=kind
            )
            assert far.ax_.get_xlim() == near.ax_.get_xlim()
            assert "1 row out of view" in far.note_.get_text()
            assert "view" not in near.note_.get_text()
            pyplot.close("all")
    heights, edges, _ = MixtureDisplay.from_estimator(fitted, X, features=0).histogram_.get_data()
    assert (heights * np.diff(edges)).sum() == pytest.approx(149 / 150)
    elsewhere = MixtureDisplay.from_estimator(fitted, X.iloc[[3]])
    low, high = elsewhere.ax_.get_xlim()
    assert low < 1e6 < high
    render(elsewhere)


def test_float32_and_one_component(iris):
    X = iris.to_numpy(dtype=np.float32)
    model = BigLearnEM(1).fit(X)
    for kind in KINDS:
        display = MixtureDisplay.from_estimator(model, X, kind=kind)
        assert display.mixture.dtype == torch.float64
        assert display.numbers_ == []
        render(display)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        (
            {"kind": "clusters"},
            ValueError,
            "one of classification, uncertainty, density, got 'clusters'",
        ),
        ({"coverage": 1.0}, ValueError, "below 1, got 1.0"),
        ({"coverage": (0.5, 0)}, ValueError, "coverage must be finite and positive, got 0"),
        ({"coverage": "most"}, TypeError, "coverage must be a number"),
        ({"max_points": 0}, ValueError, "max_points must be at least 1"),
        ({"features": (0, 4)}, ValueError, "4 is out of range: there are 4, from 0 to 3"),
        ({"features": "petal"}, ValueError, "no feature 'petal'"),
    ],
)
def test_what_is_out_of_range_is_refused_before_a_figure_is_made(
    fitted, iris, options, error, text
):
    with pytest.raises(error, match=text):
        MixtureDisplay.from_estimator(fitted, iris, **options)
    assert pyplot.get_fignums() == []


def test_other_data_and_unfitted_estimators_are_refused(fitted, iris):
    with pytest.raises(NotFittedError):
        MixtureDisplay.from_estimator(BigLearnEM(3), iris)
    with pytest.raises(ValueError, match="feature names should match"):
        MixtureDisplay.from_estimator(fitted, iris[PETAL])
    pipeline = make_pipeline(StandardScaler(), BigLearnEM(2, random_state=0)).fit(iris)
    with pytest.raises(TypeError, match="no one mixture to draw in a Pipeline"):
        MixtureDisplay.from_estimator(pipeline, iris)
    axes = Figure().subplots()
    axes.remove()
    with pytest.raises(ValueError, match="removed from its figure"):
        MixtureDisplay.from_estimator(fitted, iris, ax=axes)
