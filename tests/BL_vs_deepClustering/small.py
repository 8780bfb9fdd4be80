"""Small images, networks and settings, and what makes two runs the same."""

import contextlib
from dataclasses import replace

import numpy as np
import pytest
import torch

from biglearn_core.experiments.store import ResultStore
from BL_vs_deepClustering.comparison import run as deep
from BL_vs_deepClustering.peers.autoencoder import PretrainConfig
from BL_vs_deepClustering.peers.biglearn_pca import ComponentMixtureConfig
from BL_vs_deepClustering.pixels import run as fashion
from BL_vs_deepClustering.pixels.run import Images

K, D = 3, 20
TINY = PretrainConfig(
    hidden=(16, 12), n_code=4, n_epochs=20, batch_size=32, optimizer="adam", learning_rate=1e-2
)
PEERS = deep.Config(seeds=(0, 1), n_images=90, n_clusters=3, n_epochs=2, n_updates=3, n_steps=3)
PIXELS = fashion.Config(n_images=90, n_components=3, n_iterations=4, n_local_steps=2)


def synthetic(n=150, n_pixels=D, seed=0, *, n_directions=2, spread=0.1):
    """Images of three classes that spread along few directions."""
    rng = np.random.default_rng(seed)
    classes = np.arange(n) % K
    centres = rng.uniform(0, 1, (K, n_pixels))
    positions = rng.standard_normal((n, n_directions))
    X = centres[classes] + positions @ rng.normal(0, spread, (n_directions, n_pixels))
    X += rng.normal(0, 0.05, (n, n_pixels))
    return Images(torch.tensor(X, dtype=torch.float32), classes)


def wide_synthetic(n=90, n_pixels=30, seed=0):
    """Images that spread as wide as the pixels' mixtures need to tell their directions."""
    return synthetic(n, n_pixels, seed, n_directions=4, spread=0.3)


def quick(config, **changes):
    return replace(config, batch_size=32, update_interval=5, n_init=2, **changes)


def with_rows(patch, rows):
    """Change some fields of the rows of methods."""
    changed = {name: replace(deep.METHODS[name], **fields) for name, fields in rows.items()}
    patch.setattr(deep, "METHODS", {**deep.METHODS, **changed})


def few_components(patch):
    """Let BigLearn-EM take five principal components."""
    settings = ComponentMixtureConfig(n_directions=5)
    with_rows(patch, {"biglearn-pca": {"settings": lambda common: settings}})


@contextlib.contextmanager
def synthetic_images():
    """Put ninety synthetic images of 784 pixels in the place of Fashion-MNIST.

    Their principal components are five.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deep, "load_images", lambda n, *, device: synthetic(n, 784))
        few_components(patch)
        deep._images.cache_clear()
        yield patch
        deep._images.cache_clear()


def same_peers(runs, others):
    for run, other in zip(runs, others, strict=True):
        for name in ("method", "seed", "final", "n_steps", "converged", "n_parameters"):
            assert getattr(run, name) == getattr(other, name)
        for name in ("clusters", "acc", "nmi", "ari"):
            np.testing.assert_array_equal(getattr(run, name), getattr(other, name))
        for name, curve in run.curves.items():
            np.testing.assert_array_equal(curve, other.curves[name])


def store_at(folder, config=PIXELS):
    return ResultStore("fashion", config, module=fashion.__name__, root=folder)


def same_pixels(run, other):
    for name in ("weights", "means", "covariances"):
        assert torch.equal(getattr(run.model, name), getattr(other.model, name)), name
    np.testing.assert_array_equal(run.clusters, other.clusters)
    for name, column in run.trace.arrays().items():
        if "seconds" not in name:
            np.testing.assert_array_equal(column, other.trace.arrays()[name])
