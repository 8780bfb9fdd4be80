"""What a caller hands to a fit is refused at once, by name, or gives the right answer."""

import math
import warnings
from fractions import Fraction

import numpy as np
import pytest
import torch

from biglearn_core import GMM, fit_biglearn_em, fit_joint_em
from biglearn_core.init import kmeans_plusplus_start
from biglearn_core.system import devices
from biglearn_core.system.numbers import check_integer, check_real, check_seed
from biglearn_core.validation import check_sample_weight
from tests.helpers import assert_same_model, random_gmm, random_points

JOINT = {"n_iter": 3, "covariance_floor": 1e-3}
BIGLEARN = {**JOINT, "weight_smoothing": 0.1, "seed": 0}


def joint(X=None, init=None, **options):
    X = random_points(0) if X is None else X
    return fit_joint_em(X, random_gmm(0) if init is None else init, **{**JOINT, **options})


def biglearn(X=None, init=None, **options):
    X = random_points(0) if X is None else X
    return fit_biglearn_em(X, random_gmm(0) if init is None else init, **{**BIGLEARN, **options})


WORDS = ["1", None, [1], 1j, np.ones(2), torch.tensor(1.0)]
NOT_FINITE = [math.nan, math.inf, -math.inf, np.float32("nan"), 10**400]


def options_of(kind):
    own = {"integer": ["n_iter"], "real": ["covariance_floor", "weight_smoothing", "tol"]}
    more = {
        "integer": ["n_iter", "n_local_steps", "checkpoint_every"],
        "real": ["covariance_floor", "weight_smoothing", "p_joint", "p_marginal"],
    }
    return [(joint, name) for name in own[kind]] + [(biglearn, name) for name in more[kind]]


@pytest.mark.parametrize(("fit", "name"), options_of("integer"))
def test_an_option_that_counts_takes_integers_alone(fit, name):
    for value in (1.5, 2.0, True, np.True_, *WORDS, math.nan):
        with pytest.raises(TypeError, match=f"{name} must be an integer, got"):
            fit(**{name: value})
    for value in (-1, 2**63, 10**30):
        with pytest.raises(ValueError, match=rf"{name} must be at (least|most) \d+, got {value}"):
            fit(**{name: value})
    for integer in (np.int64, np.int32, np.uint8):
        fit(**{name: integer(2)})


@pytest.mark.parametrize(("fit", "name"), options_of("real"))
def test_an_option_that_measures_takes_finite_numbers_alone(fit, name):
    for value in (True, *WORDS):
        with pytest.raises(TypeError, match=f"{name} must be a number, got"):
            fit(**{name: value})
    for value in (*NOT_FINITE, -0.5):
        with pytest.raises(ValueError, match=f"{name} must be finite and non-negative.*, got"):
            fit(**{name: value})
    for value in (np.float32(0.25), Fraction(1, 4), 0):
        fit(**{name: value})


@pytest.mark.parametrize("fit", [joint, biglearn])
def test_chunks_callbacks_and_starts_are_checked(fit):
    for value in (0, -3, 2**70):
        with pytest.raises(ValueError, match=f"chunk_size must be at .*got {value}"):
            fit(chunk_size=value)
    for value in (1.5, True, "8"):
        with pytest.raises(TypeError, match="chunk_size must be an integer"):
            fit(chunk_size=value)
    with pytest.raises(TypeError, match="callback must be callable or None, got int"):
        fit(callback=3)
    function = fit_joint_em if fit is joint else fit_biglearn_em
    options = JOINT if fit is joint else BIGLEARN
    for init in (None, "kmeans", random_points(0).numpy()):
        with pytest.raises(TypeError, match=r"init must be a GMM, got .*kmeans_plusplus_start"):
            function(random_points(0), init, **options)


@pytest.mark.parametrize("seed", [-1, 2**64, (0, -1), (), np.int64(-5)])
def test_a_seed_out_of_range_is_refused(seed):
    with pytest.raises(ValueError, match=r"seed.* must (be an integer from 0 to 18446|hold)"):
        biglearn(seed=seed)


@pytest.mark.parametrize("seed", [1.0, True, "7", None, (1, 0.5), [True]])
def test_a_seed_that_is_no_integer_is_refused(seed):
    with pytest.raises(TypeError, match=r"seed.* must be an integer, got"):
        biglearn(seed=seed)


