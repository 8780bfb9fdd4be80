"""What the scikit-learn estimators share: constructor, validation and fit."""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from torch import Tensor

from biglearn_core.checkpoint import Checkpoint, check_path
from biglearn_core.estimators.given import HeldRows, PassedRows, open_rows_of_fit
from biglearn_core.estimators.passes import climb_on_all
from biglearn_core.estimators.queries import FittedMixture
from biglearn_core.estimators.randomness import drawn_seed
from biglearn_core.estimators.refusal import kept_on_error
from biglearn_core.estimators.resolution import default_floor
from biglearn_core.estimators.scaling import UnitData, UnitScale
from biglearn_core.estimators.starts import Start
from biglearn_core.gmm import GMM
from biglearn_core.history import FitResult
from biglearn_core.init import paper_start
from biglearn_core.numerics.density import LEAST_PROPORTION
from biglearn_core.numerics.linalg import floor_eigenvalues, resolved_floors
from biglearn_core.numerics.prior import CovariancePrior
from biglearn_core.numerics.structures import structure_of
from biglearn_core.numerics.threads import one_thread_an_operation
from biglearn_core.rows.source import RowSource
from biglearn_core.rows.tables import with_nan
from biglearn_core.search.constraint import Constraint
from biglearn_core.search.missing import evaluate_rows
from biglearn_core.search.search import SearchResult
from biglearn_core.system.devices import choose_device
from biglearn_core.system.digest import digest
from biglearn_core.system.numbers import check_integer, check_real
from biglearn_core.system.processes import ALONE, Processes
from biglearn_core.system.progress import PassBar

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

__all__ = ["MOST_STEPS", "MixtureEstimator", "warn", "warn_not_converged"]

# A result, and the mean log-likelihood of its model on the data that were fitted.
Found = tuple[FitResult | SearchResult, float]

# Joint EM steps, where `max_iter` is not given.
MOST_STEPS = 500

# Of the paper's simulation.
_PAPER_FLOOR = 1e-5

# Times the floor, beyond which one that rounding has raised is worth a warning.
_RAISED = 1.01

# Of how a fit goes, and not of what it leads to.
_WAYS = ("verbose", "device", "warm_start", "init", "random_state", "max_iter")


