"""Estimators with scikit-learn's interface."""

from biglearn_core.estimators.biglearn import BigLearnEM
from biglearn_core.estimators.classifier import MixtureClassifier
from biglearn_core.estimators.combine import CombinedComponents, combine_components
from biglearn_core.estimators.conditional import ConditionalLaw
from biglearn_core.estimators.imputer import MixtureImputer
from biglearn_core.estimators.joint import JointEM
from biglearn_core.estimators.outliers import MixtureOutlierDetector
from biglearn_core.estimators.regressor import MixtureRegressor
from biglearn_core.estimators.selection import MixtureSelection

__all__ = [
    "BigLearnEM",
    "CombinedComponents",
    "ConditionalLaw",
    "JointEM",
    "MixtureClassifier",
    "MixtureImputer",
    "MixtureOutlierDetector",
    "MixtureRegressor",
    "MixtureSelection",
    "combine_components",
]
