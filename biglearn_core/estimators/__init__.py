"""Estimators with scikit-learn's interface."""

from biglearn_core.estimators.biglearn import BigLearnEM, JointEM

__all__ = ["BigLearnEM", "JointEM"]