class MixtureEstimator(FittedMixture):
    """What JointEM and BigLearnEM share, in the vocabulary of GaussianMixture.

    They say how they fit data with `_fit_default` and `_fit_paper`. Their parameters and attributes
    are told there.
    """

    def __init__(
        self,
        n_components: int,
        *,
        init: str | ArrayLike | GMM | None,
        covariance_type: str,
        preset: Literal["default", "paper"],
        covariance_floor: float | None,
        covariance_prior: Literal["conjugate"] | None,
        max_iter: int | None,
        tol: float,
        n_init: int,
        warm_start: bool,
        random_state: int | np.random.RandomState | None,
        device: Literal["auto", "cpu", "cuda"],
        verbose: int,
    ) -> None:
        self.n_components = n_components
        self.init = init
        self.covariance_type = covariance_type
        self.preset = preset
        self.covariance_floor = covariance_floor
        self.covariance_prior = covariance_prior
        self.max_iter = max_iter
        self.tol = tol
        self.n_init = n_init
        self.warm_start = warm_start
        self.random_state = random_state
        self.device = device
        self.verbose = verbose

    def _fit(
        self,
        X: Any,
        sample_weight: ArrayLike | None,
        *,
        process_group: ProcessGroup | None = None,
        checkpoint: str | os.PathLike | None = None,
    ) -> Self:
        """Check everything that is given, and fit."""
        with kept_on_error(self), one_thread_an_operation(), PassBar(self.verbose) as progress:
            rows = self._open(X, sample_weight, process_group, self.n_components, progress)
            self._fit_rows(rows, checkpoint=checkpoint)
        return self

    def _open(
        self,
        X: Any,
        sample_weight: ArrayLike | None,
        process_group: ProcessGroup | None,
        n_components: int,
        progress: PassBar,
    ) -> HeldRows | PassedRows:
        processes = Processes.of(process_group)
        processes.together(self._require_parameters)
        return open_rows_of_fit(
            self,
            X,
            sample_weight,
            processes=processes,
            allow_nan=self._allow_nan(),
            n_components=n_components,
            progress=progress,
        )

    def _require_parameters(self) -> None:
        try:
            self._check_parameters()
        except TypeError as error:
            raise ValueError(f"{type(self).__name__}: {error}") from error

    def _fit_rows(
        self,
        rows: HeldRows | PassedRows,
        *,
        beside: Sequence[GMM] = (),
        checkpoint: str | os.PathLike | None = None,
        is_compared: bool = False,
        **settings: Any,
    ) -> None:
        """Bring rows to the preset's scale, fit them, and keep what was found.

        Mixtures in `beside` are known for these data, in their units; `settings` are of the search.
        With `is_compared`, as by a criterion, a lower floor is no gain: what that of some types
        adds to the likelihood is kept.
        """
        check_path(checkpoint, rows.processes)
        if self.n_components > rows.n_given:
            raise ValueError(
                f"n_components={self.n_components} exceeds the number of rows, "
                f"n_samples={rows.n_given}: use fewer components or more data"
            )
        given = self._given_start(rows)
        self._gain_of_floor = self._gain_of_thinness = 0.0
        device, K = choose_device(self.device), self.n_components
        seed = rows.processes.seed_of_first(drawn_seed(self.random_state))
        if self.preset == "paper":
            floor = self.covariance_floor or _PAPER_FLOOR
            self._scale = UnitScale.identity(self.n_features_in_)
            result, log_likelihood = self._fit_paper_rows(rows, device, floor, seed, checkpoint)
            self._keep(rows, result, log_likelihood, covariance_floor=floor, least=floor)
            return
        structure = structure_of(self.covariance_type)
        standard = rows.unit(K)
        floor = self.covariance_floor or default_floor(standard, K, is_compared=is_compared)
        data, floor_unit = standard, 1.0  # the latter in squared units of the data that are fitted
        if not structure.is_scale_invariant:
            data, floor_unit = standard.in_one_unit()
        self._scale = data.scale
        if isinstance(rows, HeldRows) and data.drowns(floor * floor_unit):
            data = data.in_double()
        Z, weights = data.to_torch(device)
        prior = None
        if self.covariance_prior is not None:
            prior = CovariancePrior.of(Z, K, sample_weight=weights, n_rows=rows.n_rows)
        constraint = Constraint(floor * floor_unit, structure.name, prior)
        known = [data.scale.apply_mixture(m).to(dtype=Z.dtype) for m in beside]
        start = None
        if given is not None:
            start = given.at_unit_scale(data.scale, rows.X, rows.sample_weight, K)
            start = start.to(device=device, dtype=Z.dtype)

        def search() -> Found:
            return self._fit_default(Z, weights, constraint, start, known, seed, settings)

        if isinstance(rows, HeldRows):
            result, log_likelihood = search()
            log_likelihood -= data.log_volume()
        else:
            result, log_likelihood = climb_on_all(
                rows,
                data.scale,
                device,
                constraint,
                search=lambda: search()[0],
                n_iter=self.max_iter or MOST_STEPS,
                tol=self.tol,
                state=self._state(rows, checkpoint),
            )
            log_likelihood -= rows.log_volume(data.scale)
        if is_compared and floor_unit != 1:
            self._gain_of_floor = _gain_of_floor(result.model, data.scale, standard, floor)
        if not result.converged:
            warn_not_converged(self.max_iter or MOST_STEPS)
        self._keep(rows, result, log_likelihood, covariance_floor=floor, least=constraint.floor)

    def _fit_paper_rows(
        self,
        rows: HeldRows | PassedRows,
        device: torch.device,
        floor: float,
        seed: int,
        checkpoint: str | os.PathLike | None,
    ) -> Found:
        """Fit rows as they are, held or not, by the published settings."""
        if isinstance(rows, PassedRows):
            return self._fit_paper(
                rows.source, None, floor, device, seed, rows.processes, checkpoint
            )
        Z, weights = UnitData.as_it_is(rows.X, rows.sample_weight).to_torch(device)
        return self._fit_paper(Z, weights, floor, device, seed, ALONE, None)

    def _fit_default(
        self,
        Z: Tensor,
        weights: Tensor | None,
        constraint: Constraint,
        start: GMM | None,
        beside: Sequence[GMM],
        seed: int,
        settings: dict[str, Any],
    ) -> Found:
        """Fit data at unit scale."""
        raise NotImplementedError

    def _fit_paper(
        self,
        X: Tensor | RowSource,
        weights: Tensor | None,
        floor: float,
        device: torch.device,
        seed: int,
        processes: Processes,
        checkpoint: str | os.PathLike | None,
    ) -> Found:
        """Fit data as they are by the published settings."""
        raise NotImplementedError

    def _state(self, rows: PassedRows, checkpoint: str | os.PathLike | None) -> Checkpoint:
        """Open the state of a fit in passes, with what it depends on."""
        conditions: dict[str, object] = {}
        if checkpoint is not None:
            conditions |= rows.extent.describe(rows.source.dtype)
            parameters = self.get_params()
            conditions |= {k: v for k, v in parameters.items() if k not in _WAYS}
            conditions["estimator"] = type(self).__name__
            seed = self.random_state
            conditions["random_state"] = seed if isinstance(seed, int) else "drawn"
            conditions["init"] = _described(self.init)
        return Checkpoint(
            checkpoint,
            n_iter=self.max_iter or MOST_STEPS,
            conditions=conditions,
            processes=rows.processes,
        )

    def _paper_start(self, X: Tensor | RowSource, device: torch.device, seed: int) -> GMM:
        return paper_start(
            self.n_components,
            self.n_features_in_,
            generator=torch.Generator().manual_seed(seed),
            dtype=_dtype_of(X),
            device=device,
        )

    def _given_start(self, rows: HeldRows | PassedRows) -> Start | None:
        """Check the solution to go on from, or the start that was given."""
        init, name = self.init, "init"
        if self.warm_start and hasattr(self, "_unit_mixture"):
            names_before = self._mixture.feature_names
            init = self._scale.undo_mixture(self._unit_mixture).with_feature_names(names_before)
            name = "the last fit, from which warm_start goes on,"
        if init is None or isinstance(init, str):
            return None
        names = getattr(self, "feature_names_in_", None)
        K = self.n_components
        if isinstance(rows, PassedRows):
            if not isinstance(init, GMM) and np.ndim(init) == 1:
                raise ValueError(
                    "init cannot be labels where the rows are too many to be held in memory: give "
                    "means of shape (K, D) or a GMM"
                )
            return Start.of(init, rows.X, K, feature_names=names, name=name)
        start = Start.of(init, rows.given, K, feature_names=names, name=name)
        return start if rows.some is None else start.of_rows(rows.some)

    def _check_parameters(self) -> None:
        """Raise ValueError or TypeError for a parameter that is out of range."""
        choices = {
            "preset": ("default", "paper"),
            "device": ("auto", "cpu", "cuda"),
            "covariance_prior": (None, "conjugate"),
        }
        for name, allowed in choices.items():
            if (value := getattr(self, name)) not in allowed:
                raise ValueError(
                    f"{name} must be one of {', '.join(map(str, allowed))}, got {value!r}"
                )
        covariance_type = structure_of(self.covariance_type).name
        if self.preset == "paper" and (covariance_type != "full" or self.covariance_prior):
            raise ValueError(
                'preset="paper" is defined for full covariances without a prior, got '
                f"covariance_type={self.covariance_type!r} and "
                f"covariance_prior={self.covariance_prior!r}: use the default preset"
            )
        if not isinstance(self.warm_start, bool | np.bool_):
            raise ValueError(f"warm_start must be True or False, got {self.warm_start!r}")
        given = self.init is not None and not isinstance(self.init, str)
        if self.preset == "paper" and (given or self.warm_start):
            raise ValueError(
                'preset="paper" has its own start, N(0, I): leave init and warm_start out, or use '
                "the default preset"
            )
        check_integer("n_components", self.n_components, least=1)
        check_integer("n_init", self.n_init, least=1)
        if not isinstance(self.verbose, bool):
            check_integer("verbose", self.verbose, least=0)
        if self.max_iter is not None:
            check_integer("max_iter", self.max_iter, least=1)
        check_real("tol", self.tol, least=0)
        if self.covariance_floor is not None:
            check_real("covariance_floor", self.covariance_floor, positive=True)
        check_random_state(self.random_state)

    def _keep(
        self,
        rows: HeldRows | PassedRows,
        result: FitResult | SearchResult,
        log_likelihood: float,
        *,
        covariance_floor: float,
        least: float,
    ) -> None:
        """Set the fitted attributes, and warn about components that describe nothing.

        `least` is the floor in units of the data that were fitted.
        """
        model = result.model.to(device="cpu")
        names = getattr(self, "feature_names_in_", None)
        image = self._scale.undo_mixture(model)
        with contextlib.suppress(ValueError):  # of rows far out, float32 may not hold it
            image = image.to(dtype=_dtype_of(rows.X))
        self._mixture = image.with_feature_names(names)
        self._unit_mixture = model.to(dtype=torch.float64)
        self.covariance_floor_ = covariance_floor
        self.lower_bound_ = log_likelihood
        self.n_iter_ = result.n_iter
        self.converged_ = result.converged
        self.history_ = result.history
        self._warn_of_floor(model.covariances, least)
        empty = np.flatnonzero(self.weights_ < LEAST_PROPORTION).tolist()
        if empty:
            warn(f"components {empty} are empty; use fewer components")

    def _warn_of_floor(self, covariances: Tensor, least: float) -> None:
        """Tell which components are on the covariance floor, and along which feature most."""
        values, axes = torch.linalg.eigh(covariances.double())
        floors = resolved_floors(covariances, least).double()
        on_floor = values[:, 0] <= 1.001 * floors
        raised = on_floor & (floors > _RAISED * least)
        if raised.any():
            factor = float((floors[raised] / least).max()) ** 0.5
            dtype = str(covariances.dtype).removeprefix("torch.")
            warn(
                f"components {_listed(raised)} are so wide along one feature that rounding in "
                f"{dtype} leaves them no standard deviation below {factor:.3g} times that of "
                "covariance_floor_: others are blurred. Drop rows far out, or measure features in "
                "units in which they spread alike"
            )
        on_floor &= ~raised
        if on_floor.any():
            thinnest = axes[:, :, 0].abs().argmax(dim=1)[on_floor].tolist()
            features = [int(self._scale.order[j]) for j in thinnest]
            names = self._mixture.feature_names
            named = dict.fromkeys(features if names is None else [names[j] for j in features])
            shares = ", ".join(f"{w:.2g}" for w in self.weights_[on_floor.numpy()])
            warn(
                f"components {_listed(on_floor)} (shares of the data: {shares}) sit on the "
                f"covariance floor ({self.covariance_floor_:g}), most along feature "
                f"{', '.join(map(str, named))}: their likelihood says more about the floor than "
                "about the data. For small ones drop rows far out and equal rows, or use fewer "
                "components; for large ones drop constant or redundant features. Where so fine a "
                "structure is real, lower covariance_floor"
            )


