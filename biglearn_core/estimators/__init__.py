"""Estimators with scikit-learn's interface."""

from biglearn_core.estimators.biglearn import BigLearnEM
from biglearn_core.estimators.joint import JointEM

__all__ = ["BigLearnEM", "JointEM"]
