"""Scikit-learn estimators: plain EM and BigLearn-EM for data of one's own."""

from __future__ import annotations

import warnings
from operator import itemgetter
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from biglearn_core.estimators.base import MixtureEstimator
from biglearn_core.estimators.resolution import default_floor
from biglearn_core.estimators.scaling import UnitData, UnitScale, to_unit_scale
from biglearn_core.fit import fit_biglearn_em, fit_joint_em
from biglearn_core.gmm import GMM
from biglearn_core.history import FitResult
from biglearn_core.init import (
    drawn_in,
    kmeans_plusplus_start,
    kmeans_start,
    paper_start,
    random_points_start,
)
from biglearn_core.numerics.points import Points
from biglearn_core.numerics.threads import one_thread_an_operation
from biglearn_core.search.incomplete import search_incomplete
from biglearn_core.search.search import SearchConfig, search_mixture
from biglearn_core.system.progress import progress_bar
from biglearn_core.validation import check_real

__all__ = ["BigLearnEM", "JointEM"]

# Settings of the paper's simulation.
_PAPER_FLOOR = 1e-5
_PAPER_ITERATIONS = {"joint": 500, "biglearn": 2000}


class JointEM(MixtureEstimator):
    """Gaussian mixture with full covariances, fitted by ordinary EM.

    Parameters
    ----------
    n_components : int, default 1
        K.
    init : {"kmeans", "k-means++", "random"} or GMM, default "kmeans"
        Start: clusters of k-means, cells around rows drawn by k-means++, random rows, or a given
        mixture in the units of the data. Not used by preset="paper".
    preset : {"default", "paper"}, default "default"
        "paper" is the published baseline: data as they are, start N(0, I), 500 iterations, floor
        1e-5 (Cong and Li, AAAI 2024, simulation).
    covariance_floor : float, optional
        Least eigenvalue of every covariance, in units of the squared scale of the features. When
        not given 1e-4 (a hundredth of a standard deviation), and less where clusters are so tight
        and far apart that this would blur them; the paper's 1e-5 is in units of the data.
    max_iter : int, optional
        EM steps at most; 500 when not given.
    tol : float, default 1e-5
        EM stops when the mean log-likelihood rises by less; in nats. Not used by preset="paper".
    n_init : int, default 1
        Starts, the best outcome of which is kept. Not used by preset="paper".
    random_state : int, RandomState instance or None, default None
    device : {"auto", "cpu", "cuda"}, default "auto"
        "auto" takes a CUDA device where there is one.
    verbose : int, default 0
        Whether to show a progress bar from the start. In a terminal or a notebook one appears after
        five seconds anyway, unless the environment variable BIGLEARN_QUIET is set.

    Attributes
    ----------
    weights_ : ndarray of shape (K,)
    means_ : ndarray of shape (K, D)
    covariances_, precisions_ : ndarray of shape (K, D, D)
    mixture_ : GMM
        The same law, with marginals, conditionals, linear images, sampling, save and load.
    covariance_floor_ : float
        Least eigenvalue used, in the same units as `covariance_floor`.
    lower_bound_ : float
        Mean log-likelihood of the data of `fit`, in nats.
    converged_ : bool
        Whether the last step gained less than `tol`.
    n_iter_ : int
        EM steps of the run that was kept.
    history_ : History
        One entry per EM step; its log-likelihoods are those at unit scale.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (D,)
        Where the data have string column names.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.concatenate([np.random.default_rng(0).normal(m, 1, (100, 2)) for m in (0, 9)])
    >>> JointEM(2, random_state=0).fit(X).weights_.round(2)
    array([0.5, 0.5])
    """

    def __init__(
        self,
        n_components: int = 1,
        *,
        init: Literal["kmeans", "k-means++", "random"] | GMM = "kmeans",
        preset: Literal["default", "paper"] = "default",
        covariance_floor: float | None = None,
        max_iter: int | None = None,
        tol: float = 1e-5,
        n_init: int = 1,
        random_state: int | np.random.RandomState | None = None,
        device: Literal["auto", "cpu", "cuda"] = "auto",
        verbose: int = 0,
    ) -> None:
        self.n_components = n_components
        self.init = init
        self.preset = preset
        self.covariance_floor = covariance_floor
        self.max_iter = max_iter
        self.tol = tol
        self.n_init = n_init
        self.random_state = random_state
        self.device = device
        self.verbose = verbose

    def fit(self, X: ArrayLike, y: Any = None, sample_weight: ArrayLike | None = None) -> JointEM:
        """Fit the mixture.

        Parameters
        ----------
        X : array-like of shape (N, D)
            float32 and float64 are kept, everything else becomes float64.
        y : ignored
        sample_weight : array-like of shape (N,), optional
            Non-negative; an integer weight acts as so many copies of the row.

        Returns
        -------
        self : JointEM

        Raises
        ------
        ValueError
            When data or weights are not finite, weights are negative or all zero, there are fewer
            rows than components, or a parameter is out of range.
        """
        with self._kept_on_error(), one_thread_an_operation():
            self._fit(*self._prepare(X, sample_weight))
        return self

    def _fit(self, X: np.ndarray, sample_weight: np.ndarray | None) -> None:
        seed = self._seed()
        if self.preset == "paper":
            data, floor = _raw(X, sample_weight), self.covariance_floor or _PAPER_FLOOR
        else:
            data = to_unit_scale(X, sample_weight=sample_weight, least_rows=self.n_components)
            floor = self.covariance_floor or default_floor(data.Z, self.n_components)
        Z, weights = _to_torch(data, self._torch_device())
        n_iter = self.max_iter or _PAPER_ITERATIONS["joint"]
        n_init = 1 if self.preset == "paper" else self.n_init
        with progress_bar(self.verbose, total=n_init * n_iter, unit="step") as bar:

            def run(seed: int) -> tuple[float, FitResult]:
                result = fit_joint_em(
                    Z,
                    self._start(Z, weights, data.scale, seed),
                    n_iter=n_iter,
                    covariance_floor=floor,
                    tol=0.0 if self.preset == "paper" else self.tol,
                    sample_weight=weights,
                    callback=lambda iteration, model: bar.update() and None,
                )
                return _log_likelihood(Z, weights, result), result

            highest, best = max(map(run, range(seed, seed + n_init)), key=itemgetter(0))
        if self.preset == "default" and not best.converged:
            _warn_not_converged(n_iter)
        self._keep(
            best.model,
            data.scale,
            log_likelihood=highest,
            log_volume=data.log_volume(),
            n_iter=best.n_iter,
            converged=best.converged,
            history=best.history,
            covariance_floor=floor,
        )

    def _check_parameters(self) -> None:
        super()._check_parameters()
        starts = ("kmeans", "k-means++", "random")
        named = isinstance(self.init, str) and self.init in starts
        if not (named or isinstance(self.init, GMM)):
            raise ValueError(f"init must be a GMM or one of {', '.join(starts)}, got {self.init!r}")

    def _start(self, Z: Tensor, weights: Tensor | None, scale: UnitScale, seed: int) -> GMM:
        K = self.n_components
        if self.preset == "paper":
            return _draw_paper_start(Z, K, seed)
        if isinstance(self.init, GMM):
            if (self.init.n_components, self.init.n_features) != (K, Z.shape[1]):
                raise ValueError(
                    f"init has {self.init.n_components} components over {self.init.n_features} "
                    f"features, but n_components={K} and X has {Z.shape[1]} features"
                )
            return scale.apply_mixture(self.init).to(device=Z.device, dtype=Z.dtype)
        if self.init != "random":
            start = kmeans_start if self.init == "kmeans" else kmeans_plusplus_start
            return start(Z, K, seed=seed, sample_weight=weights, positions=drawn_in(Z))
        return random_points_start(Z, K, seed=seed)


