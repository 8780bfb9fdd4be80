"""Components of a mixture in the plane, as ellipses that hold a stated share of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.stats import chi2

from biglearn_core.gmm import GMM

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.patches import Ellipse

__all__ = ["deviations_of", "draw_ellipses"]


def deviations_of(coverage: float) -> float:
    """Radius, in standard deviations, of the ellipse that holds a share of a Gaussian in the plane.

    Parameters
    ----------
    coverage : float
        Between 0 and 1, exclusive.

    Returns
    -------
    n_deviations : float
        Root of the quantile of χ² with two degrees of freedom, by which the squared Mahalanobis
        distance to the mean is distributed: √(−2 log(1 − coverage)).
    """
    return float(np.sqrt(chi2.ppf(coverage, 2)))


def draw_ellipses(
    axes: Axes,
    mixture: GMM,
    *,
    colours: str | Sequence[str],
    n_deviations: float = 2.0,
    faded: bool = True,
    linewidth: float = 1.2,
    linestyle: str = "-",
) -> list[Ellipse]:
    """Draw every component as the ellipse of given standard deviations.

    Parameters
    ----------
    axes : Axes
    mixture : GMM
        Over two coordinates.
    colours : str, or K of them
    n_deviations : float, default 2
        The ellipse is {x : (x − μ)ᵀ Σ⁻¹ (x − μ) ≤ n_deviations²}; `deviations_of` gives those of a
        share of the component.
    faded : bool, default True
        Whether components fade with their weight.
    linewidth : float, default 1.2
    linestyle : str, default "-"

    Returns
    -------
    ellipses : list of Ellipse
        In the order of the components.
    """
    from matplotlib.patches import Ellipse

    K = mixture.n_components
    values, vectors = torch.linalg.eigh(mixture.covariances.double())
    widths = 2 * n_deviations * values.clamp_min(0).sqrt()
    angles = torch.rad2deg(torch.atan2(vectors[:, 1, 1], vectors[:, 0, 1]))
    alphas = (mixture.weights * K).clamp(0.15, 1.0).tolist() if faded else [1.0] * K
    each = [colours] * K if isinstance(colours, str) else colours
    ellipses = [
        Ellipse(
            mixture.means[k].tolist(),
            widths[k, 1].item(),
            widths[k, 0].item(),
            angle=angles[k].item(),
            edgecolor=each[k],
            facecolor="none",
            linewidth=linewidth,
            linestyle=linestyle,
            alpha=alphas[k],
        )
        for k in range(K)
    ]
    for ellipse in ellipses:
        axes.add_patch(ellipse)
    return ellipses
