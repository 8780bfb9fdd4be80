"""Words for readers who know neither the paper nor mixtures: experiments, and their figures."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["EXPERIMENTS_IN_WORDS", "InWords", "caption"]


class InWords(NamedTuple):
    """An experiment as a heading and a question.

    Parameters
    ----------
    title, question : str
    """

    title: str
    question: str


# By the names in `records.EXPERIMENTS`.
EXPERIMENTS_IN_WORDS = {
    "gmm25": InWords(
        "25 clusters in the plane",
        "Points are drawn from 25 equal round clusters on a grid. Does the method find all of "
        "them, where ordinary EM stays stuck half-way?",
    ),
    "gmm25_hundred": InWords(
        "25 clusters, a hundred times",
        "The same with a hundred new draws: how often does either method end at the best answer?",
    ),
    "realworld": InWords(
        "Eight real tables",
        "Written digits and letters, satellite images, vehicles, glass, a board game, forests, "
        "signals: do the clusters agree better with the known classes, and is the fit better on "
        "rows that it has not seen?",
    ),
    "fashion": InWords(
        "Photographs of clothes, pixel by pixel",
        "Fashion-MNIST, 70000 small pictures of ten kinds: can a mixture on raw pixels sort them "
        "as well as neural networks do?",
    ),
    "deep_clustering": InWords(
        "Photographs of clothes, beside neural networks",
        "The same pictures, with the networks trained here, too: who sorts them best?",
    ),
    "principle": InWords(
        "Why many tasks leave bad optima",
        "Two clusters, then 25, matched without noise: which tasks have false optima, and does "
        "switching between tasks leave them?",
    ),
    "biglearn_gan": InWords(
        "One network that completes anything",
        "A network learns to draw any part of the data from any other: are its draws those of the "
        "exact law where that is known, and do pictures completed by it look right?",
    ),
}

# By experiment and file, without the prefix that figures of record have.
_FIGURES = {
    ("gmm25", "data"): "The points that the methods see, and where the paper starts.",
    ("gmm25", "joint_kl"): "Ordinary EM: the distance to the truth stops falling early and far "
    "from the optimum, on every seed.",
    ("gmm25", "joint_divergences"): "Ordinary EM: distances of the joint law and of its parts to "
    "the truth, over the iterations.",
    ("gmm25", "joint_contours"): "Ordinary EM: the density found (solid) stretches over rows and "
    "columns of the grid instead of the 25 spots (dotted). Numbers are weights in hundredths; 4 "
    "each would be right.",
    ("gmm25", "biglearn_kl"): "BigLearn-EM: the distance to the truth, noisy because of the tasks, "
    "comes down to the optimum.",
    ("gmm25", "biglearn_divergences"): "BigLearn-EM: distances of the joint law and of its parts "
    "to the truth, over the iterations.",
    ("gmm25", "biglearn_contours"): "BigLearn-EM from the same starts: one component on every "
    "spot on most seeds, with weights near 4 hundredths.",
    ("gmm25", "boxes"): "Both methods over the seeds: the lower, the nearer to the truth.",
    ("gmm25", "peers"): "Beside scikit-learn's fits of the same data: points at zero are at the "
    "optimum.",
    ("realworld", "differences"): "Every method less ordinary EM, with 95% intervals over the "
    "seeds: right of the line is better, across it is not told apart.",
    ("realworld", "published"): "Pendigits: our seeds (dots) beside the one value that the paper "
    "prints (black line).",
    ("realworld", "pendigits_clusters"): "Pendigits in the plane of its two main directions: the "
    "digits, and what either method makes of them.",
    ("realworld", "pendigits_curves"): "Pendigits over the iterations: BigLearn-EM goes on rising "
    "where ordinary EM has stopped.",
    ("fashion", "components"): "Each row is a component: its mean picture, the ways in which its "
    "pictures differ most, and pictures drawn from it.",
    ("fashion", "confusion"): "Which cluster holds how much of every kind, in percent; framed is "
    "the matching that makes the accuracy largest.",
    ("fashion", "scores"): "Agreement with the kinds, and likelihood, over the iterations; rings "
    "are the best iterations, which only the labels could choose.",
    ("fashion", "seconds"): "Seconds for every iteration.",
    ("deep_clustering", "comparison"): "All methods: filled dots are final models, rings the best "
    "on the way as chosen with labels, crosses what others report. Further right is better.",
    ("principle", "landscapes"): "How far two clusters are from the truth, for every place of "
    "their centres and every task: stars are the true optima, crosses the false ones.",
    ("principle", "success"): "Share of starts that reach a true optimum, against the steps taken "
    "on a task before the next: switching helps only after some steps.",
    ("principle", "coverage"): "How many of the 25 clusters are found, over the iterations, a line "
    "a seed.",
    ("principle", "strips"): "The density on its way from one corner: joint matching stays, big "
    "learning spreads.",
    ("biglearn_gan", "ring8"): "Joint draws of every trained method beside the data (grey).",
    ("biglearn_gan", "conditionals"): "How far every method's conditional laws are from the exact "
    "ones, a dot a seed: further left is better, and the last two rows are the ends of the scale.",
    ("biglearn_gan", "losses"): "Losses of the trainings of the first seed; the dotted line is "
    "where neither player leads.",
    ("biglearn_gan", "digits_joint"): "Digits drawn with nothing given, beside test images.",
    ("biglearn_gan", "digits_top"): "Digits of which the upper half is given, completed four times "
    "by each method.",
    ("biglearn_gan", "digits_2of16"): "Digits of which two patches of sixteen are given, completed "
    "four times by each method.",
    ("biglearn_gan", "digits_diversity"): "Digits: accuracy, error and variety of completions as "
    "more is given.",
    ("biglearn_gan", "fashion_joint"): "Clothes drawn with nothing given, beside test images.",
    ("biglearn_gan", "fashion_top"): "Clothes of which the upper rows are given, completed four "
    "times by each method.",
    ("biglearn_gan", "fashion_2of16"): "Clothes of which an eighth of the patches is given, "
    "completed four times by each method.",
    ("biglearn_gan", "fashion_diversity"): "Clothes: accuracy, error and variety of completions as "
    "more is given.",
    ("deep_clustering", "training"): "How the networks were trained: error of the pretraining, "
    "labels that still change, and accuracy on the way, which chooses nothing.",
}

# Figures of record that bear another name than those of a run.
_ALIASES = {
    ("gmm25", "joint_em"): "joint_contours",
    ("gmm25", "biglearn_em"): "biglearn_contours",
    ("realworld", "pendigits_published"): "published",
}


def caption(experiment: str, figure: str) -> str:
    """Say in a sentence what a figure shows.

    Parameters
    ----------
    experiment : str
        As in `records.EXPERIMENTS`.
    figure : str
        Name of the file, without the experiment and without its ending.

    Returns
    -------
    caption : str
        The words of the name, where there is no sentence.
    """
    figure = _ALIASES.get((experiment, figure), figure)
    return _FIGURES.get((experiment, figure), f"{figure.replace('_', ' ').capitalize()}.")
