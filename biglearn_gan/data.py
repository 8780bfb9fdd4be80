"""Data to learn: mixtures whose every law is known, digits, and Fashion-MNIST."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from biglearn_core.datasets.fashion_mnist import load_fashion_mnist
from biglearn_core.gmm import GMM

__all__ = ["DATA", "Data", "load_data", "ring8"]

DATA = ("ring8", "gmm4", "digits", "fashion")

_N_TRAIN, _N_TEST = 20_000, 5_000


@dataclass(frozen=True, eq=False)
class Data:
    """Rows to learn from and rows to measure by, float32.

    Parameters
    ----------
    name : str
    train : Tensor of shape (N, D)
    test : Tensor of shape (M, D)
        Seen by no training.
    groups : int64 Tensor of shape (D,)
        The unit of every coordinate, from 0: units are observed as a whole. A feature is one; of an
        image, a patch is.
    side : int or None
        An image is side × side pixels, row by row, in [−1, 1].
    train_labels, test_labels : int64 Tensor of shape (N,) and (M,), or None
        Used by measures alone.
    truth : GMM or None
        The law that the rows were drawn from, float64.
    """

    name: str
    train: Tensor
    test: Tensor
    groups: Tensor
    side: int | None = None
    train_labels: Tensor | None = None
    test_labels: Tensor | None = None
    truth: GMM | None = None

    @property
    def n_features(self) -> int:
        """D."""
        return self.train.shape[1]

    @property
    def n_groups(self) -> int:
        """G, units that are observed as a whole."""
        return int(self.groups.max()) + 1


def load_data(name: str) -> Data:
    """Load a data set by name; always the same rows.

    Parameters
    ----------
    name : {"ring8", "gmm4", "digits", "fashion"}
        Eight modes on a ring in the plane; five components of full covariance in four dimensions;
        scikit-learn's digits, 8 × 8 pixels in patches of 2 × 2 (1437 and 360 images);
        Fashion-MNIST, 28 × 28 pixels in patches of 4 × 4 (60000 and 10000 images).

    Returns
    -------
    data : Data

    Raises
    ------
    ValueError
        When there is no such set.
    DownloadError
        When Fashion-MNIST cannot be had.
    """
    makers = {"ring8": _ring8, "gmm4": _gmm4, "digits": _digits, "fashion": _fashion}
    if name not in makers:
        raise ValueError(f"there is no data set {name!r}; there are: {', '.join(makers)}")
    return makers[name]()


def ring8() -> GMM:
    """Give the law of ring8.

    Returns
    -------
    truth : GMM
        Eight equal modes of standard deviation 0.1 at radius 1.4. The first stands at 0.2 rad, so
        that no two have the same coordinate.
    """
    angles = 0.2 + 2 * math.pi * torch.arange(8, dtype=torch.float64) / 8
    means = 1.4 * torch.stack([angles.cos(), angles.sin()], 1)
    covariances = 0.01 * torch.eye(2, dtype=torch.float64).repeat(8, 1, 1)
    return GMM(torch.full((8,), 1 / 8, dtype=torch.float64), means, covariances)


def _ring8() -> Data:
    return _drawn("ring8", ring8())


def _gmm4() -> Data:
    rng = np.random.default_rng(4)
    means = rng.uniform(-1.5, 1.5, (5, 4))
    bases = [np.linalg.qr(rng.standard_normal((4, 4)))[0] for _ in means]
    roots = np.stack([Q * np.sqrt(rng.uniform(0.02, 0.25, 4)) for Q in bases])
    arrays = ([0.30, 0.25, 0.20, 0.15, 0.10], means, roots @ roots.transpose(0, 2, 1))
    return _drawn("gmm4", GMM(*(torch.tensor(np.asarray(array)) for array in arrays)))


def _drawn(name: str, truth: GMM) -> Data:
    generator = torch.Generator().manual_seed(0)
    X, _ = truth.sample(_N_TRAIN + _N_TEST, generator)
    train, test = X.float().split([_N_TRAIN, _N_TEST])
    return Data(name, train, test, torch.arange(truth.n_features), truth=truth)


def _digits() -> Data:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    X, y = load_digits(return_X_y=True)
    X = (X / 8 - 1).astype(np.float32)
    train, test, y_train, y_test = train_test_split(X, y, test_size=360, stratify=y, random_state=0)
    return _images("digits", train, test, y_train, y_test, patch=2)


def _fashion() -> Data:
    loaded = load_fashion_mnist()
    X = (loaded.images / 127.5 - 1).astype(np.float32)
    n = loaded.n_train
    return _images("fashion", X[:n], X[n:], loaded.labels[:n], loaded.labels[n:], patch=4)


def _images(
    name: str,
    train: np.ndarray,
    test: np.ndarray,
    train_labels: np.ndarray,
    test_labels: np.ndarray,
    *,
    patch: int,
) -> Data:
    side = math.isqrt(train.shape[1])
    row, column = np.divmod(np.arange(side * side), side)
    groups = row // patch * (side // patch) + column // patch
    tensors = (torch.from_numpy(a) for a in (train, test, groups, train_labels, test_labels))
    train, test, groups, train_labels, test_labels = tensors
    return Data(name, train, test, groups, side, train_labels.long(), test_labels.long())
