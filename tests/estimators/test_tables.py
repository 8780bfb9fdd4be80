"""Tables as people have them, however they write what is missing; what is no number is told."""

import datetime
import decimal

import numpy as np
import pandas
import polars
import pyarrow
import pytest
import torch

from biglearn_core import BigLearnEM, MixtureRegressor
from biglearn_core.estimators.rows import validate_rows

HIDDEN = 777.0  # what lies under a mask


def values(*, gaps=True):
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(m, 1, (10, 2)) for m in (0, 8)])
    if gaps:
        X[3, 1] = X[15, 0] = np.nan
    return X


def objects(missing=None):
    X = values()
    cells = X.astype(object)
    cells[np.isnan(X)] = missing
    return cells


def masked():
    X = values()
    return np.ma.array(np.where(np.isnan(X), HIDDEN, X), mask=np.isnan(X))


def masked_cells():
    cells = objects("?")
    return np.ma.array(cells, mask=np.isnan(values()))


def frame(cells, dtype=None, index=None):
    columns = {
        name: column if dtype is None else pandas.array(column, dtype=dtype)
        for name, column in zip("ab", cells.T, strict=True)
    }
    return pandas.DataFrame(columns, index=index)


def polars_frame():
    return polars.DataFrame(dict(zip("ab", objects().T.tolist(), strict=True)))


def read(X, *, reset=True):
    return validate_rows(BigLearnEM(), X, allow_nan=True, reset=reset)


WRITTEN = {
    "NaN": values,
    "None in objects": objects,
    "pandas.NA in objects": lambda: objects(pandas.NA),
    "NaT in objects": lambda: objects(pandas.NaT),
    "NaN in objects": lambda: objects(np.nan),
    "Decimal NaN": lambda: objects(decimal.Decimal("NaN")),
    "None in lists": lambda: objects().tolist(),
    "None in tuples": lambda: tuple(map(tuple, objects())),
    "pandas.NA in lists": lambda: objects(pandas.NA).tolist(),
    "rows of arrays": lambda: list(values()),
    "mask": masked,
    "mask in lists": lambda: [list(row) for row in masked()],
    "masked rows in a list": lambda: list(masked()),
    "mask over text": masked_cells,
    "frame of objects": lambda: frame(objects()),
    "frame with pandas.NA": lambda: frame(objects(pandas.NA)),
    "frame of one index value": lambda: frame(objects(), index=[0] * 20),
    "Float64": lambda: frame(objects(), dtype="Float64"),
    "objects beside Float64": lambda: frame(objects(), dtype="Float64").assign(
        a=objects(pandas.NA)[:, 0]
    ),
    "polars": polars_frame,
    "tensor": lambda: torch.tensor(values()),
    "tensor with gradient": lambda: torch.tensor(values(), requires_grad=True),
    "rows of tensors": lambda: list(torch.tensor(values())),
    "rows of series": lambda: [pandas.Series(row) for row in values()],
}


@pytest.mark.parametrize("written", WRITTEN)
def test_what_is_missing_is_missing_however_it_is_written(written):
    X = read(WRITTEN[written]())
    np.testing.assert_array_equal(X, values())
    assert X.dtype == np.float64


@pytest.mark.parametrize("written", ["mask", "None in lists", "frame with pandas.NA", "polars"])
def test_fit_and_queries_read_alike(written):
    table = WRITTEN[written]()
    model = BigLearnEM(2, random_state=0).fit(table)
    expected = BigLearnEM(2, random_state=0).fit(values())
    np.testing.assert_array_equal(model.means_, expected.means_)
    for query in ("predict", "score_samples", "impute", "sample_conditional"):
        np.testing.assert_array_equal(
            getattr(model, query)(table), getattr(expected, query)(values())
        )


def test_names_of_columns_stay():
    for table in (frame(objects()), frame(objects(), dtype="Float64"), polars_frame()):
        model = BigLearnEM()
        validate_rows(model, table, allow_nan=True, reset=True)
        assert model.feature_names_in_.tolist() == ["a", "b"]


@pytest.mark.parametrize(
    ("X", "expected"),
    [
        (values().astype(np.float32), values().astype(np.float32)),
        (masked().astype(np.float32), values().astype(np.float32)),
        (torch.tensor(values()).float(), values().astype(np.float32)),
        (torch.tensor([[1, 2], [3, 4]]), np.array([[1.0, 2], [3, 4]])),
        (torch.tensor([[True, False], [False, True]]), np.eye(2)),
        (np.float16([[1, 2], [3, np.nan]]), np.array([[1, 2], [3, np.nan]])),
        (np.ma.array([[1, 2], [3, 4]], mask=[[0, 1], [0, 0]]), np.array([[1, np.nan], [3, 4]])),
        (np.ma.array([[1, 2], [3, 4]]), np.array([[1.0, 2], [3, 4]])),
        (pandas.DataFrame({"a": [1, 2], "b": [True, False]}), np.array([[1.0, 1], [2, 0]])),
        (
            pandas.DataFrame({"a": pandas.array([1, None], dtype="Int64"), "b": [3, 4]}),
            np.array([[1, 3], [np.nan, 4]]),
        ),
        (
            pandas.DataFrame({"a": pandas.array([True, None], dtype="boolean"), "b": [3, 4]}),
            np.array([[1, 3], [np.nan, 4]]),
        ),
        (polars.DataFrame({"a": [1, None], "b": [True, None]}), np.array([[1, 1], [np.nan] * 2])),
        ([[1, 2], [3, 4]], np.array([[1.0, 2], [3, 4]])),
    ],
    ids=str,
)
def test_numbers_of_every_kind_are_numbers(X, expected):
    read_X = read(X)
    np.testing.assert_array_equal(read_X, expected)
    assert read_X.dtype == expected.dtype


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_tensors_keep_their_values(dtype):
    X = torch.tensor(values()).to(dtype)
    np.testing.assert_array_equal(read(X), X.double())


