"""Second moments from the pairs of point and component that matter.

In many dimensions responsibilities are nearly one-hot: of the N·K pairs about N carry weight, and
the M-step costs a K-th of the work.
"""

from __future__ import annotations

import torch
from torch import Tensor

from biglearn_core.numerics.density import LEAST_PROPORTION, Moments
from biglearn_core.numerics.threads import each

__all__ = ["LEFT_OUT", "truncated_moments"]

# Bound on the mass that a component loses, as a share of the mass by which its M-step divides.
# Far below the rounding of the sums, so that no moment can tell.
LEFT_OUT = {torch.float32: 1e-9, torch.float64: 1e-18}

# Points gathered at once.
_CHUNK = 16384

# The symmetric products are computed for this many strips of rows, each from the diagonal on: that
# saves two fifths of the work, and the strips stay tall enough for full speed.
_STRIPS = 4


def truncated_moments(Z: Tensor, means: Tensor, responsibilities: Tensor) -> Moments:
    """Sum r, r (z − m) and r (z − m)(z − m)ᵀ over points, without the pairs of negligible weight.

    Parameters
    ----------
    Z : Tensor of shape (d, N)
    means : Tensor of shape (K, d)
        Origins m_k of the moments.
    responsibilities : Tensor of shape (K, N)
        Sample weights multiplied in.

    Returns
    -------
    moments : Moments
        The counts are those of all points. A pair is left out of the other sums where
        r_nk ≤ η max(Σ_n r_nk, 1e-5 Σ_nk r_nk)/N, so what a component loses in all is less than
        the share η (`LEFT_OUT`) of the mass by which the M-step divides.
    """
    d, N = Z.shape
    counts = responsibilities.sum(dim=1)
    divisors = counts.clamp_min(LEAST_PROPORTION * counts.sum().item())
    chosen = responsibilities > divisors[:, None] * (LEFT_OUT[Z.dtype] / N)
    first = torch.zeros_like(means)
    second = means.new_zeros(len(means), d, d)

    def of_component(k: int) -> None:
        for columns in chosen[k].nonzero().squeeze(1).split(_CHUNK):
            roots = responsibilities[k, columns].sqrt_()
            residuals = Z.index_select(1, columns).sub_(means[k, :, None]).mul_(roots)
            first[k] += residuals @ roots
            _add_upper_product(second[k], residuals)
        second[k] = second[k].triu() + second[k].triu(1).T

    # The largest first: they take the longest.
    each(of_component, chosen.sum(dim=1).argsort(descending=True).tolist())
    return Moments(counts, first, second)


def _add_upper_product(total: Tensor, residuals: Tensor) -> None:
    """Add Y Yᵀ to the upper triangle of `total`."""
    d = len(total)
    for strip in range(_STRIPS):
        start, stop = d * strip // _STRIPS, d * (strip + 1) // _STRIPS
        total[start:stop, start:].addmm_(residuals[start:stop], residuals[start:].T)
