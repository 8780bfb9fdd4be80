"""Estimators with scikit-learn's interface."""

from biglearn_core.estimators.biglearn import BigLearnEM
from biglearn_core.estimators.combine import CombinedComponents, combine_components
from biglearn_core.estimators.joint import JointEM
from biglearn_core.estimators.selection import MixtureSelection

__all__ = ["BigLearnEM", "CombinedComponents", "JointEM", "MixtureSelection", "combine_components"]
