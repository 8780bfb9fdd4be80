"""The mixture's laws against scipy, numpy and each other."""

import copy
import dataclasses
import math
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings, strategies as st

from biglearn_core.em import em_step
from biglearn_core.fit import fit_joint_em
from biglearn_core.gmm import GMM
from biglearn_core.init import assignment_start
from biglearn_core.numerics import lowrank
from biglearn_core.numerics.points import Points
from biglearn_core.system.persistence import save_arrays
from tests.helpers import TOLERANCE, assert_same_model, parameters, random_gmm, random_points
from tests.oracle import naive_log_prob


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("seed", range(3))
def test_densities_agree_with_scipy(seed, dtype):
    model, X = random_gmm(seed, dtype=dtype), random_points(seed, dtype=dtype)
    expected = naive_log_prob(X.double().numpy(), *parameters(model))
    tolerance = {"atol": 10 * TOLERANCE[dtype], "rtol": TOLERANCE[dtype]}
    np.testing.assert_allclose(model.component_log_prob(X), expected, **tolerance)
    total = np.logaddexp.reduce(expected, axis=1)
    np.testing.assert_allclose(model.log_prob(X), total, **tolerance)
    np.testing.assert_allclose(
        model.responsibilities(X), np.exp(expected - total[:, None]), **tolerance
    )
    np.testing.assert_array_equal(model.predict(X), expected.argmax(axis=1))
    assert model.log_prob(X).dtype == dtype


def test_chunked_evaluation_is_the_whole():
    model, X = random_gmm(0), random_points(0)
    torch.testing.assert_close(model.log_prob(X, chunk_size=13), model.log_prob(X))


def test_no_points_give_no_densities():
    assert random_gmm(0).log_prob(torch.empty(0, 3, dtype=torch.float64)).shape == (0,)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_joint_is_marginal_times_conditional(seed):
    model, X = random_gmm(seed), random_points(seed, N=5)
    known = np.random.default_rng(seed).permutation(3)[:2].tolist()
    rest = [i for i in range(3) if i not in known]
    for x in X:
        conditional = model.condition(known, x[known]).log_prob(x[None, rest])
        marginal = model.marginal(known).log_prob(x[None, known])
        torch.testing.assert_close(conditional + marginal, model.log_prob(x[None]))


def test_conditional_of_one_gaussian_is_the_textbook_formula():
    model = random_gmm(4, K=1)
    _, (mean,), (C,) = parameters(model)
    conditional = model.condition([1], torch.tensor([0.7]))
    expected_mean = mean[[0, 2]] + C[[0, 2], 1] / C[1, 1] * (0.7 - mean[1])
    expected_covariance = C[np.ix_([0, 2], [0, 2])] - np.outer(C[[0, 2], 1], C[1, [0, 2]]) / C[1, 1]
    np.testing.assert_allclose(conditional.means[0], expected_mean, rtol=1e-6)
    np.testing.assert_allclose(conditional.covariances[0], expected_covariance)


def test_marginal_of_all_coordinates_is_the_joint():
    model = random_gmm(5)
    assert_same_model(model.marginal([0, 1, 2]), model)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_linear_image_changes_the_density_by_the_determinant(seed):
    model, X = random_gmm(seed), random_points(seed, N=20)
    A = torch.tensor(np.random.default_rng(seed).standard_normal((3, 3)) + 3 * np.eye(3))
    image = model.transform(A).log_prob(X @ A.T) + torch.linalg.slogdet(A).logabsdet
    torch.testing.assert_close(image, model.log_prob(X), rtol=1e-6, atol=1e-6)


def test_projection_is_the_marginal():
    model = random_gmm(6)
    A = torch.eye(3, dtype=torch.float64)[[2, 0]]
    assert_same_model(model.transform(A), model.marginal([2, 0]))


def test_samples_have_the_moments_of_the_law():
    model = random_gmm(7)
    X, z = model.sample(200_000, torch.Generator().manual_seed(1))
    weights, means, covariances = parameters(model)
    np.testing.assert_allclose(np.bincount(z, minlength=4) / len(z), weights, atol=5e-3)
    for k in range(4):
        np.testing.assert_allclose(X[z == k].mean(dim=0), means[k], atol=0.05)
        np.testing.assert_allclose(np.cov(X[z == k].T), covariances[k], atol=0.1)


