"""scikit-learn's GaussianMixture and our estimator's defaults on the data of the simulation."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.mixture import GaussianMixture

from biglearn_core.estimators import BigLearnEM
from biglearn_core.experiments.gmm25.run import Config, draw_data, optimum
from biglearn_core.experiments.jobs import Job, run_missing, seed_name
from biglearn_core.experiments.published import GMM25_SEEDS
from biglearn_core.experiments.store import ResultStore
from biglearn_core.gmm import GMM
from biglearn_core.metrics import KLEvaluator
from biglearn_core.system.stopwatch import Stopwatch

__all__ = ["PeersConfig", "run_peers"]


@dataclass(frozen=True, kw_only=True)
class PeersConfig:
    """Settings of scikit-learn's GaussianMixture beside our estimator on the same data.

    Parameters
    ----------
    seeds : tuple of int
    n_train, n_test : int
    starts : tuple of str
        Values of `init_params`.
    n_inits : tuple of int
        Values of `n_init`.
    max_iter : int
    reg_covar : float
    """

    seeds: tuple[int, ...] = GMM25_SEEDS
    n_train: int = 2000
    n_test: int = 5000
    starts: tuple[str, ...] = ("kmeans", "k-means++", "random_from_data")
    n_inits: tuple[int, ...] = (1, 10)
    max_iter: int = 1000
    reg_covar: float = 1e-5


def run_peers(
    config: PeersConfig, *, root: str | os.PathLike | None = None, n_jobs: int | None = None
) -> list[dict]:
    """Fit all estimators on every seed, or load what is finished.

    Parameters
    ----------
    config : PeersConfig
    root, n_jobs
        As in `gmm25.run.run`.

    Returns
    -------
    rows : list of dict
        One per seed and method: seed, method, test_kl, optimum_kl (without smoothing), seconds.
    """
    store = ResultStore("gmm25_peers", config, module=__name__, root=root)
    jobs = [Job(store, seed_name(seed), (config, seed)) for seed in config.seeds]
    results = run_missing(_run_seed, jobs, n_jobs=n_jobs, description="scikit-learn seeds")
    return [row for result in results for row in result.summary["rows"]]


def _run_seed(config: PeersConfig, seed: int) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    data = draw_data(seed, n_train=config.n_train, n_test=config.n_test)
    evaluate = KLEvaluator(data.truth, data.X_test)
    optimum_kl = evaluate(optimum(data, Config(weight_smoothing=0.0)).model).joint
    K = data.truth.n_components
    options = {"max_iter": config.max_iter, "reg_covar": config.reg_covar, "random_state": seed}
    fits = {"BigLearnEM, defaults": BigLearnEM(K, random_state=seed)} | {
        f"scikit-learn, {start}, n_init={n}": GaussianMixture(
            K, init_params=start, n_init=n, **options
        )
        for start in config.starts
        for n in config.n_inits
    }
    rows = []
    for method, estimator in fits.items():
        clock = Stopwatch()
        estimator.fit(data.X_train.numpy())
        seconds = clock.read()
        parameters = (estimator.weights_, estimator.means_, estimator.covariances_)
        model = GMM(*(torch.tensor(parameter) for parameter in parameters))
        rows.append(
            {
                "seed": seed,
                "method": method,
                "test_kl": evaluate(model).joint,
                "optimum_kl": optimum_kl,
                "seconds": seconds,
            }
        )
    return {"rows": rows}, {}
