"""Gaussian mixtures trained by Joint-EM and BigLearn-EM."""

from typing import Any

from biglearn_core.estimators import BigLearnEM, JointEM
from biglearn_core.fit import FitResult, fit_biglearn_em, fit_joint_em
from biglearn_core.gmm import GMM

__all__ = [
    "GMM",
    "BigLearnEM",
    "FitResult",
    "JointEM",
    "fit_biglearn_em",
    "fit_joint_em",
    "load_dataset",
]


def __getattr__(name: str) -> Any:
    # Not imported above: Python warns where `python -m biglearn_core.datasets` finds its module
    # loaded by the package already.
    if name == "load_dataset":
        from biglearn_core.datasets import load_dataset

        globals()[name] = load_dataset
        return load_dataset
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