def test_samples_follow_the_generator():
    model = random_gmm(8)
    first, _ = model.sample(5, torch.Generator().manual_seed(3))
    again, _ = model.sample(5, torch.Generator().manual_seed(3))
    assert torch.equal(first, again)
    assert not torch.equal(model.sample(5)[0], model.sample(5)[0])


def test_save_and_load(tmp_path):
    model = random_gmm(9, dtype=torch.float32)
    model.save(tmp_path / "model.npz")
    loaded = GMM.load(tmp_path / "model.npz")
    assert loaded.dtype == torch.float32
    assert_same_model(loaded, model, rtol=0, atol=0)


def test_instances_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        random_gmm(0).weights = torch.ones(4)


def test_conversion_keeps_the_law():
    model = random_gmm(0)
    assert model.to(dtype=torch.float32).dtype == torch.float32
    assert_same_model(model.to(dtype=torch.float32), model, rtol=1e-6)


GOOD = {
    "weights": torch.tensor([0.5, 0.5]),
    "means": torch.zeros(2, 2),
    "covariances": torch.eye(2).repeat(2, 1, 1),
}


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"weights": torch.tensor([0.5, 0.6])}, ValueError, "sum to 1"),
        ({"weights": torch.tensor([1.5, -0.5])}, ValueError, "non-negative"),
        ({"weights": torch.tensor([1.0])}, ValueError, r"weights must have shape \(2,\)"),
        ({"weights": [0.5, 0.5]}, TypeError, "share dtype"),
        (
            {"weights": "half"},
            TypeError,
            "weights must be a tensor or an array.*got str",
        ),
        ({"means": [[0.0], [0.0, 1.0]]}, TypeError, "means must be a tensor or an array"),
        ({"feature_names": "ab"}, TypeError, "list of names"),
        ({"feature_names": ["a", 1]}, TypeError, "must be texts"),
        ({"feature_names": ["a"]}, ValueError, "must hold 2 names"),
        ({"feature_names": ["a", "a"]}, ValueError, "must differ"),
        ({"feature_names": ["a", "b\0"]}, ValueError, "NUL"),
        ({"weights": torch.tensor([1, 0])}, TypeError, "int64"),
        ({"weights": torch.tensor([0.5, 0.5]).double()}, TypeError, "share dtype"),
        ({"means": torch.zeros(2)}, ValueError, r"means must have shape \(K, D\)"),
        ({"means": torch.tensor([[0.0, float("nan")]] * 2)}, ValueError, "means must be finite"),
        ({"covariances": torch.eye(2)}, ValueError, "covariances must have shape"),
        ({"covariances": torch.ones(2, 2, 2)}, ValueError, "not positive definite"),
        (
            {"covariances": torch.tensor([[[1.0, 0.5], [0.0, 1.0]]] * 2)},
            ValueError,
            "must be symmetric",
        ),
    ],
)
def test_bad_parameters_are_refused(change, error, text):
    with pytest.raises(error, match=text):
        GMM(**{**GOOD, **change})


def test_bad_points_and_indices_are_refused():
    model = GMM(**GOOD)
    with pytest.raises(ValueError, match=r"shape \(N, 2\)"):
        model.log_prob(torch.zeros(3, 5))
    with pytest.raises(TypeError, match="convert one"):
        model.log_prob(torch.zeros(3, 2, dtype=torch.float64))
    with pytest.raises(ValueError, match=r"shape \(N, 2\)"):
        model.log_prob(np.zeros((3, 5)))
    with pytest.raises(ValueError, match="could not convert"):
        model.log_prob([["a", "b"]])
    for missing in ([[0.0, None]], np.ma.masked_equal([[0.0, 9.0]], 9.0)):
        with pytest.raises(ValueError, match="NaN or infinity in 1 of 1 rows"):
            model.log_prob(missing)
    for index, text in [([], "non-empty"), ([0, 0], "repeat"), ([2], r"0\.\.1")]:
        with pytest.raises(ValueError, match=text):
            model.marginal(index)
    with pytest.raises(ValueError, match="leave at least one"):
        model.condition([0, 1], torch.zeros(2))
    with pytest.raises(ValueError, match=r"shape \(1,\)"):
        model.condition([0], torch.zeros(2))
    with pytest.raises(ValueError, match="at least 1"):
        model.sample(0)
    with pytest.raises(ValueError, match=r"shape \(d, 2\)"):
        model.transform(torch.eye(3))


