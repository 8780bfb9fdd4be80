"""Problems on which EM depends on its start, as functions of a seed.

Where nothing else is said, clusters are round, of deviation 1, and stand where random means leave
them apart.

- cigars: K parallel classes a step apart, of deviation 0.12 along that axis, 12 along a second one
  and 1 to 12 along further ones, turned at random; 500 rows a class, 25 D where that is more.
- hidden: 3000 rows of identity covariance, bimodal along one random axis alone.
- unequal: ten clusters of weights from 500 down to 1; 20000 rows.
- tiny: two large clusters that overlap, 500 parts each, and ten tight ones of 3 parts among them;
  20000 rows.
- nested: four wide clusters with a tight one, a tenth as wide, near the middle of each; 8000 rows.
- cross, star: four pairs of crossing bars and four stars of three, variances 300:1; 6000 rows.
- overlap: fifteen clusters of random shapes in 5-D that overlap; 10000 rows.
- high: twenty clusters in 64-D, 4000 rows.
- t-noise: eight clusters of Student's t with three degrees of freedom; 4000 rows.
- uniform-noise: eight clusters and 5 % of the rows uniform over all of them, which have a component
  to themselves; 4000 rows.
- scales: eight clusters of deviations from 60 down to 1; 4000 rows.
- concentric: three round clusters about one point, of deviations 1, 5 and 25; 3000 rows.
- same-mean: three clusters about one point in 5-D, each ten times longer along an axis of its own;
  3000 rows.
- grid, lattice: equal Gaussians of variance 0.1, two apart: 5×5 (the 25-GMM), 10×10, 15×15, 5³, 3⁴.
- many: 200 clusters in 8-D of weights from 10 down to 1, 40000 rows; 500 in 2-D, 50000 rows.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from estimators_common import grid
from search_methods import Problem, as_mixture

CIGARS = (
    *((2, 2), (2, 10), (2, 40), (3, 2), (3, 20)),
    *((4, 5), (4, 40), (5, 10), (6, 2), (6, 20)),
)

# Half the distance between the two modes, in deviations of either: their error is a quarter of a
# percent.
_HALF_GAP = 2.8


def _problem(
    rows: list[np.ndarray], weights: np.ndarray, means: np.ndarray, covariances: np.ndarray
) -> Problem:
    """Standardise rows, one array a component, together with the mixture they were drawn from."""
    X = np.concatenate(rows)
    labels = np.repeat(np.arange(1, len(rows) + 1), [len(part) for part in rows])
    centre, scale = X.mean(axis=0), X.std(axis=0)
    truth = as_mixture(weights, (means - centre) / scale, covariances / np.outer(scale, scale))
    return Problem((X - centre) / scale, labels, len(rows), truth)


def _draw(
    rng: np.random.Generator,
    n: int,
    weights: np.ndarray,
    means: np.ndarray,
    covariances: np.ndarray,
) -> Problem:
    """Draw from a mixture, as many rows of each component as its weight says."""
    weights = np.asarray(weights, float) / np.sum(weights)
    sizes = np.diff(np.round(n * np.cumsum(weights)).astype(int), prepend=0)
    rows = [
        mean + rng.standard_normal((size, len(mean))) @ np.linalg.cholesky(covariance).T
        for size, mean, covariance in zip(sizes, means, covariances, strict=True)
    ]
    return _problem(rows, weights, means, covariances)


def _round(deviations: np.ndarray, dim: int) -> np.ndarray:
    return np.asarray(deviations, float)[:, None, None] ** 2 * np.eye(dim)


def _apart(
    rng: np.random.Generator, deviations: np.ndarray, dim: int, *, gap: float, side: float
) -> np.ndarray:
    """Draw means from a cube, each `gap` times the sum of both deviations from any before it."""
    means = np.empty((0, dim))
    while len(means) < len(deviations):
        mean = rng.uniform(0, side, dim)
        least = gap * (deviations[: len(means)] + deviations[len(means)])
        if (np.linalg.norm(means - mean, axis=1) >= least).all():
            means = np.vstack([means, mean])
    return means


def _rotation(rng: np.random.Generator, dim: int) -> np.ndarray:
    Q, R = np.linalg.qr(rng.standard_normal((dim, dim)))
    return Q * np.sign(np.diag(R))


def _bar(angle: float) -> np.ndarray:
    """Covariance of a bar in the plane, variances 300:1."""
    along = np.array([np.cos(angle), np.sin(angle)])
    return np.outer(along, along) + (np.eye(2) - np.outer(along, along)) / 300


def cigars(seed: int, *, K: int, dim: int) -> Problem:
    """Draw parallel classes."""
    rng = np.random.default_rng(seed)
    deviations = np.r_[0.12, 12.0, rng.uniform(1, 12, dim - 2)]
    turn = _rotation(rng, dim)
    means = np.arange(K)[:, None] * turn[0]
    covariance = (turn.T * deviations**2) @ turn
    n = K * max(500, 25 * dim)
    return _draw(rng, n, np.ones(K), means, np.tile((covariance + covariance.T) / 2, (K, 1, 1)))


def hidden_axis(seed: int, *, dim: int) -> Problem:
    """Draw two classes that differ along one axis of many."""
    rng = np.random.default_rng(seed)
    axis = _rotation(rng, dim)[0]
    variance = 1 / (1 + _HALF_GAP**2)
    means = np.outer([-1, 1], axis) * _HALF_GAP * np.sqrt(variance)
    covariance = np.eye(dim) - (1 - variance) * np.outer(axis, axis)
    return _draw(rng, 3000, np.ones(2), means, np.tile(covariance, (2, 1, 1)))


def unequal(seed: int) -> Problem:
    """Draw clusters of very unequal weights."""
    rng = np.random.default_rng(seed)
    deviations = np.ones(10)
    means = _apart(rng, deviations, 2, gap=1.5, side=14)
    return _draw(rng, 20000, np.geomspace(500, 1, 10), means, _round(deviations, 2))


def tiny(seed: int) -> Problem:
    """Draw small tight clusters among two large ones."""
    rng = np.random.default_rng(seed)
    small = rng.uniform([-5, -3], [5, 3], (10, 2))
    means = np.vstack([[-2.7, 0], [2.7, 0], small])
    deviations = np.r_[1, 1, np.full(10, 0.05)]
    return _draw(rng, 20000, [500, 500] + [3] * 10, means, _round(deviations, 2))


def nested(seed: int) -> Problem:
    """Draw tight clusters inside wide ones."""
    rng = np.random.default_rng(seed)
    wide = _apart(rng, np.ones(4), 2, gap=3, side=15)
    means = np.vstack([wide, wide + 0.3 * rng.standard_normal((4, 2))])
    return _draw(rng, 8000, [4] * 4 + [1] * 4, means, _round([1.0] * 4 + [0.1] * 4, 2))


def bars(seed: int, *, n_bars: int) -> Problem:
    """Draw four bundles of bars that cross in one point."""
    rng = np.random.default_rng(seed)
    centres = np.repeat(_apart(rng, np.ones(4), 2, gap=2.5, side=12), n_bars, axis=0)
    turns = np.repeat(rng.uniform(0, np.pi, 4), n_bars)
    angles = turns + np.tile(np.arange(n_bars) * np.pi / n_bars, 4)
    covariances = np.array([_bar(angle) for angle in angles])
    return _draw(rng, 6000, np.ones(4 * n_bars), centres, covariances)


def overlap(seed: int) -> Problem:
    """Draw clusters of random shapes that overlap."""
    rng = np.random.default_rng(seed)
    factors = rng.standard_normal((15, 5, 5)) / np.sqrt(5)
    covariances = factors @ factors.transpose(0, 2, 1) + 0.2 * np.eye(5)
    return _draw(rng, 10000, np.ones(15), 1.25 * rng.standard_normal((15, 5)), covariances)


def high(seed: int) -> Problem:
    """Draw clusters in many dimensions with few rows each."""
    rng = np.random.default_rng(seed)
    return _draw(rng, 4000, np.ones(20), rng.standard_normal((20, 64)), _round(np.ones(20), 64))


def t_noise(seed: int) -> Problem:
    """Draw clusters with heavy tails; the classes' moments stand for the truth."""
    rng = np.random.default_rng(seed)
    means = _apart(rng, np.ones(8), 2, gap=5, side=40)
    rows = [mean + rng.standard_t(3, (500, 2)) for mean in means]
    X = np.concatenate(rows)
    return Problem((X - X.mean(axis=0)) / X.std(axis=0), np.repeat(np.arange(1, 9), 500), 8)