def test_a_seed_may_be_any_integer_type_and_reaches_what_generators_take():
    wanted = biglearn(seed=5).model
    assert_same_model(biglearn(seed=np.uint32(5)).model, wanted, rtol=0, atol=0)
    pair = biglearn(seed=(5, 6)).model
    assert_same_model(biglearn(seed=[np.int64(5), 6]).model, pair, rtol=0, atol=0)
    largest = check_seed("seed", 2**64 - 1)
    torch.Generator().manual_seed(largest)
    np.random.default_rng(largest)
    biglearn(seed=largest)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"beta": (math.nan, 1)}, ValueError, r"beta\[0\] must be finite and positive, got nan"),
        ({"beta": (1, math.inf)}, ValueError, r"beta\[1\] must be finite"),
        ({"beta": (1, 0)}, ValueError, r"beta\[1\] must be finite and positive, got 0"),
        ({"beta": (1, "2")}, TypeError, r"beta\[1\] must be a number, got '2'"),
        ({"beta": 5.0}, ValueError, r"beta must be two positive numbers, got 5.0"),
        ({"beta": "51"}, ValueError, r"beta must be two positive numbers"),
        ({"beta": (1, 2, 3)}, ValueError, r"beta must be two positive numbers"),
        ({"transform": 3}, ValueError, r'transform must be "orthogonal" or "rotation", got 3'),
        ({"transform": ["rotation"]}, ValueError, "transform must be"),
        ({"p_joint": lambda share: math.nan}, ValueError, r"p_joint\(0\) must be finite"),
        ({"p_marginal": lambda share: None}, TypeError, r"p_marginal\(0\) must be a number"),
        ({"p_joint": lambda s: math.nan if s > 0.5 else 0.0}, ValueError, r"p_joint\(0.666667\)"),
        ({"p_joint": 0.7, "p_marginal": 0.7}, ValueError, "sum of at most 1"),
    ],
)
def test_a_law_of_tasks_that_is_none_is_refused(options, error, text):
    with pytest.raises(error, match=text):
        biglearn(**options)


@pytest.mark.parametrize("fit", [joint, biglearn])
@pytest.mark.parametrize(
    ("weights", "error", "text"),
    [
        (np.ones(200), TypeError, r"sample_weight must be a torch.Tensor.*ndarray.*from_numpy"),
        ([1.0] * 200, TypeError, r"sample_weight must be a torch.Tensor .*got list"),
        (torch.ones(200, dtype=torch.complex64), TypeError, "of real numbers, got torch.complex64"),
        (torch.ones(200, 1), ValueError, r"shape \(200,\) on cpu, got \(200, 1\)"),
        (torch.full((200,), torch.nan), ValueError, "finite and non-negative, got values from nan"),
        (torch.full((200,), torch.inf), ValueError, "finite and non-negative"),
        (torch.arange(200.0) - 1, ValueError, "from -1.0 to 198.0"),
        (torch.zeros(200, dtype=torch.int64), ValueError, "zero everywhere"),
    ],
)
def test_sample_weights_that_are_none_are_refused(fit, weights, error, text):
    with pytest.raises(error, match=text):
        fit(sample_weight=weights)


@pytest.mark.parametrize("fit", [joint, biglearn])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_weights_of_any_scale_give_the_same_fit(fit, dtype):
    X, init = random_points(2, dtype=dtype), random_gmm(2, dtype=dtype)
    weights = torch.tensor(np.random.default_rng(0).integers(1, 8, 200), dtype=torch.float64)
    wanted = fit(X, init, sample_weight=weights)
    least, largest = (-1074, 1020) if dtype == torch.float64 else (-149, 124)
    for exponent in (least, -100, -3, 5, 100, largest):
        half = exponent // 2
        scaled = (weights * 2.0**half * 2.0 ** (exponent - half)).to(dtype)
        found = fit(X, init, sample_weight=scaled)
        assert_same_model(found.model, wanted.model, rtol=0, atol=0)
        np.testing.assert_array_equal(found.history.log_likelihood, wanted.history.log_likelihood)


def test_integer_weights_are_copies_whatever_their_dtype():
    X = random_points(3)
    counts = torch.tensor(np.random.default_rng(1).integers(0, 4, 200))
    copies = joint(X.repeat_interleave(counts, dim=0)).model
    for weights in (counts, counts.int(), counts.float(), counts.half(), counts * 10**15):
        assert_same_model(joint(X, sample_weight=weights).model, copies)
    chosen = counts > 1
    assert_same_model(joint(X, sample_weight=chosen).model, joint(X[chosen]).model)