MASKS = [[True, False, True], np.array([True, False, True]), torch.tensor([True, False, True])]


@pytest.mark.parametrize("mask", MASKS, ids=lambda mask: type(mask).__name__)
def test_a_mask_of_coordinates_is_a_mask(mask):
    model = random_gmm(0)
    assert_same_model(model.marginal(mask), model.marginal([0, 2]))
    values = torch.tensor([0.3, -0.2])
    assert_same_model(model.condition(mask, values), model.condition([0, 2], values))


@pytest.mark.parametrize(
    ("index", "text"),
    [
        ([True, False], r"mask must have shape \(3,\)"),
        ([[True, False, True]], r"mask must have shape \(3,\)"),
        ([False] * 3, "non-empty"),
        ([True, 2], "coordinates or a mask, got some of each"),
        ([0.0, 1.0], "list of coordinates"),
        (torch.tensor([1j]), "list of coordinates"),
        (["a"], r"no feature_names.*with_feature_names"),
        (["a", 1], "names or positions, got some of each"),
        ("a", r"write \['a'\]"),
        (None, "list of coordinates"),
        (1, "list of coordinates"),
        ([-1], r"0\.\.2"),
    ],
)
def test_what_is_no_index_is_refused(index, text):
    with pytest.raises(ValueError, match=text):
        random_gmm(0).marginal(index)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int64, torch.complex64])
def test_other_dtypes_are_refused_by_name(dtype):
    with pytest.raises(TypeError, match=f"weights must be torch.float32 or.*got {dtype}"):
        GMM(**{name: value.to(dtype) for name, value in GOOD.items()})
    with pytest.raises(TypeError, match=f"dtype must be torch.float32 or.*got {dtype}"):
        GMM(**GOOD).to(dtype=dtype)


@pytest.mark.parametrize("n", [2.5, True, "3", None, -1])
def test_a_number_of_points_is_checked_by_name(n):
    with pytest.raises(ValueError, match="n must be an int of at least 1"):
        GMM(**GOOD).sample(n)


def low_rank_gmm(dtype, monkeypatch):
    monkeypatch.setattr(lowrank, "_LEAST_DIMENSION", 3)
    X = random_points(0, D=3, dtype=dtype) * torch.tensor([1.0, 1e-3, 1e-3], dtype=dtype)
    start = assignment_start(X, torch.arange(200) % 2, 2)
    model = em_step(Points.of(X), start, covariance_floor=0.1, weight_smoothing=0.1).model
    assert model.low_rank is not None
    return model


ROTATION = torch.linalg.qr(torch.tensor(np.random.default_rng(0).standard_normal((3, 3)))).Q
CONVERSIONS = {
    "itself": lambda model: model,
    "single": lambda model: model.to(dtype=torch.float32),
    "double": lambda model: model.to(dtype=torch.float64),
    "single and back": lambda model: model.to(dtype=torch.float32).to(dtype=torch.float64),
    "device": lambda model: model.to(device="cpu"),
    "marginal": lambda model: model.marginal([2, 0]),
    "double marginal": lambda model: model.marginal([2, 0]).to(dtype=torch.float64),
    "condition": lambda model: model.condition([1], [0.5]),
    "condition far out": lambda model: model.condition([1], [-1e15]),
    "transform": lambda model: model.transform(torch.eye(3)[:2] + 0.5),
    "double image": lambda model: model.transform(torch.eye(3) + 0.5).to(dtype=torch.float64),
    "rotate": lambda model: model.rotate(ROTATION.to(model.dtype)),
    "double rotation": lambda m: m.rotate(ROTATION.to(m.dtype)).to(dtype=torch.float64),
}


