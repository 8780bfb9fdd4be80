"""How good completions are: recognised, close, and different where little is observed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from biglearn_gan.measures.classifier import ImageClassifier

__all__ = ["CompletionScores", "score_completions"]


@dataclass(frozen=True)
class CompletionScores:
    """Completions of test images under one question.

    Parameters
    ----------
    accuracy : float
        Share of first draws that the classifier gives the label of the image.
    vote : float
        The same of the most frequent label of all draws; the lowest of those that tie.
    rmse : float
        Root mean squared error of the first draw over what is not observed, in the units of pixels.
    rmse_of_mean : float
        The same of the mean of all draws.
    spread : float
        Standard deviation of the draws of an image (ddof 1), root mean square over what is not
        observed.
    """

    accuracy: float
    vote: float
    rmse: float
    rmse_of_mean: float
    spread: float


def score_completions(
    draws: Tensor, images: Tensor, labels: Tensor, observed: Tensor, classifier: ImageClassifier
) -> CompletionScores:
    """Score draws of what is not observed.

    Parameters
    ----------
    draws : Tensor of shape (n, B, D)
        Of at least two completions.
    images : Tensor of shape (B, D)
        The whole ones.
    labels : int64 Tensor of shape (B,)
    observed : bool Tensor of shape (B, D)
    classifier : ImageClassifier

    Returns
    -------
    scores : CompletionScores
    """
    n, B, _ = draws.shape
    guesses = classifier.labels(draws.flatten(0, 1)).view(n, B)
    votes = torch.nn.functional.one_hot(guesses).sum(0).argmax(1)
    mean = draws.mean(0, dtype=torch.float64)
    variance = sum((draw - mean).square() for draw in draws) / (n - 1)
    open_ = ~observed

    def root_mean(squares: Tensor) -> float:
        return squares[open_].mean(dtype=torch.float64).sqrt().item()

    return CompletionScores(
        accuracy=(guesses[0] == labels).double().mean().item(),
        vote=(votes == labels).double().mean().item(),
        rmse=root_mean((draws[0] - images).square()),
        rmse_of_mean=root_mean((mean - images).square()),
        spread=root_mean(variance),
    )
