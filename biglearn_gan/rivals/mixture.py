"""Exact draws from every conditional law of a Gaussian mixture."""

from __future__ import annotations

import torch
from torch import Tensor

from biglearn_core.gmm import GMM
from biglearn_core.numerics.linalg import cholesky
from biglearn_gan.sampler import check_question

__all__ = ["MixtureSampler"]

# Working memory: numbers in one batch of residuals.
_BATCH_NUMBERS = 20_000_000


class MixtureSampler:
    """Sampler of a Gaussian mixture, a `ConditionalSampler`.

    Of the law that the data were drawn from it is the oracle; of a mixture that was fitted to
    images it is how a mixture completes them.

    Parameters
    ----------
    mixture : GMM
    clip : tuple of float, optional
        Least and largest value of what is drawn, such as the range of pixels.

    Raises
    ------
    ValueError
        When the ends of the range are not in order.

    Notes
    -----
    The component is drawn by its posterior probability given x_S, then x_T by correcting a joint
    draw a of that component, x_T = a_T + Σ_TS Σ_SS⁻¹ (x_S − a_S) (Matheron's rule). This takes a
    Cholesky factor of Σ_SS for every component and distinct S, in float64. Rows of one S are
    answered together.
    """

    def __init__(self, mixture: GMM, *, clip: tuple[float, float] | None = None) -> None:
        if clip is not None and not clip[0] < clip[1]:
            raise ValueError(f"clip must be (low, high) with low < high, got {clip}")
        self.mixture = mixture.to(dtype=torch.float64)
        self.clip = clip
        self._roots = cholesky(self.mixture.covariances)
        self._chunk = max(1, _BATCH_NUMBERS // self.mixture.means.numel())

    def sample(
        self,
        x: Tensor,
        observed: Tensor,
        n: int,
        *,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Draw n completions of every row; see `ConditionalSampler.sample`."""
        x, observed, generator = check_question(
            x, observed, n, generator, n_features=self.mixture.n_features
        )
        draws = x.new_empty(n, *x.shape)
        masks, mask_of = observed.unique(dim=0, return_inverse=True)
        for m, mask in enumerate(masks):
            for rows in (mask_of == m).nonzero().squeeze(1).split(self._chunk):
                answer = self._complete(x[rows].double(), mask, n, generator)
                draws[:, rows] = answer.to(x.dtype)
        if self.clip is not None:
            draws.clamp_(*self.clip)
        return torch.where(observed, x, draws)

    def _complete(self, x: Tensor, mask: Tensor, n: int, generator: torch.Generator) -> Tensor:
        """Answer rows of one mask, shape (n, R, D)."""
        given = mask.nonzero().squeeze(1)
        device = x.device
        means, roots = self.mixture.means.to(device), self._roots.to(device)
        covariances = self.mixture.covariances.to(device)
        factors = cholesky(covariances[:, given[:, None], given])
        gaps = x[:, given] - means[:, None, given]
        whitened = torch.linalg.solve_triangular(factors, gaps.mT, upper=False)
        log_roots = factors.diagonal(dim1=1, dim2=2).log().sum(1)
        log_weights = self.mixture.weights.to(device).log() - log_roots
        posterior = (log_weights - 0.5 * whitened.square().sum(1).T).softmax(1)
        component = torch.multinomial(posterior, n, replacement=True, generator=generator).T
        noise = torch.randn(n, *x.shape, dtype=torch.float64, device=device, generator=generator)
        draws = torch.empty_like(noise)
        for k in component.unique().tolist():
            chosen = component == k
            joint = means[k] + noise[chosen] @ roots[k].T
            residual = x[:, given].expand(n, -1, -1)[chosen] - joint[:, given]
            dual = torch.cholesky_solve(residual.T, factors[k])
            draws[chosen] = joint + dual.T @ covariances[k][given]
        return draws