@pytest.mark.parametrize("conversion", CONVERSIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", ["many components", "few", "low rank"])
def test_every_conversion_goes_round(kind, dtype, conversion, tmp_path, monkeypatch):
    if kind == "low rank":
        model = low_rank_gmm(dtype, monkeypatch)
    else:
        model = random_gmm(1, K={"few": 3, "many components": 500}[kind], dtype=dtype)
    made = CONVERSIONS[conversion](model)
    GMM(made.weights, made.means, made.covariances)
    made.checked()
    made.save(tmp_path / "model.npz")
    loaded = GMM.load(tmp_path / "model.npz")
    assert loaded.dtype == made.dtype
    assert_same_model(loaded, made, rtol=0, atol=0)
    assert (loaded.low_rank is None) == (made.low_rank is None)
    assert made.weights.sum().item() == pytest.approx(1, abs=1e-12 if "double" in conversion else 1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_low_rank_mixture_keeps_its_form_and_law_in_another_dtype(dtype, monkeypatch):
    model = low_rank_gmm(dtype, monkeypatch)
    other = torch.float32 if dtype == torch.float64 else torch.float64
    made = model.to(dtype=other)
    assert made.low_rank is not None
    assert made.dtype == made.low_rank.backgrounds.dtype == other
    X = random_points(0, N=20)
    expected = model.log_prob(X.to(dtype)).double()
    torch.testing.assert_close(made.log_prob(X.to(other)).double(), expected, rtol=1e-4, atol=1e-3)


def one_gaussian(mean, covariance, dtype=torch.float64):
    parameters = ([1.0], [mean], [covariance])
    return GMM(*(torch.tensor(p, dtype=dtype) for p in parameters))


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (one_gaussian([1e300, 0.0], [[1.0, 0], [0, 1]]), "means must be finite"),
        (one_gaussian([0.0, 0.0], [[1e60, 0], [0, 1]]), "covariances must be finite"),
        (one_gaussian([0.0, 0.0], [[1e-60, 0], [0, 1]]), "not positive definite"),
        (one_gaussian([0.0, 0.0], [[1e-42, 0], [0, 1]]), "variance of 1.0.*e-42.*rescale"),
        (one_gaussian([0.0, 0.0], [[1.0, 1 - 1e-12], [1 - 1e-12, 1.0]]), "not positive definite"),
    ],
)
def test_what_a_dtype_cannot_hold_is_refused(model, text):
    with pytest.raises(ValueError, match=f"mixture cannot be held in torch.float32.*{text}"):
        model.to(dtype=torch.float32)


@pytest.mark.parametrize("value", [1e5, 1e10, -1e100, 1e150])
def test_conditioning_far_out_takes_the_nearest_component(value):
    model = random_gmm(10)
    variances = model.covariances[:, 1, 1]
    nearest = (value - model.means[:, 1]).square().div(variances).argmin()
    conditional = model.condition([1], [value])
    assert conditional.weights.argmax() == nearest
    assert conditional.weights.sum() == pytest.approx(1)
    alone = GMM(
        torch.ones(1).double(), model.means[nearest, None], model.covariances[nearest, None]
    )
    expected = alone.condition([1], [value])
    torch.testing.assert_close(conditional.means[nearest], expected.means[0])
    assert torch.isfinite(conditional.log_prob(conditional.means)).all()


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([math.nan], r"values must be finite, got \[nan\]; leave out of index what is not known"),
        ([math.inf], "values must be finite"),
        (["a"], "values must be a list of numbers"),
        ([None], r"values must be finite, got \[nan\]"),
        ([[None, "a"]], "values must be a list of numbers"),
        ([1e308], "conditional law cannot be held in torch.float64: means must be finite"),
    ],
)
def test_conditions_that_say_nothing_are_refused(values, text):
    model = GMM(
        torch.tensor([0.5, 0.5]).double(),
        torch.zeros(2, 2).double(),
        torch.tensor([[[1.0, 50.0], [50.0, 5000.0]]] * 2).double(),
    )
    with pytest.raises(ValueError, match=text):
        model.condition([0], values)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_maps_of_deficient_rank_are_refused_and_units_do_not_matter(seed):
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((2, 3))
    combined = torch.tensor(np.vstack([rows, rng.standard_normal(2) @ rows]))
    with pytest.raises(ValueError, match="full row rank, got 3 rows of rank 2"):
        random_gmm(seed).transform(combined)
    scaled = torch.tensor(rows * [[1e-40], [1e40]])
    assert random_gmm(seed).transform(scaled).n_features == 2


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_maps_that_are_no_numbers_are_refused(value):
    with pytest.raises(ValueError, match="A must be finite"):
        random_gmm(0).transform(torch.tensor([[1.0, value, 0.0]]))


