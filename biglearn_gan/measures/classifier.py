"""The fixed classifiers that say what an image shows."""

from __future__ import annotations

import os
from typing import Protocol

import torch
from sklearn.svm import SVC
from torch import Tensor

from biglearn_gan.data import Data
from biglearn_gan.measures.network import ImageNetwork, load_network

__all__ = ["ImageClassifier", "NetworkClassifier", "SupportVectorClassifier", "load_classifier"]

_CHUNK = 1000

# From here on the time to classify by support vectors is that of a training.
_MOST_ROWS_OF_A_MACHINE = 10_000


class ImageClassifier(Protocol):
    """Classifier of whole images."""

    def labels(self, X: Tensor) -> Tensor:
        """Classify rows of pixels, shape (N, D): an int64 Tensor of shape (N,)."""
        ...

    def features(self, X: Tensor) -> Tensor:
        """Give what it decides by, float64, shape (N, F), on the CPU."""
        ...


class SupportVectorClassifier:
    """Support vector machine with a Gaussian kernel, an `ImageClassifier`.

    Its features are the margins of all pairs of classes.

    Parameters
    ----------
    X : Tensor of shape (N, D)
    labels : int64 Tensor of shape (N,)
    """

    def __init__(self, X: Tensor, labels: Tensor) -> None:
        self._machine = SVC(C=10.0, decision_function_shape="ovo", random_state=0)
        self._machine.fit(X.cpu().numpy(), labels.cpu().numpy())

    def labels(self, X: Tensor) -> Tensor:
        """Classify rows of pixels."""
        return torch.from_numpy(self._machine.predict(X.cpu().numpy())).to(X.device)

    def features(self, X: Tensor) -> Tensor:
        """Give the margin of every pair of classes."""
        return torch.from_numpy(self._machine.decision_function(X.cpu().numpy()))


class NetworkClassifier:
    """Small convolutional network, an `ImageClassifier`.

    Its features are those of its last hidden layer.

    Parameters
    ----------
    network : ImageNetwork
    """

    def __init__(self, network: ImageNetwork) -> None:
        self._network = network

    @torch.inference_mode()
    def labels(self, X: Tensor) -> Tensor:
        """Classify rows of pixels."""
        return torch.cat([self._network(part).argmax(1) for part in self._parts(X)]).to(X.device)

    @torch.inference_mode()
    def features(self, X: Tensor) -> Tensor:
        """Give the last hidden layer."""
        return torch.cat([self._network.features(part) for part in self._parts(X)]).double()

    @staticmethod
    def _parts(X: Tensor) -> tuple[Tensor, ...]:
        return X.cpu().float().split(_CHUNK)


def load_classifier(data: Data, *, root: str | os.PathLike | None = None) -> ImageClassifier:
    """Give the classifier of a set of images; always the same.

    Parameters
    ----------
    data : Data
        Images of at most 10,000 training rows have a support vector machine, which is fitted anew;
        others a network, which is trained once and kept.
    root : path-like, optional
        Folder of all results, where the network is kept.

    Returns
    -------
    classifier : ImageClassifier

    Raises
    ------
    ValueError
        When the data are no images, or without labels.
    """
    if data.side is None or data.train_labels is None:
        raise ValueError(f"{data.name!r} holds no labelled images")
    if len(data.train) <= _MOST_ROWS_OF_A_MACHINE:
        return SupportVectorClassifier(data.train, data.train_labels)
    network = load_network(data.train.cpu(), data.train_labels.cpu(), data.side, root=root)
    return NetworkClassifier(network)
