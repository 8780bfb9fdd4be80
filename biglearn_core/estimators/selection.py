"""How many components, and which covariances: mixtures of many kinds, compared by a criterion."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted
from tqdm import tqdm

from biglearn_core.estimators.base import MixtureEstimator, warn
from biglearn_core.estimators.biglearn import BigLearnEM
from biglearn_core.estimators.frames import frame
from biglearn_core.estimators.given import HeldRows, PassedRows
from biglearn_core.estimators.number import least_at
from biglearn_core.estimators.randomness import drawn_seed
from biglearn_core.estimators.refusal import kept_on_error
from biglearn_core.gmm import GMM
from biglearn_core.numerics.structures import COVARIANCE_TYPES, structure_of
from biglearn_core.numerics.threads import one_thread_an_operation
from biglearn_core.system.numbers import check_integer
from biglearn_core.system.processes import ALONE, Processes
from biglearn_core.system.progress import PassBar, progress_bar

if TYPE_CHECKING:
    import pandas
    from torch.distributed import ProcessGroup

__all__ = ["MixtureSelection"]

Criterion = Callable[..., float]

_CRITERIA = ("bic", "icl", "aic")

# Numbers on either side of the best that are searched at the end.
_NEIGHBOURS = 2

# Efforts of a fit: a first look from mixtures that are known; a search of one basin more; a search
# of its own.
_LOOK, _BASIN, _SEARCH = 0, 1, 2

# Components for which the sample of rows that are read in passes is large enough.
_SAMPLED_COMPONENTS = 32

# What a search may gain over a first look, in nats a row.
_SEARCH_GAIN = 0.02

# Sum of the sample weights, at least.
_LEAST_TOTAL = 2


@dataclass(frozen=True)
class _Candidate:
    """What the criteria say of a fitted mixture."""

    covariance_type: str
    n_components: int
    log_likelihood: float
    n_parameters: int
    aic: float
    bic: float
    icl: float
    criterion: float


@dataclass(frozen=True)
class _Fitted:
    """A mixture of one kind, and what was said while it was fitted."""

    candidate: _Candidate
    estimator: BigLearnEM
    messages: tuple[str, ...]
    effort: int


def _require_weight(total: float) -> None:
    """Refuse weights that say that there is hardly a row."""
    if total < _LEAST_TOTAL:
        raise ValueError(
            f"sample_weight sums to {total:g}: a criterion takes weights as numbers of rows, and "
            "so few tell nothing. Multiply them by n / sum(weights), where n is the number of rows "
            "that they stand for"
        )


class _Candidates:
    """Mixtures of all kinds for the same data, fitted one beside the others."""

    def __init__(
        self,
        estimator: BigLearnEM,
        criterion: str | Criterion,
        rows: HeldRows | PassedRows,
        feature_names: np.ndarray | None,
        bar: tqdm,
    ) -> None:
        self.fitted: dict[tuple[str, int], _Fitted] = {}
        self._rows, self._feature_names, self._bar = rows, feature_names, bar
        self._gained = 0.0
        self._estimator, self._criterion = estimator, criterion
        self._given: Any = rows.given
        if callable(criterion) and feature_names is not None and isinstance(rows, HeldRows):
            with suppress(ImportError):  # names came in a frame of another library
                self._given = frame(dict(zip(feature_names, rows.given.T, strict=True)))

    def value(self, covariance_type: str, n_components: int) -> float:
        """Fit a mixture from those that are known, and give its criterion."""
        return self._fit(covariance_type, n_components, _LOOK).criterion

    def refine(self, least: int, most: Callable[[str], int]) -> None:
        """Fit the best, and what may come to be better, with the effort of fits of their own."""
        for covariance_type in sorted(self._types(), key=self._least):
            best = self.best()
            known = best.candidate.n_components == self._number(covariance_type) == 1
            if known and best.effort == _SEARCH:
                continue  # of a single component most types are one
            if self._may_be_best(self._least(covariance_type)):
                self._descend(covariance_type, least, most(covariance_type))

    def _descend(self, covariance_type: str, least: int, most: int) -> None:
        """Search at the best number and its neighbours, as long as one of these is better."""
        centre = None
        while centre != (best := self._number(covariance_type)):
            centre = best
            neighbours = range(
                max(least, centre - _NEIGHBOURS), min(most, centre + _NEIGHBOURS) + 1
            )
            for number in sorted(neighbours, key=lambda n: abs(n - centre)):
                effort = _SEARCH if number == centre else _BASIN
                known = self.fitted.get((covariance_type, number))
                if known is not None and known.effort >= effort:
                    continue
                if number != centre:
                    self.value(covariance_type, number)  # from all that is known by now
                before = self.fitted[covariance_type, number].candidate.criterion
                if self._may_be_best(before):
                    found = self._fit(covariance_type, number, effort)
                    self._gained = max(self._gained, before - found.criterion)

    def _may_be_best(self, value: float) -> bool:
        """Whether a search could make it the best, going by what searches have gained so far."""
        gain = max(2 * self._gained, 2 * self._rows.n_rows * _SEARCH_GAIN)
        return value - gain <= self.best().candidate.criterion

    def _types(self) -> list[str]:
        return list(dict.fromkeys(kind for kind, _ in self.fitted))

    def _best_of(self, covariance_type: str) -> _Fitted:
        of_type = (f for (kind, _), f in self.fitted.items() if kind == covariance_type)
        return min(of_type, key=lambda fitted: fitted.candidate.criterion)

    def _number(self, covariance_type: str) -> int:
        return self._best_of(covariance_type).candidate.n_components

    def _least(self, covariance_type: str) -> float:
        return self._best_of(covariance_type).candidate.criterion

    def _fit(self, covariance_type: str, n_components: int, effort: int) -> _Candidate:
        estimator = clone(self._estimator).set_params(
            covariance_type=covariance_type, n_components=n_components
        )
        estimator.n_features_in_ = self._rows.X.shape[1]
        if self._feature_names is not None:
            estimator.feature_names_in_ = self._feature_names
        self._bar.set_postfix_str(f"{covariance_type}, K = {n_components}", refresh=False)
        self._bar.update()
        beside = self._beside(covariance_type, n_components)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            # The criterion charges for parameters: the search must not do so, too.
            estimator._fit_rows(
                self._rows,
                beside=beside,
                is_compared=True,
                only_beside=effort == _LOOK,
                max_steps=None if effort == _SEARCH else 0,
                optimism=False,
            )
        messages = tuple(str(warning.message) for warning in told)
        charged = estimator._criteria_of_rows(self._rows)
        if callable(self._criterion):
            value = float(self._criterion(estimator, self._given, self._rows.given_weight))
            if math.isnan(value):
                raise ValueError(
                    f"criterion gave nan for {n_components} components of type {covariance_type}: "
                    "give a number, inf for a mixture that is not to be chosen"
                )
        else:
            withheld = estimator._gain_of_thinness + estimator._gain_of_floor
            value = getattr(charged, self._criterion) + 2 * self._rows.n_rows * withheld
        candidate = _Candidate(
            covariance_type,
            n_components,
            estimator.lower_bound_,
            estimator.mixture_.n_parameters,
            charged.aic,
            charged.bic,
            charged.icl,
            value,
        )
        found = _Fitted(candidate, estimator, messages, effort)
        before = self.fitted.get((covariance_type, n_components))
        if before is not None and before.candidate.criterion <= candidate.criterion:
            found = replace(before, effort=max(before.effort, effort))
        self.fitted[covariance_type, n_components] = found
        return found.candidate

    def best(self) -> _Fitted:
        """Give the one whose criterion is least; the simpler of two that are alike."""

        def key(fitted: _Fitted) -> tuple[float, int]:
            return fitted.candidate.criterion, fitted.candidate.n_parameters

        return min(self.fitted.values(), key=key)

    def _beside(self, covariance_type: str, n_components: int) -> list[GMM]:
        """Give the nearest of the same type, and the likeliest of another of as many components."""
        numbers = [K for kind, K in self.fitted if kind == covariance_type]
        below = max((K for K in numbers if n_components > K), default=None)
        above = min((K for K in numbers if n_components < K), default=None)
        nearest = [n_components] if n_components in numbers else []
        nearest += [K for K in (below, above) if K is not None]
        known = [self.fitted[covariance_type, K] for K in nearest]
        others = [
            found
            for (kind, K), found in self.fitted.items()
            if n_components == K and kind != covariance_type
        ]
        if others:
            known.append(max(others, key=lambda found: found.candidate.log_likelihood))
        return [found.estimator.mixture_ for found in known]


class MixtureSelection(MixtureEstimator):
    """Gaussian mixture whose number of components and type of covariances are chosen.

    All data are fitted with every candidate; the criterion charges for parameters. It is, besides,
    a mixture estimator like BigLearnEM: it predicts, scores, samples and imputes by the mixture
    that was chosen.

    Parameters
    ----------
    min_components : int, default 1
    max_components : int, optional
        At most as many as there are rows. When not given the number of components grows until the
        criterion is worse several times in a row.
    covariance_type : str or sequence of str, default "all"
        Those to choose from, by the names of `BigLearnEM`; "all" are the fourteen of mclust, four
        of which have names in scikit-learn.
    criterion : {"bic", "icl", "aic"} or callable, default "bic"
        Smaller is better. BIC finds as many Gaussians as describe the data, ICL rather clusters
        that are apart (BIC plus twice the entropy of the labels). What thin components add to the
        likelihood is not counted (see `plain_likelihood` of `BigLearnEM`). A callable is asked as
        criterion(estimator, X, sample_weight) of a fitted BigLearnEM, X a data frame where features
        have names, and taken as it is, inf where a mixture is not to be chosen; of rows that are
        read in passes X is the source, with their weights in it.
    covariance_floor, covariance_prior, max_iter, tol, n_init, plain_likelihood
        Of every fit, as in `BigLearnEM`.
    random_state, device
        As in `BigLearnEM`.
    verbose : int, default 0
        Whether to show a progress bar from the start. In a terminal or a notebook one appears after
        two seconds anyway, unless the environment variable BIGLEARN_QUIET is set.

    Attributes
    ----------
    best_estimator_ : BigLearnEM
    n_components_ : int
    covariance_type_ : str
    criterion_ : float
        Its least value.
    results_ : pandas.DataFrame
        A row for every fit: covariance_type, n_components, log_likelihood (mean, in nats),
        n_parameters, aic, bic, icl, and criterion, the chosen one less what is not counted. Needs
        pandas.
    mixture_, weights_, means_, covariances_, precisions_, covariance_floor_, lower_bound_, \
