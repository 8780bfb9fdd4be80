"""Tables that are explored: by name, or one's own."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.datasets import load_breast_cancer, load_iris, load_wine, make_moons

from biglearn_core.datasets.load import load_dataset
from biglearn_core.estimators.rows import validate_rows
from biglearn_core.experiments.gmm25.run import draw_data
from biglearn_core.gmm import GMM

__all__ = ["TABLE_NAMES", "Table", "named_table", "own_table", "redrawn"]

_GRID = "25-GMM"
_BUNDLED = {"Iris": load_iris, "Wine": load_wine, "Breast cancer": load_breast_cancer}
_FILES = ("Glass", "Letter", "Pendigits", "Satimage", "Vehicle")
_DRAWN = (_GRID, "Long lines", "Overlapping", "Unequal sizes", "Moons")

TABLE_NAMES = (*_DRAWN, *_BUNDLED, *_FILES)


@dataclass(frozen=True, eq=False)
class Table:
    """Complete rows under named columns, and what the fits see of them.

    Parameters
    ----------
    name : str
    values : float64 ndarray of shape (N, D)
        In units of the data; D is at least two.
    columns : tuple of D str
    at_unit_scale : bool
        Whether the fits see every column with mean zero and variance one. The published start and
        floor are blind to the scale of the data.
    n_components : int
        K to begin with.
    start : GMM, optional
        The published start of this table.
    """

    name: str
    values: np.ndarray
    columns: tuple[str, ...]
    at_unit_scale: bool
    n_components: int
    start: GMM | None = None

    @cached_property
    def offset(self) -> np.ndarray:
        """What is taken off the columns before a fit, float64 of shape (D,)."""
        if not self.at_unit_scale:
            return np.zeros(len(self.columns))
        return np.asarray(self.values.mean(axis=0))

    @cached_property
    def scale(self) -> np.ndarray:
        """What the columns are then divided by, float64 of shape (D,); one for a constant."""
        if not self.at_unit_scale:
            return np.ones(len(self.columns))
        deviations = self.values.std(axis=0)
        return np.asarray(np.where(deviations > 0, deviations, 1.0))

    @cached_property
    def X(self) -> torch.Tensor:
        """The rows as the fits see them, float64 of shape (N, D)."""
        return torch.from_numpy((self.values - self.offset) / self.scale)


def named_table(name: str, *, seed: int, n_rows: int | None = None) -> Table:
    """Draw or read a table.

    Parameters
    ----------
    name : str
        One of `TABLE_NAMES`.
    seed : int
        Of those that are drawn.
    n_rows : int, optional
        Of those that are drawn; 2000 when not given.

    Returns
    -------
    table : Table

    Raises
    ------
    ValueError
        When there is no such table, or `n_rows` is given for one that is read.
    """
    if name not in TABLE_NAMES:
        near = difflib.get_close_matches(name, TABLE_NAMES, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(TABLE_NAMES)}"
        raise ValueError(f"there is no data set {name!r}: {hint}; give rows of your own as X")
    if name in _DRAWN:
        return _draw(name, seed, 2000 if n_rows is None else n_rows)
    if n_rows is not None:
        raise ValueError(f"n_rows is for data that are drawn, and {name} is read: leave it out")
    if name in _BUNDLED:
        bunch = _BUNDLED[name]()
        K = len(bunch.target_names)
        return Table(name, bunch.data, tuple(map(str, bunch.feature_names)), True, K)
    data = load_dataset(name, protocol="raw", split=False)
    columns = _numbered(data.X_train.shape[1])
    return Table(name, data.X_train, columns, True, data.n_classes)


def redrawn(table: Table, seed: int) -> Table:
    """Give a table that is drawn with another seed; any other as it is.

    Parameters
    ----------
    table : Table
    seed : int

    Returns
    -------
    table : Table
    """
    if table.name not in _DRAWN:
        return table
    return named_table(table.name, seed=seed, n_rows=len(table.values))


def own_table(name: str, X: ArrayLike) -> Table:
    """Take rows of one's own.

    Parameters
    ----------
    name : str
    X : array-like or data frame of shape (N, D)

    Returns
    -------
    table : Table
        At unit scale.

    Raises
    ------
    TypeError, ValueError
        When it is no table of numbers, has one column, or lacks values.
    """
    frame = BaseEstimator()
    rows = validate_rows(frame, X, allow_nan=True, reset=True).astype(np.float64)
    if incomplete := int(np.isnan(rows).any(axis=1).sum()):
        raise ValueError(
            f"X lacks values in {incomplete} of {len(rows)} rows, and the fits that are stepped "
            "here take complete rows alone: drop these, or explore a model that was fitted to "
            "them, explore(BigLearnEM(...).fit(X), X)"
        )
    if rows.shape[1] < 2:
        raise ValueError(
            "X has one column, but two make the picture: MixtureDisplay shows a mixture in one"
        )
    names = getattr(frame, "feature_names_in_", None)
    columns = _numbered(rows.shape[1]) if names is None else tuple(map(str, names))
    return Table(name, rows, columns, True, min(5, len(rows)))


def _numbered(n_columns: int) -> tuple[str, ...]:
    return tuple(f"feature {j}" for j in range(n_columns))


def _draw(name: str, seed: int, n_rows: int) -> Table:
    if name == _GRID:
        data = draw_data(seed, n_train=n_rows)
        return Table(name, data.X_train.numpy(), ("x₁", "x₂"), False, 25, data.start)
    rng = np.random.default_rng(seed)
    if name == "Moons":
        values, _ = make_moons(n_rows, noise=0.08, random_state=seed)
        K = 8
    elif name == "Long lines":
        values, K = _long_lines(rng, n_rows), 2
    elif name == "Overlapping":
        values, K = _clusters(rng, rng.dirichlet(np.full(15, 8.0)), n_rows, spread=0.9), 15
    else:
        shares = np.array([0.31, 0.31, 0.31, *[0.014] * 5])
        values, K = _clusters(rng, shares / shares.sum(), n_rows, spread=0.35), 8
    return Table(name, values, ("x₁", "x₂"), True, K)


def _long_lines(rng: np.random.Generator, n_rows: int) -> np.ndarray:
    """Two long classes side by side, turned by half a radian."""
    side = np.arange(n_rows) % 2
    rows = rng.normal(size=(n_rows, 2)) * [10, 0.3] + np.outer(side, [0, 2])
    turn = np.array([[np.cos(0.5), -np.sin(0.5)], [np.sin(0.5), np.cos(0.5)]])
    return rows @ turn.T


def _clusters(
    rng: np.random.Generator, shares: np.ndarray, n_rows: int, *, spread: float
) -> np.ndarray:
    """Gaussians of random shapes, each mean the best of many by its distance to those before."""
    means = np.empty((0, 2))
    for _ in shares:
        places = rng.uniform(-5, 5, (30, 2))
        gaps = np.linalg.norm(places[:, None] - means[None], axis=2).min(axis=1, initial=np.inf)
        means = np.vstack([means, places[gaps.argmax() if len(means) else 0]])
    roots = spread * (np.eye(2) + 0.5 * rng.normal(size=(len(shares), 2, 2)))
    labels = rng.choice(len(shares), size=n_rows, p=shares)
    return means[labels] + np.einsum("nij,nj->ni", roots[labels], rng.normal(size=(n_rows, 2)))