def _dtype_of(X: np.ndarray | Tensor | RowSource) -> torch.dtype:
    dtype = X.dtype
    if isinstance(dtype, np.dtype):
        return torch.from_numpy(np.empty(0, dtype=dtype)).dtype
    return dtype


def _listed(which: Tensor) -> list[int]:
    return which.nonzero().squeeze(1).tolist()


def _gain_of_floor(model: GMM, scale: UnitScale, standard: UnitData, floor: float) -> float:
    """Mean log-likelihood that a mixture owes to a floor below that of standardised features."""
    law = standard.scale.apply_mixture(scale.undo_mixture(model.to(device="cpu")))
    covariances, floored = floor_eigenvalues(law.covariances, floor)
    if not floored.any():
        return 0.0
    held = GMM.unchecked(law.weights, law.means, covariances)
    Z = torch.from_numpy(standard.Z).double()
    gain = evaluate_rows(Z, law).log_prob() - evaluate_rows(Z, held).log_prob()
    return max(0.0, float(np.average(gain.numpy(), weights=standard.sample_weight)))


def _described(init: Any) -> str:
    if init is None or isinstance(init, str):
        return str(init)
    if isinstance(init, GMM):
        return digest(*init.arrays().values())
    return digest(np.asarray(with_nan(init)))


def warn_not_converged(n_iter: int) -> None:
    """Tell that EM has not come to rest.

    Parameters
    ----------
    n_iter : int
        Steps that it was given.
    """
    warn(f"EM has not converged in {n_iter} steps: raise max_iter or tol")


def warn(message: str) -> None:
    """Warn whoever has called, through whatever of this library and scikit-learn lies between.

    Parameters
    ----------
    message : str
    """
    frame, level = sys._getframe(), 1
    while frame.f_back is not None and _is_library(frame):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, ConvergenceWarning, stacklevel=level)


def _is_library(frame: FrameType) -> bool:
    return frame.f_globals.get("__name__", "").partition(".")[0] in ("biglearn_core", "sklearn")