def test_equal_weights_of_the_extreme_sizes_are_no_weights():
    wanted = joint()
    for size in (1e308, 5e-324, 1e-300, 1.7):
        found = joint(sample_weight=torch.full((200,), size, dtype=torch.float64))
        assert_same_model(found.model, wanted.model)
        np.testing.assert_allclose(found.history.log_likelihood, wanted.history.log_likelihood)


def test_scaled_weights_reach_from_one_to_two_and_ordinary_ones_stay():
    X = random_points(0)[:3]
    weights = torch.tensor([1.0, 1.9, 0.3], dtype=torch.float64)
    assert torch.equal(check_sample_weight(weights, X), weights)
    for exponent in (-1074, -1000, 0, 1023):
        one = torch.tensor([0.0, 2.0**exponent, 0.0], dtype=torch.float64)
        assert check_sample_weight(one, X).tolist() == [0.0, 1.0, 0.0]
    tiny = torch.full((3,), 5e-324, dtype=torch.float64)
    assert check_sample_weight(tiny, X).tolist() == [1.0, 1.0, 1.0]


def clusters(D, dtype):
    """Two clusters eight standard deviations apart, and a start near them."""
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(0, 1, (60, D)), rng.normal(8, 1, (60, D))])
    X = torch.tensor(X, dtype=dtype)
    return X, kmeans_plusplus_start(X, 2, seed=0)


def scaled(model, factor):
    return GMM.unchecked(model.weights, model.means * factor, model.covariances * factor * factor)


POWERS = {
    torch.float32: [-37, -30, -22, -20, -19, -18, -17, -12, 12, 15, 16, 17, 18, 19, 22, 36],
    torch.float64: [-307, -162, -158, -154, -153, -150, -100, 100, 150, 152, 153, 154, 160, 306],
}


@pytest.mark.parametrize("D", [1, 20, 140])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_data_of_any_size_give_the_scaled_fit_or_an_error(D, dtype):
    """Never NaN, never another answer."""
    X, start = clusters(D, dtype)
    tolerance = 1e-4 if dtype == torch.float32 else 1e-8
    for fit in (joint, biglearn):
        wanted = fit(X, start).model
        right = []
        for power in POWERS[dtype]:
            factor = 2.0 ** round(power * math.log2(10))
            moved = scaled(start, factor)
            try:
                model = fit(X * factor, moved, covariance_floor=1e-3 * factor * factor).model
            except ValueError:
                continue
            right.append(power)
            found = scaled(model, 1 / factor)
            assert_same_model(found, wanted, rtol=tolerance, atol=tolerance)
        assert {p for p in POWERS[dtype] if abs(p) <= (15 if tolerance > 1e-6 else 150)} <= set(
            right
        )
        assert {POWERS[dtype][0], POWERS[dtype][-1]}.isdisjoint(right)


@pytest.mark.parametrize("fit", [joint, biglearn])
def test_data_whose_squares_leave_the_dtype_are_refused_with_the_remedy(fit):
    X, start = random_points(0), random_gmm(0)
    remedy = "rescale X by a power of ten .* BigLearnEM or JointEM"
    with pytest.raises(ValueError, match=rf"X reaches \d\.\d+e\+160 .*float64.*{remedy}"):
        fit(X * 1e160, start)
    with pytest.raises(ValueError, match=rf"X reaches \d\.\d+e\+30 .*float32.*{remedy}"):
        fit(X.float() * 1e30, start.to(dtype=torch.float32))
    one_row = X.clone()
    one_row[7, 1] = 1e300
    with pytest.raises(ValueError, match=r"X reaches 9\.95e\+299"):
        fit(one_row, start)
    with pytest.raises(ValueError, match=r"X reaches 1\.7e\+308"):
        fit(X.sign() * 1.7e308, start)  # whose mean has no finite sum
    shifted = fit(X + 1e6, GMM(start.weights, start.means + 1e6, start.covariances)).model
    np.testing.assert_allclose(shifted.means - 1e6, fit(X, start).model.means, atol=1e-6)


@pytest.mark.parametrize("fit", [joint, biglearn])
def test_a_start_whose_squares_leave_the_dtype_is_refused(fit):
    start = random_gmm(0)
    far = GMM.unchecked(start.weights, start.means * 1e200, start.covariances)
    with pytest.raises(ValueError, match=r"init has means as far as .*e\+200"):
        fit(init=far)
    wide = GMM.unchecked(start.weights, start.means, start.covariances * 1e307)
    with pytest.raises(ValueError, match=r"init has covariances of up to .*e\+30[78]"):
        fit(init=wide)
    for name, value in (("weights", -1.0), ("weights", math.nan), ("means", math.nan)):
        parts = {n: getattr(start, n).clone() for n in ("weights", "means", "covariances")}
        parts[name][0] = value
        with pytest.raises(ValueError, match=rf"init .*{name}"):
            fit(init=GMM.unchecked(**parts))