def uniform_noise(seed: int) -> Problem:
    """Draw clusters over a background; a Gaussian of its moments stands for that."""
    rng = np.random.default_rng(seed)
    side = 30
    means = np.vstack([_apart(rng, np.ones(8), 2, gap=3, side=side), [side / 2] * 2])
    covariances = np.concatenate([_round(np.ones(8), 2), [side**2 / 12 * np.eye(2)]])
    rows = [mean + rng.standard_normal((475, 2)) for mean in means[:8]]
    rows.append(rng.uniform(0, side, (200, 2)))
    problem = _problem(rows, np.array([0.95 / 8] * 8 + [0.05]), means, covariances)
    labels = np.where(problem.labels == 9, 0, problem.labels)
    return Problem(problem.X, labels, problem.K, problem.truth)


def scales(seed: int) -> Problem:
    """Draw clusters of very unequal widths."""
    rng = np.random.default_rng(seed)
    deviations = np.geomspace(60, 1, 8)
    means = _apart(rng, deviations, 2, gap=2.5, side=700)
    return _draw(rng, 4000, np.ones(8), means, _round(deviations, 2))


def concentric(seed: int) -> Problem:
    """Draw round clusters about one point."""
    rng = np.random.default_rng(seed)
    return _draw(rng, 3000, np.ones(3), np.zeros((3, 2)), _round([1, 5, 25], 2))


