"""The autoencoder: learns, begins anew where it does not, and depends on its seed alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from BL_vs_deepClustering.peers import autoencoder
from BL_vs_deepClustering.peers.autoencoder import (
    Autoencoder,
    PretrainConfig,
    pretrain,
)
from tests.BL_vs_deepClustering.small import TINY, D
from tests.helpers import killed_after


def test_pretraining_learns_and_depends_on_the_seed_alone(small):
    X, model = small
    again = pretrain(X, TINY, seed=0)
    assert again.losses[-1] < again.losses[0]
    for a, b in zip(model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(a, b)
    other = pretrain(X, TINY, seed=1).model
    assert not torch.equal(model.encoder[0].weight, other.encoder[0].weight)


def never_learns(monkeypatch, updates=10, restarts=2):
    """Make every training fail its trial after the given updates."""
    monkeypatch.setattr(autoencoder, "_UPDATES_TO_LEARN", updates)
    monkeypatch.setattr(autoencoder, "_LEARNED", 0.0)
    monkeypatch.setattr(autoencoder, "_MOST_RESTARTS", restarts)


def test_a_training_that_does_not_learn_begins_anew(small, monkeypatch):
    X, _ = small
    never_learns(monkeypatch)
    with pytest.warns(UserWarning, match="no more than the mean image") as told:
        found = pretrain(X, TINY, seed=0)
    assert len(told) == found.restarts == 2
    assert len(found.losses) == TINY.n_epochs
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):  # the third weights are those that were kept
        third = Autoencoder(D, TINY.hidden, TINY.n_code, generator=generator)
    monkeypatch.setattr(autoencoder, "Autoencoder", lambda *a, **k: third)
    monkeypatch.setattr(autoencoder, "_UPDATES_TO_LEARN", 10**9)
    again = pretrain(X, TINY, seed=0)
    np.testing.assert_array_equal(again.losses, found.losses)


def test_one_that_learns_does_not(small):
    X, _ = small  # any warning is an error here
    assert pretrain(X, replace(TINY, n_epochs=101), seed=0).restarts == 0


@pytest.mark.filterwarnings("ignore:the autoencoder of seed")
@pytest.mark.parametrize("saves", [1, 3, 6])
def test_killed_around_a_restart_it_goes_on_to_the_same_weights(
    small, tmp_path, monkeypatch, saves
):
    X, _ = small
    never_learns(monkeypatch)
    unbroken = pretrain(X, TINY, seed=0)
    with killed_after(saves):
        pretrain(X, TINY, seed=0, checkpoint=tmp_path / "state.npz")
    begun = pretrain(X, TINY, seed=0, checkpoint=tmp_path / "state.npz")
    np.testing.assert_array_equal(begun.losses, unbroken.losses)
    assert begun.restarts == 2


def test_a_saved_autoencoder_is_the_same(small):
    X, model = small
    trained = autoencoder.Pretrained(model, np.arange(3.0), 1.5, restarts=2)
    arrays = trained.arrays()
    again = Autoencoder.from_arrays(arrays, TINY)
    assert torch.equal(again.encode(X), model.encode(X))
    assert torch.equal(again(X), model(X))
    np.testing.assert_array_equal(arrays["losses"], trained.losses)
    assert arrays["restarts"] == 2


def test_weights_start_in_their_range_and_the_rate_falls():
    generator = torch.Generator().manual_seed(0)
    model = Autoencoder(100, (50,), 3, generator=generator)
    for layer in (model.encoder[0], model.encoder[2], model.decoder[2]):
        assert (layer.weight.abs() <= layer.in_features**-0.5).all()
        assert layer.weight.abs().max() > 0.9 * layer.in_features**-0.5
        assert (layer.bias == 0).all()
    config = PretrainConfig(learning_rate=2e-3)
    assert [config.rate_at(x) for x in (0.0, 0.5, 0.75, 1.0)] == pytest.approx(
        [2e-3, 2e-3, 1e-3, 0.0]
    )
    kinds = [type(layer).__name__ for layer in model.encoder]
    assert kinds == ["Linear", "ReLU", "Linear"]  # a linear code
