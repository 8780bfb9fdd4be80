"""What judges a sampler: against the true laws where they are known, and on images."""

from biglearn_gan.measures.classifier import ImageClassifier, load_classifier
from biglearn_gan.measures.completions import CompletionScores
from biglearn_gan.measures.exact import ExactScores, measure_exact
from biglearn_gan.measures.images import ImageScores, measure_images

__all__ = [
    "CompletionScores",
    "ExactScores",
    "ImageClassifier",
    "ImageScores",
    "load_classifier",
    "measure_exact",
    "measure_images",
]