def test_an_invalid_mixture_is_not_passed_on():
    nan = GMM.unchecked(torch.tensor([math.nan, 1.0]), GOOD["means"], GOOD["covariances"])
    for use in (
        nan.checked,
        lambda: nan.to(dtype=torch.float64),
        lambda: nan.transform(torch.eye(2)),
    ):
        with pytest.raises(ValueError, match="weights must be finite"):
            use()


QUESTIONS = ("component_log_prob", "log_prob", "responsibilities", "predict")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("question", QUESTIONS)
def test_arrays_are_answered_by_arrays_of_the_dtype_of_the_model(question, dtype):
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    model, X = random_gmm(0, dtype=dtype), random_points(0, N=20, dtype=torch.float64)
    ask = getattr(model, question)
    expected = ask(X.to(dtype)).numpy()
    columns = ["a", "b", "c"]
    read_only = X.numpy().copy()
    read_only.flags.writeable = False
    for table in (
        X.numpy(),
        read_only,
        X.numpy().astype(np.float32) if dtype == torch.float32 else np.asfortranarray(X.numpy()),
        X.tolist(),
        pandas.DataFrame(X.numpy(), columns=columns),
        polars.DataFrame(X.numpy(), schema=columns),
    ):
        answer = ask(table)
        assert type(answer) is np.ndarray
        assert answer.dtype == expected.dtype
        np.testing.assert_array_equal(answer, expected)
    chunked = ask(X.to(dtype), chunk_size=3)
    np.testing.assert_array_equal(ask(X.numpy(), chunk_size=3), chunked)


def test_an_evaluation_of_arrays_tells_all_in_arrays():
    model, X = random_gmm(0), random_points(0)
    tensors, arrays = model.evaluate(X), model.evaluate(X.numpy())
    for question in ("component_log_prob", "log_prob", "responsibilities", "labels"):
        answer = getattr(arrays, question)()
        assert type(answer) is np.ndarray
        np.testing.assert_array_equal(answer, getattr(tensors, question)())


def test_arrays_are_answered_without_gradients():
    model, X = random_gmm(0), random_points(0)
    means = model.means.clone().requires_grad_()
    law = GMM(model.weights, means, model.covariances)
    assert law.log_prob(X).requires_grad
    np.testing.assert_allclose(law.log_prob(X.numpy()), model.log_prob(X))


def test_parameters_may_be_arrays():
    model = random_gmm(0)
    arrays = [array.copy() for array in parameters(model)]
    made = GMM(*arrays)
    assert_same_model(made, model, rtol=0, atol=0)
    arrays[1][:] = 0  # of which the mixture has a copy
    assert_same_model(made, model, rtol=0, atol=0)
    assert GMM([1], [[0, 0]], [[[1, 0], [0, 1]]]).dtype == torch.float64


NAMES = ("x", "y", "z")


def test_names_stand_for_positions():
    model = random_gmm(0).with_feature_names(NAMES)
    for index in (["z", "x"], ("z", "x"), np.array(["z", "x"])):
        part = model.marginal(index)
        assert_same_model(part, model.marginal([2, 0]), rtol=0, atol=0)
        assert part.feature_names == ("z", "x")
    given = model.condition(["z", "x"], [0.1, 0.2])
    assert_same_model(given, model.condition([2, 0], [0.1, 0.2]), rtol=0, atol=0)
    assert given.feature_names == ("y",)
    assert_same_model(model.condition(["y"], 0.3), model.condition([1], np.array([0.3])))
    with pytest.raises(ValueError, match=r"names \['w'\], but the features are \['x', 'y', 'z'\]"):
        model.marginal(["x", "w"])
    with pytest.raises(ValueError, match="must not repeat"):
        model.marginal(["x", "x"])


