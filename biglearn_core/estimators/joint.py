"""Plain EM as a scikit-learn estimator."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from biglearn_core.data import mean_log_prob
from biglearn_core.estimators.base import MOST_STEPS, MixtureEstimator
from biglearn_core.fit import fit_joint_em
from biglearn_core.gmm import GMM
from biglearn_core.history import FitResult
from biglearn_core.init import drawn_in, kmeans_plusplus_start, kmeans_start, random_points_start
from biglearn_core.rows.source import RowSource
from biglearn_core.search.constraint import Constraint
from biglearn_core.system.processes import ALONE, Processes
from biglearn_core.system.progress import progress_bar

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

__all__ = ["JointEM"]


class JointEM(MixtureEstimator):
    """Gaussian mixture fitted by ordinary EM.

    Parameters
    ----------
    n_components : int, default 1
        K.
    init : {"kmeans", "k-means++", "random"}, GMM or array-like, default "kmeans"
        Start: clusters of k-means, cells around rows drawn by k-means++, random rows, or a given
        one: a mixture in the units of the data, labels of the rows (integers in 0..K−1), or means
        of shape (K, D). Labels become the shares, means and covariances of their rows; means label
        every row by the nearest of them, at unit scale, and then the same. preset="paper" does not
        use the names, and refuses a given start.
    covariance_type : str, default "full"
        What the covariances have in common, by scikit-learn's names: "full" (each its own), "tied"
        (all the same), "diag", "spherical"; or another of mclust's families by its letters for
        volume, shape and orientation, equal or varying: EII, EEI, VEI, EVI, VEE, EVE, VVE, EEV,
        VEV, EVV. "spherical" and EII, EVE, VVE, EEV and VEV are no such law any more in other units
        of single features: they are fitted in the units of the data, so that features measured in
        small units count for more, and only a common factor leaves them alone. All others do not
        depend on units. Not used by preset="paper", which is "full".
    preset : {"default", "paper"}, default "default"
        "paper" is the published baseline: data as they are, start N(0, I), 500 iterations, floor
        1e-5 (Cong and Li, AAAI 2024, simulation).
    covariance_floor : float, optional
        Least eigenvalue of every covariance, in units of the squared scale of the features. When
        not given 1e-4 (a hundredth of a standard deviation; where many values are equal, the
        rounding to its steps, but less than its deviation), and less where clusters are so tight
        and far apart, or features so strongly correlated, that this would blur them; the
        paper's 1e-5 is in units of the data.
    covariance_prior : {None, "conjugate"}, default None
        "conjugate" puts an inverse Wishart law on every covariance, which is worth D + 2 rows and
        has its size from the data (`numerics.prior`; Fraley and Raftery, 2007): for components of
        few rows to a feature. The likelihood is then raised together with it.
    max_iter : int, optional
        EM steps at most; 500 when not given.
    tol : float, default 1e-5
        EM stops when the mean log-likelihood rises by less; in nats. Not used by preset="paper".
    n_init : int, default 1
        Starts, the best outcome of which is kept; a given start is one. Not used by preset="paper".
    warm_start : bool, default False
        Whether a fit starts from what the last one has found, in place of `init`: `n_components`
        and the features must be the same. Refused with preset="paper".
    random_state : int, RandomState instance or None, default None
    device : {"auto", "cpu", "cuda"}, default "auto"
        "auto" takes a CUDA device where there is one.
    verbose : int, default 0
        Whether to show a progress bar from the start. In a terminal or a notebook one appears after
        two seconds anyway, unless the environment variable BIGLEARN_QUIET is set.

    Attributes
    ----------
    weights_ : ndarray of shape (K,)
    means_ : ndarray of shape (K, D)
    covariances_, precisions_ : ndarray
        Of shape (K, D, D); (D, D) where they are tied, (K, D) diagonal, (K,) spherical.
    mixture_ : GMM
        The same law, with marginals, conditionals, linear images, sampling, save and load.
        Features go by their names where the data have names.
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

    Notes
    -----
    Rows of more than 2²³ numbers are not held in memory, but read in passes, as `BigLearnEM` tells:
    EM starts from the outcome of EM on the sample.

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
        init: Literal["kmeans", "k-means++", "random"] | GMM | ArrayLike = "kmeans",
        covariance_type: str = "full",
        preset: Literal["default", "paper"] = "default",
        covariance_floor: float | None = None,
        covariance_prior: Literal["conjugate"] | None = None,
        max_iter: int | None = None,
        tol: float = 1e-5,
        n_init: int = 1,
        warm_start: bool = False,
        random_state: int | np.random.RandomState | None = None,
        device: Literal["auto", "cpu", "cuda"] = "auto",
        verbose: int = 0,
    ) -> None:
        super().__init__(
            n_components,
            init=init,
            covariance_type=covariance_type,
            preset=preset,
            covariance_floor=covariance_floor,
            covariance_prior=covariance_prior,
            max_iter=max_iter,
            tol=tol,
            n_init=n_init,
            warm_start=warm_start,
            random_state=random_state,
            device=device,
            verbose=verbose,
        )

    def fit(
        self,
        X: ArrayLike,
        y: Any = None,
        sample_weight: ArrayLike | None = None,
        *,
        checkpoint: str | os.PathLike | None = None,
        process_group: ProcessGroup | None = None,
    ) -> JointEM:
        """Fit the mixture.

        Parameters
        ----------
        X : array-like of shape (N, D), or rows in files or chunks
            float32 and float64 are kept, everything else becomes float64. What else holds rows is
            told by `biglearn_core.rows.open_rows`: names of .npy, .npz and Parquet files or of a
            folder, and whatever hands out chunks.
        y : ignored
        sample_weight : array-like of shape (N,), optional
            Non-negative; an integer weight acts as so many copies of the row.
        checkpoint : path-like, optional
            File that keeps the state of a fit in passes (see Notes), after the search and after
            every pass; where it exists, the fit goes on from it, with any number of processes. Rows
            that are held in memory are fitted anew.
        process_group : torch.distributed.ProcessGroup, optional
            Processes that fit together, each of which gives rows of its own, or none; all end with
            the same model. Every process where torch.distributed is initialised, when not given; a
            group of one process fits alone.

        Returns
        -------
        self : JointEM

        Raises
        ------
        ValueError
            When data or weights are not finite, weights are negative or all zero, there are fewer
            rows than components, a parameter is out of range, a start does not go with the data, or
            the checkpoint is of another fit.
        ProcessesError
            When another process has failed or ended.
        """
        return self._fit(X, sample_weight, process_group=process_group, checkpoint=checkpoint)

    def _fit_default(
        self,
        Z: Tensor,
        weights: Tensor | None,
        constraint: Constraint,
        start: GMM | None,
        beside: Sequence[GMM],
        seed: int,
        settings: dict[str, Any],
    ) -> tuple[FitResult, float]:
        starts: list[Callable[[], GMM]]
        if start is not None:
            starts = [lambda: start]
        else:
            starts = [partial(self._start, Z, weights, seed + run) for run in range(self.n_init)]
        return self._best(Z, weights, constraint, starts, tol=self.tol)

    def _fit_paper(
        self,
        X: Tensor | RowSource,
        weights: Tensor | None,
        floor: float,
        device: torch.device,
        seed: int,
        processes: Processes,
        checkpoint: str | os.PathLike | None,
    ) -> tuple[FitResult, float]:
        starts = [partial(self._paper_start, X, device, seed)]
        return self._best(
            X,
            weights,
            Constraint(floor),
            starts,
            tol=0.0,
            processes=processes,
            checkpoint=checkpoint,
        )

    def _best(
        self,
        X: Tensor | RowSource,
        weights: Tensor | None,
        constraint: Constraint,
        starts: Sequence[Callable[[], GMM]],
        *,
        tol: float,
        processes: Processes = ALONE,
        checkpoint: str | os.PathLike | None = None,
    ) -> tuple[FitResult, float]:
        """Fit from every start; give the outcome of highest mean log-likelihood, and that."""
        n_iter = self.max_iter or MOST_STEPS
        with progress_bar(self.verbose, total=len(starts) * n_iter, unit="step") as bar:

            def count(iteration: int, model: GMM) -> None:
                bar.update()

            def fit(start: Callable[[], GMM]) -> tuple[FitResult, float]:
                model = start()
                result = fit_joint_em(
                    X,
                    GMM.unchecked(
                        model.weights,
                        model.means,
                        model.covariances,
                        model.low_rank,
                        constraint.covariance_type,
                    ),
                    n_iter=n_iter,
                    covariance_floor=constraint.floor,
                    tol=tol,
                    sample_weight=weights,
                    prior=constraint.prior,
                    callback=count,
                    checkpoint=checkpoint,
                    process_group=processes,
                )
                return result, mean_log_prob(X, result.model, weights, processes)

            return max(map(fit, starts), key=itemgetter(1))

    def _check_parameters(self) -> None:
        super()._check_parameters()
        starts = ("kmeans", "k-means++", "random")
        if self.init is None or (isinstance(self.init, str) and self.init not in starts):
            raise ValueError(
                f"init must be a GMM, labels, means or one of {', '.join(starts)}, got "
                f"{self.init!r}"
            )

    def _start(self, Z: Tensor, weights: Tensor | None, seed: int) -> GMM:
        K = self.n_components
        if self.init != "random":
            start = kmeans_start if self.init == "kmeans" else kmeans_plusplus_start
            return start(Z, K, seed=seed, sample_weight=weights, positions=drawn_in(Z))
        return random_points_start(Z, K, seed=seed)
