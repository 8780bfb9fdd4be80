"""A fitted mixture in one or two features: its rows, its components, its density."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted

from biglearn_core.displays.axes import Canvas, draw_legend, open_canvas, write_note
from biglearn_core.displays.components import (
    MOST_IN_A_LEGEND,
    component_styles,
    share,
    write_numbers,
)
from biglearn_core.displays.density import grid_along, levels_holding, log_density_on
from biglearn_core.displays.ellipses import deviations_of, draw_ellipses
from biglearn_core.displays.features import Features, chosen_features
from biglearn_core.displays.style import COLOURS, darker, tidy
from biglearn_core.estimators.base import MixtureEstimator
from biglearn_core.estimators.rows import validate_rows
from biglearn_core.gmm import GMM
from biglearn_core.system.numbers import check_integer, check_real

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["KINDS", "MixtureDisplay"]

Kind = Literal["classification", "uncertainty", "density"]

KINDS = ("classification", "uncertainty", "density")

# Shares of the mass that the regions of the density hold.
_SHARES = (0.99, 0.9, 0.75, 0.5, 0.25)

# Above it no component has the majority of a row; colours and sizes end here.
_MOST_UNCERTAIN = 0.5

# Rows from which on vector graphics hold them as a bitmap.
_MANY_ROWS = 2000

_MOST_BINS = 100


class MixtureDisplay:
    """Rows of a table over the components or the density of a mixture.

    Made by `from_estimator`; `plot` draws the same once more, in another way or elsewhere.

    Parameters
    ----------
    points : ndarray of shape (N, 1) or (N, 2)
        The features shown, of every row that has them; in units of the data.
    shown : int64 ndarray of shape (n,)
        Rows of `points` that are drawn one by one.
    responsibilities : ndarray of shape (n, K)
        Of these, under all features.
    mixture : GMM
        Marginal over the features shown.
    feature_names : sequence of str
        Labels of the axes.
    n_left_out : int, default 0
        Rows without a value in a feature shown.

    Attributes
    ----------
    ax_ : Axes
    figure_ : Figure
    points_ : list of PathCollection
        The rows: one collection a component in a classification, else one.
    ellipses_ : list of list of Ellipse
        One list a coverage, one ellipse a component; empty for one feature.
    density_ : QuadContourSet or None
        Of kind "density" in two features.
    histogram_ : StepPatch or None
        For one feature.
    curves_ : list of Line2D
        For one feature: density of the mixture, then those of the components times their weights.
    numbers_ : list of Text
        Of components at their means.
    legend_ : Legend or None
    colorbar_ : Colorbar or None
    note_ : Text
        What is stated above the axes, on the left.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from biglearn_core import BigLearnEM, MixtureDisplay
    >>> iris = load_iris(as_frame=True).data
    >>> model = BigLearnEM(3, random_state=0).fit(iris)
    >>> names = ["petal length (cm)", "petal width (cm)"]
    >>> display = MixtureDisplay.from_estimator(model, iris, features=names)
    >>> display.figure_.savefig("iris.pdf")  # doctest: +SKIP
    """

    def __init__(
        self,
        *,
        points: np.ndarray,
        shown: np.ndarray,
        responsibilities: np.ndarray,
        mixture: GMM,
        feature_names: Sequence[str],
        n_left_out: int = 0,
    ) -> None:
        self.points = points
        self.shown = shown
        self.responsibilities = responsibilities
        self.mixture = mixture
        self.feature_names = feature_names
        self.n_left_out = n_left_out

    @classmethod
    def from_estimator(
        cls,
        estimator: MixtureEstimator,
        X: ArrayLike,
        *,
        features: Features | None = None,
        kind: Kind = "classification",
        coverage: float | Sequence[float] | None = 0.9,
        max_points: int = 5000,
        ax: Axes | None = None,
    ) -> Self:
        """Draw a table and the mixture that was fitted.

        Parameters
        ----------
        estimator : MixtureEstimator
            Fitted.
        X : array-like of shape (N, D)
            NaN where missing, if the estimator allows it. A row without a value in the features
            shown is left out, and counted above the axes.
        features : int or str, one or two of them, optional
            By position or name. The first two, or the only one, when not given.
        kind, coverage, ax
            As in `plot`.
        max_points : int, default 5000
            Of more rows only so many are drawn one by one, the same every time. A histogram is of
            all rows.

        Returns
        -------
        display : MixtureDisplay

        Raises
        ------
        NotFittedError
            Before `fit`.
        TypeError, ValueError
            When an argument is out of range, `X` is not what `predict` takes, or no row has the
            features shown.
        ImportError
            When matplotlib is not installed.
        """
        check_is_fitted(estimator)
        _check_kind(kind)
        _coverages(coverage)
        check_integer("max_points", max_points, least=1)
        names = getattr(estimator, "feature_names_in_", None)
        index = chosen_features(
            features, estimator.n_features_in_, None if names is None else names.tolist()
        )
        labels = [f"feature {j}" if names is None else names[j] for j in index]
        allow_nan = get_tags(estimator).input_tags.allow_nan
        rows = validate_rows(estimator, X, allow_nan=allow_nan, reset=False)
        known = ~np.isnan(rows[:, index]).any(axis=1)
        if not known.any():
            raise ValueError(f"no row has a value in {' and '.join(labels)}: show other features")
        points = rows[known][:, index].astype(np.float64)
        shown = np.arange(len(points))
        if len(points) > max_points:
            shown = np.sort(np.random.default_rng(0).choice(shown, max_points, replace=False))
        display = cls(
            points=points,
            shown=shown,
            responsibilities=estimator.predict_proba(X)[known][shown],
            mixture=estimator.mixture_.marginal(index).to(dtype=torch.float64),
            feature_names=labels,
            n_left_out=int((~known).sum()),
        )
        return display.plot(ax, kind=kind, coverage=coverage)

    def plot(
        self,
        ax: Axes | None = None,
        *,
        kind: Kind = "classification",
        coverage: float | Sequence[float] | None = 0.9,
    ) -> Self:
        """Draw.

        Parameters
        ----------
        ax : Axes, optional
            Those of a new figure when not given. Their limits are set to show rows and components,
            and what they have shown before.
        kind : {"classification", "uncertainty", "density"}, default "classification"
            Rows coloured by their most probable component, under all features; rows shaded and
            sized by their uncertainty, one less the probability of that component; or rows over
            regions of highest density that hold 25, 50, 75, 90 and 99 % of the mass. One feature:
            a histogram with the density and that of every component; uncertainty over the feature;
            a histogram with the density.
        coverage : float or sequence of float, optional
            Share of a component that its ellipse holds; None draws no ellipses. Not used for one
            feature.

        Returns
        -------
        self : MixtureDisplay

        Raises
        ------
        TypeError, ValueError
            When an argument is out of range.
        ImportError
            When matplotlib is not installed.
        """
        _check_kind(kind)
        coverages = _coverages(coverage)
        canvas = open_canvas(ax)
        self.ax_, self.figure_ = canvas.axes, canvas.figure
        self.points_: list[Any] = []
        self.ellipses_: list[list[Any]] = []
        self.density_, self.histogram_, self.legend_, self.colorbar_ = None, None, None, None
        self.curves_: list[Any] = []
        self.numbers_: list[Any] = []
        tidy(canvas.axes).set_xlabel(self.feature_names[0])
        if len(self.feature_names) == 1:
            self._plot_feature(canvas, kind)
            coverages = []
        else:
            self._plot_plane(canvas, kind, coverages)
        self.note_ = write_note(canvas.axes, self._statements(coverages))
        return self

    def _plot_plane(self, canvas: Canvas, kind: Kind, coverages: list[float]) -> None:
        axes, mixture = canvas.axes, self.mixture
        axes.set_ylabel(self.feature_names[1])
        low, high = self._view(coverages)
        _set_limits(axes, low, high)
        means = mixture.means.numpy()
        styles = component_styles(means / (high - low))
        many = mixture.n_components > MOST_IN_A_LEGEND
        points = self.points[self.shown]
        if kind == "classification":
            labels = self.responsibilities.argmax(axis=1)
            weights = mixture.weights.tolist()
            for k, (style, weight) in enumerate(zip(styles, weights, strict=True)):
                self.points_ += self._scatter(
                    canvas, points[labels == k], color=style.colour, marker=style.marker, alpha=0.7,
                    label=f"{k}  ({share(weight)})",
                )  # fmt: skip
        elif kind == "uncertainty":
            self._plot_uncertainty(canvas, points)
        else:
            self._plot_density(canvas, low, high)
            self.points_ = self._scatter(canvas, points, color="black", alpha=0.45)
        colours = [darker(style.colour) for style in styles]
        self.ellipses_ = [
            draw_ellipses(
                axes, mixture, colours=colours if kind == "classification" else "0.15",
                n_deviations=deviations_of(share_held), faded=False,
                linewidth=0.8 if many else 1.2, linestyle="--" if kind == "density" else "-",
            )
            for share_held in coverages
        ]  # fmt: skip
        if kind == "classification" and not many:
            self.legend_ = draw_legend(canvas, title="component", markerscale=1.4)
        elif mixture.n_components > 1:
            self.numbers_ = write_numbers(axes, means)

    def _plot_feature(self, canvas: Canvas, kind: Kind) -> None:
        axes = canvas.axes
        if kind == "uncertainty":
            uncertainty = self._uncertainty()
            self._plot_uncertainty(canvas, np.c_[self.points[self.shown, 0], uncertainty])
            axes.set_ylabel(_UNCERTAINTY)
            axes.set_ylim(0, max(1.05 * uncertainty.max(), _MOST_UNCERTAIN))
            return
        axes.set_ylabel("density")
        values = self.points[:, 0]
        n_bins = int(np.clip(np.sqrt(len(values)), 10, _MOST_BINS))
        heights, edges = np.histogram(values, bins=n_bins, density=True)
        self.histogram_ = axes.stairs(heights, edges, fill=True, color="0.85", label="rows")
        (low,), (high,) = self._view([0.99])
        x = grid_along(self.mixture, 0, low, high)
        parts = self.mixture.component_log_prob(torch.from_numpy(x)[:, None]).exp().numpy()
        (whole,) = axes.plot(x, parts.sum(axis=1), color="black", linewidth=1.8, label="density")
        self.curves_ = [whole]
        if kind == "classification":
            self._plot_components(canvas, x, parts, high - low)
        if self.mixture.n_components <= MOST_IN_A_LEGEND or kind == "density":
            self.legend_ = draw_legend(canvas)

    def _plot_components(
        self, canvas: Canvas, x: np.ndarray, parts: np.ndarray, width: float
    ) -> None:
        axes, many = canvas.axes, self.mixture.n_components > MOST_IN_A_LEGEND
        weights = self.mixture.weights.tolist()
        for k, style in enumerate(component_styles(self.mixture.means.numpy() / width)):
            label = f"{k}  ({share(weights[k])})"
            self.curves_ += axes.plot(
                x, parts[:, k], color=darker(style.colour), linewidth=1.1, label=label
            )
        if many:
            peaks = parts.argmax(axis=0)
            heights = parts.max(axis=0)
            self.numbers_ = write_numbers(axes, np.c_[x[peaks], heights])

    def _plot_uncertainty(self, canvas: Canvas, points: np.ndarray) -> None:
        from matplotlib.colors import LinearSegmentedColormap

        uncertainty = self._uncertainty()
        order = uncertainty.argsort(kind="stable")  # the uncertain lie on top
        colours = LinearSegmentedColormap.from_list("uncertainty", ["#C4C4C4", COLOURS[1], "black"])
        self.points_ = self._scatter(
            canvas, points[order], growth=1 + 5 * uncertainty[order] / _MOST_UNCERTAIN,
            c=uncertainty[order], cmap=colours, vmin=0, vmax=_MOST_UNCERTAIN,
        )  # fmt: skip
        extend = "max" if uncertainty.max() > _MOST_UNCERTAIN else "neither"
        self.colorbar_ = canvas.figure.colorbar(
            self.points_[0], ax=canvas.axes, label=_UNCERTAINTY, extend=extend
        )

    def _plot_density(self, canvas: Canvas, low: np.ndarray, high: np.ndarray) -> None:
        x, y = (grid_along(self.mixture, j, low[j], high[j]) for j in range(2))
        log_density = log_density_on(self.mixture, x, y)
        levels = levels_holding(self.mixture, _SHARES)
        top = max(log_density.max(), levels[-1]) + 1
        density = canvas.axes.contourf(
            x, y, log_density, levels=[*levels, top],
            colors=["#EAF1F8", "#C9DDEE", "#9DC3E0", "#64A0CB", "#2F78AF"], zorder=0.5,
        )  # fmt: skip
        self.density_ = density
        bar = canvas.figure.colorbar(
            density, ax=canvas.axes, label="share of the mass within", spacing="uniform"
        )
        bar.set_ticks(levels, labels=[share(s) for s in _SHARES])
        self.colorbar_ = bar

    def _scatter(self, canvas: Canvas, points: np.ndarray, **options: Any) -> list[Any]:
        """Draw rows, smaller the more there are on the area."""
        box = canvas.axes.get_window_extent()
        area = box.width * box.height * (72 / canvas.figure.dpi) ** 2
        size = np.clip(0.04 * area / len(self.shown), 2.5, 26)
        growth = options.pop("growth", 1.0)
        rasterized = len(self.shown) > _MANY_ROWS
        drawn = canvas.axes.scatter(
            *points.T, s=size * growth, linewidths=0, rasterized=rasterized, **options
        )
        return [drawn]

    def _uncertainty(self) -> np.ndarray:
        return np.maximum(0.0, 1 - self.responsibilities.max(axis=1).astype(np.float64))

    def _view(self, coverages: list[float]) -> tuple[np.ndarray, np.ndarray]:
        """Box about rows and ellipses, these no farther out than half the extent of the rows."""
        low, high = self.points.min(axis=0), self.points.max(axis=0)
        extent = np.where(high > low, high - low, np.maximum(1.0, abs(high)))
        deviations = self.mixture.covariances.diagonal(dim1=1, dim2=2).sqrt().numpy()
        reach = deviations_of(max(coverages)) * deviations if coverages else 0 * deviations
        means = self.mixture.means.numpy()
        bottom = np.clip((means - reach).min(axis=0), low - extent / 2, low)
        top = np.clip((means + reach).max(axis=0), high, high + extent / 2)
        return bottom - 0.03 * extent, top + 0.03 * extent

    def _statements(self, coverages: list[float]) -> list[str]:
        statements = []
        if coverages:
            held = " and ".join(f"{100 * c:g} %" for c in coverages)
            statements.append(f"ellipses hold {held} of each component")
        if len(self.shown) < len(self.points) and self.points_:
            statements.append(f"{len(self.shown)} of {len(self.points)} rows drawn")
        if self.n_left_out:
            rows = "row" if self.n_left_out == 1 else "rows"
            statements.append(f"{self.n_left_out} {rows} without these values left out")
        return statements


_UNCERTAINTY = "uncertainty (1 − largest responsibility)"


def _check_kind(kind: str) -> None:
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")


def _coverages(coverage: float | Sequence[float] | None) -> list[float]:
    """Give the shares in increasing order."""
    if coverage is None:
        return []
    shares = [coverage] if isinstance(coverage, Real) else list(coverage)  # type: ignore[arg-type]
    for value in shares:
        check_real("coverage", value, positive=True)
        if value >= 1:
            raise ValueError(
                f"coverage must be below 1, got {value!r}: an ellipse that holds all is infinite"
            )
    return sorted(map(float, shares))


def _set_limits(axes: Axes, low: np.ndarray, high: np.ndarray) -> None:
    """Show a box, and what the axes have shown before."""
    if axes.has_data():
        before = np.array([axes.get_xlim(), axes.get_ylim()])
        low, high = np.minimum(low, before.min(axis=1)), np.maximum(high, before.max(axis=1))
    axes.set_xlim(low[0], high[0])
    axes.set_ylim(low[1], high[1])
