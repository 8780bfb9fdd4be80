"""What the quickstart notebook computes: starts compared, gaps made and filled, checks."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning

from biglearn_core.datasets import load_dataset
from biglearn_core.estimators import BigLearnEM, JointEM
from biglearn_core.estimators.base import MixtureEstimator
from biglearn_core.experiments.jobs import Job, run_missing, seed_name
from biglearn_core.experiments.store import ResultStore
from biglearn_core.system.digest import digest

__all__ = [
    "Config",
    "checks",
    "compare_starts",
    "describe_outliers",
    "fit_strokes",
    "imputation_errors",
    "iris_frame",
    "lose_pen_points",
    "pen_strokes",
]


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the quickstart.

    Parameters
    ----------
    seeds : tuple of int, default (0, 1, 2, 3, 4)
        Starts that are compared.
    n_digits : int, default 2000
        Rows of Pendigits.
    n_components : int, default 12
        Of the mixture for Pendigits.
    """

    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    n_digits: int = 2000
    n_components: int = 12


def iris_frame() -> tuple[pd.DataFrame, pd.Series]:
    """Load the iris measurements.

    Returns
    -------
    frame : DataFrame
        150 flowers, four lengths in cm.
    species : Series of str
    """
    bunch = load_iris(as_frame=True)
    return bunch.data, bunch.target.map(dict(enumerate(bunch.target_names)))


def pen_strokes(config: Config) -> np.ndarray:
    """Load handwritten digits as eight points of a pen.

    Parameters
    ----------
    config : Config

    Returns
    -------
    X : float64 ndarray of shape (N, 16)
        x and y of the points in the order of writing, from 0 to 1.
    """
    data = load_dataset("pendigits", protocol="fair")
    rows = np.random.default_rng(0).permutation(len(data.X_train))[: config.n_digits]
    return np.asarray(data.X_train, dtype=np.float64)[rows]


def compare_starts(
    X: np.ndarray, config: Config, *, root: str | os.PathLike | None = None
) -> pd.DataFrame:
    """Fit plain EM and BigLearnEM from several starts, or load what is finished.

    Parameters
    ----------
    X : ndarray of shape (N, D)
    config : Config
    root : path-like, optional
        Folder of results; results/ of the repository when not given.

    Returns
    -------
    table : DataFrame
        Mean log-likelihood in nats, a row per seed and a column per method.
    """
    read = {"biglearn_core.datasets": digest(X)}
    store = ResultStore("quickstart", config, module=__name__, root=root, read=read)
    jobs = [Job(store, seed_name(seed), (X, config, seed)) for seed in config.seeds]
    results = run_missing(_fit_start, jobs, description="starts")
    rows = {seed: r.summary["starts"] for seed, r in zip(config.seeds, results, strict=True)}
    return pd.DataFrame(rows).T[["plain EM", "BigLearnEM"]].rename_axis("seed")


def _fit_start(
    X: np.ndarray, config: Config, seed: int
) -> tuple[dict[str, dict[str, float]], dict[str, np.ndarray]]:
    fits = {
        "plain EM": _fit(JointEM, X, config, seed),
        "BigLearnEM": fit_strokes(X, config, seed=seed),
    }
    return {"starts": {method: fit.lower_bound_ for method, fit in fits.items()}}, {}


def fit_strokes(X: np.ndarray, config: Config, *, seed: int = 0) -> BigLearnEM:
    """Fit BigLearnEM to pen strokes, incomplete ones included.

    Parameters
    ----------
    X : ndarray of shape (N, 16)
    config : Config
    seed : int, default 0

    Returns
    -------
    model : BigLearnEM
    """
    return _fit(BigLearnEM, X, config, seed)


def _fit(Estimator: type, X: np.ndarray, config: Config, seed: int) -> MixtureEstimator:
    with warnings.catch_warnings():
        # Pen coordinates are often exactly 0 or 1, where a component ends on the floor.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return Estimator(config.n_components, covariance_floor=1e-2, random_state=seed).fit(X)


def describe_outliers(frame: pd.DataFrame, log_density: np.ndarray, n: int = 5) -> pd.DataFrame:
    """Show the rows of lowest density.

    Parameters
    ----------
    frame : DataFrame of shape (N, D)
    log_density : ndarray of shape (N,)
        In nats.
    n : int, default 5

    Returns
    -------
    table : DataFrame
    """
    return frame.assign(log_density=log_density).nsmallest(n, "log_density")


def lose_pen_points(X: np.ndarray, *, seed: int) -> np.ndarray:
    """Remove one of the eight pen points from half of the rows.

    Parameters
    ----------
    X : ndarray of shape (N, 16)
    seed : int

    Returns
    -------
    incomplete : ndarray of shape (N, 16)
        NaN where lost.
    """
    rng = np.random.default_rng(seed)
    incomplete = X.copy()
    rows = np.flatnonzero(rng.random(len(X)) < 0.5)
    lost = rng.integers(0, X.shape[1] // 2, len(rows))
    incomplete[rows, 2 * lost] = incomplete[rows, 2 * lost + 1] = np.nan
    return incomplete


def imputation_errors(X: np.ndarray, incomplete: np.ndarray, filled: np.ndarray) -> pd.DataFrame:
    """Compare filled entries with the truth.

    Parameters
    ----------
    X, incomplete, filled : ndarray of shape (N, D)

    Returns
    -------
    table : DataFrame
        Root mean squared errors, in the units of the data.
    """
    gaps = np.isnan(incomplete)
    means = np.broadcast_to(np.nanmean(incomplete, axis=0), X.shape)
    errors = {
        name: float(np.sqrt(np.mean((values - X)[gaps] ** 2)))
        for name, values in (("column means", means), ("BigLearnEM.impute", filled))
    }
    return pd.DataFrame({"RMSE": errors})


def checks(starts: pd.DataFrame, errors: pd.DataFrame) -> list[str]:
    """State what was found, in words that hold on every machine.

    Parameters
    ----------
    starts, errors : DataFrame
        From `compare_starts` and `imputation_errors`.

    Returns
    -------
    lines : list of str
    """
    above = int((starts["BigLearnEM"] > starts["plain EM"].max()).sum())
    ratio = errors.loc["BigLearnEM.impute", "RMSE"] / errors.loc["column means", "RMSE"]
    half = "less" if ratio < 0.5 else "more"
    return [
        f"BigLearnEM above the best plain EM: {above}/{len(starts)} starts",
        f"Imputation error: {half} than half of that of column means",
    ]
