"""A fitted mixture in one or two features: its rows, its components, its density."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.utils import get_tags

from biglearn_core.displays.arguments import Features, check_mixture_estimator, chosen_features
from biglearn_core.displays.axes import Canvas, draw_legend, open_canvas, write_note
from biglearn_core.displays.components import (
    MOST_IN_A_LEGEND,
    component_styles,
    share,
    write_numbers,
)
from biglearn_core.displays.density import SHARES, draw_regions, grid_along
from biglearn_core.displays.ellipses import deviations_of, draw_ellipses
from biglearn_core.displays.rows import MOST_UNCERTAIN, draw_rows, draw_uncertain_rows
from biglearn_core.displays.style import darker, tidy
from biglearn_core.estimators.base import MixtureEstimator
from biglearn_core.estimators.rows import validate_rows
from biglearn_core.gmm import GMM
from biglearn_core.system.numbers import check_integer, check_real

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import PathCollection
    from matplotlib.colorbar import Colorbar
    from matplotlib.contour import QuadContourSet
    from matplotlib.legend import Legend
    from matplotlib.lines import Line2D
    from matplotlib.patches import Ellipse, StepPatch
    from matplotlib.text import Text

__all__ = ["KINDS", "MixtureDisplay"]

Kind = Literal["classification", "uncertainty", "density"]

KINDS = ("classification", "uncertainty", "density")

_LEAST_BINS, _MOST_BINS = 10, 100

# How far a view of one feature goes out, if the rows do not go farther.
_SEEN_OF_A_COMPONENT = 0.99

# Rows so many deviations away from every component are not in view: they would make dots of all.
_FARTHEST = 6.0

# Of a row in the legend, in points².
_LEGEND_SIZE = 25.0


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
            When an argument is out of range, it is no estimator of a mixture, `X` is not what
            `predict` takes, or no row has the features shown.
        ImportError
            When matplotlib is not installed.
        """
        check_mixture_estimator(estimator)
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
            Those of a new figure when not given. Their limits are set to show the rows, but for
            those that are six deviations or more away from every component, and the ellipses; and
            what they have shown before.
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
        self.points_: list[PathCollection] = []
        self.ellipses_: list[list[Ellipse]] = []
        self.density_: QuadContourSet | None = None
        self.histogram_: StepPatch | None = None
        self.curves_: list[Line2D] = []
        self.numbers_: list[Text] = []
        self.legend_: Legend | None = None
        self.colorbar_: Colorbar | None = None
        tidy(self.ax_).set_xlabel(self.feature_names[0])
        if len(self.feature_names) == 2:
            self.ax_.set_ylabel(self.feature_names[1])
            _set_limits(self.ax_, *self._view(coverages))
            self._plot_plane(canvas, kind, coverages)
        elif kind == "uncertainty":
            self._plot_uncertainty_of_feature()
        else:
            self._plot_feature(canvas, with_components=kind == "classification")
        self.note_ = write_note(self.ax_, self._statements(coverages))
        return self

    def _plot_plane(self, canvas: Canvas, kind: Kind, coverages: list[float]) -> None:
        points, mixture = self.points[self.shown], self.mixture
        classified = kind == "classification"
        colours: str | list[str] = "0.15"
        if classified:
            colours = self._plot_classes(points)
        elif kind == "uncertainty":
            rows = draw_uncertain_rows(self.ax_, points, self._uncertainty())
            self.points_ = [rows]
            extend = "max" if self._uncertainty().max() > MOST_UNCERTAIN else "neither"
            self.colorbar_ = self.ax_.figure.colorbar(
                rows, ax=self.ax_, label="uncertainty", extend=extend
            )
        else:
            self.density_ = draw_regions(self.ax_, mixture)
            self.colorbar_ = self.ax_.figure.colorbar(
                self.density_, ax=self.ax_, label="share of the mass within"
            )
            levels = list(self.density_.levels)[: len(SHARES)]
            self.colorbar_.set_ticks(levels, labels=[share(s) for s in SHARES])
            rows = draw_rows(self.ax_, points, n_rows=len(points), color="0.1", alpha=0.4)
            self.points_ = [rows]
        many = mixture.n_components > MOST_IN_A_LEGEND
        self.ellipses_ = [
            draw_ellipses(
                self.ax_,
                mixture,
                colours=colours,
                n_deviations=deviations_of(held),
                faded=False,
                linewidth=0.8 if many else 1.2,
                linestyle="--" if kind == "density" else "-",
            )
            for held in coverages
        ]
        if classified and not many:
            self.legend_ = draw_legend(canvas, title="component")
            for handle in self.legend_.legend_handles:
                if handle is not None:
                    handle.set(sizes=[_LEGEND_SIZE])
        elif mixture.n_components > 1:
            self.numbers_ = write_numbers(self.ax_, mixture.means.numpy())

    def _plot_classes(self, points: np.ndarray) -> list[str]:
        """Draw rows by component, and give the colours of the ellipses."""
        means, (low, high) = self.mixture.means.numpy(), self._view([])
        styles = component_styles(means / (high - low))
        labels = self.responsibilities.argmax(axis=1)
        self.points_ = [
            draw_rows(
                self.ax_,
                points[labels == k],
                n_rows=len(points),
                color=style.colour,
                marker=style.marker,
                alpha=0.7,
                label=self._name(k),
            )
            for k, style in enumerate(styles)
        ]
        return [darker(style.colour) for style in styles]

    def _plot_feature(self, canvas: Canvas, *, with_components: bool) -> None:
        axes, mixture, values = self.ax_, self.mixture, self.points[:, 0]
        n_bins = int(np.clip(np.sqrt(len(values)), _LEAST_BINS, _MOST_BINS))
        inside = values[self._in_view()]
        counts, edges = np.histogram(inside, bins=n_bins)
        self.histogram_ = axes.stairs(
            counts / (len(values) * np.diff(edges)), edges, fill=True, color="0.85", label="rows"
        )
        (low,), (high,) = self._view([_SEEN_OF_A_COMPONENT])
        axes.set_xlim(low, high)
        x = grid_along(mixture, 0, low, high)
        parts = mixture.component_log_prob(torch.from_numpy(x)[:, None]).exp().numpy()
        self.curves_ = axes.plot(x, parts.sum(axis=1), color="0.3", linewidth=2.6, label="density")
        few = mixture.n_components <= MOST_IN_A_LEGEND
        if with_components:
            for k, style in enumerate(component_styles(mixture.means.numpy() / (high - low))):
                self.curves_ += axes.plot(
                    x, parts[:, k], color=style.colour, linewidth=1.2,
                    label=self._name(k) if few else None,
                )  # fmt: skip
            if not few:
                peaks = np.stack([x[parts.argmax(axis=0)], parts.max(axis=0)], axis=1)
                self.numbers_ = write_numbers(axes, peaks, stacked=True)
        axes.set_ylabel("density")
        axes.set_ylim(bottom=0)
        self.legend_ = draw_legend(canvas)

    def _plot_uncertainty_of_feature(self) -> None:
        uncertainty = self._uncertainty()
        points = np.stack([self.points[self.shown, 0], uncertainty], axis=1)
        self.points_ = [draw_uncertain_rows(self.ax_, points, uncertainty)]
        self.ax_.set_ylabel("uncertainty")
        (low,), (high,) = self._view([])
        self.ax_.set_xlim(low, high)
        self.ax_.set_ylim(0, 1.05 * max(uncertainty.max(), MOST_UNCERTAIN))

    def _name(self, k: int) -> str:
        return f"{k}  ({share(self.mixture.weights[k].item())})"

    def _uncertainty(self) -> np.ndarray:
        return np.maximum(0.0, 1 - self.responsibilities.max(axis=1).astype(np.float64))

    def _view(self, coverages: list[float]) -> tuple[np.ndarray, np.ndarray]:
        """Box about rows and ellipses, these no farther out than half the extent of the rows."""
        rows = self.points[self._in_view()]
        low, high = rows.min(axis=0), rows.max(axis=0)
        extent = np.where(high > low, high - low, np.maximum(1.0, np.abs(high)))
        deviations = self.mixture.covariances.diagonal(dim1=1, dim2=2).sqrt().numpy()
        reach = deviations * deviations_of(max(coverages, default=0.0))
        means = self.mixture.means.numpy()
        bottom = np.clip((means - reach).min(axis=0), low - extent / 2, low)
        top = np.clip((means + reach).max(axis=0), high, high + extent / 2)
        return bottom - 0.03 * extent, top + 0.03 * extent

    def _in_view(self) -> np.ndarray:
        """Whether a row is within reach of a component; all of them where none is."""
        reach = _FARTHEST * self.mixture.covariances.diagonal(dim1=1, dim2=2).sqrt().numpy()
        means = self.mixture.means.numpy()
        low, high = (means - reach).min(axis=0), (means + reach).max(axis=0)
        near: np.ndarray = ((self.points >= low) & (self.points <= high)).all(axis=1)
        return near if near.any() else np.ones_like(near)

    def _statements(self, coverages: list[float]) -> list[str]:
        statements = []
        if self.ellipses_:
            *others, last = (f"{100 * c:g}" for c in coverages)
            held = f"{', '.join(others)} and {last}" if others else last
            statements.append(f"ellipses: {held} % of each component")
        if len(self.shown) < len(self.points) and self.points_:
            statements.append(f"{len(self.shown)} of {len(self.points)} rows drawn")
        if outside := int((~self._in_view()).sum()):
            statements.append(f"{outside} {_rows(outside)} out of view")
        if self.n_left_out:
            rows = _rows(self.n_left_out)
            statements.append(f"{self.n_left_out} {rows} without these values left out")
        return statements


def _rows(n: int) -> str:
    return "row" if n == 1 else "rows"


def _check_kind(kind: str) -> None:
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")


def _coverages(coverage: float | Sequence[float] | None) -> list[float]:
    """Give the shares in increasing order."""
    if coverage is None:
        return []
    shares = coverage if isinstance(coverage, Sequence | np.ndarray) else [coverage]
    checked = [check_real("coverage", value, positive=True) for value in shares]
    if checked and max(checked) >= 1:
        raise ValueError(
            f"coverage must be below 1, got {coverage!r}: an ellipse that holds all is infinite"
        )
    return sorted(checked)


def _set_limits(axes: Axes, low: np.ndarray, high: np.ndarray) -> None:
    """Show a box, and what the axes have shown before."""
    if axes.has_data():
        before = np.array([axes.get_xlim(), axes.get_ylim()])
        low, high = np.minimum(low, before.min(axis=1)), np.maximum(high, before.max(axis=1))
    axes.set_xlim(low[0], high[0])
    axes.set_ylim(low[1], high[1])