def same_mean(seed: int) -> Problem:
    """Draw clusters about one point that differ in their axes."""
    rng = np.random.default_rng(seed)
    covariances = np.array([np.diag(np.where(np.arange(5) == k, 100.0, 1.0)) for k in range(3)])
    return _draw(rng, 3000, np.ones(3), np.zeros((3, 5)), covariances)


def lattice(seed: int, *, side: int, dim: int, n: int) -> Problem:
    """Draw equal Gaussians on a lattice."""
    sample = grid(side, n, seed, dim=dim)
    return Problem(sample.X, sample.components + 1, side**dim, sample.truth)


def many(seed: int, *, K: int, dim: int, n: int, ratio: float, gap: float, side: float) -> Problem:
    """Draw many clusters."""
    rng = np.random.default_rng(seed)
    means = _apart(rng, np.ones(K), dim, gap=gap, side=side)
    return _draw(rng, n, np.geomspace(ratio, 1, K), means, _round(np.ones(K), dim))


PROBLEMS: dict[str, Callable[[int], Problem]] = {
    **{f"cigars K={K} D={dim}": partial(cigars, K=K, dim=dim) for K, dim in CIGARS},
    **{f"hidden D={dim}": partial(hidden_axis, dim=dim) for dim in (10, 30, 45, 64)},
    "unequal": unequal,
    "tiny": tiny,
    "nested": nested,
    "cross": partial(bars, n_bars=2),
    "star": partial(bars, n_bars=3),
    "overlap": overlap,
    "high": high,
    "t-noise": t_noise,
    "uniform-noise": uniform_noise,
    "scales": scales,
    "concentric": concentric,
    "same-mean": same_mean,
    "grid 5×5": partial(lattice, side=5, dim=2, n=2000),
    "grid 10×10": partial(lattice, side=10, dim=2, n=8000),
    "grid 15×15": partial(lattice, side=15, dim=2, n=18000),
    "lattice 5³": partial(lattice, side=5, dim=3, n=12500),
    "lattice 3⁴": partial(lattice, side=3, dim=4, n=8100),
    "many K=200 D=8": partial(many, K=200, dim=8, n=40000, ratio=10, gap=3, side=14),
    "many K=500 D=2": partial(many, K=500, dim=2, n=50000, ratio=1, gap=3, side=190),
}