@pytest.mark.parametrize("fit", [joint, biglearn])
def test_numbers_that_leave_the_dtype_on_the_way_are_told(fit):
    """Covariances so narrow that distances in their units are infinite."""
    X, _ = clusters(140, torch.float32)
    identity = torch.eye(140).repeat(2, 1, 1)
    narrow = GMM.unchecked(torch.ones(2) / 2, torch.stack([X[0], X[0] + 1]), 1e-37 * identity)
    with pytest.raises(ValueError, match=r"log-likelihood of iteration 0 is|not finite"):
        fit(X, narrow)


@pytest.mark.parametrize(
    ("dtype", "floor"),
    [
        (torch.float32, 1e300),
        (torch.float32, 1e37),
        (torch.float32, 1e-60),
        (torch.float64, 1e308),
        (torch.float64, 1e-310),
    ],
)
def test_a_floor_that_the_dtype_cannot_hold_is_refused(dtype, floor):
    X, start = random_points(0, dtype=dtype), random_gmm(0, dtype=dtype)
    for fit in (joint, biglearn):
        with pytest.raises(ValueError, match=rf"covariance_floor must be 0, or from .*{dtype}"):
            fit(X, start, covariance_floor=floor)


def test_a_large_floor_is_the_covariance():
    X, start = random_points(0, dtype=torch.float32), random_gmm(0, dtype=torch.float32)
    for floor in (1e6, 1e30):
        shares = joint(X, start, covariance_floor=floor).model.covariances / floor
        torch.testing.assert_close(shares, torch.eye(3).repeat(4, 1, 1), rtol=0, atol=1e-5)


def test_smoothing_beyond_the_dtype_is_refused():
    with pytest.raises(ValueError, match=r"weight_smoothing must be .*at most 1\.84e\+19, got 1e"):
        joint(
            random_points(0).float(),
            random_gmm(0).to(dtype=torch.float32),
            weight_smoothing=1e30,
        )


def test_what_does_not_fit_into_memory_is_refused_before_it_is_allocated(monkeypatch):
    monkeypatch.setattr(devices, "available_bytes", lambda device: 4000)
    with pytest.raises(
        ValueError, match=r"a fit of 4 components to data of shape \(200, 3\) needs"
    ):
        joint()
    monkeypatch.setattr(devices, "available_bytes", lambda device: None)
    joint()  # nobody knows


def test_available_memory_is_what_the_system_and_the_container_leave(monkeypatch, tmp_path):
    system, container = tmp_path / "meminfo", tmp_path / "memory.max"
    monkeypatch.setattr(devices, "_MEMINFO", system)
    monkeypatch.setattr(devices, "_CONTAINER_LIMITS", (container,))
    cpu = torch.device("cpu")
    assert devices.available_bytes(cpu) is None
    system.write_text("MemTotal:  9000 kB\nMemAvailable:    5000 kB\nHugePages_Total:   0\n")
    assert devices.available_bytes(cpu) == 5000 * 1024
    container.write_text("max\n")
    assert devices.available_bytes(cpu) == 5000 * 1024
    container.write_text("123456\n")
    assert devices.available_bytes(cpu) == 123456
    with pytest.raises(ValueError, match=r"it needs 0\.2 GB at least, and 0\.0 GB are"):
        devices.check_memory(2 * 10**8, cpu, purpose="it")


def test_numbers_come_back_as_those_of_python():
    assert type(check_integer("n", np.int8(3), least=0)) is int
    assert type(check_real("x", np.float32(0.5))) is float
    assert check_real("x", -3) == -3.0
    with pytest.raises(ValueError, match="x must be finite, got inf"):
        check_real("x", 10**400)


@pytest.mark.parametrize("array", [np.zeros((5, 3)), np.ma.masked_array(np.zeros((5, 3)))])
def test_arrays_are_told_how_to_become_tensors(array):
    with pytest.raises(TypeError, match=r"X must be a .*torch.Tensor, got .*torch.from_numpy"):
        fit_joint_em(array, random_gmm(0), **JOINT)


def test_no_check_warns_or_writes():
    X, weights = random_points(0), torch.arange(200.0)
    before = X.clone(), weights.clone()
    with warnings.catch_warnings(action="error"):
        joint(X, sample_weight=weights)
    assert torch.equal(X, before[0])
    assert torch.equal(weights, before[1])