DAYS = np.arange(40).reshape(20, 2).astype("M8[D]")
DAY = datetime.date(2020, 1, 1)
DATES = {
    "array": DAYS,
    "durations": DAYS - DAYS[0, 0],
    "mask": np.ma.array(DAYS, mask=np.isnan(values())),
    "rows of arrays": list(DAYS),
    "rows of nanoseconds": list(DAYS.astype("M8[ns]")),
    "cells in lists": [list(row) for row in DAYS],
    "dates in lists": [[DAY, 1.0]] * 20,
    "times and None in lists": [[datetime.datetime(2020, 1, 1), None]] * 20,
    "durations in lists": [[datetime.timedelta(1), 1.0]] * 20,
    "objects": np.array([[DAY, 1.0]] * 20, dtype=object),
    "frame": frame(values()).assign(a=pandas.date_range("2020", periods=20)),
    "frame with zones": frame(values()).assign(a=pandas.date_range("2020", periods=20, tz="UTC")),
    "frame of durations": frame(values()).assign(a=pandas.to_timedelta(range(20), unit="D")),
    "frame of periods": frame(values()).assign(a=pandas.period_range("2020", periods=20, freq="D")),
    "frame of objects": frame(values()).assign(a=np.array([DAY] * 20, dtype=object)),
    "frame of stamps": frame(values()).assign(
        a=pandas.Series([pandas.Timestamp("2020")] * 20, dtype=object)
    ),
    "polars dates": polars_frame().with_columns(a=polars.Series([DAY] * 20)),
    "polars dates alone": polars.DataFrame({"a": [DAY, datetime.date(2021, 1, 1)]}),
    "polars durations alone": polars.DataFrame({"a": [datetime.timedelta(1)] * 20}),
}


@pytest.mark.parametrize("written", DATES)
def test_dates_and_durations_are_told(written):
    where = "column 'a'" if "frame" in written or "polars" in written else "X"
    with pytest.raises(TypeError, match=f"{where} holds dates or durations: turn them into"):
        read(DATES[written])


@pytest.mark.parametrize(
    "days",
    [
        pandas.Series(pandas.date_range("2020", periods=20)),
        pandas.date_range("2020", periods=20),
        pandas.Series(pandas.to_timedelta(range(20), unit="D")),
        polars.Series([DAY] * 20),
    ],
    ids=["series", "index", "durations", "polars"],
)
def test_targets_and_weights_are_no_dates(days):
    X = np.random.default_rng(0).normal(size=(20, 2))
    for fit in (
        lambda: MixtureRegressor().fit(X, days),
        lambda: BigLearnEM().fit(X, sample_weight=days),
    ):
        with pytest.raises(TypeError, match="holds dates or durations"):
            fit()


def test_arrow_tables_are_frames():
    rows = frame(values())
    table = pyarrow.Table.from_pandas(rows)
    assert table.column(0).null_count > 0
    model, expected = (BigLearnEM(random_state=0).fit(X) for X in (table, rows))
    assert list(model.feature_names_in_) == list(rows.columns)
    np.testing.assert_array_equal(model.means_, expected.means_)
    np.testing.assert_array_equal(model.score_samples(table), expected.score_samples(rows))


def test_a_lazy_frame_is_told():
    with pytest.raises(TypeError, match=r"LazyFrame.*call X.collect\(\)"):
        read(polars_frame().lazy())


@pytest.mark.parametrize(
    ("X", "text"),
    [
        (np.ma.array(values() + 1j, mask=np.isnan(values())), "X holds complex numbers"),
        (frame(values()).assign(b=1j), "column 'b' holds complex numbers"),
        (torch.tensor(values()) * 1j, "Complex data not supported"),
        (np.array([[10**400, 1.0]] * 2, dtype=object), "too large for float64"),
        ([[10**400, None]] * 2, "too large for float64"),
        ([[10**400, 1.0]] * 2, "too large for float64"),
        (objects("?"), "encode categorical columns"),
        ([["a", None]] * 20, "encode categorical columns"),
        (frame(values()).assign(a=pandas.Categorical(["u", "v"] * 10)), "encode categorical"),
        (frame(values())["a"], "2-dimensional|2D"),
        (frame(objects())["a"], "2-dimensional|2D"),
        (polars_frame()["a"], "2-dimensional|2D"),
        ([[1.0, 2.0], [None]], "inhomogeneous"),
        ([], "empty|2D|minimum of 2|0 sample"),
        (None, "2D"),
    ],
    ids=lambda x: x if isinstance(x, str) else type(x).__name__,
)
def test_what_is_no_table_of_numbers_is_told(X, text):
    with pytest.raises(ValueError, match=text):
        read(X)
