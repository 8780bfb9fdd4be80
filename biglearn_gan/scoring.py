"""What is kept of a sampler: its scores, and draws for the figures."""

from __future__ import annotations

import numpy as np
import torch

from biglearn_gan.data import Data
from biglearn_gan.measures.exact import measure_exact
from biglearn_gan.measures.images import measure_images
from biglearn_gan.measures.questions import image_questions
from biglearn_gan.sampler import ConditionalSampler

__all__ = ["SHOWN_QUESTIONS", "score"]

SHOWN_QUESTIONS = ("top", "left", "8of16", "2of16")

_POINTS, _IMAGES = 2000, 60
_ROWS, _COMPLETIONS = 8, 4


def score(
    sampler: ConditionalSampler, data: Data, *, seed: int
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Measure a sampler, and keep some of its draws.

    Parameters
    ----------
    sampler : ConditionalSampler
    data : Data
    seed : int
        Of its draws, and of what it is asked, which is the same for every sampler.

    Returns
    -------
    scores : dict of str to float
    draws : dict of str to ndarray
        "joint", of shape (n, D). Of images, for every name in `SHOWN_QUESTIONS`, "given/<name>",
        the coordinates observed of the first test images, of shape (8, D), and
        "completed/<name>", draws of shape (4, 8, D).
    """
    generator = torch.Generator().manual_seed(seed)
    nothing = torch.zeros(data.n_features, dtype=torch.bool)
    if data.side is None:
        scores = measure_exact(sampler, data, seed=seed).summary()
        joint = sampler.sample(data.test[:_POINTS], nothing, 1, generator=generator)[0]
        return scores, {"joint": joint.numpy()}
    scores = measure_images(sampler, data, seed=seed).summary()
    joint = sampler.sample(data.test[:_IMAGES], nothing, 1, generator=generator)[0]
    draws = {"joint": joint.numpy()}
    rng = np.random.default_rng(0)
    questions = image_questions(data, _ROWS, n_masks=_ROWS, rng=rng)
    for name in SHOWN_QUESTIONS:
        rows, observed = data.test[:_ROWS], questions[name]
        completed = sampler.sample(rows, observed, _COMPLETIONS, generator=generator)
        draws |= {f"given/{name}": observed.numpy(), f"completed/{name}": completed.numpy()}
    return scores, draws
