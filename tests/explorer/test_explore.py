"""The function, the object that it gives, and its widget without a browser."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError

from biglearn_core import BigLearnEM, JointEM, explore
from tests.helpers import ROOT, blobs

pytest.importorskip("anywidget")

IRIS = load_iris(as_frame=True).data


@pytest.fixture(scope="module")
def model():
    rows = IRIS.copy()
    rows.iloc[::5, 2] = np.nan
    return BigLearnEM(3, random_state=0).fit(rows), rows


@pytest.fixture
def watched(monkeypatch):
    monkeypatch.setattr("biglearn_core.explorer.explorer.is_watched", lambda: True)


def decoded(frame, i=1):
    panel = frame["panels"][i]
    return {
        "means": np.frombuffer(panel["means"]).reshape(-1, 2),
        "labels": np.frombuffer(panel["labels"], np.uint16),
        "responsibilities": np.frombuffer(panel["responsibilities"], np.uint16) / 65535,
    }


def test_the_library_imports_no_widget_before_it_explores():
    code = "import sys, biglearn_core\n"
    code += "print(*({'anywidget', 'ipywidgets', 'matplotlib'} & {*sys.modules}))\n"
    code += "sys.modules['anywidget'] = None\n"
    code += "try: biglearn_core.explore('Iris')\nexcept ImportError as error: print(error)"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=ROOT, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    needs = "explore needs anywidget: pip install 'biglearn-em[explore]'"
    assert done.stdout.splitlines() == ["", needs]


def test_own_rows_come_alone_or_with_a_name():
    alone, named = explore(IRIS, n_components=2), explore("my flowers", IRIS, n_components=2)
    assert (alone.name, named.name) == ("own rows", "my flowers")
    assert named.columns == tuple(IRIS.columns)
    for a, b in zip(alone.step(2).panels(), named.step(2).panels(), strict=True):
        np.testing.assert_array_equal(a.means, b.means)
    by_name = explore(IRIS, features=["petal width (cm)", "sepal length (cm)"])
    assert by_name.features == (3, 0)
    np.testing.assert_array_equal(by_name.points, IRIS.iloc[:, [3, 0]])


@pytest.mark.parametrize(
    ("arguments", "options", "error", "text"),
    [
        (("Iris", IRIS), {}, ValueError, "leave X out, or call it otherwise"),
        ((IRIS, IRIS), {}, TypeError, "neither a fitted model nor a name"),
        (("Irys",), {}, ValueError, "did you mean 'Iris'"),
        (("Iris",), {"n_compnents": 3}, TypeError, "no setting n_compnents; it has n_comp"),
        (("Iris",), {"features": 0}, ValueError, "features must be two"),
        (("Iris",), {"features": ["a", "b"]}, ValueError, "no feature 'a'"),
        (("Iris",), {"coverage": 1.0}, ValueError, "below 1"),
        (("Iris",), {"colour_by": "class"}, ValueError, "colour_by must be one of"),
        (("Iris",), {"max_points": 0}, ValueError, "max_points"),
        ((IRIS,), {"n_rows": 9}, TypeError, "n_rows is for data that are drawn"),
        ((IRIS.head(6),), {"n_components": 7, "start": "k-means"}, ValueError, "got 6"),
        ((JointEM(2), IRIS), {}, NotFittedError, "not fitted"),
    ],
)
def test_what_cannot_be_explored_is_refused_at_once(arguments, options, error, text):
    with pytest.raises(error, match=text):
        explore(*arguments, **options)


def test_a_fitted_model_is_shown_with_the_rows_that_it_answers(model):
    estimator, rows = model
    explorer = explore(estimator, rows, features=[1, 2])
    (panel,) = explorer.panels()
    known = rows.iloc[:, 2].notna().to_numpy()
    assert explorer.n_left_out == (~known).sum() == 30
    np.testing.assert_array_equal(explorer.shown, np.flatnonzero(known))
    np.testing.assert_array_equal(panel.labels, estimator.predict(rows)[known])
    expected = estimator.predict_proba(rows).max(axis=1)[known]
    np.testing.assert_allclose(panel.responsibilities, expected)
    np.testing.assert_allclose(panel.means, estimator.means_[:, [1, 2]])
    np.testing.assert_allclose(panel.log_likelihood, estimator.score(rows))


def test_a_fitted_model_takes_no_steps_and_no_settings(model):
    explorer = explore(*model)
    for act in (explorer.step, explorer.restart):
        with pytest.raises(TypeError, match="takes no steps"):
            act()
    with pytest.raises(TypeError, match="explore\\(model, X\\)"):
        explore(model[0])
    with pytest.raises(TypeError, match="n_components, n_rows: these are for fits"):
        explore(*model, n_components=3, n_rows=5)
    with pytest.raises(ValueError, match="NaN in 30 rows"):
        explore(JointEM(2, random_state=0).fit(IRIS), model[1])
    empty = model[1].assign(**{IRIS.columns[0]: np.nan})
    with pytest.raises(ValueError, match="no row has values in sepal length"):
        explore(model[0], empty)


def test_of_many_rows_some_are_drawn_and_all_are_fitted():
    explorer = explore("25-GMM", n_rows=3000, max_points=100)
    assert explorer.subject.table.X.shape == (3000, 2)
    assert len(explorer.shown) == 100
    again = explore("25-GMM", n_rows=3000, max_points=100)
    np.testing.assert_array_equal(again.shown, explorer.shown)
    assert (np.diff(explorer.shown) > 0).all()


def test_a_refused_change_leaves_all_as_it_was():
    explorer = explore(blobs(n=10), n_components=2).step(3)
    before = explorer.subject
    with pytest.raises(ValueError, match="got 20"):
        explorer.restart(n_components=30, start="k-means")
    with pytest.raises(ValueError, match="coverage"):
        explorer.look(coverage=2.0, colour_by="uncertainty")
    assert explorer.subject is before
    assert (explorer.coverage, explorer.colour_by) == (0.9, "component")


def test_another_seed_draws_other_data_where_they_are_drawn():
    drawn = explore("Moons", n_rows=300)
    before = drawn.values
    drawn.restart(n_components=3)
    assert drawn.values is before
    drawn.restart(seed=1)
    assert drawn.values.shape == before.shape
    assert not np.array_equal(drawn.values, before)


def test_where_nobody_watches_a_figure_is_all():
    explorer = explore("Long lines", n_rows=200).step(3)
    bundle = explorer._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "image/png"}
    assert bundle["image/png"].startswith(b"\x89PNG")
    assert explorer._widget is None
    assert bundle["text/plain"] == repr(explorer)
    assert "200 rows of 2 columns, 15 EM steps" in repr(explorer)


def test_where_somebody_watches_the_figure_stands_beside_the_widget(watched, monkeypatch):
    explorer = explore("Long lines", n_rows=200)
    bundle = explorer._repr_mimebundle_()
    view = bundle["application/vnd.jupyter.widget-view+json"]
    assert view["model_id"] == explorer.widget.model_id
    assert bundle["image/png"].startswith(b"\x89PNG")
    assert bundle["text/plain"] == repr(explorer)
    monkeypatch.setitem(sys.modules, "biglearn_core.explorer.figure", None)
    assert "image/png" not in explorer._repr_mimebundle_()


@pytest.mark.parametrize("colour_by", ["component", "uncertainty"])
def test_the_figure_shows_the_panels(model, colour_by):
    stepped = explore("Wine", features=[0, 4], colour_by=colour_by).step(4)
    joint, biglearn, curves = stepped.figure().axes[:3]
    assert [axes.get_title(loc="left").split(":")[0] for axes in (joint, biglearn)] == [
        "Joint-EM", "BigLearn-EM"
    ]  # fmt: skip
    assert joint.get_xlabel() == "alcohol"
    assert len(joint.patches) == len(biglearn.patches) == 3
    for drawn, fit in zip(curves.lines, stepped.subject.fits, strict=True):
        np.testing.assert_array_equal(drawn.get_xdata(), [0, 5, 10, 15, 20])
        np.testing.assert_array_equal(drawn.get_ydata(), fit.log_likelihood)
    (alone,) = explore(*model, colour_by=colour_by).figure().axes
    assert len(alone.patches) == 3


def test_the_widget_is_told_what_the_panels_say():
    explorer = explore("Wine", seed=1)
    widget = explorer.widget
    assert explorer.widget is widget
    scene = widget.picture.scene
    np.testing.assert_array_equal(
        np.frombuffer(scene["points"]).reshape(-1, 2), explorer.points
    )  # fmt: skip
    np.testing.assert_array_equal(np.frombuffer(scene["rows"], np.uint32), np.arange(178))
    widget.picture._handle_custom_msg({"ask": "step"}, [])
    assert explorer.subject.n_tasks == 1
    frame = widget.picture.frame
    assert (frame["n_steps"], frame["error"]) == (5, "")
    for i, panel in enumerate(explorer.panels()):
        told = decoded(frame, i)
        np.testing.assert_array_equal(told["means"], panel.means)
        np.testing.assert_array_equal(told["labels"], panel.labels)
        np.testing.assert_allclose(told["responsibilities"], panel.responsibilities, atol=1e-5)
        curve = np.frombuffer(frame["curves"][i])
        np.testing.assert_array_equal(curve, explorer.subject.fits[i].log_likelihood)
    widget.picture._handle_custom_msg({"ask": "restart"}, [])
    assert explorer.subject.n_tasks == 0
    assert widget.picture.frame["n_steps"] == 0


def test_a_step_sends_the_rows_no_second_time():
    explorer = explore("25-GMM", n_rows=500)
    widget, sent = explorer.widget, []
    widget.picture.observe(lambda change: sent.append(change["name"]))
    explorer.step(2)
    assert "scene" not in sent
    assert "frame" in sent


def test_controls_change_what_they_say():
    explorer = explore("25-GMM", n_rows=300).step(2)
    fits, view = explorer.widget.fits, explorer.widget.view
    fits.n_components.value = 7
    assert (explorer.subject.settings.n_components, explorer.subject.n_tasks) == (7, 0)
    assert len(decoded(explorer.widget.picture.frame)["means"]) == 7
    fits.start.value, fits.seed.value, fits.n_local_steps.value = "k-means", 4, 2
    fits.probabilities.value = (0.3, 0.5)
    fits.transform.value = "rotation"
    settings = explorer.subject.settings
    assert (settings.start, settings.seed, settings.n_local_steps) == ("k-means", 4, 2)
    assert (settings.p_joint, settings.p_marginal, settings.transform) == (0.3, 0.2, "rotation")
    view.across.value = 1
    assert explorer.features == (1, 0)
    assert (view.across.value, view.up.value) == (1, 0)
    view.coverage.value, view.colour_by.value = 0.5, "uncertainty"
    assert explorer.widget.picture.scene["coverage"] == 0.5
    assert explorer.widget.picture.scene["colour_by"] == "uncertainty"
    fits.data.value = "Wine"
    assert explorer.name == "Wine"
    assert (fits.n_components.value, explorer.features) == (3, (0, 1))
    assert view.up.options[12] == ("proline", 12)


def test_controls_show_what_python_changes():
    explorer = explore("Iris")
    fits = explorer.widget.fits
    explorer.restart(n_components=60, seed=8, p_joint=0.1, p_marginal=0.2)
    assert (fits.n_components.value, fits.n_components.max, fits.seed.value) == (60, 60, 8)
    assert fits.probabilities.value == pytest.approx((0.1, 0.3))


def test_a_refusal_is_told_in_the_picture_and_the_control_goes_back():
    explorer = explore("few", blobs(n=4), n_components=2, start="k-means").step(1)
    explorer.widget.fits.n_components.value = 9
    assert "n_components=9 needs as many points" in explorer.widget.picture.frame["error"]
    assert explorer.widget.fits.n_components.value == 2
    assert explorer.subject.n_tasks == 1
    explorer.widget.fits.n_components.value = 3
    assert explorer.widget.picture.frame["error"] == ""


def test_own_rows_are_found_again_after_other_data():
    explorer = explore("mine", pd.DataFrame(blobs(), columns=["a", "b"]))
    data = explorer.widget.fits.data
    data.value = "Moons"
    data.value = "mine"
    assert explorer.columns == ("a", "b")


def test_closing_closes_every_part_and_the_state_stays():
    from ipywidgets.widgets.widget import _instances

    before = set(_instances)
    explorer = explore("Iris")
    explorer.widget.picture._handle_custom_msg({"ask": "step"}, [])
    explorer.close()
    left = [_instances[key] for key in set(_instances) - before]
    assert not [w for w in left if hasattr(w, "children") or hasattr(w, "value")]
    assert explorer.subject.n_tasks == 1
    explorer.close()
