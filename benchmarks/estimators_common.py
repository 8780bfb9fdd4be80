"""What the benchmarks of the estimators share: data, competitors, clocks, result files."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from threadpoolctl import threadpool_limits

from biglearn_core import GMM, BigLearnEM, fit_joint_em

RESULTS = Path(__file__).resolve().parent / "results"
FLOOR = 1e-4


@dataclass(frozen=True)
class Run:
    """One fit: what it took and what it reached.

    Parameters
    ----------
    seconds : float
        Processor time on one thread.
    log_likelihood : float
        Mean log-likelihood of the training data, in nats.
    """

    seconds: float
    log_likelihood: float


def clock(fit: Callable[[], float]) -> Run:
    """Time a fit that returns its training log-likelihood."""
    start = time.process_time()
    log_likelihood = fit()
    return Run(time.process_time() - start, float(log_likelihood))


def fit_biglearn(X: np.ndarray, K: int, seed: int) -> Run:
    """Fit with the default settings."""
    return clock(lambda: BigLearnEM(K, random_state=seed, device="cpu").fit(X).lower_bound_)


def fit_sklearn(X: np.ndarray, K: int, seed: int, init: str = "kmeans", n_init: int = 10) -> Run:
    """Fit scikit-learn's GaussianMixture with the same floor."""

    def fit() -> float:
        model = GaussianMixture(
            K, n_init=n_init, reg_covar=FLOOR, random_state=seed, init_params=init
        )
        return model.fit(X).lower_bound_

    return clock(fit)


def standardise(X: np.ndarray) -> np.ndarray:
    """Bring features to zero mean and unit variance, as the estimators do inside."""
    scale = X.std(axis=0)
    return (X - X.mean(axis=0)) / np.where(scale > 0, scale, 1.0)


@dataclass(frozen=True)
class Sample:
    """Standardised draws from a known mixture, that mixture, and the component of each row."""

    X: np.ndarray
    truth: GMM
    components: np.ndarray


def grid(side: int, n: int, seed: int, *, dim: int = 2) -> Sample:
    """Draw from side^dim equal Gaussians of variance 0.1, two apart."""
    rng = np.random.default_rng(seed)
    at = 2.0 * np.arange(side) - (side - 1)
    means = np.array(list(product(at, repeat=dim)))
    components = rng.integers(0, len(means), n)
    X = means[components] + np.sqrt(0.1) * rng.standard_normal((n, dim))
    centre, scale = X.mean(axis=0), X.std(axis=0)
    K = len(means)
    truth = GMM(
        torch.full((K,), 1 / K, dtype=torch.float64),
        torch.from_numpy((means - centre) / scale),
        torch.from_numpy(np.tile(np.diag(0.1 / scale**2), (K, 1, 1))),
    )
    return Sample((X - centre) / scale, truth, components)


def optimum(sample: Sample) -> float:
    """Mean training log-likelihood that EM reaches from the truth."""
    result = fit_joint_em(
        torch.from_numpy(sample.X), sample.truth, n_iter=500, covariance_floor=FLOOR, tol=1e-9
    )
    return float(result.history.log_likelihood[-1])


def divergence(sample: Sample, log_likelihood: float) -> float:
    """Empirical KL divergence from the truth on the training data, in nats."""
    return float(sample.truth.log_prob(torch.from_numpy(sample.X)).mean()) - log_likelihood


@contextmanager
def one_thread() -> Iterator[None]:
    """Give every library one thread, and keep their advice on convergence quiet."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield
    torch.set_num_threads(threads)


def save(name: str, rows: list[dict], **settings: object) -> None:
    """Write rows of results as JSON."""
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps({"settings": settings, "rows": rows}, indent=1)
    (RESULTS / f"{name}.json").write_text(text + "\n")


def as_row(prefix: str, run: Run) -> dict:
    """Fields of a run under a prefix."""
    return {f"{prefix}_{name}": value for name, value in asdict(run).items()}