class BigLearnEM(MixtureEstimator):
    """Gaussian mixture that does not depend on a lucky start.

    The default is a search that only ever climbs in joint likelihood: k-means, EM, split-and-merge
    moves found on one-dimensional marginals, bursts of BigLearn-EM's matching tasks, and joint EM
    to convergence (`biglearn_core.search`). `preset="paper"` is BigLearn-EM as published.

    Parameters
    ----------
    n_components : int, default 1
        K.
    preset : {"default", "paper"}, default "default"
        "paper" takes the data as they are, starts at N(0, I), and runs 2000 iterations of 5 local
        steps with 40 % joint, 10 % marginal and 50 % transformed marginal tasks, floor 1e-5 and
        weight smoothing 1/√K (Cong and Li, AAAI 2024, simulation), with no test of convergence.
    covariance_floor : float, optional
        Least eigenvalue of every covariance, in units of the squared scale of the features. When
        not given 1e-4 (a hundredth of a standard deviation), and less where clusters are so tight
        and far apart that this would blur them; the paper's are in units of the data.
    weight_smoothing : float, optional
        α of the paper's weight update, 1/√K when not given; preset="paper" alone, since it draws
        unequal weights to uniform.
    max_iter : int, optional
        Joint steps at the end, at most, 500 when not given; with preset="paper" the number of
        iterations, 2000 when not given.
    tol : float, default 1e-5
        The last joint steps stop when the mean log-likelihood rises by less; in nats.
    n_init : int, default 1
        Searches, the best of which is kept. Not used by preset="paper".
    random_state : int, RandomState instance or None, default None
        The global random state is never used.
    device : {"auto", "cpu", "cuda"}, default "auto"
        "auto" takes a CUDA device where there is one.
    verbose : int, default 0
        Whether to show a progress bar from the start. In a terminal or a notebook one appears after
        five seconds anyway, unless the environment variable BIGLEARN_QUIET is set.

    Attributes
    ----------
    weights_ : ndarray of shape (K,)
    means_ : ndarray of shape (K, D)
    covariances_, precisions_ : ndarray of shape (K, D, D)
    mixture_ : GMM
        The same law, with marginals, conditionals, linear images, sampling, save and load.
    covariance_floor_ : float
        Least eigenvalue used, in the same units as `covariance_floor`.
    lower_bound_ : float
        Mean log-likelihood of the data of `fit`, of their observed part where some are missing;
        in nats.
    converged_ : bool
        Whether the last joint step gained less than `tol`; False with preset="paper".
    n_iter_ : int
        EM steps in all; iterations with preset="paper".
    history_ : SearchHistory, or History with preset="paper"
        One entry per move or iteration; its log-likelihoods are those at unit scale.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (D,)
        Where the data have string column names.

    Notes
    -----
    Why the defaults are not the paper's: its start and floor are blind to the scale of the data,
    and its schedule keeps what a task leaves behind. Features are standardised here, by a scale
    that a few rows do not set, so that multiplying, shifting or permuting them gives the same
    clusters, and every move must raise the joint likelihood of the data, so that the model is never
    below its own start. Everything is mapped back to the units of the data.

    What is missing may be written as NaN, None, pandas.NA or the mask of a masked array.

    As many threads run as torch has (`torch.set_num_threads`, OMP_NUM_THREADS). They work on pieces
    of the data and sleep while they wait, so that the result is the same on any number of them,
    other busy processes hold a fit up by no more than their share of the machine, and a process
    forked after a fit can fit as well.

    References
    ----------
    Y. Cong and S. Li, "Big Learning Expectation Maximization", AAAI 2024, arXiv 2312.11926.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.concatenate([np.random.default_rng(0).normal(m, 1, (100, 2)) for m in (0, 9)])
    >>> BigLearnEM(2, random_state=0).fit(X).weights_.round(2)
    array([0.5, 0.5])
    """

    def __init__(
        self,
        n_components: int = 1,
        *,
        preset: Literal["default", "paper"] = "default",
        covariance_floor: float | None = None,
        weight_smoothing: float | None = None,
        max_iter: int | None = None,
        tol: float = 1e-5,
        n_init: int = 1,
        random_state: int | np.random.RandomState | None = None,
        device: Literal["auto", "cpu", "cuda"] = "auto",
        verbose: int = 0,
    ) -> None:
        self.n_components = n_components
        self.preset = preset
        self.covariance_floor = covariance_floor
        self.weight_smoothing = weight_smoothing
        self.max_iter = max_iter
        self.tol = tol
        self.n_init = n_init
        self.random_state = random_state
        self.device = device
        self.verbose = verbose

    def fit(
        self, X: ArrayLike, y: Any = None, sample_weight: ArrayLike | None = None
    ) -> BigLearnEM:
        """Fit the mixture.

        Parameters
        ----------
        X : array-like of shape (N, D)
            float32 and float64 are kept, everything else becomes float64. NaN, None, pandas.NA or
            a mask stand for a missing entry (missing at random), except with preset="paper".
        y : ignored
        sample_weight : array-like of shape (N,), optional
            Non-negative; an integer weight acts as so many copies of the row.

        Returns
        -------
        self : BigLearnEM

        Raises
        ------
        ValueError
            When data or weights are not finite, weights are negative or all zero, a feature has no
            value, there are fewer rows than components, or a parameter is out of range.
        """
        with self._kept_on_error(), one_thread_an_operation():
            X, sample_weight = self._prepare(X, sample_weight)
            if self.preset == "paper":
                self._fit_paper(X, sample_weight)
            else:
                self._fit_default(X, sample_weight)
        return self

    def _fit_default(self, X: np.ndarray, sample_weight: np.ndarray | None) -> None:
        data = to_unit_scale(X, sample_weight=sample_weight, least_rows=self.n_components)
        Z, weights = _to_torch(data, self._torch_device())
        floor = self.covariance_floor or default_floor(data.Z, self.n_components)
        config = SearchConfig(n_init=self.n_init, tol=self.tol, max_iter=self.max_iter or 500)
        search = search_incomplete if np.isnan(data.Z).any() else search_mixture
        with progress_bar(self.verbose, unit="step") as bar:

            def progress(move: str, log_likelihood: float, n_steps: int) -> None:
                bar.set_postfix_str(f"{move}, log-likelihood {log_likelihood:.4f}", refresh=False)
                bar.update(max(0, n_steps - bar.n))

            result = search(
                Z,
                self.n_components,
                covariance_floor=floor,
                seed=self._seed(),
                config=config,
                sample_weight=weights,
                progress=progress,
            )
        if not result.converged:
            _warn_not_converged(config.max_iter)
        self._keep(
            result.model,
            data.scale,
            log_likelihood=result.log_likelihood,
            log_volume=data.log_volume(),
            n_iter=result.n_iter,
            converged=result.converged,
            history=result.history,
            covariance_floor=floor,
        )

    def _fit_paper(self, X: np.ndarray, sample_weight: np.ndarray | None) -> None:
        data, seed, K = _raw(X, sample_weight), self._seed(), self.n_components
        Z, weights = _to_torch(data, self._torch_device())
        floor = self.covariance_floor or _PAPER_FLOOR
        n_iter = self.max_iter or _PAPER_ITERATIONS["biglearn"]
        smoothing = K**-0.5 if self.weight_smoothing is None else self.weight_smoothing
        with progress_bar(self.verbose, total=n_iter, unit="task") as bar:
            result = fit_biglearn_em(
                Z,
                _draw_paper_start(Z, K, seed),
                n_iter=n_iter,
                covariance_floor=floor,
                weight_smoothing=smoothing,
                seed=seed,
                sample_weight=weights,
                callback=lambda iteration, model: bar.update() and None,
            )
        self._keep(
            result.model,
            data.scale,
            log_likelihood=_log_likelihood(Z, weights, result),
            log_volume=0.0,
            n_iter=result.n_iter,
            converged=False,
            history=result.history,
            covariance_floor=floor,
        )

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if self.weight_smoothing is not None:
            check_real("weight_smoothing", self.weight_smoothing, least=0)

    def _allow_nan(self) -> bool:
        return self.preset == "default"


def _raw(X: np.ndarray, sample_weight: np.ndarray | None) -> UnitData:
    """Wrap data that are taken as they are."""
    weights = None if sample_weight is None else sample_weight.astype(X.dtype)
    return UnitData(X, weights, UnitScale.identity(X.shape[1]))


def _to_torch(data: UnitData, device: torch.device) -> tuple[Tensor, Tensor | None]:
    weights = data.sample_weight
    return (
        torch.tensor(data.Z, device=device),
        None if weights is None else torch.tensor(weights, device=device),
    )


def _draw_paper_start(Z: Tensor, n_components: int, seed: int) -> GMM:
    return paper_start(
        n_components,
        Z.shape[1],
        generator=torch.Generator().manual_seed(seed),
        dtype=Z.dtype,
        device=Z.device,
    )


def _log_likelihood(Z: Tensor, weights: Tensor | None, result: FitResult) -> float:
    return result.model.mean_log_prob(Points.of(Z, sample_weight=weights))


def _warn_not_converged(n_iter: int) -> None:
    warnings.warn(
        f"EM has not converged in {n_iter} steps: raise max_iter or tol",
        ConvergenceWarning,
        stacklevel=4,
    )