def test_names_go_with_the_mixture(tmp_path, monkeypatch):
    model = random_gmm(0).with_feature_names(np.array(NAMES))
    model.save(tmp_path / "model.npz")
    for made in (
        model,
        model.clone(),
        model.dense(),
        model.to(dtype=torch.float32),
        model.to(device="cpu"),
        GMM.load(tmp_path / "model.npz"),
        GMM.from_arrays(model.arrays()),
        low_rank_gmm(torch.float64, monkeypatch).with_feature_names(NAMES).clone(),
        copy.deepcopy(model),
        pickle.loads(pickle.dumps(model)),
        fit_joint_em(random_points(0), model, n_iter=1, covariance_floor=1e-4).model,
    ):
        assert made.feature_names == NAMES
    assert model.transform(torch.eye(3)).feature_names is None
    assert model.with_feature_names(None).feature_names is None
    with pytest.raises(ValueError, match="holds no valid mixture: feature_names must differ"):
        GMM.from_arrays(model.arrays() | {"feature_names": np.array(["x", "x", "y"])})


def test_files_without_names_still_load(tmp_path):
    model = random_gmm(0)
    save_arrays(
        tmp_path / "old.npz",
        {n: getattr(model, n) for n in ("weights", "means")} | {"covariances": model.covariances},
    )
    assert GMM.load(tmp_path / "old.npz").feature_names is None


def test_frames_are_read_by_name_where_both_have_names():
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    model = random_gmm(0).with_feature_names(NAMES)
    X = random_points(0, N=20).numpy()
    more = np.column_stack([X[:, 2], np.arange(20), X[:, 0], X[:, 1]])
    frame = pandas.DataFrame(more, columns=["z", "row", "x", "y"]).assign(name="text")
    for table in (frame, polars.DataFrame(frame.to_dict("list"))):
        np.testing.assert_array_equal(model.log_prob(table), model.log_prob(X))
        np.testing.assert_array_equal(
            model.marginal(["z"]).log_prob(table), model.marginal([2]).log_prob(X[:, [2]])
        )
    numbered = pandas.DataFrame(X)
    np.testing.assert_array_equal(model.log_prob(numbered), model.log_prob(X))
    for bad, text in (
        (frame.drop(columns="y"), "it has none named 'y'"),
        (pandas.concat([frame, frame[["y"]]], axis=1), "it has 2 named 'y'"),
    ):
        with pytest.raises(ValueError, match=text):
            model.log_prob(bad)


def test_a_mixture_is_shown_in_three_lines():
    lines = repr(random_gmm(0).with_feature_names(NAMES)).splitlines()
    assert lines[0] == "GMM(K=4, D=3, dtype=float64, device=cpu)"
    assert lines[2] == "  features: 'x', 'y', 'z'"
    large = random_gmm(0, K=50, D=40, dtype=torch.float32)
    lines = repr(large).splitlines()
    assert len(lines) == 3
    assert lines[1].endswith("…")
    assert max(map(len, lines)) < 500
    tied = torch.eye(2).double().repeat(2, 1, 1)
    shown = repr(GMM([0.25, 0.75], np.zeros((2, 2)), tied, covariance_type="tied"))
    assert "covariance_type='tied'" in shown
    assert "weights: 0.25, 0.75" in shown


def test_arrays_in_any_order_of_bytes_and_strides_are_taken():
    X = np.random.default_rng(0).normal(size=(20, 2))
    parts = ([0.4, 0.6], [[0.0, 1.0], [3.0, 2.0]], [np.eye(2)] * 2)
    model = GMM(*parts, feature_names=["a", "b"])
    expected = model.log_prob(X)
    backwards = X[::-1].copy()
    np.testing.assert_array_equal(model.log_prob(backwards[::-1]), expected)
    np.testing.assert_array_equal(model.log_prob(X.astype(">f8")), expected)
    frame = pd.DataFrame(X[:, ::-1].copy(), columns=["b", "a"])
    np.testing.assert_array_equal(model.log_prob(frame), expected)
    swapped = model.marginal(np.array([0, 1])[::-1])
    assert torch.equal(swapped.means, model.means[:, [1, 0]])
    assert torch.equal(model.transform(np.eye(2)[::-1]).means, swapped.means)
    conditional = model.condition([0], np.array([9.0, 1.0])[::2][::-1])
    assert torch.equal(conditional.means, model.condition([0], [9.0]).means)
    for convert in (lambda a: np.asarray(a)[::-1].copy()[::-1], lambda a: np.array(a, ">f8")):
        again = GMM(*map(convert, parts))
        assert torch.equal(again.means, model.means)
        assert torch.equal(again.covariances, model.covariances)
