"""The one function that a user calls."""

from __future__ import annotations

import importlib.util
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Literal

from numpy.typing import ArrayLike

from biglearn_core.displays.arguments import Features
from biglearn_core.estimators.base import MixtureEstimator

if TYPE_CHECKING:
    from biglearn_core.explorer.explorer import Explorer
    from biglearn_core.explorer.tables import Table

__all__ = ["explore"]


def explore(
    model_or_name: MixtureEstimator | str | ArrayLike = "25-GMM",
    X: ArrayLike | None = None,
    *,
    features: Features | None = None,
    coverage: float = 0.9,
    colour_by: Literal["component", "uncertainty"] = "component",
    max_points: int = 5000,
    n_rows: int | None = None,
    **settings: Any,
) -> Explorer:
    """Watch Joint-EM and BigLearn-EM go on side by side, or look at a fitted model, in Jupyter.

    Parameters
    ----------
    model_or_name : str, array-like or MixtureEstimator, default "25-GMM"
        The name of a data set: 25-GMM, Long lines, Overlapping, Unequal sizes or Moons, which are
        drawn; Iris, Wine or Breast cancer of scikit-learn; Glass, Letter, Pendigits, Satimage or
        Vehicle. Or rows of one's own; or what these are to be called, with `X`. Or a fitted
        BigLearnEM, JointEM or MixtureSelection, with `X`.
    X : array-like or data frame of shape (N, D), optional
        Fits are on all columns, and two make the picture. NaN where missing, for a fitted model
        that takes them.
    features : int or str, two of them, optional
        Columns of the picture, by position or name; the first two when not given.
    coverage : float, default 0.9
        Share of a component that its ellipse holds.
    colour_by : {"component", "uncertainty"}, default "component"
        Rows by their most probable component, or shaded by one less its probability.
    max_points : int, default 5000
        Of more rows only so many are drawn, the same every time; fits are on all.
    n_rows : int, optional
        Of data that are drawn, 2000 when not given.
    **settings
        Of the fits: `n_components` (that of the data set when not given, 5 for own rows), `start`
        ("paper", "k-means++", "k-means" or "random rows"), `seed` (0), `n_local_steps` W (5),
        `p_joint` P1 (0.4), `p_marginal` P2 − P1 (0.1), `transform` ("orthogonal" or "rotation"),
        `covariance_floor` (1e-5) and `weight_smoothing` (1/√K; Joint-EM has none).

    Returns
    -------
    explorer : Explorer
        A notebook shows it when it is the last value of a cell.

    Raises
    ------
    ImportError
        Without anywidget and ipywidgets, which the extra `explore` brings.
    NotFittedError
        When the model was not fitted.
    TypeError, ValueError
        When an argument is of the wrong kind or out of range; when rows that fits are to take lack
        values; when there are more components than rows to start from.

    Notes
    -----
    The models that are seen are those of `fit_biglearn_em` and `fit_joint_em` with the same start,
    settings and seed, to the last bit: a task of W steps of the one beside W joint steps of the
    other. All columns but those of 25-GMM are seen by the fits at unit scale, since the published
    start and floor are blind to the scale of the data; the picture is in units of the data.

    Examples
    --------
    >>> from biglearn_core import explore
    >>> explorer = explore("25-GMM", seed=5079)
    >>> explorer.step(20)
    <Explorer: 25-GMM, 2000 rows of 2 columns, 100 EM steps of each fit>
    """
    _check_installed()
    # Imported here, so that `import biglearn_core` takes no longer for those who do not explore.
    from biglearn_core.explorer.explorer import Explorer
    from biglearn_core.explorer.fitted import FittedOnRows
    from biglearn_core.explorer.settings import Settings
    from biglearn_core.explorer.side_by_side import SideBySide

    view: dict[str, Any] = {
        "features": features,
        "coverage": coverage,
        "colour_by": colour_by,
        "max_points": max_points,
    }
    if isinstance(model_or_name, MixtureEstimator):
        if X is None:
            raise TypeError("a fitted model is shown on rows: explore(model, X)")
        if settings or n_rows is not None:
            given = [*settings, *(["n_rows"] if n_rows is not None else [])]
            raise TypeError(
                f"{', '.join(given)}: these are for fits, and a fitted model takes no steps; leave "
                "them out"
            )
        return Explorer(FittedOnRows(model_or_name, X), **view)
    known = [field.name for field in fields(Settings)]
    if unknown := [name for name in settings if name not in known]:
        raise TypeError(f"explore has no setting {', '.join(unknown)}; it has {', '.join(known)}")
    table = _table(model_or_name, X, seed=settings.get("seed", 0), n_rows=n_rows)
    settings = {"n_components": table.n_components, **settings}
    return Explorer(SideBySide(table, Settings(**settings)), **view)


def _table(name: Any, X: ArrayLike | None, *, seed: int, n_rows: int | None) -> Table:
    from biglearn_core.explorer.tables import TABLE_NAMES, named_table, own_table

    if isinstance(name, str) and X is None:
        return named_table(name, seed=seed, n_rows=n_rows)
    if n_rows is not None:
        raise TypeError("n_rows is for data that are drawn, and these are given: leave it out")
    if X is None:
        return own_table("own rows", name)
    if not isinstance(name, str):
        raise TypeError(
            "X is given beside something that is neither a fitted model nor a name, but a "
            f"{type(name).__name__}: give explore(model, X), explore('name', X) or explore(X)"
        )
    if name in TABLE_NAMES:
        raise ValueError(
            f"{name!r} names a data set, and X is given as well: leave X out, or call it otherwise"
        )
    return own_table(name, X)


def _check_installed() -> None:
    missing = [name for name in ("anywidget", "ipywidgets") if not importlib.util.find_spec(name)]
    if missing:
        raise ImportError(
            f"explore needs {' and '.join(missing)}: pip install 'biglearn-em[explore]'"
        )
