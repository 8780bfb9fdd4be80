"""What judges a sampler: against the true laws where they are known, and on images."""

from biglearn_gan.measures.exact import ExactScores, measure_exact

__all__ = ["ExactScores", "measure_exact"]
