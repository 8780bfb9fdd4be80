"""BigLearn-EM as a scikit-learn estimator: the search that is the default, and the paper's fit."""

from __future__ import annotations

import os
from collections.abc import Sequence
from math import isnan
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from biglearn_core.data import mean_log_prob
from biglearn_core.estimators.base import MOST_STEPS, MixtureEstimator
from biglearn_core.fit import fit_biglearn_em
from biglearn_core.gmm import GMM
from biglearn_core.history import FitResult
from biglearn_core.rows.source import RowSource
from biglearn_core.search.constraint import Constraint
from biglearn_core.search.incomplete import search_incomplete
from biglearn_core.search.search import SearchConfig, SearchResult, search_mixture
from biglearn_core.system.numbers import check_real
from biglearn_core.system.processes import Processes
from biglearn_core.system.progress import progress_bar

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

__all__ = ["BigLearnEM"]

# Of the paper's simulation.
_PAPER_ITERATIONS = 2000


class BigLearnEM(MixtureEstimator):
    """Gaussian mixture that depends far less on its start than EM does.

    The default is a search (`biglearn_core.search`): starts, EM, and swaps that insert a component
    where the mixture misses it most and drop the one that is missed least, found in neighbourhoods
    and in chosen marginals of the data; then other starts, as long as ten restarts of EM would take
    or until they lead to the same optimum. `preset="paper"` is BigLearn-EM as published.

    Parameters
    ----------
    n_components : int, default 1
        K.
    init : GMM or array-like, optional
        Start of the first basin, in place of those that are drawn: a mixture in the units of the
        data, labels of the rows (integers in 0..K−1), or means of shape (K, D). Labels become the
        shares, means and covariances of their rows; means label every row by the nearest of them,
        at unit scale, and then the same. The search goes on from other starts, so that it ends at
        least as high. In data with gaps it starts EM on the observed values, and the first search.
        Refused with preset="paper".
    covariance_type : str, default "full"
        What the covariances have in common, by scikit-learn's names: "full" (each its own), "tied"
        (all the same), "diag", "spherical"; or another of mclust's families by its letters for
        volume, shape and orientation, equal or varying: EII, EEI, VEI, EVI, VEE, EVE, VVE, EEV,
        VEV, EVV. "spherical" and EII, EVE, VVE, EEV and VEV are no such law any more in other units
        of single features: they are fitted in the units of the data, so that features measured in
        small units count for more, and only a common factor leaves them alone. All others do not
        depend on units. Not used by preset="paper", which is "full".
    preset : {"default", "paper"}, default "default"
        "paper" takes the data as they are, starts at N(0, I), and runs 2000 iterations of 5 local
        steps with 40 % joint, 10 % marginal and 50 % transformed marginal tasks, floor 1e-5 and
        weight smoothing 1/√K (Cong and Li, AAAI 2024, simulation), with no test of convergence.
    covariance_floor : float, optional
        Least eigenvalue of every covariance, in units of the squared scale of the features. When
        not given 1e-4 (a hundredth of a standard deviation; where many values are equal, the
        rounding to its steps, but less than its deviation), and less where clusters are so tight
        and far apart, or features so strongly correlated, that this would blur them; the
        paper's are in units of the data.
    covariance_prior : {None, "conjugate"}, default None
        "conjugate" puts an inverse Wishart law on every covariance, which is worth D + 2 rows and
        has its size from the data (`numerics.prior`; Fraley and Raftery, 2007): for components of
        few rows to a feature. The likelihood is then raised together with it.
    weight_smoothing : float, optional
        α of the paper's weight update, 1/√K when not given; preset="paper" alone, since it draws
        unequal weights to uniform.
    max_iter : int, optional
        Joint steps at the end, at most, 500 when not given; with preset="paper" the number of
        iterations, 2000 when not given.
    tol : float, default 1e-5
        The last joint steps stop when the mean log-likelihood rises by less; in nats.
    n_init : int, default 1
        Multiplies how long the default goes on from other starts. Not used by preset="paper".
    warm_start : bool, default False
        Whether a fit starts from what the last one has found, in place of `init`: `n_components`
        and the features must be the same. Refused with preset="paper".
    plain_likelihood : bool, default False
        Whether models are compared by likelihood alone. The likelihood of a mixture has no maximum:
        a component that shrinks onto a few rows gains without end. Unless this is true, what a
        component of fewer than ten rows to a feature gains by being thinner than the others, down
        on the covariance floor, is not counted (where such components are exceptions), nor what
        components gain by having few rows for their parameters (the small-sample correction of AIC,
        `biglearn_core.search.credit`). Every single climb is plain EM either way. Not used by
        preset="paper".
    random_state : int, RandomState instance or None, default None
        The global random state is never used.
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
        Mean log-likelihood of the data of `fit`, of their observed part where some are missing;
        in nats.
    converged_ : bool
        Whether the last joint step gained less than `tol`; False with preset="paper".
    n_iter_ : int
        EM steps in all; iterations with preset="paper".
    history_ : SearchHistory, or History with preset="paper"
        One entry per move or iteration; its log-likelihoods are those at unit scale. That of a
        search tells why it stopped.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (D,)
        Where the data have string column names.

    Notes
    -----
    Why the defaults are not the paper's: its start and floor are blind to the scale of the data,
    and its schedule keeps what a task leaves behind. Features are standardised here, by a scale
    that a few rows do not set, so that multiplying, shifting or permuting them gives the same
    clusters, and every move must raise the likelihood of the data (see `plain_likelihood`).
    Everything is mapped back to the units of the data.

    What is missing may be written as NaN, None, pandas.NA or the mask of a masked array.

    Rows of more than 2²³ numbers, of all processes together and wherever they lie, are not held in
    memory, but read in passes. The first draws a sample of distinct rows with the weights of their
    copies, by their content, so that it does not depend on their order or division
    (`biglearn_core.rows.survey`); scale and floor are those of the sample, and the search is made
    on it. Joint EM steps on all rows follow, each a pass. A cluster of so few rows that next to
    none of them is in the sample, of some 10⁵ rows (fewer in more than 16 features), is not found.

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
        init: GMM | ArrayLike | None = None,
        covariance_type: str = "full",
        preset: Literal["default", "paper"] = "default",
        covariance_floor: float | None = None,
        covariance_prior: Literal["conjugate"] | None = None,
        weight_smoothing: float | None = None,
        max_iter: int | None = None,
        tol: float = 1e-5,
        n_init: int = 1,
        warm_start: bool = False,
        plain_likelihood: bool = False,
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
        self.weight_smoothing = weight_smoothing
        self.plain_likelihood = plain_likelihood

    def fit(
        self,
        X: ArrayLike,
        y: Any = None,
        sample_weight: ArrayLike | None = None,
        *,
        checkpoint: str | os.PathLike | None = None,
        process_group: ProcessGroup | None = None,
    ) -> BigLearnEM:
        """Fit the mixture.

        Parameters
        ----------
        X : array-like of shape (N, D), or rows in files or chunks
            float32 and float64 are kept, everything else becomes float64. NaN, None, pandas.NA or
            a mask stand for a missing entry (missing at random), except with preset="paper". What
            else holds rows is told by `biglearn_core.rows.open_rows`: names of .npy, .npz and
            Parquet files or of a folder, and whatever hands out chunks.
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
        self : BigLearnEM

        Raises
        ------
        ValueError
            When data or weights are not finite, weights are negative or all zero, a feature has no
            value, there are fewer rows than components, a parameter is out of range, a start does
            not go with the data, or the checkpoint is of another fit.
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
    ) -> tuple[SearchResult, float]:
        config = SearchConfig(
            n_init=self.n_init,
            tol=self.tol,
            max_iter=self.max_iter or MOST_STEPS,
            **settings,
            plain_likelihood=self.plain_likelihood,
        )
        search = search_incomplete if torch.isnan(Z).any() else search_mixture
        with progress_bar(self.verbose, unit="step") as bar:

            def progress(move: str, log_likelihood: float, n_steps: int) -> None:
                reached = "" if isnan(log_likelihood) else f", log-likelihood {log_likelihood:.4f}"
                bar.set_postfix_str(move + reached, refresh=False)
                bar.update(max(0, n_steps - bar.n))

            result = search(
                Z,
                self.n_components,
                covariance_floor=constraint.floor,
                covariance_type=constraint.covariance_type,
                prior=constraint.prior,
                seed=seed,
                config=config,
                sample_weight=weights,
                init=start,
                beside=[model.to(device=Z.device) for model in beside],
                progress=None if bar.disable else progress,
            )
        self._gain_of_thinness = result.gain_of_thinness
        return result, result.log_likelihood

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
        smoothing = self.weight_smoothing
        n_iter = self.max_iter or _PAPER_ITERATIONS
        with progress_bar(self.verbose, total=n_iter, unit="task") as bar:

            def count(iteration: int, model: GMM) -> None:
                bar.update()

            result = fit_biglearn_em(
                X,
                self._paper_start(X, device, seed),
                n_iter=n_iter,
                covariance_floor=floor,
                weight_smoothing=self.n_components**-0.5 if smoothing is None else smoothing,
                seed=seed,
                sample_weight=weights,
                callback=count,
                checkpoint=checkpoint,
                process_group=processes,
            )
        return result, mean_log_prob(X, result.model, weights, processes)

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if isinstance(self.init, str):
            raise ValueError(f"init must be None, a GMM, labels or means, got {self.init!r}")
        if self.weight_smoothing is not None:
            check_real("weight_smoothing", self.weight_smoothing, least=0)
        if not isinstance(self.plain_likelihood, bool | np.bool_):
            raise ValueError(
                f"plain_likelihood must be True or False, got {self.plain_likelihood!r}"
            )

    def _allow_nan(self) -> bool:
        return self.preset == "default"
