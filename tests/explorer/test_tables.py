import numpy as np
import pandas as pd
import pytest

from biglearn_core.explorer.tables import TABLE_NAMES, named_table, own_table, redrawn


@pytest.mark.parametrize("name", TABLE_NAMES)
def test_every_named_table_is_whole(name):
    table = named_table(name, seed=3)
    N, D = table.values.shape
    assert table.name == name
    assert len(table.columns) == D >= 2
    assert len(set(table.columns)) == D
    assert np.isfinite(table.values).all()
    assert 1 < table.n_components < N
    again = named_table(name, seed=3)
    np.testing.assert_array_equal(again.values, table.values)
    other = redrawn(table, 4)
    assert (other is table) == (name not in TABLE_NAMES[:5])


def test_the_fits_see_unit_scale_and_constants_as_they_are():
    rows = np.random.default_rng(0).normal(size=(50, 3)) * [1, 1e4, 0] + [0, 5, 3]
    table = own_table("own", rows)
    X = table.X.numpy()
    np.testing.assert_allclose(X.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(X.std(axis=0), [1, 1, 0], atol=1e-12)
    np.testing.assert_allclose(X * table.scale + table.offset, rows, rtol=1e-12)


def test_a_frame_keeps_its_names():
    frame = pd.DataFrame({"length": [1, 2, 3], "width": [4.0, 5.0, 7.0]})
    table = own_table("own", frame)
    assert table.columns == ("length", "width")
    np.testing.assert_array_equal(table.values, frame.to_numpy())
    assert own_table("own", frame.to_numpy()).columns == ("feature 0", "feature 1")


@pytest.mark.parametrize("gap", [np.nan, None, pd.NA])
def test_missing_values_are_refused_with_what_to_do(gap):
    frame = pd.DataFrame({"a": [1.0, gap, 3.0], "b": [gap, gap, 1.0]}, dtype=object)
    with pytest.raises(ValueError, match=r"2 of 3 rows.*drop these.*explore\(BigLearnEM"):
        own_table("own", frame)


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        (np.zeros((5, 1)), "one column, but two make the picture"),
        (np.array([[1.0, np.inf], [0, 1]]), "infinity"),
        (np.zeros(4), "2D array"),
        ([["red", 1], ["blue", 2]], "encode categorical"),
    ],
)
def test_what_is_no_table_of_numbers_is_refused(rows, text):
    with pytest.raises(ValueError, match=text):
        own_table("own", rows)


def test_an_unknown_name_is_met_with_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'Iris'"):
        named_table("Irys", seed=0)
    with pytest.raises(ValueError, match="n_rows is for data that are drawn"):
        named_table("Iris", seed=0, n_rows=10)
