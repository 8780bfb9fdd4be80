"""How good a sampler of images is: as a generator, and at completing them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

import numpy as np
import torch
from torch import Tensor

from biglearn_core.system.numbers import check_integer
from biglearn_core.system.progress import progress_bar
from biglearn_gan.data import Data
from biglearn_gan.measures.classifier import ImageClassifier, load_classifier
from biglearn_gan.measures.completions import CompletionScores, score_completions
from biglearn_gan.measures.frechet import PrincipalComponents, frechet_distance
from biglearn_gan.measures.neighbours import (
    nearest_distances,
    precision_and_recall,
    two_sample_accuracy,
)
from biglearn_gan.measures.questions import image_questions
from biglearn_gan.measures.randomness import seeded
from biglearn_gan.sampler import ConditionalSampler

__all__ = ["ImageScores", "measure_images"]

# Of the principal components of an image of so many pixels: 20 of 64, 64 of 784.
_FEW_PIXELS, _FEW_COMPONENTS, _MANY_COMPONENTS = 100, 20, 64

# Training images that settle the components.
_ROWS_OF_COMPONENTS = 10_000

# Of the comparisons, for `seeded`.
_ROWS, _JOINT, _MASKS, _COMPLETED = range(4)


@dataclass(frozen=True, eq=False)
class ImageScores:
    """A sampler of images beside test images.

    Parameters
    ----------
    frechet_pca : float
        Fréchet distance from all test images in the leading principal components of the training
        images: 20 where there are at most 100 pixels, else 64.
    frechet_features : float
        The same in the features of the fixed classifier.
    precision, recall : float
        In the same principal components, k = 5.
    two_sample : float
        Accuracy of the nearest-neighbour two-sample test on pixels; 0.5 is the best.
    nearest : float
        Mean distance, on pixels, of generated images from the nearest training image.
    nearest_of_test : float
        The same of test images: well below it, what is generated are copies.
    class_tv : float
        Total variation of the shares of classes, generated and test images both as classified.
    completions : dict of str to CompletionScores
        By question (`image_questions`).
    """

    frechet_pca: float
    frechet_features: float
    precision: float
    recall: float
    two_sample: float
    nearest: float
    nearest_of_test: float
    class_tv: float
    completions: Mapping[str, CompletionScores]

    def summary(self) -> dict[str, float]:
        """Give all numbers by name; those of completions as in "accuracy_top"."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "completions"}
        of_questions = {
            f"{measure}_{question}": value
            for question, scores in self.completions.items()
            for measure, value in asdict(scores).items()
        }
        return own | of_questions


def measure_images(
    sampler: ConditionalSampler,
    data: Data,
    *,
    seed: int,
    n_generated: int = 2000,
    n_compared: int = 1000,
    n_completed: int = 500,
    n_draws: int = 20,
    n_masks: int = 50,
    classifier: ImageClassifier | None = None,
    root: str | os.PathLike | None = None,
) -> ImageScores:
    """Measure a sampler of images.

    Parameters
    ----------
    sampler : ConditionalSampler
        Asked on the device of the data.
    data : Data
        Labelled images.
    seed : int
        Of the test rows that are completed and compared, and of masks, which are the same for every
        sampler; and of draws.
    n_generated : int, default 2000
        Joint draws, for Fréchet distances and classes.
    n_compared : int, default 1000
        Of them, and test images, for what is measured by neighbours; fewer where there are fewer.
    n_completed : int, default 500
        Test images that are completed, under every question; fewer where there are fewer.
    n_draws : int, default 20
        Completions of each.
    n_masks : int, default 50
        Different masks of a question of random units.
    classifier : ImageClassifier, optional
        That of `load_classifier` when not given.
    root : path-like, optional
        As in `load_classifier`.

    Returns
    -------
    scores : ImageScores

    Raises
    ------
    ValueError
        When the data are no labelled images, a number is too small, or draws are not finite.
    """
    least = {"n_generated": 2, "n_compared": 6, "n_completed": 1, "n_draws": 2, "n_masks": 1}
    given = {"n_generated": n_generated, "n_compared": n_compared, "n_completed": n_completed,
             "n_draws": n_draws, "n_masks": n_masks}  # fmt: skip
    for name, value in given.items():
        check_integer(name, value, least=least[name])
    if classifier is None:
        classifier = load_classifier(data, root=root)
    order = np.random.default_rng([seed, _ROWS]).permutation(len(data.test))
    rows = torch.from_numpy(order).to(data.test.device)
    with progress_bar(0, total=9, unit="question") as bar:
        joint = _joint_draws(sampler, data, n_generated, seed)
        generated = _score_generated(joint, data, rows[:n_compared], classifier)
        bar.update()
        chosen = rows[:n_completed]
        images, labels = data.test[chosen], data.test_labels[chosen]
        rng = np.random.default_rng([seed, _MASKS])
        questions = image_questions(data, len(chosen), n_masks=n_masks, rng=rng)
        completions = {}
        for i, (name, observed) in enumerate(questions.items()):
            generator = seeded(seed, _COMPLETED, i, device=images.device)
            draws = sampler.sample(images, observed, n_draws, generator=generator)
            _check_finite(draws, name)
            completions[name] = score_completions(draws, images, labels, observed, classifier)
            bar.update()
    return ImageScores(**generated, completions=completions)


def _joint_draws(sampler: ConditionalSampler, data: Data, n: int, seed: int) -> Tensor:
    blank = data.test.new_zeros(n, data.n_features)
    nothing = torch.zeros(data.n_features, dtype=torch.bool, device=blank.device)
    generator = seeded(seed, _JOINT, device=blank.device)
    draws = sampler.sample(blank, nothing, 1, generator=generator)[0]
    _check_finite(draws, "nothing observed")
    return draws


def _score_generated(
    joint: Tensor, data: Data, rows: Tensor, classifier: ImageClassifier
) -> dict[str, float]:
    n_components = _FEW_COMPONENTS if data.n_features <= _FEW_PIXELS else _MANY_COMPONENTS
    every = max(1, len(data.train) // _ROWS_OF_COMPONENTS)
    project = PrincipalComponents(data.train[::every].cpu().numpy(), n_components)
    features = [classifier.features(X).numpy() for X in (joint, data.test)]
    n = min(len(joint), len(rows))
    real, drawn = data.test[rows[:n]], joint[:n]
    precision, recall = precision_and_recall(
        *(torch.from_numpy(project(X.cpu().numpy())) for X in (real, drawn))
    )
    return {
        "frechet_pca": frechet_distance(*(project(X.cpu().numpy()) for X in (joint, data.test))),
        "frechet_features": frechet_distance(*features),
        "precision": precision,
        "recall": recall,
        "two_sample": two_sample_accuracy(real, drawn),
        "nearest": nearest_distances(drawn, data.train).mean().item(),
        "nearest_of_test": nearest_distances(real, data.train).mean().item(),
        "class_tv": _class_variation(classifier.labels(joint), classifier.labels(data.test)),
    }


def _class_variation(a: Tensor, b: Tensor) -> float:
    n = int(max(a.max(), b.max())) + 1
    shares = [torch.bincount(labels, minlength=n) / len(labels) for labels in (a, b)]
    return 0.5 * (shares[0] - shares[1]).abs().sum().item()


def _check_finite(draws: Tensor, question: str) -> None:
    if not bool(draws.isfinite().all()):
        raise ValueError(
            f"draws under the question {question!r} are not finite; this sampler cannot be measured"
        )