converged_, n_iter_, history_, n_features_in_, feature_names_in_
        Those of `best_estimator_`.

    Notes
    -----
    Types that depend on the units of single features have one floor for all of them, that of the
    feature of the least scale. What they gain on other features by going below the floor of these,
    as where features are nearly constant within components, does not count in the criterion.

    Components are not clusters: where clusters are not Gaussian, BIC takes several components for
    one. ICL and `combine_components` help then, and promise nothing.

    For every type the number grows by halves until the criterion is worse two or three times in a
    row; then the numbers in between, and three neighbours of the best on either side, are tried.
    This first look goes from mixtures that are known, for the nearest numbers and of other types,
    to the next by inserting, dividing and merging components. Then its two neighbours on either
    side, where they are so near that they might come to be better, are searched from other starts
    as well, and the best as long as `BigLearnEM` does, until the best is one of these.

    References
    ----------
    G. Schwarz, "Estimating the dimension of a model", Annals of Statistics 6(2), 1978.
    C. Biernacki, G. Celeux and G. Govaert, "Assessing a mixture model for clustering with the
    integrated completed likelihood", IEEE PAMI 22(7), 2000.
    C. Fraley and A. Raftery, "Model-based clustering, discriminant analysis, and density
    estimation", JASA 97, 2002.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.concatenate([np.random.default_rng(0).normal(m, 1, (100, 2)) for m in (0, 9)])
    >>> selection = MixtureSelection(random_state=0).fit(X)
    >>> selection.n_components_, selection.covariance_type_
    (2, 'EII')
    """

    def __init__(
        self,
        *,
        min_components: int = 1,
        max_components: int | None = None,
        covariance_type: str | Sequence[str] = "all",
        criterion: Literal["bic", "icl", "aic"] | Criterion = "bic",
        covariance_floor: float | None = None,
        covariance_prior: Literal["conjugate"] | None = None,
        max_iter: int | None = None,
        tol: float = 1e-5,
        n_init: int = 1,
        plain_likelihood: bool = False,
        random_state: int | np.random.RandomState | None = None,
        device: Literal["auto", "cpu", "cuda"] = "auto",
        verbose: int = 0,
    ) -> None:
        self.min_components = min_components
        self.max_components = max_components
        self.covariance_type = covariance_type  # type: ignore[assignment]
        self.criterion = criterion
        self.covariance_floor = covariance_floor
        self.covariance_prior = covariance_prior
        self.max_iter = max_iter
        self.tol = tol
        self.n_init = n_init
        self.plain_likelihood = plain_likelihood
        self.random_state = random_state
        self.device = device
        self.verbose = verbose

    def fit(
        self,
        X: ArrayLike,
        y: Any = None,
        sample_weight: ArrayLike | None = None,
        *,
        process_group: ProcessGroup | None = None,
    ) -> MixtureSelection:
        """Fit and choose.

        Parameters
        ----------
        X : array-like of shape (N, D)
            As in `BigLearnEM.fit`; NaN is missing.
        y : ignored
        sample_weight : array-like of shape (N,), optional
            Non-negative; copies of every row.
        process_group : torch.distributed.ProcessGroup, optional
            As in `BigLearnEM.fit`.

        Returns
        -------
        self : MixtureSelection

        Raises
        ------
        ValueError
            As `BigLearnEM.fit`; or when a parameter is out of range.
        """
        with kept_on_error(self), one_thread_an_operation(), PassBar(0) as progress:
            types, criterion = self._check_choice()
            rows = self._open(X, sample_weight, process_group, _SAMPLED_COMPONENTS, progress)
            _require_weight(rows.n_rows)
            if rows.size[1] == 1:  # there are two types: one variance, and one for each component
                types = list({structure_of(name).volume: name for name in reversed(types)}.values())
            names = getattr(self, "feature_names_in_", None)
            template = self._template(rows.processes)
            least, most = self.min_components, partial(self._most, *rows.size)
            with progress_bar(self.verbose, unit="fit") as bar:
                candidates = _Candidates(template, criterion, rows, names, bar)
                for covariance_type in types:
                    value = partial(candidates.value, covariance_type)
                    least_at(value, least, most(covariance_type))
                candidates.refine(least, most)
            self._keep_best(candidates)
        return self

    @property
    def results_(self) -> pandas.DataFrame:
        """A row for every fit, in their order."""
        check_is_fitted(self)
        names = [field.name for field in fields(_Candidate)]
        return frame({n: [getattr(found, n) for found in self._candidates] for n in names})

    def _most(self, n_rows: int, n_features: int, covariance_type: str) -> int:
        """Components, at most."""
        if self.max_components is not None:
            return min(self.max_components, n_rows)
        rows_of_one = structure_of(covariance_type).n_coordinates(n_features) + 1
        return max(self.min_components, n_rows // rows_of_one)

    def _check_parameters(self) -> None:
        self._check_choice()
        self._template(ALONE)._require_parameters()

    def _template(self, processes: Processes) -> BigLearnEM:
        shared = BigLearnEM().get_params().keys() & self.get_params().keys() - {"covariance_type"}
        parameters = {name: getattr(self, name) for name in shared}
        seed = processes.seed_of_first(drawn_seed(self.random_state))
        return BigLearnEM(**parameters | {"random_state": seed, "verbose": 0})

    def _keep_best(self, candidates: _Candidates) -> None:
        best = candidates.best()
        # What is known of the mixture is known of this estimator, and all questions follow from it.
        own = best.estimator.get_params().keys()
        for name, value in vars(best.estimator).items():
            if name not in own:
                setattr(self, name, value)
        self.best_estimator_ = best.estimator
        self.n_components_ = best.candidate.n_components
        self.covariance_type_ = best.candidate.covariance_type
        self.criterion_ = best.candidate.criterion
        self._candidates = tuple(found.candidate for found in candidates.fitted.values())
        for message in best.messages:
            warn(message)

    def _check_choice(self) -> tuple[list[str], str | Criterion]:
        try:
            check_integer("min_components", self.min_components, least=1)
            if self.max_components is not None:
                check_integer("max_components", self.max_components, least=self.min_components)
        except TypeError as error:
            raise ValueError(f"{type(self).__name__}: {error}") from error
        wanted: str | Sequence[str] = self.covariance_type
        if isinstance(wanted, str):
            wanted = COVARIANCE_TYPES if wanted == "all" else (wanted,)
        if not isinstance(wanted, Iterable):
            raise ValueError(
                f'covariance_type must be "all", a type or a sequence of types, got {wanted!r}'
            )
        types = list(dict.fromkeys(structure_of(name).name for name in wanted))
        if not types:
            raise ValueError('covariance_type is empty; name at least one, or "all"')
        if callable(self.criterion):
            return types, self.criterion
        if self.criterion not in _CRITERIA:
            raise ValueError(
                f"criterion must be callable or one of {', '.join(_CRITERIA)}, "
                f"got {self.criterion!r}"
            )
        return types, self.criterion

    def _allow_nan(self) -> bool:
        return True
