"""Gaussian mixtures trained by Joint-EM and BigLearn-EM."""

from biglearn_core.datasets import load_dataset
from biglearn_core.displays import CriterionDisplay, HistoryDisplay, MixtureDisplay
from biglearn_core.estimators import (
    BigLearnEM,
    CombinedComponents,
    ConditionalLaw,
    JointEM,
    MixtureClassifier,
    MixtureImputer,
    MixtureOutlierDetector,
    MixtureRegressor,
    MixtureSelection,
    combine_components,
)
from biglearn_core.explorer import explore
from biglearn_core.fit import fit_biglearn_em, fit_joint_em
from biglearn_core.gmm import GMM
from biglearn_core.history import FitResult

__version__ = "0.2.0"

__all__ = [
    "GMM",
    "BigLearnEM",
    "CombinedComponents",
    "ConditionalLaw",
    "CriterionDisplay",
    "FitResult",
    "HistoryDisplay",
    "JointEM",
    "MixtureClassifier",
    "MixtureDisplay",
    "MixtureImputer",
    "MixtureOutlierDetector",
    "MixtureRegressor",
    "MixtureSelection",
    "combine_components",
    "explore",
    "fit_biglearn_em",
    "fit_joint_em",
    "load_dataset",
]
