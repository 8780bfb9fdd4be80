"""The training loop: what takes part, what a seed decides, and a killed run that goes on."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from biglearn_gan.config import OBJECTIVES, Config
from biglearn_gan.data import load_data
from biglearn_gan.generator import GeneratorSampler
from biglearn_gan.settings import config_for
from biglearn_gan.training import train
from tests.helpers import killed_after

SMALL = Config(data="gmm4", iterations=60, batch_size=32, width=16, depth=2, n_noise=4)


@pytest.fixture(scope="module")
def data():
    return load_data("gmm4")


def weights(trained):
    return trained.sampler.arrays()


def same(a, b):
    return all(np.array_equal(weights(a)[name], weights(b)[name]) for name in weights(a))


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_objective_trains_what_it_names(data, objective):
    trained = train(data, replace(SMALL, objective=objective), seed=0)
    assert trained.iterations.tolist() == [50, 60]
    parts = {name for name, curve in trained.curves.items() if np.isfinite(curve).all()}
    assert (
        parts
        == {
            "joint": {"discriminator", "generator"},
            "big": {"discriminator", "generator"},
            "communication": {"discriminator", "generator", "communication"},
            "energy": {"discriminator", "generator", "energy"},
            "energy alone": {"energy"},
        }[objective]
    )


def test_a_seed_decides_and_another_decides_otherwise(data):
    first = train(data, SMALL, seed=3)
    assert same(first, train(data, SMALL, seed=3))
    assert not same(first, train(data, SMALL, seed=4))


@pytest.mark.parametrize("objective", ["communication", "energy"])
@pytest.mark.parametrize("saves", [1, 3])
def test_a_killed_training_goes_on_to_the_same_end(data, tmp_path, objective, saves):
    config, path = replace(SMALL, objective=objective), tmp_path / "state.npz"
    unbroken = train(data, config, seed=1)
    with killed_after(saves):
        train(data, config, seed=1, checkpoint=path, checkpoint_every=7)
    resumed = train(data, config, seed=1, checkpoint=path, checkpoint_every=7)
    assert same(unbroken, resumed)
    for name, curve in unbroken.curves.items():
        np.testing.assert_array_equal(resumed.curves[name], curve)


@pytest.mark.parametrize("change", [{"learning_rate": 0.1}, {"objective": "joint"}])
def test_the_state_of_another_training_is_refused(data, tmp_path, change):
    path = tmp_path / "state.npz"
    train(data, SMALL, seed=1, checkpoint=path)
    with pytest.raises(ValueError, match="other settings or data"):
        train(data, replace(SMALL, **change), seed=1, checkpoint=path)
    with pytest.raises(ValueError, match="seed"):
        train(data, SMALL, seed=2, checkpoint=path)


def test_a_loss_that_is_no_number_stops_the_run(data):
    rows = data.train.clone()
    rows[:] = math.inf
    with pytest.raises(FloatingPointError, match="after iteration 50"):
        train(replace(data, train=rows), SMALL, seed=0)


def test_the_callback_sees_the_average_of_the_moment(data):
    seen = {}
    train(data, SMALL, seed=0, callback=lambda i, s: seen.update({i: s.arrays()}))
    assert list(seen) == [50, 60]
    assert any(not np.array_equal(seen[50][name], seen[60][name]) for name in seen[50])


def test_the_sampler_leaves_alone_what_is_observed_and_restores(data):
    trained = train(data, SMALL, seed=0)
    observed = torch.rand(20, 4, generator=torch.Generator().manual_seed(0)) < 0.5
    x = torch.where(observed, data.test[:20], torch.nan)
    draws = [
        sampler.sample(x, observed, 3, generator=torch.Generator().manual_seed(1))
        for sampler in (
            trained.sampler,
            GeneratorSampler.from_arrays(data, SMALL, trained.sampler.arrays()),
        )
    ]
    assert torch.equal(*draws)
    assert draws[0].shape == (3, 20, 4)
    assert draws[0].isfinite().all()
    assert torch.equal(draws[0][:, observed], x[observed].expand(3, -1))
    assert (draws[0][0] != draws[0][1])[~observed].all()


@pytest.mark.parametrize("seed", range(2))
def test_two_hundred_iterations_find_the_ring(seed):
    ring = load_data("ring8")
    sampler = train(ring, config_for("ring8", iterations=200), seed=seed).sampler
    nothing = torch.zeros(2, dtype=torch.bool)
    x = sampler.sample(ring.test, nothing, 1, generator=torch.Generator().manual_seed(0))[0]
    nearest = torch.cdist(x.double(), ring.truth.means).argmin(1)
    shares = torch.bincount(nearest, minlength=8) / len(x)
    assert (shares > 0.2 / 8).all()


def test_images_are_trained_by_either_kind_of_network():
    digits = load_data("digits")
    for convolutions in (False, True):
        config = config_for(
            "digits", iterations=2, width=16, batch_size=8, convolutions=convolutions
        )
        trained = train(digits, config, seed=0)
        half = digits.groups < 8
        draws = trained.sampler.sample(digits.test[:5], half, 2)
        assert torch.equal(draws[:, :, half], digits.test[:5, half].expand(2, -1, -1))


@pytest.mark.parametrize(
    ("name", "value"),
    [("data", "mnist"), ("objective", "wgan"), ("iterations", 0), ("energy_weight", -1.0),
     ("learning_rate", 0.0), ("average", 1.5), ("p_whole", 2.0), ("width", 1.5)],
)  # fmt: skip
def test_settings_out_of_range_are_refused_by_name(name, value):
    with pytest.raises((TypeError, ValueError), match=name):
        replace(SMALL, **{name: value})
